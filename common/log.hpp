#pragma once

#include <spdlog/spdlog.h>

#include <string_view>

#include "common/config.hpp"

/// Logging to stderr, one line a message:
///   2026-01-31T12:00:00.123Z info  supervisor[4711]: text
/// Each line leaves in one write(2) of at most 4 KiB, so lines of several processes that share a
/// stderr do not mix; control characters are replaced. A stderr that takes nothing (a full pipe, a
/// stopped terminal) costs at most 10 ms, then lines are dropped and counted, because a process
/// that waits for its log reader looks hung. No file, no thread: safe to call again after fork.
namespace micro_swarm::log {

using spdlog::critical;
using spdlog::debug;
using spdlog::error;
using spdlog::info;
using spdlog::trace;
using spdlog::warn;

/// Makes this process log as `role` ("root", "supervisor", "template", "agent/3"). Call it at
/// start and again in every forked child, where it is cheap; the pid in the lines is the caller's.
void init(std::string_view role, LogLevel level);

/// Lines that were dropped in this process because stderr did not take them.
std::uint64_t dropped_lines() noexcept;

}  // namespace micro_swarm::log

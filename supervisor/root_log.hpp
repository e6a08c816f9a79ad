#pragma once

#include "common/config.hpp"

namespace micro_swarm {

/// Root's log: the format of common/log.hpp, without an allocation. Lines of up to 512 bytes; a
/// stderr that takes nothing costs no time, the line is dropped.
void root_log_init(LogLevel level) noexcept;
[[gnu::format(printf, 2, 3)]] void root_log(LogLevel level, const char* format, ...) noexcept;

/// "was killed by SIGSEGV", "exited with 3", from a waitpid status. Valid until the next call.
const char* describe_end(int wait_status) noexcept;

}  // namespace micro_swarm

#pragma once

#include <boost/system/result.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "common/exit_code.hpp"

namespace micro_swarm {

/// What went wrong, in terms a caller can act on. Each code has one documented exit code.
enum class ErrorCode {
  system,       ///< a system call failed; `sys_errno` says how
  usage,        ///< the caller's arguments make no sense
  config,       ///< configuration file: unknown key, wrong type, out of range
  not_running,  ///< no swarm there
  refused,      ///< well formed, but not now or not here (full, quota, version, duplicate name)
  protocol,     ///< a peer sent something malformed
  not_found,    ///< no such task, agent, capability
  model,        ///< missing or corrupt model, or input that does not fit it
  too_large,    ///< larger than the pool, a message or a table
  timed_out,
  cancelled,
  dead_letter,
  gave_up,
};

constexpr std::string_view name_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::system: return "system";
    case ErrorCode::usage: return "usage";
    case ErrorCode::config: return "config";
    case ErrorCode::not_running: return "not_running";
    case ErrorCode::refused: return "refused";
    case ErrorCode::protocol: return "protocol";
    case ErrorCode::not_found: return "not_found";
    case ErrorCode::model: return "model";
    case ErrorCode::too_large: return "too_large";
    case ErrorCode::timed_out: return "timed_out";
    case ErrorCode::cancelled: return "cancelled";
    case ErrorCode::dead_letter: return "dead_letter";
    case ErrorCode::gave_up: return "gave_up";
  }
  return "unknown";
}

constexpr ExitCode exit_code_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::usage:
    case ErrorCode::config: return ExitCode::usage;
    case ErrorCode::not_running: return ExitCode::not_running;
    case ErrorCode::refused:
    case ErrorCode::too_large: return ExitCode::refused;
    case ErrorCode::timed_out: return ExitCode::timed_out;
    case ErrorCode::cancelled: return ExitCode::cancelled;
    case ErrorCode::dead_letter: return ExitCode::dead_letter;
    case ErrorCode::gave_up: return ExitCode::gave_up;
    case ErrorCode::system:
    case ErrorCode::protocol:
    case ErrorCode::not_found:
    case ErrorCode::model: return ExitCode::failed;
  }
  return ExitCode::failed;
}

/// An error on its way up. `message` is one sentence that names what to do about it;
/// callers prepend context with `with_context`. It is logged once, at the top.
struct Error {
  ErrorCode code = ErrorCode::system;
  std::string message;
  int sys_errno = 0;
};

[[noreturn]] inline void throw_exception_from_error(const Error& error,
                                                    const boost::source_location& /*where*/) {
  throw std::runtime_error(error.message);
}

template <class T>
using Result = boost::system::result<T, Error>;

inline Error with_context(Error error, std::string_view context) {
  error.message.insert(0, std::string(context) + ": ");
  return error;
}

/// "what: strerror(errno)". Keeps errno.
Error system_error(std::string_view what, int sys_errno);

}  // namespace micro_swarm

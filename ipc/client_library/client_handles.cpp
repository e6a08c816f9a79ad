// The objects that come from a client. None of them does anything of its own: they keep what they
// stand for out of the public header.

#include <cstdio>
#include <cstdlib>

#include "ipc/client_library/client_impl.hpp"

namespace micro_swarm::client {

std::string_view version() noexcept { return MS_VERSION; }

std::string_view name_of(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::system: return "system";
    case ErrorCode::usage: return "usage";
    case ErrorCode::not_running: return "not_running";
    case ErrorCode::refused: return "refused";
    case ErrorCode::protocol: return "protocol";
    case ErrorCode::not_found: return "not_found";
    case ErrorCode::too_large: return "too_large";
    case ErrorCode::timed_out: return "timed_out";
    case ErrorCode::failed: return "failed";
    case ErrorCode::cancelled: return "cancelled";
    case ErrorCode::dead_letter: return "dead_letter";
  }
  return "unknown";
}

ErrorCode code_of(core::ErrorCode code) noexcept {
  switch (code) {
    case core::ErrorCode::system: return ErrorCode::system;
    case core::ErrorCode::usage: return ErrorCode::usage;
    case core::ErrorCode::not_running: return ErrorCode::not_running;
    case core::ErrorCode::refused: return ErrorCode::refused;
    case core::ErrorCode::protocol: return ErrorCode::protocol;
    case core::ErrorCode::not_found: return ErrorCode::not_found;
    case core::ErrorCode::too_large: return ErrorCode::too_large;
    case core::ErrorCode::timed_out: return ErrorCode::timed_out;
    case core::ErrorCode::cancelled: return ErrorCode::cancelled;
    case core::ErrorCode::dead_letter: return ErrorCode::dead_letter;
    case core::ErrorCode::config:
    case core::ErrorCode::model:
    case core::ErrorCode::gave_up: break;
  }
  return ErrorCode::failed;
}

std::string_view name_of(TaskState state) noexcept {
  switch (state) {
    case TaskState::done: return "done";
    case TaskState::failed: return "failed";
    case TaskState::cancelled: return "cancelled";
    case TaskState::timed_out: return "timed_out";
    case TaskState::dead_letter: return "dead_letter";
    case TaskState::refused: return "refused";
  }
  return "unknown";
}

namespace detail {
void wrong_result(const Error* error) noexcept {
  if (error == nullptr)
    std::fputs("micro_swarm::client: the error of a Result that has a value was asked for\n",
               stderr);
  else
    std::fprintf(stderr, "micro_swarm::client: the value of a failed Result was asked for: %s\n",
                 error->message.c_str());
  std::abort();
}
}  // namespace detail

// ---- Region ----

Region::Region() noexcept = default;
Region::Region(Region&& other) noexcept = default;
Region& Region::operator=(Region&& other) noexcept = default;
Region::~Region() = default;
Region::Region(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

std::span<std::byte> Region::bytes() const noexcept {
  return impl_ ? impl_->region.bytes() : std::span<std::byte>();
}
void Region::release() noexcept { impl_.reset(); }

// ---- ReceivedRegion ----

ReceivedRegion::ReceivedRegion() noexcept = default;
ReceivedRegion::ReceivedRegion(ReceivedRegion&& other) noexcept = default;
ReceivedRegion& ReceivedRegion::operator=(ReceivedRegion&& other) noexcept = default;
ReceivedRegion::~ReceivedRegion() = default;
ReceivedRegion::ReceivedRegion(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

PartyId ReceivedRegion::from() const noexcept {
  return impl_ ? impl_->region.from() : core::no_party;
}
ReceivedRegion::Refusal ReceivedRegion::refusal() const noexcept {
  if (impl_ == nullptr) return Refusal::none;
  switch (impl_->region.refusal()) {
    case TransferRefusal::none: return Refusal::none;
    case TransferRefusal::gone: return Refusal::gone;
    case TransferRefusal::full: break;
  }
  return Refusal::full;
}
std::string_view ReceivedRegion::topic() const noexcept {
  return impl_ ? std::string_view(impl_->topic) : std::string_view();
}
std::uint64_t ReceivedRegion::tag() const noexcept { return impl_ ? impl_->region.tag() : 0; }
Result<std::span<const std::byte>> ReceivedRegion::bytes(std::uint32_t timeout_ms) const {
  if (impl_ == nullptr) return Error{ErrorCode::usage, "this region was given away", 0};
  auto bytes = impl_->region.view(timeout_ms);
  if (!bytes) return error_of(bytes.error());
  return *bytes;
}
void ReceivedRegion::release() noexcept { impl_.reset(); }

// ---- TaskResult ----

TaskResult::TaskResult() noexcept = default;
TaskResult::TaskResult(TaskResult&& other) noexcept = default;
TaskResult& TaskResult::operator=(TaskResult&& other) noexcept = default;
TaskResult::~TaskResult() = default;
TaskResult::TaskResult(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

std::uint64_t TaskResult::number() const noexcept { return impl_ ? impl_->result.number() : 0; }
std::uint64_t TaskResult::task_id() const noexcept { return impl_ ? impl_->result.task_id() : 0; }
TaskState TaskResult::state() const noexcept {
  if (impl_ == nullptr) return TaskState::refused;
  const core::TaskResult& result = impl_->result;
  switch (result.state()) {
    // A refusal beside a state: whoever ran it lied about where the result lies.
    case core::TaskState::done: return result.refusal() ? TaskState::failed : TaskState::done;
    case core::TaskState::cancelled: return TaskState::cancelled;
    case core::TaskState::timed_out: return TaskState::timed_out;
    case core::TaskState::dead_letter: return TaskState::dead_letter;
    case core::TaskState::free: return TaskState::refused;
    case core::TaskState::failed:
    case core::TaskState::pending:
    case core::TaskState::ready:
    case core::TaskState::running: break;
  }
  return TaskState::failed;
}
unsigned TaskResult::attempts() const noexcept { return impl_ ? impl_->result.attempts() : 0; }
std::span<const std::byte> TaskResult::bytes() const noexcept {
  return impl_ ? impl_->result.bytes() : std::span<const std::byte>();
}
Error TaskResult::error() const {
  if (impl_ == nullptr) return {ErrorCode::usage, "this is no task's result", 0};
  const core::TaskResult& result = impl_->result;
  const auto error = [this](ErrorCode code, std::string_view otherwise) {
    return Error{code, std::string(text().empty() ? otherwise : text()), 0};
  };
  switch (state()) {
    case TaskState::done: return {ErrorCode::usage, "the task is done: it has no error", 0};
    case TaskState::refused:
      return {code_of(result.refusal().value_or(core::ErrorCode::refused)),
              std::string(text_of(result.refusal_reason())), 0};
    case TaskState::cancelled: return error(ErrorCode::cancelled, "the task was cancelled");
    case TaskState::timed_out: return error(ErrorCode::timed_out, "the task ran out of time");
    case TaskState::dead_letter:
      return error(ErrorCode::dead_letter,
                   "the task killed its agent as often as the swarm allows (tasks.attempts_max)");
    case TaskState::failed: break;
  }
  if (result.refusal()) return {code_of(*result.refusal()), "the agent's result makes no sense", 0};
  return error(ErrorCode::failed, "its agent said that it failed, and not why");
}
std::string_view TaskResult::refusal() const noexcept {
  return core::name_of(impl_ ? impl_->result.refusal_reason() : SubmitRefusal::none);
}
std::uint32_t TaskResult::retry_after_ms() const noexcept {
  return impl_ ? impl_->result.retry_after_ms() : 0;
}
void TaskResult::release() noexcept {
  if (impl_) impl_->result.release();
}

// ---- CachedEntry ----

CachedEntry::CachedEntry() noexcept = default;
CachedEntry::CachedEntry(CachedEntry&& other) noexcept = default;
CachedEntry& CachedEntry::operator=(CachedEntry&& other) noexcept = default;
CachedEntry::~CachedEntry() = default;
CachedEntry::CachedEntry(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

std::span<const std::byte> CachedEntry::bytes() const noexcept {
  return impl_ ? impl_->entry.bytes() : std::span<const std::byte>();
}
void CachedEntry::release() noexcept { impl_.reset(); }

}  // namespace micro_swarm::client

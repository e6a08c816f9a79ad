#include <algorithm>
#include <cassert>
#include <cstring>

#include "agentproc/handler.hpp"
#include "common/clock.hpp"

namespace micro_swarm {

namespace {
/// A pool that is full of other tasks' results gets room as their clients read them.
constexpr std::uint64_t memory_wait_ns = 30 * ns_per_s;
/// A reason cut short is better than one that comes late.
constexpr std::uint64_t failure_text_wait_ns = ns_per_s;
}  // namespace

TaskContext::~TaskContext() { drop_result(); }

void TaskContext::drop_result() noexcept {
  if (allocation_) services_->release_result(*allocation_);
  allocation_.reset();
  result_ = {};
}

bool TaskContext::sleep_for_ms(std::uint64_t duration_ms) noexcept {
  // In pieces, so that a long sleep is not taken for a hang.
  constexpr std::uint64_t piece_ns = 500 * ns_per_ms;
  const std::uint64_t start_ns = now_ns();
  const std::uint64_t duration_ns = std::min(duration_ms, std::uint64_t{1} << 40) * ns_per_ms;
  for (std::uint64_t slept_ns = 0; !cancelled(); slept_ns = now_ns() - start_ns) {
    if (slept_ns >= duration_ns) return true;
    report_progress();
    services_->sleep_unless_cancelled(task_, std::min(piece_ns, duration_ns - slept_ns));
  }
  return false;
}

Result<std::span<std::byte>> TaskContext::result_buffer(std::size_t size_bytes) {
  return result_buffer_within(size_bytes, memory_wait_ns);
}

Result<std::span<std::byte>> TaskContext::result_buffer_within(std::size_t size_bytes,
                                                               std::uint64_t wait_ns) {
  drop_result();
  if (size_bytes <= inline_.size()) {
    result_ = std::span(inline_).first(size_bytes);
    return result_;
  }
  auto allocation = services_->allocate_result(task_, size_bytes, wait_ns);
  if (!allocation) return allocation.error();
  allocation_ = *allocation;
  result_ = allocation->memory.first(size_bytes);
  return result_;
}

void TaskContext::shrink_result(std::size_t size_bytes) noexcept {
  assert(size_bytes <= result_.size());
  result_ = result_.first(size_bytes);
}

Result<void> TaskContext::set_result(std::span<const std::byte> bytes) {
  auto buffer = result_buffer(bytes.size());
  if (!buffer) return buffer.error();
  if (!bytes.empty()) std::memcpy(buffer->data(), bytes.data(), bytes.size());
  return {};
}

Outcome TaskContext::fail(std::string_view why) noexcept {
  try {
    if (auto buffer = result_buffer_within(why.size(), failure_text_wait_ns)) {
      if (!why.empty()) std::memcpy(buffer->data(), why.data(), why.size());
      return Outcome::failed;
    }
  } catch (...) {
    // No heap for the error text: what fits a message needs none.
  }
  drop_result();
  const std::size_t size_bytes = std::min(why.size(), inline_.size());
  if (size_bytes != 0) std::memcpy(inline_.data(), why.data(), size_bytes);
  result_ = std::span(inline_).first(size_bytes);
  return Outcome::failed;
}

std::optional<Allocation> TaskContext::take_allocation() noexcept {
  auto allocation = allocation_;
  allocation_.reset();
  return allocation;
}

}  // namespace micro_swarm

#include "agentproc/generic_agent.hpp"

#include <time.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "agentproc/payload_text.hpp"
#include "common/clock.hpp"

namespace micro_swarm {

namespace {

Outcome done_or_failed(TaskContext& task, const Result<void>& result) {
  return result ? Outcome::done : task.fail(result.error());
}

Outcome noop(TaskContext&) { return Outcome::done; }

Outcome echo(TaskContext& task) { return done_or_failed(task, task.set_result(task.payload())); }

Outcome hash(TaskContext& task) {
  const XXH64_hash_t value = XXH3_64bits(task.payload().data(), task.payload().size());
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(value));
  return done_or_failed(task, task.set_result(std::string_view(text.data(), 16)));
}

Outcome sum(TaskContext& task) {
  const auto payload = task.payload();
  if (payload.size() % sizeof(float) != 0)
    return task.fail("sum takes float32 values: " + std::to_string(payload.size()) +
                     " bytes are not a multiple of 4");
  double total = 0;
  for (std::size_t at = 0; at < payload.size(); at += sizeof(float)) {
    float value = 0;
    std::memcpy(&value, payload.data() + at, sizeof value);
    total += static_cast<double>(value);
  }
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), total).ptr;
  return done_or_failed(task, task.set_result(std::string_view(
                                  text.data(), static_cast<std::size_t>(end - text.data()))));
}

Outcome sleep(TaskContext& task) {
  const auto duration_ms = number_in(task);
  if (!duration_ms) return task.fail("sleep takes milliseconds as decimal text");
  return task.sleep_for_ms(*duration_ms) ? Outcome::done : Outcome::cancelled;
}

std::uint64_t cpu_time_ns() noexcept {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * ns_per_s + static_cast<std::uint64_t>(t.tv_nsec);
}

/// Works, gets on, and does not look whether it was cancelled: what a handler in a tight loop does.
Outcome spin(TaskContext& task) {
  const auto duration_ms = number_in(task);
  if (!duration_ms) return task.fail("spin takes milliseconds as decimal text");
  const std::uint64_t end_ns = cpu_time_ns() + *duration_ms * ns_per_ms;
  while (cpu_time_ns() < end_ns) {
    for (int i = 0; i < 100; ++i) cpu_relax();
    task.report_progress();
  }
  return Outcome::done;
}

Outcome fail(TaskContext& task) { return task.fail(task.payload_text()); }

/// Fails as often as its payload says, then is done with the number of its attempt.
Outcome flaky(TaskContext& task) {
  const auto failures = number_in(task);
  if (!failures) return task.fail("flaky takes a number of attempts as decimal text");
  const std::string attempt = std::to_string(task.attempt());
  if (task.attempt() <= *failures) return task.fail("attempt " + attempt + " fails as asked");
  return done_or_failed(task, task.set_result(attempt));
}

Outcome fill(TaskContext& task) {
  const auto size_bytes = number_in(task);
  if (!size_bytes) return task.fail("fill takes a number of bytes as decimal text");
  auto buffer = task.result_buffer(*size_bytes);
  if (!buffer) return task.fail(buffer.error());
  constexpr std::size_t period = 251;  // prime, so that a page out of place shows
  for (std::size_t i = 0; i < std::min(period, buffer->size()); ++i)
    (*buffer)[i] = static_cast<std::byte>(i);
  // What is there is copied behind itself, a multiple of the period at a time.
  for (std::size_t filled = period; filled < buffer->size();) {
    const std::size_t piece = std::min(filled, buffer->size() - filled);
    std::memcpy(buffer->data() + filled, buffer->data(), piece);
    filled += piece;
  }
  return Outcome::done;
}

/// The results of what it depends on, one behind the other, and then the payload.
Outcome concat(TaskContext& task) {
  std::size_t size_bytes = task.payload().size();
  for (const TaskInput& input : task.inputs()) size_bytes += input.bytes.size();
  auto buffer = task.result_buffer(size_bytes);
  if (!buffer) return task.fail(buffer.error());
  std::byte* next = buffer->data();
  const auto append = [&next](std::span<const std::byte> bytes) {
    if (!bytes.empty()) std::memcpy(next, bytes.data(), bytes.size());
    next += bytes.size();
  };
  for (const TaskInput& input : task.inputs()) append(input.bytes);
  append(task.payload());
  return Outcome::done;
}

struct Operation {
  std::string_view name;
  Outcome (*function)(TaskContext&);
};
constexpr Operation operations[] = {
    {"noop", noop}, {"echo", echo}, {"hash", hash}, {"sum", sum},     {"sleep", sleep},
    {"spin", spin}, {"fill", fill}, {"fail", fail}, {"flaky", flaky}, {"concat", concat}};

}  // namespace

std::vector<std::string_view> generic_operation_names() {
  std::vector<std::string_view> names;
  for (const Operation& operation : operations) names.push_back(operation.name);
  return names;
}

void add_generic_operations(HandlerSet& handlers) {
  for (const Operation& operation : operations)
    handlers.add(std::string(operation.name), operation.function);
}

}  // namespace micro_swarm

#pragma once

// An agent in C++20, over the C ABI (micro_swarm/agent.h, which says what holds of threads, crashes
// and ownership). Header only, so it does not matter what the library was built with.
//
//   int main() {
//     micro_swarm::agent::Agent agent;
//     agent.on("scale", [](micro_swarm::agent::Task& task) {
//       const auto in = task.view<float>();
//       const auto out = task.result<float>(in.size());
//       std::ranges::transform(in, out.begin(), [](float x) { return 2 * x; });
//     });
//     return agent.run();
//   }

#include <micro_swarm/agent.h>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace micro_swarm::agent {

/// What a call over the ABI failed of. In a handler that does not catch it, the task fails with its
/// text (or is given up, when it was cancelled).
class Failure : public std::runtime_error {
 public:
  Failure(int status, const std::string& what) : std::runtime_error(what), status_(status) {}
  /// One of `enum msw_status`.
  int status() const noexcept { return status_; }

 private:
  int status_;
};

namespace detail {
inline void check(int status) {
  if (status != MSW_OK) throw Failure(status, msw_last_error());
}
inline std::int64_t ms(std::optional<std::chrono::milliseconds> timeout) {
  return timeout ? timeout->count() : MSW_FOREVER;
}
/// Bytes as values of a type that has no invariants. Throws if there is no whole number of them.
template <class T>
std::span<const T> values(const void* bytes, std::size_t size) {
  static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= 16);
  if (size % sizeof(T) != 0)
    throw Failure(MSW_USAGE, std::to_string(size) + " bytes are not a whole number of values of " +
                                 std::to_string(sizeof(T)) + " bytes");
  return {static_cast<const T*>(bytes), size / sizeof(T)};
}
}  // namespace detail

/// How to wait without limit, where a timeout is asked for.
inline constexpr std::nullopt_t forever = std::nullopt;
using Timeout = std::optional<std::chrono::milliseconds>;

/// The result of a task that this one depends on.
struct Input {
  std::span<const std::byte> bytes;
  bool is_done = true;  ///< it ended well
};

/// One attempt at one task, in hand. Spans are valid until its end. Move-only; a task that is
/// destroyed in hand is given up.
class Task {
 public:
  explicit Task(msw_task* task) noexcept : task_(task) {}
  Task(Task&& other) noexcept : task_(std::exchange(other.task_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    std::swap(task_, other.task_);
    return *this;
  }
  ~Task() {
    if (is_in_hand()) msw_task_give_up(task_);
  }

  std::uint64_t id() const noexcept { return msw_task_id(task_); }
  /// From 1, grows with every execution.
  unsigned attempt() const noexcept { return msw_task_attempt(task_); }
  std::string_view capability() const noexcept { return msw_task_capability(task_); }

  /// The submitter's bytes where they lie.
  std::span<const std::byte> bytes() const noexcept {
    return {static_cast<const std::byte*>(msw_task_payload(task_)), msw_task_payload_size(task_)};
  }
  std::string_view text() const noexcept {
    return {static_cast<const char*>(msw_task_payload(task_)), msw_task_payload_size(task_)};
  }
  /// The same as values. Throws where their size does not divide the payload's.
  template <class T>
  std::span<const T> view() const {
    return detail::values<T>(msw_task_payload(task_), msw_task_payload_size(task_));
  }

  std::size_t input_count() const noexcept { return msw_task_input_count(task_); }
  Input input(std::size_t index) const {
    const void* bytes = nullptr;
    std::size_t size = 0;
    int is_done = 0;
    detail::check(msw_task_input(task_, index, &bytes, &size, &is_done));
    return {{static_cast<const std::byte*>(bytes), size}, is_done != 0};
  }

  bool cancelled() const noexcept { return msw_task_cancelled(task_) != 0; }
  void progress() noexcept { msw_task_progress(task_); }
  /// Throws (cancelled).
  void sleep(std::chrono::milliseconds duration) {
    detail::check(msw_task_sleep(task_, static_cast<std::uint64_t>(duration.count())));
  }

  /// Room for `count` values where the result will be read from; complete() publishes it. Throws.
  template <class T = std::byte>
  std::span<T> result(std::size_t count) {
    static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= 16);
    if (count > static_cast<std::size_t>(-1) / sizeof(T))
      throw Failure(MSW_TOO_LARGE, "a result larger than memory");
    void* bytes = nullptr;
    detail::check(msw_task_result(task_, count * sizeof(T), &bytes));
    result_bytes_ = count * sizeof(T);
    return {static_cast<T*>(bytes), count};
  }

  bool is_in_hand() const noexcept { return task_ != nullptr && msw_task_id(task_) != 0; }
  /// Done, with what result() was filled with; empty without it.
  void complete() {
    detail::check(result_bytes_ ? msw_task_complete_in_place(task_, *result_bytes_)
                                : msw_task_complete(task_, nullptr, 0));
    task_ = nullptr;
  }
  /// Done, with a copy of text or of values.
  void complete(std::string_view text) { complete_with(text.data(), text.size()); }
  template <class T>
  void complete(std::span<T> values) {
    static_assert(std::is_trivially_copyable_v<T>);
    complete_with(values.data(), values.size_bytes());
  }
  void fail(const std::string& why) {
    detail::check(msw_task_fail(task_, why.c_str()));
    task_ = nullptr;
  }
  void give_up() {
    detail::check(msw_task_give_up(task_));
    task_ = nullptr;
  }

 private:
  void complete_with(const void* bytes, std::size_t size) {
    detail::check(msw_task_complete(task_, bytes, size));
    task_ = nullptr;
  }

  msw_task* task_;
  std::optional<std::size_t> result_bytes_;
};

/// Memory of this agent's own, to be filled and handed over. Given back by the destructor unless it
/// was sent. Not to outlive the agent.
class Region {
 public:
  explicit Region(msw_region* region) noexcept : region_(region) {}
  std::span<std::byte> bytes() const noexcept {
    return {static_cast<std::byte*>(msw_region_bytes(region_.get())),
            msw_region_size(region_.get())};
  }
  template <class T>
  std::span<T> values() const {
    const auto found =
        detail::values<T>(msw_region_bytes(region_.get()), msw_region_size(region_.get()));
    return {const_cast<T*>(found.data()), found.size()};
  }
  /// To a party, uncopied. Throws; then it is still here.
  void send(std::uint32_t party, std::uint64_t tag = 0) {
    detail::check(msw_region_send(region_.get(), party, tag));
    static_cast<void>(region_.release());
  }
  void share(std::uint32_t party, std::uint64_t tag = 0) {
    detail::check(msw_region_share(region_.get(), party, tag));
  }
  /// To all who subscribe to the topic; how many. Throws; then it is still here.
  std::uint32_t publish(const std::string& topic, std::uint64_t tag = 0) {
    std::uint32_t subscribers = 0;
    detail::check(msw_region_publish(region_.get(), topic.c_str(), tag, &subscribers));
    static_cast<void>(region_.release());
    return subscribers;
  }

 private:
  struct Free {
    void operator()(msw_region* region) const noexcept { msw_region_free(region); }
  };
  std::unique_ptr<msw_region, Free> region_;
};

/// What another party handed over, or what came back. Given back by the destructor.
class Received {
 public:
  enum class Refusal { none = 0, gone = 1, full = 2 };

  explicit Received(msw_received* region) noexcept : region_(region) {}
  /// Throws where whoever sent it lied.
  std::span<const std::byte> bytes() const {
    const void* bytes = nullptr;
    std::size_t size = 0;
    detail::check(msw_received_bytes(region_.get(), &bytes, &size));
    return {static_cast<const std::byte*>(bytes), size};
  }
  template <class T>
  std::span<const T> values() const {
    const auto all = bytes();
    return detail::values<T>(all.data(), all.size());
  }
  std::uint32_t from() const noexcept { return msw_received_from(region_.get()); }
  std::uint64_t tag() const noexcept { return msw_received_tag(region_.get()); }
  /// What it was published under; "": it was sent to this agent.
  std::string topic() const { return msw_received_topic(region_.get()); }
  Refusal refusal() const noexcept {
    return static_cast<Refusal>(msw_received_refusal(region_.get()));
  }
  void send(std::uint32_t party, std::uint64_t tag = 0) {
    detail::check(msw_received_send(region_.get(), party, tag));
    static_cast<void>(region_.release());
  }

 private:
  struct Free {
    void operator()(msw_received* region) const noexcept { msw_received_free(region); }
  };
  std::unique_ptr<msw_received, Free> region_;
};

/// The agent this process is. One per process, one thread.
class Agent {
 public:
  using Handler = std::function<void(Task&)>;

  /// Nothing is attached before run() or attach(): handlers come first, and what takes long.
  Agent() = default;
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;
  ~Agent() { msw_agent_detach(agent_); }

  /// What to do with tasks of a capability. A handler that returns without having ended its task
  /// has completed it with what it filled result() with; one that throws has failed it.
  template <std::invocable<Task&> F>
  Agent& on(std::string capability, F&& handler) {
    handlers_.insert_or_assign(std::move(capability), Handler(std::forward<F>(handler)));
    return *this;
  }
  /// The same for capabilities that no other handler is named for.
  template <std::invocable<Task&> F>
  Agent& on_any(F&& handler) {
    any_ = std::forward<F>(handler);
    return *this;
  }

  /// Attaches, works until the swarm says drain. Returns the process's exit code; what went wrong
  /// is on stderr.
  int run() {
    try {
      attach();
      while (std::optional<Task> task = next_task(forever)) handle(*task);
      return 0;
    } catch (const Failure&) {
      return msw_complain("agent");
    }
  }

  /// Joins the swarm. Throws Failure.
  void attach() {
    if (agent_ == nullptr) detail::check(msw_agent_attach(&agent_));
  }
  std::uint32_t id() const noexcept { return msw_agent_id(agent_); }
  std::uint32_t incarnation() const noexcept { return msw_agent_incarnation(agent_); }
  /// For programs with a loop of their own. Nothing: none came in time, or has_ended().
  std::optional<Task> next_task(Timeout timeout) {
    msw_task* task = nullptr;
    const int status = msw_agent_next_task(agent_, detail::ms(timeout), &task);
    if (status == MSW_OK) return Task(task);
    if (status == MSW_ENDED) has_ended_ = true;
    if (status != MSW_NONE && status != MSW_ENDED) detail::check(status);
    return std::nullopt;
  }
  bool has_ended() const noexcept { return has_ended_; }
  /// Readable when next_task() is worth calling again after it returned nothing.
  int ready_fd() {
    int fd = -1;
    detail::check(msw_agent_ready_fd(agent_, &fd));
    return fd;
  }
  /// Does what on() said.
  void handle(Task& task) {
    const auto found = handlers_.find(task.capability());
    const Handler& handler = found != handlers_.end() ? found->second : any_;
    try {
      if (!handler)
        return task.fail("no operation is called '" + std::string(task.capability()) + "' here");
      handler(task);
      if (task.is_in_hand()) task.complete();
    } catch (const Failure& e) {
      if (!task.is_in_hand()) throw;
      e.status() == MSW_CANCELLED ? task.give_up() : task.fail(e.what());
    } catch (const std::exception& e) {
      if (task.is_in_hand()) task.fail(e.what());
    } catch (...) {
      if (task.is_in_hand()) task.fail("the handler threw something unknown");
    }
  }

  /// Memory of this agent's own. Throws.
  Region allocate(std::size_t size_bytes, Timeout timeout = std::chrono::seconds(30)) {
    msw_region* region = nullptr;
    detail::check(msw_region_allocate(agent_, size_bytes, detail::ms(timeout), &region));
    return Region(region);
  }
  /// From now on receive() also brings what others publish under the topic. Throws.
  void subscribe(const std::string& topic) {
    detail::check(msw_agent_subscribe(agent_, topic.c_str()));
  }
  void unsubscribe(const std::string& topic) {
    detail::check(msw_agent_unsubscribe(agent_, topic.c_str()));
  }
  /// The next region that came. Nothing: none did in time.
  std::optional<Received> receive(Timeout timeout) {
    msw_received* region = nullptr;
    const int status = msw_agent_receive(agent_, detail::ms(timeout), &region);
    if (status == MSW_NONE) return std::nullopt;
    detail::check(status);
    return Received(region);
  }

 private:
  msw_agent* agent_ = nullptr;
  std::map<std::string, Handler, std::less<>> handlers_;
  Handler any_;
  bool has_ended_ = false;
};

}  // namespace micro_swarm::agent

#pragma once

// microswarm.Agent, Task, Region, Received: the C ABI with Python's manners.

#include <pybind11/pybind11.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agentproc/abi/micro_swarm/agent.h"
#include "agentproc/python/gate.hpp"
#include "agentproc/python/view.hpp"

namespace micro_swarm::python {

/// Agent, gate and what the swarm is told of both. Outlives its tasks, regions and their views.
struct Session {
  msw_agent* agent = nullptr;
  std::shared_ptr<Gate> gate = std::make_shared<Gate>();
  ~Session() { msw_agent_detach(agent); }
};

/// A Python exception with this thread's last error: TimeoutError, MemoryError, ..., else Error.
[[noreturn]] void raise(int status);
inline void check(int status) {
  if (status != MSW_OK) raise(status);
}
/// Seconds as Python gives them; None = without limit. Throws ValueError.
std::int64_t milliseconds(const pybind11::object& seconds);

/// One attempt at one task.
class Task {
 public:
  Task(std::shared_ptr<Session> session, msw_task* task) noexcept
      : session_(std::move(session)), task_(task) {}
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  ~Task();

  std::uint64_t id() const { return msw_task_id(live()); }
  unsigned attempt() const { return msw_task_attempt(live()); }
  const char* capability() const { return msw_task_capability(live()); }
  pybind11::object payload();
  pybind11::str text();
  pybind11::list inputs();
  bool cancelled() const { return msw_task_cancelled(live()) != 0; }
  void progress() const { msw_task_progress(live()); }
  void sleep(double seconds);
  pybind11::object result(std::size_t size);

  bool is_in_hand() const noexcept { return task_ != nullptr; }
  /// Done, with what a handler returned: None = with what result() was filled with. Throws
  /// BufferError where arrays over its memory are alive; it is in hand then.
  void complete(pybind11::object result);
  void fail(const std::string& why);
  void give_up();
  /// After a handler: never throws BufferError, the task has failed of it then.
  void complete_or_fail(pybind11::object result);

 private:
  msw_task* live() const;
  void take_back_views();
  void abandon_views() noexcept;
  void set_result(const pybind11::object& result);
  void end(int status);

  std::shared_ptr<Session> session_;
  msw_task* task_;
  View payload_;
  std::vector<View> inputs_;
  View result_;
  std::span<std::byte> result_bytes_;      ///< of the pool: result_ is a view of it
  std::optional<pybind11::object> small_;  ///< a bytearray: too small for a region
};

class Agent {
 public:
  pybind11::object on(std::string capability, pybind11::object handler);
  void attach();
  pybind11::object next_task(const pybind11::object& timeout);
  bool has_ended() const noexcept { return has_ended_; }
  int fileno();
  void run();
  unsigned id() const { return msw_agent_id(attached().agent); }
  unsigned incarnation() const { return msw_agent_incarnation(attached().agent); }
  pybind11::object allocate(std::size_t size, const pybind11::object& timeout);
  void subscribe(const std::string& topic);
  void unsubscribe(const std::string& topic);
  pybind11::object receive(const pybind11::object& timeout);
  void close();

 private:
  Session& attached() const;
  /// Null: none in time, or has_ended_.
  std::shared_ptr<Task> take(std::int64_t timeout_ms);
  void handle(const std::shared_ptr<Task>& task);

  using Handlers = std::map<std::string, pybind11::object, std::less<>>;

  std::shared_ptr<Session> session_;
  std::shared_ptr<Handlers> handlers_ = std::make_shared<Handlers>();
  bool has_ended_ = false;
};

void define_agent(pybind11::module_& module);

}  // namespace micro_swarm::python

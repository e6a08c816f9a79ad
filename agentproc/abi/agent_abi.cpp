// The C ABI over AgentSession: objects with a life that can be asked about, and no exception beyond
// this file.

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <new>
#include <optional>
#include <string>

#include "agentproc/abi/agent_handle.hpp"
#include "agentproc/abi/micro_swarm/agent.h"
#include "agentproc/abi/ready_fd.hpp"
#include "agentproc/agent_runtime.hpp"

using namespace micro_swarm;

struct msw_task {
  msw_agent* agent = nullptr;
  TaskInHand* in_hand = nullptr;  ///< null: its life is over
  std::string capability;

  TaskContext& context() const noexcept { return in_hand->context(); }
};

struct msw_region {
  msw_agent* agent = nullptr;
  Region region;
};

struct msw_received {
  msw_agent* agent = nullptr;
  ReceivedRegion region;
  std::string topic;
};

namespace {

/// Objects that are handed out by pointer. The one that ended longest ago is given out first, so
/// that a pointer kept too long stays a dead one for as long as can be.
template <class T>
class Handles {
 public:
  T& take() {
    if (ended_.size() < spare_min) return all_.emplace_back();
    T* const reused = ended_.front();
    ended_.pop_front();
    return *reused;
  }
  void give_back(T& object) { ended_.push_back(&object); }
  std::deque<T>& all() noexcept { return all_; }

 private:
  static constexpr std::size_t spare_min = 64;
  std::deque<T> all_;
  std::deque<T*> ended_;
};

constinit thread_local char last_error[512] = "";
constinit thread_local int last_status = MSW_OK;

int failed(int status, std::string_view text) noexcept {
  const std::size_t size = std::min(text.size(), sizeof last_error - 1);
  if (size != 0) std::memmove(last_error, text.data(), size);
  last_error[size] = '\0';
  last_status = status;
  return status;
}

int status_of(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::usage: return MSW_USAGE;
    case ErrorCode::not_running: return MSW_NOT_RUNNING;
    case ErrorCode::refused: return MSW_REFUSED;
    case ErrorCode::timed_out: return MSW_TIMED_OUT;
    case ErrorCode::too_large: return MSW_TOO_LARGE;
    case ErrorCode::not_found: return MSW_NOT_FOUND;
    case ErrorCode::protocol: return MSW_PROTOCOL;
    case ErrorCode::cancelled: return MSW_CANCELLED;
    case ErrorCode::system: return MSW_SYSTEM;
    case ErrorCode::config:
    case ErrorCode::model:
    case ErrorCode::dead_letter:
    case ErrorCode::gave_up: break;
  }
  return MSW_FAILED;
}

ErrorCode code_of(int status) noexcept {
  switch (status) {
    case MSW_USAGE: return ErrorCode::usage;
    case MSW_NOT_RUNNING: return ErrorCode::not_running;
    case MSW_REFUSED: return ErrorCode::refused;
    case MSW_TIMED_OUT: return ErrorCode::timed_out;
    case MSW_TOO_LARGE: return ErrorCode::too_large;
    case MSW_CANCELLED: return ErrorCode::cancelled;
    default: return ErrorCode::system;
  }
}

int failed(const Error& error) noexcept { return failed(status_of(error.code), error.message); }

/// Nothing is thrown over the ABI.
template <class F>
int guarded(F&& function) noexcept {
  try {
    return function();
  } catch (const std::bad_alloc&) {
    return failed(MSW_SYSTEM, "the heap is full");
  } catch (const std::exception& e) {
    return failed(MSW_FAILED, e.what());
  } catch (...) {
    return failed(MSW_FAILED, "something unknown was thrown");
  }
}

std::uint64_t nanoseconds(std::int64_t timeout_ms) noexcept {
  if (timeout_ms < 0) return WorkThread::no_limit;
  return static_cast<std::uint64_t>(std::min<std::int64_t>(timeout_ms, std::int64_t{1} << 40)) *
         ns_per_ms;
}

std::uint32_t milliseconds(std::int64_t timeout_ms) noexcept {
  constexpr std::int64_t most = 0xffffffff;
  return static_cast<std::uint32_t>(timeout_ms < 0 ? most : std::min(timeout_ms, most));
}

constexpr std::uint32_t send_timeout_ms = 30'000;

std::atomic<bool> is_attached{false};

}  // namespace

struct msw_agent {
  std::unique_ptr<AgentSession> session;
  std::unique_ptr<ReadyFd> ready;
  Handles<msw_task> tasks;
  Handles<msw_region> regions;
  Handles<msw_received> received;

  /// Whoever is about to touch the link takes it back from whoever sleeps on it.
  WorkThread& enter() {
    if (ready) ready->disarm();
    return session->work();
  }
  AgentMemory& memory() { return enter().memory(); }
};

namespace {

/// `object` has an agent and is not over.
bool is_live(const msw_task* task) noexcept { return task != nullptr && task->in_hand != nullptr; }
template <class T>
bool is_live(const T* object) noexcept {
  return object != nullptr && static_cast<bool>(object->region);
}

int task_over() noexcept { return failed(MSW_USAGE, "this task's life is over"); }
int region_over() noexcept {
  return failed(MSW_USAGE, "this region was sent or freed, or is none");
}
int no_pointer() noexcept { return failed(MSW_USAGE, "a pointer to write to is NULL"); }

int end_task(msw_task& task, Outcome outcome) {
  task.agent->enter().finish(*std::exchange(task.in_hand, nullptr), outcome);
  task.agent->tasks.give_back(task);
  return MSW_OK;
}

/// `hand_over(memory, region)`, whose error leaves the region here.
template <class Object, class HandOver>
int send(Object* object, std::uint32_t party, HandOver&& hand_over) noexcept {
  if (!is_live(object)) return region_over();
  if (party >= parties_max)
    return failed(MSW_NOT_FOUND, "there is no such party: agents are 0 to 255, clients 257 to 319");
  return guarded([&] {
    const auto sent = hand_over(object->agent->memory());
    return sent ? MSW_OK : failed(sent.error());
  });
}

int set_subscription(msw_agent* agent, const char* topic,
                     Result<void> (AgentMemory::*set)(std::string_view, std::uint32_t)) noexcept {
  if (agent == nullptr) return no_pointer();
  if (topic == nullptr) return failed(MSW_USAGE, "the topic is NULL");
  return guarded([&] {
    const auto done = (agent->memory().*set)(topic, send_timeout_ms);
    return done ? static_cast<int>(MSW_OK) : failed(done.error());
  });
}

}  // namespace

namespace micro_swarm {

bool is_payload_in_pool(const msw_task& task) { return task.in_hand->is_payload_in_pool(); }

std::shared_ptr<void> pin_mappings(const msw_agent& agent) {
  return agent.session->link().pin_mappings();
}

std::shared_ptr<void> keep_result(msw_task& task) {
  const auto allocation = task.context().take_allocation();
  task.context().forget_result();
  if (!allocation) return nullptr;
  msw_agent& agent = *task.agent;
  return {new Allocation(*allocation), [&agent](Allocation* kept) {
            agent.enter().release_result(*kept);
            delete kept;
          }};
}

}  // namespace micro_swarm

extern "C" {

uint32_t msw_abi_version(void) noexcept { return MSW_ABI_VERSION; }
const char* msw_version(void) noexcept { return MS_VERSION; }

const char* msw_status_name(int status) noexcept {
  switch (status) {
    case MSW_OK: return "ok";
    case MSW_NONE: return "none";
    case MSW_ENDED: return "ended";
    case MSW_CANCELLED: return "cancelled";
    case MSW_USAGE: return "usage";
    case MSW_NOT_RUNNING: return "not_running";
    case MSW_REFUSED: return "refused";
    case MSW_TIMED_OUT: return "timed_out";
    case MSW_TOO_LARGE: return "too_large";
    case MSW_NOT_FOUND: return "not_found";
    case MSW_PROTOCOL: return "protocol";
    case MSW_SYSTEM: return "system";
    case MSW_FAILED: return "failed";
    default: return "unknown";
  }
}

const char* msw_last_error(void) noexcept { return last_error; }

int msw_complain(const char* what) noexcept {
  std::fprintf(stderr, "%s: %s\n", what == nullptr ? "micro swarm" : what, last_error);
  return to_int(exit_code_of(code_of(last_status)));
}

// ---- the agent ----

int msw_agent_attach(msw_agent** agent) noexcept {
  if (agent == nullptr) return no_pointer();
  *agent = nullptr;
  if (is_attached.exchange(true)) return failed(MSW_USAGE, "this process is an agent already");
  const int status = guarded([&] {
    auto socket = socket_of_external_agent();
    if (!socket) return failed(socket.error());
    AgentOptions options;
    options.socket = std::move(*socket);
    auto session = AgentSession::open(std::move(options));
    if (!session) return failed(session.error());
    (*session)->work().begin({});
    auto made = std::make_unique<msw_agent>();
    made->session = std::move(*session);
    *agent = made.release();
    return static_cast<int>(MSW_OK);
  });
  if (status != MSW_OK) is_attached = false;
  return status;
}

void msw_agent_detach(msw_agent* agent) noexcept {
  if (agent == nullptr) return;
  static_cast<void>(guarded([&] {
    static_cast<void>(agent->enter());
    for (msw_region& region : agent->regions.all()) region.region.release();
    for (msw_received& region : agent->received.all()) region.region.release();
    return MSW_OK;
  }));
  delete agent;
  is_attached = false;
}

uint32_t msw_agent_id(const msw_agent* agent) noexcept {
  return agent == nullptr ? no_party : agent->session->link().party();
}

uint32_t msw_agent_incarnation(const msw_agent* agent) noexcept {
  return agent == nullptr ? 0 : agent->session->link().incarnation();
}

int msw_agent_next_task(msw_agent* agent, int64_t timeout_ms, msw_task** task) noexcept {
  if (agent == nullptr || task == nullptr) return no_pointer();
  *task = nullptr;
  return guarded([&]() -> int {
    WorkThread& work = agent->enter();
    TaskInHand* const in_hand = work.next_task(nanoseconds(timeout_ms));
    if (in_hand != nullptr) {
      msw_task& taken = agent->tasks.take();
      taken.agent = agent;
      taken.capability = in_hand->context().capability();
      taken.in_hand = in_hand;
      *task = &taken;
      return MSW_OK;
    }
    if (work.has_ended()) return MSW_ENDED;
    if (agent->ready) agent->ready->arm();
    return MSW_NONE;
  });
}

int msw_agent_ready_fd(msw_agent* agent, int* fd) noexcept {
  if (agent == nullptr || fd == nullptr) return no_pointer();
  return guarded([&] {
    if (!agent->ready) {
      auto ready = ReadyFd::make(*agent->session);
      if (!ready) return failed(ready.error());
      agent->ready = std::move(*ready);
      agent->ready->arm();
    }
    *fd = agent->ready->fd();
    return static_cast<int>(MSW_OK);
  });
}

// ---- a task ----

uint64_t msw_task_id(const msw_task* task) noexcept {
  return is_live(task) ? task->context().task() : 0;
}
uint32_t msw_task_attempt(const msw_task* task) noexcept {
  return is_live(task) ? task->context().attempt() : 0;
}
const char* msw_task_capability(const msw_task* task) noexcept {
  return is_live(task) ? task->capability.c_str() : "";
}
const void* msw_task_payload(const msw_task* task) noexcept {
  return is_live(task) ? task->context().payload().data() : nullptr;
}
size_t msw_task_payload_size(const msw_task* task) noexcept {
  return is_live(task) ? task->context().payload().size() : 0;
}

size_t msw_task_input_count(const msw_task* task) noexcept {
  return is_live(task) ? task->context().inputs().size() : 0;
}

int msw_task_input(const msw_task* task, size_t index, const void** bytes, size_t* size,
                   int* is_done) noexcept {
  if (!is_live(task)) return task_over();
  const auto inputs = task->context().inputs();
  if (index >= inputs.size()) return failed(MSW_USAGE, "the task has fewer inputs");
  if (bytes != nullptr) *bytes = inputs[index].bytes.data();
  if (size != nullptr) *size = inputs[index].bytes.size();
  if (is_done != nullptr) *is_done = inputs[index].state == TaskState::done;
  return MSW_OK;
}

int msw_task_cancelled(const msw_task* task) noexcept {
  return is_live(task) && task->context().cancelled() ? 1 : 0;
}

void msw_task_progress(msw_task* task) noexcept {
  if (is_live(task)) task->context().report_progress();
}

int msw_task_sleep(msw_task* task, uint64_t duration_ms) noexcept {
  if (!is_live(task)) return task_over();
  return guarded([&] {
    static_cast<void>(task->agent->enter());
    return task->context().sleep_for_ms(duration_ms) ? MSW_OK : failed(MSW_CANCELLED, "cancelled");
  });
}

int msw_task_result(msw_task* task, size_t size, void** bytes) noexcept {
  if (!is_live(task)) return task_over();
  if (bytes == nullptr) return no_pointer();
  *bytes = nullptr;
  return guarded([&] {
    static_cast<void>(task->agent->enter());
    const auto buffer = task->context().result_buffer(size);
    if (!buffer) return failed(buffer.error());
    *bytes = buffer->data();
    return static_cast<int>(MSW_OK);
  });
}

int msw_task_complete_in_place(msw_task* task, size_t size) noexcept {
  if (!is_live(task)) return task_over();
  if (size > task->context().result().size())
    return failed(MSW_USAGE, "msw_task_result() was asked for less, or not at all");
  return guarded([&] {
    task->context().shrink_result(size);
    return end_task(*task, Outcome::done);
  });
}

int msw_task_complete(msw_task* task, const void* bytes, size_t size) noexcept {
  if (!is_live(task)) return task_over();
  if (bytes == nullptr && size != 0) return failed(MSW_USAGE, "bytes is NULL and size is not 0");
  return guarded([&] {
    static_cast<void>(task->agent->enter());
    const auto set =
        task->context().set_result(std::span(static_cast<const std::byte*>(bytes), size));
    if (!set) return failed(set.error());
    return end_task(*task, Outcome::done);
  });
}

int msw_task_fail(msw_task* task, const char* why) noexcept {
  if (!is_live(task)) return task_over();
  return guarded([&] {
    static_cast<void>(task->agent->enter());
    return end_task(*task, task->context().fail(why == nullptr ? "" : why));
  });
}

int msw_task_give_up(msw_task* task) noexcept {
  if (!is_live(task)) return task_over();
  return guarded([&] { return end_task(*task, Outcome::cancelled); });
}

// ---- regions ----

int msw_region_allocate(msw_agent* agent, size_t size, int64_t timeout_ms,
                        msw_region** region) noexcept {
  if (agent == nullptr || region == nullptr) return no_pointer();
  *region = nullptr;
  return guarded([&] {
    auto allocated = agent->memory().allocate(size, milliseconds(timeout_ms));
    if (!allocated) return failed(allocated.error());
    msw_region& taken = agent->regions.take();
    taken.agent = agent;
    taken.region = std::move(*allocated);
    *region = &taken;
    return static_cast<int>(MSW_OK);
  });
}

void* msw_region_bytes(const msw_region* region) noexcept {
  return is_live(region) ? region->region.bytes().data() : nullptr;
}
size_t msw_region_size(const msw_region* region) noexcept {
  return is_live(region) ? region->region.bytes().size() : 0;
}

int msw_region_send(msw_region* region, uint32_t party, uint64_t tag) noexcept {
  const int status = send(region, party, [&](AgentMemory& memory) {
    return memory.transfer(std::move(region->region), static_cast<PartyId>(party), tag,
                           send_timeout_ms);
  });
  if (status == MSW_OK) region->agent->regions.give_back(*region);
  return status;
}

int msw_region_share(msw_region* region, uint32_t party, uint64_t tag) noexcept {
  return send(region, party, [&](AgentMemory& memory) {
    const PartyId targets[] = {static_cast<PartyId>(party)};
    return memory.share(region->region, targets, tag, send_timeout_ms);
  });
}

void msw_region_free(msw_region* region) noexcept {
  if (!is_live(region)) return;
  static_cast<void>(guarded([&] {
    static_cast<void>(region->agent->enter());
    region->region.release();
    region->agent->regions.give_back(*region);
    return MSW_OK;
  }));
}

// ---- topics ----

int msw_agent_subscribe(msw_agent* agent, const char* topic) noexcept {
  return set_subscription(agent, topic, &AgentMemory::subscribe);
}
int msw_agent_unsubscribe(msw_agent* agent, const char* topic) noexcept {
  return set_subscription(agent, topic, &AgentMemory::unsubscribe);
}

int msw_region_publish(msw_region* region, const char* topic, uint64_t tag,
                       uint32_t* subscribers) noexcept {
  if (!is_live(region)) return region_over();
  if (topic == nullptr) return failed(MSW_USAGE, "the topic is NULL");
  return guarded([&] {
    auto published =
        region->agent->memory().publish(topic, std::move(region->region), tag, send_timeout_ms);
    if (!published) return failed(published.error());
    if (subscribers != nullptr) *subscribers = *published;
    region->agent->regions.give_back(*region);
    return static_cast<int>(MSW_OK);
  });
}

int msw_agent_receive(msw_agent* agent, int64_t timeout_ms, msw_received** region) noexcept {
  if (agent == nullptr || region == nullptr) return no_pointer();
  *region = nullptr;
  return guarded([&]() -> int {
    auto received = agent->memory().receive(milliseconds(timeout_ms));
    if (!received) return MSW_NONE;
    msw_received& taken = agent->received.take();
    taken.agent = agent;
    taken.region = std::move(*received);
    taken.topic = taken.region.topic();
    *region = &taken;
    return MSW_OK;
  });
}

int msw_received_bytes(msw_received* region, const void** bytes, size_t* size) noexcept {
  if (!is_live(region)) return region_over();
  if (bytes == nullptr || size == nullptr) return no_pointer();
  return guarded([&] {
    static_cast<void>(region->agent->enter());
    const auto view = region->region.view();
    if (!view) return failed(view.error());
    *bytes = view->data();
    *size = view->size();
    return static_cast<int>(MSW_OK);
  });
}

uint32_t msw_received_from(const msw_received* region) noexcept {
  return is_live(region) ? region->region.from() : no_party;
}
uint64_t msw_received_tag(const msw_received* region) noexcept {
  return is_live(region) ? region->region.tag() : 0;
}
const char* msw_received_topic(const msw_received* region) noexcept {
  return is_live(region) ? region->topic.c_str() : "";
}
int msw_received_refusal(const msw_received* region) noexcept {
  return is_live(region) ? static_cast<int>(region->region.refusal()) : 0;
}

int msw_received_send(msw_received* region, uint32_t party, uint64_t tag) noexcept {
  const int status = send(region, party, [&](AgentMemory& memory) {
    return memory.transfer(std::move(region->region), static_cast<PartyId>(party), tag,
                           send_timeout_ms);
  });
  if (status == MSW_OK) region->agent->received.give_back(*region);
  return status;
}

void msw_received_free(msw_received* region) noexcept {
  if (!is_live(region)) return;
  static_cast<void>(guarded([&] {
    static_cast<void>(region->agent->enter());
    region->region.release();
    region->agent->received.give_back(*region);
    return MSW_OK;
  }));
}

// ---- the log ----

void msw_log(const char* text) noexcept {
  if (text == nullptr) return;
  char line[1001];
  std::size_t size = ::strnlen(text, sizeof line - 1);
  std::replace_copy(text, text + size, line, '\n', ' ');
  line[size++] = '\n';
  static_cast<void>(std::fwrite(line, 1, size, stderr));  // one call: lines of threads do not mix
}

}  // extern "C"

#include "agentproc/python/py_agent.hpp"

#include <cmath>
#include <cstring>

#include "agentproc/abi/agent_handle.hpp"

namespace micro_swarm::python {

namespace py = pybind11;

namespace {

// A wait this long at most, so that Python sees to its signals in between.
constexpr std::int64_t signal_check_ms = 1'000;
// Smaller results travel in the message; there is no memory of the pool behind them.
constexpr std::size_t inline_bytes_max = 24;

PyObject* error_type = nullptr;

struct BufferView {
  explicit BufferView(const py::handle& object) {
    if (PyObject_GetBuffer(object.ptr(), &view, PyBUF_CONTIG_RO) != 0)
      throw py::error_already_set();
  }
  ~BufferView() { PyBuffer_Release(&view); }
  BufferView(const BufferView&) = delete;
  BufferView& operator=(const BufferView&) = delete;
  Py_buffer view{};
};

/// `call(piece_ms)` until it says something else than MSW_NONE or the time is over, in pieces.
template <class Call>
int wait_in_pieces(Gate& gate, std::int64_t timeout_ms, Call&& call) {
  for (;;) {
    const std::int64_t piece =
        timeout_ms < 0 ? signal_check_ms : std::min(timeout_ms, signal_check_ms);
    const int status = gate.pass([&] { return call(piece); });
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    if (status != MSW_NONE) return status;
    if (timeout_ms >= 0 && (timeout_ms -= piece) <= 0) return status;
  }
}

/// A region this agent may write.
class Region {
 public:
  Region(std::shared_ptr<Session> session, msw_region* region)
      : session_(std::move(session)),
        region_(kept_behind(session_->gate, region,
                            [session = session_](msw_region* kept) { msw_region_free(kept); })),
        view_(std::span(static_cast<std::byte*>(msw_region_bytes(region)), msw_region_size(region)),
              false, region_) {}

  py::object data() const {
    if (!view_) throw py::value_error("the region was sent or released");
    return view_.memoryview();
  }
  void send(unsigned party, std::uint64_t tag) {
    take_back();
    end_with(session_->gate->pass([&] { return msw_region_send(*region_, party, tag); }));
  }
  unsigned publish(const std::string& topic, std::uint64_t tag) {
    take_back();
    std::uint32_t subscribers = 0;
    end_with(session_->gate->pass(
        [&] { return msw_region_publish(*region_, topic.c_str(), tag, &subscribers); }));
    return subscribers;
  }
  void share(unsigned party, std::uint64_t tag) {
    static_cast<void>(data());
    check(session_->gate->pass([&] { return msw_region_share(*region_, party, tag); }));
  }
  void release() {
    take_back();
    region_.reset();
  }

 private:
  void end_with(int status) {
    if (status != MSW_OK) {  // it is here still
      view_ = View(
          std::span(static_cast<std::byte*>(msw_region_bytes(*region_)), msw_region_size(*region_)),
          false, region_);
      raise(status);
    }
    region_.reset();
  }
  void take_back() {
    if (!view_) throw py::value_error("the region was sent or released");
    if (!view_.take_back())
      throw py::buffer_error("arrays over this region are alive: they must go before it does");
  }

  std::shared_ptr<Session> session_;
  std::shared_ptr<msw_region*> region_;
  View view_;
};

/// What another party handed over. Views of it keep it.
class Received {
 public:
  Received(std::shared_ptr<Session> session, msw_received* region)
      : session_(std::move(session)),
        from(msw_received_from(region)),
        tag(msw_received_tag(region)),
        topic(msw_received_topic(region)),
        refusal(msw_received_refusal(region)),
        region_(kept_behind(session_->gate, region, [session = session_](msw_received* kept) {
          msw_received_free(kept);
        })) {}

  py::object data() {
    if (!region_) throw py::value_error("the region was sent or released");
    if (!view_) {
      const void* bytes = nullptr;
      std::size_t size = 0;
      check(session_->gate->pass([&] { return msw_received_bytes(*region_, &bytes, &size); }));
      view_ = View(std::span(static_cast<const std::byte*>(bytes), size), region_);
    }
    return view_.memoryview();
  }
  void send(unsigned party, std::uint64_t to_tag) {
    if (!region_) throw py::value_error("the region was sent or released");
    if (!view_.take_back())
      throw py::buffer_error("arrays over this region are alive: they must go before it does");
    check(session_->gate->pass([&] { return msw_received_send(*region_, party, to_tag); }));
    region_.reset();
  }
  void release() {
    if (!view_.take_back())
      throw py::buffer_error("arrays over this region are alive: they must go before it does");
    region_.reset();
  }

 private:
  std::shared_ptr<Session> session_;

 public:
  const unsigned from;
  const std::uint64_t tag;
  const std::string topic;
  const int refusal;

 private:
  std::shared_ptr<msw_received*> region_;
  View view_;
};

}  // namespace

void raise(int status) {
  const char* const text = msw_last_error();
  switch (status) {
    case MSW_USAGE: throw py::value_error(text);
    case MSW_TIMED_OUT: PyErr_SetString(PyExc_TimeoutError, text); break;
    case MSW_TOO_LARGE: PyErr_SetString(PyExc_MemoryError, text); break;
    case MSW_NOT_FOUND: PyErr_SetString(PyExc_LookupError, text); break;
    case MSW_NOT_RUNNING: PyErr_SetString(PyExc_ConnectionError, text); break;
    default: PyErr_SetString(error_type, text);
  }
  throw py::error_already_set();
}

std::int64_t milliseconds(const py::object& seconds) {
  if (seconds.is_none()) return MSW_FOREVER;
  const double value = py::cast<double>(seconds);
  if (!(value >= 0)) throw py::value_error("a timeout is None or at least 0 seconds");
  return static_cast<std::int64_t>(std::min(std::ceil(value * 1000), 1e15));
}

// ---- Task ----

Task::~Task() {
  if (!is_in_hand()) return;
  abandon_views();
  // Nobody has it any more: somebody else may do it.
  session_->gate->soon([task = task_] { msw_task_give_up(task); });
}

msw_task* Task::live() const {
  if (task_ == nullptr) throw py::value_error("this task has ended");
  return task_;
}

py::object Task::payload() {
  const msw_task* const task = live();
  if (!payload_) {
    const std::span bytes(static_cast<const std::byte*>(msw_task_payload(task)),
                          msw_task_payload_size(task));
    if (is_payload_in_pool(*task)) {
      payload_ = View(bytes, pin_mappings(*session_->agent));
    } else {
      // The library's memory, used again for the next task: Python has a copy of its own.
      auto copy = std::make_shared<std::vector<std::byte>>(bytes.begin(), bytes.end());
      const std::span<const std::byte> copied(*copy);
      payload_ = View(copied, std::move(copy));
    }
  }
  return payload_.memoryview();
}

py::str Task::text() {
  const msw_task* const task = live();
  return {static_cast<const char*>(msw_task_payload(task)), msw_task_payload_size(task)};
}

py::list Task::inputs() {
  const msw_task* const task = live();
  while (inputs_.size() < msw_task_input_count(task)) {
    const void* bytes = nullptr;
    std::size_t size = 0;
    check(msw_task_input(task, inputs_.size(), &bytes, &size, nullptr));
    const std::span input(static_cast<const std::byte*>(bytes), size);
    if (size > inline_bytes_max) {
      inputs_.emplace_back(input, pin_mappings(*session_->agent));
    } else {
      auto copy = std::make_shared<std::vector<std::byte>>(input.begin(), input.end());
      const std::span<const std::byte> copied(*copy);
      inputs_.emplace_back(copied, std::move(copy));
    }
  }
  py::list list;
  for (const View& input : inputs_) list.append(input.memoryview());
  return list;
}

void Task::sleep(double seconds) {
  msw_task* const task = live();
  check(session_->gate->pass([&] {
    return msw_task_sleep(task, static_cast<std::uint64_t>(std::max(seconds, 0.0) * 1000));
  }));
}

py::object Task::result(std::size_t size) {
  msw_task* const task = live();
  if (!result_.take_back())
    throw py::buffer_error("arrays over the result asked for before are alive: they must go first");
  small_.reset();
  result_bytes_ = {};
  if (size <= inline_bytes_max) {
    small_ = py::reinterpret_steal<py::object>(
        PyByteArray_FromStringAndSize(nullptr, static_cast<py::ssize_t>(size)));
    if (!*small_) throw py::error_already_set();
    return py::memoryview(*small_);
  }
  void* bytes = nullptr;
  check(session_->gate->pass([&] { return msw_task_result(task, size, &bytes); }));
  result_bytes_ = {static_cast<std::byte*>(bytes), size};
  result_ = View(result_bytes_, false, nullptr);
  return result_.memoryview();
}

/// Whoever uses a view of an ended task gets an exception, so there may be none that cannot be
/// told.
void Task::take_back_views() {
  bool is_free = payload_.take_back();
  for (View& input : inputs_) is_free = input.take_back() && is_free;
  is_free = result_.take_back() && is_free;
  if (!is_free)
    throw py::buffer_error(
        "arrays over this task's payload or result are alive: its memory is not theirs once it has "
        "ended; copy what is to be kept, and delete the rest");
}

/// The task ends whatever is alive of them: then its memory stays as long as they do.
void Task::abandon_views() noexcept {
  try {
    payload_.take_back();
    for (View& input : inputs_) input.take_back();
    if (!result_.take_back()) {
      result_.keep_instead(
          kept_behind(session_->gate, keep_result(*task_),
                      [session = session_](std::shared_ptr<void>& kept) { kept.reset(); }));
      result_bytes_ = {};
    }
  } catch (...) {
    PyErr_Clear();
  }
  payload_ = View();
  inputs_.clear();
  result_ = View();
}

void Task::set_result(const py::object& result) {
  msw_task* const task = live();
  std::string text;
  const void* bytes = nullptr;
  std::size_t size = 0;
  std::optional<BufferView> buffer;
  if (py::isinstance<py::str>(result)) {
    text = py::cast<std::string>(result);
    bytes = text.data();
    size = text.size();
  } else if (PyObject_CheckBuffer(result.ptr())) {
    buffer.emplace(result);
    bytes = buffer->view.buf;
    size = static_cast<std::size_t>(buffer->view.len);
  } else {
    throw py::type_error("a result is None, str, bytes or an array, not " +
                         std::string(py::str(py::type::of(result).attr("__name__"))));
  }
  void* to = nullptr;
  if (!result_bytes_.empty() && bytes == result_bytes_.data() && size <= result_bytes_.size()) {
    result_bytes_ = result_bytes_.first(size);  // it is where it is to be
    return;
  }
  // What was asked for before is not this task's result any more.
  if (!result_.take_back())
    throw py::buffer_error("arrays over a result that is not the one returned are alive");
  small_.reset();
  result_bytes_ = {};
  check(session_->gate->pass([&] {
    const int status = msw_task_result(task, size, &to);
    if (status == MSW_OK && size != 0) std::memcpy(to, bytes, size);
    return status;
  }));
  result_bytes_ = {static_cast<std::byte*>(to), size};
}

void Task::complete(py::object result) {
  msw_task* const task = live();
  if (result.is_none() && small_)
    set_result(py::object(*small_));
  else if (!result.is_none())
    set_result(result);
  result = py::none();
  take_back_views();
  const std::size_t size = result_bytes_.size();
  // Waits only where the ring is full, which the supervisor or its successor empties.
  end(session_->gate->hold([&] {
    return size == 0 ? msw_task_complete(task, nullptr, 0) : msw_task_complete_in_place(task, size);
  }));
}

void Task::fail(const std::string& why) {
  msw_task* const task = live();
  abandon_views();
  end(session_->gate->pass([&] { return msw_task_fail(task, why.c_str()); }));
}

void Task::give_up() {
  msw_task* const task = live();
  abandon_views();
  end(session_->gate->pass([&] { return msw_task_give_up(task); }));
}

void Task::complete_or_fail(py::object result) {
  try {
    complete(std::move(result));
  } catch (py::error_already_set& e) {
    if (!is_in_hand()) throw;
    fail(e.what());
  } catch (const py::builtin_exception& e) {
    if (!is_in_hand()) throw;
    fail(e.what());
  }
}

void Task::end(int status) {
  check(status);
  task_ = nullptr;
}

// ---- Agent ----

Session& Agent::attached() const {
  if (!session_) throw py::value_error("this agent is not attached: call run() or attach()");
  return *session_;
}

py::object Agent::on(std::string capability, py::object handler) {
  if (!handler.is_none()) {
    (*handlers_)[std::move(capability)] = handler;
    return handler;
  }
  return py::cpp_function([handlers = handlers_, capability](py::object function) {
    (*handlers)[capability] = function;
    return function;
  });
}

void Agent::attach() {
  if (session_) return;
  auto session = std::make_shared<Session>();
  check(session->gate->pass([&] { return msw_agent_attach(&session->agent); }));
  session_ = std::move(session);
}

std::shared_ptr<Task> Agent::take(std::int64_t timeout_ms) {
  attach();
  msw_task* task = nullptr;
  // What is there already is taken without letting the GIL go, which others would fight for.
  int status = session_->gate->hold([&] { return msw_agent_next_task(session_->agent, 0, &task); });
  if (status == MSW_NONE && timeout_ms != 0)
    status = wait_in_pieces(*session_->gate, timeout_ms, [&](std::int64_t piece_ms) {
      return msw_agent_next_task(session_->agent, piece_ms, &task);
    });
  if (status == MSW_ENDED) has_ended_ = true;
  if (status == MSW_NONE || status == MSW_ENDED) return nullptr;
  check(status);
  return std::make_shared<Task>(session_, task);
}

py::object Agent::next_task(const py::object& timeout) {
  auto task = take(milliseconds(timeout));
  return task ? py::cast(std::move(task)) : py::none();
}

int Agent::fileno() {
  attach();
  int fd = -1;
  check(session_->gate->pass([&] { return msw_agent_ready_fd(session_->agent, &fd); }));
  return fd;
}

void Agent::run() {
  while (const auto task = take(MSW_FOREVER)) {
    handle(task);
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  }
}

void Agent::handle(const std::shared_ptr<Task>& task) {
  auto found = handlers_->find(task->capability());
  if (found == handlers_->end()) found = handlers_->find("*");
  if (found == handlers_->end())
    return task->fail("no operation is called '" + std::string(task->capability()) + "' here");
  const py::object handler = found->second;  // it may replace itself
  std::string why;
  try {
    py::object result = handler(task);
    if (task->is_in_hand()) task->complete_or_fail(std::move(result));
    return;
  } catch (py::error_already_set& e) {
    if (e.matches(PyExc_KeyboardInterrupt) || e.matches(PyExc_SystemExit)) throw;
    // "ValueError: ...", without the stack: that goes to the log.
    why = std::string(py::str(e.type().attr("__name__"))) + ": " + std::string(py::str(e.value()));
    py::module_::import("traceback").attr("print_exception")(e.type(), e.value(), e.trace());
  }
  if (!task->is_in_hand()) return;
  if (task->cancelled())
    task->give_up();
  else
    task->fail(why);
}

py::object Agent::allocate(std::size_t size, const py::object& timeout) {
  Session& session = attached();
  msw_region* region = nullptr;
  const std::int64_t timeout_ms = milliseconds(timeout);
  check(session.gate->pass(
      [&] { return msw_region_allocate(session.agent, size, timeout_ms, &region); }));
  return py::cast(std::make_shared<Region>(session_, region));
}

void Agent::subscribe(const std::string& topic) {
  Session& session = attached();
  check(session.gate->pass([&] { return msw_agent_subscribe(session.agent, topic.c_str()); }));
}

void Agent::unsubscribe(const std::string& topic) {
  Session& session = attached();
  check(session.gate->pass([&] { return msw_agent_unsubscribe(session.agent, topic.c_str()); }));
}

py::object Agent::receive(const py::object& timeout) {
  Session& session = attached();
  msw_received* region = nullptr;
  const int status = wait_in_pieces(
      *session.gate, milliseconds(timeout),
      [&](std::int64_t piece_ms) { return msw_agent_receive(session.agent, piece_ms, &region); });
  if (status == MSW_NONE) return py::none();
  check(status);
  return py::cast(std::make_shared<Received>(session_, region));
}

void Agent::close() { session_.reset(); }

void define_agent(py::module_& module) {
  error_type = PyErr_NewException("microswarm.Error", PyExc_RuntimeError, nullptr);
  module.attr("Error") = py::reinterpret_borrow<py::object>(error_type);

  py::class_<Task, std::shared_ptr<Task>>(module, "Task", "One attempt at one task, in hand.")
      .def_property_readonly("id", &Task::id, "The same in all attempts; never used again.")
      .def_property_readonly("attempt", &Task::attempt, "From 1, grows with every execution.")
      .def_property_readonly("capability", &Task::capability)
      .def_property_readonly(
          "payload", &Task::payload,
          "A read-only memoryview of the submitter's bytes where they lie, until "
          "the task ends. Using it later raises ValueError.")
      .def_property_readonly("text", &Task::text, "The payload as str (UTF-8), copied.")
      .def_property_readonly("inputs", &Task::inputs,
                             "The results of the tasks it depends on, as payload.")
      .def_property_readonly("cancelled", &Task::cancelled,
                             "Whether it was cancelled or is out of time.")
      .def("progress", &Task::progress, "Says that long work gets on.")
      .def("sleep", &Task::sleep, py::arg("seconds"), "Raises Error when it is cancelled.")
      .def("result", &Task::result, py::arg("size"),
           "A writable memoryview of `size` bytes where the result will be read from.")
      .def("complete", &Task::complete, py::arg("result") = py::none(),
           "Ends it: done, with str, bytes, an array, or what result() was filled with.")
      .def("fail", &Task::fail, py::arg("why"), "Ends it: failed.")
      .def("give_up", &Task::give_up, "Ends it: cancelled.");

  py::class_<Region, std::shared_ptr<Region>>(module, "Region",
                                              "Memory of this agent's own, to be handed over.")
      .def_property_readonly("data", &Region::data, "A writable memoryview.")
      .def("send", &Region::send, py::arg("party"), py::arg("tag") = 0,
           "Hands it to a party, uncopied. Raises BufferError while arrays over it are alive.")
      .def("share", &Region::share, py::arg("party"), py::arg("tag") = 0,
           "The same, and it stays readable here.")
      .def("publish", &Region::publish, py::arg("topic"), py::arg("tag") = 0,
           "Hands it to all who subscribe to the topic, uncopied; returns how many they are.")
      .def("release", &Region::release);

  py::class_<Received, std::shared_ptr<Received>>(module, "Received",
                                                  "A region that another party handed over.")
      .def_property_readonly("data", &Received::data, "A read-only memoryview.")
      .def_readonly("from_party", &Received::from)
      .def_readonly("tag", &Received::tag)
      .def_readonly("topic", &Received::topic, "What it was published under; '': it was sent.")
      .def_readonly("refusal", &Received::refusal,
                    "0; of one that came back: 1 = its target is gone, 2 = has too many waiting.")
      .def("send", &Received::send, py::arg("party"), py::arg("tag") = 0)
      .def("release", &Received::release);

  py::class_<Agent>(module, "Agent", "The agent that this process is; one per process.")
      .def(py::init<>())
      .def("on", &Agent::on, py::arg("capability"), py::arg("handler") = py::none(),
           "Decorates (or takes) a handler of tasks of a capability, \"*\" = of all others. It is "
           "called with the Task; what it returns is the result, what it raises why it failed.")
      .def("attach", &Agent::attach, "Joins the swarm that started this process.")
      .def("run", &Agent::run, "Works until the swarm says drain.")
      .def("next_task", &Agent::next_task, py::arg("timeout") = py::none(),
           "The next Task, None when none came in `timeout` seconds or has_ended.")
      .def_property_readonly("has_ended", &Agent::has_ended)
      .def("fileno", &Agent::fileno,
           "Readable when next_task(0) is worth calling again after it returned None.")
      .def_property_readonly("id", &Agent::id)
      .def_property_readonly("incarnation", &Agent::incarnation)
      .def("allocate", &Agent::allocate, py::arg("size"), py::arg("timeout") = 30.0)
      .def("subscribe", &Agent::subscribe, py::arg("topic"),
           "From now on receive() also brings what others publish under the topic.")
      .def("unsubscribe", &Agent::unsubscribe, py::arg("topic"))
      .def("receive", &Agent::receive, py::arg("timeout") = py::none())
      .def("close", &Agent::close, "Leaves the swarm.");
}

}  // namespace micro_swarm::python

#include "agentproc/python/py_client.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agentproc/python/gate.hpp"
#include "agentproc/python/py_agent.hpp"
#include "agentproc/python/view.hpp"
#include "ipc/client.hpp"
#include "ipc/task_names.hpp"

namespace micro_swarm::python {

namespace py = pybind11;

namespace {

constexpr std::uint32_t signal_check_ms = 1'000;

[[noreturn]] void raise(const Error& error) {
  switch (error.code) {
    case ErrorCode::usage: throw py::value_error(error.message);
    case ErrorCode::timed_out: PyErr_SetString(PyExc_TimeoutError, error.message.c_str()); break;
    case ErrorCode::too_large: PyErr_SetString(PyExc_MemoryError, error.message.c_str()); break;
    case ErrorCode::not_found: PyErr_SetString(PyExc_LookupError, error.message.c_str()); break;
    case ErrorCode::not_running:
      PyErr_SetString(PyExc_ConnectionError, error.message.c_str());
      break;
    default:
      PyErr_SetString(py::module_::import("microswarm").attr("Error").ptr(), error.message.c_str());
  }
  throw py::error_already_set();
}

template <class T>
T value_of(Result<T> result) {
  if (!result) raise(result.error());
  return std::move(*result);
}

Priority priority_named(const std::string& name) {
  for (const Priority priority :
       {Priority::critical, Priority::high, Priority::normal, Priority::low})
    if (name == name_of(priority)) return priority;
  throw py::value_error("a priority is critical, high, normal or low, not '" + name + "'");
}

/// A payload as bytes that stand still while the call lasts.
class Payload {
 public:
  explicit Payload(const py::handle& object) {
    if (PyUnicode_Check(object.ptr())) {
      Py_ssize_t size = 0;
      const char* const text = PyUnicode_AsUTF8AndSize(object.ptr(), &size);
      if (text == nullptr) throw py::error_already_set();
      bytes_ = std::as_bytes(std::span(text, static_cast<std::size_t>(size)));
      return;
    }
    if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_CONTIG_RO) != 0)
      throw py::error_already_set();
    bytes_ = {static_cast<const std::byte*>(view_.buf), static_cast<std::size_t>(view_.len)};
  }
  ~Payload() {
    if (view_.obj != nullptr) PyBuffer_Release(&view_);
  }
  Payload(const Payload&) = delete;
  Payload& operator=(const Payload&) = delete;
  std::span<const std::byte> bytes() const noexcept { return bytes_; }

 private:
  Py_buffer view_{};
  std::span<const std::byte> bytes_;
};

/// How a task ended. Arrays over its bytes keep them.
class PyResult {
 public:
  PyResult(const std::shared_ptr<Gate>& gate, TaskResult result)
      : number(result.number()),
        task_id(result.task_id()),
        state(result.refusal() ? "refused" : std::string(name_of(result.state()))),
        attempts(result.attempts()),
        result_(kept_behind(gate, std::move(result), [](TaskResult& kept) { kept.release(); })) {}

  py::object data() {
    if (!result_) throw py::value_error("the result was released");
    if (!view_) view_ = View(result_->bytes(), result_);
    return view_.memoryview();
  }
  py::bytes bytes() const {
    if (!result_) throw py::value_error("the result was released");
    return {reinterpret_cast<const char*>(result_->bytes().data()), result_->bytes().size()};
  }
  py::str text() const {
    if (!result_) throw py::value_error("the result was released");
    return {result_->text().data(), result_->text().size()};
  }
  bool is_done() const { return state == "done"; }
  void release() {
    if (!view_.take_back())
      throw py::buffer_error("arrays over this result are alive: they keep it");
    result_.reset();
  }

  const std::uint64_t number;
  const TaskId task_id;
  const std::string state;
  const unsigned attempts;

 private:
  std::shared_ptr<TaskResult> result_;
  View view_;
};

class PyClient {
 public:
  PyClient(const std::string& swarm, const py::object& timeout)
      : client_(std::make_shared<std::optional<Client>>()) {
    const auto timeout_ms = bounded(timeout);
    client_->emplace(value_of(gate_->pass([&] { return Client::connect(swarm, timeout_ms); })));
  }
  ~PyClient() { close(); }
  PyClient(const PyClient&) = delete;
  PyClient& operator=(const PyClient&) = delete;

  std::uint64_t submit(const std::string& capability, const py::object& payload,
                       const std::string& priority, std::uint32_t timeout_ms, bool detached) {
    const Payload bytes(payload);
    TaskRequest request;
    request.capability = capability;
    request.payload = bytes.bytes();
    request.priority = priority_named(priority);
    request.timeout_ms = timeout_ms;
    request.is_detached = detached;
    Client& client = open();
    return value_of(gate_->pass([&] { return client.submit(std::move(request)); }));
  }

  /// All of them with one message.
  std::uint64_t submit_many(const std::string& capability, const py::iterable& payloads,
                            const std::string& priority) {
    std::deque<Payload> bytes;
    std::vector<TaskRequest> requests;
    for (const py::handle payload : payloads) {
      TaskRequest request;
      request.capability = capability;
      request.payload = bytes.emplace_back(payload).bytes();
      request.priority = priority_named(priority);
      requests.push_back(std::move(request));
    }
    if (requests.empty()) throw py::value_error("submit_many() of nothing");
    Client& client = open();
    return value_of(gate_->pass([&] { return client.submit_batch(requests); })).first_number;
  }

  py::object next_result(const py::object& timeout) {
    Client& client = open();
    std::int64_t left_ms = milliseconds(timeout);
    for (;;) {
      const auto piece_ms = static_cast<std::uint32_t>(
          left_ms < 0 ? signal_check_ms : std::min<std::int64_t>(left_ms, signal_check_ms));
      auto result = value_of(gate_->pass([&] { return client.next_result(piece_ms); }));
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
      if (result) return py::cast(std::make_shared<PyResult>(gate_, std::move(*result)));
      if (left_ms >= 0 && (left_ms -= piece_ms) <= 0) return py::none();
    }
  }

  /// One task from its submission to its end. For clients that have nothing else in flight.
  py::object run(const std::string& capability, const py::object& payload,
                 const py::object& timeout) {
    if (open().in_flight() != 0)
      throw py::value_error("run() is for a client with nothing in flight: use submit()");
    submit(capability, payload, "normal", 0, false);
    py::object result = next_result(timeout);
    if (!result.is_none()) return result;
    PyErr_SetString(PyExc_TimeoutError, "no result in time; next_result() will return it");
    throw py::error_already_set();
  }

  std::size_t in_flight() const { return open().in_flight(); }
  std::vector<std::string> capabilities() const { return open().capabilities(); }
  unsigned party() const { return open().party(); }
  void close() {
    // Results and their views may outlive it; the last of them ends the link.
    gate_->soon([client = std::exchange(client_, nullptr)] {
      if (client) client->reset();
    });
  }

 private:
  Client& open() const {
    if (!client_) throw py::value_error("this client is closed");
    return **client_;
  }
  static std::uint32_t bounded(const py::object& timeout) {
    const std::int64_t ms = milliseconds(timeout);
    return ms < 0 ? Client::forever
                  : static_cast<std::uint32_t>(std::min<std::int64_t>(ms, Client::forever - 1));
  }

  std::shared_ptr<Gate> gate_ = std::make_shared<Gate>();
  std::shared_ptr<std::optional<Client>> client_;
};

}  // namespace

void define_client(py::module_& module) {
  py::class_<PyResult, std::shared_ptr<PyResult>>(module, "Result", "How a task ended.")
      .def_readonly("number", &PyResult::number, "As submit() returned it.")
      .def_readonly("task_id", &PyResult::task_id)
      .def_readonly("state", &PyResult::state,
                    "done, failed, cancelled, timed_out, ... or refused.")
      .def_readonly("attempts", &PyResult::attempts)
      .def_property_readonly("is_done", &PyResult::is_done)
      .def_property_readonly(
          "data", &PyResult::data,
          "A read-only memoryview of the bytes where the agent left them. Arrays "
          "over it keep the memory.")
      .def_property_readonly("text", &PyResult::text, "The same as str (UTF-8), copied.")
      .def("__bytes__", &PyResult::bytes)
      .def("release", &PyResult::release, "Gives the memory back now.");

  py::class_<PyClient>(module, "Client", "A client of a running swarm.")
      .def(py::init<const std::string&, const py::object&>(), py::arg("swarm") = "default",
           py::arg("timeout") = 10.0)
      .def("submit", &PyClient::submit, py::arg("capability"), py::arg("payload") = py::bytes(),
           py::kw_only(), py::arg("priority") = "normal", py::arg("timeout_ms") = 0,
           py::arg("detached") = false, "Hands a task in; returns its number.")
      .def("submit_many", &PyClient::submit_many, py::arg("capability"), py::arg("payloads"),
           py::kw_only(), py::arg("priority") = "normal",
           "Hands in a task for each payload, all or none; returns the first one's number, the "
           "others follow.")
      .def("next_result", &PyClient::next_result, py::arg("timeout") = py::none(),
           "The next Result in the order they came; None when none came in `timeout` seconds.")
      .def("run", &PyClient::run, py::arg("capability"), py::arg("payload") = py::bytes(),
           py::arg("timeout") = py::none(), "Submits one task and returns its Result.")
      .def_property_readonly("in_flight", &PyClient::in_flight)
      .def_property_readonly("capabilities", &PyClient::capabilities)
      .def_property_readonly("party", &PyClient::party)
      .def("close", &PyClient::close)
      .def("__enter__", [](py::object self) { return self; })
      .def("__exit__", [](PyClient& client, const py::args&) { client.close(); });
}

}  // namespace micro_swarm::python

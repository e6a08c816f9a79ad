#include "agentproc/python/view.hpp"

namespace micro_swarm::python {

namespace py = pybind11;

py::buffer_info Exporter::buffer() const {
  return {bytes_.data(),
          1,
          py::format_descriptor<std::uint8_t>::format(),
          1,
          {static_cast<py::ssize_t>(bytes_.size())},
          {1},
          is_readonly_};
}

View::View(std::span<std::byte> bytes, bool is_readonly, std::shared_ptr<void> keep)
    : exporter_(py::cast(new Exporter(bytes, is_readonly, std::move(keep)),
                         py::return_value_policy::take_ownership)),
      memoryview_(py::memoryview(exporter_)) {}

bool View::take_back() {
  if (!memoryview_) return true;
  // Cycles (a traceback that names its frame) hold arrays longer than anybody meant to.
  if (!release()) py::module_::import("gc").attr("collect")();
  if (!release()) return false;
  *this = View();
  return true;
}

bool View::release() const {
  try {
    memoryview_.attr("release")();
  } catch (py::error_already_set& e) {
    if (!e.matches(PyExc_BufferError)) throw;  // an array over it
    return false;
  }
  return exporter_.ref_count() == 1;  // else slices, which have a life of their own
}

void define_views(py::module_& module) {
  py::class_<Exporter>(module, "_Exporter", py::buffer_protocol())
      .def_buffer([](Exporter& exporter) { return exporter.buffer(); });
}

}  // namespace micro_swarm::python

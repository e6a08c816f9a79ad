#pragma once

// microswarm.Client, Result: tasks handed to a running swarm.

#include <pybind11/pybind11.h>

namespace micro_swarm::python {

void define_client(pybind11::module_& module);

}  // namespace micro_swarm::python

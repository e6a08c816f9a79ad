// import microswarm: agents and clients in Python.

#include <pybind11/pybind11.h>

#include "agentproc/python/py_agent.hpp"
#include "agentproc/python/py_client.hpp"
#include "agentproc/python/view.hpp"

PYBIND11_MODULE(microswarm, module) {
  module.doc() = "Agents and clients of a Micro Swarm, over shared memory without copying.";
  module.attr("__version__") = MS_VERSION;
  micro_swarm::python::define_views(module);
  micro_swarm::python::define_agent(module);
  micro_swarm::python::define_client(module);
}

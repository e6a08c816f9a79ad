#include "agentproc/onnxruntime_loader.hpp"
#include "agentproc/template_process.hpp"
#include "supervisor/cli/cli.hpp"

// The one place that knows both sides: supervisor/ starts what agentproc/ is.

namespace {

micro_swarm::Result<std::string> probe_onnx_runtime() {
  const auto runtime = micro_swarm::onnx_runtime();
  if (!runtime) return runtime.error();
  return (*runtime)->version + " (" + (*runtime)->path + ")";
}

}  // namespace

int main(int argc, char** argv) {
  return micro_swarm::cli::run_command_line(argc, argv,
                                            {micro_swarm::template_main, probe_onnx_runtime});
}

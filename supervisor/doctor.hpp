#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/config.hpp"
#include "common/result.hpp"

namespace micro_swarm {

/// ok: there. fallback: not there, and the runtime does without. missing: `run` would refuse.
enum class Finding { ok, fallback, missing };
std::string_view name_of(Finding finding);

struct DoctorCheck {
  std::string name;  ///< stable snake_case
  Finding finding = Finding::ok;
  std::string detail;  ///< what was found
  std::string advice;  ///< what to do, or what happens instead; empty when ok
};

/// Opens ONNX Runtime and returns its version and path. Handed in because supervisor/ does not know
/// agentproc/.
using OnnxRuntimeProbe = Result<std::string> (*)();

/// Tries each thing a swarm of this configuration asks of the machine, one by one. Leaves nothing
/// behind, and changes nothing in the calling process but its library list.
std::vector<DoctorCheck> examine_machine(const Config& config, OnnxRuntimeProbe onnx_runtime);

}  // namespace micro_swarm

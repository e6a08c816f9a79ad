#pragma once

#include <string>

#include "common/result.hpp"

struct OrtApi;
struct OrtEnv;

namespace micro_swarm {

/// ONNX Runtime as this process uses it: opened at run time, so that only the processes that run a
/// model carry its 37 MB library. Lives until the process ends; its pieces are never freed.
struct OnnxRuntime {
  const OrtApi* api = nullptr;  ///< functions of the API version this program was compiled for
  OrtEnv* environment = nullptr;
  std::string version;  ///< "1.26.0"
  std::string path;     ///< as it was opened
};

/// The process's ONNX Runtime; the first call opens it, later calls return the same one (or try
/// again if it failed). Telemetry is switched off, log output too: errors come back as values.
///
/// It is the file named by $MICROSWARM_ONNXRUNTIME if that is set, else libonnxruntime.so.1 from
/// this executable's run path (the build puts it beside the binaries), else the system's.
///
/// Guarantee: makes no thread, so a process may fork after it; a library that starts threads of its
/// own is refused. Not thread-safe: call it before threads exist.
/// Errors (ErrorCode::model): not found, not ONNX Runtime, too old for the API this program was
/// compiled for, newer than 1.27 (whose builds report usage home), starts threads.
Result<const OnnxRuntime*> onnx_runtime();

/// Threads of this process right now, from /proc/self/task. Error: /proc cannot be read.
Result<int> thread_count();

}  // namespace micro_swarm

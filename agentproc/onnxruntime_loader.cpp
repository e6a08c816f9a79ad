#include "agentproc/onnxruntime_loader.hpp"

#define ORT_API_MANUAL_INIT
#include <dlfcn.h>
#include <onnxruntime_c_api.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace micro_swarm {
namespace {

constexpr const char* location_variable = "MICROSWARM_ONNXRUNTIME";
constexpr const char* library_name = "libonnxruntime.so.1";
constexpr int newest_minor = 27;  // from 1.29 on, Linux builds upload telemetry; 1.28 was not tried

Error runtime_error(std::string message) {
  message +=
      "; run scripts/setup, or install ONNX Runtime 1.26 and point MICROSWARM_ONNXRUNTIME at its "
      "libonnxruntime.so.1";
  return Error{ErrorCode::model, std::move(message)};
}

struct OpenedLibrary {
  void* handle = nullptr;
  std::string path;
};

/// A bare name is looked for along this executable's own run path, then where the system looks.
Result<OpenedLibrary> open_library() {
  const char* named = std::getenv(location_variable);
  const std::string path = named != nullptr && *named != '\0' ? named : library_name;
  if (void* handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL))
    return OpenedLibrary{handle, path};
  const char* why = ::dlerror();
  return runtime_error("ONNX Runtime cannot be opened: " + (why != nullptr ? why : path));
}

/// "1.26.0" -> {1, 26}; {0, 0} if it does not look like that.
std::array<int, 2> major_minor(std::string_view version) {
  std::array<int, 2> numbers{};
  const char* const end = version.data() + version.size();
  const auto major = std::from_chars(version.data(), end, numbers[0]);
  if (major.ec != std::errc{} || major.ptr == end || *major.ptr != '.') return {};
  if (std::from_chars(major.ptr + 1, end, numbers[1]).ec != std::errc{}) return {};
  return numbers;
}

Result<OnnxRuntime> start_runtime(const OpenedLibrary& library) {
  // POSIX wants this conversion to work.
  const auto get_base =
      reinterpret_cast<const OrtApiBase* (*)() noexcept>(::dlsym(library.handle, "OrtGetApiBase"));
  if (get_base == nullptr)
    return runtime_error(library.path + " is not ONNX Runtime (it lacks OrtGetApiBase)");
  const OrtApiBase* base = get_base();
  const std::string version = base->GetVersionString();
  const auto [major, minor] = major_minor(version);
  if (major != 1 || minor > newest_minor)
    return runtime_error(library.path + " is ONNX Runtime " + version +
                         ", which may report usage home; versions up to 1.27 are accepted");
  // An older library prints a line on stderr when it is asked for an API it does not have.
  const OrtApi* api = minor >= ORT_API_VERSION ? base->GetApi(ORT_API_VERSION) : nullptr;
  if (api == nullptr)
    return runtime_error(library.path + " is ONNX Runtime " + version + ", older than the 1." +
                         std::to_string(ORT_API_VERSION) + " this program was built for");

  OnnxRuntime runtime{api, nullptr, version, library.path};
  OrtStatus* status = api->CreateEnv(ORT_LOGGING_LEVEL_FATAL, "microswarm", &runtime.environment);
  if (status == nullptr) status = api->DisableTelemetryEvents(runtime.environment);
  if (status != nullptr) {
    const std::string why = api->GetErrorMessage(status);
    api->ReleaseStatus(status);
    return runtime_error("ONNX Runtime " + version + " cannot start: " + why);
  }
  return runtime;
}

}  // namespace

Result<int> thread_count() {
  struct stat tasks {};
  // A directory has a link from itself, one from its parent and one from each folder in it.
  if (::stat("/proc/self/task", &tasks) != 0) return system_error("stat(/proc/self/task)", errno);
  return static_cast<int>(tasks.st_nlink) - 2;
}

Result<const OnnxRuntime*> onnx_runtime() {
  static OnnxRuntime* process_runtime = nullptr;
  if (process_runtime != nullptr) return static_cast<const OnnxRuntime*>(process_runtime);

  ::setenv("ORT_DISABLE_TELEMETRY", "1", 1);
  const Result<int> threads_before = thread_count();
  auto library = open_library();
  if (!library) return library.error();
  auto runtime = start_runtime(*library);
  if (!runtime) {
    ::dlclose(library->handle);
    return runtime.error();
  }
  const Result<int> threads_after = thread_count();
  // Without /proc this cannot be told at run time; the version check above still stands.
  if (threads_before && threads_after && *threads_after > *threads_before)
    return runtime_error(runtime->path + " (ONNX Runtime " + runtime->version +
                         ") starts threads of its own, so processes cannot be forked from it");
  process_runtime = new OnnxRuntime(std::move(*runtime));  // lives as long as the process
  return static_cast<const OnnxRuntime*>(process_runtime);
}

}  // namespace micro_swarm

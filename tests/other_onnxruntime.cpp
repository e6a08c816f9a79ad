// A library that says it is ONNX Runtime MS_TEST_VERSION and, when it is started, makes a thread:
// what the loader must refuse.

#define ORT_API_MANUAL_INIT
#include <onnxruntime_c_api.h>
#include <pthread.h>
#include <unistd.h>

namespace {

void* stay(void*) {
  for (;;) ::pause();
}

OrtStatus* ORT_API_CALL create_env(OrtLoggingLevel, const char*, OrtEnv**) noexcept {
  pthread_t thread;
  ::pthread_create(&thread, nullptr, &stay, nullptr);
  return nullptr;
}
OrtStatus* ORT_API_CALL disable_telemetry(const OrtEnv*) noexcept { return nullptr; }

const OrtApi* ORT_API_CALL get_api(uint32_t) noexcept {
  static const OrtApi api = [] {
    OrtApi made{};
    made.CreateEnv = &create_env;
    made.DisableTelemetryEvents = &disable_telemetry;
    return made;
  }();
  return &api;
}
const char* ORT_API_CALL get_version() noexcept { return MS_TEST_VERSION; }

}  // namespace

extern "C" ORT_EXPORT const OrtApiBase* ORT_API_CALL OrtGetApiBase() noexcept {
  static const OrtApiBase base{&get_api, &get_version};
  return &base;
}

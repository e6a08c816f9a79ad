// What opening ONNX Runtime does to a process. It happens once a process, so each case has a
// process of its own.

#include <fcntl.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <functional>
#include <string>

#include "agentproc/onnxruntime_loader.hpp"

using namespace micro_swarm;

namespace {

/// Runs `body` in a child and returns what it returned.
std::string in_child(const std::function<std::string()>& body) {
  int ends[2];
  BOOST_REQUIRE_EQUAL(::pipe2(ends, O_CLOEXEC), 0);
  const pid_t child = ::fork();
  BOOST_REQUIRE_GE(child, 0);
  if (child == 0) {
    const std::string text = body();
    const bool written =
        ::write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size());
    ::_exit(written ? 0 : 1);
  }
  ::close(ends[1]);
  std::string text;
  char buffer[512];
  for (ssize_t size = 0; (size = ::read(ends[0], buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(size));
  ::close(ends[0]);
  int status = 0;
  BOOST_REQUIRE_EQUAL(::waitpid(child, &status, 0), child);
  BOOST_REQUIRE_MESSAGE(status == 0, "the child ended with wait status " << status);
  return text;
}

std::string error_with_library(const char* path) {
  return in_child([path] {
    ::setenv("MICROSWARM_ONNXRUNTIME", path, 1);
    const auto runtime = onnx_runtime();
    if (runtime) return std::string("it opened");
    return (runtime.error().code == ErrorCode::model ? "model: " : "another code: ") +
           runtime.error().message;
  });
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_CASE(opens_without_a_thread_and_without_telemetry) {
  const std::string seen = in_child([] {
    const auto before = thread_count();
    const auto runtime = onnx_runtime();
    const auto after = thread_count();
    if (!before || !after) return std::string("/proc/self/task cannot be read");
    if (!runtime) return runtime.error().message;
    const char* telemetry_off = std::getenv("ORT_DISABLE_TELEMETRY");
    return "threads " + std::to_string(*before) + " and " + std::to_string(*after) +
           ", telemetry off " + (telemetry_off != nullptr ? telemetry_off : "unset");
  });
  BOOST_TEST(seen == "threads 1 and 1, telemetry off 1");
}

BOOST_AUTO_TEST_CASE(thread_count_sees_a_thread) {
  const std::string seen = in_child([] {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return std::string("no pipe");
    pthread_t thread;
    const auto wait_for_end = [](void* end) -> void* {
      char byte;
      return ::read(*static_cast<int*>(end), &byte, 1) == 0 ? nullptr : end;
    };
    if (::pthread_create(&thread, nullptr, wait_for_end, &ends[0]) != 0)
      return std::string("no thread");
    const auto count = thread_count();
    ::close(ends[1]);
    ::pthread_join(thread, nullptr);
    return count ? std::to_string(*count) : count.error().message;
  });
  BOOST_TEST(seen == "2");
}

BOOST_AUTO_TEST_CASE(is_opened_once_in_a_process) {
  const std::string seen = in_child([] {
    const auto first = onnx_runtime();
    const auto second = onnx_runtime();
    return std::string(first && second && *first == *second ? "same" : "different");
  });
  BOOST_TEST(seen == "same");
}

BOOST_AUTO_TEST_CASE(a_missing_library_says_what_to_install) {
  const std::string error = error_with_library("/nonexistent/libonnxruntime.so.1");
  BOOST_TEST(contains(error, "model: ONNX Runtime cannot be opened"), error);
  BOOST_TEST(contains(error, "/nonexistent/libonnxruntime.so.1"), error);
  BOOST_TEST(contains(error, "scripts/setup"), error);
}

BOOST_AUTO_TEST_CASE(another_library_is_named_as_such) {
  const std::string error = error_with_library("libm.so.6");
  BOOST_TEST(contains(error, "model: libm.so.6 is not ONNX Runtime"), error);
}

BOOST_AUTO_TEST_CASE(a_version_that_may_report_usage_home_is_refused) {
  const std::string error = error_with_library(MS_TEST_ONNXRUNTIME_1_29_0);
  BOOST_TEST(contains(error, "is ONNX Runtime 1.29.0, which may report usage home"), error);
}

BOOST_AUTO_TEST_CASE(a_version_that_is_too_old_is_refused) {
  const std::string error = error_with_library(MS_TEST_ONNXRUNTIME_1_2_0);
  BOOST_TEST(contains(error, "is ONNX Runtime 1.2.0, older than the 1."), error);
}

BOOST_AUTO_TEST_CASE(a_library_that_starts_threads_is_refused) {
  const std::string error = error_with_library(MS_TEST_ONNXRUNTIME_1_27_0);
  BOOST_TEST(contains(error, "(ONNX Runtime 1.27.0) starts threads of its own"), error);
}

BOOST_AUTO_TEST_CASE(a_version_that_is_none_is_refused) {
  const std::string error = error_with_library(MS_TEST_ONNXRUNTIME_unknown);
  BOOST_TEST(contains(error, "model: "), error);
  BOOST_TEST(contains(error, "is ONNX Runtime unknown, "), error);
}

BOOST_AUTO_TEST_CASE(a_file_that_is_no_library_is_reported) {
  char path[] = "/tmp/microswarm-no-library.XXXXXX";
  const int fd = ::mkstemp(path);
  BOOST_REQUIRE_GE(fd, 0);
  BOOST_REQUIRE_EQUAL(::write(fd, "not a library", 13), 13);
  ::close(fd);
  const std::string error = error_with_library(path);
  ::unlink(path);
  BOOST_TEST(contains(error, "model: ONNX Runtime cannot be opened"), error);
  BOOST_TEST(contains(error, path), error);
}

#include "common/runtime_dir.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "tests/fault_text.hpp"
#include "tests/temporary_directory.hpp"

using namespace micro_swarm;

namespace {

/// Sets or unsets an environment variable for one test.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    if (value != nullptr)
      ::setenv(name, value, 1);
    else
      ::unsetenv(name);
  }
  ~Variable() {
    if (old_)
      ::setenv(name_, old_->c_str(), 1);
    else
      ::unsetenv(name_);
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
  std::optional<std::string> old_;
};

mode_t mode_of(const std::string& path) {
  struct stat there {};
  BOOST_REQUIRE(::stat(path.c_str(), &there) == 0);
  return there.st_mode & 07777;
}

/// Exit code of `body` run in a child, for what must happen in another process.
template <class Body>
int in_child(Body body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  BOOST_REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(directory)

BOOST_AUTO_TEST_CASE(the_first_variable_decides) {
  const Variable own("MICROSWARM_RUNTIME_DIR", "/a/b/");
  const Variable session("XDG_RUNTIME_DIR", "/x");
  BOOST_TEST(runtime_directory().value() == "/a/b");
  {
    const Variable unset("MICROSWARM_RUNTIME_DIR", "");
    BOOST_TEST(runtime_directory().value() == "/x/microswarm");
    const Variable none("XDG_RUNTIME_DIR", nullptr);
    BOOST_TEST(runtime_directory().value() == "/run/microswarm");
  }
}

BOOST_AUTO_TEST_CASE(a_relative_one_is_refused) {
  const Variable own("MICROSWARM_RUNTIME_DIR", "here");
  const auto directory = runtime_directory();
  BOOST_REQUIRE(directory.has_error());
  BOOST_TEST(directory.error().message == "MICROSWARM_RUNTIME_DIR=here is not an absolute path");
}

BOOST_AUTO_TEST_CASE(is_created_private) {
  const TemporaryDirectory parent;
  const std::string path = (parent.path() / "run").string();
  const Variable own("MICROSWARM_RUNTIME_DIR", path.c_str());
  const auto endpoint = prepare_endpoint("a");
  BOOST_REQUIRE_MESSAGE(endpoint.has_value(), fault_text(endpoint));
  BOOST_TEST(mode_of(path) == (::geteuid() == 0 ? 0711u : 0700u));
  BOOST_TEST(endpoint->socket_path() == path + "/a.sock");
  BOOST_TEST(endpoint->lock_path() == path + "/a.lock");
  BOOST_TEST(prepare_endpoint("b").has_value());
}

BOOST_AUTO_TEST_CASE(that_cannot_be_used_names_the_variable) {
  const TemporaryDirectory parent;
  std::ofstream(parent.path() / "file") << "x";
  for (const std::string& path :
       {(parent.path() / "none" / "run").string(), (parent.path() / "file").string(),
        std::string("/proc/microswarm"), std::string("/tmp")}) {
    const Variable own("MICROSWARM_RUNTIME_DIR", path.c_str());
    const auto endpoint = prepare_endpoint("a");
    BOOST_REQUIRE_MESSAGE(endpoint.has_error(), path);
    BOOST_TEST(endpoint.error().message.find("MICROSWARM_RUNTIME_DIR") != std::string::npos,
               endpoint.error().message);
    BOOST_TEST(endpoint.error().message.find(path) != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(writable_by_others_is_refused) {
  const TemporaryDirectory open;
  std::filesystem::permissions(open.path(), std::filesystem::perms(0777));
  const Variable own("MICROSWARM_RUNTIME_DIR", open.path().c_str());
  const auto endpoint = prepare_endpoint("a");
  BOOST_REQUIRE(endpoint.has_error());
  BOOST_TEST(endpoint.error().message.find("chmod 700") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(names_and_lengths_are_checked) {
  const Variable own("MICROSWARM_RUNTIME_DIR", "/run/x");
  for (const char* bad :
       {"", "Big", "a/b", "..", "a b", "a.b", "123456789012345678901234567890123"})
    BOOST_TEST(find_endpoint(bad).has_error(), bad);
  BOOST_TEST(find_endpoint("12345678901234567890123456789012").has_value());

  // 107 bytes fit, 108 do not.
  const std::string fits = "/" + std::string(107 - 8, 'd');
  const Variable longer("MICROSWARM_RUNTIME_DIR", fits.c_str());
  BOOST_TEST(find_endpoint("a").value().socket_path().size() == 107u);
  const auto too_long = find_endpoint("ab");
  BOOST_REQUIRE(too_long.has_error());
  BOOST_TEST(too_long.error().message.find("107 bytes") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(swarm_lock)

BOOST_AUTO_TEST_CASE(has_one_holder_who_is_named) {
  const TemporaryDirectory directory;
  const Endpoint endpoint{"a", directory.path().string()};
  const auto held = acquire_swarm_lock(endpoint);
  BOOST_REQUIRE_MESSAGE(held.has_value(), fault_text(held));
  BOOST_TEST(mode_of(endpoint.lock_path()) == 0600u);
  const pid_t holder = ::getpid();
  BOOST_TEST(in_child([&] {
               const auto second = acquire_swarm_lock(endpoint);
               if (!second.has_error() || second.error().code != ErrorCode::refused) return 1;
               const std::string expected =
                   "swarm a already runs (pid " + std::to_string(holder) + ")";
               if (!second.error().message.starts_with(expected)) return 2;
               return swarm_lock_holder(endpoint) == holder ? 0 : 3;
             }) == 0);
}

BOOST_AUTO_TEST_CASE(goes_with_its_holder_however_that_ends) {
  const TemporaryDirectory directory;
  const Endpoint endpoint{"a", directory.path().string()};
  BOOST_TEST(in_child([&] {
               auto held = acquire_swarm_lock(endpoint);
               if (!held) return 1;
               return held->release() >= 0 ? 0 : 2;
             }) == 0);
  BOOST_TEST(std::filesystem::exists(endpoint.lock_path()));
  BOOST_TEST(swarm_lock_holder(endpoint) == 0);
  BOOST_TEST(acquire_swarm_lock(endpoint).has_value());
}

BOOST_AUTO_TEST_CASE(is_left_alone_by_children) {
  const TemporaryDirectory directory;
  const Endpoint endpoint{"a", directory.path().string()};
  const auto held = acquire_swarm_lock(endpoint);
  BOOST_REQUIRE(held.has_value());
  // A child closes its copy of the descriptor; the lock is its parent's.
  BOOST_TEST(in_child([&] { return ::close(held->get()); }) == 0);
  BOOST_TEST(in_child([&] { return acquire_swarm_lock(endpoint).has_error() ? 0 : 1; }) == 0);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(control_socket)

BOOST_AUTO_TEST_CASE(is_private_and_listens) {
  const TemporaryDirectory directory;
  const Endpoint endpoint{"a", directory.path().string()};
  const mode_t before = ::umask(0);
  const auto listening = listen_control_socket(endpoint);
  ::umask(before);
  BOOST_REQUIRE_MESSAGE(listening.has_value(), fault_text(listening));
  BOOST_TEST(mode_of(endpoint.socket_path()) == 0600u);
  BOOST_TEST(::accept4(listening->get(), nullptr, nullptr, SOCK_CLOEXEC) == -1);
  BOOST_TEST(errno == EAGAIN);
}

BOOST_AUTO_TEST_CASE(left_behind_is_taken_over) {
  const TemporaryDirectory directory;
  const Endpoint endpoint{"a", directory.path().string()};
  BOOST_TEST(listen_control_socket(endpoint).has_value());
  BOOST_TEST(std::filesystem::exists(endpoint.socket_path()));
  BOOST_TEST(listen_control_socket(endpoint).has_value());
  remove_endpoint_files(endpoint);
  BOOST_TEST(std::filesystem::is_empty(directory.path()));
}

BOOST_AUTO_TEST_SUITE_END()

// The layers one by one, each in a child of its own, for they are for life.

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "agentproc/syscall_filter.hpp"
#include "common/landlock.hpp"
#include "common/own_uid.hpp"
#include "common/posix.hpp"
#include "tests/temporary_directory.hpp"

namespace micro_swarm {
namespace {

namespace utf = boost::unit_test;

constexpr int not_confined = 99;

/// What `attempt` ends with in a child that `confine` has confined: 0 or the errno.
int errno_in_child(const std::function<bool()>& confine, const std::function<bool()>& attempt) {
  const pid_t child = ::fork();
  BOOST_REQUIRE(child >= 0);
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (!confine()) ::_exit(not_confined);
    errno = 0;
    ::_exit(attempt() ? 0 : errno);
  }
  int status = 0;
  BOOST_REQUIRE(::waitpid(child, &status, 0) == child);
  BOOST_REQUIRE_MESSAGE(WIFEXITED(status), "signal " << WTERMSIG(status));
  BOOST_REQUIRE(WEXITSTATUS(status) != not_confined);
  return WEXITSTATUS(status);
}

SyscallFilter filter_of(Result<SyscallFilter> made) {
  BOOST_REQUIRE(made.has_value());
  return std::move(*made);
}

int built_in(const std::function<bool()>& attempt) {
  const SyscallFilter filter = filter_of(SyscallFilter::built_in_agent());
  return errno_in_child([&] { return filter.put_on().has_value(); }, attempt);
}
int external(const std::function<bool()>& attempt) {
  const SyscallFilter filter = filter_of(SyscallFilter::external_agent());
  return errno_in_child([&] { return filter.put_on().has_value(); }, attempt);
}

int opens(const char* path, int flags = O_RDONLY) {
  const UniqueFd file(::open(path, flags | O_CLOEXEC));
  return file ? 1 : 0;
}

BOOST_AUTO_TEST_SUITE(syscall_filter)

BOOST_AUTO_TEST_CASE(a_built_in_agent_has_no_files_sockets_and_processes) {
  BOOST_TEST(built_in([] { return opens("/dev/null") != 0; }) == EPERM);
  BOOST_TEST(built_in([] { return ::socket(AF_UNIX, SOCK_STREAM, 0) >= 0; }) == EPERM);
  BOOST_TEST(built_in([] { return ::fork() >= 0; }) == EPERM);
  BOOST_TEST(built_in([] { return ::syscall(SYS_clone3, nullptr, 0) >= 0; }) == ENOSYS);
  BOOST_TEST(built_in([] { return ::execl("/bin/true", "true", nullptr) == 0; }) == EPERM);
  BOOST_TEST(built_in([] { return ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) == 0; }) == EPERM);
}

BOOST_AUTO_TEST_CASE(it_signals_itself_and_nobody_else) {
  const pid_t other = ::getpid();
  BOOST_TEST(built_in([] { return ::kill(::getpid(), 0) == 0; }) == 0);
  BOOST_TEST(built_in([] { return ::raise(0) == 0; }) == 0);
  BOOST_TEST(built_in([&] { return ::kill(other, 0) == 0; }) == EPERM);
  BOOST_TEST(built_in([] { return ::kill(0, 0) == 0; }) == EPERM);
  BOOST_TEST(built_in([] { return ::kill(-1, 0) == 0; }) == EPERM);
  BOOST_TEST(built_in([&] { return ::syscall(SYS_tgkill, other, other, 0) == 0; }) == EPERM);
  BOOST_TEST(built_in([&] { return ::syscall(SYS_tkill, other, 0) == 0; }) == EPERM);
}

BOOST_AUTO_TEST_CASE(it_has_threads_and_memory) {
  BOOST_TEST(built_in([] {
               int seen = 0;
               std::thread([&] { seen = 1; }).join();
               const std::vector<char> large(std::size_t{8} << 20, 'x');
               const UniqueFd memory(::memfd_create("x", MFD_CLOEXEC));
               return seen == 1 && large.back() == 'x' && memory;
             }) == 0);
}

BOOST_AUTO_TEST_CASE(an_external_agent_reaches_into_no_process_and_namespace) {
  const pid_t other = ::getpid();
  char byte = 0;
  BOOST_TEST(external([&] {
               const iovec part{&byte, 1};
               return ::process_vm_writev(other, &part, 1, &part, 1, 0) == 1;
             }) == EPERM);
  BOOST_TEST(external([&] { return ::ptrace(PTRACE_SEIZE, other, nullptr, nullptr) == 0; }) ==
             EPERM);
  BOOST_TEST(external([] { return ::unshare(CLONE_NEWUSER) == 0; }) == EPERM);
  BOOST_TEST(external([] { return ::syscall(SYS_bpf, 0, nullptr, 0) == 0; }) == EPERM);
  BOOST_TEST(external([] {
               const pid_t child = ::fork();
               if (child == 0) ::_exit(opens("/dev/null") != 0 ? 0 : 1);
               int status = 1;
               return child > 0 && ::waitpid(child, &status, 0) == child && status == 0;
             }) == 0);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(landlock_domain, *utf::precondition([](auto) { return landlock::abi() > 0; }))

struct Fixture {
  TemporaryDirectory directory;
  std::vector<std::string> system{"/usr", "/lib", "/dev/null"};
  std::vector<std::string> own{directory.path().string()};

  int confined(const std::function<bool()>& attempt) {
    return errno_in_child(
        [&] {
          return landlock::restrict({.readable = system, .writable = own, .tcp = true}).has_value();
        },
        attempt);
  }
};

BOOST_FIXTURE_TEST_CASE(files_are_what_the_rules_say, Fixture) {
  const std::string mine = own[0] + "/mine";
  BOOST_TEST(confined([&] {
               return opens(mine.c_str(), O_RDWR | O_CREAT | O_TRUNC) != 0 &&
                      ::rename(mine.c_str(), (mine + "2").c_str()) == 0 &&
                      ::unlink((mine + "2").c_str()) == 0;
             }) == 0);
  BOOST_TEST(confined([] { return opens("/dev/null") != 0; }) == 0);
  BOOST_TEST(confined([] { return opens("/dev/null", O_WRONLY) != 0; }) == EACCES);
  BOOST_TEST(confined([] { return opens("/etc/passwd") != 0; }) == EACCES);
  BOOST_TEST(confined([] { return opens("/proc/self/mem", O_RDWR) != 0; }) == EACCES);
}

BOOST_AUTO_TEST_CASE(without_rules_nothing_is_opened) {
  BOOST_TEST(errno_in_child([] { return landlock::restrict({}).has_value(); },
                            [] { return opens("/dev/null") != 0; }) == EACCES);
}

// One domain for all would not do: whoever shares one is not kept apart.
BOOST_FIXTURE_TEST_CASE(two_domains_are_kept_apart, Fixture) {
  int ends[2];
  BOOST_REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const pid_t sibling = ::fork();
  BOOST_REQUIRE(sibling >= 0);
  if (sibling == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    const char made = landlock::restrict({}).has_value() ? 'y' : 'n';
    [[maybe_unused]] const ssize_t told = ::write(ends[1], &made, 1);
    for (;;) ::pause();
  }
  char made = 0;
  BOOST_REQUIRE(::read(ends[0], &made, 1) == 1);
  BOOST_TEST(made == 'y');
  ::close(ends[0]);
  ::close(ends[1]);
  BOOST_TEST(confined([&] { return ::ptrace(PTRACE_SEIZE, sibling, nullptr, nullptr) == 0; }) ==
             EPERM);
  const int signalled = confined([&] { return ::kill(sibling, 0) == 0; });
  BOOST_TEST(signalled == (landlock::abi() >= 6 ? EPERM : 0));
  ::kill(sibling, SIGKILL);
  ::waitpid(sibling, nullptr, 0);
}

BOOST_AUTO_TEST_CASE(a_path_that_is_not_there_is_named) {
  std::vector<std::string> missing{"/no/such/directory"};
  const auto made = landlock::restrict({.readable = missing, .writable = {}});
  BOOST_REQUIRE(!made.has_value());
  BOOST_TEST(made.error().message.find("/no/such/directory") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(what_is_missing_is_said) {
  BOOST_TEST(landlock::missing_with(7).empty());
  BOOST_TEST(landlock::missing_with(2).find("signals, TCP and truncating") != std::string::npos);
  BOOST_TEST(landlock::missing_with(0).find("no Landlock") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(own_uid, *utf::precondition([](auto) { return ::geteuid() == 0; }))

BOOST_AUTO_TEST_CASE(who_becomes_somebody_else_stays_that) {
  BOOST_TEST(errno_in_child([] { return become_uid(1'900'000'007).has_value(); },
                            [] {
                              return ::getuid() == 1'900'000'007 && ::getgid() == 1'900'000'007 &&
                                     ::getgroups(0, nullptr) == 0;
                            }) == 0);
  BOOST_TEST(errno_in_child([] { return become_uid(1'900'000'007).has_value(); },
                            [] { return ::setresuid(0, 0, 0) == 0; }) == EPERM);
}

BOOST_AUTO_TEST_CASE(who_cannot_give_uids_says_why) {
  BOOST_TEST(can_give_uids(1'900'000'000, 1'900'000'319).has_value());
  BOOST_TEST(errno_in_child([] { return become_uid(65'534).has_value(); },
                            [] {
                              const auto can = can_give_uids(1, 2);
                              errno = EPERM;
                              return !(!can &&
                                       can.error().message.find("uid 0") != std::string::npos);
                            }) == EPERM);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(reach)

void set_mode(const std::filesystem::path& path, unsigned mode) {
  std::filesystem::permissions(path, std::filesystem::perms{mode});
}

BOOST_AUTO_TEST_CASE(what_bars_others_on_the_way_to_a_file_is_named) {
  const TemporaryDirectory directory;
  const auto above = directory.path() / "above";
  const auto file = above / "below" / "program";
  std::filesystem::create_directories(file.parent_path());
  std::ofstream(file) << "#!/bin/sh\n";
  set_mode(above, 0711);
  set_mode(file.parent_path(), 0755);
  set_mode(file, 0755);
  BOOST_TEST(closed_to_others(file).empty());
  BOOST_TEST(closed_to_others(file.parent_path()).empty());
  set_mode(file, 0640);
  BOOST_TEST(closed_to_others(file) == file.string());
  set_mode(file, 0644);
  BOOST_TEST(closed_to_others(file).empty());
  const auto link = directory.path() / "link";
  std::filesystem::create_directory_symlink(file.parent_path(), link);
  BOOST_TEST(closed_to_others(link / "program").empty());
  set_mode(above, 0700);
  BOOST_TEST(closed_to_others(link / "program") == above.string());
  BOOST_TEST(closed_to_others(file) == above.string());
  BOOST_TEST(closed_to_others(above) == above.string());
  BOOST_TEST(closed_to_others(directory.path() / "none").empty());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace micro_swarm

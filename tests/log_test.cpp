#include "common/log.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/test/unit_test.hpp>
#include <functional>
#include <regex>
#include <string>

#include "common/clock.hpp"
#include "common/posix.hpp"

using namespace micro_swarm;

namespace {

struct Pipe {
  Pipe() {
    int ends[2];
    BOOST_REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    read_end.reset(ends[0]);
    write_end.reset(ends[1]);
  }
  UniqueFd read_end;
  UniqueFd write_end;
};

/// Runs `body` in a child whose stderr is `target`; its exit code.
int with_stderr(int target, const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(target, STDERR_FILENO);
    ::_exit(body());
  }
  int status = -1;
  BOOST_REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::string all_of(const UniqueFd& fd) {
  std::string text;
  std::array<char, 65536> block;
  for (;;) {
    const ssize_t size = ::read(fd.get(), block.data(), block.size());
    if (size <= 0) return text;
    text.append(block.data(), static_cast<std::size_t>(size));
  }
}

std::string logged(const std::function<void()>& body) {
  Pipe pipe;
  BOOST_TEST(with_stderr(pipe.write_end.get(), [&] {
               body();
               return 0;
             }) == 0);
  pipe.write_end.reset();
  return all_of(pipe.read_end);
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_line_says_when_how_bad_and_who) {
  const std::string text = logged([] {
    log::init("supervisor", LogLevel::info);
    log::info("{} agents", 3);
    log::debug("not this");
    log::warn("but this");
  });
  const std::regex expected(
      R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info  supervisor\[\d+\]: 3 agents\n)"
      R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z warning supervisor\[\d+\]: but this\n)");
  BOOST_TEST(std::regex_match(text, expected), text);
}

BOOST_AUTO_TEST_CASE(a_message_stays_on_its_line_and_under_4_kib) {
  const std::string text = logged([] {
    log::init("agent/3", LogLevel::info);
    log::info("first\nforged line\x1b[2J");
    log::info("{}", std::string(10'000, 'x'));
    log::info("next");
  });
  BOOST_TEST(std::count(text.begin(), text.end(), '\n') == 3);
  BOOST_TEST(text.find("first?forged line?[2J\n") != std::string::npos, text);
  const std::size_t second = text.find('\n') + 1;
  BOOST_TEST(text.find('\n', second) - second == 4095u);
  BOOST_TEST(text.ends_with(": next\n"));
}

BOOST_AUTO_TEST_CASE(a_forked_child_logs_as_itself) {
  const std::string text = logged([] {
    log::init("root", LogLevel::info);
    const pid_t child = ::fork();
    if (child == 0) {
      log::init("supervisor", LogLevel::info);
      log::info("mine");
      ::_exit(0);
    }
    ::waitpid(child, nullptr, 0);
    log::info("child {}", child);
  });
  std::smatch parts;
  BOOST_REQUIRE(std::regex_search(
      text, parts, std::regex(R"(supervisor\[(\d+)\]: mine\n.* root\[(\d+)\]: child (\d+)\n)")));
  BOOST_TEST(parts[1].str() == parts[3].str());
  BOOST_TEST(parts[1].str() != parts[2].str());
}

BOOST_AUTO_TEST_CASE(a_reader_that_takes_nothing_costs_lines_not_time) {
  Pipe pipe;
  constexpr int lines = 20'000;
  // 2 MB into a pipe of 64 KiB that nobody reads.
  BOOST_TEST(with_stderr(pipe.write_end.get(), [] {
               log::init("supervisor", LogLevel::info);
               for (int i = 0; i < lines; ++i) log::info("{}", std::string(100, 'x'));
               return log::dropped_lines() > 0 && log::dropped_lines() < lines ? 0 : 1;
             }) == 0);
}

BOOST_AUTO_TEST_CASE(dropped_lines_are_counted_where_they_are_missing) {
  Pipe pipe;
  const int read_end = pipe.read_end.get();
  BOOST_TEST(with_stderr(pipe.write_end.get(), [read_end] {
               log::init("supervisor", LogLevel::info);
               while (log::dropped_lines() < 5) log::info("{}", std::string(100, 'x'));
               std::array<char, 65536> block;
               if (::read(read_end, block.data(), block.size()) <= 0) return 1;
               log::info("after");
               return 0;
             }) == 0);
  pipe.write_end.reset();
  const std::string rest = all_of(pipe.read_end);
  BOOST_TEST(rest.find("(5 log lines were dropped here)\n") != std::string::npos, rest);
  BOOST_TEST(rest.ends_with(": after\n"));
}

BOOST_AUTO_TEST_CASE(a_reader_that_is_gone_is_no_error) {
  Pipe pipe;
  pipe.read_end.reset();
  BOOST_TEST(with_stderr(pipe.write_end.get(), [] {
               ::signal(SIGPIPE, SIG_IGN);
               log::init("supervisor", LogLevel::info);
               log::info("nobody hears");
               return 0;
             }) == 0);
}

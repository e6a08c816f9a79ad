#include "agentproc/child_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>

namespace micro_swarm {

namespace {

struct Pipe {
  UniqueFd read, write;
};

Result<Pipe> make_pipe() {
  int ends[2];
  const auto made = posix_call("pipe2", [&ends] { return ::pipe2(ends, O_CLOEXEC); });
  if (!made) return made.error();
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

/// In the child of a process with threads: nothing here may allocate or lock. Returns the errno.
int become(char* const* argv, char* const* environment, const std::array<int, 3>& streams,
           int status, pid_t parent) noexcept {
  ::setpgid(0, 0);
  // In this order: a parent that died before the prctl is seen by getppid, after it by the signal.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  for (int i = 0; i < 3; ++i)
    if (streams[static_cast<std::size_t>(i)] >= 0) ::dup2(streams[static_cast<std::size_t>(i)], i);
  if (status != 3) ::dup3(status, 3, O_CLOEXEC);
  ::closefrom(4);
  for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execvpe(argv[0], argv, environment);
  return errno;
}

}  // namespace

Result<ChildProcess> ChildProcess::start(std::vector<std::string> argv,
                                         std::vector<std::string> environment, Errors errors) {
  auto input = make_pipe();
  if (!input) return input.error();
  auto output = make_pipe();
  if (!output) return output.error();
  auto status = make_pipe();
  if (!status) return status.error();
  Pipe error_pipe;
  if (errors == Errors::piped) {
    auto made = make_pipe();
    if (!made) return made.error();
    error_pipe = std::move(*made);
  }
  const auto arguments = pointers_to(argv);
  const auto variables = pointers_to(environment);
  const std::array<int, 3> streams{input->read.get(), output->write.get(), error_pipe.write.get()};
  const pid_t parent = ::getpid();
  const auto forked = posix_call("fork", [] { return ::fork(); });
  if (!forked) return forked.error();
  if (*forked == 0) {
    const int error =
        become(arguments.data(), variables.data(), streams, status->write.get(), parent);
    [[maybe_unused]] const ssize_t told = ::write(3, &error, sizeof error);
    ::_exit(127);
  }
  ChildProcess child;
  child.pid_ = *forked;
  child.pidfd_.reset(pidfd_open(*forked));
  const int no_pidfd = errno;
  status->write.reset();
  int error = 0;
  const auto told =
      posix_call("read", [&] { return ::read(status->read.get(), &error, sizeof error); });
  if (told && *told == sizeof error)
    return Error{ErrorCode::system, "cannot run " + argv.front() + ": " + std::strerror(error),
                 error};
  if (!child.pidfd_) return system_error("pidfd_open", no_pidfd);
  child.input = std::move(input->write);
  child.output = std::move(output->read);
  child.errors = std::move(error_pipe.read);
  for (const UniqueFd* end : {&child.input, &child.output, &child.errors})
    if (*end) ::fcntl(end->get(), F_SETFL, O_NONBLOCK);
  return child;
}

void ChildProcess::signal_group(int number) const noexcept {
  if (pid_ > 0) ::kill(-pid_, number);
}

bool ChildProcess::wait(int timeout_ms) const noexcept {
  pollfd death{pidfd_.get(), POLLIN, 0};
  return ::poll(&death, 1, timeout_ms) == 1;
}

int ChildProcess::end() noexcept {
  if (pid_ <= 0) return 0;
  // Until it is reaped its number is its group's, and nobody else's.
  ::kill(-pid_, SIGKILL);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  return status;
}

std::string end_text(int status) {
  if (!WIFSIGNALED(status)) return "exit code " + std::to_string(WEXITSTATUS(status));
  const char* name = ::sigabbrev_np(WTERMSIG(status));
  return "killed by " + (name != nullptr ? "SIG" + std::string(name)
                                         : "signal " + std::to_string(WTERMSIG(status)));
}

ssize_t read_available(int fd, std::string& text) {
  std::array<char, 65536> block;
  for (;;) {
    const ssize_t got = ::read(fd, block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got > 0) text.append(block.data(), static_cast<std::size_t>(got));
    return got < 0 && errno != EAGAIN ? 0 : got;
  }
}

}  // namespace micro_swarm

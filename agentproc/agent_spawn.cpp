#include "agentproc/agent_spawn.hpp"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "agentproc/script_files.hpp"
#include "common/log.hpp"

namespace micro_swarm {

namespace {

constexpr int party_socket_fd = 3;
constexpr std::string_view socket_text = "MICROSWARM_AGENT_FD=3";
constexpr std::string_view protocol_text = "MICROSWARM_PROTOCOL=1";

bool is_elf(const char* path) noexcept {
  const UniqueFd file(::open(path, O_RDONLY | O_CLOEXEC));
  char magic[4] = {};
  return file && ::read(file.get(), magic, sizeof magic) == sizeof magic &&
         std::memcmp(magic, "\177ELF", sizeof magic) == 0;
}

/// Where the C library keeps the main thread's id: the address it gave the kernel to clear at the
/// thread's end; where the kernel does not tell, the one word of that value in the thread's
/// descriptor. nullptr: neither leads anywhere certain.
pid_t* find_library_tid() noexcept {
  const pid_t tid = gettid_now();
  pid_t* told = nullptr;
  if (::prctl(PR_GET_TID_ADDRESS, &told) == 0 && told != nullptr && *told == tid) return told;
  constexpr std::size_t descriptor_words = 1024 / sizeof(pid_t);
  auto* words = std::bit_cast<pid_t*>(::pthread_self());
  pid_t* found = nullptr;
  for (std::size_t i = 0; i < descriptor_words; ++i) {
    if (words[i] != tid) continue;
    if (found != nullptr) return nullptr;
    found = words + i;
  }
  return found;
}

/// Its log pipes become its own: who names them as files, such as /dev/stderr, opens them anew.
void give_pipes_to(uid_t uid) noexcept {
  for (const int fd : {STDOUT_FILENO, STDERR_FILENO}) {
    struct stat there {};
    if (::fstat(fd, &there) == 0 && S_ISFIFO(there.st_mode)) [[maybe_unused]]
      const int given = ::fchown(fd, uid, uid);
  }
}

bool is_set(const char* entry, std::string_view assignment) {
  const auto name = assignment.substr(0, assignment.find('=') + 1);
  return std::string_view(entry).starts_with(name);
}

}  // namespace

AgentCloner::AgentCloner(const TemplateSpec& spec, Containment containment, AgentWork work,
                         pid_t root_pid, AgentProgram program, Segment supervisor)
    : log_level_(spec.log_level),
      containment_(std::move(containment)),
      root_pid_(root_pid),
      program_(program) {
  prepared_.supervisor = std::move(supervisor);
  context_.socket = party_socket_fd;
  context_.kind = spec.kind;
  for (const auto& capability : spec.capabilities)
    context_.capabilities.push_back({capability.name, capability.id});
  context_.models = std::move(work.models);
  context_.plugin_operations = std::move(work.plugin_operations);
  context_.batch = {spec.batch_max, std::uint64_t{spec.batch_delay_us} * 1'000};
  if (spec.kind == AgentKind::external)
    script_ = {spec.interface, spec.command, spec.environment, spec.files_directory,
               spec.stop_grace_ms};
  context_.qubits = spec.qubits;
}

Result<AgentCloner> AgentCloner::create(const TemplateSpec& spec, Containment containment,
                                        AgentWork work, pid_t root_pid, AgentProgram program,
                                        Segment supervisor) {
  AgentCloner cloner(spec, std::move(containment), std::move(work), root_pid, program,
                     std::move(supervisor));
  cloner.library_tid_ = find_library_tid();
  if (cloner.library_tid_ == nullptr)
    return Error{ErrorCode::system, "the C library's thread id was not found in its descriptor", 0};
  if (::syscall(SYS_get_robust_list, 0, &cloner.robust_list_, &cloner.robust_list_bytes_) != 0)
    cloner.robust_list_ = nullptr;
  if (cloner.execs())
    cloner.build_exec_arguments(spec);
  else if (program.prepare != nullptr)
    program.prepare(cloner.context_);
  return cloner;
}

void AgentCloner::build_exec_arguments(const TemplateSpec& spec) {
  argument_texts_ = spec.command;
  for (auto& text : argument_texts_) arguments_.push_back(text.data());
  arguments_.push_back(nullptr);

  // Later entries win here, the first one does in getenv(): so each name once.
  const auto set = [this](std::string assignment) {
    std::erase_if(environment_texts_,
                  [&](const std::string& old) { return is_set(old.c_str(), assignment); });
    environment_texts_.push_back(std::move(assignment));
  };
  for (char** entry = ::environ; *entry != nullptr; ++entry)
    environment_texts_.emplace_back(*entry);
  for (const auto& [name, value] : spec.environment)
    set(std::string(name).append("=").append(value));
  set(std::string(socket_text));
  set(std::string(protocol_text));
  std::erase_if(environment_texts_, [](const std::string& text) {
    return is_set(text.c_str(), "MICROSWARM_AGENT_ID=") ||
           is_set(text.c_str(), "MICROSWARM_INCARNATION=");
  });
}

AgentCloner::Child AgentCloner::clone_child(pid_t& pid) noexcept {
  std::fflush(nullptr);  // what is buffered would be written twice
  int pidfd = -1;
  pid = clone(pidfd);
  if (pid < 0) return Child{-1, UniqueFd(), errno};
  return Child{pid, UniqueFd(pidfd), 0};
}

AgentCloner::Child AgentCloner::spawn(const SpawnRequest& request, int party_socket,
                                      int log_pipe) noexcept {
  pid_t pid = -1;
  Child made = clone_child(pid);
  if (pid != 0) return made;
  if (log_pipe >= 0) {
    ::dup2(log_pipe, STDOUT_FILENO);
    ::dup2(log_pipe, STDERR_FILENO);
  }
  leave_parent(party_socket);
  become(request);
}

AgentCloner::Spare AgentCloner::make_spare() noexcept {
  Spare spare;
  auto sockets = seqpacket_pair();
  if (!sockets) return spare;
  pid_t pid = -1;
  spare.child = clone_child(pid);
  if (pid == 0) wait_as_spare(sockets->second.get());
  spare.socket = std::move(sockets->first);
  return spare;
}

bool AgentCloner::Spare::is_ready() const noexcept {
  if (child.pid <= 0) return false;
  pollfd death{child.pidfd.get(), POLLIN, 0};
  return ::poll(&death, 1, 0) == 0;
}

bool AgentCloner::Spare::tell(const SpawnRequest& request, int party_socket,
                              int log_pipe) const noexcept {
  const int fds[] = {party_socket, log_pipe};
  return send_with_fds(socket.get(), std::as_bytes(std::span(&request, 1)),
                       std::span(fds, log_pipe >= 0 ? 2 : 1)) >= 0;
}

pid_t AgentCloner::clone(int& pidfd) noexcept {
  constexpr unsigned long flags =
      CLONE_PARENT | CLONE_PIDFD | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
  if (!clone3_refused_) {
    clone_args arguments{};
    arguments.flags = flags;
    arguments.pidfd = reinterpret_cast<std::uintptr_t>(&pidfd);
    arguments.child_tid = reinterpret_cast<std::uintptr_t>(library_tid_);
    const long pid = ::syscall(SYS_clone3, &arguments, sizeof arguments);
    if (pid >= 0 || (errno != ENOSYS && errno != EPERM)) return static_cast<pid_t>(pid);
    clone3_refused_ = true;  // sandboxes that filter by argument cannot look into clone3's
  }
  // The signal at its end is that of the caller, as for every sibling: SIGCHLD.
#if defined(__x86_64__)
  return static_cast<pid_t>(::syscall(SYS_clone, flags, nullptr, &pidfd, library_tid_, 0));
#else
  return static_cast<pid_t>(::syscall(SYS_clone, flags, nullptr, &pidfd, 0, library_tid_));
#endif
}

/// In the child: `socket` becomes descriptor 3, what else it had open of the template is closed,
/// and it dies with root.
void AgentCloner::leave_parent(int socket) noexcept {
  if (robust_list_ != nullptr) ::syscall(SYS_set_robust_list, robust_list_, robust_list_bytes_);
  ::dup2(socket, party_socket_fd);
  ::closefrom(party_socket_fd + 1);
  // In this order: a root that died before the prctl is seen by getppid, after it by the signal.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != root_pid_) ::_exit(to_int(ExitCode::failed));
}

void AgentCloner::take_name(const char* process, const std::string& role) noexcept {
  ::prctl(PR_SET_NAME, process);
  log::init(role, log_level_);
}

void AgentCloner::wait_as_spare(int socket) noexcept {
  leave_parent(socket);
  take_name("ms-spare", "agent/spare");
  if (!execs()) {
    make_party();
    if (program_.warm_up != nullptr) program_.warm_up(context_);
  }
  SpawnRequest request;
  const auto got =
      receive_with_fds(party_socket_fd, std::as_writable_bytes(std::span(&request, 1)), true);
  // The end of the socket is the template's.
  if (got.size != static_cast<ssize_t>(sizeof request) || got.fd_count < 1)
    ::_exit(to_int(ExitCode::ok));
  if (got.fd_count > 1) {
    ::dup2(got.fds[1], STDOUT_FILENO);
    ::dup2(got.fds[1], STDERR_FILENO);
  }
  ::dup2(got.fds[0], party_socket_fd);
  for (int i = 0; i < got.fd_count; ++i) ::close(got.fds[i]);
  become(request);
}

/// What fails here is tried again, and its failure told, by the agent itself.
void AgentCloner::make_party() noexcept {
  auto made = PreparedParty::make();
  if (!made) return;
  made->supervisor = std::move(prepared_.supervisor);
  prepared_ = std::move(*made);
}

/// An agent that cannot be contained is none.
void AgentCloner::contain(const SpawnRequest& request) noexcept {
  Result<void> contained;
  std::string files;
  if (script_.interface != AgentInterface::protocol) {
    // Its rights to the directory above end with what comes next.
    auto made = ScriptFiles::make_directory(script_.files_directory, std::to_string(request.party),
                                            request.uid);
    if (made)
      files = std::move(*made);
    else
      contained = made.error();
  }
  if (request.uid != 0) give_pipes_to(request.uid);
  if (contained) contained = containment_.enter(request.uid, root_pid_, files);
  if (contained && !files.empty() && ::access(files.c_str(), R_OK | W_OK | X_OK) != 0)
    contained = system_error("uid " + std::to_string(::getuid()) + " cannot use " + files +
                                 ": let others pass the directories above it (chmod o+x)",
                             errno);
  if (contained) return;
  std::fprintf(stderr, "microswarm: agent %u: %s\n", unsigned{request.party},
               contained.error().message.c_str());
  std::fflush(stderr);
  ::_exit(to_int(ExitCode::failed));
}

void AgentCloner::become(const SpawnRequest& request) noexcept {
  ::setsid();
  context_.party = request.party;
  context_.incarnation = request.incarnation;
  // While it can still look into /proc for what its segment says of it.
  if (!execs() && !prepared_.own) make_party();
  contain(request);
  if (execs()) exec_external(request.uid);

  context_.prepared = &prepared_;
  if (script_.interface != AgentInterface::protocol) context_.script = &script_;
  std::array<char, 16> name;
  std::snprintf(name.data(), name.size(), "ms-agent-%u", unsigned{request.party});
  take_name(name.data(), "agent/" + std::to_string(request.party));
  const int code = program_.run(context_);
  std::fflush(nullptr);
  ::_exit(code);  // what the template's objects clean up is not this process's
}

void AgentCloner::exec_external(std::uint32_t uid) noexcept {
  for (auto& text : environment_texts_) environment_.push_back(text.data());
  std::snprintf(party_text_.data(), party_text_.size(), "MICROSWARM_AGENT_ID=%u",
                unsigned{context_.party});
  std::snprintf(incarnation_text_.data(), incarnation_text_.size(), "MICROSWARM_INCARNATION=%u",
                unsigned{context_.incarnation});
  environment_.push_back(party_text_.data());
  environment_.push_back(incarnation_text_.data());
  environment_.push_back(nullptr);
  // A program of another machine is not for the shell, to which execvpe() would give it.
  bool is_foreign = false;
  if (std::strchr(arguments_[0], '/') != nullptr) {
    ::execve(arguments_[0], arguments_.data(), environment_.data());
    is_foreign = errno == ENOEXEC && is_elf(arguments_[0]);
  }
  if (!is_foreign) ::execvpe(arguments_[0], arguments_.data(), environment_.data());
  const int error = is_foreign ? ENOEXEC : errno;
  std::fprintf(stderr, "microswarm: agent %u: cannot run %s: %s", unsigned{context_.party},
               arguments_[0], std::strerror(error));
  if (error == EACCES && uid != 0)
    std::fprintf(stderr, "; the agent is uid %u: let others run it, or give its kind a uid", uid);
  if (is_foreign) std::fputs("; it was built for another kind of machine than this", stderr);
  std::fputs("\n", stderr);
  std::fflush(stderr);
  ::_exit(error == ENOENT ? 127 : 126);
}

}  // namespace micro_swarm

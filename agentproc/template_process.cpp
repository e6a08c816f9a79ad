#include "agentproc/template_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

#include "agentproc/heap_holes.hpp"
#include "agentproc/neural_model.hpp"
#include "agentproc/onnxruntime_loader.hpp"
#include "agentproc/plugin_loader.hpp"
#include "common/log.hpp"
#include "common/own_uid.hpp"

namespace micro_swarm {

namespace {

constexpr int socket_fd = 3;  ///< where agents have theirs: one descriptor less to close

// A newborn needs the cores more than the next one does: it has registered by then.
constexpr int rest_before_spare_ms = 2;

void put_text(TemplateMessage& message, std::string_view text) {
  text.copy(message.text, sizeof message.text - 1);
}

/// Waits while the supervisor does not read. False: nobody will ever read.
bool send(int socket, const TemplateMessage& message, std::span<const int> fds = {}) {
  return send_with_fds(socket, std::as_bytes(std::span(&message, 1)), fds, true) >= 0;
}

/// nullopt: the supervisor's end is closed. `segment_fd`: that of the supervisor's, if it came
/// along.
Result<std::optional<TemplateSpec>> receive_spec(int socket, UniqueFd& segment_fd) {
  std::vector<std::byte> packet(template_spec_bytes_max);
  const auto got = receive_with_fds(socket, packet, true);
  if (got.size == 0) return std::optional<TemplateSpec>();
  if (got.size < 0) return system_error("receiving the template specification", errno);
  for (int i = 0; i < got.fd_count; ++i) {
    UniqueFd fd(got.fds[i]);
    if (i == 0) segment_fd = std::move(fd);
  }
  auto spec = decode_template_spec(
      {reinterpret_cast<const char*>(packet.data()), static_cast<std::size_t>(got.size)});
  if (!spec) return spec.error();
  return std::optional(std::move(*spec));
}

Result<std::vector<std::byte>> read_model(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return Error{ErrorCode::model, "model " + path + ": " + std::strerror(errno), errno};
  std::vector<std::byte> bytes;
  std::vector<std::byte> part(std::size_t{1} << 20);
  for (;;) {
    const auto size =
        posix_call("read " + path, [&] { return ::read(file.get(), part.data(), part.size()); });
    if (!size) return with_context(size.error(), "model");
    if (*size == 0) return bytes;
    bytes.insert(bytes.end(), part.begin(), part.begin() + *size);
  }
}

Result<void> must(const char* what, int result) {
  if (result != 0) return system_error(what, errno);
  return {};
}

/// Everything agents inherit. Precondition: the model file is read.
Result<void> confine(const TemplateSpec& spec, pid_t root_pid) {
  if (spec.uid)
    if (auto done = become_uid(*spec.uid, spec.gid); !done) return done;
  if (auto done = must("prctl(PDEATHSIG)", ::prctl(PR_SET_PDEATHSIG, SIGKILL)); !done) return done;
  if (::getppid() != root_pid) ::_exit(to_int(ExitCode::failed));
  if (auto done = must("prctl(DUMPABLE)", ::prctl(PR_SET_DUMPABLE, 0)); !done) return done;
  const rlimit none{0, 0};
  return must("setrlimit(CORE)", ::setrlimit(RLIMIT_CORE, &none));
}

class Template {
 public:
  Template(int socket, pid_t root_pid, AgentProgram program)
      : socket_(socket), root_pid_(root_pid), program_(program) {}

  /// Until the supervisor's end is closed. Error: no agent can be made here.
  Result<void> run() {
    UniqueFd segment_fd;
    auto spec = receive_spec(socket_, segment_fd);
    if (!spec) return spec.error();
    if (!*spec) return {};
    name_process((*spec)->name);
    log::init("template/" + (*spec)->name, (*spec)->log_level);
    if (auto loaded = load(**spec); !loaded) return loaded;
    auto supervisor = map_supervisor(**spec, std::move(segment_fd));
    if (!supervisor) return supervisor.error();
    auto containment = Containment::plan(**spec);
    if (!containment) return containment.error();
    if (const std::string missing = containment->missing(); !missing.empty())
      log::warn("agents of kind {} are contained with what there is: {}", (*spec)->name, missing);
    auto cloner = AgentCloner::create(**spec, std::move(*containment), work_, root_pid_, program_,
                                      std::move(*supervisor));
    if (!cloner) return cloner.error();
    fill_heap_holes();
    TemplateMessage ready;
    ready.kind = TemplateMessageKind::ready;
    ready.pid = ::getpid();
    if (!send(socket_, ready)) return {};
    return serve(*cloner);
  }

 private:
  static void name_process(const std::string& kind) {
    ::prctl(PR_SET_NAME, ("ms-t-" + kind).substr(0, 15).c_str());
  }

  /// Nothing where no descriptor came along, or where agents could not have the map (they exec).
  static Result<Segment> map_supervisor(const TemplateSpec& spec, UniqueFd segment_fd) {
    const bool execs =
        spec.kind == AgentKind::external && spec.interface == AgentInterface::protocol;
    if (!segment_fd || execs) return Segment();
    auto segment = Segment::attach_supervisor(std::move(segment_fd));
    if (!segment) return with_context(segment.error(), "attaching the supervisor's segment");
    segment->take_fd();
    return segment;
  }

  Result<void> load(const TemplateSpec& spec) {
    if (auto done = must("prctl(NO_NEW_PRIVS)", ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)); !done)
      return done;
    // Read before the rights are dropped, parsed after it; and the library that parses, which may
    // lie where only the swarm's uid reaches it.
    std::map<std::string, std::string> files = spec.models;
    if (!spec.model.empty()) files[""] = spec.model;
    std::map<std::string, std::vector<std::byte>> contents;
    for (const auto& [capability, file] : files) {
      if (contents.contains(file)) continue;
      auto bytes = read_model(file);
      if (!bytes) return bytes.error();
      contents.emplace(file, std::move(*bytes));
    }
    if (!contents.empty())
      if (auto runtime = onnx_runtime(); !runtime)
        return with_context(runtime.error(), "model '" + contents.begin()->first + "'");
    if (auto done = confine(spec, root_pid_); !done) return done;
    for (const auto& [file, bytes] : contents) {
      auto loaded = NeuralModel::load(bytes, file);
      if (!loaded) return loaded.error();
      models_.emplace(file, std::move(*loaded));
    }
    for (const auto& [capability, file] : files)
      work_.models.push_back({capability, &models_.at(file)});
    if (spec.plugins.empty()) return {};
    auto operations = load_plugins(spec.plugins);
    if (!operations) return operations.error();
    work_.plugin_operations = std::move(*operations);
    std::vector<std::string> wanted;
    for (const auto& capability : spec.capabilities) wanted.push_back(capability.name);
    return check_offered(wanted, work_.plugin_operations);
  }

  Result<void> serve(AgentCloner& cloner) {
    for (;;) {
      if (!spare_.is_ready() && is_quiet()) spare_ = cloner.make_spare();
      SpawnRequest request;
      const auto got =
          receive_with_fds(socket_, std::as_writable_bytes(std::span(&request, 1)), true);
      if (got.size == 0) return {};
      std::array<UniqueFd, std::size(got.fds)> fds;
      for (int i = 0; i < got.fd_count; ++i) fds[static_cast<std::size_t>(i)].reset(got.fds[i]);
      if (got.size != static_cast<ssize_t>(sizeof request) || got.fd_count < 1) {
        if (got.size < 0 && errno != EMSGSIZE) return system_error("receiving a request", errno);
        log::error("a spawn request was malformed, or its descriptors did not fit");
        continue;
      }
      const int log_pipe = got.fd_count > 1 ? fds[1].get() : -1;
      if (spare_.is_ready()) {
        // Its name first: an agent that registers before it is known would have to be looked up.
        // One that dies in between has died as an agent does that dies at birth.
        const AgentCloner::Spare told = std::exchange(spare_, {});
        if (!answer(request, told.child)) return {};
        told.tell(request, fds[0].get(), log_pipe);
        continue;
      }
      if (!answer(request, cloner.spawn(request, fds[0].get(), log_pipe))) return {};
    }
  }

  /// Nothing was asked for a moment.
  bool is_quiet() const {
    pollfd request{socket_, POLLIN, 0};
    return ::poll(&request, 1, rest_before_spare_ms) == 0;
  }

  bool answer(const SpawnRequest& request, const AgentCloner::Child& child) {
    TemplateMessage message;
    message.party = request.party;
    message.incarnation = request.incarnation;
    message.pid = child.pid;
    if (child.pid > 0) {
      const int pidfd = child.pidfd.get();
      message.kind = TemplateMessageKind::spawned;
      return send(socket_, message, std::span(&pidfd, 1));
    }
    message.kind = TemplateMessageKind::spawn_failed;
    message.sys_errno = child.sys_errno;
    put_text(message, system_error("clone", child.sys_errno).message);
    return send(socket_, message);
  }

  int socket_;
  pid_t root_pid_;
  AgentProgram program_;
  std::map<std::string, NeuralModel> models_;  ///< by file
  AgentWork work_;
  AgentCloner::Spare spare_;
};

}  // namespace

void run_template(int socket, AgentProgram program) {
  const pid_t root_pid = ::getppid();
  if (socket != socket_fd) {
    ::dup3(socket, socket_fd, O_CLOEXEC);
    ::close(socket);
  }
  const auto ended = Template(socket_fd, root_pid, program).run();
  std::fflush(nullptr);
  if (ended) ::_exit(to_int(ExitCode::ok));
  TemplateMessage failed;
  failed.kind = TemplateMessageKind::load_failed;
  failed.sys_errno = ended.error().sys_errno;
  put_text(failed, ended.error().message);
  send(socket_fd, failed);
  ::_exit(to_int(exit_code_of(ended.error().code)));
}

}  // namespace micro_swarm

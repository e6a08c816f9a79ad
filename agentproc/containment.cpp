#include "agentproc/containment.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "common/landlock.hpp"
#include "common/own_uid.hpp"
#include "common/posix.hpp"

namespace micro_swarm {

namespace {

constexpr rlim_t descriptors_max = 1024;
/// Of stacks, arenas and libraries that an agent maps beyond its data.
constexpr std::uint64_t address_space_spare = std::uint64_t{1} << 30;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool is_sanitized = true;  // it maps its shadow: terabytes
#else
constexpr bool is_sanitized = false;
#endif
/// What every program expects to be able to write.
const std::string null_device = "/dev/null";

/// Bytes of this process: all that is mapped, and of it what is private and writable.
struct Mapped {
  std::uint64_t all = 0, data = 0;
};
Mapped mapped_now() {
  std::ifstream file("/proc/self/statm");
  std::uint64_t pages[6] = {};  // size, resident, shared, text, library, data: proc(5)
  for (std::uint64_t& count : pages) file >> count;
  const auto page_bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return {pages[0] * page_bytes, pages[5] * page_bytes};
}

/// Both limits, as far as they are not lower already.
Result<void> lower(__rlimit_resource resource, const char* what, rlim_t wanted) {
  rlimit limit{};
  if (::getrlimit(resource, &limit) != 0) return system_error(what, errno);
  limit.rlim_max = std::min(limit.rlim_max, wanted);
  limit.rlim_cur = std::min(limit.rlim_cur, limit.rlim_max);
  if (::setrlimit(resource, &limit) != 0) return system_error(what, errno);
  return {};
}

}  // namespace

Result<Containment> Containment::plan(const TemplateSpec& spec) {
  Containment made;
  made.options_ = spec.containment;
  made.is_external_ = spec.kind == AgentKind::external;
  if (!made.options_.enabled) return made;
  // What an agent has from its template is none of its doing; another program begins with nothing.
  const bool execs = made.is_external_ && spec.interface == AgentInterface::protocol;
  const Mapped has = execs ? Mapped{} : mapped_now();
  made.data_max_ = has.data + spec.containment.memory_limit;
  if (spec.kind == AgentKind::quantum)
    made.data_max_ += (std::uint64_t{16} << spec.qubits) * 2;  // a state, and its copy
  made.address_space_max_ = has.all + made.data_max_ + spec.shared_bytes + address_space_spare;
  made.landlock_abi_ = landlock::abi();
  for (const auto* paths : {&made.options_.readable, &made.options_.writable})
    for (const std::string& path : *paths)
      if (::access(path.c_str(), F_OK) != 0)
        return Error{ErrorCode::config,
                     "readable and writable: " + path + ": " + ::strerror(errno) +
                         "; make it, or leave it out",
                     errno};
  auto filter =
      made.is_external_ ? SyscallFilter::external_agent() : SyscallFilter::built_in_agent();
  if (!filter) return filter.error();
  if (::prctl(PR_GET_SECCOMP) >= 0) made.filter_.emplace(std::move(*filter));
  return made;
}

std::string Containment::missing() const {
  if (!options_.enabled) return {};
  std::string text = landlock::missing_with(landlock_abi_);
  if (!filter_) text += std::string(text.empty() ? "" : "; ") + "no seccomp filters";
  return text;
}

Result<void> Containment::limit(bool has_own_uid) const {
  if (auto done = lower(RLIMIT_CORE, "setrlimit(CORE)", 0); !done) return done;
  if (!options_.enabled) return {};
  if (auto done = lower(RLIMIT_NOFILE, "setrlimit(NOFILE)", descriptors_max); !done) return done;
  // 0: not its alone, and the kernel counts by uid.
  if (has_own_uid && options_.processes_max != 0)
    if (auto done = lower(RLIMIT_NPROC, "setrlimit(NPROC)", options_.processes_max); !done)
      return done;
  if (options_.memory_limit == 0 || is_sanitized) return {};
  if (auto done = lower(RLIMIT_DATA, "setrlimit(DATA)", data_max_); !done) return done;
  // Programs of others may reserve address space as they like.
  return is_external_ ? Result<void>{} : lower(RLIMIT_AS, "setrlimit(AS)", address_space_max_);
}

Result<void> Containment::enter_landlock(const std::string& files) const {
  if (landlock_abi_ == 0) return {};
  if (!is_external_) return landlock::restrict({});
  std::vector<std::string> writable = options_.writable;
  writable.push_back(null_device);
  if (!files.empty()) writable.push_back(files);
  return landlock::restrict({.readable = options_.readable, .writable = writable, .tcp = true});
}

Result<void> Containment::enter(std::uint32_t uid, pid_t root, const std::string& files) const {
  if (uid != 0)
    if (auto done = become_uid(uid); !done) return done;
  // In this order: a root that died before the prctl is seen by getppid, after it by the signal.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != root) ::_exit(to_int(ExitCode::failed));
  if (::prctl(PR_SET_DUMPABLE, 0) != 0) return system_error("prctl(PR_SET_DUMPABLE)", errno);
  if (auto done = limit(uid != 0); !done) return done;
  if (!options_.enabled) return {};
  if (auto done = enter_landlock(files); !done) return done;
  return filter_ ? filter_->put_on() : Result<void>{};
}

}  // namespace micro_swarm

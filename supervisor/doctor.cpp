#include "supervisor/doctor.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "common/landlock.hpp"
#include "common/own_uid.hpp"
#include "common/posix.hpp"
#include "common/runtime_dir.hpp"
#include "common/size_text.hpp"
#include "supervisor/run_limits.hpp"

namespace micro_swarm {

namespace {

// Newer than Debian 12's headers, or than its C library's.
constexpr unsigned mfd_noexec_seal = 8;
constexpr long number_of_futex_waitv = 449;

constexpr const char* needs_newer_kernel =
    "this needs Linux 6.1 or newer, with CONFIG_MEMFD_CREATE";
constexpr const char* does_without = "nothing to do: the runtime does without";

using Checks = std::vector<DoctorCheck>;

std::string because(int error) { return ::strerror(error); }

DoctorCheck ok(std::string name, std::string detail) {
  return {std::move(name), Finding::ok, std::move(detail), {}};
}

DoctorCheck check_kernel() {
  utsname system{};
  ::uname(&system);
  int major = 0;
  int minor = 0;
  const bool parsed = std::sscanf(system.release, "%d.%d", &major, &minor) == 2;
  if (parsed && (major > 6 || (major == 6 && minor >= 1))) return ok("kernel", system.release);
  return {"kernel", Finding::fallback, system.release,
          "older than the Linux 6.1 this is tested with; go by the checks below"};
}

void check_memfd(Checks& checks) {
  const UniqueFd memory(static_cast<int>(
      ::syscall(SYS_memfd_create, "microswarm-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING)));
  const bool sealed = memory && ::ftruncate(memory.get(), 4096) == 0 &&
                      ::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) == 0;
  if (!sealed) {
    checks.push_back({"memfd_sealing", Finding::missing, because(errno), needs_newer_kernel});
    checks.push_back({"future_write_seal", Finding::missing, "not tried", needs_newer_kernel});
    return;
  }
  checks.push_back(ok("memfd_sealing", "nameless shared memory that cannot be resized"));

  if (::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE) != 0) {
    checks.push_back({"future_write_seal", Finding::missing, because(errno), needs_newer_kernel});
    return;
  }
  void* mapped = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
  if (mapped != MAP_FAILED) {
    ::munmap(mapped, 4096);
    checks.push_back({"future_write_seal", Finding::missing, "the seal is taken but not enforced",
                      "one writer for each word would not hold; use a stock kernel"});
  } else {
    checks.push_back(ok("future_write_seal", "one writer for each word, enforced"));
  }
}

DoctorCheck check_noexec_seal() {
  const UniqueFd memory(static_cast<int>(::syscall(
      SYS_memfd_create, "microswarm-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING | mfd_noexec_seal)));
  if (memory) return ok("noexec_seal", "shared memory cannot be executed");
  return {"noexec_seal", Finding::fallback, because(errno),
          "nothing to do: shared memory is made without it, as before Linux 6.3"};
}

DoctorCheck check_pidfd() {
  const UniqueFd self(pidfd_open(::getpid()));
  if (self && pidfd_send_signal(self.get(), 0) == 0) return ok("pidfd", "deaths are seen at once");
  return {"pidfd", Finding::missing, because(errno),
          "allow pidfd_open and pidfd_send_signal in the sandbox, or use Linux 5.3 or newer"};
}

/// Whether the kernel, and the sandbox if any, know a call: asked with arguments that it refuses.
DoctorCheck check_call(const char* name, long result, const char* detail, const char* instead) {
  if (result >= 0 || (errno != ENOSYS && errno != EPERM)) return ok(name, detail);
  return {name, Finding::fallback, because(errno), instead};
}

DoctorCheck check_landlock() {
  const int abi = landlock::abi();
  const std::string detail = abi > 0 ? "ABI " + std::to_string(abi) : because(errno);
  const std::string missing = landlock::missing_with(abi);
  if (missing.empty()) return ok("landlock", detail);
  return {"landlock", Finding::fallback, detail,
          "agents are contained with what there is: " + missing};
}

DoctorCheck check_own_uids(const Config& config) {
  const uid_t base = config.containment.uid_base;
  if (base == 0) return ok("own_uids", "switched off: agents have the swarm's");
  const auto can = can_give_uids(base, base + agents_max + agent_kinds_max - 1);
  if (can) return ok("own_uids", "of each agent, from " + std::to_string(base) + " on");
  return {"own_uids", Finding::fallback, can.error().message,
          "agents have the swarm's uid: what they may do to its other processes and files is left "
          "to Landlock, and how many processes they start is not limited"};
}

DoctorCheck check_seccomp() {
  if (::prctl(PR_GET_SECCOMP) >= 0) return ok("seccomp", "filters can be installed");
  return {"seccomp", Finding::fallback, because(errno), does_without};
}

DoctorCheck check_cgroup() {
  for (const char* mount : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
    struct statfs system {};
    if (::statfs(mount, &system) != 0 ||
        static_cast<unsigned long>(system.f_type) != CGROUP2_SUPER_MAGIC)
      continue;
    std::ifstream file(std::string(mount) + "/cgroup.controllers");
    std::string controllers;
    std::getline(file, controllers);
    return ok("cgroup_v2", std::string(mount) +
                               ", controllers: " + (controllers.empty() ? "none" : controllers));
  }
  return {"cgroup_v2", Finding::fallback, "not mounted",
          "nothing to do: an agent's processes are found by session and group instead"};
}

DoctorCheck check_subreaper() {
  int value = 0;
  if (::prctl(PR_GET_CHILD_SUBREAPER, &value) == 0)
    return ok("subreaper", "orphans of agents come to the swarm");
  return {"subreaper", Finding::missing, because(errno),
          "allow prctl(PR_SET_CHILD_SUBREAPER) in the sandbox"};
}

DoctorCheck check_descriptors(const SwarmNeeds& needs) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0)
    return {"descriptors", Finding::missing, because(errno), "allow getrlimit in the sandbox"};
  const std::string detail = "hard limit " + std::to_string(limit.rlim_max) + ", needed " +
                             std::to_string(needs.descriptors_min) +
                             ", for every agent and client " +
                             std::to_string(needs.descriptors_wanted);
  if (limit.rlim_max < needs.descriptors_min)
    return {
        "descriptors", Finding::missing, detail,
        "raise the hard limit (ulimit -Hn, LimitNOFILE= of a systemd unit), or run fewer agents"};
  if (limit.rlim_max < needs.descriptors_wanted)
    return {"descriptors", Finding::fallback, detail,
            "enough to start; raise the hard limit if many clients and large pools are used"};
  return ok("descriptors", detail);
}

DoctorCheck check_limit(const char* name, __rlimit_resource resource, std::uint64_t needed,
                        const char* flag) {
  rlimit limit{};
  if (::getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
    return ok(name, "unlimited, needed " + rounded_size_text(needed));
  const std::string detail =
      "limit " + rounded_size_text(limit.rlim_cur) + ", needed " + rounded_size_text(needed);
  if (limit.rlim_cur >= needed) return ok(name, detail);
  return {name, Finding::missing, detail, std::string("raise it (ulimit ") + flag + ")"};
}

DoctorCheck check_memory(const SwarmNeeds& needs, const Config& config) {
  const auto available = available_memory();
  std::string detail = "needed " + rounded_size_text(needs.memory_bytes) + ", of which the pool " +
                       rounded_size_text(config.memory.pool_size);
  if (available.bytes != UINT64_MAX)
    detail += "; " + available.limited_by + " leaves " + rounded_size_text(available.bytes);
  if (available.bytes >= needs.memory_bytes) return ok("memory", detail);
  return {"memory", Finding::missing, detail,
          "lower memory.pool_size, tasks.queue_size or the number of agents"};
}

DoctorCheck check_runtime_directory(const Config& config) {
  const auto named = find_endpoint(config.swarm.name);
  if (!named) return {"runtime_directory", Finding::missing, "", named.error().message};
  std::error_code ignored;
  const bool was_there = std::filesystem::exists(named->directory, ignored);
  const auto usable = prepare_endpoint(config.swarm.name);
  if (!was_there && usable) ::rmdir(named->directory.c_str());
  if (!usable)
    return {"runtime_directory", Finding::missing, named->directory, usable.error().message};
  return ok("runtime_directory", named->directory + (was_there ? "" : " (will be created)"));
}

DoctorCheck check_onnx_runtime(const Config& config, OnnxRuntimeProbe probe) {
  const auto found = probe();
  if (found) return ok("onnx_runtime", *found);
  for (const auto& spec : config.agents)
    if (spec.kind == AgentKind::neural)
      return {"onnx_runtime", Finding::missing, "kind " + spec.name + " needs it",
              found.error().message};
  return {"onnx_runtime", Finding::fallback, "no neural agent is configured",
          "neural agents could not start: " + found.error().message};
}

}  // namespace

std::string_view name_of(Finding finding) {
  switch (finding) {
    case Finding::ok: return "ok";
    case Finding::fallback: return "fallback";
    case Finding::missing: return "missing";
  }
  return "?";
}

std::vector<DoctorCheck> examine_machine(const Config& config, OnnxRuntimeProbe onnx_runtime) {
  const SwarmNeeds needs = needs_of(config);
  Checks checks;
  checks.push_back(check_kernel());
  check_memfd(checks);
  checks.push_back(check_noexec_seal());
  checks.push_back(check_pidfd());
  checks.push_back(check_call("clone3", ::syscall(SYS_clone3, nullptr, 0),
                              "agents are cloned with a pidfd",
                              "nothing to do: clone(2) is used instead"));
  checks.push_back(check_call("futex_waitv",
                              ::syscall(number_of_futex_waitv, nullptr, 0, 0, nullptr, 0),
                              "one wait for several words", does_without));
  checks.push_back(check_landlock());
  checks.push_back(check_seccomp());
  checks.push_back(check_own_uids(config));
  checks.push_back(check_cgroup());
  checks.push_back(check_subreaper());
  checks.push_back(check_descriptors(needs));
  checks.push_back(check_memory(needs, config));
  checks.push_back(check_limit("address_space", RLIMIT_AS, needs.address_space_bytes, "-v"));
  checks.push_back(check_limit("file_size", RLIMIT_FSIZE, needs.file_size_bytes_max, "-f"));
  checks.push_back(check_runtime_directory(config));
  checks.push_back(check_onnx_runtime(config, onnx_runtime));
  return checks;
}

}  // namespace micro_swarm

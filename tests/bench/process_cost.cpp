#include "tests/bench/process_cost.hpp"

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

namespace micro_swarm::bench {

namespace {

std::string proc(pid_t pid, const std::string& file) {
  return "/proc/" + std::to_string(pid) + "/" + file;
}

std::uint64_t kib_after(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string word; file >> word;)
    if (word == key) {
      std::uint64_t kib = 0;
      file >> kib;
      return kib;
    }
  throw std::runtime_error(path + " has no " + key);
}

}  // namespace

std::vector<pid_t> process_tree(pid_t root) {
  std::vector<pid_t> pids{root};
  for (std::size_t i = 0; i < pids.size(); ++i) {
    const pid_t pid = pids[i];
    std::ifstream children(proc(pid, "task/" + std::to_string(pid) + "/children"));
    for (pid_t child = 0; children >> child;) pids.push_back(child);
  }
  return pids;
}

std::uint64_t cpu_time_ns(pid_t pid) {
  std::uint64_t total = 0;
  for (const auto& task : std::filesystem::directory_iterator(proc(pid, "task"))) {
    std::ifstream file(task.path() / "schedstat");
    std::uint64_t ran_ns = 0;
    file >> ran_ns;
    total += ran_ns;
  }
  return total;
}

std::uint64_t memory_kib(pid_t pid) {
  return kib_after(proc(pid, "smaps_rollup"), "Pss:") + kib_after(proc(pid, "status"), "VmPTE:");
}

}  // namespace micro_swarm::bench

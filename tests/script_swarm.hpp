#pragma once

// A real swarm whose agents are shell scripts.

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/fault_swarm.hpp"
#include "tests/temporary_directory.hpp"

namespace micro_swarm::testing {

/// Bytes of every value, in no period that a page or a pipe could hide.
inline std::string binary_bytes(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 7 + i / 251);
  return bytes;
}

/// Scripts, and the files in which they say who they are ($STATE).
class Scripts {
 public:
  Scripts() { std::filesystem::permissions(directory_.path(), std::filesystem::perms::all); }

  std::string path(const std::string& name) const { return (directory_.path() / name).string(); }

  std::string make(const std::string& name, const std::string& text) const {
    std::ofstream(path(name)) << "#!/usr/bin/env bash\n" << text;
    // Its agent has a uid of its own.
    using std::filesystem::perms;
    std::filesystem::permissions(path(name),
                                 perms::owner_all | perms::others_read | perms::others_exec);
    return path(name);
  }

  /// An [[agent]] table.
  std::string kind(const std::string& name, const std::string& interface,
                   const std::string& command) const {
    return "[[agent]]\nname = \"" + name + "\"\nkind = \"external\"\ninterface = \"" + interface +
           "\"\ncommand = [\"" + command + "\"]\nenvironment = { STATE = \"" +
           directory_.path().string() + "\" }\nwritable = [\"" + directory_.path().string() +
           "\"]\n";
  }

  std::string text(const std::string& name) const {
    std::ifstream file(path(name));
    return {std::istreambuf_iterator<char>(file), {}};
  }
  /// The pid that a script wrote, with its newline, once it is there.
  pid_t pid(const std::string& name) const {
    BOOST_REQUIRE_MESSAGE(wait_for([&] { return text(name).ends_with('\n'); }),
                          "no script wrote " << name);
    const auto pid = static_cast<pid_t>(std::stol(text(name)));
    std::filesystem::remove(path(name));
    return pid;
  }

 private:
  TemporaryDirectory directory_;
};

/// A process as it is now; the number may be somebody else's later.
struct Life {
  explicit Life(pid_t number) : pid(number), ticks(process_start_ticks(number)) {
    BOOST_TEST(ticks != 0u, "no process " << number);
  }
  bool is_over() const { return process_start_ticks(pid) != ticks; }
  /// Waits for its end, reaped or not.
  bool ends() const {
    return wait_for([this] { return is_over(); });
  }

  /// Waits until it executes nothing any more; somebody may have to reap it still.
  bool is_killed() const {
    return wait_for([this] {
      std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
      std::string stat;
      std::getline(file, stat);
      const auto state = stat.rfind(") ");
      return is_over() || (state != std::string::npos && stat[state + 2] == 'Z');
    });
  }

  pid_t pid;
  std::uint64_t ticks;
};

inline bool holds(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// Failed, and with these words.
inline void check_failed(const TaskResult& result, std::string_view why) {
  BOOST_TEST((result.state() == TaskState::failed), static_cast<int>(result.state()));
  BOOST_TEST(holds(result.text(), why), result.text());
}

}  // namespace micro_swarm::testing

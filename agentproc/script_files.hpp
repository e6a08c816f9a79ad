#pragma once

#include <sys/types.h>

#include <span>
#include <string>
#include <string_view>

#include "common/posix.hpp"

namespace micro_swarm {

/// A directory of one agent and its script: what is too large for a line, or comes as files, lies
/// there. Only its owner may look into it; it goes with this object. What a killed agent leaves is
/// cleared by its successor or at the end of the swarm.
class ScriptFiles {
 public:
  /// `parent` is made if it is missing; its own parent is private to the swarm.
  static Result<ScriptFiles> make(const std::string& parent, const std::string& name);
  /// The directory alone, empty, for a process that is about to lose the right to make it: owned by
  /// `owner` (0: by the caller), who may pass `parent`, but not look into it. Its path. make()
  /// takes it over.
  static Result<std::string> make_directory(const std::string& parent, const std::string& name,
                                            uid_t owner);
  ScriptFiles(ScriptFiles&& other) noexcept
      : path_(std::exchange(other.path_, {})), directory_(std::move(other.directory_)) {}
  ScriptFiles& operator=(ScriptFiles&&) = delete;
  ~ScriptFiles();

  const std::string& path() const noexcept { return path_; }
  /// A new file of this content; its path.
  Result<std::string> write(const std::string& name, std::span<const std::byte> bytes) const;
  void remove(const std::string& name) const noexcept;
  /// A file that is in the directory and reached by no link; `size_bytes` is what it holds now.
  /// `path` is absolute or starts there. Error: refused, system.
  Result<UniqueFd> open(std::string_view path, std::size_t& size_bytes) const;
  /// No longer needed, if it lies directly there.
  void remove_path(std::string_view path) const noexcept;

 private:
  ScriptFiles() noexcept = default;
  std::string inner(std::string_view path) const;

  std::string path_;
  UniqueFd directory_;
};

}  // namespace micro_swarm

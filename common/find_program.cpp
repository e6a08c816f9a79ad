#include "common/find_program.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace micro_swarm {

namespace {

/// 0: it can be run; else what execve would say, with EISDIR for a directory.
int why_not(const std::string& path) {
  struct stat there {};
  if (::stat(path.c_str(), &there) != 0) return errno;
  if (S_ISDIR(there.st_mode)) return EISDIR;
  if (!S_ISREG(there.st_mode)) return EACCES;
  return ::access(path.c_str(), X_OK) == 0 ? 0 : errno;
}

Error refusal(const std::string& path, int error) {
  std::string text = "cannot run " + path + ": ";
  if (error == EISDIR)
    text += "it is a directory";
  else if (error == EACCES)
    text += "it is not executable (chmod +x makes it so)";
  else
    text += std::strerror(error);
  return Error{ErrorCode::usage, std::move(text), error};
}

}  // namespace

Result<std::string> find_program(std::string_view name) {
  if (name.empty()) return Error{ErrorCode::usage, "no program is named", ENOENT};
  // Not made normal: behind a link, "a/.." is not where it looks.
  const auto absolute = [](std::filesystem::path path) {
    std::error_code ignored;
    if (std::string text = path.string(); text.starts_with("./")) path = text.substr(2);
    return std::filesystem::absolute(path, ignored).string();
  };
  if (name.find('/') != std::string_view::npos) {
    std::string path = absolute(name);
    if (const int error = why_not(path); error != 0) return refusal(path, error);
    return path;
  }
  const char* set = std::getenv("PATH");
  std::string_view rest = set != nullptr ? set : "/usr/bin:/bin";
  std::string seen;  // one that cannot be run, as a shell remembers it
  int error = ENOENT;
  for (bool more = true; more;) {
    const std::size_t end = rest.find(':');
    more = end != std::string_view::npos;
    const std::filesystem::path directory(rest.substr(0, end));  // empty: the working directory
    if (more) rest.remove_prefix(end + 1);
    std::string path = absolute(directory / name);
    const int refused = why_not(path);
    if (refused == 0) return path;
    if (refused == ENOENT || refused == ENOTDIR || !seen.empty()) continue;
    seen = std::move(path);
    error = refused;
  }
  if (!seen.empty()) return refusal(seen, error);
  return Error{ErrorCode::usage,
               "cannot run " + std::string(name) + ": there is no such program in PATH", ENOENT};
}

}  // namespace micro_swarm

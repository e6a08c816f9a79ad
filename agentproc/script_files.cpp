#include "agentproc/script_files.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

namespace micro_swarm {

Result<std::string> ScriptFiles::make_directory(const std::string& parent, const std::string& name,
                                                uid_t owner) {
  const auto make_one = [](const std::string& path) {
    return posix_call("mkdir " + path, [&path] { return ::mkdir(path.c_str(), 0700); }, {EEXIST});
  };
  if (auto made = make_one(parent); !made) return made.error();
  std::string path = parent + "/" + name;
  std::error_code failure;
  std::filesystem::remove_all(path, failure);  // a predecessor's
  if (auto made = make_one(path); !made) return made.error();
  if (owner == 0) return path;
  if (::chmod(parent.c_str(), 0711) != 0) return system_error("chmod " + parent, errno);
  if (::chown(path.c_str(), owner, owner) != 0) return system_error("chown " + path, errno);
  return path;
}

Result<ScriptFiles> ScriptFiles::make(const std::string& parent, const std::string& name) {
  auto made = make_directory(parent, name, 0);
  if (!made) return made.error();
  std::string path = std::move(*made);
  const auto opened = posix_call("open " + path, [&path] {
    return ::open(path.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  });
  if (!opened) return opened.error();
  ScriptFiles files;
  files.path_ = std::move(path);
  files.directory_.reset(*opened);
  return files;
}

ScriptFiles::~ScriptFiles() {
  if (path_.empty()) return;
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Result<std::string> ScriptFiles::write(const std::string& name,
                                       std::span<const std::byte> bytes) const {
  remove(name);  // a script may have made one of that name
  const std::string path = path_ + "/" + name;
  const auto created = posix_call("create " + path, [&] {
    return ::openat(directory_.get(), name.c_str(),
                    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  });
  if (!created) return created.error();
  const UniqueFd file(*created);
  while (!bytes.empty()) {
    const auto written = posix_call(
        "write " + path, [&] { return ::write(file.get(), bytes.data(), bytes.size()); });
    if (!written) return written.error();
    bytes = bytes.subspan(static_cast<std::size_t>(*written));
  }
  return path;
}

void ScriptFiles::remove(const std::string& name) const noexcept {
  ::unlinkat(directory_.get(), name.c_str(), 0);
}

std::string ScriptFiles::inner(std::string_view path) const {
  if (path.starts_with(path_ + "/")) path.remove_prefix(path_.size() + 1);
  return std::string(path);
}

Result<UniqueFd> ScriptFiles::open(std::string_view path, std::size_t& size_bytes) const {
  const std::string name = inner(path);
  open_how how{};
  how.flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC;  // O_NONBLOCK: for whoever names a FIFO
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
  const auto opened = posix_call("open " + std::string(path), [&] {
    return static_cast<int>(
        ::syscall(SYS_openat2, directory_.get(), name.c_str(), &how, sizeof how));
  });
  if (!opened) {
    const int error = opened.error().sys_errno;
    if (error == EXDEV || error == ELOOP)
      return Error{ErrorCode::refused, std::string(path) + " is not in " + path_, error};
    return opened.error();
  }
  UniqueFd file(*opened);
  struct stat there {};
  if (::fstat(file.get(), &there) != 0) return system_error("stat " + name, errno);
  if (!S_ISREG(there.st_mode))
    return Error{ErrorCode::refused, std::string(path) + " is no regular file", 0};
  size_bytes = static_cast<std::size_t>(there.st_size);
  return file;
}

void ScriptFiles::remove_path(std::string_view path) const noexcept {
  if (const std::string name = inner(path); name.find('/') == std::string::npos) remove(name);
}

}  // namespace micro_swarm

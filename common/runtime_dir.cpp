#include "common/runtime_dir.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "common/config.hpp"

namespace micro_swarm {

namespace {

constexpr const char* variable_name = "MICROSWARM_RUNTIME_DIR";
constexpr std::size_t socket_path_bytes_max = sizeof(sockaddr_un::sun_path) - 1;
constexpr int control_backlog = 256;

std::string set_the_variable() {
  return std::string("set ") + variable_name + " to a directory of your own";
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

Result<void> check_absolute(const char* name, const std::string& value) {
  if (value.front() == '/') return {};
  return Error{ErrorCode::usage, std::string(name) + "=" + value + " is not an absolute path"};
}

Error unusable(const std::string& directory, const std::string& why, int sys_errno) {
  return Error{ErrorCode::system,
               "the runtime directory " + directory + " " + why + "; " + set_the_variable(),
               sys_errno};
}

/// Only the last component: a missing parent is a session directory that is not there (any more),
/// and creating that for somebody else would do harm.
Result<void> create_directory(const std::string& directory) {
  // Agents of other uids pass it on their way to their files; what lies in it is closed to them.
  const mode_t mode = ::geteuid() == 0 ? 0711 : 0700;
  if (::mkdir(directory.c_str(), mode) == 0 || errno == EEXIST) return {};
  const int error = errno;
  return unusable(directory, std::string("cannot be created (") + ::strerror(error) + ")", error);
}

Result<void> check_directory(const std::string& directory) {
  struct stat there {};
  if (::stat(directory.c_str(), &there) != 0) {
    const int error = errno;
    return unusable(directory, std::string("cannot be used (") + ::strerror(error) + ")", error);
  }
  if (!S_ISDIR(there.st_mode)) return unusable(directory, "is no directory", ENOTDIR);
  if (there.st_uid != ::geteuid() && there.st_uid != 0)
    return unusable(directory, "belongs to another user, who could replace the socket", EPERM);
  if ((there.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return unusable(directory, "is writable by others, who could replace the socket (chmod 700 it)",
                    EPERM);
  if (::access(directory.c_str(), W_OK | X_OK) != 0) {
    const int error = errno;
    return unusable(directory, std::string("is not writable (") + ::strerror(error) + ")", error);
  }
  return {};
}

Result<UniqueFd> open_lock(const Endpoint& endpoint, int flags) {
  const std::string path = endpoint.lock_path();
  auto fd = posix_call("open " + path, [&] {
    return ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
  });
  if (!fd) return fd.error();
  return UniqueFd(*fd);
}

struct flock whole_file(short type) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  return lock;
}

/// With what is in it; follows no links. What cannot be removed stays: it is in nobody's way.
void remove_directory(const std::string& path) noexcept {
  try {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  } catch (...) {
  }
}

pid_t holder_of(int fd) {
  auto lock = whole_file(F_WRLCK);
  if (::fcntl(fd, F_GETLK, &lock) != 0 || lock.l_type == F_UNLCK) return 0;
  return lock.l_pid;
}

/// Whether the locked file is still the one under that name: an orderly stop unlinks it, so a lock
/// could otherwise be taken on a file nobody will ever look at again.
bool is_current(int fd, const Endpoint& endpoint) {
  struct stat held {};
  struct stat named {};
  return ::fstat(fd, &held) == 0 && ::stat(endpoint.lock_path().c_str(), &named) == 0 &&
         held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

}  // namespace

Result<std::string> runtime_directory() {
  std::string directory = variable(variable_name);
  if (!directory.empty()) {
    if (auto ok = check_absolute(variable_name, directory); !ok) return ok.error();
  } else if (directory = variable("XDG_RUNTIME_DIR"); !directory.empty()) {
    if (auto ok = check_absolute("XDG_RUNTIME_DIR", directory); !ok) return ok.error();
    directory += "/microswarm";
  } else {
    directory = "/run/microswarm";
  }
  while (directory.size() > 1 && directory.back() == '/') directory.pop_back();
  return directory;
}

Result<Endpoint> find_endpoint(std::string_view name) {
  if (!is_valid_name(name))
    return Error{ErrorCode::usage,
                 "\"" + std::string(name) +
                     "\" is no name for a swarm; allowed: [a-z0-9_-], 1 to 32 of them"};
  auto directory = runtime_directory();
  if (!directory) return directory.error();
  Endpoint endpoint{std::string(name), std::move(*directory)};
  if (endpoint.socket_path().size() > socket_path_bytes_max)
    return Error{ErrorCode::usage,
                 "the socket path " + endpoint.socket_path() + " is longer than the " +
                     std::to_string(socket_path_bytes_max) + " bytes a socket address holds; set " +
                     variable_name + " to a shorter directory or choose a shorter name"};
  return endpoint;
}

Result<Endpoint> prepare_endpoint(std::string_view name) {
  auto endpoint = find_endpoint(name);
  if (!endpoint) return endpoint;
  if (auto created = create_directory(endpoint->directory); !created) return created.error();
  if (auto usable = check_directory(endpoint->directory); !usable) return usable.error();
  return endpoint;
}

Result<UniqueFd> acquire_swarm_lock(const Endpoint& endpoint) {
  for (;;) {
    auto fd = open_lock(endpoint, O_CREAT);
    if (!fd) return fd;
    auto lock = whole_file(F_WRLCK);
    if (::fcntl(fd->get(), F_SETLK, &lock) == 0) {
      if (is_current(fd->get(), endpoint)) return fd;
      continue;
    }
    const int error = errno;
    if (error != EAGAIN && error != EACCES)
      return system_error("lock " + endpoint.lock_path(), error);
    const pid_t holder = holder_of(fd->get());
    return Error{ErrorCode::refused,
                 "swarm " + endpoint.name + " already runs" +
                     (holder > 0 ? " (pid " + std::to_string(holder) + ")" : std::string()) +
                     "; stop it with `microswarm stop --name " + endpoint.name +
                     "`, or give this one another --name"};
  }
}

pid_t swarm_lock_holder(const Endpoint& endpoint) {
  const auto fd = open_lock(endpoint, 0);
  return fd ? holder_of(fd->get()) : 0;
}

Result<UniqueFd> listen_control_socket(const Endpoint& endpoint) {
  const std::string path = endpoint.socket_path();
  auto created = posix_call(
      "socket", [] { return ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); });
  if (!created) return created.error();
  UniqueFd socket(*created);

  // bind() gives the file the mode of the socket's own inode, so it never exists with a wider one.
  if (auto done = posix_call("fchmod of a socket", [&] { return ::fchmod(socket.get(), 0600); });
      !done)
    return done.error();
  if (auto done = posix_call("unlink " + path, [&] { return ::unlink(path.c_str()); }, {ENOENT});
      !done)
    return done.error();
  remove_directory(endpoint.files_path());

  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size());
  if (auto done = posix_call("bind " + path,
                             [&] {
                               return ::bind(socket.get(),
                                             reinterpret_cast<const sockaddr*>(&address),
                                             sizeof(address));
                             });
      !done)
    return done.error();
  if (auto done =
          posix_call("listen on " + path, [&] { return ::listen(socket.get(), control_backlog); });
      !done)
    return done.error();
  return socket;
}

void remove_endpoint_files(const Endpoint& endpoint) noexcept {
  remove_directory(endpoint.files_path());
  ::unlink(endpoint.socket_path().c_str());
  ::unlink(endpoint.lock_path().c_str());
}

}  // namespace micro_swarm

// Preloaded into a swarm under test: its disk has no room for the journal while the file that
// MS_TEST_DISK_FULL names is there.

#include <dlfcn.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

bool is_full(int fd) {
  const char* sign = std::getenv("MS_TEST_DISK_FULL");
  if (sign == nullptr || ::access(sign, F_OK) != 0) return false;
  char name[64], path[4096];
  std::snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  const ssize_t size = ::readlink(name, path, sizeof path - 1);
  if (size <= 0) return false;
  path[size] = '\0';
  return std::strstr(path, "/journal.db") != nullptr;
}

}  // namespace

extern "C" ssize_t pwrite64(int fd, const void* from, size_t size, off64_t at) {
  using Function = ssize_t (*)(int, const void*, size_t, off64_t);
  static const auto real = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, "pwrite64"));
  const int before = errno;
  if (is_full(fd)) {
    errno = ENOSPC;
    return -1;
  }
  errno = before;
  return real(fd, from, size, at);
}

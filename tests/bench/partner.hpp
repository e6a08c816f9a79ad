#pragma once

// The other process of a measurement: forked, told what to do over a socket, and gone with its
// owner. Both begin each piece of work at the same moment (a word both spin on).

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "common/posix.hpp"

namespace micro_swarm::bench {

/// Zeroed memory that children made later share.
class SharedBytes {
 public:
  explicit SharedBytes(std::size_t size_bytes);
  ~SharedBytes();
  SharedBytes(const SharedBytes&) = delete;
  SharedBytes& operator=(const SharedBytes&) = delete;
  template <class T>
  T& as() const noexcept {
    return *static_cast<T*>(memory_);
  }

 private:
  void* memory_;
  std::size_t size_bytes_;
};

template <class T>
class Shared {
 public:
  Shared() : bytes_(sizeof(T)) { new (&bytes_.as<T>()) T(); }
  T& operator*() const noexcept { return bytes_.as<T>(); }
  T* operator->() const noexcept { return &bytes_.as<T>(); }

 private:
  SharedBytes bytes_;
};

inline constexpr int any_core = -1;
/// Every thread of `pid` (0 = this thread only) runs on `core` from now on; any_core = on all.
/// Cores are counted among those this program may use. Throws when there is no such core.
void pin(pid_t pid, int core);
int cores();

class Partner {
 public:
  /// Runs in the child, told what to do how often; what it returns goes back. A wrong message is
  /// told by `failure`.
  using Serve = std::function<std::uint64_t(std::uint32_t what, std::uint64_t count)>;
  static constexpr std::uint64_t failure = ~std::uint64_t{0};

  Partner(int core, Serve serve);
  ~Partner();
  Partner(const Partner&) = delete;
  Partner& operator=(const Partner&) = delete;

  /// Returns when the child is about to begin.
  void begin(std::uint32_t what, std::uint64_t count);
  /// Waits for the child's return. Throws when it is `failure` or the child died.
  std::uint64_t finish();
  pid_t pid() const noexcept { return pid_; }

 private:
  struct Command {
    std::uint32_t what;
    std::uint64_t count;
  };
  [[noreturn]] void serve_forever(const Serve& serve);

  Shared<std::atomic<std::uint64_t>> arrived_;
  std::uint64_t commands_ = 0;
  UniqueFd socket_;
  pid_t pid_ = -1;
};

}  // namespace micro_swarm::bench

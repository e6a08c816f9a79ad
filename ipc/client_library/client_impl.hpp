#pragma once

// What stands behind the public objects: the library's own, which no program outside sees.

#include <list>
#include <memory>
#include <unordered_map>
#include <utility>

#include "ipc/client.hpp"
#include "ipc/client_library/micro_swarm/client.hpp"
#include "ipc/client_numbers.hpp"

/// A public class shows its members, those that stand behind it too: these it must not.
#define MICRO_SWARM_CLIENT_OWN __attribute__((visibility("hidden")))

namespace micro_swarm::client {

namespace core = micro_swarm;

ErrorCode code_of(core::ErrorCode code) noexcept;
inline Error error_of(core::Error error) {
  return {code_of(error.code), std::move(error.message), error.sys_errno};
}

struct MICRO_SWARM_CLIENT_OWN Region::Impl {
  core::Region region;
};
struct MICRO_SWARM_CLIENT_OWN ReceivedRegion::Impl {
  core::ReceivedRegion region;
  std::string topic;
};
struct MICRO_SWARM_CLIENT_OWN TaskResult::Impl {
  core::TaskResult result;
};
struct MICRO_SWARM_CLIENT_OWN CachedEntry::Impl {
  core::CachedEntry entry;
};

struct MICRO_SWARM_CLIENT_OWN Client::Impl {
  explicit Impl(core::Client joined) : client(std::move(joined)) {}

  core::Client client;
  /// Submissions whose result this client is owed: not yet returned, not detached.
  ClientNumbers owed;
  /// Arrived while another one was waited for, in the order in which they did.
  std::list<core::TaskResult> kept;
  std::unordered_map<std::uint64_t, std::list<core::TaskResult>::iterator> kept_by_number;

  void keep(core::TaskResult result);
  core::TaskResult take_kept(std::list<core::TaskResult>::iterator at);
  static core::Region& memory_of(Region& region) noexcept { return region.impl_->region; }
  Result<std::uint64_t> submit(Request& request, std::uint32_t timeout_ms);
  Result<Batch> submit_batch(std::span<Request> requests, std::uint32_t timeout_ms);
  void submitted(const Request& request);
  /// Nothing: not within the time.
  Result<std::optional<core::TaskResult>> wait(std::uint64_t number, std::uint32_t timeout_ms);
};

}  // namespace micro_swarm::client

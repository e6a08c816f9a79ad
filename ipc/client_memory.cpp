// A client's regions, to and from other parties.

#include <algorithm>
#include <cstring>

#include "common/clock.hpp"
#include "ipc/client_core.hpp"

namespace micro_swarm {

namespace {
constexpr std::uint64_t look_at_socket_ns = 100 * ns_per_ms;
}

Result<Region> ClientCore::write(std::span<const std::byte> bytes, std::uint32_t timeout_ms) {
  auto region = allocate(bytes.size(), timeout_ms);
  if (!region) return region.error();
  std::memcpy(region->bytes().data(), bytes.data(), bytes.size());
  memory_.count_copy(bytes.size());
  return region;
}

template <class Attempt>
Result<void> ClientCore::until_room(std::uint64_t deadline_ns, Attempt&& attempt) {
  for (;;) {
    Result<bool> done = attempt();
    if (!done) return done.error();
    if (*done) return {};
    if (auto room = wait_for_room(deadline_ns); !room) return room.error();
  }
}

template <class AnyRegion>
Result<void> ClientCore::transfer(AnyRegion& region, PartyId target, std::uint64_t tag,
                                  std::uint32_t timeout_ms) {
  return until_room(deadline_after(timeout_ms),
                    [&] { return memory_.try_transfer(*this, region, target, tag); });
}
template Result<void> ClientCore::transfer(Region&, PartyId, std::uint64_t, std::uint32_t);
template Result<void> ClientCore::transfer(ReceivedRegion&, PartyId, std::uint64_t, std::uint32_t);

Result<void> ClientCore::share(Region& region, std::span<const PartyId> targets, std::uint64_t tag,
                               std::uint32_t timeout_ms) {
  const std::uint64_t deadline_ns = deadline_after(timeout_ms);
  for (const PartyId target : targets) {
    auto done =
        until_room(deadline_ns, [&] { return memory_.try_share(*this, region, target, tag); });
    if (!done) return done.error();
  }
  return {};
}

Result<std::uint32_t> ClientCore::publish(std::string_view topic, Region& region, std::uint64_t tag,
                                          std::uint32_t timeout_ms) {
  const auto name = topic_name(topic);
  if (!name) return name.error();
  const std::uint64_t deadline_ns = deadline_after(timeout_ms);
  return memory_.publish(*this, region, *name, tag,
                         [&](auto&& attempt) { return until_room(deadline_ns, attempt); });
}

Result<void> ClientCore::set_subscription(std::string_view topic, bool subscribed,
                                          std::uint32_t timeout_ms) {
  const auto name = topic_name(topic);
  if (!name) return name.error();
  const std::uint64_t deadline_ns = deadline_after(timeout_ms);
  for (;;) {
    auto done = topics_.try_set(*name, subscribed);
    if (!done) return done.error();
    if (*done) return {};
    if (auto pumped = pump(); !pumped) return pumped.error();
    const std::uint64_t now = now_ns();
    if (now >= deadline_ns)
      return Error{ErrorCode::timed_out, "the supervisor has not answered in time", 0};
    wait_for_socket(std::min(look_at_socket_ns, deadline_ns - now));
  }
}

Result<std::optional<ReceivedRegion>> ClientCore::receive(std::uint32_t timeout_ms) {
  const std::uint64_t deadline_ns = timeout_ms == 0 ? 0 : deadline_after(timeout_ms);
  for (;;) {
    collect_releases();
    // No more than is asked for: what lies in the ring still can wait there.
    while (!memory_.has_received() && keep_one()) {
    }
    if (auto region = memory_.next(this)) return region;
    if (auto pumped = pump(); !pumped) return pumped.error();
    const std::uint64_t now = now_ns();
    if (now >= deadline_ns) return std::optional<ReceivedRegion>();
    if (link_->data_in().ready() && !can_keep_more())
      return Error{ErrorCode::refused,
                   "as many results are held as there is room for: release some first", 0};
    link_->wait(std::min(look_at_socket_ns, deadline_ns - now),
                [this] { return link_->data_in().ready(); });
  }
}

Result<std::span<const std::byte>> ClientCore::view(Token token, std::size_t size_bytes,
                                                    std::uint32_t timeout_ms) {
  const std::uint64_t deadline_ns = deadline_after(timeout_ms);
  for (;;) {
    auto bytes = link_->memory_of(token, size_bytes);
    if (!bytes) return bytes.error();
    if (*bytes) return **bytes;
    if (auto pumped = pump(); !pumped) return pumped.error();
    const std::uint64_t now = now_ns();
    if (now >= deadline_ns)
      return Error{ErrorCode::timed_out, "the memory of the region was not handed out in time", 0};
    if (auto there = link_->memory_of(token, size_bytes); there && !*there)
      wait_for_socket(std::min(look_at_socket_ns, deadline_ns - now));
  }
}

}  // namespace micro_swarm

#include "agentproc/agent_memory.hpp"

#include <algorithm>
#include <cstring>

#include "common/clock.hpp"

namespace micro_swarm {

namespace {
constexpr std::uint64_t look_again_ns = 20 * ns_per_ms;
Error ended() { return Error{ErrorCode::not_running, "this agent's runtime has ended", 0}; }
}  // namespace

template <class Attempt>
Result<void> AgentMemory::until_done(std::uint32_t timeout_ms, Attempt&& attempt) {
  if (link_ == nullptr) return ended();
  for (std::uint64_t deadline_ns = 0;;) {
    Result<bool> done = attempt();
    if (!done) return done.error();
    if (*done) return {};
    const std::uint64_t now = now_ns();
    if (deadline_ns == 0) deadline_ns = now + timeout_ms * ns_per_ms;
    if (loop_->is_task_cancelled()) return Error{ErrorCode::cancelled, "cancelled", 0};
    if (now >= deadline_ns) return Error{ErrorCode::timed_out, "timed out", 0};
    loop_->nap(std::min(look_again_ns, deadline_ns - now));
    loop_->look_around();
  }
}

Result<Region> AgentMemory::allocate(std::size_t size_bytes, std::uint32_t timeout_ms) {
  if (size_bytes == 0) return Error{ErrorCode::usage, "a region has at least 1 byte", 0};
  std::optional<Allocation> allocation;
  if (link_ != nullptr) allocation = link_->banks().at_hand(size_bytes);
  if (allocation) return memory_.make_region(this, *allocation);
  auto done = until_done(timeout_ms, [&]() -> Result<bool> {
    auto tried = link_->banks().try_allocate(size_bytes, now_ns());
    if (!tried) return tried.error();
    allocation = *tried;
    return allocation.has_value();
  });
  if (!done && done.error().code == ErrorCode::timed_out) {
    const std::string& why = link_->banks().refusal();
    return Error{ErrorCode::timed_out,
                 "no memory for " + std::to_string(size_bytes) +
                     " bytes: " + (why.empty() ? "the supervisor granted none" : why),
                 0};
  }
  if (!done) return done.error();
  return memory_.make_region(this, *allocation);
}

Result<Region> AgentMemory::write(std::span<const std::byte> bytes, std::uint32_t timeout_ms) {
  auto region = allocate(bytes.size(), timeout_ms);
  if (!region) return region.error();
  std::memcpy(region->bytes().data(), bytes.data(), bytes.size());
  memory_.count_copy(bytes.size());
  return region;
}

Result<void> AgentMemory::transfer(Region&& region, PartyId target, std::uint64_t tag,
                                   std::uint32_t timeout_ms) {
  return until_done(timeout_ms, [&] { return memory_.try_transfer(*this, region, target, tag); });
}

Result<void> AgentMemory::transfer(ReceivedRegion&& region, PartyId target, std::uint64_t tag,
                                   std::uint32_t timeout_ms) {
  return until_done(timeout_ms, [&] { return memory_.try_transfer(*this, region, target, tag); });
}

Result<void> AgentMemory::share(Region& region, std::span<const PartyId> targets, std::uint64_t tag,
                                std::uint32_t timeout_ms) {
  for (const PartyId target : targets) {
    auto done =
        until_done(timeout_ms, [&] { return memory_.try_share(*this, region, target, tag); });
    if (!done) return done.error();
  }
  return {};
}

Result<std::uint32_t> AgentMemory::publish(std::string_view topic, Region&& region,
                                           std::uint64_t tag, std::uint32_t timeout_ms) {
  const auto name = topic_name(topic);
  if (!name) return name.error();
  if (link_ == nullptr) return ended();
  return memory_.publish(*this, region, *name, tag,
                         [&](auto&& attempt) { return until_done(timeout_ms, attempt); });
}

Result<void> AgentMemory::set_subscription(std::string_view topic, bool subscribed,
                                           std::uint32_t timeout_ms) {
  const auto name = topic_name(topic);
  if (!name) return name.error();
  return until_done(timeout_ms, [&] { return topics_.try_set(*name, subscribed); });
}

std::optional<ReceivedRegion> AgentMemory::receive(std::uint32_t timeout_ms) {
  if (link_ == nullptr) return std::nullopt;
  if (!memory_.has_received()) loop_->look_around();
  static_cast<void>(until_done(
      timeout_ms, [&]() -> Result<bool> { return memory_.has_received() || timeout_ms == 0; }));
  return memory_.next(this);
}

template <class Ask>
Result<PartyCache::Answer> AgentMemory::ask_cache(std::uint32_t timeout_ms, Ask&& ask) {
  auto room = until_done(timeout_ms, [&]() -> Result<bool> { return cache_.has_room(); });
  if (!room) return room.error();
  const std::uint64_t number = ask();
  link_->ring_supervisor();
  std::optional<PartyCache::Answer> answer;
  auto done = until_done(timeout_ms, [&]() -> Result<bool> {
    cache_.repeat();
    answer = cache_.take_answer(number);
    return answer.has_value();
  });
  if (!done) {
    cache_.abandon(number);
    return done.error();
  }
  if (!answer->is_unreadable) return *answer;
  release_hold(answer->hold);
  return Error{ErrorCode::protocol, "a cache entry whose memory makes no sense", 0};
}

Result<std::optional<CachedEntry>> AgentMemory::cache_get(std::string_view name,
                                                          std::uint32_t timeout_ms) {
  auto answer = ask_cache(timeout_ms, [&] { return cache_.get(name); });
  if (!answer) return answer.error();
  if (answer->answer == CacheAnswer::refused)
    return Error{ErrorCode::refused, std::string(text_of(answer->refusal)), 0};
  if (answer->answer != CacheAnswer::found) return std::optional<CachedEntry>();
  return std::optional(CachedEntry(this, answer->bytes, answer->hold));
}

Result<CacheRefusal> AgentMemory::cache_put(std::string_view name, std::span<const std::byte> bytes,
                                            const CacheOptions& options, std::uint32_t timeout_ms) {
  if (name.empty() || name.size() > cache_name_bytes_max) return CacheRefusal::bad_name;
  if (bytes.empty()) return CacheRefusal::bad_size;
  if (bytes.size() > 0xffffffffu - name.size()) return CacheRefusal::too_large;
  auto region = allocate(bytes.size() + name.size(), timeout_ms);
  if (!region) return region.error();
  std::memcpy(region->bytes().data(), bytes.data(), bytes.size());
  std::memcpy(region->bytes().data() + bytes.size(), name.data(), name.size());
  auto answer = ask_cache(timeout_ms, [&] {
    return cache_.put(memory_.give_up(*region), bytes.size(), name,
                      CachePutWord::make(options.ttl_ms, options.priority, name.size()));
  });
  if (!answer) return answer.error();
  if (answer->answer == CacheAnswer::stored) return CacheRefusal::none;
  return answer->refusal == CacheRefusal::none ? CacheRefusal::interrupted : answer->refusal;
}

Result<bool> AgentMemory::cache_erase(std::string_view name, std::uint32_t timeout_ms) {
  auto answer = ask_cache(timeout_ms, [&] { return cache_.erase(name); });
  if (!answer) return answer.error();
  return answer->answer == CacheAnswer::erased;
}

void AgentMemory::release_hold(std::uint32_t hold) noexcept {
  if (link_ == nullptr) return;
  if (link_->release(hold)) link_->ring_supervisor();
}

Result<std::span<const std::byte>> AgentMemory::view(Token token, std::size_t size_bytes,
                                                     std::uint32_t timeout_ms) {
  std::span<const std::byte> found;
  auto done = until_done(timeout_ms, [&]() -> Result<bool> {
    auto bytes = link_->memory_of(token, size_bytes);
    if (!bytes) return bytes.error();
    if (*bytes) found = **bytes;
    return bytes->has_value();
  });
  if (!done) return done.error();
  return found;
}

}  // namespace micro_swarm

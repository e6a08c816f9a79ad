#include "ipc/client_cache.hpp"

#include <poll.h>

#include <algorithm>
#include <cstring>

#include "common/clock.hpp"
#include "ipc/client_core.hpp"

namespace micro_swarm {

namespace {
constexpr std::uint64_t look_at_socket_ns = 100 * ns_per_ms;

Error too_many_held() {
  return Error{ErrorCode::refused,
               "as many results are held as there is room for: release some first", 0};
}
}  // namespace

Result<void> ClientCore::wait_for_cache_room(std::uint64_t deadline_ns) {
  if (auto pumped = pump(); !pumped) return pumped.error();
  if (auto room = wait_for_room(deadline_ns); !room) return room.error();
  if (!cache_.has_room())
    return Error{ErrorCode::refused, "too many requests to the cache were never answered", 0};
  return {};
}

Result<PartyCache::Answer> ClientCore::wait_for_cache(std::uint64_t number,
                                                      std::uint64_t deadline_ns) {
  link_->ring_supervisor();
  const auto give_up = [&](Error error) {
    cache_.abandon(number);
    return error;
  };
  for (;;) {
    bool is_mapped = true;
    while (link_->data_in().ready()) {
      // Results that come meanwhile are kept for next_result().
      if (!PartyCache::is_answer(link_->data_in().front()) && !can_keep_more())
        return give_up(too_many_held());
      TaskResult result;
      const Taken taken = take_result(result);
      if (taken == Taken::result) kept_.push_back(std::move(result));
      if (taken == Taken::no_hold) return give_up(too_many_held());
      is_mapped = taken != Taken::not_mapped;
      if (!is_mapped) break;
    }
    if (auto answer = cache_.take_answer(number)) {
      if (answer->is_unreadable) {
        release(answer->hold);
        return Error{ErrorCode::protocol, "a cache entry whose memory makes no sense", 0};
      }
      return *answer;
    }
    if (auto pumped = pump(); !pumped && !link_->data_in().ready()) return give_up(pumped.error());
    cache_.repeat();
    const std::uint64_t now = now_ns();
    if (now >= deadline_ns)
      return give_up(Error{ErrorCode::timed_out, "the cache has not answered in time", 0});
    const std::uint64_t time_ns = std::min(look_at_socket_ns, deadline_ns - now);
    if (!is_mapped) {  // its bank is on its way
      pollfd wanted{link_->socket(), POLLIN, 0};
      const timespec timeout{0, static_cast<long>(time_ns)};
      ::ppoll(&wanted, 1, &timeout, nullptr);
    } else {
      link_->wait(time_ns, [this] { return link_->data_in().ready(); });
    }
  }
}

ClientCore::Taken ClientCore::take_cache_answer() {
  switch (cache_.take()) {
    case PartyCache::Taken::not_mapped: return Taken::not_mapped;
    case PartyCache::Taken::no_hold: return Taken::no_hold;
    case PartyCache::Taken::done: break;
  }
  return Taken::dropped;
}

Result<std::optional<CachedEntry>> ClientCore::cache_get(std::string_view name,
                                                         std::uint32_t timeout_ms) {
  const std::uint64_t deadline_ns = deadline_after(timeout_ms);
  if (auto room = wait_for_cache_room(deadline_ns); !room) return room.error();
  auto answer = wait_for_cache(cache_.get(name), deadline_ns);
  if (!answer) return answer.error();
  if (answer->answer == CacheAnswer::refused)
    return Error{ErrorCode::refused, std::string(text_of(answer->refusal)), 0};
  if (answer->answer != CacheAnswer::found) return std::optional<CachedEntry>();
  return std::optional(CachedEntry(this, answer->bytes, answer->hold));
}

Result<bool> ClientCore::cache_erase(std::string_view name, std::uint32_t timeout_ms) {
  const std::uint64_t deadline_ns = deadline_after(timeout_ms);
  if (auto room = wait_for_cache_room(deadline_ns); !room) return room.error();
  auto answer = wait_for_cache(cache_.erase(name), deadline_ns);
  if (!answer) return answer.error();
  return answer->answer == CacheAnswer::erased;
}

Result<CacheRefusal> ClientCore::cache_put(std::string_view name, std::span<const std::byte> bytes,
                                           const CacheOptions& options, std::uint32_t timeout_ms) {
  if (name.empty() || name.size() > cache_name_bytes_max) return CacheRefusal::bad_name;
  if (bytes.empty()) return CacheRefusal::bad_size;
  if (bytes.size() > 0xffffffffu - name.size()) return CacheRefusal::too_large;
  const std::uint64_t deadline_ns = deadline_after(timeout_ms);
  auto region = allocate(bytes.size() + name.size(), timeout_ms);
  if (!region) return region.error();
  std::memcpy(region->bytes_.data(), bytes.data(), bytes.size());
  return cache_put_region(name, *region, bytes.size(), options, deadline_ns);
}

Result<CacheRefusal> ClientCore::cache_put(std::string_view name, Region& region,
                                           const CacheOptions& options, std::uint32_t timeout_ms) {
  if (!region || region.keeper_.get() != this)
    return Error{ErrorCode::usage, "the region is empty, or belongs to another client", 0};
  const std::size_t size = region.bytes_.size();
  if (name.empty() || name.size() > cache_name_bytes_max) return CacheRefusal::bad_name;
  if (size == 0) return CacheRefusal::bad_size;
  // The name goes behind the bytes; where there is no room for it, they are copied once more.
  if (size + name.size() > link_->banks().whole_region(region.hold_).size() ||
      size > 0xffffffffu - name.size()) {
    auto stored = cache_put(name, region.bytes_, options, timeout_ms);
    if (stored) region = Region();
    return stored;
  }
  return cache_put_region(name, region, size, options, deadline_after(timeout_ms));
}

Result<CacheRefusal> ClientCore::cache_put_region(std::string_view name, Region& region,
                                                  std::size_t size, const CacheOptions& options,
                                                  std::uint64_t deadline_ns) {
  if (auto room = wait_for_cache_room(deadline_ns); !room) return room.error();
  const auto memory = link_->banks().whole_region(region.hold_);
  std::memcpy(memory.data() + size, name.data(), name.size());
  const std::uint64_t number = cache_.put(
      region.hold_, size, name, CachePutWord::make(options.ttl_ms, options.priority, name.size()));
  region.forget();  // its token is the supervisor's now
  auto answer = wait_for_cache(number, deadline_ns);
  if (!answer) return answer.error();
  if (answer->answer == CacheAnswer::stored) return CacheRefusal::none;
  return answer->refusal == CacheRefusal::none ? CacheRefusal::interrupted : answer->refusal;
}

}  // namespace micro_swarm

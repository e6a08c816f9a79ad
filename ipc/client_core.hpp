#pragma once

// What stands behind Client, Region and TaskResult; shared by them, so that a result may be read
// after its client is gone. One thread at a time.

#include <deque>
#include <memory>
#include <string>

#include "ipc/client.hpp"
#include "ipc/client_numbers.hpp"
#include "ipc/party_cache.hpp"
#include "ipc/party_link.hpp"
#include "ipc/party_memory.hpp"
#include "ipc/party_topics.hpp"

namespace micro_swarm {

class ClientCore final : public RegionKeeper {
 public:
  static Result<boost::intrusive_ptr<ClientCore>> attach(UniqueFd socket, std::uint32_t timeout_ms);
  explicit ClientCore(std::unique_ptr<PartyLink> link) noexcept
      : link_(std::move(link)), memory_(*link_), cache_(*link_), topics_(*link_) {}
  ~ClientCore() override;
  ClientCore(const ClientCore&) = delete;
  ClientCore& operator=(const ClientCore&) = delete;

  Result<Region> allocate(std::size_t size_bytes, std::uint32_t timeout_ms);
  Result<std::uint64_t> submit(TaskRequest& request, std::uint32_t timeout_ms);
  Result<BatchSubmitted> submit_batch(std::span<TaskRequest> requests, std::uint32_t timeout_ms);
  Result<BatchSubmitted> try_submit_batch(std::span<TaskRequest> requests);
  Result<std::optional<TaskResult>> next_result(std::uint32_t timeout_ms);

  // client_memory.cpp: regions to and from other parties.
  Result<Region> write(std::span<const std::byte> bytes, std::uint32_t timeout_ms);
  template <class AnyRegion>
  Result<void> transfer(AnyRegion& region, PartyId target, std::uint64_t tag,
                        std::uint32_t timeout_ms);
  Result<void> share(Region& region, std::span<const PartyId> targets, std::uint64_t tag,
                     std::uint32_t timeout_ms);
  Result<std::optional<ReceivedRegion>> receive(std::uint32_t timeout_ms);
  Result<std::uint32_t> publish(std::string_view topic, Region& region, std::uint64_t tag,
                                std::uint32_t timeout_ms);
  Result<void> set_subscription(std::string_view topic, bool subscribed, std::uint32_t timeout_ms);
  const PartyMemory& memory() const noexcept { return memory_; }
  Result<std::optional<CachedEntry>> cache_get(std::string_view name, std::uint32_t timeout_ms);
  Result<bool> cache_erase(std::string_view name, std::uint32_t timeout_ms);
  Result<CacheRefusal> cache_put(std::string_view name, std::span<const std::byte> bytes,
                                 const CacheOptions& options, std::uint32_t timeout_ms);
  Result<CacheRefusal> cache_put(std::string_view name, Region& region, const CacheOptions& options,
                                 std::uint32_t timeout_ms);

  void release(std::uint32_t hold);
  // RegionKeeper:
  void release_hold(std::uint32_t hold) noexcept override { release(hold); }
  Result<std::span<const std::byte>> view(Token token, std::size_t size_bytes,
                                          std::uint32_t timeout_ms) override;
  std::size_t in_flight() const noexcept { return numbers_.count() + kept_.size(); }
  std::uint64_t doubled() const noexcept { return doubled_; }
  std::vector<std::string> capabilities() const;
  PartyLink& link() const noexcept { return *link_; }
  /// The Client object is gone: what was kept for it is given back.
  void close();

 private:
  /// dropped: something else than a result was taken.
  enum class Taken { result, nothing, dropped, not_mapped, no_hold };

  static std::uint64_t deadline_after(std::uint32_t timeout_ms);
  Result<void> join(std::uint64_t deadline_ns);
  /// Reads the socket, the release ring and what waits to be released. Error: not_running.
  Result<void> pump();
  /// The cheap half of pump(), for every call.
  void collect_releases();
  Result<std::uint16_t> capability_id(std::string_view name);
  Result<std::uint16_t> check(const TaskRequest& request);
  Result<void> check_rings(std::span<const TaskRequest> requests);
  Result<void> check_options(const TaskOptions& options, std::size_t batch_size);
  /// What is to lie in a batch's region for one of its requests.
  struct BatchPayload {
    std::span<const std::byte> bytes;
    std::vector<std::byte> packed;  ///< what `bytes` shows, where they were compressed
    std::uint8_t flags = 0;         ///< submit_compressed or 0
  };
  std::vector<BatchPayload> batch_payloads(std::span<const TaskRequest> requests);
  /// The entries of `requests` as they lie in the region; `payloads_at` is where the payloads
  /// begin, or nullopt: the one request's payload lies at the region's start already.
  Result<std::vector<std::byte>> batch_entries(std::span<const TaskRequest> requests,
                                               std::span<const BatchPayload> payloads,
                                               std::optional<std::uint64_t> payloads_at);
  /// With room in the ring for it. The header lies at `header_at` of the region.
  void send_batch(Region& region, std::uint64_t header_at, std::uint64_t region_bytes,
                  std::uint32_t count);
  /// Waits until a message to the supervisor has room.
  Result<void> wait_for_room(std::uint64_t deadline_ns);
  /// `attempt() -> Result<bool>`, again when there is room, until it is true.
  template <class Attempt>
  Result<void> until_room(std::uint64_t deadline_ns, Attempt&& attempt);
  void finish_refused(TaskResult& result, const SlotBody& body);
  /// With room in the ring for it. `flags` are SubmitWord's, beside what the request says.
  void send(TaskRequest& request, std::uint16_t capability, std::uint8_t flags);
  /// What is to be copied into a region for these bytes: a packed block where the swarm wants that
  /// and it pays (`flags` then say so), else the bytes. Valid until the next call.
  std::span<const std::byte> packed(std::span<const std::byte> payload, std::uint8_t& flags);
  Result<bool> try_copy_to_region(TaskRequest& request, std::uint8_t& flags);
  Region make_region(const Allocation& allocation) { return memory_.make_region(this, allocation); }
  Taken take_result(TaskResult& result);
  Taken take_region_result(TaskResult& result, const SlotBody& body);
  /// Takes what lies in the ring, to make room there while the caller waits for something else.
  void keep_results();
  /// The next of it. False = there is none, or it has to stay.
  bool keep_one();
  bool can_keep_more() const noexcept;
  Result<Region> allocate_waiting(std::size_t size_bytes, std::uint32_t timeout_ms);
  void wait_for_memory(std::uint64_t deadline_ns);
  /// For a message on the socket.
  void wait_for_socket(std::uint64_t time_ns);

  // client_cache.cpp
  Result<void> wait_for_cache_room(std::uint64_t deadline_ns);
  Result<PartyCache::Answer> wait_for_cache(std::uint64_t number, std::uint64_t deadline_ns);
  /// The bytes and behind them room for the name are in the region.
  Result<CacheRefusal> cache_put_region(std::string_view name, Region& region, std::size_t size,
                                        const CacheOptions& options, std::uint64_t deadline_ns);
  Taken take_cache_answer();

  std::unique_ptr<PartyLink> link_;
  PartyMemory memory_;
  PartyCache cache_;
  PartyTopics topics_;
  ClientNumbers numbers_;
  std::deque<TaskResult> kept_;
  std::string last_capability_;
  std::uint16_t last_capability_id_ = 0;
  std::uint64_t doubled_ = 0;
  std::uint32_t calls_ = 0;
  std::unique_ptr<std::byte[]> scratch_;  ///< of packed(); kept up to scratch_kept_bytes
  std::size_t scratch_bytes_ = 0;
  bool gone_ = false;
};

}  // namespace micro_swarm

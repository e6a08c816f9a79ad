#pragma once

// A party's side of the cache (ipc/cache_protocol.hpp): requests, their answers, and asking again
// when a supervisor died over them. On the party's one thread, over its link; waits for nothing.
//
// Crash of this process: what it had asked for is answered to a ring that its successor or heir
// reads to the end, and rights that came go home.

#include <map>
#include <optional>
#include <span>
#include <string_view>

#include "ipc/cache_protocol.hpp"
#include "ipc/party_link.hpp"

namespace micro_swarm {

class PartyCache {
 public:
  /// `link` outlives this object and is admitted.
  explicit PartyCache(PartyLink& link) noexcept : link_(&link) {}

  /// There are fewer requests unanswered than a party may have, and the ring has room.
  bool has_room() noexcept {
    return open_.size() < cache_requests_max(link_->party()) && link_->data_out().has_space(1);
  }
  // Each returns the request's number. Precondition: has_room().
  std::uint64_t get(std::string_view name);
  std::uint64_t erase(std::string_view name);
  /// Hands over the region in `hold`: `bytes` from its start on, then the name.
  std::uint64_t put(std::uint32_t hold, std::uint64_t bytes, std::string_view name,
                    CachePutWord word);

  struct Answer {
    CacheAnswer answer = CacheAnswer::miss;
    CacheRefusal refusal = CacheRefusal::none;
    std::uint32_t hold = 0;  ///< found: the caller's to release
    std::span<const std::byte> bytes;
    bool is_unreadable = false;  ///< found, and the right made no sense
  };
  /// The answer to a request, once.
  std::optional<Answer> take_answer(std::uint64_t number);
  /// Nobody waits for it any more. Its answer is given back when it comes.
  void abandon(std::uint64_t number);

  enum class Taken {
    done,
    not_mapped,  ///< its bank is on its way by the socket
    no_hold,     ///< release something first
  };
  static bool is_answer(const SlotBody& body) {
    return body.kind == static_cast<std::uint16_t>(MessageKind::cache_answer);
  }
  /// The next message of the data ring is an answer: takes it.
  Taken take();

  /// Asks again what a supervisor that died has not answered. Cheap where none did.
  void repeat();
  std::size_t unanswered() const noexcept { return open_.size(); }

 private:
  struct Request {
    MessageKind kind{};
    CacheKey key;
    std::uint64_t epoch = 0;  ///< of the supervisor asked last
    bool is_abandoned = false;
  };
  std::uint64_t ask(MessageKind kind, const CacheKey& key);
  std::uint64_t epoch() const noexcept { return load(link_->tables().epoch); }

  PartyLink* link_;
  std::uint64_t next_ = 1;
  std::uint64_t epoch_ = 0;  ///< all open requests were put to this one
  std::map<std::uint64_t, Request> open_;
  std::map<std::uint64_t, Answer> answers_;
};

}  // namespace micro_swarm

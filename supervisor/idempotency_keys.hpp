#pragma once

// Whose an idempotency key is, before a task with it is accepted. The journal knows all of them;
// what it has said, and what has been accepted since, is kept here for a moment: long enough that
// two submissions with one key, from whomever, never both find it unused.

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "supervisor/journal_data.hpp"

namespace micro_swarm {

/// XXH3-128 of what must be equal for two requests with one key to be the same.
using RequestHash = std::array<std::uint64_t, 2>;

class IdempotencyKeys {
 public:
  struct Answer {
    enum class Kind : std::uint8_t {
      asking,  ///< not known yet: the journal must be asked, or has been
      unused,
      same,  ///< `id` is the task with this key and the same request
      other  ///< `id` is another request's
    } kind = Kind::unused;
    DurableId id = 0;
  };

  /// `ask`: puts the question to the journal; told() follows.
  explicit IdempotencyKeys(std::function<void(std::string_view key)> ask) : ask_(std::move(ask)) {}

  Answer look_up(std::string_view key, const RequestHash& hash);
  /// A task with this key has been accepted; the journal does not know it before it is synced.
  void taken(std::string_view key, DurableId id, const RequestHash& hash, TaskId task);
  /// The journal's answer.
  void told(const std::string& key, const std::optional<JournalKey>& known);
  /// Questions are open.
  bool is_asking() const { return asking_ != 0; }
  /// Call it now and then: what was not looked at for ten calls is forgotten, unless the journal
  /// does not know it yet.
  void forget_old(const std::function<bool(TaskId task)>& is_synced);
  std::size_t size() const { return entries_.size(); }

 private:
  enum class State : std::uint8_t { asking, unused, used };
  struct Entry {
    State state = State::asking;
    std::uint8_t age = 0;
    DurableId id = 0;
    RequestHash hash{};
    TaskId task = 0;  ///< accepted by us; 0 = read from the journal
  };
  std::function<void(std::string_view)> ask_;
  std::unordered_map<std::string, Entry> entries_;
  std::size_t asking_ = 0;
};

}  // namespace micro_swarm

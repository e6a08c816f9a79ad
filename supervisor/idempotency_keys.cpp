#include "supervisor/idempotency_keys.hpp"

namespace micro_swarm {

namespace {
constexpr std::uint8_t age_max = 10;
}  // namespace

IdempotencyKeys::Answer IdempotencyKeys::look_up(std::string_view key, const RequestHash& hash) {
  const auto [at, is_new] = entries_.try_emplace(std::string(key));
  Entry& entry = at->second;
  entry.age = 0;
  if (is_new) {
    ++asking_;
    ask_(key);
  }
  switch (entry.state) {
    case State::asking: return {Answer::Kind::asking, 0};
    case State::unused: return {Answer::Kind::unused, 0};
    case State::used: break;
  }
  return {entry.hash == hash ? Answer::Kind::same : Answer::Kind::other, entry.id};
}

void IdempotencyKeys::taken(std::string_view key, DurableId id, const RequestHash& hash,
                            TaskId task) {
  Entry& entry = entries_[std::string(key)];
  if (entry.state == State::asking && asking_ != 0) --asking_;
  entry = {State::used, 0, id, hash, task};
}

void IdempotencyKeys::told(const std::string& key, const std::optional<JournalKey>& known) {
  const auto at = entries_.find(key);
  if (at == entries_.end() || at->second.state != State::asking) return;
  --asking_;
  Entry& entry = at->second;
  if (known)
    entry = {State::used, 0, known->id, {known->request_hash[0], known->request_hash[1]}, 0};
  else
    entry.state = State::unused;
}

void IdempotencyKeys::forget_old(const std::function<bool(TaskId task)>& is_synced) {
  for (auto at = entries_.begin(); at != entries_.end();) {
    Entry& entry = at->second;
    if (entry.state != State::asking && entry.age < age_max) ++entry.age;
    const bool is_old = entry.age == age_max && (entry.task == 0 || is_synced(entry.task));
    at = is_old ? entries_.erase(at) : std::next(at);
  }
}

}  // namespace micro_swarm

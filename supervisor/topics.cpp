#include "supervisor/topics.hpp"

#include <cstring>

#include "ipc/party_socket.hpp"
#include "shm/atomics.hpp"

namespace micro_swarm {

namespace topic_rows {

Subscribers subscribers(const TopicRow& row) noexcept {
  Subscribers found;
  for (std::size_t i = 0; i < std::size(found.words); ++i)
    found.words[i] = load(row.subscribers[i]);
  return found;
}

TopicName name(const TopicRow& row) noexcept {
  return TopicName{{load(row.name[0]), load(row.name[1]), load(row.name[2])}};
}

void rename(TopicRow& row, const TopicName& name) noexcept {
  store(row.changes, load(row.changes) + 1);
  for (std::size_t i = 0; i < std::size(name.words); ++i) store(row.name[i], name.words[i]);
  store(row.changes, load(row.changes) + 1);
}

void set(TopicRow& row, PartyId party, bool subscribed) noexcept {
  Word& word = row.subscribers[party / 64];
  const std::uint64_t bit = std::uint64_t{1} << (party % 64);
  store(word, subscribed ? load(word) | bit : load(word) & ~bit);
}

void repair(TopicRow& row) noexcept {
  if (load(row.changes) % 2 == 0) return;
  for (Word& word : row.name) store(word, 0);
  store(row.changes, load(row.changes) + 1);
}

}  // namespace topic_rows

void Topics::adopt() {
  for (TopicRow& row : rows()) topic_rows::repair(row);
  forget_gone();
}

TopicRow* Topics::row_for(const TopicName& name) {
  TopicRow* free = nullptr;
  for (TopicRow& row : rows()) {
    if (topic_rows::name(row) == name) return &row;
    if (free == nullptr && topic_rows::subscribers(row).count() == 0) free = &row;
  }
  if (free != nullptr) topic_rows::rename(*free, name);
  return free;
}

std::string Topics::set(PartyId party, const TopicName& name, bool subscribed) {
  if (subscribers_of(rows(), name).has(party) == subscribed) return {};
  TopicRow* const row = row_for(name);
  if (row == nullptr)
    return std::to_string(topics_max) + " topics have subscribers, which is as many as may be";
  if (subscribed && topic_rows::subscribers(*row).count() >= topic_subscribers_max)
    return std::to_string(topic_subscribers_max) + " parties subscribe to \"" + text_of(name) +
           "\", which is as many as may";
  topic_rows::set(*row, party, subscribed);
  return {};
}

void Topics::requested(Peer& peer, const PartyMessage& message) {
  const auto name = topic_name({message.text, ::strnlen(message.text, sizeof message.text)});
  if (!name || message.b > 1) c_.count(Counter::messages_malformed);
  const std::string why = name ? set(peer.id, *name, message.b == 1) : name.error().message;
  PartyMessage answer;
  answer.kind = PartyMessageKind::topic_answer;
  answer.a = message.a;
  answer.b = why.empty() ? 0 : 1;
  why.copy(answer.text, sizeof answer.text - 1);
  c_.send(peer, answer);
}

void Topics::forget(PartyId party) {
  for (TopicRow& row : rows())
    if (topic_rows::subscribers(row).has(party)) topic_rows::set(row, party, false);
}

void Topics::forget_gone() {
  for (TopicRow& row : rows())
    topic_rows::subscribers(row).for_each([&](PartyId party) {
      const std::uint32_t phase = c_.row(party).phase;
      if (phase == stored(PartyPhase::none) || phase == stored(PartyPhase::gave_up))
        topic_rows::set(row, party, false);
    });
}

nlohmann::json Topics::list() const {
  nlohmann::json all = nlohmann::json::array();
  for (const TopicRow& row : rows()) {
    const Subscribers subscribers = topic_rows::subscribers(row);
    if (subscribers.count() == 0) continue;
    nlohmann::json parties = nlohmann::json::array();
    subscribers.for_each([&](PartyId party) { parties.push_back(party); });
    all.push_back({{"name", text_of(topic_rows::name(row))}, {"subscribers", std::move(parties)}});
  }
  return all;
}

}  // namespace micro_swarm

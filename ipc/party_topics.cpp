#include "ipc/party_topics.hpp"

#include <cstring>

namespace micro_swarm {

Result<bool> PartyTopics::try_set(const TopicName& topic, bool subscribed) {
  if (subscribers_of(link_->tables().topics, topic).has(link_->party()) == subscribed) {
    asked_epoch_ = 0;
    return true;
  }
  const std::uint64_t epoch = load(link_->tables().epoch);
  if (asked_epoch_ != epoch || asked_topic_ != topic || asked_subscribed_ != subscribed) {
    PartyMessage message;
    message.kind = PartyMessageKind::subscription;
    message.a = ++request_;
    message.b = subscribed ? 1 : 0;
    std::memcpy(message.text, topic.words, topic_bytes_max);
    if (!link_->send(message)) return false;  // the socket is full; or closed, which is told there
    asked_topic_ = topic;
    asked_subscribed_ = subscribed;
    asked_epoch_ = epoch;
    return false;
  }
  const std::string* why = link_->topic_refusal(request_);
  if (why == nullptr) return false;
  asked_epoch_ = 0;
  return Error{ErrorCode::refused, *why, 0};
}

}  // namespace micro_swarm

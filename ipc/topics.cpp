#include "ipc/topics.hpp"

#include <cstring>

#include "shm/atomics.hpp"

namespace micro_swarm {

Result<TopicName> topic_name(std::string_view text) {
  constexpr std::string_view allowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-";
  if (text.empty() || text.size() > topic_bytes_max ||
      text.find_first_not_of(allowed) != std::string_view::npos)
    return Error{ErrorCode::usage,
                 "a topic's name has 1 to " + std::to_string(topic_bytes_max) +
                     " of the characters a-z A-Z 0-9 _ . / -",
                 0};
  TopicName name;
  std::memcpy(name.words, text.data(), text.size());
  return name;
}

std::string text_of(const TopicName& name) {
  std::string text(topic_bytes_max, '\0');
  std::memcpy(text.data(), name.words, topic_bytes_max);
  text.resize(::strnlen(text.data(), topic_bytes_max));
  return text;
}

Subscribers subscribers_of(std::span<const TopicRow> topics, const TopicName& name) noexcept {
  for (const TopicRow& row : topics) {
    if (load(row.name[0]) != name.words[0]) continue;
    // Every load acquires: none of those between is before the first look at `changes`, and the
    // second look is behind them all. The same even number twice: they belong together.
    const std::uint64_t changes = load(row.changes);
    if (changes % 2 != 0) continue;
    const TopicName here{{load(row.name[0]), load(row.name[1]), load(row.name[2])}};
    Subscribers found;
    for (std::size_t i = 0; i < std::size(found.words); ++i)
      found.words[i] = load(row.subscribers[i]);
    if (here == name && load(row.changes) == changes) return found;
  }
  return {};
}

}  // namespace micro_swarm

#pragma once

// Topics, as every party reads them: their names, and who subscribes. The words are written by the
// supervisor alone (supervisor/topics.hpp).

#include <bit>
#include <span>
#include <string>
#include <string_view>

#include "common/result.hpp"
#include "shm/topic_data.hpp"

namespace micro_swarm {

/// Error: usage (empty, too long, another character than [a-zA-Z0-9_./-]).
Result<TopicName> topic_name(std::string_view text);
std::string text_of(const TopicName& name);

/// A set of parties, as of one moment.
struct Subscribers {
  std::uint64_t words[parties_max / 64] = {};

  constexpr bool has(PartyId party) const {
    return party < parties_max && ((words[party / 64] >> (party % 64)) & 1u) != 0;
  }
  constexpr unsigned count() const {
    unsigned all = 0;
    for (const std::uint64_t word : words) all += static_cast<unsigned>(std::popcount(word));
    return all;
  }
  template <class Visit>
  void for_each(Visit&& visit) const {
    for (PartyId party = 0; party < parties_max; ++party)
      if (has(party)) visit(party);
  }
};

/// Who subscribes to `name` now. Any process that maps the tables, any thread; waits for nobody:
/// a row that is being changed has no subscribers.
Subscribers subscribers_of(std::span<const TopicRow> topics, const TopicName& name) noexcept;

}  // namespace micro_swarm

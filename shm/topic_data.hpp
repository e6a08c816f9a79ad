#pragma once

// Topics: names that parties subscribe to. Bytes only; in the supervisor's tables, written by it,
// read by whoever publishes. ipc/topics.hpp reads them.

#include <cstddef>
#include <cstdint>

#include "common/ids.hpp"
#include "shm/segment_data.hpp"

namespace micro_swarm {

inline constexpr std::size_t topic_bytes_max = 24;
inline constexpr std::uint32_t topics_max = 256;
/// Each subscriber needs a right of its own to what is published; a region has 32, and whoever
/// publishes has one.
inline constexpr unsigned topic_subscribers_max = 31;

/// 1 to topic_bytes_max of [a-zA-Z0-9_./-], zeros behind them; all 0 = none. As words, so that it
/// travels in a message and is stored and compared without tearing a byte.
struct TopicName {
  std::uint64_t words[3] = {};
  constexpr explicit operator bool() const { return words[0] != 0; }
  friend constexpr bool operator==(const TopicName&, const TopicName&) = default;
};
static_assert(sizeof(TopicName) == topic_bytes_max);

/// The row of a topic. Used again for another name when nobody subscribes any more.
struct TopicRow {
  Word changes;                        ///< odd while the name is being changed
  Word name[3];                        ///< TopicName
  Word subscribers[parties_max / 64];  ///< a bit for each party
};
static_assert(parties_max % 64 == 0 && sizeof(TopicRow) == 72);

}  // namespace micro_swarm

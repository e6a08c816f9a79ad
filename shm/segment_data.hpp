#pragma once

// Segment: one memfd per process for its control words. Bytes only.
//
// Writer: the owner, alone; everybody else maps it read-only (sealed with F_SEAL_FUTURE_WRITE).
// Identity fields are written once, before the segment is published. A death leaves the segment
// as it was at the last store; readers of a dead segment start after the kernel has reported the
// death, so they see a prefix of the owner's stores. Repair: shm/recovery.hpp.

#include <cstdint>
#include <type_traits>

#include "common/ids.hpp"
#include "shm/atomics.hpp"
#include "shm/hold_data.hpp"
#include "shm/ring_data.hpp"
#include "shm/words.hpp"

namespace micro_swarm {

inline constexpr std::uint64_t segment_magic = 0x316d72617753754dull;  // "MuSwarm1"
inline constexpr std::uint32_t layout_version = 6;

enum class SegmentKind : std::uint32_t { party = 1, supervisor = 2 };

/// What an agent does right now, as it says itself.
enum class PartyState : std::uint64_t { starting = 0, idle = 1, busy = 2, draining = 3 };

struct SegmentHeader {
  // Identity: constant after publication.
  std::uint64_t magic;
  std::uint32_t layout_version;
  SegmentKind kind;
  std::uint16_t party;
  std::uint16_t incarnation;
  std::int32_t pid;
  std::uint64_t start_time_ticks;  ///< /proc/PID/stat field 22
  std::uint64_t size_bytes;
  std::uint32_t hold_count;
  std::uint32_t task_capacity;  ///< supervisor only, else 0
  std::uint32_t cache_entries;  ///< supervisor only, else 0

  alignas(64) Word asleep;    ///< 1 = parked on its bell; senders must ring
  alignas(64) Word progress;  ///< grows while the work thread gets on
  Word state;                 ///< PartyState
  Word task_in_hand;          ///< TaskId the work thread runs, 0 = none
  Word tasks_completed;
  Word tasks_failed;
  Word messages_malformed;  ///< input that failed its checks and was dropped
  Word codec_ns;            ///< spent on payloads: an agent's bringing back, a client's compressing
  alignas(64) Word in_hand;  ///< InHand of the work thread
};
static_assert(std::is_standard_layout_v<SegmentHeader>);
static_assert(sizeof(SegmentHeader) <= 1024);

/// Flight recorder: the last events of a process, read after its death for the certificate.
/// Writer: the work thread. `count` is stored after the entry; a torn entry is never counted.
enum class FlightCode : std::uint64_t {
  none,
  registered,
  live,
  dispatch_received,
  dispatch_skipped,
  handler_started,
  handler_finished,
  completed,
  bank_mapped,
  cancel_seen,
  drain_seen,
  parked,
  // Guard mode, the last events of a life: which rule was broken (subject: the region), then where
  // (guard_address, guard_instruction), or how many bytes had been asked for.
  guard_write_after_hand_over,
  guard_touch_after_release,
  guard_write_past_end,
  guard_address,
  guard_instruction,
  guard_bytes_asked,
};
struct FlightEvent {
  std::uint64_t time_ns;
  FlightCode code;
  std::uint64_t subject;
};
inline constexpr std::uint32_t flight_events_max = 64;
struct FlightRecorder {
  Word count;
  FlightEvent events[flight_events_max];
};

/// Cursors by producer and lane: one page line per producer.
struct CursorRow {
  Word lane[lanes_max];
};

inline constexpr std::uint32_t party_holds_max = 1024;

/// Slots of the ring from `producer` to `consumer`: deep where a client keeps thousands of tasks
/// in flight, shallow elsewhere (an agent's depth is bounded by its credit).
constexpr std::uint32_t ring_slots(PartyId producer, PartyId consumer) {
  return is_client(producer) || is_client(consumer) ? 1024 : 32;
}

constexpr std::uint64_t page_up(std::uint64_t bytes) {
  return (bytes + 4095) & ~std::uint64_t{4095};
}

/// Where everything lies in a segment: a pure function of kind and owner, so a reader computes it
/// and never believes an offset it was told.
struct SegmentLayout {
  std::uint64_t cursors = 0;    ///< CursorRow[parties_max]
  std::uint64_t recorder = 0;   ///< FlightRecorder
  std::uint64_t holds = 0;      ///< Hold[hold_count]
  std::uint64_t rings = 0;      ///< to each party its lanes, one behind the other
  std::uint64_t regions = 0;    ///< Word[regions_max]
  std::uint64_t extension = 0;  ///< the supervisor's tables (shm/supervisor_data.hpp)
  std::uint64_t size_bytes = 0;
  std::uint32_t hold_count = 0;

  /// Offset behind `rings` of the ring to `consumer`. The one to the supervisor comes first, near
  /// the header and the holds: what a party of a star touches costs it few pages, few page tables,
  /// and whoever looks at it few page faults.
  static constexpr std::uint64_t ring_offset(PartyId producer, PartyId consumer, Lane lane) {
    const std::uint64_t near = lanes_bytes(ring_slots(producer, 0));
    const std::uint64_t far = lanes_bytes(ring_slots(producer, first_client));
    const std::uint64_t place = consumer == supervisor_party  ? 0
                                : consumer < supervisor_party ? consumer + 1
                                                              : consumer;
    const std::uint64_t before = place < first_client ? place : first_client;
    return before * near + (place - before) * far +
           static_cast<unsigned>(lane) * ring_slots(producer, consumer) * sizeof(Slot);
  }
  static constexpr std::uint64_t rings_bytes(PartyId producer) {
    return first_client * lanes_bytes(ring_slots(producer, 0)) +
           clients_max * lanes_bytes(ring_slots(producer, first_client));
  }

 private:
  /// All lanes of one link: whole pages.
  static constexpr std::uint64_t lanes_bytes(std::uint32_t slots) {
    return page_up(lanes_used * slots * sizeof(Slot));
  }
};

constexpr SegmentLayout segment_layout(PartyId owner, std::uint32_t hold_count,
                                       std::uint64_t extension_bytes) {
  SegmentLayout at;
  at.hold_count = hold_count;
  at.cursors = 4096;
  at.recorder = at.cursors + page_up(sizeof(CursorRow) * parties_max);
  at.holds = at.recorder + page_up(sizeof(FlightRecorder));
  at.rings = at.holds + page_up(sizeof(Hold) * hold_count);
  at.regions = at.rings + SegmentLayout::rings_bytes(owner);
  at.extension = at.regions + page_up(sizeof(Word) * regions_max);
  at.size_bytes = at.extension + page_up(extension_bytes);
  return at;
}

constexpr SegmentLayout party_layout(PartyId owner) {
  return segment_layout(owner, party_holds_max, 0);
}

}  // namespace micro_swarm

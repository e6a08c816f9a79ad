#pragma once

// The tables only the supervisor writes, behind the common part of its segment. Bytes only.
// Everybody maps them read-only; a new supervisor takes over the same memory through the one
// writable map that root keeps. What a death leaves: see each table, and supervisor/adoption.hpp.

#include "shm/cache_data.hpp"
#include "shm/segment_data.hpp"
#include "shm/task_record_data.hpp"
#include "shm/topic_data.hpp"

namespace micro_swarm {

/// One row per party id. `roster` is the protocol's word; the rest is what a new supervisor must
/// know to adopt a running party. Stored before the act they announce ("intent before effect").
enum class PartyPhase : std::uint32_t {
  none = 0,
  starting,    ///< asked for; its socket is kept by root; not yet registered
  live,        ///< registered, roster published
  succeeding,  ///< dead; its successor is being prepared or waits for its backoff
  gave_up,     ///< dead and not restarted: the supervisor is its heir
};
constexpr std::uint32_t stored(PartyPhase phase) { return static_cast<std::uint32_t>(phase); }
/// What somebody wants of an agent; a new supervisor goes on with it.
enum class AgentIntent : std::uint32_t {
  stay = 0,
  renew_due,  ///< to be replaced when it is its turn
  renewing,   ///< told to finish what it has; a successor follows
  stopping,   ///< told to finish, nobody follows; with PartyPhase::gave_up: it has stopped
};
constexpr std::uint32_t stored(AgentIntent intent) { return static_cast<std::uint32_t>(intent); }
struct PartyRow {
  Word roster;  ///< RosterWord
  std::uint32_t phase;
  std::uint16_t incarnation;  ///< of the life that is starting or live
  std::uint16_t kind;         ///< index into kinds[], agents only
  std::int32_t pid;           ///< 0 = not known yet
  std::uint32_t restarts;
  std::uint64_t spawned_ns;
  std::uint64_t live_ns;
  std::uint64_t not_before_ns;  ///< phase succeeding: end of the backoff
  std::uint64_t deaths;
  std::uint32_t intent;  ///< AgentIntent
  std::uint32_t reserved;
};
static_assert(sizeof(PartyRow) == 64);

/// One memory bank. `word` says whose it is; sizes are constant while it is not free.
/// Order: sizes and serial, then `word`. A bank whose `word` is reserved is not kept by root yet.
enum class BankState : std::uint8_t {
  free = 0,
  reserved,  ///< granted, its memory not handed in yet
  live,      ///< region words lie in the owner's (or its successor's) segment
  heired,    ///< region words lie in heir_regions[]; nobody allocates from it any more
};
struct BankWord {
  std::uint64_t word = 0;
  static constexpr BankWord make(BankState state, PartyId owner, Incarnation incarnation) {
    return BankWord{(static_cast<std::uint64_t>(state) << 32) | (std::uint64_t{owner} << 16) |
                    incarnation};
  }
  constexpr BankState state() const { return static_cast<BankState>(word >> 32); }
  constexpr PartyId owner() const { return static_cast<PartyId>((word >> 16) & 0xffff); }
  constexpr Incarnation incarnation() const { return static_cast<Incarnation>(word & 0xffff); }
};
struct BankRow {
  Word word;
  std::uint32_t slots;   ///< 1..bank_slots_max
  std::uint32_t serial;  ///< times this row was used: start of its generations
  std::uint64_t region_bytes;
  std::uint64_t request;  ///< the owner's request number: granting is idempotent
};
static_assert(sizeof(BankRow) == 32);

/// First generation of a bank's regions: rows are used again, generations are not.
constexpr std::uint32_t first_generation(std::uint32_t serial) {
  return (serial << 12) & Token::generation_mask;
}

inline constexpr std::uint32_t capabilities_max = 256;
struct CapabilityName {
  char text[32];  ///< NUL-terminated; empty = unused
};

/// What the supervisor is heir to, per party: the dead party's holds and cursors, copied as
/// `inherit` says. Its region words are in heir_regions.
struct HeirArea {
  Word in_hand;
  CursorRow cursors[parties_max];
  Hold holds[party_holds_max];
};

/// What the swarm has done since root started; survives supervisors. Each is one store by the
/// supervisor, so a death loses at most the one increment under way.
enum class Counter : std::uint32_t {
  tasks_accepted,
  tasks_refused,
  tasks_duplicate,  ///< submissions seen again after a reconnect or a new supervisor
  tasks_repeated,   ///< submissions with the idempotency key of an earlier one
  tasks_dispatched,
  tasks_done,
  tasks_failed,
  tasks_cancelled,
  tasks_timed_out,
  tasks_dead_letter,
  tasks_rerun,        ///< went back to ready because their agent died
  tasks_retried,      ///< their attempt failed and they wait for the next
  tasks_requeued,     ///< dead letters that somebody wanted tried again
  tasks_shed,         ///< ended to make room for more wanted ones
  dispatches_redone,  ///< republished by a new supervisor
  completions_stale,  ///< named another attempt than the record; dropped
  results_delivered,
  results_evicted,  ///< given up for want of room
  results_expired,  ///< nobody fetched them in tasks.result_ttl_ms
  agents_died,
  agents_restarted,
  agents_renewed,  ///< ended because they were to be replaced: worn out, or somebody asked
  agents_stopped,  ///< ended as asked, with no successor
  agents_killed_hung,
  agents_killed_late,  ///< cancelled or timed out, and did not stop in its grace
  agents_evicted,      ///< lied: malformed words or messages
  strays_killed,
  clients_attached,
  clients_refused,
  clients_left,
  messages_malformed,
  banks_granted,
  banks_refused,
  banks_returned,
  tokens_released,
  quota_refusals,     ///< banks refused because their owner has as much as it may have
  quota_soft_limits,  ///< times a party came to four fifths of its quota
  transfers,          ///< regions taken in for another party
  transfers_refused,  ///< of those, given back to whoever sent them
  transfers_dropped,  ///< neither side took them: they went home
  payloads_compressed,
  payload_bytes_before,  ///< of those, as their clients say
  payload_bytes_after,   ///< of those, as they lie in the pool
  payload_compress_ns,   ///< of parties that are gone; the others have it in their segments
  payload_unpack_ns,     ///< likewise
  publications,          ///< regions taken in for a subscriber
  publications_dropped,  ///< of those, not delivered: it does not take what waits, or has gone
};
inline constexpr std::uint32_t counters_max = 64;

/// A template process, by kind number.
enum class TemplatePhase : std::uint32_t { none = 0, loading, ready, failed };
struct TemplateRow {
  TemplatePhase phase;
  std::int32_t pid;
};
inline constexpr std::uint32_t template_rows = 64;

/// Where a region goes that one party hands to another. The right to it is in the hold of the same
/// number behind first_delivery_hold(); the row counts while that carries a token. Everything is
/// stored before the token is, and `way` once more when the region goes back: one store.
struct DeliveryWay {  // {refusal:8, from:16, to:16}
  std::uint64_t word = 0;
  static constexpr DeliveryWay make(PartyId from, PartyId to, std::uint8_t refusal) {
    return DeliveryWay{(std::uint64_t{refusal} << 32) | (std::uint64_t{from} << 16) | to};
  }
  constexpr std::uint8_t refusal() const { return static_cast<std::uint8_t>(word >> 32); }
  constexpr PartyId from() const { return static_cast<PartyId>((word >> 16) & 0xffff); }
  constexpr PartyId to() const { return static_cast<PartyId>(word & 0xffff); }
};
struct DeliveryRow {
  Word way;             ///< DeliveryWay
  std::uint64_t tag;    ///< the sender's
  std::uint64_t order;  ///< grows: what came first goes first
  std::uint64_t size_bytes;
  TopicName topic;  ///< none: it was sent to this party by name
};
inline constexpr std::uint32_t delivery_rows = 256;

/// How many rows of agents belong to a kind, and how many kinds have theirs: one store, so that no
/// death leaves a kind with some of its first rows.
struct AgentRowsWord {
  Word word;
  static constexpr std::uint64_t make(std::uint32_t rows, std::uint32_t kinds) {
    return (std::uint64_t{kinds} << 32) | rows;
  }
  static constexpr std::uint32_t rows(std::uint64_t word) {
    return static_cast<std::uint32_t>(word);
  }
  static constexpr std::uint32_t kinds(std::uint64_t word) {
    return static_cast<std::uint32_t>(word >> 32);
  }
};

struct SupervisorTables {
  Word epoch;         ///< how many supervisors this swarm has had
  Word spin_ns;       ///< how long a waiter may spin right now; 0 when the cores are oversubscribed
  Word accepting;     ///< 1 = submissions are welcome; 0 = draining
  Word region_bytes;  ///< the pool's region size
  Word pool_regions;  ///< the pool's budget
  Word leased_regions;
  /// Clients compress payloads of so many bytes and more; 0 = none (memory.compression_*).
  Word compression_threshold_bytes;
  Word compression_codec;  ///< Codec
  Word memory_guard;       ///< 1 = parties protect what they do not hold (memory.guard)
  Word root_pid;
  Word supervisor_pid;
  Word started_ns;  ///< CLOCK_MONOTONIC of the swarm's start
  Word counters[counters_max];
  TemplateRow templates[template_rows];
  PartyRow parties[parties_max];
  BankRow banks[banks_max];
  CapabilityName capabilities[capabilities_max];
  Word heir_regions[regions_max];
  HeirArea heirs[parties_max];
  DeliveryRow deliveries[delivery_rows];
  AgentRowsWord agent_rows;
  TopicRow topics[topics_max];
  // TaskRecord[task_capacity], TaskOptionsRow[task_capacity] and TaskDependencies[task_capacity]
  // follow, then CacheSettingsRow and CacheRow[cache_entries], each at the start of a page
  // (SupervisorExtension)
};
static_assert(std::is_standard_layout_v<SupervisorTables>);

/// Where the tables of tasks lie, from the start of SupervisorTables. The memory is sparse: of a
/// record that was never used no page exists, of options and dependencies only where a task had
/// some. For 10,000 tasks: 1.8 MiB of records, up to 1.7 MiB of options, 4.9 MiB of dependencies.
struct SupervisorExtension {
  std::uint64_t records = 0;
  std::uint64_t options = 0;
  std::uint64_t dependencies = 0;
  std::uint64_t cache_settings = 0;
  std::uint64_t cache_rows = 0;
  std::uint64_t bytes = 0;
};
constexpr SupervisorExtension supervisor_extension(std::uint32_t task_capacity,
                                                   std::uint32_t cache_entries = 0) {
  SupervisorExtension at;
  at.records = page_up(sizeof(SupervisorTables));
  at.options = at.records + page_up(std::uint64_t{task_capacity} * sizeof(TaskRecord));
  at.dependencies = at.options + page_up(std::uint64_t{task_capacity} * sizeof(TaskOptionsRow));
  at.cache_settings =
      at.dependencies + page_up(std::uint64_t{task_capacity} * sizeof(TaskDependencies));
  at.cache_rows = at.cache_settings + page_up(sizeof(CacheSettingsRow));
  at.bytes = at.cache_rows + page_up(std::uint64_t{cache_entries} * sizeof(CacheRow));
  return at;
}

/// The supervisor's holds: for each task one for its payload and one for its result; one for each
/// delivery; those of the cache; and, the last ones, these for tokens that only pass through.
inline constexpr std::uint32_t transit_holds = 256;
constexpr std::uint32_t first_delivery_hold(std::uint32_t task_capacity) {
  return 2 * task_capacity;
}
constexpr std::uint32_t first_cache_hold(std::uint32_t task_capacity) {
  return first_delivery_hold(task_capacity) + delivery_rows;
}
constexpr SegmentLayout supervisor_layout(std::uint32_t task_capacity,
                                          std::uint32_t cache_entries = 0) {
  return segment_layout(
      supervisor_party,
      first_cache_hold(task_capacity) + cache_holds(cache_entries) + transit_holds,
      supervisor_extension(task_capacity, cache_entries).bytes);
}

}  // namespace micro_swarm

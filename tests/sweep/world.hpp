#pragma once

// A small world of parties on one shared mapping: A owns regions, B and C hold tokens, S is the
// supervisor that relays and inherits. Its words are the production words, laid out compactly so
// that the whole of it can be copied and hashed at every instruction; the code that works on them
// is the production code. C is not linked with A: its tokens go home through S.
//
// Writer of each part: the party it belongs to, as in the real segments. `Outside` stands for the
// effects of message handlers; it survives every death.

#include <sys/mman.h>

#include <array>
#include <boost/test/unit_test.hpp>
#include <cassert>
#include <cstring>
#include <span>
#include <vector>

#include "ipc/transfer.hpp"
#include "shm/recovery.hpp"
#include "tests/sweep/stepper.hpp"

namespace micro_swarm::sweep {

inline constexpr PartyId A = 0;
inline constexpr PartyId B = 1;
inline constexpr PartyId C = 2;
inline constexpr PartyId S = supervisor_party;
inline constexpr unsigned party_count = 4;
inline constexpr std::array<PartyId, party_count> everybody = {A, B, C, S};
constexpr unsigned place_of(PartyId p) { return p == S ? 3 : p; }

inline constexpr unsigned lives_max = 3;
inline constexpr unsigned hold_count = 6;
inline constexpr unsigned region_count = 4;
inline constexpr unsigned world_lanes = 2;  ///< data and release
inline constexpr unsigned world_slots = ring_slots(A, S);
inline constexpr unsigned messages_max = 256;

/// Whose bank a region lies in.
constexpr PartyId owner_of(RegionIndex region) { return region < 2 ? A : region == 2 ? B : C; }

/// One life of a party: the words of its segment.
struct LifeWords {
  Word in_hand;
  CursorRow cursors[parties_max];
  Hold holds[hold_count];
  Word regions[region_count];
  Slot rings[party_count][world_lanes][world_slots];
};

struct HeirWords {
  Word in_hand;
  CursorRow cursors[parties_max];
  Hold holds[hold_count];
};

/// What handlers did, and the numbers of messages.
struct Outside {
  std::uint64_t next_message;
  std::uint32_t handled[messages_max][party_count];
};

struct WorldWords {
  LifeWords lives[party_count][lives_max];  ///< by incarnation - 1; S has one life's memory only
  Word roster[party_count];
  HeirWords heirs[party_count];
  Word heir_regions[region_count];
  Outside outside;
};

/// Where the words of a party lie now: in its own segment, or in S's heir area.
struct PartyWords {
  Word* in_hand = nullptr;
  CursorRow* cursors = nullptr;
  Hold* holds = nullptr;
  Word* regions = nullptr;
};

class World {
 public:
  World() {
    void* memory = ::mmap(nullptr, sizeof(WorldWords), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    BOOST_REQUIRE(memory != MAP_FAILED);
    words_ = static_cast<WorldWords*>(memory);
    reset();
  }
  ~World() { ::munmap(words_, sizeof(WorldWords)); }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  /// Everybody in its first life, nothing sent.
  void reset() const {
    std::memset(static_cast<void*>(words_), 0, sizeof(WorldWords));
    for (const PartyId p : everybody) {
      store(roster(p), RosterWord::make(RosterState::live, 1).word);
      for (const PartyId producer : everybody)
        for (unsigned lane = 0; lane < world_lanes; ++lane)
          store(life(p, 1).cursors[producer].lane[lane], Cursor::make(1, 0).word);
    }
    words_->outside.next_message = 1;
  }

  std::byte* bytes() const { return reinterpret_cast<std::byte*>(words_); }
  static constexpr std::size_t size_bytes() { return sizeof(WorldWords); }

  Word& roster(PartyId p) const { return words_->roster[place_of(p)]; }
  RosterWord roster_of(PartyId p) const { return RosterWord{load(roster(p))}; }
  bool is_live(PartyId p) const { return roster_of(p).state() == RosterState::live; }
  Incarnation incarnation(PartyId p) const { return roster_of(p).incarnation(); }

  LifeWords& life(PartyId p, Incarnation incarnation) const {
    assert(incarnation >= 1 && incarnation <= lives_max);  // cheap: it runs inside operations
    return words_->lives[place_of(p)][incarnation - 1];
  }
  HeirWords& heir(PartyId p) const { return words_->heirs[place_of(p)]; }
  Word* heir_regions() const { return words_->heir_regions; }

  PartyWords words_of_life(PartyId p, Incarnation incarnation) const {
    LifeWords& words = life(p, incarnation);
    return {&words.in_hand, words.cursors, words.holds, words.regions};
  }
  PartyWords words_of_heir(PartyId p) const {
    HeirWords& words = heir(p);
    return {&words.in_hand, words.cursors, words.holds, words_->heir_regions};
  }
  /// Whose words count for p, as the roster says.
  PartyWords words_of(PartyId p) const {
    return is_live(p) ? words_of_life(p, incarnation(p)) : words_of_heir(p);
  }

  /// Who sends where p's messages are sent: p itself, or S once it is p's heir.
  PartyId sender_for(PartyId p) const { return is_live(p) ? p : S; }

  const Slot* ring_slots_of(PartyId producer, Incarnation incarnation, PartyId consumer,
                            Lane lane) const {
    return life(producer, incarnation).rings[place_of(consumer)][static_cast<unsigned>(lane)];
  }
  Word& cursor(PartyId consumer, PartyId producer, Lane lane) const {
    return words_of(consumer).cursors[producer].lane[static_cast<unsigned>(lane)];
  }

  RingWriter writer(PartyId sender, PartyId target, Lane lane) const {
    const Incarnation own = incarnation(sender);
    Slot* slots = life(sender, own).rings[place_of(target)][static_cast<unsigned>(lane)];
    return {slots, world_slots, &cursor(target, sender, lane), own, find_tail(slots, world_slots)};
  }
  RingReader reader(PartyId receiver, PartyId producer, Lane lane) const {
    Word& at = cursor(receiver, producer, lane);
    if (load(at) == 0) store(at, Cursor::make(1, 0).word);  // it has never looked at this ring
    return {ring_slots_of(producer, Cursor{load(at)}.incarnation(), receiver, lane), world_slots,
            &at};
  }

  RecoveryMaps maps() const {
    return {[this](PartyId producer, Incarnation incarnation, PartyId consumer,
                   Lane lane) -> const Slot* {
      if (incarnation == 0 || incarnation > lives_max || static_cast<unsigned>(lane) >= world_lanes)
        return nullptr;
      return ring_slots_of(producer, incarnation, consumer, lane);
    }};
  }

  /// The parts of the world that `actor` may write: its own lives' words, for S the tables, and
  /// what handlers do to the outside.
  std::vector<std::span<const std::byte>> writable_by(PartyId actor) const {
    std::vector<std::span<const std::byte>> parts;
    const auto add = [&parts](const auto& part) {
      parts.push_back(std::as_bytes(std::span(&part, 1)));
    };
    add(words_->outside);
    add(words_->roster);  // S stores it when the successor says that it is ready
    if (actor == S) {
      add(life(S, 1));
      add(words_->heirs);
      add(words_->heir_regions);
    } else {
      for (Incarnation i = incarnation(actor); i <= lives_max && i <= incarnation(actor) + 1; ++i)
        add(life(actor, i));
    }
    return parts;
  }

  /// A message's number travels in its first inline word.
  SlotBody new_message() const {
    SlotBody body;
    body.inline_bytes = 8;
    body.inline_data[0] = words_->outside.next_message++;
    return body;
  }
  /// The effect of p's handler (or of S handling in p's place).
  void handle(PartyId p, const SlotBody& body) const {
    ++words_->outside.handled[body.inline_data[0] % messages_max][place_of(p)];
  }
  std::uint32_t times_handled(PartyId p, const SlotBody& body) const {
    return words_->outside.handled[body.inline_data[0] % messages_max][place_of(p)];
  }

  static bool linked(PartyId a, PartyId b) { return !((a == A && b == C) || (a == C && b == A)); }
  Hold& empty_hold(const PartyWords& words) const {
    for (unsigned k = 0; k < hold_count; ++k)
      if (load(words.holds[k].token) == 0) return words.holds[k];
    BOOST_FAIL("no hold is free");
    return words.holds[0];
  }
  /// The regions of p's banks.
  static std::vector<RegionIndex> regions_of(PartyId p) {
    std::vector<RegionIndex> mine;
    for (RegionIndex i = 0; i < region_count; ++i)
      if (owner_of(i) == p) mine.push_back(i);
    return mine;
  }

 private:
  WorldWords* words_ = nullptr;
};

/// A copy of a world's memory.
inline Snapshot snapshot(const World& world) {
  return Snapshot(world.bytes(), world.bytes() + World::size_bytes());
}
inline void restore(const World& world, const Snapshot& copy) {
  std::memcpy(world.bytes(), copy.data(), copy.size());
}

/// The world for an operation of `actor`, from how it stands now.
inline SharedMemory memory_of(const World& world, PartyId actor) {
  SharedMemory memory;
  memory.save = [&world] { return snapshot(world); };
  memory.load = [&world](const Snapshot& copy) { restore(world, copy); };
  memory.watched = world.writable_by(actor);
  memory.others_are_untouched = [&world, parts = memory.watched, start = snapshot(world)] {
    Snapshot now = snapshot(world);
    for (const auto part : parts) {
      const auto at = part.data() - world.bytes();
      std::memcpy(now.data() + at, start.data() + at, part.size());
    }
    return now == start;
  };
  return memory;
}

}  // namespace micro_swarm::sweep

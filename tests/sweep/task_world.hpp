#pragma once

// One supervisor, one agent, one client on real segments, for the life of a task: the supervisor's
// side is the production code (Tasks, Banks, Tokens, Succession), rebuilt from memory after each
// death as a new supervisor does it; agent and client are the fewest lines that submit, run, read
// results and give tokens back. Nobody else maps the segments, so this process may write them all.

#include <map>
#include <memory>

#include "shm/segment.hpp"
#include "supervisor/parties.hpp"
#include "supervisor/succession.hpp"
#include "tests/sweep/stepper.hpp"

namespace micro_swarm::sweep {

inline constexpr PartyId agent_party = 0;
inline constexpr PartyId client_party = first_client;
inline constexpr std::uint32_t client_bank = 0;
inline constexpr std::uint32_t agent_bank = 1;
inline constexpr std::uint32_t task_capacity = 4;
inline constexpr std::uint16_t known_capability = 0;
inline constexpr std::uint16_t unknown_capability = 7;

/// A supervisor's process: everything that is not in shared memory.
class Brain {
 public:
  Brain(const Config& config, SegmentView segment, int agent_fd, int client_fd, int client_bank_fd);

  /// What a new supervisor does before it serves anybody.
  void adopt();
  void agent_up();
  /// One look at everybody's rings, and at what waits for space.
  bool serve();

  Tasks& tasks() { return *tasks_; }
  Peer& agent() { return context_->peers[agent_party]; }
  Peer& client() { return context_->peers[client_party]; }
  SegmentView segment() const { return context_->segment; }

 private:
  int client_bank_fd_;
  std::unique_ptr<SupervisorContext> context_;
  std::unique_ptr<Banks> banks_;
  std::unique_ptr<Tokens> tokens_;
  std::unique_ptr<Deliveries> deliveries_;
  std::unique_ptr<Tasks> tasks_;
  std::unique_ptr<Succession> succession_;
};

/// What an operator does: asks for every dead letter to be tried again.
void requeue_dead_letters(Brain& supervisor);

class TaskWorld {
 public:
  TaskWorld();

  /// A supervisor as it runs: adopted, the agent known to it.
  std::unique_ptr<Brain> running_supervisor() const;
  /// A supervisor that has just been forked.
  std::unique_ptr<Brain> new_supervisor() const;

  // ---- the client ----
  void submit(std::uint64_t number, bool with_region, std::uint16_t capability = known_capability);
  /// One message; payloads that are not inline lie in its region.
  struct BatchTask {
    bool with_region = false;
    std::uint16_t capability = known_capability;
    std::vector<std::uint64_t> depends_on = {};  ///< numbers
    std::uint16_t retries = 0;
  };
  void submit_batch(std::uint64_t first, const std::vector<BatchTask>& tasks);
  /// Hands the region `tag` (or one more right to it) to `target`.
  void transfer(std::uint64_t tag, PartyId target);
  /// Reads results and releases their tokens; collects tokens that come home.
  bool client_works();

  // ---- the agent ----
  /// Runs what was dispatched and answers, with a region of its own where the payload was one.
  bool agent_works();

  /// It dies with this task in hand and never began with what else it was given. The task is a dead
  /// letter, and its client knows.
  void agent_dies_with(std::uint64_t number);

  /// Everybody works until nothing moves. Returns what is violated, empty = nothing.
  std::string run_to_quiet(Brain& supervisor);

  SharedMemory memory() const;

  SegmentView supervisor_segment() const { return supervisor_.view(); }
  SegmentView client_segment() const { return client_.view(); }
  SegmentView agent_segment() const { return agent_.view(); }

 private:
  RingWriter writer(const Segment& from, PartyId party, Lane lane) const;
  RingReader reader(const Segment& to, PartyId party, Lane lane) const;
  /// The next message of its ring is a transfer: notes it and sends the right home.
  void receive_transfer(const Segment& at, PartyId party, RingReader& ring);
  /// The right that the next message of its ring brings: taken into the hold, and sent home.
  void take_and_send_home(const Segment& at, PartyId party, RingReader& ring,
                          std::uint64_t hold_number);
  bool collect(const Segment& owner, PartyId party);
  std::string check() const;
  std::string end_dead_letters(Brain& supervisor);
  /// The results that the task depends on are there for its agent to read.
  bool inputs_are_there(TaskId task) const;

  Config config_;
  Segment supervisor_;
  Segment agent_;
  Segment client_;
  UniqueFd client_bank_;
  Mapping client_memory_;

 public:
  /// What has been seen outside. Part of the snapshot: it is put back with the memory.
  struct Seen {
    std::map<std::uint64_t, int> results;     ///< by the client's number
    std::map<std::uint64_t, int> executions;  ///< by the number in the payload
    std::map<std::uint64_t, int> wrong;       ///< results that are not the payload's answer
    std::vector<std::uint64_t> submitted;
    std::vector<std::uint64_t> transferred;         ///< tags
    std::map<std::uint64_t, int> arrived;           ///< by tag, back to the sender included
    std::map<PartyId, std::uint64_t> last_arrived;  ///< tags arrive in order
    std::vector<std::uint64_t> to_be_refused;
    std::vector<std::uint64_t> to_fail;         ///< the agent says so
    std::vector<std::uint64_t> to_fail_once;    ///< the agent says so of the first attempt
    std::vector<std::uint64_t> to_be_doomed;    ///< never run: what they depend on fails
    std::vector<std::uint64_t> to_be_requeued;  ///< a dead letter that somebody wants tried again
    std::vector<std::uint64_t> to_stay_dead;    ///< a dead letter whose payload is given up
  };
  mutable Seen seen;
};

}  // namespace micro_swarm::sweep

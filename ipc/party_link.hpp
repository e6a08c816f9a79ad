#pragma once

// A party's side of its link to the supervisor: what agents and clients have in common. Handshake,
// rings, holds, banks, bell. One thread uses it, except for ring_self() and the socket (see there).
//
//   open():  welcome -> own segment, bell, inheritance of a predecessor   (nobody has seen it yet)
//   announce():  registered ->      ... the supervisor checks, keeps, and stores the roster word
//   admitted():  the roster names this life: from here on it may send and receive
//
// Dying anywhere before the roster store leaves nothing behind: the next life starts from the same
// predecessor.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ipc/bank_map.hpp"
#include "ipc/bank_owner.hpp"
#include "ipc/bell.hpp"
#include "ipc/hold_set.hpp"
#include "ipc/party_socket.hpp"
#include "ipc/ring.hpp"
#include "shm/segment.hpp"

namespace micro_swarm {

/// What an agent's process can make before it is told who it is. Each part may be missing: then it
/// is made when the welcome arrives.
struct PreparedParty {
  Segment supervisor;  ///< the map of the supervisor's, which is the same for a swarm's whole life
  Segment own;         ///< nameless
  UniqueFd bell_fd;
  Mapping bell;

  /// Makes `own` and the bell.
  static Result<PreparedParty> make();
};

class PartyLink {
 public:
  /// Waits up to `timeout_ms` for `welcome` on `socket`, then makes this life's segment and bell.
  /// Errors: refused (with the supervisor's text), not_running (closed), protocol, timed_out,
  /// system.
  static Result<std::unique_ptr<PartyLink>> open(UniqueFd socket, int timeout_ms,
                                                 PreparedParty prepared = {});
  PartyLink(const PartyLink&) = delete;
  PartyLink& operator=(const PartyLink&) = delete;

  /// Sends `registered`; again after `new_supervisor` while not admitted.
  Result<void> announce();
  bool admitted() const noexcept;
  /// Once after admitted(): closes descriptors nobody needs any more, releases what was inherited.
  void begin();

  PartyId party() const noexcept { return party_; }
  Incarnation incarnation() const noexcept { return incarnation_; }
  const SegmentView& own() const noexcept { return own_.view(); }
  const SegmentView& supervisor() const noexcept { return supervisor_.view(); }
  const SupervisorTables& tables() const noexcept { return supervisor_.view().tables(); }

  RingReader& data_in() noexcept { return data_in_; }
  RingWriter& data_out() noexcept { return data_out_; }
  HoldSet& holds() noexcept { return holds_; }
  BankOwner& banks() noexcept { return *banks_; }

  /// Wakes the supervisor if it sleeps: once after publishing, however many messages.
  void ring_supervisor() noexcept;
  /// Any thread: wakes the one that waits on this party's bell.
  void ring_self() noexcept { ring_bell(own().header().asleep, *bell_page()); }
  /// Spins as long as the supervisor allows just now, then parks until rung or `timeout_ns` passed.
  /// `may_spin` false: parks at once.
  template <class HasWork>
  bool wait(std::uint64_t timeout_ns, HasWork&& has_work, bool may_spin = true) {
    return wait_on_bell(own().header().asleep, *bell_page(), may_spin ? load(tables().spin_ns) : 0,
                        timeout_ns, std::forward<HasWork>(has_work));
  }

  /// The party socket, for receiving; sends go through send(). Any thread.
  int socket() const noexcept { return socket_.get(); }
  Result<void> send(PartyMessage message, std::span<const int> fds = {}) const;

  /// Deals with what concerns banks, and with `new_supervisor` and `trim`. False: another kind.
  bool take(ReceivedPartyMessage& received);

  bool releases_ready() const noexcept { return release_in_.ready(); }
  /// Takes the tokens that came home; returns how many messages.
  std::uint32_t drain_releases() noexcept;
  /// Gives up the token in hold `k`: at home at once, else towards the supervisor. Never blocks:
  /// with a full ring the token stays in its hold until retry_releases(). True: it is the
  /// supervisor's to take now, who may have to be woken.
  bool release(std::uint32_t k);
  bool has_waiting_releases() const noexcept { return !waiting_releases_.empty(); }
  void retry_releases();

  /// The bytes a token is the right to read, its own regions included. As BankMap::find.
  Result<std::optional<std::span<const std::byte>>> memory_of(Token token,
                                                              std::size_t size_bytes) const;

  /// As BankMap::pin: of the banks of others.
  std::shared_ptr<void> pin_mappings() const noexcept { return map_->pin(); }

  /// Counts input that failed its checks.
  void count_malformed(std::uint64_t messages = 1) noexcept;

  /// Why the supervisor refused the subscription asked for under that number; nullptr: it did not.
  const std::string* topic_refusal(std::uint64_t request) const noexcept {
    return request != 0 && refused_topic_request_ == request ? &topic_refusal_ : nullptr;
  }

  /// How many tokens came from the predecessor.
  std::uint32_t inherited() const noexcept { return inherited_; }

 private:
  PartyLink(UniqueFd socket, const PartyMessage& welcome, UniqueFd eventfd,
            PreparedParty parts) noexcept;
  static Result<std::unique_ptr<PartyLink>> accept(UniqueFd socket, ReceivedPartyMessage& welcome,
                                                   PreparedParty parts);
  Result<void> inherit_from(UniqueFd segment_fd, Incarnation incarnation);
  void start_cursors(const PartyMessage& welcome);
  void check_cursors();
  void open_rings();
  bool pass_home(std::uint32_t k);
  BellPage* bell_page() const noexcept { return reinterpret_cast<BellPage*>(bell_.data()); }

  PartyId party_;
  Incarnation incarnation_;
  UniqueFd socket_;
  Segment supervisor_;
  UniqueFd eventfd_;
  Segment own_;
  UniqueFd bell_fd_;
  Mapping bell_;

  RingReader data_in_;
  RingReader release_in_;
  RingWriter data_out_;
  RingWriter release_out_;
  HoldSet holds_;
  std::optional<BankOwner> banks_;
  std::optional<BankMap> map_;
  std::vector<std::uint32_t> waiting_releases_;
  std::uint64_t refused_topic_request_ = 0;
  std::string topic_refusal_;
  std::uint32_t inherited_ = 0;
  bool has_predecessor_ = false;
};

}  // namespace micro_swarm

#pragma once

// What agents and clients have in common: their socket, their registration, and the one store that
// makes a life count (the roster word). Who is started or attached, and what follows a death, is
// in agents.hpp, clients.hpp and succession.hpp.

#include <functional>

#include "supervisor/banks.hpp"
#include "supervisor/context.hpp"

namespace micro_swarm {

class Parties {
 public:
  /// What the layers above want to hear.
  struct Listener {
    std::function<void(Peer&)> published;      ///< the life is live now
    std::function<void(Peer&)> socket_closed;  ///< EOF or a reset
    std::function<void(Peer&)> exited;         ///< its pidfd says so
    std::function<void(Peer&, const std::string& why)> misbehaved;
    std::function<void(Peer&, std::uint64_t number)> pong;
    std::function<void(Peer&, const PartyMessage&)> subscription;
  };

  Parties(SupervisorContext& context, Banks& banks) : c_(context), banks_(banks) {}
  void listen(Listener listener) { on_ = std::move(listener); }

  /// Makes the socket of a new life and puts `welcome` into it. Our end, which is `peer.socket`
  /// from here on, is to be kept with root by `batch`. Returns the party's end. `row.incarnation`
  /// and `row.phase` are stored before.
  Result<UniqueFd> open_socket(Peer& peer, int predecessor_segment_fd,
                               Incarnation predecessor_incarnation, RootBatch& batch);
  void watch_socket(Peer& peer, UniqueFd fd);
  void watch_pidfd(Peer& peer, UniqueFd fd);
  void watch_log_pipe(Peer& peer, UniqueFd fd);
  /// The last line a dead agent wrote, which is logged as every other; empty: none.
  std::string take_last_words(Peer& peer);

  /// A new supervisor meets a life again: its descriptors (any may be missing) are kept until
  /// watch_adopted(), because to watch them takes several system calls each, for hundreds of
  /// parties, and work need not wait for it. The party is greeted then, too. Until then a death of
  /// the party is not noticed; like one a moment later it is found in the descriptors, and what
  /// was dispatched meanwhile runs elsewhere.
  void adopt_descriptors(Peer& peer, UniqueFd socket, UniqueFd pidfd, UniqueFd log_pipe);
  /// Watches what was kept of one more party. False: there is none left.
  bool watch_next_adopted();
  void watch_adopted(Peer& peer);

  /// Forgets the descriptors of a life that is over; its mapping stays for recovery. `batch` has
  /// root forget them too.
  void close_sockets(Peer& peer, RootBatch& batch);
  void close_sockets(Peer& peer);

  /// A new supervisor meets a life that the roster calls live.
  Result<void> adopt_live(Peer& peer, UniqueFd segment_fd);

  std::string label(const Peer& peer) const;

 private:
  void wait_for_exit(Peer& peer, Incarnation incarnation);
  void read_socket(Peer& peer, Incarnation incarnation);
  void handle(Peer& peer, const PartyMessage& message, ReceivedMessage& received);
  void registered(Peer& peer, const PartyMessage& message, ReceivedMessage& received);
  void adopt_pid(Peer& peer, const SegmentHeader& header);
  void publish(Peer& peer, Segment segment, Mapping bell);
  void link_rings(Peer& peer);
  void read_log(Peer& peer);
  bool read_log_once(Peer& peer);
  void read_last_words(Peer& peer);
  void report_dropped_lines(Peer& peer);

  SupervisorContext& c_;
  Banks& banks_;
  Listener on_;
  PartyId next_adopted_ = 0;
};

}  // namespace micro_swarm

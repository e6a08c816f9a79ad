#pragma once

// What every part of the supervisor shares: configuration, its segment, the loop, root, the peers.
// One thread; parts call each other directly and never wait.

#include <array>
#include <boost/asio/io_context.hpp>
#include <memory>
#include <utility>
#include <vector>

#include "common/clock.hpp"
#include "common/config.hpp"
#include "supervisor/event_log.hpp"
#include "supervisor/peer.hpp"
#include "supervisor/root_link.hpp"

namespace micro_swarm {

struct SupervisorContext {
  SupervisorContext(const Config& configuration, SegmentView own_segment, int own_segment_fd,
                    int root_socket, pid_t root_process, std::uint64_t supervisor_epoch)
      : config(configuration),
        segment(own_segment),
        segment_fd(own_segment_fd),
        root(root_socket),
        root_pid(root_process),
        epoch(supervisor_epoch),
        events(supervisor_epoch) {
    for (PartyId p = 0; p < parties_max; ++p) peers[p].id = p;
  }

  const Config& config;
  std::string files_directory;  ///< Endpoint::files_path()
  SegmentView segment;          ///< writable: this process is its one writer
  int segment_fd;               ///< read-only, what parties are given
  UniqueFd bell;                ///< our eventfd; parties write to it when header.asleep says so
  boost::asio::io_context io{1};
  RootLink root;
  pid_t root_pid;
  std::uint64_t epoch;
  EventLog events;
  std::array<Peer, parties_max> peers;
  bool draining = false;

  SupervisorTables& tables() const { return segment.tables(); }
  /// The pool's budget as it is now: it may change while the swarm runs.
  std::uint64_t pool_regions() const { return load(tables().pool_regions); }
  std::uint64_t pool_bytes() const { return pool_regions() * config.memory.region_size; }
  /// What of it parties never get.
  std::uint64_t reserved_regions() const { return config.memory.reserved_of(pool_regions()); }
  PartyRow& row(PartyId p) const { return tables().parties[p]; }
  RosterWord roster(PartyId p) const { return RosterWord{load(row(p).roster)}; }
  void count(Counter counter, std::uint64_t by = 1) const {
    Word& word = tables().counters[static_cast<unsigned>(counter)];
    store(word, load(word) + by);
  }
  std::uint64_t counter(Counter counter) const {
    return load(tables().counters[static_cast<unsigned>(counter)]);
  }
  /// Queues a message to a party and tries to send at once, whether its socket is watched yet or
  /// not: what a dispatch needs must be on its way before the dispatch is. What does not fit goes
  /// when the socket is writable. Order is kept.
  void send(Peer& peer, const PartyMessage& message, UniqueFd fd = {}) {
    if (!peer.has_socket()) return;
    peer.outbox.push_back({message, std::move(fd)});
    flush(peer);
    if (is_client(peer.id)) ring(peer);  // one thread: it looks at its socket when its bell rings
  }
  void flush(Peer& peer);
  /// The party may sleep: something in our segment or a ring is new for it. Its bell is rung by the
  /// next ring_due(): once for all that came together. Dying before that is as dying before this.
  void ring(Peer& peer) {
    if (std::exchange(peer.is_bell_due, true)) return;
    bells_due_.push_back(peer.id);
  }
  /// Rings the bells that are due. A client's at most every client_bell_gap_ns: one that sleeps
  /// with many tasks under way is woken for many results, not for each (as interrupts of a network
  /// card are moderated); the rest stay due. `before_sleep` rings them all.
  void ring_due(std::uint64_t now, bool before_sleep = false);
  bool has_bells_due() const { return !bells_due_.empty(); }
  /// Maps the bell of a life met again, once.
  void map_kept_bell(Peer& peer) const;
  static BellPage* bell_of(const Peer& peer) {
    return reinterpret_cast<BellPage*>(peer.bell.data());
  }

 private:
  static constexpr std::uint64_t client_bell_gap_ns = 50'000;
  void ring_now(Peer& peer, std::uint64_t now);
  std::vector<PartyId> bells_due_;
};

}  // namespace micro_swarm

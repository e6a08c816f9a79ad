#include "supervisor/parties.hpp"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <utility>

#include "common/log.hpp"
#include "supervisor/stray_processes.hpp"

namespace micro_swarm {

std::string Parties::label(const Peer& peer) const {
  if (is_client(peer.id)) return "client " + std::to_string(peer.id);
  return c_.config.agents[c_.row(peer.id).kind].name + "/" + std::to_string(peer.id);
}

Result<UniqueFd> Parties::open_socket(Peer& peer, int predecessor_segment_fd,
                                      Incarnation predecessor_incarnation, RootBatch& batch) {
  auto pair = seqpacket_pair();
  if (!pair) return pair.error();
  PartyMessage welcome{PartyMessageKind::welcome, peer.id, c_.row(peer.id).incarnation};
  welcome.a = c_.config.memory.region_size;
  welcome.c = predecessor_incarnation;
  if (predecessor_incarnation == 0) {
    // Where our rings to this id stand: a former life of the id, to which we are heir, may have
    // consumed some of them.
    const CursorRow& consumed = c_.tables().heirs[peer.id].cursors[supervisor_party];
    welcome.d = Cursor{load(consumed.lane[static_cast<unsigned>(Lane::data)])}.consumed();
    welcome.e = Cursor{load(consumed.lane[static_cast<unsigned>(Lane::release)])}.consumed();
  }
  const int fds[] = {c_.segment_fd, c_.bell.get(), predecessor_segment_fd};
  const std::size_t count = predecessor_segment_fd >= 0 ? 3 : 2;
  if (send_with_fds(pair->first.get(), std::as_bytes(std::span(&welcome, 1)), {fds, count}) < 0)
    return system_error("sending the welcome", errno);
  batch.keep(fd_key::party_socket + peer.id, pair->first.get());
  watch_socket(peer, std::move(pair->first));
  return std::move(pair->second);
}

void Parties::watch_socket(Peer& peer, UniqueFd fd) {
  peer.socket.emplace(c_.io, fd.release());
  peer.waits_to_send = false;
  read_socket(peer, c_.row(peer.id).incarnation);
}

void Parties::watch_pidfd(Peer& peer, UniqueFd fd) {
  peer.pidfd.emplace(c_.io, fd.release());
  wait_for_exit(peer, c_.row(peer.id).incarnation);
}

void Parties::wait_for_exit(Peer& peer, Incarnation incarnation) {
  peer.pidfd->async_wait(WatchedFd::wait_read,
                         [this, &peer, incarnation](boost::system::error_code ec) {
                           if (ec || !peer.pidfd || c_.row(peer.id).incarnation != incarnation)
                             return;
                           // Asio may hand an event of a descriptor that was closed in the same
                           // round to the one that took its place: a death that is acted on must be
                           // one.
                           pollfd death{peer.pidfd->native_handle(), POLLIN, 0};
                           if (::poll(&death, 1, 0) == 1) return on_.exited(peer);
                           wait_for_exit(peer, incarnation);
                         });
}

void Parties::watch_log_pipe(Peer& peer, UniqueFd fd) {
  if (peer.unwatched.log_pipe) peer.log_pipe.emplace(c_.io, peer.unwatched.log_pipe.release());
  read_last_words(peer);
  peer.log_pipe.emplace(c_.io, fd.release());
  read_log(peer);
}

/// Of the life before, or of one that is over: a bounded number, its orphans may go on writing.
void Parties::read_last_words(Peer& peer) {
  for (int i = 0; i < 16 && peer.log_pipe && read_log_once(peer); ++i) {
  }
}

void Parties::adopt_descriptors(Peer& peer, UniqueFd socket, UniqueFd pidfd, UniqueFd log_pipe) {
  peer.unwatched.socket = std::move(socket);
  peer.unwatched.pidfd = std::move(pidfd);
  peer.unwatched.log_pipe = std::move(log_pipe);
}

bool Parties::watch_next_adopted() {
  for (; next_adopted_ < parties_max; ++next_adopted_) {
    Peer& peer = c_.peers[next_adopted_];
    const Peer::Unwatched& kept = peer.unwatched;
    if (!kept.socket && !kept.pidfd && !kept.log_pipe && !kept.bell) continue;
    watch_adopted(peer);
    return true;
  }
  return false;
}

void Parties::watch_adopted(Peer& peer) {
  c_.map_kept_bell(peer);
  Peer::Unwatched kept = std::move(peer.unwatched);
  if (kept.log_pipe) watch_log_pipe(peer, std::move(kept.log_pipe));
  if (kept.pidfd) watch_pidfd(peer, std::move(kept.pidfd));
  if (!kept.socket) return;
  watch_socket(peer, std::move(kept.socket));
  c_.send(peer, PartyMessage{PartyMessageKind::new_supervisor, peer.id, c_.row(peer.id).incarnation,
                             c_.epoch});
}

void Parties::close_sockets(Peer& peer) {
  RootBatch batch;
  close_sockets(peer, batch);
  c_.root.send(batch);
}

void Parties::close_sockets(Peer& peer, RootBatch& batch) {
  peer.socket.reset();
  peer.unwatched.socket.reset();
  batch.drop(fd_key::party_socket + peer.id);
  if (peer.pidfd_number() >= 0) {
    peer.pidfd.reset();
    peer.unwatched.pidfd.reset();
    batch.drop(fd_key::pidfd + peer.id);
  }
  peer.outbox.clear();
  banks_.forget_reader(peer.id);
}

void Parties::read_socket(Peer& peer, Incarnation incarnation) {
  peer.socket->async_wait(
      WatchedFd::wait_read, [this, &peer, incarnation](boost::system::error_code ec) {
        if (ec || !peer.socket || c_.row(peer.id).incarnation != incarnation) return;
        const int socket = peer.socket->native_handle();
        // A bounded number at a time: a party that floods its socket delays nobody else for long.
        for (int i = 0; i < 16; ++i) {
          PartyMessage message;
          ReceivedMessage got =
              receive_with_fds(socket, std::as_writable_bytes(std::span(&message, 1)));
          if (got.size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
          if (got.size == 0 || (got.size < 0 && errno != EMSGSIZE)) return on_.socket_closed(peer);
          if (got.size != static_cast<ssize_t>(sizeof message)) {
            for (int f = 0; f < got.fd_count; ++f) ::close(got.fds[f]);
            c_.count(Counter::messages_malformed);
            return on_.misbehaved(peer, "sent a malformed message on its socket");
          }
          message.text[sizeof message.text - 1] = '\0';
          handle(peer, message, got);
          for (int f = 0; f < got.fd_count; ++f)
            if (got.fds[f] >= 0) ::close(got.fds[f]);
          if (!peer.socket || peer.socket->native_handle() != socket) return;
        }
        read_socket(peer, incarnation);
      });
}

namespace {
UniqueFd take_fd(ReceivedMessage& received, int index) {
  if (index >= received.fd_count) return UniqueFd();
  return UniqueFd(std::exchange(received.fds[index], -1));
}
}  // namespace

void Parties::handle(Peer& peer, const PartyMessage& message, ReceivedMessage& received) {
  switch (message.kind) {
    case PartyMessageKind::registered: return registered(peer, message, received);
    case PartyMessageKind::bank_request: return banks_.requested(peer, message);
    case PartyMessageKind::bank_memory:
      return banks_.memory_arrived(peer, message, take_fd(received, 0));
    case PartyMessageKind::bank_returned: return banks_.returned(peer, message);
    case PartyMessageKind::pong: return on_.pong(peer, message.a);
    case PartyMessageKind::subscription: return on_.subscription(peer, message);
    case PartyMessageKind::leaving: return;  // the closing of its socket follows
    default:
      c_.count(Counter::messages_malformed);
      return on_.misbehaved(peer, "sent a message of unknown kind " +
                                      std::to_string(static_cast<unsigned>(message.kind)));
  }
}

void Parties::registered(Peer& peer, const PartyMessage& message, ReceivedMessage& received) {
  PartyRow& row = c_.row(peer.id);
  const Incarnation incarnation = row.incarnation;
  if (c_.roster(peer.id) == RosterWord::make(RosterState::live, incarnation))
    return;  // repeated to a new supervisor that has adopted it already
  const auto refuse = [&](const std::string& why) {
    PartyMessage refused{PartyMessageKind::refused, peer.id, incarnation};
    why.copy(refused.text, sizeof refused.text - 1);
    c_.send(peer, refused);
    on_.misbehaved(peer, why);
  };
  if (message.a != party_protocol_version)
    return refuse("speaks protocol " + std::to_string(message.a) + ", this supervisor speaks " +
                  std::to_string(party_protocol_version));
  UniqueFd segment_fd = take_fd(received, 0);
  UniqueFd bell_fd = take_fd(received, 1);
  if (!segment_fd || !bell_fd) return refuse("registered without its segment and bell page");
  auto read_only = reopen_read_only(segment_fd.get());
  if (!read_only) return refuse(read_only.error().message);
  auto segment = Segment::attach_party(std::move(*read_only), peer.id, incarnation);
  if (!segment) return refuse(segment.error().message);
  if (auto ok = verify_memfd(bell_fd.get(), bell_page_bytes, SealKind::shared_bell); !ok)
    return refuse("bell page: " + ok.error().message);
  auto bell = Mapping::map(bell_fd.get(), bell_page_bytes, Mapping::Access::read_write);
  if (!bell) return refuse("bell page: " + bell.error().message);
  if (row.pid == 0) adopt_pid(peer, segment->view().header());
  RootBatch batch;
  batch.keep(fd_key::pending_segment + peer.id, segment->fd());
  batch.keep(fd_key::bell + peer.id, bell_fd.get());
  c_.root.send(batch);
  publish(peer, std::move(*segment), std::move(*bell));
}

/// The template's answer was lost with the supervisor that had asked. What the segment says of its
/// owner is believed where the kernel says the same: a child of root, leader of its own session.
void Parties::adopt_pid(Peer& peer, const SegmentHeader& header) {
  ProcessInfo info;
  if (!read_process(header.pid, info) || info.parent != c_.root_pid || info.session != info.pid ||
      info.start_ticks != header.start_time_ticks)
    return;
  UniqueFd pidfd(pidfd_open(header.pid));
  if (!pidfd) return;
  c_.row(peer.id).pid = header.pid;
  c_.root.keep(fd_key::pidfd + peer.id, pidfd.get());
  watch_pidfd(peer, std::move(pidfd));
}

void Parties::publish(Peer& peer, Segment segment, Mapping bell) {
  PartyRow& row = c_.row(peer.id);
  const Incarnation incarnation = row.incarnation;
  // The former life's rings were drained when its death was settled: our cursors may move on. The
  // new life sends nothing before it sees the roster, so doing this twice is the same.
  std::swap(peer.segment, segment);  // unmapped at the end: the newborn waits for the roster
  std::swap(peer.bell, bell);
  peer.unwatched.bell.reset();
  const SegmentView& view = peer.segment.view();
  for (const Lane lane : {Lane::data, Lane::release})
    store(c_.segment.cursor(peer.id, lane), Cursor::make(incarnation, 0).word);
  link_rings(peer);
  store(row.roster, RosterWord::make(RosterState::live, incarnation).word);  // it counts from here
  c_.ring(peer);
  row.phase = stored(PartyPhase::live);
  row.live_ns = now_ns();
  peer.linked = true;
  peer.dead = false;
  peer.exit_status.reset();
  peer.progress_seen = load(view.header().progress);
  peer.progress_at_ns = row.live_ns;
  peer.probe_sent_ns = 0;
  peer.kill_at_ns = 0;
  peer.unheeded_task = 0;
  peer.evicted = false;
  peer.hot = false;
  // A death before this leaves the roster naming a life whose segment is under the pending key: the
  // next supervisor looks there too.
  RootBatch batch;
  batch.move(fd_key::pending_segment + peer.id, fd_key::segment + peer.id);
  c_.root.send(batch);
  on_.published(peer);
}

void Parties::link_rings(Peer& peer) {
  const SegmentView& theirs = peer.segment.view();
  const PartyId p = peer.id;
  const std::uint32_t in_slots = ring_slots(p, supervisor_party);
  const std::uint32_t out_slots = ring_slots(supervisor_party, p);
  peer.data_in = RingReader(theirs.ring(p, supervisor_party, Lane::data), in_slots,
                            &c_.segment.cursor(p, Lane::data));
  peer.release_in = RingReader(theirs.ring(p, supervisor_party, Lane::release), in_slots,
                               &c_.segment.cursor(p, Lane::release));
  const auto writer = [&](Lane lane) {
    Slot* slots = c_.segment.ring(supervisor_party, p, lane);
    return RingWriter(slots, out_slots, &theirs.cursor(supervisor_party, lane), 1,
                      find_tail(slots, out_slots));
  };
  peer.data_out = writer(Lane::data);
  peer.release_out = writer(Lane::release);
}

Result<void> Parties::adopt_live(Peer& peer, UniqueFd segment_fd) {
  auto segment =
      Segment::attach_kept_party(std::move(segment_fd), peer.id, c_.roster(peer.id).incarnation());
  if (!segment) return segment.error();
  peer.segment = std::move(*segment);
  link_rings(peer);
  peer.linked = true;
  peer.progress_seen = load(peer.segment.view().header().progress);
  peer.progress_at_ns = now_ns();
  return {};
}

bool Parties::read_log_once(Peer& peer) {
  std::array<char, 65'536> buffer;  // what a pipe holds
  const ssize_t got = ::read(peer.log_pipe->native_handle(), buffer.data(), buffer.size());
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  const auto line = [&](const std::string& text) {
    report_dropped_lines(peer);
    log::info("{}: {}", label(peer), text);
  };
  if (got <= 0) {
    peer.log_lines.finish(line);
    report_dropped_lines(peer);
    peer.log_pipe.reset();
    c_.root.drop(fd_key::log_pipe + peer.id);
    return false;
  }
  peer.log_lines.take({buffer.data(), static_cast<std::size_t>(got)}, now_ns(), line);
  return true;
}

void Parties::report_dropped_lines(Peer& peer) {
  const std::uint64_t dropped = peer.log_lines.take_unreported();
  if (dropped == 0) return;
  c_.events.add("log_lines_dropped", {{"agent", peer.id},
                                      {"lines", dropped},
                                      {"reason", "it wrote more than 1 MiB of them a second"}});
}

std::string Parties::take_last_words(Peer& peer) {
  read_last_words(peer);
  return peer.log_lines.take_last();
}

void Parties::read_log(Peer& peer) {
  peer.log_pipe->async_wait(WatchedFd::wait_read, [this, &peer](boost::system::error_code ec) {
    if (ec || !peer.log_pipe) return;
    read_log_once(peer);
    if (peer.log_pipe) read_log(peer);
  });
}

}  // namespace micro_swarm

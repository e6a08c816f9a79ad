#include "supervisor/clients.hpp"

#include <unistd.h>

#include <algorithm>

#include "common/log.hpp"

namespace micro_swarm {

namespace {
bool is_vacant(std::uint32_t phase) {
  return phase == stored(PartyPhase::none) || phase == stored(PartyPhase::gave_up);
}
}  // namespace

Result<Clients::Attached> Clients::attach(pid_t pid) {
  if (c_.draining)
    return Error{ErrorCode::refused, "the swarm is stopping and takes no new clients", 0};
  PartyId p = first_client;
  // In turn, so that an id rests before it is used again.
  PartyId best = no_party;
  for (; p < parties_max; ++p)
    if (is_vacant(c_.row(p).phase) && !c_.peers[p].linked &&
        (best == no_party || c_.row(p).incarnation < c_.row(best).incarnation))
      best = p;
  if (best == no_party) {
    c_.count(Counter::clients_refused);
    return Error{ErrorCode::refused,
                 "all " + std::to_string(clients_max) +
                     " client places are taken: close one, or share a client",
                 0};
  }
  Peer& client = c_.peers[best];
  PartyRow& row = c_.row(best);
  const int pidfd = pidfd_open(pid);
  if (pidfd < 0)
    return Error{ErrorCode::refused, "the attaching process " + std::to_string(pid) + " is gone",
                 0};
  row.incarnation = static_cast<std::uint16_t>(row.incarnation + 1);
  if (row.incarnation == 0) row.incarnation = 1;
  row.pid = pid;
  row.spawned_ns = now_ns();
  row.phase = stored(PartyPhase::starting);
  client.dead = false;
  RootBatch batch;
  auto socket = parties_.open_socket(client, -1, 0, batch);
  if (!socket) {
    ::close(pidfd);
    row.phase = stored(PartyPhase::gave_up);
    return socket.error();
  }
  batch.keep(fd_key::pidfd + best, pidfd);
  c_.root.send(batch);
  parties_.watch_pidfd(client, UniqueFd(pidfd));
  return Attached{best, row.incarnation, std::move(*socket)};
}

void Clients::published(Peer&) { c_.count(Counter::clients_attached); }

void Clients::gone(Peer& client) {
  if (client.dead) return;
  client.dead = true;
  settle(client);
}

void Clients::settle(Peer& client) {
  const RosterWord roster = c_.roster(client.id);
  const bool was_live =
      roster == RosterWord::make(RosterState::live, c_.row(client.id).incarnation);
  if (was_live && client.linked) {
    // What it has submitted is accepted; what it has released goes home.
    bool blocked = false;
    while (!blocked && succession_.drain(client, 256, blocked) != 0) {
    }
    if (blocked) {
      if (std::find(unsettled_.begin(), unsettled_.end(), client.id) == unsettled_.end())
        unsettled_.push_back(client.id);
      return;
    }
    client.linked = false;
    client.hot = false;
    c_.count(Counter::payload_compress_ns, load(client.segment.view().header().codec_ns));
  }
  std::erase(unsettled_, client.id);
  parties_.close_sockets(client);
  if (was_live) {
    succession_.become_heir(client);
    c_.count(Counter::clients_left);
  } else {
    c_.row(client.id).phase = stored(PartyPhase::gave_up);
  }
  tasks_.client_gone(client);
}

void Clients::tick(std::uint64_t now) {
  for (const PartyId p : std::vector<PartyId>(unsettled_)) settle(c_.peers[p]);
  for (PartyId p = first_client; p < parties_max; ++p) {
    const PartyRow& row = c_.row(p);
    if (row.phase == stored(PartyPhase::starting) && !c_.peers[p].dead &&
        elapsed_ns(now, row.spawned_ns) > c_.config.supervision.register_timeout_ms * ns_per_ms)
      gone(c_.peers[p]);
  }
}

std::uint32_t Clients::attached() const {
  std::uint32_t count = 0;
  for (PartyId p = first_client; p < parties_max; ++p)
    if (!is_vacant(c_.row(p).phase) && !c_.peers[p].dead) ++count;
  return count;
}

void Clients::adopt(const FdStore& fds) {
  for (PartyId p = first_client; p < parties_max; ++p) {
    PartyRow& row = c_.row(p);
    Peer& client = c_.peers[p];
    if (is_vacant(row.phase)) {
      if (c_.roster(p).state() == RosterState::heir_is_supervisor) succession_.consume_as(client);
      continue;
    }
    const int socket = fds.get(fd_key::party_socket + p);
    const int pidfd = fds.get(fd_key::pidfd + p);
    parties_.adopt_descriptors(client, UniqueFd(socket), UniqueFd(pidfd), UniqueFd());
    if (socket < 0) {
      gone(client);
      continue;
    }
    if (c_.roster(p) == RosterWord::make(RosterState::live, row.incarnation)) {
      row.phase = stored(PartyPhase::live);
      tasks_.client_adopted(client);
    }
  }
}

}  // namespace micro_swarm

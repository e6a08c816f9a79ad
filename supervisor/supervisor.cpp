#include "supervisor/supervisor.hpp"

#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>

#include "common/log.hpp"
#include "ipc/control_channel.hpp"

#include "supervisor/control_verbs.hpp"

namespace micro_swarm {

namespace {
constexpr std::uint64_t busy_tick_ns = 100 * ns_per_ms;
constexpr std::uint64_t idle_tick_ns = ns_per_s;
constexpr std::uint64_t drain_tick_ns = 10 * ns_per_ms;
constexpr std::uint64_t io_interval_ns = 20'000;
constexpr std::uint64_t agents_exit_grace_ns = 2 * ns_per_s;
constexpr std::uint32_t messages_per_look = 32;
constexpr int results_evicted_at_once = 16;
constexpr std::uint32_t quiet_rounds_until_cold = 1024;
constexpr std::uint32_t rounds_between_full_looks = 256;
constexpr std::uint32_t rounds_between_settling = 16;
constexpr std::uint32_t own_bell_key = fd_key::bell + supervisor_party;
}  // namespace

Supervisor::Supervisor(SupervisorBoot boot)
    : boot_(boot),
      kind_changes_(read_kind_changes(boot.fds.get(fd_key::kind_changes))),
      config_(with_changes(boot.config, kind_changes_)),
      c_(config_, boot.segment, boot.segment_fd, boot.root_socket, boot.root_pid, boot.epoch),
      banks_(c_),
      tokens_(c_, banks_),
      deliveries_(c_, banks_, tokens_),
      topics_(c_),
      tasks_(c_, banks_, tokens_),
      cache_(c_, banks_, tokens_),
      succession_(c_, banks_, tasks_, tokens_, deliveries_),
      parties_(c_, banks_),
      agents_(c_, config_.agents, boot.config.agents.size(), std::move(kind_changes_), parties_,
              tasks_, succession_),
      clients_(c_, parties_, tasks_, succession_),
      health_(c_, tasks_,
              [this](Peer& agent, const std::string& why) { agents_.kill(agent, why); }),
      holdings_(c_, banks_, tasks_) {
  c_.files_directory = boot_.endpoint.files_path();
  parties_.listen({
      [this](Peer& p) {
        if (is_client(p.id)) topics_.forget(p.id);  // whoever had this number before
        is_agent(p.id) ? agents_.published(p) : clients_.published(p);
      },
      [this](Peer& p) { is_agent(p.id) ? agents_.socket_closed(p) : clients_.gone(p); },
      [this](Peer& p) { is_agent(p.id) ? agents_.exited(p) : clients_.gone(p); },
      [this](Peer& p, const std::string& why) {
        log::warn("{} {}", parties_.label(p), why);
        c_.count(Counter::agents_evicted);
        is_agent(p.id) ? agents_.kill(p, why) : clients_.gone(p);
      },
      [this](Peer& p, std::uint64_t number) {
        if (is_agent(p.id)) health_.pong(p, number);
      },
      [this](Peer& p, const PartyMessage& message) { topics_.requested(p, message); },
  });
  succession_.set_cache([this](Peer& peer, const SlotBody& body, MessageInHand in_hand) {
    return cache_.handle(peer, body, in_hand);
  });
  banks_.set_give_up_result([this] { return tasks_.evict_one_result(); });
  agents_.set_fatal([this](const Error& error) {
    if (c_.epoch > 1 || drain_ != Drain::no) return;
    // A swarm that cannot even load its models says so and ends, instead of half running.
    log::critical("{}", error.message);
    tell_control_channel(boot_.fds.get(fd_key::control_channel), error);
    quit(to_int(exit_code_of(error.code)));
  });
  publish_facts();
  if (!c_.config.swarm.state_dir.empty()) open_journal();
  if (boot_.epoch == 1)
    start();
  else
    adopt();
}

Supervisor::~Supervisor() = default;

void Supervisor::publish_facts() {
  SupervisorTables& tables = c_.tables();
  if (load(tables.started_ns) == 0) {
    store(tables.region_bytes, c_.config.memory.region_size);
    store(tables.pool_regions, c_.config.memory.pool_size / c_.config.memory.region_size);
    const MemoryConfig& memory = c_.config.memory;
    store(tables.compression_codec, static_cast<std::uint64_t>(memory.compression));
    store(tables.compression_threshold_bytes,
          memory.compression_enabled ? memory.compression_threshold : 0);
    store(tables.memory_guard, c_.config.memory.guard ? 1 : 0);
    store(tables.spin_ns, c_.config.wait.spin_us * 1000ull);
    store(tables.accepting, 1);
    store(tables.started_ns, now_ns());
  }
  store(tables.root_pid, static_cast<std::uint64_t>(c_.root_pid));
  store(tables.epoch, c_.epoch);
  store(tables.supervisor_pid, static_cast<std::uint64_t>(::getpid()));
  // The first supervisor's bell serves all: parties have its descriptor.
  c_.bell = UniqueFd(boot_.fds.get(own_bell_key));
  if (c_.bell) return;
  c_.bell = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  c_.root.keep(own_bell_key, c_.bell.get());
}

/// In this process, never before its fork: SQLite and its thread would not survive one.
void Supervisor::open_journal() {
  auto hooks = tasks_.durability_hooks();
  hooks.fatal = [this](const Error& error) {
    log::critical("{}", error.message);
    tell_control_channel(boot_.fds.get(fd_key::control_channel), error);
    quit(to_int(ExitCode::failed));
  };
  durability_.emplace(c_, banks_, std::move(hooks));
  tasks_.set_durability(&*durability_);
}

void Supervisor::start() {
  tasks_.pool_changed();
  tasks_.adopt();  // an empty table
  cache_.start();
  agents_.start();
}

void Supervisor::attach_known_parties() {
  for (PartyId p = 0; p < parties_max; ++p) {
    if (p == supervisor_party || c_.roster(p).state() != RosterState::live) continue;
    Peer& peer = c_.peers[p];
    const auto copy = [&](std::uint32_t key) {
      const int fd = boot_.fds.get(key + p);
      return fd < 0 ? UniqueFd() : UniqueFd(fd);
    };
    UniqueFd bell = copy(fd_key::bell);
    UniqueFd segment = copy(fd_key::segment);
    UniqueFd pending = copy(fd_key::pending_segment);
    // The roster may name the life whose segment was not moved to its final key yet.
    Result<void> attached = segment ? parties_.adopt_live(peer, std::move(segment))
                                    : Result<void>(Error{ErrorCode::not_found, "no segment", 0});
    if (!attached && pending) {
      attached = parties_.adopt_live(peer, std::move(pending));
      if (attached) {  // the move that was missing: the next life will need the pending key
        RootBatch batch;
        batch.move(fd_key::pending_segment + p, fd_key::segment + p);
        c_.root.send(batch);
      }
    }
    if (!attached) {
      log::error("{}: {}", parties_.label(peer), attached.error().message);
      continue;
    }
    peer.unwatched.bell = std::move(bell);
    const PartyRow& row = c_.row(p);
    peer.linked = c_.roster(p).incarnation() == row.incarnation &&
                  row.phase != stored(PartyPhase::succeeding);
  }
}

void Supervisor::adopt() {
  const std::uint64_t start_ns = now_ns();
  attach_known_parties();
  banks_.adopt([this](std::uint32_t bank) { return boot_.fds.get(fd_key::bank + bank); });
  std::vector<Hold*> carried = succession_.settle_own();
  topics_.adopt();
  deliveries_.adopt();
  tasks_.pool_changed();  // it may be another than the configuration's
  tasks_.adopt();
  for (Hold* hold : carried) tokens_.release(*hold);
  cache_.adopt();
  agents_.adopt(boot_.fds);
  clients_.adopt(boot_.fds);
  for (const RootEvent& event : boot_.recent_events) handle_root_event(event);
  if (load(c_.tables().accepting) == 0) begin_drain(false);  // the old one was draining
  look_at_all();
  adoption_us_ = (now_ns() - start_ns) / 1000;
}

/// What work need not wait for, a little at a time: descriptors to watch, clients of the control
/// socket, which have been queueing since the last supervisor. Dying in between leaves nothing: all
/// of it is only in this process. False: nothing is left to do.
bool Supervisor::settle_in() {
  if (parties_.watch_next_adopted()) return true;
  if (boot_.epoch > 1)
    c_.events.add("supervisor_adopted", {{"epoch", c_.epoch},
                                         {"tasks_unfinished", tasks_.unfinished()},
                                         {"adoption_us", adoption_us_}});
  open_control();
  return false;
}

void Supervisor::open_control() {
  verbs_ = std::make_unique<ControlVerbs>(
      ControlVerbs::Parts{c_, banks_, tasks_, agents_, clients_, holdings_, cache_, topics_},
      [this](bool at_once) { begin_drain(at_once); });
  control_ = std::make_unique<ControlServer>(
      c_.io, UniqueFd(boot_.listen_socket),
      [this](const nlohmann::json& request, const std::shared_ptr<ControlReply>& reply) {
        verbs_->handle(request, reply);
      });
  verbs_->set_server(control_.get());
  control_->start();
  if (UniqueFd channel(boot_.fds.get(fd_key::control_channel)); channel)
    control_->serve_channel(std::move(channel), [this] {
      if (drain_ == Drain::no) log::info("who started this swarm is gone: stopping");
      begin_drain(false);
    });
  log::info("supervisor {} of swarm {} is up", c_.epoch, c_.config.swarm.name);
}

void Supervisor::run() {
  watch_root();
  watch_bell();
  if (boot_.drain_requested) begin_drain(false);

  std::uint64_t last_work_ns = now_ns();
  std::uint64_t last_io_ns = 0;
  for (std::uint32_t round = 0;; ++round) {
    bool worked = pump();
    if (round % rounds_between_full_looks == 0) worked |= look_at_all();
    const std::uint64_t now = now_ns();
    if (c_.has_bells_due()) c_.ring_due(now);
    if (now - last_io_ns >= io_interval_ns) {
      poll_io();
      last_io_ns = now;
      if (now >= next_tick_ns_) tick(now_ns());
    }
    // Whoever connects finds a swarm whose journal is open, or none.
    const bool may_settle_in = !durability_ || boot_.epoch > 1 || !durability_->is_opening();
    if (!settled_in_ && may_settle_in && (!worked || round % rounds_between_settling == 0)) {
      settled_in_ = !settle_in();
      worked = true;
    }
    if (worked) {
      last_work_ns = now;
      continue;
    }
    if (now - last_work_ns < load(c_.tables().spin_ns)) {
      now - last_work_ns > spin_alone_ns ? static_cast<void>(::sched_yield()) : cpu_relax();
      continue;
    }
    park();
    last_work_ns = now_ns();
    last_io_ns = last_work_ns;
    if (last_work_ns >= next_tick_ns_) tick(now_ns());
  }
}

bool Supervisor::pump() {
  bool worked = false;
  blocked_ = false;
  for (std::size_t i = 0; i < hot_.size();) {
    Peer& peer = c_.peers[hot_[i]];
    const std::uint32_t taken =
        peer.linked ? succession_.drain(peer, messages_per_look, blocked_) : 0;
    if (taken != 0) {
      worked = true;
      if (c_.has_bells_due()) c_.ring_due(now_ns());
      peer.quiet_rounds = 0;
      if (!peer.evicted && (peer.data_out.lying() || peer.release_out.lying())) {
        peer.evicted = true;
        c_.count(Counter::agents_evicted);
        if (is_agent(peer.id))
          agents_.kill(peer, "its cursor went back or ahead of what was sent");
        else
          clients_.gone(peer);
      }
    }
    const bool awaited = is_agent(peer.id) && !tasks_.running_on(peer.id).empty();
    if (!peer.linked || (!awaited && ++peer.quiet_rounds > quiet_rounds_until_cold)) {
      peer.hot = false;
      hot_[i] = hot_.back();
      hot_.pop_back();
      continue;
    }
    ++i;
  }
  return worked;
}

bool Supervisor::look_at_all() {
  bool found = false;
  for (Peer& peer : c_.peers) {
    if (!peer.linked) continue;
    if (!peer.has_message() && !(peer.hot && peer.quiet_rounds == 0)) continue;
    if (std::find(hot_.begin(), hot_.end(), peer.id) == hot_.end()) hot_.push_back(peer.id);
    peer.hot = true;
    peer.quiet_rounds = 0;
    found |= peer.has_message();
  }
  return found;
}

void Supervisor::poll_io() {
  Word& progress = c_.segment.header().progress;
  store(progress, load(progress) + 1);
  c_.io.poll();
  if (c_.io.stopped()) c_.io.restart();
  if (tokens_.has_pending()) tokens_.retry();
  if (tasks_.has_retry()) tasks_.retry();
  if (deliveries_.has_waiting()) deliveries_.retry();
  if (cache_.has_retry()) cache_.retry();
  if (durability_) durability_->flush();
}

void Supervisor::park() {
  if (durability_) durability_->flush();
  c_.ring_due(now_ns(), true);
  Word& asleep = c_.segment.header().asleep;
  BellProtocol::about_to_sleep(asleep);
  if (look_at_all() && !blocked_) {
    BellProtocol::awake(asleep);
    return;
  }
  const std::uint64_t now = now_ns();
  std::uint64_t until = std::min(
      {next_tick_ns_, agents_.next_due_ns(), tasks_.next_deadline_ns(), cache_.next_due_ns()});
  // What waits for space at a party is looked at again soon: nobody rings when space appears.
  if (blocked_ || tokens_.has_pending() || tasks_.has_retry() || cache_.has_retry() ||
      deliveries_.is_urgent(now))
    until = std::min(until, now + ns_per_ms);
  if (until > now) c_.io.run_one_for(std::chrono::nanoseconds(until - now));
  BellProtocol::awake(asleep);
  if (until <= now_ns()) next_tick_ns_ = std::min(next_tick_ns_, now_ns());
  poll_io();
  look_at_all();
}

void Supervisor::tick(std::uint64_t now) {
  const std::uint64_t lag_ns =
      next_tick_ns_ != 0 && now > next_tick_ns_ + busy_tick_ns ? now - next_tick_ns_ : 0;
  agents_.tick(now);
  clients_.tick(now);
  topics_.forget_gone();
  tasks_.tick(now);
  cache_.tick(now);
  if (durability_) durability_->tick();
  health_.tick(now, lag_ns);
  const bool busy = tasks_.unfinished() != 0 || deliveries_.has_waiting() ||
                    agents_.has_unsettled() || clients_.has_unsettled();
  if (now >= next_load_sample_ns_) {
    health_.sample_load();
    next_load_sample_ns_ = now + busy_tick_ns;
    // Results nobody has fetched give way to work that waits for memory.
    if (banks_.wanted())
      for (int i = 0; i < results_evicted_at_once && tasks_.evict_one_result(); ++i) {
      }
    banks_.tick(now);
    holdings_.look(now);
  }
  if (drain_ != Drain::no) drain_tick(now);
  next_tick_ns_ = now + (drain_ != Drain::no ? drain_tick_ns : busy ? busy_tick_ns : idle_tick_ns);
}

// ---- the end ----

void Supervisor::begin_drain(bool at_once) {
  if (at_once) tasks_.cancel_everything();
  if (drain_ != Drain::no) return;
  c_.events.add("draining", {{"tasks_unfinished", tasks_.unfinished()}, {"at_once", at_once}});
  c_.draining = true;
  store(c_.tables().accepting, 0);
  drain_ = Drain::finishing;
  drain_deadline_ns_ = now_ns() + c_.config.supervision.drain_timeout_ms * ns_per_ms;
  next_tick_ns_ = 0;
}

void Supervisor::drain_tick(std::uint64_t now) {
  if (drain_ == Drain::finishing) {
    if ((tasks_.unfinished() != 0 || tasks_.unsettled() != 0) && now < drain_deadline_ns_) return;
    if (tasks_.unfinished() != 0 && durability_) {
      log::warn("{} tasks were not finished in {} ms: the next start goes on with them",
                tasks_.unfinished(), c_.config.supervision.drain_timeout_ms);
    } else if (tasks_.unfinished() != 0) {
      log::warn("{} tasks were not finished in {} ms: cancelled", tasks_.unfinished(),
                c_.config.supervision.drain_timeout_ms);
      tasks_.cancel_everything();
    }
    agents_.stop_all();
    drain_ = Drain::stopping;
    drain_deadline_ns_ = now + agents_exit_grace_ns;
    return;
  }
  if ((agents_.alive() != 0 || tasks_.unsettled() != 0) && now < drain_deadline_ns_) return;
  quit(to_int(ExitCode::ok));
}

void Supervisor::quit(int exit_code) {
  if (control_) {
    control_->stop_accepting();
    control_->close_all();
  }
  log::info("done: {} tasks done, {} failed, {} agents died", c_.counter(Counter::tasks_done),
            c_.counter(Counter::tasks_failed), c_.counter(Counter::agents_died));
  c_.ring_due(now_ns(), true);
  c_.root.quit(exit_code);
  for (;;) ::pause();  // root ends us
}

// ---- root and bell ----

void Supervisor::watch_root() {
  if (!root_socket_) root_socket_.emplace(c_.io, c_.root.fd());
  root_socket_->async_wait(WatchedFd::wait_read, [this](boost::system::error_code ec) {
    if (ec) return;
    c_.root.receive([this](const RootEvent& event) { handle_root_event(event); });
    watch_root();
  });
}

void Supervisor::handle_root_event(const RootEvent& event) {
  if (event.sequence <= root_events_seen_) return;
  root_events_seen_ = event.sequence;
  switch (event.kind) {
    case RootEventKind::reaped: return agents_.reaped(event.pid, event.status);
    case RootEventKind::template_started:
      return agents_.template_started(event.key, event.pid, event.status);
    case RootEventKind::signal:
      if (event.status == SIGHUP)
        c_.events.add("reload_ignored",
                      {{"reason", "this version reads its configuration at start only"}});
      else
        begin_drain(false);
      return;
  }
}

void Supervisor::watch_bell() {
  if (!bell_) bell_.emplace(c_.io, c_.bell.get());
  bell_->async_wait(WatchedFd::wait_read, [this](boost::system::error_code ec) {
    if (ec) return;
    std::uint64_t rings = 0;
    [[maybe_unused]] const ssize_t got = ::read(c_.bell.get(), &rings, sizeof rings);
    watch_bell();
  });
}

void supervisor_main(SupervisorBoot boot) {
  log::init("supervisor", boot.config.log.level);
  auto* supervisor = new Supervisor(boot);
  supervisor->run();
}

}  // namespace micro_swarm

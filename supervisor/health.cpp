#include "supervisor/health.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <thread>

namespace micro_swarm {

namespace {
constexpr std::uint64_t idle_probe_period_s = 10;
}  // namespace

HealthAction judge(const HealthView& view, std::uint64_t now_ns, std::uint64_t hang_timeout_ns) {
  if (view.progress != view.progress_seen && view.probe_sent_ns == 0)
    return HealthAction::progressed;
  if (view.probe_sent_ns != 0)
    return elapsed_ns(now_ns, view.probe_sent_ns) >= hang_timeout_ns ? HealthAction::kill
                                                                     : HealthAction::none;
  if (view.busy && elapsed_ns(now_ns, view.progress_at_ns) >= hang_timeout_ns / 3)
    return HealthAction::probe;
  if (view.idle_probe_due) return HealthAction::probe;
  return HealthAction::none;
}

void Health::tick(std::uint64_t now, std::uint64_t lag_ns) {
  const std::uint64_t hang_timeout_ns = c_.config.supervision.hang_timeout_ms * ns_per_ms;
  for (PartyId p = 0; p < agents_max; ++p) {
    Peer& agent = c_.peers[p];
    if (!agent.linked || agent.dead) continue;
    if (!agent.evicted && has_forged_cursor(agent)) {
      agent.evicted = true;
      c_.count(Counter::agents_evicted);
      kill_(agent, "its cursor went back or ahead of what was sent");
      continue;
    }
    if (watch_cancel(agent, now, lag_ns)) continue;
    if (agent.kill_at_ns != 0) {
      agent.kill_at_ns += lag_ns;
      if (now >= agent.kill_at_ns) {
        agent.kill_at_ns = 0;
        kill_late(agent, agent.kill_reason);
        continue;
      }
    }
    if (agent.probe_sent_ns != 0) agent.probe_sent_ns += lag_ns;
    HealthView view;
    // Rung for what comes home to it, it has to take it: until then its memory is missing.
    view.busy = !tasks_.running_on(p).empty() || !agent.has_read_releases();
    view.progress = load(agent.segment.view().header().progress);
    view.progress_seen = agent.progress_seen;
    view.progress_at_ns = agent.progress_at_ns;
    view.probe_sent_ns = agent.probe_sent_ns;
    // Staggered over the period, so that idle agents do not all wake in the same moment.
    view.idle_probe_due = elapsed_ns(now, agent.progress_at_ns) >=
                          (idle_probe_period_s + p % idle_probe_period_s) * ns_per_s;
    switch (judge(view, now, hang_timeout_ns)) {
      case HealthAction::none: break;
      case HealthAction::progressed:
        agent.progress_seen = view.progress;
        agent.progress_at_ns = now;
        break;
      case HealthAction::probe: {
        PartyMessage probe{PartyMessageKind::probe, p, c_.row(p).incarnation, ++agent.probe_number};
        agent.probe_sent_ns = now;
        c_.send(agent, probe);
        break;
      }
      case HealthAction::kill:
        c_.count(Counter::agents_killed_hung);
        kill_(agent, "hung: no progress, and no answer to a probe for " +
                         std::to_string(c_.config.supervision.hang_timeout_ms) + " ms");
        break;
    }
  }
}

/// Found out here even where the supervisor needs no room in the ring, which is when it looks.
bool Health::has_forged_cursor(Peer& agent) {
  static_cast<void>(agent.data_out.consumed());
  static_cast<void>(agent.release_out.consumed());
  return agent.data_out.lying() || agent.release_out.lying();
}

/// The grace begins anew with each task: who stops one of two has heeded what it was asked.
bool Health::watch_cancel(Peer& agent, std::uint64_t now, std::uint64_t lag_ns) {
  const auto unheeded = tasks_.unheeded_cancel(agent.id);
  if (!unheeded) {
    agent.unheeded_task = 0;
    return false;
  }
  const auto delay_ns = run_delay_ns(c_.row(agent.id).pid);
  if (unheeded->task != agent.unheeded_task) {
    agent.unheeded_task = unheeded->task;
    agent.cancel_grace.begin(now, c_.config.tasks.cancel_grace_ms * ns_per_ms, delay_ns);
    return false;
  }
  if (!agent.cancel_grace.is_over(now, lag_ns, delay_ns)) return false;
  agent.unheeded_task = 0;
  kill_late(agent,
            unheeded->reason == CancelReason::timed_out ? "task timed out" : "task cancelled");
  return true;
}

void Health::kill_late(Peer& agent, const std::string& why) {
  c_.count(Counter::agents_killed_late);
  kill_(agent, why + ", and it did not end in its grace");
}

void Health::pong(Peer& agent, std::uint64_t number) {
  if (number != agent.probe_number) return;
  agent.probe_sent_ns = 0;
  agent.progress_at_ns = now_ns();
  if (agent.segment) agent.progress_seen = load(agent.segment.view().header().progress);
}

void Health::sample_load() {
  if (!loadavg_) loadavg_ = UniqueFd(::open("/proc/loadavg", O_RDONLY | O_CLOEXEC));
  char text[128] = {};
  if (!loadavg_ || ::pread(loadavg_.get(), text, sizeof text - 1, 0) <= 0) return;
  // "0.00 0.01 0.05 RUNNING/TOTAL LASTPID"
  const char* slash = std::strchr(text, '/');
  if (slash == nullptr) return;
  while (slash > text && slash[-1] != ' ') --slash;
  const unsigned long runnable = std::strtoul(slash, nullptr, 10);
  const bool spins = spin_policy_.sample(runnable > std::thread::hardware_concurrency());
  store(c_.tables().spin_ns, spins ? c_.config.wait.spin_us * 1000ull : 0);
}

}  // namespace micro_swarm

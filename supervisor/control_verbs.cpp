#include "supervisor/control_verbs.hpp"

#include <sys/socket.h>

#include <boost/asio/steady_timer.hpp>
#include <thread>

#include "common/base64.hpp"
#include "supervisor/task_explain.hpp"

namespace micro_swarm {

using nlohmann::json;

namespace {

std::string_view name_of(Counter counter) {
  switch (counter) {
    case Counter::tasks_accepted: return "tasks_accepted";
    case Counter::tasks_refused: return "tasks_refused";
    case Counter::tasks_duplicate: return "tasks_duplicate";
    case Counter::tasks_repeated: return "tasks_repeated";
    case Counter::tasks_dispatched: return "tasks_dispatched";
    case Counter::tasks_done: return "tasks_done";
    case Counter::tasks_failed: return "tasks_failed";
    case Counter::tasks_cancelled: return "tasks_cancelled";
    case Counter::tasks_timed_out: return "tasks_timed_out";
    case Counter::tasks_dead_letter: return "tasks_dead_letter";
    case Counter::tasks_rerun: return "tasks_rerun";
    case Counter::tasks_retried: return "tasks_retried";
    case Counter::tasks_requeued: return "tasks_requeued";
    case Counter::tasks_shed: return "tasks_shed";
    case Counter::dispatches_redone: return "dispatches_redone";
    case Counter::completions_stale: return "completions_stale";
    case Counter::results_delivered: return "results_delivered";
    case Counter::results_evicted: return "results_evicted";
    case Counter::results_expired: return "results_expired";
    case Counter::agents_died: return "agents_died";
    case Counter::agents_restarted: return "agents_restarted";
    case Counter::agents_renewed: return "agents_renewed";
    case Counter::agents_stopped: return "agents_stopped";
    case Counter::agents_killed_hung: return "agents_killed_hung";
    case Counter::agents_killed_late: return "agents_killed_late";
    case Counter::agents_evicted: return "agents_evicted";
    case Counter::strays_killed: return "strays_killed";
    case Counter::clients_attached: return "clients_attached";
    case Counter::clients_refused: return "clients_refused";
    case Counter::clients_left: return "clients_left";
    case Counter::messages_malformed: return "messages_malformed";
    case Counter::banks_granted: return "banks_granted";
    case Counter::banks_refused: return "banks_refused";
    case Counter::banks_returned: return "banks_returned";
    case Counter::tokens_released: return "tokens_released";
    case Counter::quota_refusals: return "quota_refusals";
    case Counter::quota_soft_limits: return "quota_soft_limits";
    case Counter::transfers: return "transfers";
    case Counter::transfers_refused: return "transfers_refused";
    case Counter::transfers_dropped: return "transfers_dropped";
    case Counter::payloads_compressed: return "payloads_compressed";
    case Counter::payload_bytes_before: return "payload_bytes_before";
    case Counter::payload_bytes_after: return "payload_bytes_after";
    case Counter::payload_compress_ns: return "payload_compress_ns";
    case Counter::payload_unpack_ns: return "payload_unpack_ns";
    case Counter::publications: return "publications";
    case Counter::publications_dropped: return "publications_dropped";
  }
  return "unknown";
}
constexpr Counter last_counter = Counter::publications_dropped;
constexpr std::chrono::seconds result_read_time{10};

Error usage(std::string text) { return Error{ErrorCode::usage, std::move(text), 0}; }

}  // namespace

void ControlVerbs::handle(const json& request, const Reply& reply) {
  const std::string& verb = request.at("verb").get_ref<const std::string&>();
  // Rows of agents that are gone may begin anew: not with the subscriptions of those.
  if (verb.starts_with("agent.")) parts_.topics.forget_gone();
  if (verb == "status") {
    reply->finish(status());
  } else if (verb == "agent.list") {
    agent_list(reply);
  } else if (verb == "agent.show") {
    agent_show(request, reply);
  } else if (verb == "agent.register") {
    agent_register(request, reply);
  } else if (verb == "agent.scale") {
    agent_scale(request, reply);
  } else if (verb == "agent.swap") {
    agent_swap(request, reply);
  } else if (verb == "agent.restart" || verb == "agent.stop") {
    agent_end(verb == "agent.restart", request, reply);
  } else if (verb == "task.list") {
    task_list(request, reply);
  } else if (verb == "task.show") {
    TaskId id = 0;
    if (find_task(request, reply, id) != nullptr) task_show(id, reply);
  } else if (verb == "task.find") {
    task_find(request, reply);
  } else if (verb == "task.wait") {
    task_wait(request, reply);
  } else if (verb == "task.result") {
    task_result(request, reply);
  } else if (verb == "task.explain") {
    task_explain(request, reply);
  } else if (verb == "task.requeue") {
    task_requeue(request, reply);
  } else if (verb == "task.cancel") {
    task_cancel(request, reply);
  } else if (verb == "scheduler.set") {
    scheduler_set(request, reply);
  } else if (verb == "region.list") {
    region_list(request, reply);
  } else if (verb == "memory.show") {
    memory_show(reply);
  } else if (verb == "memory.set") {
    memory_set(request, reply);
  } else if (verb == "memory.gc") {
    memory_gc(reply);
  } else if (verb == "cache.list") {
    cache_list(reply);
  } else if (verb == "cache.show") {
    cache_show(reply);
  } else if (verb == "cache.set") {
    cache_set(request, reply);
  } else if (verb == "events") {
    events(request, reply);
  } else if (verb == "stop") {
    stop_(request.value("force", false));
    reply->finish({{"state", "stopping"}});
  } else if (verb == "attach") {
    attach(reply);
  } else {
    reply->fail(
        usage("unknown verb \"" + verb +
              "\"; known are status, agent.list, agent.show, "
              "agent.register, agent.scale, agent.restart, agent.stop, agent.swap, task.list, "
              "task.show, task.find, task.wait, task.result, "
              "task.cancel, task.explain, task.requeue, scheduler.set, region.list, "
              "memory.show, memory.set, memory.gc, cache.list, cache.show, cache.set, "
              "events, stop, attach"));
  }
}

// ---- status ----

json ControlVerbs::status() const {
  const SupervisorContext& c = parts_.c;
  const SupervisorTables& tables = c.tables();
  const json agents = agent_counts();
  json tasks = {{"records", parts_.tasks.capacity()}};
  for (unsigned s = 1; s < task_states; ++s)
    tasks[std::string(micro_swarm::name_of(static_cast<TaskState>(s)))] =
        parts_.tasks.count_in(static_cast<TaskState>(s));
  json counters;
  for (unsigned i = 0; i <= static_cast<unsigned>(last_counter); ++i)
    counters[std::string(name_of(static_cast<Counter>(i)))] = c.counter(static_cast<Counter>(i));
  for (const Peer& peer : c.peers) {
    if (!peer.linked || peer.dead) continue;
    json& spent = counters[std::string(
        name_of(is_client(peer.id) ? Counter::payload_compress_ns : Counter::payload_unpack_ns))];
    spent = spent.get<std::uint64_t>() + load(peer.segment.view().header().codec_ns);
  }
  const std::uint64_t region = c.config.memory.region_size;
  json answer = {
      {"name", c.config.swarm.name},
      {"state", c.draining ? "draining" : "running"},
      {"root_pid", c.root_pid},
      {"supervisor_pid", load(tables.supervisor_pid)},
      {"epoch", c.epoch},
      {"uptime_ms", (now_ns() - load(tables.started_ns)) / ns_per_ms},
      {"topology", micro_swarm::name_of(c.config.swarm.topology)},
      {"agents", agents},
      {"clients", parts_.clients.attached()},
      {"tasks", tasks},
      {"pending", pending_by_reason(parts_.tasks.scheduler())},
      {"scheduler",
       {{"strategy", micro_swarm::name_of(parts_.tasks.scheduler().settings().strategy)}}},
      {"memory",
       {{"pool_bytes", c.pool_bytes()},
        {"region_bytes", region},
        {"pool_regions", c.pool_regions()},
        {"leased_regions", parts_.banks.leased()},
        {"supervisor_reserve_regions", c.reserved_regions()},
        {"classes", memory_classes()},
        {"owners", memory_owners()},
        {"categories", memory_categories()},
        {"tokens_out", parts_.banks.tokens_out()},
        {"segment_bytes", c.segment.layout().size_bytes}}},
      {"topics", parts_.topics.list()},
      {"spin_us", load(tables.spin_ns) / 1000},
      {"dispatch_round_trip", micro_swarm::to_json(parts_.tasks.dispatch_round_trip())},
      {"accept_to_end", micro_swarm::to_json(parts_.tasks.accept_to_end())},
      {"statistics", parts_.tasks.statistics().to_json(
                         now_ns(), parts_.tasks.ended_count(), agents["live"].get<std::uint32_t>(),
                         [&tables](std::uint16_t capability) -> std::string {
                           return tables.capabilities[capability].text;
                         })},
      {"counters", counters},
  };
  if (const Durability* durability = parts_.tasks.durability())
    answer["journal"] = durability->status();
  if (server_ != nullptr) {
    const ControlCounters& s = server_->counters();
    answer["control"] = {{"connections", server_->connection_count()},
                         {"accepted", s.accepted},
                         {"requests", s.requests},
                         {"malformed", s.malformed},
                         {"oversized", s.oversized},
                         {"half_requests", s.half_requests},
                         {"slow_readers", s.slow_readers},
                         {"refused_full", s.refused_full},
                         {"refused_peer", s.refused_peer}};
  }
  return answer;
}

// ---- tasks ----

json ControlVerbs::task(std::uint32_t slot) const {
  TaskRecord& record = parts_.tasks.record(slot);
  const TaskWord word = word_of(record);
  const TaskRequestData& request = record.request;
  const std::uint64_t now = now_ns();
  json answer = {
      {"id", make_task_id(slot, word.generation())},
      {"state", micro_swarm::name_of(word.state())},
      {"capability", parts_.c.tables().capabilities[request.capability].text},
      {"priority", micro_swarm::name_of(request.priority)},
      {"attempts", word.attempt()},
      {"crashes", record.crash >> 32},
      {"client", request.client},
      {"number", request.number},
      {"payload_bytes", request.payload_token != 0 ? request.payload_bytes : request.inline_bytes},
      {"age_ms", elapsed_ns(now, request.accepted_ns) / ns_per_ms}};
  if (const Durability* durability = parts_.tasks.durability())
    answer["durable_id"] = durability->id_of(slot);
  if (parts_.tasks.is_repeat(slot)) answer["repeats"] = true;
  if (word.state() == TaskState::running) {
    answer["agent"] = word.agent();
    answer["running_ms"] = elapsed_ns(now, record.dispatched_ns) / ns_per_ms;
    if (record.cancel_requested != 0) answer["cancel_requested"] = true;
  }
  if (word.state() == TaskState::ready && !parts_.tasks.scheduler().can_run(request.capability))
    answer["waits_for"] = "no live agent has this capability";
  if (is_terminal(word.state())) {
    answer["took_ns"] = record.finished_ns - request.accepted_ns;
    answer["result_bytes"] =
        record.result_token != 0 ? record.result_bytes : record.result_inline_bytes;
    answer["result_delivered"] = record.result_token != 0 && record.notified != 0 &&
                                 load(parts_.tasks.result_hold(slot).token) == 0;
  }
  return answer;
}

TaskRecord* ControlVerbs::find_task(const json& request, const Reply& reply, TaskId& id) {
  id = request.at("id").get<std::uint64_t>();
  TaskRecord* record = parts_.tasks.find(id);
  if (record == nullptr)
    reply->fail(Error{ErrorCode::not_found,
                      "no task " + std::to_string(id) +
                          ": the id is wrong, or the task ended long ago and its record was used "
                          "again (tasks.queue_size says how many are kept)",
                      0});
  return record;
}

/// Which id a submission got: for a client that does not stay for the result, which would say it.
void ControlVerbs::task_find(const json& request, const Reply& reply) const {
  const auto number = request.at("number").get<std::uint64_t>();
  const auto key =
      client_key(request.at("client").get<PartyId>(), request.at("incarnation").get<Incarnation>());
  for (std::uint32_t slot = 0; slot < parts_.tasks.capacity(); ++slot) {
    const TaskRecord& record = parts_.tasks.record(slot);
    const TaskWord word = word_of(record);
    if (word.state() == TaskState::free || record.request.client_key != key ||
        record.request.number != number || !parts_.tasks.is_accepted(slot))
      continue;
    reply->finish({{"id", make_task_id(slot, word.generation())}});
    return;
  }
  reply->fail(Error{ErrorCode::not_found, "no submission of that client has this number", 0});
}

void ControlVerbs::task_list(const json& request, const Reply& reply) const {
  const auto limit = request.value("limit", std::uint64_t{100});
  const std::string state = request.value("state", std::string());
  bool known = state.empty();
  for (unsigned s = 1; s < task_states; ++s)
    known |= state == micro_swarm::name_of(static_cast<TaskState>(s));
  if (!known) {
    reply->fail(usage("unknown task state \"" + state +
                      "\"; known are pending, ready, running, done, failed, cancelled, timed_out, "
                      "dead_letter"));
    return;
  }
  std::uint64_t shown = 0;
  json lines = json::array();
  for (std::uint32_t slot = 0; slot < parts_.tasks.capacity() && shown < limit; ++slot) {
    const TaskWord word = word_of(parts_.tasks.record(slot));
    if (word.state() == TaskState::free) continue;
    if (!state.empty() && state != micro_swarm::name_of(word.state())) continue;
    lines.push_back(task(slot));
    ++shown;
    if (lines.size() == 256) {  // a long answer is several lines
      if (!reply->send({{"tasks", std::move(lines)}})) return;
      lines = json::array();
    }
  }
  reply->finish({{"tasks", std::move(lines)}});
}

void ControlVerbs::task_wait(const json& request, const Reply& reply) {
  TaskId id = 0;
  TaskRecord* record = find_task(request, reply, id);
  if (record == nullptr) return;
  const std::uint32_t slot = task_slot(id);
  if (parts_.tasks.is_over(slot)) {
    reply->finish({{"task", task(slot)}});
    return;
  }
  // Both ends of the wait share the timer; whichever comes first answers.
  auto timer = std::make_shared<boost::asio::steady_timer>(parts_.c.io);
  const std::uint64_t waiter = parts_.tasks.wait_for(slot, [this, reply, slot, timer](TaskRecord&) {
    timer->cancel();
    reply->finish({{"task", task(slot)}});
  });
  reply->on_gone([this, slot, waiter, timer] {
    timer->cancel();
    parts_.tasks.stop_waiting(slot, waiter);
  });
  const auto timeout_ms = request.value("timeout_ms", std::uint64_t{0});
  if (timeout_ms == 0) return;
  timer->expires_after(std::chrono::milliseconds(timeout_ms));
  timer->async_wait(
      [this, reply, slot, waiter, id, timeout_ms, timer](boost::system::error_code ec) {
        if (ec) return;
        parts_.tasks.stop_waiting(slot, waiter);
        reply->fail(Error{ErrorCode::timed_out,
                          "task " + std::to_string(id) + " has not ended in " +
                              std::to_string(timeout_ms) + " ms; it goes on",
                          0});
      });
}

void ControlVerbs::task_result(const json& request, const Reply& reply) {
  TaskId id = 0;
  TaskRecord* record = find_task(request, reply, id);
  if (record == nullptr) return;
  const std::uint32_t slot = task_slot(id);
  if (!parts_.tasks.is_over(slot)) {
    reply->fail(Error{ErrorCode::not_found,
                      "task " + std::to_string(id) + " has not ended yet: `microswarm task wait " +
                          std::to_string(id) + "` waits for it",
                      0});
    return;
  }
  json answer = {{"task", task(slot)}};
  if (record->result_token == 0) {
    answer["inline_base64"] =
        base64_encode(std::as_bytes(std::span(record->result_inline, record->result_inline_bytes)));
    reply->finish(std::move(answer));
    return;
  }
  const Token token{load(parts_.tasks.result_hold(slot).token)};
  if (!token) {
    reply->fail(Error{ErrorCode::not_found,
                      "the result of task " + std::to_string(id) +
                          " is not here any more: its client received it, or it was given up "
                          "because the pool was full or tasks.result_ttl_ms had passed",
                      0});
    return;
  }
  auto memory = parts_.banks.descriptor(bank_of(token.region()));
  if (!memory) {
    reply->fail(memory.error());
    return;
  }
  answer["offset"] = slot_of(token.region()) * parts_.banks.region_bytes(token);
  answer["size"] = record->result_bytes;
  // The memory must not be used again while somebody reads it: the reader has this long to copy.
  parts_.tasks.pin(slot);
  auto timer = std::make_shared<boost::asio::steady_timer>(parts_.c.io, result_read_time);
  timer->async_wait([this, slot, timer](boost::system::error_code) { parts_.tasks.unpin(slot); });
  std::vector<UniqueFd> fds;
  fds.push_back(std::move(*memory));
  reply->finish(std::move(answer), std::move(fds));
}

void ControlVerbs::task_cancel(const json& request, const Reply& reply) {
  TaskId id = 0;
  if (find_task(request, reply, id) == nullptr) return;
  const auto answer = parts_.tasks.cancel(id, CancelReason::asked);
  json line = {{"task", task(task_slot(id))}};
  line["cancel"] = answer == Tasks::CancelAnswer::ended          ? "ended"
                   : answer == Tasks::CancelAnswer::asked        ? "asked"
                   : answer == Tasks::CancelAnswer::already_over ? "already_over"
                                                                 : "unknown";
  const std::uint32_t slot = task_slot(id);
  if (answer != Tasks::CancelAnswer::ended || parts_.tasks.is_over(slot)) {
    reply->finish(std::move(line));
    return;
  }
  // Its end is not synced: after the death of everybody it would run all the same.
  const std::uint64_t waiter =
      parts_.tasks.wait_for(slot, [reply, line](TaskRecord&) { reply->finish(json(line)); });
  reply->on_gone([this, slot, waiter] { parts_.tasks.stop_waiting(slot, waiter); });
}

// ---- events ----

void ControlVerbs::events(const json& request, const Reply& reply) {
  const auto since = request.value("since", std::uint64_t{0});
  for (const json& event : parts_.c.events.events())
    if (event.at("sequence").get<std::uint64_t>() > since && !reply->send(event)) return;
  if (!request.value("follow", false)) {
    reply->finish(json::object());
    return;
  }
  EventLog& log = parts_.c.events;
  const std::uint64_t follower = log.follow([reply](const json& event) { reply->send(event); });
  reply->on_gone([&log, follower] { log.unfollow(follower); });
}

// ---- clients ----

void ControlVerbs::attach(const Reply& reply) {
  auto attached = parts_.clients.attach(reply->peer_pid());
  if (!attached) {
    reply->fail(attached.error());
    return;
  }
  std::vector<UniqueFd> fds;
  fds.push_back(std::move(attached->socket));
  reply->finish({{"party", attached->party}, {"incarnation", attached->incarnation}},
                std::move(fds));
}

}  // namespace micro_swarm

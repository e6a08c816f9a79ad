// The verbs about what the scheduler does with tasks.

#include "supervisor/control_verbs.hpp"
#include "supervisor/task_explain.hpp"

namespace micro_swarm {

using nlohmann::json;

void ControlVerbs::task_show(TaskId id, const Reply& reply) const {
  json answer = task(task_slot(id));
  const TaskRecord& record = parts_.tasks.record(task_slot(id));
  if (word_of(record).state() == TaskState::dead_letter || (record.crash >> 32) != 0) {
    // Of those this supervisor has seen, and still has among its events.
    json certificates = json::array();
    for (const json& event : parts_.c.events.events()) {
      const auto in_hand = event.find("task_in_hand");
      if (in_hand == event.end() || *in_hand != id || event.at("event") != "agent_died") continue;
      json certificate = event;
      certificate.erase("event");
      certificates.push_back(std::move(certificate));
    }
    answer["death_certificates"] = std::move(certificates);
  }
  reply->finish({{"task", std::move(answer)}});
}

void ControlVerbs::task_explain(const json& request, const Reply& reply) {
  TaskId id = 0;
  if (find_task(request, reply, id) == nullptr) return;
  reply->finish(explanation_of(parts_.c, parts_.tasks, id, now_ns()));
}

void ControlVerbs::task_requeue(const json& request, const Reply& reply) {
  TaskId id = 0;
  if (find_task(request, reply, id) == nullptr) return;
  const auto done = parts_.tasks.requeue(id);
  if (!done) {
    reply->fail(done.error());
    return;
  }
  json line = {{"task", task(task_slot(id))}};
  line["requeue"] = *done == Tasks::RequeueAnswer::requeued ? "requeued" : "already";
  reply->finish(std::move(line));
}

/// Until the supervisor is replaced: the next one starts with what is configured.
void ControlVerbs::scheduler_set(const json& request, const Reply& reply) {
  const std::string word = request.value("strategy", "");
  for (const Strategy strategy : {Strategy::round_robin, Strategy::least_loaded,
                                  Strategy::load_balanced, Strategy::capability_based})
    if (micro_swarm::name_of(strategy) == word) {
      const Strategy before = parts_.tasks.scheduler().settings().strategy;
      parts_.tasks.set_strategy(strategy);
      if (before != strategy)
        parts_.c.events.add("strategy_changed",
                            {{"from", micro_swarm::name_of(before)}, {"to", word}});
      json answer;
      answer["strategy"] = word;
      reply->finish(std::move(answer));
      return;
    }
  reply->fail(Error{ErrorCode::usage,
                    "unknown strategy \"" + word +
                        "\"; known are round_robin, least_loaded, load_balanced, "
                        "capability_based",
                    0});
}

}  // namespace micro_swarm

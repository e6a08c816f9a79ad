#include "supervisor/task_explain.hpp"

#include <algorithm>

namespace micro_swarm {

using nlohmann::json;
using scheduling::Explanation;
using scheduling::Reason;

namespace {

std::string ms_text(std::uint64_t ns) { return std::to_string(ns / ns_per_ms) + " ms"; }

std::uint64_t ms_until(std::uint64_t at_ns, std::uint64_t now) {
  return at_ns > now ? (at_ns - now + ns_per_ms - 1) / ns_per_ms : 0;
}

/// One explanation being put together.
class Explaining {
 public:
  Explaining(const SupervisorContext& context, Tasks& tasks, TaskId id, std::uint64_t now)
      : c_(context),
        tasks_(tasks),
        slot_(task_slot(id)),
        now_(now),
        record_(tasks.record(slot_)),
        word_(word_of(record_)) {
    answer_ = {{"id", id}, {"state", micro_swarm::name_of(word_.state())}};
  }

  json whole() {
    const Explanation why = tasks_.scheduler().explain(answer_.at("id").get<TaskId>(), now_);
    const bool is_over = is_terminal(word_.state());
    const bool is_repeat = !is_over && tasks_.is_repeat(slot_);
    answer_["reason"] = is_over     ? "ended"
                        : is_repeat ? "repeats"
                                    : micro_swarm::name_of(why.reason);
    std::string text = is_over ? ended()
                       : is_repeat
                           ? "has the idempotency key of an earlier task, and ends as it does"
                           : waits(why);
    if (!is_over && !is_repeat && why.expected_start_ns != 0) {
      const std::uint64_t in_ms = ms_until(why.expected_start_ns, now_);
      answer_["expected_start_in_ms"] = in_ms;
      if (why.reason != Reason::backoff)
        text += "; expected to run in about " + std::to_string(in_ms) + " ms";
    }
    answer_["text"] = std::move(text);
    return std::move(answer_);
  }

 private:
  std::string waits(const Explanation& why) {
    switch (why.reason) {
      case Reason::dependencies: return dependencies(why);
      case Reason::backoff: return backoff(why);
      case Reason::no_agent: return no_agent();
      case Reason::max_concurrent:
        return "the swarm has " + std::to_string(tasks_.scheduler().running_count()) +
               " tasks in flight, as many as tasks.max_concurrent allows" + place(why);
      case Reason::client_quota:
        return "client " + std::to_string(record_.request.client) +
               " has as many tasks in flight as scheduler.client_running_max allows (" +
               std::to_string(c_.config.scheduler.client_running_max) + ")" + place(why);
      case Reason::category_quota: return category_quota(why);
      case Reason::memory: return memory(why);
      case Reason::queue: return "its turn has not come" + place(why);
      case Reason::running: return running(why);
      case Reason::handing_over: return "its next step is under way";
      case Reason::unknown: break;
    }
    return "the scheduler does not know of it: a fault of the swarm, please report it";
  }

  std::string dependencies(const Explanation& why) {
    std::string text = "waits for the end of ";
    for (std::size_t i = 0; i < why.waits_for.size(); ++i) {
      const TaskRecord* other = tasks_.find(why.waits_for[i]);
      if (i != 0) text += i + 1 == why.waits_for.size() ? " and " : ", ";
      text += "task " + std::to_string(why.waits_for[i]);
      if (other != nullptr)
        text += " (" + std::string(micro_swarm::name_of(word_of(*other).state())) + ")";
    }
    answer_["waits_for"] = why.waits_for;
    return text;
  }

  std::string backoff(const Explanation& why) {
    const std::uint64_t in_ms = ms_until(why.until_ns, now_);
    answer_["failures"] = record_.failure >> 8;
    answer_["retries"] = options().retries;
    return "attempt " + std::to_string(word_.attempt()) + " failed; the next is in " +
           std::to_string(in_ms) + " ms";
  }

  std::string no_agent() {
    const std::uint16_t capability = record_.request.capability;
    const char* name = c_.tables().capabilities[capability].text;
    answer_["capability"] = name;
    std::string text = "no live agent has the capability " + std::string(name);
    const std::uint16_t version = record_.request.has_options != 0 ? options().min_version : 0;
    if (version > 1) {
      answer_["min_version"] = version;
      text += " in version " + std::to_string(version) + " or later";
      if (tasks_.scheduler().can_run(capability)) text += ", though one has it in an earlier one";
    }
    return text;
  }

  std::string category_quota(const Explanation& why) {
    const std::string name(options().category, options().category_bytes);
    answer_["category"] = name;
    const auto& categories = c_.config.categories;
    const auto found =
        std::find_if(categories.begin(), categories.end(),
                     [&name](const CategorySpec& spec) { return spec.name == name; });
    std::string text =
        "category " + name + " has as many tasks in flight as its running_max allows";
    if (found != categories.end()) text += " (" + std::to_string(found->running_max) + ")";
    return text + place(why);
  }

  std::string memory(const Explanation& why) {
    answer_["regions"] = options().resource_regions;
    answer_["bytes"] = options().resource_bytes;
    return "the memory that it or one before it reserves is not free: it asks for " +
           std::to_string(options().resource_regions) + " regions and " +
           std::to_string(options().resource_bytes) + " bytes" + place(why);
  }

  std::string place(const Explanation& why) {
    answer_["position"] = why.position;
    answer_["class"] = micro_swarm::name_of(why.priority);
    return "; queue position " + std::to_string(why.position) + " of class " +
           std::string(micro_swarm::name_of(why.priority));
  }

  std::string running(const Explanation& why) {
    answer_["agent"] = why.agent;
    answer_["attempt"] = word_.attempt();
    // Agents take their dispatches in order.
    const auto& there = tasks_.running_on(why.agent);
    const auto before = std::count_if(there.begin(), there.end(), [&](std::uint32_t other) {
      return tasks_.record(other).dispatch_sequence < record_.dispatch_sequence;
    });
    answer_["before_it"] = before;
    std::string text = before == 0
                           ? "agent " + std::to_string(why.agent) + " runs it"
                           : "handed to agent " + std::to_string(why.agent) + ", which has " +
                                 std::to_string(before) + " to do before it";
    const std::uint64_t since_ns = elapsed_ns(now_, record_.dispatched_ns);
    answer_["running_ms"] = since_ns / ns_per_ms;
    text += ", since " + ms_text(since_ns);
    if (record_.cancel_requested == 0) return text;
    answer_["cancel_requested"] = true;
    return text + "; it was asked to stop";
  }

  std::string ended() {
    answer_["attempts"] = word_.attempt();
    answer_["took_ns"] = elapsed_ns(record_.finished_ns, record_.request.accepted_ns);
    std::string text =
        "ended: " + std::string(micro_swarm::name_of(word_.state())) + " after " +
        (word_.attempt() == 1 ? "1 attempt" : std::to_string(word_.attempt()) + " attempts");
    if (word_.state() == TaskState::dead_letter)
      return text + "; `microswarm task requeue` tries it again";
    // A failure's bytes are its message. What lies in a region is for `task result`.
    const std::string_view said(
        reinterpret_cast<const char*>(record_.result_inline),
        std::min<std::size_t>(record_.result_inline_bytes, task_inline_bytes_max));
    if (word_.state() != TaskState::done && record_.result_token == 0 && !said.empty())
      text += " (" + std::string(said) + ")";
    return text;
  }

  /// Where the request says that it has none, nothing is in there.
  const TaskOptionsRow& options() const { return tasks_.options(slot_); }

  const SupervisorContext& c_;
  Tasks& tasks_;
  std::uint32_t slot_;
  std::uint64_t now_;
  const TaskRecord& record_;
  TaskWord word_;
  json answer_;
};

}  // namespace

json explanation_of(const SupervisorContext& context, Tasks& tasks, TaskId id, std::uint64_t now) {
  return Explaining(context, tasks, id, now).whole();
}

json pending_by_reason(const scheduling::Scheduler& scheduler) {
  const auto counts = scheduler.pending();
  json answer = json::object();
  for (unsigned i = 0; i < scheduling::reasons; ++i)
    if (const auto reason = static_cast<Reason>(i);
        reason != Reason::unknown && reason != Reason::running)
      answer[std::string(micro_swarm::name_of(reason))] = counts[i];
  return answer;
}

}  // namespace micro_swarm

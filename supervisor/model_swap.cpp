// Another model for a kind of neural agents that works: its template is started again with it while
// the agents go on with the old one; once it has loaded, they are replaced one by one. One that
// does not load leaves everything as it was.
//
//   wanted: kept, with what it takes the place of -> the template ends -> a new one loads
//     -> ready: kept as settled, each agent is renewed
//     -> failed, died: the old model is kept again, and loaded
//
// A supervisor that finds a swap that is not settled begins again with its template's end.

#include <signal.h>
#include <unistd.h>

#include <algorithm>

#include "supervisor/agents.hpp"

namespace micro_swarm {

namespace {
Error refused(std::string text) { return Error{ErrorCode::refused, std::move(text), 0}; }
}  // namespace

Result<void> Agents::keep_changes() {
  changes_.added.assign(kinds_.begin() + static_cast<std::ptrdiff_t>(configured_kinds_),
                        kinds_.end());
  return keep_kind_changes(c_.root, changes_);
}

ModelSwap* Agents::open_swap_of(std::uint32_t kind) {
  const auto found =
      std::find_if(changes_.swaps.begin(), changes_.swaps.end(), [&](const ModelSwap& swap) {
        return swap.kind == kinds_[kind].name && swap.before.has_value();
      });
  return found == changes_.swaps.end() ? nullptr : &*found;
}

Result<void> Agents::swap_model(std::uint32_t kind, const std::string& capability,
                                const std::filesystem::path& file,
                                std::function<void(const Result<void>&)> call) {
  AgentSpec& spec = kinds_[kind];
  if (stopping_ || c_.draining) return refused("the swarm is stopping");
  if (spec.kind != AgentKind::neural)
    return Error{ErrorCode::usage, "agent kind " + spec.name + " is not neural: it has no model",
                 0};
  std::filesystem::path* model = model_of(spec, capability);
  if (model == nullptr)
    return Error{ErrorCode::usage,
                 capability.empty()
                     ? "agent kind " + spec.name + " has several models: say whose capability's"
                     : "agent kind " + spec.name + " has no model of its own for " + capability,
                 0};
  std::error_code failure;
  if (!file.is_absolute() || !std::filesystem::is_regular_file(file, failure) ||
      ::access(file.c_str(), R_OK) != 0)
    return Error{ErrorCode::usage,
                 "model " + file.string() + ": expected the absolute path of a readable file", 0};
  if (open_swap_of(kind) != nullptr)
    return refused("agent kind " + spec.name + ": another model is being loaded just now");

  const ModelSwap wanted{spec.name, capability, file, *model};
  const auto same = [&](const ModelSwap& swap) {
    return swap.kind == wanted.kind && swap.capability == wanted.capability;
  };
  const KindChanges before = changes_;
  std::erase_if(changes_.swaps, same);
  changes_.swaps.push_back(wanted);
  *model = file;
  if (auto kept = keep_changes(); !kept) {
    *model = *wanted.before;
    changes_ = before;
    return kept.error();
  }
  c_.events.add("model_swap_began",
                {{"kind", spec.name}, {"capability", capability}, {"model", file.string()}});
  templates_[kind].when_settled.push_back(std::move(call));
  replace_template(kind);
  return {};
}

/// Ends the kind's template, if there is one, and starts another. Its agents are not concerned.
void Agents::replace_template(std::uint32_t number) {
  Template& t = templates_[number];
  TemplateRow& row = c_.tables().templates[number];
  if (row.pid == 0 && !t.socket) return start_template(number);
  t.is_replaced = true;
  row.phase = TemplatePhase::loading;
  t.socket.reset();
  c_.root.drop(fd_key::template_socket + number);  // the end of its socket is its own end
  kill_template(number);
}

/// The new model is good, or not. True: a swap was open.
bool Agents::settle_swap(std::uint32_t kind, const Result<void>& how) {
  ModelSwap* swap = open_swap_of(kind);
  if (swap == nullptr) return false;
  nlohmann::json event{
      {"kind", swap->kind}, {"capability", swap->capability}, {"model", swap->model.string()}};
  if (!how) {
    event["reason"] = how.error().message;
    if (auto* model = model_of(kinds_[kind], swap->capability)) *model = *swap->before;
    swap->model = *swap->before;
  }
  swap->before.reset();
  // Who dies before this is kept leaves an open swap, and its successor tries once more.
  if (auto kept = keep_changes(); !kept) c_.events.add("system", {{"error", kept.error().message}});
  c_.events.add(how ? "model_swapped" : "model_swap_failed", std::move(event));
  if (!how) return true;
  for (const PartyId p : agents_of(kind)) {
    PartyRow& row = c_.row(p);
    const auto intent = static_cast<AgentIntent>(row.intent);
    // Whoever is starting and does not wait for this template is the old one's.
    const auto& waiting = templates_[kind].waiting;
    const bool is_old = row.phase == stored(PartyPhase::live) ||
                        (row.phase == stored(PartyPhase::starting) &&
                         std::find(waiting.begin(), waiting.end(), p) == waiting.end());
    if (is_old && intent == AgentIntent::stay)
      row.intent = stored(AgentIntent::renew_due);
    else if (row.phase == stored(PartyPhase::gave_up) && intent != AgentIntent::stopping &&
             !c_.peers[p].linked)
      begin_anew(p, kind);
  }
  turn_over(now_ns());
  return true;
}

}  // namespace micro_swarm

// Kinds of agents: their capabilities' numbers, and those that come to a running swarm.

#include <sys/resource.h>

#include <atomic>
#include <nlohmann/json.hpp>

#include "common/config_check.hpp"
#include "supervisor/agents.hpp"
#include "supervisor/run_limits.hpp"

namespace micro_swarm {

namespace {

Error refused(std::string text) { return Error{ErrorCode::refused, std::move(text), 0}; }

/// Clients read the table at any time: a name is there whole or not at all. A supervisor that dies
/// in between leaves an entry that still counts as free.
void write_name(CapabilityName& entry, std::string_view name) {
  for (std::size_t i = 1; i < sizeof entry.text; ++i) entry.text[i] = i < name.size() ? name[i] : 0;
  std::atomic_ref<char>(entry.text[0]).store(name[0], std::memory_order_release);
}

}  // namespace

/// The names in the table keep their numbers, whatever supervisor looks.
void Agents::name_capabilities(std::uint32_t kind) {
  auto& names = c_.tables().capabilities;
  for (const std::string& name : kinds_[kind].capabilities) {
    std::uint32_t id = 0;
    while (id < capabilities_max && names[id].text[0] != '\0' && name != names[id].text) ++id;
    if (id == capabilities_max) continue;  // refused before it came here
    if (names[id].text[0] == '\0') write_name(names[id], name);
    capabilities_[kind].set(id);
  }
}

Result<void> Agents::check_room_for(const AgentSpec& spec) const {
  std::size_t names = 0;
  for (const CapabilityName& entry : c_.tables().capabilities) names += entry.text[0] != '\0';
  for (const std::string& name : spec.capabilities) {
    bool known = false;
    for (const CapabilityName& entry : c_.tables().capabilities) known |= name == entry.text;
    names += known ? 0 : 1;
  }
  if (names > capabilities_max)
    return refused("agent " + spec.name + ": there would be more than " +
                   std::to_string(capabilities_max) + " capabilities");

  if (rows_ + spec.count > agents_max)
    return refused(
        "agent " + spec.name + ": " + std::to_string(agents_max) +
        " agents is the most a swarm has, and " + std::to_string(rows_) +
        " ids have been used: `microswarm agent scale` uses those of stopped ones again");
  Config larger = c_.config;
  larger.agents.push_back(spec);
  return check_room(c_.config, larger, "agent " + spec.name);
}

Result<void> Agents::check_room(const Config& present, const Config& larger,
                                const std::string& who) const {
  const SwarmNeeds needs = needs_of(larger);
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < needs.descriptors_min)
    return refused(who + ": this swarm would need " + std::to_string(needs.descriptors_min) +
                   " open files, and its limit is " + std::to_string(limit.rlim_cur));
  const std::uint64_t more = needs.memory_bytes - needs_of(present).memory_bytes;
  const AvailableMemory memory = available_memory();
  if (memory.bytes < more)
    return refused(who + ": its agents need " + std::to_string(more) + " bytes of memory, and " +
                   memory.limited_by + " leaves " + std::to_string(memory.bytes));
  return {};
}

void Agents::set_rows(PartyId rows) {
  rows_ = rows;
  Word& word = c_.tables().agent_rows.word;
  store(word, AgentRowsWord::make(rows_, AgentRowsWord::kinds(load(word))));
}

/// A kind's first rows. Their number and the kind's are one store, so they are given out once.
void Agents::assign_rows(std::uint32_t kind) {
  const auto count = static_cast<std::uint32_t>(
      std::min<std::size_t>(kinds_[kind].count, std::size_t{agents_max} - rows_));
  for (std::uint32_t i = 0; i < count; ++i)
    c_.row(static_cast<PartyId>(rows_ + i)).kind = static_cast<std::uint16_t>(kind);
  rows_ = static_cast<PartyId>(rows_ + count);
  store(c_.tables().agent_rows.word, AgentRowsWord::make(rows_, kind + 1));
}

Result<std::uint32_t> Agents::add_kind(AgentSpec spec) {
  if (stopping_ || c_.draining) return refused("the swarm is stopping and takes no new agents");
  const auto is_relative = [](const std::filesystem::path& file) {
    return !file.empty() && !file.is_absolute();
  };
  if (is_relative(spec.model))
    return Error{ErrorCode::usage, "agent.model: " + spec.model.string() + " is not absolute", 0};
  for (const auto& file : spec.plugins)
    if (is_relative(file))
      return Error{ErrorCode::usage, "agent.plugins: " + file.string() + " is not absolute", 0};
  for (const auto& [capability, file] : spec.models)
    if (is_relative(file))
      return Error{ErrorCode::usage, "agent.models: " + file.string() + " is not absolute", 0};
  if (spec.capabilities.empty()) spec.capabilities = default_capabilities(spec.kind, spec.name);
  for (std::uint32_t kind = 0; kind < kinds_.size(); ++kind) {
    if (kinds_[kind].name != spec.name) continue;
    if (agent_to_json(kinds_[kind]) == agent_to_json(spec)) return kind;
    return refused("agent " + spec.name + ": there is another kind of that name");
  }
  auto checked = check_agent(c_.config, std::move(spec));
  if (!checked) return checked.error();
  if (auto room = check_room_for(*checked); !room) return room.error();

  // First the record, then the effect: who dies in between leaves a kind that its successor starts,
  // as it would one whose start the first supervisor did not live to see.
  const auto kind = static_cast<std::uint32_t>(kinds_.size());
  kinds_.push_back(std::move(*checked));
  if (auto kept = keep_changes(); !kept) {
    kinds_.pop_back();
    return kept.error();
  }
  c_.events.add("kind_added", {{"kind", kinds_[kind].name}, {"agents", kinds_[kind].count}});
  name_capabilities(kind);
  const PartyId first = rows_;
  assign_rows(kind);
  start_template(kind);
  for (PartyId p = first; p < rows_; ++p) spawn(c_.peers[p]);
  return kind;
}

std::vector<PartyId> Agents::agents_of(std::uint32_t kind) const {
  std::vector<PartyId> ids;
  for (PartyId p = 0; p < rows_; ++p)
    if (c_.row(p).kind == kind) ids.push_back(p);
  return ids;
}

void Agents::when_template_is_settled(std::uint32_t kind,
                                      std::function<void(const Result<void>&)> call) {
  switch (c_.tables().templates[kind].phase) {
    case TemplatePhase::ready: return call({});
    case TemplatePhase::failed: {
      const auto ids = agents_of(kind);
      const std::string why = ids.empty() ? std::string() : give_up_reasons_[ids.front()];
      return call(Error{
          ErrorCode::model,
          "agent kind " + kinds_[kind].name + ": " + (why.empty() ? "its template failed" : why),
          0});
    }
    case TemplatePhase::none:
    case TemplatePhase::loading: templates_[kind].when_settled.push_back(std::move(call));
  }
}

void Agents::template_settled(std::uint32_t number, const Result<void>& how) {
  const auto calls = std::exchange(templates_[number].when_settled, {});
  for (const auto& call : calls) call(how);
}

/// A swarm whose configuration does not work ends; a kind that was added to it only fails itself.
void Agents::template_failed(std::uint32_t number, const Error& error) {
  c_.tables().templates[number].phase = TemplatePhase::failed;
  template_settled(number, error);
  if (number < configured_kinds_ && fatal_) fatal_(error);
}

}  // namespace micro_swarm

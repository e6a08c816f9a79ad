// May a submission come in, and which records it gets.

#include <algorithm>
#include <unordered_map>

#include "supervisor/tasks.hpp"

namespace micro_swarm {

namespace {

Tasks::Refused refusal_of(const scheduling::Admission& admission) {
  using scheduling::Refusal;
  const std::uint32_t hint = std::max(admission.retry_after_ms, submit_retry_hint_ms);
  switch (admission.reason) {
    case Refusal::client_quota: return {ErrorCode::refused, SubmitRefusal::client_quota, hint};
    case Refusal::category_quota: return {ErrorCode::refused, SubmitRefusal::category_quota, hint};
    case Refusal::too_many_demands:
      return {ErrorCode::refused, SubmitRefusal::too_many_demands, hint};
    case Refusal::unknown_category: return {ErrorCode::not_found, SubmitRefusal::unknown_category};
    case Refusal::too_large: return {ErrorCode::too_large, SubmitRefusal::too_large};
    case Refusal::none:
    case Refusal::queue_full: break;
  }
  return {ErrorCode::refused, SubmitRefusal::queue_full, hint};
}

}  // namespace

std::optional<CategoryId> Tasks::category_of(std::string_view name) const {
  if (name.empty()) return CategoryId{0};
  const auto& categories = c_.config.categories;
  const auto found = std::find_if(categories.begin(), categories.end(),
                                  [name](const CategorySpec& spec) { return spec.name == name; });
  if (found == categories.end()) return std::nullopt;
  return static_cast<CategoryId>(found - categories.begin() + 1);
}

void Tasks::charge_category(std::uint32_t slot, const scheduling::TaskSpec& spec) {
  if (spec.category == 0) return;
  if (!category_memory_.charge(slot, spec.category, records_[slot].request.payload_bytes)) return;
  c_.count(Counter::quota_soft_limits);
  c_.events.add("memory_soft_limit", {{"category", c_.config.categories[spec.category - 1u].name},
                                      {"payload_bytes", category_memory_.used(spec.category)},
                                      {"quota_bytes", category_memory_.quota(spec.category)}});
}

Tasks::Room Tasks::category_room() const {
  std::vector<std::uint64_t> coming(c_.config.categories.size() + 1);
  for (std::size_t i = 0; i < batch_entries_.size(); ++i) {
    const CategoryId category = batch_specs_[i].category;
    coming[category] += batch_entries_[i].data.payload_bytes;
    if (category_memory_.has_room(category, coming[category])) continue;
    c_.count(Counter::quota_refusals);
    Refused refused{ErrorCode::refused, SubmitRefusal::category_memory, submit_retry_hint_ms,
                    static_cast<std::uint32_t>(i)};
    // Asking again will not help.
    if (coming[category] > category_memory_.quota(category)) refused.code = ErrorCode::too_large;
    return {Room::Kind::refused, refused};
  }
  return {};
}

/// All or nothing: what is asked for is more than the queue and the quotas ever have.
bool Tasks::fits_when_empty(std::span<const scheduling::TaskSpec> specs) const {
  const scheduling::Settings& settings = scheduler_.settings();
  if (settings.client_queued_max != 0 && specs.size() > settings.client_queued_max) return false;
  std::vector<std::size_t> of_category(settings.categories.size());
  for (const scheduling::TaskSpec& spec : specs) ++of_category[spec.category];
  for (std::size_t i = 0; i < of_category.size(); ++i)
    if (settings.categories[i].queued_max != 0 &&
        of_category[i] > settings.categories[i].queued_max)
      return false;
  return true;
}

Tasks::Room Tasks::take_slots(std::span<const scheduling::TaskSpec> specs) {
  using Verdict = scheduling::Admission::Verdict;
  slots_.clear();
  const auto give_back = [this] { free_.insert(free_.end(), slots_.rbegin(), slots_.rend()); };
  if (specs.size() > 1 && !fits_when_empty(specs))
    return {Room::Kind::refused, {ErrorCode::too_large, SubmitRefusal::too_large}};
  coming_.clear();
  for (const scheduling::TaskSpec& spec : specs) {
    auto slot = slot_for_new();
    if (!slot && unsettled() != 0) {
      // Records are free as soon as their ends are synced: nobody has to make room for that.
      give_back();
      return {Room::Kind::later, {}};
    }
    scheduling::Coming coming;
    if (specs.size() > 1) {
      coming.of_client = static_cast<std::uint32_t>(slots_.size());
      coming.of_category = coming_[spec.category]++;
    }
    const auto admission = scheduler_.admit(spec, slot.has_value(), coming);
    if (admission.verdict == Verdict::shed) {
      c_.count(Counter::tasks_shed);
      end_unfinished(admission.victim, TaskState::cancelled, "shed: more wanted tasks");
      run_actions();
      if (!slot) slot = slot_for_new();
      if (!slot && unsettled() != 0) {  // as above
        give_back();
        return {Room::Kind::later, {}};
      }
    }
    if (slot && (admission.verdict == Verdict::accept || admission.verdict == Verdict::shed)) {
      slots_.push_back(*slot);
      continue;
    }
    if (slot) free_.push_back(*slot);
    const auto entry = static_cast<std::uint32_t>(slots_.size());
    give_back();
    // The message stays where it is, and the client's ring fills up behind it.
    if (admission.verdict == Verdict::block) return {Room::Kind::later, {}};
    Refused refused = refusal_of(admission);
    refused.entry = entry;
    return {Room::Kind::refused, refused};
  }
  return {Room::Kind::found, {}};
}

}  // namespace micro_swarm

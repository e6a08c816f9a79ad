#pragma once

// What has become of the kinds of agents since the swarm's start: those that were added, and models
// that were swapped. The supervisor keeps it in one memfd, which root keeps for its successors and
// which is replaced as a whole: a new supervisor finds all that was there before a change or all
// that is there after it.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "common/config.hpp"
#include "common/result.hpp"
#include "supervisor/root_link.hpp"

namespace micro_swarm {

/// A model that has taken another's place.
struct ModelSwap {
  std::string kind;
  std::string capability;  ///< empty: the kind has one model for all
  std::filesystem::path model;
  /// What it takes the place of, while it is not known whether the new one loads.
  std::optional<std::filesystem::path> before;
};

struct KindChanges {
  std::vector<AgentSpec> added;  ///< in their order, with their models as they are now
  std::vector<ModelSwap> swaps;  ///< at most one of each model
};

/// Has root keep `changes` instead of what it kept. Done when it returns: root serves what was sent
/// before it starts another supervisor.
Result<void> keep_kind_changes(RootLink& root, const KindChanges& changes);

/// What predecessors had kept; `fd` -1 = nothing. Aborts on content that keep_kind_changes() has
/// not written: rows of agents would name kinds nobody knows.
KindChanges read_kind_changes(int fd);

/// `config` with the kinds that were added behind its own, and every swapped model in its place.
Config with_changes(const Config& config, const KindChanges& changes);

/// The model of a kind that does that work; null: there is none. `capability` empty: the one model.
std::filesystem::path* model_of(AgentSpec& kind, const std::string& capability);

}  // namespace micro_swarm

#pragma once

// The work of a neural agent: payload -> model -> result, both where they lie. A task that depends
// on others gives the model their results, in order, before its own payload. The payload is the
// raw inputs in the submitter's region, the result the raw outputs in a region of this agent's own
// (see NeuralModel for the formats).

#include <memory>

#include "agentproc/agent_runtime.hpp"
#include "agentproc/neural_model.hpp"

namespace micro_swarm {

/// `model` outlives the handler. A payload that does not fit the model's inputs fails the task with
/// a message that says what would. With limits above one task, tasks that wait together are run
/// together, where the model can do that (NeuralModel::can_batch).
std::unique_ptr<Handler> make_neural_handler(NeuralModel& model, BatchLimits limits = {});

}  // namespace micro_swarm

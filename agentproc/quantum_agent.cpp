#include "agentproc/quantum_agent.hpp"

#include <memory>
#include <new>
#include <string>

#include "agentproc/angle_search.hpp"
#include "agentproc/quantum/limits.hpp"
#include "agentproc/quantum/qaoa.hpp"
#include "agentproc/quantum/request.hpp"

namespace micro_swarm {

namespace {

struct Simulator {
  unsigned qubits;
  std::unique_ptr<quantum::AngleSearch> search;
};

class TaskWatch final : public quantum::Watch {
 public:
  explicit TaskWatch(TaskContext& task) : task_(task) {}
  bool go_on() noexcept override {
    task_.report_progress();
    return !task_.cancelled();
  }

 private:
  TaskContext& task_;
};

Outcome answer(TaskContext& task, const Result<std::string>& text) {
  if (!text) return task.fail(text.error());
  const auto set = task.set_result(*text);
  return set ? Outcome::done : task.fail(set.error());
}

Outcome run(TaskContext& task, const std::string& payload, Simulator& simulator) {
  TaskWatch watch(task);
  const auto request = quantum::read_run(payload, simulator.qubits);
  if (!request) return task.fail(request.error());
  return answer(task, quantum::run(*request, watch));
}

Outcome amplitudes(TaskContext& task, const std::string& payload, Simulator& simulator) {
  TaskWatch watch(task);
  const auto circuit = quantum::read_amplitudes(payload, simulator.qubits);
  if (!circuit) return task.fail(circuit.error());
  // The result is the state itself: it is computed where it will be read.
  const auto buffer = task.result_buffer(quantum::StateVector::bytes_of(circuit->qubits));
  if (!buffer) return task.fail(buffer.error());
  auto* const memory = reinterpret_cast<quantum::Amplitude*>(buffer->data());
  quantum::StateVector state(circuit->qubits, {memory, std::size_t{1} << circuit->qubits});
  const auto done = quantum::Plan(*circuit).run(state, watch);
  return done ? Outcome::done : task.fail(done.error());
}

Outcome optimise(TaskContext& task, const Result<quantum::QaoaRequest>& request,
                 Simulator& simulator) {
  if (!request) return task.fail(request.error());
  TaskWatch watch(task);
  const auto found = quantum::optimise(*request, *simulator.search, watch);
  if (!found) return task.fail(found.error());
  return answer(task, quantum::text_of(*request, *found));
}

Outcome maxcut(TaskContext& task, const std::string& payload, Simulator& simulator) {
  return optimise(task, quantum::read_maxcut_request(payload, simulator.qubits), simulator);
}

Outcome qubo(TaskContext& task, const std::string& payload, Simulator& simulator) {
  return optimise(task, quantum::read_qubo_request(payload, simulator.qubits), simulator);
}

struct QuantumOperation {
  std::string_view name;
  Outcome (*function)(TaskContext&, const std::string& payload, Simulator&);
};
constexpr QuantumOperation operations[] = {{"quantum.run", run},
                                           {"quantum.amplitudes", amplitudes},
                                           {"quantum.maxcut", maxcut},
                                           {"quantum.qubo", qubo}};

}  // namespace

std::vector<std::string_view> quantum_operation_names() {
  std::vector<std::string_view> names;
  for (const QuantumOperation& operation : operations) names.push_back(operation.name);
  return names;
}

void add_quantum_operations(HandlerSet& handlers, unsigned qubits) {
  const auto simulator = std::make_shared<Simulator>(Simulator{qubits, open_angle_search()});
  for (const QuantumOperation& operation : operations)
    handlers.add(std::string(operation.name),
                 [function = operation.function, simulator](TaskContext& task) {
                   if (task.payload().size() > quantum::payload_bytes_max)
                     return task.fail("the payload has more than " +
                                      std::to_string(quantum::payload_bytes_max) + " bytes");
                   try {
                     // A copy: the submitter could change the text while it is read.
                     return function(task, std::string(task.payload_text()), *simulator);
                   } catch (const std::bad_alloc&) {
                     return task.fail("there is not enough memory for the states");
                   }
                 });
}

}  // namespace micro_swarm

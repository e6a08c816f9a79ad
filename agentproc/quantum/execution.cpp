#include "agentproc/quantum/execution.hpp"

#include <algorithm>

#include "agentproc/quantum/limits.hpp"

namespace micro_swarm::quantum {

void apply(const Operation& operation, StateVector& state) noexcept {
  std::uint64_t controls = 0;
  for (unsigned i = 0; i < operation.controls; ++i)
    controls |= std::uint64_t{1} << operation.qubits[i];
  const unsigned target = operation.qubits[operation.controls];
  if (operation.gate == Gate::swap)
    state.swap(target, operation.qubits[operation.controls + 1u], controls);
  else if (operation.gate != Gate::id)
    state.apply(matrix_of(operation.gate, operation.angles), target, controls);
}

Plan::Plan(const Circuit& circuit) : qubits_(circuit.qubits), result_bits_(circuit.bits) {
  // From the end: which qubits and bits are touched by what comes behind.
  std::uint64_t later_qubits = 0, later_bits = 0;
  bool measures = false;
  for (auto it = circuit.operations.rbegin(); it != circuit.operations.rend(); ++it) {
    const bool is_measurement = it->kind == Operation::Kind::measure;
    const std::uint64_t bit = is_measurement ? std::uint64_t{1} << it->bit : 0;
    measures |= is_measurement;
    if (is_measurement && it->condition.is_always() && (later_qubits & it->qubit_mask()) == 0 &&
        (later_bits & bit) == 0)
      readings_.push_back({it->qubits[0], it->bit});
    else
      steps_.push_back(*it);
    later_qubits |= it->qubit_mask();
    later_bits |= bit | it->condition.mask;
  }
  std::reverse(steps_.begin(), steps_.end());
  if (!measures) {
    result_bits_ = qubits_;
    for (unsigned q = 0; q < qubits_; ++q)
      readings_.push_back({static_cast<std::uint8_t>(q), static_cast<std::uint8_t>(q)});
  }
  std::uint64_t touched = 0;
  std::erase_if(steps_, [&touched](const Operation& step) {  // a reset that begins is none
    const bool is_idle = step.kind == Operation::Kind::reset && (touched & step.qubit_mask()) == 0;
    touched |= step.qubit_mask();
    return is_idle;
  });
  const auto first = std::find_if(steps_.begin(), steps_.end(), [](const Operation& step) {
    return step.kind != Operation::Kind::gate || !step.condition.is_always();
  });
  first_chance_ = static_cast<std::size_t>(first - steps_.begin());
}

Result<void> Plan::run_from(std::size_t begin, std::size_t end, StateVector& state,
                            Watch& watch) const {
  for (std::size_t i = begin; i < end; ++i) {
    apply(steps_[i], state);
    if (!watch.worked(state.size())) return stopped();
  }
  return {};
}

Result<void> Plan::run(StateVector& state, Watch& watch) const {
  return run_from(0, steps_.size(), state, watch);
}

/// Many shots share a state until a measurement parts them. The smaller part goes first, on a copy,
/// so there are at most log2(shots) copies.
class Plan::Runner {
 public:
  Runner(const Plan& plan, Random& random, Watch& watch)
      : plan_(plan), random_(random), watch_(watch) {}

  Result<void> follow(StateVector& state, std::size_t at, std::uint64_t bits, std::uint64_t shots) {
    for (; at < plan_.steps_.size(); ++at) {
      const Operation& step = plan_.steps_[at];
      if (!step.condition.holds(bits)) continue;
      if (!watch_.worked(2 * state.size() + shots)) return stopped();
      if (step.kind == Operation::Kind::gate) {
        apply(step, state);
        continue;
      }
      const double one = state.probability_of_one(step.qubits[0]);
      const std::uint64_t ones = ones_of(shots, one, random_);
      if (ones != 0 && ones != shots) {
        const bool fewer = ones <= shots - ones;  // the outcome of the smaller part
        const std::uint64_t apart = fewer ? ones : shots - ones;
        if (auto done = part(state, at, bits, fewer, fewer ? one : 1 - one, apart); !done)
          return done;
        shots -= apart;
        bits = settle(state, step, bits, !fewer, fewer ? 1 - one : one);
      } else {
        bits = settle(state, step, bits, ones != 0, ones != 0 ? one : 1 - one);
      }
    }
    return read(state, bits, shots);
  }

  Counts counts;

 private:
  Result<void> part(const StateVector& state, std::size_t at, std::uint64_t bits, bool outcome,
                    double probability, std::uint64_t shots) {
    const std::size_t bytes = StateVector::bytes_of(state.qubits());
    if (copies_bytes_ + bytes > branch_bytes_max)
      return Error{ErrorCode::too_large,
                   "the circuit measures on its way, and its outcomes take more than " +
                       std::to_string(branch_bytes_max >> 20) +
                       " MiB of states at one time; fewer shots or fewer qubits take less",
                   0};
    copies_bytes_ += bytes;
    StateVector copy(state);
    bits = settle(copy, plan_.steps_[at], bits, outcome, probability);
    auto done = follow(copy, at + 1, bits, shots);
    copies_bytes_ -= bytes;
    return done;
  }

  /// The state after that outcome; returns the bits after it.
  static std::uint64_t settle(StateVector& state, const Operation& step, std::uint64_t bits,
                              bool outcome, double probability) noexcept {
    const unsigned qubit = step.qubits[0];
    state.collapse(qubit, outcome, probability);
    if (step.kind == Operation::Kind::reset) {
      if (outcome) state.apply(matrix_of(Gate::x, {}), qubit);
      return bits;
    }
    const std::uint64_t bit = std::uint64_t{1} << step.bit;
    return outcome ? bits | bit : bits & ~bit;
  }

  Result<void> read(const StateVector& state, std::uint64_t bits, std::uint64_t shots) {
    if (plan_.readings_.empty()) {
      counts[bits] += shots;
      return {};
    }
    const auto indices = sample(state, shots, random_, watch_);
    if (!indices) return indices.error();
    for (const auto& [index, times] : *indices) {
      std::uint64_t outcome = bits;
      for (const Reading& reading : plan_.readings_) {
        const std::uint64_t bit = std::uint64_t{1} << reading.bit;
        outcome = (index >> reading.qubit & 1) != 0 ? outcome | bit : outcome & ~bit;
      }
      counts[outcome] += times;
    }
    return {};
  }

  const Plan& plan_;
  Random& random_;
  Watch& watch_;
  std::size_t copies_bytes_ = 0;
};

Result<Counts> Plan::counts(StateVector& state, std::uint64_t shots, Random& random,
                            Watch& watch) const {
  Runner runner(*this, random, watch);
  if (!has_final_state())
    if (auto done = run_from(0, first_chance_, state, watch); !done) return done.error();
  if (auto done = runner.follow(state, first_chance_, 0, shots); !done) return done.error();
  return std::move(runner.counts);
}

}  // namespace micro_swarm::quantum

#pragma once

// One thread at a time works with an agent or a client, whatever Python's threads do. The GIL is
// let go while the library waits, so the GIL alone does not see to that.

#include <pybind11/pybind11.h>

#include <functional>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

namespace micro_swarm::python {

/// Entered and asked with the GIL.
class Gate {
 public:
  /// `function()` without the GIL, and nobody else's beside it: for what waits. Throws RuntimeError
  /// where another thread is in.
  template <class F>
  auto pass(F&& function) {
    const Inside inside(*this);
    pybind11::gil_scoped_release release;
    return function();
  }
  /// The same with the GIL: for what is short.
  template <class F>
  auto hold(F&& function) {
    const Inside inside(*this);
    return function();
  }
  /// Now, or when whoever is in comes out: how memory is given back, which any thread may drop.
  void soon(std::function<void()> function) {
    if (is_busy_)
      waiting_.push_back(std::move(function));
    else
      function();
  }

 private:
  struct Inside {
    explicit Inside(Gate& entered) : gate(entered) {
      if (gate.is_busy_)
        throw std::runtime_error("another thread works with this object: one at a time");
      gate.is_busy_ = true;
    }
    ~Inside() {
      gate.is_busy_ = false;
      if (!gate.waiting_.empty())
        for (auto& function : std::exchange(gate.waiting_, {})) function();
    }
    Gate& gate;
  };

  bool is_busy_ = false;
  std::vector<std::function<void()>> waiting_;
};

/// `object` lives until the last copy is dropped; then `end(object)`, when the gate is free.
template <class T, class End>
std::shared_ptr<T> kept_behind(std::shared_ptr<Gate> gate, T object, End end) {
  return {new T(std::move(object)), [gate = std::move(gate), end = std::move(end)](T* kept) {
            gate->soon([kept, end] {
              end(*kept);
              delete kept;
            });
          }};
}

}  // namespace micro_swarm::python

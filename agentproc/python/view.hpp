#pragma once

// Memory of the pool as Python sees it: a memoryview over an exporter, so that nothing is copied
// and every array that is made of it counts as a use. Everything here is called with the GIL.

#include <pybind11/pybind11.h>

#include <cstddef>
#include <memory>
#include <span>

namespace micro_swarm::python {

/// What a memoryview of ours is a view of. `keep` lives as long as the last array or slice.
class Exporter {
 public:
  Exporter(std::span<std::byte> bytes, bool is_readonly, std::shared_ptr<void> keep) noexcept
      : bytes_(bytes), is_readonly_(is_readonly), keep_(std::move(keep)) {}
  pybind11::buffer_info buffer() const;
  void keep_instead(std::shared_ptr<void> keep) { keep_ = std::move(keep); }

 private:
  std::span<std::byte> bytes_;
  bool is_readonly_;
  std::shared_ptr<void> keep_;
};

/// A memoryview that can be taken back.
class View {
 public:
  View() = default;
  View(std::span<std::byte> bytes, bool is_readonly, std::shared_ptr<void> keep);
  View(std::span<const std::byte> bytes, std::shared_ptr<void> keep)
      : View({const_cast<std::byte*>(bytes.data()), bytes.size()}, true, std::move(keep)) {}

  explicit operator bool() const noexcept { return static_cast<bool>(memoryview_); }
  const pybind11::object& memoryview() const noexcept { return memoryview_; }
  /// Releases the memoryview: who uses it afterwards gets a ValueError. False: arrays or slices of
  /// it are alive still, also after a garbage collection.
  bool take_back();
  /// What cannot be taken back keeps this alive, instead of what it was made with.
  void keep_instead(std::shared_ptr<void> keep) {
    exporter_.cast<Exporter&>().keep_instead(std::move(keep));
  }

 private:
  bool release() const;

  pybind11::object exporter_;
  pybind11::object memoryview_;
};

void define_views(pybind11::module_& module);

}  // namespace micro_swarm::python

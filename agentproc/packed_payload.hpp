#pragma once

// A payload that its client compressed, brought back into memory of the agent's own.

#include <cstddef>
#include <memory>
#include <span>

#include "common/result.hpp"

namespace micro_swarm {

/// One thread. Keeps up to a mebibyte of memory for the next one.
class PackedPayload {
 public:
  /// The original of the packed block, aligned to at least 16; valid until the next call. The block
  /// is input and may change while it is read: no more than `bytes_max` are ever taken for it, and
  /// what comes out is what its checksum says or nothing. Errors: protocol (damaged), too_large
  /// (says that it is more than `bytes_max`), system (no memory).
  Result<std::span<const std::byte>> unpack(std::span<const std::byte> block,
                                            std::size_t bytes_max);

 private:
  std::unique_ptr<std::byte[]> memory_;
  std::size_t bytes_ = 0;
};

}  // namespace micro_swarm

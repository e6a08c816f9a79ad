// Payload bytes, smaller on their way: packed once here, unpacked by each attempt's agent.

#include "common/compression.hpp"
#include "ipc/client_core.hpp"

namespace micro_swarm {

namespace {
constexpr std::size_t scratch_kept_bytes = std::size_t{1} << 20;
}  // namespace

std::span<const std::byte> ClientCore::packed(std::span<const std::byte> payload,
                                              std::uint8_t& flags) {
  const SupervisorTables& tables = link_->tables();
  const std::uint64_t threshold = load(tables.compression_threshold_bytes);
  if (scratch_bytes_ > scratch_kept_bytes) {
    scratch_.reset();
    scratch_bytes_ = 0;
  }
  if (threshold == 0 || payload.size() < threshold || payload.size() > compressible_bytes_max)
    return payload;
  const std::size_t room = packed_bytes_max(payload.size());
  if (room > scratch_bytes_) {
    scratch_ = std::make_unique_for_overwrite<std::byte[]>(room);
    scratch_bytes_ = room;
  }
  const auto block = pack(static_cast<Codec>(load(tables.compression_codec)), payload,
                          {scratch_.get(), scratch_bytes_});
  // What cannot be packed is handed in as it is.
  if (!block || block->codec == Codec::none) return payload;
  flags |= submit_compressed;
  return {scratch_.get(), block->bytes};
}

}  // namespace micro_swarm

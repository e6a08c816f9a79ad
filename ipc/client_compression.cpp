// Payload bytes, smaller on their way: packed once here, unpacked by each attempt's agent.

#include "common/clock.hpp"
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
  const std::uint64_t began_ns = now_ns();
  const std::size_t room = packed_bytes_max(payload.size());
  if (room > scratch_bytes_) {
    scratch_ = std::make_unique_for_overwrite<std::byte[]>(room);
    scratch_bytes_ = room;
  }
  const auto block = pack(static_cast<Codec>(load(tables.compression_codec)), payload,
                          {scratch_.get(), scratch_bytes_});
  Word& codec_ns = link_->own().header().codec_ns;
  store(codec_ns, load(codec_ns) + (now_ns() - began_ns));
  // What cannot be packed is handed in as it is.
  if (!block || block->codec == Codec::none) return payload;
  flags |= submit_compressed;
  return {scratch_.get(), block->bytes};
}

std::vector<ClientCore::BatchPayload> ClientCore::batch_payloads(
    std::span<const TaskRequest> requests) {
  std::vector<BatchPayload> payloads(requests.size());
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const TaskRequest& request = requests[i];
    BatchPayload& payload = payloads[i];
    payload.bytes =
        request.region ? std::span<const std::byte>(request.region.bytes_) : request.payload;
    // A key's request is known again by its bytes, also by a swarm that compresses otherwise.
    const bool has_key = request.options != nullptr && !request.options->idempotency_key.empty();
    if (request.region || has_key || request.payload.size() <= task_inline_bytes_max) continue;
    const auto bytes = packed(request.payload, payload.flags);
    if (payload.flags == 0) continue;
    payload.packed.assign(bytes.begin(), bytes.end());
    payload.bytes = payload.packed;
  }
  return payloads;
}

}  // namespace micro_swarm

#include "agentproc/packed_payload.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <new>
#include <string>

#include "common/compression.hpp"

namespace micro_swarm {

namespace {
constexpr std::size_t kept_bytes = std::size_t{1} << 20;
}  // namespace

Result<std::span<const std::byte>> PackedPayload::unpack(std::span<const std::byte> block,
                                                         std::size_t bytes_max) {
  std::array<std::byte, pack_header_bytes> header;
  if (block.size() < header.size())
    return Error{ErrorCode::protocol, "the compressed payload is damaged: cut short", 0};
  std::copy_n(block.begin(), header.size(), header.begin());
  // Of the header alone, so that a block that is not compressed is none.
  const auto said = read_pack_header(header);
  if (!said) return Error{ErrorCode::protocol, "the compressed payload is damaged: its header", 0};
  if (said->original_bytes > bytes_max)
    return Error{ErrorCode::too_large,
                 "the compressed payload says that it is " + std::to_string(said->original_bytes) +
                     " bytes, more than the whole pool",
                 0};
  if (bytes_ > kept_bytes || bytes_ < said->original_bytes) {
    memory_.reset();
    bytes_ = 0;
    memory_.reset(new (std::nothrow) std::byte[std::max<std::size_t>(said->original_bytes, 1)]);
    if (memory_ == nullptr)
      return system_error(
          "no memory for a payload of " + std::to_string(said->original_bytes) + " bytes", ENOMEM);
    bytes_ = said->original_bytes;
  }
  const auto size = micro_swarm::unpack(block, {memory_.get(), bytes_});
  if (!size)
    return Error{size.error().code == ErrorCode::system ? ErrorCode::system : ErrorCode::protocol,
                 "the compressed payload is damaged: " + size.error().message, 0};
  return std::span<const std::byte>(memory_.get(), *size);
}

}  // namespace micro_swarm

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <vector>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "agentproc/operations/element.hpp"
#include "agentproc/operations/families.hpp"
#include "common/compression.hpp"

namespace micro_swarm::operations {

namespace {

/// One piece where it lies, several put together.
class Whole {
 public:
  explicit Whole(Pieces data) {
    if (data.size() == 1) {
      bytes_ = data.front();
      return;
    }
    for (const auto piece : data) together_.insert(together_.end(), piece.begin(), piece.end());
    bytes_ = together_;
  }
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::vector<std::byte> together_;
  std::span<const std::byte> bytes_;
};

}  // namespace

/// XXH3 (xxHash 0.8), seed 0, as hexadecimal digits in the order in which it is written.
Result<void> bytes_hash(std::string_view text, Pieces data, Output& output) {
  Parameters parameters(text);
  const bool is_long = parameters.word("with", {"xxh3_64", "xxh3_128"}) == "xxh3_128";
  if (auto read = parameters.finish(); !read) return read;
  XXH3_state_t state;
  is_long ? XXH3_128bits_reset(&state) : XXH3_64bits_reset(&state);
  constexpr std::size_t step = std::size_t{16} << 20;
  for (const auto piece : data)
    for (std::size_t at = 0; at < piece.size(); at += step) {
      if (!output.go_on()) return Error{ErrorCode::cancelled, "cancelled", 0};
      const auto part = piece.subspan(at, std::min(step, piece.size() - at));
      is_long ? XXH3_128bits_update(&state, part.data(), part.size())
              : XXH3_64bits_update(&state, part.data(), part.size());
    }
  std::array<char, 33> digits{};
  if (is_long) {
    const XXH128_hash_t hash = XXH3_128bits_digest(&state);
    std::snprintf(digits.data(), digits.size(), "%016llx%016llx",
                  static_cast<unsigned long long>(hash.high64),
                  static_cast<unsigned long long>(hash.low64));
  } else {
    std::snprintf(digits.data(), digits.size(), "%016llx",
                  static_cast<unsigned long long>(XXH3_64bits_digest(&state)));
  }
  return answer(output, digits.data());
}

/// A packed block (common/compression.hpp): it knows its size and its checksum.
Result<void> bytes_compress(std::string_view text, Pieces data, Output& output) {
  Parameters parameters(text);
  const Codec codec = parameters.word("with", {"lz4", "zstd"}) == "zstd" ? Codec::zstd : Codec::lz4;
  if (auto read = parameters.finish(); !read) return read;
  const Whole whole(data);
  auto room = output.room(packed_bytes_max(whole.bytes().size()));
  if (!room) return room.error();
  const auto packed = pack(codec, whole.bytes(), *room);
  if (!packed) return packed.error();
  output.shrink(packed->bytes);
  return {};
}

Result<void> bytes_decompress(std::string_view text, Pieces data, Output& output) {
  Parameters parameters(text);
  if (auto read = parameters.finish(); !read) return read;
  const Whole whole(data);
  // A copy of the header: the block may change while it is read.
  std::array<std::byte, pack_header_bytes> header{};
  if (whole.bytes().size() < header.size())
    return Error{ErrorCode::protocol, "the data are no block of bytes.compress: cut short", 0};
  std::copy_n(whole.bytes().begin(), header.size(), header.begin());
  const auto said = read_pack_header(header);
  if (!said) return Error{ErrorCode::protocol, "the data are no block of bytes.compress", 0};
  auto room = output.room(said->original_bytes);
  if (!room) return room.error();
  const auto size = unpack(whole.bytes(), *room);
  if (!size) return size.error();
  output.shrink(*size);
  return {};
}

/// How often each of the 256 values occurs, as 256 numbers of type uint64.
Result<void> bytes_histogram(std::string_view text, Pieces data, Output& output) {
  Parameters parameters(text);
  if (auto read = parameters.finish(); !read) return read;
  std::array<std::uint64_t, 256> counts{};
  if (auto done =
          for_each<std::uint8_t>(data, output, [&](std::uint8_t value) { ++counts[value]; });
      !done)
    return done;
  auto room = output.room(sizeof counts);
  if (!room) return room.error();
  std::memcpy(room->data(), counts.data(), sizeof counts);
  return {};
}

}  // namespace micro_swarm::operations

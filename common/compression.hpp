#pragma once

// LZ4 and zstd behind one interface, and the form in which compressed bytes are kept.
//
// The rule: bytes are kept compressed only if that saves at least an eighth of them. The room given
// to a codec is exactly what may be used, so it gives up by itself as soon as it is beyond that.
//
// A packed block, little-endian:
//
//    0  u16  magic 'm','z'
//    2  u8   codec: 0 stored as it is, 1 LZ4 block, 2 zstd frame
//    3  u8   flags: 0 in this version; a reader refuses what it does not know
//    4  u32  original size in bytes
//    8  u64  XXH3-64 of the original bytes; seed: the eight bytes above, as a number
//   16       the body, to the end: nothing says its size but the block's own
//
// The checksum is of what comes out, so it also sees a fault of a codec or of memory; with the seed
// it covers the header. It finds damage, not malice: whoever may write the block can write another
// checksum. Malice finds nothing to write outside of what it was given (see decompress()).
//
// Sources: LZ4 block format 1.6.1 (liblz4's lz4.h); RFC 8878 (zstd); xxHash 0.8.
//
// Everything here is a function of its arguments; two threads need no lock between them.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "common/result.hpp"

namespace micro_swarm {

/// Values are those of the packed form.
enum class Codec : std::uint8_t { none = 0, lz4 = 1, zstd = 2 };

std::string_view name_of(Codec codec);

inline constexpr std::size_t pack_header_bytes = 16;

/// The largest original, in bytes: LZ4's own limit (LZ4_MAX_INPUT_SIZE).
inline constexpr std::size_t compressible_bytes_max = 0x7e00'0000;

/// The most that `bytes` may take when compressed, in bytes; more would not have paid.
constexpr std::size_t paying_bytes(std::size_t bytes) {
  return bytes - (bytes / 8 + !!(bytes % 8));
}

/// Compresses all of `in` into `out`, which does not overlap it and may have any size: no more than
/// paying_bytes(in.size()) of it is used. Returns the size in bytes, or nothing where it does not
/// pay (or `out` is too small for it, or `codec` is none): what `out` holds then means nothing.
/// Errors: too_large (above compressible_bytes_max); system (ENOMEM: zstd's own tables).
Result<std::optional<std::size_t>> compress(Codec codec, std::span<const std::byte> in,
                                            std::span<std::byte> out);

/// Brings back exactly `exact_size` bytes into the beginning of `out`, which does not overlap `in`.
/// `in` may be anything: nothing outside of it is read, nothing outside the first `exact_size`
/// bytes of `out` is written, and no memory is taken by what `in` says. Without a checksum of its
/// own: what is damaged and still gives `exact_size` bytes gives wrong ones (unpack() tells).
/// Errors: protocol (not that codec's, cut short, or another size: `out` holds rubbish);
/// usage (`out` is smaller than `exact_size`, or `codec` is none); too_large; system (ENOMEM).
Result<void> decompress(Codec codec, std::span<const std::byte> in, std::size_t exact_size,
                        std::span<std::byte> out);

/// The most bytes a packed block of so many has.
constexpr std::size_t packed_bytes_max(std::size_t bytes) { return pack_header_bytes + bytes; }

struct Packed {
  std::size_t bytes = 0;      ///< of the block, header included
  Codec codec = Codec::none;  ///< none = stored as it is: it did not pay
};

/// Writes a packed block to the beginning of `out` (at least packed_bytes_max(in.size()) bytes, no
/// overlap). Errors: usage (`out` is smaller); too_large; system (ENOMEM).
Result<Packed> pack(Codec codec, std::span<const std::byte> in, std::span<std::byte> out);

struct PackHeader {
  Codec codec = Codec::none;
  std::size_t original_bytes = 0;
  std::uint64_t checksum = 0;
};

/// What a block says of itself; `block` may be anything, and the size may still be a lie, but for
/// codec none. Errors: protocol.
Result<PackHeader> read_pack_header(std::span<const std::byte> block);

/// Brings back the original of a packed block, which may be anything, into the beginning of `out`;
/// returns its size in bytes. Never a wrong result. Errors: protocol (damaged: `out` holds
/// rubbish); usage (`out` is smaller than the original says it is); system (ENOMEM).
Result<std::size_t> unpack(std::span<const std::byte> block, std::span<std::byte> out);

/// What compression cost and brought. Whoever calls the functions above counts, with the time the
/// call took by its own clock.
struct CompressionCounters {
  std::uint64_t compressed = 0;      ///< calls that paid
  std::uint64_t incompressible = 0;  ///< calls that did not
  std::uint64_t decompressed = 0;
  std::uint64_t damaged = 0;    ///< blocks that could not be brought back
  std::uint64_t bytes_in = 0;   ///< of the calls that paid: before
  std::uint64_t bytes_out = 0;  ///< and after
  std::uint64_t bytes_brought_back = 0;
  std::uint64_t compress_ns = 0;  ///< of all calls, those that did not pay included
  std::uint64_t decompress_ns = 0;

  void count_compress(std::size_t in_bytes, std::optional<std::size_t> out_bytes,
                      std::uint64_t took_ns);
  void count_decompress(std::optional<std::size_t> out_bytes, std::uint64_t took_ns);
  /// Before over after, of what paid; 1 where there was nothing.
  double ratio() const;
};

}  // namespace micro_swarm

#include "common/compression.hpp"

#define XXH_INLINE_ALL
#include <lz4.h>
#include <xxhash.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <climits>
#include <cstring>

namespace micro_swarm {
namespace {

static_assert(std::endian::native == std::endian::little, "packed blocks are little-endian");
static_assert(compressible_bytes_max == LZ4_MAX_INPUT_SIZE);

constexpr std::uint16_t pack_magic = 'm' | 'z' << 8;
/// zstd's own default: beyond it time grows much faster than anything is saved.
constexpr int zstd_level = 3;

struct HeaderBytes {
  std::uint16_t magic;
  std::uint8_t codec;
  std::uint8_t flags;
  std::uint32_t original_bytes;
  std::uint64_t checksum;
};
static_assert(sizeof(HeaderBytes) == pack_header_bytes && offsetof(HeaderBytes, checksum) == 8);

std::uint64_t checksum_of(const HeaderBytes& header, std::span<const std::byte> original) {
  std::uint64_t seed = 0;
  std::memcpy(&seed, &header, sizeof seed);
  return XXH3_64bits_withSeed(original.data(), original.size(), seed);
}

Error too_large(std::size_t bytes) {
  return {ErrorCode::too_large, std::to_string(bytes) + " bytes are more than can be compressed (" +
                                    std::to_string(compressible_bytes_max) + ")"};
}
Error damaged(std::string what) { return {ErrorCode::protocol, std::move(what)}; }

const char* chars(const std::byte* bytes) { return reinterpret_cast<const char*>(bytes); }
char* chars(std::byte* bytes) { return reinterpret_cast<char*>(bytes); }

Error zstd_error(std::size_t code) {
  if (ZSTD_getErrorCode(code) == ZSTD_error_memory_allocation)
    return system_error("zstd's tables", ENOMEM);
  return damaged(std::string("not a zstd frame of the size expected: ") + ZSTD_getErrorName(code));
}

}  // namespace

std::string_view name_of(Codec codec) {
  switch (codec) {
    case Codec::none: return "none";
    case Codec::lz4: return "lz4";
    case Codec::zstd: return "zstd";
  }
  return "unknown";
}

Result<std::optional<std::size_t>> compress(Codec codec, std::span<const std::byte> in,
                                            std::span<std::byte> out) {
  if (in.size() > compressible_bytes_max) return too_large(in.size());
  const std::size_t room = std::min(out.size(), paying_bytes(in.size()));
  if (room == 0) return std::nullopt;
  if (codec == Codec::lz4) {
    const int size = LZ4_compress_default(chars(in.data()), chars(out.data()),
                                          static_cast<int>(in.size()), static_cast<int>(room));
    if (size <= 0) return std::nullopt;
    return static_cast<std::size_t>(size);
  }
  if (codec == Codec::zstd) {
    const std::size_t size = ZSTD_compress(out.data(), room, in.data(), in.size(), zstd_level);
    if (!ZSTD_isError(size)) return size;
    if (ZSTD_getErrorCode(size) == ZSTD_error_memory_allocation) return zstd_error(size);
    return std::nullopt;  // it is all that can fail otherwise: the room was not enough
  }
  return std::nullopt;
}

Result<void> decompress(Codec codec, std::span<const std::byte> in, std::size_t exact_size,
                        std::span<std::byte> out) {
  if (exact_size > compressible_bytes_max) return too_large(exact_size);
  if (exact_size > out.size()) return Error{ErrorCode::usage, "no room for the original"};
  // Nothing is compressed from nothing, and more than its original nothing has.
  if (in.empty() || exact_size == 0 || in.size() > paying_bytes(exact_size))
    return damaged("compressed bytes of a size that cannot be");
  if (codec == Codec::lz4) {
    const int size = LZ4_decompress_safe(chars(in.data()), chars(out.data()),
                                         static_cast<int>(in.size()), static_cast<int>(exact_size));
    if (size < 0) return damaged("not an LZ4 block of the size expected");
    if (static_cast<std::size_t>(size) != exact_size) return damaged("an LZ4 block is cut short");
    return {};
  }
  if (codec == Codec::zstd) {
    // Straight into `out`: one pass needs no window of its own, whatever the frame asks for.
    const std::size_t size = ZSTD_decompress(out.data(), exact_size, in.data(), in.size());
    if (ZSTD_isError(size)) return zstd_error(size);
    if (size != exact_size) return damaged("a zstd frame is of another size");
    return {};
  }
  return Error{ErrorCode::usage, "no such codec"};
}

Result<Packed> pack(Codec codec, std::span<const std::byte> in, std::span<std::byte> out) {
  if (in.size() > compressible_bytes_max) return too_large(in.size());
  if (out.size() < packed_bytes_max(in.size()))
    return Error{ErrorCode::usage, "no room for the packed block"};
  const auto body = out.subspan(pack_header_bytes);
  auto size = compress(codec, in, body);
  if (!size) return std::move(size).error();
  const Packed packed{pack_header_bytes + size->value_or(in.size()), *size ? codec : Codec::none};
  if (!*size) std::copy(in.begin(), in.end(), body.begin());
  HeaderBytes header{pack_magic, static_cast<std::uint8_t>(packed.codec), 0,
                     static_cast<std::uint32_t>(in.size()), 0};
  header.checksum = checksum_of(header, in);
  std::memcpy(out.data(), &header, sizeof header);
  return packed;
}

Result<PackHeader> read_pack_header(std::span<const std::byte> block) {
  HeaderBytes header;
  if (block.size() < sizeof header) return damaged("a packed block is shorter than its header");
  std::memcpy(&header, block.data(), sizeof header);
  if (header.magic != pack_magic) return damaged("not a packed block");
  if (header.flags != 0) return damaged("a packed block of a version not known here");
  if (header.codec > static_cast<std::uint8_t>(Codec::zstd))
    return damaged("a packed block of a codec not known here");
  if (header.original_bytes > compressible_bytes_max)
    return damaged("a packed block of an impossible size");
  const PackHeader told{static_cast<Codec>(header.codec), header.original_bytes, header.checksum};
  const std::size_t body = block.size() - sizeof header;
  if (told.codec == Codec::none ? body != told.original_bytes
                                : body > paying_bytes(told.original_bytes))
    return damaged("a packed block is of another size than it says");
  return told;
}

Result<std::size_t> unpack(std::span<const std::byte> block, std::span<std::byte> out) {
  auto told = read_pack_header(block);
  if (!told) return std::move(told).error();
  if (out.size() < told->original_bytes)
    return Error{ErrorCode::usage,
                 "no room for the original of " + std::to_string(told->original_bytes) + " bytes"};
  const auto body = block.subspan(pack_header_bytes);
  if (told->codec == Codec::none) {
    std::copy(body.begin(), body.end(), out.begin());
  } else if (auto done = decompress(told->codec, body, told->original_bytes, out); !done) {
    return std::move(done).error();
  }
  HeaderBytes header;
  std::memcpy(&header, block.data(), sizeof header);
  if (checksum_of(header, out.first(told->original_bytes)) != told->checksum)
    return damaged("the checksum of a packed block is wrong");
  return told->original_bytes;
}

void CompressionCounters::count_compress(std::size_t in_bytes, std::optional<std::size_t> out_bytes,
                                         std::uint64_t took_ns) {
  compress_ns += took_ns;
  if (!out_bytes) {
    ++incompressible;
    return;
  }
  ++compressed;
  bytes_in += in_bytes;
  bytes_out += *out_bytes;
}

void CompressionCounters::count_decompress(std::optional<std::size_t> out_bytes,
                                           std::uint64_t took_ns) {
  decompress_ns += took_ns;
  if (!out_bytes) {
    ++damaged;
    return;
  }
  ++decompressed;
  bytes_brought_back += *out_bytes;
}

double CompressionCounters::ratio() const {
  return bytes_out == 0 ? 1 : static_cast<double>(bytes_in) / static_cast<double>(bytes_out);
}

}  // namespace micro_swarm

// Compressed bytes: what comes back is what went in, or a typed error. Buffers that are given to a
// decoder are exactly as large as they may be used, so the address sanitizer sees a byte too far.

#include "common/compression.hpp"

#include <rapidcheck.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <memory>
#include <random>
#include <vector>

namespace micro_swarm {
namespace {

using Bytes = std::vector<std::byte>;
constexpr Codec codecs[] = {Codec::lz4, Codec::zstd};

/// Words drawn from a few, so that there is something to find; `noise` of 256 bytes at random.
Bytes text(std::size_t size, std::uint64_t seed, unsigned noise = 0) {
  std::mt19937_64 random(seed);
  Bytes words(64 * 8);
  for (std::byte& b : words) b = static_cast<std::byte>(random());
  Bytes out;
  out.reserve(size + 8);
  while (out.size() < size) {
    const std::uint64_t bits = random();
    if (bits % 256 < noise) {
      out.push_back(static_cast<std::byte>(bits >> 32));
    } else {
      const auto word = words.begin() + static_cast<std::ptrdiff_t>((bits >> 8) % 64 * 8);
      out.insert(out.end(), word, word + 8);
    }
  }
  out.resize(size);
  return out;
}

Bytes noise(std::size_t size, std::uint64_t seed) { return text(size, seed, 256); }

/// No byte more than it holds, unlike a vector's.
struct Exact {
  explicit Exact(std::span<const std::byte> of) : size(of.size()), bytes(new std::byte[of.size()]) {
    std::copy(of.begin(), of.end(), bytes.get());
  }
  explicit Exact(std::size_t n) : size(n), bytes(new std::byte[n]) {}
  operator std::span<std::byte>() { return {bytes.get(), size}; }
  operator std::span<const std::byte>() const { return {bytes.get(), size}; }
  std::size_t size;
  std::unique_ptr<std::byte[]> bytes;
};

Bytes packed(Codec codec, const Bytes& in) {
  Bytes block(packed_bytes_max(in.size()));
  block.resize(pack(codec, in, block).value().bytes);
  return block;
}

std::span<const std::byte> body_of(const Bytes& block) {
  return std::span(block).subspan(pack_header_bytes);
}

/// The original, or nothing after a typed error.
std::optional<Bytes> unpacked(std::span<const std::byte> block, std::size_t room) {
  const Exact in(block);
  Exact out(room);
  auto size = unpack(in, out);
  if (!size) {
    BOOST_TEST((size.error().code == ErrorCode::protocol || size.error().code == ErrorCode::usage));
    return std::nullopt;
  }
  BOOST_TEST_REQUIRE(*size <= room);
  return Bytes(out.bytes.get(), out.bytes.get() + *size);
}

BOOST_AUTO_TEST_CASE(what_went_in_comes_out) {
  const bool holds = rc::check("round trips of 0 bytes to 1 MiB", [] {
    const Codec codec = *rc::gen::element(Codec::none, Codec::lz4, Codec::zstd);
    const auto bits = *rc::gen::inRange(0, 21);
    const auto size = std::min<std::size_t>(
        *rc::gen::inRange<std::size_t>(0, (std::size_t{1} << bits) + 1), 1 << 20);
    const Bytes in = text(size, *rc::gen::arbitrary<std::uint64_t>(), *rc::gen::inRange(0u, 257u));
    Exact block(packed_bytes_max(size));
    const Packed told = pack(codec, in, block).value();
    RC_ASSERT(told.codec == codec || told.codec == Codec::none);
    if (told.codec != Codec::none)
      RC_ASSERT(told.bytes <= pack_header_bytes + paying_bytes(size));
    else
      RC_ASSERT(told.bytes == packed_bytes_max(size));
    Exact out(size);
    RC_ASSERT(unpack(std::span<const std::byte>(block).first(told.bytes), out).value() == size);
    RC_ASSERT(std::equal(in.begin(), in.end(), out.bytes.get()));
  });
  BOOST_TEST(holds);
  for (const Codec codec : codecs)
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{1} << 20}) {
      const Bytes in = text(size, 7);
      BOOST_TEST((unpacked(packed(codec, in), size) == in));
    }
}

BOOST_AUTO_TEST_CASE(at_least_an_eighth_is_saved_or_it_stays_as_it_is) {
  BOOST_TEST(paying_bytes(0) == 0u);
  BOOST_TEST(paying_bytes(1) == 0u);
  BOOST_TEST(paying_bytes(8) == 7u);
  BOOST_TEST(paying_bytes(9) == 7u);
  BOOST_TEST(paying_bytes(4096) == 3584u);
  for (const Codec codec : codecs) {
    for (const std::size_t size : {1u, 7u, 64u, 4096u, 1u << 20}) {
      const Bytes in = noise(size, size);
      Bytes out(size + 1024);
      BOOST_TEST(!compress(codec, in, out).value().has_value());
      BOOST_TEST((pack(codec, in, out).value().codec == Codec::none));
    }
    // Compressible, by less than an eighth: room enough is given, and not used.
    const Bytes little = [] {
      Bytes bytes = noise(4096, 3);
      std::fill_n(bytes.begin(), 256, std::byte{});
      return bytes;
    }();
    Bytes out(8192);
    BOOST_TEST(!compress(codec, little, out).value().has_value());
    const Bytes much = text(4096, 3);
    const auto size = compress(codec, much, out).value();
    BOOST_TEST_REQUIRE(size.has_value());
    BOOST_TEST(*size <= paying_bytes(much.size()));
    // Less room than it takes is as though it did not pay.
    Exact small(*size - 1);
    BOOST_TEST(!compress(codec, much, small).value().has_value());
  }
  Bytes room(4096);
  BOOST_TEST(!compress(Codec::none, text(4096, 3), room).value().has_value());
}

BOOST_AUTO_TEST_CASE(every_truncation_is_an_error) {
  for (const Codec codec : codecs) {
    const Bytes in = text(3000, 11, 8);
    const Bytes whole = packed(codec, in);
    BOOST_TEST_REQUIRE(whole.size() < 2000u);
    for (std::size_t size = 0; size < whole.size(); ++size) {
      BOOST_TEST(!unpacked(std::span(whole).first(size), in.size()).has_value());
      if (size <= pack_header_bytes) continue;
      const Exact body(body_of(whole).first(size - pack_header_bytes));
      Exact out(in.size());
      BOOST_TEST((decompress(codec, body, in.size(), out).error().code == ErrorCode::protocol));
    }
    Bytes longer = whole;
    longer.push_back(std::byte{0});
    BOOST_TEST(!unpacked(longer, in.size()).has_value());
  }
  const Bytes plain = packed(Codec::none, noise(100, 1));
  for (std::size_t size = 0; size < plain.size(); ++size)
    BOOST_TEST(!unpacked(std::span(plain).first(size), 100).has_value());
}

/// Returns how many flips were seen; each of the others must have given the right bytes.
unsigned seen_flips(Codec codec, bool trusting) {
  std::mt19937_64 random(static_cast<unsigned>(codec));
  const Bytes in = text(6000, 5, 16);
  const Bytes whole = packed(codec, in);
  unsigned seen = 0;
  for (unsigned flip = 0; flip < 10'000; ++flip) {
    Bytes block = whole;
    block[random() % block.size()] ^= static_cast<std::byte>(1u << random() % 8);
    if (trusting) {  // what a reader without the checksum would have been given
      Exact out(in.size());
      const Exact body(body_of(block));
      seen += !decompress(codec, body, in.size(), out) ||
              std::equal(in.begin(), in.end(), out.bytes.get());
      continue;
    }
    const auto out = unpacked(block, in.size());
    seen += !out;
    if (out) BOOST_TEST((*out == in));
  }
  return seen;
}

BOOST_AUTO_TEST_CASE(no_bit_flip_gives_a_wrong_result) {
  for (const Codec codec : codecs) BOOST_TEST(seen_flips(codec, false) > 9'900u);
  const Bytes in = noise(500, 5);
  const Bytes whole = packed(Codec::lz4, in);
  for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
    Bytes block = whole;
    block[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
    BOOST_TEST(!unpacked(block, in.size()).has_value());
  }
}

// The checksum is what does it: without it LZ4 takes most of the flips for good.
BOOST_AUTO_TEST_CASE(without_the_checksum_flips_pass) {
  BOOST_TEST(seen_flips(Codec::lz4, true) < 9'000u);
}

BOOST_AUTO_TEST_CASE(another_size_than_the_original_is_an_error) {
  for (const Codec codec : codecs) {
    const Bytes in = text(5000, 9);
    const Bytes whole = packed(codec, in);
    const Exact body(body_of(whole));
    for (const std::size_t size : {0u, 1u, 2500u, 4999u, 5001u, 6000u, 1u << 20}) {
      Exact out(size);
      BOOST_TEST((decompress(codec, body, size, out).error().code == ErrorCode::protocol));
    }
    Exact small(4999);
    BOOST_TEST((decompress(codec, body, 5000, small).error().code == ErrorCode::usage));
    BOOST_TEST((unpack(whole, small).error().code == ErrorCode::usage));
    BOOST_TEST((pack(codec, in, small).error().code == ErrorCode::usage));
    const auto huge = decompress(codec, body, compressible_bytes_max + 1, small);
    BOOST_TEST((huge.error().code == ErrorCode::too_large));
    BOOST_TEST((decompress(Codec::none, body, 10, small).error().code == ErrorCode::protocol));
    BOOST_TEST((decompress(Codec{9}, body, 4999, small).error().code == ErrorCode::usage));
  }
}

BOOST_AUTO_TEST_CASE(anything_at_all_is_an_error_or_nothing_worse) {
  std::mt19937_64 random(1);
  for (unsigned i = 0; i < 5'000; ++i) {
    const Codec codec = codecs[i % 2];
    Bytes body = noise(1 + random() % 300, random());
    // The beginning of a real frame, or a claim of 2^63 bytes, and then anything.
    const std::uint32_t zstd_magic = 0xfd2fb528;
    if (codec == Codec::zstd && body.size() > 16) {
      std::copy_n(reinterpret_cast<const std::byte*>(&zstd_magic), 4, body.begin());
      if (i % 4 == 1) body[4] = std::byte{0xe0};
    }
    const std::size_t size = random() % 5000;
    const Exact in(body);
    Exact out(size);
    (void)decompress(codec, in, size, out);  // the sanitizers watch
    Bytes block = packed(codec, text(4096, i));
    std::copy_n(body.begin(), std::min(body.size(), block.size() - pack_header_bytes),
                block.begin() + pack_header_bytes);
    BOOST_TEST(!unpacked(block, 4096).has_value());
  }
}

BOOST_AUTO_TEST_CASE(what_it_cost_is_counted) {
  CompressionCounters counters;
  BOOST_TEST(counters.ratio() == 1.0);
  counters.count_compress(1000, 250, 7);
  counters.count_compress(500, std::nullopt, 5);
  counters.count_decompress(1000, 3);
  counters.count_decompress(std::nullopt, 1);
  BOOST_TEST(counters.compressed == 1u);
  BOOST_TEST(counters.incompressible == 1u);
  BOOST_TEST(counters.decompressed == 1u);
  BOOST_TEST(counters.damaged == 1u);
  BOOST_TEST(counters.compress_ns == 12u);
  BOOST_TEST(counters.decompress_ns == 4u);
  BOOST_TEST(counters.bytes_brought_back == 1000u);
  BOOST_TEST(counters.ratio() == 4.0);
}

}  // namespace
}  // namespace micro_swarm

#include "supervisor/cache_rows.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace micro_swarm {

std::uint64_t row_checksum(const CacheRow& row, std::uint32_t serial) noexcept {
  constexpr std::size_t first = offsetof(CacheRow, bytes);
  constexpr std::size_t last = offsetof(CacheRow, checksum);
  return XXH3_64bits_withSeed(reinterpret_cast<const std::byte*>(&row) + first, last - first,
                              serial);
}

void begin_fill(CacheRow& row, Hold& source, const CacheRowFacts& facts, Token token,
                MessageInHand in_hand) noexcept {
  row.bytes = facts.bytes;
  row.put_key = facts.put_key;
  row.put_number = facts.put_number;
  row.stored_ns = facts.stored_ns;
  row.expires_ns = facts.expires_ns;
  std::memset(row.name, 0, sizeof row.name);
  std::memcpy(row.name, facts.name.data(), std::min(facts.name.size(), sizeof row.name));
  row.name_bytes = static_cast<std::uint8_t>(facts.name.size());
  row.priority = facts.priority;
  std::memset(row.reserved, 0, sizeof row.reserved);
  row.checksum = row_checksum(row, facts.serial);
  row.stored_bytes[0] = facts.bytes;
  row.stored_bytes[1] = 0;
  row.file_bytes = 0;
  row.last_use_ns = facts.stored_ns;
  row.uses = 1;
  row.incompressible = 0;
  // The right to the bytes first. Until the cursor moves the message comes again: a death up to
  // there leaves a row that is free, or being filled without a source, and settling the holds has
  // given this one back to the message.
  take_token(source, token);
  store(row.word, CacheWord::make(facts.serial, CacheRowState::filling, 0).word);
  // Last: from here on the row alone knows of the request.
  if (in_hand.ring != nullptr) keep(in_hand);
}

std::uint32_t used_rows(std::span<const CacheRow> rows) noexcept {
  std::uint32_t used = 0;
  while (used < rows.size() && load(rows[used].word) != 0) ++used;
  return used;
}

namespace {

bool is_sound(const CacheRow& row) {
  const CacheWord word = word_of(row);
  return row.name_bytes != 0 && row.name_bytes <= cache_name_bytes_max && row.bytes != 0 &&
         static_cast<unsigned>(row.priority) < priorities &&
         row.checksum == row_checksum(row, word.serial());
}

}  // namespace

std::vector<CacheRowFound> survey(std::span<const CacheRow> rows, const Hold* holds,
                                  const std::function<bool(Token, std::uint64_t)>& is_readable,
                                  const std::function<bool(Token, std::uint64_t)>& is_source) {
  using Kind = CacheRowFound::Kind;
  std::vector<CacheRowFound> found;
  // A right that a region was allocated with is in a hold before the row's word is ever stored: one
  // row behind the last used one may have it.
  const std::uint32_t used = used_rows(rows);
  const auto end = std::min<std::size_t>(used + std::size_t{1}, rows.size());
  for (std::uint32_t slot = 0; slot < end; ++slot) {
    const CacheRow& row = rows[slot];
    const CacheWord word = word_of(row);
    const Token tokens[2] = {Token{load(holds[1 + 2 * slot].token)},
                             Token{load(holds[2 + 2 * slot].token)}};
    const auto is = [&](Kind kind) { found.push_back({kind, slot, word}); };
    if (word.state() == CacheRowState::free) {
      if (tokens[0] || tokens[1]) is(Kind::remains);
      continue;
    }
    if (!is_sound(row)) {
      is(Kind::damaged);
      continue;
    }
    switch (word.state()) {
      case CacheRowState::filling:
        is(tokens[1] && is_source(tokens[1], row.bytes) ? Kind::interrupted : Kind::remains);
        break;
      case CacheRowState::plain:
      case CacheRowState::compressed: {
        const std::uint64_t stored = row.stored_bytes[word.current()];
        const bool fits = word.state() == CacheRowState::plain ? stored == row.bytes
                                                               : stored != 0 && stored < row.bytes;
        is(fits && tokens[word.current()] && is_readable(tokens[word.current()], stored)
               ? Kind::entry
               : Kind::damaged);
        break;
      }
      case CacheRowState::spilled: is(row.file_bytes != 0 ? Kind::entry : Kind::damaged); break;
      default: is(Kind::damaged); break;
    }
  }
  return found;
}

}  // namespace micro_swarm

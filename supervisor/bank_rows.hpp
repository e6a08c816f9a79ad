#pragma once

// What a row of the bank table says, for those who write it (banks.cpp, own_banks.cpp).

#include "shm/size_classes.hpp"
#include "shm/supervisor_data.hpp"

namespace micro_swarm {

inline BankWord word_of(const BankRow& row) {
  BankWord word;
  word.word = load(row.word);
  return word;
}

/// Of the budget.
inline std::uint64_t regions_taken(const BankRow& row, std::uint64_t pool_region_bytes) {
  return pool_regions_of(pool_region_bytes, row.slots, row.region_bytes);
}

/// BankRow::request of a bank of the supervisor's own that holds entries of the cache.
inline constexpr std::uint64_t cache_request = 1;

/// A bank of the supervisor's own that counts towards memory.supervisor_reserve.
inline bool is_reserve_used(const BankRow& row, BankWord word) {
  return word.owner() == supervisor_party && row.request != cache_request;
}

}  // namespace micro_swarm

#pragma once

// The banks of others that this process can read. One thread.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "common/posix.hpp"
#include "ipc/party_protocol.hpp"
#include "shm/memfd.hpp"
#include "shm/supervisor_data.hpp"

namespace micro_swarm {

class BankMap {
 public:
  /// `tables` are the supervisor's, mapped for as long as this object lives.
  explicit BankMap(const SupervisorTables& tables) noexcept : tables_(&tables) {}

  /// `bank_mapped`: checks seals and size, maps read-only, closes the descriptor. Replaces what was
  /// known under the bank's number. Errors: protocol, system (no memory for the mapping).
  Result<void> add(const PartyMessage& mapped, UniqueFd fd);
  /// `bank_dropped`. Views of it must not be used any more: the supervisor sends it when all tokens
  /// of the bank are home.
  void drop(std::uint32_t bank) noexcept;

  /// The bytes that `token` is the right to read. nullopt: the bank (or this use of its number) is
  /// not mapped yet, its `bank_mapped` is under way. Error (protocol): the token or the size does
  /// not fit the bank. The bytes are input: their writer may change them while they are read.
  Result<std::optional<std::span<const std::byte>>> find(Token token, std::size_t size_bytes) const;

  std::size_t size() const noexcept { return banks_.size(); }

  /// As long as a copy of it lives, nothing that is or was mapped goes away under whoever has it:
  /// for languages that cannot promise to forget a view in time. Its bytes may become others'.
  std::shared_ptr<void> pin() const noexcept { return pin_; }

 private:
  struct Bank {
    Mapping memory;
    std::uint32_t slots = 0;
    std::uint32_t serial = 0;
    std::uint64_t region_bytes = 0;
  };
  /// It is not `bank`'s any more.
  void retire(Bank& bank) noexcept;

  const SupervisorTables* tables_;
  std::unordered_map<std::uint32_t, Bank> banks_;
  std::shared_ptr<void> pin_ = std::make_shared<char>();
  std::vector<Mapping> retired_;  ///< none, unless something was pinned when it was replaced
};

}  // namespace micro_swarm

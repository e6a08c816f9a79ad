#pragma once

#include <cstdint>

namespace micro_swarm {

/// A party is a process that owns a segment: 0-255 agents, 256 the supervisor, 257-319 clients.
using PartyId = std::uint16_t;

/// How many lives a party id has had, counted from 1; 0 means "never lived".
using Incarnation = std::uint16_t;

inline constexpr PartyId agents_max = 256;
inline constexpr PartyId supervisor_party = 256;
inline constexpr PartyId first_client = 257;
inline constexpr PartyId parties_max = 320;
inline constexpr PartyId clients_max = parties_max - first_client;
inline constexpr PartyId no_party = 0x1ff;  // all nine bits, as stored in words

constexpr bool is_agent(PartyId p) { return p < agents_max; }
constexpr bool is_client(PartyId p) { return p >= first_client && p < parties_max; }

/// Task ids are {generation:32, slot:32}: never reused while a swarm lives, 0 is no task.
using TaskId = std::uint64_t;

}  // namespace micro_swarm

#pragma once

// Segments put aside and put back as a whole. A segment is megabytes of holes: only the pages that
// exist are copied.

#include <unistd.h>

#include <cstring>
#include <vector>

#include "tests/sweep/stepper.hpp"

namespace micro_swarm::sweep {

struct SharedPlace {
  int fd;
  std::byte* base;  ///< where it is mapped for writing
};

/// save() and load() of these; what is watched is the caller's to say.
inline SharedMemory shared_pages(std::vector<SharedPlace> places) {
  struct Part {
    std::uint64_t place;
    std::uint64_t offset;
    std::uint64_t bytes;
  };
  const auto for_each_part = [](const SharedPlace& place, auto&& visit) {
    off_t at = 0;
    while ((at = ::lseek(place.fd, at, SEEK_DATA)) >= 0) {
      const off_t end = ::lseek(place.fd, at, SEEK_HOLE);
      visit(static_cast<std::uint64_t>(at), static_cast<std::uint64_t>(end - at));
      at = end;
    }
  };
  SharedMemory memory;
  memory.save = [=] {
    Snapshot copy;
    for (std::uint64_t i = 0; i < places.size(); ++i)
      for_each_part(places[i], [&](std::uint64_t offset, std::uint64_t bytes) {
        const Part part{i, offset, bytes};
        const auto* header = reinterpret_cast<const std::byte*>(&part);
        copy.insert(copy.end(), header, header + sizeof part);
        const std::byte* from = places[i].base + offset;
        copy.insert(copy.end(), from, from + bytes);
      });
    return copy;
  };
  memory.load = [=](const Snapshot& copy) {
    for (const SharedPlace& place : places)
      for_each_part(place, [&](std::uint64_t offset, std::uint64_t bytes) {
        std::memset(place.base + offset, 0, bytes);
      });
    for (std::size_t at = 0; at < copy.size();) {
      Part part{};
      std::memcpy(&part, copy.data() + at, sizeof part);
      at += sizeof part;
      std::memcpy(places[part.place].base + part.offset, copy.data() + at, part.bytes);
      at += part.bytes;
    }
  };
  return memory;
}

}  // namespace micro_swarm::sweep

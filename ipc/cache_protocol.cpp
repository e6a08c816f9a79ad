#include "ipc/cache_protocol.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace micro_swarm {

CacheKey cache_key(std::string_view name) noexcept {
  const XXH128_hash_t hash = XXH3_128bits(name.data(), name.size());
  return CacheKey{{hash.low64, hash.high64}};
}

std::string_view name_of(CacheRefusal refusal) {
  switch (refusal) {
    case CacheRefusal::none: return "none";
    case CacheRefusal::bad_name: return "bad_name";
    case CacheRefusal::bad_size: return "bad_size";
    case CacheRefusal::bad_priority: return "bad_priority";
    case CacheRefusal::duplicate: return "duplicate";
    case CacheRefusal::too_large: return "too_large";
    case CacheRefusal::table_full: return "table_full";
    case CacheRefusal::no_room: return "no_room";
    case CacheRefusal::busy: return "busy";
    case CacheRefusal::malformed: return "malformed";
    case CacheRefusal::stopping: return "stopping";
    case CacheRefusal::interrupted: return "interrupted";
  }
  return "unknown";
}

std::string_view text_of(CacheRefusal refusal) {
  switch (refusal) {
    case CacheRefusal::none: return "";
    case CacheRefusal::bad_name: return "a name has 1 to 64 bytes";
    case CacheRefusal::bad_size: return "an entry has at least 1 byte";
    case CacheRefusal::bad_priority: return "no such priority";
    case CacheRefusal::duplicate:
      return "there is an entry of that name, and entries do not change: erase it first";
    case CacheRefusal::too_large: return "more than the cache may have: raise cache.capacity";
    case CacheRefusal::table_full:
      return "there are as many entries as there may be: raise cache.entries_max";
    case CacheRefusal::no_room:
      return "no room in the cache now: its entries are in use or more important, or the pool is "
             "full";
    case CacheRefusal::busy: return "31 readers have it, and more cannot read it at once";
    case CacheRefusal::malformed: return "the request makes no sense";
    case CacheRefusal::stopping: return "the swarm takes nothing new: it is stopping";
    case CacheRefusal::interrupted:
      return "the supervisor died over it, and what became of it is not known: look, or put it "
             "again";
  }
  return "unknown";
}

}  // namespace micro_swarm

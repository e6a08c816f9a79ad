// What must hold between any two events.

#include <boost/assert.hpp>

#include "supervisor/caching/cache.hpp"

namespace micro_swarm::caching {

void Cache::check_balance() const {
  std::uint64_t in = 0, out = used_;
  for (const Counters& c : counters_) {
    in += c.bytes_inserted + c.bytes_adopted + c.bytes_restored;
    out += c.bytes_evicted + c.bytes_expired + c.bytes_erased + c.bytes_lost + c.bytes_saved +
           c.bytes_spilled + c.bytes_replaced;
  }
  BOOST_ASSERT_MSG(in == out, "bytes that came are there or have gone");
  BOOST_ASSERT_MSG(owed_ <= under_way_, "what is owed is under way, or forgotten");
}

void Cache::check() const {
  check_balance();
  std::uint64_t used = 0, packed = 0, on_disk = 0, under_way = 0;
  std::uint32_t size = 0, named = 0, expiring = 0;
  std::array<std::uint64_t, priorities> evictable{};
  for (std::uint32_t slot = 0; slot < entries_.size(); ++slot) {
    const Entry& e = entries_[slot];
    if (e.id == 0) continue;
    ++size;
    used += e.pool_bytes;
    on_disk += e.disk_bytes;
    under_way += e.expected;
    if (e.state == State::compressed) packed += e.pool_bytes;
    if (e.evictable) evictable[static_cast<unsigned>(e.priority)] += e.pool_bytes;
    const bool doomed = e.doomed != Cause::none;
    named += !doomed;
    expiring += e.expires_ns != never;
    BOOST_ASSERT(entry_slot(e.id) == slot && e.bytes != 0);
    BOOST_ASSERT_MSG(!(e.evictable && e.in_use()), "who is used is not evicted");
    BOOST_ASSERT_MSG(e.evictable || e.in_use(), "who is not used can be evicted");
    BOOST_ASSERT((e.order != nullptr) == (!doomed && e.state != State::restoring));
    if (e.order != nullptr)
      BOOST_ASSERT(e.order ==
                   &orders_[static_cast<unsigned>(e.state)][static_cast<unsigned>(e.priority)]);
    if (!doomed) {
      const auto found = names_.find(e.name());
      BOOST_ASSERT(found != names_.end() && &*found == &e);
    }
    switch (e.state) {
      case State::plain: BOOST_ASSERT(e.pool_bytes == e.bytes); break;
      case State::compressed: BOOST_ASSERT(e.pool_bytes != 0 && e.pool_bytes <= e.bytes); break;
      case State::spilled: BOOST_ASSERT(e.pool_bytes == 0 && e.disk_bytes != 0); break;
      case State::restoring: BOOST_ASSERT(e.pool_bytes >= e.bytes); break;
    }
  }
  BOOST_ASSERT(used == used_ && packed == packed_ && on_disk == on_disk_);
  BOOST_ASSERT(under_way == under_way_ && evictable == evictable_);
  BOOST_ASSERT(size == size_ && size + free_slots_.size() == entries_.size());
  BOOST_ASSERT(named == names_.size() && expiring == expiries_.size());
  BOOST_ASSERT(size <= settings_.entries_max);
}

}  // namespace micro_swarm::caching

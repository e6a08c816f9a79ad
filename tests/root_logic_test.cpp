// Root's parts that need no process.

#include <fcntl.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>

#include "supervisor/fd_store.hpp"
#include "supervisor/root_events.hpp"
#include "supervisor/root_log.hpp"
#include "supervisor/root_watch.hpp"
#include "supervisor/run_limits.hpp"
#include "temporary_directory.hpp"

using namespace micro_swarm;

BOOST_AUTO_TEST_SUITE(root_hang_watch)

BOOST_AUTO_TEST_CASE(only_standing_still_for_the_whole_time_is_a_hang) {
  HangWatch watch(5'000);
  BOOST_TEST(watch.tick_ms() == 1'000u);
  watch.start(7);
  for (int tick = 0; tick < 4; ++tick) BOOST_TEST(!watch.tick(7));
  BOOST_TEST(watch.tick(7));
  BOOST_TEST(watch.tick(7));  // until it is dead
  BOOST_TEST(!watch.tick(8));
  for (int tick = 0; tick < 4; ++tick) BOOST_TEST(!watch.tick(8));
  BOOST_TEST(watch.tick(8));
  watch.start(8);
  BOOST_TEST(!watch.tick(8));
}

BOOST_AUTO_TEST_CASE(short_times_have_short_ticks) {
  BOOST_TEST(HangWatch(100).tick_ms() == 20u);
  BOOST_TEST(HangWatch(1).tick_ms() == 1u);
  BOOST_TEST(HangWatch(86'400'000).tick_ms() == 1'000u);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(root_restart_cap)

BOOST_AUTO_TEST_CASE(counts_within_a_sliding_period) {
  constexpr std::uint64_t ms = 1'000'000;
  RestartCap cap(3, 100);
  BOOST_TEST(cap.allow(0));
  BOOST_TEST(cap.allow(10 * ms));
  BOOST_TEST(cap.allow(20 * ms));
  BOOST_TEST(!cap.allow(99 * ms));
  BOOST_TEST(cap.allow(100 * ms));
  BOOST_TEST(!cap.allow(109 * ms));
  BOOST_TEST(cap.allow(110 * ms));
  BOOST_TEST(cap.count() == 5u);
}

BOOST_AUTO_TEST_CASE(zero_means_never) { BOOST_TEST(!RestartCap(0, 100).allow(0)); }

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(root_events)

BOOST_AUTO_TEST_CASE(the_last_ones_are_remembered_in_order) {
  RootEvents events;
  BOOST_TEST(events.last() == 0u);
  BOOST_TEST(events.first() == 1u);
  BOOST_TEST(events.take_in_order().empty());
  for (int i = 1; i <= 3; ++i) events.add(RootEventKind::reaped, 0, i, 0);
  BOOST_TEST(events.at(2).pid == 2);
  BOOST_TEST(events.take_in_order().size() == 3u);
  const int total = static_cast<int>(root_events_max) * 2 + 5;
  for (int i = 4; i <= total; ++i) events.add(RootEventKind::reaped, 0, i, 0);
  BOOST_TEST(events.last() == static_cast<std::uint64_t>(total));
  BOOST_TEST(events.at(events.first()).sequence == events.first());
  const auto all = events.take_in_order();
  BOOST_REQUIRE(all.size() == root_events_max);
  for (std::size_t i = 0; i < all.size(); ++i) {
    BOOST_REQUIRE(all[i].sequence == static_cast<std::uint64_t>(total) - root_events_max + 1 + i);
    BOOST_REQUIRE(all[i].pid == static_cast<int>(all[i].sequence));
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(root_fd_store)

BOOST_AUTO_TEST_CASE(owns_what_it_keeps) {
  const auto open_null = [] { return UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); };
  const auto is_open = [](int fd) { return ::fcntl(fd, F_GETFD) >= 0; };
  int first = -1;
  int second = -1;
  {
    FdStore store;
    BOOST_TEST(store.get(3) == -1);
    BOOST_TEST(store.get(fd_key::count) == -1);
    UniqueFd fd = open_null();
    first = fd.get();
    BOOST_TEST(store.keep(3, std::move(fd)));
    BOOST_TEST(store.get(3) == first);
    fd = open_null();
    second = fd.get();
    BOOST_TEST(store.keep(3, std::move(fd)));
    BOOST_TEST(!is_open(first));
    BOOST_TEST(store.size() == 1u);
    BOOST_TEST(!store.keep(4, UniqueFd()));
    fd = open_null();
    const int refused = fd.get();
    BOOST_TEST(!store.keep(fd_key::count, std::move(fd)));
    BOOST_TEST(!is_open(refused));
    std::uint32_t seen = 0;
    store.for_each([&](std::uint32_t key, int number) {
      ++seen;
      BOOST_TEST(key == 3u);
      BOOST_TEST(number == second);
    });
    BOOST_TEST(seen == 1u);
    BOOST_TEST(store.keep(9, open_null()));
    const int moved = store.get(9);
    BOOST_TEST(store.keep(10, open_null()));
    BOOST_TEST(store.move(9, 10));
    BOOST_TEST(store.get(9) == -1);
    BOOST_TEST(store.get(10) == moved);
    BOOST_TEST(is_open(moved));
    BOOST_TEST(store.move(10, 10));
    BOOST_TEST(!store.move(9, 10));
    BOOST_TEST(!store.move(10, fd_key::count));
    BOOST_TEST(store.get(10) == moved);
    BOOST_TEST(store.size() == 2u);
    BOOST_TEST(store.drop(10));
    BOOST_TEST(!store.drop(10));
  }
  BOOST_TEST(!is_open(second));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(root_limits)

struct FakeMachine {
  void write(const std::string& path, const std::string& text) {
    const auto full = directory.path() / path;
    std::filesystem::create_directories(full.parent_path());
    std::ofstream(full) << text;
  }
  AvailableMemory ask() { return available_memory(directory.path().string()); }
  TemporaryDirectory directory;
};

BOOST_AUTO_TEST_CASE(without_sources_nothing_limits) {
  FakeMachine machine;
  BOOST_TEST(machine.ask().bytes == UINT64_MAX);
}

BOOST_AUTO_TEST_CASE(free_memory_and_swap_add_up) {
  FakeMachine machine;
  machine.write("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:    1000 kB\nSwapFree: 24 kB\n");
  BOOST_TEST(machine.ask().bytes == 1024u * 1024);
}

BOOST_AUTO_TEST_CASE(the_tightest_group_on_the_way_up_decides) {
  FakeMachine machine;
  machine.write("proc/meminfo", "MemAvailable: 1000000 kB\n");
  machine.write("proc/self/cgroup", "0::/a/b\n");
  machine.write("sys/fs/cgroup/a/b/memory.max", "max\n");
  machine.write("sys/fs/cgroup/a/b/memory.current", "100\n");
  machine.write("sys/fs/cgroup/a/memory.max", "5000\n");
  machine.write("sys/fs/cgroup/a/memory.current", "3000\n");
  machine.write("sys/fs/cgroup/a/memory.stat", "anon 1\ninactive_file 500\n");
  const auto available = machine.ask();
  BOOST_TEST(available.bytes == 2500u);
  BOOST_TEST(available.limited_by.find("cgroup") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_group_of_version_1_whose_path_is_the_hosts) {
  FakeMachine machine;
  machine.write("proc/self/cgroup", "9:name=systemd:/x\n4:cpu,memory:/docker/abc\n");
  machine.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "4096\n");
  machine.write("sys/fs/cgroup/memory/memory.usage_in_bytes", "4000\n");
  machine.write("sys/fs/cgroup/memory/memory.stat", "total_inactive_file 8000\n");
  BOOST_TEST(machine.ask().bytes == 4096u);
}

BOOST_AUTO_TEST_CASE(this_machine_can_be_read) {
  const auto available = available_memory();
  BOOST_TEST(available.bytes > 0u);
  BOOST_TEST(available.bytes < UINT64_MAX);
}

BOOST_AUTO_TEST_CASE(too_little_memory_names_what_to_lower) {
  SwarmNeeds needs = needs_of(Config{});
  BOOST_TEST(needs.memory_bytes > Config{}.memory.pool_size);
  const auto refused = prepare_limits(needs, {1 << 20, "this machine's free memory"});
  BOOST_REQUIRE(refused.has_error());
  BOOST_TEST((refused.error().code == ErrorCode::system));
  BOOST_TEST(refused.error().message.find("memory.pool_size") != std::string::npos);
  BOOST_TEST(refused.error().message.find("1.0 MiB") != std::string::npos);
}

struct LimitGuard {
  explicit LimitGuard(int which) : resource(which) { ::getrlimit(id(), &before); }
  ~LimitGuard() { ::setrlimit(id(), &before); }
  __rlimit_resource id() const { return static_cast<__rlimit_resource>(resource); }
  void set_soft(rlim_t value) {
    rlimit limit = before;
    limit.rlim_cur = value;
    BOOST_REQUIRE(::setrlimit(id(), &limit) == 0);
  }
  int resource;
  rlimit before{};
};

BOOST_AUTO_TEST_CASE(the_soft_limit_of_descriptors_is_raised) {
  LimitGuard guard(RLIMIT_NOFILE);
  guard.set_soft(64);
  SwarmNeeds needs;
  needs.descriptors_min = 100;
  needs.descriptors_wanted = 200;
  const auto before = prepare_limits(needs, {});
  BOOST_REQUIRE(before.has_value());
  BOOST_TEST(*before == 64u);
  rlimit now{};
  ::getrlimit(RLIMIT_NOFILE, &now);
  BOOST_TEST(now.rlim_cur == 200u);
  needs.descriptors_wanted = UINT64_MAX;
  BOOST_REQUIRE(prepare_limits(needs, {}).has_value());
  ::getrlimit(RLIMIT_NOFILE, &now);
  BOOST_TEST(now.rlim_cur == now.rlim_max);
}

BOOST_AUTO_TEST_CASE(too_low_a_hard_limit_of_descriptors_is_refused) {
  SwarmNeeds needs;
  needs.descriptors_min = (std::uint64_t{1} << 40);
  const auto refused = prepare_limits(needs, {});
  BOOST_REQUIRE(refused.has_error());
  BOOST_TEST(refused.error().message.find("hard limit") != std::string::npos);
  BOOST_TEST(refused.error().message.find("ulimit -Hn") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(address_space_and_file_size_are_looked_at) {
  SwarmNeeds needs;
  {
    LimitGuard guard(RLIMIT_FSIZE);
    guard.set_soft(1 << 20);
    needs.file_size_bytes_max = 2 << 20;
    const auto refused = prepare_limits(needs, {});
    BOOST_REQUIRE(refused.has_error());
    BOOST_TEST(refused.error().message.find("ulimit -f") != std::string::npos);
  }
  needs.file_size_bytes_max = 0;
  {
    LimitGuard guard(RLIMIT_AS);
    guard.set_soft(std::uint64_t{1} << 46);
    needs.address_space_bytes = std::uint64_t{1} << 47;
    const auto refused = prepare_limits(needs, {});
    BOOST_REQUIRE(refused.has_error());
    BOOST_TEST(refused.error().message.find("ulimit -v") != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(needs_grow_with_the_swarm) {
  Config small;
  small.agents.emplace_back().count = 1;
  Config large;
  large.agents.emplace_back().count = 256;
  const auto a = needs_of(small);
  const auto b = needs_of(large);
  BOOST_TEST(b.descriptors_min >= a.descriptors_min + 255 * 5);
  BOOST_TEST(b.memory_bytes > a.memory_bytes);
  BOOST_TEST(b.address_space_bytes > a.address_space_bytes);
  BOOST_TEST(b.descriptors_min <= b.descriptors_wanted);
  // A stock container grants 1024 to 1048576: the default swarm fits the smallest.
  BOOST_TEST(needs_of(Config{}).descriptors_min < 1024u);
}

BOOST_AUTO_TEST_SUITE_END()

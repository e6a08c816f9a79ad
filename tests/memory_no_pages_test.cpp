// The pool has room, the machine has none: fallocate() of a client's bank is refused, as the kernel
// would (a filter asks this file, and only for the thread that runs the tests).

#include <seccomp.h>
#include <sys/syscall.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>

#include "tests/fault_swarm.hpp"

namespace micro_swarm::testing {
namespace {

std::atomic<bool> is_full{false};
std::atomic<unsigned> refused{0};

/// Ends with the process: the filter is for life.
void answer(int notifications) {
  seccomp_notif* question = nullptr;
  seccomp_notif_resp* reply = nullptr;
  if (::seccomp_notify_alloc(&question, &reply) != 0) return;
  for (;;) {
    std::memset(question, 0, sizeof *question);
    if (::seccomp_notify_receive(notifications, question) != 0) {
      if (errno == EINTR || errno == ENOENT) continue;
      return;
    }
    reply->id = question->id;
    reply->val = 0;
    reply->error = is_full ? -ENOSPC : 0;
    reply->flags = is_full ? 0 : SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    if (is_full) ++refused;
    ::seccomp_notify_respond(notifications, reply);
  }
}

void install_filter() {
  const scmp_filter_ctx filter = ::seccomp_init(SCMP_ACT_ALLOW);
  BOOST_REQUIRE(filter != nullptr);
  BOOST_REQUIRE_EQUAL(::seccomp_rule_add(filter, SCMP_ACT_NOTIFY, SCMP_SYS(fallocate), 0), 0);
  BOOST_REQUIRE_EQUAL(::seccomp_load(filter), 0);
  const int notifications = ::seccomp_notify_fd(filter);
  BOOST_REQUIRE(notifications >= 0);
  std::thread(answer, notifications).detach();
}

BOOST_AUTO_TEST_CASE(a_bank_without_pages_is_given_back_said_and_asked_for_again) {
  FaultSwarm swarm("[swarm]\nagents = 1\n");  // before the filter, which it would inherit
  BOOST_REQUIRE(swarm.wait_for_live(1));
  install_filter();
  const auto leased = [&] {
    return swarm.status().at("memory").at("leased_regions").get<std::uint64_t>();
  };
  {
    TaskClient client(swarm);
    const std::size_t fds_before = entries_in("/proc/self/fd");
    for (const std::size_t bytes : {std::size_t{60'000}, std::size_t{100}, std::size_t{200'000}}) {
      is_full = true;
      refused = 0;
      // Tried again and again meanwhile: the bank that was given back is granted anew.
      const auto none = client.client().allocate(bytes, 700);
      BOOST_REQUIRE(!none);
      BOOST_TEST((none.error().code == ErrorCode::refused));
      BOOST_TEST(none.error().message.find("No space left on device") != std::string::npos,
                 none.error().message);
      BOOST_TEST(refused > 1u);
      BOOST_TEST(
          swarm.wait_until([](const auto& s) { return s.at("memory").at("leased_regions") == 0; }));
      BOOST_TEST(leased() == 0u);
      BOOST_TEST(entries_in("/proc/self/fd") == fds_before);
      is_full = false;
      auto region = client.client().allocate(bytes, patience_ms);
      BOOST_REQUIRE_MESSAGE(region.has_value(), fault_text(region));
      BOOST_TEST(leased() > 0u);
      std::memset(region->bytes().data(), 'x', region->bytes().size());
      *region = Region();
      // All that is idle goes back, so that the next size starts from nothing.
      BOOST_TEST(swarm.wait_until([&](const auto& s) {
        static_cast<void>(client.client().next_result(0));
        return s.at("memory").at("leased_regions") == 0;
      }));
    }
    client.check_echo(std::string(100'000, 'e'));
  }
  BOOST_TEST(swarm.wait_until([](const auto& s) { return s.at("memory").at("tokens_out") == 0; }));
  swarm.finish();
}

/// The supervisor's own banks, too: it would die of a page it cannot have.
BOOST_AUTO_TEST_CASE(an_entry_of_the_cache_without_pages_is_refused_and_nobody_dies) {
  FaultSwarm swarm("[swarm]\nagents = 1\n");  // under the filter
  BOOST_REQUIRE(swarm.wait_for_live(1));
  {
    TaskClient client(swarm);
    auto region = client.client().allocate(50'000, patience_ms);
    BOOST_REQUIRE_MESSAGE(region.has_value(), fault_text(region));
    std::memset(region->bytes().data(), 'x', region->bytes().size());
    is_full = true;
    refused = 0;
    const auto none = client.client().cache_put("entry", std::move(*region));
    is_full = false;
    BOOST_REQUIRE_MESSAGE(none.has_value(), fault_text(none));
    BOOST_TEST((*none == CacheRefusal::no_room));
    BOOST_TEST(refused > 0u);
    const std::string bytes(50'000, 'y');
    const auto stored =
        client.client().cache_put("entry", std::as_bytes(std::span(bytes.data(), bytes.size())));
    BOOST_REQUIRE_MESSAGE(stored.has_value(), fault_text(stored));
    BOOST_TEST((*stored == CacheRefusal::none));
    BOOST_TEST(swarm.status().at("epoch") == 1u);
    client.check_echo("alive");
  }
  swarm.finish();
}

}  // namespace
}  // namespace micro_swarm::testing

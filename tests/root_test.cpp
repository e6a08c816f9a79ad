// Root with real processes, killed for real.

#include "supervisor/root.hpp"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "root_harness.hpp"

using namespace micro_swarm;
using namespace micro_swarm::root_test;

namespace {

Config quick_hang() {
  Config config;
  config.supervision.supervisor_hang_timeout_ms = 1'000;
  return config;
}

bool exists(pid_t pid) {
  ProcessInfo info;
  return read_process(pid, info) && info.state != 'Z';
}

bool accepts_connections(const Endpoint& endpoint) {
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, endpoint.socket_path().c_str(), sizeof address.sun_path - 1);
  return ::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
}

/// Everything under root was ended and nothing came up to us, its subreaper.
void check_nothing_is_left(Swarm& swarm) {
  BOOST_TEST(!swarm.left_files());
  BOOST_TEST(children_of(::getpid()).empty());
}

}  // namespace

BOOST_AUTO_TEST_SUITE(root_process)

BOOST_AUTO_TEST_CASE(first_supervisor_finds_a_fresh_segment_and_a_listening_socket) {
  Swarm swarm;
  const Report hello = swarm.hello();
  BOOST_TEST(hello.epoch == 1u);
  BOOST_TEST(hello.recent == 0u);
  BOOST_TEST(hello.kept == 0u);
  BOOST_TEST(!hello.drain_requested);
  BOOST_TEST(accepts_connections(swarm.endpoint()));
  BOOST_TEST(swarm_lock_holder(swarm.endpoint()) == swarm.pid());
  swarm.order(Order::quit, 0, 0);
  BOOST_TEST(swarm.exit_code() == 0);
  check_nothing_is_left(swarm);
}

BOOST_AUTO_TEST_CASE(a_second_swarm_of_the_name_is_refused_and_does_no_harm) {
  Swarm swarm;
  swarm.hello();
  const pid_t other = ::fork();
  if (other == 0) {
    const auto ended = run_swarm(Config{}, swarm.endpoint(), &scripted_template);
    ::_exit(ended.has_error() && ended.error().code == ErrorCode::refused ? 0 : 1);
  }
  int status = -1;
  BOOST_REQUIRE(::waitpid(other, &status, 0) == other);
  BOOST_TEST(status == 0);
  BOOST_TEST(accepts_connections(swarm.endpoint()));
  BOOST_TEST(swarm_lock_holder(swarm.endpoint()) == swarm.pid());
}

BOOST_AUTO_TEST_CASE(a_killed_supervisor_is_replaced_and_what_it_kept_is_there) {
  Swarm swarm;
  Report hello = swarm.hello();
  const UniqueFd kept = memfd_with(4711);
  swarm.order(Order::keep, fd_key::bank + 3, 0, {kept.get()});
  swarm.order(Order::store_progress, 0, 99);
  swarm.answer();
  for (unsigned epoch = 2; epoch < 6; ++epoch) {
    const pid_t old = hello.pid;
    BOOST_REQUIRE(::kill(old, SIGKILL) == 0);
    hello = swarm.hello();
    BOOST_TEST(hello.epoch == epoch);
    BOOST_TEST(hello.kept == 1u);
    BOOST_TEST(hello.recent == epoch - 1);
    BOOST_TEST(hello.progress > 0u);  // the same memory as before
    const RootEvent death = swarm.event(RootEventKind::reaped, old);
    BOOST_TEST(WIFSIGNALED(death.status));
    BOOST_TEST(WTERMSIG(death.status) == SIGKILL);
    swarm.order(Order::read_kept, fd_key::bank + 3);
    BOOST_TEST(swarm.answer().value == 4711);
  }
  BOOST_TEST(accepts_connections(swarm.endpoint()));
}

BOOST_AUTO_TEST_CASE(every_way_to_fail_is_replaced) {
  Swarm swarm(quick_hang());
  swarm.hello();
  unsigned epoch = 1;
  for (const auto how : {Order::crash_abort, Order::crash_exit, Order::hang_stopped,
                         Order::hang_looping, Order::close_link}) {
    BOOST_TEST_MESSAGE("order " << how);
    swarm.order(how, 0, 3);
    BOOST_TEST(swarm.hello().epoch == ++epoch);
  }
  const std::string log = swarm.log();
  BOOST_TEST(log.find("was killed by SIGABRT") != std::string::npos);
  BOOST_TEST(log.find("exited with 3") != std::string::npos);
  BOOST_TEST(log.find("made no progress for 1000 ms") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_stopped_root_does_not_take_its_supervisor_for_hanging) {
  Swarm swarm(quick_hang());
  const Report hello = swarm.hello();
  // Both stand still for longer than the time allowed; root counts its own ticks only.
  swarm.signal(SIGSTOP);
  BOOST_REQUIRE(::kill(hello.pid, SIGSTOP) == 0);
  BOOST_TEST(!wait_dead(hello.pid, 1'500));
  BOOST_REQUIRE(::kill(hello.pid, SIGCONT) == 0);
  swarm.signal(SIGCONT);
  BOOST_TEST(!wait_dead(hello.pid, 200));
}

BOOST_AUTO_TEST_CASE(a_descriptor_sent_just_before_death_is_kept) {
  Config config;
  config.supervision.supervisor_restarts_max = 1000;
  Swarm swarm(config);
  swarm.hello();
  for (std::int64_t i = 1; i <= 200; ++i) {
    const UniqueFd kept = memfd_with(static_cast<std::uint64_t>(i));
    swarm.order(Order::keep_then_die, 7, 0, {kept.get()});
    swarm.hello();
    swarm.order(Order::read_kept, 7);
    BOOST_REQUIRE(swarm.answer().value == i);
  }
}

BOOST_AUTO_TEST_CASE(requests_in_one_packet_are_served_in_their_order) {
  Swarm swarm;
  const auto hello = swarm.hello();
  const UniqueFd first = memfd_with(1);
  const UniqueFd second = memfd_with(2);
  swarm.order(Order::keep_in_one, 20, 0, {first.get(), second.get()});
  swarm.order(Order::read_kept, 20);
  swarm.answer();  // it has sent the packet
  BOOST_REQUIRE(::kill(hello.pid, SIGKILL) == 0);
  swarm.hello();
  for (std::uint32_t key = 20; key < 23; ++key) {
    swarm.order(Order::read_kept, key);
    BOOST_TEST(swarm.answer().value == (key == 22 ? 2 : -1));
  }
}

BOOST_AUTO_TEST_CASE(dropped_and_replaced_descriptors_are_closed) {
  Swarm swarm;
  swarm.hello();
  auto first = seqpacket_pair();
  auto second = seqpacket_pair();
  BOOST_REQUIRE((first.has_value() && second.has_value()));
  swarm.order(Order::keep, 5, 0, {first->second.get()});
  swarm.order(Order::keep, 5, 0, {second->second.get()});
  first->second.reset();
  second->second.reset();
  // Closed everywhere: its peer reads the end.
  const auto is_closed = [](const UniqueFd& peer) {
    pollfd closed{peer.get(), POLLIN, 0};
    return ::poll(&closed, 1, patience_ms) == 1 && (closed.revents & POLLHUP) != 0;
  };
  BOOST_TEST(is_closed(first->first));
  swarm.order(Order::drop, 5);
  BOOST_TEST(is_closed(second->first));
  swarm.order(Order::drop, fd_key::count + 10);  // no such key: nothing happens
  swarm.order(Order::read_kept, 5);
  BOOST_TEST(swarm.answer().value == -1);
}

BOOST_AUTO_TEST_CASE(supervisors_that_keep_dying_end_the_swarm_with_4) {
  Config config;
  config.supervision.supervisor_restarts_max = 3;
  Swarm swarm(config);
  for (unsigned epoch = 1; epoch <= 4; ++epoch) {
    BOOST_TEST(swarm.hello().epoch == epoch);
    swarm.order(Order::crash_abort);
  }
  BOOST_TEST(swarm.exit_code() == to_int(ExitCode::gave_up));
  const std::string log = swarm.log();
  const auto line = log.find("giving up");
  BOOST_REQUIRE(line != std::string::npos);
  BOOST_TEST(log.find("giving up", line + 1) == std::string::npos);
  check_nothing_is_left(swarm);
}

BOOST_AUTO_TEST_CASE(deaths_are_told_in_order_and_to_the_next_supervisor_too) {
  Swarm swarm;
  const Report hello = swarm.hello();
  auto [first, first_pid] = swarm.start_template(0);
  auto [second, second_pid] = swarm.start_template(1);
  first.send(TemplateOrder{TemplateOrder::end});
  const RootEvent first_death = swarm.event(RootEventKind::reaped, first_pid);
  BOOST_TEST(first_death.status == 0);
  BOOST_TEST(first_death.sequence == 3u);  // behind the two starts

  // Dies while no supervisor can take the news.
  BOOST_REQUIRE(::kill(hello.pid, SIGSTOP) == 0);
  BOOST_REQUIRE(::kill(second_pid, SIGTERM) == 0);
  BOOST_TEST(wait_dead(second_pid));
  BOOST_REQUIRE(::kill(hello.pid, SIGKILL) == 0);
  const Report next = swarm.hello();
  BOOST_TEST(next.recent == 5u);
  std::uint64_t last = 0;
  std::set<pid_t> dead;
  for (std::uint32_t i = 0; i < next.recent; ++i) {
    const RootEvent event = swarm.line().receive<Report>().root_event;
    BOOST_TEST(event.sequence == last + 1);
    last = event.sequence;
    if (event.kind == RootEventKind::reaped) dead.insert(event.pid);
  }
  BOOST_TEST((dead == std::set<pid_t>{first_pid, second_pid, hello.pid}));
  // The socket goes on where the ring ended.
  auto [third, third_pid] = swarm.start_template(2);
  BOOST_TEST(::kill(third_pid, SIGKILL) == 0);
  BOOST_TEST(swarm.event(RootEventKind::reaped, third_pid).sequence == last + 2);
}

BOOST_AUTO_TEST_CASE(a_supervisor_that_does_not_listen_gets_all_deaths_later) {
  Swarm swarm;
  swarm.hello();
  constexpr std::int64_t count = 600;  // more than a socket buffer holds
  swarm.order(Order::flood, 0, count);
  swarm.answer();
  std::uint64_t last = 0;
  for (std::int64_t seen = 0; seen < count; ++seen) {
    const RootEvent event = swarm.event(RootEventKind::reaped);
    BOOST_REQUIRE(event.sequence == last + 1);
    last = event.sequence;
  }
}

BOOST_AUTO_TEST_CASE(a_signal_is_handed_to_the_supervisor_who_ends_the_swarm) {
  for (const int number : {SIGTERM, SIGINT}) {
    Swarm swarm;
    swarm.hello();
    auto [line, pid] = swarm.start_template(0);
    swarm.signal(number);
    BOOST_TEST(swarm.event(RootEventKind::signal).status == number);
    BOOST_TEST(exists(pid));
    swarm.order(Order::quit, 0, 0);
    BOOST_TEST(swarm.exit_code() == 0);
    BOOST_TEST(!exists(pid));
    check_nothing_is_left(swarm);
  }
}

BOOST_AUTO_TEST_CASE(a_hangup_is_handed_on_and_ends_nothing) {
  Swarm swarm;
  swarm.hello();
  swarm.signal(SIGHUP);
  swarm.signal(SIGHUP);
  BOOST_TEST(swarm.event(RootEventKind::signal).status == SIGHUP);
  swarm.order(Order::drop, 0);
  swarm.order(Order::read_kept, 0);
  BOOST_TEST(swarm.answer().value == -1);
}

BOOST_AUTO_TEST_CASE(a_supervisor_born_into_a_drain_knows_it) {
  Swarm swarm;
  const Report hello = swarm.hello();
  swarm.signal(SIGTERM);
  swarm.event(RootEventKind::signal);
  BOOST_REQUIRE(::kill(hello.pid, SIGKILL) == 0);
  BOOST_TEST(swarm.hello().drain_requested);
}

BOOST_AUTO_TEST_CASE(a_second_signal_ends_everything_at_once) {
  for (const auto& [number, code] : {std::pair{SIGINT, 130}, {SIGTERM, 143}}) {
    Swarm swarm;
    swarm.hello();
    auto [line, pid] = swarm.start_template(0);
    line.send(TemplateOrder{TemplateOrder::leave_stubborn});
    const auto stubborn = line.receive<pid_t>();
    swarm.signal(SIGTERM);
    swarm.event(RootEventKind::signal);
    swarm.signal(number);
    BOOST_TEST(swarm.exit_code() == code);
    BOOST_TEST(!exists(stubborn));
    check_nothing_is_left(swarm);
  }
}

BOOST_AUTO_TEST_CASE(strangers_are_reaped) {
  Swarm swarm;
  swarm.hello();
  auto [line, pid] = swarm.start_template(0);
  for (int i = 0; i < 20; ++i) {
    line.send(TemplateOrder{TemplateOrder::leave_stranger});
    const auto stranger = line.receive<pid_t>();
    BOOST_TEST(swarm.event(RootEventKind::reaped, stranger).status == 0);
  }
  // Neither zombie nor orphan: supervisor and template are all the children it has.
  BOOST_TEST(children_of(swarm.pid()).size() == 2u);
}

BOOST_AUTO_TEST_CASE(quit_leaves_no_process_whatever_session_it_is_in) {
  Swarm swarm;
  swarm.hello();
  auto [line, pid] = swarm.start_template(0);
  std::vector<pid_t> orphans;
  for (const auto kind : {TemplateOrder::leave_session, TemplateOrder::leave_group,
                          TemplateOrder::leave_stubborn, TemplateOrder::leave_session}) {
    line.send(TemplateOrder{kind});
    orphans.push_back(line.receive<pid_t>());
    BOOST_TEST(exists(orphans.back()));
  }
  swarm.order(Order::quit, 0, 7);
  BOOST_TEST(swarm.exit_code() == 7);
  for (const pid_t orphan : orphans) BOOST_TEST(!exists(orphan));
  check_nothing_is_left(swarm);
}

BOOST_AUTO_TEST_CASE(a_killed_root_takes_everybody_along_and_the_next_takes_over) {
  Endpoint endpoint;
  Swarm swarm;
  const Report hello = swarm.hello();
  auto [line, pid] = swarm.start_template(0);
  swarm.signal(SIGKILL);
  BOOST_TEST(wait_dead(hello.pid));
  BOOST_TEST(wait_dead(pid));
  BOOST_TEST(WTERMSIG(swarm.wait_end()) == SIGKILL);
  while (::waitpid(-1, nullptr, WNOHANG) > 0) {
  }
  BOOST_TEST(swarm.left_files());
  BOOST_TEST(swarm_lock_holder(swarm.endpoint()) == 0);
  const auto lock = acquire_swarm_lock(swarm.endpoint());
  BOOST_REQUIRE_MESSAGE(lock.has_value(), fault_text(lock));
  const auto socket = listen_control_socket(swarm.endpoint());
  BOOST_REQUIRE_MESSAGE(socket.has_value(), fault_text(socket));
  remove_endpoint_files(swarm.endpoint());
}

BOOST_AUTO_TEST_CASE(a_template_has_its_socket_and_nothing_of_root) {
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  rlimit low = before;
  low.rlim_cur = 1000;
  ::setrlimit(RLIMIT_NOFILE, &low);
  Swarm swarm;
  ::setrlimit(RLIMIT_NOFILE, &before);
  swarm.hello();
  auto [line, pid] = swarm.start_template(0);
  line.send(TemplateOrder{TemplateOrder::describe});
  const auto report = line.receive<TemplateReport>();
  BOOST_TEST(report.pid == pid);
  BOOST_TEST(report.parent == swarm.pid());
  BOOST_TEST(report.session == pid);
  BOOST_TEST(report.death_signal == SIGKILL);
  BOOST_TEST(report.dumpable == 0);
  BOOST_TEST(report.blocked_signals == 0u);
  BOOST_TEST(report.ignored_signals == 0u);
  BOOST_TEST(report.open_fds == 4u);
  BOOST_TEST(report.nofile_soft == 1000u);
}

BOOST_AUTO_TEST_CASE(a_template_cannot_write_the_supervisors_segment) {
  Swarm swarm;
  const Report hello = swarm.hello();
  auto [line, pid] = swarm.start_template(0);
  line.send(TemplateOrder{TemplateOrder::write_to, static_cast<std::uint64_t>(hello.value)});
  const RootEvent death = swarm.event(RootEventKind::reaped, pid);
  BOOST_TEST(WIFSIGNALED(death.status));
  BOOST_TEST(WTERMSIG(death.status) == SIGSEGV);
}

BOOST_AUTO_TEST_CASE(a_template_that_cannot_be_started_is_told) {
  Swarm swarm;
  swarm.hello();
  swarm.order(Order::forward, static_cast<std::uint32_t>(RootRequestKind::spawn_template), 9);
  const RootEvent told = swarm.event(RootEventKind::template_started);
  BOOST_TEST(told.key == 9u);
  BOOST_TEST(told.pid == 0);
  BOOST_TEST(told.status == EINVAL);
}

const auto as_root = boost::unit_test::precondition([](auto) {
  // Containers are often started as uid 0 without the capability.
  const bool may = ::getuid() == 0 && ::prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN) == 1;
  if (!may) std::printf("skipped: a PID namespace needs uid 0 and CAP_SYS_ADMIN\n");
  return boost::test_tools::assertion_result(may);
});

BOOST_AUTO_TEST_CASE(root_works_as_pid_1, *as_root) {
  Swarm swarm(quick_hang(), Swarm::As::pid_1);
  swarm.hello();
  auto [line, pid] = swarm.start_template(0);
  line.send(TemplateOrder{TemplateOrder::leave_stranger});
  const auto stranger = line.receive<pid_t>();
  BOOST_TEST(swarm.event(RootEventKind::reaped, stranger).status == 0);
  line.send(TemplateOrder{TemplateOrder::leave_session});
  const auto orphan = line.receive<pid_t>();
  swarm.order(Order::sweep, 0, pid);
  BOOST_TEST(swarm.answer().value == 1);
  BOOST_TEST(WTERMSIG(swarm.event(RootEventKind::reaped, orphan).status) == SIGKILL);
  line.send(TemplateOrder{TemplateOrder::leave_session});
  line.receive<pid_t>();
  swarm.order(Order::crash_abort);
  BOOST_TEST(swarm.hello().epoch == 2u);
  // Its default would be to ignore them.
  swarm.signal(SIGTERM);
  BOOST_TEST(swarm.event(RootEventKind::signal).status == SIGTERM);
  swarm.order(Order::quit, 0, 0);
  BOOST_TEST(swarm.exit_code() == 0);
  check_nothing_is_left(swarm);
}

BOOST_AUTO_TEST_CASE(proc_of_another_namespace_is_refused, *as_root) {
  const TemporaryDirectory directory;
  const long child = ::syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
  if (child == 0) {
    const auto ended =
        run_swarm(Config{}, Endpoint{"test", directory.path().string()}, &scripted_template);
    ::_exit(ended.has_error() && ended.error().message.find("mount") != std::string::npos ? 0 : 1);
  }
  int status = -1;
  BOOST_REQUIRE(::waitpid(static_cast<pid_t>(child), &status, 0) == child);
  BOOST_TEST(status == 0);
}

BOOST_AUTO_TEST_CASE(killed_to_the_next_supervisors_first_word) {
  Config config;
  config.supervision.supervisor_restarts_max = 1000;
  Swarm swarm(config);
  Report hello = swarm.hello();
  // As many descriptors as a swarm of 64 agents has root keep.
  const UniqueFd kept = memfd_with(1);
  for (std::uint32_t key = 0; key < 64 * 6; ++key) swarm.order(Order::keep, key, 0, {kept.get()});
  swarm.order(Order::read_kept, 0);
  swarm.answer();
  std::vector<std::uint64_t> took_ns;
  for (int i = 0; i < 101; ++i) {
    const std::uint64_t killed_ns = now_ns();
    BOOST_REQUIRE(::kill(hello.pid, SIGKILL) == 0);
    hello = swarm.hello();
    took_ns.push_back(now_ns() - killed_ns);
  }
  BOOST_TEST(hello.kept == 64u * 6);
  std::sort(took_ns.begin(), took_ns.end());
  std::printf(
      "SIGKILL of the supervisor to the next one's first message: median %.2f ms, worst of "
      "%zu %.2f ms\n",
      static_cast<double>(took_ns[took_ns.size() / 2]) / 1e6, took_ns.size(),
      static_cast<double>(took_ns.back()) / 1e6);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(root_strays)

BOOST_AUTO_TEST_CASE(an_orphan_that_left_its_session_is_killed_and_counted) {
  Swarm swarm;
  swarm.hello();
  auto [line, pid] = swarm.start_template(0);
  line.send(TemplateOrder{TemplateOrder::leave_session});
  const auto orphan = line.receive<pid_t>();
  line.send(TemplateOrder{TemplateOrder::leave_group});
  const auto member = line.receive<pid_t>();

  // The member's session is that of a party that lives.
  swarm.order(Order::sweep, 0, pid);
  BOOST_TEST(swarm.answer().value == 1);
  BOOST_TEST(WTERMSIG(swarm.event(RootEventKind::reaped, orphan).status) == SIGKILL);
  BOOST_TEST(exists(member));
  swarm.order(Order::sweep, 0, pid);
  BOOST_TEST(swarm.answer().value == 0);

  BOOST_REQUIRE(::kill(pid, SIGKILL) == 0);
  swarm.event(RootEventKind::reaped, pid);
  swarm.order(Order::sweep);
  BOOST_TEST(swarm.answer().value == 1);
  BOOST_TEST(WTERMSIG(swarm.event(RootEventKind::reaped, member).status) == SIGKILL);
  BOOST_TEST(children_of(swarm.pid()).size() == 1u);
}

BOOST_AUTO_TEST_CASE(an_orphan_that_no_template_made_is_left_alone,
                     *boost::unit_test::precondition([](auto) {
                       return ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0;
                     })) {
  Swarm swarm;
  swarm.hello();
  swarm.order(Order::leave_orphan);
  const auto orphan = static_cast<pid_t>(swarm.answer().value);
  BOOST_REQUIRE(exists(orphan));
  swarm.order(Order::sweep);
  BOOST_TEST(swarm.answer().value == 0);
  BOOST_TEST(exists(orphan));
  swarm.order(Order::quit, 0, 0);
  BOOST_TEST(swarm.exit_code() == 0);
  BOOST_TEST(!exists(orphan));
}

BOOST_AUTO_TEST_CASE(descendants_are_swept_as_they_come_up) {
  Swarm swarm;
  const Report hello = swarm.hello();
  auto [line, pid] = swarm.start_template(0);
  line.send(TemplateOrder{TemplateOrder::leave_stubborn});
  line.receive<pid_t>();
  BOOST_REQUIRE(::kill(pid, SIGKILL) == 0);
  swarm.event(RootEventKind::reaped, pid);
  std::int64_t killed = 0;
  while (children_of(swarm.pid()).size() > 1) {
    swarm.order(Order::sweep);
    killed += swarm.answer().value;
  }
  BOOST_TEST(killed == stubborn_count);
  BOOST_TEST(exists(hello.pid));
}

BOOST_AUTO_TEST_CASE(both_ways_to_list_children_agree) {
  std::vector<pid_t> expected;
  for (int i = 0; i < 40; ++i) {
    const pid_t pid = ::fork();
    if (pid == 0)
      for (;;) ::pause();
    expected.push_back(pid);
  }
  std::sort(expected.begin(), expected.end());
  for (const auto list : {&detail::list_children_from_kernel, &detail::list_children_by_scan}) {
    std::vector<pid_t> found(4096);
    const int count = list(::getpid(), found);
    BOOST_REQUIRE(count >= 0);
    found.resize(static_cast<std::size_t>(count));
    std::sort(found.begin(), found.end());
    BOOST_TEST(found == expected, boost::test_tools::per_element());
    std::vector<pid_t> few(7);
    BOOST_TEST(list(::getpid(), few) == 7);
  }
  ProcessInfo info;
  BOOST_REQUIRE(read_process(expected[0], info));
  BOOST_TEST(info.parent == ::getpid());
  BOOST_TEST(info.session == ::getsid(0));
  BOOST_TEST(info.group == ::getpgid(expected[0]));
  BOOST_TEST(info.start_ticks == process_start_ticks(expected[0]));
  for (const pid_t pid : expected) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  BOOST_TEST(!read_process(expected[0], info));
}

BOOST_AUTO_TEST_SUITE_END()

// An agent of somebody else's that does what it is told wrong: `rogue_agent MODE`. Speaks the party
// protocol by hand where the library would not let it lie.

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cstring>
#include <string_view>
#include <vector>

#include "agentproc/agent_runtime.hpp"
#include "ipc/bell.hpp"
#include "ipc/party_socket.hpp"
#include "ipc/ring.hpp"
#include "shm/segment.hpp"

namespace micro_swarm {
namespace {

constexpr int party_socket = 3;

/// Waits to be killed.
[[noreturn]] void stay() {
  for (;;) ::pause();
}

struct Lie {
  std::int64_t extra_bytes = 0;  ///< of the segment beyond what it should have
  bool sealed = true;
  std::uint32_t layout = layout_version;
  std::uint16_t party_more = 0;
  std::uint64_t protocol = party_protocol_version;
  bool with_fds = true;
  bool bell_sealed = true;
};

/// Makes a segment like the library's, with the lie in it, and registers. Returns its mapping.
Mapping register_with(const PartyMessage& welcome, const Lie& lie) {
  const auto good = Segment::create_party(welcome.party, welcome.incarnation);
  const SegmentLayout layout = party_layout(welcome.party);
  const std::uint64_t size_bytes = layout.size_bytes + static_cast<std::uint64_t>(lie.extra_bytes);
  const auto fd = create_memfd("rogue", size_bytes);
  const auto bell = create_memfd("rogue-bell", bell_page_bytes);
  if (!good || !fd || !bell) ::_exit(90);
  auto mapping = Mapping::map(fd->get(), size_bytes, Mapping::Access::read_write);
  if (!mapping) ::_exit(91);
  const SegmentView view(mapping->data(), layout);
  std::memcpy(mapping->data(), good->view().base(), offsetof(SegmentHeader, asleep));
  view.header().layout_version = lie.layout;
  view.header().party = static_cast<std::uint16_t>(welcome.party + lie.party_more);
  store(view.cursor(supervisor_party, Lane::data), Cursor::make(1, welcome.d).word);
  store(view.cursor(supervisor_party, Lane::release), Cursor::make(1, welcome.e).word);
  if (lie.sealed && !seal_one_writer(fd->get())) ::_exit(92);
  if (lie.bell_sealed && !seal_size(bell->get())) ::_exit(93);
  PartyMessage message;
  message.kind = PartyMessageKind::registered;
  message.party = welcome.party;
  message.incarnation = welcome.incarnation;
  message.a = lie.protocol;
  const int fds[] = {fd->get(), bell->get()};
  if (!send_party_message(party_socket, message, std::span(fds, lie.with_fds ? 2 : 0))) ::_exit(94);
  return std::move(*mapping);
}

/// Registers well, waits to be admitted, and says that it consumed messages nobody sent; then sends
/// messages of a kind that no agent sends.
[[noreturn]] void forge_cursor(ReceivedPartyMessage& welcome) {
  const PartyId party = welcome.message.party;
  const Incarnation incarnation = welcome.message.incarnation;
  const auto supervisor = Segment::attach_supervisor(std::move(welcome.fds[0]));
  if (!supervisor) ::_exit(95);
  const Mapping own = register_with(welcome.message, Lie{});
  const SegmentView view(own.data(), party_layout(party));
  store(view.cursor(supervisor_party, Lane::data), Cursor::make(1, 1'000'000).word);
  const Word& roster = supervisor->view().tables().parties[party].roster;
  const auto live = RosterWord::make(RosterState::live, incarnation).word;
  while (load(roster) != live) ::poll(nullptr, 0, 1);
  RingWriter ring(view.ring(party, supervisor_party, Lane::data),
                  ring_slots(party, supervisor_party),
                  &supervisor->view().cursor(party, Lane::data), incarnation);
  for (;;) {
    SlotBody body;
    body.kind = 999;
    body.token = ~std::uint64_t{0};
    ring.try_send(body);
    const std::uint64_t one = 1;
    if (::write(welcome.fds[1].get(), &one, sizeof one) < 0) stay();
    ::poll(nullptr, 0, 10);
  }
}

/// Honest bugs with memory. "keep": its result is remembered; "poke N", "peek N": writes or reads
/// the N-th remembered one; "overrun": one byte too many, "overrun_dropped": and no such result.
int run_careless() {
  static std::vector<std::byte*> kept;
  constexpr std::size_t asked_bytes = 100;
  HandlerSet handlers;
  handlers.add("careless", [](TaskContext& task) {
    const std::string_view text = task.payload_text();
    const std::string_view what = text.substr(0, text.find(' '));
    if (what == "poke" || what == "peek") {
      volatile std::byte* there = kept.at(static_cast<std::size_t>(text.back() - '0'));
      if (what == "poke")
        *there = std::byte{'p'};
      else
        static_cast<void>(*there);
      return Outcome::done;
    }
    const auto result = task.result_buffer(asked_bytes);
    if (!result) return task.fail(result.error());
    std::memset(result->data(), 'k', result->size());
    if (what == "keep") {
      kept.push_back(result->data());
    } else {
      *(static_cast<volatile std::byte*>(result->data()) + asked_bytes) = std::byte{'o'};
      if (what == "overrun_dropped") static_cast<void>(task.set_result("dropped"));
    }
    return Outcome::done;
  });
  return run_external_agent(handlers);
}

int run(std::string_view mode) {
  if (mode == "careless") return run_careless();
  if (mode == "good") {
    HandlerSet handlers;
    handlers.add("rogue.good", [](TaskContext&) { return Outcome::done; });
    return run_external_agent(handlers);
  }
  if (mode == "dies") return 9;
  if (mode == "crashes") ::kill(::getpid(), SIGABRT);
  if (mode == "silent") stay();
  ReceivedPartyMessage welcome;
  if (receive_party_message(party_socket, welcome, true) != PartySocketRead::message) return 96;
  PartyMessage message = welcome.message;
  if (mode == "closes") {
    ::close(party_socket);
    stay();
  }
  if (mode == "garbage") {
    const std::string_view text = "what is this";
    static_cast<void>(send_with_fds(party_socket, std::as_bytes(std::span(text)), {}));
    stay();
  }
  if (mode == "unknown_kind") {
    message.kind = static_cast<PartyMessageKind>(4711);
    static_cast<void>(send_party_message(party_socket, message));
    stay();
  }
  if (mode == "forged_cursor") forge_cursor(welcome);
  Lie lie;
  if (mode == "unsealed") lie.sealed = false;
  if (mode == "too_large") lie.extra_bytes = 4096;
  if (mode == "too_small") lie.extra_bytes = -4096;
  if (mode == "layout") lie.layout = layout_version + 1;
  if (mode == "other_party") lie.party_more = 1;
  if (mode == "protocol") lie.protocol = party_protocol_version + 1;
  if (mode == "no_segment") lie.with_fds = false;
  if (mode == "bell_unsealed") lie.bell_sealed = false;
  const Mapping own = register_with(message, lie);
  stay();
}

}  // namespace
}  // namespace micro_swarm

int main(int argc, char** argv) { return micro_swarm::run(argc == 2 ? argv[1] : ""); }

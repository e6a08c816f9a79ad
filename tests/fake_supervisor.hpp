#pragma once

// The supervisor's end of one party's link, played step by step by a test in the same process: real
// segments, rings, bells and sockets, no processes. What a test waits for is always a message or a
// word; the times are only how long a failing test takes.

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/clock.hpp"
#include "fault_text.hpp"
#include "ipc/bell.hpp"
#include "ipc/party_protocol.hpp"
#include "ipc/transfer.hpp"
#include "shm/segment.hpp"

namespace micro_swarm::testing {

inline constexpr std::uint32_t fake_task_capacity = 4096;
inline constexpr std::uint64_t fake_region_bytes = 65536;
inline constexpr int patience_ms = 20'000;

template <class T>
void require_ok(const Result<T>& result) {
  BOOST_REQUIRE_MESSAGE(result.has_value(), fault_text(result));
}

class FakeSupervisor {
 public:
  explicit FakeSupervisor(PartyId party) : party_(party) {
    auto segment = Segment::create_supervisor(fake_task_capacity);
    BOOST_REQUIRE(segment.has_value());
    segment_ = std::move(*segment);
    eventfd_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    store(tables().region_bytes, fake_region_bytes);
    store(tables().pool_regions, 64);
    store(tables().accepting, 1);
    store(tables().epoch, 1);
    // Tests take the rows they like: all were used before, as far as a party can see.
    for (BankRow& row : tables().banks) row.serial = 1;
    to_party_ = RingWriter(view().ring(supervisor_party, party, Lane::data),
                           ring_slots(supervisor_party, party), nullptr, 1);
    release_to_party_ = RingWriter(view().ring(supervisor_party, party, Lane::release),
                                   ring_slots(supervisor_party, party), nullptr, 1);
  }

  SegmentView view() const { return segment_.view(); }
  SupervisorTables& tables() const { return segment_.view().tables(); }
  int segment_fd() const { return segment_.fd(); }
  int eventfd() const { return eventfd_.get(); }

  void name_capability(std::uint16_t id, std::string_view name) {
    std::memcpy(tables().capabilities[id].text, name.data(), name.size());
  }

  /// A new life of the party: its end of a fresh socket, with `welcome` in it.
  UniqueFd begin_life(Incarnation incarnation, bool with_predecessor = false) {
    auto pair = seqpacket_pair();
    BOOST_REQUIRE(pair.has_value());
    socket_ = std::move(pair->first);
    incarnation_ = incarnation;
    PartyMessage welcome;
    welcome.kind = PartyMessageKind::welcome;
    welcome.a = fake_region_bytes;
    welcome.d = to_party_.sent();
    welcome.e = release_to_party_.sent();
    std::vector<int> fds{segment_.fd(), eventfd_.get()};
    if (with_predecessor) {
      welcome.c = predecessor_incarnation_;
      fds.push_back(predecessor_fd_.get());
    }
    send(welcome, fds);
    return std::move(pair->second);
  }

  void send(PartyMessage message, const std::vector<int>& fds = {}) const {
    message.party = party_;
    message.incarnation = incarnation_;
    BOOST_REQUIRE_EQUAL(
        send_with_fds(socket_.get(), std::as_bytes(std::span(&message, 1)), fds, true),
        static_cast<ssize_t>(sizeof message));
    if (is_client(party_) && bell_) ring_party();
  }
  void send(PartyMessageKind kind, std::uint64_t a = 0) const {
    PartyMessage message;
    message.kind = kind;
    message.a = a;
    send(message);
  }

  struct Received {
    PartyMessage message;
    std::vector<UniqueFd> fds;
  };
  /// The next message of the party; nullopt = it closed the socket.
  std::optional<Received> receive() const {
    pollfd wanted{socket_.get(), POLLIN, 0};
    BOOST_REQUIRE_EQUAL(::poll(&wanted, 1, patience_ms), 1);
    Received received;
    auto raw =
        receive_with_fds(socket_.get(), std::as_writable_bytes(std::span(&received.message, 1)));
    if (raw.size == 0) return std::nullopt;
    BOOST_REQUIRE_EQUAL(raw.size, static_cast<ssize_t>(sizeof(PartyMessage)));
    for (int i = 0; i < raw.fd_count; ++i) received.fds.emplace_back(raw.fds[i]);
    return received;
  }
  Received expect(PartyMessageKind kind) const {
    auto received = receive();
    BOOST_REQUIRE(received.has_value());
    BOOST_REQUIRE_EQUAL(static_cast<int>(received->message.kind), static_cast<int>(kind));
    BOOST_REQUIRE_EQUAL(received->message.party, party_);
    BOOST_REQUIRE_EQUAL(received->message.incarnation, incarnation_);
    return std::move(*received);
  }
  bool has_message() const {
    pollfd wanted{socket_.get(), POLLIN, 0};
    return ::poll(&wanted, 1, 0) == 1;
  }

  /// Takes `registered`, maps segment and bell.
  void take_registration() {
    auto received = expect(PartyMessageKind::registered);
    BOOST_REQUIRE_EQUAL(received.message.a, party_protocol_version);
    BOOST_REQUIRE_EQUAL(received.fds.size(), 2u);
    auto kept = duplicate(received.fds[0].get());
    BOOST_REQUIRE(kept.has_value());
    party_fd_ = std::move(*kept);
    auto attached = Segment::attach_party(std::move(received.fds[0]), party_, incarnation_);
    require_ok(attached);
    party_segment_ = std::move(*attached);
    require_ok(verify_memfd(received.fds[1].get(), bell_page_bytes, SealKind::shared_bell));
    auto bell = Mapping::map(received.fds[1].get(), bell_page_bytes, Mapping::Access::read_write);
    BOOST_REQUIRE(bell.has_value());
    bell_ = std::move(*bell);
    to_party_.follow(&party().cursor(supervisor_party, Lane::data));
    release_to_party_.follow(&party().cursor(supervisor_party, Lane::release));
    from_party_ = open_reader(Lane::data);
    release_from_party_ = open_reader(Lane::release);
  }
  /// The roster word names this life.
  void admit() {
    store(tables().parties[party_].roster, RosterWord::make(RosterState::live, incarnation_).word);
    ring_party();
  }
  /// The party died: its segment becomes the predecessor's of the next life.
  void bury() {
    predecessor_fd_ = std::move(party_fd_);
    predecessor_incarnation_ = incarnation_;
    socket_.reset();
  }

  SegmentView party() const { return party_segment_.view(); }
  void ring_party() const {
    ring_bell(party().header().asleep, *reinterpret_cast<BellPage*>(bell_.data()));
  }

  // ---- rings ----
  void publish(const SlotBody& body) {
    BOOST_REQUIRE(to_party_.try_send(body));
    ring_party();
  }
  RingWriter& to_party() { return to_party_; }
  /// Sends a token of the party's own home.
  void release_home(Token token) {
    SlotBody body;
    body.kind = static_cast<std::uint16_t>(MessageKind::release);
    body.token = token.word;
    BOOST_REQUIRE(release_to_party_.try_send(body));
    ring_party();
  }
  /// Waits on the eventfd, as the supervisor does.
  SlotBody next(Lane lane = Lane::data) {
    RingReader& ring = lane == Lane::data ? from_party_ : release_from_party_;
    const std::uint64_t give_up_ns = now_ns() + patience_ms * ns_per_ms;
    while (!ring.ready()) {
      BellProtocol::about_to_sleep(view().header().asleep);
      if (!ring.ready()) {
        pollfd wanted{eventfd_.get(), POLLIN, 0};
        ::poll(&wanted, 1, 100);
        std::uint64_t rings = 0;
        [[maybe_unused]] const ssize_t size = ::read(eventfd_.get(), &rings, sizeof rings);
      }
      BellProtocol::awake(view().header().asleep);
      BOOST_REQUIRE_MESSAGE(now_ns() < give_up_ns, "the party sent nothing");
    }
    const SlotBody body = ring.front();
    ring.advance();
    return body;
  }
  bool nothing_from_party() const { return !from_party_.ready() && !release_from_party_.ready(); }
  /// Until `is_true()`; it looks at words the party writes.
  template <class Condition>
  static void wait_until(Condition&& is_true) {
    const std::uint64_t give_up_ns = now_ns() + patience_ms * ns_per_ms;
    while (!is_true()) {
      BOOST_REQUIRE(now_ns() < give_up_ns);
      ::sched_yield();
    }
  }

  // ---- tasks ----
  /// The record of a task that runs on the party, and its dispatch with an inline payload.
  SlotBody dispatch_body(std::uint32_t slot, std::uint16_t capability, std::string_view payload,
                         std::uint8_t attempt = 1) {
    TaskRecord& record = view().records()[slot];
    const TaskId task = make_task_id(slot, 1);
    store(record.word, TaskWord::make(TaskState::running, attempt, party_, 1).word);
    SlotBody body;
    body.kind = static_cast<std::uint16_t>(MessageKind::dispatch);
    body.inline_data[0] = task;
    body.inline_data[1] = AttemptWord::make(incarnation_, capability, attempt, 0).word;
    body.inline_bytes = static_cast<std::uint16_t>(payload.size());
    std::copy(payload.begin(), payload.end(), reinterpret_cast<char*>(&body.inline_data[2]));
    return body;
  }
  void dispatch(std::uint32_t slot, std::uint16_t capability, std::string_view payload = {}) {
    publish(dispatch_body(slot, capability, payload));
  }

  // ---- banks ----
  /// Answers a bank_request: grants bank `number`, takes its memory, says it is live.
  PartyMessage grant_bank(std::uint32_t number, std::uint32_t serial) {
    auto request = expect(PartyMessageKind::bank_request);
    PartyMessage granted;
    granted.kind = PartyMessageKind::bank_granted;
    granted.a = request.message.a;
    granted.b = number;
    granted.c = request.message.b;
    granted.d = request.message.c != 0 ? request.message.c : fake_region_bytes;
    granted.e = serial;
    BankRow& row = tables().banks[number];
    row.slots = static_cast<std::uint32_t>(granted.c);
    row.serial = serial;
    row.region_bytes = granted.d;
    store(row.word, BankWord::make(BankState::reserved, party_, incarnation_).word);
    send(granted);
    take_bank(number);
    return granted;
  }
  void take_bank(std::uint32_t number) {
    auto memory = expect(PartyMessageKind::bank_memory);
    BOOST_REQUIRE_EQUAL(memory.message.a, number);
    BankRow& row = tables().banks[number];
    const std::uint64_t size_bytes = row.slots * row.region_bytes;
    auto ok = verify_memfd(memory.fds.at(0).get(), size_bytes, SealKind::one_writer);
    require_ok(ok);
    auto mapping = Mapping::map(memory.fds[0].get(), size_bytes, Mapping::Access::read_only);
    BOOST_REQUIRE(mapping.has_value());
    banks_.insert_or_assign(number, std::move(*mapping));
    store(row.word, BankWord::make(BankState::live, party_, incarnation_).word);
    send(PartyMessageKind::bank_live, number);
  }
  /// What the party wrote into the region `token` names.
  std::string_view bytes_of(Token token, std::size_t size_bytes) const {
    const auto& bank = banks_.at(bank_of(token.region()));
    const auto offset =
        slot_of(token.region()) * tables().banks[bank_of(token.region())].region_bytes;
    return {reinterpret_cast<const char*>(bank.data()) + offset, size_bytes};
  }
  /// A bank of somebody else, filled with `content` at its slot 0; returns its descriptor. The
  /// party can map it once `map_bank` was sent.
  UniqueFd make_foreign_bank(std::uint32_t number, std::uint32_t serial, PartyId owner,
                             std::string_view content) {
    const std::uint64_t size_bytes = fake_region_bytes;
    auto fd = create_memfd("test-bank", size_bytes);
    BOOST_REQUIRE(fd.has_value());
    auto mapping = Mapping::map(fd->get(), size_bytes, Mapping::Access::read_write);
    BOOST_REQUIRE(mapping.has_value());
    std::memcpy(mapping->data(), content.data(), content.size());
    BOOST_REQUIRE(seal_one_writer(fd->get()).has_value());
    BankRow& row = tables().banks[number];
    row.slots = 1;
    row.serial = serial;
    row.region_bytes = fake_region_bytes;
    store(row.word, BankWord::make(BankState::live, owner, 1).word);
    return std::move(*fd);
  }
  void map_bank(std::uint32_t number, const UniqueFd& fd) const {
    const BankRow& row = tables().banks[number];
    PartyMessage mapped;
    mapped.kind = PartyMessageKind::bank_mapped;
    mapped.a = number;
    mapped.c = row.slots;
    mapped.d = row.region_bytes;
    mapped.e = row.serial;
    send(mapped, {fd.get()});
  }

  Incarnation incarnation() const { return incarnation_; }
  int socket() const { return socket_.get(); }
  void close_socket() { socket_.reset(); }

 private:
  RingReader open_reader(Lane lane) {
    Word& cursor = view().cursor(party_, lane);
    store(cursor, Cursor::make(incarnation_, 0).word);
    return RingReader(party().ring(party_, supervisor_party, lane),
                      ring_slots(party_, supervisor_party), &cursor);
  }

  PartyId party_;
  Incarnation incarnation_ = 0;
  Segment segment_;
  UniqueFd eventfd_;
  UniqueFd socket_;
  Segment party_segment_;
  UniqueFd party_fd_;
  UniqueFd predecessor_fd_;
  Incarnation predecessor_incarnation_ = 0;
  Mapping bell_;
  RingWriter to_party_;
  RingWriter release_to_party_;
  RingReader from_party_;
  RingReader release_from_party_;
  std::map<std::uint32_t, Mapping> banks_;
};

inline AttemptWord attempt_of(const SlotBody& body) {
  AttemptWord word;
  word.word = body.inline_data[1];
  return word;
}
inline Outcome outcome_of(const SlotBody& body) {
  return static_cast<Outcome>(attempt_of(body).outcome());
}
inline std::string inline_text(const SlotBody& body) {
  return {reinterpret_cast<const char*>(&body.inline_data[2]), body.inline_bytes};
}

}  // namespace micro_swarm::testing

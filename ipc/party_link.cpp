#include "ipc/party_link.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "ipc/transfer.hpp"
#include "shm/recovery.hpp"

namespace micro_swarm {

namespace {

/// The supervisor's segment outlives supervisors, so as a producer it has one life.
constexpr Incarnation supervisor_incarnation = 1;

CursorRow* cursor_rows(const SegmentView& segment) {
  return reinterpret_cast<CursorRow*>(&segment.cursor(0, Lane::data));
}

ErrorCode error_code_from(std::uint64_t value) {
  return value <= static_cast<std::uint64_t>(ErrorCode::gave_up) ? static_cast<ErrorCode>(value)
                                                                 : ErrorCode::refused;
}

/// A bank whose region words lie in the party's segment, not with the supervisor as heir.
bool is_inheritable(BankWord word, PartyId party) {
  return (word.state() == BankState::live || word.state() == BankState::reserved) &&
         word.owner() == party;
}

/// Rows are taken in order the first time round: behind one that was not used there is none.
bool was_used(const BankRow& row) { return row.serial != 0; }

/// Whether anything was ever written where the holds of a party's segment lie. A hole of a memfd is
/// zeros, and to read it is to have the kernel fill it.
bool has_holds(int segment_fd, const SegmentLayout& layout) {
  const auto from = static_cast<off_t>(layout.holds);
  const off_t data = ::lseek(segment_fd, from, SEEK_DATA);
  if (data < 0) return errno != ENXIO;
  return data < from + static_cast<off_t>(sizeof(Hold) * layout.hold_count);
}

Error protocol_error(std::string text) { return Error{ErrorCode::protocol, std::move(text), 0}; }

}  // namespace

namespace {
Result<void> make_bell(PreparedParty& parts) {
  auto bell_fd = create_memfd("microswarm-bell", bell_page_bytes);
  if (!bell_fd) return bell_fd.error();
  auto bell = Mapping::map(bell_fd->get(), bell_page_bytes, Mapping::Access::read_write);
  if (!bell) return with_context(bell.error(), "mapping the bell");
  if (auto kept = bell->keep_from_children(); !kept) return kept.error();
  if (auto sealed = seal_size(bell_fd->get()); !sealed) return sealed.error();
  parts.bell_fd = std::move(*bell_fd);
  parts.bell = std::move(*bell);
  return {};
}
}  // namespace

Result<PreparedParty> PreparedParty::make() {
  PreparedParty parts;
  auto own = Segment::create_nameless_agent();
  if (!own) return with_context(own.error(), "making this process's segment");
  parts.own = std::move(*own);
  if (auto made = make_bell(parts); !made) return made.error();
  return parts;
}

Result<std::unique_ptr<PartyLink>> PartyLink::open(UniqueFd socket, int timeout_ms,
                                                   PreparedParty prepared) {
  pollfd wanted{socket.get(), POLLIN, 0};
  auto ready = posix_call("poll(party socket)", [&] { return ::poll(&wanted, 1, timeout_ms); });
  if (!ready) return ready.error();
  if (*ready == 0)
    return Error{
        ErrorCode::timed_out,
        "no welcome within " + std::to_string(timeout_ms) + " ms: is the supervisor alive?", 0};
  ReceivedPartyMessage received;
  switch (receive_party_message(socket.get(), received, false)) {
    case PartySocketRead::message: break;
    case PartySocketRead::nothing:
    case PartySocketRead::malformed: return protocol_error("the first message is not a welcome");
    case PartySocketRead::closed:
      return Error{ErrorCode::not_running, "the supervisor closed the socket before its welcome",
                   0};
  }
  if (received.message.kind == PartyMessageKind::refused)
    return Error{error_code_from(received.message.a), received.message.text, 0};
  if (received.message.kind != PartyMessageKind::welcome)
    return protocol_error("the first message is not a welcome");
  return accept(std::move(socket), received, std::move(prepared));
}

Result<std::unique_ptr<PartyLink>> PartyLink::accept(UniqueFd socket,
                                                     ReceivedPartyMessage& received,
                                                     PreparedParty parts) {
  const PartyMessage& welcome = received.message;
  if (welcome.party >= parties_max || welcome.party == supervisor_party || welcome.incarnation == 0)
    return protocol_error("a welcome for party " + std::to_string(welcome.party) +
                          ", incarnation " + std::to_string(welcome.incarnation));
  if (!parts.supervisor) {
    auto supervisor = Segment::attach_supervisor(std::move(received.fds[0]));
    if (!supervisor) return with_context(supervisor.error(), "attaching the supervisor's segment");
    supervisor->take_fd();  // the mapping is all that is needed
    parts.supervisor = std::move(*supervisor);
  }
  if (parts.own && is_agent(welcome.party)) {
    parts.own.identify(welcome.party, welcome.incarnation);
  } else {
    auto own = Segment::create_party(welcome.party, welcome.incarnation);
    if (!own) return with_context(own.error(), "making this process's segment");
    parts.own = std::move(*own);
  }
  if (!parts.bell_fd)
    if (auto made = make_bell(parts); !made) return made.error();

  std::unique_ptr<PartyLink> link(
      new PartyLink(std::move(socket), welcome, std::move(received.fds[1]), std::move(parts)));
  link->start_cursors(welcome);
  if (welcome.c != 0 && received.fd_count == 3) {
    auto inherited =
        link->inherit_from(std::move(received.fds[2]), static_cast<Incarnation>(welcome.c));
    if (!inherited) return with_context(inherited.error(), "inheriting from the predecessor");
  }
  link->open_rings();
  return link;
}

PartyLink::PartyLink(UniqueFd socket, const PartyMessage& welcome, UniqueFd eventfd,
                     PreparedParty parts) noexcept
    : party_(welcome.party),
      incarnation_(welcome.incarnation),
      socket_(std::move(socket)),
      supervisor_(std::move(parts.supervisor)),
      eventfd_(std::move(eventfd)),
      own_(std::move(parts.own)),
      bell_fd_(std::move(parts.bell_fd)),
      bell_(std::move(parts.bell)) {}

void PartyLink::start_cursors(const PartyMessage& welcome) {
  store(own().cursor(supervisor_party, Lane::data),
        Cursor::make(supervisor_incarnation, welcome.d).word);
  store(own().cursor(supervisor_party, Lane::release),
        Cursor::make(supervisor_incarnation, welcome.e).word);
}

Result<void> PartyLink::inherit_from(UniqueFd segment_fd, Incarnation incarnation) {
  // The descriptor is what root kept of the dead; its bytes are input. Identity fields are not
  // looked at: a liar that overwrote its own header must not keep its successor from starting.
  const SegmentLayout layout = party_layout(party_);
  if (auto ok = verify_memfd(segment_fd.get(), layout.size_bytes, SealKind::one_writer); !ok)
    return ok.error();
  auto mapping = Mapping::map(segment_fd.get(), layout.size_bytes, Mapping::Access::read_only);
  if (!mapping) return mapping.error();
  const SegmentView dead(mapping->data(), layout);

  std::vector<RegionIndex> regions;
  for (std::uint32_t bank = 0; bank < banks_max && was_used(tables().banks[bank]); ++bank) {
    const BankRow& row = tables().banks[bank];
    const BankWord word{load(row.word)};
    if (!is_inheritable(word, party_)) continue;
    for (std::uint32_t slot = 0; slot < std::min(row.slots, bank_slots_max); ++slot)
      regions.push_back(region_index(bank, slot));
  }
  RecoveryMaps maps;
  maps.ring = [&](PartyId producer, Incarnation producer_life, PartyId consumer,
                  Lane lane) -> const Slot* {
    if (producer == party_ && producer_life == incarnation)
      return dead.ring(party_, consumer, lane);
    if (producer == supervisor_party && producer_life == supervisor_incarnation)
      return supervisor().ring(supervisor_party, consumer, lane);
    return nullptr;
  };
  const DeadParty d{party_,
                    incarnation,
                    dead.holds(),
                    has_holds(segment_fd.get(), layout) ? dead.hold_count() : 0,
                    cursor_rows(dead),
                    &dead.header().in_hand,
                    &dead.region(0)};
  const Heir f{own().holds(), own().hold_count(), cursor_rows(own()), &own().header().in_hand,
               &own().region(0)};
  has_predecessor_ = true;
  inherited_ = static_cast<std::uint32_t>(inherit(d, f, regions, maps).kept.size());
  check_cursors();
  return {};
}

void PartyLink::check_cursors() {
  // The predecessor may have lied about how far it had read. On the data lane nothing is lost by
  // going to the end (what was dispatched to it is not for this life anyway); on the release lane
  // what still lies in the ring is taken again, which is harmless: the dead mints nothing.
  for (const Lane lane : {Lane::data, Lane::release}) {
    const std::uint64_t slots = ring_slots(supervisor_party, party_);
    const std::uint64_t tail = find_tail(supervisor().ring(supervisor_party, party_, lane),
                                         static_cast<std::uint32_t>(slots));
    Word& word = own().cursor(supervisor_party, lane);
    const Cursor cursor{load(word)};
    if (cursor.incarnation() == supervisor_incarnation && cursor.consumed() <= tail &&
        tail - cursor.consumed() <= slots)
      continue;
    const std::uint64_t from = lane == Lane::data ? tail : tail - std::min(tail, slots);
    store(word, Cursor::make(supervisor_incarnation, from).word);
    count_malformed();
  }
}

void PartyLink::open_rings() {
  const std::uint32_t slots_in = ring_slots(supervisor_party, party_);
  const std::uint32_t slots_out = ring_slots(party_, supervisor_party);
  const auto reader = [&](Lane lane) {
    return RingReader(supervisor().ring(supervisor_party, party_, lane), slots_in,
                      &own().cursor(supervisor_party, lane));
  };
  const auto writer = [&](Lane lane) {
    return RingWriter(own().ring(party_, supervisor_party, lane), slots_out,
                      &supervisor().cursor(party_, lane), incarnation_);
  };
  data_in_ = reader(Lane::data);
  release_in_ = reader(Lane::release);
  data_out_ = writer(Lane::data);
  release_out_ = writer(Lane::release);
  holds_ = HoldSet(own().holds(), own().hold_count(), inherited_);
  banks_.emplace(
      own(), tables(), holds_,
      [this](const PartyMessage& message, std::span<const int> fds) { return send(message, fds); });
  map_.emplace(tables());
}

Result<void> PartyLink::announce() {
  PartyMessage message;
  message.kind = PartyMessageKind::registered;
  message.a = party_protocol_version;
  const int fds[] = {own_.fd(), bell_fd_.get()};
  return send(message, fds);
}

bool PartyLink::admitted() const noexcept {
  return load(tables().parties[party_].roster) ==
         RosterWord::make(RosterState::live, incarnation_).word;
}

void PartyLink::begin() {
  own_.take_fd();
  bell_fd_.reset();
  // What a predecessor held when it died: rights to results nobody will send.
  for (std::uint32_t k = 0; k < inherited_; ++k) release(k);
  if (!has_predecessor_) return;
  // After the releases above, so that a bank whose last token this was goes at once.
  for (std::uint32_t bank = 0; bank < banks_max && was_used(tables().banks[bank]); ++bank) {
    const BankRow& row = tables().banks[bank];
    const BankWord word{load(row.word)};
    if (is_inheritable(word, party_) && word.incarnation() != incarnation_)
      banks_->adopt(bank, row.serial);
  }
}

void PartyLink::ring_supervisor() noexcept {
  if (!BellProtocol::must_ring(supervisor().header().asleep)) return;
  const std::uint64_t one = 1;
  // Full (EAGAIN) means that it is rung already.
  [[maybe_unused]] const ssize_t written = ::write(eventfd_.get(), &one, sizeof one);
}

Result<void> PartyLink::send(PartyMessage message, std::span<const int> fds) const {
  message.party = party_;
  message.incarnation = incarnation_;
  return send_party_message(socket_.get(), message, fds);
}

bool PartyLink::take(ReceivedPartyMessage& received) {
  const PartyMessage& message = received.message;
  switch (message.kind) {
    case PartyMessageKind::bank_granted: banks_->granted(message); return true;
    case PartyMessageKind::bank_refused: banks_->refused(message, now_ns()); return true;
    case PartyMessageKind::bank_live: banks_->live(message); return true;
    case PartyMessageKind::bank_mapped:
      if (!map_->add(message, std::move(received.fds[0]))) count_malformed();
      return true;
    case PartyMessageKind::bank_dropped:
      map_->drop(static_cast<std::uint32_t>(message.a));
      return true;
    case PartyMessageKind::trim: banks_->pool_is_short(now_ns()); return true;
    case PartyMessageKind::topic_answer:
      if (message.b != 1) return true;  // the table is what counts; this only woke us
      refused_topic_request_ = message.a;
      topic_refusal_.assign(message.text, ::strnlen(message.text, sizeof message.text));
      return true;
    case PartyMessageKind::new_supervisor:
      if (!admitted())
        static_cast<void>(announce());
      else
        banks_->repeat();
      return true;
    default: return false;
  }
}

std::uint32_t PartyLink::drain_releases() noexcept {
  std::uint32_t taken = 0;
  while (release_in_.ready()) {
    const SlotBody body = release_in_.front();
    const Token token{body.token};
    ++taken;
    if (body.kind != static_cast<std::uint16_t>(MessageKind::release) || !token.well_formed() ||
        token.owner() != party_) {
      release_in_.advance();
      count_malformed();
      continue;
    }
    const bool known = receive_release(release_in_, own().region(token.region()), token);
    if (known)
      banks_->came_home(token.region());
    else if (banks_->is_own(token.region()))
      count_malformed();  // for inherited regions it is normal: repeated after a death
  }
  return taken;
}

bool PartyLink::release(std::uint32_t k) {
  const Token token{load(holds_[k].token)};
  if (token.owner() == party_) {
    banks_->release(k);
    return false;
  }
  if (!pass_home(k)) waiting_releases_.push_back(k);
  return true;
}

bool PartyLink::pass_home(std::uint32_t k) {
  SlotBody body;
  body.kind = static_cast<std::uint16_t>(MessageKind::release);
  if (!pass(release_out_, holds_[k], Lane::release, supervisor_party, body)) return false;
  holds_.put_back(k);
  return true;
}

void PartyLink::retry_releases() {
  while (!waiting_releases_.empty() && pass_home(waiting_releases_.back()))
    waiting_releases_.pop_back();
}

Result<std::optional<std::span<const std::byte>>> PartyLink::memory_of(
    Token token, std::size_t size_bytes) const {
  // A result that an earlier life of this party made lies in no bank of this one: it is shown to it
  // like others' banks.
  if (token.owner() == party_ && banks_->is_own(token.region())) {
    const auto bytes = banks_->memory_of(token, size_bytes);
    if (bytes.data() == nullptr) return protocol_error("a token of no own region");
    return std::optional(bytes);
  }
  return map_->find(token, size_bytes);
}

void PartyLink::count_malformed(std::uint64_t messages) noexcept {
  Word& word = own().header().messages_malformed;
  store(word, load(word) + messages);
}

}  // namespace micro_swarm

#include "ipc/client_core.hpp"

#include <poll.h>

#include <algorithm>
#include <cstring>

#include "common/clock.hpp"
#include "ipc/transfer.hpp"

namespace micro_swarm {

namespace {

// A client parks on its bell alone, so it looks at its socket every now and then: a swarm that was
// killed as a whole rings nobody.
constexpr std::size_t spins_for_tasks_max = 16;
constexpr std::uint64_t look_at_socket_ns = 100 * ns_per_ms;
constexpr std::uint64_t look_for_memory_ns = 2 * ns_per_ms;
constexpr std::uint64_t ring_full_nap_ns = ns_per_ms;
constexpr std::uint64_t bank_idle_ns = 2 * ns_per_s;
constexpr std::uint32_t calls_between_pumps = 256;
constexpr std::size_t kept_results_max = std::size_t{1} << 20;

Error gone_error() { return Error{ErrorCode::not_running, "the swarm is gone", 0}; }

}  // namespace

std::uint64_t ClientCore::deadline_after(std::uint32_t timeout_ms) {
  return timeout_ms == Client::forever ? ~std::uint64_t{0} : now_ns() + timeout_ms * ns_per_ms;
}

void intrusive_ptr_add_ref(const ClientCore* core) noexcept {
  intrusive_ptr_add_ref(static_cast<const RegionKeeper*>(core));
}
void intrusive_ptr_release(const ClientCore* core) noexcept {
  intrusive_ptr_release(static_cast<const RegionKeeper*>(core));
}

Result<boost::intrusive_ptr<ClientCore>> ClientCore::attach(UniqueFd socket,
                                                            std::uint32_t timeout_ms) {
  const std::uint64_t deadline_ns = deadline_after(timeout_ms);
  auto link = PartyLink::open(std::move(socket),
                              static_cast<int>(std::min(timeout_ms, std::uint32_t{1} << 30)));
  if (!link) return link.error();
  boost::intrusive_ptr<ClientCore> core(new ClientCore(std::move(*link)));
  if (auto joined = core->join(deadline_ns); !joined) return joined.error();
  return core;
}

Result<void> ClientCore::join(std::uint64_t deadline_ns) {
  if (auto sent = link_->announce(); !sent) return sent.error();
  while (!link_->admitted()) {
    if (auto pumped = pump(); !pumped) return pumped.error();
    const std::uint64_t now = now_ns();
    if (now >= deadline_ns)
      return Error{ErrorCode::timed_out, "the supervisor did not answer the registration", 0};
    link_->wait(std::min(look_at_socket_ns, deadline_ns - now),
                [this] { return link_->admitted(); });
  }
  link_->begin();
  return {};
}

ClientCore::~ClientCore() {
  if (gone_ || !link_->admitted() || numbers_.count() != 0) return;
  link_->retry_releases();
  if (link_->holds().in_use() != 0) return;
  link_->banks().trim(now_ns(), 0);
  PartyMessage leaving;
  leaving.kind = PartyMessageKind::leaving;
  static_cast<void>(link_->send(leaving));  // end of file says the same
}

void ClientCore::close() { kept_.clear(); }

Result<void> ClientCore::pump() {
  collect_releases();
  BankOwner& banks = link_->banks();
  if (banks.has_idle()) banks.trim(now_ns(), bank_idle_ns);
  ReceivedPartyMessage received;
  while (!gone_) {
    switch (receive_party_message(link_->socket(), received, false)) {
      case PartySocketRead::nothing: return {};
      case PartySocketRead::closed: gone_ = true; break;
      case PartySocketRead::malformed: link_->count_malformed(); break;
      case PartySocketRead::message: {
        const PartyMessage& message = received.message;
        if (message.kind == PartyMessageKind::refused) {
          gone_ = true;
          return Error{ErrorCode::refused, message.text, 0};
        }
        if (message.kind == PartyMessageKind::probe) {
          PartyMessage pong;
          pong.kind = PartyMessageKind::pong;
          pong.a = message.a;
          static_cast<void>(link_->send(pong));
        } else if (!link_->take(received) && message.kind != PartyMessageKind::drain) {
          link_->count_malformed();
        }
      }
    }
  }
  return gone_error();
}

void ClientCore::collect_releases() {
  if (link_->releases_ready()) link_->drain_releases();
  if (!link_->has_waiting_releases()) return;
  link_->retry_releases();
  link_->ring_supervisor();
}

void ClientCore::release(std::uint32_t hold) {
  if (link_->release(hold)) link_->ring_supervisor();
}

// ---- memory ----

Result<Region> ClientCore::allocate(std::size_t size_bytes, std::uint32_t timeout_ms) {
  if (link_->releases_ready() || link_->has_waiting_releases()) collect_releases();
  if (size_bytes != 0)
    if (auto allocation = link_->banks().at_hand(size_bytes)) return make_region(*allocation);
  return allocate_waiting(size_bytes, timeout_ms);
}

Result<Region> ClientCore::allocate_waiting(std::size_t size_bytes, std::uint32_t timeout_ms) {
  if (size_bytes == 0) return Error{ErrorCode::usage, "a region has at least 1 byte", 0};
  const std::uint64_t deadline_ns = deadline_after(timeout_ms);
  for (;;) {
    collect_releases();
    const std::uint64_t now = now_ns();
    auto allocation = link_->banks().try_allocate(size_bytes, now);
    if (!allocation) return allocation.error();
    if (*allocation) return make_region(**allocation);
    if (auto pumped = pump(); !pumped) return pumped.error();
    if (now >= deadline_ns) {
      const std::string& why = link_->banks().refusal();
      return Error{ErrorCode::refused,
                   "no memory for " + std::to_string(size_bytes) +
                       " bytes: " + (why.empty() ? "the pool is full of tasks under way" : why),
                   0};
    }
    wait_for_memory(deadline_ns);
  }
}

void ClientCore::wait_for_memory(std::uint64_t deadline_ns) {
  // The pool may be full of results that nobody but this client can give back.
  keep_results();
  const std::uint64_t now = now_ns();
  if (now >= deadline_ns) return;
  const std::uint64_t time_ns = std::min(look_for_memory_ns, deadline_ns - now);
  if (link_->banks().is_asking()) {  // the answer comes by the socket
    wait_for_socket(time_ns);
  } else {
    link_->wait(time_ns, [this] { return link_->releases_ready(); });
  }
}

void ClientCore::wait_for_socket(std::uint64_t time_ns) {
  pollfd wanted{link_->socket(), POLLIN, 0};
  const timespec timeout{0, static_cast<long>(time_ns)};
  ::ppoll(&wanted, 1, &timeout, nullptr);
}

// ---- submitting ----

std::vector<std::string> ClientCore::capabilities() const {
  std::vector<std::string> names;
  for (const CapabilityName& entry : link_->tables().capabilities) {
    std::string name(entry.text, ::strnlen(entry.text, sizeof entry.text));
    if (!name.empty()) names.push_back(std::move(name));
  }
  return names;
}

Result<std::uint16_t> ClientCore::capability_id(std::string_view name) {
  if (!name.empty() && name == last_capability_) return last_capability_id_;
  const auto& table = link_->tables().capabilities;
  for (std::uint32_t id = 0; id < capabilities_max; ++id) {
    const std::string_view known(table[id].text, ::strnlen(table[id].text, sizeof table[id].text));
    if (name.empty() || known != name) continue;
    last_capability_ = name;
    last_capability_id_ = static_cast<std::uint16_t>(id);
    return last_capability_id_;
  }
  std::string text = "this swarm has no capability '" + std::string(name) + "'; it has: ";
  const auto names = capabilities();
  for (std::size_t i = 0; i < names.size(); ++i) text += (i == 0 ? "" : ", ") + names[i];
  return Error{ErrorCode::not_found, std::move(text), 0};
}

Result<std::uint16_t> ClientCore::check(const TaskRequest& request) {
  const SupervisorTables& tables = link_->tables();
  if (gone_) return gone_error();
  if (load(tables.accepting) == 0)
    return Error{ErrorCode::refused, "the swarm takes no more tasks: it is stopping", 0};
  if (request.region && !request.payload.empty())
    return Error{ErrorCode::usage, "a task has either payload bytes or a region, not both", 0};
  if (request.region && request.region.keeper_.get() != this)
    return Error{ErrorCode::usage, "the region belongs to another client", 0};
  if (static_cast<unsigned>(request.priority) >= priorities)
    return Error{ErrorCode::usage, "no such priority", 0};
  const std::uint64_t pool_bytes = load(tables.pool_regions) * load(tables.region_bytes);
  const std::size_t size_bytes = request.payload.size();
  if (size_bytes > pool_bytes || size_bytes > 0xffffffffu)
    return Error{ErrorCode::too_large,
                 "a payload of " + std::to_string(size_bytes) +
                     " bytes is more than the whole pool (" + std::to_string(pool_bytes) +
                     " bytes): raise memory.pool_size",
                 0};
  return capability_id(request.capability);
}

Result<bool> ClientCore::try_copy_to_region(TaskRequest& request, std::uint8_t& flags) {
  if (request.payload.size() <= task_inline_bytes_max) return true;
  const auto bytes = packed(request.payload, flags);
  auto allocation = link_->banks().try_allocate(bytes.size(), now_ns());
  if (!allocation) return allocation.error();
  if (!*allocation) return false;
  std::memcpy((*allocation)->memory.data(), bytes.data(), bytes.size());
  request.region = make_region(**allocation);
  request.payload = {};
  return true;
}

void ClientCore::send(TaskRequest& request, std::uint16_t capability, std::uint8_t flags) {
  if (request.is_detached) flags |= submit_detached;
  SlotBody body;
  body.kind = static_cast<std::uint16_t>(MessageKind::submit);
  body.inline_data[0] = numbers_.next();
  body.inline_data[1] = SubmitWord::make(request.timeout_ms, capability,
                                         static_cast<std::uint8_t>(request.priority), flags)
                            .word;
  numbers_.submitted();
  if (!request.region) {
    body.inline_bytes = static_cast<std::uint16_t>(request.payload.size());
    if (!request.payload.empty())
      std::memcpy(&body.inline_data[2], request.payload.data(), request.payload.size());
    link_->data_out().try_send(body);
    return;
  }
  body.region_bytes = static_cast<std::uint32_t>(request.region.bytes_.size());
  link_->banks().leaving(request.region.hold_);
  pass(link_->data_out(), link_->holds()[request.region.hold_], Lane::data, supervisor_party, body);
  link_->banks().passed(request.region.hold_);
  request.region.forget();  // its token is the supervisor's now
}

Result<void> ClientCore::wait_for_room(std::uint64_t deadline_ns) {
  RingWriter& ring = link_->data_out();
  while (!ring.has_space(1)) {
    const std::uint64_t now = now_ns();
    if (now >= deadline_ns)
      return Error{ErrorCode::timed_out, "the supervisor takes no submissions just now", 0};
    if (auto pumped = pump(); !pumped) return pumped.error();
    keep_results();
    link_->ring_supervisor();
    link_->wait(std::min(ring_full_nap_ns, deadline_ns - now),
                [&] { return ring.has_space(1) || (link_->data_in().ready() && can_keep_more()); });
  }
  return {};
}

Result<std::uint64_t> ClientCore::submit(TaskRequest& request, std::uint32_t timeout_ms) {
  if (request.options != nullptr) {
    auto batch = submit_batch({&request, 1}, timeout_ms);
    if (!batch) return batch.error();
    return batch->first_number;
  }
  auto capability = check(request);
  if (!capability) return capability.error();
  if (++calls_ % calls_between_pumps == 0) {
    if (auto pumped = pump(); !pumped) return pumped.error();
  }
  collect_releases();
  Region copy;
  std::uint8_t flags = 0;
  if (request.payload.size() > task_inline_bytes_max) {
    const auto bytes = packed(request.payload, flags);
    auto region = allocate(bytes.size(), timeout_ms);
    if (!region) return region.error();
    copy = std::move(*region);
    std::memcpy(copy.bytes_.data(), bytes.data(), bytes.size());
  }
  if (!link_->data_out().has_space(1)) {
    if (auto room = wait_for_room(deadline_after(timeout_ms)); !room) return room.error();
  }
  const std::uint64_t number = numbers_.next();
  if (copy) {
    request.region = std::move(copy);
    request.payload = {};
  }
  send(request, *capability, flags);
  link_->ring_supervisor();
  return number;
}

Result<BatchSubmitted> ClientCore::try_submit_batch(std::span<TaskRequest> requests) {
  BatchSubmitted batch;
  batch.first_number = numbers_.next();
  if (auto pumped = pump(); !pumped) return pumped.error();
  RingWriter& ring = link_->data_out();
  for (TaskRequest& request : requests) {
    if (!ring.has_space(1)) break;
    if (request.options != nullptr) {
      if (batch.count == 0)
        return Error{ErrorCode::usage, "a task with options is handed in by submit_batch", 0};
      break;
    }
    auto capability = check(request);
    if (!capability) {
      if (batch.count == 0) return capability.error();
      break;
    }
    std::uint8_t flags = 0;
    auto copied = try_copy_to_region(request, flags);
    if (!copied) {
      if (batch.count == 0) return copied.error();
      break;
    }
    if (!*copied) break;
    send(request, *capability, flags);
    ++batch.count;
  }
  if (batch.count != 0) link_->ring_supervisor();
  return batch;
}

// ---- results ----

bool ClientCore::can_keep_more() const noexcept {
  // Some holds stay free for payloads.
  const HoldSet& holds = link_->holds();
  return kept_.size() < kept_results_max && holds.in_use() < holds.capacity() / 4 * 3;
}

bool ClientCore::keep_one() {
  if (!link_->data_in().ready() || !can_keep_more()) return false;
  TaskResult result;
  const Taken taken = take_result(result);
  if (taken == Taken::result) kept_.push_back(std::move(result));
  return taken != Taken::not_mapped && taken != Taken::no_hold;
}

void ClientCore::keep_results() {
  while (keep_one()) {
  }
}

ClientCore::Taken ClientCore::take_result(TaskResult& result) {
  RingReader& ring = link_->data_in();
  if (!ring.ready()) return Taken::nothing;
  const SlotBody body = ring.front();
  if (body.kind == static_cast<std::uint16_t>(MessageKind::transfer))
    return memory_.take_next() ? Taken::dropped : Taken::no_hold;
  if (PartyCache::is_answer(body)) return take_cache_answer();
  const Token token{body.token};
  if (body.kind != static_cast<std::uint16_t>(MessageKind::result) ||
      body.inline_bytes > task_inline_bytes_max || (token && !token.well_formed())) {
    ring.advance();
    link_->count_malformed();
    return Taken::dropped;
  }
  ResultWord word;
  word.word = body.inline_data[1];
  result.number_ = body.inline_data[0];
  result.task_id_ = word.id();
  result.state_ = word.state();
  result.attempts_ = word.attempts();
  if (token) return take_region_result(result, body);

  ring.advance();
  if (!numbers_.finish(result.number_)) {
    ++doubled_;
    return Taken::dropped;
  }
  if (result.state_ == TaskState::free) {
    finish_refused(result, body);
    return Taken::result;
  }
  result.inline_bytes_ = static_cast<std::uint8_t>(body.inline_bytes);
  std::memcpy(result.inline_.data(), &body.inline_data[2], body.inline_bytes);
  return Taken::result;
}

void ClientCore::finish_refused(TaskResult& result, const SlotBody& body) {
  const RefusalCode code{body.inline_data[2]};
  const RefusalScope scope{body.inline_data[4]};
  const auto describe = [&](TaskResult& one, std::uint64_t number) {
    one.number_ = number;
    one.task_id_ = 0;
    one.state_ = TaskState::free;
    one.refusal_ = code.code();
    one.refusal_reason_ = code.reason();
    one.refused_number_ = result.number_ + scope.entry();
    one.retry_after_ms_ = static_cast<std::uint32_t>(body.inline_data[3]);
  };
  // The others of its batch follow it as results of their own.
  for (std::uint32_t i = 1; i < scope.count(); ++i) {
    if (!numbers_.finish(result.number_ + i)) continue;
    TaskResult other;
    describe(other, result.number_ + i);
    kept_.push_back(std::move(other));
  }
  describe(result, result.number_);
}

ClientCore::Taken ClientCore::take_region_result(TaskResult& result, const SlotBody& body) {
  const Token token{body.token};
  const auto bytes = link_->memory_of(token, body.region_bytes);
  if (bytes && !*bytes) return Taken::not_mapped;
  const auto hold = link_->holds().take();
  if (!hold) return Taken::no_hold;
  RingReader& ring = link_->data_in();
  const MessageInHand in_hand =
      take_in_hand(ring, link_->own().header().in_hand, Lane::data, supervisor_party);
  take_token(link_->holds()[*hold], token);
  keep(in_hand);
  if (!numbers_.finish(result.number_)) {
    ++doubled_;
    release(*hold);
    return Taken::dropped;
  }
  result.core_ = this;
  result.hold_ = *hold;
  if (bytes)
    result.region_ = **bytes;
  else
    result.refusal_ = bytes.error().code;  // an agent that lied about its result
  return Taken::result;
}

Result<std::optional<TaskResult>> ClientCore::next_result(std::uint32_t timeout_ms) {
  using Found = std::optional<TaskResult>;
  collect_releases();
  if (++calls_ % calls_between_pumps == 0 && !gone_) static_cast<void>(pump());
  if (!kept_.empty()) {
    Found found(std::move(kept_.front()));
    kept_.pop_front();
    return found;
  }
  std::uint64_t deadline_ns = 0;
  for (;;) {
    TaskResult result;
    const Taken taken = take_result(result);
    if (taken == Taken::result) return Found(std::move(result));
    if (taken == Taken::dropped) continue;
    // What was released and found no room on its way home is in a hold still: until the supervisor,
    // or the next one, has read its ring.
    const bool waits_for_holds = taken == Taken::no_hold && link_->has_waiting_releases();
    if (taken == Taken::no_hold && !waits_for_holds)
      return Error{ErrorCode::refused,
                   "as many results are held as there is room for: release some first", 0};
    // What was sent before the end can still be read.
    if (auto pumped = pump(); !pumped && !link_->data_in().ready()) return pumped.error();
    if (gone_ && (taken == Taken::not_mapped || waits_for_holds)) return gone_error();
    if (timeout_ms == 0 && taken == Taken::nothing && !link_->data_in().ready()) return Found();
    const std::uint64_t now = now_ns();
    if (deadline_ns == 0) deadline_ns = deadline_after(timeout_ms);
    if (now >= deadline_ns) return Found();
    const std::uint64_t time_ns = std::min(look_at_socket_ns, deadline_ns - now);
    if (waits_for_holds) {
      link_->ring_supervisor();
      link_->wait(ring_full_nap_ns, [] { return false; });
      collect_releases();
    } else if (taken == Taken::not_mapped) {  // its bank is on its way
      wait_for_socket(time_ns);
    } else {
      // With many tasks under way the time of one is hidden by the others, and those who work on
      // them have more use for the core.
      link_->wait(
          time_ns, [this] { return link_->data_in().ready(); }, in_flight() <= spins_for_tasks_max);
      collect_releases();
    }
  }
}

}  // namespace micro_swarm

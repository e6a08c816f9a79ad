#pragma once

// The party socket: SEQPACKET between the supervisor and one agent or client, one fixed-size
// message a packet, descriptors beside it. It carries what is rare: registration, banks, cancel,
// probes, drain. Tasks go through the rings. docs/agent-protocol.md describes the bytes.
//
// The supervisor's end is kept by root, so the socket outlives a supervisor. A message read by a
// supervisor that then died is lost: that is why every request is repeated when `new_supervisor`
// arrives, and why every request is idempotent.

#include <bit>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "common/result.hpp"
#include "shm/segment_data.hpp"
#include "shm/task_record_data.hpp"

namespace micro_swarm {

inline constexpr std::uint32_t party_protocol_version = 1;

enum class PartyMessageKind : std::uint32_t {
  // supervisor -> party
  welcome = 1,   ///< first message. party, incarnation, a = the pool's region_bytes, c = the
                 ///< predecessor's incarnation or 0; d, e = how many messages of the supervisor's
                 ///< data and release rings to this party id are consumed already: where a party
                 ///< without predecessor starts (cursor {1, d} and {1, e}); fds: supervisor segment
                 ///< (read-only), supervisor's eventfd, [predecessor's segment (read-only)]
  refused,       ///< a = ErrorCode; text; the socket is closed after it
  bank_granted,  ///< a = request, b = bank, c = slots, d = region_bytes, e = serial
  bank_refused,  ///< a = request; b = 1: for good, asking again will not help; text: why
  bank_live,     ///< a = bank: kept; the owner may allocate from it
  bank_mapped,   ///< a = bank, c = slots, d = region_bytes, e = serial; fd: another party's bank,
                 ///< read-only. Rows are used again: whoever follows a token compares the serial
                 ///< of its mapping with banks[a].serial in the supervisor's tables, and waits for
                 ///< the next bank_mapped when they differ
  bank_dropped,  ///< a = bank: unmap it when idle
  cancel,        ///< a = task: stop it if you still run it
  probe,         ///< a = number: answer with pong from the control thread
  new_supervisor,  ///< a = epoch: repeat requests that were not answered
  drain,           ///< finish what runs, then exit 0
  trim,            ///< others need memory: return every bank of which no token is out
  topic_answer,    ///< a = request; b = 1: refused, text: why. b = 0: the topics' table shows it
  // party -> supervisor
  registered = 64,  ///< a = party_protocol_version; fds: segment, bell page
  bank_request,     ///< a = request, b = slots wanted, c = region_bytes (0 = the pool's;
                    ///< shm/size_classes.hpp says which there are), d = 1: asked ahead, to be
                    ///< granted only while there is plenty
  bank_memory,      ///< a = bank; fd: the bank's memfd, mapped by its owner, then sealed
  pong,             ///< a = number
  leaving,          ///< the party exits on purpose and holds nothing
  bank_returned,    ///< a = bank, e = serial: unmapped by its owner, no token is out, none will be;
                    ///< repeated until the bank's row says that it is gone
  subscription,     ///< a = request, b = 1: to subscribe to a topic, 0: no longer; text: its name.
                    ///< Repeated until the topics' table says so, or it is refused
};

struct PartyMessage {
  PartyMessageKind kind{};
  std::uint16_t party = 0;
  std::uint16_t incarnation = 0;
  std::uint64_t a = 0, b = 0, c = 0, d = 0, e = 0;
  char text[144] = {};  ///< NUL-terminated
};
static_assert(sizeof(PartyMessage) == 192 && std::is_trivially_copyable_v<PartyMessage>);

/// What ring messages between the supervisor and a party mean (SlotBody::kind).
enum class MessageKind : std::uint16_t {
  none = 0,
  submit = 1,        ///< client -> S, Lane::data; token = payload (right passes to S)
  result = 2,        ///< S -> client, Lane::data; token = result (right passes to the client)
  dispatch = 3,      ///< S -> agent, Lane::data; token = payload LENT: no right passes, the agent
                     ///< reads it only while it runs this task
  complete = 4,      ///< agent -> S, Lane::data; token = result (right passes to S)
  release = 5,       ///< token going home, Lane::release
  submit_batch = 6,  ///< client -> S, Lane::data; token = the region that submissions and their
                     ///< payloads lie in (right passes to S), see ipc/batch_protocol.hpp
  transfer = 7,      ///< party -> S -> party, Lane::data; token = a region (right passes on)
  cache_get = 9,     ///< these four: ipc/cache_protocol.hpp
  cache_put = 10,
  cache_erase = 11,
  cache_answer = 12,
};

// SlotBody::inline_data is five words. The first two are the message's own, the other three
// (24 bytes) are inline payload, as many as SlotBody::inline_bytes says.

inline constexpr std::size_t inline_payload_words = 3;
static_assert(inline_payload_words * 8 == task_inline_bytes_max);

/// submit: word 0 = number; word 1 = {timeout_ms:32, capability:16, priority:8, flags:8}.
struct SubmitWord {
  std::uint64_t word = 0;
  static constexpr SubmitWord make(std::uint32_t timeout_ms, std::uint16_t capability,
                                   std::uint8_t priority, std::uint8_t flags) {
    return SubmitWord{(std::uint64_t{timeout_ms} << 32) | (std::uint64_t{capability} << 16) |
                      (std::uint64_t{priority} << 8) | flags};
  }
  constexpr std::uint32_t timeout_ms() const { return static_cast<std::uint32_t>(word >> 32); }
  constexpr std::uint16_t capability() const { return static_cast<std::uint16_t>(word >> 16); }
  constexpr std::uint8_t priority() const { return static_cast<std::uint8_t>(word >> 8); }
  constexpr std::uint8_t flags() const { return static_cast<std::uint8_t>(word); }
};

/// SubmitWord::flags. The client will not wait for the result: it stays with the supervisor, for
/// whoever asks on the control socket. A refusal is told all the same.
inline constexpr std::uint8_t submit_detached = 1;
/// The region holds the payload as a packed block (common/compression.hpp). Only in a submit with a
/// token.
inline constexpr std::uint8_t submit_compressed = 2;

/// Why a region came back to whoever handed it over.
enum class TransferRefusal : std::uint8_t {
  none = 0,
  gone,  ///< there is no such party (any more)
  full,  ///< it does not take what waits for it
};
std::string_view name_of(TransferRefusal reason);

/// transfer: word 0 = {TransferRefusal:8, party:16}: whom it is for, in a message to the
/// supervisor, and whom it is from, in one of it; word 1 = the sender's tag. Whoever cannot take a
/// region sends it back with a refusal: that is not refused again. Words 2 to 4: the TopicName it
/// was published under, whose subscriber the receiver is, or 0. What was published and cannot be
/// taken goes home.
struct TransferWord {
  std::uint64_t word = 0;
  static constexpr TransferWord make(PartyId party, TransferRefusal refusal) {
    return TransferWord{(static_cast<std::uint64_t>(refusal) << 16) | party};
  }
  constexpr PartyId party() const { return static_cast<PartyId>(word & 0xffff); }
  constexpr TransferRefusal refusal() const {
    const std::uint64_t value = (word >> 16) & 0xff;
    return value <= static_cast<std::uint64_t>(TransferRefusal::full)
               ? static_cast<TransferRefusal>(value)
               : TransferRefusal::full;
  }
};

/// Whether a message of this kind brings a right: what becomes of it if nobody takes it.
constexpr bool carries_right(MessageKind kind) {
  return kind == MessageKind::result || kind == MessageKind::transfer ||
         kind == MessageKind::cache_answer;
}

/// submit_batch: word 0 = number of the first entry, the others follow one by one; word 1 = how
/// many; word 2 = where in the region the BatchHeader lies (inline_bytes is 8). All entries are
/// accepted, or none.

/// Why a submission was refused, closer than its ErrorCode.
enum class SubmitRefusal : std::uint8_t {
  none = 0,
  malformed,
  stopping,
  unknown_capability,
  queue_full,          ///< no task record is free
  client_quota,        ///< too many of its client's tasks wait
  category_quota,      ///< too many tasks of its category wait
  too_many_demands,    ///< too many different demands on agents wait at once
  unknown_category,    ///< none of the configuration's
  unknown_dependency,  ///< not an own earlier number, not in the batch, no task that is on record
  dependency_cycle,
  result_not_kept,  ///< a dependency has ended and its result went to its client
  no_state_dir,     ///< an idempotency key, and the swarm keeps nothing that would know it again
  too_large,        ///< it asks for more than the swarm, or one agent, ever has
  key_conflict,     ///< its idempotency key is that of another request
  journal_stuck,    ///< the journal cannot be written now, or does not keep up
  category_memory,  ///< payloads of its category take as much of the pool as they may
};
inline constexpr SubmitRefusal last_submit_refusal = SubmitRefusal::category_memory;
std::string_view name_of(SubmitRefusal reason);
/// One sentence for whoever submitted.
std::string_view text_of(SubmitRefusal reason);

/// result: word 0 = number; word 1 = {TaskState:4, attempts:8, the TaskId's slot:20 and
/// generation:32}. A refused submission has TaskState free and TaskId 0, and its inline payload is
/// RefusalCode, retry hint in ms, RefusalScope.
struct ResultWord {
  std::uint64_t word = 0;
  static constexpr ResultWord make(TaskState state, std::uint8_t attempts, TaskId id) {
    return ResultWord{(static_cast<std::uint64_t>(state) << 60) | (std::uint64_t{attempts} << 52) |
                      (std::uint64_t{task_slot(id) & 0xfffffu} << 32) | task_generation(id)};
  }
  constexpr TaskState state() const { return static_cast<TaskState>(word >> 60); }
  constexpr std::uint8_t attempts() const { return static_cast<std::uint8_t>(word >> 52); }
  constexpr TaskId id() const {
    return make_task_id(static_cast<std::uint32_t>((word >> 32) & 0xfffff),
                        static_cast<std::uint32_t>(word));
  }
};

struct RefusalCode {  // {0:24, SubmitRefusal:8, ErrorCode:32}
  std::uint64_t word = 0;
  static constexpr RefusalCode make(ErrorCode code, SubmitRefusal reason) {
    return RefusalCode{(static_cast<std::uint64_t>(reason) << 32) |
                       static_cast<std::uint64_t>(code)};
  }
  constexpr ErrorCode code() const {
    const std::uint64_t value = word & 0xffffffff;
    return value <= static_cast<std::uint64_t>(ErrorCode::gave_up) ? static_cast<ErrorCode>(value)
                                                                   : ErrorCode::refused;
  }
  constexpr SubmitRefusal reason() const {
    const std::uint64_t value = (word >> 32) & 0xff;
    return value <= static_cast<std::uint64_t>(last_submit_refusal)
               ? static_cast<SubmitRefusal>(value)
               : SubmitRefusal::none;
  }
};
/// {client incarnation:16, entry:24, count:24}: `count` submissions from the result's number on are
/// refused, because of the one that is `entry` further. With the incarnation a new supervisor knows
/// its predecessor's refusal for that of the message that comes again.
struct RefusalScope {
  std::uint64_t word = 0;
  static constexpr RefusalScope make(Incarnation client, std::uint32_t entry, std::uint32_t count) {
    return RefusalScope{(std::uint64_t{client} << 48) | (std::uint64_t{entry & 0xffffff} << 24) |
                        (count & 0xffffff)};
  }
  constexpr Incarnation incarnation() const { return static_cast<Incarnation>(word >> 48); }
  constexpr std::uint32_t entry() const {
    return static_cast<std::uint32_t>((word >> 24) & 0xffffff);
  }
  constexpr std::uint32_t count() const { return static_cast<std::uint32_t>(word & 0xffffff); }
};

/// A duration in 16 bits, {exponent:5, mantissa:11}: exact to 4 us, then to 1 in 2048, at most 73
/// minutes.
struct ShortTime {
  std::uint16_t bits = 0;
  static constexpr ShortTime of(std::uint64_t ns) {
    const auto width = static_cast<unsigned>(std::bit_width(ns));
    if (width <= 11) return {static_cast<std::uint16_t>(ns)};
    const unsigned exponent = width - 11;  // at least 1: the mantissa's top bit is implied
    if (exponent > 31) return {0xffff};
    return {static_cast<std::uint16_t>((exponent << 11) | ((ns >> (exponent - 1)) & 0x7ff))};
  }
  constexpr std::uint64_t ns() const {
    const unsigned exponent = bits >> 11;
    const std::uint64_t mantissa = bits & 0x7ffu;
    return exponent == 0 ? mantissa : (mantissa | 0x800) << (exponent - 1);
  }
};

/// dispatch and complete: word 0 = TaskId; word 1 = {agent incarnation:16, capability:16,
/// attempt:8, outcome:8, flags:16}. In a complete, two ShortTimes stand in the place of capability
/// and flags: how long the task waited from its dispatch to its handler's start, and how long the
/// handler worked; both 0 = the agent does not say.
struct AttemptWord {
  std::uint64_t word = 0;
  static constexpr AttemptWord make(Incarnation incarnation, std::uint16_t capability,
                                    std::uint8_t attempt, std::uint8_t outcome,
                                    std::uint16_t flags = 0) {
    return AttemptWord{(std::uint64_t{incarnation} << 48) | (std::uint64_t{capability} << 32) |
                       (std::uint64_t{attempt} << 24) | (std::uint64_t{outcome} << 16) | flags};
  }
  constexpr Incarnation incarnation() const { return static_cast<Incarnation>(word >> 48); }
  constexpr std::uint16_t capability() const { return static_cast<std::uint16_t>(word >> 32); }
  constexpr std::uint8_t attempt() const { return static_cast<std::uint8_t>(word >> 24); }
  constexpr std::uint8_t outcome() const { return static_cast<std::uint8_t>(word >> 16); }
  constexpr std::uint16_t flags() const { return static_cast<std::uint16_t>(word); }

  static constexpr AttemptWord completed(Incarnation incarnation, std::uint8_t attempt,
                                         std::uint8_t outcome, std::uint64_t waited_ns,
                                         std::uint64_t worked_ns) {
    return make(incarnation, ShortTime::of(waited_ns).bits, attempt, outcome,
                ShortTime::of(worked_ns).bits);
  }
  constexpr std::uint64_t waited_ns() const { return ShortTime{capability()}.ns(); }
  constexpr std::uint64_t worked_ns() const { return ShortTime{flags()}.ns(); }
};
/// AttemptWord::flags of a dispatch. The task depends on others: TaskDependencies of its record
/// name them, their records say where the results are. They stay while the task is not over.
inline constexpr std::uint16_t dispatch_has_inputs = 1;
/// The payload is a packed block: what its handler reads comes out of it.
inline constexpr std::uint16_t dispatch_payload_compressed = 2;

/// How an attempt ended, as its agent says. A failure's bytes are its message (UTF-8).
enum class Outcome : std::uint8_t { done = 0, failed = 1, cancelled = 2 };

}  // namespace micro_swarm

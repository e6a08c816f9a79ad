#pragma once

// Regions as a program holds them: one it may write, and one that somebody else wrote for it.
// Each object belongs to the thread that works with the party it came from.

#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <boost/smart_ptr/intrusive_ref_counter.hpp>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "common/ids.hpp"
#include "common/result.hpp"
#include "ipc/party_protocol.hpp"
#include "ipc/topics.hpp"

namespace micro_swarm {

/// Who a region goes back to: the client or the agent's runtime it came from. Lives as long as one
/// of its regions does. They are counted without atomics, which would cost more than all else that
/// an allocation does: they belong to one thread at a time, as the keeper does.
class RegionKeeper
    : public boost::intrusive_ref_counter<RegionKeeper, boost::thread_unsafe_counter> {
 public:
  virtual ~RegionKeeper() = default;
  /// Gives up the right in the party's hold. Never blocks.
  virtual void release_hold(std::uint32_t hold) noexcept = 0;
  /// The bytes that the token is the right to read. Waits up to `timeout_ms` for their memory to be
  /// handed out. Errors: timed_out, protocol (whoever sent it lied), not_running.
  virtual Result<std::span<const std::byte>> view(Token token, std::size_t size_bytes,
                                                  std::uint32_t timeout_ms) = 0;
};

using RegionKeeperPtr = boost::intrusive_ptr<RegionKeeper>;

/// Memory of this party's own, to be filled and then handed over without being copied: as a task's
/// payload, or to another party. Given back by the destructor unless it was handed over. May
/// outlive the client it came from.
class Region {
 public:
  Region() noexcept = default;
  Region(Region&& other) noexcept { swap(other); }
  Region& operator=(Region&& other) noexcept {
    Region(std::move(other)).swap(*this);
    return *this;
  }
  ~Region() { release(); }

  explicit operator bool() const noexcept { return keeper_ != nullptr; }
  /// As many bytes as were asked for, aligned to 64. Content undefined at first. Writable until
  /// it is handed over or shared: whoever writes after that changes what others read.
  std::span<std::byte> bytes() const noexcept { return bytes_; }
  /// It has been shared: others read it.
  bool is_shared() const noexcept { return is_shared_; }
  /// Gives it back now; empty afterwards.
  void release() noexcept {
    if (keeper_ != nullptr) keeper_->release_hold(hold_);
    forget();
  }

 private:
  friend class ClientCore;
  friend class PartyMemory;
  Region(RegionKeeperPtr keeper, std::span<std::byte> bytes, std::uint32_t hold) noexcept
      : keeper_(std::move(keeper)), bytes_(bytes), hold_(hold) {}
  /// Its token is somebody else's now.
  void forget() noexcept {
    keeper_.reset();
    bytes_ = {};
    is_shared_ = false;
  }
  void swap(Region& other) noexcept {
    keeper_.swap(other.keeper_);
    std::swap(bytes_, other.bytes_);
    std::swap(hold_, other.hold_);
    std::swap(is_shared_, other.is_shared_);
  }

  RegionKeeperPtr keeper_;
  std::span<std::byte> bytes_;
  std::uint32_t hold_ = 0;
  bool is_shared_ = false;
};

/// A region that another party handed over, or one of its own that came back. The right to read it,
/// never to write; it can be handed on. Given back by the destructor.
class ReceivedRegion {
 public:
  ReceivedRegion() noexcept = default;
  ReceivedRegion(ReceivedRegion&& other) noexcept { swap(other); }
  ReceivedRegion& operator=(ReceivedRegion&& other) noexcept {
    ReceivedRegion(std::move(other)).swap(*this);
    return *this;
  }
  ~ReceivedRegion() { release(); }

  explicit operator bool() const noexcept { return keeper_ != nullptr; }
  /// Who sent it; where `refusal` says that it came back: for whom it was.
  PartyId from() const noexcept { return from_; }
  /// Not none: this party handed it over, and it was not taken.
  TransferRefusal refusal() const noexcept { return refusal_; }
  /// The sender's.
  std::uint64_t tag() const noexcept { return tag_; }
  /// The topic it was published under; "": it was sent to this party.
  std::string topic() const { return text_of(topic_); }
  std::size_t size_bytes() const noexcept { return size_bytes_; }

  /// The bytes where they lie, valid until this object is released or handed on. They are input: a
  /// lying writer can change them while they are read. Errors: as RegionKeeper::view.
  Result<std::span<const std::byte>> view(std::uint32_t timeout_ms = 10'000) const {
    if (keeper_ == nullptr) return Error{ErrorCode::usage, "this region was given away", 0};
    return keeper_->view(token_, size_bytes_, timeout_ms);
  }
  void release() noexcept {
    if (keeper_ != nullptr) keeper_->release_hold(hold_);
    keeper_.reset();
  }

 private:
  friend class PartyMemory;
  void swap(ReceivedRegion& other) noexcept {
    keeper_.swap(other.keeper_);
    std::swap(hold_, other.hold_);
    std::swap(token_, other.token_);
    std::swap(size_bytes_, other.size_bytes_);
    std::swap(tag_, other.tag_);
    std::swap(from_, other.from_);
    std::swap(refusal_, other.refusal_);
    std::swap(topic_, other.topic_);
  }

  RegionKeeperPtr keeper_;
  std::uint32_t hold_ = 0;
  Token token_;
  std::size_t size_bytes_ = 0;
  std::uint64_t tag_ = 0;
  PartyId from_ = no_party;
  TransferRefusal refusal_ = TransferRefusal::none;
  TopicName topic_;
};

}  // namespace micro_swarm

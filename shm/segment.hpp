#pragma once

// A segment as an object: created by its owner, or attached read-only by everybody else. Gives
// typed access to the bytes of segment_data.hpp.

#include "common/posix.hpp"
#include "shm/memfd.hpp"
#include "shm/supervisor_data.hpp"

namespace micro_swarm {

/// Start time of a process in clock ticks since boot (/proc/PID/stat, field 22), 0 if it is gone.
/// {pid, start time} names one life of a process, a pid alone does not.
std::uint64_t process_start_ticks(pid_t pid);

/// Pointers into a segment; copies freely, owns nothing. A view of another party's segment is for
/// reading only: the MMU turns a store into SIGSEGV.
class SegmentView {
 public:
  SegmentView() noexcept = default;
  SegmentView(std::byte* base, const SegmentLayout& layout) noexcept
      : base_(base), layout_(layout) {}

  explicit operator bool() const noexcept { return base_ != nullptr; }
  const SegmentLayout& layout() const noexcept { return layout_; }
  std::byte* base() const noexcept { return base_; }

  SegmentHeader& header() const noexcept { return *at<SegmentHeader>(0); }
  Word& cursor(PartyId producer, Lane lane) const noexcept {
    return at<CursorRow>(layout_.cursors)[producer].lane[static_cast<unsigned>(lane)];
  }
  FlightRecorder& recorder() const noexcept { return *at<FlightRecorder>(layout_.recorder); }
  Hold* holds() const noexcept { return at<Hold>(layout_.holds); }
  std::uint32_t hold_count() const noexcept { return layout_.hold_count; }
  Word& region(RegionIndex i) const noexcept { return at<Word>(layout_.regions)[i]; }
  /// The ring from `producer` (the owner of this segment) to `consumer`.
  Slot* ring(PartyId producer, PartyId consumer, Lane lane) const noexcept {
    return at<Slot>(layout_.rings + SegmentLayout::ring_offset(producer, consumer, lane));
  }
  SupervisorTables& tables() const noexcept { return *at<SupervisorTables>(layout_.extension); }
  TaskRecord* records() const noexcept {
    return at<TaskRecord>(layout_.extension + supervisor_extension(0).records);
  }
  TaskOptionsRow* task_options() const noexcept {
    return at<TaskOptionsRow>(layout_.extension +
                              supervisor_extension(header().task_capacity).options);
  }
  TaskDependencies* task_dependencies() const noexcept {
    return at<TaskDependencies>(layout_.extension +
                                supervisor_extension(header().task_capacity).dependencies);
  }
  CacheSettingsRow& cache_settings() const noexcept {
    return *at<CacheSettingsRow>(layout_.extension +
                                 supervisor_extension(header().task_capacity).cache_settings);
  }
  CacheRow* cache_rows() const noexcept {
    return at<CacheRow>(layout_.extension +
                        supervisor_extension(header().task_capacity).cache_rows);
  }

 private:
  template <class T>
  T* at(std::uint64_t offset) const noexcept {
    return reinterpret_cast<T*>(base_ + offset);
  }
  std::byte* base_ = nullptr;
  SegmentLayout layout_{};
};

/// A mapped segment. The owner's is read-write and kept from children; others' are read-only.
class Segment {
 public:
  Segment() noexcept = default;

  /// Creates, sizes, maps read-write, fills in the identity and seals: afterwards the calling
  /// process is the only one that can ever write it. `fd()` is what is sent to the supervisor.
  static Result<Segment> create_party(PartyId party, Incarnation incarnation);
  /// The same for an agent that is not told yet which one it will be; identify() is still to come.
  static Result<Segment> create_nameless_agent();
  /// Once, before anybody else sees the segment. Precondition: made by create_nameless_agent(), and
  /// the party is an agent's id: all agents' segments have one layout.
  void identify(PartyId party, Incarnation incarnation) noexcept;
  /// The supervisor's; root makes it and forks supervisors with the mapping in them.
  static Result<Segment> create_supervisor(std::uint32_t task_capacity,
                                           std::uint32_t cache_entries = 0);

  /// Verifies memfd, seals, size, magic, layout version and identity, then maps read-only.
  /// Errors: ErrorCode::protocol (a liar or another version) naming what was found and expected.
  static Result<Segment> attach_party(UniqueFd fd, PartyId party, Incarnation incarnation);
  /// The same for a descriptor that root kept, which was verified before it was: only the header is
  /// looked at, because what verify_memfd() sees is sealed and cannot have changed.
  static Result<Segment> attach_kept_party(UniqueFd fd, PartyId party, Incarnation incarnation);
  static Result<Segment> attach_supervisor(UniqueFd fd);

  const SegmentView& view() const noexcept { return view_; }
  int fd() const noexcept { return fd_.get(); }
  UniqueFd take_fd() noexcept { return std::move(fd_); }
  const Mapping& mapping() const noexcept { return mapping_; }
  explicit operator bool() const noexcept { return static_cast<bool>(view_); }

 private:
  Segment(UniqueFd fd, Mapping mapping, const SegmentLayout& layout) noexcept
      : fd_(std::move(fd)), mapping_(std::move(mapping)), view_(mapping_.data(), layout) {}
  static Result<Segment> create(const char* name, PartyId party, Incarnation incarnation,
                                const SegmentLayout& layout, SegmentKind kind,
                                std::uint32_t task_capacity, std::uint32_t cache_entries);
  UniqueFd fd_;
  Mapping mapping_;
  SegmentView view_;
};

}  // namespace micro_swarm

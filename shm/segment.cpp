#include "shm/segment.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace micro_swarm {

std::uint64_t process_start_ticks(pid_t pid) {
  std::array<char, 40> path{};
  std::snprintf(path.data(), path.size(), "/proc/%d/stat", static_cast<int>(pid));
  UniqueFd file(::open(path.data(), O_RDONLY | O_CLOEXEC));
  if (!file) return 0;
  std::array<char, 1024> text{};
  const ssize_t size = ::read(file.get(), text.data(), text.size() - 1);
  if (size <= 0) return 0;
  // The command name may hold anything: fields count from behind its closing parenthesis.
  const char* field = std::strrchr(text.data(), ')');
  for (int i = 2; field != nullptr && i < 22; ++i) {
    field = std::strchr(field + 1, ' ');
  }
  return field == nullptr ? 0 : std::strtoull(field + 1, nullptr, 10);
}

Result<Segment> Segment::create(const char* name, PartyId party, Incarnation incarnation,
                                const SegmentLayout& layout, SegmentKind kind,
                                std::uint32_t task_capacity, std::uint32_t cache_entries) {
  auto fd = create_memfd(name, layout.size_bytes);
  if (!fd) return fd.error();
  auto mapping = Mapping::map(fd->get(), layout.size_bytes, Mapping::Access::read_write);
  if (!mapping) return with_context(mapping.error(), "mapping a new segment");
  if (auto kept = mapping->keep_from_children(); !kept) return kept.error();
  Segment segment(std::move(*fd), std::move(*mapping), layout);
  SegmentHeader& header = segment.view().header();
  header.magic = segment_magic;
  header.layout_version = layout_version;
  header.kind = kind;
  header.party = party;
  header.incarnation = incarnation;
  header.pid = ::getpid();
  header.start_time_ticks = process_start_ticks(::getpid());
  header.size_bytes = layout.size_bytes;
  header.hold_count = layout.hold_count;
  header.task_capacity = task_capacity;
  header.cache_entries = cache_entries;
  if (auto sealed = seal_one_writer(segment.fd()); !sealed) return sealed.error();
  return segment;
}

Result<Segment> Segment::create_party(PartyId party, Incarnation incarnation) {
  return create("microswarm-segment", party, incarnation, party_layout(party), SegmentKind::party,
                0, 0);
}

Result<Segment> Segment::create_nameless_agent() {
  static_assert(party_layout(0).regions == party_layout(agents_max - 1).regions &&
                party_layout(0).size_bytes == party_layout(agents_max - 1).size_bytes);
  return create("microswarm-segment", no_party, 0, party_layout(0), SegmentKind::party, 0, 0);
}

void Segment::identify(PartyId party, Incarnation incarnation) noexcept {
  view_.header().party = party;
  view_.header().incarnation = incarnation;
}

Result<Segment> Segment::create_supervisor(std::uint32_t task_capacity,
                                           std::uint32_t cache_entries) {
  return create("microswarm-supervisor", supervisor_party, 1,
                supervisor_layout(task_capacity, cache_entries), SegmentKind::supervisor,
                task_capacity, cache_entries);
}

namespace {
Error mismatch(std::string_view field, std::uint64_t found, std::uint64_t expected) {
  return Error{ErrorCode::protocol,
               "segment refused: " + std::string(field) + " is " + std::to_string(found) +
                   ", expected " + std::to_string(expected),
               0};
}

Result<void> check_header(const SegmentHeader& header, SegmentKind kind, PartyId party,
                          Incarnation incarnation, const SegmentLayout& layout) {
  if (header.magic != segment_magic) return mismatch("magic", header.magic, segment_magic);
  if (header.layout_version != layout_version)
    return mismatch("layout version", header.layout_version, layout_version);
  if (header.kind != kind)
    return mismatch("kind", static_cast<std::uint64_t>(header.kind),
                    static_cast<std::uint64_t>(kind));
  if (header.party != party) return mismatch("party", header.party, party);
  if (header.incarnation != incarnation)
    return mismatch("incarnation", header.incarnation, incarnation);
  if (header.size_bytes != layout.size_bytes)
    return mismatch("size", header.size_bytes, layout.size_bytes);
  if (header.hold_count != layout.hold_count)
    return mismatch("hold count", header.hold_count, layout.hold_count);
  return {};
}
}  // namespace

Result<Segment> Segment::attach_party(UniqueFd fd, PartyId party, Incarnation incarnation) {
  if (auto ok = verify_memfd(fd.get(), party_layout(party).size_bytes, SealKind::one_writer); !ok)
    return ok.error();
  return attach_kept_party(std::move(fd), party, incarnation);
}

Result<Segment> Segment::attach_kept_party(UniqueFd fd, PartyId party, Incarnation incarnation) {
  const SegmentLayout layout = party_layout(party);
  auto mapping = Mapping::map(fd.get(), layout.size_bytes, Mapping::Access::read_only);
  if (!mapping) return with_context(mapping.error(), "mapping a party's segment");
  Segment segment(std::move(fd), std::move(*mapping), layout);
  if (auto ok =
          check_header(segment.view().header(), SegmentKind::party, party, incarnation, layout);
      !ok)
    return ok.error();
  return segment;
}

Result<Segment> Segment::attach_supervisor(UniqueFd fd) {
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) return system_error("fstat(supervisor segment)", errno);
  if (st.st_size < 4096) return mismatch("size", static_cast<std::uint64_t>(st.st_size), 4096);
  const auto size_bytes = static_cast<std::uint64_t>(st.st_size);
  if (auto ok = verify_memfd(fd.get(), size_bytes, SealKind::one_writer); !ok) return ok.error();
  auto mapping = Mapping::map(fd.get(), size_bytes, Mapping::Access::read_only);
  if (!mapping) return with_context(mapping.error(), "mapping the supervisor's segment");
  const auto* header = reinterpret_cast<const SegmentHeader*>(mapping->data());
  const SegmentLayout layout = supervisor_layout(header->task_capacity, header->cache_entries);
  if (layout.size_bytes != size_bytes) return mismatch("size", size_bytes, layout.size_bytes);
  if (auto ok = check_header(*header, SegmentKind::supervisor, supervisor_party, 1, layout); !ok)
    return ok.error();
  return Segment(std::move(fd), std::move(*mapping), layout);
}

}  // namespace micro_swarm

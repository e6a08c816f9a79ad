#include "ipc/batch_protocol.hpp"

#include <cstring>

namespace micro_swarm {

namespace {

constexpr std::size_t padded(std::size_t bytes) { return (bytes + 7) & ~std::size_t{7}; }

std::size_t size_of(const BatchEntryData& data) {
  return padded(sizeof data + data.dependency_count * sizeof(BatchDependency) +
                data.category_bytes + data.key_bytes + data.inline_bytes);
}

bool is_sound(const BatchEntryData& data, std::uint64_t region_bytes) {
  const bool is_compressed = (data.flags & submit_compressed) != 0;
  return data.priority < priorities && (data.flags & ~(submit_detached | submit_compressed)) == 0 &&
         (!is_compressed || data.payload_bytes != 0) &&
         data.on_dependency_failure <= static_cast<std::uint8_t>(OnDependencyFailure::run) &&
         data.dependency_count <= task_dependencies_max &&
         data.category_bytes <= task_category_bytes_max &&
         data.key_bytes <= idempotency_key_bytes_max &&
         data.inline_bytes <= task_inline_bytes_max &&
         (data.payload_bytes == 0 || data.inline_bytes == 0) &&
         data.payload_offset % batch_payload_alignment == 0 &&
         data.payload_offset <= region_bytes &&
         data.payload_bytes <= region_bytes - data.payload_offset;
}

}  // namespace

std::string_view name_of(SubmitRefusal reason) {
  switch (reason) {
    case SubmitRefusal::none: return "none";
    case SubmitRefusal::malformed: return "malformed";
    case SubmitRefusal::stopping: return "stopping";
    case SubmitRefusal::unknown_capability: return "unknown_capability";
    case SubmitRefusal::queue_full: return "queue_full";
    case SubmitRefusal::client_quota: return "client_quota";
    case SubmitRefusal::category_quota: return "category_quota";
    case SubmitRefusal::too_many_demands: return "too_many_demands";
    case SubmitRefusal::unknown_category: return "unknown_category";
    case SubmitRefusal::unknown_dependency: return "unknown_dependency";
    case SubmitRefusal::dependency_cycle: return "dependency_cycle";
    case SubmitRefusal::result_not_kept: return "result_not_kept";
    case SubmitRefusal::no_state_dir: return "no_state_dir";
    case SubmitRefusal::too_large: return "too_large";
    case SubmitRefusal::key_conflict: return "key_conflict";
    case SubmitRefusal::journal_stuck: return "journal_stuck";
    case SubmitRefusal::category_memory: return "category_memory";
  }
  return "unknown";
}

std::string_view text_of(SubmitRefusal reason) {
  switch (reason) {
    case SubmitRefusal::none: return "for no stated reason";
    case SubmitRefusal::malformed: return "the submission makes no sense";
    case SubmitRefusal::stopping: return "the swarm is stopping";
    case SubmitRefusal::unknown_capability: return "no agent has this capability";
    case SubmitRefusal::queue_full: return "the swarm's queue is full";
    case SubmitRefusal::client_quota:
      return "too many tasks of this client wait (scheduler.client_queued_max)";
    case SubmitRefusal::category_quota:
      return "too many tasks of this category wait (its queued_max)";
    case SubmitRefusal::too_many_demands:
      return "tasks with too many different demands on agents (capability, version, cpu slots) "
             "wait";
    case SubmitRefusal::unknown_category:
      return "the swarm's configuration has no such [[category]]";
    case SubmitRefusal::unknown_dependency:
      return "it depends on a task that does not exist, or ended so long ago that its record was "
             "used again";
    case SubmitRefusal::dependency_cycle: return "tasks of the batch wait for each other in a ring";
    case SubmitRefusal::result_not_kept:
      return "it depends on a task that has ended and whose result was handed over: submit both in "
             "one batch";
    case SubmitRefusal::no_state_dir:
      return "idempotency keys need a swarm that was started with --state-dir";
    case SubmitRefusal::too_large: return "it asks for more than the swarm ever has";
    case SubmitRefusal::key_conflict:
      return "its idempotency key was used for another request: use a new key";
    case SubmitRefusal::category_memory:
      return "the payloads of this category's unfinished tasks take as much of the pool as they "
             "may "
             "(its memory_quota)";
    case SubmitRefusal::journal_stuck:
      return "the journal cannot be written now (`microswarm status` says why)";
  }
  return "unknown";
}

void append_entry(std::vector<std::byte>& bytes, BatchEntry entry) {
  entry.data.dependency_count = static_cast<std::uint8_t>(entry.dependencies.size());
  entry.data.category_bytes = static_cast<std::uint8_t>(entry.category.size());
  entry.data.key_bytes = static_cast<std::uint8_t>(entry.key.size());
  entry.data.inline_bytes = static_cast<std::uint8_t>(entry.inline_payload.size());
  entry.data.entry_bytes = static_cast<std::uint32_t>(size_of(entry.data));
  const std::size_t end = bytes.size() + entry.data.entry_bytes;
  const auto put = [&bytes](const void* from, std::size_t size) {
    const auto* first = static_cast<const std::byte*>(from);
    bytes.insert(bytes.end(), first, first + size);
  };
  put(&entry.data, sizeof entry.data);
  put(entry.dependencies.data(), entry.dependencies.size_bytes());
  put(entry.category.data(), entry.category.size());
  put(entry.key.data(), entry.key.size());
  put(entry.inline_payload.data(), entry.inline_payload.size());
  bytes.resize(end);
}

std::optional<BatchRefused> parse_batch(std::span<const std::uint64_t> words, std::uint32_t count,
                                        std::uint64_t region_bytes,
                                        std::vector<BatchEntry>& entries) {
  const auto bytes = std::as_bytes(words);
  BatchRefused refused;
  BatchHeader header;
  if (bytes.size() < sizeof header) return refused;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.magic != batch_magic || header.version != batch_version || header.count != count ||
      count == 0 || header.bytes < sizeof header || header.bytes > bytes.size())
    return refused;
  entries.clear();
  entries.reserve(count);
  std::size_t at = sizeof header;
  for (std::uint32_t i = 0; i < count; ++i) {
    refused.entry = i;
    BatchEntry entry;
    if (header.bytes - at < sizeof entry.data) return refused;
    std::memcpy(&entry.data, bytes.data() + at, sizeof entry.data);
    if (!is_sound(entry.data, region_bytes) || entry.data.entry_bytes != size_of(entry.data) ||
        entry.data.entry_bytes > header.bytes - at)
      return refused;
    const std::byte* next = bytes.data() + at + sizeof entry.data;
    entry.dependencies = {reinterpret_cast<const BatchDependency*>(next),
                          entry.data.dependency_count};
    for (const BatchDependency& dependency : entry.dependencies)
      if (dependency.kind > BatchDependency::Kind::task) return refused;
    next += entry.dependencies.size_bytes();
    entry.category = {reinterpret_cast<const char*>(next), entry.data.category_bytes};
    next += entry.category.size();
    entry.key = {reinterpret_cast<const char*>(next), entry.data.key_bytes};
    next += entry.key.size();
    entry.inline_payload = {next, entry.data.inline_bytes};
    entries.push_back(entry);
    at += entry.data.entry_bytes;
  }
  if (at != header.bytes) return refused;
  return std::nullopt;
}

}  // namespace micro_swarm

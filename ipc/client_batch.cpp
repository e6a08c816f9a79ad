// Submissions with options and batches: put together in one region, handed in by one message.

#include <algorithm>
#include <cstring>

#include "common/clock.hpp"
#include "common/dependency_cycle.hpp"
#include "ipc/batch_protocol.hpp"
#include "ipc/client_core.hpp"
#include "ipc/transfer.hpp"

namespace micro_swarm {

namespace {

constexpr std::uint32_t batch_entries_max = (1u << 20) - 1;  // as many as there can be records

constexpr std::uint64_t aligned(std::uint64_t bytes) {
  return (bytes + batch_payload_alignment - 1) & ~(batch_payload_alignment - 1);
}

bool is_inline(const TaskRequest& request) {
  return !request.region && request.payload.size() <= task_inline_bytes_max;
}

Error usage(std::string text) { return Error{ErrorCode::usage, std::move(text), 0}; }

}  // namespace

Result<void> ClientCore::check_options(const TaskOptions& options, std::size_t batch_size) {
  if (options.depends_on.size() > task_dependencies_max)
    return usage("a task depends on at most " + std::to_string(task_dependencies_max) +
                 " others, not on " + std::to_string(options.depends_on.size()) +
                 ": join some of them in a task between");
  if (options.category.size() > task_category_bytes_max)
    return usage("a category has at most " + std::to_string(task_category_bytes_max) + " bytes");
  if (options.idempotency_key.size() > idempotency_key_bytes_max)
    return usage("an idempotency key has at most " + std::to_string(idempotency_key_bytes_max) +
                 " bytes");
  if (options.on_dependency_failure > OnDependencyFailure::run)
    return usage("no such policy for failed dependencies");
  for (const TaskDependency& dependency : options.depends_on) {
    const bool known =
        dependency.kind == TaskDependency::Kind::task
            ? dependency.value != 0
            : (dependency.kind == TaskDependency::Kind::submission
                   ? dependency.value != 0 && dependency.value < numbers_.next() + batch_size
                   : dependency.value < batch_size);
    if (!known)
      return usage("a task depends on " + std::to_string(dependency.value) +
                   ", which has not been submitted and is not in its batch");
  }
  return {};
}

/// The supervisor refuses a ring too, but only says one of its members.
Result<void> ClientCore::check_rings(std::span<const TaskRequest> requests) {
  std::vector<std::vector<std::uint32_t>> edges(requests.size());
  bool looks_ahead = false;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (requests[i].options == nullptr) continue;
    for (const TaskDependency& dependency : requests[i].options->depends_on) {
      std::uint64_t index = dependency.value;
      if (dependency.kind == TaskDependency::Kind::task) continue;
      if (dependency.kind == TaskDependency::Kind::submission) {
        if (index < numbers_.next()) continue;
        index -= numbers_.next();
      }
      edges[i].push_back(static_cast<std::uint32_t>(index));
      looks_ahead |= index >= i;
    }
  }
  if (!looks_ahead) return {};
  const auto cycle = find_cycle(edges);
  if (!cycle) return {};
  std::string members;
  for (const std::uint32_t member : *cycle) members += std::to_string(member) + " waits for ";
  return usage("these requests wait for each other, so none could ever run: " + members +
               std::to_string(cycle->front()));
}

Result<std::vector<std::byte>> ClientCore::batch_entries(std::span<const TaskRequest> requests,
                                                         std::span<const BatchPayload> payloads,
                                                         std::optional<std::uint64_t> payloads_at) {
  std::vector<std::byte> bytes(sizeof(BatchHeader));
  std::vector<BatchDependency> dependencies;
  std::uint64_t next_payload = payloads_at.value_or(0);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const TaskRequest& request = requests[i];
    auto capability = check(request);
    if (!capability) return capability.error();
    static const TaskOptions none;
    const TaskOptions& options = request.options != nullptr ? *request.options : none;
    if (auto ok = check_options(options, requests.size()); !ok) return ok.error();
    BatchEntry entry;
    BatchEntryData& data = entry.data;
    data.capability = *capability;
    data.priority = static_cast<std::uint8_t>(request.priority);
    data.flags = payloads[i].flags;
    if (request.is_detached) data.flags |= submit_detached;
    data.timeout_ms = request.timeout_ms;
    data.deadline_ms = options.deadline_ms;
    data.retry_backoff_ms = options.retry_backoff_ms;
    data.resource_bytes = options.resource_bytes;
    data.resource_regions = options.resource_regions;
    data.retries = options.retries;
    data.cpu_slots = options.cpu_slots;
    data.min_version = options.min_version;
    data.on_dependency_failure = static_cast<std::uint8_t>(options.on_dependency_failure);
    dependencies.clear();
    for (const TaskDependency& dependency : options.depends_on) {
      BatchDependency wanted{BatchDependency::Kind::number, dependency.value};
      if (dependency.kind == TaskDependency::Kind::task) wanted.kind = BatchDependency::Kind::task;
      if (dependency.kind == TaskDependency::Kind::batch_entry) wanted.value += numbers_.next();
      dependencies.push_back(wanted);
    }
    entry.dependencies = dependencies;
    entry.category = options.category;
    entry.key = options.idempotency_key;
    if (is_inline(request)) {
      entry.inline_payload = request.payload;
    } else {
      const std::size_t size = payloads[i].bytes.size();
      data.payload_offset = next_payload;
      data.payload_bytes = static_cast<std::uint32_t>(size);
      next_payload = aligned(next_payload + size);
    }
    append_entry(bytes, entry);
  }
  if (bytes.size() > 0xffffffffu)
    return Error{ErrorCode::too_large, "a batch of so many dependencies: submit it in parts", 0};
  BatchHeader header;
  header.count = static_cast<std::uint32_t>(requests.size());
  header.bytes = static_cast<std::uint32_t>(bytes.size());
  std::memcpy(bytes.data(), &header, sizeof header);
  return bytes;
}

Result<BatchSubmitted> ClientCore::submit_batch(std::span<TaskRequest> requests,
                                                std::uint32_t timeout_ms) {
  BatchSubmitted batch;
  batch.first_number = numbers_.next();
  if (requests.empty()) return batch;
  if (requests.size() > batch_entries_max)
    return Error{ErrorCode::too_large, "a batch has at most 2^20 - 1 tasks", 0};
  const std::uint64_t deadline_ns = deadline_after(timeout_ms);
  if (auto pumped = pump(); !pumped) return pumped.error();

  // A region that is there already is handed over as it is, with the entry behind the payload,
  // where its memory has room for both.
  if (requests.size() == 1 && requests.front().region) {
    TaskRequest& request = requests.front();
    auto entries = batch_entries(requests, batch_payloads(requests), std::nullopt);
    if (!entries) return entries.error();
    const std::uint64_t at = aligned(request.region.bytes_.size());
    const auto memory = link_->banks().whole_region(request.region.hold_);
    if (at + entries->size() <= std::min<std::uint64_t>(memory.size(), 0xffffffffu)) {
      if (auto room = wait_for_room(deadline_ns); !room) return room.error();
      std::memcpy(memory.data() + at, entries->data(), entries->size());
      send_batch(request.region, at, at + entries->size(), 1);
      batch.count = 1;
      return batch;
    }
  } else if (std::any_of(requests.begin(), requests.end(),
                         [](const TaskRequest& r) { return bool(r.region); })) {
    return usage("only a batch of one takes a region: its payload would lie in another's memory");
  }

  // Sizes do not depend on where the payloads begin: entries first, then payloads.
  const auto payloads = batch_payloads(requests);
  auto sized = batch_entries(requests, payloads, 0);
  if (!sized) return sized.error();
  if (auto ok = check_rings(requests); !ok) return ok.error();
  const std::uint64_t payloads_at = aligned(sized->size());
  std::uint64_t total = payloads_at;
  for (std::size_t i = 0; i < requests.size(); ++i)
    if (!is_inline(requests[i])) total = aligned(total + payloads[i].bytes.size());
  if (total > 0xffffffffu)
    return Error{ErrorCode::too_large, "a batch has at most 4 GiB of payloads", 0};
  const auto left_ms = [&] {
    if (timeout_ms == Client::forever) return Client::forever;
    const std::uint64_t now = now_ns();
    return now < deadline_ns ? static_cast<std::uint32_t>((deadline_ns - now) / ns_per_ms) : 0;
  };
  auto region = allocate(total, left_ms());
  if (!region) return region.error();
  if (auto room = wait_for_room(deadline_ns); !room) return room.error();
  auto entries = batch_entries(requests, payloads, payloads_at);
  if (!entries) return entries.error();
  std::byte* memory = region->bytes_.data();
  std::memcpy(memory, entries->data(), entries->size());
  std::uint64_t at = payloads_at;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (is_inline(requests[i])) continue;
    const std::span<const std::byte> payload = payloads[i].bytes;
    if (!payload.empty()) std::memcpy(memory + at, payload.data(), payload.size());
    at = aligned(at + payload.size());
  }
  send_batch(*region, 0, total, static_cast<std::uint32_t>(requests.size()));
  for (TaskRequest& request : requests) request.region = Region();
  batch.count = requests.size();
  return batch;
}

void ClientCore::send_batch(Region& region, std::uint64_t header_at, std::uint64_t region_bytes,
                            std::uint32_t count) {
  SlotBody body;
  body.kind = static_cast<std::uint16_t>(MessageKind::submit_batch);
  body.inline_bytes = 8;
  body.region_bytes = static_cast<std::uint32_t>(region_bytes);
  body.inline_data[0] = numbers_.next();
  body.inline_data[1] = count;
  body.inline_data[2] = header_at;
  for (std::uint32_t i = 0; i < count; ++i) numbers_.submitted();
  link_->banks().leaving(region.hold_);
  pass(link_->data_out(), link_->holds()[region.hold_], Lane::data, supervisor_party, body);
  link_->banks().passed(region.hold_);
  region.forget();  // its token is the supervisor's now
  link_->ring_supervisor();
}

}  // namespace micro_swarm

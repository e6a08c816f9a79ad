// The public Client over ipc/client.hpp: words and errors translated, results kept by number.

#include <algorithm>
#include <cerrno>
#include <new>

#include "common/clock.hpp"
#include "ipc/client_library/client_impl.hpp"

namespace micro_swarm::client {

namespace {

/// No exception leaves the library while there is memory for an Error.
template <class F>
auto guarded(F&& function) -> decltype(function()) {
  try {
    return function();
  } catch (const std::bad_alloc&) {
    return Error{ErrorCode::system, "out of memory", ENOMEM};
  } catch (const std::exception& e) {
    return Error{ErrorCode::system, e.what(), 0};
  }
}

template <class Impl, class F>
auto entered(const std::unique_ptr<Impl>& impl, F&& function) -> decltype(function(*impl)) {
  if (impl == nullptr)
    return Error{ErrorCode::usage, "this Client was moved from: it is no client of a swarm", 0};
  return guarded([&] { return function(*impl); });
}

Error no_region() { return {ErrorCode::usage, "the region is empty: it was handed over", 0}; }

bool has_options(const Request& request) {
  return !request.idempotency_key.empty() || !request.depends_on.empty() ||
         request.on_dependency_failure != OnDependencyFailure::fail || !request.category.empty() ||
         request.deadline_ms != 0 || request.retries != 0 || request.retry_backoff_ms != 0 ||
         request.min_version != 0 || request.cpu_slots != 0 || request.resource_regions != 0 ||
         request.resource_bytes != 0;
}

TaskDependency dependency_of(const Dependency& dependency) {
  switch (dependency.kind) {
    case Dependency::Kind::submission: return TaskDependency::submission(dependency.value);
    case Dependency::Kind::batch_entry: return TaskDependency::batch_entry(dependency.value);
    case Dependency::Kind::task: break;
  }
  return TaskDependency::task(dependency.value);
}

TaskOptions options_of(const Request& request) {
  TaskOptions options;
  options.depends_on.reserve(request.depends_on.size());
  for (const Dependency& dependency : request.depends_on)
    options.depends_on.push_back(dependency_of(dependency));
  options.on_dependency_failure =
      static_cast<core::OnDependencyFailure>(request.on_dependency_failure);
  options.category = request.category;
  options.deadline_ms = request.deadline_ms;
  options.retries = request.retries;
  options.retry_backoff_ms = request.retry_backoff_ms;
  options.min_version = request.min_version;
  options.cpu_slots = request.cpu_slots;
  options.resource_regions = request.resource_regions;
  options.resource_bytes = request.resource_bytes;
  options.idempotency_key = request.idempotency_key;
  return options;
}

core::TaskRequest request_of(const Request& request) {
  core::TaskRequest task;
  task.capability = request.capability;
  task.priority = static_cast<core::Priority>(request.priority);
  task.payload = request.payload;
  task.timeout_ms = request.timeout_ms;
  task.is_detached = request.is_detached;
  return task;
}

/// Time that is left of a timeout.
class Patience {
 public:
  explicit Patience(std::uint32_t timeout_ms)
      : timeout_ms_(timeout_ms), end_ns_(now_ns() + timeout_ms * ns_per_ms) {}
  std::uint32_t left_ms() const {
    if (timeout_ms_ == forever) return forever;
    const std::uint64_t now = now_ns();
    return now < end_ns_ ? static_cast<std::uint32_t>((end_ns_ - now) / ns_per_ms) : 0;
  }

 private:
  std::uint32_t timeout_ms_;
  std::uint64_t end_ns_;
};

Result<bool> stored(const core::Result<CacheRefusal>& refusal) {
  if (!refusal) return error_of(refusal.error());
  const auto error = [&](ErrorCode code) { return Error{code, std::string(text_of(*refusal)), 0}; };
  switch (*refusal) {
    case CacheRefusal::none: return true;
    case CacheRefusal::duplicate: return false;
    case CacheRefusal::bad_name:
    case CacheRefusal::bad_size:
    case CacheRefusal::bad_priority:
    case CacheRefusal::malformed: return error(ErrorCode::usage);
    case CacheRefusal::too_large: return error(ErrorCode::too_large);
    case CacheRefusal::table_full:
    case CacheRefusal::no_room:
    case CacheRefusal::busy:
    case CacheRefusal::stopping:
    case CacheRefusal::interrupted: break;
  }
  return error(ErrorCode::refused);
}

core::CacheOptions cache_options_of(const CacheOptions& options) {
  return {options.ttl_ms, static_cast<core::Priority>(options.priority)};
}

template <class T>
Result<void> sent(const core::Result<T>& result) {
  if (!result) return error_of(result.error());
  return {};
}

}  // namespace

// ---- results by number ----

void Client::Impl::keep(core::TaskResult result) {
  const std::uint64_t number = result.number();
  kept.push_back(std::move(result));
  kept_by_number.emplace(number, std::prev(kept.end()));
}

core::TaskResult Client::Impl::take_kept(std::list<core::TaskResult>::iterator at) {
  core::TaskResult result = std::move(*at);
  kept_by_number.erase(result.number());
  kept.erase(at);
  owed.finish(result.number());
  return result;
}

Result<std::optional<core::TaskResult>> Client::Impl::wait(std::uint64_t number,
                                                           std::uint32_t timeout_ms) {
  if (!owed.is_open(number))
    return Error{ErrorCode::not_found,
                 "there is no submission " + std::to_string(number) +
                     " to wait for: never handed in, detached, or its result was returned before",
                 0};
  if (const auto found = kept_by_number.find(number); found != kept_by_number.end())
    return std::optional(take_kept(found->second));
  const Patience patience(timeout_ms);
  for (;;) {
    auto result = client.next_result(patience.left_ms());
    if (!result) return error_of(result.error());
    if (!*result) return std::optional<core::TaskResult>();
    if ((*result)->number() != number) {
      keep(std::move(**result));
      continue;
    }
    owed.finish(number);
    return std::optional(std::move(**result));
  }
}

// ---- submitting ----

namespace {

/// Takes the requests' regions along for a call, and gives back what the call left.
class Regions {
 public:
  Regions(std::span<Request> requests, std::span<core::TaskRequest> tasks,
          core::Region& (*region_of)(Region&)) noexcept
      : requests_(requests), tasks_(tasks), region_of_(region_of) {
    for (std::size_t i = 0; i < requests_.size(); ++i)
      if (requests_[i].region) tasks_[i].region = std::move(region_of_(requests_[i].region));
  }
  ~Regions() {
    for (std::size_t i = 0; i < requests_.size(); ++i) {
      if (!requests_[i].region) continue;
      if (tasks_[i].region)
        region_of_(requests_[i].region) = std::move(tasks_[i].region);
      else
        requests_[i].region.release();
    }
  }
  Regions(const Regions&) = delete;
  Regions& operator=(const Regions&) = delete;

 private:
  std::span<Request> requests_;
  std::span<core::TaskRequest> tasks_;
  core::Region& (*region_of_)(Region&);
};

}  // namespace

void Client::Impl::submitted(const Request& request) {
  const std::uint64_t number = owed.next();
  owed.submitted();
  if (request.is_detached) owed.finish(number);
}

Result<std::uint64_t> Client::Impl::submit(Request& request, std::uint32_t timeout_ms) {
  core::TaskRequest task = request_of(request);
  TaskOptions options;
  if (has_options(request)) {
    options = options_of(request);
    task.options = &options;
  }
  const Regions regions({&request, 1}, {&task, 1}, memory_of);
  const auto number = client.submit(std::move(task), timeout_ms);
  if (!number) return error_of(number.error());
  submitted(request);
  return *number;
}

Result<Batch> Client::Impl::submit_batch(std::span<Request> requests, std::uint32_t timeout_ms) {
  if (requests.empty()) return Error{ErrorCode::usage, "a batch of no requests", 0};
  std::vector<core::TaskRequest> tasks;
  std::vector<TaskOptions> options;
  tasks.reserve(requests.size());
  options.reserve(requests.size());  // they are pointed to
  for (const Request& request : requests) {
    core::TaskRequest& task = tasks.emplace_back(request_of(request));
    if (has_options(request)) task.options = &options.emplace_back(options_of(request));
  }
  const Regions regions(requests, tasks, memory_of);
  const auto batch = client.submit_batch(tasks, timeout_ms);
  if (!batch) return error_of(batch.error());
  for (const Request& request : requests) submitted(request);
  return Batch{batch->first_number, batch->count};
}

// ---- Client ----

Client::Client(Client&& other) noexcept = default;
Client& Client::operator=(Client&& other) noexcept = default;
Client::~Client() = default;
Client::Client(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

Result<Client> Client::connect(std::string_view swarm, std::uint32_t timeout_ms) {
  return guarded([&]() -> Result<Client> {
    auto client = core::Client::connect(swarm, timeout_ms);
    if (!client) return error_of(client.error());
    return Client(std::make_unique<Impl>(std::move(*client)));
  });
}

Result<std::uint64_t> Client::submit(Request&& request, std::uint32_t timeout_ms) {
  return entered(
      impl_, [&](Impl& impl) -> Result<std::uint64_t> { return impl.submit(request, timeout_ms); });
}

Result<Batch> Client::submit_batch(std::span<Request> requests, std::uint32_t timeout_ms) {
  return entered(impl_, [&](Impl& impl) { return impl.submit_batch(requests, timeout_ms); });
}

Result<std::optional<TaskResult>> Client::next_result(std::uint32_t timeout_ms) {
  return entered(impl_, [&](Impl& impl) -> Result<std::optional<TaskResult>> {
    auto handle = std::make_unique<TaskResult::Impl>();
    if (!impl.kept.empty()) {
      handle->result = impl.take_kept(impl.kept.begin());
      return std::optional(TaskResult(std::move(handle)));
    }
    auto result = impl.client.next_result(timeout_ms);
    if (!result) return error_of(result.error());
    if (!*result) return std::optional<TaskResult>();
    impl.owed.finish((*result)->number());
    handle->result = std::move(**result);
    return std::optional(TaskResult(std::move(handle)));
  });
}

Result<TaskResult> Client::wait(std::uint64_t number, std::uint32_t timeout_ms) {
  return entered(impl_, [&](Impl& impl) -> Result<TaskResult> {
    auto handle = std::make_unique<TaskResult::Impl>();
    auto result = impl.wait(number, timeout_ms);
    if (!result) return result.error();
    if (!*result)
      return Error{ErrorCode::timed_out,
                   "submission " + std::to_string(number) + " has not ended within " +
                       std::to_string(timeout_ms) + " ms: wait for it again",
                   0};
    handle->result = std::move(**result);
    return TaskResult(std::move(handle));
  });
}

Result<TaskResult> Client::run(Request&& request, std::uint32_t timeout_ms) {
  const Patience patience(timeout_ms);
  auto number = submit(std::move(request), timeout_ms);
  if (!number) return number.error();
  return wait(*number, patience.left_ms());
}

std::size_t Client::in_flight() const noexcept {
  return impl_ ? impl_->client.in_flight() + impl_->kept.size() : 0;
}

Result<std::vector<std::string>> Client::capabilities() const {
  return entered(impl_, [](const Impl& impl) -> Result<std::vector<std::string>> {
    return impl.client.capabilities();
  });
}

Result<bool> Client::cache_put(std::string_view name, std::span<const std::byte> bytes,
                               const CacheOptions& options, std::uint32_t timeout_ms) {
  return entered(impl_, [&](Impl& impl) {
    return stored(impl.client.cache_put(name, bytes, cache_options_of(options), timeout_ms));
  });
}

Result<bool> Client::cache_put(std::string_view name, Region&& region, const CacheOptions& options,
                               std::uint32_t timeout_ms) {
  return entered(impl_, [&](Impl& impl) -> Result<bool> {
    if (!region) return no_region();
    auto answer = impl.client.cache_put(name, std::move(region.impl_->region),
                                        cache_options_of(options), timeout_ms);
    if (answer || !region.impl_->region) region.release();  // it may be gone after an error, too
    return stored(answer);
  });
}

Result<std::optional<CachedEntry>> Client::cache_get(std::string_view name,
                                                     std::uint32_t timeout_ms) {
  return entered(impl_, [&](Impl& impl) -> Result<std::optional<CachedEntry>> {
    auto handle = std::make_unique<CachedEntry::Impl>();
    auto entry = impl.client.cache_get(name, timeout_ms);
    if (!entry) return error_of(entry.error());
    if (!*entry) return std::optional<CachedEntry>();
    handle->entry = std::move(**entry);
    return std::optional(CachedEntry(std::move(handle)));
  });
}

Result<bool> Client::cache_erase(std::string_view name, std::uint32_t timeout_ms) {
  return entered(impl_, [&](Impl& impl) -> Result<bool> {
    auto erased = impl.client.cache_erase(name, timeout_ms);
    if (!erased) return error_of(erased.error());
    return *erased;
  });
}

Result<Region> Client::allocate(std::size_t size_bytes, std::uint32_t timeout_ms) {
  return entered(impl_, [&](Impl& impl) -> Result<Region> {
    auto handle = std::make_unique<Region::Impl>();
    auto region = impl.client.allocate(size_bytes, timeout_ms);
    if (!region) return error_of(region.error());
    handle->region = std::move(*region);
    return Region(std::move(handle));
  });
}

Result<void> Client::send(Region&& region, PartyId party, std::uint64_t tag,
                          std::uint32_t timeout_ms) {
  return entered(impl_, [&](Impl& impl) -> Result<void> {
    if (!region) return no_region();
    const auto done = impl.client.transfer(std::move(region.impl_->region), party, tag, timeout_ms);
    if (done) region.release();
    return sent(done);
  });
}

Result<void> Client::send(ReceivedRegion&& region, PartyId party, std::uint64_t tag,
                          std::uint32_t timeout_ms) {
  return entered(impl_, [&](Impl& impl) -> Result<void> {
    if (!region) return no_region();
    const auto done = impl.client.transfer(std::move(region.impl_->region), party, tag, timeout_ms);
    if (done) region.release();
    return sent(done);
  });
}

Result<void> Client::share(Region& region, std::span<const PartyId> parties, std::uint64_t tag,
                           std::uint32_t timeout_ms) {
  return entered(impl_, [&](Impl& impl) -> Result<void> {
    if (!region) return no_region();
    return sent(impl.client.share(region.impl_->region, parties, tag, timeout_ms));
  });
}

Result<std::uint32_t> Client::publish(std::string_view topic, Region&& region, std::uint64_t tag,
                                      std::uint32_t timeout_ms) {
  return entered(impl_, [&](Impl& impl) -> Result<std::uint32_t> {
    if (!region) return no_region();
    const auto subscribers =
        impl.client.publish(topic, std::move(region.impl_->region), tag, timeout_ms);
    if (!subscribers) return error_of(subscribers.error());
    region.release();
    return *subscribers;
  });
}

Result<void> Client::subscribe(std::string_view topic, std::uint32_t timeout_ms) {
  return entered(impl_, [&](Impl& impl) -> Result<void> {
    return sent(impl.client.subscribe(topic, timeout_ms));
  });
}

Result<void> Client::unsubscribe(std::string_view topic, std::uint32_t timeout_ms) {
  return entered(impl_, [&](Impl& impl) -> Result<void> {
    return sent(impl.client.unsubscribe(topic, timeout_ms));
  });
}

Result<std::optional<ReceivedRegion>> Client::receive(std::uint32_t timeout_ms) {
  return entered(impl_, [&](Impl& impl) -> Result<std::optional<ReceivedRegion>> {
    auto handle = std::make_unique<ReceivedRegion::Impl>();
    auto region = impl.client.receive(timeout_ms);
    if (!region) return error_of(region.error());
    if (!*region) return std::optional<ReceivedRegion>();
    handle->region = std::move(**region);
    handle->topic = handle->region.topic();
    return std::optional(ReceivedRegion(std::move(handle)));
  });
}

PartyId Client::party() const noexcept { return impl_ ? impl_->client.party() : 0xffff; }

}  // namespace micro_swarm::client

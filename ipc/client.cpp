#include "ipc/client.hpp"

#include <nlohmann/json.hpp>

#include "common/clock.hpp"
#include "ipc/client_core.hpp"
#include "ipc/control_client.hpp"

namespace micro_swarm {

namespace {

Result<Endpoint> endpoint_of(std::string_view swarm) {
  const std::size_t slash = swarm.rfind('/');
  if (slash == swarm.npos) return find_endpoint(swarm);
  constexpr std::string_view suffix = ".sock";
  std::string_view name = swarm.substr(slash + 1);
  if (!name.ends_with(suffix))
    return Error{ErrorCode::usage,
                 "'" + std::string(swarm) + "' is neither a swarm's name nor a NAME.sock path", 0};
  name.remove_suffix(suffix.size());
  return Endpoint{std::string(name), std::string(swarm.substr(0, slash))};
}

}  // namespace

void TaskResult::release() noexcept {
  if (core_ != nullptr) core_->release(hold_);
  core_.reset();
  region_ = {};
  inline_bytes_ = 0;
}

void TaskResult::swap(TaskResult& other) noexcept {
  std::swap(number_, other.number_);
  std::swap(task_id_, other.task_id_);
  std::swap(state_, other.state_);
  std::swap(attempts_, other.attempts_);
  std::swap(inline_bytes_, other.inline_bytes_);
  std::swap(refusal_, other.refusal_);
  std::swap(refusal_reason_, other.refusal_reason_);
  std::swap(refused_number_, other.refused_number_);
  std::swap(retry_after_ms_, other.retry_after_ms_);
  std::swap(hold_, other.hold_);
  std::swap(region_, other.region_);
  std::swap(inline_, other.inline_);
  core_.swap(other.core_);
}

Result<Client> Client::connect(std::string_view swarm, std::uint32_t timeout_ms) {
  const std::uint64_t start_ns = now_ns();
  auto endpoint = endpoint_of(swarm);
  if (!endpoint) return endpoint.error();
  auto control = ControlClient::connect(*endpoint);
  if (!control) return control.error();
  ControlRequestOptions options;
  options.timeout_ms = timeout_ms;
  auto reply = control->request({{"verb", "attach"}}, options);
  if (!reply) return with_context(reply.error(), "joining the swarm");
  if (reply->fds.size() != 1)
    return Error{ErrorCode::protocol, "the swarm's answer to `attach` brought no socket", 0};
  const std::uint64_t spent_ms = (now_ns() - start_ns) / ns_per_ms;
  return attach(std::move(reply->fds.front()),
                spent_ms < timeout_ms ? timeout_ms - static_cast<std::uint32_t>(spent_ms) : 1);
}

Result<Client> Client::attach(UniqueFd party_socket, std::uint32_t timeout_ms) {
  auto core = ClientCore::attach(std::move(party_socket), timeout_ms);
  if (!core) return core.error();
  return Client(std::move(*core));
}

Client::~Client() {
  if (core_ != nullptr) core_->close();
}

Client& Client::operator=(Client&& other) noexcept {
  if (core_ != nullptr && core_ != other.core_) core_->close();
  core_ = std::move(other.core_);
  return *this;
}

Result<Region> Client::allocate(std::size_t size_bytes, std::uint32_t timeout_ms) {
  return core_->allocate(size_bytes, timeout_ms);
}
Result<Region> Client::write(std::span<const std::byte> bytes, std::uint32_t timeout_ms) {
  return core_->write(bytes, timeout_ms);
}
Result<void> Client::transfer(Region&& region, PartyId target, std::uint64_t tag,
                              std::uint32_t timeout_ms) {
  return core_->transfer(region, target, tag, timeout_ms);
}
Result<void> Client::transfer(ReceivedRegion&& region, PartyId target, std::uint64_t tag,
                              std::uint32_t timeout_ms) {
  return core_->transfer(region, target, tag, timeout_ms);
}
Result<std::uint32_t> Client::publish(std::string_view topic, Region&& region, std::uint64_t tag,
                                      std::uint32_t timeout_ms) {
  return core_->publish(topic, region, tag, timeout_ms);
}
Result<void> Client::subscribe(std::string_view topic, std::uint32_t timeout_ms) {
  return core_->set_subscription(topic, true, timeout_ms);
}
Result<void> Client::unsubscribe(std::string_view topic, std::uint32_t timeout_ms) {
  return core_->set_subscription(topic, false, timeout_ms);
}
Result<void> Client::share(Region& region, std::span<const PartyId> targets, std::uint64_t tag,
                           std::uint32_t timeout_ms) {
  return core_->share(region, targets, tag, timeout_ms);
}
Result<std::optional<ReceivedRegion>> Client::receive(std::uint32_t timeout_ms) {
  return core_->receive(timeout_ms);
}
PartyMemoryStats Client::memory_stats() const noexcept { return core_->memory().stats(); }
Result<std::uint64_t> Client::submit(TaskRequest&& request, std::uint32_t timeout_ms) {
  return core_->submit(request, timeout_ms);
}
Result<BatchSubmitted> Client::submit_batch(std::span<TaskRequest> requests,
                                            std::uint32_t timeout_ms) {
  return core_->submit_batch(requests, timeout_ms);
}
Result<BatchSubmitted> Client::try_submit_batch(std::span<TaskRequest> requests) {
  return core_->try_submit_batch(requests);
}
Result<std::optional<TaskResult>> Client::next_result(std::uint32_t timeout_ms) {
  return core_->next_result(timeout_ms);
}
Result<CacheRefusal> Client::cache_put(std::string_view name, std::span<const std::byte> bytes,
                                       const CacheOptions& options, std::uint32_t timeout_ms) {
  return core_->cache_put(name, bytes, options, timeout_ms);
}
Result<CacheRefusal> Client::cache_put(std::string_view name, Region&& region,
                                       const CacheOptions& options, std::uint32_t timeout_ms) {
  return core_->cache_put(name, region, options, timeout_ms);
}
Result<std::optional<CachedEntry>> Client::cache_get(std::string_view name,
                                                     std::uint32_t timeout_ms) {
  return core_->cache_get(name, timeout_ms);
}
Result<bool> Client::cache_erase(std::string_view name, std::uint32_t timeout_ms) {
  return core_->cache_erase(name, timeout_ms);
}
std::size_t Client::in_flight() const noexcept { return core_->in_flight(); }
std::uint64_t Client::doubled_results() const noexcept { return core_->doubled(); }
std::vector<std::string> Client::capabilities() const { return core_->capabilities(); }
std::uint64_t Client::supervisor_epoch() const noexcept {
  return load(core_->link().tables().epoch);
}
PartyId Client::party() const noexcept { return core_->link().party(); }
Incarnation Client::incarnation() const noexcept { return core_->link().incarnation(); }

}  // namespace micro_swarm

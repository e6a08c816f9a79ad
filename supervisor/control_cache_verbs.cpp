// The verbs about the cache: what is in it, how it does, and how it decides.

#include "ipc/task_names.hpp"
#include "supervisor/control_verbs.hpp"

namespace micro_swarm {

using nlohmann::json;

namespace {

std::string_view name_of(const CacheEntryInfo& entry) {
  if (entry.is_restoring) return "restoring";
  switch (entry.state) {
    case CacheRowState::filling: return "filling";
    case CacheRowState::plain: return "plain";
    case CacheRowState::compressed: return "compressed";
    case CacheRowState::spilled: return "spilled";
    case CacheRowState::free: break;
  }
  return "unknown";
}

/// As text: names are any bytes, and JSON is UTF-8.
std::string printable(std::string_view name) {
  std::string text;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    text += byte >= 0x20 && byte < 0x7f ? c : '?';
  }
  return text;
}

json to_json(const caching::Counters& counters) {
  return {{"hits", counters.hits},
          {"misses", counters.misses},
          {"insertions", counters.insertions},
          {"refusals", counters.refusals},
          {"evictions", counters.evictions},
          {"expirations", counters.expirations},
          {"erasures", counters.erasures},
          {"losses", counters.losses},
          {"compressed", counters.compressed},
          {"incompressible", counters.incompressible},
          {"spilled", counters.spilled},
          {"restored", counters.restored},
          {"bytes_inserted", counters.bytes_inserted},
          {"bytes_evicted", counters.bytes_evicted},
          {"bytes_saved", counters.bytes_saved},
          {"bytes_spilled", counters.bytes_spilled},
          {"bytes_restored", counters.bytes_restored}};
}

template <class Value>
bool find_word(const std::string& word, std::initializer_list<Value> values, Value& value) {
  for (const Value candidate : values)
    if (caching::name_of(candidate) == word) {
      value = candidate;
      return true;
    }
  return false;
}

}  // namespace

void ControlVerbs::cache_list(const Reply& reply) const {
  const std::uint64_t now = now_ns();
  json entries = json::array();
  for (const CacheEntryInfo& entry : parts_.cache.list()) {
    json one = {{"name", printable(entry.name)},
                {"state", name_of(entry)},
                {"bytes", entry.bytes},
                {"stored_bytes", entry.stored_bytes},
                {"readers", entry.readers},
                {"uses", entry.uses},
                {"age_ms", elapsed_ns(now, entry.stored_ns) / ns_per_ms},
                {"idle_ms", elapsed_ns(now, entry.last_use_ns) / ns_per_ms},
                {"priority", micro_swarm::name_of(entry.priority)}};
    if (entry.expires_ns != 0)
      one["expires_in_ms"] = entry.expires_ns > now ? (entry.expires_ns - now) / ns_per_ms : 0;
    entries.push_back(std::move(one));
  }
  reply->finish({{"entries", std::move(entries)}});
}

/// Counters are of this supervisor's time; each policy's of the time it was in force.
void ControlVerbs::cache_show(const Reply& reply) const {
  const caching::Cache& cache = parts_.cache.cache();
  const caching::Settings& settings = cache.settings();
  json policies = json::object();
  for (const caching::Policy policy :
       {caching::Policy::lru, caching::Policy::lfu, caching::Policy::fifo, caching::Policy::ttl})
    policies[std::string(caching::name_of(policy))] = to_json(cache.counters(policy));
  const CompressionCounters packed = parts_.cache.compression();
  reply->finish({{"policy", caching::name_of(settings.policy)},
                 {"on_eviction", caching::name_of(settings.on_eviction)},
                 {"capacity_bytes", settings.capacity_bytes},
                 {"used_bytes", cache.used_bytes()},
                 {"spilled_bytes", cache.spilled_bytes()},
                 {"spill_max_bytes", settings.spill_bytes_max},
                 {"entries", cache.size()},
                 {"entries_max", settings.entries_max},
                 {"damaged", parts_.cache.damaged()},
                 {"policies", std::move(policies)},
                 {"compression",
                  {{"codec", micro_swarm::name_of(parts_.c.config.cache.compression)},
                   {"compressed", packed.compressed},
                   {"incompressible", packed.incompressible},
                   {"decompressed", packed.decompressed},
                   {"damaged", packed.damaged},
                   {"ratio", packed.ratio()},
                   {"compress_us", packed.compress_ns / 1000},
                   {"decompress_us", packed.decompress_ns / 1000}}}});
}

void ControlVerbs::cache_set(const json& request, const Reply& reply) {
  const auto refuse = [&](std::string text) {
    reply->fail(Error{ErrorCode::usage, std::move(text), 0});
  };
  CacheChoice choice = parts_.cache.choice();
  const CacheChoice before = choice;
  const std::string policy(caching::name_of(choice.policy));
  const std::string what(caching::name_of(choice.on_eviction));
  if (!find_word(
          request.value("policy", policy),
          {caching::Policy::lru, caching::Policy::lfu, caching::Policy::fifo, caching::Policy::ttl},
          choice.policy))
    return refuse("policy: known are lru, lfu, fifo, ttl");
  if (!find_word(
          request.value("on_eviction", what),
          {caching::OnEviction::drop, caching::OnEviction::compress, caching::OnEviction::spill},
          choice.on_eviction))
    return refuse("on_eviction: known are drop, compress, spill");
  if (request.contains("capacity_bytes") && !request["capacity_bytes"].is_number_unsigned())
    return refuse("capacity_bytes: expected a number of bytes");
  choice.capacity_bytes = request.value("capacity_bytes", choice.capacity_bytes);
  if (auto chosen = parts_.cache.choose(choice); !chosen) {
    reply->fail(chosen.error());
    return;
  }
  parts_.c.events.add("cache_changed", {{"policy", caching::name_of(choice.policy)},
                                        {"policy_before", caching::name_of(before.policy)},
                                        {"on_eviction", caching::name_of(choice.on_eviction)},
                                        {"capacity_bytes", choice.capacity_bytes}});
  reply->finish({{"policy", caching::name_of(choice.policy)},
                 {"on_eviction", caching::name_of(choice.on_eviction)},
                 {"capacity_bytes", choice.capacity_bytes}});
}

}  // namespace micro_swarm

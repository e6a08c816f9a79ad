#include <fcntl.h>
#include <unistd.h>

#include <memory>
#include <optional>

#include "common/size_text.hpp"
#include "ipc/client.hpp"
#include "ipc/task_names.hpp"
#include "supervisor/cli/cli.hpp"

namespace micro_swarm::cli {

using nlohmann::json;

namespace {

constexpr std::size_t block_bytes = std::size_t{1} << 20;

struct CacheFlags {
  std::string name;
  std::string file;
  std::string output;
  std::uint32_t ttl_ms = 0;
  std::string priority = "normal";
  std::string policy;
  std::string on_eviction;
  std::string capacity;
};
using Flags = std::shared_ptr<CacheFlags>;

Result<std::vector<std::byte>> read_whole(const std::string& file) {
  UniqueFd opened;
  if (file != "-") {
    opened = UniqueFd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
    if (!opened) return system_error("opening " + file, errno);
  }
  const int fd = file == "-" ? STDIN_FILENO : opened.get();
  std::vector<std::byte> bytes;
  for (;;) {
    const std::size_t at = bytes.size();
    bytes.resize(at + block_bytes);
    const auto got =
        posix_call("reading " + file, [&] { return ::read(fd, bytes.data() + at, block_bytes); });
    if (!got) return got.error();
    bytes.resize(at + static_cast<std::size_t>(*got));
    if (*got == 0) return bytes;
  }
}

Result<int> answered(const Cli& shared, json object) {
  if (shared.format == OutputFormat::json)
    if (auto printed = print_json(std::move(object)); !printed) return printed.error();
  return to_int(ExitCode::ok);
}

Error not_there(const std::string& name) {
  return Error{ErrorCode::not_found, "the cache has no entry \"" + name + "\"", 0};
}

Result<int> put(const Cli& shared, const CacheFlags& flags) {
  CacheOptions options;
  options.ttl_ms = flags.ttl_ms;
  for (unsigned p = 0; p < priorities; ++p)
    if (name_of(static_cast<Priority>(p)) == flags.priority)
      options.priority = static_cast<Priority>(p);
  const auto bytes = read_whole(flags.file);
  if (!bytes) return bytes.error();
  auto client = Client::connect(shared.name);
  if (!client) return client.error();
  const auto stored = client->cache_put(flags.name, *bytes, options);
  if (!stored) return stored.error();
  if (*stored != CacheRefusal::none)
    return Error{ErrorCode::refused,
                 std::string(name_of(*stored)) + ": " + std::string(text_of(*stored)), 0};
  return answered(shared, {{"name", flags.name}, {"bytes", bytes->size()}});
}

Result<int> get(const Cli& shared, const CacheFlags& flags) {
  auto client = Client::connect(shared.name);
  if (!client) return client.error();
  const auto entry = client->cache_get(flags.name);
  if (!entry) return entry.error();
  if (!*entry) return not_there(flags.name);
  if (flags.output.empty()) {
    if (auto printed = print((*entry)->bytes()); !printed) return printed.error();
    return to_int(ExitCode::ok);
  }
  const UniqueFd file(::open(flags.output.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!file) return system_error("opening " + flags.output, errno);
  if (auto wrote = write_all(file.get(), (*entry)->bytes(), flags.output); !wrote)
    return wrote.error();
  return answered(shared, {{"name", flags.name}, {"bytes", (*entry)->bytes().size()}});
}

Result<int> erase(const Cli& shared, const CacheFlags& flags) {
  auto client = Client::connect(shared.name);
  if (!client) return client.error();
  const auto erased = client->cache_erase(flags.name);
  if (!erased) return erased.error();
  if (!*erased) return not_there(flags.name);
  return answered(shared, {{"name", flags.name}});
}

Result<int> set(const Cli& shared, const CacheFlags& flags) {
  json request{{"verb", "cache.set"}};
  if (!flags.policy.empty()) request["policy"] = flags.policy;
  if (!flags.on_eviction.empty()) request["on_eviction"] = flags.on_eviction;
  if (!flags.capacity.empty()) {
    const auto bytes = parse_size(flags.capacity);
    if (!bytes)
      return Error{ErrorCode::usage,
                   "--capacity: \"" + flags.capacity + "\" is not a size such as 8MiB", 0};
    request["capacity_bytes"] = *bytes;
  }
  return ask_and_print(shared, request, {"policy", "on_eviction", "capacity_bytes"});
}

using Action = Result<int> (*)(const Cli&, const CacheFlags&);

CLI::App* add_verb(CLI::App& cache, Cli& shared, const Flags& flags, const char* name,
                   const char* what, Action action, bool has_name) {
  auto* verb = cache.add_subcommand(name, what);
  if (has_name) verb->add_option("name", flags->name, "1 to 64 bytes")->required();
  add_swarm_options(*verb, shared);
  verb->callback([&shared, flags, action] {
    shared.command = [&shared, flags, action] { return action(shared, *flags); };
  });
  return verb;
}

}  // namespace

void add_cache(CLI::App& app, Cli& shared) {
  auto* cache = app.add_subcommand("cache", "Named entries that stay while there is room")
                    ->require_subcommand(1);
  const auto flags = std::make_shared<CacheFlags>();
  add_verb(
      *cache, shared, flags, "list", "The entries: how large, where, who reads them",
      [](const Cli& to, const CacheFlags&) {
        return ask_and_print(to, {{"verb", "cache.list"}},
                             {"name", "state", "bytes", "stored_bytes", "readers", "uses"});
      },
      false);
  add_verb(
      *cache, shared, flags, "show", "How it is set, how full it is, and what each policy has done",
      [](const Cli& to, const CacheFlags&) {
        return ask_and_print(to, {{"verb", "cache.show"}},
                             {"policy", "on_eviction", "capacity_bytes", "used_bytes"});
      },
      false);
  auto* stored = add_verb(*cache, shared, flags, "put", "Put a file into it", put, true);
  stored->add_option("file", flags->file, "The bytes; - is standard input")->required();
  stored->add_option("--ttl-ms", flags->ttl_ms, "Gone after so long; 0: when there is no room")
      ->check(whole_number());
  stored->add_option("--priority", flags->priority, "critical, high, normal or low: low goes first")
      ->check(CLI::IsMember({"critical", "high", "normal", "low"}));
  auto* read = add_verb(*cache, shared, flags, "get", "An entry's bytes", get, true);
  read->add_option("-o,--output", flags->output, "To this file; else to standard output");
  add_verb(*cache, shared, flags, "erase", "An entry goes, with the last who reads it", erase,
           true);
  auto* chosen =
      add_verb(*cache, shared, flags, "set", "Change how it decides, from now on", set, false);
  chosen->add_option("--policy", flags->policy, "lru, lfu, fifo or ttl")
      ->check(CLI::IsMember({"lru", "lfu", "fifo", "ttl"}));
  chosen->add_option("--on-eviction", flags->on_eviction, "drop, compress or spill")
      ->check(CLI::IsMember({"drop", "compress", "spill"}));
  chosen->add_option("--capacity", flags->capacity, "Bytes of the pool, such as 8MiB");
}

}  // namespace micro_swarm::cli

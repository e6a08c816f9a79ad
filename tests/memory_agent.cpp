// An agent that hands regions about as it is told: `make`, `forward`, `collect`, `drain`, `hoard`,
// `remember`, `forget`.

#include <charconv>
#include <cstring>
#include <deque>
#include <vector>

#include "agentproc/agent_runtime.hpp"
#include "tests/memory_agent.hpp"

namespace micro_swarm {
namespace {

std::deque<std::uint64_t> numbers_in(std::string_view text) {
  std::deque<std::uint64_t> numbers;
  for (const char *at = text.data(), *end = at + text.size(); at < end;) {
    std::uint64_t number = 0;
    const auto [next, error] = std::from_chars(at, end, number);
    if (error != std::errc()) break;
    numbers.push_back(number);
    at = next + 1;
  }
  return numbers;
}

class MemoryWork {
 public:
  /// "target tag size [count]": fills regions and hands them over. Answers how many.
  Outcome make(TaskContext& task) {
    const auto asked = numbers_in(task.payload_text());
    if (asked.size() < 3) return task.fail("make: target tag size [count]");
    const std::uint64_t count = asked.size() > 3 ? asked[3] : 1;
    for (std::uint64_t i = 0; i < count; ++i) {
      auto region = task.memory().allocate(asked[2]);
      if (!region) return task.fail(region.error());
      fill_pattern(region->bytes(), asked[1] + i);
      auto sent =
          task.memory().transfer(std::move(*region), static_cast<PartyId>(asked[0]), asked[1] + i);
      if (!sent) return task.fail(sent.error());
    }
    return answer(task, std::to_string(count));
  }

  /// "target [count]": hands on what it is handed, under the same tags.
  Outcome forward(TaskContext& task) {
    const auto asked = numbers_in(task.payload_text());
    if (asked.empty()) return task.fail("forward: target [count]");
    const std::uint64_t count = asked.size() > 1 ? asked[1] : 1;
    for (std::uint64_t i = 0; i < count; ++i) {
      auto region = next(task);
      if (!region) return task.fail("nothing came");
      const std::uint64_t tag = region->tag();
      auto sent = task.memory().transfer(std::move(*region), static_cast<PartyId>(asked[0]), tag);
      if (!sent) return task.fail(sent.error());
    }
    return answer(task, std::to_string(count));
  }

  /// "count": reads what it is handed, checks it, gives it back. Answers the tags.
  Outcome collect(TaskContext& task) {
    const auto asked = numbers_in(task.payload_text());
    std::string tags;
    for (std::uint64_t i = 0; i < (asked.empty() ? 1 : asked[0]); ++i) {
      auto region = next(task);
      if (!region) return task.fail("nothing came; so far: " + tags);
      auto bytes = region->view();
      if (!bytes) return task.fail(bytes.error());
      if (region->refusal() == TransferRefusal::none && !has_pattern(*bytes, region->tag()))
        return task.fail("region " + std::to_string(region->tag()) + " has other bytes");
      tags += (tags.empty() ? "" : " ") + std::to_string(region->tag());
      if (region->refusal() != TransferRefusal::none)
        tags += "/" + std::string(name_of(region->refusal()));
    }
    return answer(task, tags);
  }

  /// "[target]": checks all that lies here now, and gives it back or hands it on. Answers how many.
  Outcome drain(TaskContext& task) {
    const auto asked = numbers_in(task.payload_text());
    std::uint64_t count = 0;
    for (; auto region = task.memory().receive(0); ++count) {
      const std::uint64_t tag = region->tag();
      auto bytes = region->view();
      if (!bytes) return task.fail(bytes.error());
      if (!has_pattern(*bytes, tag))
        return task.fail("region " + std::to_string(tag) + " has other bytes");
      if (asked.empty()) continue;
      auto sent = task.memory().transfer(std::move(*region), static_cast<PartyId>(asked[0]), tag);
      // Its death, and to itself, is no mistake of this test's.
      if (!sent && sent.error().code != ErrorCode::usage) return task.fail(sent.error());
    }
    return answer(task, std::to_string(count));
  }

  /// "name size": puts an entry into the cache, unless it is there; reads it, checks it.
  Outcome remember(TaskContext& task) {
    const auto asked = numbers_in(task.payload_text());
    if (asked.size() < 2) return task.fail("remember: name size");
    const std::string name = "entry " + std::to_string(asked[0]);
    auto found = task.memory().cache_get(name);
    if (!found) return task.fail(found.error());
    const bool is_new = !found->has_value();
    if (is_new) {
      std::vector<std::byte> bytes(asked[1]);
      fill_pattern(bytes, asked[0]);
      auto put = task.memory().cache_put(name, bytes);
      if (!put) return task.fail(put.error());
      if (*put != CacheRefusal::none) return task.fail(text_of(*put));
      found = task.memory().cache_get(name);
      if (!found) return task.fail(found.error());
      if (!*found) return task.fail("it is not there");
    }
    if ((*found)->bytes().size() != asked[1] || !has_pattern((*found)->bytes(), asked[0]))
      return task.fail("it has other bytes");
    return answer(task, is_new ? "put" : "found");
  }
  /// "name": answers whether it was there.
  Outcome forget(TaskContext& task) {
    auto gone = task.memory().cache_erase("entry " + std::string(task.payload_text()));
    if (!gone) return task.fail(gone.error());
    return answer(task, *gone ? "erased" : "nothing");
  }

  /// "count": keeps what it is handed, as long as it lives.
  Outcome hoard(TaskContext& task) {
    const auto asked = numbers_in(task.payload_text());
    for (std::uint64_t i = 0; i < (asked.empty() ? 1 : asked[0]); ++i) {
      auto region = next(task);
      if (!region) return task.fail("nothing came");
      hoarded_.push_back(std::move(*region));
    }
    return answer(task, std::to_string(hoarded_.size()));
  }

 private:
  static std::optional<ReceivedRegion> next(TaskContext& task) {
    while (!task.cancelled())
      if (auto region = task.memory().receive(1'000)) return region;
    return std::nullopt;
  }
  static Outcome answer(TaskContext& task, const std::string& text) {
    auto set = task.set_result(text);
    return set ? Outcome::done : task.fail(set.error());
  }

  std::deque<ReceivedRegion> hoarded_;
};

}  // namespace
}  // namespace micro_swarm

int main() {
  using namespace micro_swarm;
  MemoryWork work;
  HandlerSet handlers;
  handlers.add("make", [&](TaskContext& task) { return work.make(task); });
  handlers.add("forward", [&](TaskContext& task) { return work.forward(task); });
  handlers.add("collect", [&](TaskContext& task) { return work.collect(task); });
  handlers.add("drain", [&](TaskContext& task) { return work.drain(task); });
  handlers.add("remember", [&](TaskContext& task) { return work.remember(task); });
  handlers.add("forget", [&](TaskContext& task) { return work.forget(task); });
  handlers.add("hoard", [&](TaskContext& task) { return work.hoard(task); });
  return run_external_agent(handlers);
}

// Every process of a durable swarm is SIGKILLed at a random moment, again and again; what it had
// told is in the journal, and every task it accepted ends exactly once. Usage: test -- ROUNDS SEED

#include <sqlite3.h>

#include <map>
#include <random>
#include <thread>
#include <unordered_map>

#include "common/clock.hpp"
#include "tests/fault_swarm.hpp"

namespace micro_swarm {
namespace {

using testing::children_of;
using testing::patience_ms;

std::uint64_t argument(int index, std::uint64_t otherwise) {
  const auto& suite = boost::unit_test::framework::master_test_suite();
  return index < suite.argc ? std::strtoull(suite.argv[index], nullptr, 10) : otherwise;
}

/// Each of its own, so that a row of the journal says which task it is: by its content, or by its
/// key where it has one.
std::string payload_of(std::uint64_t round, std::uint64_t i, std::mt19937_64& random) {
  std::string text = std::to_string(round) + "/" + std::to_string(i) + "/";
  if (random() % 4 == 0) text.append(random() % 3'000, 'x');
  if (random() % 64 == 0) text.append(80'000, 'y');
  return text;
}

/// What the swarm has told its client of tasks, by their names: the text of the result.
using Told = std::map<std::string, std::string>;

/// Three tasks of a batch, the last of which reads the results of the others.
struct Family {
  Family(std::uint64_t round, std::uint64_t i, std::mt19937_64& random) {
    for (int member = 0; member < 3; ++member) {
      payloads[member] = payload_of(round, i, random);
      keys[member] = "k" + std::to_string(round) + "/" + std::to_string(i + member);
      options[member].idempotency_key = keys[member];
      ++i;
    }
    options[2].depends_on = {TaskDependency::batch_entry(0), TaskDependency::batch_entry(1)};
  }
  std::vector<TaskRequest> requests() const {
    std::vector<TaskRequest> batch(3);
    for (int member = 0; member < 3; ++member) {
      batch[member].capability = member == 2 ? "concat" : "echo";
      batch[member].payload = std::as_bytes(std::span(payloads[member]));
      batch[member].options = &options[member];
    }
    return batch;
  }
  std::string result_of(int member) const {
    return member == 2 ? payloads[0] + payloads[1] + payloads[2] : payloads[member];
  }
  std::string payloads[3], keys[3];
  TaskOptions options[3];
};

class Database {
 public:
  explicit Database(const std::string& path) {
    BOOST_REQUIRE(::sqlite3_open_v2(path.c_str(), &database_, SQLITE_OPEN_READONLY, nullptr) ==
                  SQLITE_OK);
  }
  ~Database() { ::sqlite3_close(database_); }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  template <class F>
  void each_task(F&& f) {
    sqlite3_stmt* s = nullptr;
    BOOST_REQUIRE(::sqlite3_prepare_v2(database_,
                                       "SELECT key, state, coalesce(payload, result), ended_us IS "
                                       "NOT NULL FROM tasks",
                                       -1, &s, nullptr) == SQLITE_OK);
    while (::sqlite3_step(s) == SQLITE_ROW) {
      const auto text = [s](int column) {
        const auto* bytes = static_cast<const char*>(::sqlite3_column_blob(s, column));
        return std::string(bytes == nullptr ? "" : bytes,
                           static_cast<std::size_t>(::sqlite3_column_bytes(s, column)));
      };
      f(text(0), text(1), text(2), ::sqlite3_column_int(s, 3) != 0);
    }
    ::sqlite3_finalize(s);
  }

 private:
  sqlite3* database_ = nullptr;
};

/// All at once, in any order. Root stands still meanwhile, so that it replaces nobody.
void kill_all(pid_t root, std::mt19937_64& random) {
  ::kill(root, SIGSTOP);
  std::vector<pid_t> all = children_of(root);
  all.push_back(root);
  std::shuffle(all.begin(), all.end(), random);
  for (const pid_t pid : all) ::kill(pid, SIGKILL);
}

constexpr const char* configuration = R"(
[swarm]
agents = 2
[log]
level = "warn"
)";

/// Submits until the swarm is gone, and writes down what it was told.
void work(SwarmProcess& swarm, std::uint64_t round, std::uint64_t seed, Told& told) {
  std::mt19937_64 random(seed);
  auto connected = Client::connect("test", patience_ms);
  BOOST_REQUIRE_MESSAGE(connected.has_value(), fault_text(connected) << swarm.log());
  Client& client = *connected;
  const std::uint64_t moment_us = random() % 60'000;
  const std::uint64_t killer_seed = random();
  // In every third round a supervisor dies first, and leaves its successor what it had queued.
  const pid_t first_victim = random() % 3 == 0 ? swarm.supervisor() : -1;
  std::thread killer([&] {
    std::mt19937_64 order(killer_seed);
    const auto pass = [](std::uint64_t time_us) {
      const timespec time{0, static_cast<long>(time_us * 1'000)};
      ::nanosleep(&time, nullptr);
    };
    pass(moment_us);
    if (first_victim != -1) {
      ::kill(first_victim, SIGKILL);
      pass(order() % 30'000);
    }
    kill_all(swarm.root(), order);
  });
  struct Expected {
    std::string name, result;
  };
  std::unordered_map<std::uint64_t, Expected> open;
  for (std::uint64_t i = 0;;) {
    while (open.size() < 100) {
      if (random() % 8 == 0) {
        const Family family(round, i, random);
        auto batch = family.requests();
        const auto submitted = client.submit_batch(batch, 100);
        if (!submitted) break;
        for (int member = 0; member < 3; ++member)
          open[submitted->first_number + static_cast<std::uint64_t>(member)] = {
              family.keys[member], family.result_of(member)};
        i += 6;
        continue;
      }
      const std::string payload = payload_of(round, i, random);
      TaskRequest request;
      request.capability = "echo";
      request.payload = std::as_bytes(std::span(payload));
      const auto number = client.submit(std::move(request), 100);
      if (!number) break;
      open[*number] = {payload, payload};
      ++i;
    }
    auto result = client.next_result(1'000);
    if (!result) break;  // the swarm is gone
    if (!result->has_value()) continue;
    const auto at = open.find((*result)->number());
    BOOST_REQUIRE(at != open.end());
    if (!(*result)->refusal()) {
      BOOST_TEST((*result)->is_done());
      BOOST_TEST(((*result)->text() == at->second.result));
      told[at->second.name] = at->second.result;
    }
    open.erase(at);
  }
  killer.join();
}

/// The swarm knows the requests whose ends it has told: their results come back, another request
/// with the same key does not come in.
void ask_again(SwarmProcess& swarm, const Told& told) {
  auto client = Client::connect("test", patience_ms);
  BOOST_REQUIRE_MESSAGE(client.has_value(), fault_text(client) << swarm.log());
  const auto ask = [&](const std::string& key, const std::string& payload) {
    TaskOptions options;
    options.idempotency_key = key;
    std::vector<TaskRequest> one(1);
    one[0].capability = "echo";
    one[0].payload = std::as_bytes(std::span(payload));
    one[0].options = &options;
    BOOST_REQUIRE(client->submit_batch(one, patience_ms).has_value());
    auto result = client->next_result(patience_ms);
    BOOST_REQUIRE_MESSAGE((result.has_value() && result->has_value()), swarm.log());
    return std::move(**result);
  };
  int asked = 0;
  for (const auto& [name, text] : told) {
    if (name.front() != 'k') continue;
    // The third of a family is no echo: with this capability it is another request.
    const auto slash = name.find('/');
    const bool is_echo = text.starts_with(name.substr(1, slash)) &&
                         text.find(name.substr(1, slash), 1) == std::string::npos;
    const TaskResult again = ask(name, text);
    if (is_echo) {
      BOOST_TEST(again.is_done());
      BOOST_TEST((again.text() == text));
    }
    BOOST_TEST((ask(name, text + "!").refusal_reason() == SubmitRefusal::key_conflict));
    if (++asked == 50) break;
  }
}

BOOST_AUTO_TEST_CASE(every_task_accepted_ends_once_although_everybody_dies) {
  const std::uint64_t rounds = argument(1, 8);
  const std::uint64_t seed = argument(2, static_cast<std::uint64_t>(::getpid()));
  BOOST_TEST_MESSAGE("seed " << seed);
  const TemporaryDirectory state;
  Told told;
  SwarmProcess swarm(configuration, {"--state-dir", state.path().string()});
  for (std::uint64_t round = 0; round < rounds; ++round) {
    if (round != 0) swarm.start();
    BOOST_TEST_CONTEXT("round " << round << ": " << swarm.log()) {
      BOOST_REQUIRE_MESSAGE(testing::wait_until_it_answers(swarm), swarm.log());
      BOOST_REQUIRE_MESSAGE(swarm.wait_for_live(2), swarm.log());
    }
    work(swarm, round, seed + round, told);
    swarm.wait();
  }
  swarm.start();
  BOOST_REQUIRE_MESSAGE(testing::wait_until_it_answers(swarm), swarm.log());
  const bool is_over = swarm.wait_until(
      [](const auto& s) {
        const auto& tasks = s.at("tasks");
        const auto& journal = s.at("journal");
        return journal.at("open") == true && journal.at("restoring") == false &&
               journal.at("unsettled") == 0 && tasks.at("pending") == 0 && tasks.at("ready") == 0 &&
               tasks.at("running") == 0;
      },
      60'000);
  BOOST_TEST(is_over, swarm.status().dump(1) << swarm.log());
  const auto status = swarm.status();
  ask_again(swarm, told);
  BOOST_TEST(swarm.stop() == 0);

  struct Rows {
    std::size_t count = 0;
    std::string result;
  };
  std::map<std::string, Rows> rows;
  std::size_t unfinished = 0, not_done = 0;
  Database journal((state.path() / "journal.db").string());
  journal.each_task([&](const std::string& key, const std::string& state_name,
                        const std::string& content, bool has_ended) {
    Rows& row = rows[key.empty() ? content : key];
    ++row.count;
    row.result = content;
    unfinished += !has_ended;
    not_done += state_name != "done";
  });
  BOOST_TEST(unfinished == 0u);
  BOOST_TEST(not_done == 0u);
  std::size_t missing = 0, doubled = 0, different = 0;
  for (const auto& [name, result] : told) {
    missing += !rows.contains(name);
    different += rows.contains(name) && rows[name].result != result;
  }
  for (const auto& [name, row] : rows) doubled += row.count != 1;
  BOOST_TEST(missing == 0u);
  BOOST_TEST(doubled == 0u);
  BOOST_TEST(different == 0u);
  BOOST_TEST(rows.size() >= told.size());
  BOOST_TEST_MESSAGE(rounds << " rounds: " << rows.size() << " tasks accepted, " << told.size()
                            << " told to their client, " << status.at("journal").at("restored")
                            << " restored at the last start");
}

}  // namespace
}  // namespace micro_swarm

// A durable swarm as its users see it: idempotency keys, what comes back after the death of
// everybody, and the errors of journal and disk.

#include <sqlite3.h>
#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <map>

#include "ipc/batch_protocol.hpp"
#include "tests/fault_swarm.hpp"

namespace micro_swarm {
namespace {

using testing::children_of;
using testing::patience_ms;

constexpr const char* configuration = R"(
[swarm]
agents = 2
[log]
level = "warn"
[memory]
pool_size = "32MiB"
)";

/// One statement against the journal of a swarm, from outside.
struct Sql {
  explicit Sql(const std::filesystem::path& path) {
    BOOST_REQUIRE(::sqlite3_open(path.c_str(), &database) == SQLITE_OK);
    ::sqlite3_busy_timeout(database, 5'000);
  }
  ~Sql() { ::sqlite3_close(database); }
  Sql(const Sql&) = delete;
  Sql& operator=(const Sql&) = delete;
  void run(const char* statement) {
    char* error = nullptr;
    BOOST_REQUIRE_MESSAGE(
        ::sqlite3_exec(database, statement, nullptr, nullptr, &error) == SQLITE_OK,
        (error == nullptr ? "" : error));
  }
  std::string text(const char* query) {
    sqlite3_stmt* s = nullptr;
    BOOST_REQUIRE(::sqlite3_prepare_v2(database, query, -1, &s, nullptr) == SQLITE_OK);
    std::string answer;
    if (::sqlite3_step(s) == SQLITE_ROW)
      if (const auto* bytes = static_cast<const char*>(::sqlite3_column_blob(s, 0)))
        answer.assign(bytes, static_cast<std::size_t>(::sqlite3_column_bytes(s, 0)));
    ::sqlite3_finalize(s);
    return answer;
  }
  sqlite3* database = nullptr;
};

/// The disk of every swarm started meanwhile is full while the file `sign` is there.
struct FullDisk {
  FullDisk() {
    ::setenv("MS_TEST_DISK_FULL", sign().c_str(), 1);
    ::setenv("LD_PRELOAD", MS_FULL_DISK, 1);
  }
  ~FullDisk() {
    ::unsetenv("LD_PRELOAD");
    ::unsetenv("MS_TEST_DISK_FULL");
  }
  std::filesystem::path sign() const { return directory.path() / "full"; }
  void fill() { std::ofstream(sign()) << "full"; }
  void make_room() { std::filesystem::remove(sign()); }
  TemporaryDirectory directory;
};

struct Durable {
  explicit Durable(const std::string& more = {}) : toml(configuration + more) { start(); }
  void start() {
    if (swarm)
      swarm->start();
    else
      swarm.emplace(toml, std::vector<std::string>{"--state-dir", state.path().string()});
    BOOST_REQUIRE_MESSAGE(testing::wait_until_it_answers(*swarm), swarm->log());
    BOOST_REQUIRE_MESSAGE(swarm->wait_for_live(2), swarm->log());
    auto connected = Client::connect("test", patience_ms);
    BOOST_REQUIRE_MESSAGE(connected.has_value(), fault_text(connected) << swarm->log());
    client.emplace(std::move(*connected));
  }
  void stop() {
    client.reset();
    BOOST_TEST(swarm->stop() == 0);
  }
  /// Root stands still first, so that nobody replaces anybody.
  void kill_everybody() {
    client.reset();
    ::kill(swarm->root(), SIGSTOP);
    for (const pid_t pid : children_of(swarm->root())) ::kill(pid, SIGKILL);
    ::kill(swarm->root(), SIGKILL);
    swarm->wait();
  }
  std::filesystem::path journal() const { return state.path() / "journal.db"; }

  static TaskRequest request(std::string_view capability, std::string_view payload,
                             const TaskOptions* options = nullptr) {
    TaskRequest asked;
    asked.capability = capability;
    asked.payload = std::as_bytes(std::span(payload.data(), payload.size()));
    asked.options = options;
    return asked;
  }
  std::uint64_t submit(std::vector<TaskRequest> requests) {
    auto batch = client->submit_batch(requests, patience_ms);
    BOOST_REQUIRE_MESSAGE(batch.has_value(), fault_text(batch) << swarm->log());
    return batch->first_number;
  }
  std::uint64_t submit(TaskRequest one) {
    std::vector<TaskRequest> requests;
    requests.push_back(std::move(one));
    return submit(std::move(requests));
  }
  std::uint64_t submit_keyed(std::string_view capability, std::string_view payload,
                             std::string_view key) {
    TaskOptions options;
    options.idempotency_key = key;
    return submit(request(capability, payload, &options));
  }
  TaskResult result_of(std::uint64_t number) {
    for (;;) {
      if (const auto kept = results.find(number); kept != results.end())
        return std::move(results.extract(kept).mapped());
      auto next = client->next_result(patience_ms);
      BOOST_REQUIRE_MESSAGE(next.has_value(), fault_text(next) << swarm->log());
      BOOST_REQUIRE_MESSAGE(next->has_value(), "no result of submission " << number
                                                                          << swarm->status().dump(1)
                                                                          << swarm->log());
      const std::uint64_t arrived = (*next)->number();
      results.insert_or_assign(arrived, std::move(**next));
    }
  }
  bool wait_settled() {
    return swarm->wait_until(
        [](const auto& s) {
          return s.at("journal").at("open") == true && s.at("journal").at("restoring") == false &&
                 s.at("journal").at("unsettled") == 0 && s.at("journal").at("waiting") == 0 &&
                 s.at("tasks").at("pending") == 0 && s.at("tasks").at("ready") == 0 &&
                 s.at("tasks").at("running") == 0;
        },
        30'000);
  }
  std::string rows(const std::string& where) {
    return Sql(journal()).text(("SELECT count(*) FROM tasks WHERE " + where).c_str());
  }

  std::string toml;
  FullDisk disk;
  TemporaryDirectory state;
  std::optional<SwarmProcess> swarm;
  std::optional<Client> client;
  std::map<std::uint64_t, TaskResult> results;
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(durable, Durable)

// ---- keys ----

BOOST_AUTO_TEST_CASE(a_key_gives_the_old_result_back_and_another_request_with_it_is_refused) {
  const std::string large(100'000, 'z');
  for (const std::string& payload : {std::string("small"), large}) {
    const std::string key = "key of " + std::to_string(payload.size());
    for (int i = 0; i < 3; ++i) {
      const auto result = result_of(submit_keyed("echo", payload, key));
      BOOST_TEST(result.is_done());
      BOOST_TEST((result.text() == payload));
      BOOST_TEST(result.attempts() == 1u);
    }
    for (const std::string_view capability : {"echo", "hash"}) {
      const auto refused =
          result_of(submit_keyed(capability, capability == "echo" ? "other" : payload, key));
      BOOST_TEST((refused.refusal_reason() == SubmitRefusal::key_conflict));
      BOOST_TEST((*refused.refusal() == ErrorCode::usage));
    }
  }
  BOOST_TEST(swarm->counter("tasks_repeated") == 4u);
  BOOST_TEST(swarm->counter("tasks_dispatched") == 2u);
  BOOST_TEST(rows("1") == "2");
  BOOST_TEST(swarm->wait_until([this](const auto& s) {
    BOOST_TEST(client->next_result(0).has_value());  // takes back what came home since
    return s.at("memory").at("tokens_out") == 0;
  }));
  stop();

  start();  // they survive it
  const auto again = result_of(submit_keyed("echo", large, "key of 100000"));
  BOOST_TEST((again.text() == large));
  BOOST_TEST((result_of(submit_keyed("echo", "other", "key of 5")).refusal_reason() ==
              SubmitRefusal::key_conflict));
  BOOST_TEST(swarm->counter("tasks_dispatched") == 0u);
  stop();
}

BOOST_AUTO_TEST_CASE(a_repeat_of_a_running_task_ends_with_it_though_supervisors_die) {
  const auto first = submit_keyed("sleep", "700", "nap");
  const auto second = submit_keyed("sleep", "700", "nap");
  BOOST_REQUIRE(
      swarm->wait_until([](const auto& s) { return s.at("counters").at("tasks_repeated") == 1; }));
  ::kill(swarm->supervisor(), SIGKILL);
  BOOST_TEST(result_of(first).is_done());
  BOOST_TEST(result_of(second).is_done());
  BOOST_TEST(rows("CAST(key AS TEXT)='nap'") == "1");
  // A repeat may be cancelled by itself, and times out by itself.
  const auto long_one = submit_keyed("sleep", "60000", "night");
  TaskOptions options;
  options.idempotency_key = "night";
  TaskRequest impatient = request("sleep", "60000", &options);
  impatient.timeout_ms = 50;
  BOOST_TEST((result_of(submit(std::move(impatient))).state() == TaskState::timed_out));
  const auto found = swarm->ask({{"verb", "task.find"},
                                 {"client", client->party()},
                                 {"incarnation", client->incarnation()},
                                 {"number", long_one}});
  swarm->ask({{"verb", "task.cancel"}, {"id", found.at("id")}});
  BOOST_TEST((result_of(long_one).state() == TaskState::cancelled));
  BOOST_TEST((result_of(submit_keyed("sleep", "60000", "night")).state() == TaskState::cancelled));
  stop();
}

BOOST_AUTO_TEST_CASE(one_key_twice_in_a_batch_is_one_task) {
  TaskOptions keyed;
  keyed.idempotency_key = "twin";
  TaskOptions after_second;
  after_second.depends_on = {TaskDependency::batch_entry(1)};
  std::vector<TaskRequest> batch;
  batch.push_back(request("echo", "a", &keyed));
  batch.push_back(request("echo", "a", &keyed));
  batch.push_back(request("concat", "b", &after_second));
  const auto number = submit(std::move(batch));
  BOOST_TEST(result_of(number).text() == "a");
  BOOST_TEST(result_of(number + 1).text() == "a");
  BOOST_TEST(result_of(number + 2).text() == "ab");
  BOOST_TEST(rows("1") == "2");

  TaskOptions waits_for_itself = after_second;
  waits_for_itself.idempotency_key = "ouroboros";
  TaskOptions itself;
  itself.idempotency_key = "ouroboros";
  batch.clear();
  batch.push_back(request("echo", "a", &waits_for_itself));
  batch.push_back(request("echo", "a", &itself));
  const auto ring = submit(std::move(batch));
  BOOST_TEST((result_of(ring).refusal_reason() == SubmitRefusal::dependency_cycle));
  BOOST_TEST((result_of(ring + 1).refusal_reason() == SubmitRefusal::dependency_cycle));
  stop();
}

BOOST_AUTO_TEST_CASE(two_clients_with_one_key_make_one_task) {
  auto other = Client::connect("test", patience_ms);
  BOOST_REQUIRE(other.has_value());
  for (int i = 0; i < 50; ++i) {
    const std::string key = "race " + std::to_string(i);
    TaskOptions options;
    options.idempotency_key = key;
    std::vector<TaskRequest> one;
    one.push_back(request("echo", key, &options));
    const auto mine = submit_keyed("echo", key, key);
    BOOST_REQUIRE(other->submit_batch(one, patience_ms).has_value());
    BOOST_TEST(result_of(mine).text() == key);
    auto result = other->next_result(patience_ms);
    BOOST_REQUIRE((result.has_value() && result->has_value()));
    BOOST_TEST((*result)->text() == key);
  }
  BOOST_TEST(swarm->counter("tasks_dispatched") == 50u);
  BOOST_TEST(rows("1") == "50");
  other = Error{ErrorCode::cancelled, "", 0};  // leaves
  stop();
}

// ---- after the death of everybody ----

BOOST_AUTO_TEST_CASE(what_was_accepted_comes_back_with_its_options_and_what_it_reads) {
  const std::string large(50'000, 'L');
  TaskOptions nap, reads_all, failing;
  nap.deadline_ms = 55'000;
  reads_all.depends_on = {TaskDependency::batch_entry(0), TaskDependency::batch_entry(1),
                          TaskDependency::batch_entry(2)};
  reads_all.idempotency_key = "the end";
  failing.retries = 2;
  failing.retry_backoff_ms = 1;
  failing.depends_on = {TaskDependency::batch_entry(2)};
  failing.on_dependency_failure = OnDependencyFailure::run;
  std::vector<TaskRequest> batch;
  batch.push_back(request("echo", "first "));
  batch.push_back(request("echo", large));
  batch.push_back(request("sleep", "1500", &nap));
  batch.push_back(request("concat", " last", &reads_all));
  batch.push_back(request("fail", "as asked", &failing));
  batch.back().priority = Priority::critical;
  submit(std::move(batch));
  // The first two have ended, and the others are there, on disk.
  BOOST_REQUIRE(testing::wait_for([&] {
    return std::filesystem::exists(journal()) && rows("state='done'") == "2" && rows("1") == "5";
  }));
  kill_everybody();

  start();
  BOOST_REQUIRE_MESSAGE(wait_settled(), swarm->status().dump(1) << swarm->log());
  BOOST_TEST(rows("1") == "5");
  BOOST_TEST(rows("ended_us IS NULL") == "0");
  BOOST_TEST(rows("state='done'") == "4");
  Sql sql(journal());
  BOOST_TEST((sql.text("SELECT result FROM tasks WHERE capability='concat'") ==
              "first " + large + " last"));
  BOOST_TEST(sql.text("SELECT state||attempts||priority FROM tasks WHERE capability='fail'") ==
             "failed30");
  BOOST_TEST(sql.text("SELECT count(*) FROM inputs") == "0");
  // Its key is known, and its result comes back.
  BOOST_TEST(
      (result_of(submit_keyed("concat", " last", "the end")).text() == "first " + large + " last"));
  // Results that nobody has fetched: of the task accepted again, and of the one it read.
  BOOST_TEST(swarm->wait_until([](const auto& s) { return s.at("memory").at("tokens_out") == 2; }));
  stop();
}

struct Compressing : Durable {
  Compressing() : Durable("compression_enabled = true\ncompression_threshold = \"4KiB\"\n") {}
};

BOOST_FIXTURE_TEST_CASE(compressed_payloads_come_back, Compressing) {
  std::string large;
  while (large.size() < 50'000) large += "line " + std::to_string(large.size()) + "\n";
  TaskOptions nap, after_nap, once;
  nap.deadline_ms = 55'000;
  after_nap.depends_on = {TaskDependency::batch_entry(0)};
  once.retries = 0;
  std::vector<TaskRequest> batch;
  batch.push_back(request("sleep", "1500", &nap));
  batch.push_back(request("concat", large, &after_nap));
  batch.push_back(request("fail", large, &once));
  submit(std::move(batch));
  BOOST_REQUIRE(testing::wait_for([&] {
    return std::filesystem::exists(journal()) && rows("state='failed'") == "1" && rows("1") == "3";
  }));
  BOOST_TEST(swarm->counter("payloads_compressed") == 2u);
  BOOST_TEST(std::stoul(Sql(journal()).text("SELECT max(length(payload)) FROM tasks")) <
             large.size());
  kill_everybody();

  start();
  BOOST_REQUIRE_MESSAGE(wait_settled(), swarm->status().dump(1) << swarm->log());
  Sql sql(journal());
  BOOST_TEST((sql.text("SELECT result FROM tasks WHERE capability='concat'") == large));
  BOOST_TEST((sql.text("SELECT result FROM tasks WHERE capability='fail'") == large));
  stop();
}

BOOST_AUTO_TEST_CASE(a_stop_in_the_middle_leaves_the_rest_to_the_next_start) {
  for (int i = 0; i < 40; ++i) submit(request("sleep", "60000"));
  BOOST_REQUIRE(testing::wait_for([&] { return rows("1") == "40"; }));
  client.reset();
  ::kill(swarm->root(), SIGKILL);
  swarm->wait();
  start();
  BOOST_TEST(swarm->wait_until([](const auto& s) { return s.at("journal").at("restored") == 40; }));
  // Killing supervisors accepts nothing twice.
  ::kill(swarm->supervisor(), SIGKILL);
  BOOST_TEST(swarm->wait_until([](const auto& s) {
    return s.at("epoch") == 2 && s.at("journal").at("open") == true &&
           s.at("journal").at("restoring") == false;
  }));
  const auto tasks = swarm->status().at("tasks");
  BOOST_TEST((tasks.at("ready").get<int>() + tasks.at("running").get<int>()) == 40);
  BOOST_TEST(rows("1") == "40");
}

// ---- the journal's errors ----

BOOST_AUTO_TEST_CASE(a_disk_that_is_full_refuses_submissions_and_loses_nothing) {
  BOOST_TEST(result_of(submit(request("echo", "before"))).is_done());
  const auto napping = submit(request("sleep", "300"));
  BOOST_REQUIRE(testing::wait_for([&] { return rows("1") == "2"; }));
  disk.fill();
  // It ends, is not told, and from then on it is known that the disk refuses.
  BOOST_REQUIRE(
      swarm->wait_until([](const auto& s) { return s.at("journal").contains("trouble"); }));
  const auto status = swarm->status();
  BOOST_TEST(status.at("journal").at("trouble").get<std::string>().find("disk is full") !=
             std::string::npos);
  BOOST_TEST(status.at("journal").at("unsettled") == 1);
  const auto refused = result_of(submit(request("echo", "while")));
  BOOST_TEST((refused.refusal_reason() == SubmitRefusal::journal_stuck));
  BOOST_TEST(refused.retry_after_ms() > 0u);
  BOOST_TEST(!results.contains(napping));
  disk.make_room();
  BOOST_TEST(result_of(napping).is_done());
  BOOST_TEST(result_of(submit(request("echo", "after"))).is_done());
  BOOST_TEST(rows("state='done'") == "3");
  stop();
}

BOOST_AUTO_TEST_SUITE_END()

namespace {

struct Ended {
  int code;
  std::string log;
};

/// `microswarm run` with this state directory, which is to end by itself.
Ended run_on(const std::filesystem::path& state) {
  SwarmProcess swarm(configuration, {"--state-dir", state.string()});
  Ended ended{swarm.wait(), ""};
  ended.log = swarm.log();
  return ended;
}

bool says(const Ended& ended, std::string_view part) {
  return ended.log.find(part) != std::string::npos;
}

void make_journal(const std::filesystem::path& state) {
  SwarmProcess swarm(configuration, {"--state-dir", state.string()});
  BOOST_REQUIRE(swarm.wait_for_live(2));
  auto client = Client::connect("test", patience_ms);
  BOOST_REQUIRE(client.has_value());
  const std::string payload(2'000, 'x');
  for (int i = 0; i < 300; ++i)
    BOOST_REQUIRE(client->submit(Durable::request("echo", payload), patience_ms).has_value());
  for (int i = 0; i < 300; ++i) {
    auto result = client->next_result(patience_ms);
    BOOST_REQUIRE((result.has_value() && result->has_value() && (*result)->is_done()));
  }
  client = Error{ErrorCode::cancelled, "", 0};
  BOOST_TEST(swarm.stop() == 0);
}

}  // namespace

BOOST_AUTO_TEST_CASE(without_a_state_directory_a_key_is_refused_and_the_text_says_what_to_do) {
  SwarmProcess swarm(configuration);
  BOOST_REQUIRE(swarm.wait_for_live(2));
  auto client = Client::connect("test", patience_ms);
  BOOST_REQUIRE(client.has_value());
  TaskOptions options;
  options.idempotency_key = "k";
  std::vector<TaskRequest> one;
  one.push_back(Durable::request("echo", "p", &options));
  BOOST_REQUIRE(client->submit_batch(one, patience_ms).has_value());
  auto result = client->next_result(patience_ms);
  BOOST_REQUIRE((result.has_value() && result->has_value()));
  BOOST_TEST(((*result)->refusal_reason() == SubmitRefusal::no_state_dir));
  BOOST_TEST(text_of(SubmitRefusal::no_state_dir).find("--state-dir") != std::string_view::npos);
}

BOOST_AUTO_TEST_CASE(what_is_no_journal_of_ours_is_refused_at_start_and_left_as_it_is) {
  const TemporaryDirectory state;
  const auto path = state.path() / "journal.db";
  { Sql(path).run("CREATE TABLE customers(name)"); }
  auto ended = run_on(state.path());
  BOOST_TEST(ended.code == 1);
  BOOST_TEST(says(ended, "another program's database; name another state directory"), ended.log);
  BOOST_TEST(!says(ended, " is up"), ended.log);

  std::filesystem::remove(path);
  std::ofstream(path) << std::string(5'000, 'x');
  ended = run_on(state.path());
  BOOST_TEST(ended.code == 1);
  BOOST_TEST(says(ended, "is no database; move it away"), ended.log);
  BOOST_TEST(std::filesystem::file_size(path) == 5'000u);
}

BOOST_AUTO_TEST_CASE(a_damaged_or_locked_journal_is_refused_at_start) {
  const TemporaryDirectory state;
  const auto path = state.path() / "journal.db";
  make_journal(state.path());
  {
    Sql other(path);
    other.run("PRAGMA wal_checkpoint(TRUNCATE)");
    other.run("BEGIN IMMEDIATE");
    const auto ended = run_on(state.path());
    BOOST_TEST(ended.code == 1);
    BOOST_TEST(says(ended, "in use by another process; end that one"), ended.log);
    other.run("COMMIT");
  }
  const auto size = std::filesystem::file_size(path);
  BOOST_REQUIRE(size > 100'000u);
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(size / 4096 / 2 * 4096));
  file << std::string(4'096, '\xee');
  file.close();
  const auto ended = run_on(state.path());
  BOOST_TEST(ended.code == 1);
  BOOST_TEST(says(ended, "is damaged"), ended.log);
  BOOST_TEST(says(ended, ".recover"), ended.log);
}

BOOST_AUTO_TEST_CASE(a_state_directory_that_cannot_be_used_is_refused_at_start) {
  const TemporaryDirectory place;
  std::ofstream(place.path() / "file") << "x";
  auto ended = run_on(place.path() / "file");
  BOOST_TEST(ended.code == 1);
  BOOST_TEST(says(ended, "cannot be written: Not a directory; name one"), ended.log);
  ended = run_on(place.path() / "no" / "such");
  BOOST_TEST(ended.code == 1);
  BOOST_TEST(says(ended, "cannot be made: No such file or directory; name one"), ended.log);

  SwarmProcess swarm(configuration, {"--state-dir", (place.path() / "state").string()});
  BOOST_REQUIRE(swarm.wait_for_live(2));
  const std::string runtime = swarm.runtime();
  ended = run_on(place.path() / "state");
  BOOST_TEST(ended.code == 1);
  BOOST_TEST(says(ended, "is in use by the swarm of process " + std::to_string(swarm.root())),
             ended.log);
}

BOOST_AUTO_TEST_CASE(a_disk_that_is_full_at_start_is_told) {
  FullDisk disk;
  disk.fill();
  const TemporaryDirectory state;
  const auto ended = run_on(state.path());
  BOOST_TEST(ended.code == 1);
  BOOST_TEST(says(ended, "disk is full; make room"), ended.log);
}

}  // namespace micro_swarm

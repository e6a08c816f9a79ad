// `task submit --batch` against a real swarm.

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <map>

#include "common/base64.hpp"
#include "tests/cli_command.hpp"

using namespace micro_swarm;
using nlohmann::json;

namespace {

bool holds(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

struct Fixture {
  Fixture() {
    ::setenv("MICROSWARM_NAME", "test", 1);
    BOOST_REQUIRE_MESSAGE(swarm.wait_for_live(2), swarm.log());
  }
  ~Fixture() { ::unsetenv("MICROSWARM_NAME"); }

  /// By line.
  static std::map<std::uint64_t, json> ends(const CommandEnd& end) {
    std::map<std::uint64_t, json> by_line;
    std::istringstream lines(end.out);
    for (std::string line; std::getline(lines, line);) {
      const json one = json::parse(line);
      BOOST_TEST(one["schema"] == 1);
      BOOST_TEST(by_line.emplace(one.at("line"), one).second, line);
    }
    return by_line;
  }
  CommandEnd batch(const std::string& lines, std::vector<std::string> more = {}) const {
    more.insert(more.begin(), {"task", "submit", "--batch", "-"});
    return microswarm(more, lines);
  }
  /// The line is refused, nothing of the chunk is handed in, and the exit code is `code`.
  void refused(const std::string& lines, int code, const std::string& words) {
    const auto before = swarm.counter("tasks_accepted");
    const auto end = batch(lines);
    BOOST_TEST(end.code == code, lines << end.err);
    BOOST_TEST(holds(end.err, words), end.err);
    BOOST_TEST(std::count(end.err.begin(), end.err.end(), '\n') == 1, end.err);
    BOOST_TEST(end.out.empty(), end.out);
    BOOST_TEST(swarm.counter("tasks_accepted") == before);
  }

  SwarmProcess swarm{
      "[memory]\npool_size = \"4MiB\"\n[tasks]\nqueue_size = 500\nattempts_max = 1\n"
      "[supervision]\nintensity = 1000\nbackoff_initial_ms = 1\nbackoff_max_ms = 5\n"
      "[[category]]\nname = \"bulk\"\n"
      "[[agent]]\nname = \"worker\"\ncount = 2\nversion = 2\n"
      "capabilities = [\"noop\", \"echo\", \"sleep\", \"fail\", \"concat\", \"fault.crash\"]\n"};
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(batch, Fixture)

BOOST_AUTO_TEST_CASE(everything_a_line_can_say) {
  const std::string file = (swarm.directory() / "payload").string();
  std::ofstream(file) << std::string(100'000, 'f');
  const auto end = batch(
      R"({"name":"both","capability":"concat","depends_on":["a","b"],"payload":"!"})"
      "\n\n"
      R"({"name":"a","capability":"echo","payload":"text \u00e4","priority":"high"})"
      "\r\n"
      R"({"name":"b","capability":"echo","payload_base64":"AP8=","category":"bulk"})"
      "\n"
      R"({"name":"c","capability":"echo","payload_file":")" +
      file +
      R"(","timeout_ms":60000,"deadline_ms":60000,"retries":2,"retry_backoff_ms":1,)"
      R"("min_version":2,"cpu_slots":1,"resource_regions":1,"resource_bytes":1})"
      "\n"
      R"({"capability":"noop","depends_on":["a"],"on_dependency_failure":"skip"})");  // no newline
  BOOST_TEST(end.code == 0, end.err);
  auto by_line = ends(end);
  BOOST_REQUIRE_EQUAL(by_line.size(), 5u);
  BOOST_TEST(by_line[3]["name"] == "a");
  BOOST_TEST(by_line[3]["result"] == "text \u00e4");
  BOOST_TEST(by_line[3]["state"] == "done");
  BOOST_TEST(by_line[3]["attempts"] == 1);
  BOOST_TEST(by_line[3]["id"].is_number_unsigned());
  BOOST_TEST(by_line[4]["result_base64"] == "AP8=");
  BOOST_TEST(by_line[5]["result"] == std::string(100'000, 'f'));
  BOOST_TEST(!by_line[6].contains("name"));
  const auto joined = base64_decode(by_line[1]["result_base64"].get<std::string>());
  BOOST_REQUIRE(joined.has_value());
  BOOST_TEST((std::string(reinterpret_cast<const char*>(joined->data()), joined->size()) ==
              std::string("text \u00e4") + std::string("\0\xff", 2) + "!"));
  BOOST_TEST(swarm.wait_until([](const json& now) { return now["memory"]["tokens_out"] == 0; }));
}

BOOST_AUTO_TEST_CASE(thousands_flow_through_a_short_queue) {
  // Each depends on the one before it in its row of ten; ten times as many as there are records.
  std::string lines;
  for (int i = 0; i < 5'000; ++i) {
    lines += R"({"capability":"echo","name":"t)" + std::to_string(i) + R"(","payload":"p)" +
             std::to_string(i) + "\"";
    if (i % 10 != 0) lines += R"(,"depends_on":["t)" + std::to_string(i - 1) + "\"]";
    lines += "}\n";
  }
  const auto end = batch(lines, {"--chunk", "100"});
  BOOST_TEST(end.code == 0, end.err);
  const auto by_line = ends(end);
  BOOST_REQUIRE_EQUAL(by_line.size(), 5'000u);
  for (const auto& [line, one] : by_line)
    if (one.at("result") != "p" + std::to_string(line - 1)) BOOST_ERROR(one.dump());
}

BOOST_AUTO_TEST_CASE(a_full_pool_and_a_full_queue_are_waited_for) {
  // 12 MiB through a pool of 4; beside somebody who leaves little room in the queue.
  std::string others;
  for (int i = 0; i < 240; ++i) others += "{\"capability\":\"sleep\",\"payload\":\"2\"}\n";
  Command other({SwarmProcess::binary(), "task", "submit", "--batch", "-"}, others);
  std::string lines;
  for (int i = 0; i < 120; ++i)
    lines += R"({"capability":"echo","payload":")" + std::string(100'000, 'x') + "\"}\n";
  const auto end = batch(lines);
  BOOST_TEST(end.code == 0, end.err);
  BOOST_TEST(ends(end).size() == 120u);
  const auto other_end = other.wait();
  BOOST_TEST(other_end.code == 0, other_end.err);
  BOOST_TEST(ends(other_end).size() == 240u);
}

BOOST_AUTO_TEST_CASE(ends_are_told_while_more_comes_and_over_a_new_supervisor) {
  Command slow({"sh", "-c",
                "echo '{\"name\":\"first\",\"capability\":\"echo\",\"payload\":\"1\"}'; "
                "until test -e \"$1/go\"; do sleep 0.01; done; "
                "echo '{\"capability\":\"concat\",\"payload\":\"2\",\"depends_on\":[\"first\"]}'",
                "sh", swarm.directory().string()});
  // Its output is the batch's input.
  Command run({"sh", "-c",
               "(echo '{\"name\":\"first\",\"capability\":\"echo\",\"payload\":\"1\"}'; "
               "until test -e \"$1/go\"; do sleep 0.01; done; "
               "echo '{\"capability\":\"concat\",\"payload\":\"2\",\"depends_on\":[\"first\"]}') "
               "| \"$0\" task submit --batch -",
               SwarmProcess::binary(), swarm.directory().string()});
  BOOST_TEST(run.read_until("\"line\":1"), run.out());
  const auto epoch = swarm.status()["epoch"].get<unsigned>();
  ::kill(swarm.supervisor(), SIGKILL);
  BOOST_REQUIRE(swarm.wait_until([&](const json& now) { return now["epoch"] == epoch + 1; }));
  std::ofstream(swarm.directory() / "go").flush();
  const auto end = run.wait();
  BOOST_TEST(end.code == 0, end.err);
  BOOST_TEST(ends(end)[2]["result"] == "12");
  slow.wait();
}

BOOST_AUTO_TEST_CASE(the_exit_code_is_the_highest_of_the_ends) {
  const std::string done = "{\"capability\":\"noop\"}\n";
  const std::string failed = "{\"capability\":\"fail\",\"payload\":\"why\"}\n";
  const std::string late = "{\"capability\":\"sleep\",\"payload\":\"60000\",\"timeout_ms\":20}\n";
  const std::string crash = "{\"capability\":\"fault.crash\"}\n";
  const std::string skipped =
      "{\"name\":\"f\",\"capability\":\"fail\"}\n"
      "{\"capability\":\"noop\",\"depends_on\":[\"f\"],\"on_dependency_failure\":\"skip\"}\n";
  BOOST_TEST(batch("").code == 0);
  BOOST_TEST(batch(done).code == 0);
  const auto one_failed = batch(done + failed);
  BOOST_TEST(one_failed.code == 1);
  BOOST_TEST(ends(one_failed)[2]["result"] == "why");
  BOOST_TEST(batch(skipped).code == 6);
  BOOST_TEST(batch(crash + failed).code == 7);
  BOOST_TEST(batch(late + done + failed).code == 124);
}

BOOST_AUTO_TEST_CASE(bad_lines_are_refused_with_their_number) {
  const std::string good = "{\"capability\":\"noop\",\"name\":\"good\"}\n";
  refused(good + "{\"capability\":\n", 2, "line 2: it must be one JSON object");
  refused(good + "[]\n", 2, "line 2: it must be one JSON object");
  refused(good + "{}\n", 2, "line 2: capability is missing");
  refused(good + "{\"capability\":\"noop\",\"color\":1}\n", 2, "line 2: unknown member \"color\"");
  refused(good + "{\"capability\":7}\n", 2, "line 2: capability must be a text");
  refused(good + "{\"capability\":\"noop\",\"timeout_ms\":-1}\n", 2, "line 2: timeout_ms must be");
  refused(good + "{\"capability\":\"noop\",\"retries\":256}\n", 2, "line 2: retries must be");
  refused(good + "{\"capability\":\"noop\",\"priority\":\"urgent\"}\n", 2,
          "line 2: priority must be one of critical, high, normal, low");
  refused(good + "{\"capability\":\"noop\",\"payload\":\"\",\"payload_base64\":\"\"}\n", 2,
          "line 2: only one of");
  refused(good + "{\"capability\":\"noop\",\"payload_base64\":\"?\"}\n", 2,
          "line 2: payload_base64");
  refused(good + "{\"capability\":\"noop\",\"depends_on\":\"good\"}\n", 2, "line 2: depends_on");
  refused(good + "{\"capability\":\"noop\",\"depends_on\":[\"who\"]}\n", 2,
          "line 2: it depends on \"who\"");
  refused(good + good, 2, "line 2: another line has the name \"good\"");
  refused(good +
              "{\"name\":\"a\",\"capability\":\"noop\",\"depends_on\":[\"b\"]}\n"
              "{\"name\":\"b\",\"capability\":\"noop\",\"depends_on\":[\"a\"]}\n",
          2, "none could ever run");
  refused(good + "{\"capability\":\"fly\"}\n", 1, "line 2: no agent has the capability \"fly\"");
  refused(good + "{\"capability\":\"noop\",\"payload_file\":\"/nonexistent\"}\n", 1,
          "line 2: open /nonexistent");
  refused(good + "{\"capability\":\"noop\",\"category\":\"odd\"}\n", 1, "line 2: ");
  refused(good + "{\"capability\":\"noop\",\"cpu_slots\":1000}\n", 5, "line 2: ");

  // What was handed in before goes on and is told; the error follows.
  const auto late = batch(good + "{}\n", {"--chunk", "1"});
  BOOST_TEST(late.code == 2);
  BOOST_TEST(ends(late).size() == 1u);
  BOOST_TEST(holds(late.err, "line 2: capability is missing"), late.err);

  BOOST_TEST(microswarm({"task", "submit", "--batch", "/nonexistent"}).code == 1);
  BOOST_TEST(microswarm({"task", "submit", "noop", "--batch", "-"}).code == 2);
  BOOST_TEST(microswarm({"task", "submit", "--batch", "-", "--wait"}).code == 2);
  BOOST_TEST(microswarm({"task", "submit", "noop", "--chunk", "5"}).code == 2);
}

BOOST_AUTO_TEST_SUITE_END()

#include "supervisor/cli/render.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "common/base64.hpp"
#include "supervisor/cli/task_result.hpp"

using namespace micro_swarm;
using namespace micro_swarm::cli;
using nlohmann::json;

BOOST_AUTO_TEST_CASE(cells_show_units_and_stay_on_their_line) {
  BOOST_TEST(cell_text("x", nullptr) == "-");
  BOOST_TEST(cell_text("x", true) == "yes");
  BOOST_TEST(cell_text("x", 5) == "5");
  BOOST_TEST(cell_text("x", -5) == "-5");
  BOOST_TEST(cell_text("x", "") == "-");
  BOOST_TEST(cell_text("x", "two\nlines\x1b[31m") == "two?lines?[31m");
  BOOST_TEST(cell_text("pool_bytes", 29360128u) == "28.0 MiB");
  BOOST_TEST(cell_text("took_ns", 950u) == "950 ns");
  BOOST_TEST(cell_text("took_ns", 1'500'000u) == "1.5 ms");
  BOOST_TEST(cell_text("took_ns", 4'000'000'000'000u) == "4000 s");
  BOOST_TEST(cell_text("x", json::array({"a", "b"})) == "a, b");
  BOOST_TEST(cell_text("x", {{"live", 2}, {"gone", 0}}) == "gone=0 live=2");
  BOOST_TEST(cell_text("x", json::array()) == "-");
}

BOOST_AUTO_TEST_CASE(tables_align_and_put_known_columns_first) {
  const json rows = json::array({{{"zeta", 1}, {"name", "\u00e4\u00f6"}, {"id", 10}},
                                 {{"name", "long name"}, {"id", 7}, {"alpha", true}}});
  BOOST_TEST(table_text(rows, {"id", "name", "absent"}) ==
             "id  name       zeta  alpha\n"
             "10  \u00e4\u00f6            1  -\n"
             " 7  long name     -  yes\n");
  BOOST_TEST(table_text(json::array(), {"id"}) == "");
}

BOOST_AUTO_TEST_CASE(objects_list_their_fields_then_their_tables) {
  const json object{{"schema", 1},
                    {"end", true},
                    {"name", "a"},
                    {"uptime_ms", 3},
                    {"agents", json::array({{{"id", 0}}, {{"id", 1}}})},
                    {"none", json::array()}};
  BOOST_TEST(object_text(object, {"uptime_ms"}) ==
             "uptime_ms  3\n"
             "name       a\n"
             "none       -\n"
             "\nagents\nid\n 0\n 1\n");
  BOOST_TEST(object_text({{"task", {{"id", 5}, {"state", "done"}}}, {"end", true}}, {"state"}) ==
             "state  done\nid     5\n");
  BOOST_TEST(object_text({{"agents", json::array({{{"id", 0}}})}}, {}) == "agents\nid\n 0\n");
  const std::string words(50, 'w');
  BOOST_TEST(object_text({{"name", "a"}, {"big", {{"x", words}, {"long", words}}}}, {}) ==
             "name  a\n\nbig\n  long  " + words + "\n  x     " + words + "\n");
}

BOOST_AUTO_TEST_CASE(events_are_one_line_each) {
  BOOST_TEST(event_text({{"sequence", 4},
                         {"time_ms", 1767225600123},
                         {"event", "agent_died"},
                         {"agent", 3},
                         {"schema", 1}}) == "2026-01-01T00:00:00.123Z agent_died agent=3\n");
}

BOOST_AUTO_TEST_CASE(text_is_told_from_bytes) {
  BOOST_TEST(is_printable_text("plain\n\ttext \u00e9"));
  BOOST_TEST(is_printable_text(""));
  BOOST_TEST(!is_printable_text(std::string_view("a\0b", 3)));
  BOOST_TEST(!is_printable_text("\x1b[2J"));
  BOOST_TEST(!is_printable_text("\xff\xfe"));
}

BOOST_AUTO_TEST_CASE(states_have_exit_codes) {
  const std::vector<std::pair<std::string_view, int>> codes{
      {"done", 0}, {"failed", 1}, {"cancelled", 6}, {"dead_letter", 7}, {"timed_out", 124}};
  for (const auto& [state, code] : codes) BOOST_TEST(exit_code_of_state(state) == code, state);
}

BOOST_AUTO_TEST_CASE(base64_goes_there_and_back) {
  const std::vector<std::pair<std::string, std::string>> known{
      {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, coded] : known) {
    BOOST_TEST(base64_encode(std::as_bytes(std::span(plain))) == coded);
    const auto back = base64_decode(coded);
    BOOST_REQUIRE(back.has_value());
    BOOST_TEST(std::string(reinterpret_cast<const char*>(back->data()), back->size()) == plain);
  }
  std::vector<std::byte> all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<std::byte>(i));
  BOOST_TEST((base64_decode(base64_encode(all)) == all));
  for (const char* bad : {"Z", "Zg=", "Zg", "Zg==Zg==", "Z===", "Zh==", "Zm9!", "=Zg=", "Zm9v\n"})
    BOOST_TEST(!base64_decode(bad).has_value(), bad);
}

BOOST_AUTO_TEST_CASE(results_are_checked_before_they_are_read) {
  ControlLine line;
  line.object = {{"inline_base64", "aGk="}};
  BOOST_TEST(result_bytes(line).value().size() == 2u);
  for (const json& bad : {json{{"inline_base64", 5}}, json{{"inline_base64", "?"}}, json::object(),
                          json{{"offset", 0u}, {"size", 4u}}}) {
    line.object = bad;
    BOOST_REQUIRE(result_bytes(line).has_error());
    BOOST_TEST((result_bytes(line).error().code == ErrorCode::protocol));
  }
  const UniqueFd memory(::memfd_create("result", MFD_CLOEXEC));
  BOOST_REQUIRE(::write(memory.get(), "0123456789", 10) == 10);
  line.fds.push_back(duplicate(memory.get()).value());
  line.object = {{"offset", 3u}, {"size", 4u}};
  const auto bytes = result_bytes(line);
  BOOST_REQUIRE(bytes.has_value());
  BOOST_TEST(std::string(reinterpret_cast<const char*>(bytes->data()), 4) == "3456");
  for (const auto& [offset, size] :
       std::vector<std::pair<std::uint64_t, std::uint64_t>>{{3, 8}, {11, 0}, {5, UINT64_MAX}}) {
    line.object = {{"offset", offset}, {"size", size}};
    BOOST_TEST(result_bytes(line).has_error());
  }
}

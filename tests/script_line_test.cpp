// The lines and files between an agent and its script, without either.

#include "agentproc/script_line.hpp"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "agentproc/child_process.hpp"
#include "agentproc/script_files.hpp"
#include "fault_text.hpp"
#include "temporary_directory.hpp"

using namespace micro_swarm;
using Kind = ScriptAnswer::Kind;

namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

void check_refused(std::string_view line, std::string_view why) {
  const auto answer = read_script_answer(line, 7);
  BOOST_REQUIRE_MESSAGE(!answer.has_value(), line);
  BOOST_TEST(answer.error().message.find(why) != std::string::npos, answer.error().message);
}

void check_answer(std::string_view line, Kind kind, std::string_view text) {
  const auto answer = read_script_answer(line, 7);
  BOOST_REQUIRE_MESSAGE(answer.has_value(), fault_text(answer));
  BOOST_TEST((answer->kind == kind), line);
  BOOST_TEST(answer->text == text);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(lines)

BOOST_AUTO_TEST_CASE(a_request_has_its_payload_at_the_end) {
  ScriptRequest request{7, 2, "count", {}, {bytes_of("two \"words\"\n"), {}}};
  BOOST_TEST(script_request_line(request) ==
             "{\"task\":7,\"attempt\":2,\"capability\":\"count\","
             "\"payload\":\"two \\\"words\\\"\\n\"}\n");
  request.payload = {bytes_of("\xff"), {}};
  request.inputs = {{5, "done", {bytes_of("a"), {}}},
                    {6, "failed", {bytes_of("\x80"), {}}},
                    {8, "done", {{}, "/run/input-3"}}};
  BOOST_TEST(script_request_line(request) ==
             "{\"task\":7,\"attempt\":2,\"capability\":\"count\",\"inputs\":["
             "{\"task\":5,\"state\":\"done\",\"result\":\"a\"},"
             "{\"task\":6,\"state\":\"failed\",\"result_base64\":\"gA==\"},"
             "{\"task\":8,\"state\":\"done\",\"result_path\":\"/run/input-3\"}],"
             "\"payload_base64\":\"/w==\"}\n");
  request.payload = {{}, "/run/payload"};
  BOOST_TEST(script_request_line(request).ends_with(",\"payload_path\":\"/run/payload\"}\n"));
}

BOOST_AUTO_TEST_CASE(text_of_any_kind_stays_one_line) {
  const std::string_view text("a\0b\r\n\xc3\xa9\x01", 8);
  const std::string line = script_request_line({7, 1, "c", {}, {bytes_of(text), {}}});
  BOOST_TEST(line.find('\n') == line.size() - 1);
  BOOST_TEST((nlohmann::json::parse(line).at("payload").get<std::string>() == text));
}

BOOST_AUTO_TEST_CASE(answers_are_understood) {
  check_answer(R"({"result":"text"})", Kind::result, "text");
  check_answer(R"({"result":""})", Kind::result, "");
  check_answer(R"({"task":7,"result":"caf\u00e9"})", Kind::result, "caf\xc3\xa9");
  check_answer(R"({"result_base64":"AP+A"})", Kind::result, std::string_view("\0\xff\x80", 3));
  check_answer(R"({"result_path":"out"})", Kind::path, "out");
  check_answer(R"({"error":"why"})", Kind::error, "why");
  check_answer("{\"progress\":true}\r", Kind::progress, "");
}

BOOST_AUTO_TEST_CASE(what_is_no_answer_is_told_so) {
  check_refused("", "no JSON object");
  check_refused("done", "no JSON object: \"done\"");
  check_refused("[1]", "no JSON object");
  check_refused("{\"result\":\"\xff\"}", "no JSON object");
  check_refused("{}", "without result");
  check_refused(R"({"task":7})", "without result");
  check_refused(R"({"task":8,"result":"x"})", "answered for task 8, and was asked for 7");
  check_refused(R"({"task":"7","result":"x"})", "answered for task \"7\"");
  check_refused(R"({"result":1})", "\"result\" that is no text");
  check_refused(R"({"error":null})", "\"error\" that is no text");
  check_refused(R"({"result_base64":"?"})", "\"result_base64\" that is none");
  check_refused(R"({"result":"x","error":"y"})", "more than one");
  check_refused(R"({"progress":1})", "\"progress\" that is not true");
  check_refused(R"({"resulz":"x"})", "unknown member \"resulz\"");
  check_refused(std::string(100'000, '['), "no JSON object");
}

BOOST_AUTO_TEST_CASE(long_texts_are_cut_between_characters) {
  BOOST_TEST(head_of("short\n", 10) == "short");
  BOOST_TEST(head_of("caf\xc3\xa9", 4) == "caf...");
  BOOST_TEST(tail_of("last words\r\n\n", 10) == "last words");
  BOOST_TEST(tail_of("caf\xc3\xa9!", 2) == "...!");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(files)

struct Fixture {
  TemporaryDirectory directory;
  std::string parent = (directory.path() / "swarm.files").string();
  Result<ScriptFiles> made = ScriptFiles::make(parent, "3");
  ScriptFiles& files = made.value();

  std::string refusal(std::string_view path) const {
    std::size_t size = 0;
    const auto opened = made->open(path, size);
    return opened ? "opened" : opened.error().message;
  }
};

BOOST_FIXTURE_TEST_CASE(the_directory_is_private_and_goes, Fixture) {
  struct stat there {};
  for (const auto& path : {parent, files.path()}) {
    BOOST_REQUIRE(::stat(path.c_str(), &there) == 0);
    BOOST_TEST((there.st_mode & 0777) == 0700u);
  }
  const auto path = files.write("payload", bytes_of("bytes"));
  BOOST_REQUIRE(path.has_value());
  BOOST_REQUIRE(::stat(path->c_str(), &there) == 0);
  BOOST_TEST((there.st_mode & 0777) == 0600u);
  std::size_t size = 0;
  for (const std::string& name : {*path, std::string("payload")}) {
    const auto opened = files.open(name, size);
    BOOST_REQUIRE_MESSAGE(opened.has_value(), fault_text(opened));
    BOOST_TEST(size == 5u);
  }
  {
    // The next life's: what was left is gone.
    const auto again = ScriptFiles::make(parent, "3");
    BOOST_REQUIRE(again.has_value());
    BOOST_TEST(std::filesystem::is_empty(again->path()));
  }
  BOOST_TEST(!std::filesystem::exists(files.path()));
}

BOOST_FIXTURE_TEST_CASE(only_what_lies_there_is_opened, Fixture) {
  std::ofstream(directory.path() / "outside") << "secret";
  const std::string inside = files.path();
  std::filesystem::create_symlink(directory.path() / "outside", inside + "/link");
  std::filesystem::create_symlink(directory.path(), inside + "/away");
  std::filesystem::create_directory(inside + "/folder");
  std::ofstream(inside + "/folder/file") << "ours";
  BOOST_REQUIRE(::mkfifo((inside + "/fifo").c_str(), 0600) == 0);
  for (const std::string path :
       {"link", "away/outside", "../../outside", "folder/../../../outside", "/etc/passwd"})
    BOOST_TEST(refusal(path).find("is not in " + inside) != std::string::npos, path);
  BOOST_TEST(refusal(inside + "/../../outside").find("is not in") != std::string::npos);
  BOOST_TEST(refusal(inside + "2/file").find("is not in") != std::string::npos);
  BOOST_TEST(refusal("fifo").find("no regular file") != std::string::npos);
  BOOST_TEST(refusal("folder").find("no regular file") != std::string::npos);
  BOOST_TEST(refusal("none").find("No such file") != std::string::npos);
  BOOST_TEST(refusal("").find("No such file") != std::string::npos);
  BOOST_TEST(refusal("folder/file") == "opened");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(the_end_of_a_process_is_told_in_words) {
  BOOST_TEST(end_text(3 << 8) == "exit code 3");
  BOOST_TEST(end_text(SIGSEGV) == "killed by SIGSEGV");
  const auto missing = ChildProcess::start({"/no/such/program"}, {}, ChildProcess::Errors::ours);
  BOOST_REQUIRE(!missing.has_value());
  BOOST_TEST(missing.error().message == "cannot run /no/such/program: No such file or directory");
  BOOST_TEST(missing.error().sys_errno == ENOENT);
}

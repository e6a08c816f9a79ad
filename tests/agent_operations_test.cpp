// The built-in operations, called directly: no rings, no threads, no time.

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "agentproc/data_operations.hpp"
#include "agentproc/fault_operations.hpp"
#include "agentproc/generic_agent.hpp"
#include "common/config.hpp"

using namespace micro_swarm;

namespace {

/// Memory from the heap, a clock that jumps, a cancel at will.
class TestServices final : public TaskServices {
 public:
  bool is_cancelled(TaskId) const noexcept override { return cancelled; }
  void report_progress() noexcept override { ++progress; }
  void sleep_unless_cancelled(TaskId, std::uint64_t timeout_ns) noexcept override {
    slept_ns += timeout_ns;
    if (slept_ns >= cancel_after_ns) cancelled = true;
  }
  Result<Allocation> allocate_result(TaskId, std::size_t size_bytes, std::uint64_t) override {
    if (!has_memory) return Error{ErrorCode::refused, "no memory", 0};
    bytes.assign(size_bytes, std::byte{0xee});
    ++allocated;
    return Allocation{0, Token{1}, bytes};
  }
  void release_result(const Allocation&) noexcept override { --allocated; }
  AgentMemory& memory() noexcept override { std::abort(); }  // none of these operations asks for it

  bool cancelled = false;
  bool has_memory = true;
  std::uint64_t progress = 0;
  std::uint64_t slept_ns = 0;
  std::uint64_t cancel_after_ns = ~std::uint64_t{0};
  std::vector<std::byte> bytes;
  int allocated = 0;
};

struct Operations {
  Operations() {
    add_generic_operations(handlers);
    add_data_operations(handlers);
  }
  Outcome call(std::string_view name, std::string_view payload) {
    TaskContext task(services, 1, 1, name,
                     std::as_bytes(std::span(payload.data(), payload.size())));
    const Outcome outcome = handlers.find(name)->handle(task);
    result.assign(reinterpret_cast<const char*>(task.result().data()), task.result().size());
    return outcome;
  }
  template <class T>
  static std::string raw(const std::vector<T>& values) {
    return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
  }
  HandlerSet handlers;
  TestServices services;
  std::string result;
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(agent_operations, Operations)

BOOST_AUTO_TEST_CASE(every_name_has_a_handler_and_is_a_capability) {
  add_fault_operations(handlers);
  for (const auto& names : {generic_operation_names(), data_operation_names()})
    for (const auto name : names) {
      BOOST_CHECK(handlers.find(name) != nullptr);
      BOOST_CHECK(is_valid_capability(name));
    }
  for (const auto name : fault_operation_names()) {
    BOOST_CHECK(handlers.find(name) != nullptr);
    BOOST_CHECK(is_valid_capability(name));
    BOOST_CHECK(name.starts_with("fault."));
  }
  BOOST_CHECK(handlers.find("something else") == nullptr);
}

BOOST_AUTO_TEST_CASE(what_a_default_agent_offers_it_can_do) {
  for (const auto& name : default_capabilities(AgentKind::generic, "worker"))
    BOOST_CHECK_MESSAGE(handlers.find(name) != nullptr, name);
}

BOOST_AUTO_TEST_CASE(noop_echo_hash) {
  BOOST_CHECK(call("noop", "anything") == Outcome::done);
  BOOST_CHECK_EQUAL(result, "");
  BOOST_CHECK(call("echo", "short") == Outcome::done);
  BOOST_CHECK_EQUAL(result, "short");
  BOOST_CHECK_EQUAL(services.allocated, 0);
  const std::string large(1000, 'q');
  BOOST_CHECK(call("echo", large) == Outcome::done);
  BOOST_CHECK_EQUAL(result, large);
  BOOST_CHECK(call("hash", "") == Outcome::done);
  BOOST_CHECK_EQUAL(result, "2d06800538d394c2");  // XXH3-64 of nothing, as its authors publish it
  BOOST_CHECK_EQUAL(services.allocated, 0);       // every region was given back
}

BOOST_AUTO_TEST_CASE(sum_adds_floats_in_double_precision) {
  BOOST_CHECK(call("sum", "") == Outcome::done);
  BOOST_CHECK_EQUAL(result, "0");
  BOOST_CHECK(call("sum", raw<float>({1.5f, -0.25f, 4.0f})) == Outcome::done);
  BOOST_CHECK_EQUAL(result, "5.25");
  // 2^24 + 1 has no float32: adding in float32 would lose the ones.
  std::vector<float> ones(3, 1.0f);
  ones.push_back(16777216.0f);
  BOOST_CHECK(call("sum", raw(ones)) == Outcome::done);
  BOOST_CHECK_EQUAL(result, "16777219");
  BOOST_CHECK(call("sum", raw<float>({-1.17549435e-38f, 3.4028235e38f, NAN})) == Outcome::done);
  BOOST_CHECK_EQUAL(result, "nan");
  BOOST_CHECK(call("sum", "12345") == Outcome::failed);
}

BOOST_AUTO_TEST_CASE(sleep_ends_early_when_cancelled_and_is_no_hang) {
  services.cancel_after_ns = 3'000'000'000;
  BOOST_CHECK(call("sleep", "3600000") == Outcome::cancelled);
  BOOST_CHECK(services.progress >= 6);  // it said that it gets on every half second
  services.cancelled = false;
  BOOST_CHECK(call("sleep", "0") == Outcome::done);
  BOOST_CHECK(call("sleep", "0\n") == Outcome::done);
  for (const std::string_view wrong : {"", "-1", "1.5", "ten", "99999999999999999999"})
    BOOST_CHECK(call("sleep", wrong) == Outcome::failed);
}

BOOST_AUTO_TEST_CASE(spin_takes_cpu_time_and_does_not_look) {
  services.cancelled = true;
  BOOST_CHECK(call("spin", "2") == Outcome::done);
  BOOST_CHECK(services.progress > 0);
  BOOST_CHECK(call("spin", "x") == Outcome::failed);
}

BOOST_AUTO_TEST_CASE(fill_makes_a_pattern_of_any_size) {
  for (const std::size_t size_bytes : {0u, 1u, 24u, 25u, 250u, 251u, 252u, 502u, 70000u}) {
    BOOST_CHECK(call("fill", std::to_string(size_bytes)) == Outcome::done);
    BOOST_REQUIRE_EQUAL(result.size(), size_bytes);
    for (std::size_t i = 0; i < size_bytes; ++i)
      BOOST_REQUIRE_EQUAL(static_cast<unsigned char>(result[i]), i % 251);
  }
}

BOOST_AUTO_TEST_CASE(fail_fails_with_its_text_and_without_memory_with_less_of_it) {
  const std::string text = "a reason that is longer than a message holds";
  BOOST_CHECK(call("fail", text) == Outcome::failed);
  BOOST_CHECK_EQUAL(result, text);
  services.has_memory = false;
  BOOST_CHECK(call("fail", text) == Outcome::failed);
  BOOST_CHECK_EQUAL(result, text.substr(0, task_inline_bytes_max));
  BOOST_CHECK(call("echo", text) == Outcome::failed);
}

BOOST_AUTO_TEST_SUITE_END()

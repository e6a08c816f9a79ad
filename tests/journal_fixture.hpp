#pragma once

#include <poll.h>

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <map>
#include <string>

#include "supervisor/journal.hpp"
#include "supervisor/journal_store.hpp"
#include "tests/temporary_directory.hpp"

namespace micro_swarm::testing {

inline constexpr int journal_patience_ms = 20'000;

inline std::string text(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

inline Journal::Fill filled_with(const std::string& content) {
  return [content](std::span<std::byte> to) {
    std::memcpy(to.data(), content.data(), content.size());
  };
}

/// A journal and what it has told so far.
class JournalUnderTest {
 public:
  explicit JournalUnderTest(JournalOptions options, Journal::Limits limits = {})
      : journal(std::move(options), limits) {}

  Journal journal;
  std::optional<DurableId> first_id;
  std::map<DurableId, JournalSynced> accepted, ended;
  std::vector<JournalSynced> synced;
  std::optional<JournalNews::Unfinished> unfinished;
  std::map<std::uint64_t, std::optional<JournalRow>> found;
  std::map<std::string, std::optional<JournalKey>> keys;

  void take() {
    JournalNews news = journal.take();
    if (news.opened) first_id = news.opened->first_id;
    for (const JournalSynced& one : news.synced) {
      synced.push_back(one);
      (one.what == JournalSynced::What::ended ? ended : accepted)[one.id] = one;
    }
    if (news.unfinished) unfinished = std::move(news.unfinished);
    for (auto& answer : news.found) found[answer.question] = std::move(answer.row);
    for (auto& answer : news.keys) keys[answer.key] = answer.known;
  }
  /// Sleeps on the journal's event until it has told what makes this true.
  template <class Holds>
  bool wait(Holds&& holds, int patience_ms = journal_patience_ms) {
    for (;;) {
      take();
      if (holds()) return true;
      pollfd wanted{journal.event_fd(), POLLIN, 0};
      if (::poll(&wanted, 1, patience_ms) != 1) return false;
    }
  }
  bool wait_open() {
    return wait([&] { return first_id.has_value(); });
  }
  void accept(DurableId id, const std::string& payload, const std::string& key = "",
              std::uint64_t hash = 0, const std::vector<DurableId>& inputs = {}) {
    JournalAccept accept;
    accept.id = id;
    accept.task = id + 1'000'000;
    accept.capability = "echo";
    accept.priority = Priority::high;
    accept.timeout_ms = 250;
    accept.accepted_us = 1'000 + id;
    accept.key = key;
    accept.request_hash[0] = hash;
    accept.inputs = inputs;
    journal.accept(accept, payload.size(), filled_with(payload));
  }
  void end(DurableId id, const std::string& result, TaskState state = TaskState::done,
           std::uint32_t attempts = 1, bool has_inputs = false) {
    journal.end({id, id + 1'000'000, state, attempts, 2'000 + id, has_inputs}, result.size(),
                filled_with(result));
  }
  std::vector<JournalRow> all_unfinished(DurableId after = 0, std::size_t rows_max = 10'000) {
    unfinished.reset();
    journal.ask_unfinished(after, rows_max, 1ull << 40);
    BOOST_REQUIRE(wait([&] { return unfinished.has_value(); }));
    return unfinished->rows;
  }
  std::optional<JournalRow> row(DurableId id) {
    static std::uint64_t question = 0;
    ++question;
    journal.ask(id, question);
    BOOST_REQUIRE(wait([&] { return found.contains(question); }));
    return found[question];
  }
};

}  // namespace micro_swarm::testing

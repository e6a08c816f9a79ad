// The journal alone: what is entered is there, once; a foreign, damaged, locked, full, broken or
// hung disk is told and nothing is lost.

#include <sqlite3.h>
#include <sys/stat.h>

#include <fstream>

#include "common/clock.hpp"
#include "tests/journal_fault_vfs.hpp"
#include "tests/journal_fixture.hpp"

namespace micro_swarm {
namespace {

using testing::FaultVfs;
using testing::JournalUnderTest;
using testing::text;
using What = JournalSynced::What;

struct Place {
  TemporaryDirectory directory;
  std::string path() const { return (directory.path() / "journal.db").string(); }
  JournalOptions options(const std::string& run = "first") const {
    JournalOptions options;
    options.path = path();
    options.run = run;
    return options;
  }
  Error refusal() const {
    auto opened = JournalStore::open(options());
    BOOST_REQUIRE(opened.has_error());
    return opened.error();
  }
  void sql(const std::string& statements) const {
    sqlite3* database = nullptr;
    BOOST_REQUIRE(::sqlite3_open(path().c_str(), &database) == SQLITE_OK);
    BOOST_REQUIRE(::sqlite3_exec(database, statements.c_str(), nullptr, nullptr, nullptr) ==
                  SQLITE_OK);
    ::sqlite3_close(database);
  }
};

BOOST_AUTO_TEST_CASE(a_task_is_entered_when_accepted_and_changed_once_when_it_has_ended) {
  const Place place;
  JournalUnderTest j(place.options());
  BOOST_REQUIRE(j.wait_open());
  BOOST_TEST(*j.first_id == 1u);
  j.accept(1, "payload");
  j.accept(2, "");
  j.journal.flush();
  BOOST_REQUIRE(j.wait([&] { return j.accepted.size() == 2; }));
  BOOST_TEST(j.accepted[1].task == 1'000'001u);
  auto row = j.row(1);
  BOOST_REQUIRE(row.has_value());
  BOOST_TEST(row->capability == "echo");
  BOOST_TEST((row->priority == Priority::high));
  BOOST_TEST(row->timeout_ms == 250u);
  BOOST_TEST(text(row->payload) == "payload");
  BOOST_TEST((row->state == TaskState::free));
  BOOST_TEST(row->accepted_us == 1'001u);

  j.end(1, "result", TaskState::failed, 3);
  j.journal.flush();
  BOOST_REQUIRE(j.wait([&] { return j.ended.size() == 1; }));
  row = j.row(1);
  BOOST_TEST((row->state == TaskState::failed));
  BOOST_TEST(text(row->result) == "result");
  BOOST_TEST(row->payload.empty());
  BOOST_TEST(row->attempts == 3u);
  BOOST_TEST(row->ended_us == 2'001u);
  const auto open = j.all_unfinished();
  BOOST_REQUIRE(open.size() == 1u);
  BOOST_TEST(open[0].id == 2u);
}

BOOST_AUTO_TEST_CASE(what_is_entered_again_after_a_death_changes_nothing) {
  const Place place;
  {
    JournalUnderTest j(place.options());
    BOOST_REQUIRE(j.wait_open());
    j.accept(1, "p");
    j.end(1, "first");
    j.accept(2, "q");
  }  // writes what is queued
  JournalUnderTest j(place.options());
  BOOST_REQUIRE(j.wait_open());
  BOOST_TEST(*j.first_id == 1u);  // the same run
  j.accept(1, "p");
  j.end(1, "second", TaskState::cancelled);
  j.accept(2, "other");
  j.journal.flush();
  BOOST_REQUIRE(j.wait([&] { return j.synced.size() == 3; }));
  BOOST_TEST(text(j.row(1)->result) == "first");
  BOOST_TEST((j.row(1)->state == TaskState::done));
  BOOST_TEST(text(j.row(2)->payload) == "q");
  BOOST_TEST(j.journal.figures().ends_repeated == 1u);
}

BOOST_AUTO_TEST_CASE(each_run_gets_ids_above_all_earlier_ones) {
  const Place place;
  {
    JournalUnderTest j(place.options());
    BOOST_REQUIRE(j.wait_open());
    j.accept(70, "p");
  }
  {
    JournalUnderTest j(place.options("second"));
    BOOST_REQUIRE(j.wait_open());
    BOOST_TEST(*j.first_id == 71u);
    BOOST_TEST(j.all_unfinished().size() == 1u);
  }
  JournalUnderTest j(place.options("third"));
  BOOST_REQUIRE(j.wait_open());
  BOOST_TEST(*j.first_id == 72u);
}

BOOST_AUTO_TEST_CASE(a_key_names_one_task) {
  const Place place;
  JournalUnderTest j(place.options());
  BOOST_REQUIRE(j.wait_open());
  j.accept(1, "p", "key", 5);
  j.accept(2, "p", "key", 5);
  j.accept(3, "x", "key", 6);
  j.accept(4, "p", "other key", 5);
  j.accept(1, "p", "key", 5);  // after a death
  j.journal.flush();
  BOOST_REQUIRE(j.wait([&] { return j.synced.size() == 5; }));
  BOOST_TEST((j.synced[0].what == What::accepted));
  BOOST_TEST((j.synced[1].what == What::duplicate));
  BOOST_TEST(j.synced[1].other == 1u);
  BOOST_TEST((j.synced[2].what == What::conflict));
  BOOST_TEST(j.synced[2].other == 1u);
  BOOST_TEST((j.synced[3].what == What::accepted));
  BOOST_TEST((j.synced[4].what == What::accepted));
  BOOST_TEST(!j.row(2).has_value());
}

BOOST_AUTO_TEST_CASE(an_end_is_taken_back_where_that_is_asked_for) {
  const Place place;
  JournalUnderTest j(place.options());
  BOOST_REQUIRE(j.wait_open());
  const auto again = [&] {
    JournalAccept accept;
    accept.id = 1;
    accept.capability = "echo";
    accept.is_again = true;
    j.journal.accept(accept, 1, testing::filled_with("p"));
    j.journal.flush();
  };
  j.accept(1, "p");
  j.end(1, "", TaskState::dead_letter, 3);
  again();
  BOOST_TEST((j.row(1)->state == TaskState::free));
  BOOST_TEST(text(j.row(1)->payload) == "p");
  BOOST_TEST(j.all_unfinished().size() == 1u);
  again();  // after a death
  BOOST_TEST(j.all_unfinished().size() == 1u);
  j.end(1, "r");
  j.journal.flush();
  BOOST_TEST((j.row(1)->state == TaskState::done));
  BOOST_TEST(text(j.row(1)->result) == "r");
  BOOST_TEST(j.journal.figures().ends_repeated == 0u);
}

BOOST_AUTO_TEST_CASE(unfinished_tasks_come_oldest_first_and_in_pieces) {
  const Place place;
  JournalUnderTest j(place.options());
  BOOST_REQUIRE(j.wait_open());
  for (DurableId id = 1; id <= 100; ++id) j.accept(id, std::string(100, 'x'));
  for (DurableId id = 1; id <= 100; id += 2) j.end(id, "r");
  j.journal.flush();
  DurableId after = 0;
  std::size_t seen = 0;
  for (;;) {
    const auto rows = j.all_unfinished(after, 7);
    if (rows.empty()) break;
    BOOST_TEST(rows.size() <= 7u);
    for (const JournalRow& row : rows) {
      BOOST_TEST(row.id > after);
      BOOST_TEST(row.id % 2 == 0u);
      after = row.id;
      ++seen;
    }
  }
  BOOST_TEST(seen == 50u);
  j.unfinished.reset();
  j.journal.ask_unfinished(0, 1'000, 250);
  BOOST_REQUIRE(j.wait([&] { return j.unfinished.has_value(); }));
  BOOST_TEST(j.unfinished->rows.size() == 3u);  // the bytes stop it
}

BOOST_AUTO_TEST_CASE(the_oldest_ended_tasks_make_room) {
  const Place place;
  JournalOptions options = place.options();
  options.ended_kept = 100;
  JournalUnderTest j(options);
  BOOST_REQUIRE(j.wait_open());
  j.accept(1, "never ends");
  for (DurableId id = 2; id <= 1'000; ++id) {
    j.accept(id, "p");
    j.end(id, "r");
    if (id % 50 == 0) {
      j.journal.flush();
      BOOST_REQUIRE(j.wait([&] { return j.ended.contains(id); }));
    }
  }
  BOOST_TEST(j.row(1).has_value());
  BOOST_TEST(!j.row(2).has_value());
  BOOST_TEST(!j.row(900).has_value());
  BOOST_TEST(j.row(901).has_value());
  BOOST_TEST(j.row(1'000).has_value());
}

BOOST_AUTO_TEST_CASE(what_an_unfinished_task_reads_is_kept_until_that_has_ended) {
  const Place place;
  JournalOptions options = place.options();
  options.ended_kept = 10;
  JournalUnderTest j(options);
  BOOST_REQUIRE(j.wait_open());
  j.accept(1, "p");
  j.end(1, "r");
  j.accept(2, "p");
  j.end(2, "r");
  j.accept(3, "reads", "", 0, {2, 1});
  const auto end_many = [&](DurableId from) {
    for (DurableId id = from; id < from + 100; ++id) {
      j.accept(id, "p");
      j.end(id, "r");
      if (id % 10 != 9) continue;
      j.journal.flush();
      BOOST_REQUIRE(j.wait([&] { return j.ended.contains(id); }));
    }
  };
  end_many(100);
  BOOST_TEST(!j.row(100).has_value());
  BOOST_TEST((j.row(3)->inputs == std::vector<DurableId>{2, 1}));
  BOOST_TEST((j.all_unfinished().at(0).inputs == std::vector<DurableId>{2, 1}));
  BOOST_TEST(text(j.row(1)->result) == "r");
  BOOST_TEST(j.row(2).has_value());

  j.accept(3, "reads", "", 0, {2, 1});  // after a death
  j.end(3, "r", TaskState::done, 1, true);
  end_many(200);
  BOOST_TEST(!j.row(1).has_value());
  BOOST_TEST(!j.row(2).has_value());
  BOOST_TEST(!j.row(3).has_value());
}

BOOST_AUTO_TEST_CASE(an_answer_knows_all_that_was_handed_over_before_the_question) {
  const Place place;
  FaultVfs disk("fault");
  {
    JournalOptions options = place.options();
    options.vfs = disk.name();
    JournalUnderTest j(options);
    BOOST_REQUIRE(j.wait_open());
    for (DurableId id = 1; id <= 200; ++id) {
      // A commit is under way, or has just ended, when the next entry and its question come.
      if (id % 3 == 0) disk.set_hung(true);
      j.accept(1'000 + id, "before");
      j.journal.flush();
      const std::string key = "key " + std::to_string(id);
      j.accept(id, "p", key, id);
      j.journal.flush();
      j.journal.ask_key(key);
      j.journal.ask_key(key + " of nobody");
      j.journal.ask(id, id);
      disk.set_hung(false);
      BOOST_REQUIRE(j.wait([&] { return j.found.contains(id); }));
      BOOST_REQUIRE(j.keys.at(key).has_value());
      BOOST_TEST(j.keys.at(key)->id == id);
      BOOST_TEST(j.keys.at(key)->request_hash[0] == id);
      BOOST_TEST(!j.keys.at(key + " of nobody").has_value());
      BOOST_TEST(j.found.at(id).has_value());
    }
  }
}

// ---- what can be in its place ----

BOOST_AUTO_TEST_CASE(another_programs_database_is_refused_and_left_as_it_is) {
  const Place place;
  place.sql("CREATE TABLE customers(name); INSERT INTO customers VALUES('x')");
  const auto size = std::filesystem::file_size(place.path());
  const Error error = place.refusal();
  BOOST_TEST((error.code == ErrorCode::refused));
  BOOST_TEST(error.message.find("another program's database") != std::string::npos);
  BOOST_TEST(std::filesystem::file_size(place.path()) == size);
  BOOST_TEST(!std::filesystem::exists(place.path() + "-wal"));
}

BOOST_AUTO_TEST_CASE(a_file_that_is_no_database_is_refused) {
  const Place place;
  std::ofstream(place.path()) << std::string(5'000, 'x');
  const Error error = place.refusal();
  BOOST_TEST((error.code == ErrorCode::refused));
  BOOST_TEST(error.message.find("is no database") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_newer_versions_journal_is_refused) {
  const Place place;
  BOOST_REQUIRE(JournalStore::open(place.options()).has_value());
  place.sql("PRAGMA user_version=7");
  BOOST_TEST(place.refusal().message.find("another version (its format is 7") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_directory_in_its_place_is_told) {
  const Place place;
  std::filesystem::create_directory(place.path());
  BOOST_TEST(place.refusal().message.find(place.path()) != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_damaged_page_is_found_when_opening) {
  const Place place;
  {
    JournalUnderTest j(place.options());
    BOOST_REQUIRE(j.wait_open());
    for (DurableId id = 1; id <= 2'000; ++id) j.accept(id, std::string(100, 'x'));
  }
  // Closing moved the log into the file.
  std::fstream file(place.path(), std::ios::in | std::ios::out | std::ios::binary);
  const auto size = std::filesystem::file_size(place.path());
  BOOST_REQUIRE(size > 100'000u);
  file.seekp(static_cast<std::streamoff>(size / 4096 / 2 * 4096));
  file << std::string(4'096, '\xee');
  file.close();
  const Error error = place.refusal();
  BOOST_TEST((error.code == ErrorCode::system));
  BOOST_TEST(error.message.find("is damaged") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(one_that_another_process_writes_is_told_and_opened_when_that_one_ends) {
  const Place place;
  sqlite3* other = nullptr;
  BOOST_REQUIRE(JournalStore::open(place.options()).has_value());
  BOOST_REQUIRE(::sqlite3_open(place.path().c_str(), &other) == SQLITE_OK);
  BOOST_REQUIRE(::sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr) == SQLITE_OK);
  JournalUnderTest j(place.options("second"));
  BOOST_REQUIRE(j.wait([&] {
    const auto trouble = j.journal.trouble();
    return trouble && trouble->message.find("in use by another process") != std::string::npos;
  }));
  BOOST_TEST(!j.first_id.has_value());
  BOOST_REQUIRE(::sqlite3_exec(other, "COMMIT", nullptr, nullptr, nullptr) == SQLITE_OK);
  ::sqlite3_close(other);
  BOOST_REQUIRE(j.wait_open());
  BOOST_TEST(!j.journal.trouble().has_value());
}

// ---- the disk ----

void nothing_is_lost_while(const std::function<void(FaultVfs&, bool)>& set,
                           const std::string& expected) {
  const Place place;
  FaultVfs disk("fault");
  {
    JournalOptions options = place.options();
    options.vfs = disk.name();
    JournalUnderTest j(options, {.retry_ms = 5});
    BOOST_REQUIRE(j.wait_open());
    j.accept(1, "before");
    j.journal.flush();
    BOOST_REQUIRE(j.wait([&] { return j.accepted.contains(1); }));

    set(disk, true);
    j.accept(2, "while");
    j.end(1, "result");
    j.journal.flush();
    BOOST_REQUIRE(j.wait([&] { return j.journal.trouble().has_value(); }));
    BOOST_TEST(j.journal.trouble()->message.find(expected) != std::string::npos,
               j.journal.trouble()->message);
    BOOST_TEST(!j.accepted.contains(2));
    BOOST_TEST(!j.ended.contains(1));
    j.end(2, "kept");
    j.journal.flush();

    set(disk, false);
    BOOST_REQUIRE(j.wait([&] { return j.ended.size() == 2; }));
    BOOST_TEST(!j.journal.trouble().has_value());
    BOOST_TEST(text(j.row(1)->result) == "result");
    BOOST_TEST(text(j.row(2)->result) == "kept");
    BOOST_TEST(j.journal.figures().failed_writes > 0u);
    BOOST_TEST(j.journal.figures().ends_repeated == 0u);
  }
}

BOOST_AUTO_TEST_CASE(a_full_disk_is_told_and_what_waits_is_written_when_there_is_room) {
  nothing_is_lost_while([](FaultVfs& disk, bool on) { disk.set_full(on); }, "disk is full");
}

BOOST_AUTO_TEST_CASE(a_disk_that_fails_is_told_and_what_waits_is_written_when_it_works) {
  nothing_is_lost_while([](FaultVfs& disk, bool on) { disk.set_broken(on); }, "disk I/O error");
}

BOOST_AUTO_TEST_CASE(a_hung_disk_fills_the_queue_and_holds_up_nobody) {
  const Place place;
  FaultVfs disk("fault");
  {
    JournalOptions options = place.options();
    options.vfs = disk.name();
    JournalUnderTest j(options, {.entries_max = 100});
    BOOST_REQUIRE(j.wait_open());
    disk.set_hung(true);
    const std::uint64_t start_ns = now_ns();
    DurableId id = 0;
    while (j.journal.has_room(10)) {
      j.accept(++id, "0123456789");
      j.journal.flush();
      j.take();
    }
    BOOST_TEST(id == 100u);
    BOOST_TEST(j.accepted.empty());
    j.end(1, "ends are not refused");
    j.journal.flush();
    BOOST_TEST(now_ns() - start_ns < 5 * ns_per_s);
    disk.set_hung(false);
    BOOST_REQUIRE(j.wait([&] { return j.accepted.size() == 100 && j.ended.size() == 1; }));
    BOOST_TEST(j.journal.has_room(10));
  }
}

BOOST_AUTO_TEST_CASE(bytes_waiting_are_bounded_but_one_large_payload_always_fits) {
  const Place place;
  FaultVfs disk("fault");
  {
    JournalOptions options = place.options();
    options.vfs = disk.name();
    JournalUnderTest j(options, {.bytes_max = 1'000});
    BOOST_REQUIRE(j.wait_open());
    BOOST_TEST(j.journal.has_room(50'000));
    disk.set_hung(true);
    j.accept(1, std::string(50'000, 'x'));
    j.journal.flush();
    BOOST_TEST(!j.journal.has_room(1));
    disk.set_hung(false);
    BOOST_REQUIRE(j.wait([&] { return j.accepted.contains(1); }));
    BOOST_TEST(j.journal.has_room(1'000));
    BOOST_TEST(j.row(1)->payload.size() == 50'000u);
  }
}

BOOST_AUTO_TEST_CASE(what_gathers_while_one_commit_is_under_way_shares_the_next) {
  const Place place;
  FaultVfs disk("fault");
  {
    JournalOptions options = place.options();
    options.vfs = disk.name();
    JournalUnderTest j(options);
    BOOST_REQUIRE(j.wait_open());
    disk.set_hung(true);
    j.accept(1, "p");
    j.journal.flush();
    for (DurableId id = 2; id <= 1'000; ++id) {
      j.accept(id, "p");
      j.end(id, "r");
      j.journal.flush();
    }
    disk.set_hung(false);
    BOOST_REQUIRE(j.wait([&] { return j.ended.size() == 999; }));
    BOOST_TEST(j.journal.figures().commits <= 4u);
  }
}

}  // namespace
}  // namespace micro_swarm

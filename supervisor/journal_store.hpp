#pragma once

// The journal's file: SQLite in WAL mode, one table of tasks, one of runs. Blocks as long as the
// disk does: only the journal's thread is in here. Never carried across a fork.
//
//   tasks   one row a task: entered when it is accepted, changed once, when it has ended. Then its
//           payload goes and its result comes. `state` is 'accepted' until then.
//   inputs  what unfinished tasks depend on. A task that is named there is not deleted.
//   runs    one row a life of the swarm, with the first of the ids it gives.
//
// A write() that returned is on the disk (synchronous=FULL: the log is synced in each commit). A
// process that dies or a machine that loses power before leaves none of it; SQLite rolls back what
// is half there when the file is next opened.

#include <memory>

#include "supervisor/journal_data.hpp"

struct sqlite3;
struct sqlite3_stmt;

namespace micro_swarm {

class JournalStore {
 public:
  /// Opens or makes it, and enters the run. Errors, each naming the file and what to do:
  /// ErrorCode::system (cannot be opened, damaged, no space), refused (another program's file, a
  /// newer version's, in use).
  static Result<std::unique_ptr<JournalStore>> open(const JournalOptions& options);
  ~JournalStore();
  JournalStore(const JournalStore&) = delete;
  JournalStore& operator=(const JournalStore&) = delete;

  /// The first id of this run: every id of earlier runs is below it.
  DurableId first_id() const noexcept { return first_id_; }

  /// All entries in one transaction, synced when this returns; `synced` then has one for each, in
  /// order. On error none of it is there, and the same call may be made again.
  /// An entry that is there already changes nothing: a task is accepted once and ends once.
  Result<void> write(const JournalBatch& batch, std::vector<JournalSynced>& synced);

  /// Unfinished tasks with ids above `after`, oldest first; stops behind `rows_max` rows or when
  /// their payloads reach `bytes_max`. An empty answer: no more.
  Result<std::vector<JournalRow>> unfinished(DurableId after, std::size_t rows_max,
                                             std::uint64_t bytes_max);
  Result<std::optional<JournalRow>> find(DurableId id);
  Result<std::optional<JournalKey>> find_key(std::string_view key);

  /// Between commits: moves the log into the database. Failing is no harm.
  void tidy();
  bool wants_tidying() const noexcept;  ///< it has grown: do it when nothing else is to be done
  bool must_be_tidied() const noexcept;

  /// Ends that found their task ended already; 0 unless something is entered again after a death.
  std::uint64_t ends_repeated() const noexcept { return ends_repeated_; }

 private:
  explicit JournalStore(const JournalOptions& options) : options_(options) {}
  Result<void> open_file();
  Result<void> check_identity();
  Result<void> make_tables();
  Result<void> check_pages();
  Result<void> enter_run();
  Result<void> prepare();
  Result<void> write_entries(const JournalBatch& batch, std::vector<JournalSynced>& synced);
  Result<JournalSynced> write_accept(const JournalBatch& batch, const JournalBatch::Entry& entry);
  Result<JournalSynced> write_end(const JournalBatch& batch, const JournalBatch::Entry& entry);
  Result<void> reopen(const JournalBatch& batch, const JournalBatch::Entry& entry);
  Result<void> write_inputs(const JournalBatch& batch, const JournalBatch::Entry& entry);
  Result<void> read_inputs(JournalRow& row);
  Result<void> delete_oldest(std::size_t entered);
  Result<void> run(const char* sql);
  Result<std::int64_t> number(const char* sql);
  Result<void> step(sqlite3_stmt* statement);
  void roll_back();
  Error error(std::string_view doing) const;

  struct Close {
    void operator()(sqlite3* database) const noexcept;
  };
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const noexcept;
  };
  using Statement = std::unique_ptr<sqlite3_stmt, Finalize>;
  Result<Statement> compile(const char* sql);

  JournalOptions options_;
  std::unique_ptr<sqlite3, Close> database_;
  Statement begin_, commit_, accept_, end_, by_key_, delete_oldest_, unfinished_, find_;
  Statement add_input_, drop_inputs_, inputs_, reopen_;
  DurableId first_id_ = 0;
  std::uint64_t started_us_ = 0;
  std::uint64_t ended_ = 0;  ///< rows that are ended
  std::uint64_t ends_repeated_ = 0;
  int log_pages_ = 0;
};

/// Microseconds since 1970.
std::uint64_t wall_clock_us() noexcept;

}  // namespace micro_swarm

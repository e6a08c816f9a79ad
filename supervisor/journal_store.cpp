#include "supervisor/journal_store.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <ctime>

#include "ipc/task_names.hpp"

/// A test compiles this file with a weaker one and must find out.
#ifndef MS_JOURNAL_SYNCHRONOUS
#define MS_JOURNAL_SYNCHRONOUS "FULL"
#endif

namespace micro_swarm {

namespace {

constexpr int application_id = 0x4d53574a;  // "MSWJ"
constexpr int schema_version = 1;
constexpr int busy_timeout_ms = 2'000;
constexpr int log_pages_when_idle = 256;
constexpr int log_pages_max = 8'192;

constexpr const char* settings = "PRAGMA synchronous=" MS_JOURNAL_SYNCHRONOUS
                                 ";"
                                 "PRAGMA wal_autocheckpoint=0;"
                                 "PRAGMA cache_size=-16384;"
                                 "PRAGMA temp_store=MEMORY;"
                                 "PRAGMA secure_delete=OFF;"
                                 "PRAGMA cell_size_check=ON;";

constexpr const char* tables =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE runs("
    "  run INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, first_id INTEGER NOT NULL,"
    "  started_us INTEGER NOT NULL);"
    "CREATE TABLE tasks("
    "  id INTEGER PRIMARY KEY, state TEXT NOT NULL, capability TEXT NOT NULL,"
    "  priority INTEGER NOT NULL, timeout_ms INTEGER NOT NULL, accepted_us INTEGER NOT NULL,"
    "  ended_us INTEGER, attempts INTEGER, key BLOB, request_hash BLOB, options BLOB,"
    "  payload BLOB, result BLOB);"
    "CREATE UNIQUE INDEX tasks_by_key ON tasks(key) WHERE key IS NOT NULL;"
    "CREATE INDEX tasks_unfinished ON tasks(id) WHERE ended_us IS NULL;"
    "CREATE TABLE inputs("
    "  task INTEGER NOT NULL, position INTEGER NOT NULL, input INTEGER NOT NULL,"
    "  PRIMARY KEY(task, position)) WITHOUT ROWID;"
    "CREATE INDEX inputs_by_input ON inputs(input);"
    "PRAGMA application_id=1297307466;"
    "PRAGMA user_version=1;"
    "COMMIT;";
static_assert(application_id == 1297307466 && schema_version == 1);

constexpr const char* row_columns =
    "id, key, capability, priority, timeout_ms, options, payload, state, attempts, result,"
    " accepted_us, ended_us";

/// Statements are used again: whatever happens they are ready for it.
class Reset {
 public:
  explicit Reset(sqlite3_stmt* statement) : statement_(statement) {}
  ~Reset() { ::sqlite3_reset(statement_); }
  Reset(const Reset&) = delete;
  Reset& operator=(const Reset&) = delete;

 private:
  sqlite3_stmt* statement_;
};

void bind(sqlite3_stmt* statement, int at, std::uint64_t value) {
  ::sqlite3_bind_int64(statement, at, static_cast<sqlite3_int64>(value));
}
/// The bytes stay where they are until the statement was stepped.
void bind_bytes(sqlite3_stmt* statement, int at, const std::byte* data, std::uint64_t size) {
  if (size == 0)
    ::sqlite3_bind_zeroblob(statement, at, 0);
  else
    ::sqlite3_bind_blob64(statement, at, data, size, SQLITE_STATIC);
}

std::vector<std::byte> bytes_of(sqlite3_stmt* statement, int column) {
  const auto* data = static_cast<const std::byte*>(::sqlite3_column_blob(statement, column));
  const auto size = static_cast<std::size_t>(::sqlite3_column_bytes(statement, column));
  return data == nullptr ? std::vector<std::byte>() : std::vector<std::byte>(data, data + size);
}
std::string text_of(sqlite3_stmt* statement, int column) {
  const auto bytes = bytes_of(statement, column);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TaskState state_of(std::string_view text) {
  for (unsigned s = static_cast<unsigned>(TaskState::done); s < task_states; ++s)
    if (text == name_of(static_cast<TaskState>(s))) return static_cast<TaskState>(s);
  return TaskState::free;
}

JournalRow row_of(sqlite3_stmt* s) {
  JournalRow row;
  row.id = static_cast<DurableId>(::sqlite3_column_int64(s, 0));
  row.key = text_of(s, 1);
  row.capability = text_of(s, 2);
  row.priority = static_cast<Priority>(::sqlite3_column_int(s, 3));
  row.timeout_ms = static_cast<std::uint32_t>(::sqlite3_column_int64(s, 4));
  row.options = bytes_of(s, 5);
  row.payload = bytes_of(s, 6);
  row.state = state_of(text_of(s, 7));
  row.attempts = static_cast<std::uint32_t>(::sqlite3_column_int64(s, 8));
  row.result = bytes_of(s, 9);
  row.accepted_us = static_cast<std::uint64_t>(::sqlite3_column_int64(s, 10));
  row.ended_us = static_cast<std::uint64_t>(::sqlite3_column_int64(s, 11));
  return row;
}

}  // namespace

std::uint64_t wall_clock_us() noexcept {
  timespec t{};
  ::clock_gettime(CLOCK_REALTIME, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000u +
         static_cast<std::uint64_t>(t.tv_nsec) / 1'000u;
}

void JournalStore::Close::operator()(sqlite3* database) const noexcept {
  ::sqlite3_close_v2(database);
}
void JournalStore::Finalize::operator()(sqlite3_stmt* statement) const noexcept {
  ::sqlite3_finalize(statement);
}

JournalStore::~JournalStore() = default;

// ---- opening ----

Result<std::unique_ptr<JournalStore>> JournalStore::open(const JournalOptions& options) {
  std::unique_ptr<JournalStore> store(new JournalStore(options));
  if (auto done = store->open_file(); !done) return done.error();
  if (auto done = store->check_identity(); !done) return done.error();
  if (auto done = store->check_pages(); !done) return done.error();
  if (auto done = store->prepare(); !done) return done.error();
  if (auto done = store->enter_run(); !done) return done.error();
  return store;
}

Result<void> JournalStore::open_file() {
  sqlite3* database = nullptr;
  // No mutex: one thread. No shared cache, no URI: the path is a path.
  const int code = ::sqlite3_open_v2(
      options_.path.c_str(), &database,
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
      options_.vfs.empty() ? nullptr : options_.vfs.c_str());
  database_.reset(database);
  if (code != SQLITE_OK) return error("cannot be opened");
  ::sqlite3_busy_timeout(database, busy_timeout_ms);
  return {};
}

Result<void> JournalStore::check_identity() {
  const auto id = number("PRAGMA application_id");
  if (!id) return id.error();
  const auto version = number("PRAGMA user_version");
  if (!version) return version.error();
  const auto objects = number("SELECT count(*) FROM sqlite_schema");
  if (!objects) return objects.error();
  const bool is_new = *id == 0 && *version == 0 && *objects == 0;
  if (!is_new && *id != application_id)
    return Error{ErrorCode::refused,
                 options_.path + " is another program's database; name another state directory", 0};
  if (!is_new && *version != schema_version)
    return Error{ErrorCode::refused,
                 options_.path + " was written by another version (its format is " +
                     std::to_string(*version) + ", this one's is " +
                     std::to_string(schema_version) +
                     "); use that version, or name another "
                     "state directory",
                 0};
  // Before the first table: it stays so in the file.
  auto mode = compile("PRAGMA journal_mode=WAL");
  if (!mode) return mode.error();
  if (::sqlite3_step(mode->get()) != SQLITE_ROW) return error("cannot be used");
  if (text_of(mode->get(), 0) != "wal")
    return Error{ErrorCode::system,
                 options_.path +
                     ": this file system cannot hold a write-ahead log; name a state "
                     "directory on a local disk",
                 0};
  mode->reset();
  if (auto done = run(settings); !done) return done.error();
  const auto count_pages = [](void* pages, sqlite3*, const char*, int in_log) {
    *static_cast<int*>(pages) = in_log;
    return SQLITE_OK;
  };
  ::sqlite3_wal_hook(database_.get(), count_pages, &log_pages_);
  return is_new ? make_tables() : Result<void>();
}

Result<void> JournalStore::make_tables() {
  auto done = run(tables);
  if (!done) roll_back();
  return done;
}

Result<void> JournalStore::check_pages() {
  if (!options_.check_all) return {};
  auto check = compile("PRAGMA quick_check(1)");
  if (!check) return check.error();
  if (::sqlite3_step(check->get()) != SQLITE_ROW) return error("cannot be read");
  const std::string said = text_of(check->get(), 0);
  if (said == "ok") return {};
  return Error{ErrorCode::system,
               options_.path + " is damaged (" + said +
                   "); save what `sqlite3 journal.db .recover` gives, then move it away",
               0};
}

Result<void> JournalStore::enter_run() {
  auto known = compile("SELECT first_id, started_us FROM runs WHERE name=?");
  if (!known) return known.error();
  ::sqlite3_bind_text(known->get(), 1, options_.run.data(), static_cast<int>(options_.run.size()),
                      SQLITE_STATIC);
  const int code = ::sqlite3_step(known->get());
  if (code == SQLITE_ROW) {
    first_id_ = static_cast<DurableId>(::sqlite3_column_int64(known->get(), 0));
    started_us_ = static_cast<std::uint64_t>(::sqlite3_column_int64(known->get(), 1));
  } else if (code != SQLITE_DONE) {
    return error("cannot be read");
  }
  known->reset();
  const auto rows = number("SELECT count(*) FROM tasks");
  if (!rows) return rows.error();
  const auto unfinished = number("SELECT count(*) FROM tasks WHERE ended_us IS NULL");
  if (!unfinished) return unfinished.error();
  ended_ = static_cast<std::uint64_t>(*rows - *unfinished);
  if (first_id_ != 0) return {};

  // Above every id that was ever given, the deleted ones too: those of a run are above the start
  // of the run.
  const auto highest = number(
      "SELECT max(coalesce((SELECT max(id) FROM tasks), 0),"
      " coalesce((SELECT max(first_id) FROM runs), 0))");
  if (!highest) return highest.error();
  first_id_ = static_cast<DurableId>(*highest) + 1;
  started_us_ = wall_clock_us();
  auto enter = compile("INSERT INTO runs(name, first_id, started_us) VALUES(?,?,?)");
  if (!enter) return enter.error();
  ::sqlite3_bind_text(enter->get(), 1, options_.run.data(), static_cast<int>(options_.run.size()),
                      SQLITE_STATIC);
  bind(enter->get(), 2, first_id_);
  bind(enter->get(), 3, started_us_);
  return step(enter->get());
}

Result<void> JournalStore::prepare() {
  const auto into = [&](Statement& statement, const std::string& sql) -> Result<void> {
    auto compiled = compile(sql.c_str());
    if (!compiled) return compiled.error();
    statement = std::move(*compiled);
    return {};
  };
  const std::string columns = row_columns;
  for (auto [statement, sql] : std::initializer_list<std::pair<Statement*, std::string>>{
           {&begin_, "BEGIN IMMEDIATE"},
           {&commit_, "COMMIT"},
           {&accept_,
            "INSERT INTO tasks(id, state, capability, priority, timeout_ms, accepted_us, key,"
            " request_hash, options, payload) VALUES(?,'accepted',?,?,?,?,?,?,?,?)"
            " ON CONFLICT DO NOTHING"},
           {&end_,
            "UPDATE tasks SET state=?2, attempts=?3, ended_us=?4, result=?5, payload=NULL"
            " WHERE id=?1 AND ended_us IS NULL"},
           {&by_key_, "SELECT id, request_hash FROM tasks WHERE key=?"},
           {&add_input_, "INSERT INTO inputs(task, position, input) VALUES(?,?,?)"},
           {&drop_inputs_, "DELETE FROM inputs WHERE task=?"},
           {&inputs_, "SELECT input FROM inputs WHERE task=? ORDER BY position"},
           {&reopen_,
            "UPDATE tasks SET state='accepted', attempts=NULL, ended_us=NULL, result=NULL,"
            " payload=?2 WHERE id=?1 AND ended_us IS NOT NULL"},
           // Ids are given in order, so the lowest ended ones are the oldest; but for what an
           // earlier run left and this one has ended.
           {&delete_oldest_,
            "DELETE FROM tasks WHERE id IN (SELECT id FROM tasks WHERE ended_us IS NOT NULL AND"
            " (id >= ?2 OR ended_us < ?3) AND"
            " NOT EXISTS(SELECT 1 FROM inputs WHERE input=tasks.id) ORDER BY id LIMIT ?1)"},
           {&unfinished_, "SELECT " + columns +
                              " FROM tasks INDEXED BY tasks_unfinished WHERE ended_us IS NULL AND"
                              " id > ? ORDER BY id LIMIT ?"},
           {&find_, "SELECT " + columns + " FROM tasks WHERE id=?"}})
    if (auto done = into(*statement, sql); !done)
      return with_context(done.error(), "the journal's tables are not as they should be");
  return {};
}

// ---- writing ----

Result<void> JournalStore::write(const JournalBatch& batch, std::vector<JournalSynced>& synced) {
  const std::uint64_t ended_before = ended_;
  synced.clear();
  synced.reserve(batch.entries.size());
  auto done = step(begin_.get());
  if (done) done = write_entries(batch, synced);
  if (done) done = delete_oldest(batch.entries.size());
  if (done) done = step(commit_.get());
  if (!done) {
    roll_back();
    ended_ = ended_before;
    synced.clear();
  }
  return done;
}

Result<void> JournalStore::write_entries(const JournalBatch& batch,
                                         std::vector<JournalSynced>& synced) {
  for (const JournalBatch::Entry& entry : batch.entries) {
    auto written =
        entry.state == TaskState::free ? write_accept(batch, entry) : write_end(batch, entry);
    if (!written) return written.error();
    synced.push_back(*written);
  }
  return {};
}

Result<JournalSynced> JournalStore::write_accept(const JournalBatch& batch,
                                                 const JournalBatch::Entry& entry) {
  sqlite3_stmt* s = accept_.get();
  const Reset reset(s);
  bind(s, 1, entry.id);
  ::sqlite3_bind_text(s, 2, reinterpret_cast<const char*>(batch.at(entry.text)),
                      static_cast<int>(entry.text.size), SQLITE_STATIC);
  bind(s, 3, static_cast<std::uint64_t>(entry.priority));
  bind(s, 4, entry.timeout_ms);
  bind(s, 5, entry.at_us);
  if (entry.key.size == 0) {
    ::sqlite3_bind_null(s, 6);
    ::sqlite3_bind_null(s, 7);
  } else {
    bind_bytes(s, 6, batch.at(entry.key), entry.key.size);
    ::sqlite3_bind_blob(s, 7, entry.request_hash, sizeof entry.request_hash, SQLITE_STATIC);
  }
  if (entry.options.size == 0)
    ::sqlite3_bind_null(s, 8);
  else
    bind_bytes(s, 8, batch.at(entry.options), entry.options.size);
  bind_bytes(s, 9, batch.at(entry.blob), entry.blob.size);
  if (auto done = step(s); !done) return done.error();
  JournalSynced synced{JournalSynced::What::accepted, entry.task, entry.id, 0};
  if (::sqlite3_changes(database_.get()) != 0) {
    if (auto done = write_inputs(batch, entry); !done) return done.error();
    return synced;
  }
  if (entry.is_again) {
    if (auto done = reopen(batch, entry); !done) return done.error();
    return synced;
  }
  if (entry.key.size == 0) return synced;

  // Entered before: by a supervisor that died since, or as another task with the same key.
  const auto known = find_key({reinterpret_cast<const char*>(batch.at(entry.key)), entry.key.size});
  if (!known) return known.error();
  if (!*known || (*known)->id == entry.id) return synced;
  synced.other = (*known)->id;
  const bool same =
      std::memcmp((*known)->request_hash, entry.request_hash, sizeof entry.request_hash) == 0;
  synced.what = same ? JournalSynced::What::duplicate : JournalSynced::What::conflict;
  return synced;
}

Result<void> JournalStore::reopen(const JournalBatch& batch, const JournalBatch::Entry& entry) {
  const Reset reset(reopen_.get());
  bind(reopen_.get(), 1, entry.id);
  bind_bytes(reopen_.get(), 2, batch.at(entry.blob), entry.blob.size);
  if (auto done = step(reopen_.get()); !done) return done;
  if (::sqlite3_changes(database_.get()) == 0) return {};
  --ended_;
  return write_inputs(batch, entry);
}

Result<void> JournalStore::write_inputs(const JournalBatch& batch,
                                        const JournalBatch::Entry& entry) {
  for (std::uint64_t at = 0; at * sizeof(DurableId) < entry.inputs.size; ++at) {
    DurableId input = 0;
    std::memcpy(&input, batch.at(entry.inputs) + at * sizeof input, sizeof input);
    sqlite3_stmt* s = add_input_.get();
    const Reset reset(s);
    bind(s, 1, entry.id);
    bind(s, 2, at);
    bind(s, 3, input);
    if (auto done = step(s); !done) return done;
  }
  return {};
}

Result<JournalSynced> JournalStore::write_end(const JournalBatch& batch,
                                              const JournalBatch::Entry& entry) {
  sqlite3_stmt* s = end_.get();
  const Reset reset(s);
  const std::string_view state = name_of(entry.state);
  bind(s, 1, entry.id);
  ::sqlite3_bind_text(s, 2, state.data(), static_cast<int>(state.size()), SQLITE_STATIC);
  bind(s, 3, entry.attempts);
  bind(s, 4, entry.at_us);
  bind_bytes(s, 5, batch.at(entry.blob), entry.blob.size);
  if (auto done = step(s); !done) return done.error();
  if (::sqlite3_changes(database_.get()) != 0)
    ++ended_;
  else
    ++ends_repeated_;
  if (entry.has_inputs) {
    const Reset reset_inputs(drop_inputs_.get());
    bind(drop_inputs_.get(), 1, entry.id);
    if (auto done = step(drop_inputs_.get()); !done) return done.error();
  }
  return JournalSynced{JournalSynced::What::ended, entry.task, entry.id, 0};
}

Result<void> JournalStore::delete_oldest(std::size_t entered) {
  if (ended_ <= options_.ended_kept) return {};
  // Twice what came in: the surplus shrinks, and no commit takes much longer than others.
  const std::uint64_t most = 2 * static_cast<std::uint64_t>(entered) + 16;
  const Reset reset(delete_oldest_.get());
  bind(delete_oldest_.get(), 1, std::min(most, ended_ - options_.ended_kept));
  bind(delete_oldest_.get(), 2, first_id_);
  bind(delete_oldest_.get(), 3, started_us_);
  if (auto done = step(delete_oldest_.get()); !done) return done.error();
  ended_ -= static_cast<std::uint64_t>(::sqlite3_changes(database_.get()));
  return {};
}

void JournalStore::roll_back() {
  ::sqlite3_reset(commit_.get());
  if (::sqlite3_get_autocommit(database_.get()) == 0)
    ::sqlite3_exec(database_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
}

bool JournalStore::wants_tidying() const noexcept { return log_pages_ >= log_pages_when_idle; }

bool JournalStore::must_be_tidied() const noexcept { return log_pages_ >= log_pages_max; }

void JournalStore::tidy() {
  // Passive: a reader that looks on holds up nobody. What it leaves is tried at the next commit.
  ::sqlite3_wal_checkpoint_v2(database_.get(), nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr,
                              nullptr);
  log_pages_ = 0;
}

// ---- reading ----

Result<std::vector<JournalRow>> JournalStore::unfinished(DurableId after, std::size_t rows_max,
                                                         std::uint64_t bytes_max) {
  sqlite3_stmt* s = unfinished_.get();
  const Reset reset(s);
  bind(s, 1, after);
  bind(s, 2, rows_max);
  std::vector<JournalRow> rows;
  std::uint64_t bytes = 0;
  while (rows.size() < rows_max && bytes < bytes_max) {
    const int code = ::sqlite3_step(s);
    if (code == SQLITE_DONE) break;
    if (code != SQLITE_ROW) return error("cannot be read");
    rows.push_back(row_of(s));
    if (auto done = read_inputs(rows.back()); !done) return done.error();
    bytes += rows.back().payload.size();
  }
  return rows;
}

Result<std::optional<JournalRow>> JournalStore::find(DurableId id) {
  const Reset reset(find_.get());
  bind(find_.get(), 1, id);
  const int code = ::sqlite3_step(find_.get());
  if (code == SQLITE_DONE) return std::optional<JournalRow>();
  if (code != SQLITE_ROW) return error("cannot be read");
  JournalRow row = row_of(find_.get());
  if (auto done = read_inputs(row); !done) return done.error();
  return std::optional(std::move(row));
}

Result<std::optional<JournalKey>> JournalStore::find_key(std::string_view key) {
  sqlite3_stmt* s = by_key_.get();
  const Reset reset(s);
  bind_bytes(s, 1, reinterpret_cast<const std::byte*>(key.data()), key.size());
  const int code = ::sqlite3_step(s);
  if (code == SQLITE_DONE) return std::optional<JournalKey>();
  if (code != SQLITE_ROW) return error("cannot be read");
  JournalKey known;
  known.id = static_cast<DurableId>(::sqlite3_column_int64(s, 0));
  const auto hash = bytes_of(s, 1);
  std::memcpy(known.request_hash, hash.data(), std::min(hash.size(), sizeof known.request_hash));
  return std::optional(known);
}

Result<void> JournalStore::read_inputs(JournalRow& row) {
  sqlite3_stmt* s = inputs_.get();
  const Reset reset(s);
  bind(s, 1, row.id);
  for (;;) {
    const int code = ::sqlite3_step(s);
    if (code == SQLITE_DONE) return {};
    if (code != SQLITE_ROW) return error("cannot be read");
    row.inputs.push_back(static_cast<DurableId>(::sqlite3_column_int64(s, 0)));
  }
}

// ---- SQLite ----

Result<JournalStore::Statement> JournalStore::compile(const char* sql) {
  sqlite3_stmt* statement = nullptr;
  if (::sqlite3_prepare_v3(database_.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &statement,
                           nullptr) != SQLITE_OK)
    return error("cannot be read");
  return Statement(statement);
}

Result<void> JournalStore::step(sqlite3_stmt* statement) {
  const int code = ::sqlite3_step(statement);
  // The error's text first: the reset gives it again, but rolls nothing back.
  if (code != SQLITE_DONE && code != SQLITE_ROW) {
    Error what = error("cannot be written");
    ::sqlite3_reset(statement);
    return what;
  }
  ::sqlite3_reset(statement);
  return {};
}

Result<void> JournalStore::run(const char* sql) {
  if (::sqlite3_exec(database_.get(), sql, nullptr, nullptr, nullptr) != SQLITE_OK)
    return error("cannot be written");
  return {};
}

Result<std::int64_t> JournalStore::number(const char* sql) {
  auto statement = compile(sql);
  if (!statement) return statement.error();
  if (::sqlite3_step(statement->get()) != SQLITE_ROW) return error("cannot be read");
  return ::sqlite3_column_int64(statement->get(), 0);
}

Error JournalStore::error(std::string_view doing) const {
  sqlite3* database = database_.get();
  const std::string path = options_.path;
  const int code = database == nullptr ? SQLITE_NOMEM : ::sqlite3_extended_errcode(database);
  const int sys_errno = database == nullptr ? 0 : ::sqlite3_system_errno(database);
  switch (code & 0xff) {
    case SQLITE_NOTADB:
      return {ErrorCode::refused,
              path + " is no database; move it away, or name another state directory", sys_errno};
    case SQLITE_CORRUPT:
      return {ErrorCode::system,
              path +
                  " is damaged; save what `sqlite3 journal.db .recover` gives, then move it "
                  "away",
              sys_errno};
    case SQLITE_FULL: return {ErrorCode::system, path + ": the disk is full; make room", sys_errno};
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return {ErrorCode::refused,
              path + " is in use by another process; end that one (`fuser " + path + "` names it)",
              sys_errno};
    default: break;
  }
  std::string text = path + " " + std::string(doing);
  if (database != nullptr) text += std::string(": ") + ::sqlite3_errmsg(database);
  if (sys_errno != 0) text += " (" + std::string(std::strerror(sys_errno)) + ")";
  return {ErrorCode::system, text, sys_errno};
}

}  // namespace micro_swarm

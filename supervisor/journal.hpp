#pragma once

// The journal: what the swarm has accepted and how it ended, on disk. The loop hands entries in and
// goes on; a thread of the journal's own writes all that has gathered in one transaction (group
// commit), syncs it, and tells the loop through an eventfd. So a slow disk makes the queue longer
// and a hung one fills it, but the loop never waits for either.
//
//   loop                                      journal's thread
//   accept(), end() -> staged_ -flush()-> inbox_ -> store.write() [synced] -> news_ -> take()
//
// Crash: what is staged, queued or in the middle of a commit is gone with the process. Nobody was
// told of it, and the next supervisor enters it again from the task records, or, when those are
// gone too, nobody has ever heard of it. tests/journal_power_loss_test.cpp.

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "common/posix.hpp"
#include "supervisor/journal_data.hpp"

namespace micro_swarm {

class JournalStore;

/// What the journal's thread has to tell, in the order it came about.
struct JournalNews {
  struct Opened {
    DurableId first_id = 0;  ///< ids of this run start here
  };
  struct Unfinished {
    std::vector<JournalRow> rows;  ///< empty: there are no more
  };
  struct Found {
    std::uint64_t question = 0;
    std::optional<JournalRow> row;
  };
  struct Key {
    std::string key;
    std::optional<JournalKey> known;
  };
  std::optional<Opened> opened;
  std::vector<JournalSynced> synced;
  std::optional<Unfinished> unfinished;
  std::vector<Found> found;
  std::vector<Key> keys;
};

/// One thread uses it: the loop's. Opens its file in the background.
class Journal {
 public:
  struct Limits {
    std::size_t entries_max = 65'536;       ///< waiting, before acceptances are refused
    std::uint64_t bytes_max = 64ull << 20;  ///< of payloads and results waiting
    std::uint32_t retry_ms = 100;           ///< after a failed write or open
    /// An acceptance alone is held for so long, in case that its end comes and shares its sync; at
    /// most half as long as a sync takes here.
    std::uint32_t linger_us = 500;
  };

  explicit Journal(JournalOptions options) : Journal(std::move(options), Limits()) {}
  Journal(JournalOptions options, Limits limits);
  /// Writes what is queued, unless the disk refuses, and ends the thread. Waits for the disk.
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  /// Readable when take() has something.
  int event_fd() const noexcept { return event_.get(); }
  /// Empty when there is nothing. Clears the event.
  JournalNews take();

  /// Why it cannot write now: not open yet, disk full, damaged. nullopt: it can, as far as known.
  std::optional<Error> trouble() const;
  bool is_open() const;

  /// There is room for one more acceptance of this size.
  bool has_room(std::uint64_t blob_bytes) const noexcept;
  /// There is room for one more result of this size.
  bool has_room_for(std::uint64_t blob_bytes) const noexcept;
  /// Copies everything. `fill` is given the memory for `blob_bytes` of payload, now.
  using Fill = std::function<void(std::span<std::byte>)>;
  void accept(const JournalAccept& accept, std::uint64_t blob_bytes, const Fill& fill);
  /// The same for the result. Never refused for want of entries; the caller looks at has_room_for()
  /// where the result is large and keeps it in its region meanwhile.
  void end(const JournalEnd& end, std::uint64_t blob_bytes, const Fill& fill);
  /// Hands over what was staged: once a round, not once an entry.
  void flush();
  bool has_staged() const noexcept { return !staged_.empty(); }

  // Questions. Their answers are news; each knows all that was flushed before it was asked.
  /// Unfinished tasks above `after`. One question at a time.
  void ask_unfinished(DurableId after, std::size_t rows_max, std::uint64_t bytes_max);
  /// One task; the answer names `question`.
  void ask(DurableId id, std::uint64_t question);
  /// Whose a key is; the answer names it.
  void ask_key(std::string_view key);

  struct Figures {
    std::uint64_t commits = 0;
    std::uint64_t entries = 0;
    std::uint64_t entries_in_a_commit_max = 0;
    std::uint64_t ends_repeated = 0;
    std::uint64_t failed_writes = 0;
    std::uint64_t last_commit_us = 0;
    std::uint64_t waiting = 0;
  };
  Figures figures() const;

 private:
  struct Questions {
    struct Range {
      DurableId after;
      std::size_t rows_max;
      std::uint64_t bytes_max;
    };
    std::optional<Range> unfinished;
    std::vector<std::pair<DurableId, std::uint64_t>> single;
    std::vector<std::string> keys;
    bool empty() const { return !unfinished && single.empty() && keys.empty(); }
  };

  void run();
  bool open(std::unique_lock<std::mutex>& lock, std::unique_ptr<JournalStore>& store);
  bool commit(std::unique_lock<std::mutex>& lock, JournalStore& store);
  void answer(std::unique_lock<std::mutex>& lock, JournalStore& store, Questions questions);
  void linger(std::unique_lock<std::mutex>& lock);
  bool wait_before_retry(std::unique_lock<std::mutex>& lock, const Error& error);
  JournalBatch::Entry& stage(std::uint64_t blob_bytes, const Fill& fill);
  void tell();

  const JournalOptions options_;
  const Limits limits_;
  UniqueFd event_;
  JournalBatch staged_;                // the loop's
  std::size_t in_flight_entries_ = 0;  // the loop's: staged, queued or being written
  std::uint64_t in_flight_bytes_ = 0;

  mutable std::mutex mutex_;  // what follows
  std::condition_variable wake_;
  JournalBatch inbox_;
  Questions questions_;
  JournalNews news_;
  std::uint64_t done_bytes_ = 0;  // for take()
  std::size_t done_entries_ = 0;
  std::optional<Error> trouble_;
  bool open_ = false;
  bool stop_ = false;
  Figures figures_;

  JournalBatch writing_;  // the journal's thread's
  std::vector<JournalSynced> written_;
  std::uint64_t commit_average_us_ = 0;
  std::thread thread_;  // last: it uses the others
};

}  // namespace micro_swarm

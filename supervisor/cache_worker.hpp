#pragma once

// What takes time with entries of the cache: copying, compressing, bringing back, files. The loop
// hands jobs in and goes on; a thread of its own does them one by one, in order, and tells the loop
// through an eventfd. Pool memory it is given stays the job's until its answer is taken: whoever
// hands a job in keeps a right to each region in it out.
//
// Files lie in one directory, one a spilled entry, named by its id, written under another name and
// renamed: whatever has the right name is whole. They hold packed blocks (common/compression.hpp),
// so damage is found when one is read. They are not synced: nothing of them outlives the machine's
// start, nor the swarm.
//
// Crash: a job that was under way is gone, and what it wrote is nobody's: a region without a row's
// right, or a file that the next supervisor's `sweep` deletes.

#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <thread>
#include <vector>

#include "common/compression.hpp"
#include "common/posix.hpp"
#include "supervisor/caching/types.hpp"

namespace micro_swarm {

struct CacheJob {
  enum class Kind : std::uint8_t {
    copy,     ///< `bytes` of `source` to `to`
    pack,     ///< `bytes` of `source` to a block, if that pays
    write,    ///< `block` to `to`
    spill,    ///< `bytes` of `source`, or the packed block they are, to the entry's file
    restore,  ///< the packed block that `source` or, without one, the file has, to `to`
    remove,   ///< the entry's file. Has no answer.
    sweep,    ///< every file but those of `keep`. Has no answer.
  };
  Kind kind{};
  caching::EntryId id = 0;
  UniqueFd source;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;  ///< to read; restore from a file: not needed
  bool is_packed = false;
  std::span<std::byte> to;
  std::vector<std::byte> block;
  std::vector<caching::EntryId> keep;
};

struct CacheJobDone {
  CacheJob::Kind kind{};
  caching::EntryId id = 0;
  std::optional<Error> error;
  std::uint64_t bytes = 0;       ///< pack: of the block, 0 = it did not pay; spill: of the file
  std::vector<std::byte> block;  ///< pack
};

class CacheWorker {
 public:
  /// `directory`: where files go, empty = nowhere. The thread begins with the first job.
  CacheWorker(std::filesystem::path directory, Codec codec);
  ~CacheWorker();
  CacheWorker(const CacheWorker&) = delete;
  CacheWorker& operator=(const CacheWorker&) = delete;

  void add(CacheJob job);
  /// The thread begins now.
  void begin();
  /// What was added, done in the caller's thread: for a process that was forked with this object,
  /// where there is no other.
  void work_here();
  /// Readable when take() has something.
  int event_fd() const noexcept { return event_.get(); }
  std::vector<CacheJobDone> take();
  /// Jobs added whose answers were not taken, those without answer apart.
  std::size_t under_way() const noexcept { return under_way_; }
  /// What was added is done; take() has the answers.
  bool is_idle() const;
  CompressionCounters counters() const;

 private:
  void run();
  void do_all(std::unique_lock<std::mutex>& lock);
  CacheJobDone work(CacheJob& job);
  Result<std::vector<std::byte>> read_all(const CacheJob& job) const;
  Result<std::uint64_t> pack_into(const CacheJob& job, std::vector<std::byte>& block);
  Result<std::uint64_t> spill(const CacheJob& job);
  Result<void> restore(const CacheJob& job);
  void sweep(const std::vector<caching::EntryId>& keep) const;
  std::filesystem::path path_of(caching::EntryId id) const;

  const std::filesystem::path directory_;
  const Codec codec_;
  UniqueFd event_;
  std::size_t under_way_ = 0;  // the loop's

  mutable std::mutex mutex_;  // what follows
  std::condition_variable wake_;
  std::vector<CacheJob> inbox_;
  std::vector<CacheJobDone> done_;
  CompressionCounters counters_;
  bool is_working_ = false;
  bool stop_ = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace micro_swarm

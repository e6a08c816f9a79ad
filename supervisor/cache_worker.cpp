#include "supervisor/cache_worker.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <set>

#include "common/clock.hpp"
#include "common/log.hpp"

namespace micro_swarm {

namespace {

constexpr std::string_view unfinished_suffix = ".new";

std::string file_name(caching::EntryId id) {
  char text[24];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(id));
  return text;
}

Error io_error(const char* what) { return system_error(what, errno); }

/// The memory is there afterwards: a store into it cannot fail for want of some.
Result<void> take_memory(std::span<std::byte> memory) {
#ifdef MADV_POPULATE_WRITE
  const std::size_t in_page = reinterpret_cast<std::uintptr_t>(memory.data()) % 4096;
  if (::madvise(memory.data() - in_page, in_page + memory.size(), MADV_POPULATE_WRITE) != 0 &&
      errno != EINVAL)
    return io_error("taking memory for a cache entry");
#endif
  return {};
}

Result<void> read_exactly(int fd, std::uint64_t offset, std::span<std::byte> into) {
  for (std::size_t at = 0; at < into.size();) {
    const auto got = posix_call("pread", [&] {
      return ::pread(fd, into.data() + at, into.size() - at, static_cast<off_t>(offset + at));
    });
    if (!got) return got.error();
    if (*got == 0)
      return Error{ErrorCode::protocol, "a cache entry's memory or file ends early", 0};
    at += static_cast<std::size_t>(*got);
  }
  return {};
}

}  // namespace

CacheWorker::CacheWorker(std::filesystem::path directory, Codec codec)
    : directory_(std::move(directory)),
      codec_(codec),
      event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

CacheWorker::~CacheWorker() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void CacheWorker::begin() {
  if (thread_.joinable()) return;
  // Signals are for the loop's thread.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void CacheWorker::add(CacheJob job) {
  begin();
  if (job.kind != CacheJob::Kind::remove && job.kind != CacheJob::Kind::sweep) ++under_way_;
  bool was_empty = false;
  {
    const std::lock_guard lock(mutex_);
    was_empty = inbox_.empty();
    inbox_.push_back(std::move(job));
  }
  if (was_empty) wake_.notify_one();  // it takes all there are
}

bool CacheWorker::is_idle() const {
  const std::lock_guard lock(mutex_);
  return inbox_.empty() && !is_working_;
}

std::vector<CacheJobDone> CacheWorker::take() {
  std::uint64_t count = 0;
  // The event first: what is told after it makes a new one.
  [[maybe_unused]] const ssize_t got = ::read(event_.get(), &count, sizeof count);
  std::vector<CacheJobDone> done;
  const std::lock_guard lock(mutex_);
  done.swap(done_);
  under_way_ -= done.size();
  return done;
}

CompressionCounters CacheWorker::counters() const {
  const std::lock_guard lock(mutex_);
  return counters_;
}

void CacheWorker::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stop_ || !inbox_.empty(); });
    if (stop_) return;
    do_all(lock);
  }
}

void CacheWorker::do_all(std::unique_lock<std::mutex>& lock) {
  std::vector<CacheJob> jobs;
  jobs.swap(inbox_);
  is_working_ = true;
  for (CacheJob& job : jobs) {
    if (stop_) break;
    lock.unlock();
    CacheJobDone done = work(job);
    lock.lock();
    if (job.kind == CacheJob::Kind::remove || job.kind == CacheJob::Kind::sweep) continue;
    done_.push_back(std::move(done));
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(event_.get(), &one, sizeof one);
  }
  is_working_ = false;
}

void CacheWorker::work_here() {
  std::unique_lock lock(mutex_);
  do_all(lock);
}

CacheJobDone CacheWorker::work(CacheJob& job) {
  CacheJobDone done;
  done.kind = job.kind;
  done.id = job.id;
  const auto note = [&done](const auto& result) {
    if (!result) done.error = result.error();
    return result.has_value();
  };
  switch (job.kind) {
    case CacheJob::Kind::copy:
      if (note(take_memory(job.to.first(job.bytes))))
        note(read_exactly(job.source.get(), job.offset, job.to.first(job.bytes)));
      break;
    case CacheJob::Kind::pack:
      if (auto packed = pack_into(job, done.block); note(packed)) done.bytes = *packed;
      break;
    case CacheJob::Kind::write:
      if (note(take_memory(job.to.first(job.block.size()))))
        std::memcpy(job.to.data(), job.block.data(), job.block.size());
      done.bytes = job.block.size();
      break;
    case CacheJob::Kind::spill:
      if (auto spilled = spill(job); note(spilled)) done.bytes = *spilled;
      break;
    case CacheJob::Kind::restore: note(restore(job)); break;
    case CacheJob::Kind::remove: ::unlink(path_of(job.id).c_str()); break;
    case CacheJob::Kind::sweep: sweep(job.keep); break;
  }
  return done;
}

Result<std::vector<std::byte>> CacheWorker::read_all(const CacheJob& job) const {
  std::vector<std::byte> bytes(job.bytes);
  if (auto got = read_exactly(job.source.get(), job.offset, bytes); !got) return got.error();
  return bytes;
}

Result<std::uint64_t> CacheWorker::pack_into(const CacheJob& job, std::vector<std::byte>& block) {
  const auto bytes = read_all(job);
  if (!bytes) return bytes.error();
  block.resize(packed_bytes_max(bytes->size()));
  const std::uint64_t start_ns = now_ns();
  const auto packed = pack(codec_, *bytes, block);
  const std::uint64_t took_ns = now_ns() - start_ns;
  if (!packed) return packed.error();
  block.resize(packed->bytes);
  const bool pays = packed->codec != Codec::none;
  const std::lock_guard lock(mutex_);
  counters_.count_compress(
      bytes->size(), pays ? std::optional(std::size_t{packed->bytes}) : std::nullopt, took_ns);
  return pays ? packed->bytes : 0;
}

Result<std::uint64_t> CacheWorker::spill(const CacheJob& job) {
  std::vector<std::byte> block;
  if (job.is_packed) {
    auto bytes = read_all(job);
    if (!bytes) return bytes.error();
    block = std::move(*bytes);
  } else if (auto packed = pack_into(job, block); !packed) {
    return packed.error();
  }
  std::error_code ec;
  std::filesystem::create_directories(directory_, ec);
  const std::string path = path_of(job.id);
  const std::string unfinished = path + std::string(unfinished_suffix);
  UniqueFd file(::open(unfinished.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file) return io_error("creating a spill file");
  for (std::size_t at = 0; at < block.size();) {
    const auto put = posix_call("writing a spill file", [&] {
      return ::write(file.get(), block.data() + at, block.size() - at);
    });
    if (!put) {
      ::unlink(unfinished.c_str());
      return put.error();
    }
    at += static_cast<std::size_t>(*put);
  }
  if (::rename(unfinished.c_str(), path.c_str()) != 0) {
    const Error error = io_error("naming a spill file");
    ::unlink(unfinished.c_str());
    return error;
  }
  return block.size();
}

Result<void> CacheWorker::restore(const CacheJob& job) {
  std::vector<std::byte> block;
  if (job.source) {
    auto bytes = read_all(job);
    if (!bytes) return bytes.error();
    block = std::move(*bytes);
  } else {
    const UniqueFd file(::open(path_of(job.id).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    struct stat st {};
    if (!file || ::fstat(file.get(), &st) != 0) return io_error("opening a spill file");
    // Never more than one entry makes, whatever lies there.
    if (!S_ISREG(st.st_mode) ||
        static_cast<std::uint64_t>(st.st_size) > packed_bytes_max(job.bytes))
      return Error{ErrorCode::protocol, "a spill file of another size", 0};
    block.resize(static_cast<std::size_t>(st.st_size));
    if (auto got = read_exactly(file.get(), 0, block); !got) return got.error();
  }
  const auto header = read_pack_header(block);
  if (!header) return header.error();
  if (header->original_bytes != job.to.size())
    return Error{ErrorCode::protocol, "a packed entry of another size", 0};
  if (auto taken = take_memory(job.to); !taken) return taken.error();
  const std::uint64_t start_ns = now_ns();
  const auto bytes = unpack(block, job.to);
  const std::uint64_t took_ns = now_ns() - start_ns;
  {
    const std::lock_guard lock(mutex_);
    counters_.count_decompress(bytes ? std::optional(*bytes) : std::nullopt, took_ns);
  }
  if (!bytes) return bytes.error();
  return {};
}

void CacheWorker::sweep(const std::vector<caching::EntryId>& keep) const {
  std::set<std::string> wanted;
  for (const caching::EntryId id : keep) wanted.insert(file_name(id));
  std::error_code ec;
  for (std::filesystem::directory_iterator at(directory_, ec), end; !ec && at != end;
       at.increment(ec))
    if (!wanted.contains(at->path().filename().string())) {
      std::error_code ignored;
      std::filesystem::remove(at->path(), ignored);
    }
}

std::filesystem::path CacheWorker::path_of(caching::EntryId id) const {
  return directory_ / file_name(id);
}

}  // namespace micro_swarm

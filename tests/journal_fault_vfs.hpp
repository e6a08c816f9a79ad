#pragma once

// A disk for SQLite that can lose power, fill up, break or hang. Files really exist (so that the
// product's own code runs, shared-memory index included); beside each lies what a machine that
// loses power now would find of it: its content when it was last synced, and, if asked for, some of
// the pages written since, whole, torn or out of order, as a real disk may have kept them.

#include <sqlite3.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <vector>

namespace micro_swarm::testing {

class FaultVfs {
 public:
  /// Registered under `name` until destroyed; every database opened with it must be closed then.
  explicit FaultVfs(std::string name) : name_(std::move(name)) {
    real_ = ::sqlite3_vfs_find(nullptr);
    vfs_ = *real_;
    vfs_.pNext = nullptr;
    vfs_.zName = name_.c_str();
    vfs_.pAppData = this;
    vfs_.szOsFile = static_cast<int>(sizeof(File)) + real_->szOsFile;
    vfs_.xOpen = &FaultVfs::open;
    vfs_.xDelete = &FaultVfs::remove;
    ::sqlite3_vfs_register(&vfs_, 0);
  }
  ~FaultVfs() { ::sqlite3_vfs_unregister(&vfs_); }
  FaultVfs(const FaultVfs&) = delete;
  FaultVfs& operator=(const FaultVfs&) = delete;

  const std::string& name() const { return name_; }
  std::uint64_t syncs() const { return syncs_; }

  void set_full(bool is_full) { full_ = is_full; }
  void set_broken(bool is_broken) { broken_ = is_broken; }
  /// Every sync waits until this is taken back.
  void set_hung(bool is_hung) {
    {
      const std::lock_guard lock(mutex_);
      hung_ = is_hung;
    }
    thaw_.notify_all();
  }

  /// Writes what the disk would hold after a power cut at this moment into `directory`. `kept`:
  /// the chance of each unsynced write to have reached it anyway.
  void lose_power(const std::filesystem::path& directory, std::uint64_t seed, double kept) {
    std::mt19937_64 random(seed);
    std::uniform_real_distribution<double> chance(0, 1);
    const std::lock_guard lock(mutex_);
    for (const auto& [path, disk] : disks_) {
      if (!disk.exists) continue;
      std::vector<char> content = disk.synced;
      for (const Write& write : disk.unsynced) {
        if (chance(random) >= kept) continue;
        if (write.is_truncate) {
          content.resize(static_cast<std::size_t>(write.offset));
          continue;
        }
        std::size_t size = write.bytes.size();
        if (chance(random) < 0.2) size = size / 512 / 2 * 512;  // torn, at a sector
        if (content.size() < write.offset + size) content.resize(write.offset + size);
        std::memcpy(content.data() + write.offset, write.bytes.data(), size);
      }
      std::ofstream(directory / std::filesystem::path(path).filename(), std::ios::binary)
          .write(content.data(), static_cast<std::streamsize>(content.size()));
    }
  }

 private:
  struct Write {
    std::uint64_t offset;
    std::vector<char> bytes;
    bool is_truncate = false;
  };
  struct Disk {
    bool exists = false;
    std::vector<char> synced;
    std::vector<Write> unsynced;
    void apply_all() {
      for (const Write& write : unsynced) {
        if (write.is_truncate) {
          synced.resize(static_cast<std::size_t>(write.offset));
          continue;
        }
        if (synced.size() < write.offset + write.bytes.size())
          synced.resize(write.offset + write.bytes.size());
        std::memcpy(synced.data() + write.offset, write.bytes.data(), write.bytes.size());
      }
      unsynced.clear();
    }
  };
  struct File {
    sqlite3_file base;
    FaultVfs* vfs;
    Disk* disk;  // null: not one that matters after a power cut
    sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
  };
  static File& of(sqlite3_file* file) { return *reinterpret_cast<File*>(file); }
  static sqlite3_file* real(sqlite3_file* file) { return of(file).real(); }

  static int open(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags, int* out) {
    auto* self = static_cast<FaultVfs*>(vfs->pAppData);
    File& mine = of(file);
    mine.vfs = self;
    mine.disk = nullptr;
    mine.base.pMethods = nullptr;
    const int code = self->real_->xOpen(self->real_, path, mine.real(), flags, out);
    if (code != SQLITE_OK) return code;
    mine.base.pMethods = &methods;
    if (path != nullptr &&
        (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)) != 0) {
      const std::lock_guard lock(self->mutex_);
      mine.disk = &self->disks_[path];
      mine.disk->exists = true;  // SQLite syncs the directory with a file's first sync
    }
    return code;
  }
  static int remove(sqlite3_vfs* vfs, const char* path, int sync_directory) {
    auto* self = static_cast<FaultVfs*>(vfs->pAppData);
    {
      const std::lock_guard lock(self->mutex_);
      self->disks_[path] = {};
    }
    return self->real_->xDelete(self->real_, path, sync_directory);
  }

  static int close(sqlite3_file* f) { return real(f)->pMethods->xClose(real(f)); }
  static int read(sqlite3_file* f, void* to, int size, sqlite3_int64 at) {
    return real(f)->pMethods->xRead(real(f), to, size, at);
  }
  static int write(sqlite3_file* f, const void* from, int size, sqlite3_int64 at) {
    FaultVfs& self = *of(f).vfs;
    if (self.full_) return SQLITE_FULL;
    if (self.broken_) return SQLITE_IOERR_WRITE;
    if (Disk* disk = of(f).disk) {
      const std::lock_guard lock(self.mutex_);
      const char* bytes = static_cast<const char*>(from);
      disk->unsynced.push_back({static_cast<std::uint64_t>(at), {bytes, bytes + size}});
    }
    return real(f)->pMethods->xWrite(real(f), from, size, at);
  }
  static int truncate(sqlite3_file* f, sqlite3_int64 size) {
    if (Disk* disk = of(f).disk) {
      const std::lock_guard lock(of(f).vfs->mutex_);
      disk->unsynced.push_back({static_cast<std::uint64_t>(size), {}, true});
    }
    return real(f)->pMethods->xTruncate(real(f), size);
  }
  static int sync(sqlite3_file* f, int) {
    FaultVfs& self = *of(f).vfs;
    if (self.broken_) return SQLITE_IOERR_FSYNC;
    std::unique_lock lock(self.mutex_);
    self.thaw_.wait(lock, [&] { return !self.hung_; });
    ++self.syncs_;
    // The real file is not synced: it has to survive this test only.
    if (Disk* disk = of(f).disk) disk->apply_all();
    return SQLITE_OK;
  }
  static int size_of(sqlite3_file* f, sqlite3_int64* size) {
    return real(f)->pMethods->xFileSize(real(f), size);
  }
  static int lock(sqlite3_file* f, int level) { return real(f)->pMethods->xLock(real(f), level); }
  static int unlock(sqlite3_file* f, int level) {
    return real(f)->pMethods->xUnlock(real(f), level);
  }
  static int is_reserved(sqlite3_file* f, int* out) {
    return real(f)->pMethods->xCheckReservedLock(real(f), out);
  }
  static int control(sqlite3_file* f, int what, void* argument) {
    return real(f)->pMethods->xFileControl(real(f), what, argument);
  }
  static int sector(sqlite3_file* f) { return real(f)->pMethods->xSectorSize(real(f)); }
  static int characteristics(sqlite3_file*) { return 0; }  // nothing is atomic, in order or safe
  static int map(sqlite3_file* f, int region, int size, int extend, void volatile** memory) {
    return real(f)->pMethods->xShmMap(real(f), region, size, extend, memory);
  }
  static int shm_lock(sqlite3_file* f, int at, int count, int flags) {
    return real(f)->pMethods->xShmLock(real(f), at, count, flags);
  }
  static void barrier(sqlite3_file* f) { real(f)->pMethods->xShmBarrier(real(f)); }
  static int unmap(sqlite3_file* f, int remove_it) {
    return real(f)->pMethods->xShmUnmap(real(f), remove_it);
  }

  static constexpr sqlite3_io_methods methods{
      2,      close,       read,    write,  truncate,        sync, size_of,  lock,
      unlock, is_reserved, control, sector, characteristics, map,  shm_lock, barrier,
      unmap,  nullptr,     nullptr};

  std::string name_;
  sqlite3_vfs* real_ = nullptr;
  sqlite3_vfs vfs_{};
  std::atomic<bool> full_{false};
  std::atomic<bool> broken_{false};
  std::atomic<std::uint64_t> syncs_{0};
  std::mutex mutex_;
  std::condition_variable thaw_;
  bool hung_ = false;
  std::map<std::string, Disk> disks_;
};

}  // namespace micro_swarm::testing

// The journal beside the disk it lies on: what group commit makes of one sync, and what one task
// alone pays.

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <stdexcept>

#include "common/clock.hpp"
#include "supervisor/journal.hpp"
#include "tests/bench/figure.hpp"
#include "tests/bench/swarm.hpp"
#include "tests/bench/windows.hpp"
#include "tests/temporary_directory.hpp"

namespace micro_swarm::bench {

namespace {

constexpr std::size_t record_bytes = 32;

/// What a program without group commit does: one record behind the other in a file that has its
/// size already, each synced before the next.
class SyncedFile {
 public:
  explicit SyncedFile(const std::filesystem::path& directory)
      : fd_(::open((directory / "reference").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)) {
    const std::vector<char> zeros(1u << 20);
    for (int i = 0; i < 16; ++i)
      if (::write(fd_.get(), zeros.data(), zeros.size()) != static_cast<ssize_t>(zeros.size()))
        throw std::runtime_error("no space for the reference file");
    ::fsync(fd_.get());
  }
  /// Nanoseconds of one.
  double append(std::size_t bytes) {
    const std::vector<char> record(bytes, 'x');
    const std::uint64_t start_ns = now_ns();
    const auto put = ::pwrite(fd_.get(), record.data(), bytes, at_);
    at_ = (at_ + static_cast<off_t>(bytes)) % (12 << 20);
    if (put < 0 || ::fdatasync(fd_.get()) != 0) throw std::runtime_error("fdatasync failed");
    return static_cast<double>(now_ns() - start_ns);
  }

 private:
  UniqueFd fd_;
  off_t at_ = 0;
};

double cpu_time_ns() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto ns = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_usec) * 1e3;
  };
  return ns(used.ru_utime) + ns(used.ru_stime);
}

class Measured {
 public:
  explicit Measured(const std::filesystem::path& directory)
      : journal_({(directory / "journal.db").string(), "benchmark", 100'000, true, ""}) {
    while (!is_open_) wait();
  }

  /// Accepts and ends `tasks` tasks with at most `window` under way, the end entered a round after
  /// the acceptance, as the loop does; nanoseconds until the last end is synced.
  double run(std::uint64_t tasks, std::uint64_t window) {
    const std::uint64_t start_ns = now_ns();
    const DurableId last = next_ + tasks;
    const std::uint64_t ended_before = ended_;
    DurableId to_end = next_;
    while (ended_ - ended_before != tasks) {
      const DurableId accepted_before = next_;
      for (int i = 0; i < 32 && next_ != last && next_ - ended_ - 1 < window; ++i) accept(next_++);
      for (; to_end != accepted_before; ++to_end) end(to_end);
      journal_.flush();
      if (next_ == last && to_end != next_) continue;
      if (next_ != last && next_ - ended_ - 1 < window)
        take();
      else
        wait();
    }
    return static_cast<double>(now_ns() - start_ns);
  }
  /// One task alone: acceptance and end entered `execution_ns` apart, until both are synced.
  double one(std::uint64_t execution_ns) {
    const std::uint64_t start_ns = now_ns();
    const std::uint64_t ended_before = ended_;
    accept(next_);
    journal_.flush();
    while (now_ns() - start_ns < execution_ns) cpu_relax();
    end(next_++);
    journal_.flush();
    while (ended_ == ended_before) wait();
    return static_cast<double>(now_ns() - start_ns);
  }
  /// An acceptance alone.
  double one_acceptance() {
    const std::uint64_t start_ns = now_ns();
    const std::uint64_t accepted_before = accepted_;
    accept(next_);
    journal_.flush();
    while (accepted_ == accepted_before) wait();
    const std::uint64_t end_ns = now_ns();
    const std::uint64_t ended_before = ended_;
    end(next_++);
    journal_.flush();
    while (ended_ == ended_before) wait();
    return static_cast<double>(end_ns - start_ns);
  }
  Journal::Figures figures() const { return journal_.figures(); }

 private:
  void accept(DurableId id) {
    JournalAccept accept;
    accept.id = id;
    accept.task = id;
    accept.capability = "echo";
    accept.accepted_us = id;
    journal_.accept(accept, record_bytes, fill_);
  }
  void end(DurableId id) { journal_.end({id, id, TaskState::done, 1, id}, record_bytes, fill_); }
  void take() {
    const JournalNews news = journal_.take();
    if (news.opened) {
      is_open_ = true;
      next_ = news.opened->first_id;
      ended_ = next_ - 1;
    }
    for (const JournalSynced& one : news.synced)
      ++(one.what == JournalSynced::What::ended ? ended_ : accepted_);
  }
  void wait() {
    pollfd wanted{journal_.event_fd(), POLLIN, 0};
    if (::poll(&wanted, 1, 20'000) != 1) {
      const auto trouble = journal_.trouble();
      throw std::runtime_error(trouble ? trouble->message : "the journal told nothing for 20 s");
    }
    take();
  }

  const Journal::Fill fill_ = [](std::span<std::byte> to) {
    std::fill(to.begin(), to.end(), std::byte{'x'});
  };
  Journal journal_;
  bool is_open_ = false;
  DurableId next_ = 1;
  std::uint64_t ended_ = 0;
  std::uint64_t accepted_ = 0;
};

void throughput(const Options& options, const Tell& tell) {
  const TemporaryDirectory directory;
  SyncedFile file(directory.path());
  Measured journal(directory.path());
  const std::uint64_t tasks = options.quick ? 2'000 : 100'000;
  const unsigned syncs = options.quick ? 20 : 200;
  Windows cpu;
  auto windows = alternate(
      options.quick ? 2 : 9,
      [&] {
        double all_ns = 0;
        for (unsigned i = 0; i < 2 * syncs; ++i) all_ns += file.append(record_bytes);
        return syncs / all_ns;
      },
      [&] {
        const double cpu_before_ns = cpu_time_ns();
        const double took_ns = journal.run(tasks, 8'192);
        cpu.values.push_back((cpu_time_ns() - cpu_before_ns) / static_cast<double>(tasks));
        return static_cast<double>(tasks) / took_ns;
      });
  cpu.drop_first();
  Goal goal{Goal::Of::value, Goal::Bound::at_least, 60};
  const auto figures = journal.figures();
  tell(windows.figure(
      "journal.throughput", "k/s", 1e6, goal,
      "accept + end, synced; two fdatasync a task; " +
          std::to_string(figures.entries / std::max<std::uint64_t>(figures.commits, 1)) +
          " entries a sync"));
  tell(cpu.figure("journal.cpu", "us", 1e-3, std::nullopt,
                  "CPU time of both threads for a task's two entries"));
}

void latency(const Options& options, const Tell& tell) {
  const TemporaryDirectory directory;
  SyncedFile file(directory.path());
  Measured journal(directory.path());
  const unsigned count = options.quick ? 10 : 100;
  const auto many = [&](auto&& one) {
    std::vector<double> times_ns;
    for (unsigned i = 0; i < count; ++i) times_ns.push_back(one());
    return median(times_ns);
  };
  const auto reference = [&] { return many([&] { return file.append(4'096); }); };
  const unsigned windows = options.quick ? 2 : 9;
  tell(alternate(windows, reference, [&] { return many([&] { return journal.one_acceptance(); }); })
           .figure("journal.accept", "us", 1e-3, std::nullopt,
                   "one acceptance until it is told; one fdatasync"));
  tell(alternate(windows, reference, [&] { return many([&] { return journal.one(20'000); }); })
           .figure("journal.task", "us", 1e-3, std::nullopt,
                   "a task that runs 20 us, until its end is told; one fdatasync"));
}

/// What a client of a swarm with a state directory has of it: accepted, run by the one agent,
/// ended.
void through_client(const Options& options, const Tell& tell) {
  const TemporaryDirectory directory;
  SyncedFile file(directory.path());
  SwarmProcess swarm(swarm_toml("[swarm]\nagents = 1\n[tasks]\nin_flight_per_agent = 16\n"),
                     {"--state-dir", (directory.path() / "state").string()});
  Client client = join(swarm, 1);
  const std::uint64_t tasks = options.quick ? 2'000 : 50'000;
  const unsigned count = options.quick ? 10 : 100;
  const unsigned windows = options.quick ? 2 : 9;
  const auto syncs = [&] {
    std::vector<double> times_ns;
    for (unsigned i = 0; i < count; ++i) times_ns.push_back(file.append(4'096));
    return median(times_ns);
  };
  tell(alternate(
           windows, [&] { return 1 / (2 * syncs()); },
           [&] {
             const std::uint64_t start_ns = now_ns();
             run_many(client, {tasks, 4'096, 0}, [](std::uint64_t) { return noop(); });
             return static_cast<double>(tasks) / static_cast<double>(now_ns() - start_ns);
           })
           .figure("journal.client_throughput", "k/s", 1e6,
                   Goal{Goal::Of::value, Goal::Bound::at_least, 60},
                   "no-op tasks of one client, 4,096 in flight; two fdatasync a task"));
  tell(alternate(windows, syncs,
                 [&] {
                   std::vector<double> times_ns;
                   for (unsigned i = 0; i < count; ++i) times_ns.push_back(run_one(client, noop()));
                   return median(times_ns);
                 })
           .figure("journal.client_task", "us", 1e-3, std::nullopt,
                   "one no-op task, until its client has the result; one fdatasync"));
}

}  // namespace

Group journal_group() {
  return {"journal",
          {"journal.throughput", "journal.cpu", "journal.accept", "journal.task",
           "journal.client_throughput", "journal.client_task"},
          [](const Options& options, const Tell& tell) {
            throughput(options, tell);
            latency(options, tell);
            through_client(options, tell);
          }};
}

}  // namespace micro_swarm::bench

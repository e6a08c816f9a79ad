#include "supervisor/journal.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>

#include "common/clock.hpp"
#include "supervisor/journal_store.hpp"

namespace micro_swarm {

namespace {
constexpr std::chrono::milliseconds idle_before_tidying{100};
}  // namespace

Journal::Journal(JournalOptions options, Limits limits)
    : options_(std::move(options)),
      limits_(limits),
      event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  // Signals are for the loop's thread.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Journal::~Journal() {
  flush();
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

// ---- the loop's side ----

bool Journal::has_room(std::uint64_t blob_bytes) const noexcept {
  return in_flight_entries_ < limits_.entries_max && has_room_for(blob_bytes);
}

bool Journal::has_room_for(std::uint64_t blob_bytes) const noexcept {
  // A large one alone always fits: else it never would.
  return in_flight_bytes_ == 0 || in_flight_bytes_ + blob_bytes <= limits_.bytes_max;
}

JournalBatch::Entry& Journal::stage(std::uint64_t blob_bytes, const Fill& fill) {
  JournalBatch::Entry& entry = staged_.entries.emplace_back();
  entry.blob = {staged_.bytes.size(), blob_bytes};
  if (blob_bytes != 0) {
    staged_.bytes.resize(staged_.bytes.size() + blob_bytes);
    fill({staged_.bytes.data() + entry.blob.offset, blob_bytes});
  }
  ++in_flight_entries_;
  in_flight_bytes_ += blob_bytes;
  return entry;
}

void Journal::accept(const JournalAccept& accept, std::uint64_t blob_bytes, const Fill& fill) {
  JournalBatch::Entry& entry = stage(blob_bytes, fill);
  entry.id = accept.id;
  entry.task = accept.task;
  entry.at_us = accept.accepted_us;
  entry.request_hash[0] = accept.request_hash[0];
  entry.request_hash[1] = accept.request_hash[1];
  entry.timeout_ms = accept.timeout_ms;
  entry.priority = accept.priority;
  entry.is_again = accept.is_again;
  entry.text = staged_.add(accept.capability.data(), accept.capability.size());
  entry.options = staged_.add(accept.options.data(), accept.options.size());
  entry.inputs = staged_.add(accept.inputs.data(), accept.inputs.size_bytes());
  entry.key = staged_.add(accept.key.data(), accept.key.size());
}

void Journal::end(const JournalEnd& end, std::uint64_t blob_bytes, const Fill& fill) {
  assert(is_terminal(end.state));
  JournalBatch::Entry& entry = stage(blob_bytes, fill);
  entry.id = end.id;
  entry.task = end.task;
  entry.at_us = end.ended_us;
  entry.state = end.state;
  entry.attempts = end.attempts;
  entry.has_inputs = end.has_inputs;
}

void Journal::flush() {
  if (staged_.empty()) return;
  {
    const std::lock_guard lock(mutex_);
    if (inbox_.empty()) {
      std::swap(inbox_, staged_);
    } else {
      inbox_.append(staged_);
    }
  }
  staged_.clear();
  wake_.notify_one();
}

JournalNews Journal::take() {
  std::uint64_t count = 0;
  // The event first: what is told after it makes a new one.
  [[maybe_unused]] const ssize_t got = ::read(event_.get(), &count, sizeof count);
  JournalNews news;
  const std::lock_guard lock(mutex_);
  std::swap(news, news_);
  in_flight_entries_ -= std::exchange(done_entries_, 0);
  in_flight_bytes_ -= std::exchange(done_bytes_, 0);
  return news;
}

std::optional<Error> Journal::trouble() const {
  const std::lock_guard lock(mutex_);
  return trouble_;
}

bool Journal::is_open() const {
  const std::lock_guard lock(mutex_);
  return open_;
}

Journal::Figures Journal::figures() const {
  const std::lock_guard lock(mutex_);
  Figures figures = figures_;
  figures.waiting = in_flight_entries_;
  return figures;
}

void Journal::ask_unfinished(DurableId after, std::size_t rows_max, std::uint64_t bytes_max) {
  {
    const std::lock_guard lock(mutex_);
    questions_.unfinished = Questions::Range{after, rows_max, bytes_max};
  }
  wake_.notify_one();
}

void Journal::ask(DurableId id, std::uint64_t question) {
  {
    const std::lock_guard lock(mutex_);
    questions_.single.emplace_back(id, question);
  }
  wake_.notify_one();
}

void Journal::ask_key(std::string_view key) {
  {
    const std::lock_guard lock(mutex_);
    questions_.keys.emplace_back(key);
  }
  wake_.notify_one();
}

// ---- the journal's thread ----

void Journal::run() {
  ::pthread_setname_np(::pthread_self(), "ms-journal");
  std::unique_ptr<JournalStore> store;
  std::unique_lock lock(mutex_);
  while (!open(lock, store)) {
    if (stop_) return;
  }
  for (;;) {
    const auto has_work = [this] { return stop_ || !inbox_.empty() || !questions_.empty(); };
    // Moving the log costs syncs of its own: when nobody waits for ours, or when it must be.
    if (store->wants_tidying() && !wake_.wait_for(lock, idle_before_tidying, has_work)) {
      lock.unlock();
      store->tidy();
      lock.lock();
      continue;
    }
    wake_.wait(lock, has_work);
    if (!inbox_.empty() && !stop_) linger(lock);
    // Taken together: what is asked is answered when what was handed over before is written.
    Questions asked;
    std::swap(asked, questions_);
    if (!inbox_.empty()) {
      std::swap(writing_, inbox_);
      while (!commit(lock, *store))
        if (stop_) return;
      writing_.clear();
    }
    if (!asked.empty()) answer(lock, *store, std::move(asked));
    if (stop_ && inbox_.empty()) return;
    if (!store->must_be_tidied()) continue;
    lock.unlock();
    store->tidy();
    lock.lock();
  }
}

bool Journal::open(std::unique_lock<std::mutex>& lock, std::unique_ptr<JournalStore>& store) {
  lock.unlock();
  auto opened = JournalStore::open(options_);
  lock.lock();
  if (!opened) {
    wait_before_retry(lock, opened.error());
    return false;
  }
  store = std::move(*opened);
  news_.opened = JournalNews::Opened{store->first_id()};
  open_ = true;
  trouble_.reset();
  tell();
  return true;
}

/// Says so, and waits: the disk may be made room on, the other process may end.
bool Journal::wait_before_retry(std::unique_lock<std::mutex>& lock, const Error& error) {
  ++figures_.failed_writes;
  const bool is_new = !trouble_ || trouble_->message != error.message;
  trouble_ = error;
  if (is_new) tell();
  return wake_.wait_for(lock, std::chrono::milliseconds(limits_.retry_ms),
                        [this] { return stop_; });
}

bool Journal::commit(std::unique_lock<std::mutex>& lock, JournalStore& store) {
  lock.unlock();
  const std::uint64_t start_ns = now_ns();
  const auto done = store.write(writing_, written_);
  const std::uint64_t took_us = (now_ns() - start_ns) / 1000;
  lock.lock();
  if (!done) {
    wait_before_retry(lock, done.error());
    return false;
  }
  // Only now, with the transaction synced, does anybody hear of it.
  news_.synced.insert(news_.synced.end(), written_.begin(), written_.end());
  trouble_.reset();
  done_entries_ += writing_.entries.size();
  for (const JournalBatch::Entry& entry : writing_.entries) done_bytes_ += entry.blob.size;
  commit_average_us_ = (7 * commit_average_us_ + took_us) / 8;
  ++figures_.commits;
  figures_.entries += writing_.entries.size();
  figures_.entries_in_a_commit_max =
      std::max<std::uint64_t>(figures_.entries_in_a_commit_max, writing_.entries.size());
  figures_.ends_repeated = store.ends_repeated();
  figures_.last_commit_us = took_us;
  tell();
  return true;
}

/// A lone acceptance whose task ends in microseconds would cost its end a second sync.
void Journal::linger(std::unique_lock<std::mutex>& lock) {
  const auto all_accepted = [this] {
    return std::all_of(inbox_.entries.begin(), inbox_.entries.end(),
                       [](const auto& entry) { return entry.state == TaskState::free; });
  };
  const std::uint64_t most_us = std::min<std::uint64_t>(limits_.linger_us, commit_average_us_ / 2);
  const auto is_enough = [&] {
    return stop_ || !questions_.empty() || inbox_.entries.size() > 8 || !all_accepted();
  };
  if (most_us == 0 || is_enough()) return;
  wake_.wait_for(lock, std::chrono::microseconds(most_us), is_enough);
}

void Journal::answer(std::unique_lock<std::mutex>& lock, JournalStore& store, Questions questions) {
  lock.unlock();
  JournalNews answers;
  Questions again;
  std::optional<Error> failed;
  if (const auto& range = questions.unfinished) {
    auto rows = store.unfinished(range->after, range->rows_max, range->bytes_max);
    if (rows) {
      answers.unfinished = JournalNews::Unfinished{std::move(*rows)};
    } else {
      failed = rows.error();
      again.unfinished = questions.unfinished;
    }
  }
  for (const auto& [id, question] : questions.single) {
    auto row = store.find(id);
    if (row) {
      answers.found.push_back({question, std::move(*row)});
    } else {
      failed = row.error();
      again.single.emplace_back(id, question);
    }
  }
  for (std::string& key : questions.keys) {
    auto known = store.find_key(key);
    if (known) {
      answers.keys.push_back({std::move(key), *known});
    } else {
      failed = known.error();
      again.keys.push_back(std::move(key));
    }
  }
  lock.lock();
  if (answers.unfinished) news_.unfinished = std::move(answers.unfinished);
  std::move(answers.found.begin(), answers.found.end(), std::back_inserter(news_.found));
  std::move(answers.keys.begin(), answers.keys.end(), std::back_inserter(news_.keys));
  tell();
  if (!failed) {
    trouble_.reset();
    return;
  }
  // Asked again after a while, unless the loop has asked anew: somebody waits for it.
  if (again.unfinished && !questions_.unfinished) questions_.unfinished = again.unfinished;
  std::move(again.single.begin(), again.single.end(), std::back_inserter(questions_.single));
  std::move(again.keys.begin(), again.keys.end(), std::back_inserter(questions_.keys));
  wait_before_retry(lock, *failed);
}

void Journal::tell() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t put = ::write(event_.get(), &one, sizeof one);
}

}  // namespace micro_swarm

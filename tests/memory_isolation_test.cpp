// One writer per word, enforced by the MMU and the seals. Real processes: each attempt to write is
// made by a child, which reports an errno or dies of SIGSEGV; afterwards the owner's words stand.

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cerrno>
#include <csignal>
#include <functional>
#include <string>

#include "shm/memfd.hpp"
#include "shm/segment.hpp"

using namespace micro_swarm;

namespace {

constexpr PartyId party = 9;
constexpr std::uint64_t written = 0x1122334455667788;

template <class T>
T value_of(Result<T> result) {
  BOOST_REQUIRE_MESSAGE(result.has_value(), result.error().message);
  return std::move(*result);
}

/// An owner's segment and what others get of it: a descriptor and a read-only mapping.
struct Published {
  Segment owner = value_of(Segment::create_party(party, 1));
  UniqueFd writable_fd = value_of(duplicate(owner.fd()));  // what the handshake sends
  UniqueFd read_only_fd = value_of(reopen_read_only(owner.fd()));
  Segment reader = value_of(Segment::attach_party(value_of(duplicate(owner.fd())), party, 1));

  Published() { store(owner.view().header().progress, written); }
  std::size_t size_bytes() const { return owner.view().layout().size_bytes; }
};

/// Runs `attempt` in a child; returns its wait status.
int status_of_child(const std::function<int()>& attempt) {
  const pid_t child = ::fork();
  BOOST_REQUIRE(child >= 0);
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    // The signal is the expected outcome: no core file, no report of a test framework or sanitizer.
    ::signal(SIGSEGV, SIG_DFL);
    ::prctl(PR_SET_DUMPABLE, 0);
    ::_exit(attempt());
  }
  int status = 0;
  BOOST_REQUIRE(::waitpid(child, &status, 0) == child);
  return status;
}

/// The errno `attempt` ended with in a child, 0 = it succeeded.
int errno_of_child(const std::function<bool()>& attempt) {
  const int status = status_of_child([&] {
    errno = 0;
    return attempt() ? 0 : errno;
  });
  BOOST_REQUIRE(WIFEXITED(status));
  return WEXITSTATUS(status);
}

void stands(const Published& p) {
  BOOST_TEST(load(p.owner.view().header().progress) == written);
  BOOST_TEST(load(p.reader.view().header().progress) == written);
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_store_through_a_readers_mapping_is_a_segmentation_fault) {
  const Published p;
  const int status = status_of_child([&] {
    store(p.reader.view().header().progress, 1);
    return 0;
  });
  BOOST_TEST(WIFSIGNALED(status));
  BOOST_TEST(WTERMSIG(status) == SIGSEGV);
  stands(p);
}

BOOST_AUTO_TEST_CASE(a_forked_child_does_not_have_the_owners_mapping) {
  const Published p;
  const int status = status_of_child([&] {
    store(p.owner.view().header().progress, 1);
    return 0;
  });
  BOOST_TEST(WIFSIGNALED(status));
  BOOST_TEST(WTERMSIG(status) == SIGSEGV);
  stands(p);
}

BOOST_AUTO_TEST_CASE(a_mapping_given_to_children_is_the_one_exception) {
  const Published p;
  BOOST_REQUIRE(p.owner.mapping().give_to_children().has_value());
  const int status = status_of_child([&] {
    store(p.owner.view().header().state, 3);
    return 0;
  });
  BOOST_TEST(WIFEXITED(status));
  BOOST_TEST(load(p.reader.view().header().state) == 3u);
}

BOOST_AUTO_TEST_CASE(mapping_read_write_is_refused) {
  const Published p;
  for (const int fd : {p.writable_fd.get(), p.read_only_fd.get()}) {
    const int error = errno_of_child([&] {
      return ::mmap(nullptr, p.size_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) !=
             MAP_FAILED;
    });
    BOOST_TEST(error == (fd == p.writable_fd.get() ? EPERM : EACCES));
  }
  stands(p);
}

BOOST_AUTO_TEST_CASE(even_the_owner_maps_it_read_write_only_once) {
  const Published p;
  const auto again = Mapping::map(p.owner.fd(), p.size_bytes(), Mapping::Access::read_write);
  BOOST_REQUIRE(!again.has_value());
  BOOST_TEST(again.error().sys_errno == EPERM);
}

BOOST_AUTO_TEST_CASE(making_a_readers_mapping_writable_is_refused) {
  const Published p;
  // A mapping made from a descriptor that is open for writing: what mprotect would allow unsealed.
  BOOST_TEST(
      errno_of_child([&] {
        void* map = ::mmap(nullptr, p.size_bytes(), PROT_READ, MAP_SHARED, p.writable_fd.get(), 0);
        return map != MAP_FAILED && ::mprotect(map, p.size_bytes(), PROT_READ | PROT_WRITE) == 0;
      }) == EACCES);
  BOOST_TEST(errno_of_child([&] {
               return ::mprotect(p.reader.view().base(), 4096, PROT_READ | PROT_WRITE) == 0;
             }) == EACCES);
  stands(p);
}

BOOST_AUTO_TEST_CASE(writing_to_the_descriptor_is_refused) {
  const Published p;
  const std::uint64_t other = 0;
  BOOST_TEST(errno_of_child([&] {
               return ::pwrite(p.writable_fd.get(), &other, sizeof other, 0) >= 0;
             }) == EPERM);
  BOOST_TEST(errno_of_child([&] {
               return ::pwrite(p.read_only_fd.get(), &other, sizeof other, 0) >= 0;
             }) == EBADF);
  stands(p);
}

BOOST_AUTO_TEST_CASE(resizing_is_refused) {
  const Published p;
  const auto size = static_cast<off_t>(p.size_bytes());
  for (const off_t other : {off_t{0}, size - 4096, size + 4096})
    BOOST_TEST(errno_of_child([&] { return ::ftruncate(p.writable_fd.get(), other) == 0; }) ==
               EPERM);
  stands(p);
}

BOOST_AUTO_TEST_CASE(punching_a_hole_is_refused) {
  const Published p;
  BOOST_TEST(errno_of_child([&] {
               return ::fallocate(p.writable_fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                  0, 4096) == 0;
             }) == EPERM);
  BOOST_TEST(errno_of_child(
                 [&] { return ::madvise(p.reader.view().base(), 4096, MADV_REMOVE) == 0; }) != 0);
  stands(p);
}

BOOST_AUTO_TEST_CASE(further_seals_are_refused) {
  const Published p;
  BOOST_TEST(errno_of_child([&] {
               return ::fcntl(p.writable_fd.get(), F_ADD_SEALS, F_SEAL_WRITE) == 0;
             }) == EPERM);
}

BOOST_AUTO_TEST_CASE(reopening_through_proc_does_not_help) {
  const Published p;
  for (const int fd : {p.writable_fd.get(), p.read_only_fd.get()}) {
    const std::string path = "/proc/self/fd/" + std::to_string(fd);
    // Who may open it at all (same uid with the right capabilities) still cannot write.
    BOOST_TEST(errno_of_child([&] {
                 const int reopened = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
                 if (reopened < 0) return false;
                 return ::mmap(nullptr, p.size_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED,
                               reopened, 0) != MAP_FAILED;
               }) != 0);
    BOOST_TEST(errno_of_child([&] {
                 const int reopened = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
                 return reopened >= 0 && ::write(reopened, "x", 1) == 1;
               }) != 0);
  }
  stands(p);
}

BOOST_AUTO_TEST_CASE(another_user_cannot_even_reopen_it_for_writing) {
  if (::geteuid() != 0) {
    BOOST_TEST_MESSAGE("not root: a process cannot change to another uid here, nothing to try");
    return;
  }
  const Published p;
  const std::string path = "/proc/self/fd/" + std::to_string(p.read_only_fd.get());
  BOOST_TEST(errno_of_child([&] {
               if (::setresgid(65534, 65534, 65534) != 0 || ::setresuid(65534, 65534, 65534) != 0)
                 return false;
               ::prctl(PR_SET_DUMPABLE, 1);
               errno = 0;
               return ::open(path.c_str(), O_RDWR | O_CLOEXEC) >= 0;
             }) == EACCES);
}

BOOST_AUTO_TEST_CASE(a_bell_page_can_be_written_by_all_and_resized_by_none) {
  const UniqueFd fd = value_of(create_memfd("bell", 4096));
  BOOST_REQUIRE(seal_size(fd.get()).has_value());
  const Mapping mine = value_of(Mapping::map(fd.get(), 4096, Mapping::Access::read_write));
  const int status = status_of_child([&] {
    const auto theirs = Mapping::map(fd.get(), 4096, Mapping::Access::read_write);
    if (!theirs) return 1;
    reinterpret_cast<Word*>(theirs->data())->store(4);
    return 0;
  });
  BOOST_TEST(WIFEXITED(status));
  BOOST_TEST(WEXITSTATUS(status) == 0);
  BOOST_TEST(reinterpret_cast<Word*>(mine.data())->load() == 4u);
  BOOST_TEST(errno_of_child([&] { return ::ftruncate(fd.get(), 0) == 0; }) == EPERM);
}

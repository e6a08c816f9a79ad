#include "common/posix.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <boost/test/unit_test.hpp>
#include <cstddef>
#include <cstring>
#include <set>
#include <utility>
#include <vector>

using namespace micro_swarm;

namespace {

/// The descriptors this process has open now.
std::set<int> open_fds() {
  std::set<int> fds;
  DIR* directory = ::opendir("/proc/self/fd");
  BOOST_REQUIRE(directory != nullptr);
  const int own = ::dirfd(directory);
  while (const dirent* entry = ::readdir(directory)) {
    const int fd = std::atoi(entry->d_name);
    if (entry->d_name[0] != '.' && fd != own) fds.insert(fd);
  }
  ::closedir(directory);
  return fds;
}

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

UniqueFd open_null() {
  UniqueFd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  BOOST_REQUIRE(fd);
  return fd;
}

bool same_file(int a, int b) {
  struct stat stat_a {};
  struct stat stat_b {};
  return ::fstat(a, &stat_a) == 0 && ::fstat(b, &stat_b) == 0 && stat_a.st_dev == stat_b.st_dev &&
         stat_a.st_ino == stat_b.st_ino;
}

template <std::size_t size>
std::array<std::byte, size> filled(int value) {
  std::array<std::byte, size> bytes;
  bytes.fill(static_cast<std::byte>(value));
  return bytes;
}

struct Pair {
  Pair() {
    auto made = seqpacket_pair();
    BOOST_REQUIRE(made.has_value());
    a = std::move(made->first);
    b = std::move(made->second);
  }
  UniqueFd a;
  UniqueFd b;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(unique_fd)

BOOST_AUTO_TEST_CASE(closes_once_and_moves) {
  UniqueFd first = open_null();
  const int number = first.get();
  UniqueFd second = std::move(first);
  BOOST_TEST(first.get() == -1);
  BOOST_TEST(!first);
  BOOST_TEST(second.get() == number);
  BOOST_TEST(is_open(number));
  second.reset();
  BOOST_TEST(!is_open(number));
  BOOST_TEST(second.get() == -1);
}

BOOST_AUTO_TEST_CASE(assignment_closes_what_it_held) {
  UniqueFd held = open_null();
  UniqueFd other = open_null();
  const int old_number = held.get();
  const int new_number = other.get();
  held = std::move(other);
  BOOST_TEST(!is_open(old_number));
  BOOST_TEST(held.get() == new_number);
  UniqueFd& alias = held;
  held = std::move(alias);
  BOOST_TEST(is_open(new_number));
}

BOOST_AUTO_TEST_CASE(release_leaves_it_open) {
  UniqueFd owner = open_null();
  const int number = owner.release();
  owner.reset();
  BOOST_TEST(is_open(number));
  ::close(number);
}

BOOST_AUTO_TEST_CASE(duplicate_is_cloexec_and_the_same_file) {
  UniqueFd original = open_null();
  auto copy = duplicate(original.get());
  BOOST_REQUIRE(copy.has_value());
  BOOST_TEST(copy->get() != original.get());
  BOOST_TEST((::fcntl(copy->get(), F_GETFD) & FD_CLOEXEC) != 0);
  BOOST_TEST(same_file(copy->get(), original.get()));
  auto none = duplicate(-1);
  BOOST_REQUIRE(none.has_error());
  BOOST_TEST(none.error().sys_errno == EBADF);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(call)

BOOST_AUTO_TEST_CASE(repeats_after_a_signal) {
  int calls = 0;
  auto result = posix_call("call", [&] {
    if (++calls < 3) {
      errno = EINTR;
      return -1;
    }
    return 7;
  });
  BOOST_REQUIRE(result.has_value());
  BOOST_TEST(*result == 7);
  BOOST_TEST(calls == 3);
}

BOOST_AUTO_TEST_CASE(an_error_names_the_call_and_keeps_errno) {
  auto result = posix_call("open(there)", [] {
    errno = ENOENT;
    return -1;
  });
  BOOST_REQUIRE(result.has_error());
  BOOST_TEST((result.error().code == ErrorCode::system));
  BOOST_TEST(result.error().sys_errno == ENOENT);
  BOOST_TEST(result.error().message == "open(there): No such file or directory");
}

BOOST_AUTO_TEST_CASE(a_tolerated_errno_is_a_value) {
  auto result = posix_call("read",
                           [] {
                             errno = EAGAIN;
                             return ssize_t{-1};
                           },
                           {ENOENT, EAGAIN});
  BOOST_REQUIRE(result.has_value());
  BOOST_TEST(*result == -1);
  BOOST_TEST(errno == EAGAIN);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(messages)

BOOST_AUTO_TEST_CASE(bytes_and_descriptors_arrive) {
  Pair pair;
  UniqueFd null = open_null();
  const auto sent = filled<24>(0x5a);
  const std::array fds{null.get(), pair.a.get()};
  BOOST_TEST(send_with_fds(pair.a.get(), sent, fds) == 24);

  auto buffer = filled<64>(0);
  const ReceivedMessage got = receive_with_fds(pair.b.get(), buffer);
  BOOST_TEST(got.size == 24);
  BOOST_TEST(std::memcmp(buffer.data(), sent.data(), sent.size()) == 0);
  BOOST_REQUIRE(got.fd_count == 2);
  UniqueFd first(got.fds[0]);
  UniqueFd second(got.fds[1]);
  BOOST_TEST(same_file(first.get(), null.get()));
  BOOST_TEST(same_file(second.get(), pair.a.get()));
  BOOST_TEST((::fcntl(first.get(), F_GETFD) & FD_CLOEXEC) != 0);
}

BOOST_AUTO_TEST_CASE(sixteen_descriptors_are_the_most) {
  Pair pair;
  UniqueFd null = open_null();
  const auto byte = filled<1>(1);
  const std::vector<int> too_many(17, null.get());
  BOOST_TEST(send_with_fds(pair.a.get(), byte, too_many) == -1);
  BOOST_TEST(errno == EINVAL);

  const std::vector<int> most(16, null.get());
  BOOST_TEST(send_with_fds(pair.a.get(), byte, most) == 1);
  auto buffer = filled<8>(0);
  const ReceivedMessage got = receive_with_fds(pair.b.get(), buffer);
  BOOST_TEST(got.fd_count == 16);
  for (int i = 0; i < got.fd_count; ++i) ::close(got.fds[i]);
}

BOOST_AUTO_TEST_CASE(a_truncated_message_leaves_nothing_open) {
  Pair pair;
  UniqueFd null = open_null();
  const auto before = open_fds();
  BOOST_TEST(send_with_fds(pair.a.get(), filled<32>(1), std::array{null.get(), null.get()}) == 32);
  auto small = filled<8>(0);
  const ReceivedMessage got = receive_with_fds(pair.b.get(), small);
  BOOST_TEST(got.size == -1);
  BOOST_TEST(errno == EMSGSIZE);
  BOOST_TEST(got.fd_count == 0);
  BOOST_TEST(open_fds() == before, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(more_descriptors_than_fit_leave_nothing_open) {
  Pair pair;
  UniqueFd null = open_null();
  const auto before = open_fds();

  // 20 descriptors in one message, which our own send refuses: a stranger need not use it.
  std::array<int, 20> fds;
  fds.fill(null.get());
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof fds)> control{};
  std::byte byte{1};
  iovec part{&byte, 1};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fds);
  std::memcpy(CMSG_DATA(header), fds.data(), sizeof fds);
  BOOST_REQUIRE(::sendmsg(pair.a.get(), &message, 0) == 1);

  auto buffer = filled<8>(0);
  const ReceivedMessage got = receive_with_fds(pair.b.get(), buffer);
  BOOST_TEST(got.size == -1);
  BOOST_TEST(errno == EMSGSIZE);
  BOOST_TEST(open_fds() == before, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(nothing_to_receive_is_eagain) {
  Pair pair;
  auto buffer = filled<8>(0);
  const ReceivedMessage got = receive_with_fds(pair.b.get(), buffer);
  BOOST_TEST(got.size == -1);
  BOOST_TEST(errno == EAGAIN);
  BOOST_TEST(got.fd_count == 0);
}

BOOST_AUTO_TEST_CASE(a_closed_peer_is_zero_to_read_and_epipe_to_write) {
  Pair pair;
  pair.a.reset();
  auto buffer = filled<8>(0);
  BOOST_TEST(receive_with_fds(pair.b.get(), buffer).size == 0);
  BOOST_TEST(send_with_fds(pair.b.get(), buffer, {}) == -1);  // and no SIGPIPE
  BOOST_TEST(errno == EPIPE);
}

BOOST_AUTO_TEST_CASE(a_full_socket_is_eagain) {
  Pair pair;
  const auto block = filled<4096>(1);
  ssize_t sent = 0;
  for (int i = 0; i < 10'000 && sent >= 0; ++i) sent = send_with_fds(pair.a.get(), block, {});
  BOOST_TEST(sent == -1);
  BOOST_TEST(errno == EAGAIN);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(a_pidfd_carries_a_signal) {
  const UniqueFd self(pidfd_open(::getpid()));
  BOOST_REQUIRE(self);
  BOOST_TEST(pidfd_send_signal(self.get(), 0) == 0);
  BOOST_TEST(pidfd_open(-1) == -1);
  BOOST_TEST(errno == EINVAL);
  BOOST_TEST(gettid_now() == ::getpid());
}

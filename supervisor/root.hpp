#pragma once

// Root: the process that may not die. It forks the supervisor and the templates, reaps everybody,
// keeps descriptors for supervisors to come, forwards signals. One thread; allocates nothing after
// start; parses nothing an agent sent.
//
// Life:  start -> [supervisor lives] -> supervisor dies -> what it sent is served -> next
// supervisor
//        ... -> quit asked for | second signal | restart cap -> everybody is killed and reaped ->
//        NAME.sock and NAME.lock are removed -> exit code.
// Root killed: its children die with it (PDEATHSIG), the two files stay, the next start takes them
// over. Tested by root.process.

#include <signal.h>
#include <sys/resource.h>

#include <cstdint>

#include "common/posix.hpp"
#include "shm/segment.hpp"
#include "supervisor/fd_store.hpp"
#include "supervisor/root_events.hpp"
#include "supervisor/root_watch.hpp"
#include "supervisor/run.hpp"

namespace micro_swarm {

class Root {
 public:
  /// What run_swarm prepared. `segment` is the supervisor's; its mapping is not for children.
  struct Parts {
    const Config& config;
    const Endpoint& endpoint;
    Segment segment;
    UniqueFd listen_socket;
    UniqueFd null;     ///< /dev/null
    UniqueFd signals;  ///< signalfd of the signals in `handled_signals()`, which are blocked
    rlim_t nofile_soft;
    TemplateEntry template_entry;
    UniqueFd control_channel;  ///< of `run --control-fd`; -1 = none. Kept for every supervisor
  };

  explicit Root(Parts parts);

  /// Runs the swarm to its end; returns the exit code.
  int run();

  static sigset_t handled_signals();

 private:
  enum class Stage { running, quitting };

  void start_supervisor();
  void wait_for_something();
  void read_signals();
  void stop_signal(int signal);
  void reap();
  void supervisor_died(int wait_status);

  void serve_requests();
  std::size_t serve(const RootRequest& request, std::span<UniqueFd> fds);
  void start_template(std::uint32_t key, std::span<UniqueFd> fds);
  void send_events();

  void tick_if_due();
  void quit(int exit_code);
  void kill_everybody();
  unsigned kill_children();

  Parts parts_;
  FdStore fds_;
  RootEvents events_;
  HangWatch hang_;
  RestartCap restarts_;

  Stage stage_ = Stage::running;
  int exit_code_ = 0;

  UniqueFd link_;  ///< root's end; -1 = the supervisor closed its end
  pid_t supervisor_pid_ = 0;
  std::uint64_t supervisor_started_ns_ = 0;
  unsigned epoch_ = 0;
  std::uint64_t sent_ = 0;     ///< sequence of the last event handed to the supervisor's socket
  bool link_is_full_ = false;  ///< wait for POLLOUT
  bool hang_reported_ = false;
  std::uint64_t next_tick_ns_ = 0;
  bool attempted_ = false;    ///< a supervisor was started, or tried to
  bool fork_failed_ = false;  ///< no supervisor could be made: try again at the next tick
  int stop_signals_ = 0;      ///< SIGTERM and SIGINT so far
};

}  // namespace micro_swarm

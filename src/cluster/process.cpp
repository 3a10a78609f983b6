#include "cluster/process.hpp"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <set>
#include <system_error>

namespace enishi::cluster {
namespace {

[[noreturn]] void broken(const std::string& what) { throw std::system_error(errno, std::generic_category(), what); }

struct Fd {
  int fd = -1;
  Fd() = default;
  explicit Fd(int f) : fd(f) {}
  Fd(Fd&& other) noexcept : fd(std::exchange(other.fd, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd, other.fd);
    return *this;
  }
  ~Fd() { close(); }
  void close() {
    if (fd >= 0) ::close(std::exchange(fd, -1));
  }
};

struct Pipe {
  Fd read, write;
  Pipe() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) broken("pipe");
    read = Fd(ends[0]);
    write = Fd(ends[1]);
  }
};

struct Start {
  std::vector<std::string> argv;
  const DatabaseUser& as;
  int in, out;
  int death_signal;
  bool own_session;  ///< else a process group of its own
  bool gentle = false;
};

/// The commands that run, each the leader of its process group, so that what it started itself can be ended with it.
struct Running {
  std::mutex guard;
  std::condition_variable changed;
  std::set<pid_t> groups;
  bool ending = false;
};
Running& running() {
  static Running all;
  return all;
}

/// fork and exec. Between them only async-signal-safe calls, for other threads may hold any lock. Returns the child; errno of a failed exec
/// comes back through `failed`.
pid_t start(const Start& s, int& failed) {
  std::vector<char*> argv;
  for (const auto& a : s.argv) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  // A clean environment: PGDATA, PGOPTIONS, LANG and the like would reach into the cluster.
  const std::string home = "HOME=/";
  char* envp[] = {const_cast<char*>("PATH=/usr/local/bin:/usr/bin:/bin"), const_cast<char*>("LC_ALL=C"), const_cast<char*>("TZ=UTC"),
                  const_cast<char*>(home.c_str()), nullptr};
  Pipe result;
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) broken("fork");
  if (child == 0) {
    auto give_up = [&] {
      const int code = errno;
      [[maybe_unused]] const auto n = ::write(result.write.fd, &code, sizeof code);
      _exit(127);
    };
    struct sigaction plain{};
    plain.sa_handler = SIG_DFL;
    for (int sig = 1; sig < 32; ++sig) sigaction(sig, &plain, nullptr);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    if (s.own_session)
      setsid();
    else
      setpgid(0, 0);
    if (dup2(s.in, 0) < 0 || dup2(s.out, 1) < 0 || dup2(s.out, 2) < 0) give_up();
    if (syscall(SYS_close_range, 3U, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */) != 0)
      for (int fd = 3; fd < 4096; ++fd) fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (s.as.change && geteuid() == 0) {
      if (setgroups(s.as.groups.size(), s.as.groups.data()) != 0 || setgid(s.as.gid) != 0 || setuid(s.as.uid) != 0) give_up();
    }
    umask(0077);
    if (s.gentle) {
      setpriority(PRIO_PROCESS, 0, 10);
      syscall(SYS_ioprio_set, 1 /* IOPRIO_WHO_PROCESS */, 0, (2 << 13) | 7 /* best effort, last */);
    }
    if (chdir("/") != 0) give_up();
    // After setuid, which clears it (prctl(2)); and the parent may have died in between.
    prctl(PR_SET_PDEATHSIG, s.death_signal);
    if (getppid() != parent) _exit(127);
    execve(argv[0], argv.data(), envp);
    give_up();
  }
  result.write.close();
  int code = 0;
  failed = ::read(result.read.fd, &code, sizeof code) == sizeof code ? code : 0;
  return child;
}

}  // namespace

bool DatabaseUser::may_enter(const std::filesystem::path& folder) const {
  struct stat st{};
  if (stat(folder.c_str(), &st) != 0 || !S_ISDIR(st.st_mode)) return false;
  if (uid == 0) return true;
  if (st.st_uid == uid) return (st.st_mode & S_IXUSR) != 0;
  if (st.st_gid == gid || std::find(groups.begin(), groups.end(), st.st_gid) != groups.end()) return (st.st_mode & S_IXGRP) != 0;
  return (st.st_mode & S_IXOTH) != 0;
}

namespace {
uid_t owner_of_data = 0;
}

void work_as_owner_of(const std::filesystem::path& folder) {
  struct stat st{};
  if (geteuid() == 0 && !folder.empty() && stat(folder.c_str(), &st) == 0 && st.st_uid != 0) owner_of_data = st.st_uid;
}

Result<DatabaseUser> database_user() {
  const bool root = geteuid() == 0;
  errno = 0;
  const passwd* entry = !root ? getpwuid(geteuid()) : owner_of_data != 0 ? getpwuid(owner_of_data) : getpwnam("postgres");
  if (entry == nullptr) {
    if (root)
      return fail(Kind::unavailable, "DATABASE_USER_MISSING",
                  "Enishi runs as root, and PostgreSQL refuses to: there is no user \"postgres\" to run it as. "
                  "Install PostgreSQL's package, or start Enishi as a normal user.");
    return fail(Kind::unavailable, "DATABASE_USER_MISSING",
                "the system does not know the user with id " + std::to_string(geteuid()) + "; PostgreSQL needs a user with a name");
  }
  DatabaseUser user{entry->pw_name, entry->pw_uid, entry->pw_gid, {}, root};
  int count = 64;
  user.groups.resize(count);
  if (getgrouplist(entry->pw_name, entry->pw_gid, user.groups.data(), &count) < 0) {
    user.groups.resize(count);
    getgrouplist(entry->pw_name, entry->pw_gid, user.groups.data(), &count);
  }
  user.groups.resize(count);
  return user;
}

void become(const DatabaseUser& user, bool keep_low_ports) {
  if (!user.change) return;
  if (keep_low_ports) prctl(PR_SET_KEEPCAPS, 1);
  if (setgroups(user.groups.size(), user.groups.data()) != 0) broken("setgroups to " + user.name);
  if (setgid(user.gid) != 0) broken("setgid to " + user.name);
  if (setuid(user.uid) != 0) broken("setuid to " + user.name);
  if (keep_low_ports) {
    __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2]{};
    data[0].effective = data[0].permitted = 1U << CAP_NET_BIND_SERVICE;
    if (syscall(SYS_capset, &head, data) != 0) broken("keeping the right to bind low ports");
  }
  // libpq looks into the home folder for a client's certificate, and takes one that it may not look into, as root's is now, for an error.
  if (const passwd* entry = getpwuid(user.uid); entry != nullptr) setenv("HOME", entry->pw_dir, 1);
  // Changing the user makes /proc/self unreadable for ourselves (proc(5)); the metrics read it.
  prctl(PR_SET_DUMPABLE, 1);
}

Finished run_command(const Command& command) {
  Finished done;
  Pipe in, out;
  int failed = 0;
  pid_t child = 0;
  {
    const std::lock_guard held(running().guard);
    if (running().ending) return {128 + SIGTERM, command.argv[0] + ": not started, Enishi is ending"};
    child = start({command.argv, command.as, in.read.fd, out.write.fd, SIGKILL, false, command.gentle}, failed);
    running().groups.insert(child);
  }
  in.read.close();
  out.write.close();
  const auto deadline = Deadline::in(command.limit);
  std::string_view rest = command.input;
  fcntl(in.write.fd, F_SETFL, O_NONBLOCK);
  sigset_t broken_pipe, before;  // a program that ends before it read its input must not end us
  sigemptyset(&broken_pipe);
  sigaddset(&broken_pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &broken_pipe, &before);
  bool stopping = false;
  Deadline stop_limit{};
  for (bool open = true; open;) {
    if (rest.empty()) in.write.close();
    pollfd fds[2] = {{out.read.fd, POLLIN, 0}, {in.write.fd, POLLOUT, 0}};
    auto left = stopping ? std::min(deadline.left(), stop_limit.left()) : deadline.left();
    if (command.stop != nullptr && !stopping) left = std::min(left, Millis(200));
    const int ready = poll(fds, in.write.fd >= 0 ? 2 : 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    if (command.stop != nullptr && !stopping && command.stop->load()) {
      stopping = true;
      stop_limit = Deadline::in(Millis(10000));
      kill(child, SIGTERM);
    }
    if (ready == 0 && !deadline.passed() && (!stopping || !stop_limit.passed())) continue;
    if (ready == 0) {
      kill(-child, SIGKILL);
      done.output += "\nkilled: it took longer than " + std::to_string(command.limit.count() / 1000) + " s";
      break;
    }
    if (ready < 0 && errno != EINTR) break;
    if ((fds[0].revents & (POLLIN | POLLHUP)) != 0) {
      char chunk[8192];
      const auto n = ::read(out.read.fd, chunk, sizeof chunk);
      if (n <= 0)
        open = false;
      else if (command.on_output) {
        const std::string_view said(chunk, static_cast<std::size_t>(n));
        if (done.output.size() > 128 * 1024) done.output.erase(0, 64 * 1024);
        done.output.append(said);
        command.on_output(said);
      } else if (done.output.size() < 256 * 1024)
        done.output.append(chunk, static_cast<std::size_t>(n));
    }
    if (in.write.fd >= 0 && fds[1].revents != 0) {
      const auto n = ::write(in.write.fd, rest.data(), rest.size());
      if (n > 0)
        rest.remove_prefix(static_cast<std::size_t>(n));
      else if (errno != EAGAIN)
        rest = {};
    }
  }
  timespec now{};
  while (sigtimedwait(&broken_pipe, nullptr, &now) > 0) {
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  {
    std::unique_lock held(running().guard);
    if (running().ending) {
      // What the command had started became ours (end_commands): it is ended and waited for as well.
      held.unlock();
      kill(-child, SIGKILL);
      while (waitpid(-child, nullptr, 0) > 0 || errno == EINTR) {
      }
      held.lock();
    }
    running().groups.erase(child);
  }
  running().changed.notify_all();
  done.status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  if (failed != 0) {
    done.status = 127;
    done.output = command.argv[0] + ": " + std::strerror(failed);
  }
  return done;
}

void end_commands() {
  // Children of a command that ends are handed to us instead of init, so that their end can be waited for.
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  std::unique_lock held(running().guard);
  running().ending = true;
  for (const auto group : running().groups) kill(-group, SIGKILL);
  running().changed.wait(held, [] { return running().groups.empty(); });
}

pid_t spawn_server(const std::vector<std::string>& argv, const DatabaseUser& as, const std::filesystem::path& log) {
  const Fd null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  const Fd out(open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (null.fd < 0 || out.fd < 0) broken("opening " + log.string());
  if (as.change && geteuid() == 0 && fchown(out.fd, as.uid, as.gid) != 0) broken("chown of " + log.string());
  int failed = 0;
  const pid_t child = start({argv, as, null.fd, out.fd, SIGINT, true}, failed);
  if (failed != 0) {
    waitpid(child, nullptr, 0);
    throw std::system_error(failed, std::generic_category(), "starting " + argv[0]);
  }
  return child;
}

bool wait_for_end(pid_t pid, Deadline deadline) {
  const Fd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (process.fd < 0) return errno == ESRCH;
  for (;;) {
    pollfd ended{process.fd, POLLIN, 0};
    const int ready = poll(&ended, 1, static_cast<int>(deadline.left().count()));
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

}  // namespace enishi::cluster

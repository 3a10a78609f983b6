// Child processes of the embedded PostgreSQL. They never outlive Enishi (PR_SET_PDEATHSIG), inherit no descriptor but 0, 1 and 2 (Asio
// opens sockets without CLOEXEC: a postgres that kept one would keep the port), and run as another user when Enishi is root.
//
//   auto user = database_user();                                    // "postgres" for root, else whoever we are
//   auto done = run_command({.argv = {bin + "/initdb", "-D", dir}, .as = *user});
//   if (done.status != 0) return fail(…, done.output);
#pragma once
#include <sys/types.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"

namespace enishi::cluster {

/// Who the database runs as.
struct DatabaseUser {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
  bool change = false;  ///< we are root and children become this user
  /// Whether this user may pass through `folder` (execute bit of owner, group or others).
  [[nodiscard]] bool may_enter(const std::filesystem::path& folder) const;
};

/// As root the owner of the data that is there (work_as_owner_of) or the system user `postgres` (initdb and postgres refuse to run as
/// root), else the user we are. DATABASE_USER_MISSING when root has no such user to become.
Result<DatabaseUser> database_user();
/// Root works on a folder as the user it belongs to: files of the basic profile stay its user's, whoever restores them. Before the first
/// database_user(); a folder of root's, or one that is not there, changes nothing.
void work_as_owner_of(const std::filesystem::path& folder);

/// The whole process becomes `user` for good: a server that answers the internet has no business being root. With `keep_low_ports` it may
/// still bind ports below 1024. Throws std::system_error.
void become(const DatabaseUser& user, bool keep_low_ports);

struct Command {
  std::vector<std::string> argv;
  DatabaseUser as;
  std::string input;                                     ///< to stdin
  Millis limit{120000};                                  ///< killed after it
  std::function<void(std::string_view)> on_output = {};  ///< sees stdout and stderr as they come; of the output the end is kept then
  const std::atomic<bool>* stop = nullptr;               ///< once true the program gets SIGTERM, after 10 s SIGKILL
  bool gentle = false;                                   ///< at low priority: others go first
};

struct Finished {
  int status = 0;      ///< exit code; 128 + signal when one ended it; 127 when it could not be started
  std::string output;  ///< stdout and stderr, at most 256 KiB
};

/// Runs a program to its end, in a process group of its own.
Finished run_command(const Command& command);

/// Ends every run_command under way with all that it started (initdb starts PostgreSQL), waits until nothing of it is left, and lets no
/// other begin: for a process that is about to end and must leave nobody behind who still writes.
void end_commands();

/// Starts postgres in a session of its own (Ctrl-C in a terminal must not reach it before HTTP has drained), its output going to `log`.
/// It gets SIGINT, a fast shutdown, when the calling *thread* ends: call it on one that lives as long as the process.
/// Throws std::system_error.
pid_t spawn_server(const std::vector<std::string>& argv, const DatabaseUser& as, const std::filesystem::path& log);

/// Waits for a process that need not be our child; false when it still lives at the deadline.
bool wait_for_end(pid_t pid, Deadline deadline);

}  // namespace enishi::cluster

// The PostgreSQL that Enishi runs by itself in a data folder, when it is given no other one:
//
//   auto cluster = EmbeddedCluster::start({.data = "/var/lib/enishi"});       // initdb on the first start, recovery after a crash
//   if (!cluster) return tl::make_unexpected(cluster.error());
//   pg::Config config{.conninfo = (*cluster)->conninfo("enishi_app")};
//
// What lies in the folder (mode 0700):
//   enishi.cluster    says that the folder is Enishi's, and its format
//   enishi.lock       flock(2)ed by the Enishi that uses it, with its pid
//   pgdata/           the cluster: UTF-8, data checksums, collation C; PG_VERSION in it decides which PostgreSQL runs
//   pgdata/enishi.conf, pg_hba.conf, pg_ident.conf    written at every start
//   postgresql.local.conf   yours: settings that win over enishi.conf
//   socket/           the Unix socket (mode 0700), or socket-folder, a file that names a short folder when this path is too long
//   log/              PostgreSQL's log, a week of JSON lines; parameters of statements never get there
//   backup.key, pgbackrest.conf, backup/ and more: see repository.hpp
//   enishi.restored   the cluster was restored and not promoted yet: it is quiet (restore.hpp)
// Other names in the folder are left alone.
//
// Who gets in: over the socket only, whose folder other users cannot enter, and there only the operating system's users who run Enishi and
// root (`peer` with a map; the kernel vouches for the user, no password exists). TCP is off unless a port is asked for: 127.0.0.1, SCRAM.
//
// Roles: `enishi_owner` owns the database and the schema and is no superuser, `enishi_app` has the DML that migrations grant and no DDL,
// `enishi_read` reads. Here all three can log in. On any other PostgreSQL enishi_app and enishi_read are groups: the login of --database is
// a member of enishi_app (or the owner, who is one too), and Enishi does SET ROLE enishi_app (pg::Config::role).
#pragma once
#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "cluster/process.hpp"

namespace enishi::cluster {

struct Options {
  std::filesystem::path data;
  std::filesystem::path pg_bin;          ///< folder of postgres and initdb; empty: the newest in /usr/lib/postgresql that fits
  std::optional<std::uint16_t> pg_port;  ///< TCP on 127.0.0.1 as well
  unsigned max_connections = 100;
  std::vector<std::string> more_roles = {};  ///< that may log in over the socket beside Enishi's own; whoever asks makes them
  bool logical = false;                      ///< wal_level=logical: others may decode its changes
  bool durable = true;                       ///< false: fsync=off, for tests that do not test it
  Millis start_limit{120000};                ///< recovery after a crash counts
  bool archive = false;                      ///< archive_mode on; the command comes from the guardian's enishi.backup.conf
  std::string more_settings;                 ///< lines that end enishi.conf: recovery of a restored cluster, habits of the sample company's
  bool small = false;                        ///< little memory, for a cluster that is only looked at
  bool recovering = false;                   ///< ready means that recovery is over: "standby" is not
  int start_attempts = 6;                    ///< a first start is tried so often
  const std::atomic<bool>* stop = nullptr;   ///< once true, start() gives up: ENDED
};

/// Folder of PostgreSQL's programs and its major version.
struct Binaries {
  std::filesystem::path bin;
  int major = 0;
};

/// The programs for a cluster of version `wanted`, or for a new one the newest that the installed pgBackRest can back up (0).
/// POSTGRES_MISSING, POSTGRES_VERSION.
Result<Binaries> find_binaries(const std::filesystem::path& pg_bin, int wanted);
/// Newest PostgreSQL that a pgBackRest of that version ("2.45") backs up; 0 when it knows none we support.
int newest_supported_by_pgbackrest(std::string_view version);

/// Bytes of memory this process may use: the machine's, or its cgroup's limit.
std::uint64_t machine_memory();
/// enishi.conf for a machine of that size.
std::string server_settings(std::uint64_t memory, std::uint64_t free_disk, const Options& options,
                            const std::filesystem::path& socket_folder);

class EmbeddedCluster {
 public:
  /// Takes the folder, makes the cluster when there is none, starts it and waits until it answers. A supervisor thread then restarts
  /// PostgreSQL whenever it ends, with back-off. Errors: DATA_IN_USE, DATA_NOT_OURS, DATA_UNWRITABLE, DATA_UNREACHABLE, DISK_FULL,
  /// POSTGRES_MISSING, POSTGRES_VERSION, POSTGRES_FAILED, DATABASE_USER_MISSING, DATA_LOST (the database is gone and its backups are
  /// there: it is to be restored, not made anew).
  static Result<std::unique_ptr<EmbeddedCluster>> start(Options options);
  EmbeddedCluster(const EmbeddedCluster&) = delete;
  EmbeddedCluster& operator=(const EmbeddedCluster&) = delete;
  ~EmbeddedCluster();

  /// libpq connection string of database "enishi" for a role, over the socket.
  [[nodiscard]] std::string conninfo(std::string_view role) const;
  /// Fast shutdown: running transactions are rolled back, a checkpoint is written. Done when it returns.
  void stop();
  /// Reads its settings again (SIGHUP).
  void reload();
  [[nodiscard]] const Binaries& binaries() const;
  [[nodiscard]] const DatabaseUser& user() const;
  [[nodiscard]] const std::filesystem::path& data() const;
  [[nodiscard]] int port() const;
  /// PostgreSQL's process, or 0 while it is down.
  [[nodiscard]] pid_t postmaster() const;
  /// Waits until PostgreSQL accepts connections and was started again at least `restarts` times.
  bool wait_ready(Deadline deadline, unsigned restarts = 0) const;
  /// Times the supervisor had to start it again.
  [[nodiscard]] unsigned restarts() const;
  [[nodiscard]] const std::filesystem::path& socket_folder() const;
  struct Impl;

 private:
  explicit EmbeddedCluster(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Connection string to a cluster that another Enishi runs in `data` now; nothing when none does.
std::optional<std::string> conninfo_of_running(const std::filesystem::path& data, std::string_view role);

}  // namespace enishi::cluster

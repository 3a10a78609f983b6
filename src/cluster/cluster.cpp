#include "cluster/cluster.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>
#include <cstring>
#include <fstream>
#include <mutex>
#include <sstream>
#include <thread>

#include "base/id.hpp"
#include "base/log.hpp"
#include "base/metrics.hpp"
#include "cluster/continuity.sql.hpp"
#include "cluster/files.hpp"
#include "cluster/process.hpp"
#include "cluster/repository.hpp"
#include "cluster/session.hpp"

namespace enishi::cluster {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSocketNote = "socket-folder";
constexpr std::size_t kLongestSocketPath = 107;     // sockaddr_un::sun_path less its NUL
constexpr std::uint64_t kLeastFree = 300ULL << 20;  // initdb writes 40 MB, the first WAL 16 MB, and there must be room to work
constexpr const char* kRoles[] = {"enishi_owner", "enishi_app", "enishi_read"};

/// A path that postgresql.conf's comma-separated list and 107 bytes can hold.
bool fits_socket(const fs::path& folder, int port) {
  const auto name = folder.string() + "/.s.PGSQL." + std::to_string(port);
  return name.size() <= kLongestSocketPath &&
         folder.string().find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-+") == std::string::npos;
}

/// A folder recorded earlier is used again only when it is still ours alone: /tmp is everybody's.
bool ours_alone(const fs::path& folder, const DatabaseUser& user) {
  struct stat st{};
  return lstat(folder.c_str(), &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == user.uid && (st.st_mode & 0077) == 0;
}

Result<fs::path> choose_socket_folder(const fs::path& data, const DatabaseUser& user, int port) {
  const auto usual = data / "socket";
  const auto note = data / kSocketNote;
  std::error_code ignored;
  if (fits_socket(usual, port)) {
    if (auto made = private_folder(usual, user); !made) return tl::make_unexpected(made.error());
    fs::remove(note, ignored);
    return usual;
  }
  if (fs::exists(note, ignored)) {
    auto recorded = slurp(note);
    while (!recorded.empty() && recorded.back() == '\n') recorded.pop_back();
    if (fits_socket(recorded, port) && ours_alone(recorded, user)) return fs::path(recorded);
  }
  for (std::string pattern : {"/run/enishi-XXXXXX", "/tmp/enishi-XXXXXX"}) {
    if (mkdtemp(pattern.data()) == nullptr) continue;
    if (auto made = private_folder(pattern, user); !made) return tl::make_unexpected(made.error());
    if (auto noted = put(note, pattern + "\n", user); !noted) return tl::make_unexpected(noted.error());
    return fs::path(pattern);
  }
  return tl::make_unexpected(unwritable("/tmp", errno));
}

struct PidFile {
  pid_t pid = 0;
  std::string status;
};

/// postmaster.pid: line 1 the pid, line 8 the status (miscadmin.h of PostgreSQL 15, LOCK_FILE_LINE_*).
PidFile read_pid_file(const fs::path& pgdata) {
  std::istringstream lines(slurp(pgdata / "postmaster.pid"));
  PidFile out;
  std::string line;
  for (int i = 1; std::getline(lines, line); ++i) {
    if (i == 1) out.pid = static_cast<pid_t>(std::atol(line.c_str()));
    if (i == 8) out.status = line.substr(0, line.find(' '));
  }
  return out;
}

/// Whether `pid` is a postgres that works in `pgdata`. A pid in an old file may be anybody's by now.
bool is_postmaster(pid_t pid, const fs::path& pgdata) {
  if (pid <= 0 || kill(pid, 0) != 0) return false;
  std::error_code ec;
  const auto proc = fs::path("/proc") / std::to_string(pid);
  if (!slurp(proc / "comm").starts_with("postgres")) return false;
  const auto where = fs::read_symlink(proc / "cwd", ec);
  return !ec && fs::equivalent(where, pgdata, ec) && !ec;
}

/// A postmaster that outlived its Enishi (killed together with nothing, or still shutting down) is stopped: fast, then at once.
Result<void> stop_orphan(const fs::path& pgdata) {
  const auto left = read_pid_file(pgdata).pid;
  if (!is_postmaster(left, pgdata)) return {};
  log_warning("a PostgreSQL of an earlier run still holds the data folder; stopping it", {{"pid", left}});
  kill(left, SIGINT);
  if (wait_for_end(left, Deadline::in(Millis(30000)))) return {};
  kill(left, SIGQUIT);
  if (wait_for_end(left, Deadline::in(Millis(10000)))) return {};
  return fail(Kind::unavailable, "DATA_IN_USE",
              fmt::format("PostgreSQL with pid {} works in \"{}\" and does not stop", left, pgdata.string()));
}

/// PostgreSQL takes a postmaster.pid for valid as long as its pid is alive, which a zombie that nobody has reaped yet is, too, and anybody
/// who got that number since. No process has the number written instead. The other lines stay: by the shared memory they name PostgreSQL
/// still refuses to start beside backends that outlived their postmaster.
Result<void> disown_stale_pid(const fs::path& pgdata, const DatabaseUser& user) {
  constexpr const char* kNobody = "2147483647";
  const auto left = read_pid_file(pgdata).pid;
  if (left <= 0 || is_postmaster(left, pgdata) || (kill(left, 0) != 0 && errno == ESRCH)) return {};
  const auto text = slurp(pgdata / "postmaster.pid");
  return put(pgdata / "postmaster.pid", kNobody + text.substr(std::min(text.find('\n'), text.size())), user);
}

/// Makes the folder, or makes sure that what is in it is ours.
Result<void> claim(const fs::path& data, const DatabaseUser& user) {
  std::error_code ec;
  if (fs::exists(data, ec) && !fs::is_directory(data, ec))
    return fail(Kind::unavailable, "DATA_NOT_OURS", "\"" + data.string() + "\" is no folder");
  const bool existed = fs::exists(data, ec);
  fs::create_directories(data, ec);
  if (ec) return tl::make_unexpected(unwritable(data, ec.value()));
  if (existed && !fs::exists(data / kMarker, ec)) {
    auto entries = fs::directory_iterator(data, ec);
    if (ec) return tl::make_unexpected(unwritable(data, ec.value()));
    for (const auto& entry : entries) {
      const auto name = entry.path().filename().string();
      if (name == kLock || name == "lost+found" || name == std::string(kMarker) + ".new") continue;
      const bool cluster = fs::exists(data / "PG_VERSION", ec);
      return fail(
          Kind::unavailable, "DATA_NOT_OURS",
          fmt::format("\"{}\" is not empty and not a data folder of Enishi{}. Choose an empty or a new folder.", data.string(),
                      cluster ? "; it looks like the data of a PostgreSQL server, to which Enishi can connect with --database" : ""));
    }
  }
  return private_folder(data, user);
}

/// Everything that was written to the disk of `folder`, at once: PostgreSQL's own programs do it file by file, a thousand waits one after
/// the other.
bool flushed(const fs::path& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool done = syncfs(fd) == 0;
  const int why = errno;
  ::close(fd);
  errno = why;
  return done;
}

/// initdb into a folder beside, roles and database in it by a single-user server, then one rename: a crash leaves nothing half made.
Result<void> create_cluster(const fs::path& data, const Binaries& binaries, const DatabaseUser& user, bool durable) {
  const auto fresh = data / "pgdata.new";
  std::error_code ec;
  fs::remove_all(fresh, ec);
  if (const auto room = free_disk(data); room < kLeastFree)
    return fail(
        Kind::unavailable, "DISK_FULL",
        fmt::format("a new database needs {} MB on the disk of \"{}\", and {} MB are free", kLeastFree >> 20, data.string(), room >> 20));
  if (auto made = private_folder(fresh, user); !made) return made;
  log_info("making a new PostgreSQL cluster", {{"folder", data.string()}, {"postgresql", binaries.major}});

  // Collation C: bytes of UTF-8 sort by code point, indexes serve LIKE 'x%', and no update of the system's locales can corrupt an index.
  // Japanese order is asked for by name (ja-x-icu). Letters are known to lower() and upper() through C.UTF-8 where the system has it.
  const auto* ctype = "C";
  if (const locale_t utf8 = newlocale(LC_ALL_MASK, "C.UTF-8", nullptr); utf8 != nullptr) {
    ctype = "C.UTF-8";
    freelocale(utf8);
  }
  std::vector<std::string> initdb{binaries.bin / "initdb",
                                  "--pgdata",
                                  fresh,
                                  "--username",
                                  "postgres",
                                  "--encoding",
                                  "UTF8",
                                  "--lc-collate",
                                  "C",
                                  "--lc-ctype",
                                  ctype,
                                  "--lc-messages",
                                  "C",
                                  "--lc-monetary",
                                  "C",
                                  "--lc-numeric",
                                  "C",
                                  "--lc-time",
                                  "C",
                                  "--text-search-config",
                                  "simple",
                                  "--data-checksums",
                                  "--auth-local",
                                  "peer",
                                  "--auth-host",
                                  "scram-sha-256",
                                  "--no-instructions",
                                  "--no-sync"};
  const auto made = run_command({initdb, user, {}, Millis(300000)});
  if (made.status != 0) {
    const bool full = made.output.find("No space left") != std::string::npos;
    return fail(Kind::unavailable, full ? "DISK_FULL" : "POSTGRES_FAILED", "initdb failed: " + tail(made.output));
  }
  // What enishi_app does wrong is answered to Enishi, which logs it without values; an ERROR line of the server's would quote them.
  const std::string sql =
      "create role enishi_owner login;\n"
      "create role enishi_app login;\n"
      "create role enishi_read login;\n"
      "alter role enishi_app set log_min_messages to log;\n"
      "alter role enishi_read set log_min_messages to log;\n"
      "create database enishi owner enishi_owner template template0;\n"
      "select collname from pg_collation where collname = 'ja-x-icu';\n";
  std::vector<std::string> single{binaries.bin / "postgres", "--single", "-D", fresh, "-F", "-c", "log_min_messages=fatal", "-c",
                                  "exit_on_error=off",       "template1"};
  const auto filled = run_command({single, user, sql, Millis(120000)});
  if (filled.status != 0 || filled.output.find("ERROR:") != std::string::npos)
    return fail(Kind::unavailable, "POSTGRES_FAILED", "making roles and database failed: " + tail(filled.output));
  if (filled.output.find("= \"ja-x-icu\"") == std::string::npos)
    return fail(Kind::unavailable, "POSTGRES_FAILED",
                "the PostgreSQL in \"" + binaries.bin.string() +
                    "\" was built without ICU: it has no collation ja-x-icu, which sorts Japanese names");
  if (durable && !flushed(fresh)) return tl::make_unexpected(unwritable(fresh, errno));
  if (rename(fresh.c_str(), (data / "pgdata").c_str()) != 0) return tl::make_unexpected(unwritable(data / "pgdata", errno));
  if (durable && !flushed(data)) return tl::make_unexpected(unwritable(data, errno));
  return {};
}

Result<void> write_settings(const Options& options, const DatabaseUser& user, const fs::path& socket) {
  const auto pgdata = options.data / "pgdata";
  const auto main = slurp(pgdata / "postgresql.conf");
  const std::string include = "\ninclude 'enishi.conf'\ninclude_if_exists '../postgresql.local.conf'\n";
  if (main.find(include) == std::string::npos)
    if (auto done = put(pgdata / "postgresql.conf", main + include, user); !done) return done;
  if (auto done = put(pgdata / "enishi.conf", server_settings(machine_memory(), free_disk(pgdata), options, socket), user); !done)
    return done;
  // No commit waits for a receiver that is not there yet; the guardian sets its name once it has caught up.
  std::error_code ec;
  if (!options.archive && has_backups(options.data) && !fs::exists(options.data / kQuiet, ec))
    if (auto done = put(options.data / kGap, "served without backups\n", user); !done) return done;
  if (options.archive)
    if (auto done = put(pgdata / kGuardianConf, guardian_conf(options.data, false, false), user); !done) return done;
  std::string hba =
      "# Written by Enishi at every start: see cluster.hpp for who gets in.\n"
      "local all all peer map=enishi\n"
      "local replication all peer map=enishi\n";
  if (options.pg_port) hba += "host all all 127.0.0.1/32 scram-sha-256\n";
  if (auto done = put(pgdata / "pg_hba.conf", hba, user); !done) return done;
  std::string ident = "# Written by Enishi at every start. MAPNAME SYSTEM-USERNAME PG-USERNAME\n";
  for (const auto& person : user.name == "root" ? std::vector<std::string>{"root"} : std::vector<std::string>{user.name, "root"}) {
    ident += fmt::format("enishi \"{}\" postgres\n", person);
    for (const auto* role : kRoles) ident += fmt::format("enishi \"{}\" {}\n", person, role);
    for (const auto& role : options.more_roles) ident += fmt::format("enishi \"{}\" {}\n", person, role);
  }
  return put(pgdata / "pg_ident.conf", ident, user);
}

std::string make_conninfo(const fs::path& socket, int port, std::string_view role) {
  return fmt::format("host={} port={} dbname=enishi user={} sslmode=disable gssencmode=disable", conninfo_value(socket.string()), port,
                     role);
}

/// Without backups nobody receives: what the slot of an earlier start keeps would only grow.
void drop_left_slot(const EmbeddedCluster& cluster) {
  std::error_code ec;
  if (!fs::exists(cluster.data() / "pgdata" / "pg_replslot" / kReceiver, ec)) return;
  Session session(cluster.conninfo("postgres"));
  if (auto dropped = session.ask(sql::continuity::drop_slot); !dropped)
    log_warning("the receiver's slot could not be dropped", {{"error", dropped.error().detail}});
}

metrics::Counter& restarted() {
  static auto& counter = metrics::counter("enishi_postgres_restarts_total", "Times the embedded PostgreSQL had to be started again");
  return counter;
}

}  // namespace

struct EmbeddedCluster::Impl {
  Options options;
  DatabaseUser user;
  Binaries binaries;
  Lock lock;
  fs::path socket;

  mutable std::mutex guard;
  mutable std::condition_variable changed;
  pid_t pid = 0;
  bool ready = false;
  bool stopping = false;
  bool ended = false;      ///< the supervisor will start nothing any more
  bool was_ready = false;  ///< it worked once: from then on it is started again for ever
  unsigned starts = 0;
  std::string failure;
  std::thread supervisor;

  [[nodiscard]] fs::path pgdata() const { return options.data / "pgdata"; }
  [[nodiscard]] int port() const { return options.pg_port.value_or(5432); }

  void supervise();
  int run_once();
  void stop();
};

/// Starts postgres and waits for its end; returns its wait status. All signals to it are sent with `guard` held while it is no zombie that
/// was reaped, so its pid cannot be another process's.
int EmbeddedCluster::Impl::run_once() {
  pid_t child = 0;
  try {
    child = spawn_server({binaries.bin / "postgres", "-D", pgdata()}, user, options.data / "log" / "startup.log");
  } catch (const std::system_error& e) {
    const std::lock_guard held(guard);
    failure = e.what();
    return 1;
  }
  {
    const std::lock_guard held(guard);
    pid = child;
    ++starts;
    if (stopping) kill(child, SIGINT);
  }
  while (!wait_for_end(child, Deadline::in(Millis(20)))) {
    const auto file = read_pid_file(pgdata());
    if (file.pid == child && (file.status == "ready" || (file.status == "standby" && !options.recovering))) {
      {
        const std::lock_guard held(guard);
        ready = was_ready = true;
      }
      changed.notify_all();
      break;
    }
  }
  siginfo_t info{};
  while (waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
  }
  const std::lock_guard held(guard);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  pid = 0;
  ready = false;
  return status;
}

void EmbeddedCluster::Impl::supervise() {
  constexpr Millis kShortest{100}, kLongest{5000};
  auto pause = kShortest;
  int failures = 0;
  for (;;) {
    const auto began = steady_now();
    const int status = run_once();
    std::unique_lock held(guard);
    if (stopping) break;
    if (!was_ready && ++failures >= options.start_attempts) {
      // A first start is tried a few times, for processes of a killed run may need a moment to leave; then the person at the terminal is
      // told.
      if (failure.empty()) failure = tail(slurp(options.data / "log" / "startup.log"));
      break;
    }
    log_error("postgres ended; starting it again",
              {{"status", WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status)}, {"pause_ms", pause.count()}});
    restarted().add();
    if (steady_now() - began > std::chrono::seconds(30)) pause = kShortest;
    changed.wait_for(held, pause, [this] { return stopping; });
    if (stopping) break;
    pause = std::min(pause * 2, kLongest);
  }
  {
    const std::lock_guard held(guard);
    ended = true;
  }
  changed.notify_all();
}

void EmbeddedCluster::Impl::stop() {
  {
    std::unique_lock held(guard);
    stopping = true;
    if (pid != 0) kill(pid, SIGINT);
    changed.notify_all();
    // A fast shutdown waits for the checkpoint; a disk that takes longer than this gets an immediate one, and recovery at the next start.
    if (supervisor.joinable() && !changed.wait_for(held, std::chrono::seconds(60), [this] { return ended; })) {
      log_error("postgres does not stop; ending it at once");
      if (pid != 0) kill(pid, SIGQUIT);
    }
  }
  if (supervisor.joinable()) supervisor.join();
  if (socket != options.data / "socket" && !socket.empty()) {
    std::error_code ignored;
    fs::remove(socket, ignored);
  }
  lock = Lock{};
}

EmbeddedCluster::EmbeddedCluster(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

EmbeddedCluster::~EmbeddedCluster() { impl_->stop(); }

void EmbeddedCluster::stop() { impl_->stop(); }

Result<std::unique_ptr<EmbeddedCluster>> EmbeddedCluster::start(Options options) {
  auto impl = std::make_unique<Impl>();
  impl->options = std::move(options);
  auto& data = impl->options.data;
  std::error_code ec;
  data = fs::weakly_canonical(data, ec);
  if (ec) return tl::make_unexpected(unwritable(impl->options.data, ec.value()));

  auto user = database_user();
  if (!user) return tl::make_unexpected(user.error());
  impl->user = *user;
  if (auto reachable = check_reachable(data, *user); !reachable) return tl::make_unexpected(reachable.error());
  if (auto mine = claim(data, *user); !mine) return tl::make_unexpected(mine.error());
  auto lock = take_lock(data, *user);
  if (!lock) return tl::make_unexpected(lock.error());
  impl->lock = std::move(*lock);
  const auto pgdata = data / "pgdata";
  if (!fs::exists(data / kMarker, ec))
    if (auto done = put(data / kMarker, "Enishi data folder, format 1\n", *user); !done) return tl::make_unexpected(done.error());

  const bool exists = fs::exists(pgdata / "PG_VERSION", ec);
  auto binaries = find_binaries(impl->options.pg_bin, exists ? std::atoi(slurp(pgdata / "PG_VERSION").c_str()) : 0);
  if (!binaries) return tl::make_unexpected(binaries.error());
  impl->binaries = *binaries;
  if (exists) {
    if (auto fixed = fix_owner(pgdata, *user); !fixed) return tl::make_unexpected(fixed.error());
    if (auto stopped = stop_orphan(pgdata); !stopped) return tl::make_unexpected(stopped.error());
    if (auto disowned = disown_stale_pid(pgdata, *user); !disowned) return tl::make_unexpected(disowned.error());
  } else if (fs::exists(data / kStanzaNote, ec)) {
    return fail(
        Kind::unavailable, "DATA_LOST",
        fmt::format("the database of \"{0}\" is gone (there is no \"{0}/pgdata\"), but its backups are known. Bring it back with "
                    "`enishi restore --data {0} --into {0}/restored` and `enishi restore --data {0} --into {0}/restored --promote`; "
                    "remove \"{0}/{1}\" only to begin with an empty database.",
                    data.string(), kStanzaNote));
  } else if (auto made = create_cluster(data, *binaries, *user, impl->options.durable); !made) {
    return tl::make_unexpected(made.error());
  }
  if (auto made = private_folder(data / "log", *user); !made) return tl::make_unexpected(made.error());
  auto socket = choose_socket_folder(data, *user, impl->port());
  if (!socket) return tl::make_unexpected(socket.error());
  impl->socket = *socket;
  if (auto done = write_settings(impl->options, *user, impl->socket); !done) return tl::make_unexpected(done.error());

  auto* raw = impl.get();
  raw->supervisor = std::thread([raw] { raw->supervise(); });
  std::unique_ptr<EmbeddedCluster> cluster(new EmbeddedCluster(std::move(impl)));
  std::string failure;
  {
    std::unique_lock held(raw->guard);
    const auto limit = Deadline::in(raw->options.start_limit);
    const auto* given_up = raw->options.stop;
    bool decided = false;
    while (!decided && !limit.passed() && (given_up == nullptr || !given_up->load()))
      decided = raw->changed.wait_for(held, Millis(200), [raw] { return raw->ready || raw->ended; });
    if (raw->ready) {
      held.unlock();
      if (!raw->options.archive) drop_left_slot(*cluster);
      return cluster;
    }
    if (given_up != nullptr && given_up->load()) return fail(Kind::unavailable, "ENDED", "it was told to stop while PostgreSQL started");
    failure = decided ? raw->failure : fmt::format("it was not ready after {} s", raw->options.start_limit.count() / 1000);
  }
  const bool full = failure.find("No space left") != std::string::npos;
  return fail(Kind::unavailable, full ? "DISK_FULL" : "POSTGRES_FAILED",
              "PostgreSQL does not start: " + failure + " (its log is in \"" + (data / "log").string() + "\")");
}

std::string EmbeddedCluster::conninfo(std::string_view role) const { return make_conninfo(impl_->socket, impl_->port(), role); }

pid_t EmbeddedCluster::postmaster() const {
  const std::lock_guard held(impl_->guard);
  return impl_->pid;
}

bool EmbeddedCluster::wait_ready(Deadline deadline, unsigned restarts) const {
  std::unique_lock held(impl_->guard);
  return impl_->changed.wait_until(held, deadline.at, [this, restarts] { return impl_->ready && impl_->starts > restarts; });
}

unsigned EmbeddedCluster::restarts() const {
  const std::lock_guard held(impl_->guard);
  return impl_->starts == 0 ? 0 : impl_->starts - 1;
}

void EmbeddedCluster::reload() {
  const std::lock_guard held(impl_->guard);
  if (impl_->pid != 0) kill(impl_->pid, SIGHUP);
}

const Binaries& EmbeddedCluster::binaries() const { return impl_->binaries; }
const DatabaseUser& EmbeddedCluster::user() const { return impl_->user; }
const fs::path& EmbeddedCluster::data() const { return impl_->options.data; }
int EmbeddedCluster::port() const { return impl_->port(); }

const fs::path& EmbeddedCluster::socket_folder() const { return impl_->socket; }

std::optional<std::string> conninfo_of_running(const fs::path& data, std::string_view role) {
  if (!in_use(data)) return std::nullopt;
  std::istringstream lines(slurp(data / "pgdata" / "postmaster.pid"));
  std::string line, socket;
  int port = 0;
  for (int i = 1; std::getline(lines, line); ++i) {  // lines 4 and 5: port, first socket folder
    if (i == 4) port = std::atoi(line.c_str());
    if (i == 5) socket = line;
  }
  if (socket.empty()) return std::nullopt;
  return make_conninfo(socket, port, role);
}

}  // namespace enishi::cluster

#include "pg/testing.hpp"

#include <fcntl.h>
#include <grp.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace enishi::pg::testing {
namespace {

namespace fs = std::filesystem;

/// initdb and postgres refuse root.
const passwd* other_user() {
  if (::geteuid() != 0) return nullptr;
  const auto* user = ::getpwnam("postgres");
  if (user == nullptr) throw std::runtime_error("there is no user postgres to run PostgreSQL as");
  return user;
}

/// Where initdb and postgres are: ENISHI_TEST_PG_BIN, or Debian's newest.
std::string bin_folder() {
  if (const char* given = std::getenv("ENISHI_TEST_PG_BIN")) return given;
  int newest = 0;
  const fs::path root = "/usr/lib/postgresql";
  if (fs::exists(root))
    for (const auto& entry : fs::directory_iterator(root))
      if (fs::exists(entry.path() / "bin/initdb")) newest = std::max(newest, std::atoi(entry.path().filename().c_str()));
  if (newest == 0) throw std::runtime_error("no PostgreSQL under /usr/lib/postgresql; set ENISHI_TEST_PG_BIN");
  return (root / std::to_string(newest) / "bin").string();
}

/// Starts a program as the other user, its output in `log`, its standard input from `in` (or nothing). Between fork and exec only what
/// is safe there: the test may have threads.
pid_t launch(const std::vector<std::string>& words, const std::string& folder, const std::string& log, const passwd* user, int in = -1) {
  std::vector<char*> argv;
  for (const auto& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) throw std::runtime_error("fork failed");
  if (pid > 0) return pid;
  ::setsid();
  const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  const int input = in >= 0 ? in : ::open("/dev/null", O_RDONLY);
  ::dup2(input, 0);
  ::dup2(out, 1);
  ::dup2(out, 2);
  for (int fd = 3; fd < 1024; ++fd) ::close(fd);
  if (user != nullptr && (::setgroups(0, nullptr) != 0 || ::setgid(user->pw_gid) != 0 || ::setuid(user->pw_uid) != 0)) ::_exit(126);
  if (::chdir(folder.c_str()) != 0) ::_exit(126);
  ::execv(argv[0], argv.data());
  ::_exit(127);
}

std::string log_of(const std::string& folder) {
  std::ifstream in(folder + "/log");
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

/// Whether a process still works in `folder`: the backends of a killed postmaster need a moment to notice, and hold its shared memory.
bool occupied(const std::string& folder) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/proc", ignored))
    if (fs::read_symlink(entry.path() / "cwd", ignored) == fs::path(folder)) return true;
  return false;
}

std::string next_name(const char* prefix) {
  static std::atomic<int> count{0};
  return prefix + std::to_string(++count);
}

struct Connection {
  explicit Connection(const std::string& conninfo) : raw(PQconnectdb(conninfo.c_str())) {
    PQsetNoticeProcessor(raw, [](void*, const char*) {}, nullptr);
  }
  ~Connection() { PQfinish(raw); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  PGconn* raw;
};

}  // namespace

std::vector<std::vector<std::optional<std::string>>> sql(const std::string& conninfo, const std::string& text) {
  const Connection connection(conninfo);
  const std::unique_ptr<PGresult, void (*)(PGresult*)> result(PQexec(connection.raw, text.c_str()), PQclear);
  const auto status = PQresultStatus(result.get());
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_EMPTY_QUERY)
    throw std::runtime_error(PQerrorMessage(connection.raw));
  std::vector<std::vector<std::optional<std::string>>> rows;
  for (int r = 0; r < PQntuples(result.get()); ++r) {
    auto& row = rows.emplace_back();
    for (int c = 0; c < PQnfields(result.get()); ++c)
      row.push_back(PQgetisnull(result.get(), r, c) != 0 ? std::nullopt : std::optional<std::string>(PQgetvalue(result.get(), r, c)));
  }
  return rows;
}

Server& Server::get() {
  static Server one;
  return one;
}

Server::Server() : bin_(bin_folder()) {
  const auto* user = other_user();
  char folder[] = "/tmp/enishi-test-XXXXXX";
  if (::mkdtemp(folder) == nullptr) throw std::runtime_error("cannot make a folder in /tmp");
  folder_ = folder;
  ::chmod(folder, 0755);
  if (user != nullptr && ::chown(folder, user->pw_uid, user->pw_gid) != 0) throw std::runtime_error("cannot give the folder to postgres");
  watch();
  const pid_t init = launch({bin_ + "/initdb", "-D", folder_ + "/data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8",
                             "--no-sync", "--no-instructions"},
                            folder_, folder_ + "/log", user);
  int status = 0;
  ::waitpid(init, &status, 0);
  if (status != 0) throw std::runtime_error("initdb failed:\n" + log_of(folder_));
  start();
}

/// A process of its own that stops the server and removes the folder when this one has ended, even by a crash. The pid in the folder is
/// believed only while that process really sits in it.
void Server::watch() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe failed");
  const std::string script =
      "cat >/dev/null; pid=$(head -n 1 data/postmaster.pid 2>/dev/null); "
      "if [ -n \"$pid\" ] && [ \"$(readlink /proc/$pid/cwd)\" = \"$0/data\" ]; then kill -QUIT \"$pid\"; "
      "while [ -e /proc/$pid/cwd ]; do sleep 0.05; done; fi; rm -rf \"$0\"";
  watchdog_ = launch({"/bin/sh", "-c", script, folder_}, folder_, "/dev/null", nullptr, ends[0]);
  ::close(ends[0]);
  lifeline_ = ends[1];
}

Server::~Server() {
  stop();
  ::close(lifeline_);
  ::waitpid(watchdog_, nullptr, 0);
}

void Server::start() {
  if (postmaster_ != 0) return;
  std::vector<std::string> words{bin_ + "/postgres", "-D", folder_ + "/data"};
  for (const char* setting :
       {"listen_addresses=", "fsync=off", "full_page_writes=off", "max_connections=200", "max_prepared_transactions=4", "wal_level=logical",
        "shared_buffers=64MB", "jit=off", "log_min_messages=warning", "huge_pages=off"}) {
    words.emplace_back("-c");
    words.emplace_back(setting);
  }
  words.emplace_back("-c");
  words.emplace_back("unix_socket_directories=" + folder_);
  postmaster_ = launch(words, folder_, folder_ + "/log", other_user());
  const auto limit = Deadline::in(Millis(60000));
  while (PQping(conninfo().c_str()) != PQPING_OK) {
    int status = 0;
    if (::waitpid(postmaster_, &status, WNOHANG) == postmaster_ || limit.passed()) {
      postmaster_ = 0;
      throw std::runtime_error("PostgreSQL did not start:\n" + log_of(folder_));
    }
    std::this_thread::sleep_for(Millis(10));
  }
}

void Server::stop() {
  if (postmaster_ == 0) return;
  // Fast shutdown, so that what is committed stays although fsync is off.
  ::kill(postmaster_, SIGINT);
  ::waitpid(postmaster_, nullptr, 0);
  postmaster_ = 0;
}

void Server::kill() {
  if (postmaster_ == 0) return;
  ::kill(postmaster_, SIGKILL);
  ::waitpid(postmaster_, nullptr, 0);
  postmaster_ = 0;
  const auto limit = Deadline::in(Millis(20000));
  while (occupied(folder_ + "/data") && !limit.passed()) std::this_thread::sleep_for(Millis(5));
}

std::string Server::conninfo(const std::string& database) const { return "host=" + folder_ + " user=postgres dbname=" + database; }

Template::Template(const std::string& name, const std::function<void(const std::string& conninfo)>& fill) : database_("template_" + name) {
  auto& server = Server::get();
  sql(server.conninfo(), "create database " + database_);
  fill(server.conninfo(database_));
}

Fresh::Fresh() : database_(next_name("fresh_")) { testing::sql(Server::get().conninfo(), "create database " + database_); }

Fresh::Fresh(const Template& from) : database_(next_name("fresh_")) {
  testing::sql(Server::get().conninfo(), "create database " + database_ + " template " + from.database() +
                                             " strategy file_copy");  // nothing is synced here, so files are cheaper than their WAL
}

Fresh::~Fresh() {
  try {
    testing::sql(Server::get().conninfo(), "drop database if exists " + database_ + " with (force)");
  } catch (const std::runtime_error&) {
    // The test may have stopped the server; its folder goes anyway.
  }
}

void Fresh::sql(const std::string& text) const { testing::sql(conninfo(), text); }

std::optional<std::string> Fresh::value(const std::string& text) const {
  const auto rows = testing::sql(conninfo(), text);
  return rows.empty() || rows[0].empty() ? std::nullopt : rows[0][0];
}

namespace {
Config on(const Fresh& fresh, Config config) {
  if (config.conninfo.empty()) config.conninfo = fresh.conninfo();
  return config;
}
}  // namespace

Stage::Stage(Config config) : db(shard, offload, on(fresh, std::move(config))) {}
Stage::Stage(const Template& from, Config config) : fresh(from), db(shard, offload, on(fresh, std::move(config))) {}

void Stage::run_all(std::vector<Task<>> tasks) {
  std::size_t left = tasks.size();
  std::exception_ptr first;
  for (auto& task : tasks)
    asio::co_spawn(shard.executor(), std::move(task), [&](std::exception_ptr thrown) {
      if (thrown && !first) first = thrown;
      --left;
    });
  while (left > 0 && shard.context().run_one() > 0) {
  }
  if (first) std::rethrow_exception(first);
}

}  // namespace enishi::pg::testing

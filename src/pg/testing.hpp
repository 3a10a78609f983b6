// A throw-away PostgreSQL for tests: one server a test binary, started when first needed and gone when the process is, however it ends;
// one database a test.
//
//   pg::testing::Fresh fresh;                                  // an empty database, dropped at the end of the scope
//   pg::testing::Stage stage;                                  // the same with a shard, a pool and a Database on it
//   auto rows = stage.run(stage.db.read(statement, pg::params(1)));
//
//   const pg::testing::Template& migrated() {                  // filled once a process, copied for each test
//     static pg::testing::Template one("migrated", [](const std::string& conninfo) { migrate(conninfo); });
//     return one;
//   }
//   pg::testing::Fresh fresh(migrated());
#pragma once
#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "io/offload.hpp"
#include "io/shard.hpp"
#include "pg/database.hpp"

namespace enishi::pg::testing {

/// The server of this process. Listens on a Unix socket only; superuser `postgres`, no password. wal_level is logical.
class Server {
 public:
  /// Starts it the first time. Throws std::runtime_error with the server's log when it does not come up.
  static Server& get();
  [[nodiscard]] std::string conninfo(const std::string& database = "postgres") const;
  /// The folder of socket, log and data.
  [[nodiscard]] const std::string& folder() const { return folder_; }
  void stop();   ///< connections are cut, what is committed stays
  void kill();   ///< SIGKILL: as after a crash; returns when its backends are gone too
  void start();  ///< returns when connections are taken
  void restart() {
    stop();
    start();
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

 private:
  Server();
  ~Server();
  void watch();
  std::string folder_, bin_;
  pid_t postmaster_ = 0;
  pid_t watchdog_ = 0;
  int lifeline_ = -1;  ///< the watchdog sees it close when this process ends
};

/// A database that is filled once a process and then only copied.
class Template {
 public:
  Template(const std::string& name, const std::function<void(const std::string& conninfo)>& fill);
  [[nodiscard]] const std::string& database() const { return database_; }

 private:
  std::string database_;
};

class Fresh {
 public:
  Fresh();
  explicit Fresh(const Template& from);
  ~Fresh();
  Fresh(const Fresh&) = delete;
  Fresh& operator=(const Fresh&) = delete;
  [[nodiscard]] std::string conninfo() const { return Server::get().conninfo(database_); }
  [[nodiscard]] const std::string& database() const { return database_; }
  /// Runs SQL on a connection of its own, blocking. Throws std::runtime_error with the server's message.
  void sql(const std::string& text) const;
  /// The first value of the first row, or nothing.
  [[nodiscard]] std::optional<std::string> value(const std::string& text) const;

 private:
  std::string database_;
};

/// Everything a test of one shard needs. Change `config` in the constructor: Stage stage({.leases = 1}).
class Stage {
 public:
  explicit Stage(Config config = {});
  Stage(const Template& from, Config config = {});
  template <class T>
  T run(Task<T> task) {
    return run_task(shard.context(), std::move(task));
  }
  /// Starts several tasks and runs the loop until all have ended; throws the first exception.
  void run_all(std::vector<Task<>> tasks);

  Fresh fresh;
  Shard shard{0};
  Offload offload{2, 64};
  Database db;
};

/// Blocking, on a connection of its own, for any database.
std::vector<std::vector<std::optional<std::string>>> sql(const std::string& conninfo, const std::string& text);

}  // namespace enishi::pg::testing

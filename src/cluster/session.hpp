// One connection to a cluster of ours, used from a thread that may block: the guardian's, a restore's, a command's.
//
//   Session session(cluster.conninfo("postgres"));
//   auto rows = session.ask(sql::continuity::position);      // Result<Rows>; UNAVAILABLE for a database that is away
#pragma once
#include <functional>
#include <string>

#include "io/offload.hpp"
#include "io/shard.hpp"
#include "pg/database.hpp"
#include "pg/errors.hpp"

namespace enishi::cluster {

class Session {
 public:
  /// `options`: settings of the connection, as libpq's options has them.
  explicit Session(std::string conninfo, Millis statement_timeout = Millis(10000), std::string application = "enishi-guardian",
                   std::string options = {})
      : db_(shard_, offload_, config(std::move(conninfo), statement_timeout, std::move(application), std::move(options))),
        limit_(statement_timeout) {}
  ~Session() { db_.close(); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Result<pg::Rows> ask(const pg::Statement& statement, pg::Params params = {}) {
    return guarded<pg::Rows>([&] { return run_task(shard_.context(), db_.run(statement, std::move(params), Deadline::in(limit_))); });
  }
  /// Several trips on one connection.
  template <class T>
  Result<T> with(const std::function<Task<Result<T>>(pg::Lease&)>& work) {
    return guarded<T>([&] { return run_task(shard_.context(), leased<T>(db_, work)); });
  }
  /// Connections that died with a server that was restarted are let go.
  void forget() { db_.close(); }

 private:
  static pg::Config config(std::string conninfo, Millis timeout, std::string application, std::string options) {
    pg::Config c;
    c.conninfo = std::move(conninfo);
    c.pipelines = 1;
    c.leases = 1;
    c.statement_timeout = timeout;
    c.application_name = std::move(application);
    c.options = std::move(options);
    return c;
  }
  template <class T>
  static Task<Result<T>> leased(pg::Database& db, const std::function<Task<Result<T>>(pg::Lease&)>& work) {
    auto lease = co_await db.lease(Deadline::in(Millis(10000)));
    co_return co_await work(lease);
  }
  template <class T, class Work>
  Result<T> guarded(Work work) {
    try {
      return work();
    } catch (const std::exception& e) {
      return fail(Kind::unavailable, "DATABASE_UNAVAILABLE", e.what());
    }
  }

  Shard shard_{0};
  Offload offload_{1, 16};
  pg::Database db_;
  Millis limit_;
};

}  // namespace enishi::cluster

// One connection outside a server, for commands and for what serve does before it serves:
//
//   auto report = with_lease(conninfo, [&](pg::Lease& lease) { return cluster::migrate(lease, all, version); });
#pragma once
#include <functional>
#include <string>
#include <utility>

#include "io/offload.hpp"
#include "io/shard.hpp"
#include "pg/database.hpp"
#include "pg/errors.hpp"

namespace enishi::cli {

template <class T>
Task<Result<T>> lease_and_run(pg::Database& db, const std::function<Task<Result<T>>(pg::Lease&)>& work) {
  auto lease = co_await db.lease(Deadline::in(Millis(15000)));
  co_return co_await work(lease);
}

/// The same with a Database, for what reads and writes as the server does.
template <class T>
Result<T> with_database(pg::Config config, const std::function<Task<Result<T>>(pg::Database&)>& work) {
  Shard shard(0);
  Offload offload(1, 16);
  config.leases = 1;
  config.statement_timeout = Millis(60000);  // no screen waits for it, and a database that was just started is slow
  config.application_name = "enishi-cli";
  pg::Database db(shard, offload, config);
  try {
    auto result = run_task(shard.context(), work(db));
    db.close();
    return result;
  } catch (const pg::Unavailable& e) {
    return fail(Kind::unavailable, "DATABASE_UNAVAILABLE", std::string("the database cannot be reached: ") + e.what());
  } catch (const pg::TimedOut& e) {
    return fail(Kind::unavailable, "DATABASE_TIMEOUT", std::string("the database took too long: ") + e.what());
  } catch (const pg::Broken& e) {
    return fail(Kind::internal, "DATABASE_REFUSED", std::string("the database refused: ") + e.what());
  }
}

template <class T>
Result<T> with_lease(const std::string& conninfo, const std::function<Task<Result<T>>(pg::Lease&)>& work) {
  pg::Config config;
  config.conninfo = conninfo;
  return with_database<T>(config, [&work](pg::Database& db) { return lease_and_run<T>(db, work); });
}

}  // namespace enishi::cli

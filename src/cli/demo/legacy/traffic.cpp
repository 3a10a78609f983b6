// What the services' users do all day, at a rate. Each transaction is one call of traffic.step(), which the sample databases bring along.
#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/signal_set.hpp>
#include <boost/json.hpp>
#include <csignal>
#include <map>
#include <memory>
#include <vector>

#include "base/log.hpp"
#include "cli/demo/legacy/legacy.hpp"
#include "cli/demo/rows.hpp"
#include "io/offload.hpp"
#include "io/shard.hpp"
#include "pg/database.hpp"

namespace enishi::cli::demo {
namespace {

struct System {
  std::string name;
  std::unique_ptr<pg::Database> db;
  std::map<std::string, std::int64_t, std::less<>> operations;
  std::int64_t made = 0, removed = 0;
};

struct Day {
  TrafficOptions o;
  std::vector<System> systems;
  SteadyTime began = steady_now();
  std::int64_t tickets = 0;
  std::int64_t behind = 0;  ///< tickets let go because the source could not keep up
  std::int64_t committed = 0, rolled_back = 0, unknown = 0;
  std::map<std::string, std::int64_t, std::less<>> refused;
  bool stopping = false;
  unsigned working = 0;
  Event wake;  ///< the end was called, or a worker left
};

bool over(const Day& day) {
  return day.stopping || (day.o.transactions > 0 && day.tickets >= day.o.transactions) ||
         (day.o.seconds > 0 && steady_now() - day.began > std::chrono::duration<double>(day.o.seconds));
}

/// A number for the next transaction, given when its moment has come; 0 at the end.
Task<std::int64_t> next_ticket(Day& day) {
  if (over(day)) co_return 0;
  const auto ticket = ++day.tickets;
  const auto gap = std::chrono::duration<double>(1.0 / day.o.rate);
  auto due = day.began + std::chrono::duration_cast<SteadyTime::duration>(gap * static_cast<double>(ticket + day.behind));
  if (const auto late = std::chrono::duration<double>(steady_now() - due).count(); late > 1) {
    day.behind += static_cast<std::int64_t>(late * day.o.rate);  // what a slow source missed is not made up for in a burst
    due = steady_now();
  }
  while (!day.stopping && steady_now() < due) co_await day.wake.wait(Deadline{due});
  co_return day.stopping ? 0 : ticket;
}

Task<> one(Day& day, System& system, pg::Lease& lease, std::int64_t ticket) {
  const auto deadline = Deadline::in(Millis(15000));
  Draw d(day.o.seed, 77, ticket);
  const auto seed = static_cast<std::int64_t>(d.next() >> 2);
  const bool changes_mind = d.percent(4);
  co_await lease.begin(deadline);
  auto did = co_await lease.script(fmt::format("select operation, made, removed from traffic.step({})", seed), deadline);
  if (!did) {
    ++day.refused[did.error().code];
    co_await lease.rollback(deadline);
    co_return;
  }
  if (changes_mind) {
    co_await lease.rollback(deadline);
    ++day.rolled_back;
    co_return;
  }
  const std::string operation(did->text(0, 0));
  const auto made = did->integer(0, 1), removed = did->integer(0, 2);
  co_await lease.commit(deadline);
  ++day.committed;
  ++system.operations[operation];
  system.made += made;
  system.removed += removed;
}

/// What a refusal is counted under: the SQLSTATE in "script: P0001" or "script: 42501: …". The first of each is logged.
std::string refusal(const Day& day, std::string_view what) {
  auto code = std::string(what);
  for (std::size_t at = 0; at + 5 <= what.size(); ++at) {
    const auto part = what.substr(at, 5);
    const bool alone = (at == 0 || what[at - 1] == ' ') && (at + 5 == what.size() || what[at + 5] == ':');
    if (alone && std::all_of(part.begin(), part.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z'); })) {
      code = part;
      break;
    }
  }
  if (!day.refused.contains(code)) log_warning("the source refused", {{"what", what}});
  return code;
}

Task<> work(Day& day, std::size_t n) {
  auto& system = day.systems[n];
  while (!over(day)) {
    bool pause = false;
    try {
      auto lease = co_await system.db->lease(Deadline::in(Millis(10000)));
      for (;;) {
        const auto ticket = co_await next_ticket(day);
        if (ticket == 0) break;
        co_await one(day, system, lease, ticket);
      }
      break;
    } catch (const pg::CommitRefused& e) {
      ++day.refused[e.error.code];
    } catch (const pg::OutcomeUnknown&) {
      ++day.unknown;
    } catch (const pg::Broken& e) {
      ++day.refused[refusal(day, e.what())];
    } catch (const pg::TimedOut&) {
      ++day.refused["TIMEOUT"];
    } catch (const pg::Unavailable&) {
      ++day.refused["UNAVAILABLE"];
      pause = true;
    }
    if (pause && !day.stopping) co_await day.wake.wait(Deadline::in(Millis(200)));
  }
  --day.working;
  day.wake.notify_all();
}

Task<std::string> name_of(pg::Database& db) {
  auto lease = co_await db.lease(Deadline::in(Millis(15000)));
  auto name = co_await lease.script("select current_database()", Deadline::in(Millis(15000)));
  co_return name ? std::string(name->text(0, 0)) : std::string();
}

Task<Result<std::string>> whole_day(Day& day, Shard& shard) {
  for (auto& system : day.systems) system.name = co_await name_of(*system.db);
  day.began = steady_now();
  for (std::size_t n = 0; n < day.systems.size(); ++n) {
    // The first service has the most users.
    const auto workers = day.o.connections * (n == 0 ? 2 : 1);
    for (unsigned k = 0; k < workers; ++k) {
      ++day.working;
      spawn(shard, "legacy traffic", work(day, n));
    }
  }
  while (day.working > 0) co_await day.wake.wait(Deadline::in(Millis(1000)));
  boost::json::object systems;
  for (auto& system : day.systems) {
    boost::json::object operations;
    for (const auto& [name, count] : system.operations) operations[name] = count;
    systems[system.name] = {{"made", system.made}, {"removed", system.removed}, {"operations", std::move(operations)}};
    system.db->close();
  }
  boost::json::object refused;
  for (const auto& [code, count] : day.refused) refused[code] = count;
  const boost::json::object report{
      {"committed", day.committed},    {"rolled_back", day.rolled_back},
      {"refused", std::move(refused)}, {"unknown", day.unknown},
      {"missed", day.behind},          {"seconds", std::chrono::duration<double>(steady_now() - day.began).count()},
      {"systems", std::move(systems)}};
  co_return boost::json::serialize(report);
}

}  // namespace

Result<std::string> run_traffic(TrafficOptions options) {
  Shard shard(0);
  Offload offload(1, 64);
  Day day;
  day.o = std::move(options);
  for (std::size_t n = 0; n < day.o.targets.size(); ++n) {
    pg::Config config;
    config.conninfo = day.o.targets[n];
    config.application_name = "legacy-traffic";
    config.leases = day.o.connections * 2 + 1;
    config.pipelines = 1;
    day.systems.push_back({{}, std::make_unique<pg::Database>(shard, offload, config), {}});
  }
  asio::signal_set signals(shard.context(), SIGTERM, SIGINT);
  signals.async_wait([&day](const boost::system::error_code& failed, int) {
    if (failed) return;
    day.stopping = true;
    day.wake.notify_all();
  });
  try {
    return run_task(shard.context(), whole_day(day, shard));
  } catch (const pg::Unavailable& e) {
    return fail(Kind::unavailable, "DATABASE_UNAVAILABLE", std::string("the sample company cannot be reached: ") + e.what());
  }
}

}  // namespace enishi::cli::demo

#include "cli/app.hpp"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>

#include "base/log.hpp"
#include "base/metrics.hpp"
#include "cli/health.sql.hpp"
#include "cli/takeover_checks.hpp"
#include "crm/calls/routes.hpp"
#include "crm/compliance/routes.hpp"
#include "crm/continuity/routes.hpp"
#include "crm/customers/routes.hpp"
#include "crm/erasure/erasure.hpp"
#include "crm/erasure/routes.hpp"
#include "crm/history/history_api.hpp"
#include "crm/history/routes.hpp"
#include "crm/imports/routes.hpp"
#include "crm/inquiries/routes.hpp"
#include "crm/masters/routes.hpp"
#include "crm/queue/queue.hpp"
#include "crm/queue/routes.hpp"
#include "crm/visits/routes.hpp"
#include "embedded/web.hpp"
#include "pg/errors.hpp"
#include "takeover/api/routes.hpp"

namespace enishi::cli {
namespace {

Error unavailable(std::string code, std::string detail) { return {Kind::unavailable, std::move(code), std::move(detail), {}, {}, 1}; }

// Health ---------------------------------------------------------------------------------------------------------------

Task<Result<http::Answer>> healthz(http::Request&) { co_return http::Answer::json(R"({"status":"alive"})"); }

/// Ready: the database answers within a second and its schema is one this binary knows. A newer schema is fine for an instance that runs
/// already (releases overlap); starting on one is refused in serve.cpp.
Task<Result<http::Answer>> readyz(App& app, http::Request& request) {
  if (app.stopping) co_return tl::make_unexpected(unavailable("STOPPING", "the server is stopping"));
  Result<pg::Rows> row;
  try {
    row = co_await app.database(*request.shard).read(sql::health::schema_version, {}, Deadline::in(Millis(1000)));
  } catch (const pg::Broken&) {
    co_return tl::make_unexpected(unavailable("SCHEMA_BEHIND", "the database has no schema of Enishi's"));
  }
  if (!row) co_return tl::make_unexpected(unavailable("DATABASE_UNAVAILABLE", "the database does not answer: " + row.error().detail));
  const auto version = row->integer(0, 0);
  if (version < app.schema_version)
    co_return tl::make_unexpected(unavailable(
        "SCHEMA_BEHIND", fmt::format("the database is at schema version {}, this server needs {}", version, app.schema_version)));
  co_return http::Answer::json(fmt::format(R"({{"status":"ready","schema":{},"version":{}}})", version, json_quote(app.version)));
}

// Metrics --------------------------------------------------------------------------------------------------------------

void observe_process(const App& app) {
  static const auto started = static_cast<double>(std::chrono::system_clock::to_time_t(std::chrono::system_clock::now()));
  static auto& cpu = metrics::gauge("process_cpu_seconds_total", "User and system CPU time");
  static auto& rss = metrics::gauge("process_resident_memory_bytes", "Resident memory");
  static auto& fds = metrics::gauge("process_open_fds", "Open file descriptors");
  static auto& most = metrics::gauge("process_max_fds", "Limit of open file descriptors");
  static auto& start = metrics::gauge("process_start_time_seconds", "Start of the process, Unix time");
  static auto& build =
      metrics::gauge("enishi_build_info", "Version of the binary, always 1",
                     {{"version", app.version}, {"compiler", "clang " __clang_version__}, {"schema", std::to_string(app.schema_version)}});
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
  cpu.set(seconds(used.ru_utime) + seconds(used.ru_stime));
  std::uint64_t total = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  rss.set(static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)));
  std::error_code ignored;
  int open = -1;  // the one that counts
  for (auto at = std::filesystem::directory_iterator("/proc/self/fd", ignored); at != std::filesystem::directory_iterator();
       at.increment(ignored))
    ++open;
  fds.set(open);
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  most.set(static_cast<double>(limit.rlim_cur));
  start.set(started);
  build.set(1);
}

/// A binary built before web/dist was: the API works, and a browser is told why there is no page.
Task<Result<http::Answer>> no_web_client(http::Request&) {
  http::Answer answer;
  answer.type = "text/html; charset=utf-8";
  answer.body =
      "<!doctype html><meta charset=utf-8><title>Enishi</title><h1>Enishi</h1><p>The web client was not built into this binary; the API "
      "works. <code>./dev build</code> builds both.</p>";
  answer.with("Content-Security-Policy", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'");
  co_return answer;
}

/// What only the database knows. Without it the rest is served all the same.
Task<> observe_database(App& app, const http::Request& request) {
  try {
    co_await takeover::observe(app.database(*request.shard), Deadline::in(Millis(1000)));
  } catch (const std::runtime_error& e) {
    log_debug("metrics without the database", {{"error", e.what()}});
  }
}

Task<Result<http::Answer>> metrics_text(App& app, http::Request& request) {
  observe_process(app);
  co_await observe_database(app, request);
  http::Answer answer;
  answer.body = metrics::render();
  answer.type = "text/plain; version=0.0.4; charset=utf-8";
  co_return answer;
}

}  // namespace

void open_databases(App& app, const pg::Config& config) {
  app.databases.clear();
  app.shards.each([&](Shard& shard) { app.databases.push_back(std::make_unique<pg::Database>(shard, app.offload, config)); });
}

void open_gate(App& app) {
  auth::Config config;
  if (app.settings.cheap_passwords) config.passwords = {.memory = 64 * 1024, .passes = 1};
  config.requests_per_second = app.settings.requests_per_second;
  config.burst = 2.0 * app.settings.requests_per_second;
  if (!app.settings.public_url.empty()) config.origins.push_back(app.settings.public_url.substr(0, app.settings.public_url.find('/', 8)));
  std::vector<pg::Database*> databases;
  for (const auto& database : app.databases) databases.push_back(database.get());
  app.gate = std::make_unique<auth::Gate>(app.shards, std::move(databases), app.offload, std::move(config));
}

void open_write_through(App& app, const pg::Config& config) {
  app.shards.each([&](Shard& shard) { app.through.push_back(std::make_unique<takeover::WriteThrough>(shard, app.offload, config)); });
  app.gate->write_elsewhere_with([&app](auth::OwnedElsewhere asked) {
    auto& through = *app.through[asked.shard.index()];
    return through.write(std::move(asked));
  });
}

void mount_all(http::Router& router, App& app) {
  router.add({http::Method::get, "/healthz", "", healthz});
  router.add({http::Method::get, "/readyz", "", [&app](http::Request& request) { return readyz(app, request); }});
  router.add({http::Method::get, "/metrics", "", [&app](http::Request& request) { return metrics_text(app, request); }});

  // Modules: one line each.
  auth::mount(router, *app.gate);
  crm::customers::mount(router, *app.gate);
  crm::masters::mount(router, *app.gate);
  crm::history::mount(router, *app.gate);
  crm::visits::mount(router, *app.gate);
  crm::compliance::mount(router, *app.gate);
  crm::inquiries::mount(router, *app.gate);
  crm::queue::mount(router, *app.gate);
  crm::calls::mount(router, *app.gate);
  crm::imports::mount(router, *app.gate);
  crm::continuity::mount(router, *app.gate);
  takeover::mount(router, *app.gate, app.takeover);
  crm::erasure::mount(router, *app.gate);

  std::vector<http::StaticFile> files;
  bool page = false;  // web/dist may hold nothing but a mark of an unfinished build
  for (const auto& file : embedded::web) {
    page = page || file.path == "index.html";
    files.push_back({file.path, file.bytes});
  }
  if (page)
    router.add({http::Method::get, "/{path...}", "", http::static_files(std::move(files))});
  else
    router.add({http::Method::get, "/", "", no_web_client});
}

void start_jobs(App& app) {
  auto all = jobs::housekeeping();
  for (auto& job : crm::queue::periodic()) all.push_back(std::move(job));
  for (auto& job : crm::history::periodic()) all.push_back(std::move(job));
  for (auto& job : crm::erasure::periodic()) all.push_back(std::move(job));
  app.jobs = std::make_unique<jobs::Scheduler>(*app.databases[0], std::move(all));
  spawn(app.shards[0], "jobs", app.jobs->run());
  app.imports = std::make_unique<crm::imports::Runner>(*app.databases[0], app.offload);
  spawn(app.shards[0], "imports", app.imports->run());
  if (app.mirrors) app.mirrors->start();
  app.keeper = std::make_unique<takeover::Keeper>(*app.databases[0], app.shards[0], app.offload);
  spawn(app.shards[0], "takeover keeper", app.keeper->run());
  const auto moves = [keeper = app.keeper.get()](const char* kind) {
    return [keeper, kind](pg::Database& db, std::string domain, std::string actor) {
      return keeper->start_move(db, kind, std::move(domain), std::move(actor));
    };
  };
  app.takeover.start_switch = moves("SWITCH");
  app.takeover.start_revert = moves("REVERT");
  app.takeover.start_completion = moves("COMPLETE");
  app.takeover.start_unlock = moves("UNLOCK");
  app.takeover.start_abandonment = moves("ABANDON");
  app.takeover.preflight = [&app](pg::Database&, std::string domain) { return switch_checks(app, std::move(domain)); };
  app.takeover.start_diff = [keeper = app.keeper.get()](pg::Database& db, std::string domain, std::string) {
    return keeper->start_diff(db, std::move(domain));
  };
  app.takeover.start_repair = [keeper = app.keeper.get()](pg::Database& db, std::string domain, std::string) {
    return keeper->start_repair(db, std::move(domain));
  };
}

}  // namespace enishi::cli

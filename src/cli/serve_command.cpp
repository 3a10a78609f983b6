#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <thread>

#include "auth/accounts.hpp"
#include "auth/passwords.hpp"
#include "cli/app.hpp"
#include "cli/commands.hpp"
#include "cli/continuity.hpp"
#include "cli/offline.hpp"
#include "cli/start_up.hpp"
#include "cluster/cluster.hpp"
#include "cluster/guardian.hpp"
#include "cluster/migrations.hpp"
#include "cluster/process.hpp"
#include "crm/customers/postal_towns.hpp"
#include "crm/erasure/erasure.hpp"

namespace enishi::cli {
namespace {

using cluster::EmbeddedCluster;
using cluster::Migration;

/// Cores this process may use: a container's CPU set counts.
unsigned cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

Result<void> migrate(const std::string& owner, const std::vector<Migration>& all) {
  auto done = with_lease<cluster::MigrationReport>(owner, [&](pg::Lease& lease) { return cluster::migrate(lease, all, ENISHI_VERSION); });
  if (!done) return tl::make_unexpected(done.error());
  return {};
}

Task<Result<cluster::SchemaStatus>> look(pg::Lease& lease, const std::vector<Migration>& all) {
  auto role = co_await cluster::check_app_role(lease);
  if (!role) co_return tl::make_unexpected(role.error());
  auto status = co_await cluster::schema_status(lease, all);
  if (!status || status->state == cluster::SchemaState::behind) co_return status;
  auto ahead = co_await cluster::history_is_ahead(lease);
  if (!ahead) co_return tl::make_unexpected(ahead.error());
  if (*ahead)
    co_return fail(Kind::conflict, "HISTORY_AHEAD",
                   "the database was moved here by a dump and counts its transactions anew; run `enishi db migrate` as its owner once");
  co_return status;
}

/// A database that others run: its schema must fit before anybody is served.
Result<void> check_schema(const Settings& settings, const std::vector<Migration>& all) {
  auto status = with_lease<cluster::SchemaStatus>(settings.database, [&](pg::Lease& lease) { return look(lease, all); });
  if (!status) return tl::make_unexpected(status.error());
  if (status->state == cluster::SchemaState::behind)
    return fail(
        Kind::conflict, "SCHEMA_BEHIND",
        fmt::format(
            "the database is at schema version {} and this Enishi needs {}. Run `enishi db migrate` as its owner, or serve with --migrate.",
            status->database, status->binary));
  if (status->state == cluster::SchemaState::newer && !settings.newer_schema_ok)
    return fail(
        Kind::conflict, "SCHEMA_NEWER",
        fmt::format("the database is at schema version {} and this Enishi knows only {}: use the newer Enishi. While one release replaces "
                    "the other, --newer-schema-ok lets this one serve.",
                    status->database, status->binary));
  return {};
}

std::filesystem::path demo_password_file(const Settings& settings) { return std::filesystem::path(settings.data) / "demo-password"; }

std::string first_line(const std::filesystem::path& file) {
  std::string line;
  std::getline(std::ifstream(file) >> std::ws, line);
  return line;
}

/// Sample data for a new database, whose users share one password, drawn once and kept beside the data for its owner's eyes.
Result<void> sample_company(const Settings& settings, const std::string& owner) {
  const auto file = demo_password_file(settings);
  if (std::filesystem::exists(file)) return {};
  // Beside the data before it is there: whoever stops in between has lost neither.
  const auto drawn = file.string() + ".new";
  const bool begun = std::filesystem::exists(drawn);
  auto password = first_line(drawn);
  if (password.empty()) {
    password = random_token(9);
    const int fd = ::open(drawn.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    const auto line = password + "\n";
    const bool kept = fd >= 0 && ::write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size());
    if (fd >= 0) ::close(fd);
    if (!kept) return fail(Kind::unavailable, "DEMO_PASSWORD_UNWRITABLE", "cannot write " + drawn);
  }
  asio::io_context loop(1);
  auth::Passwords passwords(auth::Passwords::Cost{});
  demo::DemoOptions options;
  options.password_hash = run_task(loop, passwords.hash(password));
  auto made = load_demo(owner, options);
  if (!made && made.error().code != "DEMO_NOT_EMPTY") return tl::make_unexpected(made.error());
  if (!made && !begun)
    std::filesystem::remove(drawn);
  else
    std::filesystem::rename(drawn, file);
  return {};
}

/// Brings the database up: the embedded one is made, started and migrated; another one is checked.
Result<std::shared_ptr<EmbeddedCluster>> bring_up(const Settings& settings, const std::vector<Migration>& all, unsigned shards,
                                                  pg::Config& config, StartUp& start_up) {
  config.pipelines = settings.pipelines;
  config.leases = settings.leases;
  if (settings.data.empty()) {
    if (settings.migrate)
      if (auto done = migrate(settings.database, all); !done) return tl::make_unexpected(done.error());
    if (auto fits = check_schema(settings, all); !fits) return tl::make_unexpected(fits.error());
    config.conninfo = settings.database;
    config.role = "enishi_app";
    return nullptr;
  }
  cluster::Options options;
  options.data = settings.data;
  options.pg_bin = settings.pg_bin;
  options.pg_port = settings.pg_port;
  options.archive = backups_on(settings);
  options.max_connections = std::max(100U, shards * (settings.pipelines + settings.leases + takeover::WriteThrough::kConnections) + 40);
  auto started = start_up.start(std::move(options));
  if (!started) return tl::make_unexpected(started.error());
  auto cluster = std::move(*started);
  auto owner = cluster->conninfo("enishi_owner");
  if (auto done = migrate(owner, all); !done) return tl::make_unexpected(done.error());
  if (auto met = meet_backups(settings, false, owner); !met) return tl::make_unexpected(met.error());
  if (settings.demo)
    if (auto made = sample_company(settings, owner); !made) return tl::make_unexpected(made.error());
  config.conninfo = cluster->conninfo("enishi_app");
  return cluster;
}

/// What the sample users log in with; empty when the data is no sample.
std::string demo_password(const Settings& settings) { return settings.demo ? first_line(demo_password_file(settings)) : std::string(); }

/// Token of the first administrator's link when there is no user yet, else empty.
Result<std::string> first_link(const pg::Config& config) {
  return with_database<std::string>(config, [](pg::Database& db) { return auth::ensure_first_admin(db); });
}

std::string host_of(const std::string& listen) { return listen.substr(0, listen.rfind(':')); }

unsigned port_of(const std::string& listen) {
  const auto colon = listen.rfind(':');
  return colon == std::string::npos ? 0 : static_cast<unsigned>(std::strtoul(listen.c_str() + colon + 1, nullptr, 10));
}

/// First SIGTERM or SIGINT: drain. Second: end at once (the embedded PostgreSQL gets its fast shutdown from the kernel).
void watch_signals(asio::signal_set& signals, App& app, http::Server& server) {
  signals.async_wait([&signals, &app, &server](const boost::system::error_code& failed, int number) {
    if (failed) return;
    log_info("stopping: requests in flight may finish", {{"signal", number}});
    app.stopping = true;
    if (app.jobs) app.jobs->stop();
    if (app.imports) app.imports->stop();
    if (app.keeper) app.keeper->stop();
    server.drain([&app] { app.gate->drain([&app] { app.shards.stop(); }); });
    signals.async_wait([](const boost::system::error_code& again, int which) {
      if (!again) _exit(128 + which);
    });
  });
}

}  // namespace

Result<int> serve(Settings settings) {
  if (settings.data.empty() && settings.database.empty())
    return fail(Kind::malformed, "CONFIG_INVALID",
                "say where the data is: --data DIR runs an own PostgreSQL in that folder, --database URL uses another one");
  set_log_level(settings.log_level);
  auto all = cluster::embedded_migrations();
  if (!all) return tl::make_unexpected(all.error());
  const unsigned count = settings.shards != 0 ? settings.shards : settings.data.empty() ? cores() : std::max(1U, cores() / 2);

  http::check_address(settings.listen);  // before a cluster is made for nothing
  // Whoever wakes up takes no core away: without it a backend that sends a page is stopped at every 8 kB of it by its own reader
  // (docs/adr/0008). The embedded PostgreSQL inherits it. An idle core is taken at once all the same.
  const sched_param normal{};
  if (sched_setscheduler(0, SCHED_BATCH, &normal) != 0) log_debug("SCHED_BATCH is not to be had");
  StartUp start_up;
  pg::Config config;
  auto embedded = bring_up(settings, *all, count, config, start_up);
  if (!embedded) return tl::make_unexpected(embedded.error());
  const auto sample = demo_password(settings);
  if (*embedded)
    if (auto user = cluster::database_user()) cluster::become(*user, port_of(settings.listen) > 0 && port_of(settings.listen) < 1024);

  Shards shards(count);
  Offload offload(2, 256);
  App app{.settings = settings,
          .shards = shards,
          .offload = offload,
          .databases = {},
          .schema_version = all->empty() ? 0 : all->back().version};
  open_databases(app, config);
  auto bulk = config;  // 120,000 rows at once: a slow machine takes longer than a request may
  bulk.statement_timeout = Millis(120000);
  auto towns = with_database<std::int64_t>(bulk, [](pg::Database& db) { return crm::customers::load_postal_towns(db); });
  if (!towns) return tl::make_unexpected(towns.error());
  if (*towns > 0) log_info("postal codes loaded", {{"rows", *towns}});
  open_gate(app);
  const bool quiet = is_quiet(settings);
  if (!quiet) open_write_through(app, config);
  http::Router router;
  mount_all(router, app);
  std::optional<cluster::Guardian> guardian;
  {
    http::Server server(shards, std::move(router), http::Limits{}, settings.listen, settings.trust_proxy);
    server.map_exceptions(auth::map_exception);
    const auto port = server.listen();
    asio::signal_set signals(shards[0].context(), SIGTERM, SIGINT);
    watch_signals(signals, app, server);
    start_up.over();
    // From here on a signal is followed after this was printed: the link is shown once.
    auto link = first_link(config);
    if (!link) return tl::make_unexpected(link.error());
    if (!quiet) {
      app.mirrors = std::make_unique<takeover::Mirrors>(config, offload);
      start_jobs(app);
      if (const auto list = erasure_list(settings))
        spawn(shards[0], "erasures", crm::erasure::keep_list(*app.databases[0], *list, app.stopping));
    }
    log_info("listening", {{"address", host_of(settings.listen)},
                           {"port", port},
                           {"shards", count},
                           {"version", app.version},
                           {"schema", app.schema_version},
                           {"database", settings.data.empty() ? "external" : "embedded"}});
    if (!link->empty()) {
      const auto base = settings.public_url.empty() ? fmt::format("http://{}:{}", host_of(settings.listen), port) : settings.public_url;
      fmt::print("The first administrator chooses a password here (once, within 24 hours): {}\n", auth::link_of(base, *link));
    }
    if (!sample.empty())
      fmt::print("Sample users: operator1, supervisor1, marketing1, compliance1, appraiser1, manager1 (an administrator); password: {}\n",
                 sample);
    fmt::print("Enishi is ready at http://{}:{}\n", host_of(settings.listen), port);
    if (quiet) fmt::print("This cluster was restored and not promoted: it is quiet, no jobs run and nothing is backed up.\n");
    std::fflush(stdout);
    // From here on requests are answered; what makes backups comes after them.
    if (*embedded && backups_on(settings))
      guardian.emplace(**embedded, backup_settings(settings, false), continuity_checks(erasure_list(settings)));
    shards.run();
  }
  app.mirrors.reset();
  app.keeper.reset();
  app.jobs.reset();
  app.imports.reset();
  app.gate.reset();
  app.through.clear();
  for (auto& database : app.databases) database->close();
  app.databases.clear();
  if (guardian) guardian->stop();
  if (*embedded) (*embedded)->stop();
  guardian.reset();
  log_info("stopped");
  return 0;
}

}  // namespace enishi::cli

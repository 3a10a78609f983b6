#include <fmt/format.h>

#include <csignal>
#include <cstdio>

#include "cli/commands.hpp"
#include "cli/demo/legacy/legacy.hpp"
#include "cluster/cluster.hpp"

namespace enishi::cli {
namespace {

constexpr const char* kOwner = "legacy_owner";
constexpr const char* kGuest = "enishi";

cluster::Options server(const Settings& settings) {
  cluster::Options options;
  options.data = settings.data;
  options.pg_bin = settings.pg_bin;
  options.pg_port = settings.pg_port;
  options.more_roles = {kOwner, kGuest};
  options.logical = true;
  options.more_settings = "max_slot_wal_keep_size = -1\n";  // as PostgreSQL comes, and as grown systems have it: `takeover plan` says so
  return options;
}

/// SIGTERM or SIGINT, which the caller has blocked in every thread.
void wait_for_the_end() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  int which = 0;
  sigwait(&set, &which);
}

void block_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

void report(const demo::LegacyReport& made) {
  if (made.made)
    fmt::print("Made {} customers with {} phones and {} addresses, {} inquiries, {} appointments, {} goods in {:.0f} s\n", made.customers,
               made.phones, made.addresses, made.inquiries, made.appointments, made.goods, made.seconds);
}

}  // namespace

Result<int> legacy_command(Settings settings, demo::LegacyOptions options, bool stay) {
  set_log_level(settings.log_level);
  const auto progress = [last = -1](std::string_view what, double share) mutable {
    const auto tenth = static_cast<int>(share * 10);
    if (tenth == last) return;
    last = tenth;
    fmt::print(stderr, "{:3}% {}\n", tenth * 10, what);
  };
  if (!settings.database.empty()) {
    options.superuser = settings.database;
    auto made = demo::make_legacy(std::move(options), progress);
    if (!made) return tl::make_unexpected(made.error());
    report(*made);
    return 0;
  }
  if (settings.data.empty())
    return fail(
        Kind::malformed, "CONFIG_INVALID",
        "say where the sample company lives: --data DIR runs a PostgreSQL of its own in that folder, --database URL uses another one");
  block_signals();
  auto running = cluster::EmbeddedCluster::start(server(settings));
  if (!running) return tl::make_unexpected(running.error());
  const auto login = [&](std::string_view role) { return demo::with_dbname((*running)->conninfo(role), "postgres"); };
  options.superuser = login("postgres");
  auto made = demo::make_legacy(std::move(options), progress);
  if (!made) return tl::make_unexpected(made.error());
  report(*made);
  if (!stay) return 0;
  for (const auto system : demo::legacy_systems)
    fmt::print("{}: host={} port={} dbname={} user={}\n", system, (*running)->socket_folder().string(), settings.pg_port.value_or(5432),
               system, kGuest);
  fmt::print("The sample company is open. Its own people log in as {}; Ctrl-C closes it.\n", kOwner);
  std::fflush(stdout);
  wait_for_the_end();
  return 0;
}

Result<int> legacy_traffic_command(Settings settings, demo::TrafficOptions options) {
  if (!settings.database.empty()) {
    options.targets.push_back(settings.database);
  } else {
    auto running = settings.data.empty() ? std::nullopt : cluster::conninfo_of_running(settings.data, kOwner);
    if (!running)
      return fail(
          Kind::not_found, "DATA_MISSING",
          "say where the sample company is: --data DIR of a running `enishi demo legacy`, or --database URL of one of its databases");
    for (const auto system : demo::legacy_systems) options.targets.push_back(demo::with_dbname(*running, system));
  }
  auto done = demo::run_traffic(std::move(options));
  if (!done) return tl::make_unexpected(done.error());
  fmt::print("{}\n", *done);
  return 0;
}

}  // namespace enishi::cli

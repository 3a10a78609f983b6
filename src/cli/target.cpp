#include "cli/target.hpp"

#include <filesystem>

#include "cli/continuity.hpp"
#include "cluster/repository.hpp"

namespace enishi::cli {

Result<Target> find_target(const Settings& settings, std::string_view role, bool may_create) {
  if (!settings.database.empty()) return Target{settings.database, nullptr};
  if (settings.data.empty())
    return fail(Kind::malformed, "CONFIG_INVALID", "say which database: --database URL, or --data DIR for the one that Enishi runs itself");
  if (auto running = cluster::conninfo_of_running(settings.data, role)) return Target{*running, nullptr};
  if (!may_create && !std::filesystem::exists(std::filesystem::path(settings.data) / "pgdata"))
    return fail(Kind::not_found, "DATA_MISSING", "there is no database in \"" + settings.data + "\"; `enishi serve --data` makes one");
  cluster::Options options;
  options.data = settings.data;
  options.pg_bin = settings.pg_bin;
  // What a command writes belongs into the backups, too: the WAL waits until a server archives it.
  options.archive = backups_on(settings) && cluster::has_backups(settings.data);
  auto started = cluster::EmbeddedCluster::start(std::move(options));
  if (!started) return tl::make_unexpected(started.error());
  auto conninfo = (*started)->conninfo(role);
  return Target{std::move(conninfo), std::move(*started)};
}

}  // namespace enishi::cli

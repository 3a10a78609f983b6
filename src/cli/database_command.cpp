#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/offline.hpp"
#include "cli/target.hpp"
#include "cluster/cluster.hpp"
#include "cluster/migrations.hpp"

namespace enishi::cli {
namespace {

using cluster::Migration;

Result<int> show_status(const Target& target, const std::vector<Migration>& all, bool json) {
  auto status = with_lease<cluster::SchemaStatus>(target.conninfo, [&](pg::Lease& lease) { return cluster::schema_status(lease, all); });
  if (!status) return tl::make_unexpected(status.error());
  if (json) {
    fmt::print("{}\n", cluster::to_json(*status));
    return 0;
  }
  for (const auto& a : status->applied) fmt::print("{:04} {}  applied {} by version {}\n", a.version, a.name, a.applied_at, a.by_version);
  for (const auto& p : status->pending) fmt::print("{}  pending\n", p);
  switch (status->state) {
    case cluster::SchemaState::current:
      fmt::print("The schema is up to date: version {}.\n", status->database);
      break;
    case cluster::SchemaState::behind:
      fmt::print("The schema is at version {} and this Enishi needs {}: run `enishi db migrate`.\n", status->database, status->binary);
      break;
    case cluster::SchemaState::newer:
      fmt::print("The schema is at version {}, newer than this Enishi, which knows {}.\n", status->database, status->binary);
      break;
  }
  return 0;
}

Result<int> run_migrate(const Target& target, const std::vector<Migration>& all) {
  auto done =
      with_lease<cluster::MigrationReport>(target.conninfo, [&](pg::Lease& lease) { return cluster::migrate(lease, all, ENISHI_VERSION); });
  if (!done) return tl::make_unexpected(done.error());
  for (const auto& file : done->applied) fmt::print("applied {}\n", file);
  fmt::print("The schema is up to date: version {}.\n", done->to);
  return 0;
}

using Failures = std::vector<std::pair<std::string, std::string>>;

Task<Result<Failures>> prepare_all(pg::Lease& lease) { co_return co_await pg::check_statements(lease); }

/// Prepares every statement of the binary against the schema: what fails here would fail in somebody's hands.
Result<int> run_check(const Target& target) {
  auto failures = with_lease<Failures>(target.conninfo, prepare_all);
  if (!failures) return tl::make_unexpected(failures.error());
  for (const auto& [name, message] : *failures) fmt::print("{}: {}\n", name, message);
  fmt::print("{} statements, {} that this schema refuses.\n", pg::all_statements().size(), failures->size());
  return failures->empty() ? 0 : 1;
}

}  // namespace

Result<int> database(Settings settings, DatabaseCommand command) {
  using What = DatabaseCommand::What;
  if (command.what == What::roles) {
    fmt::print("{}", cluster::roles_sql());
    return 0;
  }
  auto all = cluster::embedded_migrations();
  if (!all) return tl::make_unexpected(all.error());
  auto target = find_target(settings, "enishi_owner", command.what == What::migrate);
  if (!target) return tl::make_unexpected(target.error());
  if (command.what == What::status) return show_status(*target, *all, command.json);
  if (command.what == What::check) return run_check(*target);
  return run_migrate(*target, *all);
}

}  // namespace enishi::cli

#include <fmt/format.h>

#include "cluster/continuity.sql.hpp"
#include "cluster/files.hpp"
#include "cluster/migrations.sql.hpp"
#include "cluster/restore_parts.hpp"
#include "cluster/session.hpp"

namespace enishi::cluster {
namespace {

CheckResult amcheck(const EmbeddedCluster& cluster, const std::atomic<bool>* stop) {
  Command command{{cluster.binaries().bin / "pg_amcheck", "--host=" + cluster.socket_folder().string(),
                   "--port=" + std::to_string(cluster.port()), "--username=postgres", "--install-missing=pg_catalog", "--jobs=2", "enishi"},
                  cluster.user(),
                  {},
                  hours(12)};
  command.stop = stop;
  const auto done = run_command(command);
  if (done.status == 0) return {"pg_amcheck", true, "every table and B-tree index is sound"};
  return {"pg_amcheck", false, tail(done.output, 800)};
}

}  // namespace

std::vector<CheckResult> more_checks(const EmbeddedCluster& cluster, const RestoreRequest& request) {
  std::vector<CheckResult> out;
  Session session(cluster.conninfo("postgres"), hours(12), "enishi-restore");
  for (const auto& more : request.checks) {
    if (!request.check && !more.always) continue;
    auto said = session.with<std::string>(more.run);
    out.push_back({more.name, said.has_value(), said ? *said : said.error().code + ": " + said.error().detail});
  }
  return out;
}

std::vector<CheckResult> check(const EmbeddedCluster& cluster, const RestoreRequest& request, RestoreReport& report) {
  std::vector<CheckResult> out;
  Session session(cluster.conninfo("postgres"), hours(12), "enishi-restore");
  auto schema = session.ask(sql::migrations::newest);
  out.push_back(schema ? CheckResult{"schema", true, fmt::format("version {}", schema->integer(0, 0))}
                       : CheckResult{"schema", false, schema.error().detail});
  auto counts = session.ask(sql::continuity::count_rows);
  if (counts)
    report.counts = std::string(counts->text(0, 0));
  else
    out.push_back({"counts", false, counts.error().detail});
  if (counts) {
    boost::system::error_code bad;
    const auto all = json::parse(report.counts, bad);
    std::uint64_t rows = 0;
    if (!bad)
      for (const auto& [table, n] : all.as_object()) rows += n.to_number<std::uint64_t>();
    out.push_back({"counts", true, fmt::format("{} rows in {} tables could be read", rows, bad ? 0 : all.as_object().size())});
  }
  out.push_back(amcheck(cluster, request.stop));
  (void)session.ask(sql::continuity::drop_amcheck);
  return out;
}

}  // namespace enishi::cluster

#include "takeover/source.hpp"

#include <algorithm>
#include <unordered_set>

#include "takeover/source.sql.hpp"

namespace enishi::takeover {
namespace {

namespace statements = sql::source;

/// Reads are one trip: all statements before one Sync are a transaction, and this makes it one of one snapshot. Text forms must not depend
/// on the source's settings.
constexpr const char* kOptions =
    "-c default_transaction_isolation=repeatable\\ read -c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=3 -c "
    "bytea_output=hex -c timezone=UTC "
    "-c idle_in_transaction_session_timeout=60000 -c lock_timeout=5000";

Fetched read(const pg::Rows& rows, const std::vector<std::string>& keys, Version version) {
  Fetched out;
  out.version = version;
  std::unordered_set<std::string> seen;
  out.records.reserve(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    FetchedRecord r{std::string(rows.text(i, 0)), std::string(rows.text(i, 1)),
                    rows.columns() > 2 ? std::string(rows.text(i, 2)) : std::string()};
    out.bytes += r.key.size() + r.record.size() + r.links.size();
    seen.insert(r.key);
    out.records.push_back(std::move(r));
  }
  for (const auto& key : keys)
    if (!seen.contains(key)) out.absent.push_back(key);
  return out;
}

Version version_of(const pg::Rows& snapshot, int era) {
  Version v;
  v.era = era;
  v.xmax = static_cast<std::uint64_t>(snapshot.integer(0, 0));
  v.in_progress = static_cast<int>(snapshot.integer(0, 1));
  return v;
}

Result<void> check_shape(const Mapping& mapping, const pg::Rows& rows) {
  if (rows.columns() == 2 || rows.columns() == 3) return {};
  return fail(
      Kind::unprocessable, "MAPPING_INVALID",
      "forward.sql of " + mapping.domain + " gives " + std::to_string(rows.columns()) + " columns; it must give key, record and links");
}

pg::Config config_of(const SourceConfig& config) {
  pg::Config out;
  out.conninfo = config.conninfo;
  out.pipelines = 1;
  out.leases = config.leases;
  out.statement_timeout = config.statement_timeout;
  out.application_name = "enishi takeover";
  out.options = kOptions;
  return out;
}

}  // namespace

Source::Source(Shard& shard, Offload& offload, SourceConfig config) : config_(std::move(config)), db_(shard, offload, config_of(config_)) {}

Task<Result<std::optional<Fetched>>> Source::fetch(std::shared_ptr<const Mapping> mapping, std::vector<std::string> keys,
                                                   std::vector<std::uint32_t> xids, int era, Deadline deadline) {
  auto lease = co_await db_.lease(deadline);
  std::vector<pg::Step> steps;
  steps.push_back({statements::snapshot, pg::params(xids)});
  steps.push_back({*mapping->forward, pg::params(keys)});
  auto rows = co_await lease.batch(std::move(steps), deadline);
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  if (auto fits = check_shape(*mapping, (*rows)[1]); !fits) co_return tl::make_unexpected(std::move(fits.error()));
  if (!(*rows)[0].boolean(0, 2)) co_return std::optional<Fetched>();
  co_return std::optional<Fetched>(read((*rows)[1], keys, version_of((*rows)[0], era)));
}

Task<Result<Fetched>> Source::fetch_within(pg::Lease& lease, std::shared_ptr<const Mapping> mapping, std::vector<std::string> keys, int era,
                                           Deadline deadline) {
  std::vector<pg::Step> steps;
  steps.push_back({statements::snapshot, pg::params(std::vector<std::uint32_t>{})});
  steps.push_back({*mapping->forward, pg::params(keys)});
  auto rows = co_await lease.batch(std::move(steps), deadline);
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  if (auto fits = check_shape(*mapping, (*rows)[1]); !fits) co_return tl::make_unexpected(std::move(fits.error()));
  co_return read((*rows)[1], keys, version_of((*rows)[0], era));
}

}  // namespace enishi::takeover

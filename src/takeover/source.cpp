#include "takeover/source.hpp"

#include <algorithm>
#include <iterator>
#include <unordered_set>

#include "pg/errors.hpp"
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

constexpr std::size_t kMostFailed = 500;  ///< of one fetch: more, and it is forward.sql that is wrong

const pg::Statement& savepoint() {
  static const pg::Statement one("at_source.savepoint_fetch", pg::Rowcount::exec, false, "savepoint fetch_part");
  return one;
}
const pg::Statement& rollback_to() {
  static const pg::Statement one("at_source.rollback_to_fetch", pg::Rowcount::exec, false, "rollback to savepoint fetch_part");
  return one;
}
const pg::Statement& release() {
  static const pg::Statement one("at_source.release_fetch", pg::Rowcount::exec, false, "release savepoint fetch_part");
  return one;
}

/// Whether some keys are to blame: the others may be read.
bool about_the_data(const Error& error) { return error.kind == Kind::unprocessable; }

/// What forward.sql, or a function that it calls, raises by itself is about the data as well.
Task<Result<std::vector<pg::Rows>>> asked(pg::Lease& lease, std::vector<pg::Step> steps, Deadline deadline) {
  std::string raised;
  try {
    co_return co_await lease.batch(std::move(steps), deadline);
  } catch (const pg::Broken& e) {
    if (!std::string_view(e.what()).starts_with("P0")) throw;
    raised = e.message;
  }
  co_return fail(Kind::unprocessable, "FORWARD_RAISED", std::move(raised));
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
  std::optional<Fetched> out;
  bool refused = false;
  {
    auto lease = co_await db_.lease(deadline);
    std::vector<pg::Step> steps;
    steps.push_back({statements::snapshot, pg::params(xids)});
    steps.push_back({*mapping->forward, pg::params(keys)});
    auto rows = co_await asked(lease, std::move(steps), deadline);
    if (!rows && !about_the_data(rows.error())) co_return tl::make_unexpected(std::move(rows.error()));
    refused = !rows;
    if (rows) {
      if (auto fits = check_shape(*mapping, (*rows)[1]); !fits) co_return tl::make_unexpected(std::move(fits.error()));
      if (!(*rows)[0].boolean(0, 2)) co_return std::optional<Fetched>();
      out = read((*rows)[1], keys, version_of((*rows)[0], era));
    }
  }
  if (refused) {
    auto halved = co_await fetch_halving(mapping, std::move(keys), std::move(xids), era, deadline);
    if (!halved || !*halved) co_return halved;
    out = std::move(*halved);
  }
  if (!out->absent.empty())
    if (auto told = co_await tell_hidden(mapping, *out, deadline); !told) co_return tl::make_unexpected(std::move(told.error()));
  co_return out;
}

Task<Result<std::optional<Fetched>>> Source::fetch_halving(std::shared_ptr<const Mapping> mapping, std::vector<std::string> keys,
                                                           std::vector<std::uint32_t> xids, int era, Deadline deadline) {
  auto lease = co_await db_.lease(deadline);
  co_await lease.begin(deadline, "begin isolation level repeatable read read only");
  auto snapshot = co_await lease.run(statements::snapshot, pg::params(xids), deadline);
  if (!snapshot) co_return tl::make_unexpected(std::move(snapshot.error()));
  Fetched out;
  out.version = version_of(*snapshot, era);
  std::optional<Error> ended;
  if (!snapshot->boolean(0, 2)) {
    co_await lease.rollback(deadline);
    co_return std::optional<Fetched>();
  }
  std::vector<std::pair<std::size_t, std::size_t>> parts{{0, keys.size()}};
  while (!parts.empty() && !ended) {
    const auto [from, to] = parts.back();
    parts.pop_back();
    const std::vector<std::string> part(keys.begin() + static_cast<std::ptrdiff_t>(from), keys.begin() + static_cast<std::ptrdiff_t>(to));
    std::vector<pg::Step> steps;
    steps.push_back({savepoint(), {}});
    steps.push_back({*mapping->forward, pg::params(part)});
    steps.push_back({release(), {}});
    auto rows = co_await asked(lease, std::move(steps), deadline);
    if (rows) {
      if (auto fits = check_shape(*mapping, (*rows)[1]); !fits) {
        ended = std::move(fits.error());
        break;
      }
      auto fetched = read((*rows)[1], part, out.version);
      out.bytes += fetched.bytes;
      std::move(fetched.records.begin(), fetched.records.end(), std::back_inserter(out.records));
      std::move(fetched.absent.begin(), fetched.absent.end(), std::back_inserter(out.absent));
      continue;
    }
    if (!about_the_data(rows.error())) {
      ended = std::move(rows.error());
      break;
    }
    if (auto back = co_await lease.run(rollback_to(), {}, deadline); !back) co_return tl::make_unexpected(std::move(back.error()));
    if (part.size() > 1) {
      const auto middle = from + (to - from) / 2;
      parts.emplace_back(middle, to);
      parts.emplace_back(from, middle);
      continue;
    }
    out.failed.emplace_back(part.front(), rows.error().detail);
    if (out.failed.size() > kMostFailed)
      ended = Error{Kind::unprocessable,
                    "FORWARD_FAILED",
                    "forward.sql of " + mapping->domain + " fails on more than " + std::to_string(kMostFailed) + " keys of " +
                        std::to_string(keys.size()) + ", such as " + part.front() + ": " + rows.error().detail,
                    {},
                    {},
                    0};
  }
  co_await lease.rollback(deadline);
  if (ended) co_return tl::make_unexpected(std::move(*ended));
  co_return std::optional<Fetched>(std::move(out));
}

/// forward.sql is asked again beside the root table, in one snapshot: a row that came since the first look has a record now.
Task<Result<void>> Source::tell_hidden(std::shared_ptr<const Mapping> mapping, Fetched& fetched, Deadline deadline) {
  const auto keys = rooted_keys(*mapping, fetched.absent);
  auto lease = co_await db_.lease(deadline);
  std::vector<pg::Step> steps;
  steps.push_back({*mapping->rooted, pg::params(keys.first, keys.keys)});
  steps.push_back({*mapping->forward, pg::params(keys.keys)});
  auto rows = co_await asked(lease, std::move(steps), deadline);
  if (!rows && about_the_data(rows.error())) co_return Result<void>();  // one that came since fails: the stream brings it
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  std::unordered_set<std::string_view> hidden;
  for (std::size_t i = 0; i < (*rows)[0].size(); ++i) hidden.insert((*rows)[0].text(i, 0));
  for (std::size_t i = 0; i < (*rows)[1].size(); ++i) hidden.erase((*rows)[1].text(i, 0));
  if (hidden.empty()) co_return Result<void>();
  std::vector<std::string> gone;
  for (auto& key : fetched.absent) (hidden.contains(key) ? fetched.hidden : gone).push_back(std::move(key));
  fetched.absent = std::move(gone);
  co_return Result<void>();
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

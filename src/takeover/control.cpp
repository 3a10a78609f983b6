#include "takeover/control.hpp"

#include "auth/tokens.hpp"
#include "takeover/state.sql.hpp"

namespace enishi::takeover {
namespace {

namespace statements = sql::state;

std::string array_of(const pg::Rows& rows) {
  std::string out = "[";
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (i > 0) out += ",";
    out += rows.text(i, 0);
  }
  return out + "]";
}

}  // namespace

Task<Result<void>> begin(pg::Database& db, Mapping mapping, std::string conninfo, bool again) {
  const auto json = to_json(mapping.files);
  auto lease = co_await db.lease();
  const auto deadline = Deadline::in(Millis(30000));
  co_await lease.begin(deadline);
  auto owned = co_await lease.run(statements::own, pg::params(mapping.domain, mapping.system, again), deadline);
  if (!owned) co_return tl::make_unexpected(std::move(owned.error()));
  const bool taken = !owned->empty() && owned->boolean(0, 0);
  if (!taken && !owned->empty() && owned->boolean(0, 1) && owned->boolean(0, 2))
    co_return fail(
        Kind::conflict, "TAKEOVER_ABANDONED",
        "the takeover of " + mapping.domain +
            " was given up, and its records are Enishi's since: to take them over again, which writes the source's over them, say --again");
  if (!taken && !owned->empty() && owned->boolean(0, 1))
    co_return fail(Kind::conflict, "TAKEOVER_COMPLETED",
                   "the takeover of " + mapping.domain +
                       " was completed: Enishi's records are the only ones that are up to date, and a mirror would write over them");
  if (!taken)
    co_return fail(Kind::conflict, "DOMAIN_OWNED",
                   "the domain " + mapping.domain + " is not free to be mirrored from " + mapping.system +
                       "; `enishi takeover status` shows whose it is");
  auto source = co_await lease.run(statements::add_source, pg::params(mapping.system, std::move(conninfo)), deadline);
  if (!source) co_return tl::make_unexpected(std::move(source.error()));
  auto domain = co_await lease.run(statements::add_domain,
                                   pg::params(mapping.domain, mapping.system, json, auth::bytea(auth::sha256(json)), mapping.slot(),
                                              mapping.publication(), mapping.copy.rows_per_second, mapping.copy.most_wal_bytes),
                                   deadline);
  if (!domain) co_return tl::make_unexpected(std::move(domain.error()));
  if (domain->empty())
    co_return fail(Kind::conflict, "DOMAIN_OWNED", "the domain " + mapping.domain + " is taken over from another system");
  co_await lease.commit(deadline);
  co_return Result<void>();
}

Task<Result<std::string>> status(pg::Database& db) {
  auto rows = co_await db.run(statements::status, {}, Deadline::in(Millis(30000)));
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  co_return array_of(*rows);
}

Task<Result<std::string>> rejects(pg::Database& db, std::string domain, std::string state, int limit) {
  auto rows = co_await db.run(statements::rejects, pg::params(domain.empty() ? pg::Param() : pg::Param(domain), state, limit));
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  co_return array_of(*rows);
}

Task<Result<void>> accept_reject(pg::Database& db, std::int64_t id, std::string reason, std::optional<Uuid> user) {
  if (reason.empty()) co_return fail(Kind::unprocessable, "REASON_MISSING", "say why the record stays out");
  auto rows = co_await db.run(statements::accept_reject, pg::params(id, std::move(reason), user));
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  if (rows->empty()) co_return fail(Kind::not_found, "NOT_FOUND", "there is no open reject with this id");
  co_return Result<void>();
}

Task<Result<std::int64_t>> open_reject(pg::Database& db, std::string domain, std::string legacy_key) {
  auto rows = co_await db.run(statements::open_reject, pg::params(domain, legacy_key));
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  if (rows->empty()) co_return fail(Kind::not_found, "NOT_FOUND", "there is no open reject of " + domain + " with the key " + legacy_key);
  co_return rows->integer(0, 0);
}

Task<Result<std::int64_t>> retry_rejects(pg::Database& db, std::string domain) {
  auto rows = co_await db.run(statements::retry_rejects, pg::params(std::move(domain)));
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  co_return rows->integer(0, 0);
}

}  // namespace enishi::takeover

// What an operator decides about a takeover: begin, look, accept a reject. The command line and the API both call this.
//
//   auto mapping = read_mapping("mappings/shop-customer");
//   auto begun = co_await begin(db, std::move(*mapping), "host=db.shop.example dbname=shop user=enishi_reader");
#pragma once
#include <optional>
#include <string>

#include "pg/database.hpp"
#include "takeover/mapping.hpp"

namespace enishi::takeover {

/// Makes the domain the legacy system's and lets a server's mirror begin; for one that stopped, lets it go on (with every key looked at
/// again where that is needed) with this mapping. Errors DOMAIN_OWNED (Enishi's, or another system's), TAKEOVER_COMPLETED (which is for
/// good), TAKEOVER_ABANDONED (unless `again`: the source's records replace what was changed here since).
Task<Result<void>> begin(pg::Database& db, Mapping mapping, std::string conninfo, bool again = false);

/// A JSON array: one object a domain that is taken over.
Task<Result<std::string>> status(pg::Database& db);

/// A JSON array of rejects of a domain (empty: all), OPEN unless `state` says FIXED or ACCEPTED.
Task<Result<std::string>> rejects(pg::Database& db, std::string domain, std::string state, int limit);

/// The record stays out, for this reason, until its content changes. NOT_FOUND when it is not open.
Task<Result<void>> accept_reject(pg::Database& db, std::int64_t id, std::string reason, std::optional<Uuid> user);

/// The open reject of a record. NOT_FOUND.
Task<Result<std::int64_t>> open_reject(pg::Database& db, std::string domain, std::string legacy_key);

/// All open rejects of a domain are tried again now; how many.
Task<Result<std::int64_t>> retry_rejects(pg::Database& db, std::string domain);

}  // namespace enishi::takeover

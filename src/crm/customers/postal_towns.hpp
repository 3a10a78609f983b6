// Public data of postal codes, put into postal_town when the schema is new or the data is.
//
//   auto lease = co_await db.lease();
//   auto stored = co_await load_postal_towns(lease);   // rows that were new; 0 the next time
#pragma once
#include "pg/database.hpp"

namespace enishi::crm::customers {

/// Copies the embedded rows (about 130,000, a second) unless they are all there. Harmless when two processes do it at once. The lease must
/// not be in a transaction.
Task<Result<std::int64_t>> load_postal_towns(pg::Lease& lease);
Task<Result<std::int64_t>> load_postal_towns(pg::Database& db);

}  // namespace enishi::crm::customers

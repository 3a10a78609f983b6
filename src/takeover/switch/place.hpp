// A domain under takeover and its two databases, as diff, switch and reverse stream take it.
//
//   auto place = co_await find_place(db, shard, offload, "customer");       // reads takeover_domain and takeover_source
//   auto report = co_await diff(*place, {});
#pragma once
#include <memory>
#include <string>

#include "pg/database.hpp"
#include "takeover/faults.hpp"
#include "takeover/mapping.hpp"
#include "takeover/source.hpp"

namespace enishi::takeover {

/// `local` outlives it.
struct Place {
  pg::Database* local = nullptr;
  std::shared_ptr<Source> source;
  std::shared_ptr<const Mapping> mapping;
  std::shared_ptr<const pg::Statement> digests;  ///< at the source: keys → key, digest, deleted
  std::shared_ptr<const pg::Statement> chunk;    ///< at the source: keys → number, digest of all
  /// At the source: keys, keys again → number, digest, the rows' fingerprint in the same snapshot; nothing where a table's rows are not
  /// found by a column.
  std::shared_ptr<const pg::Statement> chunk_and_rows;
  std::shared_ptr<const pg::Statement> rows;        ///< at the source: keys → the rows' fingerprint
  std::shared_ptr<const pg::Statement> canonical;   ///< at the source: keys → key, canonical record
  std::shared_ptr<const pg::Statement> first_keys;  ///< at the source: limit → key and its parts, in the source's order
  std::shared_ptr<const pg::Statement> next_keys;   ///< the same behind a key: limit, parts …
  [[nodiscard]] const std::string& domain() const { return mapping->domain; }
  [[nodiscard]] const std::string& system() const { return mapping->system; }
};

[[nodiscard]] Place place_of(pg::Database& local, std::shared_ptr<Source> source, std::shared_ptr<const Mapping> mapping);

struct Ownership {
  std::string state, system, position, phase, slot, publication;
  std::string read_only;  ///< why, or empty
  std::int64_t epoch = 0;
  Millis since{0};  ///< the last move, by the database's clock
  int number = 0, era = 1;
};
/// NOT_FOUND for a domain that does not exist.
Task<Result<Ownership>> ownership(pg::Database& local, std::string domain, Deadline deadline);

/// Everything from the database: DOMAIN_NOT_TAKEN_OVER when nobody began to take it over.
Task<Result<Place>> find_place(pg::Database& local, Shard& shard, Offload& offload, std::string domain, Deadline deadline);

}  // namespace enishi::takeover

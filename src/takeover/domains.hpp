// Canonical records into Enishi's tables: a batch at a time, set-based, with identities, versions and history, in one transaction of the
// caller.
//
//   Batch batch = decode("shop", *mapping, fetched);                 // bad ones are in batch.rejects already
//   auto applied = co_await apply(lease, batch, deadline);           // between lease.begin() and lease.commit()
//
// The statements behind it are apply_customers(…) and so on in db/migrations/0017_takeover.sql, which belong to the schema's owner: the
// gate lets them through while a legacy system owns the domain, and nothing else.
#pragma once
#include <string>
#include <vector>

#include "pg/database.hpp"
#include "takeover/mapping.hpp"
#include "takeover/source.hpp"

namespace enishi::takeover {

struct Reject {
  std::string key;
  std::string code;  ///< of the first error
  std::string detail;
  std::vector<FieldError> errors;
  std::string content;  ///< the record as it came
};

/// A record as the apply_… functions take it.
struct Record {
  std::string key;
  std::vector<pg::Param> root;                                     ///< in the order of the function's parameters
  std::vector<std::vector<std::vector<pg::Param>>> children = {};  ///< kind → child → values, the first of which is the suffix of its id
  std::string content = {};                                        ///< as it came, for a reject
};

/// What is stored in one transaction: at most some thousand records, in the order of their keys.
struct Batch {
  std::string system, domain;
  Version version;
  std::int64_t epoch =
      0;  ///< of the domain when this was fetched; 0: not asked. Under another one the records may be of another owner's time
  std::vector<Record> records;
  std::vector<std::string> absent;
  struct Link {
    std::string table, row_key, root_key;
  };
  std::vector<Link> links;
  std::vector<Reject> rejects;
};

struct Applied {
  std::int64_t created = 0, updated = 0, deleted = 0, stale = 0, unchanged = 0, rejected = 0;
};

/// Checks and normalises: phones are read, match keys made, every error of a record collected by JSON pointer.
[[nodiscard]] Batch decode(const Mapping& mapping, Fetched fetched);

/// Stores it. What the database refuses is found by halving, under savepoints, and becomes a reject. Rejects are stored, and the open ones
/// of keys that are stored now are FIXED. EPOCH_MOVED: the domain changed hands since it was fetched; the caller rolls back.
/// `batch` outlives the call and is as it was after it, for another attempt.
Task<Result<Applied>> apply(pg::Lease& lease, const Batch& batch, Deadline deadline);

/// Notes customers of `system` with these keys that may be the same person as one of another system, or as one made here.
/// In the caller's transaction: with what stored them, so that a crash leaves none unseen.
Task<Result<void>> find_candidates(pg::Lease& lease, std::string system, std::vector<std::string> keys, Deadline deadline);

/// An SQL expression that makes the canonical form of the jsonb expression `record`, without functions of ours: for the source. On Enishi's
/// side canonical_record(domain, system, id) gives the same.
[[nodiscard]] std::string canonical_sql(std::string_view system, std::string_view domain, std::string_view record);

/// Last two groups of a child's id (see child_id() in 0017_takeover.sql): 60 bits of a hash over system, root key, kind and key.
[[nodiscard]] std::string child_suffix(std::string_view system, std::string_view root_key, std::string_view kind, std::string_view key);

}  // namespace enishi::takeover

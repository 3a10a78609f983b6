// Looks at a source and a mapping before anything moves, and writes the first draft of a mapping.
//
//   auto plan = co_await make_plan(db, source, mapping);          // reads both databases, changes neither
//   for (auto& f : plan->findings) …                            // ERROR: the start would fail or lose something · WARNING: look at it · OK
//   plan->server_sql, plan->owner_sql                             // what the source's people have to run
//   auto files = co_await scaffold(source, "shop", "customer", "public.customers");
//
// No superuser is needed on either side: whatever a login may not look at is a finding, not a failure.
#pragma once
#include <string>
#include <vector>

#include "takeover/mapping.hpp"
#include "takeover/source.hpp"

namespace enishi::takeover {

struct Finding {
  std::string level;    ///< ERROR, WARNING, OK
  std::string code;     ///< WAL_LEVEL, COLUMN_UNMAPPED …
  std::string subject;  ///< table, column, key or setting
  std::string detail;
};

struct Plan {
  std::vector<Finding> findings;
  std::string server_sql;  ///< what is missing for whoever runs the server: settings, the login's right to replicate; not for a transaction
  std::string owner_sql;   ///< for the owner of the tables: all of it, repeatable
  bool owner_sql_needed = false;  ///< something of it is not there yet
  std::int64_t rows = 0;          ///< of the root table, estimated
  double seconds = 0;             ///< of the copy, from a sample
  [[nodiscard]] bool good() const;
  [[nodiscard]] std::string json() const;
};

/// `local` is Enishi's database.
Task<Result<Plan>> make_plan(pg::Database& local, Source& source, std::shared_ptr<const Mapping> mapping);

/// TABLE_MISSING, KEY_MISSING. Columns whose meaning is not plain from their name are waived without a reason, which `plan` refuses.
Task<Result<MappingFiles>> scaffold(Source& source, std::string system, std::string domain, std::string root_table);

}  // namespace enishi::takeover

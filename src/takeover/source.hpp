// A legacy system's PostgreSQL: connections for reading records as of one snapshot.
//
//   Source source(shard, offload, {.system = "shop", .conninfo = "host=… dbname=shop user=enishi_reader sslmode=verify-full"});
//   auto fetched = co_await source.fetch(*mapping, {"42", "43"}, {789123});       // nothing, when xid 789123 is not visible yet
//   for (auto& record : fetched->records) …                                     // keys that yielded none are in fetched->absent
//
// Nothing is written here but by write-through and the reverse stream, in transactions of their own on db().
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pg/database.hpp"
#include "takeover/mapping.hpp"

namespace enishi::takeover {

struct SourceConfig {
  std::string system;
  std::string conninfo;  ///< any of libpq's; TLS and passfile are its options
  unsigned leases = 6;
  Millis statement_timeout{60000};
};

/// Orders the fetches of one record: total on one primary, for snapshots are taken under one lock. A source that failed over, or lost the
/// slot, begins a new era.
struct Version {
  int era = 1;
  std::uint64_t xmax = 0;
  int in_progress = 0;
};

struct FetchedRecord {
  std::string key;
  std::string record;  ///< jsonb text
  std::string links;   ///< jsonb text, or empty
};

struct Fetched {
  Version version;
  std::vector<FetchedRecord> records;
  std::vector<std::string> absent;                          ///< asked for, and not there: deleted
  std::vector<std::string> hidden;                          ///< in the root table, and forward.sql gives no record
  std::vector<std::pair<std::string, std::string>> failed;  ///< key, and why forward.sql fails on it
  std::uint64_t bytes = 0;
};

class Source {
 public:
  Source(Shard& shard, Offload& offload, SourceConfig config);
  [[nodiscard]] const SourceConfig& config() const { return config_; }
  pg::Database& db() { return db_; }
  /// The records of these root keys in one read-only REPEATABLE READ transaction. Nothing when a transaction of `xids` (widened to xid8) is
  /// not visible to its snapshot: a commit is decoded before others see it. Keys on which forward.sql fails are found by halving; an error
  /// when there are too many of them to be the data's fault.
  Task<Result<std::optional<Fetched>>> fetch(std::shared_ptr<const Mapping> mapping, std::vector<std::string> keys,
                                             std::vector<std::uint32_t> xids, int era, Deadline deadline);
  /// The same on a lease in a transaction of the caller (write-through looks at what it wrote before it commits).
  static Task<Result<Fetched>> fetch_within(pg::Lease& lease, std::shared_ptr<const Mapping> mapping, std::vector<std::string> keys,
                                            int era, Deadline deadline);

 private:
  /// The same in halves, under savepoints, when it fails on some keys.
  Task<Result<std::optional<Fetched>>> fetch_halving(std::shared_ptr<const Mapping> mapping, std::vector<std::string> keys,
                                                     std::vector<std::uint32_t> xids, int era, Deadline deadline);
  Task<Result<void>> tell_hidden(std::shared_ptr<const Mapping> mapping, Fetched& fetched, Deadline deadline);
  SourceConfig config_;
  pg::Database db_;
};

}  // namespace enishi::takeover

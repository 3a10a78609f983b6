// A sample legacy company: three services as they stand in the field, each with its own database in one PostgreSQL server, years of habits
// in them (docs/takeover/README.md goes through its takeover).
//
//   kokyaku   顧客管理  UTF-8    customers; names in one column, phones as typed, char(8) dates, soft deletes, counters kept by triggers
//   uketsuke  受付      UTF-8    inquiries and appointments; states as numbers, customers known by kokyaku's numbers
//   shohin    商品      EUC_JP   kinds of goods, and goods bought
//
//   auto made = make_legacy({.superuser = "host=… user=postgres", .customers = 1'000'000}, [](std::string_view what, double share) { … });
//
// The same seed, size and end give the same rows. The databases belong to `legacy_owner`; `enishi` may log in and replicate, and reads
// nothing until the owner lets it.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace enishi::cli::demo {

struct LegacyOptions {
  std::string superuser;  ///< libpq connection string or URL; may make roles and databases
  std::int64_t customers = 2000;
  std::uint64_t seed = 1;
  std::int64_t until = 0;  ///< seconds since 1970: the company's last day; 0: now
};

struct LegacyReport {
  std::int64_t customers = 0, phones = 0, addresses = 0, inquiries = 0, appointments = 0, goods = 0;
  bool made = false;  ///< false: the databases were there already
  double seconds = 0;
};

inline constexpr std::array<std::string_view, 3> legacy_systems{"kokyaku", "uketsuke", "shohin"};

/// Makes the databases that are not there yet, each under another name until it is complete.
Result<LegacyReport> make_legacy(LegacyOptions options, std::function<void(std::string_view what, double share)> progress);

/// `target` with another database, and another login unless `user` is empty: for connection strings and URLs.
std::string with_dbname(std::string target, std::string_view database, std::string_view user = {});

struct TrafficOptions {
  std::vector<std::string> targets;  ///< connection strings of the services' databases; the rate is shared: the first gets the most
  double rate = 300;                 ///< transactions a second over all
  double seconds = 0;                ///< 0: until stopped
  std::int64_t transactions = 0;     ///< 0: no limit
  unsigned connections = 4;          ///< a database
  std::uint64_t seed = 1;
};

/// What the services' users did until `seconds`, `transactions` or SIGINT/SIGTERM ended it: JSON
/// {"committed", "rolled_back", "refused": {SQLSTATE: n}, "unknown", "seconds", "systems": {name: {"made", "removed", "operations": {…}}}}.
/// Counts are of what the server acknowledged; "unknown" are commits whose answer was lost.
Result<std::string> run_traffic(TrafficOptions options);

}  // namespace enishi::cli::demo

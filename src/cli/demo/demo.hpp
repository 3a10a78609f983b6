// Sample data: a month of a home-visit purchase business. Names whose kana match, addresses whose postal codes exist, phones possible for
// their kind, inquiries with their calls, visits that no appraiser makes twice at a time. Deterministic: the same seed, size and end give
// the same rows.
//
//   DemoOptions options;                // 2,000 customers
//   options.customers = 1'000'000;      // with 2,000,000 inquiries and 5,000,000 calls
//   auto report = co_await make_demo(lease, options, [](std::string_view what, double share) { … });
//
// Runs as the owner of the schema, in one transaction, into a database without customers; triggers rest while it loads, so it writes
// history itself.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "base/error.hpp"
#include "io/task.hpp"
#include "pg/database.hpp"

namespace enishi::cli::demo {

struct DemoOptions {
  std::int64_t customers = 2000;
  std::uint64_t seed = 1;
  std::int64_t until = 0;     ///< seconds since 1970; the month ends here; 0: now
  std::string password_hash;  ///< what every sample user logs in with; empty: nobody can
};

struct DemoReport {
  std::int64_t customers = 0, phones = 0, inquiries = 0, calls = 0, tasks = 0, appointments = 0, bans = 0, history = 0;
  double seconds = 0;
};

/// `progress` is told what is being made and the share done (0 to 1). Error DEMO_NOT_EMPTY when there are customers already.
Task<Result<DemoReport>> make_demo(pg::Lease& lease, DemoOptions options,
                                   std::function<void(std::string_view what, double share)> progress);

/// The number the sample customer `i` (from 1) is found by: E.164. The benches compute it too.
std::string demo_phone(std::int64_t i);

}  // namespace enishi::cli::demo

// The chain that seals history: which row was changed, removed, inserted or put elsewhere since it was sealed.
//
//   auto report = co_await verify_chain(lease, [](double done, double seconds_left) { … });
//   if (report && report->whole()) …
//
// Seals are made by the job seal_history, 2,000 rows a second at most. Whoever can write the whole database can make a new chain: note
// `head` elsewhere now and then (it stands in the log of every check), and give it back as `anchor`.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "jobs/jobs.hpp"
#include "pg/database.hpp"

namespace enishi::crm::history {

struct ChainProblem {
  std::int64_t seal = 0;
  std::string problem;              ///< CHANGED REMOVED INSERTED REORDERED ERASED_WITHOUT_PROOF SEAL_BROKEN SEAL_MISSING ANCHOR_DIFFERS
  std::optional<std::int64_t> row;  ///< id in history
  std::string at, table, row_id, actor;
};

struct ChainReport {
  std::int64_t seals = 0, rows = 0, unsealed = 0;
  std::string head;                    ///< "NUMBER:DIGEST" of the newest seal, or empty
  std::vector<ChainProblem> problems;  ///< the first 1,000
  [[nodiscard]] bool whole() const { return problems.empty(); }
};
std::string to_json(const ChainReport& report);
std::string to_text(const ChainProblem& problem);

/// Reads all of it, 20 seals at a time. `anchor`: a head noted earlier. ANCHOR_INVALID.
Task<Result<ChainReport>> verify_chain(pg::Lease& lease, std::function<void(double done, double seconds_left)> progress = {},
                                       std::string anchor = {});

std::vector<jobs::Job> periodic();

}  // namespace enishi::crm::history

// What the parts of a restore share, and nobody else:
//   restore.cpp         the steps
//   restore_window.cpp  what can be restored
//   restore_plan.cpp    from which backup, along which timeline, to where
//   restore_report.cpp  what PostgreSQL said, and what is told
//   restore_checks.cpp  what a restored cluster is checked for
//   drill.cpp           a restore for a test
#pragma once
#include <boost/json.hpp>

#include "cluster/restore.hpp"

namespace enishi::cluster {

namespace fs = std::filesystem;
namespace json = boost::json;
using std::chrono::hours;
using std::chrono::seconds;

inline double elapsed(SteadyTime began) { return std::chrono::duration<double>(steady_now() - began).count(); }

Result<fs::path> binaries_for(const fs::path& pg_bin, int major);
std::string window_text(const Window& w);

struct Plan {
  Backup backup;
  std::uint32_t timeline = 1;
  std::string settings;  ///< recovery_target…
  Lsn expected_end;      ///< for progress
};

Result<Plan> make_plan(const RestoreRequest& request, const Window& window, const fs::path& home);

/// What the restored server's log says about its recovery.
struct LogSaid {
  std::string ended;
  std::optional<Moment> last_commit;
  std::optional<Lsn> stop;
  std::string fatal;
};

LogSaid read_log(const fs::path& folder);
/// Commits that follow the end in the WAL and are stamped at or before the target: they were under way at that moment.
std::vector<Commit> stamped_backwards(const WalSource& source, const DatabaseUser& user, const fs::path& bin, std::uint32_t timeline,
                                      Lsn end, Moment target);

std::vector<CheckResult> check(const EmbeddedCluster& cluster, const RestoreRequest& request, RestoreReport& report);
/// What is done to every restored cluster, and what the caller has it checked for.
std::vector<CheckResult> more_checks(const EmbeddedCluster& cluster, const RestoreRequest& request);

}  // namespace enishi::cluster

// The guardian of an embedded cluster's backups. From the first second WAL is archived and received; then it takes full and differential
// backups, keeps the window, tries a restore now and then, and tells what is wrong.
//
//   Guardian guardian(*cluster, settings, {});   // after the cluster is ready; starts in the background
//   guardian.status();                           // JSON, also in DIR/continuity.json, the table continuity and, in part, /metrics
//   guardian.stop();                             // before the cluster is stopped
//   cluster->stop();                             // the receiver gets everything to the shutdown checkpoint
//   guardian.finish();                           // the receiver has ended
//
// Synchronous receiving: commits wait until `pg_receivewal --synchronous` has flushed them. The guardian sets synchronous_standby_names
// when the receiver has caught up, clears it when the receiver has been away or stuck for sync_outage_seconds, and records the interval in
// which a lost disk could have cost commits.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cluster/cluster.hpp"
#include "cluster/repository.hpp"
#include "cluster/restore.hpp"
#include "cluster/storage.hpp"

namespace enishi::cluster {

/// For tests; the defaults are what is promised.
struct Pace {
  Millis tick{500};
  Millis heartbeat{10000};
  Millis first_work{500};      ///< after the cluster is ready
  Millis first_drill{600000};  ///< after the first backup
  Storage::Probe probe = {};   ///< instead of the one that looks at the backups' disk
};

enum class BackupKind { differential, full };
/// Which backup is due at `at`, if any. `gap`: WAL was written that nobody archived (kGap). One with damaged pages is no backup to restore
/// from, but it is not made anew at once, which would find the same pages: after six hours.
std::optional<BackupKind> backup_due(const RepositoryInfo& info, unsigned days, std::uint32_t timeline, bool gap, Moment at);
/// Whether pgBackRest may expire what it takes for older than the window: not while it would count on a damaged full backup, for then the
/// last good one could go.
bool may_expire(const RepositoryInfo& info, unsigned days, Moment at);

class Guardian {
 public:
  /// `cluster` outlives it. `checks` run on every drill.
  Guardian(EmbeddedCluster& cluster, BackupSettings settings, std::vector<Check> checks, Pace pace = {});
  ~Guardian();
  Guardian(const Guardian&) = delete;
  Guardian& operator=(const Guardian&) = delete;
  [[nodiscard]] std::string status() const;
  void stop();
  void finish();
  /// Waits until `seen` is true of the status, looking at every tick; for tests.
  bool wait_until(const std::function<bool(const std::string& status)>& seen, Deadline deadline) const;
  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

/// The newest status of a data folder, and whether an Enishi runs there now; NOT_FOUND without one.
Result<std::string> last_status(const std::filesystem::path& data);

}  // namespace enishi::cluster

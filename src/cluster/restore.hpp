// A new cluster beside the old one, as it was at a moment:
//
//   auto target = Target::parse("2026-11-22 13:05:01.123456+09");        // or "0/3A4F2B8", "before-import", "latest"
//   auto report = restore({.repository = repository, .target = *target, .into = "/var/lib/enishi-restored"});
//   if (report && report->good()) promote("/var/lib/enishi-restored", "/var/lib/enishi");
//
// What a time restores is the WAL up to the first commit stamped after it. Stamps can run backwards against the order of the WAL by
// microseconds; commits after the end that are stamped before it are listed in the report. A position restores exactly what was written
// before it. The restored cluster is an Enishi data folder of its own, quiet until promoted: no jobs, no backups.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cluster/cluster.hpp"
#include "cluster/repository.hpp"
#include "cluster/wal_source.hpp"
#include "io/task.hpp"
#include "pg/database.hpp"

namespace enishi::cluster {

/// In a restored folder and, once promoted, in the data folder: to_json(RestoreReport).
inline constexpr const char* kReport = "restore-report.json";

struct Target {
  enum class Kind { latest, time, lsn, name } kind = Kind::latest;
  Moment time{};
  Lsn lsn;
  std::string name;
  /// A time (parse_moment), a position, "latest", or the name of a mark or of its restore point. TARGET_INVALID.
  static Result<Target> parse(std::string_view text);
  [[nodiscard]] std::string str() const;
};

/// What can be restored.
struct Window {
  Moment from{}, to{};  ///< `to`: stamp of the newest commit that is in the repository or with the receiver
  Lsn from_lsn, to_lsn;
  std::uint32_t timeline = 1;
  std::vector<Backup> backups;
  std::vector<Event> marks, timelines;
  std::string system, archive;  ///< RepositoryInfo's
};
std::string to_json(const Window& window);

struct Progress {
  const char* phase = "";  ///< copy, replay, check
  double done = 0;         ///< 0 to 1
  double seconds_left = -1;
};

/// Another check of a restored cluster: a name, and what is wrong (an Error) or a sentence about what is right.
struct Check {
  std::string name;
  std::function<Task<Result<std::string>>(pg::Lease&)> run;
  bool always = false;  ///< also without checks: what it does belongs to the restore itself
};

struct RestoreRequest {
  Repository repository;
  Target target;
  std::filesystem::path into;
  std::filesystem::path pg_bin = {};
  std::optional<std::uint32_t> timeline = {};  ///< default: the one that was live at a time, else the newest
  std::optional<Window> window = {};           ///< when the caller has just read it
  bool check = true;
  bool gentle = false;
  std::vector<Check> checks = {};
  std::function<void(const Progress&)> progress = {};
  const std::atomic<bool>* stop = nullptr;
};

struct CheckResult {
  std::string name;
  bool good = false;
  std::string detail;
};

struct RestoreReport {
  std::string target, into, backup;
  std::uint32_t timeline = 1;             ///< restored from
  std::string ended;                      ///< what PostgreSQL said about the end
  std::optional<Moment> last_commit;      ///< stamp of the newest commit that is there
  Lsn end;                                ///< where the restored cluster goes on
  std::vector<Commit> stamped_backwards;  ///< after the end, and stamped before the target: not there
  unsigned wal_from_repository = 0, wal_from_receiver = 0;
  double copy_seconds = 0, replay_seconds = 0, check_seconds = 0;
  std::uint64_t bytes = 0;
  std::vector<CheckResult> checks;
  std::string counts = "{}";  ///< JSON object: table to rows
  [[nodiscard]] bool good() const;
};
std::string to_json(const RestoreReport& report);
std::string to_text(const RestoreReport& report);

/// Reads what is there; `home` is a folder with a pgbackrest.conf (the repository's data folder if empty) and gets a scratch folder.
Result<Window> read_window(const Repository& repository, const std::filesystem::path& home = {}, const std::filesystem::path& pg_bin = {});

/// RESTORE_INTO_USED, TARGET_OUTSIDE_WINDOW (names the window), TARGET_UNKNOWN (names the marks), TARGET_AMBIGUOUS (names them), DISK_FULL,
/// RESTORE_FAILED and what reading the repository and starting can say. What checks find is in the report.
Result<RestoreReport> restore(RestoreRequest request);

/// The restored cluster in `into` becomes the one in `data`, whose old one stays beside it as pgdata.before-…; with an empty `data` it
/// becomes a normal data folder where it is. Nothing may run in either. Cut off at any point and called again, it goes on where it was.
/// NOT_RESTORED, DATA_IN_USE, RESTORE_STALE; RESTORE_BAD when a check of its report is bad, unless `even_if_bad`. Returns where the old one
/// is.
Result<std::filesystem::path> promote(const std::filesystem::path& into, const std::filesystem::path& data, bool even_if_bad = false);

struct DrillResult {
  bool good = false;
  std::string target, detail;
  Moment at{};
  double seconds = 0;
  std::uint64_t bytes = 0;
};
std::string to_json(const DrillResult& result);
/// Restores a random moment of the window into `scratch`, checks it, removes it, and notes the result in the data folder's drills.jsonl.
DrillResult drill(const Repository& repository, const std::filesystem::path& scratch, const std::filesystem::path& pg_bin,
                  std::vector<Check> checks, std::function<void(const Progress&)> progress = {}, const std::atomic<bool>* stop = nullptr);
/// The drills of a data folder, oldest first.
std::vector<DrillResult> drills(const std::filesystem::path& data);

}  // namespace enishi::cluster

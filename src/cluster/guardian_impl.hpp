// The guardian's parts share this, and nobody else: what each thread sees and wants, under one lock.
//   guardian.cpp           the watch: a tick, heartbeats, requests
//   guardian_alarms.cpp    what an observation means
//   guardian_synchrony.cpp for whom commits wait, and when they did not
//   guardian_backups.cpp   the worker: repository, backups, drills
//   guardian_receiver.cpp  pg_receivewal and its folder
//   guardian_status.cpp    what is told
#pragma once
#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include "base/log.hpp"
#include "base/metrics.hpp"
#include "cluster/continuity.sql.hpp"
#include "cluster/files.hpp"
#include "cluster/guardian.hpp"
#include "cluster/session.hpp"
#include "cluster/storage.hpp"
#include "cluster/wal_source.hpp"

namespace enishi::cluster {

namespace fs = std::filesystem;
namespace json = boost::json;
using std::chrono::duration_cast;
using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::minutes;
using std::chrono::seconds;

inline constexpr const char* kStatusFile = "continuity.json";
inline constexpr const char* kRiskFile = "continuity.jsonl";  ///< intervals in which a lost disk could have cost commits
inline constexpr std::uint64_t kCaughtUp = kSegment;
/// No commit of the guardian's waits for the receiver it watches: it would hang until the guardian itself lets it go on. Nor is one refused
/// while everybody's writes are.
inline constexpr const char* kAlone = "-c synchronous_commit=local -c default_transaction_read_only=off";
inline constexpr Millis kStorageLimit{10000};     ///< for what is small and on the backups' disk
inline constexpr std::size_t kKeptSegments = 16;  ///< archived ones that the receiver's folder keeps all the same

inline double since(Moment then) { return std::chrono::duration<double>(now() - then).count(); }

inline Moment from_micros(const json::value& v) { return v.is_number() ? Moment(microseconds(v.to_number<std::int64_t>())) : Moment{}; }

inline const json::value& field(const json::object& o, std::string_view name) {
  static const json::value nothing;
  const auto* found = o.if_contains(name);
  return found == nullptr ? nothing : *found;
}
inline json::object object_of(const json::object& o, std::string_view name) {
  const auto& v = field(o, name);
  return v.is_object() ? v.get_object() : json::object();
}
inline std::string text_of(const json::object& o, std::string_view name) {
  const auto& v = field(o, name);
  return v.is_string() ? std::string(v.get_string()) : std::string();
}
inline std::int64_t number_of(const json::object& o, std::string_view name) {
  const auto& v = field(o, name);
  return v.is_number() ? v.to_number<std::int64_t>() : 0;
}
inline Lsn lsn_of(const json::object& o, std::string_view name) { return Lsn::parse(text_of(o, name)).value_or(Lsn{}); }

inline json::value time_or_null(Moment m) { return m == Moment{} ? json::value(nullptr) : json::value(to_text(m)); }

struct Problem {
  bool red = true;
  std::string code, detail, way_out;
  Moment from{};
};

/// What has to be done, one at a time.
struct Request {
  std::string id, kind, name;
};

struct Figures {
  metrics::Gauge& ok = metrics::gauge("enishi_continuity_ok", "1 while everything that keeps data safe works");
  metrics::Gauge& red = metrics::gauge("enishi_continuity_problems", "Problems of backups by severity", {{"severity", "red"}});
  metrics::Gauge& yellow = metrics::gauge("enishi_continuity_problems", "Problems of backups by severity", {{"severity", "yellow"}});
  metrics::Gauge& last_backup = metrics::gauge("enishi_backup_last_success_timestamp_seconds", "End of the newest good backup, Unix time");
  metrics::Gauge& window_from =
      metrics::gauge("enishi_backup_window_start_timestamp_seconds", "Oldest moment that can be restored, Unix time");
  metrics::Gauge& window_to = metrics::gauge("enishi_backup_window_end_timestamp_seconds", "Newest moment that can be restored, Unix time");
  metrics::Gauge& repository_bytes = metrics::gauge("enishi_backup_repository_bytes", "Bytes of the repository");
  metrics::Gauge& wal_bytes = metrics::gauge("enishi_wal_bytes", "Bytes of WAL on the database's disk");
  metrics::Gauge& wal_waiting = metrics::gauge("enishi_wal_files_waiting", "WAL files that wait to be archived");
  metrics::Gauge& outage = metrics::gauge("enishi_backup_outage_seconds", "For so long WAL could not be archived; 0 while it can");
  metrics::Gauge& read_only =
      metrics::gauge("enishi_backup_writes_stopped", "1 while writes are refused because nothing could be backed up for too long");
  metrics::Gauge& receiver = metrics::gauge("enishi_receiver_up", "1 while the WAL receiver streams");
  metrics::Gauge& lag = metrics::gauge("enishi_receiver_lag_bytes", "WAL that the receiver does not have yet");
  metrics::Gauge& synchronous = metrics::gauge("enishi_receiver_synchronous", "1 while commits wait for the receiver");
  metrics::Gauge& wanted = metrics::gauge("enishi_receiver_synchronous_wanted", "1 when commits are meant to wait for the receiver");
  metrics::Gauge& risk = metrics::gauge("enishi_not_rpo0_seconds",
                                        "Seconds of this run in which commits did not wait for the receiver although they were meant to");
  metrics::Gauge& drill_at =
      metrics::gauge("enishi_drill_last_success_timestamp_seconds", "Newest drill that restored well, Unix time; 0 without one");
  metrics::Gauge& drill_seconds = metrics::gauge("enishi_drill_seconds", "Duration of the newest drill");
  metrics::Gauge& drill_ok = metrics::gauge("enishi_drill_ok", "1 when the newest drill was good and is recent enough");
  metrics::Gauge& free_data = metrics::gauge("enishi_disk_free_bytes", "Free bytes", {{"disk", "data"}});
  metrics::Gauge& free_backup = metrics::gauge("enishi_disk_free_bytes", "Free bytes", {{"disk", "backup"}});
  metrics::Gauge& heartbeat = metrics::gauge("enishi_heartbeat_timestamp_seconds", "Newest heartbeat commit, Unix time");
};
inline Figures& figures() {
  static Figures all;
  return all;
}

/// Recovery stops at the first restore point of a name, so each mark has one of its own: the end of the request's id is random. PostgreSQL
/// takes 63 characters.
inline std::string restore_point(const std::string& name, const std::string& id) {
  return name.substr(0, 54) + "." + id.substr(id.size() - std::min<std::size_t>(id.size(), 8));
}

inline Storage::Seen look_at(const Repository& repository) {
  Storage::Seen out;
  out.reachable = repository.reachable();
  std::error_code ec;
  if (const auto space = fs::space(repository.folder(), ec); !ec) {
    out.bytes = space.capacity;
    out.free = space.available;
  }
  return out;
}

inline double unix_time(Moment m) { return std::chrono::duration<double>(m.time_since_epoch()).count(); }

struct Guardian::Impl {
  Impl(EmbeddedCluster& watched, BackupSettings settings, std::vector<Check> more, Pace set)
      : cluster(watched),
        repository(std::move(settings), watched.data(), watched.user()),
        checks(std::move(more)),
        pace(std::move(set)),
        storage(pace.probe ? pace.probe : Storage::Probe([disk = repository] { return look_at(disk); }),
                std::min(pace.tick * 2, Millis(1000))),
        status_file(watched.data() / kStatusFile) {}

  EmbeddedCluster& cluster;
  Repository repository;
  std::vector<Check> checks;
  Pace pace;
  Storage storage;
  fs::path status_file;

  std::atomic<bool> stop_work{false}, stop_receiver{false};
  mutable std::mutex guard;
  mutable std::condition_variable changed;
  // Below: under `guard`.
  bool prepared = false;
  std::map<std::string, Problem> problems;
  json::object observed;
  std::string system;
  std::int64_t wal_bytes = 0, wal_waiting = 0;
  std::uint64_t repository_bytes = 0;
  RepositoryInfo info;
  std::deque<std::pair<Moment, Lsn>> beats;  ///< heartbeats: when, and the position that holds it
  bool synchronous = false;                  ///< commits are meant to wait now
  bool read_only = false;
  Moment outage_from{}, risk_from{};
  Lsn last_flushed;
  SteadyTime moved = steady_now();  ///< when the receiver last got on
  double risk_seconds = 0;
  std::deque<Request> requests;
  std::string running;  ///< backup, drill
  std::optional<DrillResult> last_drill;
  Moment last_good_drill{};
  std::string status_text = "{}";
  std::uint64_t ticks = 0;
  unsigned receiver_starts = 0;
  std::thread watcher, worker, receiving;
  std::mutex conf_guard;  ///< taken before `guard`: one writes the settings at a time, and what is wanted last is written last
  SteadyTime conf_tried{};

  [[nodiscard]] const BackupSettings& settings() const { return repository.settings(); }
  [[nodiscard]] std::string data() const { return cluster.data().string(); }

  // The problems ---------------------------------------------------------------------------------------------------

  void problem(const std::string& topic, bool red, std::string code, std::string detail, std::string way_out) {
    const std::lock_guard held(guard);
    auto [at, fresh] = problems.try_emplace(topic);
    auto& p = at->second;
    if (fresh) p.from = now();
    if (p.code != code) log(red ? Level::error : Level::warning, "backups: " + code, {{"detail", detail}, {"way_out", way_out}});
    p = Problem{red, std::move(code), std::move(detail), std::move(way_out), p.from};
  }
  void solved(const std::string& topic) {
    const std::lock_guard held(guard);
    const auto at = problems.find(topic);
    if (at == problems.end()) return;
    log_info("backups: solved", {{"code", at->second.code}, {"seconds", since(at->second.from)}});
    problems.erase(at);
  }
  void problem(const std::string& topic, const Error& error, std::string way_out) {
    problem(topic, true, error.code, error.detail, std::move(way_out));
  }

  /// False when it is time to end.
  bool pause(Millis span, const std::atomic<bool>& stop) {
    std::unique_lock held(guard);
    return !changed.wait_for(held, span, [&stop] { return stop.load(); });
  }

  void write_conf() {
    const std::lock_guard writing(conf_guard);
    bool wait = false, refuse = false;
    {
      const std::lock_guard held(guard);
      wait = synchronous;
      refuse = read_only;
    }
    if (auto done = put(cluster.data() / "pgdata" / kGuardianConf, guardian_conf(cluster.data(), wait, refuse), cluster.user()); !done)
      problem("settings", done.error(), "free space on the database's disk");
    else
      solved("settings");
    conf_tried = steady_now();
    cluster.reload();
  }
  /// What could not be written, or did not arrive, is written again: a commit may wait for it.
  void hold_conf() {
    bool as_wanted = false, unwritten = false;
    std::string names, source;
    {
      const std::lock_guard held(guard);
      names = text_of(observed, "synchronous_standby_names");
      source = text_of(observed, "names_from");
      unwritten = problems.contains("settings");
      as_wanted = names == (synchronous ? kReceiver : "");
    }
    // What somebody set in a file that wins over ours is theirs: said, and left.
    const bool foreign = !as_wanted && !source.empty() && fs::path(source).filename() != kGuardianConf;
    if (foreign)
      problem("names", false, "STANDBY_NAMES_SET",
              fmt::format("synchronous_standby_names is '{}' in {}, which wins: it decides for whom commits wait", names, source),
              "take the line out of " + source + "; then it goes on by itself");
    else
      solved("names");
    if (!unwritten && (as_wanted || foreign)) return;
    const auto tried = [this] {
      const std::lock_guard writing(conf_guard);
      return conf_tried;
    }();
    if (steady_now() - tried > seconds(5)) write_conf();
  }

  // Watching -------------------------------------------------------------------------------------------------------

  void watch();
  bool observe(Session& session);
  void synchronise();
  void end_risk(Moment until);
  void take_up_risk(const json::object& before);
  void judge();
  struct Disk {
    std::string name;
    fs::path path;
    std::uint64_t bytes = 0, free = 0;
  };
  [[nodiscard]] std::vector<Disk> disks() const;
  void beat(Session& session);
  void take_requests(Session& session);
  void tell();
  json::object make_status();

  // Working --------------------------------------------------------------------------------------------------------

  void work();
  bool prepare();
  void archive_histories();
  bool look();
  void backup(BackupKind kind, const std::string& why);
  std::optional<BackupKind> due() const;
  bool drill_due() const;
  void run_drill();
  void answer(const Request& request, bool good, const std::string& detail);

  void receive();
  void tidy_receiver(const fs::path& folder);
};

}  // namespace enishi::cluster

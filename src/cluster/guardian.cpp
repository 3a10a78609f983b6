#include "cluster/guardian.hpp"

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
#include "cluster/session.hpp"
#include "cluster/storage.hpp"
#include "cluster/wal_source.hpp"

namespace enishi::cluster {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using std::chrono::duration_cast;
using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr const char* kStatusFile = "continuity.json";
constexpr const char* kRiskFile = "continuity.jsonl";  ///< intervals in which a lost disk could have cost commits
constexpr std::uint64_t kCaughtUp = kSegment;
/// No commit of the guardian's waits for the receiver it watches: it would hang until the guardian itself lets it go on. Nor is one refused
/// while everybody's writes are.
constexpr const char* kAlone = "-c synchronous_commit=local -c default_transaction_read_only=off";
constexpr Millis kStorageLimit{10000};     ///< for what is small and on the backups' disk
constexpr std::size_t kKeptSegments = 16;  ///< archived ones that the receiver's folder keeps all the same

double since(Moment then) { return std::chrono::duration<double>(now() - then).count(); }

Moment from_micros(const json::value& v) { return v.is_number() ? Moment(microseconds(v.to_number<std::int64_t>())) : Moment{}; }

const json::value& field(const json::object& o, std::string_view name) {
  static const json::value nothing;
  const auto* found = o.if_contains(name);
  return found == nullptr ? nothing : *found;
}
json::object object_of(const json::object& o, std::string_view name) {
  const auto& v = field(o, name);
  return v.is_object() ? v.get_object() : json::object();
}
std::string text_of(const json::object& o, std::string_view name) {
  const auto& v = field(o, name);
  return v.is_string() ? std::string(v.get_string()) : std::string();
}
std::int64_t number_of(const json::object& o, std::string_view name) {
  const auto& v = field(o, name);
  return v.is_number() ? v.to_number<std::int64_t>() : 0;
}
Lsn lsn_of(const json::object& o, std::string_view name) { return Lsn::parse(text_of(o, name)).value_or(Lsn{}); }

json::value time_or_null(Moment m) { return m == Moment{} ? json::value(nullptr) : json::value(to_text(m)); }

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
Figures& figures() {
  static Figures all;
  return all;
}

/// Recovery stops at the first restore point of a name, so each mark has one of its own: the end of the request's id is random. PostgreSQL
/// takes 63 characters.
std::string restore_point(const std::string& name, const std::string& id) {
  return name.substr(0, 54) + "." + id.substr(id.size() - std::min<std::size_t>(id.size(), 8));
}

Storage::Seen look_at(const Repository& repository) {
  Storage::Seen out;
  out.reachable = repository.reachable();
  std::error_code ec;
  if (const auto space = fs::space(repository.folder(), ec); !ec) {
    out.bytes = space.capacity;
    out.free = space.available;
  }
  return out;
}

double unix_time(Moment m) { return std::chrono::duration<double>(m.time_since_epoch()).count(); }

}  // namespace

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

void Guardian::Impl::end_risk(Moment until) {
  if (risk_from == Moment{}) return;
  const double span = std::chrono::duration<double>(until - risk_from).count();
  risk_seconds += span;
  const json::object line{{"from", to_text(risk_from)}, {"to", to_text(until)}, {"seconds", span}};
  (void)append_line(cluster.data() / kRiskFile, json::serialize(line), cluster.user());
  risk_from = Moment{};
}

/// An interval that was open when the Guardian before this one was killed: it goes on until commits wait, or ended with what that one knew.
void Guardian::Impl::take_up_risk(const json::object& before) {
  const auto& risks = field(before, "not_rpo_0");
  if (!risks.is_array() || risks.get_array().empty() || !risks.get_array().back().is_object()) return;
  const auto& last = risks.get_array().back().get_object();
  const auto from = parse_moment(text_of(last, "from"));
  if (!from || !field(last, "to").is_null()) return;
  if (slurp(cluster.data() / kRiskFile).find("\"from\":\"" + to_text(*from) + "\"") != std::string::npos) return;  // it was ended since
  risk_from = *from;
  if (!settings().synchronous) end_risk(parse_moment(text_of(before, "at")).value_or(now()));
}

bool Guardian::Impl::observe(Session& session) {
  auto row = session.ask(sql::continuity::observe);
  if (!row) return false;
  boost::system::error_code bad;
  const auto seen = json::parse(row->text(0, 0), bad);
  if (bad || !seen.is_object()) return false;
  const std::lock_guard held(guard);
  observed = seen.get_object();
  return true;
}

/// Sets and clears synchronous_standby_names. Called at every tick of a database that answers.
void Guardian::Impl::synchronise() {
  if (!settings().synchronous) return;
  bool change = false;
  {
    const std::lock_guard held(guard);
    const auto receiver = object_of(observed, "receiver");
    const bool streams = text_of(receiver, "state") == "streaming";
    const auto flushed = lsn_of(receiver, "flush_lsn"), written = lsn_of(observed, "lsn");
    const bool caught_up = streams && flushed.at + kCaughtUp >= written.at && flushed.at > 0;
    // A receiver that is frozen or whose disk is full stays connected: what it has flushed does not move while there is something to flush.
    if (streams && (flushed != last_flushed || flushed >= written)) moved = steady_now();
    last_flushed = flushed;
    const bool out = steady_now() - moved > seconds(settings().sync_outage_seconds);
    if (text_of(observed, "synchronous_commit") == "remote_apply") {
      // A receiver applies nothing: every commit would wait for ever.
      change = std::exchange(synchronous, false);
    } else if (!synchronous && caught_up) {
      synchronous = change = true;
    } else if (synchronous && out) {
      synchronous = false;
      change = true;
      risk_from = now() - duration_cast<microseconds>(steady_now() - moved);
    }
  }
  if (change) write_conf();
  std::unique_lock held(guard);
  // The interval ends when the server itself waits, not when it was told to.
  const bool waits = synchronous && text_of(object_of(observed, "receiver"), "sync_state") == "sync";
  if (waits) end_risk(now());
  if (!waits && risk_from == Moment{} && (!synchronous || text_of(observed, "synchronous_standby_names") != kReceiver)) risk_from = now();
  const bool risky = risk_from != Moment{} && since(risk_from) > 3;  // a start takes a moment
  held.unlock();
  if (text_of(observed, "synchronous_commit") == "remote_apply")
    problem("synchronous", true, "REMOTE_APPLY",
            "synchronous_commit is remote_apply, for which no receiver can ever vouch: commits do not wait for it",
            "set synchronous_commit = on in " + data() + "/postgresql.local.conf");
  else if (risky)
    problem("synchronous", true, "NOT_RPO_0", "commits do not wait for the receiver: a lost disk would cost the newest of them",
            "see why the receiver is away: enishi status --data " + data());
  else
    solved("synchronous");
}

std::vector<Guardian::Impl::Disk> Guardian::Impl::disks() const {
  Disk own{"data", cluster.data()};
  std::error_code ec;
  if (const auto space = fs::space(own.path, ec); !ec) {
    own.bytes = space.capacity;
    own.free = space.available;
  }
  const auto seen = storage.seen();
  return {own, {"backup", repository.folder(), seen.bytes, seen.free}};
}

/// What the observation means.
void Guardian::Impl::judge() {
  json::object archiver, receiver, slot;
  bool ready = false, prepared_now = false;
  std::int64_t waiting = 0;
  Moment outage, newest_backup{};
  bool damaged = false, any = false;
  std::string damaged_label;
  {
    const std::lock_guard held(guard);
    archiver = object_of(observed, "archiver");
    receiver = object_of(observed, "receiver");
    slot = object_of(observed, "slot");
    ready = !observed.empty();
    prepared_now = prepared;
    waiting = wal_waiting;
    for (const auto& b : info.backups) {
      if (b.damaged) {
        damaged = true;
        damaged_label = b.label;
      } else {
        any = true;
        newest_backup = std::max(newest_backup, b.finished);
        if (damaged && b.finished >= newest_backup) damaged = false;
      }
    }
  }
  if (!ready) return;
  const auto failed_at = from_micros(field(archiver, "last_failed_at")), archived_at = from_micros(field(archiver, "last_at"));
  const auto silent = storage.silent();
  const bool hangs = !storage.answers(), gone = !hangs && !storage.seen().reachable;
  const bool failing = (failed_at != Moment{} && failed_at > archived_at && waiting > 0) || (prepared_now && (gone || hangs));
  {
    const std::lock_guard held(guard);
    if (failing || !prepared_now) {
      if (outage_from == Moment{})
        outage_from =
            failing && archived_at != Moment{} && failed_at > archived_at ? std::max(archived_at, failed_at - minutes(10)) : now();
    } else {
      outage_from = Moment{};
    }
    outage = outage_from;
  }
  const auto limit = settings().outage_hours;
  if (hangs)
    problem("repository", true, "BACKUP_SILENT",
            fmt::format("the disk of \"{}\" has not answered for {} s", repository.folder().string(), silent.count() / 1000),
            fmt::format("see whether its server is there: `findmnt -T {}`; it goes on by itself", repository.folder().string()));
  else if (gone)
    problem("repository", true, "BACKUP_GONE", fmt::format("the backups are not in \"{}\" any more", repository.folder().string()),
            fmt::format("mount its disk again; `findmnt -T {}` says what is there now", repository.folder().string()));
  else if (prepared_now)
    solved("repository");
  if (failing)
    problem("archive", true, "WAL_NOT_ARCHIVED",
            fmt::format("since {} no WAL could be archived; {} files wait in \"{}/pgdata/pg_wal\" and none is dropped{}", to_text(outage),
                        waiting, data(), limit == 0 ? "" : fmt::format("; writes go on until {}", to_text(outage + hours(limit)))),
            fmt::format("df -h {} ; the reason is in the newest file of {}/log", repository.folder().string(), data()));
  else
    solved("archive");
  bool turn = false, refuse = false;
  {
    const std::lock_guard held(guard);
    refuse = limit > 0 && outage != Moment{} && now() - outage > hours(limit);
    turn = refuse != read_only;
    read_only = refuse;
  }
  if (turn) {
    log(refuse ? Level::error : Level::info,
        refuse ? "backups: writes are refused, nothing could be backed up for too long" : "backups: writes go on");
    write_conf();
  }
  if (refuse)
    problem("writes", true, "WRITES_STOPPED",
            fmt::format("nothing could be backed up for {} hours: writes are refused until it can", limit),
            "bring the backups back; to write without: enishi serve --backup-outage-hours 0");
  else
    solved("writes");
  const bool streams = text_of(receiver, "state") == "streaming";
  if (streams)
    solved("receiver");
  else if (prepared_now && !stop_work)
    problem("receiver", settings().synchronous, "RECEIVER_AWAY",
            "the WAL receiver does not stream: the newest minute exists on the database's disk only",
            fmt::format("tail {}/log/receiver.log ; df -h {}", data(), repository.receiver().string()));
  if (text_of(slot, "wal_status") == "lost")
    problem("slot", true, "RECEIVER_GAP", "the receiver was away for so long that WAL it has not seen was let go; the repository has it",
            "nothing to do: it begins anew by itself");
  else
    solved("slot");
  if (damaged)
    problem("damage", true, "PAGES_DAMAGED",
            fmt::format("backup {} found pages of the database whose checksum is wrong: the disk or the memory is failing", damaged_label),
            fmt::format("docs/operate/corrupted-page.md: enishi restore --data {0} --into {0}/restored", data()));
  else
    solved("damage");
  if (prepared_now && !any)
    problem("age", false, "NO_BACKUP_YET", "there is no full backup yet: nothing can be restored",
            "wait for the first one, or enishi backup --data " + data());
  else if (prepared_now && since(newest_backup) > 2 * 24 * 3600.0)
    problem("age", true, "BACKUP_OLD", "the newest good backup is of " + to_text(newest_backup), "enishi backup --data " + data());
  else if (any)
    solved("age");
  if (settings().drill_days > 0) {
    const std::lock_guard held(guard);
    const bool good =
        last_good_drill != Moment{} && since(last_good_drill) < (settings().drill_days + 1) * 86400.0 && (!last_drill || last_drill->good);
    if (good) {
      problems.erase("drill");
    } else {
      auto& p = problems["drill"];
      const bool failed = last_drill && !last_drill->good;
      p = Problem{true,
                  failed                        ? "DRILL_FAILED"
                  : last_good_drill == Moment{} ? "DRILL_NEVER"
                                                : "DRILL_OLD",
                  failed                        ? "the newest drill failed: " + last_drill->detail
                  : last_good_drill == Moment{} ? "no backup was ever restored for a test"
                                                : "the newest good drill is of " + to_text(last_good_drill),
                  "enishi drill --data " + data(), p.from == Moment{} ? now() : p.from};
    }
  }
  for (const auto& [name, path, bytes, free] : disks()) {
    if (bytes == 0) continue;
    const double share = static_cast<double>(free) / static_cast<double>(bytes);
    const auto topic = std::string("disk ") + name;
    if (share < 0.1)
      problem(
          topic, share < 0.03, "DISK_NEARLY_FULL",
          fmt::format("{:.1f} GB ({:.0f} %) are free on the disk of \"{}\"", static_cast<double>(free) / 1e9, share * 100, path.string()),
          fmt::format("df -h {}", path.string()));
    else
      solved(topic);
    (name == "data" ? figures().free_data : figures().free_backup).set(static_cast<double>(free));
  }
}

void Guardian::Impl::beat(Session& session) {
  std::string status;
  {
    const std::lock_guard held(guard);
    status = status_text;
  }
  const auto begun = now();
  const auto known = session.ask(sql::continuity::has_schema);
  const bool schema = known && known->boolean(0, 0);
  const auto row = schema ? session.ask(sql::continuity::heartbeat, pg::params(status)) : session.ask(sql::continuity::bare_heartbeat);
  if (!row) {
    log_warning("no heartbeat", {{"error", row.error().detail}});
    return;
  }
  const auto done = Moment(microseconds(row->integer(0, schema ? 0 : 1)));
  auto position = session.ask(sql::continuity::position);
  auto wal = session.ask(sql::continuity::wal_on_disk);
  const std::lock_guard held(guard);
  if (position)
    if (const auto lsn = Lsn::parse(position->text(0, 0))) beats.emplace_back(std::min(done, begun), *lsn);
  if (beats.size() > 1000) beats.pop_front();
  if (wal) {
    wal_bytes = wal->integer(0, 0);
    wal_waiting = wal->integer(0, 1);
  }
  figures().heartbeat.set(unix_time(done));
}

void Guardian::Impl::take_requests(Session& session) {
  auto known = session.ask(sql::continuity::has_schema);
  if (!known || !known->boolean(0, 0)) return;
  for (;;) {
    {
      const std::lock_guard held(guard);
      if (requests.size() >= 16) return;
    }
    auto row = session.ask(sql::continuity::take_request);
    if (!row || row->empty()) return;
    Request r{std::string(row->text(0, 0)), std::string(row->text(0, 1)), std::string(row->text(0, 2))};
    if (r.kind == "MARK") {
      const auto point = restore_point(r.name, r.id);
      auto marked = session.ask(sql::continuity::mark, pg::params(point));
      Result<void> noted;
      if (marked) {
        Event mark{"mark", r.name, 1, Lsn::parse(marked->text(0, 0)).value_or(Lsn{}), now(), point};
        {
          const std::lock_guard held(guard);
          mark.timeline = static_cast<std::uint32_t>(number_of(observed, "timeline"));
        }
        noted = storage.run([disk = repository, mark] { return disk.note(mark); }, kStorageLimit);
      }
      const bool good = marked && noted;
      (void)session.ask(
          sql::continuity::finish_request,
          pg::params(r.id, good, good ? std::string(marked->text(0, 0)) : (marked ? noted.error().detail : marked.error().detail)));
      continue;
    }
    const std::lock_guard held(guard);
    requests.push_back(std::move(r));
    changed.notify_all();
  }
}

json::object Guardian::Impl::make_status() {
  const auto lsn = lsn_of(observed, "lsn");
  const auto receiver = object_of(observed, "receiver"), archiver = object_of(observed, "archiver");
  // What cannot be lost with the database's disk: with the receiver, or in the repository.
  auto safe = std::max(lsn_of(receiver, "write_lsn"), lsn_of(receiver, "flush_lsn"));
  if (const auto last = parse_wal_file(text_of(archiver, "last_wal").substr(0, 24))) safe = std::max(safe, Lsn{last->second.at + kSegment});
  Moment window_to{};
  for (const auto& [at, position] : beats)
    if (position <= safe) window_to = at;
  Moment window_from{};
  Backup newest;
  json::array backups;
  for (const auto& b : info.backups) {
    if (!b.damaged && window_from == Moment{}) window_from = b.finished + seconds(1);
    if (!b.damaged) newest = b;
    backups.push_back(json::object{{"label", b.label},
                                   {"type", b.type},
                                   {"started_at", to_text(b.started)},
                                   {"finished_at", to_text(b.finished)},
                                   {"bytes", b.bytes},
                                   {"stored_bytes", b.stored_bytes},
                                   {"damaged", b.damaged}});
  }
  if (window_to != Moment{} && window_to < window_from) window_to = window_from;
  json::array trouble;
  int red = 0, yellow = 0;
  for (const auto& [topic, p] : problems) {
    (p.red ? red : yellow)++;
    trouble.push_back(json::object{{"code", p.code},
                                   {"severity", p.red ? "red" : "yellow"},
                                   {"detail", p.detail},
                                   {"way_out", p.way_out},
                                   {"since", to_text(p.from)}});
  }
  const auto lag = lsn_of(receiver, settings().synchronous ? "flush_lsn" : "write_lsn");
  json::array risks;
  {
    std::string line;
    std::istringstream lines(slurp(cluster.data() / kRiskFile));
    std::deque<json::value> last;
    while (std::getline(lines, line)) {
      boost::system::error_code bad;
      auto v = json::parse(line, bad);
      if (!bad) last.push_back(std::move(v));
      if (last.size() > 10) last.pop_front();
    }
    for (auto& v : last) risks.push_back(std::move(v));
    if (risk_from != Moment{}) risks.push_back(json::object{{"from", to_text(risk_from)}, {"to", nullptr}, {"seconds", since(risk_from)}});
  }
  json::array space;
  for (const auto& [name, path, bytes, free] : disks())
    if (bytes > 0) space.push_back(json::object{{"name", name}, {"path", path.string()}, {"bytes", bytes}, {"free_bytes", free}});
  auto& f = figures();
  f.ok.set(red == 0 ? 1 : 0);
  f.red.set(red);
  f.yellow.set(yellow);
  f.last_backup.set(unix_time(newest.finished));
  f.window_from.set(unix_time(window_from));
  f.window_to.set(unix_time(window_to));
  f.repository_bytes.set(static_cast<double>(repository_bytes));
  f.wal_bytes.set(static_cast<double>(wal_bytes));
  f.wal_waiting.set(static_cast<double>(wal_waiting));
  f.outage.set(outage_from == Moment{} ? 0 : since(outage_from));
  f.read_only.set(read_only ? 1 : 0);
  f.receiver.set(text_of(receiver, "state") == "streaming" ? 1 : 0);
  f.lag.set(lag.at > 0 && lag < lsn ? static_cast<double>(lsn.at - lag.at) : 0);
  f.synchronous.set(synchronous ? 1 : 0);
  f.wanted.set(settings().synchronous ? 1 : 0);
  f.risk.set(risk_seconds + (risk_from == Moment{} ? 0 : since(risk_from)));
  f.drill_at.set(unix_time(last_good_drill));
  f.drill_seconds.set(last_drill ? last_drill->seconds : 0);
  f.drill_ok.set(problems.contains("drill") ? 0 : 1);
  return json::object{
      {"at", to_text(now())},
      {"state", red > 0      ? "red"
                : yellow > 0 ? "yellow"
                             : "green"},
      {"problems", std::move(trouble)},
      {"data", data()},
      {"mode", settings().synchronous ? "synchronous" : "asynchronous"},
      {"window", json::object{{"days", settings().days}, {"from", time_or_null(window_from)}, {"to", time_or_null(window_to)}}},
      {"timeline", number_of(observed, "timeline")},
      {"lsn", text_of(observed, "lsn")},
      {"heartbeat_at", beats.empty() ? json::value(nullptr) : json::value(to_text(beats.back().first))},
      {"running", running.empty() ? json::value(nullptr) : json::value(running)},
      {"repository", json::object{{"folder", repository.folder().string()},
                                  {"bytes", repository_bytes},
                                  {"key_file", settings().key_file.string()},
                                  {"last_backup_at", time_or_null(newest.finished)},
                                  {"backups", std::move(backups)}}},
      {"wal", json::object{{"bytes", wal_bytes},
                           {"files_waiting", wal_waiting},
                           {"last_archived",
                            text_of(archiver, "last_wal").empty() ? json::value(nullptr) : json::value(text_of(archiver, "last_wal"))},
                           {"last_archived_at", time_or_null(from_micros(field(archiver, "last_at")))},
                           {"failures", number_of(archiver, "failed")},
                           {"outage_since", time_or_null(outage_from)},
                           {"writes_stopped", read_only}}},
      {"receiver", json::object{{"folder", repository.receiver().string()},
                                {"state", text_of(receiver, "state").empty() ? "away" : text_of(receiver, "state")},
                                {"synchronous", synchronous},
                                {"lag_bytes", lag.at > 0 && lag < lsn ? lsn.at - lag.at : 0},
                                {"starts", receiver_starts}}},
      {"not_rpo_0", std::move(risks)},
      {"drill", json::object{{"every_days", settings().drill_days},
                             {"last_good_at", time_or_null(last_good_drill)},
                             {"last", last_drill ? json::parse(to_json(*last_drill)) : json::value(nullptr)}}},
      {"disks", std::move(space)},
  };
}

void Guardian::Impl::tell() {
  std::string text;
  {
    const std::lock_guard held(guard);
    text = json::serialize(make_status());
    status_text = text;
  }
  (void)put(status_file, text + "\n", cluster.user());
}

void Guardian::Impl::watch() {
  // What is watched are the settings everybody has; what writes has its own.
  Session session(cluster.conninfo("postgres"), Millis(5000));
  Session writer(cluster.conninfo("postgres"), Millis(5000), "enishi-guardian", kAlone);
  auto next_beat = steady_now(), next_request = steady_now() + Millis(1000), next_look = steady_now();
  std::string last_state;
  bool abandoned = false;
  while (!stop_work) {
    try {
      bool answers = cluster.wait_ready(Deadline::in(Millis(0)));
      if (answers && !observe(session)) {
        session.forget();
        writer.forget();
        answers = false;
      }
      if (answers) {
        hold_conf();
        synchronise();
        if (steady_now() >= next_beat) {
          beat(writer);
          judge();
          next_beat = steady_now() + pace.heartbeat;
        }
        if (!abandoned) abandoned = static_cast<bool>(writer.ask(sql::continuity::abandon_requests));
        if (steady_now() >= next_request) {
          take_requests(writer);
          next_request = steady_now() + Millis(2000);
        }
        solved("database");
      } else if (!stop_work) {
        problem("database", true, "DATABASE_DOWN", "PostgreSQL does not answer", "the reason is in the newest file of " + data() + "/log");
      }
      std::string codes;
      {
        const std::lock_guard held(guard);
        for (const auto& [topic, p] : problems) codes += p.code + " ";
        // Told at once, so that it is known when this process is killed.
        if (risk_from != Moment{}) codes += to_text(risk_from);
      }
      if (codes != last_state || steady_now() >= next_look) {
        tell();
        last_state = codes;
        next_look = steady_now() + std::min(pace.heartbeat, Millis(5000));
      }
    } catch (const std::exception& e) {
      log_warning("the guardian of backups stumbled", {{"error", e.what()}});
    }
    {
      const std::lock_guard held(guard);
      ++ticks;
    }
    changed.notify_all();
    if (!pause(pace.tick, stop_work)) break;
  }
}

// Working -------------------------------------------------------------------------------------------------------------

bool Guardian::Impl::prepare() {
  const auto pgdata = cluster.data() / "pgdata";
  if (auto done = storage.run([disk = repository, pgdata, socket = cluster.socket_folder(),
                               port = cluster.port()]() mutable { return disk.prepare(pgdata, socket, port); },
                              kStorageLimit * 3);
      !done) {
    problem("repository", done.error(), "then it goes on by itself");
    return false;
  }
  if (auto done = repository.ensure_stanza(&stop_work); !done) {
    if (!stop_work) problem("repository", done.error(), "then it goes on by itself");
    return false;
  }
  write_conf();
  Session session(cluster.conninfo("postgres"));
  auto id = session.ask(sql::continuity::system_identifier);
  auto where = session.ask(sql::continuity::where_it_ended);
  if (!id || !where) return false;
  const auto timeline = static_cast<std::uint32_t>(where->integer(0, 1));
  // Which timeline was live when: a restore to a time has to know. A promoted one is live from the start of its server.
  std::uint32_t known = 0;
  for (const auto& e : repository.events())
    if (e.kind == "timeline") known = e.timeline;
  if (known != timeline)
    if (auto noted = repository.note(
            {"timeline", {}, timeline, Lsn::parse(where->text(0, 0)).value_or(Lsn{}), Moment(microseconds(where->integer(0, 2)))});
        !noted) {
      problem("repository", noted.error(), "then it goes on by itself");
      return false;
    }
  {
    const std::lock_guard held(guard);
    system = std::string(id->text(0, 0));
    prepared = true;
  }
  changed.notify_all();
  solved("repository");
  if (timeline > 1) archive_histories();
  return true;
}

/// A restored cluster begins its timeline while nothing is archived, so nobody ever hands the timeline's history to the archiver; without
/// it no restore finds the way from the backups before the promotion to the WAL after it.
void Guardian::Impl::archive_histories() {
  const auto wal = cluster.data() / "pgdata" / "pg_wal";
  const WalSource source(repository, cluster.data());
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(wal, ec)) {
    const auto name = entry.path().filename().string();
    if (name.size() != 16 || !name.ends_with(".history")) continue;
    const auto status = wal / "archive_status" / name;
    if (fs::exists(status.string() + ".ready", ec) || source.archived(name)) continue;
    if (auto asked = put(status.string() + ".ready", "", cluster.user()); !asked)
      log_warning("the history of a timeline waits to be archived", {{"file", name}, {"error", asked.error().detail}});
    fs::remove(status.string() + ".done", ec);
  }
}

/// False when the repository cannot be read.
bool Guardian::Impl::look() {
  auto read = repository.info();
  if (!read) {
    problem("info", read.error(), "df -h " + repository.folder().string());
    return false;
  }
  solved("info");
  const auto bytes = repository.stored_bytes();
  const std::lock_guard held(guard);
  info = std::move(*read);
  repository_bytes = bytes;
  return true;
}

std::optional<BackupKind> Guardian::Impl::due() const {
  std::error_code ec;
  const bool gap = fs::exists(cluster.data() / kGap, ec);
  const std::lock_guard held(guard);
  return backup_due(info, settings().days, static_cast<std::uint32_t>(number_of(observed, "timeline")), gap, now());
}

void Guardian::Impl::backup(BackupKind kind, const std::string& why) {
  const bool full = kind == BackupKind::full;
  std::vector<std::string> command{"backup", full ? "--type=full" : "--type=diff", "--start-fast", "--log-level-console=info"};
  {
    const std::lock_guard held(guard);
    running = full ? "full backup" : "differential backup";
    if (!may_expire(info, settings().days, now())) command.emplace_back("--no-expire-auto");
  }
  const auto began = steady_now();
  const auto done = repository.run(command, hours(48), &stop_work, [](std::string_view) {});
  {
    const std::lock_guard held(guard);
    running.clear();
  }
  if (stop_work) return;
  const auto took = std::chrono::duration<double>(steady_now() - began).count();
  if (done.status == 0) {
    log_info("backup done", {{"type", full ? "full" : "diff"}, {"seconds", took}, {"reason", why}});
    std::error_code ec;
    fs::remove(cluster.data() / kGap, ec);
    // A list that cannot be read would say again that a backup is due.
    if (look())
      solved("backup");
    else
      problem("backup", true, "BACKUP_FAILED", "a backup was made, and the repository cannot be read",
              fmt::format("df -h {}", repository.folder().string()));
  } else {
    problem("backup", true, "BACKUP_FAILED", "a backup failed: " + tail(done.output, 400),
            fmt::format("df -h {} ; enishi backup --data {}", repository.folder().string(), data()));
  }
}

bool Guardian::Impl::drill_due() const {
  const std::lock_guard held(guard);
  if (settings().drill_days == 0 || info.backups.empty()) return false;
  const auto tried = last_drill ? last_drill->at : Moment{};
  if (tried == Moment{}) return now() - info.backups.front().finished > duration_cast<microseconds>(pace.first_drill);
  return since(tried) > (last_drill->good ? settings().drill_days * 86400.0 : 3600.0);
}

void Guardian::Impl::run_drill() {
  {
    const std::lock_guard held(guard);
    running = "drill";
  }
  // A folder of the caller's choice may hold other things, so the drill has one of its own in it.
  const auto place = (settings().drill_folder.empty() ? cluster.data() : settings().drill_folder) / "drill";
  auto result = drill(repository, place, cluster.binaries().bin, checks, {}, &stop_work);
  const std::lock_guard held(guard);
  running.clear();
  if (stop_work) return;
  log(result.good ? Level::info : Level::error, "drill done",
      {{"good", result.good}, {"target", result.target}, {"seconds", result.seconds}, {"detail", result.detail}});
  if (result.good) last_good_drill = result.at;
  last_drill = std::move(result);
}

void Guardian::Impl::answer(const Request& request, bool good, const std::string& detail) {
  Session session(cluster.conninfo("postgres"), Millis(10000), "enishi-guardian", kAlone);
  (void)session.ask(sql::continuity::finish_request, pg::params(request.id, good, detail));
}

void Guardian::Impl::work() {
  for (auto& d : drills(cluster.data())) {
    if (d.good) last_good_drill = d.at;
    last_drill = std::move(d);
  }
  auto wait = pace.first_work;
  auto next_look = steady_now();
  int failures = 0;
  auto next_try = steady_now();
  for (;;) {
    {
      std::unique_lock held(guard);
      changed.wait_for(held, wait, [this] { return stop_work.load() || (prepared && !requests.empty()); });
    }
    if (stop_work) return;
    if (!storage.answers()) {
      wait = Millis(2000);
      std::unique_lock held(guard);
      changed.wait_for(held, wait, [this] { return stop_work.load(); });
      continue;
    }
    try {
      bool ready = false;
      {
        const std::lock_guard held(guard);
        ready = prepared;
      }
      if (!ready) {
        wait = std::min(std::max(wait * 2, Millis(1000)), Millis(30000));
        if (!cluster.wait_ready(Deadline::in(Millis(1000))) || !prepare()) continue;
        look();
        next_look = steady_now() + minutes(5);
      }
      wait = Millis(2000);
      std::optional<Request> request;
      {
        const std::lock_guard held(guard);
        if (!requests.empty()) {
          request = std::move(requests.front());
          requests.pop_front();
        }
      }
      if (request && request->kind == "BACKUP") {
        backup(due().value_or(BackupKind::differential), "asked for");
        bool bad = false;
        std::string detail;
        {
          const std::lock_guard held(guard);
          const auto at = problems.find("backup");
          bad = at != problems.end();
          detail = bad ? at->second.detail : info.backups.empty() ? "" : info.backups.back().label;
        }
        answer(*request, !bad, detail);
        continue;
      }
      if (request && request->kind == "DRILL") {
        run_drill();
        bool good = false;
        std::string detail;
        {
          const std::lock_guard held(guard);
          good = last_drill && last_drill->good;
          if (last_drill) detail = last_drill->detail;
        }
        answer(*request, good, detail);
        continue;
      }
      if (steady_now() >= next_look) {
        look();
        next_look = steady_now() + minutes(5);
      }
      if (steady_now() < next_try || !cluster.wait_ready(Deadline::in(Millis(0)))) continue;
      if (const auto kind = due()) {
        backup(*kind, "due");
        bool failed = false;
        {
          const std::lock_guard held(guard);
          failed = problems.contains("backup");
        }
        failures = failed ? failures + 1 : 0;
        if (failed) next_try = steady_now() + std::min(seconds(15) * (1 << std::min(failures, 8)), seconds(3600));
      } else if (drill_due()) {
        run_drill();
      }
    } catch (const std::exception& e) {
      log_warning("the worker of backups stumbled", {{"error", e.what()}});
    }
  }
}

// Receiving -----------------------------------------------------------------------------------------------------------

/// What the repository has need not stay with the receiver; the newest stay all the same, for a repository can lose a file.
void Guardian::Impl::tidy_receiver(const fs::path& folder) {
  std::string archived;
  {
    const std::lock_guard held(guard);
    archived = text_of(object_of(observed, "archiver"), "last_wal").substr(0, 24);
  }
  if (archived.size() != 24) return;
  (void)storage.run(
      [folder, archived]() -> Result<void> {
        std::error_code ec;
        std::vector<fs::path> old;
        for (const auto& entry : fs::directory_iterator(folder, ec)) {
          const auto name = entry.path().filename().string();
          if (parse_wal_file(name) && name.substr(0, 8) == archived.substr(0, 8) && name <= archived) old.push_back(entry.path());
        }
        std::sort(old.begin(), old.end());
        for (std::size_t i = 0; i + kKeptSegments < old.size(); ++i) fs::remove(old[i], ec);
        return {};
      },
      kStorageLimit);
}

void Guardian::Impl::receive() {
  auto wait = Millis(200);
  for (;;) {
    bool ready = false;
    std::uint32_t timeline = 0;
    std::string id;
    {
      std::unique_lock held(guard);
      changed.wait_for(held, wait, [this] { return stop_receiver.load(); });
      ready = prepared && !observed.empty();
      timeline = static_cast<std::uint32_t>(number_of(observed, "timeline"));
      id = system;
    }
    if (stop_receiver) return;
    if (!ready || !cluster.wait_ready(Deadline::in(Millis(500)))) continue;
    if (!storage.answers() || !storage.seen().reachable) {
      wait = Millis(2000);
      continue;
    }
    const auto folder = repository.receiver() / fmt::format("{}-{:08X}", id, timeline);
    if (auto made = storage.run([folder, user = cluster.user()] { return make_receiver_folder(folder, user); }, kStorageLimit); !made) {
      wait = Millis(5000);
      continue;
    }
    const auto began = steady_now();
    auto tidied = began;
    const auto conninfo =
        fmt::format("host={} port={} user=postgres dbname=replication application_name={} sslmode=disable gssencmode=disable",
                    conninfo_value(cluster.socket_folder().string()), cluster.port(), kReceiver);
    const auto program = (cluster.binaries().bin / "pg_receivewal").string();
    (void)run_command(
        {{program, "-d", conninfo, "--slot", kReceiver, "--create-slot", "--if-not-exists"}, cluster.user(), {}, Millis(30000)});
    if (stop_receiver) return;
    {
      const std::lock_guard held(guard);
      ++receiver_starts;
    }
    // Its end is told every second, so that old files go while it runs, too.
    std::vector<std::string> argv{program, "-d", conninfo, "-D", folder, "--slot", kReceiver, "--no-loop", "--status-interval=1"};
    if (settings().synchronous) argv.emplace_back("--synchronous");
    std::atomic<bool> end{false};
    std::thread tidy([this, folder, &end, &tidied] {
      while (!end) {
        {
          std::unique_lock held(guard);
          changed.wait_for(held, Millis(1000), [this, &end] { return end.load() || stop_receiver.load(); });
        }
        if (stop_receiver) return;
        if (steady_now() - tidied > seconds(30)) {
          tidy_receiver(folder);
          tidied = steady_now();
        }
      }
    });
    Command command{argv, cluster.user(), {}, hours(24 * 365)};
    command.stop = &stop_receiver;
    command.on_output = [](std::string_view) {};
    const auto ended = run_command(command);
    end = true;
    changed.notify_all();
    tidy.join();
    if (stop_receiver) return;
    (void)append_line(cluster.data() / "log" / "receiver.log",
                      to_text(now()) + " " + std::to_string(ended.status) + " " + tail(ended.output, 500), cluster.user());
    if (stop_work) continue;
    log_warning("the WAL receiver ended; starting it again", {{"status", ended.status}, {"said", tail(ended.output, 300)}});
    const bool gap = ended.output.find("has already been removed") != std::string::npos ||
                     ended.output.find("invalidated") != std::string::npos || ended.output.find("can no longer") != std::string::npos;
    const bool foreign = ended.output.find("is ahead of the WAL flush position") != std::string::npos;
    if (gap || foreign) {
      // What it has stays for restores, in a folder beside; it begins anew from now on.
      log_error("the receiver has a gap; it begins anew, and the repository has what is missing", {{"folder", folder.string()}});
      Session session(cluster.conninfo("postgres"));
      (void)session.ask(sql::continuity::drop_slot);
      (void)storage.run(
          [folder, stamp = now().time_since_epoch().count()]() -> Result<void> {
            std::error_code ec;
            fs::rename(folder, folder.string() + kUntil + std::to_string(stamp), ec);
            return {};
          },
          kStorageLimit);
    }
    wait = steady_now() - began > seconds(30) ? Millis(500) : std::min(wait * 2, Millis(10000));
  }
}

std::optional<BackupKind> backup_due(const RepositoryInfo& info, unsigned days, std::uint32_t timeline, bool gap, Moment at) {
  constexpr auto kAgain = hours(6);
  Backup good_full, good;
  bool on_damaged = false;  // a differential one would take over the pages of the full one
  for (const auto& b : info.backups) {
    if (b.type == "full") on_damaged = b.damaged;
    if (b.damaged) continue;
    if (b.type == "full") good_full = b;
    good = b;
  }
  const bool full = good_full.finished == Moment{} || at - good_full.finished > hours(24) * std::min(7U, days) || on_damaged;
  const auto kind = full ? BackupKind::full : BackupKind::differential;
  if (gap) return kind;
  if (!info.backups.empty())
    if (const auto& newest = info.backups.back(); newest.damaged && newest.timeline == timeline)
      return at - newest.finished > kAgain ? std::optional(kind) : std::nullopt;
  if (full || at - good.finished > hours(24) || good.timeline != timeline) return kind;
  return std::nullopt;
}

bool may_expire(const RepositoryInfo& info, unsigned days, Moment at) {
  bool newest_good = true, kept_good = true;
  for (const auto& b : info.backups) {
    if (b.type != "full") continue;
    newest_good = !b.damaged;
    // Of those older than the window pgBackRest keeps the newest, on which the window stands.
    if (at - b.finished >= hours(24) * days) kept_good = !b.damaged;
  }
  return newest_good && kept_good;
}

Guardian::Guardian(EmbeddedCluster& cluster, BackupSettings settings, std::vector<Check> checks, Pace pace)
    : impl_(std::make_unique<Impl>(cluster, std::move(settings), std::move(checks), pace)) {
  auto* raw = impl_.get();
  {
    // An outage goes on over a restart.
    boost::system::error_code bad;
    const auto before = json::parse(slurp(raw->status_file), bad);
    if (!bad && before.is_object()) {
      raw->outage_from = parse_moment(text_of(object_of(before.get_object(), "wal"), "outage_since")).value_or(Moment{});
      raw->take_up_risk(before.get_object());
    }
  }
  raw->watcher = std::thread([raw] { raw->watch(); });
  raw->worker = std::thread([raw] { raw->work(); });
  raw->receiving = std::thread([raw] { raw->receive(); });
}

void Guardian::stop() {
  impl_->stop_work = true;
  impl_->changed.notify_all();
  for (auto* thread : {&impl_->watcher, &impl_->worker})
    if (thread->joinable()) thread->join();
  const std::lock_guard held(impl_->guard);
  if (impl_->settings().synchronous && impl_->synchronous) return;
  impl_->end_risk(now());
}

void Guardian::finish() {
  impl_->stop_receiver = true;
  impl_->changed.notify_all();
  if (impl_->receiving.joinable()) impl_->receiving.join();
}

Guardian::~Guardian() {
  stop();
  finish();
}

std::string Guardian::status() const {
  const std::lock_guard held(impl_->guard);
  return impl_->status_text;
}

bool Guardian::wait_until(const std::function<bool(const std::string& status)>& seen, Deadline deadline) const {
  std::unique_lock held(impl_->guard);
  for (;;) {
    const auto text = impl_->status_text;
    held.unlock();
    if (seen(text)) return true;
    held.lock();
    const auto ticks = impl_->ticks;
    if (!impl_->changed.wait_until(held, deadline.at, [&] { return impl_->ticks != ticks; })) return false;
  }
}

Result<std::string> last_status(const fs::path& data) {
  boost::system::error_code bad;
  auto status = json::parse(slurp(data / kStatusFile), bad);
  if (bad || !status.is_object())
    return fail(Kind::not_found, "NO_STATUS",
                fmt::format("\"{}\" says nothing of backups: it was never served with them on", data.string()));
  const bool running = in_use(data);
  auto& o = status.get_object();
  o["running_now"] = running;
  if (!running) {
    o["state"] = "red";
    auto& problems = o["problems"];
    if (!problems.is_array()) problems = json::array();
    problems.get_array().insert(problems.get_array().begin(), json::object{{"code", "NOT_RUNNING"},
                                                                           {"severity", "red"},
                                                                           {"detail", "no Enishi runs on this folder"},
                                                                           {"way_out", "enishi serve --data " + data.string()},
                                                                           {"since", text_of(o, "at")}});
  }
  return json::serialize(status);
}

}  // namespace enishi::cluster

#include "cluster/guardian_impl.hpp"

namespace enishi::cluster {

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

}  // namespace enishi::cluster

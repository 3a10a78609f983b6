#include "cluster/restore.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <random>
#include <regex>
#include <sstream>
#include <thread>

#include "cluster/continuity.sql.hpp"
#include "cluster/files.hpp"
#include "cluster/migrations.sql.hpp"
#include "cluster/session.hpp"

namespace enishi::cluster {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using std::chrono::hours;
using std::chrono::seconds;

constexpr const char* kDrills = "drills.jsonl";
constexpr const char* kWalScript = "wal-get.sh";
constexpr const char* kWalLog = "wal.log";

double elapsed(SteadyTime began) { return std::chrono::duration<double>(steady_now() - began).count(); }

Result<fs::path> binaries_for(const fs::path& pg_bin, int major) {
  auto found = find_binaries(pg_bin, major);
  if (!found) return tl::make_unexpected(found.error());
  return found->bin;
}

std::string window_text(const Window& w) {
  if (w.backups.empty()) return "there is no backup yet";
  return fmt::format("what can be restored reaches from {} ({}) to {} ({})", to_text(w.from), w.from_lsn.str(), to_text(w.to),
                     w.to_lsn.str());
}

struct Plan {
  Backup backup;
  std::uint32_t timeline = 1;
  std::string settings;  ///< recovery_target…
  Lsn expected_end;      ///< for progress
};

/// By its restore point, or by a name that one mark within reach has.
Result<Event> find_mark(const std::string& name, const Window& window, std::optional<std::uint32_t> timeline) {
  std::vector<Event> found;
  std::string known;
  for (const auto& mark : window.marks) {
    if ((mark.name == name || mark.point == name) && (!timeline || mark.timeline == *timeline)) found.push_back(mark);
    known += (known.empty() ? "" : ", ") + mark.name;
  }
  if (found.empty())
    return fail(Kind::not_found, "TARGET_UNKNOWN",
                fmt::format("nobody set the mark \"{}\"{}", name, known.empty() ? "; there are none" : "; there are: " + known));
  const auto reached = std::find_if(found.begin(), found.end(), [&](const Event& m) { return m.at >= window.from; });
  if (reached != found.end()) found.erase(found.begin(), reached);
  if (found.size() == 1) return found.front();
  std::string each;
  for (const auto& m : found) each += fmt::format("{}{} ({} at {})", each.empty() ? "" : ", ", to_text(m.at), m.point, m.lsn.str());
  return fail(
      Kind::conflict, "TARGET_AMBIGUOUS",
      fmt::format("{} marks have the name \"{}\": {}. Restore to the one that is meant by the name in parentheses, or by its position.",
                  found.size(), name, each));
}

Result<Plan> make_plan(const RestoreRequest& request, const Window& window, const fs::path& home) {
  if (window.backups.empty())
    return fail(Kind::not_found, "NO_BACKUP",
                fmt::format("there is no backup in \"{}\" to restore from", request.repository.folder().string()));
  auto target = request.target;
  std::uint32_t timeline = request.timeline.value_or(window.timeline);
  if (target.kind == Target::Kind::name) {
    auto mark = find_mark(target.name, window, request.timeline);
    if (!mark) return tl::make_unexpected(mark.error());
    target.lsn = mark->lsn;
    target.name = mark->point;
    if (!request.timeline) timeline = mark->timeline;
  }
  if (target.kind == Target::Kind::time && !request.timeline) {
    // Which timeline was the live one at that time; a later restore left what came after its own moment on the timeline before.
    for (const auto& e : window.timelines)
      if (e.at <= target.time || e.timeline == window.timelines.front().timeline) timeline = e.timeline;
  }
  const bool other = timeline != window.timeline;
  if (target.kind == Target::Kind::time && (target.time < window.from || (!other && target.time > window.to)))
    return fail(Kind::not_found, "TARGET_OUTSIDE_WINDOW",
                fmt::format("{} is not within reach: {}", to_text(target.time), window_text(window)));
  if (target.kind == Target::Kind::lsn && (target.lsn < window.from_lsn || (!other && target.lsn > window.to_lsn)))
    return fail(Kind::not_found, "TARGET_OUTSIDE_WINDOW", fmt::format("{} is not within reach: {}", target.lsn.str(), window_text(window)));

  const WalSource source(request.repository, home, window.system, window.archive);
  const auto path = source.ancestry(timeline);
  Plan plan;
  plan.timeline = timeline;
  bool found = false;
  for (const auto& b : window.backups) {
    if (b.damaged) continue;  // pages were wrong already; the one before it and the WAL are right
    const auto left = std::find_if(path.begin(), path.end(), [&b](const auto& one) { return one.first == b.timeline; });
    if (b.timeline != timeline && (left == path.end() || b.stop > left->second)) continue;
    if (target.kind == Target::Kind::time && b.finished + seconds(1) > target.time) continue;
    if ((target.kind == Target::Kind::lsn || target.kind == Target::Kind::name) && b.stop > target.lsn) continue;
    plan.backup = b;
    found = true;
  }
  if (!found)
    return fail(Kind::not_found, "TARGET_OUTSIDE_WINDOW",
                fmt::format("no backup was complete before {} on timeline {}: {}", target.str(), timeline, window_text(window)));
  switch (target.kind) {
    case Target::Kind::latest:
      plan.expected_end = window.to_lsn;
      break;
    case Target::Kind::time: {
      if (other) {
        // Between the last commit of a timeline and the start of the next one nothing was written: all of it is what was there.
        auto bin = binaries_for(request.pg_bin, 0);
        if (!bin) return tl::make_unexpected(bin.error());
        const auto last = source.last_commit(*bin, timeline, plan.backup.stop);
        if (last && last->at <= target.time) {
          plan.expected_end = last->lsn;
          break;
        }
      }
      auto stamp = to_text(target.time);
      stamp[10] = ' ';
      stamp.replace(stamp.size() - 1, 1, "+00");  // PostgreSQL knows no names of zones yet when it reads this
      plan.settings = "recovery_target_time = '" + stamp + "'\n";
      const auto span = std::chrono::duration<double>(window.to - plan.backup.finished).count();
      const auto part =
          span <= 0 ? 1.0 : std::clamp(std::chrono::duration<double>(target.time - plan.backup.finished).count() / span, 0.0, 1.0);
      plan.expected_end =
          Lsn{plan.backup.stop.at +
              static_cast<std::uint64_t>(part * static_cast<double>(window.to_lsn.at - std::min(window.to_lsn.at, plan.backup.stop.at)))};
      break;
    }
    case Target::Kind::lsn:
      // What was written before the position, and nothing else.
      plan.settings = "recovery_target_lsn = '" + target.lsn.str() + "'\nrecovery_target_inclusive = off\n";
      plan.expected_end = target.lsn;
      break;
    case Target::Kind::name:
      plan.settings = "recovery_target_name = " + conf_value(target.name) + "\n";
      plan.expected_end = target.lsn;
      break;
  }
  plan.settings += fmt::format("recovery_target_timeline = '{}'\nrecovery_target_action = 'promote'\nhot_standby = off\n", timeline);
  return plan;
}

/// Percentages in what pgBackRest says of each file: "… (8KB, 99.51%) …".
class Percent {
 public:
  explicit Percent(std::function<void(double)> tell) : tell_(std::move(tell)) {}
  void operator()(std::string_view said) {
    rest_ += said;
    const auto mark = rest_.rfind("%)");
    if (mark != std::string::npos) {
      const auto comma = rest_.rfind(", ", mark);
      if (comma != std::string::npos) tell_(std::clamp(std::atof(rest_.c_str() + comma + 2) / 100, 0.0, 1.0));
    }
    if (rest_.size() > 4096) rest_.erase(0, rest_.size() - 512);
  }

 private:
  std::string rest_;
  std::function<void(double)> tell_;
};

/// Tells how far the replay is, once a second.
class ReplayWatch {
 public:
  ReplayWatch(const RestoreRequest& request, const Plan& plan) {
    if (!request.progress) return;
    thread_ = std::thread([this, &request, &plan] {
      const auto began = steady_now();
      const double whole =
          std::max(1.0, static_cast<double>(plan.expected_end.at / kSegment) - static_cast<double>(plan.backup.start.at / kSegment) + 1);
      std::unique_lock held(guard_);
      while (!changed_.wait_for(held, seconds(1), [this] { return over_; })) {
        std::ifstream in(request.into / kWalLog);
        double got = 0;
        for (std::string line; std::getline(in, line);) got += 1;
        const double done = std::clamp(got / whole, 0.0, 0.99);
        request.progress({"replay", done, done > 0.02 ? elapsed(began) / done * (1 - done) : -1});
      }
    });
  }
  ~ReplayWatch() {
    {
      const std::lock_guard held(guard_);
      over_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
  }
  ReplayWatch(const ReplayWatch&) = delete;
  ReplayWatch& operator=(const ReplayWatch&) = delete;

 private:
  std::mutex guard_;
  std::condition_variable changed_;
  bool over_ = false;
  std::thread thread_;
};

/// What the restored server's log says about its recovery.
struct LogSaid {
  std::string ended;
  std::optional<Moment> last_commit;
  std::optional<Lsn> stop;
  std::string fatal;
};

LogSaid read_log(const fs::path& folder) {
  LogSaid out;
  std::error_code ec;
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder, ec))
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) {
    std::error_code none;
    return fs::last_write_time(a, none) < fs::last_write_time(b, none);
  });
  for (const auto& file : files) {
    std::istringstream lines(slurp(file));
    for (std::string line; std::getline(lines, line);) {
      boost::system::error_code bad;
      const auto v = json::parse(line, bad);
      if (bad || !v.is_object()) continue;
      const auto* m = v.get_object().if_contains("message");
      const auto* level = v.get_object().if_contains("error_severity");
      if (m == nullptr || !m->is_string()) continue;
      const std::string said(m->get_string());
      if (said.starts_with("recovery stopping")) out.ended = said;
      if (said.starts_with("redo done at ")) out.stop = Lsn::parse(said.substr(13, said.find(' ', 13) - 13));
      if (const std::string_view head = "last completed transaction was at log time "; said.starts_with(head)) {
        auto text = said.substr(head.size());
        if (text.ends_with(" UTC")) text.replace(text.size() - 4, 4, "Z");
        out.last_commit = parse_moment(text);
      }
      if (level != nullptr && level->is_string() && (level->get_string() == "FATAL" || level->get_string() == "PANIC")) out.fatal = said;
    }
  }
  return out;
}

/// Commits that follow the end in the WAL and are stamped at or before the target: they were under way at that moment.
std::vector<Commit> stamped_backwards(const WalSource& source, const DatabaseUser& user, const fs::path& bin, std::uint32_t timeline,
                                      Lsn end, Moment target) {
  std::vector<Commit> out;
  for (std::uint64_t i = 0; i < 2; ++i) {
    const auto file = source.fetch(wal_file_name(timeline, Lsn{end.at + i * kSegment}));
    if (!file) break;
    for (const auto& c : commits_in(bin, *file, user))
      if (c.lsn > end && c.at <= target) out.push_back(c);
  }
  return out;
}

CheckResult amcheck(const EmbeddedCluster& cluster, const std::atomic<bool>* stop) {
  Command command{{cluster.binaries().bin / "pg_amcheck", "--host=" + cluster.socket_folder().string(),
                   "--port=" + std::to_string(cluster.port()), "--username=postgres", "--install-missing=pg_catalog", "--jobs=2", "enishi"},
                  cluster.user(),
                  {},
                  hours(12)};
  command.stop = stop;
  const auto done = run_command(command);
  if (done.status == 0) return {"pg_amcheck", true, "every table and B-tree index is sound"};
  return {"pg_amcheck", false, tail(done.output, 800)};
}

/// What is done to every restored cluster, and what the caller has it checked for.
std::vector<CheckResult> more_checks(const EmbeddedCluster& cluster, const RestoreRequest& request) {
  std::vector<CheckResult> out;
  Session session(cluster.conninfo("postgres"), hours(12), "enishi-restore");
  for (const auto& more : request.checks) {
    if (!request.check && !more.always) continue;
    auto said = session.with<std::string>(more.run);
    out.push_back({more.name, said.has_value(), said ? *said : said.error().code + ": " + said.error().detail});
  }
  return out;
}

std::vector<CheckResult> check(const EmbeddedCluster& cluster, const RestoreRequest& request, RestoreReport& report) {
  std::vector<CheckResult> out;
  Session session(cluster.conninfo("postgres"), hours(12), "enishi-restore");
  auto schema = session.ask(sql::migrations::newest);
  out.push_back(schema ? CheckResult{"schema", true, fmt::format("version {}", schema->integer(0, 0))}
                       : CheckResult{"schema", false, schema.error().detail});
  auto counts = session.ask(sql::continuity::count_rows);
  if (counts)
    report.counts = std::string(counts->text(0, 0));
  else
    out.push_back({"counts", false, counts.error().detail});
  if (counts) {
    boost::system::error_code bad;
    const auto all = json::parse(report.counts, bad);
    std::uint64_t rows = 0;
    if (!bad)
      for (const auto& [table, n] : all.as_object()) rows += n.to_number<std::uint64_t>();
    out.push_back({"counts", true, fmt::format("{} rows in {} tables could be read", rows, bad ? 0 : all.as_object().size())});
  }
  out.push_back(amcheck(cluster, request.stop));
  (void)session.ask(sql::continuity::drop_amcheck);
  return out;
}

json::value time_or_null(const std::optional<Moment>& m) { return m ? json::value(to_text(*m)) : json::value(nullptr); }

/// What pgBackRest restores goes into an empty folder of ours; one that a restore left behind unfinished is emptied.
Result<void> claim_into(const fs::path& into, const DatabaseUser& user) {
  std::error_code ec;
  if (auto reachable = check_reachable(into, user); !reachable) return reachable;
  if (fs::exists(into, ec) && !fs::is_empty(into, ec)) {
    if (!fs::exists(into / "restore.unfinished", ec))
      return fail(
          Kind::conflict, "RESTORE_INTO_USED",
          fmt::format("\"{}\" is not empty. A restore makes a new cluster and never writes over one: choose a new folder.", into.string()));
    for (const auto& entry : fs::directory_iterator(into, ec))
      if (entry.path().filename() != "restore.unfinished") fs::remove_all(entry.path(), ec);
  }
  fs::create_directories(into.parent_path(), ec);
  if (auto made = private_folder(into, user); !made) return made;
  return put(into / "restore.unfinished", to_text(now()) + "\n", user);
}

}  // namespace

Result<Target> Target::parse(std::string_view text) {
  Target t;
  if (text.empty() || text == "latest") return t;
  if (const auto lsn = Lsn::parse(text)) {
    t.kind = Kind::lsn;
    t.lsn = *lsn;
    return t;
  }
  if (const auto moment = parse_moment(text)) {
    t.kind = Kind::time;
    t.time = *moment;
    return t;
  }
  static const std::regex name(R"([A-Za-z][A-Za-z0-9._-]{0,62})");
  if (std::regex_match(text.begin(), text.end(), name)) {
    t.kind = Kind::name;
    t.name = std::string(text);
    return t;
  }
  return fail(enishi::Kind::malformed, "TARGET_INVALID",
              fmt::format("\"{}\" is no moment to restore: give a time (2026-11-22 13:05:01.123456+09), a position (0/3A4F2B8), the name "
                          "of a mark, or latest",
                          text));
}

std::string Target::str() const {
  switch (kind) {
    case Kind::time:
      return to_text(time);
    case Kind::lsn:
      return lsn.str();
    case Kind::name:
      return name;
    case Kind::latest:
      break;
  }
  return "latest";
}

Result<Window> read_window(const Repository& repository, const fs::path& given_home, const fs::path& pg_bin) {
  const auto& home = given_home.empty() ? repository.data() : given_home;
  auto info = repository.info(home);
  if (!info) return tl::make_unexpected(info.error());
  auto bin = binaries_for(pg_bin, 0);
  if (!bin) return tl::make_unexpected(bin.error());
  Window w;
  w.backups = info->backups;
  for (auto& e : repository.events()) {
    if (e.kind == "mark")
      w.marks.push_back(std::move(e));
    else if (e.kind == "timeline")
      w.timelines.push_back(std::move(e));
  }
  for (const auto& b : w.backups) {
    if (b.damaged) continue;
    w.from = b.finished + seconds(1);
    w.from_lsn = b.stop;
    break;
  }
  w.system = info->system;
  w.archive = info->archive;
  const WalSource source(repository, home, w.system, w.archive);
  const auto received = source.received_timelines();
  if (!w.timelines.empty())
    w.timeline = w.timelines.back().timeline;
  else if (!received.empty())
    w.timeline = *received.rbegin();
  else if (const auto newest = parse_wal_file(info->newest_wal))
    w.timeline = newest->first;
  // Of a long load there may be any number of files without a commit: the newest backup is as far as it is worth looking.
  Backup newest;
  for (const auto& b : w.backups)
    if (!b.damaged && b.timeline == w.timeline) newest = b;
  if (const auto last = source.last_commit(*bin, w.timeline, newest.stop)) {
    w.to = last->at;
    w.to_lsn = last->lsn;
  } else if (newest.finished != Moment{}) {
    w.to = newest.finished + seconds(1);
    w.to_lsn = newest.stop;
  }
  return w;
}

std::string to_json(const Window& w) {
  json::array backups, marks, timelines;
  for (const auto& b : w.backups)
    backups.push_back(json::object{{"label", b.label},
                                   {"type", b.type},
                                   {"started_at", to_text(b.started)},
                                   {"finished_at", to_text(b.finished)},
                                   {"start_lsn", b.start.str()},
                                   {"stop_lsn", b.stop.str()},
                                   {"timeline", b.timeline},
                                   {"bytes", b.bytes},
                                   {"stored_bytes", b.stored_bytes},
                                   {"damaged", b.damaged}});
  for (const auto& m : w.marks)
    marks.push_back(
        json::object{{"name", m.name}, {"point", m.point}, {"at", to_text(m.at)}, {"lsn", m.lsn.str()}, {"timeline", m.timeline}});
  for (const auto& t : w.timelines)
    timelines.push_back(json::object{{"timeline", t.timeline}, {"at", to_text(t.at)}, {"lsn", t.lsn.str()}});
  return json::serialize(json::object{{"from", w.backups.empty() ? json::value(nullptr) : json::value(to_text(w.from))},
                                      {"to", w.to == Moment{} ? json::value(nullptr) : json::value(to_text(w.to))},
                                      {"from_lsn", w.from_lsn.str()},
                                      {"to_lsn", w.to_lsn.str()},
                                      {"timeline", w.timeline},
                                      {"backups", std::move(backups)},
                                      {"marks", std::move(marks)},
                                      {"timelines", std::move(timelines)}});
}

bool RestoreReport::good() const {
  return std::all_of(checks.begin(), checks.end(), [](const auto& c) { return c.good; });
}

std::string to_json(const RestoreReport& r) {
  json::array checks, backwards;
  for (const auto& c : r.checks) checks.push_back(json::object{{"name", c.name}, {"good", c.good}, {"detail", c.detail}});
  for (const auto& c : r.stamped_backwards) backwards.push_back(json::object{{"lsn", c.lsn.str()}, {"xid", c.xid}, {"at", to_text(c.at)}});
  boost::system::error_code bad;
  return json::serialize(
      json::object{{"good", r.good()},
                   {"target", r.target},
                   {"into", r.into},
                   {"backup", r.backup},
                   {"timeline", r.timeline},
                   {"ended", r.ended},
                   {"last_commit_at", time_or_null(r.last_commit)},
                   {"end_lsn", r.end.str()},
                   {"stamped_backwards", std::move(backwards)},
                   {"wal_from_repository", r.wal_from_repository},
                   {"wal_from_receiver", r.wal_from_receiver},
                   {"bytes", r.bytes},
                   {"seconds", json::object{{"copy", r.copy_seconds}, {"replay", r.replay_seconds}, {"check", r.check_seconds}}},
                   {"checks", std::move(checks)},
                   {"counts", json::parse(r.counts, bad)}});
}

std::string to_text(const RestoreReport& r) {
  std::string out =
      fmt::format("Restored {} into {}\n  from backup {} and WAL of timeline {}: {} files from the repository, {} from the receiver\n",
                  r.target, r.into, r.backup, r.timeline, r.wal_from_repository, r.wal_from_receiver);
  out += fmt::format("  the newest commit that is there: {}{}\n", r.last_commit ? to_text(*r.last_commit) : "that of the backup",
                     r.ended.empty() ? "" : "; " + r.ended);
  if (!r.stamped_backwards.empty()) {
    out += fmt::format("  {} commits come later in the WAL although they are stamped earlier, and are not there:\n",
                       r.stamped_backwards.size());
    for (const auto& c : r.stamped_backwards) out += fmt::format("    {} at {} (transaction {})\n", to_text(c.at), c.lsn.str(), c.xid);
  }
  out += fmt::format("  {:.1f} MB; copied in {:.1f} s, replayed in {:.1f} s, checked in {:.1f} s\n", static_cast<double>(r.bytes) / 1e6,
                     r.copy_seconds, r.replay_seconds, r.check_seconds);
  for (const auto& c : r.checks) out += fmt::format("  {} {}: {}\n", c.good ? "good" : "BAD ", c.name, c.detail);
  return out;
}

Result<RestoreReport> restore(RestoreRequest request) {
  auto& repository = request.repository;
  std::error_code ec;
  request.into = fs::weakly_canonical(request.into, ec);
  const auto& into = request.into;
  const auto& user = repository.user();
  if (auto mine = claim_into(into, user); !mine) return tl::make_unexpected(mine.error());
  const auto abandon = [&into](Error error) -> Result<RestoreReport> {
    std::error_code none;
    // A folder that holds nothing of worth yet is not left behind to be taken for a cluster.
    for (const auto& entry : fs::directory_iterator(into, none))
      if (entry.path().filename() != "log") fs::remove_all(entry.path(), none);
    if (error.code != "RESTORE_FAILED") fs::remove_all(into, none);
    return tl::make_unexpected(std::move(error));
  };
  if (auto ready = repository.prepare_restore(into); !ready) return abandon(ready.error());
  if (!request.window) {
    auto window = read_window(repository, into, request.pg_bin);
    if (!window) return abandon(window.error());
    request.window = std::move(*window);
  }
  auto plan = make_plan(request, *request.window, into);
  if (!plan) return abandon(plan.error());
  if (const auto room = free_disk(into); room < plan->backup.bytes + plan->backup.bytes / 10 + (256U << 20))
    return abandon(Error{Kind::unavailable,
                         "DISK_FULL",
                         fmt::format("the backup is {} MB large, and {} MB are free on the disk of \"{}\"", plan->backup.bytes >> 20,
                                     room >> 20, into.string()),
                         {},
                         {},
                         0});

  RestoreReport report;
  report.target = request.target.str();
  report.into = into.string();
  report.backup = plan->backup.label;
  report.timeline = plan->timeline;
  report.bytes = plan->backup.bytes;

  const auto pgdata = into / "pgdata";
  if (auto made = private_folder(pgdata, user); !made) return abandon(made.error());
  const WalSource source(repository, into, request.window->system, request.window->archive);
  auto began = steady_now();
  Percent percent([&](double done) {
    if (request.progress) request.progress({"copy", done, done > 0.02 ? elapsed(began) / done * (1 - done) : -1});
  });
  std::vector<std::string> command{"restore", "--set=" + plan->backup.label, "--type=none", "--log-level-console=detail"};
  command.push_back("--process-max=" + std::to_string(request.gentle ? 1U : std::max(1U, std::thread::hardware_concurrency())));
  const auto copied =
      repository.run(command, hours(48), request.stop, [&percent](std::string_view said) { percent(said); }, into, request.gentle);
  if (request.stop != nullptr && request.stop->load()) return abandon(Error{Kind::unavailable, "ENDED", "it was told to stop", {}, {}, 0});
  if (copied.status != 0)
    return abandon(
        Error{Kind::unavailable, "RESTORE_FAILED", "pgBackRest could not copy the backup: " + tail(copied.output, 800), {}, {}, 0});
  report.copy_seconds = elapsed(began);

  began = steady_now();
  const Result<void> written[] = {
      put(into / kWalScript, source.script(into / kWalLog), user),
      put(into / kMarker, "Enishi data folder, format 1\n", user),
      put(into / kQuiet, json::serialize(json::object{{"target", report.target}, {"backup", report.backup}, {"at", to_text(now())}}) + "\n",
          user),
  };
  for (const auto& one : written)
    if (!one) return abandon(one.error());
  fs::remove(pgdata / "postmaster.pid", ec);
  fs::remove(pgdata / kGuardianConf, ec);
  Options options;
  options.data = into;
  options.pg_bin = request.pg_bin;
  options.max_connections = 40;
  options.small = request.gentle;
  options.start_attempts = 1;
  options.start_limit = hours(48);
  options.stop = request.stop;
  options.recovering = true;
  options.more_settings =
      plan->settings + "restore_command = " + conf_value("/bin/sh " + shell_word((into / kWalScript).string()) + " \"%f\" \"%p\"") + "\n";
  Result<std::unique_ptr<EmbeddedCluster>> cluster = fail(Kind::internal, "INTERNAL", "not started");
  {
    const ReplayWatch watch(request, *plan);
    cluster = EmbeddedCluster::start(options);
  }
  const auto said = read_log(into / "log");
  if (!cluster) {
    if (cluster.error().code == "ENDED") return abandon(cluster.error());
    if (said.fatal.find("before configured recovery target") != std::string::npos)
      return abandon(Error{Kind::not_found,
                           "TARGET_OUTSIDE_WINDOW",
                           fmt::format("{} was not reached, the WAL ends before it{}: {}", report.target,
                                       said.last_commit ? " at " + to_text(*said.last_commit) : "", window_text(*request.window)),
                           {},
                           {},
                           0});
    return abandon(Error{Kind::unavailable,
                         "RESTORE_FAILED",
                         fmt::format("the restored cluster did not start: {} {} (its log stays in \"{}/log\")", said.fatal,
                                     cluster.error().detail, into.string()),
                         {},
                         {},
                         0});
  }
  report.replay_seconds = elapsed(began);
  report.ended = said.ended;
  report.last_commit = said.last_commit;
  {
    std::ifstream in(into / kWalLog);
    for (std::string line; std::getline(in, line);)
      (line.starts_with("repository ") ? report.wal_from_repository : report.wal_from_receiver)++;
  }
  if (said.stop) report.end = *said.stop;
  if (request.target.kind == Target::Kind::latest && request.window->to_lsn.at > 0) {
    const bool whole = report.end >= request.window->to_lsn;
    report.checks.push_back({"complete", whole,
                             whole ? "everything to the newest commit known, " + request.window->to_lsn.str()
                                   : fmt::format("the WAL ends at {}, but {} is known: a WAL file between them is missing or damaged",
                                                 report.end.str(), request.window->to_lsn.str())});
  }
  if (request.target.kind == Target::Kind::time && said.stop)
    report.stamped_backwards = stamped_backwards(source, user, (*cluster)->binaries().bin, plan->timeline, report.end, request.target.time);
  began = steady_now();
  if (request.progress) request.progress({"check", 0, -1});
  const auto add = [&report](std::vector<CheckResult> found) { std::move(found.begin(), found.end(), std::back_inserter(report.checks)); };
  if (request.check) add(check(**cluster, request, report));
  add(more_checks(**cluster, request));
  report.check_seconds = elapsed(began);
  (*cluster)->stop();
  cluster->reset();
  for (const auto* name : {kWalScript, "spool"}) fs::remove_all(into / name, ec);
  if (auto done = put(into / kReport, to_json(report) + "\n", user); !done) return tl::make_unexpected(done.error());
  fs::remove(into / "restore.unfinished", ec);
  return report;
}

std::string to_json(const DrillResult& r) {
  return json::serialize(json::object{
      {"at", to_text(r.at)}, {"good", r.good}, {"target", r.target}, {"seconds", r.seconds}, {"bytes", r.bytes}, {"detail", r.detail}});
}

DrillResult drill(const Repository& repository, const fs::path& scratch, const fs::path& pg_bin, std::vector<Check> checks,
                  std::function<void(const Progress&)> progress, const std::atomic<bool>* stop) {
  DrillResult result;
  result.at = now();
  const auto began = steady_now();
  const auto& user = repository.user();
  std::error_code ec;
  fs::remove_all(scratch, ec);
  auto window = read_window(repository, {}, pg_bin);
  if (!window || window->backups.empty() || window->to <= window->from) {
    result.detail = !window ? window.error().detail : window_text(*window);
  } else {
    std::mt19937_64 random(std::random_device{}());
    const auto span = (window->to - window->from).count();
    Target target;
    target.kind = Target::Kind::time;
    target.time = window->from + std::chrono::microseconds(std::uniform_int_distribution<std::int64_t>(0, span)(random));
    result.target = target.str();
    RestoreRequest request{repository, target, scratch};
    request.pg_bin = pg_bin;
    request.window = std::move(*window);
    request.gentle = true;
    request.checks = std::move(checks);
    request.progress = std::move(progress);
    request.stop = stop;
    auto report = restore(std::move(request));
    if (!report) {
      result.detail = report.error().code + ": " + report.error().detail;
    } else {
      result.bytes = report->bytes;
      result.good = report->good();
      for (const auto& c : report->checks)
        if (!c.good) result.detail += (result.detail.empty() ? "" : "; ") + c.name + ": " + c.detail;
      if (result.good)
        result.detail = fmt::format("restored and checked; the newest commit there is of {}",
                                    report->last_commit ? to_text(*report->last_commit) : "the backup");
    }
  }
  fs::remove_all(scratch, ec);
  result.seconds = elapsed(began);
  if (stop == nullptr || !stop->load()) (void)append_line(repository.data() / kDrills, to_json(result), user);
  return result;
}

std::vector<DrillResult> drills(const fs::path& data) {
  std::vector<DrillResult> out;
  std::istringstream lines(slurp(data / kDrills));
  for (std::string line; std::getline(lines, line);) {
    boost::system::error_code bad;
    const auto v = json::parse(line, bad);
    if (bad || !v.is_object()) continue;
    const auto& o = v.get_object();
    DrillResult r;
    const auto text = [&o](std::string_view name) {
      const auto* f = o.if_contains(name);
      return f != nullptr && f->is_string() ? std::string(f->get_string()) : std::string();
    };
    r.at = parse_moment(text("at")).value_or(Moment{});
    r.target = text("target");
    r.detail = text("detail");
    if (const auto* g = o.if_contains("good"); g != nullptr && g->is_bool()) r.good = g->get_bool();
    if (const auto* s = o.if_contains("seconds"); s != nullptr && s->is_number()) r.seconds = s->to_number<double>();
    if (const auto* n = o.if_contains("bytes"); n != nullptr && n->is_number()) r.bytes = n->to_number<std::uint64_t>();
    out.push_back(std::move(r));
  }
  return out;
}

}  // namespace enishi::cluster

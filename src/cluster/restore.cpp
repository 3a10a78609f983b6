#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <thread>

#include "cluster/files.hpp"
#include "cluster/restore_parts.hpp"

namespace enishi::cluster {
namespace {

constexpr const char* kWalScript = "wal-get.sh";
constexpr const char* kWalLog = "wal.log";

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

/// pgBackRest reads WAL for a cluster that is there: the live one while its folder says of the same backups, else what is being restored,
/// which has none before it was copied.
fs::path home_to_read(const Repository& repository, const fs::path& into) {
  std::error_code ec;
  const auto known = Repository::of_data(repository.data(), repository.user());
  const bool usable = known && known->folder() == repository.folder() && fs::exists(repository.data() / kBackrestConf, ec) &&
                      fs::exists(repository.data() / "pgdata" / "global" / "pg_control", ec);
  return usable ? repository.data() : into;
}

}  // namespace

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
  const auto home = home_to_read(repository, into);
  if (!request.window) {
    auto window = read_window(repository, home, request.pg_bin);
    if (!window) return abandon(window.error());
    request.window = std::move(*window);
  }
  auto plan = make_plan(request, *request.window, home);
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

}  // namespace enishi::cluster

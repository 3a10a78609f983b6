#include <fmt/format.h>
#include <unistd.h>

#include <boost/asio/signal_set.hpp>
#include <boost/json.hpp>
#include <csignal>
#include <filesystem>
#include <thread>

#include "base/log.hpp"
#include "base/metrics.hpp"
#include "cli/commands.hpp"
#include "cli/continuity.hpp"
#include "cli/offline.hpp"
#include "cli/start_up.hpp"
#include "cluster/cluster.hpp"
#include "cluster/continuity.sql.hpp"
#include "cluster/files.hpp"
#include "cluster/guardian.hpp"
#include "cluster/session.hpp"
#include "cluster/storage.hpp"
#include "crm/erasure/erasure.hpp"
#include "crm/erasure/erasure.sql.hpp"
#include "crm/history/history_api.hpp"
#include "crm/history/seal.sql.hpp"
#include "http/http.hpp"
#include "io/aside.hpp"
#include "io/shard.hpp"

namespace enishi::cli {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using cluster::Session;

constexpr Millis kPatience{15000};
static_assert(std::string_view(crm::erasure::kBackupsAreHere) == cluster::kBackupNote);

std::atomic<bool> interrupted{false};

/// Ctrl-C ends a restore cleanly: what it made so far goes.
void watch_interrupts() {
  std::signal(SIGINT, [](int) { interrupted = true; });
  std::signal(SIGTERM, [](int) { interrupted = true; });
}

tl::unexpected<Error> say_data() { return fail(Kind::malformed, "CONFIG_INVALID", "say which data folder: --data DIR"); }

/// The backups of --data, or those that --backup and --backup-key name when its disk is gone.
Result<cluster::Repository> find_repository(const Settings& settings) {
  auto user = cluster::database_user();
  if (!user) return tl::make_unexpected(user.error());
  std::error_code ec;
  const auto data = fs::weakly_canonical(settings.data.empty() ? fs::path("/nonexistent") : fs::path(settings.data), ec);
  if (settings.backup.empty() && settings.backup_config.empty()) {
    if (settings.data.empty())
      return fail(Kind::malformed, "CONFIG_INVALID",
                  "say whose backups: --data DIR, or --backup FOLDER with --backup-key FILE when that folder is lost");
    return cluster::Repository::of_data(data, *user);
  }
  auto wanted = backup_settings(settings, false);
  if (wanted.folder.empty()) wanted.folder = data / "backup";
  return cluster::Repository(std::move(wanted), data, *user);
}

class Printer {
 public:
  explicit Printer(bool quiet) : quiet_(quiet), terminal_(isatty(STDERR_FILENO) != 0) {}
  void operator()(const cluster::Progress& p) {
    if (quiet_) return;
    const bool phase = last_phase_ != p.phase;
    if (!phase && steady_now() - last_ < std::chrono::seconds(terminal_ ? 1 : 5)) return;
    last_ = steady_now();
    last_phase_ = p.phase;
    const auto left = p.seconds_left >= 0 ? fmt::format(", about {:.0f} s left", p.seconds_left) : std::string();
    fmt::print(stderr, "{}{:>7}: {:3.0f} %{}{}", terminal_ ? "\r\033[K" : "", p.phase, p.done * 100, left, terminal_ ? "" : "\n");
  }
  void over() const {
    if (terminal_ && !quiet_) fmt::print(stderr, "\r\033[K");
  }

 private:
  bool quiet_, terminal_;
  SteadyTime last_{};
  std::string last_phase_;
};

std::string megabytes(std::uint64_t bytes) { return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6); }

void print_window(const cluster::Window& w) {
  if (w.backups.empty()) {
    fmt::print("There is no backup yet.\n");
    return;
  }
  fmt::print("Any moment from {} to {}\n(positions {} to {}, timeline {})\n\nBackups\n", cluster::to_text(w.from), cluster::to_text(w.to),
             w.from_lsn.str(), w.to_lsn.str(), w.timeline);
  for (const auto& b : w.backups)
    fmt::print("  {}  {:4}  {}  {:>10}, stored {:>10}{}\n", b.label, b.type, cluster::to_text(b.finished), megabytes(b.bytes),
               megabytes(b.stored_bytes), b.damaged ? "  DAMAGED PAGES: not used" : "");
  if (!w.marks.empty()) fmt::print("\nMarks\n");
  for (const auto& m : w.marks) fmt::print("  {}  {}  {}  {}\n", m.name, cluster::to_text(m.at), m.lsn.str(), m.point);
  if (w.timelines.size() > 1) fmt::print("\nTimelines (each restore that was promoted begins one)\n");
  if (w.timelines.size() > 1)
    for (const auto& t : w.timelines) fmt::print("  {}  live from {} at {}\n", t.timeline, cluster::to_text(t.at), t.lsn.str());
}

Result<int> list(const Settings& settings, bool as_json) {
  auto repository = find_repository(settings);
  if (!repository) return tl::make_unexpected(repository.error());
  // Read from a scratch folder, so that nothing is needed but the backups.
  std::string pattern = "/tmp/enishi-list-XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) return tl::make_unexpected(cluster::unwritable("/tmp", errno));
  const fs::path home(pattern);
  Result<cluster::Window> window = fail(Kind::internal, "INTERNAL", "");
  if (auto owned = cluster::private_folder(home, repository->user()); !owned)
    window = tl::make_unexpected(owned.error());
  else if (auto ready = repository->prepare_restore(home); !ready)
    window = tl::make_unexpected(ready.error());
  else
    window = cluster::read_window(*repository, home, settings.pg_bin);
  std::error_code ignored;
  fs::remove_all(home, ignored);
  if (!window) return tl::make_unexpected(window.error());
  if (as_json)
    fmt::print("{}\n", cluster::to_json(*window));
  else
    print_window(*window);
  return 0;
}

Result<int> promote(const Settings& settings, const RestoreCommand& command) {
  if (command.into.empty()) return fail(Kind::malformed, "CONFIG_INVALID", "say which restored cluster: --into DIR");
  auto old = cluster::promote(command.into, settings.data, command.even_if_bad);
  if (!old) return tl::make_unexpected(old.error());
  if (settings.data.empty())
    fmt::print("\"{0}\" is a normal data folder now: enishi serve --data {0}\n", command.into);
  else if (old->empty())
    fmt::print("The restored database is in \"{0}\": enishi serve --data {0}\n", settings.data);
  else
    fmt::print("The restored database is in \"{0}\", the one before it in \"{1}\": enishi serve --data {0}\n", settings.data,
               old->string());
  return 0;
}

}  // namespace

bool is_quiet(const Settings& settings) {
  std::error_code ec;
  return !settings.data.empty() && fs::exists(fs::path(settings.data) / cluster::kQuiet, ec);
}

bool backups_on(const Settings& settings) { return !settings.data.empty() && settings.backup != "off" && !is_quiet(settings); }

cluster::BackupSettings backup_settings(const Settings& settings, bool synchronous) {
  cluster::BackupSettings out;
  // A start that does not say where the backups are goes on where they were.
  if (settings.backup.empty() && !settings.data.empty())
    if (const auto user = cluster::database_user())
      if (const auto known = cluster::Repository::of_data(settings.data, *user)) out = known->settings();
  out.on = settings.backup != "off";
  if (!settings.backup.empty()) out.folder = settings.backup;
  if (!settings.backup_receiver.empty()) out.receiver = settings.backup_receiver;
  if (!settings.backup_key.empty()) out.key_file = settings.backup_key;
  if (!settings.backup_config.empty()) out.config_file = settings.backup_config;
  out.days = settings.backup_days;
  out.synchronous = settings.synchronous.value_or(synchronous);
  out.sync_outage_seconds = settings.sync_outage_seconds;
  out.outage_hours = settings.backup_outage_hours;
  out.drill_days = settings.drill_days;
  out.drill_folder = settings.drill_folder;
  return out;
}

std::optional<fs::path> erasure_list(const Settings& settings) {
  if (settings.backup == "off" || (settings.backup.empty() && settings.data.empty())) return std::nullopt;
  const auto folder = backup_settings(settings, false).folder;
  return (folder.empty() ? fs::path(settings.data) / "backup" : folder) / crm::erasure::kList;
}

namespace {

// What cannot be asked is never taken for an older schema: a damaged page or a missing right is an exception, and fails the check.

Task<Result<std::string>> erase_again(pg::Lease& lease, fs::path list) {
  auto known = co_await lease.run(sql::erasure::erasures_known, {}, Deadline::in(kPatience));
  if (!known) co_return tl::make_unexpected(known.error());
  if (!known->boolean(0, 0)) co_return std::string("this moment is before erasures were known here; serve erases again at its start");
  auto lines = crm::erasure::read_list(list);
  if (!lines) co_return tl::make_unexpected(lines.error());
  auto people = co_await crm::erasure::reapply(lease, std::move(*lines));
  if (!people) co_return tl::make_unexpected(people.error());
  co_return fmt::format("{} people erased after this moment were erased again", *people);
}

Task<Result<std::string>> chain_is_whole(pg::Lease& lease) {
  auto known = co_await lease.run(sql::seal::sealing_known, {}, Deadline::in(kPatience));
  if (!known) co_return tl::make_unexpected(known.error());
  if (!known->boolean(0, 0)) co_return std::string("this moment is before history was sealed");
  auto report = co_await crm::history::verify_chain(lease);
  if (!report) co_return tl::make_unexpected(report.error());
  if (!report->whole())
    co_return fail(Kind::conflict, "HISTORY_CHANGED",
                   fmt::format("{} rows or seals are not what was sealed; the first: {}", report->problems.size(),
                               crm::history::to_text(report->problems.front())));
  co_return fmt::format("{} rows in {} seals are what was sealed, {} are not sealed yet", report->rows, report->seals, report->unsealed);
}

}  // namespace

Result<void> meet_backups(const Settings& settings, bool synchronous, const std::string& owner) {
  const auto list = erasure_list(settings);
  std::optional<cluster::Repository> repository;
  if (auto user = cluster::database_user(); user && backups_on(settings))
    repository.emplace(backup_settings(settings, synchronous), settings.data, *user);
  auto lines = aside([repository, list]() mutable -> Result<json::array> {
    if (repository) (void)repository->make_folders();
    return list ? crm::erasure::read_list(*list) : json::array();
  });
  if (lines.wait_for(cluster::Storage::kPatience) != std::future_status::ready) {
    log_error("the disk of the backups does not answer; whom its list of erasures names is erased again when it does",
              {{"list", list ? list->string() : ""}});
    return {};
  }
  auto known = lines.get();
  if (!known) return tl::make_unexpected(known.error());
  if (known->empty()) return {};
  auto again = with_lease<int>(owner, [&](pg::Lease& lease) { return crm::erasure::reapply(lease, std::move(*known)); });
  if (!again) return tl::make_unexpected(again.error());
  if (*again > 0) log_warning("people erased after the moment of this database were erased again", {{"people", *again}});
  return {};
}

std::vector<cluster::Check> continuity_checks(std::optional<fs::path> list) {
  std::vector<cluster::Check> out;
  if (list) out.push_back({"erasures", [list = *list](pg::Lease& lease) { return erase_again(lease, list); }, true});
  out.push_back({"history", [](pg::Lease& lease) { return chain_is_whole(lease); }});
  return out;
}

Result<int> restore_command(Settings settings, RestoreCommand command) {
  set_log_level(command.json ? Level::error : Level::warning);
  if (command.list) return list(settings, command.json);
  if (command.promote) return promote(settings, command);
  if (command.into.empty())
    return fail(Kind::malformed, "CONFIG_INVALID", "say where the restored cluster goes: --into DIR, an empty or a new folder");
  auto target = cluster::Target::parse(command.to);
  if (!target) return tl::make_unexpected(target.error());
  auto repository = find_repository(settings);
  if (!repository) return tl::make_unexpected(repository.error());
  watch_interrupts();
  Printer printer(command.json);
  cluster::RestoreRequest request{*repository, *target, command.into};
  request.pg_bin = settings.pg_bin;
  request.timeline = command.timeline;
  request.check = !command.no_check;
  request.checks = continuity_checks(repository->folder() / crm::erasure::kList);
  request.progress = [&printer](const cluster::Progress& p) { printer(p); };
  request.stop = &interrupted;
  auto report = cluster::restore(std::move(request));
  printer.over();
  if (!report) return tl::make_unexpected(report.error());
  if (command.json)
    fmt::print("{}\n", cluster::to_json(*report));
  else
    fmt::print("{}It is quiet. Look at it: enishi serve --data {}\n{}", cluster::to_text(*report), report->into,
               settings.data.empty()
                   ? fmt::format("Use it: enishi restore --promote --into {}\n", report->into)
                   : fmt::format("Use it: stop Enishi, then enishi restore --data {} --into {} --promote\n", settings.data, report->into));
  return report->good() ? 0 : 1;
}

Result<int> drill_command(Settings settings, bool as_json) {
  set_log_level(Level::warning);
  if (settings.data.empty()) return say_data();
  auto repository = find_repository(settings);
  if (!repository) return tl::make_unexpected(repository.error());
  watch_interrupts();
  Printer printer(as_json);
  const auto result = cluster::drill(
      *repository,
      (settings.drill_folder.empty() ? repository->data() : fs::path(settings.drill_folder)) / fmt::format("drill-{}", getpid()),
      settings.pg_bin, continuity_checks(repository->folder() / crm::erasure::kList),
      [&printer](const cluster::Progress& p) { printer(p); }, &interrupted);
  printer.over();
  if (as_json)
    fmt::print("{}\n", cluster::to_json(result));
  else
    fmt::print("{} in {:.1f} s: {} ({})\n", result.good ? "Good" : "BAD", result.seconds,
               result.target.empty() ? "nothing to restore" : result.target, result.detail);
  return result.good ? 0 : 1;
}

Result<int> backup_command(Settings settings, std::string mark) {
  if (settings.data.empty()) return say_data();
  const auto conninfo = cluster::conninfo_of_running(settings.data, "enishi_owner");
  if (!conninfo)
    return fail(Kind::unavailable, "NOT_RUNNING",
                fmt::format("no Enishi runs on \"{}\"; backups are made by the one that does", settings.data));
  Session session(*conninfo, Millis(10000), "enishi-cli");
  auto asked = session.ask(sql::continuity::ask,
                           pg::params(mark.empty() ? "BACKUP" : "MARK", mark.empty() ? std::optional<std::string>() : std::optional(mark)));
  if (!asked) return tl::make_unexpected(asked.error());
  const std::string id(asked->text(0, 0));
  watch_interrupts();
  while (!interrupted) {
    auto answer = session.ask(sql::continuity::answer_to_request, pg::params(id));
    if (!answer) return tl::make_unexpected(answer.error());
    const auto state = answer->text(0, 0);
    const std::string detail(answer->text(0, 1));
    if (state == "DONE") {
      fmt::print("{}\n", mark.empty() ? "Backup " + detail + " is done."
                                      : fmt::format("Mark {} is set at {}: enishi restore --data {} --to {} --into …", mark, detail,
                                                    settings.data, mark));
      return 0;
    }
    if (state == "FAILED") return fail(Kind::unavailable, "BACKUP_FAILED", detail);
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  return 130;
}

Result<int> status_command(Settings settings, bool as_json) {
  if (settings.data.empty()) return say_data();
  auto text = cluster::last_status(settings.data);
  if (!text) return tl::make_unexpected(text.error());
  const auto status = json::parse(*text).as_object();
  const auto state = std::string(status.at("state").as_string());
  const int code = state == "green" ? 0 : state == "yellow" ? 1 : 2;
  if (as_json) {
    fmt::print("{}\n", *text);
    return code;
  }
  const auto line = [](const json::value& v) {
    return v.is_null() ? std::string("-") : v.is_string() ? std::string(v.as_string()) : json::serialize(v);
  };
  fmt::print("{} at {}\n", state, line(status.at("at")));
  for (const auto& p : status.at("problems").as_array())
    fmt::print("  {:6} {}: {}\n         {}\n", line(p.at("severity")), line(p.at("code")), line(p.at("detail")), line(p.at("way_out")));
  if (!status.contains("window")) return code;
  const auto& r = status.at("repository");
  const auto& w = status.at("wal");
  const auto& v = status.at("receiver");
  const auto& d = status.at("drill");
  fmt::print("window      {} to {}, {} days kept\n", line(status.at("window").at("from")), line(status.at("window").at("to")),
             line(status.at("window").at("days")));
  fmt::print("repository  {}, {}, last backup {}\n", line(r.at("folder")), megabytes(r.at("bytes").to_number<std::uint64_t>()),
             line(r.at("last_backup_at")));
  fmt::print("key         {} (keep a copy elsewhere)\n", line(r.at("key_file")));
  fmt::print("wal         {} on disk, {} files wait, last archived {} at {}\n", megabytes(w.at("bytes").to_number<std::uint64_t>()),
             line(w.at("files_waiting")), line(w.at("last_archived")), line(w.at("last_archived_at")));
  fmt::print("receiver    {}, {}, {} bytes behind{}\n", line(v.at("state")), line(status.at("mode")), line(v.at("lag_bytes")),
             v.at("synchronous").as_bool() ? "" : "; not RPO 0: with the database's disk that would be lost");
  fmt::print("drill       last good {}\n", line(d.at("last_good_at")));
  for (const auto& disk : status.at("disks").as_array())
    fmt::print("disk {:6} {} free of {} ({})\n", line(disk.at("name")), megabytes(disk.at("free_bytes").to_number<std::uint64_t>()),
               megabytes(disk.at("bytes").to_number<std::uint64_t>()), line(disk.at("path")));
  return code;
}

namespace {

Task<Result<http::Answer>> alive(http::Request&) { co_return http::Answer::json(R"({"status":"alive"})"); }

Task<Result<http::Answer>> all_metrics(http::Request&) {
  http::Answer answer;
  answer.body = metrics::render();
  answer.type = "text/plain; version=0.0.4; charset=utf-8";
  co_return answer;
}

}  // namespace

Result<int> cluster_command(Settings settings) {
  if (settings.data.empty()) return say_data();
  set_log_level(settings.log_level);
  if (is_quiet(settings))
    return fail(Kind::conflict, "QUIET",
                fmt::format("\"{0}\" was restored and not promoted: enishi restore --promote --into {0}", settings.data));
  http::check_address(settings.listen);
  cluster::Options options;
  options.data = settings.data;
  options.pg_bin = settings.pg_bin;
  options.pg_port = settings.pg_port;
  options.archive = backups_on(settings);
  options.max_connections = 200;
  StartUp start_up;
  auto started = start_up.start(std::move(options));
  if (!started) return tl::make_unexpected(started.error());
  if (auto met = meet_backups(settings, true, (*started)->conninfo("enishi_owner")); !met) return tl::make_unexpected(met.error());
  if (auto user = cluster::database_user()) cluster::become(*user, false);
  // Who is erased is listed beside the backups by whoever knows where these are; a server on --database does not.
  const auto list = erasure_list(settings);
  std::optional<cluster::Guardian> guardian;
  std::atomic<bool> stopping{false};
  Shards shards(1);
  Offload offload(1, 16);
  pg::Config config;
  config.conninfo = (*started)->conninfo("enishi_app");
  config.pipelines = 1;
  config.leases = 1;
  config.application_name = "enishi-cluster";
  pg::Database database(shards[0], offload, config);
  {
    http::Router router;
    router.add({http::Method::get, "/healthz", "", alive});
    router.add({http::Method::get, "/metrics", "", all_metrics});
    auto* held = &guardian;
    router.add({http::Method::get, "/status", "", [held](http::Request&) -> Task<Result<http::Answer>> {
                  return [](std::optional<cluster::Guardian>* g) -> Task<Result<http::Answer>> {
                    co_return http::Answer::json(*g ? (*g)->status() : R"({"state":"off"})");
                  }(held);
                }});
    if (backups_on(settings)) guardian.emplace(**started, backup_settings(settings, true), continuity_checks(erasure_list(settings)));
    http::Server server(shards, std::move(router), http::Limits{}, settings.listen, false);
    const auto port = server.listen();
    asio::signal_set signals(shards[0].context(), SIGTERM, SIGINT);
    start_up.over();
    if (list) spawn(shards[0], "erasures", crm::erasure::keep_list(database, *list, stopping));
    signals.async_wait([&](const boost::system::error_code& failed, int) {
      if (failed) return;
      stopping = true;
      server.drain([&shards] { shards.stop(); });
    });
    fmt::print("PostgreSQL is ready: {}\nMetrics: http://{}:{}/metrics\n", (*started)->conninfo("enishi_owner"),
               settings.listen.substr(0, settings.listen.rfind(':')), port);
    std::fflush(stdout);
    shards.run();
  }
  database.close();
  if (guardian) guardian->stop();
  (*started)->stop();
  guardian.reset();
  return 0;
}

}  // namespace enishi::cli

#include "cluster/guardian_impl.hpp"

namespace enishi::cluster {

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

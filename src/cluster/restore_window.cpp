#include <fmt/format.h>

#include "cluster/restore_parts.hpp"

namespace enishi::cluster {

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

}  // namespace enishi::cluster

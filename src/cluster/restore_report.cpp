#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "cluster/files.hpp"
#include "cluster/restore_parts.hpp"

namespace enishi::cluster {
namespace {

json::value time_or_null(const std::optional<Moment>& m) { return m ? json::value(to_text(*m)) : json::value(nullptr); }

}  // namespace

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

}  // namespace enishi::cluster

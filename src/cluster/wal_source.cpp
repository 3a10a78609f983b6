#include "cluster/wal_source.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "cluster/files.hpp"

namespace enishi::cluster {
namespace {

namespace fs = std::filesystem;

/// Of one database, the one that is written to first, then those left behind, newest first.
std::vector<fs::path> receiver_folders(const fs::path& receiver, std::string_view system) {
  std::vector<fs::path> out;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(receiver, ec))
    if (system.empty() || entry.path().filename().string().starts_with(std::string(system) + "-")) out.push_back(entry.path());
  const auto left_at = [](const fs::path& folder) {
    const auto name = folder.filename().string();
    const auto mark = name.rfind(kUntil);
    return mark == std::string::npos ? ~0ULL : std::strtoull(name.c_str() + mark + std::string_view(kUntil).size(), nullptr, 10);
  };
  std::sort(out.begin(), out.end(), [&](const auto& a, const auto& b) {
    const auto x = left_at(a), y = left_at(b);
    return x != y ? x > y : a < b;
  });
  return out;
}

/// Files of that name that PostgreSQL would take: a segment has its whole length from the beginning.
std::vector<fs::path> candidates(const std::vector<fs::path>& folders, const std::string& name) {
  std::vector<fs::path> out;
  for (const auto& folder : folders)
    for (const auto* end : {"", ".partial"}) {
      const auto file = folder / (name + end);
      std::error_code ec;
      if (!fs::is_regular_file(file, ec)) continue;
      const auto size = fs::file_size(file, ec);
      if (!ec && (parse_wal_file(name) ? size == kSegment : size > 0)) out.push_back(file);
    }
  return out;
}

std::string_view written(std::string_view wal) { return wal.substr(0, wal.find_last_not_of('\0') + 1); }

std::optional<fs::path> best(const std::vector<fs::path>& files) {
  if (files.empty()) return std::nullopt;
  if (files.size() == 1) return files.front();
  fs::path chosen = files.front();
  auto text = slurp(chosen);
  for (std::size_t i = 1; i < files.size(); ++i) {
    auto other = slurp(files[i]);
    const auto had = written(text), has = written(other);
    if (has.size() <= had.size() || !has.starts_with(had)) continue;
    chosen = files[i];
    text = std::move(other);
  }
  return chosen;
}

}  // namespace

std::vector<Commit> commits_in(const fs::path& bin, const fs::path& wal_file, const DatabaseUser& user) {
  std::vector<Commit> out;
  std::string rest;
  const auto line_seen = [&out](const std::string& line) {
    // rmgr: Transaction len (rec/tot):     34/    34, tx:        740, lsn: 0/01500110, prev 0/015000D8, desc: COMMIT 2026-11-22
    // 18:41:22.948123 UTC
    const auto what = line.find("desc: COMMIT ");
    if (what == std::string::npos) return;
    const auto xid = line.find("tx: "), lsn = line.find("lsn: ");
    if (xid == std::string::npos || lsn == std::string::npos) return;
    const auto position = Lsn::parse(std::string_view(line).substr(lsn + 5, line.find(',', lsn) - lsn - 5));
    auto stamp = line.substr(what + 13, line.find(" UTC", what) - what - 13);
    const auto at = parse_moment(stamp + "Z");
    if (position && at) out.push_back({*position, std::strtoull(line.c_str() + xid + 4, nullptr, 10), *at});
  };
  Command command{{bin / "pg_waldump", "--rmgr=Transaction", wal_file}, user, {}, Millis(120000)};
  command.on_output = [&](std::string_view said) {
    rest += said;
    std::size_t from = 0;
    for (auto end = rest.find('\n'); end != std::string::npos; end = rest.find('\n', from)) {
      line_seen(rest.substr(from, end - from));
      from = end + 1;
    }
    rest.erase(0, from);
  };
  (void)run_command(command);
  return out;
}

Result<void> make_receiver_folder(const fs::path& folder, const DatabaseUser& user) {
  if (auto made = private_folder(folder, user); !made) return made;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(folder, ec)) {
    if (entry.path().extension() != ".partial" || !parse_wal_file(entry.path().stem().string())) continue;
    std::error_code none;
    if (const auto size = entry.file_size(none); !none && size > 0 && size < kSegment) fs::remove(entry.path(), none);
  }
  return {};
}

std::optional<fs::path> received_file(const fs::path& receiver, std::string_view system, const std::string& name) {
  return best(candidates(receiver_folders(receiver, system), name));
}

Scratch::Scratch(const fs::path& home, const DatabaseUser& user)
    : path(home / fmt::format("scratch-{}-{}", getpid(), steady_now().time_since_epoch().count())) {
  (void)private_folder(path, user);
}

Scratch::~Scratch() {
  std::error_code ignored;
  fs::remove_all(path, ignored);
}

WalSource::WalSource(const Repository& repository, const fs::path& home, std::string system, std::string archive)
    : repository_(repository), home_(home), system_(std::move(system)), archive_(std::move(archive)), scratch_(home, repository.user()) {}

bool WalSource::archived(const std::string& name) const {
  const auto target = scratch_.path / name;
  std::vector<std::string> command{"--no-archive-async", "--log-level-console=off", "--log-level-stderr=off"};
  if (!cluster_.empty()) command.push_back("--pg1-path=" + cluster_.string());
  command.insert(command.end(), {"archive-get", name, target.string()});
  const auto got = repository_.run(std::move(command), Millis(60000), nullptr, {}, home_, false);
  std::error_code ec;
  return got.status == 0 && fs::exists(target, ec);
}

/// archive-get gives WAL to the database that it is of, and knows that by its pg_control alone. Where the database is lost, or not restored
/// yet, an empty one's does that, under the lost one's identifier: else what the repository holds would be out of sight when it is needed.
void WalSource::stand_in(const fs::path& pg_bin) const {
  std::error_code ec;
  const auto control = fs::path("pgdata") / "global" / "pg_control";
  if (!cluster_.empty() || system_.empty() || fs::exists(home_ / control, ec)) return;
  const auto made = run_command({{pg_bin / "initdb", "--pgdata", scratch_.path / "pgdata", "--username", "postgres", "--encoding", "UTF8",
                                  "--no-locale", "--auth", "reject", "--no-instructions", "--no-sync"},
                                 repository_.user(),
                                 {},
                                 Millis(120000)});
  if (made.status != 0) return;
  const std::uint64_t system = std::strtoull(system_.c_str(), nullptr, 10);
  std::fstream file(scratch_.path / control, std::ios::in | std::ios::out | std::ios::binary);
  if (file.write(reinterpret_cast<const char*>(&system), sizeof system).flush()) cluster_ = scratch_.path / "pgdata";
}

std::optional<fs::path> WalSource::fetch(const std::string& name) const {
  const auto target = scratch_.path / name;
  if (archived(name)) return target;
  // archive-get wants a cluster to compare with, which is not there before the backup was copied; a history is stored as it is.
  if (name.ends_with(".history") && !archive_.empty()) {
    const auto stored = repository_.run(
        {"repo-get", fmt::format("archive/{}/{}/{}", kStanza, archive_, name), "--log-level-console=off", "--log-level-stderr=off"},
        Millis(60000), nullptr, {}, home_, false);
    if (stored.status == 0 && !stored.output.empty() && put(target, stored.output, repository_.user())) return target;
  }
  const auto from = received_file(repository_.receiver(), system_, name);
  if (!from) return std::nullopt;
  const auto copied = run_command({{"/bin/cp", *from, target}, repository_.user(), {}, Millis(60000)});
  if (copied.status != 0) return std::nullopt;
  return target;
}

std::vector<std::pair<std::uint32_t, Lsn>> WalSource::ancestry(std::uint32_t timeline) const {
  std::vector<std::pair<std::uint32_t, Lsn>> out;
  if (timeline <= 1) return out;
  const auto file = fetch(fmt::format("{:08X}.history", timeline));
  if (!file) return out;
  std::istringstream lines(slurp(*file));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::uint32_t parent = 0;
    std::string position;
    if (words >> parent >> position)
      if (const auto lsn = Lsn::parse(position)) out.emplace_back(parent, *lsn);
  }
  return out;
}

/// Names of whole and partial WAL files of the receiver.
std::set<std::string> WalSource::received() const {
  std::set<std::string> out;
  for (const auto& folder : receiver_folders(repository_.receiver(), system_)) {
    std::error_code none;
    for (const auto& file : fs::directory_iterator(folder, none)) {
      const auto name = file.path().filename().string();
      if (parse_wal_file(name.substr(0, 24)) && (name.size() == 24 || name.ends_with(".partial"))) out.insert(name.substr(0, 24));
    }
  }
  return out;
}

std::set<std::uint32_t> WalSource::received_timelines() const {
  std::set<std::uint32_t> out;
  for (const auto& name : received()) out.insert(parse_wal_file(name)->first);
  return out;
}

std::optional<Lsn> WalSource::newest_file(std::uint32_t timeline) const {
  std::optional<Lsn> newest;
  const auto take = [&](const std::string& name) {
    if (const auto wal = parse_wal_file(name); wal && wal->first == timeline) newest = std::max(newest.value_or(Lsn{}), wal->second);
  };
  for (const auto& name : received()) take(name);
  if (archive_.empty()) return newest;
  // archive/enishi/15-1/0000000100000000/000000010000000000000005-4d9c….zst
  const auto last_of = [this](const std::string& folder, const std::string& filter) {
    const auto said = repository_.run({"repo-ls", folder, "--filter=" + filter, "--log-level-console=off", "--log-level-stderr=off"},
                                      Millis(60000), nullptr, {}, home_, false);
    std::string last;
    std::istringstream lines(said.status == 0 ? said.output : "");
    for (std::string line; std::getline(lines, line);) last = std::max(last, line);
    return last;
  };
  const auto archive = fmt::format("archive/{}/{}", kStanza, archive_);
  const auto folder = last_of(archive, fmt::format("^{:08X}[0-9A-F]{{8}}$", timeline));
  if (!folder.empty()) take(last_of(archive + "/" + folder, "^[0-9A-F]{24}-").substr(0, 24));
  return newest;
}

std::optional<Commit> WalSource::last_commit(const fs::path& pg_bin, std::uint32_t timeline, Lsn floor) const {
  const auto newest = newest_file(timeline);
  if (!newest) return std::nullopt;
  stand_in(pg_bin);
  for (auto at = newest->at;; at -= kSegment) {
    if (const auto file = fetch(wal_file_name(timeline, Lsn{at}))) {
      const auto commits = commits_in(pg_bin, *file, repository_.user());
      std::error_code ec;
      fs::remove(*file, ec);
      if (!commits.empty()) {
        auto last = commits.back();
        for (const auto& c : commits) last.at = std::max(last.at, c.at);
        return last;
      }
    }
    if (at < kSegment || at <= floor.at) return std::nullopt;
  }
}

std::string WalSource::script(const fs::path& log) const {
  const auto receiver = repository_.receiver();
  const auto folders = receiver_folders(receiver, system_);
  std::string chosen;
  for (const auto& name : received())
    if (const auto files = candidates(folders, name); files.size() > 1)
      chosen += fmt::format("  {}) set -- \"$1\" \"$2\" {} ;;\n", name, shell_word(best(files)->string()));
  const auto any = shell_word(receiver.string()) + "/" + (system_.empty() ? "" : system_ + "-") + "*/";
  return fmt::format(
      "#!/bin/sh\n"
      "# Written by Enishi: restore_command of this folder. wal-get.sh FILE INTO\n"
      "if pgbackrest --config={0} --stanza={1} --log-level-console=off --log-level-stderr=off archive-get \"$1\" \"$2\"; then\n"
      "  echo \"repository $1\" >> {2}; exit 0\n"
      "fi\n"
      "case \"$1\" in\n"
      "{4}"
      "  *) set -- \"$1\" \"$2\" {3}\"$1\" {3}\"$1.partial\" ;;\n"
      "esac\n"
      "name=$1 into=$2\n"
      "shift 2\n"
      "for f in \"$@\"; do\n"
      "  [ -f \"$f\" ] || continue\n"
      "  case \"$name\" in *.*) ;; *) [ \"$(stat -c %s \"$f\")\" = {5} ] || continue ;; esac\n"
      "  cp \"$f\" \"$into.part\" && mv \"$into.part\" \"$into\" && echo \"receiver $name\" >> {2} && exit 0\n"
      "done\n"
      "exit 1\n",
      shell_word((home_ / kBackrestConf).string()), kStanza, shell_word(log.string()), any, chosen, kSegment);
}

}  // namespace enishi::cluster

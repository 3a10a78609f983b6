// A restored cluster put in the place of another one, in steps that a second call finishes wherever the first was cut off:
//   1. pgdata/enishi.promoted in the restored cluster, with what its enishi.restored says: by it the one is known from the other
//   2. on another disk: a copy of it as DATA/pgdata.restored
//   3. the two change places, in one step
//   4. the old one gets its name; the restored folder goes when all of it is on the disk
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>

#include "cluster/files.hpp"
#include "cluster/restore.hpp"

namespace enishi::cluster {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr const char* kPromoted = "enishi.promoted";

/// Everything written to the disk of `path` is on it.
bool on_disk(const fs::path& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool done = fd >= 0 && syncfs(fd) == 0;
  if (fd >= 0) ::close(fd);
  return done;
}

/// What a restore's report says against using what it made.
Result<void> report_is_good(const fs::path& into) {
  boost::system::error_code bad;
  const auto report = json::parse(slurp(into / kReport), bad);
  const auto* good = bad || !report.is_object() ? nullptr : report.get_object().if_contains("good");
  if (good != nullptr && good->is_bool() && good->get_bool()) return {};
  std::string wrong;
  if (const auto* checks = good == nullptr ? nullptr : report.get_object().if_contains("checks"); checks != nullptr && checks->is_array())
    for (const auto& c : checks->get_array())
      if (!c.at("good").as_bool())
        wrong += fmt::format("; {}: {}", std::string_view(c.at("name").as_string()), std::string_view(c.at("detail").as_string()));
  return fail(Kind::conflict, "RESTORE_BAD",
              fmt::format("\"{}\" was not restored well{}. Restore another moment, or use it all the same: --even-if-bad", into.string(),
                          wrong.empty() ? ": it has no report" : wrong));
}

/// Another restore that was promoted meanwhile may have begun the same timeline: its WAL would lie in the repository under these names.
Result<void> timeline_is_free(const fs::path& into, const fs::path& data, const DatabaseUser& user) {
  std::error_code ec;
  auto repository = Repository::of_data(data, user);
  if (!repository) return {};
  std::uint32_t timeline = 0;
  for (const auto& entry : fs::directory_iterator(into / "pgdata" / "pg_wal", ec)) {
    const auto name = entry.path().filename().string();
    if (name.size() == 16 && name.ends_with(".history"))
      timeline = std::max(timeline, static_cast<std::uint32_t>(std::strtoul(name.substr(0, 8).c_str(), nullptr, 16)));
  }
  if (timeline == 0 || !fs::exists(data / kBackrestConf, ec)) return {};
  const auto name = fmt::format("{:08X}.history", timeline);
  const WalSource source(*repository, data);
  const auto there = source.fetch(name);
  if (!there || slurp(*there) == slurp(into / "pgdata" / "pg_wal" / name)) return {};
  return fail(Kind::conflict, "RESTORE_STALE",
              fmt::format("another restored cluster was promoted after \"{}\" was made, and has taken its timeline {}: restore once more",
                          into.string(), timeline));
}

/// pgdata.before-20261122T130501, with -2 and so on when there is one already.
fs::path name_of_old(const fs::path& data) {
  const auto stamp = to_text(now());
  const auto name = "pgdata.before-" + stamp.substr(0, 4) + stamp.substr(5, 2) + stamp.substr(8, 2) + "T" + stamp.substr(11, 2) +
                    stamp.substr(14, 2) + stamp.substr(17, 2);
  std::error_code ec;
  auto out = data / name;
  for (int n = 2; fs::exists(out, ec); ++n) out = data / fmt::format("{}-{}", name, n);
  return out;
}

}  // namespace

Result<fs::path> promote(const fs::path& given_into, const fs::path& given_data, bool even_if_bad) {
  std::error_code ec;
  const auto into = fs::weakly_canonical(given_into, ec);
  const auto data = given_data.empty() ? fs::path() : fs::weakly_canonical(given_data, ec);
  auto user = database_user();
  if (!user) return tl::make_unexpected(user.error());
  const auto restored = slurp(into / kQuiet);
  const auto live = data / "pgdata";
  const bool swapped = !data.empty() && !restored.empty() && slurp(live / kPromoted) == restored;
  if (restored.empty() || fs::exists(into / "restore.unfinished", ec) || (!swapped && !fs::exists(into / "pgdata" / "PG_VERSION", ec)))
    return fail(Kind::conflict, "NOT_RESTORED", fmt::format("\"{}\" holds no restored cluster that waits to be promoted", into.string()));
  auto from = take_lock(into, *user);
  if (!from) return tl::make_unexpected(from.error());
  if (!even_if_bad)
    if (auto good = report_is_good(into); !good) return tl::make_unexpected(good.error());
  if (data.empty()) {
    fs::remove(into / kQuiet, ec);
    if (!on_disk(into)) return tl::make_unexpected(unwritable(into, errno));
    return fs::path();
  }
  if (!fs::exists(data / kMarker, ec))
    return fail(Kind::not_found, "DATA_MISSING", "\"" + data.string() + "\" is no data folder of Enishi's");
  auto lock = take_lock(data, *user);
  if (!lock) return tl::make_unexpected(lock.error());

  const auto copy = data / "pgdata.restored";
  struct stat a{}, b{};
  if (stat(into.c_str(), &a) != 0 || stat(data.c_str(), &b) != 0) return tl::make_unexpected(unwritable(data, errno));
  const bool other_disk = a.st_dev != b.st_dev;
  const auto fresh = other_disk ? copy : into / "pgdata";
  bool had = fs::exists(live, ec);
  if (!swapped) {
    if (auto is_free = timeline_is_free(into, data, *user); !is_free) return tl::make_unexpected(is_free.error());
    if (auto marked = put(into / "pgdata" / kPromoted, restored, *user); !marked) return tl::make_unexpected(marked.error());
    if (other_disk) {
      // A whole copy that is not marked is what another promotion, cut off and never called again, had put aside.
      if (fs::exists(copy, ec) && !fs::exists(copy / kPromoted, ec) && rename(copy.c_str(), name_of_old(data).c_str()) != 0)
        return tl::make_unexpected(unwritable(copy, errno));
      const auto half = data / "pgdata.copying";
      for (const auto& left : {copy, half}) fs::remove_all(left, ec);
      const auto copied = run_command({{"/bin/cp", "-a", into / "pgdata", half}, *user, {}, std::chrono::hours(48)});
      if (copied.status != 0)
        return fail(Kind::unavailable, "PROMOTE_FAILED", "the restored cluster could not be copied: " + tail(copied.output));
      if (rename(half.c_str(), copy.c_str()) != 0) return tl::make_unexpected(unwritable(copy, errno));
    }
    if (!on_disk(fresh)) return tl::make_unexpected(unwritable(fresh, errno));
    // One step: at no moment is there no database, or half of one.
    if (had ? syscall(SYS_renameat2, AT_FDCWD, fresh.c_str(), AT_FDCWD, live.c_str(), 2U /* RENAME_EXCHANGE */) != 0
            : rename(fresh.c_str(), live.c_str()) != 0)
      return tl::make_unexpected(unwritable(live, errno));
  } else {
    had = fs::exists(fresh, ec);
  }
  const auto old = had ? name_of_old(data) : fs::path();
  if (had && rename(fresh.c_str(), old.c_str()) != 0) return tl::make_unexpected(unwritable(old, errno));
  fs::copy_file(into / kReport, data / kReport, fs::copy_options::overwrite_existing, ec);
  // Where it is now it is nobody's trial any more, even if the folder was one.
  fs::remove(data / kQuiet, ec);
  // The source goes only when a power cut would find its copy in its place; its mark goes last.
  if (!on_disk(data)) return tl::make_unexpected(unwritable(data, errno));
  *from = Lock{};
  fs::remove_all(into, ec);
  fs::remove(live / kPromoted, ec);
  return old;
}

}  // namespace enishi::cluster

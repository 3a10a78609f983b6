#include "cluster/repository.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>

#include "base/id.hpp"
#include "base/log.hpp"
#include "cluster/files.hpp"

namespace enishi::cluster {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

std::string backrest() {
  for (const auto* place : {"/usr/bin/pgbackrest", "/usr/local/bin/pgbackrest"})
    if (access(place, X_OK) == 0) return place;
  return {};
}

/// A folder the database's user can write: made, or used as it is.
Result<void> usable_folder(const fs::path& path, const DatabaseUser& user) {
  std::error_code ec;
  if (!fs::exists(path, ec)) {
    fs::create_directories(path.parent_path(), ec);
    return private_folder(path, user);
  }
  struct stat st{};
  if (stat(path.c_str(), &st) != 0 || !S_ISDIR(st.st_mode)) return tl::make_unexpected(unwritable(path, ENOTDIR));
  if (st.st_uid == user.uid) return {};
  if (user.change && geteuid() == 0 && fs::is_empty(path, ec)) return private_folder(path, user);
  return fail(Kind::unavailable, "BACKUP_UNWRITABLE",
              fmt::format("\"{}\" does not belong to the user \"{}\", who runs PostgreSQL and its backups: `chown {} {}`", path.string(),
                          user.name, user.name, path.string()));
}

/// `name=value` lines of the [global] section; other sections are not for us.
Result<std::map<std::string, std::string>> read_global(const fs::path& file) {
  std::ifstream in(file);
  if (!in) return fail(Kind::malformed, "BACKUP_CONFIG_INVALID", "cannot read pgBackRest's configuration \"" + file.string() + "\"");
  std::map<std::string, std::string> out;
  std::string line, section = "global";
  const auto trim = [](std::string t) {
    const auto from = t.find_first_not_of(" \t\r");
    return from == std::string::npos ? std::string() : t.substr(from, t.find_last_not_of(" \t\r") - from + 1);
  };
  while (std::getline(in, line)) {
    line = trim(line);
    if (line.empty() || line[0] == '#') continue;
    if (line[0] == '[') {
      section = line.substr(1, line.find(']') - 1);
      continue;
    }
    const auto equals = line.find('=');
    if (equals == std::string::npos)
      return fail(Kind::malformed, "BACKUP_CONFIG_INVALID", fmt::format("{}: \"{}\" is no name=value", file.string(), line));
    if (section == "global") out[trim(line.substr(0, equals))] = trim(line.substr(equals + 1));
  }
  return out;
}

std::uint32_t hex(std::string_view text) {
  std::uint32_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value, 16);
  return value;
}

std::string text_of(const json::value& v, std::string_view key) {
  const auto* o = v.if_object();
  const auto* found = o == nullptr ? nullptr : o->if_contains(key);
  return found != nullptr && found->is_string() ? std::string(found->get_string()) : std::string();
}

Moment seconds_of(const json::value& v) { return Moment(std::chrono::seconds(v.to_number<std::int64_t>())); }

}  // namespace

std::string Lsn::str() const { return fmt::format("{:X}/{:X}", at >> 32, at & 0xffffffffU); }

std::optional<Lsn> Lsn::parse(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos || slash == 0 || slash > 8 || text.size() - slash - 1 > 8 || slash + 1 == text.size())
    return std::nullopt;
  if (text.find_first_not_of("0123456789abcdefABCDEF/") != std::string_view::npos || text.rfind('/') != slash) return std::nullopt;
  return Lsn{static_cast<std::uint64_t>(hex(text.substr(0, slash))) << 32 | hex(text.substr(slash + 1))};
}

std::string wal_file_name(std::uint32_t timeline, Lsn lsn) {
  const auto number = lsn.at / kSegment;
  return fmt::format("{:08X}{:08X}{:08X}", timeline, number / 256, number % 256);
}

std::optional<std::pair<std::uint32_t, Lsn>> parse_wal_file(std::string_view name) {
  if (name.size() != 24 || name.find_first_not_of("0123456789ABCDEF") != std::string_view::npos) return std::nullopt;
  return std::pair{hex(name.substr(0, 8)), Lsn{static_cast<std::uint64_t>(hex(name.substr(8, 8))) << 32 |
                                               static_cast<std::uint64_t>(hex(name.substr(16, 8))) * kSegment}};
}

Moment now() { return std::chrono::time_point_cast<std::chrono::microseconds>(std::chrono::system_clock::now()); }

std::string to_text(Moment moment) {
  const auto day = std::chrono::floor<std::chrono::days>(moment);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss time(moment - day);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                     static_cast<unsigned>(date.day()), time.hours().count(), time.minutes().count(), time.seconds().count(),
                     time.subseconds().count());
}

std::optional<Moment> parse_moment(std::string_view text) {
  std::size_t at = 0;
  const auto digits = [&](std::size_t count) -> std::optional<int> {
    if (at + count > text.size()) return std::nullopt;
    int value = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const char c = text[at + i];
      if (c < '0' || c > '9') return std::nullopt;
      value = value * 10 + (c - '0');
    }
    at += count;
    return value;
  };
  const auto skip = [&](std::string_view any) {
    if (at < text.size() && any.find(text[at]) != std::string_view::npos) {
      ++at;
      return true;
    }
    return false;
  };
  const auto year = digits(4);
  if (!year || !skip("-/")) return std::nullopt;
  const auto month = digits(2);
  if (!month || !skip("-/")) return std::nullopt;
  const auto day = digits(2);
  if (!day || !skip(" T")) return std::nullopt;
  const auto hour = digits(2);
  if (!hour || !skip(":")) return std::nullopt;
  const auto minute = digits(2);
  if (!minute) return std::nullopt;
  int second = 0, micros = 0;
  if (skip(":")) {
    const auto s = digits(2);
    if (!s) return std::nullopt;
    second = *s;
    if (skip(".")) {
      int place = 100000;
      bool any = false;
      while (at < text.size() && text[at] >= '0' && text[at] <= '9') {
        if (place == 0) return std::nullopt;  // finer than PostgreSQL's clock
        micros += (text[at++] - '0') * place;
        place /= 10;
        any = true;
      }
      if (!any) return std::nullopt;
    }
  }
  while (skip(" ")) {
  }
  int offset = 9 * 60;
  if (skip("Zz")) {
    offset = 0;
  } else if (at < text.size() && (text[at] == '+' || text[at] == '-')) {
    const int sign = text[at++] == '-' ? -1 : 1;
    const auto h = digits(2);
    if (!h || *h > 15) return std::nullopt;
    int m = 0;
    skip(":");
    if (at < text.size()) {
      const auto given = digits(2);
      if (!given || *given > 59) return std::nullopt;
      m = *given;
    }
    offset = sign * (*h * 60 + m);
  }
  if (at != text.size() || *hour > 23 || *minute > 59 || second > 59) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(*year), std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  return Moment(std::chrono::sys_days(date)) + std::chrono::hours(*hour) + std::chrono::minutes(*minute - offset) +
         std::chrono::seconds(second) + std::chrono::microseconds(micros);
}

bool has_backups(const fs::path& data) {
  std::error_code ec;
  return fs::exists(data / kStanzaNote, ec);
}

std::string guardian_conf(const fs::path& data, bool synchronous, bool read_only) {
  std::string out = "# Written by Enishi's guardian of backups whenever it decides anew.\n";
  std::error_code ec;
  // Until the repository knows this cluster, WAL waits in pg_wal: an empty command archives nothing and forgets nothing.
  const bool known = fs::exists(data / kStanzaNote, ec) && !backrest().empty();
  const auto command =
      known ? fmt::format("nice -n 10 {} --config=\"{}\" --stanza={} archive-push %p", backrest(), (data / kBackrestConf).string(), kStanza)
            : "";
  out += "archive_command = " + conf_value(command) + "\n";
  out += "synchronous_standby_names = " + conf_value(synchronous ? kReceiver : "") + "\n";
  if (read_only) out += "default_transaction_read_only = on\n";
  return out;
}

Repository::Repository(BackupSettings settings, fs::path data, DatabaseUser user)
    : settings_(std::move(settings)), data_(std::move(data)), user_(std::move(user)) {
  std::error_code ec;
  const auto whole = [&ec](const fs::path& path) {
    auto out = fs::weakly_canonical(path, ec);
    return ec ? path : out;
  };
  data_ = whole(data_);
  settings_.folder = whole(settings_.folder.empty() ? data_ / "backup" : settings_.folder);
  settings_.receiver = whole(settings_.receiver.empty() ? settings_.folder / "receiver" : settings_.receiver);
  settings_.key_file = whole(settings_.key_file.empty() ? data_ / "backup.key" : settings_.key_file);
  if (!settings_.config_file.empty()) settings_.config_file = whole(settings_.config_file);
}

Result<Repository> Repository::of_data(const fs::path& data, const DatabaseUser& user) {
  boost::system::error_code bad;
  const auto noted = json::parse(slurp(data / kStanzaNote), bad);
  if (bad || !noted.is_object())
    return fail(Kind::not_found, "DATA_WITHOUT_BACKUP",
                fmt::format("\"{}\" says of no backups (there is no {} in it). If its disk was lost, name the backups: --backup FOLDER "
                            "--backup-key FILE.",
                            data.string(), kStanzaNote));
  BackupSettings settings;
  settings.folder = text_of(noted, "folder");
  settings.receiver = text_of(noted, "receiver");
  settings.key_file = text_of(noted, "key_file");
  settings.config_file = text_of(noted, "config_file");
  return Repository(std::move(settings), data, user);
}

Result<std::string> Repository::key(bool may_make) {
  std::error_code ec;
  auto text = slurp(settings_.key_file);
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  if (text.size() >= 16) return text;
  if (!text.empty() || !may_make || fs::exists(settings_.folder / "repo" / "backup", ec) || fs::exists(data_ / kStanzaNote, ec))
    return fail(
        Kind::unavailable, "BACKUP_KEY_MISSING",
        fmt::format("the backups in \"{}\" are encrypted, and their key is not in \"{}\". Put the copy of it there, or name it with "
                    "--backup-key.",
                    settings_.folder.string(), settings_.key_file.string()));
  text = random_token(48);
  if (auto done = put(settings_.key_file, text + "\n", user_); !done) return tl::make_unexpected(done.error());
  log_info("a key for the backups was made: keep a copy of it on another machine", {{"file", settings_.key_file.string()}});
  return text;
}

Result<std::string> Repository::configuration(const fs::path& home, const fs::path& pgdata, const fs::path& socket, int port,
                                              bool may_make_key) {
  auto secret = key(may_make_key);
  if (!secret) return tl::make_unexpected(secret.error());
  std::map<std::string, std::string> global{
      {"repo1-path", (settings_.folder / "repo").string()},
      {"repo1-cipher-type", "aes-256-cbc"},
      {"repo1-cipher-pass", *secret},
      {"repo1-retention-full-type", "time"},
      {"repo1-retention-full", std::to_string(settings_.days)},
      {"repo1-bundle", "y"},
      {"compress-type", "zst"},
      {"compress-level", "3"},
      {"archive-async", "y"},
      {"archive-timeout", "60"},
      {"archive-get-queue-max", "256MiB"},
      {"process-max", std::to_string(std::max(1U, std::thread::hardware_concurrency() / 2))},
      {"lock-path", (home / "spool" / "lock").string()},
      {"spool-path", (home / "spool").string()},
      {"log-level-file", "off"},
      {"log-level-console", "warn"},
  };
  if (!settings_.config_file.empty()) {
    auto given = read_global(settings_.config_file);
    if (!given) return tl::make_unexpected(given.error());
    for (auto& [name, value] : *given) global[name] = value;
    if (global["repo1-cipher-type"] == "none") global.erase("repo1-cipher-pass");
  }
  std::string out = "# Written by Enishi at every start. Lines of your own belong into a file that --backup-config names.\n[global]\n";
  for (const auto& [name, value] : global) out += name + "=" + value + "\n";
  out += fmt::format("\n[{}]\npg1-path={}\n", kStanza, pgdata.string());
  if (!socket.empty()) out += fmt::format("pg1-socket-path={}\npg1-port={}\npg1-user=postgres\n", socket.string(), port);
  return out;
}

bool Repository::reachable() const {
  std::error_code ec;
  return !fs::exists(data_ / kStanzaNote, ec) || fs::exists(settings_.folder / kBackupNote, ec);
}

Error Repository::gone() const {
  return {Kind::unavailable,
          "BACKUP_GONE",
          fmt::format("the backups are not in \"{}\" any more: is its disk mounted? (The file {} is missing there.)",
                      settings_.folder.string(), kBackupNote),
          {},
          {},
          0};
}

Result<void> Repository::make_folders() {
  boost::system::error_code bad;
  const auto noted = json::parse(slurp(data_ / kStanzaNote), bad);
  const bool moved = !bad && text_of(noted, "folder") != settings_.folder.string();
  if (!moved && !reachable()) return tl::make_unexpected(gone());
  for (const auto& folder : {settings_.folder, settings_.folder / "repo", settings_.receiver, data_ / "spool", data_ / "spool" / "lock"})
    if (auto made = usable_folder(folder, user_); !made) return made;
  return {};
}

Result<void> Repository::prepare(const fs::path& pgdata, const fs::path& socket, int port) {
  if (backrest().empty())
    return fail(Kind::unavailable, "PGBACKREST_MISSING", "there is no pgBackRest on this machine: install the package pgbackrest");
  if (auto made = make_folders(); !made) return made;
  std::error_code ec;
  if (!fs::exists(settings_.folder / kBackupNote, ec))
    if (auto made = append_line(settings_.folder / kBackupNote, R"({"kind":"made","at":")" + to_text(now()) + "\"}", user_); !made)
      return made;
  auto text = configuration(data_, pgdata, socket, port, true);
  if (!text) return tl::make_unexpected(text.error());
  return put(data_ / kBackrestConf, *text, user_);
}

Result<void> Repository::prepare_restore(const fs::path& into) {
  if (backrest().empty())
    return fail(Kind::unavailable, "PGBACKREST_MISSING", "there is no pgBackRest on this machine: install the package pgbackrest");
  std::error_code ec;
  if (settings_.config_file.empty() && !fs::exists(settings_.folder / "repo", ec))
    return fail(Kind::unavailable, "BACKUP_GONE",
                fmt::format("there are no backups in \"{}\": is its disk mounted?", settings_.folder.string()));
  for (const auto& folder : {into / "spool", into / "spool" / "lock"})
    if (auto made = private_folder(folder, user_); !made) return made;
  auto text = configuration(into, into / "pgdata", {}, 0, false);
  if (!text) return tl::make_unexpected(text.error());
  if (!has_backups(data_)) {
    // The data folder is lost: what is restored takes its place, and has its key.
    const auto secret = key(false);
    if (!secret) return tl::make_unexpected(secret.error());
    if (auto done = put(into / "backup.key", *secret + "\n", user_); !done) return done;
  }
  return put(into / kBackrestConf, *text, user_);
}

Finished Repository::run(std::vector<std::string> command, Millis limit, const std::atomic<bool>* stop,
                         std::function<void(std::string_view)> on_output, const fs::path& home, bool gentle) const {
  const auto& from = home.empty() ? data_ : home;
  std::vector<std::string> argv{backrest(), "--config=" + (from / kBackrestConf).string(), std::string("--stanza=") + kStanza};
  argv.insert(argv.end(), std::make_move_iterator(command.begin()), std::make_move_iterator(command.end()));
  Command c{std::move(argv), user_, {}, limit};
  c.on_output = std::move(on_output);
  c.stop = stop;
  c.gentle = gentle;
  return run_command(c);
}

Result<void> Repository::ensure_stanza(const std::atomic<bool>* stop) {
  const auto made = run({"stanza-create"}, Millis(120000), stop);
  if (made.status == 28 || made.output.find("[028]") != std::string::npos || made.output.find("[044]") != std::string::npos)
    return fail(Kind::unavailable, "BACKUP_OTHER_CLUSTER",
                fmt::format("the backups in \"{}\" are of another database; choose another folder with --backup: {}",
                            settings_.folder.string(), tail(made.output, 300)));
  if (made.status != 0)
    return fail(Kind::unavailable, "BACKUP_FAILED", "pgBackRest cannot prepare its repository: " + tail(made.output, 500));
  json::object noted{
      {"folder", settings_.folder.string()}, {"receiver", settings_.receiver.string()}, {"key_file", settings_.key_file.string()}};
  if (!settings_.config_file.empty()) noted["config_file"] = settings_.config_file.string();
  return put(data_ / kStanzaNote, json::serialize(noted) + "\n", user_);
}

Result<RepositoryInfo> Repository::info(const fs::path& home) const {
  const auto asked = run({"info", "--output=json", "--log-level-console=off", "--log-level-stderr=warn"}, Millis(60000), nullptr, {}, home);
  boost::system::error_code bad;
  const auto at = asked.output.find('[');
  const auto all = json::parse(at == std::string::npos ? std::string_view("") : std::string_view(asked.output).substr(at), bad);
  if (asked.status != 0 || bad || !all.is_array())
    return fail(Kind::unavailable, "BACKUP_UNREADABLE", "pgBackRest cannot read its repository: " + tail(asked.output, 500));
  RepositoryInfo out;
  for (const auto& stanza : all.get_array()) {
    if (text_of(stanza, "name") != kStanza) continue;
    const auto& status = stanza.at("status").as_object();
    if (const auto code = status.at("code").to_number<int>(); code != 0 && code != 2 /* no valid backups */)
      return fail(Kind::unavailable, "BACKUP_UNREADABLE",
                  "pgBackRest cannot read its repository: " + std::string(status.at("message").as_string()));
    for (const auto& database : stanza.at("db").as_array())
      out.system = std::to_string(database.at("system-id").to_number<std::uint64_t>());
    for (const auto& archive : stanza.at("archive").as_array()) {
      out.archive = text_of(archive, "id");
      out.oldest_wal = text_of(archive, "min");
      out.newest_wal = text_of(archive, "max");
    }
    for (const auto& b : stanza.at("backup").as_array()) {
      Backup one;
      one.label = text_of(b, "label");
      one.type = text_of(b, "type");
      one.started = seconds_of(b.at("timestamp").at("start"));
      one.finished = seconds_of(b.at("timestamp").at("stop"));
      one.start = Lsn::parse(text_of(b.at("lsn"), "start")).value_or(Lsn{});
      one.stop = Lsn::parse(text_of(b.at("lsn"), "stop")).value_or(Lsn{});
      one.timeline = hex(text_of(b.at("archive"), "stop").substr(0, 8));
      one.bytes = b.at("info").at("size").to_number<std::uint64_t>();
      one.stored_bytes = b.at("info").at("repository").at("delta").to_number<std::uint64_t>();
      const auto* wrong = b.as_object().if_contains("error");
      one.damaged = wrong != nullptr && wrong->is_bool() && wrong->get_bool();
      out.backups.push_back(std::move(one));
    }
  }
  std::sort(out.backups.begin(), out.backups.end(), [](const auto& a, const auto& b) { return a.finished < b.finished; });
  return out;
}

Result<void> Repository::note(const Event& event) const {
  json::object line{{"kind", event.kind}, {"timeline", event.timeline}, {"lsn", event.lsn.str()}, {"at", to_text(event.at)}};
  if (!event.name.empty()) line["name"] = event.name;
  if (!event.point.empty()) line["point"] = event.point;
  auto done = append_line(settings_.folder / kBackupNote, json::serialize(line), user_, false);
  std::error_code ec;
  if (!done && !fs::exists(settings_.folder / kBackupNote, ec)) return tl::make_unexpected(gone());
  return done;
}

std::vector<Event> Repository::events() const {
  std::vector<Event> out;
  std::istringstream lines(slurp(settings_.folder / kBackupNote));
  for (std::string line; std::getline(lines, line);) {
    boost::system::error_code bad;
    const auto v = json::parse(line, bad);
    if (bad || !v.is_object()) continue;
    Event e;
    e.kind = text_of(v, "kind");
    e.name = text_of(v, "name");
    if (const auto* t = v.get_object().if_contains("timeline"); t != nullptr && t->is_number()) e.timeline = t->to_number<std::uint32_t>();
    e.lsn = Lsn::parse(text_of(v, "lsn")).value_or(Lsn{});
    e.at = parse_moment(text_of(v, "at")).value_or(Moment{});
    e.point = text_of(v, "point");
    if (e.point.empty()) e.point = e.name;
    out.push_back(std::move(e));
  }
  return out;
}

std::uint64_t Repository::stored_bytes() const {
  // A program of its own, which can be ended when the disk does not answer.
  const auto said = run_command({{"/usr/bin/du", "--summarize", "--bytes", settings_.folder / "repo"}, user_, {}, Millis(60000)});
  return said.status == 0 ? std::strtoull(said.output.c_str(), nullptr, 10) : 0;
}

}  // namespace enishi::cluster

#include "cli/settings.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <sstream>
#include <vector>

#include <toml++/toml.h>

namespace enishi::cli {
namespace {

constexpr std::array<Setting, 26> kSettings{{
    {"data", "DIR", "Run an own PostgreSQL whose data is in this folder; made on the first start"},
    {"database", "URL",
     "Use this PostgreSQL 15 or newer: a libpq URL or connection string, several hosts work, PG* variables fill what it leaves out"},
    {"listen", "ADDRESS:PORT", "Where to serve HTTP (127.0.0.1:8080); port 0 takes a free one"},
    {"shards", "N", "Event loops (one a core; one for two cores where its own PostgreSQL runs on them too)"},
    {"trust_proxy", "", "Believe X-Forwarded-For and X-Forwarded-Proto: only behind a proxy that sets them"},
    {"demo", "", "With --data: fill a new database with sample data"},
    {"migrate", "", "With --database: bring its schema up to date first (the login must own it)"},
    {"newer_schema_ok", "", "With --database: serve although a newer Enishi has migrated it (a release runs beside the one before it)"},
    {"log_level", "LEVEL", "debug, info, warning or error (info)"},
    {"pg_port", "PORT", "With --data: let its PostgreSQL listen on 127.0.0.1:PORT too (passwords: SCRAM)"},
    {"pg_bin", "DIR", "With --data: folder of PostgreSQL's programs (the newest in /usr/lib/postgresql that pgBackRest can back up)"},
    {"pipelines", "N", "Shared database connections a shard (3)"},
    {"leases", "N", "Exclusive database connections a shard (12)"},
    {"public_url", "URL", "What browsers open, for links and as the origin that writes may come from (http://ADDRESS:PORT)"},
    {"requests_per_second", "N", "Of one session or token on one event loop, before it is told to slow down; 0 is no limit (2000)"},
    {"backup", "DIR", "With --data: folder of the backups, best on another disk (DIR/backup); off makes none"},
    {"backup_config", "FILE", "[global] lines of pgBackRest's that win over Enishi's: an object store, compression, another retention"},
    {"backup_key", "FILE", "File with the key of the backups (DIR/backup.key, made on the first start): keep a copy elsewhere"},
    {"backup_receiver", "DIR", "Folder where the newest WAL is received (the backup folder's receiver/)"},
    {"backup_days", "N", "Days back that can be restored, 1 to 35 (14)"},
    {"backup_outage_hours", "N", "Hours that writes go on while nothing can be backed up; 0 is for ever (24)"},
    {"synchronous", "", "A commit waits until its WAL is with the receiver, too: nothing acknowledged is lost with the database's disk"},
    {"sync_outage_seconds", "N", "Seconds that commits wait for a receiver that is away, before they go on without it (10)"},
    {"drill_days", "N", "Days between two restores for a test; 0 makes none (7)"},
    {"drill_folder", "DIR", "Folder in which those are made, on a disk with room for the database (the data folder)"},
    {"password_cost", "LEVEL", "normal, or low for tests: 48 MiB of memory a hash, or next to nothing (normal)"},
}};

struct Given {
  std::string text;
  std::string source;  ///< "--listen", "ENISHI_LISTEN", "enishi.toml, line 3"
};
using All = std::map<std::string, Given, std::less<>>;

const Setting* find(std::string_view name) {
  const auto at = std::find_if(kSettings.begin(), kSettings.end(), [&](const Setting& s) { return s.name == name; });
  return at == kSettings.end() ? nullptr : &*at;
}

tl::unexpected<Error> invalid(std::string detail) { return fail(Kind::malformed, "CONFIG_INVALID", std::move(detail)); }

std::string environment_name(std::string_view name) {
  std::string out = "ENISHI_";
  for (const char c : name) out.push_back(static_cast<char>(std::toupper(static_cast<unsigned char>(c))));
  return out;
}

Result<void> read_file(const std::string& file, All& all) {
  std::ifstream in(file);
  if (!in) return invalid("cannot read the configuration file \"" + file + "\"");
  std::ostringstream text;
  text << in.rdbuf();
  toml::table table;
  try {
    table = toml::parse(text.str());
  } catch (const toml::parse_error& e) {
    return invalid(fmt::format("{}, line {}: {}", file, e.source().begin.line, e.description()));
  }
  for (const auto& [key, node] : table) {
    const std::string name(key.str());
    const auto source = fmt::format("{}, line {}", file, key.source().begin.line);
    if (find(name) == nullptr) {
      std::vector<std::string_view> known;
      for (const auto& s : kSettings) known.push_back(s.name);
      const auto near = nearest(name, known);
      return invalid(fmt::format("{}: nobody knows the setting \"{}\"{}", source, name,
                                 near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near)));
    }
    std::string value;
    if (const auto* s = node.as_string())
      value = s->get();
    else if (const auto* i = node.as_integer())
      value = std::to_string(i->get());
    else if (const auto* b = node.as_boolean())
      value = b->get() ? "true" : "false";
    else
      return invalid(fmt::format("{}: \"{}\" must be a text, a whole number, true or false", source, name));
    all[name] = {value, source};
  }
  return {};
}

Result<void> read_environment(const char* const* environment, All& all) {
  for (; environment != nullptr && *environment != nullptr; ++environment) {
    const std::string_view entry(*environment);
    const auto name = entry.substr(0, entry.find('='));
    // These two belong to flags of their own: --config, and --source of `enishi takeover`.
    if (!name.starts_with("ENISHI_") || name == "ENISHI_CONFIG" || name == "ENISHI_SOURCE") continue;
    bool known = false;
    for (const auto& s : kSettings)
      if (name == environment_name(s.name)) {
        all[std::string(s.name)] = {std::string(entry.substr(std::min(entry.size(), name.size() + 1))), std::string(name)};
        known = true;
      }
    if (known) continue;
    std::vector<std::string> spelt;
    for (const auto& s : kSettings) spelt.push_back(environment_name(s.name));
    const std::vector<std::string_view> views(spelt.begin(), spelt.end());
    const auto near = nearest(name, views);
    // A variable may be meant for another program of ours; one that is nearly a setting is a slip.
    if (!near.empty()) return invalid(fmt::format("nobody knows the environment variable {}; did you mean {}?", name, near));
    log_warning("an environment variable that no setting reads", {{"name", name}});
  }
  return {};
}

template <class T>
Result<void> number(const All& all, std::string_view name, std::uint64_t least, std::uint64_t most, T& into) {
  const auto at = all.find(name);
  if (at == all.end()) return {};
  std::uint64_t value = 0;
  const auto& text = at->second.text;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc() || end != text.data() + text.size() || value < least || value > most)
    return invalid(fmt::format("{}: \"{}\" is no whole number from {} to {}", at->second.source, text, least, most));
  if constexpr (requires { into.emplace(); })
    into = static_cast<typename T::value_type>(value);
  else
    into = static_cast<T>(value);
  return {};
}

template <class T>
Result<void> yes_or_no(const All& all, std::string_view name, T& into) {
  const auto at = all.find(name);
  if (at == all.end()) return {};
  const auto& text = at->second.text;
  if (text == "true" || text == "1" || text == "yes" || text == "on")
    into = true;
  else if (text == "false" || text == "0" || text == "no" || text == "off")
    into = false;
  else
    return invalid(fmt::format("{}: \"{}\" is neither true nor false", at->second.source, text));
  return {};
}

Result<void> text(const All& all, std::string_view name, std::string& into) {
  if (const auto at = all.find(name); at != all.end()) into = at->second.text;
  return {};
}

Result<void> level(const All& all, Level& into) {
  const auto at = all.find("log_level");
  if (at == all.end()) return {};
  static constexpr std::string_view kNames[] = {"debug", "info", "warning", "error"};
  for (int i = 0; i < 4; ++i)
    if (at->second.text == kNames[i]) {
      into = static_cast<Level>(i);
      return {};
    }
  return invalid(fmt::format("{}: \"{}\" is no level; debug, info, warning and error are", at->second.source, at->second.text));
}

Result<void> password_cost(const All& all, bool& cheap) {
  const auto at = all.find("password_cost");
  if (at == all.end()) return {};
  if (at->second.text != "normal" && at->second.text != "low")
    return invalid(fmt::format("{}: \"{}\" is neither normal nor low", at->second.source, at->second.text));
  cheap = at->second.text == "low";
  return {};
}

}  // namespace

std::span<const Setting> all_settings() { return kSettings; }

std::string_view nearest(std::string_view name, std::span<const std::string_view> known) {
  std::string_view best;
  std::size_t least = name.size() / 3 + 1;
  for (const auto candidate : known) {
    std::vector<std::size_t> row(candidate.size() + 1);
    for (std::size_t j = 0; j <= candidate.size(); ++j) row[j] = j;
    for (std::size_t i = 1; i <= name.size(); ++i) {
      std::size_t diagonal = row[0];
      row[0] = i;
      for (std::size_t j = 1; j <= candidate.size(); ++j) {
        const std::size_t above = row[j];
        row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (name[i - 1] == candidate[j - 1] ? 0U : 1U)});
        diagonal = above;
      }
    }
    if (row.back() <= least && (best.empty() || row.back() < least)) {
      best = candidate;
      least = row.back();
    }
  }
  return best;
}

Result<Settings> read_settings(const std::string& file, const char* const* environment, const Values& flags) {
  All all;
  if (!file.empty())
    if (auto done = read_file(file, all); !done) return tl::make_unexpected(done.error());
  if (auto done = read_environment(environment, all); !done) return tl::make_unexpected(done.error());
  for (const auto& [name, value] : flags) {
    std::string flag = "--" + name;
    std::replace(flag.begin(), flag.end(), '_', '-');
    all[name] = {value, flag};
  }
  Settings s;
  const Result<void> read[] = {
      text(all, "data", s.data),
      text(all, "database", s.database),
      text(all, "listen", s.listen),
      text(all, "pg_bin", s.pg_bin),
      number(all, "shards", 0, 256, s.shards),
      number(all, "pg_port", 1, 65535, s.pg_port),
      number(all, "pipelines", 1, 64, s.pipelines),
      number(all, "leases", 1, 256, s.leases),
      yes_or_no(all, "trust_proxy", s.trust_proxy),
      yes_or_no(all, "demo", s.demo),
      yes_or_no(all, "migrate", s.migrate),
      yes_or_no(all, "newer_schema_ok", s.newer_schema_ok),
      level(all, s.log_level),
      text(all, "public_url", s.public_url),
      number(all, "requests_per_second", 0, 10000000, s.requests_per_second),
      text(all, "backup", s.backup),
      text(all, "backup_config", s.backup_config),
      text(all, "backup_key", s.backup_key),
      text(all, "backup_receiver", s.backup_receiver),
      number(all, "backup_days", 1, 35, s.backup_days),
      number(all, "backup_outage_hours", 0, 10000, s.backup_outage_hours),
      yes_or_no(all, "synchronous", s.synchronous),
      number(all, "sync_outage_seconds", 1, 3600, s.sync_outage_seconds),
      number(all, "drill_days", 0, 365, s.drill_days),
      text(all, "drill_folder", s.drill_folder),
      password_cost(all, s.cheap_passwords),
  };
  for (const auto& one : read)
    if (!one) return tl::make_unexpected(one.error());
  // A flag names the database for this run; what file or environment say about the other way to get one is then left aside.
  if (flags.contains("data") && !flags.contains("database")) s.database.clear();
  if (flags.contains("database") && !flags.contains("data")) s.data.clear();
  if (!s.data.empty() && !s.database.empty())
    return invalid("--data runs an own PostgreSQL and --database uses another one: give one of them");
  return s;
}

}  // namespace enishi::cli

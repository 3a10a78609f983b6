// Settings of the server: file < environment < flag. Every setting has one name, spelt three ways: listen = "…" in the file (TOML),
// ENISHI_LISTEN, --listen. A name nobody knows is an error that names it and the nearest one known.
//
//   auto settings = read_settings({{"listen", "127.0.0.1:9000"}}, environ);
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/log.hpp"

namespace enishi::cli {

struct Settings {
  std::string data;      ///< folder of the embedded PostgreSQL
  std::string database;  ///< libpq connection string or URL of another one
  std::string listen = "127.0.0.1:8080";
  unsigned shards = 0;  ///< 0: one a core
  bool trust_proxy = false;
  bool demo = false;  ///< sample data into a new embedded database
  bool migrate = false;
  bool newer_schema_ok = false;
  Level log_level = Level::info;
  std::optional<std::uint16_t> pg_port;
  std::string pg_bin;
  unsigned pipelines = 3;               ///< shared connections a shard
  unsigned leases = 12;                 ///< exclusive connections a shard
  std::string public_url;               ///< what browsers open; empty: http:// and `listen`
  unsigned requests_per_second = 2000;  ///< of one session or token on one shard; 0: no limit
  bool cheap_passwords = false;         ///< password_cost = "low"
  std::string backup;                   ///< folder of the backups; empty: DIR/backup; "off": none
  std::string backup_config, backup_key, backup_receiver;
  unsigned backup_days = 14;
  unsigned backup_outage_hours = 24;
  std::optional<bool> synchronous;  ///< unset: as the profile has it
  unsigned sync_outage_seconds = 10;
  unsigned drill_days = 7;
  std::string drill_folder;  ///< where drills restore; empty: the data folder
};

struct Setting {
  std::string_view name;   ///< as in the file; the flag has - for _
  std::string_view value;  ///< placeholder in --help; empty for yes or no
  std::string_view help;
};

/// All of them, in the order --help lists them.
std::span<const Setting> all_settings();

/// The nearest of `known` to `name`, or empty when none is near (edit distance above a third of its length).
std::string_view nearest(std::string_view name, std::span<const std::string_view> known);

using Values = std::map<std::string, std::string, std::less<>>;

/// Merges the file (empty: none), ENISHI_… of `environment` ("NAME=value", ended by null) and `flags`, and reads the values. CONFIG_INVALID
/// names the wrong value and where it came from.
Result<Settings> read_settings(const std::string& file, const char* const* environment, const Values& flags);

}  // namespace enishi::cli

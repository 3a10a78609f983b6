// The subcommands of `enishi`: one file each. A command returns the process's exit code, or an Error that main.cpp prints.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "cli/demo/demo.hpp"
#include "cli/demo/legacy/legacy.hpp"
#include "cli/settings.hpp"

namespace enishi::cli {

Result<int> serve(Settings settings);

struct DatabaseCommand {
  enum class What { status, migrate, roles, check } what = What::status;
  bool json = false;
};
Result<int> database(Settings settings, DatabaseCommand command);

struct UserCommand {
  enum class What { link, add } what = What::link;
  std::string login, display_name;
  std::vector<std::string> roles;
  std::optional<std::string> team;
};
/// Prints a one-time link, for a user there is or for a new one.
Result<int> user(Settings settings, UserCommand command);

/// Domains out of legacy systems: docs/takeover/.
struct TakeoverCommand {
  enum class What { plan, scaffold, start, status, rejects, accept, retry } what = What::status;
  std::string mapping;  ///< folder
  std::string source;   ///< connection string of the legacy system
  std::string sql;      ///< folder for what the source's people have to run
  std::string system, domain, root, state = "OPEN", reason, key;
  std::int64_t reject = 0;
  bool again = false;
  bool json = false;
};
Result<int> takeover_command(Settings settings, TakeoverCommand command);
struct HistoryCommand {
  bool json = false;
  std::string anchor;  ///< NUMBER:DIGEST that an earlier check printed
};
/// Checks the chain over history; 1 when a row is not what was sealed.
Result<int> verify_history(Settings settings, HistoryCommand command);
/// Erases again what a list of erasures says, in a database restored from before them.
Result<int> reapply_erasures(Settings settings, std::string list);

/// Comparison and moves of a domain between owners; `fence` prints what the source's owner installs.
struct TakeoverMove {
  enum class What { none, fence, diff, repair, switch_over, revert, complete, unlock, abandon } what = What::none;
  std::string domain, mapping, login;
  int records_per_second = 0;
  int hold_milliseconds = 2000;
  int lapse_seconds = 10;
  bool resume = false;
  bool despite_differences = false;
  bool json = false;
};
Result<int> takeover_move(Settings settings, TakeoverMove wanted);

/// JSON array of {method, path, operation}: everything that is mounted.
Result<int> routes();
Result<int> version();

/// A PostgreSQL with its backups and no HTTP but /metrics and /healthz: the basic profile's first unit.
Result<int> cluster_command(Settings settings);

struct RestoreCommand {
  std::string to = "latest", into;
  std::optional<unsigned> timeline;
  bool list = false, promote = false, even_if_bad = false, no_check = false, json = false;
};
/// A new cluster beside the old one, or the list of what can be restored, or the swap.
Result<int> restore_command(Settings settings, RestoreCommand command);

/// A restore for a test, now.
Result<int> drill_command(Settings settings, bool json);

/// Asks the running Enishi for a backup, or for a named mark.
Result<int> backup_command(Settings settings, std::string mark);

/// Exit code 0 for green, 1 for yellow, 2 for red.
Result<int> status_command(Settings settings, bool json);

/// Fills an empty database with sample data, migrating it first. `load_demo` is the part that serve --demo uses, as the schema's owner.
Result<int> demo_command(Settings settings, demo::DemoOptions options);
Result<demo::DemoReport> load_demo(const std::string& owner, demo::DemoOptions options);

/// A sample legacy company in a PostgreSQL of its own, kept open until SIGTERM if `stay`; and what its users do all day.
Result<int> legacy_command(Settings settings, demo::LegacyOptions options, bool stay);
Result<int> legacy_traffic_command(Settings settings, demo::TrafficOptions options);

/// `target` is the connection string of the command line; says that a password in it can be read by everybody on the machine.
void warn_about_password(std::string_view target);

}  // namespace enishi::cli

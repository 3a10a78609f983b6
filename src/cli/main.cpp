#include <fmt/format.h>
#include <fmt/ranges.h>
#include <malloc.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <iostream>

#include "cli/commands.hpp"
#include "cluster/process.hpp"

namespace {

using namespace enishi;
using namespace enishi::cli;

constexpr const char* kAbout = R"(Enishi: a CRM for inside sales. One program; PostgreSQL is the only server it needs.

  enishi serve --data ./enishi-data         try it: runs a PostgreSQL of its own in that folder
  enishi serve --database postgresql://enishi_server@db.example/enishi
                                            on a PostgreSQL you have (`enishi db roles` prints its set-up)

Settings come from a file (--config, TOML), then the environment (ENISHI_LISTEN …), then flags; the later one wins.
Logs are JSON lines on stderr. Health: /healthz, /readyz. Metrics: /metrics.)";

std::string flag_of(std::string_view name) {
  std::string flag = "--" + std::string(name);
  std::replace(flag.begin(), flag.end(), '_', '-');
  return flag;
}

/// The settings of `names` (all when empty) as flags of `command`.
void add_settings(CLI::App& command, Values& flags, std::string& file, std::initializer_list<std::string_view> names = {}) {
  command.add_option("--config", file, "Read settings from this TOML file")->envname("ENISHI_CONFIG")->type_name("FILE");
  for (const auto& setting : all_settings()) {
    if (names.size() > 0 && std::find(names.begin(), names.end(), setting.name) == names.end()) continue;
    const std::string name(setting.name), help(setting.help);
    if (setting.value.empty()) {
      command.add_flag_callback(flag_of(name), [&flags, name] { flags[name] = "true"; }, help);
    } else {
      command.add_option_function<std::string>(
                 flag_of(name), [&flags, name](const std::string& value) { flags[name] = value; }, help)
          ->type_name(std::string(setting.value));
    }
  }
}

/// "… not expected: --lisen" gets the flag it may have meant.
std::string with_suggestion(std::string message) {
  const auto at = message.find("--");
  if (at == std::string::npos) return message;
  const auto word = message.substr(at, message.find_first_of(" =", at) - at);
  std::vector<std::string> spelt{"--config", "--json", "--help"};
  for (const auto& setting : all_settings()) spelt.push_back(flag_of(setting.name));
  const std::vector<std::string_view> known(spelt.begin(), spelt.end());
  const auto near = nearest(word, known);
  return near.empty() || near == word ? message : message + " (did you mean " + std::string(near) + "?)";
}

/// What is wrong with the words before the first flag, or nothing: `db bogus`, `db`.
std::string wrong_command(const CLI::App& app, int argc, char** argv) {
  const CLI::App* at = &app;
  std::string said = "enishi";
  for (int i = 1; i <= argc; ++i) {
    const auto below = at->get_subcommands([](const CLI::App*) { return true; });
    if (below.empty()) return {};
    std::vector<std::string> known;
    for (const auto* one : below) known.push_back(one->get_name());
    const std::vector<std::string_view> names(known.begin(), known.end());
    const auto choices = fmt::format("{}", fmt::join(names, ", "));
    if (i == argc || argv[i][0] == '-') return i == 1 ? std::string() : fmt::format("`{}` needs one of: {}", said, choices);
    const std::string word = argv[i];
    const auto next = std::find(known.begin(), known.end(), word);
    if (next == known.end()) {
      const auto near = nearest(word, names);
      return fmt::format("\"{}\" is no command of `{}`{}; there are: {}", word, said,
                         near.empty() ? "" : " (did you mean " + std::string(near) + "?)", choices);
    }
    at = below[next - known.begin()];
    said += " " + word;
  }
  return {};
}

int run(int argc, char** argv) {
  CLI::App app(kAbout, "enishi");
  app.require_subcommand(0, 1);
  Values flags;
  std::string file;
  DatabaseCommand db_command;

  auto* serve_command =
      app.add_subcommand("serve", "Serve the API and the web client; ends with SIGTERM after finishing what is in flight");
  add_settings(*serve_command, flags, file);
  auto* db = app.add_subcommand("db", "Look after the database: status, migrate, roles, check");
  db->require_subcommand(1);
  auto* status = db->add_subcommand("status", "Which schema version the database has, and what is pending");
  add_settings(*status, flags, file, {"data", "database", "pg_bin", "log_level"});
  status->add_flag("--json", db_command.json, "Print JSON");
  auto* migrate = db->add_subcommand("migrate", "Bring the schema up to date; the login must own the database, and be no superuser");
  add_settings(*migrate, flags, file, {"data", "database", "pg_bin", "log_level"});
  auto* check = db->add_subcommand("check", "Prepare every statement of this program against the schema");
  add_settings(*check, flags, file, {"data", "database", "pg_bin", "log_level"});
  auto* roles = db->add_subcommand("roles", "Print the SQL that sets up roles and database on a PostgreSQL server of yours");
  auto* demo = app.add_subcommand("demo", "Fill an empty database with sample data: customers, inquiries, calls and visits of a month");
  demo::DemoOptions demo_options;
  add_settings(*demo, flags, file, {"data", "database", "pg_bin", "log_level"});
  demo->add_option("--customers", demo_options.customers, "How many; inquiries are twice and calls about five times as many")
      ->check(CLI::Range(10, 20'000'000))
      ->capture_default_str();
  demo->add_option("--seed", demo_options.seed, "The same seed, size and end give the same data")->capture_default_str();
  demo->add_option("--until", demo_options.until, "End of the month, in seconds since 1970; now if left out")->type_name("SECONDS");
  demo->require_subcommand(0, 1);
  demo::LegacyOptions legacy_options;
  bool legacy_leave = false;
  auto* legacy = demo->add_subcommand(
      "legacy", "Run a sample legacy company: three grown databases in a PostgreSQL of their own, to try a takeover on");
  add_settings(*legacy, flags, file, {"data", "database", "pg_port", "pg_bin", "log_level"});
  legacy->add_option("--customers", legacy_options.customers, "How many")->check(CLI::Range(10, 20'000'000))->capture_default_str();
  legacy->add_option("--seed", legacy_options.seed, "The same seed, size and end give the same rows")->capture_default_str();
  legacy->add_option("--until", legacy_options.until, "The company's last day, in seconds since 1970; now if left out")
      ->type_name("SECONDS");
  legacy->add_flag("--leave", legacy_leave, "End when the databases are made, instead of keeping them open");
  demo::TrafficOptions traffic_options;
  auto* traffic = demo->add_subcommand(
      "legacy-traffic", "Work in the sample legacy company as its users do, until stopped; prints what was committed as JSON");
  add_settings(*traffic, flags, file, {"data", "database", "log_level"});
  traffic->add_option("--rate", traffic_options.rate, "Transactions a second over all its databases")
      ->check(CLI::Range(0.1, 20000.0))
      ->capture_default_str();
  traffic->add_option("--seconds", traffic_options.seconds, "End after so long; 0: when stopped")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  traffic->add_option("--transactions", traffic_options.transactions, "End after so many; 0: no limit")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  traffic->add_option("--connections", traffic_options.connections, "To each database; the first takes twice as many")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  traffic->add_option("--seed", traffic_options.seed, "Where to begin drawing")->capture_default_str();
  UserCommand user_command;
  auto* user_group = app.add_subcommand("user", "Let somebody in: a one-time link to choose a password, or a new user");
  user_group->require_subcommand(1);
  auto* user_link = user_group->add_subcommand("link", "Print a fresh one-time link for a user; the ones before it end");
  auto* user_add = user_group->add_subcommand("add", "Make a user and print their one-time link");
  for (auto* sub : {user_link, user_add}) {
    add_settings(*sub, flags, file, {"data", "database", "pg_bin", "log_level", "listen", "public_url"});
    sub->add_option("login", user_command.login, "Login name")->required()->type_name("LOGIN");
  }
  user_add->add_option("--name", user_command.display_name, "Name that others see")->required()->type_name("NAME");
  user_add->add_option("--role", user_command.roles, "Role; may be given several times")->required()->type_name("ROLE");
  user_add->add_option("--team", user_command.team, "Name of the team")->type_name("TEAM");
  bool as_json = false;
  std::string mark;
  RestoreCommand restoring;
  auto* cluster_group = app.add_subcommand("cluster", "Run a PostgreSQL with its backups, for a server of its own: the basic profile");
  add_settings(*cluster_group, flags, file,
               {"data", "pg_bin", "pg_port", "listen", "log_level", "backup", "backup_config", "backup_key", "backup_receiver",
                "backup_days", "backup_outage_hours", "synchronous", "sync_outage_seconds", "drill_days", "drill_folder"});
  auto* restore_group = app.add_subcommand(
      "restore", "Make a new cluster as it was at a moment, beside the old one; --list says what can be reached, --promote swaps it in");
  add_settings(*restore_group, flags, file, {"data", "pg_bin", "log_level", "backup", "backup_config", "backup_key", "backup_receiver"});
  restore_group
      ->add_option(
          "--to", restoring.to,
          "A time (2026-11-22 13:05:01.123456+09; Japan time without an offset), a position (0/3A4F2B8), the name of a mark, or latest")
      ->type_name("TIME|LSN|NAME")
      ->capture_default_str();
  restore_group->add_option("--into", restoring.into, "The new data folder; it must be empty or not exist")->type_name("DIR");
  restore_group->add_option("--timeline", restoring.timeline, "Of an earlier restore's history; the one that was live then, if left out")
      ->type_name("N");
  restore_group->add_flag("--list", restoring.list, "Print the window, backups and marks");
  restore_group->add_flag(
      "--promote", restoring.promote,
      "Make --into the database of --data and keep the old one beside it; without --data, make it a normal data folder");
  restore_group->add_flag("--even-if-bad", restoring.even_if_bad, "With --promote: although a check of the restore was bad");
  restore_group->add_flag("--no-check", restoring.no_check, "Leave out pg_amcheck, counts and the history's chain");
  restore_group->add_flag("--json", restoring.json, "Print JSON");
  auto* drill_group = app.add_subcommand("drill", "Restore a random moment, check it, remove it: a backup nobody tried is none");
  add_settings(*drill_group, flags, file, {"data", "pg_bin", "log_level", "drill_folder"});
  drill_group->add_flag("--json", as_json, "Print JSON");
  auto* backup_group =
      app.add_subcommand("backup", "Ask the Enishi that runs on --data for a backup now, or for a named mark to restore to");
  add_settings(*backup_group, flags, file, {"data", "log_level"});
  backup_group->add_option("--mark", mark, "Set a mark of this name instead")->type_name("NAME");
  auto* status_group =
      app.add_subcommand("status", "How safe the data is: problems with their way out, window, backups, receiver, drill, disks");
  add_settings(*status_group, flags, file, {"data", "log_level"});
  status_group->add_flag("--json", as_json, "Print JSON");
  TakeoverCommand takeover_options;
  auto* takeover_group = app.add_subcommand("takeover", "Take a domain over from a legacy system: plan, mirror, compare, switch, and back");
  takeover_group->require_subcommand(1);
  const auto takeover_sub = [&](const char* name, const char* help, TakeoverCommand::What what) {
    auto* sub = takeover_group->add_subcommand(name, help);
    sub->final_callback([&takeover_options, what] { takeover_options.what = what; });
    add_settings(*sub, flags, file, {"data", "database", "pg_bin", "log_level"});
    return sub;
  };
  auto* takeover_plan = takeover_sub("plan", "Check a mapping against both databases; changes neither", TakeoverCommand::What::plan);
  auto* takeover_start = takeover_sub("start", "Begin to mirror a domain, or go on with one that stopped", TakeoverCommand::What::start);
  takeover_start->add_flag("--again", takeover_options.again,
                           "Also after the takeover was given up: the source's records replace what was changed here since");
  auto* takeover_scaffold =
      takeover_sub("scaffold", "Write the first draft of a mapping from the source's catalog", TakeoverCommand::What::scaffold);
  for (auto* sub : {takeover_plan, takeover_start, takeover_scaffold}) {
    sub->add_option("--mapping", takeover_options.mapping, "Folder of the mapping")->required()->type_name("DIR");
    sub->add_option("--source", takeover_options.source, "Connection string of the legacy system's PostgreSQL")
        ->required()
        ->envname("ENISHI_SOURCE")
        ->type_name("URL");
  }
  takeover_plan->add_option("--sql", takeover_options.sql, "Write what the source's people have to run into this folder")->type_name("DIR");
  takeover_scaffold->add_option("--system", takeover_options.system, "Name of the source")->required()->type_name("NAME");
  takeover_scaffold->add_option("--domain", takeover_options.domain, "customer, inquiry or goods")->required()->type_name("NAME");
  takeover_scaffold->add_option("--root", takeover_options.root, "Table of which one row is one record")
      ->required()
      ->type_name("SCHEMA.TABLE");
  auto* takeover_status = takeover_sub("status", "How far each domain is", TakeoverCommand::What::status);
  auto* takeover_rejects = takeover_sub("rejects", "Records that Enishi refused", TakeoverCommand::What::rejects);
  takeover_rejects->add_option("--state", takeover_options.state, "OPEN, FIXED or ACCEPTED")
      ->check(CLI::IsMember({"OPEN", "FIXED", "ACCEPTED"}))
      ->capture_default_str();
  auto* takeover_accept = takeover_sub("accept", "Leave a reject out, with a reason", TakeoverCommand::What::accept);
  auto* accept_key = takeover_accept->add_option("--key", takeover_options.key, "The record's key in the legacy system")->type_name("KEY");
  accept_key->needs(takeover_accept->add_option("--domain", takeover_options.domain, "Its domain")->type_name("NAME"));
  takeover_accept->add_option("reject", takeover_options.reject, "Or the number of the reject")
      ->check(CLI::PositiveNumber)
      ->excludes(accept_key)
      ->type_name("ID");
  takeover_accept->add_option("--reason", takeover_options.reason, "Why")->required()->type_name("TEXT");
  auto* takeover_retry = takeover_sub("retry", "Try the open rejects of a domain again now", TakeoverCommand::What::retry);
  takeover_retry->add_option("--domain", takeover_options.domain, "Which")->required()->type_name("NAME");
  takeover_rejects->add_option("--domain", takeover_options.domain, "Only of this one")->type_name("NAME");
  for (auto* sub : {takeover_plan, takeover_status, takeover_rejects}) sub->add_flag("--json", takeover_options.json, "Print JSON");
  TakeoverMove move_options;
  const auto move_sub = [&](const char* name, const char* help, TakeoverMove::What what) {
    auto* sub = takeover_group->add_subcommand(name, help);
    sub->final_callback([&move_options, what] { move_options.what = what; });
    add_settings(*sub, flags, file, {"data", "database", "pg_bin", "log_level"});
    sub->add_flag("--json", move_options.json, "Print JSON");
    return sub;
  };
  auto* takeover_fence =
      takeover_group->add_subcommand("fence", "Print the SQL of the fence that the owner of the source's tables installs");
  takeover_fence->final_callback([&move_options] { move_options.what = TakeoverMove::What::fence; });
  takeover_fence->add_option("--mapping", move_options.mapping, "Folder of the mapping")->required()->type_name("DIR");
  takeover_fence->add_option("--login", move_options.login, "Enishi's login at the source")->required()->type_name("NAME");
  auto* takeover_diff = move_sub("diff", "Compare every record of a domain on both sides", TakeoverMove::What::diff);
  takeover_diff->add_option("--rate", move_options.records_per_second, "Records a second at most")->type_name("N");
  takeover_diff->add_flag("--resume", move_options.resume, "Go on with a comparison that was cut short");
  auto* takeover_repair =
      move_sub("repair", "Make the other side like the owner's where the last comparison found differences, and compare again",
               TakeoverMove::What::repair);
  auto* takeover_switch = move_sub("switch", "Make Enishi the owner of a domain", TakeoverMove::What::switch_over);
  auto* takeover_revert = move_sub("revert", "Give a domain back to its legacy system", TakeoverMove::What::revert);
  auto* takeover_complete = move_sub("complete", "End a takeover for good: no way back", TakeoverMove::What::complete);
  auto* takeover_unlock = move_sub("unlock",
                                   "Let a domain be written again that became read-only because this database is older than the last "
                                   "switch: its legacy system owns it again",
                                   TakeoverMove::What::unlock);
  takeover_revert->add_flag("--despite-differences", move_options.despite_differences,
                            "Also when records differ at the source: what stands there is taken");
  auto* takeover_abandon = move_sub("abandon", "Give a takeover up before its switch: the records stay as they are and become Enishi's own",
                                    TakeoverMove::What::abandon);
  for (auto* sub : {takeover_diff, takeover_repair, takeover_switch, takeover_revert, takeover_complete, takeover_unlock, takeover_abandon})
    sub->add_option("--domain", move_options.domain, "Which")->required()->type_name("NAME");
  for (auto* sub : {takeover_switch, takeover_revert})
    sub->add_option("--hold", move_options.hold_milliseconds, "Milliseconds that writes may be held")
        ->check(CLI::Range(100, 60000))
        ->capture_default_str();
  takeover_switch->add_option("--lapse", move_options.lapse_seconds, "Seconds after which the fence opens by itself unless it is sealed")
      ->check(CLI::Range(1, 600))
      ->capture_default_str();
  HistoryCommand history_command;
  auto* history = app.add_subcommand("history", "The journal of every change: verify that it is what was written");
  history->require_subcommand(1);
  auto* history_verify =
      history->add_subcommand("verify", "Check the chain of seals over the history; names every row that is not what was sealed");
  add_settings(*history_verify, flags, file, {"data", "database", "pg_bin", "log_level"});
  history_verify->add_flag("--json", history_command.json, "Print JSON");
  history_verify->add_option("--anchor", history_command.anchor, "Head of an earlier check: the chain must still contain it")
      ->type_name("NUMBER:DIGEST");
  std::string erasure_list;
  auto* erasures = app.add_subcommand("erasures", "People erased by law: do it again in a restored database");
  erasures->require_subcommand(1);
  auto* erasures_reapply =
      erasures->add_subcommand("reapply", "Erase again what the list beside the backups says and the database does not know");
  add_settings(*erasures_reapply, flags, file, {"data", "database", "pg_bin", "log_level"});
  erasures_reapply->add_option("list", erasure_list, "The list: BACKUP/erasures.jsonl")->required()->type_name("FILE");
  auto* routes_command = app.add_subcommand("routes", "Print every route as JSON: method, path, operation");
  auto* version_command = app.add_subcommand("version", "Print the version");

  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& e) {
    return app.exit(e);
  } catch (const CLI::CallForAllHelp& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    const auto wrong = wrong_command(app, argc, argv);
    fmt::print(stderr, "enishi: {}\nRun `enishi --help`.\n", wrong.empty() ? with_suggestion(e.what()) : wrong);
    return 2;
  }

  Result<int> done = 0;
  if (version_command->parsed()) {
    done = version();
  } else if (routes_command->parsed()) {
    done = routes();
  } else if (serve_command->parsed() || db->parsed() || demo->parsed() || user_group->parsed() || history->parsed() || erasures->parsed() ||
             cluster_group->parsed() || restore_group->parsed() || takeover_group->parsed() || drill_group->parsed() ||
             backup_group->parsed() || status_group->parsed()) {
    auto settings = read_settings(file, environ, flags);
    if (settings)
      for (const auto& folder : {settings->backup, restoring.into, settings->data}) cluster::work_as_owner_of(folder);
    if (!settings) {
      fmt::print(stderr, "enishi: {}\n", settings.error().detail);
      return 2;
    }
    if (const auto at = flags.find("database"); at != flags.end()) warn_about_password(at->second);
    if (serve_command->parsed()) {
      done = serve(std::move(*settings));
    } else if (legacy->parsed()) {
      done = legacy_command(std::move(*settings), std::move(legacy_options), !legacy_leave);
    } else if (traffic->parsed()) {
      done = legacy_traffic_command(std::move(*settings), std::move(traffic_options));
    } else if (cluster_group->parsed()) {
      if (!flags.contains("listen") && settings->listen == Settings{}.listen) settings->listen = "127.0.0.1:8081";
      done = cli::cluster_command(std::move(*settings));
    } else if (restore_group->parsed()) {
      done = cli::restore_command(std::move(*settings), std::move(restoring));
    } else if (drill_group->parsed()) {
      done = cli::drill_command(std::move(*settings), as_json);
    } else if (backup_group->parsed()) {
      done = cli::backup_command(std::move(*settings), mark);
    } else if (status_group->parsed()) {
      done = cli::status_command(std::move(*settings), as_json);
    } else if (demo->parsed()) {
      done = demo_command(std::move(*settings), demo_options);
    } else if (takeover_group->parsed()) {
      // What came from ENISHI_SOURCE nobody else can read.
      if (std::any_of(argv, argv + argc, [&](std::string_view word) { return word.ends_with(takeover_options.source); }))
        warn_about_password(takeover_options.source);
      done = move_options.what != TakeoverMove::What::none ? takeover_move(std::move(*settings), std::move(move_options))
                                                           : takeover_command(std::move(*settings), std::move(takeover_options));
    } else if (history->parsed()) {
      done = verify_history(std::move(*settings), std::move(history_command));
    } else if (erasures->parsed()) {
      done = reapply_erasures(std::move(*settings), std::move(erasure_list));
    } else if (user_group->parsed()) {
      user_command.what = user_add->parsed() ? UserCommand::What::add : UserCommand::What::link;
      done = user(std::move(*settings), std::move(user_command));
    } else {
      using What = DatabaseCommand::What;
      db_command.what = migrate->parsed() ? What::migrate : roles->parsed() ? What::roles : check->parsed() ? What::check : What::status;
      done = database(std::move(*settings), db_command);
    }
  } else {
    fmt::print("{}", app.help());
    return 0;
  }
  if (!done) {
    fmt::print(stderr, "enishi: {} ({})\n", done.error().detail, done.error().code);
    return done.error().code == "CONFIG_INVALID" ? 2 : 1;
  }
  return *done;
}

}  // namespace

namespace enishi::cli {

void warn_about_password(std::string_view target) {
  bool inside = target.find("password=") != std::string_view::npos;
  if (const auto scheme = target.find("://"); scheme != std::string_view::npos) {
    const auto authority = target.substr(scheme + 3, target.find_first_of("/?", scheme + 3) - scheme - 3);
    const auto at = authority.rfind('@');
    inside = inside || (at != std::string_view::npos && authority.substr(0, at).find(':') != std::string_view::npos);
  }
  if (inside)
    log_warning(
        "the password on the command line can be read by everybody on this machine; use PGPASSWORD, a passfile (~/.pgpass), "
        "ENISHI_DATABASE or ENISHI_SOURCE");
}

}  // namespace enishi::cli

int main(int argc, char** argv) {
  // A heap an idle thread would keep 64 MB of address space and never give memory back; two are enough for a few event loops.
  mallopt(M_ARENA_MAX, 2);
  mallopt(M_TRIM_THRESHOLD, 4 << 20);
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    fmt::print(stderr, "enishi: {}\n", e.what());
    return 1;
  }
}

#include <fmt/format.h>

#include <boost/json.hpp>
#include <filesystem>
#include <fstream>

#include "base/log.hpp"
#include "cli/commands.hpp"
#include "cli/offline.hpp"
#include "cli/target.hpp"
#include "takeover/control.hpp"
#include "takeover/plan.hpp"

namespace enishi::cli {
namespace {

namespace json = boost::json;

/// server.sql and owner.sql for the source's people; an empty file where nothing is to be done.
Result<void> write_sql(const takeover::Plan& plan, const std::string& folder) {
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  const std::pair<const char*, const std::string*> all[] = {{"server.sql", &plan.server_sql}, {"owner.sql", &plan.owner_sql}};
  for (const auto& [name, text] : all) {
    const auto path = std::filesystem::path(folder) / name;
    std::ofstream file(path, std::ios::binary);
    file << *text;
    if (!file.flush()) return fail(Kind::unavailable, "FILE_UNWRITABLE", "cannot write " + path.string());
  }
  return {};
}

Result<int> print_plan(const takeover::Plan& plan, const TakeoverCommand& command) {
  if (!command.sql.empty())
    if (auto written = write_sql(plan, command.sql); !written) return tl::make_unexpected(written.error());
  const bool as_json = command.json;
  if (as_json) {
    fmt::print("{}\n", plan.json());
    return plan.good() ? 0 : 1;
  }
  int errors = 0, warnings = 0;
  for (const auto& f : plan.findings) {
    errors += f.level == "ERROR" ? 1 : 0;
    warnings += f.level == "WARNING" ? 1 : 0;
    fmt::print("{:<8}{:<24}{:<32}{}\n", f.level, f.code, f.subject, f.detail);
  }
  fmt::print("\n{} root rows; the copy takes about {:.0f} s. {} errors, {} warnings.\n", plan.rows, plan.seconds, errors, warnings);
  if (!command.sql.empty()) {
    fmt::print("What the source's people have to run is in {0}/server.sql and {0}/owner.sql.\n", command.sql);
    return errors == 0 ? 0 : 1;
  }
  if (!plan.server_sql.empty())
    fmt::print("\n-- For whoever runs the source's server, statement by statement (alter system is not for a transaction):\n{}",
               plan.server_sql);
  if (plan.owner_sql_needed) fmt::print("\n-- For the owner of the source's tables:\n{}\n", plan.owner_sql);
  return errors == 0 ? 0 : 1;
}

std::string text_of(const json::object& o, std::string_view name) {
  const auto* v = o.if_contains(name);
  if (v == nullptr || v->is_null()) return "-";
  return v->is_string() ? std::string(v->get_string()) : json::serialize(*v);
}

void print_status(const std::string& text) {
  const auto rows = json::parse(text);
  if (rows.get_array().empty()) fmt::print("No domain is taken over; `enishi takeover start` begins one.\n");
  for (const auto& row : rows.get_array()) {
    const auto& o = row.get_object();
    fmt::print("{} from {}: {}, {}\n", text_of(o, "domain"), text_of(o, "system"), text_of(o, "state"), text_of(o, "phase"));
    fmt::print("  records {}   open rejects {}   chunks {}/{}   seconds left {}\n", text_of(o, "records"), text_of(o, "rejects_open"),
               text_of(o, "chunks_done"), text_of(o, "chunks"), text_of(o, "seconds_left"));
    fmt::print("  position {}   behind {} bytes   last change {}   heard {}\n", text_of(o, "position"), text_of(o, "lag_bytes"),
               text_of(o, "source_at"), text_of(o, "seen_at"));
    if (text_of(o, "stop_code") != "-") fmt::print("  STOPPED {}: {}\n", text_of(o, "stop_code"), text_of(o, "stop_detail"));
    if (text_of(o, "foreign_changes") != "0")
      fmt::print("  ALARM: {} changes at the source while Enishi owns it, last {}\n", text_of(o, "foreign_changes"),
                 text_of(o, "foreign_at"));
  }
}

void print_rejects(const std::string& text) {
  const auto rows = json::parse(text);
  if (rows.get_array().empty()) fmt::print("None.\n");
  for (const auto& row : rows.get_array()) {
    const auto& o = row.get_object();
    fmt::print("{:>8}  {} {}  {}  tried {} times\n          {}\n", text_of(o, "id"), text_of(o, "domain"), text_of(o, "legacy_key"),
               text_of(o, "code"), text_of(o, "attempts"), text_of(o, "detail"));
  }
}

/// A connection string that leads nowhere is told soon: what follows is as patient as with a source that is restarted.
Task<> reached(takeover::Source& source) { (void)co_await source.db().lease(Deadline::in(Millis(10000))); }

/// Work on a source from the command line: a loop of its own.
template <class T>
Result<T> with_source(takeover::SourceConfig config, const std::function<Task<Result<T>>(takeover::Source&)>& work) {
  Shard shard(0);
  Offload offload(1, 16);
  takeover::Source source(shard, offload, std::move(config));
  try {
    run_task(shard.context(), reached(source));
    auto done = run_task(shard.context(), work(source));
    source.db().close();
    return done;
  } catch (const pg::Unavailable& e) {
    return fail(Kind::unavailable, "SOURCE_UNAVAILABLE", std::string("the source cannot be reached: ") + e.what());
  } catch (const pg::TimedOut& e) {
    return fail(Kind::unavailable, "SOURCE_TIMEOUT", std::string("the source took too long: ") + e.what());
  } catch (const pg::Broken& e) {
    return fail(Kind::internal, "SOURCE_REFUSED", std::string("the source refused: ") + e.what());
  }
}

Task<Result<takeover::Plan>> planned(pg::Database* db, takeover::Source* source, std::shared_ptr<const takeover::Mapping> mapping) {
  co_return co_await takeover::make_plan(*db, *source, std::move(mapping));
}

Result<int> plan(const pg::Config& local, const TakeoverCommand& command) {
  auto mapping = takeover::read_mapping(command.mapping);
  if (!mapping) return tl::make_unexpected(mapping.error());
  auto shared = std::make_shared<const takeover::Mapping>(std::move(*mapping));
  Shard shard(0);
  Offload offload(1, 16);
  pg::Database db(shard, offload, local);
  takeover::Source source(shard, offload, {.system = shared->system, .conninfo = command.source});
  try {
    run_task(shard.context(), reached(source));
    auto made = run_task(shard.context(), planned(&db, &source, shared));
    db.close();
    source.db().close();
    if (!made) return tl::make_unexpected(made.error());
    return print_plan(*made, command);
  } catch (const pg::Unavailable& e) {
    return fail(Kind::unavailable, "DATABASE_UNAVAILABLE", std::string("a database cannot be reached: ") + e.what());
  } catch (const pg::TimedOut& e) {
    return fail(Kind::unavailable, "DATABASE_TIMEOUT", std::string("a database took too long: ") + e.what());
  }
}

Result<int> write_scaffold(const TakeoverCommand& command) {
  auto files = with_source<takeover::MappingFiles>({.system = command.system, .conninfo = command.source}, [&](takeover::Source& source) {
    return takeover::scaffold(source, command.system, command.domain, command.root);
  });
  if (!files) return tl::make_unexpected(files.error());
  const std::filesystem::path folder(command.mapping);
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  const std::pair<const char*, const std::string*> all[] = {
      {"mapping.toml", &files->toml}, {"forward.sql", &files->forward}, {"reverse.sql", &files->reverse}};
  for (const auto& [name, text] : all)
    if (std::filesystem::exists(folder / name))
      return fail(Kind::conflict, "FILE_EXISTS", (folder / name).string() + " is there already; name another folder");
  for (const auto& [name, text] : all) {
    std::ofstream file(folder / name, std::ios::binary);
    file << *text;
    if (!file.flush()) return fail(Kind::unavailable, "FILE_UNWRITABLE", "cannot write " + (folder / name).string());
  }
  fmt::print("Wrote a draft to {}. Look at every column, then: enishi takeover plan --mapping {} --source …\n", command.mapping,
             command.mapping);
  return 0;
}

}  // namespace

Result<int> takeover_command(Settings settings, TakeoverCommand command) {
  using What = TakeoverCommand::What;
  if (command.what == What::scaffold) return write_scaffold(command);
  auto target = find_target(settings, "enishi_app", false);
  if (!target) return tl::make_unexpected(target.error());
  pg::Config config;
  config.conninfo = target->conninfo;
  if (!settings.database.empty()) config.role = "enishi_app";
  const auto finish = [&target](Result<int> done) {
    if (target->started) target->started->stop();
    return done;
  };
  if (command.what == What::plan) return finish(plan(config, command));
  auto done = with_database<std::string>(config, [&command](pg::Database& db) -> Task<Result<std::string>> {
    struct Work {
      static Task<Result<std::string>> run(pg::Database* local, TakeoverCommand wanted) {
        switch (wanted.what) {
          case What::status:
            co_return co_await takeover::status(*local);
          case What::rejects:
            co_return co_await takeover::rejects(*local, wanted.domain, wanted.state, 1000);
          case What::accept: {
            if (wanted.reject == 0) {
              auto found = co_await takeover::open_reject(*local, wanted.domain, wanted.key);
              if (!found) co_return tl::make_unexpected(found.error());
              wanted.reject = *found;
            }
            auto accepted = co_await takeover::accept_reject(*local, wanted.reject, wanted.reason, std::nullopt);
            if (!accepted) co_return tl::make_unexpected(accepted.error());
            co_return std::string();
          }
          case What::retry: {
            auto count = co_await takeover::retry_rejects(*local, wanted.domain);
            if (!count) co_return tl::make_unexpected(count.error());
            co_return std::to_string(*count);
          }
          default: {
            if (wanted.source.find("password=") != std::string::npos)
              log_warning("the source's password is kept in Enishi's database with the connection string; name a passfile in it instead");
            auto mapping = takeover::read_mapping(wanted.mapping);
            if (!mapping) co_return tl::make_unexpected(mapping.error());
            auto begun = co_await takeover::begin(*local, std::move(*mapping), wanted.source, wanted.again);
            if (!begun) co_return tl::make_unexpected(begun.error());
            co_return std::string();
          }
        }
      }
    };
    return Work::run(&db, command);
  });
  if (!done) return finish(tl::make_unexpected(done.error()));
  if (command.json && !done->empty())
    fmt::print("{}\n", *done);
  else if (command.what == What::status)
    print_status(*done);
  else if (command.what == What::rejects)
    print_rejects(*done);
  else if (command.what == What::retry)
    fmt::print("{} rejects are tried again.\n", *done);
  else if (command.what == What::accept)
    fmt::print("Accepted.\n");
  else
    fmt::print("Begun. A running `enishi serve` does the work; `enishi takeover status` shows how far it is.\n");
  return finish(0);
}

}  // namespace enishi::cli

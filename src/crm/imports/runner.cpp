#include "crm/imports/runner.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "base/log.hpp"
#include "base/metrics.hpp"
#include "crm/imports/imports.sql.hpp"
#include "crm/imports/plan.hpp"

namespace enishi::crm::imports {
namespace {

namespace s = sql::imports;

/// An import as it was taken, for as long as it runs.
struct Run {
  Uuid id, run_id, media_source;
  std::string owner;
  std::optional<std::string> team;
  Mapping mapping;
  csv::ReadOptions options;
  bool header = true, customer_initiated = true, has_content = true;
  std::size_t columns = 0;
  std::int64_t next_row = 1, rows_in = 0;
  std::string received_by_default;  ///< of leads that do not say when they came: when the file did
  Definitions definitions;
  std::string bytes;
  std::unique_ptr<Rows> rows;
  double lease_seconds = 0;
};

enum class Stood { here, lost, done_before };

/// What is no row's fault: the import waits and goes on later.
struct Later {
  std::string why;
};

const pg::Rows& got(const Result<pg::Rows>& rows) {
  if (rows) return *rows;
  throw Later{rows.error().code + ": " + rows.error().detail};
}

std::string bytes_of(std::string_view hex) {
  if (!hex.starts_with("\\x")) throw std::runtime_error("bytea does not come as hex");
  hex.remove_prefix(2);
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::string out(hex.size() / 2, '\0');
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<char>(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
  return out;
}

/// Blocking: up to 20 MB are turned from hex, and rows that were done before are read past.
void open_file(Run& run, std::string_view hex) {
  run.bytes = bytes_of(hex);
  run.rows = std::make_unique<Rows>(run.bytes, run.options, run.header);
  for (std::int64_t n = 1; n < run.next_row; ++n)
    if (!run.rows->next()) throw std::runtime_error(fmt::format("the file has fewer rows than the {} that were done", run.next_row - 1));
}

std::vector<Read> read_chunk(Run& run, std::size_t most) {
  std::vector<Read> out;
  out.reserve(most);
  while (out.size() < most) {
    auto item = run.rows->next();
    if (!item) break;
    auto read = read_lead(std::move(*item), run.mapping, run.columns, run.definitions);
    if (auto* lead = std::get_if<Lead>(&read); lead != nullptr && !lead->received_at) lead->received_at = run.received_by_default;
    out.push_back(std::move(read));
  }
  return out;
}

using Chunk = std::span<const Read>;

const Position& position(const Read& read) {
  return std::visit([](const auto& r) -> const Position& { return r.at; }, read);
}

/// Rows of the chunk as the statements that look around want them, their references and their postal codes.
struct Questions {
  JsonRows rows;
  std::vector<std::string> refs, postal_codes;
};

Questions questions(Chunk chunk) {
  Questions out;
  for (const auto& read : chunk) {
    const auto* lead = std::get_if<Lead>(&read);
    if (lead == nullptr) continue;
    std::string e164s = "[";
    for (const auto& phone : lead->phones) e164s += (e164s.size() > 1 ? ",\"" : "\"") + phone.e164 + "\"";
    out.rows.row()
        .raw("n", std::to_string(lead->at.number))
        .text("name_key", lead->name_key)
        .raw("e164s", e164s + "]")
        .text("received_at", *lead->received_at);
    if (lead->external_ref) out.refs.push_back(*lead->external_ref);
    if (!lead->address.whole.empty() && !lead->address.postal_code.empty()) out.postal_codes.push_back(lead->address.postal_code);
  }
  return out;
}

Known known(const std::vector<pg::Rows>& answers, std::size_t first) {
  Known out;
  const auto& moments = answers[first];
  for (std::size_t i = 0; i < moments.size(); ++i)
    out.moments[moments.integer(i, 0)] = {std::string(moments.text(i, 1)), std::string(moments.text(i, 2))};
  const auto& matches = answers[first + 1];
  for (std::size_t i = 0; i < matches.size(); ++i)
    out.matches[matches.integer(i, 0)].push_back({Uuid::parse(matches.text(i, 1)).value(), Uuid::parse(matches.text(i, 2))});
  const auto& refs = answers[first + 2];
  for (std::size_t i = 0; i < refs.size(); ++i)
    out.refs[std::string(refs.text(i, 0))] = {Uuid::parse(refs.text(i, 1)).value(), Uuid::parse(refs.text(i, 2)).value()};
  const auto& towns = answers[first + 3];
  for (std::size_t i = 0; i < towns.size(); ++i)
    out.towns[std::string(towns.text(i, 0))].push_back(
        {std::string(towns.text(i, 1)), std::string(towns.text(i, 2)), std::string(towns.text(i, 3))});
  return out;
}

/// The statements that write a plan, those without rows left out.
std::vector<pg::Step> writes(const Plan& plan, const Run& run, std::int64_t next_row) {
  std::vector<pg::Step> steps;
  const auto write = [&](const JsonRows& rows, const pg::Statement& statement, auto&&... more) {
    if (!rows.empty()) steps.push_back({statement, pg::params(rows.str(), more...)});
  };
  write(plan.customers, s::insert_customers, run.team);
  write(plan.fills, s::fill_customers);
  write(plan.phones, s::insert_phones);
  write(plan.fill_phones, s::fill_phones);
  write(plan.addresses, s::insert_addresses);
  write(plan.fill_addresses, s::fill_addresses);
  write(plan.emails, s::insert_emails);
  write(plan.inquiries, s::insert_inquiries, run.media_source, run.customer_initiated, run.team);
  write(plan.items, s::insert_items);
  write(plan.inquiries, s::insert_first_calls, run.media_source, run.team);
  write(plan.rows, s::insert_rows, run.id);
  steps.push_back({s::advance, pg::params(run.id, next_row, run.lease_seconds, plan.created, plan.updated, plan.skipped, plan.rejected)});
  return steps;
}

/// One transaction: looks who is there, decides, writes. Its references live in store(), which waits for it.
Task<Result<Stood>> transact(pg::Lease& lease, const Run& run, Chunk chunk, Deadline deadline) {
  const auto first = position(chunk.front()).number;
  const auto next = position(chunk.back()).number + 1;
  const auto ask = questions(chunk);
  std::vector<pg::Step> look;
  look.push_back({s::one_at_a_time, {}});
  look.push_back({s::context, pg::params(run.owner, run.id)});
  look.push_back({s::standing, pg::params(run.id)});
  look.push_back({s::moments, pg::params(ask.rows.str(), run.definitions.time_zone)});
  look.push_back({s::matches, pg::params(ask.rows.str(), run.media_source, run.definitions.time_zone)});
  look.push_back({s::seen_refs, pg::params(run.media_source, ask.refs)});
  look.push_back({s::towns, pg::params(ask.postal_codes)});
  auto seen = co_await lease.batch(std::move(look), deadline);
  if (!seen) co_return tl::make_unexpected(std::move(seen.error()));
  const auto& standing = (*seen)[2];
  if (standing.empty() || standing.text(0, 0) != run.run_id.str()) co_return Stood::lost;
  if (const auto at = standing.integer(0, 1); at != first) co_return at == next ? Stood::done_before : Stood::lost;

  Plan plan(known(*seen, 3));
  for (const auto& read : chunk) plan.add(read);
  plan.finish();
  auto written = co_await lease.batch(writes(plan, run, next), deadline);
  if (!written) co_return tl::make_unexpected(std::move(written.error()));
  co_return Stood::here;
}

bool fault_of_rows(const Error& error) {
  return error.kind != Kind::unavailable && error.kind != Kind::internal && error.code != "LEGACY_OWNED" &&
         error.code != "DOMAIN_READ_ONLY" && error.code != "SERIALIZATION_FAILURE" && error.code != "LOCKED";
}

/// Stores a chunk; one that the database refuses is cut in halves down to the row it refuses, which is rejected. False: somebody else has
/// the import.
Task<bool> store(pg::Database& db, const Run& run, Chunk chunk) {
  if (chunk.empty()) co_return true;
  const auto deadline = Deadline::in(Millis(60000));
  pg::WriteOptions options{.deadline = deadline, .repeatable = true};  // a second time finds that the first one moved next_row
  std::function<Task<Result<Stood>>(pg::Lease&)> body = [&run, chunk, deadline](pg::Lease& lease) {
    return transact(lease, run, chunk, deadline);
  };
  std::optional<Error> error;
  try {
    auto stood = co_await db.transaction<Stood>(body, options);
    if (stood) co_return *stood != Stood::lost;
    error = std::move(stood.error());
  } catch (const pg::TimedOut&) {
    if (chunk.size() == 1) throw;
  }
  if (error && !fault_of_rows(*error)) throw Later{error->code + ": " + error->detail};
  if (chunk.size() > 1) {
    const auto half = chunk.size() / 2;
    const bool here = co_await store(db, run, chunk.first(half));
    co_return here&& co_await store(db, run, chunk.subspan(half));
  }
  const auto* lead = std::get_if<Lead>(&chunk.front());
  if (lead == nullptr)
    throw Later{error->code + ": " + error->detail};  // rejected already: it is not the row that the database does not take
  const std::vector<Read> refused{Refusal{lead->at, error->code, error->detail, lead->cells}};
  co_return co_await store(db, run, Chunk(refused));
}

Task<std::unique_ptr<Run>> take(pg::Database& db, double lease_seconds) {
  const auto run_id = Uuid::make();
  auto taken = co_await db.run(s::take_import, pg::params(run_id, lease_seconds));
  const auto& row = got(taken);
  if (row.empty()) co_return nullptr;
  auto run = std::make_unique<Run>();
  run->run_id = run_id;
  run->id = Uuid::parse(row.text(0, 0)).value();
  run->media_source = Uuid::parse(row.text(0, 1)).value();
  run->mapping = mapping_of(row.text(0, 2));
  run->options.encoding = row.text(0, 3) == "CP932" ? csv::Encoding::CP932 : csv::Encoding::UTF8;
  run->options.delimiter = row.text(0, 4)[0];
  run->header = row.boolean(0, 5);
  run->columns = static_cast<std::size_t>(row.integer(0, 6));
  run->next_row = row.integer(0, 7);
  run->rows_in = row.integer(0, 8);
  run->owner = row.text(0, 9);
  run->team = row.maybe(0, 10);
  run->received_by_default = row.text(0, 11);
  run->customer_initiated = row.boolean(0, 12);
  run->has_content = row.boolean(0, 13);
  run->lease_seconds = lease_seconds;
  co_return run;
}

Task<> load(pg::Database& db, Offload& offload, Run& run) {
  auto defined = co_await db.run(s::definitions, {});
  const auto& d = got(defined);
  run.definitions = definitions_of(d.text(0, 0), d.text(0, 1), d.text(0, 2));
  auto content = co_await db.run(s::content, pg::params(run.id), Deadline::in(Millis(60000)));
  const auto hex = got(content).text(0, 0);
  Run* const opened = &run;
  co_await offload.run([opened, hex] { open_file(*opened, hex); });
}

/// The next chunk, read while the one before is stored.
struct Ahead {
  std::vector<Read> chunk;
  std::exception_ptr failed;
  bool done = false;
  Event ready;
};

Task<> read_into(Offload& offload, std::shared_ptr<Run> run, std::size_t most, std::shared_ptr<Ahead> ahead) {
  try {
    ahead->chunk = co_await offload.run([run, most] { return read_chunk(*run, most); });
  } catch (...) {
    ahead->failed = std::current_exception();
  }
  ahead->done = true;
  ahead->ready.notify_all();
}

/// One at a time for a run: it goes on in the file where the one before stopped.
Task<std::shared_ptr<Ahead>> read_ahead(Offload& offload, std::shared_ptr<Run> run, std::size_t most) {
  auto ahead = std::make_shared<Ahead>();
  asio::co_spawn(co_await asio::this_coro::executor, read_into(offload, std::move(run), most, ahead), asio::detached);
  co_return ahead;
}

Task<std::vector<Read>> taken(std::shared_ptr<Ahead> ahead) {
  while (!ahead->done) (void)co_await ahead->ready.wait(Deadline::in(Millis(60000)));
  if (ahead->failed) std::rethrow_exception(ahead->failed);
  co_return std::move(ahead->chunk);
}

metrics::Counter& rows_done() {
  static auto& counter = metrics::counter("enishi_import_rows_total", "Rows of imports that are accounted for");
  return counter;
}

}  // namespace

void Runner::stop() {
  stopping_ = true;
  stopped_.notify_all();
}

Task<> Runner::run() {
  while (!stopping_) {
    bool worked = false;
    std::string trouble;
    try {
      worked = co_await run_next();
    } catch (const Later& later) {
      trouble = later.why;
    } catch (const std::exception& e) {
      trouble = e.what();
    }
    if (!trouble.empty()) log_warning("imports wait", {{"error", trouble.substr(0, 500)}});
    if (!worked && !stopping_) (void)co_await stopped_.wait(Deadline::in(trouble.empty() ? options_.poll : Millis(5000)));
  }
}

Task<bool> Runner::run_next(std::size_t most_chunks) {
  const auto began = steady_now();
  std::shared_ptr<Run> run = co_await take(db_, std::chrono::duration<double>(options_.lease).count());
  if (!run) co_return false;
  std::string broken, later;
  bool mine = true;
  try {
    if (!run->has_content) throw pg::Broken("the file of the import is not there any more");
    co_await load(db_, offload_, *run);
    std::size_t chunks = 0;
    auto ahead = co_await read_ahead(offload_, run, options_.chunk);
    while (mine && !stopping_) {
      const auto chunk = co_await taken(ahead);
      if (chunk.empty()) break;
      if (chunks++ == most_chunks) co_return true;
      ahead = co_await read_ahead(offload_, run, options_.chunk);
      mine = co_await store(db_, *run, Chunk(chunk));
      run->next_row = position(chunk.back()).number + 1;
      if (mine) rows_done().add(chunk.size());
    }
    if (!mine) co_return true;
    if (run->next_row == run->rows_in + 1) {
      auto done = co_await db_.run(s::finish, pg::params(run->id, run->run_id));
      (void)got(done);
      log_info(
          "import done",
          {{"import_id", run->id.str()}, {"rows", run->rows_in}, {"seconds", std::chrono::duration<double>(steady_now() - began).count()}});
      co_return true;
    }
    if (!stopping_) throw pg::Broken(fmt::format("the file has {} rows now, and had {} when it came", run->next_row - 1, run->rows_in));
  } catch (const Later& wait) {
    later = wait.why;
  } catch (const OffloadFull& e) {
    later = e.what();
  } catch (const pg::Unavailable& e) {
    later = e.what();
  } catch (const pg::TimedOut& e) {
    later = e.what();
  } catch (const pg::OutcomeUnknown& e) {
    later = e.what();
  } catch (const std::exception& e) {
    broken = e.what();
  }
  if (!broken.empty()) {
    log_error("import failed", {{"import_id", run->id.str()}, {"error", broken}});
    auto failed = co_await db_.run(s::fail_import, pg::params(run->id, run->run_id, broken.substr(0, 1000)));
    (void)got(failed);
    co_return true;
  }
  if (!later.empty()) log_warning("import waits", {{"import_id", run->id.str()}, {"error", later}});
  auto back = co_await db_.run(s::give_back, pg::params(run->id, run->run_id, later.empty() ? 0.0 : 5.0,
                                                        later.empty() ? pg::Param() : pg::Param(later.substr(0, 1000))));
  (void)got(back);
  co_return later.empty();
}

}  // namespace enishi::crm::imports

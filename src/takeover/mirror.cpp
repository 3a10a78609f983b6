#include "takeover/mirror.hpp"

#include <algorithm>
#include <atomic>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/json.hpp>
#include <future>
#include <set>
#include <unordered_set>

#include "base/log.hpp"
#include "base/metrics.hpp"
#include "takeover/source.sql.hpp"
#include "takeover/state.sql.hpp"
#include "takeover/write_through.hpp"

namespace enishi::takeover {
namespace {

namespace statements = sql::state;
namespace at_source = sql::source;

constexpr std::size_t kKeysAFetch = 2000;
constexpr Millis kLongStatement{600000};

struct Metrics {
  metrics::Counter &batches, &rows, &stale, &rejects, &unseen;
  metrics::Gauge& retained;
  explicit Metrics(const std::string& domain)
      : batches(metrics::counter("enishi_takeover_batches_total", "Batches of a source's stream that were stored", {{"domain", domain}})),
        rows(metrics::counter("enishi_takeover_records_total", "Records of a source that were looked at", {{"domain", domain}})),
        stale(metrics::counter("enishi_takeover_stale_total", "Records that had a newer version here already", {{"domain", domain}})),
        rejects(metrics::counter("enishi_takeover_rejects_total", "Records that were refused here", {{"domain", domain}})),
        unseen(
            metrics::counter("enishi_takeover_invisible_total", "Fetches that came before their commit was visible", {{"domain", domain}})),
        retained(metrics::gauge("enishi_takeover_retained_wal_bytes", "WAL that the slot holds back at the source", {{"domain", domain}})) {
  }
};

struct Dynamic {
  std::string name, text;
  pg::Statement statement;
  Dynamic(std::string n, std::string t) : name(std::move(n)), text(std::move(t)), statement(name, pg::Rowcount::many, false, text) {}
};

std::string comma(const std::vector<std::string>& parts) {
  std::string out;
  for (const auto& part : parts) out += (out.empty() ? "" : ", ") + part;
  return out;
}

/// Nothing is wrong with the domain: the other side is away or busy.
bool passing(const Error& error) {
  if (error.kind == Kind::unavailable) return true;
  for (const auto* code : {"SLOT_ACTIVE", "SERIALIZATION_FAILURE", "LOCKED", "GATE_SHUT", "EPOCH_MOVED"})
    if (error.code == code) return true;
  return false;
}

std::string given_up(std::int64_t retained, std::int64_t most) {
  return "the slot held back " + std::to_string(retained) + " bytes of the source's WAL, more than the limit of " + std::to_string(most) +
         "; it was dropped. `enishi takeover start` makes a new one and looks at every key again.";
}

}  // namespace

struct Mirror::Table {
  std::vector<std::string> primary_key;
  std::map<std::string, std::pair<std::string, std::int64_t>> types;  ///< column → (type, oid)
};

struct Mirror::State {
  std::shared_ptr<const Mapping> mapping;
  std::unique_ptr<Source> source;
  std::unique_ptr<pg::ChangeStream> stream;
  pg::Lease lock;
  std::string conninfo, phase, slot, publication, identity, position, ownership;
  int era = 1, number = 0;
  std::int64_t epoch = 0, rate = 0, most_wal = 0;
  pgwire::Lsn stored = 0;  ///< `position` when this session began: everything before it was dealt with
  bool began = false;      ///< a slot was made once
  bool copied = false;
  bool copying = false;  ///< in this session
  std::string files;     ///< the mapping as it is stored; another one makes another session
  bool locked = false;
  std::map<std::string, Table, std::less<>> tables;
  std::unique_ptr<Dynamic> bounds, keys_first, keys_between, keys_last, keys_all;
  struct Chunk {
    int number;
    std::optional<std::string> from, to;
  };
  std::deque<Chunk> chunks;
  std::optional<Error> failed;
  std::exception_ptr thrown;
  int children = 0;
  bool ending = false;
  Event changed;
  Pace pace;
  SteadyTime advanced_at{};
};

Mirror::Mirror(pg::Database& local, Shard& shard, Offload& offload, std::string domain)
    : local_(local), shard_(shard), offload_(offload), domain_(std::move(domain)) {}
Mirror::~Mirror() = default;

void Mirror::stop() {
  stopping_ = true;
  stopped_.notify_all();
  if (state_) {
    state_->ending = true;
    state_->changed.notify_all();
    if (state_->stream) state_->stream->close();
    if (state_->source) state_->source->db().shut_down();  // who waits for a source that is away waits no more
  }
}

Task<> Mirror::run() {
  Millis wait{100};
  while (!stopping_) {
    state_ = std::make_shared<State>();
    std::optional<Error> error;
    std::string trouble;
    try {
      auto ended = co_await session();
      if (!ended) error = std::move(ended.error());
    } catch (const pg::Broken& e) {
      error = Error{Kind::internal, "SOURCE_CHANGED", e.what(), {}, {}, 0};
    } catch (const std::exception& e) {
      trouble = e.what();
    }
    // What the session started has to be gone before its state is.
    state_->ending = true;
    state_->changed.notify_all();
    if (state_->stream) state_->stream->close();
    while (state_->children > 0) co_await state_->changed.wait(Deadline::in(Millis(1000)));
    if (state_->failed && !error && !stopping_) error = state_->failed;
    state_->stream.reset();
    try {
      // The connection goes back to the pool, and would keep the lock.
      if (state_->locked)
        (void)co_await state_->lock.run(statements::unlock_domain, pg::params(state_->number), Deadline::in(Millis(5000)));
    } catch (const std::exception& e) {
      log_debug("takeover: the lock went with its connection", {{"because", e.what()}});
    }
    state_->lock = pg::Lease();
    if (stopping_) break;
    if (error && error->code == "TAKEOVER_ENDED") break;
    if (error && !passing(*error)) {
      log_error("takeover stopped", {{"domain", domain_}, {"code", error->code}, {"detail", error->detail}});
      bool noted = false;
      try {
        noted = (co_await local_.run(statements::stop, pg::params(domain_, error->code, error->detail), soon())).has_value();
      } catch (const std::exception& e) {
        trouble = e.what();
      }
      if (noted) break;
    } else if (error) {
      trouble = error->code + ": " + error->detail;
    }
    if (!trouble.empty()) {
      log_warning("takeover waits", {{"domain", domain_}, {"because", trouble}});
      wait = std::min(wait * 2, Millis(5000));
    } else {
      wait = Millis(500);
    }
    co_await stopped_.wait(Deadline::in(wait));
  }
  state_.reset();
}

Task<Result<bool>> Mirror::load() {
  auto& s = *state_;
  auto row = co_await local_.run(statements::load, pg::params(domain_), soon());
  if (!row) co_return tl::make_unexpected(std::move(row.error()));
  if (row->empty()) co_return false;
  auto files = files_from_json(row->text(0, 2));
  if (!files) co_return tl::make_unexpected(std::move(files.error()));
  auto mapping = parse_mapping(std::move(*files));
  if (!mapping) co_return tl::make_unexpected(std::move(mapping.error()));
  s.mapping = std::make_shared<const Mapping>(std::move(*mapping));
  s.files = row->text(0, 2);
  s.conninfo = row->text(0, 1);
  s.phase = row->text(0, 3);
  s.slot = row->text(0, 4);
  s.publication = row->text(0, 5);
  s.era = static_cast<int>(row->integer(0, 6));
  s.identity = row->text(0, 7);
  s.position = row->text(0, 8);
  s.stored = pgwire::read_lsn(s.position).value_or(0);
  s.began = row->boolean(0, 9);
  s.rate = row->integer(0, 10);
  s.most_wal = row->integer(0, 11);
  s.ownership = row->text(0, 12);
  s.number = static_cast<int>(row->integer(0, 13));
  s.copied = row->boolean(0, 14);
  co_return s.phase != "STOPPED" && s.phase != "DONE" && s.ownership != "LOCAL";
}

Task<Result<void>> Mirror::session() {
  auto s = state_;
  auto known = co_await load();
  if (!known) co_return tl::make_unexpected(std::move(known.error()));
  if (!*known) co_return fail(Kind::conflict, "TAKEOVER_ENDED", "");
  s->lock = co_await local_.lease(soon());
  auto locked = co_await s->lock.run(statements::lock_domain, pg::params(s->number), soon());
  if (!locked) co_return tl::make_unexpected(std::move(locked.error()));
  if (!locked->boolean(0, 0)) {  // another instance has it
    co_await stopped_.wait(Deadline::in(Millis(1000)));
    co_return Result<void>();
  }
  s->locked = true;
  // The lock came after the state was read.
  if (known = co_await load(); !known || !*known) co_return known ? Result<void>() : tl::make_unexpected(std::move(known.error()));
  SourceConfig config{.system = s->mapping->system,
                      .conninfo = s->conninfo,
                      .leases = static_cast<unsigned>(s->mapping->copy.workers) + 4,
                      .statement_timeout = kLongStatement};
  s->source = std::make_unique<Source>(shard_, offload_, std::move(config));
  if (auto read = co_await read_catalog(); !read) co_return read;
  if (s->phase == "CREATING")
    if (auto made = co_await create_slot(); !made) co_return made;

  // Before the stream brings them as anybody's: history names who made them.
  if (!s->mapping->reverse.empty() && s->ownership == "LEGACY")
    if (auto finished = co_await finish_intents(local_, *s->source, s->mapping, Millis(0), soon()); !finished && !passing(finished.error()))
      log_warning("takeover: edits that were cut short wait", {{"domain", domain_}, {"because", finished.error().detail}});
  pg::ReplicationConfig replication{.conninfo = s->conninfo};
  pgwire::Collector::Options options;
  options.by_transaction = true;
  for (const auto& table : s->mapping->tables) {
    const auto dot = table.name.find('.');
    auto columns = table.root;
    for (const auto& column : s->tables[table.name].primary_key)
      if (std::find(columns.begin(), columns.end(), column) == columns.end()) columns.push_back(column);
    options.tables.push_back({table.name.substr(0, dot), table.name.substr(dot + 1), std::move(columns)});
  }
  for (int attempt = 0;; ++attempt) {
    auto connection = co_await pg::Replication::connect(shard_.executor(), offload_, replication);
    auto identity = co_await connection->identify(soon());
    if (!identity) co_return tl::make_unexpected(std::move(identity.error()));
    const auto now = identity->system_id + "/" + std::to_string(identity->timeline);
    Result<void> started;
    if (now != s->identity) {
      started = fail(Kind::conflict, "SOURCE_FAILED_OVER", "the source is " + now + " and was " + s->identity + " when its slot was made");
    } else {
      // A slot that was confirmed further than what is stored here would leave out what lies between, without a word.
      auto past = co_await s->source->db().run(at_source::slot_past, pg::params(s->slot, s->position), soon());
      if (!past) co_return tl::make_unexpected(std::move(past.error()));
      if (!past->empty()) {
        started = fail(Kind::conflict, "SLOT_AHEAD",
                       "the slot is at " + std::string(past->text(0, 0)) + ", and this database, which was restored, at " + s->position);
      } else {
        pg::StartReplication what{.slot = s->slot, .publications = {s->publication}};
        started = co_await connection->start(std::move(what), soon());
      }
    }
    if (started) {
      s->stream = std::make_unique<pg::ChangeStream>(std::move(connection), options);
      break;
    }
    const auto& code = started.error().code;
    if (attempt > 0 || (code != "SLOT_MISSING" && code != "SLOT_LOST" && code != "SLOT_AHEAD" && code != "SOURCE_FAILED_OVER"))
      co_return started;
    log_error("the source lost its place: a new era begins, and every key is looked at again",
              {{"domain", domain_}, {"code", code}, {"detail", started.error().detail}});
    auto told = co_await local_.run(statements::alarm, pg::params(domain_, "SLOT_LOST", code + ": " + started.error().detail), soon());
    if (!told) co_return tl::make_unexpected(std::move(told.error()));
    connection.reset();
    auto forgotten = co_await local_.run(statements::forget_slot, pg::params(domain_), soon());
    if (!forgotten) co_return tl::make_unexpected(std::move(forgotten.error()));
    if (auto made = co_await create_slot(); !made) co_return made;
  }
  ++s->children;
  spawn(shard_, "takeover watch", watch(s));
  start_copy();
  Result<void> ended;
  try {
    std::exception_ptr first;
    try {
      ended = co_await stream();
    } catch (const asio::multiple_exceptions& several) {
      first = several.first_exception();
    }
    if (first) std::rethrow_exception(first);
  } catch (const pg::ConnectionLost&) {
    if (s->failed) co_return tl::make_unexpected(*s->failed);
    if (s->thrown) std::rethrow_exception(s->thrown);
    throw;
  }
  if (s->failed) co_return tl::make_unexpected(*s->failed);
  co_return ended;
}

// The source's catalog -------------------------------------------------------------------------------------------------

Task<Result<void>> Mirror::read_catalog() {
  auto& s = *state_;
  std::vector<std::string> names;
  for (const auto& table : s.mapping->tables) names.push_back(table.name);
  auto rows = co_await s.source->db().run(at_source::columns, pg::params(names), soon());
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  s.tables.clear();
  std::map<std::string, std::map<std::int64_t, std::string>> keys;
  for (std::size_t i = 0; i < rows->size(); ++i) {
    const std::string table(rows->text(i, 0)), column(rows->text(i, 1));
    s.tables[table].types[column] = {std::string(rows->text(i, 2)), rows->integer(i, 3)};
    if (rows->integer(i, 5) > 0) keys[table][rows->integer(i, 5)] = column;
  }
  for (auto& [table, columns] : keys)
    for (auto& [place, column] : columns) s.tables[table].primary_key.push_back(column);
  for (const auto& table : s.mapping->tables) {
    const auto& there = s.tables[table.name].types;
    if (there.empty())
      co_return fail(Kind::conflict, "TABLE_MISSING", "the source has no table " + table.name + ", or shows none to this user");
    for (const auto* columns : {&table.mapped, &table.root})
      for (const auto& column : *columns)
        if (!there.contains(column))
          co_return fail(Kind::conflict, "COLUMN_CHANGED", table.name + " has no column " + column + " any more");
  }
  const auto& root = s.tables[s.mapping->root_table];
  std::vector<std::string> columns, texts, from, to;
  for (std::size_t i = 0; i < s.mapping->root_key.size(); ++i) {
    const auto name = quote_identifier(s.mapping->root_key[i]);
    const auto& type = root.types.at(s.mapping->root_key[i]).first;
    columns.push_back(name);
    texts.push_back(name + "::text");
    from.push_back("$" + std::to_string(i + 1) + "::" + type);
    to.push_back("$" + std::to_string(i + 1 + s.mapping->root_key.size()) + "::" + type);
  }
  const bool single = columns.size() == 1;
  const auto text = single ? texts[0] : "jsonb_build_array(" + comma(texts) + ")::text";
  const auto row = "(" + comma(columns) + ")", table = quote_table(s.mapping->root_table),
             name = "mapping." + s.mapping->system + "." + s.mapping->domain;
  const auto keys_of = [&](const std::string& where) { return "select " + text + " from " + table + where; };
  s.bounds = std::make_unique<Dynamic>(name + ".bounds", "select " + text + " from (select " + comma(columns) +
                                                             ", row_number() over (order by " + comma(columns) + ") as n from " + table +
                                                             ") x where (n - 1) % $1::bigint = 0 order by n");
  s.keys_all = std::make_unique<Dynamic>(name + ".keys_all", keys_of(""));
  s.keys_last = std::make_unique<Dynamic>(name + ".keys_last", keys_of(" where " + row + " >= (" + comma(from) + ")"));
  s.keys_first = std::make_unique<Dynamic>(name + ".keys_first", keys_of(" where " + row + " < (" + comma(from) + ")"));
  s.keys_between = std::make_unique<Dynamic>(name + ".keys_between",
                                             keys_of(" where " + row + " >= (" + comma(from) + ") and " + row + " < (" + comma(to) + ")"));
  co_return Result<void>();
}

Result<void> Mirror::check_shapes(const pgwire::ChangeBatch& batch) const {
  const auto& s = *state_;
  for (const auto& shape : batch.described) {
    const auto* table = s.mapping->table(shape->full_name());
    if (table == nullptr) continue;
    const auto& before = s.tables.find(table->name)->second.types;
    for (const auto& column : table->mapped) {
      const auto found = std::find_if(shape->columns.begin(), shape->columns.end(), [&](const auto& c) { return c.name == column; });
      if (found == shape->columns.end())
        return fail(Kind::conflict, "COLUMN_CHANGED",
                    table->name + "." + column + " is not in the stream any more; change the mapping, then start again");
      if (static_cast<std::int64_t>(found->type) != before.at(column).second)
        return fail(Kind::conflict, "COLUMN_CHANGED",
                    table->name + "." + column + " changed its type (it was " + before.at(column).first +
                        "); look at the mapping, then start again");
    }
    for (const auto& column : shape->columns)
      if (!before.contains(column.name))
        log_warning("the source has a new column that nothing maps",
                    {{"domain", domain_}, {"table", table->name}, {"column", column.name}});
  }
  return {};
}

// Slot and copy --------------------------------------------------------------------------------------------------------

Task<Result<void>> Mirror::create_slot() {
  auto& s = *state_;
  auto published = co_await s.source->db().run(at_source::publishes, pg::params(s.publication), soon());
  if (!published) co_return tl::make_unexpected(std::move(published.error()));
  if (published->empty() || !published->boolean(0, 0))
    co_return fail(Kind::conflict, "PUBLICATION_MISSING",
                   "the source has no publication " + s.publication +
                       " for insert, update, delete and truncate; `enishi takeover plan` prints the SQL for its owner");
  // A slot that was made just before a crash is not known to be of any use.
  auto dropped = co_await s.source->db().run(at_source::drop_slot, pg::params(s.slot), soon());
  if (!dropped) co_return tl::make_unexpected(std::move(dropped.error()));
  auto connection = co_await pg::Replication::connect(shard_.executor(), offload_, {.conninfo = s.conninfo});
  auto identity = co_await connection->identify(soon());
  if (!identity) co_return tl::make_unexpected(std::move(identity.error()));
  auto from = co_await connection->create_slot(s.slot, Deadline::in(kLongStatement));
  if (!from) co_return tl::make_unexpected(std::move(from.error()));
  fault_point("copy.1");
  std::string columns = "{";
  for (const auto& table : s.mapping->tables) {
    columns += (columns.size() > 1 ? "," : "") + json_quote(table.name) + ":{";
    bool first = true;
    for (const auto& column : table.mapped) {
      columns += (first ? "" : ",") + json_quote(column) + ":" + std::to_string(s.tables[table.name].types[column].second);
      first = false;
    }
    columns += "}";
  }
  columns += "}";
  if (s.began) ++s.era;
  s.identity = identity->system_id + "/" + std::to_string(identity->timeline);
  s.position = pgwire::lsn_text(*from);
  s.stored = *from;
  auto begun = co_await local_.run(statements::begin_era, pg::params(domain_, s.era, s.identity, s.position, columns), soon());
  if (!begun) co_return tl::make_unexpected(std::move(begun.error()));
  s.phase = "COPYING";
  s.began = true;
  s.copied = false;
  co_return Result<void>();
}

/// A transaction that committed before the slot's first position is not in the stream, but others may not see it yet: it waits for a
/// standby. A chunk fetched now could miss it, so everybody who may have written before is waited for.
Task<Result<void>> Mirror::wait_for_writers(std::int64_t horizon) {
  auto s = state_;
  for (Millis wait{5}; !s->ending; wait = std::min(wait * 2, Millis(1000))) {
    auto row = co_await s->source->db().run(at_source::horizon, {}, soon());
    if (!row) co_return tl::make_unexpected(std::move(row.error()));
    if (horizon == 0) horizon = row->integer(0, 1);
    if (row->integer(0, 0) >= horizon) break;
    co_await s->changed.wait(Deadline::in(wait));
  }
  co_return Result<void>();
}

Task<Result<void>> Mirror::note_chunks() {
  auto s = state_;
  auto there = co_await local_.run(statements::has_chunks, pg::params(domain_, s->era), soon());
  if (!there) co_return tl::make_unexpected(std::move(there.error()));
  if (!there->boolean(0, 0)) {
    if (auto waited = co_await wait_for_writers(0); !waited) co_return waited;
    auto rows = co_await s->source->db().run(s->bounds->statement, pg::params(s->mapping->copy.chunk), Deadline::in(kLongStatement));
    if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
    auto bounds = rows->texts(0);
    std::int64_t count = 0;
    if (!bounds.empty()) {
      auto parts = key_values(bounds.back(), s->mapping->root_key.size());
      if (!parts) co_return fail(Kind::internal, "CHUNK_INVALID", "the chunk's bound is no key: " + bounds.back());
      auto last =
          co_await s->source->db().run(s->keys_last->statement, pg::Params(parts->begin(), parts->end()), Deadline::in(kLongStatement));
      if (!last) co_return tl::make_unexpected(std::move(last.error()));
      count = static_cast<std::int64_t>(bounds.size() - 1) * s->mapping->copy.chunk + static_cast<std::int64_t>(last->size());
    }
    auto noted = co_await local_.run(statements::add_chunks, pg::params(domain_, s->era, bounds, count), Deadline::in(kLongStatement));
    if (!noted) co_return tl::make_unexpected(std::move(noted.error()));
    fault_point("copy.2");
  }
  auto open = co_await local_.run(statements::open_chunks, pg::params(domain_, s->era), Deadline::in(kLongStatement));
  if (!open) co_return tl::make_unexpected(std::move(open.error()));
  for (std::size_t i = 0; i < open->size(); ++i)
    s->chunks.push_back({static_cast<int>(open->integer(i, 0)), open->maybe(i, 1), open->maybe(i, 2)});
  co_return Result<void>();
}

/// While Enishi owns, nothing is copied: what a new era has to look at waits until the legacy system owns again.
void Mirror::start_copy() {
  auto& s = *state_;
  if (s.copying || (s.phase == "COPYING" && s.ownership != "LEGACY" && s.ownership != "SWITCHING")) return;
  s.copying = true;
  ++s.children;
  spawn(shard_, "takeover copy", copy_worker());
}

Task<> Mirror::copy_worker() {
  auto s = state_;
  try {
    auto done = s->copied ? co_await candidates() : co_await copy();
    if (!done && !s->failed) s->failed = std::move(done.error());
  } catch (const pg::Broken& e) {
    if (!s->failed) s->failed = Error{Kind::internal, "SOURCE_CHANGED", e.what(), {}, {}, 0};
  } catch (...) {
    s->thrown = std::current_exception();
  }
  if ((s->failed || s->thrown) && s->stream) s->stream->close();
  --s->children;
  s->changed.notify_all();
}

namespace {
/// One of several that empty a queue of chunks; the first failure ends all.
struct Crew {
  int left = 0;
  std::optional<Error> failed;
  std::exception_ptr thrown;
  Event changed;
};
}  // namespace

Task<Result<void>> Mirror::copy() {
  auto s = state_;
  if (auto noted = co_await note_chunks(); !noted) co_return noted;
  auto crew = std::make_shared<Crew>();
  struct Worker {
    static Task<> run(Mirror* mirror, std::shared_ptr<State> state, std::shared_ptr<Crew> crew) {
      try {
        while (!state->ending && !crew->failed && !crew->thrown && !state->chunks.empty()) {
          auto chunk = std::move(state->chunks.front());
          state->chunks.pop_front();
          auto done = co_await mirror->copy_chunk(chunk.number, std::move(chunk.from), std::move(chunk.to));
          if (!done && !crew->failed) crew->failed = std::move(done.error());
        }
      } catch (...) {
        crew->thrown = std::current_exception();
      }
      --crew->left;
      crew->changed.notify_all();
    }
  };
  crew->left = std::max(1, s->mapping->copy.workers);
  for (int i = crew->left; i > 0; --i) spawn(shard_, "takeover chunk", Worker::run(this, s, crew));
  while (crew->left > 0) co_await crew->changed.wait(Deadline::in(Millis(1000)));
  if (crew->failed) co_return tl::make_unexpected(*crew->failed);
  if (crew->thrown) std::rethrow_exception(crew->thrown);
  if (s->ending) co_return Result<void>();
  if (auto looked = co_await look_for_the_lost(); !looked) co_return looked;
  fault_point("copy.6");
  auto done = co_await local_.run(statements::copied, pg::params(domain_), soon());
  if (!done) co_return tl::make_unexpected(std::move(done.error()));
  s->phase = "STREAMING";
  s->copied = true;
  log_info("takeover: everything is copied", {{"domain", domain_}, {"era", s->era}});
  co_return co_await candidates();
}

Task<Result<void>> Mirror::copy_chunk(int number, std::optional<std::string> from, std::optional<std::string> to) {
  auto s = state_;
  const auto parts = s->mapping->root_key.size();
  pg::Params params;
  for (const auto* bound : {&from, &to}) {
    if (!*bound) continue;
    auto values = key_values(**bound, parts);
    if (!values) co_return fail(Kind::internal, "CHUNK_INVALID", "the chunk's bound is no key: " + **bound);
    for (auto& value : *values) params.push_back(std::move(value));
  }
  const auto& statement = from && to ? s->keys_between->statement
                          : from     ? s->keys_last->statement
                          : to       ? s->keys_first->statement
                                     : s->keys_all->statement;
  const auto began = std::chrono::steady_clock::now();
  auto rows = co_await s->source->db().run(statement, std::move(params), Deadline::in(kLongStatement));
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  auto keys = rows->texts(0);
  const auto count = static_cast<std::int64_t>(keys.size());
  Fetched fetched;
  if (auto owner = co_await read_owner(); !owner) co_return owner;
  const auto epoch = s->epoch;
  if (!keys.empty()) {
    auto got = co_await s->source->fetch(s->mapping, std::move(keys), {}, s->era, Deadline::in(kLongStatement));
    if (!got) co_return tl::make_unexpected(std::move(got.error()));
    fetched = std::move(**got);
  }
  const auto took = std::chrono::steady_clock::now() - began;
  fault_point("copy.3");
  auto shared = std::make_shared<Fetched>(std::move(fetched));
  auto mapping = s->mapping;
  auto batch = co_await offload_.run([shared, mapping] { return decode(*mapping, std::move(*shared)); });
  batch.epoch = epoch;
  auto stored = co_await store(std::move(batch), nullptr, number);
  if (!stored) co_return tl::make_unexpected(std::move(stored.error()));
  co_await pause(count, took);
  co_return Result<void>();
}

Task<> Mirror::pause(std::int64_t rows, std::chrono::nanoseconds fetched) {
  auto s = state_;
  const auto wait = s->pace.rest(rows, fetched, s->rate, steady_now());
  if (wait > Millis(0) && !s->ending) co_await s->changed.wait(Deadline::in(wait));
}

Task<Result<void>> Mirror::look_for_the_lost() {
  auto s = state_;
  std::string after;
  while (s->era > 1 && !s->ending) {
    auto rows = co_await local_.run(statements::unseen_keys, pg::params(domain_, s->mapping->system, s->era, after, kKeysAFetch),
                                    Deadline::in(kLongStatement));
    if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
    auto keys = rows->texts(0);
    if (keys.empty()) break;
    after = keys.back();  // a record that is refused here keeps its old era, and is looked at once all the same
    auto done = co_await refresh(std::move(keys), {}, nullptr);
    if (!done) co_return tl::make_unexpected(std::move(done.error()));
  }
  co_return Result<void>();
}

/// Of everything that a copy brought. How far it came is kept with what it found, so that a crash leaves none unseen.
Task<Result<void>> Mirror::candidates() {
  auto s = state_;
  while (domain_ == "customer" && !s->ending) {
    auto lease = co_await local_.lease(soon());
    co_await lease.begin(soon());
    auto rows = co_await lease.run(statements::unmatched_keys, pg::params(domain_, s->mapping->system, 1000), soon());
    if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
    auto keys = rows->texts(0);
    const auto last = keys.empty() ? pg::Param() : pg::Param(keys.back());
    auto found = co_await find_candidates(lease, s->mapping->system, std::move(keys), soon());
    if (!found) co_return found;
    auto noted = co_await lease.run(statements::matched, pg::params(domain_, last), soon());
    if (!noted) co_return tl::make_unexpected(std::move(noted.error()));
    fault_point("copy.7");
    co_await lease.commit(soon());
    if (!last) break;
  }
  co_return Result<void>();
}

// Storing --------------------------------------------------------------------------------------------------------------

Task<Result<Applied>> Mirror::store(Batch batch, const pgwire::ChangeBatch* advance, std::optional<int> chunk) {
  auto s = state_;
  static thread_local std::map<std::string, std::unique_ptr<Metrics>> all;
  auto& metrics = all[domain_];
  if (!metrics) metrics = std::make_unique<Metrics>(domain_);
  for (Millis wait{5};; wait = std::min(wait * 2, Millis(500))) {
    auto lease = co_await local_.lease(soon());
    co_await lease.begin(soon());
    if (chunk)
      if (auto set = co_await lease.run(statements::no_waiting_for_disk, {}, soon()); !set)
        co_return tl::make_unexpected(std::move(set.error()));
    auto done = co_await apply(lease, batch, Deadline::in(kLongStatement));
    if (done && chunk) {
      auto noted = co_await lease.run(statements::chunk_done, pg::params(domain_, s->era, *chunk, batch.records.size()), soon());
      if (!noted) done = tl::make_unexpected(std::move(noted.error()));
    }
    if (done && !chunk && domain_ == "customer" && s->copied && done->created + done->updated > 0) {
      std::vector<std::string> keys;
      for (const auto& record : batch.records) keys.push_back(record.key);
      if (auto found = co_await find_candidates(lease, s->mapping->system, std::move(keys), soon()); !found)
        done = tl::make_unexpected(std::move(found.error()));
    }
    if (done && advance != nullptr && advance->position != 0) {
      std::optional<std::int64_t> committed;
      if (!advance->transactions.empty()) committed = advance->transactions.back().committed_at;
      auto noted = co_await lease.run(
          statements::advance,
          pg::params(domain_, pgwire::lsn_text(advance->position), pgwire::lsn_text(s->stream->replication().server_end()), committed),
          soon());
      if (!noted) done = tl::make_unexpected(std::move(noted.error()));
    }
    if (done) {
      fault_point(chunk ? "copy.4" : "stream.4");
      co_await lease.commit(soon());
      fault_point(chunk ? "copy.5" : "stream.5");
      metrics->rows.add(batch.records.size() + batch.absent.size());
      metrics->stale.add(static_cast<std::uint64_t>(done->stale));
      metrics->rejects.add(static_cast<std::uint64_t>(done->rejected));
      if (advance != nullptr) metrics->batches.add();
      co_return done;
    }
    co_await lease.rollback(soon());
    // The gate is shut while a switch decides, for milliseconds.
    if ((done.error().code != "GATE_SHUT" && done.error().code != "SERIALIZATION_FAILURE") || s->ending) co_return done;
    lease = pg::Lease();
    co_await s->changed.wait(Deadline::in(wait));
  }
}

Task<Result<Batch>> Mirror::fetch(std::vector<std::string> keys, std::vector<std::uint32_t> xids) {
  auto s = state_;
  static thread_local std::map<std::string, metrics::Counter*> counters;
  auto& unseen = counters[domain_];
  if (unseen == nullptr)
    unseen =
        &metrics::counter("enishi_takeover_invisible_total", "Fetches that came before their commit was visible", {{"domain", domain_}});
  const auto epoch = s->epoch;
  for (Millis wait{1}; !s->ending; wait = std::min(wait * 2, Millis(250))) {
    auto fetched = co_await s->source->fetch(s->mapping, keys, xids, s->era, Deadline::in(kLongStatement));
    if (!fetched) co_return tl::make_unexpected(std::move(fetched.error()));
    if (*fetched) {
      fault_point("stream.3");
      auto batch = decode(*s->mapping, std::move(**fetched));
      batch.epoch = epoch;
      co_return batch;
    }
    unseen->add();  // committed, decoded, and not visible yet
    co_await s->changed.wait(Deadline::in(wait));
  }
  co_return fail(Kind::unavailable, "STOPPING", "the mirror is stopping");
}

Task<Result<void>> Mirror::read_owner() {
  auto s = state_;
  auto owner = co_await local_.run(statements::owner, pg::params(domain_), soon());
  if (!owner) co_return tl::make_unexpected(std::move(owner.error()));
  s->ownership = owner->text(0, 0);
  s->epoch = owner->integer(0, 1);
  co_return Result<void>();
}

Task<Result<Applied>> Mirror::refresh(std::vector<std::string> keys, std::vector<std::uint32_t> xids, const pgwire::ChangeBatch* advance) {
  auto s = state_;
  for (;;) {
    if (auto owner = co_await read_owner(); !owner) co_return tl::make_unexpected(std::move(owner.error()));
    auto batch = co_await fetch(keys, xids);
    if (!batch) co_return tl::make_unexpected(std::move(batch.error()));
    auto done = co_await store(std::move(*batch), advance, std::nullopt);
    if (done || done.error().code != "EPOCH_MOVED" || s->ending) co_return done;
  }
}

// The stream -----------------------------------------------------------------------------------------------------------

struct Mirror::Ready {
  pgwire::ChangeBatch batch;
  std::vector<std::string> roots;
  std::vector<std::uint32_t> xids;
  std::optional<Batch> fetched;  ///< not when there are too many roots to hold their records
};

/// While one batch is stored here, the records of the next one are fetched at the source.
Task<Result<void>> Mirror::stream() {
  using namespace asio::experimental::awaitable_operators;
  auto s = state_;
  std::shared_ptr<Ready> ready;
  while (!s->ending) {
    // Records that are not at hand yet have links that are not known yet, which the next batch may need.
    if (ready && !ready->fetched && !ready->roots.empty()) {
      if (auto done = co_await put(std::exchange(ready, nullptr)); !done) co_return done;
    }
    if (!ready) {
      auto next = co_await next_ready(nullptr);
      if (!next) co_return tl::make_unexpected(std::move(next.error()));
      ready = std::move(*next);
      continue;
    }
    auto [done, next] = co_await (put(ready) && next_ready(ready));
    if (!done) co_return done;
    if (!next) co_return tl::make_unexpected(std::move(next.error()));
    ready = std::move(*next);
  }
  co_return Result<void>();
}

Task<Result<std::shared_ptr<Mirror::Ready>>> Mirror::next_ready(std::shared_ptr<const Ready> before) {
  auto s = state_;
  auto got = co_await s->stream->next(Deadline::in(Millis(1000)));
  if (!got) co_return tl::make_unexpected(std::move(got.error()));
  if (!*got) co_return std::shared_ptr<Ready>();
  auto out = std::make_shared<Ready>();
  out->batch = std::move(**got);
  const auto& batch = out->batch;
  fault_point("stream.1");
  for (const auto& shape : batch.truncated)
    if (s->mapping->table(shape->full_name()) != nullptr)
      co_return fail(
          Kind::conflict, "TRUNCATED",
          shape->full_name() + " was truncated at the source. Nothing was deleted here. `enishi takeover start` looks at every key again.");
  if (auto same = check_shapes(batch); !same) co_return tl::make_unexpected(std::move(same.error()));
  if (!batch.rows.empty()) {
    // What watch() read may be a second old: a switch takes less.
    if (auto owner = co_await read_owner(); !owner) co_return tl::make_unexpected(std::move(owner.error()));
  }
  if (s->ownership == "OWNED" || s->ownership == "REVERTING") {
    // The reverse stream marks its transactions with a row of its own.
    std::unordered_set<std::uint32_t> ours;
    // After a crash the slot brings again what it was not told about yet: changes of before the fence, which are stored here, are nobody's
    // breach of it.
    for (const auto& transaction : batch.transactions)
      if (transaction.commit_lsn < s->stored) ours.insert(transaction.xid);
    for (const auto& row : batch.rows)
      if (row.shape->schema == "enishi") ours.insert(row.xid);
    pgwire::ChangeBatch theirs;
    for (const auto& row : batch.rows)
      if (s->mapping->table(row.shape->full_name()) != nullptr && !ours.contains(row.xid)) theirs.rows.push_back(row);
    if (!theirs.rows.empty())
      if (auto told = co_await tell_foreign(std::move(theirs)); !told) co_return tl::make_unexpected(std::move(told.error()));
  } else {
    auto known = co_await roots_of(batch, std::move(before));
    if (!known) co_return tl::make_unexpected(std::move(known.error()));
    out->roots = std::move(*known);
  }
  fault_point("stream.2");
  for (const auto& transaction : batch.transactions) out->xids.push_back(transaction.xid);
  if (!out->roots.empty() && out->roots.size() <= kKeysAFetch) {
    auto fetched = co_await fetch(out->roots, out->xids);
    if (!fetched) co_return tl::make_unexpected(std::move(fetched.error()));
    out->fetched = std::move(*fetched);
  }
  co_return out;
}

/// Changes at the source while Enishi owns are applied to nothing; somebody has to decide about them, key by key.
Task<Result<void>> Mirror::tell_foreign(pgwire::ChangeBatch theirs) {
  constexpr std::size_t kNamed = 10;
  const auto rows = static_cast<std::int64_t>(theirs.rows.size());
  auto keys = co_await roots_of(theirs, nullptr);
  if (!keys) co_return tl::make_unexpected(std::move(keys.error()));
  log_error("the source was changed while Enishi owns the domain", {{"domain", domain_}, {"rows", rows}});
  auto noted = co_await local_.run(statements::foreign_changes, pg::params(domain_, rows, *keys), soon());
  if (!noted) co_return tl::make_unexpected(std::move(noted.error()));
  auto what = std::to_string(rows) + " rows were changed at the source, of";
  for (std::size_t i = 0; i < std::min(keys->size(), kNamed); ++i) what += (i > 0 ? ", " : " ") + (*keys)[i];
  if (keys->size() > kNamed) what += " and " + std::to_string(keys->size() - kNamed) + " others";
  auto told = co_await local_.run(statements::alarm, pg::params(domain_, "FOREIGN_CHANGE", what), soon());
  if (!told) co_return tl::make_unexpected(std::move(told.error()));
  co_return Result<void>();
}

Task<Result<void>> Mirror::put(std::shared_ptr<Ready> ready) {
  auto s = state_;
  auto& roots = ready->roots;
  const auto& batch = ready->batch;
  for (std::size_t from = 0; from < roots.size(); from += kKeysAFetch) {
    const auto to = std::min(roots.size(), from + kKeysAFetch);
    std::vector<std::string> part(roots.begin() + static_cast<std::ptrdiff_t>(from), roots.begin() + static_cast<std::ptrdiff_t>(to));
    Result<Applied> done = fail(Kind::internal, "INTERNAL", "nothing was stored");
    if (ready->fetched) done = co_await store(*ready->fetched, &batch, std::nullopt);
    if (!ready->fetched || (!done && done.error().code == "EPOCH_MOVED"))
      done = co_await refresh(std::move(part), ready->xids, to == roots.size() ? &batch : nullptr);
    if (!done && done.error().code == "NOT_MIRRORED") {  // a switch was decided meanwhile: everything before its fence is stored
      roots.clear();
      break;
    }
    if (!done) co_return tl::make_unexpected(std::move(done.error()));
  }
  if (batch.position == 0) co_return Result<void>();
  if (roots.empty()) {
    // Only the position moves: worth a commit when a transaction came, or once in a while.
    if (batch.transactions.empty() && steady_now() - s->advanced_at < Millis(1000)) co_return Result<void>();
    std::optional<std::int64_t> committed;
    if (!batch.transactions.empty()) committed = batch.transactions.back().committed_at;
    auto noted = co_await local_.run(
        statements::advance,
        pg::params(domain_, pgwire::lsn_text(batch.position), pgwire::lsn_text(s->stream->replication().server_end()), committed), soon());
    if (!noted) co_return tl::make_unexpected(std::move(noted.error()));
  }
  s->advanced_at = steady_now();
  s->stream->confirm(batch.position);
  fault_point("stream.6");
  co_return Result<void>();
}

Task<Result<std::vector<std::string>>> Mirror::roots_of(const pgwire::ChangeBatch& batch, std::shared_ptr<const Ready> before) {
  auto s = state_;
  std::vector<std::string> out;
  std::unordered_set<std::string> seen;
  std::vector<std::string> link_tables, link_keys;
  std::map<const SourceTable*, std::vector<std::string>> own_keys;
  const auto add = [&](std::string key) {
    if (seen.insert(key).second) out.push_back(std::move(key));
  };
  for (const auto& row : batch.rows) {
    const auto* table = s->mapping->table(row.shape->full_name());
    if (table == nullptr) continue;
    const auto& shape = *row.shape;
    const auto value_of = [&](std::string_view column) -> const pgwire::ChangedValue* {
      for (std::size_t i = 0; i < shape.wanted.size(); ++i)
        if (shape.columns[shape.wanted[i]].name == column) return &row.values[i];
      return nullptr;
    };
    const auto values_of = [&](const std::vector<std::string>& columns) -> std::optional<std::string> {
      std::vector<std::string> values;
      for (const auto& column : columns) {
        const auto* value = value_of(column);
        if (value == nullptr || value->state != pgwire::ChangedValue::State::known) return std::nullopt;
        values.push_back(value->text);
      }
      return values.empty() ? std::nullopt : std::optional<std::string>(legacy_key(values));
    };
    // A row that shows its root on both sides of every change needs no link.
    const auto in_identity = [&](const std::string& column) {
      return std::any_of(shape.columns.begin(), shape.columns.end(), [&](const auto& c) { return c.key && c.name == column; });
    };
    const bool root_shown = !table->root.empty() && std::all_of(table->root.begin(), table->root.end(), in_identity);
    if (!table->root.empty())
      if (auto key = values_of(table->root)) add(std::move(*key));
    if (root_shown) continue;
    auto own = values_of(s->tables.find(table->name)->second.primary_key);
    if (!own) {
      std::vector<std::string> identity;
      for (const auto& column : shape.columns)
        if (column.key) identity.push_back(column.name);
      own = values_of(identity);
    }
    if (!own) continue;
    link_tables.push_back(table->name);
    link_keys.push_back(*own);
    if (table->root_keys) own_keys[table].push_back(std::move(*own));
  }
  // Links of the batch that is being stored are not to be seen yet.
  if (before && before->fetched && !link_keys.empty()) {
    std::set<std::pair<std::string_view, std::string_view>> wanted;
    for (std::size_t i = 0; i < link_keys.size(); ++i) wanted.emplace(link_tables[i], link_keys[i]);
    for (const auto& link : before->fetched->links)
      if (wanted.contains({link.table, link.row_key})) add(link.root_key);
  }
  for (std::size_t from = 0; from < link_keys.size(); from += 10000) {
    const auto to = static_cast<std::ptrdiff_t>(std::min(link_keys.size(), from + 10000)), begin = static_cast<std::ptrdiff_t>(from);
    std::vector<std::string> tables(link_tables.begin() + begin, link_tables.begin() + to),
        keys(link_keys.begin() + begin, link_keys.begin() + to);
    auto rows = co_await local_.run(statements::linked_roots, pg::params(s->mapping->system, domain_, tables, keys), soon());
    if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
    for (std::size_t i = 0; i < rows->size(); ++i) add(std::string(rows->text(i, 0)));
  }
  for (const auto& [table, keys] : own_keys) {
    auto rows = co_await s->source->db().run(*table->root_keys, pg::params(keys), Deadline::in(kLongStatement));
    if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
    for (std::size_t i = 0; i < rows->size(); ++i) add(std::string(rows->text(i, 0)));
  }
  co_return out;
}

// Beside the stream ----------------------------------------------------------------------------------------------------

Task<> Mirror::watch(std::shared_ptr<State> s) {
  int turn = 0;
  while (!s->ending) {
    try {
      // The lock goes with its connection: whoever lost it ends before somebody else could have begun in earnest.
      auto held = co_await s->lock.run(statements::still_there, {}, soon());
      auto row = co_await local_.run(statements::load, pg::params(domain_), soon());
      if (row && row->empty()) s->failed = Error{Kind::conflict, "TAKEOVER_ENDED", "", {}, {}, 0};
      if (row && !row->empty()) {
        s->ownership = row->text(0, 12);
        s->rate = row->integer(0, 10);
        if (row->text(0, 3) == "STOPPED" || row->text(0, 3) == "DONE" || s->ownership == "LOCAL" || row->text(0, 2) != s->files)
          s->failed = Error{Kind::conflict, "TAKEOVER_ENDED", "", {}, {}, 0};
      }
      if (!s->failed)
        if (auto retried = co_await retry_rejects(); !retried && !passing(retried.error()) && retried.error().code != "NOT_MIRRORED")
          s->failed = std::move(retried.error());
      if (!s->failed) start_copy();
      // Edits that a crash cut short, here or in another instance.
      if (!s->failed && !s->mapping->reverse.empty() && s->ownership == "LEGACY")
        if (auto finished = co_await finish_intents(local_, *s->source, s->mapping, Millis(2000), soon());
            !finished && !passing(finished.error()))
          log_warning("takeover: edits that were cut short wait", {{"domain", domain_}, {"because", finished.error().detail}});
      if (!s->failed && turn++ % 5 == 0)
        if (auto bounded = co_await watch_slot(); !bounded && !passing(bounded.error())) s->failed = std::move(bounded.error());
    } catch (const pg::Broken& e) {
      s->failed = Error{Kind::internal, "SOURCE_CHANGED", e.what(), {}, {}, 0};
    } catch (...) {
      s->thrown = std::current_exception();
    }
    if (s->failed || s->thrown) {
      s->ending = true;
      if (s->stream) s->stream->close();
      break;
    }
    co_await s->changed.wait(Deadline::in(Millis(1000)));
  }
  --s->children;
  s->changed.notify_all();
}

Task<Result<void>> Mirror::retry_rejects() {
  auto s = state_;
  if (s->ownership == "OWNED" || s->ownership == "REVERTING") co_return Result<void>();
  auto due = co_await local_.run(statements::due_rejects, pg::params(s->mapping->system, domain_, 200), soon());
  if (!due) co_return tl::make_unexpected(std::move(due.error()));
  if (due->empty()) co_return Result<void>();
  auto keys = due->texts(0);
  auto done = co_await refresh(keys, {}, nullptr);
  auto put_off = co_await local_.run(statements::put_off, pg::params(s->mapping->system, domain_, keys), soon());
  if (!done) co_return tl::make_unexpected(std::move(done.error()));
  if (!put_off) co_return tl::make_unexpected(std::move(put_off.error()));
  co_return Result<void>();
}

Task<Result<void>> Mirror::watch_slot() {
  auto s = state_;
  auto row = co_await s->source->db().run(at_source::slot, pg::params(s->slot), soon());
  if (!row) co_return tl::make_unexpected(std::move(row.error()));
  if (row->empty()) co_return Result<void>();  // the stream says so itself
  static thread_local std::map<std::string, metrics::Gauge*> gauges;
  auto& gauge = gauges[domain_];
  if (gauge == nullptr)
    gauge = &metrics::gauge("enishi_takeover_retained_wal_bytes", "WAL that the slot holds back at the source", {{"domain", domain_}});
  const auto retained = row->integer(0, 1);
  gauge->set(static_cast<double>(retained));
  if (s->most_wal <= 0 || retained <= s->most_wal) co_return Result<void>();
  // The legacy system's disk is worth more than our place in its WAL.
  s->stream->close();
  auto connection = co_await pg::Replication::connect(shard_.executor(), offload_, {.conninfo = s->conninfo});
  auto dropped = co_await connection->drop_slot(s->slot, Deadline::in(Millis(30000)));
  if (!dropped) co_return dropped;
  const auto detail = given_up(retained, s->most_wal);
  auto told = co_await local_.run(statements::alarm, pg::params(domain_, "SLOT_GIVEN_UP", detail), soon());
  if (!told) co_return tl::make_unexpected(std::move(told.error()));
  co_return fail(Kind::conflict, "SLOT_GIVEN_UP", detail);
}

// All of them ----------------------------------------------------------------------------------------------------------

Mirrors::Mirrors(pg::Config config, Offload& offload, Millis poll) : config_(std::move(config)), offload_(offload), poll_(poll) {
  config_.leases = std::max(config_.leases, 16U);
  config_.statement_timeout = kLongStatement;
  config_.application_name = "enishi takeover";
}

Mirrors::~Mirrors() { stop(); }

/// A mirror that has stopped reads no more, and nobody may come for days: its slot must not fill the source's disk meanwhile.
Task<> Mirrors::watch_stopped() {
  auto rows = co_await local_->run(statements::stopped, {}, Deadline::in(Millis(10000)));
  if (!rows) co_return;
  for (std::size_t i = 0; i < rows->size() && !stopping_; ++i) {
    const std::string domain(rows->text(i, 0)), slot(rows->text(i, 3));
    if (running_.contains(domain)) continue;
    std::string trouble;
    try {
      Source source(shards_[0], offload_, {.system = std::string(rows->text(i, 1)), .conninfo = std::string(rows->text(i, 2))});
      auto held = co_await source.db().run(at_source::slot, pg::params(slot), Deadline::in(Millis(10000)));
      if (held && !held->empty() && held->integer(0, 1) > rows->integer(i, 4)) {
        auto dropped = co_await source.db().run(at_source::drop_slot, pg::params(slot), Deadline::in(Millis(10000)));
        if (!dropped) {
          trouble = dropped.error().detail;
        } else {
          const auto detail = given_up(held->integer(0, 1), rows->integer(i, 4));
          log_error("takeover: a slot was given up", {{"domain", domain}, {"detail", detail}});
          (void)co_await local_->run(statements::give_up_slot, pg::params(domain, detail), Deadline::in(Millis(10000)));
          (void)co_await local_->run(statements::alarm, pg::params(domain, "SLOT_GIVEN_UP", detail), Deadline::in(Millis(10000)));
        }
      }
      source.db().close();
    } catch (const std::exception& e) {
      trouble = e.what();
    }
    if (!trouble.empty()) log_warning("takeover: a slot cannot be watched", {{"domain", domain}, {"because", trouble}});
  }
}

void Mirrors::start() {
  local_ = std::make_unique<pg::Database>(shards_[0], offload_, config_);
  started_ = true;
  spawn(shards_[0], "takeover", run());
  shards_.start();
}

void Mirrors::stop() {
  if (!started_) return;
  started_ = false;
  auto ended = std::make_shared<std::promise<void>>();
  shards_[0].post([this, ended] {
    stopping_ = true;
    for (auto& [domain, mirror] : running_) mirror->stop();
    stopped_.notify_all();
    struct Waiter {
      static Task<> run(Mirrors* self, std::shared_ptr<std::promise<void>> done) {
        while (!self->running_.empty()) co_await self->ended_.wait(Deadline::in(Millis(500)));
        done->set_value();
      }
    };
    spawn(shards_[0], "takeover end", Waiter::run(this, ended));
  });
  ended->get_future().wait();
  shards_.stop();
  shards_.join();
  local_.reset();
}

Task<> Mirrors::run() {
  struct Running {
    static Task<> run(Mirrors* self, std::string domain, std::shared_ptr<Mirror> mirror) {
      try {
        co_await mirror->run();
      } catch (const std::exception& e) {
        log_error("a mirror ended", {{"domain", domain}, {"because", e.what()}});
      }
      self->running_.erase(domain);
      self->ended_.notify_all();
    }
  };
  auto looked = steady_now();
  while (!stopping_) {
    try {
      auto rows = co_await local_->run(statements::domains, {}, Deadline::in(Millis(10000)));
      for (std::size_t i = 0; rows && i < rows->size() && !stopping_; ++i) {
        const std::string domain(rows->text(i, 0));
        if (running_.contains(domain)) continue;
        auto mirror = std::make_shared<Mirror>(*local_, shards_[0], offload_, domain);
        running_[domain] = mirror;
        spawn(shards_[0], "takeover " + domain, Running::run(this, domain, mirror));
      }
      if (steady_now() - looked > Millis(5000)) {
        looked = steady_now();
        co_await watch_stopped();
      }
    } catch (const std::exception& e) {
      log_warning("takeover: the database does not answer", {{"because", e.what()}});
    }
    co_await stopped_.wait(Deadline::in(poll_));
  }
}

}  // namespace enishi::takeover

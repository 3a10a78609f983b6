#include "takeover/plan.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/log.hpp"
#include "takeover/domains.hpp"
#include "takeover/plan.sql.hpp"
#include "takeover/rights.hpp"
#include "takeover/source.sql.hpp"
#include "takeover/state.sql.hpp"
#include "takeover/switch/fence.hpp"

namespace enishi::takeover {
namespace {

namespace statements = sql::plan;
namespace at_source = sql::source;
constexpr int kSample = 200;
/// Tables above this many rows are looked at by a sample of 1 %.
constexpr std::int64_t kLookedAtWhole = 5'000'000;

struct Column {
  std::string type;
  bool not_null = false;
  int key = 0;
};

struct TableFacts {
  std::int64_t rows = 0;
  char kind = 'r', identity = 'd';
  bool readable = false, keyed = false, streamed = false;  ///< streamed: its changes are in the WAL
  std::string owner;
  std::vector<std::pair<std::string, Column>> columns;
  std::vector<std::string> primary_key;
  [[nodiscard]] const Column* column(std::string_view name) const {
    for (const auto& [n, c] : columns)
      if (n == name) return &c;
    return nullptr;
  }
};

struct Owned {
  std::string text;
  pg::Statement statement;
  explicit Owned(std::string t) : text(std::move(t)), statement("plan.look", pg::Rowcount::many, false, text) {}
};

class Planner {
 public:
  Planner(pg::Database& local, Source& source, std::shared_ptr<const Mapping> mapping)
      : local_(local), source_(source), mapping_(std::move(mapping)) {}

  Task<Result<Plan>> run() {
    if (auto done = co_await server(); !done) co_return tl::make_unexpected(std::move(done.error()));
    if (auto done = co_await tables(); !done) co_return tl::make_unexpected(std::move(done.error()));
    columns();
    if (auto done = co_await unmapped(); !done) co_return tl::make_unexpected(std::move(done.error()));
    if (auto done = co_await publication(); !done) co_return tl::make_unexpected(std::move(done.error()));
    if (auto done = co_await rights(); !done) co_return tl::make_unexpected(std::move(done.error()));
    const bool good = plan_.good();
    co_await contents();
    if (good)
      co_await sample();
    else
      note("WARNING", "NOT_TRIED", "forward.sql", "it is tried with the first records when no error is left above");
    owner_sql();
    co_return std::move(plan_);
  }

 private:
  void note(std::string level, std::string code, std::string subject, std::string detail) {
    plan_.findings.push_back({std::move(level), std::move(code), std::move(subject), std::move(detail)});
  }
  static Deadline soon() { return Deadline::in(Millis(600000)); }

  /// SQL that is made for this catalog; a refusal of the source is a finding.
  Task<std::optional<pg::Rows>> ask(std::string subject, std::string text) {
    const Owned question(std::move(text));
    std::string refused;
    try {
      auto rows = co_await source_.db().run(question.statement, {}, soon());
      if (rows) co_return std::optional<pg::Rows>(std::move(*rows));
      refused = rows.error().detail;
    } catch (const pg::Broken& e) {
      refused = e.what();
    }
    note("WARNING", "NOT_LOOKED_AT", std::move(subject), "the source refused to say: " + refused);
    co_return std::nullopt;
  }

  Task<Result<void>> server() {
    auto row = co_await source_.db().run(statements::server, pg::params(mapping_->slot()), soon());
    if (!row) co_return tl::make_unexpected(std::move(row.error()));
    user_ = row->text(0, 8);
    database_ = row->text(0, 9);
    const std::string cloud(row->text(0, 13));
    const auto version = row->integer(0, 0);
    version < 150000 ? note("WARNING", "VERSION", std::to_string(version / 10000), "older than 15, the oldest version that is tested")
                     : note("OK", "VERSION", std::to_string(version / 10000), "PostgreSQL");
    const auto level = row->text(0, 1);
    if (level != "logical") {
      note("ERROR", "WAL_LEVEL", std::string(level),
           "wal_level must be logical (Cloud SQL: cloudsql.logical_decoding, AlloyDB: alloydb.logical_decoding); needs a restart");
      if (cloud.empty())
        setting("wal_level", "logical", true);
      else
        plan_.server_sql += "-- Set the flag " + cloud + ".logical_decoding to on: docs/takeover/sources.md. Needs a restart.\n";
    } else {
      note("OK", "WAL_LEVEL", "logical", "");
    }
    const std::string encoding(row->text(0, 2));
    if (encoding == "SQL_ASCII")
      note("ERROR", "ENCODING", encoding,
           "bytes of no known encoding cannot be converted; the database has to be restored with its real one");
    else
      note("OK", "ENCODING", encoding, encoding == "UTF8" ? "" : "converted to UTF-8 by the source");
    room("SLOTS", "max_replication_slots", row->integer(0, 4), row->integer(0, 5), 1, !cloud.empty());
    // One for the stream; making the slot after an outage may need a second one before the old connection is gone.
    room("WAL_SENDERS", "max_wal_senders", row->integer(0, 6), row->integer(0, 11), 2, !cloud.empty());
    disk(row->integer(0, 7), !cloud.empty());
    const auto connections = mapping_->copy.workers + 4;
    if (const auto limit = row->integer(0, 12); limit >= 0 && limit < connections)
      note("WARNING", "CONNECTIONS", user_,
           "may have " + std::to_string(limit) + " connections; the copy and a switch use up to " + std::to_string(connections));
    row->boolean(0, 3) ? note("OK", "REPLICATION_RIGHT", user_, "")
                       : note("ERROR", "REPLICATION_RIGHT", user_, "the login needs the attribute REPLICATION");
    if (!row->boolean(0, 3)) plan_.server_sql += "alter role " + quote_identifier(user_) + " replication;\n";
    if (row->boolean(0, 10)) note("ERROR", "STANDBY", database_, "this is a standby; slots are made on the primary");
    if (row->integer(0, 14) > 0)
      note("WARNING", "LARGE_OBJECTS", database_,
           std::string(row->text(0, 14)) + " large objects: they are in no stream, and are not taken over");
    co_return Result<void>();
  }

  void setting(const std::string& name, const std::string& value, bool restart) {
    plan_.server_sql += "alter system set " + name + " = '" + value + "';  -- needs a " + (restart ? "restart" : "reload") + "\n";
    reload_ = reload_ || !restart;
  }

  void room(const char* code, const char* name, std::int64_t most, std::int64_t taken, std::int64_t needed, bool cloud) {
    const auto left = std::max<std::int64_t>(most - taken, 0);
    const auto said = std::to_string(left) + " of " + std::to_string(most) + " are free, " + std::to_string(needed) + " needed";
    if (left >= needed) {
      note("OK", code, name, said);
      return;
    }
    note("ERROR", code, name, said + (cloud ? "; it is a flag of the instance" : "; needs a restart"));
    if (cloud)
      plan_.server_sql += std::string("-- Set the flag ") + name + " to " + std::to_string(taken + needed + 2) + ". Needs a restart.\n";
    else
      setting(name, std::to_string(taken + needed + 2), true);
  }

  /// What a slot may hold back when nobody reads it: the server's bound, and Enishi's own.
  void disk(std::int64_t keep, bool cloud) {
    const auto own = mapping_->copy.most_wal_bytes;
    const auto size = [](std::int64_t bytes) { return std::to_string(bytes >> 20) + " MB"; };
    const std::string name = "max_slot_wal_keep_size";
    if (keep < 0) {
      note("WARNING", "DISK_BOUND", name,
           "while Enishi is off, a slot holds back WAL without end; running, Enishi gives it up at " + size(own) + " (most_wal_bytes)");
      if (cloud)
        plan_.server_sql += "-- No flag bounds a slot here: watch the disk, and drop the slot " + mapping_->slot() +
                            " (pg_drop_replication_slot) when Enishi is off for good.\n";
      else
        setting(name, std::to_string(own >> 20) + "MB", false);
    } else if (keep < own) {
      note("WARNING", "DISK_BOUND", name,
           "the server drops a slot at " + size(keep) + ", before Enishi gives it up at " + size(own) +
               " (most_wal_bytes); either way all keys are looked at again");
    } else {
      note("OK", "DISK_BOUND", name, "the server keeps " + size(keep) + " at most, Enishi gives its slot up at " + size(own));
    }
  }

  Task<Result<void>> tables() {
    std::vector<std::string> names;
    for (const auto& table : mapping_->tables) names.push_back(table.name);
    auto rows = co_await source_.db().run(statements::tables, pg::params(names), soon());
    if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
    for (std::size_t i = 0; i < rows->size(); ++i) {
      const std::string name(rows->text(i, 0));
      auto& t = facts_[name];
      t.kind = rows->text(i, 2)[0];
      t.identity = rows->text(i, 3)[0];
      t.rows = rows->integer(i, 4);
      t.readable = rows->boolean(i, 5);
      t.owner = rows->text(i, 6);
      t.keyed = rows->boolean(i, 7);
      t.streamed = (t.kind == 'r' && rows->text(i, 9) == "p") || t.kind == 'p';
      if (t.kind != 'r' && t.kind != 'p')
        note("ERROR", "NOT_A_TABLE", name, "only tables have changes in the WAL; a view's tables are to be listed instead");
      if (rows->text(i, 9) != "p" && t.kind == 'r')
        note("ERROR", "UNLOGGED", name, "an unlogged or temporary table has no changes in the WAL");
      if (!t.readable) note("ERROR", "SELECT_RIGHT", name, user_ + " may not read it");
      owners_.insert(t.owner);
      if (!rows->null(i, 8))
        note("WARNING", "TRIGGERS", name, "triggers of the source run for what is written back: " + std::string(rows->text(i, 8)));
      if (rows->boolean(i, 10))
        note("WARNING", "ROW_SECURITY", name, "row level security may hide rows from " + user_ + "; they would be taken for deleted");
      if (t.identity == 'n' || (!t.keyed && t.identity != 'f'))
        note("ERROR", "NO_REPLICA_IDENTITY", name,
             "without a key, the publication would make the legacy system's own UPDATE and DELETE fail");
    }
    if (owners_.size() > 1) {
      std::string all;
      for (const auto& owner : owners_) all += (all.empty() ? "" : ", ") + owner;
      note("WARNING", "OWNERS", all,
           "the tables have several owners: the SQL below has to be run by a role that is a member of all of them");
    }
    for (const auto& name : names)
      if (!facts_.contains(name)) note("ERROR", "TABLE_MISSING", name, "the source has no such table");
    auto columns = co_await source_.db().run(at_source::columns, pg::params(names), soon());
    if (!columns) co_return tl::make_unexpected(std::move(columns.error()));
    std::map<std::string, std::map<int, std::string>> keys;
    for (std::size_t i = 0; i < columns->size(); ++i) {
      const std::string table(columns->text(i, 0)), column(columns->text(i, 1));
      const int key = static_cast<int>(columns->integer(i, 5));
      facts_[table].columns.push_back({column, {std::string(columns->text(i, 2)), columns->boolean(i, 4), key}});
      if (key > 0) keys[table][key] = column;
    }
    for (auto& [table, parts] : keys)
      for (auto& [place, column] : parts) facts_[table].primary_key.push_back(column);
    for (const auto& name : names) {
      const auto found = facts_.find(name);
      if (found == facts_.end()) continue;
      const auto& t = found->second;
      if (t.identity != 'n' && (t.keyed || t.identity == 'f')) continue;
      owner_sql_needed_ = true;
      identities_ += "alter table " + quote_table(name) + " replica identity " +
                     (t.primary_key.empty() ? "full;  -- or give it a primary key\n" : "default;\n");
    }
    co_return Result<void>();
  }

  /// Tables that hang on the root and that the mapping does not know: what they hold stays behind.
  Task<Result<void>> unmapped() {
    if (!facts_.contains(mapping_->root_table)) co_return Result<void>();
    auto rows = co_await source_.db().run(statements::children, pg::params(quote_table(mapping_->root_table)), soon());
    if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
    for (std::size_t i = 0; i < rows->size(); ++i)
      if (mapping_->table(rows->text(i, 0)) == nullptr)
        note("WARNING", "TABLE_UNMAPPED", std::string(rows->text(i, 0)),
             "refers to " + mapping_->root_table + " and is not in the mapping: what it holds is not taken over");
    co_return Result<void>();
  }

  void columns() {
    for (const auto& table : mapping_->tables) {
      const auto found = facts_.find(table.name);
      if (found == facts_.end()) continue;
      const auto& facts = found->second;
      for (const auto& [name, column] : facts.columns) {
        const bool mapped = std::find(table.mapped.begin(), table.mapped.end(), name) != table.mapped.end();
        const auto subject = table.name + "." + name;
        if (!mapped && !table.waived.contains(name))
          note("ERROR", "COLUMN_UNMAPPED", subject, "map it, or waive it with a reason (" + column.type + ")");
        if (!mapped) continue;
        if (column.type == "oid" || column.type == "lo")
          note("WARNING", "LARGE_OBJECT", subject, "large objects are in no stream; if this points to one, its content is not taken over");
        if (column.type.starts_with("timestamp") && column.type.find("without") != std::string::npos)
          note("WARNING", "TIMESTAMP_WITHOUT_ZONE", subject,
               "say in forward.sql whose clock it is: " + name + " at time zone 'Asia/Tokyo'");
        if (column.type == "money") note("WARNING", "MONEY", subject, "its text depends on the server's locale; cast it to numeric");
      }
      for (const auto& name : table.mapped)
        if (facts.column(name) == nullptr) note("ERROR", "COLUMN_MISSING", table.name + "." + name, "is mapped, and the source has none");
      for (const auto& [name, reason] : table.waived)
        if (facts.column(name) == nullptr) note("WARNING", "COLUMN_MISSING", table.name + "." + name, "is waived, and the source has none");
      for (const auto& name : table.root)
        if (facts.column(name) == nullptr)
          note("ERROR", "COLUMN_MISSING", table.name + "." + name, "is to hold the root's key, and the source has none");
      const auto in_key = [&](const std::string& c) {
        return std::find(facts.primary_key.begin(), facts.primary_key.end(), c) != facts.primary_key.end();
      };
      if (!table.root.empty() && facts.identity != 'f' && !std::all_of(table.root.begin(), table.root.end(), in_key))
        linked_.insert(table.name);
      if (!table.root_sql.empty()) linked_.insert(table.name);
    }
    const auto root = facts_.find(mapping_->root_table);
    if (root != facts_.end() && root->second.primary_key != mapping_->root_key)
      note("ERROR", "ROOT_KEY", mapping_->root_table, "the key of the mapping is not the primary key of the table");
    if (root != facts_.end()) plan_.rows = root->second.rows;
  }

  Task<Result<void>> publication() {
    const auto name = mapping_->publication();
    auto rows = co_await source_.db().run(statements::published, pg::params(name), soon());
    if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
    for (const auto& table : mapping_->tables) {
      const auto found = facts_.find(table.name);
      partitioned_ = partitioned_ || (found != facts_.end() && found->second.kind == 'p');
    }
    bool marked = rows->empty();
    if (rows->empty()) {
      note("ERROR", "PUBLICATION_MISSING", name, "its owner has to make it: see below");
    } else {
      std::set<std::string> published;
      for (std::size_t i = 0; i < rows->size(); ++i) published.emplace(rows->text(i, 3));
      if (rows->boolean(0, 0))
        note("WARNING", "PUBLICATION", name,
             "is FOR ALL TABLES: the legacy system's own UPDATE and DELETE fail in every table without key or replica identity");
      if (!rows->boolean(0, 1)) note("ERROR", "PUBLICATION", name, "must publish insert, update, delete and truncate");
      if (partitioned_ && !rows->boolean(0, 2))
        note("ERROR", "PUBLICATION", name, "a partitioned table is mapped: publish_via_partition_root must be true");
      for (const auto& table : mapping_->tables)
        if (!published.contains(table.name) && facts_.contains(table.name))
          note("ERROR", "PUBLICATION", table.name, "is not in the publication " + name);
      const auto& marks = fence_tables();
      marked = std::all_of(marks.begin(), marks.end(), [&](const auto& table) { return published.contains(table); });
    }
    auto applied = co_await source_.db().run(statements::applied, {}, soon());
    if (!applied) co_return tl::make_unexpected(std::move(applied.error()));
    if (!applied->boolean(0, 0))
      note("WARNING", "WRITE_THROUGH", "enishi.applied",
           "is not there, or not writable: edits in Enishi are refused while the legacy system owns");
    auto fenced = co_await source_.db().run(statements::fenced, pg::params(mapping_->domain, mapping_->root_table), soon());
    if (!fenced) co_return tl::make_unexpected(std::move(fenced.error()));
    if (!fenced->boolean(0, 0))
      note("WARNING", "FENCE", "enishi.raise_fence", "is not installed: the mirror can run, a switch is refused");
    else if (!marked)
      note("ERROR", "FENCE", name, "its tables are not in the publication, so that a switch could never know that everything has arrived");
    else
      note("OK", "FENCE", "enishi.raise_fence", "installed");
    owner_sql_needed_ = owner_sql_needed_ || !applied->boolean(0, 0) || !fenced->boolean(0, 0) || !plan_.good();
    co_return Result<void>();
  }

  /// What reverse.sql writes, and what the triggers it wakes write with the rights of whoever writes.
  Task<Result<void>> rights() {
    std::set<std::string> places{"public"};
    for (const auto& table : mapping_->tables) places.insert(table.name.substr(0, table.name.find('.')));
    const std::vector<std::string> where(places.begin(), places.end());
    std::vector<Touched> wanted;
    for (const auto& statement : split_sql(mapping_->files.reverse))
      for (auto& one : touched_by(statement)) wanted.push_back(std::move(one));
    std::set<std::string> read;  // tables whose triggers were followed
    for (int round = 0; round < 5 && !wanted.empty(); ++round) {
      std::vector<std::string> schemas, names;
      for (const auto& one : wanted) {
        schemas.push_back(one.schema);
        names.push_back(one.name);
      }
      auto rows = co_await source_.db().run(statements::touched, pg::params(schemas, names, where), soon());
      if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
      std::vector<Touched> more;
      for (std::size_t i = 0; i < rows->size(); ++i) {
        const auto& one = wanted[static_cast<std::size_t>(rows->integer(i, 6))];
        const std::string schema(rows->text(i, 0)), table = schema + "." + std::string(rows->text(i, 1));
        auto& needed = needed_[table];
        if (rows->text(i, 2) == "S") {
          needed.sequence = true;
          needed.missing = needed.missing || !rows->boolean(i, 3) || !rows->boolean(i, 5);
          continue;
        }
        const std::string has(rows->text(i, 4));
        const auto need = [&](bool wants, char letter, std::string_view privilege) {
          if (!wants) return;
          needed.privileges.emplace(privilege);
          needed.missing = needed.missing || !rows->boolean(i, 3) || has.find(letter) == std::string::npos;
        };
        const bool writes = one.insert || one.update || one.remove;
        need(one.select || writes, 's', "select");
        need(one.insert, 'i', "insert");
        need(one.update, 'u', "update");
        need(one.remove, 'd', "delete");
        if (!writes || !read.insert(table).second) continue;
        if (one.insert)
          for (const auto& sequence : lines(rows->text(i, 7))) {
            Touched serial;
            serial.schema = sequence.substr(0, sequence.find('.'));
            serial.name = sequence.substr(sequence.find('.') + 1);
            serial.sequence = true;
            more.push_back(std::move(serial));
          }
        for (auto& by_trigger : touched_by(rows->text(i, 8))) more.push_back(std::move(by_trigger));
      }
      wanted = std::move(more);
    }
    for (const auto& [name, one] : needed_) {
      if (!one.missing) continue;
      owner_sql_needed_ = true;
      std::string privileges;
      for (const auto& privilege : one.privileges) privileges += (privileges.empty() ? "" : ", ") + privilege;
      note("WARNING", "WRITE_RIGHT", name, user_ + " needs " + (one.sequence ? "usage" : privileges) + " for reverse.sql");
    }
    co_return Result<void>();
  }

  std::string from_clause(const std::string& name, const TableFacts& facts) const {
    return quote_table(name) + (facts.rows > kLookedAtWhole && facts.kind == 'r' ? " tablesample system (1)" : "");
  }

  Task<> contents() {
    const auto root = facts_.find(mapping_->root_table);
    for (const auto& table : mapping_->tables) {
      const auto found = facts_.find(table.name);
      if (found == facts_.end()) continue;
      const auto& facts = found->second;
      if (!facts.readable) {
        note("WARNING", "NOT_LOOKED_AT", table.name, "its rows are looked at when " + user_ + " may read it");
        continue;
      }
      // One look at a table answers all questions about its columns.
      std::string counts = "count(*)";
      std::vector<std::string> about, what;
      const auto count = [&](const std::string& column, const std::string& condition, const std::string& meaning) {
        counts += ", count(*) filter (where " + condition + ")";
        about.push_back(table.name + "." + column);
        what.push_back(meaning);
      };
      for (const auto& name : table.mapped) {
        const auto* column = facts.column(name);
        if (column == nullptr) continue;
        const auto q = quote_identifier(name);
        const auto& type = column->type;
        if (type == "real" || type == "double precision" || type.starts_with("numeric"))
          count(name, q + "::text in ('NaN', 'Infinity', '-Infinity')", "NaN or infinite, which JSON has no number for");
        if (type == "date" || type.starts_with("timestamp"))
          count(name, "not isfinite(" + q + ") or extract(year from case when isfinite(" + q + ") then " + q + " end) < 1",
                "infinite or before Christ");
      }
      if (auto rows = co_await ask(table.name, "select " + counts + " from " + from_clause(table.name, facts)); rows) {
        if (facts.rows <= kLookedAtWhole || facts.kind != 'r') {
          note("OK", "ROWS", table.name, std::string(rows->text(0, 0)));
          if (table.name == mapping_->root_table) plan_.rows = rows->integer(0, 0);
        }
        for (std::size_t i = 0; i < about.size(); ++i)
          if (rows->integer(0, i + 1) > 0)
            note("WARNING", "DOES_NOT_ROUND_TRIP", about[i],
                 std::to_string(rows->integer(0, i + 1)) + " values are " + what[i] + "; say in forward.sql what they become");
      }
      if (table.root.empty() || table.name == mapping_->root_table || root == facts_.end() || !root->second.readable) continue;
      const auto there = [&](const std::string& column) { return facts.column(column) != nullptr; };
      if (!std::all_of(table.root.begin(), table.root.end(), there)) continue;
      std::string given, equal, missing;
      for (std::size_t i = 0; i < table.root.size(); ++i) {
        const auto child = "c." + quote_identifier(table.root[i]);
        given += (i > 0 ? " and " : "") + child + " is not null";
        missing += (i > 0 ? " or " : "") + child + " is null";
        equal += (i > 0 ? " and " : "") + std::string("r.") + quote_identifier(mapping_->root_key[i]) + " = " + child;
      }
      if (auto rows = co_await ask(table.name, "select count(*) filter (where " + missing + "), count(*) filter (where " + given +
                                                   " and not exists (select from " + quote_table(mapping_->root_table) + " r where " +
                                                   equal + ")) from " + from_clause(table.name, facts) + " c");
          rows) {
        if (rows->integer(0, 0) > 0)
          note("WARNING", "ORPHANS", table.name, std::to_string(rows->integer(0, 0)) + " rows belong to no root and are not taken over");
        if (rows->integer(0, 1) > 0)
          note("WARNING", "ORPHANS", table.name,
               std::to_string(rows->integer(0, 1)) + " rows name a root that is not there; they are not taken over");
      }
    }
  }

  /// forward.sql with the first keys: what it gives, what Enishi would say, how long it takes, and whether reverse.sql leads back.
  Task<> sample() {
    std::string columns, text;
    for (const auto& c : mapping_->root_key) columns += (columns.empty() ? "" : ", ") + quote_identifier(c);
    for (const auto& c : mapping_->root_key) text += (text.empty() ? "" : ", ") + quote_identifier(c) + "::text";
    if (mapping_->root_key.size() > 1) text = "jsonb_build_array(" + text + ")::text";
    auto rows = co_await ask(mapping_->root_table, "select " + text + " from " + quote_table(mapping_->root_table) + " order by " +
                                                       columns + " limit " + std::to_string(kSample));
    if (!rows || rows->empty()) co_return;
    auto keys = rows->texts(0);
    Fetched fetched;
    std::string refused;
    const auto began = steady_now();
    try {
      auto got = co_await source_.fetch(mapping_, keys, {}, 1, soon());
      if (got)
        fetched = std::move(**got);
      else
        refused = got.error().detail;
    } catch (const pg::Broken& e) {
      refused = e.what();
    }
    if (!refused.empty()) {
      note("ERROR", "FORWARD", "forward.sql", "the source refused it: " + refused);
      co_return;
    }
    const double spent = std::chrono::duration<double>(steady_now() - began).count();
    // Twice the time for the other side, shared by the workers.
    plan_.seconds = std::ceil(spent / static_cast<double>(keys.size()) * static_cast<double>(plan_.rows) * 2 / mapping_->copy.workers);
    fetched.hidden.insert(fetched.hidden.end(), fetched.absent.begin(), fetched.absent.end());  // asked for as the root table has them
    if (!fetched.hidden.empty())
      note("ERROR", "FORWARD", "forward.sql",
           std::to_string(fetched.hidden.size()) + " of " + std::to_string(keys.size()) +
               " roots that are there gave no record (an inner join, or another form of the key?), first: " + fetched.hidden.front());
    if (!fetched.failed.empty())
      note("ERROR", "FORWARD", "forward.sql",
           "it fails on " + std::to_string(fetched.failed.size()) + " of " + std::to_string(keys.size()) +
               " roots, first: " + fetched.failed.front().first + ": " + fetched.failed.front().second);
    const std::set<std::string> asked(keys.begin(), keys.end());
    std::set<std::string> links;
    for (const auto& record : fetched.records) {
      if (!asked.contains(record.key)) {
        note("ERROR", "FORWARD", "forward.sql", "it gave the key " + record.key + ", which was not asked for");
        break;
      }
      for (const auto& name : linked_)
        if (record.links.find("\"" + name + "\"") != std::string::npos) links.insert(name);
    }
    for (const auto& name : linked_)
      if (!links.contains(name))
        note(mapping_->table(name)->root.empty() ? "WARNING" : "ERROR", "LINKS", name,
             "a deleted or moved row brings only its own key: forward.sql must give links for it, or the table be REPLICA IDENTITY FULL");
    const auto copy = fetched.records;
    const auto batch = decode(*mapping_, std::move(fetched));
    std::map<std::string, std::pair<int, std::string>> rejects;
    for (const auto& reject : batch.rejects) {
      auto& [count, first] = rejects[reject.code];
      if (count++ == 0) first = reject.key + ": " + reject.detail;
    }
    for (const auto& [code, what] : rejects)
      note(code == "KEY_TWICE" || code == "UNKNOWN_FIELD" ? "ERROR" : "WARNING", "REJECTS", code,
           std::to_string(what.first) + " of the first " + std::to_string(keys.size()) + " records would be refused, first " + what.second);
    if (rejects.empty()) note("OK", "RECORDS", "forward.sql", std::to_string(batch.records.size()) + " records look right");
    if (mapping_->reverse.empty())
      note("WARNING", "REVERSE", "reverse.sql", "there is none: no edits while the legacy system owns, and no way back after a switch");
    else
      co_await rehearse(copy);
  }

  Task<> rehearse(std::vector<FetchedRecord> records) {
    const Owned canonical("select (" + canonical_sql(mapping_->system, mapping_->domain, "$1::jsonb") + ")::text");
    int tried = 0;
    for (const auto& record : records) {
      if (tried == 5) break;
      ++tried;
      std::string refused;
      bool same = false;
      try {
        auto lease = co_await source_.db().lease(soon());
        co_await lease.begin(soon(), "begin isolation level read committed read write");
        Result<pg::Rows> last = fail(Kind::internal, "", "reverse.sql is empty");
        for (const auto& statement : mapping_->reverse) {
          last = co_await lease.run(*statement, parameters_for(*statement, record.key, record.record), soon());
          if (!last) break;
        }
        if (!last) {
          refused = last.error().detail;
        } else if (last->empty() || last->text(0, 0) != record.key) {
          refused = "the last statement must return the legacy key";
        } else {
          auto again = co_await Source::fetch_within(lease, mapping_, {record.key}, 1, soon());
          if (again && again->records.size() == 1) {
            auto before = co_await lease.run(canonical.statement, pg::params(record.record), soon());
            auto after = co_await lease.run(canonical.statement, pg::params(again->records[0].record), soon());
            same = before && after && before->text(0, 0) == after->text(0, 0);
          }
        }
        co_await lease.rollback(soon());
      } catch (const pg::Broken& e) {
        refused = e.what();
      }
      if (!refused.empty() || !same) {
        note("WARNING", "REVERSE", "reverse.sql",
             refused.empty() ? "written back unchanged, the record " + record.key + " comes out different"
                             : "rehearsed with " + record.key + ", rolled back: " + refused);
        co_return;
      }
    }
    if (tried > 0) note("OK", "REVERSE", "reverse.sql", std::to_string(tried) + " records written back and rolled back come out the same");
  }

  /// Statements of reverse.sql take both parameters, or none (mapping.cpp).
  static pg::Params parameters_for(const pg::Statement& statement, const std::string& key, const std::string& record) {
    return statement.sql.find("$1") == std::string_view::npos ? pg::Params() : pg::params(key, record);
  }

  void owner_sql() {
    if (reload_) plan_.server_sql += "select pg_reload_conf();\n";
    plan_.owner_sql_needed = owner_sql_needed_;
    const auto login = quote_identifier(user_), publication = quote_identifier(mapping_->publication());
    auto& out = plan_.owner_sql;
    out = "-- For the owner of the tables, in the database " + database_ +
          ". It may be run again. Each lock is waited for no longer than this; when it says so, run it again.\n"
          "set lock_timeout = '3s';\nset client_min_messages = 'warning';\n";
    if (!identities_.empty())
      out += "\n-- Tables without key: an UPDATE or DELETE of a published row must say which row it was.\n" + identities_;
    std::set<std::string> schemas;
    std::string grants;
    for (const auto& table : mapping_->tables) {
      if (!facts_.contains(table.name)) continue;
      schemas.insert(table.name.substr(0, table.name.find('.')));
      grants += "grant select on " + quote_table(table.name) + " to " + login + ";\n";
    }
    std::string writes;
    for (const auto& [name, one] : needed_) {
      schemas.insert(name.substr(0, name.find('.')));
      std::string privileges = one.sequence ? "usage on sequence " : "";
      for (const auto& privilege : one.privileges) privileges += (privileges.empty() ? "" : ", ") + privilege;
      writes += "grant " + privileges + (one.sequence ? "" : " on ") + quote_table(name) + " to " + login + ";\n";
    }
    out += "\n-- What " + user_ + " reads.\ngrant connect on database " + quote_identifier(database_) + " to " + login + ";\n";
    for (const auto& schema : schemas) out += "grant usage on schema " + quote_identifier(schema) + " to " + login + ";\n";
    out += grants;
    if (!writes.empty())
      out += "\n-- What reverse.sql and the triggers that it wakes write: edits while you own, and the way back.\n" + writes;
    out += "\n-- What is streamed: changes of these tables alone.\n" + publication_sql(publication);
    out += "\n-- The fence. It sleeps until a switch: disabled statement triggers named a_enishi_fence_" + mapping_->domain +
           " on the tables below cost nothing. A switch wakes them:\n"
           "-- whoever writes gets SQLSTATE EN001 for a moment (it lapses by itself after 10 s), and EN003 once Enishi owns the records. A "
           "revert puts them to sleep,\n"
           "-- completion drops them. " +
           user_ + " may only call the functions of the schema enishi; they are SECURITY DEFINER and run as you.\n";
    out += fence_setup_sql(*mapping_, user_);
    out +=
        "\n-- Edits in Enishi while you own: each notes its number here, so that none is done twice.\ngrant select, insert, update, delete "
        "on "
        "enishi.applied to " +
        login + ";\n";
  }

  [[nodiscard]] std::string publication_sql(const std::string& publication) const {
    std::string tables;
    for (const auto& table : mapping_->tables)
      if (const auto found = facts_.find(table.name); found != facts_.end() && found->second.streamed)
        tables += (tables.empty() ? "" : ", ") + quote_literal(quote_table(table.name));
    const auto name = quote_literal(mapping_->publication());
    return "do $$\ndeclare\n  t regclass;\nbegin\n  if not exists (select from pg_publication where pubname = " + name +
           ") then create publication " + publication + "; end if;\n  foreach t in array array[" + tables +
           "]::regclass[] loop\n    if not exists (select from pg_publication p left join pg_publication_rel r on r.prpubid = p.oid and "
           "r.prrelid = t"
           "\n                    where p.pubname = " +
           name + " and (p.puballtables or r.prrelid is not null)) then\n      execute format('alter publication %I add table %s', " +
           name + ", t);\n    end if;\n  end loop;\nend $$;\nalter publication " + publication +
           " set (publish = 'insert, update, delete, truncate'" + (partitioned_ ? ", publish_via_partition_root = true" : "") + ");\n";
  }

  static std::vector<std::string> lines(std::string_view text) {
    std::vector<std::string> out;
    for (std::size_t at = 0; at < text.size();) {
      const auto end = std::min(text.find('\n', at), text.size());
      out.emplace_back(text.substr(at, end - at));
      at = end + 1;
    }
    return out;
  }

  static std::string quote_literal(std::string_view text) {
    std::string out = "'";
    for (const char c : text) out += c == '\'' ? std::string("''") : std::string(1, c);
    return out + "'";
  }

  pg::Database& local_;
  Source& source_;
  std::shared_ptr<const Mapping> mapping_;
  Plan plan_;
  std::map<std::string, TableFacts> facts_;
  struct Needed {
    std::set<std::string> privileges;
    bool sequence = false, missing = false;
  };
  std::map<std::string, Needed> needed_;  ///< for reverse.sql, by table or sequence
  std::set<std::string> linked_, owners_;
  std::string user_, database_, identities_;
  bool partitioned_ = false, reload_ = false, owner_sql_needed_ = false;
};

/// What a column of this name probably is, as a field of a customer.
std::string_view meaning(std::string_view column) {
  static constexpr std::pair<std::string_view, std::string_view> words[] = {
      {"kana", "kana"},          {"birth", "birth_date"}, {"memo", "notes"},        {"note", "notes"},       {"remark", "notes"},
      {"tel", "phone"},          {"phone", "phone"},      {"mobile", "phone"},      {"mail", "email"},       {"zip", "postal_code"},
      {"postal", "postal_code"}, {"pref", "prefecture"},  {"city", "city"},         {"town", "town"},        {"address", "street"},
      {"addr", "street"},        {"street", "street"},    {"building", "building"}, {"name", "display_name"}};
  for (const auto& [word, field] : words)
    if (column.find(word) != std::string_view::npos) return field;
  return {};
}

}  // namespace

bool Plan::good() const {
  return std::none_of(findings.begin(), findings.end(), [](const auto& f) { return f.level == "ERROR"; });
}

std::string Plan::json() const {
  std::string out = R"({"findings":[)";
  for (const auto& f : findings) {
    if (out.back() == '}') out.push_back(',');
    out += R"({"level":)" + json_quote(f.level) + R"(,"code":)" + json_quote(f.code) + R"(,"subject":)" + json_quote(f.subject) +
           R"(,"detail":)" + json_quote(f.detail) + "}";
  }
  return out + R"(],"server_sql":)" + json_quote(server_sql) + R"(,"owner_sql":)" + json_quote(owner_sql) + R"(,"rows":)" +
         std::to_string(rows) + R"(,"seconds":)" + std::to_string(seconds) + R"(,"good":)" + (good() ? "true" : "false") + "}";
}

Task<Result<Plan>> make_plan(pg::Database& local, Source& source, std::shared_ptr<const Mapping> mapping) {
  Planner planner(local, source, std::move(mapping));
  co_return co_await planner.run();
}

Task<Result<MappingFiles>> scaffold(Source& source, std::string system, std::string domain, std::string root_table) {
  const auto deadline = Deadline::in(Millis(60000));
  std::vector<std::string> names{root_table};
  std::map<std::string, std::vector<std::string>> roots;
  auto children = co_await source.db().run(statements::children, pg::params(quote_table(root_table)), deadline);
  if (!children) co_return tl::make_unexpected(std::move(children.error()));
  for (std::size_t i = 0; i < children->size(); ++i) {
    const std::string name(children->text(i, 0));
    if (roots.contains(name)) continue;
    names.push_back(name);
    std::string part;
    for (const char c : std::string(children->text(i, 1)) + ",") {
      if (c != ',')
        part.push_back(c);
      else
        roots[name].push_back(std::exchange(part, {}));
    }
  }
  auto rows = co_await source.db().run(at_source::columns, pg::params(names), deadline);
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  std::map<std::string, std::vector<std::pair<std::string, std::string>>> columns;  // table → (column, type)
  std::map<std::string, std::map<std::int64_t, std::string>> keys;
  for (std::size_t i = 0; i < rows->size(); ++i) {
    columns[std::string(rows->text(i, 0))].emplace_back(rows->text(i, 1), rows->text(i, 2));
    if (rows->integer(i, 5) > 0) keys[std::string(rows->text(i, 0))][rows->integer(i, 5)] = std::string(rows->text(i, 1));
  }
  if (columns[root_table].empty())
    co_return fail(Kind::not_found, "TABLE_MISSING", "the source has no table " + root_table + "; write it as schema.table");
  std::vector<std::string> key;
  for (const auto& [place, column] : keys[root_table]) key.push_back(column);
  if (key.empty()) co_return fail(Kind::unprocessable, "KEY_MISSING", root_table + " has no primary key, which a root table needs");
  roots[root_table] = key;
  const auto list = [](const std::vector<std::string>& parts) {
    std::string out = "[";
    for (const auto& part : parts) out += (out.size() > 1 ? ", " : "") + json_quote(part);
    return out + "]";
  };
  MappingFiles out;
  out.toml = "system = " + json_quote(system) + "\ndomain = " + json_quote(domain) + "\n\n[root]\ntable = " + json_quote(root_table) +
             "\nkey = " + list(key) + "\n";
  for (const auto& name : names) {
    std::vector<std::string> mapped;
    std::string waived;
    for (const auto& [column, type] : columns[name]) {
      const bool in_key = std::find(roots[name].begin(), roots[name].end(), column) != roots[name].end() ||
                          std::any_of(keys[name].begin(), keys[name].end(), [&](const auto& k) { return k.second == column; });
      if (in_key || !meaning(column).empty())
        mapped.push_back(column);
      else
        waived += json_quote(column) + " = \"\"  # " + type + ": map it in forward.sql, or say why not\n";
    }
    out.toml += "\n[[table]]\nname = " + json_quote(name) + "\nroot = " + list(roots[name]) + "\nmapped = " + list(mapped) + "\n";
    if (!waived.empty()) out.toml += "[table.waived]\n" + waived;
  }
  // One column of the key or several, as text.
  std::string key_text;
  for (const auto& column : key) key_text += (key_text.empty() ? "" : ", ") + std::string("r.") + quote_identifier(column) + "::text";
  if (key.size() > 1) key_text = "jsonb_build_array(" + key_text + ")::text";
  std::string fields;
  const auto field = [&](const std::string& name, const std::string& value) {
    fields += (fields.empty() ? "" : ",\n") + std::string("         '") + name + "', " + value;
  };
  if (domain == "customer") {
    std::set<std::string_view> given;
    std::string phones;
    for (const auto& [column, type] : columns[root_table]) {
      const auto what = meaning(column);
      const auto q = "r." + quote_identifier(column);
      if (what == "phone") {
        phones += (phones.empty() ? "" : ", ") + std::string("('") + column + "', " + q + "::text)";
        continue;
      }
      if (what != "display_name" && what != "kana" && what != "birth_date" && what != "notes") continue;
      if (!given.insert(what).second) continue;
      field(std::string(what), what == "kana" || what == "notes" ? "coalesce(" + q + ", '')" : q);
    }
    if (!given.contains("display_name")) field("display_name", "null");
    if (!phones.empty())
      field("phones", "(select coalesce(jsonb_agg(jsonb_build_object('key', t.k, 'raw', t.v) order by t.k), '[]') from (values " + phones +
                          ") t(k, v) where t.v <> '')");
  } else if (domain == "goods") {
    for (const auto& [column, type] : columns[root_table])
      if (meaning(column) == "display_name" && fields.empty()) field("name", "r." + quote_identifier(column));
  }
  std::string links;
  for (const auto& name : names) {
    if (name == root_table || keys[name].empty()) continue;
    std::string own, on;
    for (const auto& [place, column] : keys[name])
      own += (own.empty() ? "" : ", ") + std::string("c.") + quote_identifier(column) + "::text";
    if (keys[name].size() > 1) own = "jsonb_build_array(" + own + ")::text";
    for (std::size_t i = 0; i < key.size() && i < roots[name].size(); ++i)
      on += (on.empty() ? "" : " and ") + std::string("c.") + quote_identifier(roots[name][i]) + " = r." + quote_identifier(key[i]);
    links += (links.empty() ? "" : ",\n") + std::string("         '") + name + "', (select jsonb_agg(" + own + ") from " +
             quote_table(name) + " c where " + on + ")";
  }
  std::string type = "text";
  for (const auto& [column, t] : columns[root_table])
    if (column == key[0]) type = t;
  out.forward = "-- A draft: docs/takeover/mapping.md lists the fields of a canonical record.\nselect " + key_text +
                " as key,\n       jsonb_build_object(\n" + fields + ") as record,\n       jsonb_build_object(\n" + links +
                ") as links\n  from " + quote_table(root_table) + " r\n where " +
                (key.size() == 1 ? "r." + quote_identifier(key[0]) + " = any ($1::" + type + "[])" : key_text + " = any ($1::text[])") +
                "\n";
  out.reverse = "-- $1: the legacy key, null for a new record; $2: the canonical record. The last statement returns the legacy key.\n";
  co_return out;
}

}  // namespace enishi::takeover

#include <gtest/gtest.h>

#include "base/metrics.hpp"
#include "pg/testing.hpp"

namespace enishi::pg {
namespace {

using testing::Stage;

const Statement echo{"test.echo", Rowcount::one, true,
                     "select $1::text, $2::bigint, $3::float8, $4::boolean, $5::uuid, $6::text[], $7::int[], $8::text as nothing"};
const Statement twice{"test.twice", Rowcount::one, true, "select 2 * $1::int"};
const Statement divide{"test.divide", Rowcount::one, true, "select 100 / $1::int"};
const Statement nonsense{"test.nonsense", Rowcount::one, true, "select no_such_column from pg_class where oid = $1::oid"};
const Statement nap{"test.nap", Rowcount::one, true, "select pg_sleep($1::float8), 1"};
const Statement pid{"test.pid", Rowcount::one, true, "select pg_backend_pid()"};
const Statement insert{"test.insert", Rowcount::exec, false, "insert into item (id, name) values ($1, $2)"};
const Statement count{"test.count", Rowcount::one, false, "select count(*) from item"};

Task<> doubled(Database& db, int n, int& wrong) {
  const auto rows = co_await db.read(twice, params(n));
  if (!rows || rows->integer(0, 0) != 2 * n) ++wrong;
}

Task<> divided(Database& db, int n, int& errors) {
  const auto rows = co_await db.read(divide, params(n));
  if (!rows) {
    EXPECT_EQ(rows.error().code, "VALUE_INVALID");
    EXPECT_EQ(n, 0);
    ++errors;
  } else {
    EXPECT_EQ(rows->integer(0, 0), 100 / n);
  }
}

TEST(Values, go_out_and_come_back_typed) {
  Stage stage;
  const auto id = Uuid::make();
  const std::vector<std::string> words{"a", "", "with \"quotes\", commas and \\", "NULL", "田中"};
  const std::vector<int> numbers{1, -2, 3};
  auto rows = stage.run(stage.db.read(echo, params("髙橋 🙂", std::int64_t{-9007199254740993}, 0.1, true, id, words, numbers, nullptr)));
  ASSERT_TRUE(rows);
  EXPECT_EQ(rows->text(0, 0), "髙橋 🙂");
  EXPECT_EQ(rows->integer(0, 1), -9007199254740993);
  EXPECT_EQ(rows->text(0, 2), "0.1");
  EXPECT_TRUE(rows->boolean(0, 3));
  EXPECT_EQ(rows->text(0, 4), id.str());
  EXPECT_EQ(rows->text(0, 5), R"({a,"","with \"quotes\", commas and \\","NULL",田中})");
  EXPECT_EQ(rows->text(0, 6), "{1,-2,3}");
  EXPECT_TRUE(rows->null(0, 7));
  EXPECT_EQ(rows->maybe(0, 7), std::nullopt);
  EXPECT_EQ(rows->column("nothing"), 7U);
  EXPECT_THROW(static_cast<void>(rows->column("something")), std::out_of_range);
  EXPECT_THROW(static_cast<void>(rows->integer(0, 0)), std::invalid_argument);
  EXPECT_THROW(static_cast<void>(rows->integer(0, 7)), std::invalid_argument);
  EXPECT_THROW(static_cast<void>(rows->text(1, 0)), std::out_of_range);
}

TEST(Reads, of_many_tasks_share_few_connections) {
  Stage stage({.pipelines = 2});
  int wrong = 0;
  std::vector<Task<>> tasks;
  for (int i = 0; i < 1500; ++i) tasks.push_back(doubled(stage.db, i, wrong));
  stage.run_all(std::move(tasks));
  EXPECT_EQ(wrong, 0);
  EXPECT_LE(std::stoi(*stage.fresh.value(
                "select count(*) from pg_stat_activity where application_name = 'enishi' and datname = current_database()")),
            2);
}

TEST(Reads, keep_an_error_to_its_own_statement) {
  Stage stage({.pipelines = 1});
  int errors = 0;
  std::vector<Task<>> tasks;
  for (int i = 0; i < 100; ++i) tasks.push_back(divided(stage.db, i % 10, errors));
  stage.run_all(std::move(tasks));
  EXPECT_EQ(errors, 10);
  EXPECT_THROW(stage.run(stage.db.read(nonsense, params(1))), Broken);
  EXPECT_THROW(stage.run(stage.db.read(nonsense, params(1))), Broken);
  EXPECT_EQ(stage.run(stage.db.read(twice, params(4)))->integer(0, 0), 8);
}

TEST(Writes, of_several_steps_stand_or_fall_together) {
  Stage stage;
  stage.fresh.sql("create table item (id int primary key, name text not null)");
  std::vector<Step> good{{insert, params(1, "one")}, {insert, params(2, "two")}};
  ASSERT_TRUE(stage.run(stage.db.write(good)));
  std::vector<Step> bad{{insert, params(3, "three")}, {insert, params(1, "again")}, {insert, params(4, "four")}};
  const auto refused = stage.run(stage.db.write(bad));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, Kind::conflict);
  EXPECT_EQ(refused.error().code, "UNIQUE_VIOLATION");
  EXPECT_EQ(refused.error().extra, R"({"constraint":"item_pkey"})");
  EXPECT_EQ(stage.run(stage.db.run(count, {}))->integer(0, 0), 2);
}

/// Ends with the loop at the latest.
Task<> slow_transaction(Database& db) {
  auto lease = co_await db.lease();
  const auto limit = Deadline::in(Millis(60000));
  co_await lease.begin(limit);
  (void)co_await lease.script("select pg_sleep(60)", limit);
}

Task<> dropped_transaction(Database& db) {
  auto lease = co_await db.lease();
  co_await lease.begin(Deadline::in(Millis(60000)));
}

Task<> slow_read(Database& db) { (void)co_await db.read(nap, params(60)); }

/// Connections being opened, reads and statements under way, tasks that wait for a connection, a rollback behind a dropped lease: each
/// round ends one turn of the loop later than the one before.
TEST(Databases, that_go_with_their_loop_at_any_moment_leave_no_connection_behind) {
  auto& open = metrics::gauge("enishi_pg_connections", "Connections to PostgreSQL that are open");
  const auto before = open.value();
  const testing::Fresh fresh;
  for (int turns = 0; turns < 60; ++turns) {
    Shard shard{0};
    Offload offload{2, 64};
    Database db(shard, offload, {.conninfo = fresh.conninfo(), .pipelines = 1, .leases = 2});
    spawn(shard, "test.read", slow_read(db));
    spawn(shard, "test.dropped", dropped_transaction(db));
    for (int i = 0; i < 3; ++i) spawn(shard, "test.slow", slow_transaction(db));
    for (int i = 0; i < turns && shard.context().run_one_for(Millis(20)) > 0; ++i) {
    }
  }
  EXPECT_EQ(open.value(), before);
}

}  // namespace
}  // namespace enishi::pg

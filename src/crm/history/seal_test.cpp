#include <gtest/gtest.h>

#include "auth/testing.hpp"
#include "crm/customers/routes.hpp"
#include "crm/history/history_api.hpp"
#include "crm/history/routes.hpp"
#include "crm/masters/routes.hpp"

namespace enishi::crm::history {
namespace {

using auth::testing::TestServer;

struct Chain : ::testing::Test {
  TestServer server{{customers::mount, masters::mount, history::mount}};
  auth::testing::Client op = server.as("operator");
  std::string customer;

  void SetUp() override {
    customer = op.post("/v1/customers", {{"display_name", "前"}, {"phones", {{{"raw", "090-1234-5678"}}}}}).string("/id");
    for (int i = 0; i < 5; ++i)
      ASSERT_EQ(
          op.patch("/v1/customers/" + customer, {{"notes", std::to_string(i)}}, {{"If-Match", "\"" + std::to_string(i + 1) + "\""}}).status,
          200);
    server.sql("select seal_history(3); select seal_history(3)");
    server.sql("select seal_history(10000)");
  }
  ChainReport verify(const std::string& anchor = {}) {
    Shard shard(0);
    Offload offload(1, 8);
    pg::Config config;
    config.conninfo = server.fresh().conninfo();
    config.role = "enishi_read";
    pg::Database db(shard, offload, config);
    auto report = run_task(shard.context(), [](pg::Database* from, std::string given) -> Task<Result<ChainReport>> {
      auto lease = co_await from->lease();
      co_return co_await verify_chain(lease, {}, std::move(given));
    }(&db, anchor));
    db.close();
    if (!report) throw std::runtime_error(report.error().detail);
    return *report;
  }
  /// A row in the middle of the second seal.
  std::string row() { return server.value("select ids[2] from history_seal where number = 2"); }
};

TEST_F(Chain, untouched_history_is_whole_and_every_row_below_the_horizon_is_sealed) {
  const auto report = verify();
  EXPECT_TRUE(report.whole()) << to_json(report);
  EXPECT_EQ(report.seals, 3);
  EXPECT_EQ(std::to_string(report.rows), server.value("select count(*) from history"));
  EXPECT_EQ(report.unsealed, 0);
  EXPECT_TRUE(verify(report.head).whole());
  server.sql("select seal_history(10000)");
  EXPECT_EQ(verify().seals, 3) << "nothing new makes no seal";
}

TEST_F(Chain, a_running_transaction_and_what_came_after_it_wait) {
  server.sql("select seal_history(10000)");
  const auto before = server.value("select count(*) from history");
  // The transaction that writes is the one that asks: its own row is above its horizon.
  EXPECT_EQ(server.value("with c as (update customer set notes = 'x' where id = '" + customer +
                         "' returning 1) select seal_history(10000) from c"),
            "0");
  EXPECT_EQ(std::to_string(verify().rows), before);
  EXPECT_EQ(server.value("select seal_history(10000)"), "1");
  EXPECT_TRUE(verify().whole());
}

TEST_F(Chain, a_changed_row_is_named_whatever_of_it_changed) {
  const auto id = row();
  for (const char* change :
       {"content = content || '{\"notes\": \"forged\"}'", "actor = 'user:nobody'", "at = at + interval '1 microsecond'", "request_id = 'x'",
        "row_id = gen_random_uuid()", "table_name = 'customer_email'", "op = 'DELETE'", "salt = gen_random_uuid()",
        "customer_id = gen_random_uuid()", "entity = 'x'"}) {
    server.sql("create table kept as select * from history where id = " + id + "; update history set " + change + " where id = " + id);
    const auto report = verify();
    ASSERT_EQ(report.problems.size(), 1u) << change << to_json(report);
    EXPECT_EQ(report.problems[0].problem, "CHANGED") << change;
    EXPECT_EQ(std::to_string(*report.problems[0].row), id) << change;
    EXPECT_EQ(report.problems[0].seal, 2);
    server.sql(
        "update history h set content = k.content, actor = k.actor, at = k.at, request_id = k.request_id, row_id = k.row_id, table_name = "
        "k.table_name, op = k.op,"
        " salt = k.salt, customer_id = k.customer_id, entity = k.entity from kept k where h.id = k.id; drop table kept");
    ASSERT_TRUE(verify().whole());
  }
}

TEST_F(Chain, a_removed_an_inserted_and_a_copied_row_are_named) {
  const auto id = row();
  server.sql("create table kept as select * from history where id = " + id + "; delete from history where id = " + id);
  auto report = verify();
  ASSERT_EQ(report.problems.size(), 1u) << to_json(report);
  EXPECT_EQ(report.problems[0].problem, "REMOVED");
  EXPECT_EQ(std::to_string(*report.problems[0].row), id);
  server.sql("insert into history overriding system value select * from kept");
  ASSERT_TRUE(verify().whole());

  server.sql("insert into history overriding system value select * from kept");
  report = verify();
  ASSERT_EQ(report.problems.size(), 1u) << to_json(report);
  EXPECT_EQ(report.problems[0].problem, "INSERTED");
  server.sql("delete from history where ctid = (select max(ctid) from history where id = " + id + ")");
  ASSERT_TRUE(verify().whole());

  server.sql("update kept set id = 999999; insert into history overriding system value select * from kept");
  report = verify();
  ASSERT_EQ(report.problems.size(), 1u) << to_json(report);
  EXPECT_EQ(report.problems[0].problem, "INSERTED");
  EXPECT_EQ(*report.problems[0].row, 999999);
}

TEST_F(Chain, rows_that_changed_places_are_named) {
  // Two rows of one seal, of different transactions, swap their places in the order.
  const std::string swap =
      "update history h set xid = o.xid from history o, (select min(id) as a, max(id) as b from history where row_id = '" + customer +
      "') w where h.id in (a, b) and o.id in (a, b) and o.id <> h.id";
  server.sql(swap);
  const auto report = verify();
  ASSERT_EQ(report.problems.size(), 2u) << to_json(report);
  EXPECT_EQ(report.problems[0].problem, "CHANGED");
  EXPECT_EQ(report.problems[0].row_id, customer);
  // The order that a seal remembers is checked by itself too.
  server.sql(swap);
  ASSERT_TRUE(verify().whole());
  server.sql(
      "update history_seal set ids = array[ids[2], ids[1], ids[3]], marks = substr(marks, 9, 8) || substr(marks, 1, 8) || substr(marks, "
      "17, 8) where number = 2");
  EXPECT_EQ(verify().problems.at(0).problem, "REORDERED");
}

TEST_F(Chain, a_seal_that_was_rewritten_or_is_gone_is_found_and_so_is_a_new_chain) {
  const auto head = verify().head;
  server.sql("create table kept as select * from history_seal; update history_seal set digest = sha256('x') where number = 2");
  auto report = verify();
  ASSERT_EQ(report.problems.size(), 2u) << to_json(report);  // the seal itself, and the one that stands on it
  EXPECT_EQ(report.problems[0].problem, "SEAL_BROKEN");
  server.sql("delete from history_seal where number = 2");
  EXPECT_EQ(verify().problems.at(0).problem, "SEAL_MISSING");
  // Everything forged and sealed anew: only somebody who noted the head can tell.
  server.sql("delete from history_seal; update history set actor = 'forged'");
  server.sql("select seal_history(3); select seal_history(3)");
  server.sql("select seal_history(10000)");
  EXPECT_TRUE(verify().whole());
  EXPECT_EQ(verify(head).problems.at(0).problem, "ANCHOR_DIFFERS");
}

TEST_F(Chain, the_application_cannot_write_seals) {
  EXPECT_THROW(server.sql("set role enishi_app; update history_seal set digest = ''"), std::runtime_error);
  EXPECT_THROW(server.sql("set role enishi_app; delete from history_seal"), std::runtime_error);
  EXPECT_THROW(server.sql("set role enishi_app; insert into history_seal select * from history_seal"), std::runtime_error);
}

}  // namespace
}  // namespace enishi::crm::history

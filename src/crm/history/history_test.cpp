#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "auth/testing.hpp"
#include "crm/customers/routes.hpp"
#include "crm/history/routes.hpp"
#include "crm/masters/routes.hpp"

namespace enishi::crm::history {
namespace {

using auth::testing::TestServer;
namespace json = boost::json;

struct History : ::testing::Test {
  TestServer server{{customers::mount, masters::mount, history::mount}};
  auth::testing::Client op = server.as("operator");
  auth::testing::Client compliance = server.as("compliance");
};

TEST_F(History, a_change_says_who_when_in_which_request_and_what_was_before) {
  const auto id = op.post("/v1/customers", {{"display_name", "前"}}).string("/id");
  const auto changed = op.patch("/v1/customers/" + id, {{"display_name", "後"}, {"notes", "n"}},
                                {{"If-Match", "\"1\""}, {"X-Request-Id", "req-of-this-test-0001"}});
  ASSERT_EQ(changed.status, 200) << changed.text;
  const auto list = compliance.get("/v1/history?row_id=" + id);
  ASSERT_EQ(list.status, 200) << list.text;
  ASSERT_EQ(list.at("/items").as_array().size(), 2u) << list.text;
  EXPECT_EQ(list.string("/items/0/op"), "UPDATE");
  EXPECT_EQ(list.string("/items/0/actor"), "user:" + op.user.str());
  EXPECT_EQ(list.string("/items/0/actor_name"), server.value("select display_name from app_user where id = '" + op.user.str() + "'"));
  EXPECT_EQ(list.string("/items/0/request_id"), changed.header("X-Request-Id"));
  EXPECT_EQ(list.string("/items/0/before/display_name"), "前");
  EXPECT_EQ(list.string("/items/0/content/display_name"), "後");
  EXPECT_EQ(json::serialize(list.at("/items/0/changed")), R"(["display_name","name_key","notes"])");
  EXPECT_EQ(list.string("/items/1/op"), "INSERT");
  const auto first = compliance.get("/v1/history?limit=1&row_id=" + id);
  const auto second = compliance.get("/v1/history?limit=1&row_id=" + id + "&cursor=" + first.string("/next_cursor"));
  EXPECT_EQ(second.string("/items/0/op"), "INSERT");
  EXPECT_TRUE(second.at("/next_cursor").is_null());
}

TEST_F(History, a_record_is_shown_as_it_was_and_only_tables_with_a_history_are) {
  const auto id = op.post("/v1/customers", {{"display_name", "前"}}).string("/id");
  const auto moment = server.value("select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')");
  op.patch("/v1/customers/" + id, {{"display_name", "後"}}, {{"If-Match", "\"1\""}});
  const auto then = compliance.get("/v1/history/customer/" + id + "?as_of=" + moment);
  ASSERT_EQ(then.status, 200) << then.text;
  EXPECT_EQ(then.string("/record/display_name"), "前");
  EXPECT_EQ(compliance.get("/v1/history/customer/" + id + "?as_of=2999-01-01T00:00:00Z").string("/record/display_name"), "後");
  EXPECT_EQ(compliance.get("/v1/history/customer/" + id + "?as_of=2000-01-01T00:00:00Z").status, 404);
  EXPECT_EQ(compliance.get("/v1/history/user_credential/" + id + "?as_of=2999-01-01T00:00:00Z").status, 404);
  EXPECT_EQ(compliance.get("/v1/history/customer/" + id).status, 422);
}

TEST_F(History, a_record_as_of_a_moment_is_looked_for_in_the_months_that_it_must_be_in_and_no_others) {
  server.sql("select ensure_history_partitions((now() - interval '12 months')::date, 14)");
  const auto id = op.post("/v1/customers", {{"display_name", "昔"}}).string("/id");
  // One change in the middle of each of the last twelve months, and one before all of them.
  const auto middle = [](const std::string& months_ago) {
    return "((date_trunc('month', now() at time zone 'UTC') - make_interval(months => " + months_ago +
           ") + interval '14 days') at time zone 'UTC')";
  };
  server.sql("update history set at = " + middle("60") + " where row_id = '" + id +
             "';"
             "insert into history (at, table_name, row_id, customer_id, op, actor, content) select " +
             middle("m") + ", 'customer', '" + id + "', '" + id + "', 'UPDATE', 'x', jsonb_build_object('id', '" + id +
             "', 'display_name', m::text) from generate_series(1, 12) m");
  EXPECT_EQ(server.value("select count(*) from history_before"), "1");
  const auto looked = [&](const std::string& months_ago) {
    const auto plan =
        json::parse(server.value("set plan_cache_mode = force_generic_plan; set enable_seqscan = off;"
                                 "prepare as_of (text, uuid, timestamptz, boolean) as select content from record_as_of($1, $2, $3, $4);"
                                 "explain (analyze, costs off, timing off, summary off, format json) execute as_of ('customer', '" +
                                 id + "', " + middle(months_ago) + " + interval '1 day', false)"));
    std::set<std::string> tables;
    const std::function<void(const json::object&)> walk = [&](const json::object& node) {
      if (node.contains("Relation Name") && node.at("Actual Loops").to_number<int>() > 0 &&
          std::string_view(node.at("Relation Name").as_string()).starts_with("history"))
        tables.emplace(node.at("Relation Name").as_string());
      if (const auto* parts = node.if_contains("Plans"))
        for (const auto& part : parts->as_array()) walk(part.as_object());
    };
    walk(plan.as_array().at(0).at("Plan").as_object());
    std::string out;
    for (const auto& table : tables) out += table + " ";
    return out;
  };
  const auto month = [&](const std::string& ago) {
    return "history_" + server.value("select to_char(" + middle(ago) + " at time zone 'UTC', 'YYYYMM')") + " ";
  };
  EXPECT_EQ(looked("1"), month("1"));
  EXPECT_EQ(looked("7"), month("7"));
  EXPECT_EQ(looked("60"), "history_before ");
  EXPECT_EQ(compliance
                .get("/v1/history/customer/" + id +
                     "?as_of=" + server.value("select to_char(" + middle("7") + " at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"))
                .string("/record/display_name"),
            "7");
}

TEST_F(History, months_are_made_where_they_are_missing_and_take_what_waited_for_them) {
  const auto place = [&](const std::string& request) {
    return server.value("select string_agg(tableoid::regclass::text, ' ' order by at) from history where request_id = '" + request + "'");
  };
  server.sql(
      "insert into history (at, table_name, row_id, op, actor, request_id, content) select at, 'x', gen_random_uuid(), 'INSERT', 'x', "
      "'moved', '{}' "
      "from unnest(array['2019-01-15 00:00+00', '2021-05-15 00:00+00', '2095-03-15 00:00+00']::timestamptz[]) at");
  EXPECT_EQ(place("moved"), "history_before history_before history_after");
  const auto ids = server.value("select string_agg(id::text || xid::text, ' ' order by id) from history where request_id = 'moved'");
  server.sql("select ensure_history_partitions('2020-12-20', 2)");
  EXPECT_EQ(place("moved"), "history_before history_202105 history_after") << "and none is missing between them";
  EXPECT_EQ(server.value("select string_agg(id::text || xid::text, ' ' order by id) from history where request_id = 'moved'"), ids);
  server.sql("select ensure_history_partitions((date_trunc('month', now()) + interval '8 months')::date, 1)");
  EXPECT_EQ(server.value("select count(*) from pg_inherits where inhparent = 'history'::regclass and inhrelid = "
                         "to_regclass('history_' || to_char(now() + interval '8 months', 'YYYYMM'))"),
            "1");
  EXPECT_EQ(place("moved"), "history_before history_202105 history_after");
  server.sql("set role enishi_app; select ensure_history_partitions()");
  EXPECT_THROW(server.sql("set role enishi_app; insert into history_after (at, table_name, row_id, op, actor) values (now(), 'x', "
                          "gen_random_uuid(), 'INSERT', 'x')"),
               std::runtime_error);
}

TEST_F(History, rights_follow_the_team_of_the_record) {
  const auto id = op.post("/v1/customers", {{"display_name", "東"}}).string("/id");  // operator is of East
  EXPECT_EQ(op.get("/v1/history?row_id=" + id).status, 403);
  EXPECT_EQ(server.as("supervisor").get("/v1/history?row_id=" + id).at("/items").as_array().size(), 1u);
  EXPECT_EQ(server.as("supervisor3").get("/v1/history?row_id=" + id).at("/items").as_array().size(), 0u);
  EXPECT_EQ(server.as("supervisor3").get("/v1/history/customer/" + id + "?as_of=2999-01-01T00:00:00Z").status, 404);
}

TEST_F(History, what_was_erased_is_gone_and_its_proof_stays) {
  const auto id = op.post("/v1/customers", {{"display_name", "消去"}}).string("/id");
  server.sql(
      "update history set digest = sha256(uuid_send(salt) || convert_to(content::text, 'UTF8')), content = null, salt = null where "
      "customer_id = '" +
      id + "'");
  const auto list = compliance.get("/v1/history?row_id=" + id);
  EXPECT_EQ(list.string("/items/0/erased"), "true") << list.text;
  EXPECT_EQ(list.string("/items/0/digest").size(), 64u);
  const auto then = compliance.get("/v1/history/customer/" + id + "?as_of=2999-01-01T00:00:00Z");
  EXPECT_EQ(then.status, 410);
  EXPECT_EQ(then.code(), "ERASED");
  EXPECT_EQ(compliance.get("/v1/customers/" + id + "?as_of=2999-01-01T00:00:00Z").status, 410);
}

TEST_F(History, the_application_cannot_write_or_rewrite_it) {
  op.post("/v1/customers", {{"display_name", "x"}});
  for (const char* attempt :
       {"update history set actor = 'nobody'", "delete from history",
        "insert into history (table_name, row_id, op, actor) values ('customer', gen_random_uuid(), 'INSERT', 'me')", "truncate history"}) {
    try {
      server.sql(std::string("set role enishi_app; ") + attempt);
      ADD_FAILURE() << attempt << " was allowed";
    } catch (const std::runtime_error& e) {
      EXPECT_NE(std::string(e.what()).find("permission denied"), std::string::npos) << e.what();
    }
  }
  const auto partition = server.value("select tableoid::regclass from history limit 1");
  EXPECT_THROW(server.sql("set role enishi_app; update " + partition + " set actor = 'nobody'"), std::runtime_error);
}

}  // namespace
}  // namespace enishi::crm::history

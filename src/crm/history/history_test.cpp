#include <gtest/gtest.h>

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

#include <gtest/gtest.h>

#include "auth/testing.hpp"
#include "crm/customers/routes.hpp"
#include "crm/history/routes.hpp"
#include "crm/masters/routes.hpp"

namespace enishi::crm::history {
namespace {

using auth::testing::Client;
using auth::testing::Reply;
using auth::testing::TestServer;
namespace json = boost::json;

struct PutBack : ::testing::Test {
  TestServer server{{customers::mount, masters::mount, history::mount}};
  Client op = server.as("operator"), op2 = server.as("operator2"), supervisor = server.as("supervisor"),
         compliance = server.as("compliance");

  std::string now() { return server.value("select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"); }
  std::string make(const std::string& name) {
    return op.post("/v1/customers", {{"display_name", name}, {"notes", "first"}, {"phones", {{{"raw", "090-1234-5678"}}}}}).string("/id");
  }
  void patch(Client& who, const std::string& id, const json::value& body) {
    const auto version = server.value("select version from customer where id = '" + id + "'");
    const auto done =
        who.patch("/v1/customers/" + id, body, {{"If-Match", "\"" + version + "\""}, {"X-Request-Id", "request-of-" + who.user.str()}});
    ASSERT_EQ(done.status, 200) << done.text;
  }
  std::string column(const std::string& id, const std::string& name) {
    return server.value("select " + name + " from customer where id = '" + id + "'");
  }
  static json::object with(json::object selection, const Reply& preview) {
    selection["seen"] = preview.string("/seen");
    return selection;
  }
};

TEST_F(PutBack, one_field_comes_back_and_the_others_stay) {
  const auto id = make("前");
  const auto before = now();
  patch(op, id, {{"display_name", "後"}, {"notes", "spoilt"}});
  json::object selection{{"kind", "RECORD"}, {"table", "customer"}, {"row_id", id}, {"to", before}, {"fields", {"display_name"}}};
  const auto preview = compliance.post("/v1/put-backs/preview", selection);
  ASSERT_EQ(preview.status, 200) << preview.text;
  EXPECT_EQ(preview.string("/items/0/action"), "UPDATE");
  EXPECT_EQ(preview.string("/items/0/fields/0/field"), "display_name");
  EXPECT_EQ(preview.string("/items/0/fields/0/now"), "後");
  EXPECT_EQ(preview.string("/items/0/fields/0/back_to"), "前");
  EXPECT_EQ(preview.string("/items/0/edited_since/0/actor"), "user:" + op.user.str());
  EXPECT_EQ(column(id, "display_name"), "後") << "a preview changes nothing";
  const auto done = compliance.post("/v1/put-backs", with(selection, preview));
  ASSERT_EQ(done.status, 200) << done.text;
  EXPECT_EQ(done.string("/changed"), "1");
  EXPECT_EQ(column(id, "display_name"), "前");
  EXPECT_EQ(column(id, "name_key"),
            column(id, "(select h.content ->> 'name_key' from history h where h.row_id = customer.id order by h.id limit 1)"));
  EXPECT_EQ(column(id, "notes"), "spoilt");
  EXPECT_EQ(column(id, "version"), "3");
  EXPECT_EQ(server.value("select actor from history where row_id = '" + id + "' order by id desc limit 1"),
            "user:" + compliance.user.str());
}

TEST_F(PutBack, a_record_with_its_parts_comes_back_and_what_came_later_is_hidden) {
  const auto id = make("前");
  const auto before = now();
  patch(op, id, {{"notes", "spoilt"}});
  server.sql("update customer_phone set raw = '03-0000-0000', e164 = null, deleted_at = now() where customer_id = '" + id + "'");
  server.sql("insert into customer_email (id, customer_id, email) values (gen_random_uuid(), '" + id + "', 'a@b')");
  json::object selection{{"kind", "RECORD"}, {"table", "customer"}, {"row_id", id}, {"to", before}, {"parts", true}};
  const auto preview = compliance.post("/v1/put-backs/preview", selection);
  ASSERT_EQ(preview.string("/rows"), "3") << preview.text;
  ASSERT_EQ(compliance.post("/v1/put-backs", with(selection, preview)).string("/changed"), "3");
  EXPECT_EQ(column(id, "notes"), "first");
  EXPECT_EQ(server.value("select raw || ' ' || e164 || ' ' || (deleted_at is null) from customer_phone where customer_id = '" + id + "'"),
            "090-1234-5678 +819012345678 true");
  EXPECT_EQ(server.value("select deleted_at is not null from customer_email where customer_id = '" + id + "'"), "t");
  EXPECT_EQ(compliance.post("/v1/put-backs/preview", selection).string("/rows"), "0") << "nothing is left to put back";
}

TEST_F(PutBack, what_one_person_did_is_taken_back_and_what_others_did_afterwards_is_a_conflict) {
  const auto a = make("甲"), b = make("乙");
  const auto from = now();
  patch(op2, a, {{"notes", "bad"}});
  patch(op2, b, {{"notes", "bad"}, {"kana", "バツ"}});
  const auto c = op2.post("/v1/customers", {{"display_name", "丙"}}).string("/id");
  const auto to = now();
  patch(op, b, {{"notes", "better"}});
  json::object selection{{"kind", "PERSON"}, {"user_id", op2.user.str()}, {"from", from}, {"to", to}};
  const auto preview = supervisor.post("/v1/put-backs/preview", selection);
  ASSERT_EQ(preview.status, 200) << preview.text;
  EXPECT_EQ(preview.string("/rows"), "3") << preview.text;
  EXPECT_EQ(preview.string("/conflicts"), "1");
  EXPECT_EQ(preview.string("/items/0/row_id"), b) << "conflicts come first";
  EXPECT_EQ(preview.string("/items/0/edited_since/0/actor"), "user:" + op.user.str());
  auto body = with(selection, preview);
  body["id"] = Uuid::make().str();
  const auto done = supervisor.post("/v1/put-backs", body);
  ASSERT_EQ(done.status, 200) << done.text;
  EXPECT_EQ(done.string("/changed"), "3");
  EXPECT_EQ(done.string("/conflicts"), "1");
  EXPECT_EQ(column(a, "notes"), "first");
  EXPECT_EQ(column(b, "notes"), "better") << "somebody's later edit stays";
  EXPECT_EQ(column(b, "kana"), "");
  EXPECT_EQ(column(c, "deleted_at is not null"), "t");
  const auto version = column(a, "version");
  EXPECT_EQ(supervisor.post("/v1/put-backs", body).text, done.text) << "the same id again is the same answer";
  EXPECT_EQ(column(a, "version"), version);
  body["to"] = now();
  EXPECT_EQ(supervisor.post("/v1/put-backs", body).code(), "ID_TAKEN");

  const auto again = supervisor.post("/v1/put-backs/preview", selection);
  body = with(selection, again);
  body["overwrite"] = true;
  ASSERT_EQ(supervisor.post("/v1/put-backs", body).string("/changed"), "1");
  EXPECT_EQ(column(b, "notes"), "first");
}

TEST_F(PutBack, one_request_is_taken_back_and_an_edit_after_the_preview_stops_it) {
  const auto id = make("前");
  patch(op, id, {{"notes", "bad"}});
  const auto request = server.value("select request_id from history where row_id = '" + id + "' order by id desc limit 1");
  json::object selection{{"kind", "REQUEST"}, {"request_id", request}, {"around", now()}};
  const auto preview = compliance.post("/v1/put-backs/preview", selection);
  ASSERT_EQ(preview.string("/rows"), "1") << preview.text;
  patch(op2, id, {{"kana", "アト"}});
  const auto stopped = compliance.post("/v1/put-backs", with(selection, preview));
  EXPECT_EQ(stopped.status, 409);
  EXPECT_EQ(stopped.code(), "CHANGED_SINCE_PREVIEW");
  EXPECT_EQ(column(id, "notes"), "bad");
  const auto second = compliance.post("/v1/put-backs/preview", selection);
  EXPECT_EQ(second.string("/conflicts"), "0") << "another field is no conflict";
  EXPECT_EQ(compliance.post("/v1/put-backs", with(selection, second)).string("/changed"), "1");
  EXPECT_EQ(column(id, "notes") + column(id, "kana"), "firstアト");
}

TEST_F(PutBack, what_one_import_made_is_hidden_and_what_it_changed_comes_back) {
  const auto known = make("前");
  const auto import = Uuid::make().str();
  server.sql("insert into media_source (id, code, name) values ('" + import +
             "', 'm', 'm');"
             "insert into import_job (id, file_name, file_sha256, media_source_id, encoding, started_at) values ('" +
             import + "', 'f.csv', 'x', '" + import + "', 'UTF-8', now())");
  server.sql("begin; select begin_write('user:" + op.user.str() + "', '" + import +
             "'); update customer set notes = 'imported' where id = '" + known +
             "';"
             "insert into customer (id, display_name, team_id) select '" +
             import + "', '輸入', team_id from customer where id = '" + known +
             "';"
             "insert into inquiry (id, customer_id, media_source_id, channel) values ('" +
             import + "', '" + import + "', '" + import +
             "', 'FILE');"
             "insert into call_task (id, customer_id, inquiry_id, kind, state, priority, due_at) values ('" +
             import + "', '" + import + "', '" + import + "', 'FIRST_CALL', 'READY', 1, now()); commit");
  json::object selection{{"kind", "IMPORT"}, {"import_id", import}};
  const auto preview = compliance.post("/v1/put-backs/preview", selection);
  ASSERT_EQ(preview.string("/rows"), "3") << preview.text;
  EXPECT_EQ(preview.string("/left"), "1") << "a task is no record that comes back";
  ASSERT_EQ(compliance.post("/v1/put-backs", with(selection, preview)).string("/changed"), "3");
  EXPECT_EQ(column(known, "notes"), "first");
  EXPECT_EQ(column(import, "deleted_at is not null"), "t");
  EXPECT_EQ(server.value("select (i.deleted_at is not null) || ' ' || t.state from inquiry i join call_task t on t.inquiry_id = i.id"),
            "true CANCELLED");
}

TEST_F(PutBack, a_row_that_was_deleted_past_the_application_is_made_again) {
  const auto id = make("前");
  const auto before = now();
  server.sql("delete from customer_phone where customer_id = '" + id + "'; delete from customer where id = '" + id + "'");
  json::object selection{{"kind", "RECORD"}, {"table", "customer"}, {"row_id", id}, {"to", before}, {"parts", true}};
  const auto preview = compliance.post("/v1/put-backs/preview", selection);
  ASSERT_EQ(preview.status, 200) << preview.text;
  EXPECT_EQ(preview.string("/items/0/action"), "RESTORE") << preview.text;
  ASSERT_EQ(compliance.post("/v1/put-backs", with(selection, preview)).string("/changed"), "2");
  EXPECT_EQ(column(id, "display_name"), "前");
  EXPECT_EQ(server.value("select e164 from customer_phone where customer_id = '" + id + "'"), "+819012345678");
}

TEST_F(PutBack, rights_follow_the_team_and_nobody_elses_records_are_touched) {
  auto west = server.as("supervisor3");
  const auto id = make("東");
  const auto before = now();
  patch(op, id, {{"notes", "bad"}});
  json::object record{{"kind", "RECORD"}, {"table", "customer"}, {"row_id", id}, {"to", before}};
  EXPECT_EQ(op.post("/v1/put-backs/preview", record).status, 403);
  EXPECT_EQ(west.post("/v1/put-backs/preview", record).status, 404);
  json::object person{{"kind", "PERSON"}, {"user_id", op.user.str()}, {"from", before}, {"to", now()}};
  const auto preview = west.post("/v1/put-backs/preview", person);
  EXPECT_EQ(preview.string("/rows") + preview.string("/out_of_scope"), "01") << preview.text;
  EXPECT_EQ(west.post("/v1/put-backs", with(person, preview)).string("/changed"), "0");
  EXPECT_EQ(column(id, "notes"), "bad");
  EXPECT_EQ(
      compliance.post("/v1/put-backs/preview", {{"kind", "RECORD"}, {"table", "user_credential"}, {"row_id", id}, {"to", before}}).status,
      422);
  EXPECT_EQ(compliance.post("/v1/put-backs/preview", {{"kind", "PERSON"}}).status, 422);
}

TEST_F(PutBack, two_moments_are_compared_with_the_parts_and_a_list_is_shown_as_it_was) {
  const auto id = make("前");
  const auto first = now();
  patch(op, id, {{"notes", "second"}});
  server.sql("update customer_phone set note = 'x', deleted_at = now() where customer_id = '" + id + "'");
  const auto other = make("別");
  const auto diff = compliance.get("/v1/history/customer/" + id + "/differences?from=" + first + "&to=" + now());
  ASSERT_EQ(diff.status, 200) << diff.text;
  ASSERT_EQ(diff.at("/changes").as_array().size(), 2u) << diff.text;
  EXPECT_EQ(json::serialize(diff.at("/changes/0/fields")), R"([{"to":"second","from":"first","field":"notes"}])") << diff.text;
  EXPECT_EQ(diff.string("/changes/1/table") + diff.string("/changes/1/op"), "customer_phoneDELETE");
  EXPECT_EQ(server.as("supervisor3").get("/v1/history/customer/" + id + "/differences?from=" + first + "&to=" + now()).status, 404);

  const auto then = compliance.get("/v1/history/customer/" + id + "?as_of=" + first + "&parts=true");
  ASSERT_EQ(then.at("/parts").as_array().size(), 1u) << then.text;
  EXPECT_EQ(then.string("/parts/0/record/raw"), "090-1234-5678");
  EXPECT_EQ(compliance.get("/v1/history/customer/" + id + "?as_of=" + now() + "&parts=true").at("/parts").as_array().size(), 0u);

  const auto list = compliance.get("/v1/history/customer?as_of=" + first);
  ASSERT_EQ(list.at("/items").as_array().size(), 1u) << list.text;
  EXPECT_EQ(list.string("/items/0/record/notes"), "first");
  const auto page = compliance.get("/v1/history/customer?limit=1&as_of=" + now());
  const auto next = compliance.get("/v1/history/customer?limit=1&as_of=" + now() + "&cursor=" + page.string("/next_cursor"));
  EXPECT_EQ(page.at("/items").as_array().size() + next.at("/items").as_array().size(), 2u);
  EXPECT_NE(page.string("/items/0/row_id"), next.string("/items/0/row_id"));
  EXPECT_EQ(compliance.get("/v1/history/customer_phone?as_of=" + first + "&customer_id=" + id).at("/items").as_array().size(), 1u);
  EXPECT_EQ(server.as("supervisor3").get("/v1/history/customer?as_of=" + now()).at("/items").as_array().size(), 0u);
  EXPECT_EQ(compliance.get("/v1/history/user_credential?as_of=" + first).status, 404);
  EXPECT_EQ(server.value("select count(*) from unnest(history_tables()) t where to_regclass(t) is null"), "0");
}

TEST_F(PutBack, a_list_as_of_a_moment_holds_what_was_deleted_since_page_by_page) {
  for (const auto* name : {"一", "二", "三", "四"}) make(name);
  const auto first = now();
  server.sql("delete from customer_phone where id in (select id from customer_phone order by id limit 2 offset 1)");
  const auto back =
      "insert into customer_phone select p.* from history h, jsonb_populate_record(null::customer_phone, h.content) p where h.op = "
      "'DELETE'";
  const auto later = now();
  const auto all = compliance.get("/v1/history/customer_phone?as_of=" + first);
  EXPECT_EQ(all.at("/items").as_array().size(), 4u) << all.text;
  EXPECT_EQ(compliance.get("/v1/history/customer_phone?as_of=" + later).at("/items").as_array().size(), 2u);
  std::string cursor;
  for (int i = 0; i < 4; ++i) {
    const auto page = compliance.get("/v1/history/customer_phone?limit=1&as_of=" + first + cursor);
    ASSERT_EQ(page.at("/items").as_array().size(), 1u) << page.text;
    EXPECT_EQ(page.string("/items/0/row_id"), all.string("/items/" + std::to_string(i) + "/row_id"));
    cursor = "&cursor=" + page.string("/next_cursor");
  }
  // Deleted, back again and deleted once more is one row.
  server.sql(back);
  server.sql("delete from customer_phone where id in (select row_id from history where op = 'DELETE')");
  EXPECT_EQ(compliance.get("/v1/history/customer_phone?as_of=" + first).at("/items").as_array().size(), 4u);
}

}  // namespace
}  // namespace enishi::crm::history

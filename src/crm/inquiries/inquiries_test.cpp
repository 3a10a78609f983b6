#include <gtest/gtest.h>

#include <set>

#include "auth/testing.hpp"
#include "crm/inquiries/routes.hpp"
#include "crm/queue/routes.hpp"

namespace enishi::crm::inquiries {
namespace {

namespace json = boost::json;
using auth::testing::Client;
using auth::testing::TestServer;

constexpr const char* media = "01900000-0000-7000-8000-0000000000a1";
constexpr const char* kimono = "01900000-0000-7000-8000-00000c000001";

struct Inquiries : ::testing::Test {
  TestServer server{{inquiries::mount, queue::mount}};
  Inquiries() {
    server.open_all_hours();
    server.sql(std::string("insert into media_source (id, code, name) values ('") + media + "', 'web1', 'Web')");
  }
  static json::value lead(const char* phone, const char* name = "山田 花子") {
    return {{"media_source_id", media},
            {"channel", "WEB"},
            {"customer", {{"display_name", name}, {"phones", json::array{{{"raw", phone}}}}}},
            {"items", json::array{{{"item_category_id", kimono}, {"description", "着物 3枚"}, {"quantity", 3}}}}};
  }
};

std::string wrong_of(const auth::testing::Reply& reply) { return reply.status == 422 ? reply.string("/errors/0/pointer") : reply.text; }

TEST_F(Inquiries, a_new_inquiry_brings_its_customer_its_items_and_the_first_call) {
  auto op = server.as("operator");
  auto made = op.post("/v1/inquiries", lead("090-1234-5678"));
  ASSERT_EQ(made.status, 201) << made.text;
  EXPECT_EQ(made.string("/inquiry/stage"), "NEW");
  EXPECT_EQ(made.string("/call_task/kind"), "FIRST_CALL");
  EXPECT_EQ(made.string("/call_task/state"), "READY");
  EXPECT_EQ(made.string("/call_task/priority"), "900");
  EXPECT_EQ(made.string("/items/0/quantity"), "3");
  EXPECT_EQ(server.value("select e164 from customer_phone"), "+819012345678");
  EXPECT_EQ(server.value("select name_key from customer"), "山田花子");
  auto again = op.get("/v1/inquiries/" + made.string("/inquiry/id"));
  ASSERT_EQ(again.status, 200) << again.text;
  EXPECT_EQ(again.string("/customer/display_name"), "山田 花子");
  EXPECT_EQ(again.string("/open_tasks/0/id"), made.string("/call_task/id"));
}

TEST_F(Inquiries, every_wrong_field_of_a_new_inquiry_is_named_at_once) {
  auto reply =
      server.as("operator").post("/v1/inquiries", {{"channel", "SMOKE"}, {"customer", {{"phones", json::array{{{"raw", "12"}}}}}}});
  ASSERT_EQ(reply.status, 422);
  std::set<std::string> pointers;
  for (const auto& e : reply.at("/errors").as_array()) pointers.insert(std::string(e.at("pointer").as_string()));
  EXPECT_EQ(pointers, (std::set<std::string>{"/channel", "/media_source_id", "/customer/display_name", "/customer/phones/0/raw"}))
      << reply.text;
  EXPECT_EQ(
      server.as("operator")
          .post("/v1/inquiries", {{"media_source_id", media}, {"channel", "WEB"}, {"customer_id", "01900000-0000-7000-8000-0000000000ff"}})
          .string("/errors/0/pointer"),
      "/customer_id");
  EXPECT_EQ(server.as("compliance").post("/v1/inquiries", lead("090-1234-5678")).status, 403);
}

TEST_F(Inquiries, a_lead_that_arrives_twice_is_one_inquiry_and_the_second_answer_is_the_stored_one) {
  auto form = server.with_token("marketing", {"receive_lead"});
  const json::value body = {{"external_ref", "form-77"},
                            {"media_source", "web1"},
                            {"customer", {{"display_name", "佐藤"}, {"phones", json::array{{{"raw", "03-1234-5678"}}}}}}};
  auto first = form.post("/v1/leads", body);
  ASSERT_EQ(first.status, 201) << first.text;
  auto second = form.post("/v1/leads", body);
  ASSERT_EQ(second.status, 200) << second.text;
  EXPECT_EQ(second.string("/inquiry/id"), first.string("/inquiry/id"));
  EXPECT_EQ(second.string("/call_task/id"), first.string("/call_task/id"));
  EXPECT_EQ(server.value("select count(*) from customer"), "1");
  EXPECT_EQ(server.value("select count(*) from call_task"), "1");
  auto unknown = form.post("/v1/leads", {{"external_ref", "x"}, {"media_source", "nope"}, {"customer", {{"display_name", "x"}}}});
  EXPECT_EQ(unknown.status, 422);
  EXPECT_EQ(unknown.string("/errors/0/pointer"), "/media_source");
  EXPECT_EQ(form.get("/v1/inquiries").status, 403);
}

TEST_F(Inquiries, a_forms_lead_of_somebody_known_is_theirs_and_lifts_their_ban) {
  auto form = server.with_token("marketing", {"receive_lead"});
  const auto sent = [](const char* ref, const char* name, const char* phone) -> json::value {
    return {{"external_ref", ref},
            {"media_source", "web1"},
            {"notes", "夜は不在"},
            {"customer",
             {{"display_name", name},
              {"kana", "サトウ"},
              {"phones", json::array{{{"raw", phone}}}},
              {"addresses", json::array{{{"postal_code", "1000001"}, {"town", "千代田"}, {"street", "1-1"}}}}}}};
  };
  const auto first = form.post("/v1/leads", sent("a", "佐藤 一", "03-1234-5678"));
  ASSERT_EQ(first.status, 201) << first.text;
  const auto customer = first.string("/inquiry/customer_id");
  server.sql(
      "update call_task set state = 'CANCELLED'; insert into solicitation_ban (id, customer_id, reason, source, banned_at) select "
      "new_id(), '" +
      customer + "', 'no more', 'REQUEST', now() - interval '1 day'");
  const auto again = form.post("/v1/leads", sent("b", "佐藤　一", "０３（１２３４）５６７８"));
  ASSERT_EQ(again.status, 201) << again.text;
  EXPECT_EQ(again.string("/inquiry/customer_id"), customer);
  EXPECT_EQ(again.string("/call_task/state"), "READY");
  EXPECT_EQ(again.string("/inquiry/notes"), "夜は不在\nサトウ\n1000001 千代田 1-1");
  EXPECT_EQ(server.value("select count(*) from solicitation_ban where lifted_at is null"), "0");
  EXPECT_EQ(server.value("select count(*) from customer_address"), "1");
  // Another name at the same number is another person.
  EXPECT_NE(form.post("/v1/leads", sent("c", "佐藤 二", "03-1234-5678")).string("/inquiry/customer_id"), customer);
}

TEST_F(Inquiries, a_new_customer_brings_the_fields_that_the_company_requires) {
  server.sql(
      "insert into custom_field (id, entity, key, label_ja, label_en, kind, required) values (new_id(), 'customer', 'consent', '同意', "
      "'Consent', 'BOOLEAN', true)");
  auto op = server.as("operator");
  auto body = lead("090-1234-5678");
  EXPECT_EQ(op.post("/v1/inquiries", body).string("/errors/0/pointer"), "/custom/consent");
  body.at("customer").as_object()["custom"] = {{"consent", true}};
  const auto made = op.post("/v1/inquiries", body);
  ASSERT_EQ(made.status, 201) << made.text;
  EXPECT_EQ(server.value("select custom from customer"), R"({"consent": true})");
}

TEST_F(Inquiries, a_guessed_reference_shows_nobody_elses_inquiry) {
  auto op = server.as("operator");
  auto mine = lead("090-1234-5678");
  mine.as_object()["external_ref"] = "form-78";
  auto made = op.post("/v1/inquiries", mine);
  ASSERT_EQ(made.status, 201) << made.text;
  EXPECT_EQ(op.post("/v1/inquiries", mine).status, 200);
  server.sql("update inquiry set owner_id = (select id from app_user where login = 'compliance') where external_ref = 'form-78'");
  auto guessed = op.post("/v1/inquiries", mine);
  EXPECT_EQ(guessed.status, 409) << guessed.text;
  EXPECT_EQ(guessed.code(), "EXTERNAL_REF_TAKEN");
}

TEST_F(Inquiries, stages_move_only_where_the_table_allows_and_reasons_are_asked_for) {
  auto op = server.as("operator");
  auto made = op.post("/v1/inquiries", lead("090-1234-5678"));
  const auto path = "/v1/inquiries/" + made.string("/inquiry/id");
  auto bare = op.post(path + "/transition", {{"stage", "LOST"}});
  EXPECT_EQ(bare.status, 422);
  EXPECT_EQ(bare.string("/errors/0/pointer"), "/reason");
  EXPECT_EQ(op.post(path + "/transition", {{"stage", "INVALID"}, {"reason", "no fun"}}).status, 422);
  auto illegal = op.post(path + "/transition", {{"stage", "CONTRACTED"}});
  ASSERT_EQ(illegal.status, 409) << illegal.text;
  EXPECT_EQ(illegal.code(), "ILLEGAL_TRANSITION");
  EXPECT_EQ(illegal.string("/current_state"), "NEW");
  EXPECT_EQ(illegal.at("/allowed_transitions").as_array().size(), 5u);
  EXPECT_EQ(op.post(path + "/transition", {{"stage", "LOST"}, {"reason", "x"}}, {{"If-Match", "\"9\""}}).string("/current_version"), "1");
  auto lost = op.post(path + "/transition", {{"stage", "LOST"}, {"reason", "売る物がない"}});
  ASSERT_EQ(lost.status, 200) << lost.text;
  EXPECT_EQ(lost.string("/lost_reason"), "売る物がない");
  // What was open for it is called off.
  EXPECT_EQ(server.value("select state from call_task"), "CANCELLED");
  EXPECT_EQ(op.post(path + "/transition", {{"stage", "IN_PROGRESS"}, {"next_action", "CALL"}}).code(), "ILLEGAL_TRANSITION");
}

TEST_F(Inquiries, one_that_goes_on_has_something_to_come) {
  auto op = server.as("operator");
  auto made = op.post("/v1/inquiries", lead("090-1234-5678"));
  const auto path = "/v1/inquiries/" + made.string("/inquiry/id");
  const auto move = path + "/transition";
  const auto wrong = [](const auth::testing::Reply& reply) { return reply.code() + " " + wrong_of(reply); };
  EXPECT_EQ(wrong(op.post(move, {{"stage", "NURTURING"}, {"next_action", "WAIT"}})), "NEXT_ACTION_REQUIRED /next_action_at");
  EXPECT_EQ(wrong(op.post(move, {{"stage", "NURTURING"}, {"next_action", "NURTURE_CALL"}})), "NEXT_ACTION_REQUIRED /next_action_at");
  EXPECT_EQ(wrong(op.post(move, {{"stage", "IN_PROGRESS"}, {"next_action", "CALLBACK"}})), "NEXT_ACTION_REQUIRED /next_action_at");
  EXPECT_EQ(server.value("select stage from inquiry"), "NEW");
  auto waits = op.post(move, {{"stage", "NURTURING"}, {"next_action", "WAIT"}, {"next_action_at", "2030-01-07T10:00:00+09:00"}});
  ASSERT_EQ(waits.status, 200) << waits.text;
  const http::Headers seen{{"If-Match", waits.header("ETag")}};
  EXPECT_EQ(wrong(op.patch(path, {{"next_action", "NONE"}}, seen)), "NEXT_ACTION_REQUIRED /next_action");
  EXPECT_EQ(wrong(op.patch(path, {{"next_action", "VISIT"}}, seen)), "NEXT_ACTION_REQUIRED /next_action");
  EXPECT_EQ(wrong(op.patch(path, {{"next_action_at", nullptr}}, seen)), "NEXT_ACTION_REQUIRED /next_action_at");
  // The application's SQL is held to it too; a legacy system's mirror is not, and what it brought in stays editable.
  EXPECT_THROW(server.sql("update inquiry set next_action = 'NONE'"), std::runtime_error);
  server.sql(
      "update domain_ownership set state = 'LEGACY', system = 'kokyaku' where domain = 'inquiry'; set enishi.mirror = 'on'; "
      "update inquiry set next_action = 'NONE', next_action_at = null; set enishi.mirror = ''; "
      "update domain_ownership set state = 'LOCAL', system = null where domain = 'inquiry'");
  EXPECT_EQ(op.patch(path, {{"notes", "夕方に"}}, {{"If-Match", op.get(path).header("ETag")}}).string("/next_action"), "NONE");
}

TEST_F(Inquiries, a_call_that_is_promised_by_an_edit_or_a_move_has_its_task) {
  auto op = server.as("operator");
  auto made = op.post("/v1/inquiries", lead("090-1234-5678"));
  const auto path = "/v1/inquiries/" + made.string("/inquiry/id");
  const auto tasks = [&] {
    return server.value(
        "select string_agg(kind || ' ' || state || ' ' || to_char(due_at at time zone 'Asia/Tokyo', 'YYYY-MM-DD HH24:MI') || ' ' || "
        "priority, "
        "', ' order by created_at, id) from call_task where state <> 'CANCELLED'");
  };
  const auto version = [&] { return http::Headers{{"If-Match", op.get(path).header("ETag")}}; };

  // The first call, out of the hands of whoever holds it, becomes the call that was promised.
  ASSERT_EQ(op.post("/v1/call-tasks/claim").status, 200);
  auto moved = op.post(path + "/transition",
                       {{"stage", "NURTURING"}, {"next_action", "NURTURE_CALL"}, {"next_action_at", "2030-01-07T10:00:00+09:00"}});
  ASSERT_EQ(moved.status, 200) << moved.text;
  EXPECT_EQ(tasks(), "NURTURE SCHEDULED 2030-01-07 10:00 200");
  EXPECT_EQ(server.value("select assigned_to is null from call_task"), "t");
  auto sooner = op.patch(path, {{"next_action", "CALLBACK"}, {"next_action_at", "2030-01-05T18:30:00+09:00"}}, version());
  ASSERT_EQ(sooner.status, 200) << sooner.text;
  EXPECT_EQ(tasks(), "CALLBACK SCHEDULED 2030-01-05 18:30 800");
  // Its moment alone, and what promises nothing.
  ASSERT_EQ(op.patch(path, {{"next_action_at", "2030-01-06T09:00:00+09:00"}}, version()).status, 200);
  EXPECT_EQ(tasks(), "CALLBACK SCHEDULED 2030-01-06 09:00 800");
  ASSERT_EQ(op.patch(path, {{"notes", "x"}}, version()).status, 200);
  EXPECT_EQ(server.value("select count(*) from call_task"), "1");
  EXPECT_EQ(wrong_of(op.patch(path, {{"next_action_at", nullptr}}, version())), "/next_action_at");

  // None is open: one is made, for the inquiry's owner.
  server.sql("update call_task set state = 'CANCELLED'; update inquiry set owner_id = '" + op.user.str() + "'");
  ASSERT_EQ(op.patch(path, {{"next_action", "CALL"}, {"next_action_at", "2030-01-08T11:00:00+09:00"}}, version()).status, 200);
  EXPECT_EQ(tasks(), "FOLLOW_UP SCHEDULED 2030-01-08 11:00 500");
  EXPECT_EQ(server.value("select owner_id from call_task where state = 'SCHEDULED'"), op.user.str());
  // On the phone: that call's end says what comes next.
  ASSERT_EQ(op.post("/v1/call-tasks/claim", {{"call_task_id", server.value("select id from call_task where state = 'SCHEDULED'")}}).status,
            200);
  server.sql("update call_task set state = 'IN_CALL' where state = 'ASSIGNED'");
  ASSERT_EQ(op.patch(path, {{"next_action", "CALLBACK"}, {"next_action_at", "2030-01-09T11:00:00+09:00"}}, version()).status, 200);
  EXPECT_EQ(tasks(), "FOLLOW_UP IN_CALL 2030-01-08 11:00 500");
  // Against a ban it is moved, and stays blocked.
  server.sql(
      "update call_task set state = 'READY', assigned_to = null, lease_expires_at = null where state = 'IN_CALL'; insert into "
      "solicitation_ban "
      "(id, customer_id, reason, source) select new_id(), id, 'x', 'REQUEST' from customer");
  ASSERT_EQ(op.patch(path, {{"next_action_at", "2030-01-10T11:00:00+09:00"}}, version()).status, 200);
  EXPECT_EQ(tasks(), "CALLBACK BLOCKED 2030-01-10 11:00 800");
}

TEST_F(Inquiries, the_first_call_is_due_by_the_rule_after_the_lead_came_in) {
  auto op = server.as("operator");
  server.sql("insert into rule (name, effective_from, value) values ('first_call_seconds', now(), '120')");
  auto made = op.post("/v1/inquiries", lead("090-1234-5678"));
  ASSERT_EQ(made.status, 201) << made.text;
  EXPECT_EQ(made.string("/call_task/state"), "READY");
  EXPECT_EQ(server.value("select extract(epoch from t.due_at - i.received_at)::integer || ' ' || (t.due_at = i.next_action_at) from "
                         "call_task t, inquiry i"),
            "120 true");
  // One that lay somewhere before it came here is late already.
  auto late = lead("090-1234-5679");
  late.as_object()["received_at"] = "2026-01-05T10:00:00+09:00";
  ASSERT_EQ(op.post("/v1/inquiries", late).status, 201);
  EXPECT_EQ(server.value("select min(due_at) = '2026-01-05T10:02:00+09:00' from call_task"), "t");
}

TEST_F(Inquiries, a_change_needs_the_version_it_was_made_for) {
  auto op = server.as("operator");
  auto made = op.post("/v1/inquiries", lead("090-1234-5678"));
  const auto path = "/v1/inquiries/" + made.string("/inquiry/id");
  EXPECT_EQ(op.patch(path, {{"notes", "a"}}).status, 428);
  ASSERT_EQ(op.patch(path, {{"notes", "a"}}, {{"If-Match", "\"1\""}}).status, 200);
  auto late = op.patch(path, {{"notes", "b"}}, {{"If-Match", "\"1\""}});
  EXPECT_EQ(late.status, 412);
  EXPECT_EQ(late.string("/current_version"), "2");
  EXPECT_EQ(server.value("select notes from inquiry"), "a");
  EXPECT_EQ(op.patch(path, {{"stage", "LOST"}}, {{"If-Match", "\"2\""}}).string("/errors/0/code"), "UNKNOWN_FIELD");
}

TEST_F(Inquiries, an_inquiry_of_another_team_is_not_found) {
  auto made = server.as("operator").post("/v1/inquiries", lead("090-1234-5678"));
  const auto path = "/v1/inquiries/" + made.string("/inquiry/id");
  auto foreign = server.as("operator3");
  EXPECT_EQ(foreign.get(path).status, 404);
  EXPECT_EQ(foreign.patch(path, {{"notes", "a"}}, {{"If-Match", "\"1\""}}).status, 404);
  EXPECT_EQ(foreign.post(path + "/transition", {{"stage", "LOST"}, {"reason", "x"}}).status, 404);
  EXPECT_EQ(foreign.get(path + "/hearing-sheet").status, 404);
  EXPECT_EQ(foreign.patch(path + "/hearing-sheet", {{"base_version", 0}, {"changes", {{"a", "b"}}}}).status, 404);
  EXPECT_EQ(foreign.post(path + "/items", {{"item_category_id", kimono}}).status, 404);
  EXPECT_EQ(server.as("supervisor3").get(path).status, 404);
  EXPECT_EQ(server.as("supervisor").get(path).status, 200);
  EXPECT_EQ(foreign.get("/v1/inquiries/not-an-id").status, 404);
}

TEST_F(Inquiries, items_are_added_changed_and_taken_away) {
  auto op = server.as("operator");
  auto made = op.post("/v1/inquiries", lead("090-1234-5678"));
  const auto path = "/v1/inquiries/" + made.string("/inquiry/id");
  auto item = op.post(path + "/items", {{"item_category_id", kimono}, {"quantity", 2}});
  ASSERT_EQ(item.status, 201) << item.text;
  const auto item_path = "/v1/inquiry-items/" + item.string("/id");
  EXPECT_EQ(op.post(path + "/items", {{"item_category_id", media}}).string("/errors/0/pointer"), "/item_category_id");
  ASSERT_EQ(op.patch(item_path, {{"quantity", 5}}, {{"If-Match", "\"1\""}}).string("/quantity"), "5");
  EXPECT_EQ(op.patch(item_path, {{"quantity", 6}}, {{"If-Match", "\"1\""}}).status, 412);
  ASSERT_EQ(op.del(item_path).status, 200);
  EXPECT_EQ(op.del(item_path).status, 404);
  EXPECT_EQ(op.get(path).at("/items").as_array().size(), 1u);
}

TEST_F(Inquiries, two_tabs_that_write_different_fields_merge_and_the_same_field_loses_nothing) {
  auto op = server.as("operator");
  auto made = op.post("/v1/inquiries", lead("090-1234-5678"));
  const auto path = "/v1/inquiries/" + made.string("/inquiry/id") + "/hearing-sheet";
  EXPECT_EQ(op.get(path).string("/version"), "0");
  auto one = op.patch(path, {{"base_version", 0}, {"changes", {{"reason", "引越し"}, {"rooms", 3}}}});
  ASSERT_EQ(one.status, 200) << one.text;
  const auto seen = one.at("/version").as_int64();
  // Both tabs saw that version. The first writes rooms; the second rooms and parking.
  auto first = op.patch(path, {{"base_version", seen}, {"changes", {{"rooms", 4}}}});
  EXPECT_TRUE(first.at("/conflicts").as_array().empty());
  auto second = op.patch(path, {{"base_version", seen}, {"changes", {{"rooms", 5}, {"parking", true}}}});
  ASSERT_EQ(second.status, 200) << second.text;
  EXPECT_EQ(second.string("/saved"), R"(["parking"])");
  EXPECT_EQ(second.string("/conflicts/0/code"), "HEARING_SHEET_CONFLICT");
  EXPECT_EQ(second.string("/conflicts/0/field"), "rooms");
  EXPECT_EQ(second.string("/conflicts/0/theirs"), "4");
  EXPECT_EQ(second.string("/conflicts/0/mine"), "5");
  auto now = op.get(path);
  EXPECT_EQ(now.string("/answers/rooms"), "4");
  EXPECT_EQ(now.string("/answers/parking"), "true");
  EXPECT_EQ(now.string("/answers/reason"), "引越し");
  EXPECT_EQ(now.string("/conflicts/0/refused"), "5");
  EXPECT_EQ(server.value("select count(*) from history where table_name = 'hearing_sheet_conflict' and content ->> 'refused' = '5'"), "1");
  // Whoever has seen the newest version may decide.
  auto decided = op.patch(path, {{"base_version", second.at("/version").as_int64()}, {"changes", {{"rooms", 5}, {"reason", nullptr}}}});
  EXPECT_TRUE(decided.at("/conflicts").as_array().empty());
  EXPECT_EQ(op.get(path).string("/answers"), R"({"rooms":5,"parking":true})");
  // The same value twice is no conflict.
  EXPECT_TRUE(op.patch(path, {{"base_version", seen}, {"changes", {{"rooms", 5}}}}).at("/conflicts").as_array().empty());
  EXPECT_EQ(op.patch(path, {{"base_version", 0}, {"changes", {{"deep", {{"a", 1}}}}}}).status, 422);
}

TEST_F(Inquiries, a_repeated_request_with_its_key_makes_one_inquiry) {
  auto op = server.as("operator");
  auto first = op.post("/v1/inquiries", lead("090-1234-5678"), {{"Idempotency-Key", "k1"}});
  auto second = op.post("/v1/inquiries", lead("090-1234-5678"), {{"Idempotency-Key", "k1"}});
  ASSERT_EQ(first.status, 201) << first.text;
  EXPECT_EQ(second.status, 201);
  EXPECT_EQ(second.text, first.text);
  EXPECT_EQ(server.value("select count(*) from inquiry"), "1");
}

TEST_F(Inquiries, lists_go_on_where_the_page_before_ended_in_every_shape) {
  auto admin = server.as("admin");
  auto op = server.as("operator");
  for (int i = 0; i < 7; ++i) ASSERT_EQ(op.post("/v1/inquiries", lead("090-1234-5678")).status, 201);
  server.sql("update inquiry set owner_id = (select id from app_user where login = 'operator')");
  const auto customer = server.value("select customer_id::text from inquiry order by id limit 1");
  auto walk = [&](Client& who, const std::string& query) {
    std::vector<std::string> ids;
    std::string cursor;
    for (int page = 0; page < 10; ++page) {
      auto reply = who.get("/v1/inquiries?limit=3&" + query + (cursor.empty() ? "" : "&cursor=" + cursor));
      EXPECT_EQ(reply.status, 200) << reply.text;
      for (const auto& item : reply.at("/items").as_array()) ids.emplace_back(item.at("id").as_string());
      if (reply.at("/next_cursor").is_null()) break;
      cursor = reply.string("/next_cursor");
    }
    EXPECT_EQ(std::set<std::string>(ids.begin(), ids.end()).size(), ids.size()) << query;
    return ids.size();
  };
  auto supervisor = server.as("supervisor");
  auto foreign = server.as("supervisor3");
  for (std::string view : {"due", "received"}) {
    EXPECT_EQ(walk(admin, "view=" + view), 7u);
    EXPECT_EQ(walk(admin, "view=" + view + "&stage=NEW"), 7u);
    EXPECT_EQ(walk(admin, "view=" + view + "&stage=IN_PROGRESS"), 0u);
    EXPECT_EQ(walk(admin, "view=" + view + "&media_source_id=" + media), 7u);
    EXPECT_EQ(walk(admin, "view=" + view + "&owner_id=" + op.user.str()), 7u);
    EXPECT_EQ(walk(admin, "view=" + view + "&team_id=" + op.team), 7u);
    EXPECT_EQ(walk(op, "view=" + view), 7u);
    EXPECT_EQ(walk(supervisor, "view=" + view), 7u);
    EXPECT_EQ(walk(foreign, "view=" + view), 0u);
    EXPECT_EQ(walk(foreign, "view=" + view + "&team_id=" + op.team), 0u);
    EXPECT_EQ(walk(op, "view=" + view + "&owner_id=" + foreign.user.str()), 0u);
  }
  EXPECT_EQ(walk(admin, "view=customer&customer_id=" + customer), 1u);
  EXPECT_EQ(walk(foreign, "view=customer&customer_id=" + customer), 0u);
  EXPECT_EQ(admin.get("/v1/inquiries?cursor=xyz").code(), "CURSOR_INVALID");
  EXPECT_EQ(admin.get("/v1/inquiries?limit=0&view=nope").at("/errors").as_array().size(), 2u);
}

TEST_F(Inquiries, a_banned_customers_own_new_inquiry_lifts_the_ban_and_is_called) {
  auto op = server.as("operator");
  auto made = op.post("/v1/inquiries", lead("090-1234-5678"));
  const auto customer = made.string("/inquiry/customer_id");
  server.sql("insert into solicitation_ban (id, customer_id, reason, source) values (new_id(), '" + customer + "', 'いらない', 'REQUEST')");
  EXPECT_EQ(server.value("select state from call_task"), "BLOCKED");
  auto again = op.post("/v1/inquiries", {{"media_source_id", media}, {"channel", "WEB"}, {"customer_id", customer}});
  ASSERT_EQ(again.status, 201) << again.text;
  EXPECT_EQ(again.string("/call_task/state"), "READY");
  // Somebody else with that number stays banned after a ban of the first.
  server.sql("insert into solicitation_ban (id, customer_id, reason, source) values (new_id(), '" + customer + "', 'いらない', 'REQUEST')");
  auto family = op.post("/v1/inquiries", lead("090-1234-5678", "山田 次郎"));
  ASSERT_EQ(family.status, 201) << family.text;
  EXPECT_EQ(family.string("/call_task/state"), "BLOCKED");
}

}  // namespace
}  // namespace enishi::crm::inquiries

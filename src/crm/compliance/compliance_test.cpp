// A ban holds through API, import and plain SQL as the application's role; only compliance lifts it; rules have shapes and no past.
#include <gtest/gtest.h>

#include "auth/testing.hpp"
#include "crm/compliance/routes.hpp"

namespace enishi::crm::compliance {
namespace {

using auth::testing::Client;
using auth::testing::Reply;
using auth::testing::TestServer;
using Object = boost::json::object;
using Array = boost::json::array;

std::string uuid() { return Uuid::make().str(); }

struct Company {
  TestServer server{{crm::compliance::mount}};
  Client operator_ = server.as("operator"), compliance = server.as("compliance");
  std::string kimono = uuid(), stamps = uuid(), media = uuid();

  Company() {
    server.open_all_hours();
    server.sql("insert into media_source (id, code, name) values ('" + media +
               "', 'test_web', 'Web');"
               "insert into item_category (id, code, name_ja, name_en) values ('" +
               kimono + "', 'test_kimono', '着物', 'Kimono'), ('" + stamps + "', 'test_stamps', '切手', 'Stamps');");
  }
  /// A customer and their inquiry, both with the same id.
  std::string customer(const std::string& e164, const std::string& street) const {
    const auto id = uuid();
    server.sql("insert into customer (id, display_name) values ('" + id +
               "', '山田 花子'); insert into customer_phone (id, customer_id, raw, e164) values (new_id(), '" + id + "', 'as typed', '" +
               e164 + "'); insert into customer_address (id, customer_id, postal_code, street) values ('" + id + "', '" + id +
               "', '1000001', '" + street +
               "');"
               "insert into inquiry (id, customer_id, media_source_id, channel) values ('" +
               id + "', '" + id + "', '" + media + "', 'FILE')");
    return id;
  }
  Reply ban(const std::string& customer) {
    return operator_.post("/v1/solicitation-bans",
                          Object{{"customer_id", customer}, {"reason", "今後の連絡は不要"}, {"source", "REQUEST"}});
  }
  std::string task(const std::string& customer, const std::string& state = "READY") const {
    const auto id = uuid();
    as_app("insert into call_task (id, customer_id, inquiry_id, kind, state, priority, due_at) values ('" + id + "', '" + customer +
           "', '" + customer + "', 'CALLBACK', '" + state + "', 1, now())");
    return id;
  }
  std::string task_state(const std::string& id) const { return server.value("select state from call_task where id = '" + id + "'"); }
  /// Plain SQL with the application's rights; the server's message when it says no.
  std::string as_app(const std::string& text) const {
    try {
      pg::testing::sql(server.fresh().conninfo() + " user=enishi_app", text);
      return "";
    } catch (const std::exception& e) {
      return e.what();
    }
  }
  std::string dial(const std::string& customer, const std::string& e164) const {
    const auto id = uuid();
    return as_app("insert into call_attempt (id, direction, customer_id, e164, operator_id) values ('" + id + "', 'OUTBOUND', '" +
                  customer + "', '" + e164 + "', '" + server.user("operator").str() +
                  "'); update call_attempt set outcome = 'NO_ANSWER', ended_at = now() where id = '" + id + "'");
  }
};
constexpr const char* kBanned = "must not be solicited again";

TEST(Bans, a_ban_covers_customer_phone_and_address_and_blocks_open_calls) {
  Company co;
  const auto banned = co.customer("+81312345678", "1-2-3"), family = co.customer("+81312345678", "9-9-9"),
             neighbour = co.customer("+819011112222", "１丁目２番３号"), stranger = co.customer("+819099998888", "8-8-8");
  const auto own = co.task(banned), of_family = co.task(family), of_neighbour = co.task(neighbour), of_stranger = co.task(stranger);
  auto made = co.ban(banned);
  ASSERT_EQ(made.status, 201) << made.text;
  EXPECT_EQ(made.at("/covers").as_array().size(), 3u);
  EXPECT_EQ(made.string("/customer_name"), co.server.value("select display_name from customer where id = '" + banned + "'"));
  EXPECT_EQ(co.task_state(own), "BLOCKED");
  EXPECT_EQ(co.task_state(of_family), "BLOCKED");
  EXPECT_EQ(co.task_state(of_neighbour), "BLOCKED");
  EXPECT_EQ(co.task_state(of_stranger), "READY");
  EXPECT_EQ(co.operator_.get("/v1/solicitation-bans?customer_id=" + banned).at("/items").as_array().size(), 1u);
  EXPECT_EQ(co.operator_.get("/v1/solicitation-bans?phone=%2B81312345678").at("/items").as_array().size(), 1u);
  EXPECT_EQ(co.operator_.get("/v1/solicitation-bans/" + made.string("/id")).string("/id"), made.string("/id"));
  EXPECT_EQ(co.operator_.get("/v1/solicitation-bans/" + uuid()).status, 404);
}

TEST(Bans, a_ban_holds_in_plain_sql_as_the_application) {
  Company co;
  const auto banned = co.customer("+81312345678", "1-2-3"), stranger = co.customer("+819099998888", "8-8-8");
  ASSERT_EQ(co.dial(banned, "+81312345678"), "");
  auto made = co.ban(banned);
  ASSERT_EQ(made.status, 201);
  EXPECT_NE(co.dial(banned, "+81312345678").find(kBanned), std::string::npos);
  EXPECT_NE(co.dial(banned, "+81311110000").find(kBanned), std::string::npos);
  EXPECT_NE(co.dial(stranger, "+81312345678").find(kBanned), std::string::npos) << "the number is banned whoever is said to be called";
  EXPECT_EQ(co.dial(stranger, "+819099998888"), "");
  const auto task = co.task(banned);
  EXPECT_EQ(co.task_state(task), "BLOCKED");
  EXPECT_NE(co.as_app("update call_task set state = 'READY' where id = '" + task + "'").find(kBanned), std::string::npos);
  EXPECT_NE(co.as_app("update call_task set customer_id = '" + banned + "' where id = '" + co.task(stranger) + "'").find(kBanned),
            std::string::npos);

  // An appointment that is right in everything else.
  co.server.sql(
      "insert into service_area (id, name) values ('" + banned +
      "', 'A'); insert into service_area_postal (service_area_id, postal_prefix) values ('" + banned +
      "', '100'); insert into appraiser (id, display_name) values ('" + banned +
      "', 'Taro');"
      "insert into appraiser_hours (id, appraiser_id, weekday, from_time, to_time) select new_id(), '" +
      banned +
      "', d, '00:00', '24:00' from generate_series(0, 6) d;"
      "insert into visit_slot (id, service_area_id, starts_at, ends_at, capacity) values ('" +
      banned + "', '" + banned +
      "', (current_date + 3 + time '10:00') at time zone 'Asia/Tokyo', (current_date + 3 + time '12:00') at time zone 'Asia/Tokyo', 1);"
      "insert into solicitation_request (id, customer_id, inquiry_id, scope, category_ids, operator_id, verbatim, disclosed_at, "
      "willingness_confirmed_at) values ('" +
      banned + "', '" + banned + "', '" + banned + "', 'PURCHASE', array['" + co.kimono + "']::uuid[], '" +
      co.server.user("operator").str() + "', 'please', now(), now())");
  const auto book = [&](const char* state, const std::string& inquiry) {
    return "insert into appointment (id, customer_id, inquiry_id, slot_id, appraiser_id, address_id, solicitation_request_id, "
           "category_ids, state, starts_at, ends_at, hold_expires_at) "
           "select new_id(), '" +
           banned + "', '" + inquiry + "', id, '" + banned + "', '" + banned + "', '" + banned + "', array['" + co.kimono +
           "']::uuid[], '" + state + "', starts_at, ends_at, case when '" + state +
           "' = 'HELD' then now() + interval '1 minute' end from visit_slot";
  };
  EXPECT_NE(co.as_app(book("BOOKED", banned)).find(kBanned), std::string::npos);
  EXPECT_NE(co.as_app(book("HELD", banned)).find(kBanned), std::string::npos);
  // Somebody else's inquiry is no way round.
  EXPECT_NE(co.as_app(book("BOOKED", stranger)).find("not one of this customer"), std::string::npos);

  // What the ban covers is out of the application's hands, and the ban itself is not rewritten.
  for (const char* attempt :
       {"update solicitation_ban_key set active = false", "delete from solicitation_ban_key", "truncate solicitation_ban_key cascade",
        "insert into solicitation_ban_key (ban_id, kind, key) select id, 'phone', '+81300000000' from solicitation_ban",
        "delete from solicitation_ban", "alter table call_attempt disable trigger c_rules"})
    EXPECT_NE(co.as_app(attempt), "") << attempt;
  EXPECT_NE(co.as_app("update solicitation_ban set banned_at = now()").find("not rewritten"), std::string::npos);
  EXPECT_NE(co.as_app("update solicitation_ban set reason = 'x'").find("not rewritten"), std::string::npos);
  EXPECT_NE(co.as_app("update solicitation_ban set lifted_at = now()"), "") << "without a reason";
  EXPECT_NE(co.as_app("update solicitation_ban set lifted_at = now(), lift_inquiry_id = '" + stranger + "'").find("Only an inquiry"),
            std::string::npos);
  EXPECT_EQ(co.server.value("select bool_and(active) from solicitation_ban_key"), "t");

  ASSERT_EQ(
      co.compliance.post("/v1/solicitation-bans/" + made.string("/id") + "/lifting", Object{{"reason", "asked again in writing"}}).status,
      200);
  EXPECT_EQ(co.as_app(book("BOOKED", banned)), "") << "the same booking without the ban";
}

TEST(Bans, a_ban_after_the_booking_leaves_only_calling_off) {
  Company co;
  const auto c = co.customer("+81312345678", "1-2-3");
  co.server.sql("insert into service_area (id, name) values ('" + c +
                "', 'A'); insert into service_area_postal (service_area_id, postal_prefix) values ('" + c +
                "', '100'); insert into appraiser (id, display_name) values ('" + c +
                "', 'Taro');"
                "insert into appraiser_hours (id, appraiser_id, weekday, from_time, to_time) select new_id(), '" +
                c +
                "', d, '00:00', '24:00' from generate_series(0, 6) d;"
                "insert into visit_slot (id, service_area_id, starts_at, ends_at, capacity) values ('" +
                c + "', '" + c +
                "', now() + interval '1 day', now() + interval '1 day 1 hour', 1);"
                "insert into solicitation_request (id, customer_id, inquiry_id, scope, category_ids, operator_id, verbatim, disclosed_at, "
                "willingness_confirmed_at) values ('" +
                c + "', '" + c + "', '" + c + "', 'PURCHASE', array['" + co.kimono + "']::uuid[], '" + co.server.user("operator").str() +
                "', 'please', now(), now());"
                "insert into appraiser_hours (id, appraiser_id, day, from_time, to_time) select new_id(), '" +
                c + "', (now() at time zone 'Asia/Tokyo')::date + 1, '00:00', '24:00';");
  ASSERT_EQ(co.as_app("select take_appointment('HELD', '" + c + "', '" + c + "', '" + c + "', '" + c + "', '" + c + "', '" + c +
                      "', array['" + co.kimono + "']::uuid[], null, null, '', null, null)"),
            "");
  ASSERT_EQ(co.as_app("select book_held_appointment('" + c + "', null, null, null, 'all', null, null)"), "");
  auto made = co.ban(c);
  ASSERT_EQ(made.status, 201) << made.text;
  EXPECT_EQ(made.at("/open_appointments"), (Array{c.c_str()}));
  for (const char* next : {"CONFIRMED", "EN_ROUTE"})
    EXPECT_NE(co.as_app("update appointment set state = '" + std::string(next) + "'").find(kBanned), std::string::npos) << next;
  EXPECT_EQ(co.as_app("select end_appointment('" + c +
                      "', 'CANCELLED', 'COMPANY', 'banned', 'FOLLOW_UP', now() + interval '1 day', 'all', null, null)"),
            "");
  EXPECT_EQ(co.server.value("select string_agg(distinct state, ' ') from call_task where kind = 'FOLLOW_UP'"), "BLOCKED");
}

TEST(Bans, compliance_lifts_with_a_reason_and_operators_cannot) {
  Company co;
  const auto c = co.customer("+81312345678", "1-2-3");
  auto made = co.ban(c);
  const auto url = "/v1/solicitation-bans/" + made.string("/id") + "/lifting";
  for (const char* who : {"operator", "supervisor", "marketing", "appraiser", "admin"})
    EXPECT_EQ(co.server.as(who).post(url, Object{{"reason", "please"}}).status, 403) << who;
  EXPECT_EQ(co.compliance.post(url, Object{{"reason", ""}}).status, 422);
  EXPECT_EQ(co.compliance.post("/v1/solicitation-bans/" + uuid() + "/lifting", Object{{"reason", "x"}}).status, 404);
  auto lifted = co.compliance.post(url, Object{{"reason", "asked again in writing"}});
  ASSERT_EQ(lifted.status, 200) << lifted.text;
  EXPECT_EQ(lifted.string("/covers/0/active"), "false");
  EXPECT_EQ(co.compliance.post(url, Object{{"reason", "again"}}).code(), "BAN_LIFTED");
  EXPECT_EQ(co.dial(c, "+81312345678"), "");
  EXPECT_EQ(co.operator_.get("/v1/solicitation-bans?in_force=true").at("/items").as_array().size(), 0u);
  EXPECT_EQ(co.operator_.get("/v1/solicitation-bans").at("/items").as_array().size(), 1u);
  EXPECT_NE(co.as_app("update solicitation_ban set lifted_at = null").find("not rewritten"), std::string::npos);
}

TEST(Bans, the_customers_own_new_inquiry_lifts_their_bans_also_with_its_first_call_in_one_statement) {
  Company co;
  const auto c = co.customer("+81312345678", "1-2-3"), family = co.customer("+81312345678", "7-7-7");
  ASSERT_EQ(co.ban(c).status, 201);
  const auto lead = [&](const std::string& customer, const char* channel, const char* initiated) {
    const auto id = uuid();
    EXPECT_EQ(co.as_app("with lead as (insert into inquiry (id, customer_id, media_source_id, channel, customer_initiated) values ('" + id +
                        "', '" + customer + "', '" + co.media + "', '" + channel + "', " + initiated +
                        ") returning id, customer_id) insert into call_task (id, customer_id, inquiry_id, kind, state, priority, due_at) "
                        "select id, customer_id, id, 'FIRST_CALL', 'READY', 1, now() from lead"),
              "");
    return co.task_state(id);
  };
  EXPECT_EQ(lead(c, "FILE", "true"), "BLOCKED") << "a bought list is no request";
  EXPECT_EQ(lead(c, "WEB", "false"), "BLOCKED");
  EXPECT_EQ(lead(family, "WEB", "true"), "BLOCKED") << "the ban is another person's: compliance decides";
  EXPECT_EQ(lead(c, "WEB", "true"), "READY");
  EXPECT_EQ(co.server.value("select lift_inquiry_id is not null from solicitation_ban"), "t");
  EXPECT_EQ(lead(family, "WEB", "true"), "READY");
}

TEST(Bans, the_same_id_again_is_the_same_ban) {
  Company co;
  const auto c = co.customer("+81312345678", "1-2-3");
  Object body{{"id", uuid()}, {"customer_id", c}, {"reason", "no"}, {"source", "COMPLAINT"}};
  EXPECT_EQ(co.operator_.post("/v1/solicitation-bans", body).status, 201);
  EXPECT_EQ(co.operator_.post("/v1/solicitation-bans", body).status, 201);
  EXPECT_EQ(co.server.value("select count(*) from solicitation_ban"), "1");
  body["reason"] = "other";
  EXPECT_EQ(co.operator_.post("/v1/solicitation-bans", body).code(), "ID_TAKEN");
  body["id"] = uuid();
  body["customer_id"] = uuid();
  EXPECT_EQ(co.operator_.post("/v1/solicitation-bans", body).code(), "CUSTOMER_NOT_FOUND");
  EXPECT_EQ(co.operator_.post("/v1/solicitation-bans", Object{{"source", "REFUSED"}}).at("/errors").as_array().size(), 3u);
}

TEST(SolicitationRequests, are_recorded_and_listed_and_not_rewritten) {
  Company co;
  const auto c = co.customer("+81312345678", "1-2-3"), other = co.customer("+819099998888", "8-8-8");
  const Object body{{"inquiry_id", c},
                    {"scope", "PURCHASE"},
                    {"category_ids", Array{co.kimono}},
                    {"verbatim", "着物を見に来てほしい"},
                    {"disclosed_at", "2026-11-22T10:00:00+09:00"}};
  auto made = co.operator_.post("/v1/solicitation-requests", body);
  ASSERT_EQ(made.status, 201) << made.text;
  EXPECT_EQ(made.string("/customer_id"), c);
  EXPECT_EQ(made.string("/operator_id"), co.server.user("operator").str());
  ASSERT_EQ(co.operator_.post("/v1/solicitation-requests", body).status, 201);
  auto page = co.operator_.get("/v1/solicitation-requests?inquiry_id=" + c + "&limit=1");
  ASSERT_EQ(page.at("/items").as_array().size(), 1u) << page.text;
  auto rest = co.operator_.get("/v1/solicitation-requests?inquiry_id=" + c + "&limit=1&cursor=" + page.string("/next_cursor"));
  EXPECT_EQ(rest.string("/items/0/id"), made.string("/id"));
  EXPECT_TRUE(rest.at("/next_cursor").is_null());
  EXPECT_EQ(co.operator_.get("/v1/solicitation-requests?customer_id=" + other).at("/items").as_array().size(), 0u);
  EXPECT_EQ(co.operator_.get("/v1/solicitation-requests").status, 422);
  auto unknown = body;
  unknown["category_ids"] = Array{uuid()};
  EXPECT_EQ(co.operator_.post("/v1/solicitation-requests", unknown).code(), "CATEGORY_NOT_FOUND");
  unknown = body;
  unknown["inquiry_id"] = uuid();
  EXPECT_EQ(co.operator_.post("/v1/solicitation-requests", unknown).code(), "INQUIRY_NOT_FOUND");
  EXPECT_NE(co.as_app("update solicitation_request set category_ids = array['" + co.stamps + "']::uuid[]").find("not rewritten"),
            std::string::npos);
  EXPECT_NE(co.as_app("update solicitation_request set customer_id = '" + other + "'").find("not one of this customer"), std::string::npos);
  EXPECT_EQ(co.as_app("update solicitation_request set willingness_confirmed_at = now()"), "");
  EXPECT_NE(co.as_app("update solicitation_request set willingness_confirmed_at = now() + interval '1 second'").find("not rewritten"),
            std::string::npos);
  EXPECT_EQ(co.server.as("marketing").get("/v1/solicitation-requests?inquiry_id=" + c).status, 403);
}

TEST(Rules, have_shapes_no_past_and_are_compliances_to_make) {
  Company co;
  const Object hours{{"name", "contact_hours"},
                     {"value", Object{{"from", "09:00"}, {"to", "20:00"}}},
                     {"source", "社内規程"},
                     {"effective_from", "2030-01-01T00:00:00+09:00"}};
  for (const char* who : {"operator", "supervisor", "marketing", "appraiser"})
    EXPECT_EQ(co.server.as(who).post("/v1/rules", hours).status, 403) << who;
  auto made = co.compliance.post("/v1/rules", hours);
  ASSERT_EQ(made.status, 201) << made.text;
  EXPECT_EQ(made.at("/in_force"), false);
  EXPECT_EQ(made.string("/added_by"), "user:" + co.server.user("compliance").str());
  EXPECT_EQ(co.compliance.post("/v1/rules", hours).code(), "RULE_EXISTS");
  const auto code = [&](const char* name, boost::json::value value) {
    return co.compliance.post("/v1/rules", Object{{"name", name}, {"value", std::move(value)}, {"source", "test"}}).code();
  };
  for (const auto& wrong : {boost::json::value("09:00"), boost::json::value(Object{{"from", "9:00"}, {"to", "20:00"}}),
                            boost::json::value(Object{{"from", "21:00"}, {"to", "08:00"}}),
                            boost::json::value(Object{{"from", "09:00"}, {"to", "20:00"}, {"also", 1}}),
                            boost::json::value(Object{{"from", "09:00"}, {"to", "25:00"}})})
    EXPECT_EQ(code("contact_hours", wrong), "VALIDATION_FAILED") << boost::json::serialize(wrong);
  EXPECT_EQ(code("appointment_hold_seconds", 0), "VALIDATION_FAILED");
  EXPECT_EQ(code("appointment_hold_seconds", "600"), "VALIDATION_FAILED");
  EXPECT_EQ(code("business_time_zone", "Asia/Atlantis"), "VALIDATION_FAILED");
  EXPECT_EQ(code("contact_huors", 1), "VALIDATION_FAILED");
  EXPECT_EQ(code("appointment_hold_seconds", 300), "");
  EXPECT_EQ(co.server.value("select rule_value('appointment_hold_seconds')"), "300");
  auto past = hours;
  past["effective_from"] = "2020-01-01T00:00:00Z";
  EXPECT_EQ(co.compliance.post("/v1/rules", past).code(), "EFFECTIVE_IN_THE_PAST");
  EXPECT_NE(co.as_app("update rule set value = '1'"), "");
  auto all = co.operator_.get("/v1/rules?limit=200");
  int hours_rows = 0;
  for (const auto& item : all.at("/items").as_array()) hours_rows += item.at("name") == "contact_hours";
  EXPECT_EQ(hours_rows, 2) << "the one in force and the one to come: " << all.text;
}

TEST(Rules, nobody_is_dialled_outside_contact_hours) {
  Company co;
  const auto c = co.customer("+81312345678", "1-2-3");
  EXPECT_EQ(co.dial(c, "+81312345678"), "");
  // A window that ended a minute ago, or starts in an hour.
  co.server.sql(
      "insert into rule (name, effective_from, value) select 'contact_hours', now(), case when t < time '02:00' then '{\"from\": "
      "\"22:00\", \"to\": \"23:00\"}'::jsonb else jsonb_build_object('from', '00:00', 'to', to_char(t - interval '1 minute', 'HH24:MI')) "
      "end "
      "from (select (now() at time zone 'Asia/Tokyo')::time as t) x");
  EXPECT_NE(co.dial(c, "+81312345678").find("Customers are called and visited between"), std::string::npos);
}

TEST(PersonalDataViews, say_who_saw_what_by_user_and_by_record) {
  Company co;
  const auto c = co.customer("+81312345678", "1-2-3");
  co.server.sql(
      "insert into personal_data_view (at, user_id, operation, entity, entity_id, rows, request_id) select now() - interval '1 day' * n, "
      "'" +
      co.server.user("operator").str() + "', 'get_customer', 'customer', '" + c +
      "', 1, 'r' || n from generate_series(1, 3) n;"
      "insert into personal_data_view (at, user_id, operation, entity, entity_id, rows, request_id) values (now() - interval '5 days', '" +
      co.server.user("supervisor").str() + "', 'list_customers', 'customer', null, 50, 'x')");
  std::string seen, cursor;
  do {
    auto page = co.compliance.get("/v1/personal-data-views?entity_id=" + c + "&limit=2" + (cursor.empty() ? "" : "&cursor=" + cursor));
    ASSERT_EQ(page.status, 200) << page.text;
    for (const auto& item : page.at("/items").as_array()) seen += std::string(item.at("request_id").as_string());
    cursor = page.at("/next_cursor").is_null() ? "" : page.string("/next_cursor");
  } while (!cursor.empty());
  EXPECT_EQ(seen, "r1r2r3");
  EXPECT_EQ(co.compliance.get("/v1/personal-data-views?user_id=" + co.server.user("supervisor").str()).string("/items/0/rows"), "50");
  EXPECT_GE(co.compliance.get("/v1/personal-data-views").at("/items").as_array().size(), 4u);
  const auto day = [&](int ago) {
    return co.server.value("select to_char((now() - interval '1 day' * " + std::to_string(ago) +
                           " - interval '1 hour') at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')");
  };
  const auto requests = [&](const std::string& query) {
    auto page = co.compliance.get("/v1/personal-data-views?limit=2&" + query);
    std::string ids;
    for (const auto& item : page.at("/items").as_array()) ids += std::string(item.at("request_id").as_string());
    return ids + (page.at("/next_cursor").is_null() ? "" : "+");
  };
  const auto by = [&](const char* who) { return "&user_id=" + co.server.user(who).str(); };
  EXPECT_EQ(requests("entity_id=" + c + "&from=" + day(2)), "r1r2");
  EXPECT_EQ(requests("entity_id=" + c + "&from=" + day(2) + "&to=" + day(1)), "r2");
  EXPECT_EQ(requests("entity_id=" + c + by("operator")), "r1r2+");
  EXPECT_EQ(requests("entity_id=" + c + by("supervisor")), "");
  EXPECT_EQ(requests("from=" + day(5) + "&to=" + day(4)), "x");
  EXPECT_EQ(requests("to=" + day(3) + by("supervisor")), "x");
  EXPECT_EQ(co.compliance.get("/v1/personal-data-views?from=yesterday").status, 422);
  EXPECT_EQ(co.operator_.get("/v1/personal-data-views").status, 403);
  EXPECT_EQ(co.server.as("supervisor").get("/v1/personal-data-views").status, 403);
}

}  // namespace
}  // namespace enishi::crm::compliance

// The life of an appointment, every refusal, and what happens when two want the same at the same moment. Real PostgreSQL, real HTTP.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "auth/testing.hpp"
#include "crm/compliance/routes.hpp"
#include "crm/visits/routes.hpp"
#include "crm/visits/visits.sql.hpp"

namespace enishi::crm::visits {
namespace {

using auth::testing::Client;
using auth::testing::Reply;
using auth::testing::TestServer;
using Object = boost::json::object;
using Array = boost::json::array;

std::string uuid() { return Uuid::make().str(); }

/// One area (postal codes 100…), two appraisers who work from 9 to 18 every day, two slots three days ahead: `early` 10–12 for one visit,
/// `late` 12–14 for two. Calls at any hour.
struct Company {
  TestServer server;
  Client operator_, supervisor, appraiser, admin;
  std::string kimono = uuid(), stamps = uuid(), area = uuid(), taro = uuid(), hanako = uuid(), early = uuid(), late = uuid(),
              media = uuid();

  explicit Company(unsigned shards = 1)
      : server({crm::visits::mount, crm::compliance::mount}, TestServer::quick(), shards),
        operator_(server.as("operator")),
        supervisor(server.as("supervisor")),
        appraiser(server.as("appraiser")),
        admin(server.as("admin")) {
    server.open_all_hours();
    server.sql("insert into media_source (id, code, name) values ('" + media +
               "', 'test_web', 'Web');"
               "insert into item_category (id, code, name_ja, name_en) values ('" +
               kimono + "', 'test_kimono', '着物', 'Kimono'), ('" + stamps +
               "', 'test_stamps', '切手', 'Stamps');"
               "insert into service_area (id, name) values ('" +
               area + "', 'Chiyoda'); insert into service_area_postal (service_area_id, postal_prefix) values ('" + area +
               "', '100');"
               "insert into appraiser (id, display_name, user_id) values ('" +
               taro + "', 'Taro', '" + server.user("appraiser").str() + "'), ('" + hanako +
               "', 'Hanako', null);"
               "insert into appraiser_hours (id, appraiser_id, weekday, from_time, to_time) select new_id(), a.id, d, '09:00', '18:00' "
               "from appraiser a, generate_series(0, 6) d;");
    slot(early, "10:00", "12:00", 1);
    slot(late, "12:00", "14:00", 2);
  }
  void slot(const std::string& id, const std::string& from, const std::string& to, int capacity) const {
    server.sql("insert into visit_slot (id, service_area_id, starts_at, ends_at, capacity) values ('" + id + "', '" + area +
               "', ((now() at time zone 'Asia/Tokyo')::date + 3 + time '" + from +
               "') at time zone 'Asia/Tokyo', ((now() at time zone 'Asia/Tokyo')::date + 3 + time '" + to +
               "') at time zone 'Asia/Tokyo', " + std::to_string(capacity) + ")");
  }
  /// A customer with phone, address, inquiry and a complete request for kimono; all with the same id.
  std::string customer(const std::string& e164 = "") const {
    static std::atomic<int> count{0};
    const auto n = std::to_string(10000000 + ++count);
    const auto id = uuid();
    server.sql("insert into customer (id, display_name) values ('" + id +
               "', '山田 花子');"
               "insert into customer_phone (id, customer_id, raw, e164) values (new_id(), '" +
               id + "', 'as typed', '" + (e164.empty() ? "+8190" + n : e164) +
               "');"
               "insert into customer_address (id, customer_id, postal_code, street) values ('" +
               id + "', '" + id + "', '1000001', '1-" + n +
               "');"
               "insert into inquiry (id, customer_id, media_source_id, channel) values ('" +
               id + "', '" + id + "', '" + media +
               "', 'FILE');"
               "insert into solicitation_request (id, customer_id, inquiry_id, scope, category_ids, operator_id, verbatim, disclosed_at, "
               "willingness_confirmed_at) values ('" +
               id + "', '" + id + "', '" + id + "', 'PURCHASE', array['" + kimono + "']::uuid[], '" + server.user("operator").str() +
               "', '見に来てほしい', now(), now())");
    return id;
  }
  Object booking(const std::string& c, const std::string& where, const std::string& who, const char* state = "BOOKED") const {
    return {{"state", state},
            {"inquiry_id", c},
            {"slot_id", where},
            {"appraiser_id", who},
            {"address_id", c},
            {"solicitation_request_id", c},
            {"category_ids", Array{kimono}}};
  }
  std::string state(const std::string& appointment) const {
    return server.value("select state from appointment where id = '" + appointment + "'");
  }
};

std::string path(const Reply& made, const std::string& verb = "") {
  return "/v1/appointments/" + made.string("/id") + (verb.empty() ? "" : "/" + verb);
}
const Object next_call{{"kind", "FOLLOW_UP"}, {"due_at", "2030-01-07T10:00:00+09:00"}};

TEST(Visits, an_appointment_lives_from_hold_to_completion) {
  Company co;
  const auto c = co.customer();
  co.server.sql("insert into call_task (id, customer_id, inquiry_id, kind, state, priority, due_at) values (new_id(), '" + c + "', '" + c +
                "', 'FIRST_CALL', 'READY', 900, now())");
  auto held = co.operator_.post("/v1/appointments", co.booking(c, co.early, co.taro, "HELD"));
  ASSERT_EQ(held.status, 201) << held.text;
  EXPECT_EQ(held.string("/state"), "HELD");
  EXPECT_EQ(co.server.value("select extract(epoch from hold_expires_at - created_at)::integer between 595 and 605 from appointment"), "t");
  EXPECT_EQ(co.server.value("select stage from inquiry"), "NEW");

  auto booked = co.operator_.post(path(held, "booking"));
  ASSERT_EQ(booked.status, 200) << booked.text;
  EXPECT_EQ(booked.string("/state"), "BOOKED");
  EXPECT_EQ(booked.string("/inquiry_stage"), "APPOINTED");
  EXPECT_EQ(booked.header("ETag"), "\"" + booked.string("/version") + "\"");
  EXPECT_EQ(co.server.value("select next_action || ' ' || (next_action_at = (select starts_at from appointment)) from inquiry"),
            "VISIT true");
  EXPECT_EQ(co.server.value("select state from call_task where kind = 'FIRST_CALL'"), "CANCELLED");
  EXPECT_EQ(
      co.server.value("select to_char(due_at at time zone 'Asia/Tokyo', 'HH24:MI') || ' ' || ((a.starts_at at time zone "
                      "'Asia/Tokyo')::date - (t.due_at at time zone 'Asia/Tokyo')::date) "
                      "from call_task t join appointment a on a.id = t.appointment_id where kind = 'PRE_VISIT' and t.state = 'SCHEDULED'"),
      "17:00 1");

  auto early_end = co.appraiser.post(path(held, "completion"), Object{{"willingness_confirmed", true}});
  EXPECT_EQ(early_end.status, 409);
  EXPECT_EQ(early_end.code(), "ILLEGAL_TRANSITION");
  EXPECT_EQ(early_end.string("/current_state"), "BOOKED");
  EXPECT_EQ(early_end.at("/allowed_transitions"), (Array{"CANCELLED", "CONFIRMED", "EN_ROUTE", "NO_SHOW", "RESCHEDULED"}));

  EXPECT_EQ(co.operator_.post(path(held, "confirmation")).string("/state"), "CONFIRMED");
  EXPECT_EQ(co.server.value("select state from call_task where kind = 'PRE_VISIT'"), "CANCELLED");
  EXPECT_EQ(co.operator_.post(path(held, "confirmation")).code(), "ILLEGAL_TRANSITION");
  EXPECT_EQ(co.appraiser.post(path(held, "departure")).string("/state"), "EN_ROUTE");
  EXPECT_EQ(co.appraiser.post(path(held, "arrival")).string("/state"), "ARRIVED");
  EXPECT_EQ(co.appraiser.post(path(held, "completion"), Object{{"willingness_confirmed", false}}).code(), "WILLINGNESS_UNCONFIRMED");
  auto done = co.appraiser.post(path(held, "completion"), Object{{"willingness_confirmed", true}});
  ASSERT_EQ(done.status, 200) << done.text;
  EXPECT_EQ(done.string("/inquiry_stage"), "VISITED");
  EXPECT_EQ(co.operator_.patch(path(held), {{"category_ids", Array{co.kimono, co.stamps}}}, {{"If-Match", done.header("ETag")}}).code(),
            "APPOINTMENT_FIXED");
  EXPECT_EQ(co.server.value("select count(*) from history where table_name = 'appointment'"), "6");
}

TEST(Visits, a_cancelled_visit_brings_the_inquiry_back_with_its_next_call) {
  Company co;
  const auto c = co.customer();
  auto made = co.operator_.post("/v1/appointments", co.booking(c, co.early, co.taro));
  ASSERT_EQ(made.status, 201) << made.text;
  EXPECT_EQ(co.operator_.post(path(made, "cancellation"), Object{{"by", "CUSTOMER"}, {"reason", "ill"}}).code(), "NEXT_CALL_REQUIRED");
  EXPECT_EQ(co.state(made.string("/id")), "BOOKED");
  auto gone = co.operator_.post(path(made, "cancellation"), Object{{"by", "CUSTOMER"}, {"reason", "ill"}, {"next_call", next_call}});
  ASSERT_EQ(gone.status, 200) << gone.text;
  EXPECT_EQ(gone.string("/inquiry_stage"), "NURTURING");
  EXPECT_EQ(
      co.server.value("select kind || ' ' || state || ' ' || (due_at = '2030-01-07 10:00+09') from call_task where kind <> 'PRE_VISIT'"),
      "FOLLOW_UP SCHEDULED true");
  EXPECT_EQ(co.server.value("select state from call_task where kind = 'PRE_VISIT'"), "CANCELLED");
  EXPECT_EQ(co.operator_.post(path(made, "cancellation"), Object{{"by", "CUSTOMER"}, {"reason", "ill"}, {"next_call", next_call}}).code(),
            "ILLEGAL_TRANSITION");

  // The place is free again, and the inquiry may be appointed again; then nobody is at home.
  auto again = co.operator_.post("/v1/appointments", co.booking(c, co.early, co.taro));
  ASSERT_EQ(again.status, 201) << again.text;
  EXPECT_EQ(co.server.value("select state from call_task where kind = 'FOLLOW_UP'"), "CANCELLED");
  auto missed = co.appraiser.post(path(again, "no-show"), Object{{"next_call", next_call}});
  ASSERT_EQ(missed.status, 200) << missed.text;
  EXPECT_EQ(missed.string("/state") + missed.string("/inquiry_stage"), "NO_SHOWNURTURING");
}

TEST(Visits, letting_a_hold_go_needs_no_next_call_and_leaves_the_inquiry) {
  Company co;
  const auto c = co.customer();
  auto held = co.operator_.post("/v1/appointments", co.booking(c, co.early, co.taro, "HELD"));
  EXPECT_EQ(co.operator_.post(path(held, "cancellation"), Object{{"by", "COMPANY"}, {"reason", "typo"}}).status, 200);
  EXPECT_EQ(co.server.value("select stage from inquiry"), "NEW");
}

TEST(Visits, an_inquiry_does_not_leave_its_visit_behind) {
  Company co;
  const auto c = co.customer();
  auto made = co.operator_.post("/v1/appointments", co.booking(c, co.early, co.taro));
  ASSERT_EQ(made.status, 201);
  EXPECT_THROW(co.server.sql("update inquiry set stage = 'NURTURING', next_action = 'CALL'"), std::runtime_error);
  EXPECT_EQ(co.server.value("select stage from inquiry"), "APPOINTED");
}

TEST(Visits, rescheduling_is_one_act_also_into_the_same_slot) {
  Company co;
  const auto c = co.customer();
  auto made = co.operator_.post("/v1/appointments", co.booking(c, co.early, co.taro));
  ASSERT_EQ(made.status, 201) << made.text;
  auto same = co.operator_.post(path(made, "reschedule"), Object{{"slot_id", co.early}});
  ASSERT_EQ(same.status, 201) << same.text;
  EXPECT_EQ(same.string("/rescheduled_from"), made.string("/id"));
  EXPECT_EQ(co.state(made.string("/id")) + co.state(same.string("/id")), "RESCHEDULEDBOOKED");

  // The new place is taken: nothing has changed.
  auto other = co.operator_.post("/v1/appointments", co.booking(co.customer(), co.late, co.taro));
  ASSERT_EQ(other.status, 201) << other.text;
  auto refused = co.operator_.post(path(same, "reschedule"), Object{{"slot_id", co.late}});
  EXPECT_EQ(refused.status, 409);
  EXPECT_EQ(refused.code(), "APPRAISER_BOOKED");
  EXPECT_EQ(co.state(same.string("/id")), "BOOKED");

  auto moved = co.operator_.post(path(same, "reschedule"), Object{{"slot_id", co.late}, {"appraiser_id", co.hanako}});
  ASSERT_EQ(moved.status, 201) << moved.text;
  EXPECT_EQ(co.server.value("select count(*) from call_task where kind = 'PRE_VISIT' and state = 'SCHEDULED' and inquiry_id = '" + c + "'"),
            "1");
  EXPECT_EQ(co.server.value("select stage from inquiry where id = '" + c + "'"), "APPOINTED");
  EXPECT_EQ(co.operator_.post(path(made, "reschedule"), Object{{"slot_id", co.early}}).code(), "ILLEGAL_TRANSITION");
}

TEST(Visits, the_law_is_asked_before_a_booking) {
  Company co;
  const auto c = co.customer();
  const auto with = [&](const std::string& sql_change, Object body) {
    co.server.sql("alter table solicitation_request disable trigger c_rules; " + sql_change +
                  "; alter table solicitation_request enable trigger c_rules");
    return co.operator_.post("/v1/appointments", std::move(body)).code();
  };
  auto body = co.booking(c, co.early, co.taro);
  auto no_request = body;
  no_request.erase("solicitation_request_id");
  EXPECT_EQ(with("select 1", no_request), "NO_SOLICITATION_REQUEST");
  auto not_asked = body;
  not_asked["category_ids"] = Array{co.kimono, co.stamps};
  EXPECT_EQ(with("select 1", not_asked), "CATEGORY_NOT_REQUESTED");
  auto nowhere = body;
  nowhere.erase("address_id");
  EXPECT_EQ(with("select 1", nowhere), "ADDRESS_REQUIRED");
  EXPECT_EQ(with("update solicitation_request set disclosed_at = null", body), "DISCLOSURE_MISSING");
  EXPECT_EQ(with("update solicitation_request set disclosed_at = now(), willingness_confirmed_at = null", body), "WILLINGNESS_UNCONFIRMED");
  // Somebody else's request is no request.
  const auto other = co.customer();
  auto borrowed = body;
  borrowed["solicitation_request_id"] = other;
  EXPECT_EQ(with("update solicitation_request set willingness_confirmed_at = now()", borrowed), "NO_SOLICITATION_REQUEST");
  EXPECT_EQ(co.server.value("select count(*) from appointment"), "0");
  auto made = co.operator_.post("/v1/appointments", body);
  ASSERT_EQ(made.status, 201) << made.text;
  // It also holds for what is changed afterwards.
  EXPECT_EQ(co.operator_.patch(path(made), {{"category_ids", Array{co.stamps}}}, {{"If-Match", made.header("ETag")}}).code(),
            "CATEGORY_NOT_REQUESTED");
  EXPECT_EQ(co.operator_.patch(path(made), {{"notes", "駐車場あり"}}, {{"If-Match", "\"99\""}}).code(), "VERSION_MISMATCH");
  EXPECT_EQ(co.operator_.patch(path(made), {{"notes", "駐車場あり"}}).status, 428);
  EXPECT_EQ(co.operator_.patch(path(made), {{"notes", "駐車場あり"}}, {{"If-Match", made.header("ETag")}}).string("/notes"), "駐車場あり");
}

TEST(Visits, a_place_is_refused_with_its_reason) {
  Company co;
  const auto c = co.customer();
  const auto body = co.booking(c, co.late, co.taro);
  const auto code = [&](Object change) {
    auto changed = body;
    for (const auto& [key, value] : change) changed[key] = value;
    return co.operator_.post("/v1/appointments", changed).code();
  };
  EXPECT_EQ(code({{"slot_id", uuid()}}), "SLOT_NOT_FOUND");
  EXPECT_EQ(code({{"inquiry_id", uuid()}}), "INQUIRY_NOT_FOUND");
  EXPECT_EQ(code({{"appraiser_id", uuid()}}), "APPRAISER_NOT_FOUND");
  EXPECT_EQ(code({{"starts_at", "2031-01-01T10:00:00+09:00"}, {"ends_at", "2031-01-01T11:00:00+09:00"}}), "OUTSIDE_SLOT");
  const auto evening = uuid(), past = uuid();
  co.slot(evening, "18:00", "22:00", 5);
  EXPECT_EQ(code({{"slot_id", evening}}), "APPRAISER_OFF_DUTY");
  co.server.sql("insert into visit_slot (id, service_area_id, starts_at, ends_at, capacity) values ('" + past + "', '" + co.area +
                "', now() - interval '2 hours', now() - interval '1 hour', 1)");
  EXPECT_EQ(code({{"slot_id", past}}), "SLOT_IN_THE_PAST");
  co.server.sql("update appraiser set skills = array['" + co.stamps + "']::uuid[] where id = '" + co.taro + "'");
  EXPECT_EQ(code({}), "APPRAISER_LACKS_SKILL");
  co.server.sql("update appraiser set skills = '{}', area_ids = array['" + uuid() + "']::uuid[] where id = '" + co.taro + "'");
  EXPECT_EQ(code({}), "APPRAISER_OUT_OF_AREA");
  co.server.sql("update appraiser set area_ids = '{}' where id = '" + co.taro + "'");
  // A day off.
  co.server.sql("insert into appraiser_hours (id, appraiser_id, day, from_time, to_time, off) values (new_id(), '" + co.taro +
                "', (now() at time zone 'Asia/Tokyo')::date + 3, '13:00', '14:00', true)");
  EXPECT_EQ(code({}), "APPRAISER_OFF_DUTY");
  co.server.sql("update appraiser_hours set deleted_at = now() where off");
  // Contact hours hold for the end of a visit, too.
  co.server.sql(
      "insert into appraiser_hours (id, appraiser_id, day, from_time, to_time) values (new_id(), '" + co.taro +
      "', (now() at time zone 'Asia/Tokyo')::date + 3, '09:00', '23:00');"
      "insert into rule (name, effective_from, value) values ('contact_hours', now(), '{\"from\": \"08:00\", \"to\": \"21:00\"}')");
  EXPECT_EQ(code({{"slot_id", evening}}), "OUTSIDE_CONTACT_HOURS");
  EXPECT_EQ(co.server.value("select count(*) from appointment"), "0");

  EXPECT_EQ(code({}), "");
  EXPECT_EQ(code({}), "INQUIRY_HAS_APPOINTMENT");
  EXPECT_EQ(co.operator_.post("/v1/appointments", co.booking(co.customer(), co.late, co.taro)).code(), "APPRAISER_BOOKED");
  EXPECT_EQ(co.operator_.post("/v1/appointments", co.booking(co.customer(), co.late, co.hanako)).status, 201);
  EXPECT_EQ(co.operator_.post("/v1/appointments", co.booking(co.customer(), co.late, co.hanako)).code(), "SLOT_FULL");
  // Ranges that touch do not overlap: 10–12 before 12–14.
  EXPECT_EQ(co.operator_.post("/v1/appointments", co.booking(co.customer(), co.early, co.hanako)).status, 201);
}

TEST(Visits, a_visit_lies_in_the_area_of_its_address) {
  Company co;
  const auto c = co.customer(), north = uuid(), there = uuid();
  co.server.sql("insert into service_area (id, name) values ('" + north +
                "', 'Kita'); insert into service_area_postal (service_area_id, postal_prefix) values ('" + north +
                "', '114'); insert into visit_slot (id, service_area_id, starts_at, ends_at, capacity) select '" + there + "', '" + north +
                "', starts_at, ends_at, 9 from visit_slot where id = '" + co.late + "'");
  const auto second_home = uuid();
  co.server.sql("insert into customer_address (id, customer_id, postal_code, street) values ('" + second_home + "', '" + c +
                "', '1140001', '2-2')");
  // Booked, held, and a hold that learns its address when it is booked.
  auto refused = co.operator_.post("/v1/appointments", co.booking(c, there, co.taro));
  EXPECT_EQ(refused.status, 422) << refused.text;
  EXPECT_EQ(refused.code(), "ADDRESS_OUT_OF_AREA");
  EXPECT_EQ(refused.string("/service_area_id"), co.area);
  EXPECT_EQ(refused.string("/slot_service_area_id"), north);
  EXPECT_EQ(co.operator_.post("/v1/appointments", co.booking(c, there, co.taro, "HELD")).code(), "ADDRESS_OUT_OF_AREA");
  auto unknown = co.booking(c, there, co.taro, "HELD");
  unknown.erase("address_id");
  auto held = co.operator_.post("/v1/appointments", unknown);
  ASSERT_EQ(held.status, 201) << held.text;
  EXPECT_EQ(co.operator_.post(path(held, "booking"), Object{{"address_id", c}}).code(), "ADDRESS_OUT_OF_AREA");
  auto booked = co.operator_.post(path(held, "booking"), Object{{"address_id", second_home}});
  ASSERT_EQ(booked.status, 200) << booked.text;

  // To another address, and to another slot; the address goes with it.
  EXPECT_EQ(co.operator_.patch(path(held), {{"address_id", c}}, {{"If-Match", booked.header("ETag")}}).code(), "ADDRESS_OUT_OF_AREA");
  EXPECT_EQ(co.operator_.post(path(held, "reschedule"), Object{{"slot_id", co.early}}).code(), "ADDRESS_OUT_OF_AREA");
  EXPECT_EQ(co.state(held.string("/id")), "BOOKED");
  auto moved = co.operator_.post(path(held, "reschedule"), Object{{"slot_id", co.early}, {"address_id", c}});
  ASSERT_EQ(moved.status, 201) << moved.text;
  // Areas that are drawn anew leave a booked visit, and what happens to it.
  co.server.sql("update service_area_postal set service_area_id = '" + north + "' where postal_prefix = '100'");
  EXPECT_EQ(co.operator_.post(path(moved, "confirmation")).string("/state"), "CONFIRMED");
  EXPECT_EQ(co.operator_.post(path(moved, "reschedule"), Object{{"slot_id", co.late}}).code(), "ADDRESS_OUT_OF_AREA");

  // Without a postal code, or with one that no area covers, there is no area.
  for (const char* code : {"null", "'9999999'"}) {
    const auto lost = co.customer();
    co.server.sql(std::string("update customer_address set postal_code = ") + code + " where id = '" + lost + "'");
    auto nowhere = co.operator_.post("/v1/appointments", co.booking(lost, co.late, co.hanako));
    EXPECT_EQ(nowhere.code(), "ADDRESS_OUT_OF_AREA");
    EXPECT_TRUE(nowhere.at("/service_area_id").is_null());
  }
}

TEST(Visits, the_mirror_of_a_legacy_system_stores_a_visit_out_of_its_area) {
  Company co;
  const auto c = co.customer();
  co.server.sql("delete from service_area_postal");
  const auto visit =
      "insert into appointment (id, customer_id, inquiry_id, slot_id, appraiser_id, address_id, solicitation_request_id, "
      "category_ids, state, starts_at, ends_at) select new_id(), '" +
      c + "', '" + c + "', s.id, '" + co.taro + "', '" + c + "', '" + c + "', array['" + co.kimono +
      "']::uuid[], 'BOOKED', s.starts_at, s.ends_at from visit_slot s where s.id = '" + co.late + "'";
  EXPECT_THROW(co.server.sql(visit), std::runtime_error);
  co.server.sql("update domain_ownership set state = 'LEGACY', system = 'kokyaku' where domain = 'visit'; set enishi.mirror = 'on'; " +
                visit);
  EXPECT_EQ(co.server.value("select state from appointment"), "BOOKED");
}

TEST(Visits, an_appraiser_does_not_leave_booked_visits_behind_unnoticed) {
  Company co;
  const auto c = co.customer();
  auto made = co.operator_.post("/v1/appointments", co.booking(c, co.early, co.taro));
  ASSERT_EQ(made.status, 201) << made.text;
  const auto url = "/v1/appraisers/" + co.taro;
  const auto version = [&] { return http::Headers{{"If-Match", co.supervisor.get(url).header("ETag")}}; };
  const auto day = co.server.value("select (now() at time zone 'Asia/Tokyo')::date + 3");
  const auto weekday = co.server.value("select extract(dow from (now() at time zone 'Asia/Tokyo')::date + 3)");

  auto refused = co.supervisor.patch(url, {{"active", false}}, version());
  EXPECT_EQ(refused.status, 409) << refused.text;
  EXPECT_EQ(refused.code(), "APPRAISER_HAS_VISITS");
  EXPECT_EQ(refused.string("/appointments/0/id"), made.string("/id"));
  EXPECT_EQ(refused.string("/appointments/0/customer_name"), "山田 花子");
  EXPECT_EQ(co.server.value("select active from appraiser where id = '" + co.taro + "'"), "t");
  EXPECT_EQ(co.supervisor.patch(url, {{"skills", Array{co.stamps}}}, version()).code(), "APPRAISER_HAS_VISITS");
  EXPECT_EQ(co.supervisor.patch(url, {{"area_ids", Array{uuid()}}}, version()).code(), "APPRAISER_HAS_VISITS");
  EXPECT_EQ(co.supervisor.patch(url, {{"display_name", "太郎"}}, version()).status, 200);
  const Object off{{"day", day}, {"from_time", "11:00"}, {"to_time", "12:00"}, {"off", true}};
  EXPECT_EQ(co.supervisor.post(url + "/hours", off).code(), "APPRAISER_HAS_VISITS");
  EXPECT_EQ(co.supervisor.post(url + "/hours", Object{{"day", day}, {"from_time", "13:00"}, {"to_time", "18:00"}}).code(),
            "APPRAISER_HAS_VISITS");
  const auto weekly = co.server.value("select id from appraiser_hours where appraiser_id = '" + co.taro + "' and weekday = " + weekday);
  EXPECT_EQ(co.supervisor.del("/v1/appraiser-hours/" + weekly).code(), "APPRAISER_HAS_VISITS");
  EXPECT_EQ(co.server.value("select count(*) from appraiser_hours where deleted_at is null and appraiser_id = '" + co.taro + "'"), "7");
  // Another day's hours touch nothing.
  const auto other =
      co.server.value("select id from appraiser_hours where appraiser_id = '" + co.taro + "' and weekday <> " + weekday + " limit 1");
  EXPECT_EQ(co.supervisor.del("/v1/appraiser-hours/" + other).status, 200);

  // Whoever says so may; what was said once is not asked again.
  auto done = co.supervisor.post(url + "/hours?despite_visits=true", off);
  ASSERT_EQ(done.status, 201) << done.text;
  EXPECT_EQ(co.supervisor.patch(url, {{"active", false}}, version()).status, 200);
  EXPECT_EQ(co.supervisor.patch(url + "?despite_visits=perhaps", {{"active", true}}, version()).status, 422);
  EXPECT_EQ(co.state(made.string("/id")), "BOOKED");
}

TEST(Visits, the_same_id_again_is_the_same_booking) {
  Company co;
  auto body = co.booking(co.customer(), co.late, co.taro);
  body["id"] = uuid();
  auto first = co.operator_.post("/v1/appointments", body);
  auto again = co.operator_.post("/v1/appointments", body);
  EXPECT_EQ(first.status, 201);
  EXPECT_EQ(again.status, 201) << again.text;
  EXPECT_EQ(co.server.value("select count(*) from appointment"), "1");
  body["appraiser_id"] = co.hanako;
  EXPECT_EQ(co.operator_.post("/v1/appointments", body).code(), "ID_TAKEN");
}

TEST(Visits, an_expired_hold_is_no_booking_and_its_place_is_free) {
  Company co;
  const auto c = co.customer();
  auto held = co.operator_.post("/v1/appointments", co.booking(c, co.early, co.taro, "HELD"));
  ASSERT_EQ(held.status, 201);
  EXPECT_EQ(co.operator_.post("/v1/appointments", co.booking(co.customer(), co.early, co.hanako)).code(), "SLOT_FULL");
  co.server.sql(
      "alter table appointment disable trigger c_rules; update appointment set hold_expires_at = now() - interval '1 second'; alter table "
      "appointment enable trigger c_rules");
  EXPECT_EQ(co.operator_.post(path(held, "booking")).code(), "HOLD_EXPIRED");
  auto other = co.operator_.post("/v1/appointments", co.booking(co.customer(), co.early, co.taro));
  EXPECT_EQ(other.status, 201) << other.text;
  EXPECT_EQ(co.state(held.string("/id")), "CANCELLED");
  EXPECT_EQ(co.operator_.post(path(held, "booking")).code(), "HOLD_EXPIRED");
}

TEST(Visits, a_slot_keeps_what_was_promised_in_it) {
  Company co;
  ASSERT_EQ(co.operator_.post("/v1/appointments", co.booking(co.customer(), co.late, co.taro)).status, 201);
  const auto slot = "/v1/visit-slots/" + co.late;
  auto less = co.supervisor.patch(slot, {{"capacity", 0}}, {{"If-Match", "\"1\""}});
  EXPECT_EQ(less.code(), "SLOT_HAS_APPOINTMENTS") << less.text;
  EXPECT_EQ(less.string("/taken"), "1");
  auto fits = co.supervisor.patch(slot, {{"capacity", 1}}, {{"If-Match", "\"1\""}});
  EXPECT_EQ(fits.status, 200) << fits.text;
  EXPECT_EQ(fits.string("/taken"), "1");
  EXPECT_EQ(co.operator_.post("/v1/appointments", co.booking(co.customer(), co.late, co.hanako)).code(), "SLOT_FULL");
  EXPECT_EQ(co.supervisor.patch(slot, {{"ends_at", "2030-01-01T00:00:00Z"}}, {{"If-Match", "\"2\""}}).status / 100, 4);
}

TEST(Visits, availability_shows_free_places_and_who_can_go) {
  Company co;
  const auto day = co.server.value("select (now() at time zone 'Asia/Tokyo')::date + 3");
  const auto url = "/v1/visit-slots/availability?postal_code=1000001&from=" + day + "&to=" + day + "&category_ids=" + co.kimono;
  auto before = co.operator_.get(url);
  ASSERT_EQ(before.status, 200) << before.text;
  ASSERT_EQ(before.at("/items").as_array().size(), 2u);
  EXPECT_EQ(before.at("/items/0/appraisers").as_array().size(), 2u);
  ASSERT_EQ(co.operator_.post("/v1/appointments", co.booking(co.customer(), co.late, co.taro)).status, 201);
  co.server.sql("update appraiser set skills = array['" + co.stamps + "']::uuid[] where id = '" + co.hanako + "'");
  auto after = co.operator_.get(url);
  EXPECT_EQ(after.string("/items/0/slot_id"), co.early);
  EXPECT_EQ(after.at("/items/0/appraisers").as_array().size(), 1u) << after.text;
  EXPECT_EQ(after.string("/items/1/free"), "1");
  EXPECT_EQ(after.at("/items/1/appraisers").as_array().size(), 0u) << "Taro visits somebody, Hanako does not know kimono";
  // A visit of half the slot leaves a gap.
  co.server.sql(
      "update appraiser set skills = '{}'; insert into appraiser_hours (id, appraiser_id, day, from_time, to_time, off) values (new_id(), "
      "'" +
      co.hanako + "', '" + day + "', '12:00', '13:10', true)");
  EXPECT_EQ(co.operator_.get(url + "&minutes=50").at("/items/1/appraisers").as_array().size(), 1u);
  EXPECT_EQ(co.operator_.get(url + "&minutes=51").at("/items/1/appraisers").as_array().size(), 0u);
  EXPECT_EQ(co.operator_.get("/v1/visit-slots/availability?postal_code=9999999&from=" + day + "&to=" + day).at("/service_area_id"),
            nullptr);
  EXPECT_EQ(co.operator_.get("/v1/visit-slots/availability?address_id=" + uuid() + "&from=" + day + "&to=" + day).code(),
            "ADDRESS_NOT_FOUND");
  auto wrong = co.operator_.get("/v1/visit-slots/availability?postal_code=12&from=" + day + "&to=x");
  EXPECT_EQ(wrong.status, 422);
  EXPECT_EQ(wrong.at("/errors").as_array().size(), 2u) << wrong.text;
}

TEST(Visits, lists_come_in_pages_and_within_rights) {
  Company co;
  std::vector<std::string> customers;
  const auto big = uuid();
  co.slot(big, "14:00", "18:00", 100);
  const auto day = co.server.value("select (now() at time zone 'Asia/Tokyo')::date + 3");
  for (int i = 0; i < 4; ++i) {
    auto body = co.booking(co.customer(), big, co.taro);
    body["starts_at"] = day + "T" + std::to_string(14 + i) + ":00:00+09:00";
    body["ends_at"] = day + "T" + std::to_string(15 + i) + ":00:00+09:00";
    auto made = co.operator_.post("/v1/appointments", body);
    ASSERT_EQ(made.status, 201) << made.text;
    customers.push_back(made.string("/customer_id"));
  }
  std::vector<std::string> seen;
  std::string cursor;
  do {
    auto page = co.operator_.get("/v1/appointments?view=day&day=" + day + "&limit=3" + (cursor.empty() ? "" : "&cursor=" + cursor));
    ASSERT_EQ(page.status, 200) << page.text;
    for (const auto& item : page.at("/items").as_array()) seen.emplace_back(item.at("customer_id").as_string());
    cursor = page.at("/next_cursor").is_null() ? "" : page.string("/next_cursor");
  } while (!cursor.empty());
  EXPECT_EQ(seen, customers);
  EXPECT_EQ(co.operator_.get("/v1/appointments?view=day&day=" + day + "&cursor=rubbish").code(), "CURSOR_INVALID");
  const auto in_area = [&](const std::string& more) {
    auto page = co.operator_.get("/v1/appointments?view=day&day=" + day + "&service_area_id=" + more);
    EXPECT_EQ(page.status, 200) << page.text;
    return page.at("/items").as_array().size();
  };
  const auto elsewhere = uuid();
  co.server.sql("insert into service_area (id, name) values ('" + elsewhere + "', 'Elsewhere')");
  EXPECT_EQ(in_area(co.area), 4u);
  EXPECT_EQ(in_area(co.area + "&appraiser_id=" + co.taro), 4u);
  EXPECT_EQ(in_area(co.area + "&appraiser_id=" + co.hanako), 0u);
  EXPECT_EQ(in_area(elsewhere), 0u);
  EXPECT_EQ(in_area(elsewhere + "&appraiser_id=" + co.taro), 0u);
  EXPECT_EQ(co.operator_.get("/v1/appointments?view=customer&customer_id=" + customers[0] + "&service_area_id=" + co.area).status, 422);
  EXPECT_EQ(co.appraiser.get("/v1/appointments?view=mine").at("/items").as_array().size(), 4u);
  EXPECT_EQ(co.operator_.get("/v1/appointments?view=mine").at("/items").as_array().size(), 4u);
  auto stranger = co.server.as("appraiser2");
  EXPECT_EQ(stranger.get("/v1/appointments?view=mine").at("/items").as_array().size(), 0u);
  EXPECT_EQ(stranger.get("/v1/appointments?view=day&day=" + day).at("/items").as_array().size(), 0u);
  EXPECT_EQ(stranger.get("/v1/appointments?view=customer&customer_id=" + customers[0]).at("/items").as_array().size(), 0u);
  const auto id = co.server.value("select id from appointment limit 1");
  EXPECT_EQ(stranger.get("/v1/appointments/" + id).status, 404);
  EXPECT_EQ(stranger.post("/v1/appointments/" + id + "/departure").status, 404);
  EXPECT_EQ(co.state(id), "BOOKED");
  EXPECT_EQ(co.operator_.post("/v1/appointments/" + id + "/departure").status, 403);
  EXPECT_EQ(co.operator_.post("/v1/service-areas", Object{{"name", "x"}}).status, 403);
  co.server.stop();
  EXPECT_NE(co.server.value("select count(*) from personal_data_view where entity = 'appointment'"), "0");
}

TEST(Visits, areas_appraisers_hours_and_slots_are_kept) {
  Company co;
  auto area = co.supervisor.post("/v1/service-areas", Object{{"name", "Kita"}, {"postal_prefixes", Array{"114", "115"}}});
  ASSERT_EQ(area.status, 201) << area.text;
  EXPECT_EQ(co.supervisor.post("/v1/service-areas", Object{{"name", "Kita"}}).code(), "NAME_TAKEN");
  EXPECT_EQ(co.supervisor.post("/v1/service-areas", Object{{"name", "Nishi"}, {"postal_prefixes", Array{"114"}}}).code(),
            "POSTAL_PREFIX_TAKEN");
  EXPECT_EQ(
      co.supervisor.post("/v1/service-areas", Object{{"name", ""}, {"postal_prefixes", Array{"1x4"}}}).at("/errors").as_array().size(), 2u);
  auto changed = co.supervisor.patch("/v1/service-areas/" + area.string("/id"), {{"postal_prefixes", Array{"115", "1160"}}},
                                     {{"If-Match", area.header("ETag")}});
  ASSERT_EQ(changed.status, 200) << changed.text;
  EXPECT_EQ(changed.at("/postal_prefixes"), (Array{"115", "1160"}));
  EXPECT_EQ(co.supervisor.patch("/v1/service-areas/" + area.string("/id"), {{"name", "Minami"}}, {{"If-Match", area.header("ETag")}})
                .string("/current_version"),
            changed.string("/version"));
  EXPECT_EQ(co.server.value("select area_of_postal_code('1160001')"), area.string("/id"));

  auto made = co.supervisor.post("/v1/appraisers", Object{{"display_name", "佐藤"}, {"skills", Array{co.kimono}}});
  ASSERT_EQ(made.status, 201) << made.text;
  const auto url = "/v1/appraisers/" + made.string("/id");
  auto hours = co.supervisor.post(url + "/hours", Object{{"weekday", 1}, {"from_time", "09:00"}, {"to_time", "24:00"}});
  ASSERT_EQ(hours.status, 201) << hours.text;
  EXPECT_EQ(hours.string("/hours/0/to_time"), "24:00");
  EXPECT_EQ(co.supervisor.post(url + "/hours", Object{{"weekday", 1}, {"day", "2030-01-01"}, {"from_time", "19:00"}, {"to_time", "18:00"}})
                .at("/errors")
                .as_array()
                .size(),
            2u);
  EXPECT_EQ(co.supervisor.post("/v1/appraisers/" + uuid() + "/hours", Object{{"weekday", 1}, {"from_time", "09:00"}, {"to_time", "18:00"}})
                .status,
            404);
  EXPECT_EQ(co.supervisor.del("/v1/appraiser-hours/" + hours.string("/hours/0/id")).at("/hours").as_array().size(), 0u);
  EXPECT_EQ(co.supervisor.patch(url, {{"active", false}}, {{"If-Match", made.header("ETag")}}).at("/active"), false);

  const Object plan{{"service_area_ids", Array{area.string("/id")}},
                    {"from", "2030-01-07"},
                    {"to", "2030-01-20"},
                    {"weekdays", Array{1, 2, 3, 4, 5}},
                    {"bands", Array{Object{{"from_time", "09:00"}, {"to_time", "12:00"}, {"capacity", 3}},
                                    Object{{"from_time", "13:00"}, {"to_time", "16:00"}, {"capacity", 2}}}}};
  EXPECT_EQ(co.supervisor.post("/v1/visit-slot-plans", plan).string("/created"), "20");
  EXPECT_EQ(co.supervisor.post("/v1/visit-slot-plans", plan).string("/already_there"), "20");
  Object astray = plan;
  astray["service_area_ids"] = Array{area.string("/id"), uuid()};
  EXPECT_EQ(co.supervisor.post("/v1/visit-slot-plans", astray).code(), "AREA_NOT_FOUND");
  EXPECT_EQ(co.supervisor.get("/v1/visit-slots?service_area_id=" + area.string("/id") + "&from=2030-01-07&to=2030-01-07")
                .at("/items")
                .as_array()
                .size(),
            2u);
}

// Races --------------------------------------------------------------------------------------------------------------------

/// Runs both at the same moment, each in a thread of its own with a connection of its own.
void together(const std::function<void()>& one, const std::function<void()>& other) {
  std::atomic<int> ready{0};
  const auto start = [&ready](const std::function<void()>& act) {
    ++ready;
    while (ready.load() < 2) std::this_thread::yield();
    act();
  };
  std::thread a(start, std::cref(one)), b(start, std::cref(other));
  a.join();
  b.join();
}

TEST(VisitRaces, the_last_place_of_a_slot_is_booked_once) {
  Company co(2);
  for (int round = 0; round < 25; ++round) {
    const auto slot = uuid();
    co.server.sql("insert into visit_slot (id, service_area_id, starts_at, ends_at, capacity) select '" + slot +
                  "', service_area_id, starts_at + interval '1 day' * " + std::to_string(round + 1) + ", ends_at + interval '1 day' * " +
                  std::to_string(round + 1) + ", 1 from visit_slot where id = '" + co.early + "'");
    const auto first = co.booking(co.customer(), slot, co.taro), second = co.booking(co.customer(), slot, co.hanako);
    auto operator2 = co.server.as("operator2");
    Reply a, b;
    together([&] { a = co.operator_.post("/v1/appointments", first); }, [&] { b = operator2.post("/v1/appointments", second); });
    EXPECT_EQ(std::min(a.status, b.status), 201) << a.text << b.text;
    EXPECT_EQ(std::max(a.status, b.status), 409);
    EXPECT_EQ(a.code() + b.code(), "SLOT_FULL");
  }
}

TEST(VisitRaces, an_appraiser_is_never_booked_twice) {
  Company co(2);
  for (int round = 0; round < 15; ++round) {
    const auto shift = " + interval '1 day' * " + std::to_string(round + 1);
    const auto slot = uuid();
    co.server.sql("insert into visit_slot (id, service_area_id, starts_at, ends_at, capacity) select '" + slot +
                  "', service_area_id, starts_at" + shift + ", ends_at" + shift + ", 9 from visit_slot where id = '" + co.early + "'");
    const auto elsewhere = uuid(), other_slot = uuid();
    co.server.sql("insert into service_area (id, name) values ('" + elsewhere + "', '" + elsewhere +
                  "'); insert into visit_slot (id, service_area_id, starts_at, ends_at, capacity) select '" + other_slot + "', '" +
                  elsewhere + "', starts_at, ends_at, 9 from visit_slot where id = '" + slot + "'");
    const auto there = co.customer(), prefix = std::to_string(200 + round);
    co.server.sql("insert into service_area_postal (service_area_id, postal_prefix) values ('" + elsewhere + "', '" + prefix +
                  "'); update customer_address set postal_code = '" + prefix + "0001' where id = '" + there + "'");
    const auto first = co.booking(co.customer(), slot, co.taro), second = co.booking(there, other_slot, co.taro);
    auto operator2 = co.server.as("operator2");
    Reply a, b;
    together([&] { a = co.operator_.post("/v1/appointments", first); }, [&] { b = operator2.post("/v1/appointments", second); });
    EXPECT_EQ(a.code() + b.code(), "APPRAISER_BOOKED") << a.text << b.text;
  }
}

TEST(VisitRaces, no_booking_commits_after_a_ban) {
  Company co(2);
  auto compliance = co.server.as("compliance");
  int booked = 0, refused = 0;
  for (int round = 0; round < 40; ++round) {
    // The banned one and the visited one are two people with one phone.
    const auto phone = "+8135555" + std::to_string(1000 + round);
    const auto banned = co.customer(phone), visited = co.customer(phone);
    const auto slot = uuid();
    co.server.sql("insert into visit_slot (id, service_area_id, starts_at, ends_at, capacity) select '" + slot +
                  "', service_area_id, starts_at + interval '1 day' * " + std::to_string(round + 1) + ", ends_at + interval '1 day' * " +
                  std::to_string(round + 1) + ", 1 from visit_slot where id = '" + co.early + "'");
    const auto body = co.booking(visited, slot, co.taro);
    Reply booking, ban;
    together(
        [&] { booking = co.operator_.post("/v1/appointments", body); },
        [&] { ban = compliance.post("/v1/solicitation-bans", Object{{"customer_id", banned}, {"reason", "no"}, {"source", "REQUEST"}}); });
    ASSERT_EQ(ban.status, 201) << ban.text;
    if (booking.status == 201) {
      ++booked;
      // Who came first committed first: history has its commit order in the numbers that both took under the lock.
      EXPECT_EQ(co.server.value("select (select min(id) from history where table_name = 'appointment' and row_id = '" +
                                booking.string("/id") + "') < (select min(id) from history where row_id = '" + ban.string("/id") + "')"),
                "t");
      // The ban saw it: the call that the booking planned is blocked.
      EXPECT_EQ(co.server.value("select state from call_task where kind = 'PRE_VISIT' and inquiry_id = '" + visited + "'"), "BLOCKED");
    } else {
      ++refused;
      EXPECT_EQ(booking.code(), "RESOLICITATION_BANNED") << booking.text;
    }
  }
  EXPECT_EQ(booked + refused, 40);
}

TEST(VisitRaces, a_hold_that_ends_at_this_moment_and_a_booking_do_not_both_get_the_place) {
  Company co(2);
  for (int round = 0; round < 15; ++round) {
    const auto slot = uuid();
    co.server.sql("insert into visit_slot (id, service_area_id, starts_at, ends_at, capacity) select '" + slot +
                  "', service_area_id, starts_at + interval '1 day' * " + std::to_string(round + 1) + ", ends_at + interval '1 day' * " +
                  std::to_string(round + 1) + ", 1 from visit_slot where id = '" + co.early + "'");
    auto held = co.operator_.post("/v1/appointments", co.booking(co.customer(), slot, co.taro, "HELD"));
    ASSERT_EQ(held.status, 201) << held.text;
    const auto body = co.booking(co.customer(), slot, co.hanako);
    co.server.sql(
        "alter table appointment disable trigger c_rules; update appointment set hold_expires_at = clock_timestamp() + interval '" +
        std::to_string(round) + " milliseconds' where id = '" + held.string("/id") + "'; alter table appointment enable trigger c_rules");
    auto operator2 = co.server.as("operator2");
    Reply a, b;
    together([&] { a = co.operator_.post(path(held, "booking")); }, [&] { b = operator2.post("/v1/appointments", body); });
    EXPECT_EQ(co.server.value("select count(*) <= 1 from appointment where slot_id = '" + slot + "' and state = 'BOOKED'"), "t")
        << a.text << b.text;
    EXPECT_TRUE(a.status == 200 || a.code() == "HOLD_EXPIRED" || a.code() == "ILLEGAL_TRANSITION") << a.text;
    EXPECT_TRUE(b.status == 201 || b.code() == "SLOT_FULL") << b.text;
  }
}

}  // namespace
}  // namespace enishi::crm::visits

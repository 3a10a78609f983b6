#include <gtest/gtest.h>

#include <thread>

#include "auth/testing.hpp"
#include "crm/calls/routes.hpp"
#include "crm/inquiries/routes.hpp"
#include "crm/queue/queue.hpp"
#include "crm/queue/routes.hpp"

namespace enishi::crm::calls {
namespace {

namespace json = boost::json;
using auth::testing::Client;
using auth::testing::Reply;
using auth::testing::TestServer;

constexpr const char* media = "01900000-0000-7000-8000-0000000000a1";
constexpr const char* kimono = "01900000-0000-7000-8000-00000c000001";

struct Calls : ::testing::Test {
  TestServer server{{calls::mount, inquiries::mount, queue::mount}, TestServer::quick(), 2};
  Client op = server.as("operator");
  std::string inquiry, customer;
  Calls() {
    server.open_all_hours();
    server.sql(std::string("insert into media_source (id, code, name) values ('") + media + "', 'web1', 'Web')");
  }
  Reply lead(const char* phone = "090-1234-5678") {
    auto made =
        op.post("/v1/inquiries", {{"media_source_id", media},
                                  {"channel", "WEB"},
                                  {"customer",
                                   {{"display_name", "山田"},
                                    {"phones", json::array{{{"raw", phone}}}},
                                    {"addresses", json::array{{{"postal_code", "1000001"}, {"town", "千代田"}, {"street", phone}}}}}}});
    inquiry = made.string("/inquiry/id");
    customer = made.string("/inquiry/customer_id");
    return made;
  }
  /// Claims and dials; the call's id.
  std::string dial() {
    auto task = op.post("/v1/call-tasks/claim");
    EXPECT_EQ(task.status, 200) << task.text;
    auto call = op.post("/v1/calls", {{"task_id", task.string("/id")}});
    EXPECT_EQ(call.status, 201) << call.text;
    return call.string("/call/id");
  }
  Reply finish(const std::string& call, json::value body) { return op.post("/v1/calls/" + call + "/finish", body); }
  static json::value callback(const char* due = "2030-01-01T10:00:00+09:00", const char* outcome = "CALLBACK") {
    return {{"outcome", outcome}, {"memo", "夕方に"}, {"next_action", {{"kind", "CALLBACK"}, {"due_at", due}}}};
  }
  /// A place that the appraiser holds for the inquiry; its id.
  std::string hold() {
    server.sql(
        "insert into service_area (id, name) values ('01900000-0000-7000-8000-0000000000b1', 'Area');"
        "insert into service_area_postal (service_area_id, postal_prefix) values ('01900000-0000-7000-8000-0000000000b1', '100');"
        "insert into appraiser (id, display_name) values ('01900000-0000-7000-8000-0000000000b2', 'A');"
        "insert into appraiser_hours (id, appraiser_id, weekday, from_time, to_time) select new_id(), "
        "'01900000-0000-7000-8000-0000000000b2', g, '00:00', '24:00' from generate_series(0, 6) g;"
        "insert into visit_slot (id, service_area_id, starts_at, ends_at, capacity) values ('01900000-0000-7000-8000-0000000000b3', "
        "'01900000-0000-7000-8000-0000000000b1', "
        "((now() at time zone 'Asia/Tokyo')::date + 3 + time '10:00') at time zone 'Asia/Tokyo', ((now() at time zone 'Asia/Tokyo')::date "
        "+ 3 + time '12:00') at time zone 'Asia/Tokyo', 2)");
    return server.value(
        "insert into appointment (id, customer_id, inquiry_id, slot_id, appraiser_id, address_id, category_ids, state, starts_at, ends_at, "
        "hold_expires_at) "
        "select new_id(), '" +
        customer + "', '" + inquiry +
        "', s.id, '01900000-0000-7000-8000-0000000000b2', (select id from customer_address limit 1), array['" + kimono +
        "']::uuid[], 'HELD', s.starts_at, s.ends_at, 'infinity' from visit_slot s returning id::text");
  }
};

TEST(call_statements, every_statement_of_inquiries_queue_calls_and_jobs_fits_the_migrated_schema) {
  pg::testing::Stage stage(auth::testing::migrated());
  auto check = [](pg::Database& db) -> Task<std::vector<std::pair<std::string, std::string>>> {
    auto lease = co_await db.lease();
    co_return co_await pg::check_statements(lease);
  };
  for (const auto& [name, message] : stage.run(check(stage.db)))
    for (const auto* ours : {"inquiries.", "queue.", "calls.", "jobs."})
      if (name.starts_with(ours)) ADD_FAILURE() << name << ": " << message;
}

TEST_F(Calls, from_lead_to_callback_to_visit) {
  auto made = lead();
  ASSERT_EQ(made.status, 201) << made.text;
  const auto first = dial();
  EXPECT_EQ(server.value("select e164 from call_attempt"), "+819012345678");
  EXPECT_EQ(server.value("select state from call_task"), "IN_CALL");
  auto done = finish(first, callback("2020-01-01T10:00:00+09:00"));
  ASSERT_EQ(done.status, 200) << done.text;
  EXPECT_EQ(done.string("/call/outcome"), "CALLBACK");
  EXPECT_EQ(done.string("/call_task/state"), "RESCHEDULED");
  EXPECT_EQ(done.string("/inquiry/stage"), "IN_PROGRESS");
  EXPECT_EQ(done.string("/inquiry/next_action"), "CALLBACK");
  EXPECT_EQ(done.string("/inquiry/owner_id"), op.user.str());
  EXPECT_EQ(done.string("/next_task/kind"), "CALLBACK");
  EXPECT_EQ(done.string("/next_task/state"), "READY");  // due already
  EXPECT_EQ(done.string("/next_task/previous_task_id"), made.string("/call_task/id"));

  const auto second = dial();
  EXPECT_EQ(server.value("select kind from call_task where state = 'IN_CALL'"), "CALLBACK");
  const auto place = hold();
  const json::value visit = {{"outcome", "APPOINTED"},
                             {"memo", "来週"},
                             {"appointment_id", place},
                             {"solicitation_request",
                              {{"scope", "PURCHASE"},
                               {"category_ids", json::array{kimono}},
                               {"verbatim", "着物を見てほしい"},
                               {"disclosed", true},
                               {"willingness_confirmed", true}}}};
  auto booked = finish(second, visit);
  ASSERT_EQ(booked.status, 200) << booked.text;
  EXPECT_EQ(booked.string("/appointment/state"), "BOOKED");
  EXPECT_EQ(booked.string("/inquiry/stage"), "APPOINTED");
  EXPECT_EQ(booked.string("/call_task/state"), "DONE");
  EXPECT_EQ(booked.string("/next_task/kind"), "PRE_VISIT");
  EXPECT_EQ(server.value("select verbatim || ' ' || (call_attempt_id = '" + second + "') from solicitation_request"),
            "着物を見てほしい true");
  // History has every row of it, under the caller's name.
  EXPECT_EQ(server.value("select bool_and(actor = 'user:" + op.user.str() +
                         "') from history where table_name in ('call_attempt', 'call_task') and op = 'UPDATE'"),
            "t");
}

TEST_F(Calls, nobody_is_dialled_without_a_number) {
  lead();
  server.sql("update customer_phone set e164 = null, raw = 'sister knows'");
  auto task = op.post("/v1/call-tasks/claim");
  ASSERT_EQ(task.status, 200) << task.text;
  auto refused = op.post("/v1/calls", {{"task_id", task.string("/id")}});
  EXPECT_EQ(refused.status, 422) << refused.text;
  EXPECT_EQ(refused.code(), "PHONE_MISSING");
  EXPECT_EQ(refused.string("/customer_id"), customer);
  EXPECT_EQ(server.value("select state || ' ' || (select count(*) from call_attempt) from call_task"), "ASSIGNED 0");
  server.sql("update customer_phone set e164 = '+819012345678'");
  EXPECT_EQ(op.post("/v1/calls", {{"task_id", task.string("/id")}}).status, 201);
}

TEST_F(Calls, between_the_talk_and_its_outcome_the_task_is_wrapped_up) {
  lead();
  const auto call = dial();
  auto over = op.post("/v1/calls/" + call + "/wrap-up");
  ASSERT_EQ(over.status, 200) << over.text;
  EXPECT_EQ(over.string("/call_task/state"), "WRAP_UP");
  EXPECT_TRUE(over.at("/call/ended_at").is_null());
  const auto talked_until = over.string("/call/talk_ended_at");
  EXPECT_EQ(op.post("/v1/calls/" + call + "/wrap-up").code(), "CALL_OVER");
  EXPECT_EQ(server.as("operator3").post("/v1/calls/" + call + "/wrap-up").status, 404);
  // Nobody takes on another call before this one has its outcome.
  EXPECT_EQ(op.post("/v1/calls", {{"direction", "INBOUND"}, {"phone", "03-1234-5678"}}).code(), "CALL_OPEN");
  auto done = finish(call, callback());
  ASSERT_EQ(done.status, 200) << done.text;
  EXPECT_EQ(done.string("/call_task/state"), "RESCHEDULED");
  EXPECT_EQ(done.string("/call/talk_ended_at"), talked_until);
  EXPECT_EQ(op.post("/v1/calls/" + call + "/wrap-up").code(), "CALL_FINISHED");
}

TEST_F(Calls, a_visit_without_the_customers_words_is_refused_and_nothing_is_saved) {
  lead();
  const auto call = dial();
  const auto place = hold();
  auto refused = finish(call, {{"outcome", "APPOINTED"}, {"appointment_id", place}});
  EXPECT_EQ(refused.status, 422) << refused.text;
  EXPECT_EQ(refused.code(), "NO_SOLICITATION_REQUEST");
  EXPECT_EQ(server.value("select count(*) from call_attempt where ended_at is not null"), "0");
  auto unwilling = finish(call, {{"outcome", "APPOINTED"},
                                 {"appointment_id", place},
                                 {"solicitation_request",
                                  {{"scope", "PURCHASE"},
                                   {"category_ids", json::array{kimono}},
                                   {"verbatim", "見て"},
                                   {"disclosed", true},
                                   {"willingness_confirmed", false}}}});
  EXPECT_EQ(unwilling.code(), "WILLINGNESS_UNCONFIRMED");
  EXPECT_EQ(server.value("select count(*) from solicitation_request"), "0");
  EXPECT_EQ(finish(call, {{"outcome", "APPOINTED"}}).string("/errors/0/pointer"), "/appointment_id");
  EXPECT_EQ(finish(call, {{"outcome", "APPOINTED"}, {"appointment_id", inquiry}}).string("/errors/0/pointer"), "/appointment_id");
}

TEST_F(Calls, an_inquiry_that_goes_on_needs_a_next_action) {
  lead();
  const auto call = dial();
  auto bare = finish(call, {{"outcome", "NO_ANSWER"}});
  ASSERT_EQ(bare.status, 422) << bare.text;
  EXPECT_EQ(bare.code(), "NEXT_ACTION_REQUIRED");
  EXPECT_EQ(bare.string("/errors/0/pointer"), "/next_action");
  EXPECT_EQ(server.value("select state from call_task"), "IN_CALL");
  EXPECT_EQ(finish(call, {{"outcome", "NO_ANSWER"}, {"next_action", {{"kind", "CALL"}}}}).string("/errors/0/pointer"),
            "/next_action/due_at");
  EXPECT_EQ(
      finish(call, {{"outcome", "CALLBACK"}, {"lost_reason", "x"}, {"next_action", {{"kind", "CALL"}, {"due_at", "2030-01-01T10:00:00Z"}}}})
          .code(),
      "VALIDATION_FAILED");
  // Waiting is a next action without a call.
  auto waits = finish(call, {{"outcome", "THIRD_PARTY"}, {"next_action", {{"kind", "WAIT"}, {"due_at", "2030-01-01T10:00:00Z"}}}});
  ASSERT_EQ(waits.status, 200) << waits.text;
  EXPECT_TRUE(waits.at("/next_task").is_null());
  EXPECT_EQ(waits.string("/call_task/state"), "DONE");
}

TEST_F(Calls, finishing_twice_with_the_same_key_is_once_and_without_it_is_refused) {
  lead();
  const auto call = dial();
  const auto path = "/v1/calls/" + call + "/finish";
  auto first = op.post(path, callback(), {{"Idempotency-Key", "f1"}});
  auto again = op.post(path, callback(), {{"Idempotency-Key", "f1"}});
  ASSERT_EQ(first.status, 200) << first.text;
  EXPECT_EQ(again.text, first.text);
  EXPECT_EQ(again.header("Idempotency-Replayed"), "true");
  EXPECT_EQ(server.value("select count(*) from call_task"), "2");
  auto twice = op.post(path, callback());
  EXPECT_EQ(twice.status, 409);
  EXPECT_EQ(twice.code(), "CALL_FINISHED");
  EXPECT_EQ(twice.string("/outcome"), "CALLBACK");
  EXPECT_EQ(server.as("operator3").post(path, callback()).status, 404);
}

TEST_F(Calls, a_refusal_bans_at_once_and_everything_open_for_that_number_stops) {
  lead();
  const auto call = dial();
  auto family =
      op.post("/v1/inquiries", {{"media_source_id", media},
                                {"channel", "FILE"},
                                {"customer", {{"display_name", "山田 次郎"}, {"phones", json::array{{{"raw", "090-1234-5678"}}}}}}});
  ASSERT_EQ(family.string("/call_task/state"), "READY") << family.text;
  EXPECT_EQ(finish(call, {{"outcome", "REFUSED"}}).string("/errors/0/pointer"), "/ban_reason");
  auto done = finish(call, {{"outcome", "REFUSED"}, {"memo", "強く断られた"}, {"ban_reason", "二度と電話しないで"}});
  ASSERT_EQ(done.status, 200) << done.text;
  EXPECT_EQ(done.string("/inquiry/stage"), "LOST");
  EXPECT_EQ(done.string("/solicitation_ban/source"), "REFUSED");
  EXPECT_EQ(done.string("/call_task/state"), "DONE");
  EXPECT_EQ(server.value("select state from call_task where id = '" + family.string("/call_task/id") + "'"), "BLOCKED");
  EXPECT_EQ(op.post("/v1/call-tasks/claim").status, 204);
}

TEST_F(Calls, a_refusal_bans_the_number_that_it_came_from_though_nobody_has_it_on_file) {
  lead();
  server.sql("update call_task set state = 'CANCELLED'");
  const auto ring =
      op.post("/v1/calls", {{"direction", "INBOUND"}, {"phone", "03-9999-1234"}, {"customer_id", customer}, {"inquiry_id", inquiry}});
  ASSERT_EQ(ring.status, 201) << ring.text;
  ASSERT_EQ(finish(ring.string("/call/id"), {{"outcome", "REFUSED"}, {"ban_reason", "電話しないで"}}).status, 200);
  const auto refused = customer;
  const auto other = lead("03-9999-1234");
  EXPECT_NE(customer, refused);
  EXPECT_EQ(other.string("/call_task/state"), "BLOCKED") << other.text;
}

TEST_F(Calls, a_wrong_number_is_marked_and_the_inquiry_may_end) {
  lead();
  const auto call = dial();
  auto done = finish(call, {{"outcome", "WRONG_NUMBER"}, {"invalid_reason", "prank"}});
  ASSERT_EQ(done.status, 200) << done.text;
  EXPECT_EQ(done.string("/inquiry/stage"), "INVALID");
  EXPECT_EQ(server.value("select valid_hint::text || note from customer_phone"), "falseWRONG_NUMBER");
}

TEST_F(Calls, a_call_starts_only_from_a_task_in_ones_hands) {
  auto made = lead();
  const auto task = made.string("/call_task/id");
  auto unclaimed = op.post("/v1/calls", {{"task_id", task}});
  EXPECT_EQ(unclaimed.code(), "ILLEGAL_TRANSITION");
  EXPECT_EQ(unclaimed.string("/current_state"), "READY");
  EXPECT_EQ(op.post("/v1/calls", {{"task_id", inquiry}}).string("/errors/0/pointer"), "/task_id");
  ASSERT_EQ(server.as("operator2").post("/v1/call-tasks/claim").status, 200);
  EXPECT_EQ(op.post("/v1/calls", {{"task_id", task}}).code(), "TASK_HELD");
  ASSERT_EQ(server.as("operator2").post("/v1/call-tasks/" + task + "/release").status, 200);
  ASSERT_EQ(op.post("/v1/call-tasks/claim").status, 200);
  EXPECT_EQ(op.post("/v1/calls", {{"task_id", task}, {"phone", "03-9999-9999"}}).string("/errors/0/code"), "PHONE_NOT_OF_CUSTOMER");
  ASSERT_EQ(op.post("/v1/calls", {{"task_id", task}, {"phone", "090 1234 5678"}}).status, 201);
  auto twice = op.post("/v1/calls", {{"direction", "INBOUND"}, {"phone", "03-1111-2222"}});
  EXPECT_EQ(twice.code(), "CALL_OPEN") << twice.text;
  EXPECT_EQ(server.value("select count(*) from call_attempt"), "1");
}

TEST_F(Calls, an_unknown_caller_is_told_apart_later) {
  lead();
  auto ring = op.post("/v1/calls", {{"direction", "INBOUND"}, {"phone", "090-1234-5678"}});
  ASSERT_EQ(ring.status, 201) << ring.text;
  const auto path = "/v1/calls/" + ring.string("/call/id");
  EXPECT_EQ(finish(ring.string("/call/id"), callback()).string("/errors/0/pointer"), "/next_action");
  EXPECT_EQ(op.patch(path, {{"memo", "x"}}).status, 428);
  auto known = op.patch(path, {{"customer_id", customer}, {"inquiry_id", inquiry}}, {{"If-Match", "\"1\""}});
  ASSERT_EQ(known.status, 200) << known.text;
  EXPECT_EQ(op.patch(path, {{"memo", "x"}}, {{"If-Match", "\"1\""}}).status, 412);
  // The open first call gives way to what was agreed on now.
  auto done = finish(ring.string("/call/id"), callback());
  ASSERT_EQ(done.status, 200) << done.text;
  EXPECT_EQ(server.value("select string_agg(state, ',' order by created_at) from call_task"), "CANCELLED,SCHEDULED");
  // Nobody we know, nothing to do next.
  auto stranger = op.post("/v1/calls", {{"direction", "INBOUND"}, {"phone", "非通知"}});
  ASSERT_EQ(stranger.status, 201) << stranger.text;
  EXPECT_TRUE(stranger.at("/call/e164").is_null());
  EXPECT_EQ(finish(stranger.string("/call/id"), {{"outcome", "THIRD_PARTY"}, {"memo", "間違い"}}).status, 200);
  EXPECT_EQ(op.get("/v1/calls").at("/items").as_array().size(), 2u);
  EXPECT_EQ(op.get("/v1/calls?customer_id=" + customer).at("/items").as_array().size(), 1u);
  EXPECT_EQ(server.as("supervisor").get("/v1/calls?operator_id=" + op.user.str()).at("/items").as_array().size(), 2u);
  EXPECT_EQ(server.as("supervisor3").get("/v1/calls").at("/items").as_array().size(), 0u);
  EXPECT_EQ(server.as("operator3").get(path).status, 404);
}

TEST_F(Calls, nobody_is_dialled_outside_contact_hours) {
  lead();
  ASSERT_EQ(op.post("/v1/call-tasks/claim").status, 200);
  server.sql(
      "insert into rule (name, effective_from, value) select 'contact_hours', now(), case when (now() at time zone 'Asia/Tokyo')::time < "
      "'12:00' then '{\"from\":\"13:00\",\"to\":\"14:00\"}' else '{\"from\":\"01:00\",\"to\":\"02:00\"}' end::jsonb");
  auto refused = op.post("/v1/calls", {{"task_id", server.value("select id::text from call_task")}});
  EXPECT_EQ(refused.status, 409);
  EXPECT_EQ(refused.code(), "OUTSIDE_CONTACT_HOURS");
  EXPECT_EQ(server.value("select count(*) from call_attempt"), "0");
  // Who calls in is answered at any time.
  EXPECT_EQ(op.post("/v1/calls", {{"direction", "INBOUND"}}).status, 201);
}

TEST_F(Calls, a_ban_at_the_moment_of_a_dial_lets_none_slip_through) {
  int dialled = 0, refused = 0;
  for (int round = 0; round < 40; ++round) {
    const auto phone = "090-1234-" + std::to_string(1000 + round);
    auto made = lead(phone.c_str());
    const auto task = made.string("/call_task/id");
    ASSERT_EQ(op.post("/v1/call-tasks/claim", {{"call_task_id", task}}).status, 200);
    Reply call;
    std::thread dialler([&] {
      auto mine = op;
      call = mine.post("/v1/calls", {{"task_id", task}});
    });
    std::thread banner([&] {
      if (round % 2 == 0) std::this_thread::yield();
      server.sql("insert into solicitation_ban (id, customer_id, reason, source) values (new_id(), '" + customer + "', 'x', 'REQUEST')");
    });
    dialler.join();
    banner.join();
    const auto state = server.value("select state from call_task where id = '" + task + "'");
    if (call.status == 201) {
      ++dialled;
      EXPECT_EQ(state, "IN_CALL");
      // The dial came first: nothing of the ban was visible when it started.
      EXPECT_EQ(
          server.value("select a.xmin::text::bigint < k.xmin::text::bigint from call_attempt a, solicitation_ban_key k where a.id = '" +
                       call.string("/call/id") + "' and k.key = '" + customer + "'"),
          "t");
      EXPECT_EQ(finish(call.string("/call/id"), {{"outcome", "REFUSED"}, {"ban_reason", "x"}}).status, 200);
    } else {
      ++refused;
      EXPECT_EQ(call.code(), "RESOLICITATION_BANNED") << call.text;
      EXPECT_EQ(state, "BLOCKED");
      EXPECT_EQ(server.value("select count(*) from call_attempt where customer_id = '" + customer + "'"), "0");
    }
  }
  EXPECT_EQ(dialled + refused, 40);
}

TEST_F(Calls, a_call_whose_client_died_is_abandoned_and_its_task_comes_back) {
  lead();
  const auto call = dial();
  server.sql("update call_task set lease_expires_at = now() - interval '1 second'");
  auto job = [](pg::Database& db) -> Task<int> {
    jobs::Scheduler scheduler(db, queue::periodic());
    co_return co_await scheduler.run_due();
  };
  pg::Config config;
  config.conninfo = server.fresh().conninfo() + " user=enishi_app";
  Shard shard{7};
  Offload offload{1, 8};
  pg::Database db(shard, offload, config);
  EXPECT_EQ(run_task(shard.context(), job(db)), 3);
  db.close();
  EXPECT_EQ(server.value("select outcome from call_attempt"), "ABANDONED");
  EXPECT_EQ(server.value("select state || attempts from call_task"), "READY1");
  EXPECT_EQ(finish(call, callback()).code(), "CALL_FINISHED");
  // What was heard is not lost.
  EXPECT_EQ(op.patch("/v1/calls/" + call, {{"memo", "途中で切れた"}}, {{"If-Match", "\"2\""}}).string("/memo"), "途中で切れた");
}

TEST_F(Calls, a_lost_inquiry_takes_its_visit_with_it) {
  lead();
  const auto call = dial();
  const auto place = hold();
  ASSERT_EQ(finish(call, {{"outcome", "APPOINTED"},
                          {"appointment_id", place},
                          {"solicitation_request",
                           {{"scope", "PURCHASE"},
                            {"category_ids", json::array{kimono}},
                            {"verbatim", "見て"},
                            {"disclosed", true},
                            {"willingness_confirmed", true}}}})
                .status,
            200);
  auto lost = op.post("/v1/inquiries/" + inquiry + "/transition", {{"stage", "LOST"}, {"reason", "やめた"}});
  ASSERT_EQ(lost.status, 200) << lost.text;
  EXPECT_EQ(server.value("select state || ' ' || cancelled_by from appointment"), "CANCELLED CUSTOMER");
  EXPECT_EQ(server.value("select count(*) from call_task where state not in ('DONE', 'CANCELLED')"), "0");
}

}  // namespace
}  // namespace enishi::crm::calls

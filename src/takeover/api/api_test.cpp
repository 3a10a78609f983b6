// What the takeover's API shows and changes, over tables as a running takeover leaves them.
#include <gmock/gmock.h>

#include "auth/testing.hpp"
#include "base/metrics.hpp"
#include "takeover/api/routes.hpp"

namespace enishi::takeover {
namespace {

using auth::testing::Client;
using auth::testing::Reply;
using auth::testing::TestServer;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kMove = "0190163d-8694-739b-aea5-966c26f8ad91";
constexpr const char* kDiff = "0190163d-8694-739b-aea5-966c26f8ad92";
constexpr const char* kRecord = "0190163d-8694-739b-aea5-966c26f8ad93";

/// A domain `customer` of the system `shop` in mid-copy, with two rejects, a diff that found something and a move that was given up.
constexpr const char* kRunning = R"(
  insert into takeover_source (system, conninfo) values ('shop', 'host=shop password=secret');
  update domain_ownership set state = 'LEGACY', system = 'shop', epoch = 3 where domain = 'customer';
  insert into takeover_domain (domain, system, mapping, mapping_digest, phase, slot, publication, position, source_position, source_at, rows_estimate, copy_started_at)
  values ('customer', 'shop', '{"reverse.sql": "update customers …"}', '\x00', 'COPYING', 'enishi_shop_customer', 'enishi_shop_customer', '1/100', '1/1A8', now() - interval '3 seconds', 1000,
          now() - interval '10 seconds');
  insert into takeover_chunk (domain, era, number, done_at, rows) values ('customer', 1, 1, now(), 200), ('customer', 1, 2, now(), 50), ('customer', 1, 3, null, null);
  insert into takeover_reject (system, domain, legacy_key, code, detail, errors, content)
  values ('shop', 'customer', '4711', 'DATE_INVALID', '«0000-00-00» is no date.', '[{"pointer": "/birth_date", "code": "DATE_INVALID", "detail": "no date"}]', '{"display_name": "山田 花子"}'),
         ('shop', 'customer', '4712', 'REQUIRED', 'display_name is missing.', '[]', '{}');
  insert into takeover_diff_run (id, domain, kind, state, records, differences, finished_at) values ('0190163d-8694-739b-aea5-966c26f8ad92', 'customer', 'FULL', 'DIFFERENT', 250, 3, now());
  insert into takeover_difference (run_id, legacy_key, record_id, pointer, here, there) values
    ('0190163d-8694-739b-aea5-966c26f8ad92', '1', '0190163d-8694-739b-aea5-966c26f8ad93', '/kana', '"ア"', '"ァ"'),
    ('0190163d-8694-739b-aea5-966c26f8ad92', '1', '0190163d-8694-739b-aea5-966c26f8ad93', '/notes', 'null', '""'),
    ('0190163d-8694-739b-aea5-966c26f8ad92', '2', null, '', null, '{"display_name": "x"}');
  insert into takeover_move (id, domain, kind, step, epoch, state, actor, held_at, released_at, finished_at)
  values ('0190163d-8694-739b-aea5-966c26f8ad91', 'customer', 'SWITCH', 'DRAIN', 4, 'ABORTED', 'user:x', now(), now() + interval '250 ms', now());
  insert into legacy_identity (system, domain, legacy_key, id, era, snapshot_xmax, in_progress) values
    ('shop', 'customer', '1', '0190163d-8694-739b-aea5-966c26f8ad93', 1, 100, 0), ('shop', 'customer', '["12", "A/B"]', '0190163d-8694-739b-aea5-966c26f8ad93', 1, 100, 0);
)";

struct TakeoverApi : ::testing::Test {
  Controls controls;
  std::vector<std::string> asked;
  TestServer server{{[this](http::Router& router, auth::Gatekeeper& gate) { mount(router, gate, controls); }}};
  Client admin = server.as("admin");
  Client supervisor = server.as("supervisor");
  Client op = server.as("operator");
};

/// What a runner's function answers.
Task<Result<Uuid>> given(const char* id) { co_return *Uuid::parse(id); }

std::vector<std::string> strings(const Reply& list, std::string_view field) {
  std::vector<std::string> out;
  for (const auto& item : list.at("/items").as_array()) {
    const auto& value = item.at(field);
    out.push_back(value.is_string() ? std::string(value.as_string()) : boost::json::serialize(value));
  }
  return out;
}

TEST_F(TakeoverApi, shows_every_domain_also_without_a_legacy_system) {
  const auto list = supervisor.get("/v1/takeover/domains");
  ASSERT_EQ(list.status, 200) << list.text;
  EXPECT_THAT(strings(list, "domain"), ::testing::IsSupersetOf({"customer", "inquiry", "goods"}));
  for (const auto& item : list.at("/items").as_array()) {
    EXPECT_EQ(item.at("state").as_string(), "LOCAL");
    EXPECT_TRUE(item.at("mirror").is_null());
  }
  EXPECT_EQ(supervisor.get("/v1/takeover/domains/nothing").code(), "NOT_FOUND");
  EXPECT_EQ(op.get("/v1/takeover/domains").status, 403);
}

TEST_F(TakeoverApi, shows_lag_progress_time_left_and_what_is_missing_for_a_switch) {
  server.sql(kRunning);
  const auto one = supervisor.get("/v1/takeover/domains/customer");
  ASSERT_EQ(one.status, 200) << one.text;
  EXPECT_EQ(one.string("/state"), "LEGACY");
  EXPECT_EQ(one.string("/system"), "shop");
  EXPECT_EQ(one.at("/mirror/lag_bytes").as_int64(), 0xA8);
  EXPECT_GE(one.at("/mirror/lag_ms").as_int64(), 3000);
  EXPECT_EQ(one.at("/copy/rows_done").as_int64(), 250);
  EXPECT_EQ(one.at("/copy/chunks_done").as_int64(), 2);
  EXPECT_NEAR(static_cast<double>(one.at("/copy/rows_per_second").as_int64()), 25, 10);
  EXPECT_NEAR(static_cast<double>(one.at("/copy/seconds_left").as_int64()), 30, 15);
  EXPECT_EQ(one.at("/rejects_open").as_int64(), 2);
  EXPECT_EQ(one.string("/last_diff/state"), "DIFFERENT");
  EXPECT_EQ(one.at("/last_move/held_ms").as_int64(), 250);
  std::vector<std::string> missing;
  for (const auto& check : one.at("/checklist").as_array())
    if (!check.at("ok").as_bool()) missing.emplace_back(check.at("check").as_string());
  EXPECT_THAT(missing, ElementsAre("STREAMING", "NO_REJECTS", "DIFF_CLEAN"));
  EXPECT_THAT(one.text, ::testing::Not(HasSubstr("secret"))) << "connection strings stay inside";
}

TEST_F(TakeoverApi, everything_is_ready_when_it_streams_without_rejects_after_a_clean_diff) {
  server.sql(kRunning);
  server.sql(
      "update takeover_domain set phase = 'STREAMING', copy_finished_at = now(), position = source_position; update takeover_reject set "
      "state = 'FIXED';"
      "insert into takeover_diff_run (id, domain, kind, state, started_at, finished_at) values (new_id(), 'customer', 'FULL', 'CLEAN', "
      "now() + interval '1 second', now())");
  const auto one = supervisor.get("/v1/takeover/domains/customer");
  for (const auto& check : one.at("/checklist").as_array()) EXPECT_TRUE(check.at("ok").as_bool()) << boost::json::serialize(check);
  EXPECT_EQ(one.at("/mirror/lag_ms").as_int64(), 0);
  EXPECT_TRUE(one.at("/copy/seconds_left").is_null());
}

TEST_F(TakeoverApi, rejects_are_listed_accepted_with_a_reason_and_opened_again) {
  server.sql(kRunning);
  const auto list = supervisor.get("/v1/takeover/domains/customer/rejects?limit=1");
  ASSERT_EQ(list.status, 200) << list.text;
  EXPECT_THAT(strings(list, "legacy_key"), ElementsAre("4712"));
  const auto next = supervisor.get("/v1/takeover/domains/customer/rejects?limit=1&cursor=" + list.string("/next_cursor"));
  EXPECT_THAT(strings(next, "legacy_key"), ElementsAre("4711"));
  EXPECT_EQ(next.string("/items/0/errors/0/pointer"), "/birth_date");
  EXPECT_TRUE(next.at("/next_cursor").is_null());
  const auto path = "/v1/takeover/rejects/" + next.string("/items/0/id");

  EXPECT_EQ(supervisor.post(path + "/acceptance", {{"reason", "x"}}).status, 403);
  EXPECT_EQ(admin.post(path + "/acceptance", {{"reason", ""}}).code(), "VALIDATION_FAILED");
  const auto accepted = admin.post(path + "/acceptance", {{"reason", "a test record of 2009"}}, {{"Idempotency-Key", "k1"}});
  ASSERT_EQ(accepted.status, 200) << accepted.text;
  EXPECT_EQ(accepted.string("/state"), "ACCEPTED");
  EXPECT_EQ(accepted.string("/reason"), "a test record of 2009");
  EXPECT_FALSE(accepted.at("/decided_by").is_null());
  EXPECT_EQ(
      admin.post(path + "/acceptance", {{"reason", "a test record of 2009"}}, {{"Idempotency-Key", "k1"}}).header("Idempotency-Replayed"),
      "true");
  EXPECT_EQ(admin.post(path + "/acceptance", {{"reason", "again"}}).code(), "REJECT_DECIDED");
  EXPECT_THAT(strings(supervisor.get("/v1/takeover/domains/customer/rejects?state=ACCEPTED"), "legacy_key"), ElementsAre("4711"));
  EXPECT_EQ(supervisor.get("/v1/takeover/domains/customer").at("/rejects_accepted").as_int64(), 1);

  server.sql("update takeover_reject set retry_at = now() + interval '1 hour'");
  const auto again = admin.post(path + "/retry");
  ASSERT_EQ(again.status, 202) << again.text;
  EXPECT_EQ(again.string("/state"), "OPEN");
  EXPECT_TRUE(again.at("/reason").is_null());
  EXPECT_EQ(server.value("select count(*) from takeover_reject where retry_at <= now()"), "1");
  server.sql("update takeover_reject set state = 'FIXED'");
  EXPECT_EQ(admin.post(path + "/retry").code(), "REJECT_DECIDED");
  for (const char* nobody : {"999999", "x", "0190163d-8694-739b-aea5-966c26f8ad91", "99999999999999999999999"})
    EXPECT_EQ(admin.post(std::string("/v1/takeover/rejects/") + nobody + "/retry").status, 404) << nobody;
}

TEST_F(TakeoverApi, records_that_others_changed_at_the_source_are_shown_and_a_repair_is_started_once) {
  server.sql(kRunning);
  server.sql(
      "insert into takeover_foreign (domain, legacy_key, times, last_at) values ('customer', '7', 2, now()), ('customer', '8', 1, now() - "
      "interval '1 minute')");
  const auto one = supervisor.get("/v1/takeover/domains/customer");
  EXPECT_EQ(one.string("/foreign_keys/0/legacy_key"), "7");
  EXPECT_EQ(one.at("/foreign_keys/0/times").as_int64(), 2);
  EXPECT_EQ(one.at("/foreign_keys").as_array().size(), 2U);

  const std::string path = "/v1/takeover/domains/customer/repairs";
  EXPECT_EQ(admin.post(path).code(), "TAKEOVER_NOT_RUNNING");
  controls.start_repair = [this](pg::Database&, std::string domain, std::string) {
    asked.push_back("repair " + domain);
    return given(kDiff);
  };
  EXPECT_EQ(supervisor.post(path).status, 403);
  const auto started = admin.post(path, boost::json::object(), {{"Idempotency-Key", "k1"}});
  ASSERT_EQ(started.status, 202) << started.text;
  EXPECT_EQ(started.string("/id"), kDiff);
  EXPECT_EQ(admin.post(path, boost::json::object(), {{"Idempotency-Key", "k1"}}).header("Idempotency-Replayed"), "true");
  EXPECT_THAT(asked, ElementsAre("repair customer"));
}

TEST_F(TakeoverApi, a_comparison_of_some_keys_does_not_stand_for_one_of_everything) {
  server.sql(kRunning);
  server.sql(
      "insert into takeover_diff_run (id, domain, kind, state, started_at, finished_at) values (new_id(), 'customer', 'KEYS', 'CLEAN', "
      "now() + interval "
      "'1 second', now())");
  const auto one = supervisor.get("/v1/takeover/domains/customer");
  for (const auto& check : one.at("/checklist").as_array())
    if (check.at("check").as_string() == "DIFF_CLEAN") EXPECT_FALSE(check.at("ok").as_bool());
}

TEST_F(TakeoverApi, who_looks_at_rejected_content_or_differences_is_noted) {
  server.sql(kRunning);
  supervisor.get("/v1/takeover/domains/customer/rejects");
  supervisor.get(std::string("/v1/takeover/diffs/") + kDiff + "/differences");
  server.stop();
  EXPECT_EQ(server.value("select string_agg(entity, ' ' order by entity) from personal_data_view"), "takeover_difference takeover_reject");
}

TEST_F(TakeoverApi, two_records_of_one_person_become_one_and_their_old_keys_mean_that_one) {
  const auto a = server.value("select new_id()"), b = server.value("select new_id()"), c = server.value("select new_id()"),
             lead = server.value("select new_id()");
  server.sql("insert into media_source (id, code, name) values (new_id(), 'merge', 'Merge')");
  server.sql(
      "insert into customer (id, display_name, kana, notes, flags) values ('" + a + "', '田中 花子', '', 'a', '{VIP}'), ('" + b +
      "', '田中花子', 'タナカ ハナコ', 'b', '{ELDERLY}'), ('" + c +
      "', '田中 花子', '', '', '{}');"
      "insert into customer_phone (id, customer_id, raw, e164) values (new_id(), '" +
      a + "', '090-1234-5678', '+819012345678'), (new_id(), '" + b + "', '09012345678', '+819012345678'), (new_id(), '" + b +
      "', '03-1234-5678', '+81312345678');"
      "insert into inquiry (id, customer_id, media_source_id, channel, received_at) select '" +
      lead + "', '" + b +
      "', id, 'PHONE', now() from media_source limit 1;"
      "insert into legacy_identity (system, domain, legacy_key, id, era, snapshot_xmax, in_progress) values ('shop', 'customer', '1', '" +
      a + "', 1, 1, 0), ('store', 'customer', 'x', '" + b +
      "', 1, 1, 0);"
      "insert into merge_candidate (customer_a, customer_b, reasons) values (least('" +
      a + "', '" + b + "')::uuid, greatest('" + a + "', '" + b + "')::uuid, '{SAME_PHONE_AND_NAME}'), (least('" + c + "', '" + b +
      "')::uuid, greatest('" + c + "', '" + b + "')::uuid, '{SAME_PHONE_AND_KANA}')");
  const auto pair = server.value("select id from merge_candidate where '" + a + "' in (customer_a::text, customer_b::text)");
  const auto path = "/v1/merge-candidates/" + pair;
  EXPECT_EQ(supervisor.get("/v1/merge-candidates").at("/items").as_array().size(), 2U);
  const auto seen = supervisor.get(path);
  ASSERT_EQ(seen.status, 200) << seen.text;
  EXPECT_EQ(seen.at("/customers").as_array().size(), 2U);
  EXPECT_EQ(supervisor.post(path + "/merger", {{"keep", c}}).code(), "NOT_OF_CANDIDATE");

  server.sql("update domain_ownership set state = 'LEGACY', system = 'shop' where domain = 'customer'");
  EXPECT_EQ(supervisor.post(path + "/merger", {{"keep", a}}).code(), "LEGACY_OWNED");
  server.sql("update domain_ownership set state = 'LOCAL', system = null where domain = 'customer'");

  server.sql("insert into solicitation_ban (id, customer_id, reason, source) values (new_id(), '" + b + "', 'no more', 'REQUEST')");
  const auto merged = supervisor.post(path + "/merger", {{"keep", a}});
  ASSERT_EQ(merged.status, 200) << merged.text;
  EXPECT_EQ(merged.string("/state"), "MERGED");
  EXPECT_EQ(merged.string("/kept_id"), a);
  EXPECT_EQ(supervisor.post(path + "/merger", {{"keep", a}}).code(), "CANDIDATE_DECIDED");
  EXPECT_EQ(supervisor.post(path + "/separation").code(), "CANDIDATE_DECIDED");
  EXPECT_EQ(server.value("select kana || notes || array_to_string(flags, ',') from customer where id = '" + a + "'"),
            "タナカ ハナコa\nbELDERLY,VIP");
  EXPECT_EQ(server.value("select string_agg(raw, ' ' order by position) from customer_phone where customer_id = '" + a +
                         "' and deleted_at is null"),
            "090-1234-5678 03-1234-5678");
  EXPECT_EQ(server.value("select customer_id from inquiry where id = '" + lead + "'"), a);
  EXPECT_EQ(server.value("select deleted_at is not null from customer where id = '" + b + "'"), "t");
  EXPECT_EQ(supervisor.get("/v1/legacy/store/customer/x").string("/id"), a);
  EXPECT_EQ(supervisor.get("/v1/legacy/shop/customer/1").string("/id"), a);
  EXPECT_EQ(supervisor.get("/v1/legacy-keys?record_id=" + a).at("/items").as_array().size(), 2U);

  // Who may be the hidden one may be the kept one; and is not.
  const auto next =
      server.value("select id from merge_candidate where state = 'OPEN' and '" + a + "' in (customer_a::text, customer_b::text)");
  const auto apart = supervisor.post("/v1/merge-candidates/" + next + "/separation");
  ASSERT_EQ(apart.status, 200) << apart.text;
  EXPECT_EQ(apart.string("/state"), "DIFFERENT");
  EXPECT_TRUE(supervisor.get("/v1/merge-candidates").at("/items").as_array().empty());

  // The ban is the person's, not a number's that both had.
  server.sql("update customer_phone set deleted_at = now() where customer_id = '" + a + "' and deleted_at is null");
  EXPECT_NE(server.value("select active_ban('" + a + "')"), "");
  EXPECT_EQ(server.value("select active_ban('" + b + "')"), "");

  // Erased is who they were, too.
  server.sql("select erase_person(new_id(), '" + a + "', 'a test', false, true)");
  EXPECT_EQ(server.value("select count(*) from customer where id in ('" + a + "', '" + b + "') and display_name like '%田中%'"), "0");
}

TEST_F(TakeoverApi, differences_are_shown_field_by_field_in_pages) {
  server.sql(kRunning);
  const auto runs = supervisor.get("/v1/takeover/domains/customer/diffs");
  ASSERT_EQ(runs.status, 200) << runs.text;
  EXPECT_EQ(runs.at("/items/0/differences").as_int64(), 3);
  const auto path = std::string("/v1/takeover/diffs/") + kDiff;
  EXPECT_EQ(supervisor.get(path).string("/state"), "DIFFERENT");
  const auto first = supervisor.get(path + "/differences?limit=2");
  ASSERT_EQ(first.status, 200) << first.text;
  EXPECT_THAT(strings(first, "pointer"), ElementsAre("/kana", "/notes"));
  EXPECT_EQ(first.string("/items/0/there"), "ァ");
  const auto rest = supervisor.get(path + "/differences?limit=2&cursor=" + first.string("/next_cursor"));
  EXPECT_THAT(strings(rest, "pointer"), ElementsAre(""));
  EXPECT_EQ(supervisor.get("/v1/takeover/diffs/" + std::string(kMove)).status, 404);
  EXPECT_EQ(supervisor.get(path + "/differences?cursor=nonsense").code(), "CURSOR_INVALID");
  EXPECT_EQ(supervisor.get("/v1/takeover/domains/customer/moves?cursor=" + first.string("/next_cursor")).code(), "CURSOR_INVALID");
}

TEST_F(TakeoverApi, moves_show_their_step_and_how_long_writes_were_held) {
  server.sql(kRunning);
  const auto list = supervisor.get("/v1/takeover/domains/customer/moves");
  ASSERT_EQ(list.status, 200) << list.text;
  EXPECT_THAT(strings(list, "step"), ElementsAre("DRAIN"));
  EXPECT_EQ(supervisor.get(std::string("/v1/takeover/moves/") + kMove).at("/held_ms").as_int64(), 250);
}

TEST_F(TakeoverApi, acts_are_the_runners_and_start_once_for_one_key) {
  server.sql(kRunning);
  const auto path = std::string("/v1/takeover/domains/customer/");
  EXPECT_EQ(admin.post(path + "switch").code(), "TAKEOVER_NOT_RUNNING");
  EXPECT_EQ(admin.get(path + "checks").code(), "TAKEOVER_NOT_RUNNING");
  controls.start_switch = [this](pg::Database&, std::string domain, std::string actor) {
    asked.push_back("switch " + domain + " by " + actor);
    return given(kMove);
  };
  controls.start_revert = [](pg::Database&, std::string, std::string) -> Task<Result<Uuid>> {
    co_return fail(Kind::conflict, "ILLEGAL_TRANSITION", "The domain is not Enishi's.");
  };
  controls.start_diff = [](pg::Database&, std::string, std::string) -> Task<Result<Uuid>> { co_return *Uuid::parse(kDiff); };
  controls.preflight = [](pg::Database&, std::string) -> Task<Result<std::string>> {
    co_return R"([{"check":"REVERSE","ok":true,"detail":"fine"}])";
  };

  EXPECT_EQ(supervisor.post(path + "switch").status, 403);
  EXPECT_EQ(admin.post("/v1/takeover/domains/nothing/switch").status, 404);
  const auto started = admin.post(path + "switch", boost::json::object(), {{"Idempotency-Key", "one"}});
  ASSERT_EQ(started.status, 202) << started.text;
  EXPECT_EQ(started.string("/id"), kMove);
  const auto again = admin.post(path + "switch", boost::json::object(), {{"Idempotency-Key", "one"}});
  EXPECT_EQ(again.status, 202);
  EXPECT_EQ(again.header("Idempotency-Replayed"), "true");
  EXPECT_THAT(asked, ElementsAre("switch customer by user:" + server.user("admin").str()));
  EXPECT_EQ(admin.post(path + "reversion").code(), "ILLEGAL_TRANSITION");
  EXPECT_EQ(admin.post(path + "diffs").string("/id"), kDiff);
  EXPECT_EQ(admin.post(std::string("/v1/takeover/moves/") + kMove + "/abortion").code(), "MOVE_SEALED") << "it ended long ago";
  EXPECT_EQ(admin.post("/v1/takeover/moves/" + std::string(kDiff) + "/abortion").status, 404);
  EXPECT_EQ(supervisor.get(path + "checks").string("/items/0/check"), "REVERSE");
}

TEST_F(TakeoverApi, a_move_is_stopped_by_taking_the_domain_back_until_it_is_decided) {
  server.sql(kRunning);
  server.sql(
      "update takeover_move set state = 'RUNNING', finished_at = null, released_at = null; update domain_ownership set state = "
      "'SWITCHING', epoch = 4 where domain = 'customer'");
  const auto path = std::string("/v1/takeover/moves/") + kMove + "/abortion";
  EXPECT_EQ(supervisor.post(path).status, 403);
  const auto stopped = admin.post(path, boost::json::object(), {{"Idempotency-Key", "stop"}});
  ASSERT_EQ(stopped.status, 202) << stopped.text;
  EXPECT_EQ(server.value("select state || epoch from domain_ownership where domain = 'customer'"), "LEGACY5");
  EXPECT_EQ(admin.post(path, boost::json::object(), {{"Idempotency-Key", "stop"}}).header("Idempotency-Replayed"), "true");
  EXPECT_EQ(server.value("select epoch from domain_ownership where domain = 'customer'"), "5");
  server.sql("update domain_ownership set state = 'OWNED' where domain = 'customer'");
  EXPECT_EQ(admin.post(path).code(), "MOVE_SEALED");
}

TEST_F(TakeoverApi, alarms_stand_at_their_domain_until_somebody_has_seen_them) {
  server.sql(kRunning);
  server.sql("select raise_alarm('customer', 'FOREIGN_CHANGE', '{\"table\": \"public.customers\"}')");
  const auto one = supervisor.get("/v1/takeover/domains/customer");
  ASSERT_EQ(one.string("/alarms/0/kind"), "FOREIGN_CHANGE") << one.text;
  const auto path = "/v1/takeover/alarms/" + one.string("/alarms/0/id") + "/acknowledgement";
  EXPECT_EQ(supervisor.post(path).status, 403);
  EXPECT_EQ(admin.post(path).status, 200);
  EXPECT_EQ(admin.post(path).status, 404);
  EXPECT_TRUE(supervisor.get("/v1/takeover/domains/customer").at("/alarms").as_array().empty());
}

TEST_F(TakeoverApi, old_keys_resolve_for_ever) {
  server.sql(kRunning);
  const auto one = op.get("/v1/legacy/shop/customer/1");
  ASSERT_EQ(one.status, 200) << one.text;
  EXPECT_EQ(one.string("/id"), kRecord);
  EXPECT_EQ(one.string("/deleted"), "false");
  EXPECT_EQ(op.get("/v1/legacy/shop/customer/%5B%2212%22%2C%20%22A%2FB%22%5D").string("/id"), kRecord);
  EXPECT_EQ(op.get("/v1/legacy/shop/customer/2").status, 404);
  EXPECT_EQ(op.get("/v1/legacy/other/customer/1").status, 404);
  EXPECT_THAT(strings(op.get(std::string("/v1/legacy-keys?record_id=") + kRecord), "legacy_key"), ElementsAre("1", R"(["12", "A/B"])"));
  EXPECT_EQ(server.as("appraiser").get("/v1/legacy/shop/customer/1").status, 403);
}

TEST(TakeoverMetrics, say_lag_rejects_and_hold_times_of_each_domain) {
  pg::testing::Stage stage(auth::testing::migrated());
  stage.fresh.sql(kRunning);
  stage.run(observe(stage.db, Deadline::in(Millis(10000))));
  const auto text = metrics::render();
  EXPECT_THAT(text, HasSubstr("enishi_takeover_lag_bytes{domain=\"customer\",system=\"shop\"} 168"));
  EXPECT_THAT(text, HasSubstr("enishi_takeover_rejects_open{domain=\"customer\",system=\"shop\"} 2"));
  EXPECT_THAT(text, HasSubstr("enishi_takeover_copied_rows{domain=\"customer\",system=\"shop\"} 250"));
  EXPECT_THAT(text, HasSubstr("enishi_takeover_last_hold_seconds{domain=\"customer\",system=\"shop\"} 0.25"));
  EXPECT_THAT(text, HasSubstr("enishi_takeover_owned{domain=\"customer\",system=\"shop\"} 0"));
}

}  // namespace
}  // namespace enishi::takeover

#include "crm/queue/queue.hpp"

#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "auth/testing.hpp"
#include "crm/queue/queue.sql.hpp"
#include "crm/queue/routes.hpp"

namespace enishi::crm::queue {
namespace {

namespace json = boost::json;
using auth::testing::Client;
using auth::testing::TestServer;

constexpr const char* media = "01900000-0000-7000-8000-0000000000a1";

struct Queue : ::testing::Test {
  TestServer server{{queue::mount}, TestServer::quick(), 2};
  std::string east = server.value("select id::text from team where name = 'East'");
  Queue() {
    server.open_all_hours();
    server.sql(std::string("insert into media_source (id, code, name) values ('") + media + "', 'web1', 'Web')");
  }
  /// A customer with a phone, and an inquiry: its id and theirs. `n` makes the phone.
  std::string task(int n) {
    const auto phone = "+8190" + std::to_string(10000000 + n);
    return server.value(
        "with c as (insert into customer (id, display_name) values (new_id(), 'c" + std::to_string(n) +
        "') returning id), p as (insert into customer_phone (id, customer_id, raw, e164) select new_id(), id, '" + phone + "', '" + phone +
        "' from c), i as (insert into inquiry (id, customer_id, media_source_id, channel, next_action, next_action_at, team_id) select "
        "new_id(), id, '" +
        media + "', 'FILE', 'CALL', now(), '" + east + "' from c returning id, customer_id) select id::text || ' ' || customer_id from i");
  }
  std::string make(int n, const std::string& state = "READY", int priority = 500, const std::string& due = "now()") {
    const auto ids = task(n);
    return server.value("insert into call_task (id, customer_id, inquiry_id, kind, state, priority, due_at, team_id) values (new_id(), '" +
                        ids.substr(37) + "', '" + ids.substr(0, 36) + "', 'FOLLOW_UP', '" + state + "', " + std::to_string(priority) +
                        ", " + due + ", '" + east + "') returning id::text");
  }
  std::string state_of(const std::string& id) { return server.value("select state from call_task where id = '" + id + "'"); }
  void ban(const std::string& id) {
    server.sql(
        "insert into solicitation_ban (id, customer_id, reason, source) select new_id(), customer_id, 'x', 'REQUEST' from call_task where "
        "id = '" +
        id + "'");
  }
  int run_job(const std::string& name) {
    std::vector<jobs::Job> wanted;
    for (auto& job : periodic())
      if (job.name == name) wanted.push_back(job);
    pg::Config config;
    config.conninfo = server.fresh().conninfo() + " user=enishi_app";
    Shard shard{7};
    Offload offload{1, 8};
    pg::Database db(shard, offload, config);
    jobs::Scheduler scheduler(db, wanted);
    server.sql("update job_run set next_run_at = now() where name = '" + name + "'");
    const int ran = run_task(shard.context(), scheduler.run_due());
    db.close();
    return ran;
  }
};

TEST_F(Queue, the_best_task_comes_first_and_claiming_again_gives_the_one_held) {
  make(1, "READY", 200);
  const auto best = make(2, "READY", 900);
  make(3, "READY", 500, "now() - interval '1 hour'");
  auto op = server.as("operator");
  auto got = op.post("/v1/call-tasks/claim");
  ASSERT_EQ(got.status, 200) << got.text;
  EXPECT_EQ(got.string("/id"), best);
  EXPECT_EQ(got.string("/state"), "ASSIGNED");
  EXPECT_EQ(got.string("/assigned_to"), op.user.str());
  EXPECT_EQ(op.post("/v1/call-tasks/claim").string("/id"), best);
  EXPECT_EQ(server.value("select count(*) from call_task where state = 'ASSIGNED'"), "1");
  EXPECT_NE(server.as("operator2").post("/v1/call-tasks/claim").string("/id"), best);
  // Not of their team.
  EXPECT_EQ(server.as("operator3").post("/v1/call-tasks/claim").status, 204);
}

TEST_F(Queue, one_gets_the_best_of_ones_own_and_nobodys_in_ones_teams_and_in_none) {
  auto op = server.as("operator");
  const auto of = [&](int n, int priority, const std::string& owner, const std::string& team) {
    const auto id = make(n, "READY", priority);
    server.sql("update call_task set owner_id = " + owner + ", team_id = " + team + " where id = '" + id + "'");
    return id;
  };
  const auto mine = "'" + op.user.str() + "'", colleague = "'" + server.user("operator2").str() + "'";
  const auto west = server.value("select quote_literal(id) from team where name = 'West'"), here = "'" + east + "'";
  std::vector<std::string> best;
  of(1, 990, colleague, here);
  of(2, 980, "null", west);
  of(3, 970, mine, west);
  best.push_back(of(4, 900, mine, "null"));
  best.push_back(of(5, 800, "null", here));
  best.push_back(of(6, 700, "null", "null"));
  best.push_back(of(7, 600, mine, here));
  for (const auto& id : best) {
    EXPECT_EQ(op.post("/v1/call-tasks/claim").string("/id"), id);
    server.sql("update call_task set state = 'CANCELLED', assigned_to = null, lease_expires_at = null where id = '" + id + "'");
  }
  EXPECT_EQ(op.post("/v1/call-tasks/claim").status, 204);
  // A supervisor's teams are all below theirs; an administrator's are all, but what is reserved for somebody stays theirs.
  EXPECT_EQ(server.as("supervisor").post("/v1/call-tasks/claim").status, 200);
  of(8, 100, "null", west);
  EXPECT_EQ(server.as("admin").post("/v1/call-tasks/claim").string("/priority"), "100");
}

TEST_F(Queue, a_claim_does_not_walk_over_the_tasks_of_others) {
  const auto ours = make(1);
  // 20,000 of another team and as many of a colleague, all before ours.
  server.sql(
      "alter table call_task disable trigger user; insert into call_task (id, customer_id, kind, state, priority, due_at, team_id, "
      "owner_id) "
      "select new_id(), c.id, 'FOLLOW_UP', 'READY', 900, now(), case when n % 2 = 0 then w.id else '" +
      east + "' end, case when n % 2 = 1 then '" + server.user("operator2").str() +
      "'::uuid end from customer c, team w, generate_series(1, 40000) n where w.name = 'West'; alter table call_task enable trigger user; "
      "analyze call_task");
  const auto buffers = [&](const pg::Statement& statement) {
    const auto plan = json::parse(server.value(
        "set plan_cache_mode = force_generic_plan; prepare looked_at (text, uuid, uuid[]) as " + std::string(statement.sql) +
        "; explain (analyze, buffers, format json) execute looked_at ('own', '" + server.user("operator").str() + "', '{" + east + "}')"));
    const auto& top = plan.at(0).at("Plan");
    return top.at("Shared Hit Blocks").to_number<int>() + top.at("Shared Read Blocks").to_number<int>();
  };
  EXPECT_LT(buffers(sql::queue::more_ready), 100);
  // With what its triggers read and write.
  EXPECT_LT(buffers(sql::queue::claim_next), 3000);
  EXPECT_EQ(state_of(ours), "ASSIGNED");
}

TEST_F(Queue, no_task_is_handed_out_twice) {
  std::vector<std::string> made;
  for (int i = 0; i < 40; ++i) made.push_back(make(i));
  // Eight operators of one team, each with a token of their own.
  std::vector<Client> ops;
  for (int i = 0; i < 8; ++i) {
    auto op = server.with_token("operator", {"claim_call_task"});
    const auto login = "racer" + std::to_string(i);
    server.sql("insert into app_user (id, login, display_name, team_id) values (new_id(), '" + login + "', 'r', '" + east + "')");
    server.sql("insert into user_role (user_id, role) select id, 'operator' from app_user where login = '" + login + "'");
    server.sql("update api_token set user_id = (select id from app_user where login = '" + login +
               "') where id = (select id from api_token order by created_at desc limit 1)");
    ops.push_back(op);
  }
  std::vector<std::vector<std::string>> got(ops.size());
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < ops.size(); ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 5; ++i) {
        auto reply = ops[t].post("/v1/call-tasks/claim");
        if (reply.status != 200) return;
        got[t].push_back(reply.string("/id"));
        // Out of the hands again, so that the next claim gives another one.
        server.sql("update call_task set state = 'CANCELLED', assigned_to = null, lease_expires_at = null where id = '" +
                   reply.string("/id") + "'");
      }
    });
  for (auto& t : threads) t.join();
  std::set<std::string> all;
  std::size_t count = 0;
  for (const auto& ids : got)
    for (const auto& id : ids) {
      ++count;
      EXPECT_TRUE(all.insert(id).second) << id << " was handed out twice";
    }
  EXPECT_EQ(count, 40u);
}

TEST_F(Queue, one_operator_with_two_tabs_holds_one_task) {
  for (int i = 0; i < 10; ++i) make(i);
  auto op = server.as("operator");
  for (int round = 0; round < 5; ++round) {
    std::vector<std::string> ids(4);
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < ids.size(); ++t)
      threads.emplace_back([&, t] {
        auto mine = op;
        auto reply = mine.post("/v1/call-tasks/claim");
        ids[t] = reply.status == 200 ? reply.string("/id") : reply.text;
      });
    for (auto& t : threads) t.join();
    EXPECT_EQ(std::set<std::string>(ids.begin(), ids.end()).size(), 1u);
    ASSERT_EQ(op.post("/v1/call-tasks/" + ids[0] + "/release").status, 200);
  }
}

TEST_F(Queue, a_banned_task_is_blocked_and_does_not_stop_the_queue) {
  const auto first = make(1, "READY", 900);
  const auto second = make(2, "READY", 500);
  // A number that was banned elsewhere is added to the customer afterwards: the ban's own update could not know.
  const auto other = make(3, "DONE", 1);
  ban(other);
  server.sql("insert into customer_phone (id, customer_id, raw, e164) select new_id(), (select customer_id from call_task where id = '" +
             first + "'), e164, e164 from customer_phone where customer_id = (select customer_id from call_task where id = '" + other +
             "')");
  EXPECT_EQ(state_of(first), "READY");
  auto got = server.as("operator").post("/v1/call-tasks/claim");
  ASSERT_EQ(got.status, 200) << got.text;
  EXPECT_EQ(got.string("/id"), second);
  EXPECT_EQ(state_of(first), "BLOCKED");
  EXPECT_EQ(server.as("operator2").post("/v1/call-tasks/claim", {{"call_task_id", first}}).code(), "RESOLICITATION_BANNED");
}

TEST_F(Queue, nothing_is_handed_out_outside_contact_hours) {
  make(1);
  server.sql(
      "insert into rule (name, effective_from, value) select 'contact_hours', now(), case when (now() at time zone 'Asia/Tokyo')::time < "
      "'12:00' then '{\"from\":\"13:00\",\"to\":\"14:00\"}' else '{\"from\":\"01:00\",\"to\":\"02:00\"}' end::jsonb");
  auto refused = server.as("operator").post("/v1/call-tasks/claim");
  ASSERT_EQ(refused.status, 409) << refused.text;
  EXPECT_EQ(refused.code(), "OUTSIDE_CONTACT_HOURS");
}

TEST_F(Queue, a_lease_that_expires_gives_the_task_back_and_the_heartbeat_keeps_it) {
  const auto id = make(1);
  auto op = server.as("operator");
  ASSERT_EQ(op.post("/v1/call-tasks/claim").status, 200);
  server.sql("update call_task set lease_expires_at = now() - interval '1 second'");
  ASSERT_EQ(op.post("/v1/call-tasks/" + id + "/lease").status, 200);
  EXPECT_EQ(run_job("return_expired_leases"), 1);
  EXPECT_EQ(state_of(id), "ASSIGNED");
  server.sql("update call_task set lease_expires_at = now() - interval '1 second'");
  EXPECT_EQ(run_job("return_expired_leases"), 1);
  EXPECT_EQ(state_of(id), "READY");
  auto lost = op.post("/v1/call-tasks/" + id + "/lease");
  EXPECT_EQ(lost.status, 409);
  EXPECT_EQ(lost.code(), "LEASE_LOST");
  EXPECT_EQ(server.as("operator2").post("/v1/call-tasks/claim").string("/id"), id);
}

TEST_F(Queue, tasks_that_fall_due_become_ready_and_banned_ones_blocked) {
  const auto due = make(1, "SCHEDULED", 500, "now() - interval '1 second'");
  const auto later = make(2, "SCHEDULED", 500, "now() + interval '1 hour'");
  EXPECT_EQ(run_job("promote_due_tasks"), 1);
  EXPECT_EQ(state_of(due), "READY");
  EXPECT_EQ(state_of(later), "SCHEDULED");
}

TEST_F(Queue, snooze_release_reassign_and_cancel_say_what_is_wrong) {
  const auto id = make(1);
  const auto path = "/v1/call-tasks/" + id;
  auto op = server.as("operator");
  auto op2 = server.as("operator2");
  ASSERT_EQ(op.post("/v1/call-tasks/claim").status, 200);
  auto held = op2.post(path + "/release");
  EXPECT_EQ(held.status, 409);
  EXPECT_EQ(held.code(), "TASK_HELD");
  EXPECT_EQ(op2.post(path + "/snooze", {{"due_at", "2030-01-01T10:00:00+09:00"}}).code(), "TASK_HELD");
  EXPECT_EQ(server.as("operator3").post(path + "/release").status, 404);
  auto snoozed = op.post(path + "/snooze", {{"due_at", "2030-01-01T10:00:00+09:00"}});
  ASSERT_EQ(snoozed.status, 200) << snoozed.text;
  EXPECT_EQ(snoozed.string("/state"), "SCHEDULED");
  EXPECT_EQ(server.value("select next_action_at = '2030-01-01T10:00:00+09:00' from inquiry"), "t");
  auto illegal = op.post(path + "/release");
  EXPECT_EQ(illegal.code(), "ILLEGAL_TRANSITION");
  EXPECT_EQ(illegal.string("/current_state"), "SCHEDULED");
  EXPECT_FALSE(illegal.at("/allowed_transitions").as_array().empty());
  EXPECT_EQ(op.post(path + "/reassignment", {{"owner_id", op2.user.str()}}).status, 403);
  ASSERT_EQ(server.as("supervisor").post(path + "/reassignment", {{"owner_id", op2.user.str()}}).string("/owner_id"), op2.user.str());
  EXPECT_EQ(op.post("/v1/call-tasks/claim", {{"call_task_id", id}}).status, 404);  // somebody else's now
  EXPECT_EQ(op2.post("/v1/call-tasks/claim", {{"call_task_id", id}}).status, 200);
  EXPECT_EQ(op2.post(path + "/cancellation", json::object()).string("/errors/0/pointer"), "/reason");
  EXPECT_EQ(op2.post(path + "/cancellation", {{"reason", "二重"}}).string("/state"), "CANCELLED");
  EXPECT_EQ(op2.post(path + "/cancellation", {{"reason", "二重"}}).code(), "ILLEGAL_TRANSITION");
}

TEST_F(Queue, a_second_task_by_id_is_refused_while_one_is_held) {
  const auto one = make(1);
  const auto two = make(2, "SCHEDULED", 500, "now() + interval '1 hour'");
  auto op = server.as("operator");
  ASSERT_EQ(op.post("/v1/call-tasks/claim", {{"call_task_id", one}}).status, 200);
  EXPECT_EQ(op.post("/v1/call-tasks/claim", {{"call_task_id", one}}).string("/id"), one);
  auto refused = op.post("/v1/call-tasks/claim", {{"call_task_id", two}});
  EXPECT_EQ(refused.code(), "ACTIVE_TASK_HELD") << refused.text;
  EXPECT_EQ(refused.string("/call_task_id"), one);
}

TEST_F(Queue, how_many_tasks_one_may_hold_is_a_rule) {
  for (int i = 0; i < 3; ++i) make(i);
  server.sql("insert into rule (name, effective_from, value) values ('tasks_per_operator', now(), '2')");
  auto op = server.as("operator");
  const auto one = op.post("/v1/call-tasks/claim").string("/id");
  const auto two = op.post("/v1/call-tasks/claim").string("/id");
  EXPECT_NE(one, two);
  const auto third = op.post("/v1/call-tasks/claim").string("/id");
  EXPECT_TRUE(third == one || third == two);
  EXPECT_EQ(server.value("select count(*) from call_task where state = 'ASSIGNED'"), "2");
}

TEST_F(Queue, compliance_unblocks_only_when_the_ban_is_lifted) {
  const auto id = make(1);
  ban(id);
  EXPECT_EQ(state_of(id), "BLOCKED");
  auto co = server.as("compliance");
  EXPECT_EQ(server.as("supervisor").post("/v1/call-tasks/" + id + "/unblocking", {{"reason", "x"}}).status, 403);
  EXPECT_EQ(co.post("/v1/call-tasks/" + id + "/unblocking", {{"reason", "x"}}).code(), "RESOLICITATION_BANNED");
  EXPECT_EQ(state_of(id), "BLOCKED");
  server.sql("update solicitation_ban set lifted_at = now(), lift_reason = 'mistake'");
  auto done = co.post("/v1/call-tasks/" + id + "/unblocking", {{"reason", "mistake"}});
  ASSERT_EQ(done.status, 200) << done.text;
  EXPECT_EQ(done.string("/state"), "READY");
  EXPECT_EQ(co.post("/v1/call-tasks/" + id + "/unblocking", {{"reason", "mistake"}}).code(), "ILLEGAL_TRANSITION");
}

TEST_F(Queue, an_inquiry_has_one_open_call) {
  const auto ids = task(1);
  auto op = server.as("operator");
  const json::value body = {{"inquiry_id", ids.substr(0, 36)}, {"kind", "CALLBACK"}, {"due_at", "2030-01-01T10:00:00+09:00"}};
  auto made = op.post("/v1/call-tasks", body);
  ASSERT_EQ(made.status, 201) << made.text;
  EXPECT_EQ(made.string("/state"), "SCHEDULED");
  EXPECT_EQ(op.post("/v1/call-tasks", body).code(), "CALL_TASK_OPEN");
  EXPECT_EQ(server.as("operator3").post("/v1/call-tasks", body).string("/errors/0/pointer"), "/inquiry_id");
  server.sql("update inquiry set stage = 'LOST', lost_reason = 'x'");
  EXPECT_EQ(state_of(made.string("/id")), "CANCELLED");
  EXPECT_EQ(op.post("/v1/call-tasks", body).code(), "INQUIRY_ENDED");
}

TEST_F(Queue, every_view_shows_its_tasks_page_by_page) {
  for (int i = 0; i < 5; ++i) make(i, "READY", 100 * (i % 2));
  for (int i = 5; i < 8; ++i) make(i, "SCHEDULED", 1, "now() + interval '1 hour'");
  auto op = server.as("operator");
  auto walk = [&](Client& who, const std::string& view) {
    std::set<std::string> ids;
    std::string cursor;
    for (int page = 0; page < 9; ++page) {
      auto reply = who.get("/v1/call-tasks?limit=2&view=" + view + (cursor.empty() ? "" : "&cursor=" + cursor));
      EXPECT_EQ(reply.status, 200) << reply.text;
      for (const auto& item : reply.at("/items").as_array()) EXPECT_TRUE(ids.insert(std::string(item.at("id").as_string())).second);
      if (reply.at("/next_cursor").is_null()) break;
      cursor = reply.string("/next_cursor");
    }
    return ids.size();
  };
  auto foreign = server.as("operator3");
  EXPECT_EQ(walk(op, "ready"), 5u);
  EXPECT_EQ(walk(op, "scheduled"), 3u);
  EXPECT_EQ(walk(op, "mine"), 0u);
  EXPECT_EQ(walk(op, "blocked"), 0u);
  EXPECT_EQ(walk(op, "held"), 0u);
  EXPECT_EQ(walk(foreign, "ready"), 0u);
  ASSERT_EQ(op.post("/v1/call-tasks/claim").status, 200);
  EXPECT_EQ(walk(op, "mine"), 1u);
  EXPECT_EQ(walk(op, "ready"), 4u);
  auto sv = server.as("supervisor");
  EXPECT_EQ(walk(sv, "held"), 1u);
  EXPECT_EQ(walk(foreign, "held"), 0u);
}

TEST_F(Queue, priority_rules_are_added_and_the_media_sources_own_wins) {
  auto sv = server.as("supervisor");
  ASSERT_EQ(sv.post("/v1/priority-rules", {{"kind", "FOLLOW_UP"}, {"priority", 650}, {"media_source_id", media}}).status, 201);
  EXPECT_EQ(server.value(std::string("select task_priority('FOLLOW_UP', '") + media + "')"), "650");
  EXPECT_EQ(server.value("select task_priority('FOLLOW_UP', null)"), "500");
  EXPECT_EQ(sv.get("/v1/priority-rules").at("/items").as_array().size(), 6u);
  EXPECT_EQ(server.as("operator").post("/v1/priority-rules", {{"kind", "FOLLOW_UP"}, {"priority", 1}}).status, 403);
  EXPECT_EQ(sv.post("/v1/priority-rules", {{"kind", "NOPE"}, {"priority", 5000}}).at("/errors").as_array().size(), 2u);
}

}  // namespace
}  // namespace enishi::crm::queue

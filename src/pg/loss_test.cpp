// Connections that break: terminated backends, restarts, a server that is away.
#include <gtest/gtest.h>

#include <thread>

#include "pg/testing.hpp"

namespace enishi::pg {
namespace {

using testing::Server;
using testing::Stage;

const Statement twice{"test.loss_twice", Rowcount::one, true, "select 2 * $1::int"};
const Statement nap{"test.loss_nap", Rowcount::one, true, "select pg_sleep($1::float8), 1"};
const Statement call{"test.loss_call", Rowcount::one, false, "select mortal()"};
const Statement insert{"test.loss_insert", Rowcount::exec, false, "insert into item (id) values ($1::int)"};

constexpr const char* kTerminate =
    "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'enishi' and datname = current_database()";

/// Kills its own backend the first `times` times.
std::string mortal(int times) {
  return "create sequence lives; create table item (id int primary key); create function mortal() returns int language plpgsql as $$ begin "
         "if nextval('lives') <= " +
         std::to_string(times) + " then perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(5); end if; return 1; end $$";
}

struct Tally {
  int answered = 0, failed = 0;
  bool stop = false;
};

Task<> reads_until_stopped(Database& db, int seed, Tally& tally) {
  for (int i = seed; !tally.stop; ++i) {
    try {
      const auto rows = co_await db.read(twice, params(i), Deadline::in(Millis(30000)));
      if (rows && rows->integer(0, 0) == 2 * i)
        ++tally.answered;
      else
        ++tally.failed;
    } catch (const std::exception& e) {
      ADD_FAILURE() << e.what();
      ++tally.failed;
    }
  }
}

Task<> answers_after(Tally& tally, std::atomic<bool>& happened, int more) {
  while (!happened) co_await sleep(Millis(2));
  const int before = tally.answered;
  const auto limit = Deadline::in(Millis(30000));
  while (tally.answered < before + more && !limit.passed()) co_await sleep(Millis(2));
  tally.stop = true;
}

/// Reads go on in 32 tasks while `what` happens in a thread of its own, and for a while after.
Tally reads_during(Stage& stage, const std::function<void()>& what) {
  Tally tally;
  std::atomic<bool> happened{false};
  std::vector<Task<>> tasks;
  for (int i = 0; i < 32; ++i) tasks.push_back(reads_until_stopped(stage.db, i * 1000, tally));
  tasks.push_back(answers_after(tally, happened, 500));
  std::thread other([&] {
    what();
    happened = true;
  });
  stage.run_all(std::move(tasks));
  other.join();
  return tally;
}

TEST(Loss, of_backends_is_not_seen_by_reads) {
  Stage stage;
  const auto tally = reads_during(stage, [&] { stage.fresh.sql(kTerminate); });
  EXPECT_EQ(tally.failed, 0);
  EXPECT_GE(tally.answered, 500);
}

TEST(Loss, of_the_server_for_a_restart_only_delays_reads) {
  Stage stage;
  const auto tally = reads_during(stage, [] { Server::get().restart(); });
  EXPECT_EQ(tally.failed, 0);
  EXPECT_GE(tally.answered, 500);
}

TEST(Loss, of_the_server_by_a_crash_only_delays_reads) {
  Stage stage;
  const auto tally = reads_during(stage, [] {
    Server::get().kill();
    Server::get().start();
  });
  EXPECT_EQ(tally.failed, 0);
  EXPECT_GE(tally.answered, 500);
}

const Statement deadly{"test.loss_deadly", Rowcount::one, true,
                       "select case when nextval('lives') > 0 then pg_terminate_backend(pg_backend_pid()) end, pg_sleep(5)"};

TEST(Loss, that_a_read_causes_itself_does_not_go_on_for_ever) {
  Stage stage({.pipelines = 2});
  stage.fresh.sql("create sequence lives");
  EXPECT_THROW(stage.run(stage.db.read(deadly, {}, Deadline::in(Millis(20000)))), Unavailable);
  EXPECT_EQ(stage.fresh.value("select last_value from lives"), "3");
  EXPECT_TRUE(stage.run(stage.db.read(twice, params(1))));
}

TEST(Loss, of_the_server_fails_callers_at_their_deadline) {
  Stage stage;
  EXPECT_TRUE(stage.run(stage.db.read(twice, params(1))));
  Server::get().stop();
  const auto began = steady_now();
  EXPECT_THROW(stage.run(stage.db.read(twice, params(1), Deadline::in(Millis(200)))), Unavailable);
  EXPECT_THROW(stage.run(stage.db.run(twice, params(1), Deadline::in(Millis(200)))), Unavailable);
  EXPECT_LT(steady_now() - began, Millis(1500));
  Server::get().start();
  EXPECT_TRUE(stage.run(stage.db.read(twice, params(1))));
  EXPECT_TRUE(stage.run(stage.db.run(twice, params(1))));
}

Task<> naps(Database& db, int& timed_out) {
  try {
    co_await db.read(nap, params(0.4), Deadline::in(Millis(60)));
  } catch (const TimedOut&) {
    ++timed_out;
  }
}

Task<> still_answered(Database& db, bool& answered) {
  const auto rows = co_await db.read(twice, params(21), Deadline::in(Millis(5000)));
  answered = rows && rows->integer(0, 0) == 42;
}

TEST(Reads, that_miss_their_deadline_leave_their_neighbours_alone) {
  Stage stage({.pipelines = 1});
  int timed_out = 0;
  bool answered = false;
  std::vector<Task<>> tasks;
  tasks.push_back(naps(stage.db, timed_out));
  tasks.push_back(still_answered(stage.db, answered));
  stage.run_all(std::move(tasks));
  EXPECT_EQ(timed_out, 1);
  EXPECT_TRUE(answered);
}

TEST(Reads, wait_when_a_pipeline_is_full) {
  Stage stage({.pipelines = 1, .most_in_pipeline = 3});
  std::vector<Task<>> tasks;
  bool answered[100] = {};
  for (bool& one : answered) tasks.push_back(still_answered(stage.db, one));
  stage.run_all(std::move(tasks));
  EXPECT_EQ(std::count(std::begin(answered), std::end(answered), true), 100);
}

Task<> refused_at_once(Database& db, int& refused) {
  try {
    co_await db.read(nap, params(0.2), Deadline::in(Millis(3000)));
  } catch (const Unavailable&) {
    ++refused;
  }
}

TEST(Reads, are_refused_when_too_many_wait) {
  Stage stage({.pipelines = 1, .most_waiting = 2, .most_in_pipeline = 1});
  EXPECT_TRUE(stage.run(stage.db.read(twice, params(1))));
  int refused = 0;
  std::vector<Task<>> tasks;
  for (int i = 0; i < 5; ++i) tasks.push_back(refused_at_once(stage.db, refused));
  stage.run_all(std::move(tasks));
  EXPECT_EQ(refused, 3);  // none has been sent when the last of them comes
}

TEST(Writes, on_a_connection_that_died_idle_are_sent_on_another) {
  Stage stage;
  stage.fresh.sql(mortal(0));
  for (int i = 0; i < 3; ++i) {
    std::vector<Step> steps{{insert, params(i)}};
    EXPECT_TRUE(stage.run(stage.db.write(steps)));
    stage.fresh.sql(kTerminate);
  }
  EXPECT_EQ(stage.fresh.value("select count(*) from item"), "3");
}

TEST(Writes, whose_connection_is_lost_on_the_way_are_of_unknown_outcome) {
  Stage stage;
  stage.fresh.sql(mortal(1));
  std::vector<Step> steps{{insert, params(1)}, {call, {}}};
  EXPECT_THROW(stage.run(stage.db.write(steps)), OutcomeUnknown);
}

TEST(Writes, that_are_repeatable_are_sent_again_after_a_loss) {
  Stage stage;
  stage.fresh.sql(mortal(2));
  std::vector<Step> steps{{insert, params(1)}, {call, {}}};
  const WriteOptions options{.repeatable = true};
  EXPECT_TRUE(stage.run(stage.db.write(steps, options)));
  EXPECT_EQ(stage.fresh.value("select count(*) from item"), "1");
}

Task<Result<int>> dies_in_the_middle(Lease& lease) {
  const auto limit = Deadline::in(Millis(8000));
  const auto inserted = co_await lease.run(insert, params(1), limit);
  if (!inserted) co_return tl::make_unexpected(inserted.error());
  const auto called = co_await lease.run(call, {}, limit);
  if (!called) co_return tl::make_unexpected(called.error());
  co_return 1;
}

TEST(Transactions, that_lose_their_connection_before_commit_run_again) {
  Stage stage;
  stage.fresh.sql(mortal(2));
  EXPECT_EQ(stage.run(stage.db.transaction<int>([](Lease& lease) { return dies_in_the_middle(lease); })), 1);
  EXPECT_EQ(stage.fresh.value("select count(*) from item"), "1");
}

Task<> writes_unreplicated(Database& db, int& unknown) {
  std::vector<Step> steps{{insert, params(1)}};
  const WriteOptions options{.repeatable = true};
  try {
    co_await db.write(steps, options);
  } catch (const OutcomeUnknown&) {
    ++unknown;
  }
}

Task<> cancels_the_wait(testing::Fresh& fresh) {
  // Each query commits nothing, so none of them waits for the standby itself.
  const auto waiting = "select pg_cancel_backend(pid) from pg_stat_activity where datname = current_database() and wait_event = 'SyncRep'";
  while (!fresh.value(waiting)) co_await sleep(Millis(5));
}

TEST(Writes, that_did_not_wait_for_their_standby_are_of_unknown_outcome) {
  Stage stage;
  stage.fresh.sql(mortal(0));
  stage.fresh.sql("alter system set synchronous_standby_names = 'nobody'");
  stage.fresh.sql("select pg_reload_conf()");
  while (stage.fresh.value("show synchronous_standby_names") != "nobody") std::this_thread::sleep_for(Millis(5));
  int unknown = 0;
  std::vector<Task<>> tasks;
  tasks.push_back(writes_unreplicated(stage.db, unknown));
  tasks.push_back(cancels_the_wait(stage.fresh));
  stage.run_all(std::move(tasks));
  testing::sql(stage.fresh.conninfo(), "alter system reset synchronous_standby_names");
  testing::sql(stage.fresh.conninfo(), "select pg_reload_conf()");
  while (stage.fresh.value("show synchronous_standby_names") != "") std::this_thread::sleep_for(Millis(5));
  EXPECT_EQ(unknown, 1);
}

Task<> abandoned(Database& db, bool& woken) {
  try {
    co_await db.read(nap, params(3.0), Deadline::in(Millis(8000)));
  } catch (const Unavailable&) {
    woken = true;
  }
}

TEST(Databases, that_are_destroyed_wake_whoever_waits) {
  testing::Fresh fresh;
  Shard shard(0);
  Offload offload(1, 8);
  bool woken = false, done = false;
  auto db = std::make_unique<Database>(shard, offload, Config{.conninfo = fresh.conninfo()});
  asio::co_spawn(shard.executor(), abandoned(*db, woken), [&](std::exception_ptr) { done = true; });
  const auto asleep = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
  while (fresh.value(asleep) == "0") shard.context().run_for(Millis(5));
  db.reset();
  while (!done && shard.context().run_one() > 0) {
  }
  EXPECT_TRUE(woken);
}

}  // namespace
}  // namespace enishi::pg

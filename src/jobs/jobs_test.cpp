#include "jobs/jobs.hpp"

#include <gtest/gtest.h>

#include "pg/testing.hpp"

namespace enishi::jobs {
namespace {

const pg::Statement& tick{*new pg::Statement("jobs_test.tick", pg::Rowcount::many, false, "insert into ticked select 1 returning 1")};
const pg::Statement& broken{*new pg::Statement("jobs_test.broken", pg::Rowcount::many, false, "select 1 / 0")};
const pg::Statement& batch{*new pg::Statement("jobs_test.batch", pg::Rowcount::many, false,
                                              "delete from work where ctid = any (array(select ctid from work limit 10)) returning 1")};

/// The table alone: jobs know nothing of the rest of the schema.
void schema(const pg::testing::Fresh& fresh) {
  fresh.sql(
      "create table job_run (name text primary key, next_run_at timestamptz not null default now(), last_run_at timestamptz, "
      "last_success_at timestamptz, "
      "duration_ms double precision, affected bigint, runs bigint not null default 0, failures bigint not null default 0, error text);"
      "create table ticked (n integer); create table work as select generate_series(1, 25) n");
}

TEST(jobs, a_job_runs_when_it_is_due_and_not_before) {
  pg::testing::Stage stage;
  schema(stage.fresh);
  Scheduler scheduler(stage.db, {{"tick", Millis(3600000), tick}});
  EXPECT_EQ(stage.run(scheduler.run_due()), 1);
  EXPECT_EQ(stage.run(scheduler.run_due()), 0);
  EXPECT_EQ(stage.fresh.value("select count(*) from ticked").value(), "1");
  EXPECT_EQ(stage.fresh.value("select affected || ' ' || runs || ' ' || (error is null) from job_run").value(), "1 1 true");
}

TEST(jobs, a_job_that_fails_is_noted_and_the_others_run) {
  pg::testing::Stage stage;
  schema(stage.fresh);
  Scheduler scheduler(stage.db, {{"broken", Millis(1000), broken}, {"tick", Millis(1000), tick}});
  EXPECT_EQ(stage.run(scheduler.run_due()), 2);
  EXPECT_EQ(stage.fresh.value("select failures || ' ' || (error like '%zero%') from job_run where name = 'broken'").value(), "1 true");
  EXPECT_EQ(stage.fresh.value("select count(*) from ticked").value(), "1");
}

TEST(jobs, a_full_batch_comes_up_again_at_once) {
  pg::testing::Stage stage;
  schema(stage.fresh);
  Scheduler scheduler(stage.db, {{"batch", Millis(3600000), batch, 10}});
  int rounds = 0;
  while (stage.run(scheduler.run_due()) > 0) ++rounds;
  EXPECT_EQ(rounds, 3);
  EXPECT_EQ(stage.fresh.value("select count(*) from work").value(), "0");
}

TEST(jobs, what_another_instance_runs_is_passed_by) {
  pg::testing::Stage stage;
  schema(stage.fresh);
  Scheduler scheduler(stage.db, {{"tick", Millis(3600000), tick}});
  stage.fresh.sql("insert into job_run (name) values ('tick')");
  auto held = [](pg::Database& db, Scheduler& other) -> Task<int> {
    auto lease = co_await db.lease();
    const auto deadline = Deadline::in(Millis(5000));
    co_await lease.begin(deadline);
    (void)co_await lease.script("select from job_run where name = 'tick' for update", deadline);
    const int ran = co_await other.run_due();
    co_await lease.rollback(deadline);
    co_return ran;
  };
  EXPECT_EQ(stage.run(held(stage.db, scheduler)), 0);
  EXPECT_EQ(stage.run(scheduler.run_due()), 1);
}

TEST(jobs, stop_ends_the_loop) {
  pg::testing::Stage stage;
  schema(stage.fresh);
  Scheduler scheduler(stage.db, {{"tick", Millis(1), tick}}, Millis(1));
  auto stopper = [](Scheduler& running, pg::testing::Fresh& fresh) -> Task<> {
    for (int i = 0; i < 5000 && fresh.value("select count(*) > 2 from ticked").value() != "t"; ++i) co_await sleep(Millis(1));
    running.stop();
  };
  std::vector<Task<>> both;
  both.push_back(scheduler.run());
  both.push_back(stopper(scheduler, stage.fresh));
  stage.run_all(std::move(both));
  EXPECT_EQ(stage.fresh.value("select count(*) > 2 from ticked").value(), "t");
}

}  // namespace
}  // namespace enishi::jobs

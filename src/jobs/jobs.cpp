#include "jobs/jobs.hpp"

#include "base/log.hpp"
#include "base/metrics.hpp"
#include "jobs/jobs.sql.hpp"
#include "pg/errors.hpp"

namespace enishi::jobs {
namespace {

double seconds(Millis span) { return std::chrono::duration<double>(span).count(); }

metrics::Counter& counted(const Job& job, const char* result) {
  return metrics::counter("enishi_job_runs_total", "Runs of periodic jobs", {{"job", job.name}, {"result", result}});
}

/// What an exception says, for job_run and the log.
std::string said(const std::exception& e) { return std::string(e.what()).substr(0, 500); }

}  // namespace

std::vector<Job> housekeeping() {
  return {{"prune_idempotency", Millis(600000), sql::jobs::prune_idempotency, 5000},
          {"release_expired_holds", Millis(10000), sql::jobs::release_expired_holds, 500},
          {"ensure_history_partitions", Millis(86400000), sql::jobs::ensure_history_partitions, 0}};
}

Scheduler::Scheduler(pg::Database& db, std::vector<Job> jobs, Millis tick) : db_(db), jobs_(std::move(jobs)), tick_(tick) {}

void Scheduler::stop() {
  stopping_ = true;
  stopped_.notify_all();
}

Task<> Scheduler::run() {
  while (!stopping_) {
    std::string trouble;
    try {
      co_await run_due();
    } catch (const std::exception& e) {
      trouble = said(e);
    }
    if (!trouble.empty()) log_warning("jobs wait for the database", {{"error", trouble}});
    if (!stopping_) (void)co_await stopped_.wait(Deadline::in(trouble.empty() ? tick_ : Millis(5000)));
  }
}

Task<int> Scheduler::run_due() {
  if (!registered_) {
    for (const auto& job : jobs_) {
      auto done = co_await db_.run(sql::jobs::register_job, pg::params(job.name));
      if (!done) throw std::runtime_error(done.error().detail);
    }
    registered_ = true;
  }
  int ran = 0;
  for (const auto& job : jobs_) {
    if (stopping_) break;
    if (co_await run_one(job)) ++ran;
  }
  co_return ran;
}

Task<bool> Scheduler::run_one(const Job& job) {
  const auto deadline = Deadline::in(Millis(60000));
  const auto began = steady_now();
  std::string trouble;
  {
    auto held = co_await db_.lease(Deadline::in(Millis(10000)));
    co_await held.begin(deadline);
    auto mine = co_await held.run(sql::jobs::take_job, pg::params(job.name), deadline);
    if (!mine) throw std::runtime_error(mine.error().detail);
    if (mine->empty()) {
      co_await held.rollback(deadline);
      co_return false;
    }
    try {
      auto context = co_await held.run(sql::jobs::job_context, pg::params(job.name), deadline);
      auto rows = context ? co_await held.run(job.statement, {}, deadline) : std::move(context);
      if (rows) {
        const auto touched = rows->size();
        const bool more = job.batch > 0 && touched >= job.batch;
        const auto took = std::chrono::duration<double>(steady_now() - began).count();
        auto noted =
            co_await held.run(sql::jobs::job_done, pg::params(job.name, more ? 0.0 : seconds(job.every), took * 1000, touched), deadline);
        if (!noted) throw std::runtime_error(noted.error().detail);
        co_await held.commit(deadline);
        counted(job, "ok").add();
        metrics::histogram("enishi_job_seconds", "Duration of periodic jobs", {{"job", job.name}}).observe(took);
        if (touched > 0) log_debug("job done", {{"job", job.name}, {"touched", touched}, {"seconds", took}});
        co_return true;
      }
      trouble = rows.error().code + ": " + rows.error().detail;
    } catch (const pg::Broken& e) {
      trouble = said(e);
    } catch (const pg::TimedOut& e) {
      trouble = said(e);
    }
  }  // the lease is dropped inside its transaction: rolled back
  counted(job, "failed").add();
  log_error("job failed", {{"job", job.name}, {"error", trouble}});
  auto noted = co_await db_.run(sql::jobs::job_failed, pg::params(job.name, std::max(seconds(job.every), 5.0), trouble));
  if (!noted) log_warning("job_run could not be written", {{"job", job.name}, {"error", noted.error().detail}});
  co_return true;
}

}  // namespace enishi::jobs

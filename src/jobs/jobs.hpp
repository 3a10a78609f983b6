// Periodic work of the database, on one instance at a time: each job is one bounded SQL statement and a row of job_run, and whoever holds
// that row runs it.
//
//   jobs::Scheduler scheduler(db, {{"promote_due_tasks", Millis(1000), sql::queue::promote_due, 1000}});
//   spawn(shard, "jobs", scheduler.run());   // on the shard of `db`
//   scheduler.stop();                        // from that shard: no job starts any more; run() returns when the current one is done
//
// A job that fails is logged and counted, its error stands in job_run, and it comes up again at its next time.
#pragma once
#include <string>
#include <vector>

#include "pg/database.hpp"

namespace enishi::jobs {

struct Job {
  std::string name;
  Millis every;
  const pg::Statement& statement;  ///< without parameters; its rows are what it touched
  std::size_t batch = 0;           ///< so many rows touched mean there is more: it runs again at once. 0: never
};

/// Jobs that belong to no slice: answers of old requests, old events, partitions of the months to come.
std::vector<Job> housekeeping();

class Scheduler {
 public:
  Scheduler(pg::Database& db, std::vector<Job> jobs, Millis tick = Millis(500));
  /// Until stop(). Loses no job to a database that is away: it waits and goes on.
  Task<> run();
  void stop();
  /// Every job that is due, once; how many ran here. For tests and the command line.
  Task<int> run_due();

 private:
  Task<bool> run_one(const Job& job);
  pg::Database& db_;
  std::vector<Job> jobs_;
  Millis tick_;
  bool registered_ = false;
  bool stopping_ = false;
  Event stopped_;
};

}  // namespace enishi::jobs

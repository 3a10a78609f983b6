// The work queue (架電タスク): the next best call for whoever asks, each task to one of them.
//
//   auto task = co_await claim_next(call);   // 200 with the task, 204 when there is nothing to do
//
// Functions answer with the JSON that PostgreSQL made.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "auth/call.hpp"
#include "jobs/jobs.hpp"

namespace enishi::crm::queue {

using auth::Answering;

/// The best task of the caller's teams under a lease (rule task_lease_seconds); who holds as many as rule tasks_per_operator allows (one)
/// gets that again. 204: nothing is ready. 409 OUTSIDE_CONTACT_HOURS.
Answering claim_next(auth::Call& call);
/// That very task, READY or SCHEDULED. 409 ACTIVE_TASK_HELD when the caller holds as many as the rule allows.
Answering claim_one(auth::Call& call, Uuid task);

struct NewTask {
  Uuid id;
  std::optional<Uuid> inquiry_id, customer_id;  ///< exactly one
  std::string kind, due_at;
  std::optional<std::string> note;
  std::optional<Uuid> owner_id;
};
Answering create(auth::Call& call, NewTask task);
Answering get(auth::Call& call, Uuid task);
/// `view`: ready, mine, scheduled, blocked.
Answering list(auth::Call& call, std::string view, std::int64_t limit, std::optional<std::string> cursor);

Answering release(auth::Call& call, Uuid task);
Answering reassign(auth::Call& call, Uuid task, std::optional<Uuid> owner, std::optional<Uuid> team);
Answering snooze(auth::Call& call, Uuid task, std::string due_at);
Answering extend_lease(auth::Call& call, Uuid task);
Answering cancel(auth::Call& call, Uuid task, std::string reason);
Answering unblock(auth::Call& call, Uuid task, std::string reason);

Answering list_priority_rules(auth::Call& call);
struct NewPriorityRule {
  Uuid id;
  std::string kind;
  std::optional<Uuid> media_source_id;
  std::int64_t priority = 0;
  std::optional<std::string> effective_from;
};
Answering create_priority_rule(auth::Call& call, NewPriorityRule rule);

/// Tasks that fall due, leases that expire, inbound calls that nobody finished.
std::vector<jobs::Job> periodic();

}  // namespace enishi::crm::queue

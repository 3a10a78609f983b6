#include "crm/queue/queue.hpp"

#include "crm/outcomes/outcome.hpp"
#include "crm/paging.hpp"
#include "crm/queue/queue.sql.hpp"

namespace enishi::crm::queue {
namespace {

using auth::Call;
using http::Answer;

bool names(const Error& error, std::string_view constraint) {
  return error.code == "UNIQUE_VIOLATION" && error.extra.find(constraint) != std::string::npos;
}

/// Why a task could not become what was asked: not there, in somebody's hands, or in a state that does not allow it.
Answering explain_nothing(Call& call, Uuid task, std::string wanted) {
  auto rows = co_await call.db().read(sql::queue::look_at_task, pg::params(call.rights(), task), call.request.deadline);
  if (!rows) co_return tl::make_unexpected(rows.error());
  if (rows->empty()) co_return auth::not_found();
  const std::string state(rows->text(0, 0));
  if (!rows->null(0, 2) && !rows->boolean(0, 3)) {
    auto held = fail(Kind::conflict, "TASK_HELD", "Somebody else holds this task; take another one, or ask them to release it.");
    held.value().extra = R"({"current_state":")" + state + R"(","assigned_to":")" + std::string(rows->text(0, 2)) + "\"}";
    co_return held;
  }
  const std::string allowed = rows->null(0, 4) ? "[]" : std::string(rows->text(0, 4));
  auto refused = fail(Kind::conflict, "ILLEGAL_TRANSITION", "A call_task that is " + state + " cannot become " + wanted + ".");
  refused.value().extra = R"({"entity":"call_task","current_state":")" + state + R"(","requested_state":")" + wanted +
                          R"(","allowed_transitions":)" + allowed + "}";
  co_return refused;
}

Answering change(Call& call, const pg::Statement& statement, pg::Params params, Uuid task, std::string wanted) {
  auto done = co_await call.write(statement, std::move(params));
  if (!done) co_return tl::make_unexpected(explain(std::move(done.error()), "call_task"));
  if (*done) co_return std::move(**done);
  co_return co_await explain_nothing(call, task, std::move(wanted));
}

}  // namespace

Answering claim_next(Call& call) {
  // Most claims need one round. Another one when the best task turned out to be banned (it is BLOCKED now), when others took what was there
  // at that very moment, or when the same operator claimed in a second tab.
  for (int round = 0; round < 8; ++round) {
    std::vector<pg::Step> steps;
    steps.push_back({sql::queue::contact_hours, {}});
    steps.push_back({sql::queue::claim_next, pg::params(call.rights())});
    auto got = co_await call.write(std::move(steps));
    if (!got && got.error().code != "ACTIVE_TASK_HELD") co_return tl::make_unexpected(std::move(got.error()));
    if (got && *got) co_return std::move(**got);
    if (got) {
      auto more = co_await call.db().read(sql::queue::more_ready, pg::params(call.rights()), call.request.deadline);
      if (!more) co_return tl::make_unexpected(more.error());
      if (more->empty()) break;
    }
  }
  co_return Answer::none();
}

Answering claim_one(Call& call, Uuid task) {
  std::vector<pg::Step> steps;
  steps.push_back({sql::queue::contact_hours, {}});
  steps.push_back({sql::queue::claim_one, pg::params(call.rights(), task)});
  auto got = co_await call.write(std::move(steps));
  if (!got) co_return tl::make_unexpected(std::move(got.error()));
  if (*got) co_return std::move(**got);
  auto rows = co_await call.db().read(sql::queue::look_at_task, pg::params(call.rights(), task), call.request.deadline);
  if (!rows) co_return tl::make_unexpected(rows.error());
  if (!rows->empty() && rows->boolean(0, 3) && rows->text(0, 0) == "ASSIGNED") co_return co_await extend_lease(call, task);  // held already
  if (!rows->empty() && rows->text(0, 0) == "BLOCKED")
    co_return fail(Kind::conflict, "RESOLICITATION_BANNED",
                   "This customer, phone or address must not be solicited again; the task is BLOCKED.");
  co_return co_await explain_nothing(call, task, "ASSIGNED");
}

Answering create(Call& call, NewTask task) {
  auto done =
      task.inquiry_id
          ? co_await call.write(sql::queue::create_task,
                                pg::params(call.rights(), task.id, *task.inquiry_id, task.kind, task.due_at, task.note, task.owner_id), 201)
          : co_await call.write(
                sql::queue::create_task_for_customer,
                pg::params(call.rights(), task.id, *task.customer_id, task.kind, task.due_at, task.note, task.owner_id, call.who.team),
                201);
  if (!done && names(done.error(), "call_task_one_open"))
    co_return fail(Kind::conflict, "CALL_TASK_OPEN", "This inquiry has an open call task already; snooze, reassign or cancel that one.");
  if (!done) co_return tl::make_unexpected(explain(std::move(done.error()), "call_task"));
  if (*done) co_return std::move(**done);
  const char* field = task.inquiry_id ? "/inquiry_id" : "/customer_id";
  co_return fail(Kind::unprocessable, "VALIDATION_FAILED", "One field is wrong.",
                 {{field, "UNKNOWN_ID", "there is none, or it is not yours to see"}});
}

Answering get(Call& call, Uuid task) { return call.show(sql::queue::get_task, pg::params(call.rights(), task)); }

Answering list(Call& call, std::string view, std::int64_t limit, std::optional<std::string> cursor) {
  auto after = parse_cursor(cursor, view == "ready" ? 3 : 2);
  if (!after) co_return tl::make_unexpected(after.error());
  pg::Params params = view == "mine" ? pg::params(call.user(), limit) : pg::params(call.rights(), limit);
  if (view == "ready" && !(*after)[0]) (*after)[0] = "1000000";
  for (auto& key : *after) params.push_back(std::move(key));
  const auto& statement = view == "ready"     ? sql::queue::ready_tasks
                          : view == "mine"    ? sql::queue::my_tasks
                          : view == "blocked" ? sql::queue::blocked_tasks
                          : view == "held"    ? sql::queue::held_tasks
                                              : sql::queue::scheduled_tasks;
  co_return co_await call.show(statement, std::move(params));
}

Answering release(Call& call, Uuid task) {
  co_return co_await change(call, sql::queue::release_task, pg::params(call.rights(), task), task, "READY");
}

Answering reassign(Call& call, Uuid task, std::optional<Uuid> owner, std::optional<Uuid> team) {
  if (team && call.granted != auth::Scope::all && std::find(call.teams().begin(), call.teams().end(), *team) == call.teams().end())
    co_return fail(Kind::unprocessable, "VALIDATION_FAILED", "One field is wrong.", {{"/team_id", "FORBIDDEN_TEAM", "none of your teams"}});
  co_return co_await change(call, sql::queue::reassign_task, pg::params(call.rights(), task, owner, team), task, "READY");
}

Answering snooze(Call& call, Uuid task, std::string due_at) {
  co_return co_await change(call, sql::queue::snooze_task, pg::params(call.rights(), task, due_at), task, "SCHEDULED");
}

Answering extend_lease(Call& call, Uuid task) {
  auto done = co_await call.write(sql::queue::extend_lease, pg::params(call.user(), task));
  if (!done) co_return tl::make_unexpected(std::move(done.error()));
  if (*done) co_return std::move(**done);
  auto rows = co_await call.db().read(sql::queue::look_at_task, pg::params(call.rights(), task), call.request.deadline);
  if (!rows) co_return tl::make_unexpected(rows.error());
  if (rows->empty()) co_return auth::not_found();
  auto lost = fail(Kind::conflict, "LEASE_LOST", "You do not hold this task any more: its lease expired or somebody took it. Claim again.");
  lost.value().extra = R"({"current_state":")" + std::string(rows->text(0, 0)) + "\"}";
  co_return lost;
}

Answering cancel(Call& call, Uuid task, std::string reason) {
  co_return co_await change(call, sql::queue::cancel_task, pg::params(call.rights(), task, reason), task, "CANCELLED");
}

Answering unblock(Call& call, Uuid task, std::string reason) {
  co_return co_await change(call, sql::queue::unblock_task, pg::params(call.rights(), task, reason), task, "READY");
}

Answering list_priority_rules(Call& call) { return call.show(sql::queue::list_priority_rules, {}); }

Answering create_priority_rule(Call& call, NewPriorityRule rule) {
  auto done = co_await call.write(sql::queue::create_priority_rule,
                                  pg::params(rule.id, rule.kind, rule.media_source_id, rule.priority, rule.effective_from), 201);
  if (!done) co_return tl::make_unexpected(explain(std::move(done.error()), "priority_rule"));
  co_return std::move(**done);
}

std::vector<jobs::Job> periodic() {
  return {{"promote_due_tasks", Millis(1000), sql::queue::promote_due, 1000},
          {"return_expired_leases", Millis(5000), sql::queue::return_expired_leases, 500},
          {"abandon_inbound_calls", Millis(60000), sql::queue::abandon_inbound_calls, 0}};
}

}  // namespace enishi::crm::queue

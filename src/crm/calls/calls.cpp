#include "crm/calls/call_attempt.hpp"
#include "crm/calls/calls.sql.hpp"
#include "crm/calls/wrap_up.sql.hpp"
#include "crm/outcomes/outcome.hpp"

namespace enishi::crm::calls {
namespace {

using auth::Call;
using http::Answer;

bool names(const Error& error, std::string_view constraint) {
  return error.code == "UNIQUE_VIOLATION" && error.extra.find(constraint) != std::string::npos;
}

tl::unexpected<Error> with(tl::unexpected<Error> error, std::string extra) {
  error.value().extra = std::move(extra);
  return error;
}

std::string member(std::string_view name, std::string_view value) {
  return std::string("{\"") + std::string(name) + "\":\"" + std::string(value) + "\"}";
}

/// The kind of task that a next action asks for; nothing for those that wait.
std::optional<std::string> task_kind(const std::string& next_action) {
  if (next_action == "CALL") return "FOLLOW_UP";
  if (next_action == "CALLBACK") return "CALLBACK";
  if (next_action == "PRE_VISIT_CALL") return "PRE_VISIT";
  if (next_action == "NURTURE_CALL") return "NURTURE";
  return std::nullopt;
}

Answering start_failed(Call& call, Error error) {
  if (names(error, "open_call_of_task"))
    co_return fail(Kind::conflict, "TASK_IN_CALL", "Somebody is on the phone for this task already; take another one.");
  if (!names(error, "open_call_of_operator")) co_return tl::make_unexpected(explain(std::move(error), "call_attempt"));
  auto rows = co_await call.db().read(sql::calls::open_call, pg::params(call.user()), call.request.deadline);
  if (!rows) co_return tl::make_unexpected(rows.error());
  co_return with(fail(Kind::conflict, "CALL_OPEN", "You are on the phone already; finish that call first."),
                 rows->empty() ? "" : member("call_attempt_id", rows->text(0, 0)));
}

tl::unexpected<Error> finished(std::string_view outcome) {
  return with(fail(Kind::conflict, "CALL_FINISHED", "This call has its outcome already; correct its memo instead."),
              member("outcome", outcome));
}

/// Why a call could not be finished that way.
Answering explain_unfinished(Call& call, Uuid id, const Finish& end) {
  auto rows = co_await call.db().read(sql::calls::look_at_call, pg::params(call.rights(), id, end.appointment_id), call.request.deadline);
  if (!rows) co_return tl::make_unexpected(rows.error());
  if (rows->empty()) co_return auth::not_found();
  if (rows->boolean(0, 1)) co_return finished(rows->text(0, 2));
  const bool inquiry = !rows->null(0, 3);
  const std::string stage(rows->text(0, 5));
  if (end.outcome == "APPOINTED") {
    if (rows->null(0, 6))
      co_return fail(Kind::unprocessable, "VALIDATION_FAILED", "One field is wrong.",
                     {{"/appointment_id", "UNKNOWN_ID", "no appointment of this call's inquiry"}});
    co_return with(
        fail(Kind::conflict, "APPOINTMENT_NOT_OPEN", "This appointment is " + std::string(rows->text(0, 6)) + "; hold a place first."),
        member("current_state", rows->text(0, 6)));
  }
  if (!inquiry && (end.next_action || end.lost_reason || end.invalid_reason))
    co_return fail(
        Kind::unprocessable, "VALIDATION_FAILED", "One field is wrong.",
        {{end.next_action ? "/next_action" : "/outcome", "NO_INQUIRY", "this call belongs to no inquiry; say which with PATCH first"}});
  if (end.outcome == "REFUSED")
    co_return fail(Kind::unprocessable, "VALIDATION_FAILED", "One field is wrong.",
                   {{"/outcome", "NO_CUSTOMER", "this call has no customer; say who it was with PATCH first"}});
  if (end.next_action || end.lost_reason || end.invalid_reason)
    co_return with(fail(Kind::conflict, "INQUIRY_ENDED", "This inquiry is " + stage + "; finish the call without a next action."),
                   member("current_state", stage));
  co_return fail(Kind::unprocessable, "NEXT_ACTION_REQUIRED", "An inquiry that goes on has a next action: say what happens next, and when.",
                 {{"/next_action", "NEXT_ACTION_REQUIRED", "required"}});
}

}  // namespace

Answering start_outbound(Call& call, Uuid id, Uuid task, std::optional<std::string> e164, bool recording_notice) {
  std::vector<pg::Step> steps;
  steps.push_back({sql::calls::lock_task_customer, pg::params(task)});
  steps.push_back({sql::calls::start_outbound, pg::params(task, call.user(), id, e164, recording_notice, call.who.team)});
  auto done = co_await call.write(std::move(steps), 201);
  if (!done) co_return co_await start_failed(call, std::move(done.error()));
  if (*done) co_return std::move(**done);
  auto rows = co_await call.db().read(sql::calls::look_at_dial, pg::params(call.rights(), task, e164), call.request.deadline);
  if (!rows) co_return tl::make_unexpected(rows.error());
  if (rows->empty())
    co_return fail(Kind::unprocessable, "VALIDATION_FAILED", "One field is wrong.",
                   {{"/task_id", "UNKNOWN_ID", "there is no such task, or it is not yours to see"}});
  const std::string state(rows->text(0, 0));
  if (state == "BLOCKED")
    co_return fail(Kind::conflict, "RESOLICITATION_BANNED",
                   "This customer, phone or address must not be solicited again; the task is BLOCKED.");
  if (rows->boolean(0, 1) && state == "ASSIGNED" && !rows->boolean(0, 2))
    co_return fail(Kind::unprocessable, "VALIDATION_FAILED", "One field is wrong.",
                   {{"/phone", "PHONE_NOT_OF_CUSTOMER", "none of the customer's numbers; add it to the customer first"}});
  if (!rows->boolean(0, 1) && !rows->null(0, 4))
    co_return with(fail(Kind::conflict, "TASK_HELD", "Somebody else holds this task."), member("current_state", state));
  auto refused = fail(Kind::conflict, "ILLEGAL_TRANSITION", "A call_task that is " + state + " cannot become IN_CALL: claim it first.");
  co_return with(std::move(refused), R"({"entity":"call_task","current_state":")" + state +
                                         R"(","requested_state":"IN_CALL","allowed_transitions":)" +
                                         (rows->null(0, 3) ? "[]" : std::string(rows->text(0, 3))) + "}");
}

Answering start_inbound(Call& call, Inbound ring) {
  auto done = co_await call.write(
      sql::calls::start_inbound,
      pg::params(ring.id, call.user(), ring.customer_id, ring.inquiry_id, ring.e164, ring.recording_notice, call.who.team), 201);
  if (!done) co_return co_await start_failed(call, std::move(done.error()));
  if (*done) co_return std::move(**done);
  co_return fail(Kind::unprocessable, "VALIDATION_FAILED", "One field is wrong.",
                 {{"/inquiry_id", "UNKNOWN_ID", "no inquiry of this customer"}});
}

Answering finish(Call& call, Uuid id, Finish end) {
  std::vector<pg::Step> steps;
  if (end.outcome == "APPOINTED") {
    auto request = end.solicitation_request_id;
    if (end.request) {
      request = end.request->id;
      steps.push_back({sql::calls::record_request,
                       pg::params(id, call.user(), end.request->id, end.request->scope, end.request->category_ids, end.request->verbatim,
                                  end.request->disclosed, end.request->willingness_confirmed, call.scope(), call.teams())});
    }
    steps.push_back({sql::calls::finish_appointed, pg::params(call.rights(), id, end.outcome, end.memo, end.appointment_id, request)});
    steps.push_back({sql::calls::own_inquiry, pg::params(id)});
    steps.push_back({sql::calls::answer_appointed, pg::params(id, end.appointment_id)});
  } else if (end.outcome == "REFUSED") {
    steps.push_back({sql::calls::lock_refused, pg::params(id)});
    steps.push_back({sql::calls::finish_refused, pg::params(call.rights(), id, end.outcome, end.memo, end.ban_reason, Uuid::make())});
  } else if (end.lost_reason || end.invalid_reason) {
    steps.push_back({sql::calls::finish_ending, pg::params(call.rights(), id, end.outcome, end.memo, end.lost_reason ? "LOST" : "INVALID",
                                                           end.lost_reason ? end.lost_reason : end.invalid_reason)});
  } else if (end.next_action) {
    steps.push_back(
        {sql::calls::finish_with_next, pg::params(call.rights(), id, end.outcome, end.memo, *end.next_action, end.next_action_at,
                                                  task_kind(*end.next_action), Uuid::make(), end.next_note)});
  } else {
    steps.push_back({sql::calls::finish_bare, pg::params(call.rights(), id, end.outcome, end.memo)});
  }
  auto done = co_await call.write(std::move(steps));
  if (!done && names(done.error(), "call_task_one_open"))
    co_return fail(Kind::conflict, "CALL_TASK_OPEN",
                   "Somebody else is working on this inquiry's open call task; finish this call with next_action WAIT.");
  if (!done) co_return tl::make_unexpected(explain(std::move(done.error()), "call_attempt"));
  if (*done) co_return std::move(**done);
  co_return co_await explain_unfinished(call, id, end);
}

Answering wrap_up(Call& call, Uuid id) {
  auto done = co_await call.write(sql::wrap_up::wrap_up_call, pg::params(call.rights(), id));
  if (!done) co_return tl::make_unexpected(done.error());
  if (*done) co_return std::move(**done);
  auto rows = co_await call.db().read(sql::calls::look_at_call, pg::params(call.rights(), id, nullptr), call.request.deadline);
  if (!rows) co_return tl::make_unexpected(rows.error());
  if (rows->empty()) co_return auth::not_found();
  if (rows->boolean(0, 1)) co_return finished(rows->text(0, 2));
  co_return fail(Kind::conflict, "CALL_OVER", "The talk is over already; say its outcome.");
}

Answering get(Call& call, Uuid id) { return call.show(sql::calls::get_call, pg::params(call.rights(), id)); }

Answering update(Call& call, Uuid id, std::int64_t version, std::string changes) {
  auto done = co_await call.write(sql::calls::update_call, pg::params(call.rights(), id, version, changes));
  if (!done) co_return tl::make_unexpected(explain(std::move(done.error()), "call_attempt"));
  if (*done) co_return std::move(**done);
  auto rows = co_await call.db().read(sql::calls::look_at_call, pg::params(call.rights(), id, nullptr), call.request.deadline);
  if (!rows) co_return tl::make_unexpected(rows.error());
  if (rows->empty()) co_return auth::not_found();
  if (rows->integer(0, 0) != version) co_return auth::version_mismatch(rows->integer(0, 0));
  co_return fail(Kind::conflict, "CALL_FIXED", "Who the call was with is known already, or the inquiry is none of that customer's.");
}

Answering list(Call& call, std::optional<Uuid> customer, std::optional<Uuid> operator_id, std::int64_t limit, pg::Params after) {
  using auth::Scope;
  auto params = pg::params(limit, after[0], after[1]);
  const pg::Statement* statement = &sql::calls::all_calls;
  if (customer) {
    params.push_back(pg::param(*customer));
    pg::append(params, call.rights());
    statement = &sql::calls::calls_of_customer;
  } else if (call.granted == Scope::own || (operator_id && call.granted == Scope::all)) {
    params.push_back(pg::param(call.granted == Scope::own ? call.user().value : *operator_id));
    statement = &sql::calls::calls_of_operator;
  } else if (call.granted == Scope::team) {
    params.push_back(pg::param(call.teams()));
    params.push_back(pg::param(operator_id));
    statement = &sql::calls::calls_of_teams;
  }
  co_return co_await call.show(*statement, std::move(params));
}

}  // namespace enishi::crm::calls

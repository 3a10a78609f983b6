// Calls (通話): one starts from a claimed task or comes in from outside, and ends with an outcome, what happens next, and everything that
// follows from it, in one transaction.
//
//   Finish end{.outcome = "CALLBACK", .memo = "…", .next_action = "CALLBACK", .next_action_at = "2026-11-23T10:00:00+09:00"};
//   auto answer = co_await finish(call, id, std::move(end));
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "auth/call.hpp"

namespace enishi::crm::calls {

using auth::Answering;

/// Dials for a task the caller has claimed. 409 RESOLICITATION_BANNED, OUTSIDE_CONTACT_HOURS, CALL_OPEN (the caller is on the phone
/// already).
Answering start_outbound(auth::Call& call, Uuid id, Uuid task, std::optional<std::string> e164, bool recording_notice);

struct Inbound {
  Uuid id;
  std::optional<Uuid> customer_id, inquiry_id;
  std::optional<std::string> e164;
  bool recording_notice = false;
};
Answering start_inbound(auth::Call& call, Inbound ring);

/// The customer's own words, recorded when a visit is agreed on.
struct Request {
  Uuid id;
  std::string scope, verbatim;
  std::vector<Uuid> category_ids;
  bool disclosed = false, willingness_confirmed = false;
};

struct Finish {
  std::string outcome, memo;
  std::optional<std::string> next_action, next_action_at, next_note;
  std::optional<std::string> lost_reason, invalid_reason, ban_reason;
  std::optional<Uuid> appointment_id, solicitation_request_id;
  std::optional<Request> request;
};
/// 422 NEXT_ACTION_REQUIRED, unless the outcome ends the inquiry or the call has none. A finished call is 409 CALL_FINISHED.
Answering finish(auth::Call& call, Uuid id, Finish end);

/// The talk is over and its outcome is being written: the task is WRAP_UP. 409 CALL_OVER, CALL_FINISHED.
Answering wrap_up(auth::Call& call, Uuid id);

Answering get(auth::Call& call, Uuid id);
Answering update(auth::Call& call, Uuid id, std::int64_t version, std::string changes);
Answering list(auth::Call& call, std::optional<Uuid> customer, std::optional<Uuid> operator_id, std::int64_t limit, pg::Params after);

}  // namespace enishi::crm::calls

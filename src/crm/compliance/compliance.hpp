// Who asked to be solicited, who must not be, and the rules as data. What holds is in the database (db/migrations/0005_compliance.sql): a
// ban covers the customer, their phones and addresses as they were, and no call, task or booking gets past it, by API, import or plain SQL.
//
//   co_return co_await create_ban(call, Ban{.id = Uuid::make(), .customer_id = customer, .reason = "asked us to stop", .source =
//   "REQUEST"});
//
// A refusal on a call makes its ban in the call's own transaction: insert into solicitation_ban (…, source) values (…, 'REFUSED').
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "auth/call.hpp"

namespace enishi::crm::compliance {

using auth::Answering;
using auth::Call;

struct SolicitationRequest {
  Uuid id, inquiry_id;
  std::string scope;  ///< APPRAISAL_ONLY, PURCHASE
  std::vector<Uuid> category_ids;
  std::optional<Uuid> call_attempt_id;
  std::string verbatim;  ///< the customer's own words
  std::optional<std::string> disclosed_at, willingness_confirmed_at, requested_at;
};
Answering create_request(Call& call, SolicitationRequest request);

struct Ban {
  Uuid id, customer_id;
  std::string reason;
  std::string source;  ///< REQUEST, COMPLAINT, COMPLIANCE; REFUSED is made by finishing a call
  std::optional<Uuid> call_attempt_id, inquiry_id;
};
Answering create_ban(Call& call, Ban ban);
/// 409 BAN_LIFTED when it was lifted before.
Answering lift_ban(Call& call, Uuid id, std::string reason);

/// Names that something reads; the shape of each is checked by the database (rule_shape_problem).
inline constexpr std::string_view rule_names[] = {
    "contact_hours",      "business_time_zone", "pre_visit_call_at",  "appointment_hold_seconds",
    "task_lease_seconds", "first_call_seconds", "call_lease_seconds", "inbound_call_seconds"};
struct Rule {
  std::string name;
  std::string value;                          ///< JSON
  std::optional<std::string> effective_from;  ///< now when absent; never in the past
  std::string source;                         ///< the law, or who decided
};
Answering add_rule(Call& call, Rule rule);

}  // namespace enishi::crm::compliance

#include "crm/compliance/compliance.hpp"

#include "crm/compliance/compliance.sql.hpp"

namespace enishi::crm::compliance {
namespace {

using pg::params;
namespace statements = sql::compliance;

bool about(const Error& error, std::string_view constraint) {
  return error.extra.find("\"constraint\":\"" + std::string(constraint) + "\"") != std::string::npos;
}

}  // namespace

Answering create_request(Call& call, SolicitationRequest request) {
  std::vector<pg::Step> steps;
  steps.push_back({statements::insert_request, params(request.id, request.inquiry_id, request.scope, request.category_ids,
                                                      request.call_attempt_id, call.user(), request.verbatim, request.disclosed_at,
                                                      request.willingness_confirmed_at, request.requested_at, call.scope(), call.teams())});
  steps.push_back({statements::made_request,
                   params(request.id, request.inquiry_id, request.scope, request.category_ids, request.verbatim, call.user())});
  auto done = co_await call.write(std::move(steps), 201);
  if (!done) co_return tl::make_unexpected(std::move(done.error()));
  if (*done) co_return std::move(**done);
  auto there = co_await call.db().run(statements::exists_request, params(request.id), call.request.deadline);
  if (there && !there->empty()) co_return fail(Kind::conflict, "ID_TAKEN", "Another request has this id; make a new one.");
  co_return fail(Kind::unprocessable, "INQUIRY_NOT_FOUND", "There is no such inquiry.",
                 {{"/inquiry_id", "INQUIRY_NOT_FOUND", "no such inquiry"}});
}

Answering create_ban(Call& call, Ban ban) {
  std::vector<pg::Step> steps;
  steps.push_back({statements::insert_ban,
                   params(ban.id, ban.customer_id, ban.reason, ban.source, ban.call_attempt_id, ban.inquiry_id, call.rights())});
  steps.push_back({statements::made_ban, params(ban.id, ban.customer_id, ban.reason, ban.source)});
  auto done = co_await call.write(std::move(steps), 201);
  if (!done && about(done.error(), "solicitation_ban_call_attempt_id_fkey"))
    co_return fail(Kind::unprocessable, "CALL_NOT_FOUND", "There is no such call.",
                   {{"/call_attempt_id", "CALL_NOT_FOUND", "no such call"}});
  if (!done && about(done.error(), "solicitation_ban_inquiry_id_fkey"))
    co_return fail(Kind::unprocessable, "INQUIRY_NOT_FOUND", "There is no such inquiry.",
                   {{"/inquiry_id", "INQUIRY_NOT_FOUND", "no such inquiry"}});
  if (!done) co_return tl::make_unexpected(std::move(done.error()));
  if (*done) co_return std::move(**done);
  auto there = co_await call.db().run(statements::exists_ban, params(ban.id), call.request.deadline);
  if (there && !there->empty()) co_return fail(Kind::conflict, "ID_TAKEN", "Another ban has this id; make a new one.");
  co_return fail(Kind::unprocessable, "CUSTOMER_NOT_FOUND", "There is no such customer.",
                 {{"/customer_id", "CUSTOMER_NOT_FOUND", "no such customer"}});
}

Answering lift_ban(Call& call, Uuid id, std::string reason) {
  std::vector<pg::Step> steps;
  steps.push_back({statements::lift_ban, params(id, reason)});
  steps.push_back({statements::lifted_ban, params(id)});
  auto done = co_await call.write(std::move(steps));
  if (!done) co_return tl::make_unexpected(std::move(done.error()));
  if (*done) co_return std::move(**done);
  auto there = co_await call.db().run(statements::lifted_at, params(id), call.request.deadline);
  if (!there) co_return tl::make_unexpected(std::move(there.error()));
  if (there->empty()) co_return auth::not_found();
  co_return fail(Kind::conflict, "BAN_LIFTED", "This ban was lifted already, at " + std::string(there->text(0, 0)) + ".");
}

Answering add_rule(Call& call, Rule rule) {
  std::vector<pg::Step> steps;
  steps.push_back({statements::assert_to_come, params(rule.effective_from)});
  steps.push_back({statements::add_rule, params(rule.name, rule.effective_from, rule.value, rule.source)});
  auto done = co_await call.write(std::move(steps), 201);
  if (!done && about(done.error(), "rule_pkey"))
    co_return fail(Kind::conflict, "RULE_EXISTS", "This rule has a value from that very moment already; choose another effective_from.");
  if (!done) co_return tl::make_unexpected(std::move(done.error()));
  co_return std::move(**done);
}

}  // namespace enishi::crm::compliance

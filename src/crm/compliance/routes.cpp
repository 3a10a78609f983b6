// Operations of compliance (api/compliance.yaml).
#include "crm/compliance/routes.hpp"

#include <algorithm>

#include "crm/compliance/compliance.hpp"
#include "crm/compliance/compliance.sql.hpp"

namespace enishi::crm::compliance {
namespace {

using auth::Operation;
using http::Answer;
using http::Decoder;
using http::Method;
using http::QueryDecoder;
using pg::params;
namespace statements = sql::compliance;

Answering list_requests(Call& call);
Answering post_request(Call& call);
Answering list_bans(Call& call);
Answering post_ban(Call& call);
Answering get_ban(Call& call, Uuid id);
Answering post_lifting(Call& call, Uuid id);
Answering list_rules(Call& call);
Answering post_rule(Call& call);
Answering list_views(Call& call);

const Operation operations[] = {
    {Method::get, "/v1/solicitation-requests", "list_solicitation_requests", list_requests},
    {Method::post, "/v1/solicitation-requests", "create_solicitation_request", post_request},
    {Method::get, "/v1/solicitation-bans", "list_solicitation_bans", list_bans},
    {Method::post, "/v1/solicitation-bans", "create_solicitation_ban", post_ban},
    {Method::get, "/v1/solicitation-bans/{solicitation_ban_id}", "get_solicitation_ban", get_ban, {.views = "solicitation_ban"}},
    {Method::post, "/v1/solicitation-bans/{solicitation_ban_id}/lifting", "lift_solicitation_ban", post_lifting},
    {Method::get, "/v1/rules", "list_rules", list_rules},
    {Method::post, "/v1/rules", "add_rule", post_rule},
    {Method::get, "/v1/personal-data-views", "list_personal_data_views", list_views},
};

Answering list_requests(Call& call) {
  QueryDecoder in(call.request);
  const auto inquiry = in.uuid("inquiry_id");
  const auto customer = in.uuid("customer_id");
  if (!in.present("inquiry_id") && !in.present("customer_id")) in.error("inquiry_id", "REQUIRED", "inquiry_id or customer_id");
  if (in.present("inquiry_id") && in.present("customer_id")) in.error("customer_id", "FORMAT", "inquiry_id or customer_id, and not both");
  auto at = auth::finish_paging(in, pg::Params(2));
  if (!at) co_return tl::make_unexpected(std::move(at.error()));
  const auto& statement = inquiry ? statements::requests_of_inquiry : statements::requests_of_customer;
  auto values = params(call.rights(), inquiry ? inquiry : customer, at->after[0], at->after[1], at->limit);
  co_return co_await call.list(statement, std::move(values), *at, "solicitation_request");
}

Answering post_request(Call& call) {
  Decoder in(call.request);
  SolicitationRequest request;
  request.id = in.uuid("id").value_or(Uuid::make());
  request.inquiry_id = in.uuid("inquiry_id", {.required = true}).value_or(Uuid{});
  request.scope = in.choice("scope", {"APPRAISAL_ONLY", "PURCHASE"}, {.required = true}).value_or("");
  request.category_ids = in.uuids("category_ids", 50, {.required = true}).value_or(std::vector<Uuid>{});
  if (in.present("category_ids") && !in.null("category_ids") && request.category_ids.empty())
    in.error("category_ids", "TOO_SHORT", "at least one category");
  request.call_attempt_id = in.uuid("call_attempt_id");
  request.verbatim = in.text("verbatim", {.required = true, .min = 1, .max = 2000, .multiline = true}).value_or("");
  request.disclosed_at = in.timestamp("disclosed_at");
  request.willingness_confirmed_at = in.timestamp("willingness_confirmed_at");
  request.requested_at = in.timestamp("requested_at");
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await create_request(call, std::move(request));
}

Answering list_bans(Call& call) {
  QueryDecoder in(call.request);
  const auto customer = in.uuid("customer_id");
  const auto phone = in.text("phone", {.min = 8, .max = 16});
  const auto in_force = in.boolean("in_force").value_or(false);
  if (customer && phone) in.error("phone", "FORMAT", "customer_id or phone, and not both");
  auto at = auth::finish_paging(in, pg::Params(2));
  if (!at) co_return tl::make_unexpected(std::move(at.error()));
  if (customer || phone) {
    const auto& statement = customer ? statements::bans_of_customer : statements::bans_of_phone;
    const auto key = customer ? pg::param(*customer) : pg::param(*phone);
    auto values = params(call.rights(), key, at->after[0], at->after[1], at->limit);
    co_return co_await call.list(statement, std::move(values), *at, "solicitation_ban");
  }
  auto values = params(call.rights(), at->after[0], at->after[1], at->limit);
  co_return co_await call.list(in_force ? statements::bans_in_force : statements::bans, std::move(values), *at, "solicitation_ban");
}

Answering post_ban(Call& call) {
  Decoder in(call.request);
  Ban ban;
  ban.id = in.uuid("id").value_or(Uuid::make());
  ban.customer_id = in.uuid("customer_id", {.required = true}).value_or(Uuid{});
  ban.reason = in.text("reason", {.required = true, .min = 1, .max = 1000}).value_or("");
  ban.source = in.choice("source", {"REQUEST", "COMPLAINT", "COMPLIANCE"}, {.required = true}).value_or("");
  ban.call_attempt_id = in.uuid("call_attempt_id");
  ban.inquiry_id = in.uuid("inquiry_id");
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await create_ban(call, std::move(ban));
}

Answering get_ban(Call& call, Uuid id) { return call.show(statements::get_ban, params(id, call.rights())); }

Answering post_lifting(Call& call, Uuid id) {
  Decoder in(call.request);
  const auto reason = in.text("reason", {.required = true, .min = 1, .max = 1000});
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await lift_ban(call, id, reason.value_or(""));
}

Answering list_rules(Call& call) {
  QueryDecoder in(call.request);
  auto at = auth::finish_paging(in, pg::Params(2));
  if (!at) co_return tl::make_unexpected(std::move(at.error()));
  co_return co_await call.list(statements::rules, params(at->after[0], at->after[1], at->limit), *at);
}

Answering post_rule(Call& call) {
  Decoder in(call.request);
  Rule rule;
  rule.name = in.choice("name", std::span<const std::string_view>(rule_names), {.required = true}).value_or("");
  rule.value = in.raw("value", {.required = true, .max = 4096}).value_or("null");
  rule.effective_from = in.timestamp("effective_from");
  rule.source = in.text("source", {.required = true, .min = 1, .max = 500}).value_or("");
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await add_rule(call, std::move(rule));
}

Answering list_views(Call& call) {
  QueryDecoder in(call.request);
  const auto user = in.uuid("user_id");
  const auto record = in.uuid("entity_id");
  const auto from = in.timestamp("from");
  const auto to = in.timestamp("to");
  // Up to a moment is what follows an item of that moment: a cursor lies before it already.
  auto at = auth::finish_paging(in, to ? pg::params(*to, "0") : pg::Params(2));
  if (!at) co_return tl::make_unexpected(std::move(at.error()));
  auto values = params(at->after[0], at->after[1], at->limit, from);
  if (record) {
    values.push_back(pg::param(record));
    values.push_back(pg::param(user));
  } else if (user) {
    values.push_back(pg::param(user));
  }
  const auto& statement = record ? statements::views_of_record : user ? statements::views_by_user : statements::views;
  co_return co_await call.list(statement, std::move(values), *at);
}

}  // namespace

void mount(http::Router& router, auth::Gatekeeper& gate) { gate.mount(router, operations); }

}  // namespace enishi::crm::compliance

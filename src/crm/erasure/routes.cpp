#include "crm/erasure/routes.hpp"

#include "crm/erasure/erasure.sql.hpp"

namespace enishi::crm::erasure {
namespace {

using auth::Answering;
using auth::Call;
using http::Method;

Answering erase_customer(Call& call, Uuid customer);
Answering list_erasures(Call& call);

const auth::Operation operations[] = {
    {Method::post, "/v1/customers/{customer_id}/erasure", "erase_customer", erase_customer, {.time_limit = Millis(30000)}},
    {Method::get, "/v1/erasures", "list_erasures", list_erasures},
};

Answering erase_customer(Call& call, Uuid customer) {
  http::Decoder in(call.request);
  const auto id = in.uuid("id").value_or(Uuid::make());
  const auto reason = in.text("reason", {.required = true, .min = 1, .max = 500});
  const auto mask = in.boolean("mask").value_or(false);
  if (auto bad = in.finish()) co_return *bad;
  std::vector<pg::Step> steps;
  steps.push_back({sql::erasure::lock_person, pg::params(customer)});
  steps.push_back({sql::erasure::erase_customer, pg::params(id, customer, *reason, mask)});
  auto done = co_await call.write(std::move(steps));
  co_return auth::answered(std::move(done), auth::not_found());
}

Answering list_erasures(Call& call) {
  http::QueryDecoder in(call.request);
  auto at = auth::finish_paging(in, auth::newest());
  if (!at) co_return tl::make_unexpected(std::move(at.error()));
  co_return co_await call.list(sql::erasure::list_erasures, pg::params(at->after[0], at->after[1], at->limit + 1), *at);
}

}  // namespace

void mount(http::Router& router, auth::Gatekeeper& gate) { gate.mount(router, operations); }

}  // namespace enishi::crm::erasure

// Operations of continuity (api/continuity.yaml).
#include "crm/continuity/routes.hpp"

#include "crm/continuity/safety.sql.hpp"

namespace enishi::crm::continuity {
namespace {

using auth::Answering;
using auth::Call;
using http::Method;

Answering get_continuity(Call& call);
Answering list_requests(Call& call);
Answering create_request(Call& call);

const auth::Operation operations[] = {
    {Method::get, "/v1/continuity", "get_continuity", get_continuity},
    {Method::get, "/v1/continuity/requests", "list_continuity_requests", list_requests},
    {Method::post, "/v1/continuity/requests", "create_continuity_request", create_request},
};

Answering get_continuity(Call& call) { return call.show(sql::safety::get_continuity, {}); }

Answering list_requests(Call& call) {
  http::QueryDecoder in(call.request);
  auto at = auth::finish_paging(in, auth::newest());
  if (!at) co_return tl::make_unexpected(std::move(at.error()));
  co_return co_await call.list(sql::safety::list_requests, pg::params(at->after[0], at->after[1], at->limit + 1), *at);
}

Answering create_request(Call& call) {
  http::Decoder in(call.request);
  const auto id = in.uuid("id");
  const auto kind = in.choice("kind", {"BACKUP", "DRILL", "MARK"}, {.required = true});
  const auto name = in.text("name", {.max = 60});
  if (kind == "MARK" && !name) in.error("name", "REQUIRED", "A mark has a name.");
  if (kind && kind != "MARK" && name) in.error("name", "FORMAT", "Only a mark has a name.");
  constexpr auto first = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  constexpr auto letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  if (name && (name->empty() || name->find_first_not_of(letters) != std::string::npos || name->substr(0, 1).find_first_not_of(first) == 0 ||
               *name == "latest"))
    in.error("name", "FORMAT", "Letters, digits and ._- only, a letter first, and not \"latest\".");
  if (auto bad = in.finish()) co_return *bad;
  auto made = co_await call.write(sql::safety::ask, pg::params(id, *kind, name, call.who.login), 202);
  if (!made && made.error().code == "UNIQUE_VIOLATION")
    co_return fail(Kind::conflict, "ID_TAKEN", "There is a request with this id already.");
  if (!made) co_return tl::make_unexpected(std::move(made.error()));
  if (*made) co_return std::move(**made);
  auto there = co_await call.db().read(sql::safety::has_guardian, {}, call.request.deadline);
  if (!there) co_return tl::make_unexpected(std::move(there.error()));
  if (there->boolean(0, 0)) co_return fail(Kind::too_many, "REQUESTS_WAITING", "Ten requests wait already; these come first.");
  co_return fail(Kind::conflict, "BACKUPS_EXTERNAL", "This database's backups are not made by Enishi: ask whoever looks after it.");
}

}  // namespace

void mount(http::Router& router, auth::Gatekeeper& gate) { gate.mount(router, operations); }

}  // namespace enishi::crm::continuity

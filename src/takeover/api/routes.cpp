#include "takeover/api/routes.hpp"

#include <charconv>

#include "takeover/api/takeover.sql.hpp"

namespace enishi::takeover {
namespace {

namespace s = sql::takeover;
using auth::Answering;
using auth::Call;
using http::Answer;
using http::Method;

Answering list_domains(Call& call);
Answering get_domain(Call& call);
Answering check_switch(Call& call);
Answering switch_domain(Call& call);
Answering revert_domain(Call& call);
Answering complete_domain(Call& call);
Answering unlock_domain(Call& call);
Answering abandon_domain(Call& call);
Answering list_moves(Call& call);
Answering get_move(Call& call, Uuid id);
Answering abort_move(Call& call, Uuid id);
Answering acknowledge_alarm(Call& call);
Answering list_rejects(Call& call);
Answering accept_reject(Call& call);
Answering retry_reject(Call& call);
Answering list_diffs(Call& call);
Answering start_diff(Call& call);
Answering start_repair(Call& call);
Answering get_diff(Call& call, Uuid id);
Answering list_differences(Call& call, Uuid id);
Answering list_merge_candidates(Call& call);
Answering get_merge_candidate(Call& call, Uuid id);
Answering merge_customers(Call& call, Uuid id);
Answering separate_customers(Call& call, Uuid id);
Answering resolve_legacy_key(Call& call);
Answering list_legacy_keys(Call& call);

const auth::Operation operations[] = {
    {Method::get, "/v1/takeover/domains", "list_takeover_domains", list_domains},
    {Method::get, "/v1/takeover/domains/{domain}", "get_takeover_domain", get_domain},
    {Method::get, "/v1/takeover/domains/{domain}/checks", "check_takeover_switch", check_switch, {.time_limit = Millis(30000)}},
    {Method::post, "/v1/takeover/domains/{domain}/switch", "switch_takeover_domain", switch_domain, {.time_limit = Millis(30000)}},
    {Method::post, "/v1/takeover/domains/{domain}/reversion", "revert_takeover_domain", revert_domain, {.time_limit = Millis(30000)}},
    {Method::post, "/v1/takeover/domains/{domain}/completion", "complete_takeover_domain", complete_domain, {.time_limit = Millis(30000)}},
    {Method::post, "/v1/takeover/domains/{domain}/unlocking", "unlock_takeover_domain", unlock_domain, {.time_limit = Millis(30000)}},
    {Method::post, "/v1/takeover/domains/{domain}/abandonment", "abandon_takeover_domain", abandon_domain, {.time_limit = Millis(30000)}},
    {Method::get, "/v1/takeover/domains/{domain}/moves", "list_takeover_moves", list_moves},
    {Method::get, "/v1/takeover/moves/{move_id}", "get_takeover_move", get_move},
    {Method::post, "/v1/takeover/moves/{move_id}/abortion", "abort_takeover_move", abort_move},
    {Method::post, "/v1/takeover/alarms/{alarm_id}/acknowledgement", "acknowledge_takeover_alarm", acknowledge_alarm},
    {Method::get, "/v1/takeover/domains/{domain}/rejects", "list_takeover_rejects", list_rejects, {.views = "takeover_reject"}},
    {Method::post, "/v1/takeover/rejects/{reject_id}/acceptance", "accept_takeover_reject", accept_reject},
    {Method::post, "/v1/takeover/rejects/{reject_id}/retry", "retry_takeover_reject", retry_reject},
    {Method::get, "/v1/takeover/domains/{domain}/diffs", "list_takeover_diffs", list_diffs},
    {Method::post, "/v1/takeover/domains/{domain}/diffs", "start_takeover_diff", start_diff, {.time_limit = Millis(30000)}},
    {Method::post, "/v1/takeover/domains/{domain}/repairs", "start_takeover_repair", start_repair, {.time_limit = Millis(30000)}},
    {Method::get, "/v1/takeover/diffs/{diff_id}", "get_takeover_diff", get_diff},
    {Method::get,
     "/v1/takeover/diffs/{diff_id}/differences",
     "list_takeover_differences",
     list_differences,
     {.views = "takeover_difference"}},
    {Method::get, "/v1/merge-candidates", "list_merge_candidates", list_merge_candidates, {.views = "customer"}},
    {Method::get, "/v1/merge-candidates/{candidate_id}", "get_merge_candidate", get_merge_candidate, {.views = "customer"}},
    {Method::post, "/v1/merge-candidates/{candidate_id}/merger", "merge_customers", merge_customers},
    {Method::post, "/v1/merge-candidates/{candidate_id}/separation", "separate_customers", separate_customers},
    {Method::get, "/v1/legacy/{system}/{domain}/{key}", "resolve_legacy_key", resolve_legacy_key},
    {Method::get, "/v1/legacy-keys", "list_legacy_keys", list_legacy_keys},
};

const Controls* controls = nullptr;

tl::unexpected<Error> not_running() {
  return fail(Kind::unavailable, "TAKEOVER_NOT_RUNNING", "This server runs no takeover; start it as docs/takeover says.");
}

std::string actor_of(const Call& call) { return "user:" + call.user().value.str(); }

/// A domain that exists; else 404.
Task<Result<std::string>> known_domain(Call& call) {
  const std::string domain(call.request.segment("domain"));
  auto rows = co_await call.db().run(s::get_domain, pg::params(domain), call.request.deadline);
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  if (rows->empty()) co_return auth::not_found();
  co_return domain;
}

/// A list of which the statement takes (whose, after …, limit).
Answering list(Call& call, const pg::Statement& statement, pg::Params params, auth::Paging at) {
  params.insert(params.end(), at.after.begin(), at.after.end());
  params.push_back(pg::param(at.limit + 1));
  return call.list(statement, std::move(params), std::move(at));
}

/// Lists of moves and diffs, whose cursor is (started_at, id).
Answering list_of_domain(Call& call, const pg::Statement& statement) {
  http::QueryDecoder in(call.request);
  auto wish = auth::finish_paging(in, pg::Params(2));
  if (!wish) co_return tl::make_unexpected(std::move(wish.error()));
  auto domain = co_await known_domain(call);
  if (!domain) co_return tl::make_unexpected(std::move(domain.error()));
  co_return co_await list(call, statement, pg::params(*domain), std::move(*wish));
}

/// Starts what goes on by itself, and answers 202 with what `statement` says of it.
Answering start(Call& call, const Controls::Start& begin, const pg::Statement& statement) {
  auto domain = co_await known_domain(call);
  if (!domain) co_return tl::make_unexpected(std::move(domain.error()));
  if (!begin) co_return not_running();
  // A retry must not begin a second one.
  auto replayed = co_await call.write(s::nothing, {});
  if (!replayed) co_return tl::make_unexpected(std::move(replayed.error()));
  if (*replayed) co_return std::move(**replayed);
  auto id = co_await begin(call.db(), *domain, actor_of(call));
  if (!id) co_return tl::make_unexpected(std::move(id.error()));
  auto answer = co_await call.write(statement, pg::params(*id), 202);
  co_return auth::answered(std::move(answer), auth::not_found());
}

// Domains ----------------------------------------------------------------------------------------------------------------

Answering list_domains(Call& call) {
  http::QueryDecoder in(call.request);
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await call.show(s::list_domains, {});
}

Answering get_domain(Call& call) { return call.show(s::get_domain, pg::params(call.request.segment("domain"))); }

Answering check_switch(Call& call) {
  auto domain = co_await known_domain(call);
  if (!domain) co_return tl::make_unexpected(std::move(domain.error()));
  if (!controls->preflight) co_return not_running();
  auto checks = co_await controls->preflight(call.db(), *domain);
  if (!checks) co_return tl::make_unexpected(std::move(checks.error()));
  co_return Answer::json(R"({"items":)" + *checks + R"(,"next_cursor":null})");
}

Answering switch_domain(Call& call) { return start(call, controls->start_switch, s::answer_move); }
Answering revert_domain(Call& call) { return start(call, controls->start_revert, s::answer_move); }
Answering complete_domain(Call& call) { return start(call, controls->start_completion, s::answer_move); }
Answering unlock_domain(Call& call) { return start(call, controls->start_unlock, s::answer_move); }
Answering abandon_domain(Call& call) { return start(call, controls->start_abandonment, s::answer_move); }

// Moves ------------------------------------------------------------------------------------------------------------------

Answering list_moves(Call& call) { return list_of_domain(call, s::list_moves); }

Answering get_move(Call& call, Uuid id) { co_return co_await call.show(s::get_move, pg::params(id)); }

Answering abort_move(Call& call, Uuid id) {
  auto there = co_await call.show(s::get_move, pg::params(id));
  if (!there) co_return there;
  auto replayed = co_await call.write(s::nothing, {});
  if (!replayed) co_return tl::make_unexpected(std::move(replayed.error()));
  if (*replayed) co_return std::move(**replayed);
  std::vector<pg::Step> steps;
  steps.push_back({s::abort_move, pg::params(id)});
  auto stopped = co_await call.db().write(std::move(steps), {.deadline = call.request.deadline});
  if (!stopped) co_return tl::make_unexpected(std::move(stopped.error()));
  if (!stopped->front().boolean(0, 0))
    co_return fail(Kind::conflict, "MOVE_SEALED", "This move is decided and cannot be stopped any more; the reversion is the way back.");
  auto answer = co_await call.write(s::answer_move, pg::params(id), 202);
  co_return auth::answered(std::move(answer), auth::not_found());
}

// Rejects ----------------------------------------------------------------------------------------------------------------

Answering list_rejects(Call& call) {
  http::QueryDecoder in(call.request);
  const auto state = in.choice("state", {"OPEN", "ACCEPTED", "FIXED"}).value_or("OPEN");
  auto wish = auth::finish_paging(in, pg::Params(1));
  if (!wish) co_return tl::make_unexpected(std::move(wish.error()));
  auto domain = co_await known_domain(call);
  if (!domain) co_return tl::make_unexpected(std::move(domain.error()));
  co_return co_await list(call, s::list_rejects, pg::params(*domain, state), std::move(*wish));
}

std::optional<std::int64_t> number(const Call& call, std::string_view segment) {
  const auto text = call.request.segment(segment);
  std::int64_t id = 0;
  const auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), id);
  return bad == std::errc() && end == text.data() + text.size() ? std::optional(id) : std::nullopt;
}

/// Runs the change; when it touched nothing, says whether there is no such reject or it is past that.
Answering change_reject(Call& call, const pg::Statement& statement, std::int64_t id, pg::Params params, int status) {
  auto answer = co_await call.write(statement, std::move(params), status);
  if (!answer) co_return tl::make_unexpected(std::move(answer.error()));
  if (*answer) co_return std::move(**answer);
  auto there = co_await call.db().run(s::get_reject, pg::params(id), call.request.deadline);
  if (!there) co_return tl::make_unexpected(std::move(there.error()));
  if (there->empty()) co_return auth::not_found();
  co_return fail(Kind::conflict, "REJECT_DECIDED", "This reject is decided already: it was accepted, or its record has been stored since.");
}

Answering accept_reject(Call& call) {
  const auto id = number(call, "reject_id");
  if (!id) co_return auth::not_found();
  http::Decoder in(call.request);
  const auto reason = in.text("reason", {.required = true, .min = 1, .max = 1000, .multiline = true});
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await change_reject(call, s::accept_reject, *id, pg::params(*id, *reason, call.user()), 200);
}

Answering retry_reject(Call& call) {
  const auto id = number(call, "reject_id");
  if (!id) co_return auth::not_found();
  co_return co_await change_reject(call, s::retry_reject, *id, pg::params(*id), 202);
}

Answering acknowledge_alarm(Call& call) {
  const auto id = number(call, "alarm_id");
  if (!id) co_return auth::not_found();
  auto answer = co_await call.write(s::acknowledge_alarm, pg::params(*id));
  co_return auth::answered(std::move(answer), auth::not_found());
}

// Diffs ------------------------------------------------------------------------------------------------------------------

Answering list_diffs(Call& call) { return list_of_domain(call, s::list_diffs); }
Answering start_diff(Call& call) { return start(call, controls->start_diff, s::answer_diff); }
Answering start_repair(Call& call) { return start(call, controls->start_repair, s::answer_diff); }

Answering get_diff(Call& call, Uuid id) { co_return co_await call.show(s::get_diff, pg::params(id)); }

Answering list_differences(Call& call, Uuid id) {
  http::QueryDecoder in(call.request);
  auto wish = auth::finish_paging(in, pg::Params(2));
  if (!wish) co_return tl::make_unexpected(std::move(wish.error()));
  auto there = co_await call.show(s::get_diff, pg::params(id));
  if (!there) co_return there;
  co_return co_await list(call, s::list_differences, pg::params(id), std::move(*wish));
}

// The same person twice --------------------------------------------------------------------------------------------------

Answering list_merge_candidates(Call& call) {
  http::QueryDecoder in(call.request);
  const auto state = in.choice("state", {"OPEN", "MERGED", "DIFFERENT"}).value_or("OPEN");
  auto wish = auth::finish_paging(in, pg::Params(2));
  if (!wish) co_return tl::make_unexpected(std::move(wish.error()));
  co_return co_await list(call, s::list_merge_candidates, pg::params(state), std::move(*wish));
}

Answering get_merge_candidate(Call& call, Uuid id) { co_return co_await call.show(s::get_merge_candidate, pg::params(id)); }

/// Runs the decision; 404 where nobody proposed these two.
Answering decide(Call& call, const pg::Statement& statement, pg::Params params) {
  co_return auth::answered(co_await call.write(statement, std::move(params)), auth::not_found());
}

Answering merge_customers(Call& call, Uuid id) {
  http::Decoder in(call.request);
  const auto keep = in.uuid("keep", {.required = true});
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await decide(call, s::merge_customers, pg::params(id, *keep, call.user()));
}

Answering separate_customers(Call& call, Uuid id) { co_return co_await decide(call, s::separate_customers, pg::params(id, call.user())); }

// Old keys ---------------------------------------------------------------------------------------------------------------

Answering resolve_legacy_key(Call& call) {
  return call.show(s::resolve_legacy_key,
                   pg::params(call.request.segment("system"), call.request.segment("domain"), call.request.segment("key")));
}

Answering list_legacy_keys(Call& call) {
  http::QueryDecoder in(call.request);
  const auto id = in.uuid("record_id", {.required = true});
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await call.show(s::list_legacy_keys, pg::params(*id));
}

}  // namespace

void mount(http::Router& router, auth::Gatekeeper& gate, const Controls& given) {
  controls = &given;
  gate.mount(router, operations);
}

}  // namespace enishi::takeover

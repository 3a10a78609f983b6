// Operations of users, sessions, roles, tokens and teams (api/auth.yaml).
#include <algorithm>

#include "auth/auth.sql.hpp"
#include "auth/gate.hpp"
#include "auth/tokens.hpp"
#include "base/log.hpp"
#include "base/metrics.hpp"

namespace enishi::auth {
namespace {

using http::Answer;
using http::Method;

Answering log_in(Call& call);
Answering get_session(Call& call);
Answering log_out(Call& call);
Answering change_password(Call& call);
Answering use_one_time_link(Call& call);
Answering list_users(Call& call);
Answering create_user(Call& call);
Answering get_user(Call& call, Uuid id);
Answering update_user(Call& call, Uuid id, std::int64_t version);
Answering create_one_time_link(Call& call, Uuid id);
Answering list_user_sessions(Call& call, Uuid id);
Answering revoke_session(Call& call, Uuid id);
Answering list_roles(Call& call);
Answering set_role_permissions(Call& call);
Answering list_api_tokens(Call& call);
Answering create_api_token(Call& call);
Answering revoke_api_token(Call& call, Uuid id);
Answering list_teams(Call& call);
Answering create_team(Call& call);
Answering get_team(Call& call, Uuid id);
Answering update_team(Call& call, Uuid id, std::int64_t version);

const Operation operations[] = {
    {Method::post, "/v1/session", "log_in", log_in, {.open = true}},
    {Method::get, "/v1/session", "get_session", get_session, {.everybody = true}},
    {Method::del, "/v1/session", "log_out", log_out, {.everybody = true}},
    {Method::post, "/v1/session/password", "change_password", change_password, {.everybody = true}},
    {Method::post, "/v1/one-time-links/redemption", "use_one_time_link", use_one_time_link, {.open = true}},
    {Method::get, "/v1/users", "list_users", list_users},
    {Method::post, "/v1/users", "create_user", create_user},
    {Method::get, "/v1/users/{user_id}", "get_user", get_user},
    {Method::patch, "/v1/users/{user_id}", "update_user", update_user},
    {Method::post, "/v1/users/{user_id}/one-time-link", "create_one_time_link", create_one_time_link},
    {Method::get, "/v1/users/{user_id}/sessions", "list_user_sessions", list_user_sessions},
    {Method::del, "/v1/sessions/{session_id}", "revoke_session", revoke_session},
    {Method::get, "/v1/roles", "list_roles", list_roles},
    {Method::put, "/v1/roles/{role}/permissions", "set_role_permissions", set_role_permissions},
    {Method::get, "/v1/api-tokens", "list_api_tokens", list_api_tokens},
    {Method::post, "/v1/api-tokens", "create_api_token", create_api_token},
    {Method::del, "/v1/api-tokens/{api_token_id}", "revoke_api_token", revoke_api_token},
    {Method::get, "/v1/teams", "list_teams", list_teams},
    {Method::post, "/v1/teams", "create_team", create_team},
    {Method::get, "/v1/teams/{team_id}", "get_team", get_team},
    {Method::patch, "/v1/teams/{team_id}", "update_team", update_team},
};

metrics::Counter& logins = metrics::counter("enishi_logins_total", "Log-ins", {{"result", "ok"}});
metrics::Counter& refused_logins = metrics::counter("enishi_logins_total", "Log-ins", {{"result", "refused"}});
metrics::Counter& throttled_logins = metrics::counter("enishi_logins_total", "Log-ins", {{"result", "throttled"}});

Gate& gate_of(const Call& call) { return static_cast<Gate&>(call.gate); }

tl::unexpected<Error> invalid(FieldError field) {
  return fail(Kind::unprocessable, "VALIDATION_FAILED", "One field is wrong.", {std::move(field)});
}

/// Which constraint of the database a failed write ran into.
bool hit(const Error& error, std::string_view code, std::string_view constraint) {
  return error.code == code && error.extra.find('"' + std::string(constraint) + '"') != std::string::npos;
}

/// Puts a secret, which the database does not know and a stored answer must not hold, where the SQL said `"token" : null`.
void reveal(Answer& answer, std::string_view token) {
  for (const auto& [name, value] : answer.headers)
    if (name == "Idempotency-Replayed") return;
  const std::string_view place = R"("token" : null)";
  const auto at = answer.body.rfind(place);
  if (at != std::string::npos) answer.body.replace(at, place.size(), "\"token\" : " + json_quote(token));
}

std::string cookie(const http::Request& request, std::string_view token, std::int64_t seconds) {
  std::string out = request.secure ? "__Host-enishi=" : "enishi_session=";
  out.append(token).append("; Path=/; HttpOnly; SameSite=Lax; Max-Age=").append(std::to_string(seconds));
  if (request.secure) out.append("; Secure");
  return out;
}

std::string short_text(std::string_view text, std::size_t most) {
  auto out = std::string(text.substr(0, most));
  return valid_text(out) ? out : std::string();
}

/// What GET /v1/session says.
Answering describe(Call* call, UserId user, std::optional<Uuid> api_token, std::string csrf_token, int status) {
  auto rows = co_await call->db().read(sql::auth::me, pg::params(user, api_token), call->request.deadline);
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  if (rows->empty()) co_return not_found();
  std::string body(rows->text(0, 0));
  body.pop_back();
  body += R"(, "csrf_token" : )" + (csrf_token.empty() ? "null" : json_quote(csrf_token)) + "}";
  auto out = Answer::json(std::move(body), status);
  out.with("Cache-Control", "no-store");
  co_return out;
}

struct NewSession {
  std::string token = random_token(32);
  std::string csrf_token = random_token(32);
  Uuid id = Uuid::make();
};

tl::unexpected<Error> throttled(std::int64_t seconds) {
  throttled_logins.add();
  auto out = fail(Kind::too_many, "LOGIN_THROTTLED", "Too many failed attempts; wait " + std::to_string(seconds) + " seconds.");
  out.value().retry_after = static_cast<int>(seconds);
  return out;
}

// Log in and out ----------------------------------------------------------------------------------------------------------

Answering log_in(Call& call) {
  http::Decoder in(call.request);
  const auto login = in.text("login", {.required = true, .max = 100});
  const auto password = in.text("password", {.required = true, .max = 200});
  if (auto bad = in.finish()) co_return *bad;
  auto& gate = gate_of(call);
  const auto& config = gate.config();
  auto attempt =
      co_await call.db().run(sql::auth::begin_login, pg::params(*login, call.request.remote, config.login_failures), call.request.deadline);
  if (!attempt) co_return tl::make_unexpected(std::move(attempt.error()));
  if (!attempt->boolean(0, 0)) co_return throttled(attempt->integer(0, 1));
  const auto user = UserId::parse(attempt->text(0, 2));
  const auto verdict = co_await gate.passwords().verify(attempt->maybe(0, 3), *password);
  if (!verdict.right || !user) {
    refused_logins.add();
    auto noted =
        co_await call.db().run(sql::auth::fail_login, pg::params(call.request.remote, config.address_failures), call.request.deadline);
    if (!noted) co_return tl::make_unexpected(std::move(noted.error()));
    co_return fail(Kind::unauthenticated, "LOGIN_FAILED", "The login or the password is wrong.");
  }
  std::optional<std::string> rehashed;
  if (verdict.stale) rehashed = co_await gate.passwords().hash(*password);
  const NewSession made;
  auto params = pg::params(*login, bytea(sha256(made.token)), made.id, *user, made.csrf_token, config.session_absolute.count(),
                           call.request.remote, short_text(call.request.header("user-agent"), 300), rehashed);
  auto opened = co_await call.db().run(sql::auth::open_session, std::move(params), call.request.deadline);
  if (!opened) co_return tl::make_unexpected(std::move(opened.error()));
  logins.add();
  auto out = co_await describe(&call, *user, std::nullopt, made.csrf_token, 201);
  // Disabled between the two trips.
  if (!out && out.error().code == "NOT_FOUND") co_return fail(Kind::unauthenticated, "LOGIN_FAILED", "The login or the password is wrong.");
  if (out) out->with("Set-Cookie", cookie(call.request, made.token, config.session_absolute.count()));
  co_return out;
}

Answering get_session(Call& call) {
  std::optional<Uuid> token;
  if (call.who.by_token) token = call.who.session;
  co_return co_await describe(&call, call.user(), token, call.who.csrf_token, 200);
}

Answering log_out(Call& call) {
  if (call.who.by_token) co_return fail(Kind::forbidden, "FORBIDDEN", "A token has no session; revoke it instead.");
  auto done = co_await call.db().run(sql::auth::revoke_session_by_id, pg::params(call.who.session), call.request.deadline);
  gate_of(call).forget_sessions();
  if (!done) co_return tl::make_unexpected(std::move(done.error()));
  auto out = Answer::none();
  out.with("Set-Cookie", cookie(call.request, "", 0));
  co_return out;
}

Answering change_password(Call& call) {
  http::Decoder in(call.request);
  const auto current = in.text("current_password", {.required = true, .max = 200});
  const auto wanted = in.text("new_password", {.required = true});
  if (wanted)
    if (auto bad = refuse_password("/new_password", *wanted, call.who.login)) in.error("new_password", bad->code, bad->detail);
  if (auto bad = in.finish()) co_return *bad;
  if (call.who.by_token) co_return fail(Kind::forbidden, "FORBIDDEN", "A token cannot change its user's password.");
  auto& gate = gate_of(call);
  auto attempt = co_await call.db().run(
      sql::auth::begin_login, pg::params(call.who.login, call.request.remote, gate.config().login_failures), call.request.deadline);
  if (!attempt) co_return tl::make_unexpected(std::move(attempt.error()));
  if (!attempt->boolean(0, 0)) co_return throttled(attempt->integer(0, 1));
  const auto verdict = co_await gate.passwords().verify(attempt->maybe(0, 3), *current);
  if (!verdict.right) co_return invalid({"/current_password", "PASSWORD_WRONG", "is not the current password"});
  auto hash = co_await gate.passwords().hash(*wanted);
  // Without the Idempotency-Key: its hash of the body would be an unsalted one of the password, and the second time is harmless.
  std::vector<pg::Step> steps;
  steps.push_back({sql::auth::forgive_login, pg::params(call.who.login)});
  steps.push_back({sql::auth::set_password, pg::params(call.user(), std::move(hash), call.who.session)});
  pg::WriteOptions options{.deadline = call.request.deadline, .repeatable = true};
  auto done = co_await call.db().write(std::move(steps), options);
  gate.forget_sessions();
  if (!done) co_return tl::make_unexpected(std::move(done.error()));
  co_return Answer::none();
}

Answering use_one_time_link(Call& call) {
  http::Decoder in(call.request);
  const auto token = in.text("token", {.required = true, .max = 100});
  const auto password = in.text("password", {.required = true});
  if (auto bad = in.finish()) co_return *bad;
  auto& gate = gate_of(call);
  const auto digest = sha256(*token);
  auto link = co_await call.db().read(sql::auth::find_link, pg::params(bytea(digest)), call.request.deadline);
  if (!link) co_return tl::make_unexpected(std::move(link.error()));
  if (link->empty()) co_return fail(Kind::not_found, "NOT_FOUND", "There is no such link; ask an administrator for a new one.");
  const auto gone = fail(Kind::gone, "LINK_GONE", "This link was used or is older than 24 hours; ask an administrator for a new one.");
  if (!link->boolean(0, 2)) co_return gone;
  if (auto bad = refuse_password("/password", *password, link->text(0, 1))) co_return invalid(std::move(*bad));
  auto hash = co_await gate.passwords().hash(*password);
  const NewSession made;
  auto params = pg::params(bytea(digest), std::move(hash), bytea(sha256(made.token)), made.id, made.csrf_token,
                           gate.config().session_absolute.count(), call.request.remote, short_text(call.request.header("user-agent"), 300));
  auto used = co_await call.db().run(sql::auth::use_link, std::move(params), call.request.deadline);
  if (!used) co_return tl::make_unexpected(std::move(used.error()));
  if (used->empty()) co_return gone;
  gate.forget_sessions();
  logins.add();
  auto out = co_await describe(&call, UserId::parse(used->text(0, 0)).value_or(UserId{}), std::nullopt, made.csrf_token, 201);
  if (out) out->with("Set-Cookie", cookie(call.request, made.token, gate.config().session_absolute.count()));
  co_return out;
}

// Users -------------------------------------------------------------------------------------------------------------------

Answering list_users(Call& call) {
  http::QueryDecoder in(call.request);
  auto at = finish_paging(in, {""});
  if (!at) co_return tl::make_unexpected(std::move(at.error()));
  co_return co_await call.list(sql::auth::list_users, pg::params(call.rights(), at->after[0], at->limit + 1), *at);
}

constexpr std::string_view kLocales[] = {"ja", "en"};

void check_login(http::Decoder& in, const std::optional<std::string>& login) {
  if (!login) return;
  const auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("._@+-").find(c) != std::string_view::npos;
  };
  if (!std::all_of(login->begin(), login->end(), good)) in.error("login", "FORMAT", "letters, digits and . _ @ + - only");
}

/// Unique and foreign keys of a user's write as field errors.
Error user_error(Error error) {
  if (hit(error, "UNIQUE_VIOLATION", "app_user_pkey"))
    return fail(Kind::conflict, "ID_TAKEN", "A user with this id exists already.").value();
  if (hit(error, "UNIQUE_VIOLATION", "app_user_login")) return fail(Kind::conflict, "LOGIN_TAKEN", "Another user has this login.").value();
  if (hit(error, "FOREIGN_KEY_VIOLATION", "app_user_team_id_fkey"))
    return invalid({"/team_id", "UNKNOWN", "there is no such team"}).value();
  if (hit(error, "FOREIGN_KEY_VIOLATION", "user_role_role_fkey")) return invalid({"/roles", "UNKNOWN", "there is no such role"}).value();
  return error;
}

Answering create_user(Call& call) {
  http::Decoder in(call.request);
  const auto id = in.uuid("id");
  const auto login = in.text("login", {.required = true, .min = 2, .max = 100});
  check_login(in, login);
  const auto name = in.text("display_name", {.required = true, .min = 1, .max = 200});
  const auto team = in.uuid("team_id");
  const auto locale = in.choice("locale", kLocales);
  const auto roles = in.texts("roles", 20, {.min = 2, .max = 40});
  if (auto bad = in.finish()) co_return *bad;
  auto params = pg::params(id.value_or(Uuid::make()), *login, *name, team, locale, roles.value_or(std::vector<std::string>{}));
  auto made = co_await call.write(sql::auth::create_user, std::move(params), 201);
  if (!made) co_return tl::make_unexpected(user_error(std::move(made.error())));
  co_return std::move(**made);
}

Answering get_user(Call& call, Uuid id) { return call.show(sql::auth::get_user, pg::params(call.rights(), id)); }

Answering update_user(Call& call, Uuid id, std::int64_t version) {
  http::Decoder in(call.request);
  const auto login = in.text("login", {.not_null = true, .min = 2, .max = 100});
  check_login(in, login);
  const auto name = in.text("display_name", {.not_null = true, .min = 1, .max = 200});
  const bool has_team = in.present("team_id");
  const auto team = in.uuid("team_id");
  const auto active = in.boolean("active", {.not_null = true});
  const auto locale = in.choice("locale", kLocales, {.not_null = true});
  const auto roles = in.texts("roles", 20, {.not_null = true, .min = 2, .max = 40});
  if (auto bad = in.finish()) co_return *bad;
  const auto given = roles ? pg::param(*roles) : pg::Param();
  auto done = co_await call.write(sql::auth::update_user, pg::params(id, version, login, name, has_team, team, active, locale, given));
  gate_of(call).forget_sessions();
  if (!done) co_return tl::make_unexpected(user_error(std::move(done.error())));
  co_return co_await changed(call, std::move(done), sql::auth::get_user, pg::params(call.rights(), id));
}

Answering create_one_time_link(Call& call, Uuid id) {
  const auto token = random_token(32);
  auto made = co_await call.write(sql::auth::make_link, pg::params(id, bytea(sha256(token))), 201);
  if (!made) co_return tl::make_unexpected(std::move(made.error()));
  if (!*made) co_return not_found();
  reveal(**made, token);
  (*made)->with("Cache-Control", "no-store");
  co_return std::move(**made);
}

// Sessions ----------------------------------------------------------------------------------------------------------------

Answering list_user_sessions(Call& call, Uuid id) {
  http::QueryDecoder in(call.request);
  auto at = finish_paging(in, pg::params(Uuid{}));
  if (!at) co_return tl::make_unexpected(std::move(at.error()));
  auto seen = co_await call.db().read(sql::auth::get_user, pg::params(call.rights(), id), call.request.deadline);
  if (!seen) co_return tl::make_unexpected(std::move(seen.error()));
  if (seen->empty()) co_return not_found();
  auto params = pg::params(call.rights(), id, call.who.session, gate_of(call).config().session_idle.count(), at->after[0], at->limit + 1);
  co_return co_await call.list(sql::auth::list_user_sessions, std::move(params), *at);
}

Answering revoke_session(Call& call, Uuid id) {
  auto done = co_await call.write(sql::auth::revoke_session, pg::params(call.rights(), id), 204);
  gate_of(call).forget_sessions();
  co_return answered(std::move(done), not_found());
}

// Roles -------------------------------------------------------------------------------------------------------------------

Answering list_roles(Call& call) { return call.show(sql::auth::list_roles, {}); }

Answering set_role_permissions(Call& call) {
  http::Decoder in(call.request);
  std::vector<std::string> wanted, scopes;
  std::vector<std::pair<std::string, std::string>> unknown;  // pointer, operation
  const auto& gate = gate_of(call);
  in.each("permissions", 500,
          [&](http::Decoder& item) {
            const auto operation = item.text("operation", {.required = true, .max = 100});
            const auto scope = item.choice("scope", {"own", "team", "all"}, {.required = true});
            if (!operation || !scope) return;
            if (!gate.knows(*operation)) unknown.emplace_back("/permissions/" + std::to_string(item.index()) + "/operation", *operation);
            if (std::find(wanted.begin(), wanted.end(), *operation) != wanted.end())
              item.error("operation", "TWICE", "stands here already");
            wanted.push_back(*operation);
            scopes.push_back(*scope);
          },
          {.required = true});
  if (auto bad = in.finish()) co_return *bad;
  if (!unknown.empty()) {
    // The release that runs beside this one may know them: what a role has already is no mistake.
    auto rows = co_await call.db().run(sql::auth::granted_operations, {}, call.request.deadline);
    if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
    std::vector<FieldError> wrong;
    for (const auto& [pointer, operation] : unknown) {
      bool granted = false;
      for (std::size_t i = 0; i < rows->size(); ++i) granted = granted || rows->text(i, 0) == operation;
      if (!granted) wrong.push_back({pointer, "UNKNOWN", "there is no operation " + operation});
    }
    if (!wrong.empty())
      co_return fail(Kind::unprocessable, "VALIDATION_FAILED", "Some operations do not exist; `errors` names each.", std::move(wrong));
  }
  const std::string role(call.request.segment("role"));
  auto done = co_await call.write(sql::auth::set_role_permissions, pg::params(role, wanted, scopes));
  gate_of(call).forget_sessions();
  if (!done && done.error().code == "FOREIGN_KEY_VIOLATION") co_return not_found();
  co_return answered(std::move(done), not_found());
}

// API tokens --------------------------------------------------------------------------------------------------------------

Answering list_api_tokens(Call& call) {
  http::QueryDecoder in(call.request);
  auto at = finish_paging(in, pg::params(Uuid{}));
  if (!at) co_return tl::make_unexpected(std::move(at.error()));
  co_return co_await call.list(sql::auth::list_api_tokens, pg::params(call.rights(), at->after[0], at->limit + 1), *at);
}

Answering create_api_token(Call& call) {
  http::Decoder in(call.request);
  const auto id = in.uuid("id");
  const auto user = in.uuid("user_id");
  const auto name = in.text("name", {.required = true, .min = 1, .max = 100});
  const auto scopes = in.texts("scopes", 200, {.required = true, .min = 1, .max = 100});
  const auto expires = in.timestamp("expires_at");
  if (scopes && scopes->empty()) in.error("scopes", "REQUIRED", "name at least one operation, or * for all that the user may");
  if (scopes)
    for (const auto& scope : *scopes)
      if (scope != "*" && !gate_of(call).knows(scope)) in.error("scopes", "UNKNOWN", "there is no operation " + scope);
  if (auto bad = in.finish()) co_return *bad;
  if (call.who.by_token) co_return fail(Kind::forbidden, "FORBIDDEN", "A token cannot make tokens; log in for that.");
  const auto token = "eni_" + random_token(32);
  auto params = pg::params(call.rights(), user, id.value_or(Uuid::make()), *name, bytea(sha256(token)), *scopes, expires);
  auto made = co_await call.write(sql::auth::create_api_token, std::move(params), 201);
  if (!made) {
    if (hit(made.error(), "UNIQUE_VIOLATION", "api_token_pkey"))
      co_return fail(Kind::conflict, "ID_TAKEN", "A token with this id exists already.");
    co_return tl::make_unexpected(std::move(made.error()));
  }
  if (!*made) co_return invalid({"/user_id", "UNKNOWN", "there is no such user, or you may not make tokens for them"});
  reveal(**made, token);
  (*made)->with("Cache-Control", "no-store");
  co_return std::move(**made);
}

Answering revoke_api_token(Call& call, Uuid id) {
  auto done = co_await call.write(sql::auth::revoke_api_token, pg::params(call.rights(), id), 204);
  gate_of(call).forget_sessions();
  co_return answered(std::move(done), not_found());
}

// Teams -------------------------------------------------------------------------------------------------------------------

Error team_error(Error error) {
  if (hit(error, "UNIQUE_VIOLATION", "team_pkey")) return fail(Kind::conflict, "ID_TAKEN", "A team with this id exists already.").value();
  if (hit(error, "UNIQUE_VIOLATION", "team_name")) return fail(Kind::conflict, "NAME_TAKEN", "Another team has this name.").value();
  if (hit(error, "FOREIGN_KEY_VIOLATION", "team_parent_id_fkey"))
    return invalid({"/parent_id", "UNKNOWN", "there is no such team"}).value();
  return error;
}

Answering list_teams(Call& call) {
  http::QueryDecoder in(call.request);
  auto at = finish_paging(in, pg::params(Uuid{}));
  if (!at) co_return tl::make_unexpected(std::move(at.error()));
  co_return co_await call.list(sql::auth::list_teams, pg::params(at->after[0], at->limit + 1), *at);
}

Answering create_team(Call& call) {
  http::Decoder in(call.request);
  const auto id = in.uuid("id");
  const auto name = in.text("name", {.required = true, .min = 1, .max = 100});
  const auto parent = in.uuid("parent_id");
  if (auto bad = in.finish()) co_return *bad;
  auto made = co_await call.write(sql::auth::create_team, pg::params(id.value_or(Uuid::make()), *name, parent), 201);
  gate_of(call).forget_sessions();
  if (!made) co_return tl::make_unexpected(team_error(std::move(made.error())));
  co_return std::move(**made);
}

Answering get_team(Call& call, Uuid id) { return call.show(sql::auth::get_team, pg::params(id)); }

Answering update_team(Call& call, Uuid id, std::int64_t version) {
  http::Decoder in(call.request);
  const auto name = in.text("name", {.not_null = true, .min = 1, .max = 100});
  const bool has_parent = in.present("parent_id");
  const auto parent = in.uuid("parent_id");
  if (auto bad = in.finish()) co_return *bad;
  auto done = co_await call.write(sql::auth::update_team, pg::params(id, version, name, has_parent, parent));
  gate_of(call).forget_sessions();
  if (!done) co_return tl::make_unexpected(team_error(std::move(done.error())));
  co_return co_await changed(call, std::move(done), sql::auth::get_team, pg::params(id));
}

}  // namespace

void mount(http::Router& router, Gate& gate) { gate.mount(router, operations); }

}  // namespace enishi::auth

#include "auth/accounts.hpp"

#include "auth/auth.sql.hpp"
#include "auth/tokens.hpp"

namespace enishi::auth {
namespace {

pg::Step as_console() {
  return {sql::auth::begin_write, pg::params("console", "console-" + Uuid::make().str(), nullptr, nullptr, nullptr)};
}

}  // namespace

std::string link_of(const std::string& base_url, const std::string& token) {
  const bool slash = base_url.ends_with('/');
  return base_url + (slash ? "welcome#" : "/welcome#") + token;
}

Task<Result<std::string>> ensure_first_admin(pg::Database& db) {
  const auto token = random_token(32);
  std::vector<pg::Step> steps;
  steps.push_back(as_console());
  steps.push_back({sql::auth::lock_first_admin, {}});
  steps.push_back({sql::auth::create_first_admin, pg::params(UserId::make(), "管理者 Administrator", bytea(sha256(token)))});
  auto made = co_await db.write(std::move(steps), {.deadline = Deadline::in(Millis(60000))});
  if (!made) co_return tl::make_unexpected(std::move(made.error()));
  if (made->back().empty()) co_return std::string();
  co_return token;
}

Task<Result<std::string>> make_link(pg::Database& db, std::string login) {
  auto user = co_await db.run(sql::auth::find_user_by_login, pg::params(login));
  if (!user) co_return tl::make_unexpected(std::move(user.error()));
  if (user->empty()) co_return fail(Kind::not_found, "USER_UNKNOWN", "No active user has the login " + login + ".");
  const auto token = random_token(32);
  std::vector<pg::Step> steps;
  steps.push_back(as_console());
  steps.push_back({sql::auth::make_link, pg::params(user->text(0, 0), bytea(sha256(token)))});
  auto made = co_await db.write(std::move(steps));
  if (!made) co_return tl::make_unexpected(std::move(made.error()));
  co_return token;
}

Task<Result<std::string>> add_user(pg::Database& db, NewUser user) {
  std::optional<Uuid> team;
  if (user.team) {
    auto found = co_await db.run(sql::auth::find_team_by_name, pg::params(*user.team));
    if (!found) co_return tl::make_unexpected(std::move(found.error()));
    if (found->empty()) co_return fail(Kind::not_found, "TEAM_UNKNOWN", "There is no team " + *user.team + ".");
    team = Uuid::parse(found->text(0, 0));
  }
  const auto id = UserId::make();
  const auto token = random_token(32);
  std::vector<pg::Step> steps;
  steps.push_back(as_console());
  steps.push_back({sql::auth::create_user, pg::params(id, user.login, user.display_name, team, nullptr, user.roles)});
  steps.push_back({sql::auth::make_link, pg::params(id, bytea(sha256(token)))});
  auto made = co_await db.write(std::move(steps));
  if (made) co_return token;
  const auto& error = made.error();
  if (error.code == "UNIQUE_VIOLATION") co_return fail(Kind::conflict, "LOGIN_TAKEN", "Another user has the login " + user.login + ".");
  if (error.code == "FOREIGN_KEY_VIOLATION") co_return fail(Kind::unprocessable, "ROLE_UNKNOWN", "One of the roles does not exist.");
  if (error.code == "CHECK_VIOLATION")
    co_return fail(Kind::unprocessable, "LOGIN_INVALID",
                   "A login has 2 to 100 letters, digits or . _ @ + -, a name at least one character.");
  co_return tl::make_unexpected(error);
}

}  // namespace enishi::auth

// Users from the console: the first administrator, and whoever lost their way in.
//
//   auto token = co_await ensure_first_admin(db);
//   if (token && !token->empty()) fmt::print("{}\n", link_of("http://127.0.0.1:8080", *token));   // only ever once: there was no user yet
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "pg/database.hpp"

namespace enishi::auth {

/// BASE/welcome#TOKEN: what follows # is not sent to any server or log.
std::string link_of(const std::string& base_url, const std::string& token);

/// When there is no user at all, makes the administrator `admin`. Returns the token of a link for one use within 24 hours when they were
/// made now, or when nobody has a password and no link is open any more (the first one was lost); else an empty text. Several servers that
/// start at once on one database make one administrator.
Task<Result<std::string>> ensure_first_admin(pg::Database& db);

/// Token of a new link for a user; the ones before it end. USER_UNKNOWN when no active user has this login.
Task<Result<std::string>> make_link(pg::Database& db, std::string login);

struct NewUser {
  std::string login, display_name;
  std::vector<std::string> roles;
  std::optional<std::string> team;  ///< by its name
};
/// Makes a user and returns their link's token. LOGIN_TAKEN, ROLE_UNKNOWN, TEAM_UNKNOWN, LOGIN_INVALID.
Task<Result<std::string>> add_user(pg::Database& db, NewUser user);

}  // namespace enishi::auth

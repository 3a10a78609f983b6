#include <fmt/format.h>

#include "auth/accounts.hpp"
#include "cli/commands.hpp"
#include "cli/offline.hpp"
#include "cli/target.hpp"

namespace enishi::cli {

Result<int> user(Settings settings, UserCommand command) {
  auto target = find_target(settings, "enishi_app", false);
  if (!target) return tl::make_unexpected(target.error());
  pg::Config config;
  config.conninfo = target->conninfo;
  if (!settings.database.empty()) config.role = "enishi_app";
  auto token = with_database<std::string>(config, [&command](pg::Database& db) {
    if (command.what == UserCommand::What::link) return auth::make_link(db, command.login);
    return auth::add_user(db, {command.login, command.display_name, command.roles, command.team});
  });
  if (target->started) target->started->stop();
  if (!token) return tl::make_unexpected(token.error());
  const auto base = settings.public_url.empty() ? "http://" + settings.listen : settings.public_url;
  fmt::print("{} chooses a password here (once, within 24 hours): {}\n", command.login, auth::link_of(base, *token));
  return 0;
}

}  // namespace enishi::cli

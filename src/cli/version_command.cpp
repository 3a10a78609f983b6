#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cluster/migrations.hpp"

namespace enishi::cli {

Result<int> version() {
  auto all = cluster::embedded_migrations();
  if (!all) return tl::make_unexpected(all.error());
  fmt::print("enishi {} (schema {})\n", ENISHI_VERSION, all->empty() ? 0 : all->back().version);
  return 0;
}

}  // namespace enishi::cli

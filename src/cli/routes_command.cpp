#include <fmt/format.h>

#include "cli/app.hpp"
#include "cli/commands.hpp"

namespace enishi::cli {

Result<int> routes() {
  static constexpr const char* kMethods[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"};
  Shards shards(1);
  Offload offload(1, 1);
  App app{.settings = {}, .shards = shards, .offload = offload, .databases = {}};
  open_gate(app);
  http::Router router;
  mount_all(router, app);
  std::string out;
  for (const auto& route : router.routes())
    out += fmt::format("{}{{\"method\":\"{}\",\"path\":{},\"operation\":{}}}", out.empty() ? "[\n  " : ",\n  ",
                       kMethods[static_cast<int>(route.method)], json_quote(route.pattern), json_quote(route.operation));
  fmt::print("{}\n]\n", out.empty() ? "[" : out);
  return 0;
}

}  // namespace enishi::cli

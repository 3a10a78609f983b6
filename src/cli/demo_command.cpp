#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "cli/commands.hpp"
#include "cli/demo/demo.hpp"
#include "cli/offline.hpp"
#include "cli/target.hpp"
#include "cluster/migrations.hpp"

namespace enishi::cli {
namespace {

/// Rewrites one line on a terminal; otherwise a line for every tenth.
class Progress {
 public:
  void operator()(std::string_view what, double share) {
    const bool terminal = isatty(STDERR_FILENO) == 1;
    const auto percent = static_cast<int>(share * 100);
    if (percent == last_ || (!terminal && percent / 10 == last_ / 10)) return;
    last_ = percent;
    const auto spent = std::chrono::duration<double>(steady_now() - began_).count();
    fmt::print(stderr, "{}{:3}% {:<24} {:.0f} s left {}", terminal ? "\r" : "", percent, what, share > 0.01 ? spent / share - spent : 0.0,
               terminal ? "  " : "\n");
    if (terminal && percent >= 99) fmt::print(stderr, "\n");
  }

 private:
  SteadyTime began_ = steady_now();
  int last_ = -1;
};

}  // namespace

Result<demo::DemoReport> load_demo(const std::string& owner, demo::DemoOptions options) {
  Progress progress;
  return with_lease<demo::DemoReport>(owner, [&](pg::Lease& lease) {
    return demo::make_demo(lease, options, [&](std::string_view what, double share) { progress(what, share); });
  });
}

Result<int> demo_command(Settings settings, demo::DemoOptions options) {
  auto all = cluster::embedded_migrations();
  if (!all) return tl::make_unexpected(all.error());
  auto target = find_target(settings, "enishi_owner", true);
  if (!target) return tl::make_unexpected(target.error());
  auto migrated = with_lease<cluster::MigrationReport>(target->conninfo,
                                                       [&](pg::Lease& lease) { return cluster::migrate(lease, *all, ENISHI_VERSION); });
  if (!migrated) return tl::make_unexpected(migrated.error());
  auto made = load_demo(target->conninfo, options);
  if (!made) return tl::make_unexpected(made.error());
  fmt::print("{} customers with {} phones, {} inquiries, {} calls, {} open tasks, {} visits, {} bans, {} rows of history in {:.0f} s\n",
             made->customers, made->phones, made->inquiries, made->calls, made->tasks, made->appointments, made->bans, made->history,
             made->seconds);
  return 0;
}

}  // namespace enishi::cli

#include <fmt/format.h>
#include <unistd.h>

#include "cli/commands.hpp"
#include "cli/offline.hpp"
#include "cli/target.hpp"
#include "crm/erasure/erasure.hpp"
#include "crm/history/history_api.hpp"

namespace enishi::cli {
namespace {

namespace history = crm::history;

/// A line a second on a terminal, one every five seconds in a log.
class Printer {
 public:
  explicit Printer(bool quiet) : quiet_(quiet), terminal_(isatty(STDERR_FILENO) != 0) {}
  void operator()(double done, double seconds_left) {
    if (quiet_ || (done < 1 && steady_now() - last_ < std::chrono::seconds(terminal_ ? 1 : 5))) return;
    last_ = steady_now();
    fmt::print(stderr, "{}verify: {:3.0f} %, about {:.0f} s left{}", terminal_ ? "\r\033[K" : "", done * 100, seconds_left,
               terminal_ && done < 1 ? "" : "\n");
  }

 private:
  bool quiet_, terminal_;
  SteadyTime last_ = steady_now();
};

}  // namespace

Result<int> verify_history(Settings settings, HistoryCommand command) {
  auto target = find_target(settings, "enishi_owner", false);
  if (!target) return tl::make_unexpected(target.error());
  auto report = with_lease<history::ChainReport>(
      target->conninfo, [&](pg::Lease& lease) { return history::verify_chain(lease, Printer(command.json), command.anchor); });
  if (!report) return tl::make_unexpected(report.error());
  if (command.json) {
    fmt::print("{}\n", history::to_json(*report));
    return report->whole() ? 0 : 1;
  }
  for (const auto& problem : report->problems) fmt::print("{}\n", history::to_text(problem));
  fmt::print("{} rows in {} seals, {} not sealed yet. Head: {}\n", report->rows, report->seals, report->unsealed,
             report->head.empty() ? "none" : report->head);
  if (report->whole())
    fmt::print("The history is what was sealed.\n");
  else
    fmt::print("The history is NOT what was sealed: {}{} problems.\n", report->problems.size() >= 1000 ? "at least " : "",
               report->problems.size());
  return report->whole() ? 0 : 1;
}

Result<int> reapply_erasures(Settings settings, std::string list) {
  if (access(list.c_str(), R_OK) != 0) return fail(Kind::malformed, "CONFIG_INVALID", "cannot read " + list);
  auto lines = crm::erasure::read_list(list);
  if (!lines) return tl::make_unexpected(lines.error());
  auto target = find_target(settings, "enishi_owner", false);
  if (!target) return tl::make_unexpected(target.error());
  auto done = with_lease<int>(target->conninfo, [&](pg::Lease& lease) { return crm::erasure::reapply(lease, std::move(*lines)); });
  if (!done) return tl::make_unexpected(done.error());
  fmt::print("{} people erased again.\n", *done);
  return 0;
}

}  // namespace enishi::cli

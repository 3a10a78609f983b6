#include "cli/takeover_checks.hpp"

#include <fmt/format.h>

#include "base/log.hpp"
#include "takeover/switch/fence.hpp"
#include "takeover/switch/reverse.hpp"

namespace enishi::cli {
namespace {

constexpr int kRehearsed = 5;

std::string check(std::string_view name, bool ok, std::string_view detail) {
  return fmt::format(R"({{"check":{},"ok":{},"detail":{}}})", json_quote(name), ok, json_quote(detail));
}

Task<std::string> fence_check(takeover::Place place, Deadline deadline) {
  std::string trouble;
  try {
    const auto fence = co_await takeover::fence_state(*place.source, place.domain(), deadline);
    if (!fence) co_return check("FENCE", false, fence.error().detail);
    if (fence->state.empty() || fence->tables == 0)
      co_return check("FENCE", false, "The owner of the source's tables has not installed the fence: `enishi takeover plan` prints it.");
    co_return check("FENCE", true, fmt::format("{} tables, {}", fence->tables, fence->state));
  } catch (const std::runtime_error& e) {
    trouble = e.what();
  }
  co_return check("FENCE", false, trouble);
}

Task<std::string> reverse_check(takeover::Place place, Deadline deadline) {
  std::string trouble;
  try {
    const auto rehearsed = co_await takeover::rehearse_reverse(place, kRehearsed, deadline);
    if (!rehearsed) co_return check("REVERSE", false, rehearsed.error().detail);
    co_return check("REVERSE", true, "Written back in transactions that were rolled back.");
  } catch (const std::runtime_error& e) {
    trouble = e.what();
  }
  co_return check("REVERSE", false, trouble);
}

Task<Result<std::string>> asked_at_the_source(App& app, std::string domain) {
  const auto deadline = Deadline::in(Millis(20000));
  auto place = co_await takeover::find_place(*app.databases[0], app.shards[0], app.offload, std::move(domain), deadline);
  if (!place) co_return tl::make_unexpected(std::move(place.error()));
  auto fence = co_await fence_check(*place, deadline);
  auto reverse = co_await reverse_check(*place, deadline);
  co_return "[" + fence + "," + reverse + "]";
}

}  // namespace

// Connections to a source belong to the first shard.
Task<Result<std::string>> switch_checks(App& app, std::string domain) {
  co_return co_await asio::co_spawn(app.shards[0].executor(), asked_at_the_source(app, std::move(domain)), use_task);
}

}  // namespace enishi::cli

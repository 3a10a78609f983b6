#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/offline.hpp"
#include "cli/target.hpp"
#include "takeover/switch/diff.hpp"
#include "takeover/switch/fence.hpp"
#include "takeover/switch/moves.hpp"
#include "takeover/switch/unlock.hpp"

namespace enishi::cli {
namespace {

using What = TakeoverMove::What;

Task<Result<std::string>> compare(takeover::Place place, TakeoverMove wanted) {
  takeover::DiffOptions options;
  options.records_per_second = wanted.records_per_second;
  options.resume = wanted.resume;
  auto report = wanted.what == What::repair ? co_await takeover::repair(place, options) : co_await takeover::diff(place, options);
  if (!report) co_return tl::make_unexpected(std::move(report.error()));
  if (wanted.json)
    co_return fmt::format(R"({{"run":"{}","records":{},"differences":{},"seconds":{:.3f}}})", report->run, report->records,
                          report->differences, report->seconds);
  co_return fmt::format(
      "{} records compared in {:.1f} s: {}.", report->records, report->seconds,
      report->differences == 0 ? std::string("both sides are equal") : fmt::format("{} differ (run {})", report->differences, report->run));
}

Task<Result<std::string>> move(takeover::Place place, TakeoverMove wanted) {
  takeover::MoveOptions options;
  options.hold = Millis(wanted.hold_milliseconds);
  options.fence_seconds = wanted.lapse_seconds;
  options.despite_differences = wanted.despite_differences;
  Result<takeover::MoveReport> done = fail(Kind::internal, "INTERNAL", "nothing was done");
  if (wanted.what == What::switch_over) done = co_await takeover::switch_domain(place, options);
  if (wanted.what == What::revert) done = co_await takeover::revert_domain(place, options);
  if (wanted.what == What::complete) done = co_await takeover::complete_domain(place, options);
  if (wanted.what == What::unlock) done = co_await takeover::unlock_domain(place, options);
  if (wanted.what == What::abandon) done = co_await takeover::abandon_domain(place, options);
  if (!done) co_return tl::make_unexpected(std::move(done.error()));
  if (wanted.json)
    co_return fmt::format(R"({{"move":"{}","state":"{}","epoch":{},"held_ms":{:.1f},"compared":{}}})", done->move, done->state, done->epoch,
                          done->held_ms, done->compared);
  if (wanted.what == What::unlock)
    co_return fmt::format("The domain {} is {} and can be written{}.", wanted.domain, done->state,
                          done->state == "LEGACY" ? "; every record is read from its legacy system again" : "");
  if (wanted.what == What::abandon)
    co_return fmt::format("The domain {} is Enishi's own. The publication at the source belongs to its owner: drop publication {}",
                          wanted.domain, place.mapping->publication());
  co_return fmt::format("The domain {} is {}; writes were held for {:.0f} ms.", wanted.domain, done->state, done->held_ms);
}

Task<Result<std::string>> work(pg::Database* local, Shard* shard, Offload* offload, TakeoverMove wanted) {
  auto place = co_await takeover::find_place(*local, *shard, *offload, wanted.domain, Deadline::in(Millis(15000)));
  if (!place) co_return tl::make_unexpected(std::move(place.error()));
  auto said = wanted.what == What::diff || wanted.what == What::repair ? co_await compare(*place, wanted) : co_await move(*place, wanted);
  place->source->db().close();
  co_return said;
}

}  // namespace

Result<int> takeover_move(Settings settings, TakeoverMove wanted) {
  if (wanted.what == What::fence) {
    auto mapping = takeover::read_mapping(wanted.mapping);
    if (!mapping) return tl::make_unexpected(mapping.error());
    fmt::print("{}", takeover::fence_setup_sql(*mapping, wanted.login));
    return 0;
  }
  set_log_level(Level::warning);
  auto target = find_target(settings, "enishi_app", false);
  if (!target) return tl::make_unexpected(target.error());
  pg::Config config;
  config.conninfo = target->conninfo;
  config.application_name = "enishi-cli";
  config.leases = 4;
  if (!settings.database.empty()) config.role = "enishi_app";
  Shard shard(0);
  Offload offload(1, 16);
  Result<std::string> said = fail(Kind::internal, "INTERNAL", "nothing was done");
  {
    pg::Database db(shard, offload, config);
    try {
      said = run_task(shard.context(), work(&db, &shard, &offload, wanted));
    } catch (const std::exception& e) {
      said = fail(Kind::unavailable, "DATABASE_UNAVAILABLE", std::string("a database cannot be used: ") + e.what());
    }
    db.close();
  }
  if (target->started) target->started->stop();
  if (!said) return tl::make_unexpected(std::move(said.error()));
  fmt::print("{}\n", *said);
  return said->find(" differ (run ") != std::string::npos ? 1 : 0;
}

}  // namespace enishi::cli

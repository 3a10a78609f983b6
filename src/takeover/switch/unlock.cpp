#include "takeover/switch/unlock.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "base/log.hpp"
#include "takeover/switch/at_source.sql.hpp"
#include "takeover/switch/fence.hpp"
#include "takeover/switch/moves.sql.hpp"
#include "takeover/switch/reverse.hpp"

namespace enishi::takeover {
namespace {

namespace s = sql::moves;
namespace at = sql::at_source;
namespace json = boost::json;

/// Records made here that the reverse stream had written before this database was lost: the source knows their keys, this database must
/// learn them, or the mirror would make them a second time.
Task<Result<void>> learn_queued(const Place& place, int era, Deadline deadline) {
  auto records = co_await place.local->run(s::queued_without_key, pg::params(place.domain(), place.system()), deadline);
  if (!records) co_return tl::make_unexpected(std::move(records.error()));
  if (records->empty()) co_return Result<void>();
  co_return co_await learn_keys(place, records->texts(0), era, deadline);
}

Task<Result<void>> end_stream(const Place& place, const std::string& slot, Deadline deadline) {
  auto ended = co_await place.source->db().run(at::end_stream, pg::params(slot), deadline);
  if (!ended) co_return tl::make_unexpected(std::move(ended.error()));
  co_return Result<void>();
}

Task<Result<MoveReport>> unlocked(const Place& place, const Ownership& own, std::string move) {
  const auto deadline = Deadline::in(Millis(20000));
  MoveReport report;
  report.move = std::move(move);
  report.state = own.state;
  report.epoch = own.epoch;
  auto fence = co_await fence_state(*place.source, place.domain(), deadline);
  if (!fence) co_return tl::make_unexpected(std::move(fence.error()));
  auto unknown = co_await has_unknown_batches(place, *fence, deadline);
  if (!unknown) co_return tl::make_unexpected(std::move(unknown.error()));
  const bool behind = fence->epoch > own.epoch || *unknown;
  pg::Param to;
  if (behind) {
    report.state = "LEGACY";
    report.epoch = std::max(fence->epoch, own.epoch) + 1;
    to = pg::param(report.epoch);
    if (auto learnt = co_await learn_queued(place, own.era, deadline); !learnt) co_return tl::make_unexpected(std::move(learnt.error()));
    // Transactions here are numbered from an earlier time: the position of the reverse stream begins anew.
    const std::vector<std::string> none;
    auto reset = co_await place.source->db().run(at::note_reversed, pg::params(place.domain(), 0, 0, none, none), deadline);
    if (!reset) co_return tl::make_unexpected(std::move(reset.error()));
  }
  auto moved = co_await place.local->run(s::unlock_domain, pg::params(place.domain(), own.epoch, to), deadline);
  if (!moved) co_return tl::make_unexpected(std::move(moved.error()));
  if (!moved->boolean(0, 0)) co_return fail(Kind::conflict, "MOVE_RUNNING", "Somebody else moved the domain " + place.domain() + ".");
  if (!behind) co_return report;
  if (auto lowered = co_await lower_fence(*place.source, place.domain(), report.epoch, deadline); !lowered)
    log_warning("the fence is not lowered yet; the server does it", {{"domain", place.domain()}, {"error", lowered.error().detail}});
  // The mirror that runs finds what it has to do when it connects again.
  if (auto ended = co_await end_stream(place, own.slot, deadline); !ended)
    log_warning("the mirror was not told to begin anew", {{"domain", place.domain()}, {"error", ended.error().detail}});
  co_return report;
}

Task<> end(const Place& place, std::string move, std::string state, json::object detail) {
  auto done = co_await place.local->run(s::end_move, pg::params(move, state, json::serialize(detail)), Deadline::in(Millis(5000)));
  if (!done) log_warning("the end of a move was not noted", {{"domain", place.domain()}, {"error", done.error().detail}});
}

}  // namespace

Task<Result<MoveReport>> unlock_domain(Place place, MoveOptions options) {
  const auto deadline = Deadline::in(Millis(10000));
  auto own = co_await ownership(*place.local, place.domain(), deadline);
  if (!own) co_return tl::make_unexpected(std::move(own.error()));
  auto lock = co_await place.local->lease(deadline);
  // The server's keeper looks at such a domain every few seconds, with the same lock.
  for (const auto until = Deadline::in(Millis(5000));;) {
    auto got = co_await lock.script(fmt::format("select pg_try_advisory_lock(1162760523, {})", own->number), deadline);
    if (!got) co_return tl::make_unexpected(std::move(got.error()));
    if (got->boolean(0, 0)) break;
    if (until.passed()) co_return fail(Kind::conflict, "MOVE_RUNNING", "The domain " + place.domain() + " is being moved already.");
    co_await sleep(Millis(50));
  }
  own = co_await ownership(*place.local, place.domain(), deadline);
  if (!own) co_return tl::make_unexpected(std::move(own.error()));
  if (own->read_only.empty()) co_return fail(Kind::conflict, "NOT_READ_ONLY", "The domain " + place.domain() + " can be written as it is.");
  auto left = co_await place.local->run(s::end_moves_left, pg::params(place.domain(), "ABORTED", options.id, 0.0), deadline);
  if (!left) co_return tl::make_unexpected(std::move(left.error()));
  auto row =
      co_await place.local->run(s::begin_move, pg::params(place.domain(), "UNLOCK", own->epoch, options.actor, options.id), deadline);
  if (!row) co_return tl::make_unexpected(std::move(row.error()));
  const std::string move(row->text(0, 0));
  std::string trouble;
  Result<MoveReport> done = fail(Kind::unavailable, "UNAVAILABLE", "");
  try {
    done = co_await unlocked(place, *own, move);
  } catch (const std::exception& e) {
    trouble = e.what();
  }
  if (!trouble.empty()) done = fail(Kind::unavailable, "UNAVAILABLE", std::move(trouble));
  json::object detail;
  if (!done) detail = {{"code", done.error().code}, {"detail", done.error().detail}};
  co_await end(place, move, done ? "DONE" : "ABORTED", std::move(detail));
  if (done) log_info("a domain can be written again", {{"domain", place.domain()}, {"state", done->state}, {"epoch", done->epoch}});
  co_return done;
}

}  // namespace enishi::takeover

#include "takeover/switch/moves.hpp"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "base/log.hpp"
#include "base/metrics.hpp"
#include "takeover/switch/at_source.sql.hpp"
#include "takeover/switch/diff.sql.hpp"
#include "takeover/switch/fence.hpp"
#include "takeover/switch/moves.sql.hpp"
#include "takeover/switch/reverse.hpp"
#include "takeover/switch/unlock.hpp"

namespace enishi::takeover {
namespace {

namespace s = sql::moves;
namespace json = boost::json;

/// Twice what a fence lasts: nobody who works holds writes for so long.
constexpr Millis kLongestMove{20000};

double milliseconds_since(SteadyTime then) { return std::chrono::duration<double, std::milli>(steady_now() - then).count(); }

/// A broken world inside a step, as an Error: before the move is decided it is a reason to go back, not to give up.
template <class T>
Task<Result<T>> caught(Task<Result<T>> step) {
  std::string what;
  try {
    co_return co_await std::move(step);
  } catch (const std::exception& e) {
    what = e.what();
  }
  co_return fail(Kind::unavailable, "UNAVAILABLE", std::move(what));
}

class Mover {
 public:
  Mover(Place place, MoveOptions options) : p_(std::move(place)), o_(std::move(options)) {}

  /// One coordinator at a time and domain; the lock ends with the connection, however this process ends.
  Task<Result<bool>> alone() {
    const auto deadline = Deadline::in(Millis(10000));
    auto own = co_await ownership(*p_.local, p_.domain(), deadline);
    if (!own) co_return tl::make_unexpected(std::move(own.error()));
    own_ = std::move(*own);
    lock_ = co_await p_.local->lease(deadline);
    // As a script, so that the connection is closed afterwards and the lock with it.
    auto got = co_await lock_.script(fmt::format("select pg_try_advisory_lock(1162760523, {})", own_.number), deadline);
    if (!got) co_return tl::make_unexpected(std::move(got.error()));
    if (!got->boolean(0, 0)) {
      lock_ = pg::Lease();
      co_return false;
    }
    auto again = co_await ownership(*p_.local, p_.domain(), deadline);
    if (!again) co_return tl::make_unexpected(std::move(again.error()));
    own_ = std::move(*again);
    co_return true;
  }

  Task<Result<MoveReport>> do_switch() {
    if (auto ready = co_await begin("SWITCH", "LEGACY", "NOT_LEGACY"); !ready) co_return tl::make_unexpected(std::move(ready.error()));
    auto checked = co_await caught(switch_preflight());
    if (!checked) co_return co_await refused(std::move(checked.error()));
    fault_point("PREFLIGHT");
    const auto held = steady_now();
    const auto until = Deadline::in(o_.hold);
    auto shut = co_await shut_gate("LEGACY", "SWITCHING", "GATE", until);
    if (!shut) co_return co_await refused(std::move(shut.error()));
    auto sealed = co_await caught(fence_and_seal(until));
    if (!sealed) co_return co_await go_back(std::move(sealed.error()), held);
    fault_point("SEAL");
    co_await step("OWN");
    if (auto owned = co_await settle("SWITCHING", "OWNED"); !owned) co_return co_await lost_to_another(std::move(owned.error()));
    fault_point("OWN");
    co_return co_await finished("OWNED", held);
  }

  Task<Result<MoveReport>> do_revert() {
    if (auto ready = co_await begin("REVERT", "OWNED", "NOT_OWNED"); !ready) co_return tl::make_unexpected(std::move(ready.error()));
    auto checked = co_await caught(revert_preflight());
    if (!checked) co_return co_await refused(std::move(checked.error()));
    fault_point("PREFLIGHT");
    const auto held = steady_now();
    const auto until = Deadline::in(o_.hold);
    auto shut = co_await shut_gate("OWNED", "REVERTING", "REVERSE_GATE", until);
    if (!shut) co_return co_await refused(std::move(shut.error()));
    fault_point("REVERSE_GATE");
    co_await step("REVERSE_DRAIN");
    auto empty = co_await caught(drained(until));
    if (!empty) co_return co_await stay_owner(std::move(empty.error()), held);
    fault_point("REVERSE_DRAIN");
    co_await step("RETURN");
    if (auto returned = co_await settle("REVERTING", "LEGACY"); !returned) co_return co_await lost_to_another(std::move(returned.error()));
    fault_point("RETURN");
    // Writers of both systems write to the source from here on.
    co_await step("UNFENCE");
    auto lowered = co_await lower();
    if (!lowered) log_warning("the fence could not be lowered yet", {{"domain", p_.domain()}, {"error", lowered.error().detail}});
    fault_point("UNFENCE");
    if (auto taken = co_await caught(take_theirs()); !taken)
      log_warning("what differed was not read again", {{"domain", p_.domain()}, {"run", dirty_}, {"error", taken.error().detail}});
    co_return co_await finished("LEGACY", held);
  }

  Task<Result<MoveReport>> do_complete() {
    if (auto ready = co_await begin("COMPLETE", "OWNED", "NOT_OWNED"); !ready) co_return tl::make_unexpected(std::move(ready.error()));
    auto done = co_await caught(complete());
    if (!done) co_return co_await refused(std::move(done.error()));
    co_return co_await finished("LOCAL", std::nullopt);
  }

  Task<Result<MoveReport>> do_abandon() {
    if (auto ready = co_await begin("ABANDON", "LEGACY", "NOT_LEGACY"); !ready) co_return tl::make_unexpected(std::move(ready.error()));
    auto done = co_await caught(abandon());
    if (!done) co_return co_await refused(std::move(done.error()));
    co_return co_await finished("LOCAL", std::nullopt);
  }

  [[nodiscard]] bool overdue() const { return (own_.state == "SWITCHING" || own_.state == "REVERTING") && own_.since > kLongestMove; }

  Task<Result<void>> do_recover() {
    const auto deadline = Deadline::in(Millis(20000));
    if (own_.state == "LOCAL") {
      // Completed, and cut short before the source was told: a slot that nobody reads would fill its disk.
      auto dropped = own_.phase == "DONE" ? Result<bool>(true) : co_await drop_everything();
      if (!dropped) co_return tl::make_unexpected(std::move(dropped.error()));
      co_return co_await end_left("DONE", deadline, 0);
    }
    auto fence = co_await caught(fence_state(*p_.source, p_.domain(), Deadline::in(Millis(2000))));
    if (fence && fence->epoch > own_.epoch) co_return co_await make_read_only(fence->epoch, deadline);
    if (own_.state == "SWITCHING") {
      log_warning("a switch was left half done",
                  {{"domain", p_.domain()}, {"epoch", own_.epoch}, {"fence", fence ? fence->state : "unknown"}});
      // Nobody owns the records but by the transaction that makes it OWNED, so going back is safe even if the fence was sealed and cannot
      // be asked.
      const bool finish = fence && fence->state == "SEALED" && fence->epoch == own_.epoch;
      if (auto moved = co_await settle("SWITCHING", finish ? "OWNED" : "LEGACY"); !moved) co_return Result<void>();
      if (!finish) (void)co_await lower();
      co_return co_await end_left(finish ? "DONE" : "ABORTED", deadline, 0);
    }
    if (own_.state == "REVERTING") {
      log_warning("a revert was left half done", {{"domain", p_.domain()}, {"epoch", own_.epoch}});
      auto empty = co_await caught(drained(Deadline::in(o_.hold)));
      if (auto moved = co_await settle("REVERTING", empty ? "LEGACY" : "OWNED"); !moved) co_return Result<void>();
      if (empty) (void)co_await lower();
      co_return co_await end_left(empty ? "DONE" : "ABORTED", deadline, 0);
    }
    if (!fence) co_return tl::make_unexpected(std::move(fence.error()));
    if (own_.state == "LEGACY" && !fence->state.empty() && (fence->state != "OPEN" || fence->epoch != own_.epoch)) (void)co_await lower();
    if (own_.state == "OWNED" && fence->state != "SEALED") {
      json::object detail{{"fence", fence->state}, {"fence_epoch", fence->epoch}, {"epoch", own_.epoch}};
      auto told = co_await p_.local->run(s::alarm, pg::params(p_.domain(), "FENCE_OPEN", json::serialize(detail)), deadline);
      if (!told) co_return tl::make_unexpected(std::move(told.error()));
      if (auto sealed = co_await seal_again(deadline); !sealed) co_return sealed;
    }
    co_return co_await end_left("ABORTED", deadline, 20);
  }

 private:
  Task<Result<void>> begin(std::string kind, std::string_view from, std::string code) {
    if (own_.state != from)
      co_return fail(Kind::conflict, std::move(code),
                     "The domain " + p_.domain() + " is " + own_.state + "; this needs " + std::string(from) + ".");
    if (!own_.read_only.empty())
      co_return fail(Kind::conflict, "DOMAIN_READ_ONLY", "The domain " + p_.domain() + " can only be read: " + own_.read_only);
    const auto deadline = Deadline::in(Millis(10000));
    if (auto left = co_await end_left("ABORTED", deadline, 0); !left) co_return left;
    auto row = co_await p_.local->run(s::begin_move, pg::params(p_.domain(), kind, own_.epoch, o_.actor, o_.id), deadline);
    if (!row) co_return tl::make_unexpected(std::move(row.error()));
    report_.move = row->text(0, 0);
    epoch_ = own_.epoch;
    co_return Result<void>();
  }

  Task<Result<bool>> switch_preflight() {
    const auto deadline = Deadline::in(Millis(60000));
    auto rows = co_await p_.local->run(s::preflight, pg::params(p_.domain(), p_.system()), deadline);
    if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
    if (own_.phase != "STREAMING")
      co_return fail(Kind::conflict, "MIRROR_BEHIND",
                     "The mirror of " + p_.domain() + " is " + own_.phase + "; a switch needs it STREAMING.");
    if (rows->integer(0, 0) > 0)
      co_return fail(Kind::conflict, "REJECTS_OPEN",
                     fmt::format("{} records were rejected and nobody has decided about them.", rows->text(0, 0)));
    if (o_.most_lag.count() > 0) {
      auto at = co_await mark(*p_.source, p_.domain(), own_.epoch, deadline);
      if (!at) co_return tl::make_unexpected(std::move(at.error()));
      for (const auto until = Deadline::in(o_.most_lag);;) {
        auto reached = co_await p_.local->run(s::reached, pg::params(p_.domain(), *at), deadline);
        if (!reached) co_return tl::make_unexpected(std::move(reached.error()));
        if (reached->boolean(0, 0)) break;
        if (until.passed())
          co_return fail(Kind::conflict, "MIRROR_BEHIND",
                         "The mirror of " + p_.domain() + " did not bring what was just written at the source; is `enishi serve` running?");
        co_await sleep(Millis(10));
      }
    }
    if (!o_.without_diff) {
      if (rows->null(0, 3))
        co_return fail(Kind::conflict, "DIFF_MISSING",
                       "Both sides were never found equal: run `enishi takeover diff --domain " + p_.domain() + "` first.");
      if (rows->boolean(0, 5))
        co_return fail(Kind::conflict, "DIFF_FOUND",
                       "The last comparison found differences; look at them, then run `enishi takeover diff` again.");
    }
    auto fence = co_await fence_state(*p_.source, p_.domain(), deadline);
    if (!fence) co_return tl::make_unexpected(std::move(fence.error()));
    if (fence->state.empty() || fence->tables == 0)
      co_return fail(Kind::conflict, "FENCE_MISSING",
                     "The owner of the source's tables has not installed the fence: `enishi takeover plan` prints it.");
    if (!fence->counts)
      co_return fail(Kind::conflict, "FENCE_OLD",
                     "The fence at the source is of an earlier release: the owner of its tables runs what `enishi takeover fence` prints "
                     "once more.");
    // Nobody waits yet: a record or a table that somebody holds just now is no reason to give up.
    for (const auto until = Deadline::in(Millis(15000));;) {
      auto ready = co_await reverse_ready(deadline);
      if (ready) break;
      if (ready.error().code != "LOCKED" || until.passed()) co_return tl::make_unexpected(std::move(ready.error()));
      co_await sleep(Millis(200));
    }
    if (!o_.without_diff) {
      // Most of what changed since is compared before anybody has to wait.
      auto since = co_await diff_since(p_, std::string(rows->text(0, 4)), false, {});
      if (!since) co_return tl::make_unexpected(std::move(since.error()));
      if (since->differences > 0) co_return fail(Kind::conflict, "DIFF_FOUND", fmt::format("{} records differ.", since->differences));
      auto fresh = co_await p_.local->run(s::preflight, pg::params(p_.domain(), p_.system()), deadline);
      if (!fresh) co_return tl::make_unexpected(std::move(fresh.error()));
      base_ = fresh->text(0, 4);
    }
    co_return true;
  }

  /// The way back works, and what changes from now on is noted for it. A short lock: whoever writes here waits behind it.
  Task<Result<void>> reverse_ready(Deadline deadline) {
    if (auto rehearsed = co_await rehearse_reverse(p_, 5, deadline); !rehearsed) co_return rehearsed;
    std::vector<pg::Step> steps;
    steps.push_back({s::lock_timeout, pg::params("300")});
    steps.push_back({s::reverse_on, pg::params(p_.domain())});
    steps.push_back({s::forget_foreign, pg::params(p_.domain())});
    auto on = co_await p_.local->write(std::move(steps), {.deadline = deadline, .repeatable = true});
    if (!on) co_return tl::make_unexpected(std::move(on.error()));
    co_return Result<void>();
  }

  Task<Result<bool>> revert_preflight() {
    const auto deadline = Deadline::in(Millis(60000));
    // Until little is left; what cannot be written back keeps Enishi the owner.
    for (;;) {
      auto batch = co_await reverse_batch(p_, Writers::going_on, deadline);
      if (!batch) co_return tl::make_unexpected(std::move(batch.error()));
      if (!batch->more) break;
      if (deadline.passed()) co_return fail(Kind::unavailable, "REVERSE_BEHIND", "The reverse stream does not catch up.");
    }
    auto rows = co_await p_.local->run(s::preflight, pg::params(p_.domain(), p_.system()), deadline);
    if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
    if (rows->integer(0, 1) > 0)
      co_return fail(Kind::conflict, "REVERSE_FAILED",
                     fmt::format("{} records cannot be written back; see takeover_reverse_failure.", rows->text(0, 1)));
    if (o_.without_diff) co_return true;
    // In an era in which both sides were never found equal, a change at the source may have been missed.
    auto compared = rows->null(0, 3) ? co_await diff(p_, {}) : co_await diff_moved(p_, {});
    if (!compared) co_return tl::make_unexpected(std::move(compared.error()));
    report_.compared = compared->records;
    if (compared->differences == 0) co_return true;
    dirty_ = compared->run;
    if (o_.despite_differences) co_return true;
    constexpr int kNamed = 20;
    auto keys = co_await found_keys(p_, dirty_, kNamed);
    if (!keys) co_return tl::make_unexpected(std::move(keys.error()));
    co_return fail(
        Kind::conflict, "DIFF_DIRTY",
        fmt::format("{0} records differ at the source: {1}{2}. `enishi takeover repair --domain {3}` writes Enishi's there again; "
                    "`enishi takeover revert --domain {3} --despite-differences` lets the source's stand.",
                    compared->differences, fmt::join(*keys, ", "), compared->differences > kNamed ? " …" : "", p_.domain()));
  }

  /// The source owns again, and is right in what differed.
  Task<Result<bool>> take_theirs() {
    if (dirty_.empty()) co_return true;
    auto keys = co_await found_keys(p_, dirty_, static_cast<int>(DiffOptions().most_reported));
    if (!keys) co_return tl::make_unexpected(std::move(keys.error()));
    if (auto read = co_await read_again(p_, std::move(*keys), Deadline::in(Millis(60000))); !read)
      co_return tl::make_unexpected(std::move(read.error()));
    co_return true;
  }

  /// The exclusive lock waits for writers in flight; new ones are held from now on.
  Task<Result<void>> shut_gate(std::string from, std::string to, std::string step, Deadline until) {
    std::vector<pg::Step> steps;
    steps.push_back({s::lock_timeout, pg::params(std::to_string(std::max<std::int64_t>(o_.hold.count() / 2, 100)))});
    steps.push_back({s::move_domain, pg::params(p_.domain(), from, epoch_, to)});
    steps.push_back({s::note_step, pg::params(report_.move, step, epoch_ + 1, true, false)});
    std::string trouble;
    try {
      auto rows = co_await p_.local->write(std::move(steps), {.deadline = until});
      if (rows && (*rows)[1].boolean(0, 0)) {
        ++epoch_;
        if (step == "GATE") fault_point("GATE");
        co_return Result<void>();
      }
      if (rows) co_return fail(Kind::conflict, "MOVE_RUNNING", "Somebody else moved the domain " + p_.domain() + ".");
      if (rows.error().code == "LOCKED")
        co_return fail(Kind::unavailable, "WRITERS_BUSY",
                       "A write to " + p_.domain() + " in Enishi has been running for too long; try again.");
      co_return tl::make_unexpected(std::move(rows.error()));
    } catch (const std::exception& e) {
      trouble = e.what();
    }
    // Whether it happened is not known: it is undone if it did.
    ++epoch_;
    (void)co_await settle(to, from);
    co_return fail(Kind::unavailable, "UNAVAILABLE", std::move(trouble));
  }

  Task<Result<bool>> note(std::string name) {
    auto noted =
        co_await p_.local->run(s::note_step, pg::params(report_.move, std::move(name), epoch_, false, false), Deadline::in(Millis(1000)));
    if (!noted) co_return tl::make_unexpected(std::move(noted.error()));
    co_return true;
  }

  Task<> step(std::string_view name) {
    // Nothing depends on it: neither a refusal nor a database that is away for a moment changes what the step itself will find out.
    auto noted = co_await caught(note(std::string(name)));
    if (!noted) log_warning("a step was not noted", {{"step", std::string(name)}, {"error", noted.error().detail}});
  }

  Task<Result<bool>> fence_and_seal(Deadline until) {
    co_await step("FENCE");
    if (auto up = co_await raise_fence(*p_.source, p_.domain(), epoch_, until, o_.fence_seconds); !up)
      co_return tl::make_unexpected(std::move(up.error()));
    fault_point("FENCE");
    auto at = co_await mark(*p_.source, p_.domain(), epoch_, until);
    if (!at) co_return tl::make_unexpected(std::move(at.error()));
    co_await step("DRAIN");
    for (;;) {
      if (auto going = co_await not_stopped(); !going) co_return going;
      auto reached = co_await p_.local->run(s::reached, pg::params(p_.domain(), *at), Deadline::in(Millis(2000)));
      if (!reached) co_return tl::make_unexpected(std::move(reached.error()));
      if (reached->boolean(0, 0)) break;
      if (until.passed()) co_return fail(Kind::unavailable, "DRAIN_SLOW", "The mirror did not catch up while writes were held.");
      co_await sleep(Millis(5));
    }
    fault_point("DRAIN");
    if (!o_.without_diff) {
      co_await step("DIFF");
      auto compared = co_await diff_since(p_, base_, true, {.deadline = until});
      if (!compared) co_return tl::make_unexpected(std::move(compared.error()));
      report_.compared = compared->records;
      if (compared->differences > 0)
        co_return fail(Kind::conflict, "DIFF_FOUND",
                       fmt::format("{} of {} records that changed last differ.", compared->differences, compared->records));
      fault_point("DIFF");
    }
    if (until.passed()) co_return fail(Kind::unavailable, "TOO_SLOW", "Writes were held for as long as they may be.");
    if (auto going = co_await not_stopped(); !going) co_return going;
    co_await step("SEAL");
    auto sealed = co_await seal_fence(*p_.source, p_.domain(), epoch_, until);
    if (!sealed) co_return tl::make_unexpected(std::move(sealed.error()));
    if (!*sealed) co_return fail(Kind::unavailable, "FENCE_LAPSED", "The fence lapsed before it was sealed.");
    co_return true;
  }

  /// Somebody may have stopped this move by moving the domain: there is no use in going on, and the source waits behind the fence.
  Task<Result<bool>> not_stopped() {
    auto now = co_await ownership(*p_.local, p_.domain(), Deadline::in(Millis(2000)));
    if (!now) co_return tl::make_unexpected(std::move(now.error()));
    if (now->state != "SWITCHING" || now->epoch != epoch_)
      co_return fail(Kind::conflict, "MOVE_STOPPED", "This move was stopped: the domain " + p_.domain() + " is " + now->state + ".");
    co_return true;
  }

  Task<Result<bool>> drained(Deadline until) {
    auto empty = co_await drain_reverse(p_, until);
    if (!empty) co_return tl::make_unexpected(std::move(empty.error()));
    if (!*empty) co_return fail(Kind::unavailable, "REVERSE_BEHIND", "Not everything could be written back while writes were held.");
    co_return true;
  }

  /// Moves on, whatever the connection does: looks again until it knows. An error when somebody else moved the domain, or after a minute.
  Task<Result<void>> settle(std::string from, std::string to) {
    const auto until = Deadline::in(Millis(60000));
    for (;;) {
      try {
        auto moved = co_await p_.local->run(s::move_domain, pg::params(p_.domain(), from, epoch_, to), Deadline::in(Millis(5000)));
        if (moved && moved->boolean(0, 0)) {
          ++epoch_;
          co_return Result<void>();
        }
        auto now = co_await ownership(*p_.local, p_.domain(), Deadline::in(Millis(5000)));
        if (now && now->state == to && now->epoch == epoch_ + 1) {
          ++epoch_;
          co_return Result<void>();
        }
        if (now && (now->state != from || now->epoch != epoch_))
          co_return fail(Kind::conflict, "MOVE_RUNNING", "Somebody else moved the domain " + p_.domain() + " to " + now->state + ".");
      } catch (const std::exception& e) {
        log_warning("a move waits for the database", {{"domain", p_.domain()}, {"error", std::string(e.what())}});
      }
      if (until.passed())
        co_return fail(Kind::unavailable, "UNAVAILABLE", "The database could not be reached; the move is decided when it can be.");
      co_await sleep(Millis(100));
    }
  }

  Task<Result<bool>> lower() { co_return co_await caught(lower_fence(*p_.source, p_.domain(), epoch_, Deadline::in(Millis(5000)))); }

  /// First LEGACY with a new epoch, then the fence: never the other way round.
  Task<Result<MoveReport>> go_back(Error why, SteadyTime held) {
    auto back = co_await settle("SWITCHING", "LEGACY");
    if (!back) co_return co_await lost_to_another(why.code == "MOVE_STOPPED" ? std::move(why) : std::move(back.error()));
    fault_point("BACK");
    auto lowered = co_await lower();
    if (!lowered)
      log_warning("the fence could not be lowered; it lapses by itself", {{"domain", p_.domain()}, {"error", lowered.error().detail}});
    co_return co_await aborted(std::move(why), held);
  }

  Task<Result<MoveReport>> stay_owner(Error why, SteadyTime held) {
    auto back = co_await settle("REVERTING", "OWNED");
    if (!back) co_return co_await lost_to_another(std::move(back.error()));
    co_return co_await aborted(std::move(why), held);
  }

  Task<Result<MoveReport>> aborted(Error why, SteadyTime held) {
    report_.held_ms = milliseconds_since(held);
    (void)co_await caught(note_released());
    co_return co_await refused(std::move(why));
  }

  Task<Result<bool>> note_released() {
    auto noted =
        co_await p_.local->run(s::note_step, pg::params(report_.move, "RELEASED", epoch_, false, true), Deadline::in(Millis(5000)));
    if (!noted) co_return tl::make_unexpected(std::move(noted.error()));
    co_return true;
  }

  Task<Result<MoveReport>> refused(Error why) {
    json::object detail{{"code", why.code}, {"detail", why.detail}, {"held_ms", report_.held_ms}};
    (void)co_await caught(ended("ABORTED", json::serialize(detail)));
    log_warning("a move of a domain was given up", {{"domain", p_.domain()}, {"code", why.code}, {"detail", why.detail}});
    co_return tl::make_unexpected(std::move(why));
  }

  /// Where that was somebody who stopped a switch, its fence is still there: it is lowered at once, under the epoch that they made.
  Task<Result<MoveReport>> lost_to_another(Error why) {
    auto now = co_await caught(ownership(*p_.local, p_.domain(), Deadline::in(Millis(5000))));
    if (now && now->state == "LEGACY") {
      epoch_ = now->epoch;
      if (auto lowered = co_await lower(); !lowered)
        log_warning("the fence could not be lowered; the server does it", {{"domain", p_.domain()}, {"error", lowered.error().detail}});
    }
    co_return co_await refused(std::move(why));
  }

  Task<Result<bool>> ended(std::string state, std::string detail) {
    auto done = co_await p_.local->run(s::end_move, pg::params(report_.move, state, detail), Deadline::in(Millis(5000)));
    if (!done) co_return tl::make_unexpected(std::move(done.error()));
    co_return true;
  }

  Task<Result<MoveReport>> finished(std::string state, std::optional<SteadyTime> held) {
    report_.state = std::move(state);
    report_.epoch = epoch_;
    if (held) {
      report_.held_ms = milliseconds_since(*held);
      metrics::histogram("enishi_takeover_held_seconds", "How long writes to a domain were held while it changed hands",
                         {{"domain", p_.domain()}})
          .observe(report_.held_ms / 1000);
      (void)co_await caught(note_released());
    }
    json::object detail{{"held_ms", report_.held_ms}, {"compared", report_.compared}};
    (void)co_await caught(ended("DONE", json::serialize(detail)));
    log_info("a domain changed hands",
             {{"domain", p_.domain()}, {"state", report_.state}, {"epoch", report_.epoch}, {"held_ms", report_.held_ms}});
    co_return report_;
  }

  Task<Result<bool>> complete() {
    const auto deadline = Deadline::in(Millis(120000));
    for (;;) {
      auto batch = co_await reverse_batch(p_, Writers::going_on, deadline);
      if (!batch) co_return tl::make_unexpected(std::move(batch.error()));
      std::vector<pg::Step> steps;
      steps.push_back({s::lock_timeout, pg::params("1000")});
      steps.push_back({s::complete_domain, pg::params(p_.domain(), epoch_)});
      auto done = co_await p_.local->write(std::move(steps), {.deadline = deadline});
      if (!done && done.error().code != "LOCKED") co_return tl::make_unexpected(std::move(done.error()));
      if (done && (*done)[1].boolean(0, 0)) break;
      auto now = co_await ownership(*p_.local, p_.domain(), deadline);
      if (!now) co_return tl::make_unexpected(std::move(now.error()));
      if (now->state != "OWNED" || now->epoch != epoch_)
        co_return fail(Kind::conflict, "MOVE_RUNNING", "Somebody else moved the domain " + p_.domain() + ".");
      if (batch->failures > 0) co_return fail(Kind::conflict, "REVERSE_FAILED", "Some records cannot be written back.");
      if (deadline.passed()) co_return fail(Kind::unavailable, "REVERSE_BEHIND", "The queue of the reverse stream never gets empty.");
      co_await sleep(Millis(20));
    }
    ++epoch_;
    fault_point("COMPLETE");
    auto dropped = co_await caught(drop_everything());
    if (!dropped) log_warning("the source keeps something of the takeover", {{"domain", p_.domain()}, {"error", dropped.error().detail}});
    co_return true;
  }

  Task<Result<bool>> abandon() {
    std::vector<pg::Step> steps;
    steps.push_back({s::lock_timeout, pg::params("2000")});
    steps.push_back({s::abandon_domain, pg::params(p_.domain(), epoch_)});
    auto done = co_await p_.local->write(std::move(steps), {.deadline = Deadline::in(Millis(20000))});
    if (!done && done.error().code == "LOCKED")
      co_return fail(Kind::unavailable, "WRITERS_BUSY", "A write to " + p_.domain() + " has been running for too long; try again.");
    if (!done) co_return tl::make_unexpected(std::move(done.error()));
    const auto why = (*done)[1].maybe(0, 0);
    if (why == "EDITS_PENDING")
      co_return fail(Kind::conflict, "EDITS_PENDING", "An edit is on its way to " + p_.system() + "; try again in a moment.");
    if (why) co_return fail(Kind::conflict, "MOVE_RUNNING", "Somebody else moved the domain " + p_.domain() + ".");
    ++epoch_;
    fault_point("ABANDON");
    auto dropped = co_await caught(drop_everything());
    if (!dropped) log_warning("the source keeps something of the takeover", {{"domain", p_.domain()}, {"error", dropped.error().detail}});
    co_return true;
  }

  Task<Result<bool>> drop_everything() {
    const auto deadline = Deadline::in(Millis(20000));
    auto off = co_await p_.local->run(s::reverse_off, pg::params(p_.domain()), deadline);
    if (!off) co_return tl::make_unexpected(std::move(off.error()));
    auto fenced = co_await p_.source->db().run(sql::at_source::has_fence, {}, deadline);
    if (!fenced) co_return tl::make_unexpected(std::move(fenced.error()));
    if (fenced->boolean(0, 0))
      if (auto dropped = co_await drop_fence(*p_.source, p_.domain(), epoch_, deadline); !dropped)
        co_return tl::make_unexpected(std::move(dropped.error()));
    fault_point("DROP");
    for (int attempts = 0;; ++attempts) {
      auto ended = co_await p_.source->db().run(sql::at_source::end_stream, pg::params(own_.slot), deadline);
      if (!ended) co_return tl::make_unexpected(std::move(ended.error()));
      auto slot = co_await p_.source->db().run(sql::at_source::drop_slot, pg::params(own_.slot), deadline);
      if (slot && (!slot->empty() || ended->empty())) break;
      if (attempts >= 20) co_return fail(Kind::unavailable, "SLOT_BUSY", "the slot " + own_.slot + " is still in use");
      co_await sleep(Millis(100));
    }
    auto finished = co_await p_.local->run(s::finish_domain, pg::params(p_.domain()), deadline);
    if (!finished) co_return tl::make_unexpected(std::move(finished.error()));
    co_return true;
  }

  /// Whoever holds the lock knows that no other coordinator is at work, but one may be about to begin.
  Task<Result<void>> end_left(std::string state, Deadline deadline, double older_seconds) {
    auto done = co_await p_.local->run(s::end_moves_left, pg::params(p_.domain(), state, o_.id, older_seconds), deadline);
    if (!done) co_return tl::make_unexpected(std::move(done.error()));
    co_return Result<void>();
  }

  /// The source was taken back to before its fence was sealed, or somebody opened it. Whatever was written back is written once more; what
  /// others wrote there meanwhile is found by a comparison.
  Task<Result<void>> seal_again(Deadline deadline) {
    auto sealing = co_await seal_at_once(*p_.source, p_.domain(), own_.epoch, deadline);
    if (!sealing) co_return tl::make_unexpected(std::move(sealing.error()));
    // Before the seal counts: with it, nothing would say any more that something has to be written again.
    auto again = co_await p_.local->run(s::send_again, pg::params(p_.domain(), 0), deadline);
    if (!again) co_return tl::make_unexpected(std::move(again.error()));
    co_await sealing->commit(deadline);
    log_error("the fence at the source was open while Enishi owns, and is sealed again",
              {{"domain", p_.domain()}, {"epoch", own_.epoch}, {"written_again", again->integer(0, 0)}});
    co_return Result<void>();
  }

  Task<Result<void>> make_read_only(std::int64_t fence_epoch, Deadline deadline) {
    const auto why = fmt::format(
        "the source has seen epoch {} and this database only {}: it is older than the last switch or revert. "
        "`enishi takeover unlock --domain {}` gives the domain back to {}, whose records are the newer ones",
        fence_epoch, own_.epoch, p_.domain(), p_.system());
    if (own_.read_only.empty()) log_error("a domain is read-only", {{"domain", p_.domain()}, {"why", why}});
    json::object detail{{"fence_epoch", fence_epoch}, {"epoch", own_.epoch}};
    co_return co_await stop_behind_source(p_, why, std::move(detail), deadline);
  }

  Place p_;
  MoveOptions o_;
  Ownership own_;
  pg::Lease lock_;
  MoveReport report_;
  std::int64_t epoch_ = 0;
  std::string base_;
  std::string dirty_;  ///< the run that found differences before a revert

  friend Task<Result<void>> enishi::takeover::recover(Place);
};

/// One move of a domain at a time.
Task<Result<MoveReport>> moved(Place place, MoveOptions options, Task<Result<MoveReport>> (Mover::*move)()) {
  Mover mover(place, std::move(options));
  auto alone = co_await mover.alone();
  if (!alone) co_return tl::make_unexpected(std::move(alone.error()));
  if (!*alone) co_return fail(Kind::conflict, "MOVE_RUNNING", "The domain " + place.domain() + " is being moved already.");
  co_return co_await (mover.*move)();
}

}  // namespace

Task<Result<MoveReport>> switch_domain(Place place, MoveOptions options) {
  return moved(std::move(place), std::move(options), &Mover::do_switch);
}

Task<Result<MoveReport>> revert_domain(Place place, MoveOptions options) {
  return moved(std::move(place), std::move(options), &Mover::do_revert);
}

Task<Result<MoveReport>> complete_domain(Place place, MoveOptions options) {
  return moved(std::move(place), std::move(options), &Mover::do_complete);
}

Task<Result<MoveReport>> abandon_domain(Place place, MoveOptions options) {
  return moved(std::move(place), std::move(options), &Mover::do_abandon);
}

Task<Result<void>> recover(Place place) {
  Mover mover(place, {});
  auto alone = co_await mover.alone();
  if (!alone) co_return tl::make_unexpected(std::move(alone.error()));
  // A coordinator that has the lock and should have ended long ago sleeps, or stands before a source that is away. Each of its steps
  // compares state and epoch, so nobody has to wait for it.
  if (!*alone && !mover.overdue()) co_return Result<void>();
  mover.epoch_ = mover.own_.epoch;
  co_return co_await mover.do_recover();
}

void Keeper::stop() {
  stopping_ = true;
  stopped_.notify_all();
}

Task<> Keeper::run() {
  while (!stopping_) {
    bool busy = false;
    std::string trouble;
    try {
      auto rows = co_await local_.run(s::taken_over, {}, Deadline::in(Millis(10000)));
      if (!rows) throw std::runtime_error(rows.error().detail);
      for (std::size_t i = 0; i < rows->size() && !stopping_; ++i) {
        busy = busy || rows->text(i, 1) == "OWNED" || rows->text(i, 1) == "REVERTING";
        co_await keep(std::string(rows->text(i, 0)), std::string(rows->text(i, 1)));
      }
    } catch (const std::exception& e) {
      trouble = e.what();
    }
    if (!trouble.empty()) log_warning("the keeper of domains waits", {{"error", trouble}});
    if (!stopping_) (void)co_await stopped_.wait(Deadline::in(trouble.empty() ? (busy ? Millis(50) : Millis(500)) : Millis(2000)));
  }
  while (comparing_ > 0) (void)co_await stopped_.wait(Deadline::in(Millis(1000)));
}

Task<Result<Uuid>> Keeper::start_move(pg::Database& db, std::string kind, std::string domain, std::string actor) {
  const auto deadline = Deadline::in(Millis(10000));
  auto own = co_await ownership(db, domain, deadline);
  if (!own) co_return tl::make_unexpected(std::move(own.error()));
  const std::string from = kind == "SWITCH" || kind == "ABANDON" ? "LEGACY" : kind == "UNLOCK" ? own->state : "OWNED";
  if (kind == "UNLOCK" && own->read_only.empty())
    co_return fail(Kind::conflict, "NOT_READ_ONLY", "The domain " + domain + " can be written as it is.");
  if (own->state != from)
    co_return fail(Kind::conflict, "ILLEGAL_TRANSITION", "The domain " + domain + " is " + own->state + "; this needs " + from + ".");
  auto row = co_await db.run(s::begin_move, pg::params(domain, kind, own->epoch, actor, nullptr), deadline);
  if (!row && row.error().code == "UNIQUE_VIOLATION")
    co_return fail(Kind::conflict, "MOVE_RUNNING", "The domain " + domain + " is being moved already.");
  if (!row) co_return tl::make_unexpected(std::move(row.error()));
  const std::string id(row->text(0, 0));
  shard_.post([this, kind, domain, id, actor] {
    ++comparing_;
    spawn(shard_, "takeover move", carry_out(kind, domain, id, actor));
  });
  co_return Uuid::parse(id).value();
}

Task<Result<Uuid>> Keeper::start_diff(pg::Database& db, std::string domain) { return start_run(db, "DIFF", std::move(domain)); }

Task<Result<Uuid>> Keeper::start_repair(pg::Database& db, std::string domain) {
  if (auto found = co_await last_found(db, domain, Deadline::in(Millis(10000))); !found)
    co_return tl::make_unexpected(std::move(found.error()));
  co_return co_await start_run(db, "REPAIR", std::move(domain));
}

Task<Result<Uuid>> Keeper::start_run(pg::Database& db, std::string kind, std::string domain) {
  const auto deadline = Deadline::in(Millis(10000));
  auto own = co_await ownership(db, domain, deadline);
  if (!own) co_return tl::make_unexpected(std::move(own.error()));
  auto row = co_await db.run(sql::diff::begin_run,
                             pg::params(domain, kind == "DIFF" ? "FULL" : "KEYS", own->era, nullptr, nullptr, 0, nullptr), deadline);
  if (!row) co_return tl::make_unexpected(std::move(row.error()));
  const std::string id(row->text(0, 0));
  shard_.post([this, kind, domain, id] {
    ++comparing_;
    spawn(shard_, "takeover diff", carry_out(kind, domain, id, ""));
  });
  co_return Uuid::parse(id).value();
}

Task<> Keeper::carry_out(std::string kind, std::string domain, std::string id, std::string actor) {
  std::string trouble;
  const bool compares = kind == "DIFF" || kind == "REPAIR";
  try {
    auto place = co_await find_place(local_, shard_, offload_, domain, Deadline::in(Millis(10000)));
    if (!place) {
      trouble = place.error().detail;
    } else if (compares) {
      DiffOptions options{.run = id, .stopping = &stopping_};
      auto done = kind == "DIFF" ? co_await diff(*place, options) : co_await repair(*place, options);
      if (!done) trouble = done.error().detail;
    } else {
      MoveOptions options{.actor = actor, .id = id};
      auto done = kind == "SWITCH"    ? co_await switch_domain(*place, options)
                  : kind == "REVERT"  ? co_await revert_domain(*place, options)
                  : kind == "UNLOCK"  ? co_await unlock_domain(*place, options)
                  : kind == "ABANDON" ? co_await abandon_domain(*place, options)
                                      : co_await complete_domain(*place, options);
      if (!done) trouble = done.error().detail;
    }
    if (!trouble.empty() && compares) {
      auto ended = co_await local_.run(sql::diff::cut_short, pg::params(id), Deadline::in(Millis(5000)));
      if (!ended) trouble += "; " + ended.error().detail;
    } else if (!trouble.empty()) {
      json::object detail{{"detail", trouble}};
      auto ended = co_await local_.run(s::end_unless_ended, pg::params(id, json::serialize(detail)), Deadline::in(Millis(5000)));
      if (!ended) trouble += "; " + ended.error().detail;
    }
  } catch (const std::exception& e) {
    trouble = e.what();
  }
  if (!trouble.empty()) log_warning("what was asked of a takeover ended early", {{"domain", domain}, {"what", kind}, {"error", trouble}});
  --comparing_;
  stopped_.notify_all();
}

/// One comparison of everything, at the rate for every day; a minute later the next one.
Task<> Keeper::compare(Place place) {
  std::string trouble;
  try {
    auto report = co_await diff(place, {.chunk = 500, .records_per_second = rate_, .resume = true, .stopping = &stopping_});
    if (report && report->differences > 0)
      log_error("both sides of a domain differ", {{"domain", place.domain()}, {"records", report->differences}, {"run", report->run}});
    if (!report && report.error().code != "DIFF_CUT_SHORT") trouble = report.error().detail;
  } catch (const std::exception& e) {
    trouble = e.what();
  }
  if (!trouble.empty()) log_warning("a comparison ended early", {{"domain", place.domain()}, {"error", trouble}});
  compared_[place.domain()] = steady_now() + Millis(60000);
  --comparing_;
  stopped_.notify_all();
}

/// Errors of one domain are told and leave the others alone.
Task<> Keeper::keep(std::string domain, std::string state) {
  std::string trouble;
  try {
    auto& since = recovered_[domain];
    auto found = places_.find(domain);
    if (found == places_.end()) {
      auto place = co_await find_place(local_, shard_, offload_, domain, Deadline::in(Millis(10000)));
      if (!place) co_return;  // not begun yet
      found = places_.emplace(domain, std::move(*place)).first;
    }
    const Place place = found->second;
    if (since == SteadyTime{} || steady_now() - since > Millis(state == "SWITCHING" || state == "REVERTING" ? 500 : 5000)) {
      since = steady_now();
      // A mapping may have been replaced.
      auto fresh = co_await find_place(local_, shard_, offload_, domain, Deadline::in(Millis(10000)));
      if (fresh &&
          (fresh->mapping->files.toml != place.mapping->files.toml || fresh->mapping->files.forward != place.mapping->files.forward ||
           fresh->mapping->files.reverse != place.mapping->files.reverse ||
           fresh->source->config().conninfo != place.source->config().conninfo))
        places_[domain] = std::move(*fresh);
      if (auto done = co_await recover(place); !done) trouble = done.error().detail;
    }
    auto& next = compared_[domain];
    if (next == SteadyTime{}) next = steady_now() + Millis(60000);
    if (rate_ > 0 && (state == "LEGACY" || state == "OWNED") && steady_now() > next) {
      auto own = co_await ownership(local_, domain, Deadline::in(Millis(10000)));
      if (own && own->phase == "STREAMING") {
        next = SteadyTime::max();
        ++comparing_;
        spawn(shard_, "takeover diff", compare(place));
      }
    }
    auto& reversing = reversing_[domain];
    if (state == "OWNED" && steady_now() >= reversing.rests_until) {
      for (int batches = 0; batches < 20 && !stopping_; ++batches) {
        const auto began = steady_now();
        auto batch = co_await reverse_batch(place, Writers::going_on, Deadline::in(Millis(30000)));
        if (!batch) {
          if (batch.error().code != "DOMAIN_READ_ONLY") trouble = batch.error().detail;
          break;
        }
        const auto rest = reversing.pace.rest(batch->records + batch->failures, steady_now() - began,
                                              place.mapping->reverse_rows_per_second, steady_now());
        reversing.rests_until = steady_now() + rest;
        if (!batch->more || rest > Millis(0)) break;
      }
    }
  } catch (const std::exception& e) {
    trouble = e.what();
  }
  if (!trouble.empty()) {
    log_warning("a domain under takeover", {{"domain", domain}, {"error", trouble}});
    co_await sleep(Millis(500));
  }
}

}  // namespace enishi::takeover

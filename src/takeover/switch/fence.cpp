#include "takeover/switch/fence.hpp"

#include "takeover/switch/at_source.sql.hpp"

namespace enishi::takeover {
namespace {

namespace s = sql::at_source;

constexpr int kLockMilliseconds = 200;

/// One call in a READ COMMITTED transaction of its own: what it waited for it must also see.
Task<Result<pg::Rows>> call(Source& source, const pg::Statement& statement, pg::Params params, Deadline deadline) {
  auto lease = co_await source.db().lease(deadline);
  co_await lease.begin(deadline, "begin isolation level read committed");
  auto rows = co_await lease.run(statement, std::move(params), deadline);
  if (rows)
    co_await lease.commit(deadline);
  else
    co_await lease.rollback(deadline);
  co_return rows;
}

Task<> put_to_sleep(Source& source, std::string domain, Deadline deadline) {
  for (;;) {
    auto done = co_await call(source, s::sleep_fence, pg::params(domain, kLockMilliseconds), deadline);
    if (done || Deadline::in(Millis(300)).at >= deadline.at) co_return;
    co_await sleep(Millis(50));
  }
}

}  // namespace

Task<Result<FenceState>> fence_state(Source& source, std::string domain, Deadline deadline) {
  auto rows = co_await call(source, s::fence, pg::params(domain), deadline);
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  FenceState out;
  if (rows->empty()) co_return out;
  out.state = rows->text(0, 0);
  out.epoch = rows->integer(0, 1);
  out.lapsed = rows->boolean(0, 2);
  out.tables = rows->integer(0, 3);
  out.batch = rows->integer(0, 4);
  out.counts = rows->boolean(0, 5);
  co_return out;
}

Task<Result<void>> raise_fence(Source& source, std::string domain, std::int64_t epoch, Deadline deadline, double seconds) {
  for (;;) {
    auto up = co_await call(source, s::raise_fence, pg::params(domain, epoch, seconds, kLockMilliseconds), deadline);
    if (up) co_return Result<void>();
    if (up.error().code != "LOCKED" && up.error().code != "SERIALIZATION_FAILURE") co_return tl::make_unexpected(std::move(up.error()));
    if (Deadline::in(Millis(50 + kLockMilliseconds)).at >= deadline.at)
      co_return fail(Kind::unavailable, "LEGACY_BUSY",
                     "somebody holds the tables of " + domain + " in the legacy system for longer than the switch may last");
    co_await sleep(Millis(50));
  }
}

Task<Result<std::string>> mark(Source& source, std::string domain, std::int64_t epoch, Deadline deadline) {
  auto rows = co_await call(source, s::mark, pg::params(domain, epoch), deadline);
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  co_return std::string(rows->text(0, 0));
}

Task<Result<bool>> seal_fence(Source& source, std::string domain, std::int64_t epoch, Deadline deadline) {
  auto rows = co_await call(source, s::seal_fence, pg::params(domain, epoch), deadline);
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  co_return rows->boolean(0, 0);
}

Task<Result<pg::Lease>> seal_at_once(Source& source, std::string domain, std::int64_t epoch, Deadline deadline) {
  for (;;) {
    auto lease = co_await source.db().lease(deadline);
    co_await lease.begin(deadline, "begin isolation level read committed");
    // Nothing lapses before the transaction ends: the fence is seen by nobody until then.
    auto done = co_await lease.run(s::raise_fence, pg::params(domain, epoch, 60.0, kLockMilliseconds), deadline);
    if (done) done = co_await lease.run(s::seal_fence, pg::params(domain, epoch), deadline);
    if (done && !done->boolean(0, 0)) done = fail(Kind::unavailable, "FENCE_LAPSED", "The fence lapsed before it was sealed.");
    if (done) co_return lease;
    co_await lease.rollback(deadline);
    const auto& code = done.error().code;
    if ((code != "LOCKED" && code != "SERIALIZATION_FAILURE") || deadline.passed()) co_return tl::make_unexpected(std::move(done.error()));
    co_await sleep(Millis(50));
  }
}

Task<Result<bool>> lower_fence(Source& source, std::string domain, std::int64_t epoch, Deadline deadline) {
  auto rows = co_await call(source, s::lower_fence, pg::params(domain, epoch), deadline);
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  const bool lowered = rows->boolean(0, 0);
  if (lowered) co_await put_to_sleep(source, domain, Deadline::in(Millis(3000)));
  co_return lowered;
}

Task<Result<void>> drop_fence(Source& source, std::string domain, std::int64_t epoch, Deadline deadline) {
  auto rows = co_await call(source, s::drop_fence, pg::params(domain, epoch), deadline);
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  if (!rows->boolean(0, 0)) co_return fail(Kind::conflict, "FENCE_STALE", "the fence of " + domain + " belongs to a later epoch");
  co_return Result<void>();
}

}  // namespace enishi::takeover

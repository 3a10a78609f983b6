// The way back of changes: while Enishi owns a domain, its records are written to the legacy system through reverse.sql, for that system's
// other readers and for a revert.
//
//   auto wrote = co_await reverse_batch(place, Writers::going_on, deadline);    // 0: nothing to do
//   auto empty = co_await drain_reverse(place, deadline);                       // the gate is shut: everything, to the last row
//
// Reads the queue below the xmin horizon in (xid, id) order, and forgets just the rows that it read: what a crash left is written again.
// The place is noted at the source in the transaction that writes there (enishi.reversed, which is published and so marks it as Enishi's
// own for the forward stream), under the fence's seal and epoch: whoever was thought dead writes nothing after a revert. What reverse.sql
// wrote is read back through forward.sql before it is committed: another digest is a failure.
//
// Each batch has a number that is noted here before the source commits it, and there with it. A source with a later number than the last
// one given here was written to by an Enishi that this database does not remember: the domain becomes read-only (SOURCE_AHEAD). A source
// with an earlier one than it had was taken back: what went with later batches is written again (alarm SOURCE_BEHIND).
#pragma once
#include <boost/json.hpp>

#include "takeover/switch/fence.hpp"
#include "takeover/switch/place.hpp"

namespace enishi::takeover {

enum class Writers { going_on, kept_off };

/// Records written, and failures (takeover_reverse_failure, tried again later).
struct Reversed {
  std::int64_t records = 0;
  std::int64_t failures = 0;
  bool more = false;
};
/// FENCE_STALE, FENCE_OLD (the owner of the source's tables has to run its setup again), SOURCE_AHEAD, DOMAIN_READ_ONLY.
Task<Result<Reversed>> reverse_batch(Place place, Writers writers, Deadline deadline);
/// True when nothing is left, failures included, before the deadline.
Task<Result<bool>> drain_reverse(Place place, Deadline deadline);

/// Stores the keys that the source gave to these records made here, where it knows them: else it would be given them a second time.
Task<Result<void>> learn_keys(Place place, std::vector<std::string> ids, int era, Deadline deadline);

/// Whether the source has a batch under this fence that was never begun here.
Task<Result<bool>> has_unknown_batches(Place place, FenceState fence, Deadline deadline);
/// This database is older than its source: nobody may write until somebody has decided (unlock.hpp).
Task<Result<void>> stop_behind_source(Place place, std::string why, boost::json::object detail, Deadline deadline);

/// Writes `most` records that there are to the source and rolls back: the first reason why one cannot be written back, or nothing.
Task<Result<void>> rehearse_reverse(Place place, int most, Deadline deadline);

}  // namespace enishi::takeover

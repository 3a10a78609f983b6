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
#pragma once
#include "takeover/switch/place.hpp"

namespace enishi::takeover {

enum class Writers { going_on, kept_off };

/// Records written, and failures (takeover_reverse_failure, tried again later).
struct Reversed {
  std::int64_t records = 0;
  std::int64_t failures = 0;
  bool more = false;
};
Task<Result<Reversed>> reverse_batch(Place place, Writers writers, Deadline deadline);
/// True when nothing is left, failures included, before the deadline.
Task<Result<bool>> drain_reverse(Place place, Deadline deadline);

/// Writes `most` records that there are to the source and rolls back: the first reason why one cannot be written back, or nothing.
Task<Result<void>> rehearse_reverse(Place place, int most, Deadline deadline);

}  // namespace enishi::takeover

// The way out of DOMAIN_READ_ONLY: this database is older than the last switch, revert or batch that was written back (it was restored from
// a backup), and the legacy system knows a later epoch or batch.
//
//   auto moved = co_await unlock_domain(place, {.actor = "user:…"});     // → LEGACY, with every key to be looked at again
//
// What Enishi wrote since was written back to the legacy system by the reverse stream, so its records win: it becomes the owner with an
// epoch above the one it knows, its fence opens, and the mirror begins a new era. Then the domain can be switched again. When the source
// knows nothing later (it was restored as well), the domain only becomes writable again and stays whose it is.
#pragma once
#include "takeover/switch/moves.hpp"

namespace enishi::takeover {

/// NOT_READ_ONLY, MOVE_RUNNING; UNAVAILABLE when the source cannot be asked.
Task<Result<MoveReport>> unlock_domain(Place place, MoveOptions options);

}  // namespace enishi::takeover

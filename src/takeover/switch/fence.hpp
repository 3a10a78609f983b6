// The fence around a domain's tables in the legacy system: while it stands, nobody but Enishi writes them. The tables' owner installs it
// once (fence_setup_sql, printed by `enishi takeover plan`); Enishi's login may only call its functions.
//
//   auto up = co_await raise_fence(source, "customer", epoch, deadline);     // LEGACY_BUSY: no lock within 200 ms, to be tried again
//   auto at = co_await mark(source, "customer", epoch, deadline);            // stream up to here: nothing is missing
//   auto sealed = co_await seal_fence(source, "customer", epoch, deadline);  // false: it lapsed
//
// States are enishi.fence.state: OPEN (triggers disabled: costs nothing), FENCED (lapses by itself), SEALED (until lowered). Every call
// carries the epoch of domain_ownership and is refused when a later one was seen.
//
// A writer at the source gets SQLSTATE EN001 while FENCED (try again in a few seconds) and EN003 while SEALED (Enishi owns these data).
#pragma once
#include <string>

#include "takeover/mapping.hpp"
#include "takeover/source.hpp"

namespace enishi::takeover {

/// SQL for the owner of the mapped tables, repeatable. `login` is Enishi's at the source.
[[nodiscard]] std::string fence_setup_sql(const Mapping& mapping, std::string_view login);
/// Tables that the publication must hold besides the mapped ones: a commit of enishi.marker shows that everything before it has arrived,
/// and a transaction that touches enishi.reversed is Enishi's own.
[[nodiscard]] const std::vector<std::string>& fence_tables();

struct FenceState {
  std::string state;  ///< OPEN, FENCED, SEALED; empty when it was never installed for this domain
  std::int64_t epoch = 0;
  bool lapsed = false;
  std::int64_t tables = 0;
  std::int64_t batch = 0;  ///< the last one of the reverse stream under this epoch
  bool counts = false;     ///< false: the owner's setup is of an earlier release, which counted no batches
};
inline constexpr double kFenceSeconds = 10;  ///< until an unsealed fence lapses, on the source's clock

Task<Result<FenceState>> fence_state(Source& source, std::string domain, Deadline deadline);
/// Tries until the deadline to lock every table, 200 ms at a time. FENCE_STALE: a later epoch was seen.
Task<Result<void>> raise_fence(Source& source, std::string domain, std::int64_t epoch, Deadline deadline, double seconds = kFenceSeconds);
/// Position in the source's WAL: once the stream is past it, everything that was committed before the call has arrived.
Task<Result<std::string>> mark(Source& source, std::string domain, std::int64_t epoch, Deadline deadline);
Task<Result<bool>> seal_fence(Source& source, std::string domain, std::int64_t epoch, Deadline deadline);
/// Raises and seals in one transaction, which the caller commits; without that the fence stays as it was. For a domain that Enishi owns.
Task<Result<pg::Lease>> seal_at_once(Source& source, std::string domain, std::int64_t epoch, Deadline deadline);
/// Writers may go on at once; the triggers are put to sleep as soon as their tables can be locked. False: a later epoch stands there.
Task<Result<bool>> lower_fence(Source& source, std::string domain, std::int64_t epoch, Deadline deadline);
/// Triggers and rows of a domain that was completed.
Task<Result<void>> drop_fence(Source& source, std::string domain, std::int64_t epoch, Deadline deadline);

}  // namespace enishi::takeover

// Compares a domain's records on both sides: chunks by key, canonical JSON hashed in SQL at each end, so that keys and hashes cross the
// network and nothing else. A chunk that differs is narrowed to records, and a record that still differs after the streams have caught up
// to its fields.
//
//   auto report = co_await diff(place, {.records_per_second = 20000});
//   report->differences == 0;                                           // else takeover_difference has key, pointer, here, there
//
// A record is a difference when the owner's side gave the same digest before and after the other side had everything up to then, and that
// side's digest was another one: what is merely on its way is none.
#pragma once
#include <string>
#include <vector>

#include "takeover/switch/place.hpp"

namespace enishi::takeover {

struct DiffOptions {
  int chunk = 2000;                     ///< records
  int records_per_second = 0;           ///< 0: no limit
  std::optional<std::string> run = {};  ///< id of the row that it writes; a new one if left out
  bool resume = false;                  ///< go on with a run that was cut short
  std::size_t most_reported = 1000;     ///< records whose fields are stored; the number counts all of them
  Millis settle{30000};                 ///< how long keys in flight may take to arrive
  Deadline deadline = Deadline::in(Millis(24 * 3600 * 1000));
  const bool* stopping = nullptr;  ///< looked at between chunks; outlives the call
};

struct DiffReport {
  std::string run;
  std::int64_t records = 0;
  std::int64_t differences = 0;
  double seconds = 0;
};

/// The last comparison that came to an end. NOTHING_TO_REPAIR when it found no difference.
[[nodiscard]] Task<Result<std::string>> last_found(pg::Database& db, std::string domain, Deadline deadline);
/// The fields that differ, of at most DiffOptions::most_reported records, are in takeover_difference.
[[nodiscard]] Task<Result<std::vector<std::string>>> found_keys(Place place, std::string run, int most);

/// Everything. DIFF_CUT_SHORT at the deadline: what was compared so far is kept for `resume`.
Task<Result<DiffReport>> diff(Place place, DiffOptions options);
/// What was fetched since the last clean run, and only that; writes nothing down when `quick`: for the moments when writers are held.
Task<Result<DiffReport>> diff_since(Place place, std::string base_snapshot_xmax, bool quick, DiffOptions options);
/// What either side changed while Enishi owns.
Task<Result<DiffReport>> diff_moved(Place place, DiffOptions options);
/// Makes the side that does not own like the one that does, where the last comparison found differences, and compares those keys again: its
/// report is of what still differs. While LEGACY owns they are read again from the source, while Enishi owns they are written to it again.
/// NOTHING_TO_REPAIR; ILLEGAL_TRANSITION while the domain changes hands.
Task<Result<DiffReport>> repair(Place place, DiffOptions options);
/// Reads these keys again from the source.
Task<Result<void>> read_again(Place place, std::vector<std::string> keys, Deadline deadline);

}  // namespace enishi::takeover

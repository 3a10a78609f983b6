// How fast a source is asked, by the copy and by the reverse stream: at most so many records a second, and slower when the source answers
// much slower than it can, for then it has work of its own.
//
//   Pace pace;
//   auto rest = pace.rest(records, took, rows_per_second, steady_now());     // 0: go on at once
#pragma once
#include <chrono>
#include <cstdint>
#include <limits>

#include "base/clock.hpp"

namespace enishi::takeover {

class Pace {
 public:
  static constexpr int kSlower = 4;          ///< times the best that was seen: a source under load
  static constexpr std::int64_t kFew = 50;   ///< a batch costs at least as much as so many records
  static constexpr Millis kLongest{2000};    ///< of a rest for a source's sake
  static constexpr Millis kForgotten{1000};  ///< what was not used of the rate is not made up for later

  /// After `records` that took so long. `most_a_second` 0: no limit.
  Millis rest(std::int64_t records, std::chrono::nanoseconds took, std::int64_t most_a_second, SteadyTime now);

 private:
  double best_ns_ = std::numeric_limits<double>::infinity();  ///< a record; grows slowly, for sources become slower for good
  SteadyTime from_{};
  std::int64_t since_ = 0;
};

}  // namespace enishi::takeover

#include "takeover/pace.hpp"

#include <algorithm>

namespace enishi::takeover {

Millis Pace::rest(std::int64_t records, std::chrono::nanoseconds took, std::int64_t most_a_second, SteadyTime now) {
  if (records == 0) return Millis(0);
  const double each = static_cast<double>(took.count()) / static_cast<double>(std::max(records, kFew));
  best_ns_ = std::min(best_ns_ * 1.01, each);
  Millis wait{0};
  if (each > kSlower * best_ns_) wait = std::min(std::chrono::duration_cast<Millis>(took), kLongest);
  if (most_a_second <= 0) return wait;
  if (now - (from_ + std::chrono::microseconds(since_ * 1000000 / most_a_second)) > kForgotten) {
    from_ = now - took;
    since_ = 0;
  }
  since_ += records;
  const auto due = from_ + std::chrono::microseconds(since_ * 1000000 / most_a_second);
  return std::max(wait, std::chrono::duration_cast<Millis>(due - now));
}

}  // namespace enishi::takeover

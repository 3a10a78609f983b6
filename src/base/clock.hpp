// Time. Deadlines use the steady clock; what people read is the system clock, RFC 3339, UTC.
#pragma once
#include <chrono>
#include <string>

namespace enishi {

using Millis = std::chrono::milliseconds;
using SteadyTime = std::chrono::steady_clock::time_point;

inline SteadyTime steady_now() { return std::chrono::steady_clock::now(); }

/// A moment after which waiting is pointless. Every await has one.
struct Deadline {
  SteadyTime at;
  static Deadline in(Millis span) { return {steady_now() + span}; }
  [[nodiscard]] bool passed() const { return steady_now() >= at; }
  [[nodiscard]] Millis left() const { return std::max(Millis(0), std::chrono::duration_cast<Millis>(at - steady_now())); }
};

/// Now, as 2026-11-22T04:05:06.789Z.
std::string utc_now();

}  // namespace enishi

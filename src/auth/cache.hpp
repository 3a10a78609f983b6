// Who a token belongs to, remembered for a few seconds: a request of somebody known costs no trip to the database. One cache a shard,
// bounded, least recently used first out; only what the database confirmed is in it. Whoever takes a right away calls
// Gate::forget_sessions(), which makes every entry of every shard too old at once; other processes notice when their entries have aged.
#pragma once
#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "auth/call.hpp"
#include "auth/tokens.hpp"

namespace enishi::auth {

/// A principal with the scopes of all mounted operations; -1 for what they may not.
struct Known {
  Principal who;
  std::vector<std::int8_t> scopes;
  SteadyTime good_until;
  std::uint64_t epoch = 0;
};

class SessionCache {
 public:
  explicit SessionCache(std::size_t most) : most_(most) {}
  struct Slot {
    Digest key;
    std::shared_ptr<const Known> known;
    double tokens = 0;  ///< of the rate limit's bucket, which outlives the entry's renewals
    SteadyTime filled;
  };
  /// Makes it the most recently used one.
  Slot* find(const Digest& key);
  Slot& put(const Digest& key, std::shared_ptr<const Known> known, double burst);
  [[nodiscard]] std::size_t size() const { return slots_.size(); }

 private:
  std::size_t most_;
  std::list<Slot> slots_;
  std::unordered_map<Digest, std::list<Slot>::iterator, DigestHash> by_key_;
};

}  // namespace enishi::auth

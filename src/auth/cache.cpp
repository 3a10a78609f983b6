#include "auth/cache.hpp"

namespace enishi::auth {

SessionCache::Slot* SessionCache::find(const Digest& key) {
  const auto at = by_key_.find(key);
  if (at == by_key_.end()) return nullptr;
  slots_.splice(slots_.begin(), slots_, at->second);
  return &slots_.front();
}

SessionCache::Slot& SessionCache::put(const Digest& key, std::shared_ptr<const Known> known, double burst) {
  if (auto* slot = find(key)) {
    slot->known = std::move(known);
    return *slot;
  }
  if (slots_.size() >= most_) {
    by_key_.erase(slots_.back().key);
    slots_.pop_back();
  }
  slots_.push_front({key, std::move(known), burst, steady_now()});
  by_key_.emplace(key, slots_.begin());
  return slots_.front();
}

}  // namespace enishi::auth

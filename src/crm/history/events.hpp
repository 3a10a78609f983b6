// The stream of events: what was written to the outbox, in order, to every browser that may see it. One reader a process asks the outbox
// while somebody listens; each listener has a bounded queue, and who does not keep up is hung up on and resumes by its last event id.
//
//   answer.stream = [&gate, &shard, who, from, newest](http::Stream& out) { return stream_events(out, gate, shard, who, from, newest,
//   false); };
//
// A place is (xid, id) of an outbox row, "8123-45" on the wire. Readers stay below the oldest running transaction, so that no place is
// skipped.
#pragma once
#include <compare>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "auth/call.hpp"

namespace enishi::crm::history {

struct Place {
  std::uint64_t xid = 0;
  std::int64_t id = 0;
  auto operator<=>(const Place&) const = default;
  [[nodiscard]] std::string str() const;
  static std::optional<Place> parse(std::string_view text);
};

struct Happening {
  Place place;
  std::optional<Uuid> owner, team;
  std::string frame;                                                            ///< as it goes over the wire
  std::optional<Uuid> former_owner = {}, former_team = {}, former_holder = {};  ///< before this change
};
using Batch = std::vector<std::shared_ptr<const Happening>>;

/// On whose behalf somebody listens.
struct Audience {
  auth::Scope scope = auth::Scope::own;
  Uuid user;
  std::vector<Uuid> teams;
  /// Events of nobody are for all; else the owner, the team's members (scope team), or everybody (scope all).
  [[nodiscard]] bool may_see(const Happening& event) const;
};

/// One stream's queue; on its own shard only.
struct Listener {
  Audience audience;
  std::size_t most = 1000;  ///< frames that may wait
  std::deque<std::shared_ptr<const Happening>> queue;
  Place seen;  ///< of the last batch, shown or not
  bool overflowed = false;
  Event wake;
  void take(const Batch& batch);
};

/// From the database's rows of events_after.
Batch read_batch(const pg::Rows& rows);

/// Writes to `out` from `from` on, until the peer goes, falls behind, or ten minutes have passed (the browser comes back, and is asked
/// again who it is). `newest`: the stream's end before this call. `reset`: first tells the client to load everything anew.
Task<> stream_events(http::Stream& out, auth::Gatekeeper& gate, Shard& shard, Audience audience, Place from, Place newest, bool reset);

}  // namespace enishi::crm::history

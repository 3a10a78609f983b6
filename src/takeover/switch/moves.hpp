// Moves of a domain between owners: docs/takeover/switch.md tells the protocol, model/switch.pml is checked by spin.
//
//   auto moved = co_await switch_domain(place, {.actor = "user:…"});     // LEGACY → OWNED, or an Error and LEGACY as before
//   auto back = co_await revert_domain(place, {});                       // OWNED → LEGACY
//   auto done = co_await complete_domain(place, {});                     // OWNED → LOCAL
//   co_await recover(place);                                             // what a crash left: goes on, or goes back
//
// Each step compares state and epoch, so any number of coordinators, dead or thought dead, do no harm. Writes to the domain are held from
// GATE until OWN, or until the move has gone back, at most MoveOptions::hold plus one answer of the source.
#pragma once
#include <array>
#include <map>
#include <string>
#include <string_view>

#include "takeover/pace.hpp"
#include "takeover/switch/diff.hpp"
#include "takeover/switch/place.hpp"

namespace enishi::takeover {

/// domain_ownership.state and enishi.fence.state; a test compares them with the schema and with the model.
inline constexpr std::array<std::string_view, 5> kOwnershipStates{"LOCAL", "LEGACY", "SWITCHING", "OWNED", "REVERTING"};
inline constexpr std::array<std::string_view, 3> kFenceStates{"OPEN", "FENCED", "SEALED"};

/// takeover_move.step, in order: noted before the step begins (RELEASED after it); also where the crash tests strike, after it. BACK is
/// where any of a switch's steps goes when it fails. The model knows all but what moves nothing: PREFLIGHT, DIFF, DROP, RELEASED.
inline constexpr std::array<std::string_view, 8> kSwitchSteps{"PREFLIGHT", "GATE", "FENCE", "DRAIN", "DIFF", "SEAL", "OWN", "RELEASED"};
inline constexpr std::array<std::string_view, 6> kRevertSteps{"PREFLIGHT", "REVERSE_GATE", "REVERSE_DRAIN",
                                                              "RETURN",    "UNFENCE",      "RELEASED"};
inline constexpr std::array<std::string_view, 3> kCompleteSteps{"PREFLIGHT", "COMPLETE", "DROP"};

struct MoveOptions {
  std::string actor = "cli";
  std::optional<std::string> id = {};  ///< of a takeover_move that was begun already
  Millis hold{2000};                   ///< how long writes may be held before the move goes back
  Millis most_lag{5000};               ///< in which the mirror has to bring a mark, before a switch begins; 0: not asked
  double fence_seconds = 10;           ///< until an unsealed fence lapses
  bool without_diff = false;           ///< for tests: no comparison is asked for
  bool despite_differences = false;    ///< of a revert: what differs becomes what the source has
};

struct MoveReport {
  std::string move;   ///< takeover_move.id
  std::string state;  ///< of the domain, afterwards
  std::int64_t epoch = 0;
  double held_ms = 0;         ///< how long writes were held
  std::int64_t compared = 0;  ///< records compared while they were
};

/// Refused with nothing touched: NOT_LEGACY, MOVE_RUNNING, MIRROR_BEHIND, REJECTS_OPEN, DIFF_MISSING, DIFF_FOUND, REVERSE_…, FENCE_MISSING,
/// FENCE_OLD; of a revert DIFF_DIRTY.
/// Gone back: LEGACY_BUSY, WRITERS_BUSY, DRAIN_SLOW, DIFF_FOUND, MOVE_STOPPED, FENCE_LAPSED, UNAVAILABLE.
Task<Result<MoveReport>> switch_domain(Place place, MoveOptions options);
Task<Result<MoveReport>> revert_domain(Place place, MoveOptions options);
/// Drops the fence and the slot; the publication belongs to its owner. There is no way back from here.
Task<Result<MoveReport>> complete_domain(Place place, MoveOptions options);

/// LEGACY → LOCAL: the takeover is given up. The records stay as the mirror had them; slot and fence go. EDITS_PENDING, NOT_LEGACY.
Task<Result<MoveReport>> abandon_domain(Place place, MoveOptions options);

/// What there is to decide about this domain, without a coordinator at work on it: a move that was left is finished or goes back, a fence
/// of the past is lowered, and a source that has seen a later epoch makes the domain read-only.
Task<Result<void>> recover(Place place);

/// Until stop(): recovers every domain under takeover, every second; writes back what changed while Enishi owns; compares at a bounded
/// rate. One a process, on the shard of `local`.
class Keeper {
 public:
  Keeper(pg::Database& local, Shard& shard, Offload& offload, int diff_records_per_second = 2000)
      : local_(local), shard_(shard), offload_(offload), rate_(diff_records_per_second) {}
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;
  Task<> run();
  void stop();
  /// Begins a SWITCH, REVERT, COMPLETE, UNLOCK or ABANDON, which goes on by itself; the id of takeover_move. From any shard, with its
  /// database. MOVE_RUNNING.
  Task<Result<Uuid>> start_move(pg::Database& db, std::string kind, std::string domain, std::string actor);
  /// The same for a comparison of everything: the id of takeover_diff_run.
  Task<Result<Uuid>> start_diff(pg::Database& db, std::string domain);
  /// And for a repair of what the last comparison found. NOTHING_TO_REPAIR.
  Task<Result<Uuid>> start_repair(pg::Database& db, std::string domain);

 private:
  Task<> keep(std::string domain, std::string state);
  Task<> compare(Place place);
  Task<> carry_out(std::string kind, std::string domain, std::string id, std::string actor);
  Task<Result<Uuid>> start_run(pg::Database& db, std::string kind, std::string domain);
  pg::Database& local_;
  Shard& shard_;
  Offload& offload_;
  int rate_;
  bool stopping_ = false;
  Event stopped_;
  std::map<std::string, Place> places_;
  std::map<std::string, SteadyTime> recovered_, compared_;  ///< when last; compared_ is the future while it runs
  struct Reversing {
    Pace pace;
    SteadyTime rests_until{};
  };
  std::map<std::string, Reversing> reversing_;
  int comparing_ = 0;
};

}  // namespace enishi::takeover

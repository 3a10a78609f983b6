// An edit of a record that a legacy system owns, for auth::Call::write: the operation runs here for real, past the gate and with all its
// rules, what became of the record is written to the source, what the source made of that is brought in, and then both stand.
//
//   WriteThrough through(shard, offload, config);                       // one a shard, with a few connections of its own
//   auto done = co_await through.write(std::move(asked));               // nothing: the operation's statement gave no row, and says why
//   co_await finish_intents(db, source, mapping, older_than, deadline); // after a crash: enishi.applied says what happened
//
// Steps (faults.hpp): write 1 applied at the source, not committed · 2 intent committed here · 3 committed at the source · 4 pulled, not
// committed here. Until 3 nothing has happened; from 3 on the edit stands, and whoever finds the intent finishes it.
//
// docs/adr/0009 says why it is done so, docs/takeover/edits.md what users see.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "auth/call.hpp"
#include "takeover/domains.hpp"
#include "takeover/source.hpp"

namespace enishi::takeover {

class WriteThrough {
 public:
  static constexpr unsigned kConnections = 4;  ///< to each database: so many edits of a shard are under way at once

  /// `local` is Enishi's own database; a few connections of its own to it are held while a source is asked, so that a source that hangs
  /// takes nobody else's.
  WriteThrough(Shard& shard, Offload& offload, pg::Config local);
  ~WriteThrough();
  WriteThrough(const WriteThrough&) = delete;
  WriteThrough& operator=(const WriteThrough&) = delete;

  /// Errors besides those of the operation itself: LEGACY_OWNED (it changes more than one record of one domain), LEGACY_READ_ONLY (nothing
  /// is written back to this system), LEGACY_NOT_WRITABLE (with the fields that it does not keep), LEGACY_REFUSED (its constraints or
  /// triggers said no: its message), LEGACY_BUSY, LEGACY_UNAVAILABLE (nothing was changed), OUTCOME_UNKNOWN, GATE_SHUT (to be tried again),
  /// IDEMPOTENCY_REPLAY (it was done already).
  Task<Result<std::optional<auth::WrittenElsewhere>>> write(auth::OwnedElsewhere asked);

 private:
  struct Target;
  struct Edit;
  Task<Result<std::optional<auth::WrittenElsewhere>>> once(const auth::OwnedElsewhere& asked, Uuid request);
  Task<Result<std::shared_ptr<Target>>> target(pg::Lease& lease, const pg::Rows& touched, Deadline deadline);
  Task<Result<std::string>> there(Edit& edit, pg::Lease& here, pg::Lease& lease);
  Task<Result<std::optional<auth::WrittenElsewhere>>> stand(Edit& edit, pg::Lease here);
  Task<Result<std::optional<auth::WrittenElsewhere>>> uncertain(Edit& edit, bool stands);
  Shard& shard_;
  Offload& offload_;
  pg::Database held_;
  std::map<std::string, std::shared_ptr<Target>> targets_;
};

/// What a crash left of edits that are older than `older_than` and that nobody is at work on: those that the source has are pulled and
/// DONE, others can never reach it any more and are REFUSED. How many were looked at.
Task<Result<int>> finish_intents(pg::Database& local, Source& source, std::shared_ptr<const Mapping> mapping, Millis older_than,
                                 Deadline deadline);

}  // namespace enishi::takeover

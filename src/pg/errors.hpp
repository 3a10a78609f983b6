// What libpq and SQLSTATEs mean here (PostgreSQL 15, appendix A).
//
// Rules of the domain are raised by triggers with one of ours:
//   EN001            the gate of a domain is shut for a moment: wait and try again
//   EN002            a legacy system owns the domain: write through it
//   EN404/409/412/422/403   a rule said no: CONSTRAINT carries the stable code, MESSAGE the sentence, DETAIL a JSON object for problem+json
#pragma once
#include <stdexcept>
#include <string>

#include "base/error.hpp"

struct pg_result;

namespace enishi::pg {

/// The database cannot be used now: no connection, no lease in time, shutting down. Nothing of the request was committed.
struct Unavailable : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// The connection was lost; nothing of the transaction stands, so it may be done again on another one.
struct ConnectionLost : Unavailable {
  using Unavailable::Unavailable;
};
/// PostgreSQL answers, and lacks what it needs: `error` is DISK_FULL, OUT_OF_MEMORY, TOO_MANY_CONNECTIONS or READ_ONLY, with the way out
/// and when to ask again.
struct Exhausted : Unavailable {
  Exhausted(Error e, const std::string& said) : Unavailable(said), error(std::move(e)) {}
  Error error;
};
/// A statement was not answered within its deadline or statement_timeout; it was cancelled and rolled back.
struct TimedOut : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// The connection was lost after a COMMIT may have been sent, or a commit was cut short while it waited for a standby: it may stand or not.
struct OutcomeUnknown : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// Committed here, but the wait for the standby was cut short (PostgreSQL's WARNING of SyncRepWaitForLSN): a failover may lose it.
/// Sending it again proves nothing, so nobody does by himself.
struct NotReplicated : OutcomeUnknown {
  using OutcomeUnknown::OutcomeUnknown;
};
/// COMMIT itself was refused by the data: a deferred constraint, or a serialization failure. Everything was rolled back.
struct CommitRefused : std::runtime_error {
  explicit CommitRefused(Error e) : std::runtime_error("COMMIT was refused: " + e.code), error(std::move(e)) {}
  Error error;
};
/// The statement itself is wrong (syntax, missing table, missing right): a bug or a schema of another version.
struct Broken : std::runtime_error {
  using std::runtime_error::runtime_error;
  std::string message = {};  ///< what the database said: it may hold a person's data, so it is for who asked and never for a log
};

/// The Error a failed result stands for. `code` is the rule's name, or UNIQUE_VIOLATION, FOREIGN_KEY_VIOLATION, CHECK_VIOLATION (with the
/// constraint's name in `extra`), EXCLUSION_VIOLATION, NOT_NULL_VIOLATION, VALUE_INVALID, SERIALIZATION_FAILURE, LOCKED, GATE_SHUT,
/// LEGACY_OWNED. Throws Unavailable, Exhausted, TimedOut or Broken for what is no answer about the data.
Error to_error(const pg_result* failed);
/// Why a connection could not be made, thrown: Exhausted when all of the server's are taken, else Unavailable.
[[noreturn]] void refuse_connection(const std::string& said);
/// The same from its parts, for tests.
Error to_error(std::string_view sqlstate, std::string_view message, std::string_view detail, std::string_view constraint);

}  // namespace enishi::pg

// The schema moves forward by files db/migrations/NNNN_name.sql, which are inside the binary:
//
//   auto all = embedded_migrations();
//   auto lease = co_await db.lease(deadline);                        // as the owner of the database
//   auto done = co_await migrate(lease, *all, "0.1.0");              // Result<MigrationReport>
//
// Each file is one transaction with the row that records it. A file whose first line is `-- no-transaction` runs statement by statement
// (CREATE INDEX CONCURRENTLY cannot run inside a transaction); after a failure it is run again from its top, so its statements must bear
// that (if not exists, drop … if exists). lock_timeout is 5 s, so that no migration queues all traffic behind itself; a file that could not
// get its locks is tried three times. An advisory lock of the session keeps two instances from migrating at once.
//
// The owner need not be a superuser. The roles enishi_app and enishi_read must exist, or the owner have CREATEROLE; `roles_sql` is what an
// administrator runs otherwise.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/embedded.hpp"
#include "base/error.hpp"
#include "io/task.hpp"
#include "pg/database.hpp"

namespace enishi::cluster {

struct Migration {
  int version = 0;
  std::string file;  ///< "0001_foundation.sql"
  std::string name;  ///< "foundation"
  std::string_view sql;
  std::string checksum;  ///< SHA-256 of the file, hex
  bool transaction = true;
};

/// Reads file names and hashes, in the order of their numbers; numbers may be left out. MIGRATIONS_INVALID for a name that is none and a
/// number that is there twice.
Result<std::vector<Migration>> read_migrations(std::span<const embedded::File> files);
/// The files of this binary.
Result<std::vector<Migration>> embedded_migrations();

enum class SchemaState { current, behind, newer };

struct AppliedMigration {
  int version = 0;
  std::string name, checksum, applied_at, by_version;
};

struct SchemaStatus {
  SchemaState state = SchemaState::behind;
  int database = 0;  ///< newest version in the database; 0 for an empty one
  int binary = 0;    ///< newest version in the binary
  std::vector<AppliedMigration> applied;
  std::vector<std::string> pending;  ///< files
};

/// Where the database stands. What is applied must be the first files of the binary, in order: SCHEMA_MISMATCH when one differs
/// or one was left out in between.
/// A database that is newer than the binary is a state, not an error.
Task<Result<SchemaStatus>> schema_status(pg::Lease& lease, const std::vector<Migration>& migrations);
/// {"state":"behind","database":3,"binary":5,"applied":[…],"pending":[…]}
std::string to_json(const SchemaStatus& status);

struct MigrationReport {
  int from = 0, to = 0;
  std::vector<std::string> applied;  ///< files, in order
};

/// Brings the database to the newest version, and its transaction numbers past those of a history that came from another database by
/// pg_dump (some 100,000 a second). HISTORY_TOO_FAR_AHEAD, SCHEMA_NEWER, SCHEMA_MISMATCH, ROLES_MISSING, MIGRATION_FAILED (names the file
/// and says what PostgreSQL said), MIGRATION_BUSY when another instance migrates for longer than `patience`.
Task<Result<MigrationReport>> migrate(pg::Lease& lease, const std::vector<Migration>& migrations, std::string by_version,
                                      Millis patience = Millis(600000));

/// Whether the history holds transaction numbers that this server has not reached: it was moved here and `migrate` has not run since.
Task<Result<bool>> history_is_ahead(pg::Lease& lease);

/// Whether the session may SET ROLE enishi_app; ROLES_MISSING with the way out when not.
Task<Result<void>> check_app_role(pg::Lease& lease);

/// What an administrator runs once on a server that is not Enishi's own.
std::string roles_sql();

/// SQL text cut at its top-level semicolons: strings, quoted names, dollar quotes and comments may contain any.
std::vector<std::string> split_statements(std::string_view sql);

}  // namespace enishi::cluster

// The list of erasures that is kept beside the backups: a restored cluster, which knows nothing of what was erased after its moment, erases
// it again.
//
//   auto list = read_list("/srv/backup/erasures.jsonl");                               // at the start of a server, and after a restore
//   auto people = co_await reapply(lease, *list);
//   spawn(shard, "erasures", keep_list(db, "/srv/backup/erasures.jsonl", stopping));   // appends what is new, and never takes a line away
//
// A line is {"id", "customer_id", "kind", "reason", "until", "actor", "at"}: no person's data.
#pragma once
#include <atomic>
#include <boost/json/array.hpp>
#include <filesystem>
#include <vector>

#include "jobs/jobs.hpp"
#include "pg/database.hpp"

namespace enishi::crm::erasure {

inline constexpr const char* kList = "erasures.jsonl";
/// What lies beside the list in a folder of backups: where it is missing, their disk is not mounted.
inline constexpr const char* kBackupsAreHere = "enishi.backup";

/// The list's lines; no file, none. A last line without its end was cut off by a crash: the database has it still, and it is written again.
/// ERASURE_LIST_BROKEN, ERASURE_LIST_UNREADABLE.
Result<boost::json::array> read_list(const std::filesystem::path& file);
/// Erases again what the list says and the database does not know; how many people. The lease belongs to the schema's owner or to
/// enishi_app.
Task<Result<int>> reapply(pg::Lease& lease, boost::json::array list);

struct Reconciled {
  int listed = 0;  ///< lines that were appended, and are on the disk
  int erased = 0;  ///< people who were erased again
};
/// Makes list and database say the same: what only the list knows is erased again, what only the database knows is appended. Waits for the
/// disk as long as it likes on a thread that is left behind when the caller ends first. BACKUP_GONE, ERASURE_LIST_UNWRITABLE,
/// ERASURE_LIST_BROKEN, ERASURE_LIST_UNREADABLE.
Task<Result<Reconciled>> reconcile(pg::Database& db, std::filesystem::path file);
/// reconcile at once, so that a list which could not be read when the server started is heeded as soon as it can be, and whenever there is
/// something new, looked for every two seconds, until `stopping`. A database without a schema is waited for.
Task<> keep_list(pg::Database& db, std::filesystem::path file, const std::atomic<bool>& stopping);

std::vector<jobs::Job> periodic();

}  // namespace enishi::crm::erasure

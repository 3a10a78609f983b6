// The list of erasures that is kept beside the backups: a restored cluster, which knows nothing of what was erased after its moment, erases
// it again.
//
//   spawn(shard, "erasures", keep_list(db, "/srv/backup/erasures.jsonl", stopping));   // appends what is new, and never takes a line away
//   auto done = co_await reapply(lease, "/srv/backup/erasures.jsonl");                 // at the start of a server, and after a restore
//
// A line is {"id", "customer_id", "kind", "reason", "until", "actor", "at"}: no person's data.
#pragma once
#include <atomic>
#include <filesystem>
#include <vector>

#include "jobs/jobs.hpp"
#include "pg/database.hpp"

namespace enishi::crm::erasure {

inline constexpr const char* kList = "erasures.jsonl";
/// What lies beside the list in a folder of backups: where it is missing, their disk is not mounted.
inline constexpr const char* kBackupsAreHere = "enishi.backup";

/// Appends what the database has and the file has not, and brings it to the disk, on the pool `files`; how many lines. BACKUP_GONE,
/// ERASURE_LIST_UNWRITABLE, ERASURE_LIST_BROKEN.
Task<Result<int>> append_list(pg::Database& db, Offload& files, std::filesystem::path file);
/// append_list whenever there is something new, looked for every two seconds, until `stopping`. A database
/// without a schema is waited for.
Task<> keep_list(pg::Database& db, std::filesystem::path file, const std::atomic<bool>& stopping);
/// Erases again what the file says and the database does not know; how many people. No file: none. The lease belongs to the schema's owner
/// or to enishi_app. ERASURE_LIST_BROKEN.
Task<Result<int>> reapply(pg::Lease& lease, std::filesystem::path file);

std::vector<jobs::Job> periodic();

}  // namespace enishi::crm::erasure

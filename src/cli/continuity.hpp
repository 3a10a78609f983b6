// What serve and the commands of continuity share: settings as the cluster wants them, and the checks of a restored cluster.
#pragma once
#include <filesystem>
#include <optional>
#include <vector>

#include "cli/settings.hpp"
#include "cluster/restore.hpp"

namespace enishi::cli {

/// Whether the data folder is a restored one that was not promoted.
bool is_quiet(const Settings& settings);
/// Backups are made: there is a data folder, it is not quiet, and nobody said off.
bool backups_on(const Settings& settings);
/// Where the settings do not say where the backups are: where the data folder had them before. `synchronous` where they leave it open.
cluster::BackupSettings backup_settings(const Settings& settings, bool synchronous);
/// The list of erasures beside the backups; none without backups.
std::optional<std::filesystem::path> erasure_list(const Settings& settings);
/// Before anybody is served, and while this process has its first rights: makes the backups' folders (one that cannot be made is told by
/// the guardian) and erases again whom the list names, on a connection to `owner`. A disk that does not answer holds nobody: keep_list
/// erases when it is back.
Result<void> meet_backups(const Settings& settings, bool synchronous, const std::string& owner);
/// What a restored cluster is asked besides pg_amcheck and counts: that its history is what was sealed. Who was erased after its moment is
/// erased again first.
std::vector<cluster::Check> continuity_checks(std::optional<std::filesystem::path> list);

}  // namespace enishi::cli

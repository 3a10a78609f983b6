// Where the backups are: pgBackRest's repository (full and differential backups, WAL; checksums, zstd, encrypted) and the folder of the
// WAL receiver beside it.
//
//   Repository repository(settings, data, user);
//   if (auto done = repository.prepare(pg_folder, socket, port); !done) …   // key, pgbackrest.conf, folders
//   auto info = repository.info();                                           // backups, archive, from pgBackRest
//
// In the data folder:  backup.key       encrypts the repository (mode 0600). Keep a copy elsewhere: without it no backup can be read
//                      pgbackrest.conf  written at every start; `pgbackrest --config=… --stanza=enishi info` works by hand
//                      backup.stanza    says that backups of this database exist, and where
// In the backup folder (--backup, DIR/backup by default):  repo/, receiver/ and enishi.backup, a line of JSON for each timeline and mark.
#pragma once
#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "cluster/process.hpp"

namespace enishi::cluster {

inline constexpr std::uint64_t kSegment = 16ULL << 20;  ///< bytes of a WAL file
inline constexpr const char* kStanza = "enishi";
inline constexpr const char* kStanzaNote = "backup.stanza";
/// WAL was written that nobody archives: backups before it do not reach over it, so a new one is due.
inline constexpr const char* kGap = "backup.gap";
/// In the backup folder: a line of JSON for each timeline and mark. Where it is missing the backups' disk is not mounted; only prepare()
/// makes it.
inline constexpr const char* kBackupNote = "enishi.backup";
inline constexpr const char* kBackrestConf = "pgbackrest.conf";
inline constexpr const char* kGuardianConf = "enishi.backup.conf";
inline constexpr const char* kReceiver = "enishi_receiver";  ///< slot and application_name

/// Microseconds since 1970, UTC: PostgreSQL's own resolution.
using Moment = std::chrono::sys_time<std::chrono::microseconds>;

struct BackupSettings {
  bool on = true;
  std::filesystem::path folder;        ///< empty: DIR/backup
  std::filesystem::path receiver;      ///< empty: FOLDER/receiver
  std::filesystem::path key_file;      ///< empty: DIR/backup.key
  std::filesystem::path config_file;   ///< [global] lines of pgBackRest's that win over ours: an object store, for example
  unsigned days = 14;                  ///< window, 1 to 35
  bool synchronous = false;            ///< a commit waits until the receiver has it on its disk
  unsigned sync_outage_seconds = 10;   ///< so long commits wait for a receiver that is away, before they go on without it
  unsigned outage_hours = 24;          ///< so long writes go on while nothing can be backed up; 0: for ever
  unsigned drill_days = 7;             ///< a restore is tried so often; 0: never
  std::filesystem::path drill_folder;  ///< where; empty: DIR/drill
};

/// A write-ahead log position.
struct Lsn {
  std::uint64_t at = 0;
  auto operator<=>(const Lsn&) const = default;
  [[nodiscard]] std::string str() const;
  static std::optional<Lsn> parse(std::string_view text);
};

/// File of 16 MB that holds `lsn` on a timeline.
std::string wal_file_name(std::uint32_t timeline, Lsn lsn);
/// Timeline and first position of a file name of 24 hex digits; nothing for another name.
std::optional<std::pair<std::uint32_t, Lsn>> parse_wal_file(std::string_view name);

struct Backup {
  std::string label, type;
  Moment started{}, finished{};
  Lsn start, stop;
  std::uint32_t timeline = 1;
  std::uint64_t bytes = 0, stored_bytes = 0;
  bool damaged = false;  ///< pgBackRest found pages whose checksum is wrong
};

struct RepositoryInfo {
  std::vector<Backup> backups;  ///< oldest first
  std::string oldest_wal, newest_wal;
  std::string system;   ///< system identifier of the cluster
  std::string archive;  ///< pgBackRest's name for its WAL, 15-1
};

/// One line of enishi.backup.
struct Event {
  std::string kind;  ///< timeline, mark
  std::string name;
  std::uint32_t timeline = 1;
  Lsn lsn;
  Moment at{};
  std::string point = {};  ///< of a mark: PostgreSQL's restore point, which is one mark's alone while names come again
};

class Repository {
 public:
  Repository(BackupSettings settings, std::filesystem::path data, DatabaseUser user);
  /// The settings of a data folder that had backups on (its backup.stanza). DATA_WITHOUT_BACKUP.
  static Result<Repository> of_data(const std::filesystem::path& data, const DatabaseUser& user);

  /// The backup folders, made by whoever may: serve and cluster call it while they still are root. BACKUP_GONE, BACKUP_UNWRITABLE.
  Result<void> make_folders();
  /// Key, folders and pgbackrest.conf for a cluster in `pgdata`. BACKUP_GONE (its disk is not there), BACKUP_KEY_MISSING,
  /// PGBACKREST_MISSING, BACKUP_CONFIG_INVALID.
  Result<void> prepare(const std::filesystem::path& pgdata, const std::filesystem::path& socket, int port);
  /// pgbackrest.conf for a cluster that is restored to `into`/pgdata, written there; makes no key and no folder. When the data folder is
  /// lost, the key is written there, too.
  Result<void> prepare_restore(const std::filesystem::path& into);
  /// Makes the stanza if there is none. BACKUP_OTHER_CLUSTER, BACKUP_FAILED.
  Result<void> ensure_stanza(const std::atomic<bool>* stop = nullptr);
  /// Runs `pgbackrest COMMAND…` with the configuration of `home` (the data folder if empty).
  [[nodiscard]] Finished run(std::vector<std::string> command, Millis limit, const std::atomic<bool>* stop = nullptr,
                             std::function<void(std::string_view)> on_output = {}, const std::filesystem::path& home = {},
                             bool gentle = true) const;
  [[nodiscard]] Result<RepositoryInfo> info(const std::filesystem::path& home = {}) const;
  /// BACKUP_GONE where prepare() made no folder of backups: nothing is written beside an unmounted disk.
  [[nodiscard]] Result<void> note(const Event& event) const;
  [[nodiscard]] std::vector<Event> events() const;
  /// Whether the backup folder is the one that was used before: an unmounted disk leaves an empty folder behind.
  [[nodiscard]] bool reachable() const;

  [[nodiscard]] const BackupSettings& settings() const { return settings_; }
  [[nodiscard]] const std::filesystem::path& folder() const { return settings_.folder; }
  [[nodiscard]] const std::filesystem::path& receiver() const { return settings_.receiver; }
  [[nodiscard]] const std::filesystem::path& data() const { return data_; }
  [[nodiscard]] const DatabaseUser& user() const { return user_; }
  /// Bytes in repo/, or 0 for a repository that is no folder or does not answer.
  [[nodiscard]] std::uint64_t stored_bytes() const;

 private:
  [[nodiscard]] Error gone() const;
  Result<std::string> key(bool may_make);
  Result<std::string> configuration(const std::filesystem::path& home, const std::filesystem::path& pgdata,
                                    const std::filesystem::path& socket, int port, bool may_make_key);
  BackupSettings settings_;
  std::filesystem::path data_;
  DatabaseUser user_;
};

/// Whether backups of that data folder's database exist.
bool has_backups(const std::filesystem::path& data);

/// The guardian's part of PostgreSQL's settings.
std::string guardian_conf(const std::filesystem::path& data, bool synchronous, bool read_only);

/// RFC 3339 with microseconds, UTC.
std::string to_text(Moment moment);
/// Reads 2026-11-22 13:05:01.123456+09, with T, Z and less precision too. Without an offset it is Japan time (+09:00).
std::optional<Moment> parse_moment(std::string_view text);
Moment now();

}  // namespace enishi::cluster

// Where a restore finds WAL: in the repository, and then with the receiver, files included that were not full yet.
//
//   const WalSource source(repository, home, info.system, info.archive);
//   auto file = source.fetch("00000002.history");          // a copy in a folder of its own, gone with the source
//   auto newest = source.last_commit(2, {});               // on timeline 2
//
// The receiver's folders are SYSTEM-TIMELINE, and SYSTEM-TIMELINE-until-MICROSECONDS for what it left behind when it had to begin anew.
#pragma once
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/process.hpp"
#include "cluster/repository.hpp"

namespace enishi::cluster {

inline constexpr const char* kUntil = "-until-";

struct Commit {
  Lsn lsn;
  std::uint64_t xid = 0;
  Moment at{};
};

/// Commits in a WAL file, in WAL order, read with pg_waldump; what cannot be read at its end is left out.
std::vector<Commit> commits_in(const std::filesystem::path& pg_bin, const std::filesystem::path& wal_file, const DatabaseUser& user);

/// Makes the receiver's folder. A file in it that a full disk left shorter than a segment goes: it holds nothing, for none is written to
/// before it has its length, and pg_receivewal refuses to go on over it for ever.
Result<void> make_receiver_folder(const std::filesystem::path& folder, const DatabaseUser& user);

/// The file of that name that the receiver has, whole or partial; `system`: of that database only, empty: of any. Of several the newest
/// wins, or a longer one that begins with all of it: while the receiver begins anew, what it left behind reaches further.
std::optional<std::filesystem::path> received_file(const std::filesystem::path& receiver, std::string_view system, const std::string& name);

/// A scratch folder for WAL that is only read.
struct Scratch {
  std::filesystem::path path;
  Scratch(const std::filesystem::path& home, const DatabaseUser& user);
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch();
};

class WalSource {
 public:
  /// `home` is a folder with a pgbackrest.conf; `system` and `archive` are the RepositoryInfo's. `repository` outlives it.
  WalSource(const Repository& repository, const std::filesystem::path& home, std::string system = {}, std::string archive = {});
  /// A WAL file, or a timeline's history, as a restore would get it.
  [[nodiscard]] std::optional<std::filesystem::path> fetch(const std::string& name) const;
  /// Whether the repository itself has that file.
  [[nodiscard]] bool archived(const std::string& name) const;
  /// Timelines that lead to `timeline`, each with the position at which it was left; empty when nobody has its history.
  [[nodiscard]] std::vector<std::pair<std::uint32_t, Lsn>> ancestry(std::uint32_t timeline) const;
  /// Begin of the newest WAL file of a timeline.
  [[nodiscard]] std::optional<Lsn> newest_file(std::uint32_t timeline) const;
  /// The newest commit of a timeline, and the latest stamp near it; looked for down to the file of `floor`.
  [[nodiscard]] std::optional<Commit> last_commit(const std::filesystem::path& pg_bin, std::uint32_t timeline, Lsn floor) const;
  /// Timelines of which the receiver has WAL.
  [[nodiscard]] std::set<std::uint32_t> received_timelines() const;
  /// The text of a restore_command, wal-get.sh FILE INTO, which notes in `log` where each file came from.
  [[nodiscard]] std::string script(const std::filesystem::path& log) const;

 private:
  [[nodiscard]] std::set<std::string> received() const;
  void stand_in(const std::filesystem::path& pg_bin) const;
  const Repository& repository_;
  std::filesystem::path home_;
  std::string system_, archive_;
  Scratch scratch_;
  mutable std::filesystem::path cluster_;  ///< stands in for the one that is lost
};

}  // namespace enishi::cluster

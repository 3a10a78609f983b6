// Files of a data folder, as cluster, backup and restore write and read them: private, owned by the database's user, whole after a crash.
//
//   if (auto done = put(data / "pgbackrest.conf", text, user); !done) return tl::make_unexpected(done.error());
//   auto lock = take_lock(data, user);        // DATA_IN_USE while another Enishi has it
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.hpp"
#include "cluster/process.hpp"

namespace enishi::cluster {

inline constexpr const char* kMarker = "enishi.cluster";
inline constexpr const char* kLock = "enishi.lock";
/// In the folder of a restored cluster until it is promoted: it is quiet, no jobs, no backup.
inline constexpr const char* kQuiet = "enishi.restored";

/// The whole file; empty when it cannot be read.
std::string slurp(const std::filesystem::path& path);
/// The end of what a program said, without white space after it.
std::string tail(const std::string& text, std::size_t most = 1500);
/// DISK_FULL or DATA_UNWRITABLE.
Error unwritable(const std::filesystem::path& path, int code);
/// Writes through a temporary name, so that a crash leaves the old file or the new one; owned by the database's user, mode 0600.
Result<void> put(const std::filesystem::path& path, const std::string& text, const DatabaseUser& user);
/// Adds a line to a file of mode 0600, and syncs it; a file that is not there is made, unless `make` is false.
Result<void> append_line(const std::filesystem::path& path, const std::string& line, const DatabaseUser& user, bool make = true);
/// A folder of mode 0700 that belongs to the database's user.
Result<void> private_folder(const std::filesystem::path& path, const DatabaseUser& user);
/// DATA_UNREACHABLE when the database's user cannot enter a folder above `data`.
Result<void> check_reachable(const std::filesystem::path& data, const DatabaseUser& user);
/// A folder that was copied as root belongs to root; PostgreSQL refuses data that is not its user's.
Result<void> fix_owner(const std::filesystem::path& pgdata, const DatabaseUser& user);
/// Bytes that may still be written there; 0 when nobody knows.
std::uint64_t free_disk(const std::filesystem::path& path);
/// 'text' as a libpq connection string reads it.
std::string conninfo_value(std::string_view text);
/// 'text' as a shell reads it.
std::string shell_word(std::string_view text);
/// 'text' as postgresql.conf reads it.
std::string conf_value(std::string_view text);

/// flock(2) of the folder, kept while it lives.
struct Lock {
  int fd = -1;
  Lock() = default;
  Lock(Lock&& other) noexcept : fd(std::exchange(other.fd, -1)) {}
  Lock& operator=(Lock&& other) noexcept {
    std::swap(fd, other.fd);
    return *this;
  }
  ~Lock();
};
/// DATA_IN_USE when another Enishi has it, and goes on having it for a second.
Result<Lock> take_lock(const std::filesystem::path& data, const DatabaseUser& user);
/// Whether an Enishi has it now.
bool in_use(const std::filesystem::path& data);

}  // namespace enishi::cluster

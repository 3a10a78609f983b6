// PostgreSQL's settings by the size of the machine, and which PostgreSQL to run.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <regex>

#include "cluster/cluster.hpp"
#include "cluster/files.hpp"
#include "cluster/process.hpp"
#include "cluster/repository.hpp"

namespace enishi::cluster {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMiB = 1024 * 1024;
constexpr int kOldest = 15;

int major_of(const fs::path& bin) {
  const auto asked = run_command({{bin / "postgres", "--version"}, {}, {}, Millis(10000)});
  std::smatch m;
  static const std::regex version(R"(\(PostgreSQL\) (\d+))");
  return asked.status == 0 && std::regex_search(asked.output, m, version) ? std::stoi(m[1]) : 0;
}

/// What the pgBackRest on this machine can back up; 0 without one.
int backup_limit() {
  for (const auto* place : {"/usr/bin/pgbackrest", "/usr/local/bin/pgbackrest"}) {
    if (access(place, X_OK) != 0) continue;
    const auto asked = run_command({{place, "version"}, {}, {}, Millis(10000)});
    std::smatch m;
    static const std::regex version(R"((\d+\.\d+(\.\d+)?))");
    if (asked.status == 0 && std::regex_search(asked.output, m, version)) return newest_supported_by_pgbackrest(m[1].str());
  }
  return 0;
}

std::uint64_t number_in(const fs::path& file) {
  std::ifstream in(file);
  std::uint64_t n = 0;
  return in >> n ? n : 0;
}

}  // namespace

int newest_supported_by_pgbackrest(std::string_view version) {
  // pgBackRest's release notes (pgbackrest.org/release.html), each line rounded up to a release that has it for certain: a pgBackRest that
  // does not know a version refuses to back it up, so a new cluster must not be newer than this.
  struct Line {
    int minor, postgres;
  };
  static constexpr Line kTable[] = {{56, 18}, {54, 17}, {48, 16}, {41, 15}};
  int minor = 0;
  if (!version.starts_with("2.")) return version.empty() || version[0] < '3' ? 0 : kTable[0].postgres;
  for (const char c : version.substr(2)) {
    if (c < '0' || c > '9') break;
    minor = minor * 10 + (c - '0');
  }
  for (const auto& line : kTable)
    if (minor >= line.minor) return line.postgres;
  return 0;
}

Result<Binaries> find_binaries(const fs::path& pg_bin, int wanted) {
  if (!pg_bin.empty()) {
    const int major = access((pg_bin / "initdb").c_str(), X_OK) == 0 ? major_of(pg_bin) : 0;
    if (major == 0)
      return fail(Kind::unavailable, "POSTGRES_MISSING",
                  "there are no PostgreSQL programs (postgres, initdb) in \"" + pg_bin.string() + "\", the folder --pg-bin names");
    if (wanted != 0 && major != wanted)
      return fail(Kind::unavailable, "POSTGRES_VERSION",
                  fmt::format("the data folder was made by PostgreSQL {}, and \"{}\" holds PostgreSQL {}", wanted, pg_bin.string(), major));
    if (major < kOldest)
      return fail(Kind::unavailable, "POSTGRES_VERSION",
                  fmt::format("Enishi needs PostgreSQL {} or newer, \"{}\" holds {}", kOldest, pg_bin.string(), major));
    return Binaries{pg_bin, major};
  }
  std::vector<Binaries> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/usr/lib/postgresql", ignored)) {
    const auto bin = entry.path() / "bin";
    const int major = std::atoi(entry.path().filename().c_str());
    if (major >= kOldest && access((bin / "postgres").c_str(), X_OK) == 0 && access((bin / "initdb").c_str(), X_OK) == 0)
      found.push_back({bin, major});
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.major > b.major; });
  if (wanted != 0) {
    for (const auto& one : found)
      if (one.major == wanted) return one;
    return fail(
        Kind::unavailable, "POSTGRES_VERSION",
        fmt::format("the data folder was made by PostgreSQL {0}, which is not in /usr/lib/postgresql. Install the package postgresql-{0}, "
                    "or name the folder of its programs with --pg-bin.",
                    wanted));
  }
  if (found.empty())
    return fail(
        Kind::unavailable, "POSTGRES_MISSING",
        fmt::format(
            "no PostgreSQL {} or newer in /usr/lib/postgresql. Install the package postgresql-{}, name the folder of its programs with "
            "--pg-bin, or connect to a server with --database.",
            kOldest, kOldest));
  const int limit = backup_limit();
  for (const auto& one : found)
    if (limit == 0 || one.major <= limit) return one;
  return fail(Kind::unavailable, "POSTGRES_VERSION",
              fmt::format("the installed pgBackRest backs up PostgreSQL {} at most, and only newer ones are in /usr/lib/postgresql. "
                          "Update pgBackRest, or choose with --pg-bin.",
                          limit));
}

std::uint64_t machine_memory() {
  auto bytes = static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::uint64_t>(sysconf(_SC_PAGE_SIZE));
  // A container's limit: cgroup v2, then v1. "max" reads as 0.
  for (const auto* file : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"})
    if (const auto limit = number_in(file); limit > 0) bytes = std::min(bytes, limit);
  return bytes;
}

std::string server_settings(std::uint64_t memory, std::uint64_t free_disk, const Options& options, const fs::path& socket_folder) {
  if (options.small) memory = std::min(memory, 512 * kMiB);
  const auto shared = std::clamp<std::uint64_t>(memory / 4, 64 * kMiB, 8192 * kMiB) / kMiB;
  const auto cache = std::max<std::uint64_t>(memory / 2, 128 * kMiB) / kMiB;
  const auto maintenance = std::clamp<std::uint64_t>(memory / 16, 64 * kMiB, 1024 * kMiB) / kMiB;
  const auto work = std::clamp<std::uint64_t>(memory / 1024, 4 * kMiB, 32 * kMiB) / kMiB;
  // WAL may take a tenth of what is free at most, or a small disk fills up between two checkpoints.
  const auto wal = std::clamp<std::uint64_t>(free_disk / 10, 256 * kMiB, 4096 * kMiB) / kMiB;
  std::string out = "# Written by Enishi at every start. Put your own settings into postgresql.local.conf in the data folder: they win.\n";
  auto set = [&](std::string_view name, const std::string& value) { out += fmt::format("{} = {}\n", name, value); };
  set("listen_addresses", options.pg_port ? "'127.0.0.1'" : "''");
  set("port", std::to_string(options.pg_port.value_or(5432)));
  set("unix_socket_directories", conf_value(socket_folder.string()));
  set("unix_socket_permissions", "0700");
  set("max_connections", std::to_string(options.max_connections));
  set("superuser_reserved_connections", "3");
  set("password_encryption", "scram-sha-256");

  set("shared_buffers", fmt::format("{}MB", shared));
  set("huge_pages", "try");
  set("effective_cache_size", fmt::format("{}MB", cache));
  set("maintenance_work_mem", fmt::format("{}MB", maintenance));
  set("work_mem", fmt::format("{}MB", work));
  set("random_page_cost", "1.1");
  set("effective_io_concurrency", "200");
  set("jit", "off");

  set("wal_level", options.logical ? "logical" : "replica");
  set("max_wal_senders", "10");
  set("max_replication_slots", "10");
  set("synchronous_commit", "on");
  set("wal_compression", "lz4");
  set("checkpoint_timeout", "'15min'");
  set("checkpoint_completion_target", "0.9");
  set("max_wal_size", fmt::format("{}MB", wal));
  set("min_wal_size", fmt::format("{}MB", wal / 4));

  set("timezone", "'UTC'");
  set("log_timezone", "'UTC'");
  set("lc_messages", "'C'");
  set("default_text_search_config", "'pg_catalog.simple'");
  set("track_io_timing", "on");
  set("autovacuum_vacuum_cost_limit", "1000");

  set("logging_collector", "on");
  set("log_destination", "'jsonlog'");
  set("log_directory", "'../log'");
  set("log_filename", "'postgresql-%a.log'");
  set("log_file_mode", "0600");
  set("log_rotation_age", "'1d'");
  set("log_rotation_size", "0");
  set("log_truncate_on_rotation", "on");
  // People's data must not reach the log: no parameters, no statements' texts of our own accord, no DETAIL (it quotes keys and rows).
  set("log_statement", "'none'");
  set("log_parameter_max_length", "0");
  set("log_parameter_max_length_on_error", "0");
  set("log_error_verbosity", "'terse'");
  set("log_min_duration_statement", "-1");
  set("log_lock_waits", "on");
  set("log_checkpoints", "on");
  set("log_autovacuum_min_duration", "'10s'");
  // A receiver that stays away must not fill the disk by its slot; the repository has what the slot lets go of.
  set("max_slot_wal_keep_size", fmt::format("{}MB", std::clamp<std::uint64_t>(free_disk / 4, 512 * kMiB, 16384 * kMiB) / kMiB));
  if (options.archive) {
    // archive_command and synchronous_standby_names come from the guardian, who knows when they work (guardian.hpp).
    set("archive_mode", "on");
    set("archive_timeout", "'60s'");
    set("include_if_exists", conf_value(kGuardianConf));
  } else {
    set("archive_mode", "off");
  }
  out += options.more_settings;
  if (!options.durable) {
    set("fsync", "off");
    set("full_page_writes", "off");
  }
  return out;
}

}  // namespace enishi::cluster

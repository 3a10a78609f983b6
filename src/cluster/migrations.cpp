#include "cluster/migrations.hpp"

#include <fmt/format.h>
#include <openssl/sha.h>

#include <algorithm>
#include <regex>

#include "base/log.hpp"
#include "cluster/migrations.sql.hpp"
#include "embedded/migrations.hpp"
#include "pg/errors.hpp"

namespace enishi::cluster {
namespace {

constexpr int kLockTries = 3;

std::string sha256(std::string_view text) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  std::string out;
  for (const auto byte : digest) out += fmt::format("{:02x}", byte);
  return out;
}

Deadline soon() { return Deadline::in(Millis(15000)); }
/// Backfills and index builds on millions of rows; the operator can interrupt, the server has no timeout here.
Deadline long_work() { return Deadline::in(std::chrono::hours(12)); }

Error failed(const std::string& file, std::string_view what) {
  return {Kind::internal, "MIGRATION_FAILED", fmt::format("migration {} failed: {}", file, what), {}, {}, 0};
}

Task<Result<void>> ensure_roles(pg::Lease& lease) {
  auto missing = co_await lease.run(sql::migrations::missing_roles, {}, soon());
  if (!missing) co_return tl::make_unexpected(missing.error());
  for (std::size_t i = 0; i < missing->size(); ++i) {
    const std::string role(missing->text(i, 0));
    if (!missing->boolean(i, 1))
      co_return fail(Kind::forbidden, "ROLES_MISSING",
                     fmt::format("the role \"{}\" does not exist and this user may not create roles. An administrator runs what "
                                 "`enishi db roles` prints, once.",
                                 role));
    auto made = co_await lease.script(fmt::format("create role {0} nologin; grant {0} to current_user", role), soon());
    if (!made) co_return tl::make_unexpected(made.error());
    log_info("made a role", {{"role", role}});
  }
  co_return Result<void>();
}

Task<Result<void>> ensure_table(pg::Lease& lease) {
  const std::string text =
      "create table if not exists schema_migration ("
      "version integer primary key check (version > 0), name text not null, checksum text not null, "
      "applied_at timestamptz not null default now(), by_version text not null);"
      "grant select on schema_migration to enishi_app, enishi_read";
  auto made = co_await lease.script(text, soon());
  if (!made) co_return tl::make_unexpected(made.error());
  co_return Result<void>();
}

Task<Result<void>> apply_in_transaction(pg::Lease& lease, const Migration& m, std::string by_version) {
  co_await lease.begin(soon());
  auto done = co_await lease.script(std::string(m.sql), long_work());
  if (done) done = co_await lease.run(sql::migrations::record, pg::params(m.version, m.name, m.checksum, by_version), soon());
  if (!done) {
    co_await lease.rollback(soon());
    co_return tl::make_unexpected(done.error());
  }
  co_await lease.commit(soon());
  co_return Result<void>();
}

Task<Result<void>> apply_statements(pg::Lease& lease, const Migration& m, std::string by_version) {
  for (const auto& statement : split_statements(m.sql)) {
    auto done = co_await lease.script(statement, long_work());
    if (!done) co_return tl::make_unexpected(done.error());
  }
  auto done = co_await lease.run(sql::migrations::record, pg::params(m.version, m.name, m.checksum, by_version), soon());
  if (!done) co_return tl::make_unexpected(done.error());
  co_return Result<void>();
}

/// One file, tried again when it could not get its locks within lock_timeout. What PostgreSQL refused comes back as MIGRATION_FAILED.
Task<Result<void>> apply(pg::Lease& lease, const Migration& m, std::string by_version) {
  for (int attempt = 1;; ++attempt) {
    std::string problem;
    bool again = false;
    try {
      Result<void> done =
          m.transaction ? co_await apply_in_transaction(lease, m, by_version) : co_await apply_statements(lease, m, by_version);
      if (done) co_return done;
      problem = done.error().detail;
      if (!done.error().extra.empty()) problem += " " + done.error().extra;
      again = done.error().code == "LOCKED";
    } catch (const pg::TimedOut& e) {
      problem = e.what();
      again = true;
    } catch (const pg::CommitRefused& e) {
      problem = e.error.detail;
    } catch (const pg::Broken& e) {
      problem = e.what();
    }
    if (again && attempt < kLockTries) {
      log_warning("a migration could not get its locks; trying again", {{"file", m.file}, {"attempt", attempt}});
      co_await sleep(Millis(1000 * attempt));
    }
    // An error may have left the transaction open, when it was thrown between begin and commit.
    if (m.transaction) {
      try {
        co_await lease.rollback(soon());
      } catch (const pg::Broken&) {
      }
    }
    if (!again || attempt >= kLockTries) co_return tl::make_unexpected(failed(m.file, problem));
  }
}

Task<Result<MigrationReport>> migrate_locked(pg::Lease& lease, const std::vector<Migration>& migrations, std::string by_version) {
  if (auto roles = co_await ensure_roles(lease); !roles) co_return tl::make_unexpected(roles.error());
  if (auto table = co_await ensure_table(lease); !table) co_return tl::make_unexpected(table.error());
  auto status = co_await schema_status(lease, migrations);
  if (!status) co_return tl::make_unexpected(status.error());
  if (status->state == SchemaState::newer)
    co_return fail(
        Kind::conflict, "SCHEMA_NEWER",
        fmt::format("the database is at schema version {} and this Enishi knows only {}: use the newer Enishi, or restore a backup "
                    "from before its migration",
                    status->database, status->binary));
  MigrationReport report{status->database, status->database, {}};
  for (const auto& m : migrations) {
    if (m.version <= status->database) continue;
    const auto began = steady_now();
    if (auto done = co_await apply(lease, m, by_version); !done) co_return tl::make_unexpected(done.error());
    log_info("migrated", {{"file", m.file}, {"ms", std::chrono::duration_cast<Millis>(steady_now() - began).count()}});
    report.applied.push_back(m.file);
    report.to = m.version;
  }
  co_return report;
}

}  // namespace

Result<std::vector<Migration>> read_migrations(std::span<const embedded::File> files) {
  static const std::regex shape(R"((\d{4})_([a-z0-9_]+)\.sql)");
  std::vector<Migration> out;
  for (const auto& file : files) {
    const std::string path(file.path);
    std::smatch m;
    if (!std::regex_match(path, m, shape))
      return fail(Kind::internal, "MIGRATIONS_INVALID", "\"" + path + "\" is no migration: names read NNNN_lower_case.sql");
    Migration one{std::stoi(m[1]), path, m[2], file.bytes, sha256(file.bytes), !file.bytes.starts_with("-- no-transaction")};
    out.push_back(std::move(one));
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.file < b.file; });
  for (std::size_t i = 0; i < out.size(); ++i)
    if (out[i].version == (i == 0 ? 0 : out[i - 1].version))
      return fail(Kind::internal, "MIGRATIONS_INVALID", fmt::format("\"{}\" has a number that is taken, or 0000", out[i].file));
  return out;
}

Result<std::vector<Migration>> embedded_migrations() { return read_migrations(embedded::migrations); }

Task<Result<SchemaStatus>> schema_status(pg::Lease& lease, const std::vector<Migration>& migrations) {
  SchemaStatus status;
  status.binary = migrations.empty() ? 0 : migrations.back().version;
  auto exists = co_await lease.run(sql::migrations::table_exists, {}, soon());
  if (!exists) co_return tl::make_unexpected(exists.error());
  if (exists->boolean(0, 0)) {
    auto rows = co_await lease.run(sql::migrations::applied, {}, soon());
    if (!rows) co_return tl::make_unexpected(rows.error());
    for (std::size_t i = 0; i < rows->size(); ++i)
      status.applied.push_back({static_cast<int>(rows->integer(i, 0)), std::string(rows->text(i, 1)), std::string(rows->text(i, 2)),
                                std::string(rows->text(i, 3)), std::string(rows->text(i, 4))});
  }
  for (std::size_t i = 0; i < status.applied.size(); ++i) {
    const auto& row = status.applied[i];
    if (i < migrations.size() && row.version > migrations[i].version)
      co_return fail(
          Kind::conflict, "SCHEMA_MISMATCH",
          fmt::format("migration {} was not applied, and the later one {:04} was: migrations are applied in order. Give it a number above "
                      "those that are applied.",
                      migrations[i].file, row.version));
    if (i < migrations.size() && row.version < migrations[i].version)
      co_return fail(
          Kind::conflict, "SCHEMA_MISMATCH",
          fmt::format("migration {:04} ({}) was applied to the database, and this Enishi does not have it", row.version, row.name));
    if (i < migrations.size() && row.checksum != migrations[i].checksum)
      co_return fail(
          Kind::conflict, "SCHEMA_MISMATCH",
          fmt::format("migration {} was applied on {} by version {} with another content (as \"{}\"). An applied migration never changes: "
                      "put the file back, and write a new one.",
                      migrations[i].file, row.applied_at, row.by_version, row.name));
  }
  status.database = status.applied.empty() ? 0 : status.applied.back().version;
  for (auto i = status.applied.size(); i < migrations.size(); ++i) status.pending.push_back(migrations[i].file);
  status.state = status.applied.size() > migrations.size() ? SchemaState::newer
                 : status.pending.empty()                  ? SchemaState::current
                                                           : SchemaState::behind;
  co_return status;
}

std::string to_json(const SchemaStatus& status) {
  static constexpr const char* kNames[] = {"current", "behind", "newer"};
  std::string applied, pending;
  for (const auto& a : status.applied)
    applied +=
        fmt::format("{}{{\"version\":{},\"name\":{},\"checksum\":{},\"applied_at\":{},\"by_version\":{}}}", applied.empty() ? "" : ",",
                    a.version, json_quote(a.name), json_quote(a.checksum), json_quote(a.applied_at), json_quote(a.by_version));
  for (const auto& p : status.pending) pending += (pending.empty() ? "" : ",") + json_quote(p);
  return fmt::format("{{\"state\":\"{}\",\"database\":{},\"binary\":{},\"applied\":[{}],\"pending\":[{}]}}",
                     kNames[static_cast<int>(status.state)], status.database, status.binary, applied, pending);
}

namespace {

/// A database that came by pg_dump counts its transactions anew, while the rows of its history keep the numbers they had: who reads in the
/// order of (xid, id), as events and seals do, would not see a new row for years. The numbers in between are used up.
Task<Result<void>> catch_up(pg::Lease& lease) {
  auto known = co_await lease.run(sql::migrations::has_history, {}, soon());
  if (!known) co_return tl::make_unexpected(known.error());
  if (!known->boolean(0, 0)) co_return Result<void>();
  auto ahead = co_await lease.run(sql::migrations::transactions_ahead, {}, soon());
  if (!ahead) co_return tl::make_unexpected(ahead.error());
  const auto missing = ahead->integer(0, 0);
  if (missing <= 0) co_return Result<void>();
  // The counter of PostgreSQL goes round after two billion unfrozen transactions.
  if (missing > 1'500'000'000)
    co_return fail(
        Kind::conflict, "HISTORY_TOO_FAR_AHEAD",
        fmt::format("the history comes from a database that counted {} transactions more than this one, which is more than can be "
                    "passed: restore it with its files (enishi restore) instead of pg_restore",
                    missing));
  log_info("the history comes from another database; passing its transaction numbers", {{"transactions", missing}});
  auto passed = co_await lease.script("set synchronous_commit = off; set statement_timeout = 0", soon());
  if (!passed) co_return tl::make_unexpected(passed.error());
  passed = co_await lease.script(R"(do $$
declare
  newest xid8;
begin
  select greatest((select h.xid from public.history h order by h.xid desc, h.id desc limit 1), (select r.xid from public.takeover_reverse r order by r.xid desc, r.id desc limit 1)) into newest;
  while pg_current_xact_id() <= newest loop commit; end loop;
end $$)",
                                 Deadline::in(Millis(6 * 3600 * 1000)));
  if (!passed) co_return tl::make_unexpected(passed.error());
  co_return Result<void>();
}

}  // namespace

Task<Result<MigrationReport>> migrate(pg::Lease& lease, const std::vector<Migration>& migrations, std::string by_version, Millis patience) {
  auto set =
      co_await lease.script("set statement_timeout = 0; set lock_timeout = '5s'; set idle_in_transaction_session_timeout = 0", soon());
  if (!set) co_return tl::make_unexpected(set.error());
  // Tried, never waited for: a session that waits inside pg_advisory_lock holds a snapshot, for which CREATE INDEX CONCURRENTLY of the
  // instance that has the lock would wait in turn.
  const auto limit = Deadline::in(patience);
  bool told = false;
  for (;;) {
    auto got = co_await lease.run(sql::migrations::try_lock, {}, soon());
    if (!got) co_return tl::make_unexpected(got.error());
    if (got->boolean(0, 0)) break;
    if (limit.passed())
      co_return fail(Kind::unavailable, "MIGRATION_BUSY", "another Enishi is migrating this database and has not finished");
    if (!std::exchange(told, true)) log_info("another Enishi is migrating this database; waiting for it");
    co_await sleep(Millis(200));
  }
  std::exception_ptr thrown;
  Result<MigrationReport> report = fail(Kind::internal, "MIGRATION_FAILED", "the migration did not run");
  try {
    report = co_await migrate_locked(lease, migrations, std::move(by_version));
    if (report)
      if (auto caught_up = co_await catch_up(lease); !caught_up) report = tl::make_unexpected(caught_up.error());
  } catch (const pg::Broken& e) {
    report = fail(Kind::internal, "MIGRATION_FAILED", e.what());
  } catch (...) {
    thrown = std::current_exception();
  }
  if (thrown) std::rethrow_exception(thrown);  // the connection is gone or unusable, and the lock with it
  auto unlocked = co_await lease.run(sql::migrations::unlock, {}, soon());
  if (!unlocked && report) co_return tl::make_unexpected(unlocked.error());
  co_return report;
}

Task<Result<bool>> history_is_ahead(pg::Lease& lease) {
  auto known = co_await lease.run(sql::migrations::has_history, {}, soon());
  if (!known) co_return tl::make_unexpected(known.error());
  if (!known->boolean(0, 0)) co_return false;
  auto ahead = co_await lease.run(sql::migrations::transactions_ahead, {}, soon());
  if (!ahead) co_return tl::make_unexpected(ahead.error());
  co_return ahead->integer(0, 0) > 0;
}

Task<Result<void>> check_app_role(pg::Lease& lease) {
  auto may = co_await lease.run(sql::migrations::may_act_as_app, {}, soon());
  if (!may) co_return tl::make_unexpected(may.error());
  if (may->null(0, 0) || !may->boolean(0, 0))
    co_return fail(
        Kind::forbidden, "ROLES_MISSING",
        "the login of --database is no member of the role \"enishi_app\", as which Enishi works. Run: grant enishi_app to <that login>; "
        "(`enishi db roles` prints the whole set-up)");
  co_return Result<void>();
}

std::string roles_sql() {
  return R"(-- Run once, as an administrator of the server (no superuser needed: CREATEROLE and CREATEDB do). Choose the passwords.
create role enishi_owner login password 'CHANGE-ME';          -- owns the database; migrates it
create role enishi_app nologin;                               -- what the application may do; migrations grant it
create role enishi_read nologin;                              -- reports and dashboards
grant enishi_app to enishi_owner;
create role enishi_server login password 'CHANGE-ME-TOO' in role enishi_app;   -- the login of `enishi serve --database`
grant enishi_owner to current_user;                           -- so that this administrator may make it the database's owner
create database enishi owner enishi_owner template template0 encoding 'UTF8';
)";
}

std::vector<std::string> split_statements(std::string_view sql) {
  std::vector<std::string> out;
  std::string current;
  bool content = false;
  const auto word = [](char c) { return (std::isalnum(static_cast<unsigned char>(c)) != 0) || c == '_' || (c & 0x80) != 0; };
  std::size_t i = 0;
  const auto copy_to = [&](std::size_t end) {
    end = std::min(end, sql.size());
    current.append(sql.substr(i, end - i));
    i = end;
  };
  const auto after = [&](std::string_view mark, std::size_t from) {
    const auto at = sql.find(mark, from);
    return at == std::string_view::npos ? sql.size() : at + mark.size();
  };
  while (i < sql.size()) {
    const auto rest = sql.substr(i);
    if (rest.starts_with("--")) {
      copy_to(after("\n", i));
      continue;
    }
    if (rest.starts_with("/*")) {  // these nest
      std::size_t at = i + 2;
      for (int depth = 1; depth > 0 && at < sql.size();) {
        if (sql.substr(at).starts_with("/*")) {
          ++depth;
          at += 2;
        } else if (sql.substr(at).starts_with("*/")) {
          --depth;
          at += 2;
        } else
          ++at;
      }
      copy_to(at);
      continue;
    }
    if (sql[i] == ';') {
      if (content) out.push_back(std::move(current));
      current.clear();
      content = false;
      ++i;
      continue;
    }
    if (std::isspace(static_cast<unsigned char>(sql[i])) == 0) content = true;
    if (sql[i] == '\'' || sql[i] == '"') {
      const bool escapes = sql[i] == '\'' && i > 0 && (sql[i - 1] == 'e' || sql[i - 1] == 'E') && (i < 2 || !word(sql[i - 2]));
      const char quote = sql[i];
      std::size_t at = i + 1;
      while (at < sql.size() && sql[at] != quote) at += escapes && sql[at] == '\\' ? 2 : 1;
      copy_to(at + 1);  // a doubled quote opens the next string at once
      continue;
    }
    if (sql[i] == '$' && (i == 0 || !word(sql[i - 1]))) {
      std::size_t end = i + 1;
      while (end < sql.size() && word(sql[end])) ++end;
      const bool tag = end < sql.size() && sql[end] == '$' && (end == i + 1 || std::isdigit(static_cast<unsigned char>(sql[i + 1])) == 0);
      if (tag) {
        const auto mark = sql.substr(i, end + 1 - i);
        copy_to(after(mark, end + 1));
        continue;
      }
    }
    copy_to(i + 1);
  }
  if (content) out.push_back(std::move(current));
  return out;
}

}  // namespace enishi::cluster

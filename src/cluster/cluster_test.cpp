#include "cluster/cluster.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "cluster/files.hpp"
#include "cluster/migrations.hpp"
#include "cluster/process.hpp"
#include "pg/errors.hpp"

namespace enishi::cluster {
namespace {

namespace fs = std::filesystem;

/// A folder of this test run, gone afterwards.
struct TemporaryFolder {
  fs::path path;
  TemporaryFolder() {
    std::string pattern = "/tmp/enishi-test-XXXXXX";
    path = mkdtemp(pattern.data());
    chmod(path.c_str(), 0755);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

/// One connection, used from a loop of its own.
struct Client {
  Shard shard{0};
  Offload offload{1, 16};
  pg::Database db;
  explicit Client(std::string conninfo, std::string role = {}) : db(shard, offload, config(std::move(conninfo), std::move(role))) {}
  static pg::Config config(std::string conninfo, std::string role) {
    pg::Config c;
    c.conninfo = std::move(conninfo);
    c.role = std::move(role);
    c.leases = 2;
    return c;
  }
  static Task<std::string> first_value(pg::Database& db, std::string sql) {
    auto lease = co_await db.lease();
    auto rows = co_await lease.script(sql, Deadline::in(Millis(20000)));
    if (!rows) co_return "error: " + rows.error().code + " " + rows.error().detail;
    co_return rows->size() > 0 && rows->columns() > 0 ? std::string(rows->text(0, 0)) : std::string();
  }
  /// The first value of the answer, or "error: …".
  std::string ask(std::string sql) {
    try {
      return run_task(shard.context(), first_value(db, std::move(sql)));
    } catch (const std::exception& e) {
      return std::string("error: ") + e.what();
    }
  }
  static Task<Result<MigrationReport>> migrating(pg::Database& db, const std::vector<Migration>& all) {
    auto lease = co_await db.lease();
    co_return co_await migrate(lease, all, "test");
  }
  Result<MigrationReport> migrate_with(const std::vector<Migration>& all) { return run_task(shard.context(), migrating(db, all)); }
  static Task<Result<SchemaStatus>> looking(pg::Database& db, const std::vector<Migration>& all) {
    auto lease = co_await db.lease();
    co_return co_await schema_status(lease, all);
  }
  Result<SchemaStatus> status_with(const std::vector<Migration>& all) { return run_task(shard.context(), looking(db, all)); }
};

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const auto at = text.find(from);
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

Options quick(fs::path data) {
  Options options;
  options.data = std::move(data);
  options.durable = false;
  options.max_connections = 30;
  return options;
}

TEST(DataFolder, is_not_in_use_by_whoever_only_looks_whether_it_is) {
  const TemporaryFolder folder;
  const auto user = *database_user();
  {
    auto mine = take_lock(folder.path, user);
    ASSERT_TRUE(mine) << mine.error().detail;
    EXPECT_TRUE(in_use(folder.path));
    auto other = take_lock(folder.path, user);
    ASSERT_FALSE(other);
    EXPECT_EQ(other.error().code, "DATA_IN_USE");
  }
  EXPECT_FALSE(in_use(folder.path));
  const int looking = open((folder.path / kLock).c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_EQ(flock(looking, LOCK_SH), 0);
  EXPECT_FALSE(in_use(folder.path)) << "two that look";
  bool taken = false;
  std::thread taking([&] { taken = take_lock(folder.path, user).has_value(); });
  flock(looking, LOCK_UN);
  taking.join();
  EXPECT_TRUE(taken);
  ::close(looking);
}

/// Most tests share one folder, for each initdb costs seconds; every test starts and ends with a stopped cluster.
class Cluster : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { folder_ = std::make_unique<TemporaryFolder>(); }
  static void TearDownTestSuite() { folder_.reset(); }
  static fs::path data() { return folder_->path / "data"; }
  static std::unique_ptr<EmbeddedCluster> start() {
    auto started = EmbeddedCluster::start(quick(data()));
    if (!started) throw std::runtime_error(started.error().code + ": " + started.error().detail);
    return std::move(*started);
  }
  static std::unique_ptr<TemporaryFolder> folder_;
};
std::unique_ptr<TemporaryFolder> Cluster::folder_;

TEST_F(Cluster, is_made_on_the_first_start_and_keeps_its_data_for_the_second) {
  {
    auto cluster = start();
    Client root(cluster->conninfo("postgres"));
    EXPECT_EQ(root.ask("show server_encoding"), "UTF8");
    EXPECT_EQ(root.ask("show data_checksums"), "on");
    EXPECT_EQ(root.ask("show listen_addresses"), "");
    EXPECT_EQ(root.ask("show wal_level"), "replica");
    EXPECT_EQ(root.ask("show log_parameter_max_length_on_error"), "0");
    EXPECT_EQ(root.ask("select string_agg(x, '' order by x collate \"ja-x-icu\") from unnest(array['う','あ','い']) x"), "あいう");
    EXPECT_EQ(root.ask("select bool_or(rolsuper or rolcreaterole or rolcreatedb) from pg_roles where rolname like 'enishi_%'"), "f");
    EXPECT_EQ(root.ask("select pg_get_userbyid(datdba) from pg_database where datname = 'enishi'"), "enishi_owner");
    struct stat st{};
    ASSERT_EQ(stat(cluster->socket_folder().c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0700U);
    EXPECT_EQ(st.st_uid, database_user()->uid);
    Client owner(cluster->conninfo("enishi_owner"));
    EXPECT_TRUE(owner.ask("create table kept (v integer); insert into kept values (縁)").starts_with("error: "));
    EXPECT_EQ(owner.ask("create table kept (v text); insert into kept values ('縁')"), "");
  }
  auto cluster = start();
  Client owner(cluster->conninfo("enishi_owner"));
  EXPECT_EQ(owner.ask("select v from kept"), "縁");
  EXPECT_EQ(cluster->restarts(), 0U);
}

TEST_F(Cluster, lets_the_application_change_rows_and_never_the_schema) {
  auto cluster = start();
  Client app(cluster->conninfo("enishi_app"));
  EXPECT_EQ(app.ask("select current_user"), "enishi_app");
  EXPECT_TRUE(app.ask("create table mine (v integer)").starts_with("error: "));
  EXPECT_TRUE(app.ask("create schema mine").starts_with("error: "));
  EXPECT_TRUE(app.ask("set role enishi_owner").starts_with("error: "));
  EXPECT_TRUE(app.ask("create role somebody").starts_with("error: "));
}

TEST_F(Cluster, is_used_by_one_enishi_at_a_time) {
  auto cluster = start();
  auto second = EmbeddedCluster::start(quick(data()));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, "DATA_IN_USE");
  EXPECT_NE(second.error().detail.find("pid " + std::to_string(getpid())), std::string::npos) << second.error().detail;
  const auto conninfo = conninfo_of_running(data(), "enishi_owner");
  ASSERT_TRUE(conninfo);
  EXPECT_EQ(Client(*conninfo).ask("select current_user"), "enishi_owner");
  cluster->stop();
  EXPECT_FALSE(conninfo_of_running(data(), "enishi_owner"));
}

TEST_F(Cluster, comes_back_when_postgres_is_killed) {
  auto cluster = start();
  Client owner(cluster->conninfo("enishi_owner"));
  ASSERT_EQ(owner.ask("create table if not exists survivor (v integer); insert into survivor values (1)"), "");
  const auto before = std::stoi(owner.ask("select count(*) from survivor"));
  const auto killed = cluster->postmaster();
  ASSERT_EQ(kill(killed, SIGKILL), 0);
  ASSERT_TRUE(cluster->wait_ready(Deadline::in(Millis(30000)), 1));
  EXPECT_NE(cluster->postmaster(), killed);
  Client again(cluster->conninfo("enishi_owner"));
  EXPECT_EQ(again.ask("select count(*) from survivor"), std::to_string(before));
}

TEST_F(Cluster, leaves_no_orphan_when_enishi_is_killed_and_recovers_at_the_next_start) {
  {
    auto made = start();
  }
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t enishi = fork();
  if (enishi == 0) {
    auto started = EmbeddedCluster::start(quick(data()));
    pid_t postmaster = started ? (*started)->postmaster() : 0;
    if (started)
      Client((*started)->conninfo("enishi_owner")).ask("create table if not exists crashed (v integer); insert into crashed values (7)");
    [[maybe_unused]] auto n = write(ends[1], &postmaster, sizeof postmaster);
    pause();
    _exit(0);
  }
  pid_t postmaster = 0;
  ASSERT_EQ(read(ends[0], &postmaster, sizeof postmaster), static_cast<ssize_t>(sizeof postmaster));
  close(ends[0]);
  close(ends[1]);
  ASSERT_GT(postmaster, 0);
  ASSERT_EQ(kill(enishi, SIGKILL), 0);
  waitpid(enishi, nullptr, 0);
  EXPECT_TRUE(wait_for_end(postmaster, Deadline::in(Millis(30000)))) << "postgres outlived its Enishi";
  auto cluster = start();
  EXPECT_EQ(Client(cluster->conninfo("enishi_owner")).ask("select v from crashed"), "7");
}

TEST_F(Cluster, stops_a_postgres_of_an_earlier_run_and_takes_its_place) {
  {
    auto made = start();
  }
  const auto user = database_user();
  ASSERT_TRUE(user);
  const auto binaries = find_binaries({}, 0);
  ASSERT_TRUE(binaries);
  const auto orphan = run_command(
      {{binaries->bin / "pg_ctl", "-D", data() / "pgdata", "-w", "-l", data() / "log" / "orphan.log", "start"}, *user, {}, Millis(30000)});
  ASSERT_EQ(orphan.status, 0) << orphan.output;
  auto cluster = start();
  EXPECT_EQ(Client(cluster->conninfo("enishi_app")).ask("select 1"), "1");
  EXPECT_EQ(cluster->restarts(), 0U);
}

TEST_F(Cluster, starts_beside_a_pid_file_whose_pid_is_another_process_by_now) {
  {
    auto made = start();
  }
  const auto user = database_user();
  ASSERT_TRUE(user);
  const auto file = data() / "pgdata" / "postmaster.pid";
  {
    std::ofstream(file) << getpid() << "\n" << (data() / "pgdata").string() << "\n0\n5432\n\n\n0 0\n";
  }  // this test: alive, and no postgres
  if (user->change) ASSERT_EQ(chown(file.c_str(), user->uid, user->gid), 0);
  auto cluster = start();
  EXPECT_EQ(Client(cluster->conninfo("enishi_app")).ask("select 1"), "1");
  EXPECT_EQ(cluster->restarts(), 0U);
}

TEST_F(Cluster, serves_a_data_folder_whose_path_is_too_long_for_a_socket) {
  TemporaryFolder folder;
  const auto data = folder.path / "営業, 部門" / std::string(120, 'x') / "it's";
  fs::path first;
  for (int run = 0; run < 2; ++run) {
    auto cluster = EmbeddedCluster::start(quick(data));
    ASSERT_TRUE(cluster) << cluster.error().detail;
    EXPECT_LT((*cluster)->socket_folder().string().size(), 40U);
    EXPECT_EQ(Client((*cluster)->conninfo("enishi_app")).ask("select 1"), "1");
    EXPECT_TRUE(conninfo_of_running(data, "enishi_app"));
    first = (*cluster)->socket_folder();
  }
  EXPECT_FALSE(fs::exists(first)) << "the short folder goes with a clean stop";
}

TEST(Folders, that_are_not_ours_are_refused_and_stay_as_they_are) {
  TemporaryFolder folder;
  std::ofstream(folder.path / "thesis.txt") << "mine";
  auto refused = EmbeddedCluster::start(quick(folder.path));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, "DATA_NOT_OURS");
  EXPECT_FALSE(fs::exists(folder.path / "enishi.lock"));
  auto file = EmbeddedCluster::start(quick(folder.path / "thesis.txt"));
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, "DATA_NOT_OURS");
  std::ofstream(folder.path / "PG_VERSION") << "15";
  auto server = EmbeddedCluster::start(quick(folder.path));
  ASSERT_FALSE(server);
  EXPECT_NE(server.error().detail.find("--database"), std::string::npos);
}

TEST(Folders, that_postgres_cannot_enter_are_named) {
  if (geteuid() != 0) GTEST_SKIP() << "only root has a folder that the user postgres cannot enter";
  TemporaryFolder folder;
  chmod(folder.path.c_str(), 0700);
  auto refused = EmbeddedCluster::start(quick(folder.path / "data"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, "DATA_UNREACHABLE");
  EXPECT_FALSE(fs::exists(folder.path / "data"));
  EXPECT_NE(refused.error().detail.find(folder.path.string() + "\""), std::string::npos) << refused.error().detail;
}

TEST(Folders, on_a_full_disk_are_named) {
  TemporaryFolder folder;
  if (mount("tmpfs", folder.path.c_str(), "tmpfs", 0, "size=8m,mode=0755") != 0) GTEST_SKIP() << "no right to mount a small disk";
  auto refused = EmbeddedCluster::start(quick(folder.path / "data"));
  umount(folder.path.c_str());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, "DISK_FULL");
}

TEST(PostgresPrograms, are_named_when_missing_and_fit_pgbackrest) {
  auto missing = find_binaries("/nowhere", 0);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, "POSTGRES_MISSING");
  auto old = find_binaries({}, 9);
  ASSERT_FALSE(old);
  EXPECT_EQ(old.error().code, "POSTGRES_VERSION");
  EXPECT_EQ(newest_supported_by_pgbackrest("2.44"), 15);
  EXPECT_EQ(newest_supported_by_pgbackrest("2.54.1"), 17);
  EXPECT_EQ(newest_supported_by_pgbackrest("2.10"), 0);
}

TEST(ServerSettings, follow_the_machine_within_bounds) {
  const auto small = server_settings(1ULL << 30, 2ULL << 30, {}, "/tmp/s");
  EXPECT_NE(small.find("shared_buffers = 256MB\n"), std::string::npos);
  EXPECT_NE(small.find("max_wal_size = 256MB\n"), std::string::npos);
  const auto large = server_settings(256ULL << 30, 1ULL << 40, {}, "/tmp/s");
  EXPECT_NE(large.find("shared_buffers = 8192MB\n"), std::string::npos);
  EXPECT_NE(large.find("max_wal_size = 4096MB\n"), std::string::npos);
  EXPECT_NE(large.find("listen_addresses = ''\n"), std::string::npos);
}

// Migrations -----------------------------------------------------------------------------------------------------------

std::vector<Migration> set_of(std::initializer_list<std::pair<const char*, const char*>> files) {
  std::vector<embedded::File> found;
  for (const auto& [path, bytes] : files) found.push_back({path, bytes});
  auto read = read_migrations(found);
  if (!read) throw std::runtime_error(read.error().detail);
  return std::move(*read);
}

/// A database a test, owned by enishi_owner, on a cluster that all of them share.
class Migrations : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TemporaryFolder>();
    auto started = EmbeddedCluster::start(quick(folder_->path / "data"));
    ASSERT_TRUE(started) << started.error().detail;
    cluster_ = std::move(*started);
  }
  static void TearDownTestSuite() {
    cluster_.reset();
    folder_.reset();
  }
  void SetUp() override {
    ASSERT_TRUE(cluster_);
    static int number = 0;
    name_ = "migrations_" + std::to_string(++number);
    ASSERT_EQ(superuser().ask("create database " + name_ + " owner enishi_owner"), "");
  }
  std::string conninfo(std::string_view role) { return replaced(cluster_->conninfo(role), "dbname=enishi", "dbname=" + name_); }
  static Client superuser() { return Client(cluster_->conninfo("postgres")); }
  static std::unique_ptr<TemporaryFolder> folder_;
  static std::unique_ptr<EmbeddedCluster> cluster_;
  std::string name_;
  const std::vector<Migration> two_ = set_of({{"0001_a.sql", "create table a (v integer); grant select, insert on a to enishi_app;"},
                                              {"0002_b.sql", "create table b (v integer);"}});
};
std::unique_ptr<TemporaryFolder> Migrations::folder_;
std::unique_ptr<EmbeddedCluster> Migrations::cluster_;

TEST_F(Migrations, run_once_and_are_recorded) {
  Client owner(conninfo("enishi_owner"));
  auto before = owner.status_with(two_);
  ASSERT_TRUE(before);
  EXPECT_EQ(before->state, SchemaState::behind);
  auto first = owner.migrate_with(two_);
  ASSERT_TRUE(first) << first.error().detail;
  EXPECT_EQ(first->applied, (std::vector<std::string>{"0001_a.sql", "0002_b.sql"}));
  auto second = owner.migrate_with(two_);
  ASSERT_TRUE(second) << second.error().detail;
  EXPECT_TRUE(second->applied.empty());
  auto status = owner.status_with(two_);
  ASSERT_TRUE(status);
  EXPECT_EQ(status->state, SchemaState::current);
  EXPECT_EQ(status->database, 2);
  EXPECT_EQ(Client(conninfo("enishi_app")).ask("insert into a values (1) returning v"), "1");
  EXPECT_EQ(Client(conninfo("enishi_app")).ask("select max(version) from schema_migration"), "2");
  EXPECT_TRUE(Client(conninfo("enishi_app")).ask("delete from schema_migration").starts_with("error: "));
}

TEST_F(Migrations, that_changed_after_they_were_applied_are_refused_by_name) {
  Client owner(conninfo("enishi_owner"));
  ASSERT_TRUE(owner.migrate_with(two_));
  auto changed =
      owner.migrate_with(set_of({{"0001_a.sql", "create table other (v integer);"}, {"0002_b.sql", "create table b (v integer);"}}));
  ASSERT_FALSE(changed);
  EXPECT_EQ(changed.error().code, "SCHEMA_MISMATCH");
  EXPECT_NE(changed.error().detail.find("0001_a.sql"), std::string::npos);
}

TEST_F(Migrations, of_a_newer_release_are_left_alone) {
  Client owner(conninfo("enishi_owner"));
  ASSERT_TRUE(owner.migrate_with(two_));
  const auto older = set_of({{"0001_a.sql", "create table a (v integer); grant select, insert on a to enishi_app;"}});
  auto refused = owner.migrate_with(older);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, "SCHEMA_NEWER");
  auto status = owner.status_with(older);
  ASSERT_TRUE(status);
  EXPECT_EQ(status->state, SchemaState::newer);
}

TEST_F(Migrations, with_a_missing_row_are_refused) {
  Client owner(conninfo("enishi_owner"));
  ASSERT_TRUE(owner.migrate_with(two_));
  ASSERT_EQ(owner.ask("delete from schema_migration where version = 1"), "");
  auto refused = owner.migrate_with(two_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, "SCHEMA_MISMATCH");
}

TEST_F(Migrations, that_fail_leave_nothing_and_name_their_file) {
  Client owner(conninfo("enishi_owner"));
  auto failed = owner.migrate_with(
      set_of({{"0001_a.sql", "create table a (v integer);"}, {"0002_bad.sql", "create table half (v integer); select nothing;"}}));
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, "MIGRATION_FAILED");
  EXPECT_NE(failed.error().detail.find("0002_bad.sql"), std::string::npos) << failed.error().detail;
  EXPECT_NE(failed.error().detail.find("nothing"), std::string::npos) << failed.error().detail;
  EXPECT_EQ(owner.ask("select to_regclass('half') is null and to_regclass('a') is not null"), "t");
  EXPECT_EQ(owner.ask("select max(version) from schema_migration"), "1");
  auto repaired =
      owner.migrate_with(set_of({{"0001_a.sql", "create table a (v integer);"}, {"0002_good.sql", "create table half (v integer);"}}));
  EXPECT_TRUE(repaired) << repaired.error().detail;
}

TEST_F(Migrations, without_a_transaction_build_indexes_concurrently) {
  Client owner(conninfo("enishi_owner"));
  auto done = owner.migrate_with(set_of({{"0001_a.sql", "create table a (v integer);"},
                                         {"0002_index.sql",
                                          "-- no-transaction\n-- one; two\ncreate index concurrently if not exists a_v on a (v);\n"
                                          "comment on index a_v is 'a;b';\n"}}));
  ASSERT_TRUE(done) << done.error().detail;
  EXPECT_EQ(owner.ask("select indisvalid from pg_index where indexrelid = 'a_v'::regclass"), "t");
}

TEST_F(Migrations, of_two_instances_at_once_run_once) {
  const auto slow = set_of({{"0001_slow.sql", "create table a (v integer); select pg_sleep(0.3);"},
                            {"0002_index.sql", "-- no-transaction\ncreate index concurrently a_v on a (v)"}});
  Client one(conninfo("enishi_owner"));
  std::optional<Result<MigrationReport>> other;
  asio::co_spawn(one.shard.context(), Client::migrating(one.db, slow), [&](std::exception_ptr thrown, Result<MigrationReport> report) {
    EXPECT_FALSE(thrown);
    other.emplace(std::move(report));
  });
  auto first = one.migrate_with(slow);
  while (!other && one.shard.context().run_one() > 0) {
  }
  ASSERT_TRUE(first) << first.error().detail;
  ASSERT_TRUE(other && *other) << (*other).error().detail;
  EXPECT_EQ(first->applied.size() + (*other)->applied.size(), 2U);
  EXPECT_TRUE(first->applied.empty() || (*other)->applied.empty());
}

TEST_F(Migrations, of_this_binary_need_no_superuser) {
  Client owner(conninfo("enishi_owner"));
  ASSERT_EQ(owner.ask("select rolsuper or rolcreaterole from pg_roles where rolname = current_user"), "f");
  auto all = embedded_migrations();
  ASSERT_TRUE(all) << all.error().detail;
  ASSERT_FALSE(all->empty());
  auto done = owner.migrate_with(*all);
  ASSERT_TRUE(done) << done.error().detail;
  EXPECT_EQ(done->to, all->back().version);
  EXPECT_EQ(owner.ask("select count(*) from pg_class where relnamespace = 'public'::regnamespace and relowner <> 'enishi_owner'::regrole"
                      " and not exists (select from pg_depend where objid = pg_class.oid and deptype = 'e')"),
            "0");
}

TEST_F(Migrations, on_a_foreign_server_make_the_roles_or_say_who_can) {
  auto admin = superuser();
  ASSERT_EQ(admin.ask("create role foreign_owner createrole"), "");
  ASSERT_EQ(admin.ask("create role plain_owner"), "");
  ASSERT_EQ(admin.ask("alter role enishi_app rename to put_aside_app; alter role enishi_read rename to put_aside_read"), "");
  const auto text = set_of({{"0001_a.sql", "create table a (v integer); grant select on a to enishi_app;"}});
  ASSERT_EQ(admin.ask("alter database " + name_ + " owner to plain_owner"), "");
  {
    Client plain(conninfo("postgres"), "plain_owner");
    auto refused = plain.migrate_with(text);
    EXPECT_FALSE(refused);
    if (!refused) {
      EXPECT_EQ(refused.error().code, "ROLES_MISSING");
      EXPECT_NE(refused.error().detail.find("enishi db roles"), std::string::npos);
    }
  }
  ASSERT_EQ(admin.ask("alter database " + name_ + " owner to foreign_owner"), "");
  {
    Client foreign(conninfo("postgres"), "foreign_owner");
    auto done = foreign.migrate_with(text);
    EXPECT_TRUE(done) << done.error().detail;
    EXPECT_EQ(foreign.ask("select pg_has_role('foreign_owner', 'enishi_app', 'member')"), "t");
    EXPECT_EQ(foreign.ask("select rolcanlogin from pg_roles where rolname = 'enishi_app'"), "f");
  }
  Client inside(conninfo("postgres"));
  EXPECT_EQ(inside.ask("drop owned by enishi_app, enishi_read; drop role enishi_app, enishi_read"), "");
  EXPECT_EQ(admin.ask("alter role put_aside_app rename to enishi_app; alter role put_aside_read rename to enishi_read"), "");
}

TEST_F(Migrations, that_come_late_between_applied_ones_are_refused_by_name) {
  Client owner(conninfo("enishi_owner"));
  ASSERT_TRUE(owner.migrate_with(set_of({{"0001_a.sql", "select 1"}, {"0003_c.sql", "select 3"}})));
  auto refused = owner.migrate_with(set_of({{"0001_a.sql", "select 1"}, {"0002_b.sql", "select 2"}, {"0003_c.sql", "select 3"}}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, "SCHEMA_MISMATCH");
  EXPECT_NE(refused.error().detail.find("0002_b.sql"), std::string::npos) << refused.error().detail;
  auto unknown = owner.migrate_with(set_of({{"0001_a.sql", "select 1"}, {"0004_d.sql", "select 4"}}));
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, "SCHEMA_MISMATCH");
}

TEST(MigrationFiles, have_names_and_a_number_each) {
  EXPECT_FALSE(read_migrations(std::vector<embedded::File>{{"0001_a.sql", ""}, {"0001_b.sql", ""}}));
  EXPECT_FALSE(read_migrations(std::vector<embedded::File>{{"1_a.sql", ""}}));
  auto read = read_migrations(std::vector<embedded::File>{{"0002_b.sql", "-- no-transaction\n"}, {"0001_a.sql", "abc"}});
  ASSERT_TRUE(read);
  EXPECT_EQ(read->at(0).checksum, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");  // FIPS 180-2, B.1
  EXPECT_TRUE(read->at(0).transaction);
  EXPECT_FALSE(read->at(1).transaction);
}

TEST(Statements, are_cut_at_their_own_semicolons_only) {
  const auto cut = split_statements(
      "select ';' , 'it''s;' , E'\\';' , \"a;b\"; -- one; two\n"
      "/* a; /* b; */ c; */ do $$ begin perform 1; end $$;\n"
      "create function f() returns text language sql as $body$ select '$$;' $body$;\n"
      "select $1, a$b from t; ;\n");
  ASSERT_EQ(cut.size(), 4U);
  EXPECT_NE(cut[1].find("end $$"), std::string::npos);
  EXPECT_NE(cut[2].find("$body$"), std::string::npos);
}

}  // namespace
}  // namespace enishi::cluster

// Backups, restores and drills of a real cluster. The exactness test checks 10,000 transactions; ENISHI_LONG_TESTS=1 restores forty random
// moments of them instead of three.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <random>
#include <set>
#include <thread>

#include "cluster/cluster.hpp"
#include "cluster/files.hpp"
#include "cluster/guardian.hpp"
#include "cluster/migrations.hpp"
#include "cluster/restore.hpp"
#include "cluster/session.hpp"
#include "cluster/storage.hpp"
#include "cluster/wal_source.hpp"

namespace enishi::cluster {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using namespace std::chrono_literals;

struct Folder {
  fs::path path;
  Folder() {
    std::string pattern = "/tmp/enishi-test-XXXXXX";
    path = mkdtemp(pattern.data());
    chmod(path.c_str(), 0755);
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

Options quick(const fs::path& data, bool archive) {
  Options o;
  o.data = data;
  o.durable = false;
  o.max_connections = 40;
  o.archive = archive;
  return o;
}

Pace fast() { return {.tick = Millis(100), .heartbeat = Millis(400), .first_work = Millis(20), .first_drill = Millis(86400000)}; }

std::unique_ptr<EmbeddedCluster> started(Options options) {
  auto cluster = EmbeddedCluster::start(std::move(options));
  if (!cluster) throw std::runtime_error(cluster.error().code + ": " + cluster.error().detail);
  return std::move(*cluster);
}

Task<Result<std::string>> first_value(pg::Lease& lease, std::string sql) {
  auto rows = co_await lease.script(std::move(sql), Deadline::in(Millis(60000)));
  if (!rows) co_return tl::make_unexpected(rows.error());
  co_return rows->size() > 0 && rows->columns() > 0 ? std::string(rows->text(0, 0)) : std::string();
}

/// The first value of the answer, or "error: …".
std::string ask(Session& session, const std::string& sql) {
  auto said = session.with<std::string>([&sql](pg::Lease& lease) { return first_value(lease, sql); });
  return said ? *said : "error: " + said.error().code + " " + said.error().detail;
}
std::string ask(const EmbeddedCluster& cluster, const std::string& sql) {
  Session session(cluster.conninfo("postgres"), Millis(60000));
  return ask(session, sql);
}

void migrate_all(const EmbeddedCluster& cluster) {
  auto all = embedded_migrations();
  Session session(cluster.conninfo("enishi_owner"), Millis(60000));
  auto done = session.with<MigrationReport>([&all](pg::Lease& lease) { return migrate(lease, *all, "test"); });
  if (!done) throw std::runtime_error(done.error().detail);
}

json::object parsed(const std::string& text) {
  boost::system::error_code bad;
  auto v = json::parse(text, bad);
  return !bad && v.is_object() ? v.get_object() : json::object();
}

bool has_problem(const std::string& status, std::string_view code) {
  return status.find("\"code\":\"" + std::string(code) + "\"") != std::string::npos;
}
bool has_backup(const std::string& status) {
  const auto o = parsed(status);
  const auto* r = o.if_contains("repository");
  return r != nullptr && !r->at("backups").as_array().empty();
}
bool receiving(const std::string& status) {
  const auto o = parsed(status);
  const auto* r = o.if_contains("receiver");
  return r != nullptr && r->at("state").as_string() == "streaming";
}
/// Everything written before `lsn` is with the receiver.
void wait_received(const EmbeddedCluster& cluster) {
  Session session(cluster.conninfo("postgres"));
  const auto limit = Deadline::in(Millis(30000));
  ask(session, "select pg_switch_wal()");
  const auto lsn = ask(session, "select pg_current_wal_lsn()");
  while (ask(session, "select bool_or(write_lsn >= '" + lsn + "') from pg_stat_replication where application_name = 'enishi_receiver'") !=
         "t") {
    if (limit.passed()) throw std::runtime_error("the receiver does not get on");
    std::this_thread::sleep_for(50ms);
  }
}

std::vector<fs::path> wal_files(const fs::path& data) {
  std::vector<fs::path> out;
  for (const auto& entry : fs::directory_iterator(data / "pgdata" / "pg_wal"))
    if (parse_wal_file(entry.path().filename().string())) out.push_back(entry.path());
  std::sort(out.begin(), out.end());
  return out;
}

TEST(Moments, are_read_with_offsets_and_microseconds_and_written_in_utc) {
  EXPECT_EQ(to_text(*parse_moment("2026-11-22 13:05:01.123456+09")), "2026-11-22T04:05:01.123456Z");
  EXPECT_EQ(to_text(*parse_moment("2026-11-22T13:05:01Z")), "2026-11-22T13:05:01.000000Z");
  EXPECT_EQ(to_text(*parse_moment("2026-11-22 13:05")), "2026-11-22T04:05:00.000000Z");
  EXPECT_EQ(to_text(*parse_moment("2026-11-22 00:00:00.5-03:30")), "2026-11-22T03:30:00.500000Z");
  EXPECT_EQ(to_text(*parse_moment("1999-12-31 23:59:59.999999+00")), "1999-12-31T23:59:59.999999Z");
  for (const auto* wrong :
       {"", "2026-11-22", "2026-02-30 10:00", "2026-11-22 24:00", "2026-11-22 10:00:00.1234567", "2026-11-22 10:00 JST", "yesterday"})
    EXPECT_FALSE(parse_moment(wrong)) << wrong;
}

TEST(Moments, positions_and_wal_file_names_are_one_thing_in_two_spellings) {
  const auto lsn = Lsn::parse("2/FE001028");
  ASSERT_TRUE(lsn);
  EXPECT_EQ(lsn->str(), "2/FE001028");
  EXPECT_EQ(wal_file_name(3, *lsn), "0000000300000002000000FE");
  EXPECT_EQ(parse_wal_file("0000000300000002000000FE")->second.str(), "2/FE000000");
  for (const auto* wrong : {"", "/", "0/", "/1", "1/2/3", "g/1", "123456789/1"}) EXPECT_FALSE(Lsn::parse(wrong)) << wrong;
  EXPECT_FALSE(parse_wal_file("00000003.history"));
}

TEST(Targets, are_times_positions_names_or_latest) {
  EXPECT_EQ(Target::parse("latest")->kind, Target::Kind::latest);
  EXPECT_EQ(Target::parse("0/3A4F2B8")->kind, Target::Kind::lsn);
  EXPECT_EQ(Target::parse("2026-11-22 13:05:01+09")->kind, Target::Kind::time);
  EXPECT_EQ(Target::parse("before-import")->name, "before-import");
  for (const auto* wrong : {"2026-13-01 00:00", "a name with spaces", "'; drop table x", "2026"}) {
    auto t = Target::parse(wrong);
    ASSERT_FALSE(t) << wrong;
    EXPECT_EQ(t.error().code, "TARGET_INVALID");
  }
}

TEST(BackupFiles, hold_a_key_that_only_their_owner_may_read_and_none_is_made_beside_backups_of_another) {
  const Folder folder;
  const auto user = *database_user();
  ASSERT_TRUE(private_folder(folder.path / "data", user));
  BackupSettings settings;
  settings.days = 5;
  Repository repository(settings, folder.path / "data", user);
  ASSERT_TRUE(repository.prepare(folder.path / "data/pgdata", folder.path, 5432));
  struct stat st{};
  for (const auto* name : {"backup.key", "pgbackrest.conf"}) {
    ASSERT_EQ(stat((folder.path / "data" / name).c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0600U) << name;
  }
  const auto conf = slurp(folder.path / "data/pgbackrest.conf");
  EXPECT_NE(conf.find("repo1-retention-full=5\n"), std::string::npos);
  EXPECT_NE(conf.find("repo1-cipher-type=aes-256-cbc\n"), std::string::npos);
  fs::create_directories(folder.path / "data/backup/repo/backup");
  fs::remove(folder.path / "data/backup.key");
  auto again = repository.prepare(folder.path / "data/pgdata", folder.path, 5432);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, "BACKUP_KEY_MISSING");
}

TEST(BackupFiles, are_not_begun_by_a_note_where_their_disk_is_not_mounted) {
  const Folder folder;
  const auto user = *database_user();
  ASSERT_TRUE(private_folder(folder.path / "data", user));
  Repository repository({}, folder.path / "data", user);
  ASSERT_TRUE(private_folder(repository.folder(), user));
  const Event mark{"mark", "before-import", 1, Lsn{1}, now()};
  auto refused = repository.note(mark);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, "BACKUP_GONE");
  EXPECT_TRUE(fs::is_empty(repository.folder()));
  ASSERT_TRUE(repository.prepare(folder.path / "data/pgdata", folder.path, 5432));
  EXPECT_TRUE(repository.note(mark));
  EXPECT_EQ(repository.events().back().name, "before-import");
}

TEST(BackupFiles, take_lines_of_ones_own_pgbackrest_configuration) {
  const Folder folder;
  const auto user = *database_user();
  ASSERT_TRUE(private_folder(folder.path / "data", user));
  std::ofstream(folder.path / "mine.conf") << "[global]\nrepo1-type=s3\nrepo1-path = /enishi\n# nothing\ncompress-type=lz4\n[other]\nx=y\n";
  BackupSettings settings;
  settings.config_file = folder.path / "mine.conf";
  Repository repository(settings, folder.path / "data", user);
  ASSERT_TRUE(repository.prepare(folder.path / "data/pgdata", folder.path, 5432));
  const auto conf = slurp(folder.path / "data/pgbackrest.conf");
  EXPECT_NE(conf.find("repo1-type=s3\n"), std::string::npos);
  EXPECT_NE(conf.find("repo1-path=/enishi\n"), std::string::npos);
  EXPECT_NE(conf.find("compress-type=lz4\n"), std::string::npos);
  EXPECT_EQ(conf.find("x=y"), std::string::npos);
  std::ofstream(folder.path / "mine.conf") << "[global]\nnonsense\n";
  auto wrong = repository.prepare(folder.path / "data/pgdata", folder.path, 5432);
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, "BACKUP_CONFIG_INVALID");
}

TEST(BackupPace, is_not_quickened_by_damaged_pages_and_the_last_good_backup_does_not_expire) {
  using std::chrono::hours;
  const auto at = now();
  const auto made = [&](const char* type, int hours_ago, bool damaged, std::uint32_t timeline = 1) {
    Backup b;
    b.type = type;
    b.finished = at - hours(hours_ago);
    b.damaged = damaged;
    b.timeline = timeline;
    return b;
  };
  const auto due = [&](std::vector<Backup> backups, bool gap = false) {
    RepositoryInfo info;
    info.backups = std::move(backups);
    const auto kind = backup_due(info, 14, 1, gap, at);
    return !kind ? "none" : *kind == BackupKind::full ? "full" : "differential";
  };
  EXPECT_STREQ(due({}), "full");
  EXPECT_STREQ(due({made("full", 2, false)}), "none");
  EXPECT_STREQ(due({made("full", 30, false)}), "differential");
  EXPECT_STREQ(due({made("full", 30, false), made("diff", 2, false)}), "none");
  EXPECT_STREQ(due({made("full", 200, false), made("diff", 2, false)}), "full");
  EXPECT_STREQ(due({made("full", 2, false)}, true), "differential");
  EXPECT_STREQ(due({made("full", 2, false, 2)}), "differential");
  EXPECT_STREQ(due({made("full", 1, true)}), "none") << "the same pages would be found again";
  EXPECT_STREQ(due({made("full", 7, true)}), "full");
  EXPECT_STREQ(due({made("full", 200, false), made("full", 1, true)}), "none");
  EXPECT_STREQ(due({made("full", 200, false), made("full", 7, true)}), "full");
  EXPECT_STREQ(due({made("full", 30, false), made("full", 7, true)}), "full") << "a differential one would stand on the damaged one";
  EXPECT_STREQ(due({made("full", 30, false), made("diff", 5, true)}), "none");
  EXPECT_STREQ(due({made("full", 30, false), made("diff", 7, true)}), "differential");
  EXPECT_STREQ(due({made("full", 1, true, 2)}), "full") << "another database was put in place since";
  EXPECT_STREQ(due({made("full", 1, true)}, true), "full");

  const auto expires = [&](std::vector<Backup> backups) {
    RepositoryInfo info;
    info.backups = std::move(backups);
    return may_expire(info, 14, at);
  };
  EXPECT_TRUE(expires({made("full", 500, false), made("full", 400, false), made("full", 2, false)}));
  EXPECT_FALSE(expires({made("full", 500, false), made("full", 2, true)}));
  EXPECT_FALSE(expires({made("full", 500, false), made("full", 400, true), made("full", 2, false)})) << "the window would stand on nothing";
  EXPECT_TRUE(expires({made("full", 500, false), made("full", 400, true), made("full", 350, false), made("diff", 2, true)}));
}

TEST(ReceivedFiles, of_one_name_the_newest_wins_or_a_longer_one_that_begins_with_all_of_it) {
  const Folder folder;
  const std::string segment = "000000010000000000000005";
  const auto make = [&](const std::string& where, const std::string& content, std::uintmax_t size = kSegment) {
    const auto file = folder.path / where;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << content;
    fs::resize_file(file, size);
    return file;
  };
  EXPECT_FALSE(received_file(folder.path, "7", segment));
  make("8-00000001/" + segment, "another database's");
  EXPECT_FALSE(received_file(folder.path, "7", segment));
  EXPECT_TRUE(received_file(folder.path, "", segment)) << "before it is known which database is meant";
  const auto oldest = make("7-00000001-until-99/" + segment, "abcdef");
  EXPECT_EQ(received_file(folder.path, "7", segment), oldest);
  const auto older = make("7-00000001-until-100/" + segment + ".partial", "abc");
  EXPECT_EQ(received_file(folder.path, "7", segment), oldest) << "it has all that the newer one has, and more";
  const auto newest = make("7-00000001/" + segment + ".partial", "abX");
  EXPECT_EQ(received_file(folder.path, "7", segment), newest) << "the others are not what the server went on with";
  const auto empty = make("7-00000001/" + segment + ".partial", "");
  EXPECT_EQ(received_file(folder.path, "7", segment), oldest) << "nothing was written to the newest yet";
  make("7-00000001/" + segment + ".partial", "abcdefgh", 4096);
  EXPECT_EQ(received_file(folder.path, "7", segment), oldest) << "PostgreSQL takes none of another length";
  make("7-00000001/" + segment, "abcdefghi");
  EXPECT_EQ(received_file(folder.path, "7", segment), folder.path / "7-00000001" / segment);
  const auto history = make("7-00000002/00000002.history", "1\t0/5000000\tx\n", 14);
  EXPECT_EQ(received_file(folder.path, "7", "00000002.history"), history);

  // What a full disk left of a file would stop the receiver for ever.
  const auto user = *database_user();
  const auto begun = make("7-00000001/000000010000000000000006.partial", "abc");
  ASSERT_TRUE(make_receiver_folder(folder.path / "7-00000001", user));
  EXPECT_FALSE(fs::exists(empty));
  EXPECT_TRUE(fs::exists(begun));
  EXPECT_TRUE(fs::exists(folder.path / "7-00000001" / segment));
}

/// A disk that a test lets hang.
struct Disk {
  std::mutex guard;
  std::condition_variable changed;
  bool hangs = false, holds = false;  ///< `holds`: somebody waits for it
  void hang(bool on) {
    const std::lock_guard set(guard);
    hangs = on;
    changed.notify_all();
  }
  Storage::Seen look() {
    std::unique_lock waiting(guard);
    holds = hangs;
    changed.notify_all();
    changed.wait(waiting, [this] { return !hangs; });
    holds = false;
    return {.reachable = true, .bytes = 7, .free = 3};
  }
};

TEST(BackupStorage, that_does_not_answer_holds_nobody_but_its_own_thread) {
  const auto disk = std::make_shared<Disk>();
  const auto nothing = []() -> Result<void> { return {}; };
  Storage storage([disk] { return disk->look(); }, Millis(10));
  EXPECT_TRUE(storage.run(nothing, Millis(60000)));
  EXPECT_EQ(storage.run([]() -> Result<void> { return fail(Kind::conflict, "SAID_NO", "x"); }, Millis(60000)).error().code, "SAID_NO");
  while (storage.seen().bytes == 0) std::this_thread::sleep_for(5ms);
  disk->hang(true);
  {
    std::unique_lock waiting(disk->guard);
    disk->changed.wait(waiting, [&] { return disk->holds; });
  }
  auto refused = storage.run(nothing, Millis(50));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, "BACKUP_SILENT");
  EXPECT_GE(storage.silent(), Millis(50));
  EXPECT_EQ(storage.seen().bytes, 7U) << "what was seen last";
  disk->hang(false);
  EXPECT_TRUE(storage.run(nothing, Millis(60000)));
  disk->hang(true);  // and it ends while its thread may be held
}

/// A table of the test's own, whose rows know their transaction.
constexpr const char* kTable =
    "create table exact (xid xid8 not null default pg_current_xact_id(), at timestamptz default clock_timestamp(), pad text default "
    "repeat('x', 100))";

/// `transactions` of one row each, on four connections.
void load(const EmbeddedCluster& cluster, int transactions, const fs::path& folder) {
  const auto script = folder / "load.sql";
  std::ofstream(script) << "insert into exact default values;\n";
  fs::permissions(script, fs::perms::owner_all | fs::perms::group_read | fs::perms::others_read);
  const auto done =
      run_command({{cluster.binaries().bin / "pgbench", "-n", "-M", "prepared", "-c", "4", "-t", std::to_string(transactions / 4), "-f",
                    script, "-h", cluster.socket_folder(), "-p", std::to_string(cluster.port()), "-U", "postgres", "enishi"},
                   cluster.user(),
                   {},
                   Millis(120000)});
  ASSERT_EQ(done.status, 0) << done.output;
}

struct Truth {
  std::vector<Commit> commits;  ///< of rows of the test's table, in the order of the WAL
  /// What a restore to `time` holds: everything before the first commit stamped after it.
  [[nodiscard]] std::set<std::uint64_t> until(Moment time) const {
    std::set<std::uint64_t> out;
    for (const auto& c : all) {
      if (c.at > time) break;
      if (mine.contains(c.xid)) out.insert(c.xid);
    }
    return out;
  }
  [[nodiscard]] std::set<std::uint64_t> until(Lsn lsn) const {
    std::set<std::uint64_t> out;
    for (const auto& c : all)
      if (c.lsn < lsn && mine.contains(c.xid)) out.insert(c.xid);
    return out;
  }
  std::vector<Commit> all;
  std::set<std::uint64_t> mine;
};

std::set<std::uint64_t> numbers(const std::string& list) {
  std::set<std::uint64_t> out;
  std::istringstream in(list);
  for (std::string one; std::getline(in, one, ',');) out.insert(std::stoull(one));
  return out;
}

constexpr const char* kAllXids = "select coalesce(string_agg(xid::text, ','), '') from exact";

/// Rows of a restored cluster, which is started for the question.
std::set<std::uint64_t> rows_of(const fs::path& into) {
  auto cluster = started(quick(into, false));
  return numbers(ask(*cluster, kAllXids));
}

class Restoring : public ::testing::Test {
 protected:
  void SetUp() override {
    cluster_ = started(quick(data(), true));
    migrate_all(*cluster_);
    ASSERT_EQ(ask(*cluster_, kTable), "");
    guard();
    ASSERT_TRUE(guardian_->wait_until([](const std::string& s) { return has_backup(s) && receiving(s); }, Deadline::in(Millis(240000))))
        << guardian_->status();
  }
  void guard(BackupSettings settings = {}, Pace pace = fast(), unsigned drill_days = 0) {
    settings.drill_days = drill_days;
    guardian_ = std::make_unique<Guardian>(*cluster_, settings, std::vector<Check>{}, std::move(pace));
  }
  /// The guardian ends, and another one begins.
  void guard_anew(const BackupSettings& settings, Pace pace = fast(), unsigned drill_days = 0) {
    guardian_->stop();
    guardian_.reset();
    guard(settings, std::move(pace), drill_days);
  }
  [[nodiscard]] bool sees(const std::function<bool(const std::string&)>& wanted, Millis limit = Millis(60000)) const {
    return guardian_->wait_until(wanted, Deadline::in(limit));
  }
  void end() {
    if (guardian_) guardian_->stop();
    if (cluster_) cluster_->stop();
    guardian_.reset();
    cluster_.reset();
  }
  void TearDown() override { end(); }
  [[nodiscard]] fs::path data() const { return folder_.path / "data"; }
  [[nodiscard]] Repository repository() const { return *Repository::of_data(data(), *database_user()); }
  Result<RestoreReport> restored(const Target& target, const std::string& name, bool check = false) {
    RestoreRequest request{repository(), target, folder_.path / name};
    request.check = check;
    return restore(std::move(request));
  }
  /// Reads the commits out of the live cluster's own WAL, which keeps them: nothing was recycled yet.
  Truth truth(std::uint32_t timeline) {
    Truth t;
    for (const auto& file : wal_files(data()))
      if (parse_wal_file(file.filename().string())->first == timeline)
        for (const auto& c : commits_in(cluster_->binaries().bin, file, cluster_->user())) t.all.push_back(c);
    t.mine = numbers(ask(*cluster_, kAllXids));
    return t;
  }
  Folder folder_;
  std::unique_ptr<EmbeddedCluster> cluster_;
  std::unique_ptr<Guardian> guardian_;
};

Target at(Moment m) {
  Target t;
  t.kind = Target::Kind::time;
  t.time = m;
  return t;
}
Target at(Lsn lsn) {
  Target t;
  t.kind = Target::Kind::lsn;
  t.lsn = lsn;
  return t;
}

TEST_F(Restoring, holds_exactly_what_was_committed_at_random_moments_around_a_checkpoint_a_crash_a_quiet_hour_and_an_earlier_restore) {
  // Old WAL stays, so that the truth can be read from it afterwards.
  ASSERT_EQ(ask(*cluster_, "alter system set wal_keep_size = '2GB'"), "");
  cluster_->reload();
  const auto reach = read_window(repository());
  ASSERT_TRUE(reach) << reach.error().detail;
  std::this_thread::sleep_until(reach->from + 100ms);  // pgBackRest tells the end of a backup in whole seconds
  load(*cluster_, 4000, folder_.path);
  const auto before_checkpoint = now();
  ask(*cluster_, "checkpoint");
  const auto after_checkpoint = now();
  load(*cluster_, 3000, folder_.path);
  const auto middle = *Lsn::parse(ask(*cluster_, "insert into exact default values; select pg_current_wal_insert_lsn()"));
  load(*cluster_, 1000, folder_.path);
  const auto before_crash = now();
  const auto starts = cluster_->restarts();
  kill(cluster_->postmaster(), SIGKILL);
  ASSERT_TRUE(cluster_->wait_ready(Deadline::in(Millis(30000)), starts + 1));
  load(*cluster_, 2000, folder_.path);
  // A quiet hour: nothing but heartbeats around the target.
  std::this_thread::sleep_for(1200ms);
  const auto quiet = now() - 600ms;
  load(*cluster_, 4, folder_.path);
  ASSERT_TRUE(guardian_->wait_until(receiving, Deadline::in(Millis(30000)))) << guardian_->status();
  std::this_thread::sleep_for(600ms);
  wait_received(*cluster_);
  const auto known = truth(1);
  ASSERT_EQ(known.mine.size(), 10005U);
  ASSERT_EQ(known.until(Lsn{~0ULL}).size(), 10005U);

  const auto window = read_window(repository());
  ASSERT_TRUE(window) << window.error().detail;
  std::vector<std::pair<std::string, Target>> targets{{"checkpoint-before", at(before_checkpoint)},
                                                      {"checkpoint-after", at(after_checkpoint)},
                                                      {"position", at(middle)},
                                                      {"crash", at(before_crash)},
                                                      {"quiet", at(quiet)}};
  const bool longer = std::getenv("ENISHI_LONG_TESTS") != nullptr;
  const unsigned seed = std::random_device{}();
  std::mt19937_64 random(seed);
  SCOPED_TRACE("seed " + std::to_string(seed));
  for (int i = 0; i < (longer ? 40 : 3); ++i) {
    // Any commit of the 10,000: its own stamp, or a microsecond before it, so that neighbours must be told apart.
    const auto& c = known.all[std::uniform_int_distribution<std::size_t>(known.all.size() / 10, known.all.size() - 2)(random)];
    if (c.at <= window->from) continue;
    targets.emplace_back("random" + std::to_string(i), i % 3 == 2 ? at(c.lsn) : at(c.at - std::chrono::microseconds(i % 2)));
  }
  for (const auto& [name, target] : targets) {
    SCOPED_TRACE(name + " " + target.str());
    auto report = restored(target, name);
    ASSERT_TRUE(report) << report.error().code << " " << report.error().detail;
    const auto expected = target.kind == Target::Kind::time ? known.until(target.time) : known.until(target.lsn);
    const auto there = rows_of(folder_.path / name);
    EXPECT_EQ(there.size(), expected.size());
    EXPECT_TRUE(there == expected);
    if (target.kind == Target::Kind::time) {
      // Commits that the rule leaves out although they are stamped before the target are listed, and no others.
      std::set<std::uint64_t> listed, missing;
      for (const auto& c : report->stamped_backwards) listed.insert(c.xid);
      for (const auto& c : known.all)
        if (c.at <= target.time && c.lsn > report->end) missing.insert(c.xid);
      EXPECT_EQ(listed, missing);
    }
    if (name != "crash") fs::remove_all(folder_.path / name);
  }

  // An earlier restore is promoted: a second timeline. What came after its moment on the first stays within reach.
  end();
  auto old = promote(folder_.path / "crash", data());
  ASSERT_TRUE(old) << old.error().detail;
  EXPECT_TRUE(fs::exists(*old / "PG_VERSION"));
  cluster_ = started(quick(data(), true));
  guard();
  EXPECT_EQ(numbers(ask(*cluster_, kAllXids)), known.until(before_crash));
  load(*cluster_, 400, folder_.path);
  ASSERT_TRUE(guardian_->wait_until(receiving, Deadline::in(Millis(30000)))) << guardian_->status();
  const auto on_second = now();
  const auto rows_on_second = numbers(ask(*cluster_, kAllXids));
  load(*cluster_, 400, folder_.path);
  std::this_thread::sleep_for(600ms);
  wait_received(*cluster_);
  auto second = restored(at(on_second), "second");
  ASSERT_TRUE(second) << second.error().code << " " << second.error().detail;
  EXPECT_EQ(second->timeline, 2U);
  EXPECT_TRUE(rows_of(folder_.path / "second") == rows_on_second);
  auto first_again = restored(at(quiet), "first-again");
  ASSERT_TRUE(first_again) << first_again.error().code << " " << first_again.error().detail;
  EXPECT_EQ(first_again->timeline, 1U);
  EXPECT_TRUE(rows_of(folder_.path / "first-again") == known.until(quiet));

  // Both restored clusters began a third timeline; the second one to be promoted must not put its WAL over the first one's.
  end();
  ASSERT_TRUE(promote(folder_.path / "second", data()));
  cluster_ = started(quick(data(), true));
  guard();
  ASSERT_TRUE(guardian_->wait_until(receiving, Deadline::in(Millis(30000)))) << guardian_->status();
  wait_received(*cluster_);
  end();
  auto stale = promote(folder_.path / "first-again", data());
  ASSERT_FALSE(stale);
  EXPECT_EQ(stale.error().code, "RESTORE_STALE");
}

TEST_F(Restoring, refuses_what_it_cannot_reach_and_names_the_window) {
  load(*cluster_, 40, folder_.path);
  wait_received(*cluster_);
  auto early = restored(at(now() - std::chrono::hours(24)), "early");
  ASSERT_FALSE(early);
  EXPECT_EQ(early.error().code, "TARGET_OUTSIDE_WINDOW");
  EXPECT_THAT(early.error().detail, ::testing::HasSubstr("what can be restored reaches from 20"));
  auto late = restored(at(now() + std::chrono::hours(1)), "late");
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, "TARGET_OUTSIDE_WINDOW");
  auto nameless = restored(*Target::parse("nobody-set-this"), "nameless");
  ASSERT_FALSE(nameless);
  EXPECT_EQ(nameless.error().code, "TARGET_UNKNOWN");
  for (const auto* name : {"early", "late", "nameless"}) EXPECT_FALSE(fs::exists(folder_.path / name)) << name;
  auto over = restored({}, "data");
  ASSERT_FALSE(over);
  EXPECT_EQ(over.error().code, "RESTORE_INTO_USED");
  auto live = promote(data(), {});
  ASSERT_FALSE(live);
  EXPECT_EQ(live.error().code, "NOT_RESTORED");

  // A mark, asked for as the API does; then a whole restore with its checks, and a drill.
  ask(*cluster_, "insert into continuity_request (kind, name, requested_by) values ('MARK', 'before-import', 'test')");
  const auto limit = Deadline::in(Millis(20000));
  while (ask(*cluster_, "select state from continuity_request") != "DONE" && !limit.passed()) std::this_thread::sleep_for(50ms);
  const auto rows = numbers(ask(*cluster_, kAllXids));
  load(*cluster_, 40, folder_.path);
  wait_received(*cluster_);
  auto marked = restored(*Target::parse("before-import"), "marked", true);
  ASSERT_TRUE(marked) << marked.error().detail;
  EXPECT_TRUE(marked->good()) << to_text(*marked);
  EXPECT_TRUE(fs::exists(folder_.path / "marked" / kQuiet));
  EXPECT_TRUE(rows_of(folder_.path / "marked") == rows);
  // The same name again: nobody guesses which is meant, and each can be named.
  ask(*cluster_, "insert into continuity_request (kind, name, requested_by) values ('MARK', 'before-import', 'test')");
  const auto again = Deadline::in(Millis(20000));
  while (ask(*cluster_, "select string_agg(state, ' ') from continuity_request") != "DONE DONE" && !again.passed())
    std::this_thread::sleep_for(50ms);
  const auto rows_again = numbers(ask(*cluster_, kAllXids));
  load(*cluster_, 40, folder_.path);
  wait_received(*cluster_);
  const auto marks = read_window(repository())->marks;
  ASSERT_EQ(marks.size(), 2U);
  auto both = restored(*Target::parse("before-import"), "both");
  ASSERT_FALSE(both);
  EXPECT_EQ(both.error().code, "TARGET_AMBIGUOUS");
  for (const auto& mark : marks) EXPECT_THAT(both.error().detail, ::testing::HasSubstr(to_text(mark.at)));
  auto first = restored(*Target::parse(marks[0].point), "first"), second = restored(*Target::parse(marks[1].point), "second");
  ASSERT_TRUE(first && second);
  EXPECT_TRUE(rows_of(folder_.path / "first") == rows);
  EXPECT_TRUE(rows_of(folder_.path / "second") == rows_again);
  auto latest = restored({}, "latest", true);
  ASSERT_TRUE(latest) << latest.error().detail;
  EXPECT_TRUE(latest->good()) << to_text(*latest);
  EXPECT_TRUE(rows_of(folder_.path / "latest") == numbers(ask(*cluster_, kAllXids)));
  // A restore that was not good is not put in place by accident; what belongs to a restore is done without checks, too.
  RestoreRequest unchecked{repository(), {}, folder_.path / "bad"};
  unchecked.check = false;
  unchecked.checks = {{"left", [](pg::Lease&) -> Task<Result<std::string>> { co_return fail(Kind::internal, "NOT_ASKED", "x"); }},
                      {"done", [](pg::Lease&) -> Task<Result<std::string>> { co_return fail(Kind::internal, "NOT_DONE", "row 7"); }, true}};
  auto unsound = restore(std::move(unchecked));
  ASSERT_TRUE(unsound) << unsound.error().detail;
  EXPECT_FALSE(unsound->good());
  auto refused = promote(folder_.path / "bad", {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, "RESTORE_BAD");
  EXPECT_THAT(refused.error().detail, ::testing::HasSubstr("done: NOT_DONE: row 7"));
  EXPECT_TRUE(fs::exists(folder_.path / "bad" / kQuiet));
  EXPECT_TRUE(promote(folder_.path / "bad", {}, true));
  EXPECT_FALSE(fs::exists(folder_.path / "bad" / kQuiet));
  const auto drilled =
      drill(repository(), folder_.path / "drill", {},
            {{"mine", [](pg::Lease&) -> Task<Result<std::string>> { co_return fail(Kind::internal, "CHAIN_BROKEN", "row 7"); }}});
  EXPECT_FALSE(drilled.good);
  EXPECT_THAT(drilled.detail, ::testing::HasSubstr("CHAIN_BROKEN: row 7"));
  EXPECT_FALSE(fs::exists(folder_.path / "drill"));
  EXPECT_TRUE(drill(repository(), folder_.path / "drill", {}, {}).good);
  EXPECT_EQ(drills(data()).size(), 2U);
}

/// The answer of `sql` becomes `wanted`; the last answer.
std::string becomes(Session& session, const std::string& sql, const std::string& wanted, Millis limit = Millis(60000)) {
  const auto deadline = Deadline::in(limit);
  std::string said;
  while ((said = ask(session, sql)) != wanted && !deadline.passed()) std::this_thread::sleep_for(50ms);
  return said;
}

TEST_F(Restoring, finds_the_newest_commit_behind_any_number_of_files_without_one_and_what_was_there_between_two_timelines) {
  load(*cluster_, 40, folder_.path);
  const auto rows = numbers(ask(*cluster_, kAllXids));
  guardian_->stop();  // no heartbeats; the receiver goes on
  const auto written = now();
  {
    Session session(cluster_->conninfo("postgres"));
    for (int i = 0; i < 12; ++i) ask(session, "select pg_logical_emit_message(false, 'a', 'long load'); select pg_switch_wal()");
  }
  wait_received(*cluster_);
  const auto window = read_window(repository());
  ASSERT_TRUE(window) << window.error().detail;
  EXPECT_GT(window->to, written - 60s);
  EXPECT_GT(window->to, window->from);

  auto again = restored({}, "again");
  ASSERT_TRUE(again) << again.error().detail;
  EXPECT_TRUE(again->good()) << to_text(*again);
  end();
  ASSERT_TRUE(promote(folder_.path / "again", data()));
  cluster_ = started(quick(data(), true));
  guard();
  ASSERT_TRUE(sees(receiving)) << guardian_->status();
  load(*cluster_, 40, folder_.path);
  std::this_thread::sleep_for(600ms);  // a heartbeat
  wait_received(*cluster_);
  const auto both = read_window(repository());
  ASSERT_TRUE(both) << both.error().detail;
  ASSERT_EQ(both->timelines.size(), 2U);
  // Nothing was written then: the first timeline had ended, the second one was not there yet.
  auto between = restored(at(both->timelines.back().at - std::chrono::milliseconds(1)), "between");
  ASSERT_TRUE(between) << between.error().code << " " << between.error().detail;
  EXPECT_EQ(between->timeline, 1U);
  EXPECT_TRUE(rows_of(folder_.path / "between") == rows);
}

TEST_F(Restoring, finds_the_way_across_a_promotion_in_the_repository_alone) {
  load(*cluster_, 40, folder_.path);
  wait_received(*cluster_);
  auto again = restored({}, "again");
  ASSERT_TRUE(again) << again.error().detail;
  end();
  ASSERT_TRUE(promote(folder_.path / "again", data()));
  cluster_ = started(quick(data(), true));
  guard();
  ASSERT_TRUE(sees(receiving)) << guardian_->status();
  load(*cluster_, 400, folder_.path);
  const auto moment = now();
  const auto rows = numbers(ask(*cluster_, kAllXids));
  load(*cluster_, 40, folder_.path);
  std::this_thread::sleep_for(600ms);
  {
    Session session(cluster_->conninfo("postgres"));
    const auto file = ask(session, "select pg_walfile_name(pg_current_wal_lsn())");
    ask(session, "select pg_switch_wal()");
    ASSERT_EQ(becomes(session,
                      "select last_archived_wal >= '" + file +
                          "' and not exists (select from pg_ls_archive_statusdir() f where f.name like '%.ready') from pg_stat_archiver",
                      "t"),
              "t");
  }
  end();
  fs::remove_all(repository().receiver());
  EXPECT_TRUE(WalSource(repository(), data()).archived("00000002.history"));
  // Of the backups only the one before the promotion.
  RestoreRequest request{repository(), at(moment), folder_.path / "second"};
  request.check = false;
  request.window = *read_window(repository());
  std::erase_if(request.window->backups, [](const Backup& b) { return b.timeline > 1; });
  auto second = restore(std::move(request));
  ASSERT_TRUE(second) << second.error().code << " " << second.error().detail;
  EXPECT_EQ(second->timeline, 2U);
  EXPECT_EQ(second->wal_from_receiver, 0U);
  EXPECT_TRUE(rows_of(folder_.path / "second") == rows);
  // With the database gone too, as when a machine burns beside a repository elsewhere, what can be restored ends where it ended.
  const auto whole = read_window(repository());
  ASSERT_TRUE(whole);
  ASSERT_GT(whole->to_lsn, whole->backups.back().stop);
  fs::remove_all(data() / "pgdata");
  const auto burnt = read_window(repository());
  ASSERT_TRUE(burnt);
  EXPECT_EQ(burnt->to_lsn.str(), whole->to_lsn.str());
  EXPECT_EQ(to_text(burnt->to), to_text(whole->to));
}

TEST_F(Restoring, is_promoted_to_the_end_wherever_it_was_cut_off_and_never_over_an_older_cluster) {
  load(*cluster_, 40, folder_.path);
  wait_received(*cluster_);
  const auto rows = numbers(ask(*cluster_, kAllXids));
  for (const auto* name : {"cut-off", "again"}) {
    auto made = restored({}, name);
    ASSERT_TRUE(made) << made.error().detail;
  }
  ask(*cluster_, "delete from exact");
  end();
  // Cut off when the two had changed places, while older ones hold every name of this minute; the folder itself was a trial.
  const auto into = folder_.path / "cut-off";
  ASSERT_TRUE(put(into / "pgdata/enishi.promoted", slurp(into / kQuiet), *database_user()));
  fs::rename(data() / "pgdata", folder_.path / "aside");
  fs::rename(into / "pgdata", data() / "pgdata");
  fs::rename(folder_.path / "aside", into / "pgdata");
  ASSERT_TRUE(put(data() / kQuiet, "{}\n", *database_user()));
  for (int second = 0; second < 60; ++second) {
    auto stamp = to_text(now() + std::chrono::seconds(second)).substr(0, 19);
    std::erase_if(stamp, [](char c) { return c == '-' || c == ':'; });
    fs::create_directory(data() / ("pgdata.before-" + stamp));
  }
  const auto old = promote(into, data());
  ASSERT_TRUE(old) << old.error().detail;
  EXPECT_TRUE(old->string().ends_with("-2")) << *old;
  EXPECT_TRUE(fs::exists(*old / "PG_VERSION"));
  EXPECT_FALSE(fs::exists(into));
  EXPECT_FALSE(fs::exists(data() / kQuiet));
  EXPECT_FALSE(fs::exists(data() / "pgdata/enishi.promoted"));
  EXPECT_TRUE(rows_of(data()) == rows);
  auto done = promote(into, data());
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, "NOT_RESTORED");

  // On another disk: copied there first. What a promotion that nobody took up again had put aside is not taken for a copy.
  const auto disk = folder_.path / "disk";
  fs::create_directory(disk);
  if (geteuid() != 0 || mount("none", disk.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "size=1g,mode=0755") != 0)
    GTEST_SKIP() << "another disk needs root";
  struct Unmount {
    fs::path path;
    ~Unmount() { umount2(path.c_str(), MNT_DETACH); }
  } const unmount{disk};
  const auto moved = run_command({{"/bin/cp", "-a", folder_.path / "again", disk / "again"}, {}, {}, Millis(60000)});
  ASSERT_EQ(moved.status, 0) << moved.output;
  fs::create_directory(data() / "pgdata.restored");
  std::ofstream(data() / "pgdata.restored/PG_VERSION") << "15\n";
  const auto replaced = promote(disk / "again", data());
  ASSERT_TRUE(replaced) << replaced.error().detail;
  EXPECT_TRUE(fs::exists(*replaced / "global"));
  EXPECT_FALSE(fs::exists(disk / "again"));
  EXPECT_FALSE(fs::exists(data() / "pgdata.restored"));
  EXPECT_TRUE(rows_of(data()) == rows);
  int kept = 0;
  for (const auto& entry : fs::directory_iterator(data()))
    if (entry.path().filename().string().starts_with("pgdata.before-") && fs::exists(entry.path() / "PG_VERSION")) ++kept;
  EXPECT_EQ(kept, 3);
}

TEST_F(Restoring, goes_on_watching_while_the_backup_disk_does_not_answer) {
  const auto disk = std::make_shared<Disk>();
  auto pace = fast();
  pace.probe = [disk] { return disk->look(); };
  guard_anew({}, pace);
  ASSERT_TRUE(sees([](const std::string& s) { return has_backup(s) && receiving(s); })) << guardian_->status();
  disk->hang(true);
  ASSERT_TRUE(sees([](const std::string& s) { return has_problem(s, "BACKUP_SILENT") && has_problem(s, "WAL_NOT_ARCHIVED"); }))
      << guardian_->status();
  const auto alarmed = now();
  EXPECT_TRUE(sees([&](const std::string& s) {
    const auto o = parsed(s);
    return o.at("heartbeat_at").is_string() && *parse_moment(std::string(o.at("heartbeat_at").as_string())) > alarmed;
  })) << guardian_->status();
  Session session(cluster_->conninfo("postgres"));
  EXPECT_EQ(ask(session, "insert into exact default values"), "") << "writes go on";
  ask(session, "insert into continuity_request (kind, name, requested_by) values ('MARK', 'held', 'test')");
  EXPECT_EQ(becomes(session, "select state from continuity_request", "FAILED"), "FAILED");
  EXPECT_THAT(ask(session, "select detail from continuity_request"), ::testing::HasSubstr("does not answer"));
  disk->hang(false);
  EXPECT_TRUE(sees([](const std::string& s) { return !has_problem(s, "BACKUP_SILENT") && !has_problem(s, "WAL_NOT_ARCHIVED"); }))
      << guardian_->status();
}

TEST_F(Restoring, leaves_alone_whom_others_let_commits_wait_for_and_lets_nobody_wait_for_what_a_receiver_cannot_do) {
  BackupSettings settings;
  settings.synchronous = true;
  guard_anew(settings);
  const auto synchronous = [](const std::string& s) {
    const auto o = parsed(s);
    const auto* r = o.if_contains("receiver");
    return r != nullptr && r->at("synchronous").as_bool() && !has_problem(s, "NOT_RPO_0");
  };
  ASSERT_TRUE(sees(synchronous)) << guardian_->status();
  Session session(cluster_->conninfo("postgres"));
  ASSERT_EQ(becomes(session, "show synchronous_standby_names", kReceiver), kReceiver);
  const auto own = data() / "postgresql.local.conf";
  std::ofstream(own) << "synchronous_standby_names = '*'\n";
  cluster_->reload();
  ASSERT_TRUE(sees([](const std::string& s) { return has_problem(s, "STANDBY_NAMES_SET"); })) << guardian_->status();
  EXPECT_THAT(guardian_->status(), ::testing::HasSubstr(own.string()));
  const auto loaded = ask(session, "select pg_conf_load_time()");
  std::this_thread::sleep_for(6s);  // longer than the pause between two attempts
  EXPECT_EQ(ask(session, "select pg_conf_load_time()"), loaded);
  std::ofstream(own) << "synchronous_commit = remote_apply\n";
  cluster_->reload();
  ASSERT_TRUE(sees([](const std::string& s) { return has_problem(s, "REMOTE_APPLY") && !has_problem(s, "STANDBY_NAMES_SET"); }))
      << guardian_->status();
  EXPECT_EQ(ask(session, "insert into exact default values"), "");
  fs::remove(own);
  cluster_->reload();
  ASSERT_TRUE(sees([&](const std::string& s) { return synchronous(s) && !has_problem(s, "REMOTE_APPLY"); })) << guardian_->status();
  EXPECT_EQ(becomes(session, "show synchronous_standby_names", kReceiver), kReceiver);
}

/// The process of a receiver that writes into `data`; 0 without one.
pid_t receiver_of(const fs::path& data) {
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator("/proc", ec)) {
    const auto name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const auto line = slurp(entry.path() / "cmdline");
    if (line.find("pg_receivewal") != std::string::npos && line.find(data.string()) != std::string::npos)
      return static_cast<pid_t>(std::stol(name));
  }
  return 0;
}

TEST_F(Restoring, begins_anew_after_a_gap_of_the_receiver_which_the_repository_fills) {
  Session session(cluster_->conninfo("postgres"));
  // Nothing of the slot's is kept for it.
  ASSERT_EQ(ask(session, "alter system set max_slot_wal_keep_size = '0'"), "");
  ASSERT_EQ(ask(session, "alter system set min_wal_size = '32MB'"), "");
  cluster_->reload();
  load(*cluster_, 40, folder_.path);
  guardian_->stop();
  guardian_.reset();
  for (int i = 0; i < 8; ++i) ask(session, "insert into exact default values; select pg_switch_wal()");
  EXPECT_EQ(becomes(session, "select not exists (select from pg_ls_archive_statusdir() f where f.name like '%.ready')", "t"), "t");
  ask(session, "checkpoint");
  EXPECT_EQ(becomes(session, "select wal_status from pg_replication_slots", "lost"), "lost");
  guard();
  ASSERT_TRUE(sees([&](const std::string& s) {
    std::error_code ec;
    for (const auto& entry : fs::directory_iterator(data() / "backup/receiver", ec))
      if (entry.path().filename().string().find(kUntil) != std::string::npos) return receiving(s) && !has_problem(s, "RECEIVER_GAP");
    return false;
  })) << guardian_->status();
  load(*cluster_, 40, folder_.path);
  wait_received(*cluster_);
  auto report = restored({}, "whole");
  ASSERT_TRUE(report) << report.error().detail;
  EXPECT_TRUE(report->good()) << to_text(*report);
  EXPECT_TRUE(rows_of(folder_.path / "whole") == numbers(ask(*cluster_, kAllXids)));
}

TEST_F(Restoring, is_tried_by_the_guardian_itself_when_its_time_has_come) {
  auto pace = fast();
  pace.first_drill = Millis(0);
  BackupSettings settings;
  settings.drill_folder = folder_.path / "drills";
  const auto window = read_window(repository());
  ASSERT_TRUE(window) << window.error().detail;
  std::this_thread::sleep_until(window->from + 100ms);
  load(*cluster_, 4, folder_.path);
  wait_received(*cluster_);
  guard_anew(settings, pace, 7);
  ASSERT_TRUE(sees(
      [](const std::string& s) {
        const auto o = parsed(s);
        return o.contains("drill") && o.at("drill").at("last_good_at").is_string() && !has_problem(s, "DRILL_NEVER");
      },
      Millis(120000)))
      << guardian_->status();
  EXPECT_TRUE(fs::exists(folder_.path / "drills")) << "it was made where it was asked for";
  EXPECT_FALSE(fs::exists(folder_.path / "drills/drill")) << "it cleans up";
  ASSERT_EQ(drills(data()).size(), 1U);
  EXPECT_TRUE(drills(data()).front().good);
}

TEST_F(Restoring, a_start_without_backups_keeps_no_wal_for_the_receiver) {
  ASSERT_EQ(ask(*cluster_, "select count(*) from pg_replication_slots"), "1");
  end();
  cluster_ = started(quick(data(), false));
  EXPECT_EQ(ask(*cluster_, "select count(*) from pg_replication_slots"), "0");
  EXPECT_NE(ask(*cluster_, "show max_slot_wal_keep_size"), "-1");
}

TEST_F(Restoring, comes_back_when_the_database_is_gone_and_when_the_newest_archived_wal_is_gone_too) {
  load(*cluster_, 400, folder_.path);
  wait_received(*cluster_);
  load(*cluster_, 400, folder_.path);
  wait_received(*cluster_);
  const auto rows = numbers(ask(*cluster_, kAllXids));
  ASSERT_TRUE(guardian_->wait_until(
      [](const std::string& s) {
        const auto o = parsed(s);
        const auto* w = o.if_contains("wal");
        return w != nullptr && w->at("last_archived").is_string() && w->at("files_waiting").to_number<int>() == 0;
      },
      Deadline::in(Millis(30000))))
      << guardian_->status();
  // The database disappears under a running server, then Enishi ends.
  fs::remove_all(data() / "pgdata");
  end();
  auto again = EmbeddedCluster::start(quick(data(), true));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, "DATA_LOST");
  EXPECT_THAT(again.error().detail, ::testing::HasSubstr("enishi restore --data"));
  // The newest WAL of the repository is gone as well.
  fs::path newest;
  for (const auto& entry : fs::recursive_directory_iterator(data() / "backup/repo/archive"))
    if (parse_wal_file(entry.path().filename().string().substr(0, 24)) && entry.path().extension() == ".zst" &&
        entry.path().filename() > newest.filename())
      newest = entry.path();
  ASSERT_TRUE(fs::remove(newest));
  auto report = restored({}, "back", true);
  ASSERT_TRUE(report) << report.error().detail;
  EXPECT_TRUE(report->good()) << to_text(*report);
  EXPECT_GT(report->wal_from_receiver, 0U);
  ASSERT_TRUE(promote(folder_.path / "back", data()));
  cluster_ = started(quick(data(), true));
  EXPECT_TRUE(numbers(ask(*cluster_, kAllXids)) == rows);
}

TEST_F(Restoring, keeps_writing_with_an_alarm_while_the_backups_are_away_and_stops_writing_only_after_the_set_time) {
  // The backup disk goes: its folder is empty, as a mount point without its disk is.
  fs::rename(data() / "backup", data() / "elsewhere");
  ASSERT_TRUE(private_folder(data() / "backup", cluster_->user()));
  ASSERT_TRUE(guardian_->wait_until(
      [](const std::string& s) { return has_problem(s, "BACKUP_GONE") && parsed(s).at("state").as_string() == "red"; },
      Deadline::in(Millis(20000))))
      << guardian_->status();
  load(*cluster_, 40, folder_.path);
  EXPECT_TRUE(fs::is_empty(data() / "backup")) << "something was written where the backups are not";
  // It has been so for longer than the set time, which a restart does not forget.
  end();
  std::ofstream(data() / "continuity.json") << R"({"wal":{"outage_since":")" << to_text(now() - std::chrono::hours(25)) << R"("}})";
  cluster_ = started(quick(data(), true));
  guard();
  ASSERT_TRUE(guardian_->wait_until([](const std::string& s) { return has_problem(s, "WRITES_STOPPED"); }, Deadline::in(Millis(20000))))
      << guardian_->status();
  Session session(cluster_->conninfo("postgres"));
  const auto limit = Deadline::in(Millis(10000));
  std::string said;
  while (!(said = ask(session, "insert into exact default values")).starts_with("error") && !limit.passed())
    std::this_thread::sleep_for(50ms);
  EXPECT_THAT(said, ::testing::HasSubstr("25006"));
  EXPECT_EQ(ask(session, "select count(*) > 0 from exact"), "t");
  // The disk is back: everything goes on, and nothing was dropped meanwhile.
  fs::remove_all(data() / "backup");
  fs::rename(data() / "elsewhere", data() / "backup");
  ASSERT_TRUE(guardian_->wait_until(
      [](const std::string& s) { return !has_problem(s, "WRITES_STOPPED") && !has_problem(s, "BACKUP_GONE") && receiving(s); },
      Deadline::in(Millis(60000))))
      << guardian_->status();
  const auto again = Deadline::in(Millis(10000));
  while ((said = ask(session, "insert into exact default values")).starts_with("error") && !again.passed())
    std::this_thread::sleep_for(50ms);
  EXPECT_EQ(said, "");
  wait_received(*cluster_);
  const auto rows = numbers(ask(*cluster_, kAllXids));
  auto report = restored({}, "after", false);
  ASSERT_TRUE(report) << report.error().detail;
  EXPECT_TRUE(rows_of(folder_.path / "after") == rows);
}

TEST_F(Restoring, waits_for_a_synchronous_receiver_goes_on_without_it_after_the_set_time_and_writes_the_interval_down) {
  guardian_->stop();
  guardian_.reset();
  BackupSettings settings;
  settings.synchronous = true;
  settings.sync_outage_seconds = 2;
  guard(settings);
  const auto is_synchronous = [](const std::string& s) {
    const auto o = parsed(s);
    const auto* r = o.if_contains("receiver");
    return r != nullptr && r->at("synchronous").as_bool();
  };
  ASSERT_TRUE(guardian_->wait_until(is_synchronous, Deadline::in(Millis(30000)))) << guardian_->status();
  load(*cluster_, 40, folder_.path);
  // Frozen: it keeps its connection and takes nothing.
  const auto receiver = receiver_of(data());
  ASSERT_GT(receiver, 0);
  // A request that is taken while commits wait must not make the guardian wait for itself.
  ask(*cluster_, "insert into continuity_request (kind, name, requested_by) values ('MARK', 'frozen', 'test')");
  kill(receiver, SIGSTOP);
  const auto began = steady_now();
  EXPECT_EQ(ask(*cluster_, "insert into exact default values"), "");
  const auto waited = steady_now() - began;
  EXPECT_GT(waited, 1s) << "it did not wait for the receiver";
  EXPECT_LT(waited, 20s);
  const auto limit = Deadline::in(Millis(10000));
  std::string state;
  while ((state = ask(*cluster_, "select state from continuity_request")) != "DONE" && !limit.passed()) std::this_thread::sleep_for(50ms);
  EXPECT_EQ(state, "DONE");
  ASSERT_TRUE(guardian_->wait_until([](const std::string& s) { return has_problem(s, "NOT_RPO_0"); }, Deadline::in(Millis(20000))))
      << guardian_->status();
  kill(receiver, SIGCONT);
  ASSERT_TRUE(guardian_->wait_until([&](const std::string& s) { return is_synchronous(s) && !has_problem(s, "NOT_RPO_0"); },
                                    Deadline::in(Millis(30000))))
      << guardian_->status();
  const auto risks = parsed(guardian_->status()).at("not_rpo_0").as_array();
  ASSERT_FALSE(risks.empty());
  EXPECT_GT(risks.back().at("seconds").to_number<double>(), 1.0);
  EXPECT_FALSE(risks.back().at("to").is_null());

  // Settings that do not arrive are written again.
  std::ofstream(data() / "pgdata" / kGuardianConf, std::ios::app) << "synchronous_standby_names = 'somebody_else'\n";
  cluster_->reload();
  const auto again = Deadline::in(Millis(20000));
  while (slurp(data() / "pgdata" / kGuardianConf).find("somebody_else") != std::string::npos && !again.passed())
    std::this_thread::sleep_for(50ms);
  while ((state = ask(*cluster_, "show synchronous_standby_names")) != kReceiver && !again.passed()) std::this_thread::sleep_for(50ms);
  EXPECT_EQ(state, kReceiver);

  // An interval that was open when Enishi was killed is not forgotten: the next one closes it, once.
  end();
  const auto from = to_text(now() - 60s);
  std::ofstream(data() / "continuity.json") << R"({"at":")" << to_text(now() - 30s) << R"(","not_rpo_0":[{"from":")" << from
                                            << R"(","to":null,"seconds":30}]})";
  for (int i = 0; i < 2; ++i) {
    cluster_ = started(quick(data(), true));
    guard(settings);
    ASSERT_TRUE(guardian_->wait_until(is_synchronous, Deadline::in(Millis(60000)))) << guardian_->status();
    ASSERT_TRUE(guardian_->wait_until([](const std::string& s) { return parsed(s).at("not_rpo_0").as_array().back().at("to").is_string(); },
                                      Deadline::in(Millis(60000))))
        << guardian_->status();
    end();
  }
  const auto lines = slurp(data() / "continuity.jsonl");
  const auto found = lines.find(from);
  ASSERT_NE(found, std::string::npos) << lines;
  EXPECT_EQ(lines.find(from, found + 1), std::string::npos) << lines;
}

TEST(BackupDisk, that_is_full_raises_an_alarm_and_loses_nothing) {
  const Folder folder;
  const auto disk = folder.path / "disk";
  fs::create_directory(disk);
  if (geteuid() != 0 || mount("none", disk.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "size=70m,mode=0755") != 0)
    GTEST_SKIP() << "mounting needs root";
  struct Unmount {
    fs::path path;
    ~Unmount() { umount2(path.c_str(), MNT_DETACH); }
  } const unmount{disk};
  const auto user = *database_user();
  auto cluster = started(quick(folder.path / "data", true));
  ASSERT_EQ(ask(*cluster, kTable), "");
  BackupSettings settings;
  settings.folder = disk / "backup";
  settings.receiver = folder.path / "receiver";
  settings.drill_days = 0;
  Guardian guardian(*cluster, settings, {}, fast());
  ASSERT_TRUE(guardian.wait_until(has_backup, Deadline::in(Millis(240000)))) << guardian.status();
  {
    std::ofstream filler(disk / "filler", std::ios::binary);
    const std::string block(1 << 20, 'x');
    while (filler.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {
    }
  }
  load(*cluster, 400, folder.path);
  Session session(cluster->conninfo("postgres"));
  for (int i = 0; i < 3; ++i) ask(session, "insert into exact select from generate_series(1, 2000); select pg_switch_wal()");
  ASSERT_TRUE(guardian.wait_until([](const std::string& s) { return has_problem(s, "WAL_NOT_ARCHIVED"); }, Deadline::in(Millis(60000))))
      << guardian.status();
  EXPECT_EQ(ask(session, "insert into exact default values"), "") << "writes go on";
  EXPECT_GT(parsed(guardian.status()).at("wal").at("files_waiting").to_number<int>(), 0);
  fs::remove(disk / "filler");
  ASSERT_TRUE(guardian.wait_until(
      [](const std::string& s) {
        return !has_problem(s, "WAL_NOT_ARCHIVED") && parsed(s).at("wal").at("files_waiting").to_number<int>() == 0;
      },
      Deadline::in(Millis(120000))))
      << guardian.status();
  guardian.stop();
  cluster->stop();
  guardian.finish();
}

}  // namespace
}  // namespace enishi::cluster

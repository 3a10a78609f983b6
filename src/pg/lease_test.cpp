// Leases, transactions, COPY, LISTEN: what needs a connection of one's own.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <thread>

#include "base/metrics.hpp"
#include "pg/testing.hpp"

namespace enishi::pg {
namespace {

using testing::Stage;

const Statement pid{"test.lease_pid", Rowcount::one, true, "select pg_backend_pid()"};
const Statement nap{"test.lease_nap", Rowcount::one, false, "select pg_sleep($1::float8), 1"};
const Statement insert{"test.lease_insert", Rowcount::exec, false, "insert into item (id, name) values ($1::int, $2::text)"};
const Statement count{"test.lease_count", Rowcount::one, false, "select count(*) from item"};
const Statement call{"test.lease_call", Rowcount::one, false, "select rule()"};
const Statement who{"test.lease_who", Rowcount::one, true, "select current_user, current_setting('application_name')"};
const Statement setting{"test.lease_setting", Rowcount::one, false, "select current_setting('work_mem')"};

constexpr const char* kItems = "create table item (id int primary key, name text not null)";

Deadline soon() { return Deadline::in(Millis(10000)); }

std::int64_t items(Stage& stage) { return std::stoll(*stage.fresh.value("select count(*) from item")); }

Task<std::int64_t> pid_of_a_lease(Database& db) {
  const auto rows = co_await db.run(pid, {});
  co_return rows->integer(0, 0);
}

// --- rules -------------------------------------------------------------------------------------------------------------------------------

TEST(Rules, raised_by_the_database_become_errors_with_code_sentence_and_object) {
  Stage stage;
  stage.fresh.sql(R"(create function rule() returns int language plpgsql as $$ begin
    raise exception using errcode = 'EN409', message = 'The slot is full.', constraint = 'SLOT_FULL', detail = '{"free": 0}'; end $$)");
  const auto refused = stage.run(stage.db.run(call, {}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, Kind::conflict);
  EXPECT_EQ(refused.error().code, "SLOT_FULL");
  EXPECT_EQ(refused.error().detail, "The slot is full.");
  EXPECT_EQ(refused.error().extra, R"({"free": 0})");
}

TEST(Values, that_postgresql_cannot_hold_are_refused_as_errors) {
  Stage stage;
  stage.fresh.sql(kItems);
  const std::string zero("a\0b", 3);
  const std::string broken = "\xff\xfe";
  const Statement text{"test.lease_text", Rowcount::one, true, "select $1::text"};
  for (const auto& bad : {zero, broken}) {
    const auto read = stage.run(stage.db.read(text, params(bad)));
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().code, "VALUE_INVALID");
    const auto run = stage.run(stage.db.run(insert, params(1, bad)));
    ASSERT_FALSE(run);
    EXPECT_EQ(run.error().code, "VALUE_INVALID");
    std::vector<Step> steps{{insert, params(1, "good")}, {insert, params(2, bad)}};
    const auto written = stage.run(stage.db.write(steps));
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().code, "VALUE_INVALID");
  }
  EXPECT_EQ(items(stage), 0);
  EXPECT_EQ(stage.run(stage.db.read(text, params("still here")))->text(0, 0), "still here");
}

// --- deadlines ---------------------------------------------------------------------------------------------------------------------------

TEST(Deadlines, cancel_the_statement_and_keep_the_connection) {
  Stage stage({.leases = 1});
  const auto before = stage.run(pid_of_a_lease(stage.db));
  const auto began = steady_now();
  EXPECT_THROW(stage.run(stage.db.run(nap, params(4.0), Deadline::in(Millis(100)))), TimedOut);
  EXPECT_LT(steady_now() - began, Millis(1500));
  EXPECT_EQ(stage.run(pid_of_a_lease(stage.db)), before);
}

TEST(Deadlines, of_the_server_count_too) {
  Stage stage({.statement_timeout = Millis(50)});
  EXPECT_THROW(stage.run(stage.db.run(nap, params(4.0))), TimedOut);
}

Task<> naps_until_cancelled(Lease& lease, bool& ended) {
  try {
    co_await lease.run(nap, params(8.0), soon());
  } catch (const TimedOut&) {
    ended = true;
  }
}

Task<> cancels(Lease& lease, testing::Fresh& fresh) {
  // The nap must have begun: a cancel before it hits nothing.
  const auto asleep = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
  while (*fresh.value(asleep) == "0") co_await sleep(Millis(5));
  co_await lease.cancel();
}

TEST(Leases, are_cancelled_from_another_task) {
  Stage stage;
  bool ended = false;
  const auto began = steady_now();
  {
    auto lease = stage.run(stage.db.lease());
    std::vector<Task<>> tasks;
    tasks.push_back(naps_until_cancelled(lease, ended));
    tasks.push_back(cancels(lease, stage.fresh));
    stage.run_all(std::move(tasks));
  }
  EXPECT_TRUE(ended);
  EXPECT_LT(steady_now() - began, Millis(4000));
}

// --- the pool ----------------------------------------------------------------------------------------------------------------------------

Task<> holds(Database& db, int& held, int& most) {
  auto lease = co_await db.lease();
  most = std::max(most, ++held);
  const auto rows = co_await lease.run(nap, params(0.01), soon());
  EXPECT_TRUE(rows);
  --held;
}

TEST(Leases, are_no_more_than_configured) {
  Stage stage({.leases = 3});
  int held = 0, most = 0;
  std::vector<Task<>> tasks;
  for (int i = 0; i < 20; ++i) tasks.push_back(holds(stage.db, held, most));
  stage.run_all(std::move(tasks));
  EXPECT_EQ(held, 0);
  EXPECT_EQ(most, 3);
}

Task<> waits_in_vain(Database& db, int& refused) {
  try {
    const auto lease = co_await db.lease(Deadline::in(Millis(50)));
  } catch (const Unavailable&) {
    ++refused;
  }
}

TEST(Leases, refuse_whoever_waits_too_long_or_stands_too_far_back) {
  Stage stage({.leases = 1, .most_waiting = 2});
  const auto lease = stage.run(stage.db.lease());
  int refused = 0;
  std::vector<Task<>> tasks;
  for (int i = 0; i < 5; ++i) tasks.push_back(waits_in_vain(stage.db, refused));
  stage.run_all(std::move(tasks));
  EXPECT_EQ(refused, 5);
}

Task<> leaves_open(Database& db) {
  auto lease = co_await db.lease();
  co_await lease.begin(soon());
  EXPECT_TRUE(co_await lease.run(insert, params(1, "lost"), soon()));
}

TEST(Leases, that_are_dropped_inside_a_transaction_roll_it_back) {
  Stage stage({.leases = 1});
  stage.fresh.sql(kItems);
  const auto before = stage.run(pid_of_a_lease(stage.db));
  stage.run(leaves_open(stage.db));
  EXPECT_EQ(stage.run(pid_of_a_lease(stage.db)), before);
  EXPECT_EQ(items(stage), 0);
}

TEST(Leases, set_role_and_application_name) {
  Stage plain;
  plain.fresh.sql("drop role if exists \"odd name\"; create role \"odd name\"");
  Stage stage({.conninfo = plain.fresh.conninfo(), .role = "odd name", .application_name = "enishi test"});
  auto rows = stage.run(stage.db.read(who, {}));
  EXPECT_EQ(rows->text(0, 0), "odd name");
  EXPECT_EQ(rows->text(0, 1), "enishi test");
}

Task<Result<Rows>> scripted(Database& db, std::string sql) {
  auto lease = co_await db.lease();
  co_return co_await lease.script(std::move(sql), soon());
}

TEST(Scripts, run_several_statements_and_leave_no_settings_behind) {
  Stage stage({.leases = 1});
  const auto before = stage.run(stage.db.run(setting, {}))->maybe(0, 0);
  auto last = stage.run(scripted(stage.db, "set work_mem = '9MB'; create table item (id int); select 7"));
  ASSERT_TRUE(last);
  EXPECT_EQ(last->integer(0, 0), 7);
  EXPECT_EQ(stage.run(stage.db.run(setting, {}))->maybe(0, 0), before);
  EXPECT_THROW(stage.run(scripted(stage.db, "select 1; selekt 2")), Broken);
  const auto bad = stage.run(scripted(stage.db, "select 'x'::int"));
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().code, "VALUE_INVALID");
}

TEST(Databases, close_and_open_again) {
  Stage stage;
  const auto before = stage.run(pid_of_a_lease(stage.db));
  EXPECT_TRUE(stage.run(stage.db.read(pid, {})));
  stage.db.close();
  EXPECT_NE(stage.run(pid_of_a_lease(stage.db)), before);
  EXPECT_TRUE(stage.run(stage.db.read(pid, {})));
}

// --- transactions ------------------------------------------------------------------------------------------------------------------------

Task<Result<int>> inserts(Lease& lease, int id, bool fails) {
  const auto rows = co_await lease.run(insert, params(id, "x"), soon());
  if (!rows) co_return tl::make_unexpected(rows.error());
  if (fails) co_return fail(Kind::conflict, "CHANGED_MY_MIND", "no");
  co_return id;
}

TEST(Transactions, commit_a_value_and_roll_an_error_back) {
  Stage stage({.leases = 1});
  stage.fresh.sql(kItems);
  auto good = stage.run(stage.db.transaction<int>([](Lease& lease) { return inserts(lease, 1, false); }));
  EXPECT_EQ(good, 1);
  auto bad = stage.run(stage.db.transaction<int>([](Lease& lease) { return inserts(lease, 2, true); }));
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().code, "CHANGED_MY_MIND");
  EXPECT_EQ(items(stage), 1);
}

TEST(Transactions, that_commit_refuses_say_why) {
  Stage stage;
  stage.fresh.sql("create table item (id int, name text, constraint one_of_each unique (id) deferrable initially deferred)");
  stage.fresh.sql("insert into item values (1, 'x')");
  auto late = stage.run(stage.db.transaction<int>([](Lease& lease) { return inserts(lease, 1, false); }));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, "UNIQUE_VIOLATION");
  EXPECT_EQ(items(stage), 1);
}

TEST(Transactions, in_one_trip_that_commit_refuses_are_no_success) {
  Stage stage;
  stage.fresh.sql("create table item (id int, name text, constraint one_of_each unique (id) deferrable initially deferred)");
  stage.fresh.sql("insert into item values (1, 'x')");
  const auto run = stage.run(stage.db.run(insert, params(1, "y")));
  ASSERT_FALSE(run);
  EXPECT_EQ(run.error().code, "UNIQUE_VIOLATION");
  std::vector<Step> steps{{insert, params(2, "z")}, {insert, params(1, "y")}, {insert, params(3, "z")}};
  const auto written = stage.run(stage.db.write(steps));
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, "UNIQUE_VIOLATION");
  EXPECT_EQ(items(stage), 1);
}

Task<> commits_after_a_failure(Lease& lease) {
  co_await lease.begin(soon());
  EXPECT_FALSE(co_await lease.run(insert, params("no number", "x"), soon()));
  co_await lease.commit(soon());
}

TEST(Transactions, do_not_pretend_to_commit_after_a_failure) {
  Stage stage;
  stage.fresh.sql(kItems);
  auto lease = stage.run(stage.db.lease());
  EXPECT_THROW(stage.run(commits_after_a_failure(lease)), Broken);
}

/// A function that raises `state` the first `times` times it is called: sequences do not roll back.
std::string raises(const std::string& state, int times) {
  return "create sequence tries; create function rule() returns int language plpgsql as $$ begin if nextval('tries') <= " +
         std::to_string(times) + " then raise exception using errcode = '" + state + "'; end if; return 1; end $$";
}

std::int64_t tries(Stage& stage) { return std::stoll(*stage.fresh.value("select last_value from tries")); }

TEST(Writes, are_tried_again_after_a_serialization_failure) {
  Stage stage;
  stage.fresh.sql(raises("40001", 3));
  std::vector<Step> steps{{call, {}}};
  EXPECT_TRUE(stage.run(stage.db.write(steps)));
  EXPECT_EQ(tries(stage), 4);
}

TEST(Writes, give_up_after_five_serialization_failures) {
  Stage stage;
  stage.fresh.sql(raises("40P01", 100));
  std::vector<Step> steps{{call, {}}};
  const auto out = stage.run(stage.db.write(steps));
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().code, "SERIALIZATION_FAILURE");
  EXPECT_EQ(tries(stage), 5);
}

const Statement update{"test.lease_update", Rowcount::exec, false, "update item set name = name || 'x' where id = $1::int"};
const Statement short_nap{"test.lease_short_nap", Rowcount::one, false, "select pg_sleep(0.05)"};

Task<> updates(Database& db, int first, int second) {
  std::vector<Step> steps{{update, params(first)}, {short_nap, {}}, {update, params(second)}};
  EXPECT_TRUE(co_await db.write(steps));
}

TEST(Writes, that_deadlock_both_succeed) {
  testing::Fresh fresh;
  fresh.sql(kItems);
  fresh.sql("insert into item values (1, ''), (2, '')");
  Stage stage({.conninfo = fresh.conninfo() + " options='-c deadlock_timeout=20ms'"});
  std::vector<Task<>> tasks;
  tasks.push_back(updates(stage.db, 1, 2));
  tasks.push_back(updates(stage.db, 2, 1));
  stage.run_all(std::move(tasks));
  EXPECT_EQ(fresh.value("select string_agg(name, ',') from item"), "xx,xx");
}

Task<> waits_at_the_gate(Database& db, bool& passed) {
  std::vector<Step> steps{{call, {}}};
  const auto out = co_await db.write(steps);
  passed = out.has_value();
}

Task<> opens_the_gate(Database& db, testing::Fresh& fresh, bool& worked) {
  while (*fresh.value("select last_value from tries") < "3") co_await sleep(Millis(5));
  // The only lease is free although somebody waits at the gate.
  const auto rows = co_await db.run(pid, {});
  worked = rows.has_value();
  fresh.sql("update gate set shut = false");
}

TEST(Writes, wait_without_a_connection_while_the_gate_is_shut) {
  Stage stage({.leases = 1});
  stage.fresh.sql(R"(create sequence tries; create table gate (shut boolean); insert into gate values (true);
    create function rule() returns int language plpgsql as $$ begin
      perform nextval('tries');
      if (select shut from gate) then raise exception using errcode = 'EN001'; end if; return 1; end $$)");
  bool passed = false, worked = false;
  std::vector<Task<>> tasks;
  tasks.push_back(waits_at_the_gate(stage.db, passed));
  tasks.push_back(opens_the_gate(stage.db, stage.fresh, worked));
  stage.run_all(std::move(tasks));
  EXPECT_TRUE(passed);
  EXPECT_TRUE(worked);
}

TEST(Writes, say_that_the_gate_is_shut_when_their_time_is_over) {
  Stage stage;
  stage.fresh.sql(raises("EN001", 1000000));
  std::vector<Step> steps{{call, {}}};
  const WriteOptions options{.deadline = Deadline::in(Millis(300))};
  const auto out = stage.run(stage.db.write(steps, options));
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().code, "GATE_SHUT");
  EXPECT_EQ(out.error().kind, Kind::unavailable);
  EXPECT_GE(tries(stage), 3);
}

// --- COPY --------------------------------------------------------------------------------------------------------------------------------

struct Lines {
  int from, to;
  int bad = -1;     ///< this line is no number
  int throws = -1;  ///< here the source fails
  bool operator()(std::string& chunk) {
    if (from == throws) throw std::runtime_error("the file is gone");
    chunk += (from == bad ? "oops" : std::to_string(from)) + "\tname\n";
    return ++from < to;
  }
};

Task<Result<std::int64_t>> copies_in(Database& db, Lines lines) {
  auto lease = co_await db.lease();
  co_return co_await lease.copy_in("copy item (id, name) from stdin", lines, soon());
}

Task<Result<std::int64_t>> copies_out(Database& db, std::string sql, std::string& text) {
  auto lease = co_await db.lease();
  std::function<void(std::string_view)> take = [&text](std::string_view chunk) { text += chunk; };
  co_return co_await lease.copy_out(std::move(sql), take, soon());
}

TEST(Copy, goes_in_and_out) {
  Stage stage({.leases = 1});
  stage.fresh.sql(kItems);
  EXPECT_EQ(stage.run(copies_in(stage.db, {0, 50000})), 50000);
  std::string text;
  EXPECT_EQ(stage.run(copies_out(stage.db, "copy (select id, name from item where id < 3 order by id) to stdout", text)), 3);
  EXPECT_EQ(text, "0\tname\n1\tname\n2\tname\n");
  text.clear();
  EXPECT_EQ(stage.run(copies_out(stage.db, "copy item to stdout", text)), 50000);
}

TEST(Copy, with_a_bad_line_in_the_middle_stores_nothing_and_keeps_the_connection) {
  Stage stage({.leases = 1});
  stage.fresh.sql(kItems);
  const auto before = stage.run(pid_of_a_lease(stage.db));
  const auto out = stage.run(copies_in(stage.db, {.from = 0, .to = 50000, .bad = 20000}));
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().code, "VALUE_INVALID");
  EXPECT_EQ(items(stage), 0);
  EXPECT_EQ(stage.run(pid_of_a_lease(stage.db)), before);
}

TEST(Copy, whose_source_throws_stores_nothing_and_throws_on) {
  Stage stage({.leases = 1});
  stage.fresh.sql(kItems);
  EXPECT_THROW(stage.run(copies_in(stage.db, {.from = 0, .to = 100, .throws = 50})), std::runtime_error);
  EXPECT_EQ(items(stage), 0);
  EXPECT_EQ(stage.run(copies_in(stage.db, {0, 100})), 100);
}

TEST(Copy, out_of_a_query_that_fails_in_the_middle_is_an_error) {
  Stage stage({.leases = 1});
  std::string text;
  const auto out = stage.run(copies_out(stage.db, "copy (select 1 / (20000 - i) from generate_series(1, 30000) i) to stdout", text));
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().code, "VALUE_INVALID");
  EXPECT_TRUE(stage.run(stage.db.run(pid, {})));
}

/// The smallest send buffer that the kernel gives, for every connection to the test's server.
void narrow_sockets() {
  for (int fd = 3; fd < 1024; ++fd) {
    sockaddr_un peer{};
    socklen_t size = sizeof peer;
    const int least = 1;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0 && peer.sun_family == AF_UNIX &&
        std::string_view(peer.sun_path).find(".s.PGSQL.") != std::string_view::npos)
      EXPECT_EQ(::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &least, sizeof least), 0);
  }
}

/// With little room in the socket many a first flush leaves a rest that the second one, an instant later, gets rid of. Who then waited
/// for an answer alone would wait for ever.
TEST(Copy, whose_buffer_drains_between_two_flushes_goes_on) {
  Stage stage({.leases = 1});
  stage.fresh.sql(kItems);
  int left = 4000;
  auto source = [&left](std::string& chunk) {
    if (left == 4000) narrow_sockets();
    chunk = "1\t" + std::string(6000, 'x') + "\n";
    return --left > 0;
  };
  auto copies = [](Database& db, std::function<bool(std::string&)> next) -> Task<Result<std::int64_t>> {
    auto lease = co_await db.lease();
    co_return co_await lease.copy_in("copy item (id, name) from stdin where id < 0", next, Deadline::in(Millis(30000)));
  };
  EXPECT_EQ(stage.run(copies(stage.db, source)), 0);
  EXPECT_EQ(left, 0);
}

TEST(Copy, that_is_no_copy_is_refused) {
  Stage stage;
  std::string text;
  EXPECT_THROW(stage.run(copies_out(stage.db, "select 1", text)), Broken);
}

// --- LISTEN ------------------------------------------------------------------------------------------------------------------------------

Task<> listens(Database& db, testing::Fresh& fresh, std::vector<std::string>& heard) {
  auto lease = co_await db.lease();
  const auto nothing = co_await lease.notification("Odd \"channel\"", Deadline::in(Millis(20)));
  EXPECT_FALSE(nothing);
  fresh.sql("select pg_notify('Odd \"channel\"', 'one'); select pg_notify('Odd \"channel\"', 'two')");
  for (int i = 0; i < 2; ++i) {
    const auto got = co_await lease.notification("Odd \"channel\"", soon());
    if (got) heard.push_back(got->first + ":" + got->second);
  }
}

TEST(Notifications, arrive_and_their_absence_is_no_error) {
  Stage stage({.leases = 1});
  std::vector<std::string> heard;
  stage.run(listens(stage.db, stage.fresh, heard));
  EXPECT_EQ(heard, (std::vector<std::string>{"Odd \"channel\":one", "Odd \"channel\":two"}));
  const Statement channels{"test.lease_channels", Rowcount::one, false, "select count(*) from pg_listening_channels()"};
  EXPECT_EQ(stage.run(stage.db.run(channels, {}))->integer(0, 0), 0);
}

// --- statements --------------------------------------------------------------------------------------------------------------------------

TEST(Statements, that_do_not_fit_the_schema_are_found) {
  Stage stage;
  const Statement good{"lease_test.good", Rowcount::one, false, "select 1"};
  const Statement bad{"lease_test.bad", Rowcount::one, false, "select nothing_of_the_kind"};
  auto lease = stage.run(stage.db.lease());
  const auto wrong = stage.run(check_statements(lease));
  const auto named = [&](std::string_view name) {
    return std::any_of(wrong.begin(), wrong.end(), [&](const auto& one) { return one.first == name; });
  };
  EXPECT_TRUE(named("lease_test.bad"));
  EXPECT_FALSE(named("lease_test.good"));
}

TEST(Statements, are_measured_by_name) {
  Stage stage;
  EXPECT_TRUE(stage.run(stage.db.read(pid, {})));
  EXPECT_NE(metrics::render().find("enishi_pg_statement_seconds_count{statement=\"test.lease_pid\"}"), std::string::npos);
}

TEST(Statements, are_prepared_again_when_a_migration_changed_their_rows) {
  Stage stage({.pipelines = 1, .leases = 1});
  stage.fresh.sql("create table item (id int primary key, name text); insert into item values (1, '5')");
  const Statement find{"test.lease_find", Rowcount::optional, true, "select i.name from item i where id = $1::int"};
  EXPECT_EQ(stage.run(stage.db.read(find, params(1)))->text(0, 0), "5");
  EXPECT_EQ(stage.run(stage.db.run(find, params(1)))->text(0, 0), "5");
  stage.fresh.sql("alter table item alter name type int using 6");
  EXPECT_EQ(stage.run(stage.db.read(find, params(1)))->text(0, 0), "6");
  EXPECT_EQ(stage.run(stage.db.run(find, params(1)))->text(0, 0), "6");
}

}  // namespace
}  // namespace enishi::pg

// The replication connection and the stream of changed keys against a real server.
#include <gmock/gmock.h>

#include <cstdlib>
#include <thread>
#include <utility>

#include "pg/change_stream.hpp"
#include "pg/testing.hpp"

namespace enishi::pg {
namespace {

using pgwire::ChangeBatch;
using pgwire::ChangedValue;
using ::testing::ElementsAre;
using testing::Fresh;
using ::testing::HasSubstr;
using testing::Server;

Deadline soon() { return Deadline::in(Millis(20000)); }

/// A source database with a slot's name of its own, which goes with it.
class Source {
 public:
  Source() : slot("slot_of_" + fresh.database()) {
    fresh.sql(
        "create table item (id int primary key, name text); create table keyless (n int); create publication p for table item, keyless;"
        "create table elsewhere (n int)");
  }
  ~Source() {
    try {
      stream.reset();
      fresh.sql("select pg_terminate_backend(active_pid, 5000) from pg_replication_slots where slot_name = '" + slot + "' and active");
      fresh.sql("select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = '" + slot + "'");
    } catch (const std::runtime_error&) {
      // The test may have stopped the server.
    }
  }
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;
  template <class T>
  T run(Task<T> task) {
    return run_task(shard.context(), std::move(task));
  }
  ReplicationConfig config() { return {.conninfo = fresh.conninfo(), .status_interval = Millis(200)}; }
  void connect() { stream = run(Replication::connect(shard.executor(), offload, config())); }
  /// Connects, makes the slot, and reads it with the publication p.
  void begin(StartReplication what = {}) {
    connect();
    const auto made = run(stream->create_slot(slot, soon()));
    ASSERT_TRUE(made) << made.error().detail;
    what.slot = slot;
    if (what.publications.empty()) what.publications = {"p"};
    const auto begun = run(stream->start(std::move(what), soon()));
    ASSERT_TRUE(begun) << begun.error().detail;
  }
  Result<std::unique_ptr<ChangeStream>> changes(pgwire::Collector::Options options = {}) {
    return run(ChangeStream::open(shard.executor(), offload, config(), {.slot = slot, .publications = {"p"}}, std::move(options), soon()));
  }
  Lsn confirmed_flush() {
    return *pgwire::read_lsn(*fresh.value("select confirmed_flush_lsn from pg_replication_slots where slot_name = '" + slot + "'"));
  }

  Fresh fresh;
  std::string slot;
  Shard shard{0};
  Offload offload{2, 64};
  std::unique_ptr<Replication> stream;
};

/// The letters of the messages until `last` has come.
Task<std::string> letters(Replication& stream, char last) {
  std::string out;
  while (out.empty() || out.back() != last) {
    auto got = co_await stream.receive(soon());
    if (!got || !*got) co_return out + " and no more";
    if (const auto* wal = std::get_if<pgwire::XLogData>(&(*got)->frame)) out.push_back(wal->data[0]);
  }
  co_return out;
}

Task<Result<std::optional<Received>>> until_the_end(Replication& stream) {
  for (;;) {
    auto got = co_await stream.receive(soon());
    if (!got || !*got) co_return got;
  }
}

std::vector<std::string> told(const ChangeBatch& batch) {
  std::vector<std::string> out;
  for (const auto& row : batch.rows) {
    auto& text = out.emplace_back(row.shape->name);
    for (const auto& value : row.values) text += " " + (value.state == ChangedValue::State::known ? value.text : "?");
  }
  return out;
}

TEST(Replication, identifies_the_cluster_and_makes_and_drops_a_slot) {
  Source source;
  source.connect();
  const auto system = source.run(source.stream->identify(soon()));
  ASSERT_TRUE(system);
  EXPECT_EQ(system->system_id, *source.fresh.value("select system_identifier from pg_control_system()"));
  EXPECT_EQ(system->timeline, 1u);
  EXPECT_EQ(system->database, source.fresh.database());
  const auto made = source.run(source.stream->create_slot(source.slot, soon()));
  ASSERT_TRUE(made);
  EXPECT_EQ(*made, source.confirmed_flush());
  EXPECT_EQ(source.run(source.stream->create_slot(source.slot, soon())).error().code, "SLOT_EXISTS");
  ASSERT_TRUE(source.run(source.stream->drop_slot(source.slot, soon())));
  EXPECT_EQ(source.run(source.stream->drop_slot(source.slot, soon())).error().code, "SLOT_MISSING");
  EXPECT_EQ(source.run(source.stream->create_slot("Not'A\"Slot", soon())).error().code, "SLOT_NAME_INVALID");
}

TEST(Replication, brings_what_was_committed_and_nothing_of_what_was_given_up) {
  Source source;
  source.begin();
  source.fresh.sql("insert into item values (1, 'one')");
  EXPECT_EQ(source.run(letters(*source.stream, 'C')), "BRIC");
  source.fresh.sql("begin; insert into item values (2, 'two'); rollback");
  source.fresh.sql("begin; update item set name = 'uno'; delete from item; commit");
  EXPECT_EQ(source.run(letters(*source.stream, 'C')), "BUDC");
  EXPECT_GT(source.stream->server_end(), 0u);
}

TEST(Replication, streams_transactions_before_their_commit_when_asked) {
  Source source;
  source.begin({.version = 2, .streaming = true});
  source.fresh.sql(
      "begin; set local logical_decoding_work_mem = '64kB'; insert into item select i, 'x' from generate_series(1, 100) i; commit");
  // The walsender's own setting decides, so this one is small enough to come at once.
  EXPECT_EQ(source.run(letters(*source.stream, 'C')).substr(0, 3), "BRI");
  testing::sql(Server::get().conninfo(), "alter database " + source.fresh.database() + " set logical_decoding_work_mem = '64kB'");
  source.stream.reset();
  source.connect();
  ASSERT_TRUE(source.run(source.stream->start({.slot = source.slot, .publications = {"p"}, .version = 2, .streaming = true}, soon())));
  source.fresh.sql("insert into item select i, 'x' from generate_series(1000, 5000) i");
  const auto all = source.run(letters(*source.stream, 'c'));
  EXPECT_THAT(all, HasSubstr("SR"));
  EXPECT_THAT(all, HasSubstr("ES"));
}

TEST(Replication, gives_nothing_at_the_deadline_and_goes_on) {
  Source source;
  source.begin();
  const auto began = steady_now();
  Result<std::optional<Received>> got;
  do got = source.run(source.stream->receive(Deadline::in(Millis(100))));
  while (got && *got);  // the first keepalives
  ASSERT_TRUE(got);
  EXPECT_LT(steady_now() - began, Millis(5000));
  source.fresh.sql("insert into item values (1, 'one')");
  EXPECT_EQ(source.run(letters(*source.stream, 'C')), "BRIC");
}

Task<> wait_until(Source& source, std::string condition) {
  const auto limit = soon();
  while (!limit.passed() && source.fresh.value(condition) != "t") co_await sleep(Millis(20));
}

TEST(Replication, confirms_only_what_it_was_told_is_durable) {
  Source source;
  source.begin();
  const auto before = source.confirmed_flush();
  source.fresh.sql("insert into item values (1, 'one')");
  EXPECT_EQ(source.run(letters(*source.stream, 'C')), "BRIC");
  // Several status updates go out by themselves meanwhile.
  source.run(wait_until(source,
                        "select reply_time > backend_start + interval '600 ms' from pg_stat_replication where pid = "
                        "(select active_pid from pg_replication_slots where slot_name = '" +
                            source.slot + "')"));
  EXPECT_EQ(source.confirmed_flush(), before);
  const auto end = source.stream->server_end();
  source.stream->confirm(end, true);
  source.run(wait_until(source, "select confirmed_flush_lsn >= '" + pgwire::lsn_text(end) +
                                    "' from pg_replication_slots where slot_name = '" + source.slot + "'"));
  EXPECT_EQ(source.confirmed_flush(), end);
  source.stream->confirm(before);
  EXPECT_EQ(source.stream->confirmed(), end) << "a position never goes back";
}

TEST(Replication, that_was_not_confirmed_comes_again) {
  Source source;
  source.begin();
  source.fresh.sql("insert into item values (1, 'one')");
  EXPECT_EQ(source.run(letters(*source.stream, 'C')), "BRIC");
  source.stream.reset();
  source.connect();
  // The old reader may hold the slot for a moment: start() tries until its deadline.
  ASSERT_TRUE(source.run(source.stream->start({.slot = source.slot, .publications = {"p"}}, soon())));
  EXPECT_EQ(source.run(letters(*source.stream, 'C')), "BRIC");
}

TEST(Replication, answers_the_server_while_its_caller_is_busy) {
  Source source;
  testing::sql(source.fresh.conninfo(), "alter database " + source.fresh.database() + " set wal_sender_timeout = '1s'");
  source.begin();
  source.run(sleep(Millis(2500)));  // busy with something else than receive(), for longer than the server waits
  source.fresh.sql("insert into item values (1, 'one')");
  EXPECT_EQ(source.run(letters(*source.stream, 'C')), "BRIC");
}

TEST(Replication, says_what_is_wrong_with_slot_and_publication) {
  Source source;
  source.connect();
  EXPECT_EQ(source.run(source.stream->start({.slot = "no_such_slot", .publications = {"p"}}, soon())).error().code, "SLOT_MISSING");
  const auto unpublished = source.run(source.stream->start({.slot = "no_such_slot", .publications = {"p", "o'\"ther"}}, soon()));
  EXPECT_EQ(unpublished.error().code, "PUBLICATION_MISSING");
  EXPECT_THAT(unpublished.error().detail, HasSubstr("o'\"ther"));
  source.begin();
  auto second = source.run(Replication::connect(source.shard.executor(), source.offload, source.config()));
  const auto began = steady_now();
  EXPECT_EQ(source.run(second->start({.slot = source.slot, .publications = {"p"}}, Deadline::in(Millis(300)))).error().code, "SLOT_ACTIVE");
  EXPECT_LT(steady_now() - began, Millis(3000));
}

TEST(Replication, of_a_publication_that_is_dropped_ends_with_its_name) {
  Source source;
  source.begin();
  source.fresh.sql("drop publication p; insert into item values (1, 'one')");
  const auto end = source.run(until_the_end(*source.stream));
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().code, "PUBLICATION_MISSING");
  EXPECT_THAT(end.error().detail, HasSubstr("publication"));
  EXPECT_THROW(source.run(source.stream->receive(soon())), ConnectionLost);
}

TEST(Replication, of_a_slot_whose_wal_is_gone_says_so) {
  Source source;
  source.begin();
  source.stream.reset();
  source.run(wait_until(source, "select not active from pg_replication_slots where slot_name = '" + source.slot + "'"));
  testing::sql(Server::get().conninfo(), "alter system set max_slot_wal_keep_size = '1MB'");
  testing::sql(Server::get().conninfo(), "select pg_reload_conf()");
  for (int i = 0; i < 3; ++i) {
    source.fresh.sql("insert into elsewhere values (1)");
    source.fresh.sql("select pg_switch_wal()");
  }
  source.fresh.sql("checkpoint");
  testing::sql(Server::get().conninfo(), "alter system reset max_slot_wal_keep_size");
  testing::sql(Server::get().conninfo(), "select pg_reload_conf()");
  EXPECT_EQ(source.fresh.value("select wal_status from pg_replication_slots where slot_name = '" + source.slot + "'"), "lost");
  source.connect();
  const auto begun = source.run(source.stream->start({.slot = source.slot, .publications = {"p"}}, soon()));
  ASSERT_FALSE(begun);
  EXPECT_EQ(begun.error().code, "SLOT_LOST");
}

TEST(Replication, needs_the_right_and_says_so_when_connecting) {
  Source source;
  source.fresh.sql("drop role if exists no_replication; create role no_replication login");
  auto config = source.config();
  config.conninfo = "host=" + Server::get().folder() + " user=no_replication dbname=" + source.fresh.database();
  try {
    source.run(Replication::connect(source.shard.executor(), source.offload, config));
    FAIL() << "connected";
  } catch (const Unavailable& e) {
    EXPECT_THAT(e.what(), ::testing::AnyOf(HasSubstr("replication role"), HasSubstr("REPLICATION")));
  }
  source.fresh.sql("alter role no_replication replication");
  source.stream = source.run(Replication::connect(source.shard.executor(), source.offload, config));
  EXPECT_TRUE(source.run(source.stream->create_slot(source.slot, soon()))) << "a role that is no superuser can";
}

TEST(Replication, throws_when_the_connection_is_cut_or_closed) {
  Source source;
  source.begin();
  std::vector<std::string> ends;
  const auto reader = [](Replication& stream, std::vector<std::string>& out) -> Task<> {
    try {
      co_await until_the_end(stream);
      out.emplace_back("an answer");
    } catch (const ConnectionLost&) {
      out.emplace_back("lost");
    }
  };
  asio::co_spawn(source.shard.executor(), reader(*source.stream, ends), asio::detached);
  source.run(sleep(Millis(50)));
  source.fresh.sql("select pg_terminate_backend(active_pid, 5000) from pg_replication_slots where slot_name = '" + source.slot + "'");
  const auto limit = soon();
  while (ends.empty() && !limit.passed()) source.run(sleep(Millis(10)));
  EXPECT_THAT(ends, ElementsAre("lost"));

  source.connect();
  ASSERT_TRUE(source.run(source.stream->start({.slot = source.slot, .publications = {"p"}}, soon())));
  asio::co_spawn(source.shard.executor(), reader(*source.stream, ends), asio::detached);
  source.run(sleep(Millis(50)));
  source.stream->close();
  while (ends.size() < 2 && !limit.passed()) source.run(sleep(Millis(10)));
  EXPECT_THAT(ends, ElementsAre("lost", "lost"));
}

TEST(ReplicationErrors, do_not_depend_on_the_servers_language) {
  EXPECT_EQ(replication_error("55000", "CheckLogicalDecodingRequirements",
                              "論理デコードを行うためには wal_level >= logical である必要があります", "")
                .code,
            "WAL_LEVEL_TOO_LOW");
  EXPECT_EQ(replication_error("55000", "StartLogicalReplication", "…", "This slot has been invalidated …").code, "SLOT_LOST");
  EXPECT_EQ(replication_error("58P01", "XLogReadRaiseError", "requested WAL segment … has already been removed", "").code, "SLOT_LOST");
  EXPECT_EQ(replication_error("55000", "CreateDecodingContext", "replication slot \"x\" was not created in this database", "").code,
            "SOURCE_REFUSED");
  EXPECT_EQ(replication_error("53400", "ReplicationSlotCreate", "all replication slots are in use", "").code, "SLOTS_FULL");
  EXPECT_EQ(replication_error("42501", "check_permissions", "must be superuser or replication role to use replication slots", "").code,
            "NO_REPLICATION_RIGHT");
  EXPECT_THROW(replication_error("57P01", "ProcessInterrupts", "terminating connection", ""), ConnectionLost);
}

// --- changed keys
// -------------------------------------------------------------------------------------------------------------------------

TEST(Changes, come_as_keys_with_transaction_and_position) {
  Source source;
  source.connect();
  ASSERT_TRUE(source.run(source.stream->create_slot(source.slot, soon())));
  source.fresh.sql("begin; insert into item values (1, 'one'), (2, 'two'); insert into elsewhere values (1); commit");
  const auto xid = source.fresh.value("select xmin from item where id = 1");
  auto changes = source.changes({.tables = {{"public", "item", {"name"}}}});
  ASSERT_TRUE(changes) << changes.error().detail;
  const auto got = source.run((*changes)->next(soon()));
  ASSERT_TRUE(got && *got);
  const auto& batch = **got;
  EXPECT_THAT(told(batch), ElementsAre("item 1 one", "item 2 two"));
  ASSERT_EQ(batch.transactions.size(), 1u);
  EXPECT_EQ(std::to_string(batch.transactions[0].xid), *xid);
  EXPECT_EQ(batch.position, batch.transactions[0].end);
  (*changes)->confirm(batch.position, true);
  source.run(wait_until(source, "select confirmed_flush_lsn >= '" + pgwire::lsn_text(batch.position) +
                                    "' from pg_replication_slots where slot_name = '" + source.slot + "'"));
  EXPECT_GE(source.confirmed_flush(), batch.position);
}

TEST(Changes, that_wait_come_together_and_a_single_one_at_once) {
  Source source;
  source.connect();
  ASSERT_TRUE(source.run(source.stream->create_slot(source.slot, soon())));
  for (int i = 0; i < 20; ++i) source.fresh.sql("insert into item values (" + std::to_string(i) + ", 'x')");
  auto changes = source.changes();
  ASSERT_TRUE(changes);
  source.run(sleep(Millis(300)));  // busy with another batch
  std::size_t rows = 0, batches = 0;
  while (rows < 20) {
    const auto got = source.run((*changes)->next(soon()));
    ASSERT_TRUE(got && *got);
    rows += (*got)->rows.size();
    ++batches;
  }
  EXPECT_LE(batches, 10u);
  source.fresh.sql("delete from item where id = 7");
  const auto began = steady_now();
  const auto got = source.run((*changes)->next(soon()));
  ASSERT_TRUE(got && *got);
  EXPECT_THAT(told(**got), ElementsAre("item 7"));
  EXPECT_LT(steady_now() - began, Millis(5000));
}

TEST(Changes, move_the_position_while_only_other_tables_change) {
  Source source;
  source.connect();
  ASSERT_TRUE(source.run(source.stream->create_slot(source.slot, soon())));
  source.fresh.sql("insert into elsewhere select generate_series(1, 1000)");
  const auto end = *pgwire::read_lsn(*source.fresh.value("select pg_current_wal_flush_lsn()"));
  auto changes = source.changes();
  ASSERT_TRUE(changes);
  const auto limit = soon();
  Lsn position = 0;
  while (position < end && !limit.passed()) {
    const auto got = source.run((*changes)->next(Deadline::in(Millis(300))));
    ASSERT_TRUE(got);
    if (!*got) continue;
    EXPECT_TRUE((*got)->rows.empty());
    EXPECT_GT((*got)->position, position);
    position = (*got)->position;
    (*changes)->confirm(position);
  }
  EXPECT_GE(position, end);
}

TEST(Changes, do_not_keep_a_server_from_shutting_down) {
  Source source;
  source.connect();
  ASSERT_TRUE(source.run(source.stream->create_slot(source.slot, soon())));
  auto changes = source.changes();
  ASSERT_TRUE(changes);
  source.fresh.sql("insert into elsewhere select generate_series(1, 1000)");
  const auto limit = Deadline::in(Millis(20000));
  std::thread stopping([] { Server::get().stop(); });
  bool ended = false, ignored = false;
  try {
    while (!limit.passed()) {
      const auto got = source.run((*changes)->next(Deadline::in(Millis(300))));
      if (!got) break;
      // As one that stores a mere position only now and then: the first one it is given is not worth it.
      if (*got && std::exchange(ignored, true)) (*changes)->confirm((*got)->position);
    }
  } catch (const ConnectionLost&) {
    ended = true;
  }
  changes->reset();
  stopping.join();
  Server::get().start();
  EXPECT_TRUE(ended) << "the server waited for what nobody told it";
}

TEST(Changes, of_a_large_transaction_come_in_bounded_pieces_after_its_commit) {
  Source source;
  source.connect();
  ASSERT_TRUE(source.run(source.stream->create_slot(source.slot, soon())));
  auto changes = source.changes({.most_rows = 1000});
  ASSERT_TRUE(changes);
  source.fresh.sql("insert into item select i, repeat('x', 100) from generate_series(1, 20000) i");
  std::size_t rows = 0, pieces = 0;
  for (bool ended = false; !ended;) {
    const auto got = source.run((*changes)->next(soon()));
    ASSERT_TRUE(got && *got);
    ASSERT_LE((*got)->rows.size(), 1000u);
    rows += (*got)->rows.size();
    if (!(*got)->rows.empty()) ++pieces;
    for (const auto& transaction : (*got)->transactions) ended = transaction.end > 0;
    if ((*got)->transactions.empty()) continue;
    EXPECT_EQ(ended, (*got)->position > (*got)->transactions[0].commit_lsn) << "only the last piece moves the position past the commit";
  }
  EXPECT_EQ(rows, 20000u);
  EXPECT_EQ(pieces, 20u);
}

TEST(Changes, of_a_row_of_many_megabytes_are_its_key_or_refused_with_it) {
  Source source;
  source.connect();
  ASSERT_TRUE(source.run(source.stream->create_slot(source.slot, soon())));
  source.fresh.sql("insert into item values (4711, repeat('x', 20000000))");
  {
    auto changes = source.changes();
    ASSERT_TRUE(changes);
    const auto got = source.run((*changes)->next(soon()));
    ASSERT_TRUE(got && *got);
    EXPECT_THAT(told(**got), ElementsAre("item 4711"));
    EXPECT_GT((*got)->bytes, 20000000u);
  }
  auto changes = source.changes({.most_message = 1000000});
  ASSERT_TRUE(changes) << changes.error().detail;
  const auto refused = source.run((*changes)->next(soon()));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, "MESSAGE_TOO_LARGE");
  EXPECT_THAT(refused.error().detail, HasSubstr("table public.item, row id=4711"));
}

TEST(Changes, are_utf8_whatever_the_sources_encoding) {
  Source source;
  const auto legacy = source.fresh.database() + "_eucjp";
  testing::sql(Server::get().conninfo(), "create database " + legacy + " encoding 'EUC_JP' locale 'C' template template0");
  const auto conninfo = Server::get().conninfo(legacy) + " client_encoding=UTF8";
  testing::sql(conninfo, "create table 顧客 (コード text primary key)");
  testing::sql(conninfo, "create publication p for all tables");
  {
    auto stream = source.run(Replication::connect(source.shard.executor(), source.offload, {.conninfo = conninfo}));
    ASSERT_TRUE(source.run(stream->create_slot(source.slot, soon())));
    testing::sql(conninfo, "insert into 顧客 values ('縁')");
    ASSERT_TRUE(source.run(stream->start({.slot = source.slot, .publications = {"p"}}, soon())));
    ChangeStream changes(std::move(stream), {});
    const auto got = source.run(changes.next(soon()));
    ASSERT_TRUE(got && *got);
    EXPECT_THAT(told(**got), ElementsAre("顧客 縁"));
    EXPECT_EQ((*got)->rows[0].shape->columns[0].name, "コード");
  }
  source.run(wait_until(source, "select not active from pg_replication_slots where slot_name = '" + source.slot + "'"));
  testing::sql(conninfo, "select pg_drop_replication_slot('" + source.slot + "')");
  testing::sql(Server::get().conninfo(), "drop database " + legacy + " with (force)");
}

}  // namespace
}  // namespace enishi::pg

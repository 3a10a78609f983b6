#include "takeover/mirror.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "auth/testing.hpp"
#include "base/metrics.hpp"
#include "pg/testing.hpp"
#include "takeover/control.hpp"

namespace enishi::takeover {
namespace {

using ::testing::HasSubstr;

constexpr const char* kSource = R"sql(
create table customers (no integer primary key, name text not null, kana text, memo text, old_rank text);
create table phones (id integer primary key, customer_no integer references customers, tel text not null);
create table cities (id integer primary key, name text not null);
create table addresses (id integer primary key, customer_no integer references customers, city_id integer references cities, street text);
insert into cities values (1, '渋谷区'), (2, '港区');
insert into customers select g, '客' || g, 'キャク', null, 'x' from generate_series(1, 1000) g;
insert into phones select g, g, '090-1234-' || lpad(g::text, 4, '0') from generate_series(1, 1000) g;
insert into addresses select g, g, 1 + g % 2, '1-' || g from generate_series(1, 1000) g;
create publication enishi_shop_customer for table customers, phones, addresses, cities;
)sql";

constexpr const char* kToml = R"toml(
system = "shop"
domain = "customer"
[root]
table = "public.customers"
key = ["no"]
[[table]]
name = "public.customers"
root = ["no"]
mapped = ["no", "name", "kana", "memo"]
[table.waived]
old_rank = "nobody uses it"
[[table]]
name = "public.phones"
root = ["customer_no"]
mapped = ["id", "customer_no", "tel"]
[[table]]
name = "public.addresses"
root = ["customer_no"]
mapped = ["id", "customer_no", "city_id", "street"]
[[table]]
name = "public.cities"
root_sql = "select customer_no::text from addresses where city_id = any ($1::integer[]) and customer_no is not null"
mapped = ["id", "name"]
[copy]
chunk = 100
)toml";

constexpr const char* kForward = R"sql(
select c.no::text as key,
       jsonb_build_object('display_name', c.name, 'kana', coalesce(c.kana, ''), 'notes', coalesce(c.memo, ''),
         'phones', (select coalesce(jsonb_agg(jsonb_build_object('key', p.id::text, 'raw', p.tel) order by p.id), '[]') from phones p where p.customer_no = c.no),
         'addresses', (select coalesce(jsonb_agg(jsonb_build_object('key', a.id::text, 'city', y.name, 'street', a.street) order by a.id), '[]')
                         from addresses a left join cities y on y.id = a.city_id where a.customer_no = c.no)) as record,
       jsonb_build_object('public.phones', (select jsonb_agg(p.id::text) from phones p where p.customer_no = c.no),
                          'public.addresses', (select jsonb_agg(a.id::text) from addresses a where a.customer_no = c.no)) as links
  from customers c where c.no = any ($1::integer[])
)sql";

class Mirroring : public ::testing::Test {
 protected:
  Mirroring() { there.sql(kSource); }
  ~Mirroring() override {
    mirrors.reset();
    for (int i = 0;
         i < 200 && there.value("select count(*) from pg_replication_slots where active and database = current_database()") != "0"; ++i)
      std::this_thread::sleep_for(Millis(20));
    there.sql("select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = current_database()");
  }
  [[nodiscard]] pg::Config config() const {
    pg::Config out;
    out.conninfo = here.conninfo() + " user=enishi_app";
    out.options = "-c synchronous_commit=local";  // a standby of the source that does not answer is none of ours
    return out;
  }
  Result<void> begin(const std::string& forward = kForward, const std::string& toml = kToml) {
    auto mapping = parse_mapping({toml, forward, ""});
    if (!mapping) return tl::make_unexpected(mapping.error());
    Shard shard{9};
    Offload pool{1, 8};
    pg::Database db(shard, pool, config());
    return run_task(shard.context(), takeover::begin(db, std::move(*mapping), there.conninfo()));
  }
  void run() {
    mirrors = std::make_unique<Mirrors>(config(), offload, Millis(20));
    mirrors->start();
  }
  /// Until the query says `wanted`, or a minute is over.
  void until(const std::string& query, const std::string& wanted) {
    std::string last;
    for (const auto limit = Deadline::in(Millis(60000)); !limit.passed(); std::this_thread::sleep_for(Millis(10)))
      if (last = here.value(query).value_or("NULL"); last == wanted) return;
    FAIL()
        << query << " says " << last << ", not " << wanted << "; "
        << here.value(
                   "select coalesce(phase || ' ' || coalesce(stop_code, '') || ' ' || coalesce(stop_detail, ''), '') from takeover_domain")
               .value_or("");
  }
  std::string value(const std::string& query) { return here.value(query).value_or("NULL"); }
  void streaming() { until("select phase from takeover_domain", "STREAMING"); }
  /// Every key as both sides make it.
  void expect_the_same() {
    std::map<std::string, std::string> theirs, ours;
    auto forward = std::string(kForward);
    const auto where = forward.find("where c.no = any ($1::integer[])");
    for (auto& row : pg::testing::sql(
             there.conninfo(), "select key, " + canonical_sql("shop", "customer", "record") + " from (" + forward.substr(0, where) + ") f"))
      theirs[*row[0]] = *row[1];
    for (auto& row : pg::testing::sql(here.conninfo(),
                                      "select legacy_key, canonical_record('customer', 'shop', id) from legacy_identity where not deleted"))
      ours[*row[0]] = row[1].value_or("nothing");
    EXPECT_EQ(ours, theirs);
  }

  pg::testing::Fresh here{auth::testing::migrated()}, there;
  Offload offload{2, 64};
  std::unique_ptr<Mirrors> mirrors;
};

TEST_F(Mirroring, a_copy_and_then_every_kind_of_change_arrives) {
  ASSERT_TRUE(begin());
  run();
  streaming();
  EXPECT_EQ(value("select count(*) from customer"), "1000");
  EXPECT_EQ(value("select count(*) || ' ' || count(done_at) || ' ' || sum(rows) from takeover_chunk"), "10 10 1000");
  EXPECT_EQ(value("select rows_estimate from takeover_domain"), "1000");
  expect_the_same();
  there.sql(
      "update customers set name = '変更' where no = 5; insert into customers values (2000, '新規'); insert into phones values (5000, "
      "2000, '03-1234-5678');"
      "delete from phones where id = 7; delete from addresses where id = 8; delete from phones where id = 8; delete from customers where "
      "no = 8;"
      "update addresses set customer_no = 10 where id = 9; update cities set name = '千代田区' where id = 1; update customers set no = "
      "3000 where no = 2000 and false;"
      "begin; delete from phones where id = 11; delete from addresses where id = 11; update customers set no = 1111 where no = 11; "
      "commit;");
  until("select count(*) from legacy_identity where legacy_key in ('2000', '1111') and not deleted", "2");
  until("select count(*) from customer_address where city = '千代田区' and deleted_at is null", "499");
  expect_the_same();
  EXPECT_EQ(value("select c.deleted_at is not null from customer c join legacy_identity i on i.id = c.id where legacy_key = '8'"), "t");
  EXPECT_EQ(value("select count(*) from takeover_reject"), "0");
  until("select position >= (select d.source_position from takeover_domain d) - 100000 from takeover_domain", "t");
}

TEST_F(Mirroring, changes_during_the_copy_are_not_lost) {
  ASSERT_TRUE(begin());
  std::atomic<bool> done{false};
  std::thread busy([&] {
    for (int i = 0; i < 300 && !done; ++i) {
      const auto n = std::to_string(1 + (i * 37) % 1000);
      there.sql("update customers set name = 'b" + std::to_string(i) + "' where no = " + n + "; update phones set tel = '03-1234-" +
                std::to_string(1000 + i) + "' where id = " + n + "; insert into customers values (" + std::to_string(10000 + i) + ", 'n')" +
                (i % 3 == 0 ? "; delete from customers where no = " + std::to_string(10000 + i - 3) : ""));
    }
  });
  run();
  busy.join();
  streaming();
  const auto last = there.value("select pg_current_wal_lsn()").value();
  there.sql("insert into customers values (99999, 'last')");
  until("select count(*) from legacy_identity where legacy_key = '99999'", "1");
  until("select position > '" + last + "' from takeover_domain", "t");
  expect_the_same();
}

TEST_F(Mirroring, a_restart_goes_on_where_it_was) {
  ASSERT_TRUE(begin());
  run();
  streaming();
  mirrors.reset();
  there.sql("update customers set name = 'while away' where no = 3; delete from phones where id = 4");
  const auto era = value("select era from takeover_domain");
  run();
  until("select display_name from customer c join legacy_identity i on i.id = c.id where legacy_key = '3'", "while away");
  expect_the_same();
  EXPECT_EQ(value("select era from takeover_domain"), era);
}

TEST_F(Mirroring, a_lost_slot_begins_a_new_era_and_every_key_is_looked_at_again) {
  ASSERT_TRUE(begin());
  run();
  streaming();
  mirrors.reset();
  there.sql("select pg_drop_replication_slot('enishi_shop_customer')");
  there.sql(
      "update customers set name = 'unseen' where no = 3; delete from phones where id = 4; delete from addresses where id = 4; delete from "
      "customers where no = 4");
  run();
  until("select era || phase from takeover_domain", "2STREAMING");
  expect_the_same();
  EXPECT_EQ(value("select deleted from legacy_identity where legacy_key = '4'"), "t");
}

TEST_F(Mirroring, a_refused_record_does_not_end_the_look_at_keys_that_a_new_era_did_not_meet) {
  there.sql("insert into customers select g, 'x', null, null, 'x' from generate_series(10001, 13100) g");
  ASSERT_TRUE(begin());
  run();
  streaming();
  mirrors.reset();
  there.sql(
      "select pg_drop_replication_slot('enishi_shop_customer'); update customers set name = '' where no = 1; delete from customers where "
      "no "
      "> 10000");
  run();
  until("select era || phase from takeover_domain", "2STREAMING");
  EXPECT_EQ(value("select count(*) from legacy_identity where not deleted"), "1000");
  EXPECT_EQ(value("select legacy_key || state from takeover_reject"), "1OPEN");
}

TEST_F(Mirroring, a_row_on_which_forward_sql_fails_is_a_reject_and_the_mirror_goes_on) {
  auto forward = std::string(kForward);
  const std::string plain = "coalesce(c.memo, '')";
  forward.replace(forward.find(plain), plain.size(),
                  "case when c.memo = 'boom' then (1 / length(left(c.memo, 0)))::text else coalesce(c.memo, '') end");
  there.sql("update customers set memo = 'boom' where no in (8, 500)");
  ASSERT_TRUE(begin(forward));
  run();
  streaming();
  EXPECT_EQ(value("select string_agg(legacy_key || state || code, ' ' order by legacy_key) from takeover_reject"),
            "500OPENFORWARD_FAILED 8OPENFORWARD_FAILED");
  EXPECT_THAT(value("select detail from takeover_reject where legacy_key = '8'"), HasSubstr("division by zero"));
  EXPECT_EQ(value("select count(*) from customer"), "998");
  there.sql("update customers set memo = 'boom' where no = 9; update customers set name = 'after it' where no = 10");
  until("select display_name from customer c join legacy_identity i on i.id = c.id where legacy_key = '10'", "after it");
  until("select count(*) from takeover_reject where state = 'OPEN'", "3");
  there.sql("update customers set memo = null where memo = 'boom'");
  until("select count(*) from takeover_reject where state = 'FIXED'", "3");
  EXPECT_EQ(value("select phase from takeover_domain"), "STREAMING");
  expect_the_same();
}

TEST_F(Mirroring, a_row_without_a_record_is_a_reject_and_no_deletion) {
  auto forward = std::string(kForward);
  forward += " and c.kana is not null";
  there.sql("update customers set kana = null where no = 7");
  ASSERT_TRUE(begin(forward));
  run();
  streaming();
  EXPECT_EQ(value("select legacy_key || state || code from takeover_reject"), "7OPENNO_RECORD");
  there.sql(
      "update customers set kana = null where no = 8; delete from phones where id = 9; delete from addresses where id = 9; delete from "
      "customers where no = 9");
  until("select count(*) from takeover_reject where code = 'NO_RECORD' and state = 'OPEN'", "2");
  until("select deleted from legacy_identity where legacy_key = '9'", "t");
  EXPECT_EQ(value("select c.deleted_at is null from customer c join legacy_identity i on i.id = c.id where legacy_key = '8'"), "t");
  there.sql("update customers set kana = 'キャク' where no in (7, 8)");
  until("select count(*) from takeover_reject where state = 'FIXED'", "2");
  expect_the_same();
}

TEST_F(Mirroring, truncate_and_changed_columns_stop_with_a_clear_error) {
  ASSERT_TRUE(begin());
  run();
  streaming();
  there.sql("truncate phones");
  until("select phase || stop_code from takeover_domain", "STOPPEDTRUNCATED");
  EXPECT_THAT(value("select stop_detail from takeover_domain"), HasSubstr("public.phones"));
  EXPECT_EQ(value("select count(*) from customer_phone where deleted_at is null"), "1000") << "nothing was deleted";
  mirrors.reset();
  ASSERT_TRUE(begin());
  run();
  until("select phase || era from takeover_domain", "STREAMING2");
  expect_the_same();
  there.sql("alter table customers alter memo type varchar(50); update customers set memo = 'x' where no = 1");
  until("select phase || stop_code from takeover_domain", "STOPPEDCOLUMN_CHANGED");
  EXPECT_THAT(value("select stop_detail from takeover_domain"), HasSubstr("memo"));
}

TEST_F(Mirroring, a_mapped_column_that_vanishes_stops_it) {
  ASSERT_TRUE(begin());
  run();
  streaming();
  there.sql("alter table customers drop memo; update customers set name = 'x' where no = 1");
  until("select phase from takeover_domain", "STOPPED");
  EXPECT_THAT(value("select stop_code || stop_detail from takeover_domain"), HasSubstr("memo"));
}

TEST_F(Mirroring, rejects_are_noted_and_come_right_by_themselves) {
  there.sql("update customers set name = '' where no = 77");
  ASSERT_TRUE(begin());
  run();
  streaming();
  EXPECT_EQ(value("select legacy_key || state || code from takeover_reject"), "77OPENTOO_SHORT");
  EXPECT_EQ(value("select count(*) from customer"), "999");
  there.sql("update customers set name = 'good' where no = 77");
  until("select state from takeover_reject", "FIXED");
  expect_the_same();
}

TEST_F(Mirroring, a_slot_that_holds_too_much_is_given_up) {
  ASSERT_TRUE(begin());
  run();
  streaming();
  mirrors.reset();
  // 16 MB is the least; a segment of WAL is that long.
  there.sql(
      "update customers set memo = null where no = 1; select pg_switch_wal(); update customers set memo = null where no = 1; select "
      "pg_switch_wal();"
      "update customers set memo = null where no = 1");
  here.sql("update takeover_domain set most_wal_bytes = 1000");
  run();
  until("select phase || stop_code from takeover_domain", "STOPPEDSLOT_GIVEN_UP");
  EXPECT_EQ(there.value("select count(*) from pg_replication_slots where slot_name = 'enishi_shop_customer'"), "0");
}

TEST_F(Mirroring, a_missing_publication_is_said) {
  there.sql("drop publication enishi_shop_customer");
  ASSERT_TRUE(begin());
  run();
  until("select phase || stop_code from takeover_domain", "STOPPEDPUBLICATION_MISSING");
}

TEST_F(Mirroring, the_slot_of_a_mirror_that_stopped_is_given_up_at_its_bound) {
  ASSERT_TRUE(begin());
  run();
  streaming();
  there.sql("truncate phones");
  until("select phase || stop_code from takeover_domain", "STOPPEDTRUNCATED");
  here.sql("update takeover_domain set most_wal_bytes = 1000");
  there.sql("update customers set memo = 'x'; select pg_switch_wal(); update customers set memo = 'y'");
  until("select phase || stop_code from takeover_domain", "STOPPEDSLOT_GIVEN_UP");
  EXPECT_EQ(there.value("select count(*) from pg_replication_slots where slot_name = 'enishi_shop_customer'"), "0");
  EXPECT_EQ(value("select kind from takeover_alarm"), "SLOT_GIVEN_UP");
}

TEST_F(Mirroring, persons_who_are_there_twice_are_found_also_after_a_crash_between_storing_and_looking) {
  ASSERT_TRUE(begin());
  run();
  streaming();
  until("select matched_to is null from takeover_domain", "t");
  mirrors.reset();
  // Two who were made here, like customers 5 and 900 of the shop.
  here.sql(
      "alter table customer disable trigger all; alter table customer_phone disable trigger all;"
      "insert into customer (id, display_name, name_key, kana_key) select new_id(), c.display_name, c.name_key, c.kana_key from customer c "
      "join legacy_identity i on "
      "i.id = c.id where legacy_key in ('5', '900');"
      "insert into customer_phone (id, customer_id, raw, e164) select new_id(), d.id, p.raw, p.e164 from customer_phone p join customer c "
      "on c.id = p.customer_id "
      "join customer d on d.display_name = c.display_name and d.id <> c.id;"
      "alter table customer enable trigger all; alter table customer_phone enable trigger all; delete from merge_candidate");
  // As after a crash that came when the copy had ended and half of it was looked at.
  here.sql("update takeover_domain set matched_to = '6'");
  run();
  until("select count(*) from merge_candidate", "1");
  until("select matched_to is null from takeover_domain", "t");
  there.sql("update customers set memo = 'x' where no = 5");
  until("select count(*) from merge_candidate", "2");
}

TEST_F(Mirroring, a_database_that_was_restored_to_before_its_slot_looks_at_every_key_again) {
  ASSERT_TRUE(begin());
  run();
  streaming();
  const auto before = value("select position from takeover_domain");
  there.sql("update customers set name = 'lost' where no = 3");
  until("select display_name from customer c join legacy_identity i on i.id = c.id where legacy_key = '3'", "lost");
  for (const auto limit = Deadline::in(Millis(60000));
       !limit.passed() &&
       there.value("select confirmed_flush_lsn > '" + before + "' from pg_replication_slots where database = current_database()") != "t";)
    std::this_thread::sleep_for(Millis(10));
  mirrors.reset();
  here.sql(
      "alter table customer disable trigger all; update customer set display_name = '客3' where display_name = 'lost'; alter table "
      "customer enable trigger all;"
      "update legacy_identity set snapshot_xmax = 1 where legacy_key = '3'; update takeover_domain set position = '" +
      before + "'");
  run();
  until("select era || phase from takeover_domain", "2STREAMING");
  expect_the_same();
  EXPECT_EQ(value("select kind from takeover_alarm"), "SLOT_LOST");
}

TEST_F(Mirroring, changes_at_the_source_while_enishi_owns_are_named_and_a_lost_slot_waits_with_its_copy) {
  ASSERT_TRUE(begin());
  run();
  streaming();
  here.sql(
      "select move_domain('customer', 'LEGACY', epoch, 'SWITCHING') from domain_ownership where domain = 'customer';"
      "select move_domain('customer', 'SWITCHING', epoch, 'OWNED') from domain_ownership where domain = 'customer'");
  there.sql("update customers set name = 'foreign' where no = 7; update phones set tel = '03-1234-5678' where id = 8");
  until("select string_agg(legacy_key, ' ' order by legacy_key) from takeover_foreign", "7 8");
  until("select count(*) from takeover_alarm where kind = 'FOREIGN_CHANGE'", "1");
  EXPECT_EQ(value("select display_name from customer c join legacy_identity i on i.id = c.id where legacy_key = '7'"), "客7");
  mirrors.reset();
  there.sql("select pg_drop_replication_slot('enishi_shop_customer')");
  run();
  until("select era || phase from takeover_domain", "2COPYING");
  there.sql("update customers set name = 'foreign too' where no = 9");
  until("select string_agg(legacy_key, ' ' order by legacy_key) from takeover_foreign", "7 8 9");
  EXPECT_EQ(value("select era || phase from takeover_domain"), "2COPYING");
  here.sql(
      "select move_domain('customer', 'OWNED', epoch, 'REVERTING') from domain_ownership where domain = 'customer';"
      "select move_domain('customer', 'REVERTING', epoch, 'LEGACY') from domain_ownership where domain = 'customer'");
  until("select era || phase from takeover_domain", "2STREAMING");
  expect_the_same();
}

/// While it lives, commits wait for a standby that there is not. The server is every test's: it is as it was whatever happens.
class NobodyAnswers {
 public:
  explicit NobodyAnswers(const pg::testing::Fresh& there) : there_(there) {
    there_.sql("alter system set synchronous_standby_names = 'nobody'");
    there_.sql("select pg_reload_conf()");
  }
  ~NobodyAnswers() {
    try {
      there_.sql("alter system reset synchronous_standby_names");
      there_.sql("select pg_reload_conf()");
    } catch (const std::exception& e) {
      ADD_FAILURE() << e.what();
    }
  }
  NobodyAnswers(const NobodyAnswers&) = delete;
  NobodyAnswers& operator=(const NobodyAnswers&) = delete;

 private:
  const pg::testing::Fresh& there_;
};

/// The race of docs/takeover: with a synchronous standby that does not answer, a commit is in the WAL and decoded while no snapshot sees
/// it.
TEST_F(Mirroring, a_commit_that_is_decoded_before_it_is_visible_is_waited_for) {
  ASSERT_TRUE(begin());
  run();
  streaming();
  const auto before = there.value("select coalesce(sum(1), 0) from pg_stat_activity where wait_event = 'SyncRep'").value();
  ASSERT_EQ(before, "0");
  std::jthread waiting;  // joined after the wait has ended
  std::optional<NobodyAnswers> nobody(std::in_place, there);
  const auto limit = Deadline::in(Millis(60000));
  while (!limit.passed() && there.value("show synchronous_standby_names") != "nobody") std::this_thread::sleep_for(Millis(10));
  waiting = std::jthread([&] {
    try {
      there.sql("update customers set name = 'late' where no = 42");
    } catch (const std::exception&) {
      // The wait is cut short below.
    }
  });
  while (!limit.passed() && there.value("select count(*) from pg_stat_activity where wait_event = 'SyncRep'") == "0")
    std::this_thread::sleep_for(Millis(10));
  EXPECT_EQ(there.value("set synchronous_commit = local; select name from customers where no = 42"), "客42") << "not visible";
  // The stream has it: fetches are made, found too early, and nothing is stored.
  const auto early = [] {
    const auto text = metrics::render();
    const auto at = text.find("enishi_takeover_invisible_total{domain=\"customer\"} ");
    return at == std::string::npos ? 0 : std::atoi(text.c_str() + text.find("} ", at) + 2);
  };
  const auto seen = early();
  // Each takes a trip to the source, and the pause between them grows to a quarter of a second: three may take long beside other work.
  while (!limit.passed() && early() < seen + 3) std::this_thread::sleep_for(Millis(10));
  EXPECT_GE(early(), seen + 3);
  EXPECT_EQ(value("select display_name from customer c join legacy_identity i on i.id = c.id where legacy_key = '42'"), "客42");
  nobody.reset();
  waiting.join();
  until("select display_name from customer c join legacy_identity i on i.id = c.id where legacy_key = '42'", "late");
  expect_the_same();
}

}  // namespace
}  // namespace enishi::takeover

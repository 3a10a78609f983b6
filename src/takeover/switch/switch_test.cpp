#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <regex>
#include <sstream>

#include "auth/testing.hpp"
#include "pg/testing.hpp"
#include "takeover/control.hpp"
#include "takeover/domains.hpp"
#include "takeover/switch/diff.hpp"
#include "takeover/switch/fence.hpp"
#include "takeover/switch/moves.hpp"
#include "takeover/switch/reverse.hpp"
#include "takeover/switch/unlock.hpp"

namespace enishi::takeover {
namespace {

using ::testing::HasSubstr;

constexpr const char* kToml = R"(
system = "shop"
domain = "customer"
[root]
table = "public.customers"
key = ["no"]
[[table]]
name = "public.customers"
root = ["no"]
mapped = ["no", "name", "memo", "gone"]
[[table]]
name = "public.tels"
root = ["no"]
mapped = ["no", "n", "tel"]
)";
constexpr const char* kForward = R"(
select c.no::text as key,
       jsonb_build_object('display_name', c.name, 'notes', c.memo, 'deleted', c.gone,
         'phones', (select coalesce(jsonb_agg(jsonb_build_object('key', t.n::text, 'raw', t.tel) order by t.n), '[]') from tels t where t.no = c.no)) as record
  from customers c where c.no = any ($1::bigint[])
)";
constexpr const char* kReverse = R"(
insert into customers (no, name, memo, gone)
select coalesce($1::text::bigint, (select max(no) + 1 from customers)), $2::jsonb ->> 'display_name', $2::jsonb ->> 'notes', ($2::jsonb ->> 'deleted')::boolean
on conflict (no) do update set name = excluded.name, memo = excluded.memo, gone = excluded.gone;
delete from tels where no = coalesce($1::text::bigint, (select max(no) from customers)) and $2::jsonb is not null;
insert into tels (no, n, tel) select coalesce($1::text::bigint, (select max(no) from customers)), coalesce((e.v ->> 'key')::integer, 100 + e.n), e.v ->> 'raw'
  from jsonb_array_elements($2::jsonb -> 'phones') with ordinality e(v, n);
select coalesce($1::text, (select max(no)::text from customers)) where $2::jsonb is not null
)";

std::string file(const std::string& path) {
  std::ifstream in(std::string(ENISHI_SOURCE_ROOT) + "/" + path);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

/// A source whose tables belong to somebody who is no superuser, its mirror as small as can be, and Enishi's database.
class Switch : public ::testing::Test {
 public:
  Switch() {
    pg::testing::Server::get();
    legacy.sql(
        "do $$ begin create role shop_owner; exception when others then null; end $$; "
        "do $$ begin create role shop_enishi login; exception when others then null; end $$; "
        "do $$ begin create role shop_app login; exception when others then null; end $$");
    legacy.sql("grant create on database " + legacy.database() + " to shop_owner; grant create, usage on schema public to shop_owner");
    as_owner(
        "create table customers (no bigint primary key, name text not null, memo text, gone boolean not null default false) partition by "
        "range (no);"
        "create table customers_a partition of customers for values from (0) to (50);"
        "create table customers_b partition of customers for values from (50) to (10000000);"
        "create table tels (no bigint not null, n integer not null, tel text not null, primary key (no, n));"
        "grant select, insert, update, delete, truncate on customers, customers_a, customers_b, tels to shop_enishi, shop_app");
    auto mapping = parse_mapping({kToml, kForward, kReverse});
    if (!mapping) throw std::runtime_error(mapping.error().detail);
    shared = std::make_shared<const Mapping>(std::move(*mapping));
    as_owner(fence_setup_sql(*shared, "shop_enishi"));
    as_owner(fence_setup_sql(*shared, "shop_enishi"));  // may be run again
    here.sql(
        "insert into takeover_source values ('shop', 'dbname=nowhere'); select move_domain('customer', 'LOCAL', 0, 'LEGACY', 'shop');"
        "insert into takeover_domain (domain, system, mapping, mapping_digest, phase, slot, publication, seen_at) values "
        "('customer', 'shop', '{}', '', 'STREAMING', 'x', 'x', now())");
    place = place_of(
        db, std::make_shared<Source>(shard, offload, SourceConfig{.system = "shop", .conninfo = legacy.conninfo() + " user=shop_enishi"}),
        shared);
  }

  void as_owner(const std::string& text) { legacy.sql("set role shop_owner; " + text); }
  void people(int count) {
    as_owner("insert into customers select n, 'Person ' || n, case when n % 3 = 0 then '' end from generate_series(1, " +
             std::to_string(count) + ") n; insert into tels select n, 1, '090-0000-' || lpad(n::text, 4, '0') from generate_series(1, " +
             std::to_string(count) + ") n");
  }
  std::string here_value(const std::string& text) { return here.value(text).value_or("NULL"); }
  std::string there_value(const std::string& text) { return legacy.value(text).value_or("NULL"); }
  std::string state() { return here_value("select state || ' ' || epoch from domain_ownership where domain = 'customer'"); }
  std::string fence() { return there_value("select state || ' ' || epoch from enishi.fence"); }

  /// What somebody who writes at the source is told: SQLSTATE, or nothing.
  std::string refused(const std::string& text, const std::string& user = "shop_app") {
    const std::string probe = "do $p$ begin execute $q$" + text +
                              "$q$; raise exception using errcode = 'ZZ000'; exception when sqlstate 'ZZ000' then null; end $p$";
    try {
      pg::testing::sql(legacy.conninfo() + " user=" + user, probe);
    } catch (const std::exception& e) {
      const std::string what = e.what();
      return what.find("cannot be changed for a moment") != std::string::npos    ? "EN001"
             : what.find("cannot be changed here any more") != std::string::npos ? "EN003"
                                                                                 : what;
    }
    return "";
  }

  static Task<Result<bool>> mirror_once(Switch* t) {
    auto position = t->legacy.value("select pg_current_wal_insert_lsn()").value();
    std::vector<std::string> keys;
    for (const auto& row : pg::testing::sql(t->legacy.conninfo(), "select no::text from customers")) keys.push_back(*row[0]);
    for (const auto& row : pg::testing::sql(t->here.conninfo(), "select legacy_key from legacy_identity where not deleted"))
      if (std::find(keys.begin(), keys.end(), *row[0]) == keys.end()) keys.push_back(*row[0]);
    auto fetched = co_await t->place.source->fetch(t->shared, keys, {}, 1, Deadline::in(Millis(10000)));
    if (!fetched) co_return tl::make_unexpected(std::move(fetched.error()));
    auto batch = decode(*t->shared, std::move(**fetched));
    auto lease = co_await t->db.lease();
    co_await lease.begin(Deadline::in(Millis(5000)));
    auto done = co_await apply(lease, batch, Deadline::in(Millis(10000)));
    if (!done) {
      co_await lease.rollback(Deadline::in(Millis(5000)));
      co_return false;  // not the mirror's now
    }
    co_await lease.commit(Deadline::in(Millis(5000)));
    t->here.sql("update takeover_domain set position = '" + position + "', seen_at = now()");
    co_return true;
  }
  void mirror() {
    auto done = run_task(shard.context(), mirror_once(this));
    if (!done) throw std::runtime_error(done.error().detail);
    ASSERT_TRUE(*done);
  }
  static Task<> keep_mirroring(Switch* t, bool* over, bool* ended) {
    while (!*over) {
      (void)co_await mirror_once(t);
      (void)co_await reverse_batch(t->place, Writers::going_on, Deadline::in(Millis(10000)));
      co_await sleep(Millis(5));
    }
    *ended = true;
  }
  template <class T>
  static Task<> until_done(Task<Result<T>> work, Result<T>* out, bool* over) {
    *out = co_await std::move(work);
    *over = true;
  }
  /// Runs it while the mirror and the reverse stream go on.
  template <class T>
  Result<T> mirrored(Task<Result<T>> work) {
    Result<T> out = fail(Kind::internal, "NOT_RUN", "");
    bool over = false, ended = false;
    asio::co_spawn(shard.context(), keep_mirroring(this, &over, &ended), asio::detached);
    run_task(shard.context(), until_done(std::move(work), &out, &over));
    while (!ended) run_task(shard.context(), sleep(Millis(5)));
    return out;
  }
  template <class T>
  T run(Task<T> task) {
    return run_task(shard.context(), std::move(task));
  }
  /// As Enishi's application.
  void write(const std::string& text) { pg::testing::sql(here.conninfo() + " user=enishi_app", text); }
  void note(int no, const std::string& text) {
    write("update customer set notes = '" + text + "' where id = (select id from legacy_identity where legacy_key = '" +
          std::to_string(no) + "')");
  }
  std::string memo(int no) { return there_value("select memo from customers where no = " + std::to_string(no)); }
  /// At the source, past the fence: what an administrator can do, or a backup.
  void past_the_fence(const std::string& text) {
    legacy.sql("select set_config('enishi.epoch', domain || ' ' || epoch, false) from enishi.fence; " + text);
  }
  void drained() {
    auto empty = run(drain_reverse(place, soon));
    ASSERT_TRUE(empty) << empty.error().code << " " << empty.error().detail;
    EXPECT_TRUE(*empty);
  }
  DiffReport compared() {
    auto report = run(diff(place, {.chunk = 100, .settle = Millis(300)}));
    if (!report) throw std::runtime_error(report.error().code + " " + report.error().detail);
    return *report;
  }
  void switched() {
    mirror();
    compared();
    auto done = mirrored(switch_domain(place, {}));
    ASSERT_TRUE(done) << done.error().code << " " << done.error().detail;
    ASSERT_EQ(done->state, "OWNED");
  }

  pg::testing::Fresh here{auth::testing::migrated()};
  pg::testing::Fresh legacy;
  Shard shard{0};
  Offload offload{2, 64};
  pg::Database db{shard, offload, {.conninfo = here.conninfo() + " user=enishi_app"}};
  std::shared_ptr<const Mapping> shared;
  Place place;
  const Deadline soon = Deadline::in(Millis(60000));
};

TEST_F(Switch, the_states_of_schema_code_and_model_are_the_same) {
  const auto model = file("src/takeover/model/switch.pml");
  const auto names = [](const std::string& text, const std::string& pattern) {
    std::set<std::string> out;
    std::smatch found;
    if (!std::regex_search(text, found, std::regex(pattern))) return out;
    const std::string list = found[1];
    const std::regex word("[A-Z]+");
    for (auto i = std::sregex_iterator(list.begin(), list.end(), word); i != std::sregex_iterator(); ++i) out.insert(i->str());
    return out;
  };
  const std::set<std::string> owners(kOwnershipStates.begin(), kOwnershipStates.end()), fences(kFenceStates.begin(), kFenceStates.end());
  EXPECT_EQ(names(model, "mtype:ownership = \\{([^}]*)\\}"), owners);
  EXPECT_EQ(names(model, "mtype:fence = \\{([^}]*)\\}"), fences);
  EXPECT_EQ(
      names(here_value("select pg_get_constraintdef(oid) from pg_constraint where conname = 'domain_ownership_state_check'"), "ARRAY(.*)"),
      [&] {
        auto all = owners;
        return all;
      }());
  const auto check =
      there_value("select replace(pg_get_constraintdef(oid), '::text', '') from pg_constraint where conname = 'fence_state_check'");
  for (const auto& name : fences) EXPECT_THAT(check, HasSubstr("'" + name + "'"));
}

TEST_F(Switch, the_steps_of_code_and_model_are_the_same) {
  const auto model = file("src/takeover/model/switch.pml");
  const auto code = file("src/takeover/switch/moves.cpp");
  std::set<std::string> modelled, known{"BACK"};
  const std::regex label("\\nstep_([a-z_]+):");
  for (auto i = std::sregex_iterator(model.begin(), model.end(), label); i != std::sregex_iterator(); ++i) {
    auto name = (*i)[1].str();
    for (auto& c : name) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    modelled.insert(name);
  }
  for (const auto& step : kSwitchSteps) known.emplace(step);
  for (const auto& step : kRevertSteps) known.emplace(step);
  for (const auto& step : kCompleteSteps) known.emplace(step);
  for (const auto* moves_nothing : {"PREFLIGHT", "DIFF", "DROP", "RELEASED"}) known.erase(moves_nothing);
  EXPECT_EQ(modelled, known);
  for (const auto& step : known) EXPECT_THAT(code, HasSubstr("fault_point(\"" + step + "\")")) << "and a crash there is tested";
}

TEST_F(Switch, a_raised_fence_refuses_every_way_to_write_and_lapses_by_itself) {
  people(60);
  EXPECT_EQ(refused("update customers set memo = 'x' where no = 1"), "");
  EXPECT_EQ(there_value("select string_agg(distinct tgenabled::text, '') from pg_trigger where tgname like 'a_enishi%'"), "D");
  ASSERT_TRUE(run(raise_fence(*place.source, "customer", 2, soon, 1.0)));
  for (const auto* write :
       {"update customers set memo = 'x' where no = 1", "insert into customers values (99, 'x')", "delete from tels", "truncate tels",
        "update customers_b set memo = 'x'", "insert into customers_a values (49, 'x')", "copy tels from program 'true'"})
    if (std::string(write).find("copy") == std::string::npos) EXPECT_EQ(refused(write), "EN001") << write;
  EXPECT_EQ(refused("update customers set memo = 'x'", "postgres"), "EN001") << "ENABLE ALWAYS holds for a superuser, too";
  EXPECT_EQ(refused("set session_replication_role = replica; update customers set memo = 'x'", "postgres"), "EN001");
  legacy.sql("select pg_sleep(1.1)");
  EXPECT_EQ(refused("update customers set memo = 'x' where no = 1"), "");
  auto sealed = run(seal_fence(*place.source, "customer", 2, soon));
  ASSERT_TRUE(sealed);
  EXPECT_FALSE(*sealed) << "a lapsed fence cannot be sealed";
  EXPECT_TRUE(*run(lower_fence(*place.source, "customer", 3, soon)));
  EXPECT_EQ(fence(), "OPEN 3");
  EXPECT_EQ(there_value("select string_agg(distinct tgenabled::text, '') from pg_trigger where tgname like 'a_enishi%'"), "D");
}

TEST_F(Switch, a_sealed_fence_stays_and_only_a_later_epoch_lowers_it) {
  people(3);
  ASSERT_TRUE(run(raise_fence(*place.source, "customer", 5, soon, 1.0)));
  EXPECT_TRUE(*run(seal_fence(*place.source, "customer", 5, soon)));
  legacy.sql("select pg_sleep(1.1)");
  EXPECT_EQ(refused("update customers set memo = 'x' where no = 1"), "EN003");
  EXPECT_FALSE(*run(lower_fence(*place.source, "customer", 4, soon)));
  EXPECT_EQ(fence(), "SEALED 5");
  auto again = run(raise_fence(*place.source, "customer", 9, soon));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, "FENCE_STALE");
  EXPECT_TRUE(*run(lower_fence(*place.source, "customer", 6, soon)));
  auto old = run(raise_fence(*place.source, "customer", 6, soon));
  ASSERT_FALSE(old);
  EXPECT_EQ(old.error().code, "FENCE_STALE");
  EXPECT_EQ(refused("update customers set memo = 'x' where no = 1"), "");
}

TEST_F(Switch, a_partition_made_later_is_fenced_and_a_transaction_with_an_old_snapshot_is_refused) {
  people(3);
  as_owner(
      "create table customers_c partition of customers for values from (20000000) to (30000000); grant insert on customers_c to shop_app");
  ASSERT_TRUE(run(raise_fence(*place.source, "customer", 2, soon)));
  EXPECT_EQ(refused("insert into customers_c values (20000001, 'x')"), "EN001");
}

TEST_F(Switch, a_writer_in_flight_is_waited_for_200_ms_at_a_time_and_then_the_switch_gives_up) {
  people(3);
  pg::Database other(shard, offload, {.conninfo = legacy.conninfo() + " user=shop_app"});
  auto writer = run(other.lease());
  run(writer.begin(soon));
  static const pg::Statement update("test.update", pg::Rowcount::exec, false, "update customers set memo = 'in flight' where no = 1");
  ASSERT_TRUE(run(writer.run(update, {}, soon)));
  const auto began = steady_now();
  auto up = run(raise_fence(*place.source, "customer", 2, Deadline::in(Millis(900))));
  ASSERT_FALSE(up);
  EXPECT_EQ(up.error().code, "LEGACY_BUSY");
  EXPECT_LT(std::chrono::duration<double>(steady_now() - began).count(), 4.9) << "a statement's own limit is 5 s";
  run(writer.commit(soon));
  EXPECT_TRUE(run(raise_fence(*place.source, "customer", 2, soon)));
}

TEST_F(Switch, equal_sides_compare_clean_and_every_planted_difference_is_found_by_field) {
  people(250);
  mirror();
  EXPECT_EQ(compared().differences, 0);
  EXPECT_EQ(here_value("select state from takeover_diff_run order by started_at desc limit 1"), "CLEAN");
  // The three ranges are looked at by their rows from now on: nothing is verified anew while no row changes.
  const auto verified = [&] { return here_value("select count(*) || ' ' || max(verified_at) from takeover_verified"); };
  const auto first = verified();
  EXPECT_EQ(first.substr(0, 2), "3 ");
  EXPECT_EQ(compared().differences, 0);
  EXPECT_EQ(verified(), first);
  as_owner("update customers set memo = '' where no = 1");  // was null: another row, and the same record
  EXPECT_EQ(compared().differences, 0);
  EXPECT_NE(verified(), first);
  here.sql("alter table customer disable trigger all; alter table customer_phone disable trigger all");
  const auto id = [&](int n) { return "(select id from legacy_identity where legacy_key = '" + std::to_string(n) + "')"; };
  here.sql("update customer set display_name = 'Person 1O' where id = " + id(10));  // one character
  as_owner("update customers set memo = ' ' where no = 20");                        // '' and a blank
  here.sql("update customer_phone set raw = '-0' where customer_id = " + id(30));
  as_owner("update tels set tel = '0' where no = 30");  // 0 and -0
  as_owner("insert into customers values (9000, 'extra there')");
  as_owner("delete from tels where no = 40; delete from customers where no = 40");  // extra here
  here.sql("update customer set deleted_at = now() where id = " + id(50));
  // Nothing will come: the stream is past all of this.
  here.sql("update takeover_domain set position = 'FFFF/0'");
  EXPECT_EQ(compared().differences, 6) << here_value(
      "select string_agg(legacy_key || pointer || coalesce(here::text, 'NULL') || coalesce(there::text, 'NULL'), E'\\n') from "
      "takeover_difference");
  EXPECT_EQ(here_value("select string_agg(legacy_key || pointer, ' ' order by legacy_key) from takeover_difference"),
            "10/display_name 20/notes 30/phones/0/raw 40 50/deleted 9000");
  EXPECT_EQ(here_value("select here::text || there::text from takeover_difference where legacy_key = '30'"), "\"-0\"\"0\"");
  EXPECT_EQ(here_value("select state || differences from takeover_diff_run order by started_at desc limit 1"), "DIFFERENT6");
}

TEST_F(Switch, flags_are_a_set_on_both_sides) {
  const auto there = [&](const std::string& flags) {
    return legacy
        .value("select (" + canonical_sql("shop", "customer", "'{\"display_name\": \"x\", \"flags\": " + flags + "}'::jsonb") +
               ") -> 'flags'")
        .value();
  };
  EXPECT_EQ(there(R"(["VIP", "ELDERLY", "VIP"])"), R"(["ELDERLY", "VIP"])");
  EXPECT_EQ(there(R"(["VIP"])"), R"(["VIP"])");
  EXPECT_EQ(there("null"), "[]");
  people(3);
  mirror();
  const auto here_flags = [&](const std::string& flags) {
    here.sql("alter table customer disable trigger all; update customer set flags = '" + flags + "' where display_name = 'Person 2'");
    return here_value("select canonical_customer(id) -> 'flags' from customer where display_name = 'Person 2'");
  };
  EXPECT_EQ(here_flags("{VIP,ELDERLY,NO_MAIL}"), R"(["ELDERLY", "NO_MAIL", "VIP"])");
  EXPECT_EQ(here_flags("{VIP}"), R"(["VIP"])");
  EXPECT_EQ(here_flags("{}"), "[]");
}

TEST_F(Switch, what_is_merely_on_its_way_is_no_difference) {
  people(300);
  mirror();
  bool over = false;
  const auto keep_changing = [](Switch* t, bool* done) -> Task<> {
    for (int n = 0; !*done; ++n) {
      t->as_owner("update customers set memo = memo || 'x' where no % 10 = " + std::to_string(n % 10) +
                  "; update customers set memo = '' where length(memo) > 50");
      co_await sleep(Millis(3));
    }
  };
  asio::co_spawn(shard.context(), keep_changing(this, &over), asio::detached);
  auto report = mirrored(diff(place, {.chunk = 50, .settle = Millis(60000)}));
  over = true;
  run(sleep(Millis(50)));
  ASSERT_TRUE(report) << report.error().detail;
  EXPECT_EQ(report->records, 300);
  EXPECT_EQ(report->differences, 0) << here_value(
      "select string_agg(legacy_key || pointer || ' ' || here::text || ' ' || there::text, E'\\n') from takeover_difference");
}

TEST_F(Switch, a_comparison_that_was_cut_short_goes_on_where_it_was) {
  people(300);
  mirror();
  auto cut = run(diff(place, {.chunk = 100, .records_per_second = 100, .deadline = Deadline::in(Millis(200))}));
  ASSERT_FALSE(cut);
  EXPECT_EQ(cut.error().code, "DIFF_CUT_SHORT");
  auto rest = run(diff(place, {.chunk = 100, .resume = true}));
  ASSERT_TRUE(rest);
  EXPECT_EQ(rest->records, 300);
  EXPECT_EQ(here_value("select count(*) from takeover_diff_run"), "1");
}

TEST_F(Switch, a_domain_goes_over_comes_back_and_goes_over_for_good) {
  people(30);
  switched();
  EXPECT_EQ(state(), "OWNED 3");
  EXPECT_EQ(fence(), "SEALED 2");
  EXPECT_EQ(refused("update customers set memo = 'x' where no = 1"), "EN003");

  const auto write = [&](const std::string& text) { pg::testing::sql(here.conninfo() + " user=enishi_app", text); };
  write("update customer set notes = 'written here' where id = (select id from legacy_identity where legacy_key = '7')");
  write(
      "insert into customer (id, display_name, notes) values ('01900000-0000-7000-8000-000000000001', 'born here', 'n');"
      "insert into customer_phone (id, customer_id, raw) values ('01900000-0000-7000-8000-000000000002', "
      "'01900000-0000-7000-8000-000000000001', '03-1111-2222')");
  auto reversed = run(reverse_batch(place, Writers::going_on, soon));
  ASSERT_TRUE(reversed) << reversed.error().code << reversed.error().detail;
  EXPECT_EQ(reversed->records, 2);
  EXPECT_EQ(here_value("select coalesce(string_agg(code || detail, ' '), '') from takeover_reverse_failure"), "");
  EXPECT_EQ(there_value("select memo from customers where no = 7"), "written here");
  EXPECT_EQ(there_value("select c.no || t.tel from customers c join tels t using (no) where name = 'born here'"), "3103-1111-2222");
  EXPECT_EQ(here_value("select legacy_key from legacy_identity where id = '01900000-0000-7000-8000-000000000001'"), "31");
  EXPECT_EQ(here_value("select count(*) from takeover_reverse"), "0");
  EXPECT_EQ(compared().differences, 0);

  write("update customer set notes = 'last words' where id = (select id from legacy_identity where legacy_key = '8')");
  auto reverted = run(revert_domain(place, {}));
  ASSERT_TRUE(reverted) << reverted.error().code << reverted.error().detail;
  EXPECT_EQ(state(), "LEGACY 5");
  EXPECT_EQ(fence(), "OPEN 5");
  EXPECT_EQ(there_value("select memo from customers where no = 8"), "last words");
  EXPECT_EQ(refused("update customers set memo = 'x' where no = 1"), "");
  EXPECT_THROW(write("update customer set notes = 'x'"), std::exception);
  as_owner("update customers set memo = 'legacy again' where no = 8");
  switched();
  EXPECT_EQ(here_value("select notes from customer where id = (select id from legacy_identity where legacy_key = '8')"), "legacy again");
  // What was born here keeps its id, though the mirror has read it under the key that it got there.
  EXPECT_EQ(here_value("select string_agg(raw || coalesce(' hidden ' || deleted_at, ''), ', ') from customer_phone where customer_id = "
                       "'01900000-0000-7000-8000-000000000001'"),
            "03-1111-2222");
  EXPECT_EQ(here_value("select id from customer_phone where raw = '03-1111-2222'"), "01900000-0000-7000-8000-000000000002");
  write(
      "insert into customer_phone (id, customer_id, raw, position) values ('01900000-0000-7000-8000-000000000003', "
      "'01900000-0000-7000-8000-000000000001', '03-3333-4444', 1)");
  ASSERT_TRUE(run(reverse_batch(place, Writers::going_on, soon)));
  EXPECT_EQ(there_value("select string_agg(n || ' ' || tel, ', ' order by n) from tels where no = 31"),
            "101 03-1111-2222, 102 03-3333-4444");
  EXPECT_EQ(compared().differences, 0);

  auto completed = run(complete_domain(place, {}));
  ASSERT_TRUE(completed) << completed.error().code << completed.error().detail;
  EXPECT_EQ(state(), "LOCAL 8");
  auto started = run(begin(db, *shared, legacy.conninfo()));
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, "TAKEOVER_COMPLETED");
  here.sql("update takeover_domain set phase = 'STREAMING'");  // as after a crash before its last steps
  started = run(begin(db, *shared, legacy.conninfo()));
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, "TAKEOVER_COMPLETED");
  EXPECT_EQ(state(), "LOCAL 8");
  EXPECT_EQ(there_value("select count(*) from pg_trigger where tgname like 'a_enishi%'"), "0");
  EXPECT_EQ(here_value("select string_agg(kind || state, ' ' order by started_at) from takeover_move"),
            "SWITCHDONE REVERTDONE SWITCHDONE COMPLETEDONE");
}

TEST_F(Switch, what_reverse_sql_does_not_write_as_it_is_keeps_enishi_the_owner) {
  people(5);
  switched();
  as_owner(
      "create function spoil() returns trigger language plpgsql as $$ begin new.name := upper(new.name); return new; end $$;"
      "create trigger spoil before insert or update on customers for each row execute function spoil()");
  pg::testing::sql(here.conninfo() + " user=enishi_app",
                   "update customer set notes = 'x' where id = (select id from legacy_identity where legacy_key = '2')");
  auto reversed = run(reverse_batch(place, Writers::going_on, soon));
  ASSERT_TRUE(reversed);
  EXPECT_EQ(reversed->failures, 1);
  EXPECT_EQ(here_value("select code from takeover_reverse_failure"), "REVERSE_DIFFERS");
  EXPECT_EQ(here_value("select kind from takeover_alarm"), "REVERSE_FAILED");
  auto reverted = run(revert_domain(place, {}));
  ASSERT_FALSE(reverted);
  EXPECT_EQ(reverted.error().code, "REVERSE_FAILED");
  EXPECT_EQ(state(), "OWNED 3");
  as_owner("drop trigger spoil on customers");
  here.sql("update takeover_reverse_failure set retry_at = now()");
  EXPECT_EQ(run(reverse_batch(place, Writers::going_on, soon))->records, 1);
  EXPECT_TRUE(run(revert_domain(place, {})));
}

TEST_F(Switch, a_record_born_here_whose_first_try_failed_is_not_made_twice_after_a_crash) {
  people(5);
  switched();
  as_owner(
      "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not now'; end $$;"
      "create trigger refuse before insert on customers for each row execute function refuse()");
  pg::testing::sql(here.conninfo() + " user=enishi_app",
                   "insert into customer (id, display_name, notes) values ('01900000-0000-7000-8000-000000000001', 'born here', 'n')");
  EXPECT_EQ(run(reverse_batch(place, Writers::going_on, soon))->failures, 1);
  as_owner("drop trigger refuse on customers");
  here.sql("update takeover_reverse_failure set retry_at = now()");
  EXPECT_EQ(run(reverse_batch(place, Writers::going_on, soon))->records, 1);
  EXPECT_EQ(there_value("select count(*) from customers where name = 'born here'"), "1");
  // The process died between the source's commit and its own.
  here.sql(
      "delete from legacy_identity where id = '01900000-0000-7000-8000-000000000001';"
      "insert into takeover_reverse_failure (domain, record_id, code, detail, retry_at) values ('customer', "
      "'01900000-0000-7000-8000-000000000001', 'X', 'x', now())");
  EXPECT_EQ(run(reverse_batch(place, Writers::going_on, soon))->records, 1);
  EXPECT_EQ(there_value("select count(*) from customers where name = 'born here'"), "1");
  EXPECT_EQ(here_value("select legacy_key from legacy_identity where id = '01900000-0000-7000-8000-000000000001'"), "6");
  EXPECT_EQ(here_value("select count(*) from takeover_reverse_failure"), "0");
}

TEST_F(Switch, a_write_of_a_transaction_that_began_before_others_were_written_back_is_not_lost) {
  people(5);
  switched();
  static const pg::Statement number("test.number", pg::Rowcount::one, false, "select pg_current_xact_id()");
  static const pg::Statement update(
      "test.late", pg::Rowcount::exec, false,
      "update customer set notes = 'late' where id = (select id from legacy_identity where legacy_key = '2')");
  auto early = run(db.lease());
  run(early.begin(soon));
  ASSERT_TRUE(run(early.run(number, {}, soon)));
  pg::testing::sql(here.conninfo() + " user=enishi_app",
                   "update customer set notes = 'x' where id = (select id from legacy_identity where legacy_key = '1')");
  // A revert shut the gate, wrote back what there was, and did not come to its end.
  auto drained = run(drain_reverse(place, soon));
  ASSERT_TRUE(drained);
  EXPECT_TRUE(*drained);
  EXPECT_EQ(there_value("select memo from customers where no = 1"), "x");
  ASSERT_TRUE(run(early.run(update, {}, soon)));
  run(early.commit(soon));
  auto reversed = run(reverse_batch(place, Writers::going_on, soon));
  ASSERT_TRUE(reversed) << reversed.error().code << reversed.error().detail;
  EXPECT_EQ(there_value("select memo from customers where no = 2"), "late");
  EXPECT_EQ(here_value("select count(*) from takeover_reverse"), "0");
}

TEST_F(Switch, a_row_of_the_root_table_without_a_record_is_a_difference) {
  auto mapping = parse_mapping({kToml, std::string(kForward) + " and exists (select from tels t where t.no = c.no)", kReverse});
  ASSERT_TRUE(mapping);
  shared = std::make_shared<const Mapping>(std::move(*mapping));
  place = place_of(db, place.source, shared);
  people(5);
  mirror();
  EXPECT_EQ(compared().differences, 0);
  as_owner("insert into customers values (77, 'nobody has their number')");
  mirror();
  EXPECT_EQ(here_value("select legacy_key || code from takeover_reject"), "77NO_RECORD");
  here.sql("update takeover_domain set position = 'FFFF/0'");  // nothing will come
  EXPECT_EQ(compared().differences, 1);
  EXPECT_EQ(here_value("select legacy_key || pointer || (here is null) || (there is null) from takeover_difference"), "77truetrue");
  as_owner("delete from customers where no = 77");
  here.sql(
      "insert into legacy_identity (system, domain, legacy_key, id, era, snapshot_xmax, in_progress) values ('shop', 'customer', '77', "
      "new_id(), 1, 0, 0)");
  mirror();
  EXPECT_EQ(here_value("select state from takeover_reject"), "FIXED");
  EXPECT_EQ(compared().differences, 0);
}

TEST_F(Switch, a_mirror_that_stands_still_makes_the_switch_go_back_within_its_bound) {
  people(5);
  mirror();
  compared();
  auto done = run(switch_domain(place, {.hold = Millis(600), .most_lag = Millis(0)}));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, "DRAIN_SLOW");
  EXPECT_EQ(state(), "LEGACY 3");
  EXPECT_EQ(fence(), "OPEN 3");
  EXPECT_EQ(refused("update customers set memo = 'x' where no = 1"), "");
  EXPECT_LT(std::stod(here_value("select detail ->> 'held_ms' from takeover_move")), 9500) << "without a bound the fence lapses after 10 s";
}

TEST_F(Switch, an_open_reject_a_difference_or_no_comparison_refuse_the_switch_before_anything_happens) {
  people(5);
  mirror();
  const auto code = [&] { return mirrored(switch_domain(place, {})).error().code; };
  EXPECT_EQ(code(), "DIFF_MISSING");
  compared();
  here.sql("insert into takeover_reject (system, domain, legacy_key, code, detail) values ('shop', 'customer', '77', 'X', 'x')");
  EXPECT_EQ(code(), "REJECTS_OPEN");
  here.sql("update takeover_reject set state = 'FIXED'");
  auto late = run(switch_domain(place, {.most_lag = Millis(200)}));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, "MIRROR_BEHIND");
  EXPECT_EQ(state(), "LEGACY 1");
  EXPECT_EQ(fence(), "OPEN 0");
}

TEST_F(Switch, what_a_dead_coordinator_left_is_finished_when_it_was_sealed_and_goes_back_when_not) {
  people(5);
  mirror();
  here.sql("select reverse_on('customer'); select move_domain('customer', 'LEGACY', 1, 'SWITCHING')");
  ASSERT_TRUE(run(raise_fence(*place.source, "customer", 2, soon)));
  ASSERT_TRUE(run(recover(place)));
  EXPECT_EQ(state(), "LEGACY 3");
  EXPECT_EQ(fence(), "OPEN 3");

  here.sql("select move_domain('customer', 'LEGACY', 3, 'SWITCHING')");
  ASSERT_TRUE(run(raise_fence(*place.source, "customer", 4, soon)));
  ASSERT_TRUE(*run(seal_fence(*place.source, "customer", 4, soon)));
  ASSERT_TRUE(run(recover(place)));
  EXPECT_EQ(state(), "OWNED 5");

  here.sql("select move_domain('customer', 'OWNED', 5, 'REVERTING')");
  ASSERT_TRUE(run(recover(place)));
  EXPECT_EQ(state(), "LEGACY 7");
  EXPECT_EQ(fence(), "OPEN 7");

  // LEGACY was decided, and the process died before the fence came down.
  legacy.sql("update enishi.fence set state = 'SEALED', epoch = 6");
  ASSERT_TRUE(run(recover(place)));
  EXPECT_EQ(fence(), "OPEN 7");
}

TEST_F(Switch, a_source_that_saw_a_later_epoch_makes_the_domain_read_only_with_an_alarm) {
  people(5);
  switched();
  legacy.sql("update enishi.fence set epoch = 12");
  ASSERT_TRUE(run(recover(place)));
  EXPECT_EQ(here_value("select kind from takeover_alarm"), "SOURCE_AHEAD");
  try {
    pg::testing::sql(here.conninfo() + " user=enishi_app", "update customer set notes = 'x'");
    FAIL() << "the domain can be written";
  } catch (const std::exception& e) {
    EXPECT_THAT(e.what(), HasSubstr("can only be read"));
    EXPECT_THAT(e.what(), HasSubstr("enishi takeover unlock --domain customer"));
  }
  EXPECT_FALSE(run(switch_domain(place, {})));

  pg::testing::sql(here.conninfo(), "insert into takeover_reverse (domain, record_id) select 'customer', id from legacy_identity limit 1");
  legacy.sql(
      "insert into enishi.reversed (domain, last_xid) values ('customer', 900000000) on conflict (domain) do update set last_xid = "
      "900000000");
  auto unlocked = run(unlock_domain(place, {}));
  ASSERT_TRUE(unlocked) << unlocked.error().code << unlocked.error().detail;
  EXPECT_EQ(state(), "LEGACY 13");
  EXPECT_EQ(fence(), "OPEN 13");
  EXPECT_EQ(here_value("select count(*) from domain_ownership where read_only is not null"), "0");
  EXPECT_EQ(here_value("select count(*) from takeover_reverse"), "0");
  EXPECT_EQ(here_value("select count(*) from takeover_alarm where acknowledged_at is null"), "0");
  EXPECT_EQ(here_value("select phase from takeover_domain"), "CREATING");
  EXPECT_EQ(here_value("select kind || ' ' || state from takeover_move order by started_at desc limit 1"), "UNLOCK DONE");
  EXPECT_EQ(there_value("select last_xid from enishi.reversed"), "0");
  EXPECT_EQ(refused("update customers set memo = 'x' where no = 1"), "");
  const auto again = run(unlock_domain(place, {}));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, "NOT_READ_ONLY");
}

TEST_F(Switch, a_read_only_domain_whose_source_knows_nothing_later_stays_whose_it_is) {
  people(5);
  switched();
  here.sql("select set_read_only('customer', 'somebody said so')");
  auto unlocked = run(unlock_domain(place, {}));
  ASSERT_TRUE(unlocked) << unlocked.error().code << unlocked.error().detail;
  EXPECT_EQ(state(), "OWNED 3");
  pg::testing::sql(here.conninfo() + " user=enishi_app", "update customer set notes = 'x'");
}

TEST_F(Switch, a_dead_reverse_stream_that_wakes_after_a_revert_writes_nothing) {
  people(5);
  switched();
  auto lease = run(place.source->db().lease());
  static const pg::Statement begin("at_source.test_begin", pg::Rowcount::one, false,
                                   "select last_xid from enishi.begin_reverse('customer', 2)");
  EXPECT_TRUE(run(revert_domain(place, {})));
  run(lease.begin(soon, "begin isolation level read committed"));
  auto late = run(lease.run(begin, {}, soon));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, "FENCE_STALE");
}

TEST_F(Switch, an_enishi_that_was_taken_back_while_it_owns_writes_nothing_over_its_source) {
  people(5);
  switched();
  note(1, "first");
  drained();
  here.sql("create table backup_of_reversal as table takeover_reversal; create table backup_of_reversed as table takeover_reversed");
  note(1, "second");
  drained();
  EXPECT_EQ(memo(1), "second");
  // Restored from before: what was written since is at the source only, and what waits to be written back is old.
  here.sql(
      "alter table customer disable trigger all; update customer set notes = 'first' where notes = 'second'; alter table customer enable "
      "trigger all;"
      "delete from takeover_reversal; insert into takeover_reversal table backup_of_reversal;"
      "delete from takeover_reversed; insert into takeover_reversed table backup_of_reversed;"
      "insert into takeover_reverse (domain, record_id) select 'customer', id from legacy_identity where legacy_key = '1'");
  auto written = run(reverse_batch(place, Writers::going_on, soon));
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, "SOURCE_AHEAD");
  EXPECT_EQ(memo(1), "second");
  EXPECT_EQ(here_value("select kind || ' ' || (detail ->> 'batch') || ' ' || (detail ->> 'known') from takeover_alarm"),
            "SOURCE_AHEAD 2 1");
  try {
    note(2, "x");
    FAIL() << "the domain can be written";
  } catch (const std::exception& e) {
    EXPECT_THAT(e.what(), HasSubstr("enishi takeover unlock --domain customer"));
  }
  written = run(reverse_batch(place, Writers::going_on, soon));
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, "DOMAIN_READ_ONLY");
  ASSERT_TRUE(run(recover(place)));
  EXPECT_EQ(state(), "OWNED 3");

  auto unlocked = run(unlock_domain(place, {}));
  ASSERT_TRUE(unlocked) << unlocked.error().code << unlocked.error().detail;
  EXPECT_EQ(state(), "LEGACY 4");
  EXPECT_EQ(fence(), "OPEN 4");
  EXPECT_EQ(here_value("select count(*) from takeover_reverse"), "0");
  EXPECT_EQ(here_value("select count(*) from takeover_alarm where acknowledged_at is null"), "0");
  here.sql("update takeover_domain set phase = 'STREAMING', era = 1");
  mirror();
  EXPECT_EQ(compared().differences, 0);
  EXPECT_EQ(here_value("select notes from customer where id = (select id from legacy_identity where legacy_key = '1')"), "second");
}

TEST_F(Switch, a_batch_that_the_source_never_committed_is_no_sign_of_a_restore) {
  people(5);
  switched();
  note(1, "first");
  drained();
  // Numbers were given, and the process died each time before the source committed.
  here.sql("select begin_reversal('customer', 2, 1); select begin_reversal('customer', 2, 1)");
  EXPECT_EQ(here_value("select begun || ' ' || done from takeover_reversal"), "3 1");
  note(1, "second");
  drained();
  EXPECT_EQ(memo(1), "second");
  // And here it died after.
  here.sql(
      "update takeover_reversal set done = 1; insert into takeover_reverse (domain, record_id) select 'customer', record_id from "
      "takeover_reversed");
  drained();
  EXPECT_EQ(here_value("select begun || ' ' || done from takeover_reversal"), "5 5");
  EXPECT_EQ(here_value("select count(*) from takeover_alarm"), "0");
}

TEST_F(Switch, what_a_source_that_was_taken_back_has_lost_is_written_again) {
  people(5);
  switched();
  note(1, "kept");
  drained();
  legacy.sql(
      "create table backup_c as table customers; create table backup_t as table tels; create table backup_r as table enishi.reversed");
  note(2, "lost");
  drained();
  write(
      "insert into customer (id, display_name, notes) values ('01900000-0000-7000-8000-000000000001', 'born here', 'n'), "
      "('01900000-0000-7000-8000-000000000002', 'born later', 'n')");
  drained();
  note(1, "lost too");
  drained();
  past_the_fence(
      "delete from tels; delete from customers; insert into customers table backup_c; insert into tels table backup_t;"
      "delete from enishi.applied; delete from enishi.reversed; insert into enishi.reversed table backup_r");
  EXPECT_EQ(memo(1), "kept");
  note(3, "meanwhile");
  drained();
  EXPECT_EQ(memo(1), "lost too");
  EXPECT_EQ(memo(2), "lost");
  EXPECT_EQ(memo(3), "meanwhile");
  EXPECT_EQ(there_value("select string_agg(name, ', ' order by name) from customers where name like 'born%'"), "born here, born later");
  EXPECT_EQ(here_value("select string_agg(kind, ' ') from takeover_alarm"), "SOURCE_BEHIND");
  EXPECT_EQ(compared().differences, 0);
  EXPECT_EQ(here_value("select count(*) from takeover_reverse_failure"), "0");
  EXPECT_TRUE(run(revert_domain(place, {})));
}

TEST_F(Switch, a_fence_that_a_source_lost_while_enishi_owns_is_sealed_again_and_everything_written_once_more) {
  people(5);
  switched();
  note(1, "lost");
  drained();
  past_the_fence("update customers set memo = null where no = 1; update enishi.reversed set epoch = 0, batch = 0");
  legacy.sql("update enishi.fence set state = 'OPEN', epoch = 0");
  auto refused_now = run(reverse_batch(place, Writers::going_on, soon));
  ASSERT_FALSE(refused_now);
  EXPECT_EQ(refused_now.error().code, "FENCE_STALE");
  // Cut short before its commit, as by a crash, the seal leaves the fence as it was: the next recovery begins anew.
  const auto cut_short = [](Place p, Deadline until) -> Task<bool> {
    auto sealing = co_await seal_at_once(*p.source, p.domain(), 3, until);
    if (sealing) co_await sealing->rollback(until);
    co_return sealing.has_value();
  };
  ASSERT_TRUE(run(cut_short(place, soon)));
  EXPECT_EQ(fence(), "OPEN 0");
  ASSERT_TRUE(run(recover(place)));
  EXPECT_EQ(fence(), "SEALED 3");
  EXPECT_EQ(refused("update customers set memo = 'x' where no = 1"), "EN003");
  EXPECT_EQ(here_value("select kind from takeover_alarm"), "FENCE_OPEN");
  drained();
  EXPECT_EQ(memo(1), "lost");
  EXPECT_TRUE(run(revert_domain(place, {})));
  EXPECT_EQ(state(), "LEGACY 5");
  EXPECT_EQ(fence(), "OPEN 5");
}

TEST_F(Switch, a_fence_of_an_earlier_release_says_that_its_owner_has_to_run_the_setup_again) {
  people(5);
  mirror();
  compared();
  as_owner("drop function enishi.count_batch(text, bigint, bigint); alter table enishi.reversed drop column batch, drop column epoch");
  auto done = mirrored(switch_domain(place, {}));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, "FENCE_OLD");
  as_owner(fence_setup_sql(*shared, "shop_enishi"));
  EXPECT_TRUE(mirrored(switch_domain(place, {})));
}

Task<Result<Applied>> applied(Switch* t, const Batch* batch) {
  auto lease = co_await t->db.lease();
  co_await lease.begin(Deadline::in(Millis(5000)));
  auto done = co_await apply(lease, *batch, Deadline::in(Millis(10000)));
  if (done)
    co_await lease.commit(Deadline::in(Millis(5000)));
  else
    co_await lease.rollback(Deadline::in(Millis(5000)));
  co_return done;
}

/// The guard of the model's Mirror: epoch == fetched_epoch.
TEST_F(Switch, what_was_fetched_before_the_domain_went_over_and_came_back_is_not_stored) {
  people(3);
  mirror();
  as_owner("update customers set memo = 'old' where no = 1");
  auto fetched = run(place.source->fetch(shared, {"1"}, {}, 1, soon));
  ASSERT_TRUE(fetched);
  auto batch = decode(*shared, std::move(**fetched));
  batch.epoch = 1;
  here.sql(
      "select move_domain('customer', 'LEGACY', 1, 'SWITCHING'); select move_domain('customer', 'SWITCHING', 2, 'OWNED');"
      "update customer set notes = 'of Enishi''s time' where id = (select id from legacy_identity where legacy_key = '1');"
      "select move_domain('customer', 'OWNED', 3, 'REVERTING'); select move_domain('customer', 'REVERTING', 4, 'LEGACY')");
  auto late = run(applied(this, &batch));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, "EPOCH_MOVED");
  const auto notes = [&] {
    return here_value("select notes from customer where id = (select id from legacy_identity where legacy_key = '1')");
  };
  EXPECT_EQ(notes(), "of Enishi's time");
  batch.epoch = 5;  // fetched now
  EXPECT_TRUE(run(applied(this, &batch)));
  EXPECT_EQ(notes(), "old");
}

TEST_F(Switch, a_revert_is_refused_while_somebody_elses_change_at_the_source_stands_and_a_repair_writes_over_it) {
  people(5);
  switched();
  note(1, "ours");
  drained();
  past_the_fence("update customers set memo = 'theirs' where no in (1, 4)");
  here.sql("insert into takeover_foreign (domain, legacy_key) values ('customer', '4')");  // as the mirror notes it
  auto reverted = run(revert_domain(place, {}));
  ASSERT_FALSE(reverted);
  EXPECT_EQ(reverted.error().code, "DIFF_DIRTY");
  EXPECT_THAT(reverted.error().detail, HasSubstr("2 records differ at the source: 1, 4."));
  EXPECT_EQ(state(), "OWNED 3");
  EXPECT_EQ(here_value("select string_agg(legacy_key || pointer, ' ' order by legacy_key) from takeover_difference"), "1/notes 4/notes");
  auto repaired = mirrored(repair(place, {}));
  ASSERT_TRUE(repaired) << repaired.error().code << repaired.error().detail;
  EXPECT_EQ(repaired->records, 2);
  EXPECT_EQ(repaired->differences, 0);
  EXPECT_EQ(memo(1), "ours");
  reverted = run(revert_domain(place, {}));
  ASSERT_TRUE(reverted) << reverted.error().code << reverted.error().detail;
  EXPECT_GE(reverted->compared, 2);
}

TEST_F(Switch, a_revert_despite_differences_takes_what_the_source_has) {
  people(5);
  switched();
  past_the_fence("update customers set memo = 'theirs' where no = 4");
  here.sql("insert into takeover_foreign (domain, legacy_key) values ('customer', '4')");
  auto reverted = run(revert_domain(place, {.despite_differences = true}));
  ASSERT_TRUE(reverted) << reverted.error().code << reverted.error().detail;
  EXPECT_EQ(state(), "LEGACY 5");
  EXPECT_EQ(here_value("select notes from customer where id = (select id from legacy_identity where legacy_key = '4')"), "theirs");
  EXPECT_EQ(memo(4), "theirs");
  switched();
  EXPECT_EQ(here_value("select count(*) from takeover_foreign"), "0");
}

TEST_F(Switch, in_an_era_in_which_nothing_was_compared_yet_a_revert_compares_everything) {
  people(5);
  switched();
  past_the_fence("update customers set memo = 'nobody saw it' where no = 3");
  here.sql("update takeover_domain set era = 2");  // the slot was lost, and with it the change
  auto reverted = run(revert_domain(place, {}));
  ASSERT_FALSE(reverted);
  EXPECT_EQ(reverted.error().code, "DIFF_DIRTY");
  EXPECT_THAT(reverted.error().detail, HasSubstr("at the source: 3."));
}

TEST_F(Switch, a_repair_while_legacy_owns_reads_the_records_that_differ_again) {
  people(5);
  mirror();
  here.sql(
      "alter table customer disable trigger all; update customer set notes = 'planted', display_name = 'Nobody' where id = (select id from "
      "legacy_identity where legacy_key = '2'); alter table customer enable trigger all; update takeover_domain set position = 'FFFF/0'");
  EXPECT_EQ(compared().differences, 1);
  auto repaired = run(repair(place, {}));
  ASSERT_TRUE(repaired) << repaired.error().code << repaired.error().detail;
  EXPECT_EQ(repaired->records, 1);
  EXPECT_EQ(repaired->differences, 0);
  EXPECT_EQ(here_value("select display_name || notes from customer where id = (select id from legacy_identity where legacy_key = '2')"),
            "Person 2");
  EXPECT_EQ(here_value("select kind || state from takeover_diff_run order by started_at desc limit 1"), "KEYSCLEAN");
  auto again = run(repair(place, {}));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, "NOTHING_TO_REPAIR");
}

Task<> stop_when_fenced(Switch* t) {
  while (t->fence().find("FENCED") == std::string::npos) co_await sleep(Millis(5));
  t->here.sql("select abort_move(id) from takeover_move where state = 'RUNNING'");
}

TEST_F(Switch, a_switch_that_is_stopped_while_it_drains_lowers_its_fence_at_once) {
  people(5);
  mirror();
  compared();
  asio::co_spawn(shard.context(), stop_when_fenced(this), asio::detached);
  auto done = run(switch_domain(place, {.hold = Millis(60000), .most_lag = Millis(0), .fence_seconds = 300}));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, "MOVE_STOPPED");
  EXPECT_EQ(state(), "LEGACY 3");
  EXPECT_EQ(fence(), "OPEN 3");
  EXPECT_EQ(refused("update customers set memo = 'x' where no = 1"), "");
}

TEST_F(Switch, a_takeover_that_is_given_up_leaves_its_records_here_and_nothing_at_the_source) {
  people(5);
  mirror();
  here.sql(
      "insert into takeover_intent (id, system, domain, record_id, record, actor) select new_id(), 'shop', 'customer', id, '{}', 'user:x' "
      "from "
      "customer limit 1");
  auto given_up = run(abandon_domain(place, {}));
  ASSERT_FALSE(given_up);
  EXPECT_EQ(given_up.error().code, "EDITS_PENDING");
  EXPECT_EQ(state(), "LEGACY 1");
  here.sql("update takeover_intent set state = 'DONE'");
  given_up = run(abandon_domain(place, {}));
  ASSERT_TRUE(given_up) << given_up.error().code << given_up.error().detail;
  EXPECT_EQ(state(), "LOCAL 2");
  EXPECT_EQ(here_value("select phase from takeover_domain"), "DONE");
  EXPECT_EQ(there_value("select count(*) from pg_trigger where tgname like 'a_enishi%'"), "0");
  note(1, "ours now");
  EXPECT_EQ(here_value("select count(*) from takeover_reverse"), "0");
  EXPECT_EQ(here_value("select count(*) from legacy_identity"), "5");
  auto started = run(begin(db, *shared, legacy.conninfo()));
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, "TAKEOVER_ABANDONED");
  EXPECT_TRUE(run(begin(db, *shared, legacy.conninfo(), true)));
  EXPECT_EQ(state(), "LEGACY 3");
  EXPECT_EQ(here_value("select phase from takeover_domain"), "CREATING");
  EXPECT_TRUE(run(begin(db, *shared, legacy.conninfo()))) << "it goes on";
}

TEST_F(Switch, what_write_through_changes_while_legacy_owns_is_not_queued_to_be_written_back) {
  people(3);
  mirror();
  here.sql("select reverse_on('customer')");
  const auto queued = [&](const std::string& through) {
    try {
      write("do $$ begin perform set_config('enishi.through', '" + through +
            "', true); update customer set notes = 'x'; raise exception 'queued %', (select count(*) from takeover_reverse); end $$");
    } catch (const std::exception& e) {
      const std::string what = e.what();
      return what.substr(what.find("queued"), 8);
    }
    return std::string();
  };
  EXPECT_EQ(queued("a request"), "queued 0");
  here.sql("select move_domain('customer', 'LEGACY', 1, 'SWITCHING'); select move_domain('customer', 'SWITCHING', 2, 'OWNED')");
  EXPECT_EQ(queued("a request"), "queued 3");
  EXPECT_EQ(queued(""), "queued 3");
}

}  // namespace
}  // namespace enishi::takeover

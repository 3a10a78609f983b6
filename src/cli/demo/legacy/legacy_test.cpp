// The sample company as Enishi reads it: every record of its three systems decodes, is stored, and is the same on both sides.
#include "cli/demo/legacy/legacy.hpp"

#include <gtest/gtest.h>

#include "auth/testing.hpp"
#include "pg/testing.hpp"
#include "takeover/domains.hpp"
#include "takeover/mapping.hpp"
#include "takeover/source.hpp"

namespace enishi::cli::demo {
namespace {

using pg::testing::Server;

constexpr std::int64_t kCustomers = 300;

/// Made once a process: the databases have fixed names.
const LegacyReport& company() {
  static const LegacyReport report = [] {
    LegacyOptions options;
    options.superuser = Server::get().conninfo();
    options.customers = kCustomers;
    options.until = 1'795'000'000;
    auto made = make_legacy(options, [](std::string_view, double) {});
    if (!made) throw std::runtime_error(made.error().detail);
    return *made;
  }();
  return report;
}

std::string at(std::string_view system, std::string_view user = {}) { return with_dbname(Server::get().conninfo(), system, user); }

std::string one(const std::string& conninfo, const std::string& sql) {
  return pg::testing::sql(conninfo, sql).at(0).at(0).value_or("NULL");
}

TEST(LegacyCompany, is_three_databases_and_is_made_once) {
  const auto& made = company();
  EXPECT_EQ(made.customers, kCustomers);
  EXPECT_GT(made.phones, kCustomers);
  EXPECT_GT(made.addresses, kCustomers);
  EXPECT_GT(made.inquiries, kCustomers);
  EXPECT_GT(made.appointments, 50);
  EXPECT_EQ(one(at("shohin"), "show server_encoding"), "EUC_JP");
  EXPECT_EQ(one(at("kokyaku"),
                "select count(*) from m_kokyaku k where tel_su <> (select count(*) from t_tel t where t.kokyaku_no = k.kokyaku_no) "
                "or jusho_su <> (select count(*) from t_jusho j where j.kokyaku_no = k.kokyaku_no)"),
            "0");
  // A way to write a number of each kind is there.
  for (const auto* like : {"%/%", "%内線%", "%０%", "(0%", "0__-____-____", "0__________"})
    EXPECT_NE(one(at("kokyaku"), std::string("select count(*) from t_tel where tel_no like '") + like + "'"), "0") << like;
  LegacyOptions again;
  again.superuser = Server::get().conninfo();
  auto nothing = make_legacy(again, [](std::string_view, double) {});
  ASSERT_TRUE(nothing) << nothing.error().detail;
  EXPECT_FALSE(nothing->made);
}

TEST(LegacyCompany, belongs_to_its_owner_and_enishi_reads_nothing_before_it_is_let) {
  company();
  EXPECT_EQ(one(at("kokyaku"), "select rolsuper or rolcreatedb or rolcreaterole from pg_roles where rolname = 'enishi'"), "f");
  EXPECT_EQ(one(at("kokyaku"), "select tableowner from pg_tables where tablename = 'm_kokyaku'"), "legacy_owner");
  EXPECT_THROW(one(at("kokyaku", "enishi"), "select count(*) from m_kokyaku"), std::runtime_error);
}

TEST(LegacyCompany, the_same_seed_size_and_end_give_the_same_rows) {
  company();
  // Of seed 1 and that end, on any machine.
  EXPECT_EQ(one(at("kokyaku"), "select md5(string_agg(t::text, '' order by tel_id)) from t_tel t"), "aae8127068215731f56dd6bed38f3ac9");
  EXPECT_EQ(one(at("uketsuke"), "select md5(string_agg(t::text, '' order by hankyo_no)) from t_hankyo t"),
            "e1fc88af22e0a1b9adc362fff11deaeb");
}

TEST(Targets, take_another_database_and_login) {
  EXPECT_EQ(with_dbname("host=/tmp dbname=a", "b", "c"), "host=/tmp dbname=a dbname=b user=c");
  EXPECT_EQ(with_dbname("postgresql://h/a", "b"), "postgresql://h/a?dbname=b");
  EXPECT_EQ(with_dbname("postgresql://h/a?sslmode=require", "b", "c"), "postgresql://h/a?sslmode=require&dbname=b&user=c");
}

class Taken : public ::testing::Test {
 protected:
  Taken() {
    company();
    for (const auto& sql :
         {"insert into takeover_source values ('kokyaku', 'dbname=kokyaku'), ('uketsuke', 'dbname=uketsuke'), ('shohin', 'dbname=shohin')",
          "select move_domain('customer', 'LOCAL', 0, 'LEGACY', 'kokyaku')",
          "select move_domain('inquiry', 'LOCAL', 0, 'LEGACY', 'uketsuke')", "select move_domain('goods', 'LOCAL', 0, 'LEGACY', 'shohin')",
          "insert into media_source (id, code, name) select new_id(), c, c from unnest(array['web', 'search', 'flyer', 'tv', 'magazine', "
          "'referral']) c"})
      fresh.sql(sql);
  }

  static Task<Result<takeover::Applied>> store(pg::Database& db, takeover::Batch batch) {
    auto lease = co_await db.lease();
    co_await lease.begin(Deadline::in(Millis(5000)));
    auto done = co_await takeover::apply(lease, std::move(batch), Deadline::in(Millis(30000)));
    if (done)
      co_await lease.commit(Deadline::in(Millis(5000)));
    else
      co_await lease.rollback(Deadline::in(Millis(5000)));
    co_return done;
  }

  /// Takes all records over and compares: nothing is refused, and both sides have the same.
  void take(const std::string& folder, const std::string& table, const std::string& key) {
    SCOPED_TRACE(folder);
    auto read = takeover::read_mapping(std::string(ENISHI_SOURCE_ROOT "/samples/legacy/") + folder);
    ASSERT_TRUE(read) << read.error().detail;
    const auto mapping = std::make_shared<const takeover::Mapping>(std::move(*read));
    takeover::Source source(shard, offload, {.system = mapping->system, .conninfo = at(mapping->system)});
    std::vector<std::string> keys;
    for (auto& row : pg::testing::sql(at(mapping->system), "select " + key + "::text from " + table)) keys.push_back(*row.at(0));
    auto fetched = run_task(shard.context(), source.fetch(mapping, keys, {}, 1, Deadline::in(Millis(30000))));
    ASSERT_TRUE(fetched) << fetched.error().code << ' ' << fetched.error().detail;
    ASSERT_TRUE(fetched->has_value());
    EXPECT_EQ((*fetched)->records.size(), keys.size());
    auto done = run_task(shard.context(), store(db, takeover::decode(*mapping, std::move(**fetched))));
    ASSERT_TRUE(done) << done.error().code << ' ' << done.error().detail;
    EXPECT_EQ(done->rejected, 0)
        << fresh
               .value(
                   "select jsonb_agg(jsonb_build_object('key', legacy_key, 'errors', errors, 'content', content)) from "
                   "(select * from takeover_reject limit 3) r")
               .value_or("");
    EXPECT_EQ(done->created + done->deleted, static_cast<std::int64_t>(keys.size()));
    // The diff in small: canonical records there and here.
    std::map<std::string, std::string> there;
    const auto canonical = takeover::canonical_sql(mapping->system, mapping->domain, "f.record");
    pg::testing::sql(at(mapping->system), "select 1");
    std::string forward = mapping->files.forward;
    const auto all = "(select array_agg(" + key + "::text) from " + table + ")";
    for (std::size_t p; (p = forward.find("$1")) != std::string::npos;) forward.replace(p, 2, all);
    const std::string utc = at(mapping->system) + " options='-c TimeZone=UTC -c client_encoding=UTF8'";
    for (auto& row : pg::testing::sql(utc, "select f.key, (" + canonical + ")::text from (" + forward + ") f"))
      there[*row.at(0)] = row.at(1).value_or("NULL");
    std::size_t same = 0;
    for (auto& row : pg::testing::sql(
             fresh.conninfo(), "select legacy_key, canonical_record(domain, system, id)::text from legacy_identity where system = '" +
                                   mapping->system + "'")) {
      const auto& key_there = *row.at(0);
      EXPECT_EQ(row.at(1).value_or("NULL"), there[key_there]) << key_there;
      same += row.at(1).value_or("NULL") == there[key_there] ? 1 : 0;
    }
    EXPECT_EQ(same, keys.size());
  }

  pg::testing::Fresh fresh{auth::testing::migrated()};
  Shard shard{0};
  Offload offload{2, 64};
  pg::Database db{shard, offload, {.conninfo = fresh.conninfo() + " user=enishi_app"}};
};

TEST_F(Taken, whole_and_without_a_reject) {
  take("kokyaku/customer", "m_kokyaku", "kokyaku_no");
  take("uketsuke/inquiry", "t_hankyo", "hankyo_no");
  take("shohin/goods", "t_shohin", "shohin_no");
  // Typed in many ways, read as numbers: most of them are real ones by their form.
  EXPECT_EQ(fresh.value("select count(*) from customer_phone where e164 is null"), "0");
  EXPECT_NE(fresh.value("select count(*) from customer_phone where extension is not null"), "0");
}

}  // namespace
}  // namespace enishi::cli::demo

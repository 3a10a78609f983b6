#include "takeover/domains.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "auth/testing.hpp"
#include "crm/japanese/phones.hpp"
#include "pg/testing.hpp"

namespace enishi::takeover {
namespace {

using ::testing::HasSubstr;

constexpr const char* kToml = R"(
system = "shop"
domain = "DOMAIN"
[root]
table = "public.customers"
key = ["no"]
[[table]]
name = "public.customers"
root = ["no"]
mapped = ["no"]
)";

Mapping mapping_of(const std::string& domain) {
  std::string toml = kToml;
  toml.replace(toml.find("DOMAIN"), 6, domain);
  auto m = parse_mapping({toml, "select 1", ""});
  if (!m) throw std::runtime_error(m.error().detail);
  return std::move(*m);
}

/// A migrated database whose domains belong to the legacy system "shop", written to as the application.
class Domains : public ::testing::Test {
 protected:
  Domains() {
    sql("insert into takeover_source values ('shop', 'dbname=nowhere'), ('store', 'dbname=nowhere')");
    for (const auto* domain : {"customer", "inquiry", "goods"})
      sql("select move_domain('" + std::string(domain) + "', 'LOCAL', 0, 'LEGACY', 'shop')");
  }
  void sql(const std::string& text) { fresh.sql(text); }
  std::string value(const std::string& text) { return fresh.value(text).value_or("NULL"); }

  static Task<Result<Applied>> store(pg::Database& db, Batch batch) {
    auto lease = co_await db.lease();
    co_await lease.begin(Deadline::in(Millis(5000)));
    auto done = co_await apply(lease, batch, Deadline::in(Millis(10000)));
    if (done)
      co_await lease.commit(Deadline::in(Millis(5000)));
    else
      co_await lease.rollback(Deadline::in(Millis(5000)));
    co_return done;
  }
  Applied stored(const Mapping& mapping, std::uint64_t xmax, std::vector<FetchedRecord> records, std::vector<std::string> absent = {}) {
    Fetched fetched;
    fetched.version.xmax = xmax;
    fetched.records = std::move(records);
    fetched.absent = std::move(absent);
    auto done = run_task(shard.context(), store(db, decode(mapping, std::move(fetched))));
    if (!done) throw std::runtime_error(done.error().code + " " + done.error().detail);
    return *done;
  }

  pg::testing::Fresh fresh{auth::testing::migrated()};
  Shard shard{0};
  Offload offload{2, 64};
  pg::Database db{shard, offload, {.conninfo = fresh.conninfo() + " user=enishi_app"}};
};

const std::string kTanaka =
    R"({"display_name": "田中 花子", "kana": "タナカ ハナコ", "birth_date": "1950-04-01", "flags": ["VIP"],
        "phones": [{"key": "7", "raw": "090-1234-5678"}, {"key": "8", "raw": "なし"}],
        "addresses": [{"key": "1", "postal_code": "150-0001", "prefecture": "東京都", "city": "渋谷区", "street": "1-2-3"}],
        "emails": [{"email": "hanako@example.jp"}]})";

TEST_F(Domains, a_customer_is_stored_with_keys_numbers_identity_and_history) {
  const auto m = mapping_of("customer");
  const auto done = stored(m, 100, {{"1", kTanaka, R"({"public.phones": ["7", "8"]})"}});
  EXPECT_EQ(done.created, 1);
  EXPECT_EQ(done.rejected, 0);
  EXPECT_EQ(value("select name_key || ' ' || kana_key from customer"), "田中花子 タナカハナコ");
  EXPECT_EQ(value("select string_agg(raw || coalesce('=' || e164, '') || ':' || kind, ' ' order by position) from customer_phone"),
            "090-1234-5678=+819012345678:MOBILE なし:OTHER");
  EXPECT_EQ(value("select postal_code from customer_address"), "1500001");
  EXPECT_EQ(value("select count(*) from history h join legacy_identity i on i.id = h.customer_id and h.actor = 'legacy:shop'"), "5");
  EXPECT_EQ(value("select count(*) from legacy_link"), "2");
}

TEST_F(Domains, a_change_touches_what_changed_and_only_that) {
  const auto m = mapping_of("customer");
  stored(m, 100, {{"1", kTanaka, ""}});
  const auto phone = value("select id from customer_phone where position = 0");
  EXPECT_EQ(stored(m, 101, {{"1", kTanaka, ""}}).unchanged, 1);
  EXPECT_EQ(value("select max(version) from customer"), "1");
  const auto done = stored(m, 102, {{"1", R"({"display_name": "田中 花子", "phones": [{"key": "7", "raw": "090-1234-0000"}]})", ""}});
  EXPECT_EQ(done.updated, 1);
  EXPECT_EQ(value("select id || raw || e164 || version from customer_phone where deleted_at is null"),
            phone + "090-1234-0000+8190123400002");
  EXPECT_EQ(value("select count(*) from customer_address where deleted_at is null"), "0");
  EXPECT_EQ(value("select string_agg(content ->> 'raw', ' ' order by id) from history where row_id = '" + phone + "'"),
            "090-1234-5678 090-1234-0000");
}

TEST_F(Domains, an_older_fetch_never_overwrites_and_never_undoes_a_deletion) {
  const auto m = mapping_of("customer");
  stored(m, 200, {{"1", kTanaka, ""}}, {"2"});
  EXPECT_EQ(stored(m, 150, {{"1", R"({"display_name": "old"})", ""}, {"2", R"({"display_name": "ghost"})", ""}}).stale, 2);
  EXPECT_EQ(value("select string_agg(display_name, ',') from customer"), "田中 花子");
  EXPECT_EQ(stored(m, 210, {}, {"1"}).deleted, 1);
  EXPECT_EQ(value("select deleted_at is not null from customer"), "t");
  EXPECT_EQ(stored(m, 205, {{"1", kTanaka, ""}}).stale, 1);
  EXPECT_EQ(value("select deleted_at is not null from customer"), "t");
  const auto id = value("select id from customer");
  EXPECT_EQ(stored(m, 220, {{"1", kTanaka, ""}, {"2", R"({"display_name": "born"})", ""}}).created, 1);
  EXPECT_EQ(value("select deleted_at is null from customer where id = '" + id + "'"), "t");
}

TEST_F(Domains, what_is_refused_is_a_reject_and_the_rest_is_stored) {
  const auto m = mapping_of("customer");
  std::vector<FetchedRecord> records;
  for (int i = 0; i < 40; ++i) records.push_back({std::to_string(i), R"({"display_name": "n)" + std::to_string(i) + "\"}", ""});
  records[3].record =
      R"({"display_name": "", "phones": [{"raw": "090-1234-5678 / 03-1234-5678"}], "wrong": 1, "birth_date": "0001-01-01 BC"})";
  records[17].record = R"({"display_name": "x", "custom": {"nobody_knows": 1}})";
  auto done = stored(m, 100, records);
  EXPECT_EQ(done.created, 38);
  EXPECT_EQ(done.rejected, 2);
  EXPECT_EQ(value("select string_agg(e ->> 'pointer' || '=' || (e ->> 'code'), ' ' order by e ->> 'pointer') from takeover_reject, "
                  "jsonb_array_elements(errors) e where legacy_key = '3'"),
            "/birth_date=FORMAT /display_name=TOO_SHORT /phones/0/raw=PHONE_SEVERAL /wrong=UNKNOWN_FIELD");
  EXPECT_EQ(value("select code || (errors -> 0 ->> 'pointer') from takeover_reject where legacy_key = '17'"),
            "CUSTOM_FIELDS/custom/nobody_knows");
  done = stored(m, 101, {{"17", R"({"display_name": "x"})", ""}});
  EXPECT_EQ(done.created, 1);
  EXPECT_EQ(value("select state || coalesce(content::text, '') from takeover_reject where legacy_key = '17'"), "FIXED");
  EXPECT_EQ(value("select count(*) from takeover_reject where state = 'OPEN'"), "1");
}

TEST_F(Domains, inquiries_and_goods_find_their_customers_by_legacy_key) {
  stored(mapping_of("customer"), 100, {{"1", kTanaka, ""}});
  sql("insert into media_source (id, code, name) values (new_id(), 'flyer', 'Flyer')");
  const std::string lead =
      R"("media_source": "flyer", "channel": "PHONE", "received_at": "2026-01-02T10:00:00+09:00", "stage": "IN_PROGRESS",
      "next_action": "CALL", "items": [{"category": "kimono", "quantity": 3}])";
  const auto m = mapping_of("inquiry");
  auto done = stored(m, 100, {{"A-1", R"({"customer": "1", )" + lead + "}", ""}, {"A-2", R"({"customer": "99", )" + lead + "}", ""}});
  EXPECT_EQ(done.created, 1);
  EXPECT_EQ(value("select code || legacy_key from takeover_reject"), "REFERENCE_MISSINGA-2");
  EXPECT_EQ(value("select stage || quantity from inquiry i join inquiry_item n on n.inquiry_id = i.id"), "IN_PROGRESS3");
  done = stored(
      m, 101,
      {{"A-1",
        R"({"customer": "1", "media_source": "flyer", "channel": "PHONE", "received_at": "2026-01-02T01:00:00Z", "stage": "APPOINTED"})",
        ""}});
  EXPECT_EQ(done.updated, 1);
  EXPECT_EQ(value("select count(*) from inquiry_item where deleted_at is null"), "0");
  const auto goods = mapping_of("goods");
  done = stored(goods, 102, {{"g", R"({"name": "帯", "category": "kimono", "customer": "1", "inquiry": "A-1", "price_yen": 12000})", ""}});
  EXPECT_EQ(done.created, 1);
  EXPECT_EQ(stored(goods, 103, {{"g", R"({"name": "帯", "price_yen": 1})", ""}}).updated, 1);
  EXPECT_EQ(stored(goods, 104, {}, {"g"}).deleted, 1);
}

TEST_F(Domains, both_sides_make_the_same_canonical_form) {
  stored(mapping_of("customer"), 100, {{"1", kTanaka, ""}, {"2", R"({"display_name": "a", "phones": null, "deleted": true})", ""}});
  sql("insert into media_source (id, code, name) values (new_id(), 'flyer', 'Flyer')");
  const std::string lead =
      R"({"customer": "1", "media_source": "flyer", "channel": "PHONE", "received_at": "2026-01-02T10:00:00.5+09:00", "stage": "NEW",
      "items": [{"category": "kimono"}, {"category": "watch", "description": "x"}]})";
  stored(mapping_of("inquiry"), 100, {{"A", lead, ""}});
  const std::string obi = R"({"name": "帯", "customer": "1", "price_yen": 12, "received_on": "2026-02-03"})";
  stored(mapping_of("goods"), 100, {{"g", obi, ""}});
  const auto same = [&](const std::string& domain, const std::string& key, const std::string& record) {
    const auto there = value("select " + canonical_sql("shop", domain, "$r$" + record + "$r$::jsonb"));
    EXPECT_EQ(value("select canonical_record('" + domain + "', 'shop', id) from legacy_identity where legacy_key = '" + key + "'"), there);
    EXPECT_EQ(value("select canonical_digest(canonical_record('" + domain + "', 'shop', id)) = sha256(convert_to(($t$" + there +
                    "$t$::jsonb)::text, 'UTF8')) from legacy_identity where legacy_key = '" + key + "'"),
              "t");
  };
  same("customer", "1", kTanaka);
  same("customer", "2", R"({"display_name": "a", "deleted": true})");
  same("inquiry", "A", lead);
  same("goods", "g", obi);
}

TEST_F(Domains, nobody_but_the_mirror_writes_a_legacy_domain) {
  stored(mapping_of("customer"), 100, {{"1", kTanaka, ""}});
  const auto as_app = [&](const std::string& text) {
    try {
      pg::testing::sql(fresh.conninfo() + " user=enishi_app", text);
      return std::string("done");
    } catch (const std::exception& e) {
      return std::string(e.what());
    }
  };
  EXPECT_THAT(as_app("update customer set notes = 'x'"), HasSubstr("belongs to a legacy system"));
  EXPECT_THAT(as_app("set enishi.mirror = 'on'; update customer set notes = 'x'"), HasSubstr("belongs to a legacy system"));
  EXPECT_THAT(as_app("set enishi.mirror = 'on'; update domain_ownership set state = 'LOCAL'"), HasSubstr("permission denied"));
  sql("update domain_ownership set state = 'OWNED' where domain = 'customer'");
  EXPECT_EQ(as_app("update customer set notes = 'x'"), "done");
  EXPECT_EQ(value("select count(*) from history where table_name = 'customer' and op = 'UPDATE'"), "1") << "triggers are back";
  Fetched fetched;
  fetched.version.xmax = 300;
  fetched.records = {{"1", R"({"display_name": "late"})", ""}};
  auto late = run_task(shard.context(), store(db, decode(mapping_of("customer"), std::move(fetched))));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, "NOT_MIRRORED");
  EXPECT_EQ(value("select display_name from customer"), "田中 花子");
}

TEST_F(Domains, flags_are_a_set_in_no_order) {
  const auto m = mapping_of("customer");
  const std::string there = R"({"display_name": "n", "flags": ["VIP", "ELDERLY", "VIP", "CAUTION"]})";
  stored(m, 100, {{"1", there, ""}});
  const auto theirs = value("select " + canonical_sql(m.system, "customer", "'" + there + "'::jsonb"));
  EXPECT_EQ(value("select canonical_record('customer', '" + m.system + "', id) from customer"), theirs);
  EXPECT_EQ(value("select ('" + theirs + "'::jsonb) -> 'flags'"), R"(["CAUTION", "ELDERLY", "VIP"])");
  for (const char* one : {"[]", R"(["NO_MAIL"])", "null"})
    EXPECT_EQ(value("select (" + canonical_sql(m.system, "customer", std::string("'{\"flags\": ") + one + "}'::jsonb") + ") -> 'flags'"),
              std::string(one) == "null" ? "[]" : one);
}

TEST_F(Domains, the_same_person_in_another_system_is_a_candidate_and_families_are_none) {
  const auto m = mapping_of("customer");
  stored(m, 100, {{"1", kTanaka, ""}, {"2", R"({"display_name": "田中 太郎", "phones": [{"raw": "090-1234-5678"}]})", ""}});
  sql("update domain_ownership set system = 'store' where domain = 'customer'");
  auto other = mapping_of("customer");
  other.system = "store";
  stored(other, 100, {{"x", R"({"display_name": "田中花子", "phones": [{"raw": "09012345678"}]})", ""}});
  const auto soon = Deadline::in(Millis(5000));
  {
    auto lease = run_task(shard.context(), db.lease(soon));
    run_task(shard.context(), lease.begin(soon));
    ASSERT_TRUE(run_task(shard.context(), find_candidates(lease, "store", {"x"}, soon)));
    run_task(shard.context(), lease.commit(soon));
  }
  EXPECT_EQ(value("select count(*) || ' ' || min(reasons::text) from merge_candidate"), "1 {SAME_PHONE_AND_NAME}");
}

TEST_F(Domains, numbers_read_by_their_block_are_what_the_api_reads) {
  const auto m = mapping_of("customer");
  std::vector<FetchedRecord> records;
  std::string raws[400];
  std::uint32_t random = 1;
  for (int i = 0; i < 400; ++i) {
    std::string digits = "0";
    const int n = i % 3 == 0 ? 9 : 10;
    for (int k = 0; k < n; ++k) digits += static_cast<char>('0' + (random = random * 1664525 + 1013904223) % 97 % 10);
    if (i % 2 == 0) digits.replace(0, 3, i % 4 == 0 ? "090" : "03-");
    raws[i] = digits;
    records.push_back({std::to_string(i), R"({"display_name": "n", "phones": [{"raw": ")" + digits + "\"}]}", ""});
  }
  stored(m, 100, records);
  for (int i = 0; i < 400; ++i) {
    auto api = crm::japanese::parse_phones(raws[i]);
    std::string expected = "- OTHER f";
    if (api && api->size() == 1)
      expected = (api->front().e164.empty() ? "-" : api->front().e164) + " " + std::string(to_string(api->front().kind)) +
                 (api->front().valid_hint ? " t" : " f");
    if (api && api->size() > 1) continue;
    EXPECT_EQ(value("select coalesce(e164, '-') || ' ' || kind || ' ' || left(valid_hint::text, 1) from customer_phone where raw = '" +
                    raws[i] + "' limit 1"),
              expected)
        << raws[i];
  }
}

TEST_F(Domains, who_was_erased_is_passed_over) {
  const auto m = mapping_of("customer");
  stored(m, 100, {{"1", kTanaka, ""}, {"2", kTanaka, ""}});
  sql("insert into erasure (id, customer_id, kind, reason, actor) select new_id(), id, 'MASKED', 'x', 'x' from legacy_identity where "
      "legacy_key = '1'");
  const auto changed =
      stored(m, 200, {{"1", R"({"display_name": "again", "phones": [{"raw": "1"}]})", ""}, {"2", R"({"display_name": "other"})", ""}});
  EXPECT_EQ(changed.updated, 1);
  EXPECT_EQ(value("select string_agg(display_name, ' ' order by legacy_key) from customer c join legacy_identity using (id)"),
            "田中 花子 other");
  EXPECT_EQ(value("select count(*) from customer_phone where raw = '1'"), "0");
  EXPECT_EQ(stored(m, 300, {}, {"1", "2"}).deleted, 1);
  EXPECT_EQ(value("select deleted_at is null from customer c join legacy_identity i using (id) where legacy_key = '1'"), "t");
}

TEST_F(Domains, what_waited_for_an_erasure_is_refused_and_passed_over_when_it_comes_again) {
  const auto m = mapping_of("customer");
  stored(m, 100, {{"1", kTanaka, ""}});
  const auto id = value("select id from customer");
  std::jthread erasing([&] {
    sql("select from customer for update; insert into erasure (id, customer_id, kind, reason, actor) values (new_id(), '" + id +
        "', 'ERASED', 'x', 'x'); do $$ begin for i in 1..600 loop perform pg_sleep(0.05); perform pg_stat_clear_snapshot(); "
        "exit when exists (select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()); end loop; end "
        "$$");
  });
  while (value("select count(*) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()") == "0")
    std::this_thread::sleep_for(Millis(5));
  const std::string changed = R"({"display_name": "again", "phones": [{"raw": "1"}]})";
  try {
    stored(m, 200, {{"1", changed, ""}});
    FAIL() << "it wrote over an erasure";
  } catch (const std::exception& e) {
    EXPECT_THAT(e.what(), HasSubstr("SERIALIZATION_FAILURE"));
  }
  EXPECT_EQ(stored(m, 200, {{"1", changed, ""}}).updated, 0);
  EXPECT_EQ(value("select display_name || ' ' || (select count(*) from customer_phone where raw = '1') from customer"), "田中 花子 0");
}

}  // namespace
}  // namespace enishi::takeover

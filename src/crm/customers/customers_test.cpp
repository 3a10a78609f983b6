#include <gtest/gtest.h>

#include <thread>

#include "auth/testing.hpp"
#include "crm/customers/postal_towns.hpp"
#include "crm/customers/routes.hpp"
#include "crm/history/routes.hpp"
#include "crm/masters/routes.hpp"
#include "pg/database.hpp"

namespace enishi::crm::customers {
namespace {

using auth::testing::Reply;
using auth::testing::TestServer;
namespace json = boost::json;

struct Customers : ::testing::Test {
  TestServer server{{customers::mount, masters::mount, history::mount}};
  auth::testing::Client op = server.as("operator");

  Reply make(const json::value& body = {{"display_name", "山田 花子"}, {"kana", "ヤマダ ハナコ"}}) {
    auto made = op.post("/v1/customers", body);
    EXPECT_EQ(made.status, 201) << made.text;
    return made;
  }
};

bool has_error(const Reply& reply, std::string_view pointer, std::string_view code) {
  for (const auto& e : reply.at("/errors").as_array())
    if (e.at("pointer").as_string() == pointer && e.at("code").as_string() == code) return true;
  return false;
}

TEST_F(Customers, a_customer_is_made_with_children_in_one_request_and_read_whole) {
  const auto made =
      make({{"display_name", "髙橋 一郎"},
            {"kana", "タカハシ イチロウ"},
            {"birth_date", "昭和25年4月1日"},
            {"flags", {"VIP"}},
            {"phones", {{{"raw", "０９０－１２３４－５６７８"}, {"note", "夜"}}}},
            {"addresses", {{{"postal_code", "〒150-0001"}, {"prefecture", "東京都"}, {"city", "渋谷区"}, {"street", "1-2-3"}}}},
            {"emails", {{{"email", "Taka@example.jp"}}}}});
  const auto id = made.string("/id");
  EXPECT_EQ(made.header("Location"), "/v1/customers/" + id);
  EXPECT_EQ(made.header("ETag"), "\"1\"");
  const auto got = op.get("/v1/customers/" + id);
  ASSERT_EQ(got.status, 200) << got.text;
  EXPECT_EQ(got.header("ETag"), "\"1\"");
  EXPECT_EQ(got.string("/display_name"), "髙橋 一郎");
  EXPECT_EQ(got.string("/birth_date"), "1950-04-01");
  EXPECT_EQ(got.string("/phones/0/e164"), "+819012345678");
  EXPECT_EQ(got.string("/phones/0/raw"), "０９０－１２３４－５６７８");
  EXPECT_EQ(got.string("/addresses/0/postal_code"), "1500001");
  EXPECT_EQ(got.string("/emails/0/email"), "Taka@example.jp");
  EXPECT_TRUE(got.at("/active_ban").is_null());
  EXPECT_EQ(got.string("/team_id"), op.team);
}

TEST_F(Customers, two_numbers_in_one_cell_are_two_phones) {
  const auto made = make({{"display_name", "田中"}, {"phones", {{{"raw", "090-1111-2222 / 03-1234-5678"}}}}});
  ASSERT_EQ(made.at("/phones").as_array().size(), 2u) << made.text;
  EXPECT_EQ(made.string("/phones/0/e164"), "+819011112222");
  EXPECT_EQ(made.string("/phones/1/e164"), "+81312345678");
}

TEST_F(Customers, every_wrong_field_is_named_at_once_and_nothing_is_stored) {
  const auto bad = op.post("/v1/customers", {{"display_name", "  "},
                                             {"birth_date", "昭和99年1月1日"},
                                             {"flags", {"NO_SUCH"}},
                                             {"colour", "red"},
                                             {"phones", {{{"raw", "090-1111-2222"}}, {{"raw", "非通知"}}, {{"note", "x"}}}},
                                             {"addresses", {{{"postal_code", "12345"}}}},
                                             {"emails", {{{"email", "nobody"}}}}});
  ASSERT_EQ(bad.status, 422) << bad.text;
  EXPECT_EQ(bad.code(), "VALIDATION_FAILED");
  EXPECT_TRUE(has_error(bad, "/display_name", "REQUIRED")) << bad.text;
  EXPECT_TRUE(has_error(bad, "/birth_date", "DATE_OUTSIDE_ERA")) << bad.text;
  EXPECT_TRUE(has_error(bad, "/flags", "CHOICE")) << bad.text;
  EXPECT_TRUE(has_error(bad, "/colour", "UNKNOWN_FIELD")) << bad.text;
  EXPECT_TRUE(has_error(bad, "/phones/1/raw", "PHONE_WITHHELD")) << bad.text;
  EXPECT_TRUE(has_error(bad, "/phones/2/raw", "REQUIRED")) << bad.text;
  EXPECT_TRUE(has_error(bad, "/addresses/0/postal_code", "POSTAL_CODE_INVALID")) << bad.text;
  EXPECT_TRUE(has_error(bad, "/emails/0/email", "FORMAT")) << bad.text;
  EXPECT_EQ(server.value("select count(*) from customer"), "0");
  EXPECT_EQ(server.value("select count(*) from customer_phone"), "0");
}

TEST_F(Customers, a_wrong_owner_is_a_wrong_field_and_a_taken_id_is_409) {
  const auto bad = op.post("/v1/customers", {{"display_name", "x"}, {"owner_id", "0190163d-0000-7000-8000-000000000001"}});
  ASSERT_EQ(bad.status, 422) << bad.text;
  EXPECT_TRUE(has_error(bad, "/owner_id", "UNKNOWN_ID")) << bad.text;
  const json::value body{{"id", "0190163d-0000-7000-8000-000000000002"}, {"display_name", "x"}};
  EXPECT_EQ(op.post("/v1/customers", body).status, 201);
  const auto again = op.post("/v1/customers", {{"id", "0190163d-0000-7000-8000-000000000002"}, {"display_name", "y"}});
  EXPECT_EQ(again.status, 409);
  EXPECT_EQ(again.code(), "ID_TAKEN");
}

TEST_F(Customers, naughty_names_come_back_as_they_were_sent) {
  const std::vector<std::string> names{"𠮷野家 \"太郎\" \\ 'x'",
                                       "Robert'); drop table customer;--",
                                       "<script>alert(1)</script>",
                                       "👨‍👩‍👧 山田",
                                       "a\xE2\x80\x8F"
                                       "b",
                                       "{\"a\":1}",
                                       "$1 %s \\u0000",
                                       "אבג مرحبا",
                                       "葛\xF3\xA0\x84\x80城"};
  for (const auto& name : names) {
    const auto made = make({{"display_name", name}});
    EXPECT_EQ(made.string("/display_name"), name);
    EXPECT_EQ(op.get("/v1/customers/" + made.string("/id")).string("/display_name"), name);
  }
  EXPECT_EQ(op.send("POST", "/v1/customers", R"({"display_name":"a\u0000b"})").status, 422);
  EXPECT_EQ(op.send("POST", "/v1/customers", "{\"display_name\":\"\xff\"}").status, 400);
}

TEST_F(Customers, a_patch_needs_the_version_and_loses_nobodys_update) {
  const auto made = make();
  const auto path = "/v1/customers/" + made.string("/id");
  EXPECT_EQ(op.patch(path, {{"notes", "x"}}).status, 428);
  const auto first = op.patch(path, {{"notes", "一"}, {"birth_date", "1950-04-01"}}, {{"If-Match", "\"1\""}});
  ASSERT_EQ(first.status, 200) << first.text;
  EXPECT_EQ(first.header("ETag"), "\"2\"");
  EXPECT_EQ(first.string("/display_name"), "山田 花子");
  const auto second = op.patch(path, {{"notes", "二"}}, {{"If-Match", "\"1\""}});
  EXPECT_EQ(second.status, 412);
  EXPECT_EQ(second.code(), "VERSION_MISMATCH");
  EXPECT_EQ(second.string("/current_version"), "2");
  const auto cleared = op.patch(path, {{"birth_date", nullptr}}, {{"If-Match", "\"2\""}});
  EXPECT_TRUE(cleared.at("/birth_date").is_null()) << cleared.text;
  EXPECT_EQ(cleared.string("/notes"), "一");
}

TEST_F(Customers, deleting_hides_and_open_work_comes_first) {
  const auto made = make();
  const auto id = made.string("/id");
  server.sql("insert into call_task (id, customer_id, kind, priority, due_at) values (gen_random_uuid(), '" + id +
             "', 'FOLLOW_UP', 1, now())");
  auto boss = server.as("supervisor");
  EXPECT_EQ(op.del("/v1/customers/" + id, {{"If-Match", "\"1\""}}).status, 403);
  EXPECT_EQ(boss.del("/v1/customers/" + id, {{"If-Match", "\"1\""}}).code(), "CUSTOMER_HAS_OPEN_WORK");
  server.sql("update call_task set state = 'CANCELLED'");
  EXPECT_EQ(boss.del("/v1/customers/" + id, {{"If-Match", "\"1\""}}).status, 200);
  EXPECT_EQ(op.get("/v1/customers/" + id).status, 404);
  EXPECT_EQ(boss.del("/v1/customers/" + id, {{"If-Match", "\"2\""}}).status, 404);
  EXPECT_EQ(server.value("select count(*) from customer where deleted_at is not null"), "1");
}

/// A transaction that stays open beside what the server and other connections do.
class Open {
 public:
  explicit Open(const TestServer& server) : db_(shard_, offload_, config(server)), lease_(run(db_.lease())) { run(lease_.begin(limit_)); }
  void sql(const std::string& text) {
    auto done = run(lease_.script(text, limit_));
    if (!done) throw std::runtime_error(done.error().detail);
  }
  void commit() { run(lease_.commit(limit_)); }

 private:
  static pg::Config config(const TestServer& server) {
    pg::Config out;
    out.conninfo = server.fresh().conninfo();
    return out;
  }
  template <class T>
  T run(Task<T> task) {
    return run_task(shard_.context(), std::move(task));
  }
  Deadline limit_ = Deadline::in(Millis(60000));
  Shard shard_{8};
  Offload offload_{1, 8};
  pg::Database db_;
  pg::Lease lease_;
};

/// Until somebody waits for an advisory lock in this database.
void until_one_waits(const TestServer& server) {
  for (int i = 0; i < 2000; ++i) {
    if (server.value("select count(*) from pg_locks l join pg_database d on d.oid = l.database where d.datname = current_database() and "
                     "l.locktype = 'advisory' and not l.granted") != "0")
      return;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  FAIL() << "nobody waits";
}

/// Everything that begins something with a customer, and what stands before it; $ is the customer's id, and that of an inquiry of theirs.
const std::string beginnings[] = {
    "insert into inquiry (id, customer_id, media_source_id, channel) select new_id(), '$', id, 'FILE' from media_source limit 1",
    "insert into call_task (id, customer_id, kind, state, priority, due_at) values (new_id(), '$', 'CALLBACK', 'SCHEDULED', 1, now() + "
    "interval '1 day')",
    "insert into call_task (id, customer_id, kind, state, priority, due_at) values (new_id(), '$', 'CALLBACK', 'READY', 1, now())",
    "insert into call_attempt (id, direction, customer_id, operator_id) select new_id(), 'INBOUND', '$', id from app_user where login = "
    "'operator'",
    "insert into appointment (id, customer_id, inquiry_id, slot_id, appraiser_id, state, starts_at, ends_at, hold_expires_at) select "
    "new_id(), '$', "
    "'$', s.id, a.id, 'HELD', s.starts_at, s.ends_at, 'infinity' from visit_slot s, appraiser a",
};
std::string with_customer(std::string text, const std::string& id) {
  for (std::size_t at = text.find('$'); at != std::string::npos; at = text.find('$', at)) text.replace(at, 1, id);
  return text;
}

struct HiddenCustomers : Customers {
  HiddenCustomers() {
    server.open_all_hours();
    server.sql(
        "insert into media_source (id, code, name) values (new_id(), 'web', 'Web'); insert into service_area (id, name) values (new_id(), "
        "'A');"
        "insert into appraiser (id, display_name) values (new_id(), 'Taro');"
        "insert into appraiser_hours (id, appraiser_id, weekday, from_time, to_time) select new_id(), a.id, d, '00:00', '24:00' from "
        "appraiser "
        "a, generate_series(0, 6) d;"
        "insert into visit_slot (id, service_area_id, starts_at, ends_at, capacity) select new_id(), id, date_trunc('hour', now()) + "
        "interval "
        "'30 hours', date_trunc('hour', now()) + interval '31 hours', 9 from service_area");
  }
  /// A customer with an inquiry of the same id.
  std::string somebody() {
    const auto id = make().string("/id");
    server.sql("insert into inquiry (id, customer_id, media_source_id, channel) select '" + id + "', '" + id +
               "', id, 'FILE' from media_source");
    return id;
  }
};

TEST_F(HiddenCustomers, are_begun_nothing_with) {
  const auto id = somebody();
  ASSERT_EQ(server.as("supervisor").del("/v1/customers/" + id, {{"If-Match", "\"1\""}}).status, 200);
  for (const auto& beginning : beginnings) {
    try {
      server.sql(with_customer(beginning, id));
      ADD_FAILURE() << beginning;
    } catch (const std::runtime_error& e) {
      EXPECT_NE(std::string(e.what()).find("is hidden"), std::string::npos) << beginning << ": " << e.what();
    }
  }
}

TEST_F(HiddenCustomers, and_a_beginning_at_the_same_moment_come_one_after_the_other) {
  auto boss = server.as("supervisor");
  for (const auto& beginning : beginnings) {
    // The beginning is first and commits while somebody hides: what has begun is seen.
    const auto busy = somebody();
    {
      Open first(server);
      first.sql(with_customer(beginning, busy));
      Reply hidden;
      std::thread hides([&] { hidden = boss.del("/v1/customers/" + busy, {{"If-Match", "\"1\""}}); });
      until_one_waits(server);
      first.commit();
      hides.join();
      if (beginning.find("into inquiry") != std::string::npos)
        EXPECT_EQ(hidden.status, 200) << hidden.text;  // a lead without a call to come is hidden with its customer
      else
        EXPECT_EQ(hidden.code(), "CUSTOMER_HAS_OPEN_WORK") << beginning << ": " << hidden.text;
    }
    server.sql(
        "update appointment set state = 'CANCELLED', cancelled_by = 'COMPANY', cancel_reason = 'x' where state = 'HELD'; "
        "update call_attempt set ended_at = now(), outcome = 'ABANDONED' where ended_at is null");
    // Hiding is first: whoever begins waits, and is refused.
    const auto leaving = somebody();
    Open first(server);
    first.sql("select lock_to_hide('" + leaving + "'); update customer set deleted_at = now() where id = '" + leaving + "'");
    std::string said = "nothing";
    std::thread begins([&] {
      try {
        server.sql(with_customer(beginning, leaving));
      } catch (const std::runtime_error& e) {
        said = e.what();
      }
    });
    until_one_waits(server);
    first.commit();
    begins.join();
    EXPECT_NE(said.find("is hidden"), std::string::npos) << beginning << ": " << said;
  }
}

TEST_F(Customers, a_shared_phone_pops_everybody_and_says_who_is_banned) {
  const auto mother = make({{"display_name", "鈴木 母"}, {"phones", {{{"raw", "0312345678"}}}}}).string("/id");
  const auto son = make({{"display_name", "鈴木 子"}, {"phones", {{{"raw", "03-1234-5678"}}, {{"raw", "090-9999-8888"}}}}}).string("/id");
  server.sql("insert into solicitation_ban (id, customer_id, reason, source) values (gen_random_uuid(), '" + mother +
             "', '断られた', 'REFUSED')");
  const auto pop = op.get("/v1/screen-pop?phone=%2B81312345678");
  ASSERT_EQ(pop.status, 200) << pop.text;
  ASSERT_EQ(pop.at("/items").as_array().size(), 2u) << pop.text;
  EXPECT_EQ(pop.string("/items/0/id"), mother);
  EXPECT_EQ(pop.string("/items/0/active_ban/reason"), "断られた");
  EXPECT_EQ(pop.string("/items/0/timeline/0/kind"), "ban");
  EXPECT_EQ(pop.string("/items/1/id"), son);
  EXPECT_EQ(pop.string("/items/1/active_ban/covers"), "phone");
  EXPECT_EQ(pop.at("/items/1/phones").as_array().size(), 2u);
  EXPECT_EQ(op.get("/v1/screen-pop?phone=03-1234-5678").text, pop.text);
  EXPECT_EQ(op.get("/v1/screen-pop?phone=0399999999").at("/items").as_array().size(), 0u);
  EXPECT_EQ(op.get("/v1/screen-pop?phone=anonymous").status, 422);
  EXPECT_EQ(op.get("/v1/screen-pop").status, 422);
  EXPECT_EQ(server.as("marketing").get("/v1/screen-pop?phone=0312345678").status, 403);
}

TEST_F(Customers, the_timeline_goes_on_page_by_page_newest_first) {
  const auto id = make().string("/id");
  server.sql(
      "insert into call_attempt (id, direction, customer_id, operator_id, started_at, ended_at, outcome, memo) select gen_random_uuid(), "
      "'INBOUND', '" +
      id + "', '" + op.user.str() +
      "', now() - i * interval '1 hour', now() - i * interval '1 hour', 'CALLBACK', i::text from generate_series(1, 30) i");
  server.sql("insert into solicitation_ban (id, customer_id, reason, source, banned_at) values (gen_random_uuid(), '" + id +
             "', 'x', 'REQUEST', now() - interval '150 minutes')");
  const auto whole = op.get("/v1/customers/" + id);
  EXPECT_EQ(whole.at("/timeline").as_array().size(), 20u);
  std::vector<std::string> seen;
  std::string cursor;
  for (int pages = 0; pages < 10; ++pages) {
    const auto page = op.get("/v1/customers/" + id + "/timeline?limit=7" + (cursor.empty() ? "" : "&cursor=" + cursor));
    ASSERT_EQ(page.status, 200) << page.text;
    for (const auto& item : page.at("/items").as_array())
      seen.emplace_back(item.at("kind").as_string() == "ban" ? "ban" : item.at("body").as_string().c_str());
    if (page.at("/next_cursor").is_null()) break;
    cursor = page.string("/next_cursor");
  }
  ASSERT_EQ(seen.size(), 31u);
  EXPECT_EQ(seen[0], "1");
  EXPECT_EQ(seen[2], "ban");
  EXPECT_EQ(seen[30], "30");
  EXPECT_EQ(op.get("/v1/customers/0190163d-0000-7000-8000-000000000099/timeline").status, 404);
  EXPECT_EQ(op.get("/v1/customers/" + id + "/timeline?cursor=nonsense").code(), "CURSOR_INVALID");
}

TEST_F(Customers, lists_find_by_phone_suffix_name_kana_and_email_one_page_after_the_other) {
  for (int i = 0; i < 5; ++i)
    make({{"display_name", "渡邊 " + std::to_string(i)},
          {"kana", "ワタナベ " + std::to_string(i)},
          {"phones", {{{"raw", "090-0000-43" + std::to_string(10 + i)}}, {{"raw", "03-0000-4321"}}}},
          {"emails", {{{"email", "same@example.jp"}}}}});
  make({{"display_name", "ワタナベ"}, {"kana", "ワタナベ"}});
  const auto count = [&](const std::string& query) {
    std::size_t n = 0;
    std::string cursor;
    for (int pages = 0; pages < 20; ++pages) {
      const auto page = op.get("/v1/customers?limit=2&" + query + (cursor.empty() ? "" : "&cursor=" + cursor));
      EXPECT_EQ(page.status, 200) << page.text;
      if (page.status != 200) return n;
      n += page.at("/items").as_array().size();
      if (page.at("/next_cursor").is_null()) return n;
      cursor = page.string("/next_cursor");
    }
    return n;
  };
  EXPECT_EQ(count("name=%E6%B8%A1%E8%BE%BA"), 5u);           // 渡辺 finds 渡邊
  EXPECT_EQ(count("name=%E3%82%8F%E3%81%9F%E3%81%AA"), 6u);  // わたな finds kana of both kinds, each once
  EXPECT_EQ(count("phone=4321"), 5u);
  EXPECT_EQ(count("phone=0300004321"), 5u);
  EXPECT_EQ(count("phone=4312"), 1u);
  make({{"display_name", "二台"}, {"phones", {{{"raw", "090-1234-7777"}}, {{"raw", "03-1234-7777"}}}}});
  EXPECT_EQ(count("phone=7777"), 1u);  // both numbers fit, one customer
  EXPECT_EQ(count("email=SAME@example.jp"), 5u);
  EXPECT_EQ(count("name=zzz"), 0u);
  EXPECT_EQ(op.get("/v1/customers?phone=321").status, 422);
  EXPECT_EQ(op.get("/v1/customers?phone=4321&name=a").status, 422);
}

TEST_F(Customers, custom_fields_say_what_is_wrong_with_a_pointer) {
  auto admin = server.as("admin");
  ASSERT_EQ(admin
                .post("/v1/custom-fields",
                      {{"entity", "customer"}, {"key", "pets"}, {"label_ja", "ペット"}, {"label_en", "Pets"}, {"kind", "INTEGER"}})
                .status,
            201);
  const auto bad = op.post("/v1/customers", {{"display_name", "x"}, {"custom", {{"pets", "two"}, {"car", true}}}});
  ASSERT_EQ(bad.status, 422) << bad.text;
  EXPECT_EQ(bad.code(), "VALIDATION_FAILED");
  EXPECT_TRUE(has_error(bad, "/custom/pets", "TYPE")) << bad.text;
  EXPECT_TRUE(has_error(bad, "/custom/car", "UNKNOWN_FIELD")) << bad.text;
  const auto made = make({{"display_name", "x"}, {"custom", {{"pets", 2}}}});
  EXPECT_EQ(made.string("/custom/pets"), "2");
  const auto gone = op.patch("/v1/customers/" + made.string("/id"), {{"custom", {{"pets", nullptr}}}}, {{"If-Match", "\"1\""}});
  EXPECT_TRUE(gone.at("/custom").as_object().empty()) << gone.text;
}

TEST_F(Customers, custom_dates_are_days_that_exist) {
  auto admin = server.as("admin");
  ASSERT_EQ(admin
                .post("/v1/custom-fields",
                      {{"entity", "customer"}, {"key", "moved_in"}, {"label_ja", "入居日"}, {"label_en", "Moved in"}, {"kind", "DATE"}})
                .status,
            201);
  for (const char* day : {"2025-02-29", "2025-04-31", "0000-01-01", "2025-13-01", "2025-1-1", "2025-02-30T00:00"})
    EXPECT_TRUE(has_error(op.post("/v1/customers", {{"display_name", "x"}, {"custom", {{"moved_in", day}}}}), "/custom/moved_in", "TYPE"))
        << day;
  for (const char* day : {"2024-02-29", "2000-02-29", "2025-12-31", "0001-01-01"})
    EXPECT_EQ(make({{"display_name", "x"}, {"custom", {{"moved_in", day}}}}).string("/custom/moved_in"), day);
}

TEST_F(Customers, children_are_added_changed_and_hidden_with_versions_of_their_own) {
  const auto id = make().string("/id");
  const auto added = op.post("/v1/customers/" + id + "/phones", {{"raw", "090-1111-2222、03-1234-5678 内線12"}});
  ASSERT_EQ(added.status, 201) << added.text;
  ASSERT_EQ(added.at("/items").as_array().size(), 2u);
  EXPECT_EQ(added.string("/items/1/extension"), "12");
  const auto phone = "/v1/customer-phones/" + added.string("/items/0/id");
  EXPECT_EQ(op.patch(phone, {{"raw", "090-1/03-1234-5678"}}, {{"If-Match", "\"1\""}}).status, 422);
  const auto changed = op.patch(phone, {{"raw", "080-3333-4444"}}, {{"If-Match", "\"1\""}});
  ASSERT_EQ(changed.status, 200) << changed.text;
  EXPECT_EQ(changed.string("/e164"), "+818033334444");
  EXPECT_EQ(op.patch(phone, {{"note", "x"}}, {{"If-Match", "\"1\""}}).status, 412);
  EXPECT_EQ(op.del(phone, {{"If-Match", "\"2\""}}).status, 200);
  EXPECT_EQ(op.get("/v1/customers/" + id).at("/phones").as_array().size(), 1u);

  const auto address = op.post("/v1/customers/" + id + "/addresses", {{"postal_code", "1500001"}, {"town", "神宮前"}, {"street", "1-2"}});
  ASSERT_EQ(address.status, 201) << address.text;
  const auto moved = op.patch("/v1/customer-addresses/" + address.string("/id"), {{"postal_code", nullptr}, {"street", "9"}},
                              {{"If-Match", address.header("ETag")}});
  EXPECT_TRUE(moved.at("/postal_code").is_null()) << moved.text;
  EXPECT_EQ(moved.string("/town"), "神宮前");
  const auto email = op.post("/v1/customers/" + id + "/emails", {{"email", "a@example.jp"}});
  ASSERT_EQ(email.status, 201) << email.text;
  EXPECT_EQ(op.del("/v1/customer-emails/" + email.string("/id"), {{"If-Match", "\"1\""}}).status, 200);
  EXPECT_EQ(op.post("/v1/customers/0190163d-0000-7000-8000-000000000099/emails", {{"email", "a@example.jp"}}).status, 404);
}

TEST_F(Customers, a_repeated_key_makes_one_customer) {
  const json::value body{{"display_name", "一度"}};
  const auto first = op.post("/v1/customers", body, {{"Idempotency-Key", "k1"}});
  const auto again = op.post("/v1/customers", body, {{"Idempotency-Key", "k1"}});
  EXPECT_EQ(again.status, 201);
  EXPECT_EQ(again.string("/id"), first.string("/id"));
  EXPECT_EQ(server.value("select count(*) from customer"), "1");
}

TEST_F(Customers, an_appraiser_sees_only_who_is_theirs) {
  const auto id = make().string("/id");
  auto appraiser = server.as("appraiser");
  EXPECT_EQ(appraiser.get("/v1/customers/" + id).status, 404);
  server.sql("update customer set owner_id = '" + appraiser.user.str() + "'");
  EXPECT_EQ(appraiser.get("/v1/customers/" + id).status, 200);
  EXPECT_EQ(appraiser.get("/v1/customers").at("/items").as_array().size(), 1u);
}

TEST_F(Customers, views_of_personal_data_are_noted) {
  const auto id = make({{"display_name", "見られた"}, {"phones", {{{"raw", "0312345678"}}}}}).string("/id");
  op.get("/v1/customers/" + id);
  op.get("/v1/screen-pop?phone=0312345678");
  server.stop();
  EXPECT_EQ(server.value("select string_agg(operation, ',' order by operation) from personal_data_view where entity_id = '" + id + "'"),
            "get_customer,screen_pop");
}

TEST_F(Customers, the_past_is_shown_as_it_was_to_who_may_see_it) {
  const auto id = make({{"display_name", "旧姓"}, {"phones", {{{"raw", "0312345678"}}}}}).string("/id");
  const auto before = server.value("select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')");
  ASSERT_EQ(op.patch("/v1/customers/" + id, {{"display_name", "新姓"}}, {{"If-Match", "\"1\""}}).status, 200);
  ASSERT_EQ(op.post("/v1/customers/" + id + "/phones", {{"raw", "090-1111-2222"}}).status, 201);
  auto boss = server.as("compliance");
  const auto then = boss.get("/v1/customers/" + id + "?as_of=" + before);
  ASSERT_EQ(then.status, 200) << then.text;
  EXPECT_EQ(then.string("/display_name"), "旧姓");
  EXPECT_EQ(then.at("/phones").as_array().size(), 1u);
  const auto now = boss.get("/v1/customers/" + id + "?as_of=2999-01-01T00:00:00Z");
  EXPECT_EQ(now.string("/display_name"), "新姓");
  EXPECT_EQ(now.at("/phones").as_array().size(), 2u);
  EXPECT_EQ(boss.get("/v1/customers/" + id + "?as_of=2000-01-01T00:00:00Z").status, 404);
  EXPECT_EQ(op.get("/v1/customers/" + id + "?as_of=" + before).status, 403);
  EXPECT_EQ(server.as("supervisor").get("/v1/customers/" + id + "?as_of=" + before).status, 200);   // Sales contains East
  EXPECT_EQ(server.as("supervisor3").get("/v1/customers/" + id + "?as_of=" + before).status, 404);  // West does not
}

TEST(PostalTowns, are_loaded_once_and_all_candidates_are_offered) {
  TestServer server{{customers::mount}};
  Shard shard(0);
  Offload offload(1, 8);
  pg::Config config;
  config.conninfo = server.fresh().conninfo();
  config.role = "enishi_app";
  pg::Database db(shard, offload, config);
  const auto load = [&] { return run_task(shard.context(), load_postal_towns(db)); };
  const auto first = load();
  ASSERT_TRUE(first) << first.error().detail;
  EXPECT_GT(*first, 100000);
  server.sql("delete from postal_town where postal_code = '1500001'");
  const auto again = load();
  ASSERT_TRUE(again) << again.error().detail;
  EXPECT_EQ(*again, 1);
  EXPECT_EQ(*load(), 0);
  auto op = server.as("operator");
  EXPECT_EQ(op.get("/v1/postal-codes/150-0001").string("/items/0/city"), "渋谷区");
  EXPECT_GT(op.get("/v1/postal-codes/4980000").at("/items").as_array().size(), 1u);
  EXPECT_EQ(op.get("/v1/postal-codes/12").status, 422);
}

}  // namespace
}  // namespace enishi::crm::customers

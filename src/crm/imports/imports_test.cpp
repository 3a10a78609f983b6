#include <fmt/format.h>
#include <gtest/gtest.h>

#include <thread>

#include "auth/testing.hpp"
#include "crm/csv/encoding.hpp"
#include "crm/imports/routes.hpp"
#include "crm/imports/runner.hpp"

namespace enishi::crm::imports {
namespace {

using auth::testing::Client;
using auth::testing::Reply;

constexpr const char* media = "01900000-0000-7000-8000-0000000000a1";
constexpr const char* other_media = "01900000-0000-7000-8000-0000000000a2";

/// A server, and a process beside it that runs imports when it is told to.
struct Stage {
  explicit Stage(unsigned shards = 1)
      : server({[](http::Router& router, auth::Gatekeeper& gate) { mount(router, gate); }}, auth::testing::TestServer::quick(), shards),
        db(shard, offload, config()) {
    server.sql(
        fmt::format("insert into media_source (id, code, name) values ('{}', 'web', 'Web'), ('{}', 'list', 'List')", media, other_media));
  }
  pg::Config config() const {
    pg::Config out;
    out.conninfo = server.fresh().conninfo() + " user=enishi_app";
    return out;
  }
  bool run(RunnerOptions options = {}, std::size_t most_chunks = SIZE_MAX) {
    Runner runner(db, offload, options);
    return run_task(shard.context(), runner.run_next(most_chunks));
  }
  Reply upload(Client& who, std::string bytes, const std::string& more = "", const char* source = media) {
    return who.send("POST", fmt::format("/v1/imports?media_source_id={}{}", source, more), std::move(bytes),
                    {{"Content-Type", "text/csv"}});
  }
  /// Uploads, starts with the suggested mapping and runs to the end; the import.
  Reply bring(Client& who, std::string bytes, const std::string& more = "", const char* source = media, RunnerOptions options = {}) {
    auto made = upload(who, std::move(bytes), more, source);
    EXPECT_EQ(made.status, 201) << made.text;
    const auto path = "/v1/imports/" + made.string("/id");
    auto started = who.post(path + "/start");
    EXPECT_EQ(started.status, 202) << started.text;
    EXPECT_TRUE(run(options));
    return who.get(path);
  }
  void lease_is_over() {
    server.sql("update import_job set lease_expires_at = now() - interval '1 second' where lease_expires_at is not null");
  }

  auth::testing::TestServer server;
  Shard shard{9};
  Offload offload{2, 64};
  pg::Database db;
};

std::string counts(const Reply& import) {
  return fmt::format("{} {} = {} + {} + {} + {}", import.string("/state"), import.string("/rows_in"), import.string("/created"),
                     import.string("/updated"), import.string("/skipped"), import.string("/rejected"));
}

std::string cp932(std::string_view utf8) {
  std::string out;
  csv::utf8_to_cp932(utf8, out, [](std::string_view bad) { ADD_FAILURE() << "CP932 has no " << bad; });
  return out;
}

/// `n` leads; every 100th row has no name, every 100th + 1 a phone that is none, every 100th + 3 repeats the row before.
std::string leads(int n) {
  std::string out = "受付日時,氏名,フリガナ,電話番号,郵便番号,住所,メール,商材,備考\r\n";
  for (int i = 0; i < n; ++i) {
    const int same = i % 100 == 2 ? i + 1 : i;
    const bool shown = i % 100 != 0, dialled = i % 100 != 1;
    out += fmt::format(
        "2026/10/{:02} 10:{:02},{},ヤマダ ハナコ,{},150-0001,東京都渋谷区神宮前1-{},c{}@example.jp,{},\"一行目\n二行目\"\r\n",
        same % 28 + 1, same % 60, shown ? fmt::format("山田 花子{}", same) : "",
        dialled ? fmt::format("090-{:04}-{:04}", 1000 + same / 10000, same % 10000) : "12", same, same, i % 2 == 0 ? "着物" : "時計、切手");
  }
  return out;
}

TEST(imports, an_upload_tells_what_is_in_the_file_and_a_second_one_of_the_same_file_is_the_first) {
  Stage stage;
  auto mk = stage.server.as("marketing");
  const std::string file = "電話番号,氏名,商材\n090-1234-5678,山田 花子,着物\n\n090-1234-5679,\"鈴木\n一郎\",時計\n";
  auto made = stage.upload(mk, cp932(file), "&file_name=leads.csv");
  ASSERT_EQ(made.status, 201) << made.text;
  EXPECT_EQ(made.string("/encoding"), "CP932");
  EXPECT_EQ(made.string("/columns"), R"(["電話番号","氏名","商材"])");
  EXPECT_EQ(made.string("/preview/1/1"), "鈴木\n一郎");
  EXPECT_EQ(made.string("/rows_in") + " " + made.string("/blank_lines"), "2 1");
  EXPECT_EQ(made.string("/suggested_mapping"),
            R"([{"field":"phone","column":1},{"field":"display_name","column":2},{"field":"item_category","column":3}])");
  EXPECT_EQ(made.header("Location"), "/v1/imports/" + made.string("/id"));
  auto same = stage.upload(mk, cp932(file));
  EXPECT_EQ(same.status, 200);
  EXPECT_EQ(same.string("/id"), made.string("/id"));
  EXPECT_EQ(stage.upload(mk, cp932(file), "", other_media).status, 201);
  auto again = stage.upload(mk, cp932(file), "&again=true");
  EXPECT_EQ(again.status, 201);
  EXPECT_NE(again.string("/id"), made.string("/id"));
  EXPECT_EQ(mk.get("/v1/imports?limit=2").at("/items").as_array().size(), 2U);
}

TEST(imports, the_same_file_by_two_at_the_same_moment_is_one_import) {
  Stage stage(2);
  for (int round = 0; round < 10; ++round) {
    const auto file = "電話番号,氏名\n090-1234-" + std::to_string(5000 + round) + ",山田 花子\n";
    std::vector<Reply> replies(4);
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < replies.size(); ++t)
      threads.emplace_back([&, t] {
        auto mk = stage.server.as("marketing");
        replies[t] = stage.upload(mk, file);
      });
    for (auto& t : threads) t.join();
    int made = 0;
    for (const auto& reply : replies) {
      ASSERT_EQ(reply.status / 100, 2) << reply.text;
      made += reply.status == 201;
      EXPECT_EQ(reply.string("/id"), replies[0].string("/id"));
    }
    EXPECT_EQ(made, 1);
  }
  EXPECT_EQ(stage.server.value("select count(*) from import_job"), "10");
}

TEST(imports, files_and_mappings_that_cannot_be_are_refused_with_every_mistake) {
  Stage stage;
  auto mk = stage.server.as("marketing");
  EXPECT_EQ(stage.upload(mk, "氏名\n山田\n", "", "01900000-0000-7000-8000-0000000000ff").string("/errors/0/pointer"), "?media_source_id");
  EXPECT_EQ(stage.upload(mk, "").code(), "FILE_EMPTY");
  EXPECT_EQ(stage.upload(mk, "\n\n").code(), "FILE_EMPTY");
  EXPECT_EQ(stage.upload(mk, std::string("\xff\xfe\x0d\x6c", 4)).code(), "CSV_ENCODING_UNSUPPORTED");
  EXPECT_EQ(stage.upload(mk, "\"open\n").code(), "HEADER_UNREADABLE");
  EXPECT_EQ(mk.post("/v1/imports?media_source_id=" + std::string(media)).status, 415);
  auto made = stage.upload(mk, "a,a,b\n1,2,3\n");
  const auto start = "/v1/imports/" + made.string("/id") + "/start";
  EXPECT_EQ(
      mk.post(start).string("/errors"),
      R"([{"pointer":"/mapping","code":"REQUIRED","detail":"display_name needs a column"},{"pointer":"/mapping","code":"REQUIRED","detail":"phone needs a column"}])");
  auto bad = mk.post(
      start,
      boost::json::parse(
          R"({"mapping":[{"column":"a","field":"display_name"},{"column":9,"field":"phone"},{"column":"c","field":"nothing"},{"column":3,"field":"custom.none"},
      {"column":3,"field":"postal_code"},{"column":1,"field":"postal_code"}]})"));
  EXPECT_EQ(bad.status, 422);
  std::string seen;
  for (const auto& e : bad.at("/errors").as_array())
    seen += std::string(e.at("pointer").as_string()) + " " + std::string(e.at("code").as_string()) + "\n";
  EXPECT_EQ(seen,
            "/mapping/0/column AMBIGUOUS_COLUMN\n/mapping/1/column UNKNOWN_COLUMN\n/mapping/2/column UNKNOWN_COLUMN\n/mapping/2/field "
            "UNKNOWN_FIELD\n"
            "/mapping/3/field UNKNOWN_FIELD\n/mapping/4/column COLUMN_TWICE\n/mapping/5/field FIELD_TWICE\n");
  EXPECT_EQ(mk.post(start, boost::json::parse(R"({"mapping":[{"column":true}]})")).at("/errors").as_array().size(), 2U);
  auto good = mk.post(start, boost::json::parse(R"({"mapping":[{"column":1,"field":"display_name"},{"column":"b","field":"phone"}]})"));
  EXPECT_EQ(good.status, 202) << good.text;
  auto twice = mk.post(start, boost::json::parse(R"({"mapping":[{"column":1,"field":"display_name"},{"column":"b","field":"phone"}]})"));
  EXPECT_EQ(twice.code(), "ILLEGAL_TRANSITION");
  EXPECT_EQ(twice.string("/current_state"), "RUNNING");
}

TEST(imports, ten_thousand_rows_are_accounted_for_and_what_they_made_is_in_history_under_the_import) {
  Stage stage;
  auto mk = stage.server.as("marketing");
  const auto began = steady_now();
  auto done = stage.bring(mk, cp932(leads(10000)), "&file_name=big.csv");
  const auto seconds = std::chrono::duration<double>(steady_now() - began).count();
  RecordProperty("rows_per_second", static_cast<int>(10000 / seconds));
  fmt::print("imports: {:.0f} rows a second\n", 10000 / seconds);
  // 100 rows without a name, 100 with a bad phone, and the fourth row of each hundred is the third one once more.
  EXPECT_EQ(counts(done), "DONE 10000 = 9700 + 0 + 100 + 200");
  EXPECT_EQ(done.string("/encoding"), "CP932");
  const auto id = done.string("/id");
  EXPECT_EQ(stage.server.value("select count(*) || ' ' || min(row_number) || ' ' || max(row_number) from import_row"), "10000 1 10000");
  EXPECT_EQ(stage.server.value("select count(*) from customer") + " " +
                stage.server.value("select count(*) from inquiry where channel = 'FILE'") + " " +
                stage.server.value("select count(*) from call_task where kind = 'FIRST_CALL' and state = 'READY'"),
            "9700 9700 9700");
  EXPECT_EQ(stage.server.value("select count(*) from inquiry_item"), "14500");
  EXPECT_EQ(stage.server.value(fmt::format(
                "select count(distinct row_id) || ' ' || count(*) filter (where actor <> 'user:{}') from history where request_id = '{}'",
                mk.user.str(), id)),
            stage.server.value(
                "select (select count(*) from customer) + (select count(*) from customer_phone) + (select count(*) from customer_address) "
                "+ (select count(*) from customer_email) + "
                "(select count(*) from inquiry) + (select count(*) from inquiry_item) + (select count(*) from call_task) || ' 0'"));
  EXPECT_EQ(stage.server.value("select content is null and preview = '[]' from import_job"), "t");
  // Lines are those of the file: a row has two of them.
  EXPECT_EQ(stage.server.value(
                "select string_agg(line || ':' || code, ' ' order by row_number) from import_row where row_number in (1, 2, 4, 102)"),
            "2:NAME_MISSING 4:PHONE_INVALID 8:DUPLICATE_ROW 204:PHONE_INVALID");
  // The same rows in another file, other columns first, as UTF-8: all are there.
  auto again = stage.bring(mk, "\xef\xbb\xbf" + leads(10000), "&file_name=big2.csv");
  EXPECT_EQ(counts(again), "DONE 10000 = 0 + 0 + 9800 + 200");
  EXPECT_EQ(stage.server.value("select count(*) from customer"), "9700");
}

TEST(imports, duplicates_inside_a_chunk_are_treated_as_across_chunks) {
  const std::string file =
      "氏名,電話番号,フリガナ,生年月日,受付日時,媒体ID,メール\n"
      "山田 花子,090-1111-1111,,,2026/10/01 10:00,r1,\n"
      "山田花子,090-1111-1111 / 03-1111-1111,ヤマダ,1950/4/1,2026/10/02 10:00,r2,a@example.jp\n"  // the same person: fills
      "山田　花子,03-1111-1111,チガウ,,2026/10/03 10:00,r3,A@EXAMPLE.jp\n"                        // by the phone the second row brought
      "山田 太郎,090-1111-1111,,,2026/10/01 10:00,r4,\n"                                          // same phone, another name
      "髙橋 一郎,090-2222-2222,,,2026/10/01 10:00,,\n"
      "高橋一郎,09022222222,,,2026-10-01 23:59,,\n"       // the same row in other letters
      "高橋一郎,09022222222,,,2026-10-02 00:00,,\n"       // another day
      "鈴木 次郎,090-3333-3333,,,2026/10/05 10:00,r1,\n"  // a reference that was seen
      ",,,,,,\n";
  std::string results[2], people[2];
  for (const std::size_t chunk : {1, 400}) {
    Stage stage;
    auto mk = stage.server.as("marketing");
    RunnerOptions options;
    options.chunk = chunk;
    auto done = stage.bring(mk, file, "", media, options);
    EXPECT_EQ(counts(done), "DONE 9 = 3 + 3 + 3 + 0");
    auto& result = results[chunk == 1 ? 0 : 1];
    result = stage.server.value(
        "select string_agg(r.row_number || r.result || coalesce(r.code, ''), ' ' order by r.row_number) from import_row r");
    people[chunk == 1 ? 0 : 1] = stage.server.value(
        "select string_agg(c.display_name || '|' || c.kana || '|' || coalesce(c.birth_date::text, '') || '|' || (select string_agg(p.e164, "
        "',' order by p.position) from customer_phone p where p.customer_id = c.id)"
        " || '|' || coalesce((select string_agg(e.email, ',') from customer_email e where e.customer_id = c.id), '') || '|' || (select "
        "count(*) from inquiry i where i.customer_id = c.id), ' ' order by c.id) from customer c");
  }
  EXPECT_EQ(results[0],
            "1CREATED 2UPDATED 3UPDATED 4CREATED 5CREATED 6SKIPPEDDUPLICATE_ROW 7UPDATED 8SKIPPEDDUPLICATE_REF 9SKIPPEDROW_EMPTY");
  EXPECT_EQ(results[1], results[0]);
  EXPECT_EQ(
      people[0],
      "山田 花子|ヤマダ|1950-04-01|+819011111111,+81311111111|a@example.jp|3 山田 太郎|||+819011111111||1 髙橋 一郎|||+819022222222||2");
  EXPECT_EQ(people[1], people[0]);
}

TEST(imports, a_run_that_is_cut_short_goes_on_at_the_next_row_and_no_row_is_done_twice) {
  Stage stage;
  auto mk = stage.server.as("marketing");
  auto made = stage.upload(mk, leads(1000));
  const auto path = "/v1/imports/" + made.string("/id");
  mk.post(path + "/start");
  RunnerOptions options;
  options.chunk = 150;
  ASSERT_TRUE(stage.run(options, 3));  // and gone, as by kill -9
  auto half = mk.get(path);
  EXPECT_EQ(half.string("/state") + " " + half.string("/rows_done"), "RUNNING 450");
  EXPECT_GT(half.at("/seconds_left").to_number<double>(), 0.0);
  EXPECT_FALSE(stage.run(options)) << "somebody may still be at it";
  stage.lease_is_over();
  EXPECT_TRUE(stage.run(options));
  EXPECT_EQ(counts(mk.get(path)), "DONE 1000 = 970 + 0 + 10 + 20");
  EXPECT_EQ(stage.server.value("select count(*) from customer") + " " + stage.server.value("select count(*) from import_row"), "970 1000");
}

TEST(imports, two_processes_that_both_think_it_is_theirs_do_each_row_once) {
  Stage stage;
  auto mk = stage.server.as("marketing");
  auto made = stage.upload(mk, leads(600));
  const auto path = "/v1/imports/" + made.string("/id");
  mk.post(path + "/start");
  RunnerOptions options;
  options.chunk = 20;
  options.lease = Millis(0);  // over at once: the second one takes it from the first
  Runner one(stage.db, stage.offload, options), two(stage.db, stage.offload, options);
  const auto drive = [](Runner& runner, int& running) -> Task<> {
    while (co_await runner.run_next()) {
    }
    --running;
  };
  int running = 2;
  asio::co_spawn(stage.shard.context(), drive(one, running), asio::detached);
  asio::co_spawn(stage.shard.context(), drive(two, running), asio::detached);
  while (running > 0 && stage.shard.context().run_one() > 0) {
  }
  EXPECT_EQ(counts(mk.get(path)), "DONE 600 = 582 + 0 + 6 + 12");
  EXPECT_EQ(stage.server.value("select count(*) from customer") + " " + stage.server.value("select count(*) from inquiry"), "582 582");
}

TEST(imports, a_row_that_the_database_refuses_does_not_take_its_chunk_along) {
  Stage stage;
  auto mk = stage.server.as("marketing");
  stage.server.sql(
      "create function no_elephants() returns trigger language plpgsql as $$ begin if new.display_name like '%象%' then perform "
      "public.refuse('422', 'NO_ELEPHANTS', 'No elephants.'); end if; return new; end $$;"
      "create trigger c_elephants before insert on customer for each row execute function no_elephants()");
  std::string file = "name,phone\n";
  for (int i = 0; i < 50; ++i) file += fmt::format("{}{},090-1234-{:04}\n", i == 17 || i == 49 ? "象" : "山田", i, i);
  auto done = stage.bring(mk, file);
  EXPECT_EQ(counts(done), "DONE 50 = 48 + 0 + 0 + 2");
  auto rejects = mk.get("/v1/imports/" + done.string("/id") + "/rejects");
  EXPECT_EQ(rejects.string("/items/0/code") + rejects.string("/items/0/line") + rejects.string("/items/0/fields"),
            R"(NO_ELEPHANTS19["象17","090-1234-0017"])");
}

TEST(imports, whom_a_ban_covers_is_stored_and_not_called) {
  Stage stage;
  auto mk = stage.server.as("marketing");
  stage.bring(mk, "name,phone,received_at\n山田,090-1111-1111,2026/10/01\n");
  stage.server.sql(
      fmt::format("insert into solicitation_ban (id, customer_id, reason, source, banned_at) select '{}', id, 'no', 'REFUSED', "
                  "'2026-10-02' from customer",
                  Uuid::make().str()));
  auto done = stage.bring(mk, "name,phone,received_at\n山田,090-1111-1111,2026/10/20\n鈴木,090-1111-1111,2026/10/20\n");
  EXPECT_EQ(counts(done), "DONE 2 = 1 + 1 + 0 + 0");
  EXPECT_EQ(stage.server.value("select string_agg(state || coalesce(blocked_reason, ''), ' ') from call_task"),
            "BLOCKEDRESOLICITATION_BANNED BLOCKEDRESOLICITATION_BANNED BLOCKEDRESOLICITATION_BANNED");
  EXPECT_EQ(stage.server.value("select count(*) from solicitation_ban where lifted_at is null"), "1");
}

TEST(imports, only_one_certain_match_is_joined_and_only_what_is_empty_is_filled) {
  Stage stage;
  auto mk = stage.server.as("marketing");
  stage.bring(mk, "name,phone,kana,birthday,received_at\n山田,090-1111-1111,ヤマダ,,2026/10/01\n鈴木,090-2222-2222,,,2026/10/01\n");
  // Twice the same person on record: nobody knows which one it is.
  stage.server.sql(
      "insert into customer (id, display_name, name_key) select new_id(), display_name, name_key from customer where display_name = '鈴木';"
      "insert into customer_phone (id, customer_id, raw, e164) select new_id(), id, 'x', '+819022222222' from customer order by id desc "
      "limit 1");
  const auto before = stage.server.value("select sum(version) from customer");
  auto done = stage.bring(
      mk, "name,phone,kana,birthday,received_at\n山田,090-1111-1111,ベツ,1950/4/1,2026/10/02\n鈴木,090-2222-2222,,,2026/10/02\n");
  EXPECT_EQ(counts(done), "DONE 2 = 1 + 1 + 0 + 0");
  EXPECT_EQ(stage.server.value("select kana || birth_date || version from customer where display_name = '山田'"), "ヤマダ1950-04-012");
  EXPECT_EQ(stage.server.value("select count(*) from customer where display_name = '鈴木'"), "3");
  EXPECT_EQ(before, "3");
}

TEST(imports, broken_bytes_half_files_and_naughty_strings_are_accounted_for) {
  Stage stage;
  auto mk = stage.server.as("marketing");
  std::string file = "氏名,電話番号,備考\n";
  const std::vector<std::string> naughty{"'; drop table customer; --",
                                         "<script>alert(1)</script>",
                                         "{\"a\":1}",
                                         "\\u0000",
                                         "‮evil",
                                         "👩‍👩‍👧‍👦",
                                         "Ω≈ç√∫˜µ≤≥÷",
                                         "null",
                                         "\\x00",
                                         "$1",
                                         "{},{}",
                                         "zalgo̷̢̧"};
  int phone = 0;
  for (const auto& text : naughty) {
    std::string quoted;
    for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
    file += fmt::format("\"山田{}\",090-1234-{:04},\"{}\"\n", quoted, phone++, quoted);
  }
  file += "山田\xff\xfe,090-1234-9999,x\n";           // no UTF-8
  file += "山田,090-1234-9998,\"x\"y\n";              // text behind a quote
  file += "山田,090-1234-9997\n";                     // a field too few
  file += "山田,090-1234-5678 090-1234-5679 12,x\n";  // phones that are not
  file += "山田,090-1234-9996,\"cut off";             // the end is missing
  auto done = stage.bring(mk, file, "&encoding=UTF-8");
  EXPECT_EQ(counts(done), fmt::format("DONE {} = {} + 0 + 0 + 5", naughty.size() + 5, naughty.size()));
  const auto path = "/v1/imports/" + done.string("/id");
  EXPECT_EQ(stage.server.value("select string_agg(code, ' ' order by row_number) from import_row where result = 'REJECTED'"),
            "CSV_UNDECODABLE CSV_QUOTE FIELD_COUNT PHONE_AMBIGUOUS CSV_UNCLOSED_QUOTE");
  EXPECT_EQ(stage.server.value("select count(*) from customer where display_name = '山田''; drop table customer; --' and exists (select "
                               "from inquiry i where i.customer_id = customer.id and i.notes = '''; drop table customer; --')"),
            "1");
  auto first = mk.get(path + "/rejects?limit=2");
  EXPECT_EQ(first.string("/items/0/line"), std::to_string(naughty.size() + 2));
  auto next = mk.get(path + "/rejects?limit=10&cursor=" + first.string("/next_cursor"));
  EXPECT_EQ(next.at("/items").as_array().size(), 3U);
  EXPECT_TRUE(next.at("/next_cursor").is_null());
}

TEST(imports, rejected_rows_are_downloaded_corrected_and_brought_back) {
  Stage stage;
  auto mk = stage.server.as("marketing");
  auto done = stage.bring(mk, cp932("お名前,電話番号,商材,備考\n山田,090-1111-1111,宇宙船,=1+1\n鈴木,090-2222-2222,着物,\n"));
  EXPECT_EQ(counts(done), "DONE 2 = 1 + 0 + 0 + 1");
  auto download = mk.get("/v1/imports/" + done.string("/id") + "/rejects.csv");
  EXPECT_EQ(download.status, 200);
  EXPECT_TRUE(download.header("Content-Type").starts_with("text/csv"));
  EXPECT_EQ(download.text,
            "\xef\xbb\xbfお名前,電話番号,商材,備考,行,エラー,理由\r\n山田,090-1111-1111,宇宙船,'=1+1,2,CATEGORY_UNKNOWN,\"There is no item "
            "category 「宇宙船」; write the code or the name of one that is in use.\"\r\n");
  auto corrected = download.text;
  corrected.replace(corrected.find("宇宙船"), std::string("宇宙船").size(), "Watches");
  auto back = stage.bring(mk, corrected);
  EXPECT_EQ(counts(back), "DONE 1 = 1 + 0 + 0 + 0");
  EXPECT_EQ(stage.server.value("select notes from inquiry where notes <> ''"), "=1+1");
}

TEST(imports, custom_fields_and_the_mapping_decide_what_is_stored) {
  Stage stage;
  auto mk = stage.server.as("marketing");
  stage.server.sql(
      "insert into custom_field (id, entity, key, label_ja, label_en, kind, choices, required) values (new_id(), 'customer', 'member', "
      "'会員', 'Member', 'BOOLEAN', '{}', true), (new_id(), 'inquiry', 'rank', 'ランク', 'Rank', 'CHOICE', '{A,B}', false)");
  auto made = stage.upload(mk, "n;t;m;r\n山田;090-1111-1111;はい;A\n鈴木;090-2222-2222;;B\n佐藤;090-3333-3333;はい;C\n");
  EXPECT_EQ(made.string("/delimiter"), ";");
  const auto path = "/v1/imports/" + made.string("/id");
  auto started = mk.post(
      path + "/start",
      boost::json::parse(
          R"({"customer_initiated":false,"mapping":[{"column":"n","field":"display_name"},{"column":"t","field":"phone"},{"column":"m","field":"custom.member"},{"column":4,"field":"inquiry.custom.rank"}]})"));
  EXPECT_EQ(started.status, 202) << started.text;
  ASSERT_TRUE(stage.run());
  EXPECT_EQ(counts(mk.get(path)), "DONE 3 = 1 + 0 + 0 + 2");
  EXPECT_EQ(stage.server.value(
                "select c.custom::text || i.custom || i.customer_initiated from customer c join inquiry i on i.customer_id = c.id"),
            R"({"member": true}{"rank": "A"}false)");
  EXPECT_EQ(stage.server.value("select string_agg(code, ' ' order by row_number) from import_row where code is not null"),
            "CUSTOM_FIELD_MISSING CUSTOM_FIELD_INVALID");
}

TEST(imports, a_gate_that_is_shut_makes_them_wait_and_loses_nothing) {
  Stage stage;
  auto mk = stage.server.as("marketing");
  auto made = stage.upload(mk, "name,phone\n山田,090-1111-1111\n");
  const auto path = "/v1/imports/" + made.string("/id");
  mk.post(path + "/start");
  stage.server.sql("update domain_ownership set state = 'LEGACY', system = 'old' where domain = 'customer'");
  EXPECT_FALSE(stage.run());
  auto waiting = mk.get(path);
  EXPECT_EQ(waiting.string("/state"), "RUNNING");
  EXPECT_NE(waiting.string("/error").find("LEGACY_OWNED"), std::string::npos);
  stage.server.sql("update domain_ownership set state = 'LOCAL', system = null where domain = 'customer'");
  stage.lease_is_over();
  EXPECT_TRUE(stage.run());
  EXPECT_EQ(counts(mk.get(path)), "DONE 1 = 1 + 0 + 0 + 0");
}

TEST(imports, are_seen_by_those_whose_they_are) {
  Stage stage;
  auto mk = stage.server.as("marketing");
  auto made = stage.upload(mk, "name,phone\n山田,090-1111-1111\n");
  const auto path = "/v1/imports/" + made.string("/id");
  auto op = stage.server.as("operator");
  EXPECT_EQ(op.get(path).code(), "FORBIDDEN");
  auto west = stage.server.as("supervisor3");
  EXPECT_EQ(west.get(path).status, 404);
  EXPECT_EQ(west.post(path + "/start").status, 404);
  EXPECT_EQ(west.get(path + "/rejects").status, 404);
  EXPECT_EQ(west.get(path + "/rejects.csv").status, 404);
  EXPECT_EQ(west.get("/v1/imports").at("/items").as_array().size(), 0U);
  EXPECT_EQ(stage.upload(west, "name,phone\n山田,090-1111-1111\n").code(), "FILE_IMPORTED");
  EXPECT_EQ(stage.server.as("supervisor").get(path).status, 200);
}

TEST(imports, run_takes_up_what_was_started_and_stop_gives_it_back) {
  Stage stage;
  auto mk = stage.server.as("marketing");
  auto made = stage.upload(mk, leads(300));
  const auto path = "/v1/imports/" + made.string("/id");
  mk.post(path + "/start");
  RunnerOptions options;
  options.chunk = 10;
  Runner runner(stage.db, stage.offload, options);
  const auto stop_soon = [](Runner& running, auth::testing::TestServer& server) -> Task<> {
    while (server.value("select max(next_row) > 20 from import_job") != "t") co_await sleep(Millis(1));
    running.stop();
  };
  asio::co_spawn(stage.shard.context(), stop_soon(runner, stage.server), asio::detached);
  run_task(stage.shard.context(), runner.run());
  EXPECT_EQ(stage.server.value("select state || ' ' || (run_id is null) || ' ' || (next_row < 300) from import_job"), "RUNNING true true");
  EXPECT_TRUE(stage.run()) << "given back: nobody waits for the lease";
  EXPECT_EQ(counts(mk.get(path)), "DONE 300 = 291 + 0 + 3 + 6");
}

}  // namespace
}  // namespace enishi::crm::imports

#include "crm/erasure/erasure.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "auth/testing.hpp"
#include "crm/customers/routes.hpp"
#include "crm/erasure/routes.hpp"
#include "crm/history/routes.hpp"
#include "crm/masters/routes.hpp"

namespace enishi::crm::erasure {
namespace {

using auth::testing::Client;
using auth::testing::TestServer;
namespace json = boost::json;

struct Erasure : ::testing::Test {
  TestServer server{{customers::mount, masters::mount, history::mount, erasure::mount}};
  Client op = server.as("operator"), compliance = server.as("compliance");
  std::filesystem::path folder;
  const std::string inquiry = Uuid::make().str(), media = Uuid::make().str();
  std::string id;

  void SetUp() override {
    std::string pattern = "/tmp/enishi-erasure-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder = pattern;
    server.open_all_hours();
    id = op.post("/v1/customers",
                 {{"display_name", "消去太郎"},
                  {"kana", "ショウキョタロウ"},
                  {"notes", "秘密の覚書"},
                  {"phones", {{{"raw", "090-8765-4321"}}}},
                  {"emails", {{{"email", "himitsu@example.test"}}}},
                  {"addresses", {{{"postal_code", "1500001"}, {"street", "秘密町1-2"}}}}},
                 {{"Idempotency-Key", "made-once"}})
             .string("/id");
    const auto q = "'" + inquiry + "', '" + id + "', ";
    server.sql("insert into media_source (id, code, name) values ('" + media +
               "', 'm', 'm');"
               "insert into inquiry (id, customer_id, media_source_id, channel, notes, external_ref) values (" +
               q + "'" + media +
               "', 'PHONE', '秘密の反響', 'ref');"
               "insert into inquiry_item (id, inquiry_id, item_category_id, description) select gen_random_uuid(), '" +
               inquiry +
               "', id, '秘密の着物' from item_category where code = 'kimono';"
               "insert into hearing_sheet (inquiry_id, customer_id, answers) values (" +
               q +
               "'{\"a\": \"秘密の答え\"}');"
               "insert into hearing_sheet_conflict (inquiry_id, customer_id, field, base_version, kept, refused, author_id) values (" +
               q + "'a', 1, '\"秘密甲\"', '\"秘密乙\"', '" + op.user.str() +
               "');"
               "insert into call_attempt (id, customer_id, inquiry_id, direction, e164, operator_id, ended_at, outcome, memo) values ('" +
               inquiry + "', '" + id + "', '" + inquiry + "', 'OUTBOUND', '+819087654321', '" + op.user.str() +
               "', now(), 'CALLBACK', '秘密の通話');"
               "insert into solicitation_request (id, customer_id, inquiry_id, scope, category_ids, operator_id, verbatim) select " +
               q + "'" + inquiry + "', 'PURCHASE', array[id], '" + op.user.str() +
               "', '秘密の言葉' from item_category where code = 'kimono';"
               "insert into call_task (id, customer_id, inquiry_id, kind, state, priority, due_at, note) values (" +
               q + "'" + inquiry +
               "', 'CALLBACK', 'READY', 1, now(), '秘密の用件');"
               "insert into solicitation_ban (id, customer_id, reason, source) values (" +
               q +
               "'秘密の理由', 'REQUEST');"
               "insert into import_job (id, file_name, file_sha256, media_source_id, encoding, state) values ('" +
               inquiry + "', 'f', 'x', '" + media +
               "', 'UTF-8', 'FAILED');"
               "insert into import_row (import_id, row_number, line, result, content) values ('" +
               inquiry +
               "', 1, 1, 'REJECTED', '[\"x\", \"０９０-8765-4321\"]'),"
               " ('" +
               inquiry + "', 2, 2, 'REJECTED', '[\"他人\", \"080-1111-2222\"]')");
  }
  void TearDown() override { std::filesystem::remove_all(folder); }
  /// Every table of the database that still holds something of this pattern, as text.
  std::string where(const std::string& pattern) {
    const auto tables =
        json::parse(server.value("select json_agg(c.oid::regclass::text order by 1) from pg_class c where c.relkind = 'r' and "
                                 "c.relnamespace = 'public'::regnamespace"));
    std::string found;
    for (const auto& table : tables.as_array()) {
      const std::string name(table.as_string());
      if (server.value("select exists (select from " + name + " t where t::text ~ '" + pattern + "')") == "t") found += name + " ";
    }
    return found;
  }
  /// Runs on the schema owner's connection, as `serve` does at its start.
  Result<int> again(const std::string& conninfo, const std::filesystem::path& list) {
    Shard shard(0);
    Offload offload(1, 8);
    pg::Config config;
    config.conninfo = conninfo + " user=enishi_owner";
    pg::Database db(shard, offload, config);
    auto done = run_task(shard.context(), [](pg::Database* from, std::filesystem::path file) -> Task<Result<int>> {
      auto lines = read_list(file);
      if (!lines) co_return tl::make_unexpected(lines.error());
      auto lease = co_await from->lease();
      co_return co_await reapply(lease, std::move(*lines));
    }(&db, list));
    db.close();
    return done;
  }
  /// On the application's connection, as a server that runs does.
  static Result<Reconciled> reconciled(TestServer& of, const std::filesystem::path& list) {
    Shard shard(0);
    Offload offload(1, 8);
    pg::Config config;
    config.conninfo = of.fresh().conninfo();
    config.role = "enishi_app";
    pg::Database db(shard, offload, config);
    auto done = run_task(shard.context(), reconcile(db, list));
    db.close();
    return done;
  }
  Result<int> write_list(const std::filesystem::path& list) {
    return reconciled(server, list).map([](const Reconciled& done) { return done.listed; });
  }
};

TEST_F(Erasure, nothing_of_the_person_is_left_in_any_table_and_the_chain_stays_whole) {
  server.sql("select seal_history(3)");
  EXPECT_GE(std::ranges::count(where("秘密|消去太郎|87654321|8765-4321"), ' '), 15);
  const auto done = compliance.post("/v1/customers/" + id + "/erasure", {{"reason", "本人の請求"}});
  ASSERT_EQ(done.status, 200) << done.text;
  EXPECT_EQ(done.string("/kind"), "ERASED");
  // What forbids to call that number stays as long as the ban: the law wants it.
  EXPECT_EQ(where("秘密|消去太郎|ショウキョ|himitsu|87654321|8765-4321"), "solicitation_ban_key ");
  EXPECT_EQ(server.value("select count(*) from import_row where content is not null"), "1") << "other people's rejects stay";
  server.sql("select seal_history(10000)");
  EXPECT_EQ(server.value("select count(*) from history_seal s, history_seal_problems(s.number) p"), "0");
  EXPECT_EQ(server.value("select count(*) from history where customer_id = '" + id +
                         "' and (content is not null or salt is not null or digest is null)"),
            "0");
  EXPECT_EQ(server.value(
                "select string_agg(p.place, '; ') from erasure_place p where not exists (select from erasure e where e.places ? p.place)"),
            "")
      << "every place of the registry is visited";
  EXPECT_EQ(compliance.get("/v1/history/customer/" + id + "?as_of=2999-01-01T00:00:00Z").code(), "ERASED");
  EXPECT_EQ(op.get("/v1/customers/" + id).status, 404);
  EXPECT_EQ(server.value("select state from call_task where customer_id = '" + id + "'"), "CANCELLED");
  const auto repeated = compliance.post("/v1/customers/" + id + "/erasure", {{"reason", "本人の請求"}});
  EXPECT_EQ(repeated.string("/id"), done.string("/id"));
  EXPECT_EQ(compliance.get("/v1/erasures").string("/items/0/customer_id"), id);
}

TEST_F(Erasure, an_erased_row_without_a_proof_is_found) {
  server.sql(
      "update history set digest = sha256(uuid_send(salt) || convert_to(content::text, 'UTF8')), content = null, salt = null where "
      "customer_id = '" +
      id + "' and table_name = 'customer'");
  server.sql("select seal_history(10000)");
  EXPECT_EQ(server.value("select string_agg(p.problem, ',') from history_seal s, history_seal_problems(s.number) p"),
            "ERASED_WITHOUT_PROOF");
}

TEST_F(Erasure, what_the_law_wants_kept_is_masked_and_only_compliance_sees_it) {
  server.sql("update call_attempt set recording_ref = 'rec/1', recording_retain_until = current_date + 30");
  const auto refused = compliance.post("/v1/customers/" + id + "/erasure", {{"reason", "本人の請求"}});
  EXPECT_EQ(refused.status, 409);
  EXPECT_EQ(refused.code(), "LEGAL_RETENTION");
  EXPECT_EQ(server.value("select display_name from customer where id = '" + id + "'"), "消去太郎");
  const auto masked = compliance.post("/v1/customers/" + id + "/erasure", {{"reason", "本人の請求"}, {"mask", true}});
  ASSERT_EQ(masked.status, 200) << masked.text;
  EXPECT_EQ(masked.string("/kind"), "MASKED");
  EXPECT_EQ(masked.string("/until"), server.value("select current_date + 30"));
  EXPECT_EQ(server.value("select display_name from customer where id = '" + id + "'"), "—");
  EXPECT_EQ(server.as("supervisor").get("/v1/history?row_id=" + id).at("/items").as_array().size(), 0u);
  EXPECT_GE(compliance.get("/v1/history?row_id=" + id).at("/items").as_array().size(), 2u);
  server.sql("select erase_due()");
  EXPECT_EQ(server.value("select count(*) from erasure where kind = 'ERASED'"), "0") << "not before its time";
  server.sql("update call_attempt set recording_retain_until = current_date - 1; update erasure set until = current_date - 1");
  server.sql("select erase_due()");
  EXPECT_EQ(where("秘密|消去太郎"), "solicitation_ban_key ");
}

TEST_F(Erasure, whose_time_has_come_waits_while_a_legacy_system_owns_a_row_of_theirs) {
  server.sql("update call_attempt set recording_ref = 'rec/1', recording_retain_until = current_date + 30");
  ASSERT_EQ(compliance.post("/v1/customers/" + id + "/erasure", {{"reason", "本人の請求"}, {"mask", true}}).status, 200);
  server.sql("update call_attempt set recording_retain_until = current_date - 1; update erasure set until = current_date - 1");
  const auto owned = [&](const std::string& domains, const std::string& state) {
    server.sql("update domain_ownership set state = '" + state + "', system = 'old' where domain in (" + domains + ")");
    server.sql("select erase_due()");
    const auto erased = server.value("select count(*) from erasure where kind = 'ERASED'");
    const auto memo = server.value("select memo from call_attempt where customer_id = '" + id + "'");
    server.sql("update domain_ownership set state = 'LOCAL', system = null");
    return erased + " " + memo;
  };
  for (const auto* domain : {"'customer'", "'inquiry'", "'call'", "'compliance'"})
    EXPECT_EQ(owned(domain, "LEGACY"), "0 秘密の通話") << domain;
  EXPECT_EQ(owned("'call'", "SWITCHING"), "0 秘密の通話");
  server.sql(
      "update domain_ownership set read_only = 'for a test' where domain = 'inquiry'; select erase_due(); update domain_ownership set "
      "read_only = null");
  EXPECT_EQ(server.value("select count(*) from erasure where kind = 'ERASED'"), "0");
  // Nothing of theirs lies in these.
  EXPECT_EQ(owned("'goods', 'visit', 'master'", "LEGACY"), "1 ");
  EXPECT_EQ(server.value("select count(*) from erasure_passage"), "0");
}

TEST_F(Erasure, what_is_not_over_stands_against_it) {
  server.sql(
      "update call_attempt set recording_ref = null; insert into call_attempt (id, customer_id, direction, operator_id) values "
      "(gen_random_uuid(), '" +
      id + "', 'INBOUND', '" + op.user.str() + "')");
  const auto refused = compliance.post("/v1/customers/" + id + "/erasure", {{"reason", "本人の請求"}});
  EXPECT_EQ(refused.code(), "ERASURE_BLOCKED") << refused.text;
  EXPECT_EQ(op.post("/v1/customers/" + id + "/erasure", {{"reason", "x"}}).status, 403);
  EXPECT_EQ(compliance.post("/v1/customers/" + Uuid::make().str() + "/erasure", {{"reason", "x"}}).status, 404);
}

TEST_F(Erasure, nobody_comes_back_by_putting_back_or_by_writing) {
  const auto before =
      server.value("select to_char((clock_timestamp() - interval '1 hour') at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')");
  ASSERT_EQ(compliance.post("/v1/customers/" + id + "/erasure", {{"reason", "本人の請求"}}).status, 200);
  json::object selection{{"kind", "RECORD"}, {"table", "customer"}, {"row_id", id}, {"to", before}, {"parts", true}};
  const auto preview = compliance.post("/v1/put-backs/preview", selection);
  ASSERT_EQ(preview.string("/rows"), "0") << preview.text;
  EXPECT_EQ(preview.string("/items/0/reason"), "ERASED");
  selection["seen"] = preview.string("/seen");
  EXPECT_EQ(compliance.post("/v1/put-backs", selection).string("/changed"), "0");
  try {
    server.sql("update customer set display_name = 'x', deleted_at = null where id = '" + id + "'");
    ADD_FAILURE() << "an erased person was written";
  } catch (const std::runtime_error& e) {
    EXPECT_NE(std::string(e.what()).find("erased"), std::string::npos) << e.what();
  }
}

TEST_F(Erasure, the_list_beside_the_backups_erases_again_in_a_database_from_before) {
  // The template is the moment before: copied from this very database, it knows the person.
  ASSERT_EQ(compliance.post("/v1/customers/" + id + "/erasure", {{"reason", "本人の請求"}}).status, 200);
  const auto list = folder / kList;
  EXPECT_EQ(write_list(list).error().code, "BACKUP_GONE") << "an unmounted disk leaves an empty folder behind";
  EXPECT_TRUE(std::filesystem::is_empty(folder));
  std::ofstream(folder / kBackupsAreHere) << "{}\n";
  ASSERT_EQ(write_list(list).value(), 1);
  EXPECT_EQ(write_list(list).value(), 0) << "a line is written once";
  {
    std::ofstream(list, std::ios::app) << R"({"id": "cut of)";
  }
  EXPECT_EQ(again(server.fresh().conninfo(), list).value(), 0) << "a line that a crash cut off is none";

  TestServer restored({customers::mount, masters::mount, history::mount});
  const auto name = restored.as("operator").post("/v1/customers", {{"id", id}, {"display_name", "消去太郎"}});
  ASSERT_EQ(name.status, 201) << name.text;
  ASSERT_EQ(again(restored.fresh().conninfo(), list).value(), 1);
  EXPECT_EQ(restored.value("select display_name from customer where id = '" + id + "'"), "—");
  EXPECT_EQ(restored.value("select count(*) from history where customer_id = '" + id + "' and content is not null"), "0");
  EXPECT_EQ(restored.value("select at::text from erasure"), server.value("select at::text from erasure"));
  EXPECT_EQ(again(restored.fresh().conninfo(), list).value(), 0);

  // A server that could not read the list when it started does so when it can, and has an erasure of its own to add.
  TestServer late({customers::mount, masters::mount, history::mount});
  ASSERT_EQ(late.as("operator").post("/v1/customers", {{"id", id}, {"display_name", "消去太郎"}}).status, 201);
  const auto own = Uuid::make().str();
  late.sql("insert into erasure (id, customer_id, kind, reason, actor) values ('" + own + "', gen_random_uuid(), 'ERASED', 'x', 'x')");
  const auto copy = folder / "late.jsonl";
  std::filesystem::copy(list, copy);
  const auto both = reconciled(late, copy);
  ASSERT_TRUE(both) << both.error().detail;
  EXPECT_EQ(both->erased, 1);
  EXPECT_EQ(both->listed, 1);
  EXPECT_EQ(late.value("select display_name from customer where id = '" + id + "'"), "—");
  EXPECT_EQ(read_list(copy).value().size(), 2U);
  const auto settled = reconciled(late, copy);
  EXPECT_EQ(settled.value().erased + settled.value().listed, 0);

  // The restored moment may be one of a takeover: whoever owns the domain, the person stays erased.
  TestServer taken({customers::mount, masters::mount, history::mount});
  ASSERT_EQ(taken.as("operator").post("/v1/customers", {{"id", id}, {"display_name", "消去太郎"}}).status, 201);
  const auto other = taken.as("operator").post("/v1/customers", {{"display_name", "他人"}}).string("/id");
  taken.sql(
      "update domain_ownership set state = case when domain = 'customer' then 'LEGACY' else 'SWITCHING' end, system = 'old', "
      "read_only = case when domain = 'visit' then 'for a test' end");
  ASSERT_EQ(again(taken.fresh().conninfo(), list).value(), 1);
  EXPECT_EQ(taken.value("select display_name from customer where id = '" + id + "'"), "—");
  EXPECT_EQ(taken.value("select count(*) from erasure_passage"), "0");
  EXPECT_THROW(taken.sql("set role enishi_app; insert into erasure_passage default values"), std::runtime_error);
  EXPECT_THROW(taken.sql("set enishi.erasing = 'on'; update customer set notes = 'x' where id = '" + other + "'"), std::runtime_error)
      << "saying that one is erasing opens no gate";

  // A new line after the cut one stands on a line of its own.
  server.sql(
      "insert into erasure (id, customer_id, kind, reason, actor) values (gen_random_uuid(), gen_random_uuid(), 'ERASED', 'x', 'x')");
  ASSERT_EQ(write_list(list).value(), 1);
  EXPECT_EQ(again(restored.fresh().conninfo(), list).value(), 1);
  std::ofstream(list, std::ios::app) << "nonsense\n";
  EXPECT_EQ(again(restored.fresh().conninfo(), list).error().code, "ERASURE_LIST_BROKEN");
}

}  // namespace
}  // namespace enishi::crm::erasure

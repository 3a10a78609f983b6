// What every table of a domain has, and which moves the state machines know.
#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "auth/testing.hpp"
#include "pg/testing.hpp"

namespace enishi::cli {
namespace {

std::string lines(const pg::testing::Fresh& db, const std::string& sql) {
  return db.value("select coalesce(string_agg(line, E'\n' order by line collate \"C\"), '') from (" + sql + ") x (line)").value_or("");
}

/// What is nobody's domain: who logs in, what the machinery keeps for itself, and what only functions of the owner write beside the row
/// that has the history.
const char* const without_domain =
    "'api_token', 'continuity', 'continuity_request', 'customer_merge', 'domain_ownership', 'erasure', 'erasure_passage', 'erasure_place', "
    "'history', 'history_seal', 'idempotency', 'import_job', 'import_row', 'job_run', 'legacy_child', 'legacy_identity', 'legacy_link', "
    "'login_throttle', 'merge_candidate', 'one_time_link', 'open_call', 'personal_data_view', 'postal_town', 'put_back_run', 'role', "
    "'rule', "
    "'session', 'solicitation_ban_key', 'takeover_alarm', 'takeover_chunk', 'takeover_diff_run', 'takeover_difference', 'takeover_domain', "
    "'takeover_foreign', 'takeover_intent', 'takeover_move', 'takeover_passage', 'takeover_reject', 'takeover_reversal', "
    "'takeover_reverse', 'takeover_reverse_failure', 'takeover_reversed', 'takeover_source', 'takeover_verified', 'transition', "
    "'user_credential', 'schema_migration'";

TEST(Schema, every_table_of_a_domain_has_its_gate_and_its_history) {
  const pg::testing::Fresh db(auth::testing::migrated());
  const std::string tables =
      std::string(
          "(select c.oid, c.relname from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not "
          "c.relispartition and c.relname not in (") +
      without_domain + "))";
  EXPECT_GE(std::stoi(*db.value("select count(*) from " + tables + " t")), 27);
  for (const auto& [trigger, kind] : {std::pair{"a_gate", "gate"}, std::pair{"a_gate_truncate", "gate"}, std::pair{"z_record", "record%"}})
    EXPECT_EQ(lines(db, "select t.relname::text from " + tables +
                            " t where not exists (select from pg_trigger g join pg_proc p on p.oid = g.tgfoid "
                            "where g.tgrelid = t.oid and g.tgname = '" +
                            trigger + "' and p.proname like '" + kind + "' and g.tgenabled = 'O')"),
              "")
        << trigger;
  // The gate before any write and TRUNCATE, the history after each row that was written.
  EXPECT_EQ(lines(db, "select t.relname::text from " + tables +
                          " t join pg_trigger g on g.tgrelid = t.oid where g.tgname = 'a_gate' and "
                          "pg_get_triggerdef(g.oid) not like '%BEFORE INSERT OR DELETE OR UPDATE ON %FOR EACH STATEMENT%'"),
            "");
  EXPECT_EQ(lines(db, "select t.relname::text from " + tables +
                          " t join pg_trigger g on g.tgrelid = t.oid where g.tgname = 'z_record' and "
                          "pg_get_triggerdef(g.oid) not like '%AFTER INSERT OR DELETE OR UPDATE ON %FOR EACH ROW%'"),
            "");
  // One gate a domain: its name and its number belong together.
  EXPECT_EQ(
      lines(db,
            "select t.relname::text from " + tables +
                " t join pg_trigger g on g.tgrelid = t.oid and g.tgname like 'a\\_gate%' where not "
                "exists (select from domain_ownership o where encode(g.tgargs, 'escape') = o.domain || '\\000' || o.number || '\\000')"),
      "");
}

/// The chains of the design's states, arrow by arrow.
const std::set<std::string> drawn = {
    "inquiry NEW → IN_PROGRESS",        "inquiry IN_PROGRESS → NURTURING", "inquiry NURTURING → IN_PROGRESS",
    "inquiry NURTURING → APPOINTED",    "inquiry APPOINTED → VISITED",     "inquiry VISITED → CONTRACTED",
    "inquiry VISITED → NO_DEAL",        "call_task SCHEDULED → READY",     "call_task READY → ASSIGNED",
    "call_task ASSIGNED → IN_CALL",     "call_task IN_CALL → WRAP_UP",     "call_task WRAP_UP → DONE",
    "call_task WRAP_UP → RESCHEDULED",  "appointment HELD → BOOKED",       "appointment BOOKED → CONFIRMED",
    "appointment CONFIRMED → EN_ROUTE", "appointment EN_ROUTE → ARRIVED",  "appointment ARRIVED → COMPLETED"};

TEST(Schema, the_state_machines_know_the_drawn_arrows_and_those_that_are_written_down_besides) {
  const pg::testing::Fresh db(auth::testing::migrated());
  std::set<std::string> expected = drawn;
  std::ifstream decision(std::string(ENISHI_SOURCE_ROOT) + "/docs/adr/0011-more-arrows.md");
  ASSERT_TRUE(decision.is_open());
  for (std::string line; std::getline(decision, line);)
    if (line.starts_with("- ")) EXPECT_TRUE(expected.insert(line.substr(2)).second) << line << " is drawn already";
  std::string all;
  for (const auto& arrow : expected) all += (all.empty() ? "" : "\n") + arrow;
  EXPECT_EQ(lines(db, "select format('%s %s → %s', entity, from_state, to_state) collate \"C\" from transition"), all);
}

}  // namespace
}  // namespace enishi::cli

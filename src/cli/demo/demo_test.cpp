// The sample data keep the rules that the database would hold them to, had its triggers not rested while they were loaded.
#include "cli/demo/demo.hpp"

#include <gtest/gtest.h>

#include "auth/testing.hpp"
#include "pg/testing.hpp"

namespace enishi::cli::demo {
namespace {

struct SampleData : ::testing::Test {
  pg::testing::Stage stage{auth::testing::migrated()};
  std::string value(const std::string& sql) { return stage.fresh.value(sql).value_or(""); }
  void make(std::int64_t until) {
    // The users of tests have the names of some of the sample's.
    stage.fresh.sql("update app_user set login = 'test-' || login");
    DemoOptions options;
    options.customers = 1500;
    options.until = until;
    auto load = [](pg::Database& db, DemoOptions wanted) -> Task<Result<DemoReport>> {
      auto lease = co_await db.lease();
      co_return co_await make_demo(lease, std::move(wanted), [](std::string_view, double) {});
    };
    auto made = stage.run(load(stage.db, options));
    ASSERT_TRUE(made) << made.error().detail;
    ASSERT_GT(made->calls, 3000);
    ASSERT_GT(made->appointments, 100);
  }
  void keeps_the_rules() {
    EXPECT_EQ(value("select count(*) from call_attempt where not contact_hours_allow(started_at)"), "0");
    EXPECT_EQ(
        value(
            "select count(*) from call_attempt a join inquiry i on i.id = a.inquiry_id where a.started_at < i.received_at or a.ended_at > "
            "to_timestamp(1795000000)"),
        "0");
    EXPECT_EQ(
        value("select count(*) from appointment a join customer_address d on d.id = a.address_id join visit_slot s on s.id = a.slot_id "
              "where area_of_postal_code(d.postal_code) is distinct from s.service_area_id"),
        "0");
    EXPECT_EQ(value("select count(*) from inquiry where stage in ('IN_PROGRESS', 'NURTURING') and (next_action not in ('CALLBACK', "
                    "'NURTURE_CALL') or next_action_at is null)"),
              "0");
    EXPECT_EQ(
        value("select count(*) from inquiry i where stage = 'NEW' and not exists (select from call_task t where t.inquiry_id = i.id)"),
        "0");
  }
};

TEST_F(SampleData, that_end_in_the_night_call_nobody_in_it) {
  make(1794938400);  // 03:00 in Japan
  keeps_the_rules();
}

TEST_F(SampleData, that_end_in_the_morning_keep_the_contact_hours_too) {
  make(1794964200);  // 10:10 in Japan
  keeps_the_rules();
}

}  // namespace
}  // namespace enishi::cli::demo

#include "cli/continuity.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "auth/testing.hpp"
#include "cluster/session.hpp"
#include "crm/erasure/erasure.hpp"

namespace enishi::cli {
namespace {

struct ChecksOfARestore : ::testing::Test {
  pg::testing::Fresh fresh{auth::testing::migrated()};
  std::filesystem::path folder;

  void SetUp() override {
    std::string pattern = "/tmp/enishi-checks-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder = pattern;
    std::ofstream(folder / crm::erasure::kList)
        << R"({"id": "01900000-0000-7000-8000-000000000001", "customer_id": "01900000-0000-7000-8000-000000000002", "kind": "ERASED", )"
        << R"("reason": "x", "until": null, "actor": "x", "at": "2026-11-22T04:05:01Z"})"
        << "\n";
    fresh.sql("insert into media_source (id, code, name) values (gen_random_uuid(), 'm', 'm')");
    fresh.sql("select seal_history(10000)");
  }
  void TearDown() override { std::filesystem::remove_all(folder); }
  Result<std::string> said(const std::string& name) {
    for (const auto& check : continuity_checks(folder / crm::erasure::kList)) {
      if (check.name != name) continue;
      cluster::Session session(fresh.conninfo());
      return session.with<std::string>(check.run);
    }
    return fail(Kind::internal, "NO_SUCH_CHECK", name);
  }
};

TEST_F(ChecksOfARestore, say_what_is_right) {
  EXPECT_EQ(said("erasures").value(), "1 people erased after this moment were erased again");
  EXPECT_NE(said("history").value().find("are what was sealed"), std::string::npos);
}

TEST_F(ChecksOfARestore, take_a_database_that_does_not_answer_them_for_bad) {
  fresh.sql("alter table erasure rename column reason to lost; alter table history_seal rename column digest to lost");
  EXPECT_FALSE(said("erasures"));
  EXPECT_FALSE(said("history"));
}

TEST_F(ChecksOfARestore, know_a_moment_from_before_there_was_anything_to_check) {
  fresh.sql("drop table erasure, history_seal cascade");
  EXPECT_NE(said("erasures").value().find("before erasures"), std::string::npos);
  EXPECT_NE(said("history").value().find("before history was sealed"), std::string::npos);
}

}  // namespace
}  // namespace enishi::cli

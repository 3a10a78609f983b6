#include <gtest/gtest.h>

#include "pg/errors.hpp"

namespace enishi::pg {
namespace {

TEST(SqlStates, of_rules_carry_code_sentence_and_object) {
  const auto error = to_error("EN409", "The slot is full.", R"({"slot": "a"})", "SLOT_FULL");
  EXPECT_EQ(error.kind, Kind::conflict);
  EXPECT_EQ(error.code, "SLOT_FULL");
  EXPECT_EQ(error.detail, "The slot is full.");
  EXPECT_EQ(error.extra, R"({"slot": "a"})");
  EXPECT_EQ(to_error("EN404", "m", "", "X").kind, Kind::not_found);
  EXPECT_EQ(to_error("EN412", "m", "", "X").kind, Kind::precondition);
  EXPECT_EQ(to_error("EN422", "m", "", "X").kind, Kind::unprocessable);
  EXPECT_EQ(to_error("EN403", "m", "", "X").kind, Kind::forbidden);
  EXPECT_EQ(to_error("EN422", "m", "no { json", "X").extra, "");
  EXPECT_EQ(to_error("EN422", "m", "{broken", "X").extra, "");
  EXPECT_THROW(to_error("EN999", "m", "", "X"), Broken);
}

TEST(SqlStates, of_the_gate_say_when_to_come_back) {
  const auto shut = to_error("EN001", "wait", "", "");
  EXPECT_EQ(shut.kind, Kind::unavailable);
  EXPECT_EQ(shut.code, "GATE_SHUT");
  EXPECT_EQ(shut.retry_after, 1);
  const auto legacy = to_error("EN002", "elsewhere", "", "");
  EXPECT_EQ(legacy.kind, Kind::conflict);
  EXPECT_EQ(legacy.code, "LEGACY_OWNED");
}

TEST(SqlStates, of_constraints_name_them_and_no_value) {
  const auto unique = to_error("23505", "duplicate key", "Key (phone)=(0312345678) already exists.", "phone_key");
  EXPECT_EQ(unique.code, "UNIQUE_VIOLATION");
  EXPECT_EQ(unique.extra, R"({"constraint":"phone_key"})");
  EXPECT_EQ(unique.detail.find("0312345678"), std::string::npos);
  EXPECT_EQ(to_error("23503", "", "", "c").code, "FOREIGN_KEY_VIOLATION");
  EXPECT_EQ(to_error("23503", "", "", "c").kind, Kind::unprocessable);
  EXPECT_EQ(to_error("23514", "", "", "c").code, "CHECK_VIOLATION");
  EXPECT_EQ(to_error("23P01", "", "", "c").code, "EXCLUSION_VIOLATION");
  EXPECT_EQ(to_error("23P01", "", "", "c").kind, Kind::conflict);
  EXPECT_EQ(to_error("23502", "", "", "c").code, "NOT_NULL_VIOLATION");
  EXPECT_EQ(to_error("22021", "", "", "").code, "VALUE_INVALID");
  EXPECT_EQ(to_error("22P05", "", "", "").code, "VALUE_INVALID");
  EXPECT_EQ(to_error("40001", "", "", "").code, "SERIALIZATION_FAILURE");
  EXPECT_EQ(to_error("40P01", "", "", "").code, "SERIALIZATION_FAILURE");
  EXPECT_EQ(to_error("55P03", "", "", "").code, "LOCKED");
}

TEST(SqlStates, that_are_no_answer_about_the_data_are_thrown) {
  EXPECT_THROW(to_error("57014", "", "", ""), TimedOut);
  for (const char* state : {"57P01", "57P02", "57P03", "08006", "53000", "58030", "53300", "53100", "53200", "25006"})
    EXPECT_THROW(to_error(state, "", "", ""), Unavailable);
  for (const char* state : {"42601", "42501", "42P01", "XX000", "0A000"}) EXPECT_THROW(to_error(state, "", "", ""), Broken);
}

TEST(SqlStates, of_a_database_that_answers_and_cannot_do_it_say_what_it_lacks) {
  const auto lacking = [](auto act) -> Error {
    try {
      act();
    } catch (const Exhausted& e) {
      return e.error;
    } catch (const Unavailable&) {
      return {Kind::unavailable, "UNAVAILABLE", "", {}, {}, 0};
    }
    return {};
  };
  for (const auto& [state, code] : {std::pair{"53100", "DISK_FULL"}, std::pair{"53200", "OUT_OF_MEMORY"},
                                    std::pair{"53300", "TOO_MANY_CONNECTIONS"}, std::pair{"25006", "READ_ONLY"}}) {
    const auto error = lacking([&] { (void)to_error(state, "said", "", ""); });
    EXPECT_EQ(error.code, code);
    EXPECT_EQ(error.kind, Kind::unavailable);
    EXPECT_GT(error.retry_after, 0) << code;
  }
  // A refused connection says only its sentence.
  const auto refused = [&](const char* said) { return lacking([&] { refuse_connection(said); }).code; };
  EXPECT_EQ(refused("connection to server failed: FATAL:  sorry, too many clients already"), "TOO_MANY_CONNECTIONS");
  EXPECT_EQ(refused("FATAL:  remaining connection slots are reserved for non-replication superuser connections"), "TOO_MANY_CONNECTIONS");
  EXPECT_EQ(refused("FATAL:  too many connections for role \"enishi\""), "TOO_MANY_CONNECTIONS");
  EXPECT_EQ(refused("connection refused"), "UNAVAILABLE");
}

TEST(SqlStates, of_a_raise_without_one_keep_its_text_out_of_the_exception) {
  try {
    to_error("P0001", "customer 田中 is odd", "", "");
    FAIL();
  } catch (const Broken& e) {
    EXPECT_EQ(std::string(e.what()).find("田中"), std::string::npos);
  }
}

}  // namespace
}  // namespace enishi::pg

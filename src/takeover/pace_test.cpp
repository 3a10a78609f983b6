#include "takeover/pace.hpp"

#include <gtest/gtest.h>

namespace enishi::takeover {
namespace {

using std::chrono::milliseconds;

TEST(Pace, a_source_that_answers_as_it_did_is_asked_without_a_rest) {
  Pace pace;
  SteadyTime now{};
  for (int i = 0; i < 50; ++i) EXPECT_EQ(pace.rest(1000, milliseconds(100 + i), 0, now += milliseconds(100)), Millis(0));
  EXPECT_EQ(pace.rest(0, milliseconds(5000), 0, now), Millis(0));
}

TEST(Pace, a_source_that_answers_much_slower_gets_as_long_as_it_took_and_two_seconds_at_most) {
  Pace pace;
  SteadyTime now{};
  EXPECT_EQ(pace.rest(1000, milliseconds(100), 0, now), Millis(0));
  EXPECT_EQ(pace.rest(1000, milliseconds(900), 0, now), Millis(900));
  EXPECT_EQ(pace.rest(1000, milliseconds(60000), 0, now), Millis(2000));
  EXPECT_EQ(pace.rest(1000, milliseconds(120), 0, now), Millis(0)) << "as soon as it is itself again";
}

TEST(Pace, a_batch_of_one_record_is_not_taken_for_a_slow_source) {
  Pace pace;
  SteadyTime now{};
  EXPECT_EQ(pace.rest(200, milliseconds(100), 0, now), Millis(0));
  EXPECT_EQ(pace.rest(1, milliseconds(20), 0, now), Millis(0));
  EXPECT_EQ(pace.rest(1, milliseconds(500), 0, now), Millis(500));
}

TEST(Pace, what_is_slow_for_good_becomes_what_is_usual) {
  Pace pace;
  SteadyTime now{};
  EXPECT_EQ(pace.rest(1000, milliseconds(100), 0, now), Millis(0));
  int rests = 0;
  for (int i = 0; i < 300; ++i) rests += pace.rest(1000, milliseconds(800), 0, now) > Millis(0) ? 1 : 0;
  EXPECT_GT(rests, 10);
  EXPECT_LT(rests, 200);
}

TEST(Pace, a_rate_is_kept_over_time_and_an_idle_hour_is_not_made_up_for) {
  Pace pace;
  SteadyTime now{milliseconds(1)};
  const auto began = now;
  std::int64_t records = 0;
  for (int i = 0; i < 20; ++i) {
    now += milliseconds(10);
    records += 100;
    now += pace.rest(100, milliseconds(10), 1000, now);
  }
  const auto seconds = std::chrono::duration<double>(now - began).count();
  EXPECT_NEAR(static_cast<double>(records) / seconds, 1000, 20);
  now += std::chrono::hours(1);
  EXPECT_GT(pace.rest(500, milliseconds(10), 1000, now), Millis(400));
}

}  // namespace
}  // namespace enishi::takeover

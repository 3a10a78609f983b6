#include <gtest/gtest.h>

#include <set>

#include "base/id.hpp"
#include "base/log.hpp"
#include "base/metrics.hpp"

namespace enishi {
namespace {

TEST(Ids, ascend_within_a_thread_and_round_trip_as_text) {
  auto last = Uuid::make();
  for (int i = 0; i < 20000; ++i) {
    const auto next = Uuid::make();
    ASSERT_LT(last, next);
    ASSERT_EQ(Uuid::parse(next.str()), next);
    ASSERT_EQ(next.str()[14], '7');
    last = next;
  }
}

TEST(Ids, refuse_what_is_no_uuid) {
  for (const auto* text : {"", "0190", "0190163d-8694-739b-aea5-966c26f8ad9", "0190163d-8694-739b-aea5_966c26f8ad91",
                           "g190163d-8694-739b-aea5-966c26f8ad91", "{190163d-8694-739b-aea5-966c26f8ad9}"})
    EXPECT_FALSE(Uuid::parse(text)) << text;
}

TEST(Ids, tokens_differ_and_keep_to_the_url_alphabet) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const auto token = random_token(32);
    EXPECT_EQ(token.size(), 43U);
    EXPECT_EQ(token.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), std::string::npos);
    EXPECT_TRUE(seen.insert(token).second);
  }
}

TEST(Logs, escape_what_json_cannot_hold) {
  EXPECT_EQ(json_escape("a\"b\\c\n\x01"), "a\\\"b\\\\c\\n\\u0001");
  EXPECT_EQ(json_escape("縁\xff"), "縁\xEF\xBF\xBD");
}

TEST(Text, refuses_broken_utf8_surrogates_and_nul) {
  EXPECT_TRUE(valid_text("髙橋 😀"));
  EXPECT_FALSE(valid_text(std::string_view("a\0b", 3)));
  EXPECT_FALSE(valid_text("\xed\xa0\x80"));
  EXPECT_FALSE(valid_text("\xc0\xaf"));
  EXPECT_FALSE(valid_text("\xf4\x90\x80\x80"));
  EXPECT_FALSE(valid_text("\xe3\x81"));
}

TEST(Metrics, render_counters_and_cumulative_buckets) {
  metrics::counter("enishi_test_total", "A test", {{"k", "a\"b"}}).add(3);
  auto& h = metrics::histogram("enishi_test_seconds", "A test");
  h.observe(0.0002);
  h.observe(0.2);
  const auto text = metrics::render();
  EXPECT_NE(text.find("enishi_test_total{k=\"a\\\"b\"} 3\n"), std::string::npos);
  EXPECT_NE(text.find("enishi_test_seconds_bucket{le=\"0.0001\"} 0\n"), std::string::npos);
  EXPECT_NE(text.find("enishi_test_seconds_bucket{le=\"0.00025\"} 1\n"), std::string::npos);
  EXPECT_NE(text.find("enishi_test_seconds_bucket{le=\"+Inf\"} 2\n"), std::string::npos);
}

}  // namespace
}  // namespace enishi

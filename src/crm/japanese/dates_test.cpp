#include "crm/japanese/dates.hpp"

#include <gtest/gtest.h>

namespace enishi::crm::japanese {
namespace {

std::string read(std::string_view text) {
  const auto date = parse_date(text);
  return date ? iso_date(*date) : date.error().code;
}

TEST(dates, every_way_to_write_a_day_gives_the_same_day) {
  for (const auto* text : {"1950-04-01",
                           "1950/4/1",
                           "1950.4.1",
                           "19500401",
                           "S25.4.1",
                           "s25/04/01",
                           "Ｓ２５．４．１",
                           "昭和25年4月1日",
                           "昭和２５年４月１日",
                           "１９５０－０４－０１",
                           "1950年4月1日",
                           " 1950/04/01 ",
                           "1950-04-01 00:00:00",
                           "1950/4/1 0:00",
                           "1950-04-01T00:00:00.000Z",
                           "㍼25年4月1日",
                           "昭和 25年 4月 1日",
                           "S250401",
                           "昭和25.4.1",
                           "1950−4−1",
                           "S.25.4.1"}) {
    EXPECT_EQ(read(text), "1950-04-01") << text;
  }
}

TEST(dates, the_first_year_of_an_era_may_be_gannen) {
  EXPECT_EQ(read("令和元年5月1日"), "2019-05-01");
  EXPECT_EQ(read("R1.5.1"), "2019-05-01");
  EXPECT_EQ(read("㋿元年5月1日"), "2019-05-01");
  EXPECT_EQ(read("昭和元年12月25日"), "1926-12-25");
  EXPECT_EQ(read("平成元年1月8日"), "1989-01-08");
}

TEST(dates, an_era_ends_where_the_next_begins) {
  EXPECT_EQ(read("昭和64年1月7日"), "1989-01-07");
  EXPECT_EQ(read("昭和64年1月8日"), "DATE_OUTSIDE_ERA");
  EXPECT_EQ(read("昭和元年12月24日"), "DATE_OUTSIDE_ERA");
  EXPECT_EQ(read("平成元年1月7日"), "DATE_OUTSIDE_ERA");
  EXPECT_EQ(read("平成31年4月30日"), "2019-04-30");
  EXPECT_EQ(read("H31.5.1"), "DATE_OUTSIDE_ERA");
  EXPECT_EQ(read("令和元年4月30日"), "DATE_OUTSIDE_ERA");
  EXPECT_EQ(read("大正15年12月25日"), "1926-12-25");
  EXPECT_EQ(read("大正15年12月26日"), "DATE_OUTSIDE_ERA");
  EXPECT_EQ(read("T1.7.30"), "1912-07-30");
  EXPECT_EQ(read("M45.7.30"), "1912-07-30");
  EXPECT_EQ(read("明治5年12月2日"), "DATE_OUTSIDE_ERA");
  EXPECT_EQ(read("明治6年1月1日"), "1873-01-01");
  EXPECT_EQ(read("昭和99年1月1日"), "DATE_OUTSIDE_ERA");
}

TEST(dates, days_that_do_not_exist_are_refused) {
  EXPECT_EQ(read("2023-02-29"), "DATE_NOT_IN_CALENDAR");
  EXPECT_EQ(read("2024-02-29"), "2024-02-29");
  EXPECT_EQ(read("1900-02-29"), "DATE_NOT_IN_CALENDAR");
  EXPECT_EQ(read("2024-04-31"), "DATE_NOT_IN_CALENDAR");
  EXPECT_EQ(read("2024-13-01"), "DATE_NOT_IN_CALENDAR");
  EXPECT_EQ(read("2024-00-10"), "DATE_NOT_IN_CALENDAR");
  EXPECT_EQ(read("20240010"), "DATE_NOT_IN_CALENDAR");
  EXPECT_EQ(read("S0.1.1"), "DATE_NOT_IN_CALENDAR");
}

TEST(dates, what_may_mean_two_days_or_none_is_refused) {
  for (const auto* text : {"",           " ",          "25/4/1",      "4/1/1950",    "1950/4",
                           "1950-04/01", "1950年4月1", "1950",        "195041",      "1950-04-01 09:30",
                           "昭和",       "X25.4.1",    "1950-4-1-1",  "1950-04-011", "0001-01-01",
                           "昨日",       "S25",        "١٩٥٠-٠٤-٠١x", "-1950-04-01", "1950-04-01\n1951-04-01"}) {
    EXPECT_EQ(read(text), "DATE_UNREADABLE") << text;
  }
  EXPECT_EQ(read(std::string(100000, '1')), "DATE_UNREADABLE");
}

TEST(dates, an_error_names_the_value_and_the_way_out) {
  EXPECT_EQ(parse_date("昭和64年1月8日").error().detail,
            "「昭和64年1月8日」 would be 1989-01-08, but 昭和 ran from 1926-12-25 to 1989-01-07.");
}

}  // namespace
}  // namespace enishi::crm::japanese

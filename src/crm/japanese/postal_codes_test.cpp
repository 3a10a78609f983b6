#include "crm/japanese/postal_codes.hpp"

#include <gmock/gmock.h>

#include <set>

namespace enishi::crm::japanese {
namespace {

TEST(postal_codes, are_seven_digits_however_they_were_typed) {
  for (const auto* text : {"〒150-0001", "1500001", "１５０－０００１", " 150 0001 ", "〒１５０ー０００１", "150‐0001"})
    EXPECT_EQ(normalize_postal_code(text), "1500001") << text;
}

TEST(postal_codes, of_another_length_or_with_words_are_refused) {
  for (const auto* text : {"", "150000", "15000011", "150-000a", "東京都", "+1500001", "150-0001 渋谷区"}) {
    const auto code = normalize_postal_code(text);
    ASSERT_FALSE(code) << text;
    EXPECT_EQ(code.error().code, "POSTAL_CODE_INVALID");
  }
  EXPECT_THAT(normalize_postal_code("600001").error().detail, testing::HasSubstr("leading zero"));
}

TEST(postal_codes, the_embedded_rows_are_whole_sorted_and_each_once) {
  std::size_t rows = 0;
  std::string last;
  std::set<std::string> prefectures;
  std::vector<std::string> jingumae, two_prefectures, high_rise;
  for_each_postal_row([&](const PostalRow& row) {
    ++rows;
    ASSERT_EQ(row.postal_code.size(), 7u);
    ASSERT_EQ(row.city_code.size(), 5u);
    ASSERT_FALSE(row.city.empty());
    ASSERT_LE(last, row.postal_code);
    last = row.postal_code;
    prefectures.emplace(row.prefecture);
    const auto place = std::string(row.prefecture) + "|" + std::string(row.city) + "|" + std::string(row.town);
    if (row.postal_code == "1500001") jingumae.push_back(place);
    if (row.postal_code == "4980000") two_prefectures.push_back(place);
    if (row.postal_code == "1006001") high_rise.push_back(place);
  });
  EXPECT_GT(rows, 124000u);
  EXPECT_EQ(prefectures.size(), 47u);
  EXPECT_THAT(jingumae, testing::ElementsAre("東京都|渋谷区|神宮前"));
  EXPECT_THAT(two_prefectures, testing::ElementsAre("愛知県|弥富市|", "三重県|桑名郡木曽岬町|"));
  EXPECT_THAT(high_rise, testing::ElementsAre("東京都|千代田区|霞が関霞が関ビル"));
}

}  // namespace
}  // namespace enishi::crm::japanese

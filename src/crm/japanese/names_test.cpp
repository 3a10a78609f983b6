#include "crm/japanese/names.hpp"

#include <gtest/gtest.h>

#include "crm/japanese/unicode.hpp"

namespace enishi::crm::japanese {
namespace {

TEST(names, half_width_kana_and_hiragana_become_full_width_katakana) {
  EXPECT_EQ(match_key("ﾔﾏﾀﾞ はなこ"), "ヤマダ ハナコ");
  EXPECT_EQ(match_key("やまだ　ハナコ"), "ヤマダ ハナコ");
  EXPECT_EQ(match_key("  ｶﾞｷﾞ　　ﾊﾟ\t"), "ガギ パ");
  EXPECT_EQ(match_key("みすゞ"), "ミスヾ");
}

TEST(names, a_sound_mark_that_stands_alone_joins_its_kana) { EXPECT_EQ(match_key("か゛ハ゜"), "ガパ"); }

TEST(names, full_width_letters_and_case_do_not_matter) {
  EXPECT_EQ(match_key("ＳＭＩＴＨ　Ｊｏｈｎ"), "smith john");
  EXPECT_EQ(match_key("㈱縁"), "(株)縁");
}

TEST(names, kanji_variants_fold_to_one) {
  const std::pair<const char*, const char*> same[] = {
      {"髙橋", "高橋"}, {"山﨑", "山崎"}, {"斎藤", "齋藤"}, {"斎藤", "斉藤"}, {"斎藤", "齊藤"}, {"渡辺", "渡邊"}, {"渡辺", "渡邉"},
      {"沢田", "澤田"}, {"浜田", "濱田"}, {"島田", "嶋田"}, {"島田", "嶌田"}, {"広田", "廣田"}, {"国分", "國分"}, {"桜井", "櫻井"},
      {"恵子", "惠子"}, {"竜一", "龍一"}, {"滝川", "瀧川"}, {"富永", "冨永"}, {"吉野", "𠮷野"}, {"真理", "眞理"}, {"中条", "中條"},
      {"万里", "萬里"}, {"関口", "關口"}, {"黒田", "黑田"}, {"徳川", "德川"}, {"角田", "⻆田"}, {"神田", "神田"}, {"葛󠄀城", "葛城"}};
  for (const auto& [one, other] : same) EXPECT_EQ(match_key(one), match_key(other)) << one << " " << other;
  EXPECT_NE(match_key("坂本"), match_key("阪本"));
  EXPECT_NE(match_key("太田"), match_key("大田"));
  EXPECT_NE(match_key("渡辺"), match_key("渡部"));
}

TEST(names, the_loose_key_drops_long_marks_spaces_and_dots_and_enlarges_small_kana) {
  EXPECT_EQ(loose_key("ヴァイオレット・リー"), "バイオレツトリ");
  EXPECT_EQ(loose_key("大野 ゆう子"), "大野ユウ子");
  EXPECT_EQ(loose_key("オーノ"), loose_key("オノ"));
  EXPECT_EQ(loose_key("シヨウタ"), loose_key("しょうた"));
  EXPECT_EQ(loose_key("ヴ"), "ブ");
  EXPECT_EQ(loose_key("三ヶ島"), loose_key("三ケ島"));
  EXPECT_EQ(loose_key("ミヅホ"), loose_key("ミズホ"));
  EXPECT_EQ(loose_key("佐々木"), "佐佐木");
  EXPECT_EQ(loose_key("Jean‐Paul"), "jeanpaul");
  EXPECT_EQ(loose_key("々"), "々");
}

TEST(names, a_mark_joins_what_it_stands_beside_once_nothing_is_between_them) {
  EXPECT_EQ(match_key("e\u200b\u0301"), match_key("é"));
  EXPECT_EQ(loose_key("チ・\u3099"), loose_key("ヂ"));
}

TEST(names, keys_of_keys_are_themselves) {
  for (const auto* name : {"髙橋 ﾊﾅｺ", "ヴァイオレット・リー", "佐々木", "か゛", "İstanbul", "ß", "\xff\xfe", "A ¨", "チ・\u3099",
                           "ヵ\u3099", "e\u200b\u0301", "İ\u0301", "ᄀ-ᅡ"}) {
    EXPECT_EQ(match_key(match_key(name)), match_key(name)) << name;
    EXPECT_EQ(loose_key(loose_key(name)), loose_key(name)) << name;
  }
}

TEST(names, bytes_that_are_no_utf8_become_replacement_characters) {
  EXPECT_EQ(nfkc("a\xff"), "a\xef\xbf\xbd");
  EXPECT_EQ(to_utf8(to_points("𠮷野家")), "𠮷野家");
}

}  // namespace
}  // namespace enishi::crm::japanese

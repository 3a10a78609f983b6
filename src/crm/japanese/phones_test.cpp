#include "crm/japanese/phones.hpp"

#include <gmock/gmock.h>

#include <thread>

namespace enishi::crm::japanese {
namespace {

/// "+819012345678 MOBILE, …" with x12 for an extension and ? for what is kept as text; or the error's code.
std::string read(std::string_view raw) {
  const auto phones = parse_phones(raw);
  if (!phones) return phones.error().code;
  std::string out;
  for (const auto& p : *phones) {
    if (!out.empty()) out += ", ";
    out += p.e164.empty() ? "?" : p.e164 + " " + std::string(to_string(p.kind));
    if (!p.extension.empty()) out += " x" + p.extension;
    EXPECT_EQ(p.possible, !p.e164.empty()) << raw;
  }
  return out;
}

TEST(phones, one_number_however_it_was_typed) {
  for (const auto* raw : {"090-1234-5678",
                          "09012345678",
                          "０９０－１２３４－５６７８",
                          "090 1234 5678",
                          "090(1234)5678",
                          "(090)1234-5678",
                          "+81 90-1234-5678",
                          "+81(0)90-1234-5678",
                          "+81 (0) 90 1234 5678",
                          "090ー1234ー5678",
                          "090−1234−5678",
                          "090・1234・5678",
                          "090.1234.5678",
                          "81-90-1234-5678",
                          "9012345678",
                          "携帯:090-1234-5678",
                          "携帯2 090-1234-5678",
                          "090-1234-5678(20時以降)",
                          "090-1234-5678（本人）",
                          "TEL 090-1234-5678",
                          "tel:+81-90-1234-5678",
                          "<sip:09012345678@192.168.100.1;user=phone>",
                          "184-090-1234-5678",
                          "186 090 1234 5678",
                          "18409012345678",
                          "090‐1234‐5678",
                          "\t090-1234-5678\r\n",
                          "010-81-90-1234-5678",
                          "090-1234-5678\xe2\x80\x8b",
                          "090 - 1234 - 5678"}) {
    EXPECT_EQ(read(raw), "+819012345678 MOBILE") << raw;
  }
}

TEST(phones, prefixes_tell_the_kind) {
  EXPECT_EQ(read("03-1234-5678"), "+81312345678 FIXED");
  EXPECT_EQ(read("0465-12-3456"), "+81465123456 FIXED");
  EXPECT_EQ(read("0120-123-456"), "+81120123456 TOLL_FREE");
  EXPECT_EQ(read("0800-123-4567"), "+818001234567 TOLL_FREE");
  EXPECT_EQ(read("080-1234-5678"), "+818012345678 MOBILE");
  EXPECT_EQ(read("050-1234-5678"), "+815012345678 IP");
  EXPECT_EQ(read("0570-012-345"), "+81570012345 OTHER");
  EXPECT_EQ(read("+1 202-555-0123"), "+12025550123 OTHER");
  EXPECT_EQ(read("+44 7400 123456"), "+447400123456 MOBILE");
}

TEST(phones, a_mobile_prefix_newer_than_the_library_is_valid_by_the_table) {
  const auto phones = parse_phones("060-1234-5678");
  ASSERT_TRUE(phones);
  EXPECT_EQ(phones->front(), (Phone{"060-1234-5678", "+816012345678", "", PhoneKind::MOBILE, true, true}));
}

TEST(phones, valid_is_only_a_hint) {
  const auto phones = parse_phones("04-0000-0000");
  ASSERT_TRUE(phones);
  EXPECT_TRUE(phones->front().possible);
  EXPECT_FALSE(phones->front().valid_hint);
  EXPECT_EQ(phones->front().e164, "+81400000000");
}

TEST(phones, an_extension_is_kept_apart) {
  for (const auto* raw :
       {"03-1234-5678 内線12", "03-1234-5678(内線 12)", "０３－１２３４－５６７８（代）内線１２", "03-1234-5678 ext.12", "03-1234-5678x12",
        "03-1234-5678#12", "03-1234-5678 内線番号:12", "03-1234-5678(内)12", "tel:+81-3-1234-5678;ext=12", "03-1234-5678 Extension 12"}) {
    EXPECT_EQ(read(raw), "+81312345678 FIXED x12") << raw;
  }
  EXPECT_EQ(read("03-1234-5678 内線12、03-1234-9999 内線34"), "+81312345678 FIXED x12, +81312349999 FIXED x34");
  EXPECT_EQ(read("03-1234-5678 fax 03-1234-5679"), "+81312345678 FIXED, +81312345679 FIXED");
  EXPECT_EQ(read("03-1234-5678 内線12345678901"), "PHONE_INVALID");
}

TEST(phones, the_raw_text_stays_as_given) {
  const auto one = parse_phones(" ０３－１２３４－５６７８（代）内線１２ ");
  ASSERT_TRUE(one);
  EXPECT_EQ(one->front().raw, "０３－１２３４－５６７８（代）内線１２");
  const auto two = parse_phones("自宅03-1234-5678／携帯090-1234-5678");
  ASSERT_TRUE(two);
  ASSERT_EQ(two->size(), 2u);
  EXPECT_EQ((*two)[0].raw, "03-1234-5678");
  EXPECT_EQ((*two)[1].raw, "090-1234-5678");
}

TEST(phones, two_numbers_in_a_cell_are_two_phones) {
  for (const auto* raw : {"03-1234-5678/090-1234-5678", "03-1234-5678、090-1234-5678", "03-1234-5678, 090-1234-5678",
                          "03-1234-5678;090-1234-5678", "03-1234-5678\n090-1234-5678", "0312345678 09012345678",
                          "03 1234 5678 090 1234 5678", "03-1234-5678　090-1234-5678", "自宅03-1234-5678携帯090-1234-5678",
                          "+81312345678+819012345678", "03-1234-5678 (携帯 090-1234-5678)", "03-1234-5678または090-1234-5678",
                          "03-1234-5678・090-1234-5678", "03-1234-5678/090-1234-5678/03-1234-5678", "03-1234-5678\r\n090-1234-5678\r\n"}) {
    EXPECT_EQ(read(raw), "+81312345678 FIXED, +819012345678 MOBILE") << raw;
  }
}

TEST(phones, what_may_be_two_numbers_is_never_one) {
  for (const auto* raw : {"03-1234-5678~9", "03-1234-5678〜80", "03-1234-5678/9", "03-1234-5678,5679", "03-1234-5678 5679",
                          "031234567809012345678", "03-1234-5678-090-1234-5678", "03-1234-5678、79", "090-1234-5678 1234",
                          "携帯1 090-1234-5678 5679", "0312345678 1", "03-1234-5678 12345678"}) {
    EXPECT_EQ(read(raw), "PHONE_AMBIGUOUS") << raw;
  }
}

TEST(phones, a_number_that_cannot_be_dialled_is_kept_as_text) {
  for (const auto* raw : {"1234-5678", "12-3456", "090-1234-567", "03-1234-56789", "090-1234-56789"}) EXPECT_EQ(read(raw), "?") << raw;
  EXPECT_EQ(parse_phones("1234-5678 内線3")->front().extension, "3");
  EXPECT_EQ(parse_phones("1234-5678")->front().raw, "1234-5678");
}

TEST(phones, what_is_read_reads_as_itself_again) {
  EXPECT_EQ(read("010-49-0012345650"), "?");
  EXPECT_EQ(read("+81 0090 1234 5678"), "?");
  for (const auto* raw : {"+49 30 123456", "+1 202-555-0123", "+39 06 1234 5678", "090-1234-5678"}) {
    const auto once = parse_phones(raw);
    ASSERT_TRUE(once);
    EXPECT_EQ(parse_phones(once->front().e164)->front().e164, once->front().e164) << raw;
  }
}

TEST(phones, a_withheld_number_is_no_number) {
  for (const auto* raw : {"非通知", "非通知設定", "ﾋﾂｳﾁ", "anonymous", "Anonymous", "unknown", "UNKNOWN", "表示圏外", "公衆電話",
                          "通知不可能", "<sip:anonymous@anonymous.invalid>", "sip:anonymous@192.168.0.1", "Private", "通知不可能 C"}) {
    EXPECT_EQ(read(raw), "PHONE_WITHHELD") << raw;
  }
}

TEST(phones, no_number_at_all_is_said_so) {
  for (const auto* raw : {"", " ", "　", "なし", "無し", "-", "---", "N/A", "none"}) EXPECT_EQ(read(raw), "PHONE_MISSING") << raw;
  for (const auto* raw : {"12", "110", "携帯2", "1階", "1階8号室", "山田", "+", "abc", "😀", "内線 12", "+++"})
    EXPECT_EQ(read(raw), "PHONE_INVALID") << raw;
}

TEST(phones, text_and_count_are_bounded) {
  EXPECT_EQ(read(std::string(101, '1')), "PHONE_TOO_LONG");
  EXPECT_EQ(read(std::string(1000000, '0')), "PHONE_TOO_LONG");
  EXPECT_EQ(read("09012345671,09012345672,09012345673,09012345674,09012345675,09012345676"), "PHONE_TOO_LONG");
}

TEST(phones, many_threads_may_parse_at_once) {
  std::vector<std::jthread> threads;
  std::vector<std::string> seen(4);
  for (std::size_t t = 0; t < seen.size(); ++t)
    threads.emplace_back([&seen, t] {
      for (int i = 0; i < 50; ++i) seen[t] = read("090-1234-5678");
    });
  threads.clear();
  EXPECT_THAT(seen, testing::Each("+819012345678 MOBILE"));
}

}  // namespace
}  // namespace enishi::crm::japanese

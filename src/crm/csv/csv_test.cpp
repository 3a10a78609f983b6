#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "crm/csv/reader.hpp"
#include "crm/csv/writer.hpp"

namespace enishi::crm::csv {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using namespace std::string_literals;
using Fields = std::vector<std::string>;

std::vector<Item> read_all(std::string_view bytes, ReadOptions options = {}, std::size_t chunk = 7) {
  Reader reader(options);
  std::vector<Item> out;
  for (std::size_t i = 0; i < bytes.size(); i += chunk) {
    reader.feed(bytes.substr(i, chunk));
    while (auto item = reader.next()) out.push_back(*item);
  }
  reader.finish();
  while (auto item = reader.next()) out.push_back(*item);
  return out;
}

/// "1:a|b" for a row, "3-4!CSV_QUOTE@2" for a reject of lines 3 to 4 at field 2.
std::vector<std::string> shown(std::string_view bytes, ReadOptions options = {}) {
  std::vector<std::string> out;
  for (const auto& item : read_all(bytes, options)) {
    std::ostringstream text;
    if (const auto* row = std::get_if<Row>(&item)) {
      text << row->line << ":";
      for (std::size_t i = 0; i < row->fields.size(); ++i) text << (i ? "|" : "") << row->fields[i];
    } else {
      const auto& reject = std::get<Reject>(item);
      text << reject.line << "-" << reject.last_line << "!" << reject.code << "@" << reject.column;
      EXPECT_FALSE(reject.detail.empty());
    }
    out.push_back(text.str());
  }
  return out;
}

std::string cp932(std::string_view utf8) {
  std::string out;
  utf8_to_cp932(utf8, out, [&](std::string_view c) { ADD_FAILURE() << "CP932 has no " << c; });
  return out;
}

TEST(csv_reader, reads_rows_whatever_ends_their_lines) {
  for (const auto* end : {"\n", "\r\n", "\r"}) {
    const auto file = "a,b"s + end + "c,d" + end;
    EXPECT_THAT(shown(file), ElementsAre("1:a|b", "2:c|d"));
    EXPECT_THAT(shown(file.substr(0, file.size() - std::string_view(end).size())), ElementsAre("1:a|b", "2:c|d"));
  }
  EXPECT_THAT(shown("a\r\nb\rc\nd"), ElementsAre("1:a", "2:b", "3:c", "4:d"));
}

TEST(csv_reader, a_row_knows_the_line_where_it_begins) {
  EXPECT_THAT(shown("h\n\"a\r\nb\",c\n\n\"x\ny\rz\"\nlast\n"), ElementsAre("1:h", "2:a\r\nb|c", "5:x\ny\rz", "8:last"));
}

TEST(csv_reader, quotes_hold_delimiters_line_ends_and_doubled_quotes) {
  EXPECT_THAT(shown("\"a,b\",\"c\"\"d\",\"\"\n"), ElementsAre("1:a,b|c\"d|"));
  EXPECT_THAT(shown("5\" pipe,a\"b\"\n"), ElementsAre("1:5\" pipe|a\"b\""));
  EXPECT_THAT(shown("\"\"\n"), ElementsAre("1:"));
}

TEST(csv_reader, empty_fields_are_fields_and_blank_lines_are_no_rows) {
  EXPECT_THAT(shown(",,\n\n\r\n,\n"), ElementsAre("1:||", "4:|"));
  EXPECT_THAT(shown(""), IsEmpty());
  EXPECT_THAT(shown("\n\n"), IsEmpty());
  Reader reader({});
  reader.feed("a\n\n\r\nb\n");
  reader.finish();
  while (reader.next()) continue;
  EXPECT_EQ(reader.blank_lines(), 2u);
}

TEST(csv_reader, a_byte_order_mark_is_no_text) {
  EXPECT_THAT(shown("\xef\xbb\xbf\"氏名\",電話\n"), ElementsAre("1:氏名|電話"));
  EXPECT_THAT(shown("\xef\xbb\xbf"), IsEmpty());
  EXPECT_THAT(shown("\xef\xbb"), ElementsAre("1-1!CSV_UNDECODABLE@1"));
}

TEST(csv_reader, cp932_is_recognised) {
  const auto file = cp932("氏名,住所\n髙橋 ソ能表,〒150-0001 東京都渋谷区\nｶﾅ,①㈱\n");
  EXPECT_THAT(shown(file), ElementsAre("1:氏名|住所", "2:髙橋 ソ能表|〒150-0001 東京都渋谷区", "3:ｶﾅ|①㈱"));
  EXPECT_THAT(shown("氏名,住所\n髙橋,𠮷野😀\n"), ElementsAre("1:氏名|住所", "2:髙橋|𠮷野😀"));
}

TEST(csv_reader, cp932_is_recognised_after_many_ascii_lines) {
  std::string file;
  for (int i = 0; i < 30000; ++i) file += "ascii,only\n";
  file += cp932("田中,太郎\n");
  const auto rows = shown(file);
  ASSERT_EQ(rows.size(), 30001u);
  EXPECT_EQ(rows.back(), "30001:田中|太郎");
}

TEST(csv_reader, one_bad_byte_costs_its_row_and_no_other) {
  EXPECT_THAT(shown("田中,太郎\n山\xff本,花子\n佐藤,次郎\n"), ElementsAre("1:田中|太郎", "2-2!CSV_UNDECODABLE@1", "3:佐藤|次郎"));
  const auto file = cp932("田中,太郎\n") + "a,\x81\n" + cp932("佐藤,次郎\n");
  EXPECT_THAT(shown(file), ElementsAre("1:田中|太郎", "2-2!CSV_UNDECODABLE@2", "3:佐藤|次郎"));
  EXPECT_THAT(shown("a\xed\xa0\x80,b\n", {.encoding = Encoding::UTF8}), ElementsAre("1-1!CSV_UNDECODABLE@1"));
  EXPECT_THAT(shown("\xc0\xaf\n", {.encoding = Encoding::UTF8}), ElementsAre("1-1!CSV_UNDECODABLE@1"));
}

TEST(csv_reader, the_reject_shows_how_the_row_begins) {
  const auto items = read_all("田中\n山\xff本,花子\n");
  const auto& reject = std::get<Reject>(items.at(1));
  EXPECT_EQ(reject.excerpt, "山\xef\xbf\xbd本,花子");
}

TEST(csv_reader, text_behind_a_closing_quote_rejects_the_row) {
  EXPECT_THAT(shown("\"a\"b,c\nd,e\n"), ElementsAre("1-1!CSV_QUOTE@1", "2:d|e"));
  EXPECT_THAT(shown("x,\"a\" ,c\nd,e\n"), ElementsAre("1-1!CSV_QUOTE@2", "2:d|e"));
}

TEST(csv_reader, half_a_file_is_an_error_from_the_first_line_of_its_open_quote) {
  EXPECT_THAT(shown("a,b\nc,\"d\ne\nf"), ElementsAre("1:a|b", "2-4!CSV_UNCLOSED_QUOTE@2"));
  EXPECT_THAT(shown("\""), ElementsAre("1-1!CSV_UNCLOSED_QUOTE@1"));
}

TEST(csv_reader, a_nul_byte_rejects_its_row) { EXPECT_THAT(shown("a,b\nc,\0d\ne,f\n"s), ElementsAre("1:a|b", "2-2!CSV_NUL@2", "3:e|f")); }

TEST(csv_reader, sizes_are_bounded_and_the_rest_is_read) {
  const ReadOptions small{.max_row_bytes = 20, .max_field_bytes = 10, .max_fields = 3};
  EXPECT_THAT(shown("12345678901,a\nok\n", small), ElementsAre("1-1!CSV_FIELD_TOO_LARGE@1", "2:ok"));
  EXPECT_THAT(shown("1234567890,1234567890,1\nok\n", small), ElementsAre("1-1!CSV_ROW_TOO_LARGE@3", "2:ok"));
  EXPECT_THAT(shown("1,2,3\n1,2,3,4\nok\n", small), ElementsAre("1:1|2|3", "2-2!CSV_TOO_MANY_FIELDS@4", "3:ok"));
  EXPECT_THAT(shown("\"12345\n6\n7\n8\n9\n0\n\",b\nok\n", small), ElementsAre("1-7!CSV_FIELD_TOO_LARGE@1", "8:ok"));
}

TEST(csv_reader, utf16_is_refused_as_a_whole) {
  EXPECT_THAT(shown("\xff\xfe\x41\0\x2c\0"s), ElementsAre("1-1!CSV_ENCODING_UNSUPPORTED@0"));
}

TEST(csv_reader, other_delimiters_are_tab_and_semicolon_only) {
  EXPECT_THAT(shown("a\tb,c\n", {.delimiter = '\t'}), ElementsAre("1:a|b,c"));
  EXPECT_THAT(shown("a;b\n", {.delimiter = ';'}), ElementsAre("1:a|b"));
  EXPECT_THROW(Reader({.delimiter = '|'}), std::invalid_argument);
}

TEST(csv_reader, the_way_it_is_cut_into_chunks_does_not_matter) {
  const auto file = "\xef\xbb\xbf氏名,\"住\r\n所\"\r\n\"x\"y\n山\xff\n\n\"a\"\"b\",\r\rz,\"open"s;
  const auto whole = read_all(file, {}, file.size());
  for (std::size_t chunk = 1; chunk < file.size(); ++chunk) EXPECT_EQ(read_all(file, {}, chunk), whole) << chunk;
}

TEST(csv_encoding, both_encodings_of_wave_dash_and_minus_are_written_and_the_ones_of_windows_are_read) {
  EXPECT_EQ(cp932("〜～"), "\x81\x60\x81\x60");
  EXPECT_EQ(cp932("−－"), "\x81\x7c\x81\x7c");
  EXPECT_EQ(cp932("‖∥—―¢￠£￡¬￢"), "\x81\x61\x81\x61\x81\x5c\x81\x5c\x81\x91\x81\x91\x81\x92\x81\x92\x81\xca\x81\xca");
  EXPECT_EQ(cp932_to_utf8("\x81\x60\x81\x7c"), "～－");
}

TEST(csv_encoding, every_cp932_character_comes_back) {
  std::size_t characters = 0;
  for (unsigned lead = 0x81; lead <= 0xfc; ++lead) {
    for (unsigned trail = 0x40; trail <= 0xfc; ++trail) {
      const std::string bytes{static_cast<char>(lead), static_cast<char>(trail)};
      if (lead >= 0xa0 && lead <= 0xdf) continue;
      const auto text = cp932_to_utf8(bytes);
      if (!text) continue;
      ++characters;
      EXPECT_EQ(cp932_to_utf8(cp932(*text)), text);
    }
  }
  EXPECT_GT(characters, 9000u);
  EXPECT_EQ(cp932("髙﨑"), "\xfb\xfc\xfa\xb1");
  EXPECT_FALSE(cp932_to_utf8("\x81"));
  EXPECT_FALSE(cp932_to_utf8("\xff"));
  EXPECT_FALSE(cp932_to_utf8("\x82\x20"));
}

TEST(csv_writer, writes_what_excel_opens) {
  Writer writer({});
  std::string out;
  writer.row({"氏名", "備考"}, out);
  writer.row({"田中", "a,\"b\"\nc"}, out);
  writer.row({""}, out);
  EXPECT_EQ(out, "\xef\xbb\xbf氏名,備考\r\n田中,\"a,\"\"b\"\"\nc\"\r\n\"\"\r\n");
}

TEST(csv_writer, text_that_begins_like_a_byte_order_mark_stays_text) {
  Writer writer({.bom = false});
  std::string out;
  writer.row({"\xef\xbb\xbfx", "y"}, out);
  EXPECT_THAT(shown(out), ElementsAre("1:\xef\xbb\xbfx|y"));
}

TEST(csv_writer, no_cell_becomes_a_formula) {
  for (const auto* cell :
       {"=1+1", "+81312345678", "-cmd|' /C calc'!A0", "@SUM(A1)", "\tx", "\rx", "＝1", "-", "--1", "-1-1", "-1.2.3", "=", "'=1", "＠x"}) {
    EXPECT_EQ(guard(cell), "'"s + cell);
    EXPECT_EQ(unguard(guard(cell)), cell);
  }
  for (const auto* cell : {"", "a=b", "-5", "-1234.50", "'quoted", "03-1234-5678", "'"}) {
    EXPECT_EQ(guard(cell), cell);
    EXPECT_EQ(unguard(cell), cell);
  }
  Writer writer({.bom = false});
  std::string out;
  writer.row({"=HYPERLINK(\"http://x\",\"y\")", "ok"}, out);
  EXPECT_EQ(out, "\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\",ok\r\n");
}

TEST(csv_writer, lists_what_cp932_cannot_hold) {
  Writer writer({.encoding = Encoding::CP932});
  std::string out;
  writer.row({"氏名", "備考"}, out);
  writer.row({"𠮷野", "髙橋😀〜"}, out);
  EXPECT_EQ(out, cp932("氏名,備考\r\n〓野,髙橋〓〜\r\n"));
  EXPECT_THAT(writer.unencodable(), ElementsAre(Unencodable{2, 1, "𠮷"}, Unencodable{2, 2, "😀"}));
  EXPECT_EQ(writer.unencodable_count(), 2u);
}

/// The list of strings that break programs; not part of this tree.
std::vector<std::string> naughty_strings() {
  const auto* given = std::getenv("ENISHI_SAMPLES");
  const auto folder = given ? std::filesystem::path(given) : std::filesystem::path(ENISHI_SOURCE_ROOT) / "../shared/data";
  std::ifstream file(folder / "naughty_strings.json", std::ios::binary);
  if (!file) return {};
  std::ostringstream text;
  text << file.rdbuf();
  const auto parsed = boost::json::parse(text.str());
  std::vector<std::string> out;
  for (const auto& value : parsed.as_array()) out.emplace_back(value.as_string());
  return out;
}

TEST(csv_writer, strings_that_break_programs_come_back_as_they_were) {
  const auto strings = naughty_strings();
  if (strings.empty()) GTEST_SKIP() << "naughty_strings.json is not here; ENISHI_SAMPLES names its folder";
  Writer writer({});
  std::string out;
  for (const auto& s : strings) writer.row(Fields{s, "x"}, out);
  const auto items = read_all(out, {}, 4096);
  ASSERT_EQ(items.size(), strings.size());
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (strings[i].find('\0') != std::string::npos) continue;
    const auto* row = std::get_if<Row>(&items[i]);
    ASSERT_TRUE(row) << strings[i];
    EXPECT_EQ(unguard(row->fields[0]), strings[i]);
  }
}

}  // namespace
}  // namespace enishi::crm::csv

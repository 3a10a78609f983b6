#include "crm/imports/leads.hpp"

#include <gtest/gtest.h>

namespace enishi::crm::imports {
namespace {

const Definitions& definitions() {
  static const auto one = definitions_of(
      R"([{"id":"01900000-0000-7000-8000-00000c000001","code":"kimono","name_ja":"着物・帯","name_en":"Kimono"},
          {"id":"01900000-0000-7000-8000-00000c000002","code":"stamp","name_ja":"切手","name_en":"Stamps"}])",
      R"([{"entity":"customer","key":"member","kind":"BOOLEAN","choices":[],"required":false},
          {"entity":"inquiry","key":"rank","kind":"CHOICE","choices":["A","B"],"required":false}])",
      "Asia/Tokyo");
  return one;
}

Read read(std::vector<std::string> cells, const Mapping& mapping) {
  const auto columns = cells.size();
  return read_lead({{1, 2, 2}, csv::Row{2, std::move(cells)}}, mapping, columns, definitions());
}

Mapping mapped(std::initializer_list<const char*> fields) {
  Mapping out;
  for (const auto* field : fields) out.push_back({out.size() + 1, field});
  return out;
}

std::string code(const Read& read) { return std::holds_alternative<Refusal>(read) ? std::get<Refusal>(read).code : ""; }

TEST(import_mapping, columns_are_recognised_by_japanese_and_english_names_in_any_order) {
  EXPECT_EQ(
      suggest({"受付日時", "氏名（必須）", "ﾌﾘｶﾞﾅ", "電話番号", "郵便番号", "ご住所", "Ｅメール", "商材", "媒体ID", "何か", "E-Mail"}),
      (Mapping{{1, "received_at"},
               {2, "display_name"},
               {3, "kana"},
               {4, "phone"},
               {5, "postal_code"},
               {6, "address"},
               {7, "email"},
               {8, "item_category"},
               {9, "external_ref"},
               {11, "email"}}));
  EXPECT_EQ(suggest({"Phone Number", "display_name", "received_at", "Received"}),
            (Mapping{{1, "phone"}, {2, "display_name"}, {3, "received_at"}}));
  EXPECT_EQ(mapping_of(to_json({{3, "custom.\"x\""}})), (Mapping{{3, "custom.\"x\""}}));
}

TEST(import_moments, are_read_in_the_forms_people_and_programs_write) {
  const auto read = [](std::string_view text) { return parse_moment(text, "Asia/Tokyo").value_or("-"); };
  EXPECT_EQ(read("2026/11/22 13:05"), "2026-11-22 13:05:00 Asia/Tokyo");
  EXPECT_EQ(read("2026/11/22(日) 13:05"), "2026-11-22 13:05:00 Asia/Tokyo");
  EXPECT_EQ(read("2026-11-22T13:05:30+09:00"), "2026-11-22 13:05:30 +09:00");
  EXPECT_EQ(read("2026-11-22T04:05:30.123Z"), "2026-11-22 04:05:30 UTC");
  EXPECT_EQ(read("２０２６年１１月２２日　１３時５分"), "2026-11-22 13:05:00 Asia/Tokyo");
  EXPECT_EQ(read("令和8年11月22日午後1時5分"), "2026-11-22 13:05:00 Asia/Tokyo");
  EXPECT_EQ(read("2026/11/22 午前12:30"), "2026-11-22 00:30:00 Asia/Tokyo");
  EXPECT_EQ(read("2026/11/22"), "2026-11-22 00:00:00 Asia/Tokyo");
  for (const auto* bad : {"1795320300", "2026/11/22 25:00", "2026/11/22 13:60", "2026/02/30 10:00", "yesterday", "", "2026/11/22 13:05 PM",
                          "2026/11/22 13", "22/11/2026 13:05"})
    EXPECT_EQ(read(bad), "-") << bad;
}

TEST(import_rows, a_lead_has_what_its_row_says) {
  const auto mapping = mapped({"display_name", "display_name", "kana", "phone", "phone", "email", "postal_code", "address", "birth_date",
                               "item_category", "received_at", "custom.member", "inquiry.custom.rank", "notes"});
  const auto out = read({"山田", "花子", "ヤマダ ハナコ", "090-1234-5678", "03-1234-5678 内線12", "a@example.jp", "〒150-0001",
                         "東京都渋谷区神宮前1-2-3", "S25.4.1", "着物、stamp", "2026/11/22 13:05", "はい", "A", "一行目\n二行目"},
                        mapping);
  ASSERT_TRUE(std::holds_alternative<Lead>(out)) << code(out);
  const auto& lead = std::get<Lead>(out);
  EXPECT_EQ(lead.display_name, "山田 花子");
  EXPECT_EQ(lead.phones.at(0).e164, "+819012345678");
  EXPECT_EQ(lead.phones.at(1).extension, "12");
  EXPECT_EQ(lead.address.postal_code, "1500001");
  EXPECT_EQ(lead.birth_date, "1950-04-01");
  EXPECT_EQ(lead.categories.size(), 2U);
  EXPECT_EQ(lead.custom, R"({"member":true})");
  EXPECT_EQ(lead.inquiry_custom, R"({"rank":"A"})");
  EXPECT_EQ(lead.notes, "一行目\n二行目");
}

TEST(import_rows, what_is_wrong_is_refused_with_its_code) {
  const auto mapping = mapped({"display_name", "phone", "item_category", "email"});
  EXPECT_EQ(code(read({"", "090-1234-5678", "", ""}, mapping)), "NAME_MISSING");
  EXPECT_EQ(code(read({"---", "090-1234-5678", "", ""}, mapping)), "NAME_MISSING");
  EXPECT_EQ(code(read({"山田", "", "", ""}, mapping)), "PHONE_MISSING");
  EXPECT_EQ(code(read({"山田", "非通知", "", ""}, mapping)), "PHONE_WITHHELD");
  EXPECT_EQ(code(read({"山田", "12", "", ""}, mapping)), "PHONE_INVALID");
  EXPECT_EQ(code(read({"山田", "1234-5678", "", ""}, mapping)), "PHONE_INVALID");
  EXPECT_EQ(code(read({"山田", "090-1234-5678", "", "not an address"}, mapping)), "EMAIL_INVALID");
  EXPECT_EQ(code(read({" ", "　", "", ""}, mapping)), "ROW_EMPTY");
  EXPECT_EQ(code(read({std::string(603, 'x'), "090-1234-5678", "", ""}, mapping)), "TOO_LONG");
  const auto unknown = read({"山田", "090-1234-5678", "着物/宇宙船", ""}, mapping);
  EXPECT_EQ(code(unknown), "CATEGORY_UNKNOWN");
  EXPECT_NE(std::get<Refusal>(unknown).detail.find("宇宙船"), std::string::npos);
  const auto cut = read_lead({{1, 2, 2}, csv::Row{2, {"山田", "090-1234-5678"}}}, mapping, 4, definitions());
  EXPECT_EQ(code(cut), "FIELD_COUNT");
  EXPECT_EQ(std::get<Refusal>(cut).cells.size(), 2U);
  EXPECT_EQ(code(read_lead({{1, 2, 2}, csv::Row{2, {"山田", "090-1234-5678", "", "", "", ""}}}, mapping, 4, definitions())), "");
}

TEST(import_rows, cells_that_a_spreadsheet_or_our_own_export_guarded_are_read_as_meant) {
  const auto mapping = mapped({"display_name", "phone"});
  for (const auto* phone : {"=\"090-1234-5678\"", "'+81 90-1234-5678", "９０12345678"}) {
    const auto out = read({"山田", phone}, mapping);
    ASSERT_TRUE(std::holds_alternative<Lead>(out)) << phone;
    EXPECT_EQ(std::get<Lead>(out).phones.at(0).e164, "+819012345678") << phone;
  }
}

TEST(import_addresses, are_taken_apart_as_far_as_it_is_certain) {
  const std::vector<Town> towns{{"東京都", "渋谷区", "神宮前"}};
  Address a;
  a.whole = "東京都渋谷区神宮前1-2-3 コーポ201";
  split_address(a, towns);
  EXPECT_EQ(a.prefecture + "|" + a.city + "|" + a.town + "|" + a.street, "東京都|渋谷区|神宮前|1-2-3 コーポ201");
  Address without;
  without.whole = "〒150-0001 渋谷区神宮前1-2-3";
  split_address(without, {});
  EXPECT_EQ(without.postal_code + "|" + without.prefecture + "|" + without.street, "1500001||渋谷区神宮前1-2-3");
  Address elsewhere;
  elsewhere.whole = "大阪府大阪市北区梅田1";
  split_address(elsewhere, towns);
  EXPECT_EQ(elsewhere.prefecture + "|" + elsewhere.city + "|" + elsewhere.street, "大阪府||大阪市北区梅田1");
}

}  // namespace
}  // namespace enishi::crm::imports

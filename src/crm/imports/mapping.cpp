#include "crm/imports/mapping.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <map>
#include <set>

#include "base/log.hpp"
#include "crm/japanese/names.hpp"

namespace enishi::crm::imports {
namespace {

struct Field {
  std::string_view name;
  bool several;
  std::vector<std::string_view> called;  ///< what columns with it are called
};

const std::vector<Field>& fields() {
  static const std::vector<Field> all{
      {"display_name",
       true,
       {"氏名", "お名前", "名前", "顧客名", "お客様名", "氏名漢字", "姓", "名", "name", "full name", "display_name", "customer name",
        "last name", "first name"}},
      {"kana",
       true,
       {"フリガナ", "ふりがな", "氏名カナ", "氏名かな", "カナ", "かな", "カナ氏名", "お名前カナ", "セイ", "メイ", "姓カナ", "名カナ",
        "kana", "furigana"}},
      {"phone",
       true,
       {"電話番号", "電話", "tel", "phone", "phone number", "telephone", "携帯", "携帯電話", "携帯番号", "携帯電話番号", "連絡先",
        "電話番号1", "電話番号2", "tel1", "tel2", "自宅電話", "固定電話", "固定電話番号", "mobile"}},
      {"email", true, {"メール", "メールアドレス", "email", "e-mail", "mail", "eメール", "mail address", "email address"}},
      {"postal_code", false, {"郵便番号", "〒", "postal_code", "zip", "zip code", "postcode"}},
      {"prefecture", false, {"都道府県", "県名", "prefecture", "state"}},
      {"city", false, {"市区町村", "市町村", "city"}},
      {"town", true, {"町名", "町域", "town"}},
      {"street", true, {"番地", "丁目番地", "住所2", "street", "address2"}},
      {"building", true, {"建物名", "建物", "マンション名", "建物名部屋番号", "住所3", "building"}},
      {"address", false, {"住所", "ご住所", "所在地", "住所1", "address", "address1", "full address"}},
      {"birth_date", false, {"生年月日", "誕生日", "birth_date", "birthday", "date of birth"}},
      {"customer_notes", true, {"顧客備考", "顧客メモ", "customer_notes"}},
      {"notes",
       true,
       {"備考", "メモ", "お問い合わせ内容", "お問合せ内容", "問合せ内容", "内容", "ご要望", "コメント", "notes", "note", "message", "memo",
        "comment"}},
      {"item_category",
       true,
       {"商材", "品目", "買取品目", "カテゴリ", "カテゴリー", "商品カテゴリ", "お品物", "item_category", "category", "categories"}},
      {"item_description", true, {"商品名", "品名", "商品詳細", "お品物詳細", "item_description", "item", "description"}},
      {"external_ref",
       false,
       {"媒体ID", "反響ID", "リードID", "管理番号", "受付番号", "問合せ番号", "お問い合わせ番号", "external_ref", "lead id", "reference",
        "id"}},
      {"received_at",
       false,
       {"受付日時", "反響日時", "受付日", "申込日時", "申込日", "問合せ日時", "お問い合わせ日時", "登録日時", "受信日時", "日時",
        "received_at", "received", "created_at", "timestamp"}},
  };
  return all;
}

/// Names of columns differ in width, case, spaces and underscores, and carry remarks in brackets.
std::string column_key(std::string_view name) {
  auto key = japanese::match_key(name);
  if (const auto bracket = key.find('('); bracket != std::string::npos && bracket > 0) key.resize(bracket);
  std::erase_if(key, [](char c) { return c == '_' || c == '*'; });
  const auto loose = japanese::loose_key(key);
  return loose.empty() ? key : loose;
}

}  // namespace

const std::vector<std::string_view>& field_names() {
  static const auto all = [] {
    std::vector<std::string_view> names;
    for (const auto& f : fields()) names.push_back(f.name);
    return names;
  }();
  return all;
}

bool takes_several(std::string_view field) {
  const auto found = std::find_if(fields().begin(), fields().end(), [&](const Field& f) { return f.name == field; });
  return found != fields().end() && found->several;
}

Mapping suggest(const std::vector<std::string>& names) {
  static const auto known = [] {
    std::map<std::string, std::string_view> keys;
    for (const auto& f : fields())
      for (const auto name : f.called) keys.emplace(column_key(name), f.name);
    return keys;
  }();
  Mapping out;
  std::set<std::string_view> taken;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto found = known.find(column_key(names[i]));
    if (found == known.end() || (!takes_several(found->second) && !taken.insert(found->second).second)) continue;
    out.push_back({i + 1, std::string(found->second)});
  }
  return out;
}

std::string to_json(const Mapping& mapping) {
  std::string out = "[";
  for (const auto& column : mapping) {
    if (out.size() > 1) out += ',';
    out += R"({"column":)" + std::to_string(column.number) + R"(,"field":)" + json_quote(column.field) + "}";
  }
  return out + "]";
}

Mapping mapping_of(std::string_view json) {
  Mapping out;
  const auto parsed = boost::json::parse(boost::json::string_view(json.data(), json.size()));
  for (const auto& entry : parsed.as_array())
    out.push_back({static_cast<std::size_t>(entry.at("column").as_int64()), std::string(entry.at("field").as_string())});
  return out;
}

}  // namespace enishi::crm::imports

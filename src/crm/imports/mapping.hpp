// Which column of a file is what, and a suggestion by the columns' names.
//
//   auto mapping = suggest({"受付日時", "氏名", "電話番号", "商材"});   // 1 received_at, 2 display_name, 3 phone, 4 item_category
//
// display_name, kana, the notes and the parts of an address may have several columns (姓 and 名): they are joined in the order of the
// mapping. So may phone, email and item_category, each value of which counts. Everything else has one.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace enishi::crm::imports {

struct Column {
  std::size_t number = 0;  ///< from 1
  std::string field;       ///< one of field_names(), custom.KEY of the customer, or inquiry.custom.KEY
  friend bool operator==(const Column&, const Column&) = default;
};
using Mapping = std::vector<Column>;

const std::vector<std::string_view>& field_names();
/// Whether a field may be mapped from more than one column.
bool takes_several(std::string_view field);

Mapping suggest(const std::vector<std::string>& names);

/// [{"column": 1, "field": "display_name"}]
std::string to_json(const Mapping& mapping);
/// Of what to_json() wrote; throws for anything else.
Mapping mapping_of(std::string_view json);

}  // namespace enishi::crm::imports

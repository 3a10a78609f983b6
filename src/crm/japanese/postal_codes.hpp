// Postal codes and the towns they may mean, from data that is built into the binary (db/data/README.md says whose).
//
//   normalize_postal_code("〒１５０－０００１")  // "1500001"
//   for_each_postal_row([&](const PostalRow& row) { copy.row({row.postal_code, row.prefecture, row.city, row.town}); });
#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace enishi::crm::japanese {

/// Seven digits. Error POSTAL_CODE_INVALID, also for six digits: a spreadsheet ate a zero, or a digit is missing, and nobody can tell.
[[nodiscard]] Result<std::string> normalize_postal_code(std::string_view text);

/// One town a code may mean. A code may have several, in two prefectures even (4980000): offer them, and keep free text.
struct PostalRow {
  std::string_view postal_code;  ///< seven digits
  std::string_view city_code;    ///< JIS X 0402, five digits; the first two are the prefecture
  std::string_view prefecture;   ///< 東京都
  std::string_view city;         ///< 千代田区
  std::string_view city_kana;    ///< チヨダク
  std::string_view town;         ///< 千代田; empty where the code is the whole city's
};

/// All rows, sorted by code, (code, prefecture, city, town) each once. About 130,000; the views live as long as the call. Throws
/// std::runtime_error if the embedded data is damaged.
void for_each_postal_row(const std::function<void(const PostalRow&)>& callback);

}  // namespace enishi::crm::japanese

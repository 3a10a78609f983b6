// Phone numbers as people in Japan write them: one cell may hold labels, an extension, two numbers, or no number at all.
//
//   parse_phones("０３－１２３４－５６７８（代）内線12")     // {raw as given, +81312345678, extension 12, FIXED}
//   parse_phones("090-1234-5678 / 03-1234-5678")          // two phones
//   parse_phones("非通知")                                  // PHONE_WITHHELD
//
// The first call loads libphonenumber's data (some ms), later ones take tens of µs. Any thread may call.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace enishi::crm::japanese {

enum class PhoneKind { MOBILE, FIXED, TOLL_FREE, IP, OTHER };
/// "MOBILE", as the column holds it.
[[nodiscard]] std::string_view to_string(PhoneKind kind);

struct Phone {
  std::string raw;        ///< as given; of several numbers in one cell, each one's part in NFKC
  std::string e164;       ///< +819012345678; empty exactly when the number is not possible and is kept as text
  std::string extension;  ///< 1 to 10 digits, or empty
  PhoneKind kind = PhoneKind::OTHER;
  bool possible = false;    ///< its length fits; that is all that is asked of a number
  bool valid_hint = false;  ///< its prefix is known; a hint to show, for numbering plans grow faster than data
  friend bool operator==(const Phone&, const Phone&) = default;
};

inline constexpr std::size_t max_phone_text = 100;  ///< characters in one cell
inline constexpr std::size_t max_phones = 5;        ///< numbers in one cell

/// The numbers of one cell, at least one, equal ones once. Japan is the country unless + says another. 184 and 186 before a number are
/// dropped. A number of five digits or more that cannot be dialled from elsewhere (1234-5678) is kept as text: e164 empty, possible false.
/// Errors, all unprocessable: PHONE_MISSING (empty, なし), PHONE_WITHHELD (非通知, anonymous, unknown, 表示圏外, 公衆電話 …), PHONE_INVALID
/// (no digits, or fewer than five), PHONE_AMBIGUOUS (more digits than one number has and no way to tell several apart: 03-1234-5678~9),
/// PHONE_TOO_LONG (text or count over the limits above).
[[nodiscard]] Result<std::vector<Phone>> parse_phones(std::string_view raw);

}  // namespace enishi::crm::japanese

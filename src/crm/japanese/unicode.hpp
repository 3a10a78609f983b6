// Unicode for Japanese data, by ICU: one way between UTF-8 and code points, and NFKC, which turns full-width letters and digits
// into ASCII and half-width kana into full-width ones.
//
//   nfkc("０３－１２３４")  // "03-1234"
//   nfkc("ｶﾞｷﾞ")          // "ガギ"
#pragma once
#include <string>
#include <string_view>

namespace enishi::crm::japanese {

/// NFKC. Bytes that are no UTF-8 become U+FFFD. A sound mark that stands alone (゛ ゜) joins the kana before it.
[[nodiscard]] std::string nfkc(std::string_view utf8);
/// The same as code points.
[[nodiscard]] std::u32string nfkc_points(std::string_view utf8);

/// Code points of UTF-8; bytes that are none become U+FFFD.
[[nodiscard]] std::u32string to_points(std::string_view utf8);
[[nodiscard]] std::string to_utf8(std::u32string_view points);

/// Spaces of every kind, line breaks and tabs, and what has no look at all (controls, zero width, variation selectors).
[[nodiscard]] bool is_space(char32_t c);
[[nodiscard]] bool is_invisible(char32_t c);

/// Without spaces and invisible characters at both ends.
[[nodiscard]] std::string trimmed(std::string_view utf8);

}  // namespace enishi::crm::japanese

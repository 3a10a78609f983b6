// UTF-8 and CP932 (what Windows in Japan calls Shift_JIS), and a guess which of the two some bytes are.
//
//   cp932_to_utf8("\x93\x63\x92\x86")           // "田中"
//   utf8_to_cp932("〜", out, bad)                // U+301C and U+FF5E are both 0x8160
//
// The tables are glibc's (iconv, CP932), read once.
#pragma once
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace enishi::crm::csv {

enum class Encoding { AUTO, UTF8, CP932 };

/// UTF-8 if the bytes are valid as such, or more of their non-ASCII characters are valid than are not; else CP932. A character cut off
/// at the end is no error.
[[nodiscard]] Encoding guess_encoding(std::string_view bytes);

/// Whether all of it is UTF-8 as RFC 3629 has it: no surrogates, nothing overlong.
[[nodiscard]] bool is_utf8(std::string_view bytes);

/// Empty if a byte is none of CP932's. 0x8160 is U+FF5E and 0x817C is U+FF0D, as Windows has it. The user-defined area (gaiji) becomes
/// U+E000 and on, and goes back to the same bytes.
[[nodiscard]] std::optional<std::string> cp932_to_utf8(std::string_view bytes);

/// Appends `utf8` to `out`; a character CP932 cannot hold becomes 〓 and is given to `unencodable` as UTF-8. Both encodings of 〜 − ‖ — ¢ £
/// ¬ are taken.
void utf8_to_cp932(std::string_view utf8, std::string& out, const std::function<void(std::string_view)>& unencodable);

}  // namespace enishi::crm::csv

// The request target (RFC 9112, 3.2), read strictly: what is no percent-encoding, no UTF-8 or holds U+0000 is refused, not repaired.
//
//   percent_decoded("a%2Fb")            // "a/b"; nothing for "%2", "%zz", "%00", "%ff"
//   read_query("q=%E7%94%B0&x=1", out)  // {{"q","田"},{"x","1"}}; "+" is a space
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace enishi::http {

std::optional<std::string> percent_decoded(std::string_view text, bool plus_is_space = false);
/// Whether a decoded path has a segment "." or "..": nobody's client sends one, and no file or page may be reached by it.
bool has_dot_segment(std::string_view path);

/// Appends the parameters of a query (without the question mark); false when it cannot be read or has more than 100.
bool read_query(std::string_view text, std::vector<std::pair<std::string, std::string>>& out);

}  // namespace enishi::http

#include "http/fields.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace enishi::http {
namespace {

constexpr std::size_t kMostErrors = 100;

std::size_t code_points(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

/// U+0000..U+001F, U+007F and U+0080..U+009F; in a text of several lines tab and line ends may stand.
bool has_control(std::string_view text, bool multiline) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x20 || c == 0x7f) {
      if (!multiline || (c != '\n' && c != '\r' && c != '\t')) return true;
    } else if (c == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0) {
      return true;
    }
  }
  return false;
}

/// `n` digits at `at`, or -1.
int digits_at(std::string_view s, std::size_t at, std::size_t n) {
  if (at + n > s.size()) return -1;
  int value = 0;
  for (std::size_t i = at; i < at + n; ++i) {
    if (s[i] < '0' || s[i] > '9') return -1;
    value = value * 10 + (s[i] - '0');
  }
  return value;
}

}  // namespace

void append_token(std::string& pointer, std::string_view name) {
  pointer.push_back('/');
  for (const char c : name) {
    if (c == '~')
      pointer += "~0";
    else if (c == '/')
      pointer += "~1";
    else
      pointer.push_back(c);
  }
}

std::string shortened(std::string_view text) {
  if (text.size() <= 64) return std::string(text);
  std::size_t end = 64;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return std::string(text.substr(0, end)) + "…";
}

void add_error(std::vector<FieldError>& errors, std::string pointer, std::string code, std::string detail) {
  if (errors.size() < kMostErrors) errors.push_back({std::move(pointer), std::move(code), std::move(detail)});
}

std::optional<Error> validation(std::vector<FieldError> fields, std::string_view what) {
  if (fields.empty()) return std::nullopt;
  const auto n = fields.size();
  return Error{Kind::unprocessable,
               "VALIDATION_FAILED",
               fmt::format("{} of {} cannot be accepted; `errors` names each.", n == 1 ? "1 field" : fmt::format("{} fields", n), what),
               std::move(fields),
               {},
               0};
}

bool is_date(std::string_view s) {
  if (s.size() != 10 || s[4] != '-' || s[7] != '-') return false;
  const int year = digits_at(s, 0, 4), month = digits_at(s, 5, 2), day = digits_at(s, 8, 2);
  if (year < 1 || month < 1 || month > 12 || day < 1) return false;
  const auto ymd = std::chrono::year(year) / month / day;
  return ymd.ok();
}

bool is_timestamp(std::string_view s) {
  if (s.size() < 20 || !is_date(s.substr(0, 10)) || (s[10] != 'T' && s[10] != 't') || s[13] != ':' || s[16] != ':') return false;
  const int hour = digits_at(s, 11, 2), minute = digits_at(s, 14, 2), second = digits_at(s, 17, 2);
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59) return false;
  std::size_t at = 19;
  if (s[at] == '.') {
    const auto begin = ++at;
    while (at < s.size() && s[at] >= '0' && s[at] <= '9') ++at;
    if (at == begin || at - begin > 9) return false;
  }
  if (at + 1 == s.size()) return s[at] == 'Z' || s[at] == 'z';
  // In UTC it would be before the year 1 or after 9999, which no RFC 3339 can say when it is read back.
  if ((s.starts_with("0001") && s[at] == '+') || (s.starts_with("9999") && s[at] == '-')) return false;
  if (at + 6 != s.size() || (s[at] != '+' && s[at] != '-') || s[at + 3] != ':') return false;
  const int oh = digits_at(s, at + 1, 2), om = digits_at(s, at + 4, 2);
  return oh >= 0 && oh <= 15 && om >= 0 && om <= 59;
}

std::string listed(std::span<const std::string_view> choices) {
  std::string out;
  for (const auto c : choices) out += (out.empty() ? "" : ", ") + std::string(c);
  return out;
}

std::optional<std::pair<std::string, std::string>> text_fault(std::string_view text, const TextRules& rules) {
  const auto n = code_points(text);
  if (n > rules.max) return {{"TOO_LONG", fmt::format("at most {} characters, not {}", rules.max, n)}};
  if (n < rules.min) return {{"TOO_SHORT", fmt::format("at least {} characters, not {}", rules.min, n)}};
  if (has_control(text, rules.multiline)) return {{"CONTROL_CHARACTER", "control characters cannot be stored in this field"}};
  return std::nullopt;
}

}  // namespace enishi::http

#include "crm/csv/writer.hpp"

#include <algorithm>

namespace enishi::crm::csv {

namespace {

bool is_negative_number(std::string_view text) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  if (!text.starts_with('-')) return false;
  text.remove_prefix(1);
  const auto point = text.find('.');
  const auto whole = text.substr(0, point);
  const auto part = point == text.npos ? std::string_view("0") : text.substr(point + 1);
  return !whole.empty() && !part.empty() && std::ranges::all_of(whole, digit) && std::ranges::all_of(part, digit);
}

bool needs_guard(std::string_view field) {
  field.remove_prefix(std::min(field.find_first_not_of('\''), field.size()));
  constexpr std::string_view dangerous[] = {"=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "−", "＠"};
  return std::ranges::any_of(dangerous, [&](auto start) { return field.starts_with(start); }) && !is_negative_number(field);
}

}  // namespace

std::string guard(std::string_view field) { return needs_guard(field) ? "'" + std::string(field) : std::string(field); }

std::string_view unguard(std::string_view field) {
  return field.starts_with('\'') && needs_guard(field.substr(1)) ? field.substr(1) : field;
}

void Writer::row(std::span<const std::string_view> fields, std::string& out) {
  if (++rows_ == 1 && options_.bom && options_.encoding != Encoding::CP932) out += "\xef\xbb\xbf";
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (i > 0) out.push_back(options_.delimiter);
    field(fields[i], i + 1, fields.size() == 1, out);
  }
  out += "\r\n";
}

void Writer::row(const std::vector<std::string>& fields, std::string& out) {
  const std::vector<std::string_view> views(fields.begin(), fields.end());
  row(std::span(views), out);
}

void Writer::field(std::string_view text, std::size_t column, bool alone, std::string& out) {
  std::string guarded;
  if (options_.guard && needs_guard(text)) {
    guarded = guard(text);
    text = guarded;
  }
  const bool edge_space = !text.empty() && (text.front() == ' ' || text.back() == ' ');
  // An empty row of one field would be a blank line, and U+FEFF in front a byte order mark.
  const bool quoted =
      edge_space || (alone && text.empty()) || text.starts_with("\xef\xbb\xbf") || text.find_first_of("\"\r\n\t,;") != text.npos;
  std::string bytes;
  if (quoted) bytes.push_back('"');
  for (const char c : text) {
    if (c == '"') bytes.push_back('"');
    bytes.push_back(c);
  }
  if (quoted) bytes.push_back('"');
  if (options_.encoding != Encoding::CP932) {
    out += bytes;
    return;
  }
  utf8_to_cp932(bytes, out, [&](std::string_view character) {
    ++unencodable_count_;
    if (unencodable_.size() < max_unencodable) unencodable_.push_back({rows_, column, std::string(character)});
  });
}

}  // namespace enishi::crm::csv

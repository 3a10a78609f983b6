// The cursor of lists whose statement makes it: sort keys joined by _, 20261122T040506.123456Z_<id>. Opaque to clients; the statement casts
// its parts, so what reaches it must look like what it made.
//
//   auto after = parse_cursor(in.cursor(), 2);                 // nothing given: nulls
//   if (!after) co_return tl::make_unexpected(after.error());   // 422 CURSOR_INVALID
#pragma once
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "base/id.hpp"
#include "http/json.hpp"
#include "pg/values.hpp"

namespace enishi::crm {

/// `keys` parts, the last one an id; null parts without a cursor.
inline Result<pg::Params> parse_cursor(const std::optional<std::string>& cursor, std::size_t keys) {
  if (!cursor) return pg::Params(keys);
  pg::Params parts;
  std::size_t from = 0;
  for (auto at = cursor->find('_'); at != std::string::npos; at = cursor->find('_', from)) {
    parts.emplace_back(cursor->substr(from, at - from));
    from = at + 1;
  }
  parts.emplace_back(cursor->substr(from));
  const auto moment = [](const std::string& s) {  // 20261122T040506.123456Z
    return s.size() == 23 && s[8] == 'T' && s[15] == '.' && s[22] == 'Z' &&
           std::count_if(s.begin(), s.end(), [](char c) { return c >= '0' && c <= '9'; }) == 20;
  };
  const auto number = [](const std::string& s) {
    return !s.empty() && s.size() <= 6 && std::all_of(s.begin(), s.end(), [](char c) { return c >= '0' && c <= '9'; });
  };
  const bool good = parts.size() == keys && Uuid::parse(*parts.back()) && moment(*parts[keys - 2]) && (keys < 3 || number(*parts[0]));
  if (!good) return http::cursor_invalid();
  return parts;
}

}  // namespace enishi::crm

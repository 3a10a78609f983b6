// The texts with rules of their own: cursors, ETags, Idempotency-Key.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>

#include "base/log.hpp"
#include "http/http.hpp"
#include "http/json.hpp"

namespace enishi::http {

std::string base64url(std::string_view bytes) {
  static constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string out;
  out.reserve((bytes.size() * 4 + 2) / 3);
  std::uint32_t bits = 0;
  int have = 0;
  for (const char c : bytes) {
    bits = (bits << 8) | static_cast<unsigned char>(c);
    have += 8;
    while (have >= 6) {
      have -= 6;
      out.push_back(kAlphabet[(bits >> have) & 63]);
    }
  }
  if (have > 0) out.push_back(kAlphabet[(bits << (6 - have)) & 63]);
  return out;
}

std::optional<std::string> from_base64url(std::string_view text) {
  std::string out;
  out.reserve(text.size() * 3 / 4);
  std::uint32_t bits = 0;
  int have = 0;
  for (const char c : text) {
    int v = 0;
    if (c >= 'A' && c <= 'Z')
      v = c - 'A';
    else if (c >= 'a' && c <= 'z')
      v = c - 'a' + 26;
    else if (c >= '0' && c <= '9')
      v = c - '0' + 52;
    else if (c == '-')
      v = 62;
    else if (c == '_')
      v = 63;
    else
      return std::nullopt;
    bits = (bits << 6) | static_cast<std::uint32_t>(v);
    have += 6;
    if (have >= 8) {
      have -= 8;
      out.push_back(static_cast<char>(bits >> have));
      bits &= (1U << have) - 1;
    }
  }
  // What is left are padding bits: zero, and fewer than a character's worth, so that a value has one spelling.
  if (have >= 6 || bits != 0) return std::nullopt;
  return out;
}

std::string encode_cursor(std::span<const std::string> keys) {
  std::string text = "[";
  for (const auto& key : keys) text += (text.size() > 1 ? "," : "") + json_quote(key);
  return base64url(text + "]");
}

tl::unexpected<Error> cursor_invalid() {
  return fail(Kind::unprocessable, "CURSOR_INVALID", "The cursor was not made by this list; start again without one.",
              {{"?cursor", "CURSOR_INVALID", "not a cursor of this list"}});
}

Result<std::vector<std::string>> decode_cursor(std::string_view cursor, std::size_t keys) {
  if (cursor.size() > 2000) return cursor_invalid();
  const auto text = from_base64url(cursor);
  if (!text) return cursor_invalid();
  const auto value = parse_json(*text);
  if (!value || !value->is_array() || value->get_array().size() != keys) return cursor_invalid();
  std::vector<std::string> out;
  for (const auto& key : value->get_array()) {
    if (const auto* s = key.if_string())
      out.emplace_back(s->data(), s->size());
    else if (const auto* i = key.if_int64())
      out.push_back(std::to_string(*i));
    else
      return cursor_invalid();
  }
  return out;
}

Result<std::int64_t> if_match(const Request& request) {
  const auto text = request.header("If-Match");
  if (text.empty())
    return fail(Kind::precondition_required, "IF_MATCH_REQUIRED", "Send If-Match with the ETag of the version you have read.");
  std::int64_t version = 0;
  if (text.size() >= 3 && text.front() == '"' && text.back() == '"' && text[1] >= '0' && text[1] <= '9') {
    const auto [end, failed] = std::from_chars(text.data() + 1, text.data() + text.size() - 1, version);
    if (failed == std::errc() && end == text.data() + text.size() - 1) return version;
  }
  return fail(Kind::malformed, "IF_MATCH_INVALID", "If-Match must be one ETag as answered before, like \"7\".");
}

std::string etag(std::int64_t version) { return fmt::format("\"{}\"", version); }

Result<std::optional<std::string>> idempotency_key(const Request& request) {
  const auto key = request.header("Idempotency-Key");
  if (key.data() == nullptr) return std::nullopt;
  const bool visible = std::all_of(key.begin(), key.end(), [](char c) { return c > 0x20 && c < 0x7f; });
  if (key.empty() || key.size() > 200 || !visible)
    return fail(Kind::malformed, "IDEMPOTENCY_KEY_INVALID", "Idempotency-Key must be 1 to 200 visible ASCII characters; a UUID is best.");
  return std::optional<std::string>(key);
}

}  // namespace enishi::http

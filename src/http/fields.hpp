// What bodies and queries share: the rules a field is held to, and errors that name it by its JSON pointer. For the decoders of this
// module.
//
//   if (auto fault = text_fault(text, rules)) add_error(errors, "/notes", fault->first, fault->second);
//   if (auto bad = validation(std::move(errors), "the body")) return tl::make_unexpected(*bad);
#pragma once
#include "http/json.hpp"

namespace enishi::http {

/// Adds /name, escaped as RFC 6901 says.
void append_token(std::string& pointer, std::string_view name);
/// At most 64 bytes of what the client sent, cut between code points, for an error's text.
std::string shortened(std::string_view text);
/// Up to 100: an answer stays small whatever the body was.
void add_error(std::vector<FieldError>& errors, std::string pointer, std::string code, std::string detail);
/// VALIDATION_FAILED with these fields of `what`, or nothing when there are none.
std::optional<Error> validation(std::vector<FieldError> fields, std::string_view what);

/// Code and detail of what is wrong with a text, or nothing.
std::optional<std::pair<std::string, std::string>> text_fault(std::string_view text, const TextRules& rules);
bool is_date(std::string_view s);
bool is_timestamp(std::string_view s);
/// `a, b, c`
std::string listed(std::span<const std::string_view> choices);

inline constexpr auto kTimestampDetail = "a time as RFC 3339 with its offset, like 2026-11-22T13:05:06+09:00";
inline constexpr auto kDateDetail = "a day that exists, like 2026-11-22";
inline constexpr auto kUuidDetail = "a UUID, like 0190163d-8694-739b-aea5-966c26f8ad91";

}  // namespace enishi::http

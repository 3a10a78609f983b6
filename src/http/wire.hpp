// The small texts of HTTP, checked before they are trusted: pure functions of the server.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/http.hpp"

namespace enishi::http {

/// For the header Allow: GET brings HEAD with it.
std::string allow_list(std::vector<Method> methods);
/// A client's X-Request-Id that may go into logs: 8 to 64 letters, digits and ._-
bool sane_request_id(std::string_view id);
/// The trace id of a traceparent (W3C Trace Context, 3.2.2), or nothing.
std::string_view trace_of(std::string_view parent);
/// A header that cannot split an answer's head.
bool sane_field(std::string_view name, std::string_view value);
/// The path and query of a target in origin or absolute form (RFC 9112, 3.2); nothing for another form.
std::optional<std::string_view> origin_form(std::string_view target);
bool iequals(std::string_view a, std::string_view b);
void append_number(std::string& out, std::uint64_t n, int base = 10);

}  // namespace enishi::http

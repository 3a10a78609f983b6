// Any bytes as path and query: what is let through is text that PostgreSQL can hold, and routing ends.
#include <cstdint>
#include <cstdlib>

#include "base/log.hpp"
#include "http/http.hpp"
#include "http/uri.hpp"

namespace http = enishi::http;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const http::Router router = [] {
    http::Router made;
    for (const auto* pattern : {"/v1/a/{id}", "/v1/a/{id}/b/{other}", "/v1/{x}/c", "/files/{rest...}", "/{path...}"})
      made.add({http::Method::get, pattern, pattern, nullptr, 0, enishi::Millis(0)});
    return made;
  }();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto path = http::percent_decoded(text); path) {
    if (!enishi::valid_text(*path)) std::abort();
    const auto match = router.find(http::Method::get, text);
    for (const auto& [name, value] : match.segments)
      if (!enishi::valid_text(value)) std::abort();
    // Every path has a place under the catch-all.
    if (text.starts_with('/') && match.route == nullptr) std::abort();
  }
  std::vector<std::pair<std::string, std::string>> query;
  if (http::read_query(text, query))
    for (const auto& [name, value] : query)
      if (!enishi::valid_text(name) || !enishi::valid_text(value)) std::abort();
  return 0;
}

// Any bytes as a cursor: refused, or keys that make a cursor which gives the same keys.
#include <cstdint>
#include <cstdlib>

#include "base/log.hpp"
#include "http/json.hpp"

namespace http = enishi::http;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const auto& cursor : {std::string(text), http::base64url(text)}) {
    const auto keys = http::decode_cursor(cursor, 2);
    if (!keys) continue;
    for (const auto& key : *keys)
      if (!enishi::valid_text(key)) std::abort();
    const auto again = http::decode_cursor(http::encode_cursor(*keys), 2);
    // Escapes may make a cursor of ours longer than one that was sent; the bound on its size may then refuse it.
    if (!again && http::encode_cursor(*keys).size() <= 2000) std::abort();
    if (again && *again != *keys) std::abort();
  }
  const auto bytes = http::from_base64url(text);
  if (bytes && http::base64url(*bytes) != text) std::abort();
  return 0;
}

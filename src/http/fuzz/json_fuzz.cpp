// Any bytes as a body: the decoder ends with values or with an answerable error, and what it lets through is fit for PostgreSQL.
#include <boost/json.hpp>
#include <cmath>
#include <cstdint>
#include <cstdlib>

#include "base/log.hpp"
#include "http/http.hpp"
#include "http/json.hpp"

namespace http = enishi::http;

static void require(bool fine) {
  if (!fine) std::abort();
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  http::Decoder in(body);
  const auto name = in.text("name", {.required = true, .max = 20});
  const auto memo = in.text("memo", {.max = 100, .multiline = true});
  const auto n = in.integer("n", {.min = -5, .max = 5});
  const auto x = in.number("x");
  const auto at = in.timestamp("at");
  const auto day = in.date("day");
  const auto pick = in.choice("pick", {"A", "B"});
  const auto raw = in.raw_object("custom", {.max = 200});
  (void)in.boolean("flag");
  (void)in.uuid("id");
  (void)in.texts("tags", 5, {.max = 10});
  (void)in.each("items", 5, [](http::Decoder& item) { (void)item.text("k"); });
  (void)in.object("inner", [](http::Decoder& inside) { (void)inside.integer("k"); });
  const auto bad = in.finish();
  if (bad) {
    const auto& error = bad->value();
    require(!error.code.empty() && error.fields.size() <= 100);
    // The answer about a bad body is itself good JSON.
    require(http::parse_json(http::problem(error, "fuzz-0001").body).has_value());
    return 0;
  }
  require(name && enishi::valid_text(*name));
  require(!memo || enishi::valid_text(*memo));
  require(!n || (*n >= -5 && *n <= 5));
  require(!x || std::isfinite(*x));
  require(!at || (!at->empty() && enishi::valid_text(*at)));
  require(!day || (!day->empty() && enishi::valid_text(*day)));
  require(!pick || *pick == "A" || *pick == "B");
  if (raw) {
    require(raw->size() <= 200 && enishi::valid_text(*raw));
    const auto again = http::parse_json(*raw);
    require(again.has_value() && boost::json::serialize(*again) == *raw);
  }
  return 0;
}

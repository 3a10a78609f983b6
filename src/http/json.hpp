// JSON bodies, query parameters and the few headers with rules of their own, read so that a caller hears of every mistake at once:
//
//   Decoder in(request);                                       // 415 and BODY_MALFORMED are kept for finish()
//   auto name  = in.text("display_name", {.required = true, .max = 200});
//   auto when  = in.timestamp("received_at");
//   in.each("phones", 10, [&](Decoder& item) { phones.push_back({item.text("raw", {.required = true}).value_or("")}); });
//   if (auto bad = in.finish()) co_return *bad;                // 422 VALIDATION_FAILED with a JSON pointer a field; unknown fields too
//
// A field that is absent, null or wrong gives nothing; present() tells absent from null (PATCH).
#pragma once
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/id.hpp"

namespace boost::json {
class value;
class object;
}  // namespace boost::json

namespace enishi::http {

struct Request;

/// What `if (auto bad = in.finish()) co_return *bad;` returns; bad->value() is the Error.
using Failure = std::optional<tl::unexpected<Error>>;

/// Rules shared by all kinds of field.
struct Rules {
  bool required = false;  ///< absent or null is REQUIRED
  bool not_null = false;  ///< may be absent, may not be null (PATCH of a column that is not null)
};

struct TextRules {
  bool required = false;
  bool not_null = false;
  std::size_t min = 0;     ///< code points
  std::size_t max = 1000;  ///< code points
  bool multiline = false;  ///< line feed, carriage return and tab are allowed; other control characters never are
};

struct IntegerRules {
  bool required = false;
  bool not_null = false;
  std::int64_t min = INT64_MIN;
  std::int64_t max = INT64_MAX;
};

struct NumberRules {
  bool required = false;
  bool not_null = false;
  double min = -1e15;
  double max = 1e15;
};

struct RawRules {
  bool required = false;
  bool not_null = false;
  std::size_t max = 65536;  ///< bytes of serialized JSON
};

using Choices = std::initializer_list<std::string_view>;

/// Reads one JSON object: depth at most 32, well-formed UTF-8, no name twice, no U+0000 (PostgreSQL's text cannot hold it), no number
/// with more digits than a double keeps. Field codes: REQUIRED, TYPE, TOO_LONG, TOO_SHORT, RANGE, FORMAT, CHOICE, UNKNOWN_FIELD,
/// NUL_CHARACTER, CONTROL_CHARACTER.
class Decoder {
 public:
  explicit Decoder(std::string_view body);
  /// The same, and Content-Type must be application/json (or …+json): 415 UNSUPPORTED_MEDIA_TYPE.
  explicit Decoder(const Request& request);
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
  ~Decoder();

  /// The name stands in the object, also as null.
  [[nodiscard]] bool present(std::string_view name);
  /// The name stands in the object as null.
  [[nodiscard]] bool null(std::string_view name);

  std::optional<std::string> text(std::string_view name, TextRules rules = {});
  std::optional<std::int64_t> integer(std::string_view name, IntegerRules rules = {});
  std::optional<double> number(std::string_view name, NumberRules rules = {});
  std::optional<bool> boolean(std::string_view name, Rules rules = {});
  std::optional<Uuid> uuid(std::string_view name, Rules rules = {});
  /// RFC 3339 with an offset (2026-11-22T13:05:06+09:00), as given: PostgreSQL's timestamptz reads it.
  std::optional<std::string> timestamp(std::string_view name, Rules rules = {});
  /// 2026-11-22, a day that exists.
  std::optional<std::string> date(std::string_view name, Rules rules = {});
  std::optional<std::string> choice(std::string_view name, Choices choices, Rules rules = {});
  std::optional<std::string> choice(std::string_view name, std::span<const std::string_view> choices, Rules rules = {});
  template <class StrongId>
  std::optional<StrongId> id(std::string_view name, Rules rules = {}) {
    const auto value = uuid(name, rules);
    return value ? std::optional<StrongId>(StrongId{*value}) : std::nullopt;
  }
  /// An array of texts, at most `max_items`; `rules.required` speaks of the array, min and max of each text.
  std::optional<std::vector<std::string>> texts(std::string_view name, std::size_t max_items, TextRules rules = {});
  std::optional<std::vector<Uuid>> uuids(std::string_view name, std::size_t max_items, Rules rules = {});
  /// An array of objects: `read` is called with a decoder for each. Unknown fields of an item are errors too. Returns whether it was there.
  bool each(std::string_view name, std::size_t max_items, const std::function<void(Decoder&)>& read, Rules rules = {});
  /// One nested object. Returns whether it was there.
  bool object(std::string_view name, const std::function<void(Decoder&)>& read, Rules rules = {});
  /// An object (or any value) as JSON text for a jsonb parameter, its insides unread.
  std::optional<std::string> raw_object(std::string_view name, RawRules rules = {});
  std::optional<std::string> raw(std::string_view name, RawRules rules = {});

  /// Adds an error of the domain to those found here; `name` is one of this object's fields, or "" for the object itself.
  void error(std::string_view name, std::string code, std::string detail);
  /// The object read, for the few who walk it themselves. Names read that way must be told to allow().
  [[nodiscard]] const boost::json::object& value() const;
  void allow(std::string_view name);
  /// Position in the array each() walks; 0 elsewhere.
  [[nodiscard]] std::size_t index() const { return index_; }

  /// Nothing when all is well. To be called once, after the last field was read.
  [[nodiscard]] Failure finish();

 private:
  struct State;
  Decoder(State& state, const boost::json::object& object, std::string pointer, std::size_t index);
  const boost::json::value* find(std::string_view name, bool required, bool not_null);
  std::optional<std::string_view> string(std::string_view name, bool required, bool not_null);
  bool check_text(std::string_view name, std::string_view text, const TextRules& rules);
  void check_unknown();
  std::unique_ptr<State> owned_;
  State* state_;
  const boost::json::object* object_;
  std::string pointer_;
  std::size_t index_ = 0;
  std::vector<std::string> asked_;
};

/// Query parameters by the same rules; pointers are "?name". A parameter given twice is FORMAT except for texts().
class QueryDecoder {
 public:
  explicit QueryDecoder(const Request& request);
  [[nodiscard]] bool present(std::string_view name);
  std::optional<std::string> text(std::string_view name, TextRules rules = {});
  std::optional<std::int64_t> integer(std::string_view name, IntegerRules rules = {});
  std::optional<bool> boolean(std::string_view name, Rules rules = {});  ///< true or false
  std::optional<Uuid> uuid(std::string_view name, Rules rules = {});
  std::optional<std::string> timestamp(std::string_view name, Rules rules = {});
  std::optional<std::string> date(std::string_view name, Rules rules = {});
  std::optional<std::string> choice(std::string_view name, Choices choices, Rules rules = {});
  std::optional<std::string> choice(std::string_view name, std::span<const std::string_view> choices, Rules rules = {});
  template <class StrongId>
  std::optional<StrongId> id(std::string_view name, Rules rules = {}) {
    const auto value = uuid(name, rules);
    return value ? std::optional<StrongId>(StrongId{*value}) : std::nullopt;
  }
  /// ?limit= of a list: 1 to 200, 50 when nobody says.
  std::int64_t limit();
  /// ?cursor= of a list: the `next_cursor` of the page before.
  std::optional<std::string> cursor();
  /// Every value of a parameter that may stand several times.
  std::vector<std::string> texts(std::string_view name, std::size_t max_items, TextRules rules = {});
  void error(std::string_view name, std::string code, std::string detail);
  [[nodiscard]] Failure finish();

 private:
  std::optional<std::string_view> find(std::string_view name, bool required);
  const Request& request_;
  std::vector<std::string> asked_;
  std::vector<FieldError> errors_;
};

/// Keys of the last row of a page, as an opaque text for the next request.
std::string encode_cursor(std::span<const std::string> keys);
inline std::string encode_cursor(std::initializer_list<std::string> keys) { return encode_cursor(std::span(keys.begin(), keys.size())); }
/// The keys again (numbers as their text); anything but an array of exactly `keys` strings or numbers is 422 CURSOR_INVALID.
Result<std::vector<std::string>> decode_cursor(std::string_view cursor, std::size_t keys);

/// 422 CURSOR_INVALID, for a cursor whose keys are none of the list.
tl::unexpected<Error> cursor_invalid();

/// The version in If-Match ("7" is 7, with the quotes). Missing: 428 IF_MATCH_REQUIRED. `*`, weak or several: 400 IF_MATCH_INVALID.
Result<std::int64_t> if_match(const Request& request);
/// `"7"`, for ETag.
std::string etag(std::int64_t version);
/// Idempotency-Key, if there is one: 1 to 200 visible ASCII characters, else 400 IDEMPOTENCY_KEY_INVALID.
Result<std::optional<std::string>> idempotency_key(const Request& request);

/// RFC 4648 section 5 without padding.
std::string base64url(std::string_view bytes);
std::optional<std::string> from_base64url(std::string_view text);

/// Parses one JSON value by the Decoder's rules; the fields of the Error say where and why.
Result<boost::json::value> parse_json(std::string_view text);

}  // namespace enishi::http

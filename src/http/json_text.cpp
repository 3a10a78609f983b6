#include "http/json_text.hpp"

#include <fmt/format.h>

#include <boost/json/basic_parser_impl.hpp>
#include <charconv>
#include <cmath>

#include "http/fields.hpp"

namespace enishi::http {
namespace {

namespace json = boost::json;

constexpr std::size_t kMaxDepth = 32;

/// Builds the value itself rather than through json::parser, which keeps the last of two equal names.
struct Builder {
  static constexpr std::size_t max_object_size = 100'000;
  static constexpr std::size_t max_array_size = 1'000'000;
  static constexpr std::size_t max_key_size = 1024;
  static constexpr std::size_t max_string_size = std::size_t(-1) >> 1;

  explicit Builder(json::storage_ptr storage) : sp(std::move(storage)), root(nullptr, sp) {}

  struct Level {
    json::value* at;
    std::string key;  ///< its own name in the object around it
  };
  json::storage_ptr sp;
  json::value root;
  std::vector<Level> open;
  std::string key, text, digits;
  std::vector<FieldError> errors;
  std::string duplicate;
  bool has_duplicate = false;

  std::string pointer() const {
    std::string out;
    for (std::size_t i = 1; i < open.size(); ++i) {
      const auto& around = *open[i - 1].at;
      append_token(out, around.is_array() ? std::to_string(around.get_array().size() - 1) : open[i].key);
    }
    if (!open.empty()) {
      const auto& last = *open.back().at;
      append_token(out, last.is_array() ? std::to_string(last.get_array().size()) : key);
    }
    return out;
  }
  json::value* put(json::value v, json::error_code& ec) {
    if (open.empty()) {
      root = std::move(v);
      return &root;
    }
    auto& around = *open.back().at;
    if (around.is_array()) {
      around.get_array().push_back(std::move(v));
      return &around.get_array().back();
    }
    auto [at, fresh] = around.get_object().emplace(key, std::move(v));
    if (!fresh) {
      has_duplicate = true;
      duplicate = pointer();
      ec = json::error::exception;
      return nullptr;
    }
    return &at->value();
  }
  bool leaf(json::value v, json::error_code& ec) {
    const bool fine = put(std::move(v), ec) != nullptr;
    key.clear();
    return fine;
  }
  bool begin(json::value v, json::error_code& ec) {
    auto* at = put(std::move(v), ec);
    if (at == nullptr) return false;
    open.push_back({at, std::move(key)});
    key.clear();
    return true;
  }

  bool on_document_begin(json::error_code&) { return true; }
  bool on_document_end(json::error_code&) { return true; }
  bool on_object_begin(json::error_code& ec) { return begin(json::value(json::object_kind, sp), ec); }
  bool on_object_end(std::size_t, json::error_code&) {
    open.pop_back();
    return true;
  }
  bool on_array_begin(json::error_code& ec) { return begin(json::value(json::array_kind, sp), ec); }
  bool on_array_end(std::size_t, json::error_code&) {
    open.pop_back();
    return true;
  }
  bool on_key_part(json::string_view s, std::size_t, json::error_code&) {
    key.append(s.data(), s.size());
    return true;
  }
  bool on_key(json::string_view s, std::size_t, json::error_code&) {
    key.append(s.data(), s.size());
    if (key.find('\0') != std::string::npos) {
      std::erase(key, '\0');
      add_error(errors, pointer(), "NUL_CHARACTER", "a name must not contain U+0000");
    }
    return true;
  }
  bool on_string_part(json::string_view s, std::size_t, json::error_code&) {
    text.append(s.data(), s.size());
    return true;
  }
  bool on_string(json::string_view s, std::size_t, json::error_code& ec) {
    text.append(s.data(), s.size());
    if (text.find('\0') != std::string::npos) {
      std::erase(text, '\0');
      add_error(errors, pointer(), "NUL_CHARACTER", "text must not contain U+0000");
    }
    const bool fine = leaf(json::value(json::string_view(text), sp), ec);
    text.clear();
    return fine;
  }
  bool on_number_part(json::string_view s, json::error_code&) {
    digits.append(s.data(), s.size());
    return true;
  }
  bool on_int64(std::int64_t i, json::string_view, json::error_code& ec) {
    digits.clear();
    return leaf(json::value(i, sp), ec);
  }
  bool on_uint64(std::uint64_t u, json::string_view, json::error_code& ec) {
    digits.clear();
    return leaf(json::value(u, sp), ec);
  }
  bool on_double(double, json::string_view s, json::error_code& ec) {
    // Boost.JSON 1.81 reads 0.3 as 0.30000000000000004 (its number_precision::imprecise); from_chars rounds correctly.
    digits.append(s.data(), s.size());
    double exact = 0;
    const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), exact);
    if (failed != std::errc() || end != digits.data() + digits.size() || !std::isfinite(exact))
      add_error(errors, pointer(), "RANGE", "the number is out of range");
    else if (significant_digits(digits) > 17)
      add_error(errors, pointer(), "RANGE", "the number has more than 17 digits and would be rounded");
    digits.clear();
    return leaf(json::value(std::isfinite(exact) ? exact : 0.0, sp), ec);
  }
  bool on_bool(bool b, json::error_code& ec) { return leaf(json::value(b, sp), ec); }
  bool on_null(json::error_code& ec) { return leaf(json::value(nullptr, sp), ec); }
  bool on_comment_part(json::string_view, json::error_code&) { return true; }
  bool on_comment(json::string_view, json::error_code&) { return true; }

  static std::size_t significant_digits(std::string_view number) {
    std::size_t count = 0, zeros = 0;
    for (const char c : number) {
      if (c == 'e' || c == 'E') break;
      if (c < '0' || c > '9') continue;
      if (c == '0') {
        if (count > 0) ++zeros;
      } else {
        count += zeros + 1;
        zeros = 0;
      }
    }
    return count;
  }
};

}  // namespace

Result<JsonText> read_json(std::string_view text, json::storage_ptr memory, std::string_view what, std::string_view code) {
  json::parse_options options;
  options.max_depth = kMaxDepth;
  json::basic_parser<Builder> parser(options, std::move(memory));
  json::error_code ec;
  std::size_t at = 0;
  if (!text.empty()) at = parser.write_some(false, text.data(), text.size(), ec);
  std::string why;
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) {
    why = fmt::format("{} is empty; send a JSON object.", what);
  } else if (parser.handler().has_duplicate) {
    why = fmt::format("{} has the same name twice: {}", what, shortened(parser.handler().duplicate));
  } else if (ec) {
    why = fmt::format("{} is no JSON: {} at byte {}.", what, ec.message(), at);
  } else if (at < text.size()) {
    why = fmt::format("{} goes on after its JSON value ended, at byte {}.", what, at);
  } else {
    return JsonText{std::move(parser.handler().root), std::move(parser.handler().errors)};
  }
  Error error{Kind::malformed, std::string(code), std::move(why), {}, fmt::format(R"({{"position":{}}})", at), 0};
  if (parser.handler().has_duplicate) error.fields.push_back({parser.handler().duplicate, "DUPLICATE_NAME", "the name stands twice"});
  return tl::make_unexpected(std::move(error));
}

Result<json::value> parse_json(std::string_view text) {
  auto read = read_json(text, {}, "The text", "JSON_MALFORMED");
  if (!read) return tl::make_unexpected(std::move(read.error()));
  if (auto bad = validation(std::move(read->errors), "the JSON")) return tl::make_unexpected(std::move(*bad));
  return std::move(read->value);
}

}  // namespace enishi::http

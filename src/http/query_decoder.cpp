#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "http/fields.hpp"
#include "http/http.hpp"

namespace enishi::http {

QueryDecoder::QueryDecoder(const Request& request) : request_(request) {}

std::optional<std::string_view> QueryDecoder::find(std::string_view name, bool required) {
  asked_.emplace_back(name);
  std::optional<std::string_view> found;
  for (const auto& [key, value] : request_.query) {
    if (key != name) continue;
    if (found) {
      error(name, "FORMAT", "this parameter may stand only once");
      return std::nullopt;
    }
    found = value;
  }
  if (!found && required) error(name, "REQUIRED", "this parameter is required");
  return found;
}

bool QueryDecoder::present(std::string_view name) {
  asked_.emplace_back(name);
  return request_.parameter(name).has_value();
}

void QueryDecoder::error(std::string_view name, std::string code, std::string detail) {
  add_error(errors_, "?" + std::string(name), std::move(code), std::move(detail));
}

std::optional<std::string> QueryDecoder::text(std::string_view name, TextRules rules) {
  const auto value = find(name, rules.required);
  if (!value) return std::nullopt;
  if (auto fault = text_fault(*value, rules)) {
    error(name, std::move(fault->first), std::move(fault->second));
    return std::nullopt;
  }
  return std::string(*value);
}

std::optional<std::int64_t> QueryDecoder::integer(std::string_view name, IntegerRules rules) {
  const auto value = find(name, rules.required);
  if (!value) return std::nullopt;
  std::int64_t number = 0;
  const auto [end, failed] = std::from_chars(value->data(), value->data() + value->size(), number);
  if (failed == std::errc::invalid_argument || end != value->data() + value->size()) {
    error(name, "TYPE", "a whole number is expected");
    return std::nullopt;
  }
  if (failed != std::errc() || number < rules.min || number > rules.max) {
    error(name, "RANGE", fmt::format("from {} to {}", rules.min, rules.max));
    return std::nullopt;
  }
  return number;
}

std::optional<bool> QueryDecoder::boolean(std::string_view name, Rules rules) {
  const auto value = find(name, rules.required);
  if (!value) return std::nullopt;
  if (*value != "true" && *value != "false") {
    error(name, "TYPE", "true or false is expected");
    return std::nullopt;
  }
  return *value == "true";
}

std::optional<Uuid> QueryDecoder::uuid(std::string_view name, Rules rules) {
  const auto value = find(name, rules.required);
  if (!value) return std::nullopt;
  const auto id = Uuid::parse(*value);
  if (!id) error(name, "FORMAT", kUuidDetail);
  return id;
}

std::optional<std::string> QueryDecoder::timestamp(std::string_view name, Rules rules) {
  const auto value = find(name, rules.required);
  if (!value) return std::nullopt;
  if (!is_timestamp(*value)) {
    error(name, "FORMAT", kTimestampDetail);
    return std::nullopt;
  }
  return std::string(*value);
}

std::optional<std::string> QueryDecoder::date(std::string_view name, Rules rules) {
  const auto value = find(name, rules.required);
  if (!value) return std::nullopt;
  if (!is_date(*value)) {
    error(name, "FORMAT", kDateDetail);
    return std::nullopt;
  }
  return std::string(*value);
}

std::optional<std::string> QueryDecoder::choice(std::string_view name, Choices choices, Rules rules) {
  return choice(name, std::span(choices.begin(), choices.size()), rules);
}

std::optional<std::string> QueryDecoder::choice(std::string_view name, std::span<const std::string_view> choices, Rules rules) {
  const auto value = find(name, rules.required);
  if (!value) return std::nullopt;
  if (std::find(choices.begin(), choices.end(), *value) == choices.end()) {
    error(name, "CHOICE", fmt::format("one of {}", listed(choices)));
    return std::nullopt;
  }
  return std::string(*value);
}

std::int64_t QueryDecoder::limit() { return integer("limit", {.min = 1, .max = 200}).value_or(50); }

std::optional<std::string> QueryDecoder::cursor() { return text("cursor", {.max = 1000}); }

std::vector<std::string> QueryDecoder::texts(std::string_view name, std::size_t max_items, TextRules rules) {
  asked_.emplace_back(name);
  std::vector<std::string> out;
  std::size_t seen = 0;
  for (const auto& [key, value] : request_.query) {
    if (key != name) continue;
    if (++seen > max_items) {
      error(name, "TOO_LONG", fmt::format("at most {} times", max_items));
      return {};
    }
    if (auto fault = text_fault(value, rules))
      error(name, std::move(fault->first), std::move(fault->second));
    else
      out.push_back(value);
  }
  if (seen == 0 && rules.required) error(name, "REQUIRED", "this parameter is required");
  return out;
}

Failure QueryDecoder::finish() {
  for (const auto& [key, value] : request_.query)
    if (std::find(asked_.begin(), asked_.end(), key) == asked_.end())
      error(shortened(key), "UNKNOWN_FIELD", "this parameter is not known here");
  auto bad = validation(std::move(errors_), "the query");
  if (!bad) return std::nullopt;
  return tl::make_unexpected(std::move(*bad));
}

}  // namespace enishi::http

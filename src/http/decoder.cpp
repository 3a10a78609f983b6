#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "http/fields.hpp"
#include "http/http.hpp"
#include "http/json_text.hpp"

namespace enishi::http {
namespace json = boost::json;
namespace {

bool json_type(std::string_view type) {
  type = type.substr(0, type.find(';'));
  while (!type.empty() && (type.back() == ' ' || type.back() == '\t')) type.remove_suffix(1);
  std::string lower(type);
  for (auto& c : lower) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return lower == "application/json" || (lower.starts_with("application/") && lower.ends_with("+json"));
}

}  // namespace

struct Decoder::State {
  json::monotonic_resource memory;
  json::value root = json::value(nullptr, json::storage_ptr(&memory));  // the parser's storage, so that moving it here copies nothing
  std::vector<FieldError> errors;
  std::optional<Error> fatal;
};

Decoder::Decoder(std::string_view body) : owned_(std::make_unique<State>()), state_(owned_.get()) {
  static const json::object kEmpty;
  object_ = &kEmpty;
  auto read = read_json(body, json::storage_ptr(&state_->memory), "The body", "BODY_MALFORMED");
  if (!read) {
    state_->fatal = std::move(read.error());
    return;
  }
  state_->errors = std::move(read->errors);
  state_->root = std::move(read->value);
  if (!state_->root.is_object()) {
    state_->fatal = Error{Kind::malformed, "BODY_MALFORMED", "The body must be a JSON object.", {}, {}, 0};
    return;
  }
  object_ = &state_->root.get_object();
}

Decoder::Decoder(const Request& request) : Decoder(request.body) {
  const auto type = request.header("Content-Type");
  if (json_type(type)) return;
  state_->fatal = Error{Kind::unsupported,
                        "UNSUPPORTED_MEDIA_TYPE",
                        type.empty() ? "Send the body as Content-Type: application/json."
                                     : fmt::format("「{}」 is not understood here; send application/json.", shortened(type)),
                        {},
                        {},
                        0};
}

Decoder::Decoder(State& state, const json::object& object, std::string pointer, std::size_t index)
    : state_(&state), object_(&object), pointer_(std::move(pointer)), index_(index) {}

Decoder::~Decoder() = default;

const json::value* Decoder::find(std::string_view name, bool required, bool not_null) {
  allow(name);
  const auto* value = object_->if_contains(json::string_view(name.data(), name.size()));
  if (value != nullptr && !value->is_null()) return value;
  if (required)
    error(name, "REQUIRED", "this field is required");
  else if (not_null && value != nullptr)
    error(name, "REQUIRED", "this field cannot be null");
  return nullptr;
}

void Decoder::allow(std::string_view name) { asked_.emplace_back(name); }

const json::object& Decoder::value() const { return *object_; }

void Decoder::error(std::string_view name, std::string code, std::string detail) {
  if (state_->fatal) return;
  std::string pointer = pointer_;
  if (!name.empty()) append_token(pointer, name);
  add_error(state_->errors, std::move(pointer), std::move(code), std::move(detail));
}

bool Decoder::present(std::string_view name) {
  allow(name);
  return object_->contains(json::string_view(name.data(), name.size()));
}

bool Decoder::null(std::string_view name) {
  allow(name);
  const auto* value = object_->if_contains(json::string_view(name.data(), name.size()));
  return value != nullptr && value->is_null();
}

std::optional<std::string_view> Decoder::string(std::string_view name, bool required, bool not_null) {
  const auto* value = find(name, required, not_null);
  if (value == nullptr) return std::nullopt;
  const auto* text = value->if_string();
  if (text == nullptr) {
    error(name, "TYPE", "a text is expected");
    return std::nullopt;
  }
  return std::string_view(text->data(), text->size());
}

bool Decoder::check_text(std::string_view name, std::string_view text, const TextRules& rules) {
  auto fault = text_fault(text, rules);
  if (fault) error(name, std::move(fault->first), std::move(fault->second));
  return !fault;
}

std::optional<std::string> Decoder::text(std::string_view name, TextRules rules) {
  const auto text = string(name, rules.required, rules.not_null);
  if (!text) return std::nullopt;
  if (rules.required && text->empty()) {
    error(name, "REQUIRED", "this field is required");
    return std::nullopt;
  }
  if (!check_text(name, *text, rules)) return std::nullopt;
  return std::string(*text);
}

std::optional<std::int64_t> Decoder::integer(std::string_view name, IntegerRules rules) {
  const auto* value = find(name, rules.required, rules.not_null);
  if (value == nullptr) return std::nullopt;
  std::int64_t number = 0;
  if (const auto* i = value->if_int64()) {
    number = *i;
  } else if (value->is_uint64()) {
    error(name, "RANGE", fmt::format("at most {}", rules.max));
    return std::nullopt;
  } else if (const auto* d = value->if_double(); d != nullptr && std::trunc(*d) == *d) {
    // 5.0 is an integer to JSON Schema; above 2^53 a double no longer says which one.
    if (std::abs(*d) > 9007199254740992.0) {
      error(name, "RANGE", fmt::format("from {} to {}", rules.min, rules.max));
      return std::nullopt;
    }
    number = static_cast<std::int64_t>(*d);
  } else {
    error(name, "TYPE", "a whole number is expected");
    return std::nullopt;
  }
  if (number < rules.min || number > rules.max) {
    error(name, "RANGE",
          rules.max == INT64_MAX   ? fmt::format("at least {}", rules.min)
          : rules.min == INT64_MIN ? fmt::format("at most {}", rules.max)
                                   : fmt::format("from {} to {}", rules.min, rules.max));
    return std::nullopt;
  }
  return number;
}

std::optional<double> Decoder::number(std::string_view name, NumberRules rules) {
  const auto* value = find(name, rules.required, rules.not_null);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) {
    error(name, "TYPE", "a number is expected");
    return std::nullopt;
  }
  const auto number = value->to_number<double>();
  if (number < rules.min || number > rules.max) {
    error(name, "RANGE", fmt::format("from {} to {}", rules.min, rules.max));
    return std::nullopt;
  }
  return number;
}

std::optional<bool> Decoder::boolean(std::string_view name, Rules rules) {
  const auto* value = find(name, rules.required, rules.not_null);
  if (value == nullptr) return std::nullopt;
  const auto* flag = value->if_bool();
  if (flag == nullptr) {
    error(name, "TYPE", "true or false is expected");
    return std::nullopt;
  }
  return *flag;
}

std::optional<Uuid> Decoder::uuid(std::string_view name, Rules rules) {
  const auto text = string(name, rules.required, rules.not_null);
  if (!text) return std::nullopt;
  const auto id = Uuid::parse(*text);
  if (!id) error(name, "FORMAT", kUuidDetail);
  return id;
}

std::optional<std::string> Decoder::timestamp(std::string_view name, Rules rules) {
  const auto text = string(name, rules.required, rules.not_null);
  if (!text) return std::nullopt;
  if (!is_timestamp(*text)) {
    error(name, "FORMAT", kTimestampDetail);
    return std::nullopt;
  }
  return std::string(*text);
}

std::optional<std::string> Decoder::date(std::string_view name, Rules rules) {
  const auto text = string(name, rules.required, rules.not_null);
  if (!text) return std::nullopt;
  if (!is_date(*text)) {
    error(name, "FORMAT", kDateDetail);
    return std::nullopt;
  }
  return std::string(*text);
}

std::optional<std::string> Decoder::choice(std::string_view name, Choices choices, Rules rules) {
  return choice(name, std::span(choices.begin(), choices.size()), rules);
}

std::optional<std::string> Decoder::choice(std::string_view name, std::span<const std::string_view> choices, Rules rules) {
  const auto text = string(name, rules.required, rules.not_null);
  if (!text) return std::nullopt;
  if (std::find(choices.begin(), choices.end(), *text) == choices.end()) {
    error(name, "CHOICE", fmt::format("one of {}", listed(choices)));
    return std::nullopt;
  }
  return std::string(*text);
}

std::optional<std::vector<std::string>> Decoder::texts(std::string_view name, std::size_t max_items, TextRules rules) {
  const auto* value = find(name, rules.required, rules.not_null);
  if (value == nullptr) return std::nullopt;
  const auto* list = value->if_array();
  if (list == nullptr) {
    error(name, "TYPE", "an array of texts is expected");
    return std::nullopt;
  }
  if (list->size() > max_items) {
    error(name, "TOO_LONG", fmt::format("at most {} items, not {}", max_items, list->size()));
    return std::nullopt;
  }
  std::vector<std::string> out;
  bool fine = true;
  const auto base = pointer_;
  append_token(pointer_, name);
  for (std::size_t i = 0; i < list->size(); ++i) {
    const auto* text = (*list)[i].if_string();
    const auto item = std::to_string(i);
    if (text == nullptr) {
      error(item, "TYPE", "a text is expected");
      fine = false;
    } else if (!check_text(item, std::string_view(text->data(), text->size()), rules)) {
      fine = false;
    } else {
      out.emplace_back(text->data(), text->size());
    }
  }
  pointer_ = base;
  if (!fine) return std::nullopt;
  return out;
}

std::optional<std::vector<Uuid>> Decoder::uuids(std::string_view name, std::size_t max_items, Rules rules) {
  auto all = texts(name, max_items, {.required = rules.required, .not_null = rules.not_null});
  if (!all) return std::nullopt;
  std::vector<Uuid> out;
  for (std::size_t i = 0; i < all->size(); ++i) {
    const auto id = Uuid::parse((*all)[i]);
    if (id) {
      out.push_back(*id);
      continue;
    }
    std::string pointer = pointer_;
    append_token(pointer, name);
    add_error(state_->errors, pointer + "/" + std::to_string(i), "FORMAT", kUuidDetail);
  }
  if (out.size() != all->size()) return std::nullopt;
  return out;
}

bool Decoder::each(std::string_view name, std::size_t max_items, const std::function<void(Decoder&)>& read, Rules rules) {
  const auto* value = find(name, rules.required, rules.not_null);
  if (value == nullptr) return false;
  const auto* list = value->if_array();
  if (list == nullptr) {
    error(name, "TYPE", "an array is expected");
    return false;
  }
  if (list->size() > max_items) {
    error(name, "TOO_LONG", fmt::format("at most {} items, not {}", max_items, list->size()));
    return false;
  }
  for (std::size_t i = 0; i < list->size(); ++i) {
    std::string pointer = pointer_;
    append_token(pointer, name);
    pointer += "/" + std::to_string(i);
    const auto* item = (*list)[i].if_object();
    if (item == nullptr) {
      add_error(state_->errors, std::move(pointer), "TYPE", "an object is expected");
      continue;
    }
    Decoder inside(*state_, *item, std::move(pointer), i);
    read(inside);
    inside.check_unknown();
  }
  return true;
}

bool Decoder::object(std::string_view name, const std::function<void(Decoder&)>& read, Rules rules) {
  const auto* value = find(name, rules.required, rules.not_null);
  if (value == nullptr) return false;
  const auto* object = value->if_object();
  if (object == nullptr) {
    error(name, "TYPE", "an object is expected");
    return false;
  }
  std::string pointer = pointer_;
  append_token(pointer, name);
  Decoder inside(*state_, *object, std::move(pointer), 0);
  read(inside);
  inside.check_unknown();
  return true;
}

std::optional<std::string> Decoder::raw(std::string_view name, RawRules rules) {
  const auto* value = find(name, rules.required, rules.not_null);
  if (value == nullptr) return std::nullopt;
  auto out = json::serialize(*value);
  if (out.size() > rules.max) {
    error(name, "TOO_LONG", fmt::format("at most {} bytes of JSON, not {}", rules.max, out.size()));
    return std::nullopt;
  }
  return out;
}

std::optional<std::string> Decoder::raw_object(std::string_view name, RawRules rules) {
  const auto* value = object_->if_contains(json::string_view(name.data(), name.size()));
  if (value != nullptr && !value->is_null() && !value->is_object()) {
    allow(name);
    error(name, "TYPE", "an object is expected");
    return std::nullopt;
  }
  return raw(name, rules);
}

void Decoder::check_unknown() {
  for (const auto& field : *object_) {
    const std::string_view name(field.key().data(), field.key().size());
    if (std::find(asked_.begin(), asked_.end(), name) == asked_.end())
      error(shortened(name), "UNKNOWN_FIELD", "this field is not known here");
  }
}

Failure Decoder::finish() {
  if (!state_->fatal) check_unknown();
  if (state_->fatal) return tl::make_unexpected(std::move(*state_->fatal));
  auto error = validation(std::move(state_->errors), "the body");
  if (!error) return std::nullopt;
  return tl::make_unexpected(std::move(*error));
}

}  // namespace enishi::http

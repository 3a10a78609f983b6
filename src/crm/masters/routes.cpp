#include "crm/masters/routes.hpp"

#include "crm/japanese/phones.hpp"
#include "crm/masters/masters.sql.hpp"
#include "crm/outcomes/outcome.hpp"

namespace enishi::crm::masters {
namespace {

using auth::Answering;
using auth::Call;
using http::Method;
namespace statements = sql::masters;

/// How often a field is asked for: a new record must have it (and may lose it by null, or never changes it), or has a value when it is not
/// told one.
enum class Asked { always, once, nullable, or_default };

struct Field {
  std::string_view name;
  pg::Param (*read)(http::Decoder& in, std::string_view name, http::Rules rules);
  Asked asked;
  const char* otherwise = nullptr;  ///< as PostgreSQL writes it
};

/// A kind of record. The parameters of `create` are the id and the fields; those of `update` the id, the version and the fields that can
/// change, a nullable one with a boolean before it that says whether it was given.
struct Master {
  std::string_view table;
  std::span<const Field> fields;
  const pg::Statement &list, &get, &create, &update, &hide;
};

// What every kind does -----------------------------------------------------------------------------------------------------

template <const Master& kind>
Answering list(Call& call) {
  http::QueryDecoder in(call.request);
  const auto inactive = in.boolean("inactive").value_or(false);
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await call.show(kind.list, pg::params(inactive));
}

template <const Master& kind>
Answering get(Call& call, Uuid id) {
  return call.show(kind.get, pg::params(id));
}

template <const Master& kind>
Answering create(Call& call) {
  http::Decoder in(call.request);
  auto params = pg::params(in.uuid("id").value_or(Uuid::make()));
  for (const auto& field : kind.fields) {
    const bool required = field.asked == Asked::always || field.asked == Asked::once;
    auto value = field.read(in, field.name, {.required = required});
    params.push_back(value || !field.otherwise ? std::move(value) : field.otherwise);
  }
  if (auto bad = in.finish()) co_return *bad;
  auto made = co_await call.write(kind.create, std::move(params), 201);
  if (!made) co_return tl::make_unexpected(explain(std::move(made.error()), kind.table));
  co_return std::move(**made);
}

Answering change(Call& call, const Master& kind, const pg::Statement& statement, Uuid id, pg::Params params) {
  auto done = co_await call.write(statement, std::move(params));
  if (!done) co_return tl::make_unexpected(explain(std::move(done.error()), kind.table));
  co_return co_await auth::changed(call, std::move(done), kind.get, pg::params(id));
}

template <const Master& kind>
Answering update(Call& call, Uuid id, std::int64_t version) {
  http::Decoder in(call.request);
  auto params = pg::params(id, version);
  for (const auto& field : kind.fields) {
    if (field.asked == Asked::once) continue;
    const bool nullable = field.asked == Asked::nullable;
    if (nullable) params.push_back(pg::param(in.present(field.name)));
    params.push_back(field.read(in, field.name, {.not_null = !nullable}));
  }
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await change(call, kind, kind.update, id, std::move(params));
}

template <const Master& kind>
Answering hide(Call& call, Uuid id, std::int64_t version) {
  return change(call, kind, kind.hide, id, pg::params(id, version));
}

// Fields -------------------------------------------------------------------------------------------------------------------

constexpr std::string_view digits_and_line = "0123456789_", small = "abcdefghijklmnopqrstuvwxyz", large = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

bool made_of(std::string_view text, std::initializer_list<std::string_view> allowed) {
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return std::any_of(allowed.begin(), allowed.end(), [c](std::string_view some) { return some.find(c) != std::string_view::npos; });
  });
}

pg::Param label(http::Decoder& in, std::string_view name, http::Rules rules) {
  return in.text(name, {.required = rules.required, .not_null = rules.not_null, .min = 1, .max = 100});
}

/// ^[A-Za-z0-9_-]{1,40}$, as the database asks.
pg::Param code(http::Decoder& in, std::string_view name, http::Rules rules) {
  auto text = in.text(name, {.required = rules.required, .not_null = rules.not_null, .min = 1, .max = 40});
  if (text && !made_of(*text, {small, large, digits_and_line, "-"})) in.error(name, "FORMAT", "letters, digits, _ and - only");
  return text;
}

/// ^[a-z][a-z0-9_]{0,39}$: the name of a field in `custom`.
pg::Param key(http::Decoder& in, std::string_view name, http::Rules rules) {
  auto text = in.text(name, {.required = rules.required, .not_null = rules.not_null, .min = 1, .max = 40});
  if (text && (!made_of(*text, {small, digits_and_line}) || !made_of(text->substr(0, 1), {small})))
    in.error(name, "FORMAT", "small letters, digits and _, a letter first");
  return text;
}

/// The inbound number of a media source, normalised.
pg::Param dnis(http::Decoder& in, std::string_view name, http::Rules) {
  const auto text = in.text(name, {.max = 40});
  if (!text) return std::nullopt;
  auto phones = japanese::parse_phones(*text);
  if (!phones)
    in.error(name, phones.error().code, phones.error().detail);
  else if (phones->size() > 1)
    in.error(name, "PHONE_SEVERAL", "one number");
  else if (phones->front().e164.empty())
    in.error(name, "PHONE_INVALID", "not a whole number; write it with its area code");
  else
    return phones->front().e164;
  return std::nullopt;
}

pg::Param position(http::Decoder& in, std::string_view name, http::Rules rules) {
  return pg::param(in.integer(name, {.required = rules.required, .not_null = rules.not_null, .min = 0, .max = 1000000}));
}

pg::Param yes_or_no(http::Decoder& in, std::string_view name, http::Rules rules) { return pg::param(in.boolean(name, rules)); }

const http::Choices entities = {"customer", "inquiry"};
pg::Param entity(http::Decoder& in, std::string_view name, http::Rules rules) { return in.choice(name, entities, rules); }

pg::Param kind_of_field(http::Decoder& in, std::string_view name, http::Rules rules) {
  return in.choice(name, {"TEXT", "INTEGER", "BOOLEAN", "DATE", "CHOICE"}, rules);
}

/// Only a CHOICE has choices; a change does not say the kind.
pg::Param choices(http::Decoder& in, std::string_view name, http::Rules rules) {
  const auto list = in.texts(name, 100, {.not_null = rules.not_null, .min = 1, .max = 100});
  const auto* kind = in.value().if_contains("kind");
  if (const auto* text = kind ? kind->if_string() : nullptr) {
    const bool chosen = *text == "CHOICE";
    if (chosen && (!list || list->empty())) in.error(name, "REQUIRED", "a CHOICE has choices");
    if (!chosen && list && !list->empty()) in.error(name, "CHOICE", "only a CHOICE has choices");
  }
  return pg::param(list);
}

// The kinds ----------------------------------------------------------------------------------------------------------------

const Field media_source_fields[] = {{"code", code, Asked::always},
                                     {"name", label, Asked::always},
                                     {"dnis", dnis, Asked::nullable},
                                     {"position", position, Asked::or_default, "0"},
                                     {"active", yes_or_no, Asked::or_default, "t"}};
const Master media_sources{"media_source",
                           media_source_fields,
                           statements::list_media_sources,
                           statements::get_media_source,
                           statements::create_media_source,
                           statements::update_media_source,
                           statements::hide_media_source};

const Field item_category_fields[] = {{"code", code, Asked::always},
                                      {"name_ja", label, Asked::always},
                                      {"name_en", label, Asked::always},
                                      {"home_visit_law", yes_or_no, Asked::or_default, "t"},
                                      {"position", position, Asked::or_default, "0"},
                                      {"active", yes_or_no, Asked::or_default, "t"}};
const Master item_categories{"item_category",
                             item_category_fields,
                             statements::list_item_categories,
                             statements::get_item_category,
                             statements::create_item_category,
                             statements::update_item_category,
                             statements::hide_item_category};

const Field custom_field_fields[] = {{"entity", entity, Asked::once},
                                     {"key", key, Asked::once},
                                     {"label_ja", label, Asked::always},
                                     {"label_en", label, Asked::always},
                                     {"kind", kind_of_field, Asked::once},
                                     {"choices", choices, Asked::or_default, "{}"},
                                     {"required", yes_or_no, Asked::or_default, "f"},
                                     {"position", position, Asked::or_default, "0"}};
const Master custom_fields{"custom_field",
                           custom_field_fields,
                           statements::list_custom_fields,
                           statements::get_custom_field,
                           statements::create_custom_field,
                           statements::update_custom_field,
                           statements::hide_custom_field};

Answering list_custom_fields(Call& call) {
  http::QueryDecoder in(call.request);
  const auto of = in.choice("entity", entities);
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await call.show(custom_fields.list, pg::params(of));
}

const auth::Operation operations[] = {
    {Method::get, "/v1/media-sources", "list_media_sources", list<media_sources>},
    {Method::post, "/v1/media-sources", "create_media_source", create<media_sources>},
    {Method::get, "/v1/media-sources/{media_source_id}", "get_media_source", get<media_sources>},
    {Method::patch, "/v1/media-sources/{media_source_id}", "update_media_source", update<media_sources>},
    {Method::del, "/v1/media-sources/{media_source_id}", "hide_media_source", hide<media_sources>},
    {Method::get, "/v1/item-categories", "list_item_categories", list<item_categories>},
    {Method::post, "/v1/item-categories", "create_item_category", create<item_categories>},
    {Method::get, "/v1/item-categories/{item_category_id}", "get_item_category", get<item_categories>},
    {Method::patch, "/v1/item-categories/{item_category_id}", "update_item_category", update<item_categories>},
    {Method::del, "/v1/item-categories/{item_category_id}", "hide_item_category", hide<item_categories>},
    {Method::get, "/v1/custom-fields", "list_custom_fields", list_custom_fields},
    {Method::post, "/v1/custom-fields", "create_custom_field", create<custom_fields>},
    {Method::get, "/v1/custom-fields/{custom_field_id}", "get_custom_field", get<custom_fields>},
    {Method::patch, "/v1/custom-fields/{custom_field_id}", "update_custom_field", update<custom_fields>},
    {Method::del, "/v1/custom-fields/{custom_field_id}", "hide_custom_field", hide<custom_fields>},
};

}  // namespace

void mount(http::Router& router, auth::Gatekeeper& gate) { gate.mount(router, operations); }

}  // namespace enishi::crm::masters

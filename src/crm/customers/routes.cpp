#include "crm/customers/routes.hpp"

#include <algorithm>

#include "crm/customers/customer.hpp"
#include "crm/customers/customers.sql.hpp"
#include "crm/japanese/dates.hpp"
#include "crm/japanese/names.hpp"
#include "crm/japanese/phones.hpp"
#include "crm/japanese/postal_codes.hpp"
#include "crm/japanese/unicode.hpp"

namespace enishi::crm::customers {
namespace {

using auth::Call;
using http::Method;

Answering list_customers(Call& call);
Answering create_customer(Call& call);
Answering get_customer(Call& call, Uuid id);
Answering update_customer(Call& call, Uuid id, std::int64_t version);
Answering list_timeline(Call& call, Uuid id);
Answering screen_pop(Call& call);
Answering create_customer_phones(Call& call, Uuid id);
Answering update_customer_phone(Call& call, Uuid id, std::int64_t version);
Answering create_customer_address(Call& call, Uuid id);
Answering update_customer_address(Call& call, Uuid id, std::int64_t version);
Answering create_customer_email(Call& call, Uuid id);
Answering update_customer_email(Call& call, Uuid id, std::int64_t version);
Answering list_towns(Call& call);

const auth::Operation operations[] = {
    {Method::get, "/v1/customers", "list_customers", list_customers},
    {Method::post, "/v1/customers", "create_customer", create_customer},
    {Method::get, "/v1/customers/{customer_id}", "get_customer", get_customer, {.views = "customer"}},
    {Method::patch, "/v1/customers/{customer_id}", "update_customer", update_customer},
    {Method::del, "/v1/customers/{customer_id}", "hide_customer", hide},
    {Method::get, "/v1/customers/{customer_id}/timeline", "list_timeline", list_timeline, {.views = "customer"}},
    {Method::get, "/v1/screen-pop", "screen_pop", screen_pop},
    {Method::post, "/v1/customers/{customer_id}/phones", "create_customer_phones", create_customer_phones},
    {Method::patch, "/v1/customer-phones/{customer_phone_id}", "update_customer_phone", update_customer_phone},
    {Method::del, "/v1/customer-phones/{customer_phone_id}", "hide_customer_phone", hide_phone},
    {Method::post, "/v1/customers/{customer_id}/addresses", "create_customer_address", create_customer_address},
    {Method::patch, "/v1/customer-addresses/{customer_address_id}", "update_customer_address", update_customer_address},
    {Method::del, "/v1/customer-addresses/{customer_address_id}", "hide_customer_address", hide_address},
    {Method::post, "/v1/customers/{customer_id}/emails", "create_customer_email", create_customer_email},
    {Method::patch, "/v1/customer-emails/{customer_email_id}", "update_customer_email", update_customer_email},
    {Method::del, "/v1/customer-emails/{customer_email_id}", "hide_customer_email", hide_email},
    {Method::get, "/v1/postal-codes/{postal_code}", "list_towns", list_towns},
};

constexpr std::string_view phone_kinds[] = {"MOBILE", "FIXED", "TOLL_FREE", "IP", "OTHER"};
constexpr std::string_view flag_names[] = {"VIP",    "ELDERLY", "CAUTION", "COMPLAINT", "FAMILY_PRESENT_REQUIRED", "HEARING_IMPAIRED",
                                           "NO_MAIL"};

// Reading fields. Every mistake goes into the decoder; what comes back is only used when there was none.
// -------------------------------------

void check_name(http::Decoder& in, const std::optional<std::string>& name) {
  if (name && japanese::trimmed(*name).empty()) in.error("display_name", "REQUIRED", "a name is more than spaces");
}

std::optional<std::string> read_birth_date(http::Decoder& in) {
  auto text = in.text("birth_date", {.max = 40});
  if (!text) return std::nullopt;
  auto date = japanese::parse_date(*text);
  if (!date) {
    in.error("birth_date", date.error().code, date.error().detail);
    return std::nullopt;
  }
  const auto year = static_cast<int>(date->year());
  if (year < 1870 || year >= 2100) {
    in.error("birth_date", "RANGE", "from 1870 to 2099");
    return std::nullopt;
  }
  return japanese::iso_date(*date);
}

std::optional<std::vector<std::string>> read_flags(http::Decoder& in, bool not_null) {
  auto flags = in.texts("flags", 20, {.not_null = not_null, .max = 40});
  if (!flags) return std::nullopt;
  for (const auto& flag : *flags)
    if (std::find(std::begin(flag_names), std::end(flag_names), flag) == std::end(flag_names))
      in.error("flags", "CHOICE", "there is no flag " + flag);
  // They are a set, and every system has its own order of them.
  std::sort(flags->begin(), flags->end());
  flags->erase(std::unique(flags->begin(), flags->end()), flags->end());
  return flags;
}

/// The numbers of the field `raw`, one or several.
std::vector<PhoneDraft> read_phones(http::Decoder& in, bool required) {
  std::vector<PhoneDraft> out;
  const auto given_id = in.uuid("id");
  const auto raw = in.text("raw", {.required = required, .not_null = true, .min = 1, .max = japanese::max_phone_text});
  const auto kind = in.choice("kind", phone_kinds);
  const auto note = in.text("note", {.max = 200});
  if (!raw) return out;
  auto phones = japanese::parse_phones(*raw);
  if (!phones) {
    in.error("raw", phones.error().code, phones.error().detail);
    return out;
  }
  if (given_id && phones->size() > 1) in.error("id", "PHONE_SEVERAL", "there are several numbers in raw; one id is for one");
  for (auto& phone : *phones) {
    PhoneDraft draft{
        given_id && phones->size() == 1 ? *given_id : Uuid::make(), std::move(phone.raw), std::move(phone.e164), std::move(phone.extension),
        kind ? *kind : std::string(to_string(phone.kind)),          phone.valid_hint,     note.value_or("")};
    out.push_back(std::move(draft));
  }
  return out;
}

std::optional<std::string> read_postal_code(http::Decoder& in) {
  auto text = in.text("postal_code", {.max = 20});
  if (!text || text->empty()) return std::nullopt;
  auto code = japanese::normalize_postal_code(*text);
  if (code) return *code;
  in.error("postal_code", code.error().code, code.error().detail);
  return std::nullopt;
}

AddressDraft read_address(http::Decoder& in) {
  AddressDraft a;
  a.id = in.uuid("id").value_or(Uuid::make());
  a.postal_code = read_postal_code(in);
  a.prefecture = in.text("prefecture", {.max = 20}).value_or("");
  a.city = in.text("city", {.max = 100}).value_or("");
  a.town = in.text("town", {.max = 200}).value_or("");
  a.street = in.text("street", {.max = 200}).value_or("");
  a.building = in.text("building", {.max = 200}).value_or("");
  a.note = in.text("note", {.max = 200}).value_or("");
  return a;
}

std::optional<std::string> read_email_text(http::Decoder& in, bool required) {
  auto email = in.text("email", {.required = required, .not_null = true, .min = 3, .max = 254});
  if (!email) return std::nullopt;
  const auto at = email->find('@');
  const bool spaced = email->find_first_of(" \t\r\n\v\f") != std::string::npos;
  if (spaced || at == std::string::npos || at == 0 || at + 1 == email->size() || email->find('@', at + 1) != std::string::npos)
    in.error("email", "FORMAT", "an address is name@host");
  return email;
}

CustomerDraft read_customer(http::Decoder& in) {
  CustomerDraft c;
  c.id = in.uuid("id").value_or(Uuid::make());
  const auto name = in.text("display_name", {.required = true, .min = 1, .max = 200});
  check_name(in, name);
  c.display_name = name.value_or("");
  c.kana = in.text("kana", {.max = 200}).value_or("");
  c.birth_date = read_birth_date(in);
  c.notes = in.text("notes", {.max = 10000, .multiline = true}).value_or("");
  c.flags = read_flags(in, false).value_or(std::vector<std::string>{});
  c.custom = in.raw_object("custom").value_or("{}");
  c.owner_id = in.uuid("owner_id");
  c.team_id = in.uuid("team_id");
  in.each("phones", 10, [&](http::Decoder& item) {
    for (auto& phone : read_phones(item, true)) c.phones.push_back(std::move(phone));
  });
  in.each("addresses", 10, [&](http::Decoder& item) { c.addresses.push_back(read_address(item)); });
  in.each("emails", 10, [&](http::Decoder& item) {
    const auto id = item.uuid("id").value_or(Uuid::make());
    if (auto email = read_email_text(item, true)) c.emails.push_back({id, std::move(*email)});
  });
  return c;
}

/// E.164 as computers write it needs no look into the numbering plan.
bool plain_e164(std::string_view text) {
  return text.size() >= 9 && text.size() <= 16 && text[0] == '+' && text[1] != '0' &&
         text.find_first_not_of("0123456789", 1) == std::string_view::npos && !text.starts_with("+810");
}

/// A + that a client forgot to escape came as a space.
std::string phone_parameter(std::string text) {
  if (text.size() > 1 && text[0] == ' ' && text[1] >= '1' && text[1] <= '9') text[0] = '+';
  return text;
}

// Handlers, in the order of the table
// -------------------------------------------------------------------------------------------------------

Answering list_customers(Call& call) {
  http::QueryDecoder in(call.request);
  Filter filter;
  const auto phone = in.text("phone", {.min = 1, .max = japanese::max_phone_text});
  filter.name = in.text("name", {.min = 1, .max = 200});
  filter.email = in.text("email", {.min = 1, .max = 254});
  if ((phone ? 1 : 0) + (filter.name ? 1 : 0) + (filter.email ? 1 : 0) > 1)
    in.error(phone ? "phone" : "name", "ONE_FILTER", "look for a phone, a name or an email, one at a time");
  if (filter.name && japanese::loose_key(*filter.name).empty()) in.error("name", "TOO_SHORT", "no letter to look for");
  if (phone) {
    const auto text = phone_parameter(*phone);
    auto parsed = plain_e164(text) ? Result<std::vector<japanese::Phone>>(fail(Kind::unprocessable, "", "")) : japanese::parse_phones(text);
    if (plain_e164(text))
      filter.e164 = text;
    else if (parsed && !parsed->front().e164.empty())
      filter.e164 = parsed->front().e164;
    if (!filter.e164) {
      std::string digits;
      for (const char c : japanese::nfkc(text))
        if (c >= '0' && c <= '9') digits += c;
      if (digits.size() >= 4 && digits.size() <= 15)
        filter.suffix = digits;
      else
        in.error("phone", "TOO_SHORT", "a whole number, or at least its last four digits");
    }
  }
  const auto key = filter.key();
  auto at = auth::finish_paging(in, key ? pg::params(*key, Uuid{}) : pg::params(nullptr));
  if (!at) co_return tl::make_unexpected(std::move(at.error()));
  co_return co_await list(call, std::move(filter), std::move(*at));
}

Answering create_customer(Call& call) {
  http::Decoder in(call.request);
  auto draft = read_customer(in);
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await create(call, std::move(draft));
}

Answering get_customer(Call& call, Uuid id) {
  http::QueryDecoder in(call.request);
  auto moment = in.timestamp("as_of");
  if (auto bad = in.finish()) co_return *bad;
  if (moment) co_return co_await get_as_of(call, id, std::move(*moment));
  co_return co_await get(call, id);
}

Answering update_customer(Call& call, Uuid id, std::int64_t version) {
  http::Decoder in(call.request);
  CustomerChange changed;
  changed.display_name = in.text("display_name", {.not_null = true, .min = 1, .max = 200});
  check_name(in, changed.display_name);
  changed.kana = in.text("kana", {.not_null = true, .max = 200});
  changed.notes = in.text("notes", {.not_null = true, .max = 10000, .multiline = true});
  changed.flags = read_flags(in, true);
  changed.custom = in.raw_object("custom", {.not_null = true});
  auto birth_date = read_birth_date(in);
  if (in.present("birth_date")) changed.birth_date = std::move(birth_date);
  const auto owner = in.uuid("owner_id");
  if (in.present("owner_id")) changed.owner_id = owner;
  const auto team = in.uuid("team_id");
  if (in.present("team_id")) changed.team_id = team;
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await update(call, id, version, std::move(changed));
}

Answering list_timeline(Call& call, Uuid id) {
  http::QueryDecoder in(call.request);
  auto at = auth::finish_paging(in, auth::newest());
  if (!at) co_return tl::make_unexpected(std::move(at.error()));
  co_return co_await timeline(call, id, std::move(*at));
}

Answering screen_pop(Call& call) {
  http::QueryDecoder in(call.request);
  auto phone = in.text("phone", {.required = true, .min = 1, .max = japanese::max_phone_text});
  std::string e164;
  if (phone) {
    e164 = phone_parameter(std::move(*phone));
    if (!plain_e164(e164)) {
      auto parsed = japanese::parse_phones(e164);
      if (!parsed)
        in.error("phone", parsed.error().code, parsed.error().detail);
      else if (parsed->size() > 1)
        in.error("phone", "PHONE_SEVERAL", "one number at a time");
      else if (parsed->front().e164.empty())
        in.error("phone", "PHONE_INVALID", "not a whole number; write it with its area code");
      else
        e164 = parsed->front().e164;
    }
  }
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await pop_screen(call, std::move(e164));
}

Answering create_customer_phones(Call& call, Uuid id) {
  http::Decoder in(call.request);
  auto phones = read_phones(in, true);
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await add_phones(call, id, std::move(phones));
}

Answering update_customer_phone(Call& call, Uuid id, std::int64_t version) {
  http::Decoder in(call.request);
  auto raw = in.text("raw", {.not_null = true, .min = 1, .max = japanese::max_phone_text});
  auto kind = in.choice("kind", phone_kinds, {.not_null = true});
  auto note = in.text("note", {.not_null = true, .max = 200});
  const auto position = in.integer("position", {.not_null = true, .min = 0, .max = 1000});
  std::optional<PhoneDraft> number;
  if (raw) {
    auto phones = japanese::parse_phones(*raw);
    if (!phones)
      in.error("raw", phones.error().code, phones.error().detail);
    else if (phones->size() > 1)
      in.error("raw", "PHONE_SEVERAL", "one number; add the other one as a phone of its own");
    else
      number = PhoneDraft{id,
                          phones->front().raw,
                          phones->front().e164,
                          phones->front().extension,
                          std::string(to_string(phones->front().kind)),
                          phones->front().valid_hint,
                          ""};
  }
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await update_phone(call, id, version, std::move(number), std::move(kind), std::move(note), position);
}

Answering create_customer_address(Call& call, Uuid id) {
  http::Decoder in(call.request);
  auto address = read_address(in);
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await add_address(call, id, std::move(address));
}

Answering update_customer_address(Call& call, Uuid id, std::int64_t version) {
  http::Decoder in(call.request);
  AddressChange changed;
  auto postal_code = read_postal_code(in);
  if (in.present("postal_code")) changed.postal_code = std::move(postal_code);
  changed.prefecture = in.text("prefecture", {.not_null = true, .max = 20});
  changed.city = in.text("city", {.not_null = true, .max = 100});
  changed.town = in.text("town", {.not_null = true, .max = 200});
  changed.street = in.text("street", {.not_null = true, .max = 200});
  changed.building = in.text("building", {.not_null = true, .max = 200});
  changed.note = in.text("note", {.not_null = true, .max = 200});
  changed.position = in.integer("position", {.not_null = true, .min = 0, .max = 1000});
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await update_address(call, id, version, std::move(changed));
}

Answering create_customer_email(Call& call, Uuid id) {
  http::Decoder in(call.request);
  EmailDraft draft;
  draft.id = in.uuid("id").value_or(Uuid::make());
  draft.email = read_email_text(in, true).value_or("");
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await add_email(call, id, std::move(draft));
}

Answering update_customer_email(Call& call, Uuid id, std::int64_t version) {
  http::Decoder in(call.request);
  auto email = read_email_text(in, false);
  const auto position = in.integer("position", {.not_null = true, .min = 0, .max = 1000});
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await update_email(call, id, version, std::move(email), position);
}

Answering list_towns(Call& call) {
  auto code = japanese::normalize_postal_code(call.request.segment("postal_code"));
  if (!code)
    co_return fail(Kind::unprocessable, "VALIDATION_FAILED", code.error().detail,
                   {{"?postal_code", code.error().code, code.error().detail}});
  co_return co_await call.show(sql::customers::list_towns, pg::params(*code));
}

}  // namespace

void mount(http::Router& router, auth::Gatekeeper& gate) { gate.mount(router, operations); }

}  // namespace enishi::crm::customers

#include "crm/inquiries/routes.hpp"

#include <boost/json.hpp>

#include "crm/inquiries/inquiry.hpp"
#include "crm/japanese/names.hpp"
#include "crm/japanese/phones.hpp"
#include "crm/paging.hpp"

namespace enishi::crm::inquiries {
namespace {

namespace json = boost::json;
using auth::Call;
using http::Answer;
using http::Decoder;
using http::Method;

Answering list_inquiries(Call& call);
Answering create_inquiry(Call& call);
Answering update_inquiry(Call& call, Uuid id, std::int64_t version);
Answering transition_inquiry(Call& call, Uuid id);
Answering create_inquiry_item(Call& call, Uuid id);
Answering update_inquiry_item(Call& call, Uuid id, std::int64_t version);
Answering put_hearing_sheet(Call& call, Uuid id);
Answering receive_lead(Call& call);

const auth::Operation operations[] = {
    {Method::get, "/v1/inquiries", "list_inquiries", list_inquiries, {.views = "customer"}},
    {Method::post, "/v1/inquiries", "create_inquiry", create_inquiry},
    {Method::get, "/v1/inquiries/{inquiry_id}", "get_inquiry", get, {.views = "inquiry"}},
    {Method::patch, "/v1/inquiries/{inquiry_id}", "update_inquiry", update_inquiry},
    {Method::post, "/v1/inquiries/{inquiry_id}/transition", "transition_inquiry", transition_inquiry},
    {Method::post, "/v1/inquiries/{inquiry_id}/items", "create_inquiry_item", create_inquiry_item},
    {Method::patch, "/v1/inquiry-items/{inquiry_item_id}", "update_inquiry_item", update_inquiry_item},
    {Method::del, "/v1/inquiry-items/{inquiry_item_id}", "delete_inquiry_item", delete_item},
    {Method::get, "/v1/inquiries/{inquiry_id}/hearing-sheet", "get_hearing_sheet", hearing_sheet, {.views = "hearing_sheet"}},
    {Method::patch, "/v1/inquiries/{inquiry_id}/hearing-sheet", "save_hearing_sheet", put_hearing_sheet},
    {Method::post, "/v1/leads", "receive_lead", receive_lead},
};

const http::Choices stages = {"NEW", "IN_PROGRESS", "NURTURING", "APPOINTED", "VISITED", "CONTRACTED", "NO_DEAL", "LOST", "INVALID"};
const http::Choices next_actions = {"CALL", "CALLBACK", "PRE_VISIT_CALL", "NURTURE_CALL", "VISIT", "WAIT", "NONE"};

void put(json::object& out, std::string_view name, const std::optional<std::string>& value) {
  if (value) out[name] = *value;
}

/// Phones, addresses and emails of a customer who is not there yet, with ids; every phone that cannot be read is an error of its own.
NewPerson person(Decoder& in) {
  NewPerson out;
  out.id = in.uuid("id").value_or(Uuid::make());
  json::object who;
  who["id"] = out.id.str();
  const auto name = in.text("display_name", {.required = true, .min = 1, .max = 200});
  const auto kana = in.text("kana", {.max = 200});
  put(who, "display_name", name);
  put(who, "kana", kana);
  out.name_key = japanese::loose_key(name.value_or(""));
  who["name_key"] = out.name_key;
  who["kana_key"] = japanese::loose_key(kana.value_or(""));
  const auto birth_date = in.date("birth_date");
  put(who, "birth_date", birth_date);
  const auto notes = in.text("notes", {.max = 10000, .multiline = true});
  put(who, "notes", notes);
  if (const auto custom = in.raw_object("custom")) who["custom"] = json::parse(*custom);
  const auto tell = [&out](std::string_view line) {
    if (!line.empty()) out.as_told.append(out.as_told.empty() ? "" : "\n").append(line);
  };
  tell(kana.value_or(""));
  tell(birth_date.value_or(""));
  json::array phones, addresses, emails;
  in.each("phones", 20, [&](Decoder& item) {
    const auto raw = item.text("raw", {.required = true, .min = 1, .max = japanese::max_phone_text});
    if (!raw) return;
    auto read = japanese::parse_phones(*raw);
    if (!read) {
      item.error("raw", read.error().code, read.error().detail);
      return;
    }
    for (const auto& phone : *read) {
      json::object row{{"id", Uuid::make().str()},
                       {"raw", phone.raw},
                       {"kind", japanese::to_string(phone.kind)},
                       {"valid_hint", phone.valid_hint},
                       {"position", phones.size()}};
      if (!phone.e164.empty()) row["e164"] = phone.e164, out.e164s.push_back(phone.e164);
      if (!phone.extension.empty()) row["extension"] = phone.extension;
      phones.push_back(std::move(row));
    }
  });
  in.each("addresses", 10, [&](Decoder& item) {
    json::object row{{"id", Uuid::make().str()}, {"position", addresses.size()}};
    if (const auto code = item.text("postal_code", {.max = 7})) {
      if (code->size() != 7 || code->find_first_not_of("0123456789") != std::string::npos)
        item.error("postal_code", "FORMAT", "seven digits");
      row["postal_code"] = *code;
    }
    put(row, "prefecture", item.text("prefecture", {.max = 20}));
    put(row, "city", item.text("city", {.max = 100}));
    put(row, "town", item.text("town", {.max = 200}));
    put(row, "street", item.text("street", {.max = 200}));
    put(row, "building", item.text("building", {.max = 200}));
    std::string line;
    for (const auto* part : {"postal_code", "prefecture", "city", "town", "street", "building"})
      if (const auto* value = row.if_contains(part)) line.append(line.empty() ? "" : " ").append(value->as_string());
    tell(line);
    addresses.push_back(std::move(row));
  });
  in.each("emails", 10, [&](Decoder& item) {
    const auto email = item.text("email", {.required = true, .min = 3, .max = 254});
    if (!email) return;
    const auto at = email->find('@');
    if (at == 0 || at == std::string::npos || at + 1 == email->size() || email->find('@', at + 1) != std::string::npos ||
        email->find(' ') != std::string::npos)
      item.error("email", "FORMAT", "an address such as name@example.com");
    tell(*email);
    emails.push_back(json::object{{"id", Uuid::make().str()}, {"email", *email}, {"position", emails.size()}});
  });
  tell(notes.value_or(""));
  out.person = json::serialize(who);
  out.phones = json::serialize(phones);
  out.addresses = json::serialize(addresses);
  out.emails = json::serialize(emails);
  return out;
}

std::string items(Decoder& in) {
  json::array out;
  in.each("items", 50, [&](Decoder& item) {
    json::object row{{"id", Uuid::make().str()}, {"position", out.size()}};
    if (const auto category = item.uuid("item_category_id", {.required = true})) row["item_category_id"] = category->str();
    put(row, "description", item.text("description", {.max = 1000, .multiline = true}));
    if (const auto quantity = item.integer("quantity", {.min = 1, .max = 100000})) row["quantity"] = *quantity;
    out.push_back(std::move(row));
  });
  return json::serialize(out);
}

Answering create_inquiry(Call& call) {
  Decoder in(call.request);
  NewInquiry lead;
  lead.id = in.uuid("id").value_or(Uuid::make());
  lead.customer_id = in.uuid("customer_id");
  const bool fresh = in.object("customer", [&](Decoder& who) { lead.person = person(who); });
  if (fresh == in.present("customer_id")) in.error("customer_id", "REQUIRED", "either customer_id of somebody known or a new customer");
  lead.media_source_id = in.uuid("media_source_id", {.required = true}).value_or(Uuid{});
  lead.channel = in.choice("channel", {"PHONE", "WEB", "FILE", "OTHER"}, {.required = true}).value_or("");
  lead.customer_initiated = in.boolean("customer_initiated", {.not_null = true}).value_or(true);
  lead.external_ref = in.text("external_ref", {.min = 1, .max = 200});
  lead.received_at = in.timestamp("received_at");
  lead.notes = in.text("notes", {.max = 10000, .multiline = true});
  lead.custom = in.raw_object("custom");
  lead.owner_id = in.uuid("owner_id");
  lead.team_id = in.uuid("team_id");
  lead.items = items(in);
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await create(call, std::move(lead));
}

Answering receive_lead(Call& call) {
  Decoder in(call.request);
  NewInquiry lead;
  lead.id = Uuid::make();
  lead.external_ref = in.text("external_ref", {.required = true, .min = 1, .max = 200});
  const auto code = in.text("media_source", {.required = true, .min = 1, .max = 40});
  in.object("customer", [&](Decoder& who) { lead.person = person(who); }, {.required = true});
  lead.channel = "WEB";
  lead.received_at = in.timestamp("received_at");
  lead.notes = in.text("notes", {.max = 10000, .multiline = true});
  lead.custom = in.raw_object("custom");
  lead.team_id = in.uuid("team_id");
  lead.items = items(in);
  if (auto bad = in.finish()) co_return *bad;
  auto source = co_await media_source(call, *code);
  if (!source) co_return tl::make_unexpected(source.error());
  lead.media_source_id = *source;
  auto known = co_await recognised(call, std::move(lead));
  if (!known) co_return tl::make_unexpected(known.error());
  co_return co_await create(call, std::move(*known));
}

Answering list_inquiries(Call& call) {
  http::QueryDecoder in(call.request);
  Filter f;
  f.view = in.choice("view", {"due", "received", "customer"}).value_or("due");
  f.limit = in.limit();
  const auto cursor = in.cursor();
  f.stage = in.choice("stage", stages);
  f.media_source_id = in.uuid("media_source_id");
  f.owner_id = in.uuid("owner_id");
  f.team_id = in.uuid("team_id");
  f.customer_id = in.uuid("customer_id", {.required = f.view == "customer"});
  if (f.customer_id && f.view != "customer") in.error("customer_id", "CHOICE", "only with view=customer");
  if (auto bad = in.finish()) co_return *bad;
  auto after = parse_cursor(cursor, 2);
  if (!after) co_return tl::make_unexpected(after.error());
  f.after = std::move(*after);
  co_return co_await list(call, std::move(f));
}

Answering update_inquiry(Call& call, Uuid id, std::int64_t version) {
  Decoder in(call.request);
  in.choice("next_action", next_actions, {.not_null = true});
  in.timestamp("next_action_at");
  in.text("notes", {.not_null = true, .max = 10000, .multiline = true});
  in.raw_object("custom", {.not_null = true});
  in.uuid("owner_id");
  const auto team = in.uuid("team_id");
  const auto changes = json::serialize(in.value());
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await update(call, id, version, team, changes);
}

Answering transition_inquiry(Call& call, Uuid id) {
  Move to;
  if (!call.request.header("If-Match").empty()) {
    auto version = call.if_match();
    if (!version) co_return tl::make_unexpected(version.error());
    to.version = *version;
  }
  Decoder in(call.request);
  to.stage = in.choice("stage", {"IN_PROGRESS", "NURTURING", "CONTRACTED", "NO_DEAL", "LOST", "INVALID"}, {.required = true}).value_or("");
  if (to.stage == "INVALID")
    to.reason = in.choice("reason", {"duplicate", "prank", "out_of_area", "excluded_goods"}, {.required = true});
  else
    to.reason = in.text("reason", {.required = to.stage == "LOST", .min = 1, .max = 200});
  to.next_action = in.choice("next_action", {"CALL", "CALLBACK", "NURTURE_CALL", "WAIT"});
  to.next_action_at = in.timestamp("next_action_at");
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await move(call, id, std::move(to));
}

Answering create_inquiry_item(Call& call, Uuid id) {
  Decoder in(call.request);
  NewItem item;
  item.id = in.uuid("id").value_or(Uuid::make());
  item.item_category_id = in.uuid("item_category_id", {.required = true}).value_or(Uuid{});
  item.description = in.text("description", {.max = 1000, .multiline = true});
  item.quantity = in.integer("quantity", {.min = 1, .max = 100000});
  item.position = in.integer("position", {.min = 0, .max = 100000});
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await add_item(call, id, std::move(item));
}

Answering update_inquiry_item(Call& call, Uuid id, std::int64_t version) {
  Decoder in(call.request);
  in.uuid("item_category_id", {.not_null = true});
  in.text("description", {.not_null = true, .max = 1000, .multiline = true});
  in.integer("quantity", {.min = 1, .max = 100000});
  in.integer("position", {.not_null = true, .min = 0, .max = 100000});
  const auto changes = json::serialize(in.value());
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await update_item(call, id, version, changes);
}

Answering put_hearing_sheet(Call& call, Uuid id) {
  Decoder in(call.request);
  const auto base = in.integer("base_version", {.required = true, .min = 0, .max = 2000000000});
  const auto changes = in.raw_object("changes", {.required = true, .max = 100000});
  if (changes) {
    const auto parsed = http::parse_json(*changes);
    if (parsed && parsed->is_object())
      for (const auto& field : parsed->get_object()) {
        if (field.key().empty() || field.key().size() > 100) in.error("changes", "TOO_LONG", "names of fields have 1 to 100 bytes");
        if (field.value().is_object()) in.error("changes", "TYPE", "answers are flat: texts, numbers, booleans, lists of them, or null");
      }
  }
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await save_hearing_sheet(call, id, *base, *changes);
}

}  // namespace

void mount(http::Router& router, auth::Gatekeeper& gate) { gate.mount(router, operations); }

}  // namespace enishi::crm::inquiries

#include "crm/imports/plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "base/log.hpp"

namespace enishi::crm::imports {
namespace {

std::string identity(std::string_view e164, std::string_view name_key) { return std::string(e164) + "\n" + std::string(name_key); }

std::string cells_json(const std::vector<std::string>& cells) {
  std::string out = "[";
  for (const auto& cell : cells) {
    if (out.size() > 1) out += ',';
    out += json_quote(cell);
  }
  return out + "]";
}

/// `under` with those members of `over` that it has not.
std::string merged(std::string_view under, std::string_view over) {
  if (over == "{}") return std::string(under);
  if (under == "{}") return std::string(over);
  auto object = boost::json::parse(boost::json::string_view(under.data(), under.size())).as_object();
  const auto more = boost::json::parse(boost::json::string_view(over.data(), over.size()));
  for (const auto& member : more.as_object()) object.emplace(member.key(), member.value());
  return boost::json::serialize(object);
}

}  // namespace

void JsonRows::member(std::string_view name) {
  text_ += first_ ? "\"" : ",\"";
  first_ = false;
  text_.append(name).append("\":");
}

JsonRows& JsonRows::row() {
  text_ += rows_++ == 0 ? "{" : "},{";
  first_ = true;
  return *this;
}

JsonRows& JsonRows::text(std::string_view name, std::string_view value) {
  member(name);
  text_ += json_quote(value);
  return *this;
}

JsonRows& JsonRows::maybe(std::string_view name, const std::optional<std::string>& value) {
  if (value) return text(name, *value);
  return *this;
}

JsonRows& JsonRows::id(std::string_view name, const Uuid& value) {
  member(name);
  text_.append("\"").append(value.str()).append("\"");
  return *this;
}

JsonRows& JsonRows::raw(std::string_view name, std::string_view json) {
  member(name);
  text_ += json;
  return *this;
}

JsonRows& Plan::result(const Position& at, std::string_view what) {
  return rows.row().raw("row_number", std::to_string(at.number)).raw("line", std::to_string(at.line)).text("result", what);
}

void Plan::add(const Read& read) {
  if (const auto* lead = std::get_if<Lead>(&read)) return add(*lead);
  const auto& refusal = std::get<Refusal>(read);
  if (refusal.skipped) return skip(refusal.at, refusal.code, refusal.detail, std::nullopt);
  refuse(refusal.at, refusal.code, refusal.detail, refusal.cells);
}

void Plan::refuse(const Position& at, std::string_view code, std::string_view detail, const std::vector<std::string>& cells) {
  ++rejected;
  auto& row = result(at, "REJECTED").text("code", code).text("detail", detail).text("content", cells_json(cells));
  if (at.last_line != at.line) row.raw("last_line", std::to_string(at.last_line));
}

void Plan::skip(const Position& at, std::string_view code, std::string_view detail, const std::optional<Stored>& stored) {
  ++skipped;
  auto& row = result(at, "SKIPPED").text("code", code).text("detail", detail);
  if (stored) row.id("customer_id", stored->customer).id("inquiry_id", stored->inquiry);
}

void Plan::add(const Lead& lead) {
  const auto moment = known_.moments.find(lead.at.number);
  if (moment == known_.moments.end()) throw std::logic_error("a row without its moment");
  if (lead.external_ref) {
    if (const auto seen = known_.refs.find(*lead.external_ref); seen != known_.refs.end())
      return skip(lead.at, "DUPLICATE_REF", "A lead of this media source with the same reference is stored already.", seen->second);
  }
  // Everybody with one of the phones and this name: before this chunk, and in it.
  std::set<Uuid> candidates;
  std::optional<Stored> same_day;
  if (const auto found = known_.matches.find(lead.at.number); found != known_.matches.end())
    for (const auto& match : found->second) {
      candidates.insert(match.customer);
      if (match.lead_of_day && !same_day) same_day = Stored{*match.lead_of_day, match.customer};
    }
  for (const auto& phone : lead.phones)
    if (const auto found = by_phone_and_name_.find(identity(phone.e164, lead.name_key)); found != by_phone_and_name_.end())
      candidates.insert(found->second.begin(), found->second.end());
  for (const auto& candidate : candidates) {
    const auto found = leads_of_day_.find({candidate, moment->second.day});
    if (found != leads_of_day_.end() && !same_day) same_day = Stored{found->second, candidate};
  }
  // With references of their own, two leads of one day are two leads.
  if (same_day && !lead.external_ref)
    return skip(lead.at, "DUPLICATE_ROW", "A lead with the same phone, name, day and media source is stored already.", same_day);

  const bool is_new = candidates.size() != 1;
  if (is_new && !lead.missing_custom.empty())
    return refuse(lead.at, "CUSTOM_FIELD_MISSING",
                  fmt::format("The field {} of customers is compulsory, and the row has none.", lead.missing_custom), lead.cells);

  auto& who = person(is_new ? Uuid::make() : *candidates.begin(), is_new);
  fill(who, lead);
  for (const auto& e164 : who.e164s) {
    auto& known = by_phone_and_name_[identity(e164, lead.name_key)];
    if (std::find(known.begin(), known.end(), who.id) == known.end()) known.push_back(who.id);
  }

  const auto inquiry = Uuid::make();
  inquiries.row()
      .id("id", inquiry)
      .id("customer_id", who.id)
      .id("task_id", Uuid::make())
      .maybe("external_ref", lead.external_ref)
      .text("received_at", moment->second.at)
      .text("notes", lead.notes)
      .raw("custom", lead.inquiry_custom);
  for (std::size_t i = 0; i < lead.categories.size(); ++i)
    items.row()
        .id("id", Uuid::make())
        .id("inquiry_id", inquiry)
        .id("item_category_id", lead.categories[i])
        .text("description", i == 0 ? lead.item_description : "")
        .raw("position", std::to_string(i));
  leads_of_day_.emplace(std::pair(who.id, moment->second.day), inquiry);
  if (lead.external_ref) known_.refs.emplace(*lead.external_ref, Stored{inquiry, who.id});
  ++(is_new ? created : updated);
  result(lead.at, is_new ? "CREATED" : "UPDATED").id("customer_id", who.id).id("inquiry_id", inquiry);
}

Plan::Person& Plan::person(const Uuid& id, bool is_new) {
  auto [found, added] = people_.try_emplace(id);
  if (added) {
    found->second.id = id;
    found->second.is_new = is_new;
    order_.push_back(id);
  }
  return found->second;
}

/// What the person has not from the rows before is taken from this one.
void Plan::fill(Person& who, const Lead& lead) {
  if (who.name_key.empty()) {
    who.display_name = lead.display_name;
    who.name_key = lead.name_key;
  }
  if (who.kana.empty()) {
    who.kana = lead.kana;
    who.kana_key = lead.kana_key;
  }
  if (!who.birth_date) who.birth_date = lead.birth_date;
  if (who.notes.empty()) who.notes = lead.customer_notes;
  who.custom = merged(who.custom, lead.custom);
  auto& phone_rows = who.is_new ? phones : fill_phones;
  for (const auto& phone : lead.phones) {
    if (!who.e164s.insert(phone.e164).second) continue;
    phone_rows.row()
        .id("id", Uuid::make())
        .id("customer_id", who.id)
        .text("raw", phone.raw)
        .text("e164", phone.e164)
        .text("kind", japanese::to_string(phone.kind))
        .raw("valid_hint", phone.valid_hint ? "true" : "false")
        .raw("position", std::to_string(who.e164s.size() - 1));
    if (!phone.extension.empty()) phone_rows.text("extension", phone.extension);
  }
  for (const auto& email : lead.emails) {
    auto lower = email;
    std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (!who.emails.insert(lower).second) continue;
    emails.row()
        .id("id", Uuid::make())
        .id("customer_id", who.id)
        .text("email", email)
        .raw("position", std::to_string(who.emails.size() - 1));
  }
  if (lead.address.empty() || who.has_address) return;
  who.has_address = true;
  auto a = lead.address;
  static const std::vector<Town> none;
  const auto towns = known_.towns.find(a.postal_code);
  split_address(a, towns == known_.towns.end() ? none : towns->second);
  auto& row = (who.is_new ? addresses : fill_addresses).row().id("id", Uuid::make()).id("customer_id", who.id);
  if (!a.postal_code.empty()) row.text("postal_code", a.postal_code);
  row.text("prefecture", a.prefecture).text("city", a.city).text("town", a.town).text("street", a.street).text("building", a.building);
}

void Plan::finish() {
  for (const auto& id : order_) {
    const auto& who = people_.at(id);
    auto& row = who.is_new ? customers.row() : fills.row();
    row.id("id", who.id)
        .text("kana", who.kana)
        .text("kana_key", who.kana_key)
        .text("notes", who.notes)
        .raw("custom", who.custom)
        .maybe("birth_date", who.birth_date);
    if (who.is_new) row.text("display_name", who.display_name).text("name_key", who.name_key);
  }
}

}  // namespace enishi::crm::imports

#include "crm/imports/leads.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <charconv>

#include "base/log.hpp"
#include "crm/csv/writer.hpp"
#include "crm/japanese/dates.hpp"
#include "crm/japanese/names.hpp"
#include "crm/japanese/postal_codes.hpp"
#include "crm/japanese/unicode.hpp"

namespace enishi::crm::imports {
namespace {

namespace json = boost::json;

constexpr std::size_t feed_bytes = 256 << 10;

/// How a rule says no while a row is read; caught in read_lead.
struct No {
  std::string code, detail;
};

constexpr std::array<std::string_view, 47> prefectures{
    "北海道", "青森県",   "岩手県", "宮城県", "秋田県", "山形県",   "福島県", "茨城県", "栃木県", "群馬県",   "埼玉県", "千葉県",
    "東京都", "神奈川県", "新潟県", "富山県", "石川県", "福井県",   "山梨県", "長野県", "岐阜県", "静岡県",   "愛知県", "三重県",
    "滋賀県", "京都府",   "大阪府", "兵庫県", "奈良県", "和歌山県", "鳥取県", "島根県", "岡山県", "広島県",   "山口県", "徳島県",
    "香川県", "愛媛県",   "高知県", "福岡県", "佐賀県", "長崎県",   "熊本県", "大分県", "宮崎県", "鹿児島県", "沖縄県"};

/// What a person meant by a cell: without the guard of our own exports and the ="…" that keeps zeros from spreadsheets.
std::string_view meant(std::string_view cell) {
  cell = csv::unguard(cell);
  if (cell.size() >= 3 && cell.starts_with("=\"") && cell.ends_with('"')) cell = cell.substr(2, cell.size() - 3);
  return cell;
}

/// One line: what is no letter to look at, line breaks too, becomes a space.
std::string one_line(std::string_view cell) {
  std::u32string out;
  for (const char32_t c : japanese::to_points(cell)) {
    const bool gap = (japanese::is_space(c) && c != U'　') || c < 0x20 || c == 0x7f;
    if (!gap)
      out.push_back(c);
    else if (!out.empty() && out.back() != U' ')
      out.push_back(U' ');
  }
  return japanese::trimmed(japanese::to_utf8(out));
}

/// Several lines; control characters go.
std::string many_lines(std::string_view cell) {
  std::string out;
  for (const char c : cell)
    if ((static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) || c == '\n' || c == '\t') out.push_back(c);
  return japanese::trimmed(out);
}

std::string shown(std::string_view text) {
  auto points = japanese::to_points(text);
  if (points.size() > 60) points = points.substr(0, 60) + U"…";
  return "「" + japanese::to_utf8(points) + "」";
}

void fits(std::string_view text, std::size_t most, std::string_view field) {
  const auto length = japanese::to_points(text).size();
  if (length > most) throw No{"TOO_LONG", fmt::format("{} has {} characters; at most {} can be kept.", field, length, most)};
}

void join(std::string& to, std::string_view text, std::string_view between) {
  if (text.empty()) return;
  if (!to.empty()) to += between;
  to += text;
}

void read_phones(Lead& lead, std::string_view cell) {
  auto phones = japanese::parse_phones(cell);
  if (!phones) {
    if (phones.error().code == "PHONE_MISSING") return;
    throw No{phones.error().code, phones.error().detail};
  }
  for (auto& phone : *phones) {
    if (phone.e164.empty()) throw No{"PHONE_INVALID", shown(phone.raw) + " cannot be dialled; write it with its area code."};
    const bool known = std::any_of(lead.phones.begin(), lead.phones.end(), [&](const auto& p) { return p.e164 == phone.e164; });
    if (!known) lead.phones.push_back(std::move(phone));
  }
}

void read_email(Lead& lead, std::string_view cell) {
  auto email = japanese::nfkc(one_line(cell));
  if (email.empty()) return;
  const auto at = email.find('@');
  const bool bad = at == std::string::npos || at == 0 || at + 1 == email.size() || email.find('@', at + 1) != std::string::npos ||
                   email.size() > 254 || email.find_first_of(" \t,;") != std::string::npos;
  if (bad) throw No{"EMAIL_INVALID", shown(email) + " is no email address; one is name@host."};
  if (std::find(lead.emails.begin(), lead.emails.end(), email) == lead.emails.end()) lead.emails.push_back(std::move(email));
}

void read_birth_date(Lead& lead, std::string_view cell) {
  const auto text = one_line(cell);
  if (text.empty()) return;
  auto date = japanese::parse_date(text);
  if (!date) throw No{date.error().code, date.error().detail};
  const auto year = static_cast<int>(date->year());
  if (year < 1870 || year >= 2100) throw No{"BIRTH_DATE_OUT_OF_RANGE", shown(text) + " is no birth date; years from 1870 to 2099 are."};
  lead.birth_date = japanese::iso_date(*date);
}

void read_categories(Lead& lead, std::string_view cell, const Definitions& definitions) {
  const auto add = [&](const std::string& name) {
    const auto found = definitions.categories.find(category_key(name));
    if (found == definitions.categories.end()) return false;
    if (std::find(lead.categories.begin(), lead.categories.end(), found->second) == lead.categories.end())
      lead.categories.push_back(found->second);
    return true;
  };
  const auto whole = many_lines(cell);
  if (whole.empty() || add(whole)) return;
  std::u32string part;
  const auto end = [&] {
    const auto name = japanese::trimmed(japanese::to_utf8(part));
    part.clear();
    if (!name.empty() && !add(name))
      throw No{"CATEGORY_UNKNOWN", "There is no item category " + shown(name) + "; write the code or the name of one that is in use."};
  };
  constexpr std::u32string_view separators = U",、，/／;；|｜\n\t";
  for (const char32_t c : japanese::to_points(whole)) {
    if (separators.find(c) == std::u32string_view::npos)
      part.push_back(c);
    else
      end();
  }
  end();
}

/// The JSON of one custom value; empty for an empty cell.
std::string custom_value(const CustomField& field, std::string_view cell) {
  const auto text = many_lines(cell);
  if (text.empty()) return {};
  const auto no = [&](std::string_view what) {
    return No{"CUSTOM_FIELD_INVALID", fmt::format("{} of {} is no {}.", shown(text), field.key, what)};
  };
  if (field.kind == "TEXT") {
    fits(text, 2000, field.key);
    return json_quote(text);
  }
  const auto plain = japanese::nfkc(text);
  if (field.kind == "INTEGER") {
    std::string digits = plain;
    std::erase(digits, ',');
    std::int64_t value = 0;
    const auto end = digits.data() + digits.size();
    const auto [at, bad] = std::from_chars(digits.data(), end, value);
    if (bad != std::errc() || at != end || value > 999999999999999999 || value < -999999999999999999) throw no("whole number");
    return std::to_string(value);
  }
  if (field.kind == "BOOLEAN") {
    const auto key = japanese::match_key(plain);
    for (const std::string_view yes : {"true", "1", "yes", "y", "ハイ", "有", "アリ", "○", "〇", "済"})
      if (key == yes) return "true";
    for (const std::string_view never : {"false", "0", "no", "n", "イイエ", "無", "ナシ", "×", "未"})
      if (key == never) return "false";
    throw no("yes or no");
  }
  if (field.kind == "DATE") {
    auto date = japanese::parse_date(plain);
    if (!date) throw no("date");
    return json_quote(japanese::iso_date(*date));
  }
  for (const auto& choice : field.choices)
    if (choice == text || japanese::nfkc(choice) == plain) return json_quote(choice);
  throw no("choice of this field");
}

void put_custom(std::string& object, const std::string& key, const std::string& value) {
  object.pop_back();
  if (object.size() > 1) object += ',';
  object += json_quote(key) + ":" + value + "}";
}

/// `field` without its prefix; throws No for a field that was removed after the import began.
void read_custom(Lead& lead, std::string_view field, std::string_view cell, const Definitions& definitions,
                 std::vector<std::string>& given) {
  const bool of_inquiry = field.starts_with("inquiry.");
  const std::string key(field.substr(of_inquiry ? 15 : 7));
  const auto& known = of_inquiry ? definitions.inquiry : definitions.customer;
  const auto found = known.find(key);
  if (found == known.end()) throw No{"CUSTOM_FIELD_INVALID", "There is no custom field " + key + " any more."};
  const auto value = custom_value(found->second, cell);
  if (value.empty()) return;
  put_custom(of_inquiry ? lead.inquiry_custom : lead.custom, key, value);
  given.push_back(std::string(field));
}

void read_cells(Lead& lead, const Mapping& mapping, const Definitions& definitions) {
  std::vector<std::string> custom_given;
  for (const auto& column : mapping) {
    if (column.number == 0 || column.number > lead.cells.size()) continue;
    const auto cell = meant(lead.cells[column.number - 1]);
    const auto& field = column.field;
    auto& a = lead.address;
    if (field == "display_name")
      join(lead.display_name, one_line(cell), " ");
    else if (field == "kana")
      join(lead.kana, one_line(cell), " ");
    else if (field == "phone")
      read_phones(lead, one_line(cell));
    else if (field == "email")
      read_email(lead, cell);
    else if (field == "postal_code") {
      const auto text = one_line(cell);
      if (text.empty()) continue;
      auto code = japanese::normalize_postal_code(text);
      if (!code) throw No{code.error().code, code.error().detail};
      a.postal_code = *code;
    } else if (field == "prefecture")
      a.prefecture = one_line(cell);
    else if (field == "city")
      a.city = one_line(cell);
    else if (field == "town")
      join(a.town, one_line(cell), "");
    else if (field == "street")
      join(a.street, one_line(cell), " ");
    else if (field == "building")
      join(a.building, one_line(cell), " ");
    else if (field == "address")
      a.whole = one_line(cell);
    else if (field == "birth_date")
      read_birth_date(lead, cell);
    else if (field == "customer_notes")
      join(lead.customer_notes, many_lines(cell), "\n");
    else if (field == "notes")
      join(lead.notes, many_lines(cell), "\n");
    else if (field == "item_category")
      read_categories(lead, cell, definitions);
    else if (field == "item_description")
      join(lead.item_description, many_lines(cell), " ");
    else if (field == "external_ref") {
      auto text = one_line(cell);
      fits(text, 200, field);
      if (!text.empty()) lead.external_ref = std::move(text);
    } else if (field == "received_at") {
      const auto text = one_line(cell);
      if (text.empty()) continue;
      lead.received_at = parse_moment(text, definitions.time_zone);
      if (!lead.received_at) throw No{"RECEIVED_AT_UNREADABLE", shown(text) + " is no date and time; write it as 2026/11/22 13:05."};
    } else {
      read_custom(lead, field, cell, definitions, custom_given);
    }
  }
  const auto given = [&](const std::string& field) {
    return std::find(custom_given.begin(), custom_given.end(), field) != custom_given.end();
  };
  for (const auto& [key, field] : definitions.customer)
    if (field.required && !given("custom." + key)) lead.missing_custom = key;
  for (const auto& [key, field] : definitions.inquiry)
    if (field.required && !given("inquiry.custom." + key))
      throw No{"CUSTOM_FIELD_MISSING", "The field " + key + " of inquiries is compulsory, and the row has none."};
}

void check(Lead& lead) {
  lead.name_key = japanese::loose_key(lead.display_name);
  lead.kana_key = japanese::loose_key(lead.kana);
  if (lead.name_key.empty())
    throw No{"NAME_MISSING", lead.display_name.empty() ? "The row has no name." : shown(lead.display_name) + " is no name."};
  if (lead.phones.empty()) throw No{"PHONE_MISSING", "The row has no phone number, so nobody could call."};
  if (lead.phones.size() > 10) throw No{"PHONE_TOO_LONG", "The row has more than 10 phone numbers."};
  fits(lead.display_name, 200, "display_name");
  fits(lead.kana, 200, "kana");
  fits(lead.notes, 10000, "notes");
  fits(lead.customer_notes, 10000, "customer_notes");
  fits(lead.item_description, 1000, "item_description");
  const auto& a = lead.address;
  fits(a.prefecture, 20, "prefecture");
  fits(a.city, 100, "city");
  fits(a.town, 200, "town");
  fits(a.street, 200, "street");
  fits(a.building, 200, "building");
  fits(a.street.empty() ? a.whole : a.whole + " " + a.street, 200, "address");
}

/// Reads digits of exactly 1 to `most` places at the front.
std::optional<int> number(std::string_view& text, std::size_t most) {
  std::size_t n = 0;
  int value = 0;
  while (n < most && n < text.size() && text[n] >= '0' && text[n] <= '9') value = value * 10 + (text[n++] - '0');
  if (n == 0) return std::nullopt;
  text.remove_prefix(n);
  return value;
}

bool take(std::string_view& text, std::string_view what) {
  if (!text.starts_with(what)) return false;
  text.remove_prefix(what.size());
  return true;
}

/// 13:05[:30[.5]] or 13時5分[30秒], 午前 and 午後 before it, with [Z|+09:00] behind it.
std::optional<std::string> parse_clock(std::string_view text, std::string_view time_zone) {
  const bool afternoon = take(text, "午後"), morning = !afternoon && take(text, "午前");
  while (take(text, " ")) {
  }
  auto hour = number(text, 2);
  if (!hour) return std::nullopt;
  const bool kanji = take(text, "時");
  if (!kanji && !take(text, ":")) return std::nullopt;
  auto minute = number(text, 2);
  if (!minute && !kanji) return std::nullopt;
  if (minute && kanji && !take(text, "分")) return std::nullopt;
  int second = 0;
  if ((kanji && !text.empty()) || (!kanji && take(text, ":"))) {
    const auto read = number(text, 2);
    if (!read || (kanji && !take(text, "秒"))) return std::nullopt;
    second = *read;
    if (take(text, ".") && !number(text, 9)) return std::nullopt;
  }
  if ((afternoon || morning) && *hour > 12) return std::nullopt;
  if (afternoon && *hour < 12) *hour += 12;
  if (morning && *hour == 12) *hour = 0;
  if (*hour > 23 || minute.value_or(0) > 59 || second > 59) return std::nullopt;
  while (take(text, " ")) {
  }
  std::string zone(time_zone);
  if (take(text, "Z")) {
    zone = "UTC";
  } else if (!text.empty() && (text[0] == '+' || text[0] == '-')) {
    const char sign = text[0];
    text.remove_prefix(1);
    const auto hours = number(text, 2);
    (void)take(text, ":");
    const auto minutes = text.empty() ? std::optional(0) : number(text, 2);
    if (!hours || !minutes || *hours > 14 || *minutes > 59) return std::nullopt;
    zone = fmt::format("{}{:02}:{:02}", sign, *hours, *minutes);
  }
  if (!text.empty()) return std::nullopt;
  return fmt::format("{:02}:{:02}:{:02} {}", *hour, minute.value_or(0), second, zone);
}

}  // namespace

std::string category_key(std::string_view name) { return japanese::loose_key(name); }

Definitions definitions_of(std::string_view categories, std::string_view custom_fields, std::string_view time_zone) {
  Definitions out;
  out.time_zone = time_zone;
  std::map<std::string, std::vector<Uuid>> parts;
  const auto known = json::parse(json::string_view(categories.data(), categories.size()));
  for (const auto& c : known.as_array()) {
    const auto id = Uuid::parse(c.at("id").as_string()).value();
    for (const auto* column : {"code", "name_ja", "name_en"}) {
      const std::string name(c.at(column).as_string());
      out.categories.emplace(category_key(name), id);
      if (std::string_view(column) != "name_ja") continue;
      for (std::size_t from = 0, end = 0; end != std::string::npos; from = end + std::string_view("・").size()) {
        end = name.find("・", from);
        parts[category_key(name.substr(from, end - from))].push_back(id);
      }
    }
  }
  for (const auto& [key, ids] : parts)
    if (ids.size() == 1 && !key.empty()) out.categories.emplace(key, ids.front());
  const auto defined = json::parse(json::string_view(custom_fields.data(), custom_fields.size()));
  for (const auto& f : defined.as_array()) {
    CustomField field{std::string(f.at("key").as_string()), std::string(f.at("kind").as_string()), {}, f.at("required").as_bool()};
    for (const auto& choice : f.at("choices").as_array()) field.choices.emplace_back(choice.as_string());
    auto& of = f.at("entity").as_string() == "inquiry" ? out.inquiry : out.customer;
    of.emplace(field.key, field);
  }
  return out;
}

Rows::Rows(std::string_view bytes, csv::ReadOptions options, bool header) : rest_(bytes), reader_(options), skip_header_(header) {}

std::optional<csv::Item> Rows::raw() {
  for (;;) {
    if (auto item = reader_.next()) return item;
    if (finished_) return std::nullopt;
    if (rest_.empty()) {
      reader_.finish();
      finished_ = true;
      continue;
    }
    const auto part = rest_.substr(0, feed_bytes);
    reader_.feed(part);
    rest_.remove_prefix(part.size());
  }
}

std::optional<Rows::Item> Rows::next() {
  auto item = raw();
  if (item && std::exchange(skip_header_, false)) item = raw();
  if (!item) return std::nullopt;
  Item out{{++number_, 0, 0}, std::move(*item)};
  if (const auto* row = std::get_if<csv::Row>(&out.item)) {
    out.at.line = out.at.last_line = static_cast<std::int64_t>(row->line);
  } else {
    const auto& reject = std::get<csv::Reject>(out.item);
    out.at.line = static_cast<std::int64_t>(reject.line);
    out.at.last_line = static_cast<std::int64_t>(reject.last_line);
  }
  return out;
}

Read read_lead(Rows::Item item, const Mapping& mapping, std::size_t columns, const Definitions& definitions) {
  if (auto* reject = std::get_if<csv::Reject>(&item.item))
    return Refusal{item.at, std::move(reject->code), std::move(reject->detail), {std::move(reject->excerpt)}};
  Lead lead;
  lead.at = item.at;
  lead.cells = std::move(std::get<csv::Row>(item.item).fields);
  const auto blank = [](const std::string& cell) { return japanese::trimmed(cell).empty(); };
  if (std::all_of(lead.cells.begin(), lead.cells.end(), blank))
    return Refusal{lead.at, "ROW_EMPTY", "All cells of the row are empty.", {}, true};
  try {
    const bool more =
        lead.cells.size() > columns && !std::all_of(lead.cells.begin() + static_cast<std::ptrdiff_t>(columns), lead.cells.end(), blank);
    if (lead.cells.size() < columns || more)
      throw No{"FIELD_COUNT",
               fmt::format("The row has {} fields and the file has {} columns; is it cut off, or is a comma or a quote missing?",
                           lead.cells.size(), columns)};
    read_cells(lead, mapping, definitions);
    check(lead);
  } catch (No& no) {
    return Refusal{lead.at, std::move(no.code), std::move(no.detail), std::move(lead.cells)};
  }
  return lead;
}

std::optional<std::string> parse_moment(std::string_view text, std::string_view time_zone) {
  std::string plain = japanese::trimmed(japanese::nfkc(text));
  std::string_view rest = plain;
  // A day, then T, a space, a day of the week in brackets or 日 of a day written out, then a clock.
  std::size_t split = rest.find_first_of("T (");
  if (split == std::string_view::npos)
    if (const auto day = rest.find("日"); day != std::string_view::npos && day + 3 < rest.size()) split = day + 3;
  const auto day = japanese::parse_date(rest.substr(0, split));
  if (!day || static_cast<int>(day->year()) < 1970 || static_cast<int>(day->year()) > 2099) return std::nullopt;
  auto clock = split == std::string_view::npos ? std::string_view() : rest.substr(split);
  while (take(clock, " ") || take(clock, "T")) {
  }
  if (const auto end = clock.find(')'); clock.starts_with('(') && end != std::string_view::npos) clock.remove_prefix(end + 1);
  while (take(clock, " ")) {
  }
  if (clock.empty()) return japanese::iso_date(*day) + " 00:00:00 " + std::string(time_zone);
  const auto time = parse_clock(clock, time_zone);
  if (!time) return std::nullopt;
  return japanese::iso_date(*day) + " " + *time;
}

void split_address(Address& a, const std::vector<Town>& candidates) {
  if (a.whole.empty()) return;
  std::string_view rest = a.whole;
  const auto spaces = [&] {
    while (take(rest, " ") || take(rest, "　")) {
    }
  };
  if (take(rest, "〒")) {
    spaces();
    std::size_t end = rest.find_first_of(" ");
    end = std::min(end, rest.find("　"));
    const auto code = japanese::normalize_postal_code(rest.substr(0, end));
    if (code && end != std::string_view::npos) {
      if (a.postal_code.empty()) a.postal_code = *code;
      rest.remove_prefix(end);
      spaces();
    }
  }
  if (a.prefecture.empty())
    for (const auto p : prefectures)
      if (take(rest, p)) a.prefecture = p;
  spaces();
  for (const auto& town : candidates) {  // the longest town first
    auto after = rest;
    if ((!a.prefecture.empty() && town.prefecture != a.prefecture) || (!a.city.empty() && a.city != town.city)) continue;
    if (a.city.empty() && !take(after, town.city)) continue;
    while (take(after, " ") || take(after, "　")) {
    }
    const bool whole_town = town.town.empty() || !a.town.empty() || take(after, town.town);
    if (!whole_town && &town != &candidates.back()) continue;
    if (a.prefecture.empty()) a.prefecture = town.prefecture;
    if (whole_town && a.town.empty()) a.town = town.town;
    a.city = town.city;
    rest = after;
    break;
  }
  spaces();
  std::string street(rest);
  if (!a.street.empty()) join(street, a.street, " ");
  a.street = std::move(street);
  a.whole.clear();
}

}  // namespace enishi::crm::imports

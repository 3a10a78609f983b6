#include "takeover/domains.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <boost/json/monotonic_resource.hpp>
#include <cstdio>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "auth/tokens.hpp"
#include "base/log.hpp"
#include "crm/japanese/names.hpp"
#include "crm/japanese/phones.hpp"
#include "takeover/mirror.sql.hpp"

namespace enishi::takeover {
namespace {

namespace statements = sql::mirror;
namespace json = boost::json;
using json::object;
using pg::Param;
using Errors = std::vector<FieldError>;

std::size_t characters(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

/// Reads the fields of one JSON object; what nobody asked for in the end is an error.
class Fields {
 public:
  Fields(const object& from, std::string where, Errors& errors) : from_(from), where_(std::move(where)), errors_(errors) {}

  std::optional<std::string> text(std::string_view name, std::size_t least, std::size_t most, bool required = false) {
    const auto* v = find(name);
    if (v == nullptr) {
      if (required) wrong(name, "REQUIRED", std::string(name) + " is missing");
      return std::nullopt;
    }
    if (!v->is_string()) {
      wrong(name, "TYPE", std::string(name) + " must be text");
      return std::nullopt;
    }
    std::string out(v->get_string());
    if (out.size() < least)
      wrong(name, "TOO_SHORT", std::string(name) + " is empty");
    else if (out.size() > most && characters(out) > most)
      wrong(name, "TOO_LONG", std::string(name) + " has more than " + std::to_string(most) + " characters");
    return out;
  }
  bool boolean(std::string_view name, bool standard) {
    const auto* v = find(name);
    if (v == nullptr) return standard;
    if (v->is_bool()) return v->get_bool();
    wrong(name, "TYPE", std::string(name) + " must be true or false");
    return standard;
  }
  std::optional<std::int64_t> integer(std::string_view name, std::int64_t least, std::int64_t most) {
    const auto* v = find(name);
    if (v == nullptr) return std::nullopt;
    std::int64_t n = 0;
    if (v->is_int64())
      n = v->get_int64();
    else if (v->is_double() && v->get_double() == static_cast<double>(static_cast<std::int64_t>(v->get_double())))
      n = static_cast<std::int64_t>(v->get_double());
    else {
      wrong(name, "TYPE", std::string(name) + " must be a whole number");
      return std::nullopt;
    }
    if (n < least || n > most)
      wrong(name, "RANGE", std::string(name) + " must be from " + std::to_string(least) + " to " + std::to_string(most));
    return n;
  }
  Param choice(std::string_view name, std::initializer_list<std::string_view> choices, bool required = false) {
    auto v = text(name, 0, 1000, required);
    if (v && std::find(choices.begin(), choices.end(), *v) == choices.end()) wrong(name, "CHOICE", std::string(name) + " cannot be " + *v);
    return v;
  }
  Param date(std::string_view name, int first_year, int last_year) {
    auto v = text(name, 0, 40);
    if (!v) return std::nullopt;
    int y = 0, m = 0, d = 0, used = 0;
    static constexpr int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool read = v->size() == 10 && std::sscanf(v->c_str(), "%4d-%2d-%2d%n", &y, &m, &d, &used) == 3 && used == 10;
    const bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    if (!read || m < 1 || m > 12 || d < 1 || d > days[m - 1] + (m == 2 && leap ? 1 : 0))
      wrong(name, "FORMAT", std::string(name) + " must be a day, YYYY-MM-DD");
    else if (y < first_year || y > last_year)
      wrong(name, "RANGE", std::string(name) + " is outside " + std::to_string(first_year) + " to " + std::to_string(last_year));
    return v;
  }
  /// With an offset: `timestamp` without one says nothing about when.
  Param moment(std::string_view name, bool required = false) {
    auto v = text(name, 0, 60, required);
    if (!v) return std::nullopt;
    const auto t = v->find_first_of("T ");
    const bool offset = t == 10 && (v->back() == 'Z' || v->find_first_of("+-", 11) != std::string::npos);
    if (!offset) wrong(name, "FORMAT", std::string(name) + " must be a moment with its offset, like 2026-11-22T13:05:06+09:00");
    return v;
  }
  std::string custom(std::string_view name) {
    const auto* v = find(name);
    if (v == nullptr) return "{}";
    if (!v->is_object()) {
      wrong(name, "TYPE", std::string(name) + " must be an object");
      return "{}";
    }
    return json::serialize(*v);
  }
  std::vector<std::string> texts(std::string_view name, std::initializer_list<std::string_view> choices) {
    std::vector<std::string> out;
    const auto* v = find(name);
    if (v == nullptr) return out;
    if (!v->is_array()) {
      wrong(name, "TYPE", std::string(name) + " must be an array");
      return out;
    }
    for (const auto& element : v->get_array()) {
      const auto* s = element.if_string();
      if (s == nullptr || std::find(choices.begin(), choices.end(), std::string_view(*s)) == choices.end())
        wrong(name, "CHOICE", std::string(name) + " knows no " + json::serialize(element));
      else
        out.emplace_back(*s);
    }
    return out;
  }
  /// Calls `take(fields, position, key)` for each child; keys are unique.
  template <class Take>
  void children(std::string_view name, Take take) {
    const auto* v = find(name);
    if (v == nullptr) return;
    if (!v->is_array()) return wrong(name, "TYPE", std::string(name) + " must be an array");
    std::set<std::string> keys;
    int position = 0;
    for (const auto& element : v->get_array()) {
      const auto at = where_ + "/" + std::string(name) + "/" + std::to_string(position);
      if (!element.is_object()) {
        errors_.push_back({at, "TYPE", "an object is expected"});
      } else {
        Fields child(element.get_object(), at, errors_);
        auto key = child.text("key", 1, 200).value_or(std::to_string(position));
        if (!keys.insert(key).second) errors_.push_back({at + "/key", "TWICE", "two have the key " + key});
        take(child, position, key);
        child.finish();
      }
      ++position;
    }
  }
  void wrong(std::string_view name, std::string code, std::string detail) {
    errors_.push_back({where_ + "/" + std::string(name), std::move(code), std::move(detail)});
  }
  void finish() {
    if (asked_ == from_.size()) return;
    for (const auto& member : from_)
      if (std::find(known_.begin(), known_.end(), member.key()) == known_.end())
        wrong(member.key(), "UNKNOWN_FIELD", "a canonical record knows no " + std::string(member.key()));
  }

 private:
  const json::value* find(std::string_view name) {
    known_.push_back(name);
    const auto* v = from_.if_contains(name);
    if (v == nullptr) return nullptr;
    ++asked_;
    return v->is_null() ? nullptr : v;
  }
  const object& from_;
  std::string where_;
  Errors& errors_;
  std::size_t asked_ = 0;
  std::vector<std::string_view> known_;  // literals
};

/// What is asked of every number: read as the API reads one, and text that is none is kept.
struct Number {
  Param e164, extension;
  std::string kind = "OTHER";
  bool valid = false;
  bool several = false;
};

Number read_slowly(const std::string& raw) {
  Number out;
  auto phones = crm::japanese::parse_phones(raw);
  if (!phones) return out;
  if (phones->size() > 1) {
    out.several = true;
    return out;
  }
  const auto& phone = phones->front();
  if (!phone.e164.empty()) out.e164 = phone.e164;
  if (!phone.extension.empty()) out.extension = phone.extension;
  out.kind = std::string(crm::japanese::to_string(phone.kind));
  out.valid = phone.valid_hint;
  return out;
}

/// The last four digits of a Japanese number say nothing about its kind, so numbers of digits and hyphens that share all others are read
/// once: a copy meets each block many times.
Number read_number(const std::string& raw) {
  char digits[12];
  std::size_t n = 0;
  for (const char c : raw) {
    if (c == '-') continue;
    if (c < '0' || c > '9' || n == 11) return read_slowly(raw);
    digits[n++] = c;
  }
  if (n < 10 || digits[0] != '0' || digits[1] == '0' || raw.size() > 13) return read_slowly(raw);
  static constexpr std::size_t most = 1 << 17;
  thread_local std::unordered_map<std::string, Number> blocks;
  const std::string block(digits, n - 4);
  auto found = blocks.find(block);
  if (found == blocks.end()) {
    if (blocks.size() >= most) blocks.clear();
    found = blocks.emplace(block, read_slowly(std::string(digits, n))).first;
  }
  Number out = found->second;
  if (!out.e164) return read_slowly(raw);
  out.e164 = "+81" + std::string(digits + 1, n - 1);
  return out;
}

Record customer(Fields in, const std::string& system, const std::string& key, Errors& errors) {
  Record out;
  const auto name = in.text("display_name", 1, 200, true).value_or("");
  const auto kana = in.text("kana", 0, 200).value_or("");
  auto birth_date = in.date("birth_date", 1870, 2099);
  auto notes = in.text("notes", 0, 10000).value_or("");
  const auto flags =
      in.texts("flags", {"VIP", "ELDERLY", "CAUTION", "COMPLAINT", "FAMILY_PRESENT_REQUIRED", "HEARING_IMPAIRED", "NO_MAIL"});
  auto custom = in.custom("custom");
  const bool deleted = in.boolean("deleted", false);
  out.root = {name,
              kana,
              crm::japanese::loose_key(name),
              kana.empty() ? std::string() : crm::japanese::loose_key(kana),
              std::move(birth_date),
              std::move(notes),
              pg::param(flags),
              std::move(custom),
              pg::param(deleted)};
  out.children.resize(3);
  in.children("phones", [&](Fields& child, int position, const std::string& child_key) {
    auto raw = child.text("raw", 1, 100, true).value_or("");
    auto note = child.text("note", 0, 200).value_or("");
    auto number = read_number(raw);
    if (number.several)
      errors.push_back(
          {"/phones/" + std::to_string(position) + "/raw", "PHONE_SEVERAL", "several numbers in one cell; split it in forward.sql"});
    out.children[0].push_back({child_suffix(system, key, "phone", child_key), std::move(raw), std::move(number.e164),
                               std::move(number.extension), std::move(number.kind), pg::param(number.valid), std::move(note),
                               std::to_string(position)});
  });
  in.children("addresses", [&](Fields& child, int position, const std::string& child_key) {
    auto postal = child.text("postal_code", 0, 20);
    if (postal) {
      std::erase(*postal, '-');
      if (postal->size() != 7 || postal->find_first_not_of("0123456789") != std::string::npos)
        child.wrong("postal_code", "FORMAT", "a postal code has seven digits; null where there is none");
    }
    std::vector<Param> row{child_suffix(system, key, "address", child_key), std::move(postal)};
    row.push_back(child.text("prefecture", 0, 20).value_or(""));
    row.push_back(child.text("city", 0, 100).value_or(""));
    for (const auto* field : {"town", "street", "building", "note"}) row.push_back(child.text(field, 0, 200).value_or(""));
    row.push_back(std::to_string(position));
    out.children[1].push_back(std::move(row));
  });
  in.children("emails", [&](Fields& child, int position, const std::string& child_key) {
    auto email = child.text("email", 3, 254, true).value_or("");
    const auto at = email.find('@');
    if (at == std::string::npos || at == 0 || at + 1 == email.size() || email.find('@', at + 1) != std::string::npos ||
        email.find_first_of(" \t\r\n\v\f") != std::string::npos)
      child.wrong("email", "FORMAT", "an address is name@host");
    out.children[2].push_back({child_suffix(system, key, "email", child_key), std::move(email), std::to_string(position)});
  });
  in.finish();
  return out;
}

Record inquiry(Fields in, const std::string& system, const std::string& key, Errors&) {
  Record out;
  auto& r = out.root;
  auto customer = in.text("customer", 1, 200, true);
  r.push_back(in.text("customer_system", 1, 40).value_or(system));
  r.push_back(std::move(customer));
  r.push_back(in.text("media_source", 1, 40, true));
  r.push_back(in.choice("channel", {"PHONE", "WEB", "FILE", "OTHER"}, true));
  r.push_back(pg::param(in.boolean("customer_initiated", true)));
  r.push_back(in.text("external_ref", 1, 200));
  r.push_back(in.moment("received_at", true));
  auto stage =
      in.choice("stage", {"NEW", "IN_PROGRESS", "NURTURING", "APPOINTED", "VISITED", "CONTRACTED", "NO_DEAL", "LOST", "INVALID"}, true);
  auto lost = in.text("lost_reason", 1, 200);
  auto invalid = in.choice("invalid_reason", {"duplicate", "prank", "out_of_area", "excluded_goods"});
  auto next = in.choice("next_action", {"CALL", "CALLBACK", "PRE_VISIT_CALL", "NURTURE_CALL", "VISIT", "WAIT", "NONE"});
  if (stage == "LOST" && !lost) in.wrong("lost_reason", "REQUIRED", "a lost inquiry says why");
  if (stage == "INVALID" && !invalid) in.wrong("invalid_reason", "REQUIRED", "an invalid inquiry says why");
  if ((stage == "IN_PROGRESS" || stage == "NURTURING") && !next)
    in.wrong("next_action", "REQUIRED", "an inquiry in work has a next action");
  r.push_back(std::move(stage));
  r.push_back(std::move(lost));
  r.push_back(std::move(invalid));
  r.push_back(std::move(next));
  r.push_back(in.moment("next_action_at"));
  r.push_back(in.text("notes", 0, 10000).value_or(""));
  r.push_back(in.custom("custom"));
  r.push_back(pg::param(in.boolean("deleted", false)));
  out.children.resize(1);
  in.children("items", [&](Fields& child, int position, const std::string& child_key) {
    std::vector<Param> row{child_suffix(system, key, "item", child_key)};
    row.push_back(child.text("category", 1, 40, true));
    row.push_back(child.text("description", 0, 1000).value_or(""));
    row.push_back(pg::param(child.integer("quantity", 1, 100000)));
    row.push_back(std::to_string(position));
    out.children[0].push_back(std::move(row));
  });
  in.finish();
  return out;
}

Record goods(Fields in, const std::string& system, const std::string&, Errors&) {
  Record out;
  auto& r = out.root;
  r.push_back(in.text("name", 1, 500, true));
  r.push_back(in.text("description", 0, 10000).value_or(""));
  r.push_back(in.text("category", 1, 40));
  r.push_back(in.text("customer_system", 1, 40).value_or(system));
  r.push_back(in.text("customer", 1, 200));
  r.push_back(in.text("inquiry_system", 1, 40).value_or(system));
  r.push_back(in.text("inquiry", 1, 200));
  r.push_back(in.text("state", 0, 40).value_or(""));
  r.push_back(pg::param(in.integer("price_yen", 0, 9000000000000000000LL)));
  r.push_back(in.date("received_on", 1, 9999));
  r.push_back(in.custom("custom"));
  r.push_back(pg::param(in.boolean("deleted", false)));
  in.finish();
  return out;
}

struct Shape {
  const pg::Statement& statement;
  Record (*read)(Fields, const std::string&, const std::string&, Errors&);
  std::size_t root_columns;
  std::vector<std::size_t> child_columns;
};

const Shape& shape_of(std::string_view domain) {
  static const Shape customers{statements::apply_customers, customer, 9, {8, 9, 3}};
  static const Shape inquiries{statements::apply_inquiries, inquiry, 15, {5}};
  static const Shape all_goods{statements::apply_goods, goods, 12, {}};
  return domain == "customer" ? customers : domain == "inquiry" ? inquiries : all_goods;
}

void read_links(const std::string& text, const std::string& root_key, std::vector<Batch::Link>& out) {
  if (text.empty()) return;
  boost::system::error_code bad;
  const auto value = json::parse(text, bad);
  if (bad || !value.is_object()) return;
  for (const auto& [table, keys] : value.get_object()) {
    if (!keys.is_array()) continue;
    for (const auto& key : keys.get_array())
      if (key.is_string()) out.push_back({std::string(table), std::string(key.get_string()), root_key});
  }
}

/// What somebody looks at to decide about a record; of a larger one, what tells whether it has changed.
constexpr std::size_t kLargestContent = std::size_t{1} << 20;

std::string kept(std::string content) {
  if (content.size() <= kLargestContent) return content;
  return R"({"bytes":)" + std::to_string(content.size()) + R"(,"sha256":)" + json_quote(*auth::bytea(auth::sha256(content))) + "}";
}

Reject reject_of(const std::string& key, Errors errors, std::string content) {
  Reject out{key, errors.front().code, {}, {}, kept(std::move(content))};
  for (const auto& e : errors) out.detail += (out.detail.empty() ? "" : "; ") + e.pointer + ": " + e.detail;
  out.errors = std::move(errors);
  return out;
}

std::string to_json(const Errors& errors) {
  std::string out = "[";
  for (const auto& e : errors) {
    if (out.size() > 1) out.push_back(',');
    out += R"({"pointer":)" + json_quote(e.pointer) + R"(,"code":)" + json_quote(e.code) + R"(,"detail":)" + json_quote(e.detail) + "}";
  }
  return out + "]";
}

/// Parameters of an apply_… function for the records [from, to) and, with the last part, the absent keys.
pg::Params parameters(const Batch& batch, const Shape& shape, std::size_t from, std::size_t to, bool with_absent) {
  pg::Params out = pg::params(batch.system, batch.version.era, batch.version.xmax, batch.version.in_progress);
  const std::size_t first = out.size();
  std::size_t columns = 2 + shape.root_columns;
  for (const auto n : shape.child_columns) columns += 1 + n;
  out.resize(first + columns + 1, "{");
  for (std::size_t i = from; i < to; ++i) {
    const auto& record = batch.records[i];
    pg::append_array_element(*out[first], record.key);
    pg::append_array_element(*out[first + 1], Uuid::make().str());
    for (std::size_t c = 0; c < shape.root_columns; ++c) pg::append_array_element(*out[first + 2 + c], record.root[c]);
    std::size_t at = first + 2 + shape.root_columns;
    for (std::size_t kind = 0; kind < shape.child_columns.size(); ++kind) {
      for (const auto& child : record.children[kind]) {
        pg::append_array_element(*out[at], std::to_string(i - from + 1));
        for (std::size_t c = 0; c < shape.child_columns[kind]; ++c) pg::append_array_element(*out[at + 1 + c], child[c]);
      }
      at += 1 + shape.child_columns[kind];
    }
  }
  if (with_absent)
    for (const auto& key : batch.absent) pg::append_array_element(*out.back(), key);
  for (std::size_t i = first; i < out.size(); ++i) out[i]->push_back('}');
  return out;
}

/// Whether the data is to blame, and a smaller part may succeed.
bool about_the_data(const Error& error) {
  if (error.kind != Kind::conflict && error.kind != Kind::unprocessable) return false;
  for (const auto* code : {"LEGACY_OWNED", "NOT_MIRRORED", "SERIALIZATION_FAILURE", "LOCKED"})
    if (error.code == code) return false;
  return true;
}

void add(Applied& total, const pg::Rows& row) {
  total.created += row.integer(0, 0);
  total.updated += row.integer(0, 1);
  total.deleted += row.integer(0, 2);
  total.stale += row.integer(0, 3);
}

Error database_error(const Error& error, Errors& fields) {
  fields.clear();
  boost::system::error_code bad;
  const auto extra = error.extra.empty() ? json::value() : json::parse(error.extra, bad);
  if (!bad && extra.is_object()) {
    if (const auto* list = extra.get_object().if_contains("errors"); list != nullptr && list->is_array()) {
      for (const auto& e : list->get_array()) {
        if (!e.is_object()) continue;
        const auto text = [&](std::string_view name) {
          const auto* v = e.get_object().if_contains(name);
          return v != nullptr && v->is_string() ? std::string(v->get_string()) : std::string();
        };
        fields.push_back({text("pointer"), text("code"), text("detail")});
      }
    }
  }
  if (fields.empty()) fields.push_back({"", error.code, error.detail});
  return error;
}

struct Storing {
  Applied total;
  std::vector<Reject> rejects;
  std::unordered_set<std::string_view> refused;
};

/// Stores [from, to); a part that the data keeps from being stored is halved until the records are found.
Task<Result<void>> store_part(pg::Lease& lease, const Batch& batch, Storing& storing, const Shape& shape, std::size_t from, std::size_t to,
                              bool with_absent, Deadline deadline) {
  std::vector<pg::Step> steps;
  steps.push_back({statements::savepoint, {}});
  steps.push_back({shape.statement, parameters(batch, shape, from, to, with_absent)});
  steps.push_back({statements::release, {}});
  auto rows = co_await lease.batch(std::move(steps), deadline);
  if (rows) {
    add(storing.total, (*rows)[1]);
    co_return Result<void>();
  }
  if (!about_the_data(rows.error())) co_return tl::make_unexpected(std::move(rows.error()));
  if (auto back = co_await lease.run(statements::rollback_to, {}, deadline); !back) co_return tl::make_unexpected(std::move(back.error()));
  if (to - from == 1 && !(with_absent && !batch.absent.empty())) {
    Errors fields;
    const auto error = database_error(rows.error(), fields);
    auto reject = reject_of(batch.records[from].key, std::move(fields), batch.records[from].content);
    reject.code = error.code;
    storing.rejects.push_back(std::move(reject));
    storing.refused.insert(batch.records[from].key);
    co_return Result<void>();
  }
  if (to == from) co_return tl::make_unexpected(std::move(rows.error()));
  const std::size_t middle = to - from == 1 ? to : from + (to - from) / 2;
  if (auto first = co_await store_part(lease, batch, storing, shape, from, middle, false, deadline); !first) co_return first;
  co_return co_await store_part(lease, batch, storing, shape, middle, to, with_absent, deadline);
}

}  // namespace

std::string child_suffix(std::string_view system, std::string_view root_key, std::string_view kind, std::string_view key) {
  // FNV-1a in two halves, mixed: 60 bits that only have to differ among the children of one root and of roots of the same millisecond.
  std::uint64_t h = 0xcbf29ce484222325ULL;
  for (const auto part : {system, root_key, kind, key}) {
    for (const char c : part) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
    h = (h ^ 0xffU) * 0x100000001b3ULL;
  }
  h ^= h >> 32;
  h *= 0xd6e8feb86659fd93ULL;
  h ^= h >> 32;
  h *= 0xd6e8feb86659fd93ULL;
  h ^= h >> 32;
  char out[20];
  std::snprintf(out, sizeof out, "8%03x-%012llx", static_cast<unsigned>(h >> 52), static_cast<unsigned long long>(h & 0xffffffffffffULL));
  return out;
}

Batch decode(const Mapping& mapping, Fetched fetched) {
  Batch out;
  out.system = mapping.system;
  out.domain = mapping.domain;
  out.version = fetched.version;
  out.absent = std::move(fetched.absent);
  const auto& shape = shape_of(mapping.domain);
  std::sort(fetched.records.begin(), fetched.records.end(), [](const auto& a, const auto& b) { return a.key < b.key; });
  std::sort(out.absent.begin(), out.absent.end());
  const auto refuse = [&out](const std::string& key, const std::string& code, const std::string& detail) {
    out.rejects.push_back({key, code, detail, {{"", code, detail}}, {}});
  };
  for (const auto& key : fetched.hidden)
    refuse(key, "NO_RECORD", "the row is in the root table, and forward.sql gives no record of it: an inner join?");
  for (const auto& [key, why] : fetched.failed) refuse(key, "FORWARD_FAILED", "forward.sql fails on it: " + why);
  out.records.reserve(fetched.records.size());
  std::vector<unsigned char> memory(64 * 1024);
  for (std::size_t i = 0; i < fetched.records.size(); ++i) {
    auto& record = fetched.records[i];
    read_links(record.links, record.key, out.links);
    Errors errors;
    if (i > 0 && fetched.records[i - 1].key == record.key) {
      out.rejects.push_back({record.key,
                             "KEY_TWICE",
                             "forward.sql gave this key twice: a join that multiplies rows",
                             {{"", "KEY_TWICE", "two rows for one key"}},
                             record.record});
      if (!out.records.empty() && out.records.back().key == record.key) out.records.pop_back();
      continue;
    }
    json::monotonic_resource arena(memory.data(), memory.size());
    boost::system::error_code bad;
    const auto value = json::parse(record.record, bad, &arena);
    if (bad || !value.is_object()) {
      out.rejects.push_back({record.key,
                             "TYPE",
                             "record must be a JSON object",
                             {{"", "TYPE", "record must be a JSON object"}},
                             bad ? std::string() : record.record});
      continue;
    }
    auto read = shape.read(Fields(value.get_object(), "", errors), mapping.system, record.key, errors);
    if (!errors.empty()) {
      out.rejects.push_back(reject_of(record.key, std::move(errors), std::move(record.record)));
      continue;
    }
    read.key = record.key;
    read.content = std::move(record.record);
    out.records.push_back(std::move(read));
  }
  return out;
}

Task<Result<Applied>> apply(pg::Lease& lease, const Batch& batch, Deadline deadline) {
  Storing storing;
  storing.rejects = batch.rejects;
  auto& total = storing.total;
  const auto& shape = shape_of(batch.domain);
  const auto given = static_cast<std::int64_t>(batch.records.size() + batch.absent.size());
  if (given > 0) {
    auto stored = co_await store_part(lease, batch, storing, shape, 0, batch.records.size(), true, deadline);
    if (!stored) co_return tl::make_unexpected(std::move(stored.error()));
  }
  std::vector<std::string> keys;
  keys.reserve(static_cast<std::size_t>(given));
  for (const auto& record : batch.records)
    if (!storing.refused.contains(record.key)) keys.push_back(record.key);
  std::vector<pg::Step> steps;
  if (!batch.links.empty()) {
    std::vector<std::string> tables, rows, roots;
    for (const auto& link : batch.links) {
      tables.push_back(link.table);
      rows.push_back(link.row_key);
      roots.push_back(link.root_key);
    }
    steps.push_back({statements::store_links, pg::params(batch.system, batch.domain, tables, rows, roots)});
  }
  if (!storing.rejects.empty()) {
    std::sort(storing.rejects.begin(), storing.rejects.end(), [](const auto& a, const auto& b) { return a.key < b.key; });
    storing.rejects.erase(
        std::unique(storing.rejects.begin(), storing.rejects.end(), [](const auto& a, const auto& b) { return a.key == b.key; }),
        storing.rejects.end());
    std::vector<std::string> rejected, codes, details, errors;
    std::vector<Param> contents;
    for (auto& reject : storing.rejects) {
      rejected.push_back(reject.key);
      codes.push_back(reject.code);
      details.push_back(reject.detail);
      errors.push_back(to_json(reject.errors));
      contents.push_back(reject.content.empty() ? Param() : Param(std::move(reject.content)));
    }
    std::string content = "{";
    for (const auto& c : contents) pg::append_array_element(content, c);
    content.push_back('}');
    steps.push_back({statements::store_rejects, pg::params(batch.system, batch.domain, rejected, codes, details, errors, content)});
  }
  keys.insert(keys.end(), batch.absent.begin(), batch.absent.end());
  if (!keys.empty()) steps.push_back({statements::fix_rejects, pg::params(batch.system, batch.domain, keys)});
  if (batch.epoch != 0) steps.push_back({statements::same_epoch, pg::params(batch.domain, batch.epoch)});
  if (!steps.empty()) {
    auto done = co_await lease.batch(std::move(steps), deadline);
    if (!done) co_return tl::make_unexpected(std::move(done.error()));
    if (batch.epoch != 0 && !done->back().boolean(0, 0))
      co_return fail(Kind::conflict, "EPOCH_MOVED", "the domain " + batch.domain + " changed hands since its records were fetched");
  }
  total.rejected = static_cast<std::int64_t>(storing.rejects.size());
  total.unchanged = given - total.created - total.updated - total.deleted - total.stale - total.rejected;
  co_return total;
}

Task<Result<void>> find_candidates(pg::Lease& lease, std::string system, std::vector<std::string> keys, Deadline deadline) {
  if (keys.empty()) co_return Result<void>();
  auto done = co_await lease.run(statements::find_candidates, pg::params(system, keys), deadline);
  if (!done) co_return tl::make_unexpected(std::move(done.error()));
  co_return Result<void>();
}

std::string canonical_sql(std::string_view system, std::string_view domain, std::string_view record) {
  const std::string r = "(" + std::string(record) + ")", own(system);  // systems are identifiers
  // Left out and null are the same, so both give the default.
  const auto field = [](const std::string& of, const std::string& name, const std::string& standard) {
    return "'" + name + "', coalesce(nullif(" + of + " -> '" + name + "', 'null'), '" + standard + "')";
  };
  const auto moment = [](const std::string& of, const std::string& name) {
    return "'" + name + "', to_char((" + of + " ->> '" + name + "')::timestamptz at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
  };
  const auto list = [&](const std::string& name, const std::string& fields) {
    const auto given = "nullif(" + r + " -> '" + name + "', 'null')";
    return "'" + name + "', case when coalesce(jsonb_array_length(" + given +
           "), 0) = 0 then '[]' else (select jsonb_agg(jsonb_build_object(" + fields + ") order by e.n) from jsonb_array_elements(" +
           given + ") with ordinality e(v, n)) end";
  };
  const std::string v = "e.v", empty = "\"\"";
  // A set: neither order nor repetition is content.
  const std::string flags =
      "'flags', case when jsonb_array_length(coalesce(nullif(" + r + " -> 'flags', 'null'), '[]')) < 2 then coalesce(nullif(" + r +
      " -> 'flags', 'null'), '[]') else (select jsonb_agg(u.flag) from (select distinct x.flag collate \"C\" as flag from "
      "jsonb_array_elements_text(" +
      r + " -> 'flags') x(flag) order by 1) u) end";
  if (domain == "customer")
    return "jsonb_build_object(" + field(r, "display_name", "null") + ", " + field(r, "kana", empty) + ", " +
           field(r, "birth_date", "null") + ", " + field(r, "notes", empty) + ", " + flags + ", " + field(r, "custom", "{}") + ", " +
           field(r, "deleted", "false") + ", " + list("phones", field(v, "raw", "null") + ", " + field(v, "note", empty)) + ", " +
           list("addresses", "'postal_code', replace(e.v ->> 'postal_code', '-', ''), " + field(v, "prefecture", empty) + ", " +
                                 field(v, "city", empty) + ", " + field(v, "town", empty) + ", " + field(v, "street", empty) + ", " +
                                 field(v, "building", empty) + ", " + field(v, "note", empty)) +
           ", " + list("emails", field(v, "email", "null")) + ")";
  if (domain == "inquiry")
    return "jsonb_build_object(" + field(r, "customer", "null") + ", 'customer_system', coalesce(" + r + " ->> 'customer_system', '" + own +
           "'), " + field(r, "media_source", "null") + ", " + field(r, "channel", "null") + ", " + field(r, "customer_initiated", "true") +
           ", " + field(r, "external_ref", "null") + ", " + moment(r, "received_at") + ", " + field(r, "stage", "null") + ", " +
           field(r, "lost_reason", "null") + ", " + field(r, "invalid_reason", "null") + ", " + field(r, "next_action", "null") + ", " +
           moment(r, "next_action_at") + ", " + field(r, "notes", empty) + ", " + field(r, "custom", "{}") + ", " +
           field(r, "deleted", "false") + ", " +
           list("items", field(v, "category", "null") + ", " + field(v, "description", empty) + ", " + field(v, "quantity", "null")) + ")";
  return "jsonb_build_object(" + field(r, "name", "null") + ", " + field(r, "description", empty) + ", " + field(r, "category", "null") +
         ", " + field(r, "customer", "null") + ", 'customer_system', case when " + r + " ->> 'customer' is not null then coalesce(" + r +
         " ->> 'customer_system', '" + own + "') end, " + field(r, "inquiry", "null") + ", 'inquiry_system', case when " + r +
         " ->> 'inquiry' is not null then coalesce(" + r + " ->> 'inquiry_system', '" + own + "') end, " + field(r, "state", empty) + ", " +
         field(r, "price_yen", "null") + ", " + field(r, "received_on", "null") + ", " + field(r, "custom", "{}") + ", " +
         field(r, "deleted", "false") + ")";
}

}  // namespace enishi::takeover

// What a chunk of leads does to the database, decided row by row so that a duplicate inside the chunk is treated as one across chunks, and
// then written by one statement a table.
//
//   Plan plan(std::move(known));                 // what the database has of the rows' people, references and towns
//   for (auto& read : chunk) plan.add(read);
//   plan.customers, plan.phones …                // JSON arrays for json_to_recordset
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "crm/imports/leads.hpp"

namespace enishi::crm::imports {

/// A JSON array of objects, written member by member.
class JsonRows {
 public:
  JsonRows& row();
  JsonRows& text(std::string_view name, std::string_view value);
  JsonRows& maybe(std::string_view name, const std::optional<std::string>& value);
  JsonRows& id(std::string_view name, const Uuid& value);
  JsonRows& raw(std::string_view name, std::string_view json);
  [[nodiscard]] bool empty() const { return rows_ == 0; }
  [[nodiscard]] std::string str() const { return empty() ? "[]" : text_ + "}]"; }

 private:
  void member(std::string_view name);
  std::string text_ = "[";
  std::size_t rows_ = 0;
  bool first_ = true;
};

struct Moment {
  std::string at, day;  ///< for timestamptz, and the day in the business time zone
};
struct Match {
  Uuid customer;
  std::optional<Uuid> lead_of_day;
};
struct Stored {
  Uuid inquiry, customer;
};

/// What the database says of a chunk's rows.
struct Known {
  std::unordered_map<std::int64_t, Moment> moments;              ///< by row number
  std::unordered_map<std::int64_t, std::vector<Match>> matches;  ///< customers with a phone of the row and its name
  std::unordered_map<std::string, Stored> refs;                  ///< leads of the media source by external_ref
  std::unordered_map<std::string, std::vector<Town>> towns;      ///< by postal code
};

class Plan {
 public:
  explicit Plan(Known known) : known_(std::move(known)) {}
  void add(const Read& read);
  /// To be called after the last add(): the JSON of customers is made then.
  void finish();

  JsonRows customers, fills;  ///< new ones, and what may be filled of those that were there
  JsonRows phones, fill_phones, addresses, fill_addresses, emails, inquiries, items, rows;
  int created = 0, updated = 0, skipped = 0, rejected = 0;

 private:
  struct Person {
    Uuid id;
    bool is_new = false;
    std::string display_name, name_key, kana, kana_key, notes, custom = "{}";
    std::optional<std::string> birth_date;
    std::set<std::string> e164s, emails;
    bool has_address = false;
  };
  void add(const Lead& lead);
  void refuse(const Position& at, std::string_view code, std::string_view detail, const std::vector<std::string>& cells);
  void skip(const Position& at, std::string_view code, std::string_view detail, const std::optional<Stored>& stored);
  Person& person(const Uuid& id, bool is_new);
  void fill(Person& person, const Lead& lead);
  JsonRows& result(const Position& at, std::string_view what);

  Known known_;
  std::map<Uuid, Person> people_;
  std::vector<Uuid> order_;
  std::unordered_map<std::string, std::vector<Uuid>> by_phone_and_name_;  ///< of the chunk's own people
  std::map<std::pair<Uuid, std::string>, Uuid> leads_of_day_;
};

}  // namespace enishi::crm::imports

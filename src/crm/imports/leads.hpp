// Rows of a file as leads: read by the mapping, checked by every rule that needs no look into the database. Pure, and done off the shards.
//
//   Rows rows(bytes, options, skip);                          // what is in the file, in order
//   while (auto item = rows.next()) read = read_lead(std::move(*item), mapping, columns, definitions);
//
// A row is a Lead, or a Refusal that says why not.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/id.hpp"
#include "crm/csv/reader.hpp"
#include "crm/imports/mapping.hpp"
#include "crm/japanese/phones.hpp"

namespace enishi::crm::imports {

struct CustomField {
  std::string key, kind;
  std::vector<std::string> choices;
  bool required = false;
};

/// What the company has defined, as it was when the run began.
struct Definitions {
  std::map<std::string, Uuid> categories;                ///< by category_key() of code, names, and parts of names that only one has
  std::map<std::string, CustomField> customer, inquiry;  ///< custom fields by key
  std::string time_zone;
};
std::string category_key(std::string_view name);
/// Of the two arrays that the statement `definitions` gives; throws for anything else.
Definitions definitions_of(std::string_view categories, std::string_view custom_fields, std::string_view time_zone);

struct Address {
  std::string postal_code, prefecture, city, town, street, building;  ///< postal_code: seven digits or empty
  std::string whole;                                                  ///< an address in one cell, not taken apart yet
  [[nodiscard]] bool empty() const {
    return postal_code.empty() && prefecture.empty() && city.empty() && town.empty() && street.empty() && building.empty() && whole.empty();
  }
};

struct Position {
  std::int64_t number = 0;  ///< of the row, from 1; blank lines and the header are none
  std::int64_t line = 0, last_line = 0;
};

struct Lead {
  Position at;
  std::vector<std::string> cells;  ///< as they were in the file
  std::string display_name, kana, name_key, kana_key, notes, customer_notes, item_description;
  std::optional<std::string> birth_date, external_ref;
  std::optional<std::string> received_at;  ///< as PostgreSQL's timestamptz reads it
  std::vector<japanese::Phone> phones;     ///< at least one, each with E.164
  std::vector<std::string> emails;
  std::vector<Uuid> categories;
  Address address;
  std::string custom = "{}", inquiry_custom = "{}";
  std::string missing_custom;  ///< a required custom field of new customers that the row does not fill
};

struct Refusal {
  Position at;
  std::string code, detail;
  std::vector<std::string> cells;
  bool skipped = false;  ///< nothing to correct: a row of empty cells
};

using Read = std::variant<Lead, Refusal>;

/// The items of a file in their order, numbered.
class Rows {
 public:
  struct Item {
    Position at;
    std::variant<csv::Row, csv::Reject> item;
  };
  /// `bytes` outlives it. The header, if there is one, is no item.
  Rows(std::string_view bytes, csv::ReadOptions options, bool header);
  std::optional<Item> next();
  [[nodiscard]] const csv::Reader& reader() const { return reader_; }

 private:
  std::optional<csv::Item> raw();
  std::string_view rest_;
  csv::Reader reader_;
  bool skip_header_, finished_ = false;
  std::int64_t number_ = 0;
};

Read read_lead(Rows::Item item, const Mapping& mapping, std::size_t columns, const Definitions& definitions);

/// 2026/11/22 13:05, 2026-11-22T13:05:30+09:00, 令和8年11月22日 午後1時5分, or a day alone: what PostgreSQL reads, in `time_zone` unless it
/// says its offset. Nothing for anything else.
std::optional<std::string> parse_moment(std::string_view text, std::string_view time_zone);

struct Town {
  std::string prefecture, city, town;
};
/// Takes `whole` apart: the prefecture from the front, then city and town if one of `candidates` (those of its postal code) fits; the rest
/// is the street.
void split_address(Address& address, const std::vector<Town>& candidates);

}  // namespace enishi::crm::imports

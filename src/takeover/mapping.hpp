// A mapping folder: how the records of one legacy system become those of one domain. docs/takeover/mapping.md is its manual.
//
//   auto mapping = read_mapping("mappings/shop-customer");         // MAPPING_INVALID names file, place and what is wrong, all at once
//   auto same = parse_mapping(mapping->files);                     // from the texts that the database keeps
//   mapping->forward                                               // a Statement: $1 text[] of root keys → (key, record, links)
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "pg/statement.hpp"

namespace enishi::takeover {

/// A table of the source that forward.sql reads.
struct SourceTable {
  std::string name;                           ///< "public.customers"
  std::vector<std::string> root;              ///< columns that hold the root's key, in its order; empty with root_sql
  std::string root_sql;                       ///< $1 text[] of own keys → root keys
  std::vector<std::string> mapped;            ///< columns that forward.sql uses
  std::map<std::string, std::string> waived;  ///< column → why nothing maps it
  std::shared_ptr<pg::Statement> root_keys;   ///< root_sql, or nothing
};

struct CopyLimits {
  int chunk = 2000;
  int workers = 2;
  int rows_per_second = 0;  ///< 0: no limit
  std::int64_t most_wal_bytes = 10LL << 30;
};

struct MappingFiles {
  std::string toml, forward, reverse;  ///< reverse may be empty: then nothing can be written back
};

struct Mapping {
  std::string system, domain;
  std::string root_table;
  std::vector<std::string> root_key;
  std::vector<SourceTable> tables;  ///< the root's first
  CopyLimits copy;
  int reverse_rows_per_second = 0;  ///< of what is written back while Enishi owns; 0: no limit
  MappingFiles files;
  std::shared_ptr<pg::Statement> forward;               ///< ($1 text[]) → (key text, record jsonb, links jsonb)
  std::shared_ptr<pg::Statement> rooted;                ///< ($1 first parts of keys, $2 text[] keys) → those in the root table
  std::vector<std::shared_ptr<pg::Statement>> reverse;  ///< ($1 text, $2 jsonb); the last one returns the legacy key

  [[nodiscard]] const SourceTable* table(std::string_view name) const;
  /// Names of what is made at the source, by default: "enishi_shop_customer".
  [[nodiscard]] std::string slot() const { return "enishi_" + system + "_" + domain; }
  [[nodiscard]] std::string publication() const { return slot(); }
};

/// Domains that can be mapped.
[[nodiscard]] const std::vector<std::string>& mappable_domains();

[[nodiscard]] Result<Mapping> read_mapping(const std::string& folder);
[[nodiscard]] Result<Mapping> parse_mapping(MappingFiles files);

/// The texts as takeover_domain.mapping keeps them, and back.
[[nodiscard]] std::string to_json(const MappingFiles& files);
[[nodiscard]] Result<MappingFiles> files_from_json(std::string_view json);

/// A legacy key of these values: the text itself, or a JSON array as PostgreSQL prints jsonb: ["a", "b"].
[[nodiscard]] std::string legacy_key(const std::vector<std::string>& values);
/// The other way round; `parts` values are expected.
[[nodiscard]] std::optional<std::vector<std::string>> key_values(std::string_view key, std::size_t parts);

/// What `rooted` takes for these keys; those that are none of the root table's are left out.
struct RootedKeys {
  std::vector<std::string> first, keys;
};
[[nodiscard]] RootedKeys rooted_keys(const Mapping& mapping, const std::vector<std::string>& keys);

/// The single statements of an SQL text: split at ; outside strings, dollar quotes, identifiers and comments; empty ones dropped.
[[nodiscard]] std::vector<std::string> split_sql(std::string_view text);

/// "schema"."table" of a name as mappings write it, and a single quoted identifier.
[[nodiscard]] std::string quote_table(std::string_view name);
[[nodiscard]] std::string quote_identifier(std::string_view name);
/// A key as text, of these columns of the row r.
[[nodiscard]] std::string key_expression(const std::vector<std::string>& columns);

}  // namespace enishi::takeover

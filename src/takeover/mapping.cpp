#include "takeover/mapping.hpp"

#include <toml++/toml.h>
#include <boost/json.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/log.hpp"

namespace enishi::takeover {
namespace {

/// Collects what is wrong with mapping.toml, with the line it stands in.
struct Reader {
  std::vector<FieldError> errors;

  void wrong(const toml::node* at, std::string pointer, std::string code, std::string detail) {
    if (at != nullptr && at->source().begin.line > 0) detail += " (line " + std::to_string(at->source().begin.line) + ")";
    errors.push_back({std::move(pointer), std::move(code), std::move(detail)});
  }
  void only(const toml::table& table, const std::string& where, std::initializer_list<std::string_view> known) {
    for (const auto& [key, value] : table)
      if (std::find(known.begin(), known.end(), key.str()) == known.end())
        wrong(&value, where + "/" + std::string(key.str()), "UNKNOWN", "mapping.toml knows no \"" + std::string(key.str()) + "\" here");
  }
  std::string text(const toml::table& table, const std::string& where, std::string_view name, bool required) {
    const auto* node = table.get(name);
    if (node == nullptr) {
      if (required) wrong(&table, where + "/" + std::string(name), "REQUIRED", std::string(name) + " is missing");
      return {};
    }
    if (auto value = node->value_exact<std::string>()) {
      if (required && value->empty()) wrong(node, where + "/" + std::string(name), "REQUIRED", std::string(name) + " is empty");
      return *value;
    }
    wrong(node, where + "/" + std::string(name), "TYPE", std::string(name) + " must be text");
    return {};
  }
  std::int64_t integer(const toml::table& table, const std::string& where, std::string_view name, std::int64_t standard, std::int64_t least,
                       std::int64_t most) {
    const auto* node = table.get(name);
    if (node == nullptr) return standard;
    const auto value = node->value_exact<std::int64_t>();
    if (value && *value >= least && *value <= most) return *value;
    wrong(node, where + "/" + std::string(name), "RANGE",
          std::string(name) + " must be a whole number from " + std::to_string(least) + " to " + std::to_string(most));
    return standard;
  }
  std::vector<std::string> texts(const toml::table& table, const std::string& where, std::string_view name, bool required) {
    std::vector<std::string> out;
    const auto* node = table.get(name);
    if (node == nullptr) {
      if (required) wrong(&table, where + "/" + std::string(name), "REQUIRED", std::string(name) + " is missing");
      return out;
    }
    const auto* array = node->as_array();
    if (array == nullptr) {
      wrong(node, where + "/" + std::string(name), "TYPE", std::string(name) + " must be an array of texts");
      return out;
    }
    for (const auto& element : *array) {
      auto value = element.value_exact<std::string>();
      if (!value || value->empty())
        wrong(&element, where + "/" + std::string(name), "TYPE", std::string(name) + " must hold texts");
      else
        out.push_back(*value);
    }
    if (required && out.empty()) wrong(node, where + "/" + std::string(name), "REQUIRED", std::string(name) + " is empty");
    return out;
  }
};

bool identifier(std::string_view text) {
  return !text.empty() && text.size() <= 40 && text[0] >= 'a' && text[0] <= 'z' &&
         text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string_view::npos;
}

std::vector<std::string> reverse_statements(std::string_view text);

/// A Statement that owns its text: what it points to lives as long as it does.
struct Owned {
  std::string name, text;
  pg::Statement statement;
  Owned(std::string n, std::string t, pg::Rowcount rows) : name(std::move(n)), text(std::move(t)), statement(name, rows, false, text) {}
};

std::shared_ptr<pg::Statement> owned(const std::string& name, std::string text, pg::Rowcount rows) {
  auto held = std::make_shared<Owned>(name, std::move(text), rows);
  return {held, &held->statement};
}

SourceTable read_table(Reader& in, const toml::table& table, const std::string& where, std::size_t key_parts) {
  in.only(table, where, {"name", "root", "root_sql", "mapped", "waived"});
  SourceTable out;
  out.name = in.text(table, where, "name", true);
  if (!out.name.empty() && out.name.find('.') == std::string::npos)
    in.wrong(table.get("name"), where + "/name", "FORMAT", "write the table's name with its schema: public." + out.name);
  out.root = in.texts(table, where, "root", false);
  out.root_sql = in.text(table, where, "root_sql", false);
  if (out.root.empty() == out.root_sql.empty())
    in.wrong(&table, where, "ROOT", "a table has either root (columns that hold the root's key) or root_sql");
  else if (!out.root.empty() && key_parts > 0 && out.root.size() != key_parts)
    in.wrong(table.get("root"), where + "/root", "ROOT", "root must name as many columns as the key of the root table has");
  out.mapped = in.texts(table, where, "mapped", true);
  if (const auto* waived = table.get("waived")) {
    if (const auto* rows = waived->as_table()) {
      for (const auto& [column, reason] : *rows) {
        auto why = reason.value_exact<std::string>();
        if (!why || why->empty())
          in.wrong(&reason, where + "/waived/" + std::string(column.str()), "REASON", "say why nothing maps this column");
        else if (std::find(out.mapped.begin(), out.mapped.end(), column.str()) != out.mapped.end())
          in.wrong(&reason, where + "/waived/" + std::string(column.str()), "BOTH", "the column is mapped and waived");
        else
          out.waived.emplace(std::string(column.str()), *why);
      }
    } else {
      in.wrong(waived, where + "/waived", "TYPE", "waived must be a table of column = \"reason\"");
    }
  }
  return out;
}

}  // namespace

const std::vector<std::string>& mappable_domains() {
  static const std::vector<std::string> all{"customer", "inquiry", "goods"};
  return all;
}

const SourceTable* Mapping::table(std::string_view name) const {
  for (const auto& t : tables)
    if (t.name == name) return &t;
  return nullptr;
}

Result<Mapping> read_mapping(const std::string& folder) {
  const auto read = [&](const char* name, bool required) -> Result<std::string> {
    std::ifstream file(std::filesystem::path(folder) / name, std::ios::binary);
    if (!file) {
      if (!required) return std::string();
      return fail(Kind::not_found, "MAPPING_MISSING", "there is no " + std::string(name) + " in \"" + folder + "\"");
    }
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  };
  auto toml = read("mapping.toml", true);
  if (!toml) return tl::make_unexpected(toml.error());
  auto forward = read("forward.sql", true);
  if (!forward) return tl::make_unexpected(forward.error());
  auto reverse = read("reverse.sql", false);
  return parse_mapping({std::move(*toml), std::move(*forward), std::move(*reverse)});
}

Result<Mapping> parse_mapping(MappingFiles files) {
  Reader in;
  toml::table root;
  try {
    root = toml::parse(std::string_view(files.toml));
  } catch (const toml::parse_error& e) {
    return fail(Kind::unprocessable, "MAPPING_INVALID",
                "mapping.toml, line " + std::to_string(e.source().begin.line) + ": " + std::string(e.description()));
  }
  Mapping out;
  in.only(root, "", {"system", "domain", "root", "table", "copy", "reverse"});
  out.system = in.text(root, "", "system", true);
  if (!out.system.empty() && !identifier(out.system))
    in.wrong(root.get("system"), "/system", "FORMAT", "a system's name is small letters, digits and _, at most 40");
  out.domain = in.text(root, "", "domain", true);
  const auto& domains = mappable_domains();
  if (!out.domain.empty() && std::find(domains.begin(), domains.end(), out.domain) == domains.end())
    in.wrong(root.get("domain"), "/domain", "CHOICE",
             "there is no domain \"" + out.domain + "\" to map; there are customer, inquiry and goods");
  if (const auto* table = root["root"].as_table()) {
    in.only(*table, "/root", {"table", "key"});
    out.root_table = in.text(*table, "/root", "table", true);
    out.root_key = in.texts(*table, "/root", "key", true);
  } else {
    in.wrong(&root, "/root", "REQUIRED", "[root] is missing");
  }
  if (const auto* tables = root["table"].as_array()) {
    std::size_t i = 0;
    for (const auto& element : *tables) {
      const auto where = "/table/" + std::to_string(i++);
      if (const auto* table = element.as_table())
        out.tables.push_back(read_table(in, *table, where, out.root_key.size()));
      else
        in.wrong(&element, where, "TYPE", "[[table]] expected");
    }
  } else {
    in.wrong(&root, "/table", "REQUIRED", "no [[table]]: the root table at least belongs there");
  }
  for (std::size_t i = 0; i < out.tables.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (out.tables[i].name == out.tables[j].name)
        in.wrong(nullptr, "/table/" + std::to_string(i) + "/name", "TWICE", out.tables[i].name + " stands there twice");
  if (!out.tables.empty() && !out.root_table.empty()) {
    if (out.tables[0].name != out.root_table)
      in.wrong(nullptr, "/table/0/name", "ROOT", "the first [[table]] must be the root table, " + out.root_table);
    else if (out.tables[0].root != out.root_key)
      in.wrong(nullptr, "/table/0/root", "ROOT", "root of the root table is its key");
  }
  if (const auto* copy = root["copy"].as_table()) {
    in.only(*copy, "/copy", {"chunk", "workers", "rows_per_second", "most_wal_bytes"});
    out.copy.chunk = static_cast<int>(in.integer(*copy, "/copy", "chunk", out.copy.chunk, 100, 20000));
    out.copy.workers = static_cast<int>(in.integer(*copy, "/copy", "workers", out.copy.workers, 1, 16));
    out.copy.rows_per_second = static_cast<int>(in.integer(*copy, "/copy", "rows_per_second", 0, 0, 10000000));
    out.copy.most_wal_bytes = in.integer(*copy, "/copy", "most_wal_bytes", out.copy.most_wal_bytes, 16 << 20, 1LL << 50);
  } else if (root.get("copy") != nullptr) {
    in.wrong(root.get("copy"), "/copy", "TYPE", "[copy] is a table");
  }
  if (const auto* reverse = root["reverse"].as_table()) {
    in.only(*reverse, "/reverse", {"rows_per_second"});
    out.reverse_rows_per_second = static_cast<int>(in.integer(*reverse, "/reverse", "rows_per_second", 0, 0, 10000000));
  } else if (root.get("reverse") != nullptr) {
    in.wrong(root.get("reverse"), "/reverse", "TYPE", "[reverse] is a table");
  }
  const auto forward = split_sql(files.forward);
  if (forward.size() != 1)
    in.wrong(nullptr, "forward.sql", "STATEMENTS",
             "forward.sql must be one SELECT; it holds " + std::to_string(forward.size()) + " statements");
  if (!in.errors.empty()) {
    std::string detail = "the mapping is wrong";
    for (const auto& e : in.errors) detail += "; " + e.pointer + ": " + e.detail;
    return fail(Kind::unprocessable, "MAPPING_INVALID", std::move(detail), std::move(in.errors));
  }
  const auto name = "mapping." + out.system + "." + out.domain;
  out.forward = owned(name + ".forward", forward[0], pg::Rowcount::many);
  // The first column's type is the source's to know: it is found by an index, and the rest by the text.
  const auto key = key_expression(out.root_key);
  out.rooted = owned(name + ".rooted",
                     "select " + key + " from " + quote_table(out.root_table) + " r where r." + quote_identifier(out.root_key[0]) +
                         " = any ($1) and " + key + " = any ($2::text[])",
                     pg::Rowcount::many);
  for (auto& table : out.tables)
    if (!table.root_sql.empty()) table.root_keys = owned(name + ".roots", table.root_sql, pg::Rowcount::many);
  for (const auto& statement : reverse_statements(files.reverse))
    out.reverse.push_back(owned(name + ".reverse", statement, pg::Rowcount::many));
  out.files = std::move(files);
  return out;
}

std::string to_json(const MappingFiles& files) {
  return R"({"mapping.toml":)" + json_quote(files.toml) + R"(,"forward.sql":)" + json_quote(files.forward) + R"(,"reverse.sql":)" +
         json_quote(files.reverse) + "}";
}

Result<MappingFiles> files_from_json(std::string_view json) {
  boost::system::error_code bad;
  const auto value = boost::json::parse(json, bad);
  const auto* object = bad ? nullptr : value.if_object();
  const auto text = [&](std::string_view name) -> std::string {
    const auto* found = object->if_contains(name);
    return found != nullptr && found->is_string() ? std::string(found->as_string()) : std::string();
  };
  if (object == nullptr) return fail(Kind::internal, "MAPPING_INVALID", "the stored mapping is no JSON object");
  return MappingFiles{text("mapping.toml"), text("forward.sql"), text("reverse.sql")};
}

std::string legacy_key(const std::vector<std::string>& values) {
  if (values.size() == 1) return values[0];
  std::string out = "[";
  for (const auto& value : values) {
    if (out.size() > 1) out += ", ";
    out += json_quote(value);  // as escape_json of PostgreSQL writes it: a key made there is the same text
  }
  return out + "]";
}

std::string key_expression(const std::vector<std::string>& columns) {
  if (columns.size() == 1) return "r." + quote_identifier(columns[0]) + "::text";
  std::string out;
  for (const auto& column : columns) out += (out.empty() ? "r." : ", r.") + quote_identifier(column) + "::text";
  return "jsonb_build_array(" + out + ")::text";
}

RootedKeys rooted_keys(const Mapping& mapping, const std::vector<std::string>& keys) {
  RootedKeys out;
  for (const auto& key : keys) {
    auto values = key_values(key, mapping.root_key.size());
    if (!values) continue;
    out.first.push_back(std::move(values->front()));
    out.keys.push_back(key);
  }
  return out;
}

std::optional<std::vector<std::string>> key_values(std::string_view key, std::size_t parts) {
  if (parts == 1) return std::vector<std::string>{std::string(key)};
  boost::system::error_code bad;
  const auto value = boost::json::parse(key, bad);
  if (bad || !value.is_array() || value.as_array().size() != parts) return std::nullopt;
  std::vector<std::string> out;
  for (const auto& part : value.as_array()) {
    if (!part.is_string()) return std::nullopt;
    out.emplace_back(part.as_string());
  }
  return out;
}

namespace {

/// `marks`: $1 becomes ($1::text) and $2 ($2::jsonb), where they stand as parameters.
std::vector<std::string> split(std::string_view text, bool marks) {
  std::vector<std::string> out;
  std::string current;
  bool something = false;  // other than blanks and comments
  const auto finish = [&] {
    if (something) {
      const auto first = current.find_first_not_of(" \t\r\n");
      const auto last = current.find_last_not_of(" \t\r\n");
      out.push_back(current.substr(first, last - first + 1));
    }
    current.clear();
    something = false;
  };
  const auto word = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
  };
  std::size_t i = 0;
  const auto take_until = [&](std::size_t end) {
    current.append(text.substr(i, end - i));
    i = end;
  };
  while (i < text.size()) {
    const char c = text[i];
    if (text.substr(i, 2) == "--") {
      take_until(std::min(text.find('\n', i), text.size()));
    } else if (text.substr(i, 2) == "/*") {
      std::size_t end = i + 2, depth = 1;
      while (end < text.size() && depth > 0) {
        if (text.substr(end, 2) == "/*") {
          ++depth;
          end += 2;
        } else if (text.substr(end, 2) == "*/") {
          --depth;
          end += 2;
        } else {
          ++end;
        }
      }
      take_until(end);
    } else if (c == '\'' || c == '"') {
      // E'…' has backslashes; in every string a doubled quote is two strings one after the other, which is the same here.
      const bool escapes = c == '\'' && i > 0 && (text[i - 1] == 'E' || text[i - 1] == 'e') && (i < 2 || !word(text[i - 2]));
      std::size_t end = i + 1;
      while (end < text.size() && text[end] != c) end += escapes && text[end] == '\\' ? 2 : 1;
      something = true;
      take_until(std::min(end + 1, text.size()));
    } else if (c == '$' && (i == 0 || !word(text[i - 1]))) {
      std::size_t tag = i + 1;
      while (tag < text.size() && word(text[tag])) ++tag;
      const bool dollar = tag < text.size() && text[tag] == '$' && (tag == i + 1 || text[i + 1] < '0' || text[i + 1] > '9');
      something = true;
      if (dollar) {
        const auto quote = text.substr(i, tag + 1 - i);
        const auto close = text.find(quote, tag + 1);
        take_until(close == std::string_view::npos ? text.size() : close + quote.size());
      } else if (marks && tag == i + 2 && (text[i + 1] == '1' || text[i + 1] == '2')) {
        current += text[i + 1] == '1' ? "($1::text)" : "($2::jsonb)";
        i = tag;
      } else {
        take_until(i + 1);
      }
    } else if (c == ';') {
      finish();
      ++i;
    } else {
      if (c != ' ' && c != '\t' && c != '\r' && c != '\n') something = true;
      current.push_back(c);
      ++i;
    }
  }
  finish();
  return out;
}

/// Statements of reverse.sql: whoever uses one of the two parameters takes both, with their types, for a statement alone does not say them.
std::vector<std::string> reverse_statements(std::string_view text) {
  auto out = split(text, true);
  for (auto& statement : out) {
    static constexpr std::string_view key = "($1::text)", record = "($2::jsonb)";
    const auto first_key = statement.find(key), first_record = statement.find(record);
    if (first_key == std::string::npos && first_record != std::string::npos)
      statement.replace(first_record, record.size(), "(case when ($1::text) is null then ($2::jsonb) else ($2::jsonb) end)");
    else if (first_key != std::string::npos && first_record == std::string::npos)
      statement.replace(first_key, key.size(), "(case when ($2::jsonb) is null then ($1::text) else ($1::text) end)");
  }
  return out;
}

}  // namespace

std::vector<std::string> split_sql(std::string_view text) { return split(text, false); }

std::string quote_identifier(std::string_view name) {
  std::string out = "\"";
  for (const char c : name) {
    if (c == '"') out.push_back('"');
    out.push_back(c);
  }
  return out + "\"";
}

std::string quote_table(std::string_view name) {
  const auto dot = name.find('.');
  if (dot == std::string_view::npos) return quote_identifier(name);
  return quote_identifier(name.substr(0, dot)) + "." + quote_identifier(name.substr(dot + 1));
}

}  // namespace enishi::takeover

// Whatever bytes a file holds: reading ends, its result does not depend on the chunks, lines go up, and what was read comes back after
// writing.
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "crm/csv/reader.hpp"
#include "crm/csv/writer.hpp"

namespace {

using namespace enishi::crm::csv;

void require(bool holds, int line = __builtin_LINE()) {
  if (holds) return;
  std::fprintf(stderr, "line %d does not hold\n", line);
  std::abort();
}

std::vector<Item> read_all(std::string_view bytes, ReadOptions options, std::size_t chunk) {
  Reader reader(options);
  std::vector<Item> out;
  for (std::size_t i = 0; i < bytes.size(); i += chunk) {
    reader.feed(bytes.substr(i, chunk));
    while (auto item = reader.next()) out.push_back(std::move(*item));
  }
  reader.finish();
  while (auto item = reader.next()) out.push_back(std::move(*item));
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  ReadOptions options;
  options.encoding = static_cast<Encoding>(data[0] % 3);
  options.delimiter = ",;\t,"[data[0] / 4 % 4];
  if (data[0] & 64) options.max_fields = 4, options.max_field_bytes = 16, options.max_row_bytes = 32;
  const auto items = read_all(bytes, options, std::max<std::size_t>(bytes.size(), 1));
  require(read_all(bytes, options, 1 + data[1] % 16) == items);

  std::uint64_t line = 0;
  std::vector<Item> rows;
  for (const auto& item : items) {
    const auto* row = std::get_if<Row>(&item);
    const auto* reject = std::get_if<Reject>(&item);
    require((row ? row->line : reject->line) > line);
    line = row ? row->line : reject->line;
    if (reject) require(reject->last_line >= reject->line && is_utf8(reject->excerpt));
    if (!row) continue;
    require(row->fields.size() <= options.max_fields);
    for (const auto& field : row->fields) require(is_utf8(field));
    rows.push_back(item);
  }
  if (data[0] & 64) return 0;
  std::string out;
  Writer writer({.bom = (data[1] & 128) != 0, .delimiter = options.delimiter});
  for (const auto& item : rows) writer.row(std::get<Row>(item).fields, out);
  const auto again = read_all(
      out, {.encoding = Encoding::UTF8, .delimiter = options.delimiter, .max_row_bytes = 1 << 24, .max_field_bytes = 1 << 24}, 4096);
  require(again.size() == rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto& before = std::get<Row>(rows[i]).fields;
    require(std::holds_alternative<Row>(again[i]));
    const auto& after = std::get<Row>(again[i]).fields;
    require(before.size() == after.size());
    for (std::size_t f = 0; f < before.size(); ++f) require(unguard(after[f]) == before[f]);
  }
  return 0;
}

#include "takeover/switch/place.hpp"

#include <fmt/format.h>
#include <algorithm>

#include "takeover/domains.hpp"
#include "takeover/switch/moves.sql.hpp"

namespace enishi::takeover {
namespace {

/// A statement that keeps its own text.
struct Owned {
  std::string name, text;
  pg::Statement statement;
  Owned(std::string n, std::string t) : name(std::move(n)), text(std::move(t)), statement(name, pg::Rowcount::many, false, text) {}
};

std::shared_ptr<const pg::Statement> owned(std::string name, std::string text) {
  auto held = std::make_shared<Owned>("at_source." + std::move(name), std::move(text));
  return {held, &held->statement};
}

std::string joined(const std::vector<std::string>& columns, std::string_view suffix = {}) {
  std::string out;
  for (const auto& column : columns) out += (out.empty() ? "r." : ", r.") + quote_identifier(column) + std::string(suffix);
  return out;
}

/// What rows_fingerprint() is here: all mapped columns of the rows that belong to these roots, as text, for text tells −0 from 0 and NULL
/// from ''.
std::string fingerprint_of(const Mapping& m, std::string_view keys) {
  std::string rows;
  for (const auto& table : m.tables) {
    if (table.root.size() != 1) return {};
    std::string columns;
    auto all = table.mapped;
    if (std::find(all.begin(), all.end(), table.root[0]) == all.end()) all.push_back(table.root[0]);
    for (const auto& column : all) columns += (columns.empty() ? "r." : ", r.") + quote_identifier(column);
    rows += fmt::format("{}select '{}' || row({})::text from {} r where r.{} = any ({})", rows.empty() ? "" : " union all ", table.name,
                        columns, quote_table(table.name), quote_identifier(table.root[0]), keys);
  }
  return "select count(*) || '/' || coalesce(sum(hashtextextended(t.x, 1)), 0) || '/' || coalesce(sum(hashtextextended(t.x, 2)), 0) from "
         "(" +
         rows + ") t(x)";
}

}  // namespace

Place place_of(pg::Database& local, std::shared_ptr<Source> source, std::shared_ptr<const Mapping> mapping) {
  Place out;
  out.local = &local;
  out.source = std::move(source);
  const auto& m = *mapping;
  const std::string label = m.system + "." + m.domain + ".";
  const auto canonical = canonical_sql(m.system, m.domain, "f.record");
  const auto fetched = fmt::format("with f as (select x.key, x.record from (\n{}\n) x)\n", m.forward->sql);
  out.canonical = owned(label + "canonical", fetched + fmt::format("select f.key, ({})::text from f", canonical));
  out.digests = owned(
      label + "digests",
      fetched +
          fmt::format("select f.key, encode(sha256(convert_to(({})::text, 'UTF8')), 'hex'), coalesce((f.record ->> 'deleted')::boolean, "
                      "false) from f",
                      canonical));
  out.chunk = owned(
      label + "chunk",
      fetched +
          fmt::format("select count(*), encode(sha256(coalesce(string_agg(sha256(convert_to(({})::text, 'UTF8')), ''::bytea order by f.key "
                      "collate \"C\"), ''::bytea)), 'hex') from f",
                      canonical));
  if (const auto rows = fingerprint_of(m, "$2"); !rows.empty()) {
    out.chunk_and_rows = owned(label + "chunk_and_rows", fmt::format("select c.*, ({}) from ({}) c", rows, out.chunk->sql));
    out.rows = owned(label + "rows", fingerprint_of(m, "$1"));
  }
  const auto columns = joined(m.root_key);
  const auto select =
      fmt::format("select {}, {} from {} r", key_expression(m.root_key), joined(m.root_key, "::text"), quote_table(m.root_table));
  out.first_keys = owned(label + "first_keys", fmt::format("{} order by {} limit $1::integer", select, columns));
  std::string values;
  for (std::size_t i = 0; i < m.root_key.size(); ++i) values += fmt::format("{}${}", i > 0 ? ", " : "", i + 2);
  out.next_keys =
      owned(label + "next_keys", fmt::format("{} where ({}) > ({}) order by {} limit $1::integer", select, columns, values, columns));
  out.mapping = std::move(mapping);
  return out;
}

Task<Result<Ownership>> ownership(pg::Database& local, std::string domain, Deadline deadline) {
  auto rows = co_await local.run(sql::moves::ownership, pg::params(domain), deadline);
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  if (rows->empty()) co_return fail(Kind::not_found, "NOT_FOUND", "There is no domain " + domain + ".");
  Ownership out;
  out.state = rows->text(0, 0);
  out.epoch = rows->integer(0, 1);
  out.number = static_cast<int>(rows->integer(0, 2));
  out.read_only = rows->text(0, 3);
  out.system = rows->text(0, 4);
  out.position = rows->text(0, 5);
  out.era = static_cast<int>(rows->integer(0, 6));
  out.phase = rows->text(0, 7);
  out.slot = rows->text(0, 8);
  out.publication = rows->text(0, 9);
  out.since = Millis(rows->integer(0, 10));
  co_return out;
}

Task<Result<Place>> find_place(pg::Database& local, Shard& shard, Offload& offload, std::string domain, Deadline deadline) {
  auto rows = co_await local.run(sql::moves::place, pg::params(domain), deadline);
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  if (rows->empty())
    co_return fail(Kind::not_found, "DOMAIN_NOT_TAKEN_OVER",
                   "The domain " + domain + " was never taken over from a legacy system: `enishi takeover start` begins it.");
  auto files = files_from_json(rows->text(0, 2));
  if (!files) co_return tl::make_unexpected(std::move(files.error()));
  auto mapping = parse_mapping(std::move(*files));
  if (!mapping) co_return tl::make_unexpected(std::move(mapping.error()));
  SourceConfig config;
  config.system = rows->text(0, 0);
  config.conninfo = rows->text(0, 1);
  co_return place_of(local, std::make_shared<Source>(shard, offload, std::move(config)),
                     std::make_shared<const Mapping>(std::move(*mapping)));
}

}  // namespace enishi::takeover

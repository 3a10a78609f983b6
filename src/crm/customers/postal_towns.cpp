#include "crm/customers/postal_towns.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "crm/customers/customers.sql.hpp"
#include "crm/japanese/postal_codes.hpp"

namespace enishi::crm::customers {
namespace {

/// COPY's text format: tab between columns; tab, line feed and backslash escaped.
void append_column(std::string& out, std::string_view value) {
  for (const char c : value) {
    if (c == '\t')
      out += "\\t";
    else if (c == '\n')
      out += "\\n";
    else if (c == '\\')
      out += "\\\\";
    else
      out += c;
  }
}

struct Towns {
  std::vector<std::string> codes, prefectures, cities, towns;
};

Task<Result<std::int64_t>> copy_all(pg::Lease& lease, const Towns& all, Deadline deadline) {
  std::size_t at = 0;
  co_return co_await lease.copy_in(
      "copy postal_town (postal_code, prefecture, city, town) from stdin",
      [&](std::string& chunk) {
        constexpr std::size_t rows_a_chunk = 4096;
        for (const auto end = std::min(all.codes.size(), at + rows_a_chunk); at < end; ++at) {
          for (const auto* column : {&all.codes, &all.prefectures, &all.cities}) {
            append_column(chunk, (*column)[at]);
            chunk += '\t';
          }
          append_column(chunk, all.towns[at]);
          chunk += '\n';
        }
        return at < all.codes.size();
      },
      deadline);
}

/// Newer data beside older: only what is not there yet.
Task<Result<std::int64_t>> add_missing(pg::Lease& lease, const Towns& all, Deadline deadline) {
  constexpr std::size_t batch = 5000;
  std::int64_t added = 0;
  const auto part = [](const std::vector<std::string>& column, std::size_t from, std::size_t to) {
    return std::vector<std::string>(column.begin() + static_cast<std::ptrdiff_t>(from), column.begin() + static_cast<std::ptrdiff_t>(to));
  };
  for (std::size_t from = 0; from < all.codes.size(); from += batch) {
    const auto to = std::min(all.codes.size(), from + batch);
    auto values =
        pg::params(part(all.codes, from, to), part(all.prefectures, from, to), part(all.cities, from, to), part(all.towns, from, to));
    auto stored = co_await lease.run(sql::customers::add_towns, std::move(values), deadline);
    if (!stored) co_return tl::make_unexpected(stored.error());
    added += stored->affected();
  }
  co_return added;
}

/// Inside a transaction. The lock makes a second process wait, and then find everything.
Task<Result<std::int64_t>> load(pg::Lease& lease, const Towns& all, Deadline deadline) {
  auto locked = co_await lease.run(sql::customers::lock_towns, {}, deadline);
  if (!locked) co_return tl::make_unexpected(locked.error());
  auto there = co_await lease.run(sql::customers::count_towns, {}, deadline);
  if (!there) co_return tl::make_unexpected(there.error());
  const auto count = there->integer(0, 0);
  if (count == 0) co_return co_await copy_all(lease, all, deadline);
  if (count >= static_cast<std::int64_t>(all.codes.size())) co_return 0;
  co_return co_await add_missing(lease, all, deadline);
}

}  // namespace

Task<Result<std::int64_t>> load_postal_towns(pg::Lease& lease) {
  const auto deadline = Deadline::in(Millis(60000));
  Towns all;
  japanese::for_each_postal_row([&](const japanese::PostalRow& row) {
    all.codes.emplace_back(row.postal_code);
    all.prefectures.emplace_back(row.prefecture);
    all.cities.emplace_back(row.city);
    all.towns.emplace_back(row.town);
  });
  co_await lease.begin(deadline);
  auto stored = co_await load(lease, all, deadline);
  if (!stored) {
    co_await lease.rollback(deadline);
    co_return stored;
  }
  co_await lease.commit(deadline);
  co_return stored;
}

Task<Result<std::int64_t>> load_postal_towns(pg::Database& db) {
  auto lease = co_await db.lease();
  co_return co_await load_postal_towns(lease);
}

}  // namespace enishi::crm::customers

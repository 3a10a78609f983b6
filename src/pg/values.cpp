#include "pg/values.hpp"

#include <libpq-fe.h>

#include <cmath>
#include <stdexcept>

namespace enishi::pg {

Param param(double v) {
  if (std::isnan(v)) return "NaN";
  if (std::isinf(v)) return v > 0 ? "Infinity" : "-Infinity";
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, v).ptr;  // the shortest text that reads back as the same number
  return std::string(text, end);
}

void append_array_element(std::string& literal, const Param& element) {
  if (literal.size() > 1) literal.push_back(',');
  if (!element) {
    literal += "NULL";
    return;
  }
  literal.push_back('"');
  for (const char c : *element) {
    if (c == '"' || c == '\\') literal.push_back('\\');
    literal.push_back(c);
  }
  literal.push_back('"');
}

void Rows::Clear::operator()(pg_result* r) const { PQclear(r); }

Rows::Rows(pg_result* owned) : result_(owned) {}

std::size_t Rows::size() const { return result_ ? static_cast<std::size_t>(PQntuples(result_.get())) : 0; }
std::size_t Rows::columns() const { return result_ ? static_cast<std::size_t>(PQnfields(result_.get())) : 0; }

namespace {
void check(const Rows& rows, std::size_t row, std::size_t column) {
  if (row >= rows.size() || column >= rows.columns())
    throw std::out_of_range("row " + std::to_string(row) + ", column " + std::to_string(column) + " of an answer of " +
                            std::to_string(rows.size()) + " × " + std::to_string(rows.columns()));
}
}  // namespace

bool Rows::null(std::size_t row, std::size_t column) const {
  check(*this, row, column);
  return PQgetisnull(result_.get(), static_cast<int>(row), static_cast<int>(column)) != 0;
}

std::string_view Rows::text(std::size_t row, std::size_t column) const {
  check(*this, row, column);
  const int r = static_cast<int>(row), c = static_cast<int>(column);
  return {PQgetvalue(result_.get(), r, c), static_cast<std::size_t>(PQgetlength(result_.get(), r, c))};
}

std::size_t Rows::column(std::string_view name) const {
  for (std::size_t i = 0; i < columns(); ++i)
    if (name == PQfname(result_.get(), static_cast<int>(i))) return i;
  throw std::out_of_range("the statement gives no column " + std::string(name));
}

std::int64_t Rows::integer(std::size_t row, std::size_t column) const {
  const auto value = text(row, column);
  std::int64_t out = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), out);
  if (value.empty() || error != std::errc() || end != value.data() + value.size())
    throw std::invalid_argument("column " + std::to_string(column) + " holds no whole number");
  return out;
}

std::optional<std::string> Rows::maybe(std::size_t row, std::size_t column) const {
  if (null(row, column)) return std::nullopt;
  return std::string(text(row, column));
}

std::vector<std::string> Rows::texts(std::size_t column) const {
  std::vector<std::string> out;
  out.reserve(size());
  for (std::size_t i = 0; i < size(); ++i) out.emplace_back(text(i, column));
  return out;
}

std::int64_t Rows::affected() const {
  if (!result_) return 0;
  const std::string_view count = PQcmdTuples(result_.get());
  std::int64_t out = 0;
  std::from_chars(count.data(), count.data() + count.size(), out);
  return out;
}

}  // namespace enishi::pg

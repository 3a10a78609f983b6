// Parameters out, rows in. Both travel as text, typed by the server when it prepares the statement.
//
//   auto rows = co_await db.read(sql::customers::find_customer, params(id, "田中", 42, nullptr, uuids));
//   if (!rows) co_return tl::make_unexpected(rows.error());
//   std::string_view body = rows->text(0, 0);
#pragma once
#include <array>
#include <charconv>
#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.hpp"

struct pg_result;  // libpq's PGresult

namespace enishi::pg {

/// One parameter: text or NULL.
using Param = std::optional<std::string>;
using Params = std::vector<Param>;

inline Param param(std::nullptr_t) { return std::nullopt; }
inline Param param(std::nullopt_t) { return std::nullopt; }
inline Param param(std::string_view v) { return std::string(v); }
inline Param param(const std::string& v) { return v; }
inline Param param(std::string&& v) { return std::move(v); }
inline Param param(const char* v) { return std::string(v); }
inline Param param(bool v) { return std::string(v ? "t" : "f"); }
template <std::integral T>
  requires(!std::same_as<T, bool>)
Param param(T v) {
  return std::to_string(v);
}
Param param(double v);
inline Param param(const Uuid& v) { return v.str(); }
template <class Tag>
Param param(const Id<Tag>& v) {
  return v.value.str();
}
template <class T>
Param param(const std::vector<T>& v);
template <class T>
Param param(const std::optional<T>& v) {
  return v ? param(*v) : std::nullopt;
}
/// An array literal, {…}, with every element quoted as PostgreSQL reads it: for text[], uuid[], int[] …
template <class T>
Param param(const std::vector<T>& v);

template <class T>
void append(Params& to, T&& value) {
  to.push_back(param(std::forward<T>(value)));
}
template <std::size_t N>
void append(Params& to, std::array<Param, N> values) {
  for (auto& value : values) to.push_back(std::move(value));
}
/// Each value is one parameter; a std::array of Param is as many as it holds.
template <class... T>
Params params(T&&... values) {
  Params out;
  out.reserve(sizeof...(values) + 2);
  (append(out, std::forward<T>(values)), ...);
  return out;
}

/// Appends `element` to an array literal that is being built.
void append_array_element(std::string& literal, const Param& element);

template <class T>
Param param(const std::vector<T>& v) {
  std::string out = "{";
  for (const auto& element : v) append_array_element(out, param(element));
  out.push_back('}');
  return out;
}

/// The rows of one answer. Movable; views into it live as long as it does.
class Rows {
 public:
  Rows() = default;
  explicit Rows(pg_result* owned);
  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] bool empty() const { return size() == 0; }
  [[nodiscard]] std::size_t columns() const;
  [[nodiscard]] bool null(std::size_t row, std::size_t column) const;
  /// The value as text; empty for NULL.
  [[nodiscard]] std::string_view text(std::size_t row, std::size_t column) const;
  /// Column by its name; throws std::out_of_range for a name the statement does not give.
  [[nodiscard]] std::size_t column(std::string_view name) const;
  /// A whole number; throws std::invalid_argument for text that is none, and for NULL.
  [[nodiscard]] std::int64_t integer(std::size_t row, std::size_t column) const;
  [[nodiscard]] bool boolean(std::size_t row, std::size_t column) const { return text(row, column) == "t"; }
  [[nodiscard]] std::optional<std::string> maybe(std::size_t row, std::size_t column) const;
  /// A whole column, as text() gives each.
  [[nodiscard]] std::vector<std::string> texts(std::size_t column) const;
  /// Rows that INSERT, UPDATE or DELETE touched.
  [[nodiscard]] std::int64_t affected() const;

 private:
  struct Clear {
    void operator()(pg_result* r) const;
  };
  std::unique_ptr<pg_result, Clear> result_;
};

}  // namespace enishi::pg

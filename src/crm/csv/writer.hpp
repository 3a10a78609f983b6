// Writes CSV that Excel opens as it is: UTF-8 with a byte order mark, CRLF, and no cell that becomes a formula.
//
//   csv::Writer writer({});
//   writer.row({"氏名", "電話番号"}, out);
//   writer.row({"=1+1", "03-1234-5678"}, out);   // '=1+1,03-1234-5678
//   for (const auto& u : writer.unencodable()) …  // with Encoding::CP932: what it could not hold, and where
#pragma once
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "crm/csv/encoding.hpp"

namespace enishi::crm::csv {

struct WriteOptions {
  Encoding encoding = Encoding::UTF8;  ///< AUTO is UTF8
  bool bom = true;                     ///< of UTF-8; Excel takes the file for CP932 without it
  char delimiter = ',';
  bool guard = true;  ///< off only for files that no spreadsheet opens
};

/// A character that CP932 has not; the file has 〓 in its place.
struct Unencodable {
  std::uint64_t row = 0;   ///< from 1, the header included
  std::size_t column = 0;  ///< from 1
  std::string character;   ///< UTF-8
  friend bool operator==(const Unencodable&, const Unencodable&) = default;
};

/// A field that begins with = + - @ tab CR or LF, full width too, gets an apostrophe, so that no spreadsheet runs it (OWASP, CSV
/// injection); a plain negative number stays. One that begins with apostrophes and then with one of these gets another, so that unguard()
/// undoes it without loss.
[[nodiscard]] std::string guard(std::string_view field);
/// For importing what we exported.
[[nodiscard]] std::string_view unguard(std::string_view field);

class Writer {
 public:
  static constexpr std::size_t max_unencodable = 1000;

  explicit Writer(WriteOptions options) : options_(options) {}

  /// Appends one row to `out`.
  void row(std::span<const std::string_view> fields, std::string& out);
  void row(std::initializer_list<std::string_view> fields, std::string& out) { row(std::span(fields.begin(), fields.size()), out); }
  void row(const std::vector<std::string>& fields, std::string& out);

  /// The first max_unencodable of them.
  [[nodiscard]] const std::vector<Unencodable>& unencodable() const { return unencodable_; }
  [[nodiscard]] std::uint64_t unencodable_count() const { return unencodable_count_; }

 private:
  void field(std::string_view text, std::size_t column, bool alone, std::string& out);

  WriteOptions options_;
  std::uint64_t rows_ = 0, unencodable_count_ = 0;
  std::vector<Unencodable> unencodable_;
};

}  // namespace enishi::crm::csv

// Reads CSV as it comes, in bounded memory, and accounts for every line: what is no row is a Reject with its lines and the reason.
//
//   csv::Reader reader({});
//   while (auto chunk = co_await body.read()) {
//     reader.feed(*chunk);
//     while (auto item = reader.next()) …   // std::variant<Row, Reject>
//   }
//   reader.finish();
//   while (auto item = reader.next()) …
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "crm/csv/encoding.hpp"

namespace enishi::crm::csv {

struct ReadOptions {
  Encoding encoding = Encoding::AUTO;
  char delimiter = ',';  ///< , ; or tab; another one throws std::invalid_argument (it may be half of a CP932 character)
  std::size_t max_row_bytes = 1 << 20;
  std::size_t max_field_bytes = 256 << 10;
  std::size_t max_fields = 1000;
};

/// Lines are those of the file, from 1; a quoted field may hold several.
struct Row {
  std::uint64_t line = 0;           ///< where the row begins
  std::vector<std::string> fields;  ///< UTF-8
  friend bool operator==(const Row&, const Row&) = default;
};

struct Reject {
  std::uint64_t line = 0, last_line = 0;
  std::size_t column = 0;  ///< the field, from 1
  /// CSV_UNDECODABLE, CSV_NUL, CSV_QUOTE (text behind a closing quote), CSV_UNCLOSED_QUOTE, CSV_FIELD_TOO_LARGE, CSV_ROW_TOO_LARGE,
  /// CSV_TOO_MANY_FIELDS, CSV_ENCODING_UNSUPPORTED (UTF-16: nothing of the file is read)
  std::string code;
  std::string detail;   ///< a sentence for the person who brought the file
  std::string excerpt;  ///< how the row begins, as UTF-8 with U+FFFD for what is none
  friend bool operator==(const Reject&, const Reject&) = default;
};

using Item = std::variant<Row, Reject>;

/// RFC 4180, with LF and CR as line ends too, and a quote inside an unquoted field as a plain character. Blank lines are no rows.
/// AUTO looks at 64 KiB from the first byte that is not ASCII on. Holds at most these, one row and what was fed and not yet read.
class Reader {
 public:
  explicit Reader(ReadOptions options);

  void feed(std::string_view bytes);
  /// There is no more. A row without a line end is a row; an open quote is a Reject from its first line on.
  void finish();
  /// Empty: feed more, or after finish(): that was all.
  [[nodiscard]] std::optional<Item> next();

  /// AUTO as long as all was ASCII.
  [[nodiscard]] Encoding encoding() const { return encoding_; }
  [[nodiscard]] std::uint64_t blank_lines() const { return blank_lines_; }

 private:
  enum class State { field_start, unquoted, quoted, quote_in_quoted };

  bool begin();
  bool decide_encoding();
  std::optional<Item> step(char c);
  void put(char c);
  void end_field();
  std::optional<Item> end_row();
  Item reject_row();
  void fail_row(const char* code, std::string detail);

  ReadOptions options_;
  Encoding encoding_;
  std::string buffer_;  // fed and not yet read from pos_ on
  std::size_t pos_ = 0;
  bool begun_ = false, finished_ = false, dead_ = false;

  State state_ = State::field_start;
  bool after_cr_ = false;
  std::uint64_t line_ = 1, blank_lines_ = 0;

  // The row that is being read.
  std::uint64_t row_line_ = 1;
  std::string text_;               // its fields, one behind the other, as they are in the file
  std::vector<std::size_t> ends_;  // where each field ends in text_
  std::string excerpt_;
  bool row_open_ = false, row_quoted_ = false;
  std::string error_code_, error_detail_;
  std::size_t error_column_ = 0;
};

}  // namespace enishi::crm::csv

#include "crm/csv/reader.hpp"

#include <fmt/format.h>

#include <stdexcept>
#include <utility>

namespace enishi::crm::csv {

namespace {

constexpr std::size_t guess_window = 64 << 10;
constexpr std::size_t excerpt_bytes = 160;

/// For people only: what is no character becomes U+FFFD, and the cut at the end disappears.
std::string readable(std::string_view bytes, Encoding encoding) {
  std::string out;
  for (std::size_t i = 0; i < bytes.size();) {
    std::size_t taken = 0;
    for (std::size_t n = 1; n <= 4 && i + n <= bytes.size() && taken == 0; ++n) {
      const auto part = bytes.substr(i, n);
      if (part[0] == '\0') break;
      const auto text = encoding == Encoding::CP932 ? cp932_to_utf8(part) : is_utf8(part) ? std::optional(std::string(part)) : std::nullopt;
      if (!text) continue;
      out += *text;
      taken = n;
    }
    if (taken == 0 && (bytes.size() - i >= 4 || bytes.size() < excerpt_bytes)) out += "\xef\xbf\xbd";
    i += taken == 0 ? 1 : taken;
  }
  return out;
}

}  // namespace

Reader::Reader(ReadOptions options) : options_(options), encoding_(options.encoding) {
  if (options.delimiter != ',' && options.delimiter != ';' && options.delimiter != '\t')
    throw std::invalid_argument("a CSV delimiter is , ; or tab");
}

void Reader::feed(std::string_view bytes) {
  buffer_.erase(0, std::exchange(pos_, 0));
  buffer_ += bytes;
}

void Reader::finish() { finished_ = true; }

std::optional<Item> Reader::next() {
  if (dead_ || !begin()) return std::nullopt;
  if (buffer_.starts_with("\xff\xfe") || buffer_.starts_with("\xfe\xff")) {
    if (!row_open_ && line_ == 1 && pos_ == 0 && encoding_ == options_.encoding) {
      dead_ = true;
      return Reject{1, 1, 0, "CSV_ENCODING_UNSUPPORTED", "The file is UTF-16; save it as UTF-8 or as CSV of Windows in Japanese.", {}};
    }
  }
  while (pos_ < buffer_.size()) {
    if (encoding_ == Encoding::AUTO && static_cast<unsigned char>(buffer_[pos_]) >= 0x80 && !decide_encoding()) return std::nullopt;
    if (auto item = step(buffer_[pos_++])) return item;
  }
  if (!finished_ || !row_open_) return std::nullopt;
  if (state_ == State::quoted)
    fail_row("CSV_UNCLOSED_QUOTE", "A quote is opened and never closed: the file is cut off, or a quote is missing.");
  return end_row();
}

/// Waits for the bytes a byte order mark may have, and takes it off.
bool Reader::begin() {
  if (begun_) return true;
  constexpr std::string_view bom = "\xef\xbb\xbf";
  if (buffer_.size() < bom.size() && !finished_) return false;
  begun_ = true;
  if (buffer_.starts_with(bom)) {
    pos_ = bom.size();
    if (encoding_ == Encoding::AUTO) encoding_ = Encoding::UTF8;
  }
  return true;
}

bool Reader::decide_encoding() {
  const auto ahead = std::string_view(buffer_).substr(pos_);
  if (ahead.size() < guess_window && !finished_) return false;
  encoding_ = guess_encoding(ahead.substr(0, guess_window));
  return true;
}

std::optional<Item> Reader::step(char c) {
  const bool line_end = c == '\n' || c == '\r';
  const bool second_half = c == '\n' && after_cr_;
  after_cr_ = c == '\r';
  if (!row_open_) {
    if (second_half) return std::nullopt;
    row_open_ = true;
    row_line_ = line_;
  }
  if (excerpt_.size() < excerpt_bytes && !(line_end && state_ != State::quoted)) excerpt_.push_back(c);

  if (state_ == State::quoted) {
    if (c == '"') {
      state_ = State::quote_in_quoted;
    } else {
      put(c);
      if (line_end && !second_half) ++line_;
    }
    return std::nullopt;
  }
  if (line_end) {
    auto item = end_row();
    ++line_;
    return item;
  }
  if (c == options_.delimiter) {
    end_field();
  } else if (c == '"' && state_ == State::field_start) {
    state_ = State::quoted;
    row_quoted_ = true;
  } else if (c == '"' && state_ == State::quote_in_quoted) {
    put('"');
    state_ = State::quoted;
  } else {
    if (state_ == State::quote_in_quoted) fail_row("CSV_QUOTE", "Text follows a closing quote; a quote inside a field is written twice.");
    put(c);
    state_ = State::unquoted;
  }
  return std::nullopt;
}

void Reader::put(char c) {
  if (!error_code_.empty()) return;
  const auto begin = ends_.empty() ? 0 : ends_.back();
  if (c == '\0') {
    fail_row("CSV_NUL", "The row has a NUL byte: the file is damaged or no CSV.");
  } else if (text_.size() - begin >= options_.max_field_bytes) {
    fail_row("CSV_FIELD_TOO_LARGE", fmt::format("A field is larger than {} bytes; is a closing quote missing?", options_.max_field_bytes));
  } else if (text_.size() >= options_.max_row_bytes) {
    fail_row("CSV_ROW_TOO_LARGE", fmt::format("The row is larger than {} bytes; is a closing quote missing?", options_.max_row_bytes));
  } else {
    text_.push_back(c);
  }
}

void Reader::end_field() {
  state_ = State::field_start;
  if (!error_code_.empty()) return;
  ends_.push_back(text_.size());
  if (ends_.size() >= options_.max_fields)
    fail_row("CSV_TOO_MANY_FIELDS", fmt::format("The row has more than {} fields.", options_.max_fields));
}

void Reader::fail_row(const char* code, std::string detail) {
  if (!error_code_.empty()) return;
  error_code_ = code;
  error_detail_ = std::move(detail);
  error_column_ = ends_.size() + 1;
}

std::optional<Item> Reader::end_row() {
  state_ = State::field_start;
  std::optional<Item> item;
  if (error_code_.empty() && ends_.empty() && text_.empty() && !row_quoted_) {
    ++blank_lines_;
  } else if (!error_code_.empty()) {
    item = reject_row();
  } else {
    ends_.push_back(text_.size());
    Row row{row_line_, {}};
    row.fields.reserve(ends_.size());
    std::size_t begin = 0;
    for (const auto end : ends_) {
      const auto bytes = std::string_view(text_).substr(begin, end - begin);
      begin = end;
      auto field = encoding_ == Encoding::CP932 ? cp932_to_utf8(bytes) : is_utf8(bytes) ? std::optional(std::string(bytes)) : std::nullopt;
      if (!field) break;
      row.fields.push_back(std::move(*field));
    }
    if (row.fields.size() == ends_.size()) {
      item = std::move(row);
    } else {
      error_code_ = "CSV_UNDECODABLE";
      error_detail_ =
          fmt::format("Field {} has bytes that are no {} text.", row.fields.size() + 1, encoding_ == Encoding::CP932 ? "CP932" : "UTF-8");
      error_column_ = row.fields.size() + 1;
      item = reject_row();
    }
  }
  text_.clear();
  ends_.clear();
  excerpt_.clear();
  error_code_.clear();
  row_open_ = row_quoted_ = false;
  return item;
}

Item Reader::reject_row() {
  return Reject{row_line_, line_, error_column_, std::move(error_code_), std::move(error_detail_), readable(excerpt_, encoding_)};
}

}  // namespace enishi::crm::csv

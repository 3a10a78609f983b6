// What sample data is drawn with and written as: one well-mixed number a (seed, stream, index, draw) in any order, and rows of COPY.
//
//   auto d = Draw(seed, stream, i);              // the same i draws the same things, whatever was drawn before
//   RowText(out) << id << d.pick(names) << nullptr;
#pragma once
#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

namespace enishi::cli::demo {

inline constexpr std::int64_t kDay = 86400;
inline constexpr std::int64_t kJapan = 9 * 3600;  ///< no daylight saving since 1951

/// splitmix64 (Steele, Lea, Flood 2014): one well-mixed number a (seed, stream, index, draw), in any order.
inline std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

class Draw {
 public:
  Draw(std::uint64_t seed, std::uint64_t stream, std::int64_t index)
      : state_(mix(mix(seed * 64 + stream) ^ static_cast<std::uint64_t>(index))) {}
  std::uint64_t next() { return state_ = mix(state_); }
  std::int64_t below(std::int64_t n) { return static_cast<std::int64_t>(next() % static_cast<std::uint64_t>(n)); }
  bool percent(int p) { return below(100) < p; }
  template <class T>
  const auto& pick(const T& all) {
    return all[static_cast<std::size_t>(below(static_cast<std::int64_t>(all.size())))];
  }

 private:
  std::uint64_t state_;
};

inline void civil(std::int64_t days, int& y, int& m, int& d) {
  const std::chrono::year_month_day date{std::chrono::sys_days{std::chrono::days{days}}};
  y = static_cast<int>(date.year());
  m = static_cast<int>(static_cast<unsigned>(date.month()));
  d = static_cast<int>(static_cast<unsigned>(date.day()));
}

/// "2026-11-22 09:00:00+00" of seconds since 1970.
inline std::string stamp(std::int64_t at) {
  int y, m, d;
  const auto days = (at >= 0 ? at : at - kDay + 1) / kDay;
  const auto rest = at - days * kDay;
  civil(days, y, m, d);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}+00", y, m, d, rest / 3600, rest / 60 % 60, rest % 60);
}

/// Rows of COPY's text format: tabs between, backslashes escaped.
class RowText {
 public:
  explicit RowText(std::string& out) : out_(out) {}
  template <class T>
  RowText& operator<<(const T& value) {
    if (!first_) out_.push_back('\t');
    first_ = false;
    if constexpr (std::is_same_v<T, std::nullptr_t>) {
      out_ += "\\N";
    } else if constexpr (std::is_convertible_v<T, std::string_view>) {
      for (const char c : std::string_view(value)) {
        if (c == '\\' || c == '\t' || c == '\n' || c == '\r') out_.push_back('\\');
        out_.push_back(c == '\n' ? 'n' : c == '\t' ? 't' : c == '\r' ? 'r' : c);
      }
    } else {
      fmt::format_to(std::back_inserter(out_), "{}", value);
    }
    return *this;
  }
  ~RowText() { out_.push_back('\n'); }
  RowText(const RowText&) = delete;
  RowText& operator=(const RowText&) = delete;

 private:
  std::string& out_;
  bool first_ = true;
};

}  // namespace enishi::cli::demo

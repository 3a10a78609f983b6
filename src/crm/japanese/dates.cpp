#include "crm/japanese/dates.hpp"

#include <fmt/format.h>

#include <array>
#include <optional>

#include "crm/japanese/unicode.hpp"

namespace enishi::crm::japanese {

namespace {

using std::chrono::day;
using std::chrono::month;
using std::chrono::year;

struct Era {
  std::u32string_view name;
  char32_t letter;
  int year_before;  // Gregorian year of era year 0
  Date first, last;
};

constexpr Date ymd(int y, unsigned m, unsigned d) { return {year(y), month(m), day(d)}; }

// Where two eras share a day (1912-07-30, 1926-12-25), both names are right for it.
constexpr std::array<Era, 5> eras{{
    {U"明治", U'm', 1867, ymd(1873, 1, 1), ymd(1912, 7, 30)},
    {U"大正", U't', 1911, ymd(1912, 7, 30), ymd(1926, 12, 25)},
    {U"昭和", U's', 1925, ymd(1926, 12, 25), ymd(1989, 1, 7)},
    {U"平成", U'h', 1988, ymd(1989, 1, 8), ymd(2019, 4, 30)},
    {U"令和", U'r', 2018, ymd(2019, 5, 1), ymd(9999, 12, 31)},
}};

/// A cursor over NFKC text.
struct Scanner {
  std::u32string_view rest;

  bool take(std::u32string_view word) {
    if (!rest.starts_with(word)) return false;
    rest.remove_prefix(word.size());
    return true;
  }
  [[nodiscard]] std::size_t digits() const {
    std::size_t n = 0;
    while (n < rest.size() && rest[n] >= U'0' && rest[n] <= U'9') ++n;
    return n;
  }
  std::optional<int> number(std::size_t at_least, std::size_t at_most) {
    const auto n = digits();
    if (n < at_least || n > at_most) return std::nullopt;
    int value = 0;
    for (const char32_t c : rest.substr(0, n)) value = value * 10 + static_cast<int>(c - U'0');
    rest.remove_prefix(n);
    return value;
  }
  /// One of the marks between numbers; the same one, or its partner of 年月日, is wanted later.
  char32_t mark() {
    if (rest.empty()) return 0;
    char32_t c = rest[0];
    if (c == U'‐' || c == U'‑' || c == U'–' || c == U'−' || c == U'ー') c = U'-';
    if (c != U'-' && c != U'/' && c != U'.' && c != U'年') return 0;
    rest.remove_prefix(1);
    return c;
  }
};

struct Parts {
  int y, m, d;
  const Era* era = nullptr;
};

const Era* take_era(Scanner& in) {
  for (const auto& era : eras) {
    if (in.take(era.name)) {
      in.take(U".");
      return &era;
    }
    if (!in.rest.empty() && (in.rest[0] == era.letter || in.rest[0] == era.letter - U'a' + U'A')) {
      in.rest.remove_prefix(1);
      in.take(U".");
      return &era;
    }
  }
  return nullptr;
}

/// Midnight, which spreadsheets put behind a date.
bool take_midnight(Scanner& in) {
  if (in.rest.empty()) return true;
  if (!in.take(U"T")) in.take(U" ");
  if (!in.take(U"00:00") && !in.take(U"0:00")) return false;
  if (in.take(U":00") && in.take(U"."))
    while (in.take(U"0")) continue;
  in.take(U"Z");
  return in.rest.empty();
}

std::optional<Parts> read(std::u32string_view text) {
  Scanner in{text};
  Parts p{};
  p.era = take_era(in);
  const std::size_t year_digits = p.era ? 2 : 4;
  if (const auto compact = in.digits() == year_digits + 4 ? in.number(year_digits + 4, year_digits + 4) : std::nullopt) {
    const int all = *compact;
    p.y = all / 10000;
    p.m = all / 100 % 100;
    p.d = all % 100;
    return take_midnight(in) ? std::optional(p) : std::nullopt;
  }
  if (p.era && in.take(U"元")) {
    p.y = 1;
  } else {
    const auto y = in.number(p.era ? 1 : 4, year_digits);
    if (!y) return std::nullopt;
    p.y = *y;
  }
  const auto first = in.mark();
  if (first == 0) return std::nullopt;
  const auto m = in.number(1, 2);
  if (!m) return std::nullopt;
  p.m = *m;
  if (first == U'年' ? !in.take(U"月") : in.mark() != first) return std::nullopt;
  const auto d = in.number(1, 2);
  if (!d) return std::nullopt;
  p.d = *d;
  if (first == U'年' && !in.take(U"日")) return std::nullopt;
  return take_midnight(in) ? std::optional(p) : std::nullopt;
}

}  // namespace

Result<Date> parse_date(std::string_view text) {
  const auto refuse = [&](const char* code, const std::string& why) {
    const auto shown = to_utf8(std::u32string_view(to_points(text.substr(0, 200))).substr(0, 40));
    return fail(Kind::unprocessable, code, fmt::format("「{}」 {}", shown, why));
  };
  constexpr auto example = "is no date; write it like 1950-04-01, 1950/4/1, S25.4.1 or 昭和25年4月1日.";
  if (text.size() > 200) return refuse("DATE_UNREADABLE", example);
  // A space between digits separates; any other is decoration (昭和 25年 4月).
  std::u32string plain;
  bool space = false;
  const auto digit = [](char32_t c) { return c >= U'0' && c <= U'9'; };
  for (const char32_t c : nfkc_points(text)) {
    if (is_invisible(c) || is_space(c)) {
      space = space || is_space(c);
      continue;
    }
    if (space && !plain.empty() && digit(plain.back()) && digit(c)) plain.push_back(U' ');
    space = false;
    plain.push_back(c);
  }
  const auto parts = read(plain);
  if (!parts) return refuse("DATE_UNREADABLE", example);

  const int gregorian = parts->era ? parts->era->year_before + parts->y : parts->y;
  const Date date(year(gregorian), month(static_cast<unsigned>(parts->m)), day(static_cast<unsigned>(parts->d)));
  if (!date.ok() || (parts->era && parts->y == 0)) return refuse("DATE_NOT_IN_CALENDAR", "is not in the calendar; check month and day.");
  if (parts->era && (date < parts->era->first || date > parts->era->last)) {
    return refuse("DATE_OUTSIDE_ERA", fmt::format("would be {}, but {} ran from {} to {}.", iso_date(date), to_utf8(parts->era->name),
                                                  iso_date(parts->era->first), iso_date(parts->era->last)));
  }
  if (gregorian < 1800) return refuse("DATE_UNREADABLE", "lies before 1800; check the year.");
  return date;
}

std::string iso_date(Date date) {
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                     static_cast<unsigned>(date.day()));
}

}  // namespace enishi::crm::japanese

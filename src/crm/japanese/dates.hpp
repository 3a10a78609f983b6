// Dates as people in Japan write them.
//
//   parse_date("S25.4.1")            // 1950-04-01; so do 1950/4/1, 19500401, 昭和25年4月1日, １９５０－４－１
//   parse_date("昭和64年1月8日")      // DATE_OUTSIDE_ERA: Heisei began that day
#pragma once
#include <chrono>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace enishi::crm::japanese {

/// A day of the Gregorian calendar, without a time zone. parse_date gives days that exist, years 1800 to 9999.
using Date = std::chrono::year_month_day;

/// A date: year month day with - / . or 年月日 between them, eight digits, or the same with an era (明治 大正 昭和 平成 令和, M T S H R,
/// ㍼; the first year may be 元). A midnight behind it, as spreadsheets add one, is dropped. The year comes first and is whole: 25/4/1 is
/// refused. Errors, all unprocessable: DATE_UNREADABLE, DATE_NOT_IN_CALENDAR (the 30th of February), DATE_OUTSIDE_ERA (an era has its first
/// and last day; Meiji counts from 1873, when Japan took up this calendar).
[[nodiscard]] Result<Date> parse_date(std::string_view text);

/// 1950-04-01, as PostgreSQL reads it.
[[nodiscard]] std::string iso_date(Date date);

}  // namespace enishi::crm::japanese

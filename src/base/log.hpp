// Logs: one JSON object a line on stderr. Never a secret, never a customer's name, phone or address.
//
//   log_info("listening", {{"address", "127.0.0.1:8080"}, {"shards", 2}});
#pragma once
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

namespace enishi {

enum class Level { debug, info, warning, error };

struct LogField {
  std::string_view key;
  std::string value;
  bool quoted;
  LogField(std::string_view k, std::string_view v) : key(k), value(v), quoted(true) {}
  LogField(std::string_view k, const std::string& v) : key(k), value(v), quoted(true) {}
  LogField(std::string_view k, const char* v) : key(k), value(v), quoted(true) {}
  LogField(std::string_view k, bool v) : key(k), value(v ? "true" : "false"), quoted(false) {}
  template <class T, std::enable_if_t<std::is_arithmetic_v<T> && !std::is_same_v<T, bool>, int> = 0>
  LogField(std::string_view k, T v) : key(k), value(std::to_string(v)), quoted(false) {}
};

void set_log_level(Level level);
Level log_level();
void log(Level level, std::string_view message, std::initializer_list<LogField> fields = {});
inline void log_debug(std::string_view m, std::initializer_list<LogField> f = {}) {
  if (log_level() <= Level::debug) log(Level::debug, m, f);
}
inline void log_info(std::string_view m, std::initializer_list<LogField> f = {}) { log(Level::info, m, f); }
inline void log_warning(std::string_view m, std::initializer_list<LogField> f = {}) { log(Level::warning, m, f); }
inline void log_error(std::string_view m, std::initializer_list<LogField> f = {}) { log(Level::error, m, f); }

/// `text` with JSON's escapes, without quotes around it. Bytes that are no UTF-8 become U+FFFD.
std::string json_escape(std::string_view text);
/// `"text"`, escaped.
std::string json_quote(std::string_view text);
/// Whether `text` is well-formed UTF-8 without U+0000 (which PostgreSQL's text cannot hold).
bool valid_text(std::string_view text);

}  // namespace enishi

#include "base/log.hpp"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <ctime>

#include "base/clock.hpp"

namespace enishi {
namespace {

std::atomic<Level> g_level{Level::info};

const char* name(Level level) {
  switch (level) {
    case Level::debug:
      return "debug";
    case Level::info:
      return "info";
    case Level::warning:
      return "warning";
    case Level::error:
      return "error";
  }
  return "info";
}

/// Length of the well-formed UTF-8 sequence at `s` (Unicode 15, table 3-7), or 0.
int sequence(const unsigned char* s, std::size_t n) {
  if (s[0] < 0x80) return 1;
  auto tail = [&](std::size_t i, unsigned char low = 0x80, unsigned char high = 0xbf) { return i < n && s[i] >= low && s[i] <= high; };
  if (s[0] >= 0xc2 && s[0] <= 0xdf) return tail(1) ? 2 : 0;
  if (s[0] >= 0xe0 && s[0] <= 0xef) return tail(1, s[0] == 0xe0 ? 0xa0 : 0x80, s[0] == 0xed ? 0x9f : 0xbf) && tail(2) ? 3 : 0;
  if (s[0] >= 0xf0 && s[0] <= 0xf4) return tail(1, s[0] == 0xf0 ? 0x90 : 0x80, s[0] == 0xf4 ? 0x8f : 0xbf) && tail(2) && tail(3) ? 4 : 0;
  return 0;
}

}  // namespace

void set_log_level(Level level) { g_level = level; }
Level log_level() { return g_level; }

std::string json_escape(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 8);
  const auto* s = reinterpret_cast<const unsigned char*>(text.data());
  for (std::size_t i = 0; i < text.size();) {
    const int n = sequence(s + i, text.size() - i);
    if (n == 0) {
      out += "\xEF\xBF\xBD";
      ++i;
      continue;
    }
    if (n > 1) {
      out.append(text, i, static_cast<std::size_t>(n));
    } else {
      switch (s[i]) {
        case '"':
          out += "\\\"";
          break;
        case '\\':
          out += "\\\\";
          break;
        case '\b':
          out += "\\b";
          break;
        case '\f':
          out += "\\f";
          break;
        case '\n':
          out += "\\n";
          break;
        case '\r':
          out += "\\r";
          break;
        case '\t':
          out += "\\t";
          break;
        default:
          if (s[i] < 0x20) {
            char code[8];
            std::snprintf(code, sizeof code, "\\u%04x", s[i]);
            out += code;
          } else {
            out.push_back(static_cast<char>(s[i]));
          }
      }
    }
    i += static_cast<std::size_t>(n);
  }
  return out;
}

std::string json_quote(std::string_view text) { return '"' + json_escape(text) + '"'; }

bool valid_text(std::string_view text) {
  const auto* s = reinterpret_cast<const unsigned char*>(text.data());
  for (std::size_t i = 0; i < text.size();) {
    const int n = s[i] == 0 ? 0 : sequence(s + i, text.size() - i);
    if (n == 0) return false;
    i += static_cast<std::size_t>(n);
  }
  return true;
}

std::string utc_now() {
  timespec ts{};
  clock_gettime(CLOCK_REALTIME, &ts);
  tm parts{};
  gmtime_r(&ts.tv_sec, &parts);
  char text[40];
  const auto n = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(text + n, sizeof text - n, ".%03ldZ", ts.tv_nsec / 1'000'000);
  return text;
}

void log(Level level, std::string_view message, std::initializer_list<LogField> fields) {
  if (level < log_level()) return;
  std::string line = R"({"time":")" + utc_now() + R"(","level":")" + name(level) + R"(","message":)" + json_quote(message);
  for (const auto& field : fields) {
    line += ',' + json_quote(field.key) + ':';
    line += field.quoted ? json_quote(field.value) : field.value;
  }
  line += "}\n";
  // One write(2) a line: lines of several threads do not mix.
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace enishi

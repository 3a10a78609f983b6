#include "crm/japanese/unicode.hpp"

#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/ustring.h>

#include <stdexcept>

namespace enishi::crm::japanese {

namespace {

void check(UErrorCode status) {
  if (U_FAILURE(status)) throw std::runtime_error(std::string("ICU: ") + u_errorName(status));
}

std::u16string to_utf16(std::string_view utf8) {
  std::u16string out(utf8.size(), u'\0');  // UTF-16 never has more units than UTF-8 has bytes
  std::int32_t length = 0;
  UErrorCode status = U_ZERO_ERROR;
  u_strFromUTF8WithSub(out.data(), static_cast<std::int32_t>(out.size()), &length, utf8.data(), static_cast<std::int32_t>(utf8.size()),
                       0xfffd, nullptr, &status);
  if (status != U_STRING_NOT_TERMINATED_WARNING) check(status);
  out.resize(static_cast<std::size_t>(length));
  return out;
}

std::u32string points_of(std::u16string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    char32_t c = text[i];
    if (c >= 0xd800 && c < 0xdc00 && i + 1 < text.size()) c = 0x10000 + ((c - 0xd800) << 10) + (text[++i] - 0xdc00u);
    out.push_back(c);
  }
  return out;
}

}  // namespace

std::u32string nfkc_points(std::string_view utf8) {
  auto text = to_utf16(utf8);
  // NFKC would make a space and a combining mark of them.
  for (auto& unit : text) {
    if (unit == 0x309b) unit = 0x3099;
    if (unit == 0x309c) unit = 0x309a;
  }
  UErrorCode status = U_ZERO_ERROR;
  const auto* normalizer = unorm2_getNFKCInstance(&status);
  check(status);
  const auto length = static_cast<std::int32_t>(text.size());
  if (unorm2_spanQuickCheckYes(normalizer, text.data(), length, &status) == length) return points_of(text);
  std::u16string out(text.size() + 16, u'\0');
  for (;;) {
    status = U_ZERO_ERROR;
    const auto needed = unorm2_normalize(normalizer, text.data(), length, out.data(), static_cast<std::int32_t>(out.size()), &status);
    if (status == U_BUFFER_OVERFLOW_ERROR) {
      out.resize(static_cast<std::size_t>(needed) + 1);
      continue;
    }
    if (status != U_STRING_NOT_TERMINATED_WARNING) check(status);
    out.resize(static_cast<std::size_t>(needed));
    return points_of(out);
  }
}

std::string nfkc(std::string_view utf8) { return to_utf8(nfkc_points(utf8)); }

std::u32string to_points(std::string_view utf8) { return points_of(to_utf16(utf8)); }

std::string to_utf8(std::u32string_view points) {
  std::string out;
  out.reserve(points.size() * 3);
  for (const char32_t c : points) {
    if (c < 0x80) {
      out.push_back(static_cast<char>(c));
    } else if (c < 0x800) {
      out.push_back(static_cast<char>(0xc0 | (c >> 6)));
      out.push_back(static_cast<char>(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
      out.push_back(static_cast<char>(0xe0 | (c >> 12)));
      out.push_back(static_cast<char>(0x80 | ((c >> 6) & 0x3f)));
      out.push_back(static_cast<char>(0x80 | (c & 0x3f)));
    } else {
      out.push_back(static_cast<char>(0xf0 | (c >> 18)));
      out.push_back(static_cast<char>(0x80 | ((c >> 12) & 0x3f)));
      out.push_back(static_cast<char>(0x80 | ((c >> 6) & 0x3f)));
      out.push_back(static_cast<char>(0x80 | (c & 0x3f)));
    }
  }
  return out;
}

bool is_space(char32_t c) { return u_isUWhiteSpace(static_cast<UChar32>(c)) != 0; }

bool is_invisible(char32_t c) {
  return !is_space(c) &&
         (u_iscntrl(static_cast<UChar32>(c)) != 0 || u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_DEFAULT_IGNORABLE_CODE_POINT) != 0);
}

std::string trimmed(std::string_view utf8) {
  const auto points = to_points(utf8);
  std::size_t begin = 0, end = points.size();
  auto blank = [](char32_t c) { return is_space(c) || is_invisible(c); };
  while (begin < end && blank(points[begin])) ++begin;
  while (end > begin && blank(points[end - 1])) --end;
  return to_utf8(std::u32string_view(points).substr(begin, end - begin));
}

}  // namespace enishi::crm::japanese

#include "crm/csv/encoding.hpp"

#include <iconv.h>

#include <array>
#include <memory>
#include <stdexcept>
#include <vector>

namespace enishi::crm::csv {

namespace {

constexpr int cut_off = -1;

/// Bytes of the UTF-8 character that begins `text`; 0 when it is none, cut_off when the text ends inside it.
int utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xc2 && lead <= 0xdf ? 2 : lead >= 0xe0 && lead <= 0xef ? 3 : lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
  if (length == 0) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if (i == text.size()) return cut_off;
    unsigned char low = 0x80, high = 0xbf;
    if (i == 1) {
      if (lead == 0xe0) low = 0xa0;
      if (lead == 0xed) high = 0x9f;
      if (lead == 0xf0) low = 0x90;
      if (lead == 0xf4) high = 0x8f;
    }
    if (byte(i) < low || byte(i) > high) return 0;
  }
  return static_cast<int>(length);
}

char32_t code_point(std::string_view character) {
  const auto byte = [&](std::size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(character[i])); };
  switch (character.size()) {
    case 1:
      return byte(0);
    case 2:
      return (byte(0) & 0x1f) << 6 | (byte(1) & 0x3f);
    case 3:
      return (byte(0) & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
    default:
      return (byte(0) & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f);
  }
}

void append_utf8(std::string& out, char16_t c) {
  if (c < 0x80) {
    out.push_back(static_cast<char>(c));
  } else if (c < 0x800) {
    out.push_back(static_cast<char>(0xc0 | (c >> 6)));
    out.push_back(static_cast<char>(0x80 | (c & 0x3f)));
  } else {
    out.push_back(static_cast<char>(0xe0 | (c >> 12)));
    out.push_back(static_cast<char>(0x80 | ((c >> 6) & 0x3f)));
    out.push_back(static_cast<char>(0x80 | (c & 0x3f)));
  }
}

/// CP932 both ways. 0 is no character: NUL is ASCII and never looked up.
struct Tables {
  std::vector<char16_t> decode = std::vector<char16_t>(0x10000);  // by byte, or by lead * 256 + trail
  std::vector<std::uint16_t> encode = std::vector<std::uint16_t>(0x10000);
};

class Converter {
 public:
  Converter(const char* to, const char* from) : handle_(iconv_open(to, from)) {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): POSIX has it so
    if (handle_ == reinterpret_cast<iconv_t>(-1))
      throw std::runtime_error(std::string("iconv has no conversion from ") + from + " to " + to);
  }
  ~Converter() { iconv_close(handle_); }
  Converter(const Converter&) = delete;
  Converter& operator=(const Converter&) = delete;

  /// Exactly one character, or nothing.
  std::string one(std::string in) {
    iconv(handle_, nullptr, nullptr, nullptr, nullptr);
    std::array<char, 8> out;
    char* from = in.data();
    char* to = out.data();
    std::size_t in_left = in.size(), out_left = out.size();
    if (iconv(handle_, &from, &in_left, &to, &out_left) == static_cast<std::size_t>(-1) || in_left != 0) return {};
    return {out.data(), out.size() - out_left};
  }

 private:
  iconv_t handle_;
};

bool is_lead(unsigned b) { return (b >= 0x81 && b <= 0x9f) || (b >= 0xe0 && b <= 0xfc); }
bool is_trail(unsigned b) { return b >= 0x40 && b <= 0xfc && b != 0x7f; }

Tables make_tables() {
  Tables t;
  Converter decoder("UTF-16LE", "CP932"), encoder("CP932", "UTF-16LE");
  const auto learn = [&](unsigned code, std::string bytes) {
    const auto text = decoder.one(std::move(bytes));
    if (text.size() != 2) return;
    const auto c = static_cast<char16_t>(static_cast<unsigned char>(text[0]) | static_cast<unsigned char>(text[1]) << 8);
    if (c == 0) return;
    t.decode[code] = c;
    // Some characters have two codes (NEC's and IBM's rows); the encoder knows which one Windows writes.
    const auto back = encoder.one(text);
    if (back.size() == 1) t.encode[c] = static_cast<unsigned char>(back[0]);
    if (back.size() == 2)
      t.encode[c] = static_cast<std::uint16_t>(static_cast<unsigned char>(back[0]) << 8 | static_cast<unsigned char>(back[1]));
  };
  for (unsigned b = 0xa1; b <= 0xdf; ++b) learn(b, {static_cast<char>(b)});
  for (unsigned lead = 0x81; lead <= 0xfc; ++lead) {
    if (!is_lead(lead)) continue;
    for (unsigned trail = 0x40; trail <= 0xfc; ++trail)
      if (is_trail(trail)) learn(lead << 8 | trail, {static_cast<char>(lead), static_cast<char>(trail)});
  }
  // What JIS X 0208 calls these characters, beside what Windows does.
  constexpr std::pair<char16_t, std::uint16_t> others[] = {
      {u'\u301c', 0x8160}, {u'\uff5e', 0x8160}, {u'\u2212', 0x817c}, {u'\uff0d', 0x817c}, {u'\u2016', 0x8161},
      {u'\u2225', 0x8161}, {u'\u2014', 0x815c}, {u'\u2015', 0x815c}, {u'\u00a2', 0x8191}, {u'\uffe0', 0x8191},
      {u'\u00a3', 0x8192}, {u'\uffe1', 0x8192}, {u'\u00ac', 0x81ca}, {u'\uffe2', 0x81ca}};
  for (const auto& [c, code] : others) t.encode[c] = code;
  t.decode[0x8160] = u'\uff5e';
  t.decode[0x817c] = u'\uff0d';
  return t;
}

const Tables& tables() {
  static const auto made = make_tables();
  return made;
}

/// Bytes of the CP932 character that begins `text`; 0 when it is none, cut_off when the text ends inside it.
int cp932_length(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  if (lead < 0x80) return 1;
  if (!is_lead(lead)) return tables().decode[lead] ? 1 : 0;
  if (text.size() < 2) return cut_off;
  const auto trail = static_cast<unsigned char>(text[1]);
  return is_trail(trail) && tables().decode[lead << 8 | trail] ? 2 : 0;
}

struct Fit {
  std::size_t good = 0, bad = 0;
};

template <class Length>
Fit fit(std::string_view bytes, Length length) {
  Fit out;
  for (std::size_t i = 0; i < bytes.size();) {
    const auto n = length(bytes.substr(i));
    if (n == cut_off) break;
    if (n == 0) ++out.bad;
    if (n > 0 && static_cast<unsigned char>(bytes[i]) >= 0x80) ++out.good;
    i += n > 0 ? static_cast<std::size_t>(n) : 1;
  }
  return out;
}

}  // namespace

Encoding guess_encoding(std::string_view bytes) {
  const auto utf8 = fit(bytes, utf8_length);
  if (utf8.bad == 0 || utf8.good > utf8.bad) return Encoding::UTF8;
  return utf8.good == utf8.bad && fit(bytes, cp932_length).bad > 0 ? Encoding::UTF8 : Encoding::CP932;
}

bool is_utf8(std::string_view bytes) {
  for (std::size_t i = 0; i < bytes.size();) {
    const auto n = utf8_length(bytes.substr(i));
    if (n <= 0) return false;
    i += static_cast<std::size_t>(n);
  }
  return true;
}

std::optional<std::string> cp932_to_utf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() * 3 / 2);
  for (std::size_t i = 0; i < bytes.size();) {
    const auto lead = static_cast<unsigned char>(bytes[i]);
    if (lead < 0x80) {
      out.push_back(bytes[i++]);
      continue;
    }
    const auto n = cp932_length(bytes.substr(i));
    if (n <= 0) return std::nullopt;
    append_utf8(out, tables().decode[n == 1 ? lead : static_cast<unsigned>(lead << 8 | static_cast<unsigned char>(bytes[i + 1]))]);
    i += static_cast<std::size_t>(n);
  }
  return out;
}

void utf8_to_cp932(std::string_view utf8, std::string& out, const std::function<void(std::string_view)>& unencodable) {
  for (std::size_t i = 0; i < utf8.size();) {
    const auto n = utf8_length(utf8.substr(i));
    const auto character = utf8.substr(i, n > 0 ? static_cast<std::size_t>(n) : 1);
    i += character.size();
    const auto c = n > 0 ? code_point(character) : 0xfffd;
    const auto code = c < 0x80 ? static_cast<std::uint16_t>(c) : c < 0x10000 ? tables().encode[c] : std::uint16_t{0};
    if (c >= 0x80 && code == 0) {
      out += "\x81\xac";
      unencodable(n > 0 ? character : "\xef\xbf\xbd");
      continue;
    }
    if (code > 0xff) out.push_back(static_cast<char>(code >> 8));
    out.push_back(static_cast<char>(code & 0xff));
  }
}

}  // namespace enishi::crm::csv

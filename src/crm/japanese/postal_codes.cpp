#include "crm/japanese/postal_codes.hpp"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <memory>
#include <stdexcept>

#include "crm/japanese/postal_data.hpp"
#include "crm/japanese/unicode.hpp"

namespace enishi::crm::japanese {

Result<std::string> normalize_postal_code(std::string_view text) {
  std::string digits;
  bool wrong = text.size() > 200;
  if (!wrong) {
    for (const char32_t c : nfkc_points(text)) {
      if (c >= U'0' && c <= U'9') {
        digits.push_back(static_cast<char>(c));
      } else {
        const bool sign = c == U'〒' || c == U'〶' || c == U'-' || c == U'ー' || c == U'−' || (c >= U'‐' && c <= U'―');
        wrong = wrong || !(sign || is_space(c) || is_invisible(c));
      }
    }
  }
  if (wrong || digits.size() != 7) {
    return fail(Kind::unprocessable, "POSTAL_CODE_INVALID",
                fmt::format("「{}」 is no postal code; write its seven digits, such as 150-0001{}.",
                            to_utf8(std::u32string_view(to_points(text.substr(0, 200))).substr(0, 40)),
                            digits.size() == 6 ? " (a spreadsheet may have dropped a leading zero)" : ""));
  }
  return digits;
}

namespace {

void deliver(std::string_view line, const std::function<void(const PostalRow&)>& callback) {
  std::array<std::string_view, 6> f;
  for (std::size_t i = 0; i < f.size(); ++i) {
    const auto tab = line.find('\t');
    if ((tab == line.npos) != (i + 1 == f.size())) throw std::runtime_error("postal codes: a line has the wrong number of fields");
    f[i] = line.substr(0, tab);
    line.remove_prefix(tab == line.npos ? line.size() : tab + 1);
  }
  callback({f[0], f[1], f[2], f[3], f[4], f[5]});
}

}  // namespace

void for_each_postal_row(const std::function<void(const PostalRow&)>& callback) {
  const auto file = std::ranges::find(embedded::postal_data, "postal_codes.tsv.gz", &embedded::File::path);
  if (file == embedded::postal_data.end()) throw std::runtime_error("postal codes: not in this binary");
  const auto packed = file->bytes;
  z_stream stream{};
  constexpr int gzip_format = 16 + MAX_WBITS;
  if (inflateInit2(&stream, gzip_format) != Z_OK) throw std::runtime_error("postal codes: zlib does not start");
  const std::unique_ptr<z_stream, int (*)(z_stream*)> closer(&stream, inflateEnd);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));  // zlib reads it only
  stream.avail_in = static_cast<uInt>(packed.size());

  std::string text;
  std::array<char, 65536> chunk;
  for (int state = Z_OK; state != Z_STREAM_END;) {
    stream.next_out = reinterpret_cast<Bytef*>(chunk.data());
    stream.avail_out = static_cast<uInt>(chunk.size());
    state = inflate(&stream, Z_NO_FLUSH);
    if (state != Z_OK && state != Z_STREAM_END) throw std::runtime_error("postal codes: the embedded data is damaged");
    text.append(chunk.data(), chunk.size() - stream.avail_out);
    std::size_t begin = 0;
    for (auto end = text.find('\n'); end != text.npos; end = text.find('\n', begin)) {
      deliver(std::string_view(text).substr(begin, end - begin), callback);
      begin = end + 1;
    }
    text.erase(0, begin);
  }
  if (!text.empty()) throw std::runtime_error("postal codes: the embedded data ends inside a line");
}

}  // namespace enishi::crm::japanese

// Reads big-endian fields out of a message, never past its end. The first thing that does not fit is kept with its offset; from then on
// everything reads as zero or empty, so a decoder checks once, at the end:
//
//   Reader in(bytes);
//   const auto lsn = in.u64("LSN");
//   if (auto bad = in.finish("Commit")) return tl::make_unexpected(*bad);
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "pgwire/frames.hpp"

namespace enishi::pgwire {

class Reader {
 public:
  explicit Reader(std::string_view bytes) : all_(bytes) {}
  std::uint8_t u8(const char* field) { return static_cast<std::uint8_t>(number(field, 1)); }
  std::uint16_t u16(const char* field) { return static_cast<std::uint16_t>(number(field, 2)); }
  std::uint32_t u32(const char* field) { return static_cast<std::uint32_t>(number(field, 4)); }
  std::uint64_t u64(const char* field) { return number(field, 8); }
  std::int16_t i16(const char* field) { return static_cast<std::int16_t>(u16(field)); }
  std::int32_t i32(const char* field) { return static_cast<std::int32_t>(u32(field)); }
  std::int64_t i64(const char* field) { return static_cast<std::int64_t>(u64(field)); }
  /// Text that ends with a zero byte, without it.
  std::string_view text(const char* field);
  /// So many bytes.
  std::string_view bytes(const char* field, std::size_t size);
  std::string_view rest();
  /// Keeps the first complaint, at the offset of the field that was read last.
  void wrong(std::string what);
  [[nodiscard]] bool good() const { return !wrong_; }
  [[nodiscard]] std::size_t left() const { return all_.size() - at_; }
  [[nodiscard]] std::size_t offset() const { return at_; }
  /// The first complaint, or that bytes are left over; nothing when all is well.
  [[nodiscard]] std::optional<DecodeError> finish(std::string_view message);

 private:
  std::uint64_t number(const char* field, std::size_t size);
  bool enough(const char* field, std::size_t size);
  std::string_view all_;
  std::size_t at_ = 0;
  std::size_t field_at_ = 0;
  std::optional<DecodeError> wrong_;
};

}  // namespace enishi::pgwire

#include "pgwire/reader.hpp"

#include <fmt/format.h>

namespace enishi::pgwire {

void Reader::wrong(std::string what) {
  if (!wrong_) wrong_ = DecodeError{field_at_, std::move(what)};
}

bool Reader::enough(const char* field, std::size_t size) {
  if (wrong_) return false;
  field_at_ = at_;
  if (left() >= size) return true;
  wrong(fmt::format("{} needs {} bytes, {} are left", field, size, left()));
  return false;
}

std::uint64_t Reader::number(const char* field, std::size_t size) {
  if (!enough(field, size)) return 0;
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < size; ++i) value = value << 8 | static_cast<std::uint8_t>(all_[at_ + i]);
  at_ += size;
  return value;
}

std::string_view Reader::text(const char* field) {
  if (!enough(field, 1)) return {};
  const auto end = all_.find('\0', at_);
  if (end == std::string_view::npos) {
    wrong(fmt::format("{} has no end", field));
    return {};
  }
  const auto out = all_.substr(at_, end - at_);
  at_ = end + 1;
  return out;
}

std::string_view Reader::bytes(const char* field, std::size_t size) {
  if (!enough(field, size)) return {};
  const auto out = all_.substr(at_, size);
  at_ += size;
  return out;
}

std::string_view Reader::rest() {
  if (wrong_) return {};
  const auto out = all_.substr(at_);
  at_ = all_.size();
  return out;
}

std::optional<DecodeError> Reader::finish(std::string_view message) {
  if (!wrong_ && left() > 0) wrong_ = DecodeError{at_, fmt::format("{} bytes are left over", left())};
  if (!wrong_) return std::nullopt;
  return DecodeError{wrong_->offset, fmt::format("{}: {}", message, wrong_->what)};
}

}  // namespace enishi::pgwire

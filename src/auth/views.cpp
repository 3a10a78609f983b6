#include "auth/views.hpp"

#include <charconv>

namespace enishi::auth {
namespace {

void append_number(std::string& literal, std::int64_t value) {
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  literal.append(digits, end).push_back(',');
}

void append_uuid(std::string& literal, const Uuid& id) {
  constexpr char kHex[] = "0123456789abcdef";
  char text[33];
  for (std::size_t i = 0; i < 16; ++i) {
    text[2 * i] = kHex[id.bytes[i] >> 4];
    text[2 * i + 1] = kHex[id.bytes[i] & 15];
  }
  text[32] = ',';
  literal.append(text, sizeof text);
}

void append_text(std::string& literal, std::string_view text) {
  literal.push_back('"');
  for (const char c : text) {
    if (c == '"' || c == '\\') literal.push_back('\\');
    literal.push_back(c);
  }
  literal.append("\",");
}

std::string closed(std::string& literal) {
  std::string out = std::move(literal);
  out.back() = '}';
  literal.clear();
  literal.reserve(out.size());
  return out;
}

}  // namespace

void ViewBuffer::add(const UserId& user, std::string_view operation, std::string_view entity, const std::optional<Uuid>& id, int rows,
                     std::string_view request) {
  if (count_++ == 0) {
    since_ = steady_now();
    for (auto* literal : {&after_, &users_, &operations_, &entities_, &ids_, &rows_, &requests_}) literal->push_back('{');
  }
  append_number(after_, std::chrono::duration_cast<Millis>(steady_now() - since_).count());
  append_uuid(users_, user.value);
  append_text(operations_, operation);
  append_text(entities_, entity);
  if (id)
    append_uuid(ids_, *id);
  else
    ids_.append("NULL,");
  append_number(rows_, rows);
  append_text(requests_, request);
}

ViewBuffer::Batch ViewBuffer::take() {
  Batch out;
  out.count = count_;
  out.since = since_;
  if (count_ == 0) return out;
  for (auto* literal : {&after_, &users_, &operations_, &entities_, &ids_, &rows_, &requests_}) out.arrays.push_back(closed(*literal));
  count_ = 0;
  return out;
}

}  // namespace enishi::auth

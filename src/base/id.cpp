#include "base/id.hpp"

#include <sys/random.h>

#include <chrono>
#include <cstring>
#include <stdexcept>

namespace enishi {
namespace {

/// getrandom(2) through a buffer a thread, refilled at a time: one system call for 32 ids.
void random_bytes(std::uint8_t* out, std::size_t n) {
  thread_local std::array<std::uint8_t, 512> pool;
  thread_local std::size_t used = pool.size();
  while (n > 0) {
    if (used == pool.size()) {
      if (getrandom(pool.data(), pool.size(), 0) != static_cast<ssize_t>(pool.size())) throw std::runtime_error("getrandom failed");
      used = 0;
    }
    const auto take = std::min(n, pool.size() - used);
    std::memcpy(out, pool.data() + used, take);
    std::memset(pool.data() + used, 0, take);
    used += take;
    out += take;
    n -= take;
  }
}

int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

constexpr char kHex[] = "0123456789abcdef";

}  // namespace

Uuid Uuid::make() {
  // RFC 9562, 6.2 method 2: 48 bits of milliseconds, 12 bits of counter, 62 random bits.
  thread_local std::uint64_t last_ms = 0;
  thread_local std::uint16_t counter = 0;
  using namespace std::chrono;
  auto ms = static_cast<std::uint64_t>(duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count());
  Uuid id;
  random_bytes(id.bytes.data() + 6, 10);
  if (ms > last_ms) {
    last_ms = ms;
    counter = static_cast<std::uint16_t>(((id.bytes[6] & 0x07) << 8) | id.bytes[7]);  // top bit clear: room to count
  } else if (++counter > 0x0fff) {
    ++last_ms;
    counter = 0;
  }
  ms = last_ms;
  for (int i = 0; i < 6; ++i) id.bytes[i] = static_cast<std::uint8_t>(ms >> (40 - 8 * i));
  id.bytes[6] = static_cast<std::uint8_t>(0x70 | (counter >> 8));
  id.bytes[7] = static_cast<std::uint8_t>(counter);
  id.bytes[8] = static_cast<std::uint8_t>((id.bytes[8] & 0x3f) | 0x80);
  return id;
}

std::optional<Uuid> Uuid::parse(std::string_view text) {
  if (text.size() != 36) return std::nullopt;
  Uuid id;
  std::size_t at = 0;
  for (std::size_t i = 0; i < 36;) {
    if (i == 8 || i == 13 || i == 18 || i == 23) {
      if (text[i++] != '-') return std::nullopt;
      continue;
    }
    const int high = hex(text[i]), low = hex(text[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    id.bytes[at++] = static_cast<std::uint8_t>(high * 16 + low);
    i += 2;
  }
  return id;
}

std::string Uuid::str() const {
  std::string out(36, '-');
  std::size_t at = 0;
  for (std::size_t i = 0; i < 16; ++i) {
    if (at == 8 || at == 13 || at == 18 || at == 23) ++at;
    out[at++] = kHex[bytes[i] >> 4];
    out[at++] = kHex[bytes[i] & 15];
  }
  return out;
}

std::string random_hex(std::size_t n) {
  std::string raw(n, '\0'), out(2 * n, '\0');
  random_bytes(reinterpret_cast<std::uint8_t*>(raw.data()), n);
  for (std::size_t i = 0; i < n; ++i) {
    out[2 * i] = kHex[static_cast<std::uint8_t>(raw[i]) >> 4];
    out[2 * i + 1] = kHex[static_cast<std::uint8_t>(raw[i]) & 15];
  }
  return out;
}

std::string random_token(std::size_t n) {
  static constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string raw(n, '\0'), out;
  random_bytes(reinterpret_cast<std::uint8_t*>(raw.data()), n);
  std::uint32_t bits = 0;
  int have = 0;
  for (const char c : raw) {
    bits = (bits << 8) | static_cast<std::uint8_t>(c);
    have += 8;
    while (have >= 6) {
      have -= 6;
      out.push_back(kAlphabet[(bits >> have) & 63]);
    }
  }
  if (have > 0) out.push_back(kAlphabet[(bits << (6 - have)) & 63]);
  return out;
}

}  // namespace enishi

#include "auth/tokens.hpp"

#include <sodium.h>

#include <cstring>

namespace enishi::auth {

Digest sha256(std::string_view bytes) {
  Digest out;
  crypto_hash_sha256(out.data(), reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  return out;
}

pg::Param bytea(const Digest& digest) {
  std::string out = "\\x";
  out.resize(2 + digest.size() * 2 + 1);
  sodium_bin2hex(out.data() + 2, digest.size() * 2 + 1, digest.data(), digest.size());
  out.pop_back();
  return out;
}

bool same_secret(std::string_view a, std::string_view b) {
  return a.size() == b.size() && !a.empty() && sodium_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::size_t DigestHash::operator()(const Digest& d) const noexcept {
  std::size_t out = 0;
  std::memcpy(&out, d.data(), sizeof out);
  return out;
}

}  // namespace enishi::auth

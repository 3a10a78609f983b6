// Secrets that a client holds (session cookies, API tokens, one-time links): 256 random bits, of which only the SHA-256 is stored.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "pg/values.hpp"

namespace enishi::auth {

using Digest = std::array<std::uint8_t, 32>;

Digest sha256(std::string_view bytes);
/// The digest as a bytea parameter.
pg::Param bytea(const Digest& digest);
/// Equal, in a time that does not depend on where they differ.
bool same_secret(std::string_view a, std::string_view b);

struct DigestHash {
  std::size_t operator()(const Digest& d) const noexcept;
};

}  // namespace enishi::auth

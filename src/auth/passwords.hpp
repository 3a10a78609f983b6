// Passwords: Argon2id (RFC 9106) by libsodium on two threads of their own, so that no shard blocks and that logging in takes a bounded
// amount of memory: two times Cost::memory. With more waiting than that, OffloadFull is thrown and the request is answered 503.
//
//   auto verdict = co_await passwords.verify(stored, given);     // stored nothing: the same work, and wrong
//   if (verdict.right && verdict.stale) …                        // hashed with other parameters than today's: hash again
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/id.hpp"
#include "io/offload.hpp"

namespace enishi::auth {

class Passwords {
 public:
  struct Cost {
    std::size_t memory = 48U * 1024 * 1024;  ///< bytes; twice this and the rest of the server stay below 150 MB
    unsigned long long passes = 3;
  };
  explicit Passwords(Cost cost);
  Task<std::string> hash(std::string password);
  struct Verdict {
    bool right = false;
    bool stale = false;
  };
  Task<Verdict> verify(std::optional<std::string> stored, std::string password);

 private:
  Cost cost_;
  Offload pool_;
};

/// Why a new password is refused: PASSWORD_TOO_SHORT (10 characters), PASSWORD_TOO_LONG (200), PASSWORD_IS_LOGIN, PASSWORD_COMMON. No rules
/// about kinds of characters (NIST SP 800-63B, 5.1.1.2).
std::optional<FieldError> refuse_password(std::string_view pointer, std::string_view password, std::string_view login);

}  // namespace enishi::auth

// Strong ids. Every id is a UUIDv7 (RFC 9562): made by the client or the server, ordered by time to the millisecond, so
// that new rows land at the end of an index. `Id<struct InquiryTag>` and `Id<struct CustomerTag>` do not mix.
#pragma once
#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace enishi {

struct Uuid {
  std::array<std::uint8_t, 16> bytes{};

  /// A new version 7 id. Ids made by one thread ascend strictly, also within a millisecond.
  static Uuid make();
  /// Reads 8-4-4-4-12 hex digits, either case; anything else is nothing.
  static std::optional<Uuid> parse(std::string_view text);
  [[nodiscard]] std::string str() const;
  [[nodiscard]] bool nil() const { return bytes == std::array<std::uint8_t, 16>{}; }
  auto operator<=>(const Uuid&) const = default;
};

template <class Tag>
struct Id {
  Uuid value;
  static Id make() { return Id{Uuid::make()}; }
  static std::optional<Id> parse(std::string_view text) {
    auto uuid = Uuid::parse(text);
    return uuid ? std::optional<Id>(Id{*uuid}) : std::nullopt;
  }
  [[nodiscard]] std::string str() const { return value.str(); }
  auto operator<=>(const Id&) const = default;
};

using UserId = Id<struct UserTag>;
using TeamId = Id<struct TeamTag>;
using CustomerId = Id<struct CustomerTag>;
using InquiryId = Id<struct InquiryTag>;
using CallTaskId = Id<struct CallTaskTag>;
using CallAttemptId = Id<struct CallAttemptTag>;
using AppointmentId = Id<struct AppointmentTag>;
using ImportId = Id<struct ImportTag>;

/// `n` bytes from the system's generator, as lower-case hex (2n characters). For tokens and nonces.
std::string random_hex(std::size_t n);
/// `n` bytes from the system's generator, as unpadded base64url.
std::string random_token(std::size_t n);

}  // namespace enishi

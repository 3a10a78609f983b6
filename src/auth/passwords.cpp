#include "auth/passwords.hpp"

#include <sodium.h>

#include <algorithm>
#include <array>
#include <stdexcept>

namespace enishi::auth {
namespace {

constexpr unsigned kAtOnce = 2;
constexpr std::size_t kMostWaiting = 200;

std::string hash_now(const Passwords::Cost& cost, const std::string& password) {
  std::array<char, crypto_pwhash_STRBYTES> out{};
  if (crypto_pwhash_str_alg(out.data(), password.data(), password.size(), cost.passes, cost.memory, crypto_pwhash_ALG_ARGON2ID13) != 0)
    throw std::runtime_error("no memory to hash a password");
  return out.data();
}

/// Hash of a password nobody has: an unknown login costs what a known one costs.
const std::string& dummy(const Passwords::Cost& cost) {
  static const std::string made = hash_now(cost, random_token(24));
  return made;
}

/// The most common passwords of ten characters and more; shorter ones are refused by their length. In lower case.
constexpr std::string_view kCommon[] = {
    "1234567890",  "0123456789",  "12345678910",  "123456789012",  "0987654321",     "9876543210",  "1111111111",   "0000000000",
    "1122334455",  "1234512345",  "1q2w3e4r5t",   "1q2w3e4r5t6y",  "1qaz2wsx3edc",   "q1w2e3r4t5",  "q1w2e3r4t5y6", "qwertyuiop",
    "qwerty1234",  "qwerty12345", "qwerty123456", "qwertyuiop123", "asdfghjkl1",     "asdfghjkl;",  "zaq12wsxcde3", "zxcvbnm123",
    "zxcvbnm1234", "abc1234567",  "abcd123456",   "abcd1234567",   "abcde12345",     "abcdef1234",  "abcdefghij",   "abcdefghijk",
    "aa12345678",  "a123456789",  "a1234567890",  "password00",    "password01",     "password10",  "password11",   "password12",
    "password99",  "password123", "password1234", "password12345", "password123456", "passw0rd123", "p@ssw0rd123",  "p@ssword123",
    "mypassword",  "newpassword", "changemenow",  "changeme123",   "letmein123",     "letmein1234", "welcome123",   "welcome1234",
    "iloveyou123", "iloveyou12",  "admin12345",   "admin123456",   "administrator",  "superadmin",  "operator123",  "football123",
    "baseball123", "basketball",  "sunshine123",  "princess123",   "michael123",     "computer123", "internet123",  "liverpool1",
    "manchester",  "spongebob1",  "motorola123",  "minecraft123",  "pokemon1234",    "doraemon123", "sakura1234",   "tokyo12345",
    "nippon1234",  "japan12345",  "enishi1234",   "enishi12345",   "test123456",     "testtest123", "guest12345"};

std::size_t characters(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (auto& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

}  // namespace

Passwords::Passwords(Cost cost) : cost_(cost), pool_(kAtOnce, kMostWaiting) {
  if (sodium_init() < 0) throw std::runtime_error("libsodium cannot start");
}

Task<std::string> Passwords::hash(std::string password) {
  auto work = [cost = cost_, password = std::move(password)] { return hash_now(cost, password); };
  co_return co_await pool_.run(std::move(work));
}

Task<Passwords::Verdict> Passwords::verify(std::optional<std::string> stored, std::string password) {
  auto work = [cost = cost_, stored = std::move(stored), password = std::move(password)] {
    const std::string& nobody = dummy(cost);
    const std::string& against = stored ? *stored : nobody;
    Verdict out;
    out.right = crypto_pwhash_str_verify(against.c_str(), password.data(), password.size()) == 0 && stored.has_value();
    out.stale = out.right && crypto_pwhash_str_needs_rehash(against.c_str(), cost.passes, cost.memory) != 0;
    return out;
  };
  co_return co_await pool_.run(std::move(work));
}

std::optional<FieldError> refuse_password(std::string_view pointer, std::string_view password, std::string_view login) {
  const auto n = characters(password);
  if (n < 10)
    return FieldError{std::string(pointer), "PASSWORD_TOO_SHORT", "at least 10 characters; a few words in a row are easy to remember"};
  if (n > 200) return FieldError{std::string(pointer), "PASSWORD_TOO_LONG", "at most 200 characters"};
  const auto small = lower(password);
  const auto name = lower(login);
  if (small.starts_with(name) && small.find_first_not_of("0123456789", name.size()) == std::string::npos)
    return FieldError{std::string(pointer), "PASSWORD_IS_LOGIN", "must not be the login name"};
  const bool one_character = small.find_first_not_of(small.front()) == std::string::npos;
  if (one_character || std::find(std::begin(kCommon), std::end(kCommon), small) != std::end(kCommon))
    return FieldError{std::string(pointer), "PASSWORD_COMMON", "among the most used passwords, which are tried first"};
  return std::nullopt;
}

}  // namespace enishi::auth

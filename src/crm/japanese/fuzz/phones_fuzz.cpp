// Whatever bytes a cell holds, parse_phones ends, keeps its bounds, and reads its own E.164 back.
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "crm/japanese/names.hpp"
#include "crm/japanese/phones.hpp"
#include "crm/japanese/postal_codes.hpp"

namespace {
void require(bool holds, int line = __builtin_LINE()) {
  if (holds) return;
  std::fprintf(stderr, "line %d does not hold\n", line);
  std::abort();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace enishi::crm::japanese;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto phones = parse_phones(text)) {
    require(!phones->empty() && phones->size() <= max_phones);
    for (const auto& phone : *phones) {
      require(phone.possible == !phone.e164.empty());
      require(phone.extension.size() <= 10 && !phone.raw.empty());
      if (phone.e164.empty()) continue;
      require(phone.e164[0] == '+' && phone.e164.size() >= 8 && phone.e164.size() <= 16);
      const auto again = parse_phones(phone.e164);
      if (!again || again->size() != 1 || again->front().e164 != phone.e164) std::fprintf(stderr, "%s\n", phone.e164.c_str());
      require(again && again->size() == 1 && again->front().e164 == phone.e164);
    }
  } else {
    require(!phones.error().code.empty());
  }
  const auto loose = loose_key(text);
  require(loose_key(loose) == loose);
  if (const auto code = normalize_postal_code(text)) require(code->size() == 7);
  return 0;
}

// Whatever bytes a cell holds, parse_date gives a day that exists, and reads its own way of writing it back.
#include <cstdint>
#include <cstdlib>

#include "crm/japanese/dates.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace enishi::crm::japanese;
  const auto date = parse_date({reinterpret_cast<const char*>(data), size});
  if (!date) return 0;
  const auto again = parse_date(iso_date(*date));
  if (!date->ok() || !again || *again != *date) std::abort();
  return 0;
}

// A file of the corpus: the protocol version in one byte, then each message after its length in two bytes.
#pragma once
#include <string_view>
#include <vector>

namespace enishi::pgwire::fuzz {

struct Scenario {
  unsigned version = 0;
  std::vector<std::string_view> messages;
};

inline Scenario read_scenario(std::string_view file) {
  Scenario out;
  if (file.empty()) return out;
  out.version = static_cast<unsigned char>(file[0]);
  for (std::size_t at = 1; at + 2 <= file.size();) {
    const auto size = static_cast<std::size_t>(static_cast<unsigned char>(file[at]) << 8 | static_cast<unsigned char>(file[at + 1]));
    out.messages.push_back(file.substr(at + 2, size));
    at += 2 + size;
  }
  return out;
}

}  // namespace enishi::pgwire::fuzz

#include <algorithm>

#include "http/http.hpp"

namespace enishi::http {

namespace beast = boost::beast;

std::string_view Request::header(std::string_view name) const {
  if (raw_headers == nullptr) return {};
  const auto& fields = *static_cast<const beast::http::fields*>(raw_headers);
  const auto at = fields.find(beast::string_view(name.data(), name.size()));
  if (at == fields.end()) return {};
  const auto value = at->value();
  return value.empty() ? std::string_view("") : std::string_view(value.data(), value.size());
}

std::string_view Request::cookie(std::string_view name) const {
  auto rest = header("Cookie");
  while (!rest.empty()) {
    const auto end = std::min(rest.find(';'), rest.size());
    auto part = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    while (!part.empty() && part.front() == ' ') part.remove_prefix(1);
    if (part.size() > name.size() && part[name.size()] == '=' && part.starts_with(name)) return part.substr(name.size() + 1);
  }
  return {};
}

std::string_view Request::segment(std::string_view name) const {
  for (const auto& [key, value] : segments)
    if (key == name) return value;
  return {};
}

std::optional<std::string_view> Request::parameter(std::string_view name) const {
  for (const auto& [key, value] : query)
    if (key == name) return std::string_view(value);
  return std::nullopt;
}

}  // namespace enishi::http

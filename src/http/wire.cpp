#include "http/wire.hpp"

#include <algorithm>
#include <charconv>

namespace enishi::http {
namespace {

bool lower_hex(std::string_view s) {
  return std::all_of(s.begin(), s.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace

std::string_view name_of(Method m) {
  switch (m) {
    case Method::get:
      return "GET";
    case Method::head:
      return "HEAD";
    case Method::post:
      return "POST";
    case Method::put:
      return "PUT";
    case Method::patch:
      return "PATCH";
    case Method::del:
      return "DELETE";
  }
  return "GET";
}

std::string allow_list(std::vector<Method> methods) {
  if (std::find(methods.begin(), methods.end(), Method::get) != methods.end() &&
      std::find(methods.begin(), methods.end(), Method::head) == methods.end())
    methods.push_back(Method::head);
  std::sort(methods.begin(), methods.end());
  std::string out;
  for (const auto m : methods) {
    if (!out.empty()) out += ", ";
    out += name_of(m);
  }
  return out;
}

bool sane_request_id(std::string_view id) {
  return id.size() >= 8 && id.size() <= 64 && std::all_of(id.begin(), id.end(), [](char c) {
           return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
         });
}

std::string_view trace_of(std::string_view parent) {
  if (parent.size() < 55 || parent[2] != '-' || parent[35] != '-' || parent[52] != '-') return {};
  const auto version = parent.substr(0, 2), trace = parent.substr(3, 32), span = parent.substr(36, 16), flags = parent.substr(53, 2);
  if (!lower_hex(version) || !lower_hex(trace) || !lower_hex(span) || !lower_hex(flags) || version == "ff") return {};
  if (version == "00" && parent.size() != 55) return {};
  if (parent.size() > 55 && parent[55] != '-') return {};
  if (trace.find_first_not_of('0') == std::string_view::npos || span.find_first_not_of('0') == std::string_view::npos) return {};
  return trace;
}

void append_number(std::string& out, std::uint64_t n, int base) {
  char text[24];
  const auto end = std::to_chars(text, text + sizeof text, n, base).ptr;
  out.append(text, static_cast<std::size_t>(end - text));
}

bool sane_field(std::string_view name, std::string_view value) {
  const auto bad = [](char c) { return c == '\r' || c == '\n' || c == '\0'; };
  return !name.empty() && std::none_of(value.begin(), value.end(), bad) &&
         std::all_of(name.begin(), name.end(), [](char c) { return c > 0x20 && c < 0x7f && c != ':'; });
}

bool iequals(std::string_view a, std::string_view b) {
  return boost::beast::iequals(boost::beast::string_view(a.data(), a.size()), boost::beast::string_view(b.data(), b.size()));
}

std::optional<std::string_view> origin_form(std::string_view target) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (target.size() < scheme.size() || !iequals(target.substr(0, scheme.size()), scheme)) continue;
    const auto slash = target.find('/', scheme.size());
    if (slash == std::string_view::npos) return std::string_view("/");
    return target.substr(slash);
  }
  if (target.empty() || target.front() != '/') return std::nullopt;
  return target;
}

}  // namespace enishi::http

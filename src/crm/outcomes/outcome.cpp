#include "crm/outcomes/outcome.hpp"

#include <algorithm>
#include <cctype>

namespace enishi::crm {
namespace {

/// The name in {"constraint":"name"}; identifiers need no escapes.
std::string constraint_of(const Error& error) {
  constexpr std::string_view key = R"("constraint":")";
  const auto at = error.extra.find(key);
  if (at == std::string::npos) return {};
  const auto from = at + key.size();
  return error.extra.substr(from, error.extra.find('"', from) - from);
}

std::string column_of(std::string constraint, std::string_view table) {
  if (constraint.starts_with(table) && constraint.size() > table.size()) constraint.erase(0, table.size() + 1);
  for (std::string_view end : {"_fkey", "_check", "_key"})
    if (constraint.ends_with(end)) constraint.erase(constraint.size() - end.size());
  return constraint;
}

}  // namespace

Error explain(Error error, std::string_view table) {
  const bool unique = error.code == "UNIQUE_VIOLATION";
  const bool reference = error.code == "FOREIGN_KEY_VIOLATION";
  if (!unique && !reference && error.code != "CHECK_VIOLATION" && error.code != "NOT_NULL_VIOLATION") return error;
  const auto constraint = constraint_of(error);
  if (unique && constraint.ends_with("_pkey"))
    return {Kind::conflict,
            "ID_TAKEN",
            "There is a record with this id already; make a new id for a new record.",
            {{"/id", "ID_TAKEN", "taken"}},
            {},
            0};
  const auto column = column_of(constraint, table);
  if (unique) {
    auto code = column + "_TAKEN";
    std::transform(code.begin(), code.end(), code.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    return {Kind::conflict,
            code,
            "Another record has this " + column + " already; choose another one.",
            {{"/" + column, code, "taken"}},
            {},
            0};
  }
  const std::string code = reference ? "UNKNOWN_ID" : "OUT_OF_BOUNDS";
  return {Kind::unprocessable,
          "VALIDATION_FAILED",
          "One field is wrong.",
          {{"/" + column, code, reference ? "there is no such record" : "the database does not accept this value"}},
          {},
          0};
}

}  // namespace enishi::crm

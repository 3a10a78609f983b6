// JSON text to a value, stricter than Boost.JSON: depth at most 32, no name twice, no U+0000, no number that a double would round.
//
//   auto read = read_json(body, storage, "The body", "BODY_MALFORMED");   // Error: where and why it is no JSON
//   if (read && read->errors.empty()) use(read->value);
#pragma once
#include <boost/json.hpp>

#include "http/json.hpp"

namespace enishi::http {

struct JsonText {
  boost::json::value value;
  std::vector<FieldError> errors;  ///< well-formed, but not to be stored
};
/// `what` begins the sentence of the Error, which has this `code`; `memory` holds the value.
Result<JsonText> read_json(std::string_view text, boost::json::storage_ptr memory, std::string_view what, std::string_view code);

}  // namespace enishi::http

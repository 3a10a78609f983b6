// What a caller handles is a Result<T>; a broken world (lost connection, bug) throws and is caught once a request,
// job or command. An Error is a stable code, a sentence an operator can act on, and the fields it speaks of:
//
//   return fail(Kind::unprocessable, "PHONE_INVALID", "「12」 is too short for a phone number; write it with its area code.",
//               {{"/phones/0/raw", "PHONE_INVALID", "too short"}});
//
// The HTTP status of a kind is chosen in http/ only.
#pragma once
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

namespace enishi {

enum class Kind {
  malformed,              ///< the request cannot be read: 400
  unauthenticated,        ///< nobody is logged in: 401
  forbidden,              ///< somebody is, and may not: 403
  not_found,              ///< 404
  conflict,               ///< the state of things forbids it now: 409
  gone,                   ///< it was there: 410
  precondition,           ///< If-Match names an older version: 412
  too_large,              ///< 413
  unsupported,            ///< media type: 415
  unprocessable,          ///< read, understood, and wrong: 422
  precondition_required,  ///< If-Match is missing: 428
  too_many,               ///< 429
  internal,               ///< our fault: 500
  unavailable,            ///< try again later: 503
};

/// One wrong field. `pointer` is a JSON pointer into the body (RFC 6901), or "?name" for a query parameter.
struct FieldError {
  std::string pointer;
  std::string code;
  std::string detail;
};

struct Error {
  Kind kind = Kind::internal;
  std::string code;    ///< stable, CAPITALS, part of the contract
  std::string detail;  ///< names the value and the way out; never a secret
  std::vector<FieldError> fields;
  std::string extra;    ///< a JSON object with more members for problem+json, or empty
  int retry_after = 0;  ///< seconds; 0 says nothing
};

template <class T>
using Result = tl::expected<T, Error>;

[[nodiscard]] inline tl::unexpected<Error> fail(Kind kind, std::string code, std::string detail, std::vector<FieldError> fields = {}) {
  return tl::make_unexpected(Error{kind, std::move(code), std::move(detail), std::move(fields), {}, 0});
}

}  // namespace enishi

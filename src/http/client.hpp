// A small HTTP/1.1 client: one request, one connection, one deadline. For tests: nothing in the product calls out.
//
//   ClientRequest call{.method = "POST", .url = "http://127.0.0.1:8080/v1/things", .headers = {{"Content-Type", "application/json"}}, .body
//   = "{}"}; auto answer = co_await fetch(std::move(call), Deadline::in(Millis(5000))); if (answer && answer->status == 201) …
#pragma once
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "http/http.hpp"

namespace enishi::http {

struct ClientRequest {
  std::string method = "GET";
  std::string url;    ///< http://host[:port]/path?query, already percent-encoded
  Headers headers{};  ///< Host, Content-Length and Connection are set by fetch
  std::string body{};
  std::size_t most_body = 16 * 1024 * 1024;  ///< bytes of the answer's body; more is CLIENT_BODY_TOO_LARGE
};

struct ClientResponse {
  int status = 0;
  Headers headers;
  std::string body{};
  /// First header of that name (case does not matter), or empty.
  [[nodiscard]] std::string_view header(std::string_view name) const;
};

/// Sends it and reads the whole answer, whatever its status. Redirects are not followed. Errors: CLIENT_URL_INVALID,
/// CLIENT_SCHEME_UNSUPPORTED (https), CLIENT_TIMEOUT, CLIENT_UNREACHABLE (resolve, connect, write or read
/// failed), CLIENT_BODY_TOO_LARGE. After CLIENT_TIMEOUT or CLIENT_UNREACHABLE the server may have done what was asked.
Task<Result<ClientResponse>> fetch(ClientRequest request, Deadline deadline);

}  // namespace enishi::http

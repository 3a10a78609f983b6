#include "base/log.hpp"
#include "http/http.hpp"

namespace enishi::http {

int status_of(Kind kind) {
  switch (kind) {
    case Kind::malformed:
      return 400;
    case Kind::unauthenticated:
      return 401;
    case Kind::forbidden:
      return 403;
    case Kind::not_found:
      return 404;
    case Kind::conflict:
      return 409;
    case Kind::gone:
      return 410;
    case Kind::precondition:
      return 412;
    case Kind::too_large:
      return 413;
    case Kind::unsupported:
      return 415;
    case Kind::unprocessable:
      return 422;
    case Kind::precondition_required:
      return 428;
    case Kind::too_many:
      return 429;
    case Kind::internal:
      return 500;
    case Kind::unavailable:
      return 503;
  }
  return 500;
}

std::string_view reason_of(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 206:
      return "Partial Content";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 303:
      return "See Other";
    case 304:
      return "Not Modified";
    case 307:
      return "Temporary Redirect";
    case 308:
      return "Permanent Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 412:
      return "Precondition Failed";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 416:
      return "Range Not Satisfiable";
    case 417:
      return "Expectation Failed";
    case 421:
      return "Misdirected Request";
    case 422:
      return "Unprocessable Content";
    case 428:
      return "Precondition Required";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return status < 400 ? "OK" : status < 500 ? "Client Error" : "Server Error";
  }
}

Answer problem_with_status(int status, const Error& error, std::string_view request_id) {
  Answer answer;
  answer.status = status;
  answer.type = "application/problem+json";
  auto& out = answer.body;
  out.reserve(256 + error.detail.size() + 96 * error.fields.size() + error.extra.size());
  out += R"({"type":"about:blank","title":")";
  out += reason_of(status);
  out += R"(","status":)" + std::to_string(status) + R"(,"code":)" + json_quote(error.code) + R"(,"detail":)" + json_quote(error.detail);
  if (!error.fields.empty()) {
    out += R"(,"errors":[)";
    bool first = true;
    for (const auto& field : error.fields) {
      if (!first) out.push_back(',');
      first = false;
      out += R"({"pointer":)" + json_quote(field.pointer) + R"(,"code":)" + json_quote(field.code) + R"(,"detail":)" +
             json_quote(field.detail) + "}";
    }
    out.push_back(']');
  }
  out += R"(,"request_id":)" + json_quote(request_id);
  // `extra` is an object's text: its members follow ours.
  const auto open = error.extra.find('{'), close = error.extra.rfind('}');
  if (open != std::string::npos && close != std::string::npos && open < close) {
    const auto members = std::string_view(error.extra).substr(open + 1, close - open - 1);
    if (members.find_first_not_of(" \t\r\n") != std::string_view::npos) out.append(",").append(members);
  }
  out.push_back('}');
  // An integer of seconds (RFC 9110, 10.2.3); a client told to come back without a time comes back at once.
  if (error.retry_after > 0)
    answer.with("Retry-After", std::to_string(error.retry_after));
  else if (status == 503 || status == 429)
    answer.with("Retry-After", "1");
  return answer;
}

Answer problem(const Error& error, std::string_view request_id) { return problem_with_status(status_of(error.kind), error, request_id); }

}  // namespace enishi::http

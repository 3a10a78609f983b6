#include "http/client.hpp"

#include <charconv>

namespace enishi::http {
namespace {

namespace beast = boost::beast;
namespace bhttp = boost::beast::http;
using tcp = asio::ip::tcp;
using Socket = asio::basic_stream_socket<tcp, Executor>;
using Resolver = asio::ip::basic_resolver<tcp, Executor>;
using ErrorCode = boost::system::error_code;

struct Url {
  std::string host, port, target;
  std::string authority;
};

bool plain(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

Result<Url> read_url(std::string_view url) {
  const auto bad = [&](std::string why) {
    return fail(Kind::unprocessable, "CLIENT_URL_INVALID", "The URL cannot be called: " + why + ".");
  };
  if (url.starts_with("https://"))
    return fail(Kind::unprocessable, "CLIENT_SCHEME_UNSUPPORTED",
                "This client speaks plain http only; put a TLS proxy in front of the target.");
  constexpr std::string_view kScheme = "http://";
  if (!url.starts_with(kScheme)) return bad("it must begin with http://");
  if (!plain(url)) return bad("it has spaces, control or non-ASCII characters");
  url.remove_prefix(kScheme.size());
  const auto end = std::min(url.find_first_of("/?#"), url.size());
  Url out;
  out.authority = url.substr(0, end);
  out.target = url.substr(end);
  if (const auto hash = out.target.find('#'); hash != std::string::npos) out.target.resize(hash);
  if (out.target.empty() || out.target.front() != '/') out.target.insert(0, "/");
  if (out.authority.find('@') != std::string::npos) return bad("it must not hold a user name or password");
  const auto bracket = out.authority.rfind(']');
  const auto colon = out.authority.rfind(':');
  const bool has_port = colon != std::string::npos && (bracket == std::string::npos || colon > bracket);
  out.host = out.authority.substr(0, has_port ? colon : std::string::npos);
  out.port = has_port ? out.authority.substr(colon + 1) : "80";
  if (out.host.size() > 2 && out.host.front() == '[' && out.host.back() == ']') out.host = out.host.substr(1, out.host.size() - 2);
  unsigned port = 0;
  const auto [at, failed] = std::from_chars(out.port.data(), out.port.data() + out.port.size(), port);
  if (failed != std::errc() || at != out.port.data() + out.port.size() || port == 0 || port > 65535) return bad("its port is none");
  if (out.host.empty()) return bad("it has no host");
  return out;
}

/// Everything that waits shares this; the timer cancels whatever is waiting.
struct Call {
  explicit Call(Executor e) : socket(e), resolver(e), timer(e) {}
  Socket socket;
  Resolver resolver;
  Timer timer;
  bool late = false;
};

}  // namespace

std::string_view ClientResponse::header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (beast::iequals(beast::string_view(key.data(), key.size()), beast::string_view(name.data(), name.size()))) return value;
  return {};
}

Task<Result<ClientResponse>> fetch(ClientRequest request, Deadline deadline) {
  auto url = read_url(request.url);
  if (!url) co_return tl::make_unexpected(std::move(url.error()));
  bhttp::request<bhttp::string_body> message;
  message.version(11);
  message.method_string(request.method);
  message.target(url->target);
  for (const auto& [name, value] : request.headers) {
    if (name.find_first_of("\r\n: ") != std::string::npos || value.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos)
      co_return fail(Kind::unprocessable, "CLIENT_URL_INVALID", "A header has a line break or its name a space or colon.");
    message.insert(name, value);
  }
  message.set(bhttp::field::host, url->authority);
  message.set(bhttp::field::connection, "close");
  const bool has_body = !request.body.empty() || request.method == "POST" || request.method == "PUT" || request.method == "PATCH";
  message.body() = std::move(request.body);
  if (has_body) message.prepare_payload();

  auto call = std::make_shared<Call>(co_await asio::this_coro::executor);
  call->timer.expires_at(deadline.at);
  call->timer.async_wait([weak = std::weak_ptr<Call>(call)](ErrorCode ec) {
    const auto self = weak.lock();
    if (ec || !self) return;
    self->late = true;
    ErrorCode ignored;
    self->resolver.cancel();
    self->socket.close(ignored);
  });
  const auto broken = [&](const char* step, const ErrorCode& ec) -> tl::unexpected<Error> {
    if (call->late) return fail(Kind::unavailable, "CLIENT_TIMEOUT", fmt::format("{} did not answer in time ({}).", url->authority, step));
    return fail(Kind::unavailable, "CLIENT_UNREACHABLE", fmt::format("{}: {} failed: {}.", url->authority, step, ec.message()));
  };

  ErrorCode ec;
  const auto numeric = asio::ip::make_address(url->host, ec);
  if (!ec) {
    const tcp::endpoint endpoint(numeric, static_cast<unsigned short>(std::stoi(url->port)));
    co_await call->socket.async_connect(endpoint, asio::redirect_error(use_task, ec));
  } else {
    ec = {};
    const auto found = co_await call->resolver.async_resolve(url->host, url->port, asio::redirect_error(use_task, ec));
    if (ec || call->late) co_return broken("resolving the name", ec);
    for (const auto& entry : found) {
      call->socket.close(ec);
      ec = {};
      co_await call->socket.async_connect(entry.endpoint(), asio::redirect_error(use_task, ec));
      if (!ec || call->late) break;
    }
  }
  if (ec || call->late) co_return broken("connecting", ec);
  call->socket.set_option(tcp::no_delay(true), ec);
  co_await bhttp::async_write(call->socket, message, asio::redirect_error(use_task, ec));
  // A server that refuses a large body answers and stops reading: its answer is worth more than our write error.
  const auto write_error = ec;
  if (call->late) co_return broken("sending", ec);

  beast::flat_buffer buffer;
  bhttp::response_parser<bhttp::string_body> parser;
  parser.body_limit(request.most_body);
  parser.header_limit(64 * 1024);
  if (request.method == "HEAD") parser.skip(true);
  ec = {};
  co_await bhttp::async_read_header(call->socket, buffer, parser, asio::redirect_error(use_task, ec));
  if (!ec && parser.get().result_int() == 100) co_return broken("reading", bhttp::error::bad_status);
  if (!ec && !parser.is_done()) co_await bhttp::async_read(call->socket, buffer, parser, asio::redirect_error(use_task, ec));
  call->timer.cancel();
  if (ec == bhttp::error::body_limit)
    co_return fail(Kind::unavailable, "CLIENT_BODY_TOO_LARGE",
                   fmt::format("{} answered with more than {} bytes.", url->authority, request.most_body));
  if (ec || call->late) co_return broken(write_error ? "sending" : "reading", write_error ? write_error : ec);
  ClientResponse out;
  auto& answer = parser.get();
  out.status = static_cast<int>(answer.result_int());
  for (const auto& field : answer)
    out.headers.emplace_back(std::string(field.name_string().data(), field.name_string().size()),
                             std::string(field.value().data(), field.value().size()));
  out.body = std::move(answer.body());
  co_return out;
}

}  // namespace enishi::http

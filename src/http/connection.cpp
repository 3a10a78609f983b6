#include "http/connection.hpp"

#include "base/log.hpp"
#include "http/wire.hpp"

namespace enishi::http {
namespace {

constexpr std::size_t kLingerBytes = 64 * 1024 * 1024;  // of a refused body that are read and dropped, so that the answer is not reset away
constexpr Millis kLinger{5000};

// What every answer says. A handler's own Cache-Control or Content-Security-Policy replaces ours.
constexpr std::string_view kSecurity =
    "X-Content-Type-Options: nosniff\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Cross-Origin-Opener-Policy: same-origin\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n"
    "X-Frame-Options: DENY\r\n"
    "Permissions-Policy: camera=(), microphone=(), geolocation=(), payment=(), usb=()\r\n";
constexpr std::string_view kTransportSecurity = "Strict-Transport-Security: max-age=31536000\r\n";
constexpr std::string_view kHtmlPolicy =
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'\r\n";

}  // namespace

Connection::Connection(std::shared_ptr<Server::Impl> s, ShardState& st, Socket so)
    : server(std::move(s)), state(st), socket(std::move(so)) {
  state.connections.push_back(this);
  server->connections_gauge.add(1);
}

Connection::~Connection() {
  std::erase(state.connections, this);
  server->connections_gauge.add(-1);
  server->connection_ended();
}

Task<ErrorCode> Connection::read_more(std::size_t most) {
  ErrorCode ec;
  if (expired) co_return asio::error::timed_out;
  const auto n = co_await socket.async_read_some(buffer.prepare(most), asio::redirect_error(use_task, ec));
  buffer.commit(n);
  if (expired && n == 0) co_return asio::error::timed_out;
  co_return ec;
}

/// Writes everything, or returns false. The write limit holds for each 256 KB, so that a large answer may take its time and a reader that
/// stands still may not.
Task<bool> Connection::write_all(Parts parts) {
  constexpr std::size_t kStep = 256 * 1024;
  if (gone) co_return false;
  std::size_t i = 0, written = 0, next_step = kStep;
  while (true) {
    while (i < parts.size() && parts[i].size() == 0) ++i;
    if (i == parts.size()) co_return true;
    ErrorCode ec;
    auto n = socket.write_some(parts, ec);  // mostly all of it goes at once, without a trip through the loop
    if (ec == asio::error::would_block || ec == asio::error::try_again) {
      if (expired) {
        gone = true;
        co_return false;
      }
      ec = {};
      n = co_await socket.async_write_some(parts, asio::redirect_error(use_task, ec));
    }
    if (ec) {
      gone = true;
      co_return false;
    }
    written += n;
    for (auto& part : parts) {
      const auto taken = std::min(n, part.size());
      part += taken;
      n -= taken;
    }
    if (written >= next_step) {
      next_step = written + kStep;
      arm(phase, server->limits.write);
    }
  }
}

void Connection::build_head(const Answer& answer, std::optional<std::size_t> length, bool keep_alive) {
  head.clear();
  head += "HTTP/1.1 ";
  append_number(head, static_cast<std::uint64_t>(answer.status));
  head.push_back(' ');
  head += reason_of(answer.status);
  head += "\r\n";
  head += state.date.now();
  const bool body_allowed = answer.status != 204 && answer.status != 304;
  if (body_allowed && !answer.type.empty()) {
    if (!sane_field("Content-Type", answer.type)) throw std::logic_error("a line break in Content-Type");
    head.append("Content-Type: ").append(answer.type).append("\r\n");
  }
  if (length && body_allowed) {
    head += "Content-Length: ";
    append_number(head, *length);
    head += "\r\n";
  } else if (!length && chunked) {
    head += "Transfer-Encoding: chunked\r\n";
  }
  head.append("X-Request-Id: ").append(request.id).append("\r\n");
  head += kSecurity;
  if (request.secure) head += kTransportSecurity;
  bool own_cache = false, own_policy = false;
  for (const auto& [name, value] : answer.headers) {
    if (!sane_field(name, value)) throw std::logic_error("a line break or an odd character in the answer's header " + name.substr(0, 40));
    own_cache = own_cache || iequals(name, "Cache-Control");
    own_policy = own_policy || iequals(name, "Content-Security-Policy");
    head.append(name).append(": ").append(value).append("\r\n");
  }
  if (!own_cache) head += "Cache-Control: no-store\r\n";
  if (!own_policy && (answer.type.starts_with("text/html") || answer.type.starts_with("image/svg"))) head += kHtmlPolicy;
  if (!keep_alive)
    head += "Connection: close\r\n";
  else if (parser && parser->get().version() == 10)
    head += "Connection: keep-alive\r\n";
  head += "\r\n";
}

Task<bool> Connection::send(Answer answer, bool keep_alive, bool head_only) {
  const std::string_view body = answer.static_body.data() != nullptr ? answer.static_body : std::string_view(answer.body);
  build_head(answer, body.size(), keep_alive);
  arm(Phase::writing, server->limits.write);
  const bool bodyless = head_only || answer.status == 204 || answer.status == 304;
  const Parts parts{asio::buffer(head), bodyless ? asio::const_buffer() : asio::buffer(body.data(), body.size())};
  co_return co_await write_all(parts);
}

Task<bool> Connection::send_stream(Answer answer, bool keep_alive, bool head_only) {
  chunked = !parser || parser->get().version() != 10;
  build_head(answer, std::nullopt, keep_alive && chunked);
  arm(Phase::writing, server->limits.write);
  const Parts parts{asio::buffer(head)};
  if (!co_await write_all(parts)) co_return false;
  if (head_only) co_return true;
  arm(Phase::streaming, Millis::max());
  bool whole = false;
  try {
    co_await answer.stream(*this);
    whole = true;
  } catch (const std::exception& e) {
    // The head is out: cutting the connection is the only honest end, for the client then sees no last chunk.
    log_error("stream failed", {{"request_id", request.id}, {"operation", request.operation}, {"error", e.what()}});
  }
  wake = nullptr;
  if (!whole || gone) co_return false;
  if (!chunked) co_return false;
  arm(Phase::writing, server->limits.write);
  static constexpr char kLast[] = "0\r\n\r\n";
  const Parts last{asio::buffer(kLast, 5)};
  co_return co_await write_all(last);
}

Task<bool> Connection::write(std::string chunk) {
  if (gone) co_return false;
  if (chunk.empty()) co_return true;
  arm(Phase::streaming, server->limits.write);
  std::string size;
  if (chunked) {
    append_number(size, chunk.size(), 16);
    size += "\r\n";
  }
  static constexpr char kEnd[] = "\r\n";
  const Parts parts{asio::buffer(size), asio::buffer(chunk), asio::buffer(kEnd, chunked ? 2 : 0)};
  const bool sent = co_await write_all(parts);
  if (sent) streamed += chunk.size();
  arm(Phase::streaming, Millis::max());
  if (!sent) end_stream();
  co_return sent;
}

/// After an answer to a request that was not read whole: the peer may still be sending, and closing now would reset the connection and
/// take our answer out of its buffers (RFC 9112, 9.6).
Task<> Connection::linger() {
  ErrorCode ec;
  socket.shutdown(tcp::socket::shutdown_send, ec);
  arm(Phase::lingering, kLinger);
  std::size_t dropped = 0;
  while (dropped < kLingerBytes) {
    buffer.clear();
    ec = co_await read_more(kBodyRead);
    if (ec) co_return;
    dropped += buffer.size();
  }
}

}  // namespace enishi::http

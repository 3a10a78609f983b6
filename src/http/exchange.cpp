// Requests of one connection, one after another; what a client pipelines waits in the buffer.
#include <algorithm>

#include "base/id.hpp"
#include "base/log.hpp"
#include "http/connection.hpp"
#include "http/uri.hpp"
#include "http/wire.hpp"
#include "io/offload.hpp"

namespace enishi::http {
namespace {

constexpr std::size_t kHeadRead = 4096;

std::optional<Method> method_of(bhttp::verb verb) {
  switch (verb) {
    case bhttp::verb::get:
      return Method::get;
    case bhttp::verb::head:
      return Method::head;
    case bhttp::verb::post:
      return Method::post;
    case bhttp::verb::put:
      return Method::put;
    case bhttp::verb::patch:
      return Method::patch;
    case bhttp::verb::delete_:
      return Method::del;
    default:
      return std::nullopt;
  }
}

Error transport_error(std::string code, std::string detail, int retry_after = 0) {
  return Error{Kind::malformed, std::move(code), std::move(detail), {}, {}, retry_after};
}

/// What Beast's parser found, as an answer. Nothing for a peer that only went away.
std::optional<Refusal> refusal_of(const ErrorCode& ec, const Limits& limits) {
  if (ec == bhttp::error::header_limit)
    return Refusal{431, transport_error("HEADER_TOO_LARGE", fmt::format("The request's head has more than {} bytes.", limits.header))};
  if (ec == bhttp::error::body_limit)
    return Refusal{413, transport_error("BODY_TOO_LARGE", "The body is larger than this operation takes.")};
  if (ec == bhttp::error::bad_version) return Refusal{505, transport_error("VERSION_NOT_SUPPORTED", "Speak HTTP/1.1.")};
  if (ec.category() == make_error_code(bhttp::error::bad_method).category() && ec != bhttp::error::end_of_stream &&
      ec != bhttp::error::partial_message)
    return Refusal{400, transport_error("REQUEST_MALFORMED", "The request cannot be read: " + ec.message() + ".")};
  return std::nullopt;
}

/// Reads a request's head. False with no refusal: the peer is gone, was idle too long, or the server drains.
Task<bool> read_head(Connection& c, std::optional<Refusal>& refusal) {
  const auto& limits = c.server->limits;
  c.parser.emplace();
  c.parser->header_limit(static_cast<std::uint32_t>(limits.header));
  c.parser->body_limit(boost::none);  // the route's own bound is set before the body
  if (c.buffer.size() == 0) {
    if (c.buffer.capacity() > 2 * kBodyRead) c.buffer = {};
    c.arm(Phase::idle, c.first ? std::min(limits.read_head, limits.idle) : limits.idle);
    const auto ec = co_await c.read_more(kHeadRead);
    if (ec) co_return false;
  }
  c.arm(Phase::head, limits.read_head);
  while (true) {
    ErrorCode ec;
    const auto n = c.parser->put(c.buffer.data(), ec);
    c.buffer.consume(n);
    if (c.parser->is_header_done()) co_return true;
    if (ec && ec != bhttp::error::need_more) {
      refusal = refusal_of(ec, limits);
      co_return false;
    }
    ec = co_await c.read_more(kHeadRead);
    if (ec == asio::error::timed_out) {
      c.server->refused_slow.add();
      refusal = Refusal{408, transport_error("REQUEST_TIMEOUT", "The request's head did not arrive in time.")};
    }
    if (ec) co_return false;
  }
}

Task<bool> read_body(Connection& c, std::optional<Refusal>& refusal) {
  const auto& limits = c.server->limits;
  // The limit holds for each 256 KB, so that an attachment over a slow line arrives and a trickle does not.
  constexpr std::size_t kStep = 256 * 1024;
  std::size_t consumed = 0, next_step = kStep;
  c.arm(Phase::body, limits.read_body);
  c.parser->eager(true);
  while (!c.parser->is_done()) {
    ErrorCode ec;
    if (c.buffer.size() > 0) {
      const auto n = c.parser->put(c.buffer.data(), ec);
      c.buffer.consume(n);
      consumed += n;
      if (ec && ec != bhttp::error::need_more) {
        refusal = refusal_of(ec, limits);
        co_return false;
      }
      if (consumed >= next_step && !c.expired) {
        next_step = consumed + kStep;
        c.arm(Phase::body, limits.read_body);
      }
      if (!ec && n > 0) continue;
    }
    ec = co_await c.read_more(kBodyRead);
    if (ec == asio::error::timed_out) {
      c.server->refused_slow.add();
      refusal = Refusal{408, transport_error("REQUEST_TIMEOUT", "The request's body did not arrive in time.")};
    }
    if (ec) co_return false;
  }
  co_return true;
}

/// Fills the request from the parsed head, up to routing.
std::optional<Refusal> read_request(Connection& c, std::string_view& encoded_path) {
  auto& r = c.request;
  const auto& message = c.parser->get();
  r.target = std::string_view(message.target().data(), message.target().size());
  const auto id = r.header("X-Request-Id");
  if (sane_request_id(id))
    r.id = id;
  else
    r.id = Uuid::make().str();
  const auto trace = trace_of(r.header("traceparent"));
  if (!trace.empty())
    r.trace_id = trace;
  else
    r.trace_id = random_hex(16);
  if (c.server->trust_proxy) {
    r.secure = iequals(r.header("X-Forwarded-Proto"), "https");
    // The last address is the one our own proxy saw; those before it are whatever the client wrote.
    auto forwarded = r.header("X-Forwarded-For");
    if (const auto comma = forwarded.rfind(','); comma != std::string_view::npos) forwarded.remove_prefix(comma + 1);
    while (!forwarded.empty() && forwarded.front() == ' ') forwarded.remove_prefix(1);
    ErrorCode ec;
    if (!forwarded.empty() && forwarded.size() <= 45) {
      const auto address = asio::ip::make_address(std::string(forwarded), ec);
      if (!ec) r.remote = address.to_string();
    }
  }
  const auto malformed = [](std::string detail) { return Refusal{400, transport_error("REQUEST_MALFORMED", std::move(detail))}; };
  if (message.version() != 10 && message.version() != 11) return Refusal{505, transport_error("VERSION_NOT_SUPPORTED", "Speak HTTP/1.1.")};
  if (const auto hosts = message.count(bhttp::field::host); hosts > 1 || (hosts == 0 && message.version() == 11))
    return malformed("Exactly one Host header is needed.");
  // Any other coding, or chunked twice, is read differently by different servers: the root of request smuggling (RFC 9112, 11.2).
  if (message.count(bhttp::field::transfer_encoding) > 0) {
    if (message.version() == 10 || message.count(bhttp::field::content_length) > 0)
      return malformed("Transfer-Encoding does not go with HTTP/1.0 or Content-Length.");
    if (!iequals(r.header("Transfer-Encoding"), "chunked"))
      return Refusal{501, transport_error("TRANSFER_CODING_UNKNOWN", "Only chunked is understood as Transfer-Encoding.")};
  }
  const auto target = origin_form(r.target);
  if (!target) return malformed("The target must be a path.");
  const auto question = std::min(target->find('?'), target->size());
  encoded_path = target->substr(0, question);
  auto path = percent_decoded(encoded_path);
  if (!path) return malformed("The path is not percent-encoded UTF-8.");
  if (has_dot_segment(*path)) return malformed("A path has no . and .. in it.");
  r.path = std::move(*path);
  if (question < target->size() && !read_query(target->substr(question + 1), r.query))
    return malformed("The query is not percent-encoded UTF-8, or has more than 100 parameters.");
  return std::nullopt;
}

void reset(Request& r, Connection& c) {
  r.target = {};
  r.path.clear();
  r.operation = {};
  r.id.clear();
  r.trace_id.clear();
  r.body = {};
  r.remote = c.peer;
  r.secure = false;
  r.query.clear();
  r.segments.clear();
  r.raw_headers = &c.parser->get().base();
}

Answer answer_to(std::exception_ptr thrown, const Connection& c) {
  const auto& r = c.request;
  try {
    if (c.server->mapper)
      if (auto error = c.server->mapper(thrown)) return problem(*error, r.id);
    std::rethrow_exception(thrown);
  } catch (const OffloadFull&) {
    return problem({Kind::unavailable, "BUSY", "The server is at its limit; try again soon.", {}, {}, 1}, r.id);
  } catch (const std::exception& e) {
    log_error("handler failed", {{"request_id", r.id}, {"trace_id", r.trace_id}, {"operation", r.operation}, {"error", e.what()}});
  } catch (...) {
    log_error("handler failed",
              {{"request_id", r.id}, {"trace_id", r.trace_id}, {"operation", r.operation}, {"error", "no std::exception"}});
  }
  return problem({Kind::internal, "INTERNAL", "Something broke on our side; the log has it under this request_id.", {}, {}, 0}, r.id);
}

/// Runs the handler to its end, however long that takes: what it commits is never disowned by an early answer. Its deadline bounds it.
Task<Answer> run_handler(Connection& c, const Route& route) {
  std::exception_ptr thrown;
  try {
    Result<Answer> result = co_await route.handler(c.request);
    if (result) co_return std::move(*result);
    if (result.error().kind == Kind::internal)
      log_error("request failed", {{"request_id", c.request.id},
                                   {"operation", c.request.operation},
                                   {"code", result.error().code},
                                   {"error", result.error().detail}});
    co_return problem(result.error(), c.request.id);
  } catch (...) {
    thrown = std::current_exception();
  }
  co_return answer_to(thrown, c);
}

struct InFlight {
  ShardState& state;
  metrics::Gauge& gauge;
  bool counted = true;
  InFlight(ShardState& s, metrics::Gauge& g) : state(s), gauge(g) {
    ++state.in_flight;
    gauge.add(1);
  }
  ~InFlight() { release(); }
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;
  void release() {
    if (!std::exchange(counted, false)) return;
    --state.in_flight;
    gauge.add(-1);
  }
};

/// Answers one request whose head is read. Returns whether the connection goes on.
Task<bool> handle(Connection& c) {
  auto& server = *c.server;
  auto& r = c.request;
  reset(r, c);
  const auto began = steady_now();
  const auto& message = c.parser->get();
  const auto method = method_of(message.method());
  r.method = method.value_or(Method::get);
  const bool head_only = message.method() == bhttp::verb::head;

  Answer answer;
  Router::Match match;
  std::string_view encoded_path;
  std::optional<Refusal> refusal = read_request(c, encoded_path);
  std::optional<InFlight> running;
  if (!refusal) {
    if (method) {
      match = server.router.find(*method, encoded_path);
    } else {
      for (const auto m : {Method::get, Method::post, Method::put, Method::patch, Method::del})
        if (server.router.find(m, encoded_path).route != nullptr) match.allowed.push_back(m);
    }
    if (match.route == nullptr && match.allowed.empty()) {
      answer = problem({Kind::not_found, "NOT_FOUND", "Nothing is at this path.", {}, {}, 0}, r.id);
    } else if (match.route == nullptr) {
      refusal = Refusal{405, transport_error("METHOD_NOT_ALLOWED", "This path does not take this method; Allow names those it takes.")};
    } else {
      r.operation = match.route->operation;
      r.segments = std::move(match.segments);
      const auto limit = match.route->body_limit > 0 ? match.route->body_limit : server.limits.body;
      const auto length = c.parser->content_length();
      const auto expect = r.header("Expect");
      const auto full = [&] {
        if (c.state.in_flight < server.limits.in_flight) return false;
        server.refused_in_flight.add();
        answer = problem({Kind::unavailable, "OVERLOADED", "The server has as many requests as it may; try again soon.", {}, {}, 1}, r.id);
        return true;
      };
      if (length && *length > limit) {
        refusal = Refusal{
            413, transport_error("BODY_TOO_LARGE", fmt::format("The body has {} bytes; this operation takes at most {}.", *length, limit))};
      } else if (!expect.empty() && !iequals(expect, "100-continue")) {
        refusal = Refusal{417, transport_error("EXPECTATION_FAILED", "Only 100-continue is understood as Expect.")};
      } else if (!full()) {
        c.parser->body_limit(limit);
        if (!c.parser->is_done() && !expect.empty() && c.buffer.size() == 0 && message.version() == 11) {
          static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
          c.arm(Phase::writing, server.limits.write);
          const Connection::Parts parts{asio::buffer(kContinue.data(), kContinue.size())};
          if (!co_await c.write_all(parts)) co_return false;
        }
        if (!c.parser->is_done() && !co_await read_body(c, refusal) && !refusal) co_return false;
        // Only a running handler counts as in flight, so that slow uploads do not keep the others out.
        if (c.parser->is_done() && !refusal && !full()) {
          running.emplace(c.state, server.in_flight_gauge);
          r.body = message.body();
          r.deadline = Deadline::in(match.route->time_limit.count() > 0 ? match.route->time_limit : server.limits.request);
          c.arm(Phase::handling, Millis::max());
          answer = co_await run_handler(c, *match.route);
          if (r.deadline.passed()) server.overruns.add();
        }
      }
    }
  }
  if (refusal) {
    answer = problem_with_status(refusal->status, refusal->error, r.id);
    if (refusal->status == 405) answer.with("Allow", allow_list(match.allowed));
  }
  // A body that was not read stands between us and the next request.
  const bool unread = !c.parser->is_done();
  // After a request we refused to read on, trusting where the next one begins would be guessing; a wrong method is no such doubt.
  const bool trusted = !refusal || refusal->status == 405;
  const bool go_on = trusted && !unread && message.keep_alive() && !server.draining.load(std::memory_order_relaxed);

  const int status = answer.status;
  const auto whole = answer.static_body.data() != nullptr ? answer.static_body.size() : answer.body.size();
  bool sent = false;
  std::exception_ptr broken;
  c.streamed = 0;
  try {
    if (answer.stream) {
      if (running) running->release();  // a stream lives for hours; the bound on connections is its bound
      sent = co_await c.send_stream(std::move(answer), go_on, head_only);
    } else {
      sent = co_await c.send(std::move(answer), go_on, head_only);
    }
  } catch (const std::logic_error&) {
    broken = std::current_exception();  // a header that would split the head; nothing was sent yet
  }
  if (broken) sent = co_await c.send(answer_to(broken, c), go_on, head_only);
  running.reset();

  const auto took = std::chrono::duration<double>(steady_now() - began).count();
  const auto& routes = server.router.routes();
  auto& stats = c.state.stats[match.route != nullptr ? static_cast<std::size_t>(match.route - routes.data()) : routes.size()];
  stats.seconds->observe(took);
  stats.answered(broken ? 500 : status).add();
  if (server.log_requests && log_level() <= Level::info) {
    log_info("request", {{"method", method ? name_of(*method) : std::string_view("OTHER")},
                         {"route", match.route != nullptr ? std::string_view(match.route->pattern) : std::string_view("unmatched")},
                         {"operation", r.operation},
                         {"status", broken ? 500 : status},
                         {"bytes", whole + c.streamed},
                         {"ms", took * 1e3},
                         {"request_id", r.id},
                         {"trace_id", r.trace_id},
                         {"remote", r.remote}});
  }
  ErrorCode ignored;
  if (sent && !go_on && (unread || c.buffer.size() > 0 || c.socket.available(ignored) > 0)) co_await c.linger();
  co_return sent&& go_on;
}

}  // namespace

Task<> Server::Impl::serve(std::shared_ptr<Impl> self, ShardState* state, Socket socket) {
  Connection c(self, *state, std::move(socket));
  ErrorCode ec;
  const auto peer = c.socket.remote_endpoint(ec);
  // On a dual-stack socket IPv4 peers come as ::ffff:1.2.3.4; logs and rules know them as 1.2.3.4.
  auto address = peer.address();
  if (address.is_v6() && address.to_v6().is_v4_mapped()) address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  if (!ec) c.peer = address.to_string();
  c.request.shard = &state->shard;
  while (true) {
    std::optional<Refusal> refusal;
    const bool read = co_await read_head(c, refusal);
    if (!read) {
      if (refusal) {
        // No head, no request id of theirs: ours ties the answer to the log.
        c.request.id = Uuid::make().str();
        c.state.stats.back().answered(refusal->status).add();
        auto answer = problem_with_status(refusal->status, refusal->error, c.request.id);
        if (self->log_requests && log_level() <= Level::info)
          log_info("request", {{"method", ""},
                               {"route", "unread"},
                               {"status", refusal->status},
                               {"code", refusal->error.code},
                               {"request_id", c.request.id},
                               {"remote", c.peer}});
        if (co_await c.send(std::move(answer), false, false)) co_await c.linger();
      }
      co_return;
    }
    c.first = false;
    const bool go_on = co_await handle(c);
    if (!go_on || c.gone) co_return;
    // An idle connection keeps no body of the last request.
    c.request.body = {};
    c.request.raw_headers = nullptr;
    c.parser.reset();
    if (self->draining && c.buffer.size() == 0) co_return;
  }
}

}  // namespace enishi::http

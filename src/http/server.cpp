#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <system_error>

#include "base/id.hpp"
#include "base/log.hpp"
#include "http/connection.hpp"

namespace enishi::http {
namespace {

constexpr std::size_t kMostRefusals = 256;  // connections kept a moment only to tell them that the server is full

tcp::endpoint endpoint_of(const std::string& address) {
  const auto fail_with = [&](const std::string& why) -> std::system_error {
    return std::system_error(std::make_error_code(std::errc::invalid_argument), "cannot listen on " + address + ": " + why);
  };
  const auto colon = address.rfind(':');
  if (colon == std::string::npos) throw fail_with("write it as host:port, like 127.0.0.1:8080");
  auto host = address.substr(0, colon);
  unsigned port = 0;
  const auto* begin = address.data() + colon + 1;
  const auto* end = address.data() + address.size();
  const auto parsed = std::from_chars(begin, end, port);
  if (parsed.ec != std::errc() || parsed.ptr != end || port > 65535) throw fail_with("the port must be 0 to 65535");
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  if (host.empty() || host == "*") host = "0.0.0.0";
  if (host == "localhost") host = "127.0.0.1";
  ErrorCode ec;
  const auto ip = asio::ip::make_address(host, ec);
  if (ec) throw fail_with("the host must be an IP address or localhost");
  return {ip, static_cast<unsigned short>(port)};
}

}  // namespace

Server::Server(Shards& shards, Router router, Limits limits, std::string address, bool trust_proxy)
    : impl_(std::make_shared<Impl>(shards, std::move(router), limits, std::move(address), trust_proxy)) {}

Server::~Server() {
  impl_->closed = true;
  impl_->draining = true;
  for (auto& state : impl_->states) state->shard.post([impl = impl_, at = state.get()] { Impl::close_shard(*at, true); });
}

void Server::map_exceptions(ExceptionMapper mapper) { impl_->mapper = std::move(mapper); }
void Server::log_requests(bool on) { impl_->log_requests = on; }
bool Server::draining() const { return impl_->draining; }

void check_address(const std::string& address) {
  const auto endpoint = endpoint_of(address);
  try {
    asio::io_context context;
    tcp::acceptor probe(context);
    probe.open(endpoint.protocol());
    probe.set_option(asio::socket_base::reuse_address(true));
    probe.bind(endpoint);
  } catch (const boost::system::system_error& e) {
    throw std::system_error(std::error_code(e.code()), "cannot listen on " + address);
  }
}

unsigned short Server::listen() {
  auto endpoint = endpoint_of(impl_->address);
  const auto& limits = impl_->limits;
  const auto shortest = std::min({limits.read_head, limits.read_body, limits.write, limits.idle});
  impl_->sweep_every = std::clamp(shortest / 4, Millis(10), Millis(250));
  std::vector<Acceptor> acceptors;
  try {
    for (std::size_t i = 0; i < impl_->shards.size(); ++i) {
      auto state = std::make_unique<ShardState>(impl_->shards[i]);
      for (const auto& route : impl_->router.routes()) {
        auto operation = route.operation.empty() ? route.pattern : route.operation;
        auto& seconds = metrics::histogram("enishi_http_request_seconds", "Time to answer", {{"operation", operation}});
        state->stats.push_back({std::move(operation), &seconds, {}});
      }
      state->stats.push_back(
          {"unmatched", &metrics::histogram("enishi_http_request_seconds", "Time to answer", {{"operation", "unmatched"}}), {}});
      auto& acceptor = acceptors.emplace_back(state->shard.executor());
      acceptor.open(endpoint.protocol());
      acceptor.set_option(asio::socket_base::reuse_address(true));
      acceptor.set_option(asio::detail::socket_option::boolean<SOL_SOCKET, SO_REUSEPORT>(true));
      acceptor.bind(endpoint);
      acceptor.listen(1024);
      endpoint.port(acceptor.local_endpoint().port());
      impl_->states.push_back(std::move(state));
    }
  } catch (const boost::system::system_error& e) {
    impl_->states.clear();
    throw std::system_error(std::error_code(e.code()), "cannot listen on " + impl_->address);
  }
  for (std::size_t i = 0; i < impl_->states.size(); ++i) {
    auto* state = impl_->states[i].get();
    spawn(state->shard, "http_accept", Impl::accept_loop(impl_, state, std::move(acceptors[i])));
    spawn(state->shard, "http_sweep", Impl::sweep_loop(impl_, state));
  }
  return endpoint.port();
}

void Server::drain(std::function<void()> done) {
  impl_->shards[0].post([impl = impl_, done = std::move(done)]() mutable { impl->start_drain(std::move(done)); });
}

// Draining. start_drain, drain_step and finish_drain run on shard 0.

void Server::Impl::start_drain(std::function<void()> done) {
  if (drain_done) {
    if (done) done();
    return;
  }
  if (done) drained.push_back(std::move(done));
  if (draining.exchange(true)) return;
  drain_by = steady_now() + limits.drain;
  still_listening = states.size();
  log_info("draining", {{"connections", live.load()}});
  for (auto& state : states) {
    state->shard.post([self = shared_from_this(), at = state.get()] {
      close_shard(*at, false);
      self->shards[0].post([self] {
        --self->still_listening;
        self->drain_step();
      });
    });
  }
  if (states.empty()) finish_drain();
}

void Server::Impl::drain_step() {
  if (drain_done || still_listening > 0) return;
  if (live.load() == 0) finish_drain();
}

void Server::Impl::finish_drain() {
  drain_done = true;
  drain_by = SteadyTime::max();
  for (auto& call : std::exchange(drained, {})) call();
}

void Server::Impl::connection_ended() {
  if (live.fetch_sub(1) == 1 && draining.load() && !closed.load())
    shards[0].post([self = weak_from_this()] {
      if (auto impl = self.lock()) impl->drain_step();
    });
}

/// Stops accepting and ends what waits for a request; with `hard` everything that is connected.
void Server::Impl::close_shard(ShardState& state, bool hard) {
  ErrorCode ec;
  if (state.acceptor != nullptr) state.acceptor->close(ec);
  if (hard && state.sweeper != nullptr) state.sweeper->cancel();
  for (auto* connection : state.connections) {
    if (hard) {
      connection->gone = true;
      connection->socket.close(ec);
      connection->end_stream();
    } else if (connection->phase == Phase::idle && connection->buffer.size() == 0 && connection->socket.available(ec) == 0) {
      connection->expired = true;
      connection->socket.cancel(ec);
    } else if (connection->phase == Phase::streaming) {
      connection->end_stream();
    }
  }
}

// Time limits: one timer a shard looks at every connection, instead of a timer an operation.

Task<> Server::Impl::sweep_loop(std::shared_ptr<Impl> self, ShardState* state) {
  Timer timer(state->shard.executor());
  state->sweeper = &timer;
  while (!self->closed) {
    ErrorCode ec;
    timer.expires_after(self->sweep_every);
    co_await timer.async_wait(asio::redirect_error(use_task, ec));
    if (!self->closed) self->sweep(*state);
  }
  state->sweeper = nullptr;
}

void Server::Impl::sweep(ShardState& state) {
  const auto now = steady_now();
  ErrorCode ec;
  // Waking a stream may run its handler's code, which cannot end another connection: the list stays as it is.
  for (auto* connection : state.connections) {
    if (now >= connection->deadline && !connection->expired) {
      connection->expired = true;
      connection->socket.cancel(ec);
    } else if (connection->phase == Phase::streaming && !connection->gone) {
      char byte = 0;
      if (::recv(connection->socket.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0) {
        connection->gone = true;
        connection->end_stream();
      }
    }
  }
  if (state.shard.index() == 0 && draining && !drain_done && now >= drain_by) {
    log_warning("drain ran out of time", {{"connections", live.load()}});
    for (auto& other : states) other->shard.post([self = shared_from_this(), at = other.get()] { close_shard(*at, true); });
    finish_drain();
  }
}

// Accepting.

Task<> Server::Impl::accept_loop(std::shared_ptr<Impl> self, ShardState* state, Acceptor acceptor) {
  state->acceptor = &acceptor;
  while (!self->draining) {
    ErrorCode ec;
    Socket socket = co_await acceptor.async_accept(asio::redirect_error(use_task, ec));
    if (!acceptor.is_open() || ec == asio::error::operation_aborted) break;
    if (ec) {
      // Out of file descriptors or memory: the connection stays in the kernel's queue until something is freed.
      if (ec != asio::error::connection_aborted) {
        log_warning("accept failed", {{"error", ec.message()}});
        co_await sleep(Millis(50));
      }
      continue;
    }
    socket.set_option(tcp::no_delay(true), ec);
    socket.non_blocking(true, ec);
    if (self->live.fetch_add(1) >= self->limits.connections) {
      self->refused_connections.add();
      if (state->refusing >= kMostRefusals) {
        self->connection_ended();
        continue;
      }
      ++state->refusing;
      spawn(state->shard, "http_refuse", refuse(self, state, std::move(socket)));
      continue;
    }
    spawn(state->shard, "http_connection", serve(self, state, std::move(socket)));
  }
  state->acceptor = nullptr;
}

Task<> Server::Impl::refuse(std::shared_ptr<Impl> self, ShardState* state, Socket socket) {
  struct Count {
    ShardState& state;
    ~Count() { --state.refusing; }
  } count{*state};
  Connection connection(self, *state, std::move(socket));
  connection.request.id = Uuid::make().str();
  const Error error{Kind::unavailable, "TOO_MANY_CONNECTIONS", "The server has as many connections as it may; try again soon.", {}, {}, 1};
  auto answer = problem(error, connection.request.id);
  if (co_await connection.send(std::move(answer), false, false)) co_await connection.linger();
}

}  // namespace enishi::http

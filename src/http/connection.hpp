// The server's insides: what a shard, the server and one connection keep. server.cpp listens, sweeps and drains; connection.cpp reads and
// writes bytes; exchange.cpp takes a request from its head to its answer.
#pragma once
#include <array>
#include <atomic>
#include <ctime>

#include "base/metrics.hpp"
#include "http/http.hpp"

namespace enishi::http {

namespace beast = boost::beast;
namespace bhttp = boost::beast::http;
using tcp = asio::ip::tcp;
using Socket = asio::basic_stream_socket<tcp, Executor>;
using Acceptor = asio::basic_socket_acceptor<tcp, Executor>;
using ErrorCode = boost::system::error_code;

inline constexpr std::size_t kBodyRead = 65536;

enum class Phase { idle, head, body, handling, writing, streaming, lingering };

struct RouteStats {
  std::string operation;
  metrics::Histogram* seconds = nullptr;
  std::vector<std::pair<int, metrics::Counter*>> by_status;  ///< few; found by walking
  metrics::Counter& answered(int status) {
    for (auto& [s, c] : by_status)
      if (s == status) return *c;
    auto& c =
        metrics::counter("enishi_http_requests_total", "Requests answered", {{"operation", operation}, {"status", std::to_string(status)}});
    by_status.emplace_back(status, &c);
    return c;
  }
};

/// A text that is the same for a whole second of this shard.
struct DateHeader {
  std::time_t second = 0;
  char text[40] = {};
  std::size_t size = 0;
  std::string_view now() {
    timespec ts{};
    clock_gettime(CLOCK_REALTIME_COARSE, &ts);
    if (ts.tv_sec != second) {
      second = ts.tv_sec;
      tm parts{};
      gmtime_r(&ts.tv_sec, &parts);
      size = std::strftime(text, sizeof text, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &parts);
    }
    return {text, size};
  }
};

struct Connection;

struct ShardState {
  explicit ShardState(Shard& s) : shard(s) {}
  Shard& shard;
  // Both live in coroutine frames, which die with their own shard: Impl may outlive some shards and so holds no I/O objects.
  Acceptor* acceptor = nullptr;
  Timer* sweeper = nullptr;
  std::vector<Connection*> connections;
  std::size_t in_flight = 0;
  std::size_t refusing = 0;
  std::vector<RouteStats> stats;  ///< by the route's index; the last one is for what matched none
  DateHeader date;
};

struct Server::Impl : std::enable_shared_from_this<Server::Impl> {
  Impl(Shards& s, Router r, Limits l, std::string a, bool t)
      : shards(s), router(std::move(r)), limits(l), address(std::move(a)), trust_proxy(t) {}

  Shards& shards;
  const Router router;
  const Limits limits;
  const std::string address;
  const bool trust_proxy;
  ExceptionMapper mapper;
  bool log_requests = true;
  Millis sweep_every{250};
  std::vector<std::unique_ptr<ShardState>> states;

  std::atomic<std::size_t> live{0};  ///< connections being served
  std::atomic<bool> draining{false};
  std::atomic<bool> closed{false};          ///< the Server is gone
  SteadyTime drain_by = SteadyTime::max();  // shard 0 only, as all below
  std::vector<std::function<void()>> drained;
  std::size_t still_listening = 0;
  bool drain_done = false;

  metrics::Gauge& connections_gauge = metrics::gauge("enishi_http_connections", "Open HTTP connections");
  metrics::Gauge& in_flight_gauge = metrics::gauge("enishi_http_in_flight", "Requests whose handler runs");
  metrics::Counter& refused_connections = refused("connections");
  metrics::Counter& refused_in_flight = refused("in_flight");
  metrics::Counter& refused_slow = refused("slow_client");
  metrics::Counter& overruns = metrics::counter("enishi_http_overruns_total", "Requests answered after their time limit");
  static metrics::Counter& refused(const char* why) {
    return metrics::counter("enishi_http_refused_total", "Requests and connections refused by a limit", {{"limit", why}});
  }

  void start_drain(std::function<void()> done);
  void drain_step();
  void finish_drain();
  void connection_ended();
  void sweep(ShardState& state);
  static Task<> sweep_loop(std::shared_ptr<Impl> self, ShardState* state);
  static void close_shard(ShardState& state, bool hard);
  static Task<> accept_loop(std::shared_ptr<Impl> self, ShardState* state, Acceptor acceptor);
  static Task<> serve(std::shared_ptr<Impl> self, ShardState* state, Socket socket);
  static Task<> refuse(std::shared_ptr<Impl> self, ShardState* state, Socket socket);
};

/// One client. Lives in the frame of serve(); the shard's list points here for the sweep. All on one shard.
struct Connection final : Stream {
  Connection(std::shared_ptr<Server::Impl> s, ShardState& st, Socket so);
  ~Connection() override;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  std::shared_ptr<Server::Impl> server;
  ShardState& state;
  Socket socket;
  beast::flat_buffer buffer;
  std::optional<bhttp::request_parser<bhttp::string_body>> parser;
  Request request;
  std::string peer;
  std::string head;  ///< of the answer; its memory is reused
  SteadyTime deadline = SteadyTime::max();
  Phase phase = Phase::idle;
  bool expired = false;
  bool gone = false;    ///< the peer hung up or a write failed
  bool chunked = true;  ///< the stream's framing: HTTP/1.0 knows no chunks
  bool first = true;
  std::uint64_t streamed = 0;  ///< bytes of the current stream
  std::function<void()> wake;

  void arm(Phase next, Millis limit) {
    phase = next;
    expired = false;
    deadline = limit == Millis::max() ? SteadyTime::max() : steady_now() + limit;
  }
  void end_stream() {
    if (auto call = std::exchange(wake, nullptr)) call();
  }

  Task<ErrorCode> read_more(std::size_t most);
  using Parts = std::array<asio::const_buffer, 3>;
  Task<bool> write_all(Parts parts);
  Task<bool> send(Answer answer, bool keep_alive, bool head_only);
  Task<bool> send_stream(Answer answer, bool keep_alive, bool head_only);
  void build_head(const Answer& answer, std::optional<std::size_t> length, bool keep_alive);
  Task<> linger();

  Task<bool> write(std::string chunk) override;
  bool ending() const override { return gone || server->draining.load(std::memory_order_relaxed); }
  void on_ending(std::function<void()> w) override {
    wake = std::move(w);
    if (ending()) end_stream();
  }
};

struct Refusal {
  int status;
  Error error;
};

}  // namespace enishi::http

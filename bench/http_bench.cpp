// What a small request costs in src/http alone, in CPU time of the serving thread, beside the floor: the same bytes in and out on the same
// event loop (Asio coroutine: read, write a canned answer) with no HTTP in between. The kernel's share is in both.
//
//   bench_http [seconds] [with-access-log] 2>/dev/null
#include <fmt/format.h>

#include <boost/asio.hpp>
#include <cstdlib>
#include <future>

#include "base/log.hpp"
#include "bench/load.hpp"
#include "http/http.hpp"

namespace enishi::bench {
namespace {

using tcp = asio::ip::tcp;
using Socket = asio::basic_stream_socket<tcp, Executor>;
using Acceptor = asio::basic_socket_acceptor<tcp, Executor>;

constexpr std::string_view kBody = R"({"id":"0190163d-8694-739b-aea5-966c26f8ad91","display_name":"a customer","version":7})";

Task<Result<http::Answer>> small(http::Request& request) {
  (void)request.segment("id");
  co_return http::Answer::json(std::string(kBody));
}

Task<> floor_connection(Socket socket, std::shared_ptr<const std::string> answer) {
  std::array<char, 4096> in{};
  boost::system::error_code ec;
  while (true) {
    co_await socket.async_read_some(asio::buffer(in), asio::redirect_error(use_task, ec));
    if (ec) co_return;
    co_await asio::async_write(socket, asio::buffer(*answer), asio::redirect_error(use_task, ec));
    if (ec) co_return;
  }
}

Task<> floor_accept(std::shared_ptr<Acceptor> acceptor, std::shared_ptr<const std::string> answer) {
  while (true) {
    auto socket = co_await acceptor->async_accept(use_task);
    socket.set_option(tcp::no_delay(true));
    spawn(co_await asio::this_coro::executor, "floor", floor_connection(std::move(socket), answer));
  }
}

double thread_seconds(Shard& shard) {
  std::promise<double> told;
  shard.post([&told] {
    timespec ts{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    told.set_value(static_cast<double>(ts.tv_sec) + static_cast<double>(ts.tv_nsec) * 1e-9);
  });
  return told.get_future().get();
}

/// Microseconds of CPU a request on the shard's thread.
double cost(Shard& shard, unsigned short port, double seconds, int clients, const char* name) {
  const auto make = [](int, std::string& out) {
    append_request(out, "GET", "/v1/customers/0190163d-8694-739b-aea5-966c26f8ad91?fields=all", "token");
  };
  run_load(port, clients, 0.5, make);
  const auto before = thread_seconds(shard);
  const auto result = run_load(port, clients, seconds, make);
  const auto used = thread_seconds(shard) - before;
  if (result.statuses.size() != 1 || !result.statuses.contains(200))
    throw std::runtime_error("not every answer was 200: " + result.first_error);
  const auto each = used / static_cast<double>(result.requests) * 1e6;
  fmt::print("{:<6} {:>3} clients: {:>7.0f} requests/s, p50 {:.3f} ms, p99 {:.3f} ms, {:.2f} us of CPU a request\n", name, clients,
             result.per_second, result.p50_ms, result.p99_ms, each);
  return each;
}

int run(double seconds, bool with_log) {
  set_log_level(with_log ? Level::info : Level::warning);
  Shards shards(2);  // one serves http, the other the floor; never at the same time
  http::Router router;
  router.add({http::Method::get, "/v1/customers/{id}", "get_customer", small, 0, Millis(0)});
  router.add({http::Method::get, "/v1/customers", "list_customers", small, 0, Millis(0)});
  Shards serving(1);
  http::Server server(serving, router, {}, "127.0.0.1:0", false);
  const auto port = server.listen();
  serving.start();

  auto answer = std::make_shared<const std::string>(
      fmt::format("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Filler: {}\r\nContent-Length: {}\r\n\r\n{}",
                  std::string(440, 'x'), kBody.size(), kBody));
  auto acceptor = std::make_shared<Acceptor>(shards[0].executor(), tcp::endpoint(asio::ip::address_v4::loopback(), 0));
  spawn(shards[0], "floor", floor_accept(acceptor, answer));
  shards.start();

  for (const int clients : {1, 32}) {
    const auto floor = cost(shards[0], acceptor->local_endpoint().port(), seconds, clients, "floor");
    const auto http = cost(serving[0], port, seconds, clients, "http");
    fmt::print("       {:>3} clients: {:.2f} us above the floor, ratio {:.2f}\n", clients, http - floor, http / floor);
  }
  shards.stop();
  serving.stop();
  shards.join();
  serving.join();
  return 0;
}

}  // namespace
}  // namespace enishi::bench

int main(int argc, char** argv) { return enishi::bench::run(argc > 1 ? std::atof(argv[1]) : 3.0, argc > 2); }

// A load generator that costs little: one thread, epoll, keep-alive connections, each with one request under way (closed loop).
// It must not eat the two cores that server and database share, so it writes and reads bytes and nothing more.
//
//   Load load(port, 32);
//   auto r = load.run(8.0, [&](int client, std::string& out) { append_request(out, "GET", "/v1/screen-pop?phone=…", token[client]); });
//   r.per_second; r.p99_ms; r.statuses[200];
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace enishi::bench {

struct LoadResult {
  double seconds = 0;
  std::uint64_t requests = 0;
  double per_second = 0;
  double p50_ms = 0, p99_ms = 0, max_ms = 0;
  std::map<int, std::uint64_t> statuses;
  std::string first_error;  ///< head and body of the first answer that was not 2xx
  std::uint64_t bytes = 0;
};

/// Appends one HTTP/1.1 request; `token` is a bearer token.
void append_request(std::string& out, std::string_view method, std::string_view target, std::string_view token, std::string_view body = {});

/// `make` writes the next request of a client, or nothing to let that client stop; `take` (optional) sees each body. With `rate` (requests
/// a second, of all clients together) requests come when they are due, and latency counts from then: a server that falls behind cannot hide
/// it.
LoadResult run_load(unsigned short port, int clients, double seconds, const std::function<void(int client, std::string& out)>& make,
                    const std::function<void(int client, int status, std::string_view body)>& take = {}, double rate = 0);

}  // namespace enishi::bench

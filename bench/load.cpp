#include "load.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <deque>
#include <stdexcept>
#include <system_error>

namespace enishi::bench {
namespace {

using Clock = std::chrono::steady_clock;

struct Connection {
  int fd = -1;
  std::string out, in;
  std::size_t sent = 0;
  Clock::time_point began;
  bool idle = true;
};

/// Length of the whole answer at the start of `in`, or 0 while it is not all there; sets the status and the body.
std::size_t whole_answer(const std::string& in, int& status, std::string_view& body) {
  const auto head = in.find("\r\n\r\n");
  if (head == std::string::npos) return 0;
  status = std::atoi(in.c_str() + 9);
  std::size_t length = 0;
  const std::string_view text(in.data(), head + 2);
  for (const std::string_view name : {"\r\nContent-Length: ", "\r\ncontent-length: "})
    if (const auto at = text.find(name); at != std::string_view::npos)
      length = static_cast<std::size_t>(std::atoll(in.c_str() + at + name.size()));
  if (in.size() < head + 4 + length) return 0;
  body = std::string_view(in).substr(head + 4, length);
  return head + 4 + length;
}

}  // namespace

void append_request(std::string& out, std::string_view method, std::string_view target, std::string_view token, std::string_view body) {
  out.append(method)
      .append(" ")
      .append(target)
      .append(" HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ")
      .append(token)
      .append("\r\n");
  if (!body.empty() || method != "GET")
    out.append("Content-Type: application/json\r\nContent-Length: ").append(std::to_string(body.size())).append("\r\n");
  out.append("\r\n").append(body);
}

LoadResult run_load(unsigned short port, int clients, double seconds, const std::function<void(int, std::string&)>& make,
                    const std::function<void(int, int, std::string_view)>& take, double rate) {
  const int loop = epoll_create1(EPOLL_CLOEXEC);
  std::vector<Connection> all(static_cast<std::size_t>(clients));
  for (std::size_t i = 0; i < all.size(); ++i) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
      throw std::system_error(errno, std::generic_category(), "connect to 127.0.0.1:" + std::to_string(port));
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    all[i].fd = fd;
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = i;
    epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event);
  }
  LoadResult result;
  std::vector<float> latencies;
  latencies.reserve(1 << 20);
  const auto start = Clock::now();
  const auto end = start + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  int busy = 0;
  // Those that wait for their turn, the one that has waited longest first; the n-th request of all is due n / rate after the start.
  std::deque<std::size_t> waiting;
  std::uint64_t sent = 0;
  const auto due = [&] {
    return start + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(static_cast<double>(sent) / rate));
  };
  auto send_next = [&](std::size_t i) {
    auto& c = all[i];
    c.out.clear();
    make(static_cast<int>(i), c.out);
    if (c.out.empty()) return;
    c.began = rate > 0 ? due() : Clock::now();
    ++sent;
    c.idle = false;
    ++busy;
    c.sent = 0;
    while (c.sent < c.out.size()) {
      const auto n = ::send(c.fd, c.out.data() + c.sent, c.out.size() - c.sent, MSG_NOSIGNAL);
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;  // requests are far smaller than a socket's buffer
      if (n < 0) throw std::system_error(errno, std::generic_category(), "send");
      c.sent += static_cast<std::size_t>(n);
    }
  };
  for (std::size_t i = 0; i < all.size(); ++i)
    if (rate > 0)
      waiting.push_back(i);
    else
      send_next(i);
  std::vector<epoll_event> events(all.size());
  std::vector<char> buffer(256 * 1024);
  auto heard = Clock::now();
  for (;;) {
    for (; !waiting.empty() && due() <= Clock::now() && due() < end; waiting.pop_front()) send_next(waiting.front());
    const bool more = !waiting.empty() && due() < end;
    if (busy == 0 && !more) break;
    const int n = epoll_wait(loop, events.data(), static_cast<int>(events.size()), more ? 1 : 1000);
    if (n > 0 || busy == 0) heard = Clock::now();
    if (Clock::now() - heard > std::chrono::seconds(30)) throw std::runtime_error("no answer for 30 seconds");
    for (int e = 0; e < n; ++e) {
      auto& c = all[events[static_cast<std::size_t>(e)].data.u64];
      const auto got = ::recv(c.fd, buffer.data(), buffer.size(), 0);
      if (got <= 0) {
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
        throw std::runtime_error("the server closed a connection");
      }
      c.in.append(buffer.data(), static_cast<std::size_t>(got));
      int status = 0;
      std::string_view body;
      if (const auto length = whole_answer(c.in, status, body); length > 0) {
        const auto now = Clock::now();
        --busy;
        c.idle = true;
        latencies.push_back(std::chrono::duration<float, std::milli>(now - c.began).count());
        ++result.statuses[status];
        result.bytes += length;
        if (status >= 300 && result.first_error.empty()) result.first_error = c.in.substr(0, length);
        if (take) take(static_cast<int>(events[static_cast<std::size_t>(e)].data.u64), status, body);
        c.in.erase(0, length);
        if (rate > 0)
          waiting.push_back(events[static_cast<std::size_t>(e)].data.u64);
        else if (now < end)
          send_next(events[static_cast<std::size_t>(e)].data.u64);
      }
    }
  }
  result.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  for (auto& c : all) close(c.fd);
  close(loop);
  result.requests = latencies.size();
  result.per_second = static_cast<double>(result.requests) / result.seconds;
  if (!latencies.empty()) {
    std::sort(latencies.begin(), latencies.end());
    auto at = [&](double q) {
      return static_cast<double>(
          latencies[std::min(latencies.size() - 1, static_cast<std::size_t>(q * static_cast<double>(latencies.size())))]);
    };
    result.p50_ms = at(0.50);
    result.p99_ms = at(0.99);
    result.max_ms = static_cast<double>(latencies.back());
  }
  return result;
}

}  // namespace enishi::bench

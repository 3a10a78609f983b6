#include "http/http.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <future>

#include "base/id.hpp"
#include "base/log.hpp"
#include "base/metrics.hpp"
#include "http/client.hpp"
#include "http/json.hpp"
#include "http/uri.hpp"
#include "io/offload.hpp"

namespace enishi::http {
namespace {

Task<Result<Answer>> hello(Request& r) {
  co_return Answer::json(fmt::format(R"({{"id":{},"path":{},"q":{}}})", json_quote(r.segment("id")), json_quote(r.path),
                                     json_quote(r.parameter("q").value_or("none"))));
}

Task<Result<Answer>> echo(Request& r) { co_return Answer::json(fmt::format(R"({{"bytes":{}}})", r.body.size())); }

Task<Result<Answer>> big(Request&) {
  Answer answer;
  answer.body.assign(10'000'000, 'x');
  answer.type = "text/plain";
  co_return answer;
}

struct MappedFailure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

Task<Result<Answer>> throws(Request& r) {
  if (r.parameter("what") == "mapped") throw MappedFailure("gone");
  if (r.parameter("what") == "full") throw OffloadFull();
  throw std::runtime_error("secret words");
  co_return Answer::none();
}

Task<Result<Answer>> refuses(Request&) {
  auto bad = fail(Kind::unprocessable, "VALIDATION_FAILED", "1 field of the body cannot be accepted.",
                  {{"/phones/0/raw", "TOO_SHORT", "「12」 is short"}});
  bad.value().extra = R"({"state":"NEW"})";
  bad.value().retry_after = 7;
  co_return bad;
}

Task<Result<Answer>> decodes(Request& r) {
  Decoder in(r);
  const auto name = in.text("name", {.required = true, .max = 5});
  if (auto bad = in.finish()) co_return *bad;
  co_return Answer::json(json_quote(*name), 201);
}

Task<Result<Answer>> headers(Request& r) {
  const auto key = idempotency_key(r);
  if (!key) co_return tl::make_unexpected(key.error());
  const auto version = if_match(r);
  if (!version) co_return tl::make_unexpected(version.error());
  co_return Answer::json(fmt::format(R"({{"key":{},"version":{},"cookie":{},"remote":{},"trace":{},"secure":{}}})",
                                     json_quote(key->value_or("none")), *version, json_quote(r.cookie("sid")), json_quote(r.remote),
                                     json_quote(r.trace_id), r.secure));
}

Task<Result<Answer>> splits_its_head(Request&) { co_return Answer::none().with("X-Evil", "a\r\nSet-Cookie: b=c"); }

Task<Result<Answer>> brings_own_policy(Request&) {
  Answer answer;
  answer.type = "text/html; charset=utf-8";
  answer.body = "<p>";
  answer.with("Content-Security-Policy", "default-src 'self'").with("Cache-Control", "max-age=5");
  co_return answer;
}

Task<Result<Answer>> html(Request&) {
  Answer answer;
  answer.type = "text/html; charset=utf-8";
  answer.body = "<p>";
  co_return answer;
}

Task<> count_up(Stream& out) {
  for (int i = 0; i < 3; ++i)
    if (!co_await out.write(fmt::format("data: {}\n\n", i))) co_return;
}

Task<Result<Answer>> streams(Request&) {
  Answer answer;
  answer.type = "text/event-stream";
  answer.stream = [](Stream& out) { return count_up(out); };
  co_return answer;
}

Task<> break_off(Stream& out) {
  co_await out.write("some");
  throw std::runtime_error("the source broke");
}

Task<Result<Answer>> breaks_off(Request&) {
  Answer answer;
  answer.type = "text/event-stream";
  answer.stream = [](Stream& out) { return break_off(out); };
  co_return answer;
}

/// What a test and a handler tell each other across threads.
struct Gate {
  std::promise<void> entered, opened, ended;
  std::shared_future<void> open = opened.get_future().share();
  bool timed_out_write = false;
  Event* event = nullptr;
  Shard* shard = nullptr;
};

/// Waits, without blocking the shard, until the test opens the gate.
Task<Result<Answer>> wait_at(Gate* gate, Request& r) {
  Event event;
  gate->event = &event;
  gate->shard = r.shard;
  gate->entered.set_value();
  const auto limit = Deadline::in(Millis(10000));
  const bool opened = co_await event.wait(limit);
  co_return Answer::json(opened ? "\"done\"" : "\"gave up\"");
}

Task<> stream_until_ending(Gate* gate, Stream& out) {
  Event event;
  out.on_ending([&event] { event.notify_all(); });
  if (!co_await out.write("data: first\n\n")) co_return;
  gate->entered.set_value();
  const auto limit = Deadline::in(Millis(10000));
  const bool woken = out.ending() || co_await event.wait(limit);
  if (woken) gate->ended.set_value();
}

Task<Result<Answer>> streams_long(Gate* gate, Request&) {
  Answer answer;
  answer.type = "text/event-stream";
  answer.stream = [gate](Stream& out) { return stream_until_ending(gate, out); };
  co_return answer;
}

Task<> flood(Gate* gate, Stream& out) {
  gate->entered.set_value();
  while (co_await out.write(std::string(1'000'000, 'x'))) {
  }
  gate->ended.set_value();
}

Task<Result<Answer>> floods(Gate* gate, Request&) {
  Answer answer;
  answer.stream = [gate](Stream& out) { return flood(gate, out); };
  co_return answer;
}

/// A blocking client that says exactly what it is told.
class Raw {
 public:
  explicit Raw(unsigned short port) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    timeval limit{10, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
  }
  ~Raw() { close(); }
  Raw(const Raw&) = delete;
  Raw& operator=(const Raw&) = delete;
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  /// Closes with a reset, as a crashed peer does.
  void reset() {
    const linger now{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close();
  }
  [[nodiscard]] bool connected() const { return connected_; }
  Raw& send(std::string_view text) {
    while (!text.empty()) {
      const auto n = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
      if (n <= 0) break;
      text.remove_prefix(static_cast<std::size_t>(n));
    }
    return *this;
  }
  /// Reads until `what` is there (it stays in `seen`) or the peer closes.
  bool until(std::string_view what) {
    while (seen.find(what) == std::string::npos)
      if (!more()) return false;
    return true;
  }
  /// Everything up to the end of the connection.
  std::string rest() {
    while (more()) {
    }
    return seen;
  }
  /// True when the peer closes (a time-out is no close).
  bool closed() {
    while (more()) {
    }
    return ended_;
  }
  /// One answer with Content-Length, removed from what was seen.
  std::string answer(bool head_only = false) {
    if (!until("\r\n\r\n")) return seen;
    const auto head = seen.find("\r\n\r\n") + 4;
    std::size_t length = 0;
    if (const auto at = seen.find("Content-Length: "); !head_only && at != std::string::npos && at < head)
      length = std::stoul(seen.substr(at + 16));
    while (seen.size() < head + length)
      if (!more()) break;
    auto out = seen.substr(0, head + length);
    seen.erase(0, head + length);
    return out;
  }
  std::string seen;

 private:
  bool more() {
    char part[65536];
    const auto n = ::recv(fd_, part, sizeof part, 0);
    if (n > 0)
      seen.append(part, static_cast<std::size_t>(n));
    else
      ended_ = n == 0 || errno == ECONNRESET;
    return n > 0;
  }
  int fd_;
  bool connected_ = false;
  bool ended_ = false;
};

bool has(const std::string& text, std::string_view what) { return text.find(what) != std::string::npos; }
int status(const std::string& answer) { return answer.size() > 12 ? std::stoi(answer.substr(9, 3)) : 0; }

class Http : public testing::Test {
 protected:
  Http() {
    limits.read_head = Millis(5000);
    limits.drain = Millis(5000);
    set_log_level(Level::error);
  }
  ~Http() override {
    if (server) {
      std::promise<void> done;
      server->drain([&] { done.set_value(); });
      done.get_future().wait();
    }
    shards.stop();
    shards.join();
    server.reset();
    set_log_level(Level::info);
  }
  void add(Method method, std::string pattern, Handler handler, std::size_t body_limit = 0, Millis time_limit = Millis(0)) {
    Route route{method, pattern, "test_operation", std::move(handler), body_limit, time_limit};
    router.add(std::move(route));
  }
  void start(bool trust_proxy = false, std::string address = "127.0.0.1:0") {
    add(Method::get, "/v1/hello/{id}", hello);
    add(Method::post, "/v1/echo", echo, 20'000'000);
    add(Method::post, "/v1/small", echo, 100);
    add(Method::put, "/v1/echo", echo);
    add(Method::get, "/v1/big", big);
    add(Method::get, "/v1/throws", throws);
    add(Method::get, "/v1/refuses", refuses);
    add(Method::post, "/v1/decodes", decodes);
    add(Method::get, "/v1/headers", headers);
    add(Method::get, "/v1/splits", splits_its_head);
    add(Method::get, "/v1/policy", brings_own_policy);
    add(Method::get, "/v1/html", html);
    add(Method::get, "/v1/streams", streams);
    add(Method::get, "/v1/breaks", breaks_off);
    add(Method::get, "/v1/waits", [g = &gate](Request& r) { return wait_at(g, r); });
    add(Method::get, "/v1/long", [g = &gate](Request& r) { return streams_long(g, r); });
    add(Method::get, "/v1/floods", [g = &gate](Request& r) { return floods(g, r); });
    add(Method::get, "/{path...}", static_files(files));
    server = std::make_unique<Server>(shards, router, limits, std::move(address), trust_proxy);
    server->map_exceptions([](std::exception_ptr thrown) -> std::optional<Error> {
      try {
        std::rethrow_exception(thrown);
      } catch (const MappedFailure&) {
        return Error{Kind::unavailable, "DATABASE_UNAVAILABLE", "try again", {}, {}, 3};
      } catch (...) {
        return std::nullopt;
      }
    });
    port = server->listen();
    shards.start();
  }
  std::string get(std::string_view target, std::string_view more = "") {
    Raw client(port);
    client.send(fmt::format("GET {} HTTP/1.1\r\nHost: x\r\n{}Connection: close\r\n\r\n", target, more));
    return client.rest();
  }
  std::string say(std::string_view text) {
    Raw client(port);
    client.send(text);
    return client.rest();
  }
  void open_gate() {
    gate.shard->post([this] { gate.event->notify_all(); });
  }

  Shards shards{1};
  Router router;
  Limits limits;
  Gate gate;
  std::vector<StaticFile> files{{"index.html", "<html><script nonce=\"__CSP_NONCE__\"></script><style nonce=\"__CSP_NONCE__\">"},
                                {"assets/app-1234.js", "plain script"},
                                {"assets/app-1234.js.br", "BR"},
                                {"assets/app-1234.js.gz", "GZ"},
                                {"favicon.svg", "<svg/>"},
                                {"empty.txt", ""}};
  std::unique_ptr<Server> server;
  unsigned short port = 0;
};

TEST_F(Http, answers_with_the_decoded_path_segments_and_query) {
  start();
  const auto answer = get("/v1/hello/%E7%94%B0%2F1?q=a+b%26c&x");
  EXPECT_EQ(status(answer), 200);
  EXPECT_TRUE(has(answer, R"({"id":"田/1","path":"/v1/hello/田/1","q":"a b&c"})")) << answer;
  EXPECT_EQ(status(get("http://example.test/v1/hello/1")), 200);
}

TEST_F(Http, keeps_the_connection_and_answers_pipelined_requests_in_order) {
  start();
  Raw client(port);
  std::string all;
  for (int i = 0; i < 50; ++i)
    all += fmt::format("POST /v1/echo HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{}", i, std::string(i, 'G'));
  client.send(all);
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(has(client.answer(), fmt::format(R"({{"bytes":{}}})", i)));
  client.send("GET /v1/hello/9 HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(has(client.answer(), R"("id":"9")"));
}

TEST_F(Http, reads_a_request_that_comes_byte_by_byte) {
  start();
  Raw client(port);
  for (const char c :
       std::string("POST /v1/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"))
    client.send(std::string_view(&c, 1));
  EXPECT_TRUE(has(client.answer(), R"({"bytes":5})"));
}

TEST_F(Http, closes_for_http_1_0_unless_asked_to_keep) {
  start();
  EXPECT_TRUE(has(say("GET /v1/hello/1 HTTP/1.0\r\n\r\n"), "Connection: close"));
  Raw client(port);
  client.send("GET /v1/hello/1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_TRUE(has(client.answer(), "Connection: keep-alive"));
  client.send("GET /v1/streams HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const auto streamed = client.rest();
  EXPECT_FALSE(has(streamed, "chunked"));
  EXPECT_TRUE(streamed.ends_with("\r\n\r\ndata: 0\n\ndata: 1\n\ndata: 2\n\n")) << streamed;
}

TEST_F(Http, refuses_what_cannot_be_read_with_400) {
  start();
  for (const std::string target : {"/v1/hello/%", "/v1/hello/%2", "/v1/hello/%zz", "/v1/hello/%ff", "/v1/hello/%00", "/v1/hello/%c0%af",
                                   "/v1/hello/1?q=%ff", "/v1/hello/1?%00=1", "/v1/hello/1?q=%", "*", "v1/hello/1"}) {
    const auto answer = get(target);
    EXPECT_EQ(status(answer), 400) << target;
    EXPECT_TRUE(has(answer, R"("code":"REQUEST_MALFORMED")")) << target << answer;
  }
  EXPECT_EQ(status(get("/v1/hello/\xe3\x81")), 400);
  for (const std::string request :
       {"GET /v1/hello/1 HTTP/1.1\r\n\r\n", "GET /v1/hello/1 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "\x16\x03\x01 hello\r\n\r\n",
        "GET  /v1/hello/1 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /v1/hello/1 HTTP/1.1\r\nHost : a\r\n\r\n"})
    EXPECT_EQ(status(say(request)), 400) << request;
  EXPECT_EQ(status(say("GET / HTTP/2.0\r\nHost: a\r\n\r\n")), 505);
}

TEST_F(Http, refuses_what_two_servers_could_read_in_two_ways) {
  start();
  const std::string head = "POST /v1/echo HTTP/1.1\r\nHost: x\r\n";
  const std::string smuggled = "0\r\n\r\nGET /v1/hello/smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
  for (const std::string framing :
       {"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n", "Content-Length: 5, 6\r\n", "Content-Length: +5\r\n", "Content-Length: -1\r\n",
        "Content-Length: 0x5\r\n", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"}) {
    const auto answer = say(head + framing + "\r\n" + smuggled);
    EXPECT_EQ(status(answer), 400) << framing;
    EXPECT_FALSE(has(answer, "\"id\":\"smuggled\"")) << framing << answer;
  }
  for (const std::string framing :
       {"Transfer-Encoding: gzip\r\n", "Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding: xchunked\r\n"}) {
    const auto answer = say(head + framing + "\r\n" + smuggled);
    EXPECT_EQ(status(answer), 501) << framing;
    EXPECT_FALSE(has(answer, "\"id\":\"smuggled\"")) << framing;
  }
  EXPECT_EQ(status(say("POST /v1/echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + smuggled)), 400);
  EXPECT_EQ(status(say(head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n")), 400);
}

TEST_F(Http, answers_404_and_405_with_what_is_allowed) {
  start();
  const auto missing = get("/v1/nothing");
  EXPECT_EQ(status(missing), 404);
  EXPECT_TRUE(has(missing, R"("code":"NOT_FOUND")"));
  EXPECT_EQ(status(say("POST /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")), 404);
  const auto wrong = get("/v1/echo");
  EXPECT_EQ(status(wrong), 405);
  EXPECT_TRUE(has(wrong, "Allow: POST, PUT\r\n")) << wrong;
  const auto options = say("OPTIONS /v1/hello/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(status(options), 405);
  EXPECT_TRUE(has(options, "Allow: GET, HEAD\r\n")) << options;
  Raw client(port);
  client.send("DELETE /v1/echo HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/hello/after HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(status(client.answer()), 405);
  EXPECT_EQ(status(client.answer()), 200);
}

TEST_F(Http, head_gets_the_head_of_get_without_a_body) {
  start();
  Raw client(port);
  client.send("HEAD /v1/hello/1 HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/hello/2 HTTP/1.1\r\nHost: x\r\n\r\n");
  const auto head = client.answer(true);
  EXPECT_EQ(status(head), 200);
  EXPECT_TRUE(has(head, "Content-Length: 42\r\n")) << head;
  const auto next = client.answer();
  EXPECT_TRUE(next.starts_with("HTTP/1.1 200")) << next;
  EXPECT_TRUE(has(next, R"("id":"2")"));
}

TEST_F(Http, refuses_a_head_that_is_too_large_with_431) {
  limits.header = 2000;
  start();
  EXPECT_EQ(status(get("/v1/hello/1", "X-A: " + std::string(1500, 'a') + "\r\n")), 200);
  const auto answer = get("/v1/hello/1", "X-A: " + std::string(100'000, 'a') + "\r\n");
  EXPECT_EQ(status(answer), 431);
  EXPECT_TRUE(has(answer, R"("code":"HEADER_TOO_LARGE")"));
}

TEST_F(Http, refuses_a_body_over_the_routes_bound_without_reading_it) {
  start();
  Raw client(port);
  client.send("POST /v1/small HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\n\r\n");
  const auto answer = client.answer();
  EXPECT_EQ(status(answer), 413);
  EXPECT_TRUE(has(answer, R"("code":"BODY_TOO_LARGE")"));
  EXPECT_TRUE(has(answer, "Connection: close"));
  EXPECT_TRUE(client.closed());
  EXPECT_EQ(status(say("POST /v1/small HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nConnection: close\r\n\r\n" + std::string(100, 'x'))),
            200);
  // Chunked bodies tell their size only as they come.
  EXPECT_EQ(status(say("POST /v1/small HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n" + std::string(64, 'x') +
                       "\r\n40\r\n" + std::string(64, 'x') + "\r\n0\r\n\r\n")),
            413);
  // A client that has sent a lot already still gets to read the answer.
  EXPECT_EQ(status(say("POST /v1/small HTTP/1.1\r\nHost: x\r\nContent-Length: 400000\r\n\r\n" + std::string(400'000, 'x'))), 413);
}

TEST_F(Http, takes_and_gives_ten_megabytes) {
  start();
  const std::string body(10'000'000, 'x');
  EXPECT_TRUE(has(say("POST /v1/echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 10000000\r\n\r\n" + body),
                  R"({"bytes":10000000})"));
  const auto answer = get("/v1/big");
  EXPECT_EQ(answer.size() - answer.find("\r\n\r\n") - 4, 10'000'000U);
}

TEST_F(Http, says_100_continue_before_it_waits_for_the_body) {
  start();
  Raw client(port);
  client.send("POST /v1/echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n\r\n");
  ASSERT_TRUE(client.until("HTTP/1.1 100 Continue\r\n\r\n"));
  client.send("abc");
  EXPECT_TRUE(has(client.rest(), R"({"bytes":3})"));
  EXPECT_TRUE(say("POST /v1/small HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 300\r\n\r\n").starts_with("HTTP/1.1 413"));
  EXPECT_TRUE(say("POST /v1/small HTTP/1.1\r\nHost: x\r\nExpect: wonders\r\nContent-Length: 3\r\n\r\nabc").starts_with("HTTP/1.1 417"));
}

TEST_F(Http, gives_up_on_slow_heads_and_bodies_with_408_and_on_idle_ones_silently) {
  limits.read_head = Millis(60);
  limits.read_body = Millis(60);
  limits.idle = Millis(60);
  start();
  Raw head(port), body(port), idle(port), fresh(port);
  head.send("GET /v1/hel");
  body.send("POST /v1/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
  idle.send("GET /v1/hello/1 HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(status(idle.answer()), 200);
  const auto slow_head = head.rest(), slow_body = body.rest();
  EXPECT_EQ(status(slow_head), 408);
  EXPECT_TRUE(has(slow_head, R"("code":"REQUEST_TIMEOUT")"));
  EXPECT_EQ(status(slow_body), 408);
  EXPECT_TRUE(idle.closed());
  EXPECT_EQ(idle.seen, "");
  EXPECT_TRUE(fresh.closed());
  EXPECT_EQ(fresh.seen, "");
}

TEST_F(Http, does_not_wait_for_ever_for_a_reader_that_stands_still) {
  limits.write = Millis(80);
  start();
  Raw client(port);
  client.send("GET /v1/floods HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(gate.ended.get_future().wait_for(std::chrono::seconds(8)), std::future_status::ready);
}

TEST_F(Http, answers_503_and_closes_when_connections_are_used_up) {
  limits.connections = 2;
  start();
  Raw one(port), two(port);
  one.send("GET /v1/hello/1 HTTP/1.1\r\nHost: x\r\n\r\n");
  two.send("GET /v1/hello/1 HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(status(one.answer()), 200);
  EXPECT_EQ(status(two.answer()), 200);
  Raw three(port);
  three.send("GET /v1/hello/1 HTTP/1.1\r\nHost: x\r\n\r\n");
  const auto refused = three.answer();
  EXPECT_EQ(status(refused), 503);
  EXPECT_TRUE(has(refused, "Retry-After: 1\r\n"));
  EXPECT_TRUE(has(refused, R"("code":"TOO_MANY_CONNECTIONS")"));
  EXPECT_TRUE(three.closed());
}

TEST_F(Http, answers_503_with_retry_after_when_requests_in_flight_are_used_up) {
  limits.in_flight = 1;
  start();
  Raw waiting(port), other(port);
  waiting.send("GET /v1/waits HTTP/1.1\r\nHost: x\r\n\r\n");
  gate.entered.get_future().wait();
  other.send("GET /v1/hello/1 HTTP/1.1\r\nHost: x\r\n\r\n");
  const auto refused = other.answer();
  EXPECT_EQ(status(refused), 503);
  EXPECT_TRUE(has(refused, R"("code":"OVERLOADED")"));
  EXPECT_TRUE(has(refused, "Retry-After: 1\r\n"));
  open_gate();
  EXPECT_TRUE(has(waiting.answer(), "done"));
  other.send("GET /v1/hello/1 HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(status(other.answer()), 200);
}

TEST_F(Http, gives_the_true_answer_of_a_handler_that_overruns) {
  limits.request = Millis(1);
  start();
  Raw client(port);
  client.send("GET /v1/waits HTTP/1.1\r\nHost: x\r\n\r\n");
  gate.entered.get_future().wait();
  const auto& overruns = metrics::counter("enishi_http_overruns_total", "Requests answered after their time limit");
  const auto before = overruns.value();
  const auto passed = Deadline::in(Millis(5));
  while (!passed.passed()) std::this_thread::yield();
  open_gate();
  EXPECT_TRUE(has(client.answer(), "\"done\""));
  client.send("GET /v1/hello/1 HTTP/1.1\r\nHost: x\r\n\r\n");  // the count is there once the next answer is
  EXPECT_EQ(status(client.answer()), 200);
  EXPECT_GE(overruns.value(), before + 1);
}

TEST_F(Http, turns_errors_and_exceptions_into_problems) {
  start();
  const auto refused = get("/v1/refuses", "X-Request-Id: request-0001\r\n");
  EXPECT_EQ(status(refused), 422);
  EXPECT_TRUE(has(refused, "Content-Type: application/problem+json\r\n"));
  EXPECT_TRUE(has(refused, "X-Request-Id: request-0001\r\n"));
  EXPECT_TRUE(has(refused, "Retry-After: 7\r\n"));
  const auto problem = boost::json::parse(refused.substr(refused.find("\r\n\r\n") + 4)).as_object();
  EXPECT_EQ(problem.at("type"), "about:blank");
  EXPECT_EQ(problem.at("title"), "Unprocessable Content");
  EXPECT_EQ(problem.at("status"), 422);
  EXPECT_EQ(problem.at("code"), "VALIDATION_FAILED");
  EXPECT_EQ(problem.at("request_id"), "request-0001");
  EXPECT_EQ(problem.at("state"), "NEW");
  EXPECT_EQ(boost::json::serialize(problem.at("errors")), R"([{"pointer":"/phones/0/raw","code":"TOO_SHORT","detail":"「12」 is short"}])");

  set_log_level(Level(4));
  const auto broken = get("/v1/throws");
  set_log_level(Level::error);
  EXPECT_EQ(status(broken), 500);
  EXPECT_TRUE(has(broken, R"("code":"INTERNAL")"));
  EXPECT_FALSE(has(broken, "secret"));
  const auto mapped = get("/v1/throws?what=mapped");
  EXPECT_EQ(status(mapped), 503);
  EXPECT_TRUE(has(mapped, "DATABASE_UNAVAILABLE") && has(mapped, "Retry-After: 3\r\n"));
  EXPECT_EQ(status(get("/v1/throws?what=full")), 503);
}

TEST_F(Http, tells_all_wrong_fields_of_a_body_at_once) {
  start();
  const auto post = [&](std::string_view type, std::string_view body) {
    return say(fmt::format("POST /v1/decodes HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}Content-Length: {}\r\n\r\n{}", type, body.size(),
                           body));
  };
  constexpr auto kJson = "Content-Type: application/json; charset=utf-8\r\n";
  EXPECT_EQ(status(post(kJson, R"({"name":"縁"})")), 201);
  const auto wrong = post(kJson, R"({"name":"too long","what":1})");
  EXPECT_EQ(status(wrong), 422);
  EXPECT_TRUE(has(wrong, R"("/name","code":"TOO_LONG")") && has(wrong, R"("/what","code":"UNKNOWN_FIELD")")) << wrong;
  EXPECT_EQ(status(post(kJson, "{")), 400);
  EXPECT_EQ(status(post("Content-Type: text/plain\r\n", "{}")), 415);
  EXPECT_EQ(status(post("", "{}")), 415);
}

TEST_F(Http, reads_versions_keys_cookies_and_traces_from_headers) {
  start(true);
  const auto all =
      get("/v1/headers",
          "If-Match: \"7\"\r\nIdempotency-Key: k-1\r\nCookie: a=b; sid=abc; xsid=no\r\nX-Forwarded-For: 6.6.6.6, 203.0.113.9\r\n"
          "X-Forwarded-Proto: https\r\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n");
  EXPECT_TRUE(has(
      all, R"({"key":"k-1","version":7,"cookie":"abc","remote":"203.0.113.9","trace":"4bf92f3577b34da6a3ce929d0e0e4736","secure":true})"))
      << all;
  EXPECT_TRUE(has(all, "Strict-Transport-Security: "));
  EXPECT_EQ(status(get("/v1/headers")), 428);
  for (const auto* bad : {"*", "7", "W/\"7\"", "\"\"", "\"7\", \"8\"", "\"-7\"", "\"99999999999999999999\""}) {
    const auto answer = get("/v1/headers", fmt::format("If-Match: {}\r\n", bad));
    EXPECT_EQ(status(answer), 400) << bad;
    EXPECT_TRUE(has(answer, "IF_MATCH_INVALID")) << bad;
  }
  for (const auto& bad : {std::string(), std::string("a b"), std::string(201, 'k'), std::string("\xe7\x94\xb0")})
    EXPECT_TRUE(has(get("/v1/headers", "If-Match: \"1\"\r\nIdempotency-Key: " + bad + "\r\n"), "IDEMPOTENCY_KEY_INVALID")) << bad;
}

TEST_F(Http, believes_no_proxy_it_was_not_told_of_and_no_odd_request_id_or_trace) {
  start();
  const auto answer = get("/v1/headers",
                          "If-Match: \"1\"\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Request-Id: short\r\n"
                          "traceparent: 00-00000000000000000000000000000000-00f067aa0ba902b7-01\r\n");
  EXPECT_TRUE(has(answer, R"("remote":"127.0.0.1")")) << answer;
  EXPECT_TRUE(has(answer, R"("secure":false)"));
  EXPECT_FALSE(has(answer, "Strict-Transport-Security"));
  EXPECT_FALSE(has(answer, R"("trace":"00000000)"));
  const auto id = answer.substr(answer.find("X-Request-Id: ") + 14, 36);
  EXPECT_TRUE(Uuid::parse(id)) << id;
}

TEST_F(Http, puts_security_headers_on_every_answer) {
  start();
  for (const auto& answer : {get("/v1/hello/1"), get("/v1/nothing"), get("/%"), get("/"), get("/v1/streams")})
    for (const auto* line :
         {"X-Content-Type-Options: nosniff\r\n", "Referrer-Policy: no-referrer\r\n", "Cross-Origin-Opener-Policy: same-origin\r\n",
          "Cross-Origin-Resource-Policy: same-origin\r\n", "X-Frame-Options: DENY\r\n", "Permissions-Policy: ", "Date: "})
      EXPECT_TRUE(has(answer, line)) << line << answer;
  EXPECT_TRUE(has(get("/v1/hello/1"), "Cache-Control: no-store\r\n"));
  EXPECT_TRUE(has(get("/v1/html"), "Content-Security-Policy: default-src 'none'; script-src 'self'"));
  const auto own = get("/v1/policy");
  EXPECT_TRUE(has(own, "Content-Security-Policy: default-src 'self'\r\n") && has(own, "Cache-Control: max-age=5\r\n"));
  EXPECT_FALSE(has(own, "default-src 'none'") || has(own, "no-store"));
}

TEST_F(Http, answers_500_rather_than_let_a_header_split_the_head) {
  start();
  set_log_level(Level(4));
  const auto answer = get("/v1/splits");
  set_log_level(Level::error);
  EXPECT_EQ(status(answer), 500);
  EXPECT_FALSE(has(answer, "Set-Cookie"));
}

TEST_F(Http, streams_in_chunks_and_keeps_the_connection) {
  start();
  Raw client(port);
  client.send("GET /v1/streams HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(client.until("0\r\n\r\n"));
  EXPECT_TRUE(has(client.seen, "Transfer-Encoding: chunked\r\n"));
  EXPECT_FALSE(has(client.seen, "Content-Length"));
  EXPECT_TRUE(client.seen.ends_with("\r\n\r\n9\r\ndata: 0\n\n\r\n9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n0\r\n\r\n")) << client.seen;
  client.seen.clear();
  client.send("GET /v1/hello/1 HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(status(client.answer()), 200);
}

TEST_F(Http, cuts_a_stream_that_broke_instead_of_ending_it) {
  start();
  set_log_level(Level(4));
  const auto answer = get("/v1/breaks");
  set_log_level(Level::error);
  EXPECT_TRUE(answer.ends_with("4\r\nsome\r\n")) << answer;
}

TEST_F(Http, tells_a_stream_that_its_peer_hung_up) {
  limits.write = Millis(200);
  start();
  Raw client(port);
  client.send("GET /v1/long HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(client.until("data: first"));
  client.close();
  EXPECT_EQ(gate.ended.get_future().wait_for(std::chrono::seconds(8)), std::future_status::ready);
}

TEST_F(Http, drains_closing_idle_ending_streams_and_finishing_what_runs) {
  start();
  Raw idle(port), silent(port), running(port), streaming(port);
  idle.send("GET /v1/hello/1 HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(status(idle.answer()), 200);
  Gate stream_gate;
  streaming.send("GET /v1/streams HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(streaming.until("0\r\n\r\n"));
  running.send("GET /v1/waits HTTP/1.1\r\nHost: x\r\n\r\n");
  gate.entered.get_future().wait();
  std::promise<void> done, again;
  auto finished = done.get_future();
  server->drain([&] { done.set_value(); });
  server->drain([&] { again.set_value(); });
  EXPECT_TRUE(idle.closed());
  EXPECT_TRUE(silent.closed());
  EXPECT_TRUE(server->draining());
  EXPECT_EQ(finished.wait_for(std::chrono::milliseconds(0)), std::future_status::timeout);
  EXPECT_FALSE(Raw(port).connected());
  open_gate();
  const auto answer = running.rest();
  EXPECT_EQ(status(answer), 200);
  EXPECT_TRUE(has(answer, "Connection: close\r\n"));
  EXPECT_EQ(finished.wait_for(std::chrono::seconds(5)), std::future_status::ready);
  EXPECT_EQ(again.get_future().wait_for(std::chrono::seconds(5)), std::future_status::ready);
}

TEST_F(Http, drain_wakes_a_waiting_stream_and_ends_it_whole) {
  start();
  Raw client(port);
  client.send("GET /v1/long HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(client.until("data: first"));
  gate.entered.get_future().wait();
  std::promise<void> done;
  server->drain([&] { done.set_value(); });
  EXPECT_EQ(done.get_future().wait_for(std::chrono::seconds(5)), std::future_status::ready);
  EXPECT_TRUE(client.rest().ends_with("0\r\n\r\n"));
}

TEST_F(Http, drain_stops_waiting_for_what_does_not_end) {
  limits.drain = Millis(50);
  start();
  Raw client(port);
  client.send("GET /v1/waits HTTP/1.1\r\nHost: x\r\n\r\n");
  gate.entered.get_future().wait();
  std::promise<void> done;
  server->drain([&] { done.set_value(); });
  EXPECT_EQ(done.get_future().wait_for(std::chrono::seconds(5)), std::future_status::ready);
  EXPECT_TRUE(client.closed());
  EXPECT_EQ(client.seen, "");
}

TEST_F(Http, survives_clients_that_vanish_at_any_point) {
  start();
  const std::string script =
      "GET /v1/hello/1 HTTP/1.1\r\nHost: x\r\n\r\nPOST /v1/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
      "5\r\nabcde\r\n0\r\n\r\nGET /v1/streams HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/big HTTP/1.1\r\nHost: x\r\n\r\n";
  for (std::size_t cut = 0; cut <= script.size(); ++cut) {
    Raw client(port);
    client.send(std::string_view(script).substr(0, cut));
    if (cut > script.find("\r\n\r\n") + 4 && cut % 3 == 0) client.until("\r\n\r\n");
    client.reset();
  }
  EXPECT_EQ(status(get("/v1/hello/1")), 200);
  std::promise<void> done;
  server->drain([&] { done.set_value(); });
  EXPECT_EQ(done.get_future().wait_for(std::chrono::seconds(5)), std::future_status::ready);
  EXPECT_TRUE(has(metrics::render(), "enishi_http_connections 0\n"));
}

TEST_F(Http, may_be_destroyed_with_connections_open_before_or_after_its_shards_stop) {
  for (const bool stopped_first : {false, true}) {
    Shards two(2);
    Gate inner;
    Router routes;
    routes.add({Method::get, "/v1/waits", "waits", [g = &inner](Request& r) { return wait_at(g, r); }, 0, Millis(0)});
    auto doomed = std::make_unique<Server>(two, routes, limits, "127.0.0.1:0", false);
    const auto on = doomed->listen();
    two.start();
    Raw idle(on), running(on);
    running.send("GET /v1/waits HTTP/1.1\r\nHost: x\r\n\r\n");
    inner.entered.get_future().wait();
    if (stopped_first) {
      two.stop();
      two.join();
    }
    doomed.reset();
    if (!stopped_first) EXPECT_TRUE(running.closed());
  }
}

TEST_F(Http, counts_only_running_handlers_as_in_flight_not_slow_uploads) {
  limits.in_flight = 1;
  start();
  Raw uploading(port);
  uploading.send("POST /v1/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab");
  EXPECT_EQ(status(get("/v1/hello/1")), 200);
  uploading.send("cde");
  EXPECT_EQ(status(uploading.answer()), 200);
}

TEST_F(Http, every_shard_listens_on_the_same_port) {
  Shards four(4);
  Router routes;
  Route route{Method::get, "/v1/hello/{id}", "hello", hello, 0, Millis(0)};
  routes.add(std::move(route));
  Server many(four, routes, limits, "127.0.0.1:0", false);
  const auto on = many.listen();
  four.start();
  for (int i = 0; i < 40; ++i) {
    Raw client(on);
    client.send("GET /v1/hello/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    EXPECT_EQ(status(client.rest()), 200);
  }
  std::promise<void> done;
  many.drain([&] { done.set_value(); });
  EXPECT_EQ(done.get_future().wait_for(std::chrono::seconds(5)), std::future_status::ready);
  four.stop();
  four.join();
}

TEST_F(Http, says_which_address_it_cannot_listen_on) {
  for (const auto* address : {"127.0.0.1", "nowhere:80", "127.0.0.1:70000", "192.0.2.1:0"}) {
    Server bad(shards, Router(), limits, address, false);
    try {
      bad.listen();
      ADD_FAILURE() << address;
    } catch (const std::system_error& e) {
      EXPECT_TRUE(has(e.what(), address)) << e.what();
    }
  }
}

TEST_F(Http, serves_precompressed_files_by_what_the_client_takes) {
  start();
  const auto plain = get("/assets/app-1234.js");
  EXPECT_TRUE(plain.ends_with("\r\n\r\nplain script"));
  EXPECT_TRUE(has(plain, "Cache-Control: public, max-age=31536000, immutable\r\n"));
  EXPECT_TRUE(has(plain, "Content-Type: text/javascript; charset=utf-8\r\n"));
  EXPECT_TRUE(has(plain, "Vary: Accept-Encoding\r\n"));
  const auto br = get("/assets/app-1234.js", "Accept-Encoding: gzip, deflate, br\r\n");
  EXPECT_TRUE(br.ends_with("\r\n\r\nBR") && has(br, "Content-Encoding: br\r\n"));
  const auto gz = get("/assets/app-1234.js", "Accept-Encoding: gzip;q=0.5, br;q=0\r\n");
  EXPECT_TRUE(gz.ends_with("\r\n\r\nGZ") && has(gz, "Content-Encoding: gzip\r\n"));
  EXPECT_TRUE(get("/assets/app-1234.js", "Accept-Encoding: identity\r\n").ends_with("plain script"));
  const auto tag = [](const std::string& answer) {
    return answer.substr(answer.find("ETag: ") + 6, answer.find("\r\n", answer.find("ETag: ")) - answer.find("ETag: ") - 6);
  };
  EXPECT_NE(tag(plain), tag(br));
  const auto same = get("/assets/app-1234.js", fmt::format("Accept-Encoding: br\r\nIf-None-Match: {}\r\n", tag(br)));
  EXPECT_EQ(status(same), 304);
  EXPECT_TRUE(same.ends_with("\r\n\r\n") && has(same, "ETag: " + tag(br)));
  EXPECT_EQ(status(get("/assets/app-1234.js", fmt::format("If-None-Match: {}\r\n", tag(br)))), 200);
  const auto empty = get("/empty.txt");
  EXPECT_EQ(status(empty), 200);
  EXPECT_TRUE(has(empty, "Content-Length: 0\r\n"));
  EXPECT_TRUE(has(get("/favicon.svg"), "Content-Security-Policy: default-src 'none'"));
}

TEST_F(Http, serves_the_clients_own_routes_with_a_fresh_nonce_an_answer) {
  start();
  const auto one = get("/customers/0190163d"), two = get("/");
  for (const auto& answer : {one, two}) {
    EXPECT_EQ(status(answer), 200);
    EXPECT_TRUE(has(answer, "Cache-Control: no-cache\r\n"));
    EXPECT_FALSE(has(answer, "ETag"));
    EXPECT_FALSE(has(answer, "__CSP_NONCE__"));
    const auto at = answer.find("'nonce-") + 7;
    const auto nonce = answer.substr(at, answer.find('\'', at) - at);
    EXPECT_EQ(nonce.size(), 22U);
    EXPECT_TRUE(has(answer, "<script nonce=\"" + nonce + "\">") && has(answer, "<style nonce=\"" + nonce + "\">")) << answer;
  }
  EXPECT_NE(one.substr(one.find("'nonce-"), 30), two.substr(two.find("'nonce-"), 30));
  for (const auto* missing : {"/v1/unknown", "/api/unknown", "/v1", "/assets/gone.js", "/assets/app-1234.js.br"})
    EXPECT_EQ(status(get(missing)), 404) << missing;
}

TEST_F(Http, counts_requests_by_operation_and_status) {
  start();
  get("/v1/hello/1");
  get("/v1/refuses");
  get("/v1/hello/1");
  std::promise<void> done;
  server->drain([&] { done.set_value(); });
  done.get_future().wait();
  const auto text = metrics::render();
  EXPECT_TRUE(has(text, R"(enishi_http_requests_total{operation="test_operation",status="200"})"));
  EXPECT_TRUE(has(text, R"(enishi_http_requests_total{operation="test_operation",status="422"})"));
  EXPECT_TRUE(has(text, R"(enishi_http_request_seconds_count{operation="test_operation"})"));
  EXPECT_TRUE(has(text, "enishi_http_connections 0\n"));
  EXPECT_TRUE(has(text, "enishi_http_in_flight 0\n"));
}

TEST_F(Http, client_fetches_and_says_what_went_wrong) {
  start();
  asio::io_context loop(1);
  const auto call = [&](ClientRequest request, Millis limit = Millis(5000)) {
    return run_task(loop, fetch(std::move(request), Deadline::in(limit)));
  };
  const auto base = fmt::format("http://127.0.0.1:{}", port);
  ClientRequest post{
      .method = "POST", .url = base + "/v1/decodes", .headers = {{"Content-Type", "application/json"}}, .body = R"({"name":"a"})"};
  const auto made = call(post);
  ASSERT_TRUE(made) << made.error().detail;
  EXPECT_EQ(made->status, 201);
  EXPECT_EQ(made->body, "\"a\"");
  EXPECT_EQ(made->header("content-type"), "application/json");
  EXPECT_EQ(call({.url = fmt::format("http://localhost:{}/v1/hello/1#part", port)})->status, 200);
  EXPECT_EQ(call({.method = "HEAD", .url = base + "/v1/hello/1"})->status, 200);
  EXPECT_EQ(call({.url = base + "/v1/streams"})->body, "data: 0\n\ndata: 1\n\ndata: 2\n\n");
  EXPECT_EQ(call({.url = base + "/v1/big"})->body.size(), 10'000'000U);
  EXPECT_EQ(call({.url = base + "/v1/big", .most_body = 1000}).error().code, "CLIENT_BODY_TOO_LARGE");
  EXPECT_EQ(call({.url = base + "/v1/waits"}, Millis(30)).error().code, "CLIENT_TIMEOUT");
  EXPECT_EQ(call({.url = "https://127.0.0.1/"}).error().code, "CLIENT_SCHEME_UNSUPPORTED");
  for (const auto* bad : {"", "ftp://x/", "http://", "http://a b/", "http://u:p@h/", "http://h:0/", "http://h:x/"})
    EXPECT_EQ(call({.url = bad}).error().code, "CLIENT_URL_INVALID") << bad;
  EXPECT_EQ(call({.url = "http://127.0.0.1:1/"}).error().code, "CLIENT_UNREACHABLE");
  open_gate();
}

TEST(Router, prefers_literals_and_names_the_methods_a_path_has) {
  Router router;
  const auto add = [&](Method m, const char* pattern) { router.add(Route{m, pattern, pattern, hello, 0, Millis(0)}); };
  add(Method::get, "/v1/things/{id}");
  add(Method::get, "/v1/things/new");
  add(Method::patch, "/v1/things/{id}");
  add(Method::post, "/v1/things/{id}/parts/{part}");
  add(Method::get, "/files/{rest...}");
  add(Method::get, "/{path...}");
  EXPECT_EQ(router.find(Method::get, "/v1/things/new").route->pattern, "/v1/things/new");
  EXPECT_EQ(router.find(Method::patch, "/v1/things/new").route->pattern, "/v1/things/{id}");
  const auto part = router.find(Method::post, "/v1/things/a%2Fb/parts/%E7%B8%81");
  ASSERT_NE(part.route, nullptr);
  EXPECT_EQ(part.segments[0].second, "a/b");
  EXPECT_EQ(part.segments[1].second, "縁");
  EXPECT_EQ(router.find(Method::get, "/files/a/b.txt").segments[0].second, "a/b.txt");
  EXPECT_EQ(router.find(Method::head, "/v1/things/new").route->pattern, "/v1/things/new");
  EXPECT_EQ(router.find(Method::post, "/v1/things/x").allowed.size(), 2U);
  EXPECT_EQ(router.find(Method::get, "/v1/things/a/parts/b").allowed, std::vector<Method>{Method::post});
  EXPECT_TRUE(router.find(Method::post, "/nowhere").allowed.empty());
  EXPECT_EQ(router.find(Method::get, "/nowhere").route->pattern, "/{path...}");
  EXPECT_EQ(router.find(Method::get, "/v1/things/").route->pattern, "/{path...}");
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += "/a";
  EXPECT_EQ(router.find(Method::get, deep).segments[0].second, deep.substr(1));
  EXPECT_THROW(add(Method::get, "/v1/things/{other}"), std::logic_error);
  EXPECT_THROW(add(Method::get, "no_slash"), std::logic_error);
}

TEST(Uri, bounds_the_number_of_parameters) {
  std::string query;
  std::vector<std::pair<std::string, std::string>> out;
  for (int i = 0; i < 100; ++i) query += fmt::format("a{}=1&", i);
  EXPECT_TRUE(read_query(query, out));
  EXPECT_EQ(out.size(), 100U);
  out.clear();
  EXPECT_FALSE(read_query(query + "b=1", out));
}

}  // namespace
}  // namespace enishi::http

// What a handler sees of HTTP: no Beast here. Requests come complete and bounded; answers go out whole or as a stream.
//
//   Task<Result<Answer>> get_thing(Request& request);
//   router.add(Method::get, "/v1/things/{id}", "get_thing", handler);
//
// An Error becomes application/problem+json (RFC 9457) with the member `code`; the status of a Kind is chosen in problem.cpp only.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "io/shard.hpp"

namespace enishi::http {

enum class Method { get, head, post, put, patch, del };
std::string_view name_of(Method m);  ///< GET, HEAD …

struct Request {
  Shard* shard = nullptr;
  Method method = Method::get;
  std::string_view target;     ///< as sent
  std::string path;            ///< percent-decoded, without the query
  std::string_view operation;  ///< operationId of the route
  std::string id;              ///< request id: X-Request-Id if it is a sane one, else made; answered in X-Request-Id
  std::string trace_id;        ///< 32 hex digits, from traceparent (W3C Trace Context) or made
  std::string_view body;       ///< bounded by Limits::body, or by the route's own bound
  std::string remote;          ///< peer address without port; from X-Forwarded-For only behind a trusted proxy
  bool secure = false;         ///< came over TLS (X-Forwarded-Proto behind a trusted proxy)
  Deadline deadline;
  /// First header of that name (case does not matter), or empty.
  [[nodiscard]] std::string_view header(std::string_view name) const;
  [[nodiscard]] std::string_view cookie(std::string_view name) const;
  /// Value of {name} in the route's pattern.
  [[nodiscard]] std::string_view segment(std::string_view name) const;
  /// Query parameters, percent-decoded, in order; a name may stand several times.
  std::vector<std::pair<std::string, std::string>> query;
  [[nodiscard]] std::optional<std::string_view> parameter(std::string_view name) const;
  std::vector<std::pair<std::string_view, std::string>> segments;
  const void* raw_headers = nullptr;  ///< Beast's fields; http/ only
};

using Headers = std::vector<std::pair<std::string, std::string>>;

/// Where a streaming answer (server-sent events, a large export) writes. write() waits for the socket; false when the peer is gone.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual Task<bool> write(std::string chunk) = 0;
  /// True once the server drains or the peer hung up: end soon.
  [[nodiscard]] virtual bool ending() const = 0;
  /// `wake` is called once when ending() turns true, on the stream's shard: notify the Event the handler waits on.
  virtual void on_ending(std::function<void()> wake) { (void)wake; }
};

struct Answer {
  int status = 200;
  std::string body;
  std::string type = "application/json";
  Headers headers;
  std::string_view static_body;  ///< instead of body, bytes that live as long as the process
  /// Instead of a body: called once with the stream after the head is sent (chunked). Captures, if any, live in the function object: a
  /// lambda that calls a coroutine with arguments, not one that is a coroutine.
  std::function<Task<>(Stream&)> stream;

  static Answer json(std::string body, int status = 200) {
    Answer a;
    a.status = status;
    a.body = std::move(body);
    return a;
  }
  static Answer none() {
    Answer a;
    a.status = 204;
    a.type.clear();
    return a;
  }
  Answer& with(std::string name, std::string value) {
    headers.emplace_back(std::move(name), std::move(value));
    return *this;
  }
};

using Handler = std::function<Task<Result<Answer>>(Request&)>;

/// What an exception out of a handler means, asked before the server's own answer (500 INTERNAL); nothing when it does not know the type.
using ExceptionMapper = std::function<std::optional<Error>(std::exception_ptr)>;

struct Route {
  Method method;
  std::string pattern;    ///< "/v1/customers/{customer_id}"
  std::string operation;  ///< operationId in api/openapi.yaml; empty for what is no part of the contract (assets, health)
  Handler handler;
  std::size_t body_limit = 0;  ///< bytes; 0 for the server's limit
  Millis time_limit{0};        ///< 0 for the server's limit
};

class Router {
 public:
  void add(Route route);
  /// All routes, in the order they were added.
  [[nodiscard]] const std::vector<Route>& routes() const { return routes_; }
  struct Match {
    const Route* route = nullptr;                                    ///< null: see allowed
    std::vector<std::pair<std::string_view, std::string>> segments;  ///< percent-decoded
    std::vector<Method> allowed;                                     ///< methods this path has: empty is 404, else 405
  };
  /// Literal segments win over {names}. A pattern ending in {name...} takes the rest of the path. HEAD finds GET's route. `path` is still
  /// percent-encoded, so that an encoded slash stays inside its segment. A catch-all at the root answers only for paths no other route has.
  [[nodiscard]] Match find(Method method, std::string_view path) const;

 private:
  std::vector<Route> routes_;
  struct Node;
  std::shared_ptr<Node> root_;
};

struct Limits {
  std::size_t header = 16 * 1024;
  std::size_t body = 1024 * 1024;
  std::size_t connections = 4096;  ///< a process; one more is answered 503 and closed
  std::size_t in_flight = 1024;    ///< running handlers a shard (streams not counted); one more is answered 503 with Retry-After
  Millis read_head{10000};         ///< slow clients: the head must be there by then
  Millis read_body{30000};         ///< for each 256 KB of a body
  Millis write{30000};             ///< for each 256 KB of an answer
  Millis idle{75000};
  Millis request{15000};
  Millis drain{20000};  ///< after SIGTERM: what is in flight may finish
};

/// problem+json for an error, with its status, Retry-After and request id.
Answer problem(const Error& error, std::string_view request_id);
/// The same for the protocol's own refusals, whose status no Kind has: 405, 408, 417, 431, 501.
Answer problem_with_status(int status, const Error& error, std::string_view request_id);
int status_of(Kind kind);
std::string_view reason_of(int status);

/// Throws what listen() would throw, before anything is started for nothing: an address that is none, is not this machine's, or is taken.
/// Every shard listens with SO_REUSEPORT, with which a second server would quietly take half of the first one's connections; here without
/// it.
void check_address(const std::string& address);

class Server {
 public:
  /// `address` "127.0.0.1:0" and so on; every shard listens with SO_REUSEPORT.
  Server(Shards& shards, Router router, Limits limits, std::string address, bool trust_proxy);
  ~Server();
  /// Before listen(): what exceptions of lower layers mean (http knows none of them).
  void map_exceptions(ExceptionMapper mapper);
  /// Before listen(): whether each request is logged (default: yes).
  void log_requests(bool on);
  /// Binds and starts accepting; returns the real port. Throws std::system_error with the address in its text.
  unsigned short listen();
  /// Stops accepting, closes idle connections, tells streams to end, lets requests in flight finish within Limits::drain, then closes the
  /// rest; a handler still running then is left to end by itself, unanswered. Calls `done` on shard 0. May be called again.
  void drain(std::function<void()> done);
  [[nodiscard]] bool draining() const;
  struct Impl;  ///< connection.hpp
 private:
  std::shared_ptr<Impl> impl_;
};

/// Serves embedded files with precompressed variants (name.br, name.gz), ETag, immutable caching for hashed names, and index.html for
/// any path of the client's router. `index_nonce`: the text __CSP_NONCE__ in index.html is replaced by a fresh nonce an answer.
struct StaticFile {
  std::string_view path;
  std::string_view bytes;
};
Handler static_files(std::vector<StaticFile> files);

}  // namespace enishi::http

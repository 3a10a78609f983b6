// One connection: libpq's PGconn, its socket on the event loop, and what is prepared on it. Who owns a Link (a pipeline, a lease, the
// idle list) gives it `on_event` or waits in it; it knows nothing of them.
#pragma once
#include <libpq-fe.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/offload.hpp"
#include "io/task.hpp"
#include "pg/database.hpp"
#include "pg/resume.hpp"

namespace enishi::pg {

struct ClearResult {
  void operator()(PGresult* r) const { PQclear(r); }
};
using ResultPtr = std::unique_ptr<PGresult, ClearResult>;

class Link : public std::enable_shared_from_this<Link> {
 public:
  explicit Link(Executor executor);
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;
  /// Connects. Name lookups block, so the start is on the pool. Throws Unavailable.
  static Task<std::shared_ptr<Link>> open(Executor executor, Offload& offload, std::shared_ptr<const Config> config);

  [[nodiscard]] PGconn* raw() const { return raw_; }
  [[nodiscard]] bool usable() const { return raw_ != nullptr && PQstatus(raw_) == CONNECTION_OK; }
  /// Looks at the socket of a connection that runs nothing: false when the server has gone.
  bool alive();
  void close();

  /// Called when the socket may be read or written; not while a coroutine waits in wait().
  std::function<void()> on_event;
  void watch_read();
  void watch_write();
  /// Until the socket is ready, or false at the deadline. May come back for nothing.
  Task<bool> wait(bool read, bool write, Deadline deadline);

  /// Sends a statement inside pipeline mode, and its PREPARE before it when this connection has not prepared it: `preparing` says whether
  /// an answer to that comes first. False when libpq refused.
  bool send(const Statement& statement, const Params& params, bool& preparing);
  /// Forgets that a statement is prepared; with `rename` because the server may hold an outdated one by that name.
  void forget(std::uint32_t statement, bool rename);

  /// A commit on this connection did not wait for its standby.
  bool cut_short = false;
  /// A WAL sender left out a publication that does not exist, and with it the changes of its tables (PostgreSQL 18; older ones end the
  /// stream).
  bool publication_left_out = false;
  unsigned generation = 0;  ///< of Database::close()

 private:
  struct Prepared {
    bool ready = false;
    std::uint16_t version = 0;
  };
  void adopt();
  void release();
  void event();
  void watch_limit(Deadline deadline);
  static void notice(void* self, const PGresult* result);

  Executor executor_;
  PGconn* raw_ = nullptr;
  asio::posix::basic_stream_descriptor<Executor> socket_;
  Timer limit_;
  SteadyTime limit_at_ = SteadyTime::max();
  unsigned epoch_ = 0;  ///< of the socket's registration: events of an older one are ignored
  bool reading_ = false;
  bool writing_ = false;
  Resume resume_;
  std::vector<Prepared> prepared_;
};

/// A result that says that the session is over (FATAL, or libpq's own "lost" without SQLSTATE).
bool says_lost(const PGresult* result);
/// The statement must be prepared again: the server does not know it, or a migration changed its row.
bool says_prepare_again(const PGresult* result);
/// Whether a parameter holds U+0000, where libpq would cut it.
bool holds_zero(const Params& params);
/// libpq's message in one line.
std::string one_line(const char* message);

}  // namespace enishi::pg

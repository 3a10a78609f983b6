// PostgreSQL from coroutines: one Database a shard, none of it shared between threads.
//
//   auto row  = co_await db.read(sql::customers::screen_pop, params(phone));          // shared pipeline, bounded cost
//   auto page = co_await db.run(sql::inquiries::due_page, params(scope, after));      // a lease for one statement
//   auto done = co_await db.write({{sql::auth::begin_write, params(...)},             // one trip, one transaction:
//                                  {sql::calls::finish_call, params(...)}}, options); // several statements before one Sync
//   auto lease = co_await db.lease(deadline);                                         // everything else: COPY, several trips
//
// Two error channels. A Result carries what the database said about the data: rules (SQLSTATE EN4xx), unique, foreign key,
// check, bad values. Exceptions carry a broken world: see errors.hpp.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "io/offload.hpp"
#include "io/shard.hpp"
#include "pg/errors.hpp"
#include "pg/statement.hpp"
#include "pg/values.hpp"

namespace enishi::pg {

struct Config {
  std::string conninfo = {};        ///< libpq connection string or URL; multi-host works, PG* variables fill what it leaves out
  std::string role = {};            ///< SET ROLE at connect, or empty
  unsigned pipelines = 2;           ///< shared connections a shard
  unsigned leases = 6;              ///< exclusive connections a shard
  std::size_t most_waiting = 2000;  ///< requests that may wait for a lease; one more is refused at once
  std::size_t most_in_pipeline = 512;
  Millis statement_timeout{5000};  ///< server side, on every connection
  Millis connect_timeout{5000};
  std::string application_name = "enishi";
  bool replication = false;  ///< a connection to a WAL sender: replication.hpp
  std::string options = {};  ///< more of the server's settings: "-c timezone=UTC"
};

struct Step {
  const Statement& statement;
  Params params;
};

struct WriteOptions {
  Deadline deadline = Deadline::in(Millis(10000));
  /// The steps may be sent again when nobody knows whether they committed, because a key inside them (Idempotency-Key, a client's id)
  /// makes the second time harmless.
  bool repeatable = false;
};

class Lease;
/// Prepares every statement of all_statements() on the connection and returns those that fail, as (name, message). Those of tests
/// (`test.…`) and those for a legacy system's database (`at_source.…`) are left out.
Task<std::vector<std::pair<std::string, std::string>>> check_statements(Lease& lease, Deadline deadline = Deadline::in(Millis(60000)));

/// A connection of one's own until it goes out of scope. A lease that is dropped inside a transaction rolls it back.
class Lease {
 public:
  Lease();  ///< holds nothing; only to be assigned to
  Lease(Lease&&) noexcept;
  Lease& operator=(Lease&&) noexcept;
  ~Lease();
  /// One statement; its own transaction outside begin()/commit().
  Task<Result<Rows>> run(const Statement& statement, Params params, Deadline deadline);
  /// Several statements in one trip and one (implicit or current) transaction; the rows of each. The first error ends it.
  Task<Result<std::vector<Rows>>> batch(std::vector<Step> steps, Deadline deadline);
  /// SQL text without a name: the command line and migrations only. Several statements separated by ; are allowed; the rows of the last.
  /// It may have changed the session (SET, temporary tables), so the connection is not used again after the lease.
  Task<Result<Rows>> script(std::string sql, Deadline deadline);
  Task<> begin(Deadline deadline, std::string_view mode = "begin");
  /// Throws CommitRefused for a deferred constraint or a serialization failure, OutcomeUnknown when nobody can say, and Broken when a
  /// statement had failed before and the caller went on regardless.
  Task<> commit(Deadline deadline);
  Task<> rollback(Deadline deadline);
  /// COPY … FROM STDIN: `next` fills a chunk and returns false at the end. Returns the rows stored. An exception of `next` ends the
  /// COPY with nothing stored and comes out here.
  Task<Result<std::int64_t>> copy_in(std::string sql, std::function<bool(std::string& chunk)> next, Deadline deadline);
  /// COPY … TO STDOUT: `take` gets each chunk; rows sent.
  Task<Result<std::int64_t>> copy_out(std::string sql, std::function<void(std::string_view chunk)> take, Deadline deadline);
  /// LISTENs and waits for the next notification (channel, payload); nothing when the deadline passes first. What arrives between two
  /// calls is kept, up to 1024.
  Task<std::optional<std::pair<std::string, std::string>>> notification(std::string channel, Deadline deadline);
  /// Asks the server to stop what this connection runs. PQcancel blocks, so it goes to the offload pool.
  Task<> cancel();
  [[nodiscard]] int server_version() const;  ///< 150018 and so on
  class Impl;
  explicit Lease(std::unique_ptr<Impl>);

 private:
  friend Task<std::vector<std::pair<std::string, std::string>>> check_statements(Lease& lease, Deadline deadline);
  std::unique_ptr<Impl> impl_;
};

class Database {
 public:
  /// Opens nothing yet: connections are made when first needed, and again with back-off after a loss. To be used and destroyed on the
  /// shard's thread (or when its loop has stopped); the shard and the pool outlive it.
  Database(Shard& shard, Offload& offload, Config config);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  /// A statement marked `pipeline` (std::logic_error for another), on a shared connection, sent again until its deadline if its connection
  /// was lost (it only reads; Unavailable once 1 + Config::pipelines connections died while they ran it). Throws Broken when the rows are
  /// not as many as the statement promises.
  Task<Result<Rows>> read(const Statement& statement, Params params, Deadline deadline = Deadline::in(Millis(5000)));
  /// Any statement on a leased connection in a transaction of its own.
  Task<Result<Rows>> run(const Statement& statement, Params params, Deadline deadline = Deadline::in(Millis(10000)));
  /// Steps in one trip and one transaction, retried where that is safe: serialization failure, deadlock, EN001 (the domain's gate is shut:
  /// the connection is given back and the steps wait, bounded in number and time), connection lost before anything was sent.
  Task<Result<std::vector<Rows>>> write(std::vector<Step> steps, WriteOptions options = {});
  /// The same retries around several trips: `body` may run more than once, each time in a fresh transaction, which is committed when it
  /// returns a value and rolled back when it returns an error.
  template <class T>
  Task<Result<T>> transaction(std::function<Task<Result<T>>(Lease&)> body, WriteOptions options = {});
  Task<Lease> lease(Deadline deadline = Deadline::in(Millis(10000)));
  /// Lets go of idle connections; those in use go when they are given back.
  void close();
  /// For good, as the destructor does it: who waits and who comes gets Unavailable at once.
  void shut_down();
  class Impl;

 private:
  struct Retry {
    int failures = 0;  ///< serialization failures and deadlocks so far
    int lost = 0;      ///< connections lost so far
  };
  /// Waits as the error asks and says whether to go again.
  Task<bool> retry_after(const Error& error, Retry& retry, Deadline deadline);
  Task<bool> retry_lost(Retry& retry, Deadline deadline);
  std::shared_ptr<Impl> impl_;
};

template <class T>
Task<Result<T>> Database::transaction(std::function<Task<Result<T>>(Lease&)> body, WriteOptions options) {
  Retry retry;
  for (;;) {
    Result<T> out = fail(Kind::internal, "INTERNAL", "the transaction did not run");
    std::exception_ptr lost;
    try {
      auto held = co_await lease(options.deadline);
      co_await held.begin(options.deadline);
      out = co_await body(held);
      if (out) {
        co_await held.commit(options.deadline);
        co_return out;
      }
      co_await held.rollback(options.deadline);
    } catch (const ConnectionLost&) {
      lost = std::current_exception();
    } catch (const NotReplicated&) {
      throw;
    } catch (const OutcomeUnknown&) {
      if (!options.repeatable) throw;
      lost = std::current_exception();
    } catch (const CommitRefused& refused) {
      out = tl::make_unexpected(refused.error);
    }
    // The lease went back before the wait: a shut gate must not eat the few connections.
    const bool again = lost ? co_await retry_lost(retry, options.deadline) : co_await retry_after(out.error(), retry, options.deadline);
    if (again) continue;
    if (lost) std::rethrow_exception(lost);
    co_return out;
  }
}

}  // namespace enishi::pg

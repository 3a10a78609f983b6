// A connection to a source's replication slot (PostgreSQL's streaming replication protocol, logical): one coroutine reads, and only what
// its caller calls durable is confirmed to the server.
//
//   auto stream = co_await Replication::connect(executor, offload, {.conninfo = source});
//   auto slot = co_await stream->create_slot("enishi_crm", deadline);
//   auto begun = co_await stream->start({.slot = "enishi_crm", .publications = {"enishi_crm"}}, deadline);
//   auto got = co_await stream->receive(deadline);      // XLogData or Keepalive, or nothing at the deadline
//   stream->confirm(position);                          // after the local commit
//
// What the source says about slot, rights and settings comes as a Result: SLOT_MISSING, SLOT_LOST (its WAL is gone: everything has to be
// looked at again), SLOT_ACTIVE, SLOT_EXISTS, SLOTS_FULL, WAL_LEVEL_TOO_LOW, PUBLICATION_MISSING, NO_REPLICATION_RIGHT, SOURCE_REFUSED. A
// lost connection throws ConnectionLost, as everywhere in pg/. Works with sources from PostgreSQL 10 on; tested with 15 and 18.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "io/offload.hpp"
#include "io/task.hpp"
#include "pg/errors.hpp"
#include "pgwire/frames.hpp"

namespace enishi::pg {

using pgwire::Lsn;

struct ReplicationConfig {
  std::string conninfo = {};  ///< libpq connection string or URL of one database; its user needs REPLICATION and SELECT on the tables
  Millis connect_timeout{5000};
  /// The server hears from us at least this often, whatever the caller does meanwhile. Keep it well below the source's wal_sender_timeout.
  Millis status_interval{5000};
  /// A source that says nothing at all for so long, though each status asks it to, is lost: a connection that ends nowhere says nothing
  /// either.
  Millis silence{30000};
  std::string application_name = "enishi takeover";
};

struct SystemIdentity {
  std::string system_id = {};  ///< of initdb: another one is another cluster
  std::uint32_t timeline = 0;  ///< grows with each failover
  Lsn position = 0;
  std::string database = {};
};

struct StartReplication {
  std::string slot = {};
  Lsn from = 0;  ///< 0, or one before what was confirmed: where the slot stands
  std::vector<std::string> publications = {};
  unsigned version = 1;    ///< of pgoutput's protocol; 2 with `streaming`
  bool streaming = false;  ///< transactions above logical_decoding_work_mem are sent before their commit
  bool messages = false;   ///< of pg_logical_emit_message (PostgreSQL 14)
};

/// A frame and the memory it points into.
struct Received {
  pgwire::Frame frame;
  std::shared_ptr<char> memory;
};

class Replication {
 public:
  /// Throws Unavailable, also when the server takes no replication connection of this user.
  static Task<std::unique_ptr<Replication>> connect(Executor executor, Offload& offload, ReplicationConfig config);
  ~Replication();  ///< hangs up; the slot stays
  Replication(const Replication&) = delete;
  Replication& operator=(const Replication&) = delete;

  Task<Result<SystemIdentity>> identify(Deadline deadline);
  /// With pgoutput; returns the position from which changes come. Waits at the server for transactions that are running already: without an
  /// end in sight the deadline hangs up, and an unfinished slot goes with the connection.
  Task<Result<Lsn>> create_slot(std::string slot, Deadline deadline, bool temporary = false);
  /// Waits for a reader of the slot to leave.
  Task<Result<void>> drop_slot(std::string slot, Deadline deadline);
  /// A slot in use is tried again until the deadline: a reader that died may hold it for a moment.
  Task<Result<void>> start(StartReplication what, Deadline deadline);

  /// The next frame, or nothing at the deadline; one that has passed takes only what has arrived already. Keepalives that want an answer
  /// have got it already. An Error is the end of the stream. PostgreSQL's messages end at 1 GB, and libpq holds a whole one: a table with
  /// such rows is published with a column list.
  Task<Result<std::optional<Received>>> receive(Deadline deadline);
  /// Everything before `durable` is stored here for good. Told to the server with the next status, which is sent now if `at_once`.
  void confirm(Lsn durable, bool at_once = false);
  [[nodiscard]] Lsn confirmed() const;
  /// The end of the server's WAL when we last heard of it, and when that was.
  [[nodiscard]] Lsn server_end() const;
  [[nodiscard]] SteadyTime heard_at() const;
  [[nodiscard]] int server_version() const;
  /// Hangs up; whoever waits in receive() gets ConnectionLost.
  void close();

  class Impl;

 private:
  explicit Replication(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

/// What an answer of the server to a replication command means, from its parts; for tests. Throws ConnectionLost for the end of a session.
Error replication_error(std::string_view sqlstate, std::string_view function, std::string_view message, std::string_view detail);

}  // namespace enishi::pg

// Batches of changed row keys from a source, as they become due: a Replication with a pgwire::Collector on it.
//
//   auto stream = co_await ChangeStream::open(executor, offload, replication_config, start, {.tables = mapping.tables}, deadline);
//   auto batch = co_await (*stream)->next(deadline);     // nothing at the deadline
//   … look up batch->rows once batch->transactions are visible; store batch->position in the same local transaction …
//   (*stream)->confirm(batch->position);
//
// A batch ends between two transactions when nothing more has arrived, or anywhere when it is full. So a single change is handed over at
// once and many come together. While nothing changes in the published tables, batches without rows move the position, or the source would
// keep its WAL for ever.
#pragma once
#include "pg/replication.hpp"
#include "pgwire/changes.hpp"

namespace enishi::pg {

class ChangeStream {
 public:
  /// Connects and starts. `start.version` and `start.streaming` are the collector's: 1 and off.
  static Task<Result<std::unique_ptr<ChangeStream>>> open(Executor executor, Offload& offload, ReplicationConfig config,
                                                          StartReplication start, pgwire::Collector::Options options, Deadline deadline);
  /// On a connection whose caller has started it (version 1, no streaming).
  ChangeStream(std::unique_ptr<Replication> started, pgwire::Collector::Options options);

  /// An Error ends the stream: those of Replication, and STREAM_MALFORMED, MESSAGE_TOO_LARGE, COLUMN_MISSING. What was collected but not
  /// handed over comes again from the slot. Throws ConnectionLost.
  Task<Result<std::optional<pgwire::ChangeBatch>>> next(Deadline deadline);
  void confirm(Lsn durable, bool at_once = false) { stream_->confirm(durable, at_once); }
  Replication& replication() { return *stream_; }
  void close() { stream_->close(); }

 private:
  std::unique_ptr<Replication> stream_;
  pgwire::Collector collector_;
  Lsn handed_over_ = 0;
};

}  // namespace enishi::pg

// Which rows changed: turns pgoutput (protocol version 1) into batches of row keys. For a mirror that looks a changed row up again the
// values do not matter, so of each row only the columns that were asked for are kept, each different row once, and a batch has a bound:
// a transaction of a million rows comes in pieces. With version 1 the server sends a transaction only after its commit, so a piece may be
// looked up before the rest has come, and nothing of an aborted transaction is ever seen.
//
//   pgwire::Collector collector({.tables = {{"public", "phone", {"customer_id"}}}});
//   collector.take(xlog);                                  // for each message; an error stops the stream
//   if (collector.full() || collector.at_boundary()) {
//     pgwire::ChangeBatch batch = collector.hand_over();   // look its rows up once all of batch.transactions are visible, store
//   }                                                      // batch.position with them, then confirm it
#pragma once
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "pgwire/pgoutput.hpp"

namespace enishi::pgwire {

/// A published table as the stream describes it at this place of the WAL.
struct Shape {
  struct Column {
    bool key;  ///< part of the replica identity
    std::string name;
    Oid type;
    std::int32_t modifier;
    bool operator==(const Column&) const = default;
  };
  Oid id;
  std::string schema;
  std::string name;
  ReplicaIdentity identity;
  std::vector<Column> columns;
  /// The columns that rows of this table carry, as indexes into `columns`: those of the replica identity, then those asked for.
  std::vector<std::size_t> wanted;
  [[nodiscard]] std::string full_name() const { return schema + "." + name; }
};

struct ChangedValue {
  enum class State : char {
    unknown,  ///< the stream did not say: outside the replica identity of an old row, or TOASTed and not touched
    null,
    known,
  };
  State state = State::unknown;
  std::string text;  ///< as PostgreSQL writes it with ISO dates and UTC
  bool operator==(const ChangedValue&) const = default;
};

/// A row as it was before or after a change. An update of the key gives two.
struct ChangedRow {
  enum class Side : char { before, after };
  std::shared_ptr<const Shape> shape;
  Side side;                         ///< of the first change that showed it
  Xid xid;                           ///< of one transaction that changed it (of each one with Options::by_transaction)
  std::vector<ChangedValue> values;  ///< in the order of shape->wanted
};

struct ChangedTransaction {
  Xid xid;
  Lsn commit_lsn;
  Lsn end;                    ///< 0 while its end has not come yet
  std::int64_t committed_at;  ///< Unix microseconds
  std::string origin;         ///< of the replication origin, or empty
};

struct ChangeMessage {
  std::optional<Xid> xid;  ///< nothing when it was not transactional
  Lsn lsn;
  std::string prefix, content;
};

struct ChangeBatch {
  std::vector<ChangedRow> rows;
  /// Every transaction that rows of this batch come from. A large one is in several batches.
  std::vector<ChangedTransaction> transactions;
  std::vector<ChangeMessage> messages;
  /// Tables whose description is new or different since the last batch.
  std::vector<std::shared_ptr<const Shape>> described;
  /// Tables that were truncated.
  std::vector<std::shared_ptr<const Shape>> truncated;
  /// Everything committed before it is in this batch or an earlier one. 0 when the batch ends inside a transaction and ends none:
  /// then there is nothing new to confirm.
  Lsn position = 0;
  std::uint64_t changes = 0;  ///< rows changed, repeats included
  std::size_t bytes = 0;      ///< of messages read
  [[nodiscard]] bool empty() const {
    return rows.empty() && transactions.empty() && messages.empty() && described.empty() && truncated.empty() && position == 0;
  }
};

class Collector {
 public:
  struct Table {
    std::string schema, name;
    std::vector<std::string> columns;  ///< wanted beside the replica identity; one that is missing stops the stream
  };
  struct Options {
    std::vector<Table> tables = {};
    std::size_t most_rows = 10000;
    std::size_t most_bytes = 16u << 20;               ///< held by rows
    std::size_t most_message = std::size_t{1} << 30;  ///< a message that is larger is refused, with its table and key
    /// Rows are kept once a transaction instead of once a batch.
    bool by_transaction = false;
  };
  explicit Collector(Options options) : options_(std::move(options)) {}

  /// Why a stream cannot go on: `code` is STREAM_MALFORMED, MESSAGE_TOO_LARGE, COLUMN_MISSING or STREAMING_UNEXPECTED.
  struct Refusal {
    std::string code;
    std::string what;
  };
  tl::expected<void, Refusal> take(const XLogData& xlog);
  /// A keepalive while nothing is held moves the position.
  void take(const Keepalive& keepalive);

  [[nodiscard]] bool full() const { return batch_.rows.size() >= options_.most_rows || held_ >= options_.most_bytes; }
  /// Between two transactions, with something to hand over.
  [[nodiscard]] bool at_boundary() const { return !open_ && !batch_.empty(); }
  [[nodiscard]] bool in_transaction() const { return open_.has_value(); }
  /// Nothing is held but, perhaps, a position.
  [[nodiscard]] bool only_position() const {
    return batch_.rows.empty() && batch_.transactions.empty() && batch_.messages.empty() && batch_.described.empty() &&
           batch_.truncated.empty();
  }
  /// Where the batch that is being collected stands: see ChangeBatch::position.
  [[nodiscard]] Lsn position() const { return batch_.position; }
  ChangeBatch hand_over();
  /// Bytes that the rows held take, about.
  [[nodiscard]] std::size_t held() const { return held_; }

 private:
  void touch();
  tl::expected<void, Refusal> take(const Relation& relation);
  tl::expected<void, Refusal> take(const Message& message);
  void add(const std::shared_ptr<const Shape>& shape, ChangedRow::Side side, const Tuple& tuple, Old old_kind, const Tuple* fallback);
  tl::expected<std::shared_ptr<const Shape>, Refusal> shape_of(Oid id) const;
  /// The table and, where it can be read, the key of a row's message.
  std::string about(const Message& message) const;
  std::string key_text(const Shape& shape, const Tuple& tuple) const;

  Options options_;
  Decoder decoder_{1};
  std::unordered_map<Oid, std::shared_ptr<const Shape>> shapes_;
  std::optional<ChangedTransaction> open_;
  bool touched_ = false;  ///< the open transaction has changed something
  ChangeBatch batch_;
  std::unordered_set<std::string> seen_;
  std::size_t held_ = 0;
};

}  // namespace enishi::pgwire

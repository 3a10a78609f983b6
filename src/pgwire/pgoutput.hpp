// The messages of PostgreSQL's output plugin `pgoutput`, protocol versions 1 and 2 (PostgreSQL 15, 55.5 and 55.9). Pure, bounds-checked:
// any bytes end in a message or in a DecodeError. Everything in a message is a view into the bytes it was decoded from.
//
//   pgwire::Decoder decoder(1);
//   auto message = decoder.decode(xlog.data);
//   if (!message) … message.error().text() …
//   if (auto* row = std::get_if<pgwire::Insert>(&*message)) …
//
// The decoder remembers one thing only: whether it is inside a streamed block (version 2), where messages carry their transaction's number.
#pragma once
#include <optional>
#include <string_view>
#include <variant>
#include <vector>

#include "pgwire/frames.hpp"

namespace enishi::pgwire {

struct Value {
  enum class Kind : char {
    null = 'n',
    unchanged = 'u',  ///< a TOASTed value that the update did not touch: not sent
    text = 't',
    binary = 'b',
  };
  Kind kind = Kind::null;
  std::string_view bytes;
};
using Tuple = std::vector<Value>;

/// What the server sends of a row before the change.
enum class Old : char {
  none = 0,    ///< an update that left the replica identity as it was
  key = 'K',   ///< the columns of the replica identity; all others read as null
  full = 'O',  ///< the whole row: REPLICA IDENTITY FULL
};

enum class ReplicaIdentity : char { primary_key = 'd', nothing = 'n', full = 'f', index = 'i' };

struct Begin {
  Lsn commit_lsn;  ///< of its commit, which is known already
  PgMicros committed_at;
  Xid xid;
};
struct Commit {
  std::uint8_t flags;
  Lsn lsn;
  Lsn end;  ///< the position to confirm when it is durable
  PgMicros committed_at;
};
struct Origin {
  Lsn lsn;
  std::string_view name;
};
struct Column {
  bool key;  ///< part of the replica identity
  std::string_view name;
  Oid type;
  std::int32_t modifier;
};
struct Relation {
  std::optional<Xid> xid;
  Oid id;
  std::string_view schema;
  std::string_view name;
  ReplicaIdentity identity;
  std::vector<Column> columns;
};
struct Type {
  std::optional<Xid> xid;
  Oid id;
  std::string_view schema;
  std::string_view name;
};
struct Insert {
  std::optional<Xid> xid;
  Oid relation;
  Tuple row;
};
struct Update {
  std::optional<Xid> xid;
  Oid relation;
  Old old_kind;
  Tuple old;
  Tuple row;
};
struct Delete {
  std::optional<Xid> xid;
  Oid relation;
  Old old_kind;
  Tuple old;
};
struct Truncate {
  std::optional<Xid> xid;
  bool cascade;
  bool restart_identity;
  std::vector<Oid> relations;
};
/// pg_logical_emit_message().
struct LogicalMessage {
  std::optional<Xid> xid;
  bool transactional;
  Lsn lsn;
  std::string_view prefix;
  std::string_view content;
};
struct StreamStart {
  Xid xid;
  bool first;  ///< the first block of this transaction
};
struct StreamStop {};
struct StreamCommit {
  Xid xid;
  std::uint8_t flags;
  Lsn lsn;
  Lsn end;
  PgMicros committed_at;
};
struct StreamAbort {
  Xid xid;
  Xid subxid;  ///< the same as xid when the whole transaction is gone
};

using Message = std::variant<Begin, Commit, Origin, Relation, Type, Insert, Update, Delete, Truncate, LogicalMessage, StreamStart,
                             StreamStop, StreamCommit, StreamAbort>;

class Decoder {
 public:
  /// 1, or 2 for START_REPLICATION with streaming 'on'.
  explicit Decoder(unsigned version) : version_(version) {}
  Decoded<Message> decode(std::string_view bytes);
  [[nodiscard]] bool in_stream() const { return in_stream_; }

 private:
  unsigned version_;
  bool in_stream_ = false;
};

}  // namespace enishi::pgwire

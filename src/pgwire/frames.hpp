// The frames of a replication stream inside COPY BOTH (PostgreSQL 15, 55.4 "Streaming Replication Protocol"): WAL data and keepalives from
// the server, status updates to it. Pure: bytes in, values out, nothing copied.
//
//   auto frame = pgwire::read_frame(copy_data);               // views into copy_data
//   if (auto* wal = std::get_if<pgwire::XLogData>(&*frame)) decoder.decode(wal->data);
//   auto reply = pgwire::status_update({durable, durable, durable, now, false});
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <variant>

namespace enishi::pgwire {

/// A place in the WAL, in bytes since its beginning. 0 is none.
using Lsn = std::uint64_t;
/// A transaction's number at the source; it wraps around after four thousand million.
using Xid = std::uint32_t;
using Oid = std::uint32_t;
/// Microseconds since 2000-01-01 00:00 UTC, PostgreSQL's clock.
using PgMicros = std::int64_t;

inline constexpr std::int64_t kPgEpochUnixSeconds = 946684800;
inline constexpr std::int64_t unix_micros(PgMicros t) { return t + kPgEpochUnixSeconds * 1000000; }
inline constexpr PgMicros pg_micros(std::int64_t unix_time) { return unix_time - kPgEpochUnixSeconds * 1000000; }

/// As PostgreSQL writes it: 16/B374D848.
std::string lsn_text(Lsn lsn);
/// Nothing for text that is no LSN.
std::optional<Lsn> read_lsn(std::string_view text);

/// Bytes that are no message: where (counted from the message's first byte) and what was wrong.
struct DecodeError {
  std::size_t offset;
  std::string what;
  /// "offset 12: Insert: length of column 2 is …"
  [[nodiscard]] std::string text() const;
};
template <class T>
using Decoded = tl::expected<T, DecodeError>;

struct XLogData {
  Lsn start;         ///< where the data is in the WAL; 0 where it has no place of its own
  Lsn end;           ///< the end of the server's WAL when it sent this
  PgMicros sent_at;  ///< the server's clock
  std::string_view data;
};
struct Keepalive {
  Lsn end;  ///< everything committed before it was sent already
  PgMicros sent_at;
  bool reply_wanted;  ///< at once, or the server hangs up
};
using Frame = std::variant<XLogData, Keepalive>;

Decoded<Frame> read_frame(std::string_view copy_data);

struct StatusUpdate {
  Lsn written;
  Lsn flushed;  ///< the server may forget what is before it
  Lsn applied;
  PgMicros sent_at;
  bool reply_wanted;
};
std::string status_update(const StatusUpdate& status);
Decoded<StatusUpdate> read_status_update(std::string_view copy_data);

}  // namespace enishi::pgwire

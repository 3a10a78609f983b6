#include "pgwire/pgoutput.hpp"

#include <fmt/format.h>

#include "pgwire/reader.hpp"

namespace enishi::pgwire {
namespace {

std::optional<Xid> stream_xid(Reader& in, bool in_stream) {
  if (!in_stream) return std::nullopt;
  return in.u32("transaction");
}

Value read_value(Reader& in, std::size_t column) {
  const auto kind = in.u8("kind of a value");
  switch (kind) {
    case 'n':
      return {Value::Kind::null, {}};
    case 'u':
      return {Value::Kind::unchanged, {}};
    case 't':
    case 'b': {
      const auto size = in.i32("length of a value");
      if (size < 0) {
        in.wrong(fmt::format("column {} has the length {}", column, size));
        return {};
      }
      return {static_cast<Value::Kind>(kind), in.bytes("value", static_cast<std::size_t>(size))};
    }
    default:
      in.wrong(fmt::format("column {} has a value of the unknown kind 0x{:02x}", column, kind));
      return {};
  }
}

Tuple read_tuple(Reader& in) {
  const auto count = in.i16("number of columns");
  if (count < 0) in.wrong(fmt::format("{} columns", count));
  Tuple out;
  if (!in.good()) return out;
  // Each value takes a byte at least, so the message bounds what is reserved.
  out.reserve(std::min(static_cast<std::size_t>(count), in.left()));
  for (std::size_t i = 0; i < static_cast<std::size_t>(count) && in.good(); ++i) out.push_back(read_value(in, i));
  return out;
}

void expect(Reader& in, char wanted) {
  const auto got = in.u8("kind of a row");
  if (got != static_cast<std::uint8_t>(wanted)) in.wrong(fmt::format("a row of kind '{}' was expected, here is 0x{:02x}", wanted, got));
}

std::string_view read_schema(Reader& in) {
  const auto name = in.text("schema");
  return name.empty() ? "pg_catalog" : name;  // the protocol's short form
}

Begin read_begin(Reader& in) {
  Begin out{};
  out.commit_lsn = in.u64("LSN");
  out.committed_at = in.i64("time");
  out.xid = in.u32("transaction");
  return out;
}

Commit read_commit(Reader& in) {
  Commit out{};
  out.flags = in.u8("flags");
  out.lsn = in.u64("LSN");
  out.end = in.u64("end");
  out.committed_at = in.i64("time");
  return out;
}

Origin read_origin(Reader& in) {
  Origin out{};
  out.lsn = in.u64("LSN");
  out.name = in.text("name");
  return out;
}

Relation read_relation(Reader& in, bool in_stream) {
  Relation out{};
  out.xid = stream_xid(in, in_stream);
  out.id = in.u32("relation");
  out.schema = read_schema(in);
  out.name = in.text("name");
  const auto identity = in.u8("replica identity");
  if (std::string_view("dnfi").find(static_cast<char>(identity)) == std::string_view::npos)
    in.wrong(fmt::format("the replica identity 0x{:02x} is unknown", identity));
  out.identity = static_cast<ReplicaIdentity>(identity);
  const auto count = in.i16("number of columns");
  if (count < 0) in.wrong(fmt::format("{} columns", count));
  for (int i = 0; i < count && in.good(); ++i) {
    Column column{};
    column.key = (in.u8("flags of a column") & 1) != 0;
    column.name = in.text("name of a column");
    column.type = in.u32("type of a column");
    column.modifier = in.i32("type modifier");
    out.columns.push_back(column);
  }
  return out;
}

Type read_type(Reader& in, bool in_stream) {
  Type out{};
  out.xid = stream_xid(in, in_stream);
  out.id = in.u32("type");
  out.schema = read_schema(in);
  out.name = in.text("name");
  return out;
}

Insert read_insert(Reader& in, bool in_stream) {
  Insert out{};
  out.xid = stream_xid(in, in_stream);
  out.relation = in.u32("relation");
  expect(in, 'N');
  out.row = read_tuple(in);
  return out;
}

Update read_update(Reader& in, bool in_stream) {
  Update out{};
  out.xid = stream_xid(in, in_stream);
  out.relation = in.u32("relation");
  const auto kind = in.u8("kind of a row");
  if (kind == 'K' || kind == 'O') {
    out.old_kind = static_cast<Old>(kind);
    out.old = read_tuple(in);
    expect(in, 'N');
  } else if (kind != 'N') {
    in.wrong(fmt::format("a row of kind 'K', 'O' or 'N' was expected, here is 0x{:02x}", kind));
  }
  out.row = read_tuple(in);
  return out;
}

Delete read_delete(Reader& in, bool in_stream) {
  Delete out{};
  out.xid = stream_xid(in, in_stream);
  out.relation = in.u32("relation");
  const auto kind = in.u8("kind of a row");
  if (kind != 'K' && kind != 'O') in.wrong(fmt::format("a row of kind 'K' or 'O' was expected, here is 0x{:02x}", kind));
  out.old_kind = static_cast<Old>(kind);
  out.old = read_tuple(in);
  return out;
}

Truncate read_truncate(Reader& in, bool in_stream) {
  Truncate out{};
  out.xid = stream_xid(in, in_stream);
  const auto count = in.i32("number of relations");
  if (count < 0) in.wrong(fmt::format("{} relations", count));
  const auto options = in.u8("options");
  out.cascade = (options & 1) != 0;
  out.restart_identity = (options & 2) != 0;
  for (int i = 0; i < count && in.good(); ++i) out.relations.push_back(in.u32("relation"));
  return out;
}

LogicalMessage read_logical_message(Reader& in, bool in_stream) {
  LogicalMessage out{};
  out.xid = stream_xid(in, in_stream);
  out.transactional = (in.u8("flags") & 1) != 0;
  out.lsn = in.u64("LSN");
  out.prefix = in.text("prefix");
  const auto size = in.i32("length");
  if (size < 0) in.wrong(fmt::format("the content has the length {}", size));
  if (in.good()) out.content = in.bytes("content", static_cast<std::size_t>(size));
  return out;
}

StreamStart read_stream_start(Reader& in) {
  StreamStart out{};
  out.xid = in.u32("transaction");
  out.first = in.u8("first block") != 0;
  return out;
}

StreamCommit read_stream_commit(Reader& in) {
  StreamCommit out{};
  out.xid = in.u32("transaction");
  out.flags = in.u8("flags");
  out.lsn = in.u64("LSN");
  out.end = in.u64("end");
  out.committed_at = in.i64("time");
  return out;
}

StreamAbort read_stream_abort(Reader& in) {
  StreamAbort out{};
  out.xid = in.u32("transaction");
  out.subxid = in.u32("subtransaction");
  return out;
}

bool only_in_stream(std::uint8_t type) { return type == 'E'; }
bool never_in_stream(std::uint8_t type) { return type == 'B' || type == 'C' || type == 'S' || type == 'c' || type == 'A'; }
bool of_version_2(std::uint8_t type) { return type == 'S' || type == 'E' || type == 'c' || type == 'A'; }

}  // namespace

Decoded<Message> Decoder::decode(std::string_view bytes) {
  Reader in(bytes);
  const auto type = in.u8("type");
  if (!in.good()) return tl::make_unexpected(*in.finish("message"));
  if (of_version_2(type) && version_ < 2)
    in.wrong(fmt::format("'{}' is a message of protocol version 2, version {} was asked for", static_cast<char>(type), version_));
  else if (only_in_stream(type) && !in_stream_)
    in.wrong("the end of a streamed block without its beginning");
  else if (never_in_stream(type) && in_stream_)
    in.wrong(fmt::format("'{}' inside a streamed block", static_cast<char>(type)));
  if (!in.good()) return tl::make_unexpected(*in.finish("message"));

  const auto done = [&in](const char* name, auto message) -> Decoded<Message> {
    if (auto bad = in.finish(name)) return tl::make_unexpected(std::move(*bad));
    return Message(std::move(message));
  };
  switch (type) {
    case 'B':
      return done("Begin", read_begin(in));
    case 'C':
      return done("Commit", read_commit(in));
    case 'O':
      return done("Origin", read_origin(in));
    case 'R':
      return done("Relation", read_relation(in, in_stream_));
    case 'Y':
      return done("Type", read_type(in, in_stream_));
    case 'I':
      return done("Insert", read_insert(in, in_stream_));
    case 'U':
      return done("Update", read_update(in, in_stream_));
    case 'D':
      return done("Delete", read_delete(in, in_stream_));
    case 'T':
      return done("Truncate", read_truncate(in, in_stream_));
    case 'M':
      return done("Message", read_logical_message(in, in_stream_));
    case 'S': {
      auto out = done("Stream Start", read_stream_start(in));
      if (out) in_stream_ = true;
      return out;
    }
    case 'E': {
      auto out = done("Stream Stop", StreamStop{});
      if (out) in_stream_ = false;
      return out;
    }
    case 'c':
      return done("Stream Commit", read_stream_commit(in));
    case 'A':
      return done("Stream Abort", read_stream_abort(in));
    default:
      in.wrong(fmt::format("a message of type 0x{:02x} is not in protocol versions 1 and 2", type));
      return tl::make_unexpected(*in.finish("message"));
  }
}

}  // namespace enishi::pgwire

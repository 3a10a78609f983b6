#include "pgwire/changes.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace enishi::pgwire {
namespace {

/// What a row costs beside its bytes: itself, its values, its place in the set of seen ones.
constexpr std::size_t kRowCost = 160;
constexpr std::size_t kValueCost = sizeof(ChangedValue);
constexpr std::size_t kShownOfAKey = 200;

void append(std::string& out, std::uint64_t number) {
  for (int i = 0; i < 8; ++i) out.push_back(static_cast<char>(number >> (8 * i) & 0xff));
}

tl::unexpected<Collector::Refusal> refuse(std::string code, std::string what) {
  return tl::make_unexpected(Collector::Refusal{std::move(code), std::move(what)});
}

}  // namespace

tl::expected<void, Collector::Refusal> Collector::take(const XLogData& xlog) {
  const auto message = decoder_.decode(xlog.data);
  if (!message)
    return refuse("STREAM_MALFORMED", fmt::format("A message at {} cannot be read: {}.", lsn_text(xlog.start), message.error().text()));
  if (xlog.data.size() > options_.most_message)
    return refuse("MESSAGE_TOO_LARGE", fmt::format("A message of {} bytes at {} is larger than the limit of {}: {}.", xlog.data.size(),
                                                   lsn_text(xlog.start), options_.most_message, about(*message)));
  batch_.bytes += xlog.data.size();
  return take(*message);
}

void Collector::take(const Keepalive& keepalive) {
  if (!open_ && only_position()) batch_.position = std::max(batch_.position, keepalive.end);
}

tl::expected<void, Collector::Refusal> Collector::take(const Message& message) {
  if (const auto* begin = std::get_if<Begin>(&message)) {
    if (open_) return refuse("STREAM_MALFORMED", fmt::format("Transaction {} begins inside transaction {}.", begin->xid, open_->xid));
    open_ = ChangedTransaction{begin->xid, begin->commit_lsn, 0, unix_micros(begin->committed_at), {}};
    touched_ = false;
    return {};
  }
  if (const auto* commit = std::get_if<Commit>(&message)) {
    if (!open_) return refuse("STREAM_MALFORMED", fmt::format("A commit at {} without its beginning.", lsn_text(commit->lsn)));
    // Servers before 15 send empty transactions too: they only move the position.
    if (touched_) {
      touch();
      batch_.transactions.back().end = commit->end;
    }
    batch_.position = commit->end;
    open_.reset();
    return {};
  }
  if (const auto* relation = std::get_if<Relation>(&message)) return take(*relation);
  if (std::holds_alternative<Type>(message)) return {};
  if (const auto* note = std::get_if<LogicalMessage>(&message)) {
    if (note->transactional && !open_) return refuse("STREAM_MALFORMED", "A transactional message outside a transaction.");
    if (note->transactional) touch();
    batch_.messages.push_back({note->transactional ? std::optional<Xid>(open_->xid) : std::nullopt, note->lsn, std::string(note->prefix),
                               std::string(note->content)});
    held_ += note->content.size() + kRowCost;
    return {};
  }
  if (!std::holds_alternative<Origin>(message) && !std::holds_alternative<Insert>(message) && !std::holds_alternative<Update>(message) &&
      !std::holds_alternative<Delete>(message) && !std::holds_alternative<Truncate>(message))
    return refuse("STREAMING_UNEXPECTED", "The server streams transactions before their commit, which was not asked for.");
  if (!open_) return refuse("STREAM_MALFORMED", "A change outside a transaction.");
  if (const auto* origin = std::get_if<Origin>(&message)) {
    open_->origin = origin->name;
    return {};
  }
  touch();
  if (const auto* insert = std::get_if<Insert>(&message)) {
    const auto shape = shape_of(insert->relation);
    if (!shape) return tl::make_unexpected(shape.error());
    ++batch_.changes;
    add(*shape, ChangedRow::Side::after, insert->row, Old::none, nullptr);
  } else if (const auto* update = std::get_if<Update>(&message)) {
    const auto shape = shape_of(update->relation);
    if (!shape) return tl::make_unexpected(shape.error());
    ++batch_.changes;
    if (update->old_kind != Old::none) add(*shape, ChangedRow::Side::before, update->old, update->old_kind, nullptr);
    add(*shape, ChangedRow::Side::after, update->row, Old::none, update->old_kind == Old::none ? nullptr : &update->old);
  } else if (const auto* gone = std::get_if<Delete>(&message)) {
    const auto shape = shape_of(gone->relation);
    if (!shape) return tl::make_unexpected(shape.error());
    ++batch_.changes;
    add(*shape, ChangedRow::Side::before, gone->old, gone->old_kind, nullptr);
  } else if (const auto* truncate = std::get_if<Truncate>(&message)) {
    for (const auto id : truncate->relations) {
      const auto shape = shape_of(id);
      if (!shape) return tl::make_unexpected(shape.error());
      if (std::find(batch_.truncated.begin(), batch_.truncated.end(), *shape) == batch_.truncated.end()) batch_.truncated.push_back(*shape);
    }
  }
  return {};
}

/// The open transaction belongs to this batch, also when it began in an earlier one.
void Collector::touch() {
  touched_ = true;
  if (!batch_.transactions.empty() && batch_.transactions.back().xid == open_->xid) return;
  batch_.transactions.push_back(*open_);
  held_ += sizeof(ChangedTransaction);
}

tl::expected<void, Collector::Refusal> Collector::take(const Relation& relation) {
  auto shape = std::make_shared<Shape>();
  shape->id = relation.id;
  shape->schema = relation.schema;
  shape->name = relation.name;
  shape->identity = relation.identity;
  for (const auto& column : relation.columns)
    shape->columns.push_back({column.key, std::string(column.name), column.type, column.modifier});
  for (std::size_t i = 0; i < shape->columns.size(); ++i)
    if (shape->columns[i].key && relation.identity != ReplicaIdentity::full) shape->wanted.push_back(i);
  bool asked_for = false;
  for (const auto& table : options_.tables) {
    if (table.schema != shape->schema || table.name != shape->name) continue;
    asked_for = true;
    for (const auto& name : table.columns) {
      const auto at = std::find_if(shape->columns.begin(), shape->columns.end(), [&](const auto& c) { return c.name == name; });
      if (at == shape->columns.end())
        return refuse("COLUMN_MISSING", fmt::format("Table {} has no published column \"{}\" any more.", shape->full_name(), name));
      const auto index = static_cast<std::size_t>(at - shape->columns.begin());
      if (std::find(shape->wanted.begin(), shape->wanted.end(), index) == shape->wanted.end()) shape->wanted.push_back(index);
    }
  }
  // REPLICA IDENTITY FULL makes every column part of the identity; who wants fewer says which.
  if (relation.identity == ReplicaIdentity::full && !asked_for)
    for (std::size_t i = 0; i < shape->columns.size(); ++i) shape->wanted.push_back(i);
  auto& known = shapes_[shape->id];
  const bool same = known && known->schema == shape->schema && known->name == shape->name && known->identity == shape->identity &&
                    known->columns == shape->columns;
  if (same) return {};  // the server describes a table again after any change of its catalog entry
  known = shape;
  batch_.described.push_back(std::move(shape));
  return {};
}

tl::expected<std::shared_ptr<const Shape>, Collector::Refusal> Collector::shape_of(Oid id) const {
  const auto found = shapes_.find(id);
  if (found == shapes_.end()) return refuse("STREAM_MALFORMED", fmt::format("A change of table {}, which was not described.", id));
  return found->second;
}

void Collector::add(const std::shared_ptr<const Shape>& shape, ChangedRow::Side side, const Tuple& tuple, Old old_kind,
                    const Tuple* fallback) {
  ChangedRow row{shape, side, open_->xid, {}};
  row.values.reserve(shape->wanted.size());
  std::string seen;
  append(seen, reinterpret_cast<std::uintptr_t>(shape.get()));
  if (options_.by_transaction) append(seen, open_->xid);
  for (const auto index : shape->wanted) {
    auto& value = row.values.emplace_back();
    // A row that is narrower than its table was described keeps its last columns unknown.
    const Value* from = index < tuple.size() ? &tuple[index] : nullptr;
    if (from != nullptr && old_kind == Old::key && !shape->columns[index].key) from = nullptr;
    if (from != nullptr && from->kind == Value::Kind::unchanged)
      from =
          fallback != nullptr && index < fallback->size() && (*fallback)[index].kind != Value::Kind::null ? &(*fallback)[index] : nullptr;
    if (from != nullptr && from->kind != Value::Kind::unchanged) {
      value.state = from->kind == Value::Kind::null ? ChangedValue::State::null : ChangedValue::State::known;
      value.text = from->bytes;
    }
    seen.push_back(static_cast<char>(value.state));
    append(seen, value.text.size());
    seen += value.text;
  }
  const auto cost = kRowCost + row.values.size() * kValueCost + 2 * seen.size();
  if (!seen_.insert(std::move(seen)).second) return;
  held_ += cost;
  batch_.rows.push_back(std::move(row));
}

ChangeBatch Collector::hand_over() {
  seen_.clear();
  held_ = 0;
  return std::exchange(batch_, {});
}

std::string Collector::key_text(const Shape& shape, const Tuple& tuple) const {
  std::string out;
  for (std::size_t i = 0; i < shape.columns.size() && i < tuple.size(); ++i) {
    if (!shape.columns[i].key || tuple[i].kind != Value::Kind::text) continue;
    if (out.size() > kShownOfAKey) return out + ", …";
    out += fmt::format("{}{}={}", out.empty() ? "" : ", ", shape.columns[i].name, tuple[i].bytes.substr(0, kShownOfAKey));
  }
  return out.empty() ? "its key is not in the message" : out;
}

std::string Collector::about(const Message& message) const {
  Oid id = 0;
  const Tuple* tuple = nullptr;
  if (const auto* insert = std::get_if<Insert>(&message)) {
    id = insert->relation;
    tuple = &insert->row;
  } else if (const auto* update = std::get_if<Update>(&message)) {
    id = update->relation;
    tuple = update->old_kind == Old::none ? &update->row : &update->old;
  } else if (const auto* gone = std::get_if<Delete>(&message)) {
    id = gone->relation;
    tuple = &gone->old;
  } else if (const auto* note = std::get_if<LogicalMessage>(&message)) {
    return fmt::format("a logical message with the prefix \"{}\"", note->prefix.substr(0, kShownOfAKey));
  }
  const auto found = shapes_.find(id);
  if (tuple == nullptr || found == shapes_.end()) return "no row";
  return fmt::format("table {}, row {}", found->second->full_name(), key_text(*found->second, *tuple));
}

}  // namespace enishi::pgwire

// Any bytes as messages of pgoutput, as frames and for the collector: each ends in values that lie inside the bytes, or in an error whose
// offset does.
#include <cstdint>
#include <cstdlib>

#include "pgwire/changes.hpp"
#include "pgwire/fuzz/scenario.hpp"

namespace pgwire = enishi::pgwire;

namespace {

void require(bool fine) {
  if (!fine) std::abort();
}

void inside(std::string_view part, std::string_view whole) {
  if (part.empty() || part == "pg_catalog") return;
  require(part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

void inside(const pgwire::Tuple& tuple, std::string_view whole) {
  for (const auto& value : tuple) inside(value.bytes, whole);
}

void check(const pgwire::Message& message, std::string_view whole) {
  if (const auto* relation = std::get_if<pgwire::Relation>(&message)) {
    inside(relation->schema, whole);
    inside(relation->name, whole);
    for (const auto& column : relation->columns) inside(column.name, whole);
  } else if (const auto* insert = std::get_if<pgwire::Insert>(&message)) {
    inside(insert->row, whole);
  } else if (const auto* update = std::get_if<pgwire::Update>(&message)) {
    inside(update->old, whole);
    inside(update->row, whole);
    require((update->old_kind == pgwire::Old::none) <= update->old.empty());
  } else if (const auto* gone = std::get_if<pgwire::Delete>(&message)) {
    inside(gone->old, whole);
    require(gone->old_kind != pgwire::Old::none);
  } else if (const auto* note = std::get_if<pgwire::LogicalMessage>(&message)) {
    inside(note->prefix, whole);
    inside(note->content, whole);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view file(reinterpret_cast<const char*>(data), size);
  const auto scenario = pgwire::fuzz::read_scenario(file);
  pgwire::Decoder decoder(scenario.version);
  pgwire::Collector collector({.tables = {{"public", "item", {"name"}}}, .most_rows = 50, .most_message = 2000});
  bool collecting = true;
  for (const auto bytes : scenario.messages) {
    const auto message = decoder.decode(bytes);
    if (message)
      check(*message, bytes);
    else
      require(message.error().offset <= bytes.size() && !message.error().what.empty());
    if (!collecting) continue;
    const auto taken = collector.take(pgwire::XLogData{1, 2, 3, bytes});
    collecting = taken.has_value();
    if (!taken) {
      require(!taken.error().code.empty() && !taken.error().what.empty());
    } else if (collector.full()) {
      const auto batch = collector.hand_over();
      for (const auto& row : batch.rows) require(row.values.size() == row.shape->wanted.size());
      require(collector.held() == 0);
    }
  }
  const auto frame = pgwire::read_frame(file);
  if (frame) {
    if (const auto* wal = std::get_if<pgwire::XLogData>(&*frame)) inside(wal->data, file);
  } else {
    require(frame.error().offset <= file.size());
  }
  const auto status = pgwire::read_status_update(file);
  if (status) {
    auto again = pgwire::status_update(*status);
    require(again.substr(0, 33) == file.substr(0, 33));
  }
  return 0;
}

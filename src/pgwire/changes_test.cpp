// The collector over what a real server said, and its bounds.
#include "pgwire/changes.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <fstream>
#include <sstream>

#include "pgwire/fuzz/scenario.hpp"

namespace enishi::pgwire {
namespace {

using namespace std::string_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string corpus(const std::string& name) {
  std::ifstream in(std::string(ENISHI_SOURCE_ROOT) + "/src/pgwire/fuzz/corpus/pgoutput/" + name, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

std::string told(const ChangedRow& row) {
  std::string out = row.shape->name;
  for (std::size_t i = 0; i < row.values.size(); ++i) {
    const auto& value = row.values[i];
    out += fmt::format(" {}={}", row.shape->columns[row.shape->wanted[i]].name,
                       value.state == ChangedValue::State::known  ? value.text
                       : value.state == ChangedValue::State::null ? "null"
                                                                  : "?");
  }
  return out;
}

std::vector<std::string> told(const ChangeBatch& batch) {
  std::vector<std::string> out;
  for (const auto& row : batch.rows) out.push_back(told(row));
  return out;
}

void feed(Collector& collector, std::string_view bytes) {
  const auto taken = collector.take(XLogData{1, 1, 0, bytes});
  ASSERT_TRUE(taken) << taken.error().what;
}

ChangeBatch collected(const std::string& name, Collector::Options options = {}) {
  Collector collector(std::move(options));
  const auto file = corpus(name);
  for (const auto bytes : fuzz::read_scenario(file).messages) feed(collector, bytes);
  return collector.hand_over();
}

// Messages made by hand: table 1 is public.t (id*, other, long).
std::string u32(std::uint32_t n) {
  return {static_cast<char>(n >> 24), static_cast<char>(n >> 16), static_cast<char>(n >> 8), static_cast<char>(n)};
}
std::string u64(std::uint64_t n) { return u32(static_cast<std::uint32_t>(n >> 32)) + u32(static_cast<std::uint32_t>(n)); }
std::string begin(Xid xid, Lsn lsn) { return "B" + u64(lsn) + u64(0) + u32(xid); }
std::string commit(Lsn lsn) { return "C"s + '\0' + u64(lsn) + u64(lsn + 8) + u64(0); }
std::string table(const std::string& columns = "\1id\0"s + u32(23) + u32(~0u) + "\0other\0"s + u32(23) + u32(~0u)) {
  return "R" + u32(1) + "public\0t\0d\0\2"s + columns;
}
std::string text(const std::string& value) { return "t" + u32(static_cast<std::uint32_t>(value.size())) + value; }
std::string insert(const std::string& id, const std::string& other) { return "I" + u32(1) + "N\0\2"s + text(id) + text(other); }

TEST(Collected, rows_are_their_keys_each_once_before_and_after) {
  const auto batch = collected("rows-primary-key");
  EXPECT_THAT(told(batch), ElementsAre("item id=1", "item id=2", "item id=3"));
  EXPECT_EQ(batch.changes, 5u);
  ASSERT_EQ(batch.transactions.size(), 4u);
  EXPECT_EQ(batch.position, batch.transactions.back().end);
  EXPECT_GT(batch.transactions[0].committed_at, 1767225600000000) << "later than 2026-01-01";
  EXPECT_THAT(batch.described, ::testing::SizeIs(1));
}

TEST(Collected, columns_that_were_asked_for_come_with_what_is_known_of_them) {
  const auto batch = collected("rows-primary-key", {.tables = {{"public", "item", {"name", "id", "note"}}}});
  EXPECT_THAT(told(batch), ElementsAre("item id=1 name=one note=null", "item id=2 name=二 note=", "item id=1 name=uno note=null",
                                       "item id=2 name=? note=?", "item id=3 name=二 note=", "item id=3 name=? note=?"));
  EXPECT_EQ(batch.rows[3].side, ChangedRow::Side::before);
  EXPECT_EQ(batch.rows[4].side, ChangedRow::Side::after);
}

TEST(Collected, rows_of_every_replica_identity_carry_what_it_gives) {
  const auto batch = collected("rows-other-identities");
  EXPECT_THAT(told(batch), ElementsAre("by_index a=1 b=1", "by_index a=1 b=2", "whole a=1 b=null", "whole a=1 b=z", "keyless",
                                       "parted_1 id=1 at=2020-05-05", "Odd \"name\" id=1"));
}

TEST(Collected, toasted_values_that_were_not_sent_are_unknown) {
  const auto batch = collected("toast", {.tables = {{"public", "lump", {"body", "n"}}}});
  EXPECT_THAT(told(batch), ElementsAre(HasSubstr("lump id=1 body=0123456789"), "lump id=1 body=? n=2", "lump id=1 body=? n=?"));
}

TEST(Collected, tables_are_described_again_only_when_they_differ) {
  const auto batch = collected("relation-changes");
  ASSERT_EQ(batch.described.size(), 2u);
  EXPECT_EQ(batch.described[0]->columns.size(), 5u);
  EXPECT_EQ(batch.described[1]->columns.size(), 4u);
  EXPECT_EQ(batch.described[1]->columns[3].name, "extra");
}

TEST(Collected, a_wanted_column_that_is_gone_stops_the_stream) {
  Collector collector({.tables = {{"public", "item", {"note"}}}});
  const auto file = corpus("relation-changes");
  std::optional<Collector::Refusal> refusal;
  for (const auto bytes : fuzz::read_scenario(file).messages) {
    const auto taken = collector.take(XLogData{1, 1, 0, bytes});
    if (taken) continue;
    refusal = taken.error();
    break;
  }
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->code, "COLUMN_MISSING");
  EXPECT_EQ(refusal->what, "Table public.item has no published column \"note\" any more.");
}

TEST(Collected, truncated_tables_are_named) {
  const auto batch = collected("truncate");
  std::vector<std::string> names;
  for (const auto& shape : batch.truncated) names.push_back(shape->full_name());
  EXPECT_THAT(names, ElementsAre("public.item", "public.whole", "public.parted_1"));
  EXPECT_TRUE(batch.rows.empty());
}

TEST(Collected, logical_messages_and_origins_come_along) {
  const auto messages = collected("logical-messages").messages;
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_FALSE(messages[0].xid);
  EXPECT_EQ(messages[0].content, "\0\xff"s);
  EXPECT_TRUE(messages[1].xid);
  EXPECT_EQ(messages[1].content, "inside");
  const auto replicated = collected("origin");
  ASSERT_EQ(replicated.transactions.size(), 1u);
  EXPECT_EQ(replicated.transactions[0].origin, "elsewhere");
}

TEST(Collected, streamed_blocks_are_refused_for_they_may_be_given_up) {
  const auto file = corpus("streamed-with-abort");
  const auto taken = Collector({}).take(XLogData{1, 1, 0, fuzz::read_scenario(file).messages[0]});
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, "STREAM_MALFORMED");
}

TEST(Collected, a_large_transaction_comes_in_pieces_and_moves_the_position_only_at_its_end) {
  Collector collector({.most_rows = 100});
  feed(collector, begin(7, 1000));
  feed(collector, table());
  std::size_t pieces = 0, rows = 0, most_held = 0;
  for (int i = 0; i < 100000; ++i) {
    feed(collector, insert(std::to_string(i), "0"));
    most_held = std::max(most_held, collector.held());
    if (!collector.full()) continue;
    const auto batch = collector.hand_over();
    ++pieces;
    rows += batch.rows.size();
    EXPECT_EQ(batch.position, 0u);
    ASSERT_EQ(batch.transactions.size(), 1u);
    EXPECT_EQ(batch.transactions[0].xid, 7u);
    EXPECT_EQ(batch.transactions[0].end, 0u);
  }
  EXPECT_FALSE(collector.at_boundary());
  feed(collector, commit(1000));
  EXPECT_TRUE(collector.at_boundary());
  const auto last = collector.hand_over();
  EXPECT_EQ(last.position, 1008u);
  ASSERT_EQ(last.transactions.size(), 1u);
  EXPECT_EQ(last.transactions[0].end, 1008u);
  EXPECT_EQ(pieces, 1000u);
  EXPECT_EQ(rows, 100000u);
  EXPECT_LT(most_held, 100000u);
  EXPECT_FALSE(collector.at_boundary());
}

TEST(Collected, a_row_that_changes_again_and_again_is_held_once_but_every_transaction_is_named) {
  Collector collector({});
  feed(collector, begin(1, 10));
  feed(collector, table());
  feed(collector, insert("1", "x"));
  feed(collector, commit(10));
  for (Xid xid = 2; xid < 50; ++xid) {
    feed(collector, begin(xid, xid * 10));
    feed(collector, insert("1", "y" + std::to_string(xid)));
    feed(collector, commit(xid * 10));
  }
  const auto batch = collector.hand_over();
  EXPECT_THAT(told(batch), ElementsAre("t id=1"));
  EXPECT_EQ(batch.transactions.size(), 49u);
  EXPECT_EQ(batch.changes, 49u);
}

TEST(Collected, by_transaction_a_row_is_held_once_for_each) {
  Collector collector({.by_transaction = true});
  for (Xid xid = 1; xid < 3; ++xid) {
    feed(collector, begin(xid, xid * 10));
    if (xid == 1) feed(collector, table());
    feed(collector, insert("1", "x"));
    feed(collector, insert("1", "x"));
    feed(collector, commit(xid * 10));
  }
  const auto batch = collector.hand_over();
  ASSERT_EQ(batch.rows.size(), 2u);
  EXPECT_EQ(batch.rows[0].xid, 1u);
  EXPECT_EQ(batch.rows[1].xid, 2u);
}

TEST(Collected, bytes_count_as_well_as_rows) {
  Collector collector({.tables = {{"public", "t", {"other"}}}, .most_bytes = 1 << 20});
  feed(collector, begin(1, 10));
  feed(collector, table());
  int rows = 0;
  while (!collector.full()) {
    feed(collector, insert(std::to_string(rows), std::string(50000, 'x')));
    ASSERT_LT(++rows, 100);
  }
  EXPECT_GE(rows, 5);
}

TEST(Collected, a_message_above_the_limit_is_refused_with_table_and_key) {
  Collector collector({.most_message = 1000});
  feed(collector, begin(1, 10));
  feed(collector, table());
  const auto taken = collector.take(XLogData{0x10000002A, 1, 0, insert("4711", std::string(2000, 'x'))});
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, "MESSAGE_TOO_LARGE");
  EXPECT_EQ(taken.error().what, "A message of 2022 bytes at 1/2A is larger than the limit of 1000: table public.t, row id=4711.");
}

TEST(Collected, keepalives_move_the_position_only_when_nothing_is_held) {
  Collector collector({});
  collector.take(Keepalive{500, 0, false});
  EXPECT_TRUE(collector.only_position());
  EXPECT_TRUE(collector.at_boundary());
  EXPECT_EQ(collector.hand_over().position, 500u);
  feed(collector, begin(1, 600));
  collector.take(Keepalive{700, 0, false});
  EXPECT_EQ(collector.position(), 0u);
  feed(collector, table());
  feed(collector, insert("1", "2"));
  feed(collector, commit(600));
  collector.take(Keepalive{700, 0, false});
  EXPECT_EQ(collector.position(), 608u) << "what is held is not stored yet";
}

TEST(Collected, what_is_out_of_order_is_refused) {
  const auto refused = [](const std::vector<std::string>& messages) {
    Collector collector({});
    for (const auto& bytes : messages) {
      const auto taken = collector.take(XLogData{1, 1, 0, bytes});
      if (!taken) return taken.error().code + ": " + taken.error().what;
    }
    return "accepted"s;
  };
  EXPECT_EQ(refused({insert("1", "2")}), "STREAM_MALFORMED: A change outside a transaction.");
  EXPECT_EQ(refused({begin(1, 1), insert("1", "2")}), "STREAM_MALFORMED: A change of table 1, which was not described.");
  EXPECT_EQ(refused({begin(1, 1), begin(2, 1)}), "STREAM_MALFORMED: Transaction 2 begins inside transaction 1.");
  EXPECT_EQ(refused({commit(1)}), "STREAM_MALFORMED: A commit at 0/1 without its beginning.");
  EXPECT_THAT(refused({"?"}), HasSubstr("STREAM_MALFORMED: A message at 0/1 cannot be read: offset 0"));
}

}  // namespace
}  // namespace enishi::pgwire

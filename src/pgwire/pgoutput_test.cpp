// What a real PostgreSQL 15 said (fuzz/capture.sql), and what no server would say.
#include "pgwire/pgoutput.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <fstream>
#include <sstream>

#include "pgwire/fuzz/scenario.hpp"

namespace enishi::pgwire {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string corpus(const std::string& name) {
  std::ifstream in(std::string(ENISHI_SOURCE_ROOT) + "/src/pgwire/fuzz/corpus/pgoutput/" + name, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  EXPECT_FALSE(out.str().empty()) << name;
  return out.str();
}

std::string said(const Tuple& tuple) {
  std::string out = "(";
  for (const auto& value : tuple) {
    if (out.size() > 1) out += ", ";
    switch (value.kind) {
      case Value::Kind::null:
        out += "null";
        break;
      case Value::Kind::unchanged:
        out += "unchanged";
        break;
      case Value::Kind::text:
        out += value.bytes.size() > 100 ? fmt::format("{} bytes", value.bytes.size()) : fmt::format("'{}'", value.bytes);
        break;
      case Value::Kind::binary:
        out += "0x";
        for (const char c : value.bytes) out += fmt::format("{:02x}", static_cast<unsigned char>(c));
    }
  }
  return out + ")";
}

std::string old_row(Old kind, const Tuple& tuple) {
  if (kind == Old::none) return "";
  return fmt::format(" {} {}", kind == Old::key ? "key" : "old", said(tuple));
}

/// Without OIDs, LSNs and numbers of transactions, which differ from capture to capture.
class Teller {
 public:
  std::string operator()(const Begin& m) {
    commit_lsn_ = m.commit_lsn;
    committed_at_ = m.committed_at;
    EXPECT_GT(m.xid, 0u);
    return "begin";
  }
  std::string operator()(const Commit& m) {
    EXPECT_EQ(m.lsn, commit_lsn_);
    EXPECT_GT(m.end, m.lsn);
    EXPECT_EQ(m.committed_at, committed_at_);
    EXPECT_EQ(m.flags, 0);
    return "commit";
  }
  std::string operator()(const Origin& m) { return fmt::format("origin {} {}", m.name, lsn_text(m.lsn)); }
  std::string operator()(const Relation& m) {
    names_[m.id] = m.name;
    std::string columns;
    for (const auto& c : m.columns)
      columns += fmt::format("{}{}{}{}", columns.empty() ? "" : ", ", c.name, c.key ? "*" : "",
                             c.modifier == -1 ? "" : fmt::format(" {}:{}", c.type, c.modifier));
    return fmt::format("{}relation {}.{} {} ({})", streamed(m.xid), m.schema, m.name, static_cast<char>(m.identity), columns);
  }
  std::string operator()(const Type& m) { return fmt::format("{}type {}.{}", streamed(m.xid), m.schema, m.name); }
  std::string operator()(const Insert& m) { return fmt::format("{}insert {} {}", streamed(m.xid), names_[m.relation], said(m.row)); }
  std::string operator()(const Update& m) {
    return fmt::format("{}update {}{} {}", streamed(m.xid), names_[m.relation], old_row(m.old_kind, m.old), said(m.row));
  }
  std::string operator()(const Delete& m) {
    return fmt::format("{}delete {}{}", streamed(m.xid), names_[m.relation], old_row(m.old_kind, m.old));
  }
  std::string operator()(const Truncate& m) {
    std::string out = streamed(m.xid) + "truncate";
    for (const auto id : m.relations) out += " " + names_[id];
    return out + (m.cascade ? " cascade" : "") + (m.restart_identity ? " restart identity" : "");
  }
  std::string operator()(const LogicalMessage& m) {
    EXPECT_GT(m.lsn, 0u);
    return fmt::format("{}message {} {} of {} bytes", streamed(m.xid), m.transactional ? "transactional" : "free", m.prefix,
                       m.content.size());
  }
  std::string operator()(const StreamStart& m) {
    top_ = m.xid;
    return m.first ? "stream start" : "stream on";
  }
  std::string operator()(const StreamStop&) { return "stream stop"; }
  std::string operator()(const StreamCommit& m) {
    EXPECT_EQ(m.xid, top_);
    EXPECT_GT(m.end, m.lsn);
    return "stream commit";
  }
  std::string operator()(const StreamAbort& m) { return m.xid == m.subxid ? "stream abort" : "stream abort of a part"; }

 private:
  std::string streamed(const std::optional<Xid>& xid) { return !xid ? "" : *xid == top_ ? "~" : "~~"; }
  std::map<Oid, std::string> names_;
  Lsn commit_lsn_ = 0;
  PgMicros committed_at_ = 0;
  Xid top_ = 0;
};

/// A line for each message; the same line many times in a row once.
std::vector<std::string> told(const std::string& file) {
  const auto scenario = fuzz::read_scenario(file);
  Decoder decoder(scenario.version);
  Teller teller;
  std::vector<std::string> out;
  for (const auto bytes : scenario.messages) {
    const auto message = decoder.decode(bytes);
    EXPECT_TRUE(message) << (message ? "" : message.error().text());
    if (!message) break;
    out.push_back(std::visit(teller, *message));
  }
  return out;
}

TEST(Pgoutput, of_a_table_with_a_primary_key) {
  EXPECT_THAT(told(corpus("rows-primary-key")),
              ElementsAre("begin", "type public.mood", "relation public.item d (id*, name, mood, note)",
                          "insert item ('1', 'one', 'calm', null)", "insert item ('2', '二', null, '')", "commit",  //
                          "begin", "update item ('1', 'uno', 'calm', null)", "commit",                              //
                          "begin", "update item key ('2', null, null, null) ('3', '二', null, '')", "commit",       //
                          "begin", "delete item key ('3', null, null, null)", "commit"));
}

TEST(Pgoutput, of_every_other_replica_identity) {
  EXPECT_THAT(told(corpus("rows-other-identities")),
              ElementsAre("begin", "relation public.by_index i (a*, b*, c)", "insert by_index ('1', '1', 'x')", "commit",  //
                          "begin", "update by_index ('1', '1', 'y')", "commit",                                            //
                          "begin", "update by_index key ('1', '1', null) ('1', '2', 'y')", "commit",                       //
                          "begin", "delete by_index key ('1', '2', null)", "commit",                                       //
                          "begin", "relation public.whole f (a*, b*)", "insert whole ('1', null)", "commit",               //
                          "begin", "update whole old ('1', null) ('1', 'z')", "commit",                                    //
                          "begin", "delete whole old ('1', 'z')", "commit",                                                //
                          "begin", "relation public.keyless d (a)", "insert keyless ('7')", "commit",                      //
                          "begin", "relation public.parted_1 d (id*, at*)", "insert parted_1 ('1', '2020-05-05')", "commit", "begin",
                          "relation public.Odd \"name\" d (id*, Ünï)", "insert Odd \"name\" ('1', 'ü')", "commit"));
}

TEST(Pgoutput, does_not_send_toasted_values_that_did_not_change) {
  EXPECT_THAT(told(corpus("toast")),
              ElementsAre("begin", "relation public.lump d (id*, body, n)", "insert lump ('1', 3000 bytes, '1')", "commit",  //
                          "begin", "update lump ('1', unchanged, '2')", "commit",                                            //
                          "begin", "delete lump key ('1', null, null)", "commit"));
}

TEST(Pgoutput, describes_a_table_again_after_it_changed) {
  EXPECT_THAT(told(corpus("relation-changes")),
              ElementsAre("begin", "type public.mood", "relation public.item d (id*, name, mood, note, extra 1700:655366)",
                          "insert item ('4', 'four', 'busy', 'n', '1.50')", "commit",  //
                          "begin", "type public.mood", "relation public.item d (id*, name, mood, extra 1700:655366)",
                          "update item ('1', 'uno', 'calm', 'NaN')", "update item ('4', 'four', 'busy', 'NaN')", "commit"));
}

TEST(Pgoutput, of_truncate_names_every_table_and_its_options) {
  EXPECT_THAT(told(corpus("truncate")),
              ElementsAre("begin", "type public.mood", "relation public.item d (id*, name, mood, extra 1700:655366)",
                          "relation public.whole f (a*, b*)", "truncate item whole cascade restart identity", "commit",  //
                          "begin", "relation public.parted_1 d (id*, at*)", "truncate parted_1", "commit"));
}

TEST(Pgoutput, of_logical_messages_inside_and_outside_of_transactions) {
  EXPECT_THAT(told(corpus("logical-messages")),
              ElementsAre("message free enishi of 2 bytes", "begin", "message transactional enishi of 6 bytes", "commit"));
}

TEST(Pgoutput, names_the_origin_of_a_replicated_transaction) {
  EXPECT_THAT(told(corpus("origin")), ElementsAre("begin", "origin elsewhere 0/ABCDEF", "type public.mood",
                                                  HasSubstr("relation public.item"), "insert item ('5', 'five', null, null)", "commit"));
}

TEST(Pgoutput, of_a_column_list_has_only_its_columns) {
  EXPECT_THAT(told(corpus("column-list")), ElementsAre("begin", "relation public.item d (id*, name)", "insert item ('6', 'six')", "commit",
                                                       "begin", "update item ('6', 'six')", "commit"));
}

TEST(Pgoutput, in_binary_has_the_types_own_bytes_where_they_have_some) {
  EXPECT_THAT(told(corpus("binary")),
              ElementsAre("begin", "type public.mood", HasSubstr("relation public.item"),
                          "insert item (0x00000008, 0x61636874, 0x63616c6d, 0x00020000000000020002"
                          "1388)",
                          "commit",  //
                          "begin", "relation public.whole f (a*, b*)", "insert whole (0x00000001, 0x62)", "commit"));
}

TEST(Pgoutput, streams_a_large_transaction_and_takes_back_a_part) {
  const auto lines = told(corpus("streamed-with-abort"));
  EXPECT_EQ(lines.at(0), "stream start");
  EXPECT_EQ(lines.at(1), "~relation public.by_index i (a*, b*, c)");
  EXPECT_EQ(lines.at(2), "~insert by_index ('1', '1', null)");
  EXPECT_THAT(lines, ::testing::Contains("~~insert by_index ('401', '401', null)"));
  EXPECT_THAT(lines, ::testing::Contains("stream abort of a part"));
  EXPECT_THAT(lines, ::testing::Not(::testing::Contains("~~insert by_index ('900', '900', null)")));
  EXPECT_THAT(lines, ::testing::Contains("~~update by_index key ('1', '1', null) ('1', '0', null)"));
  EXPECT_THAT(lines, ::testing::Contains("~~delete by_index key ('399', '399', null)"));
  EXPECT_EQ(lines.back(), "stream commit");
}

TEST(Pgoutput, streams_a_transaction_that_is_given_up_and_one_in_several_blocks) {
  const auto lines = told(corpus("streamed-abort-and-commit"));
  const std::vector<std::string> first(lines.begin(), lines.begin() + 5);
  EXPECT_THAT(first, ElementsAre("stream start", "stream stop", "stream abort", "stream start", "~relation public.whole f (a*, b*)"));
  EXPECT_EQ(lines.at(5), "~truncate whole");
  EXPECT_THAT(lines, ::testing::Contains("~message transactional p of 8 bytes"));
  EXPECT_THAT(lines, ::testing::Contains("stream on"));
  EXPECT_THAT(lines, ::testing::Contains("~relation public.whole f (a*, b*, d*)"));
  EXPECT_THAT(lines, ::testing::Contains("~insert whole ('1', 'x', '2')"));
  EXPECT_EQ(lines.back(), "stream commit");
}

// --- what no server would say
// -------------------------------------------------------------------------------------------------------------

TEST(Pgoutput, cut_anywhere_is_refused_and_never_read_past_its_end) {
  for (const char* name :
       {"rows-primary-key", "rows-other-identities", "toast", "relation-changes", "truncate", "logical-messages", "origin", "binary"}) {
    const auto file = corpus(name);
    const auto scenario = fuzz::read_scenario(file);
    for (const auto bytes : scenario.messages)
      for (std::size_t cut = 0; cut < std::min<std::size_t>(bytes.size(), 400); ++cut) {
        // A copy of just these bytes, so that a sanitizer sees a read behind them.
        const std::vector<char> part(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(cut));
        const auto message = Decoder(1).decode({part.data(), part.size()});
        ASSERT_FALSE(message) << name << " cut at " << cut;
        EXPECT_LE(message.error().offset, cut);
      }
  }
}

std::string refused(std::string_view bytes, unsigned version = 1) {
  const auto message = Decoder(version).decode(bytes);
  return message ? "accepted" : message.error().text();
}

TEST(Pgoutput, that_is_wrong_is_refused_with_offset_and_reason) {
  using namespace std::string_literals;
  EXPECT_EQ(refused(""), "offset 0: message: type needs 1 bytes, 0 are left");
  EXPECT_EQ(refused("Z"), "offset 0: message: a message of type 0x5a is not in protocol versions 1 and 2");
  EXPECT_EQ(refused("b"), "offset 0: message: a message of type 0x62 is not in protocol versions 1 and 2");
  EXPECT_EQ(refused("S\0\0\0\1\1"s), "offset 0: message: 'S' is a message of protocol version 2, version 1 was asked for");
  EXPECT_EQ(refused("E", 2), "offset 0: message: the end of a streamed block without its beginning");
  EXPECT_EQ(refused("O\0\0\0\0\0\0\0\1name"s), "offset 9: Origin: name has no end");
  EXPECT_EQ(refused("I\0\0\0\1X\0\0"s), "offset 5: Insert: a row of kind 'N' was expected, here is 0x58");
  EXPECT_EQ(refused("I\0\0\0\1N\xff\xff"s), "offset 6: Insert: -1 columns");
  EXPECT_EQ(refused("I\0\0\0\1N\0\1q"s), "offset 8: Insert: column 0 has a value of the unknown kind 0x71");
  EXPECT_EQ(refused("I\0\0\0\1N\0\1t\xff\xff\xff\xff"s), "offset 9: Insert: column 0 has the length -1");
  EXPECT_EQ(refused("I\0\0\0\1N\0\1t\x7f\xff\xff\xff!"s), "offset 13: Insert: value needs 2147483647 bytes, 1 are left");
  EXPECT_EQ(refused("I\0\0\0\1N\0\1n!"s), "offset 9: Insert: 1 bytes are left over");
  EXPECT_EQ(refused("I\0\0\0\1N\x7f\xff"s), "offset 8: Insert: kind of a value needs 1 bytes, 0 are left");
  EXPECT_EQ(refused("D\0\0\0\1N\0\0"s), "offset 5: Delete: a row of kind 'K' or 'O' was expected, here is 0x4e");
  EXPECT_EQ(refused("U\0\0\0\1K\0\0K\0\0"s), "offset 8: Update: a row of kind 'N' was expected, here is 0x4b");
  EXPECT_EQ(refused("T\xff\xff\xff\xff\0"s), "offset 1: Truncate: -1 relations");
  EXPECT_EQ(refused("R\0\0\0\1\0t\0x\0\0"s), "offset 8: Relation: the replica identity 0x78 is unknown");
  EXPECT_EQ(refused("T\x7f\xff\xff\xff\0"s), "offset 6: Truncate: relation needs 4 bytes, 0 are left");
}

TEST(Pgoutput, out_of_order_around_streamed_blocks_is_refused) {
  using namespace std::string_literals;
  Decoder decoder(2);
  ASSERT_TRUE(decoder.decode("S\0\0\0\7\1"s));
  EXPECT_TRUE(decoder.in_stream());
  EXPECT_THAT(decoder.decode("S\0\0\0\7\1"s).error().text(), HasSubstr("'S' inside a streamed block"));
  EXPECT_THAT(decoder.decode("A\0\0\0\7\0\0\0\7"s).error().text(), HasSubstr("'A' inside a streamed block"));
  ASSERT_TRUE(decoder.decode("E"));
  EXPECT_FALSE(decoder.in_stream());
  // The same bytes are another message outside: no transaction's number in front.
  EXPECT_TRUE(decoder.decode("I\0\0\0\1N\0\1n"s));
}

TEST(Pgoutput, of_the_catalog_is_written_without_its_schema) {
  using namespace std::string_literals;
  const auto message = Decoder(1).decode("Y\0\0\0\1\0int4\0"s);
  ASSERT_TRUE(message);
  EXPECT_EQ(std::get<Type>(*message).schema, "pg_catalog");
}

}  // namespace
}  // namespace enishi::pgwire

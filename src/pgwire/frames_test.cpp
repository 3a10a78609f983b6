// Frames of the replication stream, and LSNs as text.
#include "pgwire/frames.hpp"

#include <gtest/gtest.h>

namespace enishi::pgwire {
namespace {

std::string bytes(std::initializer_list<int> values) {
  std::string out;
  for (const int v : values) out.push_back(static_cast<char>(v));
  return out;
}

TEST(Lsns, are_written_and_read_as_postgresql_does) {
  EXPECT_EQ(lsn_text(0), "0/0");
  EXPECT_EQ(lsn_text(0x16B374D848), "16/B374D848");
  EXPECT_EQ(read_lsn("16/B374D848"), Lsn{0x16B374D848});
  EXPECT_EQ(read_lsn("ffffffff/FFFFFFFF"), ~Lsn{0});
  for (const char* bad : {"", "/", "1/", "/1", "16", "1/123456789", "G/0", "1/-1", "1/ 1", "1/1x", "0x1/1"})
    EXPECT_FALSE(read_lsn(bad)) << bad;
}

TEST(Frames, of_wal_data_hold_positions_time_and_a_view_of_the_data) {
  const auto raw = bytes({'w', 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 1, 0}) + "Data";
  const auto frame = read_frame(raw);
  ASSERT_TRUE(frame);
  const auto& wal = std::get<XLogData>(*frame);
  EXPECT_EQ(lsn_text(wal.start), "1/2");
  EXPECT_EQ(lsn_text(wal.end), "1/9");
  EXPECT_EQ(wal.sent_at, 256);
  EXPECT_EQ(wal.data, "Data");
  EXPECT_EQ(wal.data.data(), raw.data() + 25);
}

TEST(Frames, of_keepalives_say_whether_an_answer_is_wanted) {
  auto raw = bytes({'k', 0, 0, 0, 0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1});
  const auto frame = read_frame(raw);
  ASSERT_TRUE(frame);
  EXPECT_EQ(std::get<Keepalive>(*frame).end, 0x1000000u);
  EXPECT_EQ(std::get<Keepalive>(*frame).sent_at, -1);
  EXPECT_TRUE(std::get<Keepalive>(*frame).reply_wanted);
  raw.back() = '\0';
  EXPECT_FALSE(std::get<Keepalive>(*read_frame(raw)).reply_wanted);
}

TEST(Frames, that_are_cut_long_or_unknown_are_refused_with_the_offset) {
  EXPECT_EQ(read_frame("").error().text(), "offset 0: frame: type needs 1 bytes, 0 are left");
  EXPECT_EQ(read_frame("z").error().text(), "offset 0: frame: a frame of type 0x7a is unknown");
  EXPECT_EQ(read_frame(bytes({'w', 0, 0, 0, 0, 0, 0, 0, 0, 1})).error().text(), "offset 9: XLogData: end needs 8 bytes, 1 are left");
  const auto keepalive = "k" + std::string(17, '\0');
  for (std::size_t cut = 1; cut < keepalive.size(); ++cut) EXPECT_FALSE(read_frame(keepalive.substr(0, cut))) << cut;
  EXPECT_EQ(read_frame(keepalive + "x").error().text(), "offset 18: Keepalive: 1 bytes are left over");
}

TEST(StatusUpdates, are_34_bytes_and_read_back) {
  const StatusUpdate sent{0x1020304050607080, 2, 3, pg_micros(0), true};
  const auto raw = status_update(sent);
  EXPECT_EQ(raw.size(), 34u);
  EXPECT_EQ(raw.substr(0, 9), bytes({'r', 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x80}));
  const auto read = read_status_update(raw);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->written, sent.written);
  EXPECT_EQ(read->flushed, 2u);
  EXPECT_EQ(read->applied, 3u);
  EXPECT_EQ(unix_micros(read->sent_at), 0);
  EXPECT_TRUE(read->reply_wanted);
  EXPECT_FALSE(read_status_update(raw.substr(1)));
  EXPECT_FALSE(read_status_update(raw.substr(0, 20)));
}

}  // namespace
}  // namespace enishi::pgwire

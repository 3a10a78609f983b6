#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "auth/testing.hpp"
#include "base/metrics.hpp"
#include "crm/customers/routes.hpp"
#include "crm/history/events.hpp"
#include "crm/history/events.sql.hpp"
#include "crm/history/routes.hpp"
#include "crm/masters/routes.hpp"

namespace enishi::crm::history {
namespace {

using auth::testing::Client;
using auth::testing::TestServer;

/// A browser's EventSource, as little of it as a test needs: a blocking socket on /v1/events.
class Listening {
 public:
  explicit Listening(const Client& who, const std::string& last_event_id = {}) {
    const auto port = static_cast<std::uint16_t>(std::stoul(who.base.substr(who.base.rfind(':') + 1)));
    socket_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(socket_, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) throw std::runtime_error("connect");
    std::string head = "GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: " + who.cookie + "\r\n";
    if (!last_event_id.empty()) head += "Last-Event-ID: " + last_event_id + "\r\n";
    head += "\r\n";
    if (::send(socket_, head.data(), head.size(), 0) != static_cast<ssize_t>(head.size())) throw std::runtime_error("send");
  }
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;
  ~Listening() { ::close(socket_); }

  /// Reads until `count` events have come (their data), or ten seconds have passed.
  std::vector<boost::json::value> events(std::size_t count) {
    const auto deadline = Deadline::in(Millis(10000));
    while (seen_.size() < count && !closed && read(deadline)) {
    }
    auto out = std::move(seen_);
    seen_.clear();
    return out;
  }
  /// Until the place where the stream begins was told: from then on nothing is missed.
  void begun() {
    const auto deadline = Deadline::in(Millis(10000));
    while (last_id.empty() && read(deadline)) {
    }
    ASSERT_FALSE(last_id.empty()) << text_;
  }
  std::string last_id;
  bool reset = false;
  bool closed = false;

 private:
  bool read(Deadline deadline) {
    pollfd ready{socket_, POLLIN, 0};
    if (::poll(&ready, 1, static_cast<int>(deadline.left().count())) <= 0) return false;
    char buffer[8192];
    const auto n = ::recv(socket_, buffer, sizeof buffer, 0);
    if (n <= 0) {
      closed = true;
      return false;
    }
    text_.append(buffer, static_cast<std::size_t>(n));
    // Chunk sizes are lines of their own and mean nothing to a reader of whole lines that begin with a field's name.
    for (auto end = text_.find('\n'); end != std::string::npos; end = text_.find('\n')) {
      auto line = text_.substr(0, end);
      text_.erase(0, end + 1);
      if (!line.empty() && line.back() == '\r') line.pop_back();
      if (line.starts_with("id: ")) last_id = line.substr(4);
      if (line == "event: reset") reset = true;
      if (line.starts_with("data: {\"kind")) seen_.push_back(boost::json::parse(line.substr(6)));
    }
    return true;
  }
  int socket_ = -1;
  std::string text_;
  std::vector<boost::json::value> seen_;
};

std::vector<std::string> kinds(const std::vector<boost::json::value>& events) {
  std::vector<std::string> out;
  for (const auto& e : events) out.emplace_back(e.at("kind").as_string());
  return out;
}

struct Events : ::testing::Test {
  TestServer server{{customers::mount, masters::mount, history::mount}, auth::testing::TestServer::quick(), 2};
  Client admin = server.as("admin");
  std::string make(const std::string& name) { return admin.post("/v1/customers", {{"display_name", name}}).string("/id"); }
};

TEST_F(Events, arrive_in_order_and_a_stream_resumes_where_it_was) {
  std::string last;
  std::string first;
  {
    Listening stream(admin);
    stream.begun();
    first = make("一");
    admin.patch("/v1/customers/" + first, {{"notes", "秘密"}}, {{"If-Match", "\"1\""}});
    const auto got = stream.events(2);
    ASSERT_EQ(kinds(got), (std::vector<std::string>{"customer.insert", "customer.update"}));
    EXPECT_EQ(got[0].at("entity_id").as_string(), first);
    EXPECT_EQ(got[1].at_pointer("/payload/version").as_int64(), 2);
    EXPECT_EQ(boost::json::serialize(got[1]).find("秘密"), std::string::npos);
    last = stream.last_id;
  }
  const auto second = make("二");
  const auto third = make("三");
  Listening again(admin, last);
  const auto got = again.events(2);
  ASSERT_EQ(got.size(), 2u);
  EXPECT_EQ(got[0].at("entity_id").as_string(), second);
  EXPECT_EQ(got[1].at("entity_id").as_string(), third);
  EXPECT_FALSE(again.reset);
  Listening all(admin, "0-0");
  EXPECT_GE(all.events(4).size(), 4u);
}

TEST_F(Events, a_transaction_that_commits_late_is_not_skipped) {
  Listening stream(admin);
  stream.begun();
  // An older transaction is open: nothing after it may pass it.
  Shard shard(0);
  Offload offload(1, 8);
  pg::Config config;
  config.conninfo = server.fresh().conninfo();
  pg::Database db(shard, offload, config);
  auto lease = std::make_unique<pg::Lease>(run_task(shard.context(), db.lease()));
  run_task(shard.context(), lease->begin(Deadline::in(Millis(5000))));
  ASSERT_TRUE(
      run_task(shard.context(),
               lease->script("insert into media_source (id, code, name) values ('0190163d-0000-7000-8000-00000000aaaa', 'late', 'late')",
                             Deadline::in(Millis(5000)))));
  const auto id = make("先");
  run_task(shard.context(), lease->commit(Deadline::in(Millis(5000))));
  lease.reset();
  const auto got = stream.events(2);
  EXPECT_EQ(kinds(got), (std::vector<std::string>{"media_source.insert", "customer.insert"}));
}

TEST_F(Events, everybody_hears_of_their_own_their_teams_or_all) {
  auto east = server.as("operator");
  auto west = server.as("operator3");
  Listening of_east(east), of_west(west), of_all(admin);
  of_east.begun();
  of_west.begun();
  of_all.begun();
  const auto id = east.post("/v1/customers", {{"display_name", "東の人"}}).string("/id");
  admin.post("/v1/media-sources", {{"code", "all"}, {"name", "みんな"}});
  EXPECT_EQ(kinds(of_east.events(2)), (std::vector<std::string>{"customer.insert", "media_source.insert"}));
  EXPECT_EQ(kinds(of_west.events(1)), (std::vector<std::string>{"media_source.insert"}));
  EXPECT_EQ(kinds(of_all.events(2)), (std::vector<std::string>{"customer.insert", "media_source.insert"}));
}

TEST_F(Events, what_is_taken_from_somebody_is_told_to_both) {
  auto east = server.as("operator");
  auto west = server.as("operator3");
  const auto id = east.post("/v1/customers", {{"display_name", "移る人"}}).string("/id");
  server.sql("update customer set owner_id = '" + east.user.str() + "', team_id = null where id = '" + id + "'");
  Listening of_east(east), of_west(west);
  of_east.begun();
  of_west.begun();
  server.sql("update customer set owner_id = '" + west.user.str() + "' where id = '" + id + "'");
  EXPECT_EQ(kinds(of_east.events(1)), (std::vector<std::string>{"customer.update"}));
  EXPECT_EQ(kinds(of_west.events(1)), (std::vector<std::string>{"customer.update"}));
  // From now on it is no business of the first one's.
  server.sql("update customer set notes = 'x' where id = '" + id + "'");
  admin.post("/v1/media-sources", {{"code", "all"}, {"name", "みんな"}});
  EXPECT_EQ(kinds(of_east.events(1)), (std::vector<std::string>{"media_source.insert"}));
  EXPECT_EQ(kinds(of_west.events(2)), (std::vector<std::string>{"customer.update", "media_source.insert"}));
}

TEST_F(Events, who_slept_longer_than_events_are_kept_is_told_to_start_anew) {
  make("一");
  const auto place = server.value("select xid::text || '-' || id from outbox order by xid, id limit 1");
  make("二");
  server.sql("update history set at = now() - interval '8 days' where xid::text || '-' || id = '" + place + "'");
  Listening stream(admin, place);
  stream.begun();
  const auto id = make("三");
  const auto got = stream.events(1);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].at("entity_id").as_string(), id);
  EXPECT_TRUE(stream.reset);
}

TEST_F(Events, a_wrong_place_is_refused) {
  EXPECT_EQ(admin.get("/v1/events?after=x").status, 422);
  EXPECT_EQ(admin.get("/v1/events?after=1-").status, 422);
  EXPECT_EQ(server.nobody().get("/v1/events").status, 401);
}

TEST(EventQueue, who_does_not_keep_up_is_marked_to_be_hung_up_on) {
  Listener listener;
  listener.audience = {auth::Scope::all, {}, {}};
  listener.most = 3;
  Batch batch;
  for (std::int64_t i = 1; i <= 3; ++i) batch.push_back(std::make_shared<const Happening>(Happening{{1, i}, {}, {}, "x"}));
  listener.take(batch);
  EXPECT_FALSE(listener.overflowed);
  EXPECT_EQ(listener.queue.size(), 3u);
  listener.take({std::make_shared<const Happening>(Happening{{1, 4}, {}, {}, "x"})});
  EXPECT_TRUE(listener.overflowed);
  EXPECT_EQ(listener.queue.size(), 3u);
}

/// A peer whose socket is full for good: write() never comes back before `release`.
class Stuck final : public http::Stream {
 public:
  Task<bool> write(std::string chunk) override {
    ++writes;
    taken += chunk;
    if (writes > 1) co_await released.wait(Deadline::in(Millis(20000)));
    co_return true;
  }
  [[nodiscard]] bool ending() const override { return false; }
  int writes = 0;
  std::string taken;
  Event released;
};

/// A gatekeeper with a database and nothing else.
class OnlyDatabase final : public auth::Gatekeeper {
 public:
  OnlyDatabase(pg::Database& db, Offload& offload) : db_(db), offload_(offload) {}
  void mount(http::Router&, std::span<const auth::Operation>) override {}
  pg::Database& db(const Shard&) override { return db_; }
  Offload& offload() override { return offload_; }
  void note_view(const auth::Call&, std::string_view, std::optional<Uuid>, int) override {}

 private:
  pg::Database& db_;
  Offload& offload_;
};

Task<> hear(Stuck* out, OnlyDatabase* gate, Shard* shard, bool* over) {
  Audience all{auth::Scope::all, {}, {}};
  co_await stream_events(*out, *gate, *shard, std::move(all), {}, {}, false);
  *over = true;
}

TEST(EventQueue, a_slow_reader_is_disconnected_instead_of_filling_memory) {
  const pg::testing::Fresh fresh(auth::testing::migrated());
  fresh.sql("delete from history");
  Shard shard(0);
  Offload offload(1, 8);
  pg::Config config;
  config.conninfo = fresh.conninfo();
  pg::Database db(shard, offload, config);
  OnlyDatabase gate(db, offload);
  Stuck out;
  bool over = false;
  asio::co_spawn(shard.context(), hear(&out, &gate, &shard, &over), asio::detached);
  const auto run_until = [&](auto condition) {
    const auto deadline = Deadline::in(Millis(15000));
    while (!condition() && !deadline.passed()) shard.context().run_one_for(Millis(100));
    return condition();
  };
  const auto insert = [&](int n) {
    fresh.sql(
        "insert into history (table_name, row_id, op, entity, actor) select 'a', gen_random_uuid(), 'INSERT', 'a', 'test' from "
        "generate_series(1, " +
        std::to_string(n) + ")");
  };
  ASSERT_TRUE(run_until([&] { return out.writes == 1; }));
  insert(1);
  ASSERT_TRUE(run_until([&] { return out.writes == 2; }));  // stuck in this write from now on
  auto& slow = metrics::counter("enishi_event_streams_slow_total", "Streams that were closed because their reader did not keep up");
  const auto before = slow.value();
  const auto reads = sql::events::events_after.seconds().count();
  insert(2500);
  ASSERT_TRUE(run_until([&] { return sql::events::events_after.seconds().count() >= reads + 6; }));  // all pages were read and handed out
  out.released.notify_all();
  EXPECT_TRUE(run_until([&] { return over; }));
  EXPECT_EQ(slow.value(), before + 1);
  EXPECT_LT(out.taken.size(), 2501u * 100u);
}

}  // namespace
}  // namespace enishi::crm::history

#include <gtest/gtest.h>

#include "io/aside.hpp"
#include "io/offload.hpp"
#include "io/shard.hpp"

namespace enishi {
namespace {

Task<int> doubled(Offload& pool, int n) {
  co_return co_await pool.run([n] { return 2 * n; });
}

Task<std::string> thrown(Offload& pool) {
  try {
    co_await pool.run([] { throw std::runtime_error("from the pool"); });
  } catch (const std::runtime_error& e) {
    co_return e.what();
  }
  co_return "nothing";
}

Task<bool> waits(Event& event) {
  const auto limit = Deadline::in(Millis(5000));
  co_return co_await event.wait(limit);
}

Task<> notifies(Event& event) {
  co_await sleep(Millis(1));
  event.notify_all();
}

TEST(Offload, brings_values_and_exceptions_back) {
  asio::io_context loop(1);
  Offload pool(1, 4);
  EXPECT_EQ(run_task(loop, doubled(pool, 21)), 42);
  EXPECT_EQ(run_task(loop, thrown(pool)), "from the pool");
}

TEST(Event, wakes_its_waiters_before_their_deadline) {
  asio::io_context loop(1);
  Event event;
  spawn(loop.get_executor(), "notifies", notifies(event));
  EXPECT_TRUE(run_task(loop, waits(event)));
}

TEST(Shards, run_posted_work_and_stop) {
  Shards shards(2);
  shards.start();
  std::atomic<int> ran{0};
  for (std::size_t i = 0; i < 2; ++i)
    shards[i].post([&] {
      if (++ran == 2) shards.stop();
    });
  shards.join();
  EXPECT_EQ(ran, 2);
}

TEST(Aside, gives_its_value_or_its_exception_and_is_left_behind) {
  asio::io_context loop(1);
  EXPECT_EQ(run_task(loop, settled(aside([] { return 7; }))), 7);
  EXPECT_THROW(run_task(loop, settled(aside([]() -> int { throw std::runtime_error("no"); }))), std::runtime_error);
  std::promise<void> disk;
  std::promise<void> over;
  auto ended = over.get_future();
  {
    const auto held = aside([answers = disk.get_future().share(), over = std::move(over)]() mutable {
      answers.wait();
      over.set_value();
    });
    EXPECT_EQ(held.wait_for(Millis(10)), std::future_status::timeout);
  }  // nobody waits for it
  disk.set_value();
  ended.get();
}

}  // namespace
}  // namespace enishi

// Coroutines on the event loop. A Task<T> runs on one shard and never changes threads, so nothing in it needs a lock:
//
//   Task<int> answer(Shard& shard) {
//     co_await sleep(Millis(10));
//     co_return 42;
//   }
//
// Parameters of coroutines are taken by value; references only to what the caller outlives for certain. No capturing lambda
// coroutines. Aggregates get a name before co_await.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <vector>

#include "base/clock.hpp"

namespace enishi {

namespace asio = boost::asio;

using Executor = asio::io_context::executor_type;

template <class T = void>
using Task = asio::awaitable<T, Executor>;

inline constexpr asio::use_awaitable_t<Executor> use_task{};

using Timer = asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, Executor>;

/// Waits on the calling task's shard.
inline Task<> sleep(Millis span) {
  Timer timer(co_await asio::this_coro::executor, span);
  co_await timer.async_wait(use_task);
}

/// Wakes every waiter at once, or one by its deadline. One shard only.
class Event {
 public:
  /// Returns true when notified, false when the deadline passed first.
  Task<bool> wait(Deadline deadline) {
    Timer limit(co_await asio::this_coro::executor, deadline.at);
    const auto seen = count_;
    // A waiter has a timer of its own, linked into the list that notify() walks.
    waiters_.push_back(&limit);
    boost::system::error_code ignored;
    co_await limit.async_wait(asio::redirect_error(use_task, ignored));
    std::erase(waiters_, &limit);
    co_return count_ != seen;
  }
  void notify_all() {
    ++count_;
    for (auto* waiter : waiters_) waiter->cancel();
  }

 private:
  std::uint64_t count_ = 0;
  std::vector<Timer*> waiters_;
};

}  // namespace enishi

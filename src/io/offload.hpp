// Blocking work (Argon2, DNS, files, PQcancel) runs on a bounded pool of threads, never on a shard.
//
//   auto hash = co_await offload.run([password] { return hash_password(password); });
//
// The queue is bounded: a full one throws OffloadFull, which a request answers with 503.
#pragma once
#include <atomic>
#include <boost/asio/async_result.hpp>
#include <boost/asio/thread_pool.hpp>
#include <functional>
#include <memory>
#include <stdexcept>
#include <type_traits>
#include <variant>

#include "io/task.hpp"

namespace enishi {

struct OffloadFull : std::runtime_error {
  OffloadFull() : std::runtime_error("the pool for blocking work is full") {}
};

class Offload {
 public:
  Offload(unsigned threads, std::size_t most_waiting);
  ~Offload();
  /// Runs `work` on the pool and comes back to the caller's shard with its value or exception.
  template <class Work, class T = std::invoke_result_t<Work>>
  Task<T> run(Work work) {
    auto executor = co_await asio::this_coro::executor;
    using Value = std::conditional_t<std::is_void_v<T>, std::monostate, T>;
    struct State {
      Timer done;
      std::optional<Value> value;
      std::exception_ptr thrown;
      bool finished = false;
      explicit State(Executor e) : done(e, SteadyTime::max()) {}
    };
    auto state = std::make_shared<State>(executor);
    submit([state, executor, work = std::move(work)]() mutable {
      std::optional<Value> value;
      std::exception_ptr thrown;
      try {
        if constexpr (std::is_void_v<T>) {
          work();
          value.emplace();
        } else {
          value.emplace(work());
        }
      } catch (...) {
        thrown = std::current_exception();
      }
      asio::post(executor, [state, value = std::move(value), thrown]() mutable {
        state->value = std::move(value);
        state->thrown = thrown;
        state->finished = true;
        state->done.cancel();
      });
    });
    boost::system::error_code ignored;
    while (!state->finished) co_await state->done.async_wait(asio::redirect_error(use_task, ignored));
    if (state->thrown) std::rethrow_exception(state->thrown);
    if constexpr (!std::is_void_v<T>) co_return std::move(*state->value);
  }

 private:
  void submit(std::function<void()> work);
  asio::thread_pool pool_;
  std::atomic<std::size_t> waiting_{0};
  std::size_t most_waiting_;
};

}  // namespace enishi

// One event loop a core, each with its own sockets and PostgreSQL connections. Shards share nothing; to talk to another one,
// post() to it.
//
//   Shards shards(2);
//   shards.each([](Shard& shard) { spawn(shard, accept_loop(shard)); });
//   shards.run();          // returns after stop()
#pragma once
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "io/task.hpp"

namespace enishi {

class Shard {
 public:
  explicit Shard(unsigned index) : index_(index), context_(1), guard_(context_.get_executor()) {}
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;
  [[nodiscard]] unsigned index() const { return index_; }
  asio::io_context& context() { return context_; }
  Executor executor() { return context_.get_executor(); }
  /// From any thread: runs `work` on this shard.
  template <class Work>
  void post(Work&& work) {
    asio::post(context_, std::forward<Work>(work));
  }

 private:
  friend class Shards;
  unsigned index_;
  asio::io_context context_;
  asio::executor_work_guard<Executor> guard_;
};

class Shards {
 public:
  explicit Shards(unsigned count);
  ~Shards();
  [[nodiscard]] std::size_t size() const { return all_.size(); }
  Shard& operator[](std::size_t i) { return *all_[i]; }
  void each(const std::function<void(Shard&)>& work) {
    for (auto& s : all_) work(*s);
  }
  /// Runs every shard in a thread of its own until stop().
  void run();
  /// Starts the threads and returns; join() waits for them.
  void start();
  void join();
  /// From any thread or signal handler of Asio's: lets every loop end.
  void stop();

 private:
  std::vector<std::unique_ptr<Shard>> all_;
  std::vector<std::thread> threads_;
};

/// Starts a task on a shard and forgets it. An exception that leaves the task is logged under `name` and counted.
void spawn(Executor executor, std::string name, Task<> task);
inline void spawn(Shard& shard, std::string name, Task<> task) { spawn(shard.executor(), std::move(name), std::move(task)); }

/// Runs a task to its end on a loop of its own and returns its value: for the command line and tests.
template <class T>
T run_task(asio::io_context& context, Task<T> task) {
  std::exception_ptr thrown;
  if constexpr (std::is_void_v<T>) {
    bool done = false;
    asio::co_spawn(context, std::move(task), [&](std::exception_ptr e) {
      thrown = e;
      done = true;
    });
    context.restart();
    while (!done && context.run_one() > 0) {
    }
    if (thrown) std::rethrow_exception(thrown);
  } else {
    std::optional<T> value;
    bool done = false;
    asio::co_spawn(context, std::move(task), [&](std::exception_ptr e, T v) {
      thrown = e;
      done = true;
      if (!e) value.emplace(std::move(v));
    });
    context.restart();
    while (!done && context.run_one() > 0) {
    }
    if (thrown) std::rethrow_exception(thrown);
    return std::move(*value);
  }
}

}  // namespace enishi

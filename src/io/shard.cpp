#include "io/shard.hpp"

#include <signal.h>

#include "base/log.hpp"
#include "base/metrics.hpp"

namespace enishi {

Shards::Shards(unsigned count) {
  for (unsigned i = 0; i < count; ++i) all_.push_back(std::make_unique<Shard>(i));
}

Shards::~Shards() {
  stop();
  join();
}

void Shards::start() {
  for (auto& shard : all_) threads_.emplace_back([&loop = shard->context_] { loop.run(); });
}

void Shards::join() {
  for (auto& thread : threads_)
    if (thread.joinable()) thread.join();
  threads_.clear();
}

void Shards::run() {
  start();
  join();
}

void Shards::stop() {
  for (auto& shard : all_) shard->context_.stop();
}

void spawn(Executor executor, std::string name, Task<> task) {
  asio::co_spawn(executor, std::move(task), [name = std::move(name)](std::exception_ptr thrown) {
    if (!thrown) return;
    try {
      std::rethrow_exception(thrown);
    } catch (const std::exception& e) {
      metrics::counter("enishi_task_failures_total", "Background tasks that ended with an exception", {{"task", name}}).add();
      log_error("task failed", {{"task", name}, {"error", e.what()}});
    }
  });
}

}  // namespace enishi

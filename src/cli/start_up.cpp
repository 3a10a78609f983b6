#include "cli/start_up.hpp"

#include <unistd.h>

#include <boost/asio/post.hpp>

#include "base/log.hpp"
#include "cluster/process.hpp"

namespace enishi::cli {

StartUp::StartUp() {
  signals_.async_wait([this](const boost::system::error_code& failed, int number) {
    if (!failed) give_up(number);
  });
  thread_ = std::thread([this] { loop_.run(); });
}

void StartUp::give_up(int signal) {
  log_info("stopping: the start is given up", {{"signal", signal}});
  stop_ = true;
  cluster::end_commands();
  std::shared_ptr<cluster::EmbeddedCluster> cluster;
  {
    std::unique_lock held(guard_);
    changed_.wait(held, [this] { return !starting_; });
    cluster = cluster_;
  }
  if (cluster) cluster->stop();
  log_info("stopped");
  _exit(0);
}

Result<std::shared_ptr<cluster::EmbeddedCluster>> StartUp::start(cluster::Options options) {
  {
    const std::lock_guard held(guard_);
    starting_ = true;
  }
  options.stop = &stop_;
  Result<std::shared_ptr<cluster::EmbeddedCluster>> out;
  if (auto started = cluster::EmbeddedCluster::start(std::move(options)))
    out = std::shared_ptr<cluster::EmbeddedCluster>(std::move(*started));
  else
    out = tl::make_unexpected(started.error());
  {
    const std::lock_guard held(guard_);
    starting_ = false;
    if (out) cluster_ = *out;
  }
  changed_.notify_all();
  return out;
}

void StartUp::over() {
  boost::asio::post(loop_, [this] { signals_.cancel(); });
  if (thread_.joinable()) thread_.join();
  const std::lock_guard held(guard_);
  cluster_ = nullptr;
}

}  // namespace enishi::cli

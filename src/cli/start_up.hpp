// SIGTERM or SIGINT before a server listens gives the start up: what initdb or PostgreSQL are doing is ended and waited for, so that nobody
// writes into the data folder any more when the process ends with 0. What was being made is rolled back, or made anew by the next start.
//
//   StartUp start_up;                                         // from here on signals are followed, on a thread of its own
//   auto cluster = start_up.start(std::move(options));        // EmbeddedCluster::start that a signal ends
//   …
//   start_up.over();                                          // the server follows them now
#pragma once
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "cluster/cluster.hpp"

namespace enishi::cli {

class StartUp {
 public:
  StartUp();
  /// Does not return while a signal is being followed.
  ~StartUp() { over(); }
  StartUp(const StartUp&) = delete;
  StartUp& operator=(const StartUp&) = delete;
  /// Called once, at most.
  Result<std::shared_ptr<cluster::EmbeddedCluster>> start(cluster::Options options);
  void over();

 private:
  void give_up(int signal);
  boost::asio::io_context loop_{1};
  boost::asio::signal_set signals_{loop_, SIGTERM, SIGINT};
  std::atomic<bool> stop_{false};
  std::mutex guard_;
  std::condition_variable changed_;
  bool starting_ = false;                              // under guard_
  std::shared_ptr<cluster::EmbeddedCluster> cluster_;  // under guard_
  std::thread thread_;
};

}  // namespace enishi::cli

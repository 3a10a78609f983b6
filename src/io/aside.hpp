// Work that a disk may hold for as long as it likes, on a thread that is left behind when nobody waits for it any more.
// Offload's threads are waited for when it ends; this one never.
//
//   auto read = aside([file] { return read_list(file); });
//   if (read.wait_for(Millis(10000)) == std::future_status::ready) use(read.get());
//   auto lines = co_await settled(aside([file] { return read_list(file); }));   // the shard goes on meanwhile
//
// The work owns what it touches.
#pragma once
#include <algorithm>
#include <future>
#include <thread>
#include <type_traits>

#include "io/task.hpp"

namespace enishi {

template <class Work, class T = std::invoke_result_t<Work>>
std::future<T> aside(Work work) {
  std::packaged_task<T()> task(std::move(work));
  auto done = task.get_future();
  std::thread(std::move(task)).detach();
  return done;
}

/// Its value or its exception.
template <class T>
Task<T> settled(std::future<T> done) {
  for (Millis wait{1}; done.wait_for(Millis(0)) != std::future_status::ready; wait = std::min(wait * 2, Millis(250))) co_await sleep(wait);
  co_return done.get();
}

}  // namespace enishi

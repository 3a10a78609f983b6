#include "cluster/storage.hpp"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>

namespace enishi::cluster {

struct Storage::State {
  struct Job {
    Work work;
    std::optional<Result<void>> done;
  };
  std::mutex guard;
  std::condition_variable changed;
  // Below: under `guard`.
  std::deque<std::shared_ptr<Job>> waiting;
  Seen seen;
  std::optional<SteadyTime> asked = steady_now();
  bool over = false;

  void serve(const Probe& probe, Millis every) {
    for (auto next = steady_now();;) {
      std::unique_lock held(guard);
      changed.wait_until(held, next, [this] { return over || !waiting.empty(); });
      if (over) return;
      std::shared_ptr<Job> job;
      if (!waiting.empty()) {
        job = std::move(waiting.front());
        waiting.pop_front();
      }
      asked = steady_now();
      held.unlock();
      if (job) {
        Result<void> done;
        try {
          done = job->work();
        } catch (const std::exception& e) {
          done = fail(Kind::unavailable, "BACKUP_FAILED", e.what());
        }
        held.lock();
        job->done = std::move(done);
      } else {
        const auto now_seen = probe();
        next = steady_now() + every;
        held.lock();
        seen = now_seen;
      }
      asked.reset();
      held.unlock();
      changed.notify_all();
    }
  }
};

Storage::Storage(Probe probe, Millis every) : state_(std::make_shared<State>()) {
  std::thread([state = state_, probe = std::move(probe), every] { state->serve(probe, every); }).detach();
}

Storage::~Storage() {
  {
    const std::lock_guard held(state_->guard);
    state_->over = true;
  }
  state_->changed.notify_all();
}

Storage::Seen Storage::seen() const {
  const std::lock_guard held(state_->guard);
  return state_->seen;
}

Millis Storage::silent() const {
  const std::lock_guard held(state_->guard);
  return state_->asked ? std::chrono::duration_cast<Millis>(steady_now() - *state_->asked) : Millis(0);
}

Result<void> Storage::run(Work work, Millis limit) {
  const auto silent = fail(Kind::unavailable, "BACKUP_SILENT", "the disk of the backups does not answer");
  if (!answers()) return silent;
  auto job = std::make_shared<State::Job>();
  job->work = std::move(work);
  std::unique_lock held(state_->guard);
  state_->waiting.push_back(job);
  state_->changed.notify_all();
  if (state_->changed.wait_for(held, limit, [&job] { return job->done.has_value(); })) return std::move(*job->done);
  std::erase(state_->waiting, job);
  return silent;
}

}  // namespace enishi::cluster

// The pool of exclusive connections, and how every connection is made.
#include <algorithm>
#include <random>

#include "base/log.hpp"
#include "base/metrics.hpp"
#include "pg/impl.hpp"

namespace enishi::pg {
namespace {

metrics::Gauge& waiting_for_lease() {
  static auto& gauge = metrics::gauge("enishi_pg_leases_waiting", "Requests that wait for a connection of their own");
  return gauge;
}

metrics::Counter& reconnects() {
  static auto& counter = metrics::counter("enishi_pg_reconnects_total", "Connections made after one was lost or could not be made");
  return counter;
}

}  // namespace

Millis jittered(Millis low, Millis high) {
  thread_local std::minstd_rand random{std::random_device{}()};
  return Millis(std::uniform_int_distribution<std::int64_t>(low.count(), std::max(low, high).count())(random));
}

Database::Impl::Impl(Shard& shard, Offload& pool, Config settings)
    : executor(shard.executor()), offload(pool), config(std::make_shared<const Config>(std::move(settings))), sweeper_(executor) {
  // Point reads have one good plan; left to itself PostgreSQL may think planning anew each time is cheaper, which it is not.
  auto of_reads = *config;
  of_reads.options += " -c plan_cache_mode=force_generic_plan";
  config_of_reads_ = std::make_shared<const Config>(std::move(of_reads));
  for (unsigned i = 0; i < std::max(1U, config->pipelines); ++i) pipelines_.push_back(std::make_unique<Pipeline>());
}

Task<std::shared_ptr<Link>> Database::Impl::connect(std::shared_ptr<const Config> as) {
  const auto keep = shared_from_this();
  while (!shut && steady_now() < connect_after_) {
    Timer pause(executor, connect_after_);
    co_await pause.async_wait(use_task);
  }
  if (shut) co_return nullptr;
  if (connect_failures_ > 0) reconnects().add();
  std::string error;
  try {
    const auto of = generation_;
    auto link = co_await Link::open(executor, offload, as);
    link->generation = of;
    connect_failures_ = 0;
    last_error.clear();
    co_return link;
  } catch (const std::exception& e) {
    error = e.what();
  }
  // 50 ms, 100, … 2 s; half of it by chance, so that many shards do not come back at once.
  const auto most = std::min(Millis(2000), Millis(50) * (1 << std::min(connect_failures_, 6)));
  connect_after_ = steady_now() + jittered(most / 2, most);
  if (connect_failures_++ == 0 || last_error != error) log_warning("cannot connect to postgresql", {{"error", error}});
  last_error = error;
  co_return nullptr;
}

Task<std::shared_ptr<Link>> Database::Impl::take(Deadline deadline) {
  const auto keep = shared_from_this();
  while (!idle_.empty()) {
    auto link = std::move(idle_.back());
    idle_.pop_back();
    link->on_event = nullptr;
    if (link->generation == generation_ && link->alive()) co_return link;
    discard(link);
  }
  if (shut) throw Unavailable("the database is being closed");
  if (waiters_.size() >= config->most_waiting) throw Unavailable("too many requests wait for a connection to PostgreSQL");
  auto waiter = std::make_shared<LeaseWaiter>();
  waiter->deadline = deadline;
  waiters_.push_back(waiter);
  waiting_for_lease().add(1);
  watch(deadline);
  open_leases();
  co_await suspend(waiter->resume);
  waiting_for_lease().add(-1);
  if (waiter->link) co_return std::move(waiter->link);
  refuse_connection(last_error.empty() ? std::string("no connection to PostgreSQL was free in time") : last_error);
}

void Database::Impl::give_back(std::shared_ptr<Link> link) {
  if (shut || link->generation != generation_ || !link->usable()) return discard(link);
  if (!waiters_.empty()) {
    auto waiter = std::move(waiters_.front());
    waiters_.pop_front();
    waiter->link = std::move(link);
    waiter->done = true;
    waiter->resume.later(executor);
    return;
  }
  link->on_event = [weak = weak_from_this(), of = std::weak_ptr(link)] {
    auto self = weak.lock();
    auto one = of.lock();
    if (self && one) self->idle_event(one);
  };
  link->watch_read();
  idle_.push_back(std::move(link));
}

/// The server says something to an idle connection: mostly that it is gone.
void Database::Impl::idle_event(const std::shared_ptr<Link>& link) {
  const auto at = std::find(idle_.begin(), idle_.end(), link);
  if (at == idle_.end()) return;
  if (link->alive()) return link->watch_read();
  idle_.erase(at);
  discard(link);
}

void Database::Impl::discard(const std::shared_ptr<Link>& link) {
  link->on_event = nullptr;
  link->close();
  --leases_open_;
  if (!shut) open_leases();
}

void Database::Impl::open_leases() {
  while (leases_opening_ < waiters_.size() && leases_open_ + leases_opening_ < std::max(1U, config->leases)) {
    ++leases_opening_;
    spawn(executor, "pg.open_lease", open_lease(shared_from_this()));
  }
}

Task<> Database::Impl::open_lease(std::shared_ptr<Impl> self) {
  while (!self->shut && !self->waiters_.empty()) {
    auto link = co_await self->connect(self->config);
    if (!link) continue;
    --self->leases_opening_;
    ++self->leases_open_;
    self->give_back(std::move(link));
    co_return;
  }
  --self->leases_opening_;
}

void Database::Impl::watch(Deadline deadline) {
  if (deadline.at >= sweep_at_) return;
  sweep_at_ = deadline.at;
  sweeper_.expires_at(sweep_at_);
  sweeper_.async_wait([weak = weak_from_this()](const boost::system::error_code& cancelled) {
    auto self = weak.lock();
    if (!cancelled && self) self->sweep();
  });
}

/// One timer for every deadline: it is set to the earliest, and most answers come long before it fires.
void Database::Impl::sweep() {
  const auto now = steady_now();
  auto next = SteadyTime::max();
  sweep_at_ = next;
  auto passed = [&](Deadline deadline) {
    if (deadline.at > now) next = std::min(next, deadline.at);
    return deadline.at <= now;
  };
  std::erase_if(waiters_, [&](const auto& waiter) {
    if (!passed(waiter->deadline)) return false;
    waiter->done = true;
    waiter->resume.later(executor);
    return true;
  });
  std::erase_if(queued_, [&](const auto& request) {
    if (!passed(request->deadline)) return false;
    finish(request, Request::End::unavailable);
    return true;
  });
  for (auto& pipeline : pipelines_)
    for (auto& sent : pipeline->sent)
      if (sent.request && !sent.request->done && passed(sent.request->deadline)) finish(sent.request, Request::End::timed_out);
  if (next != SteadyTime::max()) watch({std::max(next, now + Millis(2))});
}

void Database::Impl::close_idle() {
  ++generation_;
  for (auto& link : std::exchange(idle_, {})) discard(link);
  for (auto& pipeline : pipelines_) {
    if (!pipeline->link) continue;
    pipeline->retiring = true;
    if (pipeline->sent.empty()) lost(*pipeline);
  }
}

void Database::Impl::shut_down() {
  shut = true;
  sweeper_.cancel();
  for (auto& link : std::exchange(idle_, {})) discard(link);
  for (auto& waiter : std::exchange(waiters_, {})) {
    waiter->done = true;
    waiter->resume.later(executor);
  }
  for (auto& request : std::exchange(queued_, {})) finish(request, Request::End::unavailable);
  for (auto& pipeline : pipelines_) {
    for (auto& sent : std::exchange(pipeline->sent, {}))
      if (sent.request && !sent.request->done) finish(sent.request, Request::End::unavailable);
    if (!pipeline->link) continue;
    pipeline->link->on_event = nullptr;
    pipeline->link->close();
    pipeline->link.reset();
  }
}

}  // namespace enishi::pg

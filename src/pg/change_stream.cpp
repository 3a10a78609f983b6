#include "pg/change_stream.hpp"

#include <algorithm>

namespace enishi::pg {
namespace {

/// Between two turns of the loop, so that a source that never pauses cannot keep a shard for itself.
constexpr int kFramesATurn = 512;
/// A source that never pauses is handed over at the next end of a transaction after this.
constexpr Millis kLongestCollecting{50};

}  // namespace

Task<Result<std::unique_ptr<ChangeStream>>> ChangeStream::open(Executor executor, Offload& offload, ReplicationConfig config,
                                                               StartReplication start, pgwire::Collector::Options options,
                                                               Deadline deadline) {
  start.version = 1;
  start.streaming = false;
  auto stream = co_await Replication::connect(executor, offload, std::move(config));
  auto begun = co_await stream->start(std::move(start), deadline);
  if (!begun) co_return tl::make_unexpected(std::move(begun.error()));
  co_return std::make_unique<ChangeStream>(std::move(stream), std::move(options));
}

ChangeStream::ChangeStream(std::unique_ptr<Replication> started, pgwire::Collector::Options options)
    : stream_(std::move(started)), collector_(std::move(options)) {}

Task<Result<std::optional<pgwire::ChangeBatch>>> ChangeStream::next(Deadline deadline) {
  const Deadline arrived{SteadyTime::min()};
  const auto began = steady_now();
  for (int frames = 0; !collector_.full();) {
    // With something worth handing over, only what has arrived already is taken along.
    const bool due = collector_.at_boundary() && !collector_.only_position();
    if (due && steady_now() - began > kLongestCollecting) break;
    auto got = co_await stream_->receive(due ? arrived : deadline);
    if (!got) co_return tl::make_unexpected(std::move(got.error()));
    const bool moved = collector_.at_boundary() && collector_.position() > std::max(handed_over_, stream_->confirmed());
    if (!*got) {
      if (due || moved) break;
      co_return std::optional<pgwire::ChangeBatch>();
    }
    if (const auto* keepalive = std::get_if<pgwire::Keepalive>(&(*got)->frame)) {
      // A server that shuts down waits until everything is confirmed and asks for it without a pause: silence never comes.
      if (moved && deadline.passed()) break;
      collector_.take(*keepalive);
    } else {
      auto taken = collector_.take(std::get<pgwire::XLogData>((*got)->frame));
      if (!taken) {
        stream_->close();
        co_return fail(Kind::conflict, taken.error().code, taken.error().what);
      }
    }
    if (++frames % kFramesATurn == 0) co_await asio::post(co_await asio::this_coro::executor, use_task);
  }
  const bool changes = !collector_.only_position();
  auto batch = collector_.hand_over();
  // A mere position that its caller does not find worth storing is handed over again, until it is confirmed.
  if (changes) handed_over_ = std::max(handed_over_, batch.position);
  co_return std::optional<pgwire::ChangeBatch>(std::move(batch));
}

}  // namespace enishi::pg

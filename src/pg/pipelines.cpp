// Reads that share connections, in libpq's pipeline mode. What came in one turn of the loop, or while the connections were at work, goes
// as a batch with one Sync: PostgreSQL starts one transaction and writes to the socket once for all of them. An error makes it skip the
// rest of the batch; that is sent again.
#include <algorithm>
#include <cstring>

#include "base/metrics.hpp"
#include "pg/impl.hpp"

namespace enishi::pg {
namespace {

metrics::Counter& resent() {
  static auto& counter = metrics::counter("enishi_pg_retries_total", "Statements sent again", {{"reason", "read_resent"}});
  return counter;
}

}  // namespace

Error answer_of(const PGresult* failed, std::string_view statement) {
  const auto of = std::string(statement) + ": ";
  try {
    return to_error(failed);
  } catch (const Broken& e) {
    Broken named(of + e.what());
    named.message = e.message;
    throw named;
  } catch (const TimedOut& e) {
    throw TimedOut(of + e.what());
  } catch (const ConnectionLost& e) {
    throw ConnectionLost(of + e.what());
  } catch (const Exhausted& e) {
    throw Exhausted(e.error, of + e.what());
  } catch (const Unavailable& e) {
    throw Unavailable(of + e.what());
  }
}

void Database::Impl::submit(const RequestPtr& request) {
  watch(request->deadline);
  queued_.push_back(request);
  if (flush_posted_) return;
  flush_posted_ = true;
  asio::post(executor, [weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self) return;
    self->flush_posted_ = false;
    if (!self->shut) self->refill();
  });
}

/// Hands out what waits. A second batch lies ready in the socket when the first is done, so that no backend waits for us.
void Database::Impl::refill() {
  while (!queued_.empty()) {
    Pipeline* best = nullptr;
    std::size_t alike = 0;
    for (auto& pipeline : pipelines_) {
      if (!pipeline->link || pipeline->retiring || pipeline->batches >= kBatches || pipeline->reads() >= config->most_in_pipeline) continue;
      if (best != nullptr && pipeline->batches > best->batches) continue;
      if (best == nullptr || pipeline->batches < best->batches) alike = 0;
      ++alike;
      best = pipeline.get();
    }
    if (best == nullptr) break;
    dispatch(*best, (queued_.size() + alike - 1) / alike);
  }
  if (pipelines_busy_ < pipelines_.size()) wake_pipelines();
}

/// Sends the first `most` of those that wait as one batch.
void Database::Impl::dispatch(Pipeline& pipeline, std::size_t most) {
  auto& link = *pipeline.link;
  most = std::min({most, kMostInBatch, config->most_in_pipeline - pipeline.reads()});
  bool sent = true, any = false;
  for (; sent && most > 0 && !queued_.empty(); --most) {
    auto request = std::move(queued_.front());
    queued_.pop_front();
    if (request->done) continue;
    auto& last = pipeline.sent.emplace_back(Pipeline::Sent{std::move(request), false, nullptr, nullptr});
    sent = link.send(*last.request->statement, last.request->params, last.preparing);
    any = true;
  }
  if (!any) return;
  ++pipeline.batches;
  pipeline.sent.emplace_back();
  if (!sent || PQpipelineSync(link.raw()) == 0) return lost(pipeline);
  // What the socket did not take now goes when it can; libpq needs reading meanwhile, or both sides wait for each other.
  if (PQflush(link.raw()) == 1) link.watch_write();
}

void Database::Impl::pump(Pipeline& pipeline) {
  const auto keep = shared_from_this();
  const auto link = pipeline.link;
  if (!link) return;
  bool there = PQconsumeInput(link->raw()) == 1;
  if (there && PQflush(link->raw()) == 1) link->watch_write();
  auto finished = std::move(finished_);
  finished.clear();
  there = drain(pipeline, finished) && there && link->usable();
  if (!there || (pipeline.retiring && pipeline.sent.empty())) {
    lost(pipeline);
  } else {
    link->watch_read();
  }
  refill();
  // Last, for whoever goes on here may do anything: send the next read, or destroy the database.
  for (auto& request : finished) request->resume.now();
  finished.clear();
  finished_ = std::move(finished);
}

bool Database::Impl::drain(Pipeline& pipeline, std::vector<RequestPtr>& finished) {
  auto& link = *pipeline.link;
  int silent = 0;
  std::vector<RequestPtr> skipped;
  bool there = true;
  while (there && !pipeline.sent.empty() && silent < 2) {
    if (link.usable() && PQisBusy(link.raw()) != 0) break;
    ResultPtr result(PQgetResult(link.raw()));
    auto& front = pipeline.sent.front();
    if (!result) {
      if (front.preparing) {
        front.preparing = false;
      } else if (front.result) {
        silent = 0;
        answered(link, std::move(front), finished, skipped);
        pipeline.sent.pop_front();
      } else {
        ++silent;  // two of them in a row mean that nothing more comes
      }
      continue;
    }
    silent = 0;
    if (says_lost(result.get())) {
      there = false;
    } else if (!front.request) {
      pipeline.sent.pop_front();  // the Sync at the end of a batch
      --pipeline.batches;
    } else if (front.preparing) {
      if (PQresultStatus(result.get()) == PGRES_COMMAND_OK) continue;
      link.forget(front.request->id, false);
      front.unprepared = std::move(result);
    } else if (!front.result) {
      front.result = std::move(result);
    }
  }
  queued_.insert(queued_.begin(), std::make_move_iterator(skipped.begin()), std::make_move_iterator(skipped.end()));
  return there && silent < 2;
}

/// The results of one statement are complete: it has its answer, or has to be sent again.
void Database::Impl::answered(Link& link, Pipeline::Sent sent, std::vector<RequestPtr>& finished, std::vector<RequestPtr>& again) {
  auto& request = sent.request;
  if (request->done) return;
  const bool skipped = PQresultStatus(sent.result.get()) == PGRES_PIPELINE_ABORTED;
  if (skipped && sent.unprepared && PQresultStatus(sent.unprepared.get()) != PGRES_PIPELINE_ABORTED) {
    sent.result = std::move(sent.unprepared);
  } else if (skipped) {
    resent().add();
    again.push_back(std::move(request));
    return;
  }
  if (says_prepare_again(sent.result.get())) {
    link.forget(request->id, true);
    if (!std::exchange(request->prepared_again, true)) {
      resent().add();
      again.push_back(std::move(request));
      return;
    }
  }
  request->result = std::move(sent.result);
  request->end = Request::End::answered;
  request->done = true;
  finished.push_back(std::move(request));
}

/// The pipeline's connection has gone (or shall go): what was in it is sent again, on another one or when there is one again, until its
/// deadline. One crash of the server may take a read's connections one after the other, each of them once. A read whose connections go on
/// dying under it is what kills them, and is given up. Only the first in the pipeline was being run.
void Database::Impl::lost(Pipeline& pipeline) {
  if (!pipeline.link) return;
  const auto link = std::exchange(pipeline.link, nullptr);
  link->on_event = nullptr;
  if (const auto message = link->raw() != nullptr ? one_line(PQerrorMessage(link->raw())) : std::string(); !message.empty())
    last_error = message;
  link->close();
  pipeline.retiring = false;
  pipeline.batches = 0;
  --pipelines_busy_;
  auto pending = std::exchange(pipeline.sent, {});
  if (!pending.empty()) ++pending.front().request->losses;
  while (!pending.empty()) {
    auto request = std::move(pending.back().request);
    pending.pop_back();
    if (!request || request->done) continue;
    if (request->losses > pipelines_.size()) {
      finish(request, Request::End::unavailable);
    } else {
      resent().add();
      queued_.push_front(std::move(request));
    }
  }
  // Not from here: dispatch() may be the caller, in the middle of its work.
  asio::post(executor, [weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self || self->shut) return;
    self->refill();
  });
}

/// Connects one more when reads wait, or when the ones there are have something to do already.
void Database::Impl::wake_pipelines() {
  if (shut) return;
  const bool waiting = !queued_.empty();
  const bool busy = std::any_of(pipelines_.begin(), pipelines_.end(), [](const auto& p) { return p->link && p->batches > 0; });
  for (auto& pipeline : pipelines_) {
    if (pipeline->link || pipeline->opening || !(waiting || busy)) continue;
    pipeline->opening = true;
    ++pipelines_busy_;
    spawn(executor, "pg.open_pipeline", open_pipeline(shared_from_this(), pipeline.get()));
    return;
  }
}

Task<> Database::Impl::open_pipeline(std::shared_ptr<Impl> self, Pipeline* pipeline) {
  std::shared_ptr<Link> link;
  while (!self->shut && !link) {
    link = co_await self->connect(self->config_of_reads_);
    if (!link && self->queued_.empty()) break;  // nobody waits any more: the next read tries again
  }
  pipeline->opening = false;
  if (self->shut || !link || PQenterPipelineMode(link->raw()) == 0) {
    --self->pipelines_busy_;
    co_return;
  }
  link->on_event = [weak = std::weak_ptr(self), pipeline] {
    if (auto owner = weak.lock()) owner->pump(*pipeline);
  };
  pipeline->link = link;
  link->watch_read();
  self->refill();
}

void Database::Impl::finish(const RequestPtr& request, Request::End end) {
  request->end = end;
  request->done = true;
  request->resume.later(executor);
}

}  // namespace enishi::pg

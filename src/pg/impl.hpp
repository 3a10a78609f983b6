// What a Database is made of: pipelines that share their connections, a pool of leases, and one back-off for both.
// Everything runs on one shard; nothing here is locked.
#pragma once
#include <deque>
#include <memory>
#include <vector>

#include "pg/link.hpp"

namespace enishi::pg {

/// A read on its way. Held by its caller's coroutine and by the queue or pipeline it is in; a caller that gave up leaves it `done`, and
/// its answer is dropped when it comes.
struct Request {
  enum class End { none, answered, timed_out, unavailable };
  const Statement* statement;
  std::uint32_t id;
  Params params;
  Deadline deadline;
  unsigned losses = 0;          ///< connections that were lost while this was what they ran
  bool prepared_again = false;  ///< sent once more because its statement had to be prepared again
  bool done = false;
  End end = End::none;
  ResultPtr result;
  Resume resume;
};
using RequestPtr = std::shared_ptr<Request>;

struct Pipeline {
  struct Sent {
    RequestPtr request;  ///< none: the Sync that ends a batch
    bool preparing = false;
    ResultPtr result;
    ResultPtr unprepared;  ///< what PREPARE said when it failed
  };
  std::shared_ptr<Link> link;  ///< when connected
  bool opening = false;
  bool retiring = false;  ///< takes no more, closes when it is empty
  std::deque<Sent> sent;
  std::size_t batches = 0;  ///< of which the Sync has not come back
  [[nodiscard]] std::size_t reads() const { return sent.size() - batches; }
};

/// Batches under way on a pipeline, and reads in one: more would only make the first wait for the last.
constexpr std::size_t kBatches = 2;
constexpr std::size_t kMostInBatch = 16;

struct LeaseWaiter {
  Deadline deadline;
  std::shared_ptr<Link> link;
  bool done = false;
  Resume resume;
};

class Database::Impl : public std::enable_shared_from_this<Database::Impl> {
 public:
  Impl(Shard& shard, Offload& pool, Config settings);

  // Reads.
  void submit(const RequestPtr& request);
  [[nodiscard]] std::size_t reads_waiting() const { return queued_.size(); }

  // Leases.
  Task<std::shared_ptr<Link>> take(Deadline deadline);
  void give_back(std::shared_ptr<Link> link);
  void discard(const std::shared_ptr<Link>& link);

  void close_idle();
  void shut_down();

  Executor executor;
  Offload& offload;
  std::shared_ptr<const Config> config;
  bool shut = false;
  std::size_t gate_waiting = 0;
  std::string last_error;

 private:
  void dispatch(Pipeline& pipeline, std::size_t most);
  void pump(Pipeline& pipeline);
  /// False when the connection turned out to be lost.
  bool drain(Pipeline& pipeline, std::vector<RequestPtr>& finished);
  void answered(Link& link, Pipeline::Sent sent, std::vector<RequestPtr>& finished, std::vector<RequestPtr>& again);
  void lost(Pipeline& pipeline);
  void refill();
  void wake_pipelines();
  static Task<> open_pipeline(std::shared_ptr<Impl> self, Pipeline* pipeline);

  void open_leases();
  static Task<> open_lease(std::shared_ptr<Impl> self);
  void idle_event(const std::shared_ptr<Link>& link);

  Task<std::shared_ptr<Link>> connect(std::shared_ptr<const Config> as);
  void watch(Deadline deadline);
  void sweep();
  void finish(const RequestPtr& request, Request::End end);

  std::vector<std::unique_ptr<Pipeline>> pipelines_;
  unsigned pipelines_busy_ = 0;  ///< connected or connecting
  std::deque<RequestPtr> queued_;
  bool flush_posted_ = false;
  std::vector<RequestPtr> finished_;

  std::vector<std::shared_ptr<Link>> idle_;
  unsigned leases_open_ = 0;  ///< idle and held
  unsigned leases_opening_ = 0;
  std::deque<std::shared_ptr<LeaseWaiter>> waiters_;

  std::shared_ptr<const Config> config_of_reads_;
  Timer sweeper_;
  SteadyTime sweep_at_ = SteadyTime::max();
  SteadyTime connect_after_{};
  int connect_failures_ = 0;
  bool connected_before_ = false;
  unsigned generation_ = 0;
};

/// Between `low` and `high`, evenly.
Millis jittered(Millis low, Millis high);
/// to_error() with the statement's name in front of what is thrown.
Error answer_of(const PGresult* failed, std::string_view statement);

}  // namespace enishi::pg

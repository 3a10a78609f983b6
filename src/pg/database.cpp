#include "pg/database.hpp"

#include "base/metrics.hpp"
#include "pg/lease.hpp"

namespace enishi::pg {
namespace {

constexpr int kMostAttempts = 5;
constexpr std::size_t kMostAtGate = 1000;

metrics::Counter& retries(const char* reason) {
  return metrics::counter("enishi_pg_retries_total", "Statements sent again", {{"reason", reason}});
}

/// Counts a request at the shut gate while it waits there.
class AtGate {
 public:
  explicit AtGate(std::size_t& count) : count_(count) { ++count_; }
  ~AtGate() { --count_; }
  AtGate(const AtGate&) = delete;
  AtGate& operator=(const AtGate&) = delete;

 private:
  std::size_t& count_;
};

}  // namespace

Database::Database(Shard& shard, Offload& offload, Config config) : impl_(std::make_shared<Impl>(shard, offload, std::move(config))) {}

Database::~Database() { shut_down(); }

void Database::shut_down() { impl_->shut_down(); }

Task<Result<Rows>> Database::read(const Statement& statement, Params params, Deadline deadline) {
  if (!statement.pipeline) throw std::logic_error(std::string(statement.name) + " is not marked `pipeline`: use run()");
  if (holds_zero(params)) co_return fail(Kind::unprocessable, "VALUE_INVALID", "Text must not hold U+0000.");
  const auto impl = impl_;
  if (impl->shut) throw Unavailable("the database is being closed");
  if (deadline.passed()) throw TimedOut(std::string(statement.name) + ": the deadline had passed before it was sent");
  if (impl->reads_waiting() >= impl->config->most_waiting) throw Unavailable("too many requests wait for PostgreSQL");
  const auto began = steady_now();
  const auto request = std::make_shared<Request>();
  request->statement = &statement;
  request->id = statement.id();
  request->params = std::move(params);
  request->deadline = deadline;
  // Sent only when the coroutine is held: an answer always finds it.
  auto go = [&impl, &request](auto handler) {
    request->resume.hold(std::move(handler));
    impl->submit(request);
  };
  co_await asio::async_initiate<const asio::use_awaitable_t<Executor>, void()>(go, use_task);
  switch (request->end) {
    case Request::End::answered:
      break;
    case Request::End::timed_out:
      throw TimedOut(std::string(statement.name) + ": not answered within its deadline");
    default:
      refuse_connection(impl->last_error.empty() ? std::string("no connection to PostgreSQL in time") : impl->last_error);
  }
  statement.seconds().observe(std::chrono::duration<double>(steady_now() - began).count());
  const auto* result = request->result.get();
  const auto status = PQresultStatus(result);
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
    auto error = answer_of(result, statement.name);
    co_return tl::make_unexpected(std::move(error));
  }
  Rows rows(request->result.release());
  if ((statement.rows == Rowcount::one && rows.size() != 1) || (statement.rows == Rowcount::optional && rows.size() > 1))
    throw Broken(std::string(statement.name) + ": gave " + std::to_string(rows.size()) + " rows, which it promises not to");
  co_return rows;
}

Task<Lease> Database::lease(Deadline deadline) {
  const auto impl = impl_;
  auto link = co_await impl->take(deadline);
  co_return Lease(std::make_unique<Lease::Impl>(impl, std::move(link)));
}

Task<Result<Rows>> Database::run(const Statement& statement, Params params, Deadline deadline) {
  std::vector<Step> steps;
  steps.push_back(Step{statement, std::move(params)});
  for (int prepared_again = 0;;) {
    const auto impl = impl_;
    auto link = co_await impl->take(deadline);
    Lease::Impl held(impl, std::move(link));
    try {
      auto answers = co_await held.pipeline(steps, statement.pipeline, deadline);
      if (answers) co_return std::move(answers->front());
      if (held.prepare_again() && prepared_again++ == 0) continue;
      co_return tl::make_unexpected(std::move(answers.error()));
    } catch (const NothingSent&) {
      if (deadline.passed()) throw;
    }
    retries("nothing_sent").add();
  }
}

Task<Result<std::vector<Rows>>> Database::write(std::vector<Step> steps, WriteOptions options) {
  Retry retry;
  for (;;) {
    Result<std::vector<Rows>> out = fail(Kind::internal, "INTERNAL", "the steps did not run");
    std::exception_ptr lost;
    {
      const auto impl = impl_;
      auto link = co_await impl->take(options.deadline);
      Lease::Impl held(impl, std::move(link));
      try {
        out = co_await held.pipeline(steps, false, options.deadline);
        if (out) co_return out;
      } catch (const NotReplicated&) {
        throw;
      } catch (const ConnectionLost&) {
        lost = std::current_exception();
      } catch (const OutcomeUnknown&) {
        if (!options.repeatable) throw;
        lost = std::current_exception();
      }
    }
    // The lease went back before the wait.
    const bool again = lost ? co_await retry_lost(retry, options.deadline) : co_await retry_after(out.error(), retry, options.deadline);
    if (again) continue;
    if (lost) std::rethrow_exception(lost);
    co_return out;
  }
}

Task<bool> Database::retry_after(const Error& error, Retry& retry, Deadline deadline) {
  const auto impl = impl_;
  Millis pause{0};
  if (error.code == "GATE_SHUT") {
    static auto& gate = retries("gate_shut");
    pause = jittered(Millis(10), Millis(50));
    if (impl->gate_waiting >= kMostAtGate || Deadline::in(pause).at >= deadline.at) co_return false;
    gate.add();
    const AtGate here(impl->gate_waiting);
    co_await sleep(pause);
    co_return !impl->shut;
  }
  if (error.code != "SERIALIZATION_FAILURE" || ++retry.failures >= kMostAttempts) co_return false;
  static auto& serialization = retries("serialization");
  pause = jittered(Millis(1), Millis(5) * (1 << retry.failures));
  if (Deadline::in(pause).at >= deadline.at) co_return false;
  serialization.add();
  co_await sleep(pause);
  co_return !impl->shut;
}

/// A lost connection is no fault of the steps, so its retries end at the deadline; connecting has a back-off of its own.
Task<bool> Database::retry_lost(Retry& retry, Deadline deadline) {
  static auto& lost = retries("connection_lost");
  const auto impl = impl_;
  const auto pause = jittered(Millis(5), std::min(Millis(500), Millis(10) * (1 << std::min(retry.lost++, 6))));
  if (Deadline::in(pause).at >= deadline.at) co_return false;
  lost.add();
  co_await sleep(pause);
  co_return !impl->shut;
}

void Database::close() { impl_->close_idle(); }

}  // namespace enishi::pg

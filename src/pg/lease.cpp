#include "pg/lease.hpp"

#include <cstring>

#include "base/log.hpp"
#include "base/metrics.hpp"

namespace enishi::pg {
namespace {

constexpr std::size_t kMostNotifications = 1024;

/// The server did not stop within its second, or the connection was closed under us.
struct Stuck {};

struct FreeCancel {
  void operator()(PGcancel* c) const { PQfreeCancel(c); }
};

void send_cancel(PGcancel* cancel) {
  char error[256];
  if (PQcancel(cancel, error, sizeof error) == 0) log_warning("could not ask postgresql to stop a statement", {{"error", one_line(error)}});
}

Task<> cancel_in_background(Offload& offload, std::shared_ptr<PGcancel> cancel, std::shared_ptr<bool> running,
                            std::shared_ptr<Event> done) {
  try {
    co_await offload.run([cancel] { send_cancel(cancel.get()); });
  } catch (const OffloadFull&) {
    log_warning("could not ask postgresql to stop a statement", {{"error", "the pool for blocking work is full"}});
  }
  *running = false;
  done->notify_all();
}

bool failed(const PGresult* result) {
  switch (PQresultStatus(result)) {
    case PGRES_TUPLES_OK:
    case PGRES_SINGLE_TUPLE:
    case PGRES_COMMAND_OK:
    case PGRES_EMPTY_QUERY:
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_PIPELINE_SYNC:
      return false;
    default:
      return true;
  }
}

/// True from construction to destruction, unless an exception or the end of the coroutine leaves it set for good.
class Busy {
 public:
  explicit Busy(bool& flag) : flag_(flag) { flag_ = true; }
  void over() { flag_ = false; }

 private:
  bool& flag_;
};

}  // namespace

Lease::Impl::Impl(std::shared_ptr<Database::Impl> owner, std::shared_ptr<Link> held) : owner_(std::move(owner)), link_(std::move(held)) {
  link_->cut_short = false;
}

Lease::Impl::~Impl() {
  if (!link_) return;
  if (owner_->shut || busy_ || tainted_ || !link_->usable()) {
    owner_->discard(link_);
  } else if (in_transaction() || listening_) {
    spawn(owner_->executor, "pg.tidy_lease", tidy(owner_, link_));
  } else {
    owner_->give_back(link_);
  }
}

/// Rolls back what a dropped lease left open. Whatever goes wrong closes the connection, which rolls back as well.
Task<> Lease::Impl::tidy(std::shared_ptr<Database::Impl> owner, std::shared_ptr<Link> link) {
  auto lease = std::make_unique<Impl>(owner, link);
  lease->tainted_ = true;
  try {
    const auto limit = Deadline::in(Millis(1000));
    const auto result = co_await lease->query(lease->in_transaction() ? "rollback; unlisten *" : "unlisten *", limit);
    if (!failed(result.get())) lease->tainted_ = false;
  } catch (const std::runtime_error& e) {
    log_debug("a lease was closed", {{"error", e.what()}});
  }
}

bool Lease::Impl::in_transaction() const {
  const auto state = PQtransactionStatus(link_->raw());
  return state == PQTRANS_INTRANS || state == PQTRANS_INERROR;
}

void Lease::Impl::ready(Deadline deadline) {
  if (busy_) throw std::logic_error("a lease runs one thing at a time");
  if (!link_->usable()) throw NothingSent("the connection to PostgreSQL was lost");
  if (deadline.passed()) throw TimedOut("the deadline had passed before the statement was sent");
  const bool open = in_transaction();
  if (!link_->alive()) {
    link_->close();
    if (open) throw ConnectionLost("the connection to PostgreSQL was lost within a transaction");
    throw NothingSent("the connection to PostgreSQL was lost");
  }
  limit_ = deadline;
  stopping_ = false;
}

void Lease::Impl::leave_pipeline() {
  if (PQpipelineStatus(link_->raw()) != PQ_PIPELINE_OFF) PQexitPipelineMode(link_->raw());
}

bool Lease::Impl::must_wait() { return link_->usable() && PQisBusy(link_->raw()) != 0; }

Task<> Lease::Impl::more(bool want_write) {
  const bool full = PQflush(link_->raw()) == 1;
  const bool in_time = co_await link_->wait(true, full || want_write, limit_);
  if (link_->raw() == nullptr) throw Stuck();
  if (!in_time) {
    if (stopping_) throw Stuck();
    stopping_ = true;
    limit_ = Deadline::in(Millis(1000));
    ask_to_stop();
  }
  // A failure shows in the result.
  PQconsumeInput(link_->raw());
}

Task<ResultPtr> Lease::Impl::next() {
  while (must_wait()) co_await more();
  co_return ResultPtr(PQgetResult(link_->raw()));
}

void Lease::Impl::ask_to_stop() {
  std::shared_ptr<PGcancel> cancel(PQgetCancel(link_->raw()), FreeCancel());
  if (!cancel) return;
  cancel_done_ = std::make_shared<Event>();
  cancelling_ = std::make_shared<bool>(true);
  spawn(owner_->executor, "pg.cancel", cancel_in_background(owner_->offload, cancel, cancelling_, cancel_done_));
}

/// A cancel that is still on its way would hit the next statement.
Task<> Lease::Impl::settled() {
  if (!cancelling_) co_return;
  const auto limit = Deadline::in(Millis(1000));
  const auto running = cancelling_;
  const auto done = cancel_done_;
  while (*running && !limit.passed()) co_await done->wait(limit);
  if (*running) tainted_ = true;
  cancelling_.reset();
}

void Lease::Impl::gone(const std::string& why, bool commit_possible) {
  link_->close();
  if (commit_possible) throw OutcomeUnknown(why);
  if (stopping_) throw TimedOut(why);
  throw ConnectionLost(why);
}

Task<Result<std::vector<Rows>>> Lease::Impl::pipeline(const std::vector<Step>& steps, bool reads_only, Deadline deadline) {
  for (const auto& step : steps)
    if (holds_zero(step.params)) co_return fail(Kind::unprocessable, "VALUE_INVALID", "Text must not hold U+0000.");
  ready(deadline);
  auto* raw = link_->raw();
  const bool open = in_transaction();
  Busy busy(busy_);
  if (PQpipelineStatus(raw) == PQ_PIPELINE_OFF) PQenterPipelineMode(raw);
  std::vector<bool> preparing(steps.size());
  for (std::size_t i = 0; i < steps.size(); ++i) {
    bool also_prepares = false;
    if (!link_->send(steps[i].statement, steps[i].params, also_prepares)) {
      // No Sync was sent, so the server commits nothing of it.
      const auto message = one_line(PQerrorMessage(raw));
      const bool lost = !link_->usable();
      link_->close();
      if (lost && !open) throw NothingSent(message);
      if (lost) throw ConnectionLost(message);
      throw Broken(std::string(steps[i].statement.name) + ": " + message);
    }
    preparing[i] = also_prepares;
  }
  PQpipelineSync(raw);

  std::vector<Rows> rows;
  rows.reserve(steps.size());
  ResultPtr wrong;
  std::size_t wrong_step = 0;
  bool stuck = false;
  ResultPtr lost;
  auto since = steady_now();
  try {
    for (std::size_t at = 0, silent = 0;;) {
      while (must_wait()) co_await more();
      ResultPtr result(PQgetResult(raw));
      if (!result) {
        if (++silent < 2 && link_->usable()) continue;
        stuck = true;
        break;
      }
      silent = 0;
      if (says_lost(result.get())) {
        lost = std::move(result);
        break;
      }
      if (PQresultStatus(result.get()) == PGRES_PIPELINE_SYNC) break;
      if (at >= steps.size()) {
        // What the commit itself refuses, such as a deferred constraint, comes after the last answer.
        if (failed(result.get()) && !wrong) {
          wrong = std::move(result);
          wrong_step = steps.size() - 1;
        }
        continue;
      }
      const auto& statement = steps[at].statement;
      if (preparing[at]) {
        preparing[at] = false;
        if (!failed(result.get())) continue;
        link_->forget(statement.id(), false);
        if (!wrong) {
          wrong = std::move(result);
          wrong_step = at;
        }
        continue;  // its execution is reported as aborted next
      }
      const auto now = steady_now();
      statement.seconds().observe(std::chrono::duration<double>(now - since).count());
      since = now;
      if (failed(result.get())) {
        if (!wrong) {
          if (says_prepare_again(result.get())) link_->forget(statement.id(), true);
          wrong = std::move(result);
          wrong_step = at;
        }
      } else {
        rows.emplace_back(result.release());
      }
      ++at;
    }
  } catch (const Stuck&) {
    stuck = true;
  }
  if (lost || stuck) {
    const std::string why = lost ? one_line(PQresultErrorMessage(lost.get())) : "PostgreSQL did not answer";
    gone(why, !open && !reads_only);
  }
  co_await settled();
  busy.over();
  if (std::exchange(link_->cut_short, false)) throw NotReplicated("the commit did not wait for its standby");
  if (!wrong) co_return rows;
  prepare_again_ = says_prepare_again(wrong.get());
  if (prepare_again_) co_return tl::make_unexpected(to_error("40001", {}, {}, {}));
  auto error = answer_of(wrong.get(), steps[wrong_step].statement.name);
  co_return tl::make_unexpected(std::move(error));
}

/// Sends `sql` and reads what it gives to the end. `on_copy` is awaited whenever the server opens a COPY.
Task<Lease::Impl::Collected> Lease::Impl::collect(std::string sql, OnCopy on_copy) {
  Collected out;
  try {
    if (PQsendQuery(link_->raw(), sql.c_str()) == 0) throw Stuck();
    for (;;) {
      auto result = co_await next();
      if (!result) break;
      const auto status = PQresultStatus(result.get());
      if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT) {
        co_await on_copy(status);
      } else if (says_lost(result.get())) {
        out.lost = one_line(PQresultErrorMessage(result.get()));
        break;
      } else if (!failed(result.get())) {
        out.last = std::move(result);
      } else if (!out.wrong) {
        out.wrong = std::move(result);
      }
    }
  } catch (const Stuck&) {
    out.lost = "PostgreSQL did not answer";
  }
  co_return out;
}

Task<ResultPtr> Lease::Impl::query(std::string sql, Deadline deadline) {
  if (sql.find('\0') != std::string::npos) throw Broken("SQL text must not hold U+0000");
  ready(deadline);
  leave_pipeline();
  const bool open = in_transaction();
  Busy busy(busy_);
  auto out = co_await collect(std::move(sql), [this](ExecStatusType status) { return refuse_copy(status); });
  // Inside a transaction only its own COMMIT could leave a doubt, and commit() looks at that itself.
  if (out.lost) gone(*out.lost, !open);
  co_await settled();
  busy.over();
  if (std::exchange(link_->cut_short, false)) throw NotReplicated("the commit did not wait for its standby");
  co_return out.wrong ? std::move(out.wrong) : std::move(out.last);
}

Task<> Lease::Impl::refuse_copy(ExecStatusType status) {
  if (status != PGRES_COPY_IN) throw Stuck();
  PQputCopyEnd(link_->raw(), "COPY needs copy_in");
  co_return;
}

Task<> Lease::Impl::begin(std::string mode, Deadline deadline) {
  ResultPtr result;
  bool unknown = false;
  try {
    result = co_await query(std::move(mode), deadline);
  } catch (const OutcomeUnknown&) {
    unknown = true;
  }
  if (unknown) throw ConnectionLost("the connection to PostgreSQL was lost at the beginning of a transaction");
  if (failed(result.get())) {
    const auto error = answer_of(result.get(), "begin");
    throw Broken("begin: " + error.code);
  }
}

Task<> Lease::Impl::commit(Deadline deadline) {
  std::string lost;
  ResultPtr result;
  try {
    result = co_await query("commit", deadline);
  } catch (const NothingSent&) {
    throw;
  } catch (const ConnectionLost& e) {
    lost = e.what();
    // ready() found the connection gone before COMMIT was sent.
    if (!busy_) throw;
  } catch (const TimedOut& e) {
    lost = e.what();
    if (!busy_) throw;
  }
  if (!lost.empty()) throw OutcomeUnknown(lost);
  if (failed(result.get())) throw CommitRefused(answer_of(result.get(), "commit"));
  if (std::strcmp(PQcmdStatus(result.get()), "ROLLBACK") == 0)
    throw Broken("commit: a statement of the transaction had failed, so PostgreSQL rolled it back");
}

Task<> Lease::Impl::rollback(Deadline deadline) {
  if (!link_->usable() || !in_transaction()) co_return;
  // Rolling back is worth its second also when the time of the work is over.
  const Deadline limit{std::max(deadline.at, steady_now() + Millis(1000))};
  const auto result = co_await query("rollback", limit);
  if (failed(result.get())) tainted_ = true;
}

/// What a COPY … FROM STDIN is fed with, and how far that got.
struct Lease::Impl::Feed {
  std::function<bool(std::string&)> next_chunk;
  bool started = false, ended = false;
  std::exception_ptr thrown = nullptr;
};

Task<> Lease::Impl::feed(Feed* feed, ExecStatusType status) {
  if (status != PGRES_COPY_IN || std::exchange(feed->started, true)) throw Stuck();
  auto* raw = link_->raw();
  std::string chunk;
  bool go_on = true;
  while (go_on && link_->usable()) {
    chunk.clear();
    try {
      go_on = feed->next_chunk(chunk);
    } catch (...) {
      feed->thrown = std::current_exception();
      break;
    }
    if (!chunk.empty() && PQputCopyData(raw, chunk.data(), static_cast<int>(chunk.size())) < 0) break;
    // The server reads on to the end even after an error of its own, so this cannot stop for ever; the deadline holds all the same.
    while (link_->usable() && PQflush(raw) == 1 && !stopping_)
      co_await more(true);  // more() flushes too: nothing may be left to wake it but the socket
    if (stopping_) break;
  }
  feed->ended = true;
  if (link_->usable()) PQputCopyEnd(raw, feed->thrown ? "the sender gave up" : stopping_ ? "the deadline passed" : nullptr);
}

Task<Result<std::int64_t>> Lease::Impl::copy_in(std::string sql, std::function<bool(std::string&)> next_chunk, Deadline deadline) {
  ready(deadline);
  leave_pipeline();
  const bool open = in_transaction();
  Busy busy(busy_);
  Feed fed{std::move(next_chunk)};
  auto out = co_await collect(std::move(sql), [this, &fed](ExecStatusType status) { return feed(&fed, status); });
  if (out.lost && fed.thrown) link_->close();
  if (out.lost && !fed.thrown) gone(*out.lost, !open && fed.ended);
  if (!out.lost) {
    co_await settled();
    busy.over();
  }
  if (fed.thrown) std::rethrow_exception(fed.thrown);
  if (std::exchange(link_->cut_short, false)) throw NotReplicated("the commit did not wait for its standby");
  if (out.wrong && stopping_) throw TimedOut("copy: the deadline passed");
  if (out.wrong) co_return tl::make_unexpected(answer_of(out.wrong.get(), "copy"));
  if (!fed.started) throw Broken("copy_in: this SQL is no COPY … FROM STDIN");
  co_return Rows(out.last.release()).affected();
}

Task<> Lease::Impl::drink(const std::function<void(std::string_view)>* take, ExecStatusType status) {
  if (status != PGRES_COPY_OUT) throw Stuck();
  for (;;) {
    char* data = nullptr;
    const int size = PQgetCopyData(link_->raw(), &data, 1);
    if (size == 0) {
      co_await more();
      continue;
    }
    if (size < 0) break;  // -1 the end, -2 a failure: the result says which
    const std::unique_ptr<char, void (*)(void*)> owned(data, [](void* p) { PQfreemem(p); });
    (*take)({data, static_cast<std::size_t>(size)});
  }
}

Task<Result<std::int64_t>> Lease::Impl::copy_out(std::string sql, std::function<void(std::string_view)> take, Deadline deadline) {
  ready(deadline);
  leave_pipeline();
  Busy busy(busy_);
  bool started = false;
  auto out = co_await collect(std::move(sql), [this, &take, &started](ExecStatusType status) {
    started = true;
    return drink(&take, status);
  });
  if (out.lost) gone(*out.lost, false);
  co_await settled();
  busy.over();
  if (out.wrong) co_return tl::make_unexpected(answer_of(out.wrong.get(), "copy"));
  if (!started) throw Broken("copy_out: this SQL is no COPY … TO STDOUT");
  co_return Rows(out.last.release()).affected();
}

void Lease::Impl::collect_notifications() {
  while (PGnotify* got = PQnotifies(link_->raw())) {
    const std::unique_ptr<PGnotify, void (*)(void*)> owned(got, [](void* p) { PQfreemem(p); });
    if (notifications_.size() < kMostNotifications) notifications_.emplace_back(got->relname, got->extra);
  }
}

Task<std::optional<std::pair<std::string, std::string>>> Lease::Impl::notification(std::string channel, Deadline deadline) {
  if (!link_->usable()) throw ConnectionLost("the connection to PostgreSQL was lost");
  if (!channels_.contains(channel)) {
    char* quoted = PQescapeIdentifier(link_->raw(), channel.data(), channel.size());
    if (quoted == nullptr) throw Broken("no name of a channel");
    const std::string sql = std::string("listen ") + quoted;
    PQfreemem(quoted);
    listening_ = true;
    const auto result = co_await query(sql, deadline);
    if (failed(result.get())) {
      const auto error = answer_of(result.get(), "listen");
      throw Broken("listen: " + error.code);
    }
    channels_.insert(channel);
  }
  for (;;) {
    collect_notifications();
    if (!notifications_.empty()) {
      auto first = std::move(notifications_.front());
      notifications_.pop_front();
      co_return first;
    }
    const bool in_time = co_await link_->wait(true, false, deadline);
    if (link_->raw() == nullptr || PQconsumeInput(link_->raw()) == 0 || !link_->alive())
      gone("the connection to PostgreSQL was lost", false);
    if (!in_time) {
      collect_notifications();
      if (notifications_.empty()) co_return std::nullopt;
    }
  }
}

Task<> Lease::Impl::cancel() {
  std::shared_ptr<PGcancel> cancel(link_->raw() == nullptr ? nullptr : PQgetCancel(link_->raw()), FreeCancel());
  if (cancel) co_await owner_->offload.run([cancel] { send_cancel(cancel.get()); });
}

Task<std::string> Lease::Impl::prepare_error(const Statement& statement, Deadline deadline) {
  ready(deadline);
  leave_pipeline();
  auto* raw = link_->raw();
  Busy busy(busy_);
  std::string error;
  bool stuck = false;
  try {
    if (PQsendPrepare(raw, "", std::string(statement.sql).c_str(), 0, nullptr) == 0) throw Stuck();
    for (;;) {
      while (must_wait()) co_await more();
      const ResultPtr result(PQgetResult(raw));
      if (!result) break;
      if (says_lost(result.get())) throw Stuck();
      if (failed(result.get())) error = one_line(PQresultErrorMessage(result.get()));
    }
  } catch (const Stuck&) {
    stuck = true;
  }
  if (stuck) gone("the connection to PostgreSQL was lost", false);
  co_await settled();
  busy.over();
  co_return error;
}

Lease::Lease(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Lease::Lease() = default;
Lease::Lease(Lease&&) noexcept = default;
Lease& Lease::operator=(Lease&&) noexcept = default;
Lease::~Lease() = default;

Task<Result<Rows>> Lease::run(const Statement& statement, Params params, Deadline deadline) {
  std::vector<Step> steps;
  steps.push_back(Step{statement, std::move(params)});
  auto answers = co_await impl_->pipeline(steps, statement.pipeline, deadline);
  if (!answers) co_return tl::make_unexpected(std::move(answers.error()));
  co_return std::move(answers->front());
}

Task<Result<std::vector<Rows>>> Lease::batch(std::vector<Step> steps, Deadline deadline) {
  co_return co_await impl_->pipeline(steps, false, deadline);
}

Task<Result<Rows>> Lease::script(std::string sql, Deadline deadline) {
  impl_->taint();
  auto result = co_await impl_->query(std::move(sql), deadline);
  if (failed(result.get())) {
    auto error = answer_of(result.get(), "script");
    co_return tl::make_unexpected(std::move(error));
  }
  co_return Rows(result.release());
}

Task<> Lease::begin(Deadline deadline, std::string_view mode) { return impl_->begin(std::string(mode), deadline); }
Task<> Lease::commit(Deadline deadline) { return impl_->commit(deadline); }
Task<> Lease::rollback(Deadline deadline) { return impl_->rollback(deadline); }

Task<Result<std::int64_t>> Lease::copy_in(std::string sql, std::function<bool(std::string& chunk)> next, Deadline deadline) {
  return impl_->copy_in(std::move(sql), std::move(next), deadline);
}

Task<Result<std::int64_t>> Lease::copy_out(std::string sql, std::function<void(std::string_view chunk)> take, Deadline deadline) {
  return impl_->copy_out(std::move(sql), std::move(take), deadline);
}

Task<std::optional<std::pair<std::string, std::string>>> Lease::notification(std::string channel, Deadline deadline) {
  return impl_->notification(std::move(channel), deadline);
}

Task<> Lease::cancel() { return impl_->cancel(); }
int Lease::server_version() const { return impl_->raw() == nullptr ? 0 : PQserverVersion(impl_->raw()); }

Task<std::vector<std::pair<std::string, std::string>>> check_statements(Lease& lease, Deadline deadline) {
  std::vector<std::pair<std::string, std::string>> wrong;
  for (const auto* statement : all_statements()) {
    if (statement->name.starts_with("test.") || statement->name.starts_with("at_source.")) continue;
    auto error = co_await lease.impl_->prepare_error(*statement, deadline);
    if (!error.empty()) wrong.emplace_back(std::string(statement->name), std::move(error));
  }
  co_return wrong;
}

}  // namespace enishi::pg

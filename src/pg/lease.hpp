// The inside of a Lease: one exclusive connection, and what must be tidied up before somebody else gets it.
#pragma once
#include <deque>
#include <set>

#include "pg/impl.hpp"

namespace enishi::pg {

/// Nothing was sent yet when the connection turned out to be gone: whatever it was can be done on another one.
struct NothingSent : ConnectionLost {
  using ConnectionLost::ConnectionLost;
};

class Lease::Impl {
 public:
  Impl(std::shared_ptr<Database::Impl> owner, std::shared_ptr<Link> held);
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  /// `steps` outlives the call. `reads_only`: a lost connection leaves no doubt about what was committed.
  Task<Result<std::vector<Rows>>> pipeline(const std::vector<Step>& steps, bool reads_only, Deadline deadline);
  /// SQL text outside pipeline mode; the last result, or the first that failed.
  Task<ResultPtr> query(std::string sql, Deadline deadline);
  Task<> begin(std::string mode, Deadline deadline);
  Task<> commit(Deadline deadline);
  Task<> rollback(Deadline deadline);
  Task<Result<std::int64_t>> copy_in(std::string sql, std::function<bool(std::string&)> next, Deadline deadline);
  Task<Result<std::int64_t>> copy_out(std::string sql, std::function<void(std::string_view)> take, Deadline deadline);
  Task<std::optional<std::pair<std::string, std::string>>> notification(std::string channel, Deadline deadline);
  Task<> cancel();
  Task<std::string> prepare_error(const Statement& statement, Deadline deadline);
  PGconn* raw() const { return link_ ? link_->raw() : nullptr; }
  /// The last pipeline() failed because a statement must be prepared again, which is arranged for.
  [[nodiscard]] bool prepare_again() const { return prepare_again_; }
  /// The session was changed in ways that nobody takes back.
  void taint() { tainted_ = true; }

 private:
  /// Before anything is sent: the connection is there and the deadline is not over.
  void ready(Deadline deadline);
  void leave_pipeline();
  bool must_wait();
  /// Until more of the answer is here. At the deadline the server is asked to stop and gets a second to say so; after that it throws.
  Task<> more(bool want_write = false);
  Task<ResultPtr> next();
  /// What SQL text gave, read to its end.
  struct Collected {
    ResultPtr last, wrong;            ///< the last result that did not fail, the first that did
    std::optional<std::string> lost;  ///< why there is no end: the connection is not usable any more
  };
  using OnCopy = std::function<Task<>(ExecStatusType)>;
  Task<Collected> collect(std::string sql, OnCopy on_copy);
  Task<> refuse_copy(ExecStatusType status);
  struct Feed;
  Task<> feed(Feed* feed, ExecStatusType status);
  Task<> drink(const std::function<void(std::string_view)>* take, ExecStatusType status);
  void ask_to_stop();
  Task<> settled();
  /// The connection has gone while `sent` things were on their way.
  [[noreturn]] void gone(const std::string& why, bool commit_possible);
  [[nodiscard]] bool in_transaction() const;
  void collect_notifications();
  static Task<> tidy(std::shared_ptr<Database::Impl> owner, std::shared_ptr<Link> link);

  std::shared_ptr<Database::Impl> owner_;
  std::shared_ptr<Link> link_;
  Deadline limit_{SteadyTime::max()};
  std::shared_ptr<Event> cancel_done_;  ///< while a cancel is under way
  std::shared_ptr<bool> cancelling_;
  bool stopping_ = false;
  bool busy_ = false;  ///< between sending and the end of the answer
  bool tainted_ = false;
  bool prepare_again_ = false;
  bool listening_ = false;
  std::set<std::string> channels_;
  std::deque<std::pair<std::string, std::string>> notifications_;
};

}  // namespace enishi::pg

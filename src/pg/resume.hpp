// One suspended coroutine, kept until somebody goes on with it. Cheaper than a timer or a channel: one small allocation.
//
//   co_await suspend(resume);      // in the coroutine
//   resume.now();                  // in whoever has the answer; later() when the caller must not be entered again
//
// A coroutine mostly owns what its Resume is in (its connection, its request), so nobody but the loop can end both: the coroutines that
// are still suspended when their loop is destroyed are destroyed by it, like every other operation of Asio's.
#pragma once
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/post.hpp>
#include <memory>

#include "io/task.hpp"

namespace enishi::pg {

/// What is suspended on one loop, as a ring.
class Suspended final : public asio::execution_context::service {
 public:
  class Seat {
   public:
    Seat() = default;
    Seat(const Seat&) = delete;
    Seat& operator=(const Seat&) = delete;
    virtual ~Seat() { leave(); }
    virtual void drop() {}

   private:
    friend class Suspended;
    void leave() {
      before_->after_ = after_;
      after_->before_ = before_;
      before_ = after_ = this;
    }
    Seat* before_ = this;
    Seat* after_ = this;
  };

  using key_type = Suspended;
  static inline asio::execution_context::id id;
  explicit Suspended(asio::execution_context& loop) : asio::execution_context::service(loop) {}
  void add(Seat& one) {
    one.after_ = ring_.after_;
    one.before_ = &ring_;
    one.after_->before_ = &one;
    ring_.after_ = &one;
  }

 private:
  void shutdown() override {
    while (ring_.after_ != &ring_) {
      auto* one = ring_.after_;
      one->leave();
      one->drop();
    }
  }
  Seat ring_;
};

class Resume {
 public:
  explicit operator bool() const { return held_ != nullptr; }
  /// Goes on here and now, inside the caller.
  void now() {
    auto held = std::move(held_);
    if (held) held->run();
  }
  /// Goes on in the loop's next turn.
  void later(Executor executor) {
    if (held_) asio::post(executor, [held = std::move(held_)] { held->run(); });
  }
  template <class Handler>
  void hold(Handler handler) {
    auto& loop = asio::get_associated_executor(handler).context();
    held_ = std::make_unique<Of<Handler>>(std::move(handler));
    asio::use_service<Suspended>(loop).add(*held_);
  }

 private:
  struct Any : Suspended::Seat {
    virtual void run() = 0;
  };
  template <class Handler>
  struct Of final : Any {
    explicit Of(Handler h) : handler(std::move(h)) {}
    void run() override { std::move(handler)(); }
    /// By way of a local, for the coroutine that goes may own this.
    void drop() override { [[maybe_unused]] const auto gone = std::move(handler); }
    Handler handler;
  };
  std::unique_ptr<Any> held_;
};

/// `resume` outlives the wait.
inline auto suspend(Resume& resume) {
  return asio::async_initiate<const asio::use_awaitable_t<Executor>, void()>([&resume](auto handler) { resume.hold(std::move(handler)); },
                                                                             use_task);
}

}  // namespace enishi::pg

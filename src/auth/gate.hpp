// The gatekeeper of a process: knows who asks, what they may, and how often; hands slices their database. One for all shards.
//
//   std::vector<pg::Database*> databases = …;                 // databases[i] belongs to shards[i]
//   auth::Gate gate(shards, databases, offload, {});
//   auth::mount(router, gate); customers::mount(router, gate);
//   http::Server server(shards, router, …);
//   server.map_exceptions(auth::map_exception);
//   …
//   gate.drain([&] { shards.stop(); });                       // after the server has drained: writes the last views of personal data
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "auth/cache.hpp"
#include "auth/call.hpp"
#include "auth/passwords.hpp"

namespace enishi::auth {

struct Config {
  Passwords::Cost passwords;
  std::chrono::seconds session_idle{12 * 3600};
  std::chrono::seconds session_absolute{7 * 24 * 3600};
  Millis cache_for{5000};             ///< how long another process may not notice that a right was taken away
  std::size_t cache_entries = 10000;  ///< of all shards together
  double requests_per_second = 2000;  ///< of one session or token on one shard; 0: no limit
  double burst = 4000;
  int login_failures = 5;            ///< of one login name, before it has to wait 1, 2, 4 … 900 seconds
  int address_failures = 50;         ///< of one address: an office is behind one
  std::vector<std::string> origins;  ///< besides the Host of the request, whose pages may send writes: "https://crm.example.com"
};

class Gate final : public Gatekeeper {
 public:
  /// Starts a task on every shard that writes views and last-seen times. `databases` outlive drain(); none at all makes
  /// a gate whose operations can be mounted and listed, not called.
  Gate(Shards& shards, std::vector<pg::Database*> databases, Offload& offload, Config config);
  ~Gate() override;
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  void mount(http::Router& router, std::span<const Operation> operations) override;
  pg::Database& db(const Shard& shard) override;
  Offload& offload() override { return offload_; }
  const WriteElsewhere& elsewhere() const override { return elsewhere_; }
  /// Before requests come.
  void write_elsewhere_with(WriteElsewhere how) { elsewhere_ = std::move(how); }
  void note_view(const Call& call, std::string_view entity, std::optional<Uuid> id, int rows) override;

  /// Writes what is buffered and ends the tasks; then calls `done` on some shard. From any thread, once.
  void drain(std::function<void()> done);

  // For the operations of this module.
  Passwords& passwords() { return passwords_; }
  [[nodiscard]] const Config& config() const { return config_; }
  /// Every shard asks the database again who holds a token: to be called after a session, user or right changed.
  void forget_sessions() { epoch_.fetch_add(1); }
  [[nodiscard]] bool knows(std::string_view operation) const { return numbers_.contains(std::string(operation)); }
  /// Sessions remembered on a shard; call it on that shard.
  [[nodiscard]] std::size_t remembered(const Shard& shard) const;

 private:
  struct Local;
  struct Mounted {
    Operation operation;
    std::size_t number;
  };
  Task<Result<http::Answer>> enter(const Mounted* mounted, http::Request& request);
  Task<Result<std::shared_ptr<const Known>>> load(Local* local, Digest key, bool by_token, Deadline deadline);
  static Task<> tend(std::shared_ptr<Local> local);
  static Task<bool> write_views(Local* local);
  Config config_;
  Offload& offload_;
  WriteElsewhere elsewhere_;
  Passwords passwords_;
  std::vector<std::shared_ptr<Local>> locals_;
  std::vector<std::unique_ptr<Mounted>> mounted_;
  std::unordered_map<std::string, std::size_t> numbers_;
  std::atomic<std::uint64_t> epoch_{0};
};

/// The answer that call's Idempotency-Key has already, with the header Idempotency-Replayed.
Task<Result<std::optional<http::Answer>>> stored_answer(const Call& call);

/// For http::Server::map_exceptions. What a broken world answers: 503 UNAVAILABLE, TIMEOUT or OUTCOME_UNKNOWN with Retry-After, 500 for our
/// own fault, logged here; nothing for exceptions that are not of pg or the offload pool.
std::optional<Error> map_exception(const std::exception_ptr& thrown);

/// Operations of users, sessions, roles, tokens and teams.
void mount(http::Router& router, Gate& gate);

std::string_view session_cookie(const http::Request& request);

}  // namespace enishi::auth

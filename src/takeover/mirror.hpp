// Keeps one domain as its legacy system has it: slot, copy in chunks, then the stream, for as long as the domain is not Enishi's.
//
//   Mirrors mirrors(config, offload);     // a thread and connections of its own
//   mirrors.start();                      // every domain of takeover_domain, as it comes; one instance at a time holds a domain
//   mirrors.stop();                       // ends what is running within a batch
//
// Steps, each of which may be the last one (tests kill the process there, see faults.hpp):
//   copy 1 slot made · 2 chunks noted · 3 chunk fetched · 4 chunk stored, not committed · 5 chunk committed · 6 all chunks done · 7 some
//   of them looked at for persons who are there twice, not committed
//   stream 1 batch received · 2 roots known · 3 fetched · 4 stored, not committed · 5 committed, not confirmed · 6 confirmed
//
// Whatever is repeated is harmless: a record is written only by a fetch that is not older than what is stored.
#pragma once
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "io/shard.hpp"
#include "pg/change_stream.hpp"
#include "pg/database.hpp"
#include "takeover/domains.hpp"
#include "takeover/faults.hpp"
#include "takeover/pace.hpp"

namespace enishi::takeover {

class Mirror {
 public:
  /// `local` and `shard` outlive it; run() is on the shard.
  Mirror(pg::Database& local, Shard& shard, Offload& offload, std::string domain);
  ~Mirror();
  Mirror(const Mirror&) = delete;
  Mirror& operator=(const Mirror&) = delete;
  /// Until stop(), or until the domain is stopped, finished or gone. Waits for databases that are away.
  Task<> run();
  void stop();

 private:
  struct State;
  struct Table;
  enum class Copied { done, stopped };

  Task<Result<void>> session();
  Task<Result<bool>> load();
  Task<Result<void>> create_slot();
  Task<Result<void>> wait_for_writers(std::int64_t horizon);
  Task<Result<void>> read_catalog();
  Task<Result<void>> note_chunks();
  Task<Result<void>> copy();
  void start_copy();
  Task<> copy_worker();
  Task<Result<void>> copy_chunk(int number, std::optional<std::string> from, std::optional<std::string> to);
  Task<Result<void>> look_for_the_lost();
  Task<Result<void>> candidates();
  Task<Result<void>> stream();
  struct Ready;
  /// The next changes, and their records as the source has them now; nothing after a second of silence. `before` is being stored meanwhile.
  Task<Result<std::shared_ptr<Ready>>> next_ready(std::shared_ptr<const Ready> before);
  Task<Result<void>> tell_foreign(pgwire::ChangeBatch theirs);
  /// Stores them and their position, and confirms it.
  Task<Result<void>> put(std::shared_ptr<Ready> ready);
  Task<Result<std::vector<std::string>>> roots_of(const pgwire::ChangeBatch& batch, std::shared_ptr<const Ready> before);
  Result<void> check_shapes(const pgwire::ChangeBatch& batch) const;
  /// Fetches and stores; with a position, that is stored in the same transaction as the last of them.
  Task<Result<Applied>> refresh(std::vector<std::string> keys, std::vector<std::uint32_t> xids, const pgwire::ChangeBatch* advance);
  Task<Result<Batch>> fetch(std::vector<std::string> keys, std::vector<std::uint32_t> xids);
  /// Whose the domain is, and since which epoch, as the database says now.
  Task<Result<void>> read_owner();
  Task<Result<Applied>> store(Batch batch, const pgwire::ChangeBatch* advance, std::optional<int> chunk);
  Task<Result<void>> retry_rejects();
  Task<Result<void>> watch_slot();
  Task<> watch(std::shared_ptr<State> alive);
  Task<> pause(std::int64_t rows, std::chrono::nanoseconds fetched);
  [[nodiscard]] Deadline soon() const { return Deadline::in(Millis(60000)); }

  pg::Database& local_;
  Shard& shard_;
  Offload& offload_;
  std::string domain_;
  std::shared_ptr<State> state_;
  bool stopping_ = false;
  Event stopped_;
};

class Mirrors {
 public:
  Mirrors(pg::Config config, Offload& offload, Millis poll = Millis(500));
  ~Mirrors();
  void start();
  void stop();  ///< and waits

 private:
  Task<> run();
  Task<> watch_stopped();
  pg::Config config_;
  Offload& offload_;
  Millis poll_;
  Shards shards_{1};
  std::unique_ptr<pg::Database> local_;
  std::map<std::string, std::shared_ptr<Mirror>> running_;
  bool stopping_ = false;
  bool started_ = false;
  Event stopped_;
  Event ended_;
};

}  // namespace enishi::takeover

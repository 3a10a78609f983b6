// Runs imports that were started, one after the other, in chunks: each chunk is one transaction that stores what its rows came to and moves
// on. Whoever is killed loses at most the chunk it was at, which did not happen; it goes on at the next row here or in another process, as
// soon as the lease is over. A row is done once: the chunk's transaction holds the import's row and looks who runs it and where it stands.
//
//   imports::Runner runner(db, offload);        // one a process
//   spawn(shard, "imports", runner.run());      // on the shard of `db`
//   runner.stop();                              // from that shard; run() ends after the chunk it is at and gives the import back
#pragma once
#include "io/offload.hpp"
#include "pg/database.hpp"

namespace enishi::crm::imports {

struct RunnerOptions {
  std::size_t chunk = 400;  ///< rows
  Millis poll{500};         ///< how soon an import begins after its start
  Millis lease{10000};      ///< how long after its last chunk a killed one may be taken up
};

class Runner {
 public:
  Runner(pg::Database& db, Offload& offload, RunnerOptions options = {}) : db_(db), offload_(offload), options_(options) {}
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;
  /// Until stop(). A database that is away is waited for.
  Task<> run();
  void stop();
  /// The next import that nobody runs, until it is done or `most_chunks` are: then it is left as a killed process leaves it. Whether there
  /// was one.
  Task<bool> run_next(std::size_t most_chunks = SIZE_MAX);

 private:
  pg::Database& db_;
  Offload& offload_;
  RunnerOptions options_;
  bool stopping_ = false;
  Event stopped_;
};

}  // namespace enishi::crm::imports

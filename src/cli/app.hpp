// Where everything is put together: what `enishi serve` runs, and the one list of everything mounted.
//
//   App app{…};
//   http::Router router;
//   mount_all(router, app);        // a module adds its line in app.cpp: crm::customers::mount(router, *app.gate);
//
// `enishi routes` mounts the same list without a database, so the contract test sees what the server would serve.
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "auth/gate.hpp"
#include "cli/settings.hpp"
#include "cluster/migrations.hpp"
#include "crm/imports/runner.hpp"
#include "http/http.hpp"
#include "io/offload.hpp"
#include "io/shard.hpp"
#include "jobs/jobs.hpp"
#include "pg/database.hpp"
#include "takeover/api/controls.hpp"
#include "takeover/mirror.hpp"
#include "takeover/switch/moves.hpp"
#include "takeover/write_through.hpp"

namespace enishi::cli {

struct App {
  Settings settings;
  std::string version = ENISHI_VERSION;
  Shards& shards;
  Offload& offload;
  std::vector<std::unique_ptr<pg::Database>> databases;  ///< one a shard, by its index
  int schema_version = 0;                                ///< newest migration of this binary
  std::unique_ptr<auth::Gate> gate = {};
  std::unique_ptr<jobs::Scheduler> jobs = {};                         ///< on shard 0
  std::unique_ptr<crm::imports::Runner> imports = {};                 ///< on shard 0
  takeover::Controls takeover = {};                                   ///< what the API can make a takeover do
  std::unique_ptr<takeover::Mirrors> mirrors = {};                    ///< on a thread of its own
  std::vector<std::unique_ptr<takeover::WriteThrough>> through = {};  ///< one a shard, by its index
  std::unique_ptr<takeover::Keeper> keeper = {};                      ///< on shard 0
  std::atomic<bool> stopping{false};

  /// The shard's database: the only one a handler on that shard may use.
  pg::Database& database(const Shard& shard) { return *databases[shard.index()]; }
};

/// Opens nothing: a Database connects when it is first used.
void open_databases(App& app, const pg::Config& config);

/// The gatekeeper over the databases that are open; with none, its operations can be listed only.
void open_gate(App& app);

/// Edits of what legacy systems own go to them.
void open_write_through(App& app, const pg::Config& config);

/// The periodic jobs of all modules and the imports that were started, on shard 0; they end with jobs->stop() and imports->stop().
void start_jobs(App& app);

/// Routes of every module, health and metrics. The server that serves them maps exceptions with auth::map_exception.
void mount_all(http::Router& router, App& app);

}  // namespace enishi::cli

// What the API can make a running takeover do. cli/app.cpp fills it with the functions of mirror, diff and switch; what is left empty
// answers 503 TAKEOVER_NOT_RUNNING. Each function starts something that goes on by itself and is seen in its table; errors are what a user
// can act on (409 MOVE_RUNNING, REJECTS_OPEN, DIFF_MISSING, DIFF_FOUND, DIFF_TOO_OLD, ILLEGAL_TRANSITION …).
//
//   Controls controls;
//   controls.start_switch = [&runner](pg::Database& db, std::string domain, std::string actor) { return runner.start_switch(db, domain,
//   actor); }; takeover::mount(router, gate, std::move(controls));
#pragma once
#include <functional>
#include <string>

#include "base/error.hpp"
#include "base/id.hpp"
#include "io/task.hpp"
#include "pg/database.hpp"

namespace enishi::takeover {

struct Controls {
  /// Called on any shard with that shard's database; `actor` is what history writes down.
  using Start = std::function<Task<Result<Uuid>>(pg::Database& db, std::string domain, std::string actor)>;
  Start start_switch;       ///< the id of takeover_move
  Start start_revert;       ///< the id of takeover_move
  Start start_completion;   ///< the id of takeover_move
  Start start_unlock;       ///< the id of takeover_move
  Start start_abandonment;  ///< the id of takeover_move
  Start start_diff;         ///< the id of takeover_diff_run
  Start start_repair;       ///< the same: of the comparison that follows
  /// What the switch would refuse, asked at both sides: [{"check": "REVERSE", "ok": true, "detail": "…"}].
  std::function<Task<Result<std::string>>(pg::Database& db, std::string domain)> preflight;
};

}  // namespace enishi::takeover

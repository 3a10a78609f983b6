// The takeover as an API: /v1/takeover/… for states, progress, rejects, diffs and moves; /v1/legacy/… for what became of a key of a legacy
// system.
#pragma once
#include "auth/call.hpp"
#include "takeover/api/controls.hpp"

namespace enishi::takeover {

/// `controls` outlives the router.
void mount(http::Router& router, auth::Gatekeeper& gate, const Controls& controls);

/// Sets the gauges of /metrics from the tables: a job of the server, every few seconds.
Task<> observe(pg::Database& db, Deadline deadline);

}  // namespace enishi::takeover

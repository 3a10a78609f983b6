// How safe the data is, for the operations page: /v1/continuity. The guardian of the database's backups (src/cluster/guardian.hpp) writes
// its status into the database with every heartbeat, so any server of this database can show it; a database that others look after has
// none, and says so.
#pragma once
#include "auth/call.hpp"

namespace enishi::crm::continuity {

void mount(http::Router& router, auth::Gatekeeper& gate);

}  // namespace enishi::crm::continuity

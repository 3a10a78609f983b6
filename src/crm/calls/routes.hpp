// The operations of calls (api/calls.yaml), for cli to mount and tests to serve.
#pragma once
#include "auth/call.hpp"

namespace enishi::crm::calls {

void mount(http::Router& router, auth::Gatekeeper& gate);

}  // namespace enishi::crm::calls

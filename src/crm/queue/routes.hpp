// The operations of queue (api/queue.yaml), for cli to mount and tests to serve.
#pragma once
#include "auth/call.hpp"

namespace enishi::crm::queue {

void mount(http::Router& router, auth::Gatekeeper& gate);

}  // namespace enishi::crm::queue

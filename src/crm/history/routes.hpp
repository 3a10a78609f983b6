// The operations of history: /v1/history, /v1/history/{table}/{row_id}, /v1/events.
#pragma once
#include "auth/call.hpp"

namespace enishi::crm::history {

void mount(http::Router& router, auth::Gatekeeper& gate);

}  // namespace enishi::crm::history

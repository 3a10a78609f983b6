// The operations of imports: /v1/imports.
#pragma once
#include "auth/call.hpp"

namespace enishi::crm::imports {

void mount(http::Router& router, auth::Gatekeeper& gate);

}  // namespace enishi::crm::imports

// The operations of inquiries (api/inquiries.yaml), for cli to mount and tests to serve.
#pragma once
#include "auth/call.hpp"

namespace enishi::crm::inquiries {

void mount(http::Router& router, auth::Gatekeeper& gate);

}  // namespace enishi::crm::inquiries

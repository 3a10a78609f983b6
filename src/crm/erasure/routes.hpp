// The operations of erasure: /v1/customers/{customer_id}/erasure, /v1/erasures.
#pragma once
#include "auth/call.hpp"

namespace enishi::crm::erasure {

void mount(http::Router& router, auth::Gatekeeper& gate);

}  // namespace enishi::crm::erasure

// The operations of customers: /v1/customers, their phones, addresses and emails, /v1/screen-pop, /v1/postal-codes.
#pragma once
#include "auth/call.hpp"

namespace enishi::crm::customers {

void mount(http::Router& router, auth::Gatekeeper& gate);

}  // namespace enishi::crm::customers

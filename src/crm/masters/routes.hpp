// The operations of master data: /v1/media-sources, /v1/item-categories, /v1/custom-fields. Short lists, so a list is one page.
#pragma once
#include "auth/call.hpp"

namespace enishi::crm::masters {

void mount(http::Router& router, auth::Gatekeeper& gate);

}  // namespace enishi::crm::masters

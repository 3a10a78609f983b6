// Operations of compliance (api/compliance.yaml): solicitation requests, bans, rules, views of personal data.
//
//   crm::compliance::mount(router, gate);
#pragma once
#include "auth/call.hpp"

namespace enishi::crm::compliance {

void mount(http::Router& router, auth::Gatekeeper& gate);

}  // namespace enishi::crm::compliance

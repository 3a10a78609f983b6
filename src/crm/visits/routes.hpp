// Operations of visits (api/visits.yaml): areas, appraisers, slots, availability, appointments.
//
//   crm::visits::mount(router, gate);
#pragma once
#include "auth/call.hpp"

namespace enishi::crm::visits {

void mount(http::Router& router, auth::Gatekeeper& gate);

}  // namespace enishi::crm::visits

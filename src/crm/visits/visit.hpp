// Areas, appraisers, slots and appointments (アポ). What an appointment may do is in the database (db/migrations/0007_visits.sql), for no
// import, script or second client gets past it there; here are the inputs and one function an operation, each one trip.
//
// A booking is one statement wherever it is made. The end of a call puts it into its own transaction:
//
//   steps.push_back({sql::calls::book, pg::params(...)});     // in its .sql file:
//   select b.id, b.version from take_appointment('BOOKED', $1 /*id*/, $2 /*inquiry*/, $3 /*slot*/, $4 /*appraiser*/, $5 /*address*/,
//     $6 /*solicitation request*/, $7::uuid[] /*categories*/, $8 /*starts, null: the slot's*/, $9 /*ends*/, $10 /*notes*/, $11 /*owner*/,
//     $12 /*team*/) b
//
// It raises every refusal by its code (SLOT_FULL, APPRAISER_BOOKED, INQUIRY_HAS_APPOINTMENT, NO_SOLICITATION_REQUEST …), moves the inquiry
// to APPOINTED, cancels its calls that wait (SCHEDULED, READY) and plans the PRE_VISIT call. Calls in hand (ASSIGNED, IN_CALL, WRAP_UP)
// stay.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "auth/call.hpp"

namespace enishi::crm::visits {

using auth::Answering;
using auth::Call;

struct ServiceArea {
  Uuid id;
  std::optional<std::string> name;
  std::optional<Uuid> team_id;
  bool team_given = false;  ///< PATCH: null takes the team away
  std::optional<bool> active;
  std::optional<std::vector<std::string>> postal_prefixes;  ///< all of them; 3 to 7 digits each
};
Answering create_service_area(Call& call, ServiceArea area);
Answering update_service_area(Call& call, ServiceArea area, std::int64_t version);

struct Appraiser {
  Uuid id;
  std::optional<std::string> display_name;
  std::optional<Uuid> user_id;
  bool user_given = false;
  std::optional<std::vector<Uuid>> skills;    ///< item categories; empty: all
  std::optional<std::vector<Uuid>> area_ids;  ///< empty: all
  std::optional<Uuid> team_id;
  bool team_given = false;
  std::optional<bool> active;
};
Answering create_appraiser(Call& call, Appraiser appraiser);
/// A change that leaves booked visits without an appraiser who can make them is 409 APPRAISER_HAS_VISITS with their list, unless
/// `despite_visits`.
Answering update_appraiser(Call& call, Appraiser appraiser, std::int64_t version, bool despite_visits);

struct Hours {
  Uuid id, appraiser_id;
  std::optional<std::int64_t> weekday;  ///< 0 Sunday … 6 Saturday, or
  std::optional<std::string> day;       ///< one day that differs
  std::string from_time, to_time;       ///< HH:MM in the business time zone; 24:00 is the end of the day
  std::optional<bool> off;
};
Answering create_hours(Call& call, Hours hours, bool despite_visits);
Answering delete_hours(Call& call, Uuid id, bool despite_visits);

struct Slot {
  Uuid id;
  std::optional<Uuid> service_area_id;
  std::optional<std::string> starts_at, ends_at;
  std::optional<std::int64_t> capacity;
};
Answering create_slot(Call& call, Slot slot);
Answering update_slot(Call& call, Slot slot, std::int64_t version);

struct SlotPlan {
  std::vector<Uuid> service_area_ids;
  std::string from, to;  ///< days
  std::vector<std::int64_t> weekdays;
  std::string bands;  ///< JSON array of {from_time, to_time, capacity}
};
Answering plan_slots(Call& call, SlotPlan plan);

struct Place {
  std::optional<std::string> postal_code;
  std::optional<Uuid> address_id;
  std::string from, to;
  std::vector<Uuid> category_ids;
  std::int64_t minutes = 60;  ///< that a visit takes
};
/// Slots with free capacity, and for each who has a gap of at least `minutes`: on duty, of the area, skilled, with no other visit.
Answering availability(Call& call, Place place);

struct Booking {
  Uuid id, inquiry_id, slot_id, appraiser_id;
  bool held = false;  ///< HELD until the rule appointment_hold_seconds has passed; else BOOKED at once
  std::optional<Uuid> address_id, solicitation_request_id;
  std::optional<std::vector<Uuid>> category_ids;
  std::optional<std::string> starts_at, ends_at;  ///< the whole slot when absent
  std::string notes;
};
Answering create_appointment(Call& call, Booking booking);

struct Change {  ///< absent keeps what is there
  std::optional<std::string> notes;
  std::optional<Uuid> address_id, solicitation_request_id;
  std::optional<std::vector<Uuid>> category_ids;
};
Answering book_held(Call& call, Uuid id, Change change);
Answering edit(Call& call, Uuid id, std::int64_t version, Change change);

/// CONFIRMED, EN_ROUTE, ARRIVED, COMPLETED; COMPLETED needs the customer's word at the door.
Answering advance(Call& call, Uuid id, std::string to_state, bool door_confirmed = false);

struct End {
  std::string to_state;  ///< CANCELLED, NO_SHOW
  std::optional<std::string> by, reason;
  std::optional<std::string> call_kind, call_due_at;  ///< NURTURE or FOLLOW_UP; compulsory unless the appointment was HELD only
};
/// The inquiry goes back to NURTURING and somebody calls at call_due_at, in the same transaction.
Answering end(Call& call, Uuid id, End how);

struct Move {
  Uuid new_id, slot_id;
  std::optional<Uuid> appraiser_id, address_id, solicitation_request_id;
  std::optional<std::vector<Uuid>> category_ids;
  std::optional<std::string> starts_at, ends_at;
};
/// The old one RESCHEDULED, the new one BOOKED, or nothing; also into its own old place.
Answering reschedule(Call& call, Uuid id, Move move);

}  // namespace enishi::crm::visits

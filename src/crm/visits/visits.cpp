#include "crm/visits/visit.hpp"
#include "crm/visits/visits.sql.hpp"

namespace enishi::crm::visits {
namespace {

using http::Answer;
using pg::params;
namespace statements = sql::visits;

struct Refusal {
  std::string_view constraint;
  Kind kind;
  const char* code;
  const char* detail;
};
constexpr Refusal refusals[] = {
    {"service_area_name", Kind::conflict, "NAME_TAKEN", "Another area has this name; choose another one."},
    {"service_area_postal_pkey", Kind::conflict, "POSTAL_PREFIX_TAKEN",
     "One of the postal prefixes belongs to another area; take it from there first."},
    {"service_area_team_id_fkey", Kind::unprocessable, "TEAM_NOT_FOUND", "There is no such team."},
    {"appraiser_team_id_fkey", Kind::unprocessable, "TEAM_NOT_FOUND", "There is no such team."},
    {"appraiser_user_id_fkey", Kind::unprocessable, "USER_NOT_FOUND", "There is no such user."},
    {"appraiser_user_id_key", Kind::conflict, "USER_TAKEN", "Another appraiser is this user."},
    {"appraiser_hours_check1", Kind::unprocessable, "HOURS_INVALID", "from_time comes before to_time."},
    {"visit_slot_band", Kind::conflict, "SLOT_EXISTS", "This area has a slot of this time already; change that one's capacity."},
    {"visit_slot_check", Kind::unprocessable, "SLOT_INVALID", "A slot ends after it starts, and lasts 12 hours at most."},
    {"appointment_address_id_fkey", Kind::unprocessable, "ADDRESS_REQUIRED", "A visit needs one of the customer's addresses."},
    {"appointment_solicitation_request_id_fkey", Kind::unprocessable, "NO_SOLICITATION_REQUEST",
     "There is no such request; record the customer's own request first."},
    {"appointment_check", Kind::unprocessable, "OUTSIDE_SLOT", "A visit ends after it starts."},
};

/// A broken constraint in the words of this slice.
Error in_words(Error error) {
  for (const auto& known : refusals)
    if (error.extra.find("\"constraint\":\"" + std::string(known.constraint) + "\"") != std::string::npos)
      return {known.kind, known.code, known.detail, {}, std::move(error.extra), 0};
  return error;
}

Error taken() { return {Kind::conflict, "ID_TAKEN", "Another record has this id; make a new one.", {}, {}, 0}; }
Error nothing() { return auth::not_found().value(); }

/// One trip. `none` is what no row means.
Answering in_one_trip(Call& call, std::vector<pg::Step> steps, int status, Error none) {
  auto done = co_await call.write(std::move(steps), status);
  if (!done) co_return tl::make_unexpected(in_words(std::move(done.error())));
  if (!*done) co_return tl::make_unexpected(std::move(none));
  co_return std::move(**done);
}

Answering in_one_trip(Call& call, const pg::Statement& statement, pg::Params values, int status, Error none) {
  std::vector<pg::Step> steps;
  steps.push_back({statement, std::move(values)});
  co_return co_await in_one_trip(call, std::move(steps), status, std::move(none));
}

}  // namespace

Answering create_service_area(Call& call, ServiceArea area) {
  std::vector<pg::Step> steps;
  steps.push_back({statements::insert_service_area, params(area.id, area.name, area.team_id, area.active)});
  steps.push_back({statements::add_postal_prefixes, params(area.id, area.postal_prefixes)});
  steps.push_back({statements::made_service_area, params(area.id, area.name, area.team_id)});
  co_return co_await in_one_trip(call, std::move(steps), 201, taken());
}

Answering update_service_area(Call& call, ServiceArea area, std::int64_t version) {
  std::vector<pg::Step> steps;
  steps.push_back({statements::require_service_area, params(area.id, version)});
  steps.push_back({statements::update_service_area, params(area.id, area.name, area.active, area.team_given, area.team_id)});
  steps.push_back({statements::drop_postal_prefixes, params(area.id, area.postal_prefixes)});
  steps.push_back({statements::add_postal_prefixes, params(area.id, area.postal_prefixes)});
  steps.push_back({statements::changed_service_area, params(area.id)});
  co_return co_await in_one_trip(call, std::move(steps), 200, nothing());
}

Answering create_appraiser(Call& call, Appraiser appraiser) {
  std::vector<pg::Step> steps;
  steps.push_back({statements::insert_appraiser, params(appraiser.id, appraiser.display_name, appraiser.user_id, appraiser.skills,
                                                        appraiser.area_ids, appraiser.team_id, appraiser.active)});
  steps.push_back({statements::made_appraiser, params(appraiser.id, appraiser.display_name, appraiser.user_id)});
  co_return co_await in_one_trip(call, std::move(steps), 201, taken());
}

Answering update_appraiser(Call& call, Appraiser appraiser, std::int64_t version, bool despite_visits) {
  std::vector<pg::Step> steps;
  steps.push_back({statements::require_appraiser, params(appraiser.id, version)});
  steps.push_back({statements::note_visits_in_doubt, params(appraiser.id)});
  steps.push_back(
      {statements::update_appraiser, params(appraiser.id, appraiser.display_name, appraiser.user_given, appraiser.user_id, appraiser.skills,
                                            appraiser.area_ids, appraiser.team_given, appraiser.team_id, appraiser.active)});
  steps.push_back({statements::refuse_visits_in_doubt, params(appraiser.id, despite_visits)});
  steps.push_back({statements::changed_appraiser, params(appraiser.id)});
  co_return co_await in_one_trip(call, std::move(steps), 200, nothing());
}

Answering create_hours(Call& call, Hours hours, bool despite_visits) {
  std::vector<pg::Step> steps;
  steps.push_back({statements::note_visits_in_doubt, params(hours.appraiser_id)});
  steps.push_back({statements::insert_hours,
                   params(hours.id, hours.appraiser_id, hours.weekday, hours.day, hours.from_time, hours.to_time, hours.off)});
  steps.push_back({statements::refuse_visits_in_doubt, params(hours.appraiser_id, despite_visits)});
  steps.push_back({statements::made_hours, params(hours.id, hours.appraiser_id, hours.weekday, hours.day)});
  auto done = co_await in_one_trip(call, std::move(steps), 201, taken());
  if (done || done.error().code != "ID_TAKEN") co_return done;
  auto there = co_await call.db().read(statements::get_appraiser, params(hours.appraiser_id), call.request.deadline);
  if (there && there->empty()) co_return tl::make_unexpected(nothing());
  co_return done;
}

Answering delete_hours(Call& call, Uuid id, bool despite_visits) {
  std::vector<pg::Step> steps;
  steps.push_back({statements::note_visits_of_hours, params(id)});
  steps.push_back({statements::delete_hours, params(id)});
  steps.push_back({statements::refuse_visits_of_hours, params(id, despite_visits)});
  steps.push_back({statements::gone_hours, params(id)});
  co_return co_await in_one_trip(call, std::move(steps), 200, nothing());
}

Answering create_slot(Call& call, Slot slot) {
  std::vector<pg::Step> steps;
  steps.push_back({statements::insert_slot, params(slot.id, slot.service_area_id, slot.starts_at, slot.ends_at, slot.capacity)});
  steps.push_back({statements::made_slot, params(slot.id, slot.service_area_id, slot.starts_at, slot.ends_at, slot.capacity)});
  auto done = co_await in_one_trip(call, std::move(steps), 201, taken());
  if (done || done.error().code != "ID_TAKEN") co_return done;
  auto there = co_await call.db().read(statements::get_service_area, params(slot.service_area_id), call.request.deadline);
  if (there && there->empty())
    co_return fail(Kind::unprocessable, "AREA_NOT_FOUND", "There is no such service area.",
                   {{"/service_area_id", "AREA_NOT_FOUND", "no such area"}});
  co_return done;
}

Answering update_slot(Call& call, Slot slot, std::int64_t version) {
  std::vector<pg::Step> steps;
  steps.push_back({statements::require_slot, params(slot.id, version)});
  steps.push_back({statements::update_slot, params(slot.id, slot.capacity, slot.starts_at, slot.ends_at)});
  co_return co_await in_one_trip(call, std::move(steps), 200, nothing());
}

Answering plan_slots(Call& call, SlotPlan plan) {
  Error unknown{Kind::unprocessable,
                "AREA_NOT_FOUND",
                "One of these service areas does not exist.",
                {{"/service_area_ids", "AREA_NOT_FOUND", "no such area"}},
                {},
                0};
  co_return co_await in_one_trip(call, statements::plan_slots, params(plan.service_area_ids, plan.from, plan.to, plan.weekdays, plan.bands),
                                 201, std::move(unknown));
}

Answering availability(Call& call, Place place) {
  auto rows = co_await call.db().run(statements::availability,
                                     params(place.postal_code, place.address_id, place.from, place.to, place.category_ids, place.minutes),
                                     call.request.deadline);
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  if (!rows->boolean(0, 1))
    co_return fail(Kind::unprocessable, "ADDRESS_NOT_FOUND", "There is no such address.",
                   {{"?address_id", "ADDRESS_NOT_FOUND", "no such address"}});
  co_return Answer::json(std::string(rows->text(0, 0)));
}

Answering create_appointment(Call& call, Booking booking) {
  std::vector<pg::Step> steps;
  steps.push_back({statements::assert_inquiry_scope, params(booking.inquiry_id, call.rights())});
  steps.push_back(
      {statements::take_appointment, params(booking.held ? "HELD" : "BOOKED", booking.id, booking.inquiry_id, booking.slot_id,
                                            booking.appraiser_id, booking.address_id, booking.solicitation_request_id, booking.category_ids,
                                            booking.starts_at, booking.ends_at, booking.notes, call.user(), call.who.team)});
  co_return co_await in_one_trip(call, std::move(steps), 201, nothing());
}

Answering book_held(Call& call, Uuid id, Change change) {
  co_return co_await in_one_trip(call, statements::book_held,
                                 params(id, change.address_id, change.solicitation_request_id, change.category_ids, call.rights()), 200,
                                 nothing());
}

Answering edit(Call& call, Uuid id, std::int64_t version, Change change) {
  co_return co_await in_one_trip(
      call, statements::edit,
      params(id, version, change.notes, change.address_id, change.solicitation_request_id, change.category_ids, call.rights()), 200,
      nothing());
}

Answering advance(Call& call, Uuid id, std::string to_state, bool door_confirmed) {
  co_return co_await in_one_trip(call, statements::advance, params(id, to_state, door_confirmed, call.rights()), 200, nothing());
}

Answering end(Call& call, Uuid id, End how) {
  co_return co_await in_one_trip(call, statements::end_visit,
                                 params(id, how.to_state, how.by, how.reason, how.call_kind, how.call_due_at, call.rights()), 200,
                                 nothing());
}

Answering reschedule(Call& call, Uuid id, Move move) {
  co_return co_await in_one_trip(call, statements::reschedule,
                                 params(id, move.new_id, move.slot_id, move.appraiser_id, move.address_id, move.solicitation_request_id,
                                        move.category_ids, move.starts_at, move.ends_at, call.user(), call.rights()),
                                 201, nothing());
}

}  // namespace enishi::crm::visits

// Operations of visits (api/visits.yaml).
#include "crm/visits/routes.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <chrono>

#include "crm/visits/visit.hpp"
#include "crm/visits/visits.sql.hpp"

namespace enishi::crm::visits {
namespace {

using auth::Operation;
using http::Answer;
using http::Decoder;
using http::Method;
using http::QueryDecoder;
using pg::params;
namespace statements = sql::visits;

Answering list_service_areas(Call& call);
Answering post_service_area(Call& call);
Answering get_service_area(Call& call, Uuid id);
Answering patch_service_area(Call& call, Uuid id, std::int64_t version);
Answering list_appraisers(Call& call);
Answering post_appraiser(Call& call);
Answering get_appraiser(Call& call, Uuid id);
Answering patch_appraiser(Call& call, Uuid id, std::int64_t version);
Answering post_hours(Call& call, Uuid appraiser);
Answering drop_hours(Call& call, Uuid id);
Answering list_visit_slots(Call& call);
Answering post_slot(Call& call);
Answering post_slot_plan(Call& call);
Answering patch_slot(Call& call, Uuid id, std::int64_t version);
Answering get_availability(Call& call);
Answering list_appointments(Call& call);
Answering post_appointment(Call& call);
Answering get_appointment(Call& call, Uuid id);
Answering patch_appointment(Call& call, Uuid id, std::int64_t version);
Answering post_booking(Call& call, Uuid id);
Answering post_confirmation(Call& call, Uuid id);
Answering post_departure(Call& call, Uuid id);
Answering post_arrival(Call& call, Uuid id);
Answering post_completion(Call& call, Uuid id);
Answering post_no_show(Call& call, Uuid id);
Answering post_cancellation(Call& call, Uuid id);
Answering post_reschedule(Call& call, Uuid id);

const Operation operations[] = {
    {Method::get, "/v1/service-areas", "list_service_areas", list_service_areas},
    {Method::post, "/v1/service-areas", "create_service_area", post_service_area},
    {Method::get, "/v1/service-areas/{service_area_id}", "get_service_area", get_service_area},
    {Method::patch, "/v1/service-areas/{service_area_id}", "update_service_area", patch_service_area},
    {Method::get, "/v1/appraisers", "list_appraisers", list_appraisers},
    {Method::post, "/v1/appraisers", "create_appraiser", post_appraiser},
    {Method::get, "/v1/appraisers/{appraiser_id}", "get_appraiser", get_appraiser},
    {Method::patch, "/v1/appraisers/{appraiser_id}", "update_appraiser", patch_appraiser},
    {Method::post, "/v1/appraisers/{appraiser_id}/hours", "create_appraiser_hours", post_hours},
    {Method::del, "/v1/appraiser-hours/{appraiser_hours_id}", "delete_appraiser_hours", drop_hours},
    {Method::get, "/v1/visit-slots", "list_visit_slots", list_visit_slots},
    {Method::post, "/v1/visit-slots", "create_visit_slot", post_slot},
    {Method::get, "/v1/visit-slots/availability", "get_availability", get_availability},
    {Method::patch, "/v1/visit-slots/{visit_slot_id}", "update_visit_slot", patch_slot},
    {Method::post, "/v1/visit-slot-plans", "create_visit_slot_plan", post_slot_plan},
    {Method::get, "/v1/appointments", "list_appointments", list_appointments},
    {Method::post, "/v1/appointments", "create_appointment", post_appointment, {.views = "appointment"}},
    {Method::get, "/v1/appointments/{appointment_id}", "get_appointment", get_appointment, {.views = "appointment"}},
    {Method::patch, "/v1/appointments/{appointment_id}", "update_appointment", patch_appointment, {.views = "appointment"}},
    {Method::post, "/v1/appointments/{appointment_id}/booking", "book_appointment", post_booking, {.views = "appointment"}},
    {Method::post, "/v1/appointments/{appointment_id}/confirmation", "confirm_appointment", post_confirmation, {.views = "appointment"}},
    {Method::post, "/v1/appointments/{appointment_id}/departure", "depart_appointment", post_departure, {.views = "appointment"}},
    {Method::post, "/v1/appointments/{appointment_id}/arrival", "arrive_appointment", post_arrival, {.views = "appointment"}},
    {Method::post, "/v1/appointments/{appointment_id}/completion", "complete_appointment", post_completion, {.views = "appointment"}},
    {Method::post, "/v1/appointments/{appointment_id}/no-show", "mark_no_show", post_no_show, {.views = "appointment"}},
    {Method::post, "/v1/appointments/{appointment_id}/cancellation", "cancel_appointment", post_cancellation, {.views = "appointment"}},
    {Method::post, "/v1/appointments/{appointment_id}/reschedule", "reschedule_appointment", post_reschedule, {.views = "appointment"}},
};

// Reading ----------------------------------------------------------------------------------------------------------------

bool digits(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// HH:MM, 00:00 to 24:00.
bool clock_time(std::string_view text) {
  if (text == "24:00") return true;
  return text.size() == 5 && text[2] == ':' && digits(text.substr(0, 2)) && digits(text.substr(3)) && text.substr(0, 2) < "24" &&
         text.substr(3) < "60";
}

std::string time_of_day(Decoder& in, std::string_view name) {
  auto value = in.text(name, {.required = true, .max = 5}).value_or("");
  if (!value.empty() && !clock_time(value)) in.error(name, "FORMAT", "a time of day, HH:MM");
  return value;
}

std::optional<std::vector<std::string>> prefixes(Decoder& in) {
  auto list = in.texts("postal_prefixes", 1000, {.min = 3, .max = 7});
  if (list)
    for (const auto& prefix : *list)
      if (!digits(prefix)) {
        in.error("postal_prefixes", "FORMAT", "each is 3 to 7 digits");
        break;
      }
  return list;
}

std::chrono::sys_days day_of(std::string_view date) {
  const auto number = [&](std::size_t from, std::size_t n) {
    int v = 0;
    for (const char c : date.substr(from, n)) v = v * 10 + (c - '0');
    return v;
  };
  return std::chrono::year_month_day{std::chrono::year(number(0, 4)), std::chrono::month(static_cast<unsigned>(number(5, 2))),
                                     std::chrono::day(static_cast<unsigned>(number(8, 2)))};
}

/// Days from `from` to `to`, both included; 0 when they are the wrong way round.
std::int64_t days(const std::string& from, const std::string& to) {
  return std::max<std::int64_t>(0, (day_of(to) - day_of(from)).count() + 1);
}

// Areas ------------------------------------------------------------------------------------------------------------------

Answering list_service_areas(Call& call) {
  QueryDecoder in(call.request);
  auto at = auth::finish_paging(in, pg::Params(2));
  if (!at) co_return tl::make_unexpected(std::move(at.error()));
  co_return co_await call.list(statements::list_service_areas, params(at->after[0], at->after[1], at->limit), *at);
}

Answering post_service_area(Call& call) {
  Decoder in(call.request);
  ServiceArea area;
  area.id = in.uuid("id").value_or(Uuid::make());
  area.name = in.text("name", {.required = true, .min = 1, .max = 100});
  area.team_id = in.uuid("team_id");
  area.active = in.boolean("active", {.not_null = true});
  area.postal_prefixes = prefixes(in);
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await create_service_area(call, std::move(area));
}

Answering get_service_area(Call& call, Uuid id) { return call.show(statements::get_service_area, params(id)); }

Answering patch_service_area(Call& call, Uuid id, std::int64_t version) {
  Decoder in(call.request);
  ServiceArea area;
  area.id = id;
  area.name = in.text("name", {.not_null = true, .min = 1, .max = 100});
  area.team_given = in.present("team_id");
  area.team_id = in.uuid("team_id");
  area.active = in.boolean("active", {.not_null = true});
  area.postal_prefixes = prefixes(in);
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await update_service_area(call, std::move(area), version);
}

// Appraisers -------------------------------------------------------------------------------------------------------------

Answering list_appraisers(Call& call) {
  QueryDecoder in(call.request);
  const auto area = in.uuid("service_area_id");
  auto at = auth::finish_paging(in, pg::Params(2));
  if (!at) co_return tl::make_unexpected(std::move(at.error()));
  co_return co_await call.list(statements::list_appraisers, params(at->after[0], at->after[1], at->limit, area), *at);
}

Appraiser read_appraiser(Decoder& in, bool creating) {
  Appraiser out;
  out.display_name = in.text("display_name", {.required = creating, .not_null = true, .min = 1, .max = 200});
  out.user_given = in.present("user_id");
  out.user_id = in.uuid("user_id");
  out.skills = in.uuids("skills", 200, {.not_null = true});
  out.area_ids = in.uuids("area_ids", 1000, {.not_null = true});
  out.team_given = in.present("team_id");
  out.team_id = in.uuid("team_id");
  out.active = in.boolean("active", {.not_null = true});
  return out;
}

Answering post_appraiser(Call& call) {
  Decoder in(call.request);
  auto appraiser = read_appraiser(in, true);
  appraiser.id = in.uuid("id").value_or(Uuid::make());
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await create_appraiser(call, std::move(appraiser));
}

Answering get_appraiser(Call& call, Uuid id) { return call.show(statements::get_appraiser, params(id)); }

Result<bool> despite_visits(const Call& call) {
  QueryDecoder in(call.request);
  const bool despite = in.boolean("despite_visits").value_or(false);
  if (auto bad = in.finish()) return *bad;
  return despite;
}

Answering patch_appraiser(Call& call, Uuid id, std::int64_t version) {
  Decoder in(call.request);
  auto appraiser = read_appraiser(in, false);
  appraiser.id = id;
  if (auto bad = in.finish()) co_return *bad;
  const auto despite = despite_visits(call);
  if (!despite) co_return tl::make_unexpected(despite.error());
  co_return co_await update_appraiser(call, std::move(appraiser), version, *despite);
}

Answering post_hours(Call& call, Uuid appraiser) {
  Decoder in(call.request);
  Hours hours;
  hours.id = in.uuid("id").value_or(Uuid::make());
  hours.appraiser_id = appraiser;
  hours.weekday = in.integer("weekday", {.min = 0, .max = 6});
  hours.day = in.date("day");
  hours.from_time = time_of_day(in, "from_time");
  hours.to_time = time_of_day(in, "to_time");
  hours.off = in.boolean("off", {.not_null = true});
  if (hours.weekday.has_value() == hours.day.has_value()) in.error("weekday", "REQUIRED", "either weekday or day, and not both");
  if (clock_time(hours.from_time) && clock_time(hours.to_time) && hours.from_time >= hours.to_time)
    in.error("to_time", "RANGE", "comes after from_time");
  if (auto bad = in.finish()) co_return *bad;
  const auto despite = despite_visits(call);
  if (!despite) co_return tl::make_unexpected(despite.error());
  co_return co_await create_hours(call, std::move(hours), *despite);
}

Answering drop_hours(Call& call, Uuid id) {
  const auto despite = despite_visits(call);
  if (!despite) co_return tl::make_unexpected(despite.error());
  co_return co_await delete_hours(call, id, *despite);
}

// Slots ------------------------------------------------------------------------------------------------------------------

Answering list_visit_slots(Call& call) {
  QueryDecoder in(call.request);
  const auto area = in.uuid("service_area_id");
  const auto from = in.date("from", {.required = true});
  const auto to = in.date("to", {.required = true});
  if (from && to && (days(*from, *to) < 1 || days(*from, *to) > 92)) in.error("to", "RANGE", "from 1 to 92 days");
  auto at = auth::finish_paging(in, pg::Params(2));
  if (!at) co_return tl::make_unexpected(std::move(at.error()));
  const auto& statement = area ? statements::list_slots_of_area : statements::list_slots;
  auto values =
      area ? params(area, from, to, at->after[0], at->after[1], at->limit) : params(from, to, at->after[0], at->after[1], at->limit);
  co_return co_await call.list(statement, std::move(values), *at);
}

Answering post_slot(Call& call) {
  Decoder in(call.request);
  Slot slot;
  slot.id = in.uuid("id").value_or(Uuid::make());
  slot.service_area_id = in.uuid("service_area_id", {.required = true});
  slot.starts_at = in.timestamp("starts_at", {.required = true});
  slot.ends_at = in.timestamp("ends_at", {.required = true});
  slot.capacity = in.integer("capacity", {.required = true, .min = 0, .max = 1000});
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await create_slot(call, std::move(slot));
}

Answering patch_slot(Call& call, Uuid id, std::int64_t version) {
  Decoder in(call.request);
  Slot slot;
  slot.id = id;
  slot.starts_at = in.timestamp("starts_at", {.not_null = true});
  slot.ends_at = in.timestamp("ends_at", {.not_null = true});
  slot.capacity = in.integer("capacity", {.not_null = true, .min = 0, .max = 1000});
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await update_slot(call, std::move(slot), version);
}

Answering post_slot_plan(Call& call) {
  Decoder in(call.request);
  SlotPlan plan;
  plan.service_area_ids = in.uuids("service_area_ids", 100, {.required = true}).value_or(std::vector<Uuid>{});
  plan.from = in.date("from", {.required = true}).value_or("");
  plan.to = in.date("to", {.required = true}).value_or("");
  if (!plan.from.empty() && !plan.to.empty() && (days(plan.from, plan.to) < 1 || days(plan.from, plan.to) > 92))
    in.error("to", "RANGE", "from 1 to 92 days");
  if (const auto raw = in.raw("weekdays", {.required = true, .max = 64})) {
    const auto list = boost::json::parse(*raw);
    bool fits = list.is_array() && !list.get_array().empty();
    if (fits)
      for (const auto& day : list.get_array()) {
        if (day.is_int64() && day.get_int64() >= 0 && day.get_int64() <= 6)
          plan.weekdays.push_back(day.get_int64());
        else
          fits = false;
      }
    if (!fits) in.error("weekdays", "RANGE", "an array of numbers from 0 (Sunday) to 6 (Saturday)");
  }
  plan.bands = "[";
  in.each("bands", 24,
          [&plan](Decoder& band) {
            const auto from = time_of_day(band, "from_time");
            const auto to = time_of_day(band, "to_time");
            const auto capacity = band.integer("capacity", {.required = true, .min = 0, .max = 1000}).value_or(0);
            if (clock_time(from) && clock_time(to) && from >= to) band.error("to_time", "RANGE", "comes after from_time");
            if (plan.bands.size() > 1) plan.bands += ',';
            plan.bands += R"({"from_time":")" + from + R"(","to_time":")" + to + R"(","capacity":)" + std::to_string(capacity) + "}";
          },
          {.required = true});
  plan.bands += "]";
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await plan_slots(call, std::move(plan));
}

Answering get_availability(Call& call) {
  QueryDecoder in(call.request);
  Place place;
  place.postal_code = in.text("postal_code", {.min = 7, .max = 7});
  if (place.postal_code && !digits(*place.postal_code)) in.error("postal_code", "FORMAT", "7 digits");
  place.address_id = in.uuid("address_id");
  if (place.postal_code.has_value() == place.address_id.has_value() && !in.present("postal_code") && !in.present("address_id"))
    in.error("postal_code", "REQUIRED", "postal_code or address_id");
  place.from = in.date("from", {.required = true}).value_or("");
  place.to = in.date("to", {.required = true}).value_or("");
  if (!place.from.empty() && !place.to.empty() && (days(place.from, place.to) < 1 || days(place.from, place.to) > 31))
    in.error("to", "RANGE", "from 1 to 31 days");
  for (const auto& text : in.texts("category_ids", 50, {.max = 36})) {
    if (auto id = Uuid::parse(text))
      place.category_ids.push_back(*id);
    else
      in.error("category_ids", "FORMAT", "each is a UUID");
  }
  place.minutes = in.integer("minutes", {.min = 10, .max = 720}).value_or(60);
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await availability(call, std::move(place));
}

// Appointments -----------------------------------------------------------------------------------------------------------

Answering list_appointments(Call& call) {
  QueryDecoder in(call.request);
  const auto view = in.choice("view", {"day", "customer", "mine"}, {.required = true}).value_or("");
  std::optional<std::string> day, from;
  std::optional<Uuid> appraiser, area, customer;
  if (view == "day") {
    day = in.date("day", {.required = true});
    appraiser = in.uuid("appraiser_id");
    area = in.uuid("service_area_id");
  } else if (view == "customer") {
    customer = in.uuid("customer_id", {.required = true});
  } else if (view == "mine") {
    from = in.date("from");
  }
  auto at = auth::finish_paging(in, pg::Params(2));
  if (!at) co_return tl::make_unexpected(std::move(at.error()));
  const pg::Statement* statement = &statements::appointments_of_mine;
  pg::Params values = params(call.user(), at->limit, from, at->after[0], at->after[1]);
  if (view == "customer") {
    statement = &statements::appointments_of_customer;
    values = params(call.rights(), at->limit, customer, at->after[0], at->after[1]);
  } else if (view == "day") {
    statement = appraiser ? &statements::appointments_of_appraiser
                : area    ? &statements::appointments_of_area
                          : &statements::appointments_of_day;
    values = params(call.rights(), at->limit, day, at->after[0], at->after[1]);
    if (appraiser) values.push_back(pg::param(appraiser));
    if (appraiser || area) values.push_back(pg::param(area));
  }
  co_return co_await call.list(*statement, std::move(values), *at, "appointment");
}

Answering post_appointment(Call& call) {
  Decoder in(call.request);
  Booking booking;
  booking.id = in.uuid("id").value_or(Uuid::make());
  booking.held = in.choice("state", {"HELD", "BOOKED"}, {.required = true}).value_or("") == "HELD";
  booking.inquiry_id = in.uuid("inquiry_id", {.required = true}).value_or(Uuid{});
  booking.slot_id = in.uuid("slot_id", {.required = true}).value_or(Uuid{});
  booking.appraiser_id = in.uuid("appraiser_id", {.required = true}).value_or(Uuid{});
  booking.address_id = in.uuid("address_id");
  booking.solicitation_request_id = in.uuid("solicitation_request_id");
  booking.category_ids = in.uuids("category_ids", 50);
  booking.starts_at = in.timestamp("starts_at");
  booking.ends_at = in.timestamp("ends_at");
  booking.notes = in.text("notes", {.not_null = true, .max = 2000, .multiline = true}).value_or("");
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await create_appointment(call, std::move(booking));
}

Answering get_appointment(Call& call, Uuid id) { return call.show(statements::get_appointment, params(id, call.rights())); }

Change read_change(Decoder& in) {
  Change out;
  out.address_id = in.uuid("address_id", {.not_null = true});
  out.solicitation_request_id = in.uuid("solicitation_request_id", {.not_null = true});
  out.category_ids = in.uuids("category_ids", 50, {.not_null = true});
  return out;
}

Answering patch_appointment(Call& call, Uuid id, std::int64_t version) {
  Decoder in(call.request);
  auto change = read_change(in);
  change.notes = in.text("notes", {.not_null = true, .max = 2000, .multiline = true});
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await edit(call, id, version, std::move(change));
}

Answering post_booking(Call& call, Uuid id) {
  Decoder in(call.request);
  auto change = read_change(in);
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await book_held(call, id, std::move(change));
}

/// A step without a body, or with {}.
Answering step(Call& call, Uuid id, std::string to_state) {
  if (!call.request.body.empty()) {
    Decoder in(call.request);
    if (auto bad = in.finish()) co_return *bad;
  }
  co_return co_await advance(call, id, std::move(to_state));
}

Answering post_confirmation(Call& call, Uuid id) { return step(call, id, "CONFIRMED"); }
Answering post_departure(Call& call, Uuid id) { return step(call, id, "EN_ROUTE"); }
Answering post_arrival(Call& call, Uuid id) { return step(call, id, "ARRIVED"); }

Answering post_completion(Call& call, Uuid id) {
  Decoder in(call.request);
  const bool confirmed = in.boolean("willingness_confirmed", {.required = true}).value_or(false);
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await advance(call, id, "COMPLETED", confirmed);
}

void read_next_call(Decoder& in, End& out) {
  in.object("next_call", [&out](Decoder& next) {
    out.call_kind = next.choice("kind", {"NURTURE", "FOLLOW_UP"}, {.required = true});
    out.call_due_at = next.timestamp("due_at", {.required = true});
  });
}

Answering post_no_show(Call& call, Uuid id) {
  Decoder in(call.request);
  End how;
  how.to_state = "NO_SHOW";
  how.reason = in.text("reason", {.max = 1000});
  read_next_call(in, how);
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await end(call, id, std::move(how));
}

Answering post_cancellation(Call& call, Uuid id) {
  Decoder in(call.request);
  End how;
  how.to_state = "CANCELLED";
  how.by = in.choice("by", {"CUSTOMER", "COMPANY"}, {.required = true});
  how.reason = in.text("reason", {.required = true, .min = 1, .max = 1000});
  read_next_call(in, how);
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await end(call, id, std::move(how));
}

Answering post_reschedule(Call& call, Uuid id) {
  Decoder in(call.request);
  Move move;
  move.new_id = in.uuid("id").value_or(Uuid::make());
  move.slot_id = in.uuid("slot_id", {.required = true}).value_or(Uuid{});
  move.appraiser_id = in.uuid("appraiser_id");
  move.address_id = in.uuid("address_id");
  move.solicitation_request_id = in.uuid("solicitation_request_id");
  move.category_ids = in.uuids("category_ids", 50);
  move.starts_at = in.timestamp("starts_at");
  move.ends_at = in.timestamp("ends_at");
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await reschedule(call, id, std::move(move));
}

}  // namespace

void mount(http::Router& router, auth::Gatekeeper& gate) { gate.mount(router, operations); }

}  // namespace enishi::crm::visits

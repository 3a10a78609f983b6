#include "crm/inquiries/inquiries.sql.hpp"
#include "crm/inquiries/inquiry.hpp"
#include "crm/outcomes/outcome.hpp"

namespace enishi::crm::inquiries {
namespace {

using auth::Call;
using http::Answer;

/// Why a write found nothing to write, as `look` sees it: not there, an older version, or changed a moment ago.
Answering explain_nothing(Call& call, const pg::Statement& look, Uuid id, std::optional<std::int64_t> version) {
  auto rows = co_await call.db().read(look, pg::params(call.rights(), id), call.request.deadline);
  if (!rows) co_return tl::make_unexpected(rows.error());
  if (rows->empty()) co_return auth::not_found();
  const auto current = rows->integer(0, 0);
  if (version && *version != current) co_return auth::version_mismatch(current);
  co_return fail(Kind::conflict, "CHANGED_MEANWHILE", "Somebody changed it at the same moment; look again.");
}

/// The lead that has arrived before, unless it is none of the caller's: whoever guesses a reference learns only that it is taken.
Answering stored_lead(Call& call, const NewInquiry& lead) {
  auto out = co_await call.show(sql::inquiries::by_external_ref, pg::params(call.rights(), lead.media_source_id, *lead.external_ref));
  if (!out && out.error().code == "NOT_FOUND")
    co_return fail(Kind::conflict, "EXTERNAL_REF_TAKEN",
                   "An inquiry of this media source has this external_ref already, and it is not yours to see; ask your supervisor.",
                   {{"/external_ref", "EXTERNAL_REF_TAKEN", "taken"}});
  co_return out;
}

bool within_teams(const Call& call, const Uuid& team) {
  return call.granted == auth::Scope::all || std::find(call.teams().begin(), call.teams().end(), team) != call.teams().end();
}

tl::unexpected<Error> forbidden_team() {
  return fail(Kind::unprocessable, "VALIDATION_FAILED", "One field is wrong.", {{"/team_id", "FORBIDDEN_TEAM", "none of your teams"}});
}

Error explained(Error error, std::string_view table) {
  if (error.code == "CHECK_VIOLATION" && error.extra.find("working_has_next_action") != std::string::npos)
    return {Kind::unprocessable,
            "NEXT_ACTION_REQUIRED",
            "An inquiry that goes on has a next action: say what happens next.",
            {{"/next_action", "NEXT_ACTION_REQUIRED", "required"}},
            {},
            0};
  // A task that somebody planned at this moment, beside the one that the change promises.
  if (error.code == "UNIQUE_VIOLATION" && error.extra.find("call_task_one_open") != std::string::npos)
    return {Kind::conflict, "CHANGED_MEANWHILE", "Somebody changed it at the same moment; look again.", {}, {}, 0};
  return explain(std::move(error), table);
}

}  // namespace

Task<Result<NewInquiry>> recognised(Call& call, NewInquiry lead) {
  constexpr std::size_t kMostNotes = 10000;
  const auto& person = *lead.person;
  if (person.e164s.empty() || person.name_key.empty()) co_return lead;
  auto rows = co_await call.db().read(sql::inquiries::known_people, pg::params(person.name_key, person.e164s), call.request.deadline);
  if (!rows) co_return tl::make_unexpected(rows.error());
  if (rows->size() != 1) co_return lead;
  auto notes = lead.notes.value_or("");
  if (!person.as_told.empty()) notes += (notes.empty() ? "" : "\n") + person.as_told;
  if (notes.size() > kMostNotes) co_return lead;
  lead.customer_id = Uuid::parse(rows->text(0, 0));
  lead.notes = std::move(notes);
  lead.person.reset();
  co_return lead;
}

Answering create(Call& call, NewInquiry lead) {
  const auto team = lead.team_id ? lead.team_id : call.who.team;
  if (team && !within_teams(call, *team)) co_return forbidden_team();
  const Uuid customer = lead.person ? lead.person->id : *lead.customer_id;
  const Uuid task = Uuid::make();
  std::vector<pg::Step> steps;
  if (lead.person)
    steps.push_back({sql::inquiries::create_customer, pg::params(lead.person->person, lead.person->phones, lead.person->addresses,
                                                                 lead.person->emails, lead.owner_id, team)});
  steps.push_back({sql::inquiries::insert_inquiry,
                   pg::params(lead.id, customer, lead.media_source_id, lead.channel, lead.customer_initiated, lead.external_ref,
                              lead.received_at, lead.notes, lead.custom, lead.owner_id, team, lead.items)});
  steps.push_back({sql::inquiries::first_call, pg::params(lead.id, task)});
  auto made = co_await call.write(std::move(steps), 201);
  if (made) {
    if (*made) co_return std::move(**made);
    co_return fail(Kind::unprocessable, "VALIDATION_FAILED", "One field is wrong.",
                   {{"/customer_id", "UNKNOWN_ID", "there is no such customer"}});
  }
  if (made.error().code == "UNIQUE_VIOLATION" && lead.external_ref && made.error().extra.find("inquiry_external_ref") != std::string::npos)
    co_return co_await stored_lead(call, lead);
  co_return tl::make_unexpected(explained(std::move(made.error()), "inquiry"));
}

Task<Result<Uuid>> media_source(Call& call, std::string code) {
  auto rows = co_await call.db().read(sql::inquiries::media_source_by_code, pg::params(code), call.request.deadline);
  if (!rows) co_return tl::make_unexpected(rows.error());
  if (rows->empty())
    co_return fail(Kind::unprocessable, "VALIDATION_FAILED", "One field is wrong.",
                   {{"/media_source", "UNKNOWN_CODE", "there is no active media source with this code"}});
  co_return *Uuid::parse(rows->text(0, 0));
}

Answering list(Call& call, Filter f) {
  using auth::Scope;
  namespace s = sql::inquiries;
  const bool due = f.view == "due";
  auto params = pg::params(f.limit, f.after[0], f.after[1], f.stage, f.media_source_id);
  const pg::Statement* statement = nullptr;
  if (f.view == "customer") {
    params.push_back(pg::param(f.customer_id));
    pg::append(params, call.rights());
    statement = &s::of_customer;
  } else {
    // `own` sees the caller's, `team` what lies in the caller's teams; a narrower filter wins, a foreign one finds nothing.
    std::optional<std::vector<Uuid>> teams;
    if (call.granted == Scope::team) teams = call.teams();
    if (f.team_id && (!teams || std::find(teams->begin(), teams->end(), *f.team_id) != teams->end()))
      teams = std::vector<Uuid>{*f.team_id};
    else if (f.team_id)
      teams.emplace();
    std::optional<Uuid> owner = f.owner_id;
    if (call.granted == Scope::own) {
      if (owner && *owner != call.user().value) teams.emplace();
      owner = call.user().value;
    }
    if (owner) {
      params.push_back(pg::param(*owner));
      params.push_back(teams ? pg::param(*teams) : std::nullopt);
      statement = due ? &s::due_owner : &s::received_owner;
    } else if (teams) {
      params.push_back(pg::param(*teams));
      statement = due ? &s::due_teams : &s::received_teams;
    } else if (f.media_source_id) {
      statement = due ? &s::due_media : &s::received_media;
    } else if (f.stage && !due) {
      statement = &s::received_stage;
    } else {
      statement = due ? &s::due_all : &s::received_all;
    }
  }
  co_return co_await call.show(*statement, std::move(params));
}

Answering get(Call& call, Uuid id) { return call.show(sql::inquiries::get_inquiry, pg::params(call.rights(), id)); }

Answering update(Call& call, Uuid id, std::int64_t version, std::optional<Uuid> team, std::string changes) {
  if (team && !within_teams(call, *team)) co_return forbidden_team();
  auto done = co_await call.write(sql::inquiries::update_inquiry, pg::params(call.rights(), id, version, changes));
  if (!done) co_return tl::make_unexpected(explained(std::move(done.error()), "inquiry"));
  if (*done) co_return std::move(**done);
  co_return co_await explain_nothing(call, sql::inquiries::look_at_inquiry, id, version);
}

Answering move(Call& call, Uuid id, Move to) {
  auto done = co_await call.write(sql::inquiries::transition_inquiry,
                                  pg::params(call.rights(), id, to.version, to.stage, to.reason, to.next_action, to.next_action_at));
  if (!done) co_return tl::make_unexpected(explained(std::move(done.error()), "inquiry"));
  if (*done) co_return std::move(**done);
  co_return co_await explain_nothing(call, sql::inquiries::look_at_inquiry, id, to.version);
}

Answering add_item(Call& call, Uuid inquiry, NewItem item) {
  auto done = co_await call.write(
      sql::inquiries::create_item,
      pg::params(call.rights(), inquiry, item.id, item.item_category_id, item.description, item.quantity, item.position), 201);
  if (!done) co_return tl::make_unexpected(explained(std::move(done.error()), "inquiry_item"));
  co_return auth::answered(std::move(done), auth::not_found());
}

Answering update_item(Call& call, Uuid item, std::int64_t version, std::string changes) {
  auto done = co_await call.write(sql::inquiries::update_item, pg::params(call.rights(), item, version, changes));
  if (!done) co_return tl::make_unexpected(explained(std::move(done.error()), "inquiry_item"));
  if (*done) co_return std::move(**done);
  co_return co_await explain_nothing(call, sql::inquiries::look_at_item, item, version);
}

Answering delete_item(Call& call, Uuid item) {
  auto done = co_await call.write(sql::inquiries::delete_item, pg::params(call.rights(), item));
  co_return auth::answered(std::move(done), auth::not_found());
}

Answering hearing_sheet(Call& call, Uuid inquiry) {
  return call.show(sql::inquiries::get_hearing_sheet, pg::params(call.rights(), inquiry));
}

Answering save_hearing_sheet(Call& call, Uuid inquiry, std::int64_t base_version, std::string changes) {
  std::vector<pg::Step> steps;
  steps.push_back({sql::inquiries::begin_hearing_sheet, pg::params(call.rights(), inquiry)});
  steps.push_back({sql::inquiries::save_hearing_sheet, pg::params(call.rights(), inquiry, base_version, changes)});
  auto done = co_await call.write(std::move(steps));
  if (!done) co_return tl::make_unexpected(explained(std::move(done.error()), "hearing_sheet"));
  co_return auth::answered(std::move(done), auth::not_found());
}

}  // namespace enishi::crm::inquiries

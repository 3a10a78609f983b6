#include "crm/customers/customer.hpp"

#include "base/log.hpp"
#include "crm/customers/customers.sql.hpp"
#include "crm/japanese/names.hpp"
#include "crm/outcomes/outcome.hpp"

namespace enishi::crm::customers {
namespace {

namespace statements = sql::customers;

std::string json_or_null(const std::string& text) { return text.empty() ? "null" : json_quote(text); }

/// For jsonb_to_recordset in the statements.
std::string rows_of(const std::vector<PhoneDraft>& phones) {
  std::string out = "[";
  for (std::size_t i = 0; i < phones.size(); ++i) {
    const auto& p = phones[i];
    if (i > 0) out += ',';
    out += R"({"id":")" + p.id.str() + R"(","raw":)" + json_quote(p.raw) + R"(,"e164":)" + json_or_null(p.e164) + R"(,"extension":)" +
           json_or_null(p.extension) + R"(,"kind":")" + p.kind + R"(","valid_hint":)" + (p.valid_hint ? "true" : "false") + R"(,"note":)" +
           json_quote(p.note) + R"(,"position":)" + std::to_string(i) + "}";
  }
  return out + "]";
}

std::string rows_of(const std::vector<AddressDraft>& addresses) {
  std::string out = "[";
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    const auto& a = addresses[i];
    if (i > 0) out += ',';
    out += R"({"id":")" + a.id.str() + R"(","postal_code":)" + json_or_null(a.postal_code.value_or("")) + R"(,"prefecture":)" +
           json_quote(a.prefecture) + R"(,"city":)" + json_quote(a.city) + R"(,"town":)" + json_quote(a.town) + R"(,"street":)" +
           json_quote(a.street) + R"(,"building":)" + json_quote(a.building) + R"(,"note":)" + json_quote(a.note) + R"(,"position":)" +
           std::to_string(i) + "}";
  }
  return out + "]";
}

std::string rows_of(const std::vector<EmailDraft>& emails) {
  std::string out = "[";
  for (std::size_t i = 0; i < emails.size(); ++i) {
    if (i > 0) out += ',';
    out += R"({"id":")" + emails[i].id.str() + R"(","email":)" + json_quote(emails[i].email) + R"(,"position":)" + std::to_string(i) + "}";
  }
  return out + "]";
}

template <class T>
std::optional<T> inner(const std::optional<std::optional<T>>& value) {
  return value ? *value : std::nullopt;
}

/// The statement that tells why a write of one record found no row: its first column is the version, a second one says that the record is
/// in use.
Answering why_not(auth::Call& call, const pg::Statement& statement, Uuid id, std::int64_t version, const char* used_code,
                  const char* used_detail) {
  auto row = co_await call.db().run(statement, pg::params(id, call.rights()), call.request.deadline);
  if (!row) co_return tl::make_unexpected(std::move(row.error()));
  if (row->empty()) co_return auth::not_found();
  const auto current = row->integer(0, 0);
  if (current == version && row->columns() > 1 && row->boolean(0, 1)) co_return fail(Kind::conflict, used_code, used_detail);
  co_return auth::version_mismatch(current);
}

Answering change(auth::Call& call, std::vector<pg::Step> steps, std::string_view table, const pg::Statement& diagnosis, Uuid id,
                 std::int64_t version, const char* used_code = "", const char* used_detail = "") {
  auto done = co_await call.write(std::move(steps));
  if (!done) co_return tl::make_unexpected(explain(std::move(done.error()), table));
  if (*done) co_return std::move(**done);
  co_return co_await why_not(call, diagnosis, id, version, used_code, used_detail);
}

Answering change(auth::Call& call, const pg::Statement& statement, pg::Params params, std::string_view table,
                 const pg::Statement& diagnosis, Uuid id, std::int64_t version, const char* used_code = "", const char* used_detail = "") {
  std::vector<pg::Step> steps;
  steps.push_back({statement, std::move(params)});
  return change(call, std::move(steps), table, diagnosis, id, version, used_code, used_detail);
}

/// A new child: no row means that the customer is not there for the caller.
Answering add(auth::Call& call, const pg::Statement& statement, pg::Params params, std::string_view table) {
  auto done = co_await call.write(statement, std::move(params), 201);
  if (!done) co_return tl::make_unexpected(explain(std::move(done.error()), table));
  co_return auth::answered(std::move(done), auth::not_found());
}

}  // namespace

Answering create(auth::Call& call, CustomerDraft draft) {
  if (!draft.owner_id && call.granted == auth::Scope::own) draft.owner_id = call.user().value;
  if (!draft.team_id) draft.team_id = call.who.team;
  auto params = pg::params(draft.id, draft.display_name, draft.kana, japanese::loose_key(draft.display_name),
                           japanese::loose_key(draft.kana), draft.birth_date, draft.notes, draft.flags, draft.custom, draft.owner_id,
                           draft.team_id, rows_of(draft.phones), rows_of(draft.addresses), rows_of(draft.emails));
  const auto id = draft.id.str();
  auto made = co_await call.write(statements::create_customer, std::move(params), 201);
  if (!made) co_return tl::make_unexpected(explain(std::move(made.error()), "customer"));
  (*made)->with("Location", "/v1/customers/" + id);
  co_return std::move(**made);
}

Answering update(auth::Call& call, Uuid id, std::int64_t version, CustomerChange changed) {
  std::optional<std::string> name_key, kana_key;
  if (changed.display_name) name_key = japanese::loose_key(*changed.display_name);
  if (changed.kana) kana_key = japanese::loose_key(*changed.kana);
  const auto flags = changed.flags ? pg::param(*changed.flags) : pg::Param();
  auto params = pg::params(id, version, call.rights(), changed.display_name, name_key, changed.kana, kana_key,
                           changed.birth_date.has_value(), inner(changed.birth_date), changed.notes, flags, changed.custom,
                           changed.owner_id.has_value(), inner(changed.owner_id), changed.team_id.has_value(), inner(changed.team_id));
  co_return co_await change(call, statements::update_customer, std::move(params), "customer", statements::why_not_customer, id, version);
}

Answering hide(auth::Call& call, Uuid id, std::int64_t version) {
  std::vector<pg::Step> steps;
  steps.push_back({statements::lock_to_hide, pg::params(id)});
  steps.push_back({statements::hide_customer, pg::params(id, version, call.rights())});
  co_return co_await change(call, std::move(steps), "customer", statements::why_not_customer, id, version, "CUSTOMER_HAS_OPEN_WORK",
                            "There are calls or visits to come for this customer; cancel or finish them first.");
}

std::optional<std::string> Filter::key() const {
  if (name) return japanese::loose_key(*name);
  if (suffix) return std::string(suffix->rbegin(), suffix->rend());
  return std::nullopt;
}

Answering list(auth::Call& call, Filter filter, auth::Paging at) {
  const pg::Statement* statement = &statements::list_recent;
  auto params = pg::params(call.rights());
  for (const auto& key : at.after) params.push_back(key);
  params.push_back(pg::param(at.limit + 1));
  if (const auto key = filter.key()) {
    statement = filter.name ? &statements::list_by_name : &statements::list_by_phone_suffix;
    params.push_back(key);
  } else if (filter.e164) {
    statement = &statements::list_by_phone;
    params.push_back(filter.e164);
  } else if (filter.email) {
    statement = &statements::list_by_email;
    params.push_back(filter.email);
  }
  return call.list(*statement, std::move(params), std::move(at), "customer");
}

Answering get(auth::Call& call, Uuid id) { return call.show(statements::get_customer, pg::params(id, call.rights())); }

Answering get_as_of(auth::Call& call, Uuid id, std::string moment) {
  // A token is limited to the operations it names, and this one is not the route's: GET /v1/history/customer/{id} is.
  if (call.who.by_token)
    co_return fail(Kind::forbidden, "FORBIDDEN", "API tokens read the past of a record from /v1/history/customer/{row_id}.");
  auto may = co_await call.db().run(statements::may_read_as_of, pg::params(call.user()), call.request.deadline);
  if (!may) co_return tl::make_unexpected(std::move(may.error()));
  if (!may->boolean(0, 0)) co_return fail(Kind::forbidden, "FORBIDDEN", "Your roles do not allow get_record_as_of.");
  auto row = co_await call.db().run(statements::get_customer_as_of, pg::params(id, moment, call.user()), call.request.deadline);
  if (!row) co_return tl::make_unexpected(std::move(row.error()));
  if (row->empty()) co_return auth::not_found();
  if (row->boolean(0, 0))
    co_return fail(Kind::gone, "ERASED", "The content of this record was erased; history keeps only the proof that it was there.");
  co_return http::Answer::json(std::string(row->text(0, 1)));
}

Answering timeline(auth::Call& call, Uuid id, auth::Paging at) {
  if (at.first) {
    auto seen = co_await call.db().run(statements::sees_customer, pg::params(id, call.rights()), call.request.deadline);
    if (!seen) co_return tl::make_unexpected(std::move(seen.error()));
    if (!seen->boolean(0, 0)) co_return auth::not_found();
  }
  auto params = pg::params(id, call.rights(), at.after[0], at.after[1], at.limit + 1);
  co_return co_await call.list(statements::list_timeline, std::move(params), std::move(at));
}

Answering pop_screen(auth::Call& call, std::string e164) {
  auto row = co_await call.db().read(statements::screen_pop, pg::params(std::move(e164), call.rights()), call.request.deadline);
  if (!row) co_return tl::make_unexpected(std::move(row.error()));
  // {id,id,…}: whose data was shown.
  auto ids = row->text(0, 1);
  while (ids.size() > 36) {
    call.note_view("customer", Uuid::parse(ids.substr(1, 36)));
    ids.remove_prefix(37);
  }
  co_return http::Answer::json(std::string(row->text(0, 0)));
}

Answering add_phones(auth::Call& call, Uuid customer, std::vector<PhoneDraft> phones) {
  co_return co_await add(call, statements::create_customer_phones, pg::params(customer, call.rights(), rows_of(phones)), "customer_phone");
}

Answering update_phone(auth::Call& call, Uuid id, std::int64_t version, std::optional<PhoneDraft> number, std::optional<std::string> kind,
                       std::optional<std::string> note, std::optional<std::int64_t> position) {
  auto params = pg::params(id, version, call.rights());
  if (number) {
    params.push_back(number->raw);
    params.push_back(number->e164.empty() ? pg::Param() : pg::Param(number->e164));
    params.push_back(number->extension.empty() ? pg::Param() : pg::Param(number->extension));
    params.push_back(kind ? *kind : number->kind);
    params.push_back(pg::param(number->valid_hint));
  } else {
    params.insert(params.end(), {std::nullopt, std::nullopt, std::nullopt, pg::param(kind), std::nullopt});
  }
  params.push_back(pg::param(note));
  params.push_back(pg::param(position));
  co_return co_await change(call, statements::update_customer_phone, std::move(params), "customer_phone",
                            statements::why_not_customer_phone, id, version);
}

Answering hide_phone(auth::Call& call, Uuid id, std::int64_t version) {
  co_return co_await change(call, statements::hide_customer_phone, pg::params(id, version, call.rights()), "customer_phone",
                            statements::why_not_customer_phone, id, version);
}

Answering add_address(auth::Call& call, Uuid customer, AddressDraft a) {
  auto params = pg::params(customer, call.rights(), a.id, a.postal_code, a.prefecture, a.city, a.town, a.street, a.building, a.note);
  co_return co_await add(call, statements::create_customer_address, std::move(params), "customer_address");
}

Answering update_address(auth::Call& call, Uuid id, std::int64_t version, AddressChange c) {
  auto params = pg::params(id, version, call.rights(), c.postal_code.has_value(), inner(c.postal_code), c.prefecture, c.city, c.town,
                           c.street, c.building, c.note, c.position);
  co_return co_await change(call, statements::update_customer_address, std::move(params), "customer_address",
                            statements::why_not_customer_address, id, version);
}

Answering hide_address(auth::Call& call, Uuid id, std::int64_t version) {
  co_return co_await change(call, statements::hide_customer_address, pg::params(id, version, call.rights()), "customer_address",
                            statements::why_not_customer_address, id, version, "ADDRESS_HAS_VISIT",
                            "A visit goes to this address; reschedule or cancel it first.");
}

Answering add_email(auth::Call& call, Uuid customer, EmailDraft email) {
  co_return co_await add(call, statements::create_customer_email, pg::params(customer, call.rights(), email.id, email.email),
                         "customer_email");
}

Answering update_email(auth::Call& call, Uuid id, std::int64_t version, std::optional<std::string> email,
                       std::optional<std::int64_t> position) {
  co_return co_await change(call, statements::update_customer_email, pg::params(id, version, call.rights(), email, position),
                            "customer_email", statements::why_not_customer_email, id, version);
}

Answering hide_email(auth::Call& call, Uuid id, std::int64_t version) {
  co_return co_await change(call, statements::hide_customer_email, pg::params(id, version, call.rights()), "customer_email",
                            statements::why_not_customer_email, id, version);
}

}  // namespace enishi::crm::customers

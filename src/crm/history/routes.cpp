#include "crm/history/routes.hpp"

#include <algorithm>
#include <boost/json.hpp>

#include "crm/history/events.hpp"
#include "crm/history/events.sql.hpp"
#include "crm/history/history.sql.hpp"

namespace enishi::crm::history {
namespace {

using auth::Answering;
using auth::Call;
using http::Method;

Answering list_history(Call& call);
Answering get_record_as_of(Call& call, Uuid id);
Answering list_records_as_of(Call& call);
Answering compare_record(Call& call, Uuid id);
Answering preview_put_back(Call& call);
Answering put_back(Call& call);
Answering open_events(Call& call);

const auth::Operation operations[] = {
    {Method::get, "/v1/history", "list_history", list_history},
    {Method::get, "/v1/history/{table}/{row_id}", "get_record_as_of", get_record_as_of},
    {Method::get, "/v1/history/{table}", "list_records_as_of", list_records_as_of},
    {Method::get, "/v1/history/{table}/{row_id}/differences", "compare_record", compare_record},
    {Method::post, "/v1/put-backs/preview", "preview_put_back", preview_put_back, {.time_limit = Millis(60000)}},
    {Method::post, "/v1/put-backs", "put_back", put_back, {.time_limit = Millis(70000)}},
    {Method::get, "/v1/events", "stream_events", open_events},
};

constexpr std::string_view shown_tables[] = {"customer",         "customer_phone", "customer_address",
                                             "customer_email",   "inquiry",        "inquiry_item",
                                             "hearing_sheet",    "call_task",      "call_attempt",
                                             "appointment",      "visit_slot",     "appraiser",
                                             "appraiser_hours",  "service_area",   "solicitation_request",
                                             "solicitation_ban", "media_source",   "item_category",
                                             "custom_field",     "priority_rule",  "team",
                                             "app_user",         "goods"};
// history_tables() of the database has the same ones; a test compares them.

bool shown(std::string_view table) { return std::find(std::begin(shown_tables), std::end(shown_tables), table) != std::end(shown_tables); }

tl::unexpected<Error> no_such_table() { return fail(Kind::not_found, "NOT_FOUND", "There is no history of such a table."); }

Answering list_history(Call& call) {
  http::QueryDecoder in(call.request);
  const auto row = in.uuid("row_id", {.required = true});
  auto at = auth::finish_paging(in, pg::params("infinity", INT64_MAX));
  if (!at) co_return tl::make_unexpected(std::move(at.error()));
  auto params = pg::params(*row, call.scope(), call.teams(), at->after[0], at->after[1], at->limit + 1);
  co_return co_await call.list(sql::history::list_history, std::move(params), *at, "history", *row);
}

Answering get_record_as_of(Call& call, Uuid id) {
  const std::string table(call.request.segment("table"));
  http::QueryDecoder in(call.request);
  const auto moment = in.timestamp("as_of", {.required = true});
  const auto parts = in.boolean("parts").value_or(false);
  if (auto bad = in.finish()) co_return *bad;
  if (!shown(table)) co_return no_such_table();
  auto row = co_await call.db().run(sql::history::get_record_as_of, pg::params(table, id, *moment, call.scope(), call.teams(), parts),
                                    call.request.deadline);
  if (!row) co_return tl::make_unexpected(std::move(row.error()));
  if (row->empty()) co_return fail(Kind::not_found, "NOT_FOUND", "There was no such record at that moment, or it is not yours to see.");
  if (row->null(0, 0))
    co_return fail(Kind::gone, "ERASED", "The content of this record was erased; history keeps only the proof that it was there.");
  call.note_view("history", id);
  co_return http::Answer::json(std::string(row->text(0, 0)));
}

Answering list_records_as_of(Call& call) {
  const std::string table(call.request.segment("table"));
  http::QueryDecoder in(call.request);
  const auto moment = in.timestamp("as_of", {.required = true});
  const auto customer = in.uuid("customer_id");
  auto at = auth::finish_paging(in, pg::params(Uuid{}));
  if (!at) co_return tl::make_unexpected(std::move(at.error()));
  if (!shown(table)) co_return no_such_table();
  auto params = pg::params(table, *moment, call.scope(), call.teams());
  if (customer) {
    params.push_back(pg::param(*customer));
  } else {
    params.push_back(at->after[0]);
    params.push_back(pg::param(at->limit));
  }
  const auto& statement = customer ? sql::history::list_customer_records_as_of : sql::history::list_records_as_of;
  auto rows = co_await call.db().run(statement, std::move(params), call.request.deadline);
  if (!rows && !at->first && rows.error().code == "VALUE_INVALID") co_return http::cursor_invalid();
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  std::string body = R"({"items":[)";
  int shown_rows = 0;
  for (std::size_t i = 0; i < rows->size(); ++i) {
    if (rows->null(i, 0)) continue;
    if (shown_rows++ > 0) body += ',';
    body += rows->text(i, 0);
  }
  const bool more = !customer && rows->size() == static_cast<std::size_t>(at->limit);
  body += R"(],"next_cursor":)";
  body += more ? '"' + http::encode_cursor({std::string(rows->text(rows->size() - 1, 1))}) + '"' : std::string("null");
  body += '}';
  call.note_view("history", customer, shown_rows);
  co_return http::Answer::json(std::move(body));
}

Answering compare_record(Call& call, Uuid id) {
  const std::string table(call.request.segment("table"));
  http::QueryDecoder in(call.request);
  const auto from = in.timestamp("from", {.required = true});
  const auto to = in.timestamp("to", {.required = true});
  if (auto bad = in.finish()) co_return *bad;
  if (!shown(table)) co_return no_such_table();
  auto row = co_await call.db().run(sql::history::compare_record, pg::params(table, id, *from, *to, call.scope(), call.teams()),
                                    call.request.deadline);
  if (!row) co_return tl::make_unexpected(std::move(row.error()));
  if (row->empty())
    co_return fail(Kind::not_found, "NOT_FOUND", "There was no such record at the later moment, or it is not yours to see.");
  call.note_view("history", id);
  co_return http::Answer::json(std::string(row->text(0, 0)));
}

/// What is to be put back, as the database's functions read it.
struct Selection {
  boost::json::object what;
  std::optional<Uuid> row;
};

Selection read_selection(http::Decoder& in) {
  Selection out;
  const auto kind = in.choice("kind", {"RECORD", "REQUEST", "IMPORT", "PERSON"}, {.required = true}).value_or("");
  auto& what = out.what;
  what["kind"] = kind;
  const auto keep = [&what](const char* name, const std::optional<std::string>& value) {
    if (value) what[name] = *value;
  };
  if (kind == "RECORD") {
    const auto table = in.choice("table",
                                 {"customer", "customer_phone", "customer_address", "customer_email", "inquiry", "inquiry_item",
                                  "hearing_sheet", "media_source", "item_category", "custom_field", "service_area", "appraiser"},
                                 {.required = true});
    out.row = in.uuid("row_id", {.required = true});
    keep("table", table);
    if (out.row) what["row_id"] = out.row->str();
    keep("to", in.timestamp("to", {.required = true}));
    what["parts"] = in.boolean("parts").value_or(false);
    if (const auto fields = in.texts("fields", 50, {.min = 1, .max = 60})) {
      boost::json::array names;
      for (const auto& field : *fields) names.emplace_back(field);
      what["fields"] = std::move(names);
    }
  } else if (kind == "REQUEST") {
    keep("request_id", in.text("request_id", {.required = true, .min = 1, .max = 200}));
    keep("around", in.timestamp("around", {.required = true}));
  } else if (kind == "IMPORT") {
    if (const auto id = in.uuid("import_id", {.required = true})) what["import_id"] = id->str();
  } else if (kind == "PERSON") {
    if (const auto id = in.uuid("user_id", {.required = true})) what["user_id"] = id->str();
    keep("from", in.timestamp("from", {.required = true}));
    keep("to", in.timestamp("to", {.required = true}));
  }
  return out;
}

Answering seen_by(Call& call, const Selection& selection) {
  if (!selection.row) co_return http::Answer{};
  auto seen = co_await call.db().run(
      sql::history::sees_record,
      pg::params(std::string(selection.what.at("table").as_string()), *selection.row, call.scope(), call.teams()), call.request.deadline);
  if (!seen) co_return tl::make_unexpected(std::move(seen.error()));
  if (!seen->boolean(0, 0)) co_return fail(Kind::not_found, "NOT_FOUND", "There is no such record, or it is not yours to put back.");
  co_return http::Answer{};
}

Answering preview_put_back(Call& call) {
  http::Decoder in(call.request);
  const auto selection = read_selection(in);
  if (auto bad = in.finish()) co_return *bad;
  if (auto seen = co_await seen_by(call, selection); !seen) co_return seen;
  const auto text = boost::json::serialize(selection.what);
  auto lease = co_await call.db().lease(call.request.deadline);
  std::vector<pg::Step> steps;
  steps.push_back({sql::history::allow_a_minute, {}});
  steps.push_back({sql::history::changes_of_put_back, pg::params(text)});
  steps.push_back({sql::history::preview_put_back, pg::params(text, call.scope(), call.teams())});
  auto rows = co_await lease.batch(std::move(steps), call.request.deadline);
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  if ((*rows)[1].integer(0, 0) > 50000)
    co_return fail(Kind::unprocessable, "TOO_MANY_CHANGES", "More than 50,000 changes: choose a shorter interval.");
  call.note_view("history", selection.row);
  co_return http::Answer::json(std::string((*rows)[2].text(0, 0)));
}

Answering put_back(Call& call) {
  http::Decoder in(call.request);
  const auto id = in.uuid("id").value_or(Uuid::make());
  const auto seen = in.text("seen", {.required = true, .min = 64, .max = 64});
  const auto overwrite = in.boolean("overwrite").value_or(false);
  const auto selection = read_selection(in);
  if (auto bad = in.finish()) co_return *bad;
  if (auto found = co_await seen_by(call, selection); !found) co_return found;
  std::vector<pg::Step> steps;
  steps.push_back({sql::history::allow_a_minute, {}});
  steps.push_back(
      {sql::history::put_back, pg::params(id, boost::json::serialize(selection.what), *seen, overwrite, call.scope(), call.teams())});
  auto done = co_await call.write(std::move(steps));
  if (!done) co_return tl::make_unexpected(std::move(done.error()));
  if (!*done) co_return fail(Kind::not_found, "NOT_FOUND", "There is nothing to put back.");
  co_return std::move(**done);
}

Answering open_events(Call& call) {
  http::QueryDecoder in(call.request);
  const auto after = in.text("after", {.max = 50});
  std::optional<Place> from;
  const std::string given =
      !call.request.header("Last-Event-ID").empty() ? std::string(call.request.header("Last-Event-ID")) : after.value_or("");
  if (!given.empty()) {
    from = Place::parse(given);
    if (!from) in.error("after", "FORMAT", "an event id is two numbers, as 8123-45");
  }
  if (auto bad = in.finish()) co_return *bad;

  auto row = co_await call.db().read(sql::events::newest_event, {}, call.request.deadline);
  if (!row) co_return tl::make_unexpected(std::move(row.error()));
  const Place newest{std::stoull(std::string(row->text(0, 0))), row->integer(0, 1)};
  bool reset = false;
  if (from && *from != Place{}) {
    auto known =
        co_await call.db().read(sql::events::event_is_known, pg::params(std::to_string(from->xid), from->id), call.request.deadline);
    if (!known) co_return tl::make_unexpected(std::move(known.error()));
    reset = !known->boolean(0, 0);
  }
  const Place start = from && !reset ? *from : newest;

  http::Answer answer;
  answer.type = "text/event-stream";
  answer.with("Cache-Control", "no-store").with("X-Accel-Buffering", "no");
  Audience audience{call.granted, call.user().value, call.teams()};
  answer.stream = [gate = &call.gate, shard = call.request.shard, audience = std::move(audience), start, newest, reset](http::Stream& out) {
    return stream_events(out, *gate, *shard, audience, start, newest, reset);
  };
  co_return answer;
}

}  // namespace

void mount(http::Router& router, auth::Gatekeeper& gate) { gate.mount(router, operations); }

}  // namespace enishi::crm::history

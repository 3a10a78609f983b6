#include "auth/call.hpp"

#include "auth/auth.sql.hpp"
#include "auth/gate.hpp"
#include "auth/tokens.hpp"

namespace enishi::auth {
namespace {

constexpr Millis kAgain{20};

Digest request_hash(const http::Request& request) {
  std::string all(name_of(request.method));
  all.append(" ").append(request.target).append("\n").append(request.body);
  return sha256(all);
}

http::Answer answer_of(int status, std::string_view body, std::string_view etag) {
  auto out = status == 204 ? http::Answer::none() : http::Answer::json(std::string(body), status);
  if (!etag.empty()) out.with("ETag", "\"" + std::string(etag) + "\"");
  return out;
}

/// The cursor of the next page is made of the last item's keys.
http::Answer page(const pg::Rows& rows, std::size_t limit) {
  const std::size_t shown = std::min(rows.size(), limit);
  std::size_t bytes = 64;
  for (std::size_t i = 0; i < shown; ++i) bytes += rows.text(i, 0).size() + 1;
  std::string body;
  body.reserve(bytes);
  body += R"({"items":[)";
  for (std::size_t i = 0; i < shown; ++i) {
    if (i > 0) body += ',';
    body += rows.text(i, 0);
  }
  body += R"(],"next_cursor":)";
  if (rows.size() > limit && limit > 0) {
    std::vector<std::string> keys;
    for (std::size_t k = 1; k < rows.columns(); ++k) keys.emplace_back(rows.text(limit - 1, k));
    body += '"' + http::encode_cursor(keys) + "\"}";
  } else {
    body += "null}";
  }
  return http::Answer::json(std::move(body));
}

Answering refused(Error error) { co_return tl::make_unexpected(std::move(error)); }

}  // namespace

Result<Paging> finish_paging(http::QueryDecoder& in, pg::Params first) {
  Paging out;
  out.limit = in.limit();
  const auto cursor = in.cursor();
  if (auto bad = in.finish()) return *bad;
  out.after = std::move(first);
  if (!cursor) return out;
  auto keys = http::decode_cursor(*cursor, out.after.size());
  if (!keys) return tl::make_unexpected(std::move(keys.error()));
  out.after.assign(std::make_move_iterator(keys->begin()), std::make_move_iterator(keys->end()));
  out.first = false;
  return out;
}

tl::unexpected<Error> not_found() {
  return fail(Kind::not_found, "NOT_FOUND", "There is nothing with this id, or it is not yours to see.");
}

tl::unexpected<Error> version_mismatch(std::int64_t current_version) {
  auto out = fail(Kind::precondition, "VERSION_MISMATCH", "Somebody changed it meanwhile; load it again and repeat your change.");
  out.value().extra = R"({"current_version":)" + std::to_string(current_version) + "}";
  return out;
}

Answering Handler::operator()(Call& call) const {
  if (const auto* run = std::get_if<Plain>(&run_)) return (*run)(call);
  const auto id = call.record();
  if (!id) return refused(not_found().value());
  if (const auto* run = std::get_if<OfRecord>(&run_)) return (*run)(call, *id);
  auto version = call.if_match();
  if (!version) return refused(std::move(version.error()));
  return std::get<OfVersion>(run_)(call, *id, *version);
}

Result<http::Answer> answered(Result<std::optional<http::Answer>> done, tl::unexpected<Error> none) {
  if (!done) return tl::make_unexpected(std::move(done.error()));
  if (!*done) return none;
  return std::move(**done);
}

Answering changed(Call& call, Result<std::optional<http::Answer>> done, const pg::Statement& get, pg::Params params) {
  if (!done) co_return tl::make_unexpected(std::move(done.error()));
  if (*done) co_return std::move(**done);
  auto row = co_await call.db().run(get, std::move(params), call.request.deadline);
  if (!row) co_return tl::make_unexpected(std::move(row.error()));
  if (row->empty()) co_return not_found();
  co_return version_mismatch(row->integer(0, 1));
}

Call::Call(Gatekeeper& gatekeeper, http::Request& asked, const Operation& called, const Principal& principal, Scope scope,
           std::optional<std::string> key)
    : gate(gatekeeper), request(asked), operation(called), who(principal), granted(scope), idempotency_key(std::move(key)) {}

std::string Call::scope() const { return granted == Scope::all ? "all" : granted == Scope::team ? "team" : "own"; }

const std::vector<Uuid>& Call::teams() const {
  static const std::vector<Uuid> nobody_asks;
  return granted == Scope::all ? nobody_asks : who.teams;
}

pg::Database& Call::db() const { return gate.db(*request.shard); }

std::array<pg::Param, 3> Call::rights() const { return {scope(), pg::param(user()), pg::param(teams())}; }

std::optional<Uuid> Call::record() const {
  for (const auto& [name, value] : request.segments)
    if (name.ends_with("_id")) return Uuid::parse(value);
  return std::nullopt;
}

Answering Call::show(const pg::Statement& statement, pg::Params params) {
  auto row = statement.pipeline ? co_await db().read(statement, std::move(params), request.deadline)
                                : co_await db().run(statement, std::move(params), request.deadline);
  if (!row) co_return tl::make_unexpected(std::move(row.error()));
  if (row->empty()) co_return not_found();
  co_return answer_of(200, row->text(0, 0), row->columns() > 1 ? row->text(0, 1) : std::string_view{});
}

Answering Call::list(const pg::Statement& statement, pg::Params params, Paging at, std::string_view shown, std::optional<Uuid> of_record) {
  auto rows = co_await db().run(statement, std::move(params), request.deadline);
  if (!rows && !at.first && rows.error().code == "VALUE_INVALID") co_return http::cursor_invalid();
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  const auto limit = static_cast<std::size_t>(at.limit);
  if (!shown.empty() && !rows->empty()) note_view(shown, of_record, static_cast<int>(std::min(rows->size(), limit)));
  co_return page(*rows, limit);
}

Result<std::int64_t> Call::if_match() const { return http::if_match(request); }

pg::Step Call::begin_write() const {
  const std::string actor = who.user.value.nil() ? "nobody" : "user:" + who.user.str();
  if (!idempotency_key) return {sql::auth::begin_write, pg::params(actor, request.id, nullptr, nullptr, nullptr)};
  return {sql::auth::begin_write, pg::params(actor, request.id, who.user, *idempotency_key, bytea(request_hash(request)))};
}

Task<Result<std::optional<http::Answer>>> Call::write(const pg::Statement& statement, pg::Params params, int status) {
  std::vector<pg::Step> steps;
  steps.push_back({statement, std::move(params)});
  co_return co_await write(std::move(steps), status);
}

Task<Result<std::optional<http::Answer>>> Call::write(std::vector<pg::Step> steps, int status) {
  std::vector<pg::Step> all;
  all.reserve(steps.size() + 1);
  all.push_back(begin_write());
  for (auto& step : steps) all.push_back(std::move(step));
  pg::WriteOptions options{.deadline = request.deadline, .repeatable = idempotency_key.has_value()};
  for (;;) {
    auto rows = co_await db().write(all, options);
    if (rows) {
      const auto& last = rows->back();
      if (last.empty()) co_return std::optional<http::Answer>();
      co_return std::optional<http::Answer>(answer_of(status, last.text(0, 0), last.columns() > 1 ? last.text(0, 1) : std::string_view{}));
    }
    auto error = std::move(rows.error());
    if (error.code == "LEGACY_OWNED" && gate.elsewhere()) {
      const auto& begun = all.front().params;
      OwnedElsewhere owned{.db = db(),
                           .shard = *request.shard,
                           .steps = all,
                           .actor = *begun[0],
                           .request_id = request.id,
                           .principal = who.user,
                           .key = idempotency_key,
                           .request_hash = begun[4],
                           .status = status,
                           .deadline = request.deadline};
      auto written = co_await gate.elsewhere()(std::move(owned));
      if (written && !*written) co_return std::optional<http::Answer>();
      if (written) {
        auto out = answer_of(status, (*written)->body, (*written)->etag);
        std::string changed;
        for (const auto& pointer : (*written)->changed) changed += (changed.empty() ? "" : " ") + pointer;
        if (!changed.empty()) out.with("Legacy-Changed", changed);
        co_return std::optional<http::Answer>(std::move(out));
      }
      error = std::move(written.error());
      if (error.code == "GATE_SHUT" || error.code == "SERIALIZATION_FAILURE") {
        // db().write waits at the gate, bounded, as it does for everybody.
        if (Deadline::in(kAgain).at >= request.deadline.at) co_return tl::make_unexpected(std::move(error));
        co_await sleep(kAgain);
        continue;
      }
    }
    if (error.code == "IDEMPOTENCY_REPLAY") co_return co_await stored_answer(*this);
    co_return tl::make_unexpected(std::move(error));
  }
}

Task<Result<std::optional<http::Answer>>> stored_answer(const Call& call) {
  auto rows = co_await call.db().read(sql::auth::stored_answer, pg::params(call.user(), call.idempotency_key), call.request.deadline);
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  if (rows->empty())
    co_return fail(Kind::conflict, "IDEMPOTENCY_KEY_IN_USE", "The answer to this Idempotency-Key is not there any more; make a new key.");
  auto out = answer_of(static_cast<int>(rows->integer(0, 0)), rows->text(0, 2), rows->text(0, 1));
  out.with("Idempotency-Replayed", "true");
  co_return std::optional<http::Answer>(std::move(out));
}

void Call::note_view(std::string_view entity, std::optional<Uuid> id, int rows) { gate.note_view(*this, entity, id, rows); }

}  // namespace enishi::auth

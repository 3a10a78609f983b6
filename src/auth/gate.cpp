#include "auth/gate.hpp"

#include <algorithm>

#include "auth/auth.sql.hpp"
#include "auth/views.hpp"
#include "base/log.hpp"
#include "base/metrics.hpp"
#include "pg/errors.hpp"

namespace enishi::auth {
namespace {

metrics::Counter& hits = metrics::counter("enishi_session_cache_hits_total", "Requests whose session was remembered");
metrics::Counter& misses = metrics::counter("enishi_session_cache_misses_total", "Requests whose session was asked of the database");
metrics::Counter& views_written = metrics::counter("enishi_personal_data_views_total", "Views of personal data written");

constexpr Millis kViewsEvery{50};
constexpr Millis kHousekeepingEvery{600000};
constexpr std::size_t kMostTouched = 2000;

std::vector<std::string_view> words(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const auto end = std::min(text.find(' '), text.size());
    if (end > 0) out.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

bool reads(const http::Request& request) { return request.method == http::Method::get || request.method == http::Method::head; }

/// A read has nothing to collide with that its caller could mend, and declares no 409: what the database says of locks and of plans that a
/// migration made stale means "once more".
Error once_more(Error error) {
  if (error.code != "SERIALIZATION_FAILURE" && error.code != "LOCKED") return error;
  return {Kind::unavailable, "UNAVAILABLE", "The database is busy with a change to this; try again in a moment.", {}, {}, 1};
}

tl::unexpected<Error> unauthenticated() {
  return fail(Kind::unauthenticated, "UNAUTHENTICATED", "Nobody is logged in, or the session ended; log in.");
}

/// A write that a page of somebody else's made the browser send (Fetch Metadata; Origin, RFC 6454).
std::optional<Error> foreign(const http::Request& request, const Config& config) {
  const auto site = request.header("sec-fetch-site");
  const auto origin = request.header("origin");
  bool ours = site.empty() || site == "same-origin" || site == "none";
  if (!origin.empty()) {
    const auto scheme = origin.find("://");
    const auto host = scheme == std::string_view::npos ? std::string_view{} : origin.substr(scheme + 3);
    if (host.empty() || host != request.header("host")) ours = false;
    if (std::find(config.origins.begin(), config.origins.end(), origin) != config.origins.end()) ours = true;
  }
  if (ours) return std::nullopt;
  return fail(Kind::forbidden, "CSRF", "Writes are taken from this server's own pages only.").value();
}

Principal nobody() { return {}; }

/// Runs a read, and once more when it lost its connection: it changed nothing, so nothing about it can be unknown.
Task<Result<http::Answer>> answer_read(const Operation& operation, Call& call) {
  static auto& again = metrics::counter("enishi_pg_retries_total", "Statements sent again", {{"reason", "read_lost"}});
  for (int attempt = 1;; ++attempt) {
    std::string lost;
    try {
      co_return co_await operation.handler(call);
    } catch (const pg::ConnectionLost& e) {
      lost = e.what();
    } catch (const pg::OutcomeUnknown& e) {
      lost = e.what();
    }
    if (attempt == 2) throw pg::Unavailable(lost);
    again.add();
  }
}

}  // namespace

/// What a shard keeps to itself.
struct Gate::Local {
  Local(Shard& own, pg::Database& database, std::size_t cached) : shard(own), db(database), cache(cached) {}
  Shard& shard;
  pg::Database& db;
  SessionCache cache;
  ViewBuffer views;
  ViewBuffer::Batch unwritten;     ///< a batch the database has not taken yet
  std::vector<pg::Param> touched;  ///< digests whose last-seen time is more than a minute old
  Event work;
  Event room;
  bool ending = false;
  bool ended = false;
  std::function<void()> on_end;
  [[nodiscard]] std::size_t waiting() const { return views.size() + unwritten.count; }
};

Gate::Gate(Shards& shards, std::vector<pg::Database*> databases, Offload& offload, Config config)
    : config_(std::move(config)), offload_(offload), passwords_(config_.passwords) {
  if (databases.empty()) return;  // only to be mounted and looked at
  const auto each = std::max<std::size_t>(1, config_.cache_entries / shards.size());
  for (std::size_t i = 0; i < shards.size(); ++i) {
    locals_.push_back(std::make_shared<Local>(shards[i], *databases.at(i), each));
    spawn(shards[i], "auth.tend", tend(locals_.back()));
  }
}

Gate::~Gate() = default;

pg::Database& Gate::db(const Shard& shard) { return locals_[shard.index()]->db; }

std::size_t Gate::remembered(const Shard& shard) const { return locals_[shard.index()]->cache.size(); }

std::string_view session_cookie(const http::Request& request) {
  return request.cookie(request.secure ? "__Host-enishi" : "enishi_session");
}

void Gate::mount(http::Router& router, std::span<const Operation> operations) {
  for (const auto& operation : operations) {
    const auto number = numbers_.emplace(operation.id, numbers_.size()).first->second;
    mounted_.push_back(std::make_unique<Mounted>(Mounted{operation, number}));
    const auto* mounted = mounted_.back().get();
    http::Route route;
    route.method = operation.method;
    route.pattern = operation.path;
    route.operation = operation.id;
    route.handler = [this, mounted](http::Request& request) { return enter(mounted, request); };
    route.body_limit = operation.traits.body_limit;
    route.time_limit = operation.traits.time_limit;
    router.add(std::move(route));
  }
}

std::optional<Error> map_exception(const std::exception_ptr& thrown) {
  Error out;
  out.kind = Kind::unavailable;
  out.retry_after = 1;
  try {
    std::rethrow_exception(thrown);
  } catch (const pg::TimedOut& e) {
    out.code = "TIMEOUT";
    out.detail = "The database did not answer in time; nothing was changed. Try again in a moment.";
    log_warning("database timed out", {{"reason", e.what()}});
  } catch (const pg::NotReplicated& e) {
    out.code = "NOT_REPLICATED";
    out.detail = "Stored, but not yet on a second server: a failover now could lose it. Look before you send it again.";
    log_error("a commit is not on the standby", {{"reason", e.what()}});
  } catch (const pg::OutcomeUnknown& e) {
    out.code = "OUTCOME_UNKNOWN";
    out.detail =
        "The connection to the database was lost while it committed: look whether the change is there, or repeat it with the same "
        "Idempotency-Key.";
    log_warning("outcome of a commit unknown", {{"reason", e.what()}});
  } catch (const pg::Exhausted& e) {
    out = e.error;
    log_error("the database cannot do it now", {{"code", out.code}, {"reason", e.what()}});
  } catch (const pg::Unavailable& e) {
    out.code = "UNAVAILABLE";
    out.detail = "The database cannot be reached now; nothing was changed. Try again in a moment.";
    log_warning("database unavailable", {{"reason", e.what()}});
  } catch (const OffloadFull&) {
    out.code = "UNAVAILABLE";
    out.detail = "The server is busy; try again in a moment.";
  } catch (const pg::CommitRefused& e) {
    out = e.error;
  } catch (const pg::Broken& e) {
    out.kind = Kind::internal;
    out.retry_after = 0;
    out.code = "INTERNAL";
    out.detail = "The server made a mistake, which is in its log under this request's id.";
    log_error("statement is broken", {{"reason", e.what()}});
  } catch (...) {
    return std::nullopt;
  }
  return out;
}

Task<Result<http::Answer>> Gate::enter(const Mounted* mounted, http::Request& request) {
  const auto& operation = mounted->operation;
  auto& local = *locals_[request.shard->index()];
  std::shared_ptr<const Known> known;
  auto scope = Scope::own;
  if (operation.traits.open) {
    static const auto stranger = std::make_shared<const Known>(Known{nobody(), {}, {}, 0});
    known = stranger;
    if (!reads(request))
      if (auto bad = foreign(request, config_)) co_return tl::make_unexpected(std::move(*bad));
  } else {
    const auto authorization = request.header("authorization");
    const bool by_token = authorization.starts_with("Bearer ");
    const auto secret = by_token ? authorization.substr(7) : session_cookie(request);
    if (secret.empty()) co_return unauthenticated();
    const auto key = sha256(secret);
    auto* slot = local.cache.find(key);
    if (slot != nullptr && slot->known->epoch == epoch_.load() && slot->known->good_until > steady_now()) {
      hits.add();
      known = slot->known;
    } else {
      misses.add();
      auto loaded = co_await load(&local, key, by_token, request.deadline);
      if (!loaded) co_return tl::make_unexpected(once_more(std::move(loaded.error())));
      known = std::move(*loaded);
      slot = &local.cache.put(key, known, config_.burst);
    }
    if (known->who.by_token != by_token) co_return unauthenticated();
    if (config_.requests_per_second > 0) {
      const auto now = steady_now();
      const double passed = std::chrono::duration<double>(now - slot->filled).count();
      slot->filled = now;
      slot->tokens = std::min(config_.burst, slot->tokens + passed * config_.requests_per_second);
      if (slot->tokens < 1) {
        Error slow{Kind::too_many, "RATE_LIMITED", "Too many requests from this session; slow down.", {}, {}, 1};
        co_return tl::make_unexpected(std::move(slow));
      }
      slot->tokens -= 1;
    }
    if (!by_token && !reads(request)) {
      if (auto bad = foreign(request, config_)) co_return tl::make_unexpected(std::move(*bad));
      if (!same_secret(request.header("x-csrf-token"), known->who.csrf_token))
        co_return fail(Kind::forbidden, "CSRF", "X-CSRF-Token is missing or is not this session's; GET /v1/session gives it.");
    }
    if (!operation.traits.everybody) {
      const auto granted = mounted->number < known->scopes.size() ? known->scopes[mounted->number] : std::int8_t{-1};
      if (granted < 0)
        co_return fail(Kind::forbidden, "FORBIDDEN",
                       by_token ? std::string("This token, or its user, may not ") + operation.id + "."
                                : std::string("Your roles do not allow ") + operation.id + "; an administrator can grant it.");
      scope = static_cast<Scope>(granted);
    }
  }

  std::optional<std::string> key;
  if (!reads(request)) {
    auto given = http::idempotency_key(request);
    if (!given) co_return tl::make_unexpected(std::move(given.error()));
    key = std::move(*given);
  }
  while (local.waiting() >= ViewBuffer::kMost) {
    const bool freed = co_await local.room.wait(request.deadline);
    if (!freed) {
      Error full{Kind::unavailable,
                 "UNAVAILABLE",
                 "Views of personal data cannot be noted now, so none can be shown; try again in a moment.",
                 {},
                 {},
                 1};
      co_return tl::make_unexpected(std::move(full));
    }
  }

  Call call(*this, request, operation, known->who, scope, std::move(key));
  auto answering = reads(request) ? answer_read(operation, call) : operation.handler(call);
  auto answer = co_await std::move(answering);
  if (!answer && (reads(request) || operation.traits.open)) answer.error() = once_more(std::move(answer.error()));
  if (!answer && answer.error().code == "IDEMPOTENCY_REPLAY") {
    auto stored = co_await stored_answer(call);
    if (!stored) co_return tl::make_unexpected(std::move(stored.error()));
    co_return std::move(**stored);
  }
  if (answer && !operation.traits.views.empty() && answer->status < 300) note_view(call, operation.traits.views, call.record(), 1);
  co_return answer;
}

Task<Result<std::shared_ptr<const Known>>> Gate::load(Local* local, Digest key, bool by_token, Deadline deadline) {
  // Before the question is asked: what is taken away while it is under way makes the answer too old.
  const auto epoch = epoch_.load();
  const auto asked = steady_now();
  auto rows = by_token ? co_await local->db.read(sql::auth::load_api_token, pg::params(bytea(key)), deadline)
                       : co_await local->db.read(sql::auth::load_session, pg::params(bytea(key), config_.session_idle.count()), deadline);
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  if (rows->empty()) co_return unauthenticated();
  Known out;
  out.who.session = Uuid::parse(rows->text(0, 0)).value_or(Uuid{});
  out.who.user = UserId::parse(rows->text(0, 1)).value_or(UserId{});
  out.who.login = rows->text(0, 2);
  out.who.display_name = rows->text(0, 3);
  out.who.locale = rows->text(0, 4);
  out.who.team = Uuid::parse(rows->text(0, 5));
  out.who.csrf_token = rows->text(0, 6);
  out.who.by_token = by_token;
  for (const auto role : words(rows->text(0, 7))) out.who.roles.emplace_back(role);
  for (const auto team : words(rows->text(0, 8)))
    if (auto id = Uuid::parse(team)) out.who.teams.push_back(*id);
  out.scopes.assign(numbers_.size(), -1);
  for (const auto permission : words(rows->text(0, 9))) {
    const auto colon = permission.find(':');
    const auto at = numbers_.find(std::string(permission.substr(0, colon)));
    if (at != numbers_.end()) out.scopes[at->second] = static_cast<std::int8_t>(permission[colon + 1] - '0');
  }
  if (rows->boolean(0, 10) && local->touched.size() < kMostTouched) {
    local->touched.push_back(bytea(key));
    local->work.notify_all();
  }
  out.good_until = asked + std::min(config_.cache_for, Millis(rows->integer(0, 11)));
  out.epoch = epoch;
  co_return std::make_shared<const Known>(std::move(out));
}

void Gate::note_view(const Call& call, std::string_view entity, std::optional<Uuid> id, int rows) {
  auto& local = *locals_[call.request.shard->index()];
  local.views.add(call.user(), call.operation.id, entity, id, rows, call.request.id);
  if (local.views.size() == 1 || local.views.size() == ViewBuffer::kBatch) local.work.notify_all();
}

/// False when the database did not take them; they stay in `unwritten`.
Task<bool> Gate::write_views(Local* local) {
  if (local->unwritten.count == 0) local->unwritten = local->views.take();
  if (local->unwritten.count == 0) co_return true;
  const auto age = std::chrono::duration_cast<Millis>(steady_now() - local->unwritten.since).count();
  pg::Params params;
  params.push_back(pg::param(age));
  params.insert(params.end(), local->unwritten.arrays.begin(), local->unwritten.arrays.end());
  std::string reason;
  try {
    auto done = co_await local->db.run(sql::auth::insert_views, std::move(params));
    if (!done) reason = done.error().detail;
  } catch (const std::exception& e) {
    reason = e.what();
  }
  if (!reason.empty()) {
    log_warning("views of personal data wait for the database", {{"rows", local->unwritten.count}, {"reason", reason}});
    co_return false;
  }
  views_written.add(local->unwritten.count);
  local->unwritten = {};
  local->room.notify_all();
  co_return true;
}

Task<> Gate::tend(std::shared_ptr<Local> local) {
  auto housekeeping = steady_now() + kHousekeepingEvery;
  int failures = 0;
  while (!local->ending || local->waiting() > 0) {
    if (local->waiting() == 0 && local->touched.empty()) co_await local->work.wait(Deadline::in(kHousekeepingEvery));
    if (!local->ending && local->views.size() < ViewBuffer::kBatch) co_await local->work.wait(Deadline::in(kViewsEvery));
    const bool written = co_await write_views(local.get());
    failures = written ? 0 : failures + 1;
    if (!written) {
      if (local->ending && failures >= 10) {
        log_error("views of personal data are lost: the database did not take them before the end", {{"rows", local->waiting()}});
        break;
      }
      co_await sleep(Millis(local->ending ? 200 : 1000));
    }
    if (!local->touched.empty()) {
      auto digests = pg::param(std::exchange(local->touched, {}));
      try {
        auto touched = co_await local->db.run(sql::auth::touch_sessions, pg::params(std::move(*digests)));
        if (!touched) log_warning("last-seen times were not written", {{"reason", touched.error().detail}});
      } catch (const std::exception& e) {
        log_warning("last-seen times were not written", {{"reason", e.what()}});
      }
    }
    if (local->shard.index() == 0 && steady_now() > housekeeping) {
      housekeeping = steady_now() + kHousekeepingEvery;
      try {
        auto forgotten = co_await local->db.run(sql::auth::forget_old, {}, Deadline::in(Millis(30000)));
        if (!forgotten) log_warning("old sessions and answers stay", {{"reason", forgotten.error().detail}});
      } catch (const std::exception& e) {
        log_warning("old sessions and answers stay", {{"reason", e.what()}});
      }
    }
  }
  local->ended = true;
  if (local->on_end) local->on_end();
}

void Gate::drain(std::function<void()> done) {
  auto left = std::make_shared<std::atomic<std::size_t>>(locals_.size());
  for (const auto& local : locals_) {
    local->shard.post([local, left, done] {
      local->ending = true;
      local->on_end = [left, done] {
        if (left->fetch_sub(1) == 1) done();
      };
      if (local->ended)
        local->on_end();
      else
        local->work.notify_all();
    });
  }
}

}  // namespace enishi::auth

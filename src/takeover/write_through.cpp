#include "takeover/write_through.hpp"

#include <boost/json.hpp>
#include <set>

#include "auth/tokens.hpp"
#include "base/log.hpp"
#include "base/metrics.hpp"
#include "takeover/faults.hpp"
#include "takeover/write_through.sql.hpp"

namespace enishi::takeover {
namespace {

namespace json = boost::json;
namespace statements = sql::write_through;

constexpr Millis kSourceTime{4000};  ///< for everything that is asked of a source in one edit
constexpr Millis kAnswerTime{1000};  ///< of the request's time, kept for its end
constexpr int kAttempts = 4;         ///< the source had something newer than we: that is brought in, and the operation looks again
constexpr std::size_t kMostHeld = 100;

/// A statement that keeps its own text, for a legacy system's database: `enishi db check` leaves them out.
struct Made {
  std::string name, text;
  pg::Statement statement;
  Made(std::string n, std::string t)
      : name("at_source." + std::move(n)), text(std::move(t)), statement(name, pg::Rowcount::many, false, text) {}
};

const pg::Statement& bounded() {
  static const Made one("bounded", "select set_config('lock_timeout', '1500ms', true)");
  return one.statement;
}
/// No row: the source has the request already. One without a key was given up, and may be begun again.
const pg::Statement& apply_once() {
  static const Made one(
      "apply_once",
      "insert into enishi.applied as a (request) values ($1) on conflict (request) do update set at = now() where a.legacy_key is "
      "null returning request");
  return one.statement;
}
const pg::Statement& keep_key() {
  static const Made one("keep_key", "update enishi.applied set legacy_key = $2 where request = $1");
  return one.statement;
}
/// Waits for whoever is still writing under this request; once the row is there without a key, nobody can any more.
const pg::Statement& give_up() {
  static const Made one("give_up", "insert into enishi.applied (request) values ($1) on conflict do nothing");
  return one.statement;
}
const pg::Statement& applied() {
  static const Made one("applied", "select a.legacy_key from enishi.applied a where a.request = $1");
  return one.statement;
}

/// The parameters get the columns' types from the source, so its index serves.
std::string lock_sql(const Mapping& mapping) {
  std::string where;
  for (std::size_t i = 0; i < mapping.root_key.size(); ++i)
    where += (where.empty() ? "" : " and ") + quote_identifier(mapping.root_key[i]) + " = $" + std::to_string(i + 1);
  return "select 1 from " + quote_table(mapping.root_table) + " where " + where + " for update";
}

/// (keys) → key, record, canonical form, its digest.
std::string seen_sql(const Mapping& mapping) {
  const auto form = "(" + canonical_sql(mapping.system, mapping.domain, "f.record") + ")::text";
  return "with f as (select x.key, x.record from (\n" + std::string(mapping.forward->sql) + "\n) x)\nselect f.key, f.record::text, " +
         form + ", encode(sha256(convert_to(" + form + ", 'UTF8')), 'hex') from f";
}

/// Statements of reverse.sql take both parameters, or none (mapping.cpp).
pg::Params parameters_of(const pg::Statement& statement, const std::optional<std::string>& key, const std::string& record) {
  return statement.sql.find("$1") == std::string_view::npos ? pg::Params() : pg::Params{key ? pg::Param(*key) : pg::Param(), record};
}

Deadline earlier(Deadline a, Deadline b) { return a.at < b.at ? a : b; }

/// The same for every try of a request that has an Idempotency-Key.
Uuid request_id(const auth::OwnedElsewhere& asked) {
  if (!asked.key) return Uuid::make();
  const auto digest = auth::sha256(asked.principal.str() + " " + *asked.key);
  Uuid out;
  std::copy_n(digest.begin(), out.bytes.size(), out.bytes.begin());
  out.bytes[6] = static_cast<std::uint8_t>((out.bytes[6] & 0x0fU) | 0x80U);  // RFC 9562: version 8 is for one's own
  out.bytes[8] = static_cast<std::uint8_t>((out.bytes[8] & 0x3fU) | 0x80U);
  return out;
}

// Children ---------------------------------------------------------------------------------------------------------------

constexpr std::pair<const char*, const char*> kChildren[] = {
    {"phones", "phone"}, {"addresses", "address"}, {"emails", "email"}, {"items", "item"}};

json::object object_of(std::string_view text) {
  boost::system::error_code bad;
  auto value = json::parse(text, bad);
  return !bad && value.is_object() ? std::move(value.get_object()) : json::object();
}

json::array* list_of(json::object& record, std::string_view name) {
  auto* list = record.if_contains(name);
  return list != nullptr && list->is_array() ? &list->get_array() : nullptr;
}

std::string text_of(const json::value& child, std::string_view name) {
  const auto* value = child.is_object() ? child.get_object().if_contains(name) : nullptr;
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

/// Ids made of the keys of one list at the source, in its order, with the keys.
std::vector<std::pair<std::string, std::string>> made_of(json::object& there, const char* list, const char* kind, const std::string& system,
                                                         const std::string& root_key, const std::string& root) {
  std::vector<std::pair<std::string, std::string>> out;
  const auto* children = list_of(there, list);
  if (children == nullptr) return out;
  for (const auto& child : *children) {
    auto key = text_of(child, "key");
    if (key.empty()) key = std::to_string(out.size());
    auto id = root.substr(0, 19) + child_suffix(system, root_key, kind, key);
    out.emplace_back(std::move(id), std::move(key));
  }
  return out;
}

}  // namespace

struct WriteThrough::Target {
  Target(Shard& shard, Offload& offload, std::shared_ptr<const Mapping> by, std::string digest_of, std::string conninfo)
      : mapping(std::move(by)),
        digest(std::move(digest_of)),
        source(shard, offload,
               {.system = mapping->system, .conninfo = std::move(conninfo), .leases = kConnections, .statement_timeout = Millis(3000)}),
        lock(mapping->system + "." + mapping->domain + ".lock", lock_sql(*mapping)),
        seen(mapping->system + "." + mapping->domain + ".seen", seen_sql(*mapping)) {}
  std::shared_ptr<const Mapping> mapping;
  std::string digest;
  Source source;
  Made lock, seen;
};

/// One try of one edit.
struct WriteThrough::Edit {
  const auth::OwnedElsewhere& asked;
  Uuid request;
  std::shared_ptr<Target> target;
  Uuid root;
  std::optional<std::string> key;  ///< at the source; nothing for a new record
  std::string expected;            ///< digest of what the operation saw
  std::string was, wanted;         ///< canonical: before, and as it is to be
  std::string record;              ///< as it is to be, with ids
  json::object adopted;            ///< id of a child → the id made of its key
  bool children_only = false;
  std::string answer;
  std::optional<std::string> etag;
  int era = 1;
  Deadline until = Deadline::in(kSourceTime);  ///< for the source
  std::vector<std::string> changed = {};       ///< what the source made otherwise
  std::string written = {};                    ///< its key, once it was written there
  bool noted = false;                          ///< the intent is committed
};

namespace {

/// `said`: the legacy system's own words.
Error made(Kind kind, const char* code, const std::string& system, std::string detail, int retry_after = 0, std::string_view said = {}) {
  const auto more = said.empty() ? std::string() : R"(,"said":)" + json_quote(said);
  return {kind, code, std::move(detail), {}, R"({"system":)" + json_quote(system) + more + "}", retry_after};
}

Error away(const std::string& system, const std::string& because) {
  log_warning("takeover: an edit could not be written to its legacy system", {{"system", system}, {"because", because}});
  return made(
      Kind::unavailable, "LEGACY_UNAVAILABLE", system,
      "The legacy system " + system + ", which owns this record, cannot be reached now; nothing was changed. Try again in a moment.", 2);
}

Error busy(const std::string& system) {
  return made(Kind::unavailable, "LEGACY_BUSY", system,
              "Somebody is changing this record in " + system + " now; nothing was changed. Try again in a moment.", 1);
}

/// What the source's database said to a statement of reverse.sql.
Error refused(const std::string& system, Error said) {
  if (said.code == "LOCKED" || said.code == "SERIALIZATION_FAILURE") return busy(system);
  if (said.code == "GATE_SHUT") return said;
  return made(Kind::unprocessable, "LEGACY_REFUSED", system,
              "The legacy system " + system + " refused this change, and nothing was changed: " + said.detail, 0, said.detail);
}

Error refused(const std::string& system, const pg::Broken& said) {
  if (std::string_view(said.what()).find(": 42501: ") != std::string_view::npos)
    return made(Kind::conflict, "LEGACY_READ_ONLY", system,
                "Enishi's login may not write to " + system +
                    ": the owner of its tables has to grant what the mapping writes (docs/takeover/edits.md).");
  const auto& words = said.message.empty() ? std::string(said.what()) : said.message;
  return made(Kind::unprocessable, "LEGACY_REFUSED", system,
              "The legacy system " + system + " refused this change, and nothing was changed: " + words, 0, words);
}

/// The record with the keys that its children have at the source.
std::string with_keys(const std::string& record, const std::string& there, const Mapping& mapping, const std::string& root_key,
                      const std::string& root, const json::object& adopted) {
  auto wanted = object_of(record);
  auto known = object_of(there);
  for (const auto& [list, kind] : kChildren) {
    auto* children = list_of(wanted, list);
    if (children == nullptr) continue;
    std::map<std::string, std::string> keys;
    for (auto& [id, key] : made_of(known, list, kind, mapping.system, root_key, root)) keys.emplace(id, key);
    for (auto& child : *children) {
      const auto id = text_of(child, "id");
      const auto* own = adopted.if_contains(id);
      const auto found = keys.find(own != nullptr && own->is_string() ? std::string(own->get_string()) : id);
      if (found != keys.end()) child.as_object()["key"] = found->second;
    }
  }
  return json::serialize(wanted);
}

/// {id made of a key: the id it is to have}, where they differ: a child keeps the id it has here, whatever key the source gave it.
std::string allotted(const std::string& record, const std::string& after, const Mapping& mapping, const std::string& root_key,
                     const std::string& root, const json::object& adopted) {
  auto wanted = object_of(record);
  auto now = object_of(after);
  json::object out;
  for (const auto& [list, kind] : kChildren) {
    const auto* children = list_of(wanted, list);
    const auto made = made_of(now, list, kind, mapping.system, root_key, root);
    if (children == nullptr || children->size() != made.size()) continue;
    std::set<std::string> given;
    std::vector<std::string> left;
    for (std::size_t i = 0; i < made.size(); ++i) {
      const auto id = text_of((*children)[i], "id");
      const auto* own = adopted.if_contains(id);
      const auto before = own != nullptr && own->is_string() ? std::string(own->get_string()) : id;
      given.insert(made[i].first);
      if (made[i].first == before) continue;
      out[made[i].first] = id;
      left.push_back(before);
    }
    // A key that a child had until now may come back as another child's.
    for (const auto& before : left)
      if (!given.contains(before)) out[before] = Uuid::make().str();
  }
  return json::serialize(out);
}

Error not_kept(const std::vector<std::string>& pointers, const std::string& system, bool children_only) {
  auto out = made(Kind::unprocessable, "LEGACY_NOT_WRITABLE", system,
                  "The legacy system " + system + ", which owns this record, does not take this change; nothing was changed.");
  for (auto pointer : pointers) {
    // An operation on a child speaks of its fields: /phones/0/note is its /note.
    if (children_only)
      for (int n = 0; n < 2; ++n) pointer.erase(0, std::min(pointer.find('/', 1), pointer.size()));
    out.fields.push_back({std::move(pointer), "LEGACY_NOT_WRITABLE", system + " does not take this change"});
  }
  return out;
}

/// After this nobody writes under this request any more who does not hold its row: the legacy key, or nothing.
Task<Result<std::optional<std::string>>> had_it(pg::Database& source, Uuid request, Deadline deadline) {
  auto given_up = co_await source.run(give_up(), pg::params(request), deadline);
  // Whoever it waited for has committed in the meantime, which a repeatable read takes for a clash.
  if (!given_up && given_up.error().code == "SERIALIZATION_FAILURE")
    given_up = co_await source.run(give_up(), pg::params(request), deadline);
  if (!given_up) co_return tl::make_unexpected(std::move(given_up.error()));
  auto row = co_await source.run(applied(), pg::params(request), deadline);
  if (!row) co_return tl::make_unexpected(std::move(row.error()));
  if (row->empty()) co_return std::optional<std::string>();
  const auto key = row->maybe(0, 0);
  co_return key ? std::optional<std::string>(*key) : std::nullopt;
}

/// Fetches the record anew and stores it, in the transaction of the caller, who holds its identity.
Task<Result<void>> bring(pg::Lease& here, Source& source, std::shared_ptr<const Mapping> mapping, std::string key, int era,
                         Deadline deadline) {
  auto fetched = co_await source.fetch(mapping, {key}, {}, era, deadline);
  if (!fetched) co_return tl::make_unexpected(std::move(fetched.error()));
  const auto batch = decode(*mapping, std::move(**fetched));
  auto stored = co_await apply(here, batch, deadline);
  if (!stored) co_return tl::make_unexpected(std::move(stored.error()));
  co_return Result<void>();
}

/// A request whose fate is not known here. Nothing: somebody is at work on it, or it is over.
struct Resolved {
  bool stands = false;
  auth::WrittenElsewhere answer = {};
};
Task<Result<std::optional<Resolved>>> resolve(pg::Database& local, Source& source, std::shared_ptr<const Mapping> mapping, Uuid request,
                                              Deadline deadline) {
  for (bool store = true;; store = false) {
    auto here = co_await local.lease(deadline);
    co_await here.begin(deadline);
    auto taken = co_await here.run(statements::take_intent, pg::params(request), deadline);
    if (!taken) co_return tl::make_unexpected(std::move(taken.error()));
    if (taken->empty()) co_return std::optional<Resolved>();
    auto key = co_await had_it(source.db(), request, deadline);
    if (!key) co_return tl::make_unexpected(std::move(key.error()));
    if (!*key) {
      auto cancelled = co_await here.run(
          statements::cancel, pg::params(request, R"({"code":"CUT_SHORT","detail":"It was cut short before the legacy system had it."})"),
          deadline);
      if (!cancelled) co_return tl::make_unexpected(std::move(cancelled.error()));
      co_await here.commit(deadline);
      co_return std::optional<Resolved>(Resolved{});
    }
    if (store) {
      auto acting = co_await here.run(statements::act_for, pg::params(taken->text(0, 1)), deadline);
      if (!acting) co_return tl::make_unexpected(std::move(acting.error()));
      auto locked = co_await here.run(statements::lock_key, pg::params(mapping->system, mapping->domain, **key), deadline);
      if (!locked) co_return tl::make_unexpected(std::move(locked.error()));
      auto era = co_await here.run(statements::era, pg::params(mapping->domain), deadline);
      if (!era) co_return tl::make_unexpected(std::move(era.error()));
      auto brought = co_await bring(here, source, mapping, **key, era->empty() ? 1 : static_cast<int>(era->integer(0, 0)), deadline);
      // The domain has moved on: what was drained at the switch holds it.
      if (!brought && brought.error().code == "NOT_MIRRORED") continue;
      if (!brought) co_return tl::make_unexpected(std::move(brought.error()));
    }
    auto done = co_await here.run(statements::recovered, pg::params(request), deadline);
    if (!done) co_return tl::make_unexpected(std::move(done.error()));
    Resolved out{.stands = true, .answer = {std::string(done->text(0, 0)), std::string(done->text(0, 1)), {}}};
    co_await here.commit(deadline);
    co_return std::optional<Resolved>(std::move(out));
  }
}

pg::Config few(pg::Config local) {
  local.pipelines = 1;
  local.leases = WriteThrough::kConnections;
  local.most_waiting = kMostHeld;
  return local;
}

std::optional<std::string> etag_of(const pg::Rows& answer) { return answer.columns() > 1 ? answer.maybe(0, 1) : std::nullopt; }

/// Commits what concerns no legacy system after all.
Task<Result<std::optional<auth::WrittenElsewhere>>> ours(Uuid request, pg::Lease lease, std::string answer, std::optional<std::string> etag,
                                                         Deadline deadline) {
  auto done = co_await lease.run(statements::finish, pg::params(request, answer, etag), deadline);
  if (!done) co_return tl::make_unexpected(std::move(done.error()));
  auth::WrittenElsewhere out{std::string(done->text(0, 0)), std::string(done->text(0, 1)), {}};
  co_await lease.commit(deadline);
  co_return std::optional<auth::WrittenElsewhere>(std::move(out));
}

Task<Result<void>> cancel(pg::Database& local, Uuid request, std::string code, Deadline deadline) {
  auto done = co_await local.run(statements::cancel, pg::params(request, "{\"code\":" + json_quote(code) + "}"), deadline);
  if (!done) co_return tl::make_unexpected(std::move(done.error()));
  co_return Result<void>();
}

}  // namespace

WriteThrough::WriteThrough(Shard& shard, Offload& offload, pg::Config local)
    : shard_(shard), offload_(offload), held_(shard, offload, few(std::move(local))) {}

WriteThrough::~WriteThrough() = default;

Task<Result<std::optional<auth::WrittenElsewhere>>> WriteThrough::write(auth::OwnedElsewhere asked) {
  static auto& seconds = metrics::histogram("enishi_takeover_write_through_seconds", "Time of an edit that a legacy system owns");
  const auto began = steady_now();
  const auto request = request_id(asked);
  for (int attempt = 1;; ++attempt) {
    auto done = co_await once(asked, request);
    const auto moved = !done && done.error().code == "LEGACY_MOVED";
    if (moved && attempt < kAttempts && !asked.deadline.passed()) continue;
    if (moved) co_return tl::make_unexpected(busy(std::move(done.error().detail)));
    if (done && *done) seconds.observe(std::chrono::duration<double>(steady_now() - began).count());
    co_return done;
  }
}

/// The mapping and the source, as they are now.
Task<Result<std::shared_ptr<WriteThrough::Target>>> WriteThrough::target(pg::Lease& lease, const pg::Rows& touched, Deadline deadline) {
  const std::string domain(touched.text(0, 0)), digest(touched.text(0, 7)), conninfo(touched.text(0, 8));
  auto& known = targets_[domain];
  if (known && known->digest == digest && known->source.config().conninfo == conninfo) co_return known;
  auto row = co_await lease.run(statements::mapping, pg::params(domain), deadline);
  if (!row) co_return tl::make_unexpected(std::move(row.error()));
  if (row->empty()) co_return fail(Kind::conflict, "LEGACY_READ_ONLY", "Nothing says how " + domain + " is written to its legacy system.");
  auto files = files_from_json(row->text(0, 0));
  if (!files) co_return tl::make_unexpected(std::move(files.error()));
  auto mapping = parse_mapping(std::move(*files));
  if (!mapping) co_return tl::make_unexpected(std::move(mapping.error()));
  targets_[domain] = std::make_shared<Target>(shard_, offload_, std::make_shared<const Mapping>(std::move(*mapping)), digest, conninfo);
  co_return targets_[domain];
}

Task<Result<std::optional<auth::WrittenElsewhere>>> WriteThrough::once(const auth::OwnedElsewhere& asked, Uuid request) {
  const auto deadline = asked.deadline;
  auto lease = co_await held_.lease(deadline);
  co_await lease.begin(deadline);
  // The operation runs once to see which record it changes, and again once that is ours: the mirror takes the identity first, and so do we.
  std::vector<pg::Step> look{asked.steps.front(), {statements::begin, pg::params(request)}, {statements::savepoint, {}}};
  for (std::size_t i = 1; i < asked.steps.size(); ++i) look.push_back(asked.steps[i]);
  look.push_back({statements::touched, {}});
  auto looked = co_await lease.batch(std::move(look), deadline);
  if (!looked) co_return tl::make_unexpected(std::move(looked.error()));
  const auto& first = (*looked)[looked->size() - 2];
  if (first.empty()) co_return std::optional<auth::WrittenElsewhere>();
  const auto& touched = looked->back();
  // Nothing of the legacy system's: the domain came to be Enishi's in the meantime, or no row of it changed.
  if (touched.integer(0, 1) == 0 || touched.text(0, 4).empty())
    co_return co_await ours(request, std::move(lease), std::string(first.text(0, 0)), etag_of(first), deadline);
  const std::string domain(touched.text(0, 0)), system(touched.text(0, 2)), elsewhere(touched.text(0, 5));
  if (touched.integer(0, 1) > 1 || touched.text(0, 4) != "1" || !elsewhere.empty())
    co_return tl::make_unexpected(made(Kind::conflict, "LEGACY_OWNED", system,
                                       "The domain " + domain + " belongs to the legacy system " + system +
                                           ", which can be told of a change to one record and nothing else; this one changes " +
                                           (elsewhere.empty() ? "several records" : elsewhere + " as well") + ". Make it in " + system +
                                           "."));
  auto to = co_await target(lease, touched, deadline);
  if (!to) co_return tl::make_unexpected(std::move(to.error()));
  if (asked.key) {
    auto known = co_await lease.run(statements::known, pg::params(request, asked.request_hash), deadline);
    if (!known) co_return tl::make_unexpected(std::move(known.error()));
    if (!known->empty() && known->text(0, 0) != "REFUSED") {
      if (!known->boolean(0, 1))
        co_return fail(Kind::unprocessable, "IDEMPOTENCY_KEY_REUSED",
                       "This Idempotency-Key was used for another request; make a new key for a new request.");
      if (known->text(0, 0) == "DONE") co_return fail(Kind::conflict, "IDEMPOTENCY_REPLAY", "This request was answered already.");
      lease = pg::Lease();  // resolve() asks whether somebody is at work on it
      auto resolved = co_await resolve(held_, (*to)->source, (*to)->mapping, request, deadline);
      if (!resolved) co_return tl::make_unexpected(std::move(resolved.error()));
      if (*resolved && !(**resolved).stands) co_return fail(Kind::unavailable, "LEGACY_MOVED", system);
      co_return fail(Kind::conflict, "IDEMPOTENCY_REPLAY", "This request was answered already.");
    }
  }
  Edit edit{.asked = asked,
            .request = request,
            .target = *to,
            .root = *Uuid::parse(touched.text(0, 3)),
            .key = {},
            .expected = {},
            .was = {},
            .wanted = {},
            .record = {},
            .adopted = {},
            .children_only = touched.boolean(0, 6),
            .answer = {},
            .etag = {},
            .era = static_cast<int>(touched.integer(0, 9))};

  std::vector<pg::Step> again{{statements::rollback_to, {}},
                              {statements::lock_record, pg::params(edit.root, system, domain)},
                              {statements::record, pg::params(domain, system, edit.root)}};
  for (std::size_t i = 1; i < asked.steps.size(); ++i) again.push_back(asked.steps[i]);
  again.push_back({statements::record, pg::params(domain, system, edit.root)});
  auto done = co_await lease.batch(std::move(again), deadline);
  if (!done) co_return tl::make_unexpected(std::move(done.error()));
  const auto& last = (*done)[done->size() - 2];
  const auto &identity = (*done)[1], &before = (*done)[2], &after = done->back();
  if (last.empty()) co_return std::optional<auth::WrittenElsewhere>();
  edit.answer = last.text(0, 0);
  edit.etag = etag_of(last);
  edit.was = before.text(0, 1);
  edit.expected = before.text(0, 2);
  edit.record = after.text(0, 0);
  edit.wanted = after.text(0, 1);
  edit.adopted = object_of(after.text(0, 3));
  if (!identity.empty()) edit.key = std::string(identity.text(0, 0));
  // Enishi's own: a record that the legacy system never had, and what is no part of a record there (who looks after it).
  if ((!edit.key && !edit.was.empty()) || edit.was == edit.wanted)
    co_return co_await ours(request, std::move(lease), edit.answer, edit.etag, deadline);
  if (edit.target->mapping->reverse.empty())
    co_return tl::make_unexpected(
        made(Kind::conflict, "LEGACY_READ_ONLY", system,
             "This record belongs to the legacy system " + system + ", and its mapping writes nothing back: change it in " + system + "."));
  const Deadline most{deadline.at - kAnswerTime};
  edit.until = earlier(most, Deadline::in(kSourceTime));

  Error failed;
  bool unknown = false;
  try {
    auto source = co_await edit.target->source.db().lease(edit.until);
    co_await source.begin(edit.until, "begin isolation level read committed read write");
    auto written = co_await there(edit, lease, source);
    if (written) {
      fault_point("write.2");
      unknown = true;
      co_await source.commit(edit.until);
      unknown = false;
      edit.written = std::move(*written);
    } else {
      failed = std::move(written.error());
    }
  } catch (const pg::CommitRefused& e) {
    unknown = false;
    failed = refused(system, e.error);
  } catch (const pg::Broken& e) {
    failed = refused(system, e);
  } catch (const pg::OutcomeUnknown& e) {
    unknown = true;
    failed = away(system, e.what());
  } catch (const pg::Unavailable& e) {
    failed = away(system, e.what());
  } catch (const pg::TimedOut& e) {
    failed = away(system, e.what());
  }
  if (!edit.written.empty()) {
    fault_point("write.3");
    co_return co_await stand(edit, std::move(lease));
  }
  lease = pg::Lease();
  if (unknown && edit.noted) co_return co_await uncertain(edit, false);
  if (edit.noted)
    if (auto undone = co_await cancel(held_, request, failed.code, deadline); !undone)
      co_return tl::make_unexpected(std::move(undone.error()));
  if (failed.code == "LEGACY_MOVED" && edit.key) {
    // What is newer there is brought in first: then the operation's own If-Match decides.
    auto here = co_await held_.lease(deadline);
    co_await here.begin(deadline);
    std::string gone;
    try {
      auto brought = co_await bring(here, edit.target->source, edit.target->mapping, *edit.key, edit.era, deadline);
      if (!brought) co_return tl::make_unexpected(std::move(brought.error()));
    } catch (const pg::Unavailable& e) {
      gone = e.what();
    }
    if (!gone.empty()) co_return tl::make_unexpected(away(system, gone));
    co_await here.commit(deadline);
  }
  co_return tl::make_unexpected(std::move(failed));
}

/// Everything between the source's begin and its commit. Gives the record's key there.
Task<Result<std::string>> WriteThrough::there(Edit& edit, pg::Lease& here, pg::Lease& source) {
  const auto& mapping = *edit.target->mapping;
  const auto& system = mapping.system;
  std::vector<pg::Step> look{{bounded(), {}}, {apply_once(), pg::params(edit.request)}};
  if (edit.key) {
    auto values = key_values(*edit.key, mapping.root_key.size());
    if (!values) co_return fail(Kind::internal, "MAPPING_INVALID", "the stored key has not the parts of the mapping's key: " + *edit.key);
    pg::Params parts;
    for (auto& value : *values) parts.push_back(std::move(value));
    look.push_back({edit.target->lock.statement, std::move(parts)});
    look.push_back({edit.target->seen.statement, pg::params(std::vector<std::string>{*edit.key})});
  }
  auto seen = co_await source.batch(std::move(look), edit.until);
  if (!seen) co_return tl::make_unexpected(refused(system, std::move(seen.error())));
  if ((*seen)[1].empty())
    co_return fail(Kind::conflict, "IDEMPOTENCY_KEY_IN_USE", "A request with this Idempotency-Key was written to " + system + " already.");
  auto record = edit.record;
  if (edit.key) {
    if (seen->back().empty() || seen->back().text(0, 3) != edit.expected) co_return fail(Kind::conflict, "LEGACY_MOVED", system);
    record = with_keys(record, std::string(seen->back().text(0, 1)), mapping, *edit.key, edit.root.str(), edit.adopted);
  }
  std::vector<pg::Step> write;
  for (const auto& statement : mapping.reverse) write.push_back({*statement, parameters_of(*statement, edit.key, record)});
  auto wrote = co_await source.batch(std::move(write), edit.until);
  if (!wrote) co_return tl::make_unexpected(refused(system, std::move(wrote.error())));
  if (wrote->back().empty())
    co_return fail(Kind::internal, "MAPPING_INVALID", "the last statement of reverse.sql must return the legacy key");
  std::string key(wrote->back().text(0, 0));
  std::vector<pg::Step> read{{edit.target->seen.statement, pg::params(std::vector<std::string>{key})},
                             {keep_key(), pg::params(edit.request, key)}};
  auto after = co_await source.batch(std::move(read), edit.until);
  if (!after) co_return tl::make_unexpected(refused(system, std::move(after.error())));
  std::string ids = "{}";
  const auto& now = after->front();
  if (!now.empty()) {
    const std::string got(now.text(0, 1)), canonical(now.text(0, 2));
    if (canonical != edit.wanted) {
      auto differ =
          co_await here.run(statements::differences, pg::params(edit.was.empty() ? std::string("null") : edit.was, edit.wanted, canonical),
                            edit.asked.deadline);
      if (!differ) co_return tl::make_unexpected(std::move(differ.error()));
      std::vector<std::string> lost;
      for (std::size_t i = 0; i < differ->size(); ++i) (differ->boolean(i, 1) ? lost : edit.changed).emplace_back(differ->text(i, 0));
      if (!lost.empty()) co_return tl::make_unexpected(not_kept(lost, system, edit.children_only));
    }
    ids = allotted(edit.record, got, mapping, key, edit.root.str(), edit.adopted);
    // What Enishi could not take must not stand there.
    Fetched fetched;
    fetched.records.push_back({key, got, ""});
    const auto batch = decode(mapping, std::move(fetched));
    if (!batch.rejects.empty())
      co_return tl::make_unexpected(
          made(Kind::unprocessable, "LEGACY_REFUSED", system,
               "The legacy system " + system +
                   " would make something of it that Enishi cannot hold, so nothing was changed: " + batch.rejects[0].detail,
               0, batch.rejects[0].detail));
  } else if (edit.wanted.find("\"deleted\": true") == std::string::npos) {
    co_return tl::make_unexpected(made(Kind::unprocessable, "LEGACY_NOT_WRITABLE", system,
                                       "The legacy system " + system + " would not show the record; nothing was changed."));
  }
  fault_point("write.1");
  const auto& asked = edit.asked;
  auto params =
      pg::params(edit.request, system, mapping.domain, edit.root, key, !edit.key.has_value(),
                 edit.key ? pg::Param(edit.expected) : pg::Param(), edit.answer, asked.actor, asked.request_id,
                 asked.key ? pg::Param(asked.principal.str()) : pg::Param(), asked.key, asked.request_hash, asked.status, edit.etag, ids);
  // On another connection than the one that holds the record: it has to stand before the source commits.
  auto noted = co_await asked.db.run(statements::intend, std::move(params), edit.asked.deadline);
  if (!noted) co_return tl::make_unexpected(std::move(noted.error()));
  if (!noted->boolean(0, 0)) co_return fail(Kind::conflict, "LEGACY_MOVED", system);
  edit.noted = true;
  if (!edit.key) {  // the mirror, which may bring the new key at any moment, waits for this transaction
    auto locked = co_await here.run(statements::lock_key, pg::params(system, mapping.domain, key), edit.asked.deadline);
    if (!locked) co_return tl::make_unexpected(std::move(locked.error()));
  }
  co_return key;
}

/// The source has it: what it made of it is brought in, and the operation's own transaction commits.
Task<Result<std::optional<auth::WrittenElsewhere>>> WriteThrough::stand(Edit& edit, pg::Lease here) {
  const auto deadline = edit.asked.deadline;
  std::string because;
  try {
    auto brought = co_await bring(here, edit.target->source, edit.target->mapping, edit.written, edit.era, deadline);
    if (brought) {
      auto done = co_await here.run(statements::finish, pg::params(edit.request, edit.answer, edit.etag), deadline);
      if (done) {
        auth::WrittenElsewhere out{std::string(done->text(0, 0)), std::string(done->text(0, 1)), std::move(edit.changed)};
        fault_point("write.4");
        co_await here.commit(deadline);
        co_return std::optional<auth::WrittenElsewhere>(std::move(out));
      }
      because = done.error().code;
    } else {
      because = brought.error().code;
    }
  } catch (const std::runtime_error& e) {
    because = e.what();
  }
  log_warning("takeover: an edit stands in its legacy system and could not be stored here at once",
              {{"system", edit.target->mapping->system}, {"because", because}});
  here = pg::Lease();
  co_return co_await uncertain(edit, true);
}

/// The transaction is gone. Either the source can tell what became of the edit, and it is finished now, or that is done later.
Task<Result<std::optional<auth::WrittenElsewhere>>> WriteThrough::uncertain(Edit& edit, bool stands) {
  const auto& system = edit.target->mapping->system;
  try {
    auto resolved = co_await resolve(held_, edit.target->source, edit.target->mapping, edit.request, edit.asked.deadline);
    if (resolved && *resolved) {
      if (!(**resolved).stands) co_return tl::make_unexpected(away(system, "the connection was lost before it committed"));
      co_return std::optional<auth::WrittenElsewhere>(std::move((**resolved).answer));
    }
  } catch (const std::runtime_error& e) {
    log_warning("takeover: the outcome of an edit is not known yet", {{"system", system}, {"because", e.what()}});
  }
  co_return tl::make_unexpected(
      made(Kind::unavailable, "OUTCOME_UNKNOWN", system,
           stands ? "The change stands in the legacy system " + system + " and is brought in here in a moment."
                  : "The connection to the legacy system " + system +
                        " was lost while it committed. Look whether the change is there, or repeat it with the same Idempotency-Key.",
           2));
}

Task<Result<int>> finish_intents(pg::Database& local, Source& source, std::shared_ptr<const Mapping> mapping, Millis older_than,
                                 Deadline deadline) {
  auto left = co_await local.run(statements::left_intents, pg::params(mapping->system, mapping->domain, older_than.count()), deadline);
  if (!left) co_return tl::make_unexpected(std::move(left.error()));
  for (std::size_t i = 0; i < left->size(); ++i) {
    auto resolved = co_await resolve(local, source, mapping, *Uuid::parse(left->text(i, 0)), deadline);
    if (!resolved) co_return tl::make_unexpected(std::move(resolved.error()));
  }
  co_return static_cast<int>(left->size());
}

}  // namespace enishi::takeover

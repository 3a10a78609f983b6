#include "takeover/switch/reverse.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <map>
#include <set>

#include "base/log.hpp"
#include "base/metrics.hpp"
#include "takeover/domains.hpp"
#include "takeover/switch/at_source.sql.hpp"
#include "takeover/switch/diff.sql.hpp"
#include "takeover/switch/fence.hpp"
#include "takeover/switch/moves.sql.hpp"

namespace enishi::takeover {
namespace {

namespace s = sql::moves;
namespace at = sql::at_source;
namespace json = boost::json;

constexpr int kBatch = 200;  // records in one transaction at the source

struct ToWrite {
  std::string id;
  std::optional<std::string> key;
  std::optional<std::string> record;  ///< with ids; nothing when the row is gone altogether
  std::string digest;
  bool deleted = false;
  std::map<std::string, std::string> adopted;  ///< child's id → the id made of its key at the source, where they differ
};

const pg::Statement& savepoint() {
  static const pg::Statement one("at_source.savepoint", pg::Rowcount::exec, false, "savepoint reverse_one");
  return one;
}
const pg::Statement& rollback_to() {
  static const pg::Statement one("at_source.rollback_to", pg::Rowcount::exec, false, "rollback to savepoint reverse_one");
  return one;
}
const pg::Statement& release() {
  static const pg::Statement one("at_source.release", pg::Rowcount::exec, false, "release savepoint reverse_one");
  return one;
}

const std::map<std::string, std::string>& kinds_of_children() {
  static const std::map<std::string, std::string> all{
      {"phones", "phone"}, {"addresses", "address"}, {"emails", "email"}, {"items", "item"}};
  return all;
}

/// The key that a child has at the source; its place where the mapping gives none.
std::string key_of(const json::value& child, int position) {
  if (child.is_object())
    if (const auto* k = child.as_object().if_contains("key"); k != nullptr && k->is_string()) return std::string(k->as_string());
  return std::to_string(position);
}

/// The children that came from the source get their keys back: their ids were made of them.
std::string with_keys(const Mapping& mapping, const ToWrite& record, const FetchedRecord* there) {
  if (!there) return *record.record;
  auto ours = json::parse(*record.record).as_object();
  const auto theirs = json::parse(there->record).as_object();
  for (const auto& [name, kind] : kinds_of_children()) {
    const auto* own = ours.if_contains(name);
    const auto* source = theirs.if_contains(name);
    if (own == nullptr || !own->is_array() || source == nullptr || !source->is_array()) continue;
    std::map<std::string, std::string> keys;
    int position = 0;
    for (const auto& child : source->as_array()) {
      std::string key = key_of(child, position++);
      keys.emplace(record.id.substr(0, 19) + child_suffix(mapping.system, *record.key, kind, key), key);
    }
    for (auto& child : ours[name].as_array()) {
      auto& object = child.as_object();
      const std::string id(object.at("id").as_string());
      const auto adopted = record.adopted.find(id);
      if (const auto found = keys.find(adopted == record.adopted.end() ? id : adopted->second); found != keys.end())
        object["key"] = found->second;
    }
  }
  return json::serialize(ours);
}

bool has_new_children(const std::string& record) {
  const auto all = json::parse(record).as_object();
  for (const auto& [name, kind] : kinds_of_children())
    if (const auto* children = all.if_contains(name); children != nullptr && children->is_array())
      for (const auto& child : children->as_array())
        if (child.is_object() && !child.as_object().contains("key")) return true;
  return false;
}

/// What has to be remembered so that children keep their ids when the mirror reads them under the keys that reverse.sql gave them.
struct Adopted {
  std::vector<std::string> records, derived, ids;
};

/// Both sides have the same children in the same order: what was written was read back before.
void adopt(const Mapping& mapping, const ToWrite& record, const FetchedRecord& there, Adopted& out) {
  const auto ours = json::parse(*record.record).as_object();
  const auto theirs = json::parse(there.record).as_object();
  const auto before = out.derived.size();
  for (const auto& [name, kind] : kinds_of_children()) {
    const auto* own = ours.if_contains(name);
    const auto* source = theirs.if_contains(name);
    if (own == nullptr || !own->is_array() || source == nullptr || !source->is_array()) continue;
    const auto& mine = own->as_array();
    for (std::size_t i = 0; i < mine.size() && i < source->as_array().size(); ++i) {
      const auto key = key_of(source->as_array()[i], static_cast<int>(i));
      auto derived = record.id.substr(0, 19) + child_suffix(mapping.system, there.key, kind, key);
      std::string id(mine[i].as_object().at("id").as_string());
      if (derived == id) continue;
      out.derived.push_back(std::move(derived));
      out.ids.push_back(std::move(id));
    }
  }
  if (out.derived.size() > before || !record.adopted.empty()) out.records.push_back(record.id);
}

class Writer {
 public:
  Writer(const Place& place, pg::Lease& lease, Deadline deadline) : p_(place), lease_(lease), deadline_(deadline) {}

  std::vector<std::string> new_records, new_keys;
  std::vector<std::string> written;
  Adopted adopted;
  struct Failure {
    std::string id;
    Error error;
  };
  std::vector<Failure> failures;

  Task<Result<void>> write(std::vector<ToWrite> records) {
    std::vector<std::string> keys;
    for (const auto& r : records)
      if (r.key) keys.push_back(*r.key);
    std::map<std::string, FetchedRecord> there;
    if (!keys.empty()) {
      auto fetched = co_await Source::fetch_within(lease_, p_.mapping, keys, 1, deadline_);
      if (!fetched) co_return tl::make_unexpected(std::move(fetched.error()));
      for (auto& r : fetched->records) there.emplace(r.key, std::move(r));
    }
    for (std::size_t i = 0; i < records.size(); ++i) {
      const auto& record = records[i];
      const auto found = record.key ? there.find(*record.key) : there.end();
      auto done = co_await write_one(record, i, found == there.end() ? nullptr : &found->second);
      if (done) {
        written.push_back(record.id);
        continue;
      }
      if (done.error().code == "FENCE_STALE" || done.error().code == "GATE_SHUT") co_return tl::make_unexpected(std::move(done.error()));
      failures.push_back({record.id, std::move(done.error())});
    }
    co_return co_await adopt_children(records);
  }

 private:
  Task<Result<void>> adopt_children(const std::vector<ToWrite>& records) {
    std::vector<std::string> keys;
    for (const auto& [key, at] : with_new_children_) keys.push_back(key);
    if (keys.empty()) co_return Result<void>();
    auto fetched = co_await Source::fetch_within(lease_, p_.mapping, keys, 1, deadline_);
    if (!fetched) co_return tl::make_unexpected(std::move(fetched.error()));
    for (const auto& there : fetched->records)
      if (const auto found = with_new_children_.find(there.key); found != with_new_children_.end())
        adopt(*p_.mapping, records[found->second], there, adopted);
    co_return Result<void>();
  }

  Task<Result<void>> write_one(const ToWrite& record, std::size_t place, const FetchedRecord* there) {
    if (!record.record || (record.deleted && !there)) co_return Result<void>();  // neither side has it
    const auto text = with_keys(*p_.mapping, record, there);
    std::vector<pg::Step> steps;
    steps.push_back({savepoint(), {}});
    for (const auto& statement : p_.mapping->reverse) steps.push_back({*statement, pg::params(record.key, text)});
    auto rows = co_await attempt(std::move(steps));
    if (rows) {
      const auto& last = rows->back();
      if (last.empty() || last.null(0, 0)) {
        rows = fail(Kind::unprocessable, "REVERSE_NO_KEY", "the last statement of reverse.sql must return the legacy key");
      } else {
        const std::string key(last.text(0, 0));
        auto read_back = co_await check(record, key);
        if (!read_back) {
          rows = tl::make_unexpected(std::move(read_back.error()));
        } else {
          if (!record.key) {
            new_records.push_back(record.id);
            new_keys.push_back(key);
          }
          if (!record.deleted && (!record.adopted.empty() || has_new_children(text))) with_new_children_[key] = place;
          std::vector<pg::Step> end;
          end.push_back({release(), {}});
          if (auto released = co_await lease_.batch(std::move(end), deadline_); !released)
            co_return tl::make_unexpected(std::move(released.error()));
          co_return Result<void>();
        }
      }
    }
    std::vector<pg::Step> back;
    back.push_back({rollback_to(), {}});
    if (auto rolled = co_await lease_.batch(std::move(back), deadline_); !rolled) co_return tl::make_unexpected(std::move(rolled.error()));
    co_return tl::make_unexpected(std::move(rows.error()));
  }

  /// What the adopter's SQL does wrong is a failure of the record, not of this program.
  Task<Result<std::vector<pg::Rows>>> attempt(std::vector<pg::Step> steps) {
    std::string broken;
    try {
      co_return co_await lease_.batch(std::move(steps), deadline_);
    } catch (const pg::Broken& e) {
      broken = e.what();
    }
    co_return fail(Kind::unprocessable, "REVERSE_BROKEN", std::move(broken));
  }

  Task<Result<void>> check(const ToWrite& record, const std::string& key) {
    auto rows = co_await lease_.run(*p_.digests, pg::params(std::vector<std::string>{key}), deadline_);
    if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
    const bool there = !rows->empty();
    if (record.deleted && (!there || rows->boolean(0, 2))) co_return Result<void>();
    if (there && rows->text(0, 1) == record.digest) co_return Result<void>();
    co_return fail(Kind::unprocessable, "REVERSE_DIFFERS",
                   "what reverse.sql wrote for " + key + " comes back from forward.sql as something else");
  }

  const Place& p_;
  pg::Lease& lease_;
  Deadline deadline_;
  std::map<std::string, std::size_t> with_new_children_;  ///< legacy key → place in what is written
};

Task<Result<std::vector<ToWrite>>> records_of(const Place& place, std::vector<std::string> ids, Deadline deadline) {
  auto rows = co_await place.local->run(s::records_to_write, pg::params(place.domain(), place.system(), ids), deadline);
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  std::vector<ToWrite> out;
  for (std::size_t i = 0; i < rows->size(); ++i) {
    ToWrite one{.id = std::string(rows->text(i, 0)),
                .key = rows->maybe(i, 1),
                .record = rows->maybe(i, 2),
                .digest = std::string(rows->text(i, 3)),
                .deleted = rows->boolean(i, 4),
                .adopted = {}};
    const auto children = rows->null(i, 5) ? json::object() : json::parse(std::string(rows->text(i, 5))).as_object();
    for (const auto& [id, derived] : children) one.adopted.emplace(id, std::string(derived.as_string()));
    out.push_back(std::move(one));
  }
  co_return out;
}

/// Of these records, the keys that a crash kept from being stored here: without them, they would be made a second time at the source.
Task<Result<void>> learn_lost_keys(const Place& place, std::vector<std::string> wanted, int era, Deadline deadline) {
  auto rows = co_await place.local->run(s::unlearned, pg::params(place.domain(), place.system(), wanted), deadline);
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  if (rows->empty()) co_return Result<void>();
  co_return co_await learn_keys(place, rows->texts(0), era, deadline);
}

struct Counted {
  std::int64_t begun = 0, done = 0;
};

Task<Result<Counted>> counted_here(const Place& place, std::int64_t fence_epoch, Deadline deadline) {
  auto rows = co_await place.local->run(s::reversal, pg::params(place.domain(), fence_epoch), deadline);
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  Counted out;
  if (!rows->empty()) out = {rows->integer(0, 0), rows->integer(0, 1)};
  co_return out;
}

/// A source that was taken back has lost the rows and the keys that it gave to records born here: they will get others.
Task<Result<void>> forget_lost_keys(const Place& place, std::int64_t batch, Deadline deadline) {
  constexpr std::size_t kMost = 1000;
  auto rows = co_await place.local->run(s::born_since, pg::params(place.domain(), place.system(), batch), deadline);
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  for (std::size_t from = 0; from < rows->size(); from += kMost) {
    std::set<std::string> keys;
    for (std::size_t i = from; i < std::min(rows->size(), from + kMost); ++i) keys.emplace(rows->text(i, 0));
    const std::vector<std::string> asked(keys.begin(), keys.end());
    auto there = co_await place.source->db().run(*place.digests, pg::params(asked), deadline);
    if (!there) co_return tl::make_unexpected(std::move(there.error()));
    for (std::size_t i = 0; i < there->size(); ++i) keys.erase(std::string(there->text(i, 0)));
    const std::vector<std::string> lost(keys.begin(), keys.end());
    auto done = co_await place.local->run(s::forget_identity, pg::params(place.system(), place.domain(), lost), deadline);
    if (!done) co_return tl::make_unexpected(std::move(done.error()));
  }
  co_return Result<void>();
}

/// The source's last batch, when this side knows it. Nobody can add one meanwhile: the caller has begun at the source.
Task<Result<std::int64_t>> compare_counters(const Place& place, pg::Lease& there, std::int64_t fence_epoch, Deadline deadline) {
  auto last = co_await there.run(at::last_batch, pg::params(place.domain(), fence_epoch), deadline);
  if (!last) co_return tl::make_unexpected(std::move(last.error()));
  const auto batch = last->integer(0, 0);
  auto here = co_await counted_here(place, fence_epoch, deadline);
  if (!here) co_return tl::make_unexpected(std::move(here.error()));
  if (batch > here->begun) {
    const auto why = "the source has batch " + std::to_string(batch) + " of what Enishi wrote back, and this database knows only " +
                     std::to_string(here->begun) + ": it was taken back to an earlier time. `enishi takeover unlock --domain " +
                     place.domain() + "` gives the domain back to " + place.system() + ", whose records are the newer ones";
    json::object detail{{"batch", batch}, {"known", here->begun}};
    log_error("a domain is read-only", {{"domain", place.domain()}, {"why", why}});
    if (auto stopped = co_await stop_behind_source(place, why, std::move(detail), deadline); !stopped)
      co_return tl::make_unexpected(std::move(stopped.error()));
    co_return fail(Kind::conflict, "SOURCE_AHEAD", why);
  }
  if (batch < here->done) {
    if (auto forgotten = co_await forget_lost_keys(place, batch, deadline); !forgotten)
      co_return tl::make_unexpected(std::move(forgotten.error()));
    json::object detail{{"batch", batch}, {"known", here->done}};
    std::vector<pg::Step> steps;
    steps.push_back({s::alarm, pg::params(place.domain(), "SOURCE_BEHIND", json::serialize(detail))});
    steps.push_back({s::send_again, pg::params(place.domain(), batch)});
    auto again = co_await place.local->write(std::move(steps), {.deadline = deadline});
    if (!again) co_return tl::make_unexpected(std::move(again.error()));
    log_error("the source was taken back to an earlier time: what it lost is written back again",
              {{"domain", place.domain()}, {"batch", batch}, {"known", here->done}, {"records", (*again)[1].integer(0, 0)}});
  }
  co_return batch;
}

}  // namespace

Task<Result<void>> learn_keys(Place place, std::vector<std::string> ids, int era, Deadline deadline) {
  auto known = co_await place.source->db().run(at::reversed_keys, pg::params(ids), deadline);
  if (!known) co_return tl::make_unexpected(std::move(known.error()));
  if (known->empty()) co_return Result<void>();
  auto done = co_await place.local->run(s::learn_identities,
                                        pg::params(place.system(), place.domain(), known->texts(1), known->texts(0), era), deadline);
  if (!done) co_return tl::make_unexpected(std::move(done.error()));
  co_return Result<void>();
}

Task<Result<bool>> has_unknown_batches(Place place, FenceState fence, Deadline deadline) {
  if (fence.state != "SEALED") co_return false;
  auto here = co_await counted_here(place, fence.epoch, deadline);
  if (!here) co_return tl::make_unexpected(std::move(here.error()));
  co_return fence.batch > here->begun;
}

Task<Result<void>> stop_behind_source(Place place, std::string why, json::object detail, Deadline deadline) {
  std::vector<pg::Step> steps;
  steps.push_back({s::set_read_only, pg::params(place.domain(), why)});
  steps.push_back({s::alarm, pg::params(place.domain(), "SOURCE_AHEAD", json::serialize(detail))});
  auto done = co_await place.local->write(std::move(steps), {.deadline = deadline, .repeatable = true});
  if (!done) co_return tl::make_unexpected(std::move(done.error()));
  co_return Result<void>();
}

Task<Result<Reversed>> reverse_batch(Place place, Writers writers, Deadline deadline) {
  Reversed out;
  auto own = co_await ownership(*place.local, place.domain(), deadline);
  if (!own) co_return tl::make_unexpected(std::move(own.error()));
  if (own->state != "OWNED" && own->state != "REVERTING") co_return out;
  if (!own->read_only.empty())
    co_return fail(Kind::conflict, "DOMAIN_READ_ONLY", "The domain " + place.domain() + " can only be read: " + own->read_only);
  auto fence = co_await fence_state(*place.source, place.domain(), deadline);
  if (!fence) co_return tl::make_unexpected(std::move(fence.error()));
  if (fence->state != "SEALED" || fence->epoch > own->epoch)
    co_return fail(Kind::conflict, "FENCE_STALE",
                   "the fence of " + place.domain() + " is " + fence->state + " since epoch " + std::to_string(fence->epoch));
  if (!fence->counts)
    co_return fail(Kind::conflict, "FENCE_OLD",
                   "the fence of " + place.domain() +
                       " at the source is of an earlier release: its owner runs what `enishi takeover fence` prints once more");

  auto lease = co_await place.source->db().lease(deadline);
  co_await lease.begin(deadline, "begin isolation level read committed");
  auto begun = co_await lease.run(at::begin_reverse, pg::params(place.domain(), fence->epoch), deadline);
  if (!begun) co_return tl::make_unexpected(std::move(begun.error()));
  auto last = co_await compare_counters(place, lease, fence->epoch, deadline);
  if (!last) co_return tl::make_unexpected(std::move(last.error()));
  const bool all = writers == Writers::kept_off;
  // What a crash kept from being forgotten is written once more, which changes nothing.
  auto queued = co_await place.local->run(s::queued, pg::params(place.domain(), kBatch, all), deadline);
  if (!queued) co_return tl::make_unexpected(std::move(queued.error()));
  auto retried = co_await place.local->run(s::retried, pg::params(place.domain(), all), deadline);
  if (!retried) co_return tl::make_unexpected(std::move(retried.error()));
  if (queued->empty() && retried->empty()) {
    co_await lease.rollback(deadline);
    co_return out;
  }
  std::set<std::string> ids;
  std::vector<std::string> read_xids, read_ids;
  for (std::size_t i = 0; i < queued->size(); ++i) {
    read_xids.emplace_back(queued->text(i, 0));
    read_ids.emplace_back(queued->text(i, 1));
    ids.emplace(queued->text(i, 2));
  }
  for (std::size_t i = 0; i < retried->size(); ++i) ids.emplace(retried->text(i, 0));
  out.more = queued->size() >= static_cast<std::size_t>(kBatch);
  const std::vector<std::string> wanted(ids.begin(), ids.end());
  if (auto learnt = co_await learn_lost_keys(place, wanted, own->era, deadline); !learnt)
    co_return tl::make_unexpected(std::move(learnt.error()));
  auto records = co_await records_of(place, wanted, deadline);
  if (!records) co_return tl::make_unexpected(std::move(records.error()));
  fault_point("REVERSE_READ");
  Writer writer(place, lease, deadline);
  if (auto done = co_await writer.write(std::move(*records)); !done) co_return tl::make_unexpected(std::move(done.error()));
  // Before the position moves past them: a failure that nobody remembers would be a lost write.
  for (const auto& failure : writer.failures) {
    std::vector<pg::Step> steps;
    steps.push_back({s::note_failure, pg::params(place.domain(), failure.id, failure.error.code, failure.error.detail)});
    json::object detail{{"record_id", failure.id}, {"code", failure.error.code}, {"detail", failure.error.detail}};
    steps.push_back({s::alarm, pg::params(place.domain(), "REVERSE_FAILED", json::serialize(detail))});
    auto noted = co_await place.local->write(std::move(steps), {.deadline = deadline, .repeatable = true});
    if (!noted) co_return tl::make_unexpected(std::move(noted.error()));
  }
  // The place is for who looks at it. Its row in the stream is what tells this transaction from a foreign one.
  const std::string xid = read_xids.empty() ? std::string(begun->text(0, 0)) : read_xids.back(),
                    id = read_ids.empty() ? std::string(begun->text(0, 1)) : read_ids.back();
  auto noted = co_await lease.run(at::note_reversed, pg::params(place.domain(), xid, id, writer.new_records, writer.new_keys), deadline);
  if (!noted) co_return tl::make_unexpected(std::move(noted.error()));
  auto number = co_await place.local->run(s::begin_reversal, pg::params(place.domain(), fence->epoch, *last), deadline);
  if (!number) co_return tl::make_unexpected(std::move(number.error()));
  const auto batch = number->integer(0, 0);
  auto numbered = co_await lease.run(at::count_batch, pg::params(place.domain(), fence->epoch, batch), deadline);
  if (!numbered) co_return tl::make_unexpected(std::move(numbered.error()));
  fault_point("REVERSE_WRITE");
  co_await lease.commit(deadline);
  fault_point("REVERSE_FORGET");
  std::vector<pg::Step> steps;
  if (!writer.new_keys.empty())
    steps.push_back({s::learn_identities, pg::params(place.system(), place.domain(), writer.new_keys, writer.new_records, own->era)});
  if (!writer.adopted.records.empty())
    steps.push_back({s::adopt_children, pg::params(writer.adopted.records, writer.adopted.derived, writer.adopted.ids)});
  if (!retried->empty()) steps.push_back({s::forget_failures, pg::params(place.domain(), writer.written)});
  steps.push_back({s::forget_queued, pg::params(place.domain(), read_xids, read_ids)});
  steps.push_back({s::end_reversal, pg::params(place.domain(), fence->epoch, batch, writer.written)});
  auto forgotten = co_await place.local->write(std::move(steps), {.deadline = deadline, .repeatable = true});
  if (!forgotten) co_return tl::make_unexpected(std::move(forgotten.error()));
  out.records = static_cast<std::int64_t>(writer.written.size());
  out.failures = static_cast<std::int64_t>(writer.failures.size());
  static auto& counted = metrics::counter("enishi_takeover_reversed_total", "Records written back to legacy systems");
  counted.add(static_cast<std::uint64_t>(out.records));
  co_return out;
}

Task<Result<bool>> drain_reverse(Place place, Deadline deadline) {
  for (;;) {
    auto batch = co_await reverse_batch(place, Writers::kept_off, deadline);
    if (!batch) co_return tl::make_unexpected(std::move(batch.error()));
    if (batch->failures > 0) co_return false;
    if (batch->records == 0 && !batch->more) break;
    if (deadline.passed()) co_return false;
  }
  auto left = co_await place.local->run(s::queue_length, pg::params(place.domain()), deadline);
  if (!left) co_return tl::make_unexpected(std::move(left.error()));
  co_return left->integer(0, 0) == 0;
}

Task<Result<void>> rehearse_reverse(Place place, int most, Deadline deadline) {
  if (place.mapping->reverse.empty())
    co_return fail(Kind::conflict, "REVERSE_MISSING", "the mapping has no reverse.sql: what Enishi owns could not be brought back");
  auto keys = co_await place.local->run(sql::diff::keys_after, pg::params(place.system(), place.domain(), "", most), deadline);
  if (!keys) co_return tl::make_unexpected(std::move(keys.error()));
  auto wanted = keys->texts(0);
  if (wanted.empty()) co_return Result<void>();
  auto ids = co_await place.local->run(s::ids_of, pg::params(place.system(), place.domain(), wanted), deadline);
  if (!ids) co_return tl::make_unexpected(std::move(ids.error()));
  auto records = ids->texts(0);
  auto read = co_await records_of(place, std::move(records), deadline);
  if (!read) co_return tl::make_unexpected(std::move(read.error()));
  auto lease = co_await place.source->db().lease(deadline);
  co_await lease.begin(deadline, "begin isolation level read committed");
  std::vector<pg::Step> bound;
  bound.push_back({s::lock_timeout, pg::params("500")});
  if (auto bounded = co_await lease.batch(std::move(bound), deadline); !bounded) co_return tl::make_unexpected(std::move(bounded.error()));
  Writer writer(place, lease, deadline);
  auto done = co_await writer.write(std::move(*read));
  co_await lease.rollback(deadline);
  if (!done) co_return tl::make_unexpected(std::move(done.error()));
  // Somebody may be changing a record just now; a mapping that does not work fails for all of them.
  if (!writer.failures.empty() && writer.written.empty()) co_return tl::make_unexpected(std::move(writer.failures.front().error));
  co_return Result<void>();
}

}  // namespace enishi::takeover

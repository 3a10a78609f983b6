#include "takeover/switch/diff.hpp"

#include <algorithm>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/json.hpp>
#include <map>
#include <set>

#include "takeover/domains.hpp"
#include "takeover/source.sql.hpp"
#include "takeover/switch/at_source.sql.hpp"
#include "takeover/switch/diff.sql.hpp"
#include "takeover/switch/fence.hpp"
#include "takeover/switch/moves.sql.hpp"

namespace enishi::takeover {
namespace {

namespace s = sql::diff;
using Keys = std::vector<std::string>;

struct Seen {
  std::string digest;
  bool deleted = false;
};
using Digests = std::map<std::string, Seen>;

constexpr std::size_t kMostAtOnce = 500;
constexpr int kLooks = 12;

/// A record that is gone and one that is marked as deleted are the same thing.
bool same(const Digests& here, const Digests& there, const std::string& key) {
  const auto h = here.find(key), t = there.find(key);
  const bool no_h = h == here.end(), no_t = t == there.end();
  if (no_h || no_t) return (no_h || h->second.deleted) && (no_t || t->second.deleted);
  return h->second.digest == t->second.digest;
}

bool unchanged(const Digests& before, const Digests& after, const std::string& key) {
  const auto b = before.find(key), a = after.find(key);
  if (b == before.end() || a == after.end()) return b == before.end() && a == after.end();
  return b->second.digest == a->second.digest;
}

Digests digests_of(const pg::Rows& rows) {
  Digests out;
  for (std::size_t i = 0; i < rows.size(); ++i) out.emplace(rows.text(i, 0), Seen{std::string(rows.text(i, 1)), rows.boolean(i, 2)});
  return out;
}

class Comparison {
 public:
  Comparison(Place place, DiffOptions options) : p_(std::move(place)), o_(std::move(options)), began_(steady_now()) {}

  DiffReport report;

  Task<Result<void>> begin(std::string kind) {
    auto own = co_await ownership(*p_.local, p_.domain(), soon());
    if (!own) co_return tl::make_unexpected(std::move(own.error()));
    own_ = std::move(*own);
    auto snapshot = co_await p_.source->db().run(sql::source::snapshot, pg::params(std::vector<std::uint64_t>{}), soon());
    if (!snapshot) co_return tl::make_unexpected(std::move(snapshot.error()));
    if (kind == "FULL" && o_.resume) {
      auto left = co_await p_.local->run(s::unfinished_run, pg::params(p_.domain(), own_.era), soon());
      if (!left) co_return tl::make_unexpected(std::move(left.error()));
      if (!left->empty()) {
        report.run = left->text(0, 0);
        after_ = left->text(0, 1);
        report.records = left->integer(0, 3);
        report.differences = left->integer(0, 4);
        co_return Result<void>();
      }
    }
    std::optional<std::string> position;
    if (!own_.position.empty()) position = own_.position;
    auto run = co_await p_.local->run(
        s::begin_run, pg::params(p_.domain(), kind, own_.era, std::string(snapshot->text(0, 0)), position, o_.records_per_second, o_.run),
        soon());
    if (!run) co_return tl::make_unexpected(std::move(run.error()));
    report.run = run->text(0, 0);
    co_return Result<void>();
  }

  Task<Result<void>> everything() {
    using namespace asio::experimental::awaitable_operators;
    if (auto known = co_await learn_form(); !known) co_return known;
    if (o_.records_per_second > 0) {  // one after the other: what is asked of the source has a limit
      if (auto done = co_await ranges(); !done) co_return done;
      if (auto done = co_await keys_of_the_source(); !done) co_return done;
    } else {
      auto [here, there] = co_await (ranges() && keys_of_the_source());
      if (!here) co_return here;
      if (!there) co_return there;
    }
    if (form_.empty()) co_return Result<void>();
    auto forgotten = co_await p_.local->run(s::forget_verified, pg::params(p_.domain(), form_), soon());
    if (!forgotten) co_return tl::make_unexpected(std::move(forgotten.error()));
    co_return Result<void>();
  }

  /// Compares these, giving what is on its way time to arrive.
  Task<Result<void>> settle(Keys keys) {
    for (std::size_t at = 0; at < keys.size(); at += kMostAtOnce) {
      Keys part(keys.begin() + static_cast<std::ptrdiff_t>(at),
                keys.begin() + static_cast<std::ptrdiff_t>(std::min(keys.size(), at + kMostAtOnce)));
      if (auto done = co_await settle_part(std::move(part)); !done) co_return done;
    }
    co_return Result<void>();
  }

  /// Both sides stand still: one look is enough.
  Task<Result<void>> at_rest(Keys keys) {
    auto both = co_await look(keys);
    if (!both) co_return tl::make_unexpected(std::move(both.error()));
    Keys wrong;
    for (const auto& key : keys)
      if (!same(both->first, both->second, key)) wrong.push_back(key);
    co_return co_await store(std::move(wrong));
  }

  Task<Result<DiffReport>> end() {
    std::optional<std::string> position;
    if (!own_.position.empty()) position = own_.position;
    auto ended = co_await p_.local->run(
        s::end_run, pg::params(report.run, report.differences == 0 ? "CLEAN" : "DIFFERENT", position, report.records, report.differences),
        soon());
    if (!ended) co_return tl::make_unexpected(std::move(ended.error()));
    report.seconds = std::chrono::duration<double>(steady_now() - began_).count();
    co_return report;
  }

  [[nodiscard]] const Ownership& own() const { return own_; }
  bool strict = false;  ///< somebody is held: no statement may outlive the deadline

 private:
  Task<Result<void>> cut_short() {
    auto ended = co_await p_.local->run(s::end_run, pg::params(report.run, "CUT_SHORT", nullptr, report.records, report.differences),
                                        Deadline::in(Millis(5000)));
    if (!ended) co_return tl::make_unexpected(std::move(ended.error()));
    co_return fail(Kind::unavailable, "DIFF_CUT_SHORT", "the comparison did not end in time; it can go on where it is");
  }

  [[nodiscard]] Deadline soon() const { return strict ? o_.deadline : Deadline::in(Millis(120000)); }
  [[nodiscard]] bool over() const { return o_.deadline.passed() || (o_.stopping != nullptr && *o_.stopping); }

  Task<> keep_to_rate() {
    if (o_.records_per_second <= 0) co_return;
    const auto due = began_ + std::chrono::microseconds(report.records * 1'000'000 / o_.records_per_second);
    const auto ahead = std::chrono::duration_cast<Millis>(due - steady_now());
    // In short naps: a stop is not to wait for a slow rate.
    for (auto left = ahead; left.count() > 0 && !over(); left -= Millis(200)) co_await sleep(std::min(left, Millis(200)));
  }

  Task<Result<pg::Rows>> here(const pg::Statement* statement, Keys keys) {
    co_return co_await p_.local->run(*statement, pg::params(p_.system(), p_.domain(), keys), soon());
  }
  Task<Result<pg::Rows>> there(std::shared_ptr<const pg::Statement> statement, Keys keys) {
    co_return co_await p_.source->db().run(*statement, pg::params(keys), soon());
  }

  /// A range of keys in the order of legacy_identity, and what is known of it from an earlier run.
  struct Range {
    std::string keys;  ///< an array, as PostgreSQL prints it
    std::int64_t count = 0;
    std::string last;
    std::optional<std::string> verified_to, here, there;
  };

  Task<Result<Range>> next_range(std::string after) {
    auto row = co_await p_.local->run(s::next_range, pg::params(p_.system(), p_.domain(), after, o_.chunk, form_.empty() ? "\\x00" : form_),
                                      soon());
    if (!row) co_return tl::make_unexpected(std::move(row.error()));
    Range out;
    out.count = row->integer(0, 1);
    out.keys = row->maybe(0, 0).value_or("{}");
    out.last = row->maybe(0, 2).value_or("");
    out.verified_to = row->maybe(0, 3);
    out.here = row->maybe(0, 4);
    out.there = row->maybe(0, 5);
    co_return out;
  }

  Task<Result<void>> ranges() {
    using namespace asio::experimental::awaitable_operators;
    auto range = co_await next_range(after_);
    auto noted_at = steady_now();
    for (;;) {
      if (!range) co_return tl::make_unexpected(std::move(range.error()));
      if (range->count == 0 && !range->verified_to) co_return co_await note();
      const auto last = range->count == 0 ? *range->verified_to : range->last;
      // The next one is looked up while this one is compared.
      auto [done, next] = co_await (compare_range(std::move(*range)) && next_range(last));
      if (!done) co_return done;
      after_ = last;
      range = std::move(next);
      if (over()) {
        if (auto noted = co_await note(); !noted) co_return noted;
        co_return co_await cut_short();
      }
      if (o_.records_per_second > 0 || steady_now() - noted_at > Millis(200)) {
        if (auto noted = co_await note(); !noted) co_return noted;
        noted_at = steady_now();
      }
      co_await keep_to_rate();
    }
  }

  Task<Result<void>> note() {
    auto noted = co_await p_.local->run(s::note_chunk, pg::params(report.run, after_, report.records, report.differences), soon());
    if (!noted) co_return tl::make_unexpected(std::move(noted.error()));
    co_return Result<void>();
  }

  /// What is asked on both sides, as one hash: a range that was found equal by the same questions may be looked at by its rows'
  /// fingerprints, as long as forward.sql reads nothing but the tables that the mapping names.
  Task<Result<void>> learn_form() {
    if (!p_.rows) co_return Result<void>();
    std::string explained = "explain (verbose, format json) " + std::string(p_.mapping->forward->sql);
    for (auto at = explained.find("$1"); at != std::string::npos; at = explained.find("$1", at)) explained.replace(at, 2, "'{1}'");
    const pg::Statement explain("at_source.explain", pg::Rowcount::many, false, explained);
    auto plan = co_await p_.source->db().run(explain, {}, soon());
    if (!plan || plan->empty()) co_return Result<void>();
    std::vector<std::string> tables;
    for (const auto& table : p_.mapping->tables) tables.push_back(table.name);
    auto relations = co_await p_.source->db().run(sql::at_source::relations, pg::params(tables), soon());
    if (!relations) co_return tl::make_unexpected(std::move(relations.error()));
    std::set<std::string> mapped;
    for (std::size_t i = 0; i < relations->size(); ++i) mapped.emplace(relations->text(i, 0));
    boost::system::error_code bad;
    const auto tree = boost::json::parse(plan->text(0, 0), bad);
    if (bad || !reads_only(mapped, tree)) co_return Result<void>();
    auto form = co_await p_.local->run(s::form, pg::params(std::string(p_.chunk_and_rows->sql)), soon());
    if (!form) co_return tl::make_unexpected(std::move(form.error()));
    auto here_too = co_await p_.local->run(s::fingerprint, pg::params(p_.system(), p_.domain(), "{}"), soon());
    if (!here_too) co_return tl::make_unexpected(std::move(here_too.error()));
    if (here_too->maybe(0, 0)) form_ = "\\x" + std::string(form->text(0, 0));
    co_return Result<void>();
  }

  /// Of a plan and what is below it: no other tables, and no functions that might read some.
  static bool reads_only(const std::set<std::string>& mapped, const boost::json::value& node) {
    if (const auto* list = node.if_array())
      return std::all_of(list->begin(), list->end(), [&](const auto& child) { return reads_only(mapped, child); });
    const auto* object = node.if_object();
    if (object == nullptr) return true;
    const auto text = [object](std::string_view name) {
      const auto* v = object->if_contains(name);
      return v != nullptr && v->is_string() ? std::string(v->get_string()) : std::string();
    };
    if (object->contains("Relation Name") && !mapped.contains(text("Schema") + "." + text("Relation Name"))) return false;
    if (object->contains("Function Name") && text("Schema") != "pg_catalog") return false;
    return std::all_of(object->begin(), object->end(), [&](const auto& member) { return reads_only(mapped, member.value()); });
  }

  Task<Result<pg::Rows>> here_array(const pg::Statement* statement, std::string keys) {
    co_return co_await p_.local->run(*statement, pg::params(p_.system(), p_.domain(), keys), soon());
  }
  Task<Result<pg::Rows>> there_array(std::shared_ptr<const pg::Statement> statement, pg::Params keys) {
    co_return co_await p_.source->db().run(*statement, std::move(keys), soon());
  }

  Task<Result<void>> compare_range(Range range) {
    using namespace asio::experimental::awaitable_operators;
    if (range.count == 0) co_return Result<void>();
    report.records += range.count;
    if (range.here && range.there && range.verified_to == range.last) {
      auto [h, t] = co_await (here_array(&s::fingerprint, range.keys) && there_array(p_.rows, pg::params(range.keys)));
      if (!h) co_return tl::make_unexpected(std::move(h.error()));
      if (!t) co_return tl::make_unexpected(std::move(t.error()));
      if (h->text(0, 0) == *range.here && t->text(0, 0) == *range.there) co_return Result<void>();
    }
    const bool rows_too = !form_.empty();
    auto [h, t] = co_await (
        here_array(&s::chunk_digest, range.keys) &&
        there_array(rows_too ? p_.chunk_and_rows : p_.chunk, rows_too ? pg::params(range.keys, range.keys) : pg::params(range.keys)));
    if (!h) co_return tl::make_unexpected(std::move(h.error()));
    if (!t) co_return tl::make_unexpected(std::move(t.error()));
    if (h->text(0, 0) == t->text(0, 0) && h->text(0, 1) == t->text(0, 1)) {
      if (!rows_too) co_return Result<void>();
      auto kept = co_await p_.local->run(
          s::verified, pg::params(p_.domain(), form_, range.last, std::string(h->text(0, 2)), std::string(t->text(0, 2))), soon());
      if (!kept) co_return tl::make_unexpected(std::move(kept.error()));
      co_return Result<void>();
    }
    auto listed = co_await p_.local->run(s::elements, pg::params(range.keys), soon());
    if (!listed) co_return tl::make_unexpected(std::move(listed.error()));
    auto chunk = listed->texts(0);
    auto both = co_await look(chunk);
    if (!both) co_return tl::make_unexpected(std::move(both.error()));
    Keys suspects;
    for (const auto& key : chunk)
      if (!same(both->first, both->second, key)) suspects.push_back(key);
    co_return co_await settle(std::move(suspects));
  }

  /// (here, there)
  Task<Result<std::pair<Digests, Digests>>> look(Keys keys) {
    using namespace asio::experimental::awaitable_operators;
    auto [h, t] = co_await (here(&s::record_digests, keys) && there(p_.digests, keys));
    if (!h) co_return tl::make_unexpected(std::move(h.error()));
    if (!t) co_return tl::make_unexpected(std::move(t.error()));
    co_return std::pair(digests_of(*h), digests_of(*t));
  }

  Task<Result<Digests>> owner_side(bool legacy, Keys keys) {
    auto rows = legacy ? co_await there(p_.digests, std::move(keys)) : co_await here(&s::record_digests, std::move(keys));
    if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
    co_return digests_of(*rows);
  }

  /// Until the other side has everything that the owner's had when this was called.
  Task<Result<bool>> arrived(bool legacy, std::int64_t epoch, Deadline until) {
    std::string position, transactions;
    if (!legacy) {
      auto now = co_await p_.local->run(sql::moves::now_there, {}, soon());
      if (!now) co_return tl::make_unexpected(std::move(now.error()));
      transactions = now->text(0, 0);
    } else {
      auto at = co_await mark(*p_.source, p_.domain(), epoch, soon());
      if (!at) co_return tl::make_unexpected(std::move(at.error()));
      position = std::move(*at);
    }
    for (;;) {
      if (legacy) {
        auto reached = co_await p_.local->run(sql::moves::reached, pg::params(p_.domain(), position), soon());
        if (!reached) co_return tl::make_unexpected(std::move(reached.error()));
        if (reached->boolean(0, 0)) co_return true;
      } else {
        // The queue is hardly ever empty while people work; what was in it is written back in its order.
        auto written = co_await p_.local->run(sql::moves::written_back, pg::params(p_.domain(), transactions), soon());
        if (!written) co_return tl::make_unexpected(std::move(written.error()));
        if (written->boolean(0, 0)) co_return true;
      }
      if (until.passed()) co_return false;
      co_await sleep(Millis(10));
    }
  }

  Task<Result<void>> settle_part(Keys keys) {
    const auto until = Deadline::in(o_.settle);
    for (int looked = 0; !keys.empty(); ++looked) {
      auto own = co_await ownership(*p_.local, p_.domain(), soon());
      if (!own) co_return tl::make_unexpected(std::move(own.error()));
      const bool legacy = own->state == "LEGACY" || own->state == "SWITCHING";
      auto before = co_await owner_side(legacy, keys);
      if (!before) co_return tl::make_unexpected(std::move(before.error()));
      auto came = co_await arrived(legacy, own->epoch, until);
      if (!came) co_return tl::make_unexpected(std::move(came.error()));
      auto other = co_await owner_side(!legacy, keys);
      if (!other) co_return tl::make_unexpected(std::move(other.error()));
      auto after = co_await owner_side(legacy, keys);
      if (!after) co_return tl::make_unexpected(std::move(after.error()));
      Keys moving, wrong;
      for (const auto& key : keys) {
        if (same(*other, *before, key) || same(*other, *after, key)) continue;
        (*came && unchanged(*before, *after, key) ? wrong : moving).push_back(key);
      }
      if (auto stored = co_await store(std::move(wrong)); !stored) co_return stored;
      if (!*came)
        co_return fail(Kind::unavailable, "DIFF_STALLED",
                       "the other side of " + p_.domain() + " does not catch up: nothing can be compared");
      // Records that change faster than they can be looked at are compared when nothing moves: while a switch holds their writers.
      if (looked >= kLooks) break;
      keys = std::move(moving);
    }
    co_return Result<void>();
  }

  Task<Result<void>> store(Keys keys) {
    if (keys.empty()) co_return Result<void>();
    report.differences += static_cast<std::int64_t>(keys.size());
    if (stored_ >= o_.most_reported) co_return Result<void>();
    if (keys.size() > o_.most_reported - stored_) keys.resize(o_.most_reported - stored_);
    stored_ += keys.size();
    auto rows = co_await there(p_.canonical, keys);
    if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
    std::map<std::string, std::string> records;
    for (std::size_t i = 0; i < rows->size(); ++i) records.emplace(rows->text(i, 0), rows->text(i, 1));
    std::vector<std::optional<std::string>> values;
    for (const auto& key : keys) {
      const auto found = records.find(key);
      values.push_back(found == records.end() ? std::nullopt : std::optional(found->second));
    }
    auto done = co_await p_.local->run(s::store_differences, pg::params(report.run, p_.system(), p_.domain(), keys, values), soon());
    if (!done) co_return tl::make_unexpected(std::move(done.error()));
    co_return Result<void>();
  }

  /// Keys that the source has and Enishi has not.
  Task<Result<void>> keys_of_the_source() {
    pg::Params next = pg::params(5000);
    bool first = true;
    for (;;) {
      auto rows = co_await p_.source->db().run(first ? *p_.first_keys : *p_.next_keys, next, soon());
      if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
      if (rows->empty()) co_return Result<void>();
      first = false;
      auto keys = rows->texts(0);
      next = pg::params(5000);
      for (std::size_t c = 1; c < rows->columns(); ++c) next.push_back(std::string(rows->text(rows->size() - 1, c)));
      auto unknown = co_await here(&s::unknown_keys, std::move(keys));
      if (!unknown) co_return tl::make_unexpected(std::move(unknown.error()));
      auto suspects = unknown->texts(0);
      if (auto done = co_await settle(suspects); !done) co_return done;
      if (auto done = co_await without_record(std::move(suspects)); !done) co_return done;
      if (over()) co_return co_await cut_short();
    }
  }

  /// Rows of the root table that no side has a record of: equal, and lost all the same.
  Task<Result<void>> without_record(Keys keys) {
    if (keys.empty()) co_return Result<void>();
    const auto asked = rooted_keys(*p_.mapping, keys);
    auto lease = co_await p_.source->db().lease(soon());
    std::vector<pg::Step> steps;  // in one snapshot
    steps.push_back({*p_.mapping->rooted, pg::params(asked.first, asked.keys)});
    steps.push_back({*p_.digests, pg::params(asked.keys)});
    auto rows = co_await lease.batch(std::move(steps), soon());
    if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
    const auto records = digests_of((*rows)[1]);
    Keys wrong;
    for (std::size_t i = 0; i < (*rows)[0].size(); ++i)
      if (std::string key((*rows)[0].text(i, 0)); !records.contains(key)) wrong.push_back(std::move(key));
    co_return co_await store(std::move(wrong));
  }

  Place p_;
  DiffOptions o_;
  SteadyTime began_;
  Ownership own_;
  std::string after_;
  std::string form_;  ///< as bytea; empty: every record is made canonical
  std::size_t stored_ = 0;
};

}  // namespace

Task<Result<DiffReport>> diff(Place place, DiffOptions options) {
  Comparison comparison(std::move(place), std::move(options));
  if (auto begun = co_await comparison.begin("FULL"); !begun) co_return tl::make_unexpected(std::move(begun.error()));
  std::exception_ptr first;
  try {
    if (auto done = co_await comparison.everything(); !done) co_return tl::make_unexpected(std::move(done.error()));
  } catch (const asio::multiple_exceptions& several) {  // both sides at once, which says nothing
    first = several.first_exception();
  }
  if (first) std::rethrow_exception(first);
  co_return co_await comparison.end();
}

Task<Result<DiffReport>> diff_since(Place place, std::string base_snapshot_xmax, bool quick, DiffOptions options) {
  constexpr int kMost = 100000;
  Comparison comparison(place, options);
  comparison.strict = quick;
  if (auto begun = co_await comparison.begin("SINCE"); !begun) co_return tl::make_unexpected(std::move(begun.error()));
  auto rows = co_await place.local->run(
      s::changed_keys, pg::params(place.system(), place.domain(), comparison.own().era, base_snapshot_xmax, kMost), options.deadline);
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  if (rows->size() >= kMost)
    co_return fail(Kind::conflict, "DIFF_TOO_OLD", "too much changed since the last clean comparison; run `enishi takeover diff` first");
  auto keys = rows->texts(0);
  comparison.report.records = static_cast<std::int64_t>(keys.size());
  auto done = quick ? co_await comparison.at_rest(std::move(keys)) : co_await comparison.settle(std::move(keys));
  if (!done) co_return tl::make_unexpected(std::move(done.error()));
  co_return co_await comparison.end();
}

Task<Result<DiffReport>> diff_moved(Place place, DiffOptions options) {
  Comparison comparison(place, options);
  if (auto begun = co_await comparison.begin("KEYS"); !begun) co_return tl::make_unexpected(std::move(begun.error()));
  auto rows = co_await place.local->run(s::moved_keys, pg::params(place.domain(), place.system()), options.deadline);
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  auto keys = rows->texts(0);
  comparison.report.records = static_cast<std::int64_t>(keys.size());
  if (auto done = co_await comparison.settle(std::move(keys)); !done) co_return tl::make_unexpected(std::move(done.error()));
  co_return co_await comparison.end();
}

Task<Result<std::string>> last_found(pg::Database& db, std::string domain, Deadline deadline) {
  auto run = co_await db.run(s::last_found, pg::params(domain), deadline);
  if (!run) co_return tl::make_unexpected(std::move(run.error()));
  if (run->empty()) co_return fail(Kind::conflict, "NOTHING_TO_REPAIR", "The last comparison of " + domain + " found no difference.");
  co_return std::string(run->text(0, 0));
}

Task<Result<std::vector<std::string>>> found_keys(Place place, std::string run, int most) {
  auto rows = co_await place.local->run(s::found_keys, pg::params(run, most), Deadline::in(Millis(30000)));
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  co_return rows->texts(0);
}

Task<Result<void>> read_again(Place place, std::vector<std::string> keys, Deadline deadline) {
  for (std::size_t at = 0; at < keys.size();) {
    const auto to = std::min(keys.size(), at + kMostAtOnce);
    const Keys part(keys.begin() + static_cast<std::ptrdiff_t>(at), keys.begin() + static_cast<std::ptrdiff_t>(to));
    auto own = co_await ownership(*place.local, place.domain(), deadline);
    if (!own) co_return tl::make_unexpected(std::move(own.error()));
    auto fetched = co_await place.source->fetch(place.mapping, part, {}, own->era, deadline);
    if (!fetched) co_return tl::make_unexpected(std::move(fetched.error()));
    auto batch = decode(*place.mapping, std::move(**fetched));
    batch.epoch = own->epoch;
    auto lease = co_await place.local->lease(deadline);
    co_await lease.begin(deadline);
    auto stored = co_await apply(lease, batch, deadline);
    if (stored) {
      co_await lease.commit(deadline);
      at = to;
      continue;
    }
    co_await lease.rollback(deadline);
    const auto& code = stored.error().code;
    if (deadline.passed() || (code != "EPOCH_MOVED" && code != "GATE_SHUT" && code != "SERIALIZATION_FAILURE"))
      co_return tl::make_unexpected(std::move(stored.error()));
    co_await sleep(Millis(50));
  }
  co_return Result<void>();
}

Task<Result<DiffReport>> repair(Place place, DiffOptions options) {
  const auto soon = Deadline::in(Millis(600000));
  auto own = co_await ownership(*place.local, place.domain(), soon);
  if (!own) co_return tl::make_unexpected(std::move(own.error()));
  if (own->state != "LEGACY" && own->state != "OWNED")
    co_return fail(Kind::conflict, "ILLEGAL_TRANSITION",
                   "The domain " + place.domain() + " is " + own->state + "; try again when it is not.");
  auto run = co_await last_found(*place.local, place.domain(), soon);
  if (!run) co_return tl::make_unexpected(std::move(run.error()));
  auto keys = co_await found_keys(place, std::move(*run), static_cast<int>(options.most_reported));
  if (!keys) co_return tl::make_unexpected(std::move(keys.error()));
  Comparison comparison(place, options);
  if (auto begun = co_await comparison.begin("KEYS"); !begun) co_return tl::make_unexpected(std::move(begun.error()));
  if (own->state == "LEGACY") {
    if (auto read = co_await read_again(place, *keys, soon); !read) co_return tl::make_unexpected(std::move(read.error()));
  } else {
    auto queued = co_await place.local->run(sql::moves::queue_keys, pg::params(place.domain(), place.system(), *keys), soon);
    if (!queued) co_return tl::make_unexpected(std::move(queued.error()));
  }
  comparison.report.records = static_cast<std::int64_t>(keys->size());
  if (auto done = co_await comparison.settle(std::move(*keys)); !done) co_return tl::make_unexpected(std::move(done.error()));
  co_return co_await comparison.end();
}

}  // namespace enishi::takeover

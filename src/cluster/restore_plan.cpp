#include <fmt/format.h>

#include <algorithm>
#include <regex>

#include "cluster/files.hpp"
#include "cluster/restore_parts.hpp"

namespace enishi::cluster {
namespace {

/// By its restore point, or by a name that one mark within reach has.
Result<Event> find_mark(const std::string& name, const Window& window, std::optional<std::uint32_t> timeline) {
  std::vector<Event> found;
  std::string known;
  for (const auto& mark : window.marks) {
    if ((mark.name == name || mark.point == name) && (!timeline || mark.timeline == *timeline)) found.push_back(mark);
    known += (known.empty() ? "" : ", ") + mark.name;
  }
  if (found.empty())
    return fail(Kind::not_found, "TARGET_UNKNOWN",
                fmt::format("nobody set the mark \"{}\"{}", name, known.empty() ? "; there are none" : "; there are: " + known));
  const auto reached = std::find_if(found.begin(), found.end(), [&](const Event& m) { return m.at >= window.from; });
  if (reached != found.end()) found.erase(found.begin(), reached);
  if (found.size() == 1) return found.front();
  std::string each;
  for (const auto& m : found) each += fmt::format("{}{} ({} at {})", each.empty() ? "" : ", ", to_text(m.at), m.point, m.lsn.str());
  return fail(
      Kind::conflict, "TARGET_AMBIGUOUS",
      fmt::format("{} marks have the name \"{}\": {}. Restore to the one that is meant by the name in parentheses, or by its position.",
                  found.size(), name, each));
}

}  // namespace

Result<Target> Target::parse(std::string_view text) {
  Target t;
  if (text.empty() || text == "latest") return t;
  if (const auto lsn = Lsn::parse(text)) {
    t.kind = Kind::lsn;
    t.lsn = *lsn;
    return t;
  }
  if (const auto moment = parse_moment(text)) {
    t.kind = Kind::time;
    t.time = *moment;
    return t;
  }
  static const std::regex name(R"([A-Za-z][A-Za-z0-9._-]{0,62})");
  if (std::regex_match(text.begin(), text.end(), name)) {
    t.kind = Kind::name;
    t.name = std::string(text);
    return t;
  }
  return fail(enishi::Kind::malformed, "TARGET_INVALID",
              fmt::format("\"{}\" is no moment to restore: give a time (2026-11-22 13:05:01.123456+09), a position (0/3A4F2B8), the name "
                          "of a mark, or latest",
                          text));
}

std::string Target::str() const {
  switch (kind) {
    case Kind::time:
      return to_text(time);
    case Kind::lsn:
      return lsn.str();
    case Kind::name:
      return name;
    case Kind::latest:
      break;
  }
  return "latest";
}

Result<Plan> make_plan(const RestoreRequest& request, const Window& window, const fs::path& home) {
  if (window.backups.empty())
    return fail(Kind::not_found, "NO_BACKUP",
                fmt::format("there is no backup in \"{}\" to restore from", request.repository.folder().string()));
  auto target = request.target;
  std::uint32_t timeline = request.timeline.value_or(window.timeline);
  if (target.kind == Target::Kind::name) {
    auto mark = find_mark(target.name, window, request.timeline);
    if (!mark) return tl::make_unexpected(mark.error());
    target.lsn = mark->lsn;
    target.name = mark->point;
    if (!request.timeline) timeline = mark->timeline;
  }
  if (target.kind == Target::Kind::time && !request.timeline) {
    // Which timeline was the live one at that time; a later restore left what came after its own moment on the timeline before.
    for (const auto& e : window.timelines)
      if (e.at <= target.time || e.timeline == window.timelines.front().timeline) timeline = e.timeline;
  }
  const bool other = timeline != window.timeline;
  if (target.kind == Target::Kind::time && (target.time < window.from || (!other && target.time > window.to)))
    return fail(Kind::not_found, "TARGET_OUTSIDE_WINDOW",
                fmt::format("{} is not within reach: {}", to_text(target.time), window_text(window)));
  if (target.kind == Target::Kind::lsn && (target.lsn < window.from_lsn || (!other && target.lsn > window.to_lsn)))
    return fail(Kind::not_found, "TARGET_OUTSIDE_WINDOW", fmt::format("{} is not within reach: {}", target.lsn.str(), window_text(window)));

  const WalSource source(request.repository, home, window.system, window.archive);
  const auto path = source.ancestry(timeline);
  Plan plan;
  plan.timeline = timeline;
  bool found = false;
  for (const auto& b : window.backups) {
    if (b.damaged) continue;  // pages were wrong already; the one before it and the WAL are right
    const auto left = std::find_if(path.begin(), path.end(), [&b](const auto& one) { return one.first == b.timeline; });
    if (b.timeline != timeline && (left == path.end() || b.stop > left->second)) continue;
    if (target.kind == Target::Kind::time && b.finished + seconds(1) > target.time) continue;
    if ((target.kind == Target::Kind::lsn || target.kind == Target::Kind::name) && b.stop > target.lsn) continue;
    plan.backup = b;
    found = true;
  }
  if (!found)
    return fail(Kind::not_found, "TARGET_OUTSIDE_WINDOW",
                fmt::format("no backup was complete before {} on timeline {}: {}", target.str(), timeline, window_text(window)));
  switch (target.kind) {
    case Target::Kind::latest:
      plan.expected_end = window.to_lsn;
      break;
    case Target::Kind::time: {
      if (other) {
        // Between the last commit of a timeline and the start of the next one nothing was written: all of it is what was there.
        auto bin = binaries_for(request.pg_bin, 0);
        if (!bin) return tl::make_unexpected(bin.error());
        const auto last = source.last_commit(*bin, timeline, plan.backup.stop);
        if (last && last->at <= target.time) {
          plan.expected_end = last->lsn;
          break;
        }
      }
      auto stamp = to_text(target.time);
      stamp[10] = ' ';
      stamp.replace(stamp.size() - 1, 1, "+00");  // PostgreSQL knows no names of zones yet when it reads this
      plan.settings = "recovery_target_time = '" + stamp + "'\n";
      const auto span = std::chrono::duration<double>(window.to - plan.backup.finished).count();
      const auto part =
          span <= 0 ? 1.0 : std::clamp(std::chrono::duration<double>(target.time - plan.backup.finished).count() / span, 0.0, 1.0);
      plan.expected_end =
          Lsn{plan.backup.stop.at +
              static_cast<std::uint64_t>(part * static_cast<double>(window.to_lsn.at - std::min(window.to_lsn.at, plan.backup.stop.at)))};
      break;
    }
    case Target::Kind::lsn:
      // What was written before the position, and nothing else.
      plan.settings = "recovery_target_lsn = '" + target.lsn.str() + "'\nrecovery_target_inclusive = off\n";
      plan.expected_end = target.lsn;
      break;
    case Target::Kind::name:
      plan.settings = "recovery_target_name = " + conf_value(target.name) + "\n";
      plan.expected_end = target.lsn;
      break;
  }
  plan.settings += fmt::format("recovery_target_timeline = '{}'\nrecovery_target_action = 'promote'\nhot_standby = off\n", timeline);
  return plan;
}

}  // namespace enishi::cluster

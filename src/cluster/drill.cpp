#include <fmt/format.h>

#include <random>
#include <sstream>

#include "cluster/files.hpp"
#include "cluster/restore_parts.hpp"

namespace enishi::cluster {
namespace {

constexpr const char* kDrills = "drills.jsonl";

}  // namespace

std::string to_json(const DrillResult& r) {
  return json::serialize(json::object{
      {"at", to_text(r.at)}, {"good", r.good}, {"target", r.target}, {"seconds", r.seconds}, {"bytes", r.bytes}, {"detail", r.detail}});
}

DrillResult drill(const Repository& repository, const fs::path& scratch, const fs::path& pg_bin, std::vector<Check> checks,
                  std::function<void(const Progress&)> progress, const std::atomic<bool>* stop) {
  DrillResult result;
  result.at = now();
  const auto began = steady_now();
  const auto& user = repository.user();
  std::error_code ec;
  fs::remove_all(scratch, ec);
  auto window = read_window(repository, {}, pg_bin);
  if (!window || window->backups.empty() || window->to <= window->from) {
    result.detail = !window ? window.error().detail : window_text(*window);
  } else {
    std::mt19937_64 random(std::random_device{}());
    const auto span = (window->to - window->from).count();
    Target target;
    target.kind = Target::Kind::time;
    target.time = window->from + std::chrono::microseconds(std::uniform_int_distribution<std::int64_t>(0, span)(random));
    result.target = target.str();
    RestoreRequest request{repository, target, scratch};
    request.pg_bin = pg_bin;
    request.window = std::move(*window);
    request.gentle = true;
    request.checks = std::move(checks);
    request.progress = std::move(progress);
    request.stop = stop;
    auto report = restore(std::move(request));
    if (!report) {
      result.detail = report.error().code + ": " + report.error().detail;
    } else {
      result.bytes = report->bytes;
      result.good = report->good();
      for (const auto& c : report->checks)
        if (!c.good) result.detail += (result.detail.empty() ? "" : "; ") + c.name + ": " + c.detail;
      if (result.good)
        result.detail = fmt::format("restored and checked; the newest commit there is of {}",
                                    report->last_commit ? to_text(*report->last_commit) : "the backup");
    }
  }
  fs::remove_all(scratch, ec);
  result.seconds = elapsed(began);
  if (stop == nullptr || !stop->load()) (void)append_line(repository.data() / kDrills, to_json(result), user);
  return result;
}

std::vector<DrillResult> drills(const fs::path& data) {
  std::vector<DrillResult> out;
  std::istringstream lines(slurp(data / kDrills));
  for (std::string line; std::getline(lines, line);) {
    boost::system::error_code bad;
    const auto v = json::parse(line, bad);
    if (bad || !v.is_object()) continue;
    const auto& o = v.get_object();
    DrillResult r;
    const auto text = [&o](std::string_view name) {
      const auto* f = o.if_contains(name);
      return f != nullptr && f->is_string() ? std::string(f->get_string()) : std::string();
    };
    r.at = parse_moment(text("at")).value_or(Moment{});
    r.target = text("target");
    r.detail = text("detail");
    if (const auto* g = o.if_contains("good"); g != nullptr && g->is_bool()) r.good = g->get_bool();
    if (const auto* s = o.if_contains("seconds"); s != nullptr && s->is_number()) r.seconds = s->to_number<double>();
    if (const auto* n = o.if_contains("bytes"); n != nullptr && n->is_number()) r.bytes = n->to_number<std::uint64_t>();
    out.push_back(std::move(r));
  }
  return out;
}

}  // namespace enishi::cluster

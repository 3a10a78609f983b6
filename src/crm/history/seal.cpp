#include <fmt/format.h>

#include <boost/json.hpp>
#include <charconv>

#include "base/clock.hpp"
#include "crm/history/history_api.hpp"
#include "crm/history/seal.sql.hpp"

namespace enishi::crm::history {
namespace {

namespace s = sql::seal;
namespace json = boost::json;

constexpr std::int64_t seals_a_trip = 20;
constexpr std::size_t most_problems = 1000;
constexpr Millis patience{60000};

}  // namespace

Task<Result<ChainReport>> verify_chain(pg::Lease& lease, std::function<void(double, double)> progress, std::string anchor) {
  ChainReport report;
  auto length = co_await lease.run(s::chain_length, {}, Deadline::in(patience));
  if (!length) co_return tl::make_unexpected(length.error());
  report.seals = length->integer(0, 0);
  report.rows = length->integer(0, 2);
  if (report.seals > 0) report.head = fmt::format("{}:{}", report.seals, length->text(0, 1));

  if (!anchor.empty()) {
    std::int64_t number = 0;
    const auto colon = anchor.find(':');
    const auto read = std::from_chars(anchor.data(), anchor.data() + std::min(colon, anchor.size()), number);
    if (colon == std::string::npos || read.ec != std::errc() || read.ptr != anchor.data() + colon || anchor.size() - colon != 65)
      co_return fail(Kind::malformed, "ANCHOR_INVALID", "an anchor is NUMBER:DIGEST, as a check prints it");
    auto known = co_await lease.run(s::seal_digest, pg::params(number), Deadline::in(patience));
    if (!known) co_return tl::make_unexpected(known.error());
    if (known->empty() || known->text(0, 0) != std::string_view(anchor).substr(colon + 1)) {
      ChainProblem problem;
      problem.seal = number;
      problem.problem = "ANCHOR_DIFFERS";
      report.problems.push_back(std::move(problem));
    }
  }

  const auto began = steady_now();
  for (std::int64_t from = 1; from <= report.seals && report.problems.size() < most_problems; from += seals_a_trip) {
    const auto to = std::min(report.seals, from + seals_a_trip - 1);
    auto found = co_await lease.run(s::seal_problems, pg::params(from, to), Deadline::in(patience));
    if (!found) co_return tl::make_unexpected(found.error());
    for (std::size_t i = 0; i < found->size() && report.problems.size() < most_problems; ++i) {
      ChainProblem problem;
      problem.seal = found->integer(i, 0);
      problem.problem = std::string(found->text(i, 1));
      problem.at = found->maybe(i, 3).value_or("");
      problem.table = found->maybe(i, 4).value_or("");
      problem.row_id = found->maybe(i, 5).value_or("");
      problem.actor = found->maybe(i, 6).value_or("");
      if (!found->null(i, 2)) problem.row = found->integer(i, 2);
      report.problems.push_back(std::move(problem));
    }
    if (progress) {
      const double done = static_cast<double>(to) / static_cast<double>(report.seals);
      const double spent = std::chrono::duration<double>(steady_now() - began).count();
      progress(done, spent * (1 - done) / done);
    }
  }
  auto rest = co_await lease.run(s::unsealed, {}, Deadline::in(patience));
  if (!rest) co_return tl::make_unexpected(rest.error());
  report.unsealed = rest->integer(0, 0);
  co_return report;
}

std::string to_json(const ChainReport& report) {
  json::array problems;
  for (const auto& p : report.problems)
    problems.push_back(json::object{{"seal", p.seal},
                                    {"problem", p.problem},
                                    {"id", p.row ? json::value(*p.row) : json::value()},
                                    {"at", p.at},
                                    {"table", p.table},
                                    {"row_id", p.row_id},
                                    {"actor", p.actor}});
  return json::serialize(json::object{{"whole", report.whole()},
                                      {"seals", report.seals},
                                      {"rows", report.rows},
                                      {"unsealed", report.unsealed},
                                      {"head", report.head},
                                      {"problems", std::move(problems)}});
}

std::string to_text(const ChainProblem& p) {
  if (!p.row) return fmt::format("{}: seal {}", p.problem, p.seal);
  if (p.table.empty()) return fmt::format("{}: row {} of seal {}", p.problem, *p.row, p.seal);
  return fmt::format("{}: row {} of seal {}: {} {} of {} by {}", p.problem, *p.row, p.seal, p.table, p.row_id, p.at, p.actor);
}

std::vector<jobs::Job> periodic() { return {{"seal_history", Millis(1000), s::seal_history, 0}}; }

}  // namespace enishi::crm::history

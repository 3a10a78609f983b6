#include "pg/statement.hpp"

#include <algorithm>
#include <map>
#include <mutex>

#include "base/metrics.hpp"

namespace enishi::pg {
namespace {

struct Registry {
  std::mutex lock;
  std::vector<const Statement*> all;
  std::map<std::string, unsigned, std::less<>> named;  ///< how often a name was given
  std::uint32_t next_id = 0;
};

/// Never destroyed: statements are constants of many files and go in no order at exit.
Registry& registry() {
  static auto* one = new Registry;
  return *one;
}

}  // namespace

Statement::Statement(std::string_view statement_name, Rowcount rowcount, bool shares, std::string_view text)
    : name(statement_name), rows(rowcount), pipeline(shares), sql(text), id_(0), server_name_(statement_name) {
  auto& known = registry();
  const std::lock_guard guard(known.lock);
  id_ = known.next_id++;
  const auto times = known.named[server_name_]++;
  if (times > 0) server_name_ += "#" + std::to_string(times);
  known.all.push_back(this);
}

Statement::~Statement() {
  auto& known = registry();
  const std::lock_guard guard(known.lock);
  std::erase(known.all, this);
}

metrics::Histogram& Statement::seconds() const {
  auto* known = seconds_.load(std::memory_order_acquire);
  if (known == nullptr) {
    known = &metrics::histogram("enishi_pg_statement_seconds", "Time from sending a statement to its answer",
                                {{"statement", std::string(name)}});
    seconds_.store(known, std::memory_order_release);
  }
  return *known;
}

std::vector<const Statement*> all_statements() {
  auto& known = registry();
  const std::lock_guard guard(known.lock);
  auto sorted = known.all;
  std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) { return a->name < b->name; });
  return sorted;
}

}  // namespace enishi::pg

#include <string>

#include "base/metrics.hpp"
#include "takeover/api/routes.hpp"
#include "takeover/api/takeover.sql.hpp"

namespace enishi::takeover {

Task<> observe(pg::Database& db, Deadline deadline) {
  const auto rows = co_await db.run(sql::takeover::observe, {}, deadline);
  if (!rows) co_return;
  for (std::size_t r = 0; r < rows->size(); ++r) {
    const metrics::Labels labels{{"domain", std::string(rows->text(r, 0))}, {"system", std::string(rows->text(r, 1))}};
    const auto set = [&](const char* name, const char* help, std::size_t column, double factor) {
      if (rows->null(r, column)) return;
      metrics::gauge(name, help, labels).set(std::stod(std::string(rows->text(r, column))) * factor);
    };
    const auto one = [&](const char* name, const char* help, bool yes) { metrics::gauge(name, help, labels).set(yes ? 1 : 0); };
    one("enishi_takeover_owned", "1 while Enishi owns the domain", rows->text(r, 2) == "OWNED" || rows->text(r, 2) == "LOCAL");
    one("enishi_takeover_stopped", "1 while the mirror is stopped and somebody has to look", rows->text(r, 3) == "STOPPED");
    set("enishi_takeover_lag_bytes", "WAL of the source that is not stored here yet", 4, 1);
    set("enishi_takeover_lag_seconds", "Age of the newest transaction stored, while something is missing", 5, 0.001);
    set("enishi_takeover_rejects_open", "Records that were refused and wait for somebody", 6, 1);
    set("enishi_takeover_reverse_waiting", "Changed records that are not written back yet", 7, 1);
    set("enishi_takeover_copied_rows", "Root records copied in this era", 8, 1);
    set("enishi_takeover_alarms", "Alarms that nobody has acknowledged", 9, 1);
    set("enishi_takeover_last_hold_seconds", "How long the last move held writes", 10, 1);
  }
}

}  // namespace enishi::takeover

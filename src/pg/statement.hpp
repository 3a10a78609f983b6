// A named SQL statement. The build makes one from each `-- name:` line of a .sql file; the name is its metric and trace label and,
// prepared on a connection, its name there. Every statement that exists in the binary can be listed, so a test prepares them all.
#pragma once
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace enishi::metrics {
class Histogram;
}

namespace enishi::pg {

/// What a statement promises about its rows: exactly one, at most one, any number, none looked at.
enum class Rowcount { one, optional, many, exec };

struct Statement {
  std::string_view name;  ///< "customers.find_customer"
  Rowcount rows;
  bool pipeline;  ///< cost is bounded: may share a connection with other requests
  std::string_view sql;

  Statement(std::string_view statement_name, Rowcount rowcount, bool shares, std::string_view text);
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  /// Unique in this process and small: connections keep what they prepared in a vector.
  [[nodiscard]] std::uint32_t id() const { return id_; }
  /// Its name on the server: `name`, made different when two statements of the process share one.
  [[nodiscard]] const std::string& server_name() const { return server_name_; }
  /// enishi_pg_statement_seconds with this name.
  [[nodiscard]] metrics::Histogram& seconds() const;

 private:
  std::uint32_t id_;
  std::string server_name_;
  mutable std::atomic<metrics::Histogram*> seconds_{nullptr};
};

/// Every statement linked into this binary, sorted by name.
std::vector<const Statement*> all_statements();

}  // namespace enishi::pg

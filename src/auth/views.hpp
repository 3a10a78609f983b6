// Views of personal data on their way to personal_data_view: one buffer a shard, written every 50 ms or 500 rows in one statement. The
// columns are array literals that grow in place, so that a view costs no allocation of its own.
//
//   buffer.add(user, "screen_pop", "customer", id, 1, request.id);
//   auto batch = buffer.take();                       // params of insert_views
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.hpp"
#include "base/id.hpp"
#include "pg/values.hpp"

namespace enishi::auth {

class ViewBuffer {
 public:
  static constexpr std::size_t kBatch = 500;
  static constexpr std::size_t kMost = 10000;
  void add(const UserId& user, std::string_view operation, std::string_view entity, const std::optional<Uuid>& id, int rows,
           std::string_view request);
  [[nodiscard]] std::size_t size() const { return count_; }
  /// The arrays of insert_views ($2 to $8), and since when their times count. Empties the buffer.
  struct Batch {
    pg::Params arrays;
    SteadyTime since;
    std::size_t count = 0;
  };
  Batch take();

 private:
  std::size_t count_ = 0;
  SteadyTime since_;
  std::string after_, users_, operations_, entities_, ids_, rows_, requests_;
};

}  // namespace enishi::auth

// What it means to a caller that the database refused a row.
//
//   auto made = co_await call.write(sql::customers::create_customer, …, 201);
//   if (!made) co_return tl::make_unexpected(explain(std::move(made.error()), "customer"));
#pragma once
#include <string_view>

#include "base/error.hpp"

namespace enishi::crm {

/// Constraints are named by their table and column (customer_owner_id_fkey, media_source_code): from that, the field of the body of which
/// the error speaks. A taken primary key is 409 ID_TAKEN, another taken value 409 <COLUMN>_TAKEN, the rest 422 VALIDATION_FAILED. Other
/// errors pass unchanged.
[[nodiscard]] Error explain(Error error, std::string_view table);

}  // namespace enishi::crm

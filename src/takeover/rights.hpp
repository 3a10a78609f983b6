// Which tables and sequences a text of SQL touches, and how: what a login has to be granted to run reverse.sql, and the triggers it wakes.
//
//   touched_by("insert into orders (id) values (nextval('order_no'))")   // {"", "orders"}: insert · {"", "order_no"}: sequence
//
// Words outside of strings and comments are read, no grammar: SQL that is put together at run time stays unseen, and a rehearsal finds it.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace enishi::takeover {

struct Touched {
  std::string schema;  ///< empty: wherever the search path finds it
  std::string name;    ///< as the catalog spells it
  bool select = false, insert = false, update = false, remove = false, sequence = false;
};

/// One entry a name, in the order in which they appear. Names of WITH queries and aliases are among them: the catalog knows them not.
[[nodiscard]] std::vector<Touched> touched_by(std::string_view sql);

}  // namespace enishi::takeover

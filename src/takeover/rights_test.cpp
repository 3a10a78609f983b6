#include "takeover/rights.hpp"

#include <gtest/gtest.h>

namespace enishi::takeover {
namespace {

std::string said(std::string_view sql) {
  std::string out;
  for (const auto& t : touched_by(sql)) {
    std::string how;
    if (t.select) how += 's';
    if (t.insert) how += 'i';
    if (t.update) how += 'u';
    if (t.remove) how += 'd';
    if (t.sequence) how += 'q';
    if (how.empty()) continue;
    out += (out.empty() ? "" : " ") + (t.schema.empty() ? "" : t.schema + ".") + t.name + ":" + how;
  }
  return out;
}

TEST(Rights, each_statement_says_what_it_touches) {
  EXPECT_EQ(said("insert into orders (id) values (1)"), "orders:i");
  EXPECT_EQ(said("INSERT INTO Shop.\"Order\" as o (id) select 1 ON CONFLICT (id) DO UPDATE SET x = 1"), "shop.Order:iu");
  EXPECT_EQ(said("update only a set x = b.x from b where b.id = a.id"), "a:u b:s");
  EXPECT_EQ(said("delete from a using b where a.id = b.id"), "a:d b:s");
  EXPECT_EQ(said("with x as (delete from a returning id), y as (update b set n = 1) select from x join c on true"), "a:d b:u x:s c:s");
  EXPECT_EQ(said("merge into a using b on a.id = b.id when matched then delete"), "a:iud b:s");
  EXPECT_EQ(said("select from a x, s.b as y, c where exists (select from d)"), "a:s s.b:s c:s d:s");
}

TEST(Rights, sequences_are_named_in_their_functions) {
  EXPECT_EQ(said("select coalesce($1, nextval('order_no')), currval('shop.\"No\"'::regclass)"), "order_no:q shop.No:q");
}

TEST(Rights, strings_comments_locks_and_functions_are_no_tables) {
  EXPECT_EQ(said("-- insert into a\n/* update b /* nested */ set */ select 'delete from c', E'it\\'s from d', $f$ insert into e $f$"), "");
  EXPECT_EQ(said("select from a for update of a"), "a:s");
  EXPECT_EQ(said("select from a for no key update"), "a:s");
  EXPECT_EQ(said("select from jsonb_array_elements($2 -> 'x') with ordinality e(v, n)"), "");
  EXPECT_EQ(said("select from (select 1) x cross join lateral (values (1)) y"), "");
}

}  // namespace
}  // namespace enishi::takeover

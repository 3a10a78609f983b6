#include "takeover/mapping.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace enishi::takeover {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kToml = R"toml(
system = "shop"
domain = "customer"
[root]
table = "public.customers"
key = ["no"]
[[table]]
name = "public.customers"
root = ["no"]
mapped = ["no", "name"]
[table.waived]
rank = "nobody uses it"
[[table]]
name = "public.cities"
root_sql = "select no::text from customers where city = any($1::int[])"
mapped = ["id", "name"]
[copy]
chunk = 500
[reverse]
rows_per_second = 200
)toml";

TEST(Mapping, a_folder_is_read_with_its_statements) {
  auto m = parse_mapping({kToml, "select 1 as key; -- the end;\n", "update a set b = ';' where c = $1;\nselect $1"});
  ASSERT_TRUE(m) << m.error().detail;
  EXPECT_EQ(m->system, "shop");
  EXPECT_EQ(m->slot(), "enishi_shop_customer");
  EXPECT_EQ(m->copy.chunk, 500);
  EXPECT_EQ(m->reverse_rows_per_second, 200);
  EXPECT_EQ(m->forward->sql, "select 1 as key");
  ASSERT_EQ(m->reverse.size(), 2U);
  EXPECT_EQ(m->reverse[0]->sql, "update a set b = ';' where c = (case when ($2::jsonb) is null then ($1::text) else ($1::text) end)");
  EXPECT_EQ(m->table("public.customers")->waived.at("rank"), "nobody uses it");
  EXPECT_TRUE(m->table("public.cities")->root_keys);
  auto again = files_from_json(to_json(m->files));
  ASSERT_TRUE(again);
  EXPECT_EQ(again->toml, m->files.toml);
  EXPECT_EQ(again->reverse, m->files.reverse);
}

TEST(Mapping, every_mistake_is_named_at_once) {
  auto m = parse_mapping({R"(
system = "Shop"
domain = "orders"
extra = 1
[root]
table = "public.customers"
key = ["no"]
[[table]]
name = "customers"
root = ["no", "b"]
mapped = ["rank"]
[table.waived]
rank = "x"
[copy]
chunk = 1
)",
                          "select 1; select 2", ""});
  ASSERT_FALSE(m);
  EXPECT_EQ(m.error().code, "MAPPING_INVALID");
  std::vector<std::string> at;
  for (const auto& e : m.error().fields) at.push_back(e.pointer);
  EXPECT_THAT(at, ::testing::UnorderedElementsAre("/extra", "/system", "/domain", "/table/0/name", "/table/0/root", "/table/0/waived/rank",
                                                  "/table/0/name", "/copy/chunk", "forward.sql"));
  EXPECT_THAT(m.error().detail, HasSubstr("line"));
  auto broken = parse_mapping({"system = ", "select 1", ""});
  ASSERT_FALSE(broken);
  EXPECT_THAT(broken.error().detail, HasSubstr("line 1"));
}

TEST(Mapping, statements_are_split_outside_of_quotes_and_comments) {
  EXPECT_THAT(split_sql("a;b"), ElementsAre("a", "b"));
  EXPECT_THAT(split_sql("select 'a;''b;'; select \"x;\"; "), ElementsAre("select 'a;''b;'", "select \"x;\""));
  EXPECT_THAT(split_sql("select E'\\';'; x"), ElementsAre("select E'\\';'", "x"));
  EXPECT_THAT(split_sql("do $a$ begin; $$ ; $$ end $a$; select $1; select $2"),
              ElementsAre("do $a$ begin; $$ ; $$ end $a$", "select $1", "select $2"));
  EXPECT_THAT(split_sql("/* a; /* b; */ c; */ select 1; -- x; y\n/* z */ ;"), ElementsAre("/* a; /* b; */ c; */ select 1"));
  EXPECT_TRUE(split_sql(" -- nothing\n").empty());
}

TEST(Mapping, keys_of_several_columns_are_json_as_postgresql_writes_it) {
  EXPECT_EQ(legacy_key({"42"}), "42");
  EXPECT_EQ(legacy_key({"12", "A\"\\\n\b\f\x01\x7fé"}), "[\"12\", \"A\\\"\\\\\\n\\b\\f\\u0001\x7fé\"]");
  EXPECT_THAT(*key_values("[\"12\", \"A\\\"\\n\"]", 2), ElementsAre("12", "A\"\n"));
  EXPECT_FALSE(key_values("[\"12\"]", 2));
  EXPECT_FALSE(key_values("12", 2));
  EXPECT_EQ(quote_table("public.a\"b.c"), "\"public\".\"a\"\"b.c\"");
}

}  // namespace
}  // namespace enishi::takeover

#include <gtest/gtest.h>

#include "auth/testing.hpp"
#include "crm/masters/routes.hpp"

namespace enishi::crm::masters {
namespace {

using auth::testing::TestServer;

struct Masters : ::testing::Test {
  TestServer server{{masters::mount}};
  auth::testing::Client admin = server.as("admin");
  auth::testing::Client op = server.as("operator");
};

TEST_F(Masters, item_categories_are_there_from_the_start_in_two_languages) {
  const auto list = op.get("/v1/item-categories");
  ASSERT_EQ(list.status, 200) << list.text;
  EXPECT_GE(list.at("/items").as_array().size(), 10u);
  EXPECT_EQ(list.string("/items/0/code"), "kimono");
  EXPECT_EQ(list.string("/items/0/name_ja"), "着物・帯");
  EXPECT_EQ(list.string("/items/0/home_visit_law"), "true");
}

TEST_F(Masters, a_media_source_is_made_changed_and_hidden_by_who_may) {
  const auto made = server.as("marketing").post("/v1/media-sources", {{"code", "tv-1"}, {"name", "テレビ"}, {"dnis", "0120-123-456"}});
  ASSERT_EQ(made.status, 201) << made.text;
  EXPECT_EQ(made.string("/dnis"), "+81120123456");
  const auto path = "/v1/media-sources/" + made.string("/id");
  EXPECT_EQ(op.post("/v1/media-sources", {{"code", "x"}, {"name", "x"}}).status, 403);
  EXPECT_EQ(op.get(path).header("ETag"), "\"1\"");
  EXPECT_EQ(admin.patch(path, {{"name", "ＴＶ"}}).status, 428);
  const auto off = admin.patch(path, {{"active", false}, {"dnis", nullptr}}, {{"If-Match", "\"1\""}});
  ASSERT_EQ(off.status, 200) << off.text;
  EXPECT_TRUE(off.at("/dnis").is_null());
  EXPECT_EQ(off.string("/name"), "テレビ");
  EXPECT_EQ(op.get("/v1/media-sources").at("/items").as_array().size() + 1,
            op.get("/v1/media-sources?inactive=true").at("/items").as_array().size());
  EXPECT_EQ(admin.patch(path, {{"name", "x"}}, {{"If-Match", "\"1\""}}).code(), "VERSION_MISMATCH");
  EXPECT_EQ(admin.del(path, {{"If-Match", "\"2\""}}).status, 200);
  EXPECT_EQ(op.get(path).status, 404);
}

TEST_F(Masters, a_taken_code_and_wrong_fields_say_so) {
  EXPECT_EQ(admin.post("/v1/item-categories", {{"code", "kimono"}, {"name_ja", "x"}, {"name_en", "x"}}).code(), "CODE_TAKEN");
  const auto bad = admin.post("/v1/item-categories", {{"code", "a b"}, {"name_ja", ""}});
  ASSERT_EQ(bad.status, 422) << bad.text;
  EXPECT_EQ(bad.at("/errors").as_array().size(), 3u) << bad.text;
  const auto choice =
      admin.post("/v1/custom-fields", {{"entity", "inquiry"}, {"key", "Size"}, {"label_ja", "x"}, {"label_en", "x"}, {"kind", "CHOICE"}});
  ASSERT_EQ(choice.status, 422);
  EXPECT_EQ(choice.at("/errors").as_array().size(), 2u) << choice.text;
}

TEST_F(Masters, a_custom_field_keeps_its_key_and_kind) {
  const auto made = admin.post(
      "/v1/custom-fields",
      {{"entity", "customer"}, {"key", "size"}, {"label_ja", "大きさ"}, {"label_en", "Size"}, {"kind", "CHOICE"}, {"choices", {"S", "L"}}});
  ASSERT_EQ(made.status, 201) << made.text;
  const auto path = "/v1/custom-fields/" + made.string("/id");
  EXPECT_EQ(admin.patch(path, {{"kind", "TEXT"}}, {{"If-Match", "\"1\""}}).status, 422);
  EXPECT_EQ(admin.patch(path, {{"choices", {"S", "M", "L"}}}, {{"If-Match", "\"1\""}}).at("/choices").as_array().size(), 3u);
  EXPECT_EQ(op.get("/v1/custom-fields?entity=customer").at("/items").as_array().size(), 1u);
  EXPECT_EQ(op.get("/v1/custom-fields?entity=inquiry").at("/items").as_array().size(), 0u);
}

}  // namespace
}  // namespace enishi::crm::masters

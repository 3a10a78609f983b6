#include "cli/settings.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace enishi::cli {
namespace {

struct File {
  std::string path = "/tmp/enishi-settings-XXXXXX";
  explicit File(std::string_view text) {
    close(mkstemp(path.data()));
    std::ofstream(path) << text;
  }
  ~File() { unlink(path.c_str()); }
};

TEST(Settings, come_from_file_then_environment_then_flag) {
  const File file("listen = \"127.0.0.1:1\"\nshards = 3\ntrust_proxy = true\npg_port = 6000\n");
  const char* environment[] = {"ENISHI_LISTEN=127.0.0.1:2", "ENISHI_SHARDS=4", "HOME=/", nullptr};
  auto read = read_settings(file.path, environment, {{"listen", "127.0.0.1:3"}});
  ASSERT_TRUE(read) << read.error().detail;
  EXPECT_EQ(read->listen, "127.0.0.1:3");
  EXPECT_EQ(read->shards, 4U);
  EXPECT_TRUE(read->trust_proxy);
  EXPECT_EQ(read->pg_port, 6000);
}

TEST(Settings, variables_of_flags_that_are_no_settings_are_left_to_their_flags) {
  const char* environment[] = {"ENISHI_SOURCE=host=legacy dbname=shop", "ENISHI_CONFIG=", nullptr};
  EXPECT_TRUE(read_settings("", environment, {}));
}

TEST(Settings, nobody_knows_are_named_with_the_nearest_one) {
  const File file("\nlisen = \"127.0.0.1:1\"\n");
  const char* none[] = {nullptr};
  auto wrong = read_settings(file.path, none, {});
  ASSERT_FALSE(wrong);
  EXPECT_NE(wrong.error().detail.find("line 2"), std::string::npos) << wrong.error().detail;
  EXPECT_NE(wrong.error().detail.find("\"lisen\""), std::string::npos);
  EXPECT_NE(wrong.error().detail.find("\"listen\""), std::string::npos);
  const char* environment[] = {"ENISHI_LISTN=1", nullptr};
  auto variable = read_settings("", environment, {});
  ASSERT_FALSE(variable);
  EXPECT_NE(variable.error().detail.find("ENISHI_LISTEN"), std::string::npos);
}

TEST(Settings, with_a_wrong_value_say_where_it_came_from) {
  const char* environment[] = {"ENISHI_SHARDS=many", nullptr};
  auto wrong = read_settings("", environment, {});
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, "CONFIG_INVALID");
  EXPECT_NE(wrong.error().detail.find("ENISHI_SHARDS"), std::string::npos);
  EXPECT_NE(wrong.error().detail.find("many"), std::string::npos);
}

TEST(Settings, name_one_database_and_a_flag_wins_over_the_file) {
  const char* none[] = {nullptr};
  EXPECT_FALSE(read_settings("", none, {{"data", "/a"}, {"database", "postgresql://b"}}));
  const File file("data = \"/a\"\n");
  auto read = read_settings(file.path, none, {{"database", "postgresql://b"}});
  ASSERT_TRUE(read);
  EXPECT_TRUE(read->data.empty());
}

}  // namespace
}  // namespace enishi::cli

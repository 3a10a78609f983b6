// How slices are tested: a server in this process on a port of its own, over a fresh database with the real migrations, and users who are
// logged in already.
//
//   auth::testing::TestServer server({customers::mount});              // auth's own operations are always there
//   auto op = server.as("operator");
//   auto made = op.post("/v1/customers", {{"display_name", "山田 花子"}});
//   ASSERT_EQ(made.status, 201) << made.text;
//   auto id = made.string("/id");
//   auto done = op.patch("/v1/customers/" + id, {{"notes", "x"}}, {{"If-Match", made.header("ETag")}});
//   EXPECT_EQ(server.value("select count(*) from history"), "2");
//
// Users (login = the name given to as()) and their teams:
//   Sales ── supervisor, marketing, compliance, appraiser, admin
//     ├─ East ── operator, operator2, appraiser2
//     └─ West ── operator3, supervisor3
#pragma once
#include <boost/json.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "auth/gate.hpp"
#include "pg/testing.hpp"

namespace enishi::auth::testing {

struct Reply {
  int status = 0;
  http::Headers headers;
  std::string text;
  boost::json::value body;  ///< null when the body is no JSON
  [[nodiscard]] std::string header(std::string_view name) const;
  /// What a JSON pointer leads to; throws when there is nothing. string() gives text as it is and anything else as JSON.
  [[nodiscard]] const boost::json::value& at(std::string_view pointer) const { return body.at_pointer(pointer); }
  [[nodiscard]] std::string string(std::string_view pointer) const;
  /// `code` of problem+json, or empty.
  [[nodiscard]] std::string code() const;
};

/// Somebody who sends requests, one after the other; blocking. Writes carry the CSRF token.
class Client {
 public:
  Reply get(const std::string& path, http::Headers headers = {}) { return send("GET", path, {}, std::move(headers)); }
  Reply post(const std::string& path, const boost::json::value& body = boost::json::object(), http::Headers headers = {}) {
    return send("POST", path, boost::json::serialize(body), std::move(headers));
  }
  Reply put(const std::string& path, const boost::json::value& body, http::Headers headers = {}) {
    return send("PUT", path, boost::json::serialize(body), std::move(headers));
  }
  Reply patch(const std::string& path, const boost::json::value& body, http::Headers headers = {}) {
    return send("PATCH", path, boost::json::serialize(body), std::move(headers));
  }
  Reply del(const std::string& path, http::Headers headers = {}) { return send("DELETE", path, {}, std::move(headers)); }
  /// Any body, also one that is no JSON. A header given here wins over the one that would be sent.
  Reply send(const std::string& method, const std::string& path, std::string body, http::Headers headers = {});

  std::string base;    ///< http://127.0.0.1:PORT
  std::string cookie;  ///< "enishi_session=…", or empty
  std::string bearer;  ///< API token, or empty
  std::string csrf_token;
  UserId user;
  std::string team;  ///< id of the user's team
};

class TestServer {
 public:
  using Mount = std::function<void(http::Router&, Gatekeeper&)>;
  explicit TestServer(std::vector<Mount> mounts = {}, Config config = quick(), unsigned shards = 1);
  ~TestServer();
  TestServer(const TestServer&) = delete;
  TestServer& operator=(const TestServer&) = delete;

  /// Logged in as one of the users above.
  Client as(const std::string& login);
  /// Not logged in.
  Client nobody();
  /// With an API token for these operations.
  Client with_token(const std::string& login, const std::vector<std::string>& scopes);
  [[nodiscard]] UserId user(const std::string& login) const;

  /// As the owner of the database, past all rights.
  void sql(const std::string& text) const { fresh_.sql(text); }
  [[nodiscard]] std::string value(const std::string& text) const { return fresh_.value(text).value_or(""); }
  /// Calls and visits at any time of the day, so that a test may run at night.
  void open_all_hours() const;
  /// Everything buffered is in the database when it returns; the server takes requests no more.
  void stop();

  [[nodiscard]] const pg::testing::Fresh& fresh() const { return fresh_; }
  Gate& gate() { return *gate_; }
  Shards& shards() { return shards_; }
  /// Cheap passwords.
  static Config quick();

 private:
  pg::testing::Fresh fresh_;
  Shards shards_;
  Offload offload_{2, 64};
  std::vector<std::unique_ptr<pg::Database>> databases_;
  std::unique_ptr<Gate> gate_;
  std::unique_ptr<http::Server> server_;
  std::string base_;
  bool running_ = false;
};

/// A database with all migrations and the users above, copied for each test.
const pg::testing::Template& migrated();

}  // namespace enishi::auth::testing

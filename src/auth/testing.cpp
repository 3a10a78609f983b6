#include "auth/testing.hpp"

#include <algorithm>
#include <future>
#include <stdexcept>

#include "auth/tokens.hpp"
#include "embedded/migrations.hpp"
#include "http/client.hpp"

namespace enishi::auth::testing {
namespace {

struct Person {
  const char* login;
  const char* role;
  const char* team;
};
constexpr Person kPeople[] = {{"operator", "operator", "East"},      {"operator2", "operator", "East"},
                              {"operator3", "operator", "West"},     {"supervisor", "supervisor", "Sales"},
                              {"supervisor3", "supervisor", "West"}, {"marketing", "marketing", "Sales"},
                              {"compliance", "compliance", "Sales"}, {"appraiser", "appraiser", "Sales"},
                              {"appraiser2", "appraiser", "East"},   {"admin", "admin", "Sales"}};

std::string token_of(const std::string& login) { return "session-of-" + login; }

/// The same in every test, so that a template can hold it.
std::string id_of(const std::string& name) {
  const auto digest = sha256(name);
  Uuid id;
  std::copy_n(digest.begin(), 16, id.bytes.begin());
  id.bytes[6] = static_cast<std::uint8_t>((id.bytes[6] & 0x0f) | 0x70);
  id.bytes[8] = static_cast<std::uint8_t>((id.bytes[8] & 0x3f) | 0x80);
  return id.str();
}

void fill(const std::string& conninfo) {
  const auto database = pg::testing::sql(conninfo, "select current_database()").at(0).at(0).value();
  for (const char* role : {"enishi_app", "enishi_read", "enishi_owner"})
    pg::testing::sql(conninfo,
                     std::string("do $$ begin if to_regrole('") + role + "') is null then create role " + role + " login; end if; end $$");
  pg::testing::sql(conninfo, "alter database \"" + database + "\" owner to enishi_owner; alter schema public owner to enishi_owner");
  auto files = std::vector<embedded::File>(embedded::migrations.begin(), embedded::migrations.end());
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
  for (const auto& file : files) {
    try {
      const std::string text(file.bytes);
      // Without a transaction, each statement by itself; none of these files has a semicolon within one.
      const bool whole = !text.starts_with("-- no-transaction");
      for (std::size_t from = 0, end = 0; from < text.size() && end != std::string::npos; from = end + 1) {
        end = whole ? std::string::npos : text.find(";\n", from);
        pg::testing::sql(conninfo + " user=enishi_owner", text.substr(from, end == std::string::npos ? end : end - from));
      }
    } catch (const std::exception& e) {
      throw std::runtime_error(std::string(file.path) + ": " + e.what());
    }
  }
  std::string people = "insert into team (id, name, parent_id) values ('" + id_of("Sales") + "', 'Sales', null), ('" + id_of("East") +
                       "', 'East', '" + id_of("Sales") + "'), ('" + id_of("West") + "', 'West', '" + id_of("Sales") + "');";
  for (const auto& [login, role, team] : kPeople) {
    const std::string id = "'" + id_of(login) + "'";
    people += "insert into app_user (id, login, display_name, team_id) values (" + id + ", '" + login + "', '" + login + "', '" +
              id_of(team) + "');";
    people += "insert into user_role (user_id, role) values (" + id + ", '" + role + "');";
    people += "insert into session (token_hash, id, user_id, csrf_token, expires_at) values ('" + *bytea(sha256(token_of(login))) + "', " +
              id + ", " + id + ", 'csrf-of-" + login + "', now() + interval '7 days');";
  }
  pg::testing::sql(conninfo, people);
}

}  // namespace

std::string Reply::header(std::string_view name) const {
  http::ClientResponse response;
  response.headers = headers;
  return std::string(response.header(name));
}

std::string Reply::string(std::string_view pointer) const {
  const auto& value = at(pointer);
  return value.is_string() ? std::string(value.as_string()) : boost::json::serialize(value);
}

std::string Reply::code() const {
  const auto* object = body.if_object();
  const auto* found = object == nullptr ? nullptr : object->if_contains("code");
  return found != nullptr && found->is_string() ? std::string(found->as_string()) : std::string();
}

Reply Client::send(const std::string& method, const std::string& path, std::string body, http::Headers headers) {
  const auto given = [&](std::string_view name) {
    return std::any_of(headers.begin(), headers.end(), [&](const auto& h) { return h.first == name; });
  };
  if (!cookie.empty() && !given("Cookie")) headers.emplace_back("Cookie", cookie);
  if (!bearer.empty() && !given("Authorization")) headers.emplace_back("Authorization", "Bearer " + bearer);
  if (method != "GET" && !csrf_token.empty() && !given("X-CSRF-Token")) headers.emplace_back("X-CSRF-Token", csrf_token);
  if (!body.empty() && !given("Content-Type")) headers.emplace_back("Content-Type", "application/json");
  asio::io_context context(1);
  http::ClientRequest request{.method = method, .url = base + path, .headers = std::move(headers), .body = std::move(body)};
  auto answer = run_task(context, http::fetch(std::move(request), Deadline::in(Millis(30000))));
  if (!answer) throw std::runtime_error(method + " " + path + ": " + answer.error().code + " " + answer.error().detail);
  Reply out{answer->status, std::move(answer->headers), std::move(answer->body), {}};
  boost::system::error_code bad;
  out.body = boost::json::parse(out.text, bad);
  if (bad) out.body = nullptr;
  return out;
}

const pg::testing::Template& migrated() {
  static const pg::testing::Template one("migrated_with_users", fill);
  return one;
}

Config TestServer::quick() {
  Config out;
  out.passwords = {.memory = 64 * 1024, .passes = 1};
  return out;
}

TestServer::TestServer(std::vector<Mount> mounts, Config config, unsigned shards) : fresh_(migrated()), shards_(shards) {
  pg::Config database;
  database.conninfo = fresh_.conninfo() + " user=enishi_app";
  std::vector<pg::Database*> all;
  shards_.each([&](Shard& shard) {
    databases_.push_back(std::make_unique<pg::Database>(shard, offload_, database));
    all.push_back(databases_.back().get());
  });
  gate_ = std::make_unique<Gate>(shards_, std::move(all), offload_, std::move(config));
  http::Router router;
  auth::mount(router, *gate_);
  for (const auto& mount : mounts) mount(router, *gate_);
  server_ = std::make_unique<http::Server>(shards_, std::move(router), http::Limits{}, "127.0.0.1:0", true);
  server_->map_exceptions(map_exception);
  server_->log_requests(false);
  base_ = "http://127.0.0.1:" + std::to_string(server_->listen());
  shards_.start();
  running_ = true;
}

TestServer::~TestServer() {
  stop();
  server_.reset();
  gate_.reset();
  databases_.clear();
}

void TestServer::stop() {
  if (!running_) return;
  running_ = false;
  std::promise<void> drained, written;
  server_->drain([&] { drained.set_value(); });
  drained.get_future().wait();
  gate_->drain([&] { written.set_value(); });
  written.get_future().wait();
  shards_.stop();
  shards_.join();
}

UserId TestServer::user(const std::string& login) const { return UserId::parse(id_of(login)).value(); }

Client TestServer::nobody() {
  Client out;
  out.base = base_;
  return out;
}

Client TestServer::as(const std::string& login) {
  auto out = nobody();
  for (const auto& person : kPeople) {
    if (login != person.login) continue;
    out.cookie = "enishi_session=" + token_of(login);
    out.csrf_token = "csrf-of-" + login;
    out.user = user(login);
    out.team = id_of(person.team);
    return out;
  }
  throw std::invalid_argument("testing.hpp knows no user " + login);
}

Client TestServer::with_token(const std::string& login, const std::vector<std::string>& scopes) {
  const auto token = "eni_" + random_token(32);
  sql("insert into api_token (id, user_id, name, token_hash, scopes) values ('" + Uuid::make().str() + "', '" + user(login).str() +
      "', 'test', '" + *bytea(sha256(token)) + "', '" + *pg::param(scopes) + "')");
  auto out = nobody();
  out.bearer = token;
  out.user = user(login);
  return out;
}

void TestServer::open_all_hours() const {
  sql(R"(insert into rule (name, effective_from, value, source) values ('contact_hours', now() - interval '1 hour', '{"from": "00:00", "to": "24:00"}', 'test'))");
}

}  // namespace enishi::auth::testing

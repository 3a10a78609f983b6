// Rights by record: every operation on one record, against every scope, for records of every owner and team. What the contract test asks by
// role (may the operation be called at all), this asks by whose the record is.
#include <gtest/gtest.h>

#include <set>

#include "auth/testing.hpp"
#include "crm/calls/routes.hpp"
#include "crm/imports/routes.hpp"
#include "crm/inquiries/routes.hpp"
#include "crm/queue/routes.hpp"

namespace enishi::cli {
namespace {

using auth::testing::Client;
using auth::testing::Reply;
using auth::testing::TestServer;
using Object = boost::json::object;

/// Whose a record is: a login or nobody (""), a team or none.
struct Whose {
  const char* owner;
  const char* team;
};
constexpr Whose kinds[] = {{"operator", "East"}, {"operator2", "East"}, {"", "East"}, {"operator3", "West"}, {"", "West"}, {"", ""},
                           {"operator", "West"}};

struct Caller {
  const char* login;
  const char* role;
  std::set<std::string> teams;
};
const Caller callers[] = {{"operator", "operator", {"East"}},
                          {"operator3", "operator", {"West"}},
                          {"supervisor", "supervisor", {"Sales", "East", "West"}},
                          {"supervisor3", "supervisor", {"West"}},
                          {"marketing", "marketing", {"Sales", "East", "West"}},
                          {"compliance", "compliance", {"Sales", "East", "West"}},
                          {"admin", "admin", {"Sales", "East", "West"}}};

/// Nobody's records are their team's, and without a team everybody's.
bool in_scope(const std::string& scope, const Caller& who, const Whose& of) {
  const std::string owner = of.owner, team = of.team;
  if (scope == "all" || owner == who.login) return true;
  return (owner.empty() || scope == "team") && (team.empty() || who.teams.contains(team));
}
/// A call is its operator's; a team sees the calls made in it.
bool call_in_scope(const std::string& scope, const Caller& who, const Whose& of) {
  return scope == "all" || who.login == std::string(of.owner) || (scope == "team" && who.teams.contains(of.team));
}

struct Operation {
  const char* id;
  const char* table;
  Reply (*ask)(Client& client, const std::string& record);
};
const http::Headers first{{"If-Match", "\"1\""}};
const Operation operations[] = {
    {"get_inquiry", "inquiry", [](Client& c, const std::string& id) { return c.get("/v1/inquiries/" + id); }},
    {"update_inquiry", "inquiry",
     [](Client& c, const std::string& id) { return c.patch("/v1/inquiries/" + id, Object{{"notes", "x"}}, first); }},
    {"transition_inquiry", "inquiry",
     [](Client& c, const std::string& id) {
       return c.post("/v1/inquiries/" + id + "/transition", Object{{"stage", "LOST"}, {"reason", "x"}});
     }},
    {"create_inquiry_item", "inquiry",
     [](Client& c, const std::string& id) {
       return c.post("/v1/inquiries/" + id + "/items", Object{{"item_category_id", "01900000-0000-7000-8000-00000c000001"}});
     }},
    {"get_hearing_sheet", "inquiry", [](Client& c, const std::string& id) { return c.get("/v1/inquiries/" + id + "/hearing-sheet"); }},
    {"save_hearing_sheet", "inquiry",
     [](Client& c, const std::string& id) {
       return c.patch("/v1/inquiries/" + id + "/hearing-sheet", Object{{"base_version", 0}, {"changes", Object{{"a", "b"}}}});
     }},
    {"update_inquiry_item", "inquiry",
     [](Client& c, const std::string& id) { return c.patch("/v1/inquiry-items/" + id, Object{{"quantity", 2}}, first); }},
    {"delete_inquiry_item", "inquiry", [](Client& c, const std::string& id) { return c.del("/v1/inquiry-items/" + id); }},
    {"get_call_task", "call_task", [](Client& c, const std::string& id) { return c.get("/v1/call-tasks/" + id); }},
    {"snooze_call_task", "call_task",
     [](Client& c, const std::string& id) {
       return c.post("/v1/call-tasks/" + id + "/snooze", Object{{"due_at", "2030-01-07T10:00:00+09:00"}});
     }},
    {"cancel_call_task", "call_task",
     [](Client& c, const std::string& id) { return c.post("/v1/call-tasks/" + id + "/cancellation", Object{{"reason", "x"}}); }},
    {"reassign_call_task", "call_task",
     [](Client& c, const std::string& id) { return c.post("/v1/call-tasks/" + id + "/reassignment", Object{{"owner_id", nullptr}}); }},
    {"create_call_task", "lead",
     [](Client& c, const std::string& id) {
       return c.post("/v1/call-tasks", Object{{"inquiry_id", id}, {"kind", "CALLBACK"}, {"due_at", "2030-01-07T10:00:00+09:00"}});
     }},
    {"get_call", "call_attempt", [](Client& c, const std::string& id) { return c.get("/v1/calls/" + id); }},
    {"update_call", "call_attempt",
     [](Client& c, const std::string& id) { return c.patch("/v1/calls/" + id, Object{{"memo", "x"}}, first); }},
    {"get_import", "import_job", [](Client& c, const std::string& id) { return c.get("/v1/imports/" + id); }},
    {"list_import_rejects", "import_job", [](Client& c, const std::string& id) { return c.get("/v1/imports/" + id + "/rejects"); }},
};

struct RecordRights : ::testing::Test {
  TestServer server{{crm::inquiries::mount, crm::queue::mount, crm::calls::mount, crm::imports::mount}};
  const std::string media = "01900000-0000-7000-8000-0000000000a1";

  RecordRights() {
    server.open_all_hours();
    server.sql("insert into media_source (id, code, name) values ('" + media + "', 'web', 'Web')");
  }
  /// What a record of `whose` is made of; all rows have the same id. A call has an operator always: nobody's is the appraiser's.
  std::string make(const std::string& table, const Whose& whose) {
    const auto id = "'" + Uuid::make().str() + "'";
    const std::string owner = "(select id from app_user where login = '" + std::string(whose.owner) + "')",
                      team = "(select id from team where name = '" + std::string(whose.team) + "')";
    std::string sql;
    if (table == "import_job") {
      sql = "insert into import_job (id, file_name, file_sha256, media_source_id, encoding, owner_id, team_id) values (" + id +
            ", 'f', sha256(" + id + "), '" + media + "', 'UTF-8', " + owner + ", " + team + ")";
    } else {
      sql = "insert into customer (id, display_name) values (" + id +
            ", 'c'); insert into inquiry (id, customer_id, media_source_id, channel, owner_id, team_id) values (" + id + ", " + id + ", '" +
            media + "', 'FILE', " + owner + ", " + team + "); insert into inquiry_item (id, inquiry_id, item_category_id) select " + id +
            ", " + id + ", id from item_category where code = 'kimono';";
      if (table == "call_task")
        sql += "insert into call_task (id, customer_id, inquiry_id, kind, state, priority, due_at, owner_id, team_id) values (" + id +
               ", " + id + ", " + id + ", 'CALLBACK', 'READY', 1, now(), " + owner + ", " + team + ")";
      if (table == "call_attempt")
        sql += "insert into call_attempt (id, direction, customer_id, inquiry_id, operator_id, team_id, ended_at, outcome) values (" + id +
               ", 'INBOUND', " + id + ", " + id + ", coalesce(" + owner + ", (select id from app_user where login = 'appraiser')), " +
               team + ", now(), 'CALLBACK')";
    }
    server.sql(sql);
    return id.substr(1, 36);
  }
  std::string scope_of(const Caller& caller, const std::string& operation) {
    return server.value(std::string("select scope from role_permission where role = '") + caller.role + "' and operation = '" + operation +
                        "'");
  }
};

TEST_F(RecordRights, of_every_operation_on_a_record_follow_its_owner_and_its_team) {
  int allowed = 0, hidden = 0, forbidden = 0;
  for (const auto& operation : operations)
    for (const auto& caller : callers) {
      auto client = server.as(caller.login);
      const auto scope = scope_of(caller, operation.id);
      for (const auto& whose : kinds) {
        const auto reply = operation.ask(client, make(operation.table, whose));
        const auto what =
            std::string(operation.id) + " by " + caller.login + " (" + scope + ") of " + whose.owner + "/" + whose.team + ": ";
        const bool mine =
            operation.table == std::string("call_attempt") ? call_in_scope(scope, caller, whose) : in_scope(scope, caller, whose);
        if (scope.empty()) {
          EXPECT_EQ(reply.status, 403) << what << reply.text;
          ++forbidden;
        } else if (mine) {
          EXPECT_EQ(reply.status / 100, 2) << what << reply.text;
          ++allowed;
        } else if (operation.table == std::string("lead")) {
          EXPECT_EQ(reply.status, 422) << what << reply.text;  // an inquiry that is nowhere, as a field
          ++hidden;
        } else {
          EXPECT_EQ(reply.status, 404) << what << reply.text;
          ++hidden;
        }
      }
    }
  EXPECT_GT(allowed, 200);
  EXPECT_GT(hidden, 100);
  EXPECT_GT(forbidden, 50);
}

TEST_F(RecordRights, of_lists_are_no_wider_than_those_of_their_records) {
  const std::tuple<const char*, const char*, const char*, const char*> lists[] = {
      {"list_inquiries", "get_inquiry", "inquiry", "/v1/inquiries?view=received&limit=200"},
      {"list_call_tasks", "get_call_task", "call_task", "/v1/call-tasks?view=ready&limit=200"},
      {"list_calls", "get_call", "call_attempt", "/v1/calls?limit=200"},
      {"list_imports", "get_import", "import_job", "/v1/imports?limit=200"}};
  for (const auto& [list, get, table, path] : lists)
    for (const auto& whose : kinds) make(table, whose);
  for (const auto& [list, get, table, path] : lists) {
    std::size_t most = 0;
    for (const auto& caller : callers) {
      auto client = server.as(caller.login);
      const auto page = client.get(path);
      if (scope_of(caller, list).empty()) {
        EXPECT_EQ(page.status, 403) << list << " by " << caller.login;
        continue;
      }
      ASSERT_EQ(page.status, 200) << list << " by " << caller.login << page.text;
      const auto& items = page.at("/items").as_array();
      most = std::max(most, items.size());
      for (const auto& item : items) {
        const std::string id(item.at("id").as_string());
        const auto one = std::string(table) == "inquiry"        ? "/v1/inquiries/"
                         : std::string(table) == "call_task"    ? "/v1/call-tasks/"
                         : std::string(table) == "call_attempt" ? "/v1/calls/"
                                                                : "/v1/imports/";
        EXPECT_EQ(client.get(one + id).status, 200) << list << " shows " << caller.login << " what " << get << " hides";
      }
    }
    EXPECT_GE(most, std::size(kinds)) << list;
  }
}

}  // namespace
}  // namespace enishi::cli

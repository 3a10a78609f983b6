// An operation of the contract, called by somebody: who they are, what they may, and the database with the context of their writes.
// A slice's routes.cpp begins with its table and holds nothing else than decoding, one function of the slice, and the answer:
//
//   Answering get_customer(Call& call, Uuid id) { return call.show(sql::customers::get_customer, pg::params(id, call.rights())); }
//   Answering update_customer(Call& call, Uuid id, std::int64_t version) { … }
//   const Operation operations[] = {
//       {Method::get,   "/v1/customers/{customer_id}", "get_customer", get_customer, {.views = "customer"}},
//       {Method::patch, "/v1/customers/{customer_id}", "update_customer", update_customer},
//   };
//   void mount(http::Router& router, auth::Gatekeeper& gate) { gate.mount(router, operations); }
//
// Before the handler runs: session cookie (with X-CSRF-Token on everything but GET) or bearer token, the right to the operation, rate
// limits. After it: views of personal data are noted when the operation says so.
#pragma once
#include <array>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "http/http.hpp"
#include "http/json.hpp"
#include "pg/database.hpp"

namespace enishi::auth {

/// On whose records an operation may be used.
enum class Scope { own, team, all };

struct Principal {
  UserId user;
  std::string login;
  std::string display_name;
  std::vector<std::string> roles;
  std::vector<Uuid> teams;   ///< the user's team and all below it
  std::optional<Uuid> team;  ///< the user's own team
  std::string locale;
  bool by_token = false;   ///< an API token, not a browser
  Uuid session;            ///< id of the session, or of the API token
  std::string csrf_token;  ///< what X-CSRF-Token must say; empty for an API token
};

class Gatekeeper;
struct Operation;
using Answering = Task<Result<http::Answer>>;

/// What the query of a list asks for.
struct Paging {
  std::int64_t limit = 50;
  std::vector<pg::Param> after;  ///< keys of the last item of the page before
  bool first = true;             ///< no cursor was given
};
/// limit and cursor, with which the reading of the query ends. `first` is what the first page comes after: one value for each key column
/// of the list's statement.
Result<Paging> finish_paging(http::QueryDecoder& in, pg::Params first);
/// `first` of a list by (moment, id), newest first.
inline pg::Params newest() { return {"infinity", "ffffffff-ffff-ffff-ffff-ffffffffffff"}; }

/// No such record, or none that the caller may see: one answer for both, so that nobody can tell them apart.
tl::unexpected<Error> not_found();
/// 412 VERSION_MISMATCH with `current_version`.
tl::unexpected<Error> version_mismatch(std::int64_t current_version);

/// A write that the gate of a domain refused because a legacy system owns it (LEGACY_OWNED), as Call::write hands it on.
struct OwnedElsewhere {
  pg::Database& db;  ///< the shard's
  const Shard& shard;
  std::vector<pg::Step> steps;    ///< begin_write first, the statement that answers last
  std::string actor, request_id;  ///< as begin_write has them
  UserId principal;
  std::optional<std::string> key;  ///< Idempotency-Key
  pg::Param request_hash;          ///< bytea, with a key
  int status = 200;                ///< of the answer
  Deadline deadline;
};
struct WrittenElsewhere {
  std::string body, etag;
  std::vector<std::string> changed;  ///< JSON pointers into the record: what the legacy system made otherwise
};
/// Does it there and here, or says why not; nothing when the statement that answers gave no row. GATE_SHUT: the domain changes hands, to be
/// tried again from the start. cli gives it to the gatekeeper; modules below do not know who that is.
using WriteElsewhere = std::function<Task<Result<std::optional<WrittenElsewhere>>>(OwnedElsewhere)>;

/// Lives as long as the handler's coroutine.
class Call {
 public:
  Call(Gatekeeper& gatekeeper, http::Request& asked, const Operation& called, const Principal& principal, Scope scope,
       std::optional<std::string> key);
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  Gatekeeper& gate;
  http::Request& request;
  const Operation& operation;
  const Principal& who;
  Scope granted;  ///< widest scope of the caller's roles for this operation
  std::optional<std::string> idempotency_key;

  /// For statements that take (scope text, user uuid, teams uuid[]): `$1 = 'all' or $1 = 'own' and owner_id = $2 or $1 = 'team' and team_id
  /// = any ($3)`.
  [[nodiscard]] std::string scope() const;
  [[nodiscard]] const UserId& user() const { return who.user; }
  /// Empty where the scope is `all` and nobody asks for them.
  [[nodiscard]] const std::vector<Uuid>& teams() const;
  /// scope, user and teams, as three parameters: pg::params(call.rights(), id).
  [[nodiscard]] std::array<pg::Param, 3> rights() const;
  [[nodiscard]] pg::Database& db() const;  ///< this shard's

  /// The record that the path names with {…_id}, if that is a UUID.
  [[nodiscard]] std::optional<Uuid> record() const;
  /// The version in If-Match; 428 IF_MATCH_REQUIRED without it.
  [[nodiscard]] Result<std::int64_t> if_match() const;

  /// The row of a read: (json), or (json, version), which becomes the ETag. No row: 404.
  Answering show(const pg::Statement& statement, pg::Params params);
  /// A page of a list: rows are (item json, key columns …), one more than the limit when there is a next page. What PostgreSQL cannot read
  /// can only come from a made-up cursor: 422 CURSOR_INVALID. `shown` names the entity whose personal data the items show.
  Answering list(const pg::Statement& statement, pg::Params params, Paging at, std::string_view shown = {},
                 std::optional<Uuid> of_record = {});

  /// One write in one trip: begin_write (who, request, Idempotency-Key), then `statement`, whose single row is (body json, etag text) – or
  /// (body json) – and whose SQL ends in answer(status, body, etag). No row is nothing: the caller finds out why and says so.
  /// A repeated Idempotency-Key gives the stored answer with the header Idempotency-Replayed. The etag column becomes the ETag header, with
  /// quotes around it. Status 204 answers without a body. Retries as pg::Database::write; repeatable when a key is given.
  /// Where a legacy system owns what it changes, it is written through to it (Gatekeeper::elsewhere): the answer is the same, with the
  /// header Legacy-Changed when the source made something else of it.
  Task<Result<std::optional<http::Answer>>> write(const pg::Statement& statement, pg::Params params, int status = 200);
  /// The same with several steps in the one transaction; the last one gives the answer.
  Task<Result<std::optional<http::Answer>>> write(std::vector<pg::Step> steps, int status = 200);
  /// The begin_write step alone, for transactions of several trips. Its error IDEMPOTENCY_REPLAY is to be returned as it is: the gatekeeper
  /// then gives the stored answer.
  [[nodiscard]] pg::Step begin_write() const;

  /// Notes that personal data of `rows` records was shown (besides what Operation::views notes by itself).
  /// `entity` is a literal.
  void note_view(std::string_view entity, std::optional<Uuid> id, int rows = 1);
};

/// A function of a slice, as its table names it: of the call; of the record that the path names too; of the version in If-Match besides.
/// What a function asks for and the request does not give is answered before it runs (404, 428).
class Handler {
 public:
  using Plain = Answering (*)(Call&);
  using OfRecord = Answering (*)(Call&, Uuid);
  using OfVersion = Answering (*)(Call&, Uuid, std::int64_t);
  Handler(Plain run) : run_(run) {}
  Handler(OfRecord run) : run_(run) {}
  Handler(OfVersion run) : run_(run) {}
  Answering operator()(Call& call) const;

 private:
  std::variant<Plain, OfRecord, OfVersion> run_;
};

struct Traits {
  std::string_view views = {};  ///< entity whose personal data the answer shows: noted with the {…_id} segment if there is one
  bool open = false;            ///< no login needed (log in itself, one-time links); `who` is nobody
  bool everybody = false;       ///< whoever is logged in may, on their own (log out): no row of role_permission
  std::size_t body_limit = 0;   ///< bytes, 0: the server's
  Millis time_limit{0};
};

struct Operation {
  http::Method method;
  const char* path;
  const char* id;  ///< operationId in api/openapi.yaml, and the name in role_permission
  Handler handler;
  Traits traits = {};
};

/// What Call::write gave, where no row means `none`.
Result<http::Answer> answered(Result<std::optional<http::Answer>> done, tl::unexpected<Error> none);
/// The same after a change of one version of a record: no row is 412 with the version that `get` (json, version) finds, or 404.
Answering changed(Call& call, Result<std::optional<http::Answer>> done, const pg::Statement& get, pg::Params params);

class Gatekeeper {
 public:
  virtual ~Gatekeeper() = default;
  virtual void mount(http::Router& router, std::span<const Operation> operations) = 0;
  virtual pg::Database& db(const Shard& shard) = 0;
  virtual Offload& offload() = 0;
  /// Empty where nobody writes through: LEGACY_OWNED is the answer then.
  virtual const WriteElsewhere& elsewhere() const {
    static const WriteElsewhere nobody;
    return nobody;
  }
  /// Call::note_view's end of it: bounded by the requests in flight, for mount() makes requests wait while the buffer is full.
  virtual void note_view(const Call& call, std::string_view entity, std::optional<Uuid> id, int rows) = 0;
};

}  // namespace enishi::auth

#include "pg/errors.hpp"

#include <libpq-fe.h>

#include <boost/json.hpp>

#include "base/log.hpp"

namespace enishi::pg {
namespace {

/// What a trigger puts into DETAIL, if it is a JSON object indeed.
std::string object_of(std::string_view detail) {
  if (!detail.starts_with('{')) return {};
  boost::system::error_code bad;
  const auto value = boost::json::parse(detail, bad);
  return !bad && value.is_object() ? std::string(detail) : std::string();
}

std::string constraint_object(std::string_view constraint) {
  return constraint.empty() ? std::string() : R"({"constraint":)" + json_quote(constraint) + "}";
}

Error made(Kind kind, std::string_view code, std::string detail, std::string extra = {}, int retry_after = 0) {
  return Error{kind, std::string(code), std::move(detail), {}, std::move(extra), retry_after};
}

/// A rule of the domain: the class in SQLSTATE, the code in CONSTRAINT.
Error rule(std::string_view sqlstate, std::string_view message, std::string_view detail, std::string_view constraint) {
  const auto number = sqlstate.substr(2);
  Kind kind = Kind::unprocessable;
  std::string_view code = "RULE_VIOLATION";
  if (number == "400") {
    kind = Kind::malformed;
    code = "MALFORMED";
  } else if (number == "403") {
    kind = Kind::forbidden;
    code = "FORBIDDEN";
  } else if (number == "404") {
    kind = Kind::not_found;
    code = "NOT_FOUND";
  } else if (number == "409") {
    kind = Kind::conflict;
    code = "CONFLICT";
  } else if (number == "410") {
    kind = Kind::gone;
    code = "GONE";
  } else if (number == "412") {
    kind = Kind::precondition;
    code = "PRECONDITION_FAILED";
  } else if (number == "422") {
    kind = Kind::unprocessable;
  } else if (number == "429") {
    kind = Kind::too_many;
    code = "TOO_MANY";
  } else
    throw Broken("a trigger raised the unknown SQLSTATE " + std::string(sqlstate));
  return made(kind, constraint.empty() ? code : constraint, std::string(message), object_of(detail));
}

struct Lack {
  std::string_view sqlstate;
  const char* code;
  const char* detail;
  int retry_after;  ///< seconds: a disk is not made free in one
};
constexpr Lack too_many{"53300", "TOO_MANY_CONNECTIONS",
                        "PostgreSQL takes no more connections now; nothing was changed. Try again in a moment; if it stays so, an "
                        "administrator raises max_connections or lowers what others use.",
                        5};
constexpr Lack lacks[] = {
    {"53100", "DISK_FULL",
     "The database's disk is full; nothing was changed. Reading goes on; an administrator has to free space on it before anything can be "
     "stored.",
     60},
    {"53200", "OUT_OF_MEMORY", "The database has no memory left for this; nothing was changed. Try again in a moment.", 10},
    too_many,
    {"25006", "READ_ONLY",
     "The database can only be read now; nothing was changed. It is a standby, its backups have been out of reach for too long, or an "
     "administrator set it so; try again in a moment.",
     10},
};

[[noreturn]] void lacking(const Lack& what, const std::string& said) {
  throw Exhausted({Kind::unavailable, what.code, what.detail, {}, {}, what.retry_after}, said);
}

}  // namespace

void refuse_connection(const std::string& said) {
  // libpq 15 keeps the SQLSTATE of a refused connection to itself; these are PostgreSQL's own sentences for 53300.
  for (const auto* sentence : {"too many clients already", "remaining connection slots are reserved", "too many connections for"})
    if (said.find(sentence) != std::string::npos) lacking(too_many, said);
  throw Unavailable(said);
}

Error to_error(std::string_view sqlstate, std::string_view message, std::string_view detail, std::string_view constraint) {
  const auto group = sqlstate.substr(0, 2);
  const auto named = constraint.empty() ? std::string() : " (" + std::string(constraint) + ")";
  if (sqlstate == "EN001") return made(Kind::unavailable, "GATE_SHUT", std::string(message), object_of(detail), 1);
  if (sqlstate == "EN003") return made(Kind::unavailable, "GATE_SHUT", std::string(message), object_of(detail), 1);
  if (sqlstate == "EN002") return made(Kind::conflict, "LEGACY_OWNED", std::string(message), object_of(detail));
  if (group == "EN") return rule(sqlstate, message, detail, constraint);
  if (sqlstate == "23505")
    return made(Kind::conflict, "UNIQUE_VIOLATION", "A record with this value exists already" + named + ".", constraint_object(constraint));
  if (sqlstate == "23P01")
    return made(Kind::conflict, "EXCLUSION_VIOLATION", "This excludes a record that exists already" + named + ".",
                constraint_object(constraint));
  if (sqlstate == "23503" || sqlstate == "23001")
    return made(Kind::unprocessable, "FOREIGN_KEY_VIOLATION", "It refers to a record that does not exist, or is referred to" + named + ".",
                constraint_object(constraint));
  if (sqlstate == "23514" || sqlstate == "44000")
    return made(Kind::unprocessable, "CHECK_VIOLATION", "The values do not fit together or are out of bounds" + named + ".",
                constraint_object(constraint));
  if (sqlstate == "23502")
    return made(Kind::unprocessable, "NOT_NULL_VIOLATION", "A value is missing" + named + ".", constraint_object(constraint));
  if (group == "22") return made(Kind::unprocessable, "VALUE_INVALID", std::string(message));
  if (group == "40" && sqlstate != "40003")
    return made(Kind::conflict, "SERIALIZATION_FAILURE", "It collided with a change at the same time; send it again.", {}, 1);
  if (sqlstate == "55P03") return made(Kind::conflict, "LOCKED", "Somebody else is changing this record; try again in a moment.", {}, 1);

  // From here on it is no answer about the data. Messages of these classes name objects and settings, never values.
  const auto said = std::string(sqlstate) + ": " + std::string(message);
  if (sqlstate == "40003") throw OutcomeUnknown(said);
  if (sqlstate == "57014") throw TimedOut(said);
  if (sqlstate.empty()) throw ConnectionLost(std::string(message));
  if (group == "08" || group == "57" || sqlstate == "25P03") throw ConnectionLost(said);
  for (const auto& what : lacks)
    if (sqlstate == what.sqlstate) lacking(what, said);
  if (group == "53" || group == "58") throw Unavailable(said);
  // Text of `raise exception` may hold a customer's data, and exceptions are logged.
  Broken broken(group == "P0" ? std::string(sqlstate) : said);
  broken.message = message;
  throw broken;
}

Error to_error(const pg_result* failed) {
  auto field = [failed](int code) -> std::string_view {
    const char* value = PQresultErrorField(failed, code);
    return value == nullptr ? std::string_view() : std::string_view(value);
  };
  const auto sqlstate = field(PG_DIAG_SQLSTATE);
  if (sqlstate.empty()) return to_error(sqlstate, PQresultErrorMessage(failed), {}, {});
  // A plan that was prepared before a migration changed the row: prepared again, it works.
  if (sqlstate == "0A000" && field(PG_DIAG_SOURCE_FUNCTION) == "RevalidateCachedQuery") return to_error("40001", {}, {}, {});
  const auto constraint = field(PG_DIAG_CONSTRAINT_NAME);
  return to_error(sqlstate, field(PG_DIAG_MESSAGE_PRIMARY), field(PG_DIAG_MESSAGE_DETAIL),
                  constraint.empty() ? field(PG_DIAG_COLUMN_NAME) : constraint);
}

}  // namespace enishi::pg

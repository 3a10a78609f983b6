#include "pg/replication.hpp"

#include <fmt/format.h>

#include "base/log.hpp"
#include "pg/link.hpp"

namespace enishi::pg {
namespace {

std::string identifier(std::string_view name) {
  std::string out = "\"";
  for (const char c : name) {
    if (c == '"') out.push_back('"');
    out.push_back(c);
  }
  return out + "\"";
}

std::string literal(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') out.push_back('\'');
    out.push_back(c);
  }
  return out + "'";
}

/// The slot's name goes into commands whose grammar knows [a-z0-9_] only.
bool slot_name_good(std::string_view name) {
  return !name.empty() && name.size() <= 63 && name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string_view::npos;
}

tl::unexpected<Error> bad_slot_name(std::string_view name) {
  return fail(Kind::unprocessable, "SLOT_NAME_INVALID",
              fmt::format("\"{}\" is no name of a slot: 1 to 63 of a-z, 0-9 and _ are allowed.", name.substr(0, 100)));
}

std::string_view field(const PGresult* result, int code) {
  const char* value = PQresultErrorField(result, code);
  return value == nullptr ? std::string_view() : std::string_view(value);
}

Error error_of(const PGresult* failed) {
  const auto sqlstate = field(failed, PG_DIAG_SQLSTATE);
  if (sqlstate.empty()) throw ConnectionLost(one_line(PQresultErrorMessage(failed)));
  return replication_error(sqlstate, field(failed, PG_DIAG_SOURCE_FUNCTION), field(failed, PG_DIAG_MESSAGE_PRIMARY),
                           field(failed, PG_DIAG_MESSAGE_DETAIL));
}

std::string unpublished(std::string_view what) {
  return fmt::format("The source does not have {}. It must exist since before the position that is read; make it and then a new slot.",
                     what);
}

class Busy {
 public:
  explicit Busy(bool& flag) : flag_(flag) {
    if (flag_) throw std::logic_error("a replication connection does one thing at a time");
    flag_ = true;
  }
  ~Busy() { flag_ = false; }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;

 private:
  bool& flag_;
};

pgwire::PgMicros pg_now() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return pgwire::pg_micros(std::chrono::duration_cast<std::chrono::microseconds>(since).count());
}

}  // namespace

// Texts follow the server's language, so only SQLSTATE and the name of the C function that raised it are looked at.
Error replication_error(std::string_view sqlstate, std::string_view function, std::string_view message, std::string_view detail) {
  const auto said = fmt::format("{}{}{}", message, detail.empty() ? "" : " ", detail);
  const auto made = [&said](Kind kind, const char* code, std::string_view way_out) {
    return Error{kind, code, fmt::format("The source says: {}. {}", said, way_out), {}, {}, 0};
  };
  if (sqlstate == "42704" && function.starts_with("ReplicationSlot"))
    return made(Kind::gone, "SLOT_MISSING",
                "Without its slot the source has forgotten what was not read; all keys have to be looked at again.");
  if (sqlstate == "42704")
    return made(Kind::conflict, "PUBLICATION_MISSING",
                "It must exist since before the position that is read; make it and then a new slot.");
  if (sqlstate == "42710") return made(Kind::conflict, "SLOT_EXISTS", "Drop it, or choose another name.");
  if (sqlstate == "55006") return made(Kind::conflict, "SLOT_ACTIVE", "Somebody reads it; only one can.");
  if (sqlstate == "55000" && function == "CheckLogicalDecodingRequirements")
    return made(Kind::conflict, "WAL_LEVEL_TOO_LOW",
                "Set wal_level = logical at the source and restart it (on AlloyDB and Cloud SQL the flag for logical decoding).");
  // A slot of another database or of another kind is 55000 too, without a detail.
  if ((sqlstate == "55000" && !detail.empty()) || sqlstate == "58P01" || sqlstate == "58P02")
    return made(Kind::gone, "SLOT_LOST", "The source no longer has the WAL that was not read; make a new slot and look at all keys again.");
  if (sqlstate == "53400" || sqlstate == "53300")
    return made(Kind::unavailable, "SLOTS_FULL",
                "Raise max_replication_slots, max_wal_senders or the user's connection limit at the source.");
  if (sqlstate == "42501" || sqlstate == "28000")
    return made(Kind::forbidden, "NO_REPLICATION_RIGHT", "Run at the source what `enishi takeover plan` prints.");
  const auto group = sqlstate.substr(0, 2);
  if (group == "08" || group == "57") throw ConnectionLost(fmt::format("{}: {}", sqlstate, said));
  return made(Kind::conflict, "SOURCE_REFUSED", fmt::format("(SQLSTATE {})", sqlstate));
}

class Replication::Impl : public std::enable_shared_from_this<Replication::Impl> {
 public:
  Impl(Executor executor, ReplicationConfig settings) : config(std::move(settings)), ticker(executor) {}

  Task<Result<ResultPtr>> command(std::string sql, Deadline deadline);
  Task<Result<void>> missing_publication(std::vector<std::string> publications, Deadline deadline);
  Task<Result<std::optional<Received>>> receive(Deadline deadline);
  void send_status();
  void tick();
  void close();
  /// Hangs up and throws.
  [[noreturn]] void lost(const std::string& why);

  ReplicationConfig config;
  std::shared_ptr<Link> link;
  Timer ticker;
  Lsn durable = 0;
  Lsn server_end = 0;
  SteadyTime heard_at = steady_now();
  int version = 0;
  bool streaming = false;  ///< between START_REPLICATION's answer and the end
  bool busy = false;
};

void Replication::Impl::lost(const std::string& why) {
  close();
  throw ConnectionLost(why.empty() ? "the connection to the source was lost" : why);
}

void Replication::Impl::close() {
  streaming = false;
  ticker.cancel();
  if (link) link->close();
}

/// A command of the replication protocol, or SQL, to its first result.
Task<Result<ResultPtr>> Replication::Impl::command(std::string sql, Deadline deadline) {
  const auto keep = shared_from_this();
  const Busy guard(busy);
  if (streaming) throw std::logic_error("a stream that has begun takes no commands");
  if (!link->usable()) lost("the connection to the source was lost");
  ResultPtr first;
  if (PQsendQuery(link->raw(), sql.c_str()) == 0) lost(one_line(PQerrorMessage(link->raw())));
  for (;;) {
    while (link->usable() && PQisBusy(link->raw()) != 0) {
      const bool full = PQflush(link->raw()) == 1;
      const bool in_time = co_await link->wait(true, full, deadline);
      if (link->raw() == nullptr) throw ConnectionLost("the connection to the source was closed");
      if (!in_time) {
        close();
        throw TimedOut("the source did not answer in time");
      }
      PQconsumeInput(link->raw());
    }
    if (link->raw() == nullptr) throw ConnectionLost("the connection to the source was closed");
    ResultPtr result(PQgetResult(link->raw()));
    if (!result) break;
    if (says_lost(result.get()) && field(result.get(), PG_DIAG_SQLSTATE).empty()) lost(one_line(PQresultErrorMessage(result.get())));
    const bool both = PQresultStatus(result.get()) == PGRES_COPY_BOTH;
    if (!first) first = std::move(result);
    if (both) break;
  }
  if (!first) lost("the source gave no answer");
  switch (PQresultStatus(first.get())) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_COPY_BOTH:
      co_return std::move(first);
    default: {
      auto error = error_of(first.get());
      co_return tl::make_unexpected(std::move(error));
    }
  }
}

/// A server may say this only when the first change comes (15), or never (18).
Task<Result<void>> Replication::Impl::missing_publication(std::vector<std::string> publications, Deadline deadline) {
  std::string wanted;
  for (const auto& name : publications) wanted += fmt::format("{}({})", wanted.empty() ? "" : ", ", literal(name));
  auto sql = fmt::format(
      "select wanted.name from (values {}) as wanted (name) "
      "where not exists (select from pg_catalog.pg_publication where pubname = wanted.name)",
      wanted);
  auto rows = co_await command(std::move(sql), deadline);
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  if (PQntuples(rows->get()) > 0)
    co_return fail(
        Kind::conflict, "PUBLICATION_MISSING",
        fmt::format("The source has no publication \"{}\". It must exist since before the position that is read; make it and then "
                    "a new slot.",
                    PQgetvalue(rows->get(), 0, 0)));
  co_return Result<void>();
}

void Replication::Impl::send_status() {
  if (!streaming || !link->usable()) return;
  const auto status = pgwire::status_update({durable, durable, durable, pg_now(), steady_now() - heard_at > config.status_interval});
  // Never waits: where the socket is full, the server is not reading, and the next status says all of this one.
  if (PQputCopyData(link->raw(), status.data(), static_cast<int>(status.size())) == 1) PQflush(link->raw());
}

void Replication::Impl::tick() {
  ticker.expires_after(config.status_interval);
  ticker.async_wait([weak = weak_from_this()](const boost::system::error_code& cancelled) {
    const auto self = weak.lock();
    if (cancelled || !self || !self->streaming) return;
    self->send_status();
    self->tick();
  });
}

Task<Result<std::optional<Received>>> Replication::Impl::receive(Deadline deadline) {
  const auto keep = shared_from_this();
  const Busy guard(busy);
  if (!streaming) throw ConnectionLost("the stream has ended");
  bool looked = false;
  for (;;) {
    char* data = nullptr;
    const int size = PQgetCopyData(link->raw(), &data, 1);
    const std::shared_ptr<char> memory(data, [](char* p) { PQfreemem(p); });
    if (link->publication_left_out) {
      close();
      co_return fail(Kind::conflict, "PUBLICATION_MISSING", unpublished("a publication of the stream"));
    }
    if (size > 0) {
      heard_at = steady_now();
      Received out{{}, memory};
      auto frame = pgwire::read_frame({data, static_cast<std::size_t>(size)});
      if (!frame) {
        close();
        co_return fail(Kind::internal, "STREAM_MALFORMED", "A frame of the source cannot be read: " + frame.error().text());
      }
      out.frame = *frame;
      if (const auto* keepalive = std::get_if<pgwire::Keepalive>(&out.frame)) {
        server_end = std::max(server_end, keepalive->end);
        if (keepalive->reply_wanted) send_status();
      } else {
        server_end = std::max(server_end, std::get<pgwire::XLogData>(out.frame).end);
      }
      co_return std::optional<Received>(std::move(out));
    }
    if (size < 0) break;
    if (looked && steady_now() - heard_at > config.silence) lost("the source has said nothing for too long");
    if (deadline.passed() && looked) co_return std::optional<Received>();
    const bool full = PQflush(link->raw()) == 1;
    co_await link->wait(true, full, deadline);
    if (link->raw() == nullptr) throw ConnectionLost("the connection to the source was closed");
    looked = true;
    if (PQconsumeInput(link->raw()) == 0) lost(one_line(PQerrorMessage(link->raw())));
  }
  // The server ended the stream: its result says why.
  for (;;) {
    while (link->usable() && PQisBusy(link->raw()) != 0) {
      const bool in_time = co_await link->wait(true, false, deadline);
      if (link->raw() == nullptr || !in_time) lost("the source ended the stream");
      PQconsumeInput(link->raw());
    }
    const ResultPtr result(PQgetResult(link->raw()));
    if (!result || PQresultStatus(result.get()) == PGRES_COPY_IN || PQresultStatus(result.get()) == PGRES_COMMAND_OK ||
        PQresultStatus(result.get()) == PGRES_TUPLES_OK)
      lost("the source ended the stream: " + one_line(PQerrorMessage(link->raw())));
    close();
    auto error = error_of(result.get());
    co_return tl::make_unexpected(std::move(error));
  }
}

Replication::Replication(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Replication::~Replication() { impl_->close(); }

Task<std::unique_ptr<Replication>> Replication::connect(Executor executor, Offload& offload, ReplicationConfig config) {
  auto settings = std::make_shared<Config>();
  settings->conninfo = config.conninfo;
  settings->connect_timeout = config.connect_timeout;
  settings->application_name = config.application_name;
  settings->statement_timeout = Millis(0);
  settings->replication = true;
  auto impl = std::make_shared<Impl>(executor, std::move(config));
  impl->link = co_await Link::open(executor, offload, settings);
  impl->version = PQserverVersion(impl->link->raw());
  co_return std::unique_ptr<Replication>(new Replication(std::move(impl)));
}

Task<Result<SystemIdentity>> Replication::identify(Deadline deadline) {
  const auto impl = impl_;
  auto rows = co_await impl->command("IDENTIFY_SYSTEM", deadline);
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  const auto* row = rows->get();
  const auto position = PQntuples(row) == 1 && PQnfields(row) >= 4 ? pgwire::read_lsn(PQgetvalue(row, 0, 2)) : std::nullopt;
  if (!position) throw Broken("the source's answer to IDENTIFY_SYSTEM cannot be read");
  SystemIdentity out{PQgetvalue(row, 0, 0), static_cast<std::uint32_t>(std::strtoul(PQgetvalue(row, 0, 1), nullptr, 10)), *position,
                     PQgetvalue(row, 0, 3)};
  co_return out;
}

Task<Result<Lsn>> Replication::create_slot(std::string slot, Deadline deadline, bool temporary) {
  const auto impl = impl_;
  if (!slot_name_good(slot)) co_return bad_slot_name(slot);
  // This form of the command is understood from PostgreSQL 10 on.
  auto sql =
      fmt::format("CREATE_REPLICATION_SLOT {}{} LOGICAL pgoutput NOEXPORT_SNAPSHOT", identifier(slot), temporary ? " TEMPORARY" : "");
  auto rows = co_await impl->command(std::move(sql), deadline);
  if (!rows) co_return tl::make_unexpected(std::move(rows.error()));
  const auto* row = rows->get();
  const auto position = PQntuples(row) == 1 && PQnfields(row) >= 2 ? pgwire::read_lsn(PQgetvalue(row, 0, 1)) : std::nullopt;
  if (!position) throw Broken("the source's answer to CREATE_REPLICATION_SLOT cannot be read");
  co_return *position;
}

Task<Result<void>> Replication::drop_slot(std::string slot, Deadline deadline) {
  const auto impl = impl_;
  if (!slot_name_good(slot)) co_return bad_slot_name(slot);
  auto done = co_await impl->command("DROP_REPLICATION_SLOT " + identifier(slot) + " WAIT", deadline);
  if (!done) co_return tl::make_unexpected(std::move(done.error()));
  co_return Result<void>();
}

Task<Result<void>> Replication::start(StartReplication what, Deadline deadline) {
  const auto impl = impl_;
  if (!slot_name_good(what.slot)) co_return bad_slot_name(what.slot);
  if (what.publications.empty()) throw std::logic_error("a stream needs a publication");
  auto published = co_await impl->missing_publication(what.publications, deadline);
  if (!published) co_return published;
  std::string names;
  for (const auto& name : what.publications) names += (names.empty() ? "" : ",") + identifier(name);
  auto options = fmt::format("proto_version '{}', publication_names {}", what.version, literal(names));
  if (what.streaming) options += ", streaming 'on'";
  if (what.messages) options += ", messages 'on'";
  const auto sql = fmt::format("START_REPLICATION SLOT {} LOGICAL {} ({})", identifier(what.slot), pgwire::lsn_text(what.from), options);
  for (Millis pause(50);; pause = std::min(Millis(1000), pause * 2)) {
    auto begun = co_await impl->command(sql, deadline);
    if (begun && PQresultStatus(begun->get()) == PGRES_COPY_BOTH) break;
    if (begun) throw Broken("the source answered START_REPLICATION without a stream");
    if (begun.error().code != "SLOT_ACTIVE" || deadline.left() < pause) co_return tl::make_unexpected(std::move(begun.error()));
    co_await sleep(pause);
  }
  impl->streaming = true;
  impl->durable = std::max(impl->durable, what.from);
  impl->heard_at = steady_now();
  impl->tick();
  co_return Result<void>();
}

Task<Result<std::optional<Received>>> Replication::receive(Deadline deadline) { return impl_->receive(deadline); }

void Replication::confirm(Lsn durable, bool at_once) {
  impl_->durable = std::max(impl_->durable, durable);
  if (at_once) impl_->send_status();
}

Lsn Replication::confirmed() const { return impl_->durable; }
Lsn Replication::server_end() const { return impl_->server_end; }
SteadyTime Replication::heard_at() const { return impl_->heard_at; }
int Replication::server_version() const { return impl_->version; }
void Replication::close() { impl_->close(); }

}  // namespace enishi::pg

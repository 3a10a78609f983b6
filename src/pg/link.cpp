#include "pg/link.hpp"

#include <sys/socket.h>

#include <cstdlib>
#include <cstring>

#include "base/log.hpp"
#include "base/metrics.hpp"

namespace enishi::pg {
namespace {

metrics::Gauge& open_connections() {
  static auto& gauge = metrics::gauge("enishi_pg_connections", "Connections to PostgreSQL that are open");
  return gauge;
}

struct Finish {
  void operator()(PGconn* c) const { PQfinish(c); }
};
using Connecting = std::unique_ptr<PGconn, Finish>;

/// As backends read `options`: words at spaces, \ before a space or \ that belongs to the word.
std::string escaped_option(std::string_view value) {
  std::string out;
  for (const char c : value) {
    if (c == ' ' || c == '\\') out.push_back('\\');
    out.push_back(c);
  }
  return out;
}

struct Given {
  std::string options;
  unsigned hosts = 1;
};

/// What the connection string says itself. Throws Unavailable for one that libpq cannot read, without its text: it may hold a password.
Given given(const std::string& conninfo) {
  Given out;
  if (const char* environment = std::getenv("PGOPTIONS")) out.options = environment;
  char* error = nullptr;
  PQconninfoOption* all = PQconninfoParse(conninfo.c_str(), &error);
  if (error != nullptr) PQfreemem(error);
  if (all == nullptr) throw Unavailable("the connection string cannot be read (see PostgreSQL's manual, 34.1.1)");
  for (auto* option = all; option->keyword != nullptr; ++option) {
    if (option->val == nullptr) continue;
    if (std::strcmp(option->keyword, "options") == 0) out.options = option->val;
    if (std::strcmp(option->keyword, "host") == 0 || std::strcmp(option->keyword, "hostaddr") == 0)
      out.hosts = std::max(out.hosts, 1 + static_cast<unsigned>(std::count(option->val, option->val + std::strlen(option->val), ',')));
  }
  PQconninfoFree(all);
  return out;
}

Connecting start(const Config& config, const Given& user) {
  auto options = user.options + " -c statement_timeout=" + std::to_string(config.statement_timeout.count());
  if (!config.role.empty()) options += " -c role=" + escaped_option(config.role);
  // Rows of a stream are text: what it looks like must not depend on the source's settings.
  if (config.replication) options += " -c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=3 -c timezone=UTC";
  if (!config.options.empty()) options += " " + config.options;
  const auto user_timeout = std::to_string(config.connect_timeout.count());
  // What comes before dbname is a default that the connection string may change; what comes after it holds.
  const char* keys[] = {"application_name",
                        "keepalives",
                        "keepalives_idle",
                        "keepalives_interval",
                        "keepalives_count",
                        "tcp_user_timeout",
                        "dbname",
                        "options",
                        "client_encoding",
                        config.replication ? "replication" : nullptr,
                        nullptr};
  const char* values[] = {config.application_name.c_str(),
                          "1",
                          "10",
                          "5",
                          "3",
                          user_timeout.c_str(),
                          config.conninfo.c_str(),
                          options.c_str(),
                          "UTF8",
                          "database",
                          nullptr};
  return Connecting(PQconnectStartParams(keys, values, 1));
}

}  // namespace

std::string one_line(const char* message) {
  std::string out(message == nullptr ? "" : message);
  while (!out.empty() && std::isspace(static_cast<unsigned char>(out.back())) != 0) out.pop_back();
  for (char& c : out)
    if (c == '\n' || c == '\t') c = ' ';
  return out;
}

bool says_lost(const PGresult* result) {
  if (PQresultStatus(result) != PGRES_FATAL_ERROR) return false;
  if (PQresultErrorField(result, PG_DIAG_SQLSTATE) == nullptr) return true;
  const char* severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
  return severity != nullptr && (std::strcmp(severity, "FATAL") == 0 || std::strcmp(severity, "PANIC") == 0);
}

bool says_prepare_again(const PGresult* result) {
  const char* sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  if (sqlstate == nullptr) return false;
  if (std::strcmp(sqlstate, "26000") == 0) return true;
  const char* function = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);
  return std::strcmp(sqlstate, "0A000") == 0 && function != nullptr && std::strcmp(function, "RevalidateCachedQuery") == 0;
}

bool holds_zero(const Params& params) {
  for (const auto& value : params)
    if (value && std::memchr(value->data(), 0, value->size()) != nullptr) return true;
  return false;
}

Link::Link(Executor executor) : executor_(executor), socket_(executor), limit_(executor) {}

Link::~Link() { close(); }

Task<std::shared_ptr<Link>> Link::open(Executor executor, Offload& offload, std::shared_ptr<const Config> config) {
  const auto user = given(config->conninfo);
  // libpq tries host after host; each may take the time of one.
  const auto deadline = Deadline::in(config->connect_timeout * user.hosts);
  auto link = std::make_shared<Link>(executor);
  auto connecting = co_await offload.run([config, user] { return start(*config, user); });
  link->raw_ = connecting.release();
  if (link->raw_ == nullptr) throw Unavailable("no memory for a connection");
  open_connections().add(1);
  PQsetNoticeReceiver(link->raw_, &Link::notice, link.get());
  auto next = PQstatus(link->raw_) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;
  while (next == PGRES_POLLING_READING || next == PGRES_POLLING_WRITING) {
    link->adopt();
    const bool write = next == PGRES_POLLING_WRITING;
    const bool in_time = co_await link->wait(!write, write, deadline);
    if (link->raw_ == nullptr) throw Unavailable("closed while connecting");
    if (!in_time) {
      link->close();
      throw Unavailable("connecting to PostgreSQL took longer than " + std::to_string(config->connect_timeout.count()) + " ms");
    }
    // libpq may close the socket and open another one, even with the same number: the loop must not know it meanwhile.
    link->release();
    next = PQconnectPoll(link->raw_);
  }
  if (next != PGRES_POLLING_OK) {
    const auto message = one_line(PQerrorMessage(link->raw_));
    link->close();
    throw Unavailable(message);
  }
  PQsetnonblocking(link->raw_, 1);
  link->adopt();
  co_return link;
}

void Link::notice(void* self, const PGresult* result) {
  auto field = [result](int code) -> std::string_view {
    const char* value = PQresultErrorField(result, code);
    return value == nullptr ? std::string_view() : std::string_view(value);
  };
  const auto severity = field(PG_DIAG_SEVERITY_NONLOCALIZED);
  const auto function = field(PG_DIAG_SOURCE_FUNCTION);
  if (severity == "WARNING" && function == "SyncRepWaitForLSN") static_cast<Link*>(self)->cut_short = true;
  if (severity == "WARNING" && function == "LoadPublications") static_cast<Link*>(self)->publication_left_out = true;
  // The text may hold data of a row (raise notice), so it stays out of the log.
  if (severity == "WARNING")
    log_warning("postgresql warns", {{"sqlstate", field(PG_DIAG_SQLSTATE)}, {"function", function}});
  else
    log_debug("postgresql says", {{"severity", severity}, {"sqlstate", field(PG_DIAG_SQLSTATE)}, {"function", function}});
}

void Link::adopt() {
  ++epoch_;
  reading_ = writing_ = false;
  socket_.assign(PQsocket(raw_));
}

void Link::release() {
  ++epoch_;
  reading_ = writing_ = false;
  if (socket_.is_open()) socket_.release();
}

void Link::close() {
  if (raw_ == nullptr) return;
  release();
  limit_.cancel();
  limit_at_ = SteadyTime::max();
  PQfinish(raw_);
  raw_ = nullptr;
  open_connections().add(-1);
  resume_.later(executor_);
}

bool Link::alive() {
  // A FATAL message and the end may be two reads.
  for (int i = 0; i < 3; ++i) {
    if (!usable()) return false;
    char byte;
    const auto n = ::recv(PQsocket(raw_), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n == 0) return false;
    if (n < 0) return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    if (PQconsumeInput(raw_) == 0) return false;
  }
  return usable();
}

void Link::event() {
  if (resume_) {
    resume_.now();
  } else if (on_event) {
    const auto call = on_event;  // it may replace itself
    call();
  }
}

void Link::watch_read() {
  if (reading_ || raw_ == nullptr) return;
  reading_ = true;
  socket_.async_wait(asio::posix::descriptor_base::wait_read, [weak = weak_from_this(), epoch = epoch_](const boost::system::error_code&) {
    auto self = weak.lock();
    if (!self || self->epoch_ != epoch) return;
    self->reading_ = false;
    self->event();
  });
}

void Link::watch_write() {
  if (writing_ || raw_ == nullptr) return;
  writing_ = true;
  socket_.async_wait(asio::posix::descriptor_base::wait_write, [weak = weak_from_this(), epoch = epoch_](const boost::system::error_code&) {
    auto self = weak.lock();
    if (!self || self->epoch_ != epoch) return;
    self->writing_ = false;
    self->event();
  });
}

void Link::watch_limit(Deadline deadline) {
  if (limit_at_ == deadline.at) return;
  limit_at_ = deadline.at;
  limit_.expires_at(deadline.at);
  limit_.async_wait([weak = weak_from_this()](const boost::system::error_code& cancelled) {
    auto self = weak.lock();
    if (cancelled || !self) return;
    self->limit_at_ = SteadyTime::max();
    self->resume_.now();
  });
}

Task<bool> Link::wait(bool read, bool write, Deadline deadline) {
  if (deadline.passed() || raw_ == nullptr) co_return false;
  if (read) watch_read();
  if (write) watch_write();
  watch_limit(deadline);
  const auto keep = shared_from_this();
  co_await suspend(resume_);
  co_return !deadline.passed();
}

bool Link::send(const Statement& statement, const Params& params, bool& preparing) {
  if (prepared_.size() <= statement.id()) prepared_.resize(statement.id() + 16);
  auto& known = prepared_[statement.id()];
  std::string renamed;
  const char* name = statement.server_name().c_str();
  if (known.version > 0) {
    renamed = statement.server_name() + "~" + std::to_string(known.version);
    name = renamed.c_str();
  }
  preparing = !known.ready;
  if (preparing) {
    if (PQsendPrepare(raw_, name, std::string(statement.sql).c_str(), 0, nullptr) == 0) return false;
    known.ready = true;  // taken back with forget() when the answer says otherwise
  }
  constexpr std::size_t kMost = 64;
  const char* few[kMost];
  std::vector<const char*> many;
  const char** values = few;
  if (params.size() > kMost) {
    many.resize(params.size());
    values = many.data();
  }
  for (std::size_t i = 0; i < params.size(); ++i) values[i] = params[i] ? params[i]->c_str() : nullptr;
  return PQsendQueryPrepared(raw_, name, static_cast<int>(params.size()), values, nullptr, nullptr, 0) == 1;
}

void Link::forget(std::uint32_t statement, bool rename) {
  if (prepared_.size() <= statement) return;
  prepared_[statement].ready = false;
  if (rename) ++prepared_[statement].version;
}

}  // namespace enishi::pg

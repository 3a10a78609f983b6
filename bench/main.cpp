// ./dev bench [NAME…]: what Enishi claims, measured. Each line: a figure, its peer, the ratio, the bound, ok or short; the exit status says
// whether every bound was reached. The peer is pgbench: the same SQL, prepared, on the same data, at its best number of connections, in the
// same run; rounds alternate, and medians are what counts.
#include <fmt/format.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <set>

#include "base/id.hpp"
#include "cli/demo/demo.hpp"
#include "crm/calls/calls.sql.hpp"
#include "crm/customers/customers.sql.hpp"
#include "crm/inquiries/inquiries.sql.hpp"
#include "load.hpp"
#include "pg/statement.hpp"

namespace enishi::bench {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string enishi;
  std::string folder = ".data/bench";
  std::int64_t customers = 1'000'000;
  double seconds = 8;
  int rounds = 3;
  std::string backup = "off";  ///< off, on, synchronous
  bool peer = true;
  std::int64_t history = 20'000'000;  ///< rows of history for as_of
  std::vector<std::string> names;
};

struct Failed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[noreturn]] void fail(const std::string& what) { throw Failed(what); }

std::string output_of(const std::string& command) {
  std::string out;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) fail("cannot run " + command);
  std::array<char, 4096> buffer;
  while (const auto n = fread(buffer.data(), 1, buffer.size(), pipe)) out.append(buffer.data(), n);
  if (const int status = pclose(pipe); status != 0)
    fail(fmt::format("`{}` ended with {}\n{}", command.substr(0, 300), status, out.substr(0, 2000)));
  return out;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string l; std::getline(in, l);)
    if (!l.empty()) out.push_back(l);
  return out;
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v.size() % 2 == 1 ? v[v.size() / 2] : (v[v.size() / 2 - 1] + v[v.size() / 2]) / 2;
}

/// Huge pages for PostgreSQL's shared memory while the benches run, as docs/operate advises for a server; without root they are left as
/// they are.
class HugePages {
 public:
  HugePages() {
    std::ifstream(kFile) >> before_;
    if (geteuid() != 0 || before_ > 0) return;
    std::ofstream(kFile) << 3300;
    std::ifstream(kFile) >> now_;
    fmt::print("huge pages: {} of 2 MB, for this run only\n", now_);
  }
  ~HugePages() {
    if (now_ > 0) std::ofstream(kFile) << before_;
  }
  HugePages(const HugePages&) = delete;
  HugePages& operator=(const HugePages&) = delete;

 private:
  static constexpr const char* kFile = "/proc/sys/vm/nr_hugepages";
  long before_ = 0, now_ = 0;
};

/// A data folder with sample data, made once and kept for the next run, and the server on it.
class Subject {
 public:
  /// `variant` keeps data that was made larger apart from what others measure on.
  Subject(const Options& o, std::int64_t customers, const std::string& variant = {})
      : options_(o), customers_(customers), folder_(fs::absolute(fs::path(o.folder) / (std::to_string(customers) + variant))) {
    if (!fs::exists(folder_ / "pgdata") || !fs::exists(marker())) {
      fmt::print("making {} customers in {} (once)\n", customers, folder_.string());
      std::fflush(stdout);
      fs::remove_all(folder_);
      fs::create_directories(folder_.parent_path());
      const auto said =
          output_of(fmt::format("{} demo --data '{}' --customers {} 2>&1 | tail -n 1", o.enishi, folder_.string(), customers));
      if (said.find(" customers with ") == std::string::npos) fail("the sample data could not be made: " + said);
      fmt::print("{}", said);
      std::ofstream(marker()) << said;
    }
    start();
    warm();
  }
  ~Subject() { stop(); }
  Subject(const Subject&) = delete;
  Subject& operator=(const Subject&) = delete;

  [[nodiscard]] unsigned short port() const { return port_; }
  [[nodiscard]] std::int64_t customers() const { return customers_; }
  [[nodiscard]] std::string socket() const { return (folder_ / "socket").string(); }
  [[nodiscard]] fs::path scratch(const std::string& name) const { return folder_ / name; }

  std::string sql(const std::string& text) const {
    const auto file = scratch("bench.sql");
    std::ofstream(file) << text;
    return output_of(
        fmt::format("psql -X -q -A -t -v ON_ERROR_STOP=1 -h '{}' -U enishi_owner -d enishi -f '{}' 2>&1", socket(), file.string()));
  }

  /// User plus system CPU of the server's process, seconds.
  [[nodiscard]] double cpu() const {
    std::ifstream in(fmt::format("/proc/{}/stat", pid_));
    std::string text((std::istreambuf_iterator<char>(in)), {});
    std::istringstream rest(text.substr(text.rfind(')') + 2));
    std::string skip;
    for (int i = 0; i < 11; ++i) rest >> skip;
    double user = 0, system = 0;
    rest >> user >> system;
    return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
  }
  /// Largest resident set so far, MB.
  [[nodiscard]] double peak_memory() const {
    std::ifstream in(fmt::format("/proc/{}/status", pid_));
    for (std::string line; std::getline(in, line);)
      if (line.starts_with("VmHWM:")) return std::atof(line.c_str() + 6) / 1024;
    return 0;
  }

  /// Users with one role, each with an API token that may do everything the role may: the tokens.
  std::vector<std::string> tokens(const std::string& role, int count) {
    std::vector<std::string> out;
    std::string text = "begin;\n";
    for (int i = 0; i < count; ++i) {
      const auto token = "eni_" + random_token(32);
      out.push_back(token);
      const auto user = Uuid::make().str();
      text += fmt::format(
          "insert into app_user (id, login, display_name, team_id) select '{0}', 'bench-{0}', 'bench', id from team where parent_id is "
          "null limit 1;\n"
          "insert into user_role values ('{0}', '{1}');\n"
          "insert into api_token (id, user_id, name, token_hash, scopes) values ('{2}', '{0}', 'bench', sha256('{3}'), '{{*}}');\n",
          user, role, Uuid::make().str(), token);
    }
    sql(text + "commit;\n");
    return out;
  }

 private:
  [[nodiscard]] fs::path marker() const { return folder_.string() + ".made"; }

  /// What is read again and again is in memory, as on a server that has been up for an hour: nobody measures the disk by accident.
  void warm() {
    const auto file = scratch("warm.sql");
    std::ofstream(file) << "create extension if not exists pg_prewarm;\n"
                           "select count(pg_prewarm(c.oid::regclass)) from pg_class c where c.relnamespace = 'public'::regnamespace and "
                           "c.relkind in ('r', 'i') "
                           "and c.relname not like 'history%' and c.relname not like 'personal_data%';\n"
                           // What only the first reader of new rows pays: the sealer's reading, not people's work.
                           "vacuum history;\n";
    output_of(fmt::format("psql -X -q -v ON_ERROR_STOP=1 -h '{}' -U postgres -d enishi -f '{}' 2>&1", socket(), file.string()));
  }

  void start() {
    int ends[2];
    if (pipe(ends) != 0) fail("pipe");
    pid_ = fork();
    if (pid_ == 0) {
      dup2(ends[1], STDOUT_FILENO);
      const auto log = (folder_.string() + ".log");
      if (freopen(log.c_str(), "w", stderr) == nullptr) _exit(127);
      const auto data = folder_.string();
      const auto backup = options_.backup == "off" ? std::string("off") : data + ".backup";
      execl(options_.enishi.c_str(), "enishi", "serve", "--data", data.c_str(), "--listen", "127.0.0.1:0", "--log-level", "warning",
            "--requests-per-second", "0", "--drill-days", "0", "--backup", backup.c_str(),
            options_.backup == "synchronous" ? "--synchronous" : static_cast<char*>(nullptr), static_cast<char*>(nullptr));
      _exit(127);
    }
    close(ends[1]);
    FILE* out = fdopen(ends[0], "r");
    char* line = nullptr;
    std::size_t size = 0;
    while (getline(&line, &size, out) > 0) {
      const std::string text(line);
      if (const auto at = text.rfind(':'); text.starts_with("Enishi is ready at") && at != std::string::npos) {
        port_ = static_cast<unsigned short>(std::atoi(text.c_str() + at + 1));
        break;
      }
    }
    free(line);
    out_ = out;
    if (port_ == 0) fail("the server did not start; see " + folder_.string() + ".log");
    if (options_.backup != "off") wait_for_backup();
  }
  void stop() {
    if (pid_ <= 0) return;
    kill(pid_, SIGTERM);
    int status = 0;
    waitpid(pid_, &status, 0);
    if (out_ != nullptr) fclose(out_);
  }

  /// What is measured is archiving and receiving, not the backup that a start after one without backups begins with.
  void wait_for_backup() const {
    const auto status = fmt::format("'{}' status --json --data '{}' || true", options_.enishi, folder_.string());
    const auto ready = [&] {
      const auto said = output_of(status);
      return !fs::exists(folder_ / "backup.gap") && said.find("\"last_backup_at\":\"") != std::string::npos &&
             said.find("\"running\":null") != std::string::npos && said.find("\"state\":\"streaming\"") != std::string::npos &&
             (options_.backup != "synchronous" || said.find("\"synchronous\":true") != std::string::npos);
    };
    for (int i = 0; i < 1800 && !ready(); ++i) usleep(500'000);
    if (!ready()) fail("no backup within 15 minutes: " + output_of(status));
  }

  const Options& options_;
  std::int64_t customers_;
  fs::path folder_;
  pid_t pid_ = 0;
  FILE* out_ = nullptr;
  unsigned short port_ = 0;
};

/// The binary's own SQL for pgbench: $k becomes the k-th expression.
std::string statement(std::string_view name, const std::vector<std::string>& values) {
  for (const auto* s : pg::all_statements()) {
    if (s->name != name) continue;
    std::string out;
    bool comment = false;
    for (std::size_t i = 0; i < s->sql.size(); ++i) {
      const char c = s->sql[i];
      if (!comment && s->sql.substr(i, 2) == "--") comment = true;
      if (c == '\n') comment = false;
      if (comment) continue;
      if (c == '$' && i + 1 < s->sql.size() && std::isdigit(static_cast<unsigned char>(s->sql[i + 1])) != 0) {
        std::size_t k = 0;
        while (i + 1 < s->sql.size() && std::isdigit(static_cast<unsigned char>(s->sql[i + 1])) != 0)
          k = k * 10 + static_cast<std::size_t>(s->sql[++i] - '0');
        if (k < 1 || k > values.size()) fail(fmt::format("{} has a parameter ${} that the bench does not know", name, k));
        out += values[k - 1];
        continue;
      }
      out.push_back(c == '\n' ? ' ' : c);
    }
    return out + ";\n";
  }
  fail(fmt::format("no statement {}", name));
}

/// Transactions a second of one pgbench run, as the application's role.
double pgbench(const Subject& s, const std::string& script, int clients, double seconds) {
  const auto file = s.scratch("peer.pgbench");
  std::ofstream(file) << script;
  const auto said = output_of(fmt::format("pgbench -n -M prepared -c {} -j {} -T {} -f '{}' -h '{}' -U enishi_app enishi 2>&1", clients,
                                          std::min(clients, 2), static_cast<int>(std::ceil(seconds)), file.string(), s.socket()));
  const auto at = said.find("tps = ");
  if (at == std::string::npos || said.find("number of failed transactions: 0") == std::string::npos) fail("pgbench: " + said);
  return std::atof(said.c_str() + at + 6);
}

int best_connections(const Subject& s, const std::string& script) {
  int best = 0;
  double most = 0;
  for (const int clients : {2, 4, 8, 16, 32})
    if (const double tps = pgbench(s, script, clients, 3); tps > most) best = clients, most = tps;
  return best;
}

bool all_reached = true;
void line(std::string_view name, std::string_view figure, std::string_view peer, std::string_view ratio, std::string_view bound, bool ok) {
  all_reached = all_reached && ok;
  fmt::print("{:<14} {:<52} {:<34} {:<8} {:<44} {}\n", name, figure, peer, ratio, bound, ok ? "ok" : "SHORT");
  std::fflush(stdout);
}

void expect_only(const LoadResult& r, std::initializer_list<int> statuses, std::string_view what) {
  for (const auto& [status, n] : r.statuses)
    if (std::find(statuses.begin(), statuses.end(), status) == statuses.end())
      fail(fmt::format("{}: {} answers with status {}\n{}", what, n, status, r.first_error.substr(0, 1500)));
}

/// Cheap numbers for the load: no two clients draw the same ones.
struct Dice {
  std::uint64_t state = 0x853c49e6748fea9bULL;
  std::int64_t below(std::int64_t n) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<std::int64_t>((state >> 20) % static_cast<std::uint64_t>(n));
  }
};

struct Measured {
  std::vector<double> per_second, peer, p99, cpu;
  std::uint64_t bytes = 0;
};

/// Rounds of the server and of its peer in turn.
Measured measure(const Options& o, Subject& s, int clients, const std::string& script, const std::function<void(int, std::string&)>& make,
                 std::initializer_list<int> statuses, std::string_view what) {
  Measured m;
  const int best = script.empty() ? 0 : best_connections(s, script);
  expect_only(run_load(s.port(), clients, 2, make), statuses, what);  // caches, prepared statements
  for (int i = 0; i < o.rounds; ++i) {
    const double cpu = s.cpu();
    const auto r = run_load(s.port(), clients, o.seconds, make);
    expect_only(r, statuses, what);
    m.per_second.push_back(r.per_second);
    m.p99.push_back(r.p99_ms);
    m.cpu.push_back((s.cpu() - cpu) / static_cast<double>(r.requests) * 1e6);
    m.bytes = r.bytes / std::max<std::uint64_t>(1, r.requests);
    if (!script.empty()) m.peer.push_back(pgbench(s, script, best, o.seconds));
  }
  if (!script.empty()) fmt::print("  pgbench was best with {} connections\n", best);
  return m;
}

std::function<void(int, std::string&)> screen_pops(std::int64_t customers, std::vector<std::string> tokens, Dice& dice) {
  return [customers, tokens, &dice](int client, std::string& out) {
    append_request(out, "GET", "/v1/screen-pop?phone=%2B" + cli::demo::demo_phone(1 + dice.below(customers)).substr(1),
                   tokens[static_cast<std::size_t>(client)]);
  };
}

std::function<void(int, std::string&)> list_pages(std::vector<std::string> sources, std::vector<std::string> tokens, Dice& dice) {
  return [sources, tokens, &dice](int client, std::string& out) {
    append_request(out, "GET",
                   "/v1/inquiries?view=due&limit=50&media_source_id=" +
                       sources[static_cast<std::size_t>(dice.below(static_cast<std::int64_t>(sources.size())))],
                   tokens[static_cast<std::size_t>(client)]);
  };
}

const char* kPhoneScript = "\\set i random(1, {})\n\\set a 70 + 10 * (:i % 3)\n\\set n 10000000 + (:i * 61803401 + 271828) % 90000000\n";

void screen_pop(const Options& o, Subject& s) {
  Dice dice;
  const auto tokens = s.tokens("operator", 32);
  const auto script = fmt::format(fmt::runtime(kPhoneScript), s.customers()) +
                      statement("customers.screen_pop", {"('+81' || :a::text || :n::text)", "'all'", "null", "'{}'"});
  const auto m = measure(o, s, 32, script, screen_pops(s.customers(), tokens, dice), {200}, "screen_pop");
  const double ratio = median(m.per_second) / median(m.peer);
  line("screen_pop", fmt::format("{:.0f}/s, p99 {:.1f} ms, {} bytes", median(m.per_second), median(m.p99), m.bytes),
       fmt::format("pgbench {:.0f}/s", median(m.peer)), fmt::format("{:.2f}", ratio), "≥ 0.9 × peer and ≥ 10,000/s",
       ratio >= 0.9 && median(m.per_second) >= 10000);
  line("screen_pop.cpu", fmt::format("{:.1f} µs of server CPU a request", median(m.cpu)), "", "", "≤ 40 µs", median(m.cpu) <= 40);
}

void list_page(const Options& o, Subject& s) {
  Dice dice;
  const auto tokens = s.tokens("admin", 32);
  const auto sources = lines_of(s.sql("select id from media_source where deleted_at is null order by id"));
  std::string cases;
  for (std::size_t i = 0; i + 1 < sources.size(); ++i) cases += fmt::format("when {} then '{}' ", i + 1, sources[i]);
  const auto script = fmt::format("\\set n random(1, {})\n", sources.size()) +
                      statement("inquiries.due_media",
                                {"50", "null", "null", "null", fmt::format("(case :n::int {} else '{}' end)", cases, sources.back())});
  const auto m = measure(o, s, 32, script, list_pages(sources, tokens, dice), {200}, "list_page");
  const double ratio = median(m.per_second) / median(m.peer);
  line("list_page", fmt::format("{:.0f}/s, p99 {:.1f} ms, {} bytes", median(m.per_second), median(m.p99), m.bytes),
       fmt::format("pgbench {:.0f}/s", median(m.peer)), fmt::format("{:.2f}", ratio), "≥ 0.9 × peer and ≥ 2,400/s",
       ratio >= 0.9 && median(m.per_second) >= 2400);
}

/// Operators with a call under way each, on the open tasks that are due first: one line a call, its id. Made as the schema's owner, all at
/// once.
void open_calls(Subject& s, std::int64_t count) {
  s.sql(fmt::format(R"(
set statement_timeout = 0;
begin;
create temp table chosen as select t.id as task, t.customer_id, t.inquiry_id, t.team_id, new_id() as who, new_id() as call from call_task t join inquiry i on i.id = t.inquiry_id
  where t.state in ('READY', 'SCHEDULED') and t.kind <> 'PRE_VISIT' and i.stage in ('NEW', 'IN_PROGRESS', 'NURTURING') order by t.due_at, t.id limit {0};
alter table app_user disable trigger user; alter table call_attempt disable trigger user; alter table call_task disable trigger user;
insert into app_user (id, login, display_name, team_id) select who, 'bench-' || who, 'bench', team_id from chosen;
insert into call_attempt (id, direction, customer_id, inquiry_id, task_id, operator_id, team_id) select call, 'OUTBOUND', customer_id, inquiry_id, task, who, team_id from chosen;
insert into open_call (call_attempt_id, operator_id, task_id, started_at) select call, who, task, now() from chosen;
update call_task t set state = 'IN_CALL', assigned_to = c.who, lease_expires_at = now() + interval '1 day' from chosen c where c.task = t.id;
alter table app_user enable trigger user; alter table call_attempt enable trigger user; alter table call_task enable trigger user;
drop table if exists bench_call; create table bench_call as select row_number() over () as n, call from chosen;
create unique index on bench_call (n); grant select on bench_call to enishi_app;
commit;
vacuum analyze call_attempt, call_task, app_user, bench_call;
)",
                    count));
}

constexpr double kWarm = 2;
constexpr const char* kDue = "2027-01-15T10:00:00+09:00";
/// Nobody finishes more than that in so many seconds on two cores; a run that comes to the end of its calls fails, and says so.
std::int64_t most_calls(double seconds) { return static_cast<std::int64_t>(seconds * 3000); }
std::int64_t calls_of_a_round(double seconds) { return most_calls(kWarm + seconds); }

/// A round of finished calls over HTTP, the first ones of bench_call. Every finish is one transaction: the call gets its outcome, its task
/// is closed, the inquiry moves on, the next task is made; history, outbox, durable.
LoadResult finish_calls(Subject& s, const std::vector<std::string>& tokens, double seconds) {
  const auto each = calls_of_a_round(seconds);
  const auto calls = lines_of(s.sql(fmt::format("select call from bench_call where n <= {} order by n", each)));
  if (static_cast<std::int64_t>(calls.size()) < each) fail("the data set has too few open inquiries; make it larger");
  std::size_t next = 0;
  const auto finish = [&](int client, std::string& out) {
    if (next == calls.size()) return;
    append_request(
        out, "POST", "/v1/calls/" + calls[next++] + "/finish", tokens[static_cast<std::size_t>(client)],
        fmt::format(R"({{"outcome":"CALLBACK","memo":"折り返しの約束","next_action":{{"kind":"CALLBACK","due_at":"{}"}}}})", kDue));
  };
  expect_only(run_load(s.port(), 32, kWarm, finish), {200}, "call_outcome");
  auto r = run_load(s.port(), 32, seconds, finish);
  expect_only(r, {200}, "call_outcome");
  if (next == calls.size()) fail("the opened calls ran out before the time did");
  return r;
}

void call_outcome(const Options& o, Subject& s) {
  const auto admin = s.tokens("admin", 32);
  // The peer: the same two statements, in one transaction. pgbench has no list of ids, so it counts through the prepared calls.
  const auto script =
      std::string(
          "select call from bench_call where n = (select nextval('bench_next')) \\gset\nbegin;\nselect "
          "begin_write('00000000-0000-7000-8000-000000000000', 'bench');\n") +
      statement("calls.finish_with_next", {"'all'", "'00000000-0000-7000-8000-000000000000'", "'{}'", ":call", "'CALLBACK'",
                                           "'折り返しの約束'", "'CALLBACK'", fmt::format("'{}'", kDue), "'CALLBACK'", "new_id()", "''"}) +
      "commit;\n";
  int best = 0;
  double best_tps = 0;
  std::vector<double> per_second, peer, p99;
  for (int round = 0; round < o.rounds; ++round) {
    const std::vector<int> candidates = round == 0 && o.peer ? std::vector<int>{4, 8, 16, 32} : std::vector<int>{};
    const auto each = calls_of_a_round(o.seconds);
    open_calls(s, each + (o.peer ? most_calls(o.seconds) : 0) + static_cast<std::int64_t>(candidates.size()) * most_calls(2));
    const auto r = finish_calls(s, admin, o.seconds);
    per_second.push_back(r.per_second);
    p99.push_back(r.p99_ms);
    if (!o.peer) continue;
    s.sql(
        fmt::format("drop sequence if exists bench_next; create sequence bench_next minvalue {} cache 1; grant usage on sequence "
                    "bench_next to enishi_app;",
                    each + 1));
    for (const int clients : candidates)
      if (const double tps = pgbench(s, script, clients, 2); tps > best_tps) best = clients, best_tps = tps;
    peer.push_back(pgbench(s, script, best, o.seconds));
  }
  if (!o.peer) {
    line("call_outcome", fmt::format("{:.0f}/s, p99 {:.1f} ms, backup {}", median(per_second), median(p99), o.backup), "", "", "", true);
    return;
  }
  fmt::print("  pgbench was best with {} connections\n", best);
  const double ratio = median(per_second) / median(peer);
  line("call_outcome", fmt::format("{:.0f}/s, p99 {:.1f} ms", median(per_second), median(p99)),
       fmt::format("pgbench {:.0f}/s", median(peer)), fmt::format("{:.2f}", ratio), "≥ 0.7 × peer and ≥ 2,000/s",
       ratio >= 0.7 && median(per_second) >= 2000);
}

/// While it lives nobody seals: it holds the sealer's lock.
class NoSealing {
 public:
  explicit NoSealing(const Subject& s)
      : session_(popen(fmt::format("psql -X -q -h '{}' -U enishi_owner -d enishi >/dev/null", s.socket()).c_str(), "w")) {
    if (session_ == nullptr) fail("cannot run psql");
    std::fputs("select pg_advisory_lock(1162760521, 200);\n", session_);
    std::fflush(session_);
    for (int i = 0; i < 600; ++i, usleep(100'000))
      if (s.sql("select count(*) from pg_locks where locktype = 'advisory' and classid = 1162760521 and objid = 200 and granted and pid "
                "in (select pid from pg_stat_activity where application_name = 'psql')") == "1\n")
        return;
    fail("the sealer's lock is not to be had");
  }
  ~NoSealing() { pclose(session_); }
  NoSealing(const NoSealing&) = delete;
  NoSealing& operator=(const NoSealing&) = delete;

 private:
  FILE* session_;
};

/// What sealing history takes from people's work: rounds with the sealer, which always has a backlog here, and without, in turns. The first
/// pair is not counted.
void sealing(const Options& o, Subject& s) {
  const auto admin = s.tokens("admin", 32);
  std::vector<double> with, without, ratios;
  const auto sealed = [&s] { return std::atol(s.sql("select coalesce(sum(cardinality(ids)), 0) from history_seal").c_str()); };
  long rows = 0;
  for (int round = -1; round < o.rounds; ++round) {
    double figure[2];
    // The order changes, so that what a round leaves behind falls on both.
    for (int turn = 0; turn < 2; ++turn) {
      const bool seals = ((round + turn) & 1) == 0;
      open_calls(s, calls_of_a_round(o.seconds));
      std::optional<NoSealing> hold;
      if (!seals) hold.emplace(s);
      const long before = sealed();
      figure[seals ? 1 : 0] = finish_calls(s, admin, o.seconds).per_second;
      if (seals && round >= 0) rows += sealed() - before;
      if (!seals && sealed() != before) fail("somebody sealed while nobody should");
    }
    if (round < 0) continue;
    without.push_back(figure[0]);
    with.push_back(figure[1]);
    ratios.push_back(figure[1] / figure[0]);
  }
  const double ratio = median(ratios);
  line("sealing", fmt::format("{:.0f}/s calls finished, {} rows sealed meanwhile", median(with), rows),
       fmt::format("{:.0f}/s unsealed", median(without)), fmt::format("{:.2f}", ratio), "≥ 0.95 × without, rows are sealed",
       ratio >= 0.95 && rows > 0);
}

/// Rows of history beside those that the sample data has: records with twenty changes each over the last 24 months. Made as the owner
/// without triggers, for history has none; indexes come after the rows.
void fill_history(Subject& s, std::int64_t rows) {
  const auto there = std::atoll(s.sql("select count(*) from bench_record").c_str()) * 20;
  if (there >= rows) return;
  fmt::print("writing {} rows of history (once)\n", rows);
  std::fflush(stdout);
  s.sql(
      "set statement_timeout = 0; set synchronous_commit = off;\n"
      "select ensure_history_partitions((now() - interval '25 months')::date, 30);\n"
      "drop index if exists history_row; drop index if exists history_order;");
  constexpr std::int64_t kRecords = 50'000;
  const auto began = time(nullptr);
  for (std::int64_t from = there / 20; from * 20 < rows; from += kRecords) {
    const auto count = std::min(kRecords, (rows - from * 20 + 19) / 20);
    s.sql(fmt::format(R"(
set statement_timeout = 0; set synchronous_commit = off;
begin;
create temp table fresh as select {} + n as n, gen_random_uuid() as id from generate_series(1, {}) n;
insert into bench_record (n, id) select n, id from fresh;
insert into history (at, table_name, row_id, customer_id, op, entity, actor, request_id, content)
select now() - interval '24 months' + (interval '24 months' * ((c - random()) / 20.0)), 'customer', f.id, f.id, case c when 1 then 'INSERT' else 'UPDATE' end, 'customer',
       'user:00000000-0000-7000-8000-000000000000', 'bench', jsonb_build_object('id', f.id, 'display_name', '試験 ' || f.n, 'kana', 'シケン', 'notes', repeat('覚書 ', 20), 'version', c,
       'team_id', null, 'owner_id', null, 'created_at', now() - interval '24 months', 'updated_at', now(), 'custom', '{{}}'::jsonb)
  from fresh f, generate_series(1, 20) c;
commit;
)",
                      from, count));
    if (const auto spent = time(nullptr) - began; spent > 1500)
      fail(fmt::format("{} rows after {} s: this disk is too slow for {}; ask for less with --history", (from + count) * 20, spent, rows));
  }
  s.sql(
      "set statement_timeout = 0; set maintenance_work_mem = '1GB'; set max_parallel_maintenance_workers = 2;\n"
      "create index history_row on history (row_id, at desc, id desc);\n"
      "create index history_order on history (xid, id);\n"
      "analyze history; analyze bench_record;");
  fmt::print("  written in {} s\n", time(nullptr) - began);
}

/// One record as of a moment, any of many, over HTTP.
void as_of(const Options& o) {
  Subject s(o, std::min<std::int64_t>(o.customers, 10'000), "-history");
  s.sql("set client_min_messages = warning; create table if not exists bench_record (n bigint primary key, id uuid not null)");
  fill_history(s, o.history);
  const auto total = std::atoll(s.sql("select count(*) from history").c_str());
  const auto plan = s.sql(
      "explain (costs off) select h.content from history h where h.row_id = '00000000-0000-7000-8000-000000000000' and h.table_name = "
      "'customer' and h.at <= now() order by h.at desc, h.id desc limit 1");
  if (plan.find("Seq Scan on history_2") != std::string::npos) fail("the plan reads whole partitions:\n" + plan);
  const auto ids = lines_of(s.sql("select id from bench_record order by random() limit 20000"));
  const auto admin = s.tokens("admin", 8);
  Dice dice;
  const auto now = time(nullptr);
  const auto ask = [&](int client, std::string& out) {
    const std::time_t then = now - dice.below(23LL * 30 * 86400);
    char moment[32];
    std::tm parts{};
    std::strftime(moment, sizeof moment, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&then, &parts));
    append_request(out, "GET",
                   fmt::format("/v1/history/customer/{}?as_of={}",
                               ids[static_cast<std::size_t>(dice.below(static_cast<std::int64_t>(ids.size())))], moment),
                   admin[static_cast<std::size_t>(client)]);
  };
  // A record that was not there yet at that moment is 404, and was looked for all the same.
  expect_only(run_load(s.port(), 8, 3, ask), {200, 404}, "as_of");
  std::vector<double> p99, per_second;
  std::uint64_t found = 0, all = 0;
  for (int round = 0; round < o.rounds; ++round) {
    auto r = run_load(s.port(), 8, o.seconds, ask);
    expect_only(r, {200, 404}, "as_of");
    p99.push_back(r.p99_ms);
    per_second.push_back(r.per_second);
    found += r.statuses[200];
    all += r.requests;
  }
  if (found * 10 < all * 9) fail("too many records were not there: what was measured is not what was meant");
  line("as_of", fmt::format("p99 {:.2f} ms, {:.0f}/s with 8 clients", median(p99), median(per_second)),
       fmt::format("{} rows of history", total), "", fmt::format("p99 ≤ 10 ms, ≥ {} rows", o.history),
       median(p99) <= 10 && total >= o.history);
}

void queue_claim(const Options&, Subject& s) {
  // An operator may hold more than one, so that claims are all that is measured; there are many operators, so that none holds more than a
  // few.
  s.sql(
      "insert into rule (name, effective_from, value, source) values ('tasks_per_operator', now(), '1000', 'bench') on conflict do "
      "nothing;"
      "insert into rule (name, effective_from, value, source) values ('contact_hours', now(), '{\"from\": \"00:00\", \"to\": \"24:00\"}', "
      "'bench') on conflict do nothing;"
      "insert into rule (name, effective_from, value, source) values ('task_lease_seconds', now(), '3600', 'bench') on conflict do "
      "nothing;");
  // Exactly 100,000 ready ones that anybody may take.
  s.sql(
      "update call_task set state = 'READY', assigned_to = null, lease_expires_at = null where state = 'ASSIGNED';"
      "update call_task set owner_id = null where state = 'READY' and owner_id is not null;"
      "update call_task set state = 'SCHEDULED' where id in (select id from call_task where state = 'READY' offset 100000);"
      "update call_task set state = 'READY', owner_id = null where id in (select id from call_task where state = 'SCHEDULED' and "
      "active_ban(customer_id) is null limit greatest(0, 100000 - (select count(*) from call_task where state = 'READY')));"
      "vacuum analyze call_task;");
  const auto ready = std::atol(s.sql("select count(*) from call_task where state = 'READY'").c_str());
  const auto tokens = s.tokens("operator", 2000);
  std::set<std::string> claimed;
  std::uint64_t twice = 0;
  std::size_t next = 0;
  const auto claims = [&](double seconds, double rate) {
    auto r = run_load(
        s.port(), 200, seconds,
        [&](int, std::string& out) { append_request(out, "POST", "/v1/call-tasks/claim", tokens[next++ % tokens.size()], "{}"); },
        [&](int, int status, std::string_view body) {
          if (status != 200) return;
          const auto at = body.find("\"id\":\"");
          if (at == std::string_view::npos || !claimed.insert(std::string(body.substr(at + 6, 36))).second) ++twice;
        },
        rate);
    expect_only(r, {200}, "queue_claim");
    return r;
  };
  claims(2, 0);
  // As fast as they can, 200 clients wait for each other; how long one waits at the rate that is asked for is another question.
  const auto most = claims(8, 0);
  const auto r = claims(8, 1000);
  line("queue_claim",
       fmt::format("{:.0f}/s at most; p99 {:.1f} ms at {:.0f}/s; {} claimed, {} twice", most.per_second, r.p99_ms, r.per_second,
                   claimed.size(), twice),
       fmt::format("{} ready tasks, 200 clients", ready), "", "≥ 1,000/s, p99 ≤ 100 ms, no task twice",
       most.per_second >= 1000 && r.per_second >= 990 && r.p99_ms <= 100 && twice == 0 && ready >= 99000);
}

void growth(const Options& o, Subject& big, Subject& small) {
  for (const std::string_view name : {"screen_pop", "list_page"}) {
    std::vector<double> p99[2];
    for (int round = 0; round < o.rounds; ++round) {
      int at = 0;
      for (auto* s : {&big, &small}) {
        Dice dice;
        const auto tokens = s->tokens("admin", 8);
        const auto make =
            name == "screen_pop"
                ? screen_pops(s->customers(), tokens, dice)
                : list_pages(lines_of(s->sql("select id from media_source where deleted_at is null order by id")), tokens, dice);
        if (round == 0) run_load(s->port(), 8, 3, make);
        const auto r = run_load(s->port(), 8, o.seconds, make);
        expect_only(r, {200}, "growth");
        p99[at++].push_back(r.p99_ms);
      }
    }
    const double ratio = median(p99[0]) / median(p99[1]);
    line("growth", fmt::format("{} p99 {:.2f} ms at {} customers", name, median(p99[0]), big.customers()),
         fmt::format("{:.2f} ms at {}", median(p99[1]), small.customers()), fmt::format("{:.2f}", ratio), "≤ 1.3 ×", ratio <= 1.3);
  }
}

int run(int argc, char** argv) {
  Options o;
  CLI::App app("Measures Enishi against pgbench", "bench");
  app.add_option("--enishi", o.enishi, "The binary")->required();
  app.add_option("--folder", o.folder, "Where the sample data is kept between runs");
  app.add_option("--customers", o.customers, "Size of the data set");
  app.add_option("--seconds", o.seconds, "Of each round");
  app.add_option("--rounds", o.rounds, "Medians are taken of these");
  app.add_option("--backup", o.backup, "off, on or synchronous");
  app.add_flag("!--no-peer", o.peer, "call_outcome without pgbench beside it");
  app.add_option("--history", o.history, "Rows of history for as_of");
  app.add_option("names", o.names, "screen_pop list_page call_outcome queue_claim growth memory, all if left out; and sealing, as_of");
  CLI11_PARSE(app, argc, argv);
  auto wanted = [&](std::string_view name) { return o.names.empty() || std::find(o.names.begin(), o.names.end(), name) != o.names.end(); };
  fmt::print("{:<14} {:<52} {:<34} {:<8} {:<44} {}\n", "name", "figure", "peer", "ratio", "bound", "");
  const HugePages pages;
  if (o.names == std::vector<std::string>{"as_of"}) {
    as_of(o);
    return all_reached ? 0 : 1;
  }
  Subject big(o, o.customers);
  if (wanted("screen_pop")) screen_pop(o, big);
  if (wanted("list_page")) list_page(o, big);
  if (wanted("growth")) {
    Subject small(o, o.customers / 10);
    growth(o, big, small);
  }
  if (wanted("call_outcome")) call_outcome(o, big);
  if (wanted("queue_claim")) queue_claim(o, big);
  // Part of `./dev bench continuity`.
  if (!o.names.empty() && wanted("sealing")) sealing(o, big);
  if (wanted("memory"))
    line("memory", fmt::format("{:.0f} MB resident at most, under all of the above", big.peak_memory()), "", "", "≤ 150 MB",
         big.peak_memory() <= 150);
  return all_reached ? 0 : 1;
}

}  // namespace
}  // namespace enishi::bench

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  // Neither load stops a backend in the middle of its answer, ours as little as pgbench's: both inherit it.
  const sched_param normal{};
  if (sched_setscheduler(0, SCHED_BATCH, &normal) != 0) fmt::print("SCHED_BATCH is not to be had\n");
  try {
    return enishi::bench::run(argc, argv);
  } catch (const std::exception& e) {
    fmt::print(stderr, "bench: {}\n", e.what());
    return 2;
  }
}

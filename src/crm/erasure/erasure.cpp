#include "crm/erasure/erasure.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cstring>
#include <fstream>
#include <set>

#include "base/log.hpp"
#include "crm/erasure/erasure.sql.hpp"
#include "io/aside.hpp"

namespace enishi::crm::erasure {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
namespace s = sql::erasure;

Result<void> append(const fs::path& file, const std::string& lines) {
  std::error_code ec;
  if (!fs::exists(file.parent_path() / kBackupsAreHere, ec))
    return fail(Kind::unavailable, "BACKUP_GONE",
                "there are no backups in " + file.parent_path().string() + " beside which to list who was erased: is their disk mounted?");
  const int fd = ::open(file.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  const auto unwritable = [&] {
    return fail(Kind::unavailable, "ERASURE_LIST_UNWRITABLE", "cannot write " + file.string() + ": " + std::strerror(errno));
  };
  if (fd < 0) return unwritable();
  std::string text = lines;
  char last = '\n';
  if (const auto size = ::lseek(fd, 0, SEEK_END); size > 0 && ::pread(fd, &last, 1, size - 1) == 1 && last != '\n') {
    // What a crash left of a line: it goes, or it would spoil the one that follows.
    std::ifstream in(file);
    const std::string all((std::istreambuf_iterator<char>(in)), {});
    const auto end = all.rfind('\n');
    if (::ftruncate(fd, end == std::string::npos ? 0 : static_cast<off_t>(end + 1)) != 0) {
      ::close(fd);
      return unwritable();
    }
  }
  std::size_t done = 0;
  while (done < text.size()) {
    const auto n = ::write(fd, text.data() + done, text.size() - done);
    if (n <= 0) {
      ::close(fd);
      return unwritable();
    }
    done += static_cast<std::size_t>(n);
  }
  const bool safe = ::fsync(fd) == 0;
  ::close(fd);
  if (!safe) return unwritable();
  return {};
}

}  // namespace

Result<json::array> read_list(const fs::path& file) {
  json::array out;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (in.eof()) break;
    if (line.empty()) continue;
    boost::system::error_code bad;
    auto value = json::parse(line, bad);
    if (bad || !value.is_object() || !value.as_object().contains("id"))
      return fail(Kind::conflict, "ERASURE_LIST_BROKEN", "a line of " + file.string() + " is no erasure: " + line.substr(0, 100));
    out.push_back(std::move(value));
  }
  if (in.bad()) return fail(Kind::unavailable, "ERASURE_LIST_UNREADABLE", "cannot read " + file.string() + ": " + std::strerror(errno));
  return out;
}

Task<Result<int>> reapply(pg::Lease& lease, json::array list) {
  int people = 0;
  if (list.empty()) co_return people;
  auto known = co_await lease.run(s::erasures_known, {}, Deadline::in(Millis(15000)));
  if (!known) co_return tl::make_unexpected(known.error());
  if (!known->boolean(0, 0)) co_return people;
  // A hundred at a time: an erasure takes tens of milliseconds.
  for (std::size_t from = 0; from < list.size(); from += 100) {
    json::array part(list.begin() + static_cast<std::ptrdiff_t>(from),
                     list.begin() + static_cast<std::ptrdiff_t>(std::min(list.size(), from + 100)));
    auto done = co_await lease.run(s::reapply_erasures, pg::params(json::serialize(part)), Deadline::in(Millis(60000)));
    if (!done) co_return tl::make_unexpected(done.error());
    people += static_cast<int>(done->integer(0, 0));
  }
  co_return people;
}

Task<Result<Reconciled>> reconcile(pg::Database& db, fs::path file) {
  auto list = co_await settled(aside([file] { return read_list(file); }));
  if (!list) co_return tl::make_unexpected(list.error());
  auto rows = co_await db.run(s::erasures_to_keep, {});
  if (!rows) co_return tl::make_unexpected(rows.error());
  std::set<std::string, std::less<>> listed, stored;
  for (const auto& line : *list) listed.emplace(line.at("id").as_string());
  std::string lines;
  Reconciled out;
  for (std::size_t i = 0; i < rows->size(); ++i) {
    stored.emplace(rows->text(i, 1));
    if (listed.contains(rows->text(i, 1))) continue;
    lines += rows->text(i, 0);
    lines += '\n';
    ++out.listed;
  }
  json::array unknown;
  for (auto& line : *list)
    if (!stored.contains(std::string_view(line.at("id").as_string()))) unknown.push_back(std::move(line));
  if (!unknown.empty()) {
    auto lease = co_await db.lease();
    auto people = co_await reapply(lease, std::move(unknown));
    if (!people) co_return tl::make_unexpected(people.error());
    out.erased = *people;
    if (out.erased > 0) log_warning("people erased after the moment of this database were erased again", {{"people", out.erased}});
  }
  if (out.listed > 0) {
    auto written = co_await settled(aside([file, lines] { return append(file, lines); }));
    if (!written) co_return tl::make_unexpected(written.error());
  }
  co_return out;
}

Task<> keep_list(pg::Database& db, fs::path file, const std::atomic<bool>& stopping) {
  std::string last = "none";
  while (!stopping) {
    std::string trouble;
    try {
      auto known = co_await db.run(s::erasures_known, {});
      if (known && !known->boolean(0, 0)) {
        co_await sleep(Millis(2000));
        continue;
      }
      auto newest = co_await db.run(s::newest_erasure, {});
      if (!newest) {
        trouble = newest.error().detail;
      } else if (const auto now = std::string(newest->text(0, 0)) + " " + std::string(newest->text(0, 1)); now != last) {
        auto done = co_await reconcile(db, file);
        if (done)
          last = now;
        else
          trouble = done.error().detail;
      }
    } catch (const std::exception& e) {
      trouble = e.what();
    }
    if (!trouble.empty()) log_error("the list of erasures beside the backups is not up to date", {{"error", trouble}});
    co_await sleep(Millis(trouble.empty() ? 2000 : 10000));
  }
}

std::vector<jobs::Job> periodic() { return {{"erase_due", Millis(3600000), s::erase_due, 20}}; }

}  // namespace enishi::crm::erasure

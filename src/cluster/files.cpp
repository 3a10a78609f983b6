#include "cluster/files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/clock.hpp"
#include "base/log.hpp"

namespace enishi::cluster {

namespace fs = std::filesystem;

std::string slurp(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

std::string tail(const std::string& text, std::size_t most) {
  auto end = text.find_last_not_of(" \n\r\t");
  if (end == std::string::npos) return "it said nothing";
  const auto begin = end + 1 > most ? end + 1 - most : 0;
  return text.substr(begin, end + 1 - begin);
}

Error unwritable(const fs::path& path, int code) {
  if (code == ENOSPC || code == EDQUOT) return {Kind::unavailable, "DISK_FULL", "the disk of \"" + path.string() + "\" is full", {}, {}, 0};
  return {Kind::unavailable, "DATA_UNWRITABLE", "cannot write \"" + path.string() + "\": " + std::strerror(code), {}, {}, 0};
}

Result<void> put(const fs::path& path, const std::string& text, const DatabaseUser& user) {
  const auto fresh = path.string() + ".new";
  const int fd = open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return tl::make_unexpected(unwritable(path, errno));
  std::size_t at = 0;
  int code = 0;
  while (at < text.size() && code == 0) {
    const auto n = ::write(fd, text.data() + at, text.size() - at);
    if (n < 0 && errno != EINTR) code = errno;
    if (n > 0) at += static_cast<std::size_t>(n);
  }
  if (code == 0 && user.change && geteuid() == 0 && fchown(fd, user.uid, user.gid) != 0) code = errno;
  if (code == 0 && fsync(fd) != 0) code = errno;
  ::close(fd);
  if (code == 0 && rename(fresh.c_str(), path.c_str()) != 0) code = errno;
  if (code != 0) return tl::make_unexpected(unwritable(path, code));
  return {};
}

Result<void> private_folder(const fs::path& path, const DatabaseUser& user) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return tl::make_unexpected(unwritable(path, errno));
  if (user.change && geteuid() == 0 && chown(path.c_str(), user.uid, user.gid) != 0) return tl::make_unexpected(unwritable(path, errno));
  if (chmod(path.c_str(), 0700) != 0) return tl::make_unexpected(unwritable(path, errno));
  return {};
}

Result<void> append_line(const fs::path& path, const std::string& line, const DatabaseUser& user, bool make) {
  const int fd = open(path.c_str(), O_WRONLY | (make ? O_CREAT : 0) | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return tl::make_unexpected(unwritable(path, errno));
  const auto text = line + "\n";
  int code = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? 0 : errno;
  if (code == 0 && user.change && geteuid() == 0 && fchown(fd, user.uid, user.gid) != 0) code = errno;
  if (code == 0 && fsync(fd) != 0) code = errno;
  ::close(fd);
  if (code != 0) return tl::make_unexpected(unwritable(path, code));
  return {};
}

Result<void> check_reachable(const fs::path& data, const DatabaseUser& user) {
  std::error_code ec;
  for (auto folder = data.parent_path();; folder = folder.parent_path()) {
    if (fs::exists(folder, ec) && !user.may_enter(folder))  // what does not exist yet will be made so that it can be entered
      return fail(Kind::unavailable, "DATA_UNREACHABLE",
                  fmt::format("the user \"{}\", who runs PostgreSQL, cannot enter \"{}\", so the data cannot be in \"{}\". "
                              "Choose another folder, /var/lib/enishi for example.",
                              user.name, folder.string(), data.string()));
    if (folder == folder.root_path()) return {};
  }
}

Lock::~Lock() {
  if (fd >= 0) ::close(fd);
}

Result<Lock> take_lock(const fs::path& data, const DatabaseUser& user) {
  const auto path = data / kLock;
  Lock lock;
  lock.fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (lock.fd < 0) return tl::make_unexpected(unwritable(path, errno));
  // Whoever looks whether an Enishi runs here (in_use) holds it for a moment.
  const auto limit = Deadline::in(Millis(1000));
  bool mine = false;
  while (!(mine = flock(lock.fd, LOCK_EX | LOCK_NB) == 0) && !limit.passed()) std::this_thread::sleep_for(Millis(20));
  if (!mine) {
    const auto pid = slurp(path);
    return fail(Kind::unavailable, "DATA_IN_USE",
                fmt::format("the data folder \"{}\" is in use by another Enishi{}. Stop it first, or choose another folder.", data.string(),
                            pid.empty() ? "" : " (pid " + pid.substr(0, pid.find('\n')) + ")"));
  }
  const auto pid = std::to_string(getpid()) + "\n";
  if (ftruncate(lock.fd, 0) != 0 || pwrite(lock.fd, pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size()))
    return tl::make_unexpected(unwritable(path, errno));
  if (user.change && geteuid() == 0 && fchown(lock.fd, user.uid, user.gid) != 0) return tl::make_unexpected(unwritable(path, errno));
  return lock;
}

bool in_use(const fs::path& data) {
  const int fd = open((data / kLock).c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return false;
  const bool held = flock(fd, LOCK_SH | LOCK_NB) != 0;
  ::close(fd);
  return held;
}

Result<void> fix_owner(const fs::path& pgdata, const DatabaseUser& user) {
  struct stat st{};
  if (!user.change || lstat(pgdata.c_str(), &st) != 0 || st.st_uid == user.uid) return {};
  log_info("giving the data folder to the database's user", {{"user", user.name}});
  if (lchown(pgdata.c_str(), user.uid, user.gid) != 0) return tl::make_unexpected(unwritable(pgdata, errno));
  std::error_code ec;
  for (const auto& entry : fs::recursive_directory_iterator(pgdata, ec))
    if (lchown(entry.path().c_str(), user.uid, user.gid) != 0) return tl::make_unexpected(unwritable(entry.path(), errno));
  return {};
}

std::uint64_t free_disk(const fs::path& path) {
  std::error_code ec;
  const auto space = fs::space(path, ec);
  return ec ? 0 : space.available;
}

std::string conninfo_value(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') out.push_back('\\');
    out.push_back(c);
  }
  return out + "'";
}

std::string shell_word(std::string_view text) {
  std::string out = "'";
  for (const char c : text)
    if (c == '\'')
      out += "'\\''";
    else
      out.push_back(c);
  return out + "'";
}

std::string conf_value(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') out.push_back(c);
    out.push_back(c);
  }
  return out + "'";
}

}  // namespace enishi::cluster

#include "takeover/faults.hpp"

#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <mutex>
#include <string>

#include "pg/errors.hpp"

namespace enishi::takeover {
namespace {

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// Counts the steps since the wish was first seen; what is to be done when its moment has come.
std::string due(std::string_view step, const std::string& setting) {
  static std::mutex guard;
  static std::string seen, done;
  static int passed = 0;
  const std::lock_guard held(guard);
  const bool from_file = setting.starts_with('@');
  const std::string path = from_file ? setting.substr(1) : "";
  const auto wish = from_file ? first_line(path) : setting;
  if (wish.empty() || (!from_file && wish == done)) return {};
  if (wish != seen) {
    seen = wish;
    passed = 0;
  }
  const auto colon = wish.find(':');
  if (std::string_view(wish).substr(0, colon) != step) return {};
  auto what = colon == std::string::npos ? std::string("kill") : wish.substr(colon + 1);
  int nth = 1;
  if (const auto next = what.find(':'); next != std::string::npos) {
    nth = std::atoi(what.c_str() + next + 1);
    what.resize(next);
  }
  if (++passed < nth) return {};
  seen.clear();
  if (from_file)
    ::unlink(path.c_str());
  else
    done = wish;
  return what;
}

}  // namespace

void fault_point(std::string_view step) {
  static const char* const setting = std::getenv("TAKEOVER_FAULT");
  if (setting == nullptr) return;
  static const std::string wish(setting);
  const auto what = due(step, wish);
  if (what == "kill") ::kill(::getpid(), SIGKILL);
  if (what == "stop") ::kill(::getpid(), SIGSTOP);
  if (what == "fail") throw pg::Unavailable("a fault was asked for at " + std::string(step));
}

}  // namespace enishi::takeover

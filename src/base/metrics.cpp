#include "base/metrics.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <variant>

namespace enishi::metrics {
namespace {

using Metric = std::variant<std::unique_ptr<Counter>, std::unique_ptr<Gauge>, std::unique_ptr<Histogram>>;

struct Family {
  std::string help;
  std::map<std::string, Metric> series;  ///< by rendered labels
};

std::mutex g_lock;
std::map<std::string, Family>& families() {
  static std::map<std::string, Family> all;
  return all;
}

std::string rendered(const Labels& labels) {
  std::string out;
  for (const auto& [key, value] : labels) {
    std::string escaped;
    for (const char c : value) {
      if (c == '\\' || c == '"') escaped.push_back('\\');
      if (c == '\n')
        escaped += "\\n";
      else
        escaped.push_back(c);
    }
    out += fmt::format("{}{}=\"{}\"", out.empty() ? "" : ",", key, escaped);
  }
  return out;
}

template <class T>
T& find(const std::string& name, const std::string& help, const Labels& labels) {
  const std::lock_guard guard(g_lock);
  auto& family = families()[name];
  if (family.help.empty()) family.help = help;
  auto [at, fresh] = family.series.try_emplace(rendered(labels));
  if (fresh) at->second = std::make_unique<T>();
  auto* metric = std::get_if<std::unique_ptr<T>>(&at->second);
  if (metric == nullptr) throw std::logic_error("metric " + name + " was registered as another kind");
  return **metric;
}

std::string braces(const std::string& labels, const std::string& more = {}) {
  if (labels.empty() && more.empty()) return {};
  return "{" + labels + (labels.empty() || more.empty() ? "" : ",") + more + "}";
}

}  // namespace

void Histogram::observe(double seconds) {
  const auto bucket = std::lower_bound(kBounds.begin(), kBounds.end(), seconds) - kBounds.begin();
  buckets_[static_cast<std::size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
  count_.fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(seconds, std::memory_order_relaxed);
}

Counter& counter(const std::string& n, const std::string& h, const Labels& l) { return find<Counter>(n, h, l); }
Gauge& gauge(const std::string& n, const std::string& h, const Labels& l) { return find<Gauge>(n, h, l); }
Histogram& histogram(const std::string& n, const std::string& h, const Labels& l) { return find<Histogram>(n, h, l); }

std::string render() {
  const std::lock_guard guard(g_lock);
  std::string out;
  for (const auto& [name, family] : families()) {
    bool typed = false;
    for (const auto& [labels, metric] : family.series) {
      static constexpr const char* kTypes[] = {"counter", "gauge", "histogram"};
      if (!typed) out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, family.help, name, kTypes[metric.index()]);
      typed = true;
      if (const auto* c = std::get_if<0>(&metric)) {
        out += fmt::format("{}{} {}\n", name, braces(labels), (*c)->value());
      } else if (const auto* g = std::get_if<1>(&metric)) {
        out += fmt::format("{}{} {}\n", name, braces(labels), (*g)->value());
      } else {
        const auto& h = *std::get<2>(metric);
        std::uint64_t sum = 0;
        for (std::size_t i = 0; i <= Histogram::kBounds.size(); ++i) {
          sum += h.buckets_[i].load(std::memory_order_relaxed);
          const auto le = i < Histogram::kBounds.size() ? fmt::format("le=\"{}\"", Histogram::kBounds[i]) : std::string("le=\"+Inf\"");
          out += fmt::format("{}_bucket{} {}\n", name, braces(labels, le), sum);
        }
        out += fmt::format("{}_sum{} {}\n{}_count{} {}\n", name, braces(labels), h.sum_.load(), name, braces(labels), sum);
      }
    }
  }
  return out;
}

}  // namespace enishi::metrics

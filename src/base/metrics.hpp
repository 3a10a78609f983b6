// Metrics in Prometheus' text format (version 0.0.4). Names and labels are fixed at registration, so label sets stay bounded.
//
//   inline metrics::Counter& claimed = metrics::counter("enishi_tasks_claimed_total", "Call tasks claimed");
//   claimed.add();
//   metrics::histogram("enishi_http_request_seconds", "Time to answer", {{"operation", "get_customer"}}).observe(0.0021);
//
// Registration takes a lock and returns the same object for the same name and labels: look up once, keep the reference.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace enishi::metrics {

using Labels = std::vector<std::pair<std::string, std::string>>;

class Counter {
 public:
  void add(std::uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

class Gauge {
 public:
  void set(double v) { value_.store(v, std::memory_order_relaxed); }
  void add(double v) { value_.fetch_add(v, std::memory_order_relaxed); }
  [[nodiscard]] double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

/// Seconds, in buckets from 100 µs to 10 s.
class Histogram {
 public:
  static constexpr std::array<double, 16> kBounds{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                                  0.05,   0.1,     0.25,   0.5,   1,      2.5,   5,    10};
  void observe(double seconds);
  [[nodiscard]] std::uint64_t count() const { return count_.load(std::memory_order_relaxed); }

 private:
  friend std::string render();
  std::array<std::atomic<std::uint64_t>, 17> buckets_{};
  std::atomic<std::uint64_t> count_{0};
  std::atomic<double> sum_{0};
};

Counter& counter(const std::string& name, const std::string& help, const Labels& labels = {});
Gauge& gauge(const std::string& name, const std::string& help, const Labels& labels = {});
Histogram& histogram(const std::string& name, const std::string& help, const Labels& labels = {});

/// Everything registered, as Prometheus reads it.
std::string render();

}  // namespace enishi::metrics

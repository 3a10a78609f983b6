#include <algorithm>
#include <array>
#include <stdexcept>

#include "http/http.hpp"
#include "http/uri.hpp"

namespace enishi::http {

constexpr std::size_t kMethods = 6;

/// A node a segment. Compared to a hash map a path, names in the middle need no second structure, and depth is bounded by the patterns.
struct Router::Node {
  std::vector<std::pair<std::string, std::unique_ptr<Node>>> literals;  ///< sorted by name
  std::unique_ptr<Node> any;                                            ///< {name}
  std::array<std::ptrdiff_t, kMethods> routes;                          ///< index into routes_, or -1
  std::array<std::ptrdiff_t, kMethods> rest_routes;                     ///< for {name...}
  Node() {
    routes.fill(-1);
    rest_routes.fill(-1);
  }
  Node* literal(std::string_view name) const {
    const auto at = std::lower_bound(literals.begin(), literals.end(), name, [](const auto& a, std::string_view b) { return a.first < b; });
    return at != literals.end() && at->first == name ? at->second.get() : nullptr;
  }
};

namespace {

/// "/v1/a" -> "v1", "a"; the path begins with a slash.
template <class Take>
void each_segment(std::string_view path, Take take) {
  std::size_t at = 1;
  while (at <= path.size()) {
    const auto slash = std::min(path.find('/', at), path.size());
    if (!take(path.substr(at, slash - at), at)) return;
    at = slash + 1;
  }
}

bool is_name(std::string_view segment) { return segment.size() > 2 && segment.front() == '{' && segment.back() == '}'; }

}  // namespace

void Router::add(Route route) {
  if (route.pattern.empty() || route.pattern.front() != '/')
    throw std::logic_error("a route's pattern begins with a slash: " + route.pattern);
  if (!root_) root_ = std::make_shared<Node>();
  auto* node = root_.get();
  bool rest = false;
  each_segment(route.pattern, [&](std::string_view segment, std::size_t) {
    if (rest) throw std::logic_error("nothing may follow {name...}: " + route.pattern);
    if (is_name(segment) && segment.ends_with("...}")) {
      rest = true;
    } else if (is_name(segment)) {
      if (!node->any) node->any = std::make_unique<Node>();
      node = node->any.get();
    } else if (auto* known = node->literal(segment)) {
      node = known;
    } else {
      const auto at = std::lower_bound(node->literals.begin(), node->literals.end(), segment,
                                       [](const auto& a, std::string_view b) { return a.first < b; });
      node = node->literals.emplace(at, std::string(segment), std::make_unique<Node>())->second.get();
    }
    return true;
  });
  auto& slot = (rest ? node->rest_routes : node->routes)[static_cast<std::size_t>(route.method)];
  if (slot >= 0) throw std::logic_error("two routes for one method and path: " + route.pattern);
  slot = static_cast<std::ptrdiff_t>(routes_.size());
  routes_.push_back(std::move(route));
}

Router::Match Router::find(Method method, std::string_view path) const {
  Match match;
  if (!root_ || path.empty() || path.front() != '/') return match;
  // The path arrives encoded: it is split first and decoded after, so that %2F stays inside its segment.
  std::array<std::string_view, 32> parts;
  std::array<std::size_t, 32> starts{};
  std::size_t count = 0;
  each_segment(path, [&](std::string_view segment, std::size_t at) {
    parts[count] = segment;
    starts[count] = at;
    return ++count < parts.size();
  });

  const auto take = [&](const std::array<std::ptrdiff_t, kMethods>& routes) {
    const auto index = [&](Method m) { return routes[static_cast<std::size_t>(m)]; };
    auto found = index(method);
    if (found < 0 && method == Method::head) found = index(Method::get);
    if (found >= 0) {
      match.route = &routes_[static_cast<std::size_t>(found)];
      return true;
    }
    for (std::size_t m = 0; m < kMethods; ++m) {
      const auto value = static_cast<Method>(m);
      if (routes[m] >= 0 && std::find(match.allowed.begin(), match.allowed.end(), value) == match.allowed.end())
        match.allowed.push_back(value);
    }
    return false;
  };
  // Depth first, literals before names before rests; a path has few segments and a node few ways, so this stays small.
  const auto walk = [&](auto&& self, const Node& node, std::size_t i) -> bool {
    if (i == count) return take(node.routes);
    if (const auto* next = node.literal(parts[i]); next != nullptr && self(self, *next, i + 1)) return true;
    if (node.any && !parts[i].empty() && self(self, *node.any, i + 1)) return true;
    if (&node != root_.get()) return take(node.rest_routes);
    // A catch-all at the root (the web client) must not turn the 405 of a known path into its own 404, nor a POST to nowhere into a 405.
    if (!match.allowed.empty()) return false;
    if (take(node.rest_routes)) return true;
    match.allowed.clear();
    return false;
  };
  if (!walk(walk, *root_, 0)) return match;
  match.allowed.clear();
  std::size_t i = 0;
  each_segment(match.route->pattern, [&](std::string_view segment, std::size_t) {
    if (is_name(segment) && segment.ends_with("...}")) {
      auto value = percent_decoded(path.substr(std::min(i < count ? starts[i] : path.size(), path.size())));
      match.segments.emplace_back(segment.substr(1, segment.size() - 5), value ? std::move(*value) : std::string());
    } else if (is_name(segment)) {
      auto value = percent_decoded(parts[i]);
      match.segments.emplace_back(segment.substr(1, segment.size() - 2), value ? std::move(*value) : std::string());
    }
    ++i;
    return true;
  });
  return match;
}

}  // namespace enishi::http

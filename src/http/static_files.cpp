#include <algorithm>
#include <unordered_map>

#include "base/id.hpp"
#include "http/http.hpp"
#include "http/json.hpp"

namespace enishi::http {
namespace {

constexpr std::string_view kNonce = "__CSP_NONCE__";

struct Asset {
  std::string_view plain, br, gz;
  std::string tag;  ///< hash of the content, 32 hex digits
  std::string_view type;
  bool immutable = false;
  bool nonce = false;
};

struct Site {
  std::unordered_map<std::string_view, Asset> assets;
};

std::string_view type_of(std::string_view path) {
  static constexpr std::pair<std::string_view, std::string_view> kTypes[] = {{".html", "text/html; charset=utf-8"},
                                                                             {".js", "text/javascript; charset=utf-8"},
                                                                             {".mjs", "text/javascript; charset=utf-8"},
                                                                             {".css", "text/css; charset=utf-8"},
                                                                             {".json", "application/json"},
                                                                             {".map", "application/json"},
                                                                             {".svg", "image/svg+xml"},
                                                                             {".png", "image/png"},
                                                                             {".jpg", "image/jpeg"},
                                                                             {".webp", "image/webp"},
                                                                             {".ico", "image/x-icon"},
                                                                             {".woff2", "font/woff2"},
                                                                             {".woff", "font/woff"},
                                                                             {".ttf", "font/ttf"},
                                                                             {".wasm", "application/wasm"},
                                                                             {".txt", "text/plain; charset=utf-8"},
                                                                             {".yaml", "application/yaml"},
                                                                             {".webmanifest", "application/manifest+json"},
                                                                             {".pdf", "application/pdf"}};
  for (const auto& [ending, type] : kTypes)
    if (path.ends_with(ending)) return type;
  return "application/octet-stream";
}

/// Two FNV-1a hashes of 64 bits: it names versions of our own files and guards against nobody.
std::string content_hash(std::string_view bytes) {
  std::uint64_t a = 0xcbf29ce484222325ULL, b = 0x84222325cbf29ce4ULL;
  for (const char c : bytes) {
    a = (a ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
    b = (b ^ static_cast<unsigned char>(c)) * 0x10000000233ULL;
  }
  return fmt::format("{:016x}{:016x}", a, b);
}

/// Whether Accept-Encoding takes this coding: named (or *) with q above 0 (RFC 9110, 12.5.3).
bool accepts(std::string_view header, std::string_view coding) {
  bool any = false;
  while (!header.empty()) {
    const auto end = std::min(header.find(','), header.size());
    auto item = header.substr(0, end);
    header.remove_prefix(std::min(end + 1, header.size()));
    while (!item.empty() && item.front() == ' ') item.remove_prefix(1);
    const auto name_end = std::min(item.find_first_of("; "), item.size());
    const auto name = item.substr(0, name_end);
    bool allowed = true;
    if (const auto q = item.find("q="); q != std::string_view::npos)
      allowed = item.substr(q + 2).find_first_of("123456789") != std::string_view::npos;
    if (name == coding) return allowed;
    if (name == "*") any = allowed;
  }
  return any;
}

bool matches(std::string_view if_none_match, std::string_view tag) {
  return if_none_match == "*" || (!tag.empty() && if_none_match.find(tag) != std::string_view::npos);
}

std::string policy(std::string_view nonce) {
  return fmt::format(
      "default-src 'none'; script-src 'self'; style-src 'self'{}; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
      "worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
      nonce.empty() ? std::string() : fmt::format(" 'nonce-{}'", nonce));
}

const Asset* find(const Site& site, std::string_view path) {
  const auto at = site.assets.find(path);
  return at == site.assets.end() ? nullptr : &at->second;
}

Task<Result<Answer>> serve(std::shared_ptr<const Site> site, Request& request) {
  std::string_view path = request.path;
  if (!path.empty()) path.remove_prefix(1);
  if (path.empty()) path = "index.html";
  const auto* asset = find(*site, path);
  if (asset == nullptr) {
    // The client's own routes have no dot in their last segment; a missing script must be a 404, not a page of HTML.
    const auto last = path.substr(path.rfind('/') == std::string_view::npos ? 0 : path.rfind('/') + 1);
    const bool api = path == "v1" || path.starts_with("v1/") || path == "api" || path.starts_with("api/");
    if (!api && last.find('.') == std::string_view::npos) asset = find(*site, "index.html");
    if (asset == nullptr) co_return fail(Kind::not_found, "NOT_FOUND", "Nothing is at this path.");
  }
  Answer answer;
  answer.type = asset->type;
  const bool html = asset->type.starts_with("text/html");
  answer.with("Cache-Control", asset->immutable ? "public, max-age=31536000, immutable" : "no-cache");
  if (asset->nonce) {
    // No ETag: a 304 would pair the stored page and its old nonce with a new policy.
    const auto nonce = random_token(16);
    answer.with("Content-Security-Policy", policy(nonce));
    const auto text = asset->plain;
    answer.body.reserve(text.size() + 64);
    for (std::size_t at = 0; at < text.size();) {
      const auto next = std::min(text.find(kNonce, at), text.size());
      answer.body.append(text.substr(at, next - at));
      if (next == text.size()) break;
      answer.body += nonce;
      at = next + kNonce.size();
    }
    co_return answer;
  }
  if (html) answer.with("Content-Security-Policy", policy({}));
  const auto encodings = request.header("Accept-Encoding");
  std::string_view coding;
  answer.static_body = asset->plain;
  if (!asset->br.empty() && accepts(encodings, "br")) {
    coding = "br";
    answer.static_body = asset->br;
  } else if (!asset->gz.empty() && accepts(encodings, "gzip")) {
    coding = "gzip";
    answer.static_body = asset->gz;
  }
  if (!asset->br.empty() || !asset->gz.empty()) answer.with("Vary", "Accept-Encoding");
  // Another coding is another representation, so it has another tag (RFC 9110, 8.8.3.3).
  auto tag = coding.empty() ? fmt::format("\"{}\"", asset->tag) : fmt::format("\"{}-{}\"", asset->tag, coding);
  const auto if_none_match = request.header("If-None-Match");
  const bool fresh = !if_none_match.empty() && matches(if_none_match, tag);
  answer.with("ETag", std::move(tag));
  if (fresh) {
    answer.status = 304;
    answer.static_body = {};
    co_return answer;
  }
  if (!coding.empty()) answer.with("Content-Encoding", std::string(coding));
  co_return answer;
}

}  // namespace

Handler static_files(std::vector<StaticFile> files) {
  auto site = std::make_shared<Site>();
  for (const auto& file : files) {
    if (file.path.ends_with(".br") || file.path.ends_with(".gz")) continue;
    Asset asset;
    // An empty file still is one: its bytes must not look absent to the server.
    asset.plain = file.bytes.data() != nullptr ? file.bytes : std::string_view("");
    asset.tag = content_hash(file.bytes);
    asset.type = type_of(file.path);
    asset.immutable = file.path.starts_with("assets/");
    asset.nonce = asset.type.starts_with("text/html") && file.bytes.find(kNonce) != std::string_view::npos;
    site->assets.emplace(file.path, std::move(asset));
  }
  for (const auto& file : files) {
    const bool br = file.path.ends_with(".br");
    if (!br && !file.path.ends_with(".gz")) continue;
    const auto at = site->assets.find(file.path.substr(0, file.path.size() - 3));
    if (at != site->assets.end()) (br ? at->second.br : at->second.gz) = file.bytes;
  }
  return [site = std::shared_ptr<const Site>(std::move(site))](Request& request) { return serve(site, request); };
}

}  // namespace enishi::http

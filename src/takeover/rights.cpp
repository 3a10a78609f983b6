#include "takeover/rights.hpp"

#include <algorithm>
#include <cctype>

namespace enishi::takeover {
namespace {

struct Token {
  enum class Kind { word, quoted, text, sign } kind = Kind::sign;
  std::string value;
  [[nodiscard]] bool is(std::string_view word) const { return kind == Kind::word && value == word; }
  [[nodiscard]] bool is_sign(char c) const { return kind == Kind::sign && value[0] == c; }
  [[nodiscard]] bool named() const { return kind == Kind::word || kind == Kind::quoted; }
};

bool begins_word(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_' || static_cast<unsigned char>(c) >= 0x80; }
bool in_word(char c) { return begins_word(c) || std::isdigit(static_cast<unsigned char>(c)) != 0 || c == '$'; }

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  std::vector<Token> tokens() {
    while (at_ < text_.size()) one();
    return std::move(out_);
  }

 private:
  [[nodiscard]] char next(std::size_t by = 1) const { return at_ + by < text_.size() ? text_[at_ + by] : '\0'; }

  void one() {
    const char c = text_[at_];
    if (c == '-' && next() == '-') {
      at_ = std::min(text_.find('\n', at_), text_.size());
    } else if (c == '/' && next() == '*') {
      comment();
    } else if (c == '\'') {
      quoted('\'', Token::Kind::text);
    } else if (c == '"') {
      quoted('"', Token::Kind::quoted);
    } else if (c == '$' && (next() == '$' || begins_word(next()))) {
      dollars();
    } else if (begins_word(c)) {
      word();
    } else {
      if (std::isspace(static_cast<unsigned char>(c)) == 0) out_.push_back({Token::Kind::sign, std::string(1, c)});
      ++at_;
    }
  }

  void comment() {
    int depth = 0;
    do {
      if (text_[at_] == '/' && next() == '*') {
        ++depth;
        at_ += 2;
      } else if (text_[at_] == '*' && next() == '/') {
        --depth;
        at_ += 2;
      } else {
        ++at_;
      }
    } while (depth > 0 && at_ < text_.size());
  }

  void quoted(char mark, Token::Kind kind) {
    const bool escapes = mark == '\'' && !out_.empty() && out_.back().is("e") && at_ > 0 && in_word(text_[at_ - 1]);
    if (escapes) out_.pop_back();
    std::string value;
    for (++at_; at_ < text_.size(); ++at_) {
      if (escapes && text_[at_] == '\\' && at_ + 1 < text_.size()) {
        value.push_back(text_[++at_]);
      } else if (text_[at_] != mark) {
        value.push_back(text_[at_]);
      } else if (next() == mark) {
        value.push_back(mark);
        ++at_;
      } else {
        break;
      }
    }
    ++at_;
    out_.push_back({kind, std::move(value)});
  }

  void dollars() {
    const auto end = text_.find('$', at_ + 1);
    const auto tag = end == std::string_view::npos ? std::string_view() : text_.substr(at_, end - at_ + 1);
    if (tag.empty() || !std::all_of(tag.begin() + 1, tag.end() - 1, in_word)) {
      ++at_;
      return;
    }
    const auto close = text_.find(tag, end + 1);
    out_.push_back({Token::Kind::text, std::string(text_.substr(end + 1, close == std::string_view::npos ? close : close - end - 1))});
    at_ = close == std::string_view::npos ? text_.size() : close + tag.size();
  }

  void word() {
    std::string value;
    for (; at_ < text_.size() && in_word(text_[at_]); ++at_)
      value.push_back(static_cast<char>(std::tolower(static_cast<unsigned char>(text_[at_]))));
    out_.push_back({Token::Kind::word, std::move(value)});
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::vector<Token> out_;
};

class Finder {
 public:
  explicit Finder(std::vector<Token> tokens) : t_(std::move(tokens)) {}

  std::vector<Touched> found() {
    for (at_ = 0; at_ < t_.size(); ++at_) look();
    return std::move(out_);
  }

 private:
  [[nodiscard]] bool is(std::size_t at, std::string_view word) const { return at < t_.size() && t_[at].is(word); }
  [[nodiscard]] bool sign(std::size_t at, char c) const { return at < t_.size() && t_[at].is_sign(c); }

  void look() {
    if (is(at_, "insert") && is(at_ + 1, "into")) {
      inserted_ = name_at(at_ + 2);
      if (inserted_ >= 0) out_[static_cast<std::size_t>(inserted_)].insert = true;
    } else if (is(at_, "do") && is(at_ + 1, "update") && is(at_ + 2, "set")) {
      if (inserted_ >= 0) out_[static_cast<std::size_t>(inserted_)].update = true;
    } else if (is(at_, "update") && !is(at_ + 1, "set") && !is(at_ + 1, "of") && !(at_ > 0 && (is(at_ - 1, "for") || is(at_ - 1, "key")))) {
      if (const auto i = name_at(at_ + 1); i >= 0) out_[static_cast<std::size_t>(i)].update = true;
    } else if (is(at_, "delete") && is(at_ + 1, "from")) {
      if (const auto i = name_at(at_ + 2); i >= 0) out_[static_cast<std::size_t>(i)].remove = true;
    } else if (is(at_, "merge") && is(at_ + 1, "into")) {
      if (const auto i = name_at(at_ + 2); i >= 0) {
        auto& one = out_[static_cast<std::size_t>(i)];
        one.insert = one.update = one.remove = true;
      }
    } else if ((is(at_, "from") || is(at_, "join") || is(at_, "using")) && !(at_ > 0 && is(at_ - 1, "delete"))) {
      read_list(at_ + 1);
    } else if ((is(at_, "nextval") || is(at_, "currval") || is(at_, "setval")) && sign(at_ + 1, '(') && at_ + 2 < t_.size() &&
               t_[at_ + 2].kind == Token::Kind::text) {
      sequence(t_[at_ + 2].value);
    }
  }

  /// FROM a, b as x, c
  void read_list(std::size_t at) {
    for (;;) {
      std::size_t end = at;
      const auto i = name_at(at, &end);
      if (i < 0) return;
      if (!sign(end, '(')) out_[static_cast<std::size_t>(i)].select = true;  // else it is a function
      if (is(end, "as")) ++end;
      if (end < t_.size() && t_[end].named()) ++end;
      if (!sign(end, ',')) return;
      at = end + 1;
    }
  }

  /// A name at a token, which may be qualified; the entry for it, or -1.
  int name_at(std::size_t at, std::size_t* end = nullptr) {
    if (is(at, "only")) ++at;
    if (at >= t_.size() || !t_[at].named() || is(at, "select") || is(at, "lateral")) return -1;
    std::string schema, name = t_[at].value;
    if (sign(at + 1, '.') && at + 2 < t_.size() && t_[at + 2].named()) {
      schema = std::move(name);
      name = t_[at + 2].value;
      at += 2;
    }
    if (end != nullptr) *end = at + 1;
    return entry(std::move(schema), std::move(name));
  }

  void sequence(const std::string& text) {
    const auto parts = Reader(text).tokens();
    if (parts.size() == 1 && parts[0].named()) out_[static_cast<std::size_t>(entry({}, parts[0].value))].sequence = true;
    if (parts.size() == 3 && parts[0].named() && parts[2].named())
      out_[static_cast<std::size_t>(entry(parts[0].value, parts[2].value))].sequence = true;
  }

  int entry(std::string schema, std::string name) {
    const auto there = std::find_if(out_.begin(), out_.end(), [&](const auto& x) { return x.schema == schema && x.name == name; });
    if (there != out_.end()) return static_cast<int>(there - out_.begin());
    Touched one;
    one.schema = std::move(schema);
    one.name = std::move(name);
    out_.push_back(std::move(one));
    return static_cast<int>(out_.size()) - 1;
  }

  std::vector<Token> t_;
  std::size_t at_ = 0;
  int inserted_ = -1;
  std::vector<Touched> out_;
};

}  // namespace

std::vector<Touched> touched_by(std::string_view sql) { return Finder(Reader(sql).tokens()).found(); }

}  // namespace enishi::takeover

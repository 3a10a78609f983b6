// Turns files into C++ at build time.
//
//   enishi_embed sql    STEM IN.sql OUT.hpp     named statements -> pg::Statement constants in enishi::sql::STEM
//   enishi_embed files  NAME OUT.s OUT.hpp ROOT  every file below ROOT -> enishi::embedded::NAME (path, bytes)
//
// A statement starts with a line `-- name: find_inquiry :optional` and goes on to the next one. Its kind is one of
// :one :optional :many :exec; the word `pipeline` after it says that its cost is bounded, so that it may share a connection.
// `-- piece: columns` names a text that the statements after it hold wherever they say {{columns}}: shapes of one list, each with its own
// plan.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

namespace fs = std::filesystem;

namespace {

[[noreturn]] void fail(const std::string& what) {
  std::cerr << "enishi_embed: " << what << "\n";
  std::exit(1);
}

std::string slurp(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) fail("cannot read " + path.string());
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

/// Writes only when the content changed, so that nothing is rebuilt for nothing.
void put(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream out(path, std::ios::binary);
  out << text;
  if (!out) fail("cannot write " + path.string());
}

std::string trim(std::string s) {
  auto space = [](unsigned char c) { return std::isspace(c) != 0; };
  s.erase(s.begin(), std::find_if_not(s.begin(), s.end(), space));
  s.erase(std::find_if_not(s.rbegin(), s.rend(), space).base(), s.end());
  return s;
}

/// Without the comments at the end, which speak of what comes next.
std::string without_tail(std::string text) {
  for (text = trim(text);;) {
    const auto line = text.rfind('\n') + 1;
    if (line == 0 || !text.substr(line).starts_with("--")) return text;
    text = trim(text.substr(0, line));
  }
}

/// `text` with every {{piece}} in its place.
std::string assembled(const std::string& text, const std::map<std::string, std::string>& pieces, const std::string& where) {
  std::string out;
  std::size_t from = 0;
  for (auto at = text.find("{{"); at != std::string::npos; at = text.find("{{", from)) {
    const auto end = text.find("}}", at);
    const auto name = text.substr(at + 2, end == std::string::npos ? end : end - at - 2);
    const auto piece = pieces.find(name);
    if (end == std::string::npos || piece == pieces.end()) fail(where + ": there is no piece {{" + name);
    out += text.substr(from, at - from) + piece->second;
    from = end + 2;
  }
  return out + text.substr(from);
}

int sql(const std::string& stem, const fs::path& in, const fs::path& out) {
  static const std::regex head(R"(^--\s*name:\s*([a-z][a-z0-9_]*)\s+:(one|optional|many|exec)(\s+pipeline)?\s*$)");
  static const std::regex piece_head(R"(^--\s*piece:\s*([a-z][a-z0-9_]*)\s*$)");
  std::istringstream text(slurp(in));
  std::ostringstream code;
  code << "// Made by enishi_embed from " << in.filename().string() << ".\n#pragma once\n#include \"pg/statement.hpp\"\n"
       << "namespace enishi::sql::" << stem << " {\n";
  std::string line, name, kind, body;
  std::map<std::string, std::string> pieces;
  bool piece = false;
  bool pipeline = false;
  int count = 0;
  auto finish = [&] {
    if (name.empty()) return;
    body = without_tail(assembled(body, pieces, in.string() + ": " + name));
    if (body.empty()) fail(in.string() + ": statement " + name + " is empty");
    if (piece) {
      if (!pieces.emplace(name, body).second) fail(in.string() + ": there are two pieces " + name);
      return;
    }
    if (body.back() == ';') body.pop_back();
    if (body.find(")sql\"") != std::string::npos) fail(in.string() + ": statement " + name + " contains )sql\"");
    code << "inline const pg::Statement " << name << "{\"" << stem << "." << name << "\", pg::Rowcount::" << kind << ", "
         << (pipeline ? "true" : "false") << ", R\"sql(" << body << ")sql\"};\n";
    ++count;
  };
  int number = 0;
  while (std::getline(text, line)) {
    ++number;
    std::smatch m;
    if (std::regex_match(line, m, head)) {
      finish();
      piece = false;
      name = m[1];
      kind = m[2];
      pipeline = m[3].matched;
      body.clear();
    } else if (std::regex_match(line, m, piece_head)) {
      finish();
      piece = true;
      name = m[1];
      body.clear();
    } else if (line.starts_with("-- name:") || line.starts_with("-- piece:")) {
      fail(in.string() + ":" + std::to_string(number) +
           ": a name line reads `-- name: snake_case :one|:optional|:many|:exec [pipeline]` or `-- piece: snake_case`");
    } else if (!name.empty()) {
      body += line + "\n";
    }
  }
  finish();
  if (count == 0) fail(in.string() + ": no statement");
  code << "}  // namespace enishi::sql::" << stem << "\n";
  put(out, code.str());
  return 0;
}

int files(const std::string& name, const fs::path& assembly, const fs::path& header, const fs::path& root) {
  std::vector<fs::path> found;
  if (fs::exists(root))
    for (const auto& entry : fs::recursive_directory_iterator(root))
      if (entry.is_regular_file()) found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  std::ostringstream s, h;
  h << "// Made by enishi_embed.\n#pragma once\n#include <array>\n#include <string_view>\n#include \"base/embedded.hpp\"\n"
    << "extern \"C\" {\n";
  s << ".section .rodata\n";
  for (std::size_t i = 0; i < found.size(); ++i) {
    const auto label = "enishi_" + name + "_" + std::to_string(i);
    s << ".global " << label << "\n.global " << label << "_end\n.balign 16\n"
      << label << ":\n.incbin \"" << fs::absolute(found[i]).string() << "\"\n"
      << label << "_end:\n.byte 0\n";
    h << "extern const char " << label << "[];\nextern const char " << label << "_end[];\n";
  }
  s << ".section .note.GNU-stack,\"\",@progbits\n";
  h << "}\nnamespace enishi::embedded {\ninline const std::array<File, " << found.size() << "> " << name << "{{\n";
  for (std::size_t i = 0; i < found.size(); ++i) {
    const auto label = "enishi_" + name + "_" + std::to_string(i);
    h << "  {\"" << fs::relative(found[i], root).generic_string() << "\", {" << label << ", static_cast<std::size_t>(" << label << "_end - "
      << label << ")}},\n";
  }
  h << "}};\n}  // namespace enishi::embedded\n";
  put(assembly, s.str());
  put(header, h.str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  if (args.size() == 4 && args[0] == "sql") return sql(args[1], args[2], args[3]);
  if (args.size() == 5 && args[0] == "files") return files(args[1], args[2], args[3], args[4]);
  fail("usage: enishi_embed sql STEM IN OUT | files NAME OUT.s OUT.hpp ROOT");
}

// An import as people see it: a file that was brought in, its mapping, how far it is, and what was rejected.
//
//   auto file = co_await call.gate.offload().run([bytes, options] { return inspect(*bytes, options); });
//   co_return co_await create(call, std::move(upload), std::move(*file));
#pragma once
#include <memory>

#include "auth/call.hpp"
#include "crm/csv/encoding.hpp"
#include "crm/imports/mapping.hpp"

namespace enishi::crm::imports {

using auth::Answering;

inline constexpr std::size_t most_bytes = 20 * 1024 * 1024;

struct Upload {
  std::optional<Uuid> id;
  std::string file_name;
  Uuid media_source_id;
  csv::Encoding encoding = csv::Encoding::AUTO;
  char delimiter = '\0';  ///< '\0': look at the first line
  bool header = true, again = false;
  std::shared_ptr<const std::string> bytes;
};

/// What is in a file, all of it read once.
struct Inspected {
  std::string sha256;   ///< \x…, a bytea parameter
  std::string content;  ///< the same of the file
  csv::Encoding encoding = csv::Encoding::UTF8;
  char delimiter = ',';
  std::vector<std::string> columns;  ///< names, or empty texts when there is no header
  std::vector<std::vector<std::string>> preview;
  std::int64_t rows = 0, blank_lines = 0;
};
/// Blocking. Errors, all unprocessable: FILE_EMPTY, CSV_ENCODING_UNSUPPORTED, HEADER_UNREADABLE.
Result<Inspected> inspect(const Upload& upload);

/// A file that came before for the same media source answers 200 with its import, unless `again`.
Answering create(auth::Call& call, Upload upload);
Answering get(auth::Call& call, Uuid id);
Answering list(auth::Call& call, auth::Paging at);
Answering rejects(auth::Call& call, Uuid id, auth::Paging at);
/// The rejected rows in the columns of the file, with line, code and reason behind them; a stream.
Answering rejects_csv(auth::Call& call, Uuid id);

/// A column of a mapping as somebody wrote it: by its name or its number.
struct Wish {
  std::string name;
  std::size_t number = 0;  ///< 0: by name
  std::string field;
};
/// Without wishes the suggestion is taken.
Answering start(auth::Call& call, Uuid id, std::optional<std::vector<Wish>> wishes, bool customer_initiated);

}  // namespace enishi::crm::imports

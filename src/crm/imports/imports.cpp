#include "crm/imports/imports.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <set>

#include "auth/tokens.hpp"
#include "base/log.hpp"
#include "crm/csv/writer.hpp"
#include "crm/imports/imports.sql.hpp"
#include "crm/imports/leads.hpp"
#include "crm/japanese/unicode.hpp"
#include "crm/outcomes/outcome.hpp"

namespace enishi::crm::imports {
namespace {

namespace s = sql::imports;
namespace json = boost::json;
using http::Answer;

constexpr std::size_t preview_rows = 5;

std::string hex_of(std::string_view bytes) {
  constexpr char digits[] = "0123456789abcdef";
  std::string out = "\\x";
  out.reserve(2 + 2 * bytes.size());
  for (const unsigned char c : bytes) {
    out.push_back(digits[c >> 4]);
    out.push_back(digits[c & 15]);
  }
  return out;
}

/// The one of , tab ; that stands most often in the first line.
char delimiter_of(std::string_view bytes) {
  const auto line = bytes.substr(0, bytes.find_first_of("\r\n"));
  char best = ',';
  std::ptrdiff_t most = std::count(line.begin(), line.end(), ',');
  for (const char candidate : {'\t', ';'})
    if (const auto n = std::count(line.begin(), line.end(), candidate); n > most) {
      best = candidate;
      most = n;
    }
  return best;
}

std::string array_of(const std::vector<std::string>& texts) {
  std::string out = "[";
  for (const auto& text : texts) {
    if (out.size() > 1) out += ',';
    out += json_quote(text);
  }
  return out + "]";
}

std::string preview_of(const Inspected& file) {
  std::string out = "[";
  for (const auto& row : file.preview) {
    if (out.size() > 1) out += ',';
    out += array_of(row);
  }
  return out + "]";
}

std::vector<std::string> texts_of(std::string_view array) {
  std::vector<std::string> out;
  const auto parsed = json::parse(json::string_view(array.data(), array.size()));
  for (const auto& text : parsed.as_array()) out.emplace_back(text.as_string());
  return out;
}

Error unreadable(std::string code, const std::string& detail) { return {Kind::unprocessable, std::move(code), detail, {}, {}, 0}; }

/// The import of the same file, or nothing.
Task<Result<std::optional<Answer>>> brought_before(auth::Call& call, const Uuid& media_source, const std::string& sha256) {
  auto row = co_await call.db().read(s::find_by_file, pg::params(media_source, sha256, call.rights()), call.request.deadline);
  if (!row) co_return tl::make_unexpected(std::move(row.error()));
  if (row->empty()) co_return std::optional<Answer>();
  if (!row->boolean(0, 1))
    co_return fail(
        Kind::conflict, "FILE_IMPORTED",
        "Somebody of another team has brought this file in for this media source already; with again=true it is brought in once more.");
  auto there = Answer::json(std::string(row->text(0, 0)));
  there.with("ETag", http::etag(row->integer(0, 2)));
  co_return std::optional(std::move(there));
}

/// Every mistake of a mapping, with pointers into the body.
Result<Mapping> checked(const std::vector<Wish>& wishes, const std::vector<std::string>& columns, const std::set<std::string>& custom) {
  std::vector<FieldError> errors;
  Mapping mapping;
  std::set<std::string> once;
  std::set<std::size_t> used;
  for (std::size_t i = 0; i < wishes.size(); ++i) {
    const auto& wish = wishes[i];
    const auto at = "/mapping/" + std::to_string(i);
    std::size_t number = wish.number;
    if (number == 0) {
      const auto same = std::count(columns.begin(), columns.end(), wish.name);
      if (same == 1)
        number = static_cast<std::size_t>(std::find(columns.begin(), columns.end(), wish.name) - columns.begin()) + 1;
      else
        errors.push_back(
            {at + "/column", same == 0 ? "UNKNOWN_COLUMN" : "AMBIGUOUS_COLUMN",
             same == 0 ? "the file has no column of this name" : "several columns have this name; give the number of one, from 1"});
    } else if (number > columns.size()) {
      errors.push_back({at + "/column", "UNKNOWN_COLUMN", fmt::format("the file has {} columns", columns.size())});
    }
    const auto& names = field_names();
    const bool plain = std::find(names.begin(), names.end(), wish.field) != names.end();
    const bool defined = (wish.field.starts_with("custom.") && custom.contains("customer:" + wish.field.substr(7))) ||
                         (wish.field.starts_with("inquiry.custom.") && custom.contains("inquiry:" + wish.field.substr(15)));
    if (!plain && !defined)
      errors.push_back({at + "/field", "UNKNOWN_FIELD", "there is no such field"});
    else if (!takes_several(wish.field) && !once.insert(wish.field).second)
      errors.push_back({at + "/field", "FIELD_TWICE", "this field is taken from one column only"});
    if (number > 0 && !used.insert(number).second) errors.push_back({at + "/column", "COLUMN_TWICE", "this column is mapped already"});
    mapping.push_back({number, wish.field});
  }
  for (const std::string_view needed : {"display_name", "phone"})
    if (std::none_of(mapping.begin(), mapping.end(), [&](const Column& c) { return c.field == needed; }))
      errors.push_back({"/mapping", "REQUIRED", std::string(needed) + " needs a column"});
  if (errors.empty()) return mapping;
  return fail(Kind::unprocessable, "VALIDATION_FAILED",
              errors.size() == 1 ? "One field is wrong." : fmt::format("{} fields are wrong.", errors.size()), std::move(errors));
}

Answering why_not_started(auth::Call& call, Uuid id) {
  auto row = co_await call.db().run(s::to_start, pg::params(call.rights(), id), call.request.deadline);
  if (!row) co_return tl::make_unexpected(std::move(row.error()));
  if (row->empty()) co_return auth::not_found();
  const std::string state(row->text(0, 0));
  Error error{Kind::conflict,
              "ILLEGAL_TRANSITION",
              fmt::format("An import that is {} cannot be started.", state),
              {},
              fmt::format(R"({{"entity":"import","current_state":"{}","requested_state":"RUNNING","allowed_transitions":[]}})", state),
              0};
  co_return tl::make_unexpected(std::move(error));
}

/// Writes the download, page by page. `import` is there and the caller may see it.
Task<> write_rejects(http::Stream& stream, pg::Database& db, Uuid import, std::vector<std::string> columns) {
  csv::Writer writer({});
  std::string out;
  auto head = columns;
  for (std::size_t i = 0; i < head.size(); ++i)
    if (head[i].empty()) head[i] = fmt::format("column {}", i + 1);
  head.insert(head.end(), {"行", "エラー", "理由"});
  writer.row(head, out);
  std::int64_t after = 0;
  for (;;) {
    auto page = co_await db.run(s::rejects_page, pg::params(import, after));
    if (!page) throw std::runtime_error(page.error().code + ": " + page.error().detail);
    for (std::size_t i = 0; i < page->size(); ++i) {
      auto cells = page->null(i, 4) ? std::vector<std::string>{} : texts_of(page->text(i, 4));
      cells.resize(std::max(cells.size(), columns.size()));
      cells.insert(cells.end(), {std::string(page->text(i, 1)), std::string(page->text(i, 2)), std::string(page->text(i, 3))});
      writer.row(cells, out);
    }
    if (!out.empty() && !co_await stream.write(std::exchange(out, {}))) co_return;
    if (page->size() < 500 || stream.ending()) co_return;
    after = page->integer(page->size() - 1, 0);
  }
}

}  // namespace

Result<Inspected> inspect(const Upload& upload) {
  const std::string_view bytes = *upload.bytes;
  Inspected out;
  out.sha256 = auth::bytea(auth::sha256(bytes)).value();
  out.delimiter = upload.delimiter != '\0' ? upload.delimiter : delimiter_of(bytes);
  csv::ReadOptions options;
  options.encoding = upload.encoding;
  options.delimiter = out.delimiter;
  Rows rows(bytes, options, false);
  while (auto item = rows.next()) {
    const auto* reject = std::get_if<csv::Reject>(&item->item);
    if (reject != nullptr && reject->code == "CSV_ENCODING_UNSUPPORTED")
      return tl::make_unexpected(unreadable(reject->code, reject->detail));
    auto* row = std::get_if<csv::Row>(&item->item);
    if (item->at.number == 1) {
      if (row == nullptr) return tl::make_unexpected(unreadable("HEADER_UNREADABLE", "The first row cannot be read: " + reject->detail));
      out.columns.resize(row->fields.size());
      if (upload.header) {
        std::transform(row->fields.begin(), row->fields.end(), out.columns.begin(),
                       [](const std::string& name) { return japanese::trimmed(csv::unguard(name)); });
        // Empty cells behind the last name are what spreadsheets leave: no columns.
        while (!out.columns.empty() && out.columns.back().empty()) out.columns.pop_back();
        continue;
      }
    }
    ++out.rows;
    if (row != nullptr && out.preview.size() < preview_rows) out.preview.push_back(std::move(row->fields));
  }
  out.encoding = rows.reader().encoding() == csv::Encoding::CP932 ? csv::Encoding::CP932 : csv::Encoding::UTF8;
  out.blank_lines = static_cast<std::int64_t>(rows.reader().blank_lines());
  if (out.columns.empty()) return tl::make_unexpected(unreadable("FILE_EMPTY", "The file has no row with a name or a value."));
  out.content = hex_of(bytes);
  return out;
}

Answering create(auth::Call& call, Upload upload) {
  auto known = co_await call.db().read(s::media_source_known, pg::params(upload.media_source_id), call.request.deadline);
  if (!known) co_return tl::make_unexpected(std::move(known.error()));
  if (!known->boolean(0, 0))
    co_return fail(Kind::unprocessable, "VALIDATION_FAILED", "One field is wrong.",
                   {{"?media_source_id", "UNKNOWN_ID", "there is no such media source in use"}});
  auto file = co_await call.gate.offload().run([upload] { return inspect(upload); });
  if (!file) co_return tl::make_unexpected(std::move(file.error()));
  if (!upload.again) {
    auto before = co_await brought_before(call, upload.media_source_id, file->sha256);
    if (!before) co_return tl::make_unexpected(std::move(before.error()));
    if (*before) co_return std::move(**before);
  }
  const auto id = upload.id.value_or(Uuid::make());
  const auto suggestion = upload.header ? suggest(file->columns) : Mapping();
  const char* encoding = file->encoding == csv::Encoding::CP932 ? "CP932" : "UTF-8";
  std::vector<pg::Step> steps;
  steps.push_back({s::lock_file, pg::params(upload.media_source_id, file->sha256)});
  steps.push_back(
      {s::create_import, pg::params(id, upload.file_name, file->sha256, upload.media_source_id, encoding, std::string(1, file->delimiter),
                                    upload.header, file->columns, preview_of(*file), to_json(suggestion), file->rows, file->blank_lines,
                                    std::move(file->content), call.user(), call.who.team, upload.again)});
  auto made = co_await call.write(std::move(steps), 201);
  if (!made) co_return tl::make_unexpected(explain(std::move(made.error()), "import_job"));
  if (*made) {
    (*made)->with("Location", "/v1/imports/" + id.str());
    co_return std::move(**made);
  }
  auto before = co_await brought_before(call, upload.media_source_id, file->sha256);
  if (!before) co_return tl::make_unexpected(std::move(before.error()));
  if (*before) co_return std::move(**before);
  co_return fail(Kind::internal, "INTERNAL", "The import was not stored.");
}

Answering get(auth::Call& call, Uuid id) { return call.show(s::get_import, pg::params(call.rights(), id)); }

Answering list(auth::Call& call, auth::Paging at) {
  return call.list(s::list_imports, pg::params(call.rights(), at.after[0], at.limit + 1), at);
}

Answering rejects(auth::Call& call, Uuid id, auth::Paging at) {
  auto there = co_await call.db().read(s::import_head, pg::params(call.rights(), id), call.request.deadline);
  if (!there) co_return tl::make_unexpected(std::move(there.error()));
  if (there->empty()) co_return auth::not_found();
  co_return co_await call.list(s::list_rejects, pg::params(call.rights(), id, at.after[0], at.limit + 1), at, "import_row", id);
}

Answering rejects_csv(auth::Call& call, Uuid id) {
  auto head = co_await call.db().read(s::import_head, pg::params(call.rights(), id), call.request.deadline);
  if (!head) co_return tl::make_unexpected(std::move(head.error()));
  if (head->empty()) co_return auth::not_found();
  call.note_view("import_row", id);
  Answer out;
  out.type = "text/csv; charset=utf-8";
  out.with("Content-Disposition", "attachment; filename=\"rejects-" + id.str() + ".csv\"");
  auto* db = &call.db();
  out.stream = [db, id, columns = texts_of(head->text(0, 1))](http::Stream& stream) { return write_rejects(stream, *db, id, columns); };
  co_return out;
}

Answering start(auth::Call& call, Uuid id, std::optional<std::vector<Wish>> wishes, bool customer_initiated) {
  auto row = co_await call.db().run(s::to_start, pg::params(call.rights(), id), call.request.deadline);
  if (!row) co_return tl::make_unexpected(std::move(row.error()));
  if (row->empty()) co_return auth::not_found();
  if (row->text(0, 0) != "UPLOADED" && row->text(0, 0) != "FAILED" && !call.idempotency_key) co_return co_await why_not_started(call, id);
  if (!wishes) {
    wishes.emplace();
    for (auto& column : mapping_of(row->text(0, 3))) wishes->push_back({{}, column.number, std::move(column.field)});
  }
  const auto keys = texts_of(row->text(0, 5));
  auto mapping = checked(*wishes, texts_of(row->text(0, 2)), std::set<std::string>(keys.begin(), keys.end()));
  if (!mapping) co_return tl::make_unexpected(std::move(mapping.error()));
  auto started = co_await call.write(s::start_import, pg::params(call.rights(), id, to_json(*mapping), customer_initiated), 202);
  if (!started) co_return tl::make_unexpected(std::move(started.error()));
  if (*started) co_return std::move(**started);
  co_return co_await why_not_started(call, id);
}

}  // namespace enishi::crm::imports

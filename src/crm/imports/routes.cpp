#include "crm/imports/routes.hpp"

#include <boost/json.hpp>

#include "crm/imports/imports.hpp"
#include "crm/japanese/unicode.hpp"

namespace enishi::crm::imports {
namespace {

using auth::Call;
using http::Method;

Answering list_imports(Call& call);
Answering create_import(Call& call);
Answering start_import(Call& call, Uuid id);
Answering list_import_rejects(Call& call, Uuid id);

const auth::Operation operations[] = {
    {Method::get, "/v1/imports", "list_imports", list_imports},
    {Method::post, "/v1/imports", "create_import", create_import, {.body_limit = most_bytes, .time_limit = Millis(60000)}},
    {Method::get, "/v1/imports/{import_id}", "get_import", get, {.views = "import_job"}},
    {Method::post, "/v1/imports/{import_id}/start", "start_import", start_import},
    {Method::get, "/v1/imports/{import_id}/rejects", "list_import_rejects", list_import_rejects},
    {Method::get, "/v1/imports/{import_id}/rejects.csv", "download_import_rejects", rejects_csv},
};

constexpr std::size_t most_columns = 1000;

Answering list_imports(Call& call) {
  http::QueryDecoder in(call.request);
  auto at = auth::finish_paging(in, {std::nullopt});
  if (!at) co_return tl::make_unexpected(std::move(at.error()));
  co_return co_await list(call, std::move(*at));
}

Answering create_import(Call& call) {
  const auto type = japanese::nfkc(call.request.header("Content-Type"));
  for (const std::string_view no : {"application/json", "multipart/form-data", "application/x-www-form-urlencoded"})
    if (type.starts_with(no))
      co_return fail(Kind::unsupported, "UNSUPPORTED_MEDIA_TYPE", "The body is the file itself: send it as text/csv.");
  http::QueryDecoder in(call.request);
  Upload upload;
  upload.id = in.uuid("id");
  upload.file_name = japanese::trimmed(in.text("file_name", {.min = 1, .max = 255}).value_or("import.csv"));
  if (upload.file_name.empty()) in.error("file_name", "REQUIRED", "a name is more than spaces");
  const auto media_source = in.uuid("media_source_id", {.required = true});
  if (media_source) upload.media_source_id = *media_source;
  const auto encoding = in.choice("encoding", {"auto", "UTF-8", "CP932"}).value_or("auto");
  upload.encoding = encoding == "UTF-8" ? csv::Encoding::UTF8 : encoding == "CP932" ? csv::Encoding::CP932 : csv::Encoding::AUTO;
  const auto delimiter = in.choice("delimiter", {"auto", "comma", "tab", "semicolon"}).value_or("auto");
  upload.delimiter = delimiter == "comma" ? ',' : delimiter == "tab" ? '\t' : delimiter == "semicolon" ? ';' : '\0';
  upload.header = in.boolean("header").value_or(true);
  upload.again = in.boolean("again").value_or(false);
  if (auto bad = in.finish()) co_return *bad;
  if (call.request.body.empty()) co_return fail(Kind::unprocessable, "FILE_EMPTY", "The body is empty; it should be the file.");
  upload.bytes = std::make_shared<const std::string>(call.request.body);
  co_return co_await create(call, std::move(upload));
}

/// [{"column": "氏名" or 1, "field": "display_name"}]
std::optional<std::vector<Wish>> read_mapping(http::Decoder& in) {
  std::vector<Wish> out;
  const bool there = in.each("mapping", most_columns, [&](http::Decoder& item) {
    Wish wish;
    item.allow("column");
    const auto* column = item.value().if_contains("column");
    if (column != nullptr && column->is_string())
      wish.name = std::string(column->as_string());
    else if (column != nullptr && column->is_int64() && column->as_int64() >= 1 && column->as_int64() <= 1000000)
      wish.number = static_cast<std::size_t>(column->as_int64());
    else
      item.error("column", column == nullptr ? "REQUIRED" : "TYPE", "the name of a column, or its number from 1");
    wish.field = item.text("field", {.required = true, .min = 1, .max = 100}).value_or("");
    out.push_back(std::move(wish));
  });
  return there ? std::optional(std::move(out)) : std::nullopt;
}

Answering start_import(Call& call, Uuid id) {
  http::Decoder in(call.request);
  auto wishes = read_mapping(in);
  const bool customer_initiated = in.boolean("customer_initiated", {.not_null = true}).value_or(true);
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await start(call, id, std::move(wishes), customer_initiated);
}

Answering list_import_rejects(Call& call, Uuid id) {
  http::QueryDecoder in(call.request);
  auto at = auth::finish_paging(in, {"0"});
  if (!at) co_return tl::make_unexpected(std::move(at.error()));
  co_return co_await rejects(call, id, std::move(*at));
}

}  // namespace

void mount(http::Router& router, auth::Gatekeeper& gate) { gate.mount(router, operations); }

}  // namespace enishi::crm::imports

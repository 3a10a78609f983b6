#include "crm/calls/routes.hpp"

#include <boost/json.hpp>

#include "crm/calls/call_attempt.hpp"
#include "crm/japanese/phones.hpp"
#include "crm/paging.hpp"

namespace enishi::crm::calls {
namespace {

namespace json = boost::json;
using auth::Call;
using http::Answer;
using http::Decoder;
using http::Method;

Answering start_call(Call& call);
Answering finish_call(Call& call, Uuid id);
Answering list_calls(Call& call);
Answering update_call(Call& call, Uuid id, std::int64_t version);

const auth::Operation operations[] = {
    {Method::post, "/v1/calls", "start_call", start_call},
    {Method::get, "/v1/calls", "list_calls", list_calls, {.views = "call_attempt"}},
    {Method::get, "/v1/calls/{call_attempt_id}", "get_call", get, {.views = "call_attempt"}},
    {Method::patch, "/v1/calls/{call_attempt_id}", "update_call", update_call},
    {Method::post, "/v1/calls/{call_attempt_id}/wrap-up", "wrap_up_call", wrap_up},
    {Method::post, "/v1/calls/{call_attempt_id}/finish", "finish_call", finish_call},
};

/// One number as it was typed or signalled, in E.164; nothing for a withheld one.
std::optional<std::string> phone(Decoder& in) {
  const auto raw = in.text("phone", {.min = 1, .max = japanese::max_phone_text});
  if (!raw) return std::nullopt;
  auto read = japanese::parse_phones(*raw);
  if (!read) {
    if (read.error().code != "PHONE_WITHHELD") in.error("phone", read.error().code, read.error().detail);
    return std::nullopt;
  }
  if (read->size() != 1 || read->front().e164.empty()) {
    in.error("phone", "PHONE_INVALID", "one number, with its area code");
    return std::nullopt;
  }
  return read->front().e164;
}

Answering start_call(Call& call) {
  Decoder in(call.request);
  const auto id = in.uuid("id").value_or(Uuid::make());
  const auto direction = in.choice("direction", {"OUTBOUND", "INBOUND"}).value_or("OUTBOUND");
  const bool out = direction == "OUTBOUND";
  const auto task = in.uuid("task_id", {.required = out});
  const auto e164 = phone(in);
  const bool notice = in.boolean("recording_notice", {.not_null = true}).value_or(false);
  Inbound ring{id, in.uuid("customer_id"), in.uuid("inquiry_id"), e164, notice};
  if (out && (in.present("customer_id") || in.present("inquiry_id"))) in.error("customer_id", "UNEXPECTED", "the task says whom to call");
  if (!out && in.present("task_id")) in.error("task_id", "UNEXPECTED", "an inbound call has no task");
  if (auto bad = in.finish()) co_return *bad;
  if (out) co_return co_await start_outbound(call, id, *task, e164, notice);
  co_return co_await start_inbound(call, std::move(ring));
}

Answering finish_call(Call& call, Uuid id) {
  Decoder in(call.request);
  Finish end;
  end.outcome =
      in.choice("outcome",
                {"APPOINTED", "CALLBACK", "NO_ANSWER", "BUSY", "VOICEMAIL", "THIRD_PARTY", "WRONG_NUMBER", "OUT_OF_SERVICE", "REFUSED"},
                {.required = true})
          .value_or("");
  end.memo = in.text("memo", {.max = 10000, .multiline = true}).value_or("");
  in.object("next_action", [&](Decoder& next) {
    end.next_action = next.choice("kind", {"CALL", "CALLBACK", "PRE_VISIT_CALL", "NURTURE_CALL", "WAIT"}, {.required = true});
    end.next_action_at = next.timestamp("due_at", {.required = true});
    end.next_note = next.text("note", {.max = 1000, .multiline = true});
  });
  end.lost_reason = in.text("lost_reason", {.min = 1, .max = 200});
  end.invalid_reason = in.choice("invalid_reason", {"duplicate", "prank", "out_of_area", "excluded_goods"});
  end.ban_reason = in.text("ban_reason", {.required = end.outcome == "REFUSED", .min = 1, .max = 1000});
  end.appointment_id = in.uuid("appointment_id", {.required = end.outcome == "APPOINTED"});
  end.solicitation_request_id = in.uuid("solicitation_request_id");
  in.object("solicitation_request", [&](Decoder& asked) {
    Request request;
    request.id = asked.uuid("id").value_or(Uuid::make());
    request.scope = asked.choice("scope", {"APPRAISAL_ONLY", "PURCHASE"}, {.required = true}).value_or("");
    request.category_ids = asked.uuids("category_ids", 50, {.required = true}).value_or(std::vector<Uuid>{});
    request.verbatim = asked.text("verbatim", {.required = true, .min = 1, .max = 2000, .multiline = true}).value_or("");
    request.disclosed = asked.boolean("disclosed", {.required = true}).value_or(false);
    request.willingness_confirmed = asked.boolean("willingness_confirmed", {.required = true}).value_or(false);
    end.request = std::move(request);
  });
  const bool goes_on = in.present("next_action") && !in.null("next_action");
  const int ways = goes_on + end.lost_reason.has_value() + end.invalid_reason.has_value();
  const bool decided = end.outcome == "APPOINTED" || end.outcome == "REFUSED";
  if (decided && ways > 0) in.error(goes_on ? "next_action" : "outcome", "UNEXPECTED", "this outcome says itself what happens next");
  if (!decided && ways > 1) in.error("next_action", "UNEXPECTED", "either a next action, or lost_reason, or invalid_reason");
  if (end.outcome != "REFUSED" && end.ban_reason) in.error("ban_reason", "UNEXPECTED", "only with outcome REFUSED");
  if (end.outcome != "APPOINTED" && (end.appointment_id || end.request || end.solicitation_request_id))
    in.error("appointment_id", "UNEXPECTED", "only with outcome APPOINTED");
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await finish(call, id, std::move(end));
}

Answering list_calls(Call& call) {
  http::QueryDecoder in(call.request);
  const auto customer = in.uuid("customer_id");
  const auto operator_id = in.uuid("operator_id");
  const auto limit = in.limit();
  const auto cursor = in.cursor();
  if (customer && operator_id) in.error("operator_id", "UNEXPECTED", "one filter at a time");
  if (auto bad = in.finish()) co_return *bad;
  auto after = parse_cursor(cursor, 2);
  if (!after) co_return tl::make_unexpected(after.error());
  co_return co_await list(call, customer, operator_id, limit, std::move(*after));
}

Answering update_call(Call& call, Uuid id, std::int64_t version) {
  Decoder in(call.request);
  in.text("memo", {.not_null = true, .max = 10000, .multiline = true});
  in.uuid("customer_id", {.not_null = true});
  in.uuid("inquiry_id", {.not_null = true});
  in.text("recording_ref", {.max = 500});
  in.date("recording_retain_until");
  in.boolean("recording_notice", {.not_null = true});
  const auto changes = json::serialize(in.value());
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await update(call, id, version, changes);
}

}  // namespace

void mount(http::Router& router, auth::Gatekeeper& gate) { gate.mount(router, operations); }

}  // namespace enishi::crm::calls

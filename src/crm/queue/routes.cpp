#include "crm/queue/routes.hpp"

#include "crm/queue/queue.hpp"

namespace enishi::crm::queue {
namespace {

using auth::Call;
using http::Answer;
using http::Decoder;
using http::Method;

Answering list_call_tasks(Call& call);
Answering create_call_task(Call& call);
Answering claim_call_task(Call& call);
Answering reassign_call_task(Call& call, Uuid id);
Answering snooze_call_task(Call& call, Uuid id);
Answering cancel_call_task(Call& call, Uuid id);
Answering unblock_call_task(Call& call, Uuid id);
Answering create_rule(Call& call);

const auth::Operation operations[] = {
    {Method::get, "/v1/call-tasks", "list_call_tasks", list_call_tasks, {.views = "customer"}},
    {Method::post, "/v1/call-tasks", "create_call_task", create_call_task},
    {Method::post, "/v1/call-tasks/claim", "claim_call_task", claim_call_task},
    {Method::get, "/v1/call-tasks/{call_task_id}", "get_call_task", get, {.views = "call_task"}},
    {Method::post, "/v1/call-tasks/{call_task_id}/release", "release_call_task", release},
    {Method::post, "/v1/call-tasks/{call_task_id}/reassignment", "reassign_call_task", reassign_call_task},
    {Method::post, "/v1/call-tasks/{call_task_id}/snooze", "snooze_call_task", snooze_call_task},
    {Method::post, "/v1/call-tasks/{call_task_id}/lease", "extend_call_task_lease", extend_lease},
    {Method::post, "/v1/call-tasks/{call_task_id}/cancellation", "cancel_call_task", cancel_call_task},
    {Method::post, "/v1/call-tasks/{call_task_id}/unblocking", "unblock_call_task", unblock_call_task},
    {Method::get, "/v1/priority-rules", "list_priority_rules", list_priority_rules},
    {Method::post, "/v1/priority-rules", "create_priority_rule", create_rule},
};

const http::Choices kinds = {"FIRST_CALL", "CALLBACK", "PRE_VISIT", "NURTURE", "FOLLOW_UP"};

/// A POST without a body means one without fields.
bool empty_body(const Call& call) { return call.request.body.empty(); }

Answering list_call_tasks(Call& call) {
  http::QueryDecoder in(call.request);
  const auto view = in.choice("view", {"ready", "mine", "scheduled", "blocked", "held"}).value_or("ready");
  const auto limit = in.limit();
  const auto cursor = in.cursor();
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await list(call, view, limit, cursor);
}

Answering create_call_task(Call& call) {
  Decoder in(call.request);
  NewTask task;
  task.id = in.uuid("id").value_or(Uuid::make());
  task.inquiry_id = in.uuid("inquiry_id");
  task.customer_id = in.uuid("customer_id");
  if (in.present("inquiry_id") == in.present("customer_id")) in.error("inquiry_id", "REQUIRED", "either inquiry_id or customer_id");
  task.kind = in.choice("kind", kinds, {.required = true}).value_or("");
  task.due_at = in.timestamp("due_at", {.required = true}).value_or("");
  task.note = in.text("note", {.max = 1000, .multiline = true});
  task.owner_id = in.uuid("owner_id");
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await create(call, std::move(task));
}

Answering claim_call_task(Call& call) {
  std::optional<Uuid> wanted;
  if (!empty_body(call)) {
    Decoder in(call.request);
    wanted = in.uuid("call_task_id");
    if (auto bad = in.finish()) co_return *bad;
  }
  if (wanted) co_return co_await claim_one(call, *wanted);
  co_return co_await claim_next(call);
}

Answering reassign_call_task(Call& call, Uuid id) {
  Decoder in(call.request);
  if (!in.present("owner_id")) in.error("owner_id", "REQUIRED", "the new owner, or null for anybody of the team");
  const auto owner = in.uuid("owner_id");
  const auto team = in.uuid("team_id");
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await reassign(call, id, owner, team);
}

Answering snooze_call_task(Call& call, Uuid id) {
  Decoder in(call.request);
  const auto due_at = in.timestamp("due_at", {.required = true});
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await snooze(call, id, *due_at);
}

Answering cancel_call_task(Call& call, Uuid id) {
  Decoder in(call.request);
  const auto reason = in.text("reason", {.required = true, .min = 1, .max = 500});
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await cancel(call, id, *reason);
}

Answering unblock_call_task(Call& call, Uuid id) {
  Decoder in(call.request);
  const auto reason = in.text("reason", {.required = true, .min = 1, .max = 500});
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await unblock(call, id, *reason);
}

Answering create_rule(Call& call) {
  Decoder in(call.request);
  NewPriorityRule rule;
  rule.id = in.uuid("id").value_or(Uuid::make());
  rule.kind = in.choice("kind", kinds, {.required = true}).value_or("");
  rule.media_source_id = in.uuid("media_source_id");
  rule.priority = in.integer("priority", {.required = true, .min = 0, .max = 1000}).value_or(0);
  rule.effective_from = in.timestamp("effective_from");
  if (auto bad = in.finish()) co_return *bad;
  co_return co_await create_priority_rule(call, std::move(rule));
}

}  // namespace

void mount(http::Router& router, auth::Gatekeeper& gate) { gate.mount(router, operations); }

}  // namespace enishi::crm::queue

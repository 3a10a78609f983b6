// Inquiries, the queue and calls against the real binary: the operator's loop, every answer as the contract says.
import test from "node:test";
import assert from "node:assert/strict";
import { Enishi, eventually } from "../enishi.mjs";

test("from a lead to the next call, and to the end", async (t) => {
  const server = await Enishi.start();
  t.after(() => server.stop());
  const admin = await server.administrator();
  server.sql(`insert into rule (name, effective_from, value) values ('contact_hours', now(), '{"from":"00:00","to":"24:00"}')`);
  const team = await admin.send("POST", "/v1/teams", { name: "East" });
  const media = await admin.send("POST", "/v1/media-sources", { code: "web-1", name: "Web" });
  assert.equal(media.status, 201, media.text);
  const category = (await admin.send("GET", "/v1/item-categories")).body.items[0].id;
  const later = "2035-01-01T10:00:00+09:00";
  const lead = { external_ref: "form-1", media_source: "web-1", team_id: team.body.id, customer: { display_name: "山田 花子", phones: [{ raw: "090-1234-5678" }] }, items: [{ item_category_id: category }] };
  const first = await admin.send("POST", "/v1/leads", lead);
  assert.equal(first.status, 201, first.text);
  const again = await admin.send("POST", "/v1/leads", lead);
  assert.equal(again.status, 200, again.text);
  assert.equal(again.body.inquiry.id, first.body.inquiry.id);
  const inquiry = `/v1/inquiries/${first.body.inquiry.id}`;

  for (const query of ["", "?view=received", "?view=received&stage=NEW", `?media_source_id=${media.body.id}`, `?team_id=${team.body.id}`, `?view=customer&customer_id=${first.body.inquiry.customer_id}`]) {
    const list = await admin.send("GET", "/v1/inquiries" + query);
    assert.equal(list.body.items.length, 1, query + list.text);
  }
  assert.equal((await admin.send("GET", inquiry)).status, 200);
  const noted = await admin.send("PATCH", inquiry, { notes: "夜は不在" }, { "If-Match": '"1"' });
  assert.equal(noted.status, 200, noted.text);
  assert.equal((await admin.send("PATCH", inquiry, { notes: "x" }, { "If-Match": '"1"' })).status, 412);
  const item = await admin.send("POST", `${inquiry}/items`, { item_category_id: category, quantity: 2 });
  assert.equal(item.status, 201, item.text);
  assert.equal((await admin.send("PATCH", `/v1/inquiry-items/${item.body.id}`, { quantity: 3 }, { "If-Match": '"1"' })).status, 200);
  assert.equal((await admin.send("DELETE", `/v1/inquiry-items/${item.body.id}`)).status, 200);
  assert.equal((await admin.send("GET", `${inquiry}/hearing-sheet`)).body.version, 0);
  assert.equal((await admin.send("PATCH", `${inquiry}/hearing-sheet`, { base_version: 0, changes: { rooms: 3 } })).status, 200);
  const clash = await admin.send("PATCH", `${inquiry}/hearing-sheet`, { base_version: 0, changes: { rooms: 4, parking: true } });
  assert.deepEqual([clash.body.saved, clash.body.conflicts[0].theirs], [["parking"], 3], clash.text);
  assert.equal((await admin.send("GET", `${inquiry}/hearing-sheet`)).body.conflicts.length, 1);

  for (const view of ["ready", "mine", "scheduled", "blocked"]) assert.equal((await admin.send("GET", `/v1/call-tasks?view=${view}`)).status, 200);
  const task = await admin.send("POST", "/v1/call-tasks/claim");
  assert.equal(task.status, 200, task.text);
  assert.equal(task.body.id, first.body.call_task.id);
  const at = `/v1/call-tasks/${task.body.id}`;
  assert.equal((await admin.send("GET", at)).status, 200);
  assert.equal((await admin.send("POST", `${at}/lease`)).status, 200);
  const call = await admin.send("POST", "/v1/calls", { task_id: task.body.id });
  assert.equal(call.status, 201, call.text);
  const on = `/v1/calls/${call.body.call.id}`;
  assert.equal((await admin.send("POST", `${on}/finish`, { outcome: "NO_ANSWER" })).body.code, "NEXT_ACTION_REQUIRED");
  const done = await admin.send("POST", `${on}/finish`, { outcome: "NO_ANSWER", memo: "留守", next_action: { kind: "CALLBACK", due_at: later } });
  assert.equal(done.status, 200, done.text);
  assert.equal(done.body.next_task.state, "SCHEDULED");
  assert.equal((await admin.send("POST", `${on}/finish`, { outcome: "BUSY" })).body.code, "CALL_FINISHED");
  assert.equal((await admin.send("GET", on)).status, 200);
  assert.equal((await admin.send("PATCH", on, { memo: "留守電" }, { "If-Match": '"2"' })).status, 200);
  assert.equal((await admin.send("GET", "/v1/calls")).body.items.length, 1);
  assert.equal((await admin.send("POST", "/v1/call-tasks/claim")).status, 204);

  const next = `/v1/call-tasks/${done.body.next_task.id}`;
  assert.equal((await admin.send("POST", `${next}/snooze`, { due_at: later })).status, 200);
  assert.equal((await admin.send("POST", `${next}/reassignment`, { owner_id: null })).status, 200);
  assert.equal((await admin.send("POST", `${next}/release`)).body.code, "ILLEGAL_TRANSITION");
  assert.equal((await admin.send("POST", "/v1/call-tasks", { inquiry_id: first.body.inquiry.id, kind: "NURTURE", due_at: later })).body.code, "CALL_TASK_OPEN");
  assert.equal((await admin.send("POST", `${next}/cancellation`, { reason: "二重" })).status, 200);
  assert.equal((await admin.send("GET", "/v1/priority-rules")).status, 200);
  assert.equal((await admin.send("POST", "/v1/priority-rules", { kind: "NURTURE", priority: 300 })).status, 201);
  const ring = await admin.send("POST", "/v1/calls", { direction: "INBOUND", phone: "090-1234-5678", customer_id: first.body.inquiry.customer_id, inquiry_id: first.body.inquiry.id });
  assert.equal(ring.status, 201, ring.text);
  const refused = await admin.send("POST", `/v1/calls/${ring.body.call.id}/finish`, { outcome: "REFUSED", ban_reason: "二度と電話しないで" });
  assert.equal(refused.status, 200, refused.text);
  assert.equal(refused.body.inquiry.stage, "LOST");
  assert.equal((await admin.send("POST", `${inquiry}/transition`, { stage: "NURTURING", next_action: "WAIT" })).body.code, "ILLEGAL_TRANSITION");
});

test("a task that falls due becomes ready by itself", async (t) => {
  const server = await Enishi.start();
  t.after(() => server.stop());
  const admin = await server.administrator();
  const customer = await admin.send("POST", "/v1/customers", { display_name: "佐藤" });
  const task = await admin.send("POST", "/v1/call-tasks", { customer_id: customer.body.id, kind: "NURTURE", due_at: new Date(Date.now() + 3_600_000).toISOString() });
  assert.equal(task.body.state, "SCHEDULED", task.text);
  const state = async () => (await admin.send("GET", `/v1/call-tasks/${task.body.id}`)).body.call_task.state;
  assert.equal(await state(), "SCHEDULED");
  server.sql(`update call_task set due_at = now() where id = '${task.body.id}'`);
  await eventually("the task is ready", async () => (await state()) === "READY");
});

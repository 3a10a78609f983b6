// The operator's desk by keyboard: the phases of a call, tasks put off, given away and given back, and what is left when a lease was lost.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, afterEach, before, test } from "node:test";
import { Client, Enishi, eventually } from "../enishi.mjs";
import { Browser, focused, holds, pick } from "./browser.mjs";

let server, admin, browser, media, team;

async function ok(answer) {
  const a = await answer;
  assert.ok(a.status < 300, `${a.status} ${a.text}`);
  return a.body;
}
async function user(role) {
  const login = `${role}-${randomUUID().slice(0, 8)}`;
  const password = `sentence ${randomUUID()}`;
  const made = await ok(admin.post("/v1/users", { login, display_name: login, roles: [role], team_id: team.id }));
  const link = await ok(admin.post(`/v1/users/${made.id}/one-time-link`, {}));
  await ok(new Client(server.origin).post("/v1/one-time-links/redemption", { token: link.token, password }));
  return { id: made.id, login, password, api: await server.login(login, password) };
}
const lead = (name, by = admin) =>
  ok(by.post("/v1/inquiries", {
    media_source_id: media.id, channel: "PHONE",
    customer: { display_name: name, kana: "テスト", phones: [{ raw: `090${String(Math.floor(Math.random() * 1e8)).padStart(8, "0")}` }] },
  }));
/** Somebody at the desk with that very task in hand. */
async function deskWith(name, role = "operator", context = undefined) {
  const who = await user(role);
  const made = await lead(name, who.api);
  await ok(who.api.post("/v1/call-tasks/claim", { call_task_id: made.call_task.id }));
  const page = await browser.page(who, "/", context);
  await page.locator("[data-start]").waitFor();
  return { who, made, page };
}
const taskOf = async (made) => (await ok(admin.get(`/v1/call-tasks/${made.call_task.id}`))).call_task;

before(async () => {
  server = await Enishi.start();
  admin = await server.administrator();
  browser = await Browser.start(server);
  await ok(admin.post("/v1/rules", { name: "contact_hours", value: { from: "00:00", to: "24:00" }, source: "test" }));
  media = await ok(admin.post("/v1/media-sources", { code: "test", name: "チラシ" }));
  team = await ok(admin.post("/v1/teams", { name: "架電一課" }));
});
after(async () => {
  await browser?.chromium.close();
  await server?.stop();
});
afterEach(() => browser.settle());

test("hanging up turns talking into wrap-up, by keyboard; the outcome follows", async () => {
  const { made, page } = await deskWith("段階 進子");
  await page.locator("[data-phase=assigned]").waitFor();
  await page.keyboard.press("s");
  await page.locator("[data-phase=talking]").waitFor();
  assert.equal((await taskOf(made)).state, "IN_CALL");
  await page.keyboard.press("h");
  await page.locator("[data-phase=wrapUp]").waitFor();
  assert.equal((await taskOf(made)).state, "WRAP_UP");
  await page.locator("[data-hang-up]").waitFor({ state: "detached" });
  await page.keyboard.press("3");
  await focused(page, "[data-save]");
  await page.keyboard.press("Enter");
  await page.locator("[data-saved]").waitFor();
  assert.equal((await taskOf(made)).state, "RESCHEDULED");
});

test("Z puts a task off to a time in Japan; R gives one back; both leave the desk ready for the next", async () => {
  const { made, page } = await deskWith("後日 掛子");
  await page.keyboard.press("z");
  const dialog = page.getByRole("dialog");
  await dialog.locator("input[name=snooze-at]").waitFor();
  await focused(page, "input[name=snooze-at]");
  await dialog.getByRole("button", { name: "明日10時" }).focus();
  await page.keyboard.press("Space");
  await dialog.locator("input[name=snooze-at]").focus();
  await page.keyboard.press("Enter");
  await dialog.waitFor({ state: "detached" });
  const put = await taskOf(made);
  assert.equal(put.state, "SCHEDULED");
  assert.match(new Date(put.due_at).toISOString(), /T01:00:00/);
  await page.locator("[data-next]:not([disabled])").waitFor();
  assert.equal(await page.locator("[data-lost]").count(), 0, "who puts a task off has not lost it");

  const next = await lead("返却 戻子");
  await page.locator(`[data-task='${next.call_task.id}'] .task`).click();
  await page.locator("[data-release]").waitFor();
  await page.keyboard.press("r");
  await page.locator("[data-next]:not([disabled])").waitFor();
  assert.equal((await taskOf(next)).state, "READY");
  assert.equal(await page.locator("[data-lost]").count(), 0);
});

test("a supervisor takes a task out of somebody's hands and gives it to another, from the list of who holds what", async () => {
  const holder = await user("operator");
  const other = await user("operator");
  const made = await lead("担当 替子", holder.api);
  await ok(holder.api.post("/v1/call-tasks/claim", { call_task_id: made.call_task.id }));
  const supervisor = await user("supervisor");
  const page = await browser.page(supervisor);
  await page.locator("select[name=view]").selectOption("held");
  const row = page.locator(`[data-task='${made.call_task.id}']`);
  await row.getByText(holder.login).waitFor();
  await row.getByRole("button", { name: /操作/ }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("menuitem", { name: "担当を替える" }).press("Enter");
  const dialog = page.getByRole("dialog");
  await pick(page, dialog.getByRole("combobox", { name: "新しい担当" }).or(dialog.getByRole("textbox", { name: "新しい担当" })), other.login);
  await dialog.locator("[data-do=reassign]").focus();
  await page.keyboard.press("Enter");
  await dialog.waitFor({ state: "detached" });
  const now = await taskOf(made);
  assert.deepEqual([now.state, now.owner_id, now.assigned_to], ["READY", other.id, null]);
  const operatorPage = await browser.page(other);
  await operatorPage.locator("select[name=view]").waitFor();
  assert.equal(await operatorPage.locator("select[name=view] option[value=held]").count(), 0, "whose hands a task is in is not an operator's business");
});

test("a lease is counted down and extended; lost in a call, the memo stays, is kept with the call, or returns with the task", async () => {
  const context = await browser.context();
  await context.clock.install();
  const { who, made, page } = await deskWith("期限 失子", "operator", context);
  await page.locator("[data-lease=held]").waitFor();
  const before = (await taskOf(made)).version;
  await page.keyboard.press("e");
  await eventually("the lease is extended", async () => (await taskOf(made)).version > before, 60_000);
  await page.keyboard.press("s");
  await page.locator("[data-outcome=NO_ANSWER]").waitFor();
  await page.keyboard.press("3");
  await page.locator("textarea[name=memo]").fill("玄関の鍵の話をしていた");
  // The server had not heard of this browser for too long, as after a night in a laptop bag.
  server.sql(`update call_attempt set ended_at = now(), outcome = 'ABANDONED' where task_id = '${made.call_task.id}'; update call_task set state = 'READY', assigned_to = null, lease_expires_at = null where id = '${made.call_task.id}'`);
  await context.clock.fastForward(50_000);
  const lost = page.locator("[data-lost]");
  await lost.getByRole("alert").getByText("担当期限が切れました").waitFor();
  await holds(lost.locator("textarea[name=lost-memo]"), "玄関の鍵の話をしていた");
  await lost.getByText("不在").waitFor();
  browser.check(["409", "404"]);

  // Taken again: what was typed is in the form of the next call.
  await lost.locator("[data-again]").focus();
  await page.keyboard.press("Enter");
  await page.locator("[data-start]").click();
  await page.locator("[data-outcome=NO_ANSWER][aria-pressed=true]").waitFor();
  await holds(page.locator("textarea[name=memo]"), "玄関の鍵の話をしていた");

  server.sql(`update call_attempt set ended_at = now(), outcome = 'ABANDONED' where task_id = '${made.call_task.id}' and ended_at is null; update call_task set state = 'READY', assigned_to = null, lease_expires_at = null where id = '${made.call_task.id}'`);
  await context.clock.fastForward(50_000);
  await lost.locator("[data-save-memo]").focus();
  await page.keyboard.press("Enter");
  await lost.waitFor({ state: "detached" });
  const calls = await ok(who.api.get(`/v1/calls?operator_id=${who.id}`));
  assert.deepEqual([calls.items[0].outcome, calls.items[0].memo], ["ABANDONED", "玄関の鍵の話をしていた"]);
  browser.check(["409", "404"]);
});

test("? lists the keys, in both languages; they are silent while somebody types and behind a dialog", async () => {
  const page = await browser.page(await user("operator"));
  await page.locator("[data-next]").waitFor();
  await page.keyboard.press("?");
  const dialog = page.getByRole("dialog");
  await dialog.getByText("通話を終え、後処理に入る").waitFor();
  await page.keyboard.press("n");
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  assert.equal(await page.locator("[data-start]").count(), 0, "N behind a dialog claims nothing");
  await page.getByRole("button", { name: "English" }).click();
  await page.keyboard.press("?");
  await dialog.getByText("Hang up and go to wrap-up").waitFor();
});

test("somebody calls in while a task is held: the desk shows and saves for the caller, then the task is there again", async () => {
  const { who, made, page } = await deskWith("待たせ 保子");
  const caller = await lead("受電 鳴子", who.api);
  await ok(who.api.post("/v1/calls", { direction: "INBOUND", customer_id: caller.inquiry.customer_id, inquiry_id: caller.inquiry.id }));
  await page.reload();
  await page.locator("h1", { hasText: "受電 鳴子" }).waitFor();
  assert.equal(await page.locator("h1", { hasText: "待たせ 保子" }).count(), 0);
  assert.equal(await page.locator("[data-lease]").count(), 0, "no lease runs on the caller");
  await page.locator("[data-outcome=CALLBACK]").waitFor();
  await page.keyboard.press("2");
  await page.locator("[data-save]").click();
  await page.locator("[data-saved]").waitFor();
  await page.locator("h1", { hasText: "待たせ 保子" }).waitFor();
  await page.locator("[data-start]").waitFor();
  assert.equal(await page.locator("[data-lost]").count(), 0);
  const [call] = (await ok(who.api.get(`/v1/calls?operator_id=${who.id}`))).items;
  assert.deepEqual([call.customer_id, call.outcome], [caller.inquiry.customer_id, "CALLBACK"]);
  assert.equal((await taskOf(made)).state, "ASSIGNED");
});

test("a caller who is not known, or withholds the number, is recorded at once and named later", async () => {
  const who = await user("operator");
  const known = await lead("非通 知子", who.api);
  const page = await browser.page(who);
  await page.locator("[data-next]").waitFor();
  await page.keyboard.press("i");
  await page.locator("[data-unknown-caller]").click();
  await page.locator("[data-who-called]").waitFor();
  const [call] = (await ok(who.api.get(`/v1/calls?operator_id=${who.id}`))).items;
  assert.deepEqual([call.direction, call.customer_id, call.e164], ["INBOUND", null, null]);
  await page.locator("textarea[name=memo]").fill("先週のチラシの件");
  await page.locator("input[name=who]").fill("非通 知子");
  await page.locator(`[data-pick='${known.inquiry.customer_id}']`).click();
  await page.locator("[data-say]").click();
  await page.locator("[data-who-called]").waitFor({ state: "detached" });
  await page.locator("h1", { hasText: "非通 知子" }).waitFor();
  await holds(page.locator("textarea[name=memo]"), "先週のチラシの件");
  const now = await ok(who.api.get(`/v1/calls/${call.id}`));
  assert.deepEqual([now.customer_id, now.inquiry_id], [known.inquiry.customer_id, known.inquiry.id]);
});

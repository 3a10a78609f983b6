// The settings and the log of views, by keyboard where a person would use it.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, afterEach, before, test } from "node:test";
import { Client, Enishi, eventually } from "../enishi.mjs";
import { Browser, focused, holds, pick } from "./browser.mjs";

let server, admin, browser, boss, bossPage;

async function ok(answer) {
  const a = await answer;
  assert.ok(a.status < 300, `${a.status} ${a.text}`);
  return a.body;
}
async function user(role, more = {}) {
  const login = `${role}-${randomUUID().slice(0, 8)}`;
  const password = `sentence ${randomUUID()}`;
  const made = await ok(admin.post("/v1/users", { login, display_name: login, roles: [role], ...more }));
  const link = await ok(admin.post(`/v1/users/${made.id}/one-time-link`, {}));
  await ok(new Client(server.origin).post("/v1/one-time-links/redemption", { token: link.token, password }));
  return { id: made.id, login, password, api: await server.login(login, password) };
}
/** The administrator's page, on a section of the settings. */
async function settings(section) {
  await bossPage.goto(`${server.origin}/settings/${section}`);
  await bossPage.locator(".sections a[data-status=active]").waitFor();
  return bossPage;
}
const day = (plus) => new Intl.DateTimeFormat("sv-SE", { timeZone: "Asia/Tokyo" }).format(new Date(Date.now() + plus * 86_400_000));
/** Opens the form of a new record with the keyboard. */
async function add(page) {
  await page.locator("[data-add]").focus();
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog");
  await dialog.waitFor();
  return dialog;
}
async function saved(page) {
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor({ state: "detached" });
}

before(async () => {
  server = await Enishi.start();
  admin = await server.administrator();
  browser = await Browser.start(server);
  boss = await user("admin");
  bossPage = await browser.page(boss, "/settings");
});
after(async () => {
  await browser?.chromium.close();
  await server?.stop();
});
afterEach(() => browser.settle(bossPage));

test("a team is made and gets a member; a name that is taken says so and keeps what was typed", async () => {
  const member = await user("operator");
  const page = await settings("teams");
  let dialog = await add(page);
  await dialog.locator("input[name=name]").fill("第一課");
  await dialog.locator("input[name=name]").focus();
  await saved(page);
  const row = page.locator("[data-team=第一課]");
  await row.waitFor();
  const select = page.locator("input[name=member]").or(page.getByLabel("メンバーを加える")).first();
  await pick(page, select, member.login);
  await page.getByRole("button", { name: "追加", exact: true }).click();
  await page.locator(`[data-member='${member.id}']`).waitFor();
  assert.ok((await ok(admin.get(`/v1/users/${member.id}`))).team_id);
  dialog = await add(page);
  await dialog.locator("input[name=name]").fill("第一課");
  await page.keyboard.press("Enter");
  await dialog.getByText("この名前は使われています。").waitFor();
  await holds(dialog.locator("input[name=name]"), "第一課");
  browser.check(["409"]);
});

test("rights are a matrix: arrow keys move, letters set a scope, and nothing counts before it is saved", async () => {
  const page = await settings("roles");
  await page.locator("[data-grant]").first().waitFor();
  await page.locator("input[name=find]").fill("list_imports");
  const cell = page.locator("[data-grant='operator list_imports']");
  await cell.waitFor();
  await page.locator("[data-cell='0.0'][tabindex='0']").focus();
  const column = await cell.evaluate((c) => Number(c.dataset.cell.split(".")[1]));
  for (let i = 0; i < column; ++i) await page.keyboard.press("ArrowRight");
  await focused(page, "[data-grant='operator list_imports']");
  await page.keyboard.press("a");
  await page.locator("[data-changed='1']").waitFor();
  const may = async () => (await ok(admin.get("/v1/roles"))).items.find((r) => r.name === "operator").permissions.find((p) => p.operation === "list_imports")?.scope;
  assert.equal(await may(), undefined);
  await page.locator("[data-save-roles]").focus();
  await page.keyboard.press("Enter");
  await page.locator("[data-changed]").waitFor({ state: "detached" });
  assert.equal(await may(), "all");
  await page.locator("[data-grant='operator list_imports'][data-scope=all]").focus();
  await page.keyboard.press("0");
  await page.locator("[data-save-roles]").click();
  await page.locator("[data-changed]").waitFor({ state: "detached" });
  assert.equal(await may(), undefined);
});

test("an API token is shown once, works, and is revoked", async () => {
  const page = await settings("tokens");
  const dialog = await add(page);
  await dialog.locator("input[name=name]").fill("申込フォーム");
  await pick(page, dialog.getByRole("combobox", { name: "できる操作" }).or(dialog.getByRole("textbox", { name: "できる操作" })), "list_teams");
  await dialog.locator("input[name=name]").focus();
  await page.keyboard.press("Enter");
  const secret = await page.locator("[data-secret]").innerText();
  assert.equal((await fetch(`${server.origin}/v1/teams`, { headers: { authorization: `Bearer ${secret}` } })).status, 200);
  assert.equal((await fetch(`${server.origin}/v1/users`, { headers: { authorization: `Bearer ${secret}` } })).status, 403);
  await page.getByRole("button", { name: "保管した" }).press("Enter");
  await page.locator("[data-secret]").waitFor({ state: "detached" });
  await page.reload();
  const row = page.locator("[data-token=申込フォーム]");
  await row.getByRole("button", { name: "失効させる" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "失効させる" }).press("Enter");
  await row.getByText("失効", { exact: true }).waitFor();
  assert.equal((await fetch(`${server.origin}/v1/teams`, { headers: { authorization: `Bearer ${secret}` } })).status, 401);
});

test("priorities are in their order; a new rule takes its place", async () => {
  const page = await settings("priorities");
  await page.locator("[data-rule]").first().waitFor();
  const dialog = await add(page);
  await dialog.locator("select[name=kind]").selectOption("NURTURE");
  await dialog.locator("input[name=priority]").fill("999");
  await saved(page);
  await page.locator("[data-rule]:first-child[data-rule='NURTURE 999']").waitFor();
});

test("contact hours are changed with their reason; a wrong value stands at its field", async () => {
  const page = await settings("rules");
  await page.locator("[data-rule=contact_hours]").first().getByRole("button", { name: "変える" }).press("Enter");
  const dialog = page.getByRole("dialog");
  await dialog.locator("input[name=to]").fill("25:00");
  await dialog.locator("input[name=source]").fill("社内規程");
  await page.keyboard.press("Enter");
  await dialog.getByRole("alert").waitFor();
  browser.check(["422"]);
  await dialog.locator("input[name=to]").fill("20:00");
  await saved(page);
  await page.locator("[data-rule=contact_hours]").first().getByText("08:00–20:00").waitFor();
  await ok(admin.post("/v1/rules", { name: "contact_hours", value: { from: "00:00", to: "24:00" }, source: "test" }));
});

test("from an area by postal code over an appraiser's skills and hours to visit slots", async () => {
  const kimono = await ok(admin.post("/v1/item-categories", { code: "test-obi", name_ja: "試しの帯", name_en: "Trial obi" }));
  let page = await settings("areas");
  await page.locator("[data-empty]").waitFor();
  let dialog = await add(page);
  await dialog.locator("input[name=name]").fill("東京北");
  await dialog.locator("textarea[name=postal_prefixes]").fill("114、1150045");
  await dialog.getByRole("button", { name: "保存" }).press("Enter");
  await dialog.waitFor({ state: "detached" });
  await page.locator("input[name=try]").fill("115-0045");
  await page.getByRole("status").getByText("東京北（1150045）").waitFor();

  page = await settings("appraisers");
  dialog = await add(page);
  await dialog.locator("input[name=display_name]").fill("査定員 一");
  await dialog.getByLabel("エリア").click();
  await page.locator("[data-combobox-option]", { hasText: "東京北" }).click();
  await page.keyboard.press("Escape");
  await dialog.getByLabel("扱える商材").click();
  await page.locator("[data-combobox-option]", { hasText: "試しの帯" }).click();
  await page.keyboard.press("Escape");
  await dialog.locator("input[name=display_name]").focus();
  await saved(page);
  await page.locator("[data-appraiser='査定員 一']").getByText("試しの帯").waitFor();
  await page.locator("select[name=weekday]").selectOption("0");
  await page.locator("input[name=from_time]").focus();
  await page.keyboard.press("Enter");
  await page.locator("[data-hours='0 09:00-18:00']").waitFor();
  const made = (await ok(admin.get("/v1/appraisers"))).items[0];
  assert.deepEqual([made.skills, made.hours.length], [[kimono.id], 1]);

  page = await settings("slots");
  await page.locator("input[name=plan-from]").waitFor();
  await page.getByLabel("出張エリア").first().click();
  await page.locator("[data-combobox-option]", { hasText: "東京北" }).click();
  const first = day(1);
  await page.locator("input[name=plan-from]").fill(first);
  await page.locator("input[name=plan-to]").fill(new Date(Date.parse(first) + 86_400_000).toISOString().slice(0, 10));
  await page.locator("[data-plan]").press("Enter");
  const slot = page.locator("[data-slot]").first();
  await page.locator("[data-slot]").nth(5).waitFor();
  assert.equal(await page.locator("[data-slot]").count(), 6, "two days of three bands");
  const capacity = slot.locator("input");
  await capacity.fill("5");
  await capacity.press("Enter");
  await slot.getByText("0 / 5").waitFor();
});

test("hours that a booked visit needs are taken away only after the visit was shown", async () => {
  const kimono = await ok(admin.post("/v1/item-categories", { code: "test-kimono", name_ja: "試しの着物", name_en: "Trial kimono" }));
  const source = await ok(admin.post("/v1/media-sources", { code: "test-doubt", name: "試し" }));
  const area = await ok(admin.post("/v1/service-areas", { name: "横浜", postal_prefixes: ["220"] }));
  let appraiser = await ok(admin.post("/v1/appraisers", { display_name: "査定員 去", area_ids: [area.id] }));
  const date = day(2), at = (hour) => `${date}T${hour}:00+09:00`;
  appraiser = await ok(admin.post(`/v1/appraisers/${appraiser.id}/hours`, { day: date, from_time: "09:00", to_time: "18:00" }));
  const slot = await ok(admin.post("/v1/visit-slots", { service_area_id: area.id, starts_at: at("10:00"), ends_at: at("12:00"), capacity: 1 }));
  const lead = await ok(admin.post("/v1/inquiries", { media_source_id: source.id, channel: "OTHER", customer_initiated: false,
    customer: { display_name: "訪問 待子", phones: [{ raw: "090-7777-0001" }], addresses: [{ postal_code: "2200001", street: "1-1" }] } }));
  const inquiry_id = lead.inquiry.id, customer = await ok(admin.get(`/v1/customers/${lead.inquiry.customer_id}`));
  const now = new Date().toISOString();
  const request = await ok(admin.post("/v1/solicitation-requests", { inquiry_id, scope: "PURCHASE", category_ids: [kimono.id], verbatim: "見に来て", disclosed_at: now, willingness_confirmed_at: now }));
  const visit = await ok(admin.post("/v1/appointments", { state: "BOOKED", inquiry_id, slot_id: slot.id, appraiser_id: appraiser.id, address_id: customer.addresses[0].id, solicitation_request_id: request.id, category_ids: [kimono.id] }));

  const page = await settings("appraisers");
  await page.locator("[data-appraiser='査定員 去']").getByRole("button", { name: "査定員 去" }).click();
  const hours = page.locator(`[data-hours='${date} 09:00-18:00']`);
  await hours.getByRole("button").click();
  const dialog = page.getByRole("dialog");
  await dialog.locator("[data-doubt]", { hasText: "訪問 待子" }).waitFor();
  await dialog.getByRole("button", { name: "やめる" }).click();
  await dialog.waitFor({ state: "detached" });
  assert.equal((await ok(admin.get(`/v1/appraisers/${appraiser.id}`))).hours.length, 1);
  await hours.getByRole("button").click();
  await dialog.locator("[data-despite]").click();
  await hours.waitFor({ state: "detached" });
  assert.equal((await ok(admin.get(`/v1/appointments/${visit.id}`))).state, "BOOKED");
  browser.check(["409"]);
});

test("a custom field is defined, filled in on the customer's page, and checked by its kind", async () => {
  const page = await settings("fields");
  const dialog = await add(page);
  await dialog.locator("input[name=key]").fill("member_rank");
  await dialog.locator("input[name=label_ja]").fill("会員の段");
  await dialog.locator("input[name=label_en]").fill("Member rank");
  await dialog.locator("select[name=kind]").selectOption("CHOICE");
  await dialog.locator("textarea[name=choices]").fill("金、銀");
  await dialog.getByRole("button", { name: "保存" }).press("Enter");
  await dialog.waitFor({ state: "detached" });
  await page.getByText("member_rank").waitFor();
  const customer = await ok(admin.post("/v1/customers", { display_name: "追加 項子" }));
  await page.goto(`${server.origin}/customers/${customer.id}`);
  await page.getByRole("button", { name: "編集" }).first().click();
  await dialog.locator("select[name='custom.member_rank']").selectOption("銀");
  await dialog.getByRole("button", { name: "保存" }).press("Enter");
  await dialog.waitFor({ state: "detached" });
  await page.locator("[data-custom=member_rank]").getByText("銀").waitFor();
  assert.equal((await ok(admin.get(`/v1/customers/${customer.id}`))).custom.member_rank, "銀");
});

test("who comes second sees what the first one wrote in a setting, and keeps what they typed", async () => {
  const media = await ok(admin.post("/v1/media-sources", { code: "tv", name: "テレビ" }));
  const page = await settings("media");
  await page.locator(`[data-row='${media.id}']`).getByRole("button", { name: "編集" }).press("Enter");
  const dialog = page.getByRole("dialog");
  await dialog.locator("input[name=name]").fill("テレビ（夜）");
  await ok(admin.patch(`/v1/media-sources/${media.id}`, { name: "テレビ（朝）" }, media.version));
  await page.keyboard.press("Enter");
  await dialog.locator("[data-theirs=name]").getByText("テレビ（朝）").waitFor();
  await holds(dialog.locator("input[name=name]"), "テレビ（夜）");
  await dialog.locator("input[name=name]").focus();
  await saved(page);
  assert.equal((await ok(admin.get(`/v1/media-sources/${media.id}`))).name, "テレビ（夜）");
  browser.check(["412"]);
});

test("the log of views is filtered by person, by customer and by time", async () => {
  const looker = await user("operator");
  const other = await user("operator");
  const one = await ok(admin.post("/v1/customers", { display_name: "見られ 一子" }));
  const two = await ok(admin.post("/v1/customers", { display_name: "見られ 二子" }));
  await ok(looker.api.get(`/v1/customers/${one.id}`));
  await ok(looker.api.get(`/v1/customers/${two.id}`));
  await ok(other.api.get(`/v1/customers/${one.id}`));
  const officer = await user("compliance");
  const seen = async () => (await ok(officer.api.get(`/v1/personal-data-views?entity_id=${one.id}`))).items.length;
  await eventually("both views are written down", async () => (await seen()) >= 2, 60_000);
  const page = await browser.page(officer, "/views");
  const rows = page.locator("[data-view=get_customer]");
  await rows.first().waitFor();
  await page.locator("input[name=customer]").fill("見られ 一");
  await page.locator(`[data-pick='${one.id}']`).press("Enter");
  await page.waitForURL(/customer=/);
  await rows.filter({ hasText: other.login }).waitFor();
  await rows.filter({ hasText: looker.login }).getByRole("button", { name: looker.login }).press("Enter");
  await page.waitForURL(/user=/);
  await rows.filter({ hasText: other.login }).waitFor({ state: "detached" });
  await rows.nth(1).waitFor({ state: "detached" });
  assert.equal(await rows.count(), 1);
  await page.locator("input[name=to]").fill("2020-01-01T00:00");
  await page.locator("[data-empty]").waitFor();
  await page.getByRole("button", { name: "条件を消す" }).press("Enter");
  await rows.filter({ hasText: other.login }).first().waitFor();
});

test("each role has its own settings, in English too", async () => {
  const supervisor = await browser.page(await user("supervisor"), "/settings");
  await supervisor.locator(".sections a").first().waitFor();
  const of = async (page) => (await page.locator(".sections a").allInnerTexts());
  assert.deepEqual(await of(supervisor), ["ユーザー", "チーム", "役割の権限", "APIトークン", "ログイン中の端末", "架電の優先度", "出張エリア", "査定員", "訪問枠"]);
  await supervisor.getByRole("button", { name: "English" }).click();
  await supervisor.getByRole("link", { name: "Visit slots" }).press("Enter");
  await supervisor.getByText("Plan slots").waitFor();
  const operator = await browser.page(await user("operator"), "/settings/sessions");
  await operator.getByText("この画面").waitFor();
  assert.equal(await operator.locator("header a", { hasText: "設定" }).count(), 0);
});

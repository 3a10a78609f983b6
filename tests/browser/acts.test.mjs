// What is seldom done and not lightly, through the page: bans by hand and their end, hiding, erasing, a memo set right, a visit changed.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, afterEach, before, test } from "node:test";
import { Client, Enishi } from "../enishi.mjs";
import { Browser, focused, holds } from "./browser.mjs";

let server, admin, browser, media, kimono, stamps, areas, appraiser;

async function ok(answer) {
  const a = await answer;
  assert.ok(a.status < 300, `${a.status} ${a.text}`);
  return a.body;
}
async function user(...roles) {
  const login = `${roles[0]}-${randomUUID().slice(0, 8)}`;
  const password = `sentence ${randomUUID()}`;
  const made = await ok(admin.post("/v1/users", { login, display_name: login, roles }));
  const link = await ok(admin.post(`/v1/users/${made.id}/one-time-link`, {}));
  await ok(new Client(server.origin).post("/v1/one-time-links/redemption", { token: link.token, password }));
  return { id: made.id, login, password, api: await server.login(login, password) };
}
let houses = 0;
const lead = (name, by = admin, postal_code = "1140001") =>
  ok(by.post("/v1/inquiries", {
    media_source_id: media.id, channel: "PHONE", items: [{ item_category_id: kimono.id, description: "訪問着" }],
    customer: { display_name: name, kana: "テスト", phones: [{ raw: `090${String(Math.floor(Math.random() * 1e8)).padStart(8, "0")}` }], addresses: [{ postal_code, prefecture: "東京都", city: "北区", town: "東十条", street: `3-1-${++houses}` }] },
  }));
const day = (plus) => new Intl.DateTimeFormat("sv-SE", { timeZone: "Asia/Tokyo" }).format(new Date(Date.now() + plus * 86_400_000));
/** A visit tomorrow, booked by the API. */
async function visit(name, of = areas[0]) {
  const made = await lead(name, admin, of.postal_prefixes[0] + "0001");
  const [slot] = (await ok(admin.get(`/v1/visit-slots?service_area_id=${of.id}&from=${day(1)}&to=${day(1)}`))).items;
  const request = await ok(admin.post("/v1/solicitation-requests", { inquiry_id: made.inquiry.id, scope: "PURCHASE", category_ids: [kimono.id, stamps.id], verbatim: "見てほしい", disclosed_at: new Date().toISOString(), willingness_confirmed_at: new Date().toISOString() }));
  const customer = await ok(admin.get(`/v1/customers/${made.inquiry.customer_id}`));
  const free = await ok(admin.get(`/v1/visit-slots/availability?address_id=${customer.addresses[0].id}&from=${day(1)}&to=${day(1)}&minutes=30`));
  const gap = free.items.find((s) => s.slot_id === slot.id).appraisers[0].free[0];
  const appointment = await ok(admin.post("/v1/appointments", {
    state: "BOOKED", inquiry_id: made.inquiry.id, slot_id: slot.id, appraiser_id: appraiser.id, address_id: customer.addresses[0].id, solicitation_request_id: request.id, category_ids: [kimono.id],
    starts_at: gap.starts_at, ends_at: new Date(Date.parse(gap.starts_at) + 30 * 60_000).toISOString(),
  }));
  return { made, customer, appointment };
}
/** From the menu of the customer's page, by keyboard. */
async function choose(page, name) {
  await page.locator("[data-customer-menu]").focus();
  await page.keyboard.press("Enter");
  await page.getByRole("menuitem", { name }).press("Enter");
  const dialog = page.getByRole("dialog");
  await dialog.waitFor();
  return dialog;
}
const gone = (locator) => locator.waitFor({ state: "detached" });

before(async () => {
  server = await Enishi.start();
  admin = await server.administrator();
  browser = await Browser.start(server);
  await ok(admin.post("/v1/rules", { name: "contact_hours", value: { from: "00:00", to: "24:00" }, source: "test" }));
  media = await ok(admin.post("/v1/media-sources", { code: "test", name: "チラシ" }));
  kimono = await ok(admin.post("/v1/item-categories", { code: "test-kimono", name_ja: "試しの着物", name_en: "Trial kimono" }));
  stamps = await ok(admin.post("/v1/item-categories", { code: "test-stamps", name_ja: "試しの切手", name_en: "Trial stamps" }));
  areas = [await ok(admin.post("/v1/service-areas", { name: "東京北", postal_prefixes: ["114"] })), await ok(admin.post("/v1/service-areas", { name: "東京南", postal_prefixes: ["142"] }))];
  appraiser = await ok(admin.post("/v1/appraisers", { display_name: "査定員 一", skills: [], area_ids: areas.map((a) => a.id) }));
  for (let weekday = 0; weekday < 7; ++weekday) await ok(admin.post(`/v1/appraisers/${appraiser.id}/hours`, { weekday, from_time: "09:00", to_time: "18:00" }));
  await ok(admin.post("/v1/visit-slot-plans", { service_area_ids: areas.map((a) => a.id), from: day(1), to: day(2), weekdays: [0, 1, 2, 3, 4, 5, 6], bands: [{ from_time: "10:00", to_time: "16:00", capacity: 9 }] }));
});
after(async () => {
  await browser?.chromium.close();
  await server?.stop();
});
afterEach(() => browser.settle());

test("a ban is made by hand and lifted with a reason; Escape asks before it throws away what was typed", async () => {
  const made = await lead("手書 禁子");
  const id = made.inquiry.customer_id;
  const officer = await user("compliance", "supervisor");
  const page = await browser.page(officer, `/customers/${id}`);
  const dialog = await choose(page, "再勧誘禁止にする");
  assert.ok(await dialog.locator("[data-do=ban]").isDisabled(), "without a reason there is no ban");
  await dialog.locator("textarea[name=reason]").fill("書面で断られた");
  await page.keyboard.press("Escape");
  await dialog.locator("[data-leaving]").waitFor();
  await focused(page, "[data-keep]");
  await page.keyboard.press("Enter");
  await gone(dialog.locator("[data-leaving]"));
  await holds(dialog.locator("textarea[name=reason]"), "書面で断られた");
  await dialog.locator("[data-do=ban]").press("Enter");
  await gone(dialog);
  await page.getByRole("alert").getByText("書面で断られた").waitFor();
  const banned = await ok(admin.get(`/v1/customers/${id}`));
  assert.deepEqual([banned.active_ban.source, banned.tasks[0].state], ["REQUEST", "BLOCKED"]);

  await page.goto(`${server.origin}/compliance`);
  await page.locator("[data-ban]").getByRole("link", { name: "手書 禁子" }).click();
  await choose(page, "再勧誘禁止の解除");
  await dialog.locator("textarea[name=reason]").fill("本人から再度の依頼");
  await dialog.locator("[data-do=lift]").press("Enter");
  await gone(dialog);
  await gone(page.locator(".banned"));
  assert.equal((await ok(admin.get(`/v1/customers/${id}`))).active_ban, null);

  await page.goto(`${server.origin}/compliance`);
  await page.locator("[data-add]").press("Enter");
  await dialog.locator("input[name=customer]").fill("手書 禁");
  await dialog.locator(`[data-pick='${id}']`).press("Enter");
  await dialog.locator("textarea[name=reason]").fill("苦情の電話");
  await dialog.locator("select[name=source]").selectOption("COMPLAINT");
  await dialog.locator("[data-do=ban]").press("Enter");
  await gone(dialog);
  await page.locator("[data-ban]", { hasText: "苦情の電話" }).getByText("手書 禁子").waitFor();
});

test("who typed nothing leaves a form by Escape at once; who throws away says so", async () => {
  const made = await lead("逃道 開子");
  const page = await browser.page(await user("supervisor"), `/customers/${made.inquiry.customer_id}`);
  const dialog = await choose(page, "再勧誘禁止にする");
  await page.keyboard.press("Escape");
  await gone(dialog);
  await choose(page, "再勧誘禁止にする");
  await dialog.locator("textarea[name=reason]").fill("間違い");
  await page.keyboard.press("Escape");
  await dialog.locator("[data-discard]").press("Enter");
  await gone(dialog);
  assert.equal((await ok(admin.get(`/v1/customers/${made.inquiry.customer_id}`))).active_ban, null);
});

test("a customer is deleted when nothing is to come", async () => {
  const made = await lead("削除 去子");
  const id = made.inquiry.customer_id;
  const page = await browser.page(await user("supervisor"), `/customers/${id}`);
  const dialog = await choose(page, "顧客を削除");
  await dialog.locator("[data-do=hide]").press("Enter");
  await dialog.getByText("予定の架電か訪問があります").waitFor();
  browser.check(["409"]);
  await page.keyboard.press("Escape");
  await gone(dialog);
  await ok(admin.post(`/v1/call-tasks/${made.call_task.id}/cancellation`, { reason: "試し" }));
  await choose(page, "顧客を削除");
  await dialog.locator("[data-do=hide]").press("Enter");
  await page.waitForURL(/\/customers$/);
  await page.getByText("削除 去子を削除しました").waitFor();
  assert.equal((await admin.get(`/v1/customers/${id}`)).status, 404);
});

test("a person is erased when their name was typed, and the proof is listed; what the law wants kept is masked", async () => {
  const made = await lead("消去 願子");
  const id = made.inquiry.customer_id;
  const officer = await user("compliance");
  const call = await ok(admin.post("/v1/calls", { direction: "INBOUND", customer_id: id }));
  const page = await browser.page(officer, `/customers/${id}`);
  const dialog = await choose(page, "本人の請求による消去");
  await dialog.locator("input[name=reason]").fill("本人の請求");
  await dialog.locator("input[name=confirm]").fill("消去 願");
  assert.ok(await dialog.locator("[data-do=erase]").isDisabled());
  await dialog.locator("input[name=confirm]").fill("消去　願子");
  // The Enter that ends a composition belongs to the IME, in every form.
  for (const how of [{ isComposing: true }, { keyCode: 229 }])
    assert.equal(await dialog.locator("input[name=confirm]").evaluate((field, how) => field.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true, ...how })), how), false);
  await dialog.locator("[data-do=erase]").press("Enter");
  await dialog.getByText("終わっていないもの: 通話").waitFor();
  await holds(dialog.locator("input[name=reason]"), "本人の請求");
  await ok(admin.post(`/v1/calls/${call.call.id}/finish`, { outcome: "CALLBACK", memo: "" }));
  server.sql(`update call_attempt set recording_ref = 'rec/1', recording_retain_until = current_date + 30 where id = '${call.call.id}'`);
  await dialog.locator("[data-do=erase]").press("Enter");
  await dialog.getByText("法定の保存期間中です").waitFor();
  await dialog.locator("input[name=mask]").check();
  await dialog.locator("[data-do=erase]", { hasText: "マスクする" }).press("Enter");
  await page.waitForURL(/\/customers$/);
  browser.check(["409"]);
  await page.goto(`${server.origin}/compliance`);
  const proof = page.locator(`[data-erasure='${id}']`);
  await proof.getByText("マスク").first().waitFor();
  await proof.getByText(officer.login).waitFor();
  assert.equal(await page.getByText("消去 願子").count(), 0);
});

test("the memo of a call is corrected from the timeline, by whose call it was", async () => {
  const who = await user("operator");
  const made = await lead("覚書 直子", who.api);
  const call = await ok(who.api.post("/v1/calls", { direction: "INBOUND", customer_id: made.inquiry.customer_id, inquiry_id: made.inquiry.id }));
  await ok(who.api.post(`/v1/calls/${call.call.id}/finish`, { outcome: "CALLBACK", memo: "夕方にた", next_action: { kind: "CALLBACK", due_at: `${day(1)}T10:00:00+09:00` } }));
  const page = await browser.page(who, `/customers/${made.inquiry.customer_id}`);
  await page.locator(`[data-memo='${call.call.id}']`).press("Enter");
  const dialog = page.getByRole("dialog");
  await dialog.locator("textarea[name=memo]").fill("夕方に電話");
  await dialog.locator("[data-do=memo]").press("Enter");
  await gone(dialog);
  await page.locator(".timeline").getByText("夕方に電話").waitFor();
  assert.equal((await ok(who.api.get(`/v1/calls/${call.call.id}`))).outcome, "CALLBACK");
  const other = await browser.page(await user("operator"), `/customers/${made.inquiry.customer_id}`);
  await other.locator(".timeline").getByText("夕方に電話").waitFor();
  assert.equal(await other.locator("[data-memo]").count(), 0, "a memo is its operator's");
});

test("a visit's address, goods and notes are changed; what the customer did not ask for is refused, and what was typed stays", async () => {
  const booked = await visit("訪問 変子");
  const moved = await ok(admin.post(`/v1/customers/${booked.customer.id}/addresses`, { postal_code: "1140002", prefecture: "東京都", city: "北区", town: "王子", street: "1-1" }));
  const coins = await ok(admin.post("/v1/item-categories", { code: `c-${randomUUID().slice(0, 8)}`, name_ja: "試しの古銭", name_en: "Trial coins" }));
  const page = await browser.page(await user("supervisor"), `/visits?day=${day(1)}&id=${booked.appointment.id}`);
  await page.locator("[data-edit-visit]").press("Enter");
  const dialog = page.locator("[data-form=visit]");
  await dialog.locator("select[name=address_id]").selectOption(moved.id);
  await dialog.locator("textarea[name=notes]").fill("犬がいる");
  const goods = dialog.getByRole("combobox", { name: "商材" }).or(dialog.getByRole("textbox", { name: "商材" }));
  const pick = async (name) => {
    await goods.fill(name);
    await page.getByRole("option", { name }).click();
    await page.keyboard.press("Escape");
  };
  await pick("試しの古銭");
  await dialog.locator("[data-do=visit]").click();
  await dialog.getByText("お客様が要請していない商材が含まれています").waitFor();
  browser.check(["422"]);
  await holds(dialog.locator("textarea[name=notes]"), "犬がいる");
  await goods.press("Backspace");
  await pick("試しの切手");
  await dialog.locator("[data-do=visit]").click();
  await gone(dialog);
  await page.getByText("犬がいる").waitFor();
  const now = await ok(admin.get(`/v1/appointments/${booked.appointment.id}`));
  assert.deepEqual([now.address_id, now.notes, [...now.category_ids].sort()], [moved.id, "犬がいる", [kimono.id, stamps.id].sort()]);
  assert.ok(coins.id);
});

test("the visits of a day are those of one area, when asked", async () => {
  const north = await visit("北区 住子", areas[0]);
  const south = await visit("南区 住子", areas[1]);
  const page = await browser.page(await user("supervisor"), `/visits?day=${day(1)}`);
  await page.locator(`[data-visit='${north.appointment.id}']`).waitFor();
  await page.locator("select[name=area]").selectOption(areas[1].id);
  await gone(page.locator(`[data-visit='${north.appointment.id}']`));
  await page.locator(`[data-visit='${south.appointment.id}']`).waitFor();
});

// The web client against the real binary, as its users work with it.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, afterEach, before, test } from "node:test";
import { Client, Enishi, eventually } from "../enishi.mjs";
import { Browser, focused, holds } from "./browser.mjs";

let server, admin, browser, operator, supervisor, media, kimono, area, appraiser;

async function ok(answer) {
  const a = await answer;
  assert.ok(a.status < 300, `${a.status} ${a.text}`);
  return a.body;
}

/** A user who chose a password with a one-time link; its text is known here, for the log-in page. */
async function user(role) {
  const login = `${role}-${randomUUID().slice(0, 8)}`;
  const password = `sentence ${randomUUID()}`;
  const made = await ok(admin.post("/v1/users", { login, display_name: login, roles: [role] }));
  const link = await ok(admin.post(`/v1/users/${made.id}/one-time-link`, {}));
  await ok(new Client(server.origin).post("/v1/one-time-links/redemption", { token: link.token, password }));
  return { id: made.id, login, password, api: await server.login(login, password) };
}

let houses = 0;
/** A lead with its first call in the queue, at an address of its own: a refusal bans an address for everybody there. */
async function lead(name, phone = `090${String(Math.floor(Math.random() * 1e8)).padStart(8, "0")}`) {
  return ok(admin.post("/v1/inquiries", {
    media_source_id: media.id, channel: "PHONE", items: [{ item_category_id: kimono.id, description: "訪問着" }],
    customer: { display_name: name, kana: "テスト", birth_date: "1940-05-01", phones: [{ raw: phone }], addresses: [{ postal_code: "1140001", prefecture: "東京都", city: "北区", town: "東十条", street: `1-2-${++houses}` }] },
  }));
}
const day = (plus) => new Intl.DateTimeFormat("sv-SE", { timeZone: "Asia/Tokyo" }).format(new Date(Date.now() + plus * 86_400_000));

before(async () => {
  server = await Enishi.start();
  admin = await server.administrator();
  browser = await Browser.start(server);
  await ok(admin.post("/v1/rules", { name: "contact_hours", value: { from: "00:00", to: "24:00" }, source: "test" }));
  media = await ok(admin.post("/v1/media-sources", { code: "test", name: "チラシ" }));
  kimono = await ok(admin.post("/v1/item-categories", { code: "test-kimono", name_ja: "着物", name_en: "Kimono" }));
  area = await ok(admin.post("/v1/service-areas", { name: "東京北", postal_prefixes: ["114"] }));
  appraiser = await ok(admin.post("/v1/appraisers", { display_name: "査定員 一", skills: [], area_ids: [area.id] }));
  for (let weekday = 0; weekday < 7; ++weekday) await ok(admin.post(`/v1/appraisers/${appraiser.id}/hours`, { weekday, from_time: "09:00", to_time: "18:00" }));
  await ok(admin.post("/v1/visit-slot-plans", { service_area_ids: [area.id], from: day(1), to: day(7), weekdays: [0, 1, 2, 3, 4, 5, 6], bands: [{ from_time: "10:00", to_time: "12:00", capacity: 3 }] }));
  operator = await user("operator");
  supervisor = await user("supervisor");
});
after(async () => {
  await browser?.chromium.close();
  await server?.stop();
});
afterEach(() => browser.settle());

/** Claims that very task by the API, and shows the desk. */
async function deskWith(name) {
  const who = await user("operator");
  const made = await lead(name);
  await ok(who.api.post("/v1/call-tasks/claim", { call_task_id: made.call_task.id }));
  return { who, made, page: await browser.page(who) };
}

test("a wrong password is a sentence, the right one opens the page that was asked for, English is a click away", async () => {
  const page = await browser.open(await browser.context(), "/inquiries");
  await page.waitForURL(/\/login\?to=/);
  await page.locator("input[name=login]").fill(supervisor.login);
  await page.locator("input[name=password]").fill("not the password");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").getByText("ログイン名かパスワードが違います。").waitFor();
  browser.check(["401"]);
  await page.locator("input[name=password]").fill(supervisor.password);
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/inquiries$/);
  await page.getByRole("link", { name: "新しい反響" }).waitFor();
  await page.getByRole("button", { name: "English" }).click();
  await page.getByRole("link", { name: "New inquiry" }).waitFor();
  await page.locator("html[lang=en]").waitFor({ state: "attached" });
  await page.reload();
  await page.getByRole("link", { name: "New inquiry" }).waitFor();
});

test("a one-time link sets the first password and logs in", async () => {
  const login = `first-${randomUUID().slice(0, 8)}`;
  const made = await ok(admin.post("/v1/users", { login, display_name: "初めての人", roles: ["supervisor"] }));
  const link = await ok(admin.post(`/v1/users/${made.id}/one-time-link`, {}));
  const page = await browser.open(await browser.context(), `/welcome#${link.token}`);
  await page.locator("input[name=password]").fill("a long sentence 12");
  await page.locator("input[name=again]").fill("a long sentence 12");
  await page.keyboard.press("Enter");
  await page.locator("header.header").getByText("初めての人").waitFor();
});

test("by keyboard alone: claim, call, callback in two keys, and the next task", async () => {
  const who = await user("operator");
  const first = await lead("鍵盤 一子");
  await lead("鍵盤 二子");
  const page = await browser.page(who);
  await page.locator("[data-next]").waitFor();
  await page.keyboard.press("n");
  await page.locator("[data-start]").waitFor();
  await focused(page, "[data-start]");
  await page.keyboard.press("Enter");
  await page.locator("[data-outcome=CALLBACK]").waitFor();
  await page.keyboard.press("2");
  await focused(page, "[data-save]");
  await page.keyboard.press("Enter");
  await page.locator("[data-saved]").waitFor();
  const calls = await ok(who.api.get(`/v1/calls?operator_id=${who.id}`));
  assert.equal(calls.items[0].outcome, "CALLBACK");
  const scheduled = await ok(admin.get(`/v1/customers/${calls.items[0].customer_id}`));
  assert.equal(scheduled.tasks[0].kind, "CALLBACK");
  assert.match(new Date(scheduled.tasks[0].due_at).toISOString(), /T01:00:00/, "ten o'clock in Japan, wherever the browser is");
  await focused(page, "[data-next]");
  await page.keyboard.press("Enter");
  await page.locator("[data-start]").waitFor();
  assert.ok(first.inquiry.id);
});

test("a slow read takes the focus from nobody: the outcome is saved by Enter although the customer comes late", async () => {
  const { page } = await deskWith("遅延 待子");
  await focused(page, "[data-start]");
  await page.route("**/v1/customers/*", async (route) => {
    await new Promise((later) => setTimeout(later, 1500));
    await route.continue();
  });
  const late = page.waitForResponse((r) => /\/v1\/customers\/[^/]+$/.test(r.url()));
  await page.keyboard.press("Enter");
  await page.locator("[data-outcome=CALLBACK]").waitFor();
  await page.keyboard.press("2");
  await focused(page, "[data-save]");
  await late;
  await page.waitForTimeout(200);  // what follows the answer
  await page.keyboard.press("Enter");
  await page.locator("[data-saved]").waitFor();
});

test("a hearing sheet survives a reload in the middle of a word, and is saved", async () => {
  const { made, page } = await deskWith("書きかけ 太郎");
  const goods = page.locator("textarea[name=sheet-goods]");
  await goods.fill("留袖と帯");
  await page.reload();  // before the pause after typing is over
  await goods.waitFor();
  await holds(goods, "留袖と帯");
  await page.locator("[data-sheet-state=saved]").waitFor();
  const sheet = await ok(admin.get(`/v1/inquiries/${made.inquiry.id}/hearing-sheet`));
  assert.equal(sheet.answers.goods, "留袖と帯");
});

test("a task that is taken away says so; what was typed stays in this browser", async () => {
  const who = await user("operator");
  const made = await lead("取り 上子");
  await ok(who.api.post("/v1/call-tasks/claim", { call_task_id: made.call_task.id }));
  const context = await browser.context();
  await context.clock.install();
  const page = await browser.page(who, "/", context);
  await page.locator("textarea[name=sheet-goods]").waitFor();
  await ok(admin.post(`/v1/call-tasks/${made.call_task.id}/reassignment`, { owner_id: operator.id }));
  await context.clock.fastForward(50_000);  // the next heartbeat
  await page.getByRole("alert").getByText("担当期限が切れました").waitFor();
  browser.check(["404", "409"]);  // the task is not even theirs to see any more
});

test("without a connection the sheet keeps what was typed and sends it when the server is back", async () => {
  const { made, page } = await deskWith("電波 弱子");
  await page.locator("textarea[name=sheet-reason]").waitFor();
  await page.context().setOffline(true);
  await page.locator("textarea[name=sheet-reason]").fill("引っ越し");
  await page.locator("[data-sheet-state=local]").waitFor();
  await page.context().setOffline(false);
  await page.locator("[data-sheet-state=saved]").waitFor({ timeout: 20_000 });
  assert.equal((await ok(admin.get(`/v1/inquiries/${made.inquiry.id}/hearing-sheet`))).answers.reason, "引っ越し");
  browser.check(["ERR_INTERNET_DISCONNECTED", "ERR_FAILED", "ERR_NETWORK"]);
});

test("two tabs lose nothing: other fields merge, the same field shows both values", async () => {
  const { made, page: one } = await deskWith("二枚 花子");
  const two = await browser.open(one.context());
  for (const tab of [one, two]) await tab.locator("textarea[name=sheet-goods]").waitFor();
  await one.locator("textarea[name=sheet-family]").fill("長男と同居");
  await two.locator("textarea[name=sheet-parking]").fill("前に一台");
  for (const tab of [one, two]) await tab.locator("[data-sheet-state=saved]").waitFor();
  const both = await ok(admin.get(`/v1/inquiries/${made.inquiry.id}/hearing-sheet`));
  assert.equal(both.answers.family, "長男と同居");
  assert.equal(both.answers.parking, "前に一台");

  // Neither is stored before both are typed, however long that takes.
  let release;
  const typed = new Promise((resolve) => { release = resolve; });
  for (const tab of [one, two])
    await tab.route("**/hearing-sheet", async (route) => {
      if (route.request().method() === "PATCH") await typed;
      await route.continue();
    });
  for (const [tab, words] of [[one, "着物十枚"], [two, "帯二本"]]) await tab.locator("textarea[name=sheet-goods]").fill(words);
  release();
  const asked = await Promise.race([one, two].map((tab) => tab.locator("[data-theirs=goods]").waitFor().then(() => tab)));
  const theirs = await asked.locator("[data-theirs=goods]").innerText();
  const mine = await asked.locator("[data-mine=goods]").innerText();
  assert.deepEqual([theirs, mine].sort(), ["帯二本", "着物十枚"].sort());
  await asked.getByRole("button", { name: "自分の内容にする" }).click();
  await asked.locator("[data-theirs=goods]").waitFor({ state: "detached" });
  await asked.locator("[data-sheet-state=saved]").waitFor();
  assert.equal((await ok(admin.get(`/v1/inquiries/${made.inquiry.id}/hearing-sheet`))).answers.goods, mine);
});

test("Enter and digits belong to the IME while it composes; nothing is saved before the word is done", async () => {
  const { who, made, page } = await deskWith("変換 中子");
  await page.locator("[data-start]").click();
  await page.locator("[data-outcome=NO_ANSWER]").click();
  const memo = page.locator("textarea[name=memo]");
  await memo.focus();
  const enter = (target, composing) => target.evaluate((node, composing) => node.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", code: "Enter", keyCode: composing ? 229 : 13, isComposing: composing, bubbles: true, cancelable: true })), composing);
  assert.equal(await enter(page.locator("input[name=due_at]"), true), false, "the form holds an Enter that composes");
  await page.evaluate(() => document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "9", isComposing: true, bubbles: true })));
  assert.equal(await page.locator("[data-outcome=REFUSED]").getAttribute("aria-pressed"), "false");

  const goods = page.locator("textarea[name=sheet-goods]");
  let saves = 0;
  page.on("request", (r) => { if (r.method() === "PATCH" && r.url().endsWith("/hearing-sheet")) ++saves; });
  await goods.dispatchEvent("compositionstart");
  await goods.fill("きもの");
  await page.waitForTimeout(1500);  // twice the pause after which typing is saved
  assert.equal(saves, 0);
  await goods.fill("着物");
  await goods.dispatchEvent("compositionend");
  await page.locator("[data-sheet-state=saved]").waitFor();
  assert.ok(saves >= 1);
  assert.equal((await ok(admin.get(`/v1/inquiries/${made.inquiry.id}/hearing-sheet`))).answers.goods, "着物");
  assert.equal((await ok(who.api.get(`/v1/calls?operator_id=${who.id}`))).items[0].outcome, null, "the call goes on");
});

test("a visit is held and booked through the page, with the customer's own words", async () => {
  const { made, page } = await deskWith("訪問 予約子");
  await page.locator("[data-start]").click();
  await page.locator("[data-outcome=APPOINTED]").click();
  await page.locator(".slots .outcome").first().click();
  await page.getByRole("button", { name: "この枠を仮押さえ" }).click();
  await page.locator("[data-held]").waitFor();
  await page.locator("textarea[name=verbatim]").fill("着物を見に来てほしい");
  await page.locator("[data-save]").click();
  await page.getByRole("alert").getByText(/告げた|意思/).waitFor();  // 422: disclosure and willingness are missing; nothing is lost
  browser.check(["422"]);
  await holds(page.locator("textarea[name=verbatim]"), "着物を見に来てほしい");
  await page.getByLabel("事業者名・勧誘の目的・商材を告げた").check();
  await page.getByLabel("勧誘を受ける意思を確認した").check();
  await page.locator("[data-save]").click();
  await page.locator("[data-saved]").waitFor();
  const customer = await ok(admin.get(`/v1/customers/${made.inquiry.customer_id}`));
  assert.equal(customer.appointments[0].state, "BOOKED");
  assert.equal(customer.inquiries[0].stage, "APPOINTED");
});

test("a refusal needs its words and a confirmation, and bans the customer visibly", async () => {
  const { made, page } = await deskWith("断り 固子");
  await page.locator("[data-start]").click();
  await page.locator("[data-outcome=NO_ANSWER]").waitFor();
  await page.keyboard.press("9");
  assert.ok(await page.locator("[data-save]").isDisabled());
  await page.getByLabel("お断りの内容").fill("もうかけてこないで");
  assert.ok(await page.locator("[data-save]").isDisabled());
  await page.getByLabel("再勧誘禁止にすることを確認しました").check();
  await page.locator("[data-save]").click();
  await page.locator("[data-saved]").waitFor();
  await page.goto(`${server.origin}/customers/${made.inquiry.customer_id}`);
  await page.getByRole("alert").getByText("再勧誘禁止").waitFor();
});

test("who comes second sees what the first one wrote, and keeps what they typed", async () => {
  const made = await lead("版 違子");
  const id = made.inquiry.customer_id;
  const page = await browser.page(supervisor, `/customers/${id}`);
  await page.getByRole("button", { name: "編集" }).first().click();
  await page.getByRole("dialog").getByLabel("備考").fill("私のメモ");
  const now = await ok(admin.get(`/v1/customers/${id}`));
  await ok(admin.patch(`/v1/customers/${id}`, { notes: "先に書いたメモ" }, now.version));
  await page.getByRole("dialog").getByRole("button", { name: "保存" }).click();
  await page.locator("[data-theirs=notes]").getByText("先に書いたメモ").waitFor();
  await holds(page.getByRole("dialog").getByLabel("備考"), "私のメモ");
  await page.getByRole("dialog").getByRole("button", { name: "保存" }).click();
  await page.getByRole("dialog").waitFor({ state: "detached" });
  assert.equal((await ok(admin.get(`/v1/customers/${id}`))).notes, "私のメモ");
  browser.check(["412"]);
});

test("history shows who changed what, before and after, and the record as it was", async () => {
  const made = await lead("昔名 変子");
  const id = made.inquiry.customer_id;
  const now = await ok(admin.get(`/v1/customers/${id}`));
  await ok(admin.patch(`/v1/customers/${id}`, { display_name: "今名 変子" }, now.version));
  const manager = await user("admin");
  const page = await browser.page(manager, `/customers/${id}`);
  await page.getByRole("tab", { name: "変更の履歴" }).click();
  await page.locator(".diff-before", { hasText: "昔名 変子" }).waitFor();
  await page.locator(".diff-after", { hasText: "今名 変子" }).waitFor();
  const nextMinute = new Intl.DateTimeFormat("sv-SE", { timeZone: "Asia/Tokyo", dateStyle: "short", timeStyle: "short" }).format(new Date(Date.now() + 60_000)).replace(" ", "T");
  await page.getByLabel("この時点の記録を見る").fill(nextMinute);
  await page.getByText("時点の記録です").waitFor();
  await page.locator("dl.pairs dd", { hasText: "今名 変子" }).waitFor();
});

test("a spoilt record is compared with what it was, and put back after a preview", async () => {
  const made = await lead("正名 直子");
  const id = made.inquiry.customer_id;
  const now = await ok(admin.get(`/v1/customers/${id}`));
  await ok(admin.patch(`/v1/customers/${id}`, { display_name: "誤名 消子", notes: "消すべきメモ" }, now.version));
  const manager = await user("admin");
  const page = await browser.page(manager, `/customers/${id}`);
  await page.getByRole("tab", { name: "変更の履歴" }).click();
  await page.getByRole("button", { name: "この変更の前に戻す" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.locator("[data-put-back=UPDATE] .diff-after", { hasText: "正名 直子" }).waitFor();
  assert.equal((await ok(admin.get(`/v1/customers/${id}`))).display_name, "誤名 消子");
  await dialog.getByRole("button", { name: "戻す", exact: true }).click();
  await dialog.waitFor({ state: "detached" });
  const back = await ok(admin.get(`/v1/customers/${id}`));
  assert.deepEqual([back.display_name, back.notes], ["正名 直子", now.notes]);
  const past = new Intl.DateTimeFormat("sv-SE", { timeZone: "Asia/Tokyo", dateStyle: "short", timeStyle: "short" }).format(new Date(Date.now() + 60_000)).replace(" ", "T");
  await page.getByLabel("この時点の記録を見る").fill(past);
  await page.locator("[data-differences]").waitFor();
});

test("what one person changed in an interval is put back together, after a preview that shows what was edited since", async () => {
  const intruder = await user("admin");
  const [first, second] = [(await lead("正名 甲子")).inquiry.customer_id, (await lead("正名 乙子")).inquiry.customer_id];
  for (const id of [first, second]) await ok(intruder.api.patch(`/v1/customers/${id}`, { display_name: "荒らし 名" }, (await ok(admin.get(`/v1/customers/${id}`))).version));
  await ok(admin.patch(`/v1/customers/${second}`, { display_name: "後で直した 名" }, (await ok(admin.get(`/v1/customers/${second}`))).version));
  const manager = await user("admin");
  const page = await browser.page(manager, "/put-backs");
  await page.getByText("一人の期間中の変更").click();
  await page.locator("select[name=user_id]").selectOption(intruder.id);
  await page.getByRole("button", { name: "確認する" }).click();
  await page.locator("[data-put-back-counts]", { hasText: "1件はその後の変更あり" }).waitFor();
  await page.locator("[data-put-back=UPDATE] .diff-after", { hasText: "正名 甲子" }).waitFor();
  assert.equal((await ok(admin.get(`/v1/customers/${first}`))).display_name, "荒らし 名", "the preview changes nothing");
  await page.getByRole("button", { name: "戻す", exact: true }).click();
  await page.locator("[data-put-back-done]", { hasText: "件を戻しました" }).waitFor();
  assert.equal((await ok(admin.get(`/v1/customers/${first}`))).display_name, "正名 甲子");
  assert.equal((await ok(admin.get(`/v1/customers/${second}`))).display_name, "後で直した 名");
});

test("one request, and one import, are put back from where they are shown", async () => {
  const made = await lead("正名 丙子");
  const id = made.inquiry.customer_id;
  await ok(admin.patch(`/v1/customers/${id}`, { display_name: "誤名 丙子" }, (await ok(admin.get(`/v1/customers/${id}`))).version));
  const manager = await user("admin");
  const page = await browser.page(manager, `/customers/${id}`);
  await page.getByRole("tab", { name: "変更の履歴" }).click();
  await page.getByRole("link", { name: "この操作をまとめて戻す" }).first().click();
  await page.getByRole("button", { name: "確認する" }).click();
  await page.locator("[data-put-back=UPDATE] .diff-after", { hasText: "正名 丙子" }).waitFor();
  await page.getByRole("button", { name: "戻す", exact: true }).click();
  await page.locator("[data-put-back-done]").waitFor();
  assert.equal((await ok(admin.get(`/v1/customers/${id}`))).display_name, "正名 丙子");

  const loaded = await ok(admin.send("POST", `/v1/imports?media_source_id=${media.id}&file_name=wrong.csv`, "氏名,電話番号,商材\n誤輸入 一郎,090-3333-4444,着物\n", { "content-type": "text/csv" }));
  await ok(admin.post(`/v1/imports/${loaded.id}/start`, { mapping: loaded.suggested_mapping }));
  await eventually("the import ends", async () => (await ok(admin.get(`/v1/imports/${loaded.id}`))).state === "DONE", 60_000);
  await page.goto(`${server.origin}/imports`);
  await page.getByRole("row", { name: /wrong\.csv/ }).getByRole("link", { name: "元に戻す" }).click();
  await page.getByRole("button", { name: "確認する" }).click();
  await page.locator("[data-put-back=HIDE]").first().waitFor();
  await page.getByRole("button", { name: "戻す", exact: true }).click();
  await page.locator("[data-put-back-done]").waitFor();
  assert.equal(server.sql("select count(*) from customer where display_name = '誤輸入 一郎' and deleted_at is null"), "0");
});

test("what another person does appears without a reload", async () => {
  const made = await lead("速報 見子");
  const streams = async () => Number((await (await fetch(`${server.origin}/metrics`)).text()).match(/^enishi_event_streams (\d+)/m)?.[1] ?? 0);
  await eventually("the streams of earlier pages are closed", async () => (await streams()) === 0, 60_000);
  const page = await browser.page(supervisor, `/customers/${made.inquiry.customer_id}`);
  await page.getByText("備考").first().waitFor();
  await eventually("the page listens", async () => (await streams()) > 0, 60_000);
  const now = await ok(admin.get(`/v1/customers/${made.inquiry.customer_id}`));
  await ok(admin.patch(`/v1/customers/${made.inquiry.customer_id}`, { notes: "今、変わった" }, now.version));
  await page.getByText("今、変わった").waitFor();
});

test("field errors stand at their fields", async () => {
  const page = await browser.page(supervisor, "/inquiries/new");
  await page.getByText("新しい顧客").click();
  await page.locator("input[name=display_name]").fill("誤り 番号");
  await page.locator("input[name=phone]").fill("12");
  await page.getByRole("button", { name: "登録する" }).click();
  await page.locator("input[name=phone][aria-invalid=true]").waitFor();
  await holds(page.locator("input[name=display_name]"), "誤り 番号");
  browser.check(["422"]);
});

test("a CSV is mapped, imported and accounted for line by line", async () => {
  const marketing = await user("marketing");
  const page = await browser.page(marketing, "/imports");
  const csv = "氏名,電話番号,商材\n輸入 一郎,090-1111-2222,着物\n輸入 二郎,12,着物\n";
  await page.locator("input[type=file]").setInputFiles({ name: "leads.csv", mimeType: "text/csv", buffer: Buffer.from(csv) });
  await page.getByRole("button", { name: "ファイルを読む" }).click();
  await page.locator("[data-start-import]").click();
  await page.getByText("取り込めなかった行").waitFor();
  await page.getByRole("cell", { name: "3", exact: true }).waitFor();
  const done = await eventually("the import ends", async () => (await ok(marketing.api.get("/v1/imports"))).items.find((i) => i.state === "DONE"), 60_000);
  assert.deepEqual([done.created, done.rejected], [1, 1]);
});

test("the API reference shows every operation, under the same policy", async () => {
  const page = await browser.open(await browser.context(), "/docs");
  await page.locator("#log_in summary").click();
  await page.locator("#log_in").getByText("LOGIN_FAILED").waitFor();
  const contract = await (await fetch(`${server.origin}/openapi.json`)).json();
  const operations = Object.values(contract.paths).flatMap((p) => Object.keys(p)).filter((m) => m !== "parameters").length;
  assert.equal(await page.locator("details").count(), operations);
  assert.equal((await fetch(`${server.origin}/openapi.yaml`)).status, 200);
});

test("two people change different fields of one customer: each keeps their own, nothing is undone", async () => {
  const made = await lead("別々 併子");
  const id = made.inquiry.customer_id;
  const page = await browser.page(supervisor, `/customers/${id}`);
  await page.getByRole("button", { name: "編集" }).first().click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("備考").fill("私のメモ");
  const now = await ok(admin.get(`/v1/customers/${id}`));
  await ok(admin.patch(`/v1/customers/${id}`, { kana: "ベツベツ ヘイコ" }, now.version));
  await dialog.getByRole("button", { name: "保存" }).click();
  await dialog.locator("[data-taken~=kana]").waitFor();
  assert.equal(await dialog.locator("[data-theirs]").count(), 0, "nothing that both changed");
  await holds(dialog.getByLabel("カナ", { exact: true }), "ベツベツ ヘイコ");
  await dialog.getByRole("button", { name: "保存" }).click();
  await dialog.waitFor({ state: "detached" });
  const after = await ok(admin.get(`/v1/customers/${id}`));
  assert.deepEqual([after.kana, after.notes], ["ベツベツ ヘイコ", "私のメモ"]);

  // A part of the customer is merged alike, and does not end in a message that saving cannot mend.
  await page.getByRole("button", { name: "編集" }).nth(1).click();
  await dialog.getByLabel("メモ").fill("日中はこちら");
  const phone = after.phones[0];
  await ok(admin.patch(`/v1/customer-phones/${phone.id}`, { kind: "FIXED" }, phone.version));
  await dialog.getByRole("button", { name: "保存" }).click();
  await dialog.locator("[data-taken~=kind]").waitFor();
  await dialog.getByRole("button", { name: "保存" }).click();
  await dialog.waitFor({ state: "detached" });
  const [both] = (await ok(admin.get(`/v1/customers/${id}`))).phones;
  assert.deepEqual([both.kind, both.note], ["FIXED", "日中はこちら"]);
  browser.check(["412"]);
});

test("a held slot is given back before another is chosen; what was typed of the booking outlives a reload", async () => {
  const { made, page } = await deskWith("枠替 選子");
  await page.locator("[data-start]").click();
  await page.locator("[data-outcome=APPOINTED]").click();
  await page.locator(".slots .outcome").first().click();
  await page.getByRole("button", { name: "この枠を仮押さえ" }).click();
  await page.locator("[data-held]").waitFor();
  await page.locator("textarea[name=verbatim]").fill("帯も見てほしい");
  await page.reload();
  await page.locator("[data-held]").waitFor();
  await holds(page.locator("textarea[name=verbatim]"), "帯も見てほしい");
  await page.locator("[data-change-slot]").click();
  await page.locator("[data-held]").waitFor({ state: "detached" });
  await page.locator(".slots .outcome").nth(1).click();
  await page.getByRole("button", { name: "この枠を仮押さえ" }).click();
  await page.locator("[data-held]").waitFor();
  const states = server.sql(`select string_agg(state, ' ' order by created_at) from appointment where inquiry_id = '${made.inquiry.id}'`);
  assert.equal(states, "CANCELLED HELD");
  // No longer a choice between today and the 14th day only.
  await page.locator("[data-change-slot]").click();
  const shown = await page.locator("[data-window]").innerText();
  await page.locator("[data-later]").click();
  await eventually("another window is shown", async () => (await page.locator("[data-window]").innerText()) !== shown);
});

test("taking in an inquiry lifts a ban only when the customer asked and somebody confirmed what that does", async () => {
  const made = await lead("禁止 解子");
  const id = made.inquiry.customer_id;
  server.sql(`insert into solicitation_ban (id, customer_id, reason, source) values (new_id(), '${id}', 'もう結構', 'REQUEST')`);
  const page = await browser.page(supervisor, `/inquiries/new?customer_id=${id}`);
  const submit = page.getByRole("button", { name: "登録する" });
  await page.getByText("再勧誘禁止が解除され").waitFor();
  assert.ok(await submit.isDisabled());
  await page.locator("input[name=customer_initiated]").uncheck();
  await page.getByText("再勧誘禁止のままです").waitFor();
  await submit.click();
  await page.waitForURL(/\/customers\//);
  assert.ok((await ok(admin.get(`/v1/customers/${id}`))).active_ban, "our own campaign lifts nothing");

  await page.goto(`${server.origin}/inquiries/new?customer_id=${id}`);
  await page.locator("input[name=lifts_ban]").check();
  await submit.click();
  await page.waitForURL(/\/customers\//);
  assert.equal((await ok(admin.get(`/v1/customers/${id}`))).active_ban, null);
});

test("digits may be of full width, and an IME may compose them", async () => {
  const made = await lead("全角 数子", "09077712345");
  const page = await browser.page(supervisor, "/customers");
  await page.getByRole("searchbox").fill("７１２３４５");
  await page.getByRole("link", { name: "全角 数子" }).waitFor();
  await page.goto(`${server.origin}/inquiries/new`);
  await page.getByLabel("顧客を探す").fill("０９０ー７７７１ー２３４５");
  await page.locator(`[data-pick='${made.inquiry.customer_id}']`).waitFor();
  const quantity = page.getByLabel("数量");
  await quantity.dispatchEvent("compositionstart");
  await quantity.fill("１２ｋ");
  await holds(quantity, "１２ｋ");  // left alone while it composes
  await quantity.dispatchEvent("compositionend");
  await holds(quantity, "12");
});

test("an inquiry has a page: next action, owner, own fields and items are changed there, and it is lost with a reason", async () => {
  await ok(admin.post("/v1/custom-fields", { entity: "inquiry", key: "storage", label_ja: "保管場所", label_en: "Storage", kind: "TEXT" }));
  const made = await lead("一件 見子");
  const id = made.inquiry.id;
  const manager = await user("admin");
  const page = await browser.page(manager, `/customers/${made.inquiry.customer_id}`);
  await page.locator(`[data-inquiry='${id}']`).click();
  await page.locator("[data-stage=NEW]").waitFor();
  await page.locator("[data-edit]").click();
  const dialog = page.getByRole("dialog");
  await dialog.locator("select[name=next_action]").selectOption("WAIT");
  await dialog.locator("input[name=next_action_at]").fill(`${day(3)}T10:00`);
  await dialog.locator("select[name=owner_id]").selectOption(manager.id);
  await dialog.locator("input[name='custom.storage']").fill("蔵の二階");
  await dialog.getByRole("button", { name: "保存" }).click();
  await dialog.waitFor({ state: "detached" });
  await page.getByText("蔵の二階").waitFor();
  const { inquiry } = await ok(admin.get(`/v1/inquiries/${id}`));
  assert.deepEqual([inquiry.next_action, inquiry.owner_id, inquiry.custom.storage], ["WAIT", manager.id, "蔵の二階"]);

  const [item] = made.items;
  await page.locator(`[data-item='${item.id}'] button`).click();
  await dialog.locator("input[name=quantity]").fill("4");
  await dialog.getByRole("button", { name: "保存" }).click();
  await page.locator(`[data-item='${item.id}']`, { hasText: "×4" }).waitFor();
  await page.locator(`[data-item='${item.id}'] button`).click();
  await dialog.getByRole("button", { name: "削除" }).click();
  await page.locator(`[data-item='${item.id}']`).waitFor({ state: "detached" });

  await page.locator("[data-move=LOST]").click();
  await dialog.locator("input[name=reason]").fill("ほかで売った");
  await dialog.getByRole("button", { name: "「失注」にする" }).click();
  await page.locator("[data-stage=LOST]").waitFor();
  await page.getByText("ほかで売った").waitFor();
  const lost = await ok(admin.get(`/v1/inquiries/${id}`));
  assert.deepEqual([lost.inquiry.stage, lost.inquiry.lost_reason, lost.open_tasks.length], ["LOST", "ほかで売った", 0]);
});

test("a call is planned from the customer's page", async () => {
  const made = await lead("予定 架子");
  server.sql(`update call_task set state = 'CANCELLED' where id = '${made.call_task.id}'`);
  const page = await browser.page(await user("admin"), `/customers/${made.inquiry.customer_id}`);
  await page.locator("[data-plan-call]").click();
  const dialog = page.getByRole("dialog");
  await dialog.locator("select[name=kind]").selectOption("FOLLOW_UP");
  await dialog.locator("input[name=note]").fill("査定額の返事");
  await dialog.getByRole("button", { name: "予定する" }).click();
  await dialog.waitFor({ state: "detached" });
  const { tasks } = await ok(admin.get(`/v1/customers/${made.inquiry.customer_id}`));
  assert.deepEqual(tasks.map((k) => [k.kind, k.note, k.inquiry_id]), [["FOLLOW_UP", "査定額の返事", made.inquiry.id]]);
});

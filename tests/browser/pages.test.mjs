// What pages do when something about them goes wrong, and the small acts of the office: imports, slots, bans.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, afterEach, before, test } from "node:test";
import { Client, Enishi } from "../enishi.mjs";
import { Browser } from "./browser.mjs";

let server, admin, browser, boss;

async function ok(answer) {
  const a = await answer;
  assert.ok(a.status < 300, `${a.status} ${a.text}`);
  return a.body;
}

before(async () => {
  server = await Enishi.start();
  admin = await server.administrator();
  browser = await Browser.start(server);
  const login = `boss-${randomUUID().slice(0, 8)}`;
  const password = `sentence ${randomUUID()}`;
  const made = await ok(admin.post("/v1/users", { login, display_name: "課長 一郎", roles: ["admin", "supervisor"] }));
  const link = await ok(admin.post(`/v1/users/${made.id}/one-time-link`, {}));
  await ok(new Client(server.origin).post("/v1/one-time-links/redemption", { token: link.token, password }));
  boss = { login, password };
});
after(async () => {
  await browser?.chromium.close();
  await server?.stop();
});
afterEach(() => browser.settle());

test("a log-out that did not reach the server says so, and the page stays; the next one leaves", async () => {
  const page = await browser.page(boss, "/customers");
  const logOut = async () => {
    await page.getByRole("button", { name: "課長 一郎" }).click();
    await page.getByRole("menuitem", { name: "ログアウト" }).click();
  };
  await page.route("**/v1/session", (route) => (route.request().method() === "DELETE" ? route.abort() : route.continue()));
  await logOut();
  await page.getByText("まだログアウトできていません").waitFor();
  assert.equal(new URL(page.url()).pathname, "/customers");
  await page.unroute("**/v1/session");
  await logOut();
  await page.waitForURL("**/login");
  browser.check(["ERR_FAILED"]);
});

test("a page that breaks leaves the header and the other pages standing, and names the page in the tab", async () => {
  const page = await browser.page(boss, "/customers");
  await page.waitForFunction(() => document.title === "顧客 – Enishi");
  await page.route("**/v1/continuity", (route) => route.fulfill({ json: { state: "green", at: "2026-11-22T13:05:01Z", problems: null } }));
  await page.goto(`${server.origin}/continuity`);
  await page.getByText("画面の表示に失敗しました").waitFor();
  await page.unroute("**/v1/continuity");
  await page.getByRole("button", { name: "もう一度" }).click();
  await page.getByText("画面の表示に失敗しました").waitFor({ state: "detached" });
  browser.check(["TypeError", "Cannot read properties"]);
});

test("what one person changed can be chosen right after the list of users was shown", async () => {
  const page = await browser.page(boss, "/settings/users");
  await page.getByText("課長 一郎").first().waitFor();
  await page.getByRole("link", { name: "元に戻す" }).click();
  await page.getByText("一人の期間中の変更").click();
  await page.locator("select[name=user_id] option", { hasText: boss.login }).waitFor({ state: "attached" });
});

test("the same file is known, and comes in once more when asked", async () => {
  await ok(admin.post("/v1/media-sources", { code: "list1", name: "一覧" }));
  const page = await browser.page(boss, "/imports");
  const bringIn = async () => {
    await page.locator("input[type=file]").setInputFiles({ name: "leads.csv", mimeType: "text/csv", buffer: Buffer.from("氏名,電話番号\n輸入 三郎,090-5555-2222\n") });
    await page.getByRole("button", { name: "ファイルを読む" }).click();
  };
  await bringIn();
  await page.locator("[data-start-import]").click();
  await page.getByText("完了").first().waitFor();
  await bringIn();
  await page.locator("[data-again]").click();
  await page.locator("[data-start-import]").waitFor();
  assert.equal((await ok(admin.get("/v1/imports"))).items.length, 2);
});

test("one slot is made by itself; a second one of the same time is refused in Japanese", async () => {
  await ok(admin.post("/v1/service-areas", { name: "東京南", postal_prefixes: ["142"] }));
  const page = await browser.page(boss, "/settings/slots");
  const make = async () => {
    await page.locator("[data-add]").click();
    await page.locator("input[name=slot-from]").fill("18:00");
    await page.locator("input[name=slot-to]").fill("20:00");
    await page.locator("[data-do=slot]").click();
  };
  await make();
  await page.locator("[data-slot]", { hasText: "18:00" }).waitFor();
  await make();
  await page.getByText("この地域には同じ時間の枠があります").waitFor();
  browser.check(["409"]);
});

test("bans are found by their customer", async () => {
  const [one, two] = await Promise.all(["禁止 一郎", "禁止 二郎"].map((display_name) => ok(admin.post("/v1/customers", { display_name }))));
  for (const customer of [one, two]) await ok(admin.post("/v1/solicitation-bans", { customer_id: customer.id, reason: `${customer.display_name}の申し出`, source: "REQUEST" }));
  const page = await browser.page(boss, "/compliance");
  await page.getByText("禁止 二郎の申し出").waitFor();
  await page.locator("input[name=customer]").fill("禁止 一郎");
  await page.locator(`[data-pick="${one.id}"]`).click();
  await page.getByText("禁止 二郎の申し出").waitFor({ state: "detached" });
  await page.getByText("禁止 一郎の申し出").waitFor();
});

// The page that says how safe the data is, with backups that are really made.
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { Enishi, eventually } from "../enishi.mjs";
import { Browser } from "./browser.mjs";

let server, admin, browser, page;

before(async () => {
  server = await Enishi.start({ env: { ENISHI_BACKUP: "" }, args: ["--drill-days", "0"] });
  admin = await server.administrator();
  browser = await Browser.start(server);
  await eventually("the first backup", async () => {
    const { body } = await admin.get("/v1/continuity");
    return body.repository?.last_backup_at && body.receiver.state === "streaming";
  }, 240_000);
  page = await browser.page({ login: "admin", password: server.password }, "/continuity");
});
after(async () => {
  await browser?.chromium.close();
  await server?.stop();
});
afterEach(() => browser.settle(page));

test("asynchronous receiving is shown as not RPO 0, with what that means, the window and a command for each emergency", async () => {
  const badge = page.locator("[data-rpo=not-zero]");
  await badge.waitFor();
  assert.match(await badge.textContent(), /RPO 0 ではありません/);
  await page.getByText("受信前の数ミリ秒分の書き込みが失われることがあります").waitFor();
  await page.getByText("復元できる範囲").waitFor();
  await page.getByText(`enishi restore --data ${server.data} --into ${server.data}/restored --promote`).first().waitFor();
  // A restore is never a button.
  assert.deepEqual((await page.locator("main button").allTextContents()).sort(), ["今すぐバックアップ", "今すぐ復元訓練", "目印を付ける"].sort());
});

test("a mark is set with the keyboard and a backup asked for; both are followed to their end", async () => {
  await page.getByLabel("目印の名前").fill("before-import");
  await page.keyboard.press("Enter");
  await page.getByRole("row", { name: /目印 before-import 完了/ }).waitFor({ timeout: 60_000 });
  await page.getByRole("button", { name: "今すぐバックアップ" }).click();
  await page.getByRole("row", { name: /バックアップ 完了/ }).waitFor({ timeout: 240_000 });
  // A name that a mark cannot have is refused in words, and stays to be mended.
  await page.getByLabel("目印の名前").fill("a b");
  await page.keyboard.press("Enter");
  await page.locator("[role=alert]").first().waitFor();
  assert.equal(await page.getByLabel("目印の名前").inputValue(), "a b");
  browser.check(["422"]);
});

test("synchronous receiving is shown as RPO 0 once commits wait, and the intervals in which they did not", async () => {
  await page.context().close();
  server.args = [...server.args, "--synchronous"];
  await server.restart();
  const shown = await browser.page({ login: "admin", password: server.password }, "/continuity");
  await shown.locator("[data-rpo=zero]").waitFor({ timeout: 60_000 });
  await shown.getByText("データベースのディスクを失っても失われません").waitFor();
  await shown.getByRole("row", { name: /RPO 0 でなかった時間/ }).waitFor();
});

// The page of the takeover, over tables as a takeover leaves them that has stopped in the middle.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, afterEach, before, test } from "node:test";
import { Client, Enishi } from "../enishi.mjs";
import { Browser } from "./browser.mjs";

const DIFF = "0190163d-8694-739b-aea5-966c26f8ad92";
const stopped = `
  insert into takeover_source (system, conninfo) values ('shop', 'host=/nowhere dbname=shop');
  insert into takeover_domain (domain, system, mapping, mapping_digest, phase, slot, publication, position, source_position, source_at, rows_estimate, copy_started_at, stop_code, stop_detail)
  values ('customer', 'shop', '{"reverse.sql": "…"}', '\\x00', 'STOPPED', 'enishi_shop_customer', 'enishi_shop_customer', '1/100', '1/1A8', now() - interval '3 seconds', 1000,
          now() - interval '10 seconds', 'COLUMN_MISSING', 'Table public.customers has no published column "memo" any more.');
  update domain_ownership set state = 'LEGACY', system = 'shop', epoch = 3 where domain = 'customer';
  insert into takeover_chunk (domain, era, number, done_at, rows) values ('customer', 1, 1, now(), 250), ('customer', 1, 2, null, null);
  insert into takeover_reject (system, domain, legacy_key, code, detail, errors, content)
  values ('shop', 'customer', '4711', 'DATE_INVALID', '«0000-00-00» is no date.', '[{"pointer": "/birth_date", "code": "DATE_INVALID", "detail": "no date"}]', '{"display_name": "写し 花子"}'),
         ('shop', 'customer', '4712', 'REQUIRED', 'display_name is missing.', '[]', '{}');
  insert into takeover_diff_run (id, domain, kind, state, records, differences, finished_at) values ('${DIFF}', 'customer', 'FULL', 'DIFFERENT', 250, 2, now());
  insert into takeover_difference (run_id, legacy_key, pointer, here, there) values ('${DIFF}', '1', '/kana', '"ア"', '"ァ"'), ('${DIFF}', '2', '/notes', 'null', '""');
  insert into takeover_move (id, domain, kind, step, epoch, state, actor, held_at, released_at, finished_at)
  values ('0190163d-8694-739b-aea5-966c26f8ad91', 'customer', 'SWITCH', 'DRAIN', 4, 'ABORTED', 'cli', now(), now() + interval '250 ms', now());`;

let server, browser, admin;

async function user(role) {
  const login = `${role}-${randomUUID().slice(0, 8)}`;
  const password = `sentence ${randomUUID()}`;
  const made = await admin.post("/v1/users", { login, display_name: login, roles: [role] });
  const link = await admin.post(`/v1/users/${made.body.id}/one-time-link`, {});
  const used = await new Client(server.origin).post("/v1/one-time-links/redemption", { token: link.body.token, password });
  assert.ok(used.status < 300, used.text);
  return { login, password };
}
before(async () => {
  server = await Enishi.start();
  admin = await server.administrator();
  server.sql(stopped);
  browser = await Browser.start(server);
});
after(async () => {
  await browser?.chromium.close();
  await server?.stop();
});
afterEach(() => browser.settle());

test("states, lag, progress, what stopped it and how long writes were held are on one page", async () => {
  const page = await browser.page(await user("supervisor"), "/takeover");
  const row = page.locator("[data-domain=customer]");
  await row.getByText("元のシステム").waitFor();
  await row.getByText("168 B").waitFor();
  await row.getByText("250 / 1,000").waitFor();
  assert.match(await row.getByRole("progressbar").getAttribute("aria-label"), /25/);
  await page.getByRole("alert").getByText("no published column").waitFor();
  await page.getByText("書き込みを 250 ms 待たせた").waitFor();
  assert.equal(await page.getByRole("button", { name: "切り替え… (s)" }).count(), 0, "only an administrator acts");
  assert.equal(await page.locator("[data-reject='4711']").getByRole("button").count(), 0);
  await page.locator("[data-domain=inquiry]").getByRole("button").click();
  await page.getByText("ほかのシステムにあったことがありません").waitFor();
});

test("a difference is shown field by field", async () => {
  const page = await browser.page(await user("supervisor"), "/takeover");
  await page.getByRole("button", { name: "違いを見る" }).click();
  const kana = page.locator("[data-difference='1/kana']");
  assert.equal(await kana.locator(".diff-here").innerText(), '"ア"');
  assert.equal(await kana.locator(".diff-there").innerText(), '"ァ"');
  const notes = page.locator("[data-difference='2/notes']");
  assert.deepEqual([await notes.locator(".diff-here").innerText(), await notes.locator(".diff-there").innerText()], ["∅", '""'], "NULL and '' look different");
});

test("by keyboard: the switch is a checklist whose button waits for every line; a reject is accepted with its reason", async () => {
  const page = await browser.page(await user("admin"), "/takeover");
  await page.locator("[data-reject='4711']").waitFor();
  await page.keyboard.press("s");
  const dialog = page.getByRole("dialog");
  await dialog.locator("[data-check=NO_REJECTS][data-ok=false]").waitFor();
  await dialog.locator("[data-check=STREAMING][data-ok=false]").waitFor();
  await dialog.locator("[data-check=LEGACY_OWNS][data-ok=true]").waitFor();
  assert.equal(await dialog.locator("[data-switch]").isDisabled(), true);
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });

  const reject = page.locator("[data-reject='4711']");
  await reject.getByText("記録の内容").click();
  await reject.getByText("写し 花子").waitFor();
  await reject.getByRole("button", { name: "取り込まずに進む" }).focus();
  await page.keyboard.press("Enter");
  await page.keyboard.type("2009年の試験の記録");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await reject.waitFor({ state: "detached" });
  assert.equal(server.sql("select state || ' ' || reason from takeover_reject where legacy_key = '4711'"), "ACCEPTED 2009年の試験の記録");
  await page.getByRole("button", { name: "取り込まない", exact: true }).click();
  await page.locator("[data-reject='4711']").getByRole("button", { name: "もう一度読む" }).click();
  await page.locator("[data-reject='4711']").waitFor({ state: "detached" });
  assert.equal(server.sql("select state from takeover_reject where legacy_key = '4711'"), "OPEN");
});

test("in English too, and its figures are in /metrics", async () => {
  const page = await browser.page(await user("compliance"), "/takeover");
  await page.getByRole("button", { name: "English" }).click();
  await page.getByText("Takeover of data").waitFor();
  await page.locator("[data-domain=customer]").getByText("Legacy system").waitFor();
  server.sql("select raise_alarm('customer', 'FOREIGN_CHANGE', '{}')");
  await page.locator("[data-alarm=FOREIGN_CHANGE]").getByText("Enishi owns the data").waitFor();
  const text = await (await fetch(`${server.origin}/metrics`)).text();
  assert.match(text, /enishi_takeover_lag_bytes\{domain="customer",system="shop"\} 168/);
  assert.match(text, /enishi_takeover_stopped\{domain="customer",system="shop"\} 1/);
  const operator = await user("operator");
  const other = await browser.page(operator, "/");
  assert.equal(await other.getByRole("link", { name: /移行|Takeover/ }).count(), 0, "operators have no such page");
});

test("a domain that can only be read says why, and an administrator finds the way out", async () => {
  server.sql("update domain_ownership set read_only = 'the source has seen epoch 9' where domain = 'customer'");
  const page = await browser.page({ login: "admin", password: server.password }, "/takeover");
  const warning = page.locator("[data-read-only]");
  await warning.getByText("epoch 9").waitFor();
  await warning.getByRole("button", { name: "ロックを解除する" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("shop に書き戻されている").waitFor();
  await dialog.getByRole("button", { name: "やめる" }).click();
  const reader = await browser.page(await user("supervisor"), "/takeover");
  await reader.locator("[data-read-only]").getByText("epoch 9").waitFor();
  assert.equal(await reader.locator("[data-read-only]").getByRole("button").count(), 0);
  server.sql("update domain_ownership set read_only = null where domain = 'customer'");
});

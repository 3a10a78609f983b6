// Leads from CSV against the real server: a CP932 file of 10,000 rows with known bad ones, and a kill -9 in the middle.
import test from "node:test";
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { Enishi, scratch } from "../enishi.mjs";

const ROWS = 10_000;

/** UTF-8 to CP932 by glibc. */
function cp932(text) {
  const file = join(scratch("csv"), "leads.csv");
  writeFileSync(file, text);
  return execFileSync("iconv", ["-f", "UTF-8", "-t", "CP932", file], { maxBuffer: 64 << 20 });
}

/** Of each 100 rows: 1 without a name, 1 without a phone that can be dialled, 1 of an unknown category, 1 that repeats the one before. */
function leads() {
  const lines = ["商材,電話番号,氏名,受付日時,備考"];
  for (let i = 0; i < ROWS; i++) {
    const kind = i % 100;
    const who = kind === 4 ? i - 1 : i;
    const category = kind === 2 ? "宇宙船" : "着物";
    const phone = kind === 1 ? "12" : `080-${String(1000 + Math.floor(who / 10000)).padStart(4, "0")}-${String(who % 10000).padStart(4, "0")}`;
    lines.push(`${category},${phone},${kind === 0 ? "" : `佐藤　太郎${who}`},2026/10/${String((who % 28) + 1).padStart(2, "0")} 13:05,"一行目\n二行目 ①"`);
  }
  return lines.join("\r\n") + "\r\n";
}

async function until(what, done, seconds = 60) {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; ) {
    const answer = await what();
    if (done(answer)) return answer;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`not within ${seconds} s`);
}

test("an import of 10,000 rows adds up, though the server is killed in the middle of it", async (t) => {
  const server = await Enishi.start();
  t.after(() => server.stop());
  let admin = await server.administrator();
  const source = await admin.post("/v1/media-sources", { code: "web", name: "ウェブ" });
  assert.equal(source.status, 201, source.text);
  const file = cp932(leads());
  const path = `/v1/imports?media_source_id=${source.body.id}&file_name=${encodeURIComponent("反響.csv")}`;

  const made = await admin.send("POST", path, file, { "content-type": "text/csv" });
  assert.equal(made.status, 201, made.text);
  assert.equal(made.body.encoding, "CP932");
  assert.equal(made.body.rows_in, ROWS);
  assert.deepEqual(made.body.suggested_mapping.map((m) => m.field), ["item_category", "phone", "display_name", "received_at", "notes"]);
  const same = await admin.send("POST", path, file, { "content-type": "text/csv" });
  assert.equal(same.status, 200);
  assert.equal(same.body.id, made.body.id);

  const one = `/v1/imports/${made.body.id}`;
  // It stands still in the middle until it is killed, however fast it is.
  server.sql("create function stand_still() returns trigger language plpgsql as $$ begin perform pg_sleep(60); return new; end $$; create trigger stand_still before insert on import_row for each row when (new.row_number = 5000) execute function stand_still()");
  const started = await admin.post(`${one}/start`, { mapping: made.body.suggested_mapping });
  assert.equal(started.status, 202, started.text);
  const half = await until(() => admin.get(one), (a) => a.body.rows_done >= 1000);
  assert.equal(half.body.state, "RUNNING", "it was killed too late to prove anything");
  await server.kill();
  await server.restart();
  server.sql("drop trigger stand_still on import_row");
  admin = await server.administrator();
  const after = await admin.get(one);
  assert.ok(after.body.rows_done >= half.body.rows_done, "acknowledged rows are gone");
  assert.equal(after.body.rows_done, after.body.created + after.body.updated + after.body.skipped + after.body.rejected);

  const done = await until(() => admin.get(one), (a) => a.body.state !== "RUNNING", 120);
  assert.deepEqual([done.body.state, done.body.created, done.body.updated, done.body.skipped, done.body.rejected], ["DONE", 9600, 0, 100, 300]);
  assert.equal(server.sql("select (select count(*) from import_row) || ' ' || (select count(*) from customer) || ' ' || (select count(*) from inquiry) || ' ' || (select count(*) from call_task)"), "10000 9600 9600 9600");
  assert.equal(server.sql(`select count(distinct row_id) from history where request_id = '${made.body.id}' and table_name = 'customer'`), "9600");

  const codes = {};
  const lines = new Set();
  let cursor = "";
  do {
    const page = await admin.get(`${one}/rejects?limit=200${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
    assert.equal(page.status, 200, page.text);
    for (const item of page.body.items) { codes[item.code] = (codes[item.code] ?? 0) + 1; lines.add(item.line); }
    cursor = page.body.next_cursor;
  } while (cursor);
  assert.deepEqual(codes, { NAME_MISSING: 100, PHONE_INVALID: 100, CATEGORY_UNKNOWN: 100 });
  assert.equal(lines.size, 300);
  assert.ok(lines.has(2) && lines.has(4) && lines.has(6), "rows have two lines each, behind the header");

  const download = await admin.get(`${one}/rejects.csv`);
  assert.equal(download.status, 200);
  const csv = download.text.replace(/^\ufeff/, "");
  assert.ok(csv.startsWith("商材,電話番号,氏名,受付日時,備考,行,エラー,理由\r\n"), csv.slice(0, 100));
  assert.equal(csv.split("\r\n").length, 302);

  // Brought in once more, everything that was stored is there already.
  const again = await admin.send("POST", `${path}&again=true`, file, { "content-type": "text/csv" });
  assert.equal(again.status, 201, again.text);
  assert.equal((await admin.post(`/v1/imports/${again.body.id}/start`, {})).status, 202);
  const twice = await until(() => admin.get(`/v1/imports/${again.body.id}`), (a) => a.body.state !== "RUNNING", 120);
  assert.deepEqual([twice.body.created, twice.body.updated, twice.body.skipped, twice.body.rejected], [0, 0, 9700, 300]);
});

test("a file over 20 MB and a body that is no file are refused", async (t) => {
  const server = await Enishi.start();
  t.after(() => server.stop());
  const admin = await server.administrator();
  const source = await admin.post("/v1/media-sources", { code: "web", name: "ウェブ" });
  const path = `/v1/imports?media_source_id=${source.body.id}`;
  const large = await admin.send("POST", path, Buffer.alloc(20 * 1024 * 1024 + 1, "a,b\n"), { "content-type": "text/csv" }).catch((e) => e);
  assert.ok(large.status === 413 || /fetch failed|ECONNRESET|EPIPE/.test(`${large.message} ${large.cause?.code}`), `${large.status} ${large.message}`);
  const most = await admin.send("POST", path, Buffer.alloc(20 * 1024 * 1024, "name,phone\n"), { "content-type": "text/csv" });
  assert.equal(most.status, 201, most.text);
  assert.equal((await admin.post(path, { a: 1 })).status, 415);
  assert.equal((await admin.send("POST", path, "", { "content-type": "text/csv" })).body.code, "FILE_EMPTY");
});

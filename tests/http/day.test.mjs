// A day of inside sales: a file of 10,000 leads as a media company sends it, 50 operators at once, few slots; and at the end every row,
// call, task and visit is accounted for against what the operators were told.
//
// The operators work until DAY_CALLS (3000) calls are finished, and no longer than DAY_SECONDS (90); what they do not reach stays in the queue
// and is counted there.
import test from "node:test";
import assert from "node:assert/strict";
import { Enishi, eventually } from "../enishi.mjs";
import { Company, random, pick } from "../business.mjs";

const rows = 10_000;
const operators = 50;
const seconds = Number(process.env.DAY_SECONDS ?? 90);
const calls = Number(process.env.DAY_CALLS ?? 3000);

/** What Windows calls code page 932, from the decoder's table turned around. */
const cp932 = (() => {
  const table = new Map();
  const decoder = new TextDecoder("shift_jis");
  for (let lead = 0x81; lead <= 0xfc; lead++) {
    if (lead > 0x9f && lead < 0xe0) continue;
    for (let trail = 0x40; trail <= 0xfc; trail++) {
      const text = decoder.decode(Uint8Array.of(lead, trail));
      if ([...text].length === 1 && text !== "\ufffd" && !table.has(text)) table.set(text, [lead, trail]);
    }
  }
  for (let half = 0xa1; half <= 0xdf; half++) table.set(decoder.decode(Uint8Array.of(half)), [half]);
  return (text) => Buffer.from([...text].flatMap((c) => {
    if (c.charCodeAt(0) < 0x80) return [c.charCodeAt(0)];
    const bytes = table.get(c);
    assert.ok(bytes, `code page 932 has no ${c}`);
    return bytes;
  }));
})();

/** The file, and what must become of each of its rows. */
function leads() {
  const dice = random(20_26);
  const surnames = ["山田", "佐藤", "髙橋", "﨑山", "斎藤", "渡辺", "小林", "加藤"], given = ["花子", "太郎", "一郎", "美咲", "健", "幸子", "さくら", "隆"];
  const wanted = { created: 0, updated: 0, skipped: 0, rejected: 0, codes: {} };
  const expect = (result, code) => {
    wanted[result]++;
    if (code) wanted.codes[code] = (wanted.codes[code] ?? 0) + 1;
  };
  const known = [], lines = ["管理番号,氏名,フリガナ,電話番号,郵便番号,住所,商材,備考,受付日時"];
  for (let i = 1; i <= rows; i++) {
    const ref = `L${String(i).padStart(6, "0")}`, name = `${pick(dice, surnames)} ${pick(dice, given)}${i}`;
    const row = { ref, name, kana: "ﾔﾏﾀﾞ ﾊﾅｺ", phone: `090-${String(10_000_000 + i).slice(0, 4)}-${String(10_000_000 + i).slice(4)}`, code: "150-0001", address: `東京都渋谷区神宮前${1 + (i % 6)}-${i}`,
      category: pick(dice, ["着物", "時計", ""]), notes: pick(dice, ["", "～夕方に電話を", "\"髙い\"と,聞いた", "改行の\nある備考"]), at: "2026/11/20 10:05" };
    const chance = dice();
    if (chance < 0.01 && known.length) { // the same lead again
      Object.assign(row, pick(dice, known));
      expect("skipped", "DUPLICATE_REF");
    } else if (chance < 0.03 && known.length) { // a customer we know, with another lead
      const { name, phone, address } = pick(dice, known);
      Object.assign(row, { name, phone, address });
      expect("updated");
    } else if (chance < 0.04) { row.phone = "12"; expect("rejected", "PHONE_INVALID");
    } else if (chance < 0.05) { row.name = ""; expect("rejected", "NAME_MISSING");
    } else if (chance < 0.06) { row.phone = ""; expect("rejected", "PHONE_MISSING");
    } else if (chance < 0.065) { row.category = "宇宙船"; expect("rejected", "CATEGORY_UNKNOWN");
    } else if (chance < 0.085 && known.length) { // somebody of the same household: one phone, another person
      Object.assign(row, { phone: pick(dice, known).phone });
      expect("created");
    } else { expect("created"); known.push({ ...row }); }
    const cell = (text) => /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    lines.push([row.ref, row.name, row.kana, row.phone, row.code, row.address, row.category, row.notes, row.at].map(cell).join(","));
  }
  return { bytes: cp932(lines.join("\r\n") + "\r\n"), wanted };
}

test(`${rows} leads from a file, ${operators} operators, every row accounted for`, { timeout: 400_000 }, async (t) => {
  const server = await Enishi.start();
  t.after(() => server.stop());
  const admin = await server.administrator();
  const company = await Company.open(server, admin, { operators, slots: 12, capacity: 4, appraisers: 5, seed: 7 });

  // The file.
  const { bytes, wanted } = leads();
  const marketing = await server.user(admin, "marketing");
  const brought = await marketing.send("POST", `/v1/imports?file_name=leads.csv&media_source_id=${company.source.id}`, new Uint8Array(bytes), { "content-type": "text/csv" });
  assert.equal(brought.status, 201, brought.text);
  assert.equal(brought.body.encoding, "CP932", brought.text);
  // A bought list: nobody in it asked, so nothing lifts a ban.
  const started = await marketing.post(`/v1/imports/${brought.body.id}/start`, { customer_initiated: false });
  assert.equal(started.status, 202, started.text);
  const began = Date.now();
  const job = await eventually("the import is done", async () => {
    const answer = await marketing.get(`/v1/imports/${brought.body.id}`);
    assert.equal(answer.status, 200, answer.text);
    assert.notEqual(answer.body.state, "FAILED", answer.text);
    return answer.body.state === "DONE" ? answer.body : undefined;
  }, 120_000);
  t.diagnostic(`import: ${rows} rows in ${((Date.now() - began) / 1000).toFixed(1)} s`);
  const { rows_in, created, updated, skipped, rejected } = job;
  const { codes, ...counts } = wanted;
  assert.deepEqual({ rows_in, created, updated, skipped, rejected }, { rows_in: rows, ...counts });
  assert.deepEqual(Object.fromEntries(company.rows(`select code, count(*) as n from import_row where code is not null group by 1`).map((r) => [r.code, r.n])), codes);
  assert.equal(server.sql("select count(*) from customer"), String(created));
  assert.equal(server.sql("select count(*) from inquiry"), String(created + updated));
  assert.equal(server.sql("select count(*) from inquiry i where (select count(*) from call_task t where t.inquiry_id = i.id) = 1"), String(created + updated));
  const rejects = [];
  for (let cursor = ""; cursor !== null;) {
    const page = await marketing.get(`/v1/imports/${job.id}/rejects?limit=200${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
    assert.equal(page.status, 200, page.text);
    rejects.push(...page.body.items);
    cursor = page.body.next_cursor;
  }
  assert.equal(rejects.length, rejected);
  const table = await marketing.get(`/v1/imports/${job.id}/rejects.csv`);
  assert.equal(table.status, 200);
  const again = await marketing.send("POST", `/v1/imports?file_name=leads.csv&media_source_id=${company.source.id}`, new Uint8Array(bytes), { "content-type": "text/csv" });
  assert.deepEqual([again.status, again.body.id], [200, job.id], "the same file again is the same import");
  assert.match(server.sql("select notes from inquiry where notes like '%髙い%' limit 1"), /^"髙い"と,聞いた$/);
  assert.deepEqual(company.audit(), [], "after the import");

  // The day.
  const morning = Date.now(), until = morning + seconds * 1000;
  let idle = 0;
  await Promise.all(company.operators.map(async (operator, n) => {
    const dice = random(1000 + n);
    while (Date.now() < until && company.told.finished.size < calls) if (!await company.work(operator, dice)) { idle++; break; }
  }));
  const done = company.counts;
  const worked = Math.round((Date.now() - morning) / 1000);
  t.diagnostic(`${worked} s: ${JSON.stringify(done)}; ${idle} operators found the queue empty`);

  // The evening: everything the database has is what the operators were told, and the other way round.
  const wrong = company.audit();
  assert.deepEqual(wrong, [], wrong.join("\n"));
  const told = { calls: company.told.calls.size, finished: company.told.finished.size, bans: company.told.bans.size };
  const of = (outcome) => [...company.told.finished.values()].filter((f) => f.outcome === outcome).length;
  const number = (text) => Number(server.sql(text));
  assert.equal(number("select count(*) from call_attempt"), told.calls);
  assert.equal(number("select count(*) from call_attempt where ended_at is not null"), told.finished);
  assert.equal(told.calls, told.finished, "every call that was started was finished");
  assert.deepEqual(company.rows("select outcome, count(*)::integer as n from call_attempt group by 1 order by 1"),
    [...new Set([...company.told.finished.values()].map((f) => f.outcome))].sort().map((outcome) => ({ outcome, n: of(outcome) })));
  assert.equal(number("select count(*) from solicitation_ban"), told.bans);
  assert.equal(told.bans, of("REFUSED"));
  assert.equal(number("select count(*) from appointment where state = 'BOOKED'") + number("select count(*) from appointment p join inquiry i on i.id = p.inquiry_id where p.state = 'CANCELLED' and p.cancelled_by <> 'SYSTEM' and i.stage = 'LOST'"), of("APPOINTED"));
  assert.ok(number("select count(*) from appointment where state in ('HELD', 'BOOKED')") <= 12 * 4, "more visits than places");
  assert.equal(number("select count(*) from inquiry where stage = 'INVALID'"), [...company.told.finished.values()].filter((f) => f.invalid).length);
  // One first call a lead; each reschedule made one more, each booking one for the day before; nothing else makes tasks.
  const tasks = number("select count(*) from call_task"), first = created + updated;
  assert.equal(tasks, first + number("select count(*) from call_task where state = 'RESCHEDULED'") + number("select count(*) from call_task t where t.kind = 'PRE_VISIT' and t.previous_task_id is null"));
  assert.equal(number("select count(*) from call_task where state in ('DONE', 'RESCHEDULED')"), told.finished);
  assert.equal(number("select coalesce(sum(attempts), 0) from call_task"), told.finished);
  assert.equal(number("select count(*) from call_task where state in ('ASSIGNED', 'IN_CALL', 'WRAP_UP')"), 0, "somebody still holds a task");
  const ended = number("select count(*) from inquiry where stage in ('LOST', 'INVALID')"), appointed = number("select count(*) from inquiry where stage = 'APPOINTED'"), going = number("select count(*) from inquiry where stage in ('NEW', 'IN_PROGRESS', 'NURTURING')");
  assert.equal(ended + appointed + going, first);

  assert.ok(number("select count(*) from call_task where state = 'BLOCKED'") > 0, "no refusal ever blocked a household's other task");
  assert.ok(told.finished > 500, `only ${told.finished} calls in ${worked} s`);
  for (const what of ["APPOINTED", "REFUSED", "CALLBACK", "SLOT_FULL", "APPRAISER_BOOKED", "illegal moves"]) assert.ok(done[what] > 0, `nothing of ${what} happened: ${JSON.stringify(done)}`);
  assert.deepEqual(server.errors, []);
});

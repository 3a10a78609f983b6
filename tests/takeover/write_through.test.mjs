// Edits of customers that a legacy system owns, through the API as a page or a program sends them: the sample company's kokyaku is the owner, Enishi
// writes through to it. What a user is told must be true on both sides, also when the source says no, is away, or Enishi is killed in the middle.
import test from "node:test";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { binary, Enishi, eventually, newId, root } from "../enishi.mjs";
import { Company, differences, runOwnerSql, takeover } from "./sources.mjs";

const folder = "samples/legacy/kokyaku/customer";
const company = await Company.start({ customers: 60 });
const server = await Enishi.start();
test.after(async () => { await server.stop(); await company.stop(); });

const there = (text) => company.sql("kokyaku", text);
const key = (answer) => server.sql(`select legacy_key from legacy_identity where domain = 'customer' and id = '${answer.body.id}'`);
const history = (id) => server.sql(`select string_agg(actor || ':' || op, ' ' order by id) from history where row_id = '${id}'`);
let admin, operator;

async function same(what) {
  const where = { database: "kokyaku", folder, table: "m_kokyaku", key: "kokyaku_no", domain: "customer" };
  await eventually(`${what}: both sides equal`, () => {
    const { found } = differences(company, server, where);
    assert.deepEqual(found, []);
    return true;
  }, 60_000);
}
/** A customer of kokyaku's, as the API gives it. */
async function customer(no) {
  const id = server.sql(`select id from legacy_identity where domain = 'customer' and system = 'kokyaku' and legacy_key = '${no}'`);
  const answer = await operator.get(`/v1/customers/${id}`);
  assert.equal(answer.status, 200, answer.text);
  return answer;
}
const living = (n) => there(`select k.kokyaku_no from m_kokyaku k where k.del_flg = '0' and exists (select from t_tel t where t.kokyaku_no = k.kokyaku_no)
  and exists (select from t_jusho j where j.kokyaku_no = k.kokyaku_no and j.del_flg = '0') order by 1 limit 1 offset ${n}`);
const path = (answer) => `/v1/customers/${answer.body.id}`;

test("kokyaku's customers are mirrored", async () => {
  admin = await server.administrator();
  operator = await server.user(admin, "operator");
  const planned = takeover(server, ["plan", "--mapping", join(root, folder)], { source: company.target("kokyaku") });
  runOwnerSql(company, "kokyaku", planned.out);
  there(readFileSync(join(root, folder, "grants.sql"), "utf8"));
  const begun = takeover(server, ["start", "--mapping", join(root, folder)], { source: company.target("kokyaku") });
  assert.equal(begun.status, 0, begun.err);
  await eventually("the stream", () => server.sql("select phase from takeover_domain where domain = 'customer'") === "STREAMING", 60_000);
  await same("the copy");
});

test("an edit stands at the source and in the next read, under the name of whoever made it", async () => {
  const no = living(0), before = await customer(no);
  const changed = await operator.patch(path(before), { display_name: "青空 花子", notes: "夕方に電話", flags: ["VIP", "ELDERLY"] }, before.body.version);
  assert.equal(changed.status, 200, changed.text);
  assert.equal(there(`select shimei || biko || kokyaku_kbn from m_kokyaku where kokyaku_no = ${no}`), "青空 花子夕方に電話2");
  const after = await operator.get(path(before));
  assert.deepEqual([after.body.display_name, after.body.notes, after.body.version], ["青空 花子", "夕方に電話", changed.body.version]);
  assert.equal(after.headers.get("etag"), changed.headers.get("etag"));
  assert.match(history(before.body.id), new RegExp(`user:${operator.id}:UPDATE$`));
  const told = await admin.get(`/v1/history?row_id=${before.body.id}`);
  assert.equal(told.body.items[0].actor, `user:${operator.id}`, told.text);
  await same("an edit");
});

test("phones, addresses and emails are written, keep their ids, and know their rows at the source", async () => {
  const no = living(1), before = await customer(no);
  const phone = newId();
  const made = await operator.post(`${path(before)}/phones`, { id: phone, raw: "090-8765-4321", note: "娘" });
  assert.equal(made.status, 201, made.text);
  assert.equal(made.body.items[0].id, phone);
  assert.equal(there(`select tel_no || biko from t_tel where kokyaku_no = ${no} order by tel_id desc limit 1`), "090-8765-4321娘");
  const noted = await operator.patch(`/v1/customer-phones/${phone}`, { note: "息子" }, made.body.items[0].version);
  assert.equal(noted.status, 200, noted.text);
  assert.equal(there(`select count(*) || max(biko) from t_tel where kokyaku_no = ${no} and tel_no = '090-8765-4321'`), "1息子");

  const address = await operator.post(`${path(before)}/addresses`, { postal_code: "530-0001", prefecture: "大阪府", city: "大阪市北区", town: "梅田", street: "1-2-3" });
  assert.equal(address.status, 201, address.text);
  const moved = await operator.patch(`/v1/customer-addresses/${address.body.id}`, { building: "301号室" }, address.body.version);
  assert.equal(moved.status, 200, moved.text);
  assert.equal(there(`select jusho1 || jusho2 || jusho3 from t_jusho where kokyaku_no = ${no} and del_flg = '0' order by eda_no desc limit 1`), "大阪府大阪市北区梅田1-2-3301号室");
  const mail = await operator.post(`${path(before)}/emails`, { email: "hanako@example.jp" });
  assert.equal(mail.status, 201, mail.text);
  assert.match(there(`select email from m_kokyaku where kokyaku_no = ${no}`), /hanako@example\.jp/);

  const gone = await operator.delete(`/v1/customer-phones/${phone}`, { "if-match": noted.headers.get("etag") });
  assert.equal(gone.status, 200, gone.text);
  assert.equal(there(`select count(*) from t_tel where kokyaku_no = ${no} and tel_no = '090-8765-4321'`), "0");
  const after = await operator.get(path(before));
  assert.deepEqual(after.body.addresses.map((a) => a.id).at(-1), address.body.id);
  assert.deepEqual(after.body.emails.map((e) => e.id).at(-1), mail.body.id);
  assert.ok(!after.body.phones.some((p) => p.id === phone));
  await same("children");
});

test("a new customer is the source's too and keeps its id", async () => {
  const id = newId();
  const made = await operator.post("/v1/customers", { id, display_name: "新規 太郎", phones: [{ raw: "080-1234-0000" }], addresses: [{ postal_code: "150-0001", prefecture: "東京都", city: "渋谷区", town: "神宮前", street: "1-1" }] });
  assert.equal(made.status, 201, made.text);
  assert.equal(made.body.id, id);
  const no = key(made);
  assert.equal(there(`select shimei || tel_su || jusho_su from m_kokyaku where kokyaku_no = ${no}`), "新規 太郎11");
  const read = await operator.get(path(made));
  assert.equal(read.body.phones[0].id, made.body.phones[0].id);
  const hidden = await admin.delete(path(made), { "if-match": read.headers.get("etag") });
  assert.equal(hidden.status, 200, hidden.text);
  assert.equal(there(`select del_flg from m_kokyaku where kokyaku_no = ${no}`), "1");
  assert.equal((await operator.get(path(made))).status, 404);
  await same("a new customer");
});

test("If-Match, fields and rights are as for one's own customers", async () => {
  const before = await customer(living(2));
  assert.equal((await operator.patch(path(before), { notes: "x" })).body.code, "IF_MATCH_REQUIRED");
  assert.equal((await operator.patch(path(before), { notes: "x" }, before.body.version + 7)).body.code, "VERSION_MISMATCH");
  const wrong = await operator.patch(path(before), { display_name: " ", birth_date: "13月" }, before.body.version);
  assert.equal(wrong.body.code, "VALIDATION_FAILED");
  assert.equal(wrong.body.errors.length, 2);
  const appraiser = await server.user(admin, "appraiser");
  assert.equal((await appraiser.patch(path(before), { notes: "x" }, before.body.version)).status, 403);
  const custom = await operator.patch(path(before), { custom: { nothing: 1 } }, before.body.version);
  assert.equal(custom.status, 422, custom.text);
});

test("who looks after a customer is Enishi's own: it is stored without the source", async () => {
  const before = await customer(living(2));
  const updated = there(`select koshin_ts from m_kokyaku where kokyaku_no = ${key(before)}`);
  const taken = await operator.patch(path(before), { owner_id: operator.id }, before.body.version);
  assert.equal(taken.status, 200, taken.text);
  assert.equal((await operator.get(path(before))).body.owner_id, operator.id);
  assert.equal(there(`select koshin_ts from m_kokyaku where kokyaku_no = ${key(before)}`), updated);
  // An edit of what is the source's leaves it alone.
  const noted = await operator.patch(path(before), { notes: "担当あり" }, taken.body.version);
  assert.equal(noted.body.owner_id, operator.id, noted.text);
});

test("what somebody changed at the source meanwhile is a 412 with the version to look at", async () => {
  const no = living(3), before = await customer(no);
  there(`update m_kokyaku set biko = '店頭で変更' where kokyaku_no = ${no}`);
  const clash = await operator.patch(path(before), { notes: "こちらの変更" }, before.body.version);
  assert.equal(clash.status, 412, clash.text);
  assert.equal(clash.body.code, "VERSION_MISMATCH");
  assert.equal(there(`select biko from m_kokyaku where kokyaku_no = ${no}`), "店頭で変更");
  const now = await customer(no);
  assert.equal(now.body.notes, "店頭で変更", "the answer was of what is here already");
  assert.equal(now.body.version, clash.body.current_version);
  assert.equal((await operator.patch(path(before), { notes: "こちらの変更" }, now.body.version)).status, 200);
  assert.equal(there(`select biko from m_kokyaku where kokyaku_no = ${no}`), "こちらの変更");
});

test("a record that is locked at the source is told as busy", async () => {
  const no = living(4), before = await customer(no);
  const locked = company.target("kokyaku", "legacy_owner");
  const { spawn } = await import("node:child_process");
  const holder = spawn("psql", ["-X", "-q", "-A", "-t", "-d", locked], { stdio: ["pipe", "pipe", "inherit"] });
  const held = new Promise((resolve) => holder.stdout.once("data", resolve));
  holder.stdin.write(`begin; select kokyaku_no from m_kokyaku where kokyaku_no = ${no} for update;\n`);
  await held;
  const answer = await operator.patch(path(before), { notes: "x" }, before.body.version);
  assert.equal(answer.status, 503, answer.text);
  assert.equal(answer.body.code, "LEGACY_BUSY");
  assert.ok(Number(answer.headers.get("retry-after")) >= 1);
  holder.stdin.end("rollback;\n");
  await new Promise((resolve) => holder.on("exit", resolve));
  assert.equal((await operator.patch(path(before), { notes: "x" }, before.body.version)).status, 200);
});

test("what the source's tables and triggers say is the answer; what they make of it is what is stored", async () => {
  const no = living(5), before = await customer(no);
  const long = await operator.patch(path(before), { display_name: "長".repeat(61) }, before.body.version);
  assert.equal(long.body.code, "LEGACY_REFUSED", long.text);
  assert.equal(long.status, 422);
  there(`create function wt() returns trigger language plpgsql as $$ begin
    if new.biko = '禁止' then raise exception '備考に使えない言葉です'; end if;
    if new.biko like '整形%' then new.biko := upper(new.biko) || '!'; end if;
    if new.kokyaku_no = ${no} then new.shimei_kana := old.shimei_kana; end if; return new; end $$;
    create trigger wt before update on m_kokyaku for each row execute function wt()`);
  const refused = await operator.patch(path(before), { notes: "禁止" }, before.body.version);
  assert.equal(refused.body.code, "LEGACY_REFUSED", refused.text);
  assert.match(refused.body.detail, /備考に使えない言葉です/);
  const kept = await operator.patch(path(before), { kana: "ベツノカナ", notes: "y" }, before.body.version);
  assert.equal(kept.body.code, "LEGACY_NOT_WRITABLE", kept.text);
  assert.deepEqual(kept.body.errors.map((e) => e.pointer), ["/kana"]);
  const shaped = await operator.patch(path(before), { notes: "整形abc" }, before.body.version);
  assert.equal(shaped.status, 200, shaped.text);
  assert.equal(shaped.body.notes, "整形ABC!");
  assert.equal(shaped.headers.get("legacy-changed"), "/notes");
  const read = await operator.get(path(before));
  assert.deepEqual([read.body.notes, read.headers.get("etag")], ["整形ABC!", shaped.headers.get("etag")]);
  assert.match(history(before.body.id), new RegExp(`user:${operator.id}:UPDATE legacy:kokyaku:UPDATE$`));
  there("drop trigger wt on m_kokyaku; drop function wt()");
  await same("triggers");
});

test("the same Idempotency-Key is applied once, also when the first answer was lost", async () => {
  const before = await customer(living(6)), once = { "idempotency-key": randomUUID() };
  const first = await operator.post(`${path(before)}/phones`, { raw: "090-1111-2222" }, once);
  assert.equal(first.status, 201, first.text);
  const second = await operator.post(`${path(before)}/phones`, { raw: "090-1111-2222" }, once);
  assert.equal(second.headers.get("idempotency-replayed"), "true");
  assert.deepEqual(second.body, first.body);
  assert.equal(there(`select count(*) from t_tel where kokyaku_no = ${key(before)} and tel_no = '090-1111-2222'`), "1");
  assert.equal((await operator.post(`${path(before)}/phones`, { raw: "090-3333-4444" }, once)).body.code, "IDEMPOTENCY_KEY_REUSED");
  // Several at the same time: one does it, the others are told so or get its answer.
  const all = { "idempotency-key": randomUUID() };
  const answers = await Promise.all([1, 2, 3, 4].map(() => operator.post(`${path(before)}/phones`, { raw: "090-5555-6666" }, all)));
  for (const answer of answers) assert.ok(answer.status === 201 || answer.body.code === "IDEMPOTENCY_KEY_IN_USE", answer.text);
  assert.ok(answers.some((answer) => answer.status === 201));
  assert.equal(there(`select count(*) from t_tel where kokyaku_no = ${key(before)} and tel_no = '090-5555-6666'`), "1");
});

test("edits of one customer by many at once: each that was acknowledged is there, none twice", async () => {
  const before = await customer(living(7)), no = key(before);
  const numbers = Array.from({ length: 12 }, (_, n) => `090-7000-${1000 + n}`);
  const answers = await Promise.all(numbers.map((raw) => operator.post(`${path(before)}/phones`, { raw })));
  const taken = numbers.filter((_, n) => answers[n].status === 201).sort();
  for (const answer of answers) assert.ok([201, 503].includes(answer.status), answer.text);
  assert.ok(taken.length > 0);
  assert.deepEqual(there(`select tel_no from t_tel where kokyaku_no = ${no} and tel_no like '090-7000-%' order by 1`).split("\n"), taken);
  await same("many at once");
});

test("a mapping without the right to write is told as read-only; other domains keep their own answers", async () => {
  const before = await customer(living(8));
  there("revoke update on m_kokyaku from enishi");
  const answer = await operator.patch(path(before), { notes: "x" }, before.body.version);
  assert.equal(answer.body.code, "LEGACY_READ_ONLY", answer.text);
  assert.equal(answer.status, 409);
  there("grant update on m_kokyaku to enishi");
  assert.equal((await operator.patch(path(before), { notes: "x" }, before.body.version)).status, 200);
});

test("an inquiry's notes and items go to 受付; what makes a call with it stays refused, and says why", async () => {
  const inquiries = "samples/legacy/uketsuke/inquiry";
  server.sql(readFileSync(join(root, "samples/legacy/media_sources.sql"), "utf8"));
  const planned = takeover(server, ["plan", "--mapping", join(root, inquiries)], { source: company.target("uketsuke") });
  runOwnerSql(company, "uketsuke", planned.out);
  company.sql("uketsuke", readFileSync(join(root, inquiries, "grants.sql"), "utf8"));
  const begun = takeover(server, ["start", "--mapping", join(root, inquiries)], { source: company.target("uketsuke") });
  assert.equal(begun.status, 0, begun.err);
  await eventually("the stream of inquiries", () => server.sql("select phase from takeover_domain where domain = 'inquiry'") === "STREAMING", 60_000);
  const [no, id] = server.sql(`select i.legacy_key || ' ' || i.id from legacy_identity i join inquiry q on q.id = i.id and q.stage = 'IN_PROGRESS' and q.deleted_at is null
    where i.domain = 'inquiry' order by q.received_at desc limit 1`).split(" ");
  const before = await admin.get(`/v1/inquiries/${id}`);
  assert.equal(before.status, 200, before.text);
  const noted = await admin.patch(`/v1/inquiries/${id}`, { notes: "着物は三十枚" }, undefined, { "if-match": before.headers.get("etag") });
  assert.equal(noted.status, 200, noted.text);
  assert.equal(company.sql("uketsuke", `select memo from t_hankyo where hankyo_no = ${no}`), "着物は三十枚");
  assert.match((await admin.get(`/v1/inquiries/${id}`)).text, /着物は三十枚/);
  const one = await customer(living(0));
  const made = await admin.post("/v1/inquiries", { customer_id: one.body.id, media_source_id: server.sql("select id from media_source where code = 'web'"), channel: "WEB" });
  assert.equal(made.status, 409, made.text);
  assert.equal(made.body.code, "LEGACY_OWNED");
  assert.match(made.body.detail, /uketsuke.*call_task/);
});

for (const [at, stands] of [["write.1", false], ["write.2", false], ["write.3", true], ["write.4", true]])
  test(`kill -9 at ${at}: after the restart it ${stands ? "stands, once, under its writer's name" : "never happened"}, and the same request gives its answer`, async () => {
    const before = await customer(living(9)), no = key(before);
    const raw = `090-9000-${at.at(-1)}000`, once = { "idempotency-key": randomUUID() };
    server.env = { TAKEOVER_FAULT: `${at}:kill` };
    await server.restart();
    server.env = {};
    operator.origin = admin.origin = server.origin;
    await eventually("the mirror", () => server.sql("select seen_at > now() - interval '3 seconds' from takeover_domain where domain = 'customer'") === "t", 60_000);
    await assert.rejects(operator.post(`${path(before)}/phones`, { raw }, once), "the answer never came");
    assert.equal((await server.exited).signal, "SIGKILL");
    await server.restart();
    operator.origin = admin.origin = server.origin;
    const count = () => there(`select count(*) from t_tel where kokyaku_no = ${no} and tel_no = '${raw}'`);
    assert.equal(count(), stands ? "1" : "0");
    await eventually("nothing is left open", () => server.sql("select count(*) from takeover_intent where state = 'PENDING'") === "0", 60_000);
    await same(at);
    const again = await operator.post(`${path(before)}/phones`, { raw }, once);
    assert.equal(again.status, 201, again.text);
    assert.equal(again.headers.get("idempotency-replayed"), stands ? "true" : null);
    assert.equal(count(), "1");
    const read = await operator.get(path(before));
    assert.equal(read.body.phones.filter((p) => p.raw === raw).length, 1);
    assert.equal(read.body.phones.find((p) => p.raw === raw).id, again.body.items[0].id);
    assert.match(history(again.body.items[0].id), new RegExp(`^user:${operator.id}:INSERT`));
    await same(`${at}, again`);
  });

test("a source that stopped: 503 with Retry-After, nothing lost, nothing doubled", async () => {
  const no = living(10), before = await customer(no), once = { "idempotency-key": randomUUID() };
  assert.equal(await company.stop(), 0);
  const answer = await operator.patch(path(before), { notes: "止まっている間" }, before.body.version, once);
  assert.equal(answer.status, 503, answer.text);
  assert.equal(answer.body.code, "LEGACY_UNAVAILABLE");
  assert.ok(Number(answer.headers.get("retry-after")) >= 1);
  assert.equal((await operator.get(path(before))).body.notes, before.body.notes, "reads go on, and show what stands");
  await company.restart();
  await eventually("the same request, once it is back", async () => (await operator.patch(path(before), { notes: "止まっている間" }, before.body.version, once)).status === 200, 60_000);
  assert.equal(there(`select biko from m_kokyaku where kokyaku_no = ${no}`), "止まっている間");
  await same("an outage");
});

test("after the switch the rows that edits made at the source are known again", async () => {
  const before = await customer(living(11)), phone = newId();
  const made = await operator.post(`${path(before)}/phones`, { id: phone, raw: "090-2468-1357" });
  assert.equal(made.status, 201, made.text);
  const row = () => there(`select tel_id || ' ' || coalesce(biko, '') from t_tel where tel_no = '090-2468-1357'`);
  const [id] = row().split(" ");
  there(execFileSync(binary, ["takeover", "fence", "--mapping", join(root, folder), "--login", "enishi"], { encoding: "utf8" }));
  server.sql("update takeover_reject set state = 'ACCEPTED', reason = 'a test' where state = 'OPEN'");
  for (const verb of ["diff", "switch"])
    await eventually(verb, () => {
      const done = takeover(server, [verb, "--domain", "customer"]);
      if (done.status !== 0) throw new Error(done.out + done.err);
      return true;
    }, 60_000);
  const noted = await operator.patch(`/v1/customer-phones/${phone}`, { note: "切替後" }, made.body.items[0].version);
  assert.equal(noted.status, 200, noted.text);
  await eventually("the reverse stream", () => row() === `${id} 切替後`, 60_000);
});

// What a source does to its reader, while people write in both systems: the connection is cut, half closed, slow or silent; it fails over and
// the slot is gone; its columns change under the mapping; its disk fills; a transaction or a row is very large. And what its reader does to
// itself: a mapping with a wrong join, a coordinator that sleeps, a move that is called off. TAKEOVER_LONG=1 takes the whole sizes and times.
import test from "node:test";
import assert from "node:assert/strict";
import { spawn, execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { binary, eventually, scratch } from "../enishi.mjs";
import { random } from "../business.mjs";
import { Pair, Proxy, crashPostgres, rest } from "../takeover/pair.mjs";

const long = process.env.TAKEOVER_LONG === "1";
const pair = await Pair.start();
const { company, server } = pair;
const proxy = await Proxy.start(join(company.data, "socket/.s.PGSQL.5432"));
test.after(async () => { await pair.stop(); proxy.stop(); });

let broken = false;
function part(name, body, options = {}) {
  test(name, options, async (t) => {
    if (broken) return t.skip("something before it failed");
    broken = true;
    try { await body(t); } catch (failed) {
      failed.message += `\nThe mirror is ${pair.mirrorSays()}. The server's last words:\n${server.log.slice(-12).join("\n")}`;
      throw failed;
    }
    broken = false;
  });
}
const era = () => Number(server.sql("select era from takeover_domain where domain = 'customer'"));
const position = () => server.sql("select position from takeover_domain where domain = 'customer'");
const name = (key) => server.sql(`select display_name from customer where id = (select id from legacy_identity where domain = 'customer' and legacy_key = '${key}')`);
const alarms = () => server.sql("select string_agg(kind, ' ' order by kind) from takeover_alarm where domain = 'customer' and acknowledged_at is null");
const source = () => company.target("kokyaku");

part("the sample company's customers are mirrored over a connection that can be cut", async () => {
  await pair.mirror(proxy.target("kokyaku"));
});

// The connection ----------------------------------------------------------------------------------------------------------

part("a connection that is cut, in the middle of a message too, half closed or slow loses nothing", async (t) => {
  pair.work({ rate: 30, traffic: 30 });
  const dice = random(1), was = era();
  for (let n = 0; n < (long ? 60 : 6); n++) {
    const before = position();
    if (n % 3 === 0) proxy.cut();
    if (n % 3 === 1) proxy.cutAfter = Math.floor(dice() * 3000);
    if (n % 3 === 2) proxy.half();
    proxy.delay = n % 2 ? 0 : 120;
    await eventually("the stream goes on", () => position() !== before, 60_000);
  }
  proxy.refuse = true;
  proxy.cut();
  await rest(500);
  proxy.refuse = false;
  proxy.delay = 0;
  const last = position();
  await eventually("the stream goes on", () => position() !== last, 60_000);
  await pair.rest();
  t.diagnostic(JSON.stringify(await pair.accounts("a bad connection")));
  assert.equal(era(), was, "nothing had to be looked at again");
});

part("a connection that says nothing any more is given up", async () => {
  proxy.hole = true;
  company.sql("kokyaku", "update m_kokyaku set shimei = '沈黙' where kokyaku_no = -1");
  const said = server.log.length;
  await eventually("it is noticed", () => server.log.slice(said).some((line) => /takeover waits/.test(line)), 120_000);
  proxy.hole = false;
  proxy.cut();
  await eventually("the change arrives", () => name("-1") === "沈黙", 60_000);
}, { skip: !long && "takes half a minute; TAKEOVER_LONG=1" });

// The slot ----------------------------------------------------------------------------------------------------------------

part("a slot that is gone is said, and every key is looked at again", async () => {
  const was = era();
  pair.work();
  const said = server.log.length;
  proxy.refuse = true; // it cannot see what happens meanwhile
  proxy.cut();
  company.sql("kokyaku", "update m_kokyaku set shimei = '見えない変更' where kokyaku_no = -2; delete from t_tel where kokyaku_no = -3; delete from m_kokyaku where kokyaku_no = -3");
  pair.loseSlot();
  proxy.refuse = false;
  await eventually("a new era", () => era() === was + 1 && pair.mirrorSays() === "STREAMING", 60_000);
  assert.ok(server.log.slice(said).some((line) => /SLOT_MISSING/.test(line) && /every key is looked at again/.test(line)), "it was not said");
  assert.match(alarms(), /SLOT_LOST/);
  await pair.rest();
  assert.equal(name("-2"), "見えない変更");
  assert.equal(server.sql("select deleted from legacy_identity where domain = 'customer' and legacy_key = '-3'"), "t");
  company.sql("kokyaku", "insert into m_kokyaku (kokyaku_no, shimei) values (-3, '帳簿 3')");
  await eventually("it is there again", () => name("-3") === "帳簿 3", 60_000);
  // What was written to it went with it, as far as it was written before: there to -3, here to the customer of that key.
  const gone = pair.own.indexOf(server.sql("select id from legacy_identity where domain = 'customer' and legacy_key = '-3'"));
  assert.ok(gone >= 0, "the key has another id now");
  for (const [note] of pair.writes) if ([2, gone].includes(Number(note.slice(1)) % 20)) pair.writes.delete(note);
  await pair.accounts("a lost slot");
});

part("while nobody reads it, a slot keeps no more WAL than the source's bound; afterwards all keys are looked at again", async (t) => {
  const was = era();
  company.sql("postgres", "alter system set max_slot_wal_keep_size = '32MB'", "postgres");
  company.sql("postgres", "alter system set max_wal_size = '48MB'", "postgres");
  company.sql("postgres", "select pg_reload_conf()", "postgres");
  proxy.refuse = true;
  proxy.cut();
  company.sql("kokyaku", "update m_kokyaku set shimei = '置き去り' where kokyaku_no = -4");
  for (let n = 0; n < 8; n++) company.sql("postgres", "create table if not exists filler (t text); insert into filler select repeat('x', 1000) from generate_series(1, 20000); truncate filler; checkpoint", "postgres");
  const [status, megabytes] = company.sql("postgres", "select (select wal_status from pg_replication_slots), (select sum(size) / 1048576 from pg_ls_waldir())::integer", "postgres").split("|");
  t.diagnostic(`the slot is ${status}, pg_wal has ${megabytes} MB`);
  assert.equal(status, "lost");
  assert.ok(Number(megabytes) < 160, `pg_wal has ${megabytes} MB`);
  proxy.refuse = false;
  await eventually("a new era", () => era() === was + 1 && pair.mirrorSays() === "STREAMING", 60_000);
  assert.equal(name("-4"), "置き去り");
  await pair.equal("an abandoned slot");
  company.sql("postgres", "alter system reset max_slot_wal_keep_size", "postgres");
  company.sql("postgres", "alter system reset max_wal_size", "postgres");
  company.sql("postgres", "select pg_reload_conf()", "postgres");
});

// Columns and mappings ------------------------------------------------------------------------------------------------------

const original = Object.fromEntries(["mapping.toml", "forward.sql"].map((file) => [file, readFileSync(join(pair.mapping, file), "utf8")]));
/** The mapping, changed: [file, what, by what]. */
function mapped(...changes) {
  for (const [file, text] of Object.entries(original)) {
    let now = text;
    for (const [where, what, by] of changes) if (where === file) { assert.ok(now.includes(what), `${file} has no ${what}`); now = now.replaceAll(what, by); }
    writeFileSync(join(pair.mapping, file), now);
  }
}
async function stops(ddl, said) {
  const before = server.sql("select count(*) || ' ' || md5(string_agg(display_name || notes, '' order by id)) from customer");
  company.sql("kokyaku", `${ddl}; update t_tel set hyoji_jun = hyoji_jun where kokyaku_no = -5; update m_kokyaku set dm_fuka = dm_fuka where kokyaku_no = -5`);
  await eventually(`${ddl} stops the mirror`, () => pair.mirrorSays().startsWith("STOPPED"), 60_000);
  assert.match(pair.mirrorSays(), said);
  assert.equal(server.sql("select count(*) || ' ' || md5(string_agg(display_name || notes, '' order by id)) from customer"), before, "nothing was changed here");
  company.sql("kokyaku", "update m_kokyaku set shimei = '停止中' where kokyaku_no = -6");
}
async function goesOn() {
  await pair.begin(proxy.target("kokyaku"));
  await pair.streaming();
  await pair.equal("the mapping is as the source");
  const before = position();
  company.sql("kokyaku", "update m_kokyaku set dm_fuka = 1 - dm_fuka where kokyaku_no = -5");
  await eventually("the stream goes on", () => position() !== before && pair.mirrorSays() === "STREAMING", 60_000);
  assert.equal(name("-6"), "停止中");
}

part("a column that is added is nobody's business", async () => {
  const was = era();
  company.sql("kokyaku", "alter table m_kokyaku add column point integer default 7; update m_kokyaku set shimei = '追加' where kokyaku_no = -7");
  await eventually("the stream goes on", () => name("-7") === "追加", 60_000);
  assert.equal(`${era()} ${pair.mirrorSays()}`, `${was} STREAMING`);
  assert.ok(server.log.some((line) => /new column that nothing maps/.test(line) && /point/.test(line)), "nobody was told");
});
part("a mapped column that is renamed stops the mirror, by name, until the mapping knows the new one", async () => {
  await stops("alter table m_kokyaku rename biko to memo", /biko/);
  mapped(["mapping.toml", '"email", "biko", "yobi1"', '"email", "memo", "yobi1"'], ["forward.sql", "k.biko", "k.memo"]);
  await goesOn();
  company.sql("kokyaku", "alter table m_kokyaku rename memo to biko; update m_kokyaku set dm_fuka = dm_fuka where kokyaku_no = -5");
  await eventually("back stops it as well", () => pair.mirrorSays().startsWith("STOPPED"), 60_000);
  mapped();
  await goesOn();
});
part("a mapped column that is dropped stops the mirror, by name", async () => {
  await stops("alter table m_kokyaku drop column yobi1", /yobi1/);
  company.sql("kokyaku", "alter table m_kokyaku add column yobi1 varchar(200)");
  await goesOn();
});
part("a mapped column whose type changes stops the mirror, by name", async () => {
  await stops("alter table t_tel alter tel_no type text", /tel_no/);
  await goesOn();
});
part("a column that is emptied by its definition, which no stream tells, is found by the comparison", async () => {
  company.sql("kokyaku", "update m_kokyaku set shimei_kana = 'カナ' where kokyaku_no = -8");
  await pair.equal("before it");
  company.sql("kokyaku", "alter table m_kokyaku drop column shimei_kana; alter table m_kokyaku add column shimei_kana varchar(60)");
  const done = await pair.takeover(["diff", "--domain", "customer", "--json"]);
  assert.equal(done.status, 0, done.said);
  assert.ok(JSON.parse(done.stdout).differences > 0, done.said);
  company.sql("kokyaku", "update m_kokyaku set kokyaku_kbn = kokyaku_kbn");
  await pair.equal("every row was touched");
});
part("a mapping with a wrong join is found by plan", async () => {
  company.sql("kokyaku", "alter table m_kokyaku drop column if exists point"); // a plan stops at a column that nobody maps
  company.sql("kokyaku", "insert into m_kokyaku (kokyaku_no, shimei) values (-99, '住所なし')");
  for (const [wrong, code] of [["join t_jusho fresh on fresh.kokyaku_no = k.kokyaku_no", /KEY_TWICE|inner join/], ["left join generate_series(1, 2) fresh on true", /KEY_TWICE/],
    ["join (select distinct kokyaku_no from t_jusho) fresh on fresh.kokyaku_no = k.kokyaku_no", /roots that are there gave no record/]]) {
    mapped(["forward.sql", "from m_kokyaku k\n", `from m_kokyaku k\n  ${wrong}\n`]);
    const plan = await pair.takeover(["plan", "--mapping", pair.mapping, "--source", source()]);
    assert.notEqual(plan.status, 0, plan.said);
    assert.match(plan.said, code);
  }
  await eventually("it arrives", () => name("-99") === "住所なし", 60_000);
  company.sql("kokyaku", "delete from m_kokyaku where kokyaku_no = -99");
});

part("a running mirror that is started with another mapping looks at every key with it", async () => {
  const was = era();
  mapped(["forward.sql", "from m_kokyaku k\n", "from m_kokyaku k -- as before\n"]);
  await pair.begin(proxy.target("kokyaku"));
  await eventually("a new era", () => era() === was + 1 && pair.mirrorSays() === "STREAMING", 60_000);
  await pair.equal("the other mapping");
  mapped();
  await pair.begin(proxy.target("kokyaku"));
  await eventually("another one", () => era() === was + 2 && pair.mirrorSays() === "STREAMING", 60_000);
});

part("a slot of a mirror that has stopped is given up before it fills the source's disk", async () => {
  await stops("alter table m_kokyaku rename biko to memo", /biko/);
  server.sql("update takeover_domain set most_wal_bytes = 20000000 where domain = 'customer'");
  for (let n = 0; n < 3; n++) company.sql("postgres", "insert into filler select repeat('x', 1000) from generate_series(1, 20000); truncate filler; select pg_switch_wal()", "postgres");
  await eventually("the slot is dropped", () => company.sql("postgres", "select count(*) from pg_replication_slots", "postgres") === "0", 60_000);
  assert.match(alarms(), /SLOT_GIVEN_UP/);
  assert.match(pair.mirrorSays(), /STOPPED SLOT_GIVEN_UP: .*takeover start/);
  company.sql("kokyaku", "alter table m_kokyaku rename memo to biko");
  await goesOn();
});

const stateOf = (pid) => { try { return readFileSync(`/proc/${pid}/stat`, "utf8").match(/\) (\w)/)[1]; } catch { return ""; } };

// The coordinator ---------------------------------------------------------------------------------------------------------

for (const step of long ? ["PREFLIGHT", "GATE", "FENCE", "DRAIN", "DIFF", "SEAL", "OWN"] : ["GATE", "DIFF", "SEAL"])
  part(`a coordinator that sleeps ${long ? "a minute" : "past its lapse"} at ${step} does no harm when it wakes`, async (t) => {
    pair.work();
    // Whoever is refused before anything was touched asks again; how often, and why, is said.
    let child, said, ended;
    await eventually(`it stops at ${step}`, async () => {
      child = spawn(binary, ["takeover", "switch", "--domain", "customer", "--data", server.data, "--hold", "60000", ...(long ? [] : ["--lapse", "1"])],
        { env: { ...process.env, TAKEOVER_FAULT: `${step}:stop` }, stdio: ["ignore", "pipe", "pipe"] });
      said = "";
      child.stderr.on("data", (chunk) => { said += chunk; });
      ended = new Promise((resolve) => child.on("close", resolve));
      while (child.exitCode === null && stateOf(child.pid) !== "T") await rest(20);
      if (child.exitCode === null) return true;
      await ended;
      const eras = server.sql("select string_agg(kind || ' ' || state || ' of era ' || era, ', ' order by started_at desc) from takeover_diff_run where era >= (select era - 1 from takeover_domain where domain = 'customer')");
      t.diagnostic(`refused in era ${era()} (${eras}): ${said.trim().split("\n").at(-1)}`);
      assert.match(said, /\((LOCKED|DIFF_MISSING|DIFF_FOUND|MIRROR_BEHIND)\)/);
      if (!said.includes("LOCKED")) await pair.takeover(["diff", "--domain", "customer"]);
      throw new Error(said);
    }, 90_000);
    await rest(long ? 60_000 : 2_000);
    if (step !== "SEAL" && step !== "OWN") {
      assert.ok(["OPEN", "FENCED"].includes(pair.fence()));
      company.sql("kokyaku", "update m_kokyaku set dm_fuka = dm_fuka where kokyaku_no = -9"); // legacy writes, whoever sleeps
    }
    child.kill("SIGCONT");
    const code = await ended;
    const now = await pair.settled(`asleep at ${step}`);
    if (["FENCE", "DRAIN", "DIFF"].includes(step)) {
      assert.equal(now, "LEGACY");
      assert.match(said, /FENCE_LAPSED|MOVE_RUNNING|MOVE_STOPPED/);
      assert.notEqual(code, 0);
    }
    if (["SEAL", "OWN"].includes(step)) assert.equal(now, "OWNED");
    await pair.bring("LEGACY");
    await pair.rest();
    await pair.accounts(`asleep at ${step}`);
  });

part("a move that is called off while it runs leaves the domain with its owner, whenever that is", async (t) => {
  pair.work();
  const ended = {};
  for (let n = 0; n < (long ? 40 : 5); n++) {
    const begun = await pair.admin.post("/v1/takeover/domains/customer/switch", {});
    assert.equal(begun.status, 202, begun.text);
    await rest(n * (long ? 10 : 60));
    const aborted = await pair.admin.post(`/v1/takeover/moves/${begun.body.id}/abortion`, {});
    assert.ok([202, 409].includes(aborted.status), aborted.text);
    await eventually("its end", async () => (await pair.admin.get(`/v1/takeover/moves/${begun.body.id}`)).body.state !== "RUNNING", 60_000);
    const now = await pair.settled("an abort");
    assert.ok(aborted.status === 202 ? now === "LEGACY" : true, `it was called off, and the domain is ${now}`);
    ended[now] = (ended[now] ?? 0) + 1;
    await pair.bring("LEGACY");
  }
  t.diagnostic(JSON.stringify(ended));
  await pair.rest();
  await pair.accounts("moves that were called off");
});

// Sizes -------------------------------------------------------------------------------------------------------------------

part(`a transaction of ${long ? "1,000,000" : "30,000"} rows takes bounded memory`, async (t) => {
  const rows = long ? 1_000_000 : 30_000;
  const before = server.memory();
  let most = before;
  const watch = setInterval(() => { most = Math.max(most, server.memory()); }, 50);
  // Rows of few customers: what is large is the transaction, not what has to be stored. Not of one alone, for the company counts them there,
  // and a row that one transaction changes for the thousandth time has a thousand versions to walk through.
  await pair.longSql(`begin; insert into t_tel (kokyaku_no, tel_no, biko) select kokyaku_no, '03-9999-0000', 'many' from (select kokyaku_no from m_kokyaku order by 1 limit 400) k, generate_series(1, ${rows / 400}); delete from t_tel where biko = 'many'; update m_kokyaku set shimei = '大量' where kokyaku_no = -10; commit`);
  await eventually("it is through", () => name("-10") === "大量", long ? 600_000 : 90_000);
  clearInterval(watch);
  t.diagnostic(`${Math.round(before)} MB before, ${Math.round(most)} MB at most`);
  assert.ok(most - before < 200, `${Math.round(most - before)} MB more`);
  await pair.equal("a large transaction");
}, { timeout: 900_000 });

part(`a row of ${long ? 100 : 20} MB is refused with its key, and takes bounded memory`, async (t) => {
  const megabytes = long ? 100 : 20;
  const before = server.memory();
  let most = before;
  const watch = setInterval(() => { most = Math.max(most, server.memory()); }, 50);
  await pair.longSql(`update m_kokyaku set biko = repeat('長い', ${Math.floor(megabytes * 1048576 / 6)}) where kokyaku_no = -11`);
  await eventually("it is refused", () => server.sql("select count(*) from takeover_reject where legacy_key = '-11' and state = 'OPEN'") === "1", 120_000);
  company.sql("kokyaku", "update m_kokyaku set shimei = '次' where kokyaku_no = -12");
  await eventually("the stream goes on", () => name("-12") === "次", 60_000);
  clearInterval(watch);
  t.diagnostic(`${Math.round(before)} MB before, ${Math.round(most)} MB at most`);
  assert.ok(most - before < 100 + 6 * megabytes, `${Math.round(most - before)} MB more`);
  const listed = await pair.admin.get("/v1/takeover/domains/customer/rejects");
  assert.ok(listed.text.length < 2_000_000, `the list of rejects has ${listed.text.length} characters`);
  company.sql("kokyaku", "update m_kokyaku set biko = null where kokyaku_no = -11");
  await eventually("it comes right", () => server.sql("select count(*) from takeover_reject where legacy_key = '-11' and state = 'OPEN'") === "0", 60_000);
  await pair.equal("a large row");
});

// Failover: last, for the company's own PostgreSQL is gone afterwards ---------------------------------------------------------

part("a source that failed over to a standby that had not everything: every key is looked at again, and what was lost is lost here too", async () => {
  const folder = join(scratch("standby"), "pg");
  execFileSync("pg_basebackup", ["-D", folder, "-X", "stream", "-c", "fast", "-d", company.target("postgres", "postgres")], { stdio: ["ignore", "ignore", "pipe"] });
  const was = era();
  // These never reach the standby.
  company.sql("kokyaku", "update m_kokyaku set shimei = '失われる変更' where kokyaku_no = -13; insert into m_kokyaku (kokyaku_no, shimei) values (-100, '失われる人')");
  await eventually("Enishi has what the standby has not", () => name("-13") === "失われる変更" && name("-100") === "失われる人", 60_000);
  proxy.refuse = true;
  proxy.cut();
  await company.crash();
  const bin = execFileSync("pg_config", ["--bindir"], { encoding: "utf8" }).trim();
  const socket = join(folder, "..", "socket");
  mkdirSync(socket);
  mkdirSync(join(folder, "../log")); // where its settings want the log
  execFileSync("chown", ["-R", "postgres:postgres", join(folder, "..")]);
  writeFileSync(join(folder, "standby.signal"), "");
  const as = (args) => execFileSync("runuser", ["-u", "postgres", "--", join(bin, "pg_ctl"), "-D", folder, ...args], { stdio: ["ignore", "ignore", "pipe"] });
  try { as(["-w", "-l", join(folder, "../start.log"), "-o", `-c unix_socket_directories=${socket} -c listen_addresses= -c archive_mode=off -c primary_conninfo=''`, "start"]); } catch (failed) {
    failed.message += readFileSync(join(folder, "../start.log"), "utf8").slice(-2000);
    throw failed;
  }
  const postmaster = Number(readFileSync(join(folder, "postmaster.pid"), "utf8").split("\n")[0]);
  test.after(() => crashPostgres(postmaster));
  as(["-w", "promote"]);
  proxy.path = join(socket, ".s.PGSQL.5432");
  company.data = join(folder, "..");
  company.sql("kokyaku", "update m_kokyaku set shimei = '新しい主' where kokyaku_no = -14");
  proxy.refuse = false;
  await eventually("a new era", () => era() === was + 1 && pair.mirrorSays() === "STREAMING", 90_000);
  assert.ok(server.log.some((line) => /SOURCE_FAILED_OVER/.test(line)), "it was not said");
  await pair.equal("a failover");
  assert.deepEqual([name("-13"), name("-14")], ["帳簿 13", "新しい主"]);
  assert.equal(server.sql("select deleted from legacy_identity where domain = 'customer' and legacy_key = '-100'"), "t");
});

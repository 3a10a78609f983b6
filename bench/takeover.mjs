// ./dev bench takeover [PART…]: a domain taken over from the sample legacy company. Parts: copy stream freshness write diff switch.
// Each line: a figure, its peer in the same run where there is one, the ratio, the bound, ok or short; the exit status says whether every bound was reached.
// Later parts need the copy, which then runs without its peer. Peers get the same PostgreSQL: Enishi's own, another database in it.
// Options: --customers N (1000000), --changes N (of the stream part; a quarter of the customers), --seconds N (of freshness and of write, 20), --moves N (switches, and reverts, 50), --here N and --there N (writes a second while the domain moves, 300 and 200)
import { execFileSync, spawn, spawnSync } from "node:child_process";
import http from "node:http";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { binary, Enishi, eventually, root } from "../tests/enishi.mjs";
import { Company } from "../tests/takeover/sources.mjs";

const every = ["copy", "stream", "freshness", "write", "diff", "switch"];
const parts = [];
const options = { customers: 1_000_000, changes: 0, seconds: 20, moves: 50, here: 300, there: 200 };
for (let i = 2; i < process.argv.length; ++i) {
  const name = process.argv[i].replace(/^--/, "");
  if (name !== process.argv[i] && name in options) options[name] = Number(process.argv[++i]);
  else if (every.includes(name)) parts.push(name);
  else { console.error(`nobody knows ${process.argv[i]}`); process.exit(2); }
}
options.changes ||= Math.max(1000, Math.floor(options.customers / 4));
const wanted = (name) => parts.length === 0 || parts.includes(name);
const sleep = (ms) => new Promise((go) => setTimeout(go, ms));
const percentile = (list, p) => { const sorted = [...list].sort((a, b) => a - b); return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * p) - 1)]; };
const number = (n) => Math.round(n).toLocaleString("en");
let short = 0;
function say(name, figure, peer, ratio, bound, good) {
  if (!good) ++short;
  console.log(`${name.padEnd(12)} ${figure.padEnd(72)} ${peer.padEnd(44)} ${ratio.padEnd(6)} ${bound.padEnd(52)} ${good ? "ok" : "SHORT"}`);
}

// What runs ---------------------------------------------------------------------------------------------------------------

const tables = ["m_kokyaku", "t_tel", "t_jusho"];
const mapping = join(root, "samples/legacy/kokyaku/customer");
const folder = join(root, ".data/bench/takeover");
mkdirSync(folder, { recursive: true });
const mine = join(folder, `${options.customers}.enishi`);
rmSync(mine, { recursive: true, force: true });
if (!existsSync(join(folder, `${options.customers}.made`))) rmSync(join(folder, `${options.customers}`), { recursive: true, force: true });

console.log(`${number(options.customers)} customers of the sample legacy company`);
const company = await Company.start({ customers: options.customers, data: join(folder, String(options.customers)) });
writeFileSync(join(folder, `${options.customers}.made`), "");
const server = await Enishi.start({ data: mine, args: ["--log-level", "warning", "--requests-per-second", "0"] });
process.on("exit", () => { for (const who of [server, company]) try { process.kill(who.child.pid, "SIGTERM"); } catch {} });

const there = (text, user) => company.sql("kokyaku", text, user);
const native = `postgresql:///native?host=${encodeURIComponent(join(server.data, "socket"))}&user=postgres`;
const psql = (url, text) => execFileSync("psql", ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url, "-f", "-"], { encoding: "utf8", input: text, maxBuffer: 1 << 30 }).trim();
/** A psql beside us; its last line when it is done. */
const psqlBeside = (url, text) => new Promise((resolve, reject) => {
  const child = spawn("psql", ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url, "-f", "-"], { stdio: ["pipe", "pipe", "pipe"] });
  let out = "", err = "";
  child.stdout.on("data", (chunk) => { out += chunk; });
  child.stderr.on("data", (chunk) => { err += chunk; });
  child.on("exit", (code) => (code === 0 ? resolve(out.trim()) : reject(new Error(`psql: ${err}`))));
  child.stdin.end(text);
});
function takeover(...args) {
  const done = spawnSync(binary, ["takeover", ...args, "--data", server.data], { encoding: "utf8", maxBuffer: 1 << 28 });
  if (done.status !== 0) throw new Error(`enishi takeover ${args.join(" ")}: ${done.status}\n${done.stdout}${done.stderr}`);
  return done.stdout;
}
const peakMemory = () => Number(readFileSync(`/proc/${server.child.pid}/status`, "utf8").match(/VmHWM:\s+(\d+)/)[1]) / 1024;
const rowsThere = () => tables.map((table) => Number(there(`select count(*) from ${table}`))).reduce((a, b) => a + b, 0);
const walThere = () => there("select pg_current_wal_insert_lsn()", "postgres");
const reached = (position) => server.sql(`select position >= '${position}' from takeover_domain`) === "t";

/** The source as an earlier run may have left it, and what its owner prepares. */
function prepareSource() {
  there(`alter system set wal_sender_timeout = 0; select pg_reload_conf();
    select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active;`.replaceAll(";", ";\n"), "postgres");
  there("set client_min_messages = warning; drop publication if exists enishi_kokyaku_customer; drop publication if exists native; drop schema if exists enishi cascade;", "postgres");
  const plan = spawnSync(binary, ["takeover", "plan", "--data", server.data, "--mapping", mapping, "--source", company.target("kokyaku"), "--json"], { encoding: "utf8", maxBuffer: 1 << 28 });
  const owner = JSON.parse(plan.stdout).owner_sql;
  there(owner.split("\n").filter((line) => !/^\s*(alter system|select pg_reload_conf)/i.test(line)).join("\n"));
  there(readFileSync(join(mapping, "grants.sql"), "utf8"));
  there(execFileSync(binary, ["takeover", "fence", "--mapping", mapping, "--login", "enishi"], { encoding: "utf8" }));
  there("checkpoint", "postgres");
}
prepareSource();
const admin = await server.administrator();


// The peers ---------------------------------------------------------------------------------------------------------------

/** pg_dump | pg_restore of the source's tables into a database beside Enishi's, keys, indexes and triggers too; seconds. */
function copyNative() {
  if (server.sql("select count(*) from pg_database where datname = 'native'", "postgres") === "1") server.sql("drop database native", "postgres");
  server.sql("create database native lc_collate 'C' lc_ctype 'C' template template0", "postgres");
  // What the tables hang on, which -t leaves behind; triggers that are never called need no bodies.
  const stubs = there(`select string_agg(distinct format('create schema if not exists %I; create function %1$I.%I() returns trigger language plpgsql as $x$ begin return null; end $x$;', n.nspname, p.proname), ' ')
    from pg_trigger t join pg_proc p on p.oid = t.tgfoid join pg_namespace n on n.oid = p.pronamespace where not t.tgisinternal and t.tgrelid in (${tables.map((t) => `'${t}'::regclass`).join(", ")})`);
  psql(native, `set client_min_messages = warning; create type seibetsu_kbn as enum ('男', '女', '不明'); create sequence kokyaku_no_seq; create sequence tel_id_seq; ${stubs}`);
  there("checkpoint", "postgres");
  server.sql("checkpoint", "postgres");
  const began = performance.now();
  // Nobody compresses what goes through a pipe.
  execFileSync("bash", ["-o", "pipefail", "-c",
    `pg_dump -d '${company.target("kokyaku", "postgres")}' -Fc -Z0 ${tables.map((t) => `-t ${t}`).join(" ")} | pg_restore --no-owner --no-acl --exit-on-error -d '${native}'`], { stdio: ["ignore", "ignore", "inherit"] });
  return (performance.now() - began) / 1000;
}

/** One change each of different customers, a transaction each, all over the tables: names' notes, numbers' notes, addresses' notes. The last one's key. */
function change(count, tag) {
  return there(`set synchronous_commit = off;
do $$
declare
  k integer;
  n integer := 0;
begin
  for k in select kokyaku_no from m_kokyaku where del_flg = '0' order by hashint4(kokyaku_no), kokyaku_no limit ${count - 1} offset 1 loop
    n := n + 1;
    if n % 3 = 1 then update t_tel set biko = '${tag}' where tel_id = (select min(tel_id) from t_tel where kokyaku_no = k); end if;
    if n % 3 = 2 then update t_jusho set biko = '${tag}' where kokyaku_no = k and eda_no = 1; end if;
    if n % 3 = 0 or not found then update m_kokyaku set biko = '${tag}' where kokyaku_no = k; end if;
    commit;
  end loop;
  select kokyaku_no into k from m_kokyaku where del_flg = '0' order by hashint4(kokyaku_no), kokyaku_no limit 1;
  update m_kokyaku set biko = '${tag}' where kokyaku_no = k;
end $$;
select kokyaku_no from m_kokyaku where del_flg = '0' order by hashint4(kokyaku_no), kokyaku_no limit 1;`);
}
/** Microseconds of the epoch at which `condition` was true first, looked at every 5 ms where the data is. */
const whenTrue = (url, condition) => psqlBeside(url, `do $$ begin while not (${condition}) loop perform pg_sleep(0.005); end loop; end $$; select (extract(epoch from clock_timestamp()) * 1000000)::bigint;`).then(Number);
/** When the process with this name began to receive the source's stream. */
const streamBegan = (name) => psqlBeside(company.target("kokyaku", "postgres"), `
do $$ begin while not exists (select from pg_stat_replication where application_name = '${name}' and state in ('catchup', 'streaming')) loop perform pg_sleep(0.005); end loop; end $$;
select (extract(epoch from backend_start) * 1000000)::bigint from pg_stat_replication where application_name = '${name}';`).then(Number);

// Parts -------------------------------------------------------------------------------------------------------------------

const quiet = () => eventually("the mirror is at rest", () => server.sql(`select count(*) = 0 from pg_stat_activity where application_name = 'enishi takeover' and datname = 'enishi'
  and (state <> 'idle' or query ilike '%merge_candidate%' and query_start > now() - interval '2 seconds')`) === "t", 3_600_000);

async function copy() {
  const peer = wanted("copy") ? copyNative() : undefined;
  const rows = rowsThere();
  const began = Date.now();
  takeover("start", "--mapping", mapping, "--source", company.target("kokyaku"));
  await eventually("the copy", () => {
    const [phase, detail] = server.sql("select phase, stop_detail from takeover_domain").split("|");
    if (phase === "STOPPED") { console.error(detail); process.exit(1); }
    return phase === "STREAMING";
  }, 7_200_000);
  const seconds = (Number(server.sql("select extract(epoch from copy_finished_at) * 1000 from takeover_domain")) - began) / 1000;
  const identities = Number(server.sql("select count(*) from legacy_identity where domain = 'customer'"));
  const rejects = Number(server.sql("select count(*) from takeover_reject where state = 'OPEN'"));
  const memory = peakMemory();
  if (wanted("copy")) {
    const ratio = peer / seconds;
    say("copy", `${number(rows / seconds)} rows/s: ${number(identities)} customers in ${seconds.toFixed(1)} s, peak ${memory.toFixed(0)} MB, ${rejects} rejects`,
      `pg_dump | pg_restore ${number(rows / peer)} rows/s`, ratio.toFixed(2), "≥ 0.5 × peer, ≤ 400 MB", ratio >= 0.5 && memory <= 400 && identities >= options.customers && rejects === 0);
  }
  await quiet();
  server.sql("vacuum analyze", "postgres");
}

async function stream() {
  // Native first: publication, slot and a subscription that is asleep while the changes are made.
  copyNative();
  there("drop publication if exists native", "postgres");
  there(`create publication native for table ${tables.join(", ")}`, "postgres");
  psql(native, `set client_min_messages = warning;\ncreate subscription native connection '${company.target("kokyaku", "postgres").replaceAll("'", "''")}' publication native with (copy_data = false);`);
  await eventually("the subscription", () => there("select count(*) from pg_stat_replication where application_name = 'native' and state = 'streaming'", "postgres") === "1", 60_000);
  psql(native, "alter subscription native disable");
  await eventually("the subscription's end", () => there("select not active from pg_replication_slots where slot_name = 'native'", "postgres") === "t", 60_000);
  await server.stop();
  await eventually("the mirror's end", () => there("select not active from pg_replication_slots where slot_name = 'enishi_kokyaku_customer'", "postgres") === "t", 60_000);
  const tag = `流 ${Date.now()}`;
  const last = change(options.changes, tag);
  there("checkpoint", "postgres");
  await server.restart();
  // The server's own PostgreSQL is up with it, and its mirror with that.
  const [ourStart, ourEnd] = await Promise.all([streamBegan("enishi takeover"), whenTrue(server.url(), `exists (select from legacy_identity i join customer c on c.id = i.id where i.system = 'kokyaku' and i.domain = 'customer' and i.legacy_key = '${last}' and c.notes = '${tag}')`)]);
  await quiet();
  psql(native, "checkpoint; alter subscription native enable".replace("; ", ";\n"));
  const [start, end] = await Promise.all([streamBegan("native"), whenTrue(native, `exists (select from m_kokyaku where kokyaku_no = ${last} and biko = '${tag}')`)]);
  const missing = Number(server.sql(`select ${options.changes} - (select count(*) from customer c where c.notes = '${tag}') - (select count(*) from customer_phone p where p.note = '${tag}' and p.position = 0)
    - (select count(distinct a.customer_id) from customer_address a where a.note = '${tag}')`));
  psql(native, "set client_min_messages = warning;\ndrop subscription native");
  const ours = options.changes / ((ourEnd - ourStart) / 1e6), theirs = options.changes / ((end - start) / 1e6);
  say("stream", `${number(ours)} changes/s of ${number(options.changes)} customers, one a transaction; ${missing} missing`, `native logical replication ${number(theirs)}/s`, (ours / theirs).toFixed(2), "≥ 0.5 × peer, none missing", ours / theirs >= 0.5 && missing === 0);
}

/** 300 changes a second by four sessions at the source; when each committed, and when a reader here saw it. */
async function freshness() {
  const sessions = 4, rate = 300, each = Math.floor((rate * options.seconds) / sessions), all = each * sessions;
  const tag = `鮮 ${Date.now()}`;
  there("set client_min_messages = warning; drop table if exists bench_change; create unlogged table bench_change (n integer primary key, kokyaku_no integer, at timestamptz);", "postgres");
  there(`insert into bench_change select row_number() over (order by hashint4(kokyaku_no), kokyaku_no), kokyaku_no from m_kokyaku where del_flg = '0' order by hashint4(kokyaku_no), kokyaku_no limit ${all};
    grant all on bench_change to legacy_owner;`, "postgres");
  const keys = there("select n, kokyaku_no from bench_change order by n", "postgres").split("\n");
  server.sql("set client_min_messages = warning; drop table if exists bench_seen; create unlogged table bench_seen (n integer primary key, id uuid, at timestamptz)");
  server.sql(`create temp table k (n integer, key text); copy k from stdin with (delimiter '|');\n${keys.join("\n")}\n\\.\ninsert into bench_seen select k.n, i.id from k join legacy_identity i on i.system = 'kokyaku' and i.domain = 'customer' and i.legacy_key = k.key;`.padEnd(30_001));
  const there300 = Array.from({ length: sessions }, (_, session) => psqlBeside(company.target("kokyaku", "legacy_owner"), `
do $$
declare
  c record;
  began timestamptz := clock_timestamp();
  i integer := 0;
begin
  for c in select n, kokyaku_no from bench_change where n % ${sessions} = ${session} order by n loop
    perform pg_sleep(greatest(0, extract(epoch from began + i * interval '1 second' * ${sessions / rate} - clock_timestamp())));
    i := i + 1;
    update m_kokyaku set biko = '${tag}' where kokyaku_no = c.kokyaku_no;
    -- Before the commit: what the commit itself takes counts against us.
    update bench_change set at = clock_timestamp() where n = c.n;
    commit;
  end loop;
end $$;`));
  const seen = psqlBeside(server.url(), `
do $$
declare
  low integer := 1;
  ended timestamptz := clock_timestamp() + interval '${options.seconds + 60} seconds';
begin
  while low <= ${all} and clock_timestamp() < ended loop
    update bench_seen s set at = clock_timestamp() from customer c where s.n between low and low + 600 and s.at is null and c.id = s.id and c.notes = '${tag}';
    commit;
    select coalesce(min(n), ${all + 1}) into low from bench_seen where at is null and n >= low;
    perform pg_sleep(0.003);
  end loop;
end $$;
select n, extract(epoch from at) * 1000 from bench_seen where at is not null order by n;`);
  await Promise.all(there300);
  const arrived = new Map((await seen).split("\n").filter(Boolean).map((line) => line.split("|").map(Number)));
  const made = there("select n, extract(epoch from at) * 1000 from bench_change order by n", "postgres").split("\n").map((line) => line.split("|").map(Number));
  const times = made.filter(([n]) => arrived.has(n)).map(([n, at]) => arrived.get(n) - at);
  const span = (Math.max(...made.map(([, at]) => at)) - Math.min(...made.map(([, at]) => at))) / 1000;
  const p99 = percentile(times, 0.99), real = (all - 1) / span;
  server.sql("drop table bench_seen");
  there("drop table bench_change", "postgres");
  say("freshness", `p50 ${percentile(times, 0.5).toFixed(0)} ms, p99 ${p99.toFixed(0)} ms, most ${Math.max(...times).toFixed(0)} ms at ${real.toFixed(0)} changes/s; ${all - times.length} not seen`, "", "", "p99 ≤ 500 ms at 300/s, all seen",
    p99 <= 500 && times.length === all && real >= 290);
}

// The API, as its users ask it, over connections that stay.
const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
function ask(method, path, body, headers = {}) {
  const { hostname, port } = new URL(server.origin);
  const text = body === undefined ? undefined : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const request = http.request({ agent, hostname, port, method, path, timeout: 60_000, headers: {
      cookie: [...admin.cookies].map(([k, v]) => `${k}=${v}`).join("; "), "x-csrf-token": admin.csrf, ...(text ? { "content-type": "application/json", "content-length": Buffer.byteLength(text) } : {}), ...headers } }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => { const said = Buffer.concat(chunks).toString(); resolve({ status: response.statusCode, etag: response.headers.etag, text: said, body: /^[{[]/.test(said) ? JSON.parse(said) : undefined }); });
    });
    request.on("timeout", () => request.destroy(new Error("no answer within 60 s")));
    request.on("error", reject);
    request.end(text);
  });
}
const customersHere = (count, offset = 0) => server.sql(`select i.id, i.legacy_key from legacy_identity i join customer c on c.id = i.id where i.domain = 'customer' and not i.deleted and c.deleted_at is null
  order by i.legacy_key offset ${offset} limit ${count}`).split("\n").map((line) => line.split("|"));

async function write() {
  const times = [];
  let stale = 0;
  const [ids, until] = [customersHere(2000, 1000), performance.now() + options.seconds * 1000];
  for (let n = 0; performance.now() < until; ++n) {
    const [id, key] = ids[n % ids.length];
    const before = await ask("GET", `/v1/customers/${id}`);
    const notes = `編集 ${n} ${Date.now()}`;
    const began = performance.now();
    const answer = await ask("PATCH", `/v1/customers/${id}`, { notes }, { "if-match": before.etag });
    times.push(performance.now() - began);
    if (answer.status !== 200) throw new Error(`PATCH /v1/customers/${id}: ${answer.status} ${answer.text.slice(0, 1000)}`);
    const after = await ask("GET", `/v1/customers/${id}`);
    if (after.body.notes !== notes) ++stale;
    if (n % 50 === 0 && there(`select biko from m_kokyaku where kokyaku_no = ${key}`) !== notes) ++stale;
  }
  const p99 = percentile(times, 0.99);
  say("write", `p50 ${percentile(times, 0.5).toFixed(1)} ms, p99 ${p99.toFixed(1)} ms of ${times.length} edits through PATCH; ${stale} not in the next read`, "", "", "p99 ≤ 50 ms, all in the next read", p99 <= 50 && stale === 0);
}

async function compare() {
  const diff = () => {
    const done = spawnSync(binary, ["takeover", "diff", "--domain", "customer", "--data", server.data, "--json"], { encoding: "utf8", maxBuffer: 1 << 28 });
    const report = done.stdout.split("\n").find((line) => line.startsWith("{"));
    if (!report) throw new Error(`diff: ${done.status} ${done.stdout}${done.stderr}`);
    return JSON.parse(report);
  };
  diff(); // caches, as the continuous comparison has them
  const clean = diff();
  // One character of one street, behind everybody's back.
  const [address] = server.sql("select id from customer_address where length(street) > 2 and deleted_at is null order by md5(id::text) limit 1").split("\n");
  const plant = (sql) => server.sql(`set session_replication_role = replica; update customer_address set street = ${sql} where id = '${address}';`, "postgres");
  const street = server.sql(`select street from customer_address where id = '${address}'`);
  plant(`overlay(street placing case when left(street, 1) = '7' then '8' else '7' end from 1 for 1)`);
  const planted = diff();
  plant(`'${street}'`);
  const rate = clean.records / clean.seconds;
  say("diff", `${number(rate)} records/s, ${number(clean.records)} in ${clean.seconds.toFixed(1)} s; ${clean.differences} differ; with one character changed ${planted.differences} differ`, "", "", "≥ 50,000 records/s; 0 differ, then 1", rate >= 50_000 && clean.differences === 0 && planted.differences === 1);
}

/**
 * Writers on both sides, each with customers of its own, to whose notes every write adds a word: a lost write's word is missing, a doubled one's is there twice.
 * Here: 300 a second over the API, each with the version that the last answer gave. There: 200 a second; what the fence refuses is not counted.
 */
async function move() {
  const here = customersHere(2 * options.here), beyond = customersHere(2 * options.there, 2 * options.here);
  const words = { here: new Map(here.map(([id]) => [id, []])), there: new Map(beyond.map(([, key]) => [key, []])) };
  server.sql(`update takeover_reject set state = 'ACCEPTED', reason = 'bench' where state = 'OPEN'`);
  let go = true, refused = 0;
  const errors = [], times = [];
  const idle = [];
  for (const [id] of here) {
    // Nothing is measured yet, so a busy machine may have its time.
    const began = await eventually(`PATCH /v1/customers/${id}`, async () => {
      const answer = await ask("PATCH", `/v1/customers/${id}`, { notes: "" }, { "if-match": (await ask("GET", `/v1/customers/${id}`)).etag });
      if (answer.status !== 200) throw new Error(`${answer.status} ${answer.text.slice(0, 1000)}`);
      return answer;
    }, 60_000);
    idle.push({ id, etag: began.etag });
  }
  there(`update m_kokyaku set biko = null where kokyaku_no in (${beyond.map(([, key]) => key).join(", ")})`);
  let written = 0, lateHere = 0;
  const one = async (who) => {
    const word = `w${++written}`;
    const notes = [...words.here.get(who.id), word].join(" ");
    const began = performance.now();
    try {
      const answer = await ask("PATCH", `/v1/customers/${who.id}`, { notes }, { "if-match": who.etag });
      if (answer.status === 200) { words.here.get(who.id).push(word); who.etag = answer.etag; times.push(performance.now() - began); }
      else { errors.push(`${answer.status} ${answer.text.slice(0, 300)}`); who.etag = (await ask("GET", `/v1/customers/${who.id}`)).etag; }
    } catch (failed) { errors.push(String(failed)); who.etag = (await ask("GET", `/v1/customers/${who.id}`)).etag; }
    idle.push(who);
  };
  const ours = (async () => {
    const began = performance.now(), flying = new Set();
    for (let n = 0; go; ++n) {
      const wait = began + (n * 1000) / options.here - performance.now();
      if (wait > 0) await sleep(wait);
      const who = idle.shift();
      if (!who) { ++lateHere; continue; }
      const done = one(who).finally(() => flying.delete(done));
      flying.add(done);
    }
    await Promise.all(flying);
    return (performance.now() - began) / 1000;
  })();
  // Four sessions at the source that say each word they committed, or that it was refused.
  const theirs = Array.from({ length: 4 }, (_, session) => (async () => {
    const child = spawn("psql", ["-X", "-q", "-A", "-t", "-d", company.target("kokyaku", "legacy_owner"), "-f", "-"], { stdio: ["pipe", "pipe", "ignore"] });
    let pending = "", waiting;
    child.stdout.on("data", (chunk) => { pending += chunk; if (pending.endsWith("\n") && waiting) { const line = pending.trim(); pending = ""; waiting(line); } });
    const mine = beyond.filter((_, n) => n % 4 === session).map(([, key]) => key), began = performance.now();
    for (let n = 0; go; ++n) {
      const wait = began + (n * 4000) / options.there - performance.now();
      if (wait > 0) await sleep(wait);
      const key = mine[n % mine.length], word = `s${session}.${n}`;
      const said = new Promise((resolve) => { waiting = resolve; });
      child.stdin.write(`update m_kokyaku set biko = concat_ws(' ', biko, '${word}') where kokyaku_no = ${key};\n\\echo :ERROR\n`);
      if ((await said) === "false") words.there.get(key).push(word); else ++refused;
    }
    child.stdin.end();
    await new Promise((resolve) => child.on("exit", resolve));
  })());
  const held = { switch: [], revert: [] }, trouble = [];
  await sleep(1000);
  takeover("diff", "--domain", "customer");
  for (let n = 0; n < options.moves; ++n)
    for (const verb of ["switch", "revert"]) {
      for (let attempt = 1; ; ++attempt) {
        const done = spawnAsync(["takeover", verb, "--domain", "customer", "--data", server.data, "--json"]);
        const { status, out, err } = await done;
        if (status === 0) { held[verb].push(JSON.parse(out.split("\n").find((line) => line.startsWith("{"))).held_ms); break; }
        trouble.push(`${verb}: ${(err || out).trim().slice(0, 300)}`);
        if (attempt === 10) throw new Error(`${verb} was refused ten times: ${trouble.at(-1)}`);
        await sleep(500);
      }
      await sleep(300);
    }
  go = false;
  const span = await ours;
  await Promise.all(theirs);
  // At rest the domain is the legacy system's, and both sides have every word once.
  const position = walThere();
  await eventually("the mirror is at rest", () => reached(position), 120_000);
  const report = JSON.parse(spawnSync(binary, ["takeover", "diff", "--domain", "customer", "--data", server.data, "--json"], { encoding: "utf8" }).stdout.split("\n").find((line) => line.startsWith("{")));
  const ids = [...words.here.keys()], keys = [...words.there.keys()];
  const keyOf = new Map([...here, ...beyond]), idOf = new Map([...here, ...beyond].map(([id, key]) => [key, id]));
  const notesHere = new Map(server.sql(`select id, notes from customer where id in (${[...ids, ...keys.map((key) => idOf.get(key))].map((id) => `'${id}'`).join(", ")})`).split("\n").map((line) => line.split("|")));
  const notesThere = new Map(there(`select kokyaku_no, biko from m_kokyaku where kokyaku_no in (${[...keys, ...ids.map((id) => keyOf.get(id))].join(", ")})`).split("\n").map((line) => line.split("|")));
  let lost = 0, doubled = 0, foreign = 0, total = 0;
  const count = (expected, text) => {
    const found = new Map();
    for (const word of (text ?? "").split(" ").filter(Boolean)) found.set(word, (found.get(word) ?? 0) + 1);
    for (const word of expected) { ++total; if (!found.has(word)) ++lost; }
    for (const [word, times] of found) { if (times > 1) ++doubled; if (!expected.includes(word)) ++foreign; }
  };
  for (const [id, expected] of words.here) for (const text of [notesHere.get(id), notesThere.get(keyOf.get(id))]) count(expected, text);
  for (const [key, expected] of words.there) for (const text of [notesThere.get(key), notesHere.get(idOf.get(key))]) count(expected, text);
  const all = [...held.switch, ...held.revert], p99 = percentile(all, 0.99), slowest = percentile(times, 0.99);
  const wordsThere = [...words.there.values()].reduce((sum, list) => sum + list.length, 0);
  say("switch", `held p50 ${percentile(held.switch, 0.5).toFixed(0)} ms, p99 ${percentile(held.switch, 0.99).toFixed(0)} ms; revert ${percentile(held.revert, 0.5).toFixed(0)} and ${percentile(held.revert, 0.99).toFixed(0)} ms, ${held.switch.length} of each`,
    `${(times.length / span).toFixed(0)}/s here, p99 ${slowest.toFixed(0)} ms; ${((wordsThere + refused) / span).toFixed(0)}/s there`, "", "held p99 ≤ 500 ms under 300/s here and 200/s there", p99 <= 500 && options.here >= 300 && options.there >= 200 && times.length / span >= 0.95 * options.here && (wordsThere + refused) / span >= 0.95 * options.there);
  say("switch.users", `${errors.length} errors for Enishi's users of ${times.length + errors.length}; ${wordsThere} written there, ${refused} kept off by the fence`, "", "", "no error", errors.length === 0);
  say("switch.count", `${total / 2} acknowledged writes: ${lost} lost, ${doubled} doubled, ${foreign} nobody's; ${report.differences} differ; ${trouble.length} moves tried again`, "", "", "none lost, none doubled, both sides equal",
    lost === 0 && doubled === 0 && foreign === 0 && report.differences === 0);
  for (const line of new Set(errors.slice(0, 5))) console.log(`  ${line}`);
  for (const line of new Set(trouble)) console.log(`  ${line}`);
}
function spawnAsync(args) {
  return new Promise((resolve) => {
    const child = spawn(binary, args, { stdio: ["ignore", "pipe", "pipe"] });
    let out = "", err = "";
    child.stdout.on("data", (chunk) => { out += chunk; });
    child.stderr.on("data", (chunk) => { err += chunk; });
    child.on("exit", (status) => resolve({ status, out, err }));
  });
}

console.log(`${"name".padEnd(12)} ${"figure".padEnd(72)} ${"peer".padEnd(44)} ${"ratio".padEnd(6)} bound`);
try {
  await copy();
  if (wanted("stream")) await stream();
  if (wanted("freshness")) await freshness();
  if (wanted("diff")) await compare();
  if (wanted("write")) await write();
  if (wanted("switch")) await move();
} catch (failed) {
  console.error(failed, `\nthe server said:\n${server.log.slice(-10).join("\n")}`);
  process.exit(2);
}
agent.destroy();
await server.stop();
await company.stop();
process.exit(short ? 1 : 0);

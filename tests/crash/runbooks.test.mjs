// Each runbook of docs/operate, followed literally on a system that is broken as it says: the commands are those of the text (tests/runbook.mjs).
import test from "node:test";
import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { chmodSync, closeSync, copyFileSync, existsSync, mkdirSync, openSync, readSync, readdirSync, rmSync, statSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { Client, Enishi, binary, eventually, scratch } from "../enishi.mjs";
import { Runbook } from "../runbook.mjs";

const root = process.getuid() === 0;
const status = (data) => JSON.parse(spawnSync(binary, ["status", "--json", "--data", data], { encoding: "utf8" }).stdout);

/** A server whose backups are "on another disk", with one customer, and its first backup made: what happens from now on is within its reach, which a repository knows by the second. */
async function company(t) {
  const folder = scratch("runbook"), backup = join(folder, "backup");
  const server = await Enishi.start({ data: join(folder, "data"), env: { ENISHI_BACKUP: backup }, args: ["--drill-days", "0"] });
  t.after(() => server.child.kill("SIGKILL"));
  server.folder = folder;
  server.backup = backup;
  server.admin = await server.administrator();
  server.customer = (await made(server, "残る 人")).id;
  await eventually("the first backup", () => { const s = status(server.data); return s.repository?.last_backup_at && s.receiver.state === "streaming" && Date.parse(s.window.from) < Date.now(); }, 240_000);
  return server;
}
async function made(server, name, more = {}) {
  const answer = await server.admin.post("/v1/customers", { display_name: name, ...more });
  assert.equal(answer.status, 201, answer.text);
  return answer.body;
}
/** What was acknowledged so far is with the receiver. */
const safe = (server) => {
  const lsn = server.sql("select pg_current_wal_lsn()", "postgres");
  return eventually("the receiver has everything", () => server.sql(`select count(*) from pg_stat_replication where application_name = 'enishi_receiver' and write_lsn >= '${lsn}'`, "postgres") === "1", 240_000);
};
/** Nothing is red but the drill, which a new folder has ten minutes after its first backup. */
const calm = (s) => s.running_now && s.problems.every((p) => p.severity !== "red" || p.code === "DRILL_NEVER");
const names = (server) => server.sql("select string_agg(display_name, ' ' order by id) from customer");
const good = (report, ...checks) => { for (const check of checks) assert.match(report, new RegExp(`^  good ${check}`, "m"), report); };

test("lost-disk.md: the database is gone", async (t) => {
  const server = await company(t);
  await made(server, "最後の 人");
  await safe(server);
  const postmaster = server.postmaster();
  const died = server.kill();
  try { process.kill(postmaster, "SIGKILL"); } catch {}
  await died;
  rmSync(join(server.data, "pgdata"), { recursive: true, force: true, maxRetries: 5 });
  const book = new Runbook("lost-disk.md", { DIR: server.data, BACKUP: server.backup, KEY: join(server.folder, "backup.key") });
  copyFileSync(join(server.data, "backup.key"), join(server.folder, "backup.key")); // the copy of the first day
  good(book.run("restore"), "complete", "pg_amcheck", "history");
  book.run("promote");
  server.env = { ENISHI_BACKUP: "" }; // as always, and without a word about where the backups are
  await server.restart();
  assert.equal(names(server), "残る 人 最後の 人");
  await eventually("green or yellow, with the old repository", () => { const s = status(server.data); return s.state !== "red" && s.repository.folder === server.backup && s.receiver.state === "streaming"; }, 240_000);
  server.admin = await server.login("admin", server.password);
  await made(server, "後の 人");
  await safe(server);
  assert.equal(await server.stop(), 0);

  // Later the whole folder goes.
  rmSync(server.data, { recursive: true, force: true });
  good(book.run("restore-folder"), "complete", "pg_amcheck", "history");
  const again = await book.serve("serve");
  t.after(() => again.stop());
  assert.equal(names(server), "残る 人 最後の 人 後の 人");
  await eventually("backups go on", () => { const s = status(server.data); return s.receiver?.state === "streaming" && s.wal.files_waiting === 0 && calm(s); }, 240_000);
  assert.equal(await again.stop(), 0);
  book.finish();
});

test("wrong-delete.md: deleted rows come back, and what was written since stays", async (t) => {
  const server = await company(t);
  const people = [];
  for (const n of [1, 2, 3]) people.push(await made(server, `客 ${n}`, { emails: [{ email: `kyaku${n}@example.test` }], addresses: [{ postal_code: "1500001", prefecture: "東京都", city: "渋谷区", town: "神宮前", street: `${n}-1` }] }));
  const before = server.sql("select clock_timestamp()");
  server.sql("delete from customer_email where email like 'kyaku%'; delete from customer_address");
  await made(server, "その後の 人");
  const after = server.sql("select clock_timestamp()");
  await safe(server);
  const socket = (folder) => `host=${folder}/socket dbname=enishi user=enishi_owner`;
  for (const table of ["customer_email", "customer_address"]) {
    const book = new Runbook("wrong-delete.md", { DIR: server.data, TABLE: table, KEY_COLUMN: "id", LIVE: socket(server.data), OLD: socket(join(server.data, "restored")) });
    assert.match(book.run("find"), /db:enishi_owner \| customer_email\s+\|\s+3$/m);
    book.run("moments");
    assert.equal(book.env.FROM, "2026-11-22 14:02:59+09");
    Object.assign(book.env, { FROM: before, TO: after }); // the test's own 14:03
    good(book.run("restore"), "pg_amcheck", "history");
    const old = await book.serve("look");
    assert.equal(server.sql(`select count(*) from ${table}`), "0");
    book.run("copy");
    assert.equal(server.sql(`select count(*) from ${table}`), "3");
    assert.equal(await old.stop(), 0);
    book.run("remove");
    assert.ok(!existsSync(join(server.data, "restored")));
    book.finish();
  }
  assert.equal(names(server), "残る 人 客 1 客 2 客 3 その後の 人");
  const back = (await server.admin.get(`/v1/customers/${people[1].id}`)).body;
  assert.equal(back.emails[0].email, "kyaku2@example.test");
  assert.match(back.addresses[0].street, /2-1/);
  assert.equal(server.sql("select string_agg(distinct actor || ' ' || op, ',') from history where table_name = 'customer_email' and op = 'INSERT' and actor like 'db:%'"), "db:enishi_owner INSERT");
  assert.equal(await server.stop(), 0);
});

test("corrupted-page.md: a damaged page, and every commit comes back", { skip: !root && "needs root: it changes to the database's user" }, async (t) => {
  const server = await company(t);
  server.sql("insert into customer (id, display_name) select gen_random_uuid(), '客 ' || n from generate_series(1, 4000) n");
  await safe(server);
  server.sql("checkpoint", "postgres");
  const count = server.sql("select count(*) from customer");
  const file = join(server.data, "pgdata", server.sql("select pg_relation_filepath('customer')"));
  assert.equal(await server.stop(), 0);
  const fd = openSync(file, "r+"), byte = Buffer.alloc(1), at = Math.floor(statSync(file).size / 8192 / 2) * 8192 + 5000;
  readSync(fd, byte, 0, 1, at);
  byte[0] ^= 0x40;
  writeSync(fd, byte, 0, 1, at);
  closeSync(fd);
  await server.restart();
  assert.throws(() => server.sql("select count(display_name) from customer where version > 0"), /invalid page/);
  assert.equal(await server.stop(), 0);
  const book = new Runbook("corrupted-page.md", { DIR: server.data });
  assert.match(book.run("look", { status: 1 }), /Bad checksums:\s+1/);
  good(book.run("restore"), "complete", "pg_amcheck", "history");
  book.run("promote");
  await server.restart();
  assert.equal(server.sql("select count(display_name) from customer where version > 0"), count);
  assert.equal(readdirSync(server.data).filter((name) => name.startsWith("pgdata.before-")).length, 1);
  assert.equal(await server.stop(), 0);
  book.finish();
});

test("records.md: one customer's record, spoilt last week", async (t) => {
  const server = await Enishi.start();
  t.after(() => server.stop().catch(() => {}));
  server.admin = await server.administrator();
  const customer = await made(server, "正しい 名", { notes: "大切", emails: [{ email: "tadashii@example.test" }] });
  const moment = server.sql("select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')");
  const now = (await server.admin.get(`/v1/customers/${customer.id}`)).body;
  assert.equal((await server.admin.patch(`/v1/customers/${customer.id}`, { display_name: "壊れた 名", notes: "" }, now.version)).status, 200);
  const token = await server.admin.post("/v1/api-tokens", { name: "runbook", scopes: ["*"] });
  assert.equal(token.status, 201, token.text);
  const book = new Runbook("records.md", { URL: server.origin, TOKEN: token.body.token, CUSTOMER: customer.id, GOOD: moment });
  assert.match(book.run("differences"), /壊れた 名/);
  assert.match(book.run("preview"), /正しい 名/);
  assert.equal((await server.admin.get(`/v1/customers/${customer.id}`)).body.display_name, "壊れた 名");
  assert.match(book.run("put-back"), /"changed": ?1/);
  const back = (await server.admin.get(`/v1/customers/${customer.id}`)).body;
  assert.deepEqual([back.display_name, back.notes], ["正しい 名", "大切"]);
  book.finish();
});

test("move-machine.md: another machine goes on", async (t) => {
  const server = await company(t);
  await made(server, "引越しの 人");
  const there = scratch("runbook");
  const book = new Runbook("move-machine.md", { OLD: server.data, OLD_BACKUP: server.backup, DIR: join(there, "data"), BACKUP: join(there, "backup"), KEY: join(there, "backup.key") });
  book.run("copy");
  assert.match(book.run("prove"), /Any moment from/);
  await made(server, "間際の 人"); // written between the two copies
  assert.equal(await server.stop(), 0);
  book.run("copy-again");
  rmSync(server.folder, { recursive: true, force: true }); // the old machine is switched off
  good(book.run("restore"), "complete", "pg_amcheck", "history");
  const serving = await book.serve("serve");
  t.after(() => serving.stop());
  server.data = join(there, "data");
  assert.equal(names(server), "残る 人 引越しの 人 間際の 人");
  const client = new Client(serving.origin);
  assert.ok((await client.post("/v1/session", { login: "admin", password: server.password })).status < 300);
  await eventually("backups go on there", () => { const s = status(server.data); return s.receiver?.state === "streaming" && s.repository.folder === join(there, "backup") && calm(s); }, 240_000);
  assert.equal(await serving.stop(), 0);
  book.finish();
});

/** A PostgreSQL as a provider gives it: its administrator is no superuser, everybody needs a password. */
async function managed(t) {
  const folder = scratch("managed"), bin = "/usr/lib/postgresql/15/bin";
  const as = (command, ...args) => (root ? ["runuser", ["-u", "postgres", "--", command, ...args]] : [command, args]);
  if (root) execFileSync("chown", ["postgres:", folder]);
  const run = (command, ...args) => { const [program, all] = as(join(bin, command), ...args); return execFileSync(program, all, { stdio: ["ignore", "ignore", "inherit"], cwd: "/" }); };
  run("initdb", "-D", join(folder, "pg"), "-U", "provider", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8");
  const [program, args] = as(join(bin, "postgres"), "-D", join(folder, "pg"), "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off");
  const child = spawn(program, args, { stdio: "ignore", cwd: "/", detached: true });
  t.after(() => { try { process.kill(Number(execFileSync("head", ["-1", join(folder, "pg/postmaster.pid")], { encoding: "utf8" })), "SIGQUIT"); } catch {} child.kill("SIGKILL"); });
  const url = (user, database) => `postgresql:///${database}?host=${encodeURIComponent(folder)}&user=${user}`;
  const sql = (text, database = "enishi") => execFileSync("psql", ["-XqAt", "-v", "ON_ERROR_STOP=1", "-d", url("provider", database), "-c", text], { encoding: "utf8" }).trim();
  await eventually("the provider's PostgreSQL", () => sql("select 1", "postgres") === "1", 60_000);
  sql("create role administrator login createrole createdb password 'of-the-provider'", "postgres");
  const hba = join(folder, "pg/pg_hba.conf");
  writeFileSync(hba, "local all provider trust\nlocal all all scram-sha-256\n");
  sql("select pg_reload_conf()", "postgres");
  return { folder, url, sql };
}

test("move-managed.md: to a PostgreSQL whose owner is no superuser", async (t) => {
  const server = await company(t);
  const provider = await managed(t);
  server.sql("do $$ begin for i in 1..20000 loop perform pg_current_xact_id(); commit; end loop; end $$"); // a company that has worked for a while
  await made(server, "雲へ行く 人");
  const counts = server.sql("select (select count(*) from customer) || ' ' || (select count(*) from history)");
  assert.equal(await server.stop(), 0);
  const passwords = join(provider.folder, "passfile"), editor = join(provider.folder, "editor");
  writeFileSync(passwords, "*:*:*:administrator:of-the-provider\n*:*:*:enishi_owner:secret-one\n*:*:*:enishi_server:secret-two\n", { mode: 0o600 });
  writeFileSync(editor, "#!/bin/sh\nsed -i \"s/'CHANGE-ME'/'secret-one'/; s/'CHANGE-ME-TOO'/'secret-two'/\" \"$1\"\n");
  chmodSync(editor, 0o755);
  const book = new Runbook("move-managed.md", { DIR: server.data, OWNER_URL: provider.url("enishi_owner", "enishi"), SERVER_URL: provider.url("enishi_server", "enishi"), ADMIN_URL: provider.url("administrator", "postgres") },
    { PGPASSFILE: passwords, EDITOR: editor });
  book.run("roles");
  assert.match(book.run("try"), /pending/);
  const database = await book.serve("database");
  book.run("copy");
  // Without the next step events and seals would stand still: it is refused.
  const refused = spawnSync(binary, ["serve", "--database", provider.url("enishi_server", "enishi"), "--listen", "127.0.0.1:0"], { encoding: "utf8", env: book.env, timeout: 120_000 });
  assert.equal(refused.status, 1, refused.stderr);
  assert.match(refused.stderr, /HISTORY_AHEAD/);
  assert.match(book.run("check"), /0 that this schema refuses[\s\S]*The history is what was sealed/);
  assert.equal(provider.sql("select (select count(*) from customer) || ' ' || (select count(*) from history)"), counts);
  assert.equal(await database.stop(), 0);
  const serving = await book.serve("serve");
  t.after(() => serving.stop());
  const admin = new Client(serving.origin);
  const session = await admin.post("/v1/session", { login: "admin", password: server.password });
  assert.ok(session.status < 300, session.text);
  admin.csrf = session.body.csrf_token;
  assert.equal((await admin.post("/v1/customers", { display_name: "雲の 人" })).status, 201);
  assert.equal(provider.sql("select rolsuper from pg_roles where rolname = 'enishi_owner'"), "f");
  const last = provider.sql("select (select h.customer_id::text from history h where h.entity = 'customer' order by h.xid desc, h.id desc limit 1) = (select id::text from customer where display_name = '雲の 人')");
  assert.equal(last, "t", "what is new comes after what was moved");
  await eventually("it is sealed", () => provider.sql("select not exists (select from history h where (h.xid, h.id) > (select s.last_xid, s.last_id from history_seal s order by s.number desc limit 1))") === "t", 120_000);
  assert.match(book.run("check"), /The history is what was sealed/);
  assert.equal(await serving.stop(), 0);
  book.finish();
});

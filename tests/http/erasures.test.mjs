// A person who was erased by law does not come back with a restore, and the history stays a chain that nobody broke.
import test from "node:test";
import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { createInterface } from "node:readline";
import { closeSync, constants, existsSync, openSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Enishi, binary, eventually, newId, scratch } from "../enishi.mjs";

const run = (...args) => spawnSync(binary, args, { encoding: "utf8" });

test("a restore to before an erasure erases again; the chain verifies; nothing brings the person back", async (t) => {
  const server = await Enishi.start({ env: { ENISHI_BACKUP: "" }, args: ["--drill-days", "0"] });
  t.after(() => server.child.kill("SIGKILL"));
  let admin = await server.administrator();
  const person = (await admin.post("/v1/customers", { display_name: "忘れる 人", notes: "秘密の覚書", phones: [{ raw: "090-8765-4321" }] })).body;
  const other = (await admin.post("/v1/customers", { display_name: "残る 人" })).body;
  const moment = server.sql("select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')");
  await eventually("the first backup", async () => (await admin.get("/v1/continuity")).body.repository?.last_backup_at, 240_000);
  const sealed = () => server.sql("select exists (select from history_seal) and not exists (select from history h where (h.xid, h.id) > (select s.last_xid, s.last_id from history_seal s order by s.number desc limit 1))") === "t";
  await eventually("the history is sealed", sealed, 120_000);
  const mark = await admin.post("/v1/continuity/requests", { kind: "MARK", name: "before-erasure" });
  await eventually("the mark", async () => (await admin.get("/v1/continuity/requests")).body.items.find((r) => r.id === mark.body.id && r.state === "DONE"), 120_000);
  const erased = await admin.post(`/v1/customers/${person.id}/erasure`, { reason: "本人の請求" });
  assert.equal(erased.status, 200, erased.text);
  const list = join(server.data, "backup/erasures.jsonl");
  await eventually("the list beside the backups", () => existsSync(list) && readFileSync(list, "utf8").includes(person.id), 120_000);
  assert.doesNotMatch(readFileSync(list, "utf8"), /忘れる|秘密/);

  const into = join(scratch(), "restored");
  const done = run("restore", "--data", server.data, "--to", "before-erasure", "--into", into, "--json");
  assert.equal(done.status, 0, done.stdout + done.stderr);
  const checks = Object.fromEntries(JSON.parse(done.stdout).checks.map((c) => [c.name, c]));
  assert.match(checks.erasures.detail, /^1 people/);
  assert.ok(checks.history.good, checks.history.detail);
  const drill = run("drill", "--data", server.data, "--json");
  assert.equal(drill.status, 0, drill.stdout + drill.stderr);

  assert.equal(await server.stop(), 0);
  const promoted = run("restore", "--data", server.data, "--into", into, "--promote");
  assert.equal(promoted.status, 0, promoted.stderr);
  await server.restart();
  admin = await server.login("admin", server.password);
  assert.equal((await admin.get(`/v1/customers/${person.id}`)).status, 404);
  assert.equal((await admin.get(`/v1/customers/${other.id}`)).body.display_name, "残る 人");
  assert.equal((await admin.get(`/v1/history/customer/${person.id}?as_of=${moment}`)).status, 410);
  assert.equal(server.sql(`select count(*) from history where customer_id = '${person.id}' and content is not null`), "0");
  assert.equal(server.sql("select count(*) from customer c, customer_phone p where c::text ~ '忘れる|秘密' or p::text ~ '87654321'"), "0");
  const selection = { kind: "RECORD", table: "customer", row_id: person.id, to: moment, parts: true };
  const preview = await admin.post("/v1/put-backs/preview", selection);
  if (preview.status !== 404) {
    assert.equal(preview.status, 200, preview.text);
    assert.equal(preview.body.rows, 0, preview.text);
    const put = await admin.post("/v1/put-backs", { ...selection, seen: preview.body.seen, overwrite: true });
    assert.equal(put.body.changed, 0, put.text);
  }
  assert.equal((await admin.get(`/v1/customers/${person.id}`)).status, 404);
  await eventually("the erasure is sealed, too", sealed, 120_000);
  const verified = run("history", "verify", "--data", server.data);
  assert.equal(verified.status, 0, verified.stdout + verified.stderr);
  assert.match(verified.stdout, /The history is what was sealed/);
  // A row that somebody changes behind its back is found.
  server.sql(`update history set actor = 'somebody else' where id = (select min(id) from history where row_id = '${other.id}')`);
  const forged = run("history", "verify", "--data", server.data);
  assert.equal(forged.status, 1);
  assert.match(forged.stdout, /CHANGED/);
  assert.equal(await server.stop(), 0);
});

test("the basic profile lists the erased beside its backups, though the server does not know where these are", async (t) => {
  const data = join(scratch(), "data");
  const env = { ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("ENISHI_"))), ENISHI_PASSWORD_COST: "low" };
  const database = spawn(binary, ["cluster", "--data", data, "--listen", "127.0.0.1:0", "--drill-days", "0"], { stdio: ["ignore", "pipe", "pipe"], env });
  t.after(() => database.kill("SIGKILL"));
  const log = [], lines = [];
  database.stderr.on("data", (some) => log.push(String(some)));
  const over = new Promise((resolve) => database.on("exit", (code, signal) => resolve(code ?? signal)));
  await new Promise((resolve, reject) => {
    createInterface({ input: database.stdout }).on("line", (line) => { lines.push(line); if (/^Metrics: /.test(line)) resolve(); });
    over.then((code) => reject(new Error(`the cluster ended with ${code}\n${log.slice(-20).join("")}`)));
  });
  const owner = lines[0].replace("PostgreSQL is ready: ", "");
  const migrated = spawnSync(binary, ["db", "migrate", "--database", owner], { encoding: "utf8", env });
  assert.equal(migrated.status, 0, migrated.stderr);
  const server = await Enishi.start({ database: owner.replace("enishi_owner", "enishi_app"), env: { ENISHI_BACKUP: "" } });
  t.after(() => server.child.kill("SIGKILL"));
  const client = await server.administrator();
  const person = (await client.post("/v1/customers", { display_name: "忘れる 人" })).body;
  assert.equal((await client.post(`/v1/customers/${person.id}/erasure`, { reason: "本人の請求" })).status, 200);
  const list = join(data, "backup/erasures.jsonl");
  await eventually("the list beside the backups", () => existsSync(list) && readFileSync(list, "utf8").includes(person.id), 120_000);
  assert.equal(await server.stop(), 0);
  database.kill("SIGTERM");
  assert.equal(await over, 0);
});

test("a backup disk that does not answer holds neither the start nor the end of a server, and whom its list names is erased when it answers", async (t) => {
  const server = await Enishi.start({ env: { ENISHI_BACKUP: "" }, args: ["--drill-days", "0"] });
  t.after(() => server.child.kill("SIGKILL"));
  let client = await server.administrator();
  const list = join(server.data, "backup/erasures.jsonl"), aside = join(server.data, "backup/aside");
  const person = async (display_name) => (await client.post("/v1/customers", { display_name })).body;
  const known = await person("知る 人"), restored = await person("戻った 人"), next = await person("次の 人");
  assert.equal((await client.post(`/v1/customers/${known.id}/erasure`, { reason: "本人の請求" })).status, 200);
  await eventually("the list beside the backups", () => existsSync(list) && readFileSync(list, "utf8").includes(known.id), 120_000);
  assert.equal(await server.stop(), 0);
  // The list knows of an erasure that came after the database's moment; whoever opens a pipe that nobody writes to waits as for a disk that hangs.
  writeFileSync(list, `${readFileSync(list, "utf8")}${JSON.stringify({ ...JSON.parse(readFileSync(list, "utf8").split("\n")[0]), id: newId(), customer_id: restored.id })}\n`);
  renameSync(list, aside);
  execFileSync("mkfifo", ["-m", "666", list]);
  await server.restart();
  assert.match(server.log.join(""), /the disk of the backups does not answer/);
  assert.equal(await server.stop(), 0, "nor does it hold the end");
  await server.restart();
  client = await server.login("admin", server.password);
  assert.equal((await client.get(`/v1/customers/${restored.id}`)).status, 200, "nobody can know");
  const waits = openSync(list, constants.O_RDWR);
  renameSync(aside, list);
  closeSync(waits); // the pipe's readers read nothing; the next erasure makes the server read the list
  assert.equal((await client.post(`/v1/customers/${next.id}/erasure`, { reason: "本人の請求" })).status, 200);
  await eventually("erased again", async () => (await client.get(`/v1/customers/${restored.id}`)).status === 404, 60_000);
  assert.equal(server.sql(`select display_name from customer where id = '${restored.id}'`), "—");
  assert.equal(await server.stop(), 0);
});

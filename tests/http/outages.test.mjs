// What happens around the server: PostgreSQL restarts and loses its connections under load, the disk fills up, the command line is used wrongly.
import test from "node:test";
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, statfsSync, writeFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import { Enishi, Client, binary, eventually, newId, scratch } from "../enishi.mjs";

/** To one process: 0, which an empty answer of SQL becomes, would be the runner's whole group. */
function signal(pid, name) {
  assert.ok(Number(pid) > 1, `no process to send ${name} to: ${JSON.stringify(pid)}`);
  process.kill(Number(pid), name);
}

/** Writers that make customers under keys of their own, and repeat what is in doubt. */
class Writers {
  stored = new Map();   // id → version that was acknowledged
  statuses = {};
  running = true;
  wrong = [];
  longest = 0;          // ms without one success
  constructor(server, admin, count = 8) {
    this.last = Date.now();
    this.done = Promise.all(Array.from({ length: count }, async (_, n) => {
      const client = new Client(server.origin);
      Object.assign(client, { cookies: admin.cookies, csrf: admin.csrf });
      for (let i = 0; this.running; i++) {
        const id = newId();
        const made = await this.insist(client, "POST", "/v1/customers", { id, display_name: `客 ${n}-${i}`, phones: [{ raw: "03-1234-5678" }] });
        if (made?.status !== 201) continue;
        this.stored.set(id, 1);
        const changed = await this.insist(client, "PATCH", `/v1/customers/${id}`, { notes: `${i}` }, { "if-match": '"1"' });
        if (changed?.status === 200) this.stored.set(id, 2);
      }
    }));
  }
  async insist(client, method, path, body, headers) {
    const key = newId();
    for (const end = Date.now() + 40_000; Date.now() < end;) {
      const answer = await client.send(method, path, body, { ...headers, "idempotency-key": key });
      this.statuses[answer.status] = (this.statuses[answer.status] ?? 0) + 1;
      if (answer.status < 300) {
        this.longest = Math.max(this.longest, Date.now() - this.last);
        this.last = Date.now();
        return answer;
      }
      const busy = answer.status === 409 && answer.body.code === "IDEMPOTENCY_KEY_IN_USE";
      if (!busy && (answer.status !== 503 || !(Number(answer.headers.get("retry-after")) >= 1) || !/^(UNAVAILABLE|TIMEOUT|OUTCOME_UNKNOWN)$/.test(answer.body?.code)))
        this.wrong.push(`${method} ${path}: ${answer.status} ${answer.headers.get("retry-after")} ${answer.text.slice(0, 300)}`);
      await new Promise((go) => setTimeout(go, 30));
    }
    this.wrong.push(`${method} ${path}: no success in 40 s`);
  }
  async stop() {
    this.running = false;
    await this.done;
    assert.deepEqual(this.wrong.slice(0, 5), [], `${this.wrong.length} answers were other than a success or a 503 with Retry-After`);
  }
  check(server) {
    const rows = JSON.parse(server.sql(`select coalesce(json_agg(json_build_array(c.id, c.version, (select count(*) from history h where h.row_id = c.id), (select count(*) from customer_phone p where p.customer_id = c.id))), '[]') from customer c`));
    const found = new Map(rows.map(([id, ...more]) => [id, more]));
    for (const [id, version] of this.stored)
      assert.deepEqual(found.get(id), [version, version, 1], `customer ${id}: told version ${version}; stored [version, entries of history, phones] ${found.get(id)}`);
    assert.equal(found.size, this.stored.size, "customers that nobody was told of");
  }
}

test("PostgreSQL restarts under load: 503 with Retry-After, seconds later all is well, nothing lost, nothing twice", async (t) => {
  const server = await Enishi.start();
  t.after(() => server.stop());
  const admin = await server.administrator();
  const pid = server.child.pid;
  const outages = [
    ["fast shutdown", () => signal(server.postmaster(), "SIGINT")],
    ["immediate shutdown", () => signal(server.postmaster(), "SIGQUIT")],
    ["all connections ended", () => server.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'enishi_app'", "postgres")],
    ["one backend killed", () => signal(server.sql("select pid from pg_stat_activity where usename = 'enishi_app' limit 1", "postgres"), "SIGKILL")],
  ];
  const all = new Map();
  for (const [what, strike] of outages) {
    await t.test(what, async () => {
      const before = server.postmaster();
      const writers = new Writers(server, admin);
      for (const [id, version] of all) writers.stored.set(id, version);
      const enough = (n) => eventually(`${n} writes, beside ${JSON.stringify(writers.statuses)}`, () => writers.stored.size - all.size >= n, 30_000);
      await enough(50);
      await strike();
      const struck = Date.now();
      const size = writers.stored.size;
      await eventually("writes go on", () => writers.stored.size > size + 50, 30_000);
      await writers.stop();
      writers.check(server);
      for (const [id, version] of writers.stored) all.set(id, version);
      t.diagnostic(`${what}: ${JSON.stringify(writers.statuses)}, ${writers.longest} ms without a success, over after ${Date.now() - struck} ms`);
      assert.ok(writers.longest < 15_000, `${writers.longest} ms without a success`);
      assert.equal(server.child.pid, pid);
      assert.equal((await new Client(server.origin).get("/readyz")).status, 200);
      assert.ok(what.includes("shutdown") ? server.postmaster() !== before : true, "PostgreSQL was not restarted");
    });
  }
  assert.deepEqual(server.errors.filter((line) => !/postgres ended; starting it again/.test(line)), []);
});

test("PostgreSQL hangs: 503 with Retry-After in time, and when it wakes up everything is there once", async (t) => {
  const server = await Enishi.start();
  t.after(() => server.stop());
  const admin = await server.administrator();
  const writers = new Writers(server, admin);
  await eventually("50 writes", () => writers.stored.size >= 50);
  const asleep = [server.postmaster(), ...server.sql("select pid from pg_stat_activity where usename = 'enishi_app'", "postgres").split("\n")];
  try {
    for (const pid of asleep) signal(pid, "SIGSTOP");
    await eventually("503", () => writers.statuses[503] > 0, 30_000);
    const began = Date.now();
    const health = await new Client(server.origin).get("/healthz");
    assert.ok(health.status === 200 && Date.now() - began < 2000, `/healthz: ${health.status} after ${Date.now() - began} ms`);
    const ready = await new Client(server.origin).get("/readyz");
    assert.equal(ready.status, 503, ready.text);
  } finally {
    for (const pid of asleep) try { signal(pid, "SIGCONT"); } catch {} // it may have ended
  }
  const size = writers.stored.size;
  await eventually("writes go on", () => writers.stored.size > size + 50, 30_000);
  await writers.stop();
  t.diagnostic(JSON.stringify(writers.statuses));
  await eventually("ready", async () => (await new Client(server.origin).get("/readyz")).status === 200);
  writers.check(server);
  assert.deepEqual(server.errors, []);
});

test("the disk is full: writes are 503, reads go on or are 503, nothing crashes; with room again all is well", async (t) => {
  const folder = scratch("enishi-disk");
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=700m,mode=755", "tmpfs", folder], { encoding: "utf8" });
  if (mounted.status !== 0) return t.skip(`no file system may be mounted here: ${mounted.stderr?.trim() ?? mounted.error}`);
  let server;
  t.after(async () => {
    if (server) await server.stop();
    spawnSync("umount", ["-l", folder]);
  });
  server = await Enishi.start({ data: join(folder, "data") });
  const admin = await server.administrator();
  const kept = await admin.post("/v1/customers", { display_name: "前からの客" });
  assert.equal(kept.status, 201);
  const pid = server.child.pid;
  const ballast = join(folder, "ballast");
  const fill = () => spawnSync("dd", ["if=/dev/zero", `of=${ballast}`, "bs=64k", "oflag=append", "conv=notrunc"], { encoding: "utf8" });
  fill();
  assert.ok(statfsSync(folder).bavail * 4096 < 1_000_000, "the disk is not full");
  const stored = new Set([kept.body.id]);
  const answers = {};
  const filling = Date.now() + 60_000;
  let refused = 0;
  for (let i = 0; refused < 20; i++) {
    assert.ok(Date.now() < filling, `the full disk was never felt: ${JSON.stringify(answers)}`);
    if (i % 20 === 0) fill();
    const id = newId();
    const answer = await admin.post("/v1/customers", { id, display_name: "長い備考の客", notes: "備".repeat(10_000) }, { "idempotency-key": id });
    answers[`${answer.status} ${answer.body.code ?? ""}`] = (answers[`${answer.status} ${answer.body.code ?? ""}`] ?? 0) + 1;
    if (answer.status === 201) { stored.add(id); continue; }
    assert.equal(answer.status, 503, answer.text);
    assert.ok(Number(answer.headers.get("retry-after")) >= 1, answer.text);
    assert.match(answer.body.code, /^(DISK_FULL|UNAVAILABLE|TIMEOUT|OUTCOME_UNKNOWN)$/);
    refused++;
    const read = await admin.get(`/v1/customers/${kept.body.id}`);
    assert.ok([200, 503].includes(read.status), read.text);
  }
  t.diagnostic(JSON.stringify(answers));
  assert.equal((await new Client(server.origin).get("/healthz")).status, 200);
  rmSync(ballast);
  const id = newId();
  const began = Date.now();
  await eventually("a write after there is room again", async () => (await admin.post("/v1/customers", { id, display_name: "後の客" }, { "idempotency-key": id })).status === 201, 60_000);
  t.diagnostic(`works again ${Date.now() - began} ms after there was room`);
  stored.add(id);
  assert.equal(server.child.pid, pid);
  const found = new Set(server.sql("select id from customer").split("\n"));
  assert.deepEqual([...stored].filter((x) => !found.has(x)), [], "acknowledged and gone");
  assert.equal(server.sql("select count(*) from customer c where (select count(*) from history h where h.row_id = c.id) <> c.version"), "0");
});

/** The same as run(), beside others: some wait for a database before they give up. */
const runBeside = (args, env = {}) => new Promise((resolve) => {
  const child = spawn(binary, args, { stdio: ["ignore", "pipe", "pipe"], timeout: 60_000, env: { PATH: process.env.PATH, HOME: "/tmp", ...env } });
  const said = { stdout: "", stderr: "" };
  for (const stream of ["stdout", "stderr"]) child[stream].on("data", (chunk) => { said[stream] += chunk; });
  child.on("close", (status, signal) => resolve({ ...said, status, signal }));
});
const run = (args, env = {}) => spawnSync(binary, args, { encoding: "utf8", timeout: 60_000, env: { PATH: process.env.PATH, HOME: "/tmp", ...env } });

test("the command line: help, wrong flags, wrong settings, wrong folders", async (t) => {
  for (const args of [[], ["--help"], ["serve", "--help"], ["db", "--help"], ["db", "status", "--help"], ["db", "check", "--help"], ["user", "--help"], ["demo", "--help"]]) {
    const said = run(args);
    assert.equal(said.status, 0, `${args}: ${said.stderr}`);
    assert.ok(said.stdout.length > 50 && said.stderr === "", `${args}: ${said.stdout}${said.stderr}`);
  }
  assert.match(run(["version"]).stdout, /\d+\.\d+/);
  const folder = scratch();
  const occupied = join(folder, "occupied");
  mkdirSync(occupied);
  writeFileSync(join(occupied, "diary.txt"), "mine");
  writeFileSync(join(folder, "file"), "");
  writeFileSync(join(folder, "broken.toml"), "listen = [");
  writeFileSync(join(folder, "unknown.toml"), 'lisen = "127.0.0.1:0"');
  const data = join(folder, "data");
  const wrong = [];
  await Promise.all([
    [["serv"], /serve|--help/],
    [["serve", "--bogus"], /--bogus/],
    [["serve"], /--data|--database/],
    [["serve", "--data"], /--data/],
    [["serve", "--data", data, "--listen", "nowhere"], /nowhere/],
    [["serve", "--data", data, "--listen", "127.0.0.1:99999"], /99999/],
    [["serve", "--data", data, "--listen", "203.0.113.1:0"], /203\.0\.113\.1/],
    [["serve", "--data", data, "--shards", "many"], /many/],
    [["serve", "--data", data, "--shards", "99999"], /99999/],
    [["serve", "--data", data, "--log-level", "loud"], /loud/],
    [["serve", "--data", data], /ENISHI_LISTN.*ENISHI_LISTEN/s, { ENISHI_LISTN: "x" }],
    [["serve", "--data", data, "--database", "postgresql:///x"], /--data.*--database|--database.*--data/s],
    [["serve", "--data", occupied, "--listen", "127.0.0.1:0"], /not empty/],
    [["serve", "--data", join(folder, "file"), "--listen", "127.0.0.1:0"], /no folder/],
    [["serve", "--config", join(folder, "missing.toml")], /missing\.toml/],
    [["serve", "--config", join(folder, "broken.toml")], /broken\.toml, line 1/],
    [["serve", "--config", join(folder, "unknown.toml")], /lisen.*listen/],
    [["serve", "--database", "postgresql://nobody@127.0.0.1:1/none", "--listen", "127.0.0.1:0"], /127\.0\.0\.1/],
    [["db", "status"], /--data|--database/],
    [["db", "status", "--data", join(folder, "nothing-here")], /nothing-here/],
    [["db", "check", "--database", "postgresql://nobody@127.0.0.1:1/none"], /127\.0\.0\.1/],
    [["db", "bogus"], /"bogus" is no command of `enishi db`.*status, migrate, check, roles/],
    [["db", "statu"], /"statu".*did you mean status\?/],
    [["db"], /`enishi db` needs one of: status, migrate, check, roles/],
    [["user"], /`enishi user` needs one of: link, add/],
    [["user", "remove", "somebody"], /"remove" is no command of `enishi user`.*link, add/],
    [["db", "status", "bogus"], /bogus/],
  ].map(async ([args, says, env]) => {
    const began = Date.now();
    const said = await runBeside(args, env);
    if (Date.now() - began > 20_000) wrong.push(`enishi ${args.join(" ")} took ${Date.now() - began} ms to fail`);
    if (!(said.status > 0 && said.status < 128) || !says.test(said.stderr) || /terminate called|Assertion|Sanitizer/.test(said.stderr))
      wrong.push(`enishi ${args.join(" ")} should fail and say ${says}: ended with ${said.status ?? said.signal}: ${said.stdout}${said.stderr}`);
  }));
  assert.deepEqual(wrong, [], wrong.join("\n"));
  assert.equal(existsSync(data), false, "a wrong command made a data folder");
});

test("the database is named as for any program of libpq: by URL, of several hosts the one that answers, and by its environment", async (t) => {
  const first = await Enishi.start();
  t.after(() => first.stop());
  const admin = await first.administrator();
  const socket = join(first.data, "socket");
  for (const [database, env] of [
    [`postgresql://enishi_app@/enishi?host=127.0.0.1,${encodeURIComponent(socket)}&port=1,5432&target_session_attrs=read-write`, {}],
    [`host=${scratch()},${socket} user=enishi_app dbname=enishi`, {}],
    ["postgresql://", { PGHOST: socket, PGUSER: "enishi_app", PGDATABASE: "enishi" }],
  ]) {
    const beside = await Enishi.start({ database, env });
    t.after(() => beside.kill());
    const there = await beside.login("admin", first.password);
    const made = await there.post("/v1/customers", { display_name: "別経路 通子" });
    assert.equal(made.status, 201, `${database}: ${made.text}`);
    assert.equal((await admin.get(`/v1/customers/${made.body.id}`)).body.display_name, "別経路 通子");
    assert.equal(await beside.stop(), 0);
  }
});

test("one server a folder, one server a port; db looks at a running one", async (t) => {
  const server = await Enishi.start();
  t.after(() => server.stop());
  const port = new URL(server.origin).port;
  const second = run(["serve", "--data", server.data, "--listen", "127.0.0.1:0"]);
  assert.ok(second.status > 0, second.stdout);
  assert.match(second.stderr, new RegExp(`in use.*${server.child.pid}`), second.stderr);
  const elsewhere = join(scratch(), "data");
  const taken = run(["serve", "--data", elsewhere, "--listen", `127.0.0.1:${port}`]);
  assert.ok(taken.status > 0, taken.stdout);
  assert.match(taken.stderr, new RegExp(`${port}`), taken.stderr);
  assert.equal(existsSync(elsewhere), false, "a cluster was made for a port that is taken");
  for (const command of ["status", "check"]) {
    const said = run(["db", command, "--data", server.data]);
    assert.equal(said.status, 0, `db ${command}: ${said.stdout}${said.stderr}`);
    assert.ok(said.stdout.length > 10, `db ${command} said nothing`);
  }
  assert.equal((await new Client(server.origin).get("/healthz")).status, 200);
  const began = Date.now();
  assert.equal(await server.stop(), 0, server.log.slice(-10).join("\n"));
  t.diagnostic(`SIGTERM to exit: ${Date.now() - began} ms`);
  await server.restart();
  assert.deepEqual(server.errors, []);
});

/** A postmaster ended before it handles signals leaves its file behind; what counts is the process that the file names, if it still is one of PostgreSQL. */
function running(pidFile) {
  if (!existsSync(pidFile)) return false;
  const pid = Number(readFileSync(pidFile, "utf8").split("\n")[0]);
  try { return readFileSync(`/proc/${pid}/comm`, "utf8").startsWith("postgres"); } catch (gone) { if (/^(ENOENT|ESRCH)$/.test(gone.code)) return false; throw gone; }
}

test("SIGTERM while the first start is under way ends it with 0, and the next start finds nothing in its way", async (t) => {
  const moments = [0, 50, 300, 700, 1200, 2000, 3000];
  const data = join(scratch(), "data");
  let given_up = 0;
  for (const moment of moments) {
    const child = spawn(binary, ["serve", "--demo", "--data", data, "--listen", "127.0.0.1:0"], {
      stdio: ["ignore", "pipe", "pipe"], env: { PATH: process.env.PATH, HOME: "/tmp", ENISHI_PASSWORD_COST: "low" } });
    t.after(() => child.kill("SIGKILL"));
    const log = [];
    child.stderr.on("data", (some) => log.push(some));
    child.stdout.resume();
    const exited = new Promise((done) => child.on("exit", (code, signal) => done(code ?? signal)));
    await Promise.race([exited, new Promise((go) => setTimeout(go, moment))]); // the moment is what is tried out, not waited for
    child.kill("SIGTERM");
    const code = await exited;
    const said = log.join("");
    // A signal before main has taken over is the kernel's: no file was touched.
    if (!(code === "SIGTERM" && !existsSync(data))) assert.equal(code, 0, `after ${moment} ms: ${said}`);
    assert.doesNotMatch(said, /"level":"error"/);
    if (/the start is given up/.test(said)) given_up++;
    assert.equal(running(join(data, "pgdata/postmaster.pid")), false, `after ${moment} ms PostgreSQL was left running`);
  }
  assert.ok(given_up >= 2, `only ${given_up} starts were still under way`);
  const server = await Enishi.start({ data, args: ["--demo"] });
  t.after(() => server.stop());
  const password = readFileSync(join(data, "demo-password"), "utf8").trim();
  await server.login("operator1", password);
  assert.deepEqual(server.errors, []);
});

test("SIGTERM during writes: what was begun is finished, what comes later is refused, nothing is lost", async (t) => {
  const server = await Enishi.start();
  t.after(() => server.stop().catch(() => {}));
  const admin = await server.administrator();
  const told = new Set();
  let going = true;
  const work = Promise.all(Array.from({ length: 8 }, async () => {
    const client = new Client(server.origin);
    Object.assign(client, { cookies: admin.cookies, csrf: admin.csrf });
    while (going) {
      const id = newId();
      let answer;
      try { answer = await client.post("/v1/customers", { id, display_name: "終わりの客" }); } catch { break; } // the server is gone
      if (answer.status === 201) told.add(id);
      else { assert.equal(answer.status, 503, answer.text); break; }
    }
  }));
  await eventually("100 customers", () => told.size > 100);
  assert.equal(await server.stop(), 0, server.log.slice(-10).join("\n"));
  going = false;
  await work;
  await server.restart();
  const found = new Set(server.sql("select id from customer").split("\n"));
  assert.deepEqual([...told].filter((id) => !found.has(id)), []);
  t.diagnostic(`${told.size} told, ${found.size} stored`);
  assert.ok(found.size - told.size <= 8, "more writes without an answer than there were writers");
  assert.deepEqual(server.errors, []);
});

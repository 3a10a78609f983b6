// ./dev bench continuity [PART…]: what disasters cost, and what backups, sealing and looking back cost. Parts: start disasters restore throughput sealing as_of.
// Disasters: eight writers make customers over HTTP; every 201 is an acknowledged row. Then something breaks, the runbook is followed, and every acknowledged row is looked for.
//   rows lost must be 0, except with asynchronous receiving where the database's disk is lost: there the loss is measured and told.
// Options: --customers N (size of the data set for throughput; start and restore take at most 200000 of them; 1000000), --seconds N (of each round, 30), --rounds N (5), --load N (seconds of load before each disaster, 4),
//   --history N (rows for as_of; 20000000), --mode asynchronous|synchronous (of the disasters)
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, openSync, writeFileSync, writeSync, readSync, closeSync } from "node:fs";
import { join, dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { Client, Enishi, binary, eventually, newId, scratch } from "../tests/enishi.mjs";

const parts = [];
const options = { customers: 1_000_000, seconds: 30, rounds: 5, load: 4, history: 20_000_000 };
let modes = ["asynchronous", "synchronous"];
process.setMaxListeners(0);
for (let i = 2; i < process.argv.length; ++i) {
  const name = process.argv[i].replace(/^--/, "");
  if (name !== process.argv[i] && name in options) options[name] = Number(process.argv[++i]);
  else if (name === "mode") modes = [process.argv[++i]];
  else if (["disasters", "throughput", "restore", "start", "sealing", "as_of"].includes(name)) parts.push(name);
  else { console.error(`nobody knows ${process.argv[i]}`); process.exit(2); }
}
const wanted = (name) => parts.length === 0 || parts.includes(name);
const root = process.getuid() === 0;
const sleep = (ms) => new Promise((go) => setTimeout(go, ms));
const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
let short = 0;
const say = (name, mode, figure, bound, good) => {
  if (!good) ++short;
  console.log(`${name.padEnd(36)} ${mode.padEnd(13)} ${figure.padEnd(98)} ${bound.padEnd(34)} ${good ? "ok" : "SHORT"}`);
};
const run = (...args) => {
  const done = spawnSync(binary, args, { encoding: "utf8", env: { ...process.env, ENISHI_BACKUP: "" } });
  if (done.status !== 0) throw new Error(`enishi ${args.join(" ")}: ${done.status}\n${done.stdout}\n${done.stderr}`);
  return done.stdout;
};
const status = (server) => { const done = spawnSync(binary, ["status", "--json", "--data", server.data], { encoding: "utf8" }); return done.stdout ? JSON.parse(done.stdout) : {}; };
const codes = (server) => (status(server).problems ?? []).map((p) => p.code);

/** A server with backups on "another disk", its first backup made, and in synchronous mode waiting for its receiver. */
async function serve(mode, { data, backup, args = [] } = {}) {
  const folder = scratch("enishi-bench");
  backup ??= join(folder, "backup");
  const server = await Enishi.start({
    data: data ?? join(folder, "data"),
    env: { ENISHI_BACKUP: backup },
    args: ["--drill-days", "0", "--log-level", "warning", "--requests-per-second", "0", ...(mode === "synchronous" ? ["--synchronous"] : []), ...args],
  });
  server.backup = backup;
  await safe(server, mode);
  return server;
}
const safe = (server, mode) => eventually("backups work", () => {
  const s = status(server);
  return s.repository?.last_backup_at && !s.running && s.receiver.state === "streaming" && (mode !== "synchronous" || s.receiver.synchronous);
}, 600_000);

/** Writers that note what was acknowledged, until stop(). */
function writers(client, count = 8) {
  const acknowledged = new Map();
  let go = true, refused = 0;
  const one = async () => {
    while (go) {
      const id = newId();
      try {
        const answer = await fetch(`${client.origin}/v1/customers`, { method: "POST", signal: AbortSignal.timeout(30_000),
          headers: { "content-type": "application/json", cookie: [...client.cookies].map(([k, v]) => `${k}=${v}`).join("; "), "x-csrf-token": client.csrf, "idempotency-key": id },
          body: JSON.stringify({ id, display_name: "試験 太郎" }) });
        await answer.arrayBuffer();
        if (answer.status === 201) acknowledged.set(id, performance.now());
        else { ++refused; await sleep(20); }
      } catch { ++refused; await sleep(20); }
    }
  };
  const all = Array.from({ length: count }, one);
  return { acknowledged, refused: () => refused, stop: async () => { go = false; await Promise.all(all); } };
}

/** Seconds from `since` until a write is accepted, by the clock of this process. */
async function accepted(server, since) {
  const admin = await eventually("log in", () => server.login("admin", server.password), 60_000);
  await eventually("a write is accepted", async () => (await admin.post("/v1/customers", { display_name: "試験 花子" })).status === 201, 120_000);
  return (performance.now() - since) / 1000;
}
const missing = (server, acknowledged) => {
  const there = new Set(server.sql("select id from customer").split("\n"));
  return [...acknowledged.keys()].filter((id) => !there.has(id));
};
function tell(name, mode, w, lost, seconds, how, mayLose = false) {
  const span = lost.length ? `, the last ${((Math.max(...w.acknowledged.values()) - Math.min(...lost.map((id) => w.acknowledged.get(id)))) * 1).toFixed(0)} ms` : "";
  say(name, mode, `${w.acknowledged.size} acknowledged, ${lost.length} lost${span}; writes again after ${seconds.toFixed(1)} s ${how}`, mayLose ? "told, no bound" : "0 lost",
    w.acknowledged.size > 0 && (mayLose || lost.length === 0));
}

/** The runbook "lost disk": restore, promote, start. */
async function recover(server) {
  const into = join(server.data, "restored");
  const report = JSON.parse(run("restore", "--data", server.data, "--into", into, "--json"));
  if (!report.good) throw new Error(`the restore is not good: ${JSON.stringify(report.checks)}`);
  run("restore", "--data", server.data, "--into", into, "--promote");
  await server.restart();
  return report;
}
async function killAll(server) {
  const postmaster = server.postmaster();
  const died = server.kill();
  try { process.kill(postmaster, "SIGKILL"); } catch {}
  await died;
}

async function killNine(mode) {
  const server = await serve(mode);
  const w = writers(await server.administrator());
  await sleep(options.load * 1000);
  const began = performance.now();
  await killAll(server);
  await w.stop();
  await server.restart();
  const seconds = await accepted(server, began);
  tell("kill -9 of Enishi and PostgreSQL", mode, w, missing(server, w.acknowledged), seconds, "(restart, recovery)");
  await server.stop();
}

async function lostFolder(mode, archivedToo) {
  const server = await serve(mode);
  const w = writers(await server.administrator());
  await sleep(options.load * 1000);
  if (archivedToo) server.sql("select pg_switch_wal()", "postgres");
  const pgdata = join(server.data, "pgdata"), postmaster = server.postmaster();
  const began = performance.now();
  rmSync(pgdata, { recursive: true, force: true, maxRetries: 5 });
  const died = server.kill();
  try { process.kill(postmaster, "SIGKILL"); } catch {}
  await died;
  rmSync(pgdata, { recursive: true, force: true, maxRetries: 5 });
  await w.stop();
  if (archivedToo) {
    const archive = join(server.backup, "repo/archive/enishi");
    const files = readdirSync(archive, { recursive: true }).filter((f) => /[0-9A-F]{24}-[0-9a-f]+\.zst$/.test(f)).sort();
    rmSync(join(archive, files.at(-1)));
  }
  const report = await recover(server);
  const seconds = await accepted(server, began);
  tell(archivedToo ? "newest archived WAL deleted as well" : "database folder deleted", mode, w, missing(server, w.acknowledged), seconds,
    `(restore; WAL: ${report.wal_from_repository} repository, ${report.wal_from_receiver} receiver)`, mode !== "synchronous");
  await server.stop();
}

async function flippedByte(mode) {
  const server = await serve(mode);
  const w = writers(await server.administrator());
  await sleep(options.load * 1000);
  await w.stop();
  server.sql("checkpoint", "postgres");
  const file = join(server.data, "pgdata", server.sql("select pg_relation_filepath('customer')"));
  await server.stop();
  const fd = openSync(file, "r+"), byte = Buffer.alloc(1), at = Math.floor(statSync(file).size / 8192 / 2) * 8192 + 5000;
  readSync(fd, byte, 0, 1, at);
  byte[0] ^= 0x40;
  writeSync(fd, byte, 0, 1, at);
  closeSync(fd);
  await server.restart();
  let noticed = false;
  try { server.sql("select count(display_name) from customer where version > 0"); } catch (e) { noticed = /invalid page/.test(String(e.stderr ?? e)); }
  const began = performance.now();
  await server.stop();
  await recover(server);
  const seconds = await accepted(server, began);
  const lost = missing(server, w.acknowledged);
  tell("a byte flipped in a data file", mode, w, lost, seconds, noticed ? "(noticed by its checksum; restore)" : "(NOT NOTICED)");
  if (!noticed) ++short;
  await server.stop();
}

/** A small disk of memory; only root can make one. */
function disk(megabytes) {
  const folder = scratch("enishi-disk"), at = join(folder, "disk");
  mkdirSync(at);
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m,mode=0755`, "none", at]);
  process.prependListener("exit", () => spawnSync("umount", ["-l", at]));  // before scratch() removes the folder
  return at;
}
function fill(at) {
  const fd = openSync(join(at, "filler"), "w"), block = Buffer.alloc(1 << 20, 120);
  try { for (;;) writeSync(fd, block); } catch {} finally { closeSync(fd); }
  try { const small = openSync(join(at, "filler2"), "w"); try { for (;;) writeSync(small, Buffer.alloc(512)); } catch {} closeSync(small); } catch {}
}
const clear = (at) => { for (const name of ["filler", "filler2"]) rmSync(join(at, name), { force: true }); };

async function diskFull(mode) {
  const at = disk(1200);
  const server = await serve(mode, { data: join(at, "data"), backup: join(scratch("enishi-bench"), "backup") });
  const w = writers(await server.administrator());
  await sleep(options.load * 500);
  fill(at);
  await eventually("writes are refused", () => w.refused() > 5, 120_000);
  const before = w.acknowledged.size, began = performance.now();
  clear(at);
  await eventually("writes go on", () => w.acknowledged.size > before + 5, 120_000);
  const seconds = (performance.now() - began) / 1000;
  await w.stop();
  tell("disk full, then room again", mode, w, missing(server, w.acknowledged), seconds, "(refused with 503 meanwhile)");
  await server.stop();
}

async function backupDiskFull(mode) {
  const at = disk(220);
  const server = await serve(mode, { backup: join(at, "backup"), args: ["--sync-outage-seconds", "3"] });
  const w = writers(await server.administrator());
  await sleep(options.load * 500);
  fill(at);
  const began = performance.now(), before = w.acknowledged.size;
  for (let i = 0; i < 3; ++i) server.sql("select pg_switch_wal()", "postgres");
  await eventually("writes go on", () => w.acknowledged.size > before + 100, 60_000);
  const seconds = (performance.now() - began) / 1000;
  await eventually("the alarm", () => codes(server).some((c) => c === "WAL_NOT_ARCHIVED" || c === "RECEIVER_AWAY" || c === "NOT_RPO_0"), 120_000);
  clear(at);
  await eventually("everything is backed up again", () => { const s = status(server); return s.wal?.files_waiting === 0 && !s.problems.some((p) => p.code === "WAL_NOT_ARCHIVED") && s.receiver.state === "streaming"; }, 240_000);
  await w.stop();
  await sleep(1500); // what is on its way to an asynchronous receiver
  await killAll(server);
  rmSync(join(server.data, "pgdata"), { recursive: true, force: true });
  await recover(server);
  tell("backup disk full, later the database lost", mode, w, missing(server, w.acknowledged), seconds, "(never stopped; alarm; after room again a restore has all)");
  await server.stop();
}

async function disasters() {
  for (const mode of modes) {
    await killNine(mode);
    await lostFolder(mode, false);
    await lostFolder(mode, true);
    await flippedByte(mode);
    if (root) { await diskFull(mode); await backupDiskFull(mode); }
    else console.log("disks full: left out, mounting needs root");
  }
}

/** A part of the other bench; its data sets are kept for the next run. */
function bench(...args) {
  const done = spawnSync(process.env.BENCH, ["--enishi", binary, "--customers", String(options.customers), "--seconds", String(options.seconds), ...args],
    { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  if (done.status !== 0 && done.status !== 1) throw new Error(`enishi_bench ${args.join(" ")} ended with ${done.status}\n${done.stdout}`);
  return done.stdout;
}
/** The same, its one line shown as it is. */
function line(name, ...args) {
  const said = bench("--rounds", String(options.rounds), ...args, name).split("\n").filter((l) => !l.startsWith("name ")).join("\n").trimEnd();
  console.log(said);
  if (/SHORT$/m.test(said)) ++short;
}

/** Off, asynchronous and synchronous in turns: a ratio is taken within a round, for the machine's speed moves between them. */
function throughput() {
  const figures = { off: [], on: [], synchronous: [] };
  for (let round = 0; round < options.rounds; ++round)
    for (const mode of round % 2 ? Object.keys(figures).reverse() : Object.keys(figures)) {
      const said = bench("--rounds", "1", "--backup", mode, "--no-peer", "call_outcome");
      figures[mode].push(Number(said.match(/call_outcome\s+(\d+)\/s/)[1]));
    }
  for (const [mode, name, least] of [["on", "asynchronous", 0.95], ["synchronous", "synchronous", 0.7]]) {
    const ratio = median(figures[mode].map((figure, round) => figure / figures.off[round]));
    say("call outcome with backups", name, `${median(figures[mode])}/s, ${median(figures.off)}/s without: ${ratio.toFixed(2)} (all: ${figures[mode].join(" ")}; without ${figures.off.join(" ")})`, `≥ ${least}`, ratio >= least);
  }
}

/** A data folder with a company's data and a whole backup of it, made once. */
let company;
async function grown() {
  if (company) return company;
  const data = join(scratch("enishi-bench"), "data"), backup = join(dirname(data), "backup");
  run("demo", "--data", data, "--customers", String(Math.min(options.customers, 200_000)));
  const server = await serve("asynchronous", { data, backup });
  run("backup", "--data", data);
  company = { data, backup, server };
  return company;
}

/** `enishi restore` without its checks against what an administrator does without Enishi: pgbackrest restore of the same backup, start, wait until recovery is over, stop. In turns, each as often first. */
async function restoring() {
  const { data, server } = await grown();
  await server.stop();
  const postgres = "/usr/lib/postgresql/15/bin";
  const as = (command) => execFileSync(root ? "runuser" : command[0], root ? ["-u", "postgres", "--", ...command] : command.slice(1), { stdio: ["ignore", "ignore", "inherit"], cwd: "/" });
  const owner = root ? ["-o", "postgres"] : [];
  const theirs = (into, backup) => {
    const conf = join(into, "pgbackrest.conf");
    execFileSync("install", ["-d", "-m", "700", ...owner, into, join(into, "pgdata"), join(into, "spool"), join(into, "spool/lock")]);
    writeFileSync(join(into, "conf"), readFileSync(join(data, "pgbackrest.conf"), "utf8").replaceAll(`${data}/`, `${into}/`));
    execFileSync("install", ["-m", "600", ...owner, join(into, "conf"), conf]);
    const cores = execFileSync("nproc", { encoding: "utf8" }).trim();
    const began = performance.now();
    as(["pgbackrest", `--config=${conf}`, "--stanza=enishi", "restore", `--set=${backup}`, "--type=default", `--process-max=${cores}`]);
    const copied = performance.now();
    const settings = `-c listen_addresses= -c unix_socket_directories=${into} -c archive_mode=off -c hot_standby=off -c logging_collector=off`;
    as([`${postgres}/pg_ctl`, "-D", join(into, "pgdata"), "-w", "-t", "600", "-l", join(into, "log"), "-o", settings, "start"]);
    as([`${postgres}/pg_ctl`, "-D", join(into, "pgdata"), "-w", "-t", "600", "-m", "fast", "stop"]);
    return { copy: (copied - began) / 1000, whole: (performance.now() - began) / 1000 };
  };
  const ours = (into) => {
    const began = performance.now();
    const report = JSON.parse(run("restore", "--data", data, "--into", into, "--no-check", "--json"));
    return { copy: report.seconds.copy, whole: (performance.now() - began) / 1000, report };
  };
  const pairs = [];
  const { backup } = ours(join(dirname(data), "ours")).report;
  let bytes = 0;
  rmSync(join(dirname(data), "ours"), { recursive: true, force: true });
  for (let round = 0; round < options.rounds; ++round) {
    const pair = {};
    for (const who of round % 2 ? ["ours", "theirs"] : ["theirs", "ours"]) {
      const into = join(dirname(data), who);
      pair[who] = who === "ours" ? ours(into) : theirs(into, backup);
      rmSync(into, { recursive: true, force: true, maxRetries: 50 }); // pgBackRest still fetches WAL ahead for a PostgreSQL that has stopped
    }
    if (pair.ours.report.backup !== backup) throw new Error(`another backup was restored: ${pair.ours.report.backup}, not ${backup}`);
    bytes = pair.ours.report.bytes;
    pairs.push(pair);
  }
  for (const [name, what] of [["restore, copied", "copy"], ["restore, copied and recovered", "whole"]]) {
    const ratio = median(pairs.map((p) => p.theirs[what] / p.ours[what]));
    const seconds = (who) => median(pairs.map((p) => p[who][what]));
    say(name, "", `${(bytes / 1e6).toFixed(0)} MB in ${seconds("ours").toFixed(2)} s, pgBackRest${what === "whole" ? " and PostgreSQL" : ""} by hand ${seconds("theirs").toFixed(2)} s: ${ratio.toFixed(2)}`, "≥ 0.9 × pgbackrest restore", ratio >= 0.9);
  }
}

/** On a folder with a company's data: from the command to the first list that is answered. */
async function starting() {
  const { server } = await grown();
  const token = run("user", "link", "manager1", "--data", server.data).match(/welcome#(\S+)/)[1], password = "correct horse battery staple";
  await new Client(server.origin).post("/v1/one-time-links/redemption", { token, password });
  const admin = await server.login("manager1", password);
  const times = { stopped: [], killed: [] };
  for (let round = 0; round < options.rounds; ++round)
    for (const how of Object.keys(times)) {
      if (how === "stopped") await server.stop();
      else await killAll(server);
      const began = performance.now();
      await server.restart();
      admin.origin = server.origin;
      const answer = await admin.get("/v1/customers?limit=50");
      if (answer.status !== 200) throw new Error(`customers: ${answer.status}`);
      times[how].push((performance.now() - began) / 1000);
    }
  const customers = server.sql("select count(*) from customer");
  for (const [how, list] of Object.entries(times))
    say(`start after it was ${how}`, "", `${median(list).toFixed(2)} s to the first answer, ${customers} customers, backups on`, "≤ 3 s", median(list) <= 3);
}

if (wanted("start")) await starting();
if (wanted("disasters")) await disasters();
if (wanted("restore")) await restoring();
if (wanted("throughput")) throughput();
if (wanted("sealing")) line("sealing");
if (wanted("as_of")) line("as_of", "--history", String(options.history));
if (company) await company.server.stop();
process.exit(short ? 1 : 0);

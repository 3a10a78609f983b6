// Enishi beside the sample company, its customers mirrored, with writers on both sides whose every write is accounted for. For the tests of
// what goes wrong.
//
//   const pair = await Pair.start();
//   await pair.mirror();                                  // plan's SQL, the fence, start, until STREAMING and equal
//   pair.work();                                          // traffic, and counted writes at the source and in Enishi
//   await pair.fault("SEAL:stop", () => pair.move("switch"), async () => { await pair.company.crash(); });
//   await pair.settled("a crash at SEAL"); await pair.accounts("a crash at SEAL");
import assert from "node:assert/strict";
import net from "node:net";
import { spawn, spawnSync, execFileSync } from "node:child_process";
import { cpSync, readFileSync, writeFileSync, appendFileSync, rmSync } from "node:fs";
import { createInterface } from "node:readline";
import { join } from "node:path";
import { binary, Enishi, eventually, newId, root, scratch } from "../enishi.mjs";
import { Company } from "./sources.mjs";

const running = new Set();
process.on("exit", () => { for (const child of running) { try { process.kill(child.pid, "SIGKILL"); } catch {} } });
export const rest = (milliseconds) => new Promise((go) => setTimeout(go, milliseconds));

/** Kills a PostgreSQL as a power cut would: the postmaster, and those it made. */
export function crashPostgres(postmaster, { children = true } = {}) {
  const pids = children ? spawnSync("pgrep", ["-P", String(postmaster)], { encoding: "utf8" }).stdout.split("\n").filter(Boolean).map(Number) : [];
  for (const pid of [postmaster, ...pids]) { try { process.kill(pid, "SIGKILL"); } catch {} }
}

export class Pair {
  /** `copy` is what stands under [copy] in mapping.toml: small chunks, so that there are some. */
  static async start({ customers = 400, copy = "chunk = 100\nworkers = 2", env = {}, args = [] } = {}) {
    const self = new Pair();
    const folder = scratch("pair");
    self.mapping = join(folder, "mapping");
    cpSync(join(root, "samples/legacy/kokyaku/customer"), self.mapping, { recursive: true });
    appendFileSync(join(self.mapping, "mapping.toml"), `\n[copy]\n${copy}\n`);
    self.faults = join(folder, "fault");
    self.company = await Company.start({ customers });
    self.server = await Enishi.start({ env: { TAKEOVER_FAULT: `@${self.faults}`, ...env }, args });
    self.admin = await self.server.administrator();
    self.numbered = 0;
    self.writes = new Map(); // note → "sent" | "done" | "refused" | "unknown"
    return self;
  }
  async stop() {
    await this.rest();
    rmSync(this.faults, { force: true });
    await this.server.stop();
    await this.company.stop();
  }

  /** Beside this process, which may be the proxy that it speaks through. */
  async takeover(args, env = {}) {
    const child = spawn(binary, ["takeover", ...args, "--data", this.server.data], { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"], timeout: 120_000 });
    let stdout = "", stderr = "";
    child.stdout.on("data", (chunk) => { stdout += chunk; });
    child.stderr.on("data", (chunk) => { stderr += chunk; });
    const status = await new Promise((resolve) => child.on("close", resolve));
    return { status, stdout, stderr, said: `${stdout}${stderr}` };
  }
  /** SQL at the source that takes long, as its owner. */
  async longSql(text) {
    const child = spawn("psql", ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", this.company.target("kokyaku", "legacy_owner"), "-c", text], { stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    child.stderr.on("data", (chunk) => { said += chunk; });
    if (await new Promise((resolve) => child.on("close", resolve)) !== 0) throw new Error(said);
  }
  state() { return this.server.sql("select state from domain_ownership where domain = 'customer'"); }
  fence() { return this.company.sql("kokyaku", "select state from enishi.fence"); }
  mirrorSays() { return this.server.sql("select phase || coalesce(' ' || stop_code || ': ' || stop_detail, '') from takeover_domain where domain = 'customer'"); }

  /** What the owner of the tables runs, with the settings that only the server's administrator may set apart. */
  async prepare() {
    const plan = await this.takeover(["plan", "--mapping", this.mapping, "--source", this.company.target("kokyaku"), "--json"]);
    if (!plan.stdout) throw new Error(plan.said);
    const owner = JSON.parse(plan.stdout).owner_sql.split("\n");
    const settings = (line) => /^\s*(alter system|select pg_reload_conf)/i.test(line);
    this.company.sql("kokyaku", owner.filter(settings).join("\n"), "postgres");
    this.company.sql("kokyaku", owner.filter((line) => !settings(line)).join("\n"));
    this.company.sql("kokyaku", readFileSync(join(this.mapping, "grants.sql"), "utf8"));
    this.company.sql("kokyaku", execFileSync(binary, ["takeover", "fence", "--mapping", this.mapping, "--login", "enishi"], { encoding: "utf8" }));
    // Numbers below zero: the company's own traffic leaves these alone, so what is written to them stays.
    this.company.sql("kokyaku", `insert into m_kokyaku (kokyaku_no, shimei) select -g, '帳簿 ' || g from generate_series(1, 20) g;
      insert into t_tel (kokyaku_no, tel_no) select -g, '090-0000-' || lpad(g::text, 4, '0') from generate_series(1, 20) g;`);
  }
  async begin(source = this.company.target("kokyaku"), args = []) {
    const started = await this.takeover(["start", "--mapping", this.mapping, "--source", source, ...args]);
    assert.equal(started.status, 0, started.said);
  }
  async mirror(source) {
    await this.prepare();
    await this.begin(source);
    await this.streaming();
    this.server.sql("update takeover_reject set state = 'ACCEPTED', reason = 'a test' where state = 'OPEN'");
    await this.equal("the copy");
    this.own = this.server.sql("select id from legacy_identity where domain = 'customer' and legacy_key like '-%' order by legacy_key").split("\n");
  }
  /** After it was completed: the takeover begins once more, as after one that was given up, for nothing was written here since. */
  async again() {
    this.company.sql("kokyaku", execFileSync(binary, ["takeover", "fence", "--mapping", this.mapping, "--login", "enishi"], { encoding: "utf8" }));
    this.server.sql("update takeover_domain set abandoned_at = now() where domain = 'customer'", "postgres");
    await this.begin(undefined, ["--again"]);
    await this.streaming("the stream, again");
    await this.equal("the copy, again");
  }
  async streaming(what = "the stream") { await eventually(what, () => this.mirrorSays() === "STREAMING", 90_000); }

  // Accounts -----------------------------------------------------------------------------------------------------------

  /** Writers of both systems and the company's traffic, until rest(). */
  work({ rate = 15, traffic = 15, seed = 1 } = {}) {
    this.working = true;
    if (traffic > 0) this.traffic = this.company.traffic(["--rate", String(traffic), "--connections", "1", "--seed", String(seed)]);
    this.workers = [this.#write(rate, (note, n) => this.#there(note, n)), this.#write(rate, (note, n) => this.#here(note, n))];
    for (const worker of this.workers) worker.catch(() => {});
  }
  /** Nobody writes any more; what the company's traffic did. */
  async rest() {
    this.working = false;
    const report = this.traffic ? await this.traffic.stop().catch((failed) => failed) : undefined;
    this.traffic = undefined;
    await Promise.all(this.workers ?? []);
    this.workers = [];
    this.psql?.kill();
    this.psql = undefined;
    return report;
  }
  async #write(rate, how) {
    while (this.working) {
      const n = this.numbered++, note = `w${n}`; // not the size: a test may strike writes out
      this.writes.set(note, "sent");
      this.writes.set(note, await how(note, n));
      await rest(1000 / rate);
    }
  }
  /** At the source, over one connection: a write whose connection was lost may have happened. */
  async #there(note, n) {
    if (!this.psql) {
      const child = spawn("psql", ["-X", "-q", "-A", "-t", "-d", this.company.target("kokyaku", "legacy_owner")], { stdio: ["pipe", "pipe", "pipe"] });
      running.add(child);
      child.lines = createInterface({ input: child.stdout });
      child.gone = new Promise((resolve) => child.on("close", () => { running.delete(child); resolve(undefined); }));
      child.stdin.on("error", () => {});
      child.stderr.on("data", (chunk) => { child.said = String(chunk); });
      const ready = await Promise.race([this.#say(child, "\\echo ready\n", "ready"), child.gone]);
      if (!ready) { await rest(200); return "refused"; }
      this.psql = child;
    }
    const child = this.psql;
    const said = await Promise.race([this.#say(child, `insert into t_tel (kokyaku_no, tel_no, biko) values (${-1 - n % 20}, '03-1234-${String(n % 10000).padStart(4, "0")}', '${note}') returning 'ok';\n\\echo end ${note}\n`, `end ${note}`), child.gone]);
    if (said) return said.includes("ok") ? "done" : "refused";
    this.psql = undefined;
    return "unknown";
  }
  #say(child, text, last) {
    return new Promise((resolve) => {
      const said = [];
      const listen = (line) => { said.push(line); if (line === last) { child.lines.off("line", listen); resolve(said); } };
      child.lines.on("line", listen);
      child.stdin.write(text);
    });
  }
  /** Through Enishi's API, under one Idempotency-Key until it is known what became of it. */
  async #here(note, n) {
    const id = newId(), key = newId(), customer = this.own[n % this.own.length];
    for (const end = Date.now() + 90_000; Date.now() < end;) {
      try {
        this.admin.origin = this.server.origin;
        const answer = await this.admin.post(`/v1/customers/${customer}/phones`, { id, raw: `06-1234-${String(n % 10000).padStart(4, "0")}`, note }, { "idempotency-key": key });
        if (answer.status === 201) return "done";
        if (answer.status !== 503 && answer.body?.code !== "IDEMPOTENCY_KEY_IN_USE") { this.said = answer.text; await rest(100); return "refused"; }
      } catch (failed) {
        if (failed.name !== "TypeError" && failed.name !== "TimeoutError") throw failed;
      }
      await rest(100);
    }
    return "unknown";
  }
  /** Every write is once, or not at all, as its writer was told; the same on both sides. */
  async accounts(what) {
    // Before both sides are compared: what is acknowledged later, and not yet written back or mirrored, may rightly be on one side only.
    const told = new Map(this.writes);
    if (this.state() !== "LOCAL") await this.equal(what);
    const count = (text) => new Map(text.split("\n").filter(Boolean).map((line) => line.split("|")).map(([note, n]) => [note, Number(n)]));
    const there = count(this.company.sql("kokyaku", "select biko, count(*) from t_tel where biko like 'w%' group by 1"));
    const here = count(this.server.sql("select note, count(*) from customer_phone where note like 'w%' and deleted_at is null group by 1"));
    const wrong = [];
    for (const [note, said] of told) {
      if (said === "sent") continue; // on its way just now
      for (const [side, counted] of [["there", there], ["here", here]]) {
        const n = counted.get(note) ?? 0;
        if (said === "done" ? n !== 1 : said === "refused" ? n !== 0 : n > 1) wrong.push(`${note} was ${said} and is ${n} times ${side}`);
      }
    }
    assert.deepEqual(wrong, [], what);
    // Behind its fence nobody but Enishi writes at the source.
    assert.equal(this.server.sql("select coalesce(string_agg(legacy_key, ' '), '') from takeover_foreign"), "", `${what}: changes that nobody made`);
    return [...told.values()].reduce((sum, said) => ({ ...sum, [said]: (sum[said] ?? 0) + 1 }), {});
  }

  // Faults -------------------------------------------------------------------------------------------------------------

  /** Lets the server stop itself at a step; `strike` runs while it stands there. What provokes it is asked for again while it is refused. */
  async fault(at, provoke, strike) {
    writeFileSync(this.faults, at);
    try {
      let stopped = false, refused;
      const provoking = (async () => {
        while (!stopped) {
          try { await provoke?.(); return; } catch (failed) { refused = failed; await rest(300); }
        }
      })();
      await eventually(`the server stops at ${at}`, () => (stopped = this.stopped()), 90_000).catch((failed) => {
        stopped = true;
        failed.message += refused ? `; it was provoked: ${refused}` : "";
        throw failed;
      });
      await strike();
      if (this.stopped()) this.server.child.kill("SIGCONT");
      await provoking;
    } finally {
      rmSync(this.faults, { force: true });
      if (this.stopped()) this.server.child.kill("SIGCONT");
    }
  }
  stopped() {
    try {
      return readFileSync(`/proc/${this.server.child.pid}/stat`, "utf8").match(/\) (\w)/)[1] === "T";
    } catch { return false; }
  }
  /** A new slot and a copy of everything, as after a failover of the source. */
  loseSlot() {
    this.company.sql("kokyaku", `do $$ begin
      for n in 1..200 loop
        perform pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = 'enishi_kokyaku_customer' and active;
        begin perform pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = 'enishi_kokyaku_customer'; return;
        exception when object_in_use then perform pg_sleep(0.02); end;
      end loop; end $$`, "postgres");
  }
  /** A move of the domain by the server itself, to its end. */
  async move(verb) {
    this.admin.origin = this.server.origin;
    const path = { switch: "switch", revert: "reversion", complete: "completion" }[verb];
    const begun = await this.admin.post(`/v1/takeover/domains/customer/${path}`, {});
    if (begun.status !== 202) throw new Error(`${verb}: ${begun.status} ${begun.text}`);
    const ended = await eventually(`the end of ${verb}`, async () => {
      const now = await this.admin.get(`/v1/takeover/moves/${begun.body.id}`);
      return now.body?.state !== "RUNNING" ? now.body : undefined;
    }, 60_000);
    if (ended.state !== "DONE") throw new Error(`${verb}: ${JSON.stringify(ended.detail)}`);
    return ended;
  }
  /** Moves until the domain is there. */
  async bring(wanted) {
    await eventually(`the domain becomes ${wanted}`, async () => {
      if (this.state() === wanted) return true;
      await this.move(wanted === "OWNED" ? "switch" : "revert");
      return this.state() === wanted;
    }, 120_000);
  }

  // Rest ---------------------------------------------------------------------------------------------------------------

  /** Comes to rest in one of the two states, mirrored, with one owner. */
  async settled(what, among = ["LEGACY", "OWNED"]) {
    return eventually(`${what}: comes to rest`, () => {
      const owner = this.state(), fence = this.fence();
      if (!((owner === "LEGACY" && fence === "OPEN") || (owner === "OWNED" && fence === "SEALED"))) throw new Error(`${owner} with a fence ${fence}`);
      const mirror = this.mirrorSays();
      if (mirror !== "STREAMING") throw new Error(`the mirror is ${mirror}`);
      return among.includes(owner) ? owner : undefined;
    }, 90_000);
  }
  /** Enishi owns for good, and the source keeps nothing of the takeover that could be in its way. */
  async completed(what) {
    await eventually(`${what}: it is completed`, () => {
      const owner = this.state(), phase = this.mirrorSays();
      if (owner !== "LOCAL" || phase !== "DONE") throw new Error(`${owner}, ${phase}`);
      return true;
    }, 90_000);
    assert.equal(this.company.sql("kokyaku", "select count(*) from pg_replication_slots where slot_name = 'enishi_kokyaku_customer'"), "0", what);
    assert.equal(this.company.sql("kokyaku", "select count(*) from pg_trigger where tgname like 'a_enishi_fence%'"), "0", what);
    assert.equal(this.server.sql("select count(*) from takeover_reverse"), "0", what);
  }
  async equal(what) {
    await eventually(`${what}: both sides equal`, async () => {
      const done = await this.takeover(["diff", "--domain", "customer"]);
      if (done.status !== 0) throw new Error(done.said);
      return true;
    }, 90_000);
  }
}

/** One direction of a connection: what came first leaves first, whatever the delay was when it came. */
function inOrder(from, to) {
  const waiting = [];
  let timer;
  const pass = () => {
    timer = undefined;
    while (waiting.length > 0) {
      const left = waiting[0].due - performance.now();
      if (left > 0) {
        timer = setTimeout(pass, Math.ceil(left));
        return;
      }
      const { chunk } = waiting.shift();
      if (to.destroyed) continue;
      if (chunk === undefined) to.end();
      else if (!to.write(chunk)) { from.pause(); to.once("drain", () => from.resume()); }
    }
  };
  return (chunk, delay) => {
    waiting.push({ chunk, due: performance.now() + delay });
    if (timer === undefined) pass();
  };
}

/**
 * Between Enishi and a source's socket: passes everything on, until it is told otherwise.
 *   const proxy = await Proxy.start(join(company.data, "socket/.s.PGSQL.5432"));
 *   pair.mirror(proxy.target("kokyaku"));
 *   proxy.cut();              // every connection, now
 *   proxy.hole = true;        // nothing is passed on any more, and nobody is told
 *   proxy.delay = 300;        // milliseconds, each way
 *   proxy.refuse = true;      // new connections are closed at once
 */
export class Proxy {
  static async start(path) {
    const self = new Proxy();
    self.pairs = new Set();
    self.path = path;
    self.delay = 0;
    self.server = net.createServer({ allowHalfOpen: true }, (near) => {
      if (self.refuse) return near.destroy();
      const far = net.connect({ path: self.path, allowHalfOpen: true });
      const pair = { near, far };
      self.pairs.add(pair);
      const end = () => { near.destroy(); far.destroy(); self.pairs.delete(pair); };
      for (const [from, to] of [[near, far], [far, near]]) {
        const pass = inOrder(from, to);
        from.on("data", (chunk) => {
          if (self.hole) return;
          pass(chunk, self.delay);
          if (self.cutAfter !== undefined && from === far && (self.cutAfter -= chunk.length) <= 0) { self.cutAfter = undefined; end(); }
        });
        from.on("end", () => { if (!self.hole) pass(undefined, self.delay); });
        from.on("error", end);
        from.on("close", end);
      }
    });
    await new Promise((resolve) => self.server.listen(0, "127.0.0.1", resolve));
    self.server.unref();
    self.port = self.server.address().port;
    return self;
  }
  target(database, user = "enishi") { return `host=127.0.0.1 port=${this.port} dbname=${database} user=${user} sslmode=disable`; }
  cut() { for (const { near, far } of [...this.pairs]) { near.destroy(); far.destroy(); } }
  /** The source says that it sends no more, and goes on listening. */
  half() { for (const { near } of [...this.pairs]) near.end(); }
  stop() { this.cut(); this.server.close(); }
}


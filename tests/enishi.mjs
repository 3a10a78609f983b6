// Starts the real binary with a PostgreSQL of its own for a test file, and speaks to it as a user would.
//
//   const server = await Enishi.start();            // build/release/enishi, or the one that ENISHI names
//   const admin = await server.administrator();     // redeems the one-time link of the first start
//   const answer = await admin.post("/v1/customers", { display_name: "…" });
//   await server.stop();
//
// Every answer is checked against the contract (contract.mjs) unless a test sends what the contract forbids.
import { spawn, spawnSync, execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { createInterface } from "node:readline";
import { randomUUID } from "node:crypto";
import { check } from "./contract.mjs";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
export const binary = process.env.ENISHI ?? join(root, "build/release/enishi");

const running = new Set();
process.on("exit", () => { for (const child of running) { try { process.kill(child.pid, "SIGKILL"); } catch {} } });

/** A folder that the database's user may enter; gone when the tests end. */
export function scratch(name = "enishi") {
  const folder = mkdtempSync(join(tmpdir(), `${name}-`));
  spawnSync("chmod", ["755", folder]);
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A data folder for a first start, whose PostgreSQL does not wait for the disk: tests kill processes, and the kernel keeps what those wrote.
 * `settings`: more lines for its postgresql.local.conf. */
export function newData(name, settings = "") {
  const data = join(scratch(name), "data");
  mkdirSync(data);
  writeFileSync(join(data, "enishi.cluster"), "Enishi data folder, format 1\n");
  writeFileSync(join(data, "postgresql.local.conf"), `fsync = off\n${settings}`, { mode: 0o644 });
  return data;
}

export class Enishi {
  /** @param {{data?: string, database?: string, args?: string[], env?: object}} options `database`: beside somebody else's PostgreSQL */
  static async start(options = {}) {
    const self = new Enishi();
    self.database = options.database;
    self.data = options.data ?? (self.database === undefined ? newData() : undefined);
    self.args = options.args ?? [];
    self.env = options.env ?? {};
    await self.#launch();
    return self;
  }

  async #launch() {
    const child = spawn(binary, ["serve", ...(this.data ? ["--data", this.data] : ["--database", this.database]), "--listen", "127.0.0.1:0", ...this.args], {
      stdio: ["ignore", "pipe", "pipe"],
      // What is set here for somebody else's Enishi is none of this server's business. Backups are on where a test is about them (env).
      env: { ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("ENISHI_"))), ENISHI_PASSWORD_COST: "low", ENISHI_BACKUP: "off", ...this.env },
    });
    this.child = child;
    running.add(child);
    this.log = [];
    this.errors ??= []; // lines of level error, over all starts
    createInterface({ input: child.stderr }).on("line", (line) => {
      this.log.push(line);
      if (this.log.length > 5000) this.log.shift();
      if (line.includes('"level":"error"')) this.errors.push(line);
    });
    this.exited = new Promise((resolve) => child.on("exit", (code, signal) => { running.delete(child); resolve({ code, signal }); }));
    const lines = createInterface({ input: child.stdout });
    this.origin = await new Promise((resolve, reject) => {
      const limit = setTimeout(() => reject(new Error(`not ready after 90 s\n${this.log.slice(-20).join("\n")}`)), 90_000);
      lines.on("line", (line) => {
        const link = line.match(/https?:\/\/\S+\/welcome#(\S+)/);
        if (link) this.welcome = link[1];
        const ready = line.match(/^Enishi is ready at (http:\/\/\S+)/);
        if (ready) { clearTimeout(limit); setTimeout(() => resolve(ready[1]), 50); }
      });
      this.exited.then(({ code, signal }) => { clearTimeout(limit); reject(new Error(`ended with ${code ?? signal}\n${this.log.slice(-20).join("\n")}`)); });
    });
  }

  /** SIGTERM, and wait: the exit code. */
  async stop() {
    this.child.kill("SIGTERM");
    return (await this.exited).code;
  }
  async kill() {
    this.child.kill("SIGKILL");
    return this.exited;
  }
  async restart() {
    if (this.child.exitCode === null && this.child.signalCode === null) await this.stop();
    await this.#launch();
  }

  /** The first administrator, logged in. */
  async administrator() {
    if (!this.password) {
      if (!this.welcome) throw new Error("the first start printed no one-time link");
      this.password = "correct horse battery staple";
      const nobody = new Client(this.origin);
      const redeemed = await nobody.post("/v1/one-time-links/redemption", { token: this.welcome, password: this.password });
      if (redeemed.status >= 300) throw new Error(`one-time link: ${redeemed.status} ${redeemed.text}`);
    }
    return this.login("admin", this.password);
  }

  async login(login, password) {
    const client = new Client(this.origin);
    const answer = await client.post("/v1/session", { login, password });
    if (answer.status >= 300) throw new Error(`log in as ${login}: ${answer.status} ${answer.text}`);
    client.csrf = answer.body.csrf_token;
    return client;
  }

  /** A new user with one role, logged in. */
  async user(admin, role, more = {}) {
    const login = `${role}-${randomUUID().slice(0, 8)}`;
    const made = await admin.post("/v1/users", { login, display_name: login, roles: [role], ...more });
    if (made.status !== 201) throw new Error(`make user: ${made.status} ${made.text}`);
    const link = await admin.post(`/v1/users/${made.body.id}/one-time-link`, {});
    if (link.status !== 201) throw new Error(`one-time link: ${link.status} ${link.text}`);
    const password = `${randomUUID()}-pw`;
    const nobody = new Client(this.origin);
    const redeemed = await nobody.post("/v1/one-time-links/redemption", { token: link.body.token, password });
    if (redeemed.status >= 300) throw new Error(`redeem: ${redeemed.status} ${redeemed.text}`);
    const client = await this.login(login, password);
    client.id = made.body.id;
    client.role = role;
    return client;
  }

  /** SQL in the server's own database; `as` is a database role. The data folder knows its socket. */
  sql(text, as = "enishi_owner") {
    const url = this.url(as);
    const long = text.length > 30_000; // more than one argument of a command may hold
    return execFileSync("psql", ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url, ...(long ? ["-f", "-"] : ["-c", text])],
      { encoding: "utf8", input: long ? text : undefined, maxBuffer: 1 << 30 }).trim();
  }
  /** libpq connection string to the server's own database. */
  url(as = "enishi_owner") { return `postgresql:///enishi?host=${encodeURIComponent(join(this.data, "socket"))}&user=${as}`; }
  /** Resident memory of the server's own process, in MB. */
  memory() { return Number(readFileSync(`/proc/${this.child.pid}/status`, "utf8").match(/VmRSS:\s+(\d+)/)[1]) / 1024; }
  postmaster() {
    return Number(readFileSync(join(this.data, "pgdata/postmaster.pid"), "utf8").split("\n")[0]);
  }
}

/** Asks until `ask` gives something true; what it gave. Throws with `what` when the deadline passes. */
export async function eventually(what, ask, milliseconds = 15_000) {
  const end = Date.now() + milliseconds;
  for (let last; ;) {
    try {
      const found = await ask();
      if (found) return found;
      last = undefined;
    } catch (failed) { last = failed; }
    if (Date.now() > end) throw new Error(`${what}: not within ${milliseconds} ms`, { cause: last });
    await new Promise((go) => setTimeout(go, 50));
  }
}

/** A new client-made id (UUIDv7). */
export function newId() {
  const hex = Date.now().toString(16).padStart(12, "0");
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7${randomUUID().slice(15)}`;
}

export class Client {
  constructor(origin) { this.origin = origin; this.cookies = new Map(); }
  get(path, headers) { return this.send("GET", path, undefined, headers); }
  post(path, body, headers) { return this.send("POST", path, body, headers); }
  put(path, body, headers) { return this.send("PUT", path, body, headers); }
  patch(path, body, version, headers) { return this.send("PATCH", path, body, { ...(version === undefined ? {} : { "if-match": `"${version}"` }), ...headers }); }
  delete(path, headers) { return this.send("DELETE", path, undefined, headers); }

  /** `body` is sent as JSON unless it is a string or bytes. Gives {status, headers, text, body}. */
  async send(method, path, body, headers = {}) {
    const raw = typeof body === "string" || body instanceof Uint8Array;
    const all = { ...(body !== undefined && !raw ? { "content-type": "application/json" } : {}), ...headers };
    if (this.cookies.size) all.cookie = [...this.cookies].map(([k, v]) => `${k}=${v}`).join("; ");
    if (this.csrf && method !== "GET" && !("x-csrf-token" in all)) all["x-csrf-token"] = this.csrf;
    if (this.token) all.authorization = `Bearer ${this.token}`;
    const response = await fetch(this.origin + path, { method, headers: all, body: body === undefined ? undefined : raw ? body : JSON.stringify(body), signal: AbortSignal.timeout(60_000), redirect: "manual" });
    for (const cookie of response.headers.getSetCookie()) {
      const [pair] = cookie.split(";");
      const at = pair.indexOf("=");
      if (/max-age=0/i.test(cookie) || pair.slice(at + 1) === "") this.cookies.delete(pair.slice(0, at));
      else this.cookies.set(pair.slice(0, at), pair.slice(at + 1));
    }
    const text = await response.text();
    const type = response.headers.get("content-type") ?? "";
    const answer = { status: response.status, headers: response.headers, text, body: /json/.test(type) && text ? JSON.parse(text) : undefined };
    if (path.startsWith("/v1/")) check(method, path.split("?")[0], answer);
    return answer;
  }
}

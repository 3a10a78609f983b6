// Legacy systems for tests: the sample company, in a PostgreSQL that `enishi demo legacy` runs, and databases beside it.
//
//   const company = await Company.start();                    // 200 customers
//   company.sql("kokyaku", "select count(*) from m_kokyaku"); // as the company's own people
//   await company.stop();
import { spawn, spawnSync, execFileSync } from "node:child_process";
import { isDeepStrictEqual } from "node:util";
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { binary, newData, root, scratch } from "../enishi.mjs";

const running = new Set();
process.on("exit", () => { for (const child of running) { try { process.kill(child.pid, "SIGKILL"); } catch {} } });

export const until = 1_795_000_000; // the sample company's last day: the same rows in every run

export class Company {
  /** `port`: also on 127.0.0.1, where its people ask for a password. */
  static async start({ customers = 200, data, args = [], port } = {}) {
    const self = new Company();
    // Its services deadlock now and then, as they do in the field; a second of waiting each time would be most of a test's traffic.
    self.data = data ?? newData("legacy", "deadlock_timeout = 50ms\n");
    self.customers = customers;
    self.port = port ?? 5432;
    self.args = port ? [...args, "--pg-port", String(port)] : args;
    await self.#launch();
    return self;
  }
  async #launch() {
    const child = spawn(binary, ["demo", "legacy", "--data", this.data, "--customers", String(this.customers), "--until", String(until), ...this.args], { stdio: ["ignore", "pipe", "pipe"] });
    this.child = child;
    running.add(child);
    this.log = [];
    createInterface({ input: child.stderr }).on("line", (line) => this.log.push(line));
    this.exited = new Promise((resolve) => child.on("exit", (code, signal) => { running.delete(child); resolve({ code, signal }); }));
    this.printed = [];
    await new Promise((resolve, reject) => {
      createInterface({ input: child.stdout }).on("line", (line) => {
        this.printed.push(line);
        if (/is open/.test(line)) resolve();
      });
      this.exited.then(({ code, signal }) => reject(new Error(`the sample company ended with ${code ?? signal}\n${this.log.slice(-10).join("\n")}`)));
    });
  }
  async stop() {
    this.child.kill("SIGTERM");
    return (await this.exited).code;
  }
  async restart() {
    if (this.child.exitCode === null && this.child.signalCode === null) await this.stop();
    await this.#launch();
  }
  /** As if its machine lost power: its PostgreSQL and whoever looks after it are gone; `boot()` starts it again. */
  async crash() {
    const postmaster = this.postmaster();
    const others = spawnSync("pgrep", ["-P", String(postmaster)], { encoding: "utf8" }).stdout.split("\n").filter(Boolean);
    this.child.kill("SIGKILL"); // first, or it would start PostgreSQL again
    await this.exited;
    for (const pid of [postmaster, ...others.map(Number)]) { try { process.kill(pid, "SIGKILL"); } catch {} }
  }
  async boot() { await this.#launch(); }
  postmaster() { return Number(readFileSync(join(this.data, "pgdata/postmaster.pid"), "utf8").split("\n")[0]); }
  /** Connection string of Enishi's own login, or of another one. */
  target(database, user = "enishi") { return `host=${join(this.data, "socket")} port=${this.port} dbname=${database} user=${user}`; }
  /** SQL as the owner of the database; values of a row between |. */
  sql(database, text, user = "legacy_owner") {
    return execFileSync("psql", ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", this.target(database, user), "-f", "-"],
      { encoding: "utf8", input: text, maxBuffer: 1 << 30, env: { ...process.env, PGCLIENTENCODING: "UTF8" }, stdio: ["pipe", "pipe", "pipe"] }).trim();
  }
  /** A database of somebody else's making, filled from a file of SQL. */
  load(database, file, { encoding = "UTF8" } = {}) {
    // Dumps set what newer and older servers do not know, and name owners; what matters is that the tables are filled.
    this.sql("postgres", `create database ${database} owner legacy_owner encoding '${encoding}' lc_collate 'C' lc_ctype 'C' template template0`, "postgres");
    execFileSync("psql", ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", this.target(database, "postgres"), "-f", file], { stdio: ["ignore", "ignore", "pipe"] });
    // Their owner is no superuser, as in a company.
    this.sql(database, `do $$ declare t regclass; begin
      for t in select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'public' and c.relkind in ('r', 'p', 'v', 'm') loop
        execute format('alter table %s owner to legacy_owner', t); end loop; end $$; grant all on schema public to legacy_owner`, "postgres");
  }
  /** The services' users at work; `stop()` gives what they committed. */
  traffic(args = []) {
    const child = spawn(binary, ["demo", "legacy-traffic", "--data", this.data, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    running.add(child);
    let out = "", err = "";
    child.stdout.on("data", (chunk) => { out += chunk; });
    child.stderr.on("data", (chunk) => { err += chunk; });
    const done = new Promise((resolve, reject) => child.on("close", (code) => { // after the last of its output
      running.delete(child);
      if (code === 0 && out) resolve(JSON.parse(out)); else reject(new Error(`traffic ended with ${code}: ${err}`));
    }));
    done.catch(() => {});
    return { done, stop: () => { child.kill("SIGTERM"); return done; } };
  }
}

/** The statements of a mapping folder's SQL, as Enishi splits them. */
export function statements(folder, file) {
  const text = readFileSync(join(root, folder, file), "utf8").replace(/^\s*--.*$/gm, "");
  return text.split(";").map((one) => one.trim()).filter(Boolean);
}

/** Writes `change` of each of the first records back and reads it again, in a transaction that is rolled back; the records that came back otherwise. */
export function roundTrip(company, { database, folder, table, key: column }, { change = "r", key = "k", where = "true", limit = 1000, user } = {}) {
  const [forward] = statements(folder, "forward.sql");
  const reverse = statements(folder, "reverse.sql");
  const out = company.sql(database, `
begin;
create temporary table wrong (key text, wanted jsonb, got jsonb) on commit drop;
create temporary table seen (n integer) on commit drop;
create function pg_temp.bare(r jsonb) returns jsonb language sql as $bare$
  select r || coalesce((select jsonb_object_agg(f.name, coalesce((select jsonb_agg(c - 'key' - 'id' order by n) from jsonb_array_elements(r -> f.name) with ordinality x(c, n)), '[]'))
                          from unnest(array['phones', 'addresses', 'emails', 'items']) f(name) where r ? f.name), '{}') $bare$;
do $do$
declare
  k text; r jsonb; l jsonb; wanted jsonb; got jsonb; back text; done integer := 0; g text;
begin
  for k, r, l in execute $f$${forward}$f$ using (select array_agg(x) from (select ${column}::text as x from ${table} where ${where} order by ${column} limit ${limit}) y) loop
    wanted := ${change};
    g := ${key};
    ${reverse.slice(0, -1).map((sql) => `execute $r$${sql}$r$ using g, wanted;`).join("\n    ")}
    execute $r$${reverse.at(-1)}$r$ into back using g, wanted;
    execute $f$${forward}$f$ into g, got, l using array[back];
    done := done + 1;
    if pg_temp.bare(got) is distinct from pg_temp.bare(wanted) then insert into wrong values (back, wanted, got); end if;
  end loop;
  insert into seen values (done);
end $do$;
select json_build_object('seen', (select n from seen), 'wrong', coalesce((select json_agg(w) from (select * from wrong limit 3) w), '[]'));
rollback;`, user);
  return JSON.parse(out.split("\n").at(-1));
}

/** A file of the public samples, which are no part of this repository (docs/develop/README.md); undefined where they are missing. */
export function sample(name) {
  const folders = [process.env.ENISHI_SAMPLES, join(root, "../shared/data"), join(root, "../../shared/data")];
  return folders.filter(Boolean).map((folder) => join(folder, name)).find(existsSync);
}

/** `enishi takeover …` against a running server's data folder. */
export function takeover(server, args, { source } = {}) {
  const done = spawnSync(binary, ["takeover", ...args, ...(source ? ["--source", source] : []), "--data", server.data], { encoding: "utf8", maxBuffer: 1 << 28, timeout: 60_000 });
  return { status: done.status, out: done.stdout, err: done.stderr };
}

const empty = { customer: { kana: "", birth_date: null, notes: "", flags: [], custom: {}, phones: [], addresses: [], emails: [], deleted: false },
  inquiry: { customer_initiated: true, external_ref: null, lost_reason: null, invalid_reason: null, next_action: null, next_action_at: null, notes: "", custom: {}, items: [], deleted: false },
  goods: { description: "", category: null, customer: null, customer_system: null, inquiry: null, inquiry_system: null, state: "", price_yen: null, received_on: null, custom: {}, deleted: false } };
const emptyChild = { phones: { note: "" }, addresses: { postal_code: null, prefecture: "", city: "", town: "", street: "", building: "", note: "" }, emails: {}, items: { description: "", quantity: null } };
const filled = (defaults, record) => ({ ...defaults, ...Object.fromEntries(Object.entries(record).filter(([, value]) => value !== null)) });

/** A record as docs/takeover/mapping.md defines its canonical form: what Enishi's own SQL is held against. */
export function canonical(domain, record) {
  const all = filled(empty[domain], record);
  for (const [name, defaults] of Object.entries(emptyChild))
    if (all[name]) all[name] = all[name].map(({ key, id, ...child }) => {
      const out = filled(defaults, child);
      if (typeof out.postal_code === "string") out.postal_code = out.postal_code.replaceAll("-", "");
      return out;
    });
  if (all.flags) all.flags = [...new Set(all.flags)].sort();
  for (const name of ["received_at", "next_action_at"])
    if (all[name]) {
      const [, seconds, fraction = ""] = all[name].match(/^(.{19})(?:\.(\d+))?/);
      const zone = all[name].match(/(Z|[+-]\d\d(:?\d\d)?)$/)[1];
      all[name] = new Date(seconds + (zone.length === 3 ? `${zone}:00` : zone)).toISOString().slice(0, 19) + "." + fraction.padEnd(6, "0") + "Z";
    }
  return all;
}

/** Every record of a domain on both sides, as [key, there, here] where they differ. Deleted ones that Enishi never had are none. */
export function differences(company, server, { database, folder, table, key, domain, user }) {
  const [forward] = statements(folder, "forward.sql");
  const rows = (text) => new Map(text.split("\n").filter(Boolean).map((line) => JSON.parse(line)));
  const there = rows(company.sql(database, `set timezone = 'UTC'; prepare f(text[]) as select json_build_array(f.key, f.record) from (${forward}) f(key, record, links);
    select format('execute f(%L)', (select array_agg(${key}::text) from ${table})) \\gexec`, user));
  const here = rows(server.sql(`select json_build_array(legacy_key, canonical_record(domain, system, id)) from legacy_identity where system = '${database}' and domain = '${domain}' and not deleted`));
  const found = [];
  for (const k of new Set([...there.keys(), ...here.keys()])) {
    const a = there.has(k) ? canonical(domain, there.get(k)) : undefined;
    const b = here.get(k);
    if (!isDeepStrictEqual(a, b ?? undefined)) found.push([k, a, b]);
  }
  return { records: there.size, found };
}

/** `enishi takeover plan --sql`: its answer, and `run()` for the source's people to run what it wrote. */
export function plan(company, server, folder, database, { user = "legacy_owner" } = {}) {
  const sql = join(scratch("plan"), database), done = takeover(server, ["plan", "--mapping", resolve(root, folder), "--sql", sql], { source: company.target(database) });
  const run = () => {
    company.sql("postgres", readFileSync(join(sql, "server.sql"), "utf8"), "postgres");
    company.sql(database, readFileSync(join(sql, "owner.sql"), "utf8"), user);
  };
  return { ...done, run, server_sql: () => readFileSync(join(sql, "server.sql"), "utf8"), owner_sql: () => readFileSync(join(sql, "owner.sql"), "utf8") };
}

/** The owner of the tables runs what plan printed for them, the last thing on the page. */
export function runOwnerSql(company, database, text, user = "legacy_owner") {
  const from = text.indexOf("-- For the owner of the source's tables:");
  if (from < 0) throw new Error(`plan printed no SQL for the owner:\n${text}`);
  company.sql(database, text.slice(from), user);
}

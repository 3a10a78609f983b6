// Everything that is doubtful about a source is named by `enishi takeover plan` before any data moves, and plan changes nothing.
import test from "node:test";
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync, cpSync } from "node:fs";
import { join } from "node:path";
import { binary, Enishi, eventually, root, scratch } from "../enishi.mjs";
import { Company, plan, takeover } from "./sources.mjs";

test("doubtful sources", async (t) => {
  const company = await Company.start({ customers: 10 });
  const server = await Enishi.start();
  t.after(async () => { await server.stop(); await company.stop(); });
  const create = (name, encoding) => company.sql("postgres", `create database ${name} owner legacy_owner encoding '${encoding}' lc_collate 'C' lc_ctype 'C' template template0`, "postgres");
  const findings = (database, mapping = join(root, "tests/takeover/doubtful/customer"), more = {}) => {
    const done = takeover(server, ["plan", "--json", "--mapping", mapping], { source: company.target(database), ...more });
    assert.ok(done.out, done.err);
    return { ...JSON.parse(done.out), status: done.status, err: done.err };
  };
  const said = ({ findings }) => findings.map((f) => `${f.level} ${f.code} ${f.subject}`);

  create("doubtful", "UTF8");
  company.sql("doubtful", readFileSync(join(root, "tests/takeover/doubtful/schema.sql"), "utf8"));
  const before = () => company.sql("doubtful", "select (select count(*) from pg_replication_slots), (select count(*) from pg_publication), (select count(*) from pg_namespace where nspname = 'enishi'), (select count(*) from pg_class)");
  const untouched = before();

  await t.test("everything in one database is named", () => {
    company.sql("doubtful", "grant select on customers, phones, addresses, notes to enishi");
    const made = findings("doubtful");
    assert.equal(made.good, false);
    const all = said(made);
    for (const wanted of [
      "ERROR NO_REPLICA_IDENTITY public.phones", "ERROR NO_REPLICA_IDENTITY public.addresses", "ERROR UNLOGGED public.notes", "ERROR SELECT_RIGHT public.secret",
      "ERROR COLUMN_MISSING public.secret.gone", "ERROR COLUMN_UNMAPPED public.customers.forgotten", "WARNING LARGE_OBJECT public.customers.picture", "WARNING LARGE_OBJECTS doubtful",
      "WARNING TIMESTAMP_WITHOUT_ZONE public.customers.seen_at", "WARNING DOES_NOT_ROUND_TRIP public.customers.born", "WARNING DOES_NOT_ROUND_TRIP public.customers.rating",
      "WARNING DOES_NOT_ROUND_TRIP public.customers.balance", "WARNING DOES_NOT_ROUND_TRIP public.customers.seen_at", "WARNING ORPHANS public.phones", "WARNING ORPHANS public.addresses",
      "WARNING TABLE_UNMAPPED public.orders", "WARNING NOT_LOOKED_AT public.secret", "ERROR PUBLICATION_MISSING enishi_doubtful_customer", "WARNING FENCE enishi.raise_fence",
      "OK SLOTS max_replication_slots", "OK WAL_SENDERS max_wal_senders", "WARNING DISK_BOUND max_slot_wal_keep_size", "OK ENCODING UTF8", "OK REPLICATION_RIGHT enishi"])
      assert.ok(all.includes(wanted), `not named: ${wanted}\n${all.join("\n")}`);
    assert.equal(before(), untouched, "plan changed the source");
  });

  await t.test("what its owner runs is complete, and may be run again", () => {
    const made = plan(company, server, "tests/takeover/doubtful/customer", "doubtful");
    assert.equal(made.status, 1);
    made.run();
    made.run();
    const left = said(findings("doubtful")).filter((f) => f.startsWith("ERROR"));
    // What is left is the mapping's and the tables' own.
    assert.deepEqual(left.sort(), ["ERROR COLUMN_MISSING public.secret.gone", "ERROR COLUMN_UNMAPPED public.customers.forgotten", "ERROR PUBLICATION public.notes", "ERROR UNLOGGED public.notes"]);
    company.sql("doubtful", "update phones set number = '090' where customer_id = 99; delete from addresses where id = 2");
  });

  await t.test("encodings", () => {
    const mapping = join(scratch("mapping"), "customer");
    cpSync(join(root, "tests/takeover/doubtful/customer"), mapping, { recursive: true });
    writeFileSync(join(mapping, "mapping.toml"), 'system = "small"\ndomain = "customer"\n[root]\ntable = "public.customers"\nkey = ["id"]\n[[table]]\nname = "public.customers"\nroot = ["id"]\nmapped = ["id", "name"]\n');
    writeFileSync(join(mapping, "forward.sql"), "select id::text as key, jsonb_build_object('display_name', name) as record from customers where id = any ($1::integer[])");
    writeFileSync(join(mapping, "reverse.sql"), "update customers set name = $2 ->> 'display_name' where id = $1::integer; select $1");
    for (const [encoding, name, level] of [["LATIN1", "Café Nuñez", "OK"], ["EUC_JP", "髙島屋".replace("髙", "高"), "OK"], ["SQL_ASCII", "Smith", "ERROR"]]) {
      const database = `small_${encoding.toLowerCase()}`;
      create(database, encoding);
      company.sql(database, `create table customers (id integer primary key, name text not null); insert into customers values (1, '${name}')`);
      const first = plan(company, server, mapping, database);
      assert.match(first.out, new RegExp(`${level}\\s+ENCODING\\s+${encoding}`));
      if (level === "ERROR") continue;
      first.run();
      const made = findings(database, mapping);
      assert.equal(made.good, true, JSON.stringify(made.findings));
      assert.ok(said(made).includes("OK FENCE enishi.raise_fence") && !said(made).some((f) => /WRITE_THROUGH|WRITE_RIGHT/.test(f)), JSON.stringify(made.findings));
      assert.ok(said(made).includes("OK RECORDS forward.sql") && said(made).includes("OK REVERSE reverse.sql"), JSON.stringify(made.findings));
    }
  });

  await t.test("a server without a free slot, or without wal_level logical, is named with what to set", () => {
    const most = Number(company.sql("postgres", "show max_replication_slots", "postgres"));
    company.sql("postgres", `select pg_create_physical_replication_slot('taken_' || n) from generate_series(1, ${most} - (select count(*) from pg_replication_slots)::integer) n`, "postgres");
    const made = findings("doubtful");
    assert.ok(said(made).includes("ERROR SLOTS max_replication_slots"), said(made).join("\n"));
    assert.match(made.server_sql, /alter system set max_replication_slots = '\d+';  -- needs a restart/);
    company.sql("postgres", "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name like 'taken_%'", "postgres");
    company.sql("postgres", "alter role enishi noreplication", "postgres");
    const without = findings("doubtful");
    assert.ok(said(without).includes("ERROR REPLICATION_RIGHT enishi"));
    company.sql("postgres", without.server_sql.split("\n").filter((line) => line.startsWith("alter role")).join("\n"), "postgres");
    assert.ok(said(findings("doubtful")).includes("OK REPLICATION_RIGHT enishi"));
  });

  await t.test("ENISHI_SOURCE names the source, and a password in it is in no log, process list or answer", async () => {
    const secret = "geheim-4711", mapping = join(root, "samples/legacy/kokyaku/customer");
    plan(company, server, "samples/legacy/kokyaku/customer", "kokyaku").run();
    const run = (args) => spawnSync(binary, ["takeover", ...args, "--data", server.data], { encoding: "utf8", env: { ...process.env, ENISHI_SOURCE: `${company.target("kokyaku")} password=${secret}` } });
    const planned = run(["plan", "--mapping", mapping]);
    assert.equal(planned.status, 0, planned.out + planned.stderr);
    assert.doesNotMatch(planned.stderr, /on the command line/);
    const begun = run(["start", "--mapping", mapping]);
    assert.equal(begun.status, 0, begun.stderr);
    assert.match(begun.stderr, /passfile/);
    await eventually("the copy", () => JSON.parse(takeover(server, ["status", "--json"]).out)[0].phase === "STREAMING", 60_000);
    const processes = spawnSync("ps", ["-eo", "args"], { encoding: "utf8" }).stdout;
    for (const [what, text] of Object.entries({ planned: planned.stdout + planned.stderr, begun: begun.stdout + begun.stderr, log: server.log.join("\n"), processes, status: takeover(server, ["status", "--json"]).out }))
      assert.ok(!text.includes(secret), `the password is in ${what}`);
    const told = takeover(server, ["plan", "--mapping", mapping], { source: `${company.target("kokyaku")} password=${secret}` });
    assert.match(told.err, /on the command line/);
  });
});

// Enishi's database, restored from before a switch: the domain can only be read, says so, and the way out brings back what Enishi had written since, for it was
// written back to the legacy system.
import test from "node:test";
import assert from "node:assert/strict";
import { Enishi, eventually } from "../enishi.mjs";
import { Company, differences, plan, takeover } from "./sources.mjs";

const folder = "samples/legacy/kokyaku/customer";
const of = { database: "kokyaku", folder, table: "m_kokyaku", key: "kokyaku_no", domain: "customer" };

test("a domain whose source knows a later epoch", async (t) => {
  const company = await Company.start({ customers: 60 });
  const server = await Enishi.start();
  t.after(async () => { await server.stop(); await company.stop(); });
  const status = () => JSON.parse(takeover(server, ["status", "--json"]).out)[0];
  const until = (what, verb) => eventually(what, () => {
    const run = takeover(server, [verb, "--domain", "customer"]);
    if (run.status !== 0) throw new Error(run.out + run.err);
    return run.out;
  }, 60_000);
  const same = () => eventually("both sides are the same", () => {
    const { records, found } = differences(company, server, of);
    if (found.length > 0) throw new Error(`${found.length} of ${records} differ: ${JSON.stringify(found.slice(0, 2))}`);
    return records;
  }, 60_000);
  const notes = (key) => server.sql(`select c.notes from customer c join legacy_identity i on i.id = c.id where i.domain = 'customer' and i.legacy_key = '${key}'`);
  const write = (key, text) => server.sql(`update customer set notes = '${text}' where id = (select id from legacy_identity where domain = 'customer' and legacy_key = '${key}')`);

  plan(company, server, folder, "kokyaku").run();
  assert.equal(takeover(server, ["start", "--mapping", folder], { source: company.target("kokyaku") }).status, 0);
  await eventually("the copy ends", () => status().phase === "STREAMING", 60_000);
  await same();
  const [first, second, third] = server.sql("select legacy_key from legacy_identity where domain = 'customer' and not deleted order by length(legacy_key), legacy_key limit 3").split("\n");
  await until("a comparison", "diff");
  await until("the switch", "switch");
  write(first, "written after the backup");
  await same();
  assert.equal(takeover(server, ["unlock", "--domain", "customer"]).status, 1, "a domain that can be written was unlocked");

  // The database as it was before the switch, under a server that runs on.
  server.sql(`set session_replication_role = replica; update customer set notes = 'from the backup' where id = (select id from legacy_identity where domain = 'customer' and legacy_key = '${first}');
    update domain_ownership set state = 'LEGACY', epoch = 1 where domain = 'customer'; delete from takeover_reverse; delete from takeover_diff_run`, "postgres");
  const admin = await server.administrator();
  const domain = async () => (await admin.get("/v1/takeover/domains/customer")).body;
  await eventually("the domain can only be read", async () => (await domain()).read_only !== null, 60_000);
  const found = await domain();
  assert.match(found.read_only, /older than the last switch or revert.*enishi takeover unlock --domain customer/);
  assert.deepEqual(found.alarms.map((a) => a.kind), ["SOURCE_AHEAD"]);
  assert.throws(() => company.sql("kokyaku", `update m_kokyaku set biko = 'x' where kokyaku_no = ${second}`), /Enishi owns the domain/);

  const started = await admin.post("/v1/takeover/domains/customer/unlocking");
  assert.equal(started.status, 202, started.text);
  await eventually("it is unlocked", async () => {
    const move = (await admin.get(`/v1/takeover/moves/${started.body.id}`)).body;
    assert.notEqual(move.state, "ABORTED", JSON.stringify(move));
    return move.state === "DONE";
  }, 60_000);
  const free = await domain();
  assert.deepEqual([free.state, free.read_only, free.alarms], ["LEGACY", null, []]);
  await eventually("every record was read anew", () => status().phase === "STREAMING" && status().era === 2, 60_000);
  await same();
  assert.equal(notes(first), "written after the backup");
  company.sql("kokyaku", `update m_kokyaku set biko = 'the old screen again' where kokyaku_no = ${second}`);
  await same();
  await until("a comparison", "diff");
  await until("the switch", "switch");
  write(third, "after it all");
  await same();
  assert.equal(company.sql("kokyaku", `select biko from m_kokyaku where kokyaku_no = ${third}`), "after it all");
  assert.equal((await admin.post("/v1/takeover/domains/customer/unlocking")).status, 409);
});

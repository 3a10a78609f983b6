// kill -9, and a pause, of whoever moves a domain between its owners, at each of the steps: the server's keeper finishes it or has gone back by
// itself, one side and only one can be written, and what was acknowledged is on both sides once everything has come to rest.
import test from "node:test";
import assert from "node:assert/strict";
import { spawn, execFileSync, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { binary, Enishi, eventually, root } from "../enishi.mjs";
import { Company } from "../takeover/sources.mjs";

const mapping = join(root, "samples/legacy/kokyaku/customer");
const company = await Company.start({ customers: 120 });
const server = await Enishi.start();
test.after(async () => { await server.stop(); await company.stop(); });

const takeover = (args, env = {}) => spawnSync(binary, ["takeover", ...args, "--data", server.data], { encoding: "utf8", env: { ...process.env, ...env } });
const state = () => server.sql("select state from domain_ownership where domain = 'customer'");
const fence = () => company.sql("kokyaku", "select state from enishi.fence");
const say = (done) => `${done.stdout}${done.stderr}`;

function legacyWrites(name) {
  try {
    company.sql("kokyaku", `update m_kokyaku set biko = '${name}' where kokyaku_no = (select min(kokyaku_no) from m_kokyaku)`);
    return true;
  } catch (refused) {
    assert.match(String(refused.stderr), /cannot be changed/);
    return false;
  }
}
function enishiWrites(name) {
  try {
    server.sql(`update customer set notes = '${name}' where id = (select id from legacy_identity where domain = 'customer' order by legacy_key limit 1)`, "enishi_app");
    return true;
  } catch (refused) {
    assert.match(String(refused.stderr), /changing hands|legacy system/);
    return false;
  }
}
/** Comes to rest in one of the two states, with one writer. */
async function settled(what) {
  const now = await eventually(`${what}: an owner`, () => {
    const s = state(), f = fence();
    return (s === "LEGACY" && f === "OPEN") || (s === "OWNED" && f === "SEALED") ? s : undefined;
  }, 60_000);
  const here = enishiWrites(`here after ${what}`), there = legacyWrites(`there after ${what}`);
  assert.deepEqual([here, there], now === "OWNED" ? [true, false] : [false, true], `${what}: ${now} and the writers disagree`);
  return now;
}
async function equal(what) {
  await eventually(`${what}: both sides equal`, () => {
    const done = takeover(["diff", "--domain", "customer"]);
    if (done.status !== 0) throw new Error(say(done));
    return true;
  }, 60_000);
}
async function moved(verb, wanted) {
  await eventually(`${verb}`, () => {
    const done = takeover([verb, "--domain", "customer"]);
    if (done.status !== 0) throw new Error(say(done));
    return true;
  }, 60_000);
  assert.equal(state(), wanted);
}

let ready = false;
const step_of = (name, body) => test(name, async (t) => (ready ? body(t) : t.skip("the mirror does not run")));
test("the sample company's customers are mirrored", async () => {
  const plan = takeover(["plan", "--mapping", mapping, "--source", company.target("kokyaku"), "--json"]);
  const owner = JSON.parse(plan.stdout).owner_sql;
  // Settings of the server are its administrator's; everything else is the tables' owner's.
  for (const [who, mine] of [["postgres", true], ["legacy_owner", false]])
    company.sql("kokyaku", owner.split("\n").filter((line) => /^\s*(alter system|select pg_reload_conf)/i.test(line) === mine).join("\n"), who);
  company.sql("kokyaku", readFileSync(join(mapping, "grants.sql"), "utf8"));
  const sql = execFileSync(binary, ["takeover", "fence", "--mapping", mapping, "--login", "enishi"], { encoding: "utf8" });
  company.sql("kokyaku", sql);
  const started = takeover(["start", "--mapping", mapping, "--source", company.target("kokyaku")]);
  assert.equal(started.status, 0, say(started));
  await eventually("the stream", () => server.sql("select phase from takeover_domain") === "STREAMING", 60_000);
  server.sql("update takeover_reject set state = 'ACCEPTED', reason = 'a test' where state = 'OPEN'");
  await equal("copy");
  ready = true;
});

for (const step of ["PREFLIGHT", "GATE", "FENCE", "DRAIN", "DIFF", "SEAL", "OWN"])
  step_of(`switch, killed at ${step}`, async () => {
    const killed = takeover(["switch", "--domain", "customer"], { TAKEOVER_FAULT: `${step}:kill` });
    assert.equal(killed.signal, "SIGKILL", `it was not killed: ${say(killed)}`);
    const now = await settled(`switch at ${step}`);
    if (["SEAL", "OWN"].includes(step)) assert.equal(now, "OWNED");
    await equal(`switch at ${step}`);
    if (now === "OWNED") await moved("revert", "LEGACY");
    await equal("revert");
  });

for (const step of ["REVERSE_GATE", "REVERSE_DRAIN", "RETURN", "UNFENCE", "REVERSE_READ", "REVERSE_WRITE", "REVERSE_FORGET"])
  step_of(`revert, killed at ${step}`, async () => {
    await moved("switch", "OWNED");
    for (let n = 0; n < 20; n++) enishiWrites(`before ${step} ${n}`);
    const killed = takeover(["revert", "--domain", "customer"], { TAKEOVER_FAULT: `${step}:kill` });
    // The server's own reverse stream may have written everything before: then there is no such step.
    if (!step.startsWith("REVERSE_R") && !step.startsWith("REVERSE_W") && !step.startsWith("REVERSE_F"))
      assert.equal(killed.signal, "SIGKILL", `it was not killed: ${say(killed)}`);
    const now = await settled(`revert at ${step}`);
    await equal(`revert at ${step}`);
    if (now === "OWNED") await moved("revert", "LEGACY");
  });

step_of("a coordinator that sleeps past the fence's lapse owns nothing when it wakes", async () => {
  const child = spawn(binary, ["takeover", "switch", "--domain", "customer", "--data", server.data, "--hold", "60000"], { env: { ...process.env, TAKEOVER_FAULT: "DRAIN:stop" }, stdio: "pipe" });
  let said = "";
  child.stderr.on("data", (chunk) => { said += chunk; });
  const ended = new Promise((resolve) => child.on("exit", resolve));
  await eventually("the fence", () => fence() === "FENCED", 30_000);
  await eventually("legacy writes again by itself", () => legacyWrites("after the lapse"), 30_000);
  child.kill("SIGCONT");
  assert.notEqual(await ended, 0);
  assert.match(said, /FENCE_LAPSED/);
  assert.equal(await settled("a lapse"), "LEGACY");
  await equal("a lapse");
});

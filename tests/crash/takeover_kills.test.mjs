// kill -9 of Enishi, of the source's PostgreSQL or of Enishi's own at a numbered step of copy, stream, switch, reverse and revert, while people
// write in both systems: afterwards it goes on, or has gone back by itself, both sides are equal, and every write that was acknowledged is
// there once. A seed chooses step, victim and moment; 1 to 102 meet every step with every victim. A round that fails says how to repeat it:
//
//   TAKEOVER_SEED=17 TAKEOVER_ROUNDS=1 ./dev test crash
import test from "node:test";
import assert from "node:assert/strict";
import { eventually } from "../enishi.mjs";
import { random, pick } from "../business.mjs";
import { Pair, crashPostgres, rest } from "../takeover/pair.mjs";

const rounds = Number(process.env.TAKEOVER_ROUNDS ?? 9);
const firstSeed = Number(process.env.TAKEOVER_SEED ?? 1);

const copy = (pair) => ({ from: "LEGACY", provoke: () => pair.loseSlot() });
const stream = () => ({ from: "LEGACY" });
const change = (pair) => ({ from: "LEGACY", provoke: () => pair.move("switch") });
const back = (pair) => ({ from: "OWNED", provoke: () => pair.move("revert") });
const reverse = () => ({ from: "OWNED" });
const through = () => ({ from: "LEGACY" });
/** A switch that cannot get its locks at the source. */
const inVain = (pair) => ({ from: "LEGACY", provoke: async () => {
  const busy = pair.longSql("begin; lock table m_kokyaku in row exclusive mode; select pg_sleep(8); rollback").catch(() => {});
  try {
    await eventually("somebody holds the table", () => pair.company.sql("kokyaku", "select count(*) from pg_stat_activity where query like '%pg_sleep(8)%' and wait_event = 'PgSleep'") !== "0");
    await pair.move("switch");
  } finally { await busy; }
} });
const completion = (pair) => ({ from: "OWNED", ends: true, provoke: () => pair.move("complete") });
const steps = [
  ...[1, 2, 3, 4, 5, 6, 7].map((n) => [`copy.${n}`, copy]), ...[1, 2, 3, 4, 5, 6].map((n) => [`stream.${n}`, stream]),
  ...["PREFLIGHT", "GATE", "FENCE", "DRAIN", "DIFF", "SEAL", "OWN"].map((name) => [name, change]),
  ...["REVERSE_READ", "REVERSE_WRITE", "REVERSE_FORGET"].map((name) => [name, reverse]),
  ...["PREFLIGHT", "REVERSE_GATE", "REVERSE_DRAIN", "RETURN", "UNFENCE"].map((name) => [name, back]),
  ...[1, 2, 3, 4].map((n) => [`write.${n}`, through]), ["BACK", inVain], ...["COMPLETE", "DROP"].map((name) => [name, completion]),
];
const victims = ["Enishi", "the source", "the target"];
const all = steps.flatMap((step) => victims.map((victim) => [...step, victim]));
/** Neighbours among the seeds are far from each other among the steps. */
const plan = (seed) => all[(seed * 31) % all.length];

const pair = await Pair.start();
test.after(() => pair.stop());
let broken = false;

test("the sample company's customers are mirrored", async () => {
  broken = true;
  await pair.mirror();
  pair.work();
  broken = false;
});

for (let seed = firstSeed; seed < firstSeed + rounds; seed++) {
  const [at, kind, victim] = plan(seed);
  const dice = random(seed);
  const { from, provoke, ends } = kind(pair);
  // A copy has few chunks; of a stream's steps there are many.
  const nth = at.startsWith("stream.") ? 1 + Math.floor(dice() * 4) : /^copy\.[345]/.test(at) ? 1 + Math.floor(dice() * 3) : 1;
  const early = pick(dice, [0, 0, 50, 400]), late = pick(dice, [0, 100, 900, 2500]), whole = dice() < 0.5;
  test(`seed ${seed}: kill -9 of ${victim} at ${at} of a domain that is ${from}`, async (t) => {
    if (broken) return t.skip("a round before it failed");
    broken = true;
    try {
      await pair.bring(from);
      // Nothing stops the old service from writing to its own tables once the takeover is completed.
      if (ends) await pair.rest();
      await pair.fault(`${at}:stop:${nth}`, provoke, async () => {
        await rest(early);
        if (victim === "Enishi") {
          await pair.server.kill();
          await pair.server.restart();
        } else if (victim === "the source") {
          await pair.company.crash();
          // Enishi goes on while the source is still away, or only when it is back.
          if (whole) await pair.company.boot();
          pair.server.child.kill("SIGCONT");
          await rest(late);
          if (!whole) await pair.company.boot();
        } else {
          crashPostgres(pair.server.postmaster(), { children: whole });
          await rest(late);
          pair.server.child.kill("SIGCONT");
        }
      });
      const what = `${victim} at ${at}`;
      await eventually("Enishi's database", () => pair.server.sql("select 1") === "1", 60_000);
      if (ends) {
        await pair.completed(what);
        t.diagnostic(`LOCAL; ${JSON.stringify(await pair.accounts(what))}`);
        await pair.again();
        pair.work();
      } else {
        const owner = await pair.settled(what);
        t.diagnostic(`${owner}; ${JSON.stringify(await pair.accounts(what))}`);
      }
      broken = false;
    } catch (failed) {
      failed.message += `\nRepeat it with TAKEOVER_SEED=${seed} TAKEOVER_ROUNDS=1; the server's last words:\n${pair.server.log.slice(-15).join("\n")}`;
      throw failed;
    }
  });
}

test("writers of both systems were busy, and what they were told would have been missed", async (t) => {
  if (broken) return t.skip("a round before it failed");
  await pair.bring("OWNED");
  await eventually("a write in Enishi", () => pair.server.sql("select 1 from customer_phone where note like 'w%' order by created_at desc limit 1") === "1");
  const traffic = await pair.rest();
  t.diagnostic(JSON.stringify(traffic));
  await pair.bring("LEGACY");
  const counted = await pair.accounts("the end");
  t.diagnostic(JSON.stringify(counted));
  assert.ok(counted.done > 20 && counted.refused > 0, "nobody wrote anything");
  // Accounts that could not see anything would be none.
  const [lost] = [...pair.writes].find(([, said]) => said === "done");
  pair.company.sql("kokyaku", `delete from t_tel where biko = '${lost}'`);
  await assert.rejects(pair.accounts("a lost write"), new RegExp(`${lost} was done and is 0 times there`));
  pair.writes.delete(lost);
});

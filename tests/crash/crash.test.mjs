// kill -9 in the middle of work: the server, its PostgreSQL, or both, at a random moment; then everything that was acknowledged is there,
// once, and nothing is half done. A round that fails prints the seed that repeats it:
//
//   CRASH_SEED=17 CRASH_ROUNDS=1 ./dev test crash
import test from "node:test";
import assert from "node:assert/strict";
import { join } from "node:path";
import { Enishi, eventually, newId, scratch } from "../enishi.mjs";
import { Company, random, pick } from "../business.mjs";

const rounds = Number(process.env.CRASH_ROUNDS ?? 6);
const firstSeed = Number(process.env.CRASH_SEED ?? Date.now() % 1_000_000);
const writers = 8;

/** Sends until it is known what became of it, always under the same Idempotency-Key: through refused connections, cut ones, and 503. */
function insistently(server, state) {
  return async (client, path, body) => {
    const key = newId();
    const end = Date.now() + 60_000;
    for (let last = "nothing"; ;) {
      if (Date.now() > end) throw new Error(`${path} got no answer in 60 s; the last one: ${last}`);
      if (state.over()) throw new Error("the round has failed");
      try {
        client.origin = server.origin;
        const answer = await client.post(path, body, { "idempotency-key": key });
        if (answer.status === 503) {
          assert.ok(Number(answer.headers.get("retry-after")) >= 1, `503 without Retry-After: ${answer.text}`);
          state.doubts++;
          last = answer.text;
        } else if (answer.status === 409 && answer.body.code === "IDEMPOTENCY_KEY_IN_USE") last = answer.text;
        else {
          if (answer.headers.get("idempotency-replayed") === "true") state.replays++;
          return answer;
        }
      } catch (failed) {
        if (failed.name !== "TypeError" && failed.name !== "TimeoutError") throw failed; // fetch's: refused, reset, cut off
        state.doubts++;
        last = String(failed.cause ?? failed);
      }
      await new Promise((go) => setTimeout(go, 50));
    }
  };
}

test(`${rounds} rounds from seed ${firstSeed}`, async (t) => {
  const server = await Enishi.start({ data: join(scratch(), "data") }); // durable, as a user's is
  t.after(() => server.stop());
  const admin = await server.administrator();
  const company = await Company.open(server, admin, { operators: writers, slots: 40, capacity: 2, appraisers: 4, seed: firstSeed });
  assert.equal(server.sql("show fsync") + server.sql("show full_page_writes") + server.sql("select setting from pg_settings where name = 'synchronous_commit'"), "ononon");
  let broken = false; // after a round that failed the others would only say so again
  const state = { doubts: 0, replays: 0, over: () => broken };
  company.write = insistently(server, state);
  const get = company.operators[0].get;
  for (const operator of company.operators) {
    // Reads are asked again, too.
    operator.get = (path) => eventually(path, async () => {
      operator.origin = server.origin;
      const answer = await get.call(operator, path);
      return answer.status === 503 ? undefined : answer;
    }, 60_000);
  }
  let phone = 10_000_000;

  for (let round = 0; round < rounds; round++) {
    const seed = firstSeed + round;
    const dice = random(seed);
    const victims = pick(dice, [["server"], ["postgres"], ["server", "postgres"], ["server"]]);
    await t.test(`seed ${seed}: kill -9 of ${victims.join(" and ")}`, { skip: broken && "a round before it failed" }, async () => {
      let working = true;
      try {
        const before = { ...company.counts };
        const work = company.operators.map(async (operator, n) => {
          const own = random(seed * 1000 + n);
          while (working && !broken) {
            if (own() < 0.4) await company.lead(operator, `090${String(phone++).padStart(8, "0")}`);
            else await company.work(operator, own);
          }
        });
        const all = Promise.all(work);
        all.catch(() => {}); // looked at below; here it must not end the process while the server is down
        await new Promise((go) => setTimeout(go, 800 + dice() * 2500));
        if (victims.includes("postgres")) process.kill(server.postmaster(), "SIGKILL");
        if (victims.includes("server")) {
          await server.kill();
          await server.restart();
        }
        await new Promise((go) => setTimeout(go, 500 + dice() * 1000)); // work goes on after it
        working = false;
        await all;
        const wrong = company.audit();
        assert.deepEqual(wrong, [], wrong.join("\n"));
        assert.ok((company.counts.calls ?? 0) > (before.calls ?? 0), "nobody called anybody");
      } catch (failed) {
        broken = true;
        working = false;
        failed.message += `\nRepeat it with CRASH_SEED=${seed} CRASH_ROUNDS=1; the server's last words:\n${server.log.slice(-15).join("\n")}`;
        throw failed;
      }
    });
  }
  t.diagnostic(`${JSON.stringify(company.counts)}; ${state.doubts} requests in doubt, ${state.replays} answers given again`);
  assert.ok(state.doubts > 0, "no request was ever in doubt: the kills hit nothing");
  if (!broken) {
    // An audit that could not see anything would be no audit.
    server.sql("update history set entity = null where id = (select max(id) from history where entity = 'call_attempt'); update history set content = content || '{\"version\": 99}' where id = (select max(id) from history where table_name = 'inquiry')", "postgres");
    assert.equal(company.audit().length, 2, "the audit missed an event that is gone and an entry that was changed");
  }
  const errors = server.errors.filter((line) => !/postgres ended; starting it again/.test(line));
  assert.deepEqual(errors, []);
});

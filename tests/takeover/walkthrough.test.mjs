// docs/takeover/README.md, executed: each block of commands as it stands there, in its order, and what the page says they print. Only folders, the port and the
// number of customers are other ones. Long-running commands stay open, as in the reader's terminals.
import test from "node:test";
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { binary, eventually, root, scratch, Client } from "../enishi.mjs";

const folder = scratch("walk");
const terminals = [];

/** [{language, text, title}] of a page's fenced blocks. */
function blocks(page) {
  const out = [];
  let title = "", open;
  for (const line of readFileSync(join(root, page), "utf8").split("\n")) {
    if (line.startsWith("## ") && !open) title = line.slice(3);
    else if (line.startsWith("```") && open) open = undefined;
    else if (line.startsWith("```")) out.push(open = { language: line.slice(3), lines: [], title });
    else if (open) open.lines.push(line);
  }
  return out.map(({ lines, ...block }) => ({ ...block, text: lines.join("\n") }));
}

/** The reader's machine, but for what two tests at once would fight for. */
const here = (text) => text.replaceAll("/tmp/", `${folder}/`).replaceAll("--customers 20000", "--customers 200");
const env = {
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("ENISHI_") && !name.startsWith("PG"))),
  PATH: `${folder}/bin:${process.env.PATH}`, ENISHI_LISTEN: "127.0.0.1:0", ENISHI_PASSWORD_COST: "low", ENISHI_BACKUP: "off", LC_ALL: "C.UTF-8",
};
mkdirSync(join(folder, "bin"));
symlinkSync(binary, join(folder, "bin/enishi"));

function launch(text, stdio = "pipe") {
  const child = spawn("bash", ["-c", text], { cwd: root, env, stdio: ["ignore", stdio, stdio] });
  const run = { child, out: "" };
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => { run.out += chunk; });
  run.done = new Promise((resolve) => child.on("exit", (code, signal) => resolve(code ?? signal)));
  return run;
}

/** A terminal that stays open. */
function terminal(text) {
  const one = launch(`exec ${here(text)}`);
  one.text = text;
  one.stop = async () => { one.child.kill("SIGINT"); return one.done; };
  terminals.push(one);
  return one;
}
process.on("exit", () => { for (const { child } of terminals) if (child.exitCode === null) { try { child.kill("SIGKILL"); } catch {} } });

const stays = /^enishi (serve|demo legacy|demo legacy-traffic) /;
/** Whether a printed line is what the page shows: runs of digits and blanks are alike, … is anything, and more may follow. */
const pattern = (line) => new RegExp(here(line).trim().replace(/[.*+?^${}()|[\]\\]/g, "\\$&").replace(/…/g, ".*").replace(/ +/g, "\\s+").replace(/(?<=[\s(])\d+(?= rows| records)/g, "\\d+"));

async function commands(t, text, shown) {
  const expected = (shown ?? "").split("\n").filter(Boolean);
  const refusal = expected.some((line) => line.startsWith("ERROR"));
  // psql's commands are done once; Enishi's may be run again, and are, as the page says: until the mirror has caught up, or the load let a switch through.
  const parts = here(text).split("\n").filter(Boolean);
  for (const [n, part] of parts.entries()) {
    const last = n === parts.length - 1;
    const again = /^enishi /.test(part) || /-c "select /.test(part);
    await eventually(part, async () => {
      const run = launch(part);
      const code = await run.done;
      if (last && expected.length > 0)
        for (const line of expected) if (!pattern(line).test(run.out)) throw Object.assign(new Error(`not in its output: ${line}\n${run.out}`), { final: !again });
      if (code !== 0 && !(last && refusal)) throw Object.assign(new Error(`ended with ${code}: ${run.out}`), { final: !again });
      t.diagnostic(`${part.slice(0, 100)}\n${run.out.slice(-600)}`);
      return true;
    }, again ? 120_000 : 0).catch((failed) => { throw new Error(`${part}: ${failed.cause?.message ?? failed.message}`); });
  }
}

test("docs/takeover/README.md, from top to bottom", async (t) => {
  t.after(async () => { for (const one of terminals.toReversed()) if (one.child.exitCode === null) await one.stop(); });
  const all = blocks("docs/takeover/README.md");
  let traffic, server;
  let broken = false;
  for (const [at, block] of all.entries()) {
    if (block.language !== "sh") continue;
    const shown = all[at + 1]?.language === "text" ? all[at + 1].text : undefined;
    await t.test(`${block.title}: ${block.text.split("\n")[0].slice(0, 90)}`, async (t) => {
      if (broken) return t.skip("the page stopped before");
      broken = true;
      if (stays.test(block.text)) {
        const one = terminal(block.text);
        if (/legacy-traffic/.test(block.text)) traffic = one;
        else await eventually(`${block.text} is open`, () => {
          if (one.child.exitCode !== null) throw new Error(one.out);
          return /is open|Enishi is ready at/.test(one.out);
        }, 180_000);
        if (/^enishi serve/.test(block.text)) server = one;
      } else {
        // Where the page asks for Ctrl-C.
        if (/takeover complete .*customer/.test(block.text)) {
          const code = await traffic.stop();
          t.diagnostic(traffic.out.trim().slice(-600));
          assert.equal(code, 0, traffic.out);
          assert.match(traffic.out, /"committed":[1-9]/);
        }
        await commands(t, block.text, shown);
      }
      broken = false;
    });
  }
  await t.test("afterwards: old numbers resolve in every domain, and nothing differed or was refused", async (t) => {
    if (broken) return t.skip("the page stopped before");
    const origin = server.out.match(/Enishi is ready at (http:\S+)/)[1], token = server.out.match(/\/welcome#(\S+)/)[1];
    const admin = new Client(origin);
    const redeemed = await admin.post("/v1/one-time-links/redemption", { token, password: "correct horse battery staple" });
    assert.ok(redeemed.status < 300, redeemed.text);
    const session = await admin.post("/v1/session", { login: "admin", password: "correct horse battery staple" });
    admin.csrf = session.body.csrf_token;
    for (const [system, domain, path] of [["kokyaku", "customer", "customers"], ["uketsuke", "inquiry", "inquiries"], ["shohin", "goods"]]) {
      const any = launch(here(`psql "host=/tmp/crm/socket dbname=enishi user=enishi_owner" -At -c "select legacy_key from legacy_identity where domain = '${domain}' and not deleted order by legacy_key desc limit 1"`));
      await any.done;
      const key = domain === "customer" ? "9000001" : any.out.trim();
      const found = await admin.get(`/v1/legacy/${system}/${domain}/${key}`);
      assert.equal(found.status, 200, `${domain} ${key}: ${found.text}`);
      if (path) assert.equal((await admin.get(`/v1/${path}/${found.body.id}`)).status, 200);
    }
    assert.equal((await admin.get("/v1/legacy/kokyaku/customer/9000002")).status, 404);
    const domains = await admin.get("/v1/takeover/domains");
    for (const { domain, state, rejects_open, alarms } of domains.body.items.filter((d) => d.mirror)) {
      assert.equal(state, "LOCAL", domain);
      assert.equal(rejects_open, 0, domain);
      assert.deepEqual(alarms.map((a) => a.kind), [], domain);
    }
    const slots = await launch(here(`psql "host=/tmp/company/socket dbname=postgres user=postgres" -At -c "select count(*) from pg_replication_slots"`));
    await slots.done;
    assert.equal(slots.out.trim(), "0");
  });
});

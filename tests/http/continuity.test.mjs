// Backups as a user meets them: on from the first second, seen by the API, asked for, restored by the command line.
import test from "node:test";
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { Enishi, binary, eventually, scratch } from "../enishi.mjs";

const run = (...args) => spawnSync(binary, args, { encoding: "utf8" });

test("a database whose backups others make says so, and takes no requests", async (t) => {
  const server = await Enishi.start();
  t.after(() => server.stop());
  const admin = await server.administrator();
  assert.equal((await admin.get("/v1/continuity")).body.state, "external");
  const refused = await admin.post("/v1/continuity/requests", { kind: "BACKUP" });
  assert.equal(refused.status, 409);
  assert.equal(refused.body.code, "BACKUPS_EXTERNAL");
});

test("backups are on by default; a mark is set, a moment restored beside the live data, looked at quietly and promoted", async (t) => {
  const server = await Enishi.start({ env: { ENISHI_BACKUP: "" }, args: ["--drill-days", "0"] });
  t.after(() => server.child.kill("SIGKILL"));
  const admin = await server.administrator();
  const status = await eventually("the first backup", async () => {
    const { body } = await admin.get("/v1/continuity");
    return body.repository?.last_backup_at && body.receiver.state === "streaming" && body;
  }, 240_000);
  assert.equal(statSync(join(server.data, "backup.key")).mode & 0o777, 0o600);
  assert.equal(status.window.days, 14);

  for (const [body, pointer] of [[{ kind: "MARK" }, "/name"], [{ kind: "BACKUP", name: "x" }, "/name"], [{ kind: "MARK", name: "a b" }, "/name"], [{ kind: "RESTORE" }, "/kind"]]) {
    const wrong = await admin.send("POST", "/v1/continuity/requests", body);
    assert.equal(wrong.status, 422, JSON.stringify(body));
    assert.equal(wrong.body.errors[0].pointer, pointer);
  }
  const before = await admin.post("/v1/customers", { display_name: "残る 人" });
  assert.equal(before.status, 201);
  const asked = await admin.post("/v1/continuity/requests", { kind: "MARK", name: "before-import" });
  assert.equal(asked.status, 202);
  await eventually("the mark", async () => (await admin.get("/v1/continuity/requests")).body.items.find((r) => r.id === asked.body.id && r.state === "DONE"), 120_000);
  const after = await admin.post("/v1/customers", { display_name: "消える 人" });
  assert.equal(after.status, 201);

  const list = run("restore", "--data", server.data, "--list");
  assert.equal(list.status, 0, list.stderr);
  assert.match(list.stdout, /Any moment from [\s\S]*full[\s\S]*before-import/);
  const outside = run("restore", "--data", server.data, "--to", "2020-01-01 00:00+09", "--into", join(server.data, "never"));
  assert.equal(outside.status, 1);
  assert.match(outside.stderr, /what can be restored reaches from .*TARGET_OUTSIDE_WINDOW/);
  assert.ok(!existsSync(join(server.data, "never")));

  const into = join(scratch(), "restored");
  const done = run("restore", "--data", server.data, "--to", "before-import", "--into", into, "--json");
  assert.equal(done.status, 0, done.stdout + done.stderr);
  const report = JSON.parse(done.stdout);
  assert.ok(report.good);
  assert.equal(report.counts.customer, 1);
  const live = run("restore", "--data", server.data, "--into", into, "--promote");
  assert.equal(live.status, 1);
  assert.match(live.stderr, /DATA_IN_USE/);

  // Quiet: it serves, and runs no jobs and no backups.
  const quiet = await Enishi.start({ data: into, env: { ENISHI_BACKUP: "" } });
  assert.equal(quiet.sql("select display_name from customer"), "残る 人");
  assert.ok(!existsSync(join(into, "backup")));
  assert.equal(quiet.sql("select count(*) from pg_stat_activity where application_name = 'enishi_receiver'", "postgres"), "0");
  assert.equal(await quiet.stop(), 0);

  assert.equal(await server.stop(), 0);
  const promoted = run("restore", "--data", server.data, "--into", into, "--promote");
  assert.equal(promoted.status, 0, promoted.stderr);
  await server.restart();
  assert.equal(server.sql("select display_name from customer"), "残る 人");
  const seen = run("status", "--data", server.data);
  assert.match(seen.stdout, /window /);
  assert.equal(await server.stop(), 0);
  assert.equal(run("status", "--data", server.data).status, 2, "nothing runs: red");
});

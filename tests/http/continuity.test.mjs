// Backups as a user meets them: on from the first second, seen by the API, asked for, restored by the command line.
import test from "node:test";
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, statSync } from "node:fs";
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

  // A drill where there is room for it; nothing of it is left.
  const room = join(scratch(), "room");
  const drilled = run("drill", "--data", server.data, "--drill-folder", room, "--json");
  assert.equal(drilled.status, 0, drilled.stdout + drilled.stderr);
  assert.ok(JSON.parse(drilled.stdout).good);
  assert.deepEqual(readdirSync(room), []);

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

/** pgBackRest by hand, as the user of the database; its output. */
function pgbackrest(server, args, input) {
  const command = ["pgbackrest", `--config=${join(server.data, "pgbackrest.conf")}`, "--stanza=enishi", "--log-level-console=error", ...args];
  const done = process.getuid() === 0 ? spawnSync("runuser", ["-u", "postgres", "--", ...command], { encoding: "utf8", input, cwd: "/" }) : spawnSync(command[0], command.slice(1), { encoding: "utf8", input });
  assert.equal(done.status, 0, done.stdout + done.stderr);
  return done.stdout;
}
/** backup.info with other contents: its last line is a digest of all that stands before it (info/info.c of pgBackRest). */
function signed(text) {
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("backrest-checksum="));
  if (lines.at(-1) === "[backrest]") lines.pop();
  const sections = lines.join("\n").split(/^\[/m).slice(1).map((part) => {
    const [name, ...values] = part.trim().split("\n");
    return [name.slice(0, -1), values.map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)])];
  });
  const all = `{${sections.map(([name, values]) => `"${name}":{${values.map(([key, value]) => `"${key}":${value}`).join(",")}}`).join(",")}}`;
  return `${sections.map(([name, values]) => `[${name}]\n${values.map(([key, value]) => `${key}=${value}\n`).join("")}`).join("\n")}\n[backrest]\nbackrest-checksum="${createHash("sha1").update(all).digest("hex")}"\n`;
}

test("what has left the window expires, and nothing on which the window stands", async (t) => {
  const server = await Enishi.start({ env: { ENISHI_BACKUP: "" }, args: ["--drill-days", "0"] });
  t.after(() => server.child.kill("SIGKILL"));
  const admin = await server.administrator();
  await eventually("the first backup", async () => {
    const { body } = await admin.get("/v1/continuity");
    return body.repository?.last_backup_at && !body.running && body.receiver.state === "streaming";
  }, 240_000);
  for (let i = 0; i < 2; ++i) {
    assert.equal((await admin.post("/v1/customers", { display_name: `第${i} 号` })).status, 201);
    pgbackrest(server, ["backup", "--type=full", "--start-fast", "--no-expire-auto"]);
  }
  const list = () => JSON.parse(run("restore", "--data", server.data, "--list", "--json").stdout);
  const [first, second, third] = list().backups.map((b) => b.label);
  const info = pgbackrest(server, ["repo-get", "backup/enishi/backup.info"]);
  assert.equal(signed(info).trim(), info.trim(), "the format is understood");
  // The first two grow old: 40 and 20 days. The window of 14 days stands on the second.
  const older = signed(info.replaceAll(/^(\d{8}-\d{6}F)=(.*)$/gm, (line, label, value) => {
    const days = { [first]: 40, [second]: 20 }[label] ?? 0;
    return `${label}=${value.replaceAll(/("backup-timestamp-(?:start|stop)":)(\d+)/g, (_, key, at) => `${key}${Number(at) - days * 86_400}`)}`;
  }));
  for (const name of ["backup.info", "backup.info.copy"]) pgbackrest(server, ["repo-put", `backup/enishi/${name}`], older);
  const wal = () => pgbackrest(server, ["repo-ls", "--recurse", "archive/enishi"]).split("\n").filter((file) => /[0-9A-F]{24}-/.test(file)).map((file) => file.match(/([0-9A-F]{24})-/)[1]).sort();
  const before = wal();
  pgbackrest(server, ["expire"]);
  assert.deepEqual(list().backups.map((b) => b.label), [second, third]);
  const after = wal();
  assert.ok(after[0] > before[0], "WAL of what is gone is gone");
  assert.equal(after.at(-1), before.at(-1));
  assert.equal(after.length, before.length - before.indexOf(after[0]), "and none between what is left");
  const into = join(scratch(), "restored");
  const restored = run("restore", "--data", server.data, "--into", into, "--json");
  assert.equal(restored.status, 0, restored.stdout + restored.stderr);
  assert.equal(JSON.parse(restored.stdout).counts.customer, 2);
  assert.equal(await server.stop(), 0);
});

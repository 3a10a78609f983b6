// What lies in deploy/ speaks of things that are there: alert rules of metrics, units of commands and flags.
import test from "node:test";
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Enishi, binary, eventually, root, scratch } from "../enishi.mjs";

const rules = readFileSync(join(root, "deploy/prometheus/enishi-continuity.yml"), "utf8");
const has = (program) => !spawnSync(program, ["--version"]).error;

test("every metric and label that the alert rules name is in /metrics", async (t) => {
  const expressions = [...rules.matchAll(/^ +expr: (.+)$/gm)].map((m) => m[1]);
  assert.ok(expressions.length >= 10);
  const wanted = new Set(expressions.flatMap((e) => [...e.matchAll(/\benishi_[a-z0-9_]+(?:\{[^}]*\})?/g)].map((m) => m[0])));
  assert.ok(wanted.size >= 12, [...wanted].join(" "));
  const server = await Enishi.start({ env: { ENISHI_BACKUP: "" }, args: ["--drill-days", "0"] });
  t.after(() => server.child.kill("SIGKILL"));
  const said = await eventually("the guardian's metrics", async () => {
    const text = await (await fetch(`${server.origin}/metrics`)).text();
    return /^enishi_heartbeat_timestamp_seconds [1-9]/m.test(text) && text;
  }, 120_000);
  for (const metric of wanted) assert.ok(said.split("\n").some((line) => line.startsWith(metric + (metric.endsWith("}") ? " " : "")) && /^[ {]/.test(line.slice(metric.length))), `${metric} is not in /metrics`);
  assert.equal(await server.stop(), 0);
});

test("promtool takes the rules, and their tests pass", { skip: !has("promtool") && "promtool is not here; ./dev test brings it" }, () => {
  const cwd = join(root, "deploy/prometheus");
  for (const args of [["check", "rules", "enishi-continuity.yml"], ["test", "rules", "enishi-continuity.test.yml"]]) {
    const done = spawnSync("promtool", args, { cwd, encoding: "utf8" });
    assert.equal(done.status, 0, done.stdout + done.stderr);
  }
});

test("the units' commands and flags are Enishi's", () => {
  for (const unit of ["enishi-cluster", "enishi"]) {
    const text = readFileSync(join(root, `deploy/systemd/${unit}.service`), "utf8");
    const commands = [...text.matchAll(/\/usr\/local\/bin\/enishi ([a-z ]+?)((?: --[a-z-]+ (?:"[^"]*"|\S+))+)/g)];
    assert.ok(commands.length >= 1);
    for (const [, command, flags] of commands) {
      const help = spawnSync(binary, [...command.trim().split(" "), "--help"], { encoding: "utf8" });
      assert.equal(help.status, 0, help.stderr);
      for (const [flag] of flags.matchAll(/--[a-z-]+/g)) assert.ok(help.stdout.includes(flag), `enishi ${command} has no ${flag}`);
    }
  }
});

test("systemd takes the units", { skip: !has("systemd-analyze") && "systemd-analyze is not installed" }, () => {
  const folder = join(scratch(), "units");
  mkdirSync(folder);
  const units = ["enishi-cluster.service", "enishi.service"];
  for (const unit of units) {
    copyFileSync(join(root, "deploy/systemd", unit), join(folder, unit));
    writeFileSync(join(folder, unit), readFileSync(join(folder, unit), "utf8").replaceAll("/usr/local/bin/enishi", binary)); // installed where it was built
  }
  const done = spawnSync("systemd-analyze", ["verify", "--man=no", ...units.map((unit) => join(folder, unit))], { encoding: "utf8" });
  assert.equal(done.status, 0, done.stdout + done.stderr);
  assert.equal(done.stderr, "");
});

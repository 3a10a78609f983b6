// The contract and the binary agree: every operation has a handler, every handler an operation, every right stands in both.
import test from "node:test";
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { Enishi, binary } from "../enishi.mjs";
import { operations, fits } from "../contract.mjs";

test("every operation has a handler and every handler an operation", () => {
  const routes = JSON.parse(execFileSync(binary, ["routes"], { encoding: "utf8" })).filter((r) => r.operation);
  const mounted = routes.map((r) => `${r.method.toUpperCase()} ${r.path} ${r.operation}`).sort();
  const declared = operations.map((o) => `${o.method} ${o.path} ${o.operation.operationId}`).sort();
  assert.ok(declared.length > 50, `only ${declared.length} operations are declared`);
  assert.deepEqual(mounted, declared);
});

test("every operation declares what can go wrong", () => {
  for (const { method, operation } of operations) {
    const statuses = Object.keys(operation.responses);
    const open = Array.isArray(operation.security) && operation.security.length === 0;
    const wanted = ["400", "408", "413", "431", "500", "503", ...(open ? [] : ["401", "403", "429"]), ...(["POST", "PATCH", "PUT"].includes(method) ? ["422"] : []), ...(operation.requestBody ? ["415"] : []),
      ...(method === "PATCH" && (operation.parameters ?? []).some((p) => JSON.stringify(p).includes("If")) ? ["412", "428"] : [])];
    for (const status of wanted) assert.ok(statuses.includes(status), `${operation.operationId} does not declare ${status}`);
  }
});

test("every success with a body has an example, and it fits its schema", () => {
  const wrong = [];
  for (const { operation } of operations) {
    for (const [status, response] of Object.entries(operation.responses)) {
      if (!/^2/.test(status)) continue;
      for (const [type, media] of Object.entries(response.content ?? {})) {
        const examples = "example" in media ? [media.example] : Object.values(media.examples ?? {}).map((one) => one.value);
        if (examples.length === 0) wrong.push(`${operation.operationId} ${status} ${type}: no example`);
        if (/json/.test(type)) for (const example of examples) {
          const error = fits(media.schema, example);
          if (error) wrong.push(`${operation.operationId} ${status}: ${error}`);
        }
      }
    }
  }
  assert.deepEqual(wrong, []);
});

test("rights: every operation × every role is what x-roles says, in the database and over HTTP", async (t) => {
  const server = await Enishi.start();
  t.after(() => server.stop());
  const admin = await server.administrator();
  const roles = ["operator", "supervisor", "marketing", "compliance", "appraiser", "admin"];

  const stored = {};
  for (const line of server.sql("select operation || ' ' || role || ':' || scope from role_permission order by 1").split("\n")) {
    const [operation, grant] = line.split(" ");
    (stored[operation] ??= []).push(grant);
  }
  for (const { operation } of operations) {
    if (Array.isArray(operation.security) && operation.security.length === 0) continue;
    const declared = Object.entries(operation["x-roles"]).map(([role, scope]) => `${role}:${scope}`).sort();
    assert.deepEqual((stored[operation.operationId] ?? []).sort(), declared, `rights of ${operation.operationId}`);
  }

  const clients = {};
  for (const role of roles) clients[role] = role === "admin" ? admin : await server.user(admin, role);
  const nobody = "00000000-0000-7000-8000-000000000000";
  let cells = 0;
  for (const { method, path, operation } of operations) {
    if (Array.isArray(operation.security) && operation.security.length === 0) continue;
    if (["log_out", "stream_events", "change_password"].includes(operation.operationId)) continue; // they end or hold the session they are asked in
    const real = path.replace(/\{role\}/g, "no_such_role").replace(/\{postal_code\}/g, "1000001").replace(/\{table\}/g, "customer").replace(/\{[^}]+\}/g, nobody);
    for (const role of roles) {
      const answer = await clients[role].send(method, real, ["GET", "DELETE"].includes(method) ? undefined : {}, method === "PATCH" ? { "if-match": '"1"' } : {});
      const allowed = role in operation["x-roles"];
      assert.equal(answer.status === 403 && answer.body?.code === "FORBIDDEN", !allowed, `${role} ${operation.operationId}: ${answer.status} ${answer.text.slice(0, 200)}`);
      assert.ok(answer.status < 500, `${role} ${operation.operationId}: ${answer.status} ${answer.text.slice(0, 300)}`);
      cells++;
    }
  }
  assert.ok(cells > 300, `only ${cells} cells`);
});

// Log in, users, roles, tokens and teams against the real binary: every answer is held against the contract.
import test from "node:test";
import assert from "node:assert/strict";
import { Enishi, Client } from "../enishi.mjs";
import { operations, seen } from "../contract.mjs";

test("from the first start to a user who works and is let go", async (t) => {
  const server = await Enishi.start();
  t.after(() => server.stop());
  const admin = await server.administrator();
  const nobody = new Client(server.origin);
  const post = (client, path, body, status) => client.post(path, body).then((a) => { assert.equal(a.status, status, `${path}: ${a.text}`); return a.body; });

  // Once used, the link of the first start opens nothing.
  assert.equal((await nobody.post("/v1/one-time-links/redemption", { token: server.welcome, password: "another good sentence" })).status, 410);
  assert.equal((await nobody.post("/v1/one-time-links/redemption", { token: "nobody-has-this", password: "another good sentence" })).status, 404);
  assert.equal((await nobody.get("/v1/session")).status, 401);
  assert.equal((await nobody.post("/v1/session", { login: "admin", password: "not this one" })).body.code, "LOGIN_FAILED");
  assert.equal((await nobody.post("/v1/session", "{", { "content-type": "application/json" })).body.code, "BODY_MALFORMED");

  const team = await post(admin, "/v1/teams", { name: "East" }, 201);
  assert.equal((await admin.get(`/v1/teams/${team.id}`)).body.name, "East");
  assert.equal((await admin.patch(`/v1/teams/${team.id}`, { name: "East Japan" }, team.version)).body.version, 2);
  assert.equal((await admin.patch(`/v1/teams/${team.id}`, { name: "Late" }, team.version)).status, 412);
  assert.equal((await admin.patch(`/v1/teams/${team.id}`, { name: "Blind" })).status, 428);
  assert.equal((await admin.get("/v1/teams")).body.items.length, 1);

  const op = await server.user(admin, "operator", { team_id: team.id });
  const me = (await op.get("/v1/session")).body;
  assert.deepEqual(me.roles, ["operator"]);
  assert.equal(me.user.team_id, team.id);
  assert.equal((await op.get("/v1/users")).body.code, "FORBIDDEN");
  assert.equal((await op.get(`/v1/users/${op.id}`)).status, 200);
  assert.equal((await op.get(`/v1/users/${op.id}/sessions`)).body.items.filter((s) => s.current).length, 1);
  assert.equal((await op.post("/v1/session/password", { current_password: "wrong", new_password: "another good sentence" })).body.errors[0].code, "PASSWORD_WRONG");

  const listed = (await admin.get("/v1/users?limit=1")).body;
  assert.equal(listed.items.length, 1);
  assert.equal((await admin.get(`/v1/users?limit=1&cursor=${listed.next_cursor}`)).body.next_cursor, null);

  const roles = (await admin.get("/v1/roles")).body.items;
  const marketing = roles.find((r) => r.name === "marketing");
  const set = await admin.put("/v1/roles/marketing/permissions", { permissions: [...marketing.permissions, { operation: "list_users", scope: "all" }] });
  assert.equal(set.status, 200, set.text);
  assert.equal((await admin.put("/v1/roles/admin/permissions", { permissions: [] })).body.code, "LAST_ADMINISTRATOR");

  const made = await post(admin, "/v1/api-tokens", { name: "reader", scopes: ["list_teams"] }, 201);
  const program = new Client(server.origin);
  program.token = made.token;
  assert.equal((await program.get("/v1/teams")).status, 200);
  assert.equal((await program.get("/v1/users")).status, 403);
  assert.equal((await admin.get("/v1/api-tokens")).body.items[0].name, "reader");
  assert.equal((await admin.delete(`/v1/api-tokens/${made.id}`)).status, 204);
  assert.equal((await program.get("/v1/teams")).status, 401);

  const session = (await admin.get(`/v1/users/${op.id}/sessions`)).body.items[0];
  const first = await admin.delete(`/v1/sessions/${session.id}`, { "idempotency-key": "end-it" });
  const again = await admin.delete(`/v1/sessions/${session.id}`, { "idempotency-key": "end-it" });
  assert.deepEqual([first.status, again.status, again.headers.get("idempotency-replayed")], [204, 204, "true"]);
  const user = (await admin.get(`/v1/users/${op.id}`)).body;
  assert.equal((await admin.patch(`/v1/users/${op.id}`, { active: false }, user.version)).status, 200);
  assert.equal((await op.get("/v1/session")).status, 401);

  assert.equal((await admin.post("/v1/session/password", { current_password: server.password, new_password: "another good sentence" })).status, 204);
  assert.equal((await admin.delete("/v1/session")).status, 204);
  assert.equal((await admin.get("/v1/session")).status, 401);

  const asked = operations.filter((o) => o.operation.tags.includes("auth")).map((o) => o.operation.operationId);
  assert.deepEqual(asked.filter((id) => !seen.has(id)), [], "operations that this test did not ask");
});

test("failures in a row make a login wait", async (t) => {
  const server = await Enishi.start();
  t.after(() => server.stop());
  await server.administrator();
  const nobody = new Client(server.origin);
  for (let i = 0; i < 5; i++) assert.equal((await nobody.post("/v1/session", { login: "admin", password: "guess number " + i })).status, 401);
  // The product blocks for a second from the fifth attempt on, which a slow machine spends on the password; a minute is enough for any.
  assert.equal(server.sql("select failures || ' ' || (blocked_until - last_failure_at) from login_throttle where key = 'login:admin'"), "5 00:00:01");
  server.sql("update login_throttle set blocked_until = now() + interval '1 minute' where key = 'login:admin'");
  const waits = await nobody.post("/v1/session", { login: "admin", password: server.password });
  assert.equal(waits.status, 429);
  assert.equal(waits.body.code, "LOGIN_THROTTLED");
  assert.ok(Number(waits.headers.get("retry-after")) >= 1);
});

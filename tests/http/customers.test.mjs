// Customers, masters and history against the real binary: every answer fits the contract.
import test from "node:test";
import assert from "node:assert/strict";
import { Enishi } from "../enishi.mjs";

test("a customer from the first call to the past, as the contract says", async (t) => {
  const server = await Enishi.start();
  t.after(() => server.stop());
  const admin = await server.administrator();
  const match = (answer) => ({ "If-Match": answer.headers.get("etag") });

  const made = await admin.send("POST", "/v1/customers", {
    display_name: "髙橋 一郎", kana: "タカハシ イチロウ", birth_date: "S25.4.1", flags: ["ELDERLY"],
    phones: [{ raw: "090-1234-5678 / 03-1234-5678" }], addresses: [{ postal_code: "150-0001", street: "1-2-3" }], emails: [{ email: "a@example.jp" }] });
  assert.equal(made.status, 201, made.text);
  assert.equal(made.body.phones.length, 2);
  const path = `/v1/customers/${made.body.id}`;
  assert.equal((await admin.send("GET", path)).status, 200);
  const changed = await admin.send("PATCH", path, { notes: "夕方に電話" }, match(made));
  assert.equal(changed.status, 200, changed.text);
  assert.equal((await admin.send("PATCH", path, { notes: "x" }, match(made))).status, 412);
  assert.equal((await admin.send("PATCH", path, { notes: "x" })).status, 428);
  assert.equal((await admin.send("POST", "/v1/customers", { display_name: "", phones: [{ raw: "非通知" }] })).body.errors.length, 2);

  for (const query of ["", "?phone=5678", "?phone=09012345678", "?name=%E9%AB%98%E6%A9%8B", "?email=a%40example.jp"]) {
    const list = await admin.send("GET", "/v1/customers" + query);
    assert.equal(list.body.items.length, 1, query);
  }
  const pop = await admin.send("GET", "/v1/screen-pop?phone=%2B819012345678");
  assert.equal(pop.body.items[0].id, made.body.id, pop.text);
  assert.equal((await admin.send("GET", path + "/timeline")).status, 200);
  const towns = await admin.send("GET", "/v1/postal-codes/1500001");
  assert.equal(towns.body.items[0].city, "渋谷区", towns.text);

  for (const [kind, body, change] of [["phones", { raw: "080-1111-2222" }, { note: "x" }], ["addresses", { street: "2" }, { building: "301" }], ["emails", { email: "b@example.jp" }, { position: 3 }]]) {
    const child = await admin.send("POST", `${path}/${kind}`, body);
    assert.equal(child.status, 201, child.text);
    const at = `/v1/customer-${kind}/${(child.body.items ?? [child.body])[0].id}`;
    const next = await admin.send("PATCH", at, change, { "If-Match": '"1"' });
    assert.equal(next.status, 200, next.text);
    assert.equal((await admin.send("DELETE", at, undefined, match(next))).status, 200);
  }
  const history = await admin.send("GET", `/v1/history?row_id=${made.body.id}`);
  assert.deepEqual(history.body.items.map((i) => i.op), ["UPDATE", "INSERT"], history.text);
  const past = await admin.send("GET", `/v1/history/customer/${made.body.id}?as_of=${encodeURIComponent(history.body.items[1].at)}`);
  assert.equal(past.body.record.notes, "", past.text);
  const whole = await admin.send("GET", `${path}?as_of=2999-01-01T00:00:00Z`);
  assert.equal(whole.body.notes, "夕方に電話", whole.text);

  for (const [kind, body, change] of [
    ["media-sources", { code: "tv-1", name: "テレビ", dnis: "0120-123-456" }, { active: false }],
    ["item-categories", { code: "swords", name_ja: "刀剣", name_en: "Swords" }, { position: 5 }],
    ["custom-fields", { entity: "customer", key: "pets", label_ja: "ペット", label_en: "Pets", kind: "INTEGER" }, { required: false }]]) {
    const one = await admin.send("POST", `/v1/${kind}`, body);
    assert.equal(one.status, 201, one.text);
    assert.equal((await admin.send("POST", `/v1/${kind}`, body)).status, 409);
    const at = `/v1/${kind}/${one.body.id}`;
    assert.equal((await admin.send("GET", at)).status, 200);
    assert.equal((await admin.send("GET", `/v1/${kind}`)).status, 200);
    const next = await admin.send("PATCH", at, change, match(one));
    assert.equal(next.status, 200, next.text);
    assert.equal((await admin.send("DELETE", at, undefined, match(next))).status, 200);
  }
  assert.equal((await admin.send("DELETE", path, undefined, match(changed))).status, 200);
  assert.equal((await admin.send("GET", path)).status, 404);
});

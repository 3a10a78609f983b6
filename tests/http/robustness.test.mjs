// How it must fail: whatever is sent, the answer is a problem with a code, never a 500, and the process stays what it was.
import test, { before, after } from "node:test";
import assert from "node:assert/strict";
import { connect } from "node:net";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Enishi, Client, binary, newId, root } from "../enishi.mjs";
import { operations, contract, names } from "../contract.mjs";

let server, admin, pid, memory, customer, slow;

before(async () => {
  server = await Enishi.start();
  admin = await server.administrator();
  customer = await make("/v1/customers", { display_name: "山田 太郎", phones: [{ raw: "090-1234-5678" }], addresses: [{ postal_code: "1500001", street: "1-2-3" }], emails: [{ email: "a@example.jp" }] });
  pid = server.child.pid;
  memory = server.memory();
  slow = slowClients();
});
after(() => server.stop());

const make = async (path, body) => {
  const answer = await admin.post(path, body);
  assert.equal(answer.status, 201, `${path}: ${answer.text}`);
  return answer.body;
};

/** An answer of the 4xx kind as every client may count on it. */
function isProblem(answer, what) {
  const said = `${what}: ${answer.status} ${answer.text.slice(0, 300)}`;
  assert.ok(answer.status >= 400 && answer.status < 500, said);
  assert.match(answer.headers.get("content-type") ?? "", /^application\/problem\+json/, said);
  assert.match(answer.body.code, /^[A-Z][A-Z0-9_]+$/, said);
  assert.equal(answer.body.status, answer.status, said);
  assert.ok(answer.body.detail.length > 10 && answer.body.request_id, said);
}

/** The same of an operation, whose text names the code. */
function isNamedProblem(operation, answer, what) {
  isProblem(answer, what);
  assert.ok(names(operation, answer.body.code), `${what}: ${answer.body.code} stands nowhere in the contract of ${operation.operationId}: ${answer.body.detail}`);
}

/** Bytes to a connection of their own; everything that came back until the server closed it or `milliseconds` passed. */
function exchange(bytes, milliseconds = 5000) {
  const { hostname, port } = new URL(server.origin);
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname, () => socket.write(bytes));
    const began = Date.now();
    let text = "";
    const end = (how) => { clearTimeout(limit); socket.destroy(); resolve({ text, how, status: Number(text.match(/^HTTP\/1\.1 (\d+)/)?.[1]), milliseconds: Date.now() - began }); };
    const limit = setTimeout(() => end("open"), milliseconds);
    socket.on("data", (data) => { text += data.toString("latin1"); });
    socket.on("end", () => end("closed"));
    socket.on("error", (failed) => end(failed.code));
  });
}

const cookie = () => [...admin.cookies].map(([k, v]) => `${k}=${v}`).join("; ");

/** Clients that send half of something and wait; they sit there while the other tests run. */
function slowClients() {
  const head = `POST /v1/customers HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nCookie: ${cookie()}\r\nX-CSRF-Token: ${admin.csrf}\r\n`;
  return {
    heads: Array.from({ length: 100 }, (_, i) => exchange(head.slice(0, 10 + i), 20_000)),
    nothing: exchange("", 90_000),
    bodies: Array.from({ length: 50 }, () => exchange(head + 'Content-Length: 100\r\n\r\n{"display_name":', 50_000)),
  };
}

test("bodies that are no JSON object, or not this one", async () => {
  const text = (s) => new TextEncoder().encode(s);
  const cases = [
    ["nothing", "", 400, "BODY_MALFORMED"],
    ["spaces", " \n\t ", 400, "BODY_MALFORMED"],
    ["half an object", '{"display_name":"a"', 400, "BODY_MALFORMED"],
    ["half a string", '{"display_name":"a', 400, "BODY_MALFORMED"],
    ["a word", "nope", 400, "BODY_MALFORMED"],
    ["something after the end", '{"display_name":"a"} x', 400, "BODY_MALFORMED"],
    ["single quotes", "{'display_name':'a'}", 400, "BODY_MALFORMED"],
    ["a comment", '{"display_name":"a"/**/}', 400, "BODY_MALFORMED"],
    ["a comma too many", '{"display_name":"a",}', 400, "BODY_MALFORMED"],
    ["a name twice", '{"display_name":"a","display_name":"b"}', 400, "BODY_MALFORMED"],
    ["a name twice, inside", '{"display_name":"a","phones":[{"raw":"090-1234-5678","raw":"1"}]}', 400, "BODY_MALFORMED"],
    ["a name twice, in a free object", '{"display_name":"a","custom":{"a":1,"a":2}}', 400, "BODY_MALFORMED"],
    ["a name twice, once escaped", '{"display_name":"a","displ\\u0061y_name":"b"}', 400, "BODY_MALFORMED"],
    ["depth", '{"display_name":' + "[".repeat(50_000) + "]".repeat(50_000) + "}", 400, "BODY_MALFORMED"],
    ["depth of objects", '{"custom":'.repeat(40_000) + "1" + "}".repeat(40_000), 400, "BODY_MALFORMED"],
    ["half a surrogate", '{"display_name":"a\\ud800b"}', 400, "BODY_MALFORMED"],
    ["surrogates the wrong way", '{"display_name":"\\udc00\\ud800"}', 400, "BODY_MALFORMED"],
    ["broken UTF-8", new Uint8Array([...text('{"display_name":"'), 0xff, 0xfe, ...text('"}')]), 400, "BODY_MALFORMED"],
    ["overlong UTF-8", new Uint8Array([...text('{"display_name":"'), 0xc0, 0x80, ...text('"}')]), 400, "BODY_MALFORMED"],
    ["a surrogate in UTF-8", new Uint8Array([...text('{"display_name":"'), 0xed, 0xa0, 0x80, ...text('"}')]), 400, "BODY_MALFORMED"],
    ["half a character", new Uint8Array([...text('{"display_name":"'), 0xe5, 0xb1, ...text('"}')]), 400, "BODY_MALFORMED"],
    ["UTF-16", new Uint8Array(Buffer.from('{"display_name":"a"}', "utf16le")), 400, "BODY_MALFORMED"],
    ["a raw NUL", '{"display_name":"a\0b"}', 400, "BODY_MALFORMED"],
    ["null", "null", 400, "BODY_MALFORMED"],
    ["a list", "[]", 400, "BODY_MALFORMED"],
    ["a string", '"x"', 400, "BODY_MALFORMED"],
    ["a number", "1", 400, "BODY_MALFORMED"],
    ["U+0000 in a value", '{"display_name":"a\\u0000b"}', 422, "VALIDATION_FAILED"],
    ["U+0000 in notes", '{"display_name":"a","notes":"a\\u0000b"}', 422, "VALIDATION_FAILED"],
    ["U+0000 in a name", '{"display_name":"a","a\\u0000b":1}', 422, "VALIDATION_FAILED"],
    ["U+0000 in a free object", '{"display_name":"a","custom":{"a":"\\u0000"}}', 422, "VALIDATION_FAILED"],
    ["U+0000 in a name of a free object", '{"display_name":"a","custom":{"\\u0000":"a"}}', 422, "VALIDATION_FAILED"],
    ["an unknown field", '{"display_name":"a","display_nam":"b"}', 422, "VALIDATION_FAILED"],
    ["the prototype", '{"display_name":"a","__proto__":{"a":1}}', 422, "VALIDATION_FAILED"],
    ["a name of nothing", '{"display_name":"a","":1}', 422, "VALIDATION_FAILED"],
    ["a number that is too large for a double", '{"display_name":"a","custom":{"a":1e400}}', null],
    ["a number with many digits", `{"display_name":"a","custom":{"a":${"9".repeat(400)}}}`, null],
    ["a huge exponent", '{"display_name":"a","phones":1e999999999}', null],
    ["a wrong date", '{"display_name":"a","birth_date":"2026-02-30"}', 422, "VALIDATION_FAILED"],
    ["a date too long ago", '{"display_name":"a","birth_date":"0001-01-01"}', 422, null],
    ["an id that is none", '{"display_name":"a","id":"1"}', 422, "VALIDATION_FAILED"],
    ["nobody's team", '{"display_name":"a","team_id":"00000000-0000-7000-8000-000000000000"}', 422, null],
    ["a name too long", JSON.stringify({ display_name: "あ".repeat(201) }), 422, "VALIDATION_FAILED"],
    ["1,000 phones", JSON.stringify({ display_name: "a", phones: Array(1000).fill({ raw: "090-1234-5678" }) }), 422, "VALIDATION_FAILED"],
  ];
  for (const [what, body, status, code] of cases) {
    const answer = await admin.post("/v1/customers", body, { "content-type": "application/json" });
    isProblem(answer, what);
    if (status) assert.equal(answer.status, status, `${what}: expected ${status}: ${answer.text}`);
    if (code) assert.equal(answer.body.code, code, `${what}: ${answer.text}`);
  }
  for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jso", "*/*"]) {
    const answer = await admin.post("/v1/customers", '{"display_name":"a"}', { "content-type": type });
    assert.equal(answer.status, 415, `${type}: ${answer.text}`);
  }
  const all = await admin.post("/v1/customers", { display_name: 1, kana: [], phones: "x", birth_date: "no", wrong: 1 });
  assert.equal(all.status, 422);
  assert.deepEqual(all.body.errors.map((e) => e.pointer).sort(), ["/birth_date", "/display_name", "/kana", "/phones", "/wrong"], all.text);
});

test("10 MB are refused before they are read", async () => {
  const big = Buffer.alloc(10 * 1024 * 1024, "a");
  const head = `POST /v1/customers HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nCookie: ${cookie()}\r\nX-CSRF-Token: ${admin.csrf}\r\n`;
  const named = await exchange(Buffer.concat([Buffer.from(head + `Content-Length: ${big.length}\r\n\r\n`), big]));
  assert.equal(named.status, 413, named.text || named.how);
  assert.match(named.text, /"code":"BODY_TOO_LARGE"/);
  const chunk = Buffer.concat([Buffer.from((64 * 1024).toString(16) + "\r\n"), Buffer.alloc(64 * 1024, "a"), Buffer.from("\r\n")]);
  const streamed = await exchange(Buffer.concat([Buffer.from(head + "Transfer-Encoding: chunked\r\n\r\n"), ...Array(160).fill(chunk), Buffer.from("0\r\n\r\n")]));
  assert.equal(streamed.status, 413, streamed.text || streamed.how);
  const lies = await exchange(head + "Content-Length: 9999999999999\r\nExpect: 100-continue\r\n\r\n");
  assert.equal(lies.status, 413, lies.text || lies.how);
});

test("heads that are no HTTP", async () => {
  const cases = [
    ["no request line", "hello\r\n\r\n", [400]],
    ["TLS", Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03, 0x0d, 0x0a, 0x0d, 0x0a]), [400]],
    ["two lengths", "POST /v1/session HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}", [400]],
    ["length and chunks", "POST /v1/session HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [400]],
    ["a length below nothing", "POST /v1/session HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", [400]],
    ["a chunk that is none", "POST /v1/session HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", [400]],
    ["a line without a name", "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", [400]],
    ["a NUL in the head", "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", [400]],
    ["a NUL in the path", "GET /v1/custom\0ers HTTP/1.1\r\nHost: a\r\n\r\n", [400]],
    ["a head of 64 KB", `GET / HTTP/1.1\r\nHost: a\r\nX: ${"a".repeat(65536)}\r\n\r\n`, [400, 431]],
    ["10,000 fields", `GET / HTTP/1.1\r\nHost: a\r\n${"X: a\r\n".repeat(10000)}\r\n`, [400, 431]],
    ["a path of 64 KB", `GET /${"a".repeat(65536)} HTTP/1.1\r\nHost: a\r\n\r\n`, [400, 414, 431]],
    ["a verb nobody knows", "BREW /v1/customers HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", [400, 405, 501]],
    ["HTTP/3.7", "GET / HTTP/3.7\r\nHost: a\r\n\r\n", [400, 505]],
    ["up and out", "GET /../../../../etc/passwd HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", [400, 404]],
    ["up and out, escaped", "GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", [400, 404]],
  ];
  for (const [what, bytes, wanted] of cases) {
    const answer = await exchange(bytes, 15_000);
    assert.ok(wanted.includes(answer.status), `${what}: expected ${wanted}, got ${answer.how} «${answer.text.slice(0, 300)}»`);
    assert.doesNotMatch(answer.text, /root:/, what);
  }
  assert.equal((await new Client(server.origin).get("/healthz")).status, 200);
});

test("U+0000 and broken UTF-8 in paths and queries", async () => {
  const fill = (path, value) => path.replace(/\{[^}]+\}/g, value);
  for (const { method, path, operation } of operations.filter((o) => o.method === "GET" && o.operation.operationId !== "stream_events")) {
    for (const bad of ["%00", "a%00b", "%ff", "%c0%80", "%ed%a0%80", "%", "%zz", "..%2f..", "'%20or%201=1--", "%F0%9F%98%80", "0".repeat(3000)]) {
      if (path.includes("{")) {
        const answer = await admin.send(method, fill(path, bad));
        isProblem(answer, `${operation.operationId} of ${bad.slice(0, 30)}`);
      }
      for (const parameter of operation.parameters ?? []) {
        const real = parameter.$ref ? parameter.$ref.replace(/^#\//, "").split("/").reduce((at, key) => at[key], contract) : parameter;
        if (real.in !== "query") continue;
        const answer = await admin.send(method, `${fill(path, customer.id)}?${real.name}=${bad}`);
        const said = `${operation.operationId}?${real.name}=${bad.slice(0, 30)}: ${answer.status} ${answer.text.slice(0, 300)}`;
        assert.ok(answer.status < 500, said);
        if (/%00|%ff|%c0|%ed/.test(bad)) isProblem(answer, said);
      }
    }
  }
});

test("every write of the contract, with values of every wrong type", async () => {
  const resolve = (node) => {
    while (node?.$ref) node = node.$ref.replace(/^#\//, "").split("/").reduce((at, key) => at[key.replace(/~1/g, "/").replace(/~0/g, "~")], contract);
    return node;
  };
  const merged = (schema) => {
    schema = resolve(schema) ?? {};
    const out = { properties: { ...schema.properties }, required: [...(schema.required ?? [])] };
    for (const part of [...(schema.allOf ?? []), ...(schema.oneOf ?? []), ...(schema.anyOf ?? [])]) Object.assign(out.properties, merged(part).properties);
    return out;
  };
  const spare = await server.user(admin, "operator");
  const erased = await make("/v1/customers", { display_name: "消去 される" }); // some bodies are valid, and erase
  const source = await make("/v1/media-sources", { code: "robust", name: "Robust" });
  const lead = await admin.post("/v1/inquiries", { customer_id: customer.id, media_source_id: source.id, channel: "WEB" });
  const ids = {
    customer_id: customer.id, customer_phone_id: customer.phones[0].id, customer_address_id: customer.addresses[0].id, customer_email_id: customer.emails[0].id,
    user_id: spare.id, media_source_id: source.id, inquiry_id: lead.body?.inquiry?.id, call_task_id: lead.body?.call_task?.id,
    postal_code: "1500001", role: "marketing", table: "customer",
  };
  Object.assign(ids, { item_category_id: "01900000-0000-7000-8000-00000c000001", owner_id: spare.id, appointment_id: undefined });
  // Examples name records of nobody's; with records that are there a value gets as far as the database.
  const realized = (value) => Array.isArray(value) ? value.map(realized)
    : value && typeof value === "object" ? Object.fromEntries(Object.entries(value).filter(([name]) => name !== "team_id").map(([name, inner]) =>
        [name, name === "category_ids" ? [ids.item_category_id] : typeof inner === "string" && ids[name] && name !== "role" ? ids[name] : realized(inner)])) : value;
  const wrong = [null, [], {}, "", "x", "\u0000", "\u202e名\ufeff", "x".repeat(100_000), 0, -1, 1.5, 1e300, 9007199254740993, 2147483648, true, [null], [[]], [{}], ["x"], { a: { b: null } },
    "00000000-0000-7000-8000-000000000000", "2026-02-30", "9999-12-31T23:59:59+09:00", "0001-01-01T00:00:00+15:00", "infinity", "24:00"];
  let asked = 0;
  const silent = [], wrongAnswers = [];
  for (const { method, path, operation } of operations) {
    const content = resolve(operation.requestBody)?.content?.["application/json"];
    if (!["POST", "PATCH", "PUT"].includes(method)) continue;
    const real = path.replace(/\{([^}]+)\}/g, (_, name) => path.endsWith("/erasure") ? erased.id : ids[name] ?? customer.id);
    const media = content ?? {};
    const schema = merged(media.schema);
    const base = realized(media.example ?? Object.values(media.examples ?? {})[0]?.value ?? resolve(media.schema)?.examples?.[0] ?? {});
    delete base.id; // a new one each time
    const bodies = [null, [], "x", 1, true, {}, ...Object.keys(schema.properties).flatMap((name) => wrong.map((value) => ({ ...base, [name]: value }))), { ...base, nobody_knows: 1 }];
    let version = 1;
    for (const body of bodies) {
      const what = `${operation.operationId} of ${JSON.stringify(body).slice(0, 300)}`;
      let answer;
      try {
        answer = await admin.send(method, real, JSON.stringify(body), { "content-type": "application/json", ...(method === "PATCH" ? { "if-match": `"${version}"` } : {}) });
        if (answer.status >= 400) isNamedProblem(operation, answer, what);
      } catch (failed) {
        wrongAnswers.push(failed.message.startsWith(operation.operationId) ? `${what}: ${failed.message}` : failed.message);
        continue;
      }
      if (answer.body?.current_version) version = answer.body.current_version;
      else if (answer.headers.get("etag")) version = Number(answer.headers.get("etag").slice(1, -1));
      asked++;
    }
    if (resolve(operation.requestBody)?.required && content && Object.keys(schema.properties).length === 0) silent.push(operation.operationId);
  }
  assert.equal(wrongAnswers.length, 0, `${wrongAnswers.length} wrong answers, of these:\n${wrongAnswers.slice(0, 40).join("\n")}`);
  assert.deepEqual(silent, [], "operations whose body has no properties in the contract");
  assert.ok(asked > 3000, `only ${asked} requests were made`);
});

test("bodies of the wrong kind, and bodies where none is asked for: what comes back is declared", async () => {
  const nobody = "00000000-0000-7000-8000-000000000000";
  const wrongAnswers = [];
  for (const { method, path, operation } of operations) {
    if (!["POST", "DELETE"].includes(method) || operation.operationId === "log_out") continue;
    for (const [type, body] of [["text/plain", "x"], ["application/json", "{}"]]) {
      const what = `${operation.operationId} with ${type}`;
      try {
        const answer = await admin.send(method, path.replace(/\{[^}]+\}/g, nobody), body, { "content-type": type });
        if (answer.status >= 500 && answer.body?.code === "TAKEOVER_NOT_RUNNING") continue;
        if (answer.status >= 400) isNamedProblem(operation, answer, what);
      } catch (failed) {
        wrongAnswers.push(failed.message.startsWith(operation.operationId) ? failed.message : `${what}: ${failed.message}`);
      }
    }
  }
  assert.deepEqual(wrongAnswers, []);
});

test("naughty strings come back as they were stored, or are refused", async (t) => {
  const file = join(process.env.ENISHI_SAMPLES ?? join(dirname(root), "shared/data"), "naughty_strings.json");
  const own = ["", " ", "null", "undefined", "'; drop table customer; --", "\" or \"\"=\"", "<script>alert(1)</script>", "%00", "\\x00", "$1", "{{7*7}}", "${7*7}", "=1+1", "@SUM(A1)",
    "𠮷野家", "髙﨑", "ﾊﾝｶｸ", "か゛", "が", "👩‍👩‍👧‍👦", "ﷺ", "Ω≈ç√∫", "\u202eabc", "a\u0300", "\ufeffa", "\u2028", "\u00a0", "\ud83d\ude00", "\t", "a\nb", "\u0007", "\u007f", "\u0085", "～〜−－‐", "NaN", "-0", "1e1000", "ＮＵＬＬ"];
  const strings = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : own;
  if (!existsSync(file)) t.diagnostic(`${file} is not here: a handful of own strings instead`);
  let stored = 0, refused = 0;
  for (const text of [...strings, ...own]) {
    const made = await admin.post("/v1/customers", { display_name: text, notes: text, kana: text });
    if (made.status === 422) {
      isProblem(made, JSON.stringify(text));
      assert.ok(made.body.errors?.length > 0 && made.body.errors.every((e) => /^\/(display_name|notes|kana)$/.test(e.pointer)), `${JSON.stringify(text)}: ${made.text}`);
      refused++;
      const noted = await admin.post("/v1/customers", { display_name: "名無し", notes: text });
      if (noted.status === 201) {
        const back = await admin.get(`/v1/customers/${noted.body.id}`);
        assert.equal(back.body.notes, text);
      } else assert.equal(noted.status, 422, noted.text);
      continue;
    }
    assert.equal(made.status, 201, `${JSON.stringify(text)}: ${made.text}`);
    const back = await admin.get(`/v1/customers/${made.body.id}`);
    assert.deepEqual([back.body.display_name, back.body.notes, back.body.kana], [text, text, text]);
    const found = await admin.get(`/v1/customers?limit=1&name=${encodeURIComponent(text)}`);
    assert.ok([200, 422].includes(found.status), `search for ${JSON.stringify(text)}: ${found.text}`);
    stored++;
  }
  t.diagnostic(`${stored} stored, ${refused} refused`);
  assert.ok(stored > refused, `${stored} stored, ${refused} refused`);
});

test("Idempotency-Key, If-Match, Cookie and Authorization with nonsense", async () => {
  const path = `/v1/customers/${customer.id}`;
  for (const key of ["", "x".repeat(201), "a b", "ä", "\t"]) {
    const answer = await admin.post("/v1/customers", { display_name: "a" }, { "idempotency-key": key });
    assert.ok([400, 422].includes(answer.status) || key.trim() === "" && answer.status === 201, `key ${JSON.stringify(key)}: ${answer.status} ${answer.text}`);
  }
  for (const match of ["1", '"', '""', '"x"', "W/\"1\"", '"-1"', '"99999999999999999999"', '"1", "2"', "*", '"1.0"']) {
    const answer = await admin.patch(path, { notes: "x" }, undefined, { "if-match": match });
    isProblem(answer, `If-Match ${match}`);
    assert.ok([400, 412, 422, 428].includes(answer.status), `If-Match ${match}: ${answer.text}`);
  }
  for (const headers of [{ cookie: "enishi_session=" }, { cookie: "enishi_session=x" }, { cookie: `enishi_session=${"x".repeat(4000)}` }, { cookie: "=;;=;" }, { authorization: "Bearer " }, { authorization: "Bearer x" },
    { authorization: "Basic YTpi" }, { authorization: "Bearer " + "a".repeat(5000) }]) {
    const answer = await new Client(server.origin).get(path, headers);
    assert.equal(answer.status, 401, `${JSON.stringify(headers).slice(0, 80)}: ${answer.text}`);
  }
  assert.equal((await admin.post("/v1/customers", { display_name: "a" }, { "x-csrf-token": "no" })).body.code, "CSRF");
  assert.equal((await admin.post("/v1/customers", { display_name: "a" }, { origin: "https://elsewhere.example" })).body.code, "CSRF");
  assert.equal((await admin.post("/v1/customers", { display_name: "a" }, { "sec-fetch-site": "cross-site" })).body.code, "CSRF");
});

test("an Idempotency-Key makes one customer, however often and at once", async () => {
  const body = { id: newId(), display_name: "一度 だけ" };
  const answers = await Promise.all(Array.from({ length: 20 }, () => admin.post("/v1/customers", body, { "idempotency-key": body.id })));
  for (const answer of answers) assert.ok(answer.status === 201 || answer.status === 409 && answer.body.code === "IDEMPOTENCY_KEY_IN_USE", answer.text);
  assert.ok(answers.some((a) => a.status === 201));
  const again = await admin.post("/v1/customers", body, { "idempotency-key": body.id });
  assert.deepEqual([again.status, again.headers.get("idempotency-replayed")], [201, "true"], again.text);
  const other = await admin.post("/v1/customers", { ...body, notes: "x" }, { "idempotency-key": body.id });
  assert.deepEqual([other.status, other.body.code], [422, "IDEMPOTENCY_KEY_REUSED"]);
  assert.equal(server.sql(`select count(*) from history where row_id = '${body.id}'`), "1");
});

test("slow clients: half a head is closed, half a body is closed, and nobody waits for them", async () => {
  const began = Date.now();
  assert.equal((await admin.get(`/v1/customers/${customer.id}`)).status, 200);
  assert.ok(Date.now() - began < 2000, "a request waited for slow clients");
  for (const half of await Promise.all(slow.heads)) assert.ok(half.how === "closed" || half.status === 408, `half a head: ${half.how} after ${half.milliseconds} ms «${half.text.slice(0, 200)}»`);
  for (const half of await Promise.all(slow.bodies)) assert.ok(half.how === "closed" && [408, NaN].some((s) => Object.is(s, half.status)), `half a body: ${half.how} after ${half.milliseconds} ms «${half.text.slice(0, 200)}»`);
  const silent = await slow.nothing;
  assert.notEqual(silent.how, "open", "a connection that never said anything is still open after 90 s");
});

test("after all of it: the same process, nothing wrong in its log, memory within bounds", async (t) => {
  assert.equal(server.child.exitCode ?? server.child.signalCode, null, server.log.slice(-5).join("\n"));
  assert.equal(server.child.pid, pid);
  assert.deepEqual(server.errors, []);
  const grown = server.memory() - memory;
  t.diagnostic(`resident memory: ${memory.toFixed(0)} MB before, grown by ${grown.toFixed(0)} MB`);
  assert.ok(grown < (/asan/.test(binary) ? 1500 : 200), `memory grew by ${grown.toFixed(0)} MB`);
  const health = await new Client(server.origin).get("/readyz");
  assert.equal(health.status, 200, health.text);
});

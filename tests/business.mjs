// A small company for tests: areas, appraisers, slots, operators who work; and the audit that holds the database against itself and against
// what the operators were told.
//
//   const company = await Company.open(server, admin, { operators: 50 });
//   await company.work(operator);          // claims, calls, finishes; everything that was acknowledged is in company.told
//   assert.deepEqual(company.audit(), []); // what does not fit, one sentence each
import assert from "node:assert/strict";
import { newId } from "./enishi.mjs";

export const kimono = "01900000-0000-7000-8000-00000c000001";

/** Numbers in [0, 1) that a seed repeats (mulberry32). */
export function random(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
export const pick = (dice, list) => list[Math.floor(dice() * list.length)];

export class Company {
  /** What the operators were told was done: id → what, and when they heard of it. */
  told = { customers: new Map(), inquiries: new Map(), calls: new Map(), finished: new Map(), bans: new Map(), appointments: new Map() };
  counts = {};
  /** How a write is sent; a crash test puts one here that repeats what is in doubt. */
  write = (client, path, body) => client.post(path, body, { "idempotency-key": newId() });

  static async open(server, admin, { operators = 4, slots = 6, capacity = 2, appraisers = 3, seed = 1 } = {}) {
    const self = new Company();
    Object.assign(self, { server, admin, dice: random(seed), operators: [], slots: [], appraisers: [] });
    server.sql(`insert into rule (name, effective_from, value, source) values ('contact_hours', now(), '{"from": "00:00", "to": "24:00"}', 'test')`);
    const make = async (path, body) => {
      const answer = await admin.post(path, body);
      assert.equal(answer.status, 201, `${path}: ${answer.text}`);
      return answer.body;
    };
    self.source = await make("/v1/media-sources", { code: "day", name: "Day" });
    self.area = await make("/v1/service-areas", { name: "Shibuya", postal_prefixes: ["150"] });
    for (let i = 0; i < appraisers; i++) {
      const appraiser = await make("/v1/appraisers", { display_name: `Appraiser ${i + 1}` });
      for (let weekday = 0; weekday < 7; weekday++) await make(`/v1/appraisers/${appraiser.id}/hours`, { weekday, from_time: "00:00", to_time: "24:00" });
      self.appraisers.push(appraiser.id);
    }
    const start = new Date(Date.now() + 3 * 86_400_000);
    start.setUTCHours(1, 0, 0, 0); // 10:00 in Japan
    for (let i = 0; i < slots; i++) {
      const at = new Date(start.getTime() + Math.floor(i / 4) * 86_400_000 + (i % 4) * 2 * 3_600_000);
      self.slots.push(await make("/v1/visit-slots", { service_area_id: self.area.id, starts_at: at.toISOString(), ends_at: new Date(at.getTime() + 7_200_000).toISOString(), capacity }));
    }
    for (let i = 0; i < operators; i++) self.operators.push(await server.user(admin, "operator"));
    return self;
  }

  count(what) { this.counts[what] = (this.counts[what] ?? 0) + 1; }

  /** A new lead with its customer; true when it was acknowledged. */
  async lead(client, phone) {
    const id = newId(), customer = newId();
    const answer = await this.write(client, "/v1/inquiries", { id, media_source_id: this.source.id, channel: "OTHER", customer_initiated: false,
      customer: { id: customer, display_name: `客 ${id.slice(-6)}`, phones: [{ raw: phone }], addresses: [{ postal_code: "1500001", street: `1-${phone}` }] } });
    if (answer.status !== 201) return this.unexpected("lead", answer);
    assert.equal(answer.body.inquiry.id, id, answer.text);
    this.told.inquiries.set(id, Date.now());
    this.told.customers.set(customer, Date.now());
    this.count("leads");
    return true;
  }

  unexpected(what, answer) {
    throw new Error(`${what}: ${answer.status} ${answer.text.slice(0, 600)}`);
  }

  /** One task from claim to outcome. False when there was none. `outcome` as asked, or drawn. */
  async work(client, dice = this.dice) {
    const claimed = await this.write(client, "/v1/call-tasks/claim", {});
    if (claimed.status === 204) return false;
    if (claimed.status !== 200) this.unexpected("claim", claimed);
    const task = claimed.body;
    assert.equal(task.assigned_to, client.id, `a claim gave somebody else's task: ${claimed.text}`);
    let call;
    if (task.state === "ASSIGNED") {
      if (dice() < 0.02) await this.illegal(client, task);
      const id = newId(), asked = Date.now();
      const started = await this.write(client, "/v1/calls", { id, task_id: task.id });
      if (started.status === 409 && started.body.code === "RESOLICITATION_BANNED") {
        this.count("calls refused for a ban");
        await this.write(client, `/v1/call-tasks/${task.id}/release`, {});
        return true;
      }
      if (started.status !== 201) this.unexpected(`start of a call for ${task.id}`, started);
      call = started.body.call;
      assert.equal(call.id, id);
      this.told.calls.set(id, { asked, task: task.id, customer: call.customer_id, operator: client.id });
      this.count("calls");
    } else {
      call = (await client.get(`/v1/calls?limit=1`)).body.items[0]; // started before something was cut off
      assert.equal(call?.ended_at, null, `the task ${task.id} is ${task.state} and its operator has no open call: ${JSON.stringify(call)}`);
    }
    await this.finish(client, call, task, dice);
    return true;
  }

  async finish(client, call, task, dice) {
    const path = `/v1/calls/${call.id}/finish`;
    const soon = new Date(Date.now() + 86_400_000).toISOString();
    const onward = (outcome, kind = "CALLBACK", due_at = soon) => ({ outcome, memo: `${outcome} で終了`, next_action: { kind, due_at } });
    const chance = dice();
    let body;
    if (task.kind === "PRE_VISIT") body = onward("NO_ANSWER", "PRE_VISIT_CALL", new Date(Date.now() + 1_800_000).toISOString());
    else if (chance < 0.3) body = onward(pick(dice, ["NO_ANSWER", "BUSY", "VOICEMAIL", "THIRD_PARTY"]), "CALL");
    else if (chance < 0.4) body = onward("CALLBACK", "CALLBACK", new Date(Date.now() - 1000).toISOString()); // due at once: somebody calls again
    else if (chance < 0.45) body = onward("CALLBACK", "NURTURE_CALL");
    else if (chance < 0.5) body = { outcome: pick(dice, ["WRONG_NUMBER", "OUT_OF_SERVICE"]), invalid_reason: "prank" };
    else if (chance < 0.6) body = { outcome: "CALLBACK", lost_reason: "売らない" };
    else if (chance < 0.75) body = { outcome: "REFUSED", ban_reason: "もう電話しないで" };
    else body = await this.book(client, call, dice) ?? onward("CALLBACK");
    if (dice() < 0.03) await this.illegalFinish(client, path);
    let done = await this.write(client, path, body);
    if (done.status === 409 && done.body.code === "RESOLICITATION_BANNED" && body.outcome === "APPOINTED") {
      // Somebody with the same phone refused between the hold and the booking: the place lapses, the call ends otherwise.
      this.count("bookings refused for a ban");
      body = onward("CALLBACK");
      done = await this.write(client, path, body);
    }
    if (done.status !== 200) this.unexpected(`finish with ${JSON.stringify(body)}`, done);
    assert.equal(done.body.call.outcome, body.outcome, done.text);
    this.told.finished.set(call.id, { outcome: body.outcome, heard: Date.now(), appointment: body.appointment_id, lost: !!body.lost_reason, invalid: !!body.invalid_reason, customer: call.customer_id });
    if (body.outcome === "REFUSED") {
      assert.ok(done.body.solicitation_ban, done.text);
      this.told.bans.set(done.body.solicitation_ban.id, { heard: Date.now(), customer: call.customer_id });
    }
    this.count(body.outcome);
  }

  /** A place held for the call's inquiry, and the finish that books it; nothing when all tries found the place taken. */
  async book(client, call, dice) {
    if (!call.inquiry_id) return undefined;
    const customer = await client.get(`/v1/customers/${call.customer_id}`);
    if (customer.status !== 200) this.unexpected("customer", customer);
    const address = customer.body.addresses[0];
    if (!address) return undefined;
    for (let i = 0; i < 2; i++) {
      const slot = pick(dice, this.slots), id = newId();
      const held = await this.write(client, "/v1/appointments", { id, state: "HELD", inquiry_id: call.inquiry_id, slot_id: slot.id, appraiser_id: pick(dice, this.appraisers), address_id: address.id, category_ids: [kimono] });
      if (held.status === 201) {
        this.told.appointments.set(id, { call: call.id });
        return { outcome: "APPOINTED", appointment_id: id, memo: "訪問で",
          solicitation_request: { scope: "PURCHASE", category_ids: [kimono], verbatim: "着物を見てほしい", disclosed: true, willingness_confirmed: true } };
      }
      if (held.status === 409 && ["SLOT_FULL", "APPRAISER_BOOKED"].includes(held.body.code)) { this.count(held.body.code); continue; }
      if (held.status === 409 && held.body.code === "INQUIRY_HAS_APPOINTMENT") return undefined;
      if (held.status === 409 && held.body.code === "RESOLICITATION_BANNED") { this.count("bookings refused for a ban"); return undefined; }
      this.unexpected("hold", held);
    }
    return undefined;
  }

  /** Moves that nothing allows. */
  async illegal(client, task) {
    for (const [path, body, status, code] of [
      [`/v1/call-tasks/${task.id}/unblocking`, { reason: "x" }, 403, "FORBIDDEN"],
      [`/v1/calls/${newId()}/finish`, { outcome: "BUSY", next_action: { kind: "CALL", due_at: new Date().toISOString() } }, 404, "NOT_FOUND"],
      ["/v1/calls", { task_id: newId() }, 422, "VALIDATION_FAILED"],
      [`/v1/inquiries/${task.inquiry_id ?? newId()}/transition`, { stage: "CONTRACTED" }, [404, 409], ["ILLEGAL_TRANSITION", "NOT_FOUND"]],
    ]) {
      const answer = await this.write(client, path, body);
      assert.ok([status].flat().includes(answer.status) && [code].flat().includes(answer.body.code), `an illegal ${path}: expected ${status} ${code}: ${answer.status} ${answer.text}`);
      this.count("illegal moves");
    }
  }
  async illegalFinish(client, path) {
    for (const body of [{ outcome: "NO_ANSWER" }, { outcome: "REFUSED" }, { outcome: "APPOINTED" }, { outcome: "APPOINTED", appointment_id: newId() }, { outcome: "ABANDONED" },
      { outcome: "REFUSED", ban_reason: "x", next_action: { kind: "CALL", due_at: new Date().toISOString() } }]) {
      const answer = await this.write(client, path, body);
      assert.equal(answer.status, 422, `an illegal finish ${JSON.stringify(body)}: ${answer.status} ${answer.text}`);
      this.count("illegal moves");
    }
  }

  rows(text) {
    const out = this.server.sql(`select coalesce(json_agg(row_to_json(x)), '[]') from (${text}) x`);
    return JSON.parse(out);
  }

  /** Sentences about everything that does not fit; none is what a test wants. */
  audit() {
    const wrong = [];
    const none = (what, text) => {
      const rows = this.rows(text);
      if (rows.length) wrong.push(`${what}: ${rows.length}, such as ${JSON.stringify(rows.slice(0, 3))}`);
    };
    const open = `('SCHEDULED', 'READY', 'ASSIGNED', 'IN_CALL', 'WRAP_UP', 'BLOCKED')`, live = `('HELD', 'BOOKED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED')`;

    // The database against itself.
    for (const table of ["customer", "customer_phone", "customer_address", "inquiry", "call_task", "call_attempt", "appointment", "solicitation_request", "solicitation_ban", "visit_slot", "media_source"]) {
      none(`rows of ${table} whose history is not one entry a version`,
        `select t.id, t.version, count(h.id) as entries, count(distinct h.content ->> 'version') as versions from ${table} t left join history h on h.row_id = t.id and h.table_name = '${table}'
          group by t.id, t.version having count(h.id) <> t.version or count(distinct h.content ->> 'version') <> t.version or max((h.content ->> 'version')::integer) <> t.version`);
    }
    for (const [table, entity] of [["customer", "customer"], ["inquiry", "inquiry"], ["call_task", "call_task"], ["call_attempt", "call_attempt"], ["appointment", "appointment"], ["solicitation_ban", "solicitation_ban"]]) {
      none(`rows of ${table} whose events are not one a version`,
        `select t.id, t.version, count(o.id) as events from ${table} t left join outbox o on o.entity_id = t.id and o.entity = '${entity}' group by t.id, t.version having count(o.id) <> t.version`);
    }
    none("history of rows that are not there", `select h.table_name, h.row_id from history h where h.table_name = 'call_attempt' and not exists (select from call_attempt a where a.id = h.row_id)
      union all select h.table_name, h.row_id from history h where h.table_name = 'inquiry' and not exists (select from inquiry a where a.id = h.row_id)`);
    none("open calls whose task is not on the phone", `select a.id, t.state from call_attempt a join call_task t on t.id = a.task_id where a.ended_at is null and t.state not in ('IN_CALL', 'WRAP_UP')`);
    none("tasks on the phone without an open call", `select t.id, t.state from call_task t where t.state in ('IN_CALL', 'WRAP_UP') and not exists (select from call_attempt a where a.task_id = t.id and a.ended_at is null)`);
    none("calls that are going on by one account only", `select a.id, o.call_attempt_id from (select * from call_attempt where ended_at is null) a full join open_call o on o.call_attempt_id = a.id
      where (a.id, a.operator_id, a.task_id, a.started_at) is distinct from (o.call_attempt_id, o.operator_id, o.task_id, o.started_at)`);
    none("tasks with two open calls", `select a.task_id from call_attempt a where a.ended_at is null and a.task_id is not null group by 1 having count(*) > 1`);
    none("tasks that are done without a call that ended", `select t.id, t.state from call_task t where t.state in ('DONE', 'RESCHEDULED') and not exists (select from call_attempt a where a.task_id = t.id and a.ended_at is not null)`);
    none("ended calls whose task did not move", `select a.id, a.outcome, t.state from call_attempt a join call_task t on t.id = a.task_id where a.ended_at is not null and a.outcome <> 'ABANDONED' and t.state not in ('DONE', 'RESCHEDULED')`);
    none("tasks that were counted otherwise than called", `select t.id, t.attempts, count(a.id) from call_task t left join call_attempt a on a.task_id = t.id and a.ended_at is not null and a.outcome <> 'ABANDONED' group by t.id having t.attempts <> count(a.id)`);
    none("rescheduled tasks without exactly one next one", `select t.id, count(n.id) from call_task t left join call_task n on n.previous_task_id = t.id where t.state = 'RESCHEDULED' group by t.id having count(n.id) <> 1`);
    none("refusals without exactly one ban", `select a.id, count(b.id) from call_attempt a left join solicitation_ban b on b.call_attempt_id = a.id where a.outcome = 'REFUSED' group by a.id having count(b.id) <> 1`);
    none("bans without their refusal", `select b.id, a.outcome from solicitation_ban b join call_attempt a on a.id = b.call_attempt_id where a.outcome is distinct from 'REFUSED'`);
    none("refusals whose inquiry goes on", `select a.id, i.stage from call_attempt a join inquiry i on i.id = a.inquiry_id where a.outcome = 'REFUSED' and i.stage not in ('LOST', 'INVALID')`);
    none("agreed visits that are not booked", `select a.id from call_attempt a where a.outcome = 'APPOINTED' and not exists (select from appointment p join solicitation_request r on r.id = p.solicitation_request_id and r.call_attempt_id = a.id
      where p.inquiry_id = a.inquiry_id and p.state in ('BOOKED', 'CONFIRMED', 'CANCELLED'))`);
    none("requests of calls that did not end with a visit", `select r.id, a.outcome from solicitation_request r join call_attempt a on a.id = r.call_attempt_id where a.outcome is distinct from 'APPOINTED'`);
    none("inquiries that are worked on without exactly one open task", `select i.id, i.stage, count(t.id) from inquiry i left join call_task t on t.inquiry_id = i.id and t.state in ${open} and t.kind <> 'PRE_VISIT'
      where i.stage in ('NEW', 'IN_PROGRESS', 'NURTURING') group by i.id, i.stage having count(t.id) <> 1`);
    none("inquiries with a visit without it, or with another call than the one before it", `select i.id, (select count(*) from appointment p where p.inquiry_id = i.id and p.state in ${live}) as visits,
      (select count(*) from call_task t where t.inquiry_id = i.id and t.state in ${open} and t.kind <> 'PRE_VISIT') as tasks from inquiry i where i.stage = 'APPOINTED'
        and ((select count(*) from appointment p where p.inquiry_id = i.id and p.state in ${live}) <> 1 or exists (select from call_task t where t.inquiry_id = i.id and t.state in ${open} and t.kind <> 'PRE_VISIT'))`);
    none("booked visits of inquiries that do not say so", `select p.id, i.stage from appointment p join inquiry i on i.id = p.inquiry_id where p.state = 'BOOKED' and i.stage <> 'APPOINTED'`);
    none("ended inquiries with open tasks or visits", `select i.id, i.stage, t.state from inquiry i join call_task t on t.inquiry_id = i.id and t.state in ${open} and t.state not in ('IN_CALL', 'WRAP_UP') where i.stage in ('LOST', 'INVALID')
      union all select i.id, i.stage, p.state from inquiry i join appointment p on p.inquiry_id = i.id and p.state in ('BOOKED', 'CONFIRMED', 'EN_ROUTE') where i.stage in ('LOST', 'INVALID')`);
    none("slots over capacity", `select s.id, s.capacity, count(*) from visit_slot s join appointment p on p.slot_id = s.id and p.state in ${live} and (p.state <> 'HELD' or p.hold_expires_at > now()) group by s.id having count(*) > s.capacity`);
    none("appraisers in two places", `select p.id, q.id as other from appointment p join appointment q on q.appraiser_id = p.appraiser_id and q.id > p.id and p.state in ${live} and q.state in ${live} and tstzrange(p.starts_at, p.ends_at) && tstzrange(q.starts_at, q.ends_at)`);
    none("tasks that may be claimed for whom must not be called", `select t.id, t.state from call_task t where t.state in ('READY', 'ASSIGNED') and active_ban(t.customer_id) is not null`);

    // The database against what was told.
    const stored = (ids, table, more = "") => new Map(ids.length ? this.rows(`select t.id ${more} from ${table} t where t.id = any ('{${ids.join(",")}}'::uuid[])`).map((r) => [r.id, r]) : []);
    const missing = (what, told, found) => {
      const lost = [...told.keys()].filter((id) => !found.has(id));
      if (lost.length) wrong.push(`${what} that were acknowledged and are not stored: ${lost.length}, such as ${lost.slice(0, 3)}`);
    };
    missing("customers", this.told.customers, stored([...this.told.customers.keys()], "customer"));
    missing("inquiries", this.told.inquiries, stored([...this.told.inquiries.keys()], "inquiry"));
    missing("appointments", this.told.appointments, stored([...this.told.appointments.keys()], "appointment"));
    missing("bans", this.told.bans, stored([...this.told.bans.keys()], "solicitation_ban"));
    const calls = stored([...this.told.calls.keys()], "call_attempt", ", t.outcome, t.task_id, t.operator_id");
    missing("calls", this.told.calls, calls);
    for (const [id, call] of this.told.calls) {
      const row = calls.get(id);
      if (row && (row.task_id !== call.task || row.operator_id !== call.operator)) wrong.push(`the call ${id} was told as ${JSON.stringify(call)} and is stored as ${JSON.stringify(row)}`);
    }
    for (const [id, end] of this.told.finished) {
      const row = calls.get(id) ?? stored([id], "call_attempt", ", t.outcome").get(id);
      if (row?.outcome !== end.outcome) wrong.push(`the call ${id} was told to be ${end.outcome} and is stored as ${row?.outcome}`);
    }
    for (const [id] of this.told.calls) if (!this.told.finished.has(id) && calls.get(id)?.outcome) wrong.push(`the call ${id} has the outcome ${calls.get(id).outcome}, which nobody was told`);

    // Nobody was called after their ban was told: not by themselves, not by phone, not by address.
    const bans = [...this.told.bans];
    if (bans.length)
      none("calls after a ban", `select a.id, a.customer_id, b.id as ban, a.started_at, h.heard from (values ${bans.map(([id, b]) => `('${id}'::uuid, to_timestamp(${b.heard / 1000}))`).join(",")}) h (ban, heard)
        join solicitation_ban b on b.id = h.ban and b.lifted_at is null join solicitation_ban_key k on k.ban_id = b.id join call_attempt a on a.direction = 'OUTBOUND' and a.started_at > h.heard
        join lateral contact_keys(a.customer_id) c on c.kind = k.kind and c.key = k.key`);
    return wrong;
  }
}

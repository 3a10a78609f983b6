import { Badge, Button, Group, Loader, Modal, NativeSelect, Stack, Text, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { type FormEvent, useCallback, useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { Problem, read, type Schemas, write } from "../api/client";
import { stale } from "../cache";
import { label } from "../i18n";
import { typing, useKeys } from "../keyboard";
import { addressText, type Customer, NameLine, phoneText, Timeline, useCustomer, useNames, Warnings } from "../parts/customer";
import { digits, DigitsInput, plainPhone } from "../parts/digits";
import { useSubmit } from "../parts/form";
import { ProblemAlert } from "../parts/problem";
import { useMay, useMe } from "../session";
import { fullMoment, moment } from "../time";
import { HearingSheet } from "./hearing_sheet";
import { KeysHelp } from "./help";
import { useLease } from "./lease";
import { LostTask } from "./lost";
import { LeaseLeft, Phases } from "./phases";
import { Queue, useMyTasks } from "./queue";
import { type Doing, releaseTask, TaskDialog, useTaskActions } from "./task_actions";
import { WhoCalled } from "./who_called";
import { WrapUp } from "./wrap_up";

function Items({ inquiry }: { inquiry: Customer["inquiries"][number] }) {
  const { t } = useTranslation();
  const names = useNames();
  const [adding, setAdding] = useState(false);
  const [category, setCategory] = useState("");
  const [description, setDescription] = useState("");
  const [quantity, setQuantity] = useState("");
  const form = useSubmit();
  const add = (event: FormEvent) => {
    event.preventDefault();
    void form.run(async () => {
      await write("post", "/v1/inquiries/{inquiry_id}/items", {
        path: { inquiry_id: inquiry.id },
        body: { item_category_id: category || (names.categories[0]?.id as string), description, ...(quantity ? { quantity: Number(quantity) } : {}), position: inquiry.items.length },
      });
      setDescription("");
      setQuantity("");
      setAdding(false);
      await stale(["customer"]);
    });
  };
  return (
    <section className="sheet">
      <div className="heading">
        <span>
          <Link to="/inquiries/$inquiryId" params={{ inquiryId: inquiry.id }}>{t("inquiry.title")}</Link> <Badge>{label("stage", inquiry.stage)}</Badge> <span className="faint" style={{ fontWeight: 400 }}>{names.media(inquiry.media_source_id)}・{label("channel", inquiry.channel)}・{moment(inquiry.received_at)}</span>
        </span>
        <Button size="compact-xs" variant="subtle" onClick={() => setAdding(!adding)}>{t("inquiry.addItem")}</Button>
      </div>
      <div className="pad" style={{ fontSize: 13 }}>
        {inquiry.items.length === 0 && <span className="faint">{t("inquiry.noItems")}</span>}
        <Group gap={6}>{inquiry.items.map((i) => <Badge key={i.id} size="md" variant="outline" fw={500}>{names.category(i.item_category_id)}{i.description ? `：${i.description}` : ""}{i.quantity ? ` ×${i.quantity}` : ""}</Badge>)}</Group>
        {inquiry.notes && <p style={{ margin: "6px 0 0", whiteSpace: "pre-wrap" }}>{inquiry.notes}</p>}
        {adding && (
          <form onSubmit={add}><Group gap="xs" mt={6} align="end">
            <NativeSelect label={t("inquiry.category")} value={category} onChange={(e) => setCategory(e.currentTarget.value)} error={form.at("/item_category_id")} data={names.categories.map((c) => ({ value: c.id, label: names.category(c.id) }))} />
            <TextInput label={t("inquiry.description")} value={description} onChange={(e) => setDescription(e.currentTarget.value)} error={form.at("/description")} style={{ flex: 1 }} />
            <DigitsInput label={t("inquiry.quantity")} value={quantity} change={setQuantity} error={form.at("/quantity")} w={70} />
            <Button type="submit" loading={form.busy}>{t("common.add")}</Button>
          </Group></form>
        )}
        <ProblemAlert error={form.error} shown={["/item_category_id", "/description", "/quantity"]} />
      </div>
    </section>
  );
}

/** Who calls? All who have the number are listed; none is guessed. */
function Inbound({ close, started }: { close: () => void; started: () => void }) {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const [phone, setPhone] = useState("");
  const { busy, error, run } = useSubmit();
  const found = useQuery({ queryKey: ["screen-pop", phone], enabled: digits(phone).length >= 9, retry: false, queryFn: () => read("/v1/screen-pop", { query: { phone: plainPhone(phone) } }) });
  const start = (customer_id?: string, then?: (call: string) => unknown) =>
    run(async () => {
      const whole = customer_id ? await read("/v1/inquiries", { query: { view: "customer", customer_id, limit: 10 } }).catch(() => undefined) : undefined;
      const inquiry = whole?.items.find((i) => ["NEW", "IN_PROGRESS", "NURTURING", "APPOINTED", "VISITED"].includes(i.stage));
      const made = await write("post", "/v1/calls", { body: { direction: "INBOUND", ...(phone.trim() ? { phone: plainPhone(phone) } : {}), ...(customer_id ? { customer_id } : {}), ...(inquiry ? { inquiry_id: inquiry.id } : {}) } });
      started();
      await then?.(made.call.id);
    });
  return (
    <Modal opened onClose={close} title={t("desk.inbound")} size="md">
      <Stack gap="sm">
        <TextInput label={t("customer.raw")} value={phone} onChange={(e) => setPhone(e.currentTarget.value)} inputMode="tel" data-autofocus />
        <ProblemAlert error={error ?? (found.error instanceof Problem && found.error.status !== 422 ? found.error : undefined)} />
        {found.data?.items.map((c) => (
          <div key={c.id} className="sheet pad">
            <Warnings customer={c} />
            <div className="row"><NameLine customer={c} /><Button loading={busy} onClick={() => void start(c.id)}>{t("desk.startCall")}</Button></div>
          </div>
        ))}
        {found.data?.items.length === 0 && (
          <>
            <Text fz="sm" className="faint">{t("customer.noHit")}</Text>
            <Group><Button loading={busy} onClick={() => void start(undefined, (call_id) => navigate({ to: "/inquiries/new", search: { phone, call_id } }))}>{t("inquiry.new")}</Button></Group>
          </>
        )}
        <Group justify="flex-end"><Button variant="default" loading={busy} onClick={() => void start()} data-unknown-caller>{t("desk.startUnknown")}</Button></Group>
      </Stack>
    </Modal>
  );
}

function Desk() {
  const { t } = useTranslation();
  const me = useMe();
  const mine = useMyTasks();
  const held = mine.data?.items.find((k) => k.assigned_to === me.user.id && ["ASSIGNED", "IN_CALL", "WRAP_UP"].includes(k.state));
  const calls = useQuery({ queryKey: ["tasks", "my-calls"], queryFn: () => read("/v1/calls", { query: { operator_id: me.user.id, limit: 3 } }) });
  const call = calls.data?.items.find((c) => !c.ended_at);
  // Who calls in comes before whose task waits: the desk shows, and saves for, the person on the phone.
  const task = call && call.task_id !== held?.id ? undefined : held;
  // The task that is being finished or given back: that it goes is no loss.
  const letGo = useRef<string>(undefined);
  const lease = useLease(held, task && call, letGo);
  const can = useTaskActions(held);
  const customerId = (call ?? held)?.customer_id;
  const customer = useCustomer(customerId);
  const inquiry = customer.data?.inquiries.find((i) => i.id === (call ?? held)?.inquiry_id);
  const [phone, setPhone] = useState("");
  const form = useSubmit((e) => {
    void refresh();
    return e;
  });
  const { busy, error } = form;
  const [saved, setSaved] = useState<Schemas["FinishedCall"]>();
  const [inbound, setInbound] = useState(false);
  const [doing, setDoing] = useState<Doing>();
  const [help, setHelp] = useState(false);
  const next = useRef<HTMLButtonElement>(null);
  const start = useRef<HTMLButtonElement>(null);
  const flush = useRef<(() => Promise<void>) | undefined>(undefined);
  const keepFlush = useCallback((f: (() => Promise<void>) | undefined) => { flush.current = f; }, []);
  const taskId = task?.id;
  const before = useCallback(async () => {
    await flush.current?.();
    if (taskId) letGo.current = taskId;
  }, [taskId]);
  // Once React has drawn what was read; who types elsewhere by then goes on typing.
  const focusSoon = (button: () => HTMLButtonElement | null) => setTimeout(() => !typing(document.activeElement) && button()?.focus(), 60);
  const refresh = () => stale(["tasks"], ...(customerId ? [["customer", customerId]] : []));

  const claim = (id?: string) =>
    void form.run(async () => {
      if (held || busy) return;
      const task = await write("post", "/v1/call-tasks/claim", { body: id ? { call_task_id: id } : {} });
      if (!task) throw new Problem(204, "QUEUE_EMPTY", "");
      letGo.current = undefined;
      setSaved(undefined);
      setPhone("");
      lease.forget();
      await refresh();
      focusSoon(() => start.current);
    });
  const begin = () =>
    void form.run(async () => {
      if (!held || call) return;
      await write("post", "/v1/calls", { body: { task_id: held.id, ...(phone ? { phone } : {}) } });
      // Before the reads, not after them: while the last of them is on its way somebody may have chosen an outcome, and Enter must save it.
      (document.activeElement as HTMLElement | null)?.blur();
      await refresh();
    });
  const hangUp = () =>
    void form.run(async () => {
      if (!call || call.talk_ended_at) return;
      try {
        await write("post", "/v1/calls/{call_attempt_id}/wrap-up", { path: { call_attempt_id: call.id } });
      } catch (e) {
        if (!(e instanceof Problem && e.code === "CALL_OVER")) throw e;  // another tab was faster
      }
      await refresh();
    });
  const release = () =>
    void form.run(async () => {
      if (!held || !can.release) return;
      letGo.current = held.id;
      try {
        await releaseTask(held.id);
      } catch (e) {
        letGo.current = undefined;
        throw e;
      }
      await refresh();
      focusSoon(() => next.current);
    });
  const extend = () => void form.run(async () => (held ? lease.extend() : undefined));
  const open = (what: Doing) => () => can[what] && setDoing(what);
  const finished = async (result: Schemas["FinishedCall"]) => {
    setSaved(result);
    await refresh();
    focusSoon(() => (next.current?.disabled ? start : next).current);
  };
  const keys: Record<string, () => void> = { n: () => claim(), s: begin, h: hangUp, z: open("snooze"), a: open("reassign"), r: release, e: extend, i: () => !call && setInbound(true) };
  useKeys({ ...keys, ...Object.fromEntries(Object.entries(keys).map(([k, act]) => [k.toUpperCase(), act])), "?": () => setHelp(true) });
  useEffect(() => {
    if (held && held.state === "ASSIGNED" && customer.data) start.current?.focus();
  }, [held?.id, held?.state, customer.data?.id]);

  const working = held ?? call;
  const banned = Boolean(customer.data?.active_ban);
  return (
    <div className="desk">
      <Queue held={held} claim={claim} busy={busy && !held} nextButton={next} inbound={() => setInbound(true)} help={() => setHelp(true)} />
      <main className="centre">
        <div className="scroll">
          {lease.lost && <LostTask key={lease.lost.task.id} lost={lease.lost} again={() => lease.lost && claim(lease.lost.task.id)} forget={lease.forget} />}
          <ProblemAlert error={error} />
          {saved && !call && (
            <div className="sheet pad" role="status" data-saved>
              <b>{t("desk.savedCall")}</b>
              <div className="faint">
                {label("outcome", saved.call.outcome)}
                {saved.next_task && ` — ${t("desk.savedNext", { action: label("taskKind", saved.next_task.kind), at: fullMoment(saved.next_task.due_at) })}`}
              </div>
            </div>
          )}
          {!working && !lease.lost && (mine.isPending ? <Loader size="sm" /> : (
            <div className="sheet" style={{ padding: "48px 24px", textAlign: "center" }}>
              <Text fw={650} fz="lg" mb={6}>{t("desk.idleTitle")}</Text>
              <Text fz="sm" className="faint">{t("desk.idleHint")}</Text>
            </div>
          ))}
          {call && !call.customer_id && <WhoCalled key={call.id} call={call} />}
          {working && customer.error && <ProblemAlert error={customer.error} retry={() => void customer.refetch()} />}
          {working && customer.data && (
            <>
              <Warnings customer={customer.data} />
              <section className="sheet pad">
                <Group justify="space-between" align="start">
                  <NameLine customer={customer.data} link />
                  <Group gap={6}>
                    {!task && call && <Badge color="red" variant="filled">{label("direction", call.direction)}</Badge>}
                    {task && <Badge color={task.state === "IN_CALL" ? "red" : "ai"} variant={task.state === "IN_CALL" ? "filled" : "light"}>{label("taskState", task.state)}</Badge>}
                    {task && <Badge color="gray">{label("taskKind", task.kind)}</Badge>}
                  </Group>
                </Group>
                <Group gap={16} mt={4} fz="sm" align="start">
                  <Group gap={10}>
                    {customer.data.phones.map((p) => <a key={p.id} href={`tel:${p.e164 ?? p.raw}`} style={{ fontSize: 16, fontWeight: 650 }}>{phoneText(p.e164, p.raw)}</a>)}
                    {customer.data.phones.length === 0 && <span className="faint">{t("customer.noPhone")}</span>}
                  </Group>
                  <span>{customer.data.addresses.map((a) => addressText(a)).join(" / ")}</span>
                </Group>
                {task?.note && <p style={{ margin: "6px 0 0", fontSize: 13 }}><b>{t("wrap.note")}:</b> {task.note}</p>}
                {customer.data.notes && <p className="faint" style={{ margin: "6px 0 0", fontSize: 13, whiteSpace: "pre-wrap" }}>{customer.data.notes}</p>}
              </section>
              {inquiry ? <Items key={inquiry.id} inquiry={inquiry} /> : <div className="faint" style={{ fontSize: 13 }}>{t("sheet.none")}</div>}
              {inquiry && <HearingSheet key={inquiry.id} inquiryId={inquiry.id} onFlush={keepFlush} />}
            </>
          )}
        </div>
        {held && !call && (
          <div className="wrapup">
            <Group justify="space-between" mb={8} gap="xs"><Phases call={undefined} /><LeaseLeft until={lease.until} extend={extend} /></Group>
            <Group justify="space-between" align="end" gap="xs">
              <Group align="end" gap="xs">
                {(customer.data?.phones.length ?? 0) > 1 && (
                  <NativeSelect label={t("customer.phones")} value={phone} onChange={(e) => setPhone(e.currentTarget.value)} data={customer.data?.phones.map((p) => ({ value: p.e164 ?? p.raw, label: phoneText(p.e164, p.raw) })) ?? []} />
                )}
                <Button ref={start} size="sm" onClick={begin} loading={busy} disabled={banned} data-start>{t("desk.startCall")}<span className="key" aria-hidden>S</span></Button>
                <Text fz="xs" className="faint">{banned ? t("desk.bannedHint") : t("desk.startHint")}</Text>
              </Group>
              <Group gap="xs">
                {can.snooze && <Button variant="default" onClick={() => setDoing("snooze")} data-snooze>{t("taskDo.snooze")}<span className="key" aria-hidden>Z</span></Button>}
                {can.reassign && <Button variant="default" onClick={() => setDoing("reassign")} data-reassign>{t("taskDo.reassign")}<span className="key" aria-hidden>A</span></Button>}
                <Button variant="default" onClick={release} data-release>{t("desk.release")}<span className="key" aria-hidden>R</span></Button>
              </Group>
            </Group>
          </div>
        )}
        {call && (customer.data || !customerId) && <WrapUp key={call.id} call={call} customer={customer.data} task={task} before={before} done={finished}
          top={<Group justify="space-between" gap="xs"><Phases call={call} />
            <Group gap="xs">
              {task && <LeaseLeft until={lease.until} extend={extend} />}
              {!call.talk_ended_at && <Button size="compact-sm" color="shu" onClick={hangUp} loading={busy} data-hang-up>{t("desk.hangUp")}<span className="key" aria-hidden>H</span></Button>}
            </Group>
          </Group>} />}
      </main>
      <aside className="side" aria-label={t("timeline.title")}>
        <div className="heading">{t("timeline.title")}{customerId && <Link to="/customers/$customerId" params={{ customerId }} style={{ fontSize: 12, fontWeight: 400 }}>{t("desk.openCustomer")}</Link>}</div>
        {customerId ? <Timeline customerId={customerId} /> : <div className="pad faint" style={{ fontSize: 13 }}>{t("desk.idleTimeline")}</div>}
      </aside>
      {doing && held && <TaskDialog task={held} doing={doing} close={() => setDoing(undefined)} before={() => { letGo.current = held.id; }} undo={() => { letGo.current = undefined; }} />}
      {help && <KeysHelp close={() => setHelp(false)} />}
      {inbound && <Inbound close={() => setInbound(false)} started={() => { setInbound(false); void refresh(); }} />}
    </div>
  );
}

/** The first page of those who call; the others are on their way to theirs. */
export function DeskPage() {
  const may = useMay();
  return may("claim_call_task") ? <Desk /> : null;
}

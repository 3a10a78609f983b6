import { ActionIcon, Anchor, Badge, Button, Group, Loader, MultiSelect, Select, Stack, Tabs, Text, Textarea, TextInput } from "@mantine/core";
import { IconHistory, IconPencil, IconPlus } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useParams } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { read, type Schemas, write } from "../api/client";
import { stale } from "../cache";
import { fieldName, label } from "../i18n";
import { addressText, type Address, type Customer, NameLine, readCustomer, Timeline, useCustomer, useNames, usePhoneText, Warnings } from "../parts/customer";
import { TaskMenu } from "../desk/task_actions";
import { PlanCall } from "../inquiries/plan_call";
import { customChange, CustomInputs, customName, customValues, useCustomFields, useCustomText } from "../parts/custom_fields";
import { digits } from "../parts/digits";
import { Towns } from "../parts/towns";
import { FormModal, tellSaved, useSubmit } from "../parts/form";
import { Theirs, useMerge, type Values } from "../parts/merge";
import { More, usePages } from "../parts/pages";
import { useActorName } from "../parts/people";
import { ProblemAlert } from "../parts/problem";
import { useMay } from "../session";
import { CustomerMenu } from "./acts";
import { Differences, PutBack } from "./put_back";
import { useValueText } from "./values";
import { fromInput, fullMoment, moment, toInput } from "../time";

const flags = ["VIP", "ELDERLY", "CAUTION", "COMPLAINT", "FAMILY_PRESENT_REQUIRED", "HEARING_IMPAIRED", "NO_MAIL"] as const;
type Flag = (typeof flags)[number];
const fields = ["display_name", "kana", "birth_date", "notes", "flags"] as const;
type Field = (typeof fields)[number];
type Draft = { display_name: string; kana: string; birth_date: string; notes: string; flags: Flag[] };
const draftOf = (c: Pick<Customer, Field>): Draft => ({ display_name: c.display_name, kana: c.kana, birth_date: c.birth_date ?? "", notes: c.notes, flags: [...c.flags] as Flag[] });
const shown = (value: string | string[]) => (Array.isArray(value) ? value.map((f) => label("flag", f)).join("、") : value) || "—";

const valuesOf = (c: Customer): Values => ({ ...draftOf(c), ...customValues(c.custom) });

/** Only what was changed is sent, so two people who change different fields do not undo each other. */
function EditCustomer({ customer, close }: { customer: Customer; close: () => void }) {
  const { t } = useTranslation();
  const merge = useMerge(() => valuesOf(customer), customer.version);
  const draft = merge.values as Draft & Values;
  const own = useCustomFields("customer");
  const ownText = useCustomText();
  const form = useSubmit((e) => merge.meet(e, async () => {
    const fresh = await readCustomer(customer.id);
    return { values: valuesOf(fresh), version: fresh.version };
  }));
  const set = <K extends Field>(key: K, value: Draft[K]) => merge.set(key, value);
  const changed = fields.filter(merge.changed);
  const custom = customChange(own, merge.base, merge.values);
  const submit = () => {
    if (changed.length === 0 && !custom) return close();
    const body: Schemas["CustomerChange"] = { ...Object.fromEntries(changed.map((f) => [f, f === "birth_date" ? draft.birth_date || null : draft[f]])), ...(custom ? { custom: custom as never } : {}) };
    void form.run(async () => {
      await write("patch", "/v1/customers/{customer_id}", { path: { customer_id: customer.id }, body, version: merge.version });
      tellSaved();
      await stale(["customer", customer.id]);
      close();
    });
  };
  return (
    <FormModal form={form} title={t("common.edit")} size="lg" close={close} submit={submit} dirty={changed.length > 0 || Boolean(custom)} shown={[...fields.map((f) => `/${f}`), ...own.map((f) => `/custom/${f.key}`)]}>
      <Theirs merge={merge} fields={[
        ...fields.map((f) => ({ name: f, label: t(`customer.${f}`), text: (value: unknown) => shown((value ?? "") as string | string[]) })),
        ...own.map((f) => ({ name: customName(f.key), label: f.label, text: (value: unknown) => ownText(f, value as string | undefined) })),
      ]} />
      <Group grow align="start">
        <TextInput label={t("customer.display_name")} value={draft.display_name} onChange={(e) => set("display_name", e.currentTarget.value)} error={form.at("/display_name")} data-autofocus />
        <TextInput label={t("customer.kana")} value={draft.kana} onChange={(e) => set("kana", e.currentTarget.value)} error={form.at("/kana")} />
      </Group>
      <TextInput label={t("customer.birth_date")} description={t("customer.birthHint")} value={draft.birth_date} onChange={(e) => set("birth_date", e.currentTarget.value)} error={form.at("/birth_date")} />
      <MultiSelect label={t("customer.flags")} data={flags.map((f) => ({ value: f, label: label("flag", f) }))} value={draft.flags} onChange={(v) => set("flags", v as Flag[])} error={form.at("/flags")} />
      <Textarea label={t("customer.notes")} autosize minRows={3} maxRows={10} value={draft.notes} onChange={(e) => set("notes", e.currentTarget.value)} error={form.at("/notes")} />
      <CustomInputs fields={own} values={merge.values} set={merge.set} error={form.error} />
    </FormModal>
  );
}

type Child = "phone" | "address" | "email";
const texts = { phone: ["raw", "note"], address: ["postal_code", "prefecture", "city", "town", "street", "building", "note"], email: ["email"] } as const;
type Row = { id: string; version: number } & Record<string, unknown>;
const partOf = (kind: Child, row: Row | undefined): Values => Object.fromEntries([...texts[kind], "kind"].map((f) => [f, String(row?.[f] ?? "")]));

/** Phones, addresses and emails are edited alike: new ones, changed ones, and taken away. */
export function EditChild({ customer, kind, row, close }: { customer: Customer; kind: Child; row?: Row; close: () => void }) {
  const { t } = useTranslation();
  const merge = useMerge(() => partOf(kind, row), row?.version);
  const values = merge.values as Record<string, string>;
  const form = useSubmit((e) => merge.meet(e, row && (async () => {
    const fresh = await readCustomer(customer.id);
    const now = { phone: fresh.phones, address: fresh.addresses, email: fresh.emails }[kind].find((x) => x.id === row.id);
    return now && { values: partOf(kind, now as Row), version: now.version };
  })));
  const code = digits(values.postal_code ?? "");
  const run = (action: () => Promise<unknown>) =>
    form.run(async () => {
      await action();
      tellSaved();
      await stale(["customer", customer.id]);
      close();
    });
  const submit = () => {
    const body: Record<string, unknown> = Object.fromEntries(texts[kind].map((f) => [f, values[f] ?? ""]));
    if (kind === "address" && !body.postal_code) body.postal_code = null;
    if (kind === "phone" && values.kind) body.kind = values.kind;
    if (row)
      // Only what was changed: the other fields may have been changed by somebody else.
      for (const f of Object.keys(body)) if (!merge.changed(f)) delete body[f];
    if (row && Object.keys(body).length === 0) return close();
    const of = { path: { customer_id: customer.id }, body: body as never };
    void run(() => {
      if (!row) {
        if (kind === "phone") return write("post", "/v1/customers/{customer_id}/phones", of);
        if (kind === "address") return write("post", "/v1/customers/{customer_id}/addresses", of);
        return write("post", "/v1/customers/{customer_id}/emails", of);
      }
      const change = { body: body as never, version: merge.version as number };
      if (kind === "phone") return write("patch", "/v1/customer-phones/{customer_phone_id}", { path: { customer_phone_id: row.id }, ...change });
      if (kind === "address") return write("patch", "/v1/customer-addresses/{customer_address_id}", { path: { customer_address_id: row.id }, ...change });
      return write("patch", "/v1/customer-emails/{customer_email_id}", { path: { customer_email_id: row.id }, ...change });
    });
  };
  const remove = () =>
    row &&
    run(() => {
      const version = merge.version as number;
      if (kind === "phone") return write("delete", "/v1/customer-phones/{customer_phone_id}", { path: { customer_phone_id: row.id }, version });
      if (kind === "address") return write("delete", "/v1/customer-addresses/{customer_address_id}", { path: { customer_address_id: row.id }, version });
      return write("delete", "/v1/customer-emails/{customer_email_id}", { path: { customer_email_id: row.id }, version });
    });
  const title = kind === "phone" ? t("customer.addPhone") : kind === "address" ? t("customer.addAddress") : t("customer.addEmail");
  return (
    <FormModal form={form} title={row ? t("common.edit") : title} close={close} submit={submit} dirty={[...texts[kind], "kind"].some(merge.changed)} shown={texts[kind].map((f) => `/${f}`)}
      aside={row && <Button variant="subtle" color="red" disabled={form.busy} onClick={() => void remove()}>{t("common.remove")}</Button>}>
      <Theirs merge={merge} fields={[...texts[kind], "kind" as const].map((f) => ({ name: f, label: t(`customer.${f}`), text: (value) => (f === "kind" ? label("phoneKind", value as string) : String(value ?? "")) || "—" }))} />
      {texts[kind].map((f, i) => (
        <div key={f}>
          <TextInput label={t(`customer.${f}`)} value={values[f] ?? ""} onChange={(e) => merge.set(f, e.currentTarget.value)} error={form.at(`/${f}`)} data-autofocus={i === 0 || undefined}
            inputMode={f === "raw" || f === "postal_code" ? "tel" : undefined} />
          {f === "postal_code" && <Towns code={code} pick={(town) => merge.setValues((old) => ({ ...old, ...town }))} />}
        </div>
      ))}
      {kind === "phone" && (
        <Select label={t("customer.kind")} clearable data={["MOBILE", "FIXED", "TOLL_FREE", "IP", "OTHER"].map((k) => ({ value: k, label: label("phoneKind", k) }))} value={values.kind || null} onChange={(v) => merge.set("kind", v ?? "")} />
      )}
    </FormModal>
  );
}

function History({ rowId }: { rowId: string }) {
  const { t } = useTranslation();
  const may = useMay();
  const [to, setTo] = useState<string>();
  const by = useActorName();
  const text = useValueText();
  const pages = usePages(["customer", rowId, "history"], (cursor) => read("/v1/history", { query: { row_id: rowId, cursor, limit: 30 } }));
  const { rows } = pages;
  if (pages.error) return <ProblemAlert error={pages.error} retry={pages.retry} />;
  if (pages.pending) return <Loader size="xs" m="sm" />;
  if (pages.none) return <div className="pad faint">{t("customer.historyEmpty")}</div>;
  return (
    <div className="pad">
      {rows.map((h, i) => {
        const previous = rows[i + 1];
        const before = (h.before ?? {}) as Record<string, unknown>;
        const content = (h.content ?? {}) as Record<string, unknown>;
        return (
          <div key={h.id} style={{ borderBottom: "1px solid var(--line)", padding: "5px 0", fontSize: 12.5 }}>
            <b>{fullMoment(h.at)}</b> <span className="faint">{t("customer.by", { who: by(h.actor, h.actor_name) })} · {t(`putBack.op.${h.op}` as never) as unknown as string}</span>
            {h.op === "UPDATE" && (h.changed as string[]).filter((k) => !k.endsWith("_key")).map((k) => (
              <div key={k}>
                {fieldName(k)}: <span className="diff-before">{text(k, before[k])}</span> → <span className="diff-after">{text(k, content[k])}</span>
              </div>
            ))}
            {h.op === "UPDATE" && previous && may("put_back") && <Button size="compact-xs" variant="subtle" onClick={() => setTo(previous.at)}>{t("putBack.before")}</Button>}
            {h.request_id && may("put_back") && <Anchor component={Link} to="/put-backs" search={{ kind: "REQUEST", request_id: h.request_id, around: h.at } as never} fz="xs" ml={6}>{t("putBack.ofRequest")}</Anchor>}
          </div>
        );
      })}
      {to && <PutBack id={rowId} to={to} close={() => setTo(undefined)} />}
      <More pages={pages} />
    </div>
  );
}

function AsOf({ id, at }: { id: string; at: string }) {
  const { t } = useTranslation();
  const may = useMay();
  const text = useValueText();
  const [putting, setPutting] = useState(false);
  const past = useQuery({ queryKey: ["customer", id, "as-of", at], queryFn: () => read("/v1/customers/{customer_id}", { path: { customer_id: id }, query: { as_of: at } }) as Promise<unknown> as Promise<Record<string, unknown>> });
  if (past.error) return <ProblemAlert error={past.error} />;
  if (!past.data) return <Loader size="xs" m="sm" />;
  const c = past.data as Record<string, unknown> & { phones: { raw: string }[]; addresses: Address[]; emails: { email: string }[]; flags?: string[] };
  return (
    <div className="sheet">
      <div className="heading">{t("customer.asOfShown", { at: fullMoment(at) })}</div>
      <dl className="pairs pad">
        {(["display_name", "kana", "birth_date", "notes"] as const).map((f) => [<dt key={f}>{t(`customer.${f}`)}</dt>, <dd key={`${f}-`}>{text(f, c[f])}</dd>])}
        <dt>{t("customer.flags")}</dt><dd>{shown(c.flags ?? [])}</dd>
        <dt>{t("customer.phones")}</dt><dd>{c.phones.map((p) => p.raw).join("、") || "—"}</dd>
        <dt>{t("customer.addresses")}</dt><dd>{c.addresses.map((a) => addressText(a)).join("、") || "—"}</dd>
        <dt>{t("customer.emails")}</dt><dd>{c.emails.map((e) => e.email).join("、") || "—"}</dd>
      </dl>
      {may("compare_record") && <Differences id={id} from={at} />}
      {may("put_back") && <div className="pad"><Button size="xs" variant="default" onClick={() => setPutting(true)}>{t("putBack.toThis")}</Button></div>}
      {putting && <PutBack id={id} to={at} close={() => setPutting(false)} />}
    </div>
  );
}

export function CustomerPage() {
  const { t } = useTranslation();
  const { customerId } = useParams({ from: "/app/customers/$customerId" });
  const may = useMay();
  const navigate = useNavigate();
  const names = useNames();
  const { data: customer, error, refetch } = useCustomer(customerId);
  const [editing, setEditing] = useState(false);
  const [child, setChild] = useState<{ kind: Child; row?: Row }>();
  const [asOf, setAsOf] = useState("");
  const [planning, setPlanning] = useState(false);
  const own = useCustomFields("customer");
  const ownText = useCustomText();
  const phone = usePhoneText();
  const moment_ = fromInput(asOf);
  if (error) return <main className="page"><ProblemAlert error={error} retry={() => void refetch()} /></main>;
  if (!customer) return <main className="page"><Loader size="sm" /></main>;
  const add = (kind: Child, text: string) => may("update_customer") && <ActionIcon variant="subtle" size="sm" aria-label={text} onClick={() => setChild({ kind })}><IconPlus size={15} /></ActionIcon>;
  const pencil = (kind: Child, row: { id: string; version: number }) =>
    may("update_customer") && <ActionIcon variant="subtle" size="xs" color="gray" aria-label={t("common.edit")} onClick={() => setChild({ kind, row: row as Row })}><IconPencil size={13} /></ActionIcon>;
  return (
    <main className="page">
      <Stack gap="xs">
        <Warnings customer={customer} />
        <Group justify="space-between">
          <NameLine customer={customer} />
          <Group gap="xs">
            {may("get_record_as_of") && (
              <TextInput type="datetime-local" leftSection={<IconHistory size={14} />} aria-label={t("customer.asOf")} title={t("customer.asOf")} value={asOf} max={toInput(new Date())} onChange={(e) => setAsOf(e.currentTarget.value)} />
            )}
            {asOf && <Button variant="default" onClick={() => setAsOf("")}>{t("customer.asOfNow")}</Button>}
            {may("create_inquiry") && <Button variant="default" onClick={() => void navigate({ to: "/inquiries/new", search: { customer_id: customer.id } })}>{t("customer.createInquiry")}</Button>}
            {may("update_customer") && <Button onClick={() => setEditing(true)}>{t("common.edit")}</Button>}
            <CustomerMenu customer={customer} />
          </Group>
        </Group>
        {moment_ && <AsOf id={customer.id} at={moment_} />}
        <div style={{ display: "grid", gap: 12, alignItems: "start" }} className="thirds">
          <Stack gap="sm">
            <section className="sheet">
              <div className="heading">{t("customer.phones")}{add("phone", t("customer.addPhone"))}</div>
              <div className="pad">
                {customer.phones.length === 0 && <span className="faint">{t("customer.noPhone")}</span>}
                {customer.phones.map((p) => (
                  <div className="row" key={p.id}>
                    <span><a href={`tel:${p.e164 ?? p.raw}`}>{phone(p)}</a> <span className="faint">{label("phoneKind", p.kind)} {p.note}</span></span>
                    {pencil("phone", p)}
                  </div>
                ))}
              </div>
            </section>
            <section className="sheet">
              <div className="heading">{t("customer.addresses")}{add("address", t("customer.addAddress"))}</div>
              <div className="pad">
                {customer.addresses.length === 0 && <span className="faint">{t("common.none")}</span>}
                {customer.addresses.map((a) => <div className="row" key={a.id}><span>{addressText(a)} <span className="faint">{a.note}</span></span>{pencil("address", a)}</div>)}
              </div>
            </section>
            <section className="sheet">
              <div className="heading">{t("customer.emails")}{add("email", t("customer.addEmail"))}</div>
              <div className="pad">
                {customer.emails.length === 0 && <span className="faint">{t("common.none")}</span>}
                {customer.emails.map((e) => <div className="row" key={e.id}><a href={`mailto:${e.email}`}>{e.email}</a>{pencil("email", e)}</div>)}
              </div>
            </section>
            <section className="sheet">
              <div className="heading">{t("customer.notes")}</div>
              <div className="pad" style={{ whiteSpace: "pre-wrap", fontSize: 13 }}>{customer.notes || <span className="faint">{t("common.none")}</span>}</div>
            </section>
            {own.length > 0 && (
              <section className="sheet">
                <div className="heading">{t("fields.title")}</div>
                <dl className="pairs pad">{own.map((f) => [<dt key={f.key}>{f.label}</dt>, <dd key={`${f.key}-`} data-custom={f.key}>{ownText(f, customValues(customer.custom)[customName(f.key)])}</dd>])}</dl>
              </section>
            )}
          </Stack>
          <Stack gap="sm">
            <section className="sheet">
              <div className="heading">{t("customer.openInquiries")}</div>
              {customer.inquiries.length === 0 && <div className="pad faint">{t("customer.noInquiry")}</div>}
              {customer.inquiries.map((i) => (
                <div className="pad" key={i.id} style={{ borderBottom: "1px solid var(--line)" }}>
                  <div className="row"><span><Badge>{label("stage", i.stage)}</Badge> {names.media(i.media_source_id)} <span className="faint">{label("channel", i.channel)}</span></span><Link to="/inquiries/$inquiryId" params={{ inquiryId: i.id }} data-inquiry={i.id}>{moment(i.received_at)}</Link></div>
                  <Text fz="sm">{i.items.map((n) => `${names.category(n.item_category_id)}${n.description ? `（${n.description}）` : ""}${n.quantity ? ` ×${n.quantity}` : ""}`).join("、")}</Text>
                  {i.next_action && i.next_action !== "NONE" && <Text fz="sm">{t("inquiry.nextAction")}: {label("nextAction", i.next_action)} {moment(i.next_action_at)}</Text>}
                  {i.notes && <Text fz="sm" className="faint">{i.notes}</Text>}
                </div>
              ))}
            </section>
            <section className="sheet">
              <div className="heading">{t("customer.openVisits")}</div>
              <div className="pad">
                {customer.appointments.length === 0 && <span className="faint">{t("common.none")}</span>}
                {customer.appointments.map((a) => <div key={a.id}><Badge color="shu">{label("visit", a.state)}</Badge> <Link to="/visits" search={{ day: toInput(a.starts_at).slice(0, 10), id: a.id }}>{fullMoment(a.starts_at)}</Link></div>)}
              </div>
            </section>
            <section className="sheet">
              <div className="heading">{t("customer.openTasks")}{may("create_call_task") && <Button size="compact-xs" variant="subtle" onClick={() => setPlanning(true)} data-plan-call>{t("planCall.title")}</Button>}</div>
              <div className="pad">
                {customer.tasks.length === 0 && <span className="faint">{t("common.none")}</span>}
                {customer.tasks.map((k) => <div key={k.id} className="row"><span><Badge color={k.state === "BLOCKED" ? "red" : "ai"}>{label("taskState", k.state)}</Badge> {label("taskKind", k.kind)} <span className="faint">{moment(k.due_at)} {k.note}</span></span><TaskMenu task={{ ...k, customer_id: customer.id, customer_display_name: customer.display_name }} /></div>)}
              </div>
            </section>
          </Stack>
          <section className="sheet">
            <Tabs defaultValue="timeline" keepMounted={false}>
              <Tabs.List>
                <Tabs.Tab value="timeline">{t("timeline.title")}</Tabs.Tab>
                {may("list_history") && <Tabs.Tab value="history">{t("customer.history")}</Tabs.Tab>}
              </Tabs.List>
              <Tabs.Panel value="timeline"><Timeline customerId={customer.id} /></Tabs.Panel>
              <Tabs.Panel value="history"><History rowId={customer.id} /></Tabs.Panel>
            </Tabs>
          </section>
        </div>
      </Stack>
      {planning && <PlanCall customerId={customer.id} close={() => setPlanning(false)} inquiries={customer.inquiries.map((i) => ({ id: i.id, label: `${label("stage", i.stage)} ${names.media(i.media_source_id)} ${moment(i.received_at)}` }))} />}
      {editing && <EditCustomer customer={customer} close={() => setEditing(false)} />}
      {child && <EditChild key={child.row?.id ?? child.kind} customer={customer} {...child} close={() => setChild(undefined)} />}
    </main>
  );
}

import { Badge, Button, Checkbox, Drawer, Group, NativeSelect, Stack, Table, Textarea, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { read, type Schemas, write } from "../api/client";
import { stale } from "../cache";
import { type Chosen, endOf, SlotPicker } from "../desk/booking";
import { label } from "../i18n";
import { addressText, Flags, useCustomer, useNames } from "../parts/customer";
import { useSubmit } from "../parts/form";
import { More, usePages } from "../parts/pages";
import { useAreas } from "../parts/people";
import { ProblemAlert } from "../parts/problem";
import { useMay } from "../session";
import { type Field, RecordForm } from "../settings/record";
import { at, clock, day, fromInput, fullMoment, today } from "../time";

type Visit = Schemas["Appointment"];
const colors: Record<string, string> = { HELD: "yellow", BOOKED: "ai", CONFIRMED: "teal", EN_ROUTE: "grape", ARRIVED: "grape", COMPLETED: "green", CANCELLED: "gray", RESCHEDULED: "gray", NO_SHOW: "red" };
const State = ({ state }: { state: string }) => <Badge color={colors[state] ?? "gray"}>{label("visit", state)}</Badge>;

function NextCall({ kind, when, change }: { kind: "NURTURE" | "FOLLOW_UP"; when: string; change: (kind: "NURTURE" | "FOLLOW_UP", when: string) => void }) {
  const { t } = useTranslation();
  return (
    <Group gap="xs" align="end">
      <NativeSelect label={t("visits.nextCall")} value={kind} onChange={(e) => change(e.currentTarget.value as typeof kind, when)} data={(["FOLLOW_UP", "NURTURE"] as const).map((k) => ({ value: k, label: label("taskKind", k) }))} />
      <TextInput type="datetime-local" label={t("wrap.at")} value={when} onChange={(e) => change(kind, e.currentTarget.value)} />
    </Group>
  );
}

const readVisit = (id: string) => read("/v1/appointments/{appointment_id}", { path: { appointment_id: id } });
const going = ["HELD", "BOOKED", "CONFIRMED", "EN_ROUTE", "ARRIVED"];

/** Where, what for, and what to know; when and who is another slot. */
function EditVisit({ visit, close }: { visit: Visit; close: () => void }) {
  const { t } = useTranslation();
  const may = useMay();
  const names = useNames();
  const customer = useCustomer(may("get_customer") ? visit.customer_id : undefined).data;
  const known = useQuery({
    queryKey: ["solicitation-requests", visit.inquiry_id], enabled: may("list_solicitation_requests"),
    queryFn: () => read("/v1/solicitation-requests", { query: { inquiry_id: visit.inquiry_id, limit: 50 } }),
  });
  // Which fields there are must be known before the form begins.
  if (known.isLoading) return null;
  const requests = known.data?.items ?? [];
  const addresses = (customer?.addresses ?? []).map((a) => ({ value: a.id, label: addressText(a) }));
  if (visit.address_id && !addresses.some((a) => a.value === visit.address_id)) addresses.unshift({ value: visit.address_id, label: addressText(visit.address) || "—" });
  const categories = [...new Set([...names.categories.map((c) => c.id), ...visit.category_ids])].map((id) => ({ value: id, label: names.category(id) || "—" }));
  const fields: Field[] = [
    { name: "address_id", label: t("visits.address"), kind: "choice", required: addresses.length > 0, options: addresses },
    { name: "category_ids", label: t("inquiry.category"), hint: t("visits.categoriesHint"), kind: "many", options: categories },
    ...(requests.length > 1 ? [{ name: "solicitation_request_id", label: t("visits.request"), kind: "choice" as const, required: true, options: requests.map((r) => ({ value: r.id, label: `${fullMoment(r.requested_at)} ${label("book", r.scope)}「${r.verbatim}」` })) }] : []),
    { name: "notes", label: t("visits.notes"), kind: "area" },
  ];
  return (
    <RecordForm name="visit" title={t("visits.edit")} record={visit as never} fields={fields} close={close} reload={async () => (await readVisit(visit.id)) as never}
      save={async (body, version) => {
        await write("patch", "/v1/appointments/{appointment_id}", { path: { appointment_id: visit.id }, body, version: version as number });
        await stale(["appointments"], ["customer", visit.customer_id], ["availability"]);
      }} />
  );
}

function VisitCard({ id, go }: { id: string; go: (id: string, day: string) => void }) {
  const { t } = useTranslation();
  const may = useMay();
  const names = useNames();
  const { data: v, error } = useQuery({ queryKey: ["appointments", "one", id], queryFn: () => readVisit(id) });
  const [doing, setDoing] = useState<"" | "cancel" | "move" | "complete" | "noShow" | "edit">("");
  const act = useSubmit((e) => {
    void stale(["appointments"]);
    return e;
  });
  const { busy } = act;
  const [by, setBy] = useState<"CUSTOMER" | "COMPANY">("CUSTOMER");
  const [reason, setReason] = useState("");
  const [door, setDoor] = useState(false);
  const [next, setNext] = useState<{ kind: "NURTURE" | "FOLLOW_UP"; when: string }>({ kind: "FOLLOW_UP", when: at(today(1), "10:00") });
  const [slot, setSlot] = useState<Chosen>();
  if (error) return <ProblemAlert error={error} />;
  if (!v) return null;
  const path = { appointment_id: id };
  const can = (state: string, operation: string) => may(operation) && v.allowed_transitions.includes(state);
  const run = (action: () => Promise<Visit | undefined>) =>
    act.run(async () => {
      const after = await action();
      setDoing("");
      await stale(["appointments"], ["customer", v.customer_id]);
      if (after && after.id !== id) go(after.id, after.starts_at);
    });
  const due = fromInput(next.when);
  const nextCall = due ? { next_call: { kind: next.kind, due_at: due } } : {};
  return (
    <Stack gap="sm">
      <Group gap="xs"><State state={v.state} /><b>{fullMoment(v.starts_at)}–{clock(v.ends_at)}</b></Group>
      <dl className="pairs">
        <dt>{t("visits.customer")}</dt>
        <dd><Link to="/customers/$customerId" params={{ customerId: v.customer_id }}>{v.customer_name}</Link> <span className="faint">{v.customer_kana}</span> <Flags flags={v.customer_flags} /></dd>
        <dt>{t("visits.address")}</dt><dd>{addressText(v.address) || "—"}</dd>
        <dt>{t("visits.appraiser")}</dt><dd>{v.appraiser_name}</dd>
        <dt>{t("visits.area")}</dt><dd>{v.service_area_name}</dd>
        <dt>{t("inquiry.category")}</dt><dd>{v.category_ids.map((c) => names.category(c)).join("、")}</dd>
        <dt>{t("visits.request")}</dt><dd>{v.solicitation_request ? `${label("book", v.solicitation_request.scope)}「${v.solicitation_request.verbatim ?? ""}」` : "—"}</dd>
        {v.cancel_reason && <><dt>{t("visits.by")}</dt><dd>{label("visits", v.cancelled_by)}: {v.cancel_reason}</dd></>}
        {v.notes && <><dt>{t("visits.notes")}</dt><dd>{v.notes}</dd></>}
      </dl>
      <ProblemAlert error={act.error} />
      {v.rescheduled_to && <Button variant="default" onClick={() => go(v.rescheduled_to as string, "")}>{t("visits.moved")}</Button>}
      {doing === "edit" && <EditVisit visit={v} close={() => setDoing("")} />}
      {(doing === "" || doing === "edit") && (
        <Group gap="xs">
          {can("CONFIRMED", "confirm_appointment") && <Button loading={busy} onClick={() => void run(() => write("post", "/v1/appointments/{appointment_id}/confirmation", { path }))}>{t("visits.confirm")}</Button>}
          {can("EN_ROUTE", "depart_appointment") && <Button loading={busy} onClick={() => void run(() => write("post", "/v1/appointments/{appointment_id}/departure", { path }))}>{t("visits.depart")}</Button>}
          {can("ARRIVED", "arrive_appointment") && <Button loading={busy} onClick={() => void run(() => write("post", "/v1/appointments/{appointment_id}/arrival", { path }))}>{t("visits.arrive")}</Button>}
          {can("COMPLETED", "complete_appointment") && <Button onClick={() => setDoing("complete")}>{t("visits.complete")}</Button>}
          {can("RESCHEDULED", "reschedule_appointment") && <Button variant="default" onClick={() => setDoing("move")}>{t("visits.move")}</Button>}
          {may("update_appointment") && going.includes(v.state) && <Button variant="default" onClick={() => setDoing("edit")} data-edit-visit>{t("visits.edit")}</Button>}
          {can("NO_SHOW", "mark_no_show") && <Button variant="default" onClick={() => setDoing("noShow")}>{t("visits.noShow")}</Button>}
          {can("CANCELLED", "cancel_appointment") && <Button variant="subtle" color="red" onClick={() => setDoing("cancel")}>{t("visits.cancel")}</Button>}
        </Group>
      )}
      {doing === "complete" && (
        <Stack gap="xs">
          <Checkbox label={t("visits.door")} checked={door} onChange={(e) => setDoor(e.currentTarget.checked)} />
          <Group gap="xs">
            <Button loading={busy} disabled={!door} onClick={() => void run(() => write("post", "/v1/appointments/{appointment_id}/completion", { path, body: { willingness_confirmed: door } }))}>{t("visits.complete")}</Button>
            <Button variant="default" onClick={() => setDoing("")}>{t("common.cancel")}</Button>
          </Group>
        </Stack>
      )}
      {(doing === "cancel" || doing === "noShow") && (
        <Stack gap="xs">
          {doing === "cancel" && <NativeSelect label={t("visits.by")} value={by} onChange={(e) => setBy(e.currentTarget.value as typeof by)} data={(["CUSTOMER", "COMPANY"] as const).map((b) => ({ value: b, label: t(`visits.${b}`) }))} />}
          <Textarea label={t("common.reason")} required={doing === "cancel"} autosize minRows={2} value={reason} onChange={(e) => setReason(e.currentTarget.value)} data-autofocus />
          <NextCall {...next} change={(kind, when) => setNext({ kind, when })} />
          <Group gap="xs">
            <Button color="red" loading={busy} disabled={doing === "cancel" && !reason.trim()}
              onClick={() => void run(() => doing === "cancel"
                ? write("post", "/v1/appointments/{appointment_id}/cancellation", { path, body: { by, reason, ...nextCall } })
                : write("post", "/v1/appointments/{appointment_id}/no-show", { path, body: { ...(reason ? { reason } : {}), ...nextCall } }))}>
              {doing === "cancel" ? t("visits.cancel") : t("visits.noShow")}
            </Button>
            <Button variant="default" onClick={() => setDoing("")}>{t("common.close")}</Button>
          </Group>
        </Stack>
      )}
      {doing === "move" && (
        <Stack gap="xs">
          <b style={{ fontSize: 13 }}>{t("visits.moveTo")}</b>
          {v.address_id ? <SlotPicker where={{ address_id: v.address_id }} categoryIds={v.category_ids} visitMinutes={(Date.parse(v.ends_at) - Date.parse(v.starts_at)) / 60_000} chosen={slot} choose={setSlot} />
            : <div className="warning">{t("visits.noAddress")} <Link to="/customers/$customerId" params={{ customerId: v.customer_id }}>{t("desk.openCustomer")}</Link></div>}
          <Group gap="xs">
            <Button loading={busy} disabled={!slot}
              onClick={() => slot && void run(() => write("post", "/v1/appointments/{appointment_id}/reschedule", { path, body: { slot_id: slot.slot.slot_id, appraiser_id: slot.appraiserId, starts_at: slot.startsAt, ends_at: endOf(slot) } }))}>
              {t("visits.move")}
            </Button>
            <Button variant="default" onClick={() => setDoing("")}>{t("common.cancel")}</Button>
          </Group>
        </Stack>
      )}
    </Stack>
  );
}

export function VisitsPage() {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const search = useSearch({ from: "/app/visits" });
  const date = search.day ?? today();
  const [appraiser, setAppraiser] = useState("");
  const [area, setArea] = useState("");
  const areas = useAreas();
  const appraisers = useQuery({ queryKey: ["appraisers", "first"], staleTime: 300_000, queryFn: () => read("/v1/appraisers", { query: { limit: 200 } }) });
  const pages = usePages(["appointments", "day", date, appraiser, area], (cursor, signal) =>
    read("/v1/appointments", { query: { view: "day", day: date, appraiser_id: appraiser || undefined, service_area_id: area || undefined, limit: 200, cursor }, signal }));
  const go = (to: string) => void navigate({ to: "/visits", search: { day: to } });
  const step = (days: number) => go(today(days, Date.parse(`${date}T12:00:00+09:00`)));
  const select = (id: string | undefined, of = date) => void navigate({ to: "/visits", search: { day: of, ...(id ? { id } : {}) }, replace: true });
  const byArea = Map.groupBy(pages.rows, (v) => v.service_area_name);
  return (
    <main className="page">
      <Group mb="sm" align="end">
        <Button variant="default" onClick={() => step(-1)}>{t("visits.prev")}</Button>
        <TextInput type="date" label={t("visits.day")} value={date} onChange={(e) => e.currentTarget.value && go(e.currentTarget.value)} />
        <Button variant="default" onClick={() => step(1)}>{t("visits.next")}</Button>
        <Button variant="default" onClick={() => go(today())}>{t("visits.today")}</Button>
        <NativeSelect label={t("visits.area")} value={area} name="area" onChange={(e) => setArea(e.currentTarget.value)} data={[{ value: "", label: t("common.all") }, ...(areas.data ?? []).map((a) => ({ value: a.id, label: a.name }))]} />
        <NativeSelect label={t("visits.appraiser")} value={appraiser} onChange={(e) => setAppraiser(e.currentTarget.value)} data={[{ value: "", label: t("common.all") }, ...(appraisers.data?.items ?? []).map((a) => ({ value: a.id, label: a.display_name }))]} />
        <b style={{ marginLeft: "auto" }}>{day(`${date}T12:00:00+09:00`)}</b>
      </Group>
      <ProblemAlert error={pages.error} retry={pages.retry} />
      {pages.none && <div className="sheet pad faint">{t("visits.empty")}</div>}
      {[...byArea].map(([name, visits]) => (
        <section className="sheet" key={name} style={{ marginBottom: 10 }}>
          <div className="heading">{name}</div>
          <Table layout="fixed">
            <Table.Thead>
              <Table.Tr>
                <Table.Th w={110}>{t("visits.time")}</Table.Th><Table.Th w={110}>{t("visits.state")}</Table.Th><Table.Th>{t("visits.customer")}</Table.Th><Table.Th w="36%">{t("visits.address")}</Table.Th><Table.Th>{t("visits.appraiser")}</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {visits.map((v) => (
                <Table.Tr key={v.id} data-visit={v.id} onClick={() => select(v.id)} style={{ cursor: "pointer" }} bg={search.id === v.id ? "light-dark(#eef3f9, #26313d)" : undefined}>
                  <Table.Td><button type="button" onClick={() => select(v.id)} className="link" style={{ fontWeight: 600 }}>{clock(v.starts_at)}–{clock(v.ends_at)}</button></Table.Td>
                  <Table.Td><State state={v.state} /></Table.Td>
                  <Table.Td><Group gap={6}>{v.customer_name}<Flags flags={v.customer_flags} /></Group></Table.Td>
                  <Table.Td>{addressText(v.address)}</Table.Td>
                  <Table.Td>{v.appraiser_name}</Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </section>
      ))}
      <More pages={pages} />
      <Drawer opened={Boolean(search.id)} onClose={() => select(undefined)} position="right" size={460} title={t("timeline.appointment")} transitionProps={{ duration: 0 }}>
        {search.id && <VisitCard key={search.id} id={search.id} go={(id, starts) => select(id, starts ? today(0, Date.parse(starts)) : date)} />}
      </Drawer>
    </main>
  );
}

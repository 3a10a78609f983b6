import { ActionIcon, Button, Checkbox, Group, MultiSelect, NativeSelect, NumberInput, Stack, Table, TextInput } from "@mantine/core";
import { IconX } from "@tabler/icons-react";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { fieldError, Problem, read, type Schemas, write } from "../api/client";
import { stale } from "../cache";
import { usePages } from "../parts/pages";
import { useAreas } from "../parts/people";
import { FormModal, tellProblem, tellSaved, useSubmit } from "../parts/form";
import { ProblemAlert } from "../parts/problem";
import { useMay } from "../session";
import { clock, day, fromInput, today } from "../time";
import { useWeekdays } from "./appraisers";
import { Listing } from "./record";

type Slot = Schemas["VisitSlot"];
type Band = Schemas["SlotPlan"]["bands"][number];
const refresh = () => stale(["visit-slots"], ["availability"]);

function Plan({ done }: { done: (area: string, from: string) => void }) {
  const { t } = useTranslation();
  const areas = useAreas();
  const days = useWeekdays();
  const [area, setArea] = useState<string[]>([]);
  const [from, setFrom] = useState(today(1));
  const [to, setTo] = useState(today(28));
  const [weekdays, setWeekdays] = useState<number[]>([1, 2, 3, 4, 5, 6, 0]);
  const [bands, setBands] = useState<Band[]>([{ from_time: "10:00", to_time: "12:00", capacity: 3 }, { from_time: "13:00", to_time: "15:00", capacity: 3 }, { from_time: "15:00", to_time: "17:00", capacity: 3 }]);
  const form = useSubmit();
  const change = (at: number, to: Partial<Band>) => setBands((all) => all.map((b, i) => (i === at ? { ...b, ...to } : b)));
  const submit = (event: FormEvent) => {
    event.preventDefault();
    void form.run(async () => {
      const made = await write("post", "/v1/visit-slot-plans", { body: { service_area_ids: area, from, to, weekdays, bands } });
      tellSaved(t("slots.planned", { created: made.created, there: made.already_there }));
      await refresh();
      done(area[0] ?? "", from);
    });
  };
  return (
    <section className="sheet">
      <div className="heading"><h2 style={{ all: "unset" }}>{t("slots.plan")}</h2></div>
      <form className="pad" onSubmit={submit}>
        <Stack gap="sm">
          <span className="faint" style={{ fontSize: 13 }}>{t("slots.planAbout")}</span>
          <ProblemAlert error={form.error} shown={["/service_area_ids", "/from", "/to", "/weekdays", "/bands"]} />
          {areas.data?.length === 0 && <div className="warning">{t("slots.noArea")}</div>}
          <MultiSelect label={t("visits.area")} withAsterisk searchable value={area} onChange={setArea} data={(areas.data ?? []).filter((a) => a.active).map((a) => ({ value: a.id, label: a.name }))} error={form.at("/service_area_ids")} name="areas" />
          <Group grow align="start">
            <TextInput type="date" label={t("slots.from")} required value={from} onChange={(e) => setFrom(e.currentTarget.value)} error={form.at("/from")} name="plan-from" />
            <TextInput type="date" label={t("slots.to")} required value={to} min={from} onChange={(e) => setTo(e.currentTarget.value)} error={form.at("/to")} name="plan-to" />
          </Group>
          <Checkbox.Group label={t("slots.weekdays")} value={weekdays.map(String)} onChange={(v) => setWeekdays(v.map(Number))} error={form.at("/weekdays")}>
            <Group gap="sm" mt={4}>{days.week.map((d) => <Checkbox key={d} value={String(d)} label={days.name(d)} />)}</Group>
          </Checkbox.Group>
          {bands.map((b, i) => (
            <Group key={i} gap="xs" align="end" wrap="nowrap">
              <TextInput type="time" label={i === 0 ? t("rules.hoursFrom") : undefined} aria-label={t("rules.hoursFrom")} required value={b.from_time} onChange={(e) => change(i, { from_time: e.currentTarget.value })} error={form.at(`/bands/${i}/from_time`)} />
              <TextInput type="time" label={i === 0 ? t("rules.hoursTo") : undefined} aria-label={t("rules.hoursTo")} required value={b.to_time} onChange={(e) => change(i, { to_time: e.currentTarget.value })} error={form.at(`/bands/${i}/to_time`)} />
              <NumberInput label={i === 0 ? t("slots.capacity") : undefined} aria-label={t("slots.capacity")} required w={110} min={0} max={1000} allowDecimal={false} value={b.capacity} onChange={(v) => change(i, { capacity: Number(v) })} error={form.at(`/bands/${i}/capacity`)} />
              <ActionIcon variant="subtle" color="gray" mb={2} aria-label={t("common.remove")} disabled={bands.length === 1} onClick={() => setBands((all) => all.filter((_, x) => x !== i))}><IconX size={15} /></ActionIcon>
            </Group>
          ))}
          <Group justify="space-between">
            <Button variant="subtle" size="compact-xs" onClick={() => setBands((all) => [...all, { from_time: all.at(-1)?.to_time ?? "10:00", to_time: "19:00", capacity: 3 }])}>{t("slots.addBand")}</Button>
            <Button type="submit" loading={form.busy} disabled={area.length === 0 || weekdays.length === 0} data-plan>{t("slots.make")}</Button>
          </Group>
        </Stack>
      </form>
    </section>
  );
}

/** One slot of its own: a day or hours that no plan has. */
function OneSlot({ area, from, close }: { area: string; from: string; close: () => void }) {
  const { t } = useTranslation();
  const areas = useAreas();
  const [where, setWhere] = useState(area);
  const [date, setDate] = useState(from);
  const [begin, setBegin] = useState("10:00");
  const [end, setEnd] = useState("12:00");
  const [capacity, setCapacity] = useState<number | string>(1);
  const form = useSubmit();
  // 24:00 is no time that such an input takes: a slot until midnight ends at 00:00 of the day after.
  const starts = fromInput(`${date}T${begin}`);
  const ends = fromInput(end === "00:00" ? `${today(1, Date.parse(`${date}T12:00:00+09:00`))}T00:00` : `${date}T${end}`);
  const make = () =>
    form.run(async () => {
      await write("post", "/v1/visit-slots", { body: { service_area_id: where, starts_at: starts as string, ends_at: ends as string, capacity: Number(capacity) } });
      tellSaved();
      await refresh();
      close();
    });
  return (
    <FormModal form={form} name="slot" title={t("slots.one")} label={t("slots.makeOne")} close={close} submit={make} ready={Boolean(where && starts && ends && capacity !== "")} shown={["/service_area_id", "/starts_at", "/ends_at", "/capacity"]}>
      <NativeSelect label={t("visits.area")} value={where} onChange={(e) => setWhere(e.currentTarget.value)} data={(areas.data ?? []).filter((a) => a.active || a.id === area).map((a) => ({ value: a.id, label: a.name }))} error={form.at("/service_area_id")} name="slot-area" />
      <TextInput type="date" label={t("visits.day")} required value={date} onChange={(e) => setDate(e.currentTarget.value)} name="slot-day" data-autofocus />
      <Group grow align="start">
        <TextInput type="time" label={t("rules.hoursFrom")} required value={begin} onChange={(e) => setBegin(e.currentTarget.value)} error={form.at("/starts_at")} name="slot-from" />
        <TextInput type="time" label={t("rules.hoursTo")} required value={end} onChange={(e) => setEnd(e.currentTarget.value)} error={form.at("/ends_at")} name="slot-to" />
        <NumberInput label={t("slots.capacity")} required min={0} max={1000} allowDecimal={false} value={capacity} onChange={setCapacity} error={form.at("/capacity")} name="slot-capacity" />
      </Group>
    </FormModal>
  );
}

/** Its capacity, changed in place: Enter or leaving the field saves; what is promised already is a lower bound. */
function Capacity({ slot }: { slot: Slot }) {
  const { t } = useTranslation();
  const [value, setValue] = useState<number | string>(slot.capacity);
  const [error, setError] = useState<unknown>();
  const save = async () => {
    if (value === "" || Number(value) === slot.capacity) return;
    try {
      await write("patch", "/v1/visit-slots/{visit_slot_id}", { path: { visit_slot_id: slot.id }, body: { capacity: Number(value) }, version: slot.version });
      setError(undefined);
      await refresh();
    } catch (e) {
      if (e instanceof Problem && e.status === 412) {
        // The row comes again with what the other one wrote, and loses this message with it.
        tellProblem(e);
        await refresh();
      } else setError(e);
    }
  };
  return (
    <>
      <NumberInput aria-label={t("slots.capacityOf", { at: `${day(slot.starts_at)} ${clock(slot.starts_at)}` })} w={90} min={0} max={1000} allowDecimal={false} value={value} onChange={setValue} onBlur={() => void save()}
        onKeyDown={(e) => { if (e.key === "Enter") { e.preventDefault(); void save(); } }} error={fieldError(error, "/capacity")} />
      <ProblemAlert error={error} shown={["/capacity"]} />
    </>
  );
}

export function SlotsSection() {
  const { t } = useTranslation();
  const areas = useAreas();
  const may = useMay();
  const [adding, setAdding] = useState(false);
  const [chosen, setChosen] = useState("");
  const [from, setFrom] = useState(today());
  const area = chosen || areas.data?.[0]?.id || "";
  const to = today(14, Date.parse(`${from}T12:00:00+09:00`));
  const pages = usePages(["visit-slots", area, from], (cursor, signal) => read("/v1/visit-slots", { query: { service_area_id: area, from, to, limit: 100, cursor }, signal }), { enabled: Boolean(area) && Boolean(from) });
  const { rows } = pages;
  return (
    <div className="halves">
      <Plan done={(a, f) => { setChosen(a); setFrom(f); }} />
      <div>
        <Group align="end" gap="xs" mb="sm">
          <NativeSelect label={t("visits.area")} value={area} onChange={(e) => setChosen(e.currentTarget.value)} data={(areas.data ?? []).map((a) => ({ value: a.id, label: a.name }))} />
          <TextInput type="date" label={t("slots.since")} value={from} onChange={(e) => e.currentTarget.value && setFrom(e.currentTarget.value)} />
        </Group>
        <Listing title={t("slots.list")} about={t("slots.listAbout")} add={may("create_visit_slot") && area ? () => setAdding(true) : undefined} addLabel={t("slots.one")} pages={pages} empty={t("slots.empty")}
          head={[t("visits.day"), t("visits.time"), t("slots.taken"), t("slots.capacity")]}>
          {rows.map((s) => (
            <Table.Tr key={s.id} data-slot={s.id}>
              <Table.Td>{day(s.starts_at)}</Table.Td><Table.Td className="mono">{clock(s.starts_at)}–{clock(s.ends_at)}</Table.Td><Table.Td className="mono">{s.taken} / {s.capacity}</Table.Td>
              <Table.Td><Capacity key={s.version} slot={s} /></Table.Td>
            </Table.Tr>
          ))}
        </Listing>
        {adding && <OneSlot area={area} from={from} close={() => setAdding(false)} />}
      </div>
    </div>
  );
}

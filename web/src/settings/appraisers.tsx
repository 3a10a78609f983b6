import { ActionIcon, Badge, Button, Checkbox, Group, Modal, NativeSelect, SegmentedControl, Stack, Table, TextInput } from "@mantine/core";
import { IconX } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { Problem, read, type Schemas, write } from "../api/client";
import { stale } from "../cache";
import { useNames } from "../parts/customer";
import { usePages } from "../parts/pages";
import { useAreas, useTeams, useUsers } from "../parts/people";
import { tellProblem, useSubmit } from "../parts/form";
import { ProblemAlert } from "../parts/problem";
import { fullMoment, today } from "../time";
import { Listing, RecordForm } from "./record";

type Appraiser = Schemas["Appraiser"];
const refresh = () => stale(["appraisers"], ["availability"]);
const week = [1, 2, 3, 4, 5, 6, 0];
/** Monday of a language: 2024-01-01 was one. */
export function useWeekdays() {
  const { i18n } = useTranslation();
  const format = new Intl.DateTimeFormat(i18n.language === "en" ? "en-GB" : "ja-JP", { weekday: "short", timeZone: "UTC" });
  return { week, name: (day: number) => format.format(Date.UTC(2023, 11, 31 + day)) };
}

interface Doubt { visits: { id: string; starts_at: string; customer_name: string }[]; answer: (go: boolean) => void }
/** Makes a change; one that leaves booked visits without their appraiser shows them, and is made only if somebody says so. */
function useDespiteVisits() {
  const { t } = useTranslation();
  const [doubt, setDoubt] = useState<Doubt>();
  const unless = async <T,>(change: (query: { despite_visits?: boolean }) => Promise<T>): Promise<T> => {
    try {
      return await change({});
    } catch (e) {
      if (!(e instanceof Problem) || e.code !== "APPRAISER_HAS_VISITS") throw e;
      const go = await new Promise<boolean>((answer) => setDoubt({ visits: e.extra.appointments as Doubt["visits"], answer }));
      setDoubt(undefined);
      if (!go) throw e;
      return await change({ despite_visits: true });
    }
  };
  const dialog = doubt && (
    <Modal opened onClose={() => doubt.answer(false)} title={t("appraisers.doubt", { count: doubt.visits.length })} zIndex={300} transitionProps={{ duration: 0 }}>
      <Stack gap="xs">
        <div>{t("appraisers.doubtAbout")}</div>
        {doubt.visits.map((v) => <div key={v.id} data-doubt><Link to="/visits" search={{ day: today(0, Date.parse(v.starts_at)), id: v.id }}>{fullMoment(v.starts_at)}</Link> {v.customer_name}</div>)}
        <Group gap="xs">
          <Button color="red" onClick={() => doubt.answer(true)} data-despite>{t("appraisers.doubtGo")}</Button>
          <Button variant="default" onClick={() => doubt.answer(false)}>{t("common.cancel")}</Button>
        </Group>
      </Stack>
    </Modal>
  );
  return { unless, dialog };
}

function Hours({ appraiser }: { appraiser: Appraiser }) {
  const { t } = useTranslation();
  const { unless, dialog } = useDespiteVisits();
  const days = useWeekdays();
  const [kind, setKind] = useState<"week" | "day">("week");
  const [weekday, setWeekday] = useState("1");
  const [day, setDay] = useState(today(1));
  const [from, setFrom] = useState("09:00");
  const [to, setTo] = useState("18:00");
  const [off, setOff] = useState(false);
  const form = useSubmit();
  const add = (event: FormEvent) => {
    event.preventDefault();
    void form.run(async () => {
      await unless((query) => write("post", "/v1/appraisers/{appraiser_id}/hours", { path: { appraiser_id: appraiser.id }, query, body: { ...(kind === "week" ? { weekday: Number(weekday) } : { day }), from_time: from, to_time: to, ...(off ? { off } : {}) } }));
      await refresh();
    });
  };
  const remove = async (id: string) => {
    await unless((query) => write("delete", "/v1/appraiser-hours/{appraiser_hours_id}", { path: { appraiser_hours_id: id }, query })).catch(tellProblem);
    await refresh();
  };
  const span = (h: Appraiser["hours"][number]) => (
    <Badge key={h.id} color={h.off ? "gray" : "ai"} variant={h.off ? "outline" : "light"} size="lg" fw={500} rightSection={<ActionIcon size={16} variant="transparent" color="gray" aria-label={`${t("common.remove")} ${h.from_time}–${h.to_time}`} onClick={() => void remove(h.id)}><IconX size={12} /></ActionIcon>} data-hours={`${h.weekday ?? h.day} ${h.from_time}-${h.to_time}`}>
      {h.from_time}–{h.to_time}{h.off && ` ${t("appraisers.off")}`}
    </Badge>
  );
  const own = appraiser.hours.filter((h) => h.day).sort((a, b) => (a.day as string).localeCompare(b.day as string));
  return (
    <section className="sheet">
      {dialog}
      <div className="heading"><h2 style={{ all: "unset" }}>{t("appraisers.hours", { name: appraiser.display_name })}</h2></div>
      <div className="pad faint" style={{ fontSize: 13 }}>{t("appraisers.hoursAbout")}</div>
      <dl className="pairs pad" style={{ rowGap: 6, alignItems: "center" }}>
        {days.week.map((d) => {
          const of = appraiser.hours.filter((h) => h.weekday === d).sort((a, b) => a.from_time.localeCompare(b.from_time));
          return [<dt key={d}>{days.name(d)}</dt>, <dd key={`${d}-`}><Group gap={5}>{of.map(span)}{of.length === 0 && <span className="faint">{t("appraisers.noHours")}</span>}</Group></dd>];
        })}
        {[...new Set(own.map((h) => h.day as string))].map((d) => [<dt key={d} className="mono">{d}</dt>, <dd key={`${d}-`}><Group gap={5}>{own.filter((h) => h.day === d).map(span)}</Group></dd>])}
      </dl>
      <form className="pad" style={{ borderTop: "1px solid var(--line)" }} onSubmit={add}>
        <Stack gap="xs">
          <ProblemAlert error={form.error} shown={["/weekday", "/day", "/from_time", "/to_time"]} />
          <Group align="end" gap="xs">
            <SegmentedControl aria-label={t("appraisers.which")} value={kind} onChange={(v) => setKind(v as typeof kind)} data={[{ value: "week", label: t("appraisers.weekly") }, { value: "day", label: t("appraisers.oneDay") }]} />
            {kind === "week"
              ? <NativeSelect label={t("appraisers.weekday")} value={weekday} onChange={(e) => setWeekday(e.currentTarget.value)} data={days.week.map((d) => ({ value: String(d), label: days.name(d) }))} error={form.at("/weekday")} name="weekday" />
              : <TextInput type="date" label={t("visits.day")} required value={day} onChange={(e) => setDay(e.currentTarget.value)} error={form.at("/day")} name="day" />}
            <TextInput type="time" label={t("rules.hoursFrom")} required value={from} onChange={(e) => setFrom(e.currentTarget.value)} error={form.at("/from_time")} name="from_time" />
            <TextInput type="time" label={t("rules.hoursTo")} required value={to} onChange={(e) => setTo(e.currentTarget.value)} error={form.at("/to_time")} name="to_time" />
            <Checkbox label={t("appraisers.off")} checked={off} onChange={(e) => setOff(e.currentTarget.checked)} pb={7} />
            <Button type="submit" loading={form.busy}>{t("common.add")}</Button>
          </Group>
        </Stack>
      </form>
    </section>
  );
}

export function AppraisersSection() {
  const { t } = useTranslation();
  const names = useNames();
  const areas = useAreas();
  const teams = useTeams();
  const users = useUsers();
  const [editing, setEditing] = useState<{ appraiser?: Appraiser }>();
  const [shown, setShown] = useState<string>();
  const { unless, dialog } = useDespiteVisits();
  const pages = usePages(["appraisers", "settings"], (cursor) => read("/v1/appraisers", { query: { limit: 50, cursor } }));
  const { rows } = pages;
  const current = rows.find((a) => a.id === shown) ?? rows[0];
  const areaName = (id: string) => areas.data?.find((a) => a.id === id)?.name ?? "";
  return (
    <div className="halves">
      <Listing title={t("settings.appraisers")} about={t("appraisers.about")} add={() => setEditing({})} addLabel={t("appraisers.new")} pages={pages} empty={t("appraisers.empty")}
        head={[t("common.name"), t("appraisers.skills"), t("appraisers.areas"), ""]}>
        {rows.map((a) => (
          <Table.Tr key={a.id} data-appraiser={a.display_name} bg={current?.id === a.id ? "light-dark(#eef3f9, #26313d)" : undefined}>
            <Table.Td><button type="button" className="link" aria-pressed={current?.id === a.id} onClick={() => setShown(a.id)}>{a.display_name}</button>{!a.active && <> <Badge color="gray">{t("admin.inactive")}</Badge></>}</Table.Td>
            <Table.Td>{a.skills.map((s) => names.category(s)).filter(Boolean).join("、") || <span className="faint">{t("appraisers.anySkill")}</span>}</Table.Td>
            <Table.Td>{a.area_ids.map(areaName).filter(Boolean).join("、") || <span className="faint">{t("appraisers.noArea")}</span>}</Table.Td>
            <Table.Td ta="right"><Button size="compact-xs" variant="default" onClick={() => setEditing({ appraiser: a })}>{t("common.edit")}</Button></Table.Td>
          </Table.Tr>
        ))}
      </Listing>
      {dialog}
      {current ? <Hours key={current.id} appraiser={current} /> : <div />}
      {editing && (
        <RecordForm title={editing.appraiser ? t("common.edit") : t("appraisers.new")} record={editing.appraiser as never} initial={{ active: true }} close={() => setEditing(undefined)}
          fields={[
            { name: "display_name", label: t("common.name"), kind: "text", required: true },
            { name: "user_id", label: t("appraisers.user"), hint: t("appraisers.userHint"), kind: "choice", options: (users.data ?? []).filter((u) => u.active).map((u) => ({ value: u.id, label: `${u.display_name}（${u.login}）` })) },
            { name: "area_ids", label: t("appraisers.areas"), kind: "many", options: (areas.data ?? []).map((a) => ({ value: a.id, label: a.name })) },
            { name: "skills", label: t("appraisers.skills"), hint: t("appraisers.skillsHint"), kind: "many", options: names.categories.map((c) => ({ value: c.id, label: names.category(c.id) })) },
            { name: "team_id", label: t("admin.team"), kind: "choice", options: (teams.data ?? []).map((x) => ({ value: x.id, label: x.name })) },
            { name: "active", label: t("appraisers.active"), kind: "check" },
          ]}
          save={async (body, version) => {
            const id = editing.appraiser?.id ?? "";
            const saved = editing.appraiser
              ? await unless((query) => write("patch", "/v1/appraisers/{appraiser_id}", { path: { appraiser_id: id }, query, body: body as never, version }))
              : await write("post", "/v1/appraisers", { body: { active: false, ...body } as never });
            setShown(saved.id);
            await refresh();
          }}
          reload={async () => (editing.appraiser ? ((await read("/v1/appraisers/{appraiser_id}", { path: { appraiser_id: editing.appraiser.id } })) as never) : undefined)} />
      )}
    </div>
  );
}

import { Badge, Button, Group, Modal, Progress, Stack, Table, Textarea } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Fragment, useState } from "react";
import { useTranslation } from "react-i18next";
import { read, type Schemas, write } from "../api/client";
import { stale } from "../cache";
import { fieldName, fieldSentence, label, sentence } from "../i18n";
import { useKeys } from "../keyboard";
import { More, usePages } from "../parts/pages";
import { FormModal, useSubmit } from "../parts/form";
import { ProblemAlert } from "../parts/problem";
import { useMay } from "../session";
import { fullMoment, moment } from "../time";
import { Candidates } from "./candidates";

type Domain = Schemas["TakeoverDomain"];
type Move = Schemas["TakeoverMove"];
type Reject = Schemas["TakeoverReject"];
const stateColor: Record<string, string> = { LOCAL: "gray", LEGACY: "blue", SWITCHING: "orange", OWNED: "green", REVERTING: "orange" };
const steps: Record<Move["kind"], string[]> = {
  SWITCH: ["PREFLIGHT", "GATE", "FENCE", "DRAIN", "DIFF", "SEAL", "OWN", "RELEASED"],
  REVERT: ["PREFLIGHT", "REVERSE_GATE", "REVERSE_DRAIN", "RETURN", "UNFENCE", "RELEASED"],
  COMPLETE: ["PREFLIGHT", "COMPLETE", "DROP"], UNLOCK: ["PREFLIGHT"], ABANDON: ["PREFLIGHT"],
};

const bytes = (n: number) => (n < 1024 ? `${n} B` : n < 1 << 20 ? `${(n / 1024).toFixed(1)} KiB` : n < 1 << 30 ? `${(n / 2 ** 20).toFixed(1)} MiB` : `${(n / 2 ** 30).toFixed(1)} GiB`);
const span = (seconds: number) => (seconds < 60 ? `${Math.ceil(seconds)} s` : seconds < 3600 ? `${Math.ceil(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`);
const millis = (ms: number) => (ms < 1000 ? `${ms} ms` : span(ms / 1000));
const shown = (value: unknown) => (value === null || value === undefined ? "∅" : typeof value === "string" ? `"${value}"` : JSON.stringify(value));
/** Why a move was given up, in the user's language where it has a sentence for it. */
const why = (move: Move) => {
  const { code, detail } = move.detail as { code?: string; detail?: string };
  return code ? sentence(code, detail ?? code) : (detail ?? "");
};
const refresh = () => stale(["takeover"]);

/** One act at a time; how things stand is read again after it, whatever came of it. */
function useAct() {
  const form = useSubmit();
  const act = async (what: () => Promise<unknown>) => {
    const done = await form.run(what);
    await refresh();
    return done;
  };
  return { ...form, act };
}

function Copying({ domain }: { domain: Domain }) {
  const { t } = useTranslation();
  const copy = domain.copy;
  if (!copy?.started_at) return null;
  const part = copy.finished_at ? 100 : Math.min(100, (100 * copy.rows_done) / Math.max(1, copy.rows_estimate ?? copy.rows_done));
  return (
    <div>
      <Progress value={part} size="md" color={copy.finished_at ? "green" : "blue"} aria-label={`${t("takeover.copied")} ${part.toFixed(0)} %`} />
      <span style={{ fontSize: 11.5 }}>
        {copy.rows_done.toLocaleString()} / {(copy.rows_estimate ?? copy.rows_done).toLocaleString()}
        {!copy.finished_at && copy.seconds_left !== null && <> · {t("takeover.left", { span: span(copy.seconds_left) })}</>}
      </span>
    </div>
  );
}

function Domains({ items, chosen, choose }: { items: Domain[]; chosen?: string; choose: (domain: string) => void }) {
  const { t } = useTranslation();
  return (
    <section className="sheet">
      <div className="heading">{t("takeover.title")}</div>
      <Table>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>{t("takeover.domain")}</Table.Th><Table.Th>{t("takeover.owner")}</Table.Th><Table.Th>{t("takeover.mirror")}</Table.Th><Table.Th>{t("takeover.lag")}</Table.Th>
            <Table.Th w="22%">{t("takeover.copied")}</Table.Th><Table.Th>{t("takeover.rejects")}</Table.Th><Table.Th>{t("takeover.lastDiff")}</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {items.map((d, i) => (
            <Table.Tr key={d.domain} data-domain={d.domain} bg={d.domain === chosen ? "var(--mantine-primary-color-light)" : undefined}>
              <Table.Td>
                <Button variant="subtle" size="compact-sm" aria-pressed={d.domain === chosen} onClick={() => choose(d.domain)}>{i + 1}. {label("takeoverDomain", d.domain)}</Button>
              </Table.Td>
              <Table.Td><Badge color={stateColor[d.state] ?? "gray"}>{label("takeoverState", d.state)}</Badge> {d.state !== "LOCAL" && <span className="faint">{d.system}</span>}</Table.Td>
              <Table.Td>{d.mirror && <Badge variant="light" color={d.mirror.phase === "STOPPED" ? "red" : "blue"}>{label("takeoverPhase", d.mirror.phase)}</Badge>}</Table.Td>
              <Table.Td style={{ whiteSpace: "nowrap" }}>{d.mirror && d.state !== "LOCAL" && <>{bytes(d.mirror.lag_bytes)} · {millis(d.mirror.lag_ms)}</>}</Table.Td>
              <Table.Td><Copying domain={d} /></Table.Td>
              <Table.Td>{d.mirror && <Badge color={d.rejects_open > 0 ? "red" : "gray"} variant="light">{d.rejects_open}</Badge>}</Table.Td>
              <Table.Td title={fullMoment(d.last_diff?.started_at)}>{d.last_diff && <><Badge variant="light" color={d.last_diff.state === "CLEAN" ? "green" : d.last_diff.state === "RUNNING" ? "blue" : "red"}>{label("takeoverDiff", d.last_diff.state)}</Badge> <span className="faint">{moment(d.last_diff.started_at)}</span></>}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </section>
  );
}

function Steps({ move }: { move: Move }) {
  const { t } = useTranslation();
  const all = steps[move.kind];
  const at = all.indexOf(move.step);
  return (
    <ol aria-label={t("takeover.steps")} style={{ margin: 0, paddingInlineStart: 20, fontSize: 13 }}>
      {all.map((s, i) => {
        const done = move.state === "DONE" || i < at;
        const now = i === at && move.state !== "DONE";
        return <li key={s} aria-current={now ? "step" : undefined} style={{ fontWeight: now ? 700 : 400, color: done || now ? undefined : "var(--faint)" }}>{done ? "✓ " : now ? (move.state === "ABORTED" ? "✕ " : "▶ ") : ""}{label("takeoverStep", s)}</li>;
      })}
    </ol>
  );
}

/** The switch as a checklist with one button, and the button that stops it. */
function Switch({ domain, opened, close }: { domain: Domain; opened: boolean; close: () => void }) {
  const { t } = useTranslation();
  const { busy, error, act } = useAct();
  const stop = useAct();
  const [asked, setAsked] = useState(false);
  const path = { domain: domain.domain };
  const running = domain.last_move?.state === "RUNNING" ? domain.last_move : undefined;
  const moved = domain.state === "OWNED" && domain.last_move?.kind === "SWITCH";
  const ready = domain.checklist?.every((c) => c.ok) ?? false;
  return (
    <Modal opened={opened} onClose={close} title={t("takeover.switchTitle", { domain: label("takeoverDomain", domain.domain) })} size="lg" transitionProps={{ duration: 0 }}>
      <Stack gap="sm">
        {!moved && (
          <ul aria-label={t("takeover.checklist")} style={{ listStyle: "none", margin: 0, padding: 0 }}>
            {domain.checklist?.map((c) => (
              <li key={c.check} data-check={c.check} data-ok={c.ok} style={{ padding: "3px 0" }}>
                <span role="img" aria-label={c.ok ? t("common.yes") : t("common.no")} style={{ color: c.ok ? "#2f9e44" : "#c92a2a", fontWeight: 700 }}>{c.ok ? "✓" : "✕"}</span> {label("takeoverCheck", c.check)}
                {c.value && !c.ok && <span className="faint"> — {c.check === "LAG" ? bytes(Number(c.value)) : c.check === "DIFF_CLEAN" ? moment(c.value) : c.value}</span>}
              </li>
            ))}
          </ul>
        )}
        {!moved && <div className="warning">{t("takeover.switchHint")}</div>}
        {moved && <div role="status">{t("takeover.switched", { held: millis(domain.last_move?.held_ms ?? 0) })}</div>}
        {(running || moved) && domain.last_move && <Steps move={domain.last_move} />}
        {asked && domain.last_move?.state === "ABORTED" && <div className="warning" role="alert">{t("takeover.aborted")} {why(domain.last_move)}</div>}
        <ProblemAlert error={error} />
        <ProblemAlert error={stop.error} />
        <Group justify="flex-end">
          {running && <Button color="red" variant="outline" loading={stop.busy} onClick={() => void stop.act(() => write("post", "/v1/takeover/moves/{move_id}/abortion", { path: { move_id: running.id } }))}>{t("takeover.abort")}</Button>}
          <Button variant="default" onClick={close}>{t("common.close")}</Button>
          {!moved && <Button data-switch disabled={!ready || Boolean(running)} loading={busy} onClick={() => void act(() => write("post", "/v1/takeover/domains/{domain}/switch", { path })).then(() => setAsked(true))}>{t("takeover.switch")}</Button>}
        </Group>
      </Stack>
    </Modal>
  );
}

/** A move that is under way, whoever began it: where it stands, and the button that stops it while it can be stopped. */
function Running({ move }: { move: Move }) {
  const { t } = useTranslation();
  const may = useMay();
  const stop = useAct();
  const stoppable = (move.kind === "SWITCH" || move.kind === "REVERT") && may("abort_takeover_move");
  return (
    <section className="sheet" aria-label={t("takeover.running")}>
      <div className="heading">{t("takeover.running")}: {label("takeoverMove", move.kind)}</div>
      <Stack gap="sm" className="pad">
        <Steps move={move} />
        <ProblemAlert error={stop.error} />
        {stoppable && <Group><Button size="compact-sm" color="red" variant="outline" loading={stop.busy} onClick={() => void stop.act(() => write("post", "/v1/takeover/moves/{move_id}/abortion", { path: { move_id: move.id } }))}>{t("takeover.abort")}</Button></Group>}
      </Stack>
    </section>
  );
}

function Confirmed({ opened, close, text, button, color, act }: { opened: boolean; close: () => void; text: string; button: string; color: string; act: () => Promise<unknown> }) {
  const one = useAct();
  if (!opened) return null;
  return <FormModal form={one} title={button} label={button} color={color} about={text} close={close} submit={() => one.act(act).then((done) => done && close())} />;
}

function RejectRow({ reject }: { reject: Reject }) {
  const { t } = useTranslation();
  const may = useMay();
  const [accepting, setAccepting] = useState(false);
  const [reason, setReason] = useState("");
  const { busy, error, at, act } = useAct();
  const path = { reject_id: String(reject.id) };
  return (
    <Table.Tr data-reject={reject.legacy_key}>
      <Table.Td><b>{reject.legacy_key}</b><div className="faint" style={{ fontSize: 11.5 }}>{moment(reject.last_at)} · {t("takeover.attempts", { count: reject.attempts })}</div></Table.Td>
      <Table.Td>
        <span title={reject.detail}>{sentence(reject.code, fieldSentence(reject.code, reject.detail))}</span> <span className="faint">{reject.code}</span>
        {reject.code === "FORWARD_FAILED" && <div style={{ fontSize: 12 }}>{reject.detail}</div>}
        {reject.errors.filter((e) => e.pointer).map((e) => <div key={e.pointer + e.code} style={{ fontSize: 12 }}>{fieldName(e.pointer)} <code className="faint">{e.pointer}</code>: {fieldSentence(e.code, e.detail)}</div>)}
        {reject.reason && <div className="faint">{t("common.reason")}: {reject.reason} ({reject.decided_by})</div>}
        {reject.content !== null && <details><summary className="faint">{t("takeover.content")}</summary><pre style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere", fontSize: 12, margin: 0 }}>{JSON.stringify(reject.content, null, 1)}</pre></details>}
        <ProblemAlert error={error} shown={["/reason"]} />
      </Table.Td>
      <Table.Td w={300}>
        {accepting ? (
          <form onSubmit={(e) => { e.preventDefault(); void act(() => write("post", "/v1/takeover/rejects/{reject_id}/acceptance", { path, body: { reason } })).then((done) => done && setAccepting(false)); }}>
            <Textarea label={t("takeover.acceptReason")} value={reason} onChange={(e) => setReason(e.currentTarget.value)} error={at("/reason")} autosize data-autofocus autoFocus />
            <Group gap={6} mt={6}><Button type="submit" size="compact-sm" loading={busy} disabled={!reason.trim()}>{t("takeover.accept")}</Button><Button size="compact-sm" variant="default" onClick={() => setAccepting(false)}>{t("common.cancel")}</Button></Group>
          </form>
        ) : (
          <Group gap={6}>
            {may("retry_takeover_reject") && <Button size="compact-sm" variant="default" loading={busy} onClick={() => void act(() => write("post", "/v1/takeover/rejects/{reject_id}/retry", { path }))}>{t("takeover.retry")}</Button>}
            {may("accept_takeover_reject") && reject.state === "OPEN" && <Button size="compact-sm" variant="default" onClick={() => setAccepting(true)}>{t("takeover.accept")}</Button>}
          </Group>
        )}
      </Table.Td>
    </Table.Tr>
  );
}

function Alarm({ alarm }: { alarm: Schemas["TakeoverAlarm"] }) {
  const { t } = useTranslation();
  const may = useMay();
  const { busy, error, act } = useAct();
  return (
    <div className="warning" role="alert" data-alarm={alarm.kind}>
      <Group justify="space-between">
        <span>{label("takeoverAlarm", alarm.kind)} <span style={{ fontWeight: 400 }}>× {alarm.times} · {moment(alarm.last_at)} · <code>{JSON.stringify(alarm.detail)}</code></span></span>
        {may("acknowledge_takeover_alarm") && <Button size="compact-xs" variant="default" loading={busy} onClick={() => void act(() => write("post", "/v1/takeover/alarms/{alarm_id}/acknowledgement", { path: { alarm_id: String(alarm.id) } }))}>{t("takeover.acknowledge")}</Button>}
      </Group>
      <ProblemAlert error={error} />
    </div>
  );
}

function Rejects({ domain }: { domain: string }) {
  const { t } = useTranslation();
  const [state, setState] = useState<Reject["state"]>("OPEN");
  const pages = usePages(["takeover", domain, "rejects", state], (cursor) => read("/v1/takeover/domains/{domain}/rejects", { path: { domain }, query: { state, limit: 50, cursor } }));
  const { rows } = pages;
  return (
    <section className="sheet" aria-label={t("takeover.rejects")}>
      <div className="heading">
        {t("takeover.rejects")}
        <Group gap={4}>{(["OPEN", "ACCEPTED", "FIXED"] as const).map((s) => <Button key={s} size="compact-xs" variant={s === state ? "filled" : "default"} aria-pressed={s === state} onClick={() => setState(s)}>{label("takeoverReject", s)}</Button>)}</Group>
      </div>
      <ProblemAlert error={pages.error} retry={pages.retry} />
      {pages.none && <div className="pad faint">{t("common.none")}</div>}
      <Table><Table.Tbody>{rows.map((r) => <RejectRow key={r.id} reject={r} />)}</Table.Tbody></Table>
      <More pages={pages} />
    </section>
  );
}

function Differences({ run }: { run: string }) {
  const { t } = useTranslation();
  const pages = usePages(["takeover", "differences", run], (cursor) => read("/v1/takeover/diffs/{diff_id}/differences", { path: { diff_id: run }, query: { limit: 50, cursor } }));
  const { rows } = pages;
  return (
    <>
      <ProblemAlert error={pages.error} retry={pages.retry} />
      <Table>
        <Table.Thead><Table.Tr><Table.Th>{t("takeover.key")}</Table.Th><Table.Th>{t("takeover.field")}</Table.Th><Table.Th>{t("takeover.here")}</Table.Th><Table.Th>{t("takeover.there")}</Table.Th></Table.Tr></Table.Thead>
        <Table.Tbody>
          {rows.map((r) => (
            <Table.Tr key={r.legacy_key + r.pointer} data-difference={r.legacy_key + r.pointer}>
              <Table.Td>{r.legacy_key}</Table.Td><Table.Td><code>{r.pointer || t("takeover.whole")}</code></Table.Td>
              <Table.Td className="diff-here" style={{ overflowWrap: "anywhere" }}>{shown(r.here)}</Table.Td><Table.Td className="diff-there" style={{ overflowWrap: "anywhere" }}>{shown(r.there)}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      <More pages={pages} />
    </>
  );
}

function Diffs({ domain, start, repair }: { domain: string; start: ReturnType<typeof useAct> & { begin: () => void }; repair: () => void }) {
  const { t } = useTranslation();
  const may = useMay();
  const [open, setOpen] = useState<string>();
  const list = useQuery({ queryKey: ["takeover", domain, "diffs"], queryFn: () => read("/v1/takeover/domains/{domain}/diffs", { path: { domain }, query: { limit: 10 } }), refetchInterval: (q) => (q.state.data?.items.some((d) => d.state === "RUNNING") ? 1000 : 5000) });
  const ended = list.data?.items.find((d) => d.state === "CLEAN" || d.state === "DIFFERENT");
  return (
    <section className="sheet" aria-label={t("takeover.diffs")}>
      <div className="heading">{t("takeover.diffs")}{may("start_takeover_diff") && <Button size="compact-xs" loading={start.busy} onClick={start.begin}>{t("takeover.startDiff")}</Button>}</div>
      <ProblemAlert error={start.error ?? list.error} />
      {list.data?.items.length === 0 && <div className="pad faint">{t("common.none")}</div>}
      <Table>
        <Table.Tbody>
          {list.data?.items.map((d) => (
            <Fragment key={d.id}>
              <Table.Tr>
                <Table.Td title={fullMoment(d.started_at)}>{moment(d.started_at)}</Table.Td>
                <Table.Td><Badge variant="light" color={d.state === "CLEAN" ? "green" : d.state === "RUNNING" ? "blue" : "red"}>{label("takeoverDiff", d.state)}</Badge></Table.Td>
                <Table.Td>{t("takeover.compared", { records: d.records.toLocaleString(), differences: d.differences.toLocaleString() })}</Table.Td>
                <Table.Td>{d.state === "DIFFERENT" && d.id === ended?.id && may("start_takeover_repair") && <Button size="compact-xs" color="orange" variant="outline" mr={6} onClick={repair}>{t("takeover.repair")}</Button>}{d.differences > 0 && <Button size="compact-xs" variant="default" aria-expanded={open === d.id} onClick={() => setOpen(open === d.id ? undefined : d.id)}>{t("takeover.showDifferences")}</Button>}</Table.Td>
              </Table.Tr>
              {open === d.id && <Table.Tr><Table.Td colSpan={4}><Differences run={d.id} /></Table.Td></Table.Tr>}
            </Fragment>
          ))}
        </Table.Tbody>
      </Table>
    </section>
  );
}

function Moves({ domain }: { domain: string }) {
  const { t } = useTranslation();
  const list = useQuery({ queryKey: ["takeover", domain, "moves"], queryFn: () => read("/v1/takeover/domains/{domain}/moves", { path: { domain }, query: { limit: 10 } }), refetchInterval: (q) => (q.state.data?.items.some((m) => m.state === "RUNNING") ? 1000 : 5000) });
  if (!list.data?.items.length) return null;
  return (
    <section className="sheet" aria-label={t("takeover.moves")}>
      <div className="heading">{t("takeover.moves")}</div>
      <Table>
        <Table.Tbody>
          {list.data.items.map((m) => (
            <Table.Tr key={m.id}>
              <Table.Td title={fullMoment(m.started_at)}>{moment(m.started_at)}</Table.Td>
              <Table.Td>{label("takeoverMove", m.kind)}</Table.Td>
              <Table.Td><Badge variant="light" color={m.state === "DONE" ? "green" : m.state === "RUNNING" ? "blue" : "red"}>{label("takeoverMoveState", m.state)}</Badge> <span className="faint">{label("takeoverStep", m.step)} {m.state === "ABORTED" && why(m)}</span></Table.Td>
              <Table.Td>{m.held_ms !== null && t("takeover.held", { held: millis(m.held_ms) })}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </section>
  );
}

export function TakeoverPage() {
  const { t } = useTranslation();
  const may = useMay();
  const [chosen, setChosen] = useState<string>();
  const [asking, setAsking] = useState<"switch" | "revert" | "complete" | "unlock" | "diff" | "repair" | "abandon">();
  const diff = useAct();
  const list = useQuery({ queryKey: ["takeover", "domains"], queryFn: () => read("/v1/takeover/domains"), refetchInterval: (q) => (q.state.data?.items.some((d) => d.last_move?.state === "RUNNING" || d.mirror?.phase === "COPYING") ? 500 : 2000) });
  const items = list.data?.items ?? [];
  const domain = items.find((d) => d.domain === chosen) ?? items.find((d) => d.mirror);
  const compare = (domain: string) => write("post", "/v1/takeover/domains/{domain}/diffs", { path: { domain } });
  const begin = () => {
    if (domain?.mirror) void diff.act(() => compare(domain.domain));
  };
  const switchable = domain?.state === "LEGACY" && may("switch_takeover_domain");
  useKeys({
    ...Object.fromEntries(items.slice(0, 9).map((d, i) => [String(i + 1), () => setChosen(d.domain)])),
    s: () => switchable && setAsking("switch"),
    d: () => domain?.mirror && may("start_takeover_diff") && setAsking("diff"),
  });
  return (
    <main className="page">
      <Stack gap="sm">
        <ProblemAlert error={list.error} retry={() => void list.refetch()} />
        {list.data && <Domains items={items} chosen={domain?.domain} choose={setChosen} />}
        {domain && !domain.mirror && <div className="sheet pad faint">{t("takeover.never")}</div>}
        {domain?.mirror && (
          <>
            {domain.mirror.phase === "STOPPED" && <div className="warning" role="alert">{t("takeover.stopped")} {domain.mirror.stop_detail} <span className="faint">{domain.mirror.stop_code}</span></div>}
            {domain.read_only && (
              <div className="warning" role="alert" data-read-only>
                <Group justify="space-between">
                  <span>{t("takeover.readOnly")} <span style={{ fontWeight: 400 }}>{domain.read_only}</span></span>
                  {may("unlock_takeover_domain") && <Button size="compact-xs" color="orange" variant="outline" onClick={() => setAsking("unlock")}>{t("takeover.unlock")}</Button>}
                </Group>
              </div>
            )}
            {domain.alarms.map((a) => <Alarm key={a.id} alarm={a} />)}
            <section className="sheet">
              <div className="heading">
                {label("takeoverDomain", domain.domain)} — {domain.system}
                <Group gap={6}>
                  {switchable && <Button size="compact-sm" onClick={() => setAsking("switch")}>{t("takeover.openSwitch")} (s)</Button>}
                  {domain.state === "LEGACY" && may("abandon_takeover_domain") && <Button size="compact-sm" color="red" variant="outline" onClick={() => setAsking("abandon")}>{t("takeover.abandon")}</Button>}
                  {domain.state === "OWNED" && may("revert_takeover_domain") && <Button size="compact-sm" color="orange" variant="outline" onClick={() => setAsking("revert")}>{t("takeover.revert")}</Button>}
                  {domain.state === "OWNED" && may("complete_takeover_domain") && <Button size="compact-sm" color="red" variant="outline" onClick={() => setAsking("complete")}>{t("takeover.complete")}</Button>}
                </Group>
              </div>
              <dl className="pairs pad">
                <dt>{t("takeover.owner")}</dt><dd>{label("takeoverState", domain.state)} (epoch {domain.epoch}) · {moment(domain.changed_at)}</dd>
                <dt>{t("takeover.lag")}</dt><dd>{bytes(domain.mirror.lag_bytes)} · {millis(domain.mirror.lag_ms)} · {domain.mirror.position} → {domain.mirror.source_position}</dd>
                {domain.copy && <><dt>{t("takeover.copied")}</dt><dd><Copying domain={domain} />{t("takeover.rate", { rows: domain.copy.rows_per_second.toLocaleString() })}</dd></>}
                {domain.foreign_keys.length > 0 && <><dt>{t("takeover.foreign")}</dt><dd data-foreign style={{ overflowWrap: "anywhere" }}>{domain.foreign_keys.map((k) => k.legacy_key).join(", ")}</dd></>}
                {domain.reverse_waiting > 0 && <><dt>{t("takeover.reverse")}</dt><dd>{domain.reverse_waiting.toLocaleString()}</dd></>}
              </dl>
            </section>
            {domain.last_move?.state === "RUNNING" && asking !== "switch" && <Running key={domain.last_move.id} move={domain.last_move} />}
            <Rejects key={`r${domain.domain}`} domain={domain.domain} />
            <Diffs key={`d${domain.domain}`} domain={domain.domain} start={{ ...diff, begin }} repair={() => setAsking("repair")} />
            {domain.domain === "customer" && may("list_merge_candidates") && <Candidates />}
            <Moves domain={domain.domain} />
            <Switch domain={domain} opened={asking === "switch"} close={() => setAsking(undefined)} />
            <Confirmed opened={asking === "diff"} close={() => setAsking(undefined)} text={t("takeover.diffHint", { system: domain.system })} button={t("takeover.compare")} color="blue" act={() => compare(domain.domain)} />
            <Confirmed opened={asking === "repair"} close={() => setAsking(undefined)} text={t(domain.state === "OWNED" ? "takeover.repairThere" : "takeover.repairHere", { system: domain.system })} button={t("takeover.repair")} color="orange" act={() => write("post", "/v1/takeover/domains/{domain}/repairs", { path: { domain: domain.domain } })} />
            <Confirmed opened={asking === "abandon"} close={() => setAsking(undefined)} text={t("takeover.abandonHint", { system: domain.system })} button={t("takeover.abandon")} color="red" act={() => write("post", "/v1/takeover/domains/{domain}/abandonment", { path: { domain: domain.domain } })} />
            <Confirmed opened={asking === "revert"} close={() => setAsking(undefined)} text={t("takeover.revertHint", { system: domain.system })} button={t("takeover.revert")} color="orange" act={() => write("post", "/v1/takeover/domains/{domain}/reversion", { path: { domain: domain.domain } })} />
            <Confirmed opened={asking === "unlock"} close={() => setAsking(undefined)} text={t("takeover.unlockHint", { system: domain.system })} button={t("takeover.unlock")} color="orange" act={() => write("post", "/v1/takeover/domains/{domain}/unlocking", { path: { domain: domain.domain } })} />
            <Confirmed opened={asking === "complete"} close={() => setAsking(undefined)} text={t("takeover.completeHint", { system: domain.system })} button={t("takeover.complete")} color="red" act={() => write("post", "/v1/takeover/domains/{domain}/completion", { path: { domain: domain.domain } })} />
          </>
        )}
      </Stack>
    </main>
  );
}

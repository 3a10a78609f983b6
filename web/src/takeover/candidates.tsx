import { Button, Group, Table } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { read, type Schemas, write } from "../api/client";
import { stale } from "../cache";
import { label } from "../i18n";
import { More, usePages } from "../parts/pages";
import { FormModal, useSubmit } from "../parts/form";
import { ProblemAlert } from "../parts/problem";
import { useMay } from "../session";
import { moment } from "../time";

type Candidate = Schemas["MergeCandidate"];
type Side = Schemas["MergeSide"];

function Person({ side, keep, busy }: { side: Side; keep?: () => void; busy: boolean }) {
  const { t } = useTranslation();
  return (
    <Table.Td style={{ overflowWrap: "anywhere", verticalAlign: "top" }} data-side={side.id}>
      <div><Link to="/customers/$customerId" params={{ customerId: side.id }}>{side.display_name}</Link> <span className="faint">{side.kana}</span> {side.hidden && <span className="faint">({t("candidates.hidden")})</span>}</div>
      {[side.birth_date, ...side.phones, ...side.addresses, ...side.emails, side.notes].filter(Boolean).map((line, i) => <div key={i}>{line}</div>)}
      <div className="faint">{side.legacy_keys.map((k) => `${k.system} ${k.legacy_key}`).join(" · ") || t("candidates.madeHere")} · {t("candidates.inquiries", { count: side.inquiries })}</div>
      {keep && <Button mt={4} size="compact-xs" loading={busy} onClick={keep}>{t("candidates.keep")}</Button>}
    </Table.Td>
  );
}

function Pair({ pair }: { pair: Candidate }) {
  const { t } = useTranslation();
  const may = useMay();
  const [keeping, setKeeping] = useState<Side>();
  const form = useSubmit();
  const { busy, error, setError } = form;
  const act = (work: () => Promise<unknown>) =>
    form.run(async () => {
      await work();
      setKeeping(undefined);
      await stale(["merge-candidates"], ["customer"]);
    });
  const path = { candidate_id: pair.id };
  const open = pair.state === "OPEN";
  return (
    <>
      <Table.Tr data-candidate={pair.id}>
        {pair.customers.map((side) => (
          <Person key={side.id} side={side} busy={busy} keep={open && may("merge_customers") ? () => { setError(undefined); setKeeping(side); } : undefined} />
        ))}
        <Table.Td style={{ verticalAlign: "top" }}>
          <div className="faint">{pair.reasons.map((r) => label("mergeReason", r)).join(" · ")}</div>
          {open && may("separate_customers") && <Button size="compact-xs" variant="default" loading={busy} onClick={() => void act(() => write("post", "/v1/merge-candidates/{candidate_id}/separation", { path }))}>{t("candidates.different")}</Button>}
          {!open && pair.decided_at && <div className="faint">{pair.decided_by} · {moment(pair.decided_at)}</div>}
        </Table.Td>
      </Table.Tr>
      {keeping && (
        <FormModal form={form} name="merge" title={t("candidates.keep")} label={t("candidates.keep")} color="orange" close={() => setKeeping(undefined)} submit={() => act(() => write("post", "/v1/merge-candidates/{candidate_id}/merger", { path, body: { keep: keeping.id } }))}
          about={t("candidates.keepHint", { kept: keeping.display_name, other: pair.customers.find((side) => side.id !== keeping.id)?.display_name ?? "" })} />
      )}
      {error !== undefined && !keeping && <Table.Tr><Table.Td colSpan={3}><ProblemAlert error={error} /></Table.Td></Table.Tr>}
    </>
  );
}

/** Pairs of customers who may be one person, each side by side. */
export function Candidates() {
  const { t } = useTranslation();
  const [state, setState] = useState<Candidate["state"]>("OPEN");
  const pages = usePages(["merge-candidates", state], (cursor) => read("/v1/merge-candidates", { query: { state, limit: 20, cursor } }));
  const { rows } = pages;
  return (
    <section className="sheet" aria-label={t("candidates.title")}>
      <div className="heading">
        {t("candidates.title")}
        <Group gap={4}>{(["OPEN", "MERGED", "DIFFERENT"] as const).map((s) => <Button key={s} size="compact-xs" variant={s === state ? "filled" : "default"} aria-pressed={s === state} onClick={() => setState(s)}>{label("mergeState", s)}</Button>)}</Group>
      </div>
      <ProblemAlert error={pages.error} retry={pages.retry} />
      {pages.none && <div className="pad faint">{t("common.none")}</div>}
      <Table><Table.Tbody>{rows.map((p) => <Pair key={p.id} pair={p} />)}</Table.Tbody></Table>
      <More pages={pages} />
    </section>
  );
}

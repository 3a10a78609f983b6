import { Button, Group, Modal, Stack, Table } from "@mantine/core";
import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { read, type Schemas, write } from "../api/client";
import { cache } from "../cache";
import { label } from "../i18n";
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
  const [busy, setBusy] = useState(false);
  const [keeping, setKeeping] = useState<Side>();
  const [error, setError] = useState<unknown>();
  const act = async (work: () => Promise<unknown>) => {
    setBusy(true);
    setError(undefined);
    try {
      await work();
      setKeeping(undefined);
      await Promise.all([cache.invalidateQueries({ queryKey: ["merge-candidates"] }), cache.invalidateQueries({ queryKey: ["customer"] })]);
    } catch (failed) {
      setError(failed);
    } finally {
      setBusy(false);
    }
  };
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
        <Modal opened onClose={() => setKeeping(undefined)} title={t("candidates.keep")} transitionProps={{ duration: 0 }}>
          <Stack gap="sm">
            <div>{t("candidates.keepHint", { kept: keeping.display_name, other: pair.customers.find((side) => side.id !== keeping.id)?.display_name ?? "" })}</div>
            <ProblemAlert error={error} />
            <Group justify="flex-end">
              <Button variant="default" onClick={() => setKeeping(undefined)}>{t("common.cancel")}</Button>
              <Button color="orange" loading={busy} data-merge onClick={() => void act(() => write("post", "/v1/merge-candidates/{candidate_id}/merger", { path, body: { keep: keeping.id } }))}>{t("candidates.keep")}</Button>
            </Group>
          </Stack>
        </Modal>
      )}
      {error !== undefined && !keeping && <Table.Tr><Table.Td colSpan={3}><ProblemAlert error={error} /></Table.Td></Table.Tr>}
    </>
  );
}

/** Pairs of customers who may be one person, each side by side. */
export function Candidates() {
  const { t } = useTranslation();
  const [state, setState] = useState<Candidate["state"]>("OPEN");
  const pages = useInfiniteQuery({
    queryKey: ["merge-candidates", state],
    initialPageParam: undefined as string | undefined,
    queryFn: ({ pageParam }) => read("/v1/merge-candidates", { query: { state, limit: 20, cursor: pageParam } }),
    getNextPageParam: (last) => last.next_cursor ?? undefined,
  });
  const rows = pages.data?.pages.flatMap((p) => p.items) ?? [];
  return (
    <section className="sheet" aria-label={t("candidates.title")}>
      <div className="heading">
        {t("candidates.title")}
        <Group gap={4}>{(["OPEN", "MERGED", "DIFFERENT"] as const).map((s) => <Button key={s} size="compact-xs" variant={s === state ? "filled" : "default"} aria-pressed={s === state} onClick={() => setState(s)}>{label("mergeState", s)}</Button>)}</Group>
      </div>
      <ProblemAlert error={pages.error} retry={() => void pages.refetch()} />
      {pages.data && rows.length === 0 && <div className="pad faint">{t("common.none")}</div>}
      <Table><Table.Tbody>{rows.map((p) => <Pair key={p.id} pair={p} />)}</Table.Tbody></Table>
      {pages.hasNextPage && <div className="pad"><Button variant="default" onClick={() => void pages.fetchNextPage()}>{t("common.more")}</Button></div>}
    </section>
  );
}

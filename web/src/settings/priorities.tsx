import { Badge, Table } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { read, type Schemas, write } from "../api/client";
import { stale } from "../cache";
import { label } from "../i18n";
import { useNames } from "../parts/customer";
import { useMay } from "../session";
import { fullMoment } from "../time";
import { Listing, RecordForm } from "./record";

const kinds = ["FIRST_CALL", "CALLBACK", "PRE_VISIT", "NURTURE", "FOLLOW_UP"];

export function PrioritiesSection() {
  const { t } = useTranslation();
  const may = useMay();
  const names = useNames();
  const [adding, setAdding] = useState(false);
  const rules = useQuery({ queryKey: ["priority-rules"], queryFn: () => read("/v1/priority-rules") });
  const all = rules.data?.items ?? [];
  const now = Date.now();
  const order = (a: Schemas["PriorityRule"], b: Schemas["PriorityRule"]) => b.priority - a.priority || Date.parse(b.effective_from) - Date.parse(a.effective_from);
  const inForce = all.filter((r) => r.in_force).sort(order);
  const other = all.filter((r) => !r.in_force).sort((a, b) => Date.parse(b.effective_from) - Date.parse(a.effective_from));
  const rowsOf = (rows: typeof all, ranked: boolean) =>
    rows.map((r, i) => (
      <Table.Tr key={r.id} data-rule={`${r.kind} ${r.priority}`}>
        <Table.Td w={60}>{ranked ? i + 1 : <Badge color={Date.parse(r.effective_from) > now ? "orange" : "gray"}>{t(Date.parse(r.effective_from) > now ? "priorities.toCome" : "priorities.past")}</Badge>}</Table.Td>
        <Table.Td>{label("taskKind", r.kind)}</Table.Td>
        <Table.Td>{r.media_source_id ? names.media(r.media_source_id) : <span className="faint">{t("priorities.everyMedia")}</span>}</Table.Td>
        <Table.Td className="mono"><b>{r.priority}</b></Table.Td>
        <Table.Td>{fullMoment(r.effective_from)}</Table.Td>
      </Table.Tr>
    ));
  const head = [t("priorities.order"), t("priorities.kind"), t("inquiry.media"), t("priorities.priority"), t("rules.from")];
  return (
    <>
      <Listing title={t("settings.priorities")} about={t("priorities.about")} add={may("create_priority_rule") ? () => setAdding(true) : undefined} addLabel={t("priorities.new")} error={rules.error} retry={() => void rules.refetch()} empty={rules.data?.items.length === 0 && t("priorities.empty")} head={head}>
        {rowsOf(inForce, true)}
      </Listing>
      {other.length > 0 && <div style={{ marginTop: 12 }}><Listing title={t("priorities.others")} head={["", ...head.slice(1)]}>{rowsOf(other, false)}</Listing></div>}
      {adding && (
        <RecordForm title={t("priorities.new")} about={t("priorities.hint")} close={() => setAdding(false)} initial={{ kind: "FIRST_CALL", priority: 500 }}
          fields={[
            { name: "kind", label: t("priorities.kind"), kind: "choice", required: true, options: kinds.map((k) => ({ value: k, label: label("taskKind", k) })) },
            { name: "media_source_id", label: t("inquiry.media"), hint: t("priorities.mediaHint"), kind: "choice", options: names.mediaSources.map((m) => ({ value: m.id, label: m.name })) },
            { name: "priority", label: t("priorities.priority"), hint: t("priorities.priorityHint"), kind: "number", min: 0, max: 1000, required: true },
            { name: "effective_from", label: t("rules.from"), hint: t("rules.fromHint"), kind: "moment" },
          ]}
          save={async (body) => {
            await write("post", "/v1/priority-rules", { body: body as never });
            await stale(["priority-rules"]);
          }} />
      )}
    </>
  );
}

import { Badge, Button, Table } from "@mantine/core";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { read, type Schemas, write } from "../api/client";
import { usePages } from "../parts/pages";
import { stale } from "../cache";
import i18n, { label } from "../i18n";
import { useMay } from "../session";
import { fullMoment } from "../time";
import { type Field, Listing, RecordForm } from "./record";

type Rule = Schemas["Rule"];
/** Those that the API changes, and the shape of their values. */
const changeable = { contact_hours: "hours", pre_visit_call_at: "time", business_time_zone: "zone", first_call_seconds: "seconds", task_lease_seconds: "seconds", call_lease_seconds: "seconds", inbound_call_seconds: "seconds", appointment_hold_seconds: "seconds" } as const;
type Name = keyof typeof changeable;

export const ruleText = (value: unknown) =>
  value && typeof value === "object" && "from" in value && "to" in value ? `${String(value.from)}–${String(value.to)}` : typeof value === "string" ? value : JSON.stringify(value);

/** Why it is so, as who set it said; what came with the program is said in the user's language. */
export const ruleSource = (rule: Rule) => (rule.added_by.startsWith("user:") ? rule.source : i18n.t("rules.builtIn"));

function ChangeRule({ rule, close }: { rule: Rule; close: () => void }) {
  const { t } = useTranslation();
  const shape = changeable[rule.name as Name];
  const hours = rule.value as { from?: string; to?: string };
  const value: Field[] =
    shape === "hours"
      ? [{ name: "from", label: t("rules.hoursFrom"), kind: "time", required: true }, { name: "to", label: t("rules.hoursTo"), kind: "text", hint: t("rules.hoursHint"), required: true }]
      : shape === "seconds"
        ? [{ name: "value", label: label("rule", rule.name), kind: "number", min: 1, max: 99_999, required: true }]
        : [{ name: "value", label: label("rule", rule.name), kind: shape === "time" ? "time" : "code", required: true }];
  return (
    <RecordForm title={t("rules.changeOf", { rule: label("rule", rule.name) })} about={label("ruleHint", rule.name)} close={close}
      initial={shape === "hours" ? { from: hours.from, to: hours.to } : { value: rule.value }}
      fields={[
        ...value,
        { name: "effective_from", label: t("rules.from"), hint: t("rules.fromHint"), kind: "moment" },
        { name: "source", label: t("rules.source"), hint: t("rules.sourceHint"), kind: "text", required: true },
      ]}
      save={async (body) => {
        const { from, to, value: one, effective_from, source } = body as Record<string, string>;
        await write("post", "/v1/rules", { body: { name: rule.name as Name, value: shape === "hours" ? { from, to } : one, source: source ?? "", ...(effective_from ? { effective_from } : {}) } as never });
        await stale(["rules"]);
      }} />
  );
}

export function RulesSection() {
  const { t } = useTranslation();
  const may = useMay();
  const [changing, setChanging] = useState<Rule>();
  const pages = usePages(["rules", "all"], (cursor) => read("/v1/rules", { query: { limit: 200, cursor } }));
  const all = pages.rows;
  const row = (r: Rule) => (
    <Table.Tr key={r.name + r.effective_from} data-rule={r.name}>
      <Table.Td>{label("rule", r.name)}{r.in_force && <div className="faint" style={{ fontSize: 12 }}>{label("ruleHint", r.name)}</div>}</Table.Td>
      <Table.Td className="mono" style={{ whiteSpace: "nowrap" }}><b>{ruleText(r.value)}</b></Table.Td>
      <Table.Td>{fullMoment(r.effective_from)}</Table.Td>
      <Table.Td>{ruleSource(r)}</Table.Td>
      <Table.Td ta="right">{r.in_force ? may("add_rule") && r.name in changeable && <Button size="compact-xs" variant="default" onClick={() => setChanging(r)}>{t("rules.changeIt")}</Button> : <Badge color={Date.parse(r.effective_from) > Date.now() ? "orange" : "gray"}>{t(Date.parse(r.effective_from) > Date.now() ? "priorities.toCome" : "priorities.past")}</Badge>}</Table.Td>
    </Table.Tr>
  );
  const head = [t("rules.title"), t("rules.value"), t("rules.from"), t("rules.source"), ""];
  const others = all.filter((r) => !r.in_force);
  return (
    <>
      <Listing title={t("settings.rules")} about={t("rules.hint")} pages={pages} head={head}>
        {all.filter((r) => r.in_force).map(row)}
      </Listing>
      {others.length > 0 && <div style={{ marginTop: 12 }}><Listing title={t("rules.toCome")} head={head}>{others.map(row)}</Listing></div>}
      {changing && <ChangeRule rule={changing} close={() => setChanging(undefined)} />}
    </>
  );
}

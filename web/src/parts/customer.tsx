import { ActionIcon, Badge, Group, Loader, Text } from "@mantine/core";
import { IconPencil } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { read, type Schemas, write } from "../api/client";
import { stale } from "../cache";
import { label } from "../i18n";
import { useMe } from "../session";
import { RecordForm } from "../settings/record";
import { age, fullMoment, moment } from "../time";
import { tellProblem } from "./form";
import { More, usePages } from "./pages";
import { ProblemAlert } from "./problem";

export type Customer = Schemas["WholeCustomer"];
export type Address = Schemas["CustomerAddress"];

/** As they are now: the same address with as_of answers another shape. */
export const readCustomer = (id: string, signal?: AbortSignal) => read("/v1/customers/{customer_id}", { path: { customer_id: id }, signal }) as Promise<Customer>;
export const useCustomer = (id: string | null | undefined) =>
  useQuery({ queryKey: ["customer", id], enabled: Boolean(id), queryFn: ({ signal }) => readCustomer(id as string, signal) });
// Those that are switched off too: what was taken in under them keeps its name.
export const useMedia = () => useQuery({ queryKey: ["media-sources", "list"], staleTime: 300_000, queryFn: () => read("/v1/media-sources", { query: { inactive: true } }) });
export const useCategories = () => useQuery({ queryKey: ["item-categories", "list"], staleTime: 300_000, queryFn: () => read("/v1/item-categories", { query: { inactive: true } }) });

export function useNames() {
  const { i18n } = useTranslation();
  const media = useMedia().data?.items;
  const categories = useCategories().data?.items;
  return {
    media: (id: string | null | undefined) => media?.find((m) => m.id === id)?.name ?? "",
    category: (id: string | null | undefined) => {
      const c = categories?.find((x) => x.id === id);
      return c ? (i18n.language === "en" ? c.name_en : c.name_ja) : "";
    },
    categories: (categories ?? []).filter((c) => c.active),
    mediaSources: (media ?? []).filter((m) => m.active),
  };
}

/** 090-1234-5678 for +819012345678: area codes vary in length, so only mobiles and free numbers are split. */
export function phoneText(e164: string | null | undefined, raw = ""): string {
  if (!e164?.startsWith("+81")) return e164 ?? raw;
  const n = `0${e164.slice(3)}`;
  if (/^0[5-9]0\d{8}$/.test(n)) return `${n.slice(0, 3)}-${n.slice(3, 7)}-${n.slice(7)}`;
  if (/^0120\d{6}$/.test(n)) return `${n.slice(0, 4)}-${n.slice(4, 7)}-${n.slice(7)}`;
  if (/^0[36]\d{8}$/.test(n)) return `${n.slice(0, 2)}-${n.slice(2, 6)}-${n.slice(6)}`;
  if (/^0\d{9}$/.test(n)) return `${n.slice(0, 3)}-${n.slice(3, 6)}-${n.slice(6)}`;
  return n;
}
/** With its extension, where it has one. */
export function usePhoneText() {
  const { t } = useTranslation();
  return (p: { e164: string | null; raw: string; extension: string | null }) => phoneText(p.e164, p.raw) + (p.extension ? ` ${t("customer.extension", { number: p.extension })}` : "");
}
export const addressText = (a: { postal_code?: string | null; prefecture?: string; city?: string; town?: string; street?: string; building?: string } | null | undefined) =>
  a ? `${a.postal_code ? `〒${a.postal_code.slice(0, 3)}-${a.postal_code.slice(3)} ` : ""}${[a.prefecture, a.city, a.town, a.street].join("")} ${a.building ?? ""}`.trim() : "";

const colors: Record<string, string> = { COMPLAINT: "red", CAUTION: "red", ELDERLY: "orange", FAMILY_PRESENT_REQUIRED: "orange", HEARING_IMPAIRED: "orange", VIP: "grape", NO_MAIL: "gray" };
export function Flags({ flags }: { flags: readonly string[] | undefined }) {
  return (
    <>
      {(flags ?? []).map((f) => (
        <Badge key={f} size="sm" color={colors[f] ?? "gray"} variant={colors[f] === "red" ? "filled" : "light"}>
          {label("flag", f)}
        </Badge>
      ))}
    </>
  );
}

/** What must not be missed: a ban, complaints, age. */
export function Warnings({ customer }: { customer: Pick<Customer, "active_ban" | "flags" | "birth_date"> }) {
  const { t } = useTranslation();
  const ban = customer.active_ban;
  const years = age(customer.birth_date);
  const grave = customer.flags.filter((f) => f === "COMPLAINT" || f === "CAUTION");
  return (
    <>
      {ban && (
        <div className="banned" role="alert">
          {t("customer.banned")}
          <small>
            {t("customer.bannedBy", { source: label("banSource", ban.source), covers: label("banCovers", ban.covers), at: fullMoment(ban.banned_at) })} — {ban.reason}
          </small>
        </div>
      )}
      {grave.length > 0 && <div className="warning">{grave.map((f) => label("flag", f)).join("・")}</div>}
      {((years !== undefined && years >= 75) || customer.flags.includes("ELDERLY")) && <div className="warning">{t("customer.elderly")}</div>}
    </>
  );
}

export function NameLine({ customer, link }: { customer: Pick<Customer, "id" | "display_name" | "kana" | "birth_date" | "flags">; link?: boolean }) {
  const { t } = useTranslation();
  const years = age(customer.birth_date);
  return (
    <Group gap={8} align="baseline">
      <Text fw={700} fz={19} component="h1" m={0}>
        {link ? <Link to="/customers/$customerId" params={{ customerId: customer.id }} style={{ color: "inherit" }}>{customer.display_name}</Link> : customer.display_name}
      </Text>
      <Text fz="sm" className="faint">{customer.kana}</Text>
      {years !== undefined && <Text fz="sm" fw={600}>{t("customer.age", { age: years })}</Text>}
      <Flags flags={customer.flags} />
    </Group>
  );
}

export function stateLabel(kind: string, state: string | null | undefined) {
  if (kind === "call") return state ? label("outcome", state) : label("desk", "onPhone");
  if (kind === "inquiry") return label("stage", state);
  if (kind === "appointment") return label("visit", state);
  return label("timeline", state);
}

/** What was said is corrected; what came of the call is not. */
function CorrectMemo({ call, close }: { call: Schemas["Call"]; close: () => void }) {
  const { t } = useTranslation();
  const path = { call_attempt_id: call.id };
  return (
    <RecordForm name="memo" title={t("timeline.editMemo")} about={`${label("direction", call.direction)} ${label("outcome", call.outcome)} ${fullMoment(call.started_at)}`} record={call as never} close={close}
      fields={[{ name: "memo", label: t("wrap.memo"), kind: "area" }]}
      reload={async () => (await read("/v1/calls/{call_attempt_id}", { path })) as never}
      save={async (body, version) => {
        await write("patch", "/v1/calls/{call_attempt_id}", { path, body, version: version as number });
        await stale(["customer", call.customer_id]);
      }} />
  );
}

export function Timeline({ customerId }: { customerId: string }) {
  const { t } = useTranslation();
  const names = useNames();
  const me = useMe();
  const [call, setCall] = useState<Schemas["Call"]>();
  const pages = usePages(["customer", customerId, "timeline"], (cursor, signal) => read("/v1/customers/{customer_id}/timeline", { path: { customer_id: customerId }, query: { limit: 20, cursor }, signal }));
  const correct = async (id: string) => {
    try {
      setCall(await read("/v1/calls/{call_attempt_id}", { path: { call_attempt_id: id } }));
    } catch (e) {
      tellProblem(e);
    }
  };
  const mayCorrect = (row: Schemas["TimelineRow"]) =>
    row.kind === "call" && Boolean(row.ended_at) && "update_call" in me.operations && (me.operations.update_call !== "own" || row.user_id === me.user.id);
  return (
    <>
      <ProblemAlert error={pages.error} retry={pages.retry} />
      <ul className="timeline">
        {pages.rows.map((row) => (
          <li key={row.kind + row.id} data-kind={row.kind}>
            <div className="row">
              <b>
                {label("timeline", row.kind)} {stateLabel(row.kind, row.state)}
              </b>
              <span className="faint" style={{ whiteSpace: "nowrap" }}>
                {moment(row.at)}
                {mayCorrect(row) && <ActionIcon variant="subtle" size="xs" color="gray" ml={4} aria-label={`${t("timeline.editMemo")} ${moment(row.at)}`} onClick={() => void correct(row.id)} data-memo={row.id}><IconPencil size={13} /></ActionIcon>}
              </span>
            </div>
            <div className="faint">
              {[
                row.kind === "call" ? label("direction", row.detail) : row.kind === "inquiry" ? label("channel", row.detail) : row.kind === "ban" ? label("banSource", row.detail) : "",
                names.media(row.media_source_id),
                row.user_name,
              ].filter(Boolean).join("・")}
            </div>
            {row.body && <p>{row.body}</p>}
          </li>
        ))}
      </ul>
      {pages.pending && <Loader size="xs" m="sm" />}
      {pages.none && <div className="pad faint">{t("timeline.empty")}</div>}
      <More pages={pages} wide />
      {call && <CorrectMemo key={call.id} call={call} close={() => setCall(undefined)} />}
    </>
  );
}

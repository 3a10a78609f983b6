import { Button, Group } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { Schemas } from "../api/client";
import { runningOut, span, useNow } from "./lease";

type Call = Schemas["Call"];

/** Where the work on a task stands: in hand, on the phone, writing it up. */
export function Phases({ call }: { call: Call | undefined }) {
  const { t } = useTranslation();
  const now = useNow();
  const started = call && Date.parse(call.started_at);
  const hung = call?.talk_ended_at ? Date.parse(call.talk_ended_at) : undefined;
  const phase = !call ? "assigned" : hung ? "wrapUp" : "talking";
  const time = { assigned: "", talking: started ? span((hung ?? now) - started) : "", wrapUp: hung ? span(now - hung) : "" };
  return (
    <ol className="phases" aria-label={t("desk.phases")} data-phase={phase}>
      {(["assigned", "talking", "wrapUp"] as const).map((p) => (
        <li key={p} aria-current={p === phase ? "step" : undefined} data-past={(p === "assigned" && phase !== "assigned") || (p === "talking" && phase === "wrapUp") || undefined}>
          {t(`phase.${p}`)} {time[p] && <span className="mono">{time[p]}</span>}
        </li>
      ))}
    </ol>
  );
}

/** How long the task is kept for its holder. It is extended by itself; that it runs out means the server was not reached. */
export function LeaseLeft({ until, extend }: { until: number | undefined; extend: () => void }) {
  const { t } = useTranslation();
  const now = useNow();
  if (until === undefined) return null;
  const left = until - now;
  return (
    <Group gap={6} wrap="nowrap" data-lease={left > 0 ? "held" : "over"}>
      <span className={left < runningOut ? "warning" : "faint"} style={{ fontSize: 12, whiteSpace: "nowrap", padding: left < runningOut ? "1px 7px" : 0 }} role={left < runningOut ? "alert" : undefined} title={t("desk.leaseHint")}>
        {left > 0 ? t("desk.leaseLeft", { left: span(left) }) : t("desk.leaseOver")}
      </span>
      <Button size="compact-xs" variant="subtle" onClick={extend} title={t("desk.leaseHint")} data-extend>{t("desk.extend")}<span className="key" aria-hidden>E</span></Button>
    </Group>
  );
}

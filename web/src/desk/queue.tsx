import { ActionIcon, Button, Group, NativeSelect, Tooltip } from "@mantine/core";
import { IconKeyboard } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { type RefObject, useState } from "react";
import { useTranslation } from "react-i18next";
import { read, type Schemas } from "../api/client";
import { label } from "../i18n";
import { Flags } from "../parts/customer";
import { More, usePages } from "../parts/pages";
import { useUsers } from "../parts/people";
import { ProblemAlert } from "../parts/problem";
import { useMay } from "../session";
import { moment } from "../time";
import { TaskMenu } from "./task_actions";

const views = ["ready", "mine", "scheduled", "blocked", "held"] as const;
type View = (typeof views)[number];
/** What the user holds: one task, or as many as the rule allows. */
export const useMyTasks = () => useQuery({ queryKey: ["tasks", "mine", "held"], queryFn: () => read("/v1/call-tasks", { query: { view: "mine", limit: 50 } }), refetchInterval: 60_000 });

function useQueue(view: View) {
  return usePages(["tasks", view], (cursor, signal) => read("/v1/call-tasks", { query: { view, limit: 50, cursor }, signal }), { every: () => 60_000 });
}

export function Queue({ held, claim, busy, nextButton, inbound, help }: { held: Schemas["CallTaskRow"] | undefined; claim: (id?: string) => void; busy: boolean; nextButton: RefObject<HTMLButtonElement | null>; inbound: () => void; help: () => void }) {
  const { t } = useTranslation();
  const may = useMay();
  const [view, setView] = useState<View>("ready");
  const tasks = useQueue(view);
  const users = useUsers(view === "held");
  const rows = tasks.rows.filter((k) => k.id !== held?.id);
  const empty = { mine: t("desk.emptyMine"), ready: t("desk.emptyReady"), scheduled: t("desk.emptyScheduled"), blocked: t("desk.emptyBlocked"), held: t("desk.emptyHeld") };
  // Whose hands a task is in is for those who may take it out of them.
  const offered = views.filter((v) => v !== "held" || may("reassign_call_task"));
  return (
    <aside className="side" aria-label={t("desk.queue")}>
      <div className="pad" style={{ position: "sticky", top: 0, background: "var(--sheet)", zIndex: 1, borderBottom: "1px solid var(--line)" }}>
        <Group gap={6} wrap="nowrap" mb={8}>
          <Button ref={nextButton} style={{ flex: 1 }} size="sm" disabled={Boolean(held)} loading={busy} onClick={() => claim()} data-next>
            {t("desk.next")}<span className="key" aria-hidden>N</span>
          </Button>
          <Tooltip label={`${t("keys.title")} (?)`}>
            <ActionIcon variant="default" size={36} aria-label={t("keys.title")} onClick={help} data-help><IconKeyboard size={18} /></ActionIcon>
          </Tooltip>
        </Group>
        <NativeSelect aria-label={t("desk.view")} value={view} onChange={(e) => setView(e.currentTarget.value as View)} data={offered.map((v) => ({ value: v, label: t(`desk.view_${v}`) }))} name="view" />
      </div>
      {held && (
        <div className="task" data-mine style={{ cursor: "default" }}>
          <div className="row"><b>{held.customer_display_name}</b><span className="faint" style={{ fontSize: 12 }}>{label("taskState", held.state)}</span></div>
          <div className="faint" style={{ fontSize: 12 }}>{t("desk.myTask")} · {label("taskKind", held.kind)}</div>
        </div>
      )}
      <ProblemAlert error={tasks.error} retry={tasks.retry} />
      {rows.map((k) => (
        <div key={k.id} className="taskrow" data-task={k.id}>
          <button type="button" className="task" disabled={Boolean(held) || !["READY", "SCHEDULED"].includes(k.state) || busy} onClick={() => claim(k.id)} title={k.note}>
            <div className="row"><b>{k.customer_display_name}</b><span className="faint" style={{ fontSize: 11.5, whiteSpace: "nowrap" }}>{moment(k.due_at)}</span></div>
            <div className="row" style={{ fontSize: 12, justifyContent: "flex-start" }}>
              <span className="faint">{label("taskKind", k.kind)}{view === "held" && ` · ${label("taskState", k.state)} · ${users.data?.find((u) => u.id === k.assigned_to)?.display_name ?? ""}`}</span><Flags flags={k.customer_flags} />
            </div>
            {k.note && <div className="faint" style={{ fontSize: 12, overflow: "hidden", textOverflow: "ellipsis", whiteSpace: "nowrap" }}>{k.note}</div>}
          </button>
          <TaskMenu task={k} />
        </div>
      ))}
      {!tasks.pending && !tasks.error && rows.length === 0 && <div className="pad faint" style={{ fontSize: 13 }}>{empty[view]}</div>}
      <More pages={tasks} wide />
      <div className="pad"><Button variant="subtle" fullWidth onClick={inbound}>{t("desk.inbound")}<span className="key" aria-hidden>I</span></Button></div>
    </aside>
  );
}

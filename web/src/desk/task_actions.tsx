// What can be done with a task besides calling: put it off, give it to somebody else, give it back, cancel it, let a blocked one go on.
import { ActionIcon, Button, Group, Menu, NativeSelect, Select, Text, Textarea, TextInput } from "@mantine/core";
import { IconDots } from "@tabler/icons-react";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { write } from "../api/client";
import { stale } from "../cache";
import { label } from "../i18n";
import { FormModal, tellProblem, tellSaved, useSubmit } from "../parts/form";
import { useTeams, useUsers } from "../parts/people";
import { useMay, useMe } from "../session";
import { at, fromInput, moment, toInput, today } from "../time";

export interface ATask { id: string; kind: string; state: string; due_at: string; assigned_to?: string | null; owner_id?: string | null; team_id?: string | null; customer_id?: string; customer_display_name?: string }
export type Doing = "snooze" | "reassign" | "cancel" | "unblock";

const inMinutes = (minutes: number) => toInput(new Date(Math.ceil((Date.now() + minutes * 60_000) / 300_000) * 300_000));

/** Which of them the state of a task and the user's rights allow. */
export function useTaskActions(task: ATask | undefined) {
  const may = useMay();
  const me = useMe();
  if (!task) return { snooze: false, reassign: false, release: false, cancel: false, unblock: false };
  const others = Boolean(task.assigned_to && task.assigned_to !== me.user.id);
  const wide = (operation: string) => me.operations[operation] !== "own";
  const idle = ["SCHEDULED", "READY", "ASSIGNED"].includes(task.state);
  return {
    snooze: may("snooze_call_task") && idle && (!others || wide("snooze_call_task")),
    reassign: may("reassign_call_task") && (idle || task.state === "BLOCKED"),
    release: may("release_call_task") && task.state === "ASSIGNED" && (!others || wide("release_call_task")),
    cancel: may("cancel_call_task") && (idle || task.state === "BLOCKED") && (!others || wide("cancel_call_task")),
    unblock: may("unblock_call_task") && task.state === "BLOCKED",
  };
}

export async function releaseTask(id: string) {
  await write("post", "/v1/call-tasks/{call_task_id}/release", { path: { call_task_id: id } });
}

/** One dialog for each of them; `before` runs when its write is about to be sent, `undo` when it was refused. */
export function TaskDialog({ task, doing, close, before, undo }: { task: ATask; doing: Doing; close: () => void; before?: () => void; undo?: () => void }) {
  const { t } = useTranslation();
  const users = useUsers(doing === "reassign");
  const teams = useTeams(doing === "reassign");
  const me = useMe();
  const [due, setDue] = useState(() => inMinutes(30));
  const [owner, setOwner] = useState<string | null>(null);
  const [team, setTeam] = useState("");
  const [reason, setReason] = useState("");
  const form = useSubmit((e) => {
    undo?.();
    return e;
  });
  const due_at = fromInput(due);
  const ready = doing === "snooze" ? Boolean(due_at) : doing === "reassign" ? true : reason.trim() !== "";
  const submit = () =>
    form.run(async () => {
      const path = { call_task_id: task.id };
      before?.();
      if (doing === "snooze") await write("post", "/v1/call-tasks/{call_task_id}/snooze", { path, body: { due_at: due_at as string } });
      else if (doing === "reassign") await write("post", "/v1/call-tasks/{call_task_id}/reassignment", { path, body: { owner_id: owner, ...(team ? { team_id: team } : {}) } });
      else if (doing === "cancel") await write("post", "/v1/call-tasks/{call_task_id}/cancellation", { path, body: { reason } });
      else await write("post", "/v1/call-tasks/{call_task_id}/unblocking", { path, body: { reason } });
      tellSaved(t(`taskDone.${doing}`, { at: moment(due_at) }));
      await stale(["tasks"], ...(task.customer_id ? [["customer", task.customer_id]] : []));
      close();
    });
  const quick: [string, string][] = [[t("later.m30"), inMinutes(30)], [t("later.h1"), inMinutes(60)], [t("wrap.in2h"), inMinutes(120)], [t("wrap.tomorrow10"), at(today(1), "10:00")], [t("wrap.nextWeek"), at(today(7), "10:00")]];
  return (
    <FormModal form={form} name={doing} title={t(`taskDo.${doing}`)} label={t(`taskDo.${doing}`)} cancelLabel={t("common.back")} color={doing === "cancel" ? "red" : undefined} close={close} submit={submit} ready={ready} shown={["/due_at", "/owner_id", "/team_id", "/reason"]}>
      <Text fz="sm"><b>{task.customer_display_name}</b> <span className="faint">{label("taskKind", task.kind)} · {moment(task.due_at)}</span></Text>
      {doing === "snooze" && (
        <>
          <TextInput type="datetime-local" label={t("later.at")} description={t("later.hint")} required value={due} onChange={(e) => setDue(e.currentTarget.value)} error={form.at("/due_at")} name="snooze-at" data-autofocus />
          <Group gap={4}>{quick.map(([text, when]) => <Button key={text} size="compact-xs" variant={due === when ? "filled" : "default"} onClick={() => setDue(when)}>{text}</Button>)}</Group>
        </>
      )}
      {doing === "reassign" && (
        <>
          <Select label={t("reassign.owner")} description={t("reassign.hint")} searchable clearable placeholder={t("reassign.anybody")} value={owner} onChange={setOwner} error={form.at("/owner_id")} data-autofocus
            nothingFoundMessage={t("reassign.nobody")} data={(users.data ?? []).filter((u) => u.active).map((u) => ({ value: u.id, label: u.id === me.user.id ? `${u.display_name}（${t("desk.mine")}）` : u.display_name }))} />
          <NativeSelect label={t("admin.team")} value={team} onChange={(e) => setTeam(e.currentTarget.value)} error={form.at("/team_id")}
            data={[{ value: "", label: t("reassign.sameTeam") }, ...(teams.data ?? []).map((x) => ({ value: x.id, label: x.name }))]} />
        </>
      )}
      {(doing === "cancel" || doing === "unblock") && (
        <>
          {doing === "unblock" && <Text fz="sm" className="faint">{t("later.unblockHint")}</Text>}
          <Textarea label={t("common.reason")} required autosize minRows={2} value={reason} onChange={(e) => setReason(e.currentTarget.value)} error={form.at("/reason")} data-autofocus />
        </>
      )}
    </FormModal>
  );
}

/** Beside a task in a list. */
export function TaskMenu({ task, claim }: { task: ATask; claim?: () => void }) {
  const { t } = useTranslation();
  const can = useTaskActions(task);
  const [doing, setDoing] = useState<Doing>();
  const release = async () => {
    await releaseTask(task.id).catch(tellProblem);
    await stale(["tasks"]);
  };
  if (!claim && !Object.values(can).some(Boolean)) return null;
  return (
    <>
      <Menu position="bottom-end" transitionProps={{ duration: 0 }} withinPortal>
        <Menu.Target>
          <ActionIcon variant="subtle" color="gray" size="sm" aria-label={t("taskDo.menu", { name: task.customer_display_name ?? label("taskKind", task.kind) })}><IconDots size={15} /></ActionIcon>
        </Menu.Target>
        <Menu.Dropdown>
          {claim && <Menu.Item onClick={claim}>{t("taskDo.claim")}</Menu.Item>}
          {can.snooze && <Menu.Item onClick={() => setDoing("snooze")}>{t("taskDo.snooze")}</Menu.Item>}
          {can.reassign && <Menu.Item onClick={() => setDoing("reassign")}>{t("taskDo.reassign")}</Menu.Item>}
          {can.release && <Menu.Item onClick={() => void release()}>{t("desk.release")}</Menu.Item>}
          {can.unblock && <Menu.Item onClick={() => setDoing("unblock")}>{t("taskDo.unblock")}</Menu.Item>}
          {can.cancel && <Menu.Item color="red" onClick={() => setDoing("cancel")}>{t("taskDo.cancel")}</Menu.Item>}
        </Menu.Dropdown>
      </Menu>
      {doing && <TaskDialog task={task} doing={doing} close={() => setDoing(undefined)} />}
    </>
  );
}

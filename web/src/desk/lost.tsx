import { Button, CopyButton, Group, Stack, Textarea } from "@mantine/core";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { read, write } from "../api/client";
import { label } from "../i18n";
import { tellSaved, useSubmit } from "../parts/form";
import { ProblemAlert } from "../parts/problem";
import { keepDraft, myDraft } from "./draft";
import type { Lost } from "./lease";

interface WrapUpDraft { memo?: string; outcome?: string }
interface SheetDraft { typed: Record<string, { value: string }> }

/** The lease was lost: what was typed is here, and the ways out are to keep the memo, to take the task again, or to go on. */
export function LostTask({ lost, again, forget }: { lost: Lost; again: () => void; forget: () => void }) {
  const { t } = useTranslation();
  const { task, call } = lost;
  const thing = `wrapup.${task.id}`;
  const [draft] = useState(() => myDraft<WrapUpDraft>(thing));
  const [sheet] = useState(() => (task.inquiry_id ? myDraft<SheetDraft>(`sheet.${task.inquiry_id}`) : undefined));
  const [memo, setMemo] = useState(draft?.memo ?? "");
  const form = useSubmit();
  const fields = Object.entries(sheet?.typed ?? {});
  const everything = [draft?.outcome && label("outcome", draft.outcome), memo, ...fields.map(([f, v]) => `${label("sheetField", f)}: ${v.value}`)].filter(Boolean).join("\n");
  const save = () =>
    call && form.run(async () => {
      // The call goes by the name of ABANDONED now, and its memo stays open to whoever made it.
      const now = await read("/v1/calls/{call_attempt_id}", { path: { call_attempt_id: call.id } });
      await write("patch", "/v1/calls/{call_attempt_id}", { path: { call_attempt_id: call.id }, body: { memo }, version: now.version });
      keepDraft(thing, undefined);
      tellSaved();
      forget();
    });
  return (
    <section className="sheet" data-lost={task.id}>
      <div className="banned" role="alert" style={{ borderRadius: "5px 5px 0 0" }}>
        {t("desk.leaseLost")}
        <small>{task.customer_display_name} · {label("taskKind", task.kind)}</small>
      </div>
      <Stack gap="xs" className="pad">
        {call && <Textarea label={t("lost.memo", { outcome: draft?.outcome ? label("outcome", draft.outcome) : t("lost.noOutcome") })} autosize minRows={2} maxRows={8} value={memo} onChange={(e) => setMemo(e.currentTarget.value)} error={form.at("/memo")} name="lost-memo" />}
        {fields.length > 0 && (
          <dl className="pairs">{fields.map(([f, v]) => [<dt key={f}>{label("sheetField", f)}</dt>, <dd key={`${f}-`}>{v.value}</dd>])}</dl>
        )}
        {!call && fields.length === 0 && <span className="faint" style={{ fontSize: 13 }}>{t("lost.nothing")}</span>}
        <ProblemAlert error={form.error} shown={["/memo"]} />
        <Group gap="xs">
          {call && <Button onClick={() => void save()} loading={form.busy} disabled={!memo.trim()} data-save-memo>{t("lost.saveMemo")}</Button>}
          <Button variant="default" onClick={again} data-again>{t("lost.again")}</Button>
          {everything && <CopyButton value={everything}>{({ copied, copy }) => <Button variant="default" onClick={copy}>{copied ? t("common.copied") : t("lost.copy")}</Button>}</CopyButton>}
          <Button variant="subtle" onClick={forget}>{t("common.close")}</Button>
        </Group>
        <span className="faint" style={{ fontSize: 12 }}>{t("lost.hint")}</span>
      </Stack>
    </section>
  );
}

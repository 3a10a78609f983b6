import { Badge, Button, Group, Loader, Textarea } from "@mantine/core";
import { useEffect } from "react";
import { useTranslation } from "react-i18next";
import { label } from "../i18n";
import { ProblemAlert } from "../parts/problem";
import { useHearingSheet } from "./use_hearing_sheet";

const fields = ["goods", "reason", "condition", "location", "preferred", "family", "identity", "parking", "competitors", "memo"];
const colors = { saved: "green", saving: "blue", typing: "gray", local: "orange" } as const;

export function HearingSheet({ inquiryId, onFlush }: { inquiryId: string; onFlush?: (flush: (() => Promise<void>) | undefined) => void }) {
  const { t } = useTranslation();
  const sheet = useHearingSheet(inquiryId);
  useEffect(() => {
    onFlush?.(sheet.flush);
    return () => onFlush?.(undefined);
  }, [onFlush, sheet.flush]);
  const all = [...fields, ...sheet.fields.filter((f) => !fields.includes(f))];
  return (
    <section className="sheet" aria-label={t("sheet.title")}>
      <div className="heading">
        {t("sheet.title")}
        <Group gap={6}>
          {sheet.conflicts > 0 && <Badge color="red" variant="filled">{t("sheet.conflict")}</Badge>}
          {!(sheet.conflicts > 0 && sheet.state === "saved") && <Badge color={colors[sheet.state]} data-sheet-state={sheet.state} aria-live="polite">{t(`sheet.${sheet.state}`)}</Badge>}
        </Group>
      </div>
      <ProblemAlert error={sheet.error ?? sheet.refused} retry={sheet.refused ? () => void sheet.flush() : undefined} />
      {sheet.loading ? (
        <Loader size="xs" m="sm" />
      ) : (
        <div className="pad hearing">
          {all.map((field) => {
            const conflict = sheet.conflict(field);
            return (
              <div key={field} style={field === "goods" || field === "memo" ? { gridColumn: "1 / -1" } : undefined}>
                <Textarea autosize minRows={field === "goods" || field === "memo" ? 2 : 1} maxRows={8} label={label("sheetField", field)} name={`sheet-${field}`} value={sheet.value(field)}
                  onChange={(e) => sheet.type(field, e.currentTarget.value)} onCompositionStart={() => sheet.compose(true)} onCompositionEnd={() => sheet.compose(false)} />
                {conflict && (
                  <div className="warning" role="alert" style={{ marginTop: 4, fontWeight: 400 }}>
                    <div><b>{t("sheet.theirs")}:</b> <span data-theirs={field}>{conflict.theirs}</span></div>
                    <div><b>{t("sheet.mine")}:</b> <span data-mine={field}>{sheet.value(field)}</span></div>
                    <Group gap={6} mt={4}>
                      <Button size="compact-xs" onClick={() => sheet.resolve(field, true)}>{t("sheet.keepMine")}</Button>
                      <Button size="compact-xs" variant="default" onClick={() => sheet.resolve(field, false)}>{t("sheet.keepTheirs")}</Button>
                    </Group>
                  </div>
                )}
              </div>
            );
          })}
        </div>
      )}
    </section>
  );
}

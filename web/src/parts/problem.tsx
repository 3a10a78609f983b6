import { Alert, Button, Group } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { Problem } from "../api/client";
import { fieldName, fieldSentence, sentence } from "../i18n";

/** The sentence a user can act on. */
export function problemText(error: unknown): string {
  if (!(error instanceof Problem)) return error instanceof Error ? error.message : String(error);
  return sentence(error.code, error.message, { ...error.extra, seconds: error.retryAfter, status: error.status });
}

/** `shown`: pointers whose errors stand at their fields; all others are listed here, so that none is swallowed. */
export function ProblemAlert({ error, shown = [], retry }: { error: unknown; shown?: string[]; retry?: () => void }) {
  const { t } = useTranslation();
  if (!error) return null;
  const rest = error instanceof Problem ? error.errors.filter((e) => !shown.some((s) => e.pointer === s || e.pointer.startsWith(`${s}/`))) : [];
  return (
    <Alert color="red" variant="light" p="xs" role="alert">
      {problemText(error)}
      {rest.map((e) => (
        <div key={e.pointer + e.code}>
          {fieldName(e.pointer)}: {fieldSentence(e.code, e.detail)}
        </div>
      ))}
      {retry && (
        <Group mt={6}>
          <Button size="compact-xs" variant="default" onClick={retry}>
            {t("common.retry")}
          </Button>
        </Group>
      )}
    </Alert>
  );
}

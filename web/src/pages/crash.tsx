import { Button, Group, Stack, Title } from "@mantine/core";
import { type ErrorComponentProps, useRouter } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { cache } from "../cache";
import { ProblemAlert } from "../parts/problem";

/** In the place of a page that broke; the header above it stays, and so do the other pages. */
export function Crash({ error, reset }: ErrorComponentProps) {
  const { t } = useTranslation();
  const router = useRouter();
  const again = () => {
    cache.removeQueries({ type: "inactive" }); // what broke the page is among them: it is asked for anew
    reset();
    void router.invalidate();
  };
  return (
    <main className="page">
      <div className="sheet pad">
        <Stack gap="sm">
          <Title order={2}>{t("crash.title")}</Title>
          <div>{t("crash.hint")}</div>
          <ProblemAlert error={error} />
          <Group>
            <Button onClick={again}>{t("common.retry")}</Button>
            <Button variant="default" onClick={() => window.location.reload()}>{t("crash.reload")}</Button>
          </Group>
        </Stack>
      </div>
    </main>
  );
}

import { Anchor, Title } from "@mantine/core";
import { useTranslation } from "react-i18next";

export function NotFound() {
  const { t } = useTranslation();
  return (
    <main className="gate">
      <div className="sheet">
        <Title order={2} mb="sm">{t("common.notFound")}</Title>
        <Anchor href="/">{t("common.home")}</Anchor>
      </div>
    </main>
  );
}

import { Button, Group, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { read } from "../api/client";

/** The towns of a postal code, one click each; free text stays possible. */
export function Towns({ code, pick }: { code: string; pick: (town: { prefecture: string; city: string; town: string }) => void }) {
  const { t } = useTranslation();
  const towns = useQuery({ queryKey: ["towns", code], enabled: code.length === 7, staleTime: Number.POSITIVE_INFINITY, queryFn: () => read("/v1/postal-codes/{postal_code}", { path: { postal_code: code } }) });
  if (code.length !== 7 || !towns.data) return null;
  return (
    <Group gap={4} mt={4}>
      {towns.data.items.length === 0 && <Text fz="xs" className="faint">{t("customer.noTown")}</Text>}
      {towns.data.items.map(({ prefecture, city, town }) => <Button key={prefecture + city + town} size="compact-xs" variant="light" onClick={() => pick({ prefecture, city, town })}>{prefecture}{city}{town}</Button>)}
    </Group>
  );
}

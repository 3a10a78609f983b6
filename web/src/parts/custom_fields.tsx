// Fields that the company defined itself (Settings → Custom fields), shown and filled in on the record they belong to.
import { NativeSelect, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { fieldError, read, type Schemas } from "../api/client";

type CustomField = Schemas["CustomField"];
/** Its name among the other values of a form. They are as typed: "" is no value. */
export const customName = (key: string) => `custom.${key}`;

export function useCustomFields(entity: CustomField["entity"]) {
  const { i18n } = useTranslation();
  const list = useQuery({ queryKey: ["custom-fields", entity], staleTime: 300_000, queryFn: () => read("/v1/custom-fields", { query: { entity } }) });
  return (list.data?.items ?? []).map((f) => ({ ...f, label: i18n.language === "en" ? f.label_en : f.label_ja }));
}
type Labelled = ReturnType<typeof useCustomFields>[number];

export function customValues(custom: unknown): Record<string, string> {
  return Object.fromEntries(Object.entries((custom ?? {}) as Record<string, unknown>).map(([k, v]) => [customName(k), v === null ? "" : String(v)]));
}
const textOf = (values: Record<string, unknown>, field: Labelled) => String(values[customName(field.key)] ?? "");
/** Only what differs; null takes a value away. */
export function customChange(fields: Labelled[], base: Record<string, unknown>, values: Record<string, unknown>): Record<string, unknown> | undefined {
  const changed = fields.filter((f) => textOf(values, f) !== textOf(base, f));
  if (changed.length === 0) return undefined;
  return Object.fromEntries(changed.map((f) => [f.key, customValue(f, textOf(values, f))]));
}
/** What was typed, as the field's kind. A number that is none goes as it was typed: the server says what is wrong. */
export function customValue(field: Labelled, text: string): string | number | boolean | null {
  if (text === "") return null;
  if (field.kind === "BOOLEAN") return text === "true";
  return field.kind === "INTEGER" && /^-?\d{1,15}$/.test(text.normalize("NFKC").trim()) ? Number(text.normalize("NFKC")) : text;
}

export function useCustomText() {
  const { t } = useTranslation();
  return (field: Labelled, value: string | undefined) => (!value ? "—" : field.kind === "BOOLEAN" ? t(value === "true" ? "common.yes" : "common.no") : value);
}

export function CustomInputs({ fields, values, set, error }: { fields: Labelled[]; values: Record<string, unknown>; set: (name: string, value: string) => void; error: unknown }) {
  const { t } = useTranslation();
  return (
    <>
      {fields.map((f) => {
        const name = customName(f.key);
        const common = { label: f.label, name, value: textOf(values, f), withAsterisk: f.required, error: fieldError(error, `/custom/${f.key}`) };
        const none = { value: "", label: "—" };
        if (f.kind === "CHOICE") return <NativeSelect key={f.key} {...common} onChange={(e) => set(name, e.currentTarget.value)} data={[none, ...f.choices]} />;
        if (f.kind === "BOOLEAN") return <NativeSelect key={f.key} {...common} onChange={(e) => set(name, e.currentTarget.value)} data={[none, { value: "true", label: t("common.yes") }, { value: "false", label: t("common.no") }]} />;
        return <TextInput key={f.key} {...common} type={f.kind === "DATE" ? "date" : "text"} inputMode={f.kind === "INTEGER" ? "numeric" : undefined} onChange={(e) => set(name, e.currentTarget.value)} />;
      })}
    </>
  );
}

// What history keeps, in words: labels for codes, names for ids.
import { useTranslation } from "react-i18next";
import { label } from "../i18n";
import { useNames } from "../parts/customer";
import { useCustomFields } from "../parts/custom_fields";
import { useTeams, useUsers } from "../parts/people";
import { fullMoment } from "../time";

const groups: Record<string, Parameters<typeof label>[0]> = { flags: "flag", kind: "phoneKind", stage: "stage", channel: "channel", next_action: "nextAction", invalid_reason: "invalid" };

export function useValueText() {
  const { t } = useTranslation();
  const names = useNames();
  const users = useUsers().data;
  const teams = useTeams().data;
  const own = [...useCustomFields("customer"), ...useCustomFields("inquiry")];
  return function text(field: string, value: unknown): string {
    if (value === null || value === undefined || value === "") return "—";
    if (Array.isArray(value)) return value.map((one) => text(field, one)).join("、") || "—";
    if (typeof value === "boolean") return t(value ? "common.yes" : "common.no");
    if (typeof value === "object")
      return Object.entries(value).map(([k, v]) => `${own.find((f) => f.key === k)?.label ?? label("sheetField", k)}: ${text(k, v)}`).join("、") || "—";
    const one = String(value);
    if (field.endsWith("_at")) return fullMoment(one);
    if (field === "owner_id") return users?.find((u) => u.id === one)?.display_name ?? t("actor.user");
    if (field === "team_id") return teams?.find((x) => x.id === one)?.name ?? "—";
    if (field === "media_source_id") return names.media(one) || "—";
    if (field === "item_category_id") return names.category(one) || "—";
    const group = groups[field];
    return group ? label(group, one) : one;
  };
}

import { notifications } from "@mantine/notifications";
import { useTranslation } from "react-i18next";
import { type Schemas, write } from "../api/client";
import { stale } from "../cache";
import { label } from "../i18n";
import { useOwners } from "../parts/people";
import { RecordForm } from "../settings/record";
import { at, fromInput, today } from "../time";

const kinds = ["CALLBACK", "FOLLOW_UP", "NURTURE", "PRE_VISIT", "FIRST_CALL"] as const;

/** A call to come, for one of the customer's inquiries or for none; whom the law forbids to call gets a blocked one, and that is said. */
export function PlanCall({ customerId, inquiries, close }: { customerId: string; inquiries: { id: string; label: string }[]; close: () => void }) {
  const { t } = useTranslation();
  const owners = useOwners();
  const save = async (body: Record<string, unknown>) => {
    const of = body.inquiry_id ? {} : { customer_id: customerId };
    const made = await write("post", "/v1/call-tasks", { body: { ...of, ...body } as Schemas["NewCallTask"] });
    if (made?.state === "BLOCKED") notifications.show({ message: t("planCall.blocked"), color: "orange", autoClose: 15_000 });
    await stale(["tasks"], ["customer", customerId], ["inquiry"]);
  };
  return (
    <RecordForm title={t("planCall.title")} close={close} save={save} submitLabel={t("planCall.submit")}
      initial={{ kind: "CALLBACK", due_at: fromInput(at(today(1), "10:00")), inquiry_id: inquiries[0]?.id }}
      fields={[
        { name: "kind", label: t("planCall.kind"), kind: "choice", required: true, options: kinds.map((k) => ({ value: k, label: label("taskKind", k) })) },
        { name: "due_at", label: t("wrap.at"), kind: "moment", required: true },
        ...(inquiries.length > 0 ? [{ name: "inquiry_id", label: t("inquiry.title"), kind: "choice" as const, options: inquiries.map((i) => ({ value: i.id, label: i.label })) }] : []),
        { name: "owner_id", label: t("inquiry.owner"), hint: t("planCall.ownerHint"), kind: "choice", options: owners },
        { name: "note", label: t("wrap.note"), kind: "text" },
      ]} />
  );
}

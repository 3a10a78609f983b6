import { Alert, Badge, Loader, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { useTranslation } from "react-i18next";
import { Problem, read, type Schemas, write } from "../api/client";
import { stale } from "../cache";
import { fieldName } from "../i18n";
import { FormModal, tellSaved, useSubmit } from "../parts/form";
import { useActorName } from "../parts/people";
import { ProblemAlert } from "../parts/problem";
import { fullMoment } from "../time";
import { uuid } from "../uuid";
import { useValueText } from "./values";

const hidden = (field: string) => field.endsWith("_key") || field === "version" || field === "updated_at";

function Field({ name, from, to }: { name: string; from: unknown; to: unknown }) {
  const text = useValueText();
  return (
    <div style={{ fontSize: 12.5 }}>
      {fieldName(name)}: <span className="diff-before">{text(name, from)}</span> → <span className="diff-after">{text(name, to)}</span>
    </div>
  );
}

/** What differs between a moment and now, of the customer and what belongs to them. */
export function Differences({ id, from }: { id: string; from: string }) {
  const { t } = useTranslation();
  const [to] = useState(() => new Date().toISOString());
  const found = useQuery({
    queryKey: ["customer", id, "differences", from],
    queryFn: () => read("/v1/history/{table}/{row_id}/differences", { path: { table: "customer", row_id: id }, query: { from, to } }),
  });
  if (found.error) return found.error instanceof Problem && found.error.status === 404 ? null : <ProblemAlert error={found.error} />;
  if (!found.data) return <Loader size="xs" m="sm" />;
  return (
    <div className="pad" data-differences>
      <b>{t("putBack.differences")}</b>
      {found.data.changes.length === 0 && <div className="faint">{t("common.none")}</div>}
      {found.data.changes.map((c) => (
        <div key={c.row_id}>
          <Badge size="xs" color={c.op === "UPDATE" ? "ai" : "shu"}>{t(`putBack.op.${c.op}`)}</Badge> <span className="faint">{t(`putBack.table.${c.table}` as never, { defaultValue: c.table }) as unknown as string}</span>
          {c.fields.filter((f) => !hidden(f.field) && c.op === "UPDATE").map((f) => <Field key={f.field} name={f.field} from={f.from} to={f.to} />)}
        </div>
      ))}
    </div>
  );
}

/** The rows of a preview: what would happen to each, which fields, and who edited them since. */
export function PlanRows({ plan, link }: { plan: Schemas["PutBackPreview"]; link?: (customer: string) => ReactNode }) {
  const { t } = useTranslation();
  const by = useActorName();
  return plan.items.map((item) => (
    <div key={`${item.table} ${item.row_id}`} data-put-back={item.action}>
      <Badge color={item.action === "LEFT" ? "gray" : "ai"}>{t(`putBack.action.${item.action}`)}</Badge> <span className="faint">{t(`putBack.table.${item.table}` as never, { defaultValue: item.table }) as unknown as string}</span> {item.customer_id && link?.(item.customer_id)}
      {item.action === "HIDE" && item.conflict && <Text size="xs" c="red">{t(`putBack.conflict.${item.conflict}` as never) as unknown as string}</Text>}
      {item.fields.filter((f) => !hidden(f.field)).map((f) => (
        <div key={f.field}>
          <Field name={f.field} from={f.now} to={f.back_to} />
          {f.conflict && <Text size="xs" c="red">{t(`putBack.conflict.${f.conflict}`)}</Text>}
        </div>
      ))}
      {item.edited_since.map((e) => <Text key={`${e.at} ${e.op}`} size="xs" className="faint">{t("putBack.editedSince", { at: fullMoment(e.at), who: by(e.actor) })}</Text>)}
    </div>
  ));
}

/** Shows what would come back and who edited it since; does it when asked, unless somebody edits it in between. */
export function PutBack({ id, to, close }: { id: string; to: string; close: () => void }) {
  const { t } = useTranslation();
  const [wanted] = useState(uuid);
  const form = useSubmit(async (e) => {
    if (e instanceof Problem && e.code === "CHANGED_SINCE_PREVIEW") await preview.refetch();
    return e;
  });
  const selection: Schemas["PutBackSelection"] = { kind: "RECORD", table: "customer", row_id: id, to, parts: true };
  const preview = useQuery({
    queryKey: ["put-back", id, to],
    gcTime: 0,
    staleTime: Number.POSITIVE_INFINITY,
    queryFn: () => write("post", "/v1/put-backs/preview", { body: selection }),
  });
  const plan = preview.data;
  const submit = () =>
    plan && form.run(async () => {
      await write("post", "/v1/put-backs", { body: { ...selection, id: wanted, seen: plan.seen } });
      tellSaved(t("putBack.done"));
      await stale(["customer", id]);
      close();
    });
  return (
    <FormModal form={form} title={t("putBack.title", { at: fullMoment(to) })} label={t("putBack.submit")} size="lg" close={close} submit={submit} ready={Boolean(plan && plan.rows > 0)}>
      <ProblemAlert error={preview.error} />
      {preview.isPending && <Loader size="sm" />}
      {plan && plan.rows === 0 && <Alert color="gray">{t("putBack.nothing")}</Alert>}
      {plan && <PlanRows plan={plan} />}
    </FormModal>
  );
}

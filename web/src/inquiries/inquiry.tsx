import { ActionIcon, Badge, Button, Group, Loader, Stack, Text } from "@mantine/core";
import { IconPencil } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { Problem, read, type Schemas, write } from "../api/client";
import { stale } from "../cache";
import { HearingSheet } from "../desk/hearing_sheet";
import { TaskMenu } from "../desk/task_actions";
import { label } from "../i18n";
import { Flags, useNames } from "../parts/customer";
import { customName, customValue, customValues, useCustomFields, useCustomText } from "../parts/custom_fields";
import { useOwners } from "../parts/people";
import { ProblemAlert } from "../parts/problem";
import { useMay } from "../session";
import { type Field, RecordForm } from "../settings/record";
import { at, fromInput, fullMoment, moment, today } from "../time";
import { PlanCall } from "./plan_call";

type Card = Schemas["InquiryCard"];
type Item = Schemas["InquiryItem"];
type Move = Schemas["InquiryMove"]["stage"];
/** What a person may decide; the other stages follow from visits. */
const moves: readonly string[] = ["IN_PROGRESS", "NURTURING", "CONTRACTED", "NO_DEAL", "LOST", "INVALID"] satisfies Move[];
const going = ["NEW", "IN_PROGRESS", "NURTURING", "APPOINTED", "VISITED"];
const options = (group: "nextAction" | "invalid", values: readonly string[]) => values.map((value) => ({ value, label: label(group, value) }));

const readCard = (id: string) => read("/v1/inquiries/{inquiry_id}", { path: { inquiry_id: id } });
const refresh = (card: Card) => stale(["inquiry", card.inquiry.id], ["inquiries"], ["tasks"], ["customer", card.customer.id]);

function EditInquiry({ card, close }: { card: Card; close: () => void }) {
  const { t } = useTranslation();
  const { inquiry } = card;
  const own = useCustomFields("inquiry");
  const owners = useOwners(inquiry.owner_id);
  const recordOf = (i: Schemas["Inquiry"]) => ({ ...i, ...customValues(i.custom) });
  const fields: Field[] = [
    ...(going.includes(inquiry.stage)
      ? [
          { name: "next_action", label: t("inquiry.nextAction"), kind: "choice" as const, required: true, options: options("nextAction", ["CALL", "CALLBACK", "PRE_VISIT_CALL", "NURTURE_CALL", ...(["IN_PROGRESS", "NURTURING"].includes(inquiry.stage) ? [] : ["VISIT"]), "WAIT"]) },
          { name: "next_action_at", label: t("inquiry.nextAt"), kind: "moment" as const },
        ]
      : []),
    { name: "owner_id", label: t("inquiry.owner"), kind: "choice", options: owners },
    { name: "notes", label: t("inquiry.notes"), kind: "area" },
    ...own.map((f): Field => {
      const common = { name: customName(f.key), label: f.label, required: f.required };
      if (f.kind === "CHOICE") return { ...common, kind: "choice", options: f.choices.map((c) => ({ value: c, label: c })) };
      if (f.kind === "BOOLEAN") return { ...common, kind: "choice", options: [{ value: "true", label: t("common.yes") }, { value: "false", label: t("common.no") }] };
      return { ...common, kind: f.kind === "DATE" ? "date" : "text" };
    }),
  ];
  return (
    <RecordForm title={t("common.edit")} record={recordOf(inquiry)} fields={fields} close={close}
      reload={async () => recordOf((await readCard(inquiry.id)).inquiry)}
      save={async (body, version) => {
        const changed = own.filter((f) => customName(f.key) in body);
        const custom = Object.fromEntries(changed.map((f) => [f.key, customValue(f, String(body[customName(f.key)] ?? ""))]));
        for (const f of changed) delete body[customName(f.key)];
        await write("patch", "/v1/inquiries/{inquiry_id}", { path: { inquiry_id: inquiry.id }, body: { ...body, ...(changed.length > 0 ? { custom: custom as never } : {}) }, version: version as number });
        await refresh(card);
      }} />
  );
}

/** To another stage, with what it asks for: LOST and INVALID a reason, a stage that goes on what happens next. */
function MoveInquiry({ card, stage, close }: { card: Card; stage: Move; close: () => void }) {
  const { t } = useTranslation();
  const goesOn = stage === "IN_PROGRESS" || stage === "NURTURING";
  const fields: Field[] =
    stage === "LOST" ? [{ name: "reason", label: t("wrap.lostReason"), kind: "text", required: true }]
    : stage === "INVALID" ? [{ name: "reason", label: t("wrap.invalidReason"), kind: "choice", required: true, options: options("invalid", ["duplicate", "prank", "out_of_area", "excluded_goods"]) }]
    : goesOn ? [
        { name: "next_action", label: t("inquiry.nextAction"), kind: "choice", required: true, options: options("nextAction", ["CALL", "CALLBACK", "NURTURE_CALL", "WAIT"]) },
        { name: "next_action_at", label: t("inquiry.nextAt"), kind: "moment", required: true },
      ]
    : [];
  const about = stage === "LOST" || stage === "INVALID" ? t("inquiry.endsCalls") : goesOn ? undefined : t("inquiry.endsSurely", { stage: label("stage", stage) });
  return (
    <RecordForm title={t("inquiry.moveTo", { stage: label("stage", stage) })} about={about} fields={fields} close={close} submitLabel={t("inquiry.moveTo", { stage: label("stage", stage) })}
      initial={goesOn ? { next_action: stage === "NURTURING" ? "NURTURE_CALL" : "CALLBACK", next_action_at: fromInput(at(today(stage === "NURTURING" ? 30 : 1), "10:00")) } : {}}
      save={async (body) => {
        try {
          await write("post", "/v1/inquiries/{inquiry_id}/transition", { path: { inquiry_id: card.inquiry.id }, body: { stage, ...body }, version: card.inquiry.version });
        } catch (e) {
          // Somebody changed it: the page shows how it stands now, and the form saves against that.
          if (e instanceof Problem && (e.status === 412 || e.status === 409)) await refresh(card);
          throw e;
        }
        await refresh(card);
      }} />
  );
}

function EditItem({ card, item, close }: { card: Card; item?: Item; close: () => void }) {
  const { t } = useTranslation();
  const names = useNames();
  const fields: Field[] = [
    { name: "item_category_id", label: t("inquiry.category"), kind: "choice", required: true, options: names.categories.map((c) => ({ value: c.id, label: names.category(c.id) })) },
    { name: "description", label: t("inquiry.description"), kind: "area" },
    { name: "quantity", label: t("inquiry.quantity"), kind: "number", min: 1, max: 100_000 },
  ];
  return (
    <RecordForm title={item ? t("common.edit") : t("inquiry.addItem")} record={item as never} fields={fields} close={close}
      reload={async () => (await readCard(card.inquiry.id)).items.find((i) => i.id === item?.id) as never}
      save={async (body, version) => {
        if (item) await write("patch", "/v1/inquiry-items/{inquiry_item_id}", { path: { inquiry_item_id: item.id }, body, version: version as number });
        else await write("post", "/v1/inquiries/{inquiry_id}/items", { path: { inquiry_id: card.inquiry.id }, body: { ...body, position: card.items.length } as Schemas["NewInquiryItem"] });
        await refresh(card);
      }}
      remove={async (version) => {
        if (item) await write("delete", "/v1/inquiry-items/{inquiry_item_id}", { path: { inquiry_item_id: item.id }, version });
        await refresh(card);
      }} />
  );
}

export function InquiryPage() {
  const { t } = useTranslation();
  const { inquiryId } = useParams({ from: "/app/inquiries/$inquiryId" });
  const may = useMay();
  const names = useNames();
  const { data: card, error, refetch } = useQuery({ queryKey: ["inquiry", inquiryId], queryFn: () => readCard(inquiryId) });
  const own = useCustomFields("inquiry");
  const ownText = useCustomText();
  const owners = useOwners(card?.inquiry.owner_id);
  const [editing, setEditing] = useState(false);
  const [moving, setMoving] = useState<Move>();
  const [item, setItem] = useState<{ of?: Item }>();
  const [planning, setPlanning] = useState(false);
  if (error) return <main className="page"><ProblemAlert error={error} retry={() => void refetch()} /></main>;
  if (!card) return <main className="page"><Loader size="sm" aria-label={t("common.loading")} /></main>;
  const { inquiry, customer, items } = card;
  const custom = customValues(inquiry.custom);
  const pairs: [string, string][] = [
    [t("inquiry.nextAction"), inquiry.next_action && inquiry.next_action !== "NONE" ? `${label("nextAction", inquiry.next_action)} ${moment(inquiry.next_action_at)}` : "—"],
    [t("inquiry.owner"), owners.find((o) => o.value === inquiry.owner_id)?.label ?? "—"],
    [t("inquiry.asked"), t(inquiry.customer_initiated ? "common.yes" : "common.no")],
    ...(inquiry.lost_reason ? [[t("wrap.lostReason"), inquiry.lost_reason] as [string, string]] : []),
    ...(inquiry.invalid_reason ? [[t("wrap.invalidReason"), label("invalid", inquiry.invalid_reason)] as [string, string]] : []),
    ...own.map((f): [string, string] => [f.label, ownText(f, custom[customName(f.key)])]),
    [t("inquiry.notes"), inquiry.notes || "—"],
  ];
  return (
    <main className="page">
      <Stack gap="sm">
        <Group justify="space-between">
          <Group gap={8} align="baseline">
            <Text fw={700} fz={19} component="h1" m={0}>{t("inquiry.title")}: <Link to="/customers/$customerId" params={{ customerId: customer.id }} style={{ color: "inherit" }}>{customer.display_name}</Link></Text>
            <Flags flags={customer.flags} />
            <Badge data-stage={inquiry.stage}>{label("stage", inquiry.stage)}</Badge>
            <span className="faint">{names.media(inquiry.media_source_id)}・{label("channel", inquiry.channel)}・{fullMoment(inquiry.received_at)}</span>
          </Group>
          <Group gap="xs">
            {may("create_call_task") && going.includes(inquiry.stage) && <Button variant="default" onClick={() => setPlanning(true)} data-plan-call>{t("planCall.title")}</Button>}
            {may("update_inquiry") && <Button onClick={() => setEditing(true)} data-edit>{t("common.edit")}</Button>}
          </Group>
        </Group>
        {may("transition_inquiry") && card.allowed_transitions.some((s) => moves.includes(s)) && (
          <Group gap="xs" role="group" aria-label={t("inquiry.move")}>
            <Text fz="sm" className="faint">{t("inquiry.move")}</Text>
            {card.allowed_transitions.filter((s) => moves.includes(s)).map((s) => (
              <Button key={s} size="compact-sm" variant="default" color={s === "LOST" || s === "INVALID" ? "red" : undefined} onClick={() => setMoving(s as Move)} data-move={s}>{label("stage", s)}</Button>
            ))}
          </Group>
        )}
        <div className="twothirds">
          <Stack gap="sm">
            <section className="sheet"><dl className="pairs pad">{pairs.map(([name, value]) => [<dt key={name}>{name}</dt>, <dd key={`${name}-`} style={{ whiteSpace: "pre-wrap" }}>{value}</dd>])}</dl></section>
            {may("save_hearing_sheet") && <HearingSheet key={inquiry.id} inquiryId={inquiry.id} />}
          </Stack>
          <Stack gap="sm">
            <section className="sheet">
              <div className="heading">{t("inquiry.items")}{may("create_inquiry_item") && <Button size="compact-xs" variant="subtle" onClick={() => setItem({})} data-add-item>{t("inquiry.addItem")}</Button>}</div>
              <div className="pad">
                {items.length === 0 && <span className="faint">{t("inquiry.noItems")}</span>}
                {items.map((i) => (
                  <div className="row" key={i.id} data-item={i.id}>
                    <span><b>{names.category(i.item_category_id)}</b> {i.description} {i.quantity ? `×${i.quantity}` : ""}</span>
                    {may("update_inquiry_item") && <ActionIcon variant="subtle" size="xs" color="gray" aria-label={t("inquiry.editItem", { name: names.category(i.item_category_id) })} onClick={() => setItem({ of: i })}><IconPencil size={13} /></ActionIcon>}
                  </div>
                ))}
              </div>
            </section>
            <section className="sheet">
              <div className="heading">{t("customer.openTasks")}</div>
              <div className="pad">
                {card.open_tasks.length === 0 && <span className="faint">{t("common.none")}</span>}
                {card.open_tasks.map((k) => <div key={k.id} className="row" data-task={k.id}><span><Badge color={k.state === "BLOCKED" ? "red" : "ai"}>{label("taskState", k.state)}</Badge> {label("taskKind", k.kind)} <span className="faint">{moment(k.due_at)} {k.note}</span></span><TaskMenu task={{ ...k, customer_display_name: customer.display_name }} /></div>)}
              </div>
            </section>
          </Stack>
        </div>
      </Stack>
      {editing && <EditInquiry card={card} close={() => setEditing(false)} />}
      {moving && <MoveInquiry key={moving} card={card} stage={moving} close={() => setMoving(undefined)} />}
      {item && <EditItem key={item.of?.id ?? "new"} card={card} item={item.of} close={() => setItem(undefined)} />}
      {planning && <PlanCall customerId={customer.id} inquiries={[{ id: inquiry.id, label: label("stage", inquiry.stage) }]} close={() => setPlanning(false)} />}
    </main>
  );
}

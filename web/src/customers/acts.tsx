// What is seldom done with a customer and not lightly: a ban and its end, hiding, and erasing by law. Each says first what follows from it.
import { ActionIcon, Checkbox, List, Menu, NativeSelect, Textarea, TextInput } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { IconDots } from "@tabler/icons-react";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { Problem, type Schemas, write } from "../api/client";
import { cache, stale } from "../cache";
import { label } from "../i18n";
import type { Customer } from "../parts/customer";
import { FormModal, tellSaved, useSubmit } from "../parts/form";
import { PickCustomer } from "../parts/pick_customer";
import { useMay } from "../session";
import { RecordForm } from "../settings/record";
import { fullMoment } from "../time";

const sources = ["REQUEST", "COMPLAINT", "COMPLIANCE"] as const;

/** A ban by hand, of this customer or of one who is looked for. */
export function BanCustomer({ customerId, close }: { customerId?: string; close: () => void }) {
  const { t } = useTranslation();
  const form = useSubmit();
  const [whom, setWhom] = useState(customerId);
  const [source, setSource] = useState<(typeof sources)[number]>("REQUEST");
  const [reason, setReason] = useState("");
  const ban = () =>
    form.run(async () => {
      const made = await write("post", "/v1/solicitation-bans", { body: { customer_id: whom as string, source, reason } });
      await stale(["bans"], ["customer", made.customer_id], ["tasks"], ["inquiry"]);
      tellSaved(t("bans.made", { name: made.customer_name }));
      if (made.open_appointments.length > 0) notifications.show({ message: t("bans.openVisits", { count: made.open_appointments.length }), color: "orange", autoClose: false });
      close();
    });
  return (
    <FormModal form={form} name="ban" title={t("bans.add")} label={t("bans.add")} color="red" about={t("bans.consequences")} close={close} submit={ban} ready={Boolean(whom) && reason.trim() !== ""} shown={["/customer_id", "/source", "/reason"]}>
      {!customerId && <PickCustomer id={whom} pick={setWhom} error={form.at("/customer_id")} required w="100%" data-autofocus />}
      <NativeSelect label={t("bans.source")} name="source" value={source} onChange={(e) => setSource(e.currentTarget.value as typeof source)} data={sources.map((s) => ({ value: s, label: label("banSource", s) }))} error={form.at("/source")} />
      <Textarea label={t("common.reason")} description={t("bans.reasonHint")} name="reason" required autosize minRows={2} value={reason} onChange={(e) => setReason(e.currentTarget.value)} error={form.at("/reason")} data-autofocus={Boolean(customerId) || undefined} />
    </FormModal>
  );
}

export function LiftBan({ ban, close }: { ban: Pick<Schemas["SolicitationBan"], "id" | "customer_id" | "reason" | "banned_at">; close: () => void }) {
  const { t } = useTranslation();
  return (
    <RecordForm name="lift" color="red" title={t("bans.liftTitle")} submitLabel={t("bans.lift")} about={<>{t("bans.liftConsequences")}<br />{fullMoment(ban.banned_at)} {ban.reason}</>} close={close}
      fields={[{ name: "reason", label: t("common.reason"), hint: t("bans.liftHint"), kind: "area", required: true }]}
      save={async (body) => {
        await write("post", "/v1/solicitation-bans/{solicitation_ban_id}/lifting", { path: { solicitation_ban_id: ban.id }, body: body as Schemas["Lifting"] });
        await stale(["bans"], ["customer"], ["tasks"]);
      }} />
  );
}

/** Out of lists and searches; what hangs on the record stays, and it can be put back. */
function HideCustomer({ customer, close }: { customer: Customer; close: () => void }) {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const form = useSubmit(async (e) => {
    if (e instanceof Problem && e.status === 412) await stale(["customer", customer.id]);
    return e;
  });
  const hide = () =>
    form.run(async () => {
      await write("delete", "/v1/customers/{customer_id}", { path: { customer_id: customer.id }, version: customer.version });
      tellSaved(t("hide.done", { name: customer.display_name }));
      await navigate({ to: "/customers", search: {} });
      cache.removeQueries({ queryKey: ["customer", customer.id] });
      await stale(["customers"]);
    });
  return <FormModal form={form} name="hide" title={t("hide.title")} label={t("hide.submit")} color="red" about={t("hide.consequences", { name: customer.display_name })} close={close} submit={hide} />;
}

const plain = (name: string) => name.normalize("NFKC").replace(/\s/g, "");

/** By the person's right. The name is typed, for there is no way back; while the law wants the data kept, the record can be masked instead. */
function EraseCustomer({ customer, close }: { customer: Customer; close: () => void }) {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const form = useSubmit();
  const [reason, setReason] = useState("");
  const [typed, setTyped] = useState("");
  const [mask, setMask] = useState(false);
  const [kept, setKept] = useState(false);
  const problem = form.error instanceof Problem ? form.error : undefined;
  if (problem?.code === "LEGAL_RETENTION" && !kept) setKept(true);
  const open = problem?.code === "ERASURE_BLOCKED" && Array.isArray(problem.extra.open) ? [...new Set(problem.extra.open as string[])] : [];
  const erase = () =>
    form.run(async () => {
      const proof = await write("post", "/v1/customers/{customer_id}/erasure", { path: { customer_id: customer.id }, body: { reason, ...(mask ? { mask } : {}) } });
      tellSaved(t(proof.kind === "MASKED" ? "erase.masked" : "erase.done"));
      await navigate({ to: "/customers", search: {} });
      cache.removeQueries({ predicate: (q) => JSON.stringify(q.queryKey).includes(customer.id) });
      await stale(["customers"], ["erasures"], ["tasks"], ["inquiries"]);
    });
  return (
    <FormModal form={form} name="erase" title={t("erase.title")} label={t(mask ? "erase.maskSubmit" : "erase.submit")} color="red" close={close} submit={erase} ready={reason.trim() !== "" && plain(typed) === plain(customer.display_name)} shown={["/reason"]}
      about={<List size="sm" spacing={2}>{(["everywhere", "noWayBack", "proof", "backups"] as const).map((k) => <List.Item key={k}>{t(`erase.${k}`)}</List.Item>)}</List>}>
      {open.length > 0 && <div className="warning">{t("erase.open")}: {open.map((o) => t(`erase.open_${o}` as never) as unknown as string).join("、")}</div>}
      {kept && <Checkbox label={t("erase.mask")} description={t("erase.maskHint")} name="mask" checked={mask} onChange={(e) => setMask(e.currentTarget.checked)} />}
      <TextInput label={t("common.reason")} description={t("erase.reasonHint")} name="reason" required value={reason} onChange={(e) => setReason(e.currentTarget.value)} error={form.at("/reason")} data-autofocus />
      <TextInput label={t("erase.confirm", { name: customer.display_name })} name="confirm" required value={typed} onChange={(e) => setTyped(e.currentTarget.value)} autoComplete="off" />
    </FormModal>
  );
}

export function CustomerMenu({ customer }: { customer: Customer }) {
  const { t } = useTranslation();
  const may = useMay();
  const [doing, setDoing] = useState<"ban" | "lift" | "hide" | "erase">();
  const ban = customer.active_ban;
  const can = {
    // One that reaches this customer by a shared number or address is somebody else's.
    ban: may("create_solicitation_ban") && ban?.customer_id !== customer.id,
    lift: may("lift_solicitation_ban") && Boolean(ban),
    hide: may("hide_customer"),
    erase: may("erase_customer"),
  };
  const close = () => setDoing(undefined);
  if (!Object.values(can).some(Boolean)) return null;
  return (
    <>
      <Menu position="bottom-end" transitionProps={{ duration: 0 }}>
        <Menu.Target><ActionIcon variant="default" size={30} aria-label={t("customer.more")} data-customer-menu><IconDots size={16} /></ActionIcon></Menu.Target>
        <Menu.Dropdown>
          {can.ban && <Menu.Item onClick={() => setDoing("ban")}>{t("bans.add")}</Menu.Item>}
          {can.lift && <Menu.Item onClick={() => setDoing("lift")}>{t("bans.liftTitle")}</Menu.Item>}
          {can.hide && <Menu.Item color="red" onClick={() => setDoing("hide")}>{t("hide.title")}</Menu.Item>}
          {can.erase && <Menu.Item color="red" onClick={() => setDoing("erase")}>{t("erase.title")}</Menu.Item>}
        </Menu.Dropdown>
      </Menu>
      {doing === "ban" && <BanCustomer customerId={customer.id} close={close} />}
      {doing === "lift" && ban && <LiftBan ban={ban} close={close} />}
      {doing === "hide" && <HideCustomer customer={customer} close={close} />}
      {doing === "erase" && <EraseCustomer customer={customer} close={close} />}
    </>
  );
}

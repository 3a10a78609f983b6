import { Button, Checkbox, Group, Loader, MultiSelect, NativeSelect, SegmentedControl, Stack, Text, Textarea } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { fieldError, read, type Schemas, write } from "../api/client";
import { stale } from "../cache";
import { EditChild } from "../customers/customer";
import { label } from "../i18n";
import { addressText, type Customer, useNames } from "../parts/customer";
import { DigitsInput } from "../parts/digits";
import { useSubmit } from "../parts/form";
import { ProblemAlert } from "../parts/problem";
import { clock, day, fullMoment, today } from "../time";

type Slot = Schemas["FreeSlot"];
export interface Booking { appointment_id: string; request?: NonNullable<Schemas["Finish"]["solicitation_request"]> }
/** A start in a free slot, for a visit of so many minutes. */
export interface Chosen { slot: Slot; appraiserId: string; startsAt: string; minutes: number }
export const endOf = (chosen: Chosen) => new Date(Date.parse(chosen.startsAt) + chosen.minutes * 60_000).toISOString();
const stepMinutes = 30;
const windowDays = 14;

/** Starts that fit: every half hour of the gaps in which the appraiser is free. */
function startsOf(slot: Slot, appraiserId: string | undefined, minutes: number): string[] {
  const gaps = slot.appraisers.find((a) => a.appraiser_id === appraiserId)?.free ?? [];
  const starts: string[] = [];
  for (const gap of gaps) {
    const from = Math.max(Date.parse(gap.starts_at), Date.parse(slot.starts_at));
    const to = Math.min(Date.parse(gap.ends_at), Date.parse(slot.ends_at));
    for (let at = from; at + minutes * 60_000 <= to; at += stepMinutes * 60_000) starts.push(new Date(at).toISOString());
  }
  return starts;
}

export function SlotPicker({ where, categoryIds, visitMinutes = 60, chosen, choose }: {
  where: { address_id?: string; postal_code?: string };
  categoryIds: string[];
  visitMinutes?: number;
  chosen: Chosen | undefined;
  choose: (chosen: Chosen | undefined) => void;
}) {
  const { t } = useTranslation();
  const [minutes, setMinutes] = useState(visitMinutes);
  const [after, setAfter] = useState(0);
  const ready = Boolean(where.address_id) || /^\d{7}$/.test(where.postal_code ?? "");
  const from = today(after);
  const to = today(after + windowDays - 1);
  const free = useQuery({
    queryKey: ["availability", where, categoryIds, from, minutes],
    enabled: ready,
    queryFn: () => read("/v1/visit-slots/availability", { query: { ...where, from, to, category_ids: categoryIds, minutes } }),
  });
  if (!ready) return null;
  const starts = (slot: Slot, appraiserId: string | undefined) => startsOf(slot, appraiserId, minutes);
  const pick = (slot: Slot, appraiserId: string, startsAt = starts(slot, appraiserId)[0] as string) => choose({ slot, appraiserId, startsAt, minutes });
  const slots = free.data?.items.filter((s) => s.free > 0 && s.appraisers.some((a) => starts(s, a.appraiser_id).length > 0)) ?? [];
  const noon = (date: string) => `${date}T12:00:00+09:00`;
  return (
    <Stack gap={6}>
      <Group gap="xs" align="end">
        <NativeSelect label={t("book.minutes")} value={minutes} onChange={(e) => { setMinutes(Number(e.currentTarget.value)); choose(undefined); }} w={110}
          data={[...new Set([30, 60, 90, 120, 180, visitMinutes])].sort((a, b) => a - b).map((m) => ({ value: String(m), label: t("book.minutesOf", { count: m }) }))} />
        <Button variant="default" disabled={after === 0} onClick={() => setAfter(after - windowDays)}>{t("book.earlier")}</Button>
        <Text fz="sm" data-window pb={6}>{day(noon(from))}–{day(noon(to))}</Text>
        <Button variant="default" onClick={() => setAfter(after + windowDays)} data-later>{t("book.later")}</Button>
      </Group>
      {free.error ? <ProblemAlert error={free.error} retry={() => void free.refetch()} />
        : !free.data ? <Loader size="xs" />
        : !free.data.service_area_id ? <div className="warning">{t("book.noArea")}</div>
        : slots.length === 0 ? <div className="warning">{t("book.noSlot")}</div>
        : (
          <div className="slots" role="group" aria-label={t("book.slots")} style={{ maxHeight: 132, overflow: "auto" }}>
            {slots.map((s) => {
              const first = s.appraisers.find((a) => starts(s, a.appraiser_id).length > 0)?.appraiser_id as string;
              return (
                <button key={s.slot_id} type="button" className="outcome" aria-pressed={chosen?.slot.slot_id === s.slot_id} onClick={() => pick(s, first)}>
                  {day(s.starts_at)}
                  <div>{clock(s.starts_at)}–{clock(s.ends_at)}</div>
                  <b>{t("book.free", { count: s.free })}</b>
                </button>
              );
            })}
          </div>
        )}
      {chosen && (
        <Group gap="xs" align="end">
          <Text fz="sm" fw={600} pb={6}>{day(chosen.startsAt)}</Text>
          <NativeSelect label={t("book.appraiser")} value={chosen.appraiserId} onChange={(e) => pick(chosen.slot, e.currentTarget.value)}
            data={chosen.slot.appraisers.filter((a) => starts(chosen.slot, a.appraiser_id).length > 0).map((a) => ({ value: a.appraiser_id, label: a.display_name }))} />
          <NativeSelect label={t("book.start")} value={chosen.startsAt} onChange={(e) => pick(chosen.slot, chosen.appraiserId, e.currentTarget.value)}
            data={starts(chosen.slot, chosen.appraiserId).map((at) => ({ value: at, label: clock(at) }))} />
        </Group>
      )}
    </Stack>
  );
}

/** What was typed of a booking, kept with the rest of the wrap-up until the server has it. */
export interface BookingDraft {
  addressId: string;
  postal: string;
  categories: string[];
  held: { id: string; starts_at: string; who: string; until: string | null } | undefined;
  existing: string | undefined;
  scope: "APPRAISAL_ONLY" | "PURCHASE";
  verbatim: string;
  disclosed: boolean;
  willing: boolean;
}
type Inquiry = Customer["inquiries"][number];
const openVisits = (customer: Customer, inquiry: Inquiry) => customer.appointments.filter((a) => a.inquiry_id === inquiry.id && ["BOOKED", "CONFIRMED"].includes(a.state));
export const newBooking = (customer: Customer, inquiry: Inquiry, preVisit: boolean): BookingDraft => ({
  addressId: "", postal: "", categories: [...new Set(inquiry.items.map((i) => i.item_category_id))], held: undefined, existing: preVisit ? openVisits(customer, inquiry)[0]?.id : undefined,
  scope: "PURCHASE", verbatim: "", disclosed: false, willing: false,
});
/** The draft as the server knows the customer: a hold or a visit that is gone meanwhile counts no more, one that is there needs no draft. */
function standing(draft: BookingDraft, customer: Customer, inquiry: Inquiry) {
  const open = openVisits(customer, inquiry);
  const hold = customer.appointments.find((a) => a.inquiry_id === inquiry.id && a.state === "HELD");
  return {
    open,
    existing: open.find((a) => a.id === draft.existing)?.id,
    held: hold && { id: hold.id, starts_at: hold.starts_at, until: hold.hold_expires_at, who: draft.held?.id === hold.id ? draft.held.who : "" },
    addressId: (customer.addresses.find((a) => a.id === draft.addressId) ?? customer.addresses[0])?.id ?? "",
  };
}
export function bookingOf(draft: BookingDraft, customer: Customer, inquiry: Inquiry): Booking | undefined {
  const { existing, held } = standing(draft, customer, inquiry);
  if (existing) return { appointment_id: existing };
  return held && { appointment_id: held.id, request: { scope: draft.scope, category_ids: draft.categories, verbatim: draft.verbatim, disclosed: draft.disclosed, willingness_confirmed: draft.willing } };
}

/** Hold a place, write down what the customer asked for; finishing the call books both in one transaction. */
export function BookingForm({ customer, inquiry, draft, set, error }: { customer: Customer; inquiry: Inquiry; draft: BookingDraft; set: (change: Partial<BookingDraft>) => void; error: unknown }) {
  const { t } = useTranslation();
  const names = useNames();
  const { open, existing, held, addressId } = standing(draft, customer, inquiry);
  const { categories, scope } = draft;
  const [chosen, setChosen] = useState<Chosen>();
  const [adding, setAdding] = useState(false);
  const form = useSubmit();
  const { busy } = form;
  /** What makes other slots free unmakes the choice. */
  const elsewhere = (change: Partial<BookingDraft>) => {
    setChosen(undefined);
    set(change);
  };
  const run = async (action: () => Promise<void>) => {
    await form.run(action);
    await stale(["availability"], ["customer", customer.id]);
  };
  const hold = () =>
    run(async () => {
      if (!chosen) return;
      const a = await write("post", "/v1/appointments", {
        body: {
          state: "HELD", inquiry_id: inquiry.id, slot_id: chosen.slot.slot_id, appraiser_id: chosen.appraiserId, address_id: addressId || null, category_ids: categories,
          starts_at: chosen.startsAt, ends_at: endOf(chosen),
        },
      });
      set({ held: { id: a.id, starts_at: a.starts_at, who: a.appraiser_name, until: a.hold_expires_at } });
      setChosen(undefined);
    });
  // The place goes back first: an inquiry has one visit at a time, a held one too.
  const giveBack = () =>
    run(async () => {
      if (!held) return;
      await write("post", "/v1/appointments/{appointment_id}/cancellation", { path: { appointment_id: held.id }, body: { by: "COMPANY", reason: t("book.changedReason") } });
      set({ held: undefined });
    });
  const confirm = (id: string) => run(async () => void (await write("post", "/v1/appointments/{appointment_id}/confirmation", { path: { appointment_id: id } })));
  return (
    <Stack gap={8} className="sheet" p="xs">
      {open.map((a) => (
        <Group key={a.id} gap="xs">
          <Text fz="sm" fw={600}>{t("book.existing")}: {fullMoment(a.starts_at)}（{label("visit", a.state)}）</Text>
          {a.state === "BOOKED" && <Button size="compact-xs" loading={busy} onClick={() => void confirm(a.id)}>{t("visits.confirm")}</Button>}
          <Button size="compact-xs" variant={existing === a.id ? "filled" : "default"} aria-pressed={existing === a.id} onClick={() => set({ existing: existing === a.id ? undefined : a.id })}>{t("book.useExisting")}</Button>
        </Group>
      ))}
      {!existing && (
        <>
          <Group grow align="start">
            <div>
              {customer.addresses.length > 0 ? (
                <NativeSelect label={t("book.address")} value={addressId} disabled={Boolean(held)} onChange={(e) => elsewhere({ addressId: e.currentTarget.value })} data={customer.addresses.map((a) => ({ value: a.id, label: addressText(a) }))} />
              ) : (
                <DigitsInput label={t("book.postal")} description={t("book.noAddress")} value={draft.postal} change={(postal) => elsewhere({ postal })} most={7} />
              )}
              <Button size="compact-xs" variant="subtle" mt={2} onClick={() => setAdding(true)}>{t("customer.addAddress")}</Button>
            </div>
            <MultiSelect label={t("book.categories")} value={categories} disabled={Boolean(held)} onChange={(chosen) => elsewhere({ categories: chosen })} data={names.categories.map((c) => ({ value: c.id, label: names.category(c.id) }))} error={fieldError(error, "/solicitation_request/category_ids")} />
          </Group>
          {held ? (
            <Group gap="xs" className="warning">
              <span data-held>{t("book.held", { at: fullMoment(held.starts_at), who: held.who, until: clock(held.until) })}</span>
              <Button size="compact-xs" variant="default" loading={busy} onClick={() => void giveBack()} data-change-slot>{t("book.change")}</Button>
            </Group>
          ) : (
            <>
              <SlotPicker where={addressId ? { address_id: addressId } : { postal_code: draft.postal }} categoryIds={categories} chosen={chosen} choose={setChosen} />
              {chosen && <Group><Button onClick={() => void hold()} loading={busy} disabled={!addressId}>{t("book.hold")}</Button></Group>}
            </>
          )}
          <ProblemAlert error={form.error} />
          <Textarea label={t("book.verbatim")} autosize minRows={1} value={draft.verbatim} onChange={(e) => set({ verbatim: e.currentTarget.value })} error={fieldError(error, "/solicitation_request/verbatim")} required withAsterisk name="verbatim" />
          <Group gap="md">
            <SegmentedControl aria-label={t("book.scope")} value={scope} onChange={(v) => set({ scope: v as typeof scope })} data={[{ value: "PURCHASE", label: t("book.PURCHASE") }, { value: "APPRAISAL_ONLY", label: t("book.APPRAISAL_ONLY") }]} />
            <Checkbox label={t("book.disclosed")} checked={draft.disclosed} onChange={(e) => set({ disclosed: e.currentTarget.checked })} />
            <Checkbox label={t("book.willing")} checked={draft.willing} onChange={(e) => set({ willing: e.currentTarget.checked })} />
          </Group>
          {scope === "APPRAISAL_ONLY" && <div className="warning">{t("book.appraisalWarning")}</div>}
        </>
      )}
      {adding && <EditChild customer={customer} kind="address" close={() => setAdding(false)} />}
    </Stack>
  );
}

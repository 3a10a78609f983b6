import { Button, Checkbox, Group, Loader, MultiSelect, NativeSelect, SegmentedControl, Stack, Text, Textarea } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { fieldError, read, type Schemas, write } from "../api/client";
import { cache } from "../cache";
import { EditChild } from "../customers/customer";
import { label } from "../i18n";
import { addressText, type Customer, useNames } from "../parts/customer";
import { DigitsInput } from "../parts/digits";
import { ProblemAlert } from "../parts/problem";
import { clock, day, fullMoment, today } from "../time";

type Slot = Schemas["FreeSlot"];
export interface Booking { appointment_id: string; request?: NonNullable<Schemas["Finish"]["solicitation_request"]> }
const visitMinutes = 60;
const stepMinutes = 30;

/** Starts that fit: every half hour of the gaps in which the appraiser is free. */
function startsOf(slot: Slot, appraiserId: string | undefined): string[] {
  const gaps = slot.appraisers.find((a) => a.appraiser_id === appraiserId)?.free ?? [];
  const starts: string[] = [];
  for (const gap of gaps) {
    const from = Math.max(Date.parse(gap.starts_at), Date.parse(slot.starts_at));
    const to = Math.min(Date.parse(gap.ends_at), Date.parse(slot.ends_at));
    for (let at = from; at + visitMinutes * 60_000 <= to; at += stepMinutes * 60_000) starts.push(new Date(at).toISOString());
  }
  return starts;
}

export function SlotPicker({ where, categoryIds, chosen, choose }: {
  where: { address_id?: string; postal_code?: string };
  categoryIds: string[];
  chosen: { slot: Slot; appraiserId: string; startsAt: string } | undefined;
  choose: (slot: Slot, appraiserId: string, startsAt: string) => void;
}) {
  const { t } = useTranslation();
  const ready = Boolean(where.address_id) || /^\d{7}$/.test(where.postal_code ?? "");
  const free = useQuery({
    queryKey: ["availability", where, categoryIds],
    enabled: ready,
    queryFn: () => read("/v1/visit-slots/availability", { query: { ...where, from: today(), to: today(14), category_ids: categoryIds, minutes: visitMinutes } }),
  });
  if (!ready) return null;
  if (free.error) return <ProblemAlert error={free.error} />;
  if (!free.data) return <Loader size="xs" />;
  if (!free.data.service_area_id) return <div className="warning">{t("book.noArea")}</div>;
  const slots = free.data.items.filter((s) => s.free > 0 && s.appraisers.some((a) => startsOf(s, a.appraiser_id).length > 0));
  if (slots.length === 0) return <div className="warning">{t("book.noSlot")}</div>;
  return (
    <Stack gap={6}>
      <div className="slots" role="group" aria-label={t("book.slots")} style={{ maxHeight: 132, overflow: "auto" }}>
        {slots.map((s) => {
          const first = s.appraisers.find((a) => startsOf(s, a.appraiser_id).length > 0)?.appraiser_id as string;
          return (
            <button key={s.slot_id} type="button" className="outcome" aria-pressed={chosen?.slot.slot_id === s.slot_id} onClick={() => choose(s, first, startsOf(s, first)[0] as string)}>
              {day(s.starts_at)}
              <div>{clock(s.starts_at)}–{clock(s.ends_at)}</div>
              <b>{t("book.free", { count: s.free })}</b>
            </button>
          );
        })}
      </div>
      {chosen && (
        <Group gap="xs" align="end">
          <NativeSelect label={t("book.appraiser")} value={chosen.appraiserId} onChange={(e) => { const id = e.currentTarget.value; choose(chosen.slot, id, startsOf(chosen.slot, id)[0] as string); }}
            data={chosen.slot.appraisers.filter((a) => startsOf(chosen.slot, a.appraiser_id).length > 0).map((a) => ({ value: a.appraiser_id, label: a.display_name }))} />
          <NativeSelect label={t("book.start")} value={chosen.startsAt} onChange={(e) => choose(chosen.slot, chosen.appraiserId, e.currentTarget.value)}
            data={startsOf(chosen.slot, chosen.appraiserId).map((at) => ({ value: at, label: clock(at) }))} />
        </Group>
      )}
    </Stack>
  );
}

/** Hold a place, write down what the customer asked for; finishing the call books both in one transaction. */
export function BookingForm({ customer, inquiry, preVisit, change, error }: { customer: Customer; inquiry: Customer["inquiries"][number]; preVisit: boolean; change: (booking: Booking | undefined) => void; error: unknown }) {
  const { t } = useTranslation();
  const names = useNames();
  const open = customer.appointments.filter((a) => a.inquiry_id === inquiry.id && ["BOOKED", "CONFIRMED"].includes(a.state));
  const mine = customer.appointments.find((a) => a.inquiry_id === inquiry.id && a.state === "HELD");
  const [addressId, setAddressId] = useState(customer.addresses[0]?.id ?? "");
  const [postal, setPostal] = useState("");
  const [categories, setCategories] = useState<string[]>(() => [...new Set(inquiry.items.map((i) => i.item_category_id))]);
  const [chosen, setChosen] = useState<{ slot: Slot; appraiserId: string; startsAt: string }>();
  const [held, setHeld] = useState<{ id: string; starts_at: string; who: string; until: string | null } | undefined>(mine && { id: mine.id, starts_at: mine.starts_at, who: "", until: mine.hold_expires_at });
  const [existing, setExisting] = useState(preVisit ? open[0]?.id : undefined);
  const [scope, setScope] = useState<"APPRAISAL_ONLY" | "PURCHASE">("PURCHASE");
  const [verbatim, setVerbatim] = useState("");
  const [disclosed, setDisclosed] = useState(false);
  const [willing, setWilling] = useState(false);
  const [adding, setAdding] = useState(false);
  const [problem, setProblem] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    if (!addressId && customer.addresses[0]) setAddressId(customer.addresses[0].id);
  }, [addressId, customer.addresses]);
  useEffect(() => {
    if (existing) change({ appointment_id: existing });
    else if (held) change({ appointment_id: held.id, request: { scope, category_ids: categories, verbatim, disclosed, willingness_confirmed: willing } });
    else change(undefined);
  }, [existing, held, scope, categories, verbatim, disclosed, willing, change]);
  const hold = async () => {
    if (!chosen) return;
    setBusy(true);
    setProblem(undefined);
    try {
      const a = await write("post", "/v1/appointments", {
        body: {
          state: "HELD", inquiry_id: inquiry.id, slot_id: chosen.slot.slot_id, appraiser_id: chosen.appraiserId, address_id: addressId || null, category_ids: categories,
          starts_at: chosen.startsAt, ends_at: new Date(Date.parse(chosen.startsAt) + visitMinutes * 60_000).toISOString(),
        },
      });
      setHeld({ id: a.id, starts_at: a.starts_at, who: a.appraiser_name, until: a.hold_expires_at });
    } catch (e) {
      setProblem(e);
      void cache.invalidateQueries({ queryKey: ["availability"] });
    } finally {
      setBusy(false);
    }
  };
  const confirm = async (id: string) => {
    try {
      await write("post", "/v1/appointments/{appointment_id}/confirmation", { path: { appointment_id: id } });
      await cache.invalidateQueries({ queryKey: ["customer", customer.id] });
    } catch (e) {
      setProblem(e);
    }
  };
  return (
    <Stack gap={8} className="sheet" p="xs">
      {open.map((a) => (
        <Group key={a.id} gap="xs">
          <Text fz="sm" fw={600}>{t("book.existing")}: {fullMoment(a.starts_at)}（{label("visit", a.state)}）</Text>
          {a.state === "BOOKED" && <Button size="compact-xs" onClick={() => void confirm(a.id)}>{t("visits.confirm")}</Button>}
          <Button size="compact-xs" variant={existing === a.id ? "filled" : "default"} aria-pressed={existing === a.id} onClick={() => setExisting(existing === a.id ? undefined : a.id)}>{t("book.useExisting")}</Button>
        </Group>
      ))}
      {!existing && (
        <>
          <Group grow align="start">
            <div>
              {customer.addresses.length > 0 ? (
                <NativeSelect label={t("book.address")} value={addressId} disabled={Boolean(held)} onChange={(e) => setAddressId(e.currentTarget.value)} data={customer.addresses.map((a) => ({ value: a.id, label: addressText(a) }))} />
              ) : (
                <DigitsInput label={t("book.postal")} description={t("book.noAddress")} value={postal} change={setPostal} most={7} />
              )}
              <Button size="compact-xs" variant="subtle" mt={2} onClick={() => setAdding(true)}>{t("customer.addAddress")}</Button>
            </div>
            <MultiSelect label={t("book.categories")} value={categories} disabled={Boolean(held)} onChange={setCategories} data={names.categories.map((c) => ({ value: c.id, label: names.category(c.id) }))} error={fieldError(error, "/solicitation_request/category_ids")} />
          </Group>
          {held ? (
            <Group gap="xs" className="warning">
              <span data-held>{t("book.held", { at: fullMoment(held.starts_at), who: held.who, until: clock(held.until) })}</span>
              <Button size="compact-xs" variant="default" onClick={() => setHeld(undefined)}>{t("book.change")}</Button>
            </Group>
          ) : (
            <>
              <SlotPicker where={addressId ? { address_id: addressId } : { postal_code: postal }} categoryIds={categories} chosen={chosen} choose={(slot, appraiserId, startsAt) => setChosen({ slot, appraiserId, startsAt })} />
              {chosen && <Group><Button onClick={() => void hold()} loading={busy} disabled={!addressId}>{t("book.hold")}</Button></Group>}
            </>
          )}
          <ProblemAlert error={problem} />
          <Textarea label={t("book.verbatim")} autosize minRows={1} value={verbatim} onChange={(e) => setVerbatim(e.currentTarget.value)} error={fieldError(error, "/solicitation_request/verbatim")} required withAsterisk name="verbatim" />
          <Group gap="md">
            <SegmentedControl aria-label={t("book.scope")} value={scope} onChange={(v) => setScope(v as typeof scope)} data={[{ value: "PURCHASE", label: t("book.PURCHASE") }, { value: "APPRAISAL_ONLY", label: t("book.APPRAISAL_ONLY") }]} />
            <Checkbox label={t("book.disclosed")} checked={disclosed} onChange={(e) => setDisclosed(e.currentTarget.checked)} />
            <Checkbox label={t("book.willing")} checked={willing} onChange={(e) => setWilling(e.currentTarget.checked)} />
          </Group>
          {scope === "APPRAISAL_ONLY" && <div className="warning">{t("book.appraisalWarning")}</div>}
        </>
      )}
      {adding && <EditChild customer={customer} kind="address" close={() => setAdding(false)} />}
    </Stack>
  );
}

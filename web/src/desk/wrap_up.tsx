import { Button, Checkbox, Group, NativeSelect, Stack, Textarea, TextInput } from "@mantine/core";
import { type FormEvent, type ReactNode, useCallback, useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { type Schemas, write } from "../api/client";
import { label } from "../i18n";
import { useKeys } from "../keyboard";
import type { Customer } from "../parts/customer";
import { useSubmit } from "../parts/form";
import { ProblemAlert } from "../parts/problem";
import { at, fromInput, toInput, today } from "../time";
import { type BookingDraft, BookingForm, bookingOf, newBooking } from "./booking";
import { keepDraft, myDraft, orphans } from "./draft";

export const outcomes = ["APPOINTED", "CALLBACK", "NO_ANSWER", "BUSY", "VOICEMAIL", "THIRD_PARTY", "WRONG_NUMBER", "OUT_OF_SERVICE", "REFUSED"] as const;
type Outcome = (typeof outcomes)[number];
type Next = "CALL" | "CALLBACK" | "PRE_VISIT_CALL" | "NURTURE_CALL" | "WAIT" | "LOST" | "INVALID";

/** Two hours from now, to five minutes; tomorrow morning when that would be too late in the day. */
function inTwoHours(): string {
  const later = toInput(new Date(Math.ceil((Date.now() + 7_200_000) / 300_000) * 300_000));
  const hour = Number(later.slice(11, 13));
  return later.slice(0, 10) !== today() || hour >= 20 || hour < 9 ? at(today(1), "10:00") : later;
}
const inADay = () => at(today(1), "10:00");

interface Draft { outcome?: Outcome; memo: string; next: Next; dueAt: string; note: string; reason: string; lost: string; invalid: string; booking?: BookingDraft }
/** Why it was lost, unless somebody typed why. */
const lostBy = (outcome: Outcome, d: Draft) => ({ next: "LOST" as const, lost: [...outcomes.map((o) => label("outcome", o)), ""].includes(d.lost) ? label("outcome", outcome) : d.lost });
const suggested: Record<Outcome, (d: Draft) => Partial<Draft>> = {
  APPOINTED: () => ({}),
  CALLBACK: () => ({ next: "CALLBACK", dueAt: inADay() }),
  NO_ANSWER: () => ({ next: "CALL", dueAt: inTwoHours() }),
  BUSY: () => ({ next: "CALL", dueAt: inTwoHours() }),
  VOICEMAIL: () => ({ next: "CALL", dueAt: inADay() }),
  THIRD_PARTY: () => ({ next: "CALL", dueAt: at(today(1), "18:00") }),
  WRONG_NUMBER: (d) => lostBy("WRONG_NUMBER", d),
  OUT_OF_SERVICE: (d) => lostBy("OUT_OF_SERVICE", d),
  REFUSED: () => ({}),
};

export function WrapUp({ call, customer, task, top, before, done }: {
  call: Schemas["Call"];
  customer: Customer | undefined;
  task: Schemas["CallTaskRow"] | undefined;
  top: ReactNode;
  before: () => Promise<void>;
  done: (finished: Schemas["FinishedCall"]) => Promise<void>;
}) {
  const { t } = useTranslation();
  // By its task: who loses the lease and claims the task again finds here what was typed.
  const thing = `wrapup.${call.task_id ?? call.id}`;
  const [blank] = useState<Draft>(() => ({ memo: call.memo, next: "CALLBACK", dueAt: inADay(), note: "", reason: "", lost: "", invalid: "out_of_area" }));
  const [draft, setDraft] = useState<Draft>(() => ({ ...blank, ...myDraft<Draft>(thing) }));
  const [sure, setSure] = useState(false);
  const form = useSubmit();
  const { busy, error } = form;
  const save = useRef<HTMLButtonElement>(null);
  const reason = useRef<HTMLTextAreaElement>(null);
  const box = useRef<HTMLFormElement>(null);
  const inquiry = customer?.inquiries.find((i) => i.id === call.inquiry_id);
  const set = useCallback((change: Partial<Draft>) => setDraft((d) => ({ ...d, ...change })), []);
  useEffect(() => keepDraft(thing, draft), [thing, draft]);
  // What a tab left behind that is gone, where this one has nothing typed itself.
  useEffect(() => {
    void orphans<Draft>(thing).then((found) =>
      setDraft((d) => found.reduce((now, one) => ({ ...now, ...Object.fromEntries(Object.entries(one).filter(([k]) => now[k as keyof Draft] === blank[k as keyof Draft])) }), d)));
  }, [thing, blank]);
  const preVisit = task?.kind === "PRE_VISIT";
  const bookingDraft = customer && inquiry && (draft.booking ?? newBooking(customer, inquiry, preVisit));
  const booking = bookingDraft && bookingOf(bookingDraft, customer, inquiry);
  const setBooking = (change: Partial<BookingDraft>) =>
    customer && inquiry && setDraft((d) => ({ ...d, booking: { ...(d.booking ?? newBooking(customer, inquiry, preVisit)), ...change } }));

  const choose = (outcome: Outcome) => {
    setDraft((d) => ({ ...d, outcome, ...suggested[outcome](d) }));
    form.setError(undefined);
    setSure(false);
    setTimeout(() => {
      if (outcome === "REFUSED") reason.current?.focus();
      else if (outcome === "APPOINTED") box.current?.querySelector<HTMLElement>("[data-booking] select, [data-booking] input, [data-booking] button")?.focus();
      else save.current?.focus();
    });
  };
  useKeys(Object.fromEntries(outcomes.map((o, i) => [String(i + 1), () => choose(o)])));

  const ends = draft.next === "LOST" || draft.next === "INVALID";
  const decided = draft.outcome === "APPOINTED" || draft.outcome === "REFUSED";
  const needsNext = Boolean(inquiry) && !decided;
  const ready = draft.outcome && (draft.outcome !== "REFUSED" || (draft.reason.trim() !== "" && sure)) && (draft.outcome !== "APPOINTED" || booking) && (!needsNext || ends || fromInput(draft.dueAt));
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!draft.outcome || !ready || busy) return;
    const body: Schemas["Finish"] = { outcome: draft.outcome, memo: draft.memo };
    if (draft.outcome === "REFUSED") body.ban_reason = draft.reason;
    else if (draft.outcome === "APPOINTED") {
      body.appointment_id = booking?.appointment_id ?? null;
      if (booking?.request) body.solicitation_request = booking.request;
    } else if (needsNext) {
      if (draft.next === "LOST") body.lost_reason = draft.lost;
      else if (draft.next === "INVALID") body.invalid_reason = draft.invalid as "duplicate";
      else body.next_action = { kind: draft.next, due_at: fromInput(draft.dueAt) as string, ...(draft.note ? { note: draft.note } : {}) };
    }
    void form.run(async () => {
      await before();
      const finished = await write("post", "/v1/calls/{call_attempt_id}/finish", { path: { call_attempt_id: call.id }, body });
      keepDraft(thing, undefined);
      // Busy until the desk has moved on: a second Enter must not find the form once more.
      await done(finished);
    });
  };
  const quick: [string, () => string][] = [
    [t("wrap.in2h"), inTwoHours], [t("wrap.tomorrow10"), inADay], [t("wrap.tomorrow18"), () => at(today(1), "18:00")], [t("wrap.nextWeek"), () => at(today(7), "10:00")], [t("wrap.nextMonth"), () => at(today(30), "10:00")],
  ];
  return (
    <form className="wrapup" onSubmit={submit} ref={box} aria-label={t("wrap.title")}>
      <Stack gap={7}>
        {top}
        <div className="row"><b style={{ fontSize: 13 }}>{t("wrap.title")}</b><span className="faint" style={{ fontSize: 12 }}>{t("wrap.hint")}</span></div>
        <div className="outcomes" role="group" aria-label={t("wrap.title")}>
          {outcomes.map((o, i) => (
            <button key={o} type="button" className="outcome" aria-pressed={draft.outcome === o} data-danger={o === "REFUSED" || undefined} data-outcome={o} onClick={() => choose(o)}><b aria-hidden>{i + 1}</b>{label("outcome", o)}</button>
          ))}
        </div>
        {draft.outcome === "APPOINTED" && bookingDraft && (
          <div data-booking><BookingForm customer={customer} inquiry={inquiry} draft={bookingDraft} set={setBooking} error={error} /></div>
        )}
        {draft.outcome === "REFUSED" && (
          <Stack gap={6}>
            <div className="banned" style={{ fontSize: 13 }}>{t("wrap.refusedWarning")}</div>
            <Textarea ref={reason} label={t("wrap.refusedReason")} autosize minRows={1} required value={draft.reason} onChange={(e) => set({ reason: e.currentTarget.value })} error={form.at("/ban_reason")} />
            <Checkbox label={t("wrap.refusedConfirm")} checked={sure} onChange={(e) => setSure(e.currentTarget.checked)} />
          </Stack>
        )}
        {draft.outcome && needsNext && (
          <Group gap="xs" align="end">
            <NativeSelect label={t("wrap.next")} value={draft.next} onChange={(e) => set({ next: e.currentTarget.value as Next })} error={form.at("/next_action/kind")} w={150}
              data={(["CALLBACK", "CALL", "NURTURE_CALL", "PRE_VISIT_CALL", "WAIT", "LOST", "INVALID"] as const).map((n) => ({ value: n, label: label("nextAction", n) }))} />
            {draft.next === "LOST" ? (
              <TextInput label={t("wrap.lostReason")} required value={draft.lost} onChange={(e) => set({ lost: e.currentTarget.value })} error={form.at("/lost_reason")} style={{ flex: "1 1 160px" }} />
            ) : draft.next === "INVALID" ? (
              <NativeSelect label={t("wrap.invalidReason")} value={draft.invalid} onChange={(e) => set({ invalid: e.currentTarget.value })} data={["out_of_area", "excluded_goods", "duplicate", "prank"].map((r) => ({ value: r, label: label("invalid", r) }))} error={form.at("/invalid_reason")} />
            ) : (
              <>
                <TextInput type="datetime-local" label={t("wrap.at")} required value={draft.dueAt} onChange={(e) => set({ dueAt: e.currentTarget.value })} error={form.at("/next_action/due_at")} name="due_at" />
                <TextInput label={t("wrap.note")} value={draft.note} onChange={(e) => set({ note: e.currentTarget.value })} error={form.at("/next_action/note")} style={{ flex: "1 1 160px" }} />
              </>
            )}
          </Group>
        )}
        {draft.outcome && needsNext && !ends && (
          <Group gap={4}>{quick.map(([text, when]) => <Button key={text} size="compact-xs" variant="default" onClick={() => set({ dueAt: when() })}>{text}</Button>)}</Group>
        )}
        {!inquiry && <div className="faint" style={{ fontSize: 12 }}>{t("wrap.noInquiry")}</div>}
        <ProblemAlert error={error} shown={["/ban_reason", "/next_action", "/lost_reason", "/invalid_reason", "/memo", "/solicitation_request"]} />
        <Group gap="xs" align="end" wrap="nowrap" className="finish">
          <Textarea label={t("wrap.memo")} autosize minRows={1} maxRows={5} value={draft.memo} onChange={(e) => set({ memo: e.currentTarget.value })} error={form.at("/memo")} style={{ flex: 1 }} name="memo" />
          <Button ref={save} type="submit" size="sm" loading={busy} disabled={!ready} data-save>{t("wrap.save")}</Button>
        </Group>
      </Stack>
    </form>
  );
}

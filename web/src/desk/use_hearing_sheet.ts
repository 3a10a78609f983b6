// Autosave of a hearing sheet. Every field that was typed into waits with the version it was based on; the server merges by field and gives
// back those that somebody else changed meanwhile. Nothing is sent while an IME composes; nothing is forgotten before the server has it.
import { useQuery } from "@tanstack/react-query";
import { useCallback, useEffect, useRef, useState } from "react";
import { Problem, read, write } from "../api/client";
import { cache } from "../cache";
import { keepDraft, myDraft, orphans } from "./draft";

interface Typed { value: string; base: number }
export interface Conflict { theirs: string; version: number }
interface Draft { typed: Record<string, Typed>; conflicts: Record<string, Conflict> }
export type SheetState = "saved" | "typing" | "saving" | "local";

const textOf = (value: unknown) => (value === null || value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value));
const pause = 700;
const again = 5000;
/** What asking again may mend; anything else is said, and what was typed stays in this browser. */
const passing = (e: unknown) => !(e instanceof Problem) || e.status === 0 || e.status === 401 || e.status === 429 || e.status >= 500 || e.code === "IDEMPOTENCY_KEY_IN_USE";

export function useHearingSheet(inquiryId: string) {
  const thing = `sheet.${inquiryId}`;
  const key = ["hearing-sheet", inquiryId];
  const server = useQuery({ queryKey: key, queryFn: () => read("/v1/inquiries/{inquiry_id}/hearing-sheet", { path: { inquiry_id: inquiryId } }), staleTime: 0 });
  const draft = useRef<Draft>(myDraft<Draft>(thing) ?? { typed: {}, conflicts: {} });
  const [, redraw] = useState(0);
  const [state, setState] = useState<SheetState>(Object.keys(draft.current.typed).length > 0 ? "local" : "saved");
  const [refused, setRefused] = useState<unknown>();
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const composing = useRef(false);
  const sending = useRef<Promise<void>>(undefined);
  const version = useRef(0);
  if (server.data && server.data.version > version.current) version.current = server.data.version;

  const keep = useCallback(() => {
    keepDraft(thing, Object.keys(draft.current.typed).length > 0 ? draft.current : undefined);
    redraw((n) => n + 1);
  }, [thing]);

  const waiting = useCallback(() => Object.entries(draft.current.typed).filter(([field]) => !draft.current.conflicts[field]), []);

  const send = useCallback(async () => {
    const all = waiting();
    const base = Math.min(...all.map(([, t]) => t.base));
    const group = all.filter(([, t]) => t.base === base);
    setState("saving");
    const sent = Object.fromEntries(group.map(([field, t]) => [field, t.value]));
    const done = await write("patch", "/v1/inquiries/{inquiry_id}/hearing-sheet", { path: { inquiry_id: inquiryId }, body: { base_version: base, changes: sent as never } });
    version.current = Math.max(version.current, done.version);
    for (const [field, value] of Object.entries(sent)) {
      const now = draft.current.typed[field];
      const conflict = done.conflicts.find((c) => c.field === field);
      if (conflict) draft.current.conflicts[field] = { theirs: textOf(conflict.theirs), version: done.version };
      else if (now && now.value === value) delete draft.current.typed[field];
      else if (now) now.base = done.version;
    }
    cache.setQueryData(key, (old: typeof server.data) => (old ? { ...old, answers: done.answers, version: done.version } : old));
    keep();
  }, [inquiryId, keep, waiting]);

  const flush = useCallback(async (): Promise<void> => {
    clearTimeout(timer.current);
    if (sending.current) await sending.current;
    const run = async () => {
      try {
        while (waiting().length > 0 && !composing.current) await send();
        setState(waiting().length > 0 ? "typing" : "saved");
        setRefused(undefined);
      } catch (e) {
        setState("local");
        if (passing(e)) timer.current = setTimeout(() => void flush(), again);
        else setRefused(e);
      }
    };
    sending.current = run();
    await sending.current;
    sending.current = undefined;
  }, [send, waiting]);

  const later = useCallback(() => {
    clearTimeout(timer.current);
    timer.current = setTimeout(() => {
      if (!composing.current) void flush();
    }, pause);
  }, [flush]);

  // What tabs left behind that are gone: fields this tab has not typed into itself.
  useEffect(() => {
    void orphans<Draft>(thing).then((found) => {
      for (const one of found)
        for (const [field, typed] of Object.entries(one.typed)) draft.current.typed[field] ??= typed;
      if (found.length > 0) keep();
      if (waiting().length > 0) later();
    });
    return () => {
      clearTimeout(timer.current);
      if (waiting().length > 0 && !composing.current) void flush();
    };
  }, [thing, keep, later, flush, waiting]);

  const answers = (server.data?.answers ?? {}) as Record<string, unknown>;
  return {
    state,
    loading: server.isPending,
    error: server.error,
    refused,
    fields: Object.keys(answers),
    value: (field: string) => draft.current.typed[field]?.value ?? textOf(answers[field]),
    conflict: (field: string): Conflict | undefined => draft.current.conflicts[field],
    conflicts: Object.keys(draft.current.conflicts).length,
    type(field: string, value: string) {
      const known = draft.current.typed[field];
      draft.current.typed[field] = { value, base: known?.base ?? version.current };
      setState("typing");
      keep();
      if (!composing.current) later();
    },
    compose(on: boolean) {
      composing.current = on;
      if (!on) later();
    },
    resolve(field: string, mine: boolean) {
      const conflict = draft.current.conflicts[field];
      const typed = draft.current.typed[field];
      delete draft.current.conflicts[field];
      if (!mine) delete draft.current.typed[field];
      else if (typed && conflict) typed.base = Math.max(conflict.version, version.current);
      if (mine) setState("typing");
      keep();
      void cache.invalidateQueries({ queryKey: key });
      later();
    },
    flush,
  };
}

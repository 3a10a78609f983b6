// The lease of the task in hand: extended while the desk is open, counted down in between, and told once when it was lost.
import { type RefObject, useCallback, useEffect, useRef, useState } from "react";
import { Problem, type Schemas, write } from "../api/client";
import { cache } from "../cache";

const heartbeat = 45_000;
/** Below this the time left is a warning: a heartbeat has failed. */
export const runningOut = 30_000;

type Task = Schemas["CallTaskRow"];

/** What was in hand when the lease was lost; of its call what was typed is still in this browser. */
export interface Lost { task: Task; call: Schemas["CallRow"] | undefined }

/** `letGo`: the task that is being finished or given back; that it goes is no loss. */
export function useLease(task: Task | undefined, call: Schemas["CallRow"] | undefined, letGo: RefObject<string | undefined>) {
  const [lost, setLost] = useState<Lost>();
  const [until, setUntil] = useState<number>();
  const id = task?.id;
  const held = useRef<Lost>(undefined);
  useEffect(() => {
    const before = held.current;
    if (before && before.task.id !== id && before.task.id !== letGo.current) setLost(before);
    else if (id) setLost(undefined);
    held.current = task && { task, call };
    if (!id) setUntil(undefined);
  }, [id, letGo]);
  // What is known of it may change while it is held: the call begins.
  if (task && held.current?.task.id === task.id) held.current = { task, call: call ?? held.current.call };

  const extend = useCallback(async () => {
    if (!id) return;
    try {
      const now = await write("post", "/v1/call-tasks/{call_task_id}/lease", { path: { call_task_id: id }, patient: false });
      // By the server's own clock: how long from its answer on, whatever this machine's clock says.
      if (now.lease_expires_at) setUntil(Date.now() + Date.parse(now.lease_expires_at) - Date.parse(now.updated_at));
    } catch (e) {
      if (e instanceof Problem && (e.code === "LEASE_LOST" || e.status === 404)) {
        if (held.current?.task.id === id && letGo.current !== id) setLost(held.current);
        void cache.invalidateQueries({ queryKey: ["tasks"] });
      }
      throw e;
    }
  }, [id, letGo]);
  useEffect(() => {
    if (!id) return;
    const beat = () => void extend().catch(() => undefined);
    beat();
    const timer = setInterval(beat, heartbeat);
    return () => clearInterval(timer);
  }, [id, task?.state, extend]);
  return { lost, until, extend, forget: () => setLost(undefined) };
}

/** Now, again every second. */
export function useNow(): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  return now;
}

/** 1:05 for 65,000 ms. */
export function span(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const minutes = Math.floor(seconds / 60);
  return minutes >= 60 ? `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${String(seconds % 60).padStart(2, "0")}` : `${minutes}:${String(seconds % 60).padStart(2, "0")}`;
}

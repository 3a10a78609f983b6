import { useEffect } from "react";
import { cache } from "../cache";

interface Happening {
  entity: string;
  entity_id: string;
  payload?: { customer_id?: string; inquiry_id?: string };
}

/** What an event makes stale: the lists its entity stands in, and the one customer it is about. */
function staleBy({ entity, entity_id, payload }: Happening): unknown[][] {
  const keys: unknown[][] = [];
  const customer = payload?.customer_id ?? (entity === "customer" ? entity_id : undefined);
  const inquiry = payload?.inquiry_id ?? (entity === "inquiry" ? entity_id : undefined);
  if (customer) keys.push(["customer", customer]);
  if (inquiry) keys.push(["inquiry", inquiry]);
  if (entity === "call_task" || entity === "call_attempt") keys.push(["tasks"]);
  if (entity === "inquiry") keys.push(["inquiries"]);
  if (entity === "appointment") keys.push(["appointments"], ["availability"]);
  if (entity === "solicitation_ban") keys.push(["bans"]);
  if (entity === "hearing_sheet") keys.push(["hearing-sheet", inquiry ?? entity_id]);
  if (entity === "import" || entity === "lead_import") keys.push(["imports"]);
  return keys;
}

const pending = new Map<string, unknown[]>();
let timer: ReturnType<typeof setTimeout> | undefined;
/** Together, at most twice a second: an import makes thousands. */
function stale(keys: unknown[][]) {
  for (const key of keys) pending.set(JSON.stringify(key), key);
  timer ??= setTimeout(() => {
    timer = undefined;
    const all = [...pending.values()];
    pending.clear();
    for (const queryKey of all) void cache.invalidateQueries({ queryKey });
  }, 500);
}
function take(data: string) {
  try {
    stale(staleBy(JSON.parse(data) as Happening));
  } catch {
    // a frame of a newer server: the next read shows what it was about
  }
}
const everything = () => void cache.invalidateQueries();

export function useEvents() {
  useEffect(() => {
    if (typeof SharedWorker === "undefined") {
      let stream: EventSource | undefined;
      // After an answer that is no stream a browser gives up for good.
      const listen = () => {
        if (stream && stream.readyState !== EventSource.CLOSED) return;
        stream = new EventSource("/v1/events");
        stream.addEventListener("open", everything, { once: true });
        stream.onmessage = (event) => take(event.data as string);
        stream.addEventListener("reset", everything);
      };
      listen();
      const again = setInterval(listen, 20_000);
      return () => {
        clearInterval(again);
        stream?.close();
      };
    }
    const worker = new SharedWorker(new URL("./worker.ts", import.meta.url), { type: "module", name: "enishi-events" });
    worker.port.onmessage = (message: MessageEvent<{ event?: string; reset?: boolean }>) => {
      if (message.data.event) take(message.data.event);
      if (message.data.reset) everything();
    };
    worker.port.start();
    const hello = setInterval(() => worker.port.postMessage("hello"), 20_000);
    const bye = () => worker.port.postMessage("bye");
    window.addEventListener("pagehide", bye);
    return () => {
      clearInterval(hello);
      window.removeEventListener("pagehide", bye);
      bye();
      worker.port.close();
    };
  }, []);
}

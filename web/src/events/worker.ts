// One stream of events a browser, shared by its tabs: HTTP/1.1 gives six connections a host. A tab says "hello" every 20 seconds; one that
// stopped is forgotten, and without tabs the stream is closed.
/// <reference lib="webworker" />
const scope = self as unknown as { onconnect: (event: MessageEvent) => void };
const tabs = new Map<MessagePort, number>();
let stream: EventSource | undefined;

function tell(message: unknown) {
  for (const port of tabs.keys()) port.postMessage(message);
}
function close() {
  stream?.close();
  stream = undefined;
}
function listen() {
  if (stream && stream.readyState !== EventSource.CLOSED) return;
  const made = new EventSource("/v1/events");
  // A new stream begins with what happens now: what happened while there was none has to be read again. The same stream comes back by
  // itself with Last-Event-ID, and misses nothing.
  made.addEventListener("open", () => tell({ reset: true }), { once: true });
  stream = made;
  stream.onmessage = (event) => tell({ event: event.data });
  stream.addEventListener("reset", () => tell({ reset: true }));
}
scope.onconnect = (event) => {
  const port = event.ports[0] as MessagePort;
  port.onmessage = (message) => {
    if (message.data === "bye") tabs.delete(port);
    else tabs.set(port, Date.now());
    if (tabs.size > 0) listen();
    else close();
  };
  tabs.set(port, Date.now());
  listen();
};
setInterval(() => {
  for (const [port, seen] of tabs) if (Date.now() - seen > 90_000) tabs.delete(port);
  if (tabs.size === 0) close();
}, 30_000);

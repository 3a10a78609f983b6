// What somebody typed and the server has not yet: kept in this browser, a draft a tab, until it is acknowledged. The draft of a tab that is
// gone (closed, crashed) is taken over by the next one that shows the same thing.
import { uuid } from "../uuid";

const tab = (() => {
  const known = sessionStorage.getItem("enishi.tab");
  // A duplicated tab inherits sessionStorage: it may keep the id only if nobody holds it.
  const id = known ?? uuid();
  sessionStorage.setItem("enishi.tab", id);
  return id;
})();
void navigator.locks?.request(`enishi.tab.${tab}`, () => new Promise(() => {}));

interface Stored<T> { at: number; value: T }
const nameOf = (thing: string, of = tab) => `enishi.draft.${thing}.${of}`;

export function keepDraft<T>(thing: string, value: T | undefined) {
  if (value === undefined) localStorage.removeItem(nameOf(thing));
  else localStorage.setItem(nameOf(thing), JSON.stringify({ at: Date.now(), value } satisfies Stored<T>));
}

export function myDraft<T>(thing: string): T | undefined {
  const text = localStorage.getItem(nameOf(thing));
  return text ? (JSON.parse(text) as Stored<T>).value : undefined;
}

/** Drafts of tabs that are no more; they become this tab's to keep. */
export async function orphans<T>(thing: string): Promise<T[]> {
  const prefix = `enishi.draft.${thing}.`;
  const alive = navigator.locks ? new Set((await navigator.locks.query()).held?.map((l) => l.name)) : undefined;
  const found: T[] = [];
  for (const name of Object.keys(localStorage)) {
    if (!name.startsWith(prefix) || name === nameOf(thing)) continue;
    const stored = JSON.parse(localStorage.getItem(name) ?? "null") as Stored<T> | null;
    if (!stored) continue;
    const lives = alive ? alive.has(`enishi.tab.${name.slice(prefix.length)}`) : Date.now() - stored.at < 60_000;
    if (lives) continue;
    found.push(stored.value);
    localStorage.removeItem(name);
  }
  return found;
}

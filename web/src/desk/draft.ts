// What somebody typed and the server has not yet: kept in this browser, a draft a tab, until it is acknowledged. The draft of a tab that is
// gone (closed, crashed) is taken over by the next one of the same user that shows the same thing. Drafts are their user's alone: the next one
// at the same machine neither sees nor saves them; they go when their user logs out, and when they are old.
import { cache } from "../cache";
import { type Me, sessionKey } from "../session";
import { uuid } from "../uuid";

interface Stored<T> { at: number; value: T }
const prefix = "enishi.draft.";
const kept = 14 * 86_400_000;

let known = "";
/** Whose words these are; after a log-out still those of who typed them. */
const user = () => (known = cache.getQueryData<Me | null>(sessionKey)?.user.id ?? known);

/** Takes the name for as long as this page lives; false: another page has it. A page that reloads gives its own up a moment later. */
const takeTab = (id: string) =>
  new Promise<boolean>((resolve) => {
    if (!navigator.locks) return resolve(true);
    navigator.locks.request(`enishi.tab.${id}`, { signal: AbortSignal.timeout(300) }, () => {
      resolve(true);
      return new Promise(() => {});
    }).catch(() => resolve(false));
  });
const tab = await (async () => {
  // A duplicated tab inherits sessionStorage: it may keep the id only if nobody holds it.
  const inherited = sessionStorage.getItem("enishi.tab");
  if (inherited && (await takeTab(inherited))) return inherited;
  const id = uuid();
  sessionStorage.setItem("enishi.tab", id);
  await takeTab(id);
  return id;
})();

const nameOf = (thing: string, of = tab) => `${prefix}${user()}.${thing}.${of}`;
const stored = <T>(name: string) => JSON.parse(localStorage.getItem(name) ?? "null") as Stored<T> | null;
const names = (start: string) => Object.keys(localStorage).filter((name) => name.startsWith(start));
for (const name of names(prefix)) if ((stored(name)?.at ?? 0) < Date.now() - kept) localStorage.removeItem(name);

export function keepDraft<T>(thing: string, value: T | undefined) {
  if (value === undefined) localStorage.removeItem(nameOf(thing));
  else localStorage.setItem(nameOf(thing), JSON.stringify({ at: Date.now(), value } satisfies Stored<T>));
}

export function myDraft<T>(thing: string): T | undefined {
  return stored<T>(nameOf(thing))?.value;
}

/** Drafts of the user's tabs that are no more, the latest first; they become this tab's to keep. */
export async function orphans<T>(thing: string): Promise<T[]> {
  const start = nameOf(thing, "");
  const alive = navigator.locks ? new Set((await navigator.locks.query()).held?.map((l) => l.name)) : undefined;
  const found: Stored<T>[] = [];
  for (const name of names(start)) {
    const one = name === nameOf(thing) ? null : stored<T>(name);
    if (!one) continue;
    const lives = alive ? alive.has(`enishi.tab.${name.slice(start.length)}`) : Date.now() - one.at < 60_000;
    if (lives) continue;
    found.push(one);
    localStorage.removeItem(name);
  }
  return found.sort((a, b) => b.at - a.at).map((one) => one.value);
}

/** The user logs out: what they leave unsaved is nobody else's. */
export function forgetDrafts() {
  for (const name of names(`${prefix}${user()}.`)) localStorage.removeItem(name);
}

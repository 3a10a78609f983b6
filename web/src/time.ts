// Everything is shown in Japan time, wherever the browser is.
const zone = "Asia/Tokyo";
const locale = () => (document.documentElement.lang === "en" ? "en-GB" : "ja-JP");
const formats = new Map<string, Intl.DateTimeFormat>();

function format(options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = locale() + JSON.stringify(options);
  let made = formats.get(key);
  if (!made) formats.set(key, (made = new Intl.DateTimeFormat(locale(), { timeZone: zone, ...options })));
  return made;
}

/** Without the year while it is this one. */
export const moment = (at: string | null | undefined) =>
  at && today().slice(0, 4) !== today(0, Date.parse(at)).slice(0, 4)
    ? fullMoment(at)
    : at ? format({ month: "numeric", day: "numeric", weekday: "short", hour: "2-digit", minute: "2-digit" }).format(new Date(at)) : "";
export const fullMoment = (at: string | null | undefined) =>
  at ? format({ year: "numeric", month: "numeric", day: "numeric", weekday: "short", hour: "2-digit", minute: "2-digit" }).format(new Date(at)) : "";
export const clock = (at: string | null | undefined) => (at ? format({ hour: "2-digit", minute: "2-digit" }).format(new Date(at)) : "");
export const day = (at: string | Date | null | undefined) => (at ? format({ month: "numeric", day: "numeric", weekday: "short" }).format(new Date(at)) : "");

/** 2026-11-22 in Japan. */
export function today(plusDays = 0, from = Date.now()): string {
  return new Intl.DateTimeFormat("sv-SE", { timeZone: zone }).format(new Date(from + plusDays * 86_400_000));
}
/** 2026-11-22T13:05 in Japan, as <input type="datetime-local"> takes it. */
export function toInput(at: string | Date): string {
  return new Intl.DateTimeFormat("sv-SE", { timeZone: zone, dateStyle: "short", timeStyle: "short" }).format(new Date(at)).replace(" ", "T");
}
/** What such an input holds, as a moment with Japan's offset; undefined when it is not complete. */
export function fromInput(text: string): string | undefined {
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d$/.test(text) ? `${text}:00+09:00` : undefined;
}
/** A day of Japan at an hour of Japan. */
export const at = (date: string, hour: string) => `${date}T${hour}`;

export function age(birthDate: string | null | undefined): number | undefined {
  if (!birthDate) return undefined;
  const [y = 0, m = 0, d = 0] = birthDate.split("-").map(Number);
  const [ty = 0, tm = 0, td = 0] = today().split("-").map(Number);
  return ty - y - (tm < m || (tm === m && td < d) ? 1 : 0);
}

import i18n from "i18next";
import { initReactI18next } from "react-i18next";
import en from "./locales/en.json";
import ja from "./locales/ja.json";

declare module "i18next" {
  interface CustomTypeOptions {
    defaultNS: "translation";
    resources: { translation: typeof ja };
  }
}

export type Locale = "ja" | "en";
const key = "enishi.locale";
const stored = () => localStorage.getItem(key);

void i18n.use(initReactI18next).init({
  resources: { ja: { translation: ja }, en: { translation: en } },
  lng: stored() === "en" ? "en" : "ja",
  fallbackLng: "ja",
  interpolation: { escapeValue: false },
  returnEmptyString: false,
});
document.documentElement.lang = i18n.language;

export function chooseLocale(locale: Locale, remember = true) {
  if (remember) localStorage.setItem(key, locale);
  document.documentElement.lang = locale;
  void i18n.changeLanguage(locale);
}
/** The user's own locale counts until this browser chose one. */
export function suggestLocale(locale: Locale) {
  if (!stored() && locale !== i18n.language) chooseLocale(locale, false);
}

/** The label of an identifier: label("stage", "NEW"); one the dictionary does not know is shown as it is. */
export function label(group: keyof typeof ja, name: string | null | undefined): string {
  if (!name) return "";
  return i18n.t(`${group}.${name}` as never, { defaultValue: name }) as unknown as string;
}

/** A problem in a sentence of the user's language; one the dictionary does not know is shown as the server put it. */
export function sentence(code: string, detail: string, values: Record<string, unknown> = {}): string {
  return i18n.t(`problem.${code}` as never, { defaultValue: detail || code, ...values }) as unknown as string;
}

/** The name of a field that a pointer means, as the forms call it; a field of no form is shown by its pointer. */
export function fieldName(pointer: string): string {
  const path = pointer.replace(/^[/?]/, "");
  const name = path.split("/").filter((part) => !/^\d*$/.test(part)).at(-1) ?? path;
  return i18n.t(["customer", "field", "inquiry", "importField", "admin", "settings"].map((group) => `${group}.${name}`) as never, { defaultValue: path }) as unknown as string;
}

/** What is wrong with one field. The server's own words are English, and the more exact ones; its limits are kept in the others. */
export function fieldSentence(code: string, detail: string): string {
  if (i18n.language === "en") return detail || code;
  const [, from, to] = /from (\S+) to (\S+)/.exec(detail) ?? [];
  const most = /at most ([\d,]+)/.exec(detail)?.[1];
  const limits = from ? "_BETWEEN" : most ? "_MOST" : "";
  const names = [`fieldProblem.${code}${limits}`, `fieldProblem.${code}`, `problem.${code}`];
  return i18n.t(names as never, { defaultValue: detail || code, from, to, most }) as unknown as string;
}

export default i18n;

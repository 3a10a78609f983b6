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

export default i18n;

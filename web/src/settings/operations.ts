import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import i18n from "../i18n";
import ja from "../locales/operations.ja.json";

interface Contract { paths: Record<string, Record<string, { operationId?: string; summary?: string; tags?: string[]; "x-roles"?: unknown }>> }

/** Every operation of the contract that needs a right, in its order: its name in the user's language, and the part it belongs to. */
export function useOperations() {
  useTranslation(); // again when the language changes
  const contract = useQuery({
    queryKey: ["contract"],
    staleTime: Number.POSITIVE_INFINITY,
    queryFn: async () => (await (await fetch("/openapi.json")).json()) as Contract,
  });
  const data = contract.data && Object.values(contract.data.paths)
    .flatMap((path) => Object.values(path))
    .filter((o) => o.operationId && o["x-roles"] && Object.keys(o["x-roles"]).length > 0)
    .map((o) => ({ id: o.operationId as string, tag: o.tags?.[0] ?? "", summary: o.summary ?? "" }))
    .sort((a, b) => a.tag.localeCompare(b.tag))
    .map((o) => ({ ...o, name: operationName(o.id, o.summary) }));
  return { data, error: contract.error };
}

/** The name of an operation in the user's language; in English the contract's summary, where it is at hand. */
export function operationName(id: string, summary = id.replaceAll("_", " ")): string {
  return i18n.language === "en" ? summary : (ja as Record<string, string>)[id] ?? summary;
}

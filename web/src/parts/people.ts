import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { read, type Schemas } from "../api/client";
import { label } from "../i18n";
import { useMay, useMe } from "../session";

/** All pages of a list that a person chooses from: users, teams. Bounded, for a choice of thousands is none. */
async function all<T>(page: (cursor: string | undefined) => Promise<{ items: T[]; next_cursor: string | null }>, most = 10): Promise<T[]> {
  const items: T[] = [];
  let cursor: string | undefined;
  for (let i = 0; i < most; ++i) {
    const got = await page(cursor);
    items.push(...got.items);
    if (!got.next_cursor) break;
    cursor = got.next_cursor;
  }
  return items;
}

/** Users whom the caller may see; [] for who may see none. */
export function useUsers(enabled = true) {
  const may = useMay();
  return useQuery({
    queryKey: ["users", "all"],
    enabled: enabled && may("list_users"),
    staleTime: 60_000,
    queryFn: () => all<Schemas["User"]>((cursor) => read("/v1/users", { query: { limit: 200, cursor } })),
  });
}
/** Who something can be given to: oneself, the others that one may see, and whoever has it now. */
export function useOwners(now?: string | null): { value: string; label: string }[] {
  const me = useMe().user;
  const users = useUsers().data?.filter((u) => u.active || u.id === now) ?? [];
  const all = [me, ...users.filter((u) => u.id !== me.id)].map((u) => ({ value: u.id, label: u.display_name }));
  return now && !all.some((o) => o.value === now) ? [...all, { value: now, label: "—" }] : all;
}
/** Who did it: "user:" and an id is a person; the rest are jobs, the console, the database. */
export function useActorName() {
  const { t } = useTranslation();
  const users = useUsers();
  return (actor: string, name?: string | null) => {
    const [kind = "", id] = actor.split(":");
    return name ?? (kind === "user" ? users.data?.find((u) => u.id === id)?.display_name ?? t("actor.user") : label("actor", kind));
  };
}
export function useTeams(enabled = true) {
  return useQuery({ queryKey: ["teams", "all"], enabled, staleTime: 60_000, queryFn: () => all<Schemas["Team"]>((cursor) => read("/v1/teams", { query: { limit: 200, cursor } })) });
}
export function useAreas(enabled = true) {
  return useQuery({ queryKey: ["service-areas", "all"], enabled, staleTime: 60_000, queryFn: () => all<Schemas["ServiceArea"]>((cursor) => read("/v1/service-areas", { query: { limit: 200, cursor } })) });
}

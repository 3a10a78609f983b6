import { useQuery } from "@tanstack/react-query";
import { Problem, type Schemas, read, useToken } from "./api/client";
import { suggestLocale } from "./i18n";
import { cache } from "./cache";

export type Me = Schemas["Me"];
export const sessionKey = ["session"] as const;

export function remember(me: Me | null) {
  useToken(me?.csrf_token ?? null);
  if (me) suggestLocale(me.user.locale);
  cache.setQueryData(sessionKey, me);
}

async function load(): Promise<Me | null> {
  try {
    const me = await read("/v1/session");
    useToken(me.csrf_token);
    suggestLocale(me.user.locale);
    return me;
  } catch (e) {
    if (e instanceof Problem && e.status === 401) return null;
    throw e;
  }
}

/** Who is logged in; null: nobody. */
export const useSession = () => useQuery({ queryKey: sessionKey, queryFn: load, staleTime: 60_000, retry: 2 });

/** Inside the pages, where somebody is. */
export function useMe(): Me {
  const { data } = useSession();
  if (!data) throw new Error("nobody is logged in");
  return data;
}
export function useMay() {
  const { data } = useSession();
  return (operation: string) => Boolean(data && operation in data.operations);
}

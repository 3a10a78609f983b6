import { QueryClient } from "@tanstack/react-query";
import { Problem } from "./api/client";

export const cache = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 10_000,
      refetchOnWindowFocus: true,
      retry: (count, error) => count < 3 && (!(error instanceof Problem) || error.status === 0 || error.status === 503),
    },
    mutations: { retry: false },
  },
});

/** What these keys hold is read again where it is shown. */
export const stale = (...keys: readonly unknown[][]) => Promise.all(keys.map((queryKey) => cache.invalidateQueries({ queryKey })));

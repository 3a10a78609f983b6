// A list that comes in pages: its rows so far, and the button for more of them.
//
//   const tokens = usePages(["api-tokens"], (cursor) => read("/v1/api-tokens", { query: { limit: 50, cursor } }));
//   {tokens.rows.map(…)} <More pages={tokens} />
import { Button } from "@mantine/core";
import { useInfiniteQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";

interface Page<T> { items: T[]; next_cursor: string | null }

/** `every`: how many milliseconds until it is read again, by what it holds. */
export function usePages<T>(queryKey: unknown[], page: (cursor: string | undefined, signal: AbortSignal) => Promise<Page<T>>, { enabled = true, every }: { enabled?: boolean; every?: (rows: T[]) => number | false } = {}) {
  const rowsOf = (pages: Page<T>[] | undefined) => pages?.flatMap((p) => p.items) ?? [];
  const pages = useInfiniteQuery({
    queryKey,
    enabled,
    initialPageParam: undefined as string | undefined,
    queryFn: ({ pageParam, signal }) => page(pageParam, signal),
    getNextPageParam: (last) => last.next_cursor ?? undefined,
    refetchInterval: every && ((query) => every(rowsOf(query.state.data?.pages))),
  });
  const rows = rowsOf(pages.data?.pages);
  return {
    rows,
    pending: pages.isPending,
    /** It was read, and holds nothing. */
    none: pages.isSuccess && rows.length === 0,
    error: pages.error,
    retry: () => void pages.refetch(),
    more: pages.hasNextPage ? () => void pages.fetchNextPage() : undefined,
    loadingMore: pages.isFetchingNextPage,
  };
}

export function More({ pages, wide }: { pages: Pick<ReturnType<typeof usePages>, "more" | "loadingMore">; wide?: boolean }) {
  const { t } = useTranslation();
  if (!pages.more) return null;
  return <div className="pad"><Button variant="default" fullWidth={wide} loading={pages.loadingMore} onClick={pages.more}>{t("common.more")}</Button></div>;
}

import { Badge, Button, Select, Table } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useInfiniteQuery } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { read, write } from "../api/client";
import { cache } from "../cache";
import { useUsers } from "../parts/people";
import { problemText } from "../parts/problem";
import { useMe } from "../session";
import { fullMoment } from "../time";
import { Listing } from "./record";

/** Where one is logged in, and for who may see it, where others are. */
export function SessionsSection() {
  const { t } = useTranslation();
  const me = useMe();
  const users = useUsers(me.operations.list_user_sessions !== "own");
  const [who, setWho] = useState(me.user.id);
  const pages = useInfiniteQuery({
    queryKey: ["sessions", who],
    initialPageParam: undefined as string | undefined,
    queryFn: ({ pageParam }) => read("/v1/users/{user_id}/sessions", { path: { user_id: who }, query: { limit: 50, cursor: pageParam } }),
    getNextPageParam: (last) => last.next_cursor ?? undefined,
  });
  const rows = pages.data?.pages.flatMap((p) => p.items) ?? [];
  const end = async (id: string) => {
    try {
      await write("delete", "/v1/sessions/{session_id}", { path: { session_id: id } });
    } catch (e) {
      notifications.show({ message: problemText(e), color: "red" });
    }
    await cache.invalidateQueries({ queryKey: ["sessions"] });
  };
  const mayEnd = who === me.user.id || me.operations.revoke_session === "all";
  return (
    <>
      {(users.data?.length ?? 0) > 1 && <Select mb="sm" maw={360} label={t("sessions.who")} searchable value={who} onChange={(v) => v && setWho(v)} data={(users.data ?? []).map((u) => ({ value: u.id, label: u.display_name }))} />}
      <Listing title={t("settings.sessions")} about={t("sessions.about")} error={pages.error} retry={() => void pages.refetch()} empty={!pages.isPending && rows.length === 0 && t("sessions.empty")}
        head={[t("sessions.since"), t("sessions.seen"), t("sessions.until"), t("sessions.from"), ""]} more={pages.hasNextPage ? () => void pages.fetchNextPage() : undefined} loadingMore={pages.isFetchingNextPage}>
        {rows.map((s) => (
          <Table.Tr key={s.id}>
            <Table.Td>{fullMoment(s.created_at)}</Table.Td><Table.Td>{fullMoment(s.last_seen_at)}</Table.Td><Table.Td>{fullMoment(s.expires_at)}</Table.Td>
            <Table.Td><div>{s.remote}</div><div className="faint" style={{ fontSize: 11.5, maxWidth: 420, overflow: "hidden", textOverflow: "ellipsis", whiteSpace: "nowrap" }} title={s.user_agent}>{s.user_agent}</div></Table.Td>
            <Table.Td ta="right">{s.current ? <Badge color="green">{t("sessions.current")}</Badge> : mayEnd && <Button size="compact-xs" variant="subtle" color="red" onClick={() => void end(s.id)}>{t("sessions.end")}</Button>}</Table.Td>
          </Table.Tr>
        ))}
      </Listing>
    </>
  );
}

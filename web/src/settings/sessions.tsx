import { Badge, Button, Select, Table } from "@mantine/core";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { read, write } from "../api/client";
import { stale } from "../cache";
import { usePages } from "../parts/pages";
import { useUsers } from "../parts/people";
import { tellProblem } from "../parts/form";
import { useMe } from "../session";
import { fullMoment } from "../time";
import { Listing } from "./record";

/** Where one is logged in, and for who may see it, where others are. */
export function SessionsSection() {
  const { t } = useTranslation();
  const me = useMe();
  const users = useUsers(me.operations.list_user_sessions !== "own");
  const [who, setWho] = useState(me.user.id);
  const pages = usePages(["sessions", who], (cursor) => read("/v1/users/{user_id}/sessions", { path: { user_id: who }, query: { limit: 50, cursor } }));
  const { rows } = pages;
  const end = async (id: string) => {
    await write("delete", "/v1/sessions/{session_id}", { path: { session_id: id } }).catch(tellProblem);
    await stale(["sessions"]);
  };
  const mayEnd = who === me.user.id || me.operations.revoke_session === "all";
  return (
    <>
      {(users.data?.length ?? 0) > 1 && <Select mb="sm" maw={360} label={t("sessions.who")} searchable value={who} onChange={(v) => v && setWho(v)} data={(users.data ?? []).map((u) => ({ value: u.id, label: u.display_name }))} />}
      <Listing title={t("settings.sessions")} about={t("sessions.about")} pages={pages} empty={t("sessions.empty")}
        head={[t("sessions.since"), t("sessions.seen"), t("sessions.until"), t("sessions.from"), ""]}>
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

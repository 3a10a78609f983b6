import { Badge, Button, Group, Select, Table } from "@mantine/core";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { read, type Schemas, write } from "../api/client";
import { stale } from "../cache";
import { label } from "../i18n";
import { useTeams, useUsers } from "../parts/people";
import { tellProblem } from "../parts/form";
import { useMay } from "../session";
import { Listing, RecordForm } from "./record";

type Team = Schemas["Team"];
type User = Schemas["User"];

function Members({ team, users }: { team: Team; users: User[] }) {
  const { t } = useTranslation();
  const may = useMay();
  const [adding, setAdding] = useState<string | null>(null);
  const members = users.filter((u) => u.team_id === team.id);
  const move = async (user: User, to: string | null) => {
    await write("patch", "/v1/users/{user_id}", { path: { user_id: user.id }, body: { team_id: to }, version: user.version }).then(() => setAdding(null), tellProblem);
    await stale(["users"]);
  };
  const others = users.filter((u) => u.team_id !== team.id && u.active);
  return (
    <>
      <Listing title={t("teams.members", { team: team.name })} empty={members.length === 0 && t("teams.noMembers")} head={[t("admin.display_name"), t("admin.roles"), ""]}>
        {members.map((u) => (
          <Table.Tr key={u.id} data-member={u.id}>
            <Table.Td>{u.display_name} <span className="faint">{u.login}</span>{!u.active && <> <Badge color="gray">{t("admin.inactive")}</Badge></>}</Table.Td>
            <Table.Td>{u.roles.map((r) => label("role", r)).join("、")}</Table.Td>
            <Table.Td ta="right">{may("update_user") && <Button size="compact-xs" variant="subtle" color="red" onClick={() => void move(u, null)}>{t("teams.takeOut")}</Button>}</Table.Td>
          </Table.Tr>
        ))}
      </Listing>
      {may("update_user") && (
        <form className="sheet pad" style={{ marginTop: 8 }} onSubmit={(e) => { e.preventDefault(); const u = users.find((x) => x.id === adding); if (u) void move(u, team.id); }}>
          <Group align="end" gap="xs">
            <Select label={t("teams.add")} description={t("teams.addHint")} searchable value={adding} onChange={setAdding} style={{ flex: 1 }} nothingFoundMessage={t("reassign.nobody")} name="member"
              data={others.map((u) => ({ value: u.id, label: `${u.display_name}（${u.login}）` }))} />
            <Button type="submit" disabled={!adding}>{t("common.add")}</Button>
          </Group>
        </form>
      )}
    </>
  );
}

export function TeamsSection() {
  const { t } = useTranslation();
  const may = useMay();
  const teams = useTeams();
  const users = useUsers();
  const [editing, setEditing] = useState<{ team?: Team }>();
  const [shown, setShown] = useState<string>();
  const rows = teams.data ?? [];
  const team = rows.find((x) => x.id === shown) ?? rows[0];
  const name = (id: string | null) => rows.find((x) => x.id === id)?.name ?? "";
  return (
    <div className="halves">
      <Listing title={t("settings.teams")} about={t("teams.about")} add={may("create_team") ? () => setEditing({}) : undefined} addLabel={t("teams.new")} error={teams.error} retry={() => void teams.refetch()}
        empty={teams.data?.length === 0 && t("teams.empty")} head={[t("common.name"), t("teams.parent"), t("teams.count"), ""]}>
        {rows.map((x) => (
          <Table.Tr key={x.id} data-team={x.name} bg={team?.id === x.id ? "light-dark(#eef3f9, #26313d)" : undefined}>
            <Table.Td><button type="button" className="link" aria-pressed={team?.id === x.id} onClick={() => setShown(x.id)}>{x.name}</button></Table.Td>
            <Table.Td>{name(x.parent_id)}</Table.Td>
            <Table.Td>{users.data?.filter((u) => u.team_id === x.id).length ?? ""}</Table.Td>
            <Table.Td ta="right">{may("update_team") && <Button size="compact-xs" variant="default" onClick={() => setEditing({ team: x })}>{t("common.edit")}</Button>}</Table.Td>
          </Table.Tr>
        ))}
      </Listing>
      <div>{team && <Members key={team.id} team={team} users={users.data ?? []} />}</div>
      {editing && (
        <RecordForm title={editing.team ? t("common.edit") : t("teams.new")} record={editing.team as never} close={() => setEditing(undefined)}
          fields={[
            { name: "name", label: t("common.name"), kind: "text", required: true },
            { name: "parent_id", label: t("teams.parent"), hint: t("teams.parentHint"), kind: "choice", options: rows.filter((x) => x.id !== editing.team?.id).map((x) => ({ value: x.id, label: x.name })) },
          ]}
          save={async (body, version) => {
            const saved = editing.team
              ? await write("patch", "/v1/teams/{team_id}", { path: { team_id: editing.team.id }, body: body as never, version })
              : await write("post", "/v1/teams", { body: body as never });
            setShown(saved.id);
            await stale(["teams"]);
          }}
          reload={async () => (editing.team ? ((await read("/v1/teams/{team_id}", { path: { team_id: editing.team.id } })) as never) : undefined)} />
      )}
    </div>
  );
}

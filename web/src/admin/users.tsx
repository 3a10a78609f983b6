import { Alert, Badge, Button, Code, CopyButton, Group, Modal, MultiSelect, NativeSelect, Stack, Table, Text, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { Problem, read, type Schemas, write } from "../api/client";
import { stale } from "../cache";
import { label } from "../i18n";
import { FormModal, tellProblem, tellSaved, useSubmit } from "../parts/form";
import { Theirs, useMerge } from "../parts/merge";
import { usePages } from "../parts/pages";
import { useTeams } from "../parts/people";
import { useMay } from "../session";
import { Listing } from "../settings/record";
import { fullMoment } from "../time";

type User = Schemas["User"];

function EditUser({ user, close }: { user?: User; close: () => void }) {
  const { t } = useTranslation();
  const valuesOf = (u: User | undefined) => ({ login: u?.login ?? "", display_name: u?.display_name ?? "", roles: u?.roles ?? ["operator"], team_id: u?.team_id ?? "" });
  const merge = useMerge(() => valuesOf(user), user?.version);
  const { set } = merge;
  const values = merge.values as ReturnType<typeof valuesOf>;
  const form = useSubmit((e) => merge.meet(e, user && (async () => {
    const fresh = await read("/v1/users/{user_id}", { path: { user_id: user.id } });
    return { values: valuesOf(fresh), version: fresh.version };
  })));
  const all = useQuery({ queryKey: ["roles"], staleTime: 300_000, queryFn: () => read("/v1/roles") });
  const teams = useTeams();
  const body = { ...values, team_id: values.team_id || null };
  const changes = Object.fromEntries(Object.entries(body).filter(([name]) => merge.changed(name)));
  const submit = () => {
    if (user && Object.keys(changes).length === 0) return close();
    void form.run(async () => {
      if (user) await write("patch", "/v1/users/{user_id}", { path: { user_id: user.id }, body: changes, version: merge.version });
      else await write("post", "/v1/users", { body });
      tellSaved();
      await stale(["users"]);
      close();
    });
  };
  const roleText = (names: string[]) => names.map((r) => label("role", r)).join("、");
  return (
    <FormModal form={form} title={user ? t("common.edit") : t("admin.new")} close={close} submit={submit} dirty={Object.keys(changes).length > 0} shown={["/login", "/display_name", "/roles", "/team_id"]}>
      <Theirs merge={merge} fields={[
        { name: "login", label: t("admin.login"), text: String },
        { name: "display_name", label: t("admin.display_name"), text: String },
        { name: "roles", label: t("admin.roles"), text: (r) => roleText(r as string[]) || "—" },
        { name: "team_id", label: t("admin.team"), text: (id) => teams.data?.find((x) => x.id === id)?.name ?? "—" },
      ]} />
      <TextInput label={t("admin.login")} required value={values.login} onChange={(e) => set("login", e.currentTarget.value)} error={form.at("/login")} autoCapitalize="off" spellCheck={false} data-autofocus />
      <TextInput label={t("admin.display_name")} required value={values.display_name} onChange={(e) => set("display_name", e.currentTarget.value)} error={form.at("/display_name")} />
      <MultiSelect label={t("admin.roles")} value={values.roles} onChange={(r) => set("roles", r)} data={(all.data?.items ?? []).map((r) => ({ value: r.name, label: label("role", r.name) }))} error={form.at("/roles")} />
      <NativeSelect label={t("admin.team")} value={values.team_id} onChange={(e) => set("team_id", e.currentTarget.value)} data={[{ value: "", label: t("common.none") }, ...(teams.data ?? []).map((x) => ({ value: x.id, label: x.name }))]} error={form.at("/team_id")} />
    </FormModal>
  );
}

export function UsersSection() {
  const { t } = useTranslation();
  const may = useMay();
  const [editing, setEditing] = useState<{ user?: User }>();
  const [link, setLink] = useState<{ url: string; until: string }>();
  const pages = usePages(["users", "pages"], (cursor) => read("/v1/users", { query: { limit: 100, cursor } }));
  const teams = useTeams();
  const attempt = async (action: () => Promise<void>) => {
    try {
      await action();
    } catch (e) {
      tellProblem(e);
      if (e instanceof Problem && e.status === 412) await stale(["users"]);
    }
  };
  const makeLink = (user: User) =>
    attempt(async () => {
      const made = await write("post", "/v1/users/{user_id}/one-time-link", { path: { user_id: user.id } });
      if (made.token) setLink({ url: `${location.origin}/welcome#${made.token}`, until: made.expires_at });
    });
  const setActive = (user: User, active: boolean) =>
    attempt(async () => {
      await write("patch", "/v1/users/{user_id}", { path: { user_id: user.id }, body: { active }, version: user.version });
      await stale(["users"]);
    });
  return (
    <>
      <Listing title={t("admin.title")} add={may("create_user") ? () => setEditing({}) : undefined} addLabel={t("admin.new")} pages={pages} empty={t("admin.empty")}
        head={[t("admin.login"), t("admin.display_name"), t("admin.roles"), t("admin.team"), t("admin.active"), ""]}>
        {pages.rows.map((u) => (
          <Table.Tr key={u.id} data-user={u.login}>
            <Table.Td>{u.login}</Table.Td>
            <Table.Td style={{ whiteSpace: "nowrap" }}>{u.display_name}</Table.Td>
            <Table.Td><Group gap={4}>{u.roles.map((r) => <Badge key={r}>{label("role", r)}</Badge>)}</Group></Table.Td>
            <Table.Td style={{ whiteSpace: "nowrap" }}>{teams.data?.find((x) => x.id === u.team_id)?.name}</Table.Td>
            <Table.Td><Badge color={u.active ? "green" : "gray"}>{u.active ? t("admin.active") : t("admin.inactive")}</Badge>{!u.has_password && <Text fz={11} className="faint">{t("admin.noPassword")}</Text>}</Table.Td>
            <Table.Td>
              <Group gap={4} justify="flex-end" wrap="nowrap">
                {may("update_user") && <Button size="compact-xs" variant="default" onClick={() => setEditing({ user: u })}>{t("common.edit")}</Button>}
                {u.active && may("create_one_time_link") && <Button size="compact-xs" variant="default" onClick={() => void makeLink(u)}>{t("admin.link")}</Button>}
                {may("update_user") && <Button size="compact-xs" variant="subtle" color={u.active ? "red" : "green"} onClick={() => void setActive(u, !u.active)}>{u.active ? t("admin.deactivate") : t("admin.activate")}</Button>}
              </Group>
            </Table.Td>
          </Table.Tr>
        ))}
      </Listing>
      {editing && <EditUser {...editing} close={() => setEditing(undefined)} />}
      <Modal opened={Boolean(link)} onClose={() => setLink(undefined)} title={t("admin.linkTitle")} closeOnClickOutside={false}>
        <Stack gap="sm">
          <Alert color="yellow" p="xs">{t("admin.linkHint")}</Alert>
          <Code block style={{ wordBreak: "break-all", whiteSpace: "pre-wrap" }}>{link?.url}</Code>
          <Group justify="space-between">
            <Text fz="xs" className="faint">{fullMoment(link?.until)}</Text>
            <CopyButton value={link?.url ?? ""}>{({ copied, copy }) => <Button onClick={copy}>{copied ? t("common.copied") : t("common.copy")}</Button>}</CopyButton>
          </Group>
        </Stack>
      </Modal>
    </>
  );
}

import { Alert, Badge, Button, Code, CopyButton, Group, Modal, MultiSelect, NativeSelect, Stack, Table, Text, TextInput } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { fieldError, Problem, read, type Schemas, write } from "../api/client";
import { cache } from "../cache";
import { label } from "../i18n";
import { holdEnterWhileComposing } from "../keyboard";
import { Theirs, useMerge } from "../parts/merge";
import { ProblemAlert, problemText } from "../parts/problem";
import { useTeams } from "../parts/people";
import { useMay } from "../session";
import { fullMoment } from "../time";

type User = Schemas["User"];

function EditUser({ user, close }: { user?: User; close: () => void }) {
  const { t } = useTranslation();
  const valuesOf = (u: User | undefined) => ({ login: u?.login ?? "", display_name: u?.display_name ?? "", roles: u?.roles ?? ["operator"], team_id: u?.team_id ?? "" });
  const merge = useMerge(() => valuesOf(user), user?.version);
  const { set } = merge;
  const values = merge.values as ReturnType<typeof valuesOf>;
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const all = useQuery({ queryKey: ["roles"], staleTime: 300_000, queryFn: () => read("/v1/roles") });
  const teams = useTeams();
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setError(undefined);
    const body = { ...values, team_id: values.team_id || null };
    const changes = Object.fromEntries(Object.entries(body).filter(([name]) => merge.changed(name)));
    if (user && Object.keys(changes).length === 0) return close();
    try {
      if (user) await write("patch", "/v1/users/{user_id}", { path: { user_id: user.id }, body: changes, version: merge.version });
      else await write("post", "/v1/users", { body });
      notifications.show({ message: t("common.saved"), color: "green" });
      await cache.invalidateQueries({ queryKey: ["users"] });
      close();
    } catch (e) {
      setError(await merge.meet(e, user && (async () => {
        const fresh = await read("/v1/users/{user_id}", { path: { user_id: user.id } });
        return { values: valuesOf(fresh), version: fresh.version };
      })));
    } finally {
      setBusy(false);
    }
  };
  const roleText = (names: string[]) => names.map((r) => label("role", r)).join("、");
  return (
    <Modal opened onClose={close} title={user ? t("common.edit") : t("admin.new")} closeOnClickOutside={false}>
      <form onSubmit={submit} onKeyDown={holdEnterWhileComposing}>
        <Stack gap="sm">
          <Theirs merge={merge} fields={[
            { name: "login", label: t("admin.login"), text: String },
            { name: "display_name", label: t("admin.display_name"), text: String },
            { name: "roles", label: t("admin.roles"), text: (r) => roleText(r as string[]) || "—" },
            { name: "team_id", label: t("admin.team"), text: (id) => teams.data?.find((x) => x.id === id)?.name ?? "—" },
          ]} />
          <ProblemAlert error={error} shown={["/login", "/display_name", "/roles", "/team_id"]} />
          <TextInput label={t("admin.login")} required value={values.login} onChange={(e) => set("login", e.currentTarget.value)} error={fieldError(error, "/login")} autoCapitalize="off" spellCheck={false} data-autofocus />
          <TextInput label={t("admin.display_name")} required value={values.display_name} onChange={(e) => set("display_name", e.currentTarget.value)} error={fieldError(error, "/display_name")} />
          <MultiSelect label={t("admin.roles")} value={values.roles} onChange={(r) => set("roles", r)} data={(all.data?.items ?? []).map((r) => ({ value: r.name, label: label("role", r.name) }))} error={fieldError(error, "/roles")} />
          <NativeSelect label={t("admin.team")} value={values.team_id} onChange={(e) => set("team_id", e.currentTarget.value)} data={[{ value: "", label: t("common.none") }, ...(teams.data ?? []).map((x) => ({ value: x.id, label: x.name }))]} error={fieldError(error, "/team_id")} />
          <Group justify="flex-end"><Button variant="default" onClick={close}>{t("common.cancel")}</Button><Button type="submit" loading={busy}>{t("common.save")}</Button></Group>
        </Stack>
      </form>
    </Modal>
  );
}

export function UsersSection() {
  const { t } = useTranslation();
  const may = useMay();
  const [editing, setEditing] = useState<{ user?: User }>();
  const [link, setLink] = useState<{ url: string; until: string }>();
  const pages = useInfiniteQuery({
    queryKey: ["users", "pages"],
    initialPageParam: undefined as string | undefined,
    queryFn: ({ pageParam }) => read("/v1/users", { query: { limit: 100, cursor: pageParam } }),
    getNextPageParam: (last) => last.next_cursor ?? undefined,
  });
  const teams = useTeams();
  const rows = pages.data?.pages.flatMap((p) => p.items) ?? [];
  const attempt = async (action: () => Promise<void>) => {
    try {
      await action();
    } catch (e) {
      notifications.show({ message: problemText(e), color: "red" });
      if (e instanceof Problem && e.status === 412) await cache.invalidateQueries({ queryKey: ["users"] });
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
      await cache.invalidateQueries({ queryKey: ["users"] });
    });
  return (
    <>
      <section className="sheet">
        <div className="heading"><h2 style={{ all: "unset" }}>{t("admin.title")}</h2>{may("create_user") && <Button size="compact-sm" onClick={() => setEditing({})} data-add>{t("admin.new")}</Button>}</div>
        <ProblemAlert error={pages.error} retry={() => void pages.refetch()} />
        {!pages.isPending && rows.length === 0 && <div className="pad faint">{t("admin.empty")}</div>}
        <Table>
          <Table.Thead><Table.Tr><Table.Th>{t("admin.login")}</Table.Th><Table.Th>{t("admin.display_name")}</Table.Th><Table.Th>{t("admin.roles")}</Table.Th><Table.Th>{t("admin.team")}</Table.Th><Table.Th>{t("admin.active")}</Table.Th><Table.Th /></Table.Tr></Table.Thead>
          <Table.Tbody>
            {rows.map((u) => (
              <Table.Tr key={u.id} data-user={u.login}>
                <Table.Td>{u.login}</Table.Td>
                <Table.Td>{u.display_name}</Table.Td>
                <Table.Td><Group gap={4}>{u.roles.map((r) => <Badge key={r}>{label("role", r)}</Badge>)}</Group></Table.Td>
                <Table.Td>{teams.data?.find((x) => x.id === u.team_id)?.name}</Table.Td>
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
          </Table.Tbody>
        </Table>
        {pages.hasNextPage && <div className="pad"><Button variant="default" onClick={() => void pages.fetchNextPage()}>{t("common.more")}</Button></div>}
      </section>
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

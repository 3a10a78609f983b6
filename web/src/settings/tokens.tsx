import { Alert, Badge, Button, Code, CopyButton, Group, Modal, MultiSelect, Select, Stack, Table, Text, TextInput } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useInfiniteQuery } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { fieldError, read, type Schemas, write } from "../api/client";
import { cache } from "../cache";
import { holdEnterWhileComposing } from "../keyboard";
import { useUsers } from "../parts/people";
import { ProblemAlert, problemText } from "../parts/problem";
import { useMe } from "../session";
import { fromInput, fullMoment } from "../time";
import { operationName } from "./operations";
import { Listing } from "./record";

type Token = Schemas["ApiToken"];

function NewToken({ close, made }: { close: () => void; made: (secret: string) => void }) {
  const { t } = useTranslation();
  const me = useMe();
  const users = useUsers(me.operations.create_api_token === "all");
  const [name, setName] = useState("");
  const [scopes, setScopes] = useState<string[]>([]);
  const [user, setUser] = useState<string | null>(me.user.id);
  const [until, setUntil] = useState("");
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setError(undefined);
    try {
      const token = await write("post", "/v1/api-tokens", { body: { name, scopes, ...(user && user !== me.user.id ? { user_id: user } : {}), ...(fromInput(until) ? { expires_at: fromInput(until) } : {}) } });
      await cache.invalidateQueries({ queryKey: ["api-tokens"] });
      if (token.token) made(token.token);
      close();
    } catch (e) {
      setError(e);
    } finally {
      setBusy(false);
    }
  };
  return (
    <Modal opened onClose={close} title={t("tokens.new")} size="lg" closeOnClickOutside={false}>
      <form onSubmit={submit} onKeyDown={holdEnterWhileComposing}>
        <Stack gap="sm">
          <ProblemAlert error={error} shown={["/name", "/scopes", "/user_id", "/expires_at"]} />
          <TextInput label={t("tokens.name")} description={t("tokens.nameHint")} required value={name} onChange={(e) => setName(e.currentTarget.value)} error={fieldError(error, "/name")} name="name" data-autofocus />
          {(users.data?.length ?? 0) > 1 && <Select label={t("tokens.user")} searchable value={user} onChange={setUser} data={(users.data ?? []).filter((u) => u.active).map((u) => ({ value: u.id, label: u.display_name }))} error={fieldError(error, "/user_id")} />}
          <MultiSelect label={t("tokens.scopes")} description={t("tokens.scopesHint")} withAsterisk searchable value={scopes} onChange={setScopes} error={fieldError(error, "/scopes")} maxDropdownHeight={240} name="scopes"
            data={[{ value: "*", label: t("tokens.everything") }, ...Object.keys(me.operations).sort().map((o) => ({ value: o, label: `${operationName(o)}（${o}）` }))]} />
          <TextInput type="datetime-local" label={t("tokens.until")} description={t("tokens.untilHint")} value={until} onChange={(e) => setUntil(e.currentTarget.value)} error={fieldError(error, "/expires_at")} name="expires_at" />
          <Group justify="flex-end"><Button variant="default" onClick={close}>{t("common.cancel")}</Button><Button type="submit" loading={busy} disabled={!name.trim() || scopes.length === 0}>{t("tokens.make")}</Button></Group>
        </Stack>
      </form>
    </Modal>
  );
}

export function TokensSection() {
  const { t } = useTranslation();
  const me = useMe();
  const users = useUsers(me.operations.list_api_tokens === "all");
  const [adding, setAdding] = useState(false);
  const [secret, setSecret] = useState<string>();
  const [revoking, setRevoking] = useState<Token>();
  const pages = useInfiniteQuery({
    queryKey: ["api-tokens"],
    initialPageParam: undefined as string | undefined,
    queryFn: ({ pageParam }) => read("/v1/api-tokens", { query: { limit: 50, cursor: pageParam } }),
    getNextPageParam: (last) => last.next_cursor ?? undefined,
  });
  const rows = pages.data?.pages.flatMap((p) => p.items) ?? [];
  const revoke = async (token: Token) => {
    setRevoking(undefined);
    try {
      await write("delete", "/v1/api-tokens/{api_token_id}", { path: { api_token_id: token.id } });
      notifications.show({ message: t("tokens.revokedNow"), color: "green" });
    } catch (e) {
      notifications.show({ message: problemText(e), color: "red" });
    }
    await cache.invalidateQueries({ queryKey: ["api-tokens"] });
  };
  const whose = (id: string) => (id === me.user.id ? me.user.display_name : users.data?.find((u) => u.id === id)?.display_name ?? id);
  const over = (x: Token) => Boolean(x.expires_at && Date.parse(x.expires_at) < Date.now());
  return (
    <>
      <Listing title={t("settings.tokens")} about={t("tokens.about")} add={() => setAdding(true)} addLabel={t("tokens.new")} error={pages.error} retry={() => void pages.refetch()} empty={!pages.isPending && rows.length === 0 && t("tokens.empty")}
        head={[t("tokens.name"), t("tokens.user"), t("tokens.scopes"), t("tokens.created"), t("tokens.lastUsed"), t("tokens.until"), ""]} more={pages.hasNextPage ? () => void pages.fetchNextPage() : undefined} loadingMore={pages.isFetchingNextPage}>
        {rows.map((x) => (
          <Table.Tr key={x.id} data-token={x.name}>
            <Table.Td>{x.name}</Table.Td>
            <Table.Td>{whose(x.user_id)}</Table.Td>
            <Table.Td><Group gap={4}>{x.scopes.map((s) => <Badge key={s} color={s === "*" ? "orange" : "ai"} title={operationName(s)}>{s === "*" ? t("tokens.everything") : s}</Badge>)}</Group></Table.Td>
            <Table.Td>{fullMoment(x.created_at)}</Table.Td>
            <Table.Td>{x.last_used_at ? fullMoment(x.last_used_at) : <span className="faint">{t("tokens.never")}</span>}</Table.Td>
            <Table.Td>{x.expires_at ? fullMoment(x.expires_at) : <span className="faint">{t("tokens.noEnd")}</span>}{over(x) && <> <Badge color="gray">{t("tokens.over")}</Badge></>}</Table.Td>
            <Table.Td ta="right">{x.revoked_at ? <Badge color="gray">{t("tokens.revoked")}</Badge> : <Button size="compact-xs" variant="subtle" color="red" onClick={() => setRevoking(x)}>{t("tokens.revoke")}</Button>}</Table.Td>
          </Table.Tr>
        ))}
      </Listing>
      {adding && <NewToken close={() => setAdding(false)} made={setSecret} />}
      <Modal opened={Boolean(secret)} onClose={() => setSecret(undefined)} title={t("tokens.secretTitle")} closeOnClickOutside={false} closeOnEscape={false}>
        <Stack gap="sm">
          <Alert color="yellow" p="xs">{t("tokens.secretHint")}</Alert>
          <Code block style={{ wordBreak: "break-all", whiteSpace: "pre-wrap" }} data-secret>{secret}</Code>
          <Group justify="flex-end">
            <CopyButton value={secret ?? ""}>{({ copied, copy }) => <Button variant="default" onClick={copy}>{copied ? t("common.copied") : t("common.copy")}</Button>}</CopyButton>
            <Button onClick={() => setSecret(undefined)}>{t("tokens.keptIt")}</Button>
          </Group>
        </Stack>
      </Modal>
      <Modal opened={Boolean(revoking)} onClose={() => setRevoking(undefined)} title={t("tokens.revoke")}>
        <Stack gap="sm">
          <Text fz="sm">{t("tokens.revokeHint", { name: revoking?.name })}</Text>
          <Group justify="flex-end"><Button variant="default" onClick={() => setRevoking(undefined)}>{t("common.cancel")}</Button><Button color="red" data-autofocus onClick={() => revoking && void revoke(revoking)}>{t("tokens.revoke")}</Button></Group>
        </Stack>
      </Modal>
    </>
  );
}

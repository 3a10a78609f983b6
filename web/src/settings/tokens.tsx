import { Alert, Badge, Button, Code, CopyButton, Group, Modal, MultiSelect, Select, Stack, Table, TextInput } from "@mantine/core";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { read, type Schemas, write } from "../api/client";
import { stale } from "../cache";
import { FormModal, tellSaved, useSubmit } from "../parts/form";
import { usePages } from "../parts/pages";
import { useUsers } from "../parts/people";
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
  const form = useSubmit();
  const make = () =>
    form.run(async () => {
      const token = await write("post", "/v1/api-tokens", { body: { name, scopes, ...(user && user !== me.user.id ? { user_id: user } : {}), ...(fromInput(until) ? { expires_at: fromInput(until) } : {}) } });
      await stale(["api-tokens"]);
      if (token.token) made(token.token);
      close();
    });
  return (
    <FormModal form={form} title={t("tokens.new")} label={t("tokens.make")} size="lg" close={close} submit={make} ready={name.trim() !== "" && scopes.length > 0} dirty={name !== "" || scopes.length > 0 || until !== ""} shown={["/name", "/scopes", "/user_id", "/expires_at"]}>
      <TextInput label={t("tokens.name")} description={t("tokens.nameHint")} required value={name} onChange={(e) => setName(e.currentTarget.value)} error={form.at("/name")} name="name" data-autofocus />
      {(users.data?.length ?? 0) > 1 && <Select label={t("tokens.user")} searchable value={user} onChange={setUser} data={(users.data ?? []).filter((u) => u.active).map((u) => ({ value: u.id, label: u.display_name }))} error={form.at("/user_id")} />}
      <MultiSelect label={t("tokens.scopes")} description={t("tokens.scopesHint")} withAsterisk searchable value={scopes} onChange={setScopes} error={form.at("/scopes")} maxDropdownHeight={240} name="scopes"
        data={[{ value: "*", label: t("tokens.everything") }, ...Object.keys(me.operations).sort().map((o) => ({ value: o, label: `${operationName(o)}（${o}）` }))]} />
      <TextInput type="datetime-local" label={t("tokens.until")} description={t("tokens.untilHint")} value={until} onChange={(e) => setUntil(e.currentTarget.value)} error={form.at("/expires_at")} name="expires_at" />
    </FormModal>
  );
}

export function TokensSection() {
  const { t } = useTranslation();
  const me = useMe();
  const users = useUsers(me.operations.list_api_tokens === "all");
  const [adding, setAdding] = useState(false);
  const [secret, setSecret] = useState<string>();
  const [revoking, setRevoking] = useState<Token>();
  const revocation = useSubmit();
  const pages = usePages(["api-tokens"], (cursor) => read("/v1/api-tokens", { query: { limit: 50, cursor } }));
  const { rows } = pages;
  const revoke = () =>
    revoking && revocation.run(async () => {
      await write("delete", "/v1/api-tokens/{api_token_id}", { path: { api_token_id: revoking.id } });
      tellSaved(t("tokens.revokedNow"));
      await stale(["api-tokens"]);
      setRevoking(undefined);
    });
  const whose = (id: string) => (id === me.user.id ? me.user.display_name : users.data?.find((u) => u.id === id)?.display_name ?? id);
  const over = (x: Token) => Boolean(x.expires_at && Date.parse(x.expires_at) < Date.now());
  return (
    <>
      <Listing title={t("settings.tokens")} about={t("tokens.about")} add={() => setAdding(true)} addLabel={t("tokens.new")} pages={pages} empty={t("tokens.empty")}
        head={[t("tokens.name"), t("tokens.user"), t("tokens.scopes"), t("tokens.created"), t("tokens.lastUsed"), t("tokens.until"), ""]}>
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
      {revoking && <FormModal form={revocation} name="revoke" title={t("tokens.revoke")} label={t("tokens.revoke")} color="red" about={t("tokens.revokeHint", { name: revoking.name })} close={() => setRevoking(undefined)} submit={revoke} />}
    </>
  );
}

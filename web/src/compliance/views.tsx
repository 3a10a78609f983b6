import { Button, Group, Select, Table, TextInput } from "@mantine/core";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { read } from "../api/client";
import { label } from "../i18n";
import { useUsers } from "../parts/people";
import { usePages } from "../parts/pages";
import { PickCustomer } from "../parts/pick_customer";
import { operationName } from "../settings/operations";
import { Listing } from "../settings/record";
import { fromInput, fullMoment } from "../time";

/** Who saw whose data: by person, by customer, by time; the filters stand in the address, so that a finding can be passed on. */
export function ViewsPage() {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const search = useSearch({ from: "/app/views" });
  const users = useUsers();
  const set = (change: Partial<typeof search>) => void navigate({ to: "/views", search: { ...search, ...change }, replace: true });
  const pages = usePages(["personal-data-views", search], (cursor, signal) =>
    read("/v1/personal-data-views", { query: { limit: 50, cursor, user_id: search.user, entity_id: search.customer, from: fromInput(search.from ?? ""), to: fromInput(search.to ?? "") }, signal }));
  const filtered = Boolean(search.user || search.customer || search.from || search.to);
  return (
    <main className="page">
      <Group align="end" gap="sm" mb="sm">
        <Select label={t("views.who")} placeholder={t("common.all")} searchable clearable value={search.user ?? null} onChange={(v) => set({ user: v ?? undefined })} data={(users.data ?? []).map((u) => ({ value: u.id, label: `${u.display_name}（${u.login}）` }))} w={240} nothingFoundMessage={t("reassign.nobody")} />
        <PickCustomer id={search.customer} pick={(customer) => set({ customer })} />
        <TextInput type="datetime-local" label={t("views.from")} value={search.from ?? ""} onChange={(e) => set({ from: e.currentTarget.value || undefined })} name="from" />
        <TextInput type="datetime-local" label={t("views.to")} value={search.to ?? ""} onChange={(e) => set({ to: e.currentTarget.value || undefined })} name="to" />
        {filtered && <Button variant="default" onClick={() => void navigate({ to: "/views", search: {}, replace: true })}>{t("views.clear")}</Button>}
      </Group>
      <Listing title={t("views.title")} about={t("views.about")} pages={pages} empty={filtered ? t("views.emptyFiltered") : t("views.empty")}
        head={[t("views.at"), t("views.who"), t("views.what"), t("views.whose"), t("views.rows"), t("views.request")]}>
        {pages.rows.map((v, i) => (
          <Table.Tr key={`${v.at}${v.request_id}${i}`} data-view={v.operation}>
            <Table.Td style={{ whiteSpace: "nowrap" }}>{fullMoment(v.at)}</Table.Td>
            <Table.Td><button type="button" className="link" onClick={() => set({ user: v.user_id })} title={t("views.onlyThem")}>{v.user_name ?? v.user_id}</button></Table.Td>
            <Table.Td>{operationName(v.operation)}</Table.Td>
            <Table.Td>{v.entity === "customer" && v.entity_id ? <><Link to="/customers/$customerId" params={{ customerId: v.entity_id }}>{t("views.customer")}</Link> <button type="button" className="link" onClick={() => set({ customer: v.entity_id ?? undefined })}>{t("views.onlyThis")}</button></> : label("viewEntity", v.entity)}</Table.Td>
            <Table.Td className="mono">{v.rows}</Table.Td>
            <Table.Td><code style={{ fontSize: 11 }}>{v.request_id}</code></Table.Td>
          </Table.Tr>
        ))}
      </Listing>
    </main>
  );
}
